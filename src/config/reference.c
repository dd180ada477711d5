/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference: three pages from one table. This file holds the text about all keys together; the text about each key is
 * in options.def. The YAML page is itself a valid configuration that changes nothing.
 */
#include "config/reference.h"

#include "config/source.h"

/* ---- wrapped lines ---- */

/*
 * Adds the words of @text in lines of at most @width bytes, each with @indent in front. With @sentences every sentence
 * begins a new line, as manual pages require.
 */
static void add_wrapped(struct buf *out, const char *indent, size_t width, const char *text, bool sentences)
{
	struct bytes rest = bytes_str(text), word;
	size_t column = 0;

	while (bytes_next(&rest, ' ', &word)) {
		if (column && column + 1 + word.len > width) {
			buf_add_u8(out, '\n');
			column = 0;
		}
		if (!column) {
			buf_add_str(out, indent);
			column = strlen(indent);
		} else {
			buf_add_u8(out, ' ');
			column++;
		}
		buf_add(out, word);
		column += word.len;
		if (sentences && word.at[word.len - 1] == '.' && rest.len) {
			buf_add_u8(out, '\n');
			column = 0;
		}
	}
	buf_add_u8(out, '\n');
}

static void add_lines(struct buf *out, const char *const *lines)
{
	for (; *lines; lines++) {
		buf_add_str(out, *lines);
		buf_add_u8(out, '\n');
	}
}

/* The section of a key; -1 for a key of the section wsc itself. */
static int section_of(const struct config_row *row)
{
	const char *dot = strchr(row->key, '.');

	return dot ? config_section_find(bytes_of(row->key, (size_t)(dot - row->key))) : -1;
}

static const char *leaf_of(const struct config_row *row)
{
	const char *dot = strchr(row->key, '.');

	return dot ? dot + 1 : row->key;
}

/* ---- YAML ---- */

static bool needs_quotes(enum config_row_kind kind)
{
	return kind == KIND_TEXT || kind == KIND_SECRET || kind == KIND_PATH || kind == KIND_ADDRESSES ||
	       kind == KIND_ORIGINS;
}

static void add_yaml_item(struct buf *out, const struct config_row *row, struct bytes item)
{
	const char *quote = needs_quotes(row->kind) ? "\"" : "";

	buf_add_str(out, quote);
	buf_add(out, item);
	buf_add_str(out, quote);
}

static void add_yaml_default(struct buf *out, const struct config_row *row)
{
	struct bytes rest = bytes_str(row->def), item;

	if (!kind_is_list(row->kind)) {
		add_yaml_item(out, row, rest);
		return;
	}
	buf_add_u8(out, '[');
	for (bool first = true; bytes_next(&rest, ',', &item); first = false) {
		if (!first)
			buf_add_str(out, ", ");
		add_yaml_item(out, row, item);
	}
	buf_add_u8(out, ']');
}

/* A key without a default, or without effect yet, is written as a comment. */
static bool is_commented_out(const struct config_row *row)
{
	return row->later || (!*row->def && !kind_is_list(row->kind));
}

static void add_yaml_row(struct buf *out, const struct config_row *row)
{
	const char *indent = section_of(row) < 0 ? "  " : "    ";
	const char *comment = section_of(row) < 0 ? "  # " : "    # ";
	struct buf allowed = BUF_INIT;

	add_wrapped(out, comment, 100, row->help, false);
	buf_add_str(&allowed, "Allowed: ");
	row_add_allowed(&allowed, row);
	buf_add_str(&allowed, row->later ? ". Without effect in this version." : ".");
	buf_add_u8(&allowed, '\0');
	if (allowed.failed)
		out->failed = true;
	else
		add_wrapped(out, comment, 100, (const char *)allowed.at, false);
	buf_deinit(&allowed);
	buf_add_str(out, is_commented_out(row) ? comment : indent);
	buf_addf(out, "%s: ", leaf_of(row));
	add_yaml_default(out, row);
	buf_add_str(out, "\n\n");
}

static void write_yaml(struct buf *out)
{
	static const char *const head[] = { "# Every key of wsc with its default. Write only the keys that you change.",
					    "# wsc.yaml(5) and docs/config.md describe how values are written.", "",
					    "wsc:", NULL };
	int section = -1;

	add_lines(out, head);
	for (int i = 0; i < OPT_COUNT; i++) {
		const struct config_row *row = &config_rows[i];

		if (section_of(row) != section) {
			section = section_of(row);
			buf_addf(out, "  # %s\n  %s:\n", config_sections[section].heading,
				 config_sections[section].name);
		}
		add_yaml_row(out, row);
	}
	if (out->len && !out->failed)
		out->len--; /* the last empty line */
}

/* ---- Markdown ---- */

