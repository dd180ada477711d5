/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd: many clients of one kind against a gateway on loopback, in one process, so that thousands of them cost little
 * of the processor that the gateway needs too. It judges nothing: it acts as its kind, notes when each connection began
 * and ended, and writes figures as JSON lines. Uses nothing of the product.
 *
 *   crowd KIND PORT COUNT      reads lines from its standard input: "mark" writes the figures so far (of a probe: since the
 *                              last mark), the end of input writes them once more and ends it
 *
 *   heads    a head whose end never comes, a byte a second           bodies   the same with a body
 *   mute     nothing at all                                          stalled  a WebSocket whose client does not read
 *   streams  an event stream whose client does not read              resets   connects, sends a part, sends RST
 *   messages, pings, fragments, empties, requests                    floods: as fast as they are taken, answers are read
 *   readers  a WebSocket that only reads                             listeners  an event stream that reads
 *   deaf     requests without end, answers are not read              knocks   connects, reads the answer, leaves
 *   probe    so many ordinary pairs of users, 80 messages a second each; figures in microseconds from send to receipt
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../bench/common.h"

#define BLOCK 65536
#define OPEN_AT_ONCE 100 /* connects between two looks at the others */
#define FEED_MESSAGES 16 /* to each client that does not read */
#define FEED_BYTES 16000
#define PROBE_NS 12500000u /* between two messages of a pair: 80 a second, within the rate */
#define RESETS_PER_TICK 10 /* a tick is 10 ms */
#define TICK_NS 10000000u
#define MS 1000000u

enum { KEEPS_READING = 1, FLOODS = 2, DRIPS = 4, STALLS = 8, WEBSOCKET = 16, RESETS = 32, KNOCKS = 64 };

struct kind {
	const char *name;
	unsigned flags;
	const char *request, *rest; /* between them the number of the connection; without a rest there is none */
	const char *unit;           /* a flood repeats it */
	size_t unit_len;
};

#define UPGRADE                                                                                                      \
	" HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define UNIT(s) s, sizeof(s) - 1
#define MASK "\0\0\0\0"

static const struct kind kinds[] = {
	{ "heads", DRIPS, "GET /ws?user_id=u", " HTTP/1.1\r\nX-Slow: ", NULL, 0 },
	{ "bodies", DRIPS, "POST /api/v1/websocket/broadcast?",
	  " HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", NULL, 0 },
	{ "mute", 0, "", NULL, NULL, 0 },
	{ "stalled", STALLS | WEBSOCKET, "GET /ws?user_id=still", UPGRADE, NULL, 0 },
	{ "streams", STALLS, "GET /sse?user_id=still", " HTTP/1.1\r\nHost: localhost\r\n\r\n", NULL, 0 },
	{ "messages", FLOODS | KEEPS_READING | WEBSOCKET, "GET /ws?user_id=loud", UPGRADE,
	  UNIT("\x81\x9c" MASK "{\"to\":\"nobody\",\"content\":\"\"}") },
	{ "pings", FLOODS | KEEPS_READING | WEBSOCKET, "GET /ws?user_id=ping", UPGRADE, UNIT("\x89\x80" MASK) },
	{ "fragments", FLOODS | KEEPS_READING | WEBSOCKET, "GET /ws?user_id=part", UPGRADE, UNIT("\x00\x81" MASK "x") },
	{ "empties", FLOODS | KEEPS_READING | WEBSOCKET, "GET /ws?user_id=none", UPGRADE, UNIT("\x81\x80" MASK) },
	{ "requests", FLOODS | KEEPS_READING, "", NULL, UNIT("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") },
	{ "deaf", FLOODS, "", NULL, UNIT("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") },
	{ "readers", KEEPS_READING | WEBSOCKET, "GET /ws?user_id=reader", UPGRADE, NULL, 0 },
	{ "listeners", KEEPS_READING, "GET /sse?user_id=listener", " HTTP/1.1\r\nHost: localhost\r\n\r\n", NULL, 0 },
	{ "resets", RESETS, "", NULL, NULL, 0 },
	{ "knocks", KNOCKS | KEEPS_READING, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, NULL,
	  0 },
};

