/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code shared by the benchmark programs: time, pinning, CPU clocks of other processes, sockets on loopback, and just
 * enough of RFC 6455 to talk to a server. It uses no code of the product, so that a bug of the product cannot hide
 * here, and yardstick and load do not change when the product does. Any failure ends the program with one line.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum {
	OP_CONTINUATION = 0,
	OP_TEXT = 1,
	OP_BINARY = 2,
	OP_CLOSE = 8,
	OP_PING = 9,
	OP_PONG = 10,

	FRAME_HEAD_MAX = 14, /* two bytes, eight of length, four of mask */
	ACCEPT_LEN = 28,     /* base64 of a SHA-1 */
};

/* A frame's head, RFC 6455 §5.2. @key is zero when the frame is not masked. */
struct frame {
	uint64_t len; /* payload bytes */
	uint32_t key; /* in the byte order of the wire */
	uint8_t head_len;
	uint8_t first; /* FIN, RSV and opcode as received */
};

/* Prints "program: ..." (die_errno adds the text of errno) and exits with code 1. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2))) void die_errno(const char *fmt, ...);

void *must_alloc(size_t count, size_t size); /* zeroed; never NULL */
void *must_grow(void *old, size_t size);     /* realloc; never NULL */
unsigned long must_number(const char *text, const char *what, unsigned long max);

uint64_t now_ns(void);               /* monotonic */
void pin_to_core(unsigned int core); /* this thread and its children; does nothing if there is no such core */
uint64_t cpu_ns_of(pid_t pid);       /* user + system time of all threads so far; 0: no such process */

/* Decodes a head. Returns 0: complete; 1: more bytes are needed. */
int frame_parse(struct frame *f, const uint8_t *at, size_t len);

/* Writes a head without mask for @len payload bytes; returns its length. @first is FIN, RSV and opcode. */
static inline size_t frame_put_head(uint8_t *to, uint8_t first, uint64_t len)
{
	size_t i;

	to[0] = first;
	if (len < 126) {
		to[1] = (uint8_t)len;
		return 2;
	}
	if (len < 65536) {
		to[1] = 126;
		to[2] = (uint8_t)(len >> 8);
		to[3] = (uint8_t)len;
		return 4;
	}
	to[1] = 127;
	for (i = 0; i < 8; i++)
		to[2 + i] = (uint8_t)(len >> (56 - 8 * i));
	return 10;
}

/* Copies @len bytes and masks them with @key, which is in the byte order of the wire. Masking twice is the identity. */
static inline void mask_copy(uint8_t *to, const uint8_t *from, size_t len, uint32_t key)
{
	uint64_t wide = key | (uint64_t)key << 32, word;
	uint8_t tail[4];
	size_t i;

	for (; len >= 8; len -= 8, to += 8, from += 8) {
		memcpy(&word, from, 8);
		word ^= wide;
		memcpy(to, &word, 8);
	}
	memcpy(tail, &key, 4);
	for (i = 0; i < len; i++)
		to[i] = from[i] ^ tail[i & 3];
}

/* RFC 6455 §4.2.2: the answer to a Sec-WebSocket-Key. Writes ACCEPT_LEN bytes without a NUL. */
void ws_accept(char out[ACCEPT_LEN], const char *key, size_t key_len);

#endif
