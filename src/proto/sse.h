/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse: Server-Sent Events in their wire form (WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6). One event is one
 * contiguous block with one data line; data cannot end the line early because CR, LF and NUL are refused.
 * It knows neither messages nor connections.
 */
#ifndef WSC_PROTO_SSE_H
#define WSC_PROTO_SSE_H

#include "base/bytes.h"

/* A comment with its empty line. Clients ignore it; it prevents proxies from closing a quiet stream. */
#define SSE_COMMENT BYTES(": \n\n")
#define SSE_CONTENT_TYPE "text/event-stream"
#define SSE_RETRY_MAX 32 /* bytes that sse_write_retry() writes at most */

/* True when @b fits on one line of an event: it has no CR, LF or NUL. */
bool sse_clean(struct bytes b);

/*
 * Bytes of the event with @id (empty: no id line) and @data; 0 when it cannot be sent: an id or data that is not
 * sse_clean(), or no data (a client would not dispatch it). The sum cannot overflow because the views are real memory.
 */
size_t sse_size(struct bytes id, struct bytes data);
/* Writes exactly sse_size() bytes, which must not be 0, and returns how many. No NUL. */
size_t sse_write(uint8_t *out, struct bytes id, struct bytes data);
/* Writes `retry: <ms>` as a separate block: how long a client waits before it reconnects. Returns the bytes written. */
size_t sse_write_retry(uint8_t out[SSE_RETRY_MAX], uint32_t ms);

#endif
