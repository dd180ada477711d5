/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a configuration from a system that fails: reads that are interrupted or cut, memory that libyaml does not
 * get, and, with WSC_FAULTS, memory that we do not get at any point of file, environment and files that the environment
 * names. The program puts its own read() and libyaml calls before those of the libraries.
 */
#include "config/source.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <yaml.h>

#include "base/mem.h"
#include "test.h"
#include "wsc/config.h"
#include "wsc/error.h"

static unsigned interruptions;  /* of read(), still to come */
static size_t read_at_most;     /* 0: as it comes */
static unsigned without_parser; /* the n-th call of yaml_parser_initialize() fails; 0: none */
static bool parser_without_memory;

ssize_t read(int fd, void *data, size_t n)
{
	if (interruptions) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	return syscall(SYS_read, fd, data, read_at_most && read_at_most < n ? read_at_most : n);
}

int yaml_parser_initialize(yaml_parser_t *parser)
{
	int (*theirs)(yaml_parser_t *) = NULL;
	void *symbol = dlsym(RTLD_NEXT, "yaml_parser_initialize");

	memcpy(&theirs, &symbol, sizeof theirs);
	if (without_parser && --without_parser == 0)
		return 0;
	return theirs(parser);
}

int yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event)
{
	int (*theirs)(yaml_parser_t *, yaml_event_t *) = NULL;
	void *symbol = dlsym(RTLD_NEXT, "yaml_parser_parse");

	memcpy(&theirs, &symbol, sizeof theirs);
	if (parser_without_memory) {
		parser->error = YAML_MEMORY_ERROR;
		return 0;
	}
	return theirs(parser, event);
}

static void write_file(char *path, const char *text, size_t len)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static bool is(const struct wsc_config *c, const char *key, const char *want)
{
	char got[256];

	return wsc_config_get(c, key, got, sizeof(got)) >= 0 && strcmp(got, want) == 0;
}

static bool has_problem(const struct wsc_config *c, const char *part)
{
	const char *line;

	for (size_t i = 0; (line = wsc_config_problem(c, i, NULL)); i++)
		if (strstr(line, part))
			return true;
	return false;
}

TEST(a_file_that_comes_in_bits_between_signals_is_read_whole)
{
	char path[] = "/tmp/wsc-test-XXXXXX";
	struct wsc_config *c = wsc_config_new();

	write_file(path, "wsc: {node_port: 4711}\n", 23);
	interruptions = 3;
	read_at_most = 1;
	CHECK_EQ(wsc_config_load(c, path), 0);
	CHECK_EQ(interruptions, 0);
	read_at_most = 0;
	CHECK(is(c, "node_port", "4711"));
	wsc_config_free(c);
	unlink(path);
}

TEST(a_directory_is_no_file_to_read)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(wsc_config_load(c, "/tmp"), -WSC_ESYSTEM);
	CHECK(has_problem(c, "cannot be read: Is a directory"));
	wsc_config_free(c);
}

static int from_secret(struct wsc_config *c, const char *text, size_t len)
{
	char path[] = "/tmp/wsc-test-XXXXXX";
	int rc;

	write_file(path, text, len);
	setenv("WSC_NODE_ID_FILE", path, 1);
	rc = wsc_config_env(c);
	unsetenv("WSC_NODE_ID_FILE");
	unlink(path);
	return rc;
}

TEST(a_file_behind_a_variable_loses_one_line_break_of_either_kind)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(from_secret(c, "one", 3), 0);
	CHECK(is(c, "node_id", "one"));
	CHECK_EQ(from_secret(c, "two\n", 4), 0);
	CHECK(is(c, "node_id", "two"));
	CHECK_EQ(from_secret(c, "three\r\n", 7), 0);
	CHECK(is(c, "node_id", "three"));
	CHECK_EQ(from_secret(c, "four\r", 5), 0);
	CHECK(is(c, "node_id", "four"));
	CHECK_EQ(from_secret(c, "five\n\n", 6), -WSC_ECONFIG);
	CHECK_EQ(from_secret(c, "", 0), -WSC_ECONFIG);
	CHECK(is(c, "node_id", "four"));
	wsc_config_free(c);
}

