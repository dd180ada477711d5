/* SPDX-License-Identifier: Apache-2.0 */
/* hub/pending: each outcome is reported once, whatever the peers do. */
#include "hub_fixture.h"

static unsigned outcomes(struct hub *h, struct hub_request *last)
{
	struct hub_request r = { 0 };
	unsigned n = 0;

	for (; hub_take_request(h, &r); n++)
		*last = r;
	return n;
}

/* Shows: threat 121 */
TEST(an_outcome_that_a_peer_owes_too_long_is_reported_once)
{
	struct fx fx;
	struct hub_request r = { 0 };

	fx_init(&fx, 3, fx_options());
	fx_publish(fx.hub[0], HUB_TO_USER, "ann1", "hi", 7, false, 5000);
	CHECK_EQ(hub_deadline(fx.hub[0]), 6000);
	hub_tick(fx.hub[0], FX_NOW(5999));
	CHECK_EQ(outcomes(fx.hub[0], &r), 0);
	hub_tick(fx.hub[0], FX_NOW(6000));
	CHECK_EQ(outcomes(fx.hub[0], &r), 1);
	CHECK_EQ(r.result, HUB_TIMED_OUT);
	CHECK_EQ(hub_deadline(fx.hub[0]), UINT64_MAX);
	fx_pump(&fx, 6001); /* the answer comes too late */
	CHECK_EQ(outcomes(fx.hub[0], &r), 0);
	fx_free(&fx);
}

/* Shows: threat 116 */
TEST(a_late_answer_does_not_end_the_question_that_took_the_slot)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };

	fx_init(&fx, 2, fx_options());
	fx_connect(fx.hub[1], &s, "bob1", NULL);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann1", "hi", 7, false, 0);
	hub_tick(fx.hub[0], FX_NOW(1000));
	CHECK_EQ(outcomes(fx.hub[0], &r), 1);
	fx_publish(fx.hub[0], HUB_TO_USER, "bob1", "ho", 8, false, 1000);
	fx_pump(&fx, 1000);
	CHECK_EQ(outcomes(fx.hub[0], &r), 1);
	CHECK_EQ(r.token, 8);
	CHECK_EQ(r.result, HUB_DELIVERED);
	fx_free(&fx);
}

/* Shows: threat 121 */
TEST(too_many_questions_are_refused_before_anything_is_done)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };

	fx_init(&fx, 2, fx_options());
	fx_connect(fx.hub[0], &s, "ann0", NULL);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "x", 1, false, 0), 0);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "x", 1, false, 0), HUB_BUSY);
	CHECK_EQ(s.q.count, 4);
	fx_pump(&fx, 0);
	CHECK_EQ(outcomes(fx.hub[0], &r), 4);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "x", 1, false, 0), 0);
	fx_pump(&fx, 0);
	CHECK_EQ(outcomes(fx.hub[0], &r), 1);
	fx_free(&fx);
}

TEST(a_forged_answer_counts_for_nothing)
{
	struct fx fx;
	struct hub_request r = { 0 };
	struct hub_relay forged = { .type = HUB_RELAY_OUTCOME, .count = 5 };

	fx_init(&fx, 3, fx_options());
	fx_publish(fx.hub[0], HUB_TO_USER, "ann1", "hi", 7, false, 0);
	forged.token = fx.mail[0].r.token;
	hub_receive(fx.hub[0], 2, &forged, FX_NOW(0));
	forged.token ^= (uint64_t)1 << 32;
	hub_receive(fx.hub[0], 1, &forged, FX_NOW(0));
	forged.token = UINT64_MAX;
	hub_receive(fx.hub[0], 1, &forged, FX_NOW(0));
	hub_receive(fx.hub[0], 63, &forged, FX_NOW(0));
	CHECK_EQ(outcomes(fx.hub[0], &r), 0);
	fx_pump(&fx, 0);
	CHECK_EQ(outcomes(fx.hub[0], &r), 1);
	CHECK_EQ(r.result, HUB_NOBODY);
	CHECK_EQ(r.delivered, 0);
	fx_free(&fx);
}

TEST(the_delivered_count_is_reported_when_another_peer_is_silent)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };

	fx_init(&fx, 3, fx_options());
	fx_connect(fx.hub[1], &s, "ann1", NULL);
	fx.cut[2][0] = true;
	fx_publish(fx.hub[0], HUB_TO_ALL, "", "hi", 7, false, 0);
	fx_pump(&fx, 0);
	hub_tick(fx.hub[0], FX_NOW(1000));
	CHECK_EQ(outcomes(fx.hub[0], &r), 1);
	CHECK_EQ(r.result, HUB_DELIVERED);
	CHECK_EQ(r.delivered, 1);
	fx_free(&fx);
}
