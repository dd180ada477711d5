/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1, base64 and hex against the vectors of their standards and against themselves, there and back. */
#include "base/codec.h"
#include "base/rng.h"
#include "test.h"

static bool sha1_is(struct bytes in, struct bytes hex)
{
	uint8_t hash[20];
	char text[40];

	sha1(in, hash);
	hex_encode(bytes_of(hash, 20), text);
	return bytes_eq(bytes_of(text, 40), hex);
}

TEST(sha1_gives_the_values_of_rfc_3174_and_fips_180)
{
	CHECK(sha1_is(BYTES(""), BYTES("da39a3ee5e6b4b0d3255bfef95601890afd80709")));
	CHECK(sha1_is(BYTES("abc"), BYTES("a9993e364706816aba3e25717850c26c9cd0d89d")));
	CHECK(sha1_is(BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
		      BYTES("84983e441c3bd26ebaae4aa1f95129e5e54670f1")));
	CHECK(sha1_is(BYTES("0123456701234567012345670123456701234567012345670123456701234567"),
		      BYTES("e0c094e867ef46c350ef54a7f59dd60bed92ae83")));
}

TEST(sha1_pads_right_at_every_length_around_a_block)
{
	/* SHA-1 of the hashes of n times 'a', n from 0 to 199, one behind the other. */
	uint8_t text[200], all[200 * 20];

	memset(text, 'a', sizeof(text));
	for (size_t n = 0; n < sizeof(text); n++)
		sha1(bytes_of(text, n), all + 20 * n);
	CHECK(sha1_is(bytes_of(all, sizeof(all)), BYTES("8a18f04bac7c86cfcffa6a93e5cb21ae0159deac")));
}

TEST(the_websocket_handshake_of_rfc_6455_has_the_accept_key_it_prints)
{
	uint8_t hash[20];
	char key[28];

	sha1(BYTES("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), hash);
	CHECK_EQ(base64_encode(bytes_of(hash, 20), key), 28);
	CHECK_BYTES(bytes_of(key, 28), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static const struct {
	const char *plain, *coded;
} rfc4648[] = { { "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" } };

TEST(base64_gives_the_values_of_rfc_4648)
{
	char coded[16];
	uint8_t plain[16];

	for (size_t i = 0; i < sizeof(rfc4648) / sizeof(rfc4648[0]); i++) {
		struct bytes in = bytes_str(rfc4648[i].plain), out = bytes_str(rfc4648[i].coded);

		CHECK(bytes_eq(bytes_of(coded, base64_encode(in, coded)), out));
		CHECK_EQ(base64_decode(out, plain), in.len);
		CHECK(bytes_eq(bytes_of(plain, in.len), in));
	}
}

TEST(base64_refuses_every_other_spelling)
{
	static const char *const bad[] = {
		"Z",    "Zg",   "Zg=",  "Zh==",   "Zm9=", "Zg===",    "====",     "=g==",
		"Z===", "Zg=a", "Zm 9", "Zm9v\n", "Zm-_", "Zg==Zg==", "Zm9vZg=v", "Zm9v===="
	};
	uint8_t out[16];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(base64_decode(bytes_str(bad[i]), out), -1);
	CHECK_EQ(base64_decode(BYTES("Zm\0v"), out), -1);
	CHECK_EQ(base64_decode(BYTES("Zm\xc3v"), out), -1);
}

TEST(base64_and_hex_come_back_as_they_went)
{
	uint8_t plain[100], back[100];
	char coded[200];
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (size_t n = 0; n <= sizeof(plain); n++) {
		size_t len;

		rng_fill(&rng, plain, n);
		len = base64_encode(bytes_of(plain, n), coded);
		CHECK_EQ(len, (n + 2) / 3 * 4);
		CHECK_EQ(base64_decode(bytes_of(coded, len), back), n);
		CHECK(memcmp(plain, back, n) == 0);
		hex_encode(bytes_of(plain, n), coded);
		CHECK(hex_decode(bytes_of(coded, 2 * n), back));
		CHECK(memcmp(plain, back, n) == 0);
	}
}

TEST(each_four_characters_have_one_meaning_or_none)
{
	uint8_t out[3];
	char again[4];
	struct rng rng;

	/* Any text that decodes encodes to itself. */
	rng_init_seed(&rng, 2);
	for (int i = 0; i < 200000; i++) {
		static const char set[] = "AQgwBRhxZm9v+/==";
		uint8_t in[4];
		ptrdiff_t n;

		for (int j = 0; j < 4; j++)
			in[j] = (uint8_t)set[rng_below(&rng, sizeof(set) - 1)];
		n = base64_decode(bytes_of(in, 4), out);
		if (n < 0)
			continue;
		if (!CHECK_EQ(base64_encode(bytes_of(out, (size_t)n), again), 4) || !CHECK(memcmp(in, again, 4) == 0))
			return;
	}
}

TEST(hex_takes_both_cases_and_nothing_else)
{
	uint8_t out[4];

	CHECK(hex_decode(BYTES("0aF9"), out));
	CHECK_BYTES(bytes_of(out, 2), "\x0a\xf9");
	CHECK(hex_decode(BYTES(""), out));
	CHECK(!hex_decode(BYTES("0"), out));
	CHECK(!hex_decode(BYTES("0g"), out));
	CHECK(!hex_decode(BYTES("/0"), out));
	CHECK(!hex_decode(BYTES(":0"), out));
	CHECK(!hex_decode(BYTES("0@"), out));
	CHECK(!hex_decode(BYTES("0x"), out));
}
