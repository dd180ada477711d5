/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: the number of values in each bucket, and their sum. One thread writes, any thread reads (counter.h). A
 * value counts in one bucket only, the first whose bound is not lower than the value; the reader adds the buckets up.
 * Values and bounds are integers in a unit that the owner chooses, so that a message needs no floating point. The sum
 * may wrap around.
 */
#ifndef WSC_BASE_HISTOGRAM_H
#define WSC_BASE_HISTOGRAM_H

#include "base/counter.h"

#define HISTOGRAM_BOUNDS 12u
#define HISTOGRAM_BUCKETS (HISTOGRAM_BOUNDS + 1u) /* the last one is for values above every bound */

struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum;
};

/* Adds @n times @value; @bounds are in rising order. */
static inline void histogram_add_n(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value,
				   uint64_t n)
{
	unsigned i = 0;

	while (i < HISTOGRAM_BOUNDS && value > bounds[i])
		i++;
	counter_add(&h->bucket[i], n);
	counter_add(&h->sum, value * n);
}

static inline void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value)
{
	histogram_add_n(h, bounds, value, 1);
}

#endif
