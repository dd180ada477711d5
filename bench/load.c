/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load: opens many WebSocket connections to one server on loopback and measures the CPU time of that server per
 * message. It never trusts the server: each message carries its sender, its number and the time of sending, and a
 * receiver accepts only the next number of the right sender, so a lost, doubled, reordered or misdirected message ends
 * the run with an error instead of improving a figure. Every server receives the same: a payload of exactly 128 bytes.
 * A server may add what it likes around `content`. Like the servers the load reads every ready socket before it writes,
 * once per connection; it knows only three paths of the product.
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
#include <sys/socket.h>
#include <unistd.h>

enum {
	PAYLOAD = 128,  /* bytes of a message as it is sent */
	SENT_MAX = 256, /* the same in its frame, or as a request with its head */
	STAMP = 32,     /* sender, number and time in hexadecimal: the head of content */
	WINDOW_MAX = 256,
	EVENTS_MAX = 4096,
	RECV_SIZE = 256 * 1024,
	OPENING_MAX = 128,        /* connections being opened at the same moment */
	PORTS_PER_ADDRESS = 5000, /* then the next source address 127.0.0.x */
	STALL_MS = 10000,         /* the run fails after this time without an arrival while anything is due */
	BUCKETS = 64 * 32,
};

enum mode { PAIRS, HTTP, BROADCAST, IDLE, MODES };
enum phase { OPENING, WAITING, WARMING, MEASURING, DRAINING, DONE };
enum state { CONNECTING, UPGRADING, OPEN };

static const char *const mode_names[MODES] = { "pairs", "http", "broadcast", "idle" };

/* Counts of nanoseconds, 32 steps for each power of two. */
struct histogram {
	uint64_t total, count[BUCKETS];
};

struct stamp {
	uint32_t sender;
	uint32_t number;
	uint64_t sent_ns;
};

struct conn {
	int fd;
	uint32_t index; /* is also the number in its user's name */
	enum state state;
	bool http; /* it calls the API; all others are WebSockets */
	bool blocked, dirty;
	uint32_t next;     /* number of the next message it sends */
	uint32_t expected; /* number of the next message it must receive */
	uint32_t credit;   /* messages it may send now */
	uint32_t out_len, in_len;
	uint8_t *out, *in; /* unsent bytes; an incomplete frame or head */
	char *payload;     /* PAYLOAD bytes; NULL: it never sends */
};

struct options {
	enum mode mode;
	unsigned int port, connections, window, core;
	double seconds, warm_up;
	uint64_t messages; /* to send in the window; 0: as many as @seconds allow */
	pid_t pid;
	bool http_source; /* broadcasts go in over HTTP, not over the WebSocket of "src" */
	bool steps;       /* a window for each byte of standard input */
	const char *name;
};

struct load {
	struct options opt;
	int epoll;
	enum phase phase;
	struct conn *conns; /* the receivers or pairs; in a broadcast the source comes after them */
	struct conn *source;
	struct conn **dirty;
	uint32_t opened, opening, open, dirty_count;
	uint32_t seed;                /* of the mask keys */
	uint32_t arrived[WINDOW_MAX]; /* receivers that have the broadcast whose number % window is the index */
	uint32_t content_at;          /* offset of content in the last message */
	uint64_t left;                /* messages that may still be sent in this window */
	uint64_t outstanding, messages, strangers, progress_ns;
	uint64_t started_ns, window_ns, window_cpu, window_messages, own_cpu;
	struct histogram latency;
	uint8_t recv[2 * RECV_SIZE]; /* the incomplete rest of earlier bytes, then new bytes */
};

/* --- latency --- */

static void histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned int log;
	uint64_t slot = ns;

	if (ns >= 64) {
		log = 63 - (unsigned int)__builtin_clzll(ns);
		slot = (uint64_t)(log - 4) * 32 + (ns >> (log - 5) & 31);
	}
	h->count[slot]++;
	h->total++;
}

static double histogram_us(const struct histogram *h, double share)
{
	uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
	unsigned int i;

	for (i = 0; i < BUCKETS - 1; i++) {
		seen += h->count[i];
		if (seen > wanted)
			break;
	}
	if (i < 64)
		return i / 1e3;
	return (double)((uint64_t)(32 + i % 32) << (i / 32 - 1)) / 1e3;
}

/* --- messages --- */

