/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf: a growing byte array with one owner. A failed growth is remembered (@failed) and every later append does
 * nothing, so that a writer checks once, at the end.
 */
#ifndef WSC_BASE_BUF_H
#define WSC_BASE_BUF_H

#include "base/bytes.h"

struct buf {
	uint8_t *at;
	size_t len;
	size_t cap;
	bool failed; /* an allocation failed, or BUF_MAX was reached: do not use the content */
};

#define BUF_MAX ((size_t)1 << 31)

#define BUF_INIT ((struct buf){ 0 })

void buf_deinit(struct buf *b);
/* Makes room for @n more bytes; false (and b->failed) when that is not possible. */
bool buf_reserve(struct buf *b, size_t n);
/* @s may not be a view of @b itself. */
void buf_add(struct buf *b, struct bytes s);
void buf_add_u8(struct buf *b, uint8_t c);
void buf_add_str(struct buf *b, const char *s);
/* Decimal. */
void buf_add_u64(struct buf *b, uint64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops @n bytes (at most b->len) from the front, keeping the allocation. */
void buf_consume(struct buf *b, size_t n);
/* Empties the buffer and clears @failed; keeps the allocation. */
void buf_clear(struct buf *b);

static inline struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->at, b->len);
}

#endif
