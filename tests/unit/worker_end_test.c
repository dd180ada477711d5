/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_end: how connections end: closes that wait behind messages, slow readers, hooks that answer too late, the
 * stop. Each test is a fault that was there once, or one that other gateways have had.
 */
#include "worker_fixture.h"

#include <time.h>

static const char *const to_bob = "{\"to\":\"bob\",\"content\":\"x\"}";

static uint64_t ms(void)
{
	return now_ms(worker_clock());
}

/* ---- hooks of the tests ------------------------------------------------------------------------------------------- */

struct seen {
	struct wsc_pending *pending[8];
	unsigned npending, connects, disconnects, code;
	bool defer, refuse;
	int drain_fd; /* the socket that on_message_received empties */
};

static int on_connect(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	struct seen *s = user;

	(void)client;
	s->connects++;
	if (s->defer)
		s->pending[s->npending++] = wsc_defer(call);
	return s->defer ? WSC_PENDING : s->refuse ? -1 : 0;
}

static void on_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	struct seen *s = user;

	(void)client;
	s->disconnects++;
	s->code = why->code;
}

static void use_hooks(struct rig *r, struct seen *s)
{
	r->set.hooks.user = s;
	r->set.hooks.on_client_connect = on_connect;
	r->set.hooks.on_client_disconnect = on_disconnect;
}

/* ---- the close frame comes --------------------------------------------------------------------------------------------- */

TEST(a_close_behind_a_full_queue_needs_no_timer)
{
	struct inbox in = { 0 };
	struct conn *c;
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	for (int i = 0; i < 256; i++)
		say(alice, to_bob);
	loop_wait(&r.w[0]->shard.loop, 0);
	loop_read(&r.w[0]->shard.loop);
	while (r.w[0]->shard.ndeferred)
		conn_run_waiting(&r.w[0]->shard);
	/* 256 messages are queued and none is sent */
	c = rig_conn(&r, "bob");
	CHECK_EQ(c->session.q.count, 256);
	hub_close(r.w[0]->shard.hub, &c->session, 4410, "kicked", false);
	rig_turn(&r, 3);
	take(&in, bob);
	CHECK_EQ(close_code(&in), 4410);
	inbox_free(&in);
	close(alice);
	close(bob);
	rig_end(&r);
}

/* Fills the socket of bob until it takes no more. */
static void block(struct rig *r, int alice, const char *big)
{
	struct conn *c = rig_conn(r, "bob");

	for (int i = 0; i < 1000 && !stream_blocked(&c->stream); i++) {
		say(alice, big);
		rig_turn(r, 1);
	}
	CHECK(stream_blocked(&c->stream));
}

static char *big_message(size_t len)
{
	char *big = malloc(len + 1);

	memset(big, ' ', len);
	big[len] = 0;
	memcpy(big, to_bob, strlen(to_bob));
	return big;
}

/* Shows: threat 24 */
TEST(a_close_that_the_socket_does_not_take_has_five_seconds)
{
	char *big = big_message(20000);
	struct conn *c;
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	block(&r, alice, big);
	c = rig_conn(&r, "bob");
	hub_close(r.w[0]->shard.hub, &c->session, 4410, "kicked", true);
	rig_turn(&r, 2);
	CHECK(c->timer.due_ms > ms() && c->timer.due_ms <= ms() + 5000);
	free(big);
	close(alice);
	close(bob);
	rig_end(&r);
}

static int reads_first(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	struct seen *s = user;
	struct inbox in = { 0 };

	(void)call, (void)client, (void)m;
	if (s->drain_fd >= 0)
		take(&in, s->drain_fd);
	inbox_free(&in);
	return WSC_ALLOW;
}

TEST(a_reader_whose_socket_takes_bytes_again_is_not_closed_for_an_earlier_refusal)
{
	char *big = big_message(20000);
	struct seen s = { .drain_fd = -1 };
	struct inbox in = { 0 };
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	r.hub.max_messages[HUB_WEBSOCKET] = 4;
	r.set.hooks.user = &s;
	r.set.hooks.on_message_received = reads_first;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	block(&r, alice, big);
	/*
	 * Bob reads everything when the poll has been and the flush has not: the loop still thinks that the socket is
	 * full.
	 */
	s.drain_fd = bob;
	for (int i = 0; i < 4; i++)
		say(alice, to_bob);
	rig_turn(&r, 1);
	s.drain_fd = -1;
	rig_turn(&r, 2);
	CHECK(rig_conn(&r, "bob") && rig_conn(&r, "bob")->session.state == SESSION_LIVE);
	take(&in, bob);
	in.pos = 0;
	CHECK(in.len > 0);
	inbox_free(&in);
	free(big);
	close(alice);
	close(bob);
	rig_end(&r);
}

