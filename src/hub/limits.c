/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits: the bucket counts the missing thousandths of a message, so that a rate of n per second refills exactly n per
 * millisecond and nothing is rounded. Timestamps have 32 bits: differences are correct for 49 days, and a bucket that
 * was unused for longer may be refilled too little, never too much.
 */
#include "hub/limits.h"

#define MILLI 1000u
#define BURST_MAX 1000000u
#define PAUSE_MS 1000u

static void refill(struct rate_bucket *b, const struct rate_limit *l, uint32_t now)
{
	uint64_t refilled = (uint64_t)(uint32_t)(now - b->stamp_ms) * l->per_second;

	b->spent_milli = refilled >= b->spent_milli ? 0 : b->spent_milli - (uint32_t)refilled;
	b->stamp_ms = now;
}

static void reset_after_pause(struct rate_bucket *b, uint32_t now)
{
	if (now - b->refused_ms >= PAUSE_MS)
		b->over_since_ms = 0;
}

static enum rate_verdict refuse(struct rate_bucket *b, const struct rate_limit *l, uint32_t now, uint64_t missing,
				uint32_t *retry_ms)
{
	if (!b->over_since_ms)
		b->over_since_ms = now ? now : 1;
	b->refused_ms = now;
	if (l->patience_ms && now - b->over_since_ms >= l->patience_ms)
		return RATE_CLOSE;
	*retry_ms = (uint32_t)((missing + l->per_second - 1) / l->per_second);
	return RATE_REFUSE;
}

enum rate_verdict rate_take(struct rate_bucket *b, const struct rate_limit *l, uint64_t mono_ms, uint32_t *retry_ms)
{
	uint32_t now = (uint32_t)mono_ms, burst = l->burst ? l->burst : 1;
	uint64_t ceiling = (uint64_t)(burst < BURST_MAX ? burst : BURST_MAX) * MILLI;

	if (!l->per_second)
		return RATE_OK;
	refill(b, l, now);
	if (b->over_since_ms)
		reset_after_pause(b, now);
	if (b->spent_milli + (uint64_t)MILLI > ceiling)
		return refuse(b, l, now, b->spent_milli + (uint64_t)MILLI - ceiling, retry_ms);
	b->spent_milli += MILLI;
	return RATE_OK;
}
