/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask: questions whose answer needs every shard. Statistics are read from single-writer counters; the online list
 * goes from shard to shard as one task, a bounded slice of users per turn, and comes back with its page.
 */
#ifndef WSC_CONN_ASK_H
#define WSC_CONN_ASK_H

#include "api/answer.h"
#include "conn/conn.h"

/* Adds up the counters of all shards. Any thread. */
void ask_totals(const struct settings *set, struct answer_stats *out);
void ask_stats(struct shard *sh, struct buf *body, bool older);
/*
 * Answers GET online for connection @h of @sh with http_online(), in a later turn. @query: user_id=...&user_id=..., limit=, after=.
 * 0; -WSC_EINVAL with @fault; -WSC_ENOMEM.
 */
int ask_online(struct shard *sh, slab_handle h, struct bytes query, bool older, const char **fault);

/* conn_http.c: the page is ready; takes @body. */
void http_online(struct conn *c, struct buf *body);

/* How many connections has @user_id? @answer is called on its shard. 0 or -WSC_ENOMEM, -WSC_EAGAIN. Any thread. */
int ask_is_online(struct settings *set, const char *user_id, wsc_online_fn *answer, void *user);

#endif