struct peer {
	int fd;  /* -1: gone, or not there yet */
	bool up; /* the head of the answer is whole */
	uint32_t events;
	uint64_t came, acted;
	uint8_t tail[4]; /* of the head, while it comes */
	size_t at;       /* in the unit of a flood */
};

struct crowd {
	const struct kind *kind;
	unsigned port, count, opened, up, gone, failed, status_503, status_408;
	int epoll;
	struct peer *peers;
	uint64_t began, fed, shortest, longest; /* lives, in ns; of clients that do not read from the end of the feed */
	uint64_t bytes_out, bytes_in, tick;
	unsigned drip;
	uint8_t *block;
	size_t block_len;
};

/* ---- sockets ---- */

static int dial(const struct crowd *c, int rcvbuf)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)c->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		die_errno("socket");
	if (rcvbuf)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		die_errno("connect");
	return fd;
}

static void watch(struct crowd *c, struct peer *p, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = p };

	if (p->events == events)
		return;
	if (epoll_ctl(c->epoll, p->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->fd, &ev) < 0)
		die_errno("epoll_ctl");
	p->events = events;
}

static void open_peer(struct crowd *c, struct peer *p)
{
	char request[512];
	bool deaf = c->kind->flags & FLOODS && !(c->kind->flags & KEEPS_READING);
	const char *rest = c->kind->rest;
	int n = rest ? snprintf(request, sizeof request, "%s%u%s", c->kind->request, (unsigned)(p - c->peers), rest)
		     : snprintf(request, sizeof request, "%s", c->kind->request);

	*p = (struct peer){ .fd = dial(c, c->kind->flags & STALLS ? 2048 : deaf ? 32768 : 0), .came = now_ns() };
	p->acted = p->came;
	c->opened++;
	if (n > 0 && send(p->fd, request, (size_t)n, MSG_NOSIGNAL) != n && errno != EAGAIN)
		c->failed++;
	c->bytes_out += (uint64_t)n;
	/* On loopback a connect is done at once; a backlog that is full is waited for like an answer. */
	watch(c, p, EPOLLIN | EPOLLRDHUP | (c->kind->flags & FLOODS && !(c->kind->flags & WEBSOCKET) ? EPOLLOUT : 0));
}

static void forget(struct crowd *c, struct peer *p)
{
	uint64_t life = now_ns() - (c->fed ? c->fed : p->came);

	close(p->fd);
	p->fd = -1;
	c->gone++;
	c->shortest = c->shortest && c->shortest < life ? c->shortest : life;
	c->longest = c->longest > life ? c->longest : life;
}

static void reset(struct peer *p)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* ---- actions ---- */

