/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: the scanner is a cursor (struct json_walk) that only moves forward; each scan_ function moves it over one
 * element of the grammar or returns an error. Nesting is one bit per level, so no input can deepen the stack. The
 * scanner knows the grammar and UTF-8, but not what a member means.
 */
#include "base/json.h"

#include "base/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { WALK_FIRST, WALK_NEXT, WALK_DONE };

#ifdef __SSE2__
/* A bit for each byte that ends a plain run. Signed, so that "less than a space" takes in the bytes from 0x80 up. */
static unsigned special_mask(__m128i v)
{
	__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
	__m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
	__m128i other = _mm_cmplt_epi8(v, _mm_set1_epi8(' '));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), other));
}

static __m128i load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}
#endif

static bool is_special(uint8_t c)
{
	return c == '"' || c == '\\' || c < 0x20 || c >= 0x80;
}

/* The first byte from @p on that is a quote, a backslash, a control or not ASCII, or the end. */
static const uint8_t *skip_plain(const struct json_walk *w, const uint8_t *p)
{
#ifdef __SSE2__
	for (; w->end - p >= 16; p += 16) {
		unsigned m = special_mask(load16(p));

		if (m)
			return p + __builtin_ctz(m);
	}
	/* Fewer than 16 bytes are left: load the last 16 of the text and shift out those that were checked before. */
	if (w->end - w->begin >= 16) {
		unsigned m = special_mask(load16(w->end - 16)) >> (16 - (w->end - p));

		return m ? p + __builtin_ctz(m) : w->end;
	}
#endif
	while (p < w->end && !is_special(*p))
		p++;
	return p;
}