TEST(a_file_behind_a_variable_has_a_greatest_length)
{
	static char text[SOURCE_SECRET_MAX + 1];
	struct wsc_config *c = wsc_config_new();

	memset(text, 'x', sizeof(text));
	CHECK_EQ(from_secret(c, text, sizeof(text)), -WSC_ECONFIG);
	CHECK(has_problem(c, "WSC_NODE_ID_FILE: the file /tmp/wsc-test-"));
	CHECK(has_problem(c, "is longer than 64KiB"));
	wsc_config_free(c);
	c = wsc_config_new();
	CHECK_EQ(from_secret(c, text, sizeof(text) - 1), -WSC_ECONFIG); /* it was read; no name is as long */
	CHECK(!has_problem(c, "64KiB"));
	wsc_config_free(c);
}

TEST(every_odd_variable_of_the_environment_has_its_answer)
{
	static const char *const names[] = { "WSC_PORT",     "WSC_QQQQQQQQ", "WSC_TICKET",   "WSC_TICKETS_X",
					     "WSC_NODE_ID_", "WSC_node_id",  "WSC_VIP_LEVEL" };
	struct wsc_config *c = wsc_config_new();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		setenv(names[i], "1", 1);
	CHECK_EQ(wsc_config_env(c), 0);
	CHECK(!has_problem(c, "WSC_PORT:"));
	CHECK(has_problem(c, "WSC_QQQQQQQQ: unknown variable; it has no effect"));
	CHECK(!has_problem(c, "WSC_QQQQQQQQ: unknown variable; it has no effect; did you mean"));
	CHECK(has_problem(c, "WSC_TICKET: has no effect: the older ticket options"));
	CHECK(has_problem(c, "WSC_TICKETS_X: unknown variable"));
	CHECK(has_problem(c, "WSC_NODE_ID_: unknown variable; it has no effect; did you mean WSC_NODE_ID?"));
	CHECK(has_problem(c, "WSC_VIP_LEVEL: has no effect: the older vip options"));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	wsc_config_free(c);
}

TEST(names_of_variables_in_a_value_are_letters_digits_and_underlines)
{
	static const char *const good[] = { "A", "_", "a_1", "Z9" };
	static const char *const bad[] = { "${1A}", "${A-B}", "${A", "${", "${}", "${\xc3\xa4}", "${A }", "${A${B}}" };
	struct place p = { .name = "test" };
	struct wsc_config *c = wsc_config_new();

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct buf out = BUF_INIT;
		char text[16];

		setenv(good[i], "v", 1);
		snprintf(text, sizeof(text), "<${%s}>", good[i]);
		CHECK_EQ(source_expand(c, &p, bytes_str(text), &out), 0);
		CHECK_BYTES(buf_bytes(&out), "<v>");
		unsetenv(good[i]);
		buf_deinit(&out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf out = BUF_INIT;

		CHECK_EQ(source_expand(c, &p, bytes_str(bad[i]), &out), -WSC_ECONFIG);
		buf_deinit(&out);
	}
	wsc_config_free(c);
}

TEST(a_yaml_parser_without_memory_is_reported)
{
	static const char text[] = "wsc: {node_port: 1}";
	struct wsc_config *c = wsc_config_new();

	for (unsigned n = 1; n <= 2; n++) {
		without_parser = n;
		CHECK_EQ(wsc_config_parse(c, "config.yaml", text, sizeof(text) - 1), -WSC_ENOMEM);
		CHECK_EQ(without_parser, 0);
	}
	parser_without_memory = true;
	CHECK_EQ(wsc_config_parse(c, "config.yaml", text, sizeof(text) - 1), -WSC_ENOMEM);
	CHECK_EQ(wsc_config_set(c, "node_ip", "[::1]"), -WSC_ENOMEM);
	parser_without_memory = false;
	CHECK(is(c, "node_port", "8080"));
	CHECK_EQ(wsc_config_parse(c, "config.yaml", text, sizeof(text) - 1), 0);
	CHECK(is(c, "node_port", "1"));
	wsc_config_free(c);
}

