/* SPDX-License-Identifier: Apache-2.0 */
/* stage: see stage.h. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/un.h>
#include <openssl/err.h>
#include <zlib.h>
#include "unit/tls_fixture.h"

#define SETTLE_ROUNDS 4000
#define TICK_MS 100u

char stage_unix_path[64], stage_address[128], stage_certificate[96], stage_key[96];

static SSL_CTX *client_tls;

void stage_names(void)
{
	struct pair_of_files files;

	snprintf(stage_unix_path, sizeof stage_unix_path, "/tmp/wsc-faults-%d.sock", getpid());
	snprintf(stage_address, sizeof stage_address, "127.0.0.1, unix:%s", stage_unix_path);
	make_files(&files, "faults", "localhost", "DNS:localhost");
	signal(SIGPIPE, SIG_IGN);
	memcpy(stage_certificate, files.certificate, sizeof stage_certificate);
	memcpy(stage_key, files.key, sizeof stage_key);
	client_tls = SSL_CTX_new(TLS_client_method());
	if (!client_tls)
		abort();
	SSL_CTX_set_mode(client_tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void stage_forget_names(void)
{
	SSL_CTX_free(client_tls);
}

/* The client's own OpenSSL calls are not the product's. -1 and EAGAIN, 0, or bytes, as from a socket. */
static ssize_t tls_result(struct peer *p, int r)
{
	int e = r > 0 ? 0 : SSL_get_error(p->ssl, r);

	ERR_clear_error();
	fault_pause(false);
	errno = e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
	return r > 0 ? r : e == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t peer_recv(struct peer *p, void *to, size_t n)
{
	if (!p->ssl)
		return REAL(recv)(p->fd, to, n, 0);
	fault_pause(true);
	ERR_clear_error();
	return tls_result(p, SSL_read(p->ssl, to, (int)n));
}

static ssize_t peer_send(struct peer *p, const void *at, size_t n)
{
	if (!p->ssl)
		return REAL(send)(p->fd, at, n, MSG_NOSIGNAL);
	fault_pause(true);
	ERR_clear_error();
	return tls_result(p, SSL_write(p->ssl, at, (int)n));
}

void peer_tls(struct peer *p)
{
	if (p->fd < 0)
		return;
	fault_pause(true);
	p->ssl = SSL_new(client_tls);
	if (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1)
		abort();
	SSL_set_connect_state(p->ssl);
	fault_pause(false);
}

static char inbox[PEERS][PEER_BYTES];

bool stage_want(struct stage *st, bool ok, const char *what)
{
	if (!ok && !st->missing)
		st->missing = what;
	return ok;
}

/* ---- the gateway ---------------------------------------------------------------------------------------------------------- */

static void on_error(void *user, const struct wsc_problem *problem)
{
	(void)problem;
	((struct stage *)user)->problems++;
}

static void on_line(void *user, const char *line, size_t len)
{
	struct stage *st = user;

	st->problems += memmem(line, len, "warn", 4) || memmem(line, len, "error", 5);
}

static const char *const defaults[] = { "node_ip",
					stage_address,
					"node_port",
					"0",
					"heartbeat_interval",
					"2s",
					"client_timeout",
					"6s",
					"sse_heartbeat",
					"2s",
					"hook_timeout",
					"1s",
					"limits.header_timeout",
					"3s",
					NULL };

static int set_all(struct wsc_config *config, const char *const *pairs)
{
	int r = 0, one;

	for (; pairs && *pairs; pairs += 2)
		if ((one = wsc_config_set(config, pairs[0], pairs[1])) < 0)
			r = one;
	return r;
}

static int raise_curtain(struct stage *st)
{
	int r;

	if (st->story->log_to_pipe)
		wsc_log_to(st->gw, st->log_fd[1], NULL, NULL);
	else
		wsc_log_to(st->gw, -1, on_line, st);
	if ((r = wsc_register_routes(st->gw)) < 0 || (r = wsc_register_api(st->gw, "/api/v1")) < 0)
		return r;
	if (st->story->prepare)
		st->story->prepare(st);
	return wsc_open(st->gw);
}

/* A refusal says why. */
static const char *judge_refusal(struct stage *st, int r)
{
	if (r == 0)
		return NULL;
	st->refused = r;
	if (r > 0 || r <= -WSC_ERROR_END)
		return "the start returned no error of ours";
	if (r != -WSC_ENOMEM && !wsc_error_text(st->gw)[0])
		return "the start failed without a word";
	return NULL;
}

bool stage_open(struct stage *st, const struct story *story, const char **why)
{
	struct wsc_hooks hooks = story->hooks;
	struct wsc_config *config;
	int r;

	*why = NULL;
	*st = (struct stage){ .story = story, .log_fd = { -1, -1 } };
	if (story->log_to_pipe && pipe2(st->log_fd, O_NONBLOCK | O_CLOEXEC) < 0)
		abort();
	hooks.user = st;
	if (!hooks.on_error)
		hooks.on_error = on_error;
	config = wsc_config_new();
	if (!config) {
		st->refused = -WSC_ENOMEM;
		return false;
	}
	r = set_all(config, defaults);
	if (r == 0)
		r = set_all(config, story->config);
	st->gw = r == 0 ? wsc_new(config, &hooks) : NULL;
	wsc_config_free(config);
	if (!st->gw) {
		st->refused = r ? r : -WSC_ENOMEM;
		if (st->refused != -WSC_ENOMEM)
			*why = "a key was refused for another reason than memory";
		return false;
	}
	r = raise_curtain(st);
	*why = judge_refusal(st, r);
	st->open = r == 0;
	return st->open;
}

/* Turns as a host program does: when the descriptor is readable. */
static bool turn_if_due(struct stage *st)
{
	struct pollfd p = { .fd = st->open ? wsc_fd(st->gw) : -1, .events = POLLIN };

	if (!st->open || REAL(poll)(&p, 1, clock_timer_expired() ? 50 : 0) != 1)
		return false;
	st->open = wsc_step(st->gw, 0) == 1;
	return true;
}

static void drain_log(struct stage *st)
{
	char line[4096];
	ssize_t n;

	while (st->log_fd[0] >= 0 && (n = REAL(read)(st->log_fd[0], line, sizeof line)) > 0)
		on_line(st, line, (size_t)n);
}

/* Waits a moment, because TCP may deliver through other threads of the kernel. */
static void linger(struct stage *st)
{
	struct pollfd p[PEERS + 1] = { { .fd = st->open ? wsc_fd(st->gw) : -1, .events = POLLIN } };

	for (unsigned i = 0; i < st->npeers; i++)
		p[i + 1] = (struct pollfd){ .fd = st->peer[i].stalled || st->peer[i].end ? -1 : st->peer[i].fd,
					    .events = POLLIN };
	(void)REAL(poll)(p, st->npeers + 1, 2);
}

void stage_settle(struct stage *st)
{
	int idle = 0;

	for (int i = 0; idle < 3 && !st->spins; i++) {
		size_t before = 0, after = 0;
		bool turned = turn_if_due(st);

		for (unsigned p = 0; p < st->npeers; p++) {
			before += st->peer[p].len + st->peer[p].end;
			peer_read(st, &st->peer[p]);
			after += st->peer[p].len + st->peer[p].end;
		}
		idle = turned || before != after ? 0 : idle + 1;
		if (idle == 1 && st->story->tcp && !st->passing)
			linger(st);
		st->spins = i > SETTLE_ROUNDS;
	}
	drain_log(st);
}

void stage_pass(struct stage *st, unsigned ms)
{
	for (unsigned at = 0; at < ms; at += TICK_MS) {
		st->passing = at + TICK_MS < ms && at % 1000 != 0;
		clock_pass(TICK_MS);
		/* A host may turn more often than it must. */
		if (st->open)
			st->open = wsc_step(st->gw, 0) == 1;
		stage_settle(st);
	}
	st->passing = false;
}

void stage_leave(struct stage *st)
{
	for (unsigned i = 0; i < st->npeers; i++)
		peer_reset(st, &st->peer[i]);
	stage_settle(st);
	memset(st->peer, 0, sizeof st->peer);
	st->npeers = 0;
}

static void finish_kept(struct stage *st)
{
	for (unsigned i = 0; i < st->nkept; i++)
		if (st->kept[i])
			wsc_finish(st->kept[i], -1, NULL);
	st->nkept = 0;
}

const char *stage_close(struct stage *st)
{
	const char *wrong = NULL;

	if (st->open && !st->story->ends_itself) {
		wsc_stop(st->gw, 3000);
		for (int i = 0; i < 60 && st->open; i++)
			stage_pass(st, TICK_MS);
		if (st->open)
			wrong = "it does not stop";
		else if (wsc_wait(st->gw) < 0)
			wrong = "wsc_wait() refuses after the stop";
	}
	finish_kept(st);
	wsc_free(st->gw);
	st->gw = NULL;
	st->open = false;
	stage_leave(st);
	if (st->log_fd[0] >= 0) {
		REAL(close)(st->log_fd[0]);
		REAL(close)(st->log_fd[1]);
	}
	if (st->outcomes != st->handed)
		wrong = "a message that was handed over has not exactly one outcome";
	if (st->answered_online != st->asked_online)
		wrong = "wsc_is_online() has not answered exactly once";
	if (st->connected != st->disconnected)
		wrong = "on_client_connect and on_client_disconnect are not equally many";
	if (st->spins && !wrong)
		wrong = "it spins: work without end while nothing comes and time stands";
	return wrong;
}

/* ---- is a client stuck, is a new client served? ----------------------------------------------------------------- */

static bool settled_http(const struct peer *p)
{
	return p->end || p->mode != PEER_HTTP || p->answered >= p->asked;
}

static bool wait_for(struct stage *st, bool (*done)(const struct peer *), const struct peer *p, unsigned ms)
{
	for (unsigned at = 0; at < ms && !done(p); at += 500)
		stage_pass(st, 500);
	return done(p);
}

static size_t mark;

static bool more_or_end(const struct peer *p)
{
	return p->end || p->len > mark;
}

static bool ended(const struct peer *p)
{
	return p->end;
}

static const char *stuck_one(struct stage *st, struct peer *p)
{
	if (p->fd < 0 || p->end)
		return NULL;
	p->stalled = false;
	stage_settle(st);
	if (!wait_for(st, settled_http, p, 20000))
		return "a request has no answer, and its connection no end";
	if (p->end)
		return NULL;
	if (p->code || p->said_close)
		return wait_for(st, ended, p, 20000) ? NULL : "a connection that was closed has no end";
	mark = p->len;
	if (p->mode == PEER_WS)
		peer_frame(st, p, 0x89, "still?", 6);
	else if (p->mode == PEER_HTTP)
		peer_ask(st, p, "GET", "/livez", "", NULL);
	return wait_for(st, more_or_end, p, 20000) ? NULL
	       : p->mode == PEER_WS                ? "a WebSocket gets neither a pong nor an end"
	       : p->mode == PEER_SSE               ? "an event stream gets neither a comment nor an end"
						   : "a kept connection gets neither an answer nor an end";
}

const char *stage_stuck(struct stage *st)
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < st->npeers && !wrong; i++)
		wrong = stuck_one(st, &st->peer[i]);
	return wrong;
}

