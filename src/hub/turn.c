/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn: which sessions are flushed next, and the effects of a flush. A session is on at most one list. A queue over its
 * limit is only marked while messages come in; the policy is applied after the socket was offered the bytes and has
 * refused them. A marked session is always on the ready list, even if its socket was blocked before, because it may
 * accept bytes now. For sessions that may not send yet the policy is applied when the turn begins to flush.
 */
#include <assert.h>

#include "hub/hub_state.h"

static void move_to(struct hub *h, struct session *s, enum session_place place)
{
	list_remove(&s->queue);
	s->place = (uint8_t)place;
	if (place != PLACE_NONE)
		list_push(&h->places[place], &s->queue);
}

static bool over_limit(const struct hub *h, const struct session *s)
{
	return s->q.count > limit_messages(h, s) || (s->q.bytes > limit_bytes(h) && s->q.count > 1);
}

bool hub_has_room(const struct hub *h, const struct session *s, uint64_t len)
{
	return s->q.count == 0 ||
	       (s->q.count < limit_messages(h, s) && s->q.bytes + len + MSG_CHARGE_FIXED <= limit_bytes(h));
}

static void mark_overflow(struct hub *h, struct session *s)
{
	if (s->overflow)
		return;
	s->overflow = true;
	h->overflows++;
}

static void clear_overflow(struct hub *h, struct session *s)
{
	if (!s->overflow)
		return;
	s->overflow = false;
	h->overflows--;
}

void turn_ready(struct hub *h, struct session *s)
{
	enum session_place want = s->urgent ? PLACE_READY : PLACE_BULK;

	if (s->place != PLACE_READY && s->place != want)
		move_to(h, s, want);
}

void turn_closing(struct hub *h, struct session *s)
{
	clear_overflow(h, s);
	s->urgent = true;
	turn_ready(h, s);
}

void turn_forget(struct hub *h, struct session *s)
{
	clear_overflow(h, s);
	move_to(h, s, PLACE_NONE);
}

void turn_queued(struct hub *h, struct session *s, bool urgent)
{
	if (urgent)
		s->urgent = true;
	if (over_limit(h, s))
		mark_overflow(h, s);
	if (!session_accepted(s)) {
		if (s->overflow && s->place == PLACE_NONE)
			move_to(h, s, PLACE_HELD);
		return;
	}
	if (!s->blocked || s->overflow)
		turn_ready(h, s);
}

void hub_close_slow(struct hub *h, struct session *s)
{
	if (s->state == SESSION_NONE || s->state == SESSION_CLOSING)
		return;
	count_add(&h->counters.closed_slow, 1);
	hub_close(h, s, 1013, "slow reader", true);
}

/* Called after the socket was offered the bytes, or for a session that may not send yet. */
static void apply_policy(struct hub *h, struct session *s)
{
	if (over_limit(h, s) && h->o.slow == HUB_SLOW_CLOSE) {
		hub_close_slow(h, s);
		return;
	}
	while (over_limit(h, s) && outq_drop_oldest(&s->q, &h->pool)) {
		s->gap++;
		count_add(&h->counters.dropped, 1);
	}
	clear_overflow(h, s);
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
	move_to(h, s, PLACE_BLOCKED);
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
	mark_overflow(h, s);
	turn_ready(h, s);
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
		if (!over_limit(h, s))
			continue;
		mark_overflow(h, s);
		turn_ready(h, s);
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
		turn_ready(h, s);
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
	if (!over_limit(h, s))
		clear_overflow(h, s);
	if (s->q.count == 0)
		s->urgent = false;
	session_ask_log(h, s);
	if (!would_block && (s->q.count || s->gap))
		turn_ready(h, s);
}

void hub_writable(struct hub *h, struct session *s)
{
	s->blocked = false;
	if (session_accepted(s) || s->state == SESSION_CLOSING)
		turn_ready(h, s);
}

void hub_ready(struct hub *h, struct session *s)
{
	if (s->state == SESSION_CLOSING || (session_accepted(s) && !s->blocked))
		move_to(h, s, PLACE_READY);
}

void hub_tick(struct hub *h, struct now now)
{
	pending_expire(h, now);
	retry_oldest(h);
}
