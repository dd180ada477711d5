/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place: puts a session on one of the hub's lists: ready, bulk (it got only a fan-out), blocked, held, or none of them.
 * A queue over its limit is only marked here; turn.c applies the policy.
 */
#include "hub/hub_state.h"

bool hub_has_room(const struct hub *h, const struct session *s, uint64_t len)
{
	return s->q.count == 0 ||
	       (s->q.count < limit_messages(h, s) && s->q.bytes + len + MSG_CHARGE_FIXED <= limit_bytes(h));
}

void place_closing(struct hub *h, struct session *s)
{
	place_clear_overflow(h, s);
	s->urgent = true;
	place_ready(h, s);
}

void place_forget(struct hub *h, struct session *s)
{
	place_clear_overflow(h, s);
	place_move(h, s, PLACE_NONE);
}

void place_queued(struct hub *h, struct session *s, bool urgent)
{
	if (urgent)
		s->urgent = true;
	if (place_over_limit(h, s))
		place_mark_overflow(h, s);
	if (!session_accepted(s)) {
		if (s->overflow && s->place == PLACE_NONE)
			place_move(h, s, PLACE_HELD);
		return;
	}
	if (!s->blocked || s->overflow)
		place_ready(h, s);
}
