/* SPDX-License-Identifier: Apache-2.0 */
/* client: see client.h. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_MAX 262144u
#define SLOW_FACTOR 10

struct client {
	int fd;
	bool sse, open, over;
	int status;
	unsigned code;
	size_t len; /* bytes in @in */
	char *in;
	char *text; /* the last message */
	char reason[256];
	char answer[8192];
};

/* ---- time and bytes --------------------------------------------------------------------------------------------- */

int slowly(int ms)
{
	return getenv("TEST_SLOW") ? ms * SLOW_FACTOR : ms;
}

int patience_ms(void)
{
	return slowly(5000);
}

static int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int dial(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool put(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* More bytes into @in: 1; 0: the end; -1: none until @deadline. */
static int more(int fd, char *in, size_t *len, size_t max, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left = deadline - clock_ms();
	ssize_t n;

	if (*len >= max || poll(&p, 1, left > 0 ? (int)left : 0) <= 0)
		return -1;
	n = recv(fd, in + *len, max - *len, 0);
	if (n <= 0)
		return 0;
	*len += (size_t)n;
	return 1;
}

/* ---- HTTP ------------------------------------------------------------------------------------------------------- */

static long content_length(const char *head)
{
	const char *at = strcasestr(head, "\r\ncontent-length:");

	return at ? strtol(at + 17, NULL, 10) : -1;
}

/* A head, and a body if it has a length; @in is NUL-terminated. Returns its status, 0 if it is not whole yet. */
static int whole_answer(const char *in, size_t len, size_t *size)
{
	const char *end = strstr(in, "\r\n\r\n");
	long body = end ? content_length(in) : 0;
	int status;

	if (!end || sscanf(in, "HTTP/1.1 %d ", &status) != 1)
		return 0;
	*size = (size_t)(end + 4 - in) + (body > 0 && status != 101 ? (size_t)body : 0);
	return *size <= len ? status : 0;
}

bool http_call(uint16_t port, const char *method, const char *target, const char *fields, const char *body,
	       struct answer *out)
{
	static _Thread_local char in[32768];
	int64_t deadline = clock_ms() + patience_ms();
	int fd = dial(port), n;
	size_t len = 0, size = 0;
	char *end;

	*out = (struct answer){ 0 };
	if (fd < 0)
		return false;
	n = snprintf(in, sizeof in, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, target, fields ? fields : "");
	if (body)
		n += snprintf(in + n, sizeof in - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
	n += snprintf(in + n, sizeof in - (size_t)n, "\r\n%s", body ? body : "");
	if (put(fd, in, (size_t)n)) {
		do {
			in[len] = 0;
			out->status = whole_answer(in, len, &size);
		} while (!out->status && more(fd, in, &len, sizeof in - 1, deadline) > 0);
	}
	close(fd);
	if (!out->status)
		return false;
	end = strstr(in, "\r\n\r\n");
	snprintf(out->head, sizeof out->head, "%.*s", (int)(end + 2 - in), in);
	snprintf(out->body, sizeof out->body, "%s", end + 4);
	return true;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static struct client *begin(int fd, const char *target, const char *fields, bool sse)
{
	struct client *c = calloc(1, sizeof *c);
	char head[4096];
	int n;

	if (!c || !(c->in = calloc(2, IN_MAX + 1)))
		abort();
	c->text = c->in + IN_MAX + 1;
	c->fd = fd;
	c->sse = sse;
	n = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", target,
		     sse ? ""
			 : "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		     fields ? fields : "");
	if (fd < 0 || !put(fd, head, (size_t)n))
		c->over = true;
	return c;
}

static void drop(struct client *c, size_t n)
{
	memmove(c->in, c->in + n, c->len - n);
	c->len -= n;
	c->in[c->len] = 0;
}

int client_status(struct client *c)
{
	int64_t deadline = clock_ms() + patience_ms();
	size_t size = 0;

	while (!c->status && !c->over) {
		int r;

		c->in[c->len] = 0;
		c->status = whole_answer(c->in, c->len, &size);
		if (c->status)
			break;
		r = more(c->fd, c->in, &c->len, IN_MAX, deadline);
		c->over = r == 0;
		if (r < 0)
			return 0;
	}
	if (c->status && !c->open && !c->over) {
		snprintf(c->answer, sizeof c->answer, "%.*s", (int)size, c->in);
		c->open = c->status == (c->sse ? 200 : 101);
		c->over = !c->open;
		drop(c, size);
	}
	return c->status;
}

struct client *ws_begin(uint16_t port, const char *target, const char *fields)
{
	return begin(dial(port), target, fields, false);
}

struct client *ws_over(int fd, const char *target, const char *fields)
{
	struct client *c = begin(fd, target, fields, false);

	client_status(c);
	return c;
}

struct client *ws_open(uint16_t port, const char *target, const char *fields)
{
	return ws_over(dial(port), target, fields);
}

struct client *sse_open(uint16_t port, const char *target)
{
	struct client *c = begin(dial(port), target, NULL, true);

	client_status(c);
	return c;
}

const char *client_answer(struct client *c)
{
	client_status(c);
	return c->answer;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

bool client_raw(struct client *c, const void *bytes, size_t len)
{
	return !c->over && put(c->fd, bytes, len);
}

static bool send_frame(struct client *c, unsigned opcode, const void *payload, size_t len)
{
	static const uint8_t key[4] = { 0x1b, 0x2c, 0x3d, 0x4e };
	const uint8_t *from = payload;
	uint8_t *frame = malloc(len + 14);
	size_t n = 0;
	bool ok;

	if (!frame)
		abort();
	frame[n++] = (uint8_t)(0x80 | opcode);
	if (len < 126) {
		frame[n++] = (uint8_t)(0x80 | len);
	} else {
		frame[n++] = (uint8_t)(0x80 | (len < 65536 ? 126 : 127));
		for (int i = len < 65536 ? 1 : 7; i >= 0; i--)
			frame[n++] = (uint8_t)(len >> (8 * i));
	}
	memcpy(frame + n, key, 4);
	n += 4;
	for (size_t i = 0; i < len; i++)
		frame[n++] = from[i] ^ key[i & 3];
	ok = client_raw(c, frame, n);
	free(frame);
	return ok;
}

bool client_say(struct client *c, const char *format, ...)
{
	char *text;
	va_list args;
	bool ok;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		abort();
	ok = send_frame(c, 1, text, (size_t)n);
	free(text);
	return ok;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static void ended(struct client *c, unsigned code, const char *reason, size_t len)
{
	c->over = true;
	c->code = code;
	snprintf(c->reason, sizeof c->reason, "%.*s", (int)len, reason);
}

/* Takes one frame out of @in: 1: a message in @text; 0: something else; -1: not whole. */
static int take_frame(struct client *c)
{
	const uint8_t *in = (const uint8_t *)c->in;
	size_t head = 2, len;
	unsigned opcode;

	if (c->len < 2)
		return -1;
	opcode = in[0] & 0x0f;
	len = in[1] & 0x7f;
	if (len >= 126) {
		size_t bytes = len == 126 ? 2 : 8;

		if (c->len < 2 + bytes)
			return -1;
		len = 0;
		for (size_t i = 0; i < bytes; i++)
			len = len << 8 | in[2 + i];
		head += bytes;
	}
	if (c->len - head < len || c->len < head)
		return -1;
	memcpy(c->text, in + head, len);
	c->text[len] = 0;
	drop(c, head + len);
	if (opcode == 9)
		send_frame(c, 10, c->text, len);
	if (opcode == 8) {
		const uint8_t *t = (const uint8_t *)c->text;

		send_frame(c, 8, c->text, len);
		ended(c, len >= 2 ? (unsigned)t[0] << 8 | t[1] : 1005, len >= 2 ? c->text + 2 : "",
		      len >= 2 ? len - 2 : 0);
	}
	return opcode == 1;
}

static void closed_event(struct client *c)
{
	const char *code = strstr(c->text, "\"code\":"), *why = strstr(c->text, "\"reason\":\"");

	why = why ? why + 10 : "";
	ended(c, code ? (unsigned)strtoul(code + 7, NULL, 10) : 1005, why, strcspn(why, "\""));
}

/* The same for one event: a comment or retry: is something else. */
static int take_event(struct client *c)
{
	char *end, *data;

	c->in[c->len] = 0;
	end = strstr(c->in, "\n\n");
	if (!end)
		return -1;
	*end = 0;
	data = strstr(c->in, "data: ");
	if (data && (data == c->in || data[-1] == '\n'))
		strcpy(c->text, data + 6);
	else
		data = NULL;
	drop(c, (size_t)(end + 2 - c->in));
	if (data && strstr(c->text, "\"type\":\"closed\""))
		closed_event(c);
	return data && !c->over;
}

const char *client_read(struct client *c, int ms)
{
	int64_t deadline = clock_ms() + (ms < 0 ? patience_ms() : ms);

	if (!c->open && client_status(c) != (c->sse ? 200 : 101))
		return NULL;
	while (!c->over) {
		int took = c->sse ? take_event(c) : take_frame(c), got;

		if (took == 1)
			return c->text;
		if (took == 0)
			continue;
		got = more(c->fd, c->in, &c->len, IN_MAX, deadline);
		if (got < 0)
			return NULL;
		if (got == 0)
			ended(c, 1006, "", 0);
	}
	return NULL;
}

bool client_gets(struct client *c, const char *part)
{
	const char *text = client_read(c, -1);

	if (text && strstr(text, part))
		return true;
	printf("\twanted %s\n\tgot    %s\n", part, text ? text : c->over ? "the end" : "nothing");
	return false;
}

unsigned client_end(struct client *c)
{
	int64_t deadline = clock_ms() + patience_ms();

	while (!c->over && clock_ms() < deadline)
		client_read(c, (int)(deadline - clock_ms()));
	return c->code;
}

const char *client_reason(const struct client *c)
{
	return c->reason;
}

/* ---- ending ------------------------------------------------------------------------------------------------------- */

void client_free(struct client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	free(c);
}

void client_close(struct client *c)
{
	if (c->open && !c->over && !c->sse) {
		send_frame(c, 8, "\x03\xe8", 2);
		client_end(c);
	}
	client_free(c);
}

void client_reset(struct client *c)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	client_free(c);
}
