/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of every kind of value, as tables of right and wrong texts. */
#include "config/parse.h"

#include "test.h"

struct number_row {
	const char *text;
	uint64_t value;
};

static void check_numbers(bool (*parse)(struct bytes, uint64_t *), const struct number_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 0;

		if (!test_check(parse(bytes_str(rows[i].text), &value), __FILE__, __LINE__, rows[i].text))
			continue;
		test_check_eq((int64_t)value, (int64_t)rows[i].value, __FILE__, __LINE__, rows[i].text,
			      "what it means");
	}
}

static void check_not_numbers(bool (*parse)(struct bytes, uint64_t *), const char *const *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 7;

		test_check(!parse(bytes_str(rows[i]), &value), __FILE__, __LINE__, rows[i]);
		CHECK_EQ(value, 7);
	}
}

#define NUMBERS(parse, ...)                                              \
	check_numbers(parse, (const struct number_row[]){ __VA_ARGS__ }, \
		      sizeof((const struct number_row[]){ __VA_ARGS__ }) / sizeof(struct number_row))
#define NOT_NUMBERS(parse, ...)                                        \
	check_not_numbers(parse, (const char *const[]){ __VA_ARGS__ }, \
			  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

TEST(whole_numbers_are_plain_digits)
{
	NUMBERS(parse_count, { "0", 0 }, { "8080", 8080 }, { "18446744073709551615", UINT64_MAX });
	NOT_NUMBERS(parse_count, "", "-1", "+1", "010", "00", "1.0", "1e3", "0x10", "1_000", " 1", "1 ",
		    "18446744073709551616", "99999999999999999999999");
}

TEST(booleans_are_words)
{
	NUMBERS(parse_bool, { "true", 1 }, { "False", 0 }, { "yes", 1 }, { "NO", 0 }, { "on", 1 }, { "off", 0 });
	NOT_NUMBERS(parse_bool, "", "1", "0", "y", "truee", "tru");
}

TEST(a_bare_duration_is_seconds)
{
	NUMBERS(parse_duration, { "30", 30000 }, { "0", 0 }, { "500ms", 500 }, { "30s", 30000 }, { "5m", 300000 },
		{ "1h", 3600000 }, { "1h30m", 5400000 }, { "1m30s500ms", 90500 }, { "90S", 90000 });
	NOT_NUMBERS(parse_duration, "", "s", "1.5s", "-1s", "5d", "5 m", "30s5", "1h-5m", "ms", "5min",
		    "18446744073709551615", "18446744073709551615h", "18446744073709551615ms18446744073709551615ms",
		    "18446744073709551616s");
}

/* Shows: threat 7 */
TEST(a_bare_size_is_bytes_and_units_are_of_1024)
{
	NUMBERS(parse_size, { "0", 0 }, { "512", 512 }, { "512B", 512 }, { "64KiB", 65536 }, { "64kb", 65536 },
		{ "1MiB", 1048576 }, { "1 MiB", 1048576 }, { "1  B", 1 }, { "2GB", 2147483648 });
	NUMBERS(parse_kibibytes, { "1024", 1048576 }, { "1MiB", 1048576 }, { "2048B", 2048 });
	NOT_NUMBERS(parse_size, "", "KiB", "1.5MiB", "64K", "-1", "1TiB", "1KiB1", "18446744073709551615KiB", "1MiBs",
		    "1 ", "1  ", "18446744073709551616B");
	NOT_NUMBERS(parse_kibibytes, "18446744073709551615");
}

TEST(a_rate_is_per_second)
{
	NUMBERS(parse_rate, { "100", 100 }, { "100/s", 100 }, { "0", 0 });
	NOT_NUMBERS(parse_rate, "", "/s", "100/m", "100 /s", "100/", "1.5/s");
}

/* @want NULL: refused. */
struct text_row {
	const char *text, *want;
};

static void check_texts(bool (*parse)(struct bytes, struct buf *), const struct text_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf out = BUF_INIT;
		bool ok = parse(bytes_str(rows[i].text), &out);

		test_check(ok == (rows[i].want != NULL), __FILE__, __LINE__, rows[i].text);
		test_check_bytes(buf_bytes(&out), bytes_str(rows[i].want), __FILE__, __LINE__, rows[i].text);
		buf_deinit(&out);
	}
}

#define TEXTS(parse, ...)                                            \
	check_texts(parse, (const struct text_row[]){ __VA_ARGS__ }, \
		    sizeof((const struct text_row[]){ __VA_ARGS__ }) / sizeof(struct text_row))

TEST(origins_are_kept_as_browsers_write_them)
{
	TEXTS(parse_origin, { "*", "*" }, { "https://example.com", "https://example.com" },
	      { "HTTPS://Example.COM:443", "https://example.com" }, { "http://localhost:80", "http://localhost" },
	      { "http://localhost:3000", "http://localhost:3000" },
	      { "https://*.example.com", "https://*.example.com" },
	      { "https://*.Example.com:8443", "https://*.example.com:8443" },
	      { "http://[::1]:8080", "http://[::1]:8080" }, { "https://[2001:DB8::1]", "https://[2001:db8::1]" },
	      { "capacitor://localhost", "capacitor://localhost" },
	      { "http://example.com:443", "http://example.com:443" });
}

