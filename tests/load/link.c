/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: WebSocket, event stream or HTTP, its handshake, and bytes both ways without ever waiting. It is
 * strict with the server: an unmasked whole text frame, one `data:` line, a 200 with a length, and nothing else.
 */
#include "chaos.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../bench/common.h"

enum { READ_SIZE = 65536, FIN_BIT = 0x80 };

uint32_t rng_next(struct rng *g)
{
	uint64_t z = (g->state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)(z >> 32);
}

/* ---- out ---- */

static uint8_t *room(struct link *k, size_t len)
{
	if (k->out_len + len > k->out_room) {
		k->out_room = 2 * (k->out_len + len);
		k->out = must_grow(k->out, k->out_room);
	}
	k->out_len += len;
	return k->out + k->out_len - len;
}

void link_put_frame(struct link *k, uint8_t first, const char *at, size_t len, uint32_t mask)
{
	uint8_t head[FRAME_HEAD_MAX], *to;
	size_t head_len = frame_put_head(head, first, len);

	head[1] |= 0x80;
	memcpy(head + head_len, &mask, sizeof(mask));
	head_len += sizeof(mask);
	to = room(k, head_len + len);
	memcpy(to, head, head_len);
	mask_copy(to + head_len, (const uint8_t *)at, len, mask);
}

/* One in eight goes out in two fragments, half of these with a ping between them. */
void link_put_text(struct link *k, struct rng *g, const char *at, size_t len)
{
	size_t cut;

	if (rng_below(g, 8) != 0) {
		link_put_frame(k, FIN_BIT | OP_TEXT, at, len, rng_next(g));
		return;
	}
	cut = rng_below(g, (uint32_t)len + 1);
	link_put_frame(k, OP_TEXT, at, cut, rng_next(g));
	if (rng_below(g, 2) == 0)
		link_put_frame(k, FIN_BIT | OP_PING, "?", 1, rng_next(g));
	link_put_frame(k, FIN_BIT | OP_CONTINUATION, at + cut, len - cut, rng_next(g));
}

void link_put_request(struct link *k, const char *call, const char *user, const char *body, size_t len)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
			 "POST /api/v1/websocket/%s HTTP/1.1\r\nHost: localhost\r\nX-User-ID: %s\r\n"
			 "Content-Length: %zu\r\n\r\n",
			 call, user, len);

	memcpy(room(k, (size_t)n), head, (size_t)n);
	memcpy(room(k, len), body, len);
	k->unanswered++;
}

static void look_for(struct link *k, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = k };

	if (events == k->events || k->state == LINK_DEAD)
		return;
	k->events = events;
	if (epoll_ctl(k->epoll, EPOLL_CTL_MOD, k->fd, &ev) < 0)
		die_errno("epoll_ctl");
}

/* One write in eight is cut somewhere, so that the server sees halves of frames and heads. */
void link_write(struct link *k, struct rng *g)
{
	size_t len = k->out_len;
	ssize_t n;

	if (len == 0 || k->state == LINK_DEAD)
		return;
	if (rng_below(g, 8) == 0)
		len = 1 + rng_below(g, (uint32_t)len);
	n = send(k->fd, k->out, len, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		die("FAILED: the server has cut a connection of %s%d: %s", k->is_source ? "s" : "r", k->owner,
		    strerror(errno));
	if (n > 0) {
		k->out_len -= (size_t)n;
		memmove(k->out, k->out + n, k->out_len);
	}
	look_for(k, EPOLLIN | (k->out_len ? EPOLLOUT : 0));
}

/* ---- its life ---- */

static int dial(unsigned int port, int rcvbuf)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die_errno("socket");
	if (rcvbuf && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) < 0)
		die_errno("setsockopt");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die_errno("connect to port %u", port);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		die_errno("setsockopt");
	return fd;
}

static void knock(struct link *k, const char *user)
{
	char head[256];
	int n;

	if (k->kind == LINK_WS)
		n = snprintf(
			head, sizeof(head),
			"GET /ws?user_id=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
			user);
	else
		n = snprintf(head, sizeof(head), "GET /sse?user_id=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", user);
	memcpy(room(k, (size_t)n), head, (size_t)n);
}

struct link *link_open(int epoll, unsigned int port, enum link_kind kind, const char *user, int rcvbuf)
{
	struct link *k = must_alloc(1, sizeof(*k));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = k };

	k->kind = kind;
	k->fd = dial(port, rcvbuf);
	k->epoll = epoll;
	k->events = EPOLLIN;
	k->state = kind == LINK_HTTP ? LINK_LIVE : LINK_OPENING;
	if (kind != LINK_HTTP)
		knock(k, user);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, k->fd, &ev) < 0)
		die_errno("epoll_ctl");
	return k;
}

void link_fin(struct link *k)
{
	if (shutdown(k->fd, SHUT_WR) < 0)
		die_errno("shutdown");
	k->state = LINK_ENDING;
}

static void hang_up(struct link *k)
{
	close(k->fd);
	k->state = LINK_DEAD;
}

void link_reset(struct link *k)
{
	struct linger now = { .l_onoff = 1 };

	if (setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) < 0)
		die_errno("setsockopt");
	hang_up(k);
}

void link_free(struct link *k)
{
	free(k->in);
	free(k->out);
	free(k);
}

/* ---- in: each function eats one thing from the front and returns its length; 0: it is not whole yet ---- */

