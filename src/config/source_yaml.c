/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_yaml: reads the section `wsc:` of a YAML file, key by key, with the line of each. Reading continues after a
 * fault, so that all faults are found at once. The text is parsed twice: first as events, so that its depth is checked
 * before anything is built, then as a document, of which at most three levels are read. Other sections are not read.
 */
#include <yaml.h>

#include "config/source.h"
#include "wsc/error.h"

/* Much deeper than any key, and low enough that the stack of the parser cannot overflow. */
#define DEPTH_MAX 32

struct reader {
	struct wsc_config *c;
	const char *name;
	yaml_document_t doc;
	bool no_memory;
	bool found; /* the section wsc */
	bool seen[OPT_COUNT], seen_section[CONFIG_SECTIONS], seen_ignored[CONFIG_IGNORED];
};

static size_t line_of(const yaml_node_t *node)
{
	return node->start_mark.line + 1;
}

static struct bytes text_of(const yaml_node_t *node)
{
	return bytes_of(node->data.scalar.value, node->data.scalar.length);
}

static bool is_null(const yaml_node_t *node)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (bytes_eq(text_of(node), bytes_str(words[i])))
			return true;
	return false;
}

static int note(struct reader *r, int rc)
{
	if (rc == -WSC_ENOMEM)
		r->no_memory = true;
	return rc;
}

/* The most frequent cause of a parser's error, because the parser's own message does not name it. */
static const char *hint(const yaml_parser_t *parser)
{
	struct bytes context = bytes_str(parser->context);

	if (bytes_eq(context, BYTES("while scanning an alias")))
		return "; put a value that begins with * in quotes";
	if (bytes_eq(context, BYTES("while scanning for the next token")))
		return "; indent lines with spaces, and put a value that begins with @ or ` in quotes";
	return "";
}

static int syntax_fault(struct wsc_config *c, struct place *p, const yaml_parser_t *parser)
{
	if (parser->error == YAML_MEMORY_ERROR)
		return -WSC_ENOMEM;
	if (parser->error == YAML_READER_ERROR)
		return problem_add(c, PROBLEM_FAULT, p, "not a YAML text: %s at byte %zu", parser->problem,
				   parser->problem_offset);
	if (!p->key.len)
		p->line = parser->problem_mark.line + 1;
	return problem_add(c, PROBLEM_FAULT, p, "not valid YAML: %s%s",
			   parser->problem ? parser->problem : "unreadable", hint(parser));
}

static int event_fault(struct wsc_config *c, struct place *p, const yaml_event_t *e, const char *what)
{
	if (!p->key.len)
		p->line = e->start_mark.line + 1;
	return problem_add(c, PROBLEM_FAULT, p, "%s", what);
}

struct shape {
	size_t depth, documents;
};

static int check_event(struct wsc_config *c, struct place *p, struct shape *s, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return s->documents++ ? event_fault(c, p, e, "a second document (---) is not allowed") : 0;
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return ++s->depth > DEPTH_MAX ? event_fault(c, p, e, "nested more than 32 levels deep") : 0;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		s->depth--;
		return 0;
	default:
		return 0;
	}
}

/* libyaml aborts when the input is NULL, and an empty text may be at NULL. */
static int open_parser(yaml_parser_t *parser, struct bytes text)
{
	if (!yaml_parser_initialize(parser))
		return -WSC_ENOMEM;
	yaml_parser_set_input_string(parser, text.at ? text.at : (const uint8_t *)"", text.len);
	return 0;
}

/* Checks that the text is one well-formed document that is not too deep. */
static int check_shape(struct wsc_config *c, struct place *p, struct bytes text)
{
	struct shape shape = { 0 };
	yaml_parser_t parser;
	bool last = false;
	int rc = open_parser(&parser, text);

	if (rc)
		return rc;
	while (!last && !rc) {
		yaml_event_t e;

		if (!yaml_parser_parse(&parser, &e)) {
			rc = syntax_fault(c, p, &parser);
			break;
		}
		rc = check_event(c, p, &shape, &e);
		last = e.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&e);
	}
	yaml_parser_delete(&parser);
	return rc;
}

/* Checks the text and builds its document; only building it finds an unknown alias. */
static int load(struct wsc_config *c, struct place *p, struct bytes text, yaml_document_t *doc)
{
	yaml_parser_t parser;
	int rc = check_shape(c, p, text);

	if (!rc)
		rc = open_parser(&parser, text);
	if (rc)
		return rc;
	if (!yaml_parser_load(&parser, doc))
		rc = syntax_fault(c, p, &parser);
	yaml_parser_delete(&parser);
	return rc;
}

