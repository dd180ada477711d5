/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map against a sorted array of all its keys: which keys are present, and in which order, while the table resizes.
 */
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

#include <stdlib.h>

#define KEYS 3000

struct item {
	struct map_node node;
	uint64_t hash;
	uint8_t key[4];
	bool present;
};

struct world {
	struct map map;
	struct rng rng;
	size_t count;
	struct item items[KEYS]; /* in (hash, key) order */
};

static struct item *item_of(const struct map_node *n)
{
	return container_of(n, struct item, node);
}

static struct bytes key_of(const struct map_node *n)
{
	return bytes_of(item_of(n)->key, 4);
}

static int compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return memcmp(x->key, y->key, 4);
}

/* @hashes: how many different ones there are, 0 for as many as keys. */
static struct world *world_new(uint64_t seed, uint32_t hashes)
{
	struct world *w = mem_zalloc(sizeof(*w));
	const uint64_t key[2] = { seed, 1 };

	rng_init_seed(&w->rng, seed);
	CHECK_EQ(map_init(&w->map, key, key_of), 0);
	for (uint32_t i = 0; i < KEYS; i++) {
		struct item *it = &w->items[i];
		uint32_t source = hashes ? i % hashes : i;

		for (int b = 0; b < 4; b++)
			it->key[b] = (uint8_t)(i >> (24 - 8 * b));
		it->hash = map_hash(&w->map, bytes_of(&source, 4));
	}
	qsort(w->items, KEYS, sizeof(w->items[0]), compare);
	return w;
}

static void world_free(struct world *w)
{
	map_deinit(&w->map);
	mem_free(w);
}

static void add(struct world *w, struct item *it)
{
	if (it->present)
		return;
	map_insert(&w->map, &it->node, it->hash);
	it->present = true;
	w->count++;
}

static void drop(struct world *w, struct item *it)
{
	if (!it->present)
		return;
	map_remove(&w->map, &it->node);
	it->present = false;
	w->count--;
}

static struct item *any(struct world *w)
{
	return &w->items[rng_below(&w->rng, KEYS)];
}

/* The first present item from place @i on. */
static struct item *model_from(struct world *w, size_t i)
{
	for (; i < KEYS; i++)
		if (w->items[i].present)
			return &w->items[i];
	return NULL;
}

static struct item *map_next(struct world *w, struct item *it)
{
	struct map_node *n = it ? map_after(&w->map, bytes_of(it->key, 4), it->hash) : map_first(&w->map);

	return n ? item_of(n) : NULL;
}

static bool agrees(struct world *w)
{
	struct item *at = NULL, *want;
	bool ok = CHECK_EQ(w->map.count, w->count);

	do {
		want = model_from(w, at ? (size_t)(at - w->items) + 1 : 0);
		at = map_next(w, at);
		ok = ok && CHECK(at == want);
	} while (ok && at);
	for (size_t i = 0; ok && i < KEYS; i++) {
		struct item *it = &w->items[i];
		struct map_node *n = map_find(&w->map, bytes_of(it->key, 4), it->hash);

		ok = CHECK(n == (it->present ? &it->node : NULL));
	}
	return ok;
}

static void churn(uint64_t seed, uint32_t hashes, int rounds)
{
	struct world *w = world_new(seed, hashes);

	for (int round = 0; round < rounds; round++) {
		/* Now mostly growing, now mostly shrinking. */
		uint64_t adds = round / 40 % 2 ? 1 : 9;

		for (int i = 0; i < 97; i++) {
			if (rng_below(&w->rng, 10) < adds)
				add(w, any(w));
			else
				drop(w, any(w));
		}
		if (!agrees(w))
			break;
	}
	world_free(w);
}

TEST(random_inserts_and_removes_agree_with_a_sorted_model)
{
	churn(1, 0, 400);
	churn(2, 0, 400);
}

/* Shows: threat 75, threat 90 */
TEST(equal_hashes_are_distinguished_and_ordered_by_key)
{
	churn(3, 40, 120);
	churn(4, 1, 40);
}

