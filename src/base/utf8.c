/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8: the state inside a character is the allowed range of the next byte and the number of bytes still to come.
 * Nothing else is kept between calls, so the input may be cut anywhere. Knows bytes, not what they mean.
 */
#include "base/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * The next byte is in @low .. @high and is the first of @left. Never UTF8_START or UTF8_BAD, since low is at least
 * 0x80.
 */
#define EXPECT(low, high, left) ((utf8_state)(low) << 16 | (utf8_state)(high) << 8 | (utf8_state)(left))

/* A lead byte that is not ASCII. Each row is one of Table 3-7. */
static utf8_state lead(uint8_t c)
{
	if (c < 0xc2)
		return UTF8_BAD;
	if (c < 0xe0)
		return EXPECT(0x80, 0xbf, 1);
	if (c == 0xe0)
		return EXPECT(0xa0, 0xbf, 2);
	if (c == 0xed)
		return EXPECT(0x80, 0x9f, 2);
	if (c < 0xf0)
		return EXPECT(0x80, 0xbf, 2);
	if (c == 0xf0)
		return EXPECT(0x90, 0xbf, 3);
	if (c < 0xf4)
		return EXPECT(0x80, 0xbf, 3);
	return c == 0xf4 ? EXPECT(0x80, 0x8f, 3) : UTF8_BAD;
}

static utf8_state continuation(utf8_state s, uint8_t c)
{
	uint32_t left = s & 0xff;

	if (c < s >> 16 || c > (s >> 8 & 0xff))
		return UTF8_BAD;
	return left == 1 ? UTF8_START : EXPECT(0x80, 0xbf, left - 1);
}

/* Skips whole blocks of ASCII; stops at a block that is not all ASCII, or at a last block that is short. */
static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
#ifdef __SSE2__
	for (; end - at >= 32; at += 32) {
		__m128i a = _mm_loadu_si128((const __m128i *)(const void *)at);
		__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(at + 16));

		if (_mm_movemask_epi8(_mm_or_si128(a, b)))
			break;
	}
#endif
	for (; end - at >= 8; at += 8) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		if (word & 0x8080808080808080)
			break;
	}
	return at;
}

utf8_state utf8_feed(utf8_state s, struct bytes in)
{
	const uint8_t *at = in.at, *end = in.len ? in.at + in.len : in.at;

	while (at < end && s != UTF8_BAD) {
		if (s != UTF8_START) {
			s = continuation(s, *at++);
		} else if (*at >= 0x80) {
			s = lead(*at++);
		} else {
			const uint8_t *skipped = skip_ascii(at, end);

			at = skipped > at ? skipped : at + 1;
		}
	}
	return s;
}

size_t utf8_put(uint8_t out[4], uint32_t cp)
{
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (uint8_t)(0xc0 | cp >> 6);
		out[1] = (uint8_t)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (uint8_t)(0xe0 | cp >> 12);
		out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | cp >> 18);
	out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (cp & 0x3f));
	return 4;
}

size_t utf8_prefix(struct bytes in, size_t max)
{
	if (in.len <= max)
		return in.len;
	while (max && (in.at[max] & 0xc0) == 0x80)
		max--;
	return max;
}
