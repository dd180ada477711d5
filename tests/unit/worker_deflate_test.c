/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_deflate: the cost of compression for a worker: one run through DEFLATE per message and window however many
 * read it, no context without takeover, contexts on first use with it, and never more of them than were reserved.
 */
#include "worker_fixture.h"

#include <zlib.h>

#define OFFER "permessage-deflate"

static void rig_deflate(struct rig *r, bool takeover)
{
	rig_init(r, 1);
	r->set.opt.deflate.on = true;
	r->set.opt.deflate.policy = (struct ws_deflate_policy){ .window_bits = 15, .takeover = takeover };
	r->set.opt.deflate.level = 6;
	r->set.opt.deflate.min_bytes = 256;
	r->set.opt.deflate.memory = 1 << 20;
	routes_add(&r->set.routes, "POST", "/broadcast", &http_routes[ROUTE_BROADCAST], NULL, NULL);
	rig_start(r);
}

/* A WebSocket of @user that offers @offer (NULL: none), open. */
static int join(struct rig *r, const char *user, const char *offer)
{
	struct inbox in = { 0 };
	int fd = rig_dial(r, 0);
	char head[512];

	snprintf(head, sizeof head,
		 "GET /ws?user_id=%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n\r\n",
		 user, offer ? "Sec-WebSocket-Extensions: " : "X: y", offer ? offer : "");
	put_str(fd, head);
	rig_turn(r, 3);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 101);
	CHECK((memmem(in.at, in.len, OFFER, strlen(OFFER)) != NULL) == (offer != NULL));
	inbox_free(&in);
	return fd;
}

static void broadcast(struct rig *r, char letter)
{
	char text[1001] = { 0 }, request[1300];
	int fd = rig_dial(r, 0), n;

	memset(text, letter, 1000);
	n = snprintf(request, sizeof request,
		     "POST /broadcast HTTP/1.1\r\nHost: h\r\nContent-Length: 1014\r\n\r\n{\"content\":\"%s\"}", text);
	put(fd, request, (size_t)n);
	rig_turn(r, 3);
	close(fd);
	rig_turn(r, 1);
}

/* The next message of @fd has @letter a thousand times in it. Returns whether it was compressed. */
static bool reads(int fd, char letter, z_stream *z)
{
	struct inbox in = { 0 };
	uint8_t text[4000], wire[4000];
	struct bytes payload = { 0 };
	uint8_t first;
	size_t n, run = 0, best = 0;

	take(&in, fd);
	first = next_frame(&in, &payload);
	if (first == 0xc1) {
		memcpy(wire, payload.at, payload.len);
		memcpy(wire + payload.len, "\x00\x00\xff\xff", 4);
		z->next_in = wire;
		z->avail_in = (uInt)payload.len + 4;
		z->next_out = text;
		z->avail_out = sizeof text;
		CHECK_EQ(inflate(z, Z_SYNC_FLUSH), Z_OK);
		n = sizeof text - z->avail_out;
	} else {
		CHECK_EQ(first, 0x81);
		n = payload.len < sizeof text ? payload.len : sizeof text;
		memcpy(text, payload.at, n);
	}
	for (size_t i = 0; i < n; i++) {
		run = text[i] == (uint8_t)letter ? run + 1 : 0;
		best = run > best ? run : best;
	}
	CHECK_EQ(best, 1000);
	inbox_free(&in);
	return first == 0xc1;
}

static bool reads_fresh(int fd, char letter)
{
	z_stream z = { 0 };
	bool compressed;

	inflateInit2(&z, -15);
	compressed = reads(fd, letter, &z);
	inflateEnd(&z);
	return compressed;
}

/* Shows: threat 41 */
TEST(a_broadcast_is_deflated_once_for_each_window_however_many_read_it)
{
	struct rig r;
	int fd[43];
	size_t bytes;

	rig_deflate(&r, false);
	for (int i = 0; i < 43; i++) {
		char user[16];

		snprintf(user, sizeof user, "u%d", i);
		fd[i] = join(&r, user, i == 42 ? NULL : i % 2 ? OFFER "; server_max_window_bits=9" : OFFER);
	}
	for (char letter = 'a'; letter < 'f'; letter++) {
		uint64_t before = counter_get(&r.w[0]->shard.shared.deflated);

		broadcast(&r, letter);
		CHECK_EQ(counter_get(&r.w[0]->shard.shared.deflated) - before, 2);
		for (int i = 0; i < 43; i++)
			CHECK_EQ(reads_fresh(fd[i], letter), i != 42);
	}
	bytes = hub_owner(r.w[0]->shard.hub)->bytes;
	CHECK_EQ(bytes, 0); /* the deflated forms were freed with their messages */
	CHECK_EQ(atomic_load(&r.set.shared.context_bytes), 0);
	for (int i = 0; i < 43; i++)
		close(fd[i]);
	rig_end(&r);
}

