/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query: the query of a URL, in the form application/x-www-form-urlencoded (WHATWG URL §5.1), and percent-decoding (RFC
 * 3986 §2.1). Unlike a browser it refuses an escape that is not two hex digits. It returns any bytes, NUL included: the
 * caller checks whether they are a valid id, number or UTF-8.
 */
#ifndef WSC_PROTO_QUERY_H
#define WSC_PROTO_QUERY_H

#include "base/bytes.h"

#define QUERY_END 1
#define QUERY_BAD (-1) /* an invalid escape: answer 400 */

/* True when every escape in @in is '%' and two hex digits. When this is true, the functions below cannot fail. */
bool query_valid(struct bytes in);

/*
 * Decodes escapes, and '+' as a space, into @out, which has room for in.len bytes and may be in.at itself.
 * Returns the length, at most in.len, or QUERY_BAD.
 */
ptrdiff_t query_decode(struct bytes in, uint8_t *out);
/* The same for a path: '+' stays. */
ptrdiff_t query_decode_path(struct bytes in, uint8_t *out);

/* A walk over the pairs of a query in their order, including repeated keys. */
struct query_iter {
	struct bytes rest;
	uint8_t *scratch; /* the next key is written here */
};

/* @scratch has room for query.len bytes (HTTP1_TARGET_MAX is enough for any) and outlives the keys and values. */
static inline void query_begin(struct query_iter *it, struct bytes query, uint8_t *scratch)
{
	*it = (struct query_iter){ query, scratch };
}

/*
 * The next pair, decoded into the scratch. Empty pairs (`&&`) are skipped, a key without '=' has an empty value.
 * Returns 0, QUERY_END, or QUERY_BAD (also at all later calls).
 */
int query_next(struct query_iter *it, struct bytes *key, struct bytes *value);

/* The next value of @key; skips other keys. Returns as query_next(). */
int query_next_of(struct query_iter *it, struct bytes key, struct bytes *value);

/* The first value of @key, decoded into @scratch (query.len bytes). Returns as query_next(); QUERY_END: absent. */
int query_find(struct bytes query, struct bytes key, uint8_t *scratch, struct bytes *value);

#endif
