/* SPDX-License-Identifier: Apache-2.0 */
/* source_overrides: reads the environment variables that override keys, WSC_... and WSC_..._FILE. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/source.h"
#include "wsc/error.h"

void source_env_name(const char *key, char out[SOURCE_ENV_NAME_MAX])
{
	size_t n = 4;

	memcpy(out, "WSC_", 4);
	for (; *key && n < SOURCE_ENV_NAME_MAX - 1; key++)
		out[n++] = *key == '.' ? '_' : (char)(*key >= 'a' && *key <= 'z' ? *key - 32 : *key);
	out[n] = '\0';
}

static int apply_variable(struct wsc_config *c, enum config_option opt)
{
	char name[SOURCE_ENV_NAME_MAX], file[SOURCE_ENV_NAME_MAX + 8];
	struct place p = { .name = "environment" };
	struct buf text = BUF_INIT;
	int rc;

	source_env_name(config_rows[opt].key, name);
	p.key = bytes_str(name);
	snprintf(file, sizeof(file), "%s_FILE", name);
	if (getenv(name) && getenv(file))
		return problem_add(c, PROBLEM_FAULT, &p, "%s is set too; remove one of the two", file);
	rc = source_variable(c, &p, name, &text);
	if (rc == 0)
		rc = source_text(c, opt, &p, buf_bytes(&text));
	buf_deinit(&text);
	return rc == SOURCE_UNSET ? 0 : rc;
}

/* For a service named wsc, orchestrators set WSC_SERVICE_HOST, WSC_PORT_8080_TCP and so on: these are not our keys. */
static bool is_foreign(struct bytes name)
{
	return bytes_starts(name, BYTES("WSC_SERVICE_")) || bytes_eq(name, BYTES("WSC_PORT")) ||
	       bytes_starts(name, BYTES("WSC_PORT_"));
}

/* The older key that @name belongs to: the key itself, or its group. -1: none. */
static int find_ignored(struct bytes name)
{
	for (int i = 0; i < CONFIG_IGNORED; i++) {
		char known[SOURCE_ENV_NAME_MAX];
		struct bytes k;

		source_env_name(config_ignored_keys[i].key, known);
		k = bytes_str(known);
		if (bytes_eq(name, k) || (bytes_starts(name, k) && name.at[k.len] == '_'))
			return i;
	}
	return -1;
}

static int warn_variable(struct wsc_config *c, struct bytes name)
{
	struct place p = { .name = "environment", .key = name };
	char known[OPT_COUNT][SOURCE_ENV_NAME_MAX];
	struct bytes words[OPT_COUNT];
	int near, ignored = find_ignored(name);

	if (ignored >= 0)
		return problem_add(c, PROBLEM_WARNING, &p, "has no effect: %s", config_ignored_keys[ignored].why);
	for (size_t i = 0; i < OPT_COUNT; i++) {
		source_env_name(config_rows[i].key, known[i]);
		words[i] = bytes_str(known[i]);
	}
	near = suggest_word(name, words, OPT_COUNT);
	if (near < 0)
		return problem_add(c, PROBLEM_WARNING, &p, "unknown variable; it has no effect");
	return problem_add(c, PROBLEM_WARNING, &p, "unknown variable; it has no effect; did you mean %s?", known[near]);
}

static bool is_row_variable(struct bytes name)
{
	for (size_t i = 0; i < OPT_COUNT; i++) {
		char known[SOURCE_ENV_NAME_MAX];
		struct bytes rest = name;

		source_env_name(config_rows[i].key, known);
		if (!bytes_starts(name, bytes_str(known)))
			continue;
		bytes_skip(&rest, strlen(known));
		if (rest.len == 0 || bytes_eq(rest, BYTES("_FILE")))
			return true;
	}
	return false;
}

static int warn_unknown_variables(struct wsc_config *c)
{
	int rc = 0;

	for (char **e = environ; e && *e && !rc; e++) {
		struct bytes name = bytes_of(*e, strcspn(*e, "="));

		if (bytes_starts(name, BYTES("WSC_")) && !is_foreign(name) && !is_row_variable(name))
			rc = warn_variable(c, name);
	}
	return rc;
}

int source_env(struct wsc_config *c)
{
	int rc, result = 0;

	for (int opt = 0; opt < OPT_COUNT; opt++) {
		rc = apply_variable(c, (enum config_option)opt);
		if (rc == -WSC_ENOMEM)
			return rc;
		if (rc)
			result = rc;
	}
	rc = warn_unknown_variables(c);
	return rc ? rc : result;
}
