/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/ws_deflate: which offers are taken, and messages there and back. The other side of each stream is zlib, called
 * by hand, with windows no larger than agreed and its output taken byte by byte, so that a reference too far back
 * shows.
 */
#include "proto/ws_deflate.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/mem.h"
#include "test.h"
#include "wsc/error.h"

#define MIB ((uint64_t)1 << 20)

/* ---- offers ----------------------------------------------------------------------------------------------------- */

static const struct ws_deflate_policy plain = { .window_bits = 15, .takeover = false };
static const struct ws_deflate_policy takeover = { .window_bits = 15, .takeover = true };
static const struct ws_deflate_policy narrow = { .window_bits = 12, .takeover = true };

/* The answer to up to two fields, in static memory; "" for none. */
static const char *answer_to(const struct ws_deflate_policy *p, const char *first, const char *second,
			     struct ws_deflate *out)
{
	static char answer[WS_DEFLATE_ANSWER_MAX + 1];
	struct http1_head h = { .nfields = second ? 2 : 1 };
	size_t n;

	h.fields[0] = (struct http1_field){ BYTES("sec-websocket-extensions"), bytes_str(first) };
	if (second)
		h.fields[1] = (struct http1_field){ BYTES("Sec-WebSocket-Extensions"), bytes_str(second) };
	n = ws_deflate_choose(&h, p, out, answer);
	answer[n] = 0;
	return answer;
}

static bool answers(const struct ws_deflate_policy *p, const char *offer, const char *want)
{
	struct ws_deflate d;
	const char *got = answer_to(p, offer, NULL, &d);
	bool ok = strcmp(got, want) == 0 && d.on == (*want != 0);

	if (!ok)
		printf("offer  %s\n  got  %s\n  want %s\n", offer, got, want);
	return ok;
}

#define NO_TAKEOVER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

TEST(an_offer_is_answered_with_the_requested_parameters_and_our_own_limits)
{
	CHECK(answers(&plain, "permessage-deflate", NO_TAKEOVER));
	CHECK(answers(&plain, "permessage-deflate; client_max_window_bits", NO_TAKEOVER));
	CHECK(answers(&plain, "permessage-deflate; client_max_window_bits=10",
		      NO_TAKEOVER "; client_max_window_bits=10"));
	CHECK(answers(&plain, "permessage-deflate;server_max_window_bits=8", NO_TAKEOVER "; server_max_window_bits=8"));
	CHECK(answers(&takeover, "permessage-deflate", "permessage-deflate"));
	CHECK(answers(&takeover, "permessage-deflate; client_max_window_bits", "permessage-deflate"));
	CHECK(answers(&takeover, "permessage-deflate; server_no_context_takeover",
		      "permessage-deflate; server_no_context_takeover"));
	CHECK(answers(&takeover, "permessage-deflate; client_no_context_takeover",
		      "permessage-deflate; client_no_context_takeover"));
	CHECK(answers(&takeover, "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
		      "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"));
	CHECK(answers(&narrow, "permessage-deflate", "permessage-deflate; server_max_window_bits=12"));
	CHECK(answers(&narrow, "permessage-deflate; client_max_window_bits",
		      "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"));
	CHECK(answers(&narrow, "permessage-deflate; client_max_window_bits=9; server_max_window_bits=14",
		      "permessage-deflate; server_max_window_bits=12; client_max_window_bits=9"));
	CHECK(answers(&narrow, "permessage-deflate; server_max_window_bits=10",
		      "permessage-deflate; server_max_window_bits=10"));
}

/* Shows: threat 35 */
TEST(every_allowed_window_is_taken_as_offered)
{
	for (unsigned bits = 8; bits <= 15; bits++) {
		char offer[80], want[80];
		struct ws_deflate d;

		snprintf(offer, sizeof offer, "permessage-deflate; server_max_window_bits=%u", bits);
		CHECK(answers(&takeover, offer, offer));
		(void)answer_to(&takeover, offer, NULL, &d);
		CHECK_EQ(d.server_bits, bits);
		CHECK_EQ(d.client_bits, 15);
		snprintf(want, sizeof want, "permessage-deflate; client_max_window_bits=%u", bits);
		CHECK(answers(&takeover, want, want));
		(void)answer_to(&takeover, want, NULL, &d);
		CHECK_EQ(d.server_bits, 15);
		CHECK_EQ(d.client_bits, bits);
	}
}

