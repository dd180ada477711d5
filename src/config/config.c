/* SPDX-License-Identifier: Apache-2.0 */
/* config: implements wsc/config.h with the readers and checks. It holds the values and the list of problems. */
#include "wsc/config.h"

#include <errno.h>
#include <limits.h>

#include "base/mem.h"
#include "config/check.h"
#include "config/reference.h"
#include "config/source.h"
#include "wsc/error.h"

struct wsc_config *wsc_config_new(void)
{
	struct wsc_config *c = mem_zalloc(sizeof(*c));

	for (int opt = 0; c && opt < OPT_COUNT; opt++) {
		if (!value_set_default(c, (enum config_option)opt, config_rows[opt].def))
			continue;
		wsc_config_free(c);
		c = NULL;
	}
	return c;
}

void wsc_config_free(struct wsc_config *c)
{
	if (!c)
		return;
	config_values_free(&c->values);
	problems_free(c);
	for (size_t i = 0; i < OPT_COUNT; i++)
		mem_free(c->written[i]);
	buf_deinit(&c->sectionless);
	mem_free(c);
}

/* Remembers a lack of memory, so that a value that could not be stored does not look as if it was not written. */
static int remembered(struct wsc_config *c, int rc)
{
	c->no_memory |= rc == -WSC_ENOMEM;
	return rc;
}

static int read_file(struct wsc_config *c, const char *path)
{
	struct place p = { .name = path };
	struct buf text = BUF_INIT;
	int rc = source_read_file(path, SOURCE_FILE_MAX, &text);

	if (rc == -ENOMEM) {
		rc = -WSC_ENOMEM;
	} else if (rc == -E2BIG) {
		rc = problem_add(c, PROBLEM_FAULT, &p, "longer than 1MiB");
	} else if (rc) {
		rc = problem_add(c, PROBLEM_FAULT, &p, "cannot be read: %s", strerrordesc_np(-rc));
		rc = rc == -WSC_ENOMEM ? rc : -WSC_ESYSTEM;
	} else {
		rc = source_yaml(c, path, buf_bytes(&text));
	}
	buf_deinit(&text);
	return rc;
}

int wsc_config_load(struct wsc_config *c, const char *path)
{
	int rc = path ? read_file(c, path) : value_set_default(c, OPT_node_ip, "127.0.0.1");
	int env;

	if (rc == -WSC_ESYSTEM || rc == -WSC_ENOMEM)
		return remembered(c, rc);
	env = remembered(c, source_env(c));
	return rc ? rc : env;
}

int wsc_config_parse(struct wsc_config *c, const char *name, const char *text, size_t len)
{
	return remembered(c, source_yaml(c, name, bytes_of(text, len)));
}

int wsc_config_env(struct wsc_config *c)
{
	return remembered(c, source_env(c));
}

/* "wsc.node-port" is "node_port". */
static void normal_key(struct buf *out, const char *key)
{
	struct bytes k = bytes_str(key);

	if (bytes_starts(k, BYTES("wsc.")))
		bytes_skip(&k, 4);
	for (size_t i = 0; i < k.len; i++)
		buf_add_u8(out, k.at[i] == '-' ? '_' : k.at[i]);
}

int wsc_config_set(struct wsc_config *c, const char *key, const char *value)
{
	struct place p = { .name = "set" };
	struct buf full = BUF_INIT;
	int opt, rc;

	normal_key(&full, key);
	p.key = buf_bytes(&full);
	opt = config_row_find(p.key);
	if (full.failed)
		rc = -WSC_ENOMEM;
	else if (opt >= 0)
		rc = source_text(c, (enum config_option)opt, &p, bytes_str(value));
	else if (config_section_find(p.key) >= 0)
		rc = problem_add(c, PROBLEM_FAULT, &p, "a section has no value of its own; set one of its keys");
	else
		rc = source_unknown(c, &p, p.key);
	buf_deinit(&full);
	return remembered(c, rc);
}

int wsc_config_get(const struct wsc_config *c, const char *key, char *out, size_t size)
{
	struct buf name = BUF_INIT, text = BUF_INIT;
	int opt, rc = -WSC_ENOMEM;

	normal_key(&name, key);
	opt = config_row_find(buf_bytes(&name));
	if (opt >= 0)
		value_format(&c->values, &config_rows[opt], &text);
	if (opt < 0)
		rc = name.failed ? -WSC_ENOMEM : -WSC_ENOTFOUND;
	else if (!text.failed && text.len <= INT_MAX)
		rc = (int)text.len;
	if (size) {
		size_t n = rc < 0 ? 0 : text.len < size ? text.len : size - 1;

		if (n)
			memcpy(out, text.at, n);
		out[n] = '\0';
	}
	buf_deinit(&name);
	buf_deinit(&text);
	return rc;
}

bool wsc_config_enabled(const struct wsc_config *c)
{
	return c->written[OPT_enabled] ? c->values.enabled : !c->sectionless.len;
}

int wsc_config_check(struct wsc_config *c, unsigned flags)
{
	size_t before;
	int rc;

	problem_forget_check(c);
	before = c->nproblems;
	rc = config_check(c, (flags & WSC_CONFIG_NO_MESSAGE_HOOK) == 0);
	for (size_t i = before; i < c->nproblems; i++)
		c->problems[i].from_check = true;
	if (rc == -WSC_ENOMEM || c->no_memory)
		return -WSC_ENOMEM;
	return c->nfaults ? -WSC_ECONFIG : 0;
}

const char *wsc_config_problem(const struct wsc_config *c, size_t i, bool *warning)
{
	if (i >= c->nproblems)
		return NULL;
	if (warning)
		*warning = c->problems[i].warning;
	return c->problems[i].text;
}

int wsc_config_reference(FILE *out, enum wsc_config_form form)
{
	struct buf text = BUF_INIT;
	int rc = 0;

	reference_write(&text, form);
	if (text.failed)
		rc = -WSC_ENOMEM;
	else if (fwrite(text.at, 1, text.len, out) != text.len || fflush(out))
		rc = -WSC_ESYSTEM;
	buf_deinit(&text);
	return rc;
}

int config_values_copy(struct config *out, const struct config *from)
{
	*out = (struct config){ 0 };
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct config_row *row = &config_rows[i];

		if (!field_copy(row, config_field(out, row), config_field_const(from, row)))
			continue;
		config_values_free(out);
		return -WSC_ENOMEM;
	}
	return 0;
}

void config_values_free(struct config *c)
{
	for (size_t i = 0; i < OPT_COUNT; i++)
		field_free(&config_rows[i], config_field(c, &config_rows[i]));
	*c = (struct config){ 0 };
}
