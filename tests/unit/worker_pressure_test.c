/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_pressure: a worker serves its ordinary clients while a few flood it: turns are counted, not time. Memory is
 * the real memory of this process; the limit is set around it.
 */
/* Shows: 1.limits.memory */
#include "worker_fixture.h"

#include "base/machine.h"

#define LOUD 100      /* flooding clients */
#define SLOW_TURNS 10 /* instead of 2 under a sanitizer: a flush of 2 ms does not reach all of them there */

static const char *const to_bob = "{\"to\":\"bob\",\"content\":\"x\"}";

/* As many copies of a frame as fit into one receive buffer. */
static size_t fill(uint8_t *out, uint8_t first, const char *payload)
{
	size_t n = strlen(payload), len = 0;

	while (len + n + 6 <= LOOP_RECV_BYTES) {
		out[len] = first;
		out[len + 1] = (uint8_t)(0x80 | n);
		memset(out + len + 2, 0, 4);
		memcpy(out + len + 6, payload, n);
		len += n + 6;
	}
	return len;
}

/* Writes as much as the socket takes. */
static void flood(int fd, const uint8_t *data, size_t len)
{
	while (send(fd, data, len, MSG_NOSIGNAL) > 0)
		;
}

/* How many turns pass until the next message of @from has come to @to. */
static unsigned turns_until(struct rig *r, int from, int to)
{
	struct inbox in = { 0 };
	unsigned n = 0;

	say(from, to_bob);
	while (n < 1000 && !count_messages(&in)) {
		rig_turn(r, 1);
		n++;
		take(&in, to);
	}
	inbox_free(&in);
	return n;
}

static void beside_floods(uint8_t first, const char *payload, bool rates)
{
	static uint8_t data[LOOP_RECV_BYTES];
	size_t len = fill(data, first, payload);
	int loud[LOUD], alice, bob;
	struct rig r;

	rig_init(&r, 1);
	if (rates) {
		r.set.opt.message_rate = (struct rate_limit){ 100, 1000, 10000 };
		r.set.opt.control_rate = (struct rate_limit){ 20, 40, 0 };
	}
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	rig_crowd(&r, loud, LOUD, "loud");
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < LOUD; i++)
			flood(loud[i], data, len);
		CHECK(turns_until(&r, alice, bob) <= (getenv("TEST_SLOW") ? SLOW_TURNS : 2));
	}
	rig_hang_up(&r, loud, LOUD);
	rig_hang_up(&r, (int[]){ alice, bob }, 2);
	rig_end(&r);
}

/* Shows: server.fair */
TEST(beside_a_hundred_floods_of_tiny_messages_an_ordinary_one_waits_two_turns_at_most)
{
	beside_floods(0x81, "{}", false);
	beside_floods(0x81, "{}", true);
}

/* Shows: server.fair, threat 27 */
TEST(beside_a_hundred_floods_of_pings_an_ordinary_message_waits_two_turns_at_most)
{
	beside_floods(0x89, "", false);
	beside_floods(0x89, "", true);
}

TEST(beside_a_hundred_floods_of_empty_messages_an_ordinary_one_waits_two_turns_at_most)
{
	beside_floods(0x81, "", false);
	beside_floods(0x81, "", true);
}

/* Shows: server.fair */
TEST(beside_a_hundred_floods_of_pipelined_requests_an_ordinary_message_waits_two_turns_at_most)
{
	static const char request[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
	static uint8_t data[LOOP_RECV_BYTES];
	int loud[LOUD], alice, bob;
	size_t len = 0;
	struct rig r;

	for (; len + sizeof request <= sizeof data; len += sizeof request - 1)
		memcpy(data + len, request, sizeof request - 1);
	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	for (int i = 0; i < LOUD; i++)
		loud[i] = rig_dial(&r, 0);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < LOUD; i++)
			flood(loud[i], data, len);
		CHECK(turns_until(&r, alice, bob) <= 2);
	}
	/* None of them has read an answer, so their waiting output is bounded. */
	for (uint32_t pos = 0;;) {
		struct conn *c = slab_next(&r.w[0]->shard.conns, &pos);

		if (!c)
			break;
		if (c->kind == CONN_HTTP) {
			CHECK(http_of(c)->out.cap <= 256 * 1024);
			CHECK(http_of(c)->next.cap <= 4 * LOOP_RECV_BYTES);
		}
	}
	rig_hang_up(&r, loud, LOUD);
	rig_hang_up(&r, (int[]){ alice, bob }, 2);
	rig_end(&r);
}