/* Shows: threat 20 */
TEST(the_grammar_has_spaces_quotes_empty_elements_and_other_extensions)
{
	CHECK(answers(&takeover, " \t,, permessage-deflate \t, x", "permessage-deflate"));
	CHECK(answers(&takeover, "permessage-deflate ; server_no_context_takeover",
		      "permessage-deflate; server_no_context_takeover"));
	CHECK(answers(&takeover, "permessage-deflate;\tserver_max_window_bits = 10",
		      "permessage-deflate; server_max_window_bits=10"));
	CHECK(answers(&takeover, "permessage-deflate; server_max_window_bits=\"10\"",
		      "permessage-deflate; server_max_window_bits=10"));
	CHECK(answers(&takeover, "permessage-deflate; server_max_window_bits=\"\\1\\0\"",
		      "permessage-deflate; server_max_window_bits=10"));
	CHECK(answers(&takeover, "x-webkit-deflate-frame, permessage-deflate", "permessage-deflate"));
	CHECK(answers(&takeover, "foo; a; b=c; d=\"e\\f\"; a, permessage-deflate", "permessage-deflate"));
}

/* Shows: threat 35 */
TEST(an_offer_with_a_bad_parameter_is_declined_and_the_next_one_is_looked_at)
{
	static const char *const bad[] = {
		"permessage-deflate; unknown",
		"permessage-deflate; server_no_context_takeover=1",
		"permessage-deflate; client_no_context_takeover=true",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=10",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=08",
		"permessage-deflate; server_max_window_bits=010",
		"permessage-deflate; server_max_window_bits=1",
		"permessage-deflate; server_max_window_bits=100",
		"permessage-deflate; server_max_window_bits=+9",
		"permessage-deflate; server_max_window_bits=1+",
		"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
		"permessage-deflate; client_max_window_bits=0",
		"permessage-deflate; client_max_window_bits=\"16\"",
		"permessage-deflate; Server_Max_Window_Bits=10",
		"permessage-deflate; server_max_window_bits=1000000000000000000000000000",
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char both[200];

		CHECK(answers(&takeover, bad[i], ""));
		snprintf(both, sizeof both, "%s, permessage-deflate; client_max_window_bits=11", bad[i]);
		CHECK(answers(&takeover, both, "permessage-deflate; client_max_window_bits=11"));
	}
}

