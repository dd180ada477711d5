/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_turn: the cost of a turn, counted in system calls, and the memory of an idle connection. Counts have no noise:
 * these numbers are the design's and may not grow.
 */
#include "worker_fixture.h"

#include <poll.h>

static const char *const hello =
	"{\"to\":\"bob\",\"content\":\"hello\",\"id\":\"m1\",\"create_at\":\"2026-01-01T00:00:00Z\"}";

TEST(a_message_at_one_outstanding_costs_one_recv_one_send_and_one_wait)
{
	struct inbox in = { 0 };
	struct calls a, b;
	struct bytes text = { 0 };
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	rig_turn(&r, 2);
	a = calls_of(&r, 0);
	for (int i = 0; i < 100; i++) {
		say(i % 2 ? bob : alice, i % 2 ? "{\"to\":\"alice\",\"content\":\"and back\"}" : hello);
		CHECK(worker_turn(r.w[0], 1000));
		take(&in, i % 2 ? alice : bob);
	}
	b = calls_of(&r, 0);
	CHECK_EQ(b.recv - a.recv, 100);
	CHECK_EQ(b.send - a.send, 100);
	CHECK_EQ(b.wait - a.wait, 100);
	CHECK_EQ(next_frame(&in, &text), 0x81);
	CHECK(memmem(text.at, text.len, "\"from\":\"alice\"", 14) != NULL);
	CHECK_EQ(count_messages(&in), 99);
	inbox_free(&in);
	close(alice);
	close(bob);
	rig_end(&r);
}

TEST(many_messages_to_one_reader_leave_in_one_send)
{
	struct inbox in = { 0 };
	struct calls a, b;
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	a = calls_of(&r, 0);
	for (int i = 0; i < 50; i++)
		say(alice, hello);
	worker_turn(r.w[0], 1000);
	b = calls_of(&r, 0);
	CHECK_EQ(b.recv - a.recv, 1);
	CHECK_EQ(b.send - a.send, 1);
	CHECK_EQ(b.wait - a.wait, 1);
	take(&in, bob);
	CHECK_EQ(count_messages(&in), 50);
	inbox_free(&in);
	close(alice);
	close(bob);
	rig_end(&r);
}

/* A queue over its limit is flushed before more is read, so that a fan-in fills no memory and closes no reader. */
TEST(a_queue_over_its_limit_makes_the_turn_stop_reading_and_flush)
{
	struct inbox in = { 0 };
	struct calls a, b;
	int fd[20], bob;
	struct rig r;
	char user[16];

	rig_init(&r, 1);
	r.hub.max_messages[HUB_WEBSOCKET] = 16;
	rig_start(&r);
	bob = rig_ws(&r, "bob");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(user, sizeof user, "s%u", i);
		fd[i] = rig_ws(&r, user);
	}
	rig_turn(&r, 2);
	for (unsigned i = 0; i < 20; i++)
		for (unsigned n = 0; n < 10; n++)
			say(fd[i], hello);
	a = calls_of(&r, 0);
	worker_turn(r.w[0], 1000);
	b = calls_of(&r, 0);
	CHECK_EQ(b.recv - a.recv, 2); /* the second sender's ten are over the sixteen */
	rig_turn(&r, 20);
	take(&in, bob);
	CHECK_EQ(count_messages(&in), 200);
	for (unsigned i = 0; i < 20; i++)
		close(fd[i]);
	close(bob);
	inbox_free(&in);
	rig_end(&r);
}

/* How many waits a turn makes in which @senders have written. */
static uint64_t waits_with(unsigned senders)
{
	struct calls a, b;
	int fd[64], bob;
	struct rig r;
	char user[16];

	rig_init(&r, 1);
	rig_start(&r);
	bob = rig_ws(&r, "bob");
	for (unsigned i = 0; i < senders; i++) {
		snprintf(user, sizeof user, "s%u", i);
		fd[i] = rig_ws(&r, user);
	}
	rig_turn(&r, 2);
	for (unsigned i = 0; i < senders; i++)
		say(fd[i], hello);
	a = calls_of(&r, 0);
	worker_turn(r.w[0], 1000);
	b = calls_of(&r, 0);
	CHECK_EQ(b.recv - a.recv, senders);
	CHECK_EQ(b.send - a.send, 1);
	for (unsigned i = 0; i < senders; i++)
		close(fd[i]);
	close(bob);
	rig_end(&r);
	return b.wait - a.wait;
}

TEST(a_second_look_is_taken_only_when_many_are_ready)
{
	CHECK_EQ(waits_with(1), 1);
	CHECK_EQ(waits_with(31), 1);
	CHECK_EQ(waits_with(32), 2);
	CHECK_EQ(waits_with(60), 2);
}