static void put_hex(char *to, uint64_t value, unsigned int digits)
{
	while (digits--) {
		to[digits] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

static uint64_t get_hex(const uint8_t *from, unsigned int digits)
{
	uint64_t value = 0;
	unsigned int i;

	for (i = 0; i < digits; i++)
		value = value << 4 | (unsigned int)(from[i] <= '9' ? from[i] - '0' : from[i] - 'a' + 10);
	return value;
}

/* A complete message whose content begins with room for a stamp. @to is NULL for a broadcast. */
static char *payload_new(const char *to)
{
	char *payload = must_alloc(1, PAYLOAD + 1);
	int head = to ? snprintf(payload, PAYLOAD, "{\"to\":\"%s\",\"content\":\"", to)
		      : snprintf(payload, PAYLOAD, "{\"content\":\"");

	memset(payload + head, '.', (size_t)(PAYLOAD - head));
	memcpy(payload + PAYLOAD - 2, "\"}", 2);
	return payload;
}

static void payload_stamp(char *payload, const struct stamp *s)
{
	char *at = strstr(payload, "\"content\":\"") + 11;

	put_hex(at, s->sender, 8);
	put_hex(at + 8, s->number, 8);
	put_hex(at + 16, s->sent_ns, 16);
}

/* Returns false when @text has no content of ours. */
static bool read_stamp(struct load *l, struct stamp *s, const uint8_t *text, size_t len)
{
	static const char name[] = "\"content\":\"";
	const uint8_t *at = text + l->content_at;

	if (l->content_at + 11 + STAMP > len || memcmp(at, name, 11)) {
		at = memmem(text, len, name, 11);
		if (!at || (size_t)(text + len - at) < 11 + STAMP)
			return false;
		l->content_at = (uint32_t)(at - text);
	}
	at += 11;
	s->sender = (uint32_t)get_hex(at, 8);
	s->number = (uint32_t)get_hex(at + 8, 8);
	s->sent_ns = get_hex(at + 16, 16);
	return true;
}

/* --- writing --- */

static void mark_dirty(struct load *l, struct conn *c)
{
	if (c->dirty || c->blocked)
		return;
	c->dirty = true;
	l->dirty[l->dirty_count++] = c;
}

static void keep_unsent(struct conn *c, const void *bytes, size_t len)
{
	c->out = must_grow(c->out, c->out_len + len);
	memcpy(c->out + c->out_len, bytes, len);
	c->out_len += (uint32_t)len;
}

static size_t offer(struct conn *c, const void *bytes, size_t len)
{
	ssize_t sent = send(c->fd, bytes, len, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN)
		die_errno("connection %u: send", c->index);
	if (sent < 0)
		sent = 0;
	c->blocked = (size_t)sent < len;
	return (size_t)sent;
}

static uint32_t next_key(struct load *l)
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 17;
	l->seed ^= l->seed << 5;
	return l->seed;
}

static size_t put_masked(struct load *l, uint8_t *to, uint8_t opcode, const void *payload, size_t len)
{
	uint32_t key = next_key(l);
	size_t head = frame_put_head(to, 0x80 | opcode, len);

	to[1] |= 0x80;
	memcpy(to + head, &key, 4);
	mask_copy(to + head + 4, payload, len, key);
	return head + 4 + len;
}

/* The next message of @c as bytes for its socket. */
static size_t put_message(struct load *l, struct conn *c, uint8_t *to)
{
	struct stamp s = { .sender = c->index, .number = c->next++, .sent_ns = now_ns() };
	char sender[32] = "";
	int head;

	payload_stamp(c->payload, &s);
	if (!c->http)
		return put_masked(l, to, OP_TEXT, c->payload, PAYLOAD);
	if (l->opt.mode == HTTP)
		snprintf(sender, sizeof(sender), "X-User-ID: u%u\r\n", c->index);
	head = sprintf((char *)to,
		       "POST /api/v1/websocket/%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s"
		       "Content-Length: %d\r\n\r\n",
		       l->opt.mode == HTTP ? "send" : "broadcast", l->opt.port, sender, PAYLOAD);
	memcpy(to + head, c->payload, PAYLOAD);
	return (size_t)head + PAYLOAD;
}

/* Writes all messages that @c may send now with one call. */
static void flush(struct load *l, struct conn *c)
{
	uint8_t bytes[WINDOW_MAX * SENT_MAX];
	size_t len = 0, sent;

	if (c->out_len) {
		sent = offer(c, c->out, c->out_len);
		c->out_len -= (uint32_t)sent;
		memmove(c->out, c->out + sent, c->out_len);
	}
	if (c->blocked)
		return;
	for (; c->credit && l->left; c->credit--, l->left--) {
		len += put_message(l, c, bytes + len);
		l->outstanding += l->opt.mode == HTTP ? 2 : 1; /* the delivery, and the answer */
	}
	if (!len)
		return;
	sent = offer(c, bytes, len);
	if (sent < len)
		keep_unsent(c, bytes + sent, len - sent);
}

static void flush_dirty(struct load *l)
{
	uint32_t i;

	for (i = 0; i < l->dirty_count; i++) {
		l->dirty[i]->dirty = false;
		flush(l, l->dirty[i]);
	}
	l->dirty_count = 0;
}

/* --- reading --- */

static void give_credit(struct load *l, struct conn *c)
{
	c->credit++;
	mark_dirty(l, c);
}

/* An HTTP caller gets its credit with the answer. */
static void pair_arrived(struct load *l, struct conn *c, const struct stamp *s)
{
	if (s->sender != (c->index ^ 1))
		die("u%u received a message of u%u", c->index, s->sender);
	l->outstanding--;
	if (l->opt.mode == PAIRS)
		give_credit(l, l->conns + s->sender);
}

/* A broadcast is outstanding until its last receiver has it. */
static void broadcast_arrived(struct load *l, const struct stamp *s)
{
	uint32_t *arrived = &l->arrived[s->number % l->opt.window];

	if (s->sender != l->source->index)
		die("a broadcast of the wrong sender %u", s->sender);
	if (++*arrived < l->opt.connections)
		return;
	*arrived = 0;
	l->outstanding--;
	give_credit(l, l->source);
}

static void text_arrived(struct load *l, struct conn *c, const uint8_t *text, size_t len)
{
	struct stamp s;

	if (!read_stamp(l, &s, text, len)) {
		if (memmem(text, len, "\"type\":\"error\"", 14))
			die("u%u received an error: %.*s", c->index, (int)len, (const char *)text);
		l->strangers++;
		return;
	}
	if (s.number != c->expected)
		die("u%u received number %u, not %u: lost, doubled or out of order", c->index, s.number, c->expected);
	c->expected++;
	l->messages++;
	l->progress_ns = now_ns();
	if (l->phase == MEASURING)
		histogram_add(&l->latency, l->progress_ns - s.sent_ns);
	if (l->opt.mode == BROADCAST)
		broadcast_arrived(l, &s);
	else
		pair_arrived(l, c, &s);
}

static void pong(struct load *l, struct conn *c, const uint8_t *payload, size_t len)
{
	uint8_t bytes[FRAME_HEAD_MAX + 125];

	keep_unsent(c, bytes, put_masked(l, bytes, OP_PONG, payload, len));
	mark_dirty(l, c);
}

static void frame_arrived(struct load *l, struct conn *c, const struct frame *f, const uint8_t *payload)
{
	switch (f->first & 0x0f) {
	case OP_TEXT:
		text_arrived(l, c, payload, f->len);
		break;
	case OP_PING:
		pong(l, c, payload, f->len);
		break;
	case OP_CLOSE:
		die("u%u was closed with code %d", c->index, f->len < 2 ? 1005 : payload[0] << 8 | payload[1]);
	default:
		break;
	}
}

static size_t read_frames(struct load *l, struct conn *c, const uint8_t *at, size_t len)
{
	struct frame f;
	size_t used = 0;

	while (frame_parse(&f, at + used, len - used) == 0) {
		if (f.len > RECV_SIZE - FRAME_HEAD_MAX)
			die("u%u received a frame of %llu bytes", c->index, (unsigned long long)f.len);
		if (len - used < f.head_len + f.len)
			break;
		frame_arrived(l, c, &f, at + used + f.head_len);
		used += f.head_len + f.len;
	}
	return used;
}

/* The credit of a broadcast comes with its deliveries instead. */
static void answer_arrived(struct load *l, struct conn *c)
{
	if (l->opt.mode != HTTP)
		return;
	l->outstanding--;
	give_credit(l, c);
}

static size_t read_answers(struct load *l, struct conn *c, const uint8_t *at, size_t len)
{
	const uint8_t *end, *length;
	size_t used = 0, body;

	while ((end = memmem(at + used, len - used, "\r\n\r\n", 4))) {
		if (memcmp(at + used, "HTTP/1.1 200 ", 13))
			die("a call was answered: %.60s", (const char *)at + used);
		length = memmem(at + used, (size_t)(end - at) - used, "\r\nContent-Length: ", 18);
		if (!length)
			die("an answer without Content-Length");
		body = strtoul((const char *)length + 18, NULL, 10);
		if ((size_t)(at + len - end) < 4 + body)
			break;
		used = (size_t)(end - at) + 4 + body;
		answer_arrived(l, c);
	}
	return used;
}

static size_t read_upgrade(struct load *l, struct conn *c, const uint8_t *at, size_t len)
{
	const uint8_t *end = memmem(at, len, "\r\n\r\n", 4);
	size_t head;

	if (!end)
		return 0;
	head = (size_t)(end + 4 - at);
	if (memcmp(at, "HTTP/1.1 101 ", 13) || !memmem(at, head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28))
		die("u%u was not upgraded: %.*s", c->index, (int)len, (const char *)at);
	c->state = OPEN;
	l->opening--;
	l->open++;
	return head;
}

static void bytes_arrived(struct load *l, struct conn *c, const uint8_t *at, size_t len)
{
	size_t used = 0;

	if (c->state == UPGRADING)
		used = read_upgrade(l, c, at, len);
	if (c->state == OPEN && c->http)
		used += read_answers(l, c, at + used, len - used);
	else if (c->state == OPEN)
		used += read_frames(l, c, at + used, len - used);
	c->in_len = (uint32_t)(len - used);
	if (!c->in_len)
		return;
	if (c->in_len > RECV_SIZE)
		die("u%u: a head without end", c->index);
	c->in = must_grow(c->in, c->in_len);
	memcpy(c->in, at + used, c->in_len);
}

static bool read_once(struct load *l, struct conn *c)
{
	size_t kept = c->in_len;
	ssize_t got;

	if (kept)
		memcpy(l->recv, c->in, kept);
	got = recv(c->fd, l->recv + kept, RECV_SIZE, 0);
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got < 0)
		die_errno("u%u: recv", c->index);
	if (got == 0)
		die("u%u: the server hung up", c->index);
	bytes_arrived(l, c, l->recv, kept + (size_t)got);
	return got == RECV_SIZE;
}

