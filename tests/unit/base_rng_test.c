/* SPDX-License-Identifier: Apache-2.0 */
/* The generator against RFC 8439, and the ULIDs that are drawn from it. */
#include "base/rng.h"
#include "test.h"

/* Shows: threat 29 */
TEST(the_block_is_that_of_rfc_8439)
{
	/* §2.3.2: key 00 .. 1f, nonce 00 00 00 09 00 00 00 4a 00 00 00 00, counter 1. */
	struct rng r = { .state = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 0x03020100, 0x07060504, 0x0b0a0908,
				    0x0f0e0d0c, 0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c, 1, 0x09000000,
				    0x4a000000, 0 },
			 .used = 64 };
	uint8_t out[64];

	rng_fill(&r, out, sizeof(out));
	CHECK_BYTES(bytes_of(out, 64), "\x10\xf1\xe7\xe4\xd1\x3b\x59\x15\x50\x0f\xdd\x1f\xa3\x20\x71\xc4"
				       "\xc7\xd1\xf4\xc7\x33\xc0\x68\x03\x04\x22\xaa\x9a\xc3\xd4\x6c\x4e"
				       "\xd2\x82\x64\x46\x07\x9f\xaa\x09\x14\xc2\xd7\x05\xd9\x8b\x02\xa2"
				       "\xb5\x12\x9c\xd1\xde\x16\x4e\xb9\xcb\xd0\x83\xe8\xa2\x50\x3c\x4e");
}

TEST(a_zero_seed_gives_the_key_stream_of_the_zero_key)
{
	/* RFC 8439 appendix A.1, vectors 1 and 2: counters 0 and 1. */
	struct rng r;
	uint8_t out[128];

	rng_init_seed(&r, 0);
	rng_fill(&r, out, sizeof(out));
	CHECK_BYTES(bytes_of(out, 16), "\x76\xb8\xe0\xad\xa0\xf1\x3d\x90\x40\x5d\x6a\xe5\x53\x86\xbd\x28");
	CHECK_BYTES(bytes_of(out + 64, 16), "\x9f\x07\xe7\xbe\x55\x51\x38\x7a\x98\xba\x97\x7c\x73\x2d\x08\x0d");
}

TEST(bytes_are_the_same_however_they_are_asked_for)
{
	struct rng a, b;
	uint8_t whole[1000], pieces[1000];

	rng_init_seed(&a, 42);
	rng_init_seed(&b, 42);
	rng_fill(&a, whole, sizeof(whole));
	for (size_t at = 0, n = 0; at < sizeof(pieces); at += n, n = n % 150 + 1)
		rng_fill(&b, pieces + at, n < sizeof(pieces) - at ? n : sizeof(pieces) - at);
	CHECK(memcmp(whole, pieces, sizeof(whole)) == 0);
}

TEST(other_seeds_give_other_bytes)
{
	struct rng a, b, c, d;

	rng_init_seed(&a, 1);
	rng_init_seed(&b, 1ull << 32);
	CHECK(rng_u64(&a) != rng_u64(&b));
	CHECK_EQ(rng_init_system(&c), 0);
	CHECK_EQ(rng_init_system(&d), 0);
	CHECK(rng_u64(&c) != rng_u64(&d));
}

TEST(the_counter_carries_into_its_high_half)
{
	struct rng r;
	uint8_t out[65];

	rng_init_seed(&r, 1);
	r.state[12] = UINT32_MAX;
	rng_fill(&r, out, sizeof(out));
	CHECK_EQ(r.state[12], 1);
	CHECK_EQ(r.state[13], 1);
}

TEST(below_stays_below_and_leaves_nothing_out)
{
	struct rng r;
	uint32_t seen[10] = { 0 };

	rng_init_seed(&r, 3);
	for (int i = 0; i < 10000; i++) {
		uint64_t v = rng_below(&r, 10);

		if (!CHECK(v < 10))
			return;
		seen[v]++;
	}
	for (int i = 0; i < 10; i++)
		CHECK(seen[i] > 850 && seen[i] < 1150);
	CHECK_EQ(rng_below(&r, 1), 0);
}

TEST(below_is_even_where_the_range_does_not_divide)
{
	struct rng r;
	int low = 0;

	/* A third of the range is below 2^62; half of the values that a plain remainder gives. */
	rng_init_seed(&r, 8);
	for (int i = 0; i < 3000; i++)
		low += rng_below(&r, 3ull << 62) < 1ull << 62;
	CHECK(low > 900 && low < 1100);
}

TEST(a_ulid_begins_with_its_time)
{
	struct ulid_gen g = { 0 };
	struct rng r;
	char id[ULID_LEN];

	rng_init_seed(&r, 4);
	ulid_make(&g, &r, 0, id);
	CHECK_BYTES(bytes_of(id, 10), "0000000000");
	/* The example of the ULID specification. */
	ulid_make(&g, &r, 1469922850259, id);
	CHECK_BYTES(bytes_of(id, 10), "01ARZ3NDEK");
	ulid_make(&g, &r, 0xffffffffffff, id);
	CHECK_BYTES(bytes_of(id, 10), "7ZZZZZZZZZ");
}

/* Shows: threat 134 */
TEST(ulids_of_one_millisecond_and_of_the_next_grow)
{
	struct ulid_gen g = { 0 };
	struct rng r;
	char last[ULID_LEN] = { 0 }, id[ULID_LEN];

	rng_init_seed(&r, 5);
	for (uint64_t ms = 0; ms < 3000; ms++) {
		for (int i = 0; i < 20; i++) {
			ulid_make(&g, &r, ms, id);
			if (!CHECK(memcmp(id, last, sizeof(id)) > 0))
				return;
			memcpy(last, id, sizeof(id));
		}
	}
}

TEST(a_ulid_counts_on_over_all_its_characters)
{
	struct ulid_gen g = { 0 };
	struct rng r;
	char id[ULID_LEN];

	rng_init_seed(&r, 6);
	ulid_make(&g, &r, 1, id);
	memset(g.random, 0xff, sizeof(g.random));
	g.random[0] = 0x3f;
	ulid_make(&g, &r, 1, id);
	CHECK_BYTES(bytes_of(id + 10, 16), "8000000000000000");
	ulid_make(&g, &r, 1, id);
	CHECK_BYTES(bytes_of(id + 10, 16), "8000000000000001");
}

TEST(a_ulid_uses_only_the_characters_of_crockford)
{
	struct ulid_gen g = { 0 };
	struct rng r;
	char id[ULID_LEN];

	rng_init_seed(&r, 7);
	for (uint64_t ms = 1; ms < 1000; ms++) {
		ulid_make(&g, &r, ms * 1000003, id);
		for (int i = 0; i < ULID_LEN; i++)
			if ((i == 10 && !CHECK(id[i] < 'G')) ||
			    !CHECK(strchr("0123456789ABCDEFGHJKMNPQRSTVWXYZ", id[i]) && id[i]))
				return;
	}
}
