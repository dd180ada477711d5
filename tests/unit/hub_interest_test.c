/* SPDX-License-Identifier: Apache-2.0 */
/* hub/interest: nodes tell each other of their users, and no user is offline after the client has got `connected`. */
#include "hub_fixture.h"

static void nodes_init(struct fx *fx)
{
	struct hub_options o = fx_options();

	o.by_interest = true;
	fx_init(fx, 3, o);
	fx_join_all(fx);
}

static unsigned take(struct hub *h, enum hub_request_type type, struct hub_request *last)
{
	struct hub_request r = { 0 };
	unsigned n = 0;

	while (hub_take_request(h, &r)) {
		n += r.type == type;
		*last = r;
	}
	return n;
}

TEST(a_client_is_held_only_when_every_node_has_confirmed)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };

	nodes_init(&fx);
	CHECK_EQ(fx_attach(fx.hub[0], &s, "ann", NULL), HUB_WAIT);
	CHECK_EQ(s.state, SESSION_ATTACHING);
	fx_pump_one(&fx, 0);
	fx_pump_one(&fx, 0);
	fx_pump_one(&fx, 0); /* one confirmation is in */
	CHECK_EQ(take(fx.hub[0], HUB_REQ_ATTACHED, &r), 0);
	fx_pump(&fx, 0);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_ATTACHED, &r), 1);
	CHECK(r.session == &s);
	CHECK_EQ(s.state, SESSION_HELD);
	fx_free(&fx);
}

TEST(a_second_device_need_not_wait_and_a_lone_node_never_does)
{
	struct fx fx;
	struct session a, b, c;
	struct hub_request r = { 0 };

	nodes_init(&fx);
	fx_attach(fx.hub[0], &a, "ann", NULL);
	CHECK_EQ(fx_attach(fx.hub[0], &b, "ann", NULL), HUB_WAIT);
	fx_pump(&fx, 0);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_ATTACHED, &r), 2);
	CHECK_EQ(fx_attach(fx.hub[0], &c, "ann", NULL), HUB_OK);
	hub_detach(fx.hub[0], &c, FX_NOW(0));
	hub_peer_lost(fx.hub[0], 1, FX_NOW(0));
	hub_peer_lost(fx.hub[0], 2, FX_NOW(0));
	CHECK_EQ(fx_attach(fx.hub[0], &c, "bob", NULL), HUB_OK);
	fx_free(&fx);
}

TEST(a_message_goes_to_the_nodes_that_have_the_user_and_to_no_other)
{
	struct fx fx;
	struct session a, b;
	struct hub_request r = { 0 };
	unsigned before;

	nodes_init(&fx);
	fx_attach(fx.hub[1], &a, "ann", NULL);
	fx_attach(fx.hub[2], &b, "ann", NULL);
	fx_pump(&fx, 0);
	before = fx.end;
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 5, false, 0);
	CHECK_EQ(fx.end - before, 2);
	fx_pump(&fx, 0);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_OUTCOME, &r), 1);
	CHECK_EQ(r.delivered, 2);
	hub_detach(fx.hub[2], &b, FX_NOW(0));
	fx_pump(&fx, 0);
	before = fx.end;
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 6, true, 0);
	CHECK_EQ(fx.end - before, 1);
	fx_publish(fx.hub[0], HUB_TO_USER, "bob", "hi", 7, true, 0);
	CHECK_EQ(fx.end - before, 1);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_OUTCOME, &r), 1);
	CHECK_EQ(r.result, HUB_NOBODY);
	fx_free(&fx);
}

TEST(the_confirmation_of_a_withdrawn_interest_confirms_nothing)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };

	nodes_init(&fx);
	fx_attach(fx.hub[0], &s, "ann", NULL);
	hub_detach(fx.hub[0], &s, FX_NOW(0));
	fx_attach(fx.hub[0], &s, "ann", NULL);
	/* Two of the first INTEREST, two NO_INTEREST, two of the second, then the answers to the first. */
	for (int i = 0; i < 8; i++)
		fx_pump_one(&fx, 0);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_ATTACHED, &r), 0);
	fx_pump(&fx, 0);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_ATTACHED, &r), 1);
	fx_free(&fx);
}

TEST(a_lost_node_is_waited_for_no_longer_and_its_users_are_offline)
{
	struct fx fx;
	struct session a, b;
	struct hub_request r = { 0 };

	nodes_init(&fx);
	fx_attach(fx.hub[2], &a, "ann", NULL);
	fx_pump(&fx, 0);
	fx.cut[0][2] = true;
	fx_attach(fx.hub[0], &b, "bob", NULL);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 5, false, 0);
	fx_pump(&fx, 0);
	CHECK_EQ(b.state, SESSION_ATTACHING);
	hub_peer_lost(fx.hub[0], 2, FX_NOW(0));
	CHECK_EQ(b.state, SESSION_HELD);
	CHECK_EQ(hub_requests(fx.hub[0]), 2);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_OUTCOME, &r), 1);
	CHECK_EQ(r.result, HUB_TIMED_OUT);
	CHECK(hub_find(fx.hub[0], BYTES("ann")) == NULL);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 6, true, 0);
	CHECK_EQ(take(fx.hub[0], HUB_REQ_OUTCOME, &r), 1);
	CHECK_EQ(r.result, HUB_NOBODY);
	fx_free(&fx);
}

TEST(a_node_that_joins_learns_of_every_user)
{
	struct fx fx;
	struct session a;
	struct hub_options o = fx_options();
	struct hub_request r = { 0 };

	o.by_interest = true;
	fx_init(&fx, 3, o);
	fx_attach(fx.hub[0], &a, "ann", NULL);
	fx_join_all(&fx);
	fx_publish(fx.hub[1], HUB_TO_USER, "ann", "hi", 5, false, 0);
	fx_pump(&fx, 0);
	CHECK_EQ(take(fx.hub[1], HUB_REQ_OUTCOME, &r), 1);
	CHECK_EQ(r.result, HUB_DELIVERED);
	CHECK_EQ(a.q.count, 1);
	fx_free(&fx);
}

TEST(late_news_of_a_lost_node_is_ignored)
{
	struct fx fx;
	struct session a;

	nodes_init(&fx);
	fx_attach(fx.hub[1], &a, "ann", NULL);
	hub_peer_lost(fx.hub[0], 1, FX_NOW(0));
	fx_pump(&fx, 0);
	CHECK(hub_find(fx.hub[0], BYTES("ann")) == NULL);
	CHECK(hub_find(fx.hub[2], BYTES("ann")) != NULL);
	fx_free(&fx);
}
