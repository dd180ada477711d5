/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_outq: the queue of a connection against the simplest model, an array. The input is a list of operations on three
 * queues that share their messages and their pool. After each, order, count, bytes and offset are the model's, and
 * every message has as many references as it has places in queues; at the end nothing is left.
 */
#include "fuzz.h"

#include <assert.h>

#include "hub/outq.h"

#define QUEUES 3
#define MODEL_MAX 300u
#define MESSAGES 8

struct model {
	struct msg *at[MODEL_MAX];
	unsigned n;
	uint32_t offset;
};

static void model_remove(struct model *m, unsigned i)
{
	m->n--;
	memmove(m->at + i, m->at + i + 1, (m->n - i) * sizeof m->at[0]);
}

static void push(struct outq *q, struct outq_pool *pool, struct model *m, struct msg *msg)
{
	if (m->n == MODEL_MAX)
		return;
	assert(outq_push(q, pool, msg) == 0);
	m->at[m->n++] = msg;
}

static void push_front(struct outq *q, struct outq_pool *pool, struct model *m, struct msg *msg)
{
	if (m->n == MODEL_MAX || m->offset)
		return;
	assert(outq_push_front(q, pool, msg) == 0);
	memmove(m->at + 1, m->at, m->n * sizeof m->at[0]);
	m->at[0] = msg;
	m->n++;
}

static void pop(struct outq *q, struct outq_pool *pool, struct model *m)
{
	if (!m->n)
		return;
	outq_pop(q, pool);
	model_remove(m, 0);
	m->offset = 0;
}

static void drop_oldest(struct outq *q, struct outq_pool *pool, struct model *m)
{
	unsigned first = m->offset ? 1 : 0;
	bool any = m->n > first;

	assert(outq_drop_oldest(q, pool) == any);
	if (any)
		model_remove(m, first);
}

static void drop_unbegun(struct outq *q, struct outq_pool *pool, struct model *m)
{
	unsigned keep = m->offset && m->n ? 1 : 0;

	assert(outq_drop_unbegun(q, pool) == m->n - keep);
	m->n = keep;
}

static void drop_logged(struct outq *q, struct outq_pool *pool, struct model *m)
{
	if (m->offset)
		return;
	outq_drop_logged(q, pool);
	for (unsigned i = m->n; i-- > 0;)
		if (m->at[i]->seq)
			model_remove(m, i);
}

static void clear(struct outq *q, struct outq_pool *pool, struct model *m)
{
	outq_clear(q, pool);
	m->n = 0;
	m->offset = 0;
}

static void begin(struct outq *q, struct model *m, uint32_t offset)
{
	if (m->n)
		q->offset = m->offset = offset;
}

static void step(uint8_t op, struct outq *q, struct outq_pool *pool, struct model *m, struct msg *msg)
{
	switch (op % 9) {
	case 0:
	case 1:
		push(q, pool, m, msg);
		break;
	case 2:
		push_front(q, pool, m, msg);
		break;
	case 3:
		pop(q, pool, m);
		break;
	case 4:
		drop_oldest(q, pool, m);
		break;
	case 5:
		begin(q, m, op >> 4);
		break;
	case 6:
		drop_logged(q, pool, m);
		break;
	case 7:
		drop_unbegun(q, pool, m);
		break;
	case 8:
		if (op > 200)
			clear(q, pool, m);
		else /* many at once, so that chunks fill */
			for (unsigned i = 0; i < op / 4u; i++)
				push(q, pool, m, msg);
		break;
	}
}

static void compare(const struct outq *q, const struct model *m, unsigned some)
{
	struct msg *all[MODEL_MAX + 1];
	uint32_t bytes = 0;

	assert(q->count == m->n && q->offset == m->offset);
	assert(outq_peek(q, all, MODEL_MAX + 1) == m->n);
	for (unsigned i = 0; i < m->n; i++) {
		assert(all[i] == m->at[i]);
		bytes += msg_charge(m->at[i]);
	}
	assert(q->bytes == bytes);
	assert(outq_peek(q, all, some) == (m->n < some ? m->n : some));
}

static void check_references(struct msg *const *msgs, const struct model *m)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint32_t refs = 1;

		for (unsigned k = 0; k < QUEUES; k++)
			for (unsigned j = 0; j < m[k].n; j++)
				refs += m[k].at[j] == msgs[i];
		assert(msgs[i]->refs == refs);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m[QUEUES];
	struct outq q[QUEUES] = { 0 };
	struct outq_pool pool = { 0 };
	struct msg_owner owner = { 0 };
	struct msg *msgs[MESSAGES];

	if (size > 600)
		return 0;
	memset(m, 0, sizeof m);
	for (unsigned i = 0; i < MESSAGES; i++) {
		msgs[i] = msg_new(&owner, MSG_USER, i * 50);
		memset(msgs[i]->json, 'x', i * 50);
		msgs[i]->seq = i & 1 ? i : 0;
	}
	for (size_t i = 0; i + 1 < size; i += 2) {
		unsigned k = data[i + 1] % QUEUES;

		step(data[i], &q[k], &pool, &m[k], msgs[data[i + 1] / QUEUES % MESSAGES]);
		compare(&q[k], &m[k], data[i] % 40);
	}
	check_references(msgs, m);
	for (unsigned k = 0; k < QUEUES; k++)
		clear(&q[k], &pool, &m[k]);
	check_references(msgs, m);
	for (unsigned i = 0; i < MESSAGES; i++)
		msg_unref(msgs[i]);
	assert(owner.bytes == 0 && owner.count == 0);
	outq_pool_deinit(&pool);
	msg_owner_deinit(&owner);
	return 0;
}
