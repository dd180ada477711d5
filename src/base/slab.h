/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab: objects of one size from aligned 64 KiB pages; free and allocate are O(1), empty pages are returned to the
 * system (one is kept). One owner thread. An object keeps its index until it is freed, so a handle (index + generation)
 * can be checked without touching freed memory: generations are stored outside the pages and stay until slab_deinit().
 */
#ifndef WSC_BASE_SLAB_H
#define WSC_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

/* The size of an object that fills a page alone. */
#define SLAB_MAX_SIZE (65536 - 64)

struct slab {
	size_t size; /* of one object, rounded up to 16 */
	uint32_t per_page;
	uint32_t npages; /* entries of @pages in use, including the holes */
	uint32_t cap_pages;
	struct slab_entry *pages;  /* by page number */
	uint32_t hole;             /* first entry whose page was returned to the system, or UINT32_MAX */
	uint32_t holes;            /* number of such entries */
	struct slab_page *partial; /* pages with some objects and room for more */
	struct slab_page *spare;   /* the one empty page that is kept */
	size_t live;
};

/* A handle: 0 is no object. High half: generation (odd while the object is live), low half: index. */
typedef uint64_t slab_handle;

/* Always 0; allocates nothing yet. @size is 1 .. SLAB_MAX_SIZE. */
int slab_init(struct slab *s, size_t size);
/* Frees the live objects too. */
void slab_deinit(struct slab *s);
/* Zeroed memory, aligned to 16 (to 64 when the size is a multiple of 64), or NULL. @h may not be NULL. */
void *slab_new(struct slab *s, slab_handle *h);
/* A handle of an object that was freed is ignored. */
void slab_free(struct slab *s, slab_handle h);
/* The object of @h, or NULL when it was freed. Any 64-bit value is allowed. */
void *slab_get(const struct slab *s, slab_handle h);
/* The handle of a live object. */
slab_handle slab_handle_of(const struct slab *s, const void *obj);
/*
 * Walks the live objects: start with *pos = 0; NULL at the end. The walk may miss objects that are new meanwhile; any
 * object may be freed meanwhile.
 */
void *slab_next(const struct slab *s, uint32_t *pos);

#endif
