/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick: a bare epoll loop that moves WebSocket frames from one socket to another. Users u0 and u1 are a pair,
 * u2 and u3 the next; a frame goes to the partner, a frame from the user "src" goes to everybody else. It unmasks and
 * frames again and does nothing more: no JSON, no limits, no timers, no statistics, only a minimal closing handshake.
 * It has one thread. In a turn it reads every ready socket once, then sends once on each connection that has output;
 * sockets are registered once, edge-triggered. It is as fast as a loop of this shape can be, so that a server measured
 * beside it shows the cost of its own work.
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_MAX = 4096,
	ACCEPTS_MAX = 256, /* in one turn */
	RECV_SIZE = 64 * 1024,
	FRAME_MAX = RECV_SIZE - FRAME_HEAD_MAX,
	USERS_MAX = 65536,
	WAITING_MAX = 16 * 1024 * 1024, /* a connection with more unsent bytes is closed */
};

enum state { READING_HEAD, OPEN, CLOSED };

struct conn {
	int fd;
	uint32_t place; /* in forwarder.conns */
	struct conn *partner;
	uint8_t *out, *in; /* unsent bytes; an incomplete frame or head */
	uint32_t out_len, out_room, in_len;
	uint32_t user; /* USERS_MAX: the source */
	enum state state;
	bool blocked; /* the socket accepted fewer bytes than offered */
	bool dirty;   /* is in forwarder.dirty */
};

struct forwarder {
	int epoll, listener;
	struct conn **conns, **dirty, **dead; /* room for conns_max each */
	uint32_t conns_count, conns_max, dirty_count, dead_count;
	struct conn *users[USERS_MAX];
	uint8_t *everybody; /* frames of this turn for all but the source */
	size_t everybody_len, everybody_room;
	uint8_t recv[2 * RECV_SIZE]; /* the incomplete rest of earlier bytes, then new bytes */
};