TEST(elements_behind_a_grammar_error_are_no_offers)
{
	static const char *const bad[] = {
		"",
		",,, ,",
		"permessage-deflate;",
		"permessage-deflate; ;",
		"permessage-deflate; =1",
		"permessage-deflate; server_max_window_bits=",
		"permessage-deflate; server_max_window_bits=\"\"",
		"permessage-deflate; server_max_window_bits=\"10",
		"permessage-deflate; server_max_window_bits=\"1 0\"",
		"permessage-deflate; server_max_window_bits=\"10\\",
		"permessage-deflate; server_max_window_bits=\"10\"x",
		"permessage-deflate server_no_context_takeover",
		"permessage-deflate/",
		"\"permessage-deflate\"",
		"permessage-deflate=1",
		"x; y=@, permessage-deflate",
		"(, permessage-deflate",
		"xpermessage-deflate",
		"permessage-deflat",
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(answers(&takeover, bad[i], ""));
}

TEST(offers_may_stand_in_several_fields_and_the_first_acceptable_one_counts)
{
	struct ws_deflate d;

	CHECK(strcmp(answer_to(&takeover, "x, permessage-deflate; bad", "permessage-deflate; server_max_window_bits=9",
			       &d),
		     "permessage-deflate; server_max_window_bits=9") == 0);
	CHECK(d.on && d.server_takeover && d.client_takeover);
	CHECK(strcmp(answer_to(&takeover, "(", "permessage-deflate", &d), "permessage-deflate") == 0);
	CHECK(strcmp(answer_to(
			     &takeover,
			     "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, permessage-deflate",
			     NULL, &d),
		     "permessage-deflate; server_no_context_takeover; server_max_window_bits=8") == 0);
	CHECK(d.on && !d.server_takeover && d.client_takeover);
	CHECK(strcmp(answer_to(&takeover, "x", "y", &d), "") == 0);
	CHECK(!d.on && !d.server_bits && !ws_deflate_context_bytes(&d));
}

/* ---- the other side --------------------------------------------------------------------------------------------- */

struct far {
	z_stream in, out; /* of the client: it inflates ours, deflates its own */
};

static void far_init(struct far *f, unsigned server_bits, unsigned client_bits)
{
	*f = (struct far){ 0 };
	CHECK_EQ(inflateInit2(&f->in, -(int)server_bits), Z_OK);
	CHECK_EQ(deflateInit2(&f->out, 6, Z_DEFLATED, -(int)(client_bits < 9 ? 9 : client_bits), 8, Z_DEFAULT_STRATEGY),
		 Z_OK);
}

static void far_free(struct far *f)
{
	inflateEnd(&f->in);
	deflateEnd(&f->out);
}

/* The text that the client inflates from @wire: byte by byte, so that it can refer only to its window. */
static struct buf far_read(struct far *f, struct bytes wire, bool keep)
{
	struct buf in = BUF_INIT, text = BUF_INIT;
	int r = Z_OK;

	buf_add(&in, wire);
	buf_add(&in, bytes_of("\x00\x00\xff\xff", 4));
	f->in.next_in = in.at;
	f->in.avail_in = (uInt)in.len;
	while (r == Z_OK) {
		uint8_t one;

		f->in.next_out = &one;
		f->in.avail_out = 1;
		r = inflate(&f->in, Z_SYNC_FLUSH);
		if (!f->in.avail_out)
			buf_add_u8(&text, one);
	}
	CHECK(r == Z_BUF_ERROR);
	CHECK_EQ(f->in.avail_in, 0);
	if (!keep)
		inflateReset(&f->in);
	buf_deinit(&in);
	return text;
}

static struct buf far_write(struct far *f, struct bytes text, int flush, bool keep)
{
	struct buf wire = BUF_INIT;
	uint8_t out[512];

	f->out.next_in = (Bytef *)(uintptr_t)text.at;
	f->out.avail_in = (uInt)text.len;
	do {
		f->out.next_out = out;
		f->out.avail_out = sizeof out;
		(void)deflate(&f->out, flush);
		buf_add(&wire, bytes_of(out, sizeof out - f->out.avail_out));
	} while (!f->out.avail_out);
	if (flush == Z_FINISH)
		buf_add_u8(&wire, 0);
	else if (flush == Z_SYNC_FLUSH)
		wire.len -= 4;
	if (!keep || flush == Z_FINISH)
		deflateReset(&f->out);
	return wire;
}

/* Text, noise and runs, each byte a function of @seed. */
static void fill(uint8_t *at, size_t n, unsigned kind, uint32_t seed)
{
	static const char words[] = "{\"type\":\"text\",\"from\":\"alice\",\"to\":\"bob\",\"content\":\"hello again\"}";

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		at[i] = kind == 0   ? (uint8_t)words[(i + (seed >> 30)) % (sizeof words - 1)]
			: kind == 1 ? (uint8_t)(seed >> 24)
				    : (uint8_t)(i / 300);
	}
}

/* A message of ours to the client. True: it went out compressed. */
static bool there(struct ws_deflater *d, struct far *f, struct bytes text, bool keep)
{
	uint8_t *wire = malloc(text.len + WS_DEFLATE_ROOM);
	struct buf got = BUF_INIT;
	size_t len;
	int r = ws_deflate(d, text, keep, wire, &len);

	if (r == 0) {
		CHECK(len > 0 && len < text.len);
		got = far_read(f, bytes_of(wire, len), keep);
		CHECK(bytes_eq(buf_bytes(&got), text));
	} else {
		CHECK_EQ(r, WS_DEFLATE_PLAIN);
	}
	buf_deinit(&got);
	free(wire);
	return r == 0;
}

