/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: the states of a session: ATTACHING (node mode) -> HELD -> [REPLAYING ->] LIVE -> CLOSING. It is registered
 * and counted first, so that a limit that was checked stays valid, and a message that finds the user also finds the
 * session. In CLOSING it still belongs to its user and ticket, but it accepts no message and is not counted; detach
 * ends it in any state. Messages of the log are queued in rising order and once each: @position is the last one.
 */
#include <assert.h>

#include "base/mem.h"
#include "hub/hub_state.h"

/* ---- attach --------------------------------------------------------------------------------------------------- */

static char *put_text(char *at, struct bytes in, struct bytes *out)
{
	if (in.len)
		memcpy(at, in.at, in.len);
	*out = bytes_of(at, in.len);
	return at + in.len + 1; /* a NUL after each, because hooks get them as C strings */
}

static struct session_attrs *attrs_new(struct session *s, const struct hub_identity *id)
{
	size_t text = id->ticket_id.len + id->role.len + id->device_id.len + id->client_type.len;
	struct session_attrs *a = mem_zalloc(sizeof(*a) + text + 4);
	char *at;

	if (!a)
		return NULL;
	a->session = s;
	list_init(&a->call.link);
	list_init(&a->in_ticket);
	at = put_text(a->text, id->ticket_id, &a->ticket_id);
	at = put_text(at, id->role, &a->role);
	at = put_text(at, id->device_id, &a->device_id);
	put_text(at, id->client_type, &a->client_type);
	return a;
}

static bool needs_attrs(const struct hub *h, const struct hub_identity *id)
{
	return h->o.by_interest || id->ticket_id.len || id->role.len || id->device_id.len || id->client_type.len;
}

static void attrs_free(struct hub *h, struct session *s)
{
	struct session_attrs *a = s->attrs;

	if (!a)
		return;
	call_cancel(h, &a->call);
	if (a->ticket) {
		list_remove(&a->in_ticket);
		ticket_release(h, a->ticket);
	}
	mem_free(a);
	s->attrs = NULL;
}

static int join_ticket(struct hub *h, struct session *s)
{
	struct session_attrs *a = s->attrs;

	if (!a || !a->ticket_id.len)
		return 0;
	a->ticket = ticket_get(h, a->ticket_id);
	if (!a->ticket)
		return -WSC_ENOMEM;
	list_push(&a->ticket->sessions, &a->in_ticket);
	return 0;
}

static bool too_many(const struct hub *h, const struct user *u)
{
	return h->o.login == HUB_LOGIN_REJECT && h->o.max_sessions_per_user && u &&
	       u->count >= h->o.max_sessions_per_user;
}

static int prepare(struct hub *h, struct session *s, const struct hub_identity *id)
{
	if (needs_attrs(h, id)) {
		s->attrs = attrs_new(s, id);
		if (!s->attrs)
			return -WSC_ENOMEM;
	}
	if (join_ticket(h, s) < 0) {
		attrs_free(h, s);
		return -WSC_ENOMEM;
	}
	return 0;
}

static void register_session(struct hub *h, struct session *s, struct user *u)
{
	s->user = u;
	list_push(&u->sessions, &s->of_user);
	list_init(&s->all);
	if (!s->hidden)
		list_push(&h->all_sessions, &s->all);
	s->counted = true;
	u->count++;
	if (h->o.by_interest && u->count == 1 && !s->hidden)
		interest_announce(h, u);
	s->state = u->unconfirmed ? SESSION_ATTACHING : SESSION_HELD;
}

