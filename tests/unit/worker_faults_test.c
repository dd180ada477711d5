/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_faults: memory runs out at every single allocation of a conversation, once, and from there on. A client may
 * lose its connection; nothing may crash, leak or hang, and when there is memory again the next client is served.
 */
#define WSC_FAULTS 1
#include "base/mem.c" /* takes the place of the library's own */

#include "worker_fixture.h"

static int come(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	struct wsc_pending **kept = user;

	(void)client;
	if (!*kept && (*kept = wsc_defer(call)))
		return WSC_PENDING;
	return 0;
}

static bool greet(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	(void)user, (void)client;
	welcome->content = "hello \"there\"";
	return true;
}

static int sent(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)user, (void)call;
	CHECK(m->from && m->from[0]); /* a message without a sender is no message */
	m->content = "edited";
	return 0;
}

static int late(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	struct wsc_pending *p;

	(void)user, (void)client;
	if (!strstr(m->content, "later") || !(p = wsc_defer(call)))
		return WSC_ALLOW;
	wsc_finish(p, WSC_ALLOW, NULL);
	return WSC_PENDING;
}

static void done(void *user, const struct wsc_outcome *o)
{
	(void)o;
	++*(unsigned *)user;
}

/* Bytes of a client, without any check of the result. */
static int try_dial(struct rig *r, unsigned i)
{
	struct ip ip = { .len = 4, .at = { 127, 0, 0, 1 } };
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	atomic_fetch_add(&r->set.shared.connections, 1);
	(void)http_accept(&r->w[i]->shard, fd[1], &ip, false);
	return fd[0];
}

static void try_put(int fd, const char *s, size_t len)
{
	(void)!send(fd, s, len, MSG_NOSIGNAL);
}

static void try_say(int fd, uint8_t first, const char *json)
{
	char frame[256] = { (char)first, (char)(0x80 | strlen(json)) };

	memcpy(frame + 6, json, strlen(json));
	try_put(fd, frame, 6 + strlen(json));
}

/* Deflated, in so far as a stored block is. */
static void try_deflated(int fd, const char *json)
{
	uint8_t n = (uint8_t)strlen(json),
		frame[256] = { 0xc1, 0x80 | (n + 6), 0, 0, 0, 0, 0, n, 0, (uint8_t)~n, 0xff };

	memcpy(frame + 11, json, n);
	try_put(fd, (const char *)frame, 12u + n);
}

static const char *const requests[] = {
	"GET /ws?user_id=alice&ticket_id=t&role=r HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	"Sec-WebSocket-Extensions: permessage-deflate\r\n"
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	"GET /ws?user_id=bob&ticket_id=t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	"Sec-WebSocket-Protocol: wsc.v1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	"GET /sse?user_id=alice HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 3\r\n\r\n",
	"POST /send HTTP/1.1\r\nHost: x\r\nX-User-ID: carol\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
	"1e\r\n{\"to\":\"bob\",\"content\":\"later\"}\r\n0\r\n\r\nGET /online?user_id=bob&limit=3 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /ws?user_id=system HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	"Sec-WebSocket-Protocol: wsc.v1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n"
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	"GET /nowhere HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\nGARBAGE\r\n\r\n",
};
#define CLIENTS (sizeof requests / sizeof requests[0])

/* Messages of the program that were handed over, and outcomes that came. */
struct told {
	unsigned handed, outcomes;
};

static void program_says(struct rig *r, const char *json, struct told *told)
{
	uint8_t *text = mem_alloc(strlen(json));
	struct task *t;

	if (!text)
		return;
	memcpy(text, json, strlen(json));
	t = program_submission(text, strlen(json), BYTES("system"), strstr(json, "\"to\"") == NULL, done,
			       &told->outcomes);
	if (!t)
		return;
	if (rig_post(&r->set, 0, t, false) < 0)
		program_submission_free(t);
	else
		told->handed++;
}

