/* SPDX-License-Identifier: Apache-2.0 */
/* hub/turn: which session is flushed first, and which one pays for a full queue. */
#include <stdatomic.h>

#include "hub_fixture.h"

static void publish_n(struct fx *fx, const char *to, int n)
{
	char text[16];

	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%d", i);
		CHECK_EQ(fx_publish(fx->hub[0], HUB_TO_USER, to, text, 1, true, 0), 0);
	}
}

TEST(a_unicast_is_flushed_before_a_broadcast_that_came_earlier)
{
	struct fx fx;
	struct session ann, bob;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	fx_connect(fx.hub[0], &bob, "bob", NULL);
	fx_publish(fx.hub[0], HUB_TO_ALL, "", "all", 1, true, 0);
	CHECK(!hub_has_urgent(fx.hub[0]));
	fx_publish(fx.hub[0], HUB_TO_USER, "bob", "you", 1, true, 0);
	CHECK(hub_has_urgent(fx.hub[0]));
	CHECK(hub_take_ready(fx.hub[0]) == &bob);
	CHECK_BYTES(fx_waits(&bob, 0), "all");
	CHECK_BYTES(fx_waits(&bob, 1), "you");
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	fx_free(&fx);
}

TEST(any_burst_to_a_reader_whose_socket_takes_it_closes_no_session)
{
	struct fx fx;
	struct session ann;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 1000);
	CHECK(hub_pressed(fx.hub[0]));
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_sent(fx.hub[0], &ann, 64, 0);
	hub_flushed(fx.hub[0], &ann, false, FX_NOW(0));
	CHECK(hub_pressed(fx.hub[0]));
	fx_drain_all(&fx);
	CHECK(!hub_pressed(fx.hub[0]));
	CHECK_EQ(ann.state, SESSION_LIVE);
	fx_free(&fx);
}

/* Shows: threat 113 */
TEST(a_full_queue_that_the_socket_refuses_is_closed_with_1013_and_the_close_frame_is_next)
{
	struct fx fx;
	struct session ann;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 10);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_sent(fx.hub[0], &ann, 1, 0);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.state, SESSION_CLOSING);
	CHECK_EQ(ann.close_code, 1013);
	CHECK_EQ(ann.q.count, 0);
	CHECK_EQ(hub_counters(fx.hub[0])->closed_slow, 1);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	fx_free(&fx);
}

TEST(a_blocked_reader_is_offered_its_bytes_once_more_before_it_is_judged)
{
	struct fx fx;
	struct session ann;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 8);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK(ann.blocked);
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	publish_n(&fx, "ann", 1);
	CHECK(hub_pressed(fx.hub[0]));
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	CHECK_EQ(ann.state, SESSION_LIVE);
	hub_sent(fx.hub[0], &ann, 5, 0);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.state, SESSION_LIVE);
	hub_writable(fx.hub[0], &ann);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	fx_free(&fx);
}

TEST(drop_oldest_drops_unsent_messages_and_counts_the_gap)
{
	struct hub_options o = fx_options();
	struct fx fx;
	struct session ann;

	o.slow = HUB_SLOW_DROP_OLDEST;
	fx_init(&fx, 1, o);
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 12);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_sent(fx.hub[0], &ann, 1, 1);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.gap, 3);
	CHECK_EQ(ann.q.count, 8);
	CHECK_EQ(ann.q.offset, 1);
	CHECK_BYTES(fx_waits(&ann, 0), "1");
	CHECK_BYTES(fx_waits(&ann, 1), "5");
	CHECK_EQ(hub_counters(fx.hub[0])->dropped[HUB_DROP_OVERFLOW], 3);
	hub_writable(fx.hub[0], &ann);
	fx_drain_all(&fx);
	CHECK_EQ(ann.gap, 0);
	fx_free(&fx);
}

TEST(a_gap_notice_is_due_even_when_nothing_follows)
{
	struct hub_options o = fx_options();
	struct fx fx;
	struct session ann;

	o.slow = HUB_SLOW_DROP_OLDEST;
	o.max_messages[HUB_WEBSOCKET] = 1;
	fx_init(&fx, 1, o);
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 2);
	hub_take_ready(fx.hub[0]);
	hub_sent(fx.hub[0], &ann, 0, 1);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.gap, 1);
	hub_writable(fx.hub[0], &ann);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_sent(fx.hub[0], &ann, 1, 0);
	hub_flushed(fx.hub[0], &ann, false, FX_NOW(0));
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	fx_free(&fx);
}

TEST(an_empty_queue_takes_one_message_of_any_size)
{
	struct hub_options o = fx_options();
	struct fx fx;
	struct session ann;

	o.max_queue_bytes = 20;
	fx_init(&fx, 1, o);
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "longer than the limit allows", 1, true, 0);
	CHECK(!hub_pressed(fx.hub[0]));
	hub_take_ready(fx.hub[0]);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.state, SESSION_LIVE);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "x", 1, true, 0);
	hub_take_ready(fx.hub[0]);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.close_code, 1013);
	fx_free(&fx);
}

TEST(the_queue_of_a_held_session_is_bounded_too)
{
	struct fx fx;
	struct session ann;

	fx_init(&fx, 1, fx_options());
	fx_attach(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 9);
	CHECK(hub_has_ready(fx.hub[0]));
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	CHECK_EQ(ann.close_code, 1013);
	CHECK(!hub_pressed(fx.hub[0]));
	fx_free(&fx);
}

