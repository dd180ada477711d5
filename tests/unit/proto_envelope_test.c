/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of proto/envelope: each rule of the message by its name. Everything written here goes through write_out(),
 * which gives the writer a block of exactly the promised size and holds every output to the same promise: valid JSON,
 * valid UTF-8, one line.
 */
#include "proto/envelope.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint64_t seed[2] = { 7, 11 };

static enum envelope_error parse(struct envelope *e, struct bytes text)
{
	return envelope_parse(e, text, JSON_MAX_DEPTH, seed);
}

/* The written message, in @b. */
static struct bytes write_out(struct buf *b, const struct envelope_out *o)
{
	size_t size = envelope_size(o);
	uint8_t *p = mem_alloc(size);
	struct json_value v;

	CHECK_EQ(envelope_write(o, p), size);
	CHECK_EQ(json_check(bytes_of(p, size), &v), JSON_OK);
	CHECK_EQ(v.type, JSON_OBJECT);
	CHECK(utf8_valid(bytes_of(p, size)));
	for (size_t i = 0; i < size; i++)
		CHECK(p[i] != '\r' && p[i] != '\n');
	buf_clear(b);
	buf_add(b, bytes_of(p, size));
	mem_free(p);
	return buf_bytes(b);
}

/* Parses @text, which must be good, and writes it with nothing filled in. */
static struct bytes pass_through(struct buf *b, struct bytes text)
{
	struct envelope_out o;
	struct envelope e;

	CHECK_EQ(parse(&e, text), ENVELOPE_OK);
	envelope_out_from(&o, &e);
	return write_out(b, &o);
}

static struct bytes explain(struct bytes text, char out[ENVELOPE_EXPLAIN_MAX])
{
	struct envelope e;
	enum envelope_error err = parse(&e, text);

	return envelope_explain(&e, err ? err : envelope_check_payload(&e), out);
}

/* The message @open @s @n times @close. */
static void build(struct buf *b, const char *open, const char *s, size_t n, const char *close)
{
	buf_clear(b);
	buf_add_str(b, open);
	while (n--)
		buf_add_str(b, s);
	buf_add_str(b, close);
}

/* Shows: threat 76 */
TEST(six_strings_come_first_and_the_rest_follows_in_its_order)
{
	struct buf b = BUF_INIT;
	struct envelope_out o;
	struct envelope e;

	CHECK_EQ(
		parse(&e,
		      BYTES("{\"x\":1,\"content\":\"hi\",\"data\":{\"a\": 1},\"to\":\"bob\",\"priority\":\"high\",\"y\":[true]}")),
		ENVELOPE_OK);
	envelope_out_from(&o, &e);
	o.id = envelope_plain(BYTES("01H"));
	o.type = envelope_plain(BYTES("text"));
	o.from = envelope_plain(BYTES("alice"));
	o.create_at = envelope_plain(BYTES("2026-01-31T12:00:00.000Z"));
	CHECK_BYTES(
		write_out(&b, &o),
		"{\"id\":\"01H\",\"type\":\"text\",\"from\":\"alice\",\"to\":\"bob\",\"content\":\"hi\","
		"\"create_at\":\"2026-01-31T12:00:00.000Z\",\"x\":1,\"data\":{\"a\": 1},\"priority\":\"high\",\"y\":[true]}");
	buf_deinit(&b);
}

TEST(the_six_are_there_even_when_the_source_has_none_of_them)
{
	struct buf b = BUF_INIT;

	CHECK_BYTES(pass_through(&b, BYTES("{}")),
		    "{\"id\":\"\",\"type\":\"\",\"from\":\"\",\"to\":\"\",\"content\":\"\",\"create_at\":\"\"}");
	CHECK_BYTES(
		pass_through(&b, BYTES(" { \"data\" : {} } ")),
		"{\"id\":\"\",\"type\":\"\",\"from\":\"\",\"to\":\"\",\"content\":\"\",\"create_at\":\"\",\"data\" : {}}");
	buf_deinit(&b);
}

#define NOBODY "{\"id\":\"\",\"type\":\"\",\"from\":\"\",\"to\":\"\",\"content\":\"\",\"create_at\":\"\""

TEST(unknown_keys_and_data_pass_byte_for_byte)
{
	struct buf b = BUF_INIT;

	CHECK_BYTES(
		pass_through(
			&b,
			BYTES("{\"data\":{\"n\":9223372036854775807,\"f\":1.50e+3,\"s\":\"\\u0041\\/\",\"z\":0,\"a\":{},\"a\":1}}")),
		NOBODY
		",\"data\":{\"n\":9223372036854775807,\"f\":1.50e+3,\"s\":\"\\u0041\\/\",\"z\":0,\"a\":{},\"a\":1}}");
	CHECK_BYTES(
		pass_through(
			&b,
			BYTES("{\"big\":123456789012345678901234567890, \"\\u0078\" :\t\"\xe2\x80\xa8\\ud83d\\ude00\"}")),
		NOBODY ",\"big\":123456789012345678901234567890, \"\\u0078\" :\t\"\xe2\x80\xa8\\ud83d\\ude00\"}");
	buf_deinit(&b);
}

TEST(strings_of_the_source_are_taken_over_as_they_are_spelled)
{
	struct buf b = BUF_INIT;

	CHECK_BYTES(
		pass_through(&b, BYTES("{\"id\":\"\\u0031\",\"type\":\"t\\/\",\"from\":\"a\\\"b\",\"to\":\"\\u0062ob\","
				       "\"content\":\"a\\nb\\u2028\"}")),
		"{\"id\":\"\\u0031\",\"type\":\"t\\/\",\"from\":\"a\\\"b\",\"to\":\"\\u0062ob\",\"content\":\"a\\nb\\u2028\","
		"\"create_at\":\"\"}");
	buf_deinit(&b);
}

