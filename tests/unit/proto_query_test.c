/* SPDX-License-Identifier: Apache-2.0 */
/* Queries and paths: escapes, repeated keys, and texts that are nearly a pair. */
#include "proto/query.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"
#include "test.h"

static struct bytes decoded(struct bytes in)
{
	static uint8_t out[1000];
	ptrdiff_t n = query_decode(in, out);

	CHECK(n >= 0 && (size_t)n <= in.len);
	return bytes_of(out, (size_t)n);
}

TEST(escapes_and_plus_are_decoded)
{
	CHECK_BYTES(decoded(BYTES("")), "");
	CHECK_BYTES(decoded(BYTES("plain")), "plain");
	CHECK_BYTES(decoded(BYTES("a+b%20c%2Bd%2b")), "a b c+d+");
	CHECK_BYTES(decoded(BYTES("J%C3%BCrgen")), "J\xc3\xbcrgen");
	CHECK_BYTES(decoded(BYTES("%00%ff%FF%7f")), "\x00\xff\xff\x7f");
	CHECK_BYTES(decoded(BYTES("%2525")), "%25"); /* once, not until nothing is left */
	CHECK_BYTES(decoded(BYTES("\xc3\xbc")), "\xc3\xbc");
}

TEST(a_path_keeps_its_plus)
{
	uint8_t out[16];

	CHECK_BYTES(bytes_of(out, (size_t)query_decode_path(BYTES("/a+b%20c"), out)), "/a+b c");
	CHECK_EQ(query_decode_path(BYTES("/%"), out), QUERY_BAD);
}

TEST(decoding_in_place_is_allowed)
{
	uint8_t text[] = "%41%42+C%44";

	CHECK_BYTES(bytes_of(text, (size_t)query_decode(bytes_of(text, sizeof(text) - 1), text)), "AB CD");
}

TEST(an_escape_is_a_percent_sign_and_two_hex_digits)
{
	static const char *const bad[] = {
		"%",     "%a",     "a%",         "a%4",    "%4g", "%g4", "%%41", "% 41", "%+1", "%-1",
		"%0x41", "%u0041", "ok%41&x=%4", "%4\xc3", "%@1", "%1/", "%1:",  "%`a",  "%G0",
	};
	uint8_t out[32];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(!query_valid(bytes_str(bad[i])));
		CHECK_EQ(query_decode(bytes_str(bad[i]), out), QUERY_BAD);
	}
	CHECK(query_valid(BYTES("")));
	CHECK(query_valid((struct bytes){ 0 }));
	CHECK(query_valid(BYTES("a%41%5a&%00=%fF+")));
}

TEST(every_byte_has_its_escape)
{
	char text[4];

	for (unsigned int c = 0; c < 256; c++) {
		struct bytes got;

		snprintf(text, sizeof(text), c & 1 ? "%%%02x" : "%%%02X", c);
		got = decoded(bytes_of(text, 3));
		CHECK_EQ(got.len, 1);
		CHECK_EQ(got.at[0], c);
	}
}

/* Writes the pairs of @query as "key=value;". */
static struct bytes pairs(struct bytes query, int *end)
{
	static struct buf log;
	uint8_t *scratch = malloc(query.len ? query.len : 1);
	struct query_iter it;
	struct bytes k, v;

	buf_clear(&log);
	query_begin(&it, query, scratch);
	while ((*end = query_next(&it, &k, &v)) == 0) {
		buf_add(&log, k);
		buf_add_u8(&log, '=');
		buf_add(&log, v);
		buf_add_u8(&log, ';');
	}
	CHECK_EQ(query_next(&it, &k, &v), *end);
	free(scratch);
	return buf_bytes(&log);
}

