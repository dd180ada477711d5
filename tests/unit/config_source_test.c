/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files, variables and arguments: the values read, which source overrides which, and every fault as its user reads it.
 */
#include "config/source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "test.h"
#include "wsc/config.h"
#include "wsc/error.h"

/* All lines of @c; warnings begin with "warning: ". */
static void add_problems(const struct wsc_config *c, struct buf *out)
{
	const char *line;
	bool warning;

	for (size_t i = 0; (line = wsc_config_problem(c, i, &warning)); i++) {
		buf_add_str(out, warning ? "warning: " : "");
		buf_add_str(out, line);
		buf_add_u8(out, '\n');
	}
}

static bool has_problems(const struct wsc_config *c, const char *want, const char *file, int line)
{
	struct buf got = BUF_INIT;
	bool same;

	add_problems(c, &got);
	same = test_check_bytes(buf_bytes(&got), bytes_str(want), file, line, "the problems");
	buf_deinit(&got);
	return same;
}
#define CHECK_PROBLEMS(c, want) has_problems((c), (want), __FILE__, __LINE__)

static struct wsc_config *parsed(const char *text)
{
	struct wsc_config *c = wsc_config_new();

	if (CHECK(c != NULL))
		wsc_config_parse(c, "config.yaml", text, strlen(text));
	return c;
}

static void yaml(const char *text, const char *want, int line)
{
	struct wsc_config *c = parsed(text);

	wsc_config_check(c, WSC_CONFIG_NO_MESSAGE_HOOK);
	has_problems(c, want, __FILE__, line);
	wsc_config_free(c);
}
#define YAML(text, want) yaml((text), (want), __LINE__)

static bool is(const struct wsc_config *c, const char *key, const char *want)
{
	char got[256];

	return wsc_config_get(c, key, got, sizeof(got)) >= 0 && strcmp(got, want) == 0;
}

/* A file that is removed at the end of the test. */
static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

TEST(the_four_keys_of_the_quick_reference_are_enough)
{
	struct wsc_config *c = parsed("# config.yaml\n"
				      "wsc:\n"
				      "  enabled: true\n"
				      "  node_ip: \"0.0.0.0\"\n"
				      "  node_port: 8080\n"
				      "  websocket_origins:\n"
				      "    - \"*\"\n");

	CHECK_EQ(wsc_config_check(c, WSC_CONFIG_NO_MESSAGE_HOOK), 0);
	CHECK_PROBLEMS(c, "");
	CHECK(wsc_config_enabled(c));
	wsc_config_free(c);
}

TEST(keys_are_in_snake_or_kebab_case_and_values_in_their_units)
{
	struct wsc_config *c = parsed("server: {port: 1}\n"
				      "wsc:\n"
				      "  node-port: \"9000\"\n"
				      "  node_ip: [127.0.0.1, '::1', 'unix:/run/wsc.sock']\n"
				      "  heartbeat-interval: 500ms\n"
				      "  client_timeout: 5\n"
				      "  security:\n"
				      "    max-message-size: 512\n"
				      "    trusted_proxies: 10.0.0.0/8, ::1\n"
				      "    message_rate: 5/s\n"
				      "    allowed_user_types: [customer]\n"
				      "  websocket-origins: []\n");

	CHECK_PROBLEMS(c, "");
	CHECK(is(c, "node_port", "9000"));
	CHECK(is(c, "node_ip", "127.0.0.1, ::1, unix:/run/wsc.sock"));
	CHECK(is(c, "wsc.heartbeat-interval", "500ms"));
	CHECK(is(c, "client_timeout", "5s"));
	CHECK(is(c, "security.max_message_size", "512KiB"));
	CHECK(is(c, "security.trusted_proxies", "10.0.0.0/8, ::1"));
	CHECK(is(c, "security.message_rate", "5/s"));
	CHECK(is(c, "security.allowed_user_types", "customer"));
	CHECK(is(c, "websocket_origins", ""));
	CHECK_EQ(wsc_config_get(c, "node_prot", (char[1]){ 0 }, 1), -WSC_ENOTFOUND);
	wsc_config_free(c);
}

