/* SPDX-License-Identifier: Apache-2.0 */
/* utf8: validation (Unicode 15 Table 3-7: no overlong forms, no surrogates, at most U+10FFFF), in one or many calls. */
#ifndef WSC_BASE_UTF8_H
#define WSC_BASE_UTF8_H

#include "base/bytes.h"

/* State between calls; 0 (UTF8_START) when between characters. */
typedef uint32_t utf8_state;
#define UTF8_START 0u
#define UTF8_BAD 1u

/*
 * Feeds @in; returns the new state: UTF8_START: valid so far and complete; UTF8_BAD: not valid, whatever follows; else
 * inside a character. Fails at the first byte that cannot be valid (RFC 6455 §8.1, fail fast). ASCII runs are fast.
 */
utf8_state utf8_feed(utf8_state s, struct bytes in);

static inline bool utf8_valid(struct bytes in)
{
	return utf8_feed(UTF8_START, in) == UTF8_START;
}

/* Writes code point @cp (a valid scalar value) as 1 to 4 bytes and returns how many. */
size_t utf8_put(uint8_t out[4], uint32_t cp);

/* The longest prefix of at most @max bytes that does not cut a character; @in is valid UTF-8. */
size_t utf8_prefix(struct bytes in, size_t max);

#endif
