/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish: delivers a message to its recipients. Here: to all their queues before the call returns. On peers: one relay
 * each, in the order of the calls. Everything that can refuse is checked before the first queue or mailbox is touched,
 * so "accepted" is final. A unicast that reports only failures to its sender needs no memory here: the relay carries
 * what the report needs.
 */
#include <assert.h>

#include "hub/hub_state.h"

/* ---- here ----------------------------------------------------------------------------------------------------- */

static uint32_t to_user(struct hub *h, struct user *u, struct msg *m)
{
	uint32_t taken = 0;

	for (struct list *n = u->sessions.next; n != &u->sessions; n = n->next)
		taken += session_take(h, session_of_user(n), m, true);
	return taken;
}

static struct session *session_of_ticket(struct list *n)
{
	return container_of(n, struct session_attrs, in_ticket)->session;
}

static uint32_t to_ticket(struct hub *h, const struct ticket *t, struct bytes sender, struct msg *m)
{
	uint32_t taken = 0;

	for (struct list *n = t->sessions.next; n != &t->sessions; n = n->next)
		if (!bytes_eq(user_name(session_of_ticket(n)->user), sender))
			taken += session_take(h, session_of_ticket(n), m, false);
	return taken;
}

static uint32_t to_all(struct hub *h, struct msg *m)
{
	uint32_t taken = 0;

	for (struct list *n = h->all_sessions.next; n != &h->all_sessions; n = n->next)
		taken += session_take(h, session_of_all(n), m, false);
	return taken;
}

static uint32_t deliver(struct hub *h, uint8_t scope, struct bytes to, struct bytes sender, struct msg *m)
{
	struct user *u;
	struct ticket *t;

	switch (scope) {
	case HUB_TO_USER:
		u = hub_find(h, to);
		return u ? to_user(h, u, m) : 0;
	case HUB_TO_TICKET:
		t = ticket_find(h, to);
		return t ? to_ticket(h, t, sender, m) : 0;
	default:
		return to_all(h, m);
	}
}

static bool is_in_ticket(const struct hub *h, struct bytes sender, struct bytes ticket)
{
	struct ticket *t = ticket_find(h, ticket);
	struct user *u = t ? hub_find(h, sender) : NULL;

	if (!u)
		return false;
	for (struct list *n = u->sessions.next; n != &u->sessions; n = n->next) {
		const struct session *s = session_of_user(n);

		if (s->counted && s->attrs && s->attrs->ticket == t)
			return true;
	}
	return false;
}

/* ---- peers ---------------------------------------------------------------------------------------------------- */

/* The recipients of one publication or kick. */
struct target {
	struct user *user; /* the addressed user, NULL when it is not known here */
	uint64_t peers;
	bool here;
};

static struct target target_of_user(const struct hub *h, struct bytes id)
{
	uint64_t hash = map_hash(&h->users, id);
	struct target target = { 0 };
	unsigned owner = h->o.self;

	if (!h->o.by_interest && h->o.peers > 1)
		owner = h->o.route(h->o.ctx, id, hash);
	if (owner != h->o.self) {
		target.peers = peer_bit(owner);
		return target;
	}
	target.user = user_find(h, id, hash);
	target.here = target.user && target.user->count > 0;
	target.peers = target.user ? target.user->interest & h->live : 0;
	return target;
}

static void send_to(struct hub *h, uint64_t peers, const struct hub_relay *r)
{
	for (; peers; peers &= peers - 1)
		h->o.peer_send(h->o.ctx, (unsigned)__builtin_ctzll(peers), r);
}

static void relay_publication(struct hub *h, const struct hub_publication *p, uint64_t peers, enum hub_answer answer,
			      uint64_t token)
{
	struct hub_relay r = {
		.type = HUB_RELAY_PUBLISH,
		.scope = (uint8_t)p->scope,
		.only_failures = (uint8_t)answer,
		.kind = p->msg->kind,
		.token = token,
		.seq = p->msg->seq,
		.accepted_us = p->msg->accepted_us,
		.to = p->to,
		.sender = p->scope == HUB_TO_TICKET ? p->sender : (struct bytes){ 0 },
		.ref = p->ref,
		.body = msg_text(p->msg),
	};

	if (peers)
		send_to(h, peers, &r);
}

/* Allocates the outcome of @p; with @peers it is pending and *name is its name in the relays. NULL: *err is set. */
static struct outcome *new_outcome(struct hub *h, const struct hub_publication *p, uint64_t peers, struct now now,
				   uint64_t *name, int *err)
{
	struct outcome *o = outcome_new((uint8_t)p->scope, p->to, p->ref, p->token);

	*err = -WSC_ENOMEM;
	if (!o)
		return NULL;
	o->only_failures = p->only_failures;
	*name = 0;
	*err = 0;
	if (peers)
		*name = pending_add(h, o, peers, now, err);
	if (*err) {
		outcome_free(o);
		return NULL;
	}
	return o;
}

/* ---- the three scopes ----------------------------------------------------------------------------------------- */

/* Delivers here and relays to @peers with a pending outcome. */
static int publish_asking(struct hub *h, const struct hub_publication *p, uint64_t peers, struct user *u,
			  struct now now)
{
	uint64_t name;
	int err;
	struct outcome *o = new_outcome(h, p, peers, now, &name, &err);

	if (!o)
		return err;
	if (p->scope != HUB_TO_USER)
		o->delivered = deliver(h, (uint8_t)p->scope, p->to, p->sender, p->msg);
	else if (u)
		o->delivered = to_user(h, u, p->msg);
	if (!peers) {
		outcome_report(h, o);
	} else if (p->only_failures && o->delivered) {
		pending_cancel(h, o);
		relay_publication(h, p, peers, HUB_ANSWER_NEVER, 0);
	} else {
		relay_publication(h, p, peers, HUB_ANSWER_ALWAYS, name);
	}
	return 0;
}

