/* SPDX-License-Identifier: Apache-2.0 */
/* mailbox: see mailbox.h. */
#include "worker/mailbox.h"

#include "base/mem.h"
#include "wsc/error.h"

#define BATCH_BYTES 8192u
#define ALIGN 16u

enum record_kind { RECORD_RELAY, RECORD_TASK };

struct record {
	_Alignas(ALIGN) uint32_t size; /* of the whole record */
	uint32_t kind;
	union {
		struct hub_relay relay; /* its views lie behind, in this order: to, sender, ref, body */
		struct task *task;
	} u;
};

static size_t rounded(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Room for @n bytes at the end of @open; NULL: no memory. */
static void *room(struct batch **open, size_t n)
{
	struct batch *b = *open;
	void *at;

	if (!b || b->cap - b->len < n) {
		size_t cap = n > BATCH_BYTES ? n : BATCH_BYTES;

		b = mem_alloc(sizeof *b + cap);
		if (!b)
			return NULL;
		*b = (struct batch){ .next = *open, .cap = cap };
		*open = b;
	}
	at = b->data + b->len;
	b->len += n;
	return at;
}

static uint8_t *put(uint8_t *at, struct bytes b)
{
	if (b.len)
		memcpy(at, b.at, b.len);
	return at + b.len;
}

int mailbox_add_relay(struct batch **open, const struct hub_relay *r)
{
	size_t size = rounded(sizeof(struct record) + r->to.len + r->sender.len + r->ref.len + r->body.len);
	struct record *rec = size <= UINT32_MAX ? room(open, size) : NULL;

	if (!rec)
		return -WSC_ENOMEM;
	rec->size = (uint32_t)size;
	rec->kind = RECORD_RELAY;
	rec->u.relay = *r;
	put(put(put(put((uint8_t *)(rec + 1), r->to), r->sender), r->ref), r->body);
	return 0;
}

int mailbox_add_task(struct batch **open, struct task *t)
{
	struct record *rec = room(open, rounded(sizeof *rec));

	if (!rec)
		return -WSC_ENOMEM;
	rec->size = (uint32_t)rounded(sizeof *rec);
	rec->kind = RECORD_TASK;
	rec->u.task = t;
	return 0;
}

bool mailbox_post(struct mailbox *m, unsigned from, struct batch *chain)
{
	struct batch *last = chain, *head;
	size_t bytes = chain->len;

	for (; last->next; last = last->next)
		bytes += last->next->len;
	atomic_fetch_add_explicit(&m->shared.from[from].waiting, bytes, memory_order_relaxed);
	head = atomic_load_explicit(&m->shared.from[from].batches, memory_order_relaxed);
	do
		last->next = head;
	while (!atomic_compare_exchange_weak(&m->shared.from[from].batches, &head, chain));
	return atomic_exchange(&m->shared.sleeping, false);
}

static void gone(struct mailbox *m, size_t weight)
{
	atomic_fetch_sub(&m->shared.ntasks, 1);
	atomic_fetch_sub(&m->shared.task_bytes, weight);
}

int mailbox_post_task(struct mailbox *m, struct task *t, bool must, bool *wake)
{
	bool many = atomic_fetch_add(&m->shared.ntasks, 1) >= MAILBOX_FOREIGN_MAX;
	bool heavy = atomic_fetch_add(&m->shared.task_bytes, t->weight) >= MAILBOX_FOREIGN_BYTES;
	struct task *head;

	*wake = false;
	if ((many || heavy) && !must) {
		gone(m, t->weight);
		return -WSC_EAGAIN;
	}
	head = atomic_load_explicit(&m->shared.tasks, memory_order_relaxed);
	do
		t->next = head;
	while (!atomic_compare_exchange_weak(&m->shared.tasks, &head, t));
	*wake = atomic_exchange(&m->shared.sleeping, false);
	return 0;
}

bool mailbox_empty(const struct mailbox *m, unsigned peers)
{
	if (atomic_load(&m->shared.tasks))
		return false;
	for (unsigned i = 0; i < peers; i++)
		if (atomic_load(&m->shared.from[i].batches))
			return false;
	return true;
}

static void take_relay(struct shard *sh, unsigned from, struct record *rec)
{
	struct hub_relay *r = &rec->u.relay;
	const uint8_t *at = (const uint8_t *)(rec + 1);

	r->to.at = at;
	r->sender.at = at += r->to.len;
	r->ref.at = at += r->sender.len;
	r->body.at = at + r->ref.len;
	hub_receive(sh->hub, from, r, sh->now);
}

static void take_batch(struct shard *sh, unsigned from, struct batch *b)
{
	struct record *rec;

	for (size_t pos = 0; pos < b->len; pos += rec->size) {
		rec = (struct record *)(void *)(b->data + pos);
		if (rec->kind == RECORD_RELAY)
			take_relay(sh, from, rec);
		else
			rec->u.task->run(sh, rec->u.task);
	}
}

static unsigned drain_peer(struct mailbox *m, unsigned from, struct shard *sh)
{
	struct batch *newest = atomic_exchange(&m->shared.from[from].batches, NULL), *oldest = NULL, *next;
	unsigned n = 0;

	for (; newest; newest = next) {
		next = newest->next;
		newest->next = oldest;
		oldest = newest;
	}
	for (; oldest; oldest = next, n++) {
		next = oldest->next;
		take_batch(sh, from, oldest);
		atomic_fetch_sub_explicit(&m->shared.from[from].waiting, oldest->len, memory_order_relaxed);
		mem_free(oldest);
	}
	return n;
}

static unsigned drain_tasks(struct mailbox *m, struct shard *sh)
{
	struct task *newest = atomic_exchange(&m->shared.tasks, NULL), *oldest = NULL, *next;
	unsigned n = 0;

	for (; newest; newest = next) {
		next = newest->next;
		newest->next = oldest;
		oldest = newest;
	}
	for (; oldest; oldest = next, n++) {
		next = oldest->next; /* run() frees it */
		gone(m, oldest->weight);
		oldest->run(sh, oldest);
	}
	return n;
}

unsigned mailbox_drain(struct mailbox *m, unsigned peers, struct shard *sh, bool foreign)
{
	unsigned n = foreign ? drain_tasks(m, sh) : 0;

	for (unsigned i = 0; i < peers; i++)
		n += drain_peer(m, i, sh);
	return n;
}

size_t mailbox_waiting(const struct mailbox *m, unsigned from)
{
	return atomic_load_explicit(&m->shared.from[from].waiting, memory_order_relaxed);
}

bool mailbox_sleep(struct mailbox *m, unsigned peers)
{
	atomic_store(&m->shared.sleeping, true);
	if (mailbox_empty(m, peers))
		return true;
	atomic_store(&m->shared.sleeping, false);
	return false;
}

void mailbox_awake(struct mailbox *m)
{
	atomic_store_explicit(&m->shared.sleeping, false, memory_order_relaxed);
}
