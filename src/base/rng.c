/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng: ChaCha20 in counter mode with a 64-bit counter. Each byte is used once and in order, whatever the sizes of the
 * requests. Also makes ULIDs, which consist of the time and random bits. Reads no device and no file, only
 * getrandom(2).
 */
#include "base/rng.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

static inline uint32_t rotl(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static inline void quarter_round(uint32_t x[16], int a, int b, int c, int d)
{
	x[a] += x[b];
	x[d] = rotl(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = rotl(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = rotl(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = rotl(x[b] ^ x[c], 7);
}

/* RFC 8439 §2.3, then increments the counter. */
static void next_block(struct rng *r)
{
	uint32_t x[16];

	memcpy(x, r->state, sizeof(x));
	for (int i = 0; i < 10; i++) {
		quarter_round(x, 0, 4, 8, 12);
		quarter_round(x, 1, 5, 9, 13);
		quarter_round(x, 2, 6, 10, 14);
		quarter_round(x, 3, 7, 11, 15);
		quarter_round(x, 0, 5, 10, 15);
		quarter_round(x, 1, 6, 11, 12);
		quarter_round(x, 2, 7, 8, 13);
		quarter_round(x, 3, 4, 9, 14);
	}
	for (int i = 0; i < 16; i++)
		x[i] = htole32(x[i] + r->state[i]);
	memcpy(r->block, x, sizeof(x));
	r->used = 0;
	if (++r->state[12] == 0)
		r->state[13]++;
}

static void init(struct rng *r, const uint32_t key[8])
{
	static const uint32_t constants[4] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };

	*r = (struct rng){ .used = sizeof(r->block) };
	memcpy(r->state, constants, sizeof(constants));
	memcpy(r->state + 4, key, 32);
}

int rng_init_system(struct rng *r)
{
	uint32_t key[8];
	ssize_t n;

	do
		n = getrandom(key, sizeof(key), 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(key))
		return n < 0 ? -errno : -EIO;
	init(r, key);
	explicit_bzero(key, sizeof(key));
	return 0;
}

void rng_init_seed(struct rng *r, uint64_t seed)
{
	uint32_t key[8] = { (uint32_t)seed, (uint32_t)(seed >> 32) };

	init(r, key);
}

void rng_fill(struct rng *r, void *out, size_t n)
{
	uint8_t *at = out;

	while (n) {
		size_t take;

		if (r->used == sizeof(r->block))
			next_block(r);
		take = sizeof(r->block) - r->used;
		if (take > n)
			take = n;
		memcpy(at, r->block + r->used, take);
		r->used += (uint32_t)take;
		at += take;
		n -= take;
	}
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t v;

	rng_fill(r, &v, sizeof(v));
	return le64toh(v);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	/* Skip the lowest 2^64 mod n values, so that the number of the remaining values is a multiple of n. */
	uint64_t skip = -n % n, v;

	do
		v = rng_u64(r);
	while (v < skip);
	return v % n;
}

/* 5 bits per character, the lowest bits in the last character. */
static void put_base32(char *out, int count, uint64_t value)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

	for (; count--; value >>= 5)
		out[count] = digits[value & 31];
}

static uint64_t load_be40(const uint8_t *at)
{
	return (uint64_t)at[0] << 32 | (uint64_t)at[1] << 24 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 8 | at[4];
}

void ulid_make(struct ulid_gen *g, struct rng *r, uint64_t wall_ms, char out[ULID_LEN])
{
	if (wall_ms != g->wall_ms || !g->time_part[0]) {
		g->wall_ms = wall_ms;
		put_base32(g->time_part, sizeof(g->time_part), wall_ms & 0xffffffffffff);
		rng_fill(r, g->random, sizeof(g->random));
		/* Leaves room for 2^79 more ids in this millisecond. */
		g->random[0] &= 0x7f;
	} else {
		for (size_t i = sizeof(g->random); i-- && ++g->random[i] == 0;)
			;
	}
	memcpy(out, g->time_part, sizeof(g->time_part));
	put_base32(out + 10, 8, load_be40(g->random));
	put_base32(out + 18, 8, load_be40(g->random + 5));
}
