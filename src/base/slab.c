/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab: an index is a page number and a place on that page. A page is in exactly one of four states: on the list of
 * partial pages, the spare, full (on no list), or returned to the system (its number is a hole, to be used again). The
 * generations of its objects belong to the number, not to the page. Knows sizes, never what is stored.
 */
#include "base/slab.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
/* An access to a free object is an error. */
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define PAGE_SIZE 65536u
#define HEAD_SIZE 64u
#define PLACE_BITS 12
#define MAX_PER_PAGE (1u << PLACE_BITS)
#define MAX_PAGES (1u << (32 - PLACE_BITS))
#define NONE UINT32_MAX

_Static_assert((PAGE_SIZE - HEAD_SIZE) / 16 <= MAX_PER_PAGE, "every place has an index");
_Static_assert(SLAB_MAX_SIZE == PAGE_SIZE - HEAD_SIZE, "slab.h gives the same number");

struct slab_page {
	struct slab_page *next, **pprev; /* on the list of partial pages, or pprev is NULL */
	struct free_object *free;        /* places that were used before */
	uint32_t number;
	uint32_t fresh; /* places from here on were never used, so their memory was never touched */
	uint32_t used;
};

_Static_assert(sizeof(struct slab_page) <= HEAD_SIZE, "the head of a page");

struct free_object {
	struct free_object *next;
};

struct slab_entry {
	struct slab_page *page; /* NULL: returned to the system */
	uint32_t *generations;  /* per_page of them */
	uint32_t next_hole;
};

int slab_init(struct slab *s, size_t size)
{
	assert(size > 0 && size <= SLAB_MAX_SIZE);
	*s = (struct slab){ .size = (size + 15) & ~(size_t)15, .hole = NONE };
	s->per_page = (uint32_t)((PAGE_SIZE - HEAD_SIZE) / s->size);
	return 0;
}

static void page_free(struct slab_page *page)
{
	ASAN_UNPOISON_MEMORY_REGION(page, PAGE_SIZE);
	/* The heap may keep the address range; the pages of memory are returned to the system in any case. */
	madvise(page, PAGE_SIZE, MADV_DONTNEED);
	mem_free(page);
}

void slab_deinit(struct slab *s)
{
	for (uint32_t i = 0; i < s->npages; i++) {
		if (s->pages[i].page)
			page_free(s->pages[i].page);
		mem_free(s->pages[i].generations);
	}
	mem_free(s->pages);
	*s = (struct slab){ .hole = NONE };
}

static void *object_at(const struct slab *s, struct slab_page *page, uint32_t place)
{
	return (char *)page + HEAD_SIZE + place * s->size;
}

static struct slab_page *page_of(const void *obj)
{
	return (struct slab_page *)((uintptr_t)obj & ~(uintptr_t)(PAGE_SIZE - 1));
}

/* The list of partial pages */

static void partial_push(struct slab *s, struct slab_page *page)
{
	page->next = s->partial;
	if (page->next)
		page->next->pprev = &page->next;
	page->pprev = &s->partial;
	s->partial = page;
}

static void partial_remove(struct slab_page *page)
{
	if (!page->pprev)
		return;
	*page->pprev = page->next;
	if (page->next)
		page->next->pprev = page->pprev;
	page->next = NULL;
	page->pprev = NULL;
}

/* Page numbers */

static int reserve_entry(struct slab *s)
{
	uint32_t cap = s->cap_pages ? 2 * s->cap_pages : 4;
	struct slab_entry *pages;

	if (s->npages < s->cap_pages)
		return 0;
	if (s->npages == MAX_PAGES)
		return -MEM_ENOMEM;
	pages = mem_realloc(s->pages, cap * sizeof(*pages));
	if (!pages)
		return -MEM_ENOMEM;
	s->pages = pages;
	s->cap_pages = cap;
	return 0;
}

/* Makes sure that @s->hole is a number without a page. */
static int find_hole(struct slab *s)
{
	uint32_t *generations;

	if (s->hole != NONE)
		return 0;
	if (reserve_entry(s) < 0)
		return -MEM_ENOMEM;
	generations = mem_calloc(s->per_page, sizeof(*generations));
	if (!generations)
		return -MEM_ENOMEM;
	s->hole = s->npages++;
	s->holes++;
	s->pages[s->hole] = (struct slab_entry){ .generations = generations, .next_hole = NONE };
	return 0;
}

