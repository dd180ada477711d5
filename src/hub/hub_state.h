/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_state: the inside of struct hub and the functions that the files of hub/ share. Only hub/ includes it. Belongs to
 * one worker.
 *
 *   session.c   attach, accept, close, detach, replay      turn.c      ready lists, limits, effects of a flush
 *   table.c     users and tickets, and queries about them  publish.c   recipients of a message; relays from peers
 *   pending.c   pending outcomes, requests                 interest.c  node mode: which peers know which user
 */
#ifndef WSC_HUB_HUB_STATE_H
#define WSC_HUB_HUB_STATE_H

#include "base/counter.h"
#include "hub/hub.h"
#include "wsc/error.h"

/* The list that struct session.queue is on. */
enum session_place {
	PLACE_NONE,
	PLACE_READY,   /* to be flushed: a unicast, an error, a close */
	PLACE_BULK,    /* to be flushed: it got only a fan-out */
	PLACE_BLOCKED, /* its socket is full; the longest blocked first */
	PLACE_HELD     /* not accepted yet and over its limit; the policy is applied when the turn begins to flush */
};

struct ticket {
	struct map_node node;
	struct list sessions; /* by struct session_attrs.in_ticket, closing ones included */
	uint16_t id_len;
	char id[];
};

/*
 * The outcome of one publication, until its request was taken. It is on hub.asked while peers owe an answer, then on
 * hub.requests. It is allocated before the message is sent, so that reporting it cannot fail.
 */
struct outcome {
	struct hub_call call;
	struct list by_age;
	uint64_t owed; /* peers that have not answered; bit n: peer n */
	uint64_t due_ms;
	uint64_t token; /* of the publication */
	uint32_t slot;
	uint32_t delivered;
	uint8_t scope, result;
	bool only_failures;
	bool unsure; /* a peer was lost or had no memory */
	uint16_t to_len, ref_len;
	char text[]; /* to, then ref */
};

