/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outq: a queue has one of two layouts. Inline: up to two references in the struct itself. Chunked: all of them in a
 * chain of chunks, none of which is empty; it stays chunked until it is empty, so that a queue of about two messages
 * does not change its layout at each step. Every reference is counted in count and bytes, and only the first message
 * can have begun.
 */
#include "hub/outq.h"

#include <assert.h>

#include "base/mem.h"
#include "wsc/error.h"

#define SPARES_MAX 256u

static struct outq_chunk *chunk_new(struct outq_pool *p)
{
	struct outq_chunk *c = p->spare;

	if (c) {
		p->spare = c->next;
		p->spares--;
	} else {
		c = mem_alloc(sizeof(*c));
	}
	if (c) {
		c->next = NULL;
		c->first = c->end = 0;
	}
	return c;
}

static void chunk_free(struct outq_pool *p, struct outq_chunk *c)
{
	if (p->spares == SPARES_MAX) {
		mem_free(c);
		return;
	}
	c->next = p->spare;
	p->spare = c;
	p->spares++;
}

void outq_pool_deinit(struct outq_pool *p)
{
	while (p->spare) {
		struct outq_chunk *c = p->spare;

		p->spare = c->next;
		mem_free(c);
	}
	p->spares = 0;
}

void outq_init(struct outq *q)
{
	*q = (struct outq){ 0 };
}

static void add(struct outq *q, struct msg *m)
{
	q->count++;
	q->bytes += msg_charge(m);
	msg_ref(m);
}

static void drop(struct outq *q, struct msg *m)
{
	assert(m); /* count was not 0 */
	q->count--;
	q->bytes -= msg_charge(m);
	msg_unref(m);
}

static void to_inline_if_empty(struct outq *q)
{
	if (q->count)
		return;
	assert(!q->chunked || !q->head);
	q->inl[0] = q->inl[1] = NULL;
	q->chunked = false;
}

/* Inline to chunked; @c is empty. */
static void to_chunks(struct outq *q, struct outq_chunk *c)
{
	for (uint32_t i = 0; i < q->count; i++)
		c->ref[c->end++] = q->inl[i];
	q->head = q->tail = c;
	q->chunked = true;
}

int outq_push(struct outq *q, struct outq_pool *p, struct msg *m)
{
	struct outq_chunk *c;

	if (!q->chunked && q->count < OUTQ_INLINE) {
		q->inl[q->count] = m;
		add(q, m);
		return 0;
	}
	if (!q->chunked || q->tail->end == OUTQ_CHUNK_REFS) {
		c = chunk_new(p);
		if (!c)
			return -WSC_ENOMEM;
		if (!q->chunked)
			to_chunks(q, c);
		else
			q->tail = q->tail->next = c;
	}
	q->tail->ref[q->tail->end++] = m;
	add(q, m);
	return 0;
}

static int push_front_chunked(struct outq *q, struct outq_pool *p, struct msg *m)
{
	if (q->head->first == 0) {
		struct outq_chunk *c = chunk_new(p);

		if (!c)
			return -WSC_ENOMEM;
		c->first = c->end = OUTQ_CHUNK_REFS;
		c->next = q->head;
		q->head = c;
	}
	q->head->ref[--q->head->first] = m;
	add(q, m);
	return 0;
}

int outq_push_front(struct outq *q, struct outq_pool *p, struct msg *m)
{
	assert(q->offset == 0);
	if (!q->chunked && q->count == OUTQ_INLINE) {
		struct outq_chunk *c = chunk_new(p);

		if (!c)
			return -WSC_ENOMEM;
		to_chunks(q, c);
	}
	if (q->chunked)
		return push_front_chunked(q, p, m);
	q->inl[1] = q->inl[0];
	q->inl[0] = m;
	add(q, m);
	return 0;
}

unsigned outq_peek(const struct outq *q, struct msg **out, unsigned max)
{
	unsigned n = 0;

	if (!q->chunked) {
		for (; n < max && n < q->count; n++)
			out[n] = q->inl[n];
		return n;
	}
	for (const struct outq_chunk *c = q->head; c && n < max; c = c->next)
		for (unsigned i = c->first; i < c->end && n < max; i++)
			out[n++] = c->ref[i];
	return n;
}

/* Takes the chunk after @prev (NULL: the first) off the chain. */
static void unlink_chunk(struct outq *q, struct outq_pool *p, struct outq_chunk *prev)
{
	struct outq_chunk *c = prev ? prev->next : q->head;

	if (prev)
		prev->next = c->next;
	else
		q->head = c->next;
	if (q->tail == c)
		q->tail = prev;
	chunk_free(p, c);
}

static struct msg *take_first(struct outq *q, struct outq_pool *p)
{
	struct msg *m;

	if (!q->chunked) {
		m = q->inl[0];
		q->inl[0] = q->inl[1];
		q->inl[1] = NULL;
		return m;
	}
	m = q->head->ref[q->head->first++];
	if (q->head->first == q->head->end)
		unlink_chunk(q, p, NULL);
	return m;
}

void outq_pop(struct outq *q, struct outq_pool *p)
{
	assert(q->count > 0);
	q->offset = 0;
	drop(q, take_first(q, p));
	to_inline_if_empty(q);
}

static struct msg *take_second(struct outq *q, struct outq_pool *p)
{
	struct outq_chunk *c = q->head;
	struct msg *m;

	if (!q->chunked) {
		m = q->inl[1];
		q->inl[1] = NULL;
		return m;
	}
	if (c->first + 1 < c->end) {
		/* Move the first reference into the place of the second. */
		m = c->ref[c->first + 1];
		c->ref[c->first + 1] = c->ref[c->first];
		c->first++;
		return m;
	}
	m = c->next->ref[c->next->first++];
	if (c->next->first == c->next->end)
		unlink_chunk(q, p, c);
	return m;
}

bool outq_drop_oldest(struct outq *q, struct outq_pool *p)
{
	if (q->count <= (q->offset ? 1u : 0u))
		return false;
	drop(q, q->offset ? take_second(q, p) : take_first(q, p));
	to_inline_if_empty(q);
	return true;
}

uint32_t outq_drop_unbegun(struct outq *q, struct outq_pool *p)
{
	uint32_t n = 0;

	while (outq_drop_oldest(q, p))
		n++;
	return n;
}

void outq_clear(struct outq *q, struct outq_pool *p)
{
	q->offset = 0;
	outq_drop_unbegun(q, p);
}

static void drop_logged_inline(struct outq *q)
{
	uint32_t n = q->count, kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct msg *m = q->inl[i];

		q->inl[i] = NULL;
		if (m->seq)
			drop(q, m);
		else
			q->inl[kept++] = m;
	}
}

static void drop_logged_in_chunk(struct outq *q, struct outq_chunk *c)
{
	uint16_t kept = c->first;

	for (uint16_t i = c->first; i < c->end; i++) {
		struct msg *m = c->ref[i];

		if (m->seq)
			drop(q, m);
		else
			c->ref[kept++] = m;
	}
	c->end = kept;
}

void outq_drop_logged(struct outq *q, struct outq_pool *p)
{
	struct outq_chunk *c, *next, *prev = NULL;

	assert(q->offset == 0);
	if (!q->chunked) {
		drop_logged_inline(q);
		return;
	}
	for (c = q->head; c; c = next) {
		next = c->next;
		drop_logged_in_chunk(q, c);
		if (c->first == c->end)
			unlink_chunk(q, p, prev);
		else
			prev = c;
	}
	to_inline_if_empty(q);
}