/* The length in bytes of the character at @p (which is not ASCII), 0 when it is not valid: Unicode Table 3-7. */
static size_t utf8_char(const uint8_t *p, const uint8_t *end)
{
	uint8_t lo = 0x80, hi = 0xbf;
	size_t n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

	if (*p < 0xc2 || *p > 0xf4 || (size_t)(end - p) < n)
		return 0;
	if (*p == 0xe0)
		lo = 0xa0;
	else if (*p == 0xed)
		hi = 0x9f;
	else if (*p == 0xf0)
		lo = 0x90;
	else if (*p == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	if (n > 2 && (p[2] & 0xc0) != 0x80)
		return 0;
	if (n > 3 && (p[3] & 0xc0) != 0x80)
		return 0;
	return n;
}

static const uint8_t *skip_utf8(const struct json_walk *w, const uint8_t *p)
{
	while (p < w->end && *p >= 0x80) {
		size_t n = utf8_char(p, w->end);

		if (n == 0)
			return NULL;
		p += n;
	}
	return p;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The UTF-16 unit of the escape \uXXXX at @p, or -1 when there is none. */
static int unicode_escape(const uint8_t *p, const uint8_t *end)
{
	int unit = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return -1;
		unit = unit << 4 | d;
	}
	return unit;
}

static bool is_high(int unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Returns the end of the escape at @p, or NULL when it is not valid. */
static const uint8_t *skip_escape(const struct json_walk *w, const uint8_t *p, struct json_value *v)
{
	int unit;

	v->escaped = true;
	if (w->end - p < 2)
		return NULL;
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 2;
	default:
		break;
	}
	unit = unicode_escape(p, w->end);
	if (unit < 0)
		return NULL;
	if (is_high(unit) && is_low(unicode_escape(p + 6, w->end)))
		return p + 12;
	if (is_high(unit) || is_low(unit))
		v->lone_surrogate = true;
	return p + 6;
}

/* The cursor is on the opening quote. */
static enum json_error scan_string(struct json_walk *w, struct json_value *v)
{
	const uint8_t *p = w->at + 1;

	v->type = JSON_STRING;
	v->escaped = v->lone_surrogate = v->line_breaks = false;
	for (;;) {
		p = skip_plain(w, p);
		if (p == w->end)
			return JSON_SYNTAX;
		if (*p == '"')
			break;
		if (*p == '\\') {
			p = skip_escape(w, p, v);
			if (!p)
				return JSON_SYNTAX;
		} else if (*p >= 0x80) {
			p = skip_utf8(w, p);
			if (!p)
				return JSON_UTF8;
		} else {
			return JSON_SYNTAX;
		}
	}
	p++;
	v->raw = bytes_of(w->at, (size_t)(p - w->at));
	w->at = p;
	return JSON_OK;
}

/* Moves to the next byte that is not white space; false at the end. */
static inline bool skip_space(struct json_walk *w)
{
	for (; w->at < w->end; w->at++) {
		uint8_t c = *w->at;

		if (c > ' ')
			return true;
		if (c == '\n' || c == '\r')
			w->line_breaks = true;
		else if (c != ' ' && c != '\t')
			return true;
	}
	return false;
}

static bool skip_digits(struct json_walk *w)
{
	const uint8_t *p = w->at;

	while (w->at < w->end && *w->at >= '0' && *w->at <= '9')
		w->at++;
	return w->at > p;
}

static bool skip_if(struct json_walk *w, char a, char b)
{
	if (w->at == w->end || (*w->at != a && *w->at != b))
		return false;
	w->at++;
	return true;
}

static bool skip_number(struct json_walk *w)
{
	skip_if(w, '-', '-');
	if (!skip_if(w, '0', '0') && !skip_digits(w))
		return false;
	if (skip_if(w, '.', '.') && !skip_digits(w))
		return false;
	if (!skip_if(w, 'e', 'E'))
		return true;
	skip_if(w, '+', '-');
	return skip_digits(w);
}

static bool skip_word(struct json_walk *w, struct bytes word)
{
	if ((size_t)(w->end - w->at) < word.len || memcmp(w->at, word.at, word.len) != 0)
		return false;
	w->at += word.len;
	return true;
}

/* A number, true, false or null. */
static enum json_error scan_plain_value(struct json_walk *w, struct json_value *v)
{
	const uint8_t *start = w->at;
	bool ok;

	v->escaped = v->lone_surrogate = v->line_breaks = false;
	switch (*start) {
	case 't':
		v->type = JSON_TRUE;
		ok = skip_word(w, BYTES("true"));
		break;
	case 'f':
		v->type = JSON_FALSE;
		ok = skip_word(w, BYTES("false"));
		break;
	case 'n':
		v->type = JSON_NULL;
		ok = skip_word(w, BYTES("null"));
		break;
	default:
		v->type = JSON_NUMBER;
		ok = skip_number(w);
		break;
	}
	v->raw = bytes_of(start, (size_t)(w->at - start));
	return ok ? JSON_OK : JSON_SYNTAX;
}

/* Scans a key and its colon and stops at the value; fails when the text ends before it. The cursor is on the quote. */
static enum json_error scan_key(struct json_walk *w, struct json_value *key)
{
	enum json_error err;

	if (w->at == w->end || *w->at != '"')
		return JSON_SYNTAX;
	err = scan_string(w, key);
	if (err)
		return err;
	if (!skip_space(w) || *w->at != ':')
		return JSON_SYNTAX;
	w->at++;
	return skip_space(w) ? JSON_OK : JSON_SYNTAX;
}

/* The open levels, one bit each: the innermost is the lowest bit; a set bit is an object. */
struct nest {
	uint64_t objects;
	unsigned depth;
};

/* Moves past the opening bracket under the cursor; in an object that has members also past the first key. */
static enum json_error open_level(struct json_walk *w, struct nest *n, bool *is_empty)
{
	bool object = *w->at == '{';
	struct json_value key;

	if (n->depth >= w->max_depth)
		return JSON_DEPTH;
	n->objects = n->objects << 1 | object;
	n->depth++;
	w->at++;
	if (!skip_space(w))
		return JSON_SYNTAX;
	*is_empty = *w->at == (object ? '}' : ']');
	return object && !*is_empty ? scan_key(w, &key) : JSON_OK;
}

/* Called after a value: closes levels until a comma leads to the next value, or until only @outer are left. */
static enum json_error close_levels(struct json_walk *w, struct nest *n, unsigned outer)
{
	struct json_value key;

	while (n->depth > outer) {
		bool object = n->objects & 1;

		if (!skip_space(w))
			return JSON_SYNTAX;
		if (*w->at == ',') {
			w->at++;
			if (!skip_space(w))
				return JSON_SYNTAX;
			return object ? scan_key(w, &key) : JSON_OK;
		}
		if (*w->at != (object ? '}' : ']'))
			return JSON_SYNTAX;
		w->at++;
		n->objects >>= 1;
		n->depth--;
	}
	return JSON_OK;
}

/* Scans a whole array or object that is inside @outer levels. */
static enum json_error scan_nested(struct json_walk *w, unsigned outer)
{
	struct nest n = { .depth = outer };
	enum json_error err = JSON_OK;
	struct json_value v;

	do {
		bool is_empty = false;

		if (*w->at == '{' || *w->at == '[') {
			err = open_level(w, &n, &is_empty);
			if (err)
				return err;
			if (!is_empty)
				continue;
		} else {
			err = *w->at == '"' ? scan_string(w, &v) : scan_plain_value(w, &v);
			if (err)
				return err;
		}
		err = close_levels(w, &n, outer);
	} while (!err && n.depth > outer);
	return err;
}

/* The cursor is on the first byte of what should be a value. */
static enum json_error scan_value(struct json_walk *w, struct json_value *v, unsigned outer)
{
	const uint8_t *start = w->at;
	bool outer_breaks = w->line_breaks;
	enum json_error err;

	if (*start == '"')
		return scan_string(w, v);
	if (*start != '{' && *start != '[')
		return scan_plain_value(w, v);
	w->line_breaks = false;
	err = scan_nested(w, outer);
	v->type = *start == '{' ? JSON_OBJECT : JSON_ARRAY;
	v->escaped = v->lone_surrogate = false;
	v->line_breaks = w->line_breaks;
	v->raw = bytes_of(start, (size_t)(w->at - start));
	w->line_breaks |= outer_breaks;
	return err;
}

/* Puts the cursor on the first byte that is not white space. */
static enum json_error begin(struct json_walk *w, struct bytes text)
{
	*w = (struct json_walk){ .max_depth = JSON_MAX_DEPTH };
	if (text.len == 0)
		return JSON_EMPTY;
	w->at = w->begin = text.at;
	w->end = text.at + text.len;
	return skip_space(w) ? JSON_OK : JSON_EMPTY;
}

enum json_error json_check(struct bytes text, struct json_value *v)
{
	struct json_value ignored;
	struct json_walk w;
	enum json_error err = begin(&w, text);

	if (!err)
		err = scan_value(&w, v ? v : &ignored, 0);
	if (!err && skip_space(&w))
		err = JSON_SYNTAX;
	return err;
}

enum json_error json_object_begin(struct json_walk *w, struct bytes text)
{
	enum json_error err = begin(w, text);

	if (!err && *w->at != '{') {
		err = json_check(text, NULL);
		if (!err)
			err = JSON_NOT_OBJECT;
	}
	w->state = err ? (int)err : WALK_FIRST;
	if (!err)
		w->at++;
	return err;
}

/* The cursor is on the brace that closes the object: only white space may follow. */
static int end_of_object(struct json_walk *w)
{
	w->at++;
	if (skip_space(w))
		return JSON_SYNTAX;
	w->state = WALK_DONE;
	return 0;
}

static int next_member(struct json_walk *w, struct json_member *m)
{
	struct json_value key;
	enum json_error err;

	if (!skip_space(w))
		return JSON_SYNTAX;
	if (*w->at == '}')
		return end_of_object(w);
	if (w->state == WALK_NEXT) {
		if (*w->at != ',')
			return JSON_SYNTAX;
		w->at++;
		skip_space(w);
	}
	w->state = WALK_NEXT;
	err = scan_key(w, &key);
	if (err)
		return err;
	m->key = bytes_of(key.raw.at + 1, key.raw.len - 2);
	m->key_escaped = key.escaped;
	m->key_lone_surrogate = key.lone_surrogate;
	err = scan_value(w, &m->value, 1);
	return err ? (int)err : 1;
}

int json_object_next(struct json_walk *w, struct json_member *m)
{
	int r;

	if (w->state < 0)
		return w->state;
	if (w->state == WALK_DONE)
		return 0;
	r = next_member(w, m);
	if (r < 0)
		w->state = r;
	return r;
}

/* Writes the escape at @p of a valid string as UTF-8 to @out; returns the end of the escape. */
static const uint8_t *unescape_one(const uint8_t *p, const uint8_t *end, uint8_t out[4], size_t *n)
{
	static const uint8_t short_forms[] = { ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t' };
	int unit, low;

	if (p[1] != 'u') {
		out[0] = p[1] < sizeof(short_forms) && short_forms[p[1]] ? short_forms[p[1]] : p[1];
		*n = 1;
		return p + 2;
	}
	unit = unicode_escape(p, end);
	low = is_high(unit) ? unicode_escape(p + 6, end) : -1;
	if (is_low(low)) {
		*n = utf8_put(out, 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00));
		return p + 12;
	}
	*n = utf8_put(out, is_high(unit) || is_low(unit) ? 0xfffd : (uint32_t)unit);
	return p + 6;
}

size_t json_unescape(struct bytes raw_with_quotes, uint8_t *out)
{
	const uint8_t *p = raw_with_quotes.at + 1, *end = raw_with_quotes.at + raw_with_quotes.len - 1;
	uint8_t *o = out;

	while (p < end) {
		const uint8_t *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash ? slash : end) - p), n;
		uint8_t c[4];

		memcpy(o, p, run);
		o += run;
		p += run;
		if (!slash)
			break;
		p = unescape_one(p, end, c, &n);
		memcpy(o, c, n);
		o += n;
	}
	return (size_t)(o - out);
}

