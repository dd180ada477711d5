/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_utf8: validation of the whole text, of its bytes one by one and of two parts must agree with each other and with
 * a decoder that works on numbers; validation must fail at the first byte that cannot be right.
 */
#include "base/utf8.h"
#include "fuzz.h"

#include <stdlib.h>

/* How a text begins: its first @n bytes are characters, and then comes the end, a beginning, or a fault. */
struct verdict {
	size_t n;
	enum { WHOLE, CUT, FAULTY } end;
};

/* The number of bytes of the character at @in, 0 when it is cut short, -1 when there is none. */
static int char_len(struct bytes in)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	uint32_t cp = in.at[0];
	int more = cp < 0x80 ? 0 : cp >> 5 == 6 ? 1 : cp >> 4 == 14 ? 2 : cp >> 3 == 30 ? 3 : -1;

	if (more < 0)
		return -1;
	cp &= more ? 0x3fu >> more : 0x7fu;
	for (int i = 1; i <= more; i++) {
		if ((size_t)i == in.len)
			return 0;
		if (in.at[i] >> 6 != 2)
			return -1;
		cp = cp << 6 | (in.at[i] & 0x3f);
	}
	return cp < least[more] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000) ? -1 : more + 1;
}

static struct verdict reference(struct bytes in)
{
	struct verdict v = { 0, WHOLE };

	while (v.n < in.len) {
		int len = char_len(bytes_of(in.at + v.n, in.len - v.n));

		if (len <= 0) {
			v.end = len ? FAULTY : CUT;
			return v;
		}
		v.n += (size_t)len;
	}
	return v;
}

static void expect(bool ok)
{
	if (!ok)
		abort();
}

/* Is there any text that begins with the @n bytes at @at, which are less than a character? */
static bool can_go_on(const uint8_t *at, size_t n)
{
	uint8_t text[4] = { 0, 0xbf, 0xbf, 0xbf };

	memcpy(text, at, n);
	for (int last = 0; last < 2 && n < 4; last++) {
		for (size_t len = n + 1; len <= 4; len++)
			if (char_len(bytes_of(text, len)) == (int)len)
				return true;
		/* The smallest continuation where the greatest is too much. */
		memset(text + n, 0x80, 4 - n);
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct verdict v = reference(in);
	utf8_state whole = utf8_feed(UTF8_START, in), bytewise = UTF8_START, halves;

	expect((whole == UTF8_START) == (v.end == WHOLE));
	for (size_t i = 0; i < size; i++) {
		bytewise = utf8_feed(bytewise, bytes_of(data + i, 1));
		if (i < v.n)
			expect(bytewise != UTF8_BAD);
		/* Refused if and only if there is no way any more to end well. */
		else
			expect((bytewise != UTF8_BAD) == (i - v.n < 3 && can_go_on(data + v.n, i - v.n + 1)));
	}
	expect(bytewise == whole);
	halves = utf8_feed(UTF8_START, bytes_of(data, size / 2));
	expect(utf8_feed(halves, bytes_of(data + size / 2, size - size / 2)) == whole);
	if (v.end == WHOLE) {
		size_t cut = utf8_prefix(in, size / 2);

		expect(cut <= size / 2 && size / 2 - cut < 4 && utf8_valid(bytes_of(data, cut)));
	}
	return 0;
}
