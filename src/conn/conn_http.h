/* SPDX-License-Identifier: Apache-2.0 */
/* conn_http: what a connection is while it speaks HTTP. Shared by conn_http.c and conn_open.c alone. */
#ifndef WSC_CONN_CONN_HTTP_H
#define WSC_CONN_CONN_HTTP_H

#include "conn/hook.h"
#include "proto/envelope.h"
#include "proto/http1_response.h"

enum http_state {
	HTTP_HEAD,  /* reading a head */
	HTTP_BODY,  /* reading its body */
	HTTP_WAIT,  /* a hook, the hub or other shards have the request; nothing is read */
	HTTP_LINGER /* the last answer is sent, our side is shut; what still comes is thrown away */
};

/* Who wants a session, as it comes out of the request. Views into @scratch. */
struct opening {
	enum hub_transport transport;
	bool echo;      /* it is nobody's and gets its own messages back */
	bool wsc_v1;    /* refusals are told by close code */
	bool has_after; /* after= or Last-Event-ID: wants to resume */
	char accept[WS_ACCEPT_LEN];
	uint8_t *scratch;
	struct bytes ticket_id, role, device_id, client_type, query_user, query_type;
	char user_id[WSC_ID_MAX + 1];
	uint8_t user_type;
	enum { OPEN_NOTHING, OPEN_AUTH, OPEN_ATTACH, OPEN_CONNECT } waits;
	struct wsc_pending *pending;
};

struct http_conn {
	enum http_state state;
	struct ip peer, client;    /* the socket's peer; who that speaks for */
	struct ip client_of_proxy; /* what a PROXY header said; len 0: nothing */
	bool introduced;           /* the time for a PROXY header is over */
	bool proxied;              /* there was one, whatever it said */
	bool decided;              /* whether it speaks TLS */
	bool only_tls;             /* it came to a port that speaks nothing else */
	struct buf in;             /* the head of the request, unchanged while it is served: views lie in it */
	struct buf next;           /* what came behind it */
	struct buf body, out;
	size_t out_sent;
	struct http1_parser parser;
	struct http1_head head;
	struct http1_body body_state;
	const struct route *route;
	struct bytes path; /* decoded, in path_text */
	struct buf path_text;
	struct buf user;          /* X-User-ID of a send */
	struct buf remembered[3]; /* id, to, type of a send */
	bool broadcast, keep_alive, overloaded, running, continued, shut;
	bool ended; /* the client's side is shut: once all is said nobody need wait for it */
	uint64_t deadline_ms;
	uint32_t requests;
	enum api_code barred; /* a handshake that is refused whatever it says; API_OK: none */
	const char *barred_why;
	struct opening *open;
};

static inline struct http_conn *http_of(const struct conn *c)
{
	return c->at.http;
}

/* Answers with a body; @fields are further fields. Then the next request, or the end. */
void http_answer(struct conn *c, uint16_t status, const char *type, struct bytes body,
		 const struct http1_out_field *fields, size_t nfields);
/* The answer to HEAD of a stream: 200 with exactly @fields and no length, and like behind a stream the end. */
void http_answer_head(struct conn *c, const struct http1_out_field *fields, size_t nfields);
/* A refusal with @status (0: the code's own); @more: a further field, or NULL. */
void http_refuse(struct conn *c, uint16_t status, enum api_code code, struct bytes why,
		 const struct http1_out_field *more);
/* The CORS fields for an allowed Origin; returns how many were written to @out (room for 4). */
size_t http_cors(const struct conn *c, struct http1_out_field *out);
/* X-User-ID, empty when there is none. False: it is there twice, and who would say which one a proxy has written? */
bool http_user(const struct conn *c, struct bytes *user);
/* Is the Origin of the request one that may use the gateway? */
bool http_origin_ok(const struct conn *c);
void opening_free(struct opening *o);

#endif
