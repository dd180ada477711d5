/* SPDX-License-Identifier: Apache-2.0 */
/* code: see code.h. */
#include "api/code.h"

static const struct {
	const char *text;
	uint16_t status, close;
} codes[API_CODE_END] = {
#define API_CODE_ROW(name, text, status, close) [name] = { text, status, close },
	API_CODES(API_CODE_ROW)
#undef API_CODE_ROW
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
	return codes[c].close ? codes[c].close : 1008;
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