const char *stage_serves(struct stage *st)
{
	struct peer *ann, *ben, *eva, *post;
	const char *wrong = NULL;

	stage_leave(st);
	stage_pass(st, 2000); /* a listener that had no descriptors looks again within a second */
	ann = peer_ws(st, "user_id=service-ann");
	ben = peer_ws(st, "user_id=service-ben");
	eva = peer_sse(st, "user_id=service-eva", "");
	peer_say(st, ann, "{\"to\":\"service-ben\",\"content\":\"after the fault\"}");
	post = peer_new(st);
	peer_ask(st, post, "POST", "/api/v1/websocket/send", "X-User-ID: service-ann\r\n",
		 "{\"to\":\"service-eva\",\"content\":\"after the fault too\"}");
	peer_ask(st, post, "GET", "/api/v1/websocket/stats", "", NULL);
	if (ann->mode != PEER_WS || ben->mode != PEER_WS || eva->mode != PEER_SSE)
		wrong = "afterwards: a client is not let in";
	else if (!peer_got(ben, "after the fault"))
		wrong = "afterwards: a message does not arrive";
	else if (!peer_got(eva, "after the fault too") || post->status != 200 || post->answered != 2)
		wrong = "afterwards: a call of the API fails";
	stage_leave(st);
	return wrong;
}

