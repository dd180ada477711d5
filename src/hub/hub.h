/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub: the routing core of one worker (or, in the simulator, of one node): the sessions, their queues, and the
 * recipients of each message. Passive: its driver feeds it (attach, publish, receive, tick) and asks it for work (ready
 * sessions, requests). It reads no clock, draws no random number, owns no socket and calls only two functions of its
 * driver: @route (the peer that owns a user) and @peer_send (copies a relay into that peer's mailbox and does nothing
 * else).
 *
 * Always true: a message accepted for a session is on its queue, or was given to the socket, or the session is being
 * closed with a code that tells the reason, or a gap notice replaces it. Every token gets at most one outcome (exactly
 * one unless only failures are wanted). No peer and no client can keep a queue over its limit for longer than one
 * flush. All calls come from the worker that owns the hub.
 */
#ifndef WSC_HUB_HUB_H
#define WSC_HUB_HUB_H

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "hub/limits.h"
#include "hub/outq.h"

/* A peer is another worker of this process or another node; at most 64, this hub among them. */
#define HUB_PEERS_MAX 64u

/* Positive results. */
enum hub_condition {
	HUB_OK = 0,
	HUB_WAIT = 1,          /* attach: HUB_REQ_ATTACHED follows when every peer knows the user */
	HUB_TOO_MANY = 2,      /* attach: the user is at the limit and the policy is reject */
	HUB_NOT_IN_TICKET = 3, /* publish: the sender has no connection with that ticket_id */
	HUB_BUSY = 4           /* publish: too many outcomes are pending; try again */
};

enum hub_transport { HUB_WEBSOCKET, HUB_SSE };
enum hub_slow_policy { HUB_SLOW_CLOSE, HUB_SLOW_DROP_OLDEST };
enum hub_login_policy { HUB_LOGIN_REPLACE, HUB_LOGIN_REJECT, HUB_LOGIN_ALLOW };

/* The ends that the hub decides by itself; its driver says with which close code and reason. */
enum hub_end { HUB_END_REPLACED, HUB_END_SLOW, HUB_END_NO_MEMORY, HUB_ENDS };
struct hub_close_reason {
	uint16_t code;
	const char *reason; /* static text */
};

enum session_state {
	SESSION_NONE,      /* not attached (zeroed memory) */
	SESSION_ATTACHING, /* registered and counted; not all peers have confirmed the user yet */
	SESSION_HELD,      /* registered; messages are queued, but not flushed until hub_accept() */
	SESSION_REPLAYING, /* messages of the log are read for it as its queue drains */
	SESSION_LIVE,
	SESSION_CLOSING /* close_code is set; the queue holds what may still be sent; detach comes next */
};

/* A request that waits for hub_take_request() while it is on a list. */
struct hub_call {
	struct list link;
	uint8_t type; /* enum hub_request_type */
};

/* Optional properties that few connections have; allocated only for such a connection, a replay, or HUB_WAIT. */
struct session_attrs {
	struct session *session;
	struct hub_call call;  /* HUB_REQ_ATTACHED, then HUB_REQ_LOAD: allocated here, so that a request cannot fail */
	struct ticket *ticket; /* NULL: none */
	struct list in_ticket;
	struct bytes ticket_id, role, device_id, client_type; /* views into text[] */
	char text[];
};

/* A user that has sessions here (@sessions) or on peers (@interest); freed when both are empty. */
struct user {
	struct map_node node;
	struct list sessions; /* by struct session.of_user, oldest first, closing ones included */
	uint64_t interest;    /* node mode: peers that have sessions of this user; bit n: peer n */
	uint64_t unconfirmed; /* node mode: peers that have not confirmed our INTEREST yet */
	uint32_t count;       /* sessions attached, held ones included, closing ones not */
	uint32_t accepted;    /* sessions that are REPLAYING or LIVE */
	uint32_t epoch;       /* node mode: of our last INTEREST; a confirmation with an older one is ignored */
	uint16_t id_len;
	char id[];
};
_Static_assert(offsetof(struct user, id) <= 64, "a user is 64 bytes and the id");

