/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timers: level l has 64 slots of 64^l ms. A timer that is d ms away is on the level with the widest slots that are not
 * wider than d, in the slot of its deadline, which is then 1 to 64 slots ahead. Timers of level 0 fire; timers of the
 * other levels move to lower levels when time reaches the beginning of their slot. A deadline beyond the horizon (2^30
 * ms, 12 days) waits in the last slot and is placed again from there. Knows nodes and deadlines, not their purpose.
 */
#include "base/timers.h"

#include <stddef.h>

#define SLOT_BITS 6
#define HORIZON_MS (1ull << (SLOT_BITS * TIMERS_LEVELS))

static void queue_init(struct timer_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static void queue_push(struct timer_queue *q, struct timer *t)
{
	t->next = NULL;
	t->pprev = q->last;
	*q->last = t;
	q->last = &t->next;
}

static void queue_splice(struct timer_queue *to, struct timer_queue *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	from->first->pprev = to->last;
	to->last = from->last;
	queue_init(from);
}

void timers_init(struct timers *w, uint64_t now_ms)
{
	*w = (struct timers){ .now_ms = now_ms };
	queue_init(&w->late);
	queue_init(&w->expired);
}

/* @wait_ms: 1 to HORIZON_MS - 1. */
static void put(struct timers *w, struct timer *t, uint64_t wait_ms)
{
	unsigned level = (63u - (unsigned)__builtin_clzll(wait_ms)) / SLOT_BITS;
	unsigned slot = (unsigned)((w->now_ms + wait_ms) >> (SLOT_BITS * level)) % TIMERS_SLOTS;
	struct timer **head = &w->slots[level][slot];

	t->next = *head;
	if (t->next)
		t->next->pprev = &t->next;
	t->pprev = head;
	*head = t;
	w->used[level] |= 1ull << slot;
}

/* Puts @t on the queue @when_due when it is due, else into a slot. */
static void place(struct timers *w, struct timer *t, struct timer_queue *when_due)
{
	if (t->due_ms <= w->now_ms)
		queue_push(when_due, t);
	else if (t->due_ms - w->now_ms < HORIZON_MS)
		put(w, t, t->due_ms - w->now_ms);
	else
		put(w, t, HORIZON_MS - 1);
}

void timers_arm(struct timers *w, struct timer *t, uint64_t due_ms)
{
	timers_cancel(w, t);
	t->due_ms = due_ms;
	place(w, t, &w->late);
}

/* If @head, now NULL, is a slot of the wheel, the slot is no longer in use. */
static void mark_empty(struct timers *w, struct timer **head)
{
	uintptr_t offset = (uintptr_t)head - (uintptr_t)&w->slots[0][0];

	if (offset < sizeof(w->slots)) {
		size_t i = offset / sizeof(*head);

		w->used[i / TIMERS_SLOTS] &= ~(1ull << i % TIMERS_SLOTS);
	}
}

static void unlink_last(struct timers *w, struct timer *t)
{
	if (w->late.last == &t->next)
		w->late.last = t->pprev;
	else if (w->expired.last == &t->next)
		w->expired.last = t->pprev;
	else
		mark_empty(w, t->pprev);
}

void timers_cancel(struct timers *w, struct timer *t)
{
	if (!t->pprev)
		return;
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
	else
		unlink_last(w, t);
	t->next = NULL;
	t->pprev = NULL;
}

/* When time reaches the next used slot of @level; UINT64_MAX when none is used. */
static uint64_t next_slot_ms(const struct timers *w, unsigned level)
{
	unsigned shift = SLOT_BITS * level;
	uint64_t here = w->now_ms >> shift;
	unsigned turn = (unsigned)(here + 1) % TIMERS_SLOTS;
	uint64_t used = w->used[level];

	if (!used)
		return UINT64_MAX;
	/* The current slot was emptied when time reached it, so timers in it now are due a whole turn later. */
	used = used >> turn | used << (TIMERS_SLOTS - turn) % TIMERS_SLOTS;
	return (here + 1 + (unsigned)__builtin_ctzll(used)) << shift;
}

static uint64_t next_event_ms(const struct timers *w)
{
	uint64_t next = UINT64_MAX;

	for (unsigned level = 0; level < TIMERS_LEVELS; level++) {
		uint64_t ms = next_slot_ms(w, level);

		if (ms < next)
			next = ms;
	}
	return next;
}

uint64_t timers_next_ms(const struct timers *w)
{
	return w->late.first || w->expired.first ? w->now_ms : next_event_ms(w);
}

/* Moves the timers of the current slot of @level to lower levels: time has just reached the beginning of the slot. */
static void cascade(struct timers *w, unsigned level)
{
	unsigned slot = (unsigned)(w->now_ms >> (SLOT_BITS * level)) % TIMERS_SLOTS;
	struct timer *t = w->slots[level][slot];

	w->slots[level][slot] = NULL;
	w->used[level] &= ~(1ull << slot);
	while (t) {
		struct timer *next = t->next;

		place(w, t, &w->expired);
		t = next;
	}
}

void timers_advance(struct timers *w, uint64_t now_ms)
{
	uint64_t next;

	queue_splice(&w->expired, &w->late);
	while ((next = next_event_ms(w)) <= now_ms) {
		w->now_ms = next;
		for (unsigned level = 0; level < TIMERS_LEVELS; level++)
			if (next % (1ull << (SLOT_BITS * level)) == 0)
				cascade(w, level);
	}
	if (now_ms > w->now_ms)
		w->now_ms = now_ms;
}

struct timer *timers_pop(struct timers *w)
{
	struct timer *t = w->expired.first;

	if (t)
		timers_cancel(w, t);
	return t;
}
