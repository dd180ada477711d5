/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 6455 as the server reads and writes it: every rule once, every stream whole, in random cuts and byte by byte. */
#include "proto/ws.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

static const struct ws_limits limits = { .max_message = 200000, .max_fragments = 16 };

/* A client --------------------------------------------------------------------------------------------------------- */

#define FIN 0x80

static void add_be(struct buf *b, uint64_t v, unsigned int n)
{
	while (n--)
		buf_add_u8(b, (uint8_t)(v >> 8 * n));
}

/* A masked header with a length in @ext bytes (0: in the second byte itself), right or not. */
static void add_header(struct buf *b, unsigned int first, uint64_t len, unsigned int ext, const uint8_t key[4])
{
	buf_add_u8(b, (uint8_t)first);
	buf_add_u8(b, (uint8_t)(0x80 | (ext == 0 ? len : ext == 2 ? 126 : 127)));
	add_be(b, len, ext);
	buf_add(b, bytes_of(key, 4));
}

static void add_frame(struct buf *b, unsigned int first, struct bytes payload)
{
	static const uint8_t key[4] = { 0x37, 0xfa, 0x21, 0x3d };

	add_header(b, first, payload.len, payload.len < 126 ? 0 : payload.len < 65536 ? 2 : 8, key);
	for (size_t i = 0; i < payload.len; i++)
		buf_add_u8(b, payload.at[i] ^ key[i & 3]);
}

/* A connection as the decoder sees it: keeps the carry and the fragments, notes each event. */
struct peer {
	struct ws_decoder d;
	struct ws_limits lim;
	struct buf carry;
	struct buf message;
	struct buf log;
	bool kept; /* something of a message is in @message */
	unsigned int messages;
	unsigned int pieces;
	unsigned int whole;
};

static void peer_event(struct peer *p, enum ws_event ev, const struct ws_out *out)
{
	switch (ev) {
	case WS_NEED_MORE:
		return;
	case WS_FRAGMENT:
	case WS_MESSAGE:
		CHECK(out->first == !p->kept);
		CHECK(out->whole == (out->first && ev == WS_MESSAGE));
		buf_add(&p->message, out->payload);
		p->kept = ev == WS_FRAGMENT;
		p->pieces++;
		if (ev == WS_FRAGMENT)
			return;
		p->messages++;
		p->whole += out->whole;
		buf_addf(&p->log, "%s%s %zu ", out->opcode == WS_OP_TEXT ? "text" : "binary",
			 out->compressed ? "*" : "", p->message.len);
		buf_add(&p->log, buf_bytes(&p->message));
		buf_clear(&p->message);
		break;
	case WS_PING:
	case WS_PONG:
		CHECK(out->payload.len <= WS_CONTROL_MAX);
		buf_add_str(&p->log, ev == WS_PING ? "ping " : "pong ");
		buf_add(&p->log, out->payload);
		break;
	case WS_CLOSE:
		buf_addf(&p->log, "close %u ", out->code);
		buf_add(&p->log, out->payload);
		break;
	case WS_ERROR:
		CHECK(out->payload.len == 0);
		CHECK(out->why != NULL && strlen(out->why) <= WS_REASON_MAX);
		buf_addf(&p->log, "error %u", out->code);
		break;
	}
	buf_add_u8(&p->log, '\n');
}

/* The bytes lie in a block of exactly their size, so that a sanitizer sees one byte too many. */
static enum ws_event peer_feed(struct peer *p, struct bytes in)
{
	size_t n = p->carry.len + in.len;
	uint8_t *block = malloc(n ? n : 1);
	struct mut_bytes left = { block, n };
	struct ws_out out;
	enum ws_event ev;
	size_t before;

	if (p->carry.len)
		memcpy(block, p->carry.at, p->carry.len);
	if (in.len)
		memcpy(block + p->carry.len, in.at, in.len);
	do {
		before = left.len;
		ev = ws_decode(&p->d, &p->lim, &left, &out);
		peer_event(p, ev, &out);
		CHECK(ev == WS_NEED_MORE || ev == WS_ERROR || left.len < before);
	} while (ev != WS_NEED_MORE && ev != WS_ERROR);
	CHECK(left.len <= WS_CARRY_MAX);
	buf_clear(&p->carry);
	buf_add(&p->carry, bytes_of(left.at, left.len));
	free(block);
	return ev;
}

static void peer_init(struct peer *p, bool deflate)
{
	*p = (struct peer){ .lim = limits };
	ws_decoder_init(&p->d, deflate);
}

static void peer_deinit(struct peer *p)
{
	buf_deinit(&p->carry);
	buf_deinit(&p->message);
	buf_deinit(&p->log);
}

