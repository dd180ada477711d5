/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_fixture: workers without threads and without a listening socket, turned by hand; clients are the other ends of
 * socketpairs. The bytes that a client has received are cut into frames here, by a reader that has no line in common
 * with src/.
 */
#ifndef WSC_TESTS_UNIT_WORKER_FIXTURE_H
#define WSC_TESTS_UNIT_WORKER_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/accept.h"
#include "http/http.h"
#include "http/serve.h"
#include "submit/program.h"
#include "test.h"
#include "worker/worker.h"

#define RIG_WORKERS 4u

struct rig {
	struct settings set;
	struct hub_options hub;
	struct worker *w[RIG_WORKERS];
	unsigned n;
	unsigned long sndbuf; /* of the server's ends; 0: as it comes */
	bool by_host;         /* as with wsc_open(): due work shows on the loop's descriptor */
};

static char *rig_types[] = { (char *)(uintptr_t) "customer", (char *)(uintptr_t) "agent" };
static char *rig_origins[] = { (char *)(uintptr_t) "*" };

static int rig_post(struct settings *set, unsigned to, struct task *t, bool must)
{
	struct rig *r = set->owner;

	return worker_post_foreign(r->w[to], t, must);
}

/* Some tests hold more connections than the 1024 descriptors that a shell allows. */
static inline void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Everything at its default; change r.set and r.hub, then rig_start(). */
static inline void rig_init(struct rig *r, unsigned workers)
{
	raise_descriptor_limit();
	*r = (struct rig){ .n = workers };
	r->set.opt = (struct options){
		.heartbeat_ms = 30000,
		.client_timeout_ms = 90000,
		.sse_heartbeat_ms = 30000,
		.hook_timeout_ms = 5000,
		.header_timeout_ms = 10000,
		.max_message_bytes = 1 << 20,
		.json_depth = 64,
		.write_timeout_ms = 10000,
		.message_rate = { 0, 1, 10000 },
		.control_rate = { 0, 1, 0 },
		.user_types = { rig_types, 2 },
		.origins = { rig_origins, 1 },
	};
	r->set.log.fd = -1;
	atomic_store(&r->set.shared.spare_fd, -1);
	r->set.http = HTTP1_LIMITS;
	r->set.ws = (struct ws_limits){ 1 << 20, 1024 };
	r->set.max_connections = 100000;
	r->set.seed[0] = 1;
	r->set.seed[1] = 2;
	r->set.owner = r;
	r->set.post_foreign = rig_post;
	r->set.reasons = reasons_new();
	snprintf(r->set.node_id, sizeof r->set.node_id, "rig");
	routes_add(&r->set.routes, "GET", "/ws", &http_routes[ROUTE_WEBSOCKET], NULL, NULL);
	routes_add(&r->set.routes, "GET", "/sse", &http_routes[ROUTE_SSE], NULL, NULL);
	routes_add(&r->set.routes, "POST", "/send", &http_routes[ROUTE_SEND], NULL, NULL);
	routes_add(&r->set.routes, "GET", "/online", &http_routes[ROUTE_ONLINE], NULL, NULL);
	routes_add(&r->set.routes, "GET", "/livez", &http_routes[ROUTE_LIVEZ], NULL, NULL);
	r->hub = (struct hub_options){
		.max_messages = { 256, 100 },
		.max_queue_bytes = 2 << 20,
		.max_sessions_per_user = 8,
		.login = HUB_LOGIN_REPLACE,
		.slow = HUB_SLOW_CLOSE,
		.ask_timeout_ms = 5000,
		.max_pending = 65536,
		.seed = { 1, 2 },
	};
}

static inline void rig_start(struct rig *r)
{
	r->set.nshards = r->n;
	r->set.shards = mem_calloc(r->n, sizeof *r->set.shards);
	for (unsigned i = 0; i < r->n; i++) {
		r->w[i] = mem_aligned(64, sizeof *r->w[i]);
		r->set.shards[i] = &r->w[i]->shard;
		CHECK_EQ(worker_init(r->w[i], &r->set, i, r->w, r->n, &r->hub, NULL, 0, r->by_host), 0);
	}
}

static inline void rig_end(struct rig *r)
{
	bool any = true;

	while (any) {
		any = false;
		for (unsigned i = 0; i < r->n; i++)
			any |= worker_bury_mail(r->w[i]);
	}
	for (unsigned i = 0; i < r->n; i++)
		program_bury(&r->w[i]->shard);
	pressure_deinit(&r->set);
	CHECK_EQ(atomic_load(&r->set.shared.connections), 0);
	for (unsigned i = 0; i < r->n; i++) {
		worker_deinit(r->w[i]);
		mem_free(r->w[i]);
	}
	mem_free(r->set.shards);
	routes_deinit(&r->set.routes);
	reasons_free(r->set.reasons);
}

/* @turns of every worker, without waiting. */
static inline void rig_turn(struct rig *r, unsigned turns)
{
	while (turns--)
		for (unsigned i = 0; i < r->n; i++)
			worker_turn(r->w[i], 0);
}

/* A connection to worker @i; the client's end. */
static inline int rig_dial(struct rig *r, unsigned i)
{
	struct ip ip = { .len = 4, .at = { 127, 0, 0, 1 } };
	int fd[2], size = (int)r->sndbuf;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	if (size)
		(void)setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	atomic_fetch_add(&r->set.shared.connections, 1);
	CHECK(http_accept(&r->w[i]->shard, fd[1], &ip, false) != NULL);
	return fd[0];
}

static inline void put(int fd, const void *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	CHECK_EQ(n, (ssize_t)len);
}

