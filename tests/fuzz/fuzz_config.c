/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_config: no configuration file breaks the reader. Every message it gives is one line without control bytes; an
 * accepted value can be written as a text that is accepted again and means the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config/source.h"
#include "fuzz.h"
#include "wsc/config.h"
#include "wsc/error.h"

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void check_lines(const struct wsc_config *c)
{
	const char *line;

	for (size_t i = 0; (line = wsc_config_problem(c, i, NULL)); i++)
		for (; *line; line++)
			expect((unsigned char)*line >= 0x20 && *line != 0x7f);
}

static void check_again(const struct config *values)
{
	struct wsc_config *again = wsc_config_new();

	for (int opt = 0; opt < OPT_COUNT; opt++) {
		const struct config_row *row = &config_rows[opt];
		struct buf text = BUF_INIT, same = BUF_INIT;

		value_format(values, row, &text);
		buf_add_u8(&text, '\0');
		/* A secret is not written, and an entry with a comma in it cannot be written in one line. */
		if (text.len > 1 && row->kind != KIND_SECRET && row->kind != KIND_WORDS &&
		    row->kind != KIND_ADDRESSES) {
			expect(wsc_config_set(again, row->key, (const char *)text.at) == 0);
			value_format(&again->values, row, &same);
			expect(same.len == text.len - 1 && !memcmp(same.at, text.at, same.len));
		}
		buf_deinit(&text);
		buf_deinit(&same);
	}
	wsc_config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wsc_config *c = wsc_config_new();
	int rc = wsc_config_parse(c, "fuzz.yaml", (const char *)data, size);

	expect((rc == 0) == (c->nfaults == 0));
	rc = wsc_config_check(c, WSC_CONFIG_NO_MESSAGE_HOOK);
	expect((rc == 0) == (c->nfaults == 0));
	check_lines(c);
	check_again(&c->values);
	wsc_config_free(c);
	return 0;
}
