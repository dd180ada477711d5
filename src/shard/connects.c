/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connects: new connections per client address (security.connect_rate). The table is shared by all shards behind a lock;
 * it exists only when the limit is set, and is asked once per new connection. Its size is bounded: a full table forgets
 * the addresses whose buckets are full again, and if there are none, the new connection passes.
 */
#include "shard/shard.h"

#include <pthread.h>
#include "base/map.h"
#include "base/mem.h"

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
	uint64_t swept_ms; /* when full buckets were last looked for */
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
	/* Once a second at most, because a table full of fresh entries would be walked for each new connection. */
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