__attribute__((noreturn)) static void stranger(const struct link *k, const char *what, const uint8_t *at, size_t len)
{
	die("FAILED: %s on a connection of %s%d: %.*s", what, k->is_source ? "s" : "r", k->owner,
	    (int)(len < 400 ? len : 400), (const char *)at);
}

static size_t head_len(const uint8_t *at, size_t len)
{
	const uint8_t *end = memmem(at, len, "\r\n\r\n", 4);

	return end ? (size_t)(end - at) + 4 : 0;
}

static size_t eat_head(struct link *k, const struct link_sink *sink, const uint8_t *at, size_t len)
{
	const char *want = k->kind == LINK_WS ? "HTTP/1.1 101 " : "HTTP/1.1 200 ";
	size_t n = head_len(at, len);

	if (n == 0)
		return 0;
	if (memcmp(at, want, strlen(want)) != 0)
		stranger(k, "refused", at, len);
	if (k->kind == LINK_WS) {
		k->state = LINK_LIVE;
		sink->live(sink->user, k);
	} else {
		k->state = LINK_LIVE; /* its first event, `connected`, makes it live for the sink */
	}
	return n;
}

static size_t eat_frame(struct link *k, const struct link_sink *sink, const uint8_t *at, size_t len)
{
	struct frame f;

	if (frame_parse(&f, at, len) || len - f.head_len < f.len)
		return 0;
	if (k->said_close)
		stranger(k, "a frame behind the close frame", at, len);
	if (f.first == (FIN_BIT | OP_CLOSE)) {
		k->said_close = true;
		if (k->state != LINK_ENDING || f.len < 2 || at[f.head_len] != 1000 / 256 ||
		    at[f.head_len + 1] != 1000 % 256)
			stranger(k, "closed by the server", at + f.head_len + 2, f.len - 2);
	} else if (f.first == (FIN_BIT | OP_TEXT) && f.key == 0) {
		sink->message(sink->user, k, (const char *)at + f.head_len, (size_t)f.len);
	} else if (f.first != (FIN_BIT | OP_PING) && f.first != (FIN_BIT | OP_PONG)) {
		stranger(k, "not a frame that a server sends", at, len);
	}
	return f.head_len + (size_t)f.len;
}

static size_t eat_event(struct link *k, const struct link_sink *sink, const uint8_t *at, size_t len)
{
	const uint8_t *end = memmem(at, len, "\n\n", 2);

	if (!end)
		return 0;
	for (len = (size_t)(end - at) + 2; at < end; at = (const uint8_t *)rawmemchr(at, '\n') + 1) {
		const char *line = (const char *)at;
		size_t n = (size_t)((const char *)rawmemchr(at, '\n') - line);

		if (*line == ':' || strncmp(line, "retry:", 6) == 0 || strncmp(line, "event:", 6) == 0)
			continue;
		if (strncmp(line, "data: {", 7) != 0)
			stranger(k, "not a line of a stream", at, n);
		if (memmem(line, n, "\"type\":\"connected\"", 18))
			sink->live(sink->user, k);
		else
			sink->message(sink->user, k, line + 6, n - 6);
	}
	return len;
}

static size_t eat_answer(struct link *k, const uint8_t *at, size_t len)
{
	size_t n = head_len(at, len), body;
	const char *field = n ? memmem(at, n, "\r\nContent-Length: ", 18) : NULL, *count;

	if (n == 0)
		return 0;
	if (memcmp(at, "HTTP/1.1 200 ", 13) != 0 || !field)
		stranger(k, "refused", at, len);
	body = strtoul(field + 18, NULL, 10);
	if (len - n < body)
		return 0;
	count = memmem(at + n, body, "\"delivered_count\":", 18);
	if (!count || strtoul(count + 18, NULL, 10) == 0 || k->unanswered == 0)
		stranger(k, "not the answer to a send", at + n, body);
	k->unanswered--;
	k->answered++;
	return n + body;
}

static size_t eat(struct link *k, const struct link_sink *sink, const uint8_t *at, size_t len)
{
	if (len == 0 || k->state == LINK_DEAD)
		return 0;
	if (k->kind == LINK_HTTP)
		return eat_answer(k, at, len);
	if (k->state == LINK_OPENING || (k->kind == LINK_WS && !k->reader.live))
		return eat_head(k, sink, at, len);
	return k->kind == LINK_WS ? eat_frame(k, sink, at, len) : eat_event(k, sink, at, len);
}

void link_read(struct link *k, const struct link_sink *sink)
{
	size_t done = 0, step;
	ssize_t n;

	if (k->in_len + READ_SIZE > k->in_room) {
		k->in_room = k->in_len + 2 * READ_SIZE;
		k->in = must_grow(k->in, k->in_room);
	}
	n = recv(k->fd, k->in + k->in_len, READ_SIZE, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		die("FAILED: the server has cut a connection of %s%d: %s", k->is_source ? "s" : "r", k->owner,
		    strerror(errno));
	k->in_len += (size_t)n;
	while ((step = eat(k, sink, k->in + done, k->in_len - done)) > 0)
		done += step;
	if (k->state == LINK_DEAD)
		return;
	k->in_len -= done;
	memmove(k->in, k->in + done, k->in_len);
	if (n == 0) {
		if (k->state != LINK_ENDING || k->in_len > 0 || k->unanswered > 0)
			stranger(k, "the server has ended it early", k->in, k->in_len);
		hang_up(k);
		sink->ended(sink->user, k);
	}
}
