/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_conn: what a connection holds while it speaks HTTP, and the states it passes. Shared by the files of http/ alone.
 */
#ifndef WSC_HTTP_HTTP_CONN_H
#define WSC_HTTP_HTTP_CONN_H

#include "conn/conn.h"
#include "hook/hook.h"
#include "proto/envelope.h"
#include "proto/http1_response.h"

#define JSON_TYPE "application/json; charset=utf-8"

enum http_state {
	HTTP_PROXY,  /* before the first request: a trusted proxy may name its client (PROXY protocol) */
	HTTP_TLS,    /* the first byte tells whether the client speaks TLS */
	HTTP_HEAD,   /* reading a head, or waiting for one */
	HTTP_EXPECT, /* the client waits for "100 Continue" before it sends the body */
	HTTP_BODY,   /* reading the body */
	HTTP_WAIT,   /* a hook, the hub or other workers have the request; nothing is read */
	HTTP_LAST,   /* the last answer is on its way out */
	HTTP_LINGER, /* it is out and our side is shut; received bytes are thrown away */
	HTTP_OVER,   /* the connection has ended */
	HTTP_STATES
};

/* A request for /ws or /sse on its way to a session. Views into @scratch. */
struct opening {
	unsigned step; /* of open.c: the next one */
	enum hub_transport transport;
	bool echo;      /* it belongs to no user and gets its own messages back */
	bool wsc_v1;    /* refusals are told by close code */
	bool has_after; /* after= or Last-Event-ID: the client wants to resume */
	char accept[WS_ACCEPT_LEN];
	uint8_t *scratch;
	struct bytes ticket_id, role, device_id, client_type, query_user, query_type;
	char user_id[WSC_ID_MAX + 1];
	uint8_t user_type;
	uint64_t client;             /* SSE: hash of URL, address and user agent */
	struct wsc_pending *pending; /* the hook that has it */
};

struct http_conn {
	enum http_state state;
	struct ip peer, client;    /* the socket's peer; the client that the peer speaks for */
	struct ip client_of_proxy; /* the address in the PROXY header; len 0: none */
	bool only_tls : 1;         /* the port accepts TLS only */
	bool proxied : 1;          /* there was a PROXY header, whatever it said */
	bool overloaded : 1;       /* the node was full when it came */
	bool keep_alive : 1;       /* another request may follow this one */
	bool peer_done : 1;        /* the client has shut its side: nothing is expected behind the last answer */
	struct buf in;             /* the head of the request, unchanged while it is served: views lie in it */
	struct buf next;           /* received bytes behind it */
	struct buf body, out;
	size_t out_sent;
	struct http1_parser parser;
	struct http1_head head;
	struct http1_body body_state;
	const struct route *route;
	struct bytes path; /* decoded, in path_text */
	struct buf path_text;
	struct {
		struct buf id, to, type;
		bool broadcast;
	} sent; /* for the answer to a send or broadcast */
	uint64_t deadline_ms;
	uint32_t requests;
	enum end barred; /* why a handshake is refused whatever it says; END_NONE: it is not */
	struct opening *open;
};

static inline struct http_conn *http_of(const struct conn *c)
{
	return c->at.http;
}

/* A request was answered with @status; @r: NULL when it has no route. */
static inline void http_count_request(struct shard *sh, const struct route *r, uint16_t status)
{
	unsigned route = r ? r->type->label : METRIC_ROUTE_NONE;

	counter_add(&sh->metrics.http_requests[route][metric_status_of(status)], 1);
}

/* A client that asked for a connection is refused. */
static inline void http_count_refused(const struct conn *c, enum api_code code)
{
	counter_add(&conn_shard(c)->metrics.connections_refused[code], 1);
}

struct http_conn *http_conn_new(const struct ip *peer);
void http_conn_free(struct http_conn *h);
void opening_free(struct opening *o);
/* Moves @h to @state; asserts that the table of moves allows it. */
void http_move(struct http_conn *h, enum http_state state);
/* The connection ends here. */
void http_over(struct conn *c, uint16_t code, bool by_client);
/* Does a request of @c wait for its answer? */
static inline bool http_waiting(const struct conn *c)
{
	return c->kind == CONN_HTTP && http_of(c)->state == HTTP_WAIT;
}
/* The request is handed to a hook, the hub or other workers: nothing is read until it is answered. */
void http_wait(struct conn *c);

/* X-User-ID of the request, empty when there is none. False: it is there twice, and nobody knows which one a proxy wrote. */
bool http_user(const struct conn *c, struct bytes *user);

#endif
