/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock: the time, passed as an argument. Only worker/ (and log, for its timestamps) reads the system's clocks; the
 * modules below worker/ get a struct now from their caller.
 */
#ifndef WSC_BASE_CLOCK_H
#define WSC_BASE_CLOCK_H

#include "base/bytes.h"

struct now {
	uint64_t mono_ns; /* CLOCK_MONOTONIC: durations and deadlines */
	uint64_t wall_ms; /* CLOCK_REALTIME: timestamps only */
};

static inline uint64_t now_ms(struct now n)
{
	return n.mono_ns / 1000000u;
}

/*
 * RFC 3339 with milliseconds, "2026-01-31T12:00:00.000Z"; always 24 bytes, no NUL. A time after the year 9999 is
 * written as the last millisecond of that year.
 */
#define RFC3339_LEN 24
void rfc3339_format(uint64_t wall_ms, char out[RFC3339_LEN]);
/*
 * Is @s a date-time of RFC 3339 §5.6: 'T', 't' or a space between, up to 32 fraction digits, a zone "Z", "z" or
 * "+hh:mm" or, as many clients send it, none? Days of the month, leap years and a leap second (only at the end of a
 * month, UTC) are checked. @has_zone tells whether there was a zone; @wall_ms gets the time in milliseconds, rounded
 * down (no zone means UTC; a leap second counts as the second after it). Either may be NULL; both stay unchanged when
 * the result is false.
 */
bool rfc3339_parse(struct bytes s, bool *has_zone, int64_t *wall_ms);

#endif
