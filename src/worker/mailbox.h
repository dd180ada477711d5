/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox: the only place where threads meet. Each ordered pair of workers has one FIFO, and everything between the two
 * takes it, so order holds. The posts of a turn are one batch, handed over with one atomic push. The program's threads have a
 * FIFO of tasks of their own.
 *
 * A batch is filled by its one producer, then belongs to its one consumer. No worker blocks: a producer that is far ahead
 * learns it from mailbox_waiting() and reads its own connections later.
 */
#ifndef WSC_WORKER_MAILBOX_H
#define WSC_WORKER_MAILBOX_H

#include <stdatomic.h>
#include "shard/shard.h"

#define MAILBOX_HIGH_WATER (4u * 1024 * 1024)     /* bytes from one peer that its target has not taken yet */
#define MAILBOX_FOREIGN_MAX 65536u                /* tasks of the program that may wait; answers have room beyond */
#define MAILBOX_FOREIGN_BYTES (64u * 1024 * 1024) /* and their bytes together; an empty mailbox takes any */

struct batch {
	struct batch *next;
	size_t len, cap;
	_Alignas(16) uint8_t data[];
};

/* The mail of one worker. Aligned so that producers do not share a cache line. */
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

/* Copies @r to the end of the batch @open, or of a new one. 0 or -WSC_ENOMEM. */
int mailbox_add_relay(struct batch **open, const struct hub_relay *r);
int mailbox_add_task(struct batch **open, struct task *t);
/* Hands over a chain of batches (newest first) from worker @from. True: the caller must wake the owner. */
bool mailbox_post(struct mailbox *m, unsigned from, struct batch *chain);
/* From any thread. 0 or -WSC_EAGAIN. @wake: the owner must be woken. */
int mailbox_post_task(struct mailbox *m, struct task *t, bool must, bool *wake);
/* Is there nothing to take? */
bool mailbox_empty(const struct mailbox *m, unsigned peers);
/*
 * Takes the batches of peers, and the tasks of foreign threads if @foreign: relays go to the hub, tasks are run. Returns how
 * many batches and tasks there were.
 */
unsigned mailbox_drain(struct mailbox *m, unsigned peers, struct shard *sh, bool foreign);
size_t mailbox_waiting(const struct mailbox *m, unsigned from);
/* The owner is about to sleep; false: mail has come meanwhile. */
bool mailbox_sleep(struct mailbox *m, unsigned peers);
void mailbox_awake(struct mailbox *m);

#endif
