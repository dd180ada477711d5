/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value: one table gives the parser of each kind; the rest is ranges, lists and the texts of faults. A field changes
 * only after the whole text was found valid.
 */
#include "config/value.h"

#include <inttypes.h>

#include "base/mem.h"
#include "config/parse.h"
#include "wsc/error.h"

struct kind_info {
	bool (*number)(struct bytes s, uint64_t *out);
	bool (*text)(struct bytes s, struct buf *out);
	bool list;
	bool may_be_empty;
	const char *what;    /* "... is not @what" */
	const char *spelled; /* examples of such a value; NULL: the allowed column shows them */
};

static const struct kind_info kinds[KIND_COUNT_OF_KINDS] = {
	[KIND_BOOL] = { .number = parse_bool, .what = "a boolean" },
	[KIND_COUNT] = { .number = parse_count, .what = "a whole number" },
	[KIND_RATE] = { .number = parse_rate, .what = "a rate", .spelled = "100/s or 100" },
	[KIND_DURATION] = { .number = parse_duration, .what = "a duration", .spelled = "500ms, 30s, 5m or 1h" },
	[KIND_SIZE] = { .number = parse_size, .what = "a size", .spelled = "512, 64KiB or 1MiB" },
	[KIND_KIBIBYTES] = { .number = parse_kibibytes, .what = "a size", .spelled = "1024 (KB), 64KiB or 1MiB" },
	[KIND_CHOICE] = { .what = "one of the allowed words" },
	[KIND_NAME] = { .text = parse_name, .what = "a name" },
	[KIND_TEXT] = { .text = parse_text, .what = "a text" },
	[KIND_SECRET] = { .text = parse_text, .what = "a text" },
	[KIND_PATH] = { .text = parse_path, .what = "a path" },
	[KIND_WORDS] = { .text = parse_word, .list = true, .what = "a name" },
	[KIND_FILES] = { .text = parse_text, .list = true, .may_be_empty = true, .what = "a path" },
	[KIND_ADDRESSES] = { .text = parse_address, .list = true, .what = "an address" },
	[KIND_ORIGINS] = { .text = parse_origin, .list = true, .may_be_empty = true, .what = "an origin" },
	[KIND_NETS] = { .list = true, .may_be_empty = true, .what = "an address or a network" },
};

int value_add(struct value *v, struct bytes text, size_t line)
{
	struct value_item *grown = mem_realloc(v->items, (v->n + 1) * sizeof(*grown));

	if (!grown)
		return -WSC_ENOMEM;
	v->items = grown;
	grown[v->n] = (struct value_item){ .text = mem_strndup(text.at, text.len), .len = text.len, .line = line };
	if (!grown[v->n].text)
		return -WSC_ENOMEM;
	v->n++;
	return 0;
}

void value_deinit(struct value *v)
{
	for (size_t i = 0; i < v->n; i++)
		mem_free(v->items[i].text);
	mem_free(v->items);
	v->items = NULL;
	v->n = 0;
}

static struct bytes item_text(const struct value_item *item)
{
	return bytes_of(item->text, item->len);
}

bool kind_is_list(enum config_row_kind kind)
{
	return kinds[kind].list;
}

struct bytes row_word(const struct config_row *row)
{
	const char *bar = strchr(row->allowed, '|');

	if (row->kind == KIND_NAME)
		return BYTES("auto");
	if (!kinds[row->kind].number || !bar)
		return (struct bytes){ 0 };
	return bytes_of(row->allowed, (size_t)(bar - row->allowed));
}

void row_add_allowed(struct buf *b, const struct config_row *row)
{
	struct bytes rest = bytes_str(row->allowed), part;

	if (row->kind != KIND_CHOICE && !kinds[row->kind].number) {
		buf_add(b, rest);
		return;
	}
	for (bool first = true; bytes_next(&rest, '|', &part); first = false) {
		if (!first)
			buf_add_str(b, rest.len ? ", " : " or ");
		buf_add(b, part);
	}
}

/* Adds the text that a fault is about; the text of a secret is never shown. */
static void add_subject(struct buf *b, const struct config_row *row, struct bytes text)
{
	if (row->kind == KIND_SECRET)
		buf_add_str(b, "the value");
	else
		problem_quote(b, text);
}

static int fault(struct wsc_config *c, const struct place *p, const struct config_row *row, struct buf *why)
{
	buf_add_str(why, "; allowed: ");
	row_add_allowed(why, row);
	return problem_add_buf(c, PROBLEM_FAULT, p, why);
}

static int fault_text(struct wsc_config *c, const struct place *p, const struct config_row *row, const char *text)
{
	struct buf why = BUF_INIT;

	buf_add_str(&why, text);
	return fault(c, p, row, &why);
}