static struct slab_page *page_new(struct slab *s)
{
	struct slab_page *page;

	if (find_hole(s) < 0)
		return NULL;
	page = mem_aligned(PAGE_SIZE, PAGE_SIZE);
	if (!page)
		return NULL;
	*page = (struct slab_page){ .number = s->hole };
	s->hole = s->pages[page->number].next_hole;
	s->holes--;
	s->pages[page->number].page = page;
	ASAN_POISON_MEMORY_REGION((char *)page + HEAD_SIZE, PAGE_SIZE - HEAD_SIZE);
	return page;
}

static void page_return(struct slab *s, struct slab_page *page)
{
	uint32_t number = page->number;

	s->pages[number].page = NULL;
	s->pages[number].next_hole = s->hole;
	s->hole = number;
	s->holes++;
	page_free(page);
}

/* A page with room. It is on the list of partial pages. */
static struct slab_page *page_with_room(struct slab *s)
{
	struct slab_page *page = s->partial;

	if (page)
		return page;
	page = s->spare ? s->spare : page_new(s);
	s->spare = NULL;
	if (page)
		partial_push(s, page);
	return page;
}

/* Objects */

static slab_handle handle_of(const struct slab *s, const struct slab_page *page, uint32_t place)
{
	return (slab_handle)s->pages[page->number].generations[place] << 32 | page->number << PLACE_BITS | place;
}

static uint32_t place_of(const struct slab *s, const struct slab_page *page, const void *obj)
{
	return (uint32_t)((size_t)((const char *)obj - (const char *)page - HEAD_SIZE) / s->size);
}

static void *take_place(const struct slab *s, struct slab_page *page)
{
	void *obj = page->free ? (void *)page->free : object_at(s, page, page->fresh);

	ASAN_UNPOISON_MEMORY_REGION(obj, s->size);
	if (page->free)
		page->free = page->free->next;
	else
		page->fresh++;
	memset(obj, 0, s->size);
	return obj;
}

void *slab_new(struct slab *s, slab_handle *h)
{
	struct slab_page *page = page_with_room(s);
	uint32_t place;
	void *obj;

	*h = 0;
	if (!page)
		return NULL;
	obj = take_place(s, page);
	place = place_of(s, page, obj);
	s->pages[page->number].generations[place]++;
	*h = handle_of(s, page, place);
	if (++page->used == s->per_page)
		partial_remove(page);
	s->live++;
	return obj;
}

static void page_emptied(struct slab *s, struct slab_page *page)
{
	partial_remove(page);
	if (s->spare)
		page_return(s, page);
	else
		s->spare = page;
}

void slab_free(struct slab *s, slab_handle h)
{
	struct free_object *obj = slab_get(s, h);
	struct slab_page *page = page_of(obj);

	if (!obj)
		return;
	s->pages[page->number].generations[(uint32_t)h % MAX_PER_PAGE]++;
	obj->next = page->free;
	page->free = obj;
	ASAN_POISON_MEMORY_REGION(obj, s->size);
	s->live--;
	/* The fullest page is used first, so that the others can become empty. */
	if (page->used-- == s->per_page)
		partial_push(s, page);
	if (page->used == 0)
		page_emptied(s, page);
}

void *slab_get(const struct slab *s, slab_handle h)
{
	uint32_t generation = (uint32_t)(h >> 32);
	uint32_t number = (uint32_t)h >> PLACE_BITS, place = (uint32_t)h % MAX_PER_PAGE;

	if (generation % 2 == 0 || number >= s->npages || place >= s->per_page ||
	    s->pages[number].generations[place] != generation)
		return NULL;
	return object_at(s, s->pages[number].page, place);
}

slab_handle slab_handle_of(const struct slab *s, const void *obj)
{
	const struct slab_page *page = page_of(obj);

	return handle_of(s, page, place_of(s, page, obj));
}

void *slab_next(const struct slab *s, uint32_t *pos)
{
	uint32_t number = *pos >> PLACE_BITS, place = *pos % MAX_PER_PAGE;

	for (; number < s->npages; number++, place = 0) {
		const struct slab_entry *e = &s->pages[number];

		for (; e->page && place < e->page->fresh; place++) {
			if (e->generations[place] % 2) {
				*pos = (number << PLACE_BITS | place) + 1;
				return object_at(s, e->page, place);
			}
		}
	}
	*pos = NONE;
	return NULL;
}