/* Compares the escaped text from @p to @end with @want, one character at a time. */
static bool escaped_eq(const uint8_t *p, const uint8_t *end, struct bytes want)
{
	while (p < end) {
		uint8_t c[4] = { *p };
		size_t n = 1;

		if (*p == '\\')
			p = unescape_one(p, end, c, &n);
		else
			p++;
		if (!bytes_starts(want, bytes_of(c, n)))
			return false;
		bytes_skip(&want, n);
	}
	return want.len == 0;
}

bool json_string_eq(const struct json_value *v, struct bytes want)
{
	if (v->type != JSON_STRING)
		return false;
	if (!v->escaped)
		return bytes_eq(bytes_of(v->raw.at + 1, v->raw.len - 2), want);
	return escaped_eq(v->raw.at + 1, v->raw.at + v->raw.len - 1, want);
}

bool json_int64(const struct json_value *v, int64_t *out)
{
	struct bytes s = v->raw;
	uint64_t n = 0, max = INT64_MAX;
	bool negative;

	if (v->type != JSON_NUMBER)
		return false;
	negative = s.at[0] == '-';
	if (negative) {
		bytes_skip(&s, 1);
		max++;
	}
	for (; s.len; bytes_skip(&s, 1)) {
		unsigned d = s.at[0] - (unsigned)'0';

		if (d > 9 || n > (max - d) / 10)
			return false;
		n = n * 10 + d;
	}
	*out = negative ? (int64_t)(0 - n) : (int64_t)n;
	return true;
}

