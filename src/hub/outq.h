/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outq: the output queue of one connection: references to messages, in order. Two fit inline; more go to pooled chunks
 * that are freed when the queue is empty, so an idle connection holds none. It counts messages and bytes (msg_charge);
 * the hub decides when a queue is full and what happens then. Knows no socket.
 */
#ifndef WSC_HUB_OUTQ_H
#define WSC_HUB_OUTQ_H

#include "hub/msg.h"

#define OUTQ_INLINE 2
#define OUTQ_CHUNK_REFS 30

struct outq_chunk {
	struct outq_chunk *next;
	uint16_t first, end; /* references in [first, end); never empty while on a queue */
	struct msg *ref[OUTQ_CHUNK_REFS];
};

struct outq_pool { /* one per worker; keeps a bounded number of spare chunks; zeroed memory is an empty one */
	struct outq_chunk *spare;
	uint32_t spares;
};

struct outq { /* zeroed memory is an empty queue */
	union {
		struct msg *inl[OUTQ_INLINE]; /* !chunked: the first @count of them */
		struct {
			struct outq_chunk *head, *tail; /* chunked: all, until the queue is empty */
		};
	};
	uint32_t count;
	uint32_t bytes;  /* sum of msg_charge() */
	uint32_t offset; /* wire bytes of the first message that are sent already; such a message is never dropped */
	bool chunked;
};

void outq_pool_deinit(struct outq_pool *p);
void outq_init(struct outq *q);
/* Drops every reference. */
void outq_clear(struct outq *q, struct outq_pool *p);
/* Takes its own reference. 0 or -WSC_ENOMEM. */
int outq_push(struct outq *q, struct outq_pool *p, struct msg *m);
/* Puts @m in front of all others: the welcome of a session that was held. Only while offset is 0. 0 or -WSC_ENOMEM. */
int outq_push_front(struct outq *q, struct outq_pool *p, struct msg *m);
/* Copies at most @max references from the front without removing them; returns how many. */
unsigned outq_peek(const struct outq *q, struct msg **out, unsigned max);
/* Removes the first message and drops its reference; offset becomes 0. */
void outq_pop(struct outq *q, struct outq_pool *p);
/* Drops the oldest message that has not begun; false when there is none. */
bool outq_drop_oldest(struct outq *q, struct outq_pool *p);
/* Drops all messages that have not begun; returns how many. */
uint32_t outq_drop_unbegun(struct outq *q, struct outq_pool *p);
/* Drops all messages that are in the log (seq is not 0). Only while offset is 0. */
void outq_drop_logged(struct outq *q, struct outq_pool *p);

#endif