TEST(line_breaks_between_tokens_become_spaces)
{
	struct buf b = BUF_INIT;

	CHECK_BYTES(
		pass_through(
			&b,
			BYTES("{\r\n  \"to\": \"bob\",\r\n  \"data\": {\n    \"a\": \"x\\ny\"\r  },\n  \"k\":\n1,\n\"content\":\"c\"\n}\n")),
		"{\"id\":\"\",\"type\":\"\",\"from\":\"\",\"to\":\"bob\",\"content\":\"c\",\"create_at\":\"\","
		"\"data\": {     \"a\": \"x\\ny\"   },   \"k\": 1}");
	buf_deinit(&b);
}

TEST(a_clients_seq_no_is_dropped)
{
	struct buf b = BUF_INIT;

	CHECK_BYTES(pass_through(&b, BYTES("{\"a\":1,\"seq_no\":5,\"b\":2}")), NOBODY ",\"a\":1,\"b\":2}");
	CHECK_BYTES(pass_through(&b, BYTES("{\"seq_no\":-9223372036854775808}")), NOBODY "}");
	buf_deinit(&b);
}

static const char *const all_keys[ENVELOPE_KEYS] = { "id",       "type",   "from",      "to",         "ticket_id",
						     "content",  "data",   "create_at", "msg_id",     "reply_to_msg_id",
						     "priority", "seq_no", "status",    "require_ack" };

TEST(null_in_a_known_key_counts_as_absent_and_is_not_passed_on)
{
	struct buf text = BUF_INIT, b = BUF_INIT;

	for (size_t k = 0; k < ENVELOPE_KEYS; k++) {
		struct envelope e;

		buf_clear(&text);
		buf_addf(&text, "{\"x\":null,\"%s\":null,\"y\":2}", all_keys[k]);
		CHECK_EQ(parse(&e, buf_bytes(&text)), ENVELOPE_OK);
		CHECK_EQ(e.present, 0);
		CHECK_BYTES(pass_through(&b, buf_bytes(&text)), NOBODY ",\"x\":null,\"y\":2}");
	}
	buf_deinit(&text);
	buf_deinit(&b);
}

TEST(an_empty_name_counts_as_absent)
{
	static const enum envelope_key named[] = { ENVELOPE_TYPE, ENVELOPE_FROM, ENVELOPE_TO, ENVELOPE_TICKET_ID };
	struct buf text = BUF_INIT, b = BUF_INIT;

	for (size_t i = 0; i < COUNT(named); i++) {
		struct envelope e;

		buf_clear(&text);
		buf_addf(&text, "{\"%s\":\"\"}", all_keys[named[i]]);
		CHECK_EQ(parse(&e, buf_bytes(&text)), ENVELOPE_OK);
		CHECK(!envelope_has(&e, named[i]));
		CHECK_BYTES(pass_through(&b, buf_bytes(&text)), NOBODY "}");
	}
	CHECK_BYTES(pass_through(&b, BYTES("{\"priority\":\"\",\"msg_id\":\"\"}")),
		    NOBODY ",\"priority\":\"\",\"msg_id\":\"\"}");
	buf_deinit(&text);
	buf_deinit(&b);
}

