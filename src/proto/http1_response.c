/* SPDX-License-Identifier: Apache-2.0 */
/* http1_response: see the header. */
#include "proto/http1_response.h"

#include <assert.h>

#include "proto/http1.h"

#define REASONS(X)                                \
	X(100, "Continue")                        \
	X(101, "Switching Protocols")             \
	X(200, "OK")                              \
	X(201, "Created")                         \
	X(202, "Accepted")                        \
	X(204, "No Content")                      \
	X(301, "Moved Permanently")               \
	X(302, "Found")                           \
	X(303, "See Other")                       \
	X(304, "Not Modified")                    \
	X(307, "Temporary Redirect")              \
	X(308, "Permanent Redirect")              \
	X(400, "Bad Request")                     \
	X(401, "Unauthorized")                    \
	X(402, "Payment Required")                \
	X(403, "Forbidden")                       \
	X(404, "Not Found")                       \
	X(405, "Method Not Allowed")              \
	X(406, "Not Acceptable")                  \
	X(408, "Request Timeout")                 \
	X(409, "Conflict")                        \
	X(410, "Gone")                            \
	X(411, "Length Required")                 \
	X(412, "Precondition Failed")             \
	X(413, "Content Too Large")               \
	X(414, "URI Too Long")                    \
	X(415, "Unsupported Media Type")          \
	X(417, "Expectation Failed")              \
	X(421, "Misdirected Request")             \
	X(422, "Unprocessable Content")           \
	X(426, "Upgrade Required")                \
	X(428, "Precondition Required")           \
	X(429, "Too Many Requests")               \
	X(431, "Request Header Fields Too Large") \
	X(500, "Internal Server Error")           \
	X(501, "Not Implemented")                 \
	X(502, "Bad Gateway")                     \
	X(503, "Service Unavailable")             \
	X(504, "Gateway Timeout")                 \
	X(505, "HTTP Version Not Supported")      \
	X(507, "Insufficient Storage")

const char *http1_reason(uint16_t status)
{
#define X(number, text) { number, text },
	static const struct {
		uint16_t status;
		const char *text;
	} reasons[] = { REASONS(X) };
#undef X

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Unknown";
}

bool http1_value_valid(struct bytes value)
{
	return value.len == 0 || (!memchr(value.at, '\r', value.len) && !memchr(value.at, '\n', value.len) &&
				  !memchr(value.at, '\0', value.len));
}

static bool fields_valid(const struct http1_out_field *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!http1_token_valid(bytes_str(f[i].name)) || !http1_value_valid(f[i].value))
			return false;
	return true;
}

static void add_field(struct buf *out, const char *name, struct bytes value)
{
	buf_add_str(out, name);
	buf_add(out, BYTES(": "));
	buf_add(out, value);
	buf_add(out, BYTES("\r\n"));
}

static void add_fields(struct buf *out, const struct http1_out_field *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_field(out, f[i].name, f[i].value);
	buf_add(out, BYTES("\r\n"));
}

static void add_status(struct buf *out, uint16_t status)
{
	assert(status >= 100 && status <= 599);
	buf_add(out, BYTES("HTTP/1.1 "));
	buf_add_u64(out, status);
	buf_add_u8(out, ' ');
	buf_add_str(out, http1_reason(status));
	buf_add(out, BYTES("\r\n"));
}

int http1_write_head(struct buf *out, uint16_t status, const struct http1_out_field *fields, size_t nfields)
{
	if (!fields_valid(fields, nfields))
		return HTTP1_BAD_FIELD;
	add_status(out, status);
	add_fields(out, fields, nfields);
	return 0;
}

static bool has_body(uint16_t status)
{
	return status >= 200 && status != 204 && status != 304;
}

int http1_write_response(struct buf *out, const struct http1_response *r)
{
	if (!fields_valid(r->fields, r->nfields) || !http1_value_valid(bytes_str(r->content_type)))
		return HTTP1_BAD_FIELD;
	add_status(out, r->status);
	if (has_body(r->status)) {
		if (r->content_type)
			add_field(out, "Content-Type", bytes_str(r->content_type));
		buf_add(out, BYTES("Content-Length: "));
		buf_add_u64(out, r->body.len);
		buf_add(out, BYTES("\r\n"));
	}
	add_field(out, "Connection", r->keep_alive ? BYTES("keep-alive") : BYTES("close"));
	add_fields(out, r->fields, r->nfields);
	if (has_body(r->status) && !r->head_only)
		buf_add(out, r->body);
	return 0;
}
