/* SPDX-License-Identifier: Apache-2.0 */
/* hub/limits: the rate of one connection. */
#include "hub/limits.h"

#include "test.h"

static const struct rate_limit limit = { .per_second = 100, .burst = 10, .patience_ms = 10000 };

TEST(a_burst_passes_and_the_next_message_gets_the_time_to_retry)
{
	struct rate_bucket b = { 0 };
	uint32_t retry = 0;

	for (int i = 0; i < 10; i++)
		CHECK_EQ(rate_take(&b, &limit, 5000, &retry), RATE_OK);
	CHECK_EQ(rate_take(&b, &limit, 5000, &retry), RATE_REFUSE);
	CHECK_EQ(retry, 10);
	CHECK_EQ(rate_take(&b, &limit, 5009, &retry), RATE_REFUSE);
	CHECK_EQ(retry, 1);
	CHECK_EQ(rate_take(&b, &limit, 5010, &retry), RATE_OK);
	CHECK_EQ(rate_take(&b, &limit, 5010, &retry), RATE_REFUSE);
}

TEST(the_rate_itself_passes_for_ever)
{
	struct rate_bucket b = { 0 };
	uint32_t retry = 0;
	int refused = 0;

	for (uint64_t ms = 1; ms < 100000; ms += 10)
		refused += rate_take(&b, &limit, ms, &retry) != RATE_OK;
	CHECK_EQ(refused, 0);
}

TEST(a_sender_over_the_rate_for_ten_seconds_is_closed)
{
	struct rate_bucket b = { 0 };
	uint32_t retry = 0;
	uint64_t ms = 1000;
	enum rate_verdict v = RATE_OK;

	for (; ms < 20000 && v != RATE_CLOSE; ms += 5)
		v = rate_take(&b, &limit, ms, &retry);
	CHECK_EQ(v, RATE_CLOSE);
	CHECK(ms > 11000 && ms < 11300);
}

TEST(a_second_without_refusal_is_a_pause)
{
	struct rate_bucket b = { 0 };
	uint32_t retry = 0;

	for (uint64_t round = 0; round < 30; round++) {
		for (uint64_t i = 0; i < 20; i++)
			CHECK(rate_take(&b, &limit, 1000 + round * 1100 + i, &retry) != RATE_CLOSE);
	}
}

/* Shows: threat 134 */
TEST(the_clock_of_32_bits_may_wrap)
{
	struct rate_bucket b = { 0 };
	uint32_t retry = 0;
	uint64_t ms = UINT32_MAX - 3;

	for (int i = 0; i < 10; i++)
		CHECK_EQ(rate_take(&b, &limit, ms, &retry), RATE_OK);
	CHECK_EQ(rate_take(&b, &limit, ms, &retry), RATE_REFUSE);
	CHECK_EQ(rate_take(&b, &limit, ms + 4, &retry), RATE_REFUSE);
	CHECK_EQ(rate_take(&b, &limit, ms + 10, &retry), RATE_OK);
	CHECK_EQ(rate_take(&b, &limit, ms + 2000, &retry), RATE_OK);
}

TEST(no_rate_and_no_burst_have_a_meaning)
{
	struct rate_bucket b = { 0 };
	uint32_t retry = 0;

	for (int i = 0; i < 100000; i++)
		if (!CHECK_EQ(rate_take(&b, &(struct rate_limit){ .burst = 1 }, 7, &retry), RATE_OK))
			break;
	CHECK_EQ(rate_take(&b, &(struct rate_limit){ .per_second = 1 }, 7, &retry), RATE_OK);
	CHECK_EQ(rate_take(&b, &(struct rate_limit){ .per_second = 1 }, 7, &retry), RATE_REFUSE);
	CHECK_EQ(retry, 1000);
}