TEST(a_message_that_deflate_does_not_shorten_is_tried_once_and_sent_uncompressed)
{
	struct inbox in = { 0 };
	struct bytes payload = { 0 };
	char text[700] = "{\"to\":\"bob\",\"content\":\"";
	size_t n = strlen(text);
	uint32_t seed = 1;
	struct rig r;
	int alice, bob[2];

	rig_deflate(&r, false);
	r.set.opt.deflate.min_bytes = 1;
	alice = join(&r, "alice", NULL);
	bob[0] = join(&r, "bob", OFFER);
	bob[1] = join(&r, "bob", OFFER);
	say(alice, "{\"id\":\"0Zq1\",\"type\":\"W8k\",\"to\":\"bob\",\"content\":\"jX%v\"}");
	rig_turn(&r, 2);
	for (int i = 0; i < 2; i++) {
		take(&in, bob[i]);
		CHECK(next_frame(&in, &payload) != 0);
	}
	CHECK_EQ(counter_get(&r.w[0]->shard.shared.deflated), 1);
	inbox_free(&in);
	/* Letters without any order: deflate saves a quarter, which is still used. */
	for (; n < 600; n++) {
		seed = seed * 1664525u + 1013904223u;
		text[n] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[seed >> 26];
	}
	memcpy(text + n, "\"}", 3);
	say(alice, text);
	rig_turn(&r, 2);
	CHECK_EQ(counter_get(&r.w[0]->shard.shared.deflated), 2);
	for (int i = 0; i < 2; i++) {
		take(&in, bob[i]);
		CHECK_EQ(next_frame(&in, &payload), 0xc1);
	}
	inbox_free(&in);
	close(alice);
	close(bob[0]);
	close(bob[1]);
	rig_end(&r);
}

TEST(contexts_are_reserved_at_the_agreement_held_from_the_first_message_and_freed)
{
	struct ws_deflate d = {
		.on = true, .server_takeover = true, .client_takeover = true, .server_bits = 15, .client_bits = 15
	};
	size_t each = ws_deflate_context_bytes(&d);
	struct rig r;
	struct conn *c;
	z_stream z = { 0 };
	int fd;

	rig_deflate(&r, true);
	fd = join(&r, "alice", OFFER);
	c = rig_conn(&r, "alice");
	CHECK(c->deflate.server_takeover && c->deflate.client_takeover);
	CHECK(c->contexts == NULL && c->at.extra == NULL); /* idle: nothing is held */
	CHECK_EQ(atomic_load(&r.set.shared.context_bytes), each);
	inflateInit2(&z, -15);
	for (char letter = 'a'; letter < 'f'; letter++) {
		broadcast(&r, letter);
		CHECK(reads(fd, letter, &z));
		CHECK(c->contexts != NULL && c->at.extra == NULL);
	}
	inflateEnd(&z);
	close(fd);
	rig_turn(&r, 3);
	CHECK_EQ(atomic_load(&r.set.shared.context_bytes), 0);
	rig_end(&r);
}

/* Shows: threat 41 */
TEST(no_context_is_agreed_on_beyond_the_memory_for_contexts_or_when_memory_is_scarce)
{
	struct rig r;
	int fd[6];

	rig_deflate(&r, true);
	for (int i = 0; i < 6; i++) {
		char user[16];

		if (i == 1)
			atomic_store(&r.set.shared.no_new_contexts, true);
		if (i == 2)
			atomic_store(&r.set.shared.no_new_contexts, false);
		snprintf(user, sizeof user, "u%d", i);
		fd[i] = join(&r, user, OFFER);
		/* A mebibyte is enough for three. */
		CHECK_EQ(rig_conn(&r, user)->deflate.server_takeover, i != 1 && i < 4);
		CHECK(rig_conn(&r, user)->deflate.on);
		CHECK(atomic_load(&r.set.shared.context_bytes) <= 1 << 20);
	}
	for (int i = 0; i < 6; i++)
		close(fd[i]);
	rig_turn(&r, 3);
	CHECK_EQ(atomic_load(&r.set.shared.context_bytes), 0);
	rig_end(&r);
}