static int fault_not_a(struct wsc_config *c, const struct place *p, const struct config_row *row, struct bytes text)
{
	struct buf why = BUF_INIT;

	add_subject(&why, row, text);
	buf_addf(&why, " is not %s", kinds[row->kind].what);
	if (kinds[row->kind].spelled)
		buf_addf(&why, " such as %s", kinds[row->kind].spelled);
	return fault(c, p, row, &why);
}

static int fault_range(struct wsc_config *c, const struct place *p, const struct config_row *row, struct bytes text)
{
	struct buf why = BUF_INIT;

	problem_quote(&why, text);
	buf_add_str(&why, " is out of range");
	return fault(c, p, row, &why);
}

/* Checks @n against "word|low..high" or "low..high" of the row; the limits are parsed as the row's own kind. */
static bool in_range(const struct config_row *row, uint64_t n)
{
	const char *bar = strchr(row->allowed, '|');
	const char *low_text = bar ? bar + 1 : row->allowed;
	const char *dots = strstr(low_text, "..");
	uint64_t low = 0, high = UINT64_MAX;

	if (!dots)
		return true;
	kinds[row->kind].number(bytes_of(low_text, (size_t)(dots - low_text)), &low);
	kinds[row->kind].number(bytes_str(dots + 2), &high);
	return n >= low && n <= high;
}

static void store_number(const struct config_row *row, void *field, uint64_t n)
{
	if (row->kind == KIND_BOOL)
		*(bool *)field = n != 0;
	else
		*(uint64_t *)field = n;
}

static int apply_number(struct wsc_config *c, const struct config_row *row, const struct place *p, struct bytes text)
{
	struct bytes word = row_word(row);
	uint64_t n = 0;

	if (!(word.len && bytes_eq(text, word))) {
		if (!kinds[row->kind].number(text, &n))
			return fault_not_a(c, p, row, text);
		if (!in_range(row, n))
			return fault_range(c, p, row, text);
	}
	store_number(row, config_field(&c->values, row), n);
	return 0;
}

/* More words than any CHOICE has. */
#define CHOICE_MAX 8

static size_t split_choice(const struct config_row *row, struct bytes words[CHOICE_MAX])
{
	struct bytes rest = bytes_str(row->allowed);
	size_t n = 0;

	while (n < CHOICE_MAX && bytes_next(&rest, '|', &words[n]))
		n++;
	return n;
}

static int fault_choice(struct wsc_config *c, const struct place *p, const struct config_row *row, struct bytes text)
{
	struct bytes words[CHOICE_MAX];
	int near = suggest_word(text, words, split_choice(row, words));
	struct buf why = BUF_INIT;

	problem_quote(&why, text);
	buf_add_str(&why, " is unknown; allowed: ");
	row_add_allowed(&why, row);
	if (near >= 0) {
		buf_add_str(&why, "; did you mean ");
		buf_add(&why, words[near]);
		buf_add_u8(&why, '?');
	}
	return problem_add_buf(c, PROBLEM_FAULT, p, &why);
}

/* The enums of config.h are all of this size and begin at 0. */
static int apply_choice(struct wsc_config *c, const struct config_row *row, const struct place *p, struct bytes text)
{
	struct bytes words[CHOICE_MAX];
	size_t n = split_choice(row, words);

	for (unsigned int i = 0; i < n; i++) {
		if (!bytes_eq(text, words[i]))
			continue;
		memcpy(config_field(&c->values, row), &i, sizeof(i));
		return 0;
	}
	return fault_choice(c, p, row, text);
}

_Static_assert(sizeof(enum config_log_level) == sizeof(unsigned int), "apply_choice() writes an unsigned int");

/* Replaces the text in @at with the content of @b. */
static int store_text(char **at, struct buf *b)
{
	char *copy = b->failed ? NULL : mem_strndup(b->at, b->len);

	if (!copy)
		return -WSC_ENOMEM;
	mem_free(*at);
	*at = copy;
	return 0;
}

static int apply_text(struct wsc_config *c, const struct config_row *row, const struct place *p, struct bytes text)
{
	char **field = config_field(&c->values, row);
	struct buf normal = BUF_INIT;
	int rc;

	if (row->kind == KIND_NAME && bytes_eq(text, row_word(row))) {
		mem_free(*field);
		*field = NULL;
		return 0;
	}
	rc = kinds[row->kind].text(text, &normal) ? store_text(field, &normal) : fault_not_a(c, p, row, text);
	buf_deinit(&normal);
	return rc;
}

static void strings_free(struct config_strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		mem_free(s->at[i]);
	mem_free(s->at);
	*s = (struct config_strings){ 0 };
}

static void nets_free(struct config_nets *s)
{
	mem_free(s->at);
	*s = (struct config_nets){ 0 };
}