static void back(struct ws_inflater *i, struct far *f, struct bytes text, int flush, bool keep)
{
	struct buf wire = far_write(f, text, flush, keep), got = BUF_INIT;

	CHECK_EQ(ws_inflate(i, buf_bytes(&wire), keep, text.len, &got), 0);
	CHECK(bytes_eq(buf_bytes(&got), text));
	buf_deinit(&got);
	if (text.len && !keep) {
		CHECK_EQ(ws_inflate(i, buf_bytes(&wire), keep, text.len - 1, &got), WS_INFLATE_TOO_BIG);
		CHECK(got.len <= text.len - 1);
		buf_deinit(&got);
	}
	buf_deinit(&wire);
}

static const size_t sizes[] = { 1, 2, 5, 16, 100, 255, 256, 257, 1000, 4096, 16383, 16384, 16385, 40000, 70000 };

/* Shows: threat 36, threat 38 */
TEST(messages_of_all_sizes_and_kinds_survive_a_round_trip_with_every_window_with_and_without_takeover)
{
	static uint8_t text[70000];

	for (unsigned bits = 8; bits <= 15; bits++)
		for (int keep = 0; keep < 2; keep++) {
			struct ws_deflater *d = ws_deflater_new(bits, 6);
			struct ws_inflater *i = ws_inflater_new(bits);
			unsigned compressed = 0;
			struct far f;

			if (!CHECK(d && i))
				return;
			far_init(&f, bits, bits);
			for (unsigned k = 0; k < 3; k++)
				for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
					fill(text, sizes[s], k, (uint32_t)(bits * 77 + s));
					compressed += there(d, &f, bytes_of(text, sizes[s]), keep);
					/*
					 * A window of 256 bytes is ours alone: zlib would write into it from farther.
					 */
					if (bits > 8)
						back(i, &f, bytes_of(text, sizes[s]), Z_SYNC_FLUSH, keep);
				}
			CHECK(compressed >= 12); /* of text and runs; of noise nothing becomes shorter */
			far_free(&f);
			ws_deflater_free(d);
			ws_inflater_free(i);
		}
}

TEST(every_level_gives_the_same_messages)
{
	static uint8_t text[20000];

	fill(text, sizeof text, 0, 5);
	for (unsigned level = 1; level <= 9; level++) {
		struct ws_deflater *d = ws_deflater_new(15, level);
		struct far f;

		if (!CHECK(d != NULL))
			return;
		far_init(&f, 15, 15);
		for (int n = 0; n < 5; n++)
			CHECK(there(d, &f, bytes_of(text, sizeof text - (size_t)n * 999), true));
		far_free(&f);
		ws_deflater_free(d);
	}
}

TEST(with_takeover_the_same_message_again_is_much_shorter_and_without_it_is_not)
{
	struct ws_deflater *d = ws_deflater_new(15, 6);
	uint8_t text[2000], wire[2000 + WS_DEFLATE_ROOM];
	size_t len[4];

	fill(text, sizeof text, 0, 9);
	for (int n = 0; n < 2; n++)
		CHECK_EQ(ws_deflate(d, bytes_of(text, sizeof text), false, wire, &len[n]), 0);
	for (int n = 2; n < 4; n++)
		CHECK_EQ(ws_deflate(d, bytes_of(text, sizeof text), true, wire, &len[n]), 0);
	CHECK_EQ(len[0], len[1]);
	CHECK(len[3] < len[2] / 4);
	ws_deflater_free(d);
}

/* No reference may point into an uncompressed message, because the client has never inflated it. */
TEST(no_later_message_refers_to_a_message_sent_uncompressed)
{
	static uint8_t noise[9000];
	struct ws_deflater *d = ws_deflater_new(15, 9);
	uint8_t text[3000];
	struct far f;

	far_init(&f, 15, 15);
	fill(noise, sizeof noise, 1, 3);
	fill(text, sizeof text, 0, 4);
	CHECK(there(d, &f, bytes_of(text, sizeof text), true));
	CHECK(!there(d, &f, bytes_of(noise, sizeof noise), true));
	memcpy(text + 1000, noise, 500);
	CHECK(there(d, &f, bytes_of(text, sizeof text), true));
	far_free(&f);
	ws_deflater_free(d);
}