/* Two polls a turn show LOOP_EVENTS sockets each; the other clients have sent bytes all the same. */
TEST(a_client_left_out_of_full_polls_is_not_taken_for_silent)
{
	enum { CROWD = 2 * LOOP_EVENTS + 100 };
	static int fd[CROWD];
	uint32_t pos = 0;
	unsigned seen = 0;
	struct shard *sh;
	struct rig r;
	struct conn *c;

	rig_init(&r, 1);
	rig_start(&r);
	sh = &r.w[0]->shard;
	rig_crowd(&r, fd, CROWD, "u");
	/* All of them have been silent for long enough, and now they speak. */
	for (int i = 0; i < CROWD; i++)
		say(fd[i], "{}");
	while ((c = slab_next(&sh->conns, &pos))) {
		c->session.last_rx_ms -= 100000;
		timers_arm(&sh->timers, &c->timer, 0);
	}
	rig_turn(&r, 1);
	for (pos = 0; (c = slab_next(&sh->conns, &pos));) {
		seen += (uint32_t)now_ms(sh->now) - c->session.last_rx_ms < 90000;
		CHECK_EQ(c->session.state, SESSION_LIVE);
	}
	CHECK_EQ(seen, 2 * LOOP_EVENTS);
	for (int i = 0; i < 20; i++)
		rig_turn(&r, 1);
	CHECK_EQ(counter_get(&hub_counters(sh->hub)->sessions[HUB_WEBSOCKET]), CROWD);
	rig_hang_up(&r, fd, CROWD);
	rig_end(&r);
}

/* Shows: threat 28 */
TEST(a_thousand_idle_connections_make_no_call_but_the_wait)
{
	struct calls a, b;
	static int fd[1000];
	struct rig r;
	char user[16];

	rig_init(&r, 1);
	rig_start(&r);
	for (int i = 0; i < 1000; i++) {
		snprintf(user, sizeof user, "u%d", i);
		fd[i] = rig_ws(&r, user);
	}
	rig_turn(&r, 4);
	a = calls_of(&r, 0);
	worker_turn(r.w[0], 100);
	b = calls_of(&r, 0);
	CHECK_EQ(b.recv - a.recv, 0);
	CHECK_EQ(b.send - a.send, 0);
	CHECK_EQ(b.wait - a.wait, 1);
	for (int i = 0; i < 1000; i++)
		close(fd[i]);
	rig_end(&r);
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */

/* Shows: threat 115 */
TEST(an_idle_connection_holds_nothing_but_its_slab_object)
{
	struct inbox in = { 0 };
	struct conn *a, *b;
	struct rig r;
	int alice, bob;

	printf("conn %zu, session %zu, user %zu + id, ws decoder %zu bytes\n", sizeof(struct conn),
	       sizeof(struct session), sizeof(struct user), sizeof(struct ws_decoder));
	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	a = rig_conn(&r, "alice");
	b = rig_conn(&r, "bob");
	if (!CHECK(a && b))
		return;
	CHECK(!a->at.extra && !b->at.extra);
	say(alice, hello);
	put_frame(alice, 0x89, "beat", 4);              /* a ping */
	put_frame(bob, 0x01, "{\"to\":\"alice\",", 14); /* a message in two frames */
	rig_turn(&r, 2);
	CHECK(b->at.extra != NULL);
	put_frame(bob, 0x80, "\"content\":\"x\"}", 14);
	put(bob, "\x81", 1); /* the first byte of a frame */
	rig_turn(&r, 2);
	CHECK(b->at.extra != NULL);
	put(bob, "\x80\0\0\0\0", 5); /* an empty message: bad_message */
	rig_turn(&r, 2);
	CHECK(!a->at.extra && !b->at.extra);
	CHECK(!a->session.q.chunked && !b->session.q.chunked);
	CHECK_EQ(hub_owner(r.w[0]->shard.hub)->count, 0);
	take(&in, bob);
	CHECK_EQ(count_messages(&in), 2); /* hello, and the error */
	inbox_free(&in);
	close(alice);
	close(bob);
	rig_end(&r);
}

/* ---- one byte at a time --------------------------------------------------------------------------------------------- */

/* All that alice and bob get in one conversation, heads left out. */
static void conversation(uint32_t chop, struct inbox *a, struct inbox *b)
{
	struct rig r;
	char *big = malloc(30001);
	int alice, bob;

	rig_init(&r, 1);
	r.set.chop = chop;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	say(alice, hello);
	put_frame(bob, 0x89, "are you there", 13);
	memset(big, ' ', 30000);
	big[30000] = 0;
	memcpy(big, hello, strlen(hello));
	put_frame(alice, 0x01, big, 15000);
	put_frame(alice, 0x8a, "a pong between", 14);
	put_frame(alice, 0x80, big + 15000, 15000);
	say(alice, "ping");
	rig_turn(&r, 80000);
	put_frame(alice, 0x88, "\x03\xe8", 2);
	put_frame(bob, 0x83, "reserved", 8); /* 1002 */
	rig_turn(&r, 4000);
	take(a, alice);
	take(b, bob);
	free(big);
	close(alice);
	close(bob);
	rig_end(&r);
}

/* Shows: threat 6 */
TEST(a_conversation_of_single_bytes_is_the_same_conversation)
{
	struct inbox a[3] = { 0 }, b[3] = { 0 };

	conversation(0, &a[0], &b[0]);
	conversation(1, &a[1], &b[1]);
	conversation(7, &a[2], &b[2]);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(a[i].len, a[0].len);
		CHECK_EQ(b[i].len, b[0].len);
		CHECK(a[i].len == a[0].len && memcmp(a[i].at, a[0].at, a[0].len) == 0);
		CHECK(b[i].len == b[0].len && memcmp(b[i].at, b[0].at, b[0].len) == 0);
		CHECK(a[i].end && b[i].end);
	}
	CHECK_BYTES(bytes_of(a[0].at, a[0].len), "\x81\x04pong\x88\x02\x03\xe8");
	CHECK_EQ(close_code(&b[0]), 1002);
	for (int i = 0; i < 3; i++) {
		inbox_free(&a[i]);
		inbox_free(&b[i]);
	}
}

