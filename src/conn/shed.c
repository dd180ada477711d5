/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shed: what the memory steps of limits.memory (shard/pressure.h) mean for the connections of one shard: smaller queues,
 * and at the limit the end of slow readers, then of connections that do not finish their messages.
 */
#include "conn/conn.h"

#define HOLDS_MUCH 16384u /* an unfinished message that is worth a close */

static size_t unfinished(const struct conn *c)
{
	return c->kind == CONN_WS && c->phase == PHASE_OPEN && c->at.extra ? c->at.extra->message.cap : 0;
}

/* No slow reader is left to close, so close the connections with the largest unfinished messages. */
static void close_unfinished(struct shard *sh, uint64_t bytes)
{
	size_t most = 0, held;
	uint32_t pos = 0;
	struct conn *c;

	while ((c = conn_next(sh, &pos)))
		if (unfinished(c) > most)
			most = unfinished(c);
	pos = 0;
	while (bytes && most >= HOLDS_MUCH && (c = conn_next(sh, &pos))) {
		held = unfinished(c);
		if (held < most / 2)
			continue;
		conn_close(c, END_UNFINISHED, true);
		buf_deinit(&c->at.extra->message);
		bytes -= held < bytes ? held : bytes;
	}
}

void conn_shed(struct shard *sh)
{
	struct pressure *p = &sh->set->pressure;
	unsigned step = atomic_load_explicit(&p->shared.step, memory_order_relaxed);
	uint32_t round = atomic_load_explicit(&p->shared.round, memory_order_relaxed);
	uint64_t share;

	if (!p->limit_bytes || (step == sh->pressure_step && round == sh->pressure_round))
		return;
	hub_squeeze(sh->hub, step >= PRESSURE_SMALL_QUEUES);
	/* The ceiling of the limit stays until there is some room, because the limit would be met again at once. */
	if (step < PRESSURE_NO_NEWCOMERS) {
		hub_shed(sh->hub, 0);
	} else if (round != sh->pressure_round) {
		share = counter_get(&p->shared.excess_bytes) / sh->set->nshards + 1;
		if (!hub_shed(sh->hub, share))
			close_unfinished(sh, share);
	}
	sh->pressure_step = step;
	sh->pressure_round = round;
}