int hub_attach(struct hub *h, struct session *s, const struct hub_identity *id, struct now now)
{
	uint64_t hash = map_hash(&h->users, id->user_id);
	struct user *u = id->hidden ? NULL : user_find(h, id->user_id, hash);

	assert(s->state == SESSION_NONE);
	if (too_many(h, u))
		return HUB_TOO_MANY;
	list_init(&s->queue);
	outq_init(&s->q);
	if (prepare(h, s, id) < 0)
		return -WSC_ENOMEM;
	u = id->hidden ? user_hidden(id->user_id) : user_get(h, id->user_id, hash);
	if (!u) {
		attrs_free(h, s);
		return -WSC_ENOMEM;
	}
	s->hidden = id->hidden;
	s->handle = id->handle;
	s->transport = id->transport;
	s->user_type = id->user_type;
	s->connected_wall_ms = now.wall_ms;
	if (!s->last_rx_ms)
		s->last_rx_ms = (uint32_t)now_ms(now);
	register_session(h, s, u);
	return s->state == SESSION_ATTACHING ? HUB_WAIT : HUB_OK;
}

/* ---- accept --------------------------------------------------------------------------------------------------- */

static int push_front_all(struct hub *h, struct session *s, struct msg *const *front, unsigned n)
{
	for (unsigned i = n; i-- > 0;) {
		if (outq_push_front(&s->q, &h->pool, front[i]) == 0)
			continue;
		for (i++; i < n; i++)
			outq_pop(&s->q, &h->pool);
		return -WSC_ENOMEM;
	}
	return 0;
}

static void replace_oldest(struct hub *h, struct session *s)
{
	struct user *u = s->user;
	struct list *n, *next;

	if (h->o.login != HUB_LOGIN_REPLACE || !h->o.max_sessions_per_user)
		return;
	for (n = u->sessions.next; n != &u->sessions && u->accepted > h->o.max_sessions_per_user; n = next) {
		struct session *other = session_of_user(n);

		next = n->next;
		if (other == s || !session_accepted(other))
			continue;
		counter_add(&h->counters.replaced, 1);
		session_close(h, other, HUB_END_REPLACED, false);
	}
}

static void count_accepted(struct hub *h, struct session *s)
{
	counter_add(&h->counters.sessions[s->transport], 1);
	counter_add(&h->counters.lifetime, 1);
	if (s->user->accepted++ == 0 && !s->hidden)
		counter_add(&h->counters.users, 1);
}

/* Messages that were held or dropped and are in the log are read from there, so that they come in order. */
static void begin_replay(struct hub *h, struct session *s, uint64_t after)
{
	outq_drop_logged(&s->q, &h->pool);
	s->gap = 0;
	s->position = after;
	s->state = SESSION_REPLAYING;
}