TEST(pairs_come_in_their_order)
{
	int end;

	CHECK_BYTES(pairs(BYTES("user_id=alice&x=1"), &end), "user_id=alice;x=1;");
	CHECK_EQ(end, QUERY_END);
	CHECK_BYTES(pairs(BYTES("a=1&a=2&a=3"), &end), "a=1;a=2;a=3;");
	CHECK_BYTES(pairs(BYTES("a=b=c&=v&k&k=&="), &end), "a=b=c;=v;k=;k=;=;");
	CHECK_BYTES(pairs(BYTES("&&a=1&&&b=2&&"), &end), "a=1;b=2;");
	CHECK_BYTES(pairs(BYTES("a%3Db=c%26d&%61=+"), &end), "a=b=c&d;a= ;");
	CHECK_BYTES(pairs(BYTES("a;b=1"), &end), "a;b=1;"); /* only '&' parts pairs */
	CHECK_BYTES(pairs(BYTES(""), &end), "");
	CHECK_EQ(end, QUERY_END);
	pairs((struct bytes){ 0 }, &end);
	CHECK_EQ(end, QUERY_END);
}

TEST(a_bad_escape_ends_the_walk_for_ever)
{
	int end;

	CHECK_BYTES(pairs(BYTES("a=1&b=%&c=3"), &end), "a=1;");
	CHECK_EQ(end, QUERY_BAD);
	CHECK_BYTES(pairs(BYTES("%=1"), &end), "");
	CHECK_EQ(end, QUERY_BAD);
}

TEST(a_key_is_found_and_its_repeats_too)
{
	uint8_t scratch[64];
	struct query_iter it;
	struct bytes q = BYTES("x=0&user_id=a&user%5Fid=b%20c&user_ids=no&user_id=");
	struct bytes v;

	CHECK_EQ(query_find(q, BYTES("user_id"), scratch, &v), 0);
	CHECK_BYTES(v, "a");
	CHECK_EQ(query_find(q, BYTES("absent"), scratch, &v), QUERY_END);
	CHECK_EQ(query_find(BYTES("user_id=%zz"), BYTES("user_id"), scratch, &v), QUERY_BAD);
	query_begin(&it, q, scratch);
	CHECK_EQ(query_next_of(&it, BYTES("user_id"), &v), 0);
	CHECK_BYTES(v, "a");
	CHECK_EQ(query_next_of(&it, BYTES("user_id"), &v), 0);
	CHECK_BYTES(v, "b c");
	CHECK_EQ(query_next_of(&it, BYTES("user_id"), &v), 0);
	CHECK_BYTES(v, "");
	CHECK_EQ(query_next_of(&it, BYTES("user_id"), &v), QUERY_END);
}

TEST(values_stay_valid_as_long_as_the_scratch)
{
	uint8_t scratch[32];
	struct query_iter it;
	struct bytes k1, v1, k2, v2;

	query_begin(&it, BYTES("%61=%31&b=2"), scratch);
	CHECK_EQ(query_next(&it, &k1, &v1), 0);
	CHECK_EQ(query_next(&it, &k2, &v2), 0);
	CHECK_BYTES(k1, "a");
	CHECK_BYTES(v1, "1");
	CHECK_BYTES(k2, "b");
	CHECK_BYTES(v2, "2");
}

TEST(any_encoded_text_is_decoded_to_itself)
{
	struct buf wire = BUF_INIT, want = BUF_INIT;
	struct rng r;
	int end;

	rng_init_seed(&r, 3986);
	for (unsigned int round = 0; round < 5000; round++) {
		unsigned int n = 1 + (unsigned int)rng_below(&r, 4);

		buf_clear(&wire);
		buf_clear(&want);
		for (unsigned int i = 0; i < 2 * n; i++) {
			if (i)
				buf_add_u8(&wire, i % 2 ? '=' : '&');
			buf_add_u8(&wire, 'k');
			buf_add_u8(&want, 'k');
			for (size_t len = (size_t)rng_below(&r, 10); len; len--) {
				uint8_t c = (uint8_t)rng_below(&r, 256);

				buf_add_u8(&want, c);
				if (c == ' ' && rng_below(&r, 2))
					buf_add_u8(&wire, '+');
				else if (c > ' ' && !memchr("%&=+", c, 4) && rng_below(&r, 2))
					buf_add_u8(&wire, c);
				else
					buf_addf(&wire, "%%%02X", c);
			}
			buf_add_u8(&want, i % 2 ? ';' : '=');
		}
		CHECK(query_valid(buf_bytes(&wire)));
		CHECK(bytes_eq(pairs(buf_bytes(&wire), &end), buf_bytes(&want)));
		CHECK_EQ(end, QUERY_END);
	}
	buf_deinit(&wire);
	buf_deinit(&want);
}
