/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn: one connection: a stream, a codec and a session on one string. It decides nothing about messages: received bytes
 * go to the connection's kind (transport/, http/), and what the hub has ready goes back to the stream.
 *
 * A connection begins as HTTP. A request for /ws or /sse makes it a session, and then it moves, once, to the shard of its
 * user. It ends in one place: conn_end() may be called at any moment on its shard and only notes the end; the connection
 * stays whole until the caller's event is over, then conn_settle() takes it apart, and conn_reap() frees it when the turn
 * is over. A late answer finds that its handle is stale.
 */
#ifndef WSC_CONN_CONN_H
#define WSC_CONN_CONN_H

#include "api/end.h"
#include "proto/sse.h"
#include "shard/shard.h"

enum conn_kind_id { CONN_HTTP, CONN_WS, CONN_SSE, CONN_KINDS };

enum conn_phase {
	PHASE_OPEN,
	PHASE_CLOSING, /* the close frame is on its way out, or waits behind messages */
	PHASE_LINGER,  /* everything is sent and our side is shut; we read on so that the peer can read the end */
	PHASE_ENDED    /* conn_end() was called */
};

struct conn;
struct http_conn;

/* The functions of a kind of connection. Everything runs on the connection's shard. A function that is NULL does nothing. */
struct conn_kind {
	int form; /* enum msg_form: how a message goes out; -1: this kind carries no messages */
	/* @data may be changed in place and is lent until return. */
	void (*on_data)(struct conn *c, uint8_t *data, size_t len);
	/* The peer has shut its side (0), or the connection broke (errno). NULL: the connection ends. */
	void (*on_end)(struct conn *c, int error);
	void (*on_writable)(struct conn *c);
	void (*on_timer)(struct conn *c);
	/* The input that waited goes on. */
	void (*resume)(struct conn *c);
	/* The node is going away. */
	void (*drain)(struct conn *c);
	/* A flush is over, and c->tell_flushed is set. @moved: the socket has taken bytes. Takes no input: conn_go_on() does. */
	void (*flushed)(struct conn *c, bool moved);
	/* Appends the close frame or the last event to the control bytes. */
	void (*queue_close)(struct conn *c);
	/* The last byte is sent. Returns how long to wait for the peer's end, ms. */
	uint32_t (*linger)(struct conn *c);
	void (*free)(struct conn *c);
};

/* The state that a WebSocket or event stream needs only now and then. */
struct conn_extra {
	struct buf ctl; /* response head, control frames, gap notices, the close frame: goes out between messages */
	size_t ctl_sent;
	struct buf message; /* a fragmented message so far */
	struct buf held; /* input that waits: half a header, or all that came behind a pending hook or a full queue */
	size_t held_at;  /* where the rest of it begins; not 0 only while c->held_input */
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
			uint64_t client;     /* SSE: hash of URL, address and user agent */
			uint32_t last_tx_ms; /* when something was sent */
		} sse;
	} u;
	union {
		struct http_conn *http;   /* CONN_HTTP: always there, except behind conn_detach() */
		struct conn_extra *extra; /* the others: NULL when there is nothing to hold */
	} at;
	struct rate_bucket control;
	struct deflate_contexts *contexts; /* with context takeover, once they are in use; else NULL */
	uint64_t secret;                   /* the half of the client id that nobody can guess */
	uint32_t pings;      /* heartbeats of the present silence that were pinged; PHASE_LINGER: bytes thrown away */
	uint32_t stalled_ms; /* low 32 bits, never 0: since then the full socket has taken nothing; 0: it is not full */
	uint16_t close_code; /* of the end */
	uint8_t kind, phase; /* enum conn_kind_id, enum conn_phase */
	struct ws_deflate deflate;
	bool accepted : 1;     /* on_client_connect said yes: on_client_disconnect is owed */
	bool close_queued : 1; /* the close frame or closed event is in ctl */
	bool peer_closed : 1;  /* a close frame has come */
	bool by_client : 1;
	bool held_input : 1; /* input waits in extra->held: for a hook, for room, or because its sender is rate-limited */
	bool resumed : 1;    /* on shard.resumed */
	bool deferred : 1;   /* on shard.deferred */
	bool tell_flushed : 1; /* the kind wants to hear of each flush */
	bool opened : 1;       /* the hub has counted it as opened, so its end is counted too */
	bool rate_limited : 1; /* so many messages were refused that nothing is read until the timer fires */
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

/* A WebSocket that gets its own messages back and belongs to no user. */
static inline bool conn_is_echo(const struct conn *c)
{
	return c->session.hidden;
}

/* Does its input wait for its turn? */
static inline bool conn_waits(const struct conn *c)
{
	return c->resumed || c->deferred;
}

static inline struct conn *conn_of_session(struct session *s)
{
	return container_of(s, struct conn, session);
}

static inline slab_handle conn_handle(const struct conn *c)
{
	return slab_handle_of(&conn_shard(c)->conns, c);
}

static inline const struct conn_kind *conn_kind(const struct conn *c)
{
	return conn_shard(c)->kinds[c->kind];
}

/* ---- life: conn.c --------------------------------------------------------------------------------------------- */

/* The connection of @h, or NULL when it has ended. */
struct conn *conn_get(struct shard *sh, slab_handle h);
/* Walks the connections that have not ended: start with *pos = 0; NULL at the end. */
struct conn *conn_next(struct shard *sh, uint32_t *pos);
/*
 * A new HTTP connection on @fd. Takes @fd and @http (NULL: there was no memory for it) in any case; NULL: it failed, the
 * problem was reported and both are gone.
 */
