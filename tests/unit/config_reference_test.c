/* SPDX-License-Identifier: Apache-2.0 */
/* The pages made from the table: the default file changes nothing, and the committed pages are those of this table. */
#include "config/reference.h"

#include "config/source.h"
#include "test.h"
#include "wsc/error.h"

/* @path is seen from this file. */
static void check_page(const char *path, enum wsc_config_form form)
{
	struct buf name = BUF_INIT, page = BUF_INIT, want = BUF_INIT;

	buf_add(&name, bytes_of(__FILE__, sizeof(__FILE__) - sizeof("config_reference_test.c")));
	buf_addf(&name, "/../../%s", path);
	buf_add_u8(&name, '\0');
	reference_write(&want, form);
	CHECK(!want.failed);
	if (test_check(source_read_file((const char *)name.at, 1 << 20, &page) == 0, __FILE__, __LINE__, path))
		test_check(bytes_eq(buf_bytes(&page), buf_bytes(&want)), __FILE__, __LINE__,
			   "the page is stale: write it anew with wsc config --markdown > docs/config.md and "
			   "wsc config --man > man/wsc.yaml.5");
	buf_deinit(&name);
	buf_deinit(&page);
	buf_deinit(&want);
}

TEST(the_committed_pages_match_the_table)
{
	check_page("docs/config.md", WSC_CONFIG_MARKDOWN);
	check_page("man/wsc.yaml.5", WSC_CONFIG_MAN);
}

TEST(the_default_file_is_valid_and_changes_nothing)
{
	struct wsc_config *with = wsc_config_new(), *without = wsc_config_new();
	struct buf page = BUF_INIT;

	reference_write(&page, WSC_CONFIG_YAML);
	CHECK_EQ(wsc_config_parse(with, "defaults.yaml", (const char *)page.at, page.len), 0);
	CHECK_EQ(wsc_config_check(with, WSC_CONFIG_NO_MESSAGE_HOOK), 0);
	CHECK(wsc_config_problem(with, 0, NULL) == NULL);
	for (size_t i = 0; i < OPT_COUNT; i++) {
		struct buf a = BUF_INIT, b = BUF_INIT;

		value_format(&with->values, &config_rows[i], &a);
		value_format(&without->values, &config_rows[i], &b);
		test_check(bytes_eq(buf_bytes(&a), buf_bytes(&b)), __FILE__, __LINE__, config_rows[i].key);
		buf_deinit(&a);
		buf_deinit(&b);
	}
	buf_deinit(&page);
	wsc_config_free(with);
	wsc_config_free(without);
}

TEST(every_key_is_on_every_page)
{
	for (int form = WSC_CONFIG_YAML; form <= WSC_CONFIG_MAN; form++) {
		struct buf page = BUF_INIT;

		reference_write(&page, (enum wsc_config_form)form);
		for (size_t i = 0; i < OPT_COUNT; i++) {
			struct bytes key = bytes_str(config_rows[i].key);

			key = form == WSC_CONFIG_YAML ? config_leaf(key) : key;
			test_check(memmem(page.at, page.len, key.at, key.len) != NULL, __FILE__, __LINE__,
				   config_rows[i].key);
		}
		buf_deinit(&page);
	}
}

TEST(a_page_that_cannot_be_written_is_an_error)
{
	FILE *full = fopen("/dev/full", "w");

	if (!CHECK(full != NULL))
		return;
	CHECK_EQ(wsc_config_reference(full, WSC_CONFIG_MAN), -WSC_ESYSTEM);
	fclose(full);
}
