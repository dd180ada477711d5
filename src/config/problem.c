/* SPDX-License-Identifier: Apache-2.0 */
/* problem: builds and escapes the lines, and finds words of similar spelling. It decides no fault itself. */
#include "config/problem.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "wsc/error.h"

/* Longest part of a value that is quoted, in bytes. */
#define QUOTE_MAX 80
/* Longer words are similar to no other word. */
#define WORD_MAX 64

/*
 * ASCII controls, and U+0080 to U+009F, which are c2 and a second byte in UTF-8. True for both bytes, so that the rest
 * stays valid UTF-8.
 */
static bool is_control(struct bytes s, size_t i)
{
	uint8_t c = s.at[i];

	if (c < 0x20 || c == 0x7f)
		return true;
	if (c == 0xc2)
		return i + 1 < s.len && s.at[i + 1] < 0xa0;
	return c >= 0x80 && c < 0xa0 && i && s.at[i - 1] == 0xc2;
}

static void add_escaped(struct buf *b, struct bytes s)
{
	bool text = utf8_valid(s);

	for (size_t i = 0; i < s.len; i++) {
		if (is_control(s, i) || (!text && s.at[i] >= 0x80))
			buf_addf(b, "\\x%02x", s.at[i]);
		else
			buf_add_u8(b, s.at[i]);
	}
}

static void add_place(struct buf *b, const struct place *p)
{
	buf_add_str(b, p->name);
	if (p->line)
		buf_addf(b, ":%zu", p->line);
	buf_add_str(b, ": ");
	if (!p->key.len)
		return;
	buf_add(b, p->prefix);
	buf_add(b, p->key);
	buf_add_str(b, ": ");
}

/* Stores a copy of @line. */
static int store_line(struct wsc_config *c, enum problem_kind kind, struct buf *line)
{
	struct config_problem *grown = mem_realloc(c->problems, (c->nproblems + 1) * sizeof(*grown));
	char *text;

	if (!grown)
		return -WSC_ENOMEM;
	c->problems = grown;
	if (line->failed || !(text = mem_strndup(line->at, line->len)))
		return -WSC_ENOMEM;
	grown[c->nproblems++] = (struct config_problem){ .text = text, .warning = kind == PROBLEM_WARNING };
	return 0;
}

int problem_add_buf(struct wsc_config *c, enum problem_kind kind, const struct place *p, struct buf *text)
{
	struct buf raw = BUF_INIT, line = BUF_INIT;
	int rc = 0;

	if (kind == PROBLEM_FAULT)
		c->nfaults++;
	if (c->nproblems > PROBLEMS_MAX)
		goto out;
	if (c->nproblems == PROBLEMS_MAX) {
		buf_add_str(&raw, "there are more problems; they are not shown");
	} else {
		add_place(&raw, p);
		buf_add(&raw, buf_bytes(text));
	}
	add_escaped(&line, buf_bytes(&raw));
	line.failed |= raw.failed | text->failed;
	rc = store_line(c, kind, &line);
	if (rc)
		c->no_memory = true;
out:
	buf_deinit(&raw);
	buf_deinit(&line);
	buf_deinit(text);
	return rc ? rc : kind == PROBLEM_FAULT ? -WSC_ECONFIG : 0;
}

int problem_add(struct wsc_config *c, enum problem_kind kind, const struct place *p, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	char *formatted = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && (formatted = mem_alloc((size_t)n + 1))) {
		va_start(ap, fmt);
		vsnprintf(formatted, (size_t)n + 1, fmt, ap);
		va_end(ap);
		buf_add_str(&text, formatted);
		mem_free(formatted);
	} else {
		text.failed = true;
	}
	return problem_add_buf(c, kind, p, &text);
}

void problem_forget_check(struct wsc_config *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->nproblems; i++) {
		struct config_problem *p = &c->problems[i];

		if (!p->from_check) {
			c->problems[kept++] = *p;
			continue;
		}
		c->nfaults -= !p->warning;
		mem_free(p->text);
	}
	c->nproblems = kept;
}

void problems_free(struct wsc_config *c)
{
	for (size_t i = 0; i < c->nproblems; i++)
		mem_free(c->problems[i].text);
	mem_free(c->problems);
	c->problems = NULL;
	c->nproblems = 0;
}

void problem_quote(struct buf *b, struct bytes value)
{
	bool cut = value.len > QUOTE_MAX;

	if (cut)
		value.len = utf8_valid(value) ? utf8_prefix(value, QUOTE_MAX) : QUOTE_MAX;
	buf_add_u8(b, '"');
	buf_add(b, value);
	buf_add_str(b, cut ? "...\"" : "\"");
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/*
 * The edit distance: how many insertions, deletions, substitutions and swaps of neighbours turn @a into @b; the case of
 * letters does not count. Computed row by row.
 */
static unsigned int distance(struct bytes a, struct bytes b)
{
	unsigned int rows[3][WORD_MAX + 1];
	unsigned int *before = rows[0], *last = rows[1], *row = rows[2];

	if (a.len > WORD_MAX || b.len > WORD_MAX)
		return 2 * WORD_MAX;
	for (unsigned int j = 0; j <= b.len; j++)
		last[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned int *spare = before;

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= b.len; j++) {
			bool differ = bytes_lower(a.at[i - 1]) != bytes_lower(b.at[j - 1]);

			row[j] = least(last[j - 1] + differ, least(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b.len];
}

/* The largest distance at which a word of this length is still similar. */
static unsigned int tolerance(size_t len)
{
	return len < 3 ? 0 : len < 6 ? 1 : len < 10 ? 2 : 3;
}

/* Is @word a part of @name, and long enough that this is no accident? For example cert of certificate. */
static bool is_part(struct bytes word, struct bytes name)
{
	return word.len > 3 && word.len < name.len && memmem(name.at, name.len, word.at, word.len);
}

/*
 * The distance of two keys: a name in another section counts as one letter more. A part of a name in the same section
 * counts as one letter.
 */
static unsigned int key_distance(struct bytes key, struct bytes candidate)
{
	struct bytes a = config_leaf(key), b = config_leaf(candidate);
	bool same_section = bytes_eq(bytes_of(key.at, key.len - a.len), bytes_of(candidate.at, candidate.len - b.len));
	unsigned int d = distance(a, b), whole = distance(key, candidate);

	if (same_section && is_part(a, b))
		return 1;
	if (d > tolerance(a.len))
		return d && whole <= tolerance(key.len) ? whole : UINT32_MAX;
	return least(whole, d + !same_section);
}

const char *suggest_key(struct bytes key)
{
	unsigned int best = UINT32_MAX;
	const char *found = NULL;

	for (size_t i = 0; i < (size_t)OPT_COUNT + CONFIG_SECTIONS; i++) {
		const char *candidate = i < OPT_COUNT ? config_rows[i].key : config_sections[i - OPT_COUNT].name;
		unsigned int d = key_distance(key, bytes_str(candidate));

		if (d >= best)
			continue;
		best = d;
		found = candidate;
	}
	return found;
}

int suggest_word(struct bytes word, const struct bytes *words, size_t n)
{
	unsigned int best = tolerance(word.len) + 1;
	int found = -1;

	for (size_t i = 0; i < n; i++) {
		unsigned int d = distance(word, words[i]);

		if (d >= best)
			continue;
		best = d;
		found = (int)i;
	}
	return found;
}
