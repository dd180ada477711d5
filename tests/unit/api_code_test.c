/* SPDX-License-Identifier: Apache-2.0 */
/* api_code: the one list of codes: every row is whole, and a status from a codec finds a row that says the same. */
#include "api/code.h"
#include "test.h"

TEST(every_code_has_a_text_of_its_own_a_status_and_a_close_code_that_may_be_sent)
{
	for (int i = API_OK + 1; i < API_CODE_END; i++) {
		enum api_code c = (enum api_code)i;
		uint16_t close = api_code_close(c);

		CHECK(api_code_text(c) && api_code_text(c)[0]);
		CHECK(api_code_status(c) >= 400 && api_code_status(c) <= 599);
		CHECK(close == 1001 || close == 1008 || close == 1011 || close == 1013 ||
		      (close >= 4400 && close <= 4499));
		for (const char *p = api_code_text(c); *p; p++)
			CHECK((*p >= 'a' && *p <= 'z') || *p == '_');
		for (int j = API_OK + 1; j < i; j++)
			CHECK(strcmp(api_code_text(c), api_code_text((enum api_code)j)) != 0);
	}
}

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