int hub_accept(struct hub *h, struct session *s, struct msg *const *front, unsigned n, const uint64_t *replay_after,
	       struct now now)
{
	if (s->state == SESSION_CLOSING)
		return 0;
	assert(s->state == SESSION_HELD);
	if (replay_after && !s->attrs) {
		s->attrs = attrs_new(s, &(struct hub_identity){ 0 });
		if (!s->attrs)
			return -WSC_ENOMEM;
	}
	if (replay_after)
		begin_replay(h, s, *replay_after);
	if (push_front_all(h, s, front, n) < 0) {
		s->state = SESSION_HELD;
		return -WSC_ENOMEM;
	}
	if (!replay_after)
		s->state = SESSION_LIVE;
	s->connected_wall_ms = now.wall_ms;
	count_accepted(h, s);
	replace_oldest(h, s);
	session_ask_log(h, s);
	s->urgent |= n > 0;
	if (s->q.count)
		place_ready(h, s);
	return 0;
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

static bool push(struct hub *h, struct session *s, struct msg *m)
{
	if (outq_push(&s->q, &h->pool, m) < 0) {
		session_close(h, s, HUB_END_NO_MEMORY, true);
		return false;
	}
	if (m->kind == MSG_USER)
		counter_add(&h->counters.sent, 1);
	return true;
}

bool session_take(struct hub *h, struct session *s, struct msg *m, bool urgent)
{
	if (s->state == SESSION_CLOSING)
		return false;
	if (m->seq && s->state == SESSION_REPLAYING) {
		s->missed = true;
		return true;
	}
	if (m->seq && m->seq <= s->position)
		return true;
	if (!push(h, s, m))
		return false;
	if (m->seq)
		s->position = m->seq;
	place_queued(h, s, urgent);
	return true;
}

int hub_send(struct hub *h, struct session *s, struct msg *m)
{
	if (s->state == SESSION_CLOSING || s->state == SESSION_NONE)
		return 0;
	return session_take(h, s, m, true) ? 0 : -WSC_ENOMEM;
}

/* ---- replay --------------------------------------------------------------------------------------------------- */

/* A replay uses half of the limits; the other half is for live messages. */
static uint32_t half(uint32_t limit)
{
	return limit / 2 + limit % 2;
}

void session_ask_log(struct hub *h, struct session *s)
{
	if (s->state != SESSION_REPLAYING || s->loading)
		return;
	if (s->q.count >= half(limit_messages(h, s)) || s->q.bytes >= half(limit_bytes(h)))
		return;
	s->loading = true;
	call_push(h, &s->attrs->call, HUB_REQ_LOAD);
}

int hub_loaded(struct hub *h, struct session *s, struct msg *const *msgs, unsigned n, uint64_t upto, bool end,
	       struct now now)
{
	(void)now;
	if (s->state != SESSION_REPLAYING || !s->loading)
		return 0;
	s->loading = false;
	for (unsigned i = 0; i < n && s->state == SESSION_REPLAYING; i++) {
		if (msgs[i]->seq <= s->position || !push(h, s, msgs[i]))
			continue;
		s->position = msgs[i]->seq;
		/* Not urgent: when many clients reconnect at once, their old messages must not delay live ones. */
		place_queued(h, s, false);
	}
	if (s->state != SESSION_REPLAYING)
		return 0;
	if (upto > s->position)
		s->position = upto;
	if (end && !s->missed)
		s->state = SESSION_LIVE;
	session_ask_log(h, s);
	return 0;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static void uncount(struct hub *h, struct session *s)
{
	struct user *u = s->user;

	if (!s->counted)
		return;
	s->counted = false;
	u->count--;
	if (session_accepted(s)) {
		counter_sub(&h->counters.sessions[s->transport], 1);
		if (--u->accepted == 0 && !s->hidden)
			counter_sub(&h->counters.users, 1);
	}
	if (u->count == 0 && h->o.by_interest && !s->hidden)
		interest_withdraw(h, u);
}

static void discard_unbegun(struct hub *h, struct session *s)
{
	counter_add(&h->counters.dropped[HUB_DROP_CLOSED], outq_drop_unbegun(&s->q, &h->pool));
	s->gap = 0;
}

void hub_close(struct hub *h, struct session *s, uint16_t code, const char *reason, bool discard)
{
	bool was_accepted = session_accepted(s);

	if (s->state == SESSION_NONE)
		return;
	if (s->state != SESSION_CLOSING) {
		uncount(h, s);
		if (s->attrs)
			call_cancel(h, &s->attrs->call);
		s->state = SESSION_CLOSING;
		s->close_code = code;
		s->close_reason = reason;
		discard = discard || !was_accepted;
	}
	if (discard)
		discard_unbegun(h, s);
	place_closing(h, s);
}

void session_close(struct hub *h, struct session *s, enum hub_end end, bool discard)
{
	hub_close(h, s, h->o.ends[end].code, h->o.ends[end].reason, discard);
}

void hub_detach(struct hub *h, struct session *s, struct now now)
{
	struct user *u = s->user;

	(void)now;
	if (s->state == SESSION_NONE)
		return;
	uncount(h, s);
	place_forget(h, s);
	counter_add(&h->counters.dropped[HUB_DROP_BROKEN], s->q.count);
	outq_clear(&s->q, &h->pool);
	attrs_free(h, s);
	list_remove(&s->of_user);
	list_remove(&s->all);
	s->state = SESSION_NONE;
	s->user = NULL;
	if (s->hidden)
		mem_free(u);
	else
		user_release(h, u);
}
