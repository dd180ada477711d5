/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse: see the header. The caller asks for the size first, so that an event is written once, into memory of its size.
 */
#include "proto/sse.h"

#include <assert.h>

bool sse_clean(struct bytes b)
{
	return b.len == 0 || (!memchr(b.at, '\n', b.len) && !memchr(b.at, '\r', b.len) && !memchr(b.at, '\0', b.len));
}

static size_t put(uint8_t *out, size_t at, struct bytes s)
{
	memcpy(out + at, s.at, s.len);
	return at + s.len;
}

size_t sse_size(struct bytes id, struct bytes data)
{
	if (data.len == 0 || !sse_clean(id) || !sse_clean(data))
		return 0;
	return (id.len ? BYTES("id: \n").len + id.len : 0) + BYTES("data: \n\n").len + data.len;
}

size_t sse_write(uint8_t *out, struct bytes id, struct bytes data)
{
	size_t n = 0;

	assert(sse_size(id, data));
	if (id.len) {
		n = put(out, n, BYTES("id: "));
		n = put(out, n, id);
		n = put(out, n, BYTES("\n"));
	}
	n = put(out, n, BYTES("data: "));
	n = put(out, n, data);
	return put(out, n, BYTES("\n\n"));
}

size_t sse_write_retry(uint8_t out[SSE_RETRY_MAX], uint32_t ms)
{
	uint8_t digits[10];
	size_t first = sizeof(digits);
	size_t n;

	do {
		digits[--first] = (uint8_t)('0' + ms % 10);
		ms /= 10;
	} while (ms);
	n = put(out, 0, BYTES("retry: "));
	n = put(out, n, bytes_of(digits + first, sizeof(digits) - first));
	return put(out, n, BYTES("\n\n"));
}
