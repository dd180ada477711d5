/* SPDX-License-Identifier: Apache-2.0 */
/* hub/publish: the three scopes, kicks, and their outcomes, between workers. */
#include "hub_fixture.h"

static bool took(struct hub *h, uint64_t token, enum hub_result result, uint32_t delivered)
{
	struct hub_request r = { 0 };

	return CHECK(hub_take_request(h, &r)) && CHECK_EQ(r.type, HUB_REQ_OUTCOME) && CHECK_EQ(r.token, token) &&
	       CHECK_EQ(r.result, result) && CHECK_EQ(r.delivered, delivered);
}

static bool nothing_to_take(struct hub *h)
{
	struct hub_request r = { 0 };

	return CHECK(!hub_take_request(h, &r));
}

TEST(a_message_reaches_every_device_of_its_user_and_no_other_user)
{
	struct fx fx;
	struct session a, b, c;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &a, "ann", NULL);
	fx_connect(fx.hub[0], &b, "ann", NULL);
	fx_connect(fx.hub[0], &c, "bob", NULL);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 7, false, 0), 0);
	took(fx.hub[0], 7, HUB_DELIVERED, 2);
	CHECK_BYTES(fx_waits(&a, 0), "hi");
	CHECK_BYTES(fx_waits(&b, 0), "hi");
	CHECK_EQ(c.q.count, 0);
	CHECK_EQ(hub_counters(fx.hub[0])->sent, 2);
	CHECK_EQ(hub_owner(fx.hub[0])->count, 1);
	fx_free(&fx);
}

TEST(a_message_keeps_the_time_of_its_acceptance_on_every_worker)
{
	struct fx fx;
	struct session s[2];
	struct msg *m;

	fx_init(&fx, 2, fx_options());
	fx_connect(fx.hub[0], &s[0], "ann0", NULL);
	fx_connect(fx.hub[1], &s[1], "ann1", NULL);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "all", 9, false, 7), 0);
	fx_pump(&fx, 500);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(outq_peek(&s[i].q, &m, 1), 1);
		CHECK_EQ(m->accepted_us, 7000);
	}
	fx_free(&fx);
}

TEST(a_failure_on_another_worker_comes_back_with_the_names_and_leaves_nothing_behind)
{
	struct fx fx;
	struct session a;
	struct hub_request r = { 0 };

	fx_init(&fx, 3, fx_options());
	fx_connect(fx.hub[1], &a, "ann1", NULL);
	for (int i = 0; i < 100; i++) /* more than max_pending */
		CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_USER, "ann1", "hi", 7, true, 0), 0);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_USER, "bob1", "lost", 8, true, 0), 0);
	CHECK_EQ(hub_deadline(fx.hub[0]), UINT64_MAX);
	fx_pump(&fx, 0);
	CHECK_EQ(a.q.count, 100);
	CHECK(hub_take_request(fx.hub[0], &r));
	CHECK_EQ(r.token, 8);
	CHECK_EQ(r.result, HUB_NOBODY);
	CHECK_BYTES(r.to, "bob1");
	CHECK_BYTES(r.ref, "lost");
	nothing_to_take(fx.hub[0]);
	fx_free(&fx);
}

TEST(a_broadcast_gathers_the_answers_of_all_workers)
{
	struct fx fx;
	struct session s[3];
	static const char *const name[] = { "ann0", "ann1", "ann2" };

	fx_init(&fx, 3, fx_options());
	for (unsigned i = 0; i < 3; i++)
		fx_connect(fx.hub[i], &s[i], name[i], NULL);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "all", 9, false, 0), 0);
	nothing_to_take(fx.hub[0]);
	fx_pump(&fx, 0);
	took(fx.hub[0], 9, HUB_DELIVERED, 3);
	nothing_to_take(fx.hub[0]);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "all", 0, true, 0), 0);
	fx_pump(&fx, 0);
	nothing_to_take(fx.hub[0]);
	CHECK_EQ(s[2].q.count, 2);
	fx_free(&fx);
}

TEST(a_ticket_message_reaches_every_session_with_the_ticket_but_the_sender)
{
	struct fx fx;
	struct session s[4];
	struct msg *m;
	struct hub_publication p = { .scope = HUB_TO_TICKET, .to = BYTES("t1"), .sender = BYTES("ann0"), .token = 5 };

	fx_init(&fx, 3, fx_options());
	fx_connect(fx.hub[0], &s[0], "ann0", "t1");
	fx_connect(fx.hub[0], &s[1], "ann0", NULL);
	fx_connect(fx.hub[1], &s[2], "bob1", "t1");
	fx_connect(fx.hub[1], &s[3], "cyd1", "t2");
	m = fx_msg(fx.hub[0], "hi");
	p.msg = m;
	CHECK_EQ(hub_publish(fx.hub[0], &p, FX_NOW(0)), 0);
	fx_pump(&fx, 0);
	took(fx.hub[0], 5, HUB_DELIVERED, 1);
	CHECK_EQ(s[0].q.count, 0);
	CHECK_EQ(s[1].q.count, 0);
	CHECK_BYTES(fx_waits(&s[2], 0), "hi");
	CHECK_EQ(s[3].q.count, 0);
	p.sender = BYTES("eve0");
	CHECK_EQ(hub_publish(fx.hub[0], &p, FX_NOW(0)), HUB_NOT_IN_TICKET);
	p.to = BYTES("t2");
	p.sender = BYTES("ann0");
	CHECK_EQ(hub_publish(fx.hub[0], &p, FX_NOW(0)), HUB_NOT_IN_TICKET);
	msg_unref(m);
	fx_free(&fx);
}