TEST(text_that_is_no_origin_is_refused)
{
	TEXTS(parse_origin, { "", NULL }, { "null", NULL }, { "example.com", NULL }, { "https://", NULL },
	      { "://example.com", NULL }, { "https://example.com/", NULL }, { "https://example.com/a", NULL },
	      { "https://*", NULL }, { "https://*.", NULL }, { "https://a.*.com", NULL }, { "*.example.com", NULL },
	      { "https://u@example.com", NULL }, { "https://example.com:0", NULL },
	      { "https://example.com:65536", NULL }, { "https://example.com:", NULL }, { "https://example..com", NULL },
	      { "https://.example.com", NULL }, { "https://[::1", NULL }, { "https://[example]", NULL },
	      { "https://*.[::1]", NULL }, { "1ttps://example.com", NULL }, { "https://exa mple.com", NULL },
	      { "https:///", NULL }, { "https://:80", NULL }, { "https://a]", NULL }, { "https://[]", NULL },
	      { "https://[:", NULL }, { "https://[1.2.3.4]", NULL }, { "a b://c", NULL }, { "+a://c", NULL },
	      { "https://example.com?x", NULL }, { "**", NULL }, { "https://\xc3\xa4.example", NULL });
}

/* Shows: threat 110, threat 141 */
TEST(listen_addresses_are_literals_or_unix_sockets)
{
	TEXTS(parse_address, { "0.0.0.0", "0.0.0.0" }, { "::", "::" }, { "unix:/run/wsc.sock", "unix:/run/wsc.sock" },
	      { "localhost", NULL }, { "0.0.0.0:80", NULL }, { "unix:", NULL }, { "unix:/", NULL },
	      { "unix:wsc.sock", NULL }, { "unix:/a\nb", NULL }, { "", NULL },
	      { "unix:/12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
		NULL });
}

TEST(paths_are_accepted_only_in_the_form_of_a_request_target)
{
	TEXTS(parse_path, { "/ws", "/ws" }, { "/api/v1/web-socket_~.x", "/api/v1/web-socket_~.x" }, { "/", NULL },
	      { "ws", NULL }, { "/ws/", NULL }, { "//ws", NULL }, { "/a//b", NULL }, { "/a/../b", NULL },
	      { "/.", NULL }, { "/a?b", NULL }, { "/a b", NULL }, { "/%61", NULL }, { "", NULL });
}

TEST(texts_are_utf8_without_control_characters)
{
	TEXTS(parse_text, { "a b \xc3\xa4", "a b \xc3\xa4" }, { "", NULL }, { "a\tb", NULL }, { "a\x7f", NULL },
	      { "\xc2\x9b", NULL }, { "\xff", NULL });
	TEXTS(parse_name, { "node-1.eu:8080_a", "node-1.eu:8080_a" }, { "", NULL }, { "a b", NULL }, { "a/b", NULL },
	      { "12345678901234567890123456789012345678901234567890123456789012345", NULL });
}

/* A text with a NUL in it, or longer than a literal wants to be. */
static bool takes(bool (*parse)(struct bytes, struct buf *), struct bytes s)
{
	struct buf out = BUF_INIT;
	bool ok = parse(s, &out);

	CHECK(!ok || bytes_eq(buf_bytes(&out), s));
	buf_deinit(&out);
	return ok;
}

TEST(text_that_is_too_long_or_holds_a_nul_is_refused)
{
	static char many[5000];

	memset(many, 'a', sizeof(many));
	CHECK(takes(parse_name, bytes_of(many, 64)));
	CHECK(!takes(parse_name, bytes_of(many, 65)));
	CHECK(takes(parse_word, bytes_of(many, 128)));
	CHECK(!takes(parse_word, bytes_of(many, 129)));
	CHECK(takes(parse_text, bytes_of(many, 4096)));
	CHECK(!takes(parse_text, bytes_of(many, 4097)));
	CHECK(!takes(parse_name, BYTES("a\0b")));
	CHECK(!takes(parse_text, BYTES("a\0b")));
	CHECK(!takes(parse_path, BYTES("/a\0b")));
	CHECK(!takes(parse_origin, BYTES("https://a\0b")));
	CHECK(takes(parse_text, BYTES("\xc2\xa0"))); /* a blank that does not break is no control character */
	many[0] = '/';
	CHECK(takes(parse_path, bytes_of(many, 128)));
	CHECK(!takes(parse_path, bytes_of(many, 129)));
}

TEST(hosts_and_schemes_of_origins_have_a_greatest_length)
{
	char text[400] = "https://", scheme[64];

	memset(text + 8, 'a', 253);
	CHECK(takes(parse_origin, bytes_of(text, 8 + 253)));
	text[8 + 253] = 'a';
	CHECK(!takes(parse_origin, bytes_of(text, 8 + 254)));
	memset(scheme, 's', sizeof(scheme));
	memcpy(scheme + 32, "://a", 4);
	CHECK(takes(parse_origin, bytes_of(scheme, 36)));
	memcpy(scheme + 32, "s://a", 5);
	CHECK(!takes(parse_origin, bytes_of(scheme, 37)));
}