/* Feeds in cuts of 1 .. @most bytes; stops at an error as a connection does. */
static void peer_feed_cut(struct peer *p, struct bytes in, size_t most, struct rng *r)
{
	while (in.len) {
		size_t n = 1 + (size_t)rng_below(r, most);

		n = n < in.len ? n : in.len;
		if (peer_feed(p, bytes_of(in.at, n)) == WS_ERROR)
			return;
		bytes_skip(&in, n);
	}
}

/* The log of @wire must be the same however it is cut, and must be @want. */
static void expect_log_with(struct buf *wire, struct bytes want, bool deflate, struct ws_limits lim)
{
	static const size_t most[] = { SIZE_MAX >> 1, 1, 2, 3, 7, 40, 1000 };
	struct rng r;
	struct peer p;

	rng_init_seed(&r, wire->len);
	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		peer_init(&p, deflate);
		p.lim = lim;
		if (i == 0)
			peer_feed(&p, buf_bytes(wire));
		else
			peer_feed_cut(&p, buf_bytes(wire), most[i], &r);
		if (!CHECK(bytes_eq(buf_bytes(&p.log), want)))
			test_check_bytes(buf_bytes(&p.log), want, __FILE__, __LINE__, "log");
		peer_deinit(&p);
	}
	buf_clear(wire);
}

static void expect_log(struct buf *wire, const char *want)
{
	expect_log_with(wire, bytes_str(want), false, limits);
}

/* Messages --------------------------------------------------------------------------------------------------------- */

TEST(the_decoder_of_an_idle_connection_is_48_bytes)
{
	CHECK(sizeof(struct ws_decoder) <= 48);
	CHECK(ws_decoder_idle(&(struct ws_decoder){ 0 }));
}

TEST(a_message_in_one_read_is_handed_out_without_a_copy)
{
	struct buf wire = BUF_INIT;
	struct ws_decoder d = { 0 };
	struct ws_out out;
	struct mut_bytes in;

	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("Hello"));
	in = (struct mut_bytes){ wire.at, wire.len };
	CHECK_EQ(ws_decode(&d, &limits, &in, &out), WS_MESSAGE);
	CHECK(out.whole && out.first && !out.compressed);
	CHECK_EQ(out.opcode, WS_OP_TEXT);
	CHECK(out.payload.at == wire.at + 6);
	CHECK_BYTES(out.payload, "Hello");
	CHECK_EQ(in.len, 0);
	CHECK(ws_decoder_idle(&d));
	CHECK_EQ(ws_decode(&d, &limits, &in, &out), WS_NEED_MORE);
	buf_deinit(&wire);
}

TEST(a_payload_that_comes_after_its_header_in_one_read_is_whole_too)
{
	struct buf wire = BUF_INIT;
	struct peer p;

	add_frame(&wire, FIN | WS_OP_BINARY, BYTES("abcd"));
	peer_init(&p, false);
	CHECK_EQ(peer_feed(&p, bytes_of(wire.at, 6)), WS_NEED_MORE);
	CHECK(!ws_decoder_idle(&p.d));
	peer_feed(&p, bytes_of(wire.at + 6, 4));
	CHECK_EQ(p.whole, 1);
	peer_deinit(&p);
	buf_deinit(&wire);
}

TEST(the_samples_of_the_rfc_are_read)
{
	static const uint8_t text[] = { 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58 };
	static const uint8_t pong[] = { 0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58 };
	struct buf wire = BUF_INIT;

	buf_add(&wire, bytes_of(text, sizeof(text)));
	buf_add(&wire, bytes_of(pong, sizeof(pong)));
	expect_log(&wire, "text 5 Hello\npong Hello\n");
	buf_deinit(&wire);
}

/* Shows: threat 5 */
TEST(messages_of_every_length_class_arrive)
{
	static const size_t lengths[] = { 0, 1, 7, 8, 31, 32, 33, 125, 126, 127, 128, 65535, 65536, 65537, 200000 };
	struct buf wire = BUF_INIT, body = BUF_INIT, want = BUF_INIT;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		buf_clear(&body);
		buf_clear(&want);
		for (size_t k = 0; k < lengths[i]; k++)
			buf_add_u8(&body, (uint8_t)('a' + k % 23));
		buf_addf(&want, "text %zu ", lengths[i]);
		buf_add(&want, buf_bytes(&body));
		buf_add_str(&want, "\nping \n");
		add_frame(&wire, FIN | WS_OP_TEXT, buf_bytes(&body));
		add_frame(&wire, FIN | WS_OP_PING, BYTES(""));
		expect_log_with(&wire, buf_bytes(&want), false, limits);
	}
	buf_deinit(&wire);
	buf_deinit(&body);
	buf_deinit(&want);
}

TEST(fragments_are_one_message_and_control_frames_may_stand_between)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, WS_OP_TEXT, BYTES("Hel"));
	add_frame(&wire, FIN | WS_OP_PING, BYTES("are you there"));
	add_frame(&wire, WS_OP_CONT, BYTES("lo"));
	add_frame(&wire, FIN | WS_OP_PONG, BYTES(""));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES(" world"));
	add_frame(&wire, FIN | WS_OP_BINARY, BYTES("\x00\xff"));
	expect_log_with(&wire, BYTES("ping are you there\npong \ntext 11 Hello world\nbinary 2 \x00\xff\n"), false,
			limits);
	buf_deinit(&wire);
}

