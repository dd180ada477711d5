/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub: the routing core of one worker (or, in the simulator, of one node): who is here, what waits for them, where a
 * message goes. Passive: it is fed (attach, publish, receive, tick) and asked (ready sessions, requests); it reads no clock,
 * draws no chance, owns no socket and never calls back into whoever drives it, but for two functions it is given:
 * @route (who the peers of a user are) and @peer_send (copies a relay into that peer's mailbox, nothing else).
 *
 * What always holds: a message accepted for a session is on its queue, or was handed to the socket, or the session is
 * being closed with a code that says why, or a gap notice stands where it was. Every token gets at most one outcome
 * (exactly one unless only failures were asked for). Nothing a peer or a client does grows a queue beyond its limit for
 * longer than one flush. All calls come from the worker that owns the hub.
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
	HUB_WAIT = 1,          /* attach: HUB_REQ_ATTACHED comes once every peer knows of the user */
	HUB_TOO_MANY = 2,      /* attach: the user is at the limit and the policy is reject */
	HUB_NOT_IN_TICKET = 3, /* publish: the sender has no connection with that ticket_id */
	HUB_BUSY = 4           /* publish: too many unanswered questions; try again */
};

enum hub_transport { HUB_WEBSOCKET, HUB_SSE };
enum hub_slow_policy { HUB_SLOW_CLOSE, HUB_SLOW_DROP_OLDEST };
enum hub_login_policy { HUB_LOGIN_REPLACE, HUB_LOGIN_REJECT, HUB_LOGIN_ALLOW };

enum session_state {
	SESSION_NONE,      /* not attached (zeroed memory) */
	SESSION_ATTACHING, /* registered and counted; peers do not all know yet */
	SESSION_HELD,      /* registered, messages queue, nothing is flushed until hub_accept() */
	SESSION_REPLAYING, /* the log is being read for it, as its queue drains */
	SESSION_LIVE,
	SESSION_CLOSING /* close_code is set; what may still be sent is on the queue; detach comes next */
};

/* What waits to be taken as a hub_request; on no list: nothing does. */
struct hub_call {
	struct list link;
	uint8_t type; /* enum hub_request_type */
};

/* Optional properties of a connection that few have; allocated only when one is there (or a replay, or HUB_WAIT). */
struct session_attrs {
	struct session *session;
	struct hub_call call;  /* HUB_REQ_ATTACHED, then HUB_REQ_LOAD: room for it is reserved, so asking cannot fail */
	struct ticket *ticket; /* NULL: none */
	struct list in_ticket;
	struct bytes ticket_id, role, device_id, client_type; /* views into text[] */
	char text[];
};

/* A user of ours (the list of sessions), or one that peers have told us of (@interest); gone when both are empty. */
struct user {
	struct map_node node;
	struct list sessions; /* by struct session.of_user, oldest first, closing ones included */
	uint64_t interest;    /* node mode: peers that have sessions of this user; bit n: peer n */
	uint64_t unconfirmed; /* node mode: peers that have not confirmed ours yet */
	uint32_t count;       /* sessions attached, held ones included, closing ones not */
	uint32_t accepted;    /* those of them that are REPLAYING or LIVE */
	uint32_t epoch;       /* node mode: of our last INTEREST; an older one's confirmation is worth nothing */
	uint16_t id_len;
	char id[];
};
_Static_assert(offsetof(struct user, id) <= 64, "a user is 64 bytes and the id");

/* A device as the hub knows it. Sits inside the connection's slab object; zeroed before hub_attach(). */
struct session {
	struct user *user;
	struct list of_user;
	struct list all;   /* everyone here */
	struct list queue; /* on the hub's list that @place says */
	struct outq q;
	struct session_attrs *attrs;
	uint64_t connected_wall_ms; /* when it was accepted */
	union {
		uint64_t
			position; /* highest seq that was queued for it or read past; live ones up to it are not queued again */
		const char *close_reason; /* CLOSING only; static text */
	};
	uint64_t handle;     /* the driver's generation-checked name of this session: outcomes carry it as token */
	uint32_t gap;        /* messages dropped; a notice is due before the first message that has not begun */
	uint32_t last_rx_ms; /* low 32 bits of the monotonic ms of the client's last byte; the driver writes it */
	struct rate_bucket rate;
	uint16_t close_code;
	uint8_t state;     /* enum session_state */
	uint8_t transport; /* enum hub_transport */
	uint8_t user_type; /* index into the driver's table of types */
	uint8_t place;     /* enum session_place of hub_state.h: which list @queue is on */
	bool pressed : 1;  /* over its limit, to be judged after the flush */
	bool blocked : 1;  /* the socket took less than it was offered and has not been offered anything since */
	bool counted : 1;  /* is part of user->count */
	bool urgent : 1;   /* something on the queue is for this session or user alone */
	bool moved : 1;    /* the socket has taken bytes since it was taken off the ready list */
	bool loading : 1;  /* REPLAYING: a LOAD waits or is unanswered */
	bool missed : 1; /* REPLAYING: a live logged message came since the LOAD was taken, so its end is not the end */
	bool hidden : 1; /* its user is in no table and it is not one of everyone: only hub_send() reaches it */
};
_Static_assert(sizeof(struct session) <= 152, "a session shares 256 bytes with its connection");

