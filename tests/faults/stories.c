/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stories: everything that the gateway can be asked to do, each once and briefly. A story knows nothing of faults;
 * stories of a program that opens no gateway with wsc_open() are in stories_alone.c.
 */
#include "stage.h"

#include <errno.h>

#define SEND "/api/v1/websocket/send"
#define BROADCAST "/api/v1/websocket/broadcast"
#define ONLINE "/api/v1/websocket/online"
#define WSC_V1 "Sec-WebSocket-Protocol: wsc.v1\r\n"

static void post(struct stage *st, struct peer *p, const char *path, const char *user, const char *body)
{
	char field[128] = "";

	if (user)
		snprintf(field, sizeof field, "X-User-ID: %s\r\n", user);
	peer_ask(st, p, "POST", path, field, body);
}

/* ---- connections ---------------------------------------------------------------------------------------------------------- */

static void start_and_stop(struct stage *st)
{
	WANT(wsc_port(st->gw) != 0);
	stage_pass(st, 300);
}

static void open_websocket(struct stage *st)
{
	struct peer *p = peer_ws(st, "user_id=alice&ticket_id=t&role=r&device_id=d&client_type=c&user_type=agent");

	WANT(p->mode == PEER_WS);
	WANT(peer_got(p, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

static void open_event_stream(struct stage *st)
{
	struct peer *p = peer_sse(st, "user_id=alice", "");

	WANT(p->mode == PEER_SSE);
	WANT(peer_got(p, "\"type\":\"connected\""));
	stage_pass(st, 2500);
	WANT(peer_got(p, "\n:"));
}

static void byte_by_byte(struct stage *st)
{
	static const char request[] = "GET /ws?user_id=alice HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
				      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x89\x80\0\0\0";
	struct peer *p = peer_new(st);

	p->asked = 1;
	for (size_t i = 0; i < sizeof request; i += 16) {
		peer_put(st, p, request + i, sizeof request - i < 16 ? sizeof request - i : 16);
		stage_settle(st);
	}
	WANT(p->mode == PEER_WS);
}

static void unix_socket(struct stage *st)
{
	WANT(peer_ws(st, "user_id=alice")->mode == PEER_WS);
	WANT(peer_ws_over(st, peer_tcp(st), "/ws?user_id=bob", "")->mode == PEER_WS);
}

/* A server that has crashed has left its file behind. */
static void leave_a_file(struct stage *st)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNIX };
	int fd = REAL(socket)(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int __real_bind(int, const struct sockaddr *, socklen_t);

	(void)st;
	REAL(unlink)(stage_unix_path);
	memcpy((char *)&ss + sizeof(sa_family_t), stage_unix_path, strlen(stage_unix_path) + 1);
	if (fd < 0 ||
	    __real_bind(fd, (struct sockaddr *)&ss, (socklen_t)(sizeof(sa_family_t) + strlen(stage_unix_path) + 1)) < 0)
		abort();
	REAL(close)(fd);
}

static void adopted(struct stage *st)
{
	struct peer *a = peer_ws_over(st, peer_adopted(st), "/ws?user_id=alice", ""), *b = peer_adopted(st);

	WANT(a->mode == PEER_WS);
	peer_ask(st, b, "GET", "/livez", "", NULL);
	WANT(b->status == 200);
}

static void over_the_cap(struct stage *st)
{
	struct peer *p[8];

	for (unsigned i = 0; i < 8; i++) {
		char query[32];

		snprintf(query, sizeof query, "user_id=user%u", i);
		p[i] = peer_ws(st, query);
	}
	WANT(p[3]->mode == PEER_WS);
	WANT(p[7]->status == 503);
	for (unsigned i = 0; i < 8; i++)
		peer_reset(st, p[i]);
	stage_pass(st, 200);
	WANT(peer_ws(st, "user_id=late")->mode == PEER_WS);
}

static void replaced(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=alice"), *s;

	WANT(a->code == 4409);
	s = peer_sse(st, "user_id=alice", "");
	WANT(b->code == 4409);
	WANT(peer_ws(st, "user_id=alice")->mode == PEER_WS);
	WANT(peer_got(s, "\"type\":\"closed\""));
	s = peer_sse(st, "user_id=alice", "");
	WANT(s->status == 204);
}

static void rejected(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=alice"), *c;

	WANT(a->mode == PEER_WS);
	WANT(b->status == 409);
	c = peer_ws_over(st, peer_new(st), "/ws?user_id=alice", WSC_V1);
	WANT(c->code == 4409);
	WANT(peer_sse(st, "user_id=alice", "")->status == 409);
}

static void refused_by_close_code(struct stage *st)
{
	WANT(peer_ws_over(st, peer_new(st), "/ws", WSC_V1)->code == 4401);
	WANT(peer_ws_over(st, peer_new(st), "/ws?user_id=%00", WSC_V1)->code == 4400);
	WANT(peer_ws_over(st, peer_new(st), "/ws?user_id=system", WSC_V1)->code == 4403);
	WANT(peer_ws(st, "user_id=system")->status == 403);
	WANT(peer_ws(st, "")->status == 401);
	WANT(peer_ws(st, "user_id=a&user_type=stranger")->status == 403);
}

static void origin_refused(struct stage *st)
{
	struct peer *p = peer_new(st);

	WANT(peer_ws_over(st, peer_new(st), "/ws?user_id=a", "Origin: http://evil\r\n")->status == 403);
	WANT(peer_ws_over(st, peer_new(st), "/ws?user_id=a", "Origin: https://a.good.example\r\n")->mode == PEER_WS);
	peer_ask(st, p, "OPTIONS", SEND, "Origin: https://a.good.example\r\nAccess-Control-Request-Method: POST\r\n",
		 NULL);
	WANT(p->status == 204);
}

static void resumed(struct stage *st)
{
	WANT(peer_got(peer_ws(st, "user_id=alice&after=7"), "\"type\":\"resumed\""));
	WANT(peer_got(peer_sse(st, "user_id=bob", "Last-Event-ID: 3\r\n"), "\"type\":\"resumed\""));
}

static void proxied(struct stage *st)
{
	static const uint8_t v2[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11,
				      0,    12,   10,   0,    0, 1,    127,  0,    0,    1,    0x30, 0x39, 0x1f, 0x90 };
	struct peer *p = peer_new(st);

	peer_text(st, p, "PROXY TCP4 10.0.0.1 127.0.0.1 1234 8080\r\n");
	peer_ask(st, p, "GET", "/livez", "", NULL);
	WANT(p->status == 403); /* blocked_ips */
	p = peer_new(st);
	peer_put(st, p, v2, sizeof v2);
	peer_ask(st, p, "GET", "/livez", "", NULL);
	WANT(p->status == 403);
	p = peer_new(st);
	peer_text(st, p, "PROXY UNKNOWN\r\n");
	peer_ask(st, p, "GET", "/livez", "", NULL);
	WANT(p->status == 200);
}

static void forwarded(struct stage *st)
{
	struct peer *p = peer_new(st);

	peer_ask(st, p, "GET", "/livez", "X-Forwarded-For: 1.2.3.4, 10.0.0.1\r\n", NULL);
	WANT(p->status == 403);
	p = peer_new(st);
	WANT(peer_ws_over(st, p, "/ws?user_id=query", "X-Forwarded-For: 1.2.3.4\r\nX-User-ID: header\r\n")->mode ==
	     PEER_WS);
}

static void connect_rate(struct stage *st)
{
	WANT(peer_ws(st, "user_id=a")->mode == PEER_WS);
	WANT(peer_ws(st, "user_id=b")->mode == PEER_WS);
	WANT(peer_ws(st, "user_id=c")->status == 429);
	WANT(peer_sse(st, "user_id=c", "")->status == 429);
	stage_pass(st, 3000);
}

/* ---- messages -------------------------------------------------------------------------------------------------------------- */

static void unicast(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob");

	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"one\",\"data\":{\"n\":[1,{\"a\":\"\\u00e9\"}]}}");
	peer_say(st, b, "{\"to\":\"alice\",\"id\":\"mine\",\"content\":\"two\",\"create_at\":\"2026-01-01T00:00:00\"}");
	peer_say(st, a, "{\"to\":\"alice\",\"content\":\"three\"}");
	WANT(peer_got(b, "one"));
	WANT(peer_got(a, "two"));
	WANT(peer_got(a, "three"));
}

static void several_devices(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b1 = peer_ws(st, "user_id=bob"),
		    *b2 = peer_ws(st, "user_id=bob"), *b3 = peer_sse(st, "user_id=bob", "");

	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"to all of them\"}");
	WANT(peer_got(b1, "to all of them"));
	WANT(peer_got(b2, "to all of them"));
	WANT(peer_got(b3, "to all of them"));
}