TEST(empty_fragments_are_allowed)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, WS_OP_TEXT, BYTES(""));
	add_frame(&wire, WS_OP_CONT, BYTES(""));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES(""));
	add_frame(&wire, WS_OP_TEXT, BYTES(""));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("x"));
	add_frame(&wire, WS_OP_TEXT, BYTES("y"));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES(""));
	expect_log(&wire, "text 0 \ntext 1 x\ntext 1 y\n");
	buf_deinit(&wire);
}

TEST(a_close_inside_a_fragmented_message_is_a_close)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, WS_OP_TEXT, BYTES("never ends"));
	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x03\xe8"));
	expect_log(&wire, "close 1000 \n");
	buf_deinit(&wire);
}

/* Shows: threat 4 */
TEST(random_streams_read_the_same_however_they_are_cut)
{
	struct buf wire = BUF_INIT, want = BUF_INIT, body = BUF_INIT;
	struct rng r;

	rng_init_seed(&r, 6455);
	for (unsigned int round = 0; round < 60; round++) {
		buf_clear(&want);
		for (unsigned int m = 0; m < 6; m++) {
			unsigned int parts = 1 + (unsigned int)rng_below(&r, 4);

			buf_clear(&body);
			for (unsigned int i = 0; i < parts; i++) {
				size_t start = body.len;

				for (size_t n = (size_t)rng_below(&r, rng_below(&r, 8) ? 60 : 400); n; n--)
					buf_add_u8(&body, (uint8_t)rng_below(&r, 256));
				add_frame(&wire, (i + 1 == parts ? FIN : 0) | (i ? WS_OP_CONT : WS_OP_BINARY),
					  bytes_of(body.at + start, body.len - start));
				if (i + 1 < parts && rng_below(&r, 3) == 0) {
					add_frame(&wire, FIN | WS_OP_PING, BYTES("p"));
					buf_add_str(&want, "ping p\n");
				}
			}
			buf_addf(&want, "binary %zu ", body.len);
			buf_add(&want, buf_bytes(&body));
			buf_add_u8(&want, '\n');
		}
		expect_log_with(&wire, buf_bytes(&want), false, limits);
	}
	buf_deinit(&wire);
	buf_deinit(&want);
	buf_deinit(&body);
}

/* Faults ----------------------------------------------------------------------------------------------------------- */

/* Shows: threat 16 */
TEST(an_unmasked_frame_is_1002_and_reaches_no_receiver)
{
	struct buf wire = BUF_INIT;

	buf_add(&wire, BYTES("\x81\x05Hello"));
	expect_log(&wire, "error 1002\n");
	buf_add(&wire, BYTES("\x88\x00"));
	expect_log(&wire, "error 1002\n");
	buf_deinit(&wire);
}

/* Shows: threat 16 */
TEST(every_reserved_bit_is_1002)
{
	struct buf wire = BUF_INIT;

	for (unsigned int rsv = 1; rsv < 8; rsv++)
		for (unsigned int op = 0; op < 16; op++) {
			add_frame(&wire, FIN | rsv << 4 | op, BYTES("x"));
			expect_log(&wire, "error 1002\n");
		}
	buf_deinit(&wire);
}

TEST(rsv1_marks_a_deflated_message_once_compression_is_agreed_on)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, FIN | 0x40 | WS_OP_TEXT, BYTES("\xff\xfe"));
	add_frame(&wire, 0x40 | WS_OP_BINARY, BYTES("a"));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("b"));
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("plain"));
	expect_log_with(&wire, BYTES("text* 2 \xff\xfe\nbinary* 2 ab\ntext 5 plain\n"), true, limits);
	for (unsigned int rsv = 0x10; rsv < 0x80; rsv += 0x10) {
		if (rsv == 0x40)
			continue;
		add_frame(&wire, FIN | rsv | WS_OP_TEXT, BYTES("x"));
		expect_log_with(&wire, BYTES("error 1002\n"), true, limits);
	}
	add_frame(&wire, FIN | 0x40 | WS_OP_PING, BYTES("x"));
	expect_log_with(&wire, BYTES("error 1002\n"), true, limits);
	add_frame(&wire, WS_OP_TEXT, BYTES("x"));
	add_frame(&wire, FIN | 0x40 | WS_OP_CONT, BYTES("x"));
	expect_log_with(&wire, BYTES("error 1002\n"), true, limits);
	buf_deinit(&wire);
}

/* Shows: threat 16 */
TEST(reserved_opcodes_are_1002)
{
	static const unsigned int ops[] = { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 };
	struct buf wire = BUF_INIT;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		add_frame(&wire, FIN | ops[i], BYTES(""));
		expect_log(&wire, "error 1002\n");
	}
	buf_deinit(&wire);
}