struct conn *conn_open(struct shard *sh, int fd, struct http_conn *http, void (*http_free)(struct http_conn *));
/* Takes its socket off this shard, so that another may open it. The connection object is freed at the end of the turn. */
int conn_detach(struct conn *c, struct tls **tls);
/* Notes that it ends, without a word to the peer. The first call counts. */
void conn_end(struct conn *c, uint16_t code, bool by_client);
/* Closes the session of @c; the peer is told. @discard: as for hub_close(). */
void conn_close(struct conn *c, enum end e, bool discard);
/* The session is over: the program is told, the hub forgets it. Once; conn_settle() does it where nobody did. */
void conn_leave(struct conn *c);
/* Takes apart the connections that have ended. Called behind every event that may end one. */
void conn_settle_ended(struct shard *sh);
static inline void conn_settle(struct shard *sh)
{
	if (!list_empty(&sh->ended))
		conn_settle_ended(sh);
}
/* Frees what ended in this turn. */
void conn_reap(struct shard *sh);

/* Takes no more of @c until the other connections have had their turn. Its codec keeps the received input. */
void conn_defer(struct conn *c);
/*
 * The input of @c that waited goes on, in this turn or the next, whatever the pressure: it must not fill a queue of other
 * connections. An echo and a connection that lingers are such.
 */
void conn_go_on(struct conn *c);
/* Takes @c off both lists; its input still waits. */
void conn_stop_waiting(struct conn *c);
/* Reads @c no more, and again; the latter takes it off both lists. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* Notes an offer to a full socket that took something (@moved) or nothing: limits.write_timeout. */
void conn_stall(struct conn *c, bool moved);
/* When the stall of @c is judged, monotonic ms; UINT64_MAX: it does not stand still. */
uint64_t conn_stall_due(const struct conn *c);
/* The stall of @c is due to be judged now. */
static inline bool conn_stall_over(const struct conn *c)
{
	return c->stalled_ms && now_ms(conn_shard(c)->now) >= conn_stall_due(c);
}

/* Extra state, made on first use; NULL: no memory. */
struct conn_extra *conn_extra(struct conn *c);
/* Frees it when it holds nothing. */
void conn_extra_trim(struct conn *c);
void conn_extra_free(struct conn *c);

/* The client of @c as hooks see it; @id_text is filled with the client id. */
#define CLIENT_ID_TEXT 33
void client_of(const struct conn *c, struct wsc_client *out, char id_text[CLIENT_ID_TEXT]);
/* The client id of @c: its slot and generation, and a random half. */
void client_id_text(const struct conn *c, char out[CLIENT_ID_TEXT]);
/* Logs what was wrong with the peer's TLS, if anything was. @peer: NULL when it is not known. */
void conn_log_tls(const struct conn *c, const struct ip *peer);

/* Sends @m (taken) to the connection's own client; NULL, or no memory for it: closed with 1011. */
void conn_send_own(struct conn *c, struct msg *m);
/* Sends an error frame to the connection's own client. @ref: id of the message, plain; @extra: members for data. */
void conn_error(struct conn *c, enum api_code code, struct bytes why, struct bytes ref, struct bytes extra);
/* The same for @e; @value stands in its sentence. */
void conn_refuse(struct conn *c, enum end e, struct bytes value, struct bytes ref, struct bytes extra);

/* ---- events: events.c ----------------------------------------------------------------------------------------- */

/* The stream events of struct loop_ops; the worker fills in the rest. */
void conn_on_data(struct stream *s, uint8_t *data, size_t len);
void conn_on_end(struct stream *s, int error);
void conn_on_writable(struct stream *s);
/* The timer of @c has fired. */
void conn_on_timer(struct conn *c);
/* The socket takes bytes again: on_writable of the kinds that carry messages. */
void conn_writable(struct conn *c);
/* Closes the session with 1001: drain of the kinds that carry messages. */
void conn_go_away(struct conn *c);
/* Goes on with input that waited: all that was resumed, then some of what was deferred. */
void conn_run_waiting(struct shard *sh);
/* Tells the next @n connections that the node is going away. True: that was all. */
bool conn_drain(struct shard *sh, uint32_t n);

/* ---- the way out: flush.c ------------------------------------------------------------------------------------- */

/* Sends what @c has ready: one send for many messages. */
void conn_flush(struct conn *c);
/* The close frame or last event is on its way: CONN_CLOSE_MS for everything that is left, and for the peer's answer. */
#define CONN_CLOSE_MS 5000u
void conn_closing(struct conn *c);

/* ---- memory pressure: shed.c ---------------------------------------------------------------------------------- */

/* Does what the memory step (shard/pressure.h) asks of this shard's connections; once a turn, behind pressure_turn(). */
void conn_shed(struct shard *sh);

/* ---- permessage-deflate: deflate.c ---------------------------------------------------------------------------- */

/*
 * Agrees on it with the client of the WebSocket that @c is about to be, and reserves room for its contexts, if any. The
 * value of the answer's field, in @answer; empty: nothing was agreed on.
 */
struct bytes deflate_agree(struct conn *c, const struct http1_head *h, char answer[WS_DEFLATE_ANSWER_MAX]);
/* Frees the contexts of @c and what it reserved. */
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
#define DEFLATE_TURN_BYTES (1u << 20) /* inflated in a turn, about 2 ms; then the others come first */
enum deflate_result {
	DEFLATE_DONE,
	DEFLATE_LATER, /* it is so long that it should wait for its turn; never when @now */
	DEFLATE_FAILED /* the connection is to be closed with *@e */
};
/* Inflates a compressed message of the client into @out. deflate_done() must follow in each case. */
enum deflate_result deflate_open(struct conn *c, struct bytes wire, bool text, bool now, struct buf *out, enum end *e);
void deflate_done(struct conn *c, struct buf *out);

#endif