/* --- opening --- */

static void ask_for_upgrade(struct load *l, struct conn *c)
{
	char name[16] = "src", head[400];
	int len;

	if (c != l->source)
		snprintf(name, sizeof(name), "u%u", c->index);
	len = snprintf(head, sizeof(head),
		       "GET /ws?user_id=%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
		       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		       "Sec-WebSocket-Version: 13\r\n\r\n",
		       name, l->opt.port);
	if (offer(c, head, (size_t)len) < (size_t)len)
		die("u%u: the socket does not take a request", c->index);
	c->state = UPGRADING;
}

static void connected(struct load *l, struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		errno = err;
		die_errno("u%u: connect", c->index);
	}
	if (c->http) {
		c->state = OPEN;
		l->opening--;
		l->open++;
	} else {
		ask_for_upgrade(l, c);
	}
}

/* Closing sends a reset, so that the ports are free at once for the next run. */
static void socket_options(int fd, uint32_t index)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int on = 1;

	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index / PORTS_PER_ADDRESS);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		die_errno("bind");
}

static void conn_open(struct load *l, struct conn *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)l->opt.port) };
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die_errno("socket");
	socket_options(c->fd, c->index);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		die_errno("connect");
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		die_errno("epoll_ctl");
	l->opening++;
}

static uint32_t conns_wanted(const struct load *l)
{
	return l->opt.connections + (l->opt.mode == BROADCAST);
}

