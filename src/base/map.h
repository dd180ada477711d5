/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map: an intrusive chained hash table whose walk has a stable order.
 *
 * The bucket is taken from the TOP bits of a 64-bit keyed hash and each chain is sorted by (hash, key), so a walk
 * yields the nodes in (hash, key) order whatever the size of the table: a page position (the last key) survives growth,
 * shrinking and the removal of that very key. Growth moves a few buckets per operation: while it is under way a key
 * lives in the new table if its old bucket has been moved, else in the old one, so it is always in just one place.
 */
#ifndef WSC_BASE_MAP_H
#define WSC_BASE_MAP_H

#include "base/bytes.h"

struct map_node {
	struct map_node *next;
	uint64_t hash;
};

struct map {
	struct map_node **slots; /* 1 << bits of them */
	struct map_node **old;   /* while resizing: the former table, 1 << old_bits of them */
	struct bytes (*key_of)(const struct map_node *n);
	size_t count;
	size_t moved; /* buckets of @old that have been moved */
	uint8_t bits, old_bits;
	uint64_t seed[2]; /* SipHash key, random per process */
};

/* 0 or -WSC_ENOMEM. @key_of yields the key of a node, alive as long as the node. */
int map_init(struct map *m, const uint64_t seed[2], struct bytes (*key_of)(const struct map_node *n));
/* The nodes are the caller's; only the table goes. */
void map_deinit(struct map *m);
/* SipHash-1-3 of @key under the seed of @m. */
uint64_t map_hash(const struct map *m, struct bytes key);
struct map_node *map_find(const struct map *m, struct bytes key, uint64_t hash);
/* Sets n->hash. The key must not be there yet. Never fails: a growth that finds no memory is put off. */
void map_insert(struct map *m, struct map_node *n, uint64_t hash);
/* @n must be there. */
void map_remove(struct map *m, struct map_node *n);
/*
 * First node in (hash, key) order, or NULL. Passes over empty buckets: to empty a table, go on with map_after() from
 * the key just removed rather than ask for the first again and again.
 */
struct map_node *map_first(const struct map *m);
/* First node behind (hash, key) in that order, whether or not the key is there; NULL at the end. */
struct map_node *map_after(const struct map *m, struct bytes key, uint64_t hash);

#endif