TEST(messages_for_a_slow_reader_with_takeover_are_deflated_a_little_ahead_and_no_further)
{
	struct rig r;
	struct conn *c;
	int fd;

	rig_deflate(&r, true);
	r.set.opt.deflate.level = 1;
	r.sndbuf = 4096;
	fd = join(&r, "alice", OFFER);
	c = rig_conn(&r, "alice");
	/* Sent as they are, they fill ctl quickly; it stays within its step and a message. */
	r.set.opt.deflate.min_bytes = 1 << 20;
	for (int i = 0; i < 200; i++) {
		broadcast(&r, 'x');
		CHECK(!c->at.extra || c->at.extra->ctl.len - c->at.extra->ctl_sent < SHARD_GATHER_BYTES + 2000);
	}
	CHECK(c->session.q.count > 0);
	CHECK(c->at.extra && c->at.extra->ctl.len > c->at.extra->ctl_sent);
	close(fd);
	rig_end(&r);
}

/*
 * Every read and write is cut to a few bytes, so that deflated frames leave in parts, pongs and plain messages between.
 */
TEST(deflated_messages_survive_every_cut_of_input_and_output)
{
	for (uint32_t chop = 1; chop < 30; chop = chop * 2 + 1)
		for (int takeover = 0; takeover < 2; takeover++) {
			struct inbox in = { 0 };
			struct bytes payload = { 0 };
			unsigned messages = 0, pongs = 0;
			z_stream z = { 0 };
			struct rig r;
			uint8_t first;
			int fd;

			rig_deflate(&r, takeover);
			fd = join(&r, "alice", OFFER);
			r.w[0]->shard.loop.chop = chop;
			for (char letter = 'a'; letter <= 'z'; letter++) {
				struct msg *m = msg_new(hub_owner(r.w[0]->shard.hub), MSG_USER, letter % 3 ? 1000 : 20);

				memset(m->json, letter, m->len);
				CHECK_EQ(hub_send(r.w[0]->shard.hub, &rig_conn(&r, "alice")->session, m), 0);
				msg_unref(m);
				put_frame(fd, 0x89, "ping", 4);
				rig_turn(&r, 1);
			}
			for (int turn = 0; turn < 5000 && messages + pongs < 52; turn++) {
				rig_turn(&r, 1);
				take(&in, fd);
				inflateInit2(&z, -15);
				messages = pongs = 0;
				in.pos = 0;
				while ((first = next_frame(&in, &payload))) {
					uint8_t text[1100], wire[1100];
					size_t n = payload.len;
					char letter = (char)('a' + messages);

					if (first == 0x8a) {
						pongs++;
						continue;
					}
					memcpy(text, payload.at, n < sizeof text ? n : 0);
					if (first == 0xc1) {
						memcpy(wire, payload.at, n);
						memcpy(wire + n, "\x00\x00\xff\xff", 4);
						z.next_in = wire;
						z.avail_in = (uInt)n + 4;
						z.next_out = text;
						z.avail_out = sizeof text;
						CHECK_EQ(inflate(&z, Z_SYNC_FLUSH), Z_OK);
						n = sizeof text - z.avail_out;
						if (!takeover)
							inflateReset(&z);
					}
					CHECK_EQ(first, letter % 3 ? 0xc1 : 0x81);
					CHECK_EQ(n, letter % 3 ? 1000 : 20);
					CHECK(text[0] == (uint8_t)letter && text[n - 1] == (uint8_t)letter);
					messages++;
				}
				inflateEnd(&z);
			}
			CHECK_EQ(messages, 26);
			CHECK_EQ(pongs, 26);
			inbox_free(&in);
			close(fd);
			rig_end(&r);
		}
}

/* ---- waiting for a turn ---------------------------------------------------------------------------------------------- */

static struct wsc_pending *asked;

static int ask_later(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)user, (void)client, (void)m;
	asked = wsc_defer(call);
	return WSC_PENDING;
}

/* Three messages to bob, compressed in one context. */
static size_t three_to_bob(uint8_t *to)
{
	uint8_t wire[200];
	z_stream z = { 0 };
	size_t at = 0;

	deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
	for (int i = 0; i < 3; i++) {
		char text[64];
		size_t n;

		z.next_in = (uint8_t *)text;
		z.avail_in = (uInt)snprintf(text, sizeof text, "{\"to\":\"bob\",\"content\":\"number %d\"}", i);
		z.next_out = wire;
		z.avail_out = sizeof wire;
		CHECK_EQ(deflate(&z, Z_SYNC_FLUSH), Z_OK);
		n = sizeof wire - z.avail_out - 4;
		CHECK(n < 126);
		to[at++] = 0xc1;
		to[at++] = (uint8_t)(0x80 | n);
		memset(to + at, 0, 4);
		memcpy(to + at + 4, wire, n);
		at += 4 + n;
	}
	deflateEnd(&z);
	return at;
}