static void open_some(struct load *l)
{
	while (l->opened < conns_wanted(l) && l->opening < OPENING_MAX)
		conn_open(l, l->conns + l->opened++);
}

/* --- phases --- */

/* Each byte of standard input begins a window; its end ends the run. */
static bool on_command(const struct load *l)
{
	return l->opt.steps || l->opt.mode == IDLE;
}

static void print_result(const struct load *l)
{
	double seconds = (double)l->window_ns / 1e9, cpu = (double)l->window_cpu / 1e9;
	double messages = (double)l->window_messages;

	printf("{\"server\":\"%s\",\"mode\":\"%s\",\"connections\":%u,\"window\":%u,\"messages\":%.0f,\"seconds\":%.3f,"
	       "\"server_cpu_seconds\":%.6f,\"messages_per_cpu_second\":%.0f,\"server_busy\":%.3f,\"load_busy\":%.3f,"
	       "\"p50_us\":%.1f,\"p99_us\":%.1f,\"strangers\":%llu}\n",
	       l->opt.name, mode_names[l->opt.mode], l->opt.connections, l->opt.window, messages, seconds, cpu,
	       cpu > 0 ? messages / cpu : 0, cpu / seconds, (double)l->own_cpu / 1e9 / seconds,
	       histogram_us(&l->latency, 0.5), histogram_us(&l->latency, 0.99), (unsigned long long)l->strangers);
	fflush(stdout);
}

