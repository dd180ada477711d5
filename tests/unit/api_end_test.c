/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_end: the table of ends: every row is whole, a client can be told each, and what docs/errors.md has between its
 * markers is what the table says. WRITE_PAGES=1 in the environment writes the page anew instead of complaining.
 */
#include "api/end.h"

#include "page.h"
#include "proto/ws.h"
#include "wsc/error.h"

/* ---- the table as data --------------------------------------------------------------------------------------------- */

#define SHOULD(should, reconnect, phrase) should,
enum should {
#include "api/ends.def"
	SHOULD_END
};

#define SHOULD(should, reconnect, phrase) phrase,
static const char *const phrases[SHOULD_END] = {
#include "api/ends.def"
};

#define CLOSE(number, should, level, when, cause) { number, should, when, cause },
static const struct close_row {
	uint16_t number;
	enum should should;
	const char *when, *cause;
} closes[] = {
#include "api/ends.def"
};
#define NCLOSES (sizeof closes / sizeof closes[0])

enum where { HTTP = 1, FRAME = 2, BOTH = HTTP | FRAME };
#define CODE(code, text, where, status, close, cause, cure) { code, where, close, cause, cure },
static const struct code_row {
	enum api_code code;
	enum where where;
	uint16_t close;
	const char *cause, *cure;
} codes[] = {
#include "api/ends.def"
};
#define NCODES (sizeof codes / sizeof codes[0])

#define REFUSAL(end, code, sentence) { end, sentence, #end, false },
#define CLOSING(end, close, sentence) { end, sentence, #end, true },
static const struct end_row {
	enum end end;
	const char *sentence, *name;
	bool closing;
} ends[] = {
#include "api/ends.def"
};
#define NENDS (sizeof ends / sizeof ends[0])

static const struct close_row *close_row(uint16_t number)
{
	for (size_t i = 0; i < NCLOSES; i++)
		if (closes[i].number == number)
			return &closes[i];
	return NULL;
}

/* May the sentence of @e stand in a close frame? */
static bool in_close_frame(const struct end_row *e)
{
	return e->closing || codes[end_code(e->end) - 1].close;
}

#define CHECK_ROW(expr, name) test_check(!!(expr), __FILE__, __LINE__, name)

/* ---- rows are whole ------------------------------------------------------------------------------------------------ */

TEST(close_codes_are_in_order_and_each_may_be_sent_or_is_never_on_the_wire)
{
	for (size_t i = 0; i < NCLOSES; i++) {
		CHECK(i == 0 || closes[i - 1].number < closes[i].number);
		CHECK_EQ(ws_code_valid(closes[i].number), closes[i].when[0] != 0);
		CHECK_EQ(closes[i].when[0] != 0, closes[i].cause[0] != 0);
	}
}

TEST(every_code_has_a_text_of_its_own_a_status_and_a_close_code_of_the_table)
{
	for (size_t i = 0; i < NCODES; i++) {
		enum api_code c = codes[i].code;
		const struct close_row *close = close_row(api_code_close(c));

		CHECK_EQ(c, API_OK + 1 + i);
		CHECK_ROW(api_code_text(c)[0] && codes[i].cause[0] && codes[i].cure[0], api_code_text(c));
		CHECK_ROW(api_code_status(c) >= 400 && api_code_status(c) <= 599, api_code_text(c));
		CHECK_ROW(close && close->when[0], api_code_text(c));
		CHECK_EQ(api_code_close(c), codes[i].close ? codes[i].close : 1008);
		for (const char *p = api_code_text(c); *p; p++)
			CHECK((*p >= 'a' && *p <= 'z') || *p == '_');
		for (size_t j = 0; j < i; j++)
			CHECK_ROW(strcmp(api_code_text(c), api_code_text(codes[j].code)) != 0, api_code_text(c));
	}
	CHECK_EQ(NCODES, API_CODE_END - 1);
}

