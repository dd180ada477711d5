/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec: SHA-1, base64 and hex; each function takes the whole input at once. No state, no allocation; the output goes
 * into the caller's buffer.
 */
#include "base/codec.h"

static inline uint32_t rotl(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

/* RFC 3174 §5: the function and constant of step @t. */
static inline uint32_t sha1_step(int t, uint32_t b, uint32_t c, uint32_t d)
{
	if (t < 20)
		return ((b & c) | (~b & d)) + 0x5a827999;
	if (t < 40)
		return (b ^ c ^ d) + 0x6ed9eba1;
	if (t < 60)
		return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
	return (b ^ c ^ d) + 0xca62c1d6;
}

static void sha1_block(uint32_t h[5], const uint8_t in[64])
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (int t = 0; t < 16; t++)
		w[t] = (uint32_t)in[4 * t] << 24 | (uint32_t)in[4 * t + 1] << 16 | (uint32_t)in[4 * t + 2] << 8 |
		       in[4 * t + 3];
	for (int t = 16; t < 80; t++)
		w[t] = rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
	for (int t = 0; t < 80; t++) {
		uint32_t next = rotl(a, 5) + sha1_step(t, b, c, d) + e + w[t];

		e = d;
		d = c;
		c = rotl(b, 30);
		b = a;
		a = next;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

static void put_be(uint8_t *out, uint64_t value, size_t count)
{
	for (; count--; value >>= 8)
		out[count] = (uint8_t)value;
}

void sha1(struct bytes in, uint8_t out[20])
{
	uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	uint64_t bits = (uint64_t)in.len * 8;
	uint8_t tail[128] = { 0 };
	size_t tail_len;

	for (; in.len >= 64; bytes_skip(&in, 64))
		sha1_block(h, in.at);
	if (in.len)
		memcpy(tail, in.at, in.len);
	tail[in.len] = 0x80;
	tail_len = in.len < 56 ? 64 : 128;
	put_be(tail + tail_len - 8, bits, 8);
	for (size_t at = 0; at < tail_len; at += 64)
		sha1_block(h, tail + at);
	for (size_t i = 0; i < 5; i++)
		put_be(out + 4 * i, h[i], 4);
}

size_t base64_encode(struct bytes in, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *at = out;

	while (in.len) {
		size_t n = in.len < 3 ? in.len : 3;
		uint32_t group = (uint32_t)in.at[0] << 16;

		if (n > 1)
			group |= (uint32_t)in.at[1] << 8;
		if (n > 2)
			group |= in.at[2];
		*at++ = digits[group >> 18];
		*at++ = digits[group >> 12 & 63];
		*at++ = n > 1 ? digits[group >> 6 & 63] : '=';
		*at++ = n > 2 ? digits[group & 63] : '=';
		bytes_skip(&in, n);
	}
	return (size_t)(at - out);
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes the first @n of four characters; their @n - 1 bytes go to @out. */
static bool base64_group(const uint8_t *in, size_t n, uint8_t *out)
{
	uint32_t group = 0;

	for (size_t i = 0; i < n; i++) {
		int value = base64_value(in[i]);

		if (value < 0)
			return false;
		group |= (uint32_t)value << (18 - 6 * i);
	}
	for (size_t i = 0; i < n - 1; i++)
		out[i] = (uint8_t)(group >> (16 - 8 * i));
	/* The unused bits must be zero, so that no two texts decode to the same bytes. */
	return (group & (0xffffffu >> (8 * (n - 1)))) == 0;
}

ptrdiff_t base64_decode(struct bytes in, uint8_t *out)
{
	uint8_t *at = out;
	size_t last;

	if (in.len % 4)
		return -1;
	if (in.len == 0)
		return 0;
	for (; in.len > 4; bytes_skip(&in, 4), at += 3)
		if (!base64_group(in.at, 4, at))
			return -1;
	last = in.at[3] != '=' ? 4 : in.at[2] != '=' ? 3 : 2;
	if (!base64_group(in.at, last, at))
		return -1;
	return at + last - 1 - out;
}

void hex_encode(struct bytes in, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.len; i++) {
		*out++ = digits[in.at[i] >> 4];
		*out++ = digits[in.at[i] & 15];
	}
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = bytes_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct bytes in, uint8_t *out)
{
	if (in.len % 2)
		return false;
	for (; in.len; bytes_skip(&in, 2)) {
		int high = hex_value(in.at[0]), low = hex_value(in.at[1]);

		if (high < 0 || low < 0)
			return false;
		*out++ = (uint8_t)(high << 4 | low);
	}
	return true;
}
