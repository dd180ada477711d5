/* SPDX-License-Identifier: Apache-2.0 */
/* Validation against a decoder that works on numbers instead of ranges of bytes, whole and one byte at a time. */
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

/* The code point that begins at @in; -1 when none does; -2 when it is not all there. */
static int32_t decode(struct bytes in, size_t *len)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	uint32_t cp = in.at[0];
	size_t more = cp < 0x80 ? 0 : cp >> 5 == 6 ? 1 : cp >> 4 == 14 ? 2 : cp >> 3 == 30 ? 3 : 9;

	if (more == 9)
		return -1;
	cp &= more ? 0x3fu >> more : 0x7f;
	for (size_t i = 1; i <= more; i++) {
		if (i == in.len)
			return -2;
		if (in.at[i] >> 6 != 2)
			return -1;
		cp = cp << 6 | (in.at[i] & 0x3f);
	}
	*len = more + 1;
	return cp < least[more] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000) ? -1 : (int32_t)cp;
}

static bool reference_valid(struct bytes in)
{
	size_t len = 0;

	for (; in.len; bytes_skip(&in, len))
		if (decode(in, &len) < 0)
			return false;
	return true;
}

static utf8_state byte_by_byte(struct bytes in)
{
	utf8_state s = UTF8_START;

	for (size_t i = 0; i < in.len; i++)
		s = utf8_feed(s, bytes_of(in.at + i, 1));
	return s;
}

static bool all_ways_agree(struct bytes in)
{
	bool valid = reference_valid(in);
	utf8_state whole = utf8_feed(UTF8_START, in);

	return CHECK_EQ(utf8_valid(in), valid) && CHECK_EQ(byte_by_byte(in), whole);
}

TEST(every_code_point_that_is_one_is_valid_and_written_shortest)
{
	for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
		uint8_t text[4];
		size_t n, back = 0;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		n = utf8_put(text, cp);
		if (!CHECK(utf8_valid(bytes_of(text, n))) || !CHECK_EQ(decode(bytes_of(text, n), &back), cp) ||
		    !CHECK_EQ(back, n))
			return;
	}
}

TEST(every_three_bytes_are_judged_as_by_the_reference)
{
	uint8_t text[3];

	for (uint32_t v = 0; v < 1 << 24; v++) {
		struct bytes in = bytes_of(text, 3);

		text[0] = (uint8_t)(v >> 16);
		text[1] = (uint8_t)(v >> 8);
		text[2] = (uint8_t)v;
		/* When two bytes decide already, 256 third bytes need no test. */
		if (text[2] > 0xc1 && text[2] < 0xff)
			continue;
		if (utf8_valid(in) != reference_valid(in)) {
			CHECK(all_ways_agree(in));
			return;
		}
	}
}

TEST(every_lead_of_four_bytes_is_judged_as_by_the_reference)
{
	static const uint8_t ends[] = { 0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff };

	for (uint32_t v = 0; v < 16 * 256 * 6 * 6; v++) {
		uint8_t text[4] = { (uint8_t)(0xf0 | v % 16), (uint8_t)(v / 16), ends[v / 4096 % 6], ends[v / 24576] };

		if (!all_ways_agree(bytes_of(text, 4)))
			return;
	}
}

TEST(validation_fails_at_the_first_byte_that_cannot_be_right)
{
	static const struct {
		const char *text;
		size_t at;
	} bad[] = {
		{ "\x80", 0 },
		{ "\xc0\x80", 0 },
		{ "\xc1\xbf", 0 },
		{ "\xc2\x41", 1 },
		{ "\xe0\x9f\xbf", 1 },
		{ "\xed\xa0\x80", 1 },
		{ "\xe2\x82\x41", 2 },
		{ "\xf0\x8f\xbf\xbf", 1 },
		{ "\xf4\x90\x80\x80", 1 },
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xf0\x9f\x98\xc0", 3 },
		{ "\xff", 0 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(utf8_feed(UTF8_START, bytes_of(bad[i].text, bad[i].at)) != UTF8_BAD);
		CHECK_EQ(utf8_feed(UTF8_START, bytes_of(bad[i].text, bad[i].at + 1)), UTF8_BAD);
	}
}

TEST(bad_is_for_ever_and_nothing_changes_nothing)
{
	CHECK_EQ(utf8_feed(UTF8_BAD, BYTES("fine")), UTF8_BAD);
	CHECK_EQ(utf8_feed(UTF8_BAD, BYTES("")), UTF8_BAD);
	CHECK_EQ(utf8_feed(UTF8_START, bytes_str(NULL)), UTF8_START);
	CHECK(utf8_feed(UTF8_START, BYTES("\xe2\x82")) > UTF8_BAD);
}

static size_t random_text(struct rng *r, uint8_t *out, size_t max)
{
	size_t n = 0;

	while (n + 4 <= max) {
		switch (rng_below(r, 4)) {
		case 0:
			n += utf8_put(out + n, 0x80 + (uint32_t)rng_below(r, 0x10ffff - 0x80));
			break;
		default:
			for (uint64_t run = rng_below(r, 50); run-- && n + 4 <= max;)
				out[n++] = (uint8_t)rng_below(r, 0x80);
		}
	}
	return n;
}

TEST(random_texts_with_and_without_faults_give_the_same_whole_and_in_parts)
{
	uint8_t text[200];
	struct rng r;

	rng_init_seed(&r, 1);
	for (int i = 0; i < 20000; i++) {
		size_t n = random_text(&r, text, rng_below(&r, sizeof(text))), cut;
		utf8_state s;

		if (n && rng_below(&r, 2))
			text[rng_below(&r, n)] = (uint8_t)rng_u64(&r);
		cut = rng_below(&r, n + 1);
		s = utf8_feed(utf8_feed(UTF8_START, bytes_of(text, cut)), bytes_of(text + cut, n - cut));
		if (!all_ways_agree(bytes_of(text, n)) || !CHECK_EQ(s, utf8_feed(UTF8_START, bytes_of(text, n))))
			return;
	}
}

TEST(one_bad_byte_anywhere_in_long_ascii_is_found)
{
	uint8_t text[150];

	memset(text, 'a', sizeof(text));
	for (size_t at = 0; at < sizeof(text); at++) {
		text[at] = 0x80;
		for (size_t from = 0; from <= at; from++)
			CHECK(!utf8_valid(bytes_of(text + from, sizeof(text) - from)));
		text[at] = 'a';
	}
	CHECK(utf8_valid(bytes_of(text, sizeof(text))));
}

TEST(a_prefix_does_not_cut_a_character)
{
	struct bytes text = BYTES("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z");
	static const size_t want[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11 };

	for (size_t max = 0; max < sizeof(want) / sizeof(want[0]); max++)
		CHECK_EQ(utf8_prefix(text, max), want[max]);
	CHECK_EQ(utf8_prefix(text, SIZE_MAX), 11);
	CHECK_EQ(utf8_prefix(BYTES("\xc3\xa4"), 1), 0);
	CHECK_EQ(utf8_prefix(bytes_str(NULL), 0), 0);
}