TEST(every_end_has_a_code_or_a_close_code_of_the_table)
{
	for (size_t i = 0; i < NENDS; i++) {
		const struct end_row *e = &ends[i];

		CHECK_EQ(e->end, END_NONE + 1 + i);
		CHECK_ROW(e->closing == (end_code(e->end) == API_OK), e->name);
		CHECK_ROW(close_row(end_close(e->end)) != NULL, e->name);
		if (!e->closing)
			CHECK_EQ(end_close(e->end), api_code_close(end_code(e->end)));
		for (size_t j = 0; j < i; j++)
			CHECK_ROW(strcmp(e->sentence, ends[j].sentence) != 0 ||
					  end_code(e->end) != end_code(ends[j].end) ||
					  end_close(e->end) != end_close(ends[j].end),
				  e->name);
	}
	CHECK_EQ(NENDS, END_END - 1);
}

TEST(every_sentence_goes_into_json_as_it_is_and_fits_into_the_frame_that_it_may_stand_in)
{
	for (size_t i = 0; i < NENDS; i++) {
		const char *s = ends[i].sentence, *value = strchr(s, '%');

		CHECK_ROW(strlen(s) > 5 && strlen(s) < END_WHY_MAX, ends[i].name);
		for (const char *p = s; *p; p++)
			CHECK_ROW(*p >= ' ' && *p <= '~' && *p != '"' && *p != '\\', ends[i].name);
		CHECK_ROW(!value || (value[1] == 's' && !strchr(value + 1, '%')), ends[i].name);
		if (in_close_frame(&ends[i]))
			CHECK_ROW(!value && strlen(s) <= WS_REASON_MAX, ends[i].name);
	}
}

/* ---- what a client is told ----------------------------------------------------------------------------------------- */

TEST(the_words_of_the_contract_are_there_with_their_numbers)
{
	static const struct {
		enum api_code code;
		const char *text;
		uint16_t status, close;
	} rows[] = {
		{ API_USER_OFFLINE, "user_offline", 404, 1008 },
		{ API_SENDER_MISMATCH, "sender_mismatch", 403, 1008 },
		{ API_NO_RECIPIENT, "no_recipient", 400, 1008 },
		{ API_BAD_MESSAGE, "bad_message", 400, 1008 },
		{ API_NOT_IN_TICKET, "not_in_ticket", 403, 1008 },
		{ API_NOT_SUPPORTED, "not_supported", 501, 1008 },
		{ API_RATE_LIMITED, "rate_limited", 429, 4429 },
		{ API_REFUSED, "refused", 403, 4403 },
		{ API_HOOK_TIMEOUT, "hook_timeout", 503, 1013 },
		{ API_NOT_FOUND, "not_found", 404, 4400 },
		{ API_TOO_MANY_CONNECTIONS, "too_many_connections", 409, 4409 },
		{ API_USER_ID_REQUIRED, "user_id_required", 401, 4401 },
		{ API_BAD_REQUEST, "bad_request", 400, 4400 },
		{ API_FORBIDDEN_ORIGIN, "forbidden_origin", 403, 4403 },
		{ API_OVERLOADED, "overloaded", 503, 1013 },
		{ API_SHUTTING_DOWN, "shutting_down", 503, 1001 },
		{ API_NOT_ENABLED, "not_enabled", 503, 1013 },
		{ API_INTERNAL, "internal", 500, 1011 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(strcmp(api_code_text(rows[i].code), rows[i].text) == 0);
		CHECK_EQ(api_code_status(rows[i].code), rows[i].status);
		CHECK_EQ(api_code_close(rows[i].code), rows[i].close);
	}
}

TEST(a_status_finds_a_code_that_says_the_same)
{
	static const uint16_t codecs[] = { 400, 401, 403, 404, 405, 408, 409, 413, 414, 426, 429, 431, 501, 503, 505 };

	for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
		CHECK_EQ(api_code_status(api_code_of_status(codecs[i])), codecs[i]);
	CHECK_EQ(api_code_of_status(417), API_BAD_REQUEST);
	CHECK_EQ(api_code_of_status(500), API_INTERNAL);
	CHECK_EQ(api_code_of_status(418), API_INTERNAL);
	CHECK_EQ(api_code_of_status(0), API_INTERNAL);
}

TEST(a_value_stands_in_its_sentence)
{
	char out[END_WHY_MAX], id[300];
	struct bytes why;

	CHECK_BYTES(end_why_of(END_OFFLINE, BYTES("bob"), out), "bob is offline");
	CHECK_BYTES(end_why_of(END_FROM, BYTES("al%sice"), out), "from is not al%sice, who sends this");
	CHECK_BYTES(end_why_of(END_TICKET_EMPTY, BYTES(""), out), "nobody else is connected with ticket ");
	CHECK_BYTES(end_why_of(END_BUSY, BYTES("bob"), out), "too much is waiting; try again");
	memset(id, 'x', sizeof id);
	why = end_why_of(END_OFFLINE, bytes_of(id, sizeof id), out);
	CHECK_EQ(why.len, END_WHY_MAX - 1);
}

TEST(a_stream_reconnects_unless_its_close_code_says_that_it_should_stop)
{
	static const uint16_t stop[] = { 1008, 4400, 4401, 4403, 4409, 4410 };
	static const uint16_t go_on[] = { 1000, 1001, 1009, 1011, 1012, 1013, 4408, 4429 };

	for (size_t i = 0; i < sizeof stop / sizeof stop[0]; i++)
		CHECK(!end_reconnect(stop[i]));
	for (size_t i = 0; i < sizeof go_on / sizeof go_on[0]; i++)
		CHECK(end_reconnect(go_on[i]));
	CHECK(!end_reconnect(4999));
}

TEST(an_end_that_any_client_can_cause_is_for_the_debug_level_only)
{
	static const uint16_t quiet[] = { 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 4999 };
	static const uint16_t news[] = { 1011, 1013, 4400, 4401, 4403, 4408, 4409, 4410, 4429 };

	for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++)
		CHECK_EQ(end_level(quiet[i]), LOG_DEBUG);
	for (size_t i = 0; i < sizeof news / sizeof news[0]; i++)
		CHECK_EQ(end_level(news[i]), LOG_INFO);
}