/* A user's device as the hub knows it. It is part of the connection's slab object; zeroed before hub_attach(). */
struct session {
	struct user *user;
	struct list of_user;
	struct list all;   /* on the list of all sessions of the hub */
	struct list queue; /* on the list that @place names */
	struct outq q;
	struct session_attrs *attrs;
	uint64_t connected_wall_ms; /* when it was accepted */
	union {
		/* The highest seq that was queued or skipped; live messages up to it are not queued again. */
		uint64_t position;
		const char *close_reason; /* CLOSING only; static text */
	};
	uint64_t handle;     /* the driver's generation-checked handle of this session: outcomes carry it as token */
	uint32_t gap;        /* dropped messages; a gap notice is due before the first message that has not begun */
	uint32_t last_rx_ms; /* low 32 bits of the monotonic ms of the client's last byte; the driver writes it */
	struct rate_bucket rate;
	uint16_t close_code;
	uint8_t state;     /* enum session_state */
	uint8_t transport; /* enum hub_transport */
	uint8_t user_type; /* index into the driver's table of types */
	uint8_t place;     /* enum session_place of hub_state.h: which list @queue is on */
	bool overflow : 1; /* the queue is over its limit; the policy is applied after the flush */
	bool blocked : 1;  /* the socket accepted less than it was offered and was offered nothing since */
	bool counted : 1;  /* is part of user->count */
	bool urgent : 1;   /* the queue has a message for this session or user alone */
	bool moved : 1;    /* the socket has accepted bytes since the session was taken off the ready list */
	bool loading : 1;  /* REPLAYING: a LOAD waits or is unanswered */
	bool missed : 1;   /* REPLAYING: a logged message came after the LOAD was taken, so one more LOAD must follow */
	bool hidden : 1;   /* its user is in no table and it is not on the list of all: only hub_send() reaches it */
};
_Static_assert(sizeof(struct session) <= 152, "a session lies in the 312 bytes of its connection");

struct hub_relay;

struct hub_options {
	unsigned self, peers; /* our number; the number of peers, self included */
	bool by_interest;     /* false: workers, @route gives the one owner of a user; true: nodes, interest tables */
	uint32_t max_messages[2]; /* that may wait for one session, by enum hub_transport */
	uint32_t max_queue_bytes;
	size_t max_total_bytes; /* of all live messages; above it the longest blocked readers are closed; 0: none */
	uint32_t max_sessions_per_user;
	enum hub_login_policy login;
	enum hub_slow_policy slow;
	struct hub_close_reason ends[HUB_ENDS];
	struct rate_limit rate;
	uint64_t ask_timeout_ms; /* without the answers of its peers by then, an outcome is HUB_TIMED_OUT; at least 1 */
	uint32_t max_pending;    /* outcomes that may be pending at once */
	uint64_t seed[2];        /* SipHash key of the tables; must be the same in all workers of a process */
	/* Workers: the peer that owns @user_id. Not used with by_interest. */
	unsigned (*route)(void *ctx, struct bytes user_id, uint64_t hash);
	/* Copies *@r. Never fails: the driver stops reading sockets before its room for relays is used up. */
	void (*peer_send)(void *ctx, unsigned peer, const struct hub_relay *r);
	void *ctx;
};

enum hub_scope { HUB_TO_USER, HUB_TO_TICKET, HUB_TO_ALL };
/* TIMED_OUT: a peer did not answer, was lost, or had no memory, and no recipient is known to have got the message. */
enum hub_result { HUB_DELIVERED, HUB_NOBODY, HUB_TIMED_OUT };
/* struct hub_relay.only_failures: when a PUBLISH is answered. */
enum hub_answer { HUB_ANSWER_ALWAYS, HUB_ANSWER_FAILURE, HUB_ANSWER_NEVER };

