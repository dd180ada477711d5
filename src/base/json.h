/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: RFC 8259, strict, no allocation, no recursion, linear time, depth bounded. The scanner walks a text once and
 * yields views into it; the writer appends to a buf or to memory of the caller. Numbers are never converted unless
 * asked, so integers keep every digit. Strings are checked to be UTF-8 as they are passed over.
 */
#ifndef WSC_BASE_JSON_H
#define WSC_BASE_JSON_H

#include "base/buf.h"

#define JSON_MAX_DEPTH 64 /* objects and arrays around a value, the outermost included */

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum json_error {
	JSON_OK = 0,
	JSON_EMPTY = -1, /* nothing but white space */
	JSON_SYNTAX = -2,
	JSON_DEPTH = -3,     /* deeper than max_depth of the walk (JSON_MAX_DEPTH by default) */
	JSON_UTF8 = -4,      /* a string is not valid UTF-8 */
	JSON_NOT_OBJECT = -5 /* valid, but something else */
};

struct json_value {
	enum json_type type;
	bool escaped;        /* string: has a backslash, so json_unescape() is needed */
	bool lone_surrogate; /* string: has a \ud800..\udfff escape without its other half (valid by the grammar) */
	bool line_breaks;    /* array or object: has CR or LF between its tokens */
	struct bytes raw;    /* the value's text; for a string with its quotes */
};

struct json_member {
	struct bytes key; /* between the quotes, still escaped: the quotes are at key.at[-1] and key.at[key.len] */
	bool key_escaped, key_lone_surrogate;
	struct json_value value;
};

/*
 * Walks the members of one object text: json_object_begin() on the whole text, json_object_next() until it returns 0.
 * The text must be one object; only white space may follow it. Nested values are checked in full when they are passed
 * over. The text is known to be valid only when the 0 was returned. The views point into the text.
 */
struct json_walk {
	const uint8_t *at, *begin, *end;
	bool line_breaks; /* CR or LF found between tokens so far; at the end: anywhere in the text */
	/* JSON_MAX_DEPTH; may be lowered between json_object_begin() and the first json_object_next(). */
	unsigned max_depth;
	int state;
};

/* JSON_OK or an error. JSON_NOT_OBJECT means that the text is valid JSON; other errors, that it is not. */
enum json_error json_object_begin(struct json_walk *w, struct bytes text);
/* 1: @m is filled; 0: the object is complete and valid; negative: enum json_error, also at every later call. */
int json_object_next(struct json_walk *w, struct json_member *m);

/* Is @text one valid JSON value (any type)? @v may be NULL. */
enum json_error json_check(struct bytes text, struct json_value *v);

/*
 * The content of a valid JSON string, unescaped, into @out (at least raw.len - 2 bytes); returns its length. Lone
 * surrogates become U+FFFD.
 */
size_t json_unescape(struct bytes raw_with_quotes, uint8_t *out);
/* Is the value a string that equals @want after unescaping? */
bool json_string_eq(const struct json_value *v, struct bytes want);
/* Exact integer (no fraction, no exponent) within int64; false otherwise. */
bool json_int64(const struct json_value *v, int64_t *out);

/*
 * Writer. Strings are escaped: quotes, backslash, controls (short forms where they exist), 0x7f; each byte that is not
 * valid UTF-8 becomes U+FFFD. So no input can end the string early.
 */
void json_add_string(struct buf *b, struct bytes s);
/* Length of @s escaped, without quotes: at most 6 * s.len. */
size_t json_escaped_len(struct bytes s);
/* Writes those json_escaped_len() bytes, no quotes, and returns how many. */
size_t json_escape(struct bytes s, uint8_t *out);
/* Copies valid JSON text and turns CR and LF between tokens into spaces (strings contain none); same length. */
void json_add_one_line(struct buf *b, struct bytes json);
void json_copy_one_line(uint8_t *out, struct bytes json);

#endif