/* Shows: threat 122 */
TEST(short_of_memory_the_reader_blocked_for_longest_is_closed_first)
{
	struct hub_options o = fx_options();
	struct fx fx;
	struct session s[3];
	static const char *const name[] = { "ann", "bob", "cyd" };

	o.max_total_bytes = 1400;
	fx_init(&fx, 1, o);
	for (int i = 0; i < 3; i++)
		fx_connect(fx.hub[0], &s[i], name[i], NULL);
	for (int i = 0; i < 3; i++) {
		publish_n(&fx, name[i], 5);
		CHECK(hub_take_ready(fx.hub[0]) == &s[i]);
		hub_flushed(fx.hub[0], &s[i], true, FX_NOW(0));
	}
	/* 15 messages of 83 bytes are within 1400; two more are not. */
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	publish_n(&fx, "bob", 2);
	hub_tick(fx.hub[0], FX_NOW(1));
	CHECK(hub_take_ready(fx.hub[0]) == &s[0]);
	hub_flushed(fx.hub[0], &s[0], true, FX_NOW(1));
	CHECK_EQ(s[0].close_code, 1013);
	CHECK_EQ(s[1].state, SESSION_LIVE);
	CHECK_EQ(s[2].state, SESSION_LIVE);
	CHECK(hub_take_ready(fx.hub[0]) == &s[0]);
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	fx_free(&fx);
}

TEST(small_queues_close_sessions_already_over_them_and_large_ones_let_queues_fill_again)
{
	struct hub_options o = fx_options();
	struct session ann, bob;
	struct fx fx;

	o.max_messages[HUB_WEBSOCKET] = 8;
	fx_init(&fx, 1, o);
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	fx_connect(fx.hub[0], &bob, "bob", NULL);
	publish_n(&fx, "ann", 3);
	publish_n(&fx, "bob", 2);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK(hub_take_ready(fx.hub[0]) == &bob);
	hub_flushed(fx.hub[0], &bob, true, FX_NOW(0));
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	hub_squeeze(fx.hub[0], true); /* two may wait now */
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	CHECK_EQ(ann.state, SESSION_LIVE); /* is offered its bytes first */
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(1));
	CHECK_EQ(ann.close_code, 1013);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	hub_squeeze(fx.hub[0], false);
	publish_n(&fx, "bob", 6);
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	CHECK_EQ(bob.state, SESSION_LIVE);
	CHECK_EQ(bob.q.count, 8);
	fx_free(&fx);
}

TEST(a_queue_of_one_stays_one_however_small_queues_are)
{
	struct hub_options o = fx_options();
	struct session ann;
	struct fx fx;

	o.max_messages[HUB_WEBSOCKET] = 1;
	fx_init(&fx, 1, o);
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	hub_squeeze(fx.hub[0], true);
	publish_n(&fx, "ann", 1);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	CHECK_EQ(ann.state, SESSION_LIVE);
	fx_free(&fx);
}

TEST(short_of_memory_the_longest_blocked_sessions_are_closed_until_enough_bytes_are_free)
{
	static const char *const name[] = { "ann", "bob", "cyd" };
	struct session s[3];
	struct fx fx;

	fx_init(&fx, 1, fx_options());
	CHECK(!hub_shed(fx.hub[0], 1)); /* no session is blocked */
	CHECK(!hub_shed(fx.hub[0], 0));
	for (int i = 0; i < 3; i++) {
		fx_connect(fx.hub[0], &s[i], name[i], NULL);
		publish_n(&fx, name[i], 4);
		CHECK(hub_take_ready(fx.hub[0]) == &s[i]);
		hub_flushed(fx.hub[0], &s[i], true, FX_NOW(0));
	}
	CHECK(hub_shed(fx.hub[0], 400)); /* more than four messages of 83 bytes, less than eight */
	hub_tick(fx.hub[0], FX_NOW(1));
	for (int i = 0; i < 2; i++) {
		struct session *oldest = hub_take_ready(fx.hub[0]);

		while (oldest && oldest->state == SESSION_CLOSING)
			oldest = hub_take_ready(fx.hub[0]);
		CHECK(oldest == &s[i]);
		hub_flushed(fx.hub[0], &s[i], true, FX_NOW(1));
		CHECK_EQ(s[i].close_code, 1013);
	}
	while (hub_take_ready(fx.hub[0]))
		;
	hub_tick(fx.hub[0], FX_NOW(2));
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	CHECK_EQ(s[2].state, SESSION_LIVE);
	CHECK_EQ(atomic_load(&hub_counters(fx.hub[0])->closed_slow), 2);
	fx_free(&fx);
}

/* Shows: threat 27 */
TEST(a_pong_makes_ready_but_not_while_the_socket_is_blocked)
{
	struct fx fx;
	struct session ann;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &ann, "ann", NULL);
	hub_ready(fx.hub[0], &ann);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0));
	hub_ready(fx.hub[0], &ann);
	CHECK(!hub_has_ready(fx.hub[0]));
	hub_writable(fx.hub[0], &ann);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	fx_free(&fx);
}

TEST(a_session_that_is_closed_before_it_is_accepted_still_sends_its_close)
{
	struct fx fx;
	struct session ann;

	fx_init(&fx, 1, fx_options());
	fx_attach(fx.hub[0], &ann, "ann", NULL);
	publish_n(&fx, "ann", 9);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	hub_flushed(fx.hub[0], &ann, true, FX_NOW(0)); /* it has no WebSocket yet */
	hub_ready(fx.hub[0], &ann);
	CHECK(hub_take_ready(fx.hub[0]) == &ann);
	fx_free(&fx);
}