TEST(fragmented_control_frames_are_1002)
{
	struct buf wire = BUF_INIT;

	for (unsigned int op = WS_OP_CLOSE; op <= WS_OP_PONG; op++) {
		add_frame(&wire, op, BYTES("x"));
		expect_log(&wire, "error 1002\n");
	}
	buf_deinit(&wire);
}

TEST(control_frames_have_at_most_125_bytes)
{
	uint8_t body[126];
	struct buf wire = BUF_INIT, want = BUF_INIT;

	memset(body, 'p', sizeof(body));
	for (unsigned int op = WS_OP_PING; op <= WS_OP_PONG; op++) {
		add_frame(&wire, FIN | op, bytes_of(body, 125));
		buf_clear(&want);
		buf_add_str(&want, op == WS_OP_PING ? "ping " : "pong ");
		buf_add(&want, bytes_of(body, 125));
		buf_add_str(&want, "\n");
		expect_log_with(&wire, buf_bytes(&want), false, limits);
	}
	for (unsigned int op = WS_OP_CLOSE; op <= WS_OP_PONG; op++) {
		add_frame(&wire, FIN | op, bytes_of(body, 126));
		expect_log(&wire, "error 1002\n");
	}
	buf_deinit(&wire);
	buf_deinit(&want);
}

TEST(a_continuation_needs_a_message)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, FIN | WS_OP_CONT, BYTES("x"));
	expect_log(&wire, "error 1002\n");
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("done"));
	add_frame(&wire, WS_OP_CONT, BYTES("x"));
	expect_log(&wire, "text 4 done\nerror 1002\n");
	buf_deinit(&wire);
}

TEST(a_message_may_not_begin_inside_another)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, WS_OP_TEXT, BYTES("a"));
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("b"));
	expect_log(&wire, "error 1002\n");
	add_frame(&wire, WS_OP_BINARY, BYTES(""));
	add_frame(&wire, WS_OP_BINARY, BYTES("b"));
	expect_log(&wire, "error 1002\n");
	buf_deinit(&wire);
}

TEST(a_length_must_have_its_shortest_form)
{
	static const uint8_t key[4] = { 0 };
	static const struct {
		uint64_t len;
		unsigned int ext;
	} long_forms[] = { { 0, 2 }, { 125, 2 }, { 0, 8 }, { 125, 8 }, { 126, 8 }, { 65535, 8 } };
	struct buf wire = BUF_INIT;

	for (size_t i = 0; i < sizeof(long_forms) / sizeof(long_forms[0]); i++) {
		add_header(&wire, FIN | WS_OP_BINARY, long_forms[i].len, long_forms[i].ext, key);
		expect_log(&wire, "error 1002\n");
	}
	buf_deinit(&wire);
}

/* Lengths that have crashed other gateways. The header alone must be enough to refuse. */
/* Shows: threat 1, threat 3, threat 8 */
TEST(huge_lengths_are_refused_at_the_header)
{
	static const struct {
		uint64_t len;
		const char *want;
	} table[] = {
		{ 200001, "error 1009\n" },
		{ (UINT64_C(1) << 31) - 1, "error 1009\n" },
		{ UINT64_C(1) << 31, "error 1009\n" },
		{ (UINT64_C(1) << 31) + 1, "error 1009\n" },
		{ (UINT64_C(1) << 32) - 1, "error 1009\n" },
		{ UINT64_C(1) << 32, "error 1009\n" },
		{ (UINT64_C(1) << 32) + 1, "error 1009\n" },
		{ (UINT64_C(1) << 63) - 1, "error 1009\n" },
		{ UINT64_C(1) << 63, "error 1002\n" },
		{ (UINT64_C(1) << 63) + 1, "error 1002\n" },
		{ UINT64_MAX - 1, "error 1002\n" },
		{ UINT64_MAX, "error 1002\n" },
	};
	static const uint8_t key[4] = { 1, 2, 3, 4 };
	struct buf wire = BUF_INIT;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		add_header(&wire, FIN | WS_OP_TEXT, table[i].len, 8, key);
		wire.len -= 4; /* not even the key is waited for */
		expect_log(&wire, table[i].want);
		add_frame(&wire, WS_OP_TEXT, BYTES("begun"));
		add_header(&wire, FIN | WS_OP_CONT, table[i].len, 8, key);
		expect_log(&wire, table[i].want);
	}
	buf_deinit(&wire);
}