/* Alice, whose first message waits until a flooding sender has had its turn, and the others behind it. */
static int alice_waits(struct rig *r, int loud)
{
	static uint8_t pings[60000];
	uint8_t data[400];
	struct shard *sh = &r->w[0]->shard;
	int alice = join(r, "alice", OFFER);
	struct conn *c = rig_conn(r, "alice");

	CHECK(c->deflate.client_takeover);
	for (size_t at = 0; at < sizeof pings; at += 10)
		memcpy(pings + at, "\x81\x84\0\0\0\0ping", 10);
	put(loud, pings, sizeof pings);
	rig_turn(r, 1);
	CHECK_EQ(sh->ndeferred, 1);
	put(alice, data, three_to_bob(data));
	loop_wait(&sh->loop, 0);
	loop_read(&sh->loop);
	CHECK_EQ(sh->ndeferred, 2);
	CHECK(c->deferred && c->held_input && c->at.extra->inflate && c->at.extra->held.len);
	return alice;
}

TEST(a_compressed_message_that_waits_for_its_turn_and_for_a_hook_comes_before_the_next_ones)
{
	struct inbox in = { 0 };
	struct bytes payload = { 0 };
	struct rig r;
	int alice, bob, loud;
	char want[16];

	rig_deflate(&r, true);
	bob = join(&r, "bob", NULL);
	loud = join(&r, "loud", NULL);
	r.set.hooks.on_message_received = ask_later;
	alice = alice_waits(&r, loud);
	asked = NULL;
	for (int i = 0; i < 3; i++) {
		struct wsc_pending *p;

		for (int turns = 0; turns < 50 && !asked; turns++)
			rig_turn(&r, 1);
		CHECK(asked != NULL);
		if (!asked)
			break;
		CHECK(!rig_conn(&r, "alice")->deferred && rig_conn(&r, "alice")->held_input);
		p = asked;
		asked = NULL;
		wsc_finish(p, WSC_ALLOW, "");
		rig_turn(&r, 2);
		take(&in, bob);
		CHECK_EQ(next_frame(&in, &payload), 0x81);
		snprintf(want, sizeof want, "number %d", i);
		CHECK(memmem(payload.at, payload.len, want, strlen(want)) != NULL);
	}
	rig_turn(&r, 50);
	CHECK_EQ(r.w[0]->shard.ndeferred, 0);
	CHECK(!rig_conn(&r, "alice")->held_input && !rig_conn(&r, "alice")->at.extra);
	inbox_free(&in);
	close(alice);
	close(bob);
	close(loud);
	rig_turn(&r, 3);
	rig_end(&r);
}

TEST(a_connection_that_ends_while_a_compressed_message_waits_leaves_nothing_behind)
{
	enum { GONE, KICKED, KILLED, STOPPED, ENDS };

	for (int how = 0; how < ENDS; how++) {
		struct inbox in = { 0 };
		struct rig r;
		int alice, loud;

		rig_deflate(&r, true);
		loud = join(&r, "loud", NULL);
		alice = alice_waits(&r, loud);
		if (how == GONE)
			close(alice);
		else if (how == KICKED)
			hub_close(r.w[0]->shard.hub, &rig_conn(&r, "alice")->session, 4410, "kicked", false);
		else if (how == KILLED)
			conn_end(rig_conn(&r, "alice"), 1006, true);
		else
			worker_stop(r.w[0], 30000);
		rig_turn(&r, 5);
		if (how != GONE) {
			take(&in, alice);
			CHECK_EQ(close_code(&in), how == KICKED ? 4410 : how == STOPPED ? 1001 : 0);
			CHECK_EQ(in.end, how == KILLED);
			close(alice);
		}
		close(loud);
		rig_turn(&r, 200);
		CHECK_EQ(r.w[0]->shard.ndeferred, 0);
		CHECK(list_empty(&r.w[0]->shard.deferred));
		CHECK_EQ(atomic_load(&r.set.shared.connections), 0);
		CHECK_EQ(atomic_load(&r.set.shared.context_bytes), 0);
		inbox_free(&in);
		rig_end(&r);
	}
}
