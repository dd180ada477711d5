/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: how many values were at most so great, and their sum. One thread writes, any thread reads (counter.h). A
 * value counts in one bucket, the first whose bound is not below it; a reader adds the buckets up. Values and bounds are
 * integers in a unit of the owner's choice, so that no floating point is on the path of a message. The sum may wrap
 * around.
 */
#ifndef WSC_BASE_HISTOGRAM_H
#define WSC_BASE_HISTOGRAM_H

#include "base/counter.h"

#define HISTOGRAM_BOUNDS 12u
#define HISTOGRAM_BUCKETS (HISTOGRAM_BOUNDS + 1u) /* the last one: above every bound */

struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum;
};

/* @bounds grow. */
static inline void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value)
{
	unsigned i = 0;

	while (i < HISTOGRAM_BOUNDS && value > bounds[i])
		i++;
	counter_add(&h->bucket[i], 1);
	counter_add(&h->sum, value);
}

#endif
