/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem: the only callers of malloc() and its relatives. Every allocation calls refuse() first; in an ordinary build that
 * does nothing, in a build with WSC_FAULTS it makes allocations fail on request. Does not know its callers.
 */
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef WSC_FAULTS
#include <stdatomic.h>

static _Atomic unsigned long countdown;
static _Atomic int for_ever;

void mem_fail_at(unsigned long k, int ever)
{
	for_ever = ever;
	countdown = k;
}

static int refuse(void)
{
	unsigned long k = countdown;

	if (k == 0)
		return 0;
	if (k > 1) {
		atomic_compare_exchange_strong(&countdown, &k, k - 1);
		return 0;
	}
	if (!for_ever)
		countdown = 0;
	return 1;
}
#else
static inline int refuse(void)
{
	return 0;
}
#endif

void *mem_alloc(size_t n)
{
	return refuse() ? NULL : malloc(n);
}

void *mem_zalloc(size_t n)
{
	return refuse() ? NULL : calloc(1, n);
}

void *mem_calloc(size_t count, size_t size)
{
	size_t n;

	return __builtin_mul_overflow(count, size, &n) ? NULL : mem_zalloc(n);
}

void *mem_realloc(void *p, size_t n)
{
	/* realloc(p, 0) may free the block and return NULL, which would look like a failure that kept it. */
	return refuse() ? NULL : realloc(p, n ? n : 1);
}

void *mem_aligned(size_t align, size_t n)
{
	return refuse() ? NULL : aligned_alloc(align, n);
}

void mem_free(void *p)
{
	free(p);
}

void mem_trim(void)
{
	(void)malloc_trim(0);
}

char *mem_strndup(const void *s, size_t n)
{
	char *copy = n < SIZE_MAX ? mem_alloc(n + 1) : NULL;

	if (!copy)
		return NULL;
	if (n)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}
