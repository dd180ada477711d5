/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work grows with the input and not with its square: each kind of input is read at two sizes, the larger sixteen times
 * the smaller, and may cost at most sixty-four times as much CPU time of this thread; a square would be 256. The least
 * of several runs counts, so that a busy machine changes nothing.
 */
#include <stdio.h>
#include <time.h>
#include "base/json.h"
#include "base/utf8.h"
#include "proto/envelope.h"
#include "proto/http1.h"
#include "proto/query.h"
#include "proto/ws.h"
#include "test.h"

#define SMALL 4096u
#define LARGE (16u * SMALL)
#define RUNS 5
#define FACTOR 64u

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t least(void (*work)(struct bytes), struct bytes in)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < RUNS; i++) {
		uint64_t before = cpu_ns(), took;

		work(in);
		took = cpu_ns() - before;
		best = took < best ? took : best;
	}
	return best ? best : 1;
}

/* @unit again and again between @head and @tail, about @size bytes in all. */
static struct bytes fill(uint8_t *room, size_t size, const char *head, const char *unit, const char *tail)
{
	size_t n = strlen(head), u = strlen(unit), t = strlen(tail);

	memcpy(room, head, n);
	for (; n + u + t <= size; n += u)
		memcpy(room + n, unit, u);
	memcpy(room + n, tail, t);
	return bytes_of(room, n + t);
}

static void grows_with_its_input(const char *what, void (*work)(struct bytes), const char *head, const char *unit,
				 const char *tail)
{
	static uint8_t room[LARGE];
	uint64_t small = least(work, fill(room, SMALL, head, unit, tail));
	uint64_t large = least(work, fill(room, LARGE, head, unit, tail));

	/* Below a microsecond the clock is not exact. */
	if (!CHECK(large < FACTOR * (small > 1000 ? small : 1000)))
		printf("\t%s: %llu ns, then %llu ns\n", what, (unsigned long long)small, (unsigned long long)large);
}

static const struct http1_limits wide = { LARGE, LARGE, HTTP1_FIELDS_MAX };

static void read_lists(struct bytes in)
{
	static struct http1_head h;
	struct http1_parser p = { 0 };

	CHECK_EQ(http1_parse_head(&p, &wide, in, &h), HTTP1_DONE);
	CHECK(!http1_has_token(&h, BYTES("Sec-WebSocket-Protocol"), BYTES("nobody")));
	CHECK(!http1_has_token(&h, BYTES("Sec-WebSocket-Extensions"), BYTES("nobody")));
}

/* Shows: threat 19, threat 20, threat 57 */
TEST(a_list_in_a_header_is_read_in_linear_time_for_any_content)
{
	static const char *const units[] = { ",", " ", "\t", " ,", ", ", ",,  ", "a,", "a ,", "a;b=\"c\",", "\"", ";" };
	static const char *const fields[] = { "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Protocol: x",
					      "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Extensions: x" };

	for (size_t f = 0; f < 2; f++)
		for (size_t i = 0; i < sizeof units / sizeof *units; i++)
			grows_with_its_input(units[i], read_lists, fields[f], units[i], "x\r\n\r\n");
}

static void read_query(struct bytes in)
{
	static uint8_t scratch[LARGE];
	struct bytes v;

	CHECK(query_find(in, BYTES("nobody"), scratch, &v) != 0);
}

TEST(a_query_is_read_in_linear_time)
{
	static const char *const units[] = { "&", "=", "a&", "a=b&", "%61", "+", "nobod=1&", "a=%" };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		grows_with_its_input(units[i], read_query, "", units[i], "");
}

static void read_json(struct bytes in)
{
	struct json_value v;

	(void)json_check(in, &v);
	(void)utf8_valid(in);
}

static void read_message(struct bytes in)
{
	static const uint64_t seed[2] = { 7, 11 };
	struct envelope e;

	(void)envelope_parse(&e, in, 64, seed);
}

/* Shows: threat 14 */
TEST(a_message_is_read_in_linear_time)
{
	static const char *const units[][3] = {
		{ "[", "[", "" },
		{ "{\"data\":", "{\"a\":", "" },
		{ "{\"content\":\"", "\\u00e9", "\"}" },
		{ "{\"content\":\"", "\xc3\xa9", "\"}" },
		{ "{\"content\":\"", "\\ud83d\\ude00", "\"}" },
		{ "{\"data\":{\"a\":[0", ",{\"b\":[]}", "]}}" },
		{ "{\"n\":1", "0", "}" },
		{ "{", " ", "}" },
		{ "{\"content\":\"x\"", "\r\n", "}" },
		{ "{\"a\":1", ",\"a\":1", "}" },
	};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		grows_with_its_input(units[i][1], read_json, units[i][0], units[i][1], units[i][2]);
		grows_with_its_input(units[i][1], read_message, units[i][0], units[i][1], units[i][2]);
	}
}

static void read_frames(struct bytes in)
{
	static uint8_t copy[LARGE];
	static const struct ws_limits limits = { LARGE, UINT32_MAX };
	struct mut_bytes rest = { copy, in.len };
	struct ws_decoder d;
	struct ws_out out;

	memcpy(copy, in.at, in.len);
	ws_decoder_init(&d, false);
	for (;;) {
		enum ws_event ev = ws_decode(&d, &limits, &rest, &out);

		if (ev == WS_NEED_MORE)
			return;
		if (!CHECK(ev != WS_ERROR))
			return;
	}
}

/* Shows: threat 4, threat 14 */
TEST(frames_are_read_in_linear_time)
{
	grows_with_its_input("pings", read_frames, "", "\x89\x81\x01\x02\x03\x04p", "");
	grows_with_its_input("messages", read_frames, "", "\x81\x81\x01\x02\x03\x04p", "");
	grows_with_its_input("empty messages", read_frames, "", "\x82\x80\x01\x02\x03\x04", "");
}

/* ---- the judge finds a square ------------------------------------------------------------------------------------------- */

static void square(struct bytes in)
{
	volatile unsigned n = 0;

	for (size_t i = 0; i < in.len; i += 8)
		for (size_t j = 0; j < in.len; j += 64)
			n = n + in.at[j];
}

TEST(quadratic_time_is_distinguished_from_linear_time)
{
	static uint8_t room[LARGE];
	uint64_t small = least(square, fill(room, SMALL, "", "x", ""));

	CHECK(least(square, fill(room, LARGE, "", "x", "")) > FACTOR * small);
}