static const char *const md_head[] = {
	"<!-- Made from src/config/options.def by `wsc config --markdown`. Change the table, not this page. -->",
	"# Configuration",
	"",
	"The configuration is one YAML file with a section `wsc:`; other sections are ignored. Every key has a default; most",
	"installations need only these four:",
	"",
	"```yaml",
	"wsc:",
	"  enabled: true",
	"  node_ip: \"0.0.0.0\"",
	"  node_port: 8080",
	"  websocket_origins:",
	"    - \"*\"",
	"```",
	"",
	"`wsc serve config.yaml` reads the file. `wsc serve` without a file reads `./config.yaml` if it exists; else it uses",
	"the defaults, but listens on 127.0.0.1 only. `wsc check config.yaml` reports every fault and does not start the",
	"gateway. `wsc config --defaults` prints a file with every key and its default.",
	"",
	"## How values are written",
	"",
	"- **Keys** in snake_case or kebab-case: `node_port` and `node-port` are the same key.",
	"- **Durations**: a bare number is seconds; `500ms`, `30s`, `5m`, `1h` and `1h30m` too.",
	"- **Sizes**: a bare number is bytes (`security.max_message_size`: KB, that is 1024 bytes); `512B`, `64KiB`, `1MiB`,",
	"  `1GiB` too. `KB`, `MB` and `GB` mean the same as `KiB`, `MiB` and `GiB`.",
	"- **Rates** are per second: `100` or `100/s`.",
	"- **Lists** as YAML lists, or as one text with commas: `a, b`. An empty list is `[]`.",
	"- **`${NAME}`** in a value is replaced by the environment variable `NAME`. If `NAME` is not set but `NAME_FILE` is,",
	"  it is replaced by the content of the file that `NAME_FILE` names, without its last line break. If neither is set,",
	"  that is a fault. Write a plain `${` as `$${`.",
	"",
	"## What overrides what",
	"",
	"1. The file.",
	"2. The environment: `WSC_` and the key in upper case, `_` for `.`: `WSC_HEARTBEAT_INTERVAL=10`,",
	"   `WSC_SECURITY_MAX_MESSAGE_SIZE=2MiB`. `WSC_STORE_URL_FILE=/run/secrets/url` reads the value of `WSC_STORE_URL`",
	"   from a file; `_FILE` works for every other key too. An unknown `WSC_` variable is a warning.",
	"3. `--set key=value` on the command line: `--set security.max_message_size=2MiB`.",
	"",
	"## What is a fault",
	"",
	"An unknown key, a wrong type, a value out of range, a key that appears twice, values that contradict each other:",
	"`wsc serve` and `wsc check` print one line for each and end with exit code 2. The gateway never starts with a default",
	"in place of a faulty value.",
	"",
	"```text",
	"config.yaml:7: wsc.heartbeat_intervall: unknown key; did you mean heartbeat_interval?",
	"config.yaml:9: wsc.node_port: \"80800\" is out of range; allowed: 0..65535",
	"```",
	"",
	"With `enabled: false`, or a file without the section `wsc`, `wsc serve` prints a line and ends with exit code 2. With",
	"a file that cannot be read it ends with exit code 1. A file may be 1 MiB long and nested 32 levels deep; YAML's",
	"anchors and aliases work, merging (`<<`) is refused.",
	"",
	"Some keys ask for more safety or durability than this version has: `auth.mode: token`, a `store.kind` other than",
	"`none`, `admin.token`. With them the gateway does not start. Keys marked *later* are read and checked, but have no",
	"effect yet; each gives one warning.",
	NULL
};

/* Text in a table cell: escapes the characters that Markdown would interpret. */
static void add_md(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("*|<>", *text))
			buf_add_u8(out, '\\');
		buf_add_u8(out, (uint8_t)*text);
	}
}

static void add_md_allowed(struct buf *out, const struct config_row *row)
{
	struct buf allowed = BUF_INIT;

	row_add_allowed(&allowed, row);
	buf_add_u8(&allowed, '\0');
	if (allowed.failed)
		out->failed = true;
	else
		add_md(out, (const char *)allowed.at);
	buf_deinit(&allowed);
}

static void add_md_row(struct buf *out, const struct config_row *row)
{
	buf_addf(out, "| `%s` | ", row->key);
	if (*row->def || kind_is_list(row->kind)) {
		buf_add_u8(out, '`');
		add_yaml_default(out, row);
		buf_add_u8(out, '`');
	} else {
		buf_add_str(out, "not set");
	}
	buf_add_str(out, " | ");
	add_md_allowed(out, row);
	buf_add_str(out, row->later ? " | *later* " : " | ");
	add_md(out, row->help);
	buf_add_str(out, " |\n");
}

static void add_md_heading(struct buf *out, const char *heading)
{
	buf_addf(out, "\n## %s\n\n| key | default | allowed | what it does |\n|---|---|---|---|\n", heading);
}

static void write_markdown(struct buf *out)
{
	int section = -1;

	add_lines(out, md_head);
	add_md_heading(out, "Gateway");
	for (int i = 0; i < OPT_COUNT; i++) {
		if (section_of(&config_rows[i]) != section) {
			section = section_of(&config_rows[i]);
			add_md_heading(out, config_sections[section].heading);
		}
		add_md_row(out, &config_rows[i]);
	}
	buf_add_str(
		out,
		"\n## Older keys\n\nThese keys are accepted, have no effect and give one warning each. The name of a group stands "
		"for all its keys.\n\n| key | why |\n|---|---|\n");
	for (int i = 0; i < CONFIG_IGNORED; i++) {
		buf_addf(out, "| `%s` | ", config_ignored_keys[i].key);
		add_md(out, config_ignored_keys[i].why);
		buf_add_str(out, " |\n");
	}
}

