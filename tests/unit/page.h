/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page: a part of a page (or of a header) that is made from a table of the source. A test makes the part, and
 * page_check() compares it with what stands between two markers. With WRITE_PAGES=1 in the environment it writes the
 * part anew instead of complaining.
 */
#ifndef WSC_TESTS_UNIT_PAGE_H
#define WSC_TESTS_UNIT_PAGE_H

#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "test.h"

/* @path begins at the root of the project. */
static inline FILE *page_open(const char *path, const char *mode)
{
	struct buf name = BUF_INIT;
	FILE *f;

	buf_add(&name, bytes_of(__FILE__, sizeof(__FILE__) - sizeof("page.h")));
	buf_addf(&name, "/../../%s", path);
	buf_add_u8(&name, '\0');
	f = fopen((const char *)name.at, mode);
	buf_deinit(&name);
	return f;
}

static inline void page_read(const char *path, struct buf *page)
{
	FILE *f = page_open(path, "r");
	int c;

	if (!CHECK(f != NULL))
		return;
	while ((c = getc(f)) != EOF)
		buf_add_u8(page, (uint8_t)c);
	CHECK(fclose(f) == 0);
}

static inline void page_write(const char *path, struct bytes head, struct bytes block, struct bytes tail)
{
	FILE *f = page_open(path, "w");

	if (!CHECK(f != NULL))
		return;
	CHECK(fwrite(head.at, 1, head.len, f) == head.len && fwrite(block.at, 1, block.len, f) == block.len &&
	      fwrite(tail.at, 1, tail.len, f) == tail.len);
	CHECK(fclose(f) == 0);
}

/* The lines of the page between the line @begin and the line that begins with @end must be @want. */
static inline void page_check(const char *path, const char *begin, const char *end, const struct buf *want)
{
	struct buf page = BUF_INIT;
	const uint8_t *from, *to;

	page_read(path, &page);
	from = page.len ? memmem(page.at, page.len, begin, strlen(begin)) : NULL;
	if (from)
		from += strlen(begin);
	to = from ? memmem(from, page.len - (size_t)(from - page.at), end, strlen(end)) : NULL;
	if (test_check(to != NULL && !want->failed, __FILE__, __LINE__, path) &&
	    !bytes_eq(bytes_of(from, (size_t)(to - from)), buf_bytes(want))) {
		if (getenv("WRITE_PAGES"))
			page_write(path, bytes_of(page.at, (size_t)(from - page.at)), buf_bytes(want),
				   bytes_of(to, page.len - (size_t)(to - page.at)));
		else
			test_check(false, __FILE__, __LINE__,
				   "the page is stale: this test writes it anew with WRITE_PAGES=1");
	}
	buf_deinit(&page);
}

#endif