TEST(unknown_keys_are_faults_that_suggest_a_known_key)
{
	YAML("wsc:\n\n  heartbeat_intervall: 3\n",
	     "config.yaml:3: wsc.heartbeat_intervall: unknown key; did you mean heartbeat_interval?\n");
	YAML("wsc: {max_content_length: 3}\n",
	     "config.yaml:1: wsc.max_content_length: unknown key; did you mean security.max_content_length?\n");
	YAML("wsc: {security: {node-port: 3}}\n",
	     "config.yaml:1: wsc.security.node-port: unknown key; did you mean node_port?\n");
	YAML("wsc: {NODE_PORT: 1}\n", "config.yaml:1: wsc.NODE_PORT: unknown key; did you mean node_port?\n");
	YAML("wsc: {heartbeatInterval: 1}\n",
	     "config.yaml:1: wsc.heartbeatInterval: unknown key; did you mean heartbeat_interval?\n");
	YAML("wsc: {log: {level: INFO}}\n", "config.yaml:1: wsc.log.level: \"INFO\" is unknown; allowed: debug, info, "
					    "warn or error; did you mean info?\n");
	YAML("wsc: {securty: {a: 3}}\n", "config.yaml:1: wsc.securty: unknown key; did you mean security?\n");
	YAML("wsc: {tls: {cert: a.pem}}\n",
	     "config.yaml:1: wsc.tls.cert: unknown key; did you mean tls.certificate?\n");
	YAML("wsc: {performance: {compression: true}}\n",
	     "config.yaml:1: wsc.performance.compression: unknown key; did you mean performance.enable_compression?\n");
	YAML("wsc: {quite_another: 3}\n", "config.yaml:1: wsc.quite_another: unknown key\n");
	YAML("wsc: {\"a\\e[31m\\n\": 3}\n", "config.yaml:1: wsc.a\\x1b[31m\\x0a: unknown key\n");
	YAML("wsc: {\"a\\x84b\": 3}\n", "config.yaml:1: wsc.a\\xc2\\x84b: unknown key\n");
}

TEST(wrong_values_are_faults_that_name_the_allowed_values)
{
	YAML("wsc: {enabled: maybe}",
	     "config.yaml:1: wsc.enabled: \"maybe\" is not a boolean; allowed: true or false\n");
	YAML("wsc: {node_port: eighty}",
	     "config.yaml:1: wsc.node_port: \"eighty\" is not a whole number; allowed: 0..65535\n");
	YAML("wsc: {node_port: 65536}", "config.yaml:1: wsc.node_port: \"65536\" is out of range; allowed: 0..65535\n");
	YAML("wsc: {workers: 0}", "config.yaml:1: wsc.workers: \"0\" is out of range; allowed: auto or 1..64\n");
	YAML("wsc: {heartbeat_interval: 5 minutes}",
	     "config.yaml:1: wsc.heartbeat_interval: \"5 minutes\" is not a duration such as 500ms, 30s, 5m or 1h; allowed: 50ms..1h\n");
	YAML("wsc: {security: {max_message_size: 0}}",
	     "config.yaml:1: wsc.security.max_message_size: \"0\" is out of range; allowed: 1KiB..64MiB\n");
	YAML("wsc: {multi_login: repalce}",
	     "config.yaml:1: wsc.multi_login: \"repalce\" is unknown; allowed: replace, reject or allow; did you mean replace?\n");
	YAML("wsc: {multi_login: x}",
	     "config.yaml:1: wsc.multi_login: \"x\" is unknown; allowed: replace, reject or allow\n");
	YAML("wsc: {websocket_origins: [\"*\", example.com]}",
	     "config.yaml:1: wsc.websocket_origins: \"example.com\" is not an origin; allowed: *, scheme://host[:port], or scheme://*.host[:port]\n");
	YAML("wsc: {node_id: \"a\\tb\"}",
	     "config.yaml:1: wsc.node_id: \"a\\x09b\" is not a name; allowed: auto, or 1 to 64 letters, digits and . _ : -\n");
	YAML("wsc: {admin: {token: \"se\\tcret\"}}",
	     "config.yaml:1: wsc.admin.token: the value is not a text; allowed: a secret\n");
}

