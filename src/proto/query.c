/* SPDX-License-Identifier: Apache-2.0 */
/* query: see the header. Decoded text is never longer than its source, so it may be decoded in place. */
#include "proto/query.h"

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = bytes_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at the front of @in stands for, or -1. */
static int escape(struct bytes in)
{
	int high = in.len >= 3 ? hex(in.at[1]) : -1;
	int low = high < 0 ? -1 : hex(in.at[2]);

	return low < 0 ? -1 : high * 16 + low;
}

static ptrdiff_t decode(struct bytes in, uint8_t plus, uint8_t *out)
{
	uint8_t *start = out;
	uint8_t c;
	int v;

	while (bytes_take_u8(&in, &c)) {
		if (c == '%') {
			v = escape(bytes_of(in.at - 1, in.len + 1));
			if (v < 0)
				return QUERY_BAD;
			bytes_skip(&in, 2);
			c = (uint8_t)v;
		} else if (c == '+') {
			c = plus;
		}
		*out++ = c;
	}
	return out - start;
}

bool query_valid(struct bytes in)
{
	const uint8_t *at;

	while (in.len && (at = memchr(in.at, '%', in.len))) {
		bytes_skip(&in, (size_t)(at - in.at));
		if (escape(in) < 0)
			return false;
		bytes_skip(&in, 3);
	}
	return true;
}

ptrdiff_t query_decode(struct bytes in, uint8_t *out)
{
	return decode(in, ' ', out);
}

ptrdiff_t query_decode_path(struct bytes in, uint8_t *out)
{
	return decode(in, '+', out);
}

/* Takes the next raw pair off @rest. */
static bool take_pair(struct bytes *rest, struct bytes *pair)
{
	while (rest->len) {
		const uint8_t *end = memchr(rest->at, '&', rest->len);
		size_t n = end ? (size_t)(end - rest->at) : rest->len;

		*pair = bytes_of(rest->at, n);
		bytes_skip(rest, end ? n + 1 : n);
		if (n)
			return true;
	}
	return false;
}

static bool decode_next(struct query_iter *it, struct bytes raw, struct bytes *out)
{
	ptrdiff_t n = query_decode(raw, it->scratch);

	if (n < 0)
		return false;
	*out = bytes_of(it->scratch, (size_t)n);
	it->scratch += n;
	return true;
}

int query_next(struct query_iter *it, struct bytes *key, struct bytes *value)
{
	struct query_iter before = *it;
	struct bytes pair;
	const uint8_t *eq;
	size_t n;

	if (!take_pair(&it->rest, &pair))
		return QUERY_END;
	eq = memchr(pair.at, '=', pair.len);
	n = eq ? (size_t)(eq - pair.at) : pair.len;
	if (!decode_next(it, bytes_of(pair.at, n), key) ||
	    !decode_next(it, bytes_of(pair.at + n + (eq != NULL), pair.len - n - (eq != NULL)), value)) {
		*it = before;
		return QUERY_BAD;
	}
	return 0;
}

int query_next_of(struct query_iter *it, struct bytes key, struct bytes *value)
{
	struct bytes k;
	int rc;

	do
		rc = query_next(it, &k, value);
	while (rc == 0 && !bytes_eq(k, key));
	return rc;
}

int query_find(struct bytes query, struct bytes key, uint8_t *scratch, struct bytes *value)
{
	struct query_iter it;

	query_begin(&it, query, scratch);
	return query_next_of(&it, key, value);
}