/* ---- no spinning ------------------------------------------------------------------------------------------------------- */

static uint64_t turns_in(struct rig *r, unsigned for_ms)
{
	uint64_t end = ms() + for_ms, turns = 0;

	for (; ms() < end; turns++)
		worker_turn(r->w[0], 20);
	return turns;
}

TEST(a_stream_that_takes_nothing_is_checked_once_a_heartbeat_interval)
{
	char *big = big_message(20000);
	struct inbox in = { 0 };
	struct rig r;
	int alice, bob;

	rig_init(&r, 1);
	r.sndbuf = 4096;
	r.set.opt.sse_heartbeat_ms = 20;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_dial(&r, 0);
	put_str(bob, "GET /sse?user_id=bob HTTP/1.1\r\nHost: localhost\r\n\r\n");
	rig_turn(&r, 3);
	take(&in, bob);
	CHECK_EQ(head_status(&in), 200);
	block(&r, alice, big);
	CHECK(turns_in(&r, 200) <= 30);
	inbox_free(&in);
	free(big);
	close(alice);
	close(bob);
	rig_end(&r);
}

/* Shows: threat 28 */
TEST(a_silent_client_is_pinged_once_a_heartbeat_interval_for_as_long_as_it_is_silent)
{
	struct inbox in = { 0 };
	struct bytes b;
	uint64_t silent;
	struct rig r;
	int bob, pings = 0;

	rig_init(&r, 1);
	r.set.opt.heartbeat_ms = 4;
	r.set.opt.client_timeout_ms = 100000;
	rig_start(&r);
	bob = rig_ws(&r, "bob");
	silent = ms();
	turns_in(&r, 300 * 4 + 400); /* more than 256 heartbeats, and 100 */
	take(&in, bob);
	silent = ms() - silent;
	while (next_frame(&in, &b) == 0x89)
		pings++;
	CHECK(pings >= 100 && (uint64_t)pings <= silent / 4 + 20);
	inbox_free(&in);
	close(bob);
	rig_end(&r);
}

/* ---- hooks that answer late -------------------------------------------------------------------------------------------- */

TEST(a_client_that_is_kicked_while_its_connect_hook_is_pending_gets_4410_when_it_is_let_in)
{
	struct seen s = { .defer = true };
	struct inbox in = { 0 };
	struct conn *c;
	struct rig r;
	int bob;

	rig_init(&r, 1);
	use_hooks(&r, &s);
	rig_start(&r);
	bob = rig_dial(&r, 0);
	ask_ws(bob, "bob");
	rig_turn(&r, 2);
	CHECK_EQ(s.npending, 1);
	c = rig_conn(&r, "bob");
	hub_close(r.w[0]->shard.hub, &c->session, 4410, "kicked", false);
	rig_turn(&r, 2);
	wsc_finish(s.pending[0], 0, NULL);
	rig_turn(&r, 3);
	take(&in, bob);
	CHECK_EQ(head_status(&in), 101);
	CHECK_EQ(close_code(&in), 4410);
	CHECK_EQ(s.disconnects, 1);
	CHECK_EQ(s.code, 4410);
	inbox_free(&in);
	close(bob);
	rig_end(&r);
	CHECK_EQ(s.disconnects, 1);
}

TEST(a_session_that_was_kicked_and_refused_leaves_no_trace_on_the_next_one_of_its_connection)
{
	struct seen s = { .defer = true };
	struct inbox in = { 0 };
	struct conn *c;
	struct rig r;
	int bob;

	rig_init(&r, 1);
	use_hooks(&r, &s);
	rig_start(&r);
	bob = rig_dial(&r, 0);
	put_str(bob, "GET /sse?user_id=bob HTTP/1.1\r\nHost: localhost\r\n\r\n");
	rig_turn(&r, 2);
	c = rig_conn(&r, "bob");
	hub_close(r.w[0]->shard.hub, &c->session, 4410, "kicked", false);
	rig_turn(&r, 2);
	wsc_finish(s.pending[0], -1, "no");
	rig_turn(&r, 2);
	take(&in, bob);
	CHECK_EQ(head_status(&in), 403);
	in.pos = in.len;
	s.defer = false;
	put_str(bob, "GET /sse?user_id=bob HTTP/1.1\r\nHost: localhost\r\n\r\n");
	rig_turn(&r, 3);
	take(&in, bob);
	CHECK_EQ(head_status(&in), 200);
	c = rig_conn(&r, "bob");
	CHECK(c && c->session.state == SESSION_LIVE && c->session.q.count == 0);
	inbox_free(&in);
	close(bob);
	rig_end(&r);
	CHECK_EQ(s.connects, 2);
	CHECK_EQ(s.disconnects, 1);
}

/* ---- the stop ------------------------------------------------------------------------------------------------------------ */

