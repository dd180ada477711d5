/* SPDX-License-Identifier: Apache-2.0 */
/* The slab against a plain array of the objects that should be alive; and the life of handles and pages. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/slab.h"
#include "test.h"

#define N 4000

struct object {
	uint64_t name;
	uint8_t rest[240];
};

/* Allocations that are not freed. */
static uint32_t pages_held(const struct slab *s)
{
	return s->npages - s->holes;
}

TEST(a_new_object_is_zeroed_aligned_and_found_by_its_handle)
{
	struct slab s;
	slab_handle h, again;
	struct object *o;

	slab_init(&s, 64);
	o = slab_new(&s, &h);
	CHECK(h != 0);
	CHECK_EQ((uintptr_t)o % 64, 0);
	CHECK(slab_get(&s, h) == o);
	CHECK_EQ(slab_handle_of(&s, o), h);
	memset(o, 0xff, 64);
	slab_free(&s, h);
	o = slab_new(&s, &again);
	CHECK_EQ(o->name, 0);
	CHECK_EQ(o->rest[55], 0);
	CHECK(again != h);
	CHECK(slab_get(&s, h) == NULL);
	CHECK(slab_get(&s, again) == o);
	slab_deinit(&s);
}

/* Shows: threat 29, threat 99 */
TEST(handles_that_were_never_given_find_no_object)
{
	struct slab s;
	slab_handle h;

	slab_init(&s, 100);
	CHECK(slab_get(&s, 0) == NULL);
	CHECK(slab_get(&s, UINT64_MAX) == NULL);
	slab_new(&s, &h);
	CHECK(slab_get(&s, h + 1) == NULL);
	CHECK(slab_get(&s, h + (1ull << 32)) == NULL);
	CHECK(slab_get(&s, h + (1ull << 33)) == NULL);
	CHECK(slab_get(&s, h | 0xfff) == NULL);
	CHECK(slab_get(&s, h | 0x1000) == NULL);
	slab_free(&s, h + 1);
	slab_free(&s, 0);
	CHECK_EQ(s.live, 1);
	slab_free(&s, h);
	slab_free(&s, h);
	CHECK(slab_get(&s, h + (1ull << 32)) == NULL);
	CHECK_EQ(s.live, 0);
	slab_deinit(&s);
}

/* Shows: threat 115 */
TEST(a_handle_stays_stale_when_its_page_is_freed_and_made_anew)
{
	struct slab s;
	slab_handle old[100], now[100];

	/* One object a page. */
	slab_init(&s, SLAB_MAX_SIZE);
	for (int i = 0; i < 100; i++)
		CHECK(slab_new(&s, &old[i]) != NULL);
	CHECK_EQ(pages_held(&s), 100);
	for (int i = 0; i < 100; i++)
		slab_free(&s, old[i]);
	CHECK_EQ(pages_held(&s), 1);
	for (int i = 0; i < 100; i++)
		CHECK(slab_get(&s, old[i]) == NULL && slab_get(&s, old[i] + (1ull << 32)) == NULL);
	for (int i = 0; i < 100; i++)
		slab_new(&s, &now[i]);
	CHECK_EQ(s.npages, 100);
	for (int i = 0; i < 100; i++) {
		CHECK(slab_get(&s, old[i]) == NULL);
		CHECK(slab_get(&s, now[i]) != NULL);
	}
	slab_deinit(&s);
}

struct world {
	struct slab slab;
	struct rng rng;
	slab_handle handles[N]; /* 0: free */
	slab_handle dead[N];    /* the last one that was freed here */
	size_t live;
};

static bool toggle(struct world *w, size_t i)
{
	struct object *o;

	if (w->handles[i]) {
		slab_free(&w->slab, w->handles[i]);
		w->dead[i] = w->handles[i];
		w->handles[i] = 0;
		w->live--;
		return true;
	}
	o = slab_new(&w->slab, &w->handles[i]);
	if (!CHECK(o != NULL) || !CHECK_EQ(o->name, 0))
		return false;
	o->name = i + 1;
	memset(o->rest, (int)i, sizeof(o->rest));
	w->live++;
	return true;
}