TEST(a_message_to_a_ticket_without_another_user_fails_once)
{
	struct fx fx;
	struct session a;
	struct msg *m;
	struct hub_publication p = {
		.scope = HUB_TO_TICKET, .to = BYTES("t"), .sender = BYTES("ann0"), .only_failures = true
	};

	fx_init(&fx, 3, fx_options());
	fx_connect(fx.hub[0], &a, "ann0", "t");
	m = fx_msg(fx.hub[0], "hi");
	p.msg = m;
	CHECK_EQ(hub_publish(fx.hub[0], &p, FX_NOW(0)), 0);
	nothing_to_take(fx.hub[0]);
	fx_pump(&fx, 0);
	took(fx.hub[0], 0, HUB_NOBODY, 0);
	nothing_to_take(fx.hub[0]);
	msg_unref(m);
	fx_free(&fx);
}

/* Shows: threat 95 */
TEST(a_kick_closes_every_device_wherever_the_user_lives)
{
	struct fx fx;
	struct session a, b, c;

	fx_init(&fx, 3, fx_options());
	fx_connect(fx.hub[2], &a, "ann2", NULL);
	fx_attach(fx.hub[2], &b, "ann2", NULL);
	fx_connect(fx.hub[2], &c, "bob2", NULL);
	CHECK_EQ(hub_kick(fx.hub[0], BYTES("ann2"), 4410, "kicked", 3, BYTES(""), FX_NOW(0)), 0);
	fx_pump(&fx, 0);
	took(fx.hub[0], 3, HUB_DELIVERED, 2);
	CHECK_EQ(a.close_code, 4410);
	CHECK_EQ(b.close_code, 4410);
	CHECK_EQ(c.state, SESSION_LIVE);
	CHECK_EQ(hub_kick(fx.hub[2], BYTES("ann2"), 4410, "kicked", 4, BYTES(""), FX_NOW(0)), 0);
	took(fx.hub[2], 4, HUB_NOBODY, 0);
	fx_free(&fx);
}

/* Shows: threat 176 */
TEST(messages_of_one_pair_keep_their_order_across_workers)
{
	struct fx fx;
	struct session a;
	char text[2] = "a";

	fx_init(&fx, 3, fx_options());
	fx_connect(fx.hub[1], &a, "ann1", "t");
	for (; text[0] <= 'f'; text[0]++)
		fx_publish(fx.hub[0], (enum hub_scope)((text[0] - 'a') % 3), text[0] % 3 == 'a' % 3 ? "ann1" : "t",
			   text, 1, true, 0);
	fx_pump(&fx, 0);
	for (unsigned i = 0; i < 6; i++)
		CHECK_EQ(fx_waits(&a, i).at[0], 'a' + i);
	fx_free(&fx);
}

#ifdef WSC_FAULTS
#include "base/mem.h"
#include "wsc/error.h"

/*
 * Attaches, accepts and publishes with memory that may be out at any moment; returns the number of accepted requests.
 */
static unsigned poor_story(struct fx *fx, struct session *s)
{
	static const char *const name[] = { "ann0", "bob1", "cyd1", "ann0" };
	static const enum hub_scope scope[] = { HUB_TO_USER, HUB_TO_ALL, HUB_TO_TICKET };
	unsigned asked = 0;

	for (unsigned i = 0; i < 4; i++) {
		struct hub *h = fx->hub[i % 2];
		struct msg *welcome = msg_new(hub_owner(h), MSG_SERVER, 3);
		uint64_t after = 0;
		int err = fx_attach(h, &s[i], name[i], i % 2 ? "t" : NULL);

		if (err == 0)
			err = hub_accept(h, &s[i], &welcome, welcome != NULL, i == 3 ? &after : NULL, FX_NOW(0));
		CHECK(err == 0 || err == -WSC_ENOMEM);
		if (welcome)
			msg_unref(welcome);
	}
	for (unsigned i = 0; i < 30; i++) {
		struct msg *m = msg_new(hub_owner(fx->hub[0]), MSG_USER, 100 * i);
		struct hub_publication p = { .scope = scope[i % 3],
					     .to = i % 3 ? BYTES("t") : BYTES("bob1"),
					     .may_be_outside = true,
					     .msg = m,
					     .token = 1 };
		int err;

		if (!m)
			continue;
		err = hub_publish(fx->hub[0], &p, FX_NOW(0));
		CHECK(err == 0 || err == -WSC_ENOMEM || err == HUB_BUSY);
		asked += err == 0;
		msg_unref(m);
		if (i % 8 == 7)
			fx_pump(fx, 0);
	}
	return asked;
}

/* Shows: threat 123 */
TEST(any_allocation_may_fail_and_every_accepted_request_is_answered_once)
{
	for (unsigned long k = 1; k < 160; k++) {
		struct fx fx;
		struct session s[4];
		struct hub_request r;
		unsigned asked, told = 0;

		fx_init(&fx, 2, fx_options());
		mem_fail_at(k, k % 2);
		asked = poor_story(&fx, s);
		fx_pump(&fx, 0);
		mem_fail_at(0, 0);
		hub_tick(fx.hub[0], FX_NOW(5000));
		while (hub_take_request(fx.hub[0], &r))
			told += r.type == HUB_REQ_OUTCOME;
		CHECK_EQ(told, asked);
		fx_drain_all(&fx);
		fx_free(&fx);
	}
}
#endif