static inline void put_str(int fd, const char *s)
{
	put(fd, s, strlen(s));
}

/* A client's frame; the mask is zero, which is a mask too. */
static inline void put_frame(int fd, uint8_t first, const char *payload, size_t len)
{
	uint8_t frame[70000] = { first };
	size_t at = 2;

	if (len < 126) {
		frame[1] = (uint8_t)(0x80 | len);
	} else {
		frame[1] = 0x80 | 126;
		frame[2] = (uint8_t)(len >> 8);
		frame[3] = (uint8_t)len;
		at = 4;
	}
	at += 4;
	memcpy(frame + at, payload, len);
	put(fd, frame, at + len);
}

static inline void say(int fd, const char *json)
{
	put_frame(fd, 0x81, json, strlen(json));
}

/* The bytes that a client has received. */
struct inbox {
	uint8_t *at;
	size_t len, pos, room;
	bool end; /* the server has ended its side */
};

static inline void take(struct inbox *in, int fd)
{
	ssize_t n;

	do {
		if (in->room < in->len + 65536) {
			in->room = 2 * (in->len + 65536);
			in->at = realloc(in->at, in->room);
		}
		n = recv(fd, in->at + in->len, 65536, 0);
		if (n > 0)
			in->len += (size_t)n;
	} while (n > 0);
	in->end = n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static inline void inbox_free(struct inbox *in)
{
	free(in->at);
	*in = (struct inbox){ 0 };
}

/* Passes over an HTTP head; its status, 0: none is there. */
static inline int head_status(struct inbox *in)
{
	uint8_t *end = in->len > in->pos ? memmem(in->at + in->pos, in->len - in->pos, "\r\n\r\n", 4) : NULL;
	int status = 0;

	if (!end)
		return 0;
	for (const uint8_t *p = in->at + in->pos + 9; p < end && *p >= '0' && *p <= '9'; p++)
		status = 10 * status + *p - '0';
	in->pos = (size_t)(end - in->at) + 4;
	return status;
}

/* The next frame: its first byte, 0: none is there whole. */
static inline uint8_t next_frame(struct inbox *in, struct bytes *payload)
{
	const uint8_t *p = in->at + in->pos;
	size_t left = in->len - in->pos, n, head = 2;

	if (left < 2)
		return 0;
	n = p[1];
	if (n == 126) {
		head = 4;
		n = left < 4 ? left : (size_t)p[2] << 8 | p[3];
	} else if (n == 127) {
		head = 10;
		n = left < 10 ? left : (size_t)p[6] << 24 | (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9];
	}
	if (left < head + n)
		return 0;
	*payload = bytes_of(p + head, n);
	in->pos += head + n;
	return p[0];
}

/* The code of the close frame that is next (messages before it are skipped); 0: none. */
static inline unsigned close_code(struct inbox *in)
{
	struct bytes b;
	uint8_t first;

	while ((first = next_frame(in, &b)))
		if (first == 0x88)
			return b.len >= 2 ? (unsigned)b.at[0] << 8 | b.at[1] : 1005;
	return 0;
}

static inline unsigned count_messages(struct inbox *in)
{
	struct bytes b;
	uint8_t first;
	unsigned n = 0;

	while ((first = next_frame(in, &b)))
		n += first == 0x81;
	return n;
}

static inline void ask_ws(int fd, const char *user)
{
	char head[512];

	snprintf(head, sizeof head,
		 "GET /ws?user_id=%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		 user);
	put_str(fd, head);
}

/* A WebSocket of @user on worker 0, open. */
static inline int rig_ws(struct rig *r, const char *user)
{
	struct inbox in = { 0 };
	int fd = rig_dial(r, 0);

	ask_ws(fd, user);
	for (int i = 0; i < 2000 && head_status(&in) != 101; i++) {
		in.pos = 0;
		rig_turn(r, 2);
		take(&in, fd);
	}
	CHECK(in.len > 12 && memcmp(in.at, "HTTP/1.1 101", 12) == 0);
	CHECK_EQ(in.pos, in.len);
	inbox_free(&in);
	return fd;
}

/* @n WebSockets, of name0, name1 and so on. */
static inline void rig_crowd(struct rig *r, int *fd, unsigned n, const char *name)
{
	char user[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(user, sizeof user, "%s%u", name, i);
		fd[i] = rig_ws(r, user);
	}
}

/* These clients leave without a close frame. */
static inline void rig_hang_up(struct rig *r, const int *fd, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fd[i]);
	rig_turn(r, 3);
}

/* Takes the input of @fd until the server ends its side, or for @turns. */
static inline void rig_listen(struct rig *r, struct inbox *in, int fd, unsigned turns)
{
	while (turns-- && !in->end) {
		rig_turn(r, 1);
		take(in, fd);
	}
}

/* The connection of the one session of @user, wherever it lives. */
static inline struct conn *rig_conn(struct rig *r, const char *user)
{
	struct shard *sh = &r->w[shard_of_user(&r->set, bytes_str(user))]->shard;
	struct user *u = hub_find(sh->hub, bytes_str(user));

	return u && !list_empty(&u->sessions) ? conn_of_session(container_of(u->sessions.next, struct session, of_user))
					      : NULL;
}

struct calls {
	uint64_t recv, send, wait;
};

static inline struct calls calls_of(struct rig *r, unsigned i)
{
	struct loop *l = &r->w[i]->shard.loop;

	return (struct calls){ atomic_load(&l->n_recv), atomic_load(&l->n_send), atomic_load(&l->n_wait) };
}

#endif