static bool agrees(struct world *w)
{
	uint32_t pos = 0;
	size_t walked = 0;
	struct object *o;
	bool ok = CHECK_EQ(w->slab.live, w->live);

	for (size_t i = 0; ok && i < N; i++) {
		ok = CHECK(slab_get(&w->slab, w->dead[i]) == NULL);
		o = slab_get(&w->slab, w->handles[i]);
		ok = ok && CHECK((o != NULL) == (w->handles[i] != 0));
		if (o)
			ok = ok && CHECK_EQ(o->name, i + 1) && CHECK_EQ(o->rest[239], (uint8_t)i) &&
			     CHECK_EQ(slab_handle_of(&w->slab, o), w->handles[i]);
	}
	while (ok && (o = slab_next(&w->slab, &pos))) {
		ok = CHECK(w->handles[o->name - 1] == slab_handle_of(&w->slab, o));
		walked++;
	}
	return ok && CHECK_EQ(walked, w->live) && CHECK(slab_next(&w->slab, &pos) == NULL);
}

static void play(uint64_t seed)
{
	struct world *w = mem_zalloc(sizeof(*w));

	slab_init(&w->slab, sizeof(struct object));
	rng_init_seed(&w->rng, seed);
	for (int round = 0; round < 60; round++) {
		/* Tides: mostly coming, then mostly going. */
		bool coming = round / 10 % 2 == 0;
		bool ok = true;

		for (int i = 0; ok && i < 900; i++) {
			size_t at = rng_below(&w->rng, N);

			if ((w->handles[at] == 0) == coming || rng_below(&w->rng, 8) == 0)
				ok = toggle(w, at);
		}
		if (!ok || !agrees(w))
			break;
	}
	for (size_t i = 0; i < N; i++)
		if (w->handles[i])
			toggle(w, i);
	CHECK_EQ(w->slab.live, 0);
	CHECK_EQ(pages_held(&w->slab), 1);
	slab_deinit(&w->slab);
	mem_free(w);
}

/* Shows: threat 116 */
TEST(random_allocations_and_frees_agree_with_a_plain_array)
{
	for (uint64_t seed = 1; seed <= 5; seed++)
		play(seed);
}

TEST(pages_are_filled_before_new_ones_are_taken)
{
	struct slab s;
	slab_handle h[510];

	slab_init(&s, 256);
	CHECK_EQ(s.per_page, 255);
	for (int i = 0; i < 510; i++)
		slab_new(&s, &h[i]);
	CHECK_EQ(s.npages, 2);
	slab_free(&s, h[3]);
	slab_free(&s, h[300]);
	slab_new(&s, &h[3]);
	slab_new(&s, &h[300]);
	CHECK_EQ(s.npages, 2);
	slab_deinit(&s);
}

/* Shows: threat 125 */
TEST(a_walk_may_free_the_objects_it_finds)
{
	struct slab s;
	uint32_t pos = 0;
	size_t walked = 0;
	slab_handle h;
	void *o;

	slab_init(&s, 1000);
	for (int i = 0; i < 1000; i++)
		slab_new(&s, &h);
	for (; (o = slab_next(&s, &pos)); walked++)
		slab_free(&s, slab_handle_of(&s, o));
	CHECK_EQ(walked, 1000);
	CHECK_EQ(s.live, 0);
	slab_deinit(&s);
}

TEST(the_smallest_objects_fit_too)
{
	struct slab s;
	slab_handle h, first = 0;

	slab_init(&s, 1);
	CHECK_EQ(s.size, 16);
	for (int i = 0; i < 10000; i++) {
		CHECK(slab_new(&s, &h) != NULL);
		first = first ? first : h;
	}
	CHECK_EQ(s.npages, 3);
	CHECK(slab_get(&s, first) != NULL && slab_get(&s, h) != NULL);
	slab_deinit(&s);
}

#ifdef WSC_FAULTS
TEST(an_allocation_that_fails_leaves_the_slab_as_it_was)
{
	for (unsigned long k = 1; k <= 3; k++) {
		struct slab s;
		slab_handle h = 77;

		slab_init(&s, 256);
		mem_fail_at(k, false);
		CHECK(slab_new(&s, &h) == NULL);
		CHECK_EQ(h, 0);
		CHECK_EQ(s.live, 0);
		CHECK(slab_new(&s, &h) != NULL);
		CHECK_EQ(s.npages, 1);
		slab_deinit(&s);
	}
}
#endif