/* A message between hubs: flat, so that a mailbox can copy it as it is. Views are borrowed for the call. */
enum hub_relay_type {
	HUB_RELAY_PUBLISH,
	HUB_RELAY_OUTCOME,
	HUB_RELAY_KICK,
	HUB_RELAY_INTEREST,
	HUB_RELAY_INTEREST_OK,
	HUB_RELAY_NO_INTEREST
};
struct hub_relay {
	uint8_t type;          /* enum hub_relay_type */
	uint8_t scope;         /* enum hub_scope */
	uint8_t only_failures; /* enum hub_answer; an OUTCOME returns it */
	uint8_t kind;          /* enum msg_kind */
	uint16_t code;         /* KICK: close code; OUTCOME: not 0: the peer had no memory, @count may be too low */
	uint32_t count;        /* OUTCOME: delivered */
	uint32_t accepted_us;  /* PUBLISH: struct msg.accepted_us */
	uint64_t token;        /* of the asking hub, in PUBLISH, KICK and INTEREST; OUTCOME and INTEREST_OK return it */
	uint64_t seq;          /* position in the log, 0: none */
	struct bytes to;       /* user or ticket; OUTCOME of HUB_ANSWER_FAILURE returns it, with @ref */
	struct bytes sender;   /* TO_TICKET: the user who gets no copy; may be empty */
	struct bytes ref;      /* id of the message, so that a failure can name it */
	struct bytes body;     /* message text (JSON) */
	const char *reason;    /* KICK: static text */
};

struct hub_publication {
	enum hub_scope scope;
	struct bytes to; /* user, or ticket; empty with HUB_TO_ALL */
	/* HUB_TO_TICKET only: must have a session with the ticket here, unless may_be_outside; gets no copy. */
	struct bytes sender;
	bool may_be_outside; /* the program itself sends */
	struct bytes ref;    /* id of the message; the outcome returns it */
	struct msg *msg;
	uint64_t token;     /* the outcome returns it */
	bool only_failures; /* no outcome if one session got it; a message to all cannot fail, so it has none then */
};

/* The work that the hub asks its driver to do. Views are valid until the next hub_take_request(). */
enum hub_request_type {
	HUB_REQ_OUTCOME,  /* of a publication from here: token, result, delivered, to, ref */
	HUB_REQ_ATTACHED, /* session: SESSION_ATTACHING became SESSION_HELD */
	HUB_REQ_LOAD /* session: read the log after @after, at most @room messages; answer once with hub_loaded() */
};
struct hub_request {
	enum hub_request_type type;
	uint64_t token;
	enum hub_result result;
	uint32_t delivered;
	struct bytes to, ref;
	uint8_t scope;
	struct session *session;
	uint64_t after;
	uint32_t room;       /* LOAD: messages, at least 1 */
	uint32_t room_bytes; /* LOAD: sum of their msg_charge(); but one message is always allowed */
};

/* Why a message was taken off a queue unsent. */
enum hub_drop {
	HUB_DROP_OVERFLOW, /* HUB_SLOW_DROP_OLDEST */
	HUB_DROP_CLOSED,   /* discarded by hub_close() */
	HUB_DROP_BROKEN,   /* its session was detached first */
	HUB_DROPS
};

/* Counters; one writer (the owner), read from anywhere with relaxed loads. */
struct hub_counters {
	_Atomic uint64_t sessions[2];        /* accepted and not closing, by enum hub_transport */
	_Atomic uint64_t users;              /* that have such a session */
	_Atomic uint64_t lifetime;           /* sessions accepted since the start */
	_Atomic uint64_t sent;               /* MSG_USER put on a queue, once per session */
	_Atomic uint64_t dropped[HUB_DROPS]; /* removed from a queue unsent, by enum hub_drop */
	_Atomic uint64_t closed_slow;        /* 1013 */
	_Atomic uint64_t replaced;           /* 4409 */
};

struct hub; /* defined in hub_state.h, for hub/ alone */

/* Copies @o. Workers: all peers exist from the start; nodes: hub_peer_joined() adds each one. NULL: out of memory. */
struct hub *hub_new(const struct hub_options *o, struct now now);
/* Detach every session and free every message of hub_owner() before; asserts that no message byte is left. */
void hub_free(struct hub *h);
struct msg_owner *hub_owner(struct hub *h);
const struct hub_counters *hub_counters(const struct hub *h);

/* ---- sessions ------------------------------------------------------------------------------------------------- */