static bool is_sender(const struct load *l, const struct conn *c)
{
	return l->opt.mode == PAIRS || (l->opt.mode == HTTP && c->http) || (l->opt.mode == BROADCAST && c == l->source);
}

static void prepare_senders(struct load *l)
{
	struct conn *c;
	char to[16];

	for (c = l->conns; c < l->conns + conns_wanted(l); c++) {
		if (!is_sender(l, c))
			continue;
		snprintf(to, sizeof(to), "u%u", c->index ^ 1);
		c->payload = payload_new(c == l->source ? NULL : to);
		c->credit = l->opt.window;
	}
}

static void begin(struct load *l, uint64_t now)
{
	struct conn *c;

	l->left = l->opt.messages ? l->opt.messages : UINT64_MAX;
	for (c = l->conns; c < l->conns + conns_wanted(l); c++) {
		if (c->payload)
			mark_dirty(l, c);
	}
	l->phase = WARMING;
	l->started_ns = l->progress_ns = now;
}

static void all_are_open(struct load *l, uint64_t now)
{
	prepare_senders(l);
	if (!on_command(l)) {
		begin(l, now);
		return;
	}
	printf("{\"up\":%u}\n", l->open);
	fflush(stdout);
	l->phase = WAITING;
}

static void start_measuring(struct load *l, uint64_t now)
{
	l->phase = MEASURING;
	memset(&l->latency, 0, sizeof(l->latency));
	l->window_ns = now;
	l->window_messages = l->messages;
	l->window_cpu = l->opt.pid ? cpu_ns_of(l->opt.pid) : 0;
	l->own_cpu = cpu_ns_of(getpid());
}

static void stop_measuring(struct load *l, uint64_t now)
{
	l->window_ns = now - l->window_ns;
	l->window_messages = l->messages - l->window_messages;
	l->window_cpu = l->opt.pid ? cpu_ns_of(l->opt.pid) - l->window_cpu : 0;
	l->own_cpu = cpu_ns_of(getpid()) - l->own_cpu;
}

static bool window_is_over(const struct load *l, uint64_t now)
{
	return l->opt.messages ? !l->left : (double)(now - l->window_ns) >= l->opt.seconds * 1e9;
}

/*
 * A window ends as it began, so that it contains the whole cost of as many messages as it counts: with a warm-up the
 * senders have all their messages outstanding at both ends, without a warm-up they have none.
 */
static void phase_advance(struct load *l)
{
	uint64_t now = now_ns();

	if (l->phase == OPENING && l->open == conns_wanted(l))
		all_are_open(l, now);
	if (l->phase == WARMING && (double)(now - l->started_ns) >= l->opt.warm_up * 1e9)
		start_measuring(l, now);
	if (l->phase == MEASURING && window_is_over(l, now)) {
		if (l->opt.warm_up > 0)
			stop_measuring(l, now);
		l->left = 0;
		l->phase = DRAINING;
	}
	if (l->phase == DRAINING && !l->outstanding) {
		if (l->opt.warm_up <= 0)
			stop_measuring(l, now);
		print_result(l);
		l->phase = on_command(l) ? WAITING : DONE;
	}
	if (now - l->progress_ns > STALL_MS * 1000000ull && (l->outstanding || l->phase == OPENING))
		die("stalled: %u open, %llu messages outstanding", l->open, (unsigned long long)l->outstanding);
}

static void conn_ready(struct load *l, struct conn *c, uint32_t events)
{
	if (events & EPOLLOUT && c->state == CONNECTING)
		connected(l, c);
	if (events & EPOLLOUT && c->blocked) {
		c->blocked = false;
		mark_dirty(l, c);
	}
	if (events & ~(uint32_t)EPOLLOUT) {
		while (read_once(l, c))
			;
	}
}

static void standard_input_ready(struct load *l)
{
	char byte;

	if (read(STDIN_FILENO, &byte, 1) <= 0)
		l->phase = DONE;
	else if (l->phase == WAITING)
		begin(l, now_ns());
}