static void broadcast(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_sse(st, "user_id=bob", ""), *h = peer_new(st);

	post(st, h, BROADCAST, NULL, "{\"content\":\"by HTTP\"}");
	WANT(h->status == 200);
	program_broadcast(st, &(struct wsc_message){ .content = "by the program" });
	WANT(peer_got(a, "by HTTP"));
	WANT(peer_got(b, "by HTTP"));
	WANT(peer_got(a, "by the program"));
	WANT(peer_got(b, "by the program"));
	WANT(st->delivered == 2);
}

static void ticket(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice&ticket_id=t"), *b = peer_ws(st, "user_id=bob&ticket_id=t"),
		    *c = peer_sse(st, "user_id=carol&ticket_id=t", ""), *d = peer_ws(st, "user_id=dave");

	peer_say(st, a, "{\"ticket_id\":\"t\",\"content\":\"to the ticket\"}");
	WANT(peer_got(b, "to the ticket"));
	WANT(peer_got(c, "to the ticket"));
	WANT(!peer_got(d, "to the ticket"));
	peer_say(st, d, "{\"ticket_id\":\"t\",\"content\":\"x\"}");
	WANT(peer_got(d, "not_in_ticket"));
}

static void refused_messages(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice");

	peer_say(st, a, "{\"to\":\"nobody\",\"content\":\"x\",\"id\":\"id1\"}");
	WANT(peer_got(a, "user_offline"));
	peer_say(st, a, "{\"content\":\"x\"}");
	WANT(peer_got(a, "no_recipient"));
	peer_say(st, a, "not json");
	peer_say(st, a, "{\"to\":\"alice\",\"from\":\"bob\",\"content\":\"x\"}");
	WANT(peer_got(a, "sender_mismatch"));
	peer_say(st, a, "{\"type\":\"ack\",\"msg_id\":\"x\"}");
	WANT(peer_got(a, "not_supported"));
	peer_say(st, a, "{\"to\":\"alice\",\"content\":\"far too long for the limit\"}");
	WANT(a->frames == 6);
}

static void big_message(struct stage *st)
{
	static char body[150000];
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"),
		    *c = peer_sse(st, "user_id=bob", "");
	int n = snprintf(body, sizeof body, "{\"to\":\"bob\",\"content\":\"");

	memset(body + n, 'x', sizeof body - (size_t)n);
	memcpy(body + sizeof body - 8, "the end\"", 8);
	for (size_t at = 0; at < sizeof body; at += 50000)
		peer_frame(st, a, at ? 0x00 : 0x01, body + at, 50000);
	peer_frame(st, a, 0x89, "between", 7);
	peer_frame(st, a, 0x80, "}", 1);
	stage_settle(st);
	WANT(peer_got(b, "the end"));
	WANT(peer_got(c, "the end"));
	WANT(peer_got(a, "between"));
}