struct hub_identity {
	struct bytes user_id;
	struct bytes ticket_id, role, device_id, client_type; /* empty: none */
	uint8_t user_type, transport;
	bool hidden; /* no session can find or reach it and it belongs to no user: @user_id is only for the log */
	uint64_t handle;
};
/*
 * Registers @s for its user and counts it: state SESSION_HELD (0) or SESSION_ATTACHING (HUB_WAIT).
 * HUB_TOO_MANY: nothing was done. With HUB_LOGIN_REPLACE the oldest session is closed only at hub_accept().
 * Copies what @id points to; the caller checks that ids have 1 to 128 bytes. -WSC_ENOMEM: nothing was done.
 * Before it is accepted, its queue has the same limits, and the same policy is applied at the end of the turn.
 */
int hub_attach(struct hub *h, struct session *s, const struct hub_identity *id, struct now now);
/*
 * From now on the session may receive: @front (@n messages; takes references) goes in front of all held messages.
 * @replay_after, when not NULL, starts SESSION_REPLAYING after that position: HUB_REQ_LOAD asks the driver for the log,
 * and logged messages that were held are read from there. Messages that are not logged do not wait for the end of a
 * replay. Closes the user's oldest sessions with 4409 when there are too many and the policy is replace.
 * Only in SESSION_HELD; for a session that was closed meanwhile it returns 0 and does nothing. -WSC_ENOMEM: the session
 * is still held.
 */
int hub_accept(struct hub *h, struct session *s, struct msg *const *front, unsigned n, const uint64_t *replay_after,
	       struct now now);
/*
 * The answer to HUB_REQ_LOAD: the messages that the log has for this user in (after, upto], in order, including all
 * that were posted to any hub before the request. @end: the log has no more after @upto; the session is LIVE on return
 * unless more messages came meanwhile. Messages have a seq; references are taken. Ignored when the session is not
 * REPLAYING any more. Returns 0.
 */
int hub_loaded(struct hub *h, struct session *s, struct msg *const *msgs, unsigned n, uint64_t upto, bool end,
	       struct now now);
/*
 * Ends a session from our side: SESSION_CLOSING, on the ready list, its queue accepts no more messages. @discard: drops
 * messages that have not begun, so that the close frame is next (always done for a session that was never accepted).
 * The first code and reason are kept. @reason is static text.
 */
void hub_close(struct hub *h, struct session *s, uint16_t code, const char *reason, bool discard);
/*
 * The same for a slow reader: 1013, counted, messages that have not begun are dropped. No effect while it is closing.
 */