static int listen_on(unsigned int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd, on = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die_errno("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 4096) < 0)
		die_errno("port %u", port);
	return fd;
}

static void watch(struct forwarder *fw, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	if (epoll_ctl(fw->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		die_errno("epoll_ctl");
}

static struct forwarder *forwarder_new(unsigned int port)
{
	struct forwarder *fw = must_alloc(1, sizeof(*fw));
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	fw->conns_max = (uint32_t)files.rlim_cur;
	fw->conns = must_alloc(fw->conns_max, sizeof(*fw->conns));
	fw->dirty = must_alloc(fw->conns_max, sizeof(*fw->dirty));
	fw->dead = must_alloc(fw->conns_max, sizeof(*fw->dead));
	fw->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (fw->epoll < 0)
		die_errno("epoll_create1");
	fw->listener = listen_on(port);
	watch(fw, fw->listener, EPOLLIN, NULL);
	return fw;
}

/* The memory is freed at the end of the turn, because later events of the same turn may still point here. */
static void conn_close(struct forwarder *fw, struct conn *c)
{
	if (c->state == CLOSED)
		return;
	if (c->state == OPEN && c->user < USERS_MAX && fw->users[c->user] == c)
		fw->users[c->user] = NULL;
	if (c->partner)
		c->partner->partner = NULL;
	c->partner = NULL;
	c->state = CLOSED;
	close(c->fd);
	fw->conns[c->place] = fw->conns[--fw->conns_count];
	fw->conns[c->place]->place = c->place;
	fw->dead[fw->dead_count++] = c;
}

static void bury_the_dead(struct forwarder *fw)
{
	while (fw->dead_count) {
		struct conn *c = fw->dead[--fw->dead_count];

		free(c->in);
		free(c->out);
		free(c);
	}
}

static void accept_some(struct forwarder *fw)
{
	struct conn *c;
	int i, fd;

	for (i = 0; i < ACCEPTS_MAX && fw->conns_count < fw->conns_max; i++) {
		fd = accept4(fw->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		c = must_alloc(1, sizeof(*c));
		c->fd = fd;
		c->place = fw->conns_count;
		fw->conns[fw->conns_count++] = c;
		watch(fw, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c);
	}
}

static void mark_dirty(struct forwarder *fw, struct conn *c)
{
	if (c->dirty || c->blocked)
		return;
	c->dirty = true;
	fw->dirty[fw->dirty_count++] = c;
}

/* Makes room for @len more bytes after out_len. */
static uint8_t *out_reserve(struct conn *c, size_t len)
{
	size_t need = c->out_len + len;

	if (need > c->out_room) {
		c->out_room = (uint32_t)(need * 2);
		c->out = must_grow(c->out, c->out_room);
	}
	return c->out + c->out_len;
}

static void queue(struct forwarder *fw, struct conn *c, const void *bytes, size_t len)
{
	if (c->state == CLOSED)
		return;
	if (c->out_len + len > WAITING_MAX) {
		conn_close(fw, c);
		return;
	}
	memcpy(out_reserve(c, len), bytes, len);
	c->out_len += (uint32_t)len;
	mark_dirty(fw, c);
}

static void queue_frame(struct forwarder *fw, struct conn *c, const struct frame *f, uint8_t first,
			const uint8_t *payload)
{
	size_t head;
	uint8_t *to;

	if (c->out_len + f->len > WAITING_MAX) {
		conn_close(fw, c);
		return;
	}
	to = out_reserve(c, f->len + FRAME_HEAD_MAX);
	head = frame_put_head(to, first, f->len);
	mask_copy(to + head, payload, f->len, f->key);
	c->out_len += (uint32_t)(head + f->len);
	mark_dirty(fw, c);
}

static void queue_for_everybody(struct forwarder *fw, const struct frame *f, const uint8_t *payload)
{
	size_t need = fw->everybody_len + f->len + FRAME_HEAD_MAX;
	uint8_t *to;

	if (need > fw->everybody_room) {
		fw->everybody_room = need * 2;
		fw->everybody = must_grow(fw->everybody, fw->everybody_room);
	}
	to = fw->everybody + fw->everybody_len;
	to += frame_put_head(to, f->first, f->len);
	mask_copy(to, payload, f->len, f->key);
	fw->everybody_len = (size_t)(to - fw->everybody) + f->len;
}

static void frame_arrived(struct forwarder *fw, struct conn *c, const struct frame *f, const uint8_t *payload)
{
	switch (f->first & 0x0f) {
	case OP_CONTINUATION:
	case OP_TEXT:
	case OP_BINARY:
		if (c->partner)
			queue_frame(fw, c->partner, f, f->first, payload);
		else if (c->user == USERS_MAX)
			queue_for_everybody(fw, f, payload);
		break;
	case OP_PING:
		queue_frame(fw, c, f, 0x80 | OP_PONG, payload);
		break;
	case OP_CLOSE:
		conn_close(fw, c);
		break;
	default:
		break;
	}
}

/* Returns the number of bytes in complete frames. */
static size_t read_frames(struct forwarder *fw, struct conn *c, const uint8_t *at, size_t len)
{
	struct frame f;
	size_t used = 0;

	while (c->state == OPEN && frame_parse(&f, at + used, len - used) == 0) {
		if (f.len > FRAME_MAX) {
			conn_close(fw, c);
			break;
		}
		if (len - used < f.head_len + f.len)
			break;
		frame_arrived(fw, c, &f, at + used + f.head_len);
		used += f.head_len + f.len;
	}
	return used;
}

/* Returns the number of user_id=u17, USERS_MAX for user_id=src, USERS_MAX + 1 if there is none. */
static uint32_t user_of(const char *head)
{
	const char *at = strstr(head, "user_id=");
	unsigned long user;
	char *end;

	if (!at)
		return USERS_MAX + 1;
	at += strlen("user_id=");
	if (!strncmp(at, "src", 3))
		return USERS_MAX;
	user = strtoul(at + 1, &end, 10);
	return end > at + 1 && user < USERS_MAX ? (uint32_t)user : USERS_MAX + 1;
}

static void join(struct forwarder *fw, struct conn *c)
{
	struct conn *partner;

	if (c->user >= USERS_MAX)
		return;
	partner = fw->users[c->user ^ 1];
	fw->users[c->user] = c;
	if (partner && !partner->partner) {
		c->partner = partner;
		partner->partner = c;
	}
}

static void upgrade(struct forwarder *fw, struct conn *c, const char *head, const char *key)
{
	char answer[160] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			   "Sec-WebSocket-Accept: ";
	size_t len = strlen(answer);

	c->user = user_of(head);
	if (c->user > USERS_MAX || (c->user < USERS_MAX && fw->users[c->user])) {
		conn_close(fw, c);
		return;
	}
	ws_accept(answer + len, key, strcspn(key, " \r"));
	memcpy(answer + len + ACCEPT_LEN, "\r\n\r\n", 4);
	queue(fw, c, answer, len + ACCEPT_LEN + 4);
	c->state = OPEN;
	join(fw, c);
}

/* Answers an upgrade or /livez; closes on any other request. Returns the length of the head, 0 if it is incomplete. */
static size_t read_head(struct forwarder *fw, struct conn *c, uint8_t *at, size_t len)
{
	static const char alive[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	static const char key_name[] = "sec-websocket-key:";
	char *head = (char *)at, *end, *key;

	end = memmem(at, len, "\r\n\r\n", 4);
	if (!end)
		return 0;
	end[2] = '\0';
	key = strcasestr(head, key_name);
	if (key) {
		key += strlen(key_name);
		upgrade(fw, c, head, key + strspn(key, " "));
	} else if (!strncmp(head, "GET /livez ", 11)) {
		queue(fw, c, alive, strlen(alive));
	} else {
		conn_close(fw, c);
	}
	return (size_t)(end + 4 - head);
}

static void keep_rest(struct forwarder *fw, struct conn *c, const uint8_t *at, size_t len)
{
	if (c->state == CLOSED || !len)
		return;
	if (len > RECV_SIZE) {
		conn_close(fw, c);
		return;
	}
	c->in = must_grow(c->in, len);
	memcpy(c->in, at, len);
	c->in_len = (uint32_t)len;
}

static void bytes_arrived(struct forwarder *fw, struct conn *c, uint8_t *at, size_t len)
{
	size_t used = 0;

	while (c->state == READING_HEAD && used < len) {
		size_t head = read_head(fw, c, at + used, len - used);

		if (!head)
			break;
		used += head;
	}
	if (c->state == OPEN)
		used += read_frames(fw, c, at + used, len - used);
	keep_rest(fw, c, at + used, len - used);
}

/* A short read means that the socket is empty, so only a full read is repeated. Returns false at end of file. */
static bool read_once(struct forwarder *fw, struct conn *c, bool *more)
{
	size_t kept = c->in_len;
	ssize_t got;

	if (kept)
		memcpy(fw->recv, c->in, kept);
	got = recv(c->fd, fw->recv + kept, RECV_SIZE, 0);
	*more = got == RECV_SIZE;
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return false;
	c->in_len = 0;
	bytes_arrived(fw, c, fw->recv, kept + (size_t)got);
	return true;
}

static void conn_ready(struct forwarder *fw, struct conn *c, uint32_t events)
{
	bool more = true;

	if (events & EPOLLOUT && c->blocked) {
		c->blocked = false;
		mark_dirty(fw, c);
	}
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	while (c->state != CLOSED && more) {
		if (!read_once(fw, c, &more))
			conn_close(fw, c);
	}
	if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		conn_close(fw, c);
}

/* One send. Returns the number of bytes that the socket accepted. */
static size_t offer(struct forwarder *fw, struct conn *c, const uint8_t *at, size_t len)
{
	ssize_t sent = send(c->fd, at, len, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		conn_close(fw, c);
		return 0;
	}
	if (sent < 0)
		sent = 0;
	c->blocked = (size_t)sent < len;
	return (size_t)sent;
}

static void flush_dirty(struct forwarder *fw)
{
	uint32_t i;

	for (i = 0; i < fw->dirty_count; i++) {
		struct conn *c = fw->dirty[i];
		size_t sent;

		c->dirty = false;
		if (c->state == CLOSED || !c->out_len)
			continue;
		sent = offer(fw, c, c->out, c->out_len);
		c->out_len -= (uint32_t)sent;
		if (c->out_len)
			memmove(c->out, c->out + sent, c->out_len);
	}
	fw->dirty_count = 0;
}

/*
 * A connection without other output gets the shared bytes directly, without a copy. The loop runs backwards, because a
 * failed send removes its connection.
 */
static void flush_everybody(struct forwarder *fw)
{
	uint32_t i;

	for (i = fw->conns_count; i-- > 0;) {
		struct conn *c = fw->conns[i];
		size_t sent = 0;

		if (c->state != OPEN || c->user == USERS_MAX)
			continue;
		if (!c->blocked && !c->out_len)
			sent = offer(fw, c, fw->everybody, fw->everybody_len);
		if (sent < fw->everybody_len)
			queue(fw, c, fw->everybody + sent, fw->everybody_len - sent);
	}
	fw->everybody_len = 0;
}

static void turn(struct forwarder *fw)
{
	struct epoll_event events[EVENTS_MAX];
	int i, count = epoll_wait(fw->epoll, events, EVENTS_MAX, -1);

	for (i = 0; i < count; i++) {
		struct conn *c = events[i].data.ptr;

		if (!c)
			accept_some(fw);
		else if (c->state != CLOSED)
			conn_ready(fw, c, events[i].events);
	}
	if (fw->everybody_len)
		flush_everybody(fw);
	flush_dirty(fw);
	bury_the_dead(fw);
}

int main(int argc, char **argv)
{
	struct forwarder *fw;

	if (argc != 2)
		die("usage: forwarder PORT");
	fw = forwarder_new((unsigned int)must_number(argv[1], "port", 65535));
	for (;;)
		turn(fw);
}
