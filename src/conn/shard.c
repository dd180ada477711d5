/* SPDX-License-Identifier: Apache-2.0 */
/* shard: see shard.h. */
#include "conn/shard.h"

#include <pthread.h>
#include "base/map.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "proto/envelope.h"

unsigned shard_of_user(const struct settings *set, struct bytes user_id)
{
	return (unsigned)(siphash13(set->seed, user_id) % set->nshards);
}

struct bytes shard_stamp(struct shard *sh)
{
	if (sh->stamp_ms != sh->now.wall_ms) {
		rfc3339_format(sh->now.wall_ms, sh->stamp);
		sh->stamp_ms = sh->now.wall_ms;
	}
	return bytes_of(sh->stamp, sizeof sh->stamp);
}

void shard_ulid(struct shard *sh, char out[ULID_LEN])
{
	ulid_make(&sh->ulid, &sh->rng, sh->now.wall_ms, out);
}

struct msg *shard_message(struct shard *sh, struct bytes type, struct bytes to, struct bytes content, struct bytes data,
			  struct bytes extra)
{
	char id[ULID_LEN];
	struct envelope_out o = {
		.type = envelope_plain(type),
		.from = envelope_plain(BYTES("system")),
		.to = envelope_plain(to),
		.content = envelope_plain(content),
		.create_at = envelope_plain(shard_stamp(sh)),
		.data = data,
		.extra = extra,
	};
	struct msg *m;

	shard_ulid(sh, id);
	o.id = envelope_plain(bytes_of(id, sizeof id));
	m = msg_new(hub_owner(sh->hub), MSG_SERVER, envelope_size(&o));
	if (m)
		m->len = (uint32_t)envelope_write(&o, m->json);
	return m;
}

void shard_problem(struct shard *sh, enum wsc_severity severity, const char *source, const char *text)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;

	LOG_WRITE(&sh->set->log, severity == WSC_ERROR ? LOG_ERROR : LOG_WARN, text, KV_STR("source", source));
	if (hooks->on_error)
		hooks->on_error(hooks->user,
				&(struct wsc_problem){ .severity = severity, .source = source, .text = text });
}

void shard_problem_errno(struct shard *sh, const char *source, int error)
{
	const char *text = strerrordesc_np(error);

	shard_problem(sh, WSC_ERROR, source, text ? text : "unknown error of the system");
}

void shard_problem_seldom(struct shard *sh, uint64_t *last_ms, const char *source, int error)
{
	uint64_t now = now_ms(sh->now);

	if (*last_ms && now - *last_ms < 10000)
		return;
	*last_ms = now;
	shard_problem_errno(sh, source, error);
}

/* ---- streams that lost their place ------------------------------------------------------------------------------- */

void evicted_note(struct shard *sh, uint64_t caller)
{
	sh->evicted[sh->evicted_next++ % EVICTED_MAX] = (struct evicted){ caller, now_ms(sh->now) + EVICTED_MS };
}

bool evicted_recently(struct shard *sh, uint64_t caller)
{
	for (unsigned i = 0; i < EVICTED_MAX; i++)
		if (sh->evicted[i].caller == caller && sh->evicted[i].until_ms > now_ms(sh->now)) {
			sh->evicted[i].until_ms = 0; /* once: whoever tries a second time means it */
			return true;
		}
	return false;
}

/* ---- close reasons that last ---------------------------------------------------------------------------------------- */

#define REASONS_MAX 256

struct reasons {
	pthread_mutex_t lock;
	unsigned n;
	char *at[REASONS_MAX];
};

struct reasons *reasons_new(void)
{
	struct reasons *r = mem_zalloc(sizeof *r);

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

void reasons_free(struct reasons *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->n; i++)
		mem_free(r->at[i]);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}

const char *reason_keep(struct settings *set, const char *reason)
{
	struct reasons *r = set->reasons;
	const char *kept = NULL;

	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < r->n && !kept; i++)
		if (strcmp(r->at[i], reason) == 0)
			kept = r->at[i];
	if (!kept && r->n < REASONS_MAX && (r->at[r->n] = mem_strndup(reason, strlen(reason))))
		kept = r->at[r->n++];
	pthread_mutex_unlock(&r->lock);
	return kept ? kept : "kicked";
}

/* ---- new connections per address --------------------------------------------------------------------------------------- */

/*
 * The one table that all shards share, behind a lock: only with security.connect_rate set, once per new connection.
 * Bounded: when it is full, those that have paid back all are forgotten, and if there are none, the newcomer passes.
 */
#define CONNECT_MAX 65536u

struct caller {
	struct map_node node;
	struct ip ip;
	struct rate_bucket bucket;
};

struct connect_table {
	pthread_mutex_t lock;
	struct rate_limit limit;
	struct map map;
	uint64_t swept_ms; /* when those that have paid back were last looked for */
};

static struct bytes caller_key(const struct map_node *n)
{
	const struct caller *c = container_of(n, const struct caller, node);

	return bytes_of(c->ip.at, c->ip.len);
}

struct connect_table *connect_table_new(uint64_t per_second, const uint64_t seed[2])
{
	struct connect_table *t = mem_zalloc(sizeof *t);

	if (t && map_init(&t->map, seed, caller_key) < 0) {
		mem_free(t);
		return NULL;
	}
	if (t) {
		pthread_mutex_init(&t->lock, NULL);
		t->limit = (struct rate_limit){ .per_second = (uint32_t)per_second, .burst = (uint32_t)per_second };
	}
	return t;
}

static void forget(struct connect_table *t, bool all, uint64_t ms)
{
	struct map_node *n = map_first(&t->map), *next;

	for (; n; n = next) {
		struct caller *c = container_of(n, struct caller, node);

		next = map_after(&t->map, caller_key(n), n->hash);
		if (!all && (uint32_t)ms - c->bucket.stamp_ms < 2000)
			continue;
		map_remove(&t->map, n);
		mem_free(c);
	}
}

void connect_table_free(struct connect_table *t)
{
	if (!t)
		return;
	forget(t, true, 0);
	map_deinit(&t->map);
	pthread_mutex_destroy(&t->lock);
	mem_free(t);
}

static struct caller *caller_of(struct connect_table *t, const struct ip *ip, uint64_t ms)
{
	struct bytes key = bytes_of(ip->at, ip->len);
	uint64_t hash = map_hash(&t->map, key);
	struct map_node *n = map_find(&t->map, key, hash);
	struct caller *c;

	if (n)
		return container_of(n, struct caller, node);
	/* Not for each newcomer: a table full of those who have just come would be walked again and again. */
	if (t->map.count >= CONNECT_MAX && ms - t->swept_ms >= 1000) {
		t->swept_ms = ms;
		forget(t, false, ms);
	}
	c = t->map.count < CONNECT_MAX ? mem_zalloc(sizeof *c) : NULL;
	if (c) {
		c->ip = *ip;
		map_insert(&t->map, &c->node, hash);
	}
	return c;
}

bool connect_allowed(struct shard *sh, const struct ip *ip, unsigned *retry_s)
{
	struct connect_table *t = sh->set->connects;
	struct caller *c;
	uint32_t retry_ms = 0;
	bool ok = true;

	*retry_s = 1;
	if (!t || ip->len == 0)
		return true;
	pthread_mutex_lock(&t->lock);
	c = caller_of(t, ip, now_ms(sh->now));
	if (c)
		ok = rate_take(&c->bucket, &t->limit, now_ms(sh->now), &retry_ms) == RATE_OK;
	pthread_mutex_unlock(&t->lock);
	*retry_s = retry_ms / 1000 + 1;
	return ok;
}
