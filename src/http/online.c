/* SPDX-License-Identifier: Apache-2.0 */
/* online: see online.h. */
#include "http/online.h"

#include "base/mem.h"
#include "http/answer.h"
#include "http/http.h"
#include "http/serve.h"
#include "proto/query.h"
#include "wsc/error.h"

#define ROWS_PER_TURN 256u /* of the online list */
#define LIMIT_DEFAULT 1000u
#define LIMIT_MAX 10000u
#define ASKED_MAX 512u

/* ---- statistics --------------------------------------------------------------------------------------------------- */

void stats_totals(const struct settings *set, struct now now, struct metrics_totals *out)
{
	*out = (struct metrics_totals){
		.build = bytes_str(set->version),
		.node = bytes_str(set->node_id),
		.start_time = set->started_wall_ms,
		.uptime = (now_ms(now) - set->started_mono_ms) / 1000,
		.workers = set->nshards,
		.sockets = counter_get(&set->shared.connections),
		.sockets_limit = set->max_connections,
		.memory_limit = set->pressure.limit_bytes,
		.memory_used = counter_get(&set->pressure.shared.used_bytes),
		.memory_step = atomic_load_explicit(&set->pressure.shared.step, memory_order_relaxed),
	};
	for (unsigned i = 0; i < set->nshards; i++) {
		const struct shard *sh = set->shards[i];

		metrics_add(out, &sh->metrics, hub_counters(sh->hub));
		out->received_bytes += counter_get(&sh->loop.received_bytes);
		out->sent_bytes += counter_get(&sh->loop.sent_bytes);
		out->tls_handshakes[METRIC_RESULT_OK] += counter_get(&sh->loop.tls_ok);
		out->tls_handshakes[METRIC_RESULT_FAILED] += counter_get(&sh->loop.tls_failed);
		out->queue_bytes += counter_get(&sh->shared.message_bytes);
	}
}

void stats_json(struct shard *sh, struct buf *body, bool older)
{
	struct metrics_totals t;

	stats_totals(sh->set, sh->now, &t);
	answer_stats(body, &t, sh->now.wall_ms, older);
}

static uint64_t users_online(const struct settings *set)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < set->nshards; i++)
		n += counter_get(&hub_counters(set->shards[i]->hub)->users);
	return n;
}

/* ---- the online list ----------------------------------------------------------------------------------------------------- */

struct online {
	struct task task;
	unsigned home; /* the shard that asks */
	slab_handle conn;
	bool older;
	uint32_t limit, rows;
	bool more;        /* there are users behind the page */
	struct buf page;  /* rows as JSON */
	struct buf after; /* the cursor: the last user of the page */
	bool has_after;
	struct buf asked; /* user ids that the client asks for, each behind its length byte */
	uint32_t nasked;
	struct buf row[]; /* one per asked id */
};

static void online_free(struct online *o)
{
	for (uint32_t i = 0; i < o->nasked; i++)
		buf_deinit(&o->row[i]);
	buf_deinit(&o->page);
	buf_deinit(&o->after);
	buf_deinit(&o->asked);
	mem_free(o);
}

/* Back home: the answer. */
static void online_done(struct shard *sh, struct task *t)
{
	struct online *o = container_of(t, struct online, task);
	struct conn *c = conn_get(sh, o->conn);
	struct buf body = BUF_INIT;

	for (uint32_t i = 0; i < o->nasked; i++) {
		if (i)
			buf_add_u8(&o->page, ',');
		buf_add(&o->page, buf_bytes(&o->row[i]));
	}
	if (c && http_waiting(c)) {
		answer_online(&body, buf_bytes(&o->page), users_online(sh->set),
			      o->more ? buf_bytes(&o->after) : BYTES(""), o->older);
		body.failed |= o->page.failed;
		http_answer_json(c, &body);
		http_run(c);
	}
	online_free(o);
}

static void online_step(struct shard *sh, struct task *t);

static void online_go(struct shard *sh, struct online *o, unsigned to)
{
	o->task.run = to == sh->set->nshards ? online_done : online_step;
	sh->post(sh, to == sh->set->nshards ? o->home : to, &o->task);
}

static struct bytes type_name(struct shard *sh, const struct hub_user_row *row)
{
	const struct texts *types = &sh->set->opt.user_types;

	return row->user_type < types->n ? bytes_str(types->at[row->user_type]) : BYTES("customer");
}

/* Answers for the asked ids whose users live here. */
static void answer_asked(struct shard *sh, struct online *o)
{
	const uint8_t *at = o->asked.at;

	for (uint32_t i = 0; i < o->nasked; at += at[0] + 1, i++) {
		struct hub_user_row row = { .user_id = bytes_of(at + 1, at[0]) };
		struct user *u;

		if (shard_of_user(sh->set, row.user_id) != sh->index)
			continue;
		u = hub_find(sh->hub, row.user_id);
		if (u)
			hub_row(u, &row);
		answer_user(&o->row[i], &row, type_name(sh, &row), sh->now);
	}
}

