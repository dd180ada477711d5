/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame: shared by the programs of this directory: inputs come on the standard input, each behind its length in
 * four bytes (little endian), and each is answered by one line. A program that cannot go on ends with an assert.
 */
#ifndef WSC_TESTS_ORACLES_FRAME_H
#define WSC_TESTS_ORACLES_FRAME_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The next input, in memory of exactly its size, so that a byte too far shows; the caller frees it. NULL at the end. */
static inline uint8_t *frame_read(size_t *len)
{
	uint8_t n[4], *data;

	if (fread(n, 1, 4, stdin) != 4)
		return NULL;
	*len = (size_t)n[0] | (size_t)n[1] << 8 | (size_t)n[2] << 16 | (size_t)n[3] << 24;
	data = malloc(*len ? *len : 1);
	assert(data && fread(data, 1, *len, stdin) == *len);
	return data;
}

static inline void put_hex(const uint8_t *at, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		putchar(digits[at[i] >> 4]);
		putchar(digits[at[i] & 15]);
	}
}

#endif