/* Everything that allocates, once. */
static void conversation(struct rig *r, struct wsc_pending **kept, struct told *told)
{
	char answers[8192] = "";
	int fd[CLIENTS];
	ssize_t n;

	for (unsigned i = 0; i < CLIENTS; i++) {
		fd[i] = try_dial(r, i % r->n);
		try_put(fd[i], requests[i], strlen(requests[i]) / 2);
		rig_turn(r, 1);
		try_put(fd[i], requests[i] + strlen(requests[i]) / 2, strlen(requests[i]) - strlen(requests[i]) / 2);
	}
	rig_turn(r, 4);
	if (*kept)
		wsc_finish(*kept, 0, NULL);
	rig_turn(r, 4);
	try_say(fd[0], 0x81, "{\"to\":\"bob\",\"content\":\"1\",\"data\":{\"a\":[1,2]}}");
	try_say(fd[0], 0x81, "{\"ticket_id\":\"t\",\"content\":\"later\"}");
	try_say(fd[0], 0x81, "{\"to\":\"nobody\",\"content\":\"3\"}");
	try_deflated(fd[0], "{\"to\":\"bob\",\"content\":\"deflated deflated deflated\"}");
	try_deflated(fd[1], "{\"to\":\"alice\",\"content\":\"deflated deflated deflated\"}");
	try_deflated(fd[5], "echo echo echo echo echo echo echo");
	try_say(fd[5], 0x02, "plain");
	try_say(fd[1], 0x01, "{\"to\":\"alice\",");
	try_say(fd[1], 0x89, "a ping");
	try_say(fd[1], 0x80, "\"content\":\"4\"}");
	try_put(fd[1], "\x81", 1);
	program_says(r, "{\"to\":\"bob\",\"content\":\"5\"}", told);
	program_says(r, "{\"content\":\"6\"}", told);
	rig_turn(r, 6);
	try_say(fd[0], 0x88, "\x03\xe8");
	try_put(fd[1], "\xff\xff\xff", 3);
	rig_turn(r, 6);
	for (size_t got = 0; (n = recv(fd[3], answers + got, sizeof answers - 1 - got, 0)) > 0;)
		got += (size_t)n;
	CHECK(!strstr(answers, "\"id\":\"\"")); /* a success names its message */
	for (unsigned i = 0; i < CLIENTS; i++)
		close(fd[i]);
	rig_turn(r, 4);
}

/* How often it allocates is found out by the first round in which nothing failed. */
static bool round_with(unsigned long k, int ever)
{
	struct wsc_pending *kept = NULL;
	struct told told = { 0 };
	struct inbox in = { 0 };
	struct rig r;
	bool reached;
	int fd;

	rig_init(&r, 2);
	routes_add(&r.set.routes, "GET", "/echo", &http_routes[ROUTE_ECHO], NULL, NULL);
	r.set.opt.deflate.on = true;
	r.set.opt.deflate.policy = (struct ws_deflate_policy){ .window_bits = 9, .takeover = true };
	r.set.opt.deflate.level = 1;
	r.set.opt.deflate.memory = 1 << 20;
	r.set.hooks = (struct wsc_hooks){ .user = &kept,
					  .on_client_connect = come,
					  .on_message_received = late,
					  .on_message_send = sent,
					  .welcome_message = greet };
	rig_start(&r);
	mem_fail_at(k, ever);
	conversation(&r, &kept, &told);
	reached = countdown <= (ever ? 1 : 0);
	mem_fail_at(0, 0);
	r.set.hooks = (struct wsc_hooks){ 0 };
	fd = rig_dial(&r, 0);
	ask_ws(fd, "afterwards");
	rig_turn(&r, 4);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 101);
	inbox_free(&in);
	close(fd);
	rig_end(&r);
	CHECK_EQ(told.outcomes, told.handed);
	return reached;
}

/* Shows: threat 10, threat 123 */
TEST(each_allocation_may_fail_once)
{
	unsigned long k = 1;

	while (k < 5000 && round_with(k, 0))
		k++;
	printf("%lu allocations\n", k - 1);
	CHECK(k > 50 && k < 5000);
}

/* Shows: threat 10, threat 123 */
TEST(memory_may_run_out_for_good_at_any_allocation)
{
	unsigned long k = 1;

	while (k < 5000 && round_with(k, 1))
		k++;
	CHECK(k > 50 && k < 5000);
}
