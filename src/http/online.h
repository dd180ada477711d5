/* SPDX-License-Identifier: Apache-2.0 */
/*
 * online: questions whose answer needs every shard. Statistics are read from single-writer counters; the online list
 * goes from shard to shard as one task, a bounded slice of users per turn, and comes back with its page.
 */
#ifndef WSC_HTTP_ONLINE_H
#define WSC_HTTP_ONLINE_H

#include "api/answer.h"
#include "shard/shard.h"

/* Adds up the counters of all shards. Any thread. */
void stats_totals(const struct settings *set, struct now now, struct metrics_totals *out);
/* Appends the answer of GET stats. */
void stats_json(struct shard *sh, struct buf *body, bool older);
/* How many connections has @user_id? @answer is called on its shard. 0 or -WSC_ENOMEM, -WSC_EAGAIN. Any thread. */
int online_ask(struct settings *set, const char *user_id, wsc_online_fn *answer, void *user);

#endif