/* False: @c may be copied unchanged into a string that we write. */
static bool needs_check(uint8_t c)
{
	return is_special(c) || c == 0x7f;
}

#ifdef __SSE2__
static bool needs_check_16(__m128i v)
{
	return special_mask(v) | (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
}

static __m128i load_8_to_15(struct bytes s)
{
	uint64_t head, tail;

	memcpy(&head, s.at, 8);
	memcpy(&tail, s.at + s.len - 8, 8);
	return _mm_set_epi64x((long long)tail, (long long)head);
}
#endif

/* True for nearly every string: no byte needs a check, so @s may be copied as it is. Loads overlap at the end of @s. */
static bool is_clean(struct bytes s)
{
#ifdef __SSE2__
	if (s.len >= 16) {
		for (size_t i = 0; i < s.len - 16; i += 16)
			if (needs_check_16(load16(s.at + i)))
				return false;
		return !needs_check_16(load16(s.at + s.len - 16));
	}
	if (s.len >= 8)
		return !needs_check_16(load_8_to_15(s));
#endif
	for (size_t i = 0; i < s.len; i++)
		if (needs_check(s.at[i]))
			return false;
	return true;
}

static size_t put_escape(uint8_t c, uint8_t out[6])
{
	static const uint8_t short_forms[] = {
		['"'] = '"', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\\'] = '\\'
	};
	static const char digits[] = "0123456789abcdef";

	out[0] = '\\';
	if (c < sizeof(short_forms) && short_forms[c]) {
		out[1] = short_forms[c];
		return 2;
	}
	memcpy(out + 1, "u00", 3);
	out[4] = (uint8_t)digits[c >> 4];
	out[5] = (uint8_t)digits[c & 15];
	return 6;
}

/*
 * Takes the first character off @s, writes it to @out, escaped if necessary, and returns the number of bytes written.
 */
static size_t escape_one(struct bytes *s, uint8_t out[6])
{
	uint8_t c = s->at[0];
	size_t n = 1;

	if (c >= 0x80) {
		n = utf8_char(s->at, s->at + s->len);
		memcpy(out, n ? s->at : (const uint8_t *)"\xef\xbf\xbd", n ? n : 3);
		bytes_skip(s, n ? n : 1);
		return n ? n : 3;
	}
	bytes_skip(s, 1);
	if (needs_check(c))
		return put_escape(c, out);
	out[0] = c;
	return 1;
}

size_t json_escaped_len(struct bytes s)
{
	uint8_t unused[6];
	size_t n = 0;

	if (is_clean(s))
		return s.len;
	while (s.len)
		n += escape_one(&s, unused);
	return n;
}

size_t json_escape(struct bytes s, uint8_t *out)
{
	uint8_t *o = out, c[6];

	if (is_clean(s)) {
		if (s.len)
			memcpy(out, s.at, s.len);
		return s.len;
	}
	while (s.len) {
		size_t n = escape_one(&s, c);

		memcpy(o, c, n);
		o += n;
	}
	return (size_t)(o - out);
}

void json_add_string(struct buf *b, struct bytes s)
{
	buf_add_u8(b, '"');
	if (buf_reserve(b, json_escaped_len(s)))
		b->len += json_escape(s, b->at + b->len);
	buf_add_u8(b, '"');
}

void json_copy_one_line(uint8_t *out, struct bytes json)
{
	for (size_t i = 0; i < json.len; i++)
		out[i] = json.at[i] == '\n' || json.at[i] == '\r' ? ' ' : json.at[i];
}

void json_add_one_line(struct buf *b, struct bytes json)
{
	if (json.len == 0 || !buf_reserve(b, json.len))
		return;
	json_copy_one_line(b->at + b->len, json);
	b->len += json.len;
}
