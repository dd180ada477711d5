/* SPDX-License-Identifier: Apache-2.0 */
/* hub/session: a device's life, its limits, and the log that is read for it. */
#include "hub_fixture.h"

/* Shows: threat 171 */
TEST(a_session_is_held_until_it_is_accepted_and_its_welcome_comes_first)
{
	struct fx fx;
	struct session s;
	struct msg *welcome;

	fx_init(&fx, 1, fx_options());
	CHECK_EQ(fx_attach(fx.hub[0], &s, "ann", NULL), HUB_OK);
	CHECK_EQ(s.state, SESSION_HELD);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 1, true, 0), 0);
	CHECK(hub_take_ready(fx.hub[0]) == NULL);
	welcome = fx_msg(fx.hub[0], "welcome");
	CHECK_EQ(hub_accept(fx.hub[0], &s, &welcome, 1, NULL, FX_NOW(5)), 0);
	msg_unref(welcome);
	CHECK_EQ(s.state, SESSION_LIVE);
	CHECK_BYTES(fx_waits(&s, 0), "welcome");
	CHECK_BYTES(fx_waits(&s, 1), "hi");
	CHECK(hub_take_ready(fx.hub[0]) == &s);
	CHECK_BYTES(session_user(&s), "ann");
	fx_free(&fx);
}

TEST(replace_closes_the_oldest_only_when_the_new_one_is_accepted)
{
	struct fx fx;
	struct session s[3];

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &s[0], "ann", NULL);
	fx_connect(fx.hub[0], &s[1], "ann", NULL);
	CHECK_EQ(fx_attach(fx.hub[0], &s[2], "ann", NULL), 0);
	CHECK_EQ(s[0].state, SESSION_LIVE);
	CHECK_EQ(hub_user_sessions(&s[2]), 3);
	hub_accept(fx.hub[0], &s[2], NULL, 0, NULL, FX_NOW(0));
	CHECK_EQ(s[0].state, SESSION_CLOSING);
	CHECK_EQ(s[0].close_code, 4409);
	CHECK_EQ(s[1].state, SESSION_LIVE);
	CHECK_EQ(hub_user_sessions(&s[2]), 2);
	CHECK_EQ(hub_counters(fx.hub[0])->replaced, 1);
	CHECK_EQ(hub_counters(fx.hub[0])->sessions[HUB_WEBSOCKET], 2);
	CHECK_EQ(hub_counters(fx.hub[0])->lifetime, 3);
	CHECK_EQ(hub_counters(fx.hub[0])->users, 1);
	fx_free(&fx);
}

TEST(a_hidden_session_is_in_no_table_gets_no_broadcast_and_counts_as_no_user)
{
	struct fx fx;
	struct session s[2], other;
	struct hub_identity id = { .user_id = BYTES("echo"), .hidden = true };
	struct hub_user_row row;
	struct msg *m;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &other, "echo", NULL);
	for (int i = 0; i < 2; i++) {
		s[i] = (struct session){ 0 };
		CHECK_EQ(hub_attach(fx.hub[0], &s[i], &id, FX_NOW(0)), 0);
		CHECK_EQ(hub_accept(fx.hub[0], &s[i], NULL, 0, NULL, FX_NOW(0)), 0);
		CHECK_EQ(hub_user_sessions(&s[i]), 1);
	}
	CHECK_EQ(hub_counters(fx.hub[0])->sessions[HUB_WEBSOCKET], 3);
	CHECK_EQ(hub_counters(fx.hub[0])->users, 1);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_ALL, "", "all", 1, true, 0), 0);
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_USER, "echo", "one", 1, true, 0), 0);
	CHECK_EQ(other.q.count, 2);
	CHECK_EQ(s[0].q.count + s[1].q.count, 0);
	hub_detach(fx.hub[0], &other, FX_NOW(0));
	CHECK(!hub_next_user(fx.hub[0], NULL, &row));
	CHECK(hub_find(fx.hub[0], BYTES("echo")) == NULL);
	m = fx_msg(fx.hub[0], "back");
	CHECK_EQ(hub_send(fx.hub[0], &s[1], m), 0);
	msg_unref(m);
	CHECK_BYTES(fx_waits(&s[1], 0), "back");
	CHECK(hub_take_ready(fx.hub[0]) == &s[1]);
	hub_close(fx.hub[0], &s[1], 1000, "bye", false);
	CHECK_EQ(hub_counters(fx.hub[0])->users, 0);
	CHECK_EQ(hub_counters(fx.hub[0])->sessions[HUB_WEBSOCKET], 1);
	for (int i = 0; i < 2; i++)
		hub_detach(fx.hub[0], &s[i], FX_NOW(0));
	CHECK_EQ(hub_counters(fx.hub[0])->sessions[HUB_WEBSOCKET], 0);
	fx_free(&fx);
}