struct hub_relay;

struct hub_options {
	unsigned self, peers; /* our number; how many there are, self included */
	bool by_interest; /* false: workers, a user's one peer is a function of the id; true: nodes, interest tables */
	uint32_t max_messages[2]; /* that may wait for one session, by enum hub_transport */
	uint32_t max_queue_bytes;
	size_t max_total_bytes; /* of all live messages here; over it the readers blocked for longest are closed; 0: none */
	uint32_t max_sessions_per_user;
	enum hub_login_policy login;
	enum hub_slow_policy slow;
	struct rate_limit rate;
	uint64_t
		ask_timeout_ms; /* an outcome that its peers do not give by then is reported as HUB_TIMED_OUT; at least 1 */
	uint32_t max_pending; /* outcomes waited for at once */
	uint64_t seed[2];     /* SipHash key of the tables; must be the same in all workers of a process */
	/* Workers: the peer that owns @user_id. Not used with by_interest. */
	unsigned (*route)(void *ctx, struct bytes user_id, uint64_t hash);
	/* Copies *@r. Never fails: room for what was let in is reserved, the driver stops reading before it runs out. */
	void (*peer_send)(void *ctx, unsigned peer, const struct hub_relay *r);
	void *ctx;
};

enum hub_scope { HUB_TO_USER, HUB_TO_TICKET, HUB_TO_ALL };
/* TIMED_OUT: a peer did not answer, was lost, or had no memory, and nobody else is known to have got it. */
enum hub_result { HUB_DELIVERED, HUB_NOBODY, HUB_TIMED_OUT };
/* struct hub_relay.only_failures: when a PUBLISH is answered. */
enum hub_answer { HUB_ANSWER_ALWAYS, HUB_ANSWER_FAILURE, HUB_ANSWER_NEVER };

/* What travels between hubs: flat, so that a mailbox copies it as it stands. Views are borrowed for the call. */
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
	uint8_t only_failures; /* enum hub_answer; an OUTCOME brings it back */
	uint8_t kind;          /* enum msg_kind */
	uint16_t code;         /* KICK: close code; OUTCOME: not 0: memory was out, @count is not the whole truth */
	uint32_t count;        /* OUTCOME: delivered */
	uint64_t
		token; /* of the asking hub: PUBLISH, KICK and INTEREST carry it, OUTCOME and INTEREST_OK bring it back */
	uint64_t seq;        /* position in the log, 0: none */
	struct bytes to;     /* user or ticket; OUTCOME of HUB_ANSWER_FAILURE: as it was asked, with @ref */
	struct bytes sender; /* TO_TICKET: the user who gets no copy; may be empty */
	struct bytes ref;    /* id of the message, so that a failure can name it */
	struct bytes body;   /* JSON text */
	const char *reason;  /* KICK: static text */
};

struct hub_publication {
	enum hub_scope scope;
	struct bytes to; /* user, or ticket; empty with HUB_TO_ALL */
	struct bytes
		sender; /* HUB_TO_TICKET: must be in the ticket here, unless may_be_outside; gets no copy; else not looked at */
	bool may_be_outside; /* the program itself sends */
	struct bytes ref;    /* id of the message; comes back with the outcome */
	struct msg *msg;
	uint64_t token;     /* comes back with the outcome */
	bool only_failures; /* no outcome if anybody got it; a message to all cannot fail, so it has none then */
};

/* What the hub wants its driver to do. Views are good until the next hub_take_request(). */
enum hub_request_type {
	HUB_REQ_OUTCOME,  /* of a publication of ours: token, result, delivered, to, ref */
	HUB_REQ_ATTACHED, /* session: SESSION_ATTACHING became SESSION_HELD */
	HUB_REQ_LOAD /* session: read the log behind @after, at most @room messages; answer once with hub_loaded() */
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
	uint32_t room_bytes; /* LOAD: sum of their msg_charge(); but one message may always come */
};

