/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes: a borrowed view of memory, valid until the function that gets it returns.
 * It never owns, never grows and need not end in NUL; network data is only ever handled as bytes.
 */
#ifndef WSC_BASE_BYTES_H
#define WSC_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * For a local variable on the hot path that is written before it is read: release builds zero local variables, and here
 * that would cost more than the work itself.
 */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define UNSET __attribute__((uninitialized))
#else
#define UNSET
#endif

struct bytes {
	const uint8_t *at;
	size_t len;
};

/* A view of a string literal. */
#define BYTES(lit) ((struct bytes){ (const uint8_t *)("" lit), sizeof(lit) - 1 })

static inline struct bytes bytes_of(const void *at, size_t len)
{
	return (struct bytes){ (const uint8_t *)at, len };
}

/* NULL gives the empty view. */
static inline struct bytes bytes_str(const char *s)
{
	return s ? bytes_of(s, strlen(s)) : (struct bytes){ 0 };
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Byte order, a shorter prefix first. */
static inline int bytes_cmp(struct bytes a, struct bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.at, b.at, n) : 0;

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static inline uint8_t bytes_lower(uint8_t c)
{
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Ignores the case of ASCII letters only, as HTTP requires. */
static inline bool bytes_eq_nocase(struct bytes a, struct bytes b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (bytes_lower(a.at[i]) != bytes_lower(b.at[i]))
			return false;
	return true;
}

static inline bool bytes_starts(struct bytes a, struct bytes prefix)
{
	return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.at, prefix.at, prefix.len) == 0);
}

/* Drops @n bytes from the front; @n is at most in->len. */
static inline void bytes_skip(struct bytes *in, size_t n)
{
	in->at += n;
	in->len -= n;
}

static inline bool bytes_take_u8(struct bytes *in, uint8_t *out)
{
	if (in->len == 0)
		return false;
	*out = in->at[0];
	bytes_skip(in, 1);
	return true;
}

/* Removes spaces and tabs from both ends (RFC 9110 OWS). */
static inline struct bytes bytes_trim(struct bytes b)
{
	while (b.len && (b.at[0] == ' ' || b.at[0] == '\t'))
		bytes_skip(&b, 1);
	while (b.len && (b.at[b.len - 1] == ' ' || b.at[b.len - 1] == '\t'))
		b.len--;
	return b;
}

/*
 * Takes the next element of a list separated by @sep off @list, trimmed; false at the end.
 * Empty elements are skipped (RFC 9110 §5.6.1).
 */
static inline bool bytes_next(struct bytes *list, uint8_t sep, struct bytes *item)
{
	while (list->len) {
		const uint8_t *end = memchr(list->at, sep, list->len);
		size_t n = end ? (size_t)(end - list->at) : list->len;

		*item = bytes_trim(bytes_of(list->at, n));
		bytes_skip(list, end ? n + 1 : n);
		if (item->len)
			return true;
	}
	return false;
}

#endif
