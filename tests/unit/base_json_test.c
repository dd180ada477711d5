/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of base/json. Texts are handed over in heap blocks of exactly their size, so that a sanitizer sees a read
 * beyond the end. The table holds the accept and reject classes of RFC 8259; a second, naive parser stands beside the
 * scanner as judge for texts that no table has.
 */
#include "base/json.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint8_t *exact(struct bytes s)
{
	uint8_t *p = mem_alloc(s.len ? s.len : 1);

	if (s.len)
		memcpy(p, s.at, s.len);
	return p;
}

static enum json_error check(struct bytes s)
{
	uint8_t *p = exact(s);
	enum json_error err = json_check(bytes_of(p, s.len), NULL);

	mem_free(p);
	return err;
}

/* Walks all of @s as an object: the count of members or the error. */
static int walk(struct bytes s)
{
	uint8_t *p = exact(s);
	struct json_walk w;
	struct json_member m;
	int n = 0, r = (int)json_object_begin(&w, bytes_of(p, s.len));

	if (!r)
		while ((r = json_object_next(&w, &m)) > 0)
			n++;
	mem_free(p);
	return r < 0 ? r : n;
}

struct text_case {
	struct bytes text;
	enum json_error want;
};

/* clang-format off: a table, laid out by hand. */
#define Y(s)                      \
	{                         \
		BYTES(s), JSON_OK \
	}
#define N(s)                          \
	{                             \
		BYTES(s), JSON_SYNTAX \
	}
#define U(s)                        \
	{                           \
		BYTES(s), JSON_UTF8 \
	}
#define E(s)                         \
	{                            \
		BYTES(s), JSON_EMPTY \
	}

