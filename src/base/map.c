/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map: buckets are slices of the hash space in rising order, and a resize moves them in that order. So @old below
 * @moved is empty and the moved nodes have smaller hashes than the nodes still in @old. A walk goes through the new
 * table up to the first bucket that has not been moved and then on through the old table. Knows nodes and their keys,
 * never values.
 */
#include "base/map.h"

#include "base/mem.h"
#include "base/siphash.h"

#define MIN_BITS 4
#define MAX_BITS 40

/*
 * Buckets moved per insert or remove. A table of N buckets grows at N nodes, and growing ends long before N more nodes
 * are inserted. It shrinks at N / 8 nodes, and shrinking ends when half of those are removed, which is the earliest
 * moment at which the table of half the size would shrink again.
 */
#define GROW_STEP 4
#define SHRINK_STEP 16

_Static_assert(SHRINK_STEP % 2 == 0, "two old buckets become a new one, and no bucket is ever moved by half");

int map_init(struct map *m, const uint64_t seed[2], struct bytes (*key_of)(const struct map_node *n))
{
	*m = (struct map){ .key_of = key_of, .bits = MIN_BITS, .seed = { seed[0], seed[1] } };
	m->slots = mem_calloc((size_t)1 << MIN_BITS, sizeof(struct map_node *));
	return m->slots ? 0 : -MEM_ENOMEM;
}

void map_deinit(struct map *m)
{
	mem_free(m->slots);
	mem_free(m->old);
	*m = (struct map){ 0 };
}

uint64_t map_hash(const struct map *m, struct bytes key)
{
	return siphash13(m->seed, key);
}

static size_t bucket_of(uint64_t hash, uint8_t bits)
{
	return (size_t)(hash >> (64 - bits));
}

static struct map_node **chain_of(const struct map *m, uint64_t hash)
{
	if (m->old) {
		size_t i = bucket_of(hash, m->old_bits);

		if (i >= m->moved)
			return &m->old[i];
	}
	return &m->slots[bucket_of(hash, m->bits)];
}

/* Does @n sort before (hash, key)? */
static bool before(const struct map *m, const struct map_node *n, uint64_t hash, struct bytes key)
{
	return n->hash < hash || (n->hash == hash && bytes_cmp(m->key_of(n), key) < 0);
}

static struct map_node **lower_bound(const struct map *m, struct bytes key, uint64_t hash)
{
	struct map_node **at = chain_of(m, hash);

	while (*at && before(m, *at, hash, key))
		at = &(*at)->next;
	return at;
}

static bool is_key(const struct map *m, const struct map_node *n, uint64_t hash, struct bytes key)
{
	return n && n->hash == hash && bytes_eq(m->key_of(n), key);
}

struct map_node *map_find(const struct map *m, struct bytes key, uint64_t hash)
{
	struct map_node *n = *lower_bound(m, key, hash);

	return is_key(m, n, hash, key) ? n : NULL;
}

/* Resizing */

/* Splits a bucket's chain and appends each part to its new chain, which holds only smaller hashes so far. */
static void move_bucket(struct map *m, size_t i)
{
	struct map_node *n = m->old[i];

	m->old[i] = NULL;
	while (n) {
		size_t to = bucket_of(n->hash, m->bits);
		struct map_node **end = &m->slots[to];

		while (*end)
			end = &(*end)->next;
		*end = n;
		while (n && bucket_of(n->hash, m->bits) == to) {
			end = &n->next;
			n = n->next;
		}
		*end = NULL;
	}
}

static void move_some(struct map *m)
{
	size_t all = (size_t)1 << m->old_bits;
	size_t step = m->bits > m->old_bits ? GROW_STEP : SHRINK_STEP;

	for (; step && m->moved < all; step--)
		move_bucket(m, m->moved++);
	if (m->moved == all) {
		mem_free(m->old);
		m->old = NULL;
	}
}

static void begin_resize(struct map *m, uint8_t bits)
{
	struct map_node **slots = mem_calloc((size_t)1 << bits, sizeof(struct map_node *));

	/* No memory: chains get longer, or space is wasted, and the next operation tries again. */
	if (!slots)
		return;
	m->old = m->slots;
	m->old_bits = m->bits;
	m->moved = 0;
	m->slots = slots;
	m->bits = bits;
}

static void adapt(struct map *m)
{
	size_t buckets = (size_t)1 << m->bits;

	if (m->old)
		move_some(m);
	else if (m->count > buckets && m->bits < MAX_BITS)
		begin_resize(m, (uint8_t)(m->bits + 1));
	else if (m->count < buckets / 8 && m->bits > MIN_BITS)
		begin_resize(m, (uint8_t)(m->bits - 1));
}

void map_insert(struct map *m, struct map_node *n, uint64_t hash)
{
	struct map_node **at = lower_bound(m, m->key_of(n), hash);

	n->hash = hash;
	n->next = *at;
	*at = n;
	m->count++;
	adapt(m);
}

void map_remove(struct map *m, struct map_node *n)
{
	struct map_node **at = chain_of(m, n->hash);

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->next = NULL;
	m->count--;
	adapt(m);
}

/* Walking */

static struct map_node *scan(struct map_node *const *slots, size_t i, size_t end)
{
	for (; i < end; i++)
		if (slots[i])
			return slots[i];
	return NULL;
}

/* During a resize: the new table holds the hashes below this one, the old table the others. */
static uint64_t first_old_hash(const struct map *m)
{
	return (uint64_t)m->moved << (64 - m->old_bits);
}

/* The first node of the first chain that begins at @hash or after it; @hash is the beginning of a bucket. */
static struct map_node *first_from(const struct map *m, uint64_t hash)
{
	struct map_node *n = NULL;
	uint64_t limit;

	if (!m->old)
		return scan(m->slots, bucket_of(hash, m->bits), (size_t)1 << m->bits);
	limit = first_old_hash(m);
	if (hash < limit)
		n = scan(m->slots, bucket_of(hash, m->bits), bucket_of(limit - 1, m->bits) + 1);
	if (n)
		return n;
	return scan(m->old, bucket_of(hash, m->old_bits), (size_t)1 << m->old_bits);
}

/* The hash at which the chain of @hash ends and the next one begins; 0 after the last chain. */
static uint64_t next_begin(const struct map *m, uint64_t hash)
{
	uint8_t bits = m->old && hash >= first_old_hash(m) ? m->old_bits : m->bits;

	return ((uint64_t)bucket_of(hash, bits) + 1) << (64 - bits);
}

struct map_node *map_first(const struct map *m)
{
	return first_from(m, 0);
}

struct map_node *map_after(const struct map *m, struct bytes key, uint64_t hash)
{
	struct map_node *n = *lower_bound(m, key, hash);
	uint64_t begin;

	if (is_key(m, n, hash, key))
		n = n->next;
	if (n)
		return n;
	begin = next_begin(m, hash);
	return begin ? first_from(m, begin) : NULL;
}
