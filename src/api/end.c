/* SPDX-License-Identifier: Apache-2.0 */
/* end: see end.h. */
#include "api/end.h"

#include <assert.h>
#include <stdio.h>
#include "proto/ws.h"

/* ---- codes -------------------------------------------------------------------------------------------------------- */

#define CODE(code, text, where, status, close, cause, cure) [code] = { text, status, close },
static const struct {
	const char *text;
	uint16_t status, close;
} codes[API_CODE_END] = {
#include "api/ends.def"
};

const char *api_code_text(enum api_code c)
{
	return codes[c].text;
}

uint16_t api_code_status(enum api_code c)
{
	return codes[c].status;
}

uint16_t api_code_close(enum api_code c)
{
	return codes[c].close ? codes[c].close : WS_CODE_POLICY;
}

enum api_code api_code_of_status(uint16_t status)
{
	switch (status) {
	case 400:
	case 417:
		return API_BAD_REQUEST;
	case 401:
		return API_NOT_AUTHENTICATED;
	case 403:
		return API_REFUSED;
	case 404:
		return API_NOT_FOUND;
	case 405:
		return API_METHOD_NOT_ALLOWED;
	case 408:
		return API_REQUEST_TIMEOUT;
	case 409:
		return API_TOO_MANY_CONNECTIONS;
	case 413:
		return API_BODY_TOO_LARGE;
	case 414:
		return API_URI_TOO_LONG;
	case 426:
		return API_UPGRADE_REQUIRED;
	case 429:
		return API_RATE_LIMITED;
	case 431:
		return API_HEADERS_TOO_LARGE;
	case 501:
		return API_NOT_IMPLEMENTED;
	case 503:
		return API_OVERLOADED;
	case 505:
		return API_VERSION_NOT_SUPPORTED;
	default:
		return API_INTERNAL;
	}
}

/* ---- ends --------------------------------------------------------------------------------------------------------- */

#define REFUSAL(end, code, sentence) [end] = { sentence, code, 0 },
#define CLOSING(end, close, sentence) [end] = { sentence, API_OK, close },
static const struct {
	const char *why;
	enum api_code code;
	uint16_t close;
} ends[END_END] = {
#include "api/ends.def"
};

enum api_code end_code(enum end e)
{
	return ends[e].code;
}

uint16_t end_close(enum end e)
{
	return ends[e].close ? ends[e].close : api_code_close(ends[e].code);
}

const char *end_why(enum end e)
{
	assert(!strchr(ends[e].why, '%'));
	return ends[e].why;
}

struct bytes end_why_of(enum end e, struct bytes value, char out[END_WHY_MAX])
{
	const char *why = ends[e].why, *at = strstr(why, "%s");

	if (!at)
		return bytes_str(why);
	snprintf(out, END_WHY_MAX, "%.*s%.*s%s", (int)(at - why), why, (int)value.len, (const char *)value.at, at + 2);
	return bytes_str(out);
}

/* ---- close codes -------------------------------------------------------------------------------------------------- */

#define SHOULD(should, reconnect, phrase) should,
enum should {
#include "api/ends.def"
	SHOULD_END
};

#define SHOULD(should, reconnect, phrase) [should] = reconnect,
static const bool reconnects[SHOULD_END] = {
#include "api/ends.def"
};

#define CLOSE(number, should, level, when, cause) { number, should, level },
static const struct close {
	uint16_t number;
	enum should should;
	enum log_level level;
} closes[] = {
#include "api/ends.def"
};

static const struct close *find(uint16_t number)
{
	for (size_t i = 0; i < sizeof closes / sizeof closes[0]; i++)
		if (closes[i].number == number)
			return &closes[i];
	return NULL;
}

enum log_level end_level(uint16_t close)
{
	const struct close *c = find(close);

	return c ? c->level : LOG_DEBUG;
}

bool end_reconnect(uint16_t close)
{
	const struct close *c = find(close);

	return c && reconnects[c->should];
}

/* ---- the hub ------------------------------------------------------------------------------------------------------ */

void end_for_hub(struct hub_close_reason reasons[HUB_ENDS])
{
	static const enum end of[HUB_ENDS] = {
		[HUB_END_REPLACED] = END_REPLACED,
		[HUB_END_SLOW] = END_SLOW_READER,
		[HUB_END_NO_MEMORY] = END_QUEUE_MEMORY,
	};

	for (unsigned i = 0; i < HUB_ENDS; i++)
		reasons[i] = (struct hub_close_reason){ end_close(of[i]), end_why(of[i]) };
}