static unsigned turns_until_stopped(struct rig *r)
{
	bool on[RIG_WORKERS] = { false }, any = true;
	unsigned n = 0;

	for (unsigned i = 0; i < r->n; i++)
		on[i] = true;
	for (; any && n < 2000; n++) {
		any = false;
		for (unsigned i = 0; i < r->n; i++)
			any |= on[i] = on[i] && worker_turn(r->w[i], 5);
	}
	CHECK(!any);
	return n;
}

TEST(a_client_that_is_let_in_while_the_worker_stops_gets_1001_too)
{
	struct seen s = { .defer = true };
	struct inbox in = { 0 };
	struct rig r;
	int bob;

	rig_init(&r, 1);
	use_hooks(&r, &s);
	rig_start(&r);
	bob = rig_dial(&r, 0);
	ask_ws(bob, "bob");
	rig_turn(&r, 2);
	worker_stop(r.w[0], 5000);
	rig_turn(&r, 2);
	wsc_finish(s.pending[0], 0, NULL);
	rig_turn(&r, 3);
	take(&in, bob);
	CHECK_EQ(head_status(&in), 101);
	CHECK_EQ(close_code(&in), 1001);
	put_frame(bob, 0x88, "\x03\xe9", 2);
	CHECK(turns_until_stopped(&r) < 100);
	CHECK_EQ(s.disconnects, 1);
	CHECK_EQ(atomic_load(&r.set.shared.cut), 0);
	inbox_free(&in);
	close(bob);
	rig_end(&r);
}

TEST(a_second_stop_with_a_shorter_timeout_counts)
{
	struct rig r;
	uint64_t began;
	int bob;

	rig_init(&r, 2);
	rig_start(&r);
	bob = rig_ws(&r, "bob"); /* does not answer the close frame */
	worker_stop(r.w[0], 60000);
	worker_stop(r.w[1], 60000);
	rig_turn(&r, 5);
	began = ms();
	worker_stop(r.w[0], 0);
	worker_stop(r.w[1], 0);
	turns_until_stopped(&r);
	CHECK(ms() - began < 1000);
	close(bob);
	rig_end(&r);
}

TEST(a_worker_without_connections_answers_its_peers_until_all_have_stopped)
{
	struct seen s = { .defer = true };
	struct inbox in = { 0 };
	char user[16], head[256];
	struct rig r;
	int http, held, i = 0;

	rig_init(&r, 2);
	use_hooks(&r, &s);
	rig_start(&r);
	held = rig_dial(&r, 0);
	do /* a user of worker 0, whose connect hook keeps the gateway from stopping */
		snprintf(user, sizeof user, "u%d", i++);
	while (shard_of_user(&r.set, bytes_str(user)) != 0);
	ask_ws(held, user);
	http = rig_dial(&r, 0);
	rig_turn(&r, 3);
	do /* and an offline user of worker 1 */
		snprintf(user, sizeof user, "u%d", i++);
	while (shard_of_user(&r.set, bytes_str(user)) != 1);
	/* The request is half here when the stop begins. */
	snprintf(head, sizeof head,
		 "POST /send HTTP/1.1\r\nHost: localhost\r\nX-User-ID: a\r\nContent-Length: %zu\r\n\r\n",
		 strlen("{\"to\":\"\",\"content\":\"x\"}") + strlen(user));
	put_str(http, head);
	rig_turn(&r, 1);
	worker_stop(r.w[0], 5000);
	worker_stop(r.w[1], 5000);
	rig_turn(&r, 20);
	snprintf(head, sizeof head, "{\"to\":\"%s\",\"content\":\"x\"}", user);
	put_str(http, head);
	rig_turn(&r, 10);
	take(&in, http);
	CHECK_EQ(head_status(&in), 404); /* user_offline, the answer of worker 1; not 504 */
	wsc_finish(s.pending[0], -1, NULL);
	rig_turn(&r, 3);
	close(http);
	close(held);
	CHECK(turns_until_stopped(&r) < 1000);
	inbox_free(&in);
	rig_end(&r);
}

TEST(mail_between_workers_is_freed_when_they_end)
{
	struct seen s = { .defer = true };
	char user[16];
	struct rig r;
	int fd[64];

	rig_init(&r, 3);
	use_hooks(&r, &s);
	s.defer = false;
	rig_start(&r);
	for (int i = 0; i < 64; i++) {
		snprintf(user, sizeof user, "u%d", i);
		fd[i] = rig_dial(&r, (unsigned)i % 3);
		if (i % 2)
			ask_ws(fd[i], user);
		else
			put_str(fd[i], "GET /online HTTP/1.1\r\nHost: localhost\r\n\r\n");
	}
	rig_turn(&r, 1);
	rig_end(&r); /* the leak sanitizer has the last word */
	for (int i = 0; i < 64; i++)
		close(fd[i]);
	CHECK_EQ(s.connects, s.disconnects);
}

