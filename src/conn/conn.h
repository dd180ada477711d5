/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn: one connection: a stream, a codec, a session. It is the string that the beads sit on: bytes that come go to the
 * codec, what the codec yields goes to submit.c and the hub, what the hub has ready goes back to the stream. It decides
 * nothing about messages.
 *
 * A connection begins as HTTP. A request for /ws or /sse makes it a session; then it moves, once, to the shard of its user.
 * It ends by conn_kill(), which may be called at any moment from anywhere on its shard: its memory stays until the end of
 * the turn, and whoever answers later finds its handle stale.
 */
#ifndef WSC_CONN_CONN_H
#define WSC_CONN_CONN_H

#include "api/code.h"
#include "conn/shard.h"
#include "proto/sse.h"

enum conn_kind { CONN_HTTP, CONN_WS, CONN_SSE };

enum conn_phase {
	PHASE_OPEN,
	PHASE_CLOSING, /* the close frame is on its way out, or waits behind messages */
	PHASE_LINGER,  /* all is said, our side is shut; reading on so that the peer may read it too */
	PHASE_DEAD
};

struct http_conn;
struct submission;

/* What a WebSocket or event stream needs only now and then. */
struct conn_extra {
	struct buf ctl; /* response head, control frames, gap notices, the close frame: goes out between messages */
	size_t ctl_sent;
	struct buf message; /* a fragmented message so far */
	struct buf held; /* input that could not be taken: half a header, or what waits behind a hook or a full queue */
	size_t held_at;  /* where what is left of it begins; not 0 only while c->held_input */
	struct submission *pending; /* a message of this connection that a hook has not answered yet */
	uint8_t inflate; /* opcode of the compressed message in @message that a later turn inflates; 0: none */
	size_t pong_at;  /* where the last pong begins in ctl while the socket is full, SIZE_MAX: none */
};

struct conn {
	struct stream stream;
	struct timer timer;
	struct session session;
	union {
		struct ws_decoder ws;
		struct {
			uint64_t caller;     /* SSE: who opened it, as a hash of URL, address and agent */
			uint32_t last_tx_ms; /* when something was sent */
		} sse;
	} u;
	union {
		struct http_conn *http;   /* CONN_HTTP: always there */
		struct conn_extra *extra; /* the others: NULL when there is nothing to hold */
	} at;
	struct rate_bucket control;
	struct deflate_contexts *contexts; /* with context takeover, once they are in use; else NULL */
	uint64_t secret;                   /* the half of the client id that nobody can guess */
	uint32_t pings;      /* beats of the present silence that we have pinged for; PHASE_LINGER: bytes thrown away */
	uint32_t stalled_ms; /* low 32 bits, never 0: since then the full socket has taken nothing; 0: it is not full */
	uint16_t close_code; /* what ended it */
	uint8_t kind, phase;
	struct ws_deflate deflate;
	bool accepted : 1;     /* on_client_connect said yes: on_client_disconnect is owed */
	bool close_queued : 1; /* the close frame or closed event is in ctl */
	bool peer_closed : 1;  /* a close frame has come */
	bool by_client : 1;
	bool held_input : 1; /* input waits in extra->held for a hook, or because its sender is too loud */
	bool deferred : 1;   /* on shard.deferred: goes on when the others have had their turn */
	bool loud : 1;       /* so much was refused for its rate that nothing is read until the timer fires */
};
/* An idle client: connection, stream, session and codec in one slab object. */
_Static_assert(sizeof(struct conn) <= 312, "the budget of docs/architecture.md");

static inline struct shard *conn_shard(const struct conn *c)
{
	return shard_of_loop(c->stream.loop);
}

static inline struct conn *conn_of_stream(struct stream *s)
{
	return container_of(s, struct conn, stream);
}

/* A WebSocket that gets its own messages back and is nobody's. */
static inline bool conn_is_echo(const struct conn *c)
{
	return c->session.hidden;
}

static inline struct conn *conn_of_session(struct session *s)
{
	return container_of(s, struct conn, session);
}

static inline slab_handle conn_handle(const struct conn *c)
{
	return slab_handle_of(&conn_shard(c)->conns, c);
}

/* The connection of @h, if it is still there and not dying. */
struct conn *conn_get(struct shard *sh, slab_handle h);

extern const struct loop_ops conn_loop_ops;

/* Takes a descriptor into reserve for those who come when there is none, if it is gone; the gateway closes it. False: there is none. */
bool spare_keep(struct shard *sh);
/* A new HTTP connection on @fd, which becomes its own, also when this fails (NULL). @http: moved from another shard, or NULL. */
struct conn *conn_new(struct shard *sh, int fd, const struct ip *peer, struct http_conn *http);
/* Ends it now, without a word to the peer. */
void conn_kill(struct conn *c, uint16_t code, bool by_client);
/* Frees what died in this turn. */
void conn_reap(struct shard *sh);
/* The timer of @c has fired. */
void conn_on_timer(struct conn *c);
/* Sends what @c has ready: one send for many messages. */
void conn_flush(struct conn *c);
/* Tells the next @n connections that the node is going away. True: that was all. */
bool conn_drain(struct shard *sh, uint32_t n);
/* Nothing more is taken of @c until the others have had their turn. What has come is kept by its codec. */
void conn_defer(struct conn *c);
/* Goes on with those who were deferred, a bounded number of messages a turn. */
void conn_run_deferred(struct shard *sh);
/* Reads @c again. */
void conn_resume(struct conn *c);
/* What a full socket has come to, after an offer of which it took something (@moved) or nothing: limits.write_timeout. */
void conn_stall(struct conn *c, bool moved);
/* When the stall of @c is judged, monotonic ms; UINT64_MAX: it does not stand still. */
uint64_t conn_stall_due(const struct conn *c);
/* The stall of @c is due to be judged now. */
bool conn_stall_over(const struct conn *c);