static const struct text_case cases[] = {
	/* arrays */
	Y("[]"),
	Y("[ ]"),
	Y("[\"\"]"),
	Y("[[]   ]"),
	Y("[false]"),
	Y("[null, 1, \"1\", {}]"),
	Y("[1\n]"),
	Y(" [1]"),
	Y("[1,null,null,null,2]"),
	Y("[2] "),
	Y("[[[[]]],[]]"),
	Y("[[],{}]"),
	Y("[{},[]]"),
	Y("[\"a\",\"b\"]"),
	N("[1 true]"),
	N("[a\xe5]"),
	N("[\"\": 1]"),
	N("[\"\"],"),
	N("[,1]"),
	N("[1,,2]"),
	N("[\"x\",,]"),
	N("[\"x\"]]"),
	N("[\"\",]"),
	N("[\"x\""),
	N("[x"),
	N("[3[4]]"),
	N("[1:2]"),
	N("[,]"),
	N("[-]"),
	N("[   , \"\"]"),
	N("[\"a\",\n4\n,1,"),
	N("[1,]"),
	N("[\"\va\"\\f]"),
	N("[*]"),
	N("[\"\""),
	N("[1,\n1\n,1"),
	N("[{}"),
	N("]"),
	N("["),
	N("[}"),
	N("[1}"),
	N("[[1]"),
	N("[]]"),
	N("[1]x"),
	N("[1],[2]"),
	N("[1][2]"),
	N("[']"),
	N("[ ,]"),
	N("[1 2]"),
	N("[\"a\" \"b\"]"),
	/* objects */
	Y("{}"),
	Y("{ }"),
	Y("{\"\":0}"),
	Y("{\"a\":[]}"),
	Y("{\"a\":\"b\",\"a\":\"c\"}"),
	Y("{\"a\":\"b\",\"a\":\"b\"}"),
	Y("{\"foo\\u0000bar\": 42}"),
	Y("{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
	Y("{\n\"a\": \"b\"\n}"),
	Y("{\"x\":[{\"id\": \"x\"}], \"id\": \"x\"}"),
	Y("{\"a\":{\"b\":{\"c\":{}}}}"),
	Y("\t{\r\n}\n"),
	Y("{\"title\":\"\\u041f\\u043e\"}"),
	Y("{ \"a\" : 1 , \"b\" : 2 }"),
	N("[\"x\", truth]"),
	N("{[: \"x\"}\n"),
	N("{\"x\", null}"),
	N("{\"x\"::\"b\"}"),
	N("{key: 'value'}"),
	N("{\"a\":\"a\" 123}"),
	N("{\"a\" b}"),
	N("{:\"b\"}"),
	N("{\"a\"}"),
	N("{\"a\":"),
	N("{\"a\""),
	N("{1:1}"),
	N("{9999E9999:1}"),
	N("{null:null,null:null}"),
	N("{\"id\":0,,,,,}"),
	N("{'a':0}"),
	N("{\"id\":0,}"),
	N("{\"a\":\"b\"}/**/"),
	N("{\"a\":\"b\"}/**//"),
	N("{\"a\":\"b\"}//"),
	N("{\"a\":\"b\"}/"),
	N("{\"a\":\"b\",,\"c\":\"d\"}"),
	N("{a: \"b\"}"),
	N("{\"a\":\"a"),
	N("{ \"foo\" : \"bar\", \"a\" }"),
	N("{\"a\":\"b\"}#"),
	N("{"),
	N("}"),
	N("{]"),
	N("{,"),
	N("{\"a\":1]"),
	N("{\"a\":}"),
	N("{\"a\":,}"),
	N("{,\"a\":1}"),
	N("{\"a\":1 \"b\":2}"),
	N("{\"a\" \"b\"}"),
	N("{\"a\":1}}"),
	N("{}{}"),
	N("{\"a\":1:2}"),
	N("{true:1}"),
	N("{{}:1}"),
	N("{\"a\":1,"),
	N("{\"a\":1, "),
	N("{ "),
	N("{\"a\": "),
	N("{\"a\" "),
	N("{\"a\":{\"b\":1,}}"),
	N("{\"a\":{\"b\"}}"),
	N("{\"a\":{,}}"),
	N("{\"a\":{1:2}}"),
	N("{\"a\":{\"b\":1"),
	N("{\"a\":{\"b\":1}"),
	N("{\"a\":[1}"),
	N("{\"a\":[1,]}"),
	/* numbers */
	Y("[123e65]"),
	Y("[0e+1]"),
	Y("[0e1]"),
	Y("[ 4]"),
	Y("[-0.000000000000000000000000000000000000000000000001]"),
	Y("[20e1]"),
	Y("[-0]"),
	Y("[-123]"),
	Y("[-1]"),
	Y("[1E22]"),
	Y("[1E-2]"),
	Y("[1E+2]"),
	Y("[123e45]"),
	Y("[123.456e78]"),
	Y("[1e-2]"),
	Y("[1e+2]"),
	Y("[123]"),
	Y("[123.456789]"),
	Y("0"),
	Y("-0"),
	Y("42"),
	Y("-0.1"),
	Y("0.0"),
	Y("1e1"),
	Y("0E0"),
	Y("-0e-0"),
	Y("123456789012345678901234567890"),
	Y("1e999999"),
	Y("-1e-999999"),
	Y("9223372036854775808"),
	Y(" 1 "),
	N("[++1234]"),
	N("[+1]"),
	N("[+Inf]"),
	N("[-01]"),
	N("[-1.0.]"),
	N("[-2.]"),
	N("[-NaN]"),
	N("[.-1]"),
	N("[.2e-3]"),
	N("[0.1.2]"),
	N("[0.3e+]"),
	N("[0.3e]"),
	N("[0.e1]"),
	N("[0E+]"),
	N("[0E]"),
	N("[0e+]"),
	N("[0e]"),
	N("[1.0e+]"),
	N("[1.0e-]"),
	N("[1.0e]"),
	N("[1 000.0]"),
	N("[1eE2]"),
	N("[2.e+3]"),
	N("[2.e-3]"),
	N("[2.e3]"),
	N("[9.e+]"),
	N("[Inf]"),
	N("[NaN]"),
	N("[\xef\xbc\x91]"),
	N("[1+2]"),
	N("[0x1]"),
	N("[0x42]"),
	N("[Infinity]"),
	N("[0e+-1]"),
	N("[-123.123foo]"),
	N("[-Infinity]"),
	N("[-foo]"),
	N("[- 1]"),
	N("[-012]"),
	N("[-.123]"),
	N("[-1x]"),
	N("[1ea]"),
	N("[1e\xe5]"),
	N("[1.]"),
	N("[.123]"),
	N("[1.2a-3]"),
	N("[1.8011670033376514H-308]"),
	N("[012]"),
	N("00"),
	N("01"),
	N("-"),
	N("+1"),
	N("1."),
	N("1e"),
	N("1e+"),
	N("-a"),
	N("0a"),
	N("1_000"),
	N("1,000"),
	N("--1"),
	N("1-"),
	N("0 0"),
	N("1 2"),
	N("2@"),
	N("-00"),
	N("0.+1"),
	N("1e1.5"),
	N("1e1e1"),
	N("\x00"
	  "1"),
	N("1\x00"),
	/* words */
	Y("true"),
	Y("false"),
	Y("null"),
	Y("[true]"),
	Y(" null "),
	Y("\ttrue\n"),
	N("tru"),
	N("tru]"),
	N("[fals]"),
	N("[nul]"),
	N("[True]"),
	N("TRUE"),
	N("[nulll]"),
	N("truefalse"),
	N("true false"),
	N("nul"),
	N("n"),
	N("t"),
	N("f"),
	N("falsy"),
	N("None"),
	N("undefined"),
	N("[truE]"),
	N("NaN"),
	N("nullnull"),
	N("trueX"),
	/* strings */
	Y("\"\""),
	Y("\" \""),
	Y("[\"\\u0060\\u012a\\u12AB\"]"),
	Y("[\"\\uD801\\udc37\"]"),
	Y("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
	Y("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
	Y("[\"\\\\u0000\"]"),
	Y("[\"\\\"\"]"),
	Y("[\"a/*b*/c/*d//e\"]"),
	Y("[\"\\\\a\"]"),
	Y("[\"\\\\n\"]"),
	Y("[\"\\u0012\"]"),
	Y("[\"\\uFFFF\"]"),
	Y("[\"asd\"]"),
	Y("[\"\\uDBFF\\uDFFF\"]"),
	Y("[\"new\\u00A0line\"]"),
	Y("[\"\xf4\x8f\xbf\xbf\"]"),
	Y("[\"\xef\xbf\xbf\"]"),
	Y("[\"\\u0000\"]"),
	Y("[\"\\u002c\"]"),
	Y("[\"\xcf\x80\"]"),
	Y("[\"\xf0\x9b\xbf\xbf\"]"),
	Y("[\"asd \"]"),
	Y("\" \""),
	Y("[\"\\uD834\\uDd1e\"]"),
	Y("[\"\\u0821\"]"),
	Y("[\"\\u0123\"]"),
	Y("[\"\xe2\x80\xa8\"]"),
	Y("[\"\xe2\x80\xa9\"]"),
	Y("[\"\\u0061\\u30af\"]"),
	Y("[\"new\\u000Aline\"]"),
	Y("[\"\x7f\"]"),
	Y("[\"\\uA66D\"]"),
	Y("[\"\xe2\x8d\x82\xe3\x88\xb4\xe2\x8d\x82\"]"),
	Y("\"\xc2\x80\""),
	Y("\"\xed\x9f\xbf\""),
	Y("\"\xee\x80\x80\""),
	Y("\"\xe0\xa0\x80\""),
	Y("\"\xf0\x90\x80\x80\""),
	Y("[\"\\uFDD0\\uFFFE\"]"),
	Y("\"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80!\""),
	N("[\"\\uD800\\u\"]"),
	N("[\"\\uD800\\u1\"]"),
	N("[\"\\uD800\\u1x\"]"),
	N("[\xc3\xa9]"),
	N("[\"\\\x00\"]"),
	N("[\"\\x00\"]"),
	N("[\"\\\\\\\"]"),
	N("[\"\\\t\"]"),
	N("[\"\\\xf0\x9f\x8c\x80\"]"),
	N("[\"\\\"]"),
	N("[\"\\u00A\"]"),
	N("[\"\\uD834\\uDd\"]"),
	N("[\"\\uD800\\uD800\\x\"]"),
	N("[\"\\a\"]"),
	N("[\"\\uqqqq\"]"),
	N("[\\u0020\"asd\"]"),
	N("[\\n]"),
	N("\""),
	N("['single quote']"),
	N("abc"),
	N("[\"\\"),
	N("[\"a\x00"
	  "a\"]"),
	N("[\"new\nline\"]"),
	N("[\"\t\"]"),
	N("\"\\UA66D\""),
	N("\"\"x"),
	N("\"\x1f\""),
	N("\"\x01\""),
	N("\"\r\""),
	N("\"\\u\""),
	N("\"\\u0\""),
	N("\"\\u00\""),
	N("\"\\u000\""),
	N("\"\\u000g\""),
	N("\"\\u 000\""),
	N("\"\\u-001\""),
	N("\"\\u+001\""),
	N("\"\\u0x1f\""),
	N("\"abc"),
	N("\"abc\\\""),
	N("\"\\'\""),
	N("\"\\0\""),
	N("\"\\v\""),
	N("\"\\e\""),
	N("\"\\N\""),
	N("\"a\"b\""),
	N("\"\\"),
	N("\"\\u12"),
	N("\"\\ud800\\"),
	N("'a'"),
	N("`a`"),
	/* strings that are not UTF-8 */
	U("[\"\xe5\"]"),
	U("[\"\xff\"]"),
	U("[\"\xc0\xaf\"]"),
	U("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"),
	U("[\"\xfc\x80\x80\x80\x80\x80\"]"),
	U("[\"\xe0\xff\"]"),
	U("[\"\x81\"]"),
	U("[\"\xf4\xbf\xbf\xbf\"]"),
	U("[\"\xed\xa0\x80\"]"),
	U("[\"\xe6\x97\xa5\xd1\x88\xfa\"]"),
	U("\"\xc1\xbf\""),
	U("\"\xe0\x9f\xbf\""),
	U("\"\xf0\x8f\xbf\xbf\""),
	U("\"\xf5\x80\x80\x80\""),
	U("\"\xc2\""),
	U("\"\xe4\xbd\""),
	U("\"\xf0\x9f\x98\""),
	U("\"\xed\xbf\xbf\""),
	U("{\"\xff\":1}"),
	U("\"\xc2"),
	U("\"\xe4\xbd"),
	U("\"\xf0\x9f\x98"),
	U("\"abcdefghijklmnopqrst\x80\""),
	U("\"\xf4\x90\x80\x80\""),
	U("{\"a\":{\"\xc3(\":1}}"),
	/* the whole text */
	E(""),
	E(" "),
	E("\n"),
	E("\t \r\n "),
	N("\xef\xbb\xbf{}"),
	N("\xef\xbb\xbf"),
	N("<.>"),
	N("[<null>]"),
	N("[1]x"),
	N("\xe5"),
	N("{}}"),
	N("[\x0c]"),
	N("[\xc2\xa0]"),
	N("\xe2\x81\xa0[]"),
	N("\v{}"),
	N("{}\x00"),
	N("\x00"),
	N("*"),
	N("{\"a\":/*comment*/\"b\"}"),
	N("//x\n{}"),
	N("[open"),
	N("[\"a\",4,1,"),
	N("{\"\":"),
	N("\xff\xfe[\x00]\x00"),
	N("\x00[\x00]"),
	N(","),
	N(":"),
	N("[1]\n\n2"),
	N("{\"a\":1}\x1e"),
	N("#{}"),
	N("\x1e{}"),
	N("\xc2\x85{}"),
	N("[\xe2\x80\xa8]"),
};
/* clang-format on */

TEST(every_class_of_text_is_accepted_or_refused)
{
	CHECK(COUNT(cases) >= 150);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (!CHECK_EQ(check(cases[i].text), cases[i].want))
			printf("\tcase %zu: %.*s\n", i, (int)cases[i].text.len, (const char *)cases[i].text.at);
}

TEST(the_walk_judges_as_the_check_does)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct json_value v;
		bool object = json_check(cases[i].text, &v) == JSON_OK && v.type == JSON_OBJECT;
		int r = walk(cases[i].text);

		if (object ? !CHECK(r >= 0) : !CHECK(r < 0))
			printf("\tcase %zu: %.*s\n", i, (int)cases[i].text.len, (const char *)cases[i].text.at);
		if (cases[i].want == JSON_OK && !object)
			CHECK_EQ(r, JSON_NOT_OBJECT);
		if (cases[i].want != JSON_OK)
			CHECK_EQ(r, cases[i].want);
	}
}

/* The judge: RFC 8259 as its grammar reads, a byte at a time, the obvious way. NULL: not that. */
static const uint8_t *naive_value(const uint8_t *p, const uint8_t *end, int depth);

static const uint8_t *naive_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static const uint8_t *naive_string(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *start = p;

	if (p == end || *p++ != '"')
		return NULL;
	for (; p < end && *p != '"'; p++) {
		if (*p < 0x20)
			return NULL;
		if (*p != '\\')
			continue;
		if (++p == end || !*p || !strchr("\"\\/bfnrtu", *p))
			return NULL;
		if (*p == 'u')
			for (int i = 0; i < 4; i++)
				if (++p == end || !*p || !strchr("0123456789abcdefABCDEF", *p))
					return NULL;
	}
	if (p == end || !utf8_valid(bytes_of(start, (size_t)(p - start))))
		return NULL;
	return p + 1;
}

static const uint8_t *naive_digits(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *start = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static const uint8_t *naive_number(const uint8_t *p, const uint8_t *end)
{
	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else if (!(p = naive_digits(p, end)))
		return NULL;
	if (p < end && *p == '.' && !(p = naive_digits(p + 1, end)))
		return NULL;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = naive_digits(p, end);
	}
	return p;
}

static const uint8_t *naive_items(const uint8_t *p, const uint8_t *end, int depth, bool object)
{
	uint8_t close = object ? '}' : ']';

	p = naive_space(p, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		p = naive_space(p, end);
		if (object) {
			if (!(p = naive_string(p, end)))
				return NULL;
			p = naive_space(p, end);
			if (p == end || *p++ != ':')
				return NULL;
			p = naive_space(p, end);
		}
		if (!(p = naive_value(p, end, depth)))
			return NULL;
		p = naive_space(p, end);
		if (p < end && *p == close)
			return p + 1;
		if (p == end || *p++ != ',')
			return NULL;
	}
}

static const uint8_t *naive_value(const uint8_t *p, const uint8_t *end, int depth)
{
	static const struct bytes words[] = { BYTES("true"), BYTES("false"), BYTES("null") };

	if (p == end)
		return NULL;
	if (*p == '"')
		return naive_string(p, end);
	if (*p == '{' || *p == '[')
		return depth < 64 ? naive_items(p + 1, end, depth + 1, *p == '{') : NULL;
	for (size_t i = 0; i < COUNT(words); i++)
		if (bytes_starts(bytes_of(p, (size_t)(end - p)), words[i]))
			return p + words[i].len;
	return naive_number(p, end);
}

static bool naive_ok(struct bytes s)
{
	const uint8_t *end = s.at + s.len, *p = naive_value(naive_space(s.at, end), end, 0);

	return p && naive_space(p, end) == end;
}

TEST(the_naive_parser_agrees_with_the_table)
{
	for (size_t i = 0; i < COUNT(cases); i++)
		CHECK_EQ(naive_ok(cases[i].text), cases[i].want == JSON_OK);
}

/* Changes @s a little: bytes that mean something to JSON are put in, taken out, swapped, doubled. */
static size_t mutate(struct rng *r, uint8_t *s, size_t len, size_t cap)
{
	static const char alphabet[] =
		"{}[]\",:\\/0123456789.eE+-truefalsn \t\r\n\x01\x7f\x80\xbf\xc2\xe4\xbd\xa0\xf0ud8DC";

	for (uint64_t n = 1 + rng_below(r, 3); n; n--) {
		uint8_t c = (uint8_t)alphabet[rng_below(r, sizeof(alphabet) - 1)];
		size_t at = len ? rng_below(r, len) : 0;

		switch (rng_below(r, 4)) {
		case 0:
			if (len)
				s[at] = c;
			break;
		case 1:
			if (len) {
				memmove(s + at, s + at + 1, len - at - 1);
				len--;
			}
			break;
		case 2:
			if (len < cap) {
				memmove(s + at + 1, s + at, len - at);
				s[at] = c;
				len++;
			}
			break;
		default:
			len = rng_below(r, 20) ? len : at;
			break;
		}
	}
	return len;
}

TEST(a_naive_parser_comes_to_the_same_judgement_on_mutated_texts)
{
	uint8_t text[512];
	struct rng r;
	size_t good = 0;

	rng_init_seed(&r, 8259);
	for (int i = 0; i < 200000; i++) {
		struct bytes seed = cases[rng_below(&r, COUNT(cases))].text;
		size_t len;
		bool want;

		memcpy(text, seed.at, seed.len);
		len = mutate(&r, text, seed.len, sizeof(text));
		want = naive_ok(bytes_of(text, len));
		good += want;
		if (!CHECK_EQ(check(bytes_of(text, len)) == JSON_OK, want)) {
			printf("\t%.*s\n", (int)len, (const char *)text);
			return;
		}
	}
	CHECK(good > 10000);
}

/* A random value of at most @depth levels behind @b. */
static void random_value(struct rng *r, struct buf *b, int depth)
{
	static const char *scalars[] = { "0",
					 "-1.5e3",
					 "true",
					 "null",
					 "\"\"",
					 "\"a\\n\\ud83d\\ude00\"",
					 "\"\xe4\xbd\xa0 long enough to fill a register\"",
					 "9007199254740993",
					 "[]",
					 "{}",
					 " 1 ",
					 "\r\n\"x\"" };
	uint64_t kind = rng_below(r, depth > 0 ? 4 : 2);

	if (kind < 2) {
		buf_add_str(b, scalars[rng_below(r, COUNT(scalars))]);
		return;
	}
	buf_add_u8(b, kind == 2 ? '[' : '{');
	for (uint64_t i = 0, n = rng_below(r, 5); i < n; i++) {
		if (i)
			buf_add_u8(b, ',');
		if (kind == 3)
			buf_addf(b, "\"k%u\" :", (unsigned)i);
		random_value(r, b, depth - 1);
	}
	buf_add_u8(b, kind == 2 ? ']' : '}');
}

TEST(every_generated_text_is_accepted_and_none_of_its_prefixes_is)
{
	struct rng r;

	rng_init_seed(&r, 1);
	for (int i = 0; i < 500; i++) {
		struct buf b = BUF_INIT;

		buf_add_str(&b, "{\"v\":");
		random_value(&r, &b, 6);
		buf_add_str(&b, "}");
		CHECK_EQ(check(buf_bytes(&b)), JSON_OK);
		CHECK_EQ(walk(buf_bytes(&b)), 1);
		for (size_t n = 0; n < b.len && n < 400; n++)
			CHECK(check(bytes_of(b.at, n)) != JSON_OK && walk(bytes_of(b.at, n)) < 0);
		buf_deinit(&b);
	}
}

TEST(a_byte_that_ends_a_run_is_found_at_every_place)
{
	static const uint8_t stops[] = { 0x00, 0x1f, 0x20, '"', '\\', 0x7f, 0x80, 0xff, 'a' };
	uint8_t text[96];

	for (size_t len = 0; len < 70; len++)
		for (size_t at = 0; at < len; at++)
			for (size_t k = 0; k < sizeof(stops); k++) {
				memset(text, 'x', sizeof(text));
				text[0] = text[len + 1] = '"';
				text[at + 1] = stops[k];
				CHECK_EQ(check(bytes_of(text, len + 2)) == JSON_OK, naive_ok(bytes_of(text, len + 2)));
			}
}

TEST(utf8_in_strings_is_judged_as_utf8_is)
{
	static const uint8_t edges[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff, ' ', 'a' };
	uint8_t t[6] = { '"' };

	for (unsigned lead = 0x80; lead < 0x100; lead++)
		for (size_t a = 0; a < sizeof(edges); a++)
			for (size_t b = 0; b < sizeof(edges); b++)
				for (size_t c = 0; c < sizeof(edges); c++) {
					memcpy(t + 1, (uint8_t[]){ (uint8_t)lead, edges[a], edges[b], edges[c] }, 4);
					t[5] = '"';
					CHECK_EQ(json_check(bytes_of(t, 6), NULL) == JSON_OK,
						 utf8_valid(bytes_of(t, 6)) && edges[a] && edges[b] && edges[c]);
				}
}

static enum json_error check_nested(const char *open, const char *close, size_t levels, const char *inside)
{
	struct buf b = BUF_INIT;
	enum json_error err;

	for (size_t i = 0; i < levels; i++)
		buf_add_str(&b, open);
	buf_add_str(&b, inside);
	for (size_t i = 0; i < levels; i++)
		buf_add_str(&b, close);
	err = check(buf_bytes(&b));
	CHECK_EQ(walk(buf_bytes(&b)), *open == '{' ? (int)err + !err : err ? (int)err : JSON_NOT_OBJECT);
	buf_deinit(&b);
	return err;
}

/* Shows: threat 74 */
TEST(sixty_four_levels_pass_and_sixty_five_are_too_deep)
{
	CHECK_EQ(check_nested("[", "]", 64, ""), JSON_OK);
	CHECK_EQ(check_nested("[", "]", 64, "1"), JSON_OK);
	CHECK_EQ(check_nested("[", "]", 65, ""), JSON_DEPTH);
	CHECK_EQ(check_nested("{\"a\":", "}", 64, "1"), JSON_OK);
	CHECK_EQ(check_nested("{\"a\":", "}", 63, "{}"), JSON_OK);
	CHECK_EQ(check_nested("{\"a\":", "}", 64, "{}"), JSON_DEPTH);
	CHECK_EQ(check_nested("{\"a\":[", "]}", 32, "1"), JSON_OK);
	CHECK_EQ(check_nested("{\"a\":[", "]}", 32, "[]"), JSON_DEPTH);
	CHECK_EQ(check_nested("[{\"a\":", "}]", 32, "\"x\""), JSON_OK);
	CHECK_EQ(check_nested("[{\"a\":", "}]", 32, "{}"), JSON_DEPTH);
}

TEST(levels_that_were_closed_do_not_count)
{
	struct buf b = BUF_INIT;

	buf_add_str(&b, "{\"a\":[");
	for (int i = 0; i < 1000; i++)
		buf_add_str(&b, "[[[{\"b\":[]}]]],");
	buf_add_str(&b, "0]}");
	CHECK_EQ(walk(buf_bytes(&b)), 1);
	buf_deinit(&b);
}

/* Shows: threat 74 */
TEST(a_million_brackets_are_refused_at_once)
{
	size_t n = 1000000;
	uint8_t *text = mem_alloc(n);

	memset(text, '[', n);
	CHECK_EQ(json_check(bytes_of(text, n), NULL), JSON_DEPTH);
	mem_free(text);
}

TEST(every_kind_of_bracket_must_be_closed_by_its_own)
{
	/* the kinds of 63 levels, in a pattern, then one closed wrongly */
	for (size_t wrong = 0; wrong <= 63; wrong++) {
		struct buf b = BUF_INIT;

		for (size_t i = 0; i < 63; i++)
			buf_add_str(&b, i % 3 ? "[" : "{\"k\":");
		buf_add_u8(&b, '1');
		for (size_t i = 63; i-- > 0;)
			buf_add_u8(&b, (i % 3 != 0) != (i == wrong) ? ']' : '}');
		CHECK_EQ(check(buf_bytes(&b)), wrong == 63 ? JSON_OK : JSON_SYNTAX);
		buf_deinit(&b);
	}
}

TEST(a_walk_yields_each_member_as_it_stands)
{
	struct bytes text = BYTES(
		" {\"a\" : \"x\\ty\" ,\"\":{\"b\": [1, 2]},\n\"\\u0063\":-1.50e3,\"d\":true,\"e\":false,\"f\":null,\"g\":[ ]} ");
	struct json_member m;
	struct json_walk w;

	CHECK_EQ(json_object_begin(&w, text), JSON_OK);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_BYTES(m.key, "a");
	CHECK(!m.key_escaped && !m.key_lone_surrogate);
	CHECK_BYTES(m.value.raw, "\"x\\ty\"");
	CHECK(m.value.type == JSON_STRING && m.value.escaped);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_BYTES(m.key, "");
	CHECK_BYTES(m.value.raw, "{\"b\": [1, 2]}");
	CHECK(m.value.type == JSON_OBJECT && !m.value.line_breaks && !w.line_breaks);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_BYTES(m.key, "\\u0063");
	CHECK(m.key_escaped && w.line_breaks);
	CHECK_BYTES(m.value.raw, "-1.50e3");
	CHECK_EQ(m.value.type, JSON_NUMBER);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_EQ(m.value.type, JSON_TRUE);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_EQ(m.value.type, JSON_FALSE);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_EQ(m.value.type, JSON_NULL);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK(m.value.type == JSON_ARRAY);
	CHECK_BYTES(m.value.raw, "[ ]");
	CHECK_EQ(json_object_next(&w, &m), 0);
	CHECK_EQ(json_object_next(&w, &m), 0);
}

TEST(a_walk_that_failed_stays_failed)
{
	struct json_member m;
	struct json_walk w;

	CHECK_EQ(json_object_begin(&w, BYTES("{\"a\":1,\"b\":x,\"c\":2}")), JSON_OK);
	CHECK_EQ(json_object_next(&w, &m), 1);
	CHECK_EQ(json_object_next(&w, &m), JSON_SYNTAX);
	CHECK_EQ(json_object_next(&w, &m), JSON_SYNTAX);
	CHECK_EQ(json_object_begin(&w, BYTES("[1]")), JSON_NOT_OBJECT);
	CHECK_EQ(json_object_next(&w, &m), JSON_NOT_OBJECT);
	CHECK_EQ(json_object_begin(&w, (struct bytes){ 0 }), JSON_EMPTY);
	CHECK_EQ(json_object_next(&w, &m), JSON_EMPTY);
}

TEST(line_breaks_between_tokens_are_noted_where_they_are)
{
	struct json_value v;

	CHECK_EQ(json_check(BYTES("{\"a\":[1,2],\"b\":\"\\n\"}"), &v), JSON_OK);
	CHECK(!v.line_breaks);
	CHECK_EQ(json_check(BYTES("{\"a\":[1,\r2]}"), &v), JSON_OK);
	CHECK(v.line_breaks);
	CHECK_EQ(json_check(BYTES("\n[1]\n"), &v), JSON_OK);
	CHECK(!v.line_breaks);
	CHECK_EQ(json_check(BYTES("[1\n]"), &v), JSON_OK);
	CHECK(v.line_breaks);
}

TEST(a_lone_surrogate_is_noted_and_a_pair_is_not)
{
	static const struct {
		struct bytes text;
		bool lone;
	} each[] = {
		{ BYTES("\"\\ud83d\\ude00\""), false },
		{ BYTES("\"\\uDBFF\\uDFFF\""), false },
		{ BYTES("\"\\ud7ff\\ue000\""), false },
		{ BYTES("\"\\ud83d\""), true },
		{ BYTES("\"\\ude00\""), true },
		{ BYTES("\"\\ude00\\ud83d\""), true },
		{ BYTES("\"\\ud83d\\ud83d\\ude00\""), true },
		{ BYTES("\"\\ud83dx\\ude00\""), true },
		{ BYTES("\"\\ud83d\\n\""), true },
		{ BYTES("\"\\ud83d\\u0041\""), true },
		{ BYTES("\"\\\\ud83d\""), false },
		{ BYTES("\"\\ud83d\\\\ude00\""), true },
		{ BYTES("\"\\ud83d\\ude00\\ude00\""), true },
	};
	struct json_value v;

	for (size_t i = 0; i < COUNT(each); i++) {
		CHECK_EQ(json_check(each[i].text, &v), JSON_OK);
		CHECK_EQ(v.lone_surrogate, each[i].lone);
		CHECK(v.escaped);
	}
}

TEST(flags_of_strings_are_false_elsewhere)
{
	static const struct bytes each[] = { BYTES("1"),           BYTES("true"), BYTES("null"), BYTES("[\"\\ud83d\"]"),
					     BYTES("{\"\\n\":1}"), BYTES("\"x\"") };

	for (size_t i = 0; i < COUNT(each); i++) {
		struct json_value v;

		memset(&v, 1, sizeof(v));
		CHECK_EQ(json_check(each[i], &v), JSON_OK);
		CHECK(!v.escaped && !v.lone_surrogate && !v.line_breaks);
	}
}

static struct bytes unescape(struct bytes raw, uint8_t *out)
{
	return bytes_of(out, json_unescape(raw, out));
}

TEST(each_escape_means_its_character)
{
	uint8_t out[128];

	CHECK_BYTES(unescape(BYTES("\"\""), out), "");
	CHECK_BYTES(unescape(BYTES("\"plain\""), out), "plain");
	CHECK_BYTES(unescape(BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), out), "\"\\/\b\f\n\r\t");
	CHECK_BYTES(unescape(BYTES("\"\\u0062ob\\u0000\""), out), "bob\0");
	CHECK_BYTES(unescape(BYTES("\"a\\ud83D\\uDe00b\""), out), "a\xf0\x9f\x98\x80"
								  "b");
	CHECK_BYTES(unescape(BYTES("\"\\ud83d\""), out), "\xef\xbf\xbd");
	CHECK_BYTES(unescape(BYTES("\"\\ude00x\\ud83d\\ud83d\\ude00\""), out),
		    "\xef\xbf\xbdx\xef\xbf\xbd\xf0\x9f\x98\x80");
	CHECK_BYTES(unescape(BYTES("\"\\\\u0041\""), out), "\\u0041");
}

