/* SPDX-License-Identifier: Apache-2.0 */
/* worker_metrics: what turns, deliveries, pings, ends and refusals leave in the metrics of their worker. */
#include "worker_fixture.h"

static const char hello[] = "{\"to\":\"bob\",\"content\":\"hello\"}";

static uint64_t count_of(const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += counter_get(&h->bucket[i]);
	return n;
}

static uint64_t deliveries(const struct rig *r)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < r->n; i++)
		n += count_of(&r->w[i]->shard.metrics.delivery);
	return n;
}

/* A WebSocket of @user with a context of its own, if the server has any. */
static int join(struct rig *r, const char *user)
{
	struct inbox in = { 0 };
	int fd = rig_dial(r, 0);
	char head[512];

	snprintf(head, sizeof head,
		 "GET /ws?user_id=%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		 "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
		 user);
	put_str(fd, head);
	rig_turn(r, 6);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 101);
	inbox_free(&in);
	return fd;
}

/* Many messages, and beside them a pong and an error, which no user has sent. */
static void deliver(unsigned workers, bool takeover)
{
	enum { MESSAGES = 100 };
	struct inbox in = { 0 };
	int alice, bob;
	struct rig r;

	rig_init(&r, workers);
	r.hub.max_messages[HUB_WEBSOCKET] = 2 * MESSAGES;
	r.set.opt.deflate.on = takeover;
	r.set.opt.deflate.policy = (struct ws_deflate_policy){ .window_bits = 15, .takeover = true };
	r.set.opt.deflate.level = 6;
	r.set.opt.deflate.min_bytes = 256;
	r.set.opt.deflate.memory = 1 << 20;
	rig_start(&r);
	alice = join(&r, "alice");
	bob = join(&r, "bob");
	CHECK_EQ(rig_conn(&r, "bob")->deflate.server_takeover, takeover);
	CHECK_EQ(deliveries(&r), 0);
	for (int i = 0; i < MESSAGES; i++)
		say(alice, hello);
	say(alice, "ping");
	say(alice, "{\"to\":\"\"}");
	rig_turn(&r, 100);
	CHECK_EQ(deliveries(&r), MESSAGES);
	take(&in, bob);
	CHECK_EQ(count_messages(&in), MESSAGES);
	inbox_free(&in);
	close(alice);
	close(bob);
	rig_turn(&r, 4);
	rig_end(&r);
}

TEST(each_message_of_a_user_that_a_socket_takes_is_a_delivery)
{
	deliver(1, false);
	deliver(3, false);
	deliver(1, true);
}

TEST(a_message_that_a_full_socket_has_not_taken_is_no_delivery)
{
	enum { MESSAGES = 200 };
	static char text[16384];
	struct inbox in = { 0 };
	uint64_t taken;
	int alice, bob;
	struct rig r;

	memset(text, 'x', sizeof text - 1);
	memcpy(text, hello, strlen(hello) - 2);
	memcpy(text + sizeof text - 3, "\"}", 2);
	rig_init(&r, 1);
	r.hub.max_messages[HUB_WEBSOCKET] = 2 * MESSAGES;
	r.hub.max_queue_bytes = 64 << 20;
	rig_start(&r);
	alice = rig_ws(&r, "alice");
	bob = rig_ws(&r, "bob");
	for (int i = 0; i < MESSAGES; i++) {
		say(alice, text);
		rig_turn(&r, 2);
	}
	taken = deliveries(&r);
	CHECK(taken < MESSAGES);
	take(&in, bob);
	CHECK_EQ(count_messages(&in), taken);
	rig_turn(&r, 1);
	for (int i = 0; i < 100; i++) {
		rig_turn(&r, 2);
		take(&in, bob);
	}
	CHECK_EQ(deliveries(&r), MESSAGES);
	inbox_free(&in);
	close(alice);
	close(bob);
	rig_turn(&r, 4);
	rig_end(&r);
}

