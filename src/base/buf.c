/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf: a growing byte array. len <= cap <= BUF_MAX always holds, so sums of the two never overflow; once failed,
 * nothing is written any more. Does not know what the bytes mean.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

#define FIRST_CAP 64u

void buf_deinit(struct buf *b)
{
	mem_free(b->at);
	*b = BUF_INIT;
}

static bool grow(struct buf *b, size_t want)
{
	size_t cap = b->cap ? b->cap : FIRST_CAP;
	uint8_t *at;

	while (cap < want)
		cap *= 2;
	at = mem_realloc(b->at, cap);
	if (!at)
		return false;
	b->at = at;
	b->cap = cap;
	return true;
}

bool buf_reserve(struct buf *b, size_t n)
{
	if (b->failed)
		return false;
	if (n <= b->cap - b->len)
		return true;
	b->failed = n > BUF_MAX - b->len || !grow(b, b->len + n);
	return !b->failed;
}

void buf_add(struct buf *b, struct bytes s)
{
	if (s.len == 0 || !buf_reserve(b, s.len))
		return;
	memcpy(b->at + b->len, s.at, s.len);
	b->len += s.len;
}

void buf_add_u8(struct buf *b, uint8_t c)
{
	if (buf_reserve(b, 1))
		b->at[b->len++] = c;
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, bytes_str(s));
}

void buf_add_u64(struct buf *b, uint64_t v)
{
	uint8_t digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (uint8_t)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_add(b, bytes_of(digits + at, sizeof(digits) - at));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	/* One more for the NUL that vsnprintf always writes; it does not count in len. */
	if (n < 0 || !buf_reserve(b, (size_t)n + 1)) {
		b->failed = true;
		return;
	}
	va_start(args, fmt);
	vsnprintf((char *)b->at + b->len, (size_t)n + 1, fmt, args);
	va_end(args);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n == 0)
		return;
	b->len -= n;
	if (b->len)
		memmove(b->at, b->at + n, b->len);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}