/* ---- mdoc(7) ---- */

static const char *const man_head[] = { ".\\\" SPDX-License-Identifier: Apache-2.0",
					".\\\" Made from src/config/options.def by wsc config --man.",
					".\\\" Change the table, not this page.",
					".Dd November 23, 2026",
					".Dt WSC.YAML 5",
					".Os",
					".Sh NAME",
					".Nm wsc.yaml",
					".Nd configuration of the wsc real-time messaging gateway",
					".Sh DESCRIPTION",
					"The file is YAML.",
					"Only its section",
					".Ic wsc",
					"is read; other sections are ignored.",
					"Every key has a default.",
					"Keys are written in snake_case or kebab-case.",
					".Pp",
					"A bare number is seconds for a duration;",
					".Li 500ms ,",
					".Li 30s ,",
					".Li 5m",
					"and",
					".Li 1h",
					"are durations too.",
					"A bare number is bytes for a size, and units of 1024 bytes for",
					".Ic security.max_message_size ;",
					".Li 64KiB",
					"and",
					".Li 1MiB",
					"are sizes too.",
					"A list is a YAML list, or one text with commas between its entries;",
					"an empty list is",
					".Li [] .",
					".Pp",
					".Li ${NAME}",
					"in a value is replaced by that environment variable.",
					"A variable that is not set is a fault, unless",
					".Ev NAME_FILE",
					"names a file that holds the value.",
					"Write a plain",
					".Li ${",
					"as",
					".Li $${ .",
					".Pp",
					"An unknown key, a wrong type, a value out of range, a key that appears",
					"twice and values that contradict each other are faults.",
					"All of them are reported, one line each, and the gateway does not start.",
					"A key that is marked",
					".Em later",
					"is read and checked, but has no effect in this version.",
					".Pp",
					"These are the keys:",
					NULL };

static const char *const man_tail[] = { ".Sh ENVIRONMENT",
					".Bl -tag -width Ds",
					".It Ev WSC_KEY",
					"Overrides the file: the key in upper case,",
					".Sq _",
					"for",
					".Sq \\&. ,",
					"for example",
					".Ev WSC_SECURITY_MAX_MESSAGE_SIZE .",
					".It Ev WSC_KEY_FILE",
					"Names a file that holds the value.",
					".El",
					".Sh EXAMPLES",
					".Bd -literal -offset indent",
					"wsc:",
					"  enabled: true",
					"  node_ip: \"0.0.0.0\"",
					"  node_port: 8080",
					"  websocket_origins:",
					"    - \"*\"",
					".Ed",
					".Sh SEE ALSO",
					".Xr wsc 1",
					NULL };

/* On a macro line, punctuation at the end must be a separate word. */
static void add_man_row(struct buf *out, const struct config_row *row)
{
	struct buf facts = BUF_INIT;

	buf_addf(out, ".It Ic %s\n", row->key);
	if (row->later)
		buf_add_str(out, ".Pq Em later\n");
	add_wrapped(out, "", 78, row->help, true);
	buf_add_str(&facts, "Default: ");
	if (*row->def || kind_is_list(row->kind))
		add_yaml_default(&facts, row);
	else
		buf_add_str(&facts, "not set");
	buf_add_str(&facts, "; allowed: ");
	row_add_allowed(&facts, row);
	buf_add(&facts, bytes_of(".", 2));
	if (facts.failed)
		out->failed = true;
	else
		add_wrapped(out, "", 78, (const char *)facts.at, false);
	buf_deinit(&facts);
}

static void write_man(struct buf *out)
{
	int section = -1;

	add_lines(out, man_head);
	buf_add_str(out, ".Ss Gateway\n.Bl -tag -width Ds\n");
	for (int i = 0; i < OPT_COUNT; i++) {
		if (section_of(&config_rows[i]) != section) {
			section = section_of(&config_rows[i]);
			buf_addf(out, ".El\n.Ss %s\n.Bl -tag -width Ds\n", config_sections[section].heading);
		}
		add_man_row(out, &config_rows[i]);
	}
	buf_add_str(out, ".El\n.Ss Older keys\nThese keys are accepted, have no effect and give one warning each.\n"
			 "The name of a group stands for all its keys.\n.Bl -tag -width Ds\n");
	for (int i = 0; i < CONFIG_IGNORED; i++) {
		buf_addf(out, ".It Ic %s\n", config_ignored_keys[i].key);
		add_wrapped(out, "", 78, config_ignored_keys[i].why, false);
	}
	buf_add_str(out, ".El\n");
	add_lines(out, man_tail);
}

void reference_write(struct buf *out, enum wsc_config_form form)
{
	switch (form) {
	case WSC_CONFIG_YAML:
		write_yaml(out);
		break;
	case WSC_CONFIG_MARKDOWN:
		write_markdown(out);
		break;
	case WSC_CONFIG_MAN:
		write_man(out);
		break;
	}
}