void hub_close_slow(struct hub *h, struct session *s);
/* Removes @s in any state; the driver may free its memory then. */
void hub_detach(struct hub *h, struct session *s, struct now now);
/* Number of counted sessions of the user of @s here, @s included while it is counted. */
uint32_t hub_user_sessions(const struct session *s);
static inline struct bytes session_user(const struct session *s)
{
	return bytes_of(s->user->id, s->user->id_len);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

/*
 * Routes @p->msg (keeps its own references). 0: accepted; a HUB_REQ_OUTCOME with p->token follows (always, or only
 * after a failure), and may be on the queue of requests before this returns. HUB_NOT_IN_TICKET, HUB_BUSY, -WSC_ENOMEM:
 * refused at once, no outcome follows.
 */
int hub_publish(struct hub *h, const struct hub_publication *p, struct now now);
/*
 * Queues a message for one session of this hub (errors, pongs), in order with all others on its queue. No effect while
 * the session is closing. 0 or -WSC_ENOMEM.
 */
int hub_send(struct hub *h, struct session *s, struct msg *m);
/*
 * Can a message of up to @len bytes be queued for @s within the limit of its queue? A driver asks this to stop reading
 * from a client that does not read, instead of closing it.
 */
bool hub_has_room(const struct hub *h, const struct session *s, uint64_t len);
/*
 * Closes every session of @user_id here and on all peers, with a code such as 4410, after the queued messages. The
 * outcome with @token tells how many (HUB_NOBODY: none). HUB_BUSY, -WSC_ENOMEM: nothing was done.
 */
int hub_kick(struct hub *h, struct bytes user_id, uint16_t code, const char *reason, uint64_t token, struct bytes ref,
	     struct now now);
/* Handles a relay from @peer. */
void hub_receive(struct hub *h, unsigned peer, const struct hub_relay *r, struct now now);
/*
 * Node mode. hub_peer_lost(): drops the peer's interest and the answers that it owes. hub_peer_joined(): tells the peer
 * our users. Relays of a peer that has not joined are ignored. Each join needs a new link: no relay of the former link
 * may arrive on it.
 */
void hub_peer_lost(struct hub *h, unsigned peer, struct now now);
void hub_peer_joined(struct hub *h, unsigned peer, struct now now);

/* ---- the turn ------------------------------------------------------------------------------------------------- */

/* Monotonic ms at which hub_tick() is due; UINT64_MAX: never. */
uint64_t hub_deadline(const struct hub *h);
void hub_tick(struct hub *h, struct now now);
bool hub_take_request(struct hub *h, struct hub_request *r);
/* @small: only a quarter of the messages and bytes of the options may wait for a session; false: all of them again. */
void hub_squeeze(struct hub *h, bool small);
/*
 * Frees @bytes of messages: one after the other, the longest blocked readers are offered their bytes once more and
 * closed when they accept none, until so much is free. 0: stop this. Returns false when no reader is blocked.
 */
bool hub_shed(struct hub *h, uint64_t bytes);
/* The number of waiting requests. A phase of the turn performs as many; requests that these cause come in the next. */
size_t hub_requests(const struct hub *h);
/*
 * Takes the next session with something to send off the ready list: first sessions with a unicast, an error or a close,
 * then sessions that got only a fan-out. The driver must offer the bytes to the socket even if it was blocked before,
 * because the policy is applied only to bytes that the socket refuses. A CLOSING session may never have been accepted.
 */
struct session *hub_take_ready(struct hub *h);
bool hub_has_ready(const struct hub *h);
/* Does a session of the first kind wait? They are served between the slices of a broadcast. */
bool hub_has_urgent(const struct hub *h);
/* Is the queue of a session over its limit? Then the turn stops reading and flushes; the flush ends this. */
bool hub_pressed(const struct hub *h);
/*
 * The socket has accepted the first @whole messages of s->q (this pops them) and @offset wire bytes of the next one.
 * While s->gap is not 0 a gap notice is due, in every state: at once when s->q.offset is 0, else directly after that
 * message.
 */
void hub_sent(struct hub *h, struct session *s, uint32_t whole, uint32_t offset);
/* The driver has written the gap notice for s->gap messages and sends it before the next one; s->gap becomes 0. */
void hub_gap_sent(struct hub *h, struct session *s);
/*
 * The end of a flush of @s; @would_block: the socket is full. Applies the overflow policy (close with 1013 and discard
 * the messages that have not begun, or drop_oldest and raise s->gap), lets a replay ask for more, and puts a session
 * that has more to send back on the ready list if its socket is not full. Above max_total_bytes the longest blocked
 * session is offered its bytes once more and closed when its socket accepts none.
 */
void hub_flushed(struct hub *h, struct session *s, bool would_block, struct now now);
/* The socket accepts bytes again. */
void hub_writable(struct hub *h, struct session *s);
/*
 * Puts @s on the ready list because its driver has control bytes to send (a pong, a close frame). No effect for a
 * session that is not accepted, or that is blocked and not closing: hub_writable() puts it there later.
 */
void hub_ready(struct hub *h, struct session *s);

/* ---- queries -------------------------------------------------------------------------------------------------- */

struct hub_user_row {
	struct bytes user_id;
	uint64_t connected_wall_ms; /* the earliest */
	uint32_t last_rx_ms;        /* the latest, as in struct session */
	uint32_t connections;
	uint8_t user_type, transport; /* HUB_WEBSOCKET if one of them is */
};
struct user *hub_find(const struct hub *h, struct bytes user_id);
/*
 * The next user with accepted sessions, in a stable order, after @after (NULL: the first; may be gone); false at the
 * end.
 */
bool hub_next_user(const struct hub *h, const struct bytes *after, struct hub_user_row *row);
void hub_row(const struct user *u, struct hub_user_row *row); /* connections 0: no session is accepted */
/*
 * Walks all sessions, closing ones included, for shutdown: start with NULL. Get the next session before you detach the
 * present one.
 */
struct session *hub_next_session(const struct hub *h, const struct session *s);

#endif
