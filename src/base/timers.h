/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timers: a hierarchical wheel of 1 ms ticks with intrusive nodes: arm, move and cancel are O(1).
 * Deadlines are monotonic milliseconds. A node fires once, never early, and is not armed any more when it fires.
 * One owner thread; neither the wheel nor an armed node may be moved in memory.
 */
#ifndef WSC_BASE_TIMERS_H
#define WSC_BASE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct timer {
	struct timer *next, **pprev; /* pprev is NULL when it is not armed */
	uint64_t due_ms;
};

#define TIMERS_LEVELS 5
#define TIMERS_SLOTS 64

struct timer_queue {
	struct timer *first, **last;
};

struct timers {
	uint64_t now_ms;
	uint64_t used[TIMERS_LEVELS]; /* a bit per slot that is not empty */
	struct timer *slots[TIMERS_LEVELS][TIMERS_SLOTS];
	struct timer_queue late;    /* armed when already due, waiting for timers_advance() */
	struct timer_queue expired; /* due, waiting for timers_pop() */
};

void timers_init(struct timers *w, uint64_t now_ms);
/*
 * (Re)arms @t; a deadline in the past fires at the next advance, so that a handler which arms its own timer for "now"
 * does not make timers_pop() return it for ever. Any 64-bit deadline is allowed.
 */
void timers_arm(struct timers *w, struct timer *t, uint64_t due_ms);
/* Safe on a timer that is not armed (zeroed memory is such a timer). */
void timers_cancel(struct timers *w, struct timer *t);

static inline bool timer_armed(const struct timer *t)
{
	return t->pprev != 0;
}

/* Advances the time (never back, and below 2^63); due timers then wait for timers_pop(). */
void timers_advance(struct timers *w, uint64_t now_ms);
/* The next due timer, disarmed, or NULL. Earlier deadlines first; timers armed after their deadline keep no order. */
struct timer *timers_pop(struct timers *w);
/* When to call timers_advance() next: never later than the earliest deadline; UINT64_MAX when there is none. */
uint64_t timers_next_ms(const struct timers *w);

#endif