/* Shows: threat 1 */
TEST(the_greatest_length_is_taken_when_the_limit_allows_it)
{
	static const uint8_t key[4] = { 0 };
	const struct ws_limits lim = { .max_message = UINT64_MAX, .max_fragments = 3 };
	struct buf wire = BUF_INIT;
	struct peer p;

	add_header(&wire, WS_OP_BINARY, (UINT64_C(1) << 63) - 1, 8, key);
	buf_add(&wire, BYTES("some of it"));
	peer_init(&p, false);
	p.lim = lim;
	CHECK_EQ(peer_feed(&p, buf_bytes(&wire)), WS_NEED_MORE);
	CHECK_BYTES(buf_bytes(&p.message), "some of it");
	peer_deinit(&p);
	buf_deinit(&wire);
}

/* Shows: threat 5, threat 9 */
TEST(a_message_over_its_limit_is_1009_whole_or_in_fragments)
{
	const struct ws_limits lim = { .max_message = 10, .max_fragments = 16 };
	struct buf wire = BUF_INIT;

	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("123456789"));
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("1234567890"));
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("12345678901"));
	expect_log_with(&wire, BYTES("text 9 123456789\ntext 10 1234567890\nerror 1009\n"), false, lim);
	add_frame(&wire, WS_OP_TEXT, BYTES("12345"));
	add_frame(&wire, WS_OP_CONT, BYTES("67890"));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES(""));
	add_frame(&wire, WS_OP_TEXT, BYTES("12345"));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("678901"));
	expect_log_with(&wire, BYTES("text 10 1234567890\nerror 1009\n"), false, lim);
	buf_deinit(&wire);
}

/* Shows: threat 1 */
TEST(a_limit_that_shrinks_under_a_message_does_not_wrap)
{
	struct buf wire = BUF_INIT;
	struct peer p;

	peer_init(&p, false);
	add_frame(&wire, WS_OP_TEXT, BYTES("1234567890"));
	peer_feed(&p, buf_bytes(&wire));
	p.lim.max_message = 5;
	buf_clear(&wire);
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("x"));
	CHECK_EQ(peer_feed(&p, buf_bytes(&wire)), WS_ERROR);
	CHECK_BYTES(buf_bytes(&p.log), "error 1009\n");
	peer_deinit(&p);
	buf_deinit(&wire);
}

/* Shows: threat 12 */
TEST(too_many_fragments_are_1008)
{
	const struct ws_limits lim = { .max_message = 100, .max_fragments = 3 };
	struct buf wire = BUF_INIT;

	for (unsigned int m = 0; m < 2; m++) {
		add_frame(&wire, WS_OP_TEXT, BYTES("a"));
		add_frame(&wire, WS_OP_CONT, BYTES(""));
		add_frame(&wire, (m ? 0 : FIN) | WS_OP_CONT, BYTES("b"));
	}
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("c"));
	expect_log_with(&wire, BYTES("text 2 ab\nerror 1008\n"), false, lim);
	buf_deinit(&wire);
}

TEST(text_that_is_not_utf8_is_1007)
{
	static const char *const bad[] = {
		"\x80",
		"ab\xff",
		"\xc0\x80",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\xe2\x82",
		"0123456789012345678901234567\xf5",
	};
	struct buf wire = BUF_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		add_frame(&wire, FIN | WS_OP_TEXT, bytes_str(bad[i]));
		expect_log(&wire, "error 1007\n");
	}
	add_frame(&wire, WS_OP_TEXT, BYTES("\xe2\x82"));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("")); /* ends inside a character */
	expect_log(&wire, "error 1007\n");
	add_frame(&wire, WS_OP_TEXT, BYTES("\xe2\x82"));
	add_frame(&wire, FIN | WS_OP_PING, BYTES("\xff"));
	add_frame(&wire, FIN | WS_OP_CONT, BYTES("\xac"));
	expect_log(&wire, "ping \xff\ntext 3 \xe2\x82\xac\n");
	add_frame(&wire, FIN | WS_OP_BINARY, BYTES("\xff\xfe"));
	expect_log(&wire, "binary 2 \xff\xfe\n");
	buf_deinit(&wire);
}

/* Shows: threat 26 */
TEST(bad_utf8_fails_at_its_first_byte_not_at_the_end)
{
	static const uint8_t key[4] = { 0 };
	struct buf wire = BUF_INIT;
	struct peer p;

	peer_init(&p, false);
	add_header(&wire, FIN | WS_OP_TEXT, 1000, 2, key);
	buf_add_str(&wire, "good so far ");
	CHECK_EQ(peer_feed(&p, buf_bytes(&wire)), WS_NEED_MORE);
	CHECK_EQ(peer_feed(&p, BYTES("\xf4")), WS_NEED_MORE);
	CHECK_EQ(peer_feed(&p, BYTES("\x90")), WS_ERROR);
	CHECK_BYTES(buf_bytes(&p.log), "error 1007\n");
	peer_deinit(&p);
	buf_deinit(&wire);
}

