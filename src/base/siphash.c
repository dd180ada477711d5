/* SPDX-License-Identifier: Apache-2.0 */
/*
 * siphash: one round per eight bytes, three at the end. The result is the same on every machine; equal keys and equal
 * bytes give equal hashes. A client that does not know the key cannot predict a hash.
 */
#include "base/siphash.h"

#include <endian.h>

static inline uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static inline void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* The last 0 to 7 bytes, the length in the top byte. */
static inline uint64_t last_word(const uint8_t *at, size_t left, size_t len)
{
	uint64_t word = (uint64_t)len << 56;

	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)at[i] << (8 * i);
	return word;
}

uint64_t siphash13(const uint64_t key[2], struct bytes in)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
			  key[1] ^ 0x7465646279746573 };
	size_t whole = in.len & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8) {
		uint64_t word;

		memcpy(&word, in.at + i, 8);
		absorb(v, le64toh(word));
	}
	absorb(v, last_word(whole ? in.at + whole : in.at, in.len - whole, in.len));
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