/* The number of live connections of @r's first worker for which @is holds. */
static unsigned count_conns(struct rig *r, bool (*is)(const struct conn *c))
{
	uint32_t pos = 0;
	unsigned n = 0;
	struct conn *c;

	while ((c = slab_next(&r->w[0]->shard.conns, &pos)))
		n += is(c);
	return n;
}

static bool is_due(const struct conn *c)
{
	return c->timer.due_ms <= 1;
}

static bool is_loud(const struct conn *c)
{
	return c->rate_limited;
}

static bool is_deferred(const struct conn *c)
{
	return c->deferred;
}

static void all_due(struct rig *r)
{
	uint32_t pos = 0;
	struct conn *c;

	while ((c = slab_next(&r->w[0]->shard.conns, &pos)))
		timers_arm(&r->w[0]->shard.timers, &c->timer, 1);
}

TEST(a_turn_serves_a_few_of_many_due_timers_and_does_not_sleep_before_all_were_served)
{
	struct rig r;
	int fd[50];

	rig_init(&r, 1);
	rig_start(&r);
	for (int i = 0; i < 50; i++)
		fd[i] = rig_dial(&r, 0);
	all_due(&r);
	for (unsigned left = 50; left;) {
		worker_turn(r.w[0], -1); /* for ever, were it to sleep */
		left -= left < 16 ? left : 16;
		CHECK_EQ(count_conns(&r, is_due), left);
	}
	for (int i = 0; i < 50; i++)
		close(fd[i]);
	rig_turn(&r, 2);
	rig_end(&r);
}

