/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_state: the inside of struct hub and what the files of hub/ say to each other. One worker's; nobody else includes it.
 *
 *   session.c   attach, accept, close, detach, replay      turn.c      ready lists, limits, what a flush leads to
 *   table.c     users and tickets, and questions on them   publish.c   where a message goes; relays coming in
 *   pending.c   outcomes that are waited for, requests     interest.c  node mode: who has told whom of which user
 */
#ifndef WSC_HUB_HUB_STATE_H
#define WSC_HUB_HUB_STATE_H

#include <stdatomic.h>

#include "hub/hub.h"
#include "wsc/error.h"

/* Where struct session.queue is. */
enum session_place {
	PLACE_NONE,
	PLACE_READY,   /* to be flushed: a unicast, an error, a close */
	PLACE_BULK,    /* to be flushed: only a fan-out reached it */
	PLACE_BLOCKED, /* its socket takes nothing; the one blocked for longest first */
	PLACE_HELD     /* not accepted yet, over its limit; judged when the turn begins to flush */
};

struct ticket {
	struct map_node node;
	struct list sessions; /* by struct session_attrs.in_ticket, closing ones included */
	uint16_t id_len;
	char id[];
};

/*
 * What became of one publication, from the moment it is asked for until its request was taken. It is on hub.asked while
 * peers owe their share, then on hub.requests; its memory is there before the message goes out, so nothing can stop it.
 */
struct outcome {
	struct hub_call call;
	struct list by_age;
	uint64_t owed; /* peers that have not answered; bit n: peer n */
	uint64_t due_ms;
	uint64_t token; /* the asker's */
	uint32_t slot;
	uint32_t delivered;
	uint8_t scope, result;
	bool only_failures;
	bool unsure; /* a peer was lost or had no memory */
	uint16_t to_len, ref_len;
	char text[]; /* to, then ref */
};

/* Names an outcome in relays. The generation moves at each reuse, so an answer that comes too late finds nobody. */
struct outcome_slot {
	struct outcome *outcome; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct hub {
	struct hub_options o;
	uint64_t live; /* peers that are there, without ourselves; bit n: peer n */
	struct map users, tickets;
	struct list everyone; /* by struct session.all */
	struct list places[PLACE_HELD + 1];
	uint32_t pressed;     /* sessions that are */
	uint32_t epoch;       /* of the last INTEREST sent */
	struct list requests; /* struct hub_call, in the order they are taken */
	size_t requests_count;
	struct outcome *taken; /* the one whose views hub_take_request() gave out last */
	struct list
		asked; /* outcomes that peers owe us, the oldest first; all wait equally long, so due in this order */
	struct outcome_slot *slots;
	uint32_t slots_cap, slots_used, slots_free;
	struct msg_owner owner;
	struct outq_pool pool;
	struct hub_counters counters;
};

#define SLOT_NONE UINT32_MAX

static inline void count_add(_Atomic uint64_t *c, uint64_t n)
{
	/* One writer: no need for a locked addition. */
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void count_sub(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) - n, memory_order_relaxed);
}

static inline uint64_t peer_bit(unsigned peer)
{
	return (uint64_t)1 << peer;
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
/* Forgets a user that neither we nor a peer has sessions of. */
void user_release(struct hub *h, struct user *u);
struct ticket *ticket_find(const struct hub *h, struct bytes id);
struct ticket *ticket_get(struct hub *h, struct bytes id);
void ticket_release(struct hub *h, struct ticket *t);
static inline struct bytes user_name(const struct user *u)
{
	return bytes_of(u->id, u->id_len);
}
/* The one behind @u in table order, NULL: the first. @u itself may be released after asking. */
struct user *user_after(const struct hub *h, const struct user *u);

/* ---- session.c ---- */
/* Puts @m on the queue of @s, or leaves it to the replay; false when @s takes no more. @urgent: for this user alone. */
bool session_take(struct hub *h, struct session *s, struct msg *m, bool urgent);
/* Asks for the next piece of the log if the queue has room for one. */
void session_ask_log(struct hub *h, struct session *s);

/* ---- turn.c ---- */
/* The queue of @s has grown. */
void turn_queued(struct hub *h, struct session *s, bool urgent);
/* @s is to be flushed, before bulk if anything on it is urgent. */
void turn_ready(struct hub *h, struct session *s);
/* @s is closing: to be flushed among the first, whatever is known of its socket. */
void turn_closing(struct hub *h, struct session *s);
/* @s is on no list and not pressed any more. */
void turn_forget(struct hub *h, struct session *s);

/* ---- pending.c ---- */
void pending_deinit(struct hub *h);
/* NULL: out of memory. */
struct outcome *outcome_new(uint8_t scope, struct bytes to, struct bytes ref, uint64_t token);
void outcome_free(struct outcome *o);
/* Waits for @peers; the name for the relays. 0: HUB_BUSY or out of memory (*err says which), nothing was done. */
uint64_t pending_add(struct hub *h, struct outcome *o, uint64_t peers, struct now now, int *err);
/* Takes an outcome back that was added and is not wanted any more; frees it. */
void pending_cancel(struct hub *h, struct outcome *o);
/* @peer answers for the name @slot. */
void pending_answer(struct hub *h, unsigned peer, uint64_t slot, uint32_t delivered, bool unsure);
void pending_peer_lost(struct hub *h, unsigned peer);
void pending_expire(struct hub *h, struct now now);
/* The outcome is known: becomes a request, or is freed if only failures were asked for and it is none. */
void outcome_report(struct hub *h, struct outcome *o);
/* Safe on one that is on no list. */
void call_cancel(struct hub *h, struct hub_call *c);
void call_push(struct hub *h, struct hub_call *c, enum hub_request_type type);

/* ---- interest.c ---- */
/* The first session of @u here: peers are told. */
void interest_announce(struct hub *h, struct user *u);
/* The last one is gone. */
void interest_withdraw(struct hub *h, struct user *u);
void interest_receive(struct hub *h, unsigned peer, const struct hub_relay *r);

#endif
