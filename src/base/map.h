/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map: an intrusive chained hash table whose walk has a stable order.
 *
 * The bucket is taken from the TOP bits of a 64-bit keyed hash and each chain is sorted by (hash, key), so a walk
 * yields the nodes in (hash, key) order whatever the size of the table: a page position (the last key) survives growth,
 * shrinking and the removal of that very key. Growth moves a few buckets per operation: meanwhile a key is in the new
 * table if its old bucket has been moved, else in the old one, so it is always in exactly one place.
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

/* 0 or -WSC_ENOMEM. @key_of returns the key of a node; the key is valid as long as the node. */
int map_init(struct map *m, const uint64_t seed[2], struct bytes (*key_of)(const struct map_node *n));
/* Frees the table only; the nodes belong to the caller. */
void map_deinit(struct map *m);
/* SipHash-1-3 of @key under the seed of @m. */
uint64_t map_hash(const struct map *m, struct bytes key);
struct map_node *map_find(const struct map *m, struct bytes key, uint64_t hash);
/* Sets n->hash. The key must not be in the map yet. Never fails: without memory to grow, the table grows later. */
void map_insert(struct map *m, struct map_node *n, uint64_t hash);
/* @n must be in the map. */
void map_remove(struct map *m, struct map_node *n);
/*
 * First node in (hash, key) order, or NULL. It searches through the empty buckets, so to empty a table, continue with
 * map_after() from the key just removed instead of calling map_first() again and again.
 */
struct map_node *map_first(const struct map *m);
/* First node after (hash, key) in that order, whether or not the key is in the map; NULL at the end. */
struct map_node *map_after(const struct map *m, struct bytes key, uint64_t hash);

#endif
