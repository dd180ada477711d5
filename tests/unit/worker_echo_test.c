/* SPDX-License-Identifier: Apache-2.0 */
/* worker_echo: an echo is a connection like others to the worker, and no user to the program. */
#include "worker_fixture.h"

static unsigned heard;

static int connected(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)user, (void)call, (void)client;
	heard++;
	return 0;
}

static void disconnected(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	(void)user, (void)client, (void)why;
	heard++;
}

static int received(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)user, (void)call, (void)client, (void)m;
	heard++;
	return WSC_ALLOW;
}

static bool greet(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	(void)user, (void)client;
	welcome->content = "hello";
	heard++;
	return true;
}

static int authenticate(void *user, struct wsc_call *call, const struct wsc_request *r, struct wsc_identity *id)
{
	(void)user, (void)call, (void)r;
	snprintf(id->user_id, sizeof id->user_id, "somebody");
	heard++;
	return 0;
}

static void rig_echo(struct rig *r)
{
	heard = 0;
	rig_init(r, 2);
	routes_add(&r->set.routes, "GET", "/echo", &http_routes[ROUTE_ECHO], NULL, NULL);
	r->set.hooks = (struct wsc_hooks){ .authenticate_user = authenticate,
					   .on_client_connect = connected,
					   .on_client_disconnect = disconnected,
					   .on_message_received = received,
					   .welcome_message = greet };
}

static int join(struct rig *r, unsigned worker)
{
	struct inbox in = { 0 };
	int fd = rig_dial(r, worker);

	put_str(fd, "GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	rig_turn(r, 2);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 101);
	CHECK_EQ(in.pos, in.len); /* no welcome */
	inbox_free(&in);
	return fd;
}

TEST(no_hook_sees_an_echo_and_it_stays_on_the_worker_that_has_accepted_it)
{
	struct inbox in = { 0 };
	struct bytes payload;
	struct rig r;
	int fd[2];

	rig_echo(&r);
	rig_start(&r);
	for (unsigned i = 0; i < 2; i++)
		fd[i] = join(&r, i);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(counter_get(&hub_counters(r.w[i]->shard.hub)->sessions[HUB_WEBSOCKET]), 1);
		CHECK_EQ(counter_get(&hub_counters(r.w[i]->shard.hub)->users), 0);
		put_frame(fd[i], 0x82, "\xff\x00", 2);
		rig_turn(&r, 2);
		take(&in, fd[i]);
		CHECK_EQ(next_frame(&in, &payload), 0x82);
		CHECK_BYTES(payload, "\xff\x00");
		close(fd[i]);
		rig_turn(&r, 2);
		CHECK_EQ(counter_get(&hub_counters(r.w[i]->shard.hub)->sessions[HUB_WEBSOCKET]), 0);
	}
	CHECK_EQ(heard, 0);
	inbox_free(&in);
	rig_end(&r);
}

/*
 * Sends numbered messages of @len bytes in one write, so many that they fit into no queue, and reads on only then: all
 * come back, in order, and no client is closed as slow.
 */
static void echo_all(struct rig *r, int fd, size_t len)
{
	static uint8_t frames[60000];
	size_t head = len < 126 ? 6 : 8, at = 0;
	unsigned sent = 0, back = 0;
	struct inbox in = { 0 };
	struct bytes payload;

	for (; at + head + len <= sizeof frames; at += head + len, sent++) {
		memset(frames + at, 0, head + len);
		frames[at] = 0x82;
		frames[at + 1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
		if (len >= 126)
			frames[at + 3] = (uint8_t)len;
		frames[at + head] = (uint8_t)(sent >> 8);
		frames[at + head + 1] = (uint8_t)sent;
	}
	put(fd, frames, at);
	for (unsigned turns = 0; turns < 20000 && back < sent; turns++) {
		rig_turn(r, 1);
		take(&in, fd);
		while (next_frame(&in, &payload) == 0x82) {
			CHECK_EQ(payload.len, len);
			CHECK_EQ(payload.at[0] << 8 | payload.at[1], (int)(back & 0xffff));
			back++;
		}
	}
	CHECK_EQ(back, sent);
	CHECK_EQ(counter_get(&hub_counters(r->w[0]->shard.hub)->closed_slow), 0);
	inbox_free(&in);
}

/* The waiting input is moved along, not copied each time. */
TEST(input_that_waits_for_a_reader_is_not_copied_and_is_echoed_whole_and_in_order)
{
	struct rig r;
	int fd;

	rig_echo(&r);
	r.hub.max_messages[HUB_WEBSOCKET] = 2;
	r.sndbuf = 4096;
	rig_start(&r);
	fd = join(&r, 0);
	echo_all(&r, fd, 2);
	rig_hang_up(&r, &fd, 1);
	rig_end(&r);
}

TEST(when_memory_is_short_an_echo_keeps_to_the_smaller_queue_and_is_no_slow_reader)
{
	struct rig r;
	int fd;

	rig_echo(&r);
	r.hub.max_messages[HUB_WEBSOCKET] = 64;
	r.sndbuf = 4096;
	rig_start(&r);
	fd = join(&r, 0);
	hub_squeeze(r.w[0]->shard.hub, true);
	echo_all(&r, fd, 198);
	rig_hang_up(&r, &fd, 1);
	rig_end(&r);
}