/* ---- clients -------------------------------------------------------------------------------------------------------------- */

static struct peer *peer_over(struct stage *st, int fd)
{
	struct peer *p;

	if (st->npeers == PEERS)
		abort();
	p = &st->peer[st->npeers++];
	*p = (struct peer){ .fd = fd, .end = fd < 0, .in = inbox[p - st->peer] };
	if (fd >= 0) {
		(void)REAL(fcntl64)(fd, F_SETFL, O_NONBLOCK);
		(void)REAL(setsockopt)(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	}
	return p;
}

static struct peer *dial(struct stage *st, const struct sockaddr *sa, socklen_t len)
{
	int fd = REAL(socket)(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		abort();
	if (!st->open || REAL(connect)(fd, sa, len) < 0) {
		REAL(close)(fd);
		fd = -1;
	}
	return peer_over(st, fd);
}

struct peer *peer_tcp(struct stage *st)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(st->gw ? wsc_port(st->gw) : 1),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return dial(st, (struct sockaddr *)&at, sizeof at);
}

struct peer *peer_new(struct stage *st)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (st->story->tcp)
		return peer_tcp(st);
	memcpy(at.sun_path, stage_unix_path, strlen(stage_unix_path) + 1);
	return dial(st, (struct sockaddr *)&at, sizeof at);
}