TEST(rate_limited_senders_whose_pauses_end_together_continue_in_different_turns)
{
	static uint8_t data[4000];
	size_t len = 0;
	int loud[12];
	struct rig r;

	rig_init(&r, 1);
	r.set.opt.message_rate = (struct rate_limit){ 1, 1, 60000 };
	rig_start(&r);
	for (; len + 8 <= sizeof data; len += 8)
		memcpy(data + len, "\x81\x82\0\0\0\0{}", 8);
	for (int i = 0; i < 12; i++) {
		char user[16];

		snprintf(user, sizeof user, "loud%d", i);
		loud[i] = rig_ws(&r, user);
		put(loud[i], data, len);
	}
	rig_turn(&r, 1);
	CHECK_EQ(count_conns(&r, is_loud), 12);
	all_due(&r);
	for (unsigned left = 12;; left -= 4) {
		rig_turn(&r, 1);
		CHECK_EQ(count_conns(&r, is_deferred), left);
		CHECK_EQ(count_conns(&r, is_loud), 12 - left); /* and are paused once more */
		if (!left)
			break;
	}
	for (int i = 0; i < 12; i++)
		close(loud[i]);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(a_sender_far_over_the_rate_is_not_read_for_a_while_and_then_continues)
{
	struct inbox in = { 0 };
	static const char frame[] = "\x81\x9c\0\0\0\0{\"to\":\"nobody\",\"data\":{}   }";
	static uint8_t data[300 * sizeof frame];
	unsigned refused = 0;
	struct rig r;
	size_t n = 0;
	int alice;

	rig_init(&r, 1);
	r.set.opt.message_rate = (struct rate_limit){ 1000, 1, 60000 };
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	while (n < 300 * (sizeof frame - 1))
		n += sizeof frame - 1, memcpy(data + n - (sizeof frame - 1), frame, sizeof frame - 1);
	put(alice, data, n);
	rig_turn(&r, 1);
	CHECK(stream_paused(&rig_conn(&r, "alice")->stream));
	take(&in, alice);
	refused = count_messages(&in);
	CHECK(refused >= 32 && refused <= 34);
	say(alice, "{\"to\":\"alice\",\"content\":\"the last\"}");
	/* All of them are answered in the end: an error each, or, as far as the rate allows meanwhile, the message. */
	for (int i = 0; i < 100000 && refused < 301; i++) {
		worker_turn(r.w[0], 1000);
		take(&in, alice);
		refused += count_messages(&in);
	}
	CHECK_EQ(refused, 301);
	CHECK(!stream_paused(&rig_conn(&r, "alice")->stream));
	inbox_free(&in);
	rig_hang_up(&r, (int[]){ alice }, 1);
	rig_end(&r);
}

TEST(a_closing_connection_keeps_no_input_of_a_rate_limited_sender)
{
	static uint8_t data[LOOP_RECV_BYTES];
	size_t len = fill(data, 0x81, "{}");
	struct inbox in = { 0 };
	struct rig r;
	struct conn *c;
	ssize_t n;
	size_t taken = 0;
	int alice;

	rig_init(&r, 1);
	r.set.opt.message_rate = (struct rate_limit){ 1, 1, 60000 };
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	c = rig_conn(&r, "alice");
	put(alice, data, len);
	rig_turn(&r, 1);
	CHECK(c->rate_limited && c->held_input);
	hub_close(r.w[0]->shard.hub, &c->session, 4410, "kicked", false);
	for (int i = 0; i < 5000 && !in.end; i++) {
		n = send(alice, data, len, MSG_NOSIGNAL);
		taken += n > 0 ? (size_t)n : 0;
		rig_turn(&r, 1);
		take(&in, alice);
		CHECK(in.end || !c->at.extra || c->at.extra->held.cap <= 4 * LOOP_RECV_BYTES);
	}
	CHECK_EQ(close_code(&in), 4410);
	CHECK(in.end);          /* a client that keeps sending is not waited for */
	CHECK(taken < 2 << 20); /* tiny frames count with their cost; of larger ones it may be 6 MiB */
	inbox_free(&in);
	rig_hang_up(&r, (int[]){ alice }, 1);
	rig_end(&r);
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

/* Fills the socket of @user's connection and its queue a little. */
static void stuff(struct rig *r, int from, const char *user)
{
	char text[4200];
	int n = snprintf(text, sizeof text, "{\"to\":\"%s\",\"content\":\"%04000d\"}", user, 7);

	for (int i = 0; i < 20; i++) {
		put_frame(from, 0x81, text, (size_t)n);
		rig_turn(r, 1);
	}
	CHECK(stream_blocked(&rig_conn(r, user)->stream));
}

TEST(a_socket_that_takes_nothing_for_the_write_timeout_is_a_slow_reader)
{
	struct inbox in = { 0 };
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	r.set.opt.write_timeout_ms = 50;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	stuff(&r, alice, "bob");
	for (int i = 0; i < 2000 && rig_conn(&r, "bob")->session.state != SESSION_CLOSING; i++)
		worker_turn(r.w[0], 10);
	CHECK_EQ(rig_conn(&r, "bob")->session.close_code, 1013);
	CHECK_EQ(atomic_load(&hub_counters(r.w[0]->shard.hub)->closed_slow), 1);
	rig_listen(&r, &in, bob, 200);
	CHECK_EQ(close_code(&in), 1013);
	/* Nothing waits for the other one, however long it reads nothing. */
	CHECK_EQ(rig_conn(&r, "alice")->session.state, SESSION_LIVE);
	CHECK_EQ(rig_conn(&r, "alice")->stalled_ms, 0);
	inbox_free(&in);
	rig_hang_up(&r, (int[]){ alice, bob }, 2);
	rig_end(&r);
}

TEST(room_in_a_socket_without_an_event_is_used_after_a_second_and_not_after_the_write_timeout)
{
	static uint8_t some[12288];
	struct rig r;
	struct conn *c;
	int alice, bob;
	uint64_t now;

	rig_init(&r, 1);
	r.sndbuf = 8192;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	stuff(&r, alice, "bob");
	c = rig_conn(&r, "bob");
	now = now_ms(r.w[0]->shard.now);
	CHECK(c->timer.due_ms <= now + 1000);
	CHECK(recv(bob, some, sizeof some, 0) > 0);
	rig_turn(&r, 2);
	CHECK(stream_blocked(&c->stream)); /* too little for an event */
	c->stalled_ms = (uint32_t)now - 1000;
	timers_arm(&r.w[0]->shard.timers, &c->timer, 1);
	rig_turn(&r, 2);
	CHECK((int32_t)(c->stalled_ms - (uint32_t)now) >= 0);
	CHECK(stream_blocked(&c->stream));
	close(alice);
	close(bob);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(unread_answers_end_the_connection_after_the_write_timeout)
{
	static const char request[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rig r;
	int fd;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	r.set.opt.write_timeout_ms = 50;
	rig_start(&r);
	fd = rig_dial(&r, 0);
	for (int i = 0; i < 100; i++) {
		(void)!send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
		rig_turn(&r, 1);
	}
	for (int i = 0; i < 2000 && atomic_load(&r.set.shared.connections); i++)
		worker_turn(r.w[0], 10);
	CHECK_EQ(atomic_load(&r.set.shared.connections), 0);
	close(fd);
	rig_end(&r);
}

/* ---- the end of a node --------------------------------------------------------------------------------------------- */

/* Shows: threat 179 */
TEST(a_node_that_stops_closes_its_connections_in_batches)
{
	int fd[200];
	struct rig r;
	unsigned told = 0, most = 0;

	rig_init(&r, 1);
	rig_start(&r);
	rig_crowd(&r, fd, 200, "u");
	worker_stop(r.w[0], 30000);
	for (int turn = 0; turn < 10000 && told < 200; turn++) {
		unsigned now = 0;

		rig_turn(&r, 1);
		for (int i = 0; i < 200; i++) {
			char byte;

			now += recv(fd[i], &byte, 1, MSG_PEEK) == 1;
		}
		most = now - told > most ? now - told : most;
		told = now;
	}
	CHECK_EQ(told, 200);
	CHECK_EQ(most, 64);
	rig_hang_up(&r, fd, 200);
	rig_end(&r);
}

TEST(a_node_that_must_end_soon_closes_larger_batches)
{
	int fd[200];
	struct rig r;

	rig_init(&r, 1);
	rig_start(&r);
	rig_crowd(&r, fd, 200, "u");
	worker_stop(r.w[0], 10);
	CHECK_EQ(r.w[0]->shard.drain_batch, 0);
	rig_turn(&r, 1);
	CHECK(r.w[0]->shard.drain_batch >= 100);
	rig_hang_up(&r, fd, 200);
	rig_end(&r);
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */

/* Sets the limit so that the memory of the process is @percent of it, and looks. */
static void press_to(struct rig *r, unsigned percent)
{
	struct pressure *p = &r->set.pressure;

	if (!p->limit_bytes)
		CHECK_EQ(pressure_init(&r->set, 1), 0);
	mem_trim();
	p->limit_bytes = machine_memory_held(p->fd) / percent * 100;
	atomic_store(&p->shared.next_ms, 0);
	rig_turn(r, 1);
}

static unsigned step_of(struct rig *r)
{
	return atomic_load(&r->set.pressure.shared.step);
}

TEST(steps_are_entered_at_their_percent_and_left_five_below)
{
	static const struct {
		unsigned before, used, after;
	} cases[] = {
		{ 0, 6999, 0 }, { 0, 7000, 1 }, { 0, 7001, 1 },  { 0, 7999, 1 },  { 0, 8000, 2 }, { 0, 8999, 2 },
		{ 0, 9000, 3 }, { 0, 9999, 3 }, { 0, 10000, 4 }, { 0, 90000, 4 }, { 1, 6500, 1 }, { 1, 6499, 0 },
		{ 2, 7500, 2 }, { 2, 7499, 1 }, { 3, 8500, 3 },  { 3, 8499, 2 },  { 4, 9500, 4 }, { 4, 9499, 3 },
		{ 4, 8499, 2 }, { 4, 0, 0 },    { 1, 10000, 4 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK_EQ(pressure_next(cases[i].before, cases[i].used, 10000), cases[i].after);
}

/* Shows: threat 122 */
TEST(as_memory_fills_the_steps_are_entered_in_order_and_left_again)
{
	struct rig r;

	rig_init(&r, 2);
	rig_start(&r);
	press_to(&r, 50);
	CHECK_EQ(step_of(&r), PRESSURE_NONE);
	CHECK(!atomic_load(&r.set.shared.no_new_contexts));
	CHECK_EQ(pressure_deadline(&r.w[0]->shard), UINT64_MAX); /* no worker is woken to look */
	press_to(&r, 75);
	CHECK_EQ(step_of(&r), PRESSURE_NO_CONTEXTS);
	CHECK(atomic_load(&r.set.shared.no_new_contexts));
	CHECK(pressure_deadline(&r.w[0]->shard) != UINT64_MAX);
	CHECK_EQ(pressure_deadline(&r.w[1]->shard), UINT64_MAX); /* one is enough */
	press_to(&r, 85);
	CHECK_EQ(step_of(&r), PRESSURE_SMALL_QUEUES);
	press_to(&r, 95);
	CHECK_EQ(step_of(&r), PRESSURE_NO_NEWCOMERS);
	press_to(&r, 110);
	CHECK_EQ(step_of(&r), PRESSURE_CLOSE_SLOWEST);
	press_to(&r, 50);
	CHECK_EQ(step_of(&r), PRESSURE_NONE);
	CHECK(!atomic_load(&r.set.shared.no_new_contexts));
	rig_end(&r);
}

struct step_lines {
	char text[8]; /* '1' to '4' for each line about a step */
	size_t n;
};

static void note_step(void *user, enum log_level level, const char *line, size_t len)
{
	struct step_lines *l = user;
	const char *at = memmem(line, len, "step=", 5);

	(void)level;
	if (at && l->n + 1 < sizeof l->text)
		l->text[l->n++] = at[5];
}

TEST(steps_that_are_entered_at_once_are_all_logged)
{
	struct step_lines lines = { 0 };
	struct rig r;

	rig_init(&r, 1);
	r.set.log.sink = note_step;
	r.set.log.user = &lines;
	r.set.log.level = LOG_INFO;
	rig_start(&r);
	press_to(&r, 95);
	CHECK(strcmp(lines.text, "123") == 0);
	rig_end(&r);
}

/* A measurement just after memory was freed is exact enough: readers are closed at once, not after a pause. */
TEST(the_limit_is_acted_upon_in_the_turn_that_meets_it)
{
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	stuff(&r, alice, "bob");
	press_to(&r, 95);
	atomic_store(&r.set.pressure.shared.trimmed_ms, now_ms(r.w[0]->shard.now) - 20);
	press_to(&r, 200);
	CHECK_EQ(rig_conn(&r, "bob")->session.close_code, 1013);
	close(alice);
	close(bob);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(at_eighty_percent_a_quarter_of_a_queue_is_a_full_one)
{
	struct inbox in = { 0 };
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	stuff(&r, alice, "bob"); /* 20 messages of 4 KB: far below 256 of them, and 2 MiB */
	press_to(&r, 75);
	CHECK_EQ(rig_conn(&r, "bob")->session.state, SESSION_LIVE);
	rig_hang_up(&r, (int[]){ alice, bob }, 2);
	rig_end(&r);

	rig_init(&r, 1);
	r.sndbuf = 4096;
	r.hub.max_messages[HUB_WEBSOCKET] = 40;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	stuff(&r, alice, "bob"); /* more than ten wait */
	rig_turn(&r, 2);
	CHECK_EQ(rig_conn(&r, "bob")->session.state, SESSION_LIVE);
	press_to(&r, 85);
	rig_turn(&r, 2);
	CHECK_EQ(rig_conn(&r, "bob")->session.close_code, 1013);
	take(&in, bob);
	inbox_free(&in);
	rig_hang_up(&r, (int[]){ alice, bob }, 2);
	rig_end(&r);
}

static int answer_to(struct rig *r, const char *request)
{
	struct inbox in = { 0 };
	int fd = rig_dial(r, 0), status = 0;

	put_str(fd, request);
	for (int i = 0; i < 20 && !status; i++) {
		rig_turn(r, 1);
		in.pos = 0;
		take(&in, fd);
		status = head_status(&in);
	}
	if (status == 503)
		CHECK(memmem(in.at, in.len, "Retry-After: ", 13) != NULL);
	inbox_free(&in);
	close(fd);
	rig_turn(r, 2);
	return status;
}

/* Shows: threat 32, threat 63 */
TEST(at_ninety_percent_new_clients_get_503_and_connected_ones_stay)
{
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	routes_add(&r.set.routes, "GET", "/stats", &http_routes[ROUTE_STATS], NULL, NULL);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	press_to(&r, 95);
	CHECK_EQ(answer_to(&r, "GET /sse?user_id=cyd HTTP/1.1\r\nHost: x\r\n\r\n"), 503);
	CHECK_EQ(answer_to(&r, "GET /online HTTP/1.1\r\nHost: x\r\n\r\n"), 503);
	CHECK_EQ(answer_to(&r, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	CHECK_EQ(answer_to(&r, "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	CHECK(turns_until(&r, alice, bob) <= 2);
	press_to(&r, 50);
	CHECK_EQ(answer_to(&r, "GET /online HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	rig_hang_up(&r, (int[]){ alice, bob }, 2);
	rig_end(&r);
}

TEST(a_full_node_answers_statistics_and_probes_only_to_allowed_clients)
{
	struct ip_net here = { 0 };
	struct rig r;

	rig_init(&r, 1);
	routes_add(&r.set.routes, "GET", "/stats", &http_routes[ROUTE_STATS], NULL, NULL);
	r.set.opt.origins.n = 0;
	rig_start(&r);
	press_to(&r, 95);
	CHECK_EQ(answer_to(&r, "GET /stats HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n"), 403);
	CHECK_EQ(answer_to(&r, "GET /stats HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n"), 200);
	CHECK(ip_net_parse(BYTES("127.0.0.0/8"), &here));
	r.set.opt.blocked = (struct nets){ &here, 1 };
	CHECK_EQ(answer_to(&r, "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"), 403);
	CHECK_EQ(answer_to(&r, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"), 403);
	rig_end(&r);
}

TEST(a_connection_beyond_the_cap_is_ended_behind_its_answer)
{
	struct inbox in = { 0 };
	struct rig r;
	int fd;

	rig_init(&r, 1);
	r.set.max_connections = 0;
	rig_start(&r);
	fd = rig_dial(&r, 0);
	put_str(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
	rig_turn(&r, 3);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 200);
	CHECK(in.end);
	inbox_free(&in);
	rig_hang_up(&r, (int[]){ fd }, 1);
	rig_end(&r);
}

TEST(at_the_limit_the_reader_blocked_for_longest_is_closed_first_and_good_ones_never)
{
	static const char *const name[] = { "bob", "cyd", "dan" };
	struct rig r;
	int alice, fd[3];

	rig_init(&r, 1);
	r.sndbuf = 4096;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	for (int i = 0; i < 3; i++)
		fd[i] = rig_ws(&r, name[i]);
	for (int i = 0; i < 3; i++)
		stuff(&r, alice, name[i]);
	/* Little is asked for: one reader pays it. */
	CHECK(hub_shed(r.w[0]->shard.hub, 1000));
	rig_turn(&r, 3);
	CHECK_EQ(rig_conn(&r, "bob")->session.close_code, 1013);
	CHECK_EQ(rig_conn(&r, "cyd")->session.state, SESSION_LIVE);
	CHECK_EQ(rig_conn(&r, "dan")->session.state, SESSION_LIVE);
	/* More than all of it: the others, one after the other. */
	press_to(&r, 200);
	rig_turn(&r, 5);
	CHECK_EQ(rig_conn(&r, "cyd")->session.close_code, 1013);
	CHECK_EQ(rig_conn(&r, "dan")->session.close_code, 1013);
	CHECK_EQ(rig_conn(&r, "alice")->session.state, SESSION_LIVE);
	rig_hang_up(&r, fd, 3);
	rig_hang_up(&r, (int[]){ alice }, 1);
	rig_end(&r);
}

/* Shows: threat 12 */
TEST(at_the_limit_without_a_slow_reader_connections_with_the_largest_unfinished_messages_are_closed)
{
	static char part[60000];
	struct inbox in = { 0 };
	struct rig r;
	int alice, bob, cyd;

	memset(part, ' ', sizeof part);
	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	cyd = rig_ws(&r, "cyd");
	put_frame(bob, 0x01, part, sizeof part);
	put_frame(cyd, 0x01, part, 100);
	rig_turn(&r, 2);
	press_to(&r, 200);
	rig_turn(&r, 2);
	take(&in, bob);
	CHECK_EQ(close_code(&in), 1013);
	inbox_free(&in);
	CHECK_EQ(rig_conn(&r, "cyd")->session.state, SESSION_LIVE); /* a small one would free nothing */
	CHECK_EQ(rig_conn(&r, "alice")->session.state, SESSION_LIVE);
	rig_hang_up(&r, (int[]){ alice, bob, cyd }, 3);
	rig_end(&r);
}

TEST(at_the_limit_a_body_that_keeps_growing_is_refused)
{
	static char part[60000];
	struct inbox in = { 0 };
	struct rig r;
	int fd;

	memset(part, ' ', sizeof part);
	rig_init(&r, 1);
	rig_start(&r);
	fd = rig_dial(&r, 0);
	put_str(fd, "POST /send HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nContent-Length: 1000000\r\n\r\n{");
	rig_turn(&r, 2);
	press_to(&r, 200);
	put(fd, part, sizeof part);
	rig_turn(&r, 3);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 503);
	inbox_free(&in);
	rig_hang_up(&r, (int[]){ fd }, 1);
	rig_end(&r);
}

/* ---- the log ---------------------------------------------------------------------------------------------------------- */

struct lines {
	unsigned closed, others;
	uint64_t unsaid;
};

static void count_line(void *user, enum log_level level, const char *line, size_t len)
{
	struct lines *l = user;
	char text[256] = "";
	const char *more;

	(void)level;
	memcpy(text, line, len < sizeof text ? len : sizeof text - 1);
	more = strstr(text, "sessions=");
	if (more)
		l->unsaid += strtoull(more + 9, NULL, 10);
	else if (memmem(line, len, "session closed", 14))
		l->closed++;
	else
		l->others++;
}

TEST(endless_closes_do_not_fill_the_log_and_each_is_counted)
{
	struct lines lines = { 0 };
	struct rig r;
	int fd[300];

	rig_init(&r, 1);
	r.set.log.sink = count_line;
	r.set.log.user = &lines;
	r.set.log.level = LOG_INFO;
	r.hub.max_sessions_per_user = 1;
	rig_start(&r);
	for (int i = 0; i < 300; i++)
		fd[i] = rig_ws(&r, "bob"); /* each replaces the one before */
	rig_turn(&r, 5);
	CHECK_EQ(lines.closed + lines.unsaid + r.w[0]->shard.ends.unsaid, 299);
	CHECK_EQ(lines.others, 0);
	r.w[0]->shard.ends.second = 0; /* as if a second had gone by */
	fd[0] = (close(fd[0]), rig_ws(&r, "bob"));
	rig_turn(&r, 3);
	CHECK_EQ(r.w[0]->shard.ends.unsaid, 0);
	CHECK_EQ(lines.closed + lines.unsaid, 300);
	rig_hang_up(&r, fd, 300);
	rig_end(&r);
}