TEST(every_code_point_survives_its_escape)
{
	for (uint32_t cp = 0; cp <= 0x10ffff; cp = cp == 0xd7ff ? 0xe000 : cp + (cp < 0x10000 ? 1 : 37)) {
		uint8_t out[16], want[4];
		char text[32];
		int n = cp < 0x10000 ? snprintf(text, sizeof(text), "\"\\u%04x\"", cp)
				     : snprintf(text, sizeof(text), "\"\\u%04X\\u%04x\"",
						0xd800 + ((cp - 0x10000) >> 10), 0xdc00 + ((cp - 0x10000) & 0x3ff));
		struct json_value v;

		if (!CHECK_EQ(json_check(bytes_of(text, (size_t)n), &v), JSON_OK))
			return;
		if (!CHECK(bytes_eq(unescape(v.raw, out), bytes_of(want, utf8_put(want, cp)))))
			return;
		CHECK(!v.lone_surrogate && json_string_eq(&v, bytes_of(want, utf8_put(want, cp))));
	}
}

static bool says(struct bytes text, struct bytes want)
{
	struct json_value v;

	CHECK_EQ(json_check(text, &v), JSON_OK);
	return json_string_eq(&v, want);
}

TEST(strings_are_compared_by_their_decoded_text)
{
	CHECK(says(BYTES("\"bob\""), BYTES("bob")));
	CHECK(says(BYTES("\"\\u0062o\\u0062\""), BYTES("bob")));
	CHECK(!says(BYTES("\"\\u0062o\""), BYTES("bob")));
	CHECK(!says(BYTES("\"\\u0062obb\""), BYTES("bob")));
	CHECK(!says(BYTES("\"bo\""), BYTES("bob")));
	CHECK(says(BYTES("\"\""), BYTES("")));
	CHECK(!says(BYTES("\"\\u0000\""), BYTES("")));
	CHECK(says(BYTES("\"\\ud83d\\ude00\""), BYTES("\xf0\x9f\x98\x80")));
	CHECK(!says(BYTES("1"), BYTES("1")));
	CHECK(!says(BYTES("null"), BYTES("null")));
}