static void many_small(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob");

	for (int i = 0; i < 40; i++)
		peer_frame(st, a, 0x81, "{\"to\":\"bob\",\"content\":\"m\"}", 26);
	stage_settle(st);
	WANT(b->frames == 40);
}

static void pipelined(struct stage *st)
{
	static const char two[] = "POST " SEND " HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nContent-Length: 28\r\n\r\n"
				  "{\"to\":\"bob\",\"content\":\"one\"}"
				  "POST " SEND " HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nContent-Length: 28\r\n\r\n"
				  "{\"to\":\"bob\",\"content\":\"two\"}"
				  "GET /wsc/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct peer *b = peer_ws(st, "user_id=bob"), *h = peer_new(st);

	h->asked = 3;
	peer_text(st, h, two);
	stage_settle(st);
	WANT(h->answered == 3);
	WANT(h->end);
	WANT(peer_got(b, "one"));
	WANT(peer_got(b, "two"));
}

static void chunked(struct stage *st)
{
	struct peer *b = peer_ws(st, "user_id=bob"), *h = peer_new(st);

	h->asked = 1;
	peer_text(st, h, "POST " SEND " HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	stage_settle(st);
	peer_text(st, h, "a\r\n{\"to\":\"bob\r\n1");
	stage_settle(st);
	peer_text(st, h, "2\r\n\",\"content\":\"one\"}\r\n0\r\nTrailer: x\r\n\r\n");
	stage_settle(st);
	WANT(h->status == 200);
	WANT(peer_got(b, "one"));
}

static void expects(struct stage *st)
{
	struct peer *b = peer_ws(st, "user_id=bob"), *h = peer_new(st);

	h->asked = 1;
	peer_text(st, h,
		  "POST " SEND
		  " HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nExpect: 100-continue\r\nContent-Length: 28\r\n\r\n");
	stage_settle(st);
	WANT(peer_got(h, "100 Continue"));
	peer_text(st, h, "{\"to\":\"bob\",\"content\":\"one\"}");
	stage_settle(st);
	WANT(h->status == 200);
	WANT(peer_got(b, "one"));
}

static void bad_requests(struct stage *st)
{
	static const struct {
		const char *text;
		int status;
	} bad[] = {
		{ "GARBAGE\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
		{ "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404 },
		{ "GET " SEND " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405 },
		{ "POST " SEND " HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nContent-Length: 99999999\r\n\r\n", 413 },
		{ "GET /ws?user_id=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 426 },
	};
	char head[20000];
	struct peer *p;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		p = peer_new(st);
		p->asked = 1;
		peer_text(st, p, bad[i].text);
		stage_settle(st);
		WANT(p->status == bad[i].status);
	}
	p = peer_new(st);
	p->asked = 1;
	memset(head, 'x', sizeof head);
	memcpy(head, "GET / HTTP/1.1\r\nHost: x\r\nLong: ", 31);
	peer_put(st, p, head, sizeof head);
	stage_settle(st);
	WANT(p->status == 431);
}

static void slow_head(struct stage *st)
{
	struct peer *a = peer_new(st), *b = peer_new(st);

	a->asked = b->asked = 1;
	peer_text(st, a, "GET /livez HTTP/1.1\r\nHo");
	peer_text(st, b, "POST " SEND " HTTP/1.1\r\nHost: x\r\nX-User-ID: a\r\nContent-Length: 28\r\n\r\n{");
	for (int i = 0; i < 200 && !(a->end && b->end); i++)
		stage_pass(st, 1000);
	WANT(a->status == 408);
	WANT(a->end);
	WANT(b->status == 408);
	WANT(b->end);
}

static void online_pages(struct stage *st)
{
	struct peer *h = peer_new(st);

	peer_ws(st, "user_id=alice&ticket_id=t");
	peer_sse(st, "user_id=bob", "");
	peer_ws(st, "user_id=carol");
	peer_ask(st, h, "GET", ONLINE "?limit=2", "", NULL);
	WANT(peer_got(h, "\"total\":3"));
	WANT(peer_got(h, "\"next\":"));
	peer_ask(st, h, "GET", ONLINE "?user_id=alice&user_id=nobody", "", NULL);
	WANT(peer_got(h, "\"offline\""));
	peer_ask(st, h, "GET", "/wsc/online?limit=x", "", NULL);
	WANT(h->status == 400);
}

static void statistics(struct stage *st)
{
	struct peer *h = peer_new(st);
	struct wsc_stats s;

	peer_ws(st, "user_id=alice");
	peer_ask(st, h, "GET", "/wsc/stats", "", NULL);
	WANT(peer_got(h, "\"active_connections\":1"));
	peer_ask(st, h, "GET", "/readyz", "", NULL);
	peer_ask(st, h, "HEAD", "/wsc/stats", "", NULL);
	WANT(h->status == 200);
	WANT(wsc_stats(st->gw, &s) == 0 && s.active_connections == 1);
	peer_reset(st, h); /* the body of a HEAD's answer never comes */
}

/* ---- the program's calls ------------------------------------------------------------------------------------------------- */

static void count_online(void *user, const char *user_id, unsigned connections)
{
	struct stage *st = user;

	(void)user_id;
	st->answered_online++;
	WANT(connections == 1);
}

static void program_calls(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice&ticket_id=t");
	int r;

	program_send(st, &(struct wsc_message){ .to = "alice",
						.content = "from the program",
						.data = "{\"a\":1}",
						.id = "id1",
						.priority = "high",
						.reply_to_msg_id = "id0" });
	program_send(st, &(struct wsc_message){ .to = "nobody", .content = "x" });
	WANT(st->refused == -WSC_EOFFLINE);
	program_send(st, &(struct wsc_message){ .ticket_id = "t", .content = "for the ticket" });
	program_send(st, &(struct wsc_message){ .to = "alice", .data = "not an object" });
	WANT(st->refused == -WSC_EBADMESSAGE);
	r = wsc_is_online(st->gw, "alice", count_online, st);
	if (r == 0)
		st->asked_online++;
	else
		st->refused = r;
	stage_settle(st);
	WANT(peer_got(a, "from the program"));
	WANT(st->answered_online == 1);
}

static void kicked(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *s = peer_sse(st, "user_id=alice", "");

	program_kick(st, "alice", "out with you");
	WANT(a->code == 4410);
	WANT(peer_got(a, "out with you"));
	WANT(peer_got(s, "\"code\":4410"));
	program_kick(st, "nobody", NULL);
	WANT(st->outcomes == 2);
}

static void answer_route(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	char name[64] = "", agent[64] = "";
	size_t len;

	(void)user;
	(void)wsc_request_query(request, "name", name, sizeof name);
	(void)wsc_request_header(request, "x-agent", agent, sizeof agent);
	(void)wsc_request_body(request, &len);
	(void)wsc_response_header(response, "X-Own", "yes");
	wsc_respond(response, 201, "text/plain", name, strlen(name));
}

static void mount_route(struct stage *st)
{
	int r = wsc_route(st->gw, "POST", "/own", answer_route, st);

	if (r < 0)
		st->refused = r;
}

static void own_route(struct stage *st)
{
	struct peer *h = peer_new(st);

	peer_ask(st, h, "POST", "/own?name=caf%C3%A9", "X-Agent: me\r\n", "a body");
	WANT(h->status == 201);
	WANT(peer_got(h, "café"));
	WANT(peer_got(h, "X-Own: yes"));
}

/* ---- hooks ----------------------------------------------------------------------------------------------------------------- */

static int hook_auth(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	struct stage *st = user;
	char token[32];

	if (!wsc_request_query(request, "token", token, sizeof token)) {
		wsc_reason(call, 402, "pay first");
		return -1;
	}
	if (strcmp(token, "later") == 0)
		return program_keep(st, call);
	snprintf(id->user_id, sizeof id->user_id, "%s", token);
	return 0;
}

static void authenticated(struct stage *st)
{
	struct peer *later, *gone;

	WANT(peer_ws(st, "token=alice")->mode == PEER_WS);
	WANT(peer_ws(st, "nothing=1")->status == 402);
	later = peer_ws(st, "token=later");
	gone = peer_sse(st, "token=later", "");
	peer_reset(st, gone);
	stage_settle(st);
	for (unsigned i = 0; i < st->nkept; i++) {
		wsc_finish_identity(st->kept[i], 0, &(struct wsc_identity){ .user_id = "late" }, 0, NULL);
		st->kept[i] = NULL;
	}
	stage_settle(st);
	WANT(later->mode == PEER_WS);
}

static int hook_connect(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	struct stage *st = user;

	if (strcmp(client->user_id, "bad") == 0) {
		wsc_reason(call, 0, "not you");
		return -1;
	}
	if (strncmp(client->user_id, "later", 5) == 0)
		return program_keep(st, call);
	st->connected++;
	return 0;
}

static void hook_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	struct stage *st = user;

	(void)client, (void)why;
	st->disconnected++;
}

static void connect_hooks(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *s;

	WANT(a->mode == PEER_WS);
	WANT(peer_ws(st, "user_id=bad")->code == 4403);
	s = peer_sse(st, "user_id=bad", "");
	WANT(s->status == 403);
	peer_close(st, a, 1000);
	WANT(st->disconnected == 1);
}

static void connect_pending(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=later1"), *b = peer_sse(st, "user_id=later2", ""),
		    *c = peer_ws(st, "user_id=later3");

	program_send(st, &(struct wsc_message){ .to = "later1", .content = "it waited" });
	peer_reset(st, c);
	stage_settle(st);
	for (unsigned i = 0; i < st->nkept; i++) {
		if (i != 1)
			st->connected++;
		wsc_finish(st->kept[i], i == 1 ? -1 : 0, "not this one");
		st->kept[i] = NULL;
	}
	stage_settle(st);
	WANT(a->mode == PEER_WS);
	WANT(peer_got(a, "it waited"));
	WANT(b->status == 403);
	peer_reset(st, a);
	stage_settle(st);
	WANT(st->disconnected == 2);
}

static int hook_received(void *user, struct wsc_call *call, const struct wsc_client *client,
			 const struct wsc_message *m)
{
	struct stage *st = user;

	(void)client;
	if (strstr(m->content, "later"))
		return program_keep(st, call) == WSC_PENDING ? WSC_PENDING : WSC_REFUSE;
	if (strstr(m->content, "bad"))
		wsc_reason(call, 0, "not this one");
	return strstr(m->content, "bad") ? WSC_REFUSE : WSC_ALLOW;
}

static void finish_all(struct stage *st, int verdict)
{
	for (unsigned i = 0; i < st->nkept; i++)
		if (st->kept[i]) {
			wsc_finish(st->kept[i], verdict, "not that one");
			st->kept[i] = NULL;
		}
	stage_settle(st);
}

static void received_hook(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"), *h = peer_new(st);

	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"go\\u00f6d\"}");
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"bad\"}");
	post(st, h, SEND, "alice", "{\"to\":\"bob\",\"content\":\"bad\"}");
	WANT(b->frames == 1);
	WANT(peer_got(a, "not this one"));
	WANT(h->status == 403);
}

static void received_pending(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"), *h = peer_new(st);

	peer_frame(st, a, 0x81, "{\"to\":\"bob\",\"content\":\"later1\"}", 31);
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"behind it\"}");
	post(st, h, SEND, "carol", "{\"to\":\"bob\",\"content\":\"later2\"}");
	WANT(b->frames == 0);
	finish_all(st, WSC_ALLOW);
	WANT(b->frames == 3);
	WANT(h->status == 200);
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"later3\"}");
	peer_reset(st, a);
	stage_settle(st);
	finish_all(st, WSC_REFUSE);
}