/* clang-format off: a table, laid out by hand. */
static const struct {
	struct bytes text;
	enum envelope_error want;
	const char *says;
} refused[] = {
	{ BYTES(""), ENVELOPE_EMPTY, "the message is empty" },
	{ BYTES(" \n"), ENVELOPE_EMPTY, "the message is empty" },
	{ BYTES("hello"), ENVELOPE_NOT_JSON, "the message is not valid JSON" },
	{ BYTES("{\"to\":\"bob\""), ENVELOPE_NOT_JSON, "the message is not valid JSON" },
	{ BYTES("{\"to\":\"bob\"}{}"), ENVELOPE_NOT_JSON, "the message is not valid JSON" },
	{ BYTES("{\"to\":NaN}"), ENVELOPE_NOT_JSON, "the message is not valid JSON" },
	{ BYTES("{\"to\":\"\xff\"}"), ENVELOPE_NOT_UTF8, "the message is not valid UTF-8" },
	{ BYTES("[1]"), ENVELOPE_NOT_OBJECT, "the message must be a JSON object" },
	{ BYTES("\"ping\""), ENVELOPE_NOT_OBJECT, "the message must be a JSON object" },
	{ BYTES("null"), ENVELOPE_NOT_OBJECT, "the message must be a JSON object" },
	{ BYTES("{\"to\":\"a\",\"to\":\"b\"}"), ENVELOPE_KEY_TWICE, "the key \"to\" appears twice" },
	{ BYTES("{\"to\":\"a\",\"from\":\"b\",\"x\":1,\"to\":\"c\"}"), ENVELOPE_KEY_TWICE,
	  "the key \"to\" appears twice" },
	{ BYTES("{\"id\":null,\"id\":\"a\"}"), ENVELOPE_KEY_TWICE, "the key \"id\" appears twice" },
	{ BYTES("{\"seq_no\":1,\"x\":1,\"seq_no\":2}"), ENVELOPE_KEY_TWICE, "the key \"seq_no\" appears twice" },
	{ BYTES("{\"to\":\"a\",\"\\u0074o\":\"b\"}"), ENVELOPE_KEY_TWICE, "the key \"\\u0074o\" appears twice" },
	{ BYTES("{\"\\u0072\\u0065\\u0070\\u006c\\u0079\\u005f\\u0074\\u006f\\u005f\\u006d\\u0073\\u0067"
		"\\u005f\\u0069\\u0064\":\"\","
		"\"reply_to_msg_id\":\"\"}"),
	  ENVELOPE_KEY_TWICE, "the key \"reply_to_msg_id\" appears twice" },
	{ BYTES("{\"x\":1,\"y\":2,\"x\":1}"), ENVELOPE_KEY_TWICE, "the key \"x\" appears twice" },
	{ BYTES("{\"\":1,\"\":1}"), ENVELOPE_KEY_TWICE, "the key \"\" appears twice" },
	{ BYTES("{\"\\u00e9\":1,\"\xc3\xa9\":1}"), ENVELOPE_KEY_TWICE, "the key \"\xc3\xa9\" appears twice" },
	{ BYTES("{\"a/b\":1,\"a\\/b\":1}"), ENVELOPE_KEY_TWICE, "the key \"a\\/b\" appears twice" },
	{ BYTES("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}"), ENVELOPE_KEY_TWICE,
	  "the key \"\xf0\x9f\x98\x80\" appears twice" },
	{ BYTES("{\"content\":\"\\ud83d\"}"), ENVELOPE_LONE_SURROGATE,
	  "\"content\" has half of a surrogate pair: \\ud800 to \\udfff must come in pairs" },
	{ BYTES("{\"mine\":\"\\ude00\"}"), ENVELOPE_LONE_SURROGATE,
	  "\"mine\" has half of a surrogate pair: \\ud800 to \\udfff must come in pairs" },
	{ BYTES("{\"\\ud83d\":1}"), ENVELOPE_LONE_SURROGATE,
	  "\"\\ud83d\" has half of a surrogate pair: \\ud800 to \\udfff must come in pairs" },
	{ BYTES("{\"id\":5}"), ENVELOPE_NOT_STRING, "id must be a string" },
	{ BYTES("{\"type\":true}"), ENVELOPE_NOT_STRING, "type must be a string" },
	{ BYTES("{\"from\":[]}"), ENVELOPE_NOT_STRING, "from must be a string" },
	{ BYTES("{\"to\":{}}"), ENVELOPE_NOT_STRING, "to must be a string" },
	{ BYTES("{\"to\":[\"a\",\"b\"]}"), ENVELOPE_NOT_STRING, "to must be a string" },
	{ BYTES("{\"ticket_id\":1}"), ENVELOPE_NOT_STRING, "ticket_id must be a string" },
	{ BYTES("{\"content\":1}"), ENVELOPE_NOT_STRING, "content must be a string" },
	{ BYTES("{\"content\":{\"a\":1}}"), ENVELOPE_NOT_STRING, "content must be a string" },
	{ BYTES("{\"create_at\":1700000000}"), ENVELOPE_NOT_STRING, "create_at must be a string" },
	{ BYTES("{\"msg_id\":1}"), ENVELOPE_NOT_STRING, "msg_id must be a string" },
	{ BYTES("{\"reply_to_msg_id\":false}"), ENVELOPE_NOT_STRING, "reply_to_msg_id must be a string" },
	{ BYTES("{\"priority\":1}"), ENVELOPE_NOT_STRING, "priority must be a string" },
	{ BYTES("{\"status\":1}"), ENVELOPE_NOT_STRING, "status must be a string" },
	{ BYTES("{\"data\":[]}"), ENVELOPE_DATA_NOT_OBJECT, "data must be an object" },
	{ BYTES("{\"data\":\"{}\"}"), ENVELOPE_DATA_NOT_OBJECT, "data must be an object" },
	{ BYTES("{\"data\":1}"), ENVELOPE_DATA_NOT_OBJECT, "data must be an object" },
	{ BYTES("{\"seq_no\":1.0}"), ENVELOPE_BAD_SEQ_NO, "seq_no must be an integer" },
	{ BYTES("{\"seq_no\":1e2}"), ENVELOPE_BAD_SEQ_NO, "seq_no must be an integer" },
	{ BYTES("{\"seq_no\":\"1\"}"), ENVELOPE_BAD_SEQ_NO, "seq_no must be an integer" },
	{ BYTES("{\"seq_no\":9223372036854775808}"), ENVELOPE_BAD_SEQ_NO, "seq_no must be an integer" },
	{ BYTES("{\"require_ack\":1}"), ENVELOPE_BAD_REQUIRE_ACK, "require_ack must be true or false" },
	{ BYTES("{\"require_ack\":\"true\"}"), ENVELOPE_BAD_REQUIRE_ACK, "require_ack must be true or false" },
	{ BYTES("{\"id\":\"\"}"), ENVELOPE_BAD_ID, "id must be 1 to 64 bytes" },
	{ BYTES("{\"type\":\"a\\nb\"}"), ENVELOPE_BAD_TYPE, "type must be 1 to 64 bytes without control characters" },
	{ BYTES("{\"to\":\"a\\u0000b\"}"), ENVELOPE_BAD_ADDRESS,
	  "to must be 1 to 128 bytes without control characters" },
	{ BYTES("{\"from\":\"\\u007f\"}"), ENVELOPE_BAD_ADDRESS,
	  "from must be 1 to 128 bytes without control characters" },
	{ BYTES("{\"ticket_id\":\"\\u0085\"}"), ENVELOPE_BAD_ADDRESS,
	  "ticket_id must be 1 to 128 bytes without control characters" },
	{ BYTES("{\"create_at\":\"yesterday\"}"), ENVELOPE_BAD_CREATE_AT, "create_at is not an RFC 3339 date" },
	{ BYTES("{\"status\":\"lost\"}"), ENVELOPE_BAD_STATUS,
	  "status must be pending, sent, delivered, read or failed" },
	{ BYTES("{\"status\":\"\"}"), ENVELOPE_BAD_STATUS, "status must be pending, sent, delivered, read or failed" },
	{ BYTES("{\"to\":\"bob\"}"), ENVELOPE_OK, "content or data is required" },
};
/* clang-format on */

/* Shows: threat 15 */
TEST(each_fault_of_a_message_has_a_sentence)
{
	for (size_t i = 0; i < COUNT(refused); i++) {
		char out[ENVELOPE_EXPLAIN_MAX];
		struct envelope e;

		if (!CHECK_EQ(parse(&e, refused[i].text), refused[i].want) ||
		    !CHECK(bytes_eq(explain(refused[i].text, out), bytes_str(refused[i].says))))
			printf("\t%.*s\n", (int)refused[i].text.len, (const char *)refused[i].text.at);
	}
}

