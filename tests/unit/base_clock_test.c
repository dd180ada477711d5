/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 3339 both ways: known instants, every day there is, and the shapes that are refused. */
#include "base/clock.h"
#include "base/rng.h"
#include "test.h"

static bool formats_as(uint64_t wall_ms, const char *want)
{
	char text[RFC3339_LEN];

	rfc3339_format(wall_ms, text);
	return bytes_eq(bytes_of(text, sizeof(text)), bytes_str(want));
}

TEST(known_instants_are_written_as_known)
{
	CHECK(formats_as(0, "1970-01-01T00:00:00.000Z"));
	CHECK(formats_as(951782400000, "2000-02-29T00:00:00.000Z"));
	CHECK(formats_as(1769860800000, "2026-01-31T12:00:00.000Z"));
	CHECK(formats_as(1234567890987, "2009-02-13T23:31:30.987Z"));
	CHECK(formats_as(4107542399999, "2100-02-28T23:59:59.999Z"));
	CHECK(formats_as(4107542400000, "2100-03-01T00:00:00.000Z"));
	CHECK(formats_as(253402300799999, "9999-12-31T23:59:59.999Z"));
	CHECK(formats_as(UINT64_MAX, "9999-12-31T23:59:59.999Z"));
}

TEST(every_day_from_1970_to_9999_comes_back_as_it_went)
{
	char text[RFC3339_LEN];
	char last[RFC3339_LEN] = { 0 };
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (uint64_t day = 0; day <= 253402300799999 / 86400000; day++) {
		uint64_t ms = day * 86400000 + rng_below(&rng, 86400000);
		int64_t back;
		bool zone;

		rfc3339_format(ms, text);
		if (!CHECK(rfc3339_parse(bytes_of(text, sizeof(text)), &zone, &back)) || !CHECK(zone) ||
		    !CHECK_EQ(back, ms) || !CHECK(memcmp(text, last, sizeof(text)) > 0))
			return;
		memcpy(last, text, sizeof(text));
	}
}

struct instant {
	const char *text;
	bool zone;
	int64_t ms;
};

TEST(the_shapes_that_clients_send_are_read)
{
	static const struct instant good[] = {
		{ "1985-04-12T23:20:50.52Z", true, 482196050520 },
		{ "1996-12-19T16:39:57-08:00", true, 851042397000 },
		{ "1937-01-01T12:00:27.87+00:20", true, -1041337172130 },
		{ "1990-12-31T23:59:60Z", true, 662688000000 },
		{ "1990-12-31T15:59:60-08:00", true, 662688000000 },
		{ "2026-01-31t12:00:00z", true, 1769860800000 },
		{ "2026-01-31 12:00:00", false, 1769860800000 },
		{ "2026-01-31T12:00:00.123456", false, 1769860800123 },
		{ "2026-01-31T12:00:00.1", false, 1769860800100 },
		{ "2026-01-31T12:00:00.99999999999999999999999999999999+00:00", true, 1769860800999 },
		{ "2026-01-31T12:00:00.123456789-23:59", true, 1769947140123 },
		{ "2026-01-31T12:00:00-00:00", true, 1769860800000 },
		{ "2024-02-29T00:00:00Z", true, 1709164800000 },
		{ "0000-01-01T00:00:00Z", true, -62167219200000 },
		{ "0000-01-01T00:00:00+23:59", true, -62167305540000 },
		{ "1969-12-31T23:59:59.9995Z", true, -1 },
		{ "9999-12-31T23:59:59.999-23:59", true, 253402387139999 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		bool zone = !good[i].zone;
		int64_t ms = 1;

		CHECK(rfc3339_parse(bytes_str(good[i].text), &zone, &ms));
		CHECK_EQ(zone, good[i].zone);
		CHECK_EQ(ms, good[i].ms);
	}
	CHECK(rfc3339_parse(BYTES("2026-01-31T12:00:00Z"), NULL, NULL));
}

TEST(text_that_is_no_date_is_refused)
{
	static const char *const bad[] = {
		"",
		"2026-01-31",
		"2026-01-31T12:00",
		"2026-01-31T12:00Z",
		"2026-01-31T12:00:00.",
		"2026-01-31T12:00:00.Z",
		"2026-01-31T12:00:00,5Z",
		"2026-01-31T12:00:00ZZ",
		"2026-01-31T12:00:00Z ",
		" 2026-01-31T12:00:00Z",
		"2026-01-31T12:00:00 Z",
		"2026-01-31T12:00:00+01",
		"2026-01-31T12:00:00+0100",
		"2026-01-31T12:00:00+24:00",
		"2026-01-31T12:00:00+01:60",
		"2026-01-31T12:00:00*01:00",
		"2026-01-31T12:00:00+01:00Z",
		"2026-01-31T12:00:00.999999999999999999999999999999999Z",
		"2026-01-31_12:00:00Z",
		"2026-01-31T24:00:00Z",
		"2026-01-31T12:60:00Z",
		"2026-01-31T12:00:61Z",
		"2026-01-31T23:59:60+00:01",
		"2026-01-30T23:59:60Z",
		"2026-01-31T12:00:60Z",
		"1960-12-31T23:59:60Z",
		"1969-12-31T23:59:60Z",
		"2026-00-31T12:00:00Z",
		"2026-13-31T12:00:00Z",
		"2026-01-00T12:00:00Z",
		"2026-01-32T12:00:00Z",
		"2026-04-31T12:00:00Z",
		"2026-02-29T12:00:00Z",
		"2100-02-29T12:00:00Z",
		"02026-01-31T12:00:00Z",
		"+026-01-31T12:00:00Z",
		"2026-1-31T12:00:00Z",
		"2026/01/31T12:00:00Z",
		"20260131T120000Z",
		"1769860800",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms = 77;

		if (!CHECK(!rfc3339_parse(bytes_str(bad[i]), NULL, &ms)))
			test_check(false, __FILE__, __LINE__, bad[i]);
		CHECK_EQ(ms, 77);
	}
	CHECK(!rfc3339_parse(BYTES("2026-01-31\0"
				   "12:00:00Z"),
			     NULL, NULL));
}

TEST(every_prefix_of_a_date_is_refused_unless_only_digits_or_the_zone_are_missing)
{
	struct bytes whole = BYTES("2026-01-31T12:00:00.5+01:00");

	for (size_t n = 0; n < whole.len; n++)
		CHECK_EQ(rfc3339_parse(bytes_of(whole.at, n), NULL, NULL), n == 19 || n == 21);
}

/* Shows: threat 134 */
TEST(milliseconds_are_whole_and_of_the_monotonic_clock)
{
	CHECK_EQ(now_ms((struct now){ .mono_ns = 1999999 }), 1);
}