static void pending_too_long(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *h = peer_new(st);

	peer_say(st, a, "{\"to\":\"alice\",\"content\":\"later\"}");
	post(st, h, SEND, "carol", "{\"to\":\"alice\",\"content\":\"later\"}");
	stage_pass(st, 1500);
	WANT(peer_got(a, "hook_timeout"));
	WANT(h->status == 503);
	finish_all(st, WSC_ALLOW);
}

static int hook_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	struct stage *st = user;

	if (strstr(m->content, "later"))
		return program_keep(st, call);
	if (strstr(m->content, "bad")) {
		wsc_reason(call, 0, "not this one");
		return -1;
	}
	if (strstr(m->content, "edit")) {
		m->content = "edited \"by\" the hook";
		m->data = "{\"by\":1}";
	}
	return 0;
}

static void send_hook(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice&ticket_id=t"), *b = peer_ws(st, "user_id=bob&ticket_id=t"),
		    *h = peer_new(st);

	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"edit\"}");
	peer_say(st, a, "{\"ticket_id\":\"t\",\"content\":\"edit\"}");
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"bad\"}");
	post(st, h, BROADCAST, NULL, "{\"content\":\"edit\"}");
	program_send(st, &(struct wsc_message){ .to = "bob", .content = "bad" });
	WANT(b->frames == 3);
	WANT(peer_got(b, "edited \\\"by\\\" the hook"));
	WANT(peer_got(a, "not this one"));
	WANT(st->refused == -WSC_EREFUSED);
}