TEST(wrong_shapes_are_faults)
{
	YAML("wsc: {node_port: [1]}",
	     "config.yaml:1: wsc.node_port: one value is needed, not a list; allowed: 0..65535\n");
	YAML("wsc: {node_port: {a: 1}}", "config.yaml:1: wsc.node_port: a value is needed, not a section\n");
	YAML("wsc: {node_port: }", "config.yaml:1: wsc.node_port: no value is given; allowed: 0..65535\n");
	YAML("wsc: {node_port: ~}", "config.yaml:1: wsc.node_port: no value is given; allowed: 0..65535\n");
	YAML("wsc: {node_ip: []}",
	     "config.yaml:1: wsc.node_ip: at least one entry is needed; allowed: IPv4 or IPv6 addresses, and unix:/path for a Unix socket\n");
	YAML("wsc: {websocket_origins: \"\"}",
	     "config.yaml:1: wsc.websocket_origins: no value is given; write an empty list as []; allowed: *, scheme://host[:port], or scheme://*.host[:port]\n");
	YAML("wsc: {node_ip: [[a]]}", "config.yaml:1: wsc.node_ip: each entry of the list must be one value\n");
	YAML("wsc: {paths: /ws}",
	     "config.yaml:1: wsc.paths: a section is needed: its keys, indented, on the next lines\n");
	YAML("wsc: true", "config.yaml:1: wsc: a section is needed: its keys, indented, on the next lines\n");
	YAML("- wsc", "config.yaml:1: a section is needed: its keys, indented, on the next lines\n"
		      "warning: config.yaml: there is no section wsc: the gateway is not enabled\n");
	YAML("wsc: {[a]: 1}", "config.yaml:1: a key must be a word, not a list or a section\n");
	YAML("a: &a {node_port: 1}\nwsc: {<<: *a}\n",
	     "config.yaml:2: wsc.<<: merging (<<) is not supported; write the keys out\n");
}

TEST(repeated_keys_are_faults)
{
	YAML("wsc:\n  node_port: 1\n  node-port: 2\n", "config.yaml:3: wsc.node-port: the key appears twice\n");
	YAML("wsc:\n  paths:\n    sse: /a\n    sse: /b\n", "config.yaml:4: wsc.paths.sse: the key appears twice\n");
	YAML("wsc:\n  paths:\n  paths:\n", "config.yaml:3: wsc.paths: the key appears twice\n");
	YAML("wsc:\n  node_port: 1\nwsc:\n", "config.yaml:3: wsc: the key appears twice\n");
	YAML("a: 1\na: 1\nwsc:\n", "");
}

TEST(all_faults_are_reported_in_their_order)
{
	YAML("wsc:\n  node_port: x\n  multi: 1\n  security:\n    blocked_ips:\n      - 10.0.0.0/8\n      - nonsense\n      - 1.2.3\n",
	     "config.yaml:2: wsc.node_port: \"x\" is not a whole number; allowed: 0..65535\n"
	     "config.yaml:3: wsc.multi: unknown key; did you mean multi_login?\n"
	     "config.yaml:7: wsc.security.blocked_ips: \"nonsense\" is not an address or a network; "
	     "allowed: addresses and networks such as 10.0.0.0/8 or fd00::/8, no bit set after the prefix\n"
	     "config.yaml:8: wsc.security.blocked_ips: \"1.2.3\" is not an address or a network; "
	     "allowed: addresses and networks such as 10.0.0.0/8 or fd00::/8, no bit set after the prefix\n");
}