/* Counters; one writer (the owner), read from anywhere with relaxed loads. */
struct hub_counters {
	_Atomic uint64_t sessions[2]; /* accepted and not closing, by enum hub_transport */
	_Atomic uint64_t users;       /* that have such a session */
	_Atomic uint64_t lifetime;    /* sessions accepted since the start */
	_Atomic uint64_t sent;        /* MSG_USER put on a queue, once per session */
	_Atomic uint64_t dropped;     /* taken off a queue unsent: by drop_oldest, or discarded at a close */
	_Atomic uint64_t closed_slow; /* 1013 */
	_Atomic uint64_t replaced;    /* 4409 */
};

struct hub; /* open in hub_state.h, for hub/ alone */

/* Copies @o. Workers: all peers are there from the start; nodes: each comes with hub_peer_joined(). NULL: out of memory. */
struct hub *hub_new(const struct hub_options *o, struct now now);
/* Every session must have been detached and every message of hub_owner() let go: asserts that no message byte is left. */
void hub_free(struct hub *h);
struct msg_owner *hub_owner(struct hub *h);
const struct hub_counters *hub_counters(const struct hub *h);

/* ---- sessions ------------------------------------------------------------------------------------------------- */

struct hub_identity {
	struct bytes user_id;
	struct bytes ticket_id, role, device_id, client_type; /* empty: none */
	uint8_t user_type, transport;
	bool hidden; /* nobody can find or reach it, and it is nobody's device: @user_id is only a name for the log */
	uint64_t handle;
};
/*
 * Registers @s for its user and reserves its place: state SESSION_HELD (0) or SESSION_ATTACHING (HUB_WAIT).
 * HUB_TOO_MANY: nothing was done. With HUB_LOGIN_REPLACE the oldest one is closed only at hub_accept().
 * Copies what @id points to; ids of 1 to 128 bytes are the caller's to check. -WSC_ENOMEM: nothing was done.
 * While it is not accepted its queue has the same limits; what is over them at the end of the turn meets the same policy.
 */
int hub_attach(struct hub *h, struct session *s, const struct hub_identity *id, struct now now);
/*
 * The connection may receive: @front (n of them, references are taken) goes before all that was held. @replay_after, when
 * not NULL, starts SESSION_REPLAYING behind that position: HUB_REQ_LOAD asks the driver for the log, and logged messages
 * that were held are read from there. Messages that are not logged do not wait for the end of a replay.
 * Closes the user's oldest sessions with 4409 when there are too many and the policy is replace.
 * Only in SESSION_HELD; a session that was closed meanwhile stays CLOSING and 0 comes back. -WSC_ENOMEM: it is still held.
 */
int hub_accept(struct hub *h, struct session *s, struct msg *const *front, unsigned n, const uint64_t *replay_after,
	       struct now now);
/*
 * The answer to HUB_REQ_LOAD: what the log has for this user in (after, upto], in order, everything that was posted to any
 * hub before it was asked included. @end: it held nothing behind @upto; the session is LIVE when this returns unless more
 * came since. Messages carry seq; references are taken. Ignored when the session is not REPLAYING any more. Returns 0.
 */
int hub_loaded(struct hub *h, struct session *s, struct msg *const *msgs, unsigned n, uint64_t upto, bool end,
	       struct now now);
/*
 * Ends a session from our side: SESSION_CLOSING, on the ready list, no more messages are taken. @discard: what has not
 * begun is dropped, so that the close frame is next (always so for one that was never accepted). The first reason stands.
 * @reason is static text.
 */