struct peer *peer_adopted(struct stage *st)
{
	int fd[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	descriptor_given(fd[1]);
	r = wsc_adopt(st->gw, fd[1]);
	if (r < 0)
		st->refused = r;
	return peer_over(st, fd[0]);
}

void peer_put(struct stage *st, struct peer *p, const void *bytes, size_t len)
{
	const char *at = bytes;

	for (int tries = 0; len && tries < 2000 && p->fd >= 0 && !p->end;) {
		ssize_t n = peer_send(p, at, len);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN && errno != EINTR) {
			break; /* its end is read where all ends are */
		} else {
			tries++;
			stage_settle(st);
		}
	}
}

void peer_text(struct stage *st, struct peer *p, const char *text)
{
	peer_put(st, p, text, strlen(text));
}

void peer_ask(struct stage *st, struct peer *p, const char *method, const char *target, const char *fields,
	      const char *body)
{
	char head[2048];
	int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, target, fields);

	if (body)
		n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
	n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
	p->asked++;
	peer_put(st, p, head, (size_t)n);
	if (body)
		peer_text(st, p, body);
	stage_settle(st);
}

struct peer *peer_ws_over(struct stage *st, struct peer *p, const char *target, const char *fields)
{
	char all[1024];

	snprintf(all, sizeof all,
		 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s",
		 fields);
	peer_ask(st, p, "GET", target, all, NULL);
	return p;
}

struct peer *peer_ws(struct stage *st, const char *query)
{
	char target[512];

	snprintf(target, sizeof target, "/ws?%s", query);
	return peer_ws_over(st, peer_new(st), target, "");
}

struct peer *peer_sse(struct stage *st, const char *query, const char *fields)
{
	struct peer *p = peer_new(st);
	char target[512];

	snprintf(target, sizeof target, "/sse?%s", query);
	peer_ask(st, p, "GET", target, fields, NULL);
	return p;
}

void peer_frame(struct stage *st, struct peer *p, unsigned first, const void *payload, size_t len)
{
	uint8_t head[14] = { (uint8_t)first };
	size_t n = 2;

	if (len < 126) {
		head[1] = (uint8_t)(0x80 | len);
	} else if (len < 65536) {
		head[1] = 0x80 | 126;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		n = 4;
	} else {
		head[1] = 0x80 | 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
		n = 10;
	}
	n += 4; /* the mask is zero, which is a mask too */
	peer_put(st, p, head, n);
	peer_put(st, p, payload, len);
}

void peer_say_deflated(struct stage *st, struct peer *p, const char *json)
{
	uint8_t out[1024];
	z_stream z = { .next_in = (Bytef *)(uintptr_t)json,
		       .avail_in = (uInt)strlen(json),
		       .next_out = out,
		       .avail_out = sizeof out };

	fault_pause(true);
	if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_SYNC_FLUSH) != Z_OK)
		abort();
	(void)deflateEnd(&z);
	fault_pause(false);
	peer_frame(st, p, 0xc1, out, sizeof out - z.avail_out - 4);
	stage_settle(st);
}

void peer_say(struct stage *st, struct peer *p, const char *json)
{
	peer_frame(st, p, 0x81, json, strlen(json));
	stage_settle(st);
}

void peer_close(struct stage *st, struct peer *p, unsigned code)
{
	uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	if (p->mode == PEER_WS && !p->said_close) {
		peer_frame(st, p, 0x88, payload, 2);
		p->said_close = true;
	}
	stage_settle(st);
}

