/* SPDX-License-Identifier: Apache-2.0 */
/* api_origin: which origins of pages may use the gateway, and above all which may not (RFC 6454; docs/config.md). */
#include "api/origin.h"
#include "test.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static bool allowed(const char *const *rules, size_t n, const char *origin, const char *host)
{
	return origin_allowed((char *const *)(uintptr_t)rules, n, bytes_str(origin), bytes_str(host));
}

static void all(bool want, const char *const *rules, size_t n, const char *const *origins, size_t count,
		const char *host)
{
	for (size_t i = 0; i < count; i++)
		if (!test_check(allowed(rules, n, origins[i], host) == want, __FILE__, __LINE__, origins[i]))
			continue;
}

static const char *const one[] = { "https://example.com" };
static const char *const below[] = { "https://*.example.com" };
static const char *const any[] = { "*" };

TEST(an_exact_origin_is_compared_parsed)
{
	static const char *const good[] = { "https://example.com", "HTTPS://EXAMPLE.COM", "https://example.com:443",
					    "https://Example.Com:443" };

	all(true, one, 1, good, N(good), "gateway.test");
}

/* Shows: threat 103, threat 105 */
TEST(hostile_origins_match_no_rule)
{
	static const char *const bad[] = {
		/* near the host */
		"https://example.com.evil.test",
		"https://evil-example.com",
		"https://evilexample.com",
		"https://example.comevil.test",
		"https://xexample.com",
		"https://example.co",
		"https://example.com.",
		"https://.example.com",
		"https://www.example.com",
		"https://example.com,evil.test",
		"https://example.com evil.test",
		"https://example.com\tevil.test",
		/* another scheme or port */
		"http://example.com",
		"https://example.com:80",
		"https://example.com:8443",
		"https://example.com:4430",
		"https://example.com:0443",
		"https://example.com:+443",
		"https://example.com:443:443",
		"ftp://example.com",
		"file://example.com",
		"wss://example.com",
		"chrome-extension://example.com",
		"javascript://example.com",
		/* origins that a careless parser reads differently */
		"https://example.com@evil.test",
		"https://evil.test@example.com",
		"https://example.com:443@evil.test",
		"https://evil.test/https://example.com",
		"https://evil.test#https://example.com",
		"https://evil.test?https://example.com",
		"https://example.com/",
		"https://example.com/path",
		"https://example.com#",
		"https://example.com?",
		"https://example.com\\.evil.test",
		"https:\\\\example.com",
		"https:/example.com",
		"https:example.com",
		"//example.com",
		"example.com",
		"://example.com",
		"https://",
		"https:///",
		"https://:443",
		"https://[example.com]",
		"https://[::1",
		"https://%65xample.com",
		"https://example.com%00.evil.test",
		"https://example.com%2eevil.test",
		"https://*.example.com",
		"https://*",
		"*",
		"null",
		"NULL",
		"",
		" ",
		" https://example.com",
		"https://example.com ",
		"https://example.com https://example.com",
		"https://example.com, https://example.com",
		"\xd0\xb5xample.com",
		"https://\xd0\xb5xample.com",
		"https://xn--xample-2of.com",
		"https://ex\xe3\x80\x82.com",
		"https://127.0.0.1",
		"https://[::1]",
		"https://localhost",
		"https://0x7f.1",
	};

	all(false, one, 1, bad, N(bad), "gateway.test");
	all(false, NULL, 0, bad, N(bad), "gateway.test");
	CHECK(N(bad) >= 60);
}

/* Shows: threat 105 */
TEST(a_byte_that_no_host_has_is_refused_wherever_it_stands)
{
	char origin[] = "https://example.com";

	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < sizeof origin - 1; at++) {
			char copy[sizeof origin];

			memcpy(copy, origin, sizeof origin);
			copy[at] = (char)c;
			CHECK(origin_allowed((char *const *)(uintptr_t)one, 1, bytes_of(copy, sizeof origin - 1),
					     BYTES("gateway.test")) ==
			      (bytes_lower((uint8_t)c) == bytes_lower((uint8_t)origin[at])));
		}
}

