/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits: the message rate of one connection as a token bucket in integer arithmetic: @burst at once, @per_second in
 * the long run. Time is an argument.
 */
#ifndef WSC_HUB_LIMITS_H
#define WSC_HUB_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
	uint32_t per_second; /* 0: no limit */
	uint32_t burst;      /* 0 means 1; at most 1,000,000 */
	/* RATE_CLOSE after so long over the rate without a pause (10,000); a pause is one second without a refusal. */
	uint32_t patience_ms;
};

struct rate_bucket {            /* zeroed memory is a full bucket that was never used */
	uint32_t spent_milli;   /* thousandths of a message missing in the bucket */
	uint32_t stamp_ms;      /* low 32 bits of the monotonic ms of the last refill */
	uint32_t over_since_ms; /* the first refusal since the last pause; 0: none */
	uint32_t refused_ms;    /* the last refusal, while over_since_ms is not 0 */
};

enum rate_verdict { RATE_OK, RATE_REFUSE, RATE_CLOSE };

/* One message arrives. @retry_ms is set with RATE_REFUSE: the time until the next message is accepted. */
enum rate_verdict rate_take(struct rate_bucket *b, const struct rate_limit *l, uint64_t mono_ms, uint32_t *retry_ms);

#endif