/* Shows: threat 97 */
TEST(a_bad_value_leaves_the_former_one)
{
	struct wsc_config *c = parsed("wsc: {node_port: 70000, node_ip: ['::1', x], websocket_origins: [x]}");

	CHECK_EQ(c->nfaults, 3);
	CHECK(is(c, "node_port", "8080"));
	CHECK(is(c, "node_ip", "0.0.0.0"));
	CHECK(is(c, "websocket_origins", "*"));
	wsc_config_free(c);
}

TEST(a_text_that_is_no_yaml_is_a_fault_with_its_line)
{
	YAML("wsc:\n\tenabled: true\n",
	     "config.yaml:2: not valid YAML: found character that cannot start any token; "
	     "indent lines with spaces, and put a value that begins with @ or ` in quotes\n");
	YAML("wsc: {websocket_origins: [*]}",
	     "config.yaml:1: not valid YAML: did not find expected alphabetic or numeric character; "
	     "put a value that begins with * in quotes\n");
	YAML("wsc: {a: \xff}", "config.yaml: not a YAML text: invalid leading UTF-8 octet at byte 9\n");
	YAML("wsc:\n---\nwsc:\n", "config.yaml:2: a second document (---) is not allowed\n");
	YAML("wsc: *a\n", "config.yaml:1: not valid YAML: found undefined alias\n");
	YAML("a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "config.yaml:1: nested more than 32 levels deep\n");
}

TEST(aliases_work_and_a_list_in_itself_ends)
{
	struct wsc_config *c = parsed("a: &port 9000\nwsc: {node_port: *port}");

	CHECK_PROBLEMS(c, "");
	CHECK(is(c, "node_port", "9000"));
	wsc_config_free(c);
	YAML("wsc: {node_ip: &a [*a]}", "config.yaml:1: wsc.node_ip: each entry of the list must be one value\n");
	YAML("wsc: &a {paths: *a}\n", "config.yaml:1: wsc.paths.paths: unknown key; did you mean paths?\n");
}

TEST(an_empty_text_is_a_file_without_the_section)
{
	struct wsc_config *c = wsc_config_new();

	if (CHECK(c != NULL)) {
		CHECK_EQ(wsc_config_parse(c, "config.yaml", NULL, 0), 0);
		CHECK_EQ(wsc_config_parse(c, "config.yaml", "", 0), 0);
		CHECK(!wsc_config_enabled(c));
	}
	wsc_config_free(c);
}

TEST(a_huge_text_is_refused)
{
	size_t len = SOURCE_FILE_MAX + 1;
	struct wsc_config *c = wsc_config_new();
	char *text = mem_alloc(len);

	if (CHECK(c && text)) {
		memset(text, '#', len);
		CHECK_EQ(wsc_config_parse(c, "config.yaml", text, len), -WSC_ECONFIG);
		CHECK_PROBLEMS(c, "config.yaml: longer than 1MiB\n");
	}
	mem_free(text);
	wsc_config_free(c);
}

TEST(a_thousand_problems_are_kept_and_one_line_says_that_there_are_more)
{
	struct wsc_config *c;
	struct buf text = BUF_INIT;

	buf_add_str(&text, "wsc:\n");
	for (int i = 0; i < 1500; i++)
		buf_addf(&text, "  k%d: 1\n", i);
	buf_add_u8(&text, '\0');
	c = parsed((const char *)text.at);
	CHECK_EQ(c->nfaults, 1500);
	CHECK_EQ(c->nproblems, PROBLEMS_MAX + 1);
	CHECK(strcmp(wsc_config_problem(c, PROBLEMS_MAX, NULL), "there are more problems; they are not shown") == 0);
	CHECK_EQ(wsc_config_check(c, 0), -WSC_ECONFIG);
	wsc_config_free(c);
	buf_deinit(&text);
}

TEST(older_keys_do_nothing_and_say_so_once)
{
	YAML("wsc:\n  redis: {host: x, port: [1]}\n  jitter: true\n  write-wait: 10\n  security: {enable_auth: true}\n",
	     "warning: config.yaml:2: wsc.redis: has no effect: messages are not shared through Redis\n"
	     "warning: config.yaml:3: wsc.jitter: has no effect: the clients decide how they reconnect\n"
	     "warning: config.yaml:4: wsc.write-wait: has no effect: limits.write_timeout says how long a socket may accept nothing\n"
	     "warning: config.yaml:5: wsc.security.enable_auth: has no effect: it protects nothing: auth.mode and the hook "
	     "authenticate_user decide who a client is\n");
}

TEST(every_older_key_is_accepted_with_one_warning)
{
	for (int i = 0; i < CONFIG_IGNORED; i++) {
		struct wsc_config *c = wsc_config_new();
		bool warning = false;

		CHECK_EQ(wsc_config_set(c, config_ignored_keys[i].key, "1"), 0);
		CHECK(wsc_config_problem(c, 0, &warning) != NULL && warning);
		CHECK(wsc_config_problem(c, 1, NULL) == NULL);
		CHECK_EQ(wsc_config_check(c, 0), 0);
		wsc_config_free(c);
	}
}

TEST(variables_in_a_value_come_from_the_environment)
{
	struct wsc_config *c;

	setenv("WSCTEST_PORT", "90", 1);
	setenv("WSCTEST_LIST", "a.example, b.example", 1);
	unsetenv("WSCTEST_NONE");
	c = parsed(
		"wsc: {node_port: \"${WSCTEST_PORT}${WSCTEST_PORT}\", security: {allowed_user_types: \"${WSCTEST_LIST}\"},\n"
		"  store: {path: 'a$${b}c$'}}");
	CHECK_PROBLEMS(c, "");
	CHECK(is(c, "node_port", "9090"));
	CHECK(is(c, "security.allowed_user_types", "a.example, b.example"));
	CHECK(is(c, "store.path", "a${b}c$"));
	wsc_config_free(c);
	YAML("wsc:\n  node_port: ${WSCTEST_NONE}\n",
	     "config.yaml:2: wsc.node_port: ${WSCTEST_NONE} is not set in the environment\n");
	YAML("wsc:\n  node_port: ${}\n  node_id: '${WSCTEST_PORT'\n",
	     "config.yaml:2: wsc.node_port: there must be the name of a variable between ${ and }; write a plain ${ as $${\n"
	     "config.yaml:3: wsc.node_id: there must be the name of a variable between ${ and }; write a plain ${ as $${\n");
	setenv("WSCTEST_PORT", "", 1);
	YAML("wsc:\n  node_port: ${WSCTEST_PORT}\n",
	     "config.yaml:2: wsc.node_port: no value is given; allowed: 0..65535\n");
	unsetenv("WSCTEST_PORT");
	unsetenv("WSCTEST_LIST");
}

/* Shows: threat 100 */
TEST(a_file_stands_for_a_variable_that_is_not_set)
{
	char path[] = "/tmp/wsc-test-XXXXXX";
	struct wsc_config *c;

	write_file(path, "9001\n");
	setenv("WSCTEST_PORT_FILE", path, 1);
	c = parsed("wsc: {node_port: \"${WSCTEST_PORT}\"}");
	CHECK_PROBLEMS(c, "");
	CHECK(is(c, "node_port", "9001"));
	wsc_config_free(c);
	setenv("WSC_NODE_PORT_FILE", path, 1);
	c = wsc_config_new();
	CHECK_EQ(wsc_config_env(c), 0);
	CHECK(is(c, "node_port", "9001"));
	wsc_config_free(c);
	unlink(path);
	c = wsc_config_new();
	setenv("WSC_NODE_PORT_FILE", "/nonexistent/file", 1);
	CHECK_EQ(wsc_config_env(c), -WSC_ECONFIG);
	setenv("WSC_NODE_PORT", "1", 1);
	CHECK_EQ(wsc_config_env(c), -WSC_ECONFIG);
	CHECK_PROBLEMS(c, "environment: WSC_NODE_PORT: WSC_NODE_PORT_FILE: the file /nonexistent/file cannot be read: "
			  "No such file or directory\n"
			  "environment: WSC_NODE_PORT: WSC_NODE_PORT_FILE is set too; remove one of the two\n");
	wsc_config_free(c);
	unsetenv("WSC_NODE_PORT");
	unsetenv("WSC_NODE_PORT_FILE");
	unsetenv("WSCTEST_PORT_FILE");
}

TEST(the_environment_overrides_the_file_and_set_overrides_both)
{
	char path[] = "/tmp/wsc-test-XXXXXX";
	struct wsc_config *c = wsc_config_new();

	write_file(path, "wsc: {heartbeat_interval: 20, node_port: 1, workers: 2}");
	setenv("WSC_HEARTBEAT_INTERVAL", "10", 1);
	setenv("WSC_SECURITY_MAX_MESSAGE_SIZE", "64KiB", 1);
	setenv("WSC_NODE_PORT", "2", 1);
	setenv("WSC_WEBSOCKET_ORIGINS", "['https://a.example', \"*\"]", 1);
	CHECK_EQ(wsc_config_load(c, path), 0);
	CHECK_EQ(wsc_config_set(c, "node-port", "3"), 0);
	CHECK_EQ(wsc_config_set(c, "wsc.security.blocked_ips", "[]"), 0);
	CHECK_EQ(wsc_config_set(c, "security.trusted_proxies", "10.0.0.1,::1"), 0);
	CHECK_PROBLEMS(c, "");
	CHECK(is(c, "heartbeat_interval", "10s"));
	CHECK(is(c, "client_timeout", "auto"));
	CHECK(is(c, "security.max_message_size", "64KiB"));
	CHECK(is(c, "node_port", "3"));
	CHECK(is(c, "workers", "2"));
	CHECK(is(c, "websocket_origins", "https://a.example, *"));
	CHECK(is(c, "security.trusted_proxies", "10.0.0.1, ::1"));
	wsc_config_free(c);
	unlink(path);
	unsetenv("WSC_HEARTBEAT_INTERVAL");
	unsetenv("WSC_SECURITY_MAX_MESSAGE_SIZE");
	unsetenv("WSC_NODE_PORT");
	unsetenv("WSC_WEBSOCKET_ORIGINS");
}

TEST(unknown_variables_are_warnings_and_variables_of_an_orchestrator_are_ignored)
{
	struct wsc_config *c = wsc_config_new();

	setenv("WSC_NODE_PROT", "1", 1);
	setenv("WSC_SERVICE_HOST", "1", 1);
	setenv("WSC_PORT_8080_TCP_ADDR", "1", 1);
	CHECK_EQ(wsc_config_env(c), 0);
	CHECK_PROBLEMS(
		c,
		"warning: environment: WSC_NODE_PROT: unknown variable; it has no effect; did you mean WSC_NODE_PORT?\n");
	wsc_config_free(c);
	unsetenv("WSC_NODE_PROT");
	c = wsc_config_new();
	setenv("WSC_REDIS_HOST", "1", 1);
	CHECK_EQ(wsc_config_env(c), 0);
	CHECK_PROBLEMS(c,
		       "warning: environment: WSC_REDIS_HOST: has no effect: messages are not shared through Redis\n");
	wsc_config_free(c);
	unsetenv("WSC_REDIS_HOST");
	c = wsc_config_new();
	setenv("WSC_WORKERS", "many", 1);
	CHECK_EQ(wsc_config_env(c), -WSC_ECONFIG);
	CHECK_PROBLEMS(c, "environment: WSC_WORKERS: \"many\" is not a whole number; allowed: auto or 1..64\n");
	wsc_config_free(c);
	unsetenv("WSC_WORKERS");
	unsetenv("WSC_SERVICE_HOST");
	unsetenv("WSC_PORT_8080_TCP_ADDR");
}

TEST(a_wrong_setting_is_reported)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(wsc_config_set(c, "node_prot", "1"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "security", "1"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "node_port", ""), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "node_ip", "[{a: b}]"), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_set(c, "node_ip", "[a"), -WSC_ECONFIG);
	CHECK_PROBLEMS(c, "set: node_prot: unknown key; did you mean node_port?\n"
			  "set: security: a section has no value of its own; set one of its keys\n"
			  "set: node_port: no value is given; allowed: 0..65535\n"
			  "set: node_ip: each entry of the list must be one value\n"
			  "set: node_ip: not valid YAML: did not find expected ',' or ']'\n");
	wsc_config_free(c);
}