TEST(a_fault_behind_a_good_beginning_is_found)
{
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < COUNT(refused); i++) {
		struct envelope e;

		if (refused[i].want > ENVELOPE_KEY_TWICE || !bytes_starts(refused[i].text, BYTES("{")))
			continue;
		buf_clear(&text);
		buf_add_str(&text, "{\"one\":{\"to\":1},\"two\":[\"\\ud800\"],");
		buf_add(&text, bytes_of(refused[i].text.at + 1, refused[i].text.len - 1));
		CHECK_EQ(parse(&e, buf_bytes(&text)), refused[i].want);
	}
	buf_deinit(&text);
}

TEST(a_long_key_is_cut_in_the_sentence_and_no_character_with_it)
{
	struct buf text = BUF_INIT;

	for (size_t pad = 0; pad < 4; pad++) {
		char out[ENVELOPE_EXPLAIN_MAX];
		struct bytes s;

		buf_clear(&text);
		for (int twice = 0; twice < 2; twice++) {
			buf_add_str(&text, twice ? ",\"" : "{\"");
			for (size_t i = 0; i < pad; i++)
				buf_add_u8(&text, 'a');
			for (int i = 0; i < 1000; i++)
				buf_add_str(&text, "\xf0\x9f\x98\x80");
			buf_add_str(&text, "\":1");
		}
		buf_add_u8(&text, '}');
		s = explain(buf_bytes(&text), out);
		CHECK(utf8_valid(s) && s.len < 100 && bytes_starts(s, BYTES("the key \"")));
	}
	buf_deinit(&text);
}

TEST(duplicates_below_the_top_level_are_accepted)
{
	struct envelope e;

	CHECK_EQ(
		parse(&e,
		      BYTES("{\"data\":{\"a\":1,\"a\":2,\"s\":\"\\ud800\"},\"x\":{\"to\":1,\"to\":2},\"y\":[\"\\udfff\"]}")),
		ENVELOPE_OK);
}

TEST(an_id_is_one_to_sixty_four_bytes_unescaped)
{
	struct buf b = BUF_INIT;
	struct envelope e;

	build(&b, "{\"id\":\"", "x", 64, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
	build(&b, "{\"id\":\"", "x", 65, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ID);
	build(&b, "{\"id\":\"", "\\u0041", 64, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
	build(&b, "{\"id\":\"", "\\u0041", 65, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ID);
	build(&b, "{\"id\":\"", "\\u00e9", 33, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ID);
	build(&b, "{\"id\":\"", "\\\\", 100000, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ID);
	CHECK_EQ(parse(&e, BYTES("{\"id\":\"a\\u0000\\n\\\"b\"}")), ENVELOPE_OK);
	buf_deinit(&b);
}

TEST(a_type_is_at_most_sixty_four_bytes)
{
	struct buf b = BUF_INIT;
	struct envelope e;

	build(&b, "{\"type\":\"", "t", 64, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
	build(&b, "{\"type\":\"", "t", 65, "\"}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_TYPE);
	CHECK_EQ(parse(&e, BYTES("{\"type\":\"any.thing we:do/not\\u006bnow \xe4\xbd\xa0\"}")), ENVELOPE_OK);
	buf_deinit(&b);
}

TEST(an_address_is_one_to_a_hundred_and_twenty_eight_bytes)
{
	static const enum envelope_key addresses[] = { ENVELOPE_FROM, ENVELOPE_TO, ENVELOPE_TICKET_ID };
	struct buf b = BUF_INIT;
	struct envelope e;

	for (size_t i = 0; i < COUNT(addresses); i++) {
		char head[32];

		snprintf(head, sizeof(head), "{\"%s\":\"", all_keys[addresses[i]]);
		build(&b, head, "u", 128, "\"}");
		CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
		build(&b, head, "u", 129, "\"}");
		CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ADDRESS);
		build(&b, head, "\\u0075", 128, "\"}");
		CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
		build(&b, head, "\\u0075", 129, "\"}");
		CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ADDRESS);
		build(&b, head, "\xe4\xbd\xa0", 43, "\"}");
		CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_BAD_ADDRESS);
	}
	buf_deinit(&b);
}

TEST(ids_of_users_are_text_without_controls)
{
	CHECK(envelope_id_ok(BYTES("alice")));
	CHECK(envelope_id_ok(BYTES("a b\"c\\d'e/f@g:h")));
	CHECK(envelope_id_ok(BYTES("\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80 \xc3\xa9 \xc2\xa0")));
	CHECK(!envelope_id_ok(BYTES("")));
	CHECK(!envelope_id_ok((struct bytes){ 0 }));
	CHECK(!envelope_id_ok(BYTES("a\0b")));
	CHECK(!envelope_id_ok(BYTES("a\nb")));
	CHECK(!envelope_id_ok(BYTES("a\x1f")));
	CHECK(!envelope_id_ok(BYTES("\x7f")));
	CHECK(!envelope_id_ok(BYTES("a\xc2\x80")));
	CHECK(!envelope_id_ok(BYTES("\xc2\x9f"
				    "b")));
	CHECK(!envelope_id_ok(BYTES("a\xff")));
	CHECK(!envelope_id_ok(BYTES("\xe4\xbd")));
	CHECK(!envelope_id_ok(BYTES("a\xc2")));
}

TEST(an_id_is_not_read_beyond_its_end)
{
	uint8_t *cut = mem_alloc(2);

	memcpy(cut, "a\xc2", 2);
	CHECK(!envelope_id_ok(bytes_of(cut, 2)));
	mem_free(cut);
}

TEST(a_date_is_kept_and_one_without_zone_is_read_as_utc)
{
	static const struct {
		const char *sent, *passed_on;
	} dates[] = {
		{ "2026-01-31T12:00:00.123Z", "2026-01-31T12:00:00.123Z" },
		{ "2026-01-31T12:00:00+08:00", "2026-01-31T12:00:00+08:00" },
		{ "2026-01-31T12:00:00z", "2026-01-31T12:00:00z" },
		{ "2026-01-31T12:00:00.123456", "2026-01-31T12:00:00.123456Z" },
		{ "2026-01-31T12:00:00", "2026-01-31T12:00:00Z" },
		{ "2026-01-31 12:00:00.5", "2026-01-31 12:00:00.5Z" },
		{ "2026-01-31T12:00:00\\u002B08:00", "2026-01-31T12:00:00\\u002B08:00" },
		{ "2026-01-31T12:00:00\\u005a", "2026-01-31T12:00:00\\u005a" },
		{ "2026-01-31\\u005412:00:0\\u0030", "2026-01-31\\u005412:00:0\\u0030Z" },
	};
	struct buf text = BUF_INIT, b = BUF_INIT, want = BUF_INIT;

	for (size_t i = 0; i < COUNT(dates); i++) {
		buf_clear(&text);
		buf_addf(&text, "{\"create_at\":\"%s\",\"x\":1}", dates[i].sent);
		buf_clear(&want);
		buf_addf(
			&want,
			"{\"id\":\"\",\"type\":\"\",\"from\":\"\",\"to\":\"\",\"content\":\"\",\"create_at\":\"%s\",\"x\":1}",
			dates[i].passed_on);
		CHECK(bytes_eq(pass_through(&b, buf_bytes(&text)), buf_bytes(&want)));
	}
	buf_deinit(&text);
	buf_deinit(&b);
	buf_deinit(&want);
}

TEST(a_create_at_that_is_no_date_is_refused)
{
	static const char *const bad[] = { "",
					   "2026",
					   "2026-01-31",
					   "12:00:00",
					   "2026-02-30T00:00:00Z",
					   "2026-01-31T24:00:00Z",
					   "now",
					   "2026-01-31T12:00:00ZZ",
					   "2026-01-31T12:00:00+8",
					   "2026-01-31T12:00:00\\u0000",
					   "2026-01-31\\u00e912:00:00",
					   " 2026-01-31T12:00:00Z",
					   "2026-01-31T12:00:00.Z",
					   "Sat, 31 Jan 2026 12:00:00 GMT",
					   "1769860800" };
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct envelope e;

		buf_clear(&text);
		buf_addf(&text, "{\"create_at\":\"%s\"}", bad[i]);
		if (!CHECK_EQ(parse(&e, buf_bytes(&text)), ENVELOPE_BAD_CREATE_AT))
			printf("\t%s\n", bad[i]);
	}
	buf_deinit(&text);
}

