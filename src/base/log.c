/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: a line is built on the stack from parts; each part is written whole or not at all. The first part that does not
 * fit cuts the line: only the ending is written after it, and there is always room for the ending. So a line is
 * well-formed however long its fields are. No allocation, no lock; the only state is the count of dropped lines.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

/* For the longest ending: ellipsis, quote, truncated mark, brace, newline. */
#define ENDING 32
#define ELLIPSIS "\xe2\x80\xa6"

struct line {
	char at[LOG_LINE_MAX];
	size_t len;
	bool json;
	bool cut;
};

static void put(struct line *l, struct bytes part)
{
	l->cut |= l->len + part.len > sizeof(l->at) - ENDING;
	if (l->cut)
		return;
	memcpy(l->at + l->len, part.at, part.len);
	l->len += part.len;
}

static void put_str(struct line *l, const char *s)
{
	put(l, bytes_str(s));
}

/* Uses the ENDING bytes that put() leaves free. */
static void put_ending(struct line *l, struct bytes part)
{
	memcpy(l->at + l->len, part.at, part.len);
	l->len += part.len;
}

/* Characters */

/* Takes one character off @in. Takes one byte and returns false when the bytes there are not valid UTF-8. */
static bool take_char(struct bytes *in, struct bytes *c)
{
	utf8_state s = UTF8_START;
	size_t n = 0;

	do
		s = utf8_feed(s, bytes_of(in->at + n++, 1));
	while (s != UTF8_START && s != UTF8_BAD && n < in->len);
	*c = bytes_of(in->at, s == UTF8_START ? n : 1);
	bytes_skip(in, c->len);
	return s == UTF8_START;
}

/* Is the valid character @c (of two or three bytes) a C1 control, a line separator or a bidirectional control? */
static bool is_control(struct bytes c, uint32_t *cp)
{
	if (c.len == 2)
		*cp = (uint32_t)(c.at[0] & 0x1f) << 6 | (c.at[1] & 0x3f);
	else if (c.len == 3)
		*cp = (uint32_t)(c.at[0] & 0x0f) << 12 | (uint32_t)(c.at[1] & 0x3f) << 6 | (c.at[2] & 0x3f);
	else
		return false;
	return *cp < 0xa0 || *cp == 0x200e || *cp == 0x200f || (*cp >= 0x2028 && *cp <= 0x202e) ||
	       (*cp >= 0x2066 && *cp <= 0x2069);
}

static void put_escape(struct line *l, const char *mark, uint32_t value, int digits)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%s%0*" PRIx32, mark, digits, value);

	put(l, bytes_of(text, (size_t)n));
}

static void put_ascii(struct line *l, uint8_t c)
{
	static const char named[] = "\"\"\\\\\nn\rr\tt";
	const char *name = NULL;

	for (size_t i = 0; i < sizeof(named) - 1; i += 2)
		if (named[i] == (char)c)
			name = &named[i + 1];
	if (name)
		put(l, bytes_of((const char[]){ '\\', *name }, 2));
	else if (c >= 0x20 && c != 0x7f)
		put(l, bytes_of(&c, 1));
	else if (l->json)
		put_escape(l, "\\u", c, 4);
	else
		put_escape(l, "\\x", c, 2);
}

/* Takes one character off @text and writes it, escaped if necessary. */
static void put_next_char(struct line *l, struct bytes *text)
{
	struct bytes c;
	uint32_t cp;

	if (!take_char(text, &c)) {
		if (l->json)
			put_str(l, "\\ufffd");
		else
			put_escape(l, "\\x", c.at[0], 2);
	} else if (c.len == 1) {
		put_ascii(l, c.at[0]);
	} else if (is_control(c, &cp)) {
		put_escape(l, "\\u", cp, 4);
	} else {
		put(l, c);
	}
}

/* Each byte of @text makes at least one byte of the line, so even a huge text is read only up to the line's limit. */
static void put_escaped(struct line *l, struct bytes text)
{
	while (text.len && !l->cut)
		put_next_char(l, &text);
	if (l->cut)
		put_ending(l, BYTES(ELLIPSIS));
}

/* May a text line hold @text as it is, without quotes? */
static bool is_plain(struct bytes text)
{
	struct bytes c;
	uint32_t cp;

	if (text.len == 0 || text.len > LOG_LINE_MAX)
		return false;
	while (text.len) {
		if (!take_char(&text, &c) || is_control(c, &cp))
			return false;
		if (c.len == 1 && (c.at[0] <= ' ' || c.at[0] == 0x7f || strchr("\"\\=", c.at[0])))
			return false;
	}
	return true;
}