TEST(an_empty_map_has_no_nodes)
{
	struct world *w = world_new(5, 0);

	CHECK(map_first(&w->map) == NULL);
	CHECK(map_find(&w->map, BYTES("none"), 7) == NULL);
	CHECK(map_after(&w->map, BYTES("none"), 0) == NULL);
	CHECK(map_after(&w->map, BYTES("none"), UINT64_MAX) == NULL);
	world_free(w);
}

TEST(the_ends_of_the_hash_space_are_in_order_too)
{
	struct world *w = world_new(6, 0);
	struct item *low = &w->items[0], *high = &w->items[1];

	low->hash = 0;
	high->hash = UINT64_MAX;
	add(w, high);
	add(w, low);
	CHECK(map_next(w, NULL) == low);
	CHECK(map_next(w, low) == high);
	CHECK(map_next(w, high) == NULL);
	world_free(w);
}

/*
 * A walk of pages, with other keys coming and going between the pages, sees each key that is there all the time just
 * once and in order. @grow: mostly inserts between the pages, else mostly removes.
 */
static void paged_walk(uint64_t seed, bool grow)
{
	struct world *w = world_new(seed, 0);
	struct item *at = NULL;
	size_t seen = 0, stable = 0;
	uint8_t resized = 0;

	/* Every 16th key stays for the whole walk. */
	for (size_t i = 0; i < KEYS; i++)
		if (i % 16 == 0 || !grow)
			add(w, &w->items[i]);
	do {
		struct item *from = at;

		for (int i = 0; i < 3; i++) {
			struct item *next = map_next(w, at);

			if (!next) {
				at = NULL;
				break;
			}
			if (at && !CHECK(next > at))
				return;
			seen += (next - w->items) % 16 == 0;
			at = next;
		}
		for (int i = 0; i < 60; i++) {
			struct item *other = any(w);

			if ((other - w->items) % 16 == 0)
				continue;
			if (rng_below(&w->rng, 10) < (grow ? 9u : 1u))
				add(w, other);
			else
				drop(w, other);
		}
		/* Even the key at the position may be removed. */
		if (at && (at - w->items) % 16)
			drop(w, at);
		resized |= w->map.old != NULL;
		if (from == NULL)
			stable = (KEYS + 15) / 16;
	} while (at);
	CHECK_EQ(seen, stable);
	CHECK(resized);
	world_free(w);
}

TEST(a_paged_walk_survives_growth)
{
	for (uint64_t seed = 10; seed < 30; seed++)
		paged_walk(seed, true);
}

TEST(a_paged_walk_survives_shrinking)
{
	for (uint64_t seed = 30; seed < 50; seed++)
		paged_walk(seed, false);
}

TEST(the_table_follows_the_number_of_nodes)
{
	struct world *w = world_new(7, 0);
	uint8_t least = w->map.bits;

	for (size_t i = 0; i < KEYS; i++)
		add(w, &w->items[i]);
	CHECK(w->map.bits >= 11 && w->map.bits <= 12);
	for (size_t i = 0; i < KEYS; i++)
		drop(w, &w->items[i]);
	CHECK(w->map.bits <= least + 1);
	CHECK(map_first(&w->map) == NULL);
	world_free(w);
}

#ifdef WSC_FAULTS
TEST(without_memory_the_map_keeps_its_table)
{
	struct world *w = world_new(8, 0);
	uint8_t bits = w->map.bits;

	mem_fail_at(1, true);
	for (size_t i = 0; i < 200; i++)
		add(w, any(w));
	CHECK_EQ(w->map.bits, bits);
	agrees(w);
	mem_fail_at(0, false);
	for (size_t i = 0; i < 200; i++)
		add(w, any(w));
	CHECK(w->map.bits > bits);
	agrees(w);
	world_free(w);
}

TEST(map_init_without_memory_reports_it)
{
	const uint64_t seed[2] = { 1, 2 };
	struct map m;

	mem_fail_at(1, false);
	CHECK_EQ(map_init(&m, seed, key_of), -MEM_ENOMEM);
	map_deinit(&m);
}
#endif
