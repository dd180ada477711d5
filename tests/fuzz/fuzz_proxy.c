/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY headers: a header is found in the same place, with the same words, however much follows it, and never before it is whole. */
/* Shows: threat 108 */
#include <assert.h>

#include "fuzz.h"
#include "proto/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole, part;
	enum proxy_result r = proxy_parse(bytes_of(data, size), &whole), p;

	for (size_t n = 0; n < size && n < 2 * PROXY_MAX; n++) {
		p = proxy_parse(bytes_of(data, n), &part);
		if (r == PROXY_DONE && n >= whole.size)
			assert(p == PROXY_DONE && part.size == whole.size &&
			       memcmp(&part.ip, &whole.ip, sizeof part.ip) == 0);
		else if (r == PROXY_DONE)
			assert(p == PROXY_MORE);
		else
			assert(p != PROXY_DONE);
	}
	assert(r != PROXY_DONE || (whole.size <= size && whole.size <= PROXY_MAX));
	return 0;
}