/* False when there was no room for the first byte. */
static bool put_text(struct line *l, struct bytes text)
{
	bool quotes = l->json || !is_plain(text);

	if (quotes)
		put_str(l, "\"");
	if (l->cut)
		return false;
	put_escaped(l, text);
	if (quotes)
		put_ending(l, BYTES("\""));
	return true;
}

/* Fields */

/* False when there was no room; a string may be cut. */
static bool put_value(struct line *l, const struct log_field *f)
{
	char text[24];

	switch (f->kind) {
	case LOG_FIELD_STR:
		return put_text(l, f->str);
	case LOG_FIELD_U64:
		snprintf(text, sizeof(text), "%" PRIu64, f->num);
		break;
	case LOG_FIELD_I64:
		snprintf(text, sizeof(text), "%" PRId64, (int64_t)f->num);
		break;
	case LOG_FIELD_BOOL:
		snprintf(text, sizeof(text), "%s", f->num ? "true" : "false");
		break;
	}
	put_str(l, text);
	return !l->cut;
}

static void put_field(struct line *l, const struct log_field *f)
{
	size_t before = l->len;

	if (l->cut)
		return;
	put_str(l, l->json ? ",\"" : " ");
	put_str(l, f->key);
	put_str(l, l->json ? "\":" : "=");
	if (put_value(l, f))
		return;
	l->len = before;
	if (!l->json)
		put_ending(l, BYTES(" " ELLIPSIS));
}

/* Lines */

static uint64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec < 0 ? 0 : (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void put_head(struct line *l, enum log_level level, const char *what)
{
	static const char names[][6] = { "debug", "info", "warn", "error" };
	static const char padded[][7] = { "debug ", "info  ", "warn  ", "error " };
	char stamp[RFC3339_LEN];

	rfc3339_format(wall_ms(), stamp);
	put_str(l, l->json ? "{\"time\":\"" : "");
	put(l, bytes_of(stamp, sizeof(stamp)));
	put_str(l, l->json ? "\",\"level\":\"" : " ");
	put_str(l, l->json ? names[level] : padded[level]);
	put_str(l, l->json ? "\",\"msg\":" : "");
	if (l->json)
		put_text(l, bytes_str(what));
	else
		put_escaped(l, bytes_str(what));
}

static void put_end(struct line *l)
{
	if (!l->json)
		return;
	if (l->cut)
		put_ending(l, BYTES(",\"truncated\":true"));
	put_ending(l, BYTES("}"));
}

static void format(struct line *l, enum log_level level, const char *what, const struct log_field *fields, size_t n,
		   uint64_t dropped)
{
	put_head(l, level, what);
	if (!l->json && !l->cut && (n || dropped))
		put_str(l, " ");
	if (dropped)
		put_field(l, &KV_U64("lines_dropped", dropped));
	for (size_t i = 0; i < n; i++)
		put_field(l, &fields[i]);
	put_end(l);
}

/* Writes the whole line without waiting; false when that was not possible. */
static bool write_line(int fd, const struct line *l)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	/*
	 * Other processes may share this terminal or pipe, so we do not make it non-blocking. poll() also tells when a
	 * pipe has no reader any more; a write to it would raise SIGPIPE.
	 */
	if (poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT)
		return false;
	do
		n = write(fd, l->at, l->len);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)l->len;
}

void log_write(struct log *lg, enum log_level level, const char *what, const struct log_field *fields, size_t n)
{
	int saved = errno;
	uint64_t dropped;
	struct line l;

	if (level < lg->level || (lg->fd < 0 && !lg->sink))
		return;
	l.len = 0; /* not an initializer: that would clear 4 KiB for each line */
	l.json = lg->format == LOG_JSON;
	l.cut = false;
	dropped = atomic_exchange_explicit(&lg->shared.dropped, 0, memory_order_relaxed);
	format(&l, level, what, fields, n, dropped);
	if (lg->sink) {
		lg->sink(lg->user, level, l.at, l.len);
	} else {
		put_ending(&l, BYTES("\n"));
		if (!write_line(lg->fd, &l))
			atomic_fetch_add_explicit(&lg->shared.dropped, dropped + 1, memory_order_relaxed);
	}
	errno = saved;
}