/* Extra state, made on first use; NULL: no memory. */
struct conn_extra *conn_extra(struct conn *c);
/* Gives it back when it holds nothing. */
void conn_extra_trim(struct conn *c);
void conn_extra_free(struct conn *c);

/* conn_http.c */
struct http_conn *http_new(const struct ip *peer);
void http_free(struct http_conn *h);
void http_begin(struct conn *c);
/* What was wrong with the peer's TLS, if anything was, for the log; of any connection. */
void http_log_tls(const struct conn *c);
/* It has come to a port that speaks TLS alone. */
void http_require_tls(struct conn *c);
void http_on_data(struct conn *c, uint8_t *data, size_t len);
void http_on_end(struct conn *c);
void http_on_writable(struct conn *c);
void http_on_timer(struct conn *c);
/* Goes on with what was pipelined. */
void http_resume(struct conn *c);
/* Answers the request of @c that waits (a submission that has ended). */
void http_fail(struct conn *c, enum api_code code, struct bytes why);
void http_sent(struct conn *c, uint32_t delivered);
/* What the answer to a send or broadcast will say. False: no memory. */
bool http_remember(struct conn *c, struct bytes id, struct bytes to, struct bytes type, bool broadcast);
/* Is an HTTP request of @c waiting for an outcome? */
bool http_waiting(const struct conn *c);
void http_drain(struct conn *c);

/* conn_open.c: from a request for /ws or /sse to a session. */
void open_begin(struct conn *c, enum hub_transport transport);
/* The same for a WebSocket that is nobody's: an echo (docs/conformance.md). Its session is hidden. */
void open_echo(struct conn *c);
/* The hub says the session is attached (node mode). */
void open_attached(struct conn *c);

/* conn_ws.c */
void ws_begin(struct conn *c);
void ws_on_data(struct conn *c, uint8_t *data, size_t len);
void ws_on_timer(struct conn *c);
/* A hook has answered, a queue has room again, or the pause of a loud sender is over: goes on with the input that waited. */
void ws_resume(struct conn *c);
/* @c was flushed; @moved: its socket has taken bytes. An echo that has drained takes the next messages. */
void ws_flushed(struct conn *c, bool moved);
void ws_queue_close(struct conn *c);
/* The next deadline of a live WebSocket. */
void ws_arm(struct conn *c);

/* conn_deflate.c: permessage-deflate */
/*
 * Agrees on it with the client of the WebSocket that @c is about to be, and promises room for its contexts, if any. The
 * value of the answer's field, in @answer; empty: nothing was agreed on.
 */
struct bytes deflate_agree(struct conn *c, const struct http1_head *h, char answer[WS_DEFLATE_ANSWER_MAX]);
/* Gives back what @c holds and was promised. */
void deflate_forget(struct conn *c);
void deflate_shard_deinit(struct shard *sh);
/* Are the messages to @c deflated with a context of its own? Then all of them go through deflate_own(), in order. */
static inline bool deflate_is_own(const struct conn *c)
{
	return c->deflate.server_takeover;
}
/* The frame of @m, deflated once for all who agreed on the same window; empty: it goes out as it is, now and later. */
struct bytes deflate_shared(struct conn *c, struct msg *m);
/* Appends the frame of @m to @out, deflated or not. out->failed: no memory. */
void deflate_own(struct conn *c, const struct msg *m, struct buf *out);
/*
 * A compressed message of the client. 0: its bytes are in @out; DEFLATE_LATER: it is so long that it had better wait for
 * its turn (never when @now); else the close code, and *why. Each time @out is to be given back with deflate_done().
 */
#define DEFLATE_LATER 1u
#define DEFLATE_TURN_BYTES (1u << 20) /* inflated in a turn, about 2 ms; then the others come first */
uint16_t deflate_open(struct conn *c, struct bytes wire, bool text, bool now, struct buf *out, const char **why);
void deflate_done(struct conn *c, struct buf *out);

/* conn_sse.c */
void sse_begin(struct conn *c);
void sse_on_timer(struct conn *c);
void sse_arm(struct conn *c);
void sse_queue_close(struct conn *c);

/* Sends @m (taken) to the connection's own client; NULL, or no memory for it: closed with 1011. */
void conn_send_own(struct conn *c, struct msg *m);
/* Sends an error frame to the connection's own client. @ref: id of the message, plain; @extra: members for data. */
void conn_error(struct conn *c, enum api_code code, struct bytes why, struct bytes ref, struct bytes extra);

#endif
