/* SPDX-License-Identifier: Apache-2.0 */
/* pressure: see pressure.h. */
#include "shard/pressure.h"

#include <unistd.h>
#include "base/machine.h"
#include "base/mem.h"
#include "shard/shard.h"

#define LOOK_MS 100u               /* between two measurements while there is room */
#define LOOK_NEAR_MS 20u           /* and above the first step */
#define TRIM_MS 2000u              /* between two returns of freed memory to the system */
#define TRIM_NEAR_MS 500u          /* and at the limit, where readers are closed for memory that is not returned */
#define TRIM_FIRST_MS 10u          /* and when it is reached, because more comes in meanwhile */
#define SAY_MS 1000u               /* between two lines of the log */
#define CONN_BYTES 4096u           /* of a connection, about */
#define TRIM_BYTES (32u << 20)     /* returned at once; little enough that no client waits long meanwhile */
#define TRIM_AGAIN_MS 250u         /* until the next portion */
#define TRIM_REST_BYTES (2u << 20) /* returned when it has been quiet for TRIM_MS */

static const struct {
	unsigned percent;
	const char *what;
} steps[] = {
	[PRESSURE_NONE] = { 0, "memory: below the first step of limits.memory, all is as usual again" },
	[PRESSURE_NO_CONTEXTS] = { 70, "memory: at 70 % of limits.memory: no new compression contexts" },
	[PRESSURE_SMALL_QUEUES] = { 80, "memory: at 80 % of limits.memory: queues are a quarter of their size" },
	[PRESSURE_NO_NEWCOMERS] = { 90, "memory: at 90 % of limits.memory: new connections are told 503" },
	[PRESSURE_CLOSE_SLOWEST] = { 100, "memory: at limits.memory: the slowest readers are closed" },
};
#define LAST_STEP PRESSURE_CLOSE_SLOWEST
#define DISTANCE 5u /* percent below a step at which it is left */

static uint64_t percent_of(uint64_t limit, unsigned percent)
{
	return limit / 100 * percent;
}

unsigned pressure_next(unsigned step, uint64_t used, uint64_t limit)
{
	while (step < LAST_STEP && used >= percent_of(limit, steps[step + 1].percent))
		step++;
	while (step && used < percent_of(limit, steps[step].percent - DISTANCE))
		step--;
	return step;
}

int pressure_init(struct settings *set, uint64_t limit_bytes)
{
	struct pressure *p = &set->pressure;

	*p = (struct pressure){ .limit_bytes = limit_bytes, .fd = -1 };
	if (!limit_bytes)
		return 0;
	p->fd = machine_memory_open();
	if (p->fd < 0) {
		p->limit_bytes = 0;
		return p->fd;
	}
	atomic_store(&p->shared.used_bytes, machine_memory_held(p->fd));
	return 0;
}

void pressure_deinit(struct settings *set)
{
	if (set->pressure.limit_bytes)
		close(set->pressure.fd);
	set->pressure.limit_bytes = 0;
}

static void say_step(struct shard *sh, unsigned step, bool entered)
{
	struct pressure *p = &sh->set->pressure;

	LOG_WRITE(&sh->set->log, entered ? LOG_WARN : LOG_INFO, steps[step].what, KV_U64("step", step),
		  KV_U64("used_bytes", counter_get(&p->shared.used_bytes)), KV_U64("limit_bytes", p->limit_bytes));
}

/*
 * One line when a step is entered or left, also for steps that are passed at once. When steps change quickly: one line for
 * each step that is higher than all before it, and one line a second for the present step.
 */
static void say(struct shard *sh, unsigned step)
{
	struct pressure *p = &sh->set->pressure;
	unsigned said = atomic_load_explicit(&p->shared.said, memory_order_relaxed);
	uint64_t now = now_ms(sh->now);

	if (now - p->said_ms >= SAY_MS)
		p->highest = said;
	if (step == said || (p->said_ms && now - p->said_ms < SAY_MS && step <= p->highest))
		return;
	p->highest = step > p->highest ? step : p->highest;
	for (unsigned i = said + 1; i < step; i++)
		say_step(sh, i, true);
	say_step(sh, step, step > said);
	atomic_store_explicit(&p->shared.said, step, memory_order_relaxed);
	p->said_ms = now;
}

static void wake_all(const struct settings *set)
{
	for (unsigned i = 0; i < set->nshards; i++)
		loop_wake(&set->shards[i]->loop);
}

/* The heap memory of messages and connections. */
static uint64_t live_bytes(const struct settings *set)
{
	uint64_t n = atomic_load_explicit(&set->shared.connections, memory_order_relaxed) * CONN_BYTES;

	for (unsigned i = 0; i < set->nshards; i++)
		n += counter_get(&set->shards[i]->shared.message_bytes);
	return n;
}

