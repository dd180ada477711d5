/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn: who is to be flushed, and what a flush leads to. A session is on at most one list. A queue over its limit is only
 * marked while messages come in; it is judged once its socket has been offered the bytes and has refused them, and
 * a marked session is always on its way there (ready, even if its socket was blocked the last time: it may take bytes by
 * now). Sessions that may not send yet have no socket to ask and are judged when the turn begins to flush.
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

static void press(struct hub *h, struct session *s)
{
	if (s->pressed)
		return;
	s->pressed = true;
	h->pressed++;
}

static void unpress(struct hub *h, struct session *s)
{
	if (!s->pressed)
		return;
	s->pressed = false;
	h->pressed--;
}

void turn_ready(struct hub *h, struct session *s)
{
	enum session_place want = s->urgent ? PLACE_READY : PLACE_BULK;

	if (s->place != PLACE_READY && s->place != want)
		move_to(h, s, want);
}

void turn_closing(struct hub *h, struct session *s)
{
	unpress(h, s);
	s->urgent = true;
	turn_ready(h, s);
}

void turn_forget(struct hub *h, struct session *s)
{
	unpress(h, s);
	move_to(h, s, PLACE_NONE);
}

void turn_queued(struct hub *h, struct session *s, bool urgent)
{
	if (urgent)
		s->urgent = true;
	if (over_limit(h, s))
		press(h, s);
	if (!session_accepted(s)) {
		if (s->pressed && s->place == PLACE_NONE)
			move_to(h, s, PLACE_HELD);
		return;
	}
	if (!s->blocked || s->pressed)
		turn_ready(h, s);
}

void hub_close_slow(struct hub *h, struct session *s)
{
	if (s->state == SESSION_NONE || s->state == SESSION_CLOSING)
		return;
	count_add(&h->counters.closed_slow, 1);
	hub_close(h, s, 1013, "slow reader", true);
}

/* The socket had its chance, or there is none yet. */
static void judge(struct hub *h, struct session *s)
{
	if (over_limit(h, s) && h->o.slow == HUB_SLOW_CLOSE) {
		hub_close_slow(h, s);
		return;
	}
	while (over_limit(h, s) && outq_drop_oldest(&s->q, &h->pool)) {
		s->gap++;
		count_add(&h->counters.dropped, 1);
	}
	unpress(h, s);
}

static void judge_held(struct hub *h)
{
	struct list *n;

	while ((n = list_pop(&h->places[PLACE_HELD]))) {
		struct session *s = container_of(n, struct session, queue);

		s->place = PLACE_NONE;
		judge(h, s);
	}
}

struct session *hub_take_ready(struct hub *h)
{
	struct session *s;
	struct list *n;

	judge_held(h);
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
	return h->pressed > 0;
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

/* A reader that was blocked and has taken nothing since keeps its age. */
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

/* The reader blocked for longest is offered its bytes once more; what it then refuses is its end. */
static void retry_oldest(struct hub *h)
{
	struct list *n = h->places[PLACE_BLOCKED].next;
	struct session *s = container_of(n, struct session, queue);

	if (!short_of_memory(h) || n == &h->places[PLACE_BLOCKED])
		return;
	press(h, s);
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
	/* Those who are over it now are judged now, once they have been offered their bytes. */
	for (n = h->places[PLACE_BLOCKED].next; n != &h->places[PLACE_BLOCKED]; n = next) {
		struct session *s = container_of(n, struct session, queue);

		next = n->next;
		if (!over_limit(h, s))
			continue;
		press(h, s);
		turn_ready(h, s);
	}
}

static void refused(struct hub *h, struct session *s)
{
	block(h, s);
	judge(h, s);
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
		refused(h, s);
	if (s->state == SESSION_CLOSING)
		return;
	if (!over_limit(h, s))
		unpress(h, s);
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