static void add_scalar(struct reader *r, struct value *v, const yaml_node_t *node, bool *broken)
{
	struct place p = v->place;
	struct buf text = BUF_INIT;

	p.line = line_of(node);
	if (!is_null(node) && note(r, source_expand(r->c, &p, text_of(node), &text)))
		*broken = true;
	else
		note(r, value_add(v, buf_bytes(&text), p.line));
	buf_deinit(&text);
}

static void add_items(struct reader *r, struct value *v, const yaml_node_t *list, bool *broken)
{
	for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
		yaml_node_t *node = yaml_document_get_node(&r->doc, *i);
		struct place p = v->place;

		if (node->type == YAML_SCALAR_NODE) {
			add_scalar(r, v, node, broken);
			continue;
		}
		p.line = line_of(node);
		note(r, problem_add(r->c, PROBLEM_FAULT, &p, "each entry of the list must be one value"));
		*broken = true;
	}
}

static void read_value(struct reader *r, enum config_option opt, const struct place *p, const yaml_node_t *node)
{
	struct value v = { .place = *p, .list = node->type == YAML_SEQUENCE_NODE };
	bool broken = false;

	if (node->type == YAML_MAPPING_NODE) {
		broken = true;
		note(r, problem_add(r->c, PROBLEM_FAULT, p, "a value is needed, not a section"));
	} else if (v.list) {
		add_items(r, &v, node, &broken);
	} else {
		add_scalar(r, &v, node, &broken);
	}
	if (!broken && !r->no_memory)
		note(r, value_apply(r->c, opt, &v));
	value_deinit(&v);
}

/* True at the first call; later calls report that the key appears twice. */
static bool first_time(struct reader *r, bool *seen, const struct place *p)
{
	if (*seen)
		note(r, problem_add(r->c, PROBLEM_FAULT, p, "the key appears twice"));
	return !*seen && (*seen = true);
}

/* Reads one key of a section; a section contains no other sections. @full is the key with its section. */
static void read_member(struct reader *r, struct bytes full, const struct place *p, const yaml_node_t *value)
{
	int opt = config_row_find(full), ignored = config_ignored_find(full);

	if (opt >= 0) {
		if (first_time(r, &r->seen[opt], p))
			read_value(r, (enum config_option)opt, p, value);
	} else if (ignored < 0 || first_time(r, &r->seen_ignored[ignored], p)) {
		note(r, source_unknown(r->c, p, full));
	}
}

/* Appends a key in its normal form: "max-message-size" becomes "max_message_size". */
static void add_key(struct buf *full, const yaml_node_t *key)
{
	size_t start = full->len;

	buf_add(full, text_of(key));
	for (size_t i = start; i < full->len; i++)
		if (full->at[i] == '-')
			full->at[i] = '_';
}

/* Is @key a valid name? If not, reports the fault. */
static bool is_key(struct reader *r, struct place *p, const yaml_node_t *key)
{
	p->line = line_of(key);
	if (key->type != YAML_SCALAR_NODE) {
		note(r, problem_add(r->c, PROBLEM_FAULT, p, "a key must be a word, not a list or a section"));
		return false;
	}
	p->key = text_of(key);
	if (!bytes_eq(p->key, BYTES("<<")))
		return true;
	note(r, problem_add(r->c, PROBLEM_FAULT, p, "merging (<<) is not supported; write the keys out"));
	return false;
}

/* True for a mapping; false when it is empty, or after a fault was reported. */
static bool is_section(struct reader *r, const struct place *p, const yaml_node_t *value)
{
	if (value->type == YAML_MAPPING_NODE)
		return true;
	if (!is_null(value))
		note(r,
		     problem_add(r->c, PROBLEM_FAULT, p, "a section is needed: its keys, indented, on the next lines"));
	return false;
}

static void read_section(struct reader *r, int section, const struct place *at, const yaml_node_t *map)
{
	struct buf prefix = BUF_INIT;

	if (!first_time(r, &r->seen_section[section], at) || !is_section(r, at, map))
		return;
	buf_addf(&prefix, "wsc.%s.", config_sections[section].name);
	for (yaml_node_pair_t *i = map->data.mapping.pairs.start; i < map->data.mapping.pairs.top; i++) {
		yaml_node_t *key = yaml_document_get_node(&r->doc, i->key);
		struct place p = { .name = r->name, .prefix = buf_bytes(&prefix) };
		struct buf full = BUF_INIT;

		if (is_key(r, &p, key)) {
			buf_addf(&full, "%s.", config_sections[section].name);
			add_key(&full, key);
			if (full.failed || prefix.failed)
				r->no_memory = true;
			else
				read_member(r, buf_bytes(&full), &p, yaml_document_get_node(&r->doc, i->value));
		}
		buf_deinit(&full);
	}
	buf_deinit(&prefix);
}

