/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pressure: what the gateway does as the memory of the process fills (limits.memory), in this order: no new compression
 * contexts, smaller queues, no newcomers, and at the limit the slowest readers are closed until it is below again. What
 * counts is what the system says the process holds, so whatever asked for it is in it: messages, connections, buffers,
 * libraries, the host program.
 *
 * Every worker asks at the beginning of its turn; one of them looks, at most ten times a second, fifty times above the
 * first step. Nobody is woken to look at a quiet process. Each step is left again a twentieth of the limit lower. When
 * much has ended, what the heap has kept of it is given back to the system.
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
	uint64_t limit_bytes; /* fixed before the start; 0: nobody looks */
	int fd;               /* machine_memory_open() */
	/* Of the worker that looks: @looking is taken. */
	uint64_t said_ms;
	unsigned highest; /* step of the last second */
	struct {
		_Atomic bool looking;
		_Atomic uint64_t next_ms; /* the next look */
		_Atomic uint64_t used_bytes;
		_Atomic uint64_t trimmed_ms; /* when freed memory was given back */
		_Atomic unsigned step;
		_Atomic unsigned said;         /* the step that the log has told */
		_Atomic uint64_t excess_bytes; /* above the limit at the last look, with some distance to it */
		_Atomic uint32_t round;        /* of closing: each time that the figure above the limit is a true one */
		_Atomic uint64_t
			peak_bytes; /* the most that messages and connections took since memory was given back */
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
/* When @sh should have a turn for this alone, monotonic ms; UINT64_MAX: there is no pressure. */
uint64_t pressure_deadline(const struct shard *sh);

/* The step that follows on @step when @used of @limit bytes are held. */
unsigned pressure_next(unsigned step, uint64_t used, uint64_t limit);

#endif