void hub_close(struct hub *h, struct session *s, uint16_t code, const char *reason, bool discard);
/* Removes @s altogether, in whatever state it is; its memory is the driver's again. */
void hub_detach(struct hub *h, struct session *s, struct now now);
/* Number of counted sessions of the user of @s here, @s included while it is counted. */
uint32_t hub_user_sessions(const struct session *s);
static inline struct bytes session_user(const struct session *s)
{
	return bytes_of(s->user->id, s->user->id_len);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

/*
 * Routes @p->msg (keeps its own references). 0: accepted; the outcome comes as HUB_REQ_OUTCOME with p->token (always, or
 * only when it failed), perhaps before this returns the queue of requests holds it. HUB_NOT_IN_TICKET, HUB_BUSY,
 * -WSC_ENOMEM: refused at once, no outcome follows.
 */
int hub_publish(struct hub *h, const struct hub_publication *p, struct now now);
/*
 * One message for one session of this hub (errors, pongs): ordered with all else on its queue. Nothing to one that is
 * closing. 0 or -WSC_ENOMEM.
 */
int hub_send(struct hub *h, struct session *s, struct msg *m);
/*
 * Can a message of up to @len bytes be queued for @s without taking the queue over its limit? For a driver that would rather
 * take no more from a client who does not read than lose it.
 */
bool hub_has_room(const struct hub *h, const struct session *s, uint64_t len);
/*
 * Closes every session of @user_id wherever it is: 4410 and the like, after what is queued. Outcome with @token: how many
 * (HUB_NOBODY: none). HUB_BUSY, -WSC_ENOMEM: nothing was done.
 */
int hub_kick(struct hub *h, struct bytes user_id, uint16_t code, const char *reason, uint64_t token, struct bytes ref,
	     struct now now);
/* A relay has come from @peer. */
void hub_receive(struct hub *h, unsigned peer, const struct hub_relay *r, struct now now);
/*
 * A peer is gone (node mode): its interest and what it owed are dropped; or new: it is told of ours. Between the two its
 * relays are ignored. The link must begin anew at each join: nothing of the former one may come out of it afterwards.
 */
void hub_peer_lost(struct hub *h, unsigned peer, struct now now);
void hub_peer_joined(struct hub *h, unsigned peer, struct now now);

/* ---- the turn ------------------------------------------------------------------------------------------------- */

/* Monotonic ms at which hub_tick() has something to do; UINT64_MAX: never. */
uint64_t hub_deadline(const struct hub *h);
void hub_tick(struct hub *h, struct now now);
bool hub_take_request(struct hub *h, struct hub_request *r);
/* How many wait: a phase performs those that waited when it began, what they cause comes in the next. */
size_t hub_requests(const struct hub *h);
/*
 * The next session with something to send; those with a unicast, an error or a close first, then those that only a fan-out
 * reached. It is off the list then and must be offered to its socket, s->blocked or not before: a reader is judged only by
 * what the socket refuses. One that is CLOSING may never have been accepted.
 */
struct session *hub_take_ready(struct hub *h);
bool hub_has_ready(const struct hub *h);
/* Is one of the first kind waiting? Between the slices of a broadcast these are served. */
bool hub_has_urgent(const struct hub *h);
/* Is a session over its limit? Then the turn stops reading and flushes. Cleared by flushing. */
bool hub_pressed(const struct hub *h);
/*
 * The socket has taken the first @whole messages of s->q (they are popped here), and @offset wire bytes altogether of the
 * one that is first then. While s->gap is not 0 a notice is due, in every state: at once when s->q.offset is 0, else right
 * after that message.
 */
void hub_sent(struct hub *h, struct session *s, uint32_t whole, uint32_t offset);
/* The driver has composed the notice for s->gap messages and will send it before the next one; s->gap counts anew. */
void hub_gap_sent(struct hub *h, struct session *s);
/*
 * The end of a flush of @s: @would_block tells whether the socket took all. Here the overflow policy is applied
 * (close 1013 with what has not begun discarded, or drop_oldest with s->gap raised), a replay asks for more, and
 * a session that has more to send while the socket takes bytes goes back on the ready list. Over max_total_bytes, the
 * one that is blocked for longest is offered its bytes once more and closed when none are taken.
 */
void hub_flushed(struct hub *h, struct session *s, bool would_block, struct now now);
/* The socket takes bytes again. */
void hub_writable(struct hub *h, struct session *s);
/*
 * Puts @s on the ready list because its driver has something of its own to send (a pong, a close frame). Nothing is done
 * for one that is not accepted, or blocked and not closing: hub_writable() will.
 */
void hub_ready(struct hub *h, struct session *s);

/* ---- questions ------------------------------------------------------------------------------------------------ */

struct hub_user_row {
	struct bytes user_id;
	uint64_t connected_wall_ms; /* the earliest */
	uint32_t last_rx_ms;        /* the latest, as in struct session */
	uint32_t connections;
	uint8_t user_type, transport; /* HUB_WEBSOCKET if any is */
};
struct user *hub_find(const struct hub *h, struct bytes user_id);
/* Users with accepted sessions, in a stable order, behind @after (NULL: from the start; may be gone); false at the end. */
bool hub_next_user(const struct hub *h, const struct bytes *after, struct hub_user_row *row);
void hub_row(const struct user *u, struct hub_user_row *row); /* connections 0: nobody accepted */
/*
 * Every session, closing ones included, for shutdown: start with NULL. Detaching the one just returned is allowed only
 * after asking for the next.
 */
struct session *hub_next_session(const struct hub *h, const struct session *s);

#endif