static void turn(struct load *l)
{
	struct epoll_event events[EVENTS_MAX];
	int i, count = epoll_wait(l->epoll, events, EVENTS_MAX, 100);

	for (i = 0; i < count; i++) {
		if (events[i].data.ptr)
			conn_ready(l, events[i].data.ptr, events[i].events);
		else
			standard_input_ready(l);
	}
	if (l->phase == OPENING && l->opened < conns_wanted(l)) {
		l->progress_ns = count ? now_ns() : l->progress_ns;
		open_some(l);
	}
	phase_advance(l);
	flush_dirty(l);
}

/* --- the rest --- */

static struct load *load_new(const struct options *opt)
{
	struct load *l = must_alloc(1, sizeof(*l));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	uint32_t i;

	l->opt = *opt;
	l->seed = 2463534242u;
	l->conns = must_alloc(conns_wanted(l), sizeof(*l->conns));
	l->dirty = must_alloc(conns_wanted(l), sizeof(struct conn *));
	for (i = 0; i < conns_wanted(l); i++) {
		l->conns[i].index = i;
		l->conns[i].http = opt->mode == HTTP && i % 2 == 0;
	}
	if (opt->mode == BROADCAST) {
		l->source = l->conns + opt->connections;
		l->source->http = opt->http_source;
	}
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		die_errno("epoll_create1");
	if (on_command(l))
		epoll_ctl(l->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &ev);
	l->progress_ns = now_ns();
	return l;
}

static void usage(void)
{
	die("usage: load pairs|http|broadcast|idle --port=N [--connections=200] [--window=1] [--seconds=3] [--warm-up=1]\n"
	    "            [--messages=N] [--steps] [--pid=SERVER] [--core=1] [--source=ws|http] [--name=TEXT]");
}

static enum mode mode_of(const char *text)
{
	unsigned int i;

	for (i = 0; i < MODES; i++) {
		if (!strcmp(text, mode_names[i]))
			return (enum mode)i;
	}
	usage();
	return IDLE;
}

static double must_seconds(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 3600))
		die("'%s' is not a number of seconds from 0 to 3600", text);
	return value;
}

static void read_option(struct options *o, int letter, const char *text)
{
	switch (letter) {
	case 'p':
		o->port = (unsigned int)must_number(text, "port", 65535);
		break;
	case 'n':
		o->connections = (unsigned int)must_number(text, "connections", 60000);
		break;
	case 'w':
		o->window = (unsigned int)must_number(text, "window", WINDOW_MAX);
		break;
	case 's':
		o->seconds = must_seconds(text);
		break;
	case 'u':
		o->warm_up = must_seconds(text);
		break;
	case 'l':
		o->messages = must_number(text, "messages", 1ul << 40);
		break;
	case 'b':
		o->steps = true;
		break;
	case 'i':
		o->pid = (pid_t)must_number(text, "pid", 1 << 30);
		break;
	case 'c':
		o->core = (unsigned int)must_number(text, "core", 1023);
		break;
	case 'h':
		o->http_source = !strcmp(text, "http");
		break;
	case 'm':
		o->name = text;
		break;
	default:
		usage();
	}
}

static void read_options(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{ "port", required_argument, NULL, 'p' },     { "connections", required_argument, NULL, 'n' },
		{ "window", required_argument, NULL, 'w' },   { "seconds", required_argument, NULL, 's' },
		{ "warm-up", required_argument, NULL, 'u' },  { "pid", required_argument, NULL, 'i' },
		{ "messages", required_argument, NULL, 'l' }, { "steps", no_argument, NULL, 'b' },
		{ "core", required_argument, NULL, 'c' },     { "source", required_argument, NULL, 'h' },
		{ "name", required_argument, NULL, 'm' },     { NULL, 0, NULL, 0 },
	};
	int letter;

	if (argc < 2)
		usage();
	o->mode = mode_of(argv[1]);
	while ((letter = getopt_long(argc - 1, argv + 1, "", names, NULL)) != -1)
		read_option(o, letter, optarg);
	if (!o->port || !o->connections || !o->window || (o->mode <= HTTP && o->connections % 2))
		usage();
}

int main(int argc, char **argv)
{
	struct options opt = { .connections = 200, .window = 1, .seconds = 3, .warm_up = 1, .core = 1, .name = "" };
	struct load *l;

	read_options(&opt, argc, argv);
	pin_to_core(opt.core);
	l = load_new(&opt);
	open_some(l);
	while (l->phase != DONE)
		turn(l);
	return 0;
}
