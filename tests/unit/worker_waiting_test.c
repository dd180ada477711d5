/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_waiting: input that waits goes on while other connections press: an echo, and a close frame behind a pending
 * message, do not depend on the slow reader whose queue overflows in every turn.
 */
#include "worker_fixture.h"

static struct wsc_pending *pending;
static char to_bob[2048];

static int keep_first_of_carl(void *user, struct wsc_call *call, const struct wsc_client *client,
			      const struct wsc_message *m)
{
	(void)user, (void)m;
	if (strcmp(client->user_id, "carl") != 0 || pending)
		return WSC_ALLOW;
	pending = wsc_defer(call);
	return WSC_PENDING;
}

/* alice writes to bob, who does not read: from now on each message overflows his queue. */
static void press(struct rig *r, int *alice, int *bob)
{
	char filler[1501];

	memset(filler, 'x', sizeof filler - 1);
	filler[sizeof filler - 1] = 0;
	snprintf(to_bob, sizeof to_bob, "{\"to\":\"bob\",\"content\":\"%s\"}", filler);
	*alice = rig_ws(r, "alice");
	*bob = rig_ws(r, "bob");
	for (int i = 0; i < 40; i++) {
		say(*alice, to_bob);
		rig_turn(r, 1);
	}
	CHECK(rig_conn(r, "bob")->session.gap > 0);
}

static void start(struct rig *r)
{
	rig_init(r, 1);
	routes_add(&r->set.routes, "GET", "/echo", &http_routes[ROUTE_ECHO], NULL, NULL);
	r->set.hooks = (struct wsc_hooks){ .on_message_received = keep_first_of_carl };
	r->hub.slow = HUB_SLOW_DROP_OLDEST;
	r->hub.max_messages[HUB_WEBSOCKET] = 4;
	r->sndbuf = 4096;
	pending = NULL;
}

static int join_echo(struct rig *r, const char *extension)
{
	struct inbox in = { 0 };
	int fd = rig_dial(r, 0);
	char head[512];

	snprintf(head, sizeof head,
		 "GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		 extension);
	put_str(fd, head);
	rig_turn(r, 2);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 101);
	inbox_free(&in);
	return fd;
}

static unsigned count_echoes(struct inbox *in, int fd)
{
	struct bytes payload;
	unsigned n = 0;

	take(in, fd);
	while (next_frame(in, &payload))
		n++;
	return n;
}

TEST(a_close_frame_behind_a_pending_message_is_read_while_a_slow_reader_overflows_in_every_turn)
{
	static const char message[] = "{\"to\":\"bob\",\"content\":\"x\"}";
	uint8_t both[128] = { 0x81, 0x80 | (sizeof message - 1) };
	struct inbox in = { 0 };
	int alice, bob, carl;
	struct rig r;

	start(&r);
	rig_start(&r);
	press(&r, &alice, &bob);
	carl = rig_ws(&r, "carl");
	memcpy(both + 6, message, sizeof message - 1);
	memcpy(both + 6 + sizeof message - 1, "\x88\x82\0\0\0\0\x03\xe8", 8);
	put(carl, both, 6 + sizeof message - 1 + 8);
	rig_turn(&r, 2);
	CHECK(pending != NULL);
	hub_close(r.w[0]->shard.hub, &rig_conn(&r, "carl")->session, 4410, "kicked", false);
	for (int turn = 0; turn < 10 && !in.end; turn++) {
		say(alice, to_bob);
		rig_turn(&r, 1);
		take(&in, carl);
	}
	CHECK_EQ(close_code(&in), 4410);
	CHECK(in.end);
	inbox_free(&in);
	if (pending)
		wsc_finish(pending, WSC_ALLOW, "");
	close(alice);
	close(bob);
	close(carl);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(an_echo_goes_on_while_a_slow_reader_overflows_in_every_turn)
{
	static uint8_t frames[8 * 200];
	struct inbox in = { 0 };
	unsigned back = 0;
	int alice, bob, echo;
	struct rig r;

	start(&r);
	rig_start(&r);
	press(&r, &alice, &bob);
	echo = join_echo(&r, "");
	for (size_t i = 0; i < sizeof frames; i += 8) {
		frames[i] = 0x82;
		frames[i + 1] = 0x82;
	}
	put(echo, frames, sizeof frames);
	for (int turn = 0; turn < 200 && back < 200; turn++) {
		say(alice, to_bob);
		rig_turn(&r, 1);
		back += count_echoes(&in, echo);
	}
	CHECK_EQ(back, 200);
	inbox_free(&in);
	close(alice);
	close(bob);
	close(echo);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(an_echo_that_waits_for_its_queue_delays_no_compressed_message)
{
	/* "Hello", deflated (RFC 7692 §7.2.3.1), masked with zeros */
	static const uint8_t hello[] = { 0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00 };
	enum { ECHOES = 8, MESSAGES = 500 };
	static uint8_t frames[sizeof hello * MESSAGES];
	struct inbox in[ECHOES] = { 0 };
	unsigned back = 0, turns = 0;
	int fd[ECHOES];
	struct rig r;

	start(&r);
	r.hub.max_messages[HUB_WEBSOCKET] = 16;
	r.set.opt.deflate.on = true;
	r.set.opt.deflate.policy = (struct ws_deflate_policy){ .window_bits = 15, .takeover = true };
	r.set.opt.deflate.level = 1;
	r.set.opt.deflate.memory = 1 << 30;
	r.set.opt.deflate.min_bytes = 1000;
	rig_start(&r);
	for (int i = 0; i < MESSAGES; i++)
		memcpy(frames + sizeof hello * (size_t)i, hello, sizeof hello);
	for (int i = 0; i < ECHOES; i++)
		fd[i] = join_echo(&r, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
	for (int i = 0; i < ECHOES; i++)
		put(fd[i], frames, sizeof frames);
	for (; turns < 100 && back < ECHOES * MESSAGES; turns++) {
		rig_turn(&r, 1);
		for (int i = 0; i < ECHOES; i++)
			back += count_echoes(&in[i], fd[i]);
	}
	CHECK_EQ(back, ECHOES * MESSAGES); /* four a turn would take a thousand */
	for (int i = 0; i < ECHOES; i++) {
		close(fd[i]);
		inbox_free(&in[i]);
	}
	rig_turn(&r, 3);
	rig_end(&r);
}