static void send_pending(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob");

	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"later1\"}");
	program_broadcast(st, &(struct wsc_message){ .content = "later2" });
	program_send(st, &(struct wsc_message){ .to = "bob", .content = "behind it" });
	for (unsigned i = 0; i < st->nkept; i++) {
		wsc_finish_message(st->kept[i], 0, &(struct wsc_message){ .content = "edited later" }, NULL);
		st->kept[i] = NULL;
	}
	stage_settle(st);
	WANT(b->frames == 3);
	WANT(peer_got(b, "edited later"));
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"later3\"}");
	stage_pass(st, 1500);
	WANT(peer_got(a, "hook_timeout"));
	finish_all(st, 0);
}

static bool hook_welcome(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	(void)user, (void)client;
	*welcome = (struct wsc_message){ .content = "welcome \"you\"", .data = "{\"a\":1}" };
	return true;
}

static void welcomed(struct stage *st)
{
	WANT(peer_got(peer_ws(st, "user_id=alice"), "welcome \\\"you\\\""));
	WANT(peer_got(peer_sse(st, "user_id=bob", ""), "welcome \\\"you\\\""));
}

/* ---- pressure --------------------------------------------------------------------------------------------------------------- */

/* Sends more than the kernel takes for a client that does not read. */
static void pour(struct stage *st, struct peer *a, const char *to)
{
	static char body[60000];
	int n = snprintf(body, sizeof body, "{\"to\":\"%s\",\"content\":\"", to);

	memset(body + n, 'x', sizeof body - (size_t)n);
	memcpy(body + sizeof body - 2, "\"}", 2);
	for (int i = 0; i < 24; i++) {
		peer_frame(st, a, 0x81, body, sizeof body);
		stage_settle(st);
	}
}

static void slow_reader(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws_over(st, peer_adopted(st), "/ws?user_id=bob", "");

	b->stalled = true;
	pour(st, a, "bob");
	stage_pass(st, 7000);
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"is he there?\"}");
	WANT(peer_got(a, "user_offline"));
}

static void gap(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws_over(st, peer_adopted(st), "/ws?user_id=bob", "");

	b->stalled = true;
	pour(st, a, "bob");
	b->stalled = false;
	stage_settle(st);
	WANT(peer_got(b, "\"type\":\"gap\""));
}

static void ping_pong(struct stage *st)
{
	struct peer *a = peer_ws_over(st, peer_adopted(st), "/ws?user_id=alice", "");

	peer_frame(st, a, 0x89, "payload", 7);
	peer_frame(st, a, 0x8a, "", 0);
	peer_frame(st, a, 0x81, "ping", 4);
	peer_say(st, a, "{\"type\":\"ping\"}");
	WANT(peer_got(a, "payload"));
	WANT(peer_got(a, "\x81\x04pong"));
	WANT(peer_got(a, "\"type\":\"pong\""));
	stage_pass(st, 2500);
	WANT(peer_got(a, "\x89")); /* of the server's own */
}

static void heartbeat_timeout(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice");

	a->silent = true;
	stage_pass(st, 7000);
	WANT(a->code == 4408);
}

/*
 * Clients stay whatever the phase of their heartbeat, and though the answer comes in the very millisecond of the ping.
 */
static void answering(struct stage *st)
{
	struct peer *p[16];
	char query[32];

	for (unsigned i = 0; i < 16; i++) {
		snprintf(query, sizeof query, "user_id=idle%u", i);
		p[i] = peer_ws(st, query);
	}
	stage_pass(st, 40000);
	for (unsigned i = 0; i < 16; i++)
		WANT(p[i]->mode == PEER_WS && !p[i]->code && !p[i]->end);
}