TEST(content_may_be_absent_when_data_is_there)
{
	struct envelope e;

	CHECK_EQ(parse(&e, BYTES("{\"data\":{}}")), ENVELOPE_OK);
	CHECK_EQ(envelope_check_payload(&e), ENVELOPE_OK);
	CHECK_EQ(parse(&e, BYTES("{\"content\":\"\"}")), ENVELOPE_OK);
	CHECK_EQ(envelope_check_payload(&e), ENVELOPE_OK);
	CHECK_EQ(parse(&e, BYTES("{\"content\":null,\"data\":null}")), ENVELOPE_OK);
	CHECK_EQ(envelope_check_payload(&e), ENVELOPE_NO_PAYLOAD);
	CHECK_EQ(parse(&e, BYTES("{\"type\":\"heartbeat\"}")), ENVELOPE_OK);
	CHECK_EQ(envelope_check_payload(&e), ENVELOPE_NO_PAYLOAD);
}

TEST(every_status_and_flag_of_the_table_passes)
{
	static const char *const all[] = { "\"status\":\"pending\"",   "\"status\":\"sent\"",
					   "\"status\":\"delivered\"", "\"status\":\"read\"",
					   "\"status\":\"failed\"",    "\"status\":\"\\u0073ent\"",
					   "\"require_ack\":true",     "\"require_ack\":false",
					   "\"msg_id\":\"m\"",         "\"reply_to_msg_id\":\"r\"",
					   "\"priority\":\"high\"",    "\"ticket_id\":\"t1\"" };
	struct buf text = BUF_INIT, b = BUF_INIT, want = BUF_INIT;

	for (size_t i = 0; i < COUNT(all); i++) {
		buf_clear(&text);
		buf_addf(&text, "{%s}", all[i]);
		buf_clear(&want);
		buf_addf(&want, NOBODY ",%s}", all[i]);
		CHECK(bytes_eq(pass_through(&b, buf_bytes(&text)), buf_bytes(&want)));
	}
	buf_deinit(&text);
	buf_deinit(&b);
	buf_deinit(&want);
}

TEST(a_string_is_read_in_place_unless_it_has_escapes)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH];
	struct bytes text =
		BYTES("{\"to\":\"\\u0062ob\",\"from\":\"alice\",\"t\\u0079pe\":\"ping\",\"require_ack\":true}");
	struct bytes s;
	struct envelope e;

	CHECK_EQ(parse(&e, text), ENVELOPE_OK);
	s = envelope_string(&e, ENVELOPE_TO, scratch);
	CHECK_BYTES(s, "bob");
	CHECK(s.at == scratch);
	s = envelope_string(&e, ENVELOPE_FROM, scratch);
	CHECK_BYTES(s, "alice");
	CHECK(s.at > text.at && s.at < text.at + text.len);
	CHECK(!envelope_string(&e, ENVELOPE_CONTENT, scratch).at &&
	      !envelope_string(&e, ENVELOPE_REQUIRE_ACK, scratch).at);
	CHECK(envelope_is(&e, ENVELOPE_TO, BYTES("bob")) && envelope_is(&e, ENVELOPE_TYPE, BYTES("ping")));
	CHECK(!envelope_is(&e, ENVELOPE_TO, BYTES("bo")) && !envelope_is(&e, ENVELOPE_ID, BYTES("")));
}

