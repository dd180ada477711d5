/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pressure: the steps of the gateway as the memory of the process fills (limits.memory), in this order: no new compression
 * contexts, smaller queues, no new connections, and at the limit the slowest readers are closed until the process is below
 * it again. The figure is the resident memory that the system reports, so it includes messages, connections, buffers,
 * libraries and the host program.
 *
 * Every worker asks at the beginning of its turn, and one of them measures: at most ten times a second, fifty times above
 * the first step. No worker is woken to measure a quiet process. A step ends a twentieth of the limit lower than it began.
 * When many connections have ended, the freed memory that the heap has kept is returned to the system.
 */
#ifndef WSC_SHARD_PRESSURE_H
#define WSC_SHARD_PRESSURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum pressure_step {
	PRESSURE_NONE,
	PRESSURE_NO_CONTEXTS,   /* 70 % of the limit: no new compression contexts */
	PRESSURE_SMALL_QUEUES,  /* 80 %: a quarter of the messages and bytes may wait for a connection */
	PRESSURE_NO_NEWCOMERS,  /* 90 %: new connections are told 503 */
	PRESSURE_CLOSE_SLOWEST, /* 100 %: the readers blocked for longest are closed */
};

/* Part of struct settings: one for all workers. */
struct pressure {
	uint64_t limit_bytes; /* fixed before the start; 0: no limit */
	int fd;               /* machine_memory_open() */
	/* Of the worker that measures, while it holds @looking. */
	uint64_t said_ms;
	unsigned highest; /* step of the last second */
	struct {
		_Atomic bool looking;
		_Atomic uint64_t next_ms; /* when to measure next */
		_Atomic uint64_t used_bytes;
		_Atomic uint64_t trimmed_ms; /* when freed memory was given back */
		_Atomic unsigned step;
		_Atomic unsigned said;         /* the last step in the log */
		_Atomic uint64_t excess_bytes; /* above the limit at the last measurement, and a little more */
		_Atomic uint32_t
			round; /* counts measurements above the limit that were made behind a return of freed memory */
		_Atomic uint64_t
			peak_bytes; /* the most that messages and connections held since freed memory was returned */
	} shared;
};

struct shard;
struct settings;

/* 0 or -errno; @limit_bytes 0: never any pressure. Before the workers start. */
int pressure_init(struct settings *set, uint64_t limit_bytes);
void pressure_deinit(struct settings *set);
/* Once a turn, when the shard knows the time. */
void pressure_turn(struct shard *sh);
/* Connections of @sh have ended. */
void pressure_ended(struct shard *sh);
/* When @sh needs a turn for this alone, monotonic ms; UINT64_MAX: never. */
uint64_t pressure_deadline(const struct shard *sh);

/* The step that follows on @step when @used of @limit bytes are held. */
unsigned pressure_next(unsigned step, uint64_t used, uint64_t limit);

#endif