static void control_flood(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice");

	for (int i = 0; i < 60; i++)
		peer_frame(st, a, 0x89, "x", 1);
	stage_settle(st);
	WANT(a->code == 1008);
}

static void message_rate(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice");

	for (int i = 0; i < 130; i++) {
		peer_frame(st, a, 0x81, "{\"to\":\"alice\",\"content\":\"x\"}", 29);
		if (i % 5 == 4)
			stage_pass(st, 500);
	}
	WANT(peer_got(a, "rate_limited"));
	WANT(a->code == 4429);
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------- */

static void client_closes(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"),
		    *c = peer_ws(st, "user_id=carol");

	peer_close(st, a, 1000);
	WANT(a->code == 1000 && a->end);
	peer_frame(st, b, 0x88, "", 0);
	b->said_close = b->mode == PEER_WS;
	stage_settle(st);
	WANT(b->end);
	peer_shut(st, c);
	WANT(c->end);
}

static void server_closes_and_no_client_answers(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice");

	a->mute = true;
	program_kick(st, "alice", NULL);
	WANT(a->code == 4410);
	stage_pass(st, 6000);
	WANT(a->end);
}

static void bad_frames(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=a"), *b = peer_ws(st, "user_id=b"), *c = peer_ws(st, "user_id=c"),
		    *d = peer_ws(st, "user_id=d");

	peer_text(st, a, "\xff\xff");
	peer_frame(st, b, 0x81, "\xc0\x80", 2);
	peer_put(st, c, "\x81\xff\0\0\0\0\0\xff\0\0\0\0\0\0", 14);
	peer_put(st, d, "\x81\x02xx", 4);
	stage_settle(st);
	WANT(a->code == 1002);
	WANT(b->code == 1007);
	WANT(c->code == 1009);
	WANT(d->code == 1002);
}

static void reset_while_sending(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"), *h = peer_new(st);

	b->stalled = true;
	peer_frame(st, a, 0x81, "{\"to\":\"bob\",\"content\":\"one\"}", 28);
	peer_put(st, b, "\x81\xa0\0\0", 4);
	stage_settle(st);
	peer_reset(st, b);
	peer_frame(st, a, 0x81, "{\"to\":\"bob\",\"content\":\"two\"}", 28);
	peer_text(st, h, "POST " SEND " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{");
	peer_reset(st, h);
	stage_settle(st);
	stage_pass(st, 200);
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"three\"}");
	WANT(peer_got(a, "user_offline"));
}

static void half_close(struct stage *st)
{
	struct peer *h = peer_new(st), *s = peer_sse(st, "user_id=alice", ""), *w = peer_new(st);

	h->asked = 1;
	peer_text(st, h, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
	peer_shut(st, h);
	WANT(h->status == 200);
	WANT(h->end);
	peer_shut(st, s);
	peer_text(st, w, "GET /liv");
	peer_shut(st, w);
	stage_pass(st, 4000);
	WANT(s->end);
	WANT(w->end);
}

static void drained(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *s = peer_sse(st, "user_id=bob", ""), *h = peer_new(st),
		    *mute = peer_ws(st, "user_id=mute");

	peer_text(st, h, "GET /liv");
	mute->mute = true;
	stage_settle(st);
	wsc_stop(st->gw, 4000);
	stage_pass(st, 200);
	WANT(a->code == 1001);
	WANT(peer_got(s, "\"code\":1001"));
	for (int i = 0; i < 60 && st->open; i++)
		stage_pass(st, 100);
	WANT(!st->open);
	WANT(wsc_wait(st->gw) >= 0);
	WANT(a->end && s->end && h->end && mute->end);
}

static void cut(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob");

	peer_frame(st, a, 0x81, "{\"to\":\"bob\",\"content\":\"x\"}", 26);
	wsc_stop(st->gw, 0);
	stage_pass(st, 300);
	WANT(!st->open);
	WANT(wsc_wait(st->gw) >= 0);
	WANT(a->end && b->end);
}

static void log_to_a_pipe(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice");

	program_kick(st, "alice", "for the log");
	WANT(a->code == 4410);
	peer_ws(st, "user_id=bob");
	stage_pass(st, 200);
}

/* ---- compression and TLS ------------------------------------------------------------------------------------------------- */

#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

static void compressed(struct stage *st)
{
	struct peer *a = peer_ws_over(st, peer_new(st), "/ws?user_id=alice", DEFLATE),
		    *b = peer_ws_over(st, peer_new(st), "/ws?user_id=bob", DEFLATE), *c = peer_ws(st, "user_id=carol"),
		    *h = peer_new(st);

	WANT(peer_got(a, "permessage-deflate"));
	peer_say_deflated(st, a, "{\"to\":\"bob\",\"content\":\"one, one, one, one, one, one\"}");
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"two, two, two, two, two, two\"}");
	post(st, h, BROADCAST, NULL, "{\"content\":\"three, three, three, three, three, three\"}");
	WANT(a->frames == 1);
	WANT(b->frames == 3);
	WANT(peer_got(c, "three, three"));
	peer_frame(st, a, 0xc1, "\xff\xff\xff\xff", 4);
	stage_settle(st);
	WANT(a->code == 1007);
	peer_close(st, b, 1000);
	WANT(b->end);
}

static void secure(struct stage *st)
{
	struct peer *a = peer_new(st), *s = peer_new(st), *h = peer_new(st), *plain = peer_new(st);

	peer_tls(a);
	peer_tls(s);
	peer_tls(h);
	peer_ws_over(st, a, "/ws?user_id=alice", "");
	peer_ask(st, s, "GET", "/sse?user_id=bob", "", NULL);
	post(st, h, SEND, "carol", "{\"to\":\"alice\",\"content\":\"for alice\"}");
	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"for bob\"}");
	WANT(h->status == 200);
	WANT(peer_got(a, "for alice"));
	WANT(peer_got(s, "for bob"));
	peer_ask(st, plain, "GET", "/livez", "", NULL);
	WANT(plain->status == 200);
	peer_close(st, a, 1000);
	WANT(a->code == 1000);
}