TEST(known_keys_are_found_at_any_length_and_their_neighbours_are_not)
{
	struct buf text = BUF_INIT;

	for (size_t k = 0; k < ENVELOPE_KEYS; k++) {
		struct envelope e;

		buf_clear(&text);
		buf_addf(&text, "{\"%s\":null,\"%sx\":1,\"x%s\":1,\"%c\":1,\"\\u00%02x%s_\":1}", all_keys[k],
			 all_keys[k], all_keys[k], all_keys[k][0] - 32, (unsigned)all_keys[k][0], all_keys[k] + 1);
		CHECK_EQ(parse(&e, buf_bytes(&text)), ENVELOPE_OK);
		CHECK_EQ(e.seen, 1u << k);
		CHECK_EQ(e.unknown, 4);
		buf_clear(&text);
		buf_addf(&text, "{\"\\u00%02x%s\":null}", (unsigned)all_keys[k][0], all_keys[k] + 1);
		CHECK_EQ(parse(&e, buf_bytes(&text)), ENVELOPE_OK);
		CHECK_EQ(e.seen, 1u << k);
	}
	buf_deinit(&text);
}

/* Members of every pattern of kept and cut: a bit of @pattern keeps one. */
static void check_pattern(unsigned n, unsigned pattern)
{
	static const char *const cut[] = { "\"id\":\"1\"",      "\"type\":\"t\"", "\"from\":\"f\"", "\"to\":\"b\"",
					   "\"content\":\"c\"", "\"seq_no\":1",   "\"msg_id\":null" };
	static const char *const kept[] = { "\"data\":{}", "\"a\":1",    "\"status\":\"sent\"",
					    "\"b\":[ ]",   "\"c\":\"\"", "\"priority\":\"p\"",
					    "\"d\":{}" };
	struct buf text = BUF_INIT, want = BUF_INIT, b = BUF_INIT;
	struct bytes got;

	buf_add_str(&text, "{");
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_add_str(&text, ",");
		buf_add_str(&text, pattern >> i & 1 ? kept[i] : cut[i]);
		if (pattern >> i & 1) {
			buf_add_str(&want, ",");
			buf_add_str(&want, kept[i]);
		}
	}
	buf_add_str(&text, "}");
	buf_add_str(&want, "}");
	got = pass_through(&b, buf_bytes(&text));
	CHECK(got.len >= want.len && bytes_eq(bytes_of(got.at + got.len - want.len, want.len), buf_bytes(&want)));
	CHECK(memmem(got.at, got.len, "\"create_at\":\"\"", 14) == got.at + got.len - want.len - 14);
	buf_deinit(&text);
	buf_deinit(&want);
	buf_deinit(&b);
}

TEST(members_are_cut_out_with_exactly_one_comma_each)
{
	for (unsigned n = 0; n <= 7; n++)
		for (unsigned pattern = 0; pattern < 1u << n; pattern++)
			check_pattern(n, pattern);
}

TEST(a_caller_may_cut_more_members_and_insert_its_own)
{
	struct buf b = BUF_INIT;
	struct envelope_out o;
	struct envelope e;

	CHECK_EQ(parse(&e, BYTES("{\"ticket_id\":\"t\",\"data\":{\"a\":1},\"x\":1,\"require_ack\":true}")),
		 ENVELOPE_OK);
	envelope_out_from(&o, &e);
	o.cut = 1u << ENVELOPE_TICKET_ID | 1u << ENVELOPE_REQUIRE_ACK;
	o.data = BYTES("{\r\n\"mine\":2\n}");
	o.extra = BYTES("\"seq_no\":17");
	CHECK_BYTES(write_out(&b, &o), NOBODY ",\"x\":1,\"data\":{  \"mine\":2 },\"seq_no\":17}");
	o.cut = 1u << ENVELOPE_DATA;
	o.data = o.extra = (struct bytes){ 0 };
	CHECK_BYTES(write_out(&b, &o), NOBODY ",\"ticket_id\":\"t\",\"x\":1,\"require_ack\":true}");
	buf_deinit(&b);
}

TEST(a_message_of_our_own_needs_no_source)
{
	struct envelope_out o = { .id = envelope_plain(BYTES("1")),
				  .type = envelope_plain(BYTES("connected")),
				  .from = envelope_plain(BYTES("system")),
				  .to = envelope_raw(BYTES("\"al\\u0069ce\"")),
				  .create_at = envelope_plain(BYTES("2026-01-31T12:00:00.000Z")) };
	struct buf b = BUF_INIT;

	CHECK_BYTES(write_out(&b, &o),
		    "{\"id\":\"1\",\"type\":\"connected\",\"from\":\"system\",\"to\":\"al\\u0069ce\",\"content\":\"\","
		    "\"create_at\":\"2026-01-31T12:00:00.000Z\"}");
	o.type = envelope_plain(BYTES("closed"));
	o.data = BYTES("{\"code\":4409,\"reason\":\"replaced\",\"reconnect\":false}");
	o.extra = BYTES("\"user_id\":\"alice\"");
	CHECK_BYTES(
		write_out(&b, &o),
		"{\"id\":\"1\",\"type\":\"closed\",\"from\":\"system\",\"to\":\"al\\u0069ce\",\"content\":\"\","
		"\"create_at\":\"2026-01-31T12:00:00.000Z\",\"data\":{\"code\":4409,\"reason\":\"replaced\",\"reconnect\":false},"
		"\"user_id\":\"alice\"}");
	buf_deinit(&b);
}