/* A slice of the page. True: this shard has no more, or the page is full. */
static bool page_slice(struct shard *sh, struct online *o)
{
	struct hub_user_row row;
	struct bytes after = buf_bytes(&o->after);

	for (uint32_t n = 0; n < ROWS_PER_TURN; n++) {
		if (!hub_next_user(sh->hub, o->has_after ? &after : NULL, &row))
			return true;
		if (o->rows == o->limit) {
			o->more = true;
			return true;
		}
		answer_user(&o->page, &row, type_name(sh, &row), sh->now);
		o->rows++;
		buf_clear(&o->after);
		buf_add(&o->after, row.user_id);
		after = buf_bytes(&o->after);
		o->has_after = true;
	}
	return false;
}

static void online_step(struct shard *sh, struct task *t)
{
	struct online *o = container_of(t, struct online, task);
	bool done = true;

	if (o->nasked)
		answer_asked(sh, o);
	else
		done = page_slice(sh, o);
	if (!done) {
		online_go(sh, o, sh->index);
		return;
	}
	if (o->more || o->page.failed) {
		online_go(sh, o, sh->set->nshards);
		return;
	}
	/* The next shard begins at its first user: the cursor only names a place within one. */
	o->has_after = false;
	online_go(sh, o, sh->index + 1);
}

static bool parse_limit(struct bytes v, uint32_t *out)
{
	uint32_t n = 0;

	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] < '0' || v.at[i] > '9' || n > LIMIT_MAX)
			return false;
		n = n * 10 + (uint32_t)(v.at[i] - '0');
	}
	*out = n;
	return v.len > 0 && n >= 1 && n <= LIMIT_MAX;
}

/* END_NONE: it is valid. */
static enum end parse_query(struct online *o, struct bytes query, uint8_t *scratch)
{
	struct query_iter it;
	struct bytes key, value;
	int r;

	query_begin(&it, query, scratch);
	while ((r = query_next(&it, &key, &value)) == 0) {
		if (bytes_eq(key, BYTES("limit"))) {
			if (!parse_limit(value, &o->limit))
				return END_BAD_LIMIT;
		} else if (bytes_eq(key, BYTES("after"))) {
			if (!envelope_id_ok(value))
				return END_BAD_AFTER;
			buf_clear(&o->after);
			buf_add(&o->after, value);
			o->has_after = true;
		} else if (bytes_eq(key, BYTES("user_id"))) {
			if (!envelope_id_ok(value))
				return END_BAD_USER_ID;
			if (o->nasked == ASKED_MAX)
				return END_TOO_MANY_USERS;
			buf_add_u8(&o->asked, (uint8_t)value.len);
			buf_add(&o->asked, value);
			o->nasked++;
		}
	}
	return r == QUERY_BAD ? END_BAD_QUERY : END_NONE;
}

static struct online *online_new(struct conn *c, bool older, enum end *fault)
{
	struct bytes query = http_of(c)->head.query;
	struct online *o = mem_zalloc(sizeof *o + ASKED_MAX * sizeof(struct buf));
	uint8_t *scratch = mem_alloc(query.len + 1);

	*fault = END_NO_MEMORY;
	if (o && scratch) {
		o->home = conn_shard(c)->index;
		o->conn = conn_handle(c);
		o->older = older;
		o->limit = LIMIT_DEFAULT;
		*fault = parse_query(o, query, scratch);
	}
	mem_free(scratch);
	if (*fault == END_NONE && !o->after.failed && !o->asked.failed)
		return o;
	if (*fault == END_NONE)
		*fault = END_NO_MEMORY;
	if (o) {
		o->nasked = 0; /* no row was begun */
		online_free(o);
	}
	return NULL;
}

static void ask(struct conn *c, bool older)
{
	enum end fault;
	struct online *o = online_new(c, older, &fault);
	struct shard *sh = conn_shard(c);

	if (!o) {
		http_refuse(c, fault);
		return;
	}
	http_wait(c);
	online_go(sh, o, o->has_after && !o->nasked ? shard_of_user(sh->set, buf_bytes(&o->after)) : 0);
}

void serve_online(struct conn *c)
{
	ask(c, false);
}

void serve_old_online(struct conn *c)
{
	ask(c, true);
}

/* ---- one user -------------------------------------------------------------------------------------------------------------- */

struct is_online {
	struct task task;
	wsc_online_fn *answer;
	void *user;
	char id[];
};

static void is_online_run(struct shard *sh, struct task *t)
{
	struct is_online *q = container_of(t, struct is_online, task);
	struct user *u = hub_find(sh->hub, bytes_str(q->id));
	struct hub_user_row row = { 0 };

	if (u)
		hub_row(u, &row);
	q->answer(q->user, q->id, row.connections);
	mem_free(q);
}

int online_ask(struct settings *set, const char *user_id, wsc_online_fn *answer, void *user)
{
	size_t len = strlen(user_id);
	struct is_online *q = mem_zalloc(sizeof *q + len + 1);
	int r;

	if (!q)
		return -WSC_ENOMEM;
	q->task.run = is_online_run;
	q->answer = answer;
	q->user = user;
	memcpy(q->id, user_id, len + 1);
	r = set->post_foreign(set, shard_of_user(set, bytes_of(user_id, len)), &q->task, false);
	if (r < 0)
		mem_free(q);
	return r;
}
