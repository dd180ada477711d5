/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_settings: the same value by each of its ways: in a YAML file, as a variable of the environment, as --set, and as
 * ${NAME} in a file. All must agree: taken or refused, and with the same meaning; a fault names the key and is one
 * line. Input: a byte that picks the key, the value; or, from 0xf0 on, a text with ${} to expand, against a second
 * expander.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "config/source.h"
#include "fuzz.h"
#include "wsc/config.h"
#include "wsc/error.h"

/* Has the one line of the fault the name that the user wrote? */
static void check_faults(const struct wsc_config *c, const char *key, bool expected)
{
	const char *line;
	bool warning, any = false, named = false;

	for (size_t i = 0; (line = wsc_config_problem(c, i, &warning)); i++) {
		for (const char *p = line; *p; p++)
			assert((unsigned char)*p >= 0x20 && *p != 0x7f);
		assert(utf8_valid(bytes_str(line)));
		any |= !warning;
		named |= !warning && strstr(line, key);
	}
	assert(any == expected && named == expected);
}

static void format(const struct wsc_config *c, const struct config_row *row, struct buf *out)
{
	if (row->kind == KIND_SECRET) { /* its format does not show it */
		const char *secret = *(char *const *)config_field_const(&c->values, row);

		buf_add_str(out, secret ? secret : "(none)");
	} else {
		value_format(&c->values, row, out);
	}
}

/* As YAML says it in double quotes: everything but letters and digits by its number. */
static void quote(struct buf *b, struct bytes value)
{
	buf_add_u8(b, '"');
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] >= 0x80)
			buf_add_u8(b, value.at[i]);
		else
			buf_addf(b, "\\x%02x", value.at[i]);
	buf_add_u8(b, '"');
}

static int by_yaml(struct wsc_config *c, const struct config_row *row, struct bytes value)
{
	const char *dot = strchr(row->key, '.');
	struct buf b = BUF_INIT;
	int rc;

	buf_add_str(&b, "wsc:\n  ");
	if (dot)
		buf_addf(&b, "%.*s:\n    %s: ", (int)(dot - row->key), row->key, dot + 1);
	else
		buf_addf(&b, "%s: ", row->key);
	quote(&b, value);
	buf_add_u8(&b, '\n');
	rc = wsc_config_parse(c, "fuzz.yaml", (const char *)b.at, b.len);
	buf_deinit(&b);
	return rc;
}

static int by_environment(struct wsc_config *c, const struct config_row *row, const char *value)
{
	char name[SOURCE_ENV_NAME_MAX];
	int rc;

	source_env_name(row->key, name);
	assert(setenv(name, value, 1) == 0);
	rc = wsc_config_env(c);
	unsetenv(name);
	return rc;
}

static void check_value(const struct config_row *row, const char *value)
{
	struct wsc_config *way[4];
	struct buf meaning[4] = { BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT };
	char name[SOURCE_ENV_NAME_MAX];
	int rc[4];

	for (int i = 0; i < 4; i++)
		way[i] = wsc_config_new();
	assert(setenv("FUZZ_VALUE", value, 1) == 0);
	rc[0] = wsc_config_set(way[0], row->key, value);
	rc[1] = by_environment(way[1], row, value);
	rc[2] = by_yaml(way[2], row, bytes_str(value));
	rc[3] = by_yaml(way[3], row, BYTES("${FUZZ_VALUE}"));
	unsetenv("FUZZ_VALUE");
	source_env_name(row->key, name);
	check_faults(way[0], row->key, rc[0] != 0);
	check_faults(way[1], name, rc[1] != 0);
	for (int i = 0; i < 4; i++)
		format(way[i], row, &meaning[i]);
	assert(rc[0] == rc[1] && bytes_eq(buf_bytes(&meaning[0]), buf_bytes(&meaning[1])));
	/* In a file ${ is expanded, a list is written as one, and a text that is no UTF-8 is no YAML. */
	if (!strstr(value, "${") && utf8_valid(bytes_str(value)) && value[strspn(value, " \t")] != '[') {
		assert((rc[2] == 0) == (rc[0] == 0));
		if (rc[0] == 0)
			assert(bytes_eq(buf_bytes(&meaning[0]), buf_bytes(&meaning[2])));
	}
	if (value[strspn(value, " \t")] != '[' && rc[3] == 0 && rc[0] == 0)
		assert(bytes_eq(buf_bytes(&meaning[0]), buf_bytes(&meaning[3])));
	for (int i = 0; i < 4; i++) {
		wsc_config_free(way[i]);
		buf_deinit(&meaning[i]);
	}
}

/* ---- ${} ------------------------------------------------------------------------------------------------------------------ */

static bool name_char(char c, bool first)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9');
}

/* False: it cannot be expanded. */
static bool reference_expand(const char *in, struct buf *out)
{
	while (*in) {
		char name[200];
		size_t n = 0;
		const char *value;

		if (strncmp(in, "$${", 3) == 0) {
			buf_add_str(out, "${");
			in += 3;
			continue;
		}
		if (strncmp(in, "${", 2) != 0) {
			buf_add_u8(out, (uint8_t)*in++);
			continue;
		}
		for (in += 2; n < 128 && name_char(*in, n == 0); in++)
			name[n++] = *in;
		name[n] = 0;
		if (!n || *in++ != '}' || !(value = getenv(name)))
			return false;
		buf_add_str(out, value);
	}
	return true;
}

static void check_expansion(const char *text)
{
	struct wsc_config *c = wsc_config_new();
	struct place p = { .name = "fuzz", .key = BYTES("node_id") };
	struct buf got = BUF_INIT, want = BUF_INIT;
	bool ok = reference_expand(text, &want);
	int rc = source_expand(c, &p, bytes_str(text), &got);

	assert((rc == 0) == ok);
	if (ok)
		assert(bytes_eq(buf_bytes(&got), buf_bytes(&want)));
	check_faults(c, "node_id", !ok);
	buf_deinit(&got);
	buf_deinit(&want);
	wsc_config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 1 || size > 400)
		return 0;
	setenv("A", "alpha", 1);
	setenv("B_2", "", 1);
	setenv("C", "${A}", 1);
	text = mem_strndup(data + 1, size - 1);
	if (data[0] >= 0xf0)
		check_expansion(text);
	else
		check_value(&config_rows[data[0] % OPT_COUNT], text);
	mem_free(text);
	return 0;
}
