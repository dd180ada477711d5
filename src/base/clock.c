/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock: RFC 3339 text to and from milliseconds since 1970. Pure arithmetic on the proleptic Gregorian calendar; reads
 * no clock, no locale and no time zone.
 */
#include "base/clock.h"

#define DAY_MS 86400000
/* Days from 0000-03-01 to 1970-01-01. */
#define EPOCH_DAYS 719468
#define ERA_DAYS 146097
/* 9999-12-31T23:59:59.999Z */
#define LAST_MS 253402300799999u
#define MAX_FRACTION 32

struct date {
	int32_t year;
	uint32_t month, day; /* from 1 */
};

/* Years begin in March here, so that the leap day is the last one. */
static int64_t days_of(struct date d)
{
	int64_t year = d.month > 2 ? d.year : d.year - 1;
	int64_t month = d.month > 2 ? d.month - 3 : d.month + 9;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * month + 2) / 5 + d.day - 1;

	return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAYS;
}

/* @days since 1970, not negative. */
static struct date date_of(uint64_t days)
{
	uint64_t shifted = days + EPOCH_DAYS;
	uint64_t era = shifted / ERA_DAYS, in_era = shifted % ERA_DAYS;
	uint64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	uint64_t in_year = in_era - (365 * year + year / 4 - year / 100);
	uint64_t month = (5 * in_year + 2) / 153;

	return (struct date){ .year = (int32_t)(year + era * 400 + (month >= 10)),
			      .month = (uint32_t)(month < 10 ? month + 3 : month - 9),
			      .day = (uint32_t)(in_year - (153 * month + 2) / 5 + 1) };
}

static char *put_digits(char *at, uint32_t value, int count)
{
	for (int i = count; i--; value /= 10)
		at[i] = (char)('0' + value % 10);
	return at + count;
}

void rfc3339_format(uint64_t wall_ms, char out[RFC3339_LEN])
{
	uint64_t ms = wall_ms < LAST_MS ? wall_ms : LAST_MS;
	struct date d = date_of(ms / DAY_MS);
	uint32_t in_day = (uint32_t)(ms % DAY_MS);

	out = put_digits(out, (uint32_t)d.year, 4);
	*out++ = '-';
	out = put_digits(out, d.month, 2);
	*out++ = '-';
	out = put_digits(out, d.day, 2);
	*out++ = 'T';
	out = put_digits(out, in_day / 3600000, 2);
	*out++ = ':';
	out = put_digits(out, in_day / 60000 % 60, 2);
	*out++ = ':';
	out = put_digits(out, in_day / 1000 % 60, 2);
	*out++ = '.';
	out = put_digits(out, in_day % 1000, 3);
	*out = 'Z';
}

/* Exactly @count digits. */
static bool take_number(struct bytes *in, int count, uint32_t *out)
{
	uint32_t value = 0;
	uint8_t c;

	while (count--) {
		if (!bytes_take_u8(in, &c) || c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	*out = value;
	return true;
}

static bool take_one_of(struct bytes *in, const char *set)
{
	uint8_t c;

	return bytes_take_u8(in, &c) && c && strchr(set, c);
}

static uint32_t days_in_month(struct date d)
{
	bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);

	if (d.month == 2)
		return leap ? 29 : 28;
	return d.month == 4 || d.month == 6 || d.month == 9 || d.month == 11 ? 30 : 31;
}

static bool take_date(struct bytes *in, struct date *d)
{
	uint32_t year;

	if (!take_number(in, 4, &year) || !take_one_of(in, "-") || !take_number(in, 2, &d->month) ||
	    !take_one_of(in, "-") || !take_number(in, 2, &d->day))
		return false;
	d->year = (int32_t)year;
	return d->month >= 1 && d->month <= 12 && d->day >= 1 && d->day <= days_in_month(*d);
}

/* @seconds of the day; the seconds field may be 60, for a leap second. */
static bool take_time(struct bytes *in, uint32_t *seconds, bool *leap_second)
{
	uint32_t hour, minute, second;

	if (!take_number(in, 2, &hour) || !take_one_of(in, ":") || !take_number(in, 2, &minute) ||
	    !take_one_of(in, ":") || !take_number(in, 2, &second))
		return false;
	*seconds = hour * 3600 + minute * 60 + second;
	*leap_second = second == 60;
	return hour <= 23 && minute <= 59 && second <= 60;
}

/* No fraction is valid; a point without digits is not. */
static bool take_fraction(struct bytes *in, uint32_t *ms)
{
	uint32_t weight = 100;
	size_t digits = 0;

	*ms = 0;
	if (!in->len || in->at[0] != '.')
		return true;
	bytes_skip(in, 1);
	for (; in->len && in->at[0] >= '0' && in->at[0] <= '9'; bytes_skip(in, 1)) {
		*ms += weight * (in->at[0] - '0');
		weight /= 10;
		digits++;
	}
	return digits > 0 && digits <= MAX_FRACTION;
}

/* Reads the zone, which ends the text. @offset in seconds east of UTC. */
static bool take_zone(struct bytes *in, bool *has_zone, int32_t *offset)
{
	uint32_t hours, minutes;
	bool west;

	*offset = 0;
	*has_zone = in->len > 0;
	if (in->len == 0)
		return true;
	if (in->at[0] == 'Z' || in->at[0] == 'z')
		return in->len == 1;
	west = in->at[0] == '-';
	if (!take_one_of(in, "+-") || !take_number(in, 2, &hours) || !take_one_of(in, ":") ||
	    !take_number(in, 2, &minutes) || in->len)
		return false;
	*offset = (int32_t)(hours * 3600 + minutes * 60) * (west ? -1 : 1);
	return hours <= 23 && minutes <= 59;
}

/*
 * A leap second comes at the end of a month, UTC, after 1970; @seconds since 1970 is the first second of the next
 * month.
 */
static bool may_be_leap_second(int64_t seconds)
{
	return seconds > 0 && seconds % 86400 == 0 && date_of((uint64_t)seconds / 86400).day == 1;
}

bool rfc3339_parse(struct bytes s, bool *has_zone, int64_t *wall_ms)
{
	struct date date;
	uint32_t in_day, ms;
	int32_t offset;
	int64_t seconds;
	bool leap_second, zone;

	if (!take_date(&s, &date) || !take_one_of(&s, "Tt ") || !take_time(&s, &in_day, &leap_second) ||
	    !take_fraction(&s, &ms) || !take_zone(&s, &zone, &offset))
		return false;
	seconds = days_of(date) * 86400 + in_day - offset;
	if (leap_second && !may_be_leap_second(seconds))
		return false;
	if (has_zone)
		*has_zone = zone;
	if (wall_ms)
		*wall_ms = seconds * 1000 + ms;
	return true;
}