TEST(there_is_room_as_long_as_one_more_message_keeps_a_queue_within_its_limits)
{
	struct hub_options o = fx_options();
	struct session s;
	struct msg *m;
	struct fx fx;

	o.max_messages[HUB_WEBSOCKET] = 3;
	o.max_queue_bytes = 100;
	fx_init(&fx, 1, o);
	fx_connect(fx.hub[0], &s, "ann", NULL);
	m = fx_msg(fx.hub[0], "0123");
	CHECK(hub_has_room(fx.hub[0], &s, 1u << 30)); /* an empty queue always takes one */
	CHECK_EQ(hub_send(fx.hub[0], &s, m), 0);
	CHECK(hub_has_room(fx.hub[0], &s, 64));
	CHECK(!hub_has_room(fx.hub[0], &s, 65));
	CHECK(!hub_has_room(fx.hub[0], &s, UINT32_MAX));
	CHECK_EQ(hub_send(fx.hub[0], &s, m), 0);
	CHECK(hub_has_room(fx.hub[0], &s, 0));
	CHECK_EQ(hub_send(fx.hub[0], &s, m), 0);
	CHECK(!hub_has_room(fx.hub[0], &s, 0));
	CHECK(!hub_pressed(fx.hub[0]));
	msg_unref(m);
	fx_free(&fx);
}

TEST(reject_refuses_and_changes_nothing_and_allow_sets_no_limit)
{
	struct hub_options o = fx_options();
	struct fx fx;
	struct session s[4];

	o.login = HUB_LOGIN_REJECT;
	fx_init(&fx, 1, o);
	CHECK_EQ(fx_attach(fx.hub[0], &s[0], "ann", NULL), 0);
	CHECK_EQ(fx_attach(fx.hub[0], &s[1], "ann", NULL), 0);
	CHECK_EQ(fx_attach(fx.hub[0], &s[2], "ann", "t"), HUB_TOO_MANY);
	CHECK_EQ(s[2].state, SESSION_NONE);
	hub_detach(fx.hub[0], &s[0], FX_NOW(0));
	CHECK_EQ(fx_attach(fx.hub[0], &s[2], "ann", "t"), 0);
	fx_free(&fx);

	o.login = HUB_LOGIN_ALLOW;
	fx_init(&fx, 1, o);
	for (int i = 0; i < 4; i++)
		fx_connect(fx.hub[0], &s[i], "ann", NULL);
	CHECK_EQ(hub_user_sessions(&s[0]), 4);
	fx_free(&fx);
}

TEST(the_first_reason_to_close_stands_and_nothing_is_taken_after_it)
{
	struct fx fx;
	struct session s;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &s, "ann", NULL);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "before", 1, true, 0);
	hub_close(fx.hub[0], &s, 1001, "going away", false);
	hub_close(fx.hub[0], &s, 1013, "slow", false);
	CHECK_EQ(s.close_code, 1001);
	CHECK_BYTES(bytes_str(s.close_reason), "going away");
	fx_publish(fx.hub[0], HUB_TO_ALL, "", "after", 1, true, 0);
	CHECK_EQ(s.q.count, 1);
	CHECK_EQ(hub_user_sessions(&s), 0);
	CHECK(hub_take_ready(fx.hub[0]) == &s);
	fx_free(&fx);
}

TEST(a_close_that_discards_keeps_a_message_partly_sent)
{
	struct fx fx;
	struct session s;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &s, "ann", NULL);
	for (int i = 0; i < 4; i++)
		fx_publish(fx.hub[0], HUB_TO_USER, "ann", i ? "later" : "begun", 1, true, 0);
	CHECK(hub_take_ready(fx.hub[0]) == &s);
	hub_sent(fx.hub[0], &s, 0, 3);
	hub_flushed(fx.hub[0], &s, true, FX_NOW(0));
	hub_close(fx.hub[0], &s, 1013, "slow", true);
	CHECK_EQ(s.q.count, 1);
	CHECK_BYTES(fx_waits(&s, 0), "begun");
	CHECK_EQ(hub_counters(fx.hub[0])->dropped[HUB_DROP_CLOSED], 3);
	hub_detach(fx.hub[0], &s, FX_NOW(0));
	CHECK_EQ(hub_counters(fx.hub[0])->dropped[HUB_DROP_BROKEN], 1);
	fx_free(&fx);
}

TEST(messages_held_for_a_refused_connection_are_freed)
{
	struct fx fx;
	struct session s;

	fx_init(&fx, 1, fx_options());
	fx_attach(fx.hub[0], &s, "ann", NULL);
	fx_publish(fx.hub[0], HUB_TO_USER, "ann", "hi", 1, true, 0);
	hub_close(fx.hub[0], &s, 4403, "refused", false);
	CHECK_EQ(s.q.count, 0);
	CHECK_EQ(hub_accept(fx.hub[0], &s, NULL, 0, NULL, FX_NOW(0)), 0);
	CHECK_EQ(s.state, SESSION_CLOSING);
	fx_free(&fx);
}