static void read_wsc(struct reader *r, const yaml_node_t *map)
{
	for (yaml_node_pair_t *i = map->data.mapping.pairs.start; i < map->data.mapping.pairs.top; i++) {
		yaml_node_t *key = yaml_document_get_node(&r->doc, i->key);
		yaml_node_t *value = yaml_document_get_node(&r->doc, i->value);
		struct place p = { .name = r->name, .prefix = BYTES("wsc.") };
		struct buf full = BUF_INIT;
		int section;

		if (!is_key(r, &p, key))
			continue;
		add_key(&full, key);
		section = config_section_find(buf_bytes(&full));
		if (full.failed)
			r->no_memory = true;
		else if (section >= 0)
			read_section(r, section, &p, value);
		else
			read_member(r, buf_bytes(&full), &p, value);
		buf_deinit(&full);
	}
}

static void read_root(struct reader *r)
{
	yaml_node_t *root = yaml_document_get_root_node(&r->doc);
	struct place p = { .name = r->name };

	if (!root || is_null(root))
		return;
	p.line = line_of(root);
	if (!is_section(r, &p, root))
		return;
	for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top; i++) {
		yaml_node_t *key = yaml_document_get_node(&r->doc, i->key);
		yaml_node_t *value = yaml_document_get_node(&r->doc, i->value);

		if (key->type != YAML_SCALAR_NODE || !bytes_eq(text_of(key), BYTES("wsc")))
			continue;
		p.line = line_of(key);
		p.key = text_of(key);
		if (first_time(r, &r->found, &p) && is_section(r, &p, value))
			read_wsc(r, value);
	}
}

int source_yaml(struct wsc_config *c, const char *name, struct bytes text)
{
	struct reader r = { .c = c, .name = name };
	struct place p = { .name = name };
	size_t faults = c->nfaults;
	int rc;

	if (text.len > SOURCE_FILE_MAX)
		return problem_add(c, PROBLEM_FAULT, &p, "longer than 1MiB");
	rc = load(c, &p, text, &r.doc);
	if (rc)
		return rc;
	read_root(&r);
	yaml_document_delete(&r.doc);
	buf_clear(&c->sectionless);
	if (!r.found)
		buf_add(&c->sectionless, bytes_of(name, strlen(name) + 1));
	if (r.no_memory || c->sectionless.failed)
		return -WSC_ENOMEM;
	return c->nfaults > faults ? -WSC_ECONFIG : 0;
}

/* Reads a list in YAML's flow form from a variable or an argument. Its line numbers would not help the user. */
static int add_flow_list(struct wsc_config *c, struct value *v, struct bytes text)
{
	struct reader r = { .c = c, .name = v->place.name };
	struct place p = v->place;
	yaml_node_t *root;
	bool broken = false;
	int rc = load(c, &p, text, &r.doc);

	if (rc)
		return rc;
	root = yaml_document_get_root_node(&r.doc);
	v->list = root && root->type == YAML_SEQUENCE_NODE;
	for (yaml_node_item_t *i = v->list ? root->data.sequence.items.start : NULL;
	     i && i < root->data.sequence.items.top && !rc; i++) {
		yaml_node_t *node = yaml_document_get_node(&r.doc, *i);

		broken = node->type != YAML_SCALAR_NODE;
		rc = broken ? -WSC_ECONFIG : value_add(v, is_null(node) ? (struct bytes){ 0 } : text_of(node), 0);
	}
	yaml_document_delete(&r.doc);
	if (broken || (!rc && !v->list))
		return problem_add(c, PROBLEM_FAULT, &v->place, "each entry of the list must be one value");
	return rc;
}

int source_text(struct wsc_config *c, enum config_option opt, const struct place *p, struct bytes text)
{
	bool flow = kind_is_list(config_rows[opt].kind) && bytes_starts(text, BYTES("["));
	struct value v = { .place = *p };
	int rc = flow ? add_flow_list(c, &v, text) : value_add(&v, text, 0);

	if (!rc)
		rc = value_apply(c, opt, &v);
	value_deinit(&v);
	return rc;
}

int source_unknown(struct wsc_config *c, const struct place *p, struct bytes key)
{
	int ignored = config_ignored_find(key);
	const char *near;

	if (ignored >= 0)
		return problem_add(c, PROBLEM_WARNING, p, "has no effect: %s", config_ignored_keys[ignored].why);
	near = c->nproblems < PROBLEMS_MAX ? suggest_key(key) : NULL;
	if (!near)
		return problem_add(c, PROBLEM_FAULT, p, "unknown key");
	return problem_add(c, PROBLEM_FAULT, p, "unknown key; did you mean %s?", near);
}
