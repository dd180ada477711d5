/* SPDX-License-Identifier: Apache-2.0 */
/* hub/outq: a queue against a plain array that does the same. */
#include "hub/outq.h"

#include "base/rng.h"
#include "test.h"

#define MODEL_MAX 400

struct model {
	struct outq q;
	struct outq_pool pool;
	struct msg_owner owner;
	uint32_t want[MODEL_MAX]; /* number of each message that waits */
	unsigned count;
	uint32_t next;
};

static void model_deinit(struct model *m)
{
	outq_clear(&m->q, &m->pool);
	CHECK(!m->q.chunked && m->q.count == 0 && m->q.bytes == 0);
	outq_pool_deinit(&m->pool);
	CHECK_EQ(m->owner.bytes, 0);
	msg_owner_deinit(&m->owner);
}

static void model_push(struct model *m, bool front, bool logged)
{
	struct msg *msg = msg_new(&m->owner, MSG_USER, 4);
	uint32_t number = ++m->next;
	int err;

	if (!msg)
		return;
	memcpy(msg->json, &number, 4);
	msg->seq = logged ? number : 0;
	err = front ? outq_push_front(&m->q, &m->pool, msg) : outq_push(&m->q, &m->pool, msg);
	CHECK_EQ(err, 0);
	msg_unref(msg);
	if (front)
		memmove(m->want + 1, m->want, m->count * sizeof(m->want[0]));
	m->want[front ? 0 : m->count] = number | (logged ? 0x80000000u : 0);
	m->count++;
}

static void model_remove(struct model *m, unsigned at)
{
	m->count--;
	memmove(m->want + at, m->want + at + 1, (m->count - at) * sizeof(m->want[0]));
}

static bool model_same(const struct model *m)
{
	struct msg *all[MODEL_MAX];
	unsigned n = outq_peek(&m->q, all, MODEL_MAX);

	if (!CHECK_EQ(n, m->count) || !CHECK_EQ(m->q.count, m->count) || !CHECK_EQ(m->q.bytes, m->count * 20))
		return false;
	for (unsigned i = 0; i < n; i++) {
		uint32_t number;

		memcpy(&number, all[i]->json, 4);
		if (!CHECK_EQ(number, m->want[i] & 0x7fffffff))
			return false;
	}
	return true;
}

static void model_drop_logged(struct model *m)
{
	m->q.offset = 0;
	outq_drop_logged(&m->q, &m->pool);
	for (unsigned i = m->count; i-- > 0;)
		if (m->want[i] & 0x80000000u)
			model_remove(m, i);
}

static void model_step(struct model *m, struct rng *r)
{
	unsigned dice = (unsigned)rng_below(r, 100);

	if (dice < 50 && m->count < MODEL_MAX - 1)
		for (uint64_t n = rng_below(r, 40) * rng_below(r, 2) + 1; n-- && m->count < MODEL_MAX - 1;)
			model_push(m, false, rng_below(r, 2));
	else if (dice < 58 && m->count < MODEL_MAX - 1 && m->q.offset == 0)
		model_push(m, true, rng_below(r, 2));
	else if (dice < 75 && m->count) {
		for (uint64_t n = rng_below(r, m->count) + 1; n--;) {
			outq_pop(&m->q, &m->pool);
			model_remove(m, 0);
		}
	} else if (dice < 85 && m->count)
		m->q.offset = 1;
	else if (dice < 94) {
		unsigned at = m->q.offset ? 1 : 0;

		CHECK_EQ(outq_drop_oldest(&m->q, &m->pool), m->count > at);
		if (m->count > at)
			model_remove(m, at);
	} else if (dice < 97) {
		model_drop_logged(m);
	} else if (dice == 99) {
		unsigned keep = m->q.offset ? 1 : 0;

		CHECK_EQ(outq_drop_unbegun(&m->q, &m->pool), m->count - keep);
		m->count = keep;
	}
}

TEST(a_queue_behaves_like_an_array)
{
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct model m = { 0 };
		struct rng r;

		rng_init_seed(&r, seed);
		for (int i = 0; i < 200; i++) {
			model_step(&m, &r);
			if (!model_same(&m))
				break;
		}
		model_deinit(&m);
	}
}

TEST(two_fit_inline_and_an_empty_queue_holds_no_chunk)
{
	struct model m = { 0 };

	model_push(&m, false, false);
	model_push(&m, false, false);
	CHECK(!m.q.chunked);
	model_push(&m, false, false);
	CHECK(m.q.chunked);
	for (int i = 0; i < 3; i++)
		outq_pop(&m.q, &m.pool);
	CHECK(!m.q.chunked);
	CHECK_EQ(m.pool.spares, 1);
	model_deinit(&m);
}

TEST(the_message_partly_on_the_wire_is_never_dropped)
{
	struct model m = { 0 };

	for (int i = 0; i < 5; i++)
		model_push(&m, false, false);
	m.q.offset = 3;
	CHECK_EQ(outq_drop_unbegun(&m.q, &m.pool), 4);
	CHECK(!outq_drop_oldest(&m.q, &m.pool));
	m.count = 1;
	model_same(&m);
	CHECK_EQ(m.q.offset, 3);
	model_deinit(&m);
}