/* ---- two workers ---------------------------------------------------------------------------------------------------- */

TEST(between_workers_order_holds_and_a_turn_wakes_a_peer_once)
{
	struct inbox in = { 0 };
	struct bytes text = { 0 };
	char user[16], json[128], want[32];
	struct rig r;
	int from, to = -1, seen = 0;

	rig_init(&r, 2);
	rig_start(&r);
	from = rig_ws(&r, "alice");
	for (int i = 0; to < 0; i++) { /* a user on the other one */
		snprintf(user, sizeof user, "bob%d", i);
		if (shard_of_user(&r.set, bytes_str(user)) != shard_of_user(&r.set, BYTES("alice")))
			to = rig_ws(&r, user);
	}
	for (int i = 0; i < 200; i++) {
		snprintf(json, sizeof json, "{\"to\":\"%s\",\"content\":\"n%03d.\"}", user, i);
		say(from, json);
	}
	rig_turn(&r, 4);
	take(&in, to);
	while (next_frame(&in, &text)) {
		snprintf(want, sizeof want, "\"n%03d.\"", seen++);
		CHECK(memmem(text.at, text.len, want, strlen(want)) != NULL);
	}
	CHECK_EQ(seen, 200);
	inbox_free(&in);
	close(from);
	close(to);
	rig_end(&r);
}

TEST(in_a_crowded_turn_a_close_frame_with_the_end_right_behind_it_is_answered)
{
	struct inbox in = { 0 };
	int crowd[40], alice;
	struct rig r;

	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	for (int i = 0; i < 40; i++) {
		char user[16];

		snprintf(user, sizeof user, "c%d", i);
		crowd[i] = rig_ws(&r, user);
	}
	for (int i = 0; i < 40; i++)
		say(crowd[i], "{\"to\":\"nobody\",\"content\":\"\"}");
	put_frame(alice, 0x88, "\x03\xe8", 2);
	shutdown(alice, SHUT_WR);
	rig_turn(&r, 2);
	take(&in, alice);
	CHECK_EQ(close_code(&in), 1000);
	inbox_free(&in);
	close(alice);
	for (int i = 0; i < 40; i++)
		close(crowd[i]);
	rig_turn(&r, 3);
	rig_end(&r);
}

/* A host program polls one descriptor and calls for one turn whenever it is readable. */
TEST(input_that_waits_for_its_turn_shows_on_the_descriptor_of_a_host)
{
	static uint8_t pings[8000]; /* less than is read at once */
	struct pollfd p = { .events = POLLIN };
	struct rig r;
	unsigned turns = 0;
	int alice;

	rig_init(&r, 1);
	r.by_host = true;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	for (size_t at = 0; at < sizeof pings; at += 10)
		memcpy(pings + at, "\x81\x84\0\0\0\0ping", 10);
	put(alice, pings, sizeof pings);
	rig_turn(&r, 1);
	CHECK_EQ(r.w[0]->shard.ndeferred, 1);
	p.fd = loop_fd(&r.w[0]->shard.loop);
	for (; turns < 1000 && r.w[0]->shard.ndeferred && poll(&p, 1, 10000) == 1; turns++)
		rig_turn(&r, 1);
	CHECK_EQ(r.w[0]->shard.ndeferred, 0);
	CHECK(turns > 1);
	/* And then nothing is due for a long time. */
	for (turns = 0; turns < 10 && poll(&p, 1, 0) == 1; turns++)
		rig_turn(&r, 1);
	CHECK(turns < 10);
	close(alice);
	rig_turn(&r, 3);
	rig_end(&r);
}
