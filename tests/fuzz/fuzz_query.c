/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A query and a path: query_valid() must agree with decoding, pairs must fit the scratch, decoding in place must give
 * the same bytes, and the Host check and list reader of the same request line must end.
 */
/* Shows: threat 58 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/http1.h"
#include "proto/query.h"

static void check_decoding(struct bytes in)
{
	uint8_t *out = malloc(in.len + 1);
	uint8_t *same = malloc(in.len + 1);
	ptrdiff_t n, m;

	if (in.len)
		memcpy(same, in.at, in.len);
	n = query_decode(in, out);
	m = query_decode(bytes_of(same, in.len), same);
	assert(n == m && n <= (ptrdiff_t)in.len);
	assert((n >= 0) == query_valid(in));
	assert(n <= 0 || memcmp(out, same, (size_t)n) == 0);
	assert(query_decode_path(in, out) == n);
	free(out);
	free(same);
}

static void check_pairs(struct bytes in)
{
	uint8_t *scratch = malloc(in.len ? in.len : 1);
	uint8_t *other = malloc(in.len ? in.len : 1);
	struct query_iter it;
	struct bytes k, v, found;
	int rc;

	query_begin(&it, in, scratch);
	while ((rc = query_next(&it, &k, &v)) == 0) {
		assert(k.at + k.len <= v.at && v.at + v.len <= scratch + in.len);
		assert(query_find(in, k, other, &found) == 0);
	}
	assert(query_next(&it, &k, &v) == rc);
	assert(rc == QUERY_END || !query_valid(in));
	free(scratch);
	free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct bytes item;

	if (size > 300)
		return 0;
	check_decoding(in);
	check_pairs(in);
	if (http1_host_valid(in))
		for (size_t i = 0; i < in.len; i++)
			assert(in.at[i] > 0x20 && in.at[i] < 0x7f);
	while (bytes_next(&in, ',', &item))
		assert(item.len > 0);
	return 0;
}