/* Shows: threat 3 */
TEST(a_failed_decoder_stays_failed)
{
	struct buf wire = BUF_INIT;
	struct peer p;

	peer_init(&p, false);
	CHECK_EQ(peer_feed(&p, BYTES("\x83\x80")), WS_ERROR);
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("hello"));
	CHECK_EQ(peer_feed(&p, buf_bytes(&wire)), WS_ERROR);
	CHECK_EQ(peer_feed(&p, BYTES("")), WS_ERROR);
	CHECK_EQ(p.carry.len, 0);
	CHECK(!ws_decoder_idle(&p.d));
	CHECK_BYTES(buf_bytes(&p.log), "error 1002\nerror 1002\nerror 1002\n");
	peer_deinit(&p);
	buf_deinit(&wire);
}

/* Close ------------------------------------------------------------------------------------------------------------ */

TEST(a_close_may_be_empty_or_have_a_code_or_a_reason)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES(""));
	expect_log(&wire, "close 1005 \n");
	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x03\xe9"));
	expect_log(&wire, "close 1001 \n");
	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x0f\xa0gr\xc3\xbc\xc3\x9f"));
	expect_log(&wire, "close 4000 gr\xc3\xbc\xc3\x9f\n");
	buf_deinit(&wire);
}

TEST(a_close_with_half_a_code_is_1002)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x03"));
	expect_log(&wire, "error 1002\n");
	buf_deinit(&wire);
}

/* Shows: 7.1011 */
TEST(only_close_codes_that_may_be_sent_are_taken)
{
	struct buf wire = BUF_INIT;
	struct peer p;

	for (uint32_t code = 0; code < 65536; code++) {
		bool good = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
			    (code >= 3000 && code <= 4999);
		uint8_t body[2] = { (uint8_t)(code >> 8), (uint8_t)code };

		CHECK(ws_code_valid((uint16_t)code) == good);
		peer_init(&p, false);
		add_frame(&wire, FIN | WS_OP_CLOSE, bytes_of(body, 2));
		CHECK_EQ(peer_feed(&p, buf_bytes(&wire)), good ? WS_NEED_MORE : WS_ERROR);
		CHECK(good || p.d.code == WS_CODE_PROTOCOL);
		buf_clear(&wire);
		peer_deinit(&p);
	}
	buf_deinit(&wire);
}

/* Shows: threat 26 */
TEST(a_close_reason_must_be_utf8)
{
	struct buf wire = BUF_INIT;

	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x03\xe8\xc0\xaf"));
	expect_log(&wire, "error 1007\n");
	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x03\xe8\xe2\x82"));
	expect_log(&wire, "error 1007\n");
	buf_deinit(&wire);
}

TEST(input_behind_a_close_frame_is_ignored)
{
	struct buf wire = BUF_INIT;
	struct peer p;

	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES("\x03\xe8"));
	add_frame(&wire, FIN | WS_OP_TEXT, BYTES("too late"));
	buf_add(&wire, BYTES("\x83 and rubbish"));
	expect_log(&wire, "close 1000 \n");

	peer_init(&p, false);
	add_frame(&wire, FIN | WS_OP_CLOSE, BYTES(""));
	peer_feed(&p, buf_bytes(&wire));
	CHECK_EQ(peer_feed(&p, buf_bytes(&wire)), WS_NEED_MORE);
	CHECK_EQ(p.carry.len, 0);
	CHECK_BYTES(buf_bytes(&p.log), "close 1005 \n");
	peer_deinit(&p);
	buf_deinit(&wire);
}

/* Mask ------------------------------------------------------------------------------------------------------------- */

TEST(masking_is_right_at_every_address_length_and_turn)
{
	uint8_t plain[160], got[160];
	const uint8_t key[4] = { 0x12, 0x34, 0x56, 0x78 };

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	for (size_t at = 0; at < 33; at++)
		for (size_t n = 0; n < 120; n++) {
			uint8_t k[4];

			memcpy(got, plain, sizeof(got));
			memcpy(k, key, 4);
			ws_mask(got + at, n, k);
			for (size_t i = 0; i < sizeof(got); i++) {
				uint8_t want = i < at || i >= at + n ? plain[i] : plain[i] ^ key[(i - at) & 3];

				if (got[i] != want)
					CHECK_EQ(got[i], want);
			}
			for (size_t i = 0; i < 4; i++)
				CHECK_EQ(k[i], key[(n + i) & 3]);
		}
}

/* Encoder ---------------------------------------------------------------------------------------------------------- */