static struct place item_place(const struct value *v, const struct value_item *item)
{
	struct place p = v->place;

	p.line = item->line;
	return p;
}

static int apply_strings(struct wsc_config *c, const struct config_row *row, const struct value *v)
{
	struct config_strings list = { .at = mem_calloc(v->n + 1, sizeof(*list.at)) };
	struct config_strings *field = config_field(&c->values, row);
	int rc = list.at ? 0 : -WSC_ENOMEM;

	for (size_t i = 0; i < v->n && rc != -WSC_ENOMEM; i++) {
		struct place p = item_place(v, &v->items[i]);
		struct bytes text = item_text(&v->items[i]);
		struct buf normal = BUF_INIT;

		if (!kinds[row->kind].text(text, &normal)) {
			rc = fault_not_a(c, &p, row, text);
		} else if (store_text(&list.at[list.n], &normal)) {
			rc = -WSC_ENOMEM;
		} else {
			list.n++;
		}
		buf_deinit(&normal);
	}
	if (rc) {
		strings_free(&list);
		return rc;
	}
	strings_free(field);
	*field = list;
	return 0;
}

static int apply_nets(struct wsc_config *c, const struct config_row *row, const struct value *v)
{
	struct config_nets list = { .at = mem_calloc(v->n + 1, sizeof(*list.at)) };
	struct config_nets *field = config_field(&c->values, row);
	int rc = list.at ? 0 : -WSC_ENOMEM;

	for (size_t i = 0; i < v->n && rc != -WSC_ENOMEM; i++) {
		struct place p = item_place(v, &v->items[i]);
		struct bytes text = item_text(&v->items[i]);

		if (ip_net_parse(text, &list.at[list.n]))
			list.n++;
		else
			rc = fault_not_a(c, &p, row, text);
	}
	if (rc) {
		nets_free(&list);
		return rc;
	}
	nets_free(field);
	*field = list;
	return 0;
}

/* Splits a text at its commas into the entries of a list. */
static int split_commas(struct value *v)
{
	struct value parts = { .place = v->place, .list = true };
	struct bytes rest = item_text(&v->items[0]), part;
	size_t line = v->items[0].line;

	while (bytes_next(&rest, ',', &part)) {
		if (!value_add(&parts, part, line))
			continue;
		value_deinit(&parts);
		return -WSC_ENOMEM;
	}
	value_deinit(v);
	*v = parts;
	return 0;
}

static int apply_list(struct wsc_config *c, const struct config_row *row, struct value *v)
{
	bool was_text = !v->list;

	if (was_text && split_commas(v))
		return -WSC_ENOMEM;
	if (v->n == 0 && (was_text || !kinds[row->kind].may_be_empty))
		return fault_text(c, &v->place, row,
				  kinds[row->kind].may_be_empty ? "no value is given; write an empty list as []"
								: "at least one entry is needed");
	return row->kind == KIND_NETS ? apply_nets(c, row, v) : apply_strings(c, row, v);
}

static int apply_one(struct wsc_config *c, const struct config_row *row, const struct value *v)
{
	struct bytes text;

	if (v->list)
		return fault_text(c, &v->place, row, "one value is needed, not a list");
	text = item_text(&v->items[0]);
	if (text.len == 0)
		return fault_text(c, &v->place, row, "no value is given");
	if (row->kind == KIND_CHOICE)
		return apply_choice(c, row, &v->place, text);
	return kinds[row->kind].number ? apply_number(c, row, &v->place, text) : apply_text(c, row, &v->place, text);
}

/* Stores the place of the value, for wsc_config_check(). */
static int mark_written(struct wsc_config *c, enum config_option opt, const struct place *p)
{
	struct buf where = BUF_INIT;
	int rc;

	buf_add_str(&where, p->name);
	if (p->line)
		buf_addf(&where, ":%zu", p->line);
	rc = store_text(&c->written[opt], &where);
	buf_deinit(&where);
	return rc;
}

static int apply(struct wsc_config *c, enum config_option opt, struct value *v)
{
	const struct config_row *row = &config_rows[opt];

	return kinds[row->kind].list ? apply_list(c, row, v) : apply_one(c, row, v);
}

int value_apply(struct wsc_config *c, enum config_option opt, struct value *v)
{
	int rc = apply(c, opt, v);

	return rc ? rc : mark_written(c, opt, &v->place);
}

int value_set_default(struct wsc_config *c, enum config_option opt, const char *def)
{
	struct value v = { .place = { .name = "defaults", .key = bytes_str(config_rows[opt].key) } };
	int rc;

	if (!*def)
		return 0;
	rc = value_add(&v, bytes_str(def), 0);
	if (!rc)
		rc = apply(c, opt, &v);
	value_deinit(&v);
	return rc;
}

