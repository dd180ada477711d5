/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interest: with several nodes a user may be connected to any of them, so each node tells the others its users, and it
 * accepts a client only after all of them have confirmed: from then on no node reports that user as offline. The link
 * between two nodes is a FIFO for all relays, so an answer to our INTEREST also proves that we have received everything
 * that the peer sent before it. Each announcement of a user has a new epoch, because the confirmation of an
 * announcement that was withdrawn says nothing about the next one.
 */
#include "hub/hub_state.h"

static void tell(struct hub *h, unsigned peer, enum hub_relay_type type, struct bytes user, uint64_t epoch)
{
	struct hub_relay r = { .type = (uint8_t)type, .to = user, .token = epoch };

	h->o.peer_send(h->o.ctx, peer, &r);
}

static void tell_all(struct hub *h, enum hub_relay_type type, const struct user *u)
{
	for (uint64_t peers = h->live; peers; peers &= peers - 1)
		tell(h, (unsigned)__builtin_ctzll(peers), type, user_name(u), u->epoch);
}

void interest_announce(struct hub *h, struct user *u)
{
	u->epoch = ++h->epoch;
	u->unconfirmed = h->live;
	tell_all(h, HUB_RELAY_INTEREST, u);
}

void interest_withdraw(struct hub *h, struct user *u)
{
	u->unconfirmed = 0;
	tell_all(h, HUB_RELAY_NO_INTEREST, u);
}

/* @peer has confirmed @u, or is lost. After the last peer, the attaching sessions of @u become held. */
static void confirmed(struct hub *h, struct user *u, unsigned peer)
{
	if (!(u->unconfirmed & peer_bit(peer)))
		return;
	u->unconfirmed &= ~peer_bit(peer);
	if (u->unconfirmed)
		return;
	for (struct list *n = u->sessions.next; n != &u->sessions; n = n->next) {
		struct session *s = session_of_user(n);

		if (s->state != SESSION_ATTACHING)
			continue;
		s->state = SESSION_HELD;
		call_push(h, &s->attrs->call, HUB_REQ_ATTACHED);
	}
}

/* Without memory it sends no confirmation: then the client must retry, but no node reports its user as offline. */
static void receive_interest(struct hub *h, unsigned peer, const struct hub_relay *r)
{
	struct user *u = user_get(h, r->to, map_hash(&h->users, r->to));

	if (!u)
		return;
	u->interest |= peer_bit(peer);
	tell(h, peer, HUB_RELAY_INTEREST_OK, r->to, r->token);
}

void interest_receive(struct hub *h, unsigned peer, const struct hub_relay *r)
{
	struct user *u;

	if (!h->o.by_interest)
		return;
	if (r->type == HUB_RELAY_INTEREST) {
		receive_interest(h, peer, r);
		return;
	}
	u = hub_find(h, r->to);
	if (!u)
		return;
	if (r->type == HUB_RELAY_NO_INTEREST) {
		u->interest &= ~peer_bit(peer);
		user_release(h, u);
	} else if (r->token == u->epoch) {
		confirmed(h, u, peer);
	}
}

void hub_peer_lost(struct hub *h, unsigned peer, struct now now)
{
	struct user *u, *next;

	(void)now;
	if (!h->o.by_interest || !(h->live & peer_bit(peer)))
		return;
	h->live &= ~peer_bit(peer);
	for (u = user_after(h, NULL); u; u = next) {
		next = user_after(h, u);
		confirmed(h, u, peer);
		u->interest &= ~peer_bit(peer);
		user_release(h, u);
	}
	pending_peer_lost(h, peer);
}

void hub_peer_joined(struct hub *h, unsigned peer, struct now now)
{
	if (!h->o.by_interest || peer == h->o.self || peer >= h->o.peers)
		return;
	hub_peer_lost(h, peer, now);
	h->live |= peer_bit(peer);
	for (struct user *u = user_after(h, NULL); u; u = user_after(h, u)) {
		if (u->count == 0)
			continue;
		if (u->unconfirmed)
			u->unconfirmed |= peer_bit(peer);
		tell(h, peer, HUB_RELAY_INTEREST, user_name(u), u->epoch);
	}
}