static void trim(struct shard *sh)
{
	struct pressure *p = &sh->set->pressure;

	atomic_store_explicit(&p->shared.trimmed_ms, now_ms(sh->now), memory_order_relaxed);
	mem_trim();
	atomic_store_explicit(&p->shared.peak_bytes, live_bytes(sh->set), memory_order_relaxed);
}

/*
 * Returns freed memory to the system when a quarter of much memory was freed, because the heap would keep it for connections
 * that may never come. In portions, because 200 MiB at once hold a worker up for a tenth of a second; the rest when it is
 * quiet. True: a later turn must do more.
 */
static bool trim_after_a_crowd(struct shard *sh)
{
	struct pressure *p = &sh->set->pressure;
	uint64_t live = live_bytes(sh->set), peak = counter_get(&p->shared.peak_bytes);

	if (live > peak)
		atomic_store_explicit(&p->shared.peak_bytes, live, memory_order_relaxed);
	if (peak < live + TRIM_REST_BYTES || live > peak / 4 * 3)
		return false;
	if (now_ms(sh->now) - counter_get(&p->shared.trimmed_ms) < (peak < live + TRIM_BYTES ? TRIM_MS : TRIM_AGAIN_MS))
		return true;
	trim(sh);
	return false;
}

/*
 * Freed memory stays with the heap, so it is returned to the system before a client is closed or refused for it.
 * @true_figure: that was just done.
 */
static unsigned measure(struct shard *sh, unsigned step, bool *true_figure)
{
	struct pressure *p = &sh->set->pressure;
	uint64_t now = now_ms(sh->now), used = machine_memory_held(p->fd);
	unsigned next = pressure_next(step, used, p->limit_bytes);
	unsigned wait_ms = next < LAST_STEP ? TRIM_MS : step < LAST_STEP ? TRIM_FIRST_MS : TRIM_NEAR_MS;

	*true_figure = next && now - counter_get(&p->shared.trimmed_ms) >= wait_ms;
	if (*true_figure) {
		trim(sh);
		used = machine_memory_held(p->fd);
		next = pressure_next(step, used, p->limit_bytes);
	}
	atomic_store_explicit(&p->shared.used_bytes, used, memory_order_relaxed);
	return next;
}

static void measure_now(struct shard *sh)
{
	struct pressure *p = &sh->set->pressure;
	unsigned before = atomic_load(&p->shared.step), step;
	bool true_figure, close_some;
	uint64_t used, aim = percent_of(p->limit_bytes, steps[LAST_STEP].percent - DISTANCE);

	sh->pressure_owes = trim_after_a_crowd(sh);
	step = measure(sh, before, &true_figure);
	used = counter_get(&p->shared.used_bytes);
	atomic_store(&sh->set->shared.no_new_contexts, step >= PRESSURE_NO_CONTEXTS);
	atomic_store(&p->shared.step, step);
	close_some = step == PRESSURE_CLOSE_SLOWEST && true_figure;
	if (close_some) {
		atomic_store(&p->shared.excess_bytes, used > aim ? used - aim : 0);
		atomic_fetch_add(&p->shared.round, 1);
	}
	if (step != before || close_some)
		wake_all(sh->set);
	say(sh, step);
	atomic_store_explicit(&p->shared.next_ms, now_ms(sh->now) + (step ? LOOK_NEAR_MS : LOOK_MS),
			      memory_order_relaxed);
}

void pressure_turn(struct shard *sh)
{
	struct pressure *p = &sh->set->pressure;

	if (!p->limit_bytes)
		return;
	if (now_ms(sh->now) >= atomic_load_explicit(&p->shared.next_ms, memory_order_relaxed) &&
	    !atomic_exchange(&p->shared.looking, true)) {
		measure_now(sh);
		atomic_store(&p->shared.looking, false);
	}
}

void pressure_ended(struct shard *sh)
{
	/* A worker measures in this turn or in a later one; when no later turn comes, this worker has one for it. */
	sh->pressure_owes |= counter_get(&sh->set->pressure.shared.peak_bytes) > TRIM_REST_BYTES;
}

uint64_t pressure_deadline(const struct shard *sh)
{
	const struct pressure *p = &sh->set->pressure;
	uint64_t next = atomic_load_explicit(&p->shared.next_ms, memory_order_relaxed);
	uint64_t trim = counter_get(&p->shared.trimmed_ms) + TRIM_AGAIN_MS;

	if (p->limit_bytes && sh->pressure_owes)
		return next > trim ? next : trim;
	/* One worker is enough, and while there is room no worker needs to measure. */
	if (!p->limit_bytes || sh->index ||
	    (!atomic_load_explicit(&p->shared.step, memory_order_relaxed) &&
	     !atomic_load_explicit(&p->shared.said, memory_order_relaxed)))
		return UINT64_MAX;
	return next;
}