static void secure_and_broken(struct stage *st)
{
	struct peer *stalls = peer_new(st), *garbage = peer_new(st), *cut = peer_new(st), *big = peer_new(st);
	static char body[60000];
	int n = snprintf(body, sizeof body, "{\"to\":\"alice\",\"content\":\"");

	peer_text(st, stalls, "\x16\x03\x01");
	peer_text(st, garbage, "\x16\x03\x01\x01\x01garbage that is no hello of any client");
	peer_tls(cut);
	peer_put(st, cut, "GET /livez HTT", 14);
	peer_reset(st, cut);
	peer_tls(big);
	peer_ws_over(st, big, "/ws?user_id=alice", "");
	memset(body + n, 'x', sizeof body - (size_t)n);
	memcpy(body + sizeof body - 10, "the end\"}", 9);
	peer_frame(st, big, 0x81, body, sizeof body - 1);
	stage_settle(st);
	WANT(peer_got(big, "the end"));
	stage_pass(st, 4000);
	WANT(stalls->end);
	peer_reset(st, garbage);
}

static void certificates_anew(struct stage *st)
{
	struct peer *a = peer_new(st), *b;
	int r;

	peer_tls(a);
	peer_ws_over(st, a, "/ws?user_id=alice", "");
	r = wsc_reload(st->gw);
	if (r < 0)
		st->refused = r;
	b = peer_new(st);
	peer_tls(b);
	peer_ws_over(st, b, "/ws?user_id=bob", "");
	peer_say(st, b, "{\"to\":\"alice\",\"content\":\"for alice\"}");
	WANT(r == 0);
	WANT(peer_got(a, "for alice"));
}

/* ---- clocks ---------------------------------------------------------------------------------------------------------------- */

/* Every stamp and every id of the gateway's own that came, to the letter. */
static bool stamps_valid(const struct peer *p)
{
	static const char stamp[] = "dddd-dd-ddTdd:dd:dd.dddZ\"";
	const char *at = p->in, *end = p->in + p->len;

	while ((at = memmem(at, (size_t)(end - at), "\"create_at\":\"", 13))) {
		at += 13;
		for (size_t i = 0; i < sizeof stamp - 1; i++)
			if (at + i >= end || (stamp[i] == 'd' ? at[i] < '0' || at[i] > '9' : at[i] != stamp[i]))
				return false;
	}
	return true;
}

static void say_hello(struct stage *st, struct peer *a, struct peer *b, struct peer *s)
{
	unsigned before = b->frames;
	size_t stream = s->len;

	peer_say(st, a, "{\"to\":\"bob\",\"content\":\"hello\"}");
	WANT(b->frames == before + 1);
	WANT(s->len > stream);
}

static void frozen(struct stage *st)
{
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"),
		    *s = peer_sse(st, "user_id=bob", ""), *h = peer_new(st), *dead = peer_ws(st, "user_id=dead"),
		    *typing = peer_new(st);

	peer_ask(st, h, "GET", "/livez", "", NULL);
	typing->asked = 1;
	peer_text(st, typing, "GET /livez HTTP/1.1\r\nHo");
	stage_pass(st, 1000);
	for (int i = 0; i < 3; i++) {
		stage_settle(st); /* time stands still: nothing comes due, and no worker spins */
		say_hello(st, a, b, s);
		if (i == 2) /* sent while the process is stopped */
			peer_text(st, typing, "st: x\r\n\r\n");
		clock_pass(600000);
		stage_settle(st);
		WANT(!a->end && !a->code && !b->end && !b->code && !s->end);
	}
	say_hello(st, a, b, s);
	stage_pass(st, 5000);
	WANT(!a->end && !a->code && !b->end && !b->code && !s->end);
	dead->silent = true;
	stage_pass(st, 8000);
	WANT(dead->code == 4408);
	say_hello(st, a, b, s);
}

static void wall_clock_steps(struct stage *st)
{
	static const int64_t hour = 3600000, year = 365 * 24 * 3600000ll;
	const int64_t steps[] = { 1000,       -1000,     hour,       -hour,      10 * year, -10 * year,
				  -10 * year, 10 * year, -56 * year, 130 * year, -74 * year };
	struct peer *a = peer_ws(st, "user_id=alice"), *b = peer_ws(st, "user_id=bob"),
		    *s = peer_sse(st, "user_id=bob", ""), *h = peer_new(st);

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		clock_step(steps[i]);
		stage_settle(st);
		say_hello(st, a, b, s);
		post(st, h, SEND, "carol", "{\"to\":\"bob\",\"content\":\"by HTTP\"}");
		WANT(h->status == 200);
		stage_pass(st, 500);
		WANT(!a->end && !a->code && !b->end && !b->code && !s->end);
	}
	peer_ask(st, h, "GET", ONLINE, "", NULL);
	WANT(h->status == 200);
	WANT(stamps_valid(b));
	WANT(stamps_valid(s));
	WANT(b->frames == 2 * sizeof steps / sizeof steps[0]);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------ */

#define CONFIG(...)                     \
	.config = (const char *const[]) \
	{                               \
		__VA_ARGS__, NULL       \
	}

