/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code: the one list of error codes: the text a client sees in "code", the HTTP status, and the close code with which a client
 * of subprotocol wsc.v1 is told the same (0: it is told by HTTP, or the connection stays). docs/errors.md explains each.
 */
#ifndef WSC_API_CODE_H
#define WSC_API_CODE_H

#include "base/bytes.h"

#define API_CODES(X)                                                   \
	X(API_NOT_FOUND, "not_found", 404, 4400)                       \
	X(API_METHOD_NOT_ALLOWED, "method_not_allowed", 405, 4400)     \
	X(API_BAD_REQUEST, "bad_request", 400, 4400)                   \
	X(API_BAD_MESSAGE, "bad_message", 400, 0)                      \
	X(API_MISSING_FIELD, "missing_field", 400, 0)                  \
	X(API_USER_ID_REQUIRED, "user_id_required", 401, 4401)         \
	X(API_NOT_AUTHENTICATED, "not_authenticated", 401, 4401)       \
	X(API_FORBIDDEN_ORIGIN, "forbidden_origin", 403, 4403)         \
	X(API_FORBIDDEN_USER_TYPE, "forbidden_user_type", 403, 4403)   \
	X(API_FORBIDDEN_USER_ID, "forbidden_user_id", 403, 4403)       \
	X(API_FORBIDDEN_IP, "forbidden_ip", 403, 4403)                 \
	X(API_SENDER_MISMATCH, "sender_mismatch", 403, 0)              \
	X(API_NO_RECIPIENT, "no_recipient", 400, 0)                    \
	X(API_USER_OFFLINE, "user_offline", 404, 0)                    \
	X(API_NOT_IN_TICKET, "not_in_ticket", 403, 0)                  \
	X(API_NOT_SUPPORTED, "not_supported", 501, 0)                  \
	X(API_REFUSED, "refused", 403, 4403)                           \
	X(API_HOOK_TIMEOUT, "hook_timeout", 503, 1013)                 \
	X(API_RATE_LIMITED, "rate_limited", 429, 4429)                 \
	X(API_TOO_MANY_CONNECTIONS, "too_many_connections", 409, 4409) \
	X(API_OVERLOADED, "overloaded", 503, 1013)                     \
	X(API_TIMED_OUT, "timed_out", 504, 0)                          \
	X(API_BODY_TOO_LARGE, "body_too_large", 413, 0)                \
	X(API_HEADERS_TOO_LARGE, "headers_too_large", 431, 0)          \
	X(API_URI_TOO_LONG, "uri_too_long", 414, 0)                    \
	X(API_REQUEST_TIMEOUT, "request_timeout", 408, 0)              \
	X(API_NOT_ENABLED, "not_enabled", 503, 1013)                   \
	X(API_UPGRADE_REQUIRED, "upgrade_required", 426, 0)            \
	X(API_NOT_IMPLEMENTED, "not_implemented", 501, 0)              \
	X(API_VERSION_NOT_SUPPORTED, "version_not_supported", 505, 0)  \
	X(API_NOT_LOCAL, "not_local", 403, 0)                          \
	X(API_SHUTTING_DOWN, "shutting_down", 503, 1001)               \
	X(API_INTERNAL, "internal", 500, 1011)

#define API_CODE_ENUM(name, text, status, close) name,
enum api_code { API_OK, API_CODES(API_CODE_ENUM) API_CODE_END };
#undef API_CODE_ENUM

const char *api_code_text(enum api_code c);
uint16_t api_code_status(enum api_code c);
/* The close code for a client of wsc.v1; 1008 where the table has none. */
uint16_t api_code_close(enum api_code c);
/* The code for a status that a codec decided (400, 408, 413, 414, 431, 501, 505). */
enum api_code api_code_of_status(uint16_t status);

#endif