static void format_strings(const struct config_strings *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		if (i)
			buf_add_str(out, ", ");
		buf_add_str(out, s->at[i]);
	}
}

static void format_nets(const struct config_nets *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		char text[IP_TEXT_MAX];

		ip_format(&s->at[i].ip, text);
		buf_addf(out, "%s%s", i ? ", " : "", text);
		if (s->at[i].prefix != s->at[i].ip.len * 8)
			buf_addf(out, "/%u", s->at[i].prefix);
	}
}

/* Writes @n in the largest unit that gives a whole number; the last unit always does. */
static void format_units(uint64_t n, const uint64_t factors[4], const char *const names[4], struct buf *out)
{
	size_t i = 0;

	while (i < 3 && (n == 0 || n % factors[i]))
		i++;
	buf_addf(out, "%" PRIu64 "%s", n / factors[i], names[i]);
}

static void format_number(const struct config_row *row, uint64_t n, struct buf *out)
{
	static const uint64_t times[4] = { 3600000, 60000, 1000, 1 }, sizes[4] = { 1073741824, 1048576, 1024, 1 };
	static const char *const time_names[4] = { "h", "m", "s", "ms" };
	static const char *const size_names[4] = { "GiB", "MiB", "KiB", "B" };

	if (n == 0 && row_word(row).len)
		buf_add(out, row_word(row));
	else if (row->kind == KIND_DURATION)
		format_units(n, times, time_names, out);
	else if (row->kind == KIND_SIZE || row->kind == KIND_KIBIBYTES)
		format_units(n, sizes, size_names, out);
	else
		buf_addf(out, "%" PRIu64 "%s", n, row->kind == KIND_RATE ? "/s" : "");
}

static void format_choice(const struct config_row *row, const void *field, struct buf *out)
{
	struct bytes words[CHOICE_MAX];
	size_t n = split_choice(row, words);
	unsigned int i;

	memcpy(&i, field, sizeof(i));
	if (i < n)
		buf_add(out, words[i]);
}

static void format_text(const struct config_row *row, const char *text, struct buf *out)
{
	if (text)
		buf_add_str(out, row->kind == KIND_SECRET ? "(secret)" : text);
	else
		buf_add(out, row_word(row));
}

void value_format(const struct config *c, const struct config_row *row, struct buf *out)
{
	const void *field = config_field_const(c, row);

	if (row->kind == KIND_BOOL)
		buf_add_str(out, *(const bool *)field ? "true" : "false");
	else if (row->kind == KIND_CHOICE)
		format_choice(row, field, out);
	else if (row->kind == KIND_NETS)
		format_nets(field, out);
	else if (kinds[row->kind].list)
		format_strings(field, out);
	else if (kinds[row->kind].number)
		format_number(row, *(const uint64_t *)field, out);
	else
		format_text(row, *(char *const *)field, out);
}

void field_free(const struct config_row *row, void *field)
{
	if (row->kind == KIND_NETS)
		nets_free(field);
	else if (kinds[row->kind].list)
		strings_free(field);
	else if (kinds[row->kind].text)
		mem_free(*(char **)field);
}

static int copy_strings(struct config_strings *to, const struct config_strings *from)
{
	to->at = mem_calloc(from->n + 1, sizeof(*to->at));
	if (!to->at)
		return -WSC_ENOMEM;
	for (; to->n < from->n; to->n++)
		if (!(to->at[to->n] = mem_strndup(from->at[to->n], strlen(from->at[to->n]))))
			return -WSC_ENOMEM;
	return 0;
}

static int copy_nets(struct config_nets *to, const struct config_nets *from)
{
	to->at = mem_calloc(from->n + 1, sizeof(*to->at));
	if (!to->at)
		return -WSC_ENOMEM;
	to->n = from->n;
	if (to->n)
		memcpy(to->at, from->at, to->n * sizeof(*to->at));
	return 0;
}

static int copy_text(char **to, const char *from)
{
	if (from && !(*to = mem_strndup(from, strlen(from))))
		return -WSC_ENOMEM;
	return 0;
}

int field_copy(const struct config_row *row, void *to, const void *from)
{
	if (row->kind == KIND_NETS)
		return copy_nets(to, from);
	if (kinds[row->kind].list)
		return copy_strings(to, from);
	if (kinds[row->kind].text)
		return copy_text(to, *(char *const *)from);
	if (row->kind == KIND_BOOL)
		*(bool *)to = *(const bool *)from;
	else if (row->kind == KIND_CHOICE)
		memcpy(to, from, sizeof(unsigned int));
	else
		*(uint64_t *)to = *(const uint64_t *)from;
	return 0;
}