TEST(headers_have_the_shortest_length)
{
	uint8_t h[WS_HEADER_MAX];

	CHECK_BYTES(bytes_of(h, ws_header(h, WS_OP_TEXT, 0, 0)), "\x81\x00");
	CHECK_BYTES(bytes_of(h, ws_header(h, WS_OP_TEXT, 125, 0)), "\x81\x7d");
	CHECK_BYTES(bytes_of(h, ws_header(h, WS_OP_BINARY, 126, 0)), "\x82\x7e\x00\x7e");
	CHECK_BYTES(bytes_of(h, ws_header(h, WS_OP_TEXT, 65535, WS_RSV1)), "\xc1\x7e\xff\xff");
	CHECK_BYTES(bytes_of(h, ws_header(h, WS_OP_TEXT, 65536, 0)), "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
	CHECK_BYTES(bytes_of(h, ws_header(h, WS_OP_TEXT, INT64_MAX, 0)), "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff");
	CHECK_EQ(ws_header_len(0), 2);
	CHECK_EQ(ws_header_len(125), 2);
	CHECK_EQ(ws_header_len(126), 4);
	CHECK_EQ(ws_header_len(65535), 4);
	CHECK_EQ(ws_header_len(65536), 10);
}

/* Shows: threat 25 */
TEST(control_frames_are_written_whole)
{
	uint8_t out[WS_CONTROL_FRAME_MAX];
	uint8_t full[WS_CONTROL_MAX] = { 0 };

	CHECK_BYTES(bytes_of(out, ws_control(out, WS_OP_PING, BYTES(""))), "\x89\x00");
	CHECK_BYTES(bytes_of(out, ws_control(out, WS_OP_PONG, BYTES("Hello"))), "\x8a\x05Hello");
	CHECK_EQ(ws_control(out, WS_OP_PONG, bytes_of(full, sizeof(full))), 127);
}

TEST(a_close_frame_carries_code_and_reason)
{
	uint8_t out[WS_CONTROL_FRAME_MAX];

	CHECK_BYTES(bytes_of(out, ws_close(out, 1000, BYTES(""))), "\x88\x02\x03\xe8");
	CHECK_BYTES(bytes_of(out, ws_close(out, 4409, BYTES("other device"))), "\x88\x0e\x11\x39other device");
	CHECK_BYTES(bytes_of(out, ws_close(out, WS_CODE_NONE, BYTES("ignored"))), "\x88\x00");
	CHECK_BYTES(bytes_of(out, ws_close(out, 1000, (struct bytes){ 0 })), "\x88\x02\x03\xe8");
	CHECK_BYTES(bytes_of(out, ws_close(out, 1000, BYTES("not \xff utf-8"))), "\x88\x02\x03\xe8");
}

/* Shows: threat 25 */
TEST(a_long_close_reason_is_cut_between_characters)
{
	uint8_t out[WS_CONTROL_FRAME_MAX];
	uint8_t reason[300];

	memset(reason, 'r', sizeof(reason));
	CHECK_EQ(ws_close(out, 1008, bytes_of(reason, 123)), 127);
	CHECK_EQ(ws_close(out, 1008, bytes_of(reason, 124)), 127);
	CHECK_EQ(ws_close(out, 1008, bytes_of(reason, 300)), 127);
	memcpy(reason + 121, "\xe2\x82\xac", 3); /* would end at 124 */
	CHECK_EQ(ws_close(out, 1008, bytes_of(reason, 300)), 125);
	CHECK(utf8_valid(bytes_of(out + 4, 121)));
}

/* Handshake -------------------------------------------------------------------------------------------------------- */

static enum ws_upgrade upgrade(const char *line, const char *fields, struct ws_handshake *hs)
{
	const struct http1_limits lim = HTTP1_LIMITS;
	static struct http1_head h;
	struct http1_parser p = { 0 };
	struct buf b = BUF_INIT;
	enum ws_upgrade u;

	buf_addf(&b, "%s\r\nHost: localhost:8080\r\n%s\r\n", line, fields);
	CHECK_EQ(http1_parse_head(&p, &lim, buf_bytes(&b), &h), HTTP1_DONE);
	u = ws_check_upgrade(&h, hs);
	buf_deinit(&b);
	return u;
}

#define GET "GET /ws?user_id=alice HTTP/1.1"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

TEST(the_key_of_the_rfc_gets_the_answer_of_the_rfc)
{
	char out[WS_ACCEPT_LEN];

	ws_accept_key(BYTES("dGhlIHNhbXBsZSBub25jZQ=="), out);
	CHECK_BYTES(bytes_of(out, sizeof(out)), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	ws_accept_key((struct bytes){ 0 }, out);
	CHECK_BYTES(bytes_of(out, sizeof(out)), "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
}

TEST(a_handshake_is_accepted)
{
	struct ws_handshake hs;

	CHECK_EQ(upgrade(GET, UPGRADE KEY VERSION, &hs), WS_UPGRADE_OK);
	CHECK_BYTES(bytes_of(hs.accept, WS_ACCEPT_LEN), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	CHECK(!hs.wsc_v1);
	CHECK_EQ(upgrade(GET, "upgrade: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY VERSION, &hs),
		 WS_UPGRADE_OK);
	CHECK_EQ(upgrade(GET, UPGRADE KEY VERSION "Content-Length: 0\r\n", &hs), WS_UPGRADE_OK);
	CHECK_EQ(upgrade(GET,
			 UPGRADE KEY VERSION "Sec-WebSocket-Extensions: x-unknown; a=\"b,c\", permessage-deflate\r\n",
			 &hs),
		 WS_UPGRADE_OK);
}

TEST(a_request_that_asks_for_no_upgrade_is_no_handshake)
{
	struct ws_handshake hs;

	CHECK_EQ(upgrade(GET, "", &hs), WS_UPGRADE_NONE);
	CHECK_EQ(upgrade(GET, "Connection: Upgrade\r\n" KEY VERSION, &hs), WS_UPGRADE_NONE);
	CHECK_EQ(upgrade(GET, "Upgrade: websocket\r\n" KEY VERSION, &hs), WS_UPGRADE_NONE);
	CHECK_EQ(upgrade(GET, "Upgrade: websocket2\r\nConnection: Upgrade\r\n" KEY VERSION, &hs), WS_UPGRADE_NONE);
	CHECK_EQ(upgrade("GET /ws HTTP/1.0", UPGRADE KEY VERSION, &hs), WS_UPGRADE_NONE);
}

TEST(a_handshake_is_a_get_without_a_body)
{
	struct ws_handshake hs;

	CHECK_EQ(upgrade("POST /ws HTTP/1.1", UPGRADE KEY VERSION, &hs), WS_UPGRADE_BAD_METHOD);
	CHECK_EQ(upgrade("HEAD /ws HTTP/1.1", UPGRADE KEY VERSION, &hs), WS_UPGRADE_BAD_METHOD);
	CHECK_EQ(upgrade("get /ws HTTP/1.1", UPGRADE KEY VERSION, &hs), WS_UPGRADE_BAD_METHOD);
	CHECK_EQ(upgrade(GET, UPGRADE KEY VERSION "Content-Length: 1\r\n", &hs), WS_UPGRADE_BAD_REQUEST);
	CHECK_EQ(upgrade(GET, UPGRADE KEY VERSION "Transfer-Encoding: chunked\r\n", &hs), WS_UPGRADE_BAD_REQUEST);
}

TEST(another_version_gets_the_supported_one_in_the_answer)
{
	static const char *const bad[] = {
		"",
		"Sec-WebSocket-Version: 8\r\n",
		"Sec-WebSocket-Version: 013\r\n",
		"Sec-WebSocket-Version: 13, 8\r\n",
		"Sec-WebSocket-Version:\r\n",
		VERSION VERSION,
		"Sec-WebSocket-Version: 130\r\n",
	};
	struct ws_handshake hs;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = BUF_INIT;

		buf_addf(&b, "%s%s", UPGRADE KEY, bad[i]);
		buf_add_u8(&b, 0);
		CHECK_EQ(upgrade(GET, (const char *)b.at, &hs), WS_UPGRADE_BAD_VERSION);
		buf_deinit(&b);
	}
}

TEST(the_key_must_be_sixteen_bytes_in_base64_once)
{
	static const char *const bad[] = {
		"",
		"Sec-WebSocket-Key:\r\n",
		"Sec-WebSocket-Key: short\r\n",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM=\r\n", /* 17 bytes */
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXNz\r\n", /* 18 bytes */
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j_Q==\r\n",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==\r\n",
		KEY KEY,
	};
	struct ws_handshake hs;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = BUF_INIT;

		buf_addf(&b, "%s%s", UPGRADE VERSION, bad[i]);
		buf_add_u8(&b, 0);
		CHECK_EQ(upgrade(GET, (const char *)b.at, &hs), WS_UPGRADE_BAD_KEY);
		buf_deinit(&b);
	}
}

/* Shows: threat 19 */
TEST(our_subprotocol_is_found_in_any_of_the_lists)
{
	struct ws_handshake hs;

	upgrade(GET, UPGRADE KEY VERSION "Sec-WebSocket-Protocol: wsc.v1\r\n", &hs);
	CHECK(hs.wsc_v1);
	upgrade(GET, UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat,, ,\twsc.v1 \r\n", &hs);
	CHECK(hs.wsc_v1);
	upgrade(GET, UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat\r\nsec-websocket-protocol: wsc.v1\r\n", &hs);
	CHECK(hs.wsc_v1);
	upgrade(GET, UPGRADE KEY VERSION "Sec-WebSocket-Protocol: wsc.v12, xwsc.v1, wsc .v1\r\n", &hs);
	CHECK(!hs.wsc_v1);
	CHECK_EQ(upgrade(GET, UPGRADE KEY "Sec-WebSocket-Protocol: wsc.v1\r\n", &hs), WS_UPGRADE_BAD_VERSION);
	CHECK(hs.wsc_v1); /* so that the refusal can be a close code */
}

TEST(every_outcome_of_a_handshake_has_its_sentence)
{
	for (int u = WS_UPGRADE_OK; u <= WS_UPGRADE_BAD_REQUEST; u++)
		CHECK(strlen(ws_upgrade_why((enum ws_upgrade)u)) > 10);
}
