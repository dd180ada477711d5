/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub with very many sessions: the cost of a message to all beside its text, tickets by the hundred thousand, and
 * names that were chosen to collide.
 */
#include <malloc.h>
#include "base/map.h"
#include "base/siphash.h"
#include "hub_fixture.h"

#define READERS 10000u
#define BODY (1u << 20)

static struct hub_options roomy(void)
{
	struct hub_options o = fx_options();

	o.max_queue_bytes = 8 * BODY;
	o.max_messages[0] = o.max_messages[1] = 64;
	o.max_sessions_per_user = UINT32_MAX;
	return o;
}

static struct session *crowd_new(struct hub *h, size_t n, const char *ticket)
{
	struct session *s = calloc(n, sizeof *s);
	char user[32], each[32];

	if (!s)
		abort();
	for (size_t i = 0; i < n; i++) {
		snprintf(user, sizeof user, "u%zu", i);
		snprintf(each, sizeof each, "t%zu", i);
		fx_connect(h, &s[i], user, ticket ? ticket : each);
	}
	return s;
}

static void crowd_leaves(struct hub *h, struct session *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hub_detach(h, &s[i], FX_NOW(0));
	free(s);
}

static void to_all(struct hub *h)
{
	struct msg *m = msg_new(hub_owner(h), MSG_USER, BODY);

	if (!m)
		abort();
	memset(m->json, 'x', BODY);
	CHECK_EQ(hub_publish(h, &(struct hub_publication){ .scope = HUB_TO_ALL, .msg = m }, FX_NOW(0)), 0);
	msg_unref(m);
}

/* Shows: threat 124 */
TEST(a_mebibyte_to_ten_thousand_readers_is_a_mebibyte_and_a_reference_each)
{
	struct fx fx;
	struct session *all;
	size_t before;

	fx_init(&fx, 1, roomy());
	all = crowd_new(fx.hub[0], READERS, "");
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (unsigned k = 1; k <= 4; k++) {
		to_all(fx.hub[0]);
		/* The text once; a reference is 8 bytes, in chunks from the third on. */
		CHECK(hub_owner(fx.hub[0])->bytes <= k * (BODY + 4096));
		CHECK(mallinfo2().uordblks + mallinfo2().hblkhd - before <=
		      k * (BODY + 8192) + (k > 2 ? READERS * (sizeof(struct outq_chunk) + 16) : 0));
	}
	CHECK_EQ(all[0].q.count, 4);
	CHECK_EQ(all[READERS - 1].q.count, 4);
	CHECK_EQ(all[READERS / 2].q.bytes,
		 4 * (BODY + MSG_CHARGE_FIXED)); /* each reader is charged in full all the same */
	crowd_leaves(fx.hub[0], all, READERS);
	CHECK_EQ(hub_owner(fx.hub[0])->bytes, 0);
	fx_free(&fx);
}

/* Shows: threat 118 */
TEST(a_hundred_thousand_tickets_are_added_and_removed_without_deep_recursion)
{
	const size_t n = 100000;
	struct fx fx;
	struct session *all;

	fx_init(&fx, 1, roomy());
	all = crowd_new(fx.hub[0], n, NULL); /* one each */
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_TICKET, "t77777", "x", 0, true, 0), 0);
	CHECK_EQ(all[77777].q.count, 1);
	CHECK_EQ(all[77778].q.count, 0);
	crowd_leaves(fx.hub[0], all, n);
	all = crowd_new(fx.hub[0], n, "one"); /* one for all */
	CHECK_EQ(fx_publish(fx.hub[0], HUB_TO_TICKET, "one", "y", 0, true, 0), 0);
	CHECK_EQ(all[0].q.count, 1);
	CHECK_EQ(all[n - 1].q.count, 1);
	crowd_leaves(fx.hub[0], all, n);
	fx_free(&fx);
}

/* ---- names that collide --------------------------------------------------------------------------------------------------- */

#define NAMES 4096u

struct name {
	struct map_node node;
	char text[24];
};

static struct bytes name_of(const struct map_node *n)
{
	return bytes_str(container_of(n, const struct name, node)->text);
}

/* The longest chain of names whose first @bits bits of hash are the same. */
static unsigned longest_chain(const struct name *names, const uint64_t key[2], unsigned bits)
{
	static unsigned of[1u << 12];
	unsigned longest = 0;

	memset(of, 0, sizeof of);
	for (size_t i = 0; i < NAMES; i++) {
		unsigned *n = &of[siphash13(key, bytes_str(names[i].text)) >> (64 - bits)];

		if (++*n > longest)
			longest = *n;
	}
	return longest;
}

/* Shows: threat 75 */
TEST(names_that_collide_under_one_key_are_spread_by_any_other)
{
	static struct name names[NAMES];
	const uint64_t known[2] = { 1, 2 };
	size_t found = 0;

	/* The names of an attacker that knows the key: all in the first of 256 buckets. */
	for (unsigned long i = 0; found < NAMES; i++) {
		snprintf(names[found].text, sizeof names[found].text, "user-%lu", i);
		if (siphash13(known, bytes_str(names[found].text)) >> 56 == 0)
			found++;
	}
	CHECK_EQ(longest_chain(names, known, 8), NAMES);
	for (uint64_t k = 0; k < 8; k++) {
		const uint64_t other[2] = { 0x1234567 + k, k };
		struct map map;

		CHECK(longest_chain(names, other, 8) < 4 * NAMES / 256);
		CHECK(longest_chain(names, other, 12) <= 12);
		CHECK_EQ(map_init(&map, other, name_of), 0);
		for (size_t i = 0; i < NAMES; i++) {
			struct bytes key = bytes_str(names[i].text);
			uint64_t hash = map_hash(&map, key);

			CHECK(map_find(&map, key, hash) == NULL);
			map_insert(&map, &names[i].node, hash);
		}
		CHECK_EQ(map.count, NAMES);
		map_deinit(&map);
	}
}