static bool int_is(struct bytes text, int64_t want)
{
	struct json_value v;
	int64_t got = 0;

	CHECK_EQ(json_check(text, &v), JSON_OK);
	return json_int64(&v, &got) && got == want;
}

static bool is_int(struct bytes text)
{
	struct json_value v;
	int64_t got;

	CHECK_EQ(json_check(text, &v), JSON_OK);
	return json_int64(&v, &got);
}

TEST(integers_are_exact_to_the_last_digit)
{
	CHECK(int_is(BYTES("0"), 0));
	CHECK(int_is(BYTES("-0"), 0));
	CHECK(int_is(BYTES("9007199254740993"), 9007199254740993));
	CHECK(int_is(BYTES("9223372036854775807"), INT64_MAX));
	CHECK(int_is(BYTES("-9223372036854775808"), INT64_MIN));
	CHECK(int_is(BYTES("-17"), -17));
	CHECK(!is_int(BYTES("9223372036854775808")));
	CHECK(!is_int(BYTES("-9223372036854775809")));
	CHECK(!is_int(BYTES("18446744073709551616")));
	CHECK(!is_int(BYTES("92233720368547758070")));
	CHECK(!is_int(BYTES("99999999999999999999999999")));
	CHECK(!is_int(BYTES("1.0")));
	CHECK(!is_int(BYTES("1e3")));
	CHECK(!is_int(BYTES("\"1\"")));
	CHECK(!is_int(BYTES("true")));
}

