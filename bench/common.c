/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers of the benchmark programs; see common.h.
 */
#include "common.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

__attribute__((format(printf, 1, 0))) static void complain(const char *fmt, va_list args)
{
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, args);
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void die_errno(const char *fmt, ...)
{
	int err = errno;
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(1);
}

void *must_alloc(size_t count, size_t size)
{
	void *at = calloc(count, size);

	if (!at)
		die("out of memory");
	return at;
}

void *must_grow(void *old, size_t size)
{
	void *at = realloc(old, size);

	if (!at)
		die("out of memory");
	return at;
}

unsigned long must_number(const char *text, const char *what, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max)
		die("%s: '%s' is not a number from 0 to %lu", what, text, max);
	return value;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void pin_to_core(unsigned int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		fprintf(stderr, "%s: core %u: %s, not pinned\n", program_invocation_short_name, core, strerror(errno));
}

/* utime + stime of /proc/PID/stat, but not rounded to hundredths of a second. */
uint64_t cpu_ns_of(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int frame_parse(struct frame *f, const uint8_t *at, size_t len)
{
	size_t head = 2, i, ext;

	if (len < head)
		return 1;
	f->len = at[1] & 0x7f;
	ext = f->len < 126 ? 0 : f->len == 126 ? 2 : 8;
	head += ext + (at[1] & 0x80 ? 4 : 0);
	if (len < head)
		return 1;
	for (i = 0; i < ext; i++)
		f->len = (i ? f->len << 8 : 0) | at[2 + i];
	f->key = 0;
	if (at[1] & 0x80)
		memcpy(&f->key, at + head - 4, 4);
	f->first = at[0];
	f->head_len = (uint8_t)head;
	return 0;
}

static uint32_t rol(uint32_t x, unsigned int n)
{
	return x << n | x >> (32 - n);
}

static void sha1_expand(uint32_t w[80], const uint8_t *block)
{
	size_t i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
		       (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
}

/* FIPS 180-4 §6.1.2 */
static void sha1_block(uint32_t h[5], const uint8_t *block)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, t;
	size_t i;

	sha1_expand(w, block);
	for (i = 0; i < 80; i++) {
		if (i < 20)
			f = ((b & c) | (~b & d)) + 0x5a827999;
		else if (i < 40)
			f = (b ^ c ^ d) + 0x6ed9eba1;
		else if (i < 60)
			f = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
		else
			f = (b ^ c ^ d) + 0xca62c1d6;
		t = rol(a, 5) + f + e + w[i];
		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

/* @text must be shorter than two blocks; a key with the fixed id of RFC 6455 always is. */
static void sha1(uint8_t out[20], const uint8_t *text, size_t len)
{
	uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	uint8_t blocks[128] = { 0 };
	size_t total = len < 56 ? 64 : 128, i;

	memcpy(blocks, text, len);
	blocks[len] = 0x80;
	blocks[total - 2] = (uint8_t)(len >> 5);
	blocks[total - 1] = (uint8_t)(len << 3);
	for (i = 0; i < total; i += 64)
		sha1_block(h, blocks + i);
	for (i = 0; i < 20; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_20(char out[ACCEPT_LEN], const uint8_t in[20])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t padded[21] = { 0 };
	size_t i;

	memcpy(padded, in, 20);
	for (i = 0; i < 7; i++) {
		const uint8_t *p = padded + 3 * i;

		out[4 * i] = digits[p[0] >> 2];
		out[4 * i + 1] = digits[(p[0] & 3) << 4 | p[1] >> 4];
		out[4 * i + 2] = digits[(p[1] & 15) << 2 | p[2] >> 6];
		out[4 * i + 3] = digits[p[2] & 63];
	}
	out[27] = '=';
}

void ws_accept(char out[ACCEPT_LEN], const char *key, size_t key_len)
{
	static const char id[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t text[64 + sizeof(id)], digest[20];

	if (key_len > 64)
		key_len = 64;
	memcpy(text, key, key_len);
	memcpy(text + key_len, id, sizeof(id) - 1);
	sha1(digest, text, key_len + sizeof(id) - 1);
	base64_of_20(out, digest);
}
