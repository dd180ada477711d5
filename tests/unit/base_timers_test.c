/* SPDX-License-Identifier: Apache-2.0 */
/* The wheel against a model that knows every deadline: which timer fires when, and the result of timers_next_ms(). */
#include "base/rng.h"
#include "base/timers.h"
#include "test.h"

#define N 300
#define HORIZON (1ull << 30)

struct world {
	struct timers wheel;
	struct rng rng;
	uint64_t now;
	struct timer timers[N];
	uint64_t due[N]; /* 0: not armed */
	bool late[N];
};

static void arm(struct world *w, size_t i, uint64_t due)
{
	timers_arm(&w->wheel, &w->timers[i], due);
	w->due[i] = due ? due : 1;
	w->late[i] = due <= w->now;
}

static uint64_t earliest(const struct world *w)
{
	uint64_t min = UINT64_MAX;

	for (size_t i = 0; i < N; i++)
		if (w->due[i] && w->due[i] < min)
			min = w->due[i];
	return min;
}

/* All that are due fire, once, in order; no others do. */
static bool advance(struct world *w, uint64_t to)
{
	uint64_t last = 0;
	struct timer *t;
	bool ok = true;

	w->now = to;
	timers_advance(&w->wheel, to);
	while (ok && (t = timers_pop(&w->wheel))) {
		size_t i = (size_t)(t - w->timers);

		ok = CHECK(!timer_armed(t)) && CHECK(w->due[i] && w->due[i] <= to);
		if (!w->late[i]) {
			ok = ok && CHECK(t->due_ms >= last);
			last = t->due_ms;
		}
		w->due[i] = 0;
	}
	for (size_t i = 0; ok && i < N; i++)
		ok = CHECK(w->due[i] == 0 || w->due[i] > to) && CHECK(timer_armed(&w->timers[i]) == (w->due[i] != 0));
	return ok;
}

static bool next_is_right(const struct world *w)
{
	uint64_t next = timers_next_ms(&w->wheel), min = earliest(w);

	if (min == UINT64_MAX)
		return CHECK_EQ(next, UINT64_MAX);
	return CHECK(next <= (min > w->now ? min : w->now)) && CHECK(next >= w->now);
}

/* Spread over all levels, now and then behind the horizon or in the past. */
static uint64_t random_due(struct world *w)
{
	uint64_t wait = rng_u64(&w->rng) >> (63 - rng_below(&w->rng, 33));

	return rng_below(&w->rng, 20) ? w->now + wait : w->now - rng_below(&w->rng, 3);
}

static void random_step(struct world *w)
{
	size_t i = rng_below(&w->rng, N);

	if (rng_below(&w->rng, 3)) {
		arm(w, i, random_due(w));
	} else {
		timers_cancel(&w->wheel, &w->timers[i]);
		w->due[i] = 0;
	}
}

static uint64_t random_time(struct world *w)
{
	switch (rng_below(&w->rng, 4)) {
	case 0:
		return w->now;
	case 1:
		return w->now + 1 + rng_below(&w->rng, 100);
	case 2:
		return timers_next_ms(&w->wheel) == UINT64_MAX ? w->now : timers_next_ms(&w->wheel);
	default:
		return w->now + (rng_u64(&w->rng) >> (63 - rng_below(&w->rng, 33)));
	}
}

static void play(uint64_t seed, uint64_t start, int rounds)
{
	struct world w = { .now = start };

	rng_init_seed(&w.rng, seed);
	timers_init(&w.wheel, start);
	for (int round = 0; round < rounds; round++) {
		for (uint64_t i = rng_below(&w.rng, 40); i--;)
			random_step(&w);
		if (!next_is_right(&w) || !advance(&w, random_time(&w)) || !next_is_right(&w))
			return;
	}
}

/* Shows: threat 135 */
TEST(random_arms_cancels_and_jumps_agree_with_a_model)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		play(seed, seed * 987654321, 1000);
}

TEST(a_wheel_that_begins_at_the_end_of_a_turn_agrees_too)
{
	for (uint64_t level = 1; level <= 5; level++)
		play(100 + level, (1ull << (6 * level)) * 7 - 1, 500);
}

