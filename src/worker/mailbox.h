/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox: where threads meet, and the only place. Each ordered pair of workers has one FIFO, and everything
 * between the two takes it, so order holds. What a turn posts is one batch, handed over with one atomic push. Other threads of
 * the program have a FIFO of tasks of their own.
 *
 * A batch is filled by its one producer, then belongs to its one consumer. Nobody blocks: a producer that is far ahead
 * sees it by mailbox_waiting() and reads its own connections later.
 */
#ifndef WSC_WORKER_MAILBOX_H
#define WSC_WORKER_MAILBOX_H

#include <stdatomic.h>
#include "shard/shard.h"

#define MAILBOX_HIGH_WATER (4u * 1024 * 1024)     /* bytes from one peer that its target has not taken yet */
#define MAILBOX_FOREIGN_MAX 65536u                /* tasks of the program that may wait; answers have room beyond */
#define MAILBOX_FOREIGN_BYTES (64u * 1024 * 1024) /* and what they may weigh; an empty mailbox takes any */

struct batch {
	struct batch *next;
	size_t len, cap;
	_Alignas(16) uint8_t data[];
};

/* What one worker receives. Aligned so that producers do not fight over a cache line. */
struct mailbox {
	struct {
		struct {
			_Alignas(64) _Atomic(struct batch *) batches; /* newest first */
			_Atomic size_t waiting;
		} from[HUB_PEERS_MAX];
		_Alignas(64) _Atomic(struct task *) tasks; /* newest first */
		_Atomic uint32_t ntasks;
		_Atomic size_t task_bytes;
		_Atomic bool sleeping;
	} shared;
};

/* Copies @r behind what @open holds already (making it, or a further one, as needed). 0 or -WSC_ENOMEM. */
int mailbox_add_relay(struct batch **open, const struct hub_relay *r);
int mailbox_add_task(struct batch **open, struct task *t);
/* Hands over a chain of batches (newest first) from worker @from. The caller wakes the owner if this says so. */
bool mailbox_post(struct mailbox *m, unsigned from, struct batch *chain);
/* From any thread. 0 or -WSC_EAGAIN. @wake: the owner must be woken. */
int mailbox_post_task(struct mailbox *m, struct task *t, bool must, bool *wake);
/* Is there nothing to take? */
bool mailbox_empty(const struct mailbox *m, unsigned peers);
/* Takes what peers have posted, and other threads if @foreign: relays go to the hub, tasks are run. Returns how many batches and tasks there were. */
unsigned mailbox_drain(struct mailbox *m, unsigned peers, struct shard *sh, bool foreign);
size_t mailbox_waiting(const struct mailbox *m, unsigned from);
/* The owner is about to sleep; false: something has come meanwhile, look again. */
bool mailbox_sleep(struct mailbox *m, unsigned peers);
void mailbox_awake(struct mailbox *m);

#endif