static int publish_to_user(struct hub *h, const struct hub_publication *p, struct now now)
{
	struct target target = target_of_user(h, p->to);

	if (!p->only_failures)
		return publish_asking(h, p, target.peers, target.user, now);
	if (target.here && to_user(h, target.user, p->msg)) {
		relay_publication(h, p, target.peers, HUB_ANSWER_NEVER, 0);
		return 0;
	}
	if (target.peers && (target.peers & (target.peers - 1)) == 0) {
		relay_publication(h, p, target.peers, HUB_ANSWER_FAILURE, p->token);
		return 0;
	}
	return publish_asking(h, p, target.peers, NULL, now);
}

static int publish_to_all(struct hub *h, const struct hub_publication *p, struct now now)
{
	if (!p->only_failures)
		return publish_asking(h, p, h->live, NULL, now);
	to_all(h, p->msg);
	relay_publication(h, p, h->live, HUB_ANSWER_NEVER, 0);
	return 0;
}

int hub_publish(struct hub *h, const struct hub_publication *p, struct now now)
{
	p->msg->accepted_us = (uint32_t)(now.mono_ns / 1000u);
	switch (p->scope) {
	case HUB_TO_USER:
		return publish_to_user(h, p, now);
	case HUB_TO_TICKET:
		if (!p->may_be_outside && !is_in_ticket(h, p->sender, p->to))
			return HUB_NOT_IN_TICKET;
		return publish_asking(h, p, h->live, NULL, now);
	default:
		return publish_to_all(h, p, now);
	}
}

/* ---- kick ----------------------------------------------------------------------------------------------------- */

static uint32_t kick_here(struct hub *h, struct user *u, uint16_t code, const char *reason)
{
	uint32_t closed = 0;

	if (!u)
		return 0;
	for (struct list *n = u->sessions.next; n != &u->sessions; n = n->next) {
		struct session *s = session_of_user(n);

		if (s->state == SESSION_CLOSING)
			continue;
		hub_close(h, s, code, reason, false);
		closed++;
	}
	return closed;
}

int hub_kick(struct hub *h, struct bytes user_id, uint16_t code, const char *reason, uint64_t token, struct bytes ref,
	     struct now now)
{
	struct target target = target_of_user(h, user_id);
	struct hub_publication p = { .scope = HUB_TO_USER, .to = user_id, .ref = ref, .token = token };
	struct hub_relay r = { .type = HUB_RELAY_KICK, .code = code, .reason = reason, .to = user_id };
	struct outcome *o;
	int err;

	o = new_outcome(h, &p, target.peers, now, &r.token, &err);
	if (!o)
		return err;
	o->delivered = kick_here(h, target.user, code, reason);
	if (target.peers)
		send_to(h, target.peers, &r);
	else
		outcome_report(h, o);
	return 0;
}

/* ---- relays from peers ---------------------------------------------------------------------------------------- */

static void answer(struct hub *h, unsigned peer, const struct hub_relay *q, uint32_t count, bool no_memory)
{
	struct hub_relay r = {
		.type = HUB_RELAY_OUTCOME,
		.scope = q->scope,
		.only_failures = q->only_failures,
		.token = q->token,
		.count = count,
		.code = no_memory,
	};

	if (q->only_failures == HUB_ANSWER_NEVER || (q->only_failures == HUB_ANSWER_FAILURE && count))
		return;
	if (q->only_failures == HUB_ANSWER_FAILURE) {
		r.to = q->to;
		r.ref = q->ref;
	}
	h->o.peer_send(h->o.ctx, peer, &r);
}

static void receive_publication(struct hub *h, unsigned peer, const struct hub_relay *r)
{
	struct msg *m = msg_new(&h->owner, (enum msg_kind)r->kind, r->body.len);
	uint32_t count;

	if (!m) {
		answer(h, peer, r, 0, true);
		return;
	}
	if (r->body.len)
		memcpy(m->json, r->body.at, r->body.len);
	m->seq = r->seq;
	m->accepted_us = r->accepted_us;
	count = deliver(h, r->scope, r->to, r->sender, m);
	msg_unref(m);
	answer(h, peer, r, count, false);
}

static void receive_outcome(struct hub *h, unsigned peer, const struct hub_relay *r)
{
	struct outcome *o;

	if (r->only_failures == HUB_ANSWER_ALWAYS) {
		pending_answer(h, peer, r->token, r->count, r->code != 0);
		return;
	}
	/* Without memory this failure is not reported; only_failures allows that. */
	o = outcome_new(r->scope, r->to, r->ref, r->token);
	if (!o)
		return;
	o->only_failures = true;
	o->delivered = r->count;
	o->unsure = r->code != 0;
	outcome_report(h, o);
}

void hub_receive(struct hub *h, unsigned peer, const struct hub_relay *r, struct now now)
{
	(void)now;
	if (peer >= h->o.peers || !(h->live & peer_bit(peer)))
		return;
	switch ((enum hub_relay_type)r->type) {
	case HUB_RELAY_PUBLISH:
		receive_publication(h, peer, r);
		break;
	case HUB_RELAY_OUTCOME:
		receive_outcome(h, peer, r);
		break;
	case HUB_RELAY_KICK:
		answer(h, peer, r, kick_here(h, hub_find(h, r->to), r->code, r->reason), false);
		break;
	case HUB_RELAY_INTEREST:
	case HUB_RELAY_INTEREST_OK:
	case HUB_RELAY_NO_INTEREST:
		interest_receive(h, peer, r);
		break;
	}
}