/* A head is over at an empty line, which may come in parts. */
static void look_for_head(struct crowd *c, struct peer *p, const uint8_t *at, size_t len)
{
	if (p->tail[0] == 0 && len >= 12) {
		c->status_503 += memcmp(at + 9, "503", 3) == 0;
		c->status_408 += memcmp(at + 9, "408", 3) == 0;
	}
	for (size_t i = 0; i < len && !p->up; i++) {
		memmove(p->tail, p->tail + 1, 3);
		p->tail[3] = at[i];
		p->up = memcmp(p->tail, "\r\n\r\n", 4) == 0;
	}
	if (!p->up)
		return;
	c->up++;
	if (c->kind->flags & STALLS)
		watch(c, p, EPOLLRDHUP | EPOLLET); /* reset and end still show */
	else if (c->kind->flags & FLOODS)
		watch(c, p, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

static void take(struct crowd *c, struct peer *p)
{
	static uint8_t in[BLOCK];
	ssize_t n = recv(p->fd, in, p->up || !(c->kind->flags & STALLS) ? sizeof in : 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		forget(c, p);
		return;
	}
	c->bytes_in += (uint64_t)n;
	if (!p->up)
		look_for_head(c, p, in, (size_t)n);
}

static void pour(struct crowd *c, struct peer *p)
{
	ssize_t n = send(p->fd, c->block + p->at, c->block_len - p->at, MSG_NOSIGNAL);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		forget(c, p);
		return;
	}
	c->bytes_out += (uint64_t)n;
	p->at = (p->at + (size_t)n) % c->block_len;
}

/* Reads the bytes that have come before it notes the end: they may hold the reason. */
static void on_event(struct crowd *c, struct peer *p, uint32_t events)
{
	const uint32_t over = EPOLLRDHUP | EPOLLERR | EPOLLHUP;
	unsigned flags = c->kind->flags;

	if (p->fd < 0)
		return;
	if (flags & STALLS && p->up) {
		if (events & over)
			forget(c, p);
		return;
	}
	if (events & EPOLLIN && flags & FLOODS && !(flags & KEEPS_READING) && !(events & over))
		watch(c, p, p->events & ~(uint32_t)EPOLLIN);
	else if (events & (EPOLLIN | over))
		take(c, p);
	if (p->fd >= 0 && events & EPOLLOUT && flags & FLOODS)
		pour(c, p);
}

/* A hundredth of them each tick, so that each acts once a second. */
static void drip_some(struct crowd *c)
{
	for (unsigned i = c->drip++ % 100; i < c->opened && i < c->count; i += 100)
		if (c->peers[i].fd >= 0)
			(void)!send(c->peers[i].fd, "x", 1, MSG_NOSIGNAL);
}

/* Clients that send RST, in each state of a connection. */
static void churn(struct crowd *c)
{
	static const char *const said[] = {
		"",
		"GET /ws?us",
		"GET /ws?user_id=torn" UPGRADE,
		"GET /ws?user_id=torn" UPGRADE "\x81\xfe\x10",
		"POST /api/v1/websocket/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
		"GET /sse?user_id=torn HTTP/1.1\r\nHost: x\r\n\r\n"
	};

	for (unsigned i = 0; i < RESETS_PER_TICK; i++) {
		struct peer *p = &c->peers[c->opened % c->count];
		const char *text = said[c->opened % 6];

		if (c->opened >= c->count) {
			reset(p);
			forget(c, p);
		}
		*p = (struct peer){ .fd = dial(c, 0), .came = now_ns() };
		(void)!send(p->fd, text, strlen(text), MSG_NOSIGNAL);
		c->opened++;
	}
}

/* Sends each client that does not read more than its kernel takes, over one connection. */
static void feed(struct crowd *c)
{
	static char body[FEED_BYTES + 200], head[256], answer[BLOCK];
	int fd = dial(c, 0);

	(void)fcntl(fd, F_SETFL, 0);
	for (unsigned i = 0; i < c->count * FEED_MESSAGES; i++) {
		int n = snprintf(body, sizeof body, "{\"to\":\"still%u\",\"content\":\"%0*d\"}", i % c->count,
				 FEED_BYTES, 7);
		int h = snprintf(
			head, sizeof head,
			"POST /api/v1/websocket/send HTTP/1.1\r\nHost: x\r\nX-User-ID: feeder\r\nContent-Length: %d\r\n\r\n",
			n);

		if (send(fd, head, (size_t)h, MSG_NOSIGNAL | MSG_MORE) != h ||
		    send(fd, body, (size_t)n, MSG_NOSIGNAL) != n)
			die_errno("feed");
		(void)!recv(fd, answer, sizeof answer, i % 8 ? MSG_DONTWAIT : 0);
	}
	close(fd);
}

/* ---- figures ---- */

static void figures(const struct crowd *c)
{
	printf("{\"kind\":\"%s\",\"opened\":%u,\"up\":%u,\"gone\":%u,\"failed\":%u,\"status_503\":%u,\"status_408\":%u,"
	       "\"shortest_ms\":%llu,\"longest_ms\":%llu,\"bytes_out\":%llu,\"bytes_in\":%llu,\"ms\":%llu}\n",
	       c->kind->name, c->opened, c->up, c->gone, c->failed, c->status_503, c->status_408,
	       (unsigned long long)(c->shortest / MS), (unsigned long long)(c->longest / MS),
	       (unsigned long long)c->bytes_out, (unsigned long long)c->bytes_in,
	       (unsigned long long)((now_ns() - c->began) / MS));
	fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void latencies(uint32_t *us, size_t n, uint64_t under_way)
{
	qsort(us, n, sizeof *us, by_value);
	printf("{\"kind\":\"probe\",\"messages\":%zu,\"under_way\":%llu,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
	       n, (unsigned long long)under_way, n ? us[n / 2] : 0, n ? us[n - 1 - n / 100] : 0, n ? us[n - 1] : 0);
	fflush(stdout);
}

/* 1: "mark"; 0: nothing yet; -1: the end. */
static int asked(void)
{
	char line[64];
	ssize_t n = read(STDIN_FILENO, line, sizeof line);

	return n > 0 ? 1 : n == 0 ? -1 : 0;
}

/* ---- the crowd ---- */

/* A client that got its answer leaves, and another connects. */
static void knock_again(struct crowd *c)
{
	for (unsigned i = 0; i < c->count && i < c->opened; i++)
		if (c->peers[i].fd < 0)
			open_peer(c, &c->peers[i]);
}

static void on_tick(struct crowd *c)
{
	unsigned flags = c->kind->flags, most = flags & RESETS ? 0 : OPEN_AT_ONCE;

	for (unsigned i = 0; i < most && c->opened < c->count; i++)
		open_peer(c, &c->peers[c->opened]);
	if (flags & DRIPS)
		drip_some(c);
	if (flags & RESETS)
		churn(c);
	if (flags & KNOCKS)
		knock_again(c);
}

static void run(struct crowd *c)
{
	struct epoll_event ev[1024];
	int want = 0, n;

	c->began = c->tick = now_ns();
	while (want >= 0) {
		n = epoll_wait(c->epoll, ev, 1024, 5);
		for (int i = 0; i < n; i++)
			on_event(c, ev[i].data.ptr, ev[i].events);
		if (now_ns() - c->tick >= TICK_NS) {
			c->tick = now_ns();
			on_tick(c);
		}
		if (c->kind->flags & STALLS && c->up == c->count && !c->fed) {
			feed(c);
			c->fed = now_ns();
			printf("{\"fed\":%u}\n", c->count);
			fflush(stdout);
		}
		want = asked();
		if (want > 0)
			figures(c);
	}
	figures(c);
}

static void fill_block(struct crowd *c)
{
	const struct kind *k = c->kind;

	if (!k->unit)
		return;
	c->block = must_alloc(BLOCK, 1);
	for (; c->block_len + k->unit_len <= BLOCK; c->block_len += k->unit_len)
		memcpy(c->block + c->block_len, k->unit, k->unit_len);
	if (c->block[0] == 0)
		c->block[0] = OP_TEXT; /* before the first continuation */
}

/* ---- the pairs ---- */

static int pair_socket(const struct crowd *c, char side, unsigned n)
{
	char request[512], byte, tail[4] = "";
	int fd = dial(c, 0), len = snprintf(request, sizeof request, "GET /ws?user_id=probe-%c%u%s", side, n, UPGRADE);

	(void)fcntl(fd, F_SETFL, 0);
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		die_errno("probe");
	while (memcmp(tail, "\r\n\r\n", 4) != 0) {
		if (recv(fd, &byte, 1, 0) != 1)
			die_errno("probe: no answer");
		memmove(tail, tail + 1, 3);
		tail[3] = byte;
	}
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void say_time(int fd, unsigned n)
{
	char frame[128] = "\x81", text[100];
	int len = snprintf(text, sizeof text, "{\"to\":\"probe-b%u\",\"content\":\"@%020llu@\"}", n,
			   (unsigned long long)now_ns());

	frame[1] = (char)(0x80 | len);
	memset(frame + 2, 0, 4);
	memcpy(frame + 6, text, (size_t)len);
	if (send(fd, frame, (size_t)len + 6, MSG_NOSIGNAL) != len + 6)
		die_errno("probe: a sender was cut off");
}

struct listener {
	int fd;
	size_t len;
	uint8_t in[4096];
};

/* Every complete time is a sample; the rest is kept for the next read. */
static size_t hear(struct listener *l, uint32_t *us)
{
	ssize_t got = recv(l->fd, l->in + l->len, sizeof l->in - l->len, 0);
	size_t n = 0, done = 0;
	uint64_t now = now_ns();
	uint8_t *found;

	if (got == 0 || (got < 0 && errno != EAGAIN))
		die_errno("probe: a listener was cut off");
	l->len += got > 0 ? (size_t)got : 0;
	while ((found = memchr(l->in + done, '@', l->len - done)) && (size_t)(l->in + l->len - found) >= 22) {
		if (found[21] == '@')
			us[n++] = (uint32_t)((now - strtoull((char *)found + 1, NULL, 10)) / 1000);
		done = (size_t)(found - l->in) + 22;
	}
	if (!found)
		done = l->len;
	l->len -= done;
	memmove(l->in, l->in + done, l->len);
	return n;
}

/* The senders are not read: the gateway sends them nothing as long as all is well. */
static void probe(const struct crowd *c)
{
	static uint32_t us[1 << 20];
	struct listener *to = must_alloc(c->count, sizeof *to);
	int *from = must_alloc(c->count, sizeof *from), ep = epoll_create1(0), want = 0;
	uint64_t next = now_ns(), sent = 0, heard = 0;
	struct epoll_event ev[64];
	size_t n = 0;

	for (unsigned i = 0; i < c->count; i++) {
		from[i] = pair_socket(c, 'a', i);
		to[i].fd = pair_socket(c, 'b', i);
		ev[0] = (struct epoll_event){ .events = EPOLLIN, .data.ptr = &to[i] };
		(void)epoll_ctl(ep, EPOLL_CTL_ADD, to[i].fd, &ev[0]);
	}
	for (unsigned turn = 0; want >= 0;) {
		int ready = epoll_wait(ep, ev, 64, 1);

		for (int i = 0; i < ready; i++)
			n += hear(ev[i].data.ptr, us + n);
		while (now_ns() >= next) {
			say_time(from[turn], turn);
			turn = (turn + 1) % c->count;
			sent++;
			next += PROBE_NS / c->count;
		}
		want = n + 10000 < sizeof us / sizeof *us ? asked() : -1;
		if (want > 0) {
			heard += n;
			latencies(us, n, sent - heard);
			n = 0;
		}
	}
	latencies(us, n, sent - heard - n);
	free(to);
	free(from);
}

int main(int argc, char **argv)
{
	struct crowd c = { 0 };

	if (argc != 4)
		die("usage: crowd KIND PORT COUNT");
	c.port = (unsigned)must_number(argv[2], "port", 65535);
	c.count = (unsigned)must_number(argv[3], "count", 1000000);
	(void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	if (strcmp(argv[1], "probe") == 0) {
		probe(&c);
		return 0;
	}
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, argv[1]) == 0)
			c.kind = &kinds[i];
	if (!c.kind)
		die("no kind %s", argv[1]);
	c.epoll = epoll_create1(EPOLL_CLOEXEC);
	c.peers = must_alloc(c.count, sizeof *c.peers);
	for (unsigned i = 0; i < c.count; i++)
		c.peers[i].fd = -1;
	fill_block(&c);
	run(&c);
	free(c.peers);
	free(c.block);
	return 0;
}