TEST(an_error_frame_carries_code_and_ref)
{
	struct envelope_fault fault = { .code = BYTES("user_offline"), .ref = envelope_raw(BYTES("\"m\\u0031\"")) };
	struct buf b = BUF_INIT;
	struct envelope_out o;

	envelope_out_error(&o, envelope_plain(BYTES("alice")), BYTES("bob is offline"), &fault);
	o.id = envelope_plain(BYTES("e1"));
	o.create_at = envelope_plain(BYTES("2026-01-31T12:00:00.000Z"));
	CHECK_BYTES(
		write_out(&b, &o),
		"{\"id\":\"e1\",\"type\":\"error\",\"from\":\"system\",\"to\":\"alice\",\"content\":\"bob is offline\","
		"\"create_at\":\"2026-01-31T12:00:00.000Z\",\"data\":{\"code\":\"user_offline\",\"ref\":\"m\\u0031\"}}");
	fault = (struct envelope_fault){ .code = BYTES("rate_limited"), .extra = BYTES("\"retry_after_ms\":120") };
	CHECK_BYTES(
		write_out(&b, &o),
		"{\"id\":\"e1\",\"type\":\"error\",\"from\":\"system\",\"to\":\"alice\",\"content\":\"bob is offline\","
		"\"create_at\":\"2026-01-31T12:00:00.000Z\",\"data\":{\"code\":\"rate_limited\",\"retry_after_ms\":120}}");
	fault.ref = envelope_plain(BYTES("\"},\"x\":{\""));
	fault.extra = (struct bytes){ 0 };
	CHECK_BYTES(
		write_out(&b, &o),
		"{\"id\":\"e1\",\"type\":\"error\",\"from\":\"system\",\"to\":\"alice\",\"content\":\"bob is offline\","
		"\"create_at\":\"2026-01-31T12:00:00.000Z\",\"data\":{\"code\":\"rate_limited\",\"ref\":\"\\\"},\\\"x\\\":{\\\"\"}}");
	buf_deinit(&b);
}

TEST(hostile_names_cannot_break_out_of_their_string)
{
	static const struct bytes hostile[] = {
		BYTES("\",\"from\":\"system"),  BYTES("\\"),         BYTES("\\\",\"to\":\"x"),
		BYTES("a\r\ndata: x\r\n\r\n"),  BYTES("\0\0"),       BYTES("\xff\"\xc3"),
		BYTES("\xe2\x80\xa8</script>"), BYTES("\x1b[2J\x7f")
	};
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < COUNT(hostile); i++)
		for (size_t field = 0; field < 6; field++) {
			struct envelope_out o = { .create_at_add_z = false };
			struct envelope_text *const fields[] = { &o.id, &o.type,    &o.from,
								 &o.to, &o.content, &o.create_at };
			struct json_walk w;
			struct json_member m;
			size_t members = 0;

			*fields[field] = envelope_plain(hostile[i]);
			CHECK_EQ(json_object_begin(&w, write_out(&b, &o)), JSON_OK);
			while (json_object_next(&w, &m) > 0)
				if (members++ == field && utf8_valid(hostile[i]))
					CHECK(json_string_eq(&m.value, hostile[i]));
			CHECK_EQ(members, 6);
		}
	buf_deinit(&b);
}

static void add_many_keys(struct buf *b, size_t n, const char *format_tail)
{
	buf_clear(b);
	buf_add_str(b, "{\"to\":\"bob\"");
	for (size_t i = 0; i < n; i++)
		buf_addf(b, ",\"%x%s\":0", (unsigned)i, format_tail);
	buf_add_str(b, "}");
}

TEST(a_hundred_thousand_keys_cost_linear_time)
{
	struct buf b = BUF_INIT;

	for (size_t n = 1; n <= 100000; n *= 10) {
		struct envelope e;

		add_many_keys(&b, n, "");
		CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
		CHECK_EQ(e.unknown, n);
		CHECK(e.steps <= 4 * n);
		CHECK_EQ(pass_through(&b, buf_bytes(&b)).len > 0, true);
	}
	buf_deinit(&b);
}

TEST(one_key_twice_among_many_is_found_wherever_it_is)
{
	static const size_t counts[] = { 1, 2, 31, 32, 33, 64, 127, 128, 129, 1000, 40000 };
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < COUNT(counts); i++)
		for (size_t which = 0; which < counts[i]; which += counts[i] / 3 + 1) {
			struct envelope e;

			add_many_keys(&b, counts[i], "\\u0079");
			b.len--;
			buf_addf(&b, ",\"%xy\":0}", (unsigned)which);
			CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_KEY_TWICE);
		}
	buf_deinit(&b);
}

#ifdef WSC_FAULTS
TEST(memory_that_runs_out_is_an_error_of_its_own)
{
	struct buf many = BUF_INIT, escaped = BUF_INIT;
	struct envelope e;

	add_many_keys(&many, 1000, "");
	build(&escaped, "{\"", "\\u0061", 100, "\":1}");
	for (unsigned long k = 1; k <= 3; k++) {
		mem_fail_at(k, 0);
		CHECK_EQ(parse(&e, buf_bytes(&many)), ENVELOPE_NO_MEMORY);
	}
	mem_fail_at(1, 0);
	CHECK_EQ(parse(&e, buf_bytes(&escaped)), ENVELOPE_NO_MEMORY);
	mem_fail_at(1, 1);
	CHECK_EQ(parse(&e, BYTES("{\"to\":\"bob\",\"content\":\"hi\",\"x\":1}")), ENVELOPE_OK);
	mem_fail_at(0, 0);
	buf_deinit(&many);
	buf_deinit(&escaped);
}
#endif

TEST(long_keys_with_escapes_are_distinguished)
{
	struct buf b = BUF_INIT;
	struct envelope e;

	build(&b, "{\"", "\\u0061", 5000, "\":1,\"");
	for (int i = 0; i < 4999; i++)
		buf_add_u8(&b, 'a');
	buf_add_str(&b, "b\":1}");
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_OK);
	b.at[b.len - 5] = 'a';
	CHECK_EQ(parse(&e, buf_bytes(&b)), ENVELOPE_KEY_TWICE);
	buf_deinit(&b);
}