/* Names an outcome in relays. Each reuse has a new generation, so that a late answer does not find another outcome. */
struct outcome_slot {
	struct outcome *outcome; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct hub {
	struct hub_options o;
	uint64_t live; /* peers that have joined, without ourselves; bit n: peer n */
	struct map users, tickets;
	struct list all_sessions; /* by struct session.all */
	struct list places[PLACE_HELD + 1];
	uint32_t overflows;   /* sessions with @overflow */
	uint8_t squeeze;      /* queue limits are shifted right by this */
	uint32_t epoch;       /* of the last INTEREST sent */
	struct list requests; /* struct hub_call, in the order they are taken */
	size_t requests_count;
	struct outcome *taken; /* the one that hub_take_request() returned last: its views are still borrowed */
	struct list asked;     /* outcomes that wait for peers, the oldest first; all time out in this order */
	struct outcome_slot *slots;
	uint32_t slots_cap, slots_used, slots_free;
	struct msg_owner owner;
	struct outq_pool pool;
	struct hub_counters counters;
};

#define SLOT_NONE UINT32_MAX

static inline uint64_t peer_bit(unsigned peer)
{
	return (uint64_t)1 << peer;
}

/* The present limits of a queue. */
static inline uint32_t limit_messages(const struct hub *h, const struct session *s)
{
	uint32_t n = h->o.max_messages[s->transport] >> h->squeeze;

	return n ? n : 1;
}

static inline uint32_t limit_bytes(const struct hub *h)
{
	return h->o.max_queue_bytes >> h->squeeze;
}

static inline bool session_accepted(const struct session *s)
{
	return s->state == SESSION_REPLAYING || s->state == SESSION_LIVE;
}

static inline struct session *session_of_user(struct list *n)
{
	return container_of(n, struct session, of_user);
}
static inline struct session *session_of_all(struct list *n)
{
	return container_of(n, struct session, all);
}

/* ---- table.c ---- */
int tables_init(struct hub *h);
void tables_deinit(struct hub *h);
struct user *user_find(const struct hub *h, struct bytes id, uint64_t hash);
/* Finds or makes it; NULL: out of memory. */
struct user *user_get(struct hub *h, struct bytes id, uint64_t hash);
/* A record that is in no table, for one hidden session. NULL: out of memory. */
struct user *user_hidden(struct bytes id);
/* Frees @u if neither we nor a peer has sessions of it. */
void user_release(struct hub *h, struct user *u);
struct ticket *ticket_find(const struct hub *h, struct bytes id);
struct ticket *ticket_get(struct hub *h, struct bytes id);
void ticket_release(struct hub *h, struct ticket *t);
static inline struct bytes user_name(const struct user *u)
{
	return bytes_of(u->id, u->id_len);
}
/* The user after @u in table order, NULL: the first. @u may be released after this call. */
struct user *user_after(const struct hub *h, const struct user *u);

/* ---- session.c ---- */
/* hub_close() with what the driver says for @end. */
void session_close(struct hub *h, struct session *s, enum hub_end end, bool discard);
/*
 * Puts @m on the queue of @s, or leaves it to the replay; false when @s accepts no more. @urgent: for this user alone.
 */
bool session_take(struct hub *h, struct session *s, struct msg *m, bool urgent);
/* Asks for the next part of the log if the queue has room. */
void session_ask_log(struct hub *h, struct session *s);

/* ---- place.c; its small functions are inline because each delivery calls them ---- */
static inline void place_move(struct hub *h, struct session *s, enum session_place place)
{
	list_remove(&s->queue);
	s->place = (uint8_t)place;
	if (place != PLACE_NONE)
		list_push(&h->places[place], &s->queue);
}

static inline bool place_over_limit(const struct hub *h, const struct session *s)
{
	return s->q.count > limit_messages(h, s) || (s->q.bytes > limit_bytes(h) && s->q.count > 1);
}

static inline void place_mark_overflow(struct hub *h, struct session *s)
{
	if (s->overflow)
		return;
	s->overflow = true;
	h->overflows++;
}

static inline void place_clear_overflow(struct hub *h, struct session *s)
{
	if (!s->overflow)
		return;
	s->overflow = false;
	h->overflows--;
}

/* Puts @s on the ready list, or on the bulk list when nothing on its queue is urgent. */
static inline void place_ready(struct hub *h, struct session *s)
{
	enum session_place want = s->urgent ? PLACE_READY : PLACE_BULK;

	if (s->place != PLACE_READY && s->place != want)
		place_move(h, s, want);
}

/* @s got a message: marks its queue if it is over the limit, and puts @s on the list that it belongs to now. */
void place_queued(struct hub *h, struct session *s, bool urgent);
/* @s is closing: puts it on the ready list even if its socket is blocked. */
void place_closing(struct hub *h, struct session *s);
/* Takes @s off its list and clears its overflow mark. */
void place_forget(struct hub *h, struct session *s);

/* ---- pending.c ---- */
void pending_deinit(struct hub *h);
/* NULL: out of memory. */
struct outcome *outcome_new(uint8_t scope, struct bytes to, struct bytes ref, uint64_t token);
void outcome_free(struct outcome *o);
/* Makes @o wait for @peers; returns its name for the relays. 0: *err is HUB_BUSY or -WSC_ENOMEM, nothing was done. */
uint64_t pending_add(struct hub *h, struct outcome *o, uint64_t peers, struct now now, int *err);
/* Removes and frees an outcome that was added and is not needed any more. */
void pending_cancel(struct hub *h, struct outcome *o);
/* @peer has answered for the outcome @name. */
void pending_answer(struct hub *h, unsigned peer, uint64_t name, uint32_t delivered, bool unsure);
void pending_peer_lost(struct hub *h, unsigned peer);
void pending_expire(struct hub *h, struct now now);
/* The outcome is known: makes it a request, or frees it if only failures are wanted and it is a success. */
void outcome_report(struct hub *h, struct outcome *o);
/* Safe on a request that is on no list. */
void call_cancel(struct hub *h, struct hub_call *c);
void call_push(struct hub *h, struct hub_call *c, enum hub_request_type type);

/* ---- interest.c ---- */
/* @u got its first session here: tells the peers. */
void interest_announce(struct hub *h, struct user *u);
/* @u lost its last session here: tells the peers. */
void interest_withdraw(struct hub *h, struct user *u);
void interest_receive(struct hub *h, unsigned peer, const struct hub_relay *r);

#endif