/* ---- messages of clients ------------------------------------------------------------------------------------------ */

static int inflate_all(struct bytes wire, bool keep, uint64_t max, struct buf *out)
{
	struct ws_inflater *i = ws_inflater_new(15);
	int r = ws_inflate(i, wire, keep, max, out);

	ws_inflater_free(i);
	return r;
}

static bool inflates_to(struct bytes wire, const char *want)
{
	struct buf out = BUF_INIT;
	int r = inflate_all(wire, false, MIB, &out);
	bool ok = r == 0 && bytes_eq(buf_bytes(&out), bytes_str(want));

	buf_deinit(&out);
	return ok;
}

static int verdict(struct bytes wire)
{
	struct buf out = BUF_INIT;
	int r = inflate_all(wire, false, MIB, &out);

	buf_deinit(&out);
	return r;
}

TEST(the_examples_of_rfc_7692_inflate_to_hello)
{
	struct ws_inflater *i = ws_inflater_new(15);
	struct buf out = BUF_INIT;

	CHECK(inflates_to(BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"));                 /* §7.2.3.1 */
	CHECK(inflates_to(BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello")); /* §7.2.3.3: stored */
	CHECK(inflates_to(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"));             /* §7.2.3.4: BFINAL */
	CHECK(inflates_to(BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
			  "Hello"));           /* §7.2.3.5: two blocks */
	CHECK(inflates_to(BYTES("\x00"), "")); /* §7.2.3.6: empty */
	/* §7.2.3.2: the second one refers to the first. */
	CHECK_EQ(ws_inflate(i, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), true, MIB, &out), 0);
	CHECK_EQ(ws_inflate(i, BYTES("\xf2\x00\x11\x00\x00"), true, MIB, &out), 0);
	CHECK_BYTES(buf_bytes(&out), "HelloHello");
	ws_inflater_free(i);
	/* Without takeover there is nothing to refer to. */
	CHECK_EQ(verdict(BYTES("\xf2\x00\x11\x00\x00")), WS_INFLATE_BAD);
	buf_deinit(&out);
}

TEST(final_blocks_may_be_in_the_middle_at_the_end_and_without_the_byte_behind_them)
{
	CHECK(inflates_to(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00"), "Hello"));
	CHECK(inflates_to(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "HelloHello"));
	CHECK(inflates_to(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00"), "HelloHello"));
	CHECK(inflates_to(BYTES("\x01\x02\x00\xfd\xffhi\x00\x01\x00\xfe\xff!\x00"), "hi!"));
	CHECK(inflates_to(BYTES("\x03\x00\x03\x00\x03\x00\x00"), ""));
}

TEST(later_messages_may_refer_to_data_before_a_final_block)
{
	struct ws_inflater *i = ws_inflater_new(15);
	struct buf out = BUF_INIT;

	CHECK_EQ(ws_inflate(i, BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), true, MIB, &out), 0);
	CHECK_EQ(ws_inflate(i, BYTES("\xf2\x00\x11\x00\x00"), true, MIB, &out), 0);
	CHECK_BYTES(buf_bytes(&out), "HelloHello");
	buf_deinit(&out);
	ws_inflater_free(i);
}

TEST(clients_that_flush_in_other_ways_are_understood)
{
	static uint8_t text[50000];
	static const int flushes[] = { Z_SYNC_FLUSH, Z_FINISH };

	fill(text, sizeof text, 0, 1);
	for (size_t n = 0; n < 2; n++)
		for (int keep = 0; keep < 2; keep++) {
			struct ws_inflater *i = ws_inflater_new(15);
			struct far f;

			far_init(&f, 15, 15);
			for (size_t s = 0; s < sizeof sizes / sizeof sizes[0] && sizes[s] <= sizeof text; s++)
				back(i, &f, bytes_of(text, sizes[s]), flushes[n], keep);
			far_free(&f);
			ws_inflater_free(i);
		}
}

TEST(data_that_is_no_deflate_or_cut_off_or_has_bytes_left_over_is_bad)
{
	struct bytes good = BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00");

	CHECK_EQ(verdict(BYTES("Hello, I am not compressed")), WS_INFLATE_BAD);
	CHECK_EQ(verdict(BYTES("\x07")), WS_INFLATE_BAD);                    /* block type 3 */
	CHECK_EQ(verdict(BYTES("\x00\x05\x00\xfa\xfe")), WS_INFLATE_BAD);    /* lengths that do not agree */
	CHECK_EQ(verdict(BYTES("\x00\x05\x00\xfa\xffHel")), WS_INFLATE_BAD); /* a stored block that eats the tail */
	CHECK_EQ(verdict(BYTES("\x00\x00\x00\xff\xff")),
		 WS_INFLATE_BAD); /* the tail was sent too: half a header is left */
	for (size_t n = 1; n < good.len; n++)
		CHECK_EQ(verdict(bytes_of(good.at, n)), WS_INFLATE_BAD);
	CHECK_EQ(verdict(BYTES("")), 0); /* nothing at all is an empty message */
}

TEST(a_final_block_that_only_the_appended_bytes_complete_is_bad)
{
	struct buf out = BUF_INIT;

	CHECK_EQ(verdict(BYTES("\x01\x04\x00\xfb\xff")), WS_INFLATE_BAD);
	/* As data of a block that is not the last they are read as §7.2.2 says: it is whole, if hardly intended. */
	CHECK_EQ(inflate_all(BYTES("\x00\x04\x00\xfb\xff"), false, MIB, &out), 0);
	CHECK_BYTES(buf_bytes(&out), "\x00\x00\xff\xff");
	buf_deinit(&out);
}

/* The end of the last block, of the bytes that came and of a step of the output, all at once. */
TEST(a_final_block_that_fills_the_last_step_ends_the_message)
{
	static uint8_t text[16384];
	struct ws_inflater *i = ws_inflater_new(15);
	struct buf wire, out = BUF_INIT;
	struct far f;

	fill(text, sizeof text, 0, 8);
	far_init(&f, 15, 15);
	wire = far_write(&f, bytes_of(text, sizeof text), Z_FINISH, false);
	CHECK_EQ(ws_inflate(i, bytes_of(wire.at, wire.len - 1), false, UINT64_MAX, &out), 0);
	CHECK(bytes_eq(buf_bytes(&out), bytes_of(text, sizeof text)));
	/* The bytes in the buffer count. */
	CHECK_EQ(ws_inflate(i, BYTES("\x00"), false, 100, &out), WS_INFLATE_TOO_BIG);
	CHECK_EQ(out.len, sizeof text);
	buf_deinit(&out);
	buf_deinit(&wire);
	far_free(&f);
	ws_inflater_free(i);
	ws_inflater_free(NULL);
	ws_deflater_free(NULL);
}

TEST(after_a_bad_message_a_stream_without_takeover_is_as_good_as_new)
{
	struct ws_inflater *i = ws_inflater_new(15);
	struct buf out = BUF_INIT;

	for (int n = 0; n < 5; n++) {
		buf_clear(&out);
		CHECK_EQ(ws_inflate(i, BYTES("\xf2\x48\xcd\x07\x07"), false, MIB, &out), WS_INFLATE_BAD);
		buf_clear(&out);
		CHECK_EQ(ws_inflate(i, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), false, MIB, &out), 0);
		CHECK_BYTES(buf_bytes(&out), "Hello");
	}
	buf_deinit(&out);
	ws_inflater_free(i);
}

/* Shows: threat 30 */
TEST(a_bomb_stops_at_the_limit_and_no_byte_is_allocated_for_the_rest)
{
	static uint8_t zeros[1 << 16];
	struct far f;
	struct buf bomb = BUF_INIT, out = BUF_INIT;

	far_init(&f, 15, 15);
	for (int n = 0; n < 1024; n++) { /* 64 MiB in 64 KiB */
		struct buf part = far_write(&f, bytes_of(zeros, sizeof zeros), Z_BLOCK, true);

		buf_add(&bomb, buf_bytes(&part));
		buf_deinit(&part);
	}
	CHECK(bomb.len < 100000);
	CHECK_EQ(inflate_all(buf_bytes(&bomb), false, MIB, &out), WS_INFLATE_TOO_BIG);
	CHECK_EQ(out.len, MIB);
	CHECK_EQ(out.cap, MIB);
	buf_deinit(&out);
	CHECK_EQ(inflate_all(buf_bytes(&bomb), false, 0, &out), WS_INFLATE_TOO_BIG);
	CHECK(out.at == NULL);
	CHECK_EQ(inflate_all(buf_bytes(&bomb), true, 1000, &out), WS_INFLATE_TOO_BIG);
	CHECK(out.len == 1000 && out.cap <= 1024);
	buf_deinit(&out);
	buf_deinit(&bomb);
	far_free(&f);
}

/* Shows: threat 33, threat 38 */
TEST(a_message_that_is_exactly_as_long_as_allowed_passes_at_every_length)
{
	static uint8_t text[40000];
	struct ws_inflater *i = ws_inflater_new(15);
	struct far f;

	fill(text, sizeof text, 0, 2);
	far_init(&f, 15, 15);
	for (size_t n = 0; n < 300; n++)
		back(i, &f, bytes_of(text, n), Z_SYNC_FLUSH, false);
	for (size_t n = 16380; n < 16390; n++)
		back(i, &f, bytes_of(text, n), Z_SYNC_FLUSH, false);
	back(i, &f, bytes_of(text, 32768), Z_SYNC_FLUSH, false);
	far_free(&f);
	ws_inflater_free(i);
}

TEST(a_million_final_blocks_are_read_in_one_pass)
{
	struct buf wire = BUF_INIT, out = BUF_INIT;

	for (int n = 0; n < 1000000; n++)
		buf_add(&wire, BYTES("\x03\x00"));
	buf_add_u8(&wire, 0);
	CHECK_EQ(inflate_all(buf_bytes(&wire), false, MIB, &out), 0);
	CHECK_EQ(out.len, 0);
	buf_deinit(&wire);
	buf_deinit(&out);
}

TEST(contexts_are_counted_only_where_there_is_takeover)
{
	struct ws_deflate d = { .on = true, .server_bits = 15, .client_bits = 15 };

	CHECK_EQ(ws_deflate_context_bytes(&d), 0);
	d.client_takeover = true;
	CHECK(ws_deflate_context_bytes(&d) > 32768 && ws_deflate_context_bytes(&d) < 49152);
	d.server_takeover = true;
	CHECK(ws_deflate_context_bytes(&d) > 262144 && ws_deflate_context_bytes(&d) < 330000);
	d.server_bits = d.client_bits = 9;
	CHECK(ws_deflate_context_bytes(&d) < 24576);
	d.server_bits = d.client_bits = 8;
	CHECK(ws_deflate_context_bytes(&d) < 24576);
}

#ifdef WSC_FAULTS
/* Shows: threat 35 */
TEST(without_memory_a_stream_is_not_made_and_a_message_not_inflated_and_nothing_is_lost)
{
	struct buf out = BUF_INIT;
	struct ws_deflater *d;
	struct ws_inflater *i = NULL;
	unsigned long k;

	for (k = 1; k < 50; k++) {
		mem_fail_at(k, 0);
		d = ws_deflater_new(15, 6);
		mem_fail_at(0, 0);
		if (d)
			break;
	}
	CHECK(k > 1 && k < 50);
	ws_deflater_free(d);
	for (k = 1; k < 50; k++) {
		int r = -WSC_ENOMEM;

		mem_fail_at(k, 0);
		i = ws_inflater_new(15);
		if (i)
			r = ws_inflate(i, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), false, MIB, &out);
		mem_fail_at(0, 0);
		ws_inflater_free(i);
		if (r == 0)
			break;
		CHECK_EQ(r, -WSC_ENOMEM);
		buf_deinit(&out);
	}
	CHECK(k > 3 && k < 50);
	CHECK_BYTES(buf_bytes(&out), "Hello");
	buf_deinit(&out);
}
#endif