TEST(a_file_that_cannot_be_read_is_an_error_but_no_fault)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(wsc_config_load(c, "/nonexistent/config.yaml"), -WSC_ESYSTEM);
	CHECK_EQ(wsc_config_load(c, "/"), -WSC_ESYSTEM);
	CHECK_PROBLEMS(c, "/nonexistent/config.yaml: cannot be read: No such file or directory\n"
			  "/: cannot be read: Is a directory\n");
	CHECK_EQ(wsc_config_check(c, 0), -WSC_ECONFIG);
	wsc_config_free(c);
}

/* Shows: threat 98 */
TEST(without_a_file_the_gateway_listens_on_loopback_only)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(wsc_config_load(c, NULL), 0);
	CHECK(is(c, "node_ip", "127.0.0.1"));
	CHECK(is(c, "node_port", "8080"));
	CHECK(wsc_config_enabled(c));
	CHECK_EQ(wsc_config_check(c, 0), 0);
	wsc_config_free(c);
}

TEST(enabled_follows_the_section_unless_it_is_written)
{
	struct wsc_config *c = parsed("wsc:\n");

	CHECK(wsc_config_enabled(c));
	wsc_config_free(c);
	c = parsed("other: 1\n");
	CHECK(!wsc_config_enabled(c));
	CHECK_EQ(wsc_config_check(c, 0), 0);
	CHECK_PROBLEMS(c, "warning: config.yaml: there is no section wsc: the gateway is not enabled\n");
	wsc_config_set(c, "enabled", "true");
	CHECK(wsc_config_enabled(c));
	CHECK_EQ(wsc_config_check(c, 0), 0);
	CHECK_PROBLEMS(c, "");
	wsc_config_free(c);
	c = parsed("");
	CHECK(!wsc_config_enabled(c));
	wsc_config_free(c);
	c = parsed("wsc:\n  enabled: no\n");
	CHECK(!wsc_config_enabled(c));
	CHECK_EQ(wsc_config_check(c, 0), 0);
	CHECK_PROBLEMS(c, "warning: config.yaml:2: wsc.enabled: false: the gateway is not enabled\n");
	wsc_config_free(c);
}

/* Shows: threat 100, hardening.secret-logs */
TEST(get_cuts_to_the_room_and_hides_secrets)
{
	struct wsc_config *c = wsc_config_new();
	char out[5];

	CHECK_EQ(wsc_config_get(c, "node_ip", out, sizeof(out)), 7);
	CHECK(strcmp(out, "0.0.") == 0);
	CHECK_EQ(wsc_config_get(c, "node_ip", NULL, 0), 7);
	CHECK(is(c, "admin.token", ""));
	CHECK_EQ(wsc_config_set(c, "admin.token", "hunter2"), 0);
	CHECK(is(c, "admin.token", "(secret)"));
	wsc_config_free(c);
}
