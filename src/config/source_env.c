/* SPDX-License-Identifier: Apache-2.0 */
/* source_env: reads environment variables, the files that they name, and ${NAME} in a text. Changes none of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/source.h"
#include "wsc/error.h"

#define READ_STEP 16384u

static int read_all(int fd, size_t max, struct buf *out)
{
	for (;;) {
		ssize_t n;

		if (!buf_reserve(out, READ_STEP))
			return -ENOMEM;
		n = read(fd, out->at + out->len, READ_STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		out->len += (size_t)n;
		if (out->len > max)
			return -E2BIG;
	}
}

int source_read_file(const char *path, size_t max, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return -errno;
	rc = read_all(fd, max, out);
	close(fd);
	return rc;
}

static void drop_line_break(struct buf *b)
{
	if (b->len && b->at[b->len - 1] == '\n')
		b->len--;
	if (b->len && b->at[b->len - 1] == '\r')
		b->len--;
}

static int read_secret(struct wsc_config *c, const struct place *p, const char *variable, const char *path,
		       struct buf *out)
{
	struct buf content = BUF_INIT;
	int rc = source_read_file(path, SOURCE_SECRET_MAX, &content);

	if (rc == -ENOMEM) {
		rc = -WSC_ENOMEM;
	} else if (rc == -E2BIG) {
		rc = problem_add(c, PROBLEM_FAULT, p, "%s: the file %s is longer than 64KiB", variable, path);
	} else if (rc) {
		rc = problem_add(c, PROBLEM_FAULT, p, "%s: the file %s cannot be read: %s", variable, path,
				 strerrordesc_np(-rc));
	} else {
		drop_line_break(&content);
		buf_add(out, buf_bytes(&content));
	}
	buf_deinit(&content);
	return rc;
}

int source_variable(struct wsc_config *c, const struct place *p, const char *name, struct buf *out)
{
	const char *value = getenv(name);
	struct buf file = BUF_INIT;
	int rc = SOURCE_UNSET;

	if (value) {
		buf_add_str(out, value);
		return out->failed ? -WSC_ENOMEM : 0;
	}
	buf_add_str(&file, name);
	buf_add(&file, bytes_of("_FILE", 6));
	if (file.failed)
		rc = -WSC_ENOMEM;
	else if ((value = getenv((const char *)file.at)))
		rc = read_secret(c, p, (const char *)file.at, value, out);
	buf_deinit(&file);
	return rc ? rc : out->failed ? -WSC_ENOMEM : 0;
}

static bool is_variable_name(struct bytes s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t l = bytes_lower(s.at[i]);

		if (l != '_' && !(l >= 'a' && l <= 'z') && !(i && l >= '0' && l <= '9'))
			return false;
	}
	return s.len && s.len <= 128;
}

static int expand_one(struct wsc_config *c, const struct place *p, struct bytes name, struct buf *out)
{
	char variable[129] = { 0 };
	int rc;

	if (!is_variable_name(name))
		return problem_add(c, PROBLEM_FAULT, p,
				   "there must be the name of a variable between ${ and }; write a plain ${ as $${");
	memcpy(variable, name.at, name.len);
	rc = source_variable(c, p, variable, out);
	if (rc != SOURCE_UNSET)
		return rc;
	return problem_add(c, PROBLEM_FAULT, p, "${%s} is not set in the environment", variable);
}

int source_expand(struct wsc_config *c, const struct place *p, struct bytes text, struct buf *out)
{
	const uint8_t *dollar;
	int rc = 0;

	while (!rc && text.len && (dollar = memmem(text.at, text.len, "${", 2))) {
		bool plain = dollar > text.at && dollar[-1] == '$';
		struct bytes name;
		const uint8_t *end;

		buf_add(out, bytes_of(text.at, (size_t)(dollar - text.at) - plain));
		bytes_skip(&text, (size_t)(dollar - text.at) + 2);
		if (plain) {
			buf_add_str(out, "${");
			continue;
		}
		end = text.len ? memchr(text.at, '}', text.len) : NULL;
		name = bytes_of(text.at, end ? (size_t)(end - text.at) : 0);
		rc = expand_one(c, p, name, out);
		bytes_skip(&text, name.len + (end != NULL));
	}
	buf_add(out, text);
	return rc ? rc : out->failed ? -WSC_ENOMEM : 0;
}

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
