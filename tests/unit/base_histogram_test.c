/* SPDX-License-Identifier: Apache-2.0 */
/* base_histogram: each value counts once, in the first bucket whose bound is not below it. */
#include "base/histogram.h"
#include "test.h"

static const uint64_t bounds[HISTOGRAM_BOUNDS] = { 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233 };

TEST(a_value_counts_in_the_first_bucket_whose_bound_is_not_below_it)
{
	for (uint64_t value = 0; value < 300; value++) {
		struct histogram h = { 0 };
		unsigned want = 0;

		for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++)
			want += bounds[i] < value;
		histogram_add(&h, bounds, value);
		for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
			CHECK_EQ(counter_get(&h.bucket[i]), i == want);
		CHECK_EQ(counter_get(&h.sum), value);
	}
}

TEST(equal_values_may_be_counted_together)
{
	struct histogram h = { 0 };

	histogram_add_n(&h, bounds, 4, 1000);
	histogram_add_n(&h, bounds, 4, 0);
	CHECK_EQ(counter_get(&h.bucket[3]), 1000);
	CHECK_EQ(counter_get(&h.sum), 4000);
}

TEST(the_sum_is_that_of_all_values_and_the_greatest_is_in_the_last_bucket)
{
	struct histogram h = { 0 };
	uint64_t n = 0;

	histogram_add(&h, bounds, 1);
	histogram_add(&h, bounds, 200);
	histogram_add(&h, bounds, 1ull << 40);
	CHECK_EQ(counter_get(&h.sum), 201 + (1ull << 40));
	CHECK_EQ(counter_get(&h.bucket[HISTOGRAM_BOUNDS]), 1);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += counter_get(&h.bucket[i]);
	CHECK_EQ(n, 3);
}