/* Shows: threat 105 */
TEST(below_a_host_is_not_the_host_and_not_its_namesakes)
{
	static const char *const good[] = { "https://a.example.com", "https://a.b.example.com",
					    "https://A.EXAMPLE.COM:443" };
	static const char *const bad[] = { "https://example.com",
					   "https://.example.com",
					   "https://evilexample.com",
					   "https://a.example.com.evil.test",
					   "http://a.example.com",
					   "https://a.example.com:444",
					   "https://*.example.com",
					   "https://evil.test/.example.com",
					   "https://evil.test?.example.com",
					   "https://evil.test#.example.com",
					   "https://evil.test\\.example.com",
					   "https://a@.example.com" };

	all(true, below, 1, good, N(good), "gateway.test");
	all(false, below, 1, bad, N(bad), "gateway.test");
}

TEST(a_star_allows_every_origin)
{
	static const char *const good[] = { "https://example.com", "null", "http://localhost:3000", "file://", "" };

	all(true, any, 1, good, N(good), "gateway.test");
}

TEST(the_gateways_own_origin_is_always_allowed)
{
	CHECK(allowed(NULL, 0, "http://gateway.test", "gateway.test"));
	CHECK(allowed(NULL, 0, "https://gateway.test", "gateway.test")); /* a proxy took the TLS off */
	CHECK(allowed(NULL, 0, "http://gateway.test:8080", "gateway.test:8080"));
	CHECK(allowed(NULL, 0, "http://GATEWAY.test:8080", "gateway.TEST:8080"));
	CHECK(allowed(NULL, 0, "http://gateway.test", "gateway.test:80"));
	CHECK(allowed(NULL, 0, "http://[::1]:8080", "[::1]:8080"));
	CHECK(allowed(NULL, 0, "http://127.0.0.1:8080", "127.0.0.1:8080"));
	CHECK(!allowed(NULL, 0, "http://gateway.test:8081", "gateway.test:8080"));
	CHECK(!allowed(NULL, 0, "http://gateway.test", "gateway.test:8080"));
	CHECK(!allowed(NULL, 0, "ftp://gateway.test", "gateway.test"));
	CHECK(!allowed(NULL, 0, "http://gateway.test.evil.test", "gateway.test"));
	CHECK(!allowed(NULL, 0, "http://[::1]", "[::2]"));
	CHECK(!allowed(NULL, 0, "null", ""));
	CHECK(!allowed(NULL, 0, "http://", ""));
}

TEST(an_endless_origin_is_refused_and_an_origin_that_fits_is_read)
{
	char origin[600] = "https://";

	memset(origin + 8, 'a', sizeof origin - 9);
	CHECK(!allowed(one, 1, origin, "gateway.test"));
	CHECK(!allowed(any, 1, origin, "gateway.test"));
	origin[512] = 0;
	CHECK(allowed(any, 1, origin, "gateway.test"));
	CHECK(!allowed(NULL, 0, "http://gateway.test", origin));
}

TEST(many_rules_each_count)
{
	static const char *const rules[] = { "https://a.test", "http://b.test:3000", "https://*.c.test",
					     "http://[::1]:8080" };

	CHECK(allowed(rules, 4, "https://a.test", "g"));
	CHECK(allowed(rules, 4, "http://b.test:3000", "g"));
	CHECK(allowed(rules, 4, "https://x.c.test", "g"));
	CHECK(allowed(rules, 4, "http://[::1]:8080", "g"));
	CHECK(!allowed(rules, 4, "https://b.test:3000", "g"));
	CHECK(!allowed(rules, 4, "http://b.test", "g"));
	CHECK(!allowed(rules, 4, "http://[::1]", "g"));
}