TEST(every_tick_fires_its_own_timer_and_no_other)
{
	struct world w = { .now = 4090 };

	timers_init(&w.wheel, w.now);
	for (size_t i = 0; i < N; i++)
		arm(&w, i, w.now + 1 + i);
	for (size_t i = 0; i < N; i++) {
		CHECK_EQ(timers_next_ms(&w.wheel) <= w.now + 1, 1);
		CHECK(advance(&w, w.now + 1));
		CHECK_EQ(w.due[i], 0);
	}
	CHECK_EQ(timers_next_ms(&w.wheel), UINT64_MAX);
}

TEST(a_deadline_behind_the_horizon_fires_on_its_millisecond)
{
	struct world w = { .now = 12345 };
	uint64_t due = w.now + 5 * HORIZON + 77;
	int wakeups = 0;

	timers_init(&w.wheel, w.now);
	arm(&w, 0, due);
	arm(&w, 1, UINT64_MAX);
	for (; w.due[0]; wakeups++) {
		uint64_t next = timers_next_ms(&w.wheel);

		if (!CHECK(next <= due && next > w.now) || !advance(&w, next))
			return;
	}
	CHECK_EQ(w.now, due);
	CHECK(wakeups < 20);
	CHECK(timer_armed(&w.timers[1]));
}

TEST(a_deadline_at_the_edge_of_a_level_fires_on_its_millisecond)
{
	for (uint64_t start = 0; start <= 64; start += 32) {
		struct world w = { .now = start };

		timers_init(&w.wheel, w.now);
		for (size_t level = 1; level <= 5; level++)
			for (size_t i = 0; i < 3; i++)
				arm(&w, 3 * level + i, w.now + (1ull << (6 * level)) - 1 + i);
		while (earliest(&w) != UINT64_MAX) {
			uint64_t due = earliest(&w);

			if (!CHECK(advance(&w, due - 1)) || !CHECK(advance(&w, due)))
				return;
		}
	}
}

TEST(a_wheel_whose_timers_were_all_cancelled_asks_for_nothing)
{
	struct world w = { .now = 5 };

	timers_init(&w.wheel, w.now);
	for (size_t i = 0; i < N; i++)
		arm(&w, i, w.now + i * i * i * 50);
	for (size_t i = 0; i < N; i++)
		timers_cancel(&w.wheel, &w.timers[i]);
	CHECK_EQ(timers_next_ms(&w.wheel), UINT64_MAX);
}

TEST(a_deadline_in_the_past_waits_for_the_next_advance)
{
	struct timers wheel;
	struct timer t = { 0 };

	timers_init(&wheel, 1000);
	timers_arm(&wheel, &t, 5);
	CHECK(timer_armed(&t));
	CHECK(timers_pop(&wheel) == NULL);
	CHECK_EQ(timers_next_ms(&wheel), 1000);
	timers_advance(&wheel, 1000);
	CHECK(timers_pop(&wheel) == &t);
	CHECK(!timer_armed(&t));
	CHECK(timers_pop(&wheel) == NULL);
}

TEST(a_timer_that_is_due_can_still_be_cancelled_or_moved)
{
	struct timers wheel;
	struct timer t[3] = { 0 };

	timers_init(&wheel, 0);
	for (int i = 0; i < 3; i++)
		timers_arm(&wheel, &t[i], (uint64_t)i + 1);
	timers_advance(&wheel, 10);
	timers_cancel(&wheel, &t[2]);
	timers_arm(&wheel, &t[1], 20);
	CHECK(timers_pop(&wheel) == &t[0]);
	CHECK(timers_pop(&wheel) == NULL);
	timers_advance(&wheel, 20);
	CHECK(timers_pop(&wheel) == &t[1]);
	CHECK(timers_pop(&wheel) == NULL);
	CHECK_EQ(timers_next_ms(&wheel), UINT64_MAX);
}

/* Shows: threat 134 */
TEST(time_does_not_run_backward)
{
	struct timers wheel;
	struct timer t = { 0 };

	timers_init(&wheel, 100);
	timers_arm(&wheel, &t, 110);
	timers_advance(&wheel, 50);
	CHECK_EQ(wheel.now_ms, 100);
	CHECK(timers_pop(&wheel) == NULL);
	timers_advance(&wheel, 110);
	CHECK(timers_pop(&wheel) == &t);
}

/* Shows: threat 28 */
TEST(cancelling_a_timer_that_was_never_armed_does_nothing)
{
	struct timers wheel;
	struct timer t = { 0 };

	timers_init(&wheel, 0);
	timers_cancel(&wheel, &t);
	CHECK(!timer_armed(&t));
}
