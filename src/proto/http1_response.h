/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_response: HTTP/1.1 answers in their wire form (RFC 9112 §4). The output always has one well-formed head: an
 * answer with CR, LF or NUL in a value is refused before the first byte is written. Knows no route and no error text.
 */
#ifndef WSC_PROTO_HTTP1_RESPONSE_H
#define WSC_PROTO_HTTP1_RESPONSE_H

#include "base/buf.h"

#define HTTP1_BAD_FIELD 1 /* a field name is no token, or a value has CR, LF or NUL: nothing was written */

struct http1_out_field {
	const char *name;
	struct bytes value; /* borrowed */
};

struct http1_response {
	uint16_t status;          /* 200 .. 599 */
	bool keep_alive;          /* "Connection: keep-alive", else "Connection: close" */
	bool head_only;           /* the answer to HEAD: Content-Length of @body, no body */
	const char *content_type; /* NULL: no Content-Type */
	struct bytes body;
	const struct http1_out_field *fields; /* further fields; not Content-Length, Content-Type or Connection */
	size_t nfields;
};

/*
 * Appends a whole answer to @out: status line, Content-Type, Content-Length, Connection, @r->fields, body.
 * 204 and 304 get neither Content-Length nor body (RFC 9110 §8.6).
 * Returns 0 or HTTP1_BAD_FIELD. Memory: see out->failed (buf.h).
 */
int http1_write_response(struct buf *out, const struct http1_response *r);

/*
 * Appends status line, exactly @fields and the empty line: for 100, 101 and for streams that end with the connection.
 * Returns as above.
 */
int http1_write_head(struct buf *out, uint16_t status, const struct http1_out_field *fields, size_t nfields);

/* The reason phrase of @status; "Unknown" for a status that is not in the table. */
const char *http1_reason(uint16_t status);
/* True when a header field may have this value: no CR, LF or NUL. */
bool http1_value_valid(struct bytes value);

#endif