TEST(the_hub_has_the_code_and_the_reason_of_each_close)
{
	struct hub_close_reason reasons[HUB_ENDS] = { 0 };

	end_for_hub(reasons);
	for (unsigned i = 0; i < HUB_ENDS; i++)
		CHECK(reasons[i].code && reasons[i].reason);
	CHECK_EQ(reasons[HUB_END_REPLACED].code, 4409);
	CHECK_EQ(reasons[HUB_END_SLOW].code, 1013);
	CHECK(strcmp(reasons[HUB_END_SLOW].reason, "slow reader") == 0);
}

/* ---- the page made from the table ---------------------------------------------------------------------------------- */

TEST(the_codes_of_the_page_match_the_table)
{
	struct buf want = BUF_INIT;

	buf_add_str(&want, "| code | where | cause | cure |\n|---|---|---|---|\n");
	for (size_t i = 0; i < NCODES; i++) {
		buf_addf(&want, "| `%s` | ", api_code_text(codes[i].code));
		if (codes[i].where & HTTP)
			buf_addf(&want, "%u%s", api_code_status(codes[i].code), codes[i].where & FRAME ? ", " : "");
		buf_add_str(&want, codes[i].where & FRAME ? "frame | " : " | ");
		buf_addf(&want, "%s | ", codes[i].cause);
		buf_addf(&want, "%s |\n", codes[i].cure);
	}
	page_check("docs/errors.md", "<!-- codes:begin -->\n", "<!-- codes:end -->\n", &want);
	buf_deinit(&want);
}

TEST(the_close_codes_of_the_page_match_the_table)
{
	struct buf want = BUF_INIT;

	buf_add_str(&want, "| code | when | the client should | cause and cure |\n|---|---|---|---|\n");
	for (size_t i = 0; i < NCLOSES; i++) {
		if (!closes[i].when[0])
			continue;
		buf_addf(&want, "| %u | %s | ", closes[i].number, closes[i].when);
		buf_addf(&want, "%s | %s |\n", phrases[closes[i].should], closes[i].cause);
	}
	page_check("docs/errors.md", "<!-- closes:begin -->\n", "<!-- closes:end -->\n", &want);
	buf_deinit(&want);
}

TEST(the_errors_of_the_library_on_the_page_match_its_header)
{
	struct buf want = BUF_INIT;

	buf_add_str(&want, "| constant | number | meaning |\n|---|---|---|\n");
#define ERROR_ROW(name, number, text) buf_addf(&want, "| `%s` | %d | %s |\n", #name, number, text);
	WSC_ERRORS(ERROR_ROW)
	page_check("docs/errors.md", "<!-- errors:begin -->\n", "<!-- errors:end -->\n", &want);
	buf_deinit(&want);
}