TEST(sixty_four_levels_pass_and_one_more_does_not)
{
	struct buf b = BUF_INIT;
	struct envelope e;

	for (int levels = 64; levels <= 65; levels++) {
		buf_clear(&b);
		buf_add_str(&b, "{\"data\":");
		for (int i = 0; i < levels - 1; i++)
			buf_add_str(&b, i ? "[" : "{\"a\":");
		for (int i = levels - 1; i-- > 0;)
			buf_add_str(&b, i ? "]" : "}");
		buf_add_str(&b, "}");
		CHECK_EQ(parse(&e, buf_bytes(&b)), levels == 64 ? ENVELOPE_OK : ENVELOPE_TOO_DEEP);
	}
	buf_deinit(&b);
}

/* A random good message; @mask gets the known keys in it. */
static void random_message(struct rng *r, struct buf *b)
{
	static const char *const members[] = { "\"id\":\"i\\u0041\"",
					       "\"type\" :\"text\"",
					       "\"from\":\"al\\\"ice\"",
					       "\"to\":\"b\\\\ob\"",
					       "\"ticket_id\":\"t\"",
					       "\"content\":\"\xe4\xbd\xa0\\n\"",
					       "\"data\":{\"n\":9223372036854775807,\r\n\"a\":[1 ,2]}",
					       "\"create_at\":\"2026-01-31T12:00:00.123456\"",
					       "\"msg_id\":\"\"",
					       "\"reply_to_msg_id\":\"r\"",
					       "\"priority\":null",
					       "\"seq_no\":12",
					       "\"status\":\"sent\"",
					       "\"require_ack\":false",
					       "\"x\":1.0e5",
					       "\"\\u00e9\":[{}]",
					       "\"\":null",
					       "\"y\":\"\\ud83d\\ude00\"",
					       "\"Content\":{}" };
	size_t order[COUNT(members)], n = rng_below(r, COUNT(members) + 1);

	for (size_t i = 0; i < COUNT(members); i++)
		order[i] = i;
	buf_clear(b);
	buf_add_str(b, rng_below(r, 2) ? "{" : "\n{ ");
	for (size_t i = 0; i < n; i++) {
		size_t pick = i + rng_below(r, COUNT(members) - i), m = order[pick];

		order[pick] = order[i];
		order[i] = m;
		buf_add_str(b, i == 0 ? "" : rng_below(r, 4) ? "," : " ,\r\n");
		buf_add_str(b, members[m]);
	}
	buf_add_str(b, "}");
}

/* The value of @key in the object @text as bytes; at NULL when there is none. */
static struct bytes member_of(struct bytes text, struct bytes key)
{
	struct bytes found = { 0 };
	struct json_walk w;
	struct json_member m;

	CHECK_EQ(json_object_begin(&w, text), JSON_OK);
	while (json_object_next(&w, &m) > 0)
		if (bytes_eq(m.key, key))
			found = m.value.raw;
	return found;
}

static bool same_but_line_breaks(struct bytes a, struct bytes b)
{
	bool same = a.len == b.len;

	for (size_t i = 0; same && i < a.len; i++)
		same = a.at[i] == b.at[i] || ((b.at[i] == '\r' || b.at[i] == '\n') && a.at[i] == ' ');
	return same;
}

static void check_kept(struct bytes in, struct bytes out)
{
	struct json_walk w;
	struct json_member m;

	CHECK_EQ(json_object_begin(&w, in), JSON_OK);
	while (json_object_next(&w, &m) > 0) {
		struct bytes got = member_of(out, m.key);

		if (bytes_eq(m.key, BYTES("create_at")))
			CHECK(got.len == m.value.raw.len + 1);
		else if (bytes_eq(m.key, BYTES("seq_no")) || bytes_eq(m.key, BYTES("priority")))
			CHECK(got.at == NULL);
		else
			CHECK(same_but_line_breaks(got, m.value.raw));
	}
}

TEST(a_refused_message_has_an_id_when_a_good_one_stood_before_the_fault)
{
	static const struct {
		const char *text, *id;
	} cases[] = {
		{ "{\"id\":\"m\\u0031\",\"to\":5}", "m1" },
		{ "{\"id\":\"m1\",\"to\":", "m1" },
		{ "{\"to\":5,\"id\":\"m1\"}", "" },
		{ "{\"id\":5}", "" },
		{ "{\"id\":\"\"}", "" },
		{ "{\"id\":null,\"to\":5}", "" },
		{ "", "" },
		{ "[]", "" },
	};
	uint8_t scratch[ENVELOPE_ID_SCRATCH];
	struct envelope e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK(parse(&e, bytes_str(cases[i].text)) != ENVELOPE_OK);
		CHECK(bytes_eq(envelope_id_before(&e, scratch), bytes_str(cases[i].id)));
	}
}

TEST(every_member_of_a_random_message_is_kept_and_a_second_pass_changes_nothing)
{
	struct buf in = BUF_INIT, once = BUF_INIT, twice = BUF_INIT;
	struct rng r;

	rng_init_seed(&r, 2026);
	for (int i = 0; i < 5000; i++) {
		struct envelope_out o;
		struct envelope e;

		random_message(&r, &in);
		CHECK_EQ(parse(&e, buf_bytes(&in)), ENVELOPE_OK);
		envelope_out_from(&o, &e);
		if (!envelope_has(&e, ENVELOPE_ID))
			o.id = envelope_plain(BYTES("new"));
		if (!envelope_has(&e, ENVELOPE_CREATE_AT))
			o.create_at = envelope_plain(BYTES("2026-01-31T12:00:00.000Z"));
		check_kept(buf_bytes(&in), write_out(&once, &o));
		CHECK(bytes_eq(pass_through(&twice, buf_bytes(&once)), buf_bytes(&once)));
	}
	buf_deinit(&in);
	buf_deinit(&once);
	buf_deinit(&twice);
}
