/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn: which sessions are flushed next, and the effects of a flush. A session is on at most one list. A queue over its
 * limit is only marked while messages come in; the policy is applied after the socket was offered the bytes and has
 * refused them. A marked session is always on the ready list, even if its socket was blocked before, because it may
 * accept bytes now. For sessions that may not send yet the policy is applied when the turn begins to flush.
 */
#include <assert.h>

#include "hub/hub_state.h"

void hub_close_slow(struct hub *h, struct session *s)
{
	if (s->state == SESSION_NONE || s->state == SESSION_CLOSING)
		return;
	counter_add(&h->counters.closed_slow, 1);
	session_close(h, s, HUB_END_SLOW, true);
}

/* Called after the socket was offered the bytes, or for a session that may not send yet. */
static void apply_policy(struct hub *h, struct session *s)
{
	if (place_over_limit(h, s) && h->o.slow == HUB_SLOW_CLOSE) {
		hub_close_slow(h, s);
		return;
	}
	while (place_over_limit(h, s) && outq_drop_oldest(&s->q, &h->pool)) {
		s->gap++;
		counter_add(&h->counters.dropped[HUB_DROP_OVERFLOW], 1);
	}
	place_clear_overflow(h, s);
}

static void apply_policy_to_held(struct hub *h)
{
	struct list *n;

	while ((n = list_pop(&h->places[PLACE_HELD]))) {
		struct session *s = container_of(n, struct session, queue);

		s->place = PLACE_NONE;
		apply_policy(h, s);
	}
}

struct session *hub_take_ready(struct hub *h)
{
	struct session *s;
	struct list *n;

	apply_policy_to_held(h);
	n = list_pop(&h->places[PLACE_READY]);
	if (!n)
		n = list_pop(&h->places[PLACE_BULK]);
	if (!n)
		return NULL;
	s = container_of(n, struct session, queue);
	s->place = PLACE_NONE;
	s->moved = !s->blocked;
	s->blocked = false;
	return s;
}

bool hub_has_urgent(const struct hub *h)
{
	return !list_empty(&h->places[PLACE_READY]);
}

bool hub_has_ready(const struct hub *h)
{
	return hub_has_urgent(h) || !list_empty(&h->places[PLACE_BULK]) || !list_empty(&h->places[PLACE_HELD]);
}

bool hub_pressed(const struct hub *h)
{
	return h->overflows > 0;
}

void hub_sent(struct hub *h, struct session *s, uint32_t whole, uint32_t offset)
{
	for (uint32_t i = 0; i < whole; i++)
		outq_pop(&s->q, &h->pool);
	assert(offset == 0 || s->q.count > 0);
	if (whole || offset != s->q.offset)
		s->moved = true;
	s->q.offset = offset;
}

void hub_gap_sent(struct hub *h, struct session *s)
{
	(void)h;
	s->gap = 0;
}

/* A reader that was blocked before and has accepted nothing since goes to the front: it is blocked for longest. */
static void block(struct hub *h, struct session *s)
{
	s->blocked = true;
	place_move(h, s, PLACE_BLOCKED);
	if (s->moved)
		return;
	list_remove(&s->queue);
	list_push(h->places[PLACE_BLOCKED].next, &s->queue);
}

static bool short_of_memory(const struct hub *h)
{
	return h->o.max_total_bytes && h->owner.bytes > h->o.max_total_bytes;
}

/* Offers the longest blocked reader its bytes once more; if its socket accepts none, it is closed. */
static void retry_oldest(struct hub *h)
{
	struct list *n = h->places[PLACE_BLOCKED].next;
	struct session *s = container_of(n, struct session, queue);

	if (!short_of_memory(h) || n == &h->places[PLACE_BLOCKED])
		return;
	place_mark_overflow(h, s);
	place_ready(h, s);
}

bool hub_shed(struct hub *h, uint64_t bytes)
{
	size_t held = h->owner.bytes;

	h->o.max_total_bytes = bytes == 0 ? 0 : held > bytes ? held - (size_t)bytes : 1;
	return !list_empty(&h->places[PLACE_BLOCKED]);
}

void hub_squeeze(struct hub *h, bool small)
{
	uint8_t squeeze = small ? 2 : 0;
	struct list *n, *next;

	if (h->squeeze == squeeze)
		return;
	h->squeeze = squeeze;
	/*
	 * Blocked sessions that are over the new limit are offered their bytes once more; then the policy is applied.
	 */
	for (n = h->places[PLACE_BLOCKED].next; n != &h->places[PLACE_BLOCKED]; n = next) {
		struct session *s = container_of(n, struct session, queue);

		next = n->next;
		if (!place_over_limit(h, s))
			continue;
		place_mark_overflow(h, s);
		place_ready(h, s);
	}
}

static void handle_blocked(struct hub *h, struct session *s)
{
	block(h, s);
	apply_policy(h, s);
	if (session_accepted(s) && short_of_memory(h) && !s->moved && h->places[PLACE_BLOCKED].next == &s->queue)
		hub_close_slow(h, s);
	retry_oldest(h);
}

static void flushed_closing(struct hub *h, struct session *s, bool would_block)
{
	s->blocked = would_block;
	if (!would_block && s->q.count)
		place_ready(h, s);
}

void hub_flushed(struct hub *h, struct session *s, bool would_block, struct now now)
{
	(void)now;
	if (s->state == SESSION_CLOSING) {
		flushed_closing(h, s, would_block);
		return;
	}
	if (!session_accepted(s))
		return;
	if (would_block)
		handle_blocked(h, s);
	if (s->state == SESSION_CLOSING)
		return;
	if (!place_over_limit(h, s))
		place_clear_overflow(h, s);
	if (s->q.count == 0)
		s->urgent = false;
	session_ask_log(h, s);
	if (!would_block && (s->q.count || s->gap))
		place_ready(h, s);
}

void hub_writable(struct hub *h, struct session *s)
{
	s->blocked = false;
	if (session_accepted(s) || s->state == SESSION_CLOSING)
		place_ready(h, s);
}

void hub_ready(struct hub *h, struct session *s)
{
	if (s->state == SESSION_CLOSING || (session_accepted(s) && !s->blocked))
		place_move(h, s, PLACE_READY);
}

void hub_tick(struct hub *h, struct now now)
{
	pending_expire(h, now);
	retry_oldest(h);
}