TEST(a_closed_socket_that_another_process_holds_causes_no_events)
{
	struct rig r;
	struct conn *c;
	int bob, copy;

	rig_init(&r, 1);
	rig_start(&r);
	bob = rig_ws(&r, "bob");
	c = rig_conn(&r, "bob");
	copy = dup(c->stream.src.fd); /* as a child does that the program has just forked */
	conn_end(c, 1001, false);
	rig_turn(&r, 1);
	put_str(bob, "hello?");
	rig_turn(&r, 3); /* no event may name the connection that is freed */
	CHECK_EQ(r.w[0]->shard.loop.polled, 0);
	close(copy);
	close(bob);
	rig_end(&r);
}

/*
 * The client's close frame stands behind more input than fits into a turn, and then the node stops: neither side waits.
 */
TEST(a_close_frame_behind_input_that_waits_for_its_turn_is_found_when_the_node_stops)
{
	static uint8_t data[10 * 1000 + 8];
	struct inbox in = { 0 };
	struct rig r;
	size_t len = 0;
	int alice;

	rig_init(&r, 1);
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	for (int i = 0; i < 1000; i++, len += 10)
		memcpy(data + len, "\x81\x84\0\0\0\0ping", 10);
	memcpy(data + len, "\x88\x82\0\0\0\0\x03\xe8", 8);
	put(alice, data, sizeof data);
	worker_stop(r.w[0], 30000);
	rig_turn(&r, 1);
	CHECK_EQ(rig_conn(&r, "alice"), NULL); /* no session any more, and not all was taken */
	for (int i = 0; i < 20 && !in.end; i++) {
		rig_turn(&r, 1);
		take(&in, alice);
	}
	CHECK_EQ(close_code(&in), 1001);
	CHECK(in.end);
	CHECK_EQ(atomic_load(&r.set.shared.connections), 0);
	inbox_free(&in);
	close(alice);
	rig_end(&r);
}

TEST(a_closed_client_that_reads_has_five_seconds_and_not_the_write_timeout)
{
	char text[4200], got[2600];
	size_t all = 0;
	ssize_t n = 1;
	struct rig r;
	int alice, bob, len = snprintf(text, sizeof text, "{\"to\":\"bob\",\"content\":\"%04000d\"}", 7);

	rig_init(&r, 1);
	r.sndbuf = 4096;
	r.set.opt.write_timeout_ms = 100;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	for (int i = 0; i < 8; i++) {
		put_frame(alice, 0x81, text, (size_t)len);
		rig_turn(&r, 1);
	}
	CHECK(stream_blocked(&rig_conn(&r, "bob")->stream));
	hub_close(r.w[0]->shard.hub, &rig_conn(&r, "bob")->session, 4410, "kicked", false);
	for (int i = 0; i < 100 && n != 0 && (n > 0 || errno == EAGAIN) && all < 8u * (unsigned)len + 14; i++) {
		n = recv(bob, got, sizeof got, 0);
		all += n > 0 ? (size_t)n : 0;
		rig_turn(&r, 2);
		nanosleep(&(struct timespec){ 0, 60 * 1000 * 1000 }, NULL);
	}
	CHECK(all >= 8u * (unsigned)len + 14); /* every message, and a close frame behind them */
	close(alice);
	close(bob);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(requests_that_wait_for_their_turn_when_the_node_stops_get_an_answer)
{
	static const char ask[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
	static char data[300 * sizeof ask];
	struct inbox in = { 0 };
	size_t len = 0;
	unsigned n = 0;
	struct rig r;
	int fd;

	for (int i = 0; i < 300; i++, len += sizeof ask - 1)
		memcpy(data + len, ask, sizeof ask - 1);
	rig_init(&r, 1);
	rig_start(&r);
	fd = rig_dial(&r, 0);
	put(fd, data, len);
	worker_stop(r.w[0], 30000);
	for (int i = 0; i < 50 && !in.end; i++) {
		rig_turn(&r, 1);
		take(&in, fd);
	}
	CHECK(in.end);
	while (memmem(in.at + in.pos, in.len - in.pos, "\r\n\r\n", 4)) {
		in.pos = (size_t)((uint8_t *)memmem(in.at + in.pos, in.len - in.pos, "\r\n\r\n", 4) - in.at) + 4;
		n++;
	}
	/* The last answer says that it is the last. */
	CHECK(n > 0 && n < 300);
	CHECK(memmem(in.at, in.len, "Connection: close", 17) != NULL);
	inbox_free(&in);
	close(fd);
	rig_turn(&r, 3);
	rig_end(&r);
}