TEST(every_turn_counts_once)
{
	const struct histogram *h;
	struct rig r;

	rig_init(&r, 1);
	rig_start(&r);
	h = &r.w[0]->shard.metrics.turn;
	rig_turn(&r, 10);
	CHECK_EQ(count_of(h), 10);
	CHECK_EQ(counter_get(&r.w[0]->shard.shared.turns), 10);
	CHECK(counter_get(&h->sum) > 0);
	rig_end(&r);
}

TEST(a_ping_brings_its_time_back_and_no_other_pong_counts)
{
	struct inbox in = { 0 };
	struct rig r;
	struct bytes ping = { 0 };
	struct metrics *m;
	uint8_t wrong[8];
	int alice;

	rig_init(&r, 1);
	r.set.opt.heartbeat_ms = 20;
	rig_start(&r);
	m = &r.w[0]->shard.metrics;
	alice = rig_ws(&r, "alice");
	for (int i = 0; i < 100 && !in.len; i++) {
		worker_turn(r.w[0], 10);
		take(&in, alice);
	}
	CHECK_EQ(next_frame(&in, &ping), 0x89);
	CHECK_EQ(ping.len, 8);
	put_frame(alice, 0x8a, "", 0);
	put_frame(alice, 0x8a, (const char *)ping.at, 7);
	put_frame(alice, 0x8a, "\0\0\0\0\0\0\0\0", 8);
	for (unsigned i = 0; i < 8; i++)
		wrong[i] = ping.at[7 - i];
	put_frame(alice, 0x8a, (const char *)wrong, 8);
	rig_turn(&r, 2);
	CHECK_EQ(count_of(&m->ping), 0);
	usleep(2000);
	put_frame(alice, 0x8a, (const char *)ping.at, 8);
	rig_turn(&r, 2);
	CHECK_EQ(count_of(&m->ping), 1);
	CHECK(counter_get(&m->ping.sum) >= 2000000 && counter_get(&m->ping.sum) < 60000000000);
	inbox_free(&in);
	close(alice);
	rig_turn(&r, 2);
	rig_end(&r);
}

TEST(opened_minus_closed_are_the_open_connections_and_a_refused_client_counts_as_neither)
{
	static const char *const not_ws = "GET /ws?user_id=carol HTTP/1.1\r\nHost: localhost\r\n\r\n";
	const struct hub_counters *hub;
	struct metrics *m;
	int a, b, c, d;
	struct rig r;

	rig_init(&r, 1);
	r.hub.login = HUB_LOGIN_REPLACE;
	r.hub.max_sessions_per_user = 1;
	rig_start(&r);
	m = &r.w[0]->shard.metrics;
	hub = hub_counters(r.w[0]->shard.hub);
	a = rig_ws(&r, "alice");
	b = rig_ws(&r, "bob");
	c = rig_ws(&r, "bob"); /* replaces the one before */
	rig_turn(&r, 4);
	CHECK_EQ(counter_get(&hub->lifetime), 3);
	CHECK_EQ(counter_get(&m->closed[METRIC_CLOSE_4409]), 1);
	close(a);
	rig_turn(&r, 4);
	CHECK_EQ(counter_get(&m->closed[METRIC_CLOSE_1006]), 1);
	put_frame(c, 0x88, "\x03\xe8", 2);
	rig_turn(&r, 4);
	CHECK_EQ(counter_get(&m->closed[METRIC_CLOSE_1000]), 1);
	d = rig_dial(&r, 0);
	put_str(d, not_ws);
	rig_turn(&r, 4);
	CHECK_EQ(counter_get(&m->connections_refused[API_UPGRADE_REQUIRED]), 1);
	CHECK_EQ(counter_get(&hub->lifetime), 3);
	CHECK_EQ(counter_get(&hub->sessions[HUB_WEBSOCKET]), 0);
	CHECK_EQ(counter_get(&m->http_requests[METRIC_ROUTE_WEBSOCKET][METRIC_STATUS_101]), 3);
	CHECK_EQ(counter_get(&m->http_requests[METRIC_ROUTE_WEBSOCKET][METRIC_STATUS_4XX]), 1);
	close(b);
	close(c);
	close(d);
	rig_turn(&r, 4);
	rig_end(&r);
}
