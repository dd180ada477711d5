/* SPDX-License-Identifier: Apache-2.0 */
/* New connections per address (security.connect_rate) when there are more addresses than the table has room for. */
#include <stdlib.h>
#include <time.h>
#include "shard/shard.h"
#include "test.h"

#define ROOM 65536u
#define MORE 20000u

static const uint64_t seed[2] = { 3, 4 };

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* @n new addresses from number @first on at @ms; how many were let in. */
static uint32_t callers(struct shard *sh, uint32_t first, uint32_t n, uint64_t ms)
{
	uint32_t in = 0;
	unsigned retry;

	sh->now.mono_ns = ms * 1000000u;
	for (uint32_t i = first; i < first + n; i++) {
		struct ip ip = { .len = 4, .at = { 10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i } };

		in += connect_allowed(sh, &ip, &retry);
	}
	return in;
}

/* Shows: threat 121 */
TEST(a_crowd_of_addresses_beyond_the_table_is_let_in_and_costs_no_walk_for_each)
{
	struct settings *set = calloc(1, sizeof *set);
	struct shard *sh = calloc(1, sizeof *sh);
	uint64_t began, roomy, full;

	if (!set || !sh)
		abort();
	set->connects = connect_table_new(2, seed);
	sh->set = set;
	CHECK_EQ(callers(sh, 0, ROOM, 5000), ROOM);
	began = cpu_ns();
	CHECK_EQ(callers(sh, 0, MORE, 5001), MORE); /* known ones, their second time */
	roomy = cpu_ns() - began;
	began = cpu_ns();
	CHECK_EQ(callers(sh, ROOM, MORE, 5002), MORE); /* no address can be dropped yet */
	full = cpu_ns() - began;
	CHECK(full < 100 * roomy);
	CHECK_EQ(callers(sh, 0, 1, 5003), 0); /* the limit still counts for those in the table */
	CHECK_EQ(callers(sh, ROOM, MORE, 9000), MORE);
	CHECK_EQ(callers(sh, ROOM, MORE, 9001), MORE);
	CHECK_EQ(callers(sh, ROOM, MORE, 9002), 0); /* room was made: they are counted now */
	connect_table_free(set->connects);
	free(sh);
	free(set);
}