static struct bytes written(struct buf *b, struct bytes s)
{
	buf_clear(b);
	json_add_string(b, s);
	CHECK_EQ(b->len, json_escaped_len(s) + 2);
	return buf_bytes(b);
}

TEST(bytes_that_could_end_a_string_or_a_line_are_escaped)
{
	struct buf b = BUF_INIT;

	CHECK_BYTES(written(&b, BYTES("")), "\"\"");
	CHECK_BYTES(written(&b, (struct bytes){ 0 }), "\"\"");
	CHECK_BYTES(written(&b, BYTES("plain, and longer than a register is")),
		    "\"plain, and longer than a register is\"");
	CHECK_BYTES(written(&b, BYTES("a\"b\\c/")), "\"a\\\"b\\\\c/\"");
	CHECK_BYTES(written(&b, BYTES("\b\f\n\r\t")), "\"\\b\\f\\n\\r\\t\"");
	CHECK_BYTES(written(&b, BYTES("\0\x01\x0b\x1f\x7f")), "\"\\u0000\\u0001\\u000b\\u001f\\u007f\"");
	CHECK_BYTES(written(&b, BYTES("\xc3\xa9\xf0\x9f\x98\x80")), "\"\xc3\xa9\xf0\x9f\x98\x80\"");
	CHECK_BYTES(written(&b, BYTES("\xff")), "\"\xef\xbf\xbd\"");
	CHECK_BYTES(written(&b, BYTES("a\xe4\xbd"
				      "b")),
		    "\"a\xef\xbf\xbd\xef\xbf\xbd"
		    "b\"");
	CHECK_BYTES(written(&b, BYTES("\xed\xa0\x80")), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	CHECK_BYTES(written(&b, BYTES("\xf0\x9f\x98")), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	buf_deinit(&b);
}

/* Shows: threat 59 */
TEST(any_bytes_at_all_become_one_valid_string)
{
	struct buf b = BUF_INIT;
	struct rng r;

	rng_init_seed(&r, 2);
	for (int i = 0; i < 20000; i++) {
		uint8_t in[64], *p, out[400];
		size_t len = rng_below(&r, sizeof(in) + 1);
		struct json_value v;
		struct bytes s;

		rng_fill(&r, in, len);
		for (size_t k = 0; k < len && i % 2; k++)
			in[k] &= 0x7f;
		p = exact(bytes_of(in, len));
		s = written(&b, bytes_of(p, len));
		if (!CHECK_EQ(json_check(s, &v), JSON_OK) || !CHECK_EQ(v.type, JSON_STRING))
			printf("\tround %d\n", i);
		CHECK(!v.lone_surrogate);
		for (size_t k = 0; k < s.len; k++)
			CHECK(s.at[k] >= 0x20 && s.at[k] != 0x7f);
		if (utf8_valid(bytes_of(p, len)))
			CHECK(bytes_eq(unescape(v.raw, out), bytes_of(p, len)) && json_string_eq(&v, bytes_of(p, len)));
		mem_free(p);
	}
	buf_deinit(&b);
}

TEST(every_single_byte_is_escaped_right_at_every_length)
{
	struct buf b = BUF_INIT;

	for (size_t len = 1; len < 40; len++)
		for (size_t at = 0; at < len; at++)
			for (unsigned c = 0; c < 256; c++) {
				uint8_t in[40];
				bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

				memset(in, 'x', len);
				in[at] = (uint8_t)c;
				if (!CHECK_EQ(written(&b, bytes_of(in, len)).len == len + 2, plain))
					printf("\tlength %zu, byte 0x%02x at %zu\n", len, c, at);
			}
	buf_deinit(&b);
}

TEST(line_breaks_become_spaces_and_nothing_else_changes)
{
	struct buf b = BUF_INIT;

	json_add_one_line(&b, BYTES("{\r\n\t\"a\\n\" :\n1\r}"));
	CHECK_BYTES(buf_bytes(&b), "{  \t\"a\\n\" : 1 }");
	json_add_one_line(&b, (struct bytes){ 0 });
	json_add_one_line(&b, BYTES("[]"));
	CHECK_BYTES(buf_bytes(&b), "{  \t\"a\\n\" : 1 }[]");
	buf_deinit(&b);
}