void peer_reset(struct stage *st, struct peer *p)
{
	struct linger now = { .l_onoff = 1 };

	(void)st;
	if (p->fd < 0)
		return;
	(void)REAL(setsockopt)(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	REAL(close)(p->fd);
	p->fd = -1;
	p->end = true;
	fault_pause(true);
	SSL_free(p->ssl);
	fault_pause(false);
	p->ssl = NULL;
}

void peer_shut(struct stage *st, struct peer *p)
{
	if (p->fd >= 0)
		(void)REAL(shutdown)(p->fd, SHUT_WR);
	stage_settle(st);
}

/* ---- what a client reads ------------------------------------------------------------------------------------------------- */

/* One answer; false: it is not whole yet. */
static bool scan_http(struct peer *p)
{
	char *at = p->in + p->pos, *end = memmem(at, p->len - p->pos, "\r\n\r\n", 4), *field;
	size_t head, body = 0;

	if (!end)
		return false;
	*end = 0;
	head = (size_t)(end - at) + 4;
	if (sscanf(at, "HTTP/1.1 %d", &p->status) != 1)
		p->status = 0;
	field = strcasestr(at, "\r\nContent-Length:");
	if (field && p->status != 101)
		body = strtoul(field + 17, NULL, 10);
	if (strcasestr(at, "text/event-stream") && p->status == 200)
		p->mode = PEER_SSE;
	*end = '\r';
	if (p->len - p->pos < head + body)
		return false;
	p->pos += head + body;
	if (p->status == 101)
		p->mode = PEER_WS;
	p->told_no |= p->status >= 400;
	p->answered += p->status >= 101;
	return true;
}

static void on_frame(struct stage *st, struct peer *p, uint8_t first, const uint8_t *payload, size_t len)
{
	if (first == 0x81 || first == 0xc1) {
		p->frames++;
		p->told_no |= memmem(payload, len, "\"type\":\"error\"", 14) != NULL;
	} else if (first == 0x89 && !p->silent) {
		peer_frame(st, p, 0x8a, payload, len);
	} else if (first == 0x88) {
		p->code = len >= 2 ? (unsigned)payload[0] << 8 | payload[1] : 1005;
		if (!p->said_close && !p->mute)
			peer_frame(st, p, 0x88, payload, len < 2 ? 0 : 2);
		p->said_close = true;
	}
}

static bool scan_ws(struct stage *st, struct peer *p)
{
	const uint8_t *at = (uint8_t *)p->in + p->pos;
	size_t left = p->len - p->pos, head = 2, n;

	if (left < 2)
		return false;
	n = at[1];
	if (n == 126) {
		head = 4;
		n = left < 4 ? left : (size_t)at[2] << 8 | at[3];
	} else if (n == 127) {
		head = 10;
		n = left < 10 ? left : (size_t)at[6] << 24 | (size_t)at[7] << 16 | (size_t)at[8] << 8 | at[9];
	}
	if (left < head + n)
		return false;
	p->pos += head + n;
	on_frame(st, p, at[0], at + head, n);
	return true;
}

static void scan(struct stage *st, struct peer *p)
{
	bool more = true;

	while (more && p->pos < p->len)
		more = p->mode == PEER_HTTP ? scan_http(p) : p->mode == PEER_WS ? scan_ws(st, p) : false;
}

void peer_read(struct stage *st, struct peer *p)
{
	ssize_t n = 1;

	if (p->fd < 0 || p->end || p->stalled)
		return;
	while (n > 0 && p->len < PEER_BYTES) {
		n = peer_recv(p, p->in + p->len, PEER_BYTES - p->len);
		if (n > 0)
			p->len += (size_t)n;
	}
	p->end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || p->len == PEER_BYTES;
	scan(st, p);
}

bool peer_got(const struct peer *p, const char *part)
{
	return memmem(p->in, p->len, part, strlen(part));
}

/* ---- the program ---------------------------------------------------------------------------------------------------------- */

static void on_done(void *user, const struct wsc_outcome *outcome)
{
	struct stage *st = user;

	st->outcomes++;
	st->delivered += outcome->delivered_count;
	if (outcome->error)
		st->refused = outcome->error;
}

static void handed(struct stage *st, int r)
{
	if (r == 0)
		st->handed++;
	else
		st->refused = r;
	stage_settle(st);
}

void program_send(struct stage *st, const struct wsc_message *m)
{
	handed(st, wsc_send(st->gw, m, on_done, st));
}

void program_broadcast(struct stage *st, const struct wsc_message *m)
{
	handed(st, wsc_broadcast(st->gw, m, on_done, st));
}

void program_kick(struct stage *st, const char *user, const char *reason)
{
	handed(st, wsc_kick(st->gw, user, reason, on_done, st));
}

int program_keep(struct stage *st, struct wsc_call *call)
{
	struct wsc_pending *p = st->nkept < KEPT ? wsc_defer(call) : NULL;

	if (!p)
		return -1;
	st->kept[st->nkept++] = p;
	return WSC_PENDING;
}