/* ---- the log -------------------------------------------------------------------------------------------------- */

static void publish_logged(struct fx *fx, const char *to, uint64_t seq)
{
	char text[16];
	struct msg *m;

	snprintf(text, sizeof(text), "%u", (unsigned)seq);
	m = fx_msg(fx->hub[0], text);
	m->seq = seq;
	CHECK_EQ(hub_publish(fx->hub[0],
			     &(struct hub_publication){ .to = bytes_str(to), .msg = m, .only_failures = true },
			     FX_NOW(0)),
		 0);
	msg_unref(m);
}

/* The log answers with the messages (after, upto]. */
static void answer_load(struct fx *fx, struct session *s, uint64_t after, uint64_t upto, bool end)
{
	struct msg *m[16] = { 0 };
	unsigned n = 0;

	for (uint64_t seq = after + 1; seq <= upto; seq++) {
		char text[16];

		snprintf(text, sizeof(text), "%u", (unsigned)seq);
		m[n] = fx_msg(fx->hub[0], text);
		m[n++]->seq = seq;
	}
	hub_loaded(fx->hub[0], s, m, n, upto, end, FX_NOW(0));
	while (n)
		msg_unref(m[--n]);
}

static bool take_load(struct fx *fx, uint64_t after, uint32_t room)
{
	struct hub_request r = { 0 };

	return CHECK(hub_take_request(fx->hub[0], &r)) && CHECK_EQ(r.type, HUB_REQ_LOAD) && CHECK_EQ(r.after, after) &&
	       CHECK_EQ(r.room, room);
}

/* Shows: threat 170 */
TEST(a_replay_pulls_as_the_queue_drains_and_joins_where_the_log_ends)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };
	uint64_t after = 10;

	fx_init(&fx, 1, fx_options());
	fx_attach(fx.hub[0], &s, "ann", NULL);
	publish_logged(&fx, "ann", 15); /* held, and in the log */
	hub_accept(fx.hub[0], &s, NULL, 0, &after, FX_NOW(0));
	CHECK_EQ(s.state, SESSION_REPLAYING);
	CHECK_EQ(s.q.count, 0);
	take_load(&fx, 10, 4);
	answer_load(&fx, &s, 10, 14, false);
	CHECK_EQ(s.q.count, 4);
	CHECK(!hub_take_request(fx.hub[0], &r));
	fx_drain_all(&fx);
	take_load(&fx, 14, 4);
	publish_logged(&fx, "ann", 16); /* the log has read its end already */
	CHECK_EQ(s.q.count, 0);
	answer_load(&fx, &s, 14, 15, true);
	CHECK_EQ(s.state, SESSION_REPLAYING);
	take_load(&fx, 15, 3);
	answer_load(&fx, &s, 15, 17, true);
	CHECK_EQ(s.state, SESSION_LIVE);
	publish_logged(&fx, "ann", 17); /* was still in the mailbox while the log was read */
	publish_logged(&fx, "ann", 18);
	CHECK_EQ(s.q.count, 4);
	CHECK_BYTES(fx_waits(&s, 0), "15");
	CHECK_BYTES(fx_waits(&s, 1), "16");
	CHECK_BYTES(fx_waits(&s, 2), "17");
	CHECK_BYTES(fx_waits(&s, 3), "18");
	fx_free(&fx);
}

TEST(an_answer_of_the_log_that_comes_after_the_close_is_ignored)
{
	struct fx fx;
	struct session s;
	uint64_t after = 0;

	fx_init(&fx, 1, fx_options());
	fx_attach(fx.hub[0], &s, "ann", NULL);
	hub_accept(fx.hub[0], &s, NULL, 0, &after, FX_NOW(0));
	take_load(&fx, 0, 4);
	hub_close(fx.hub[0], &s, 4410, "kicked", false);
	answer_load(&fx, &s, 0, 3, true);
	CHECK_EQ(s.q.count, 0);
	CHECK_EQ(s.state, SESSION_CLOSING);
	fx_free(&fx);
}

TEST(a_request_of_a_session_that_is_detached_is_never_taken)
{
	struct fx fx;
	struct session s;
	struct hub_request r = { 0 };
	uint64_t after = 0;

	fx_init(&fx, 1, fx_options());
	fx_attach(fx.hub[0], &s, "ann", NULL);
	hub_accept(fx.hub[0], &s, NULL, 0, &after, FX_NOW(0));
	CHECK_EQ(hub_requests(fx.hub[0]), 1);
	hub_detach(fx.hub[0], &s, FX_NOW(0));
	CHECK_EQ(hub_requests(fx.hub[0]), 0);
	CHECK(!hub_take_request(fx.hub[0], &r));
	fx_free(&fx);
}
