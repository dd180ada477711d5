/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits: the message rate of one connection as a token bucket in integer arithmetic: @burst at once, @per_second in the
 * long run. Time is an argument.
 */
#ifndef WSC_HUB_LIMITS_H
#define WSC_HUB_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
	uint32_t per_second; /* 0: no limit */
	uint32_t burst;      /* 0 is taken as 1; at most 1,000,000 */
	uint32_t
		patience_ms; /* over the rate without a pause for this long: RATE_CLOSE (10,000); a pause is a second without refusal */
};

struct rate_bucket {            /* zeroed memory is a full bucket that was never used */
	uint32_t spent_milli;   /* thousandths of a message owed */
	uint32_t stamp_ms;      /* low 32 bits of the monotonic ms of the last look */
	uint32_t over_since_ms; /* when refusals began without a pause; 0: not refusing */
	uint32_t refused_ms;    /* the last refusal, while over_since_ms is not 0 */
};

enum rate_verdict { RATE_OK, RATE_REFUSE, RATE_CLOSE };

/* One message arrives. @retry_ms is set with RATE_REFUSE: when one will pass again. */
enum rate_verdict rate_take(struct rate_bucket *b, const struct rate_limit *l, uint64_t mono_ms, uint32_t *retry_ms);

#endif