const struct story stories[] = {
	{ "start and stop", .play = start_and_stop },
	{ "open a WebSocket", .play = open_websocket },
	{ "open an event stream", .play = open_event_stream },
	{ "a request byte by byte", .play = byte_by_byte },
	{ "a Unix socket whose file is left over", .play = unix_socket, .prepare = leave_a_file },
	{ "adopted sockets", .play = adopted },
	{ "more connections than allowed", .play = over_the_cap, CONFIG("performance.max_connections_per_node", "4") },
	{ "another device takes over: 4409", .play = replaced, CONFIG("max_connections_per_user", "1") },
	{ "one device too many: 409", .play = rejected,
	  CONFIG("max_connections_per_user", "1", "multi_login", "reject") },
	{ "refused by status and by close code", .play = refused_by_close_code },
	{ "an origin that is not allowed", .play = origin_refused,
	  CONFIG("websocket_origins", "https://*.good.example") },
	{ "after and Last-Event-ID", .play = resumed },
	{ "the PROXY header", .play = proxied, .tcp = true,
	  CONFIG("security.trusted_proxies", "127.0.0.1", "security.blocked_ips", "10.0.0.1") },
	{ "X-Forwarded-For", .play = forwarded, .tcp = true,
	  CONFIG("security.trusted_proxies", "127.0.0.1", "security.blocked_ips", "10.0.0.1") },
	{ "connections of an address over the rate", .play = connect_rate, .tcp = true,
	  CONFIG("security.connect_rate", "2/s") },
	{ "unicast", .play = unicast },
	{ "unicast to several devices", .play = several_devices, .tcp = true },
	{ "broadcast", .play = broadcast },
	{ "ticket messages", .play = ticket },
	{ "messages that are refused", .play = refused_messages, CONFIG("security.max_content_length", "20") },
	{ "a big message in fragments", .play = big_message },
	{ "many small messages at once", .play = many_small },
	{ "pipelined sends", .play = pipelined, .tcp = true },
	{ "a chunked body", .play = chunked },
	{ "Expect: 100-continue", .play = expects },
	{ "requests that are refused", .play = bad_requests },
	{ "slow heads and bodies", .play = slow_head },
	{ "pages of who is online", .play = online_pages },
	{ "statistics", .play = statistics },
	{ "calls of the program", .play = program_calls },
	{ "kick", .play = kicked },
	{ "a route of the program's own", .play = own_route, .prepare = mount_route },
	{ "authenticate_user, at once and pending", .play = authenticated,
	  .hooks = { .authenticate_user = hook_auth } },
	{ "on_client_connect and on_client_disconnect", .play = connect_hooks,
	  .hooks = { .on_client_connect = hook_connect, .on_client_disconnect = hook_disconnect } },
	{ "on_client_connect pending", .play = connect_pending,
	  .hooks = { .on_client_connect = hook_connect, .on_client_disconnect = hook_disconnect } },
	{ "on_message_received", .play = received_hook, .hooks = { .on_message_received = hook_received } },
	{ "on_message_received pending", .play = received_pending, .hooks = { .on_message_received = hook_received } },
	{ "a hook that takes too long", .play = pending_too_long, .hooks = { .on_message_received = hook_received } },
	{ "on_message_send and on_broadcast, with edits", .play = send_hook,
	  .hooks = { .on_message_send = hook_send, .on_broadcast = hook_send } },
	{ "on_message_send and on_broadcast pending, with edits", .play = send_pending,
	  .hooks = { .on_message_send = hook_send, .on_broadcast = hook_send } },
	{ "welcome_message", .play = welcomed, .hooks = { .welcome_message = hook_welcome } },
	{ "a slow reader: 1013", .play = slow_reader, CONFIG("message_buffer_size", "8") },
	{ "drop_oldest and its gap notice", .play = gap,
	  CONFIG("message_buffer_size", "4", "slow_consumer", "drop_oldest") },
	{ "ping and pong", .play = ping_pong },
	{ "heartbeat timeout: 4408", .play = heartbeat_timeout },
	{ "idle clients that answer pings stay", .play = answering },
	{ "a flood of control frames: 1008", .play = control_flood },
	{ "messages over the rate: 4429", .play = message_rate,
	  CONFIG("security.message_rate", "1/s", "security.message_burst", "4") },
	{ "clients close", .play = client_closes, .tcp = true },
	{ "the server closes and no client answers", .play = server_closes_and_no_client_answers },
	{ "frames that are refused", .play = bad_frames },
	{ "a reset while something is sent", .play = reset_while_sending, .tcp = true },
	{ "half-closed connections", .play = half_close, .tcp = true },
	{ "a drain with connections", .play = drained, .ends_itself = true },
	{ "a stop that does not wait", .play = cut, .ends_itself = true },
	{ "compressed messages, one copy for all", .play = compressed,
	  CONFIG("performance.enable_compression", "true", "performance.compression_min_bytes", "0") },
	{ "compressed messages, each client with a context", .play = compressed,
	  CONFIG("performance.enable_compression", "true", "performance.compression_min_bytes", "0",
		 "performance.compression_context_takeover", "true") },
	{ "TLS: a WebSocket, an event stream, a call", .play = secure,
	  CONFIG("tls.certificate", stage_certificate, "tls.key", stage_key) },
	{ "TLS: handshakes that stall, lie and break, a big message", .play = secure_and_broken,
	  CONFIG("tls.certificate", stage_certificate, "tls.key", stage_key) },
	{ "TLS: certificates are read anew", .play = certificates_anew,
	  CONFIG("tls.certificate", stage_certificate, "tls.key", stage_key) },
	{ "the process stands still for ten minutes, three times", .play = frozen },
	/* Shows: threat 134 */
	{ "the wall clock steps by a second, an hour, ten years, to the edges of time", .play = wall_clock_steps },
	{ "the log on a pipe", .play = log_to_a_pipe, .log_to_pipe = true, CONFIG("log.format", "json") },
};
const size_t nstories = sizeof stories / sizeof stories[0];