TEST(a_file_may_have_some_shapes_and_must_not_have_others)
{
	static const char *const fine[] = { "",
					    "# only a comment\n",
					    "~",
					    "other: 1",
					    "[wsc]: 1\nwsc: {}",
					    "wsc: ~",
					    "wsc: {redis: {a: 1}, ticket: 5}" };
	static const char *const wrong[] = { "wsc: 1",
					     "wsc: [1]",
					     "[1, 2]",
					     "text",
					     "wsc: {}\nwsc: {}",
					     "wsc: {node_ip: [[1]]}",
					     "wsc: {node_ip: {a: 1}}",
					     "wsc: {security: 5}",
					     "wsc: {redis: 1, redis: 2}",
					     "wsc: {[1]: 2}",
					     "---\nwsc: {}\n---\nwsc: {}",
					     "wsc: {node_port: *nobody}",
					     "wsc: {node_port: @x}",
					     "wsc:\n\tnode_port: 1" };

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		struct wsc_config *c = wsc_config_new();

		if (!CHECK_EQ(wsc_config_parse(c, "f", fine[i], strlen(fine[i])), 0))
			printf("%s\n", fine[i]);
		wsc_config_free(c);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct wsc_config *c = wsc_config_new();

		if (!CHECK_EQ(wsc_config_parse(c, "f", wrong[i], strlen(wrong[i])), -WSC_ECONFIG))
			printf("%s\n", wrong[i]);
		CHECK(wsc_config_problem(c, 0, NULL) != NULL);
		wsc_config_free(c);
	}
}

TEST(a_list_in_a_variable_is_one_in_yaml_too)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(wsc_config_set(c, "security.allowed_user_types", "[a, 'b', \"c\"]"), 0);
	CHECK(is(c, "security.allowed_user_types", "a, b, c"));
	CHECK_EQ(wsc_config_set(c, "security.allowed_user_types", "[a, [b]]"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "security.allowed_user_types", "[a, b] c"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "security.allowed_user_types", "[a, ~]"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "security.allowed_user_types", "[a]: b"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "security.allowed_user_types", "[a]\n---\n[b]"), -WSC_ECONFIG);
	CHECK(has_problem(c, "a second document (---) is not allowed"));
	CHECK(is(c, "security.allowed_user_types", "a, b, c"));
	wsc_config_free(c);
}

#ifdef WSC_FAULTS
TEST(a_file_without_the_section_is_remembered_or_memory_is_out)
{
	unsigned long k = 1;
	int rc;

	do {
		struct wsc_config *c = wsc_config_new();

		mem_fail_at(k++, 0);
		rc = wsc_config_parse(c, "config.yaml", "other: 1", 8);
		mem_fail_at(0, 0);
		CHECK(rc == -WSC_ENOMEM || (rc == 0 && !wsc_config_enabled(c)));
		wsc_config_free(c);
	} while (rc && k < 1000);
	CHECK(k > 2 && k < 1000);
}

/* A configuration out of all its sources at once; its result does not matter, only that it ends well. */
static int live(const char *path)
{
	struct wsc_config *c = wsc_config_new();
	int rc;

	if (!c)
		return -WSC_ENOMEM;
	rc = wsc_config_load(c, path);
	if (rc != -WSC_ENOMEM)
		rc = wsc_config_set(c, "security.allowed_user_types", "[a, b, c]");
	wsc_config_free(c);
	return rc;
}

TEST(memory_that_runs_out_in_any_source_is_reported_and_nothing_is_lost)
{
	static const char text[] = "wsc:\n"
				   "  node_id: \"${WSCTEST_NAME}\"\n"
				   "  store: {path: 'a$${b}c${WSCTEST_OTHER}'}\n"
				   "  redis: {addr: x}\n"
				   "  node_prot: 5\n"
				   "  websocket_origins: ['*', 'https://a.example']\n";
	char path[] = "/tmp/wsc-test-XXXXXX", secret[] = "/tmp/wsc-test-XXXXXX";
	unsigned long k = 1, refused = 0;
	int rc;

	write_file(path, text, sizeof(text) - 1);
	write_file(secret, "named\n", 6);
	setenv("WSCTEST_NAME_FILE", secret, 1);
	setenv("WSCTEST_OTHER", "other", 1);
	setenv("WSC_STORE_URL_FILE", secret, 1);
	setenv("WSC_NODE_IP", "127.0.0.1, ::1", 1);
	setenv("WSC_VIP", "1", 1);
	setenv("WSC_WORKER", "1", 1);
	do {
		mem_fail_at(k++, 0);
		rc = live(path);
		CHECK(rc == 0 || rc == -WSC_ENOMEM || rc == -WSC_ECONFIG);
		refused += rc == -WSC_ENOMEM;
	} while (rc == -WSC_ENOMEM && k < 100000);
	mem_fail_at(0, 0);
	CHECK(refused > 100 && k < 100000);
	unsetenv("WSCTEST_NAME_FILE");
	unsetenv("WSCTEST_OTHER");
	unsetenv("WSC_STORE_URL_FILE");
	unsetenv("WSC_NODE_IP");
	unsetenv("WSC_VIP");
	unsetenv("WSC_WORKER");
	unlink(path);
	unlink(secret);
}
#endif
