/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of several keys together: contradictions, and features that this version must not silently leave out. */
#include "config/check.h"

#include "base/mem.h"
#include "test.h"
#include "wsc/config.h"
#include "wsc/error.h"

/* Does a file with the section @text have the faults @want? "" is none. */
static void check_flags(const char *text, unsigned flags, const char *want, int line)
{
	struct wsc_config *c = wsc_config_new();
	struct buf got = BUF_INIT;
	const char *problem;
	bool warning, fault = false;
	int rc;

	wsc_config_parse(c, "config.yaml", text, strlen(text));
	rc = wsc_config_check(c, flags);
	for (size_t i = 0; (problem = wsc_config_problem(c, i, &warning)); i++) {
		fault |= !warning;
		buf_addf(&got, "%s%s\n", warning ? "warning: " : "", problem);
	}
	test_check_bytes(buf_bytes(&got), bytes_str(want), __FILE__, line, text);
	test_check_eq(rc, fault ? -WSC_ECONFIG : 0, __FILE__, line, "wsc_config_check", text);
	buf_deinit(&got);
	wsc_config_free(c);
}
#define SAYS(text, want) check_flags((text), WSC_CONFIG_NO_MESSAGE_HOOK, (want), __LINE__)

TEST(only_a_written_client_timeout_is_held_against_the_heartbeat)
{
	SAYS("wsc:\n  heartbeat_interval: 1h\n", "");
	SAYS("wsc:\n  client_timeout: 31\n", "");
	SAYS("wsc:\n  client_timeout: auto\n", "");
	SAYS("wsc:\n  client_timeout: 30\n",
	     "config.yaml:2: wsc.client_timeout: 30s is too short; allowed: longer than heartbeat_interval, which is 30s\n");
	SAYS("wsc:\n  client_timeout: 20s\n  heartbeat_interval: 1m\n",
	     "config.yaml:2: wsc.client_timeout: 20s is too short; allowed: longer than heartbeat_interval, which is 1m\n");
}

TEST(a_queue_must_hold_the_longest_message)
{
	SAYS("wsc:\n  performance: {max_queue_bytes: 1088KiB}\n", "");
	SAYS("wsc:\n  performance: {max_queue_bytes: 1114111}\n",
	     "config.yaml:2: wsc.performance.max_queue_bytes: 1114111B is too small; allowed: auto, or at least "
	     "1088KiB (security.max_message_size + 64KiB)\n");
	SAYS("wsc:\n  security: {max_message_size: 4MiB}\n", "");
	SAYS("wsc:\n  security: {max_message_size: 4MiB}\n  performance: {max_queue_bytes: 2MiB}\n",
	     "config.yaml:3: wsc.performance.max_queue_bytes: 2MiB is too small; allowed: auto, or at least 4160KiB "
	     "(security.max_message_size + 64KiB)\n");
	SAYS("wsc:\n  security: {max_message_size: 4MiB}\n  performance: {max_queue_bytes: 5MiB}\n", "");
}

TEST(sender_mismatch_hook_needs_the_hook)
{
	const char *text = "wsc:\n  security: {sender_mismatch: hook}\n";

	check_flags(text, 0, "", __LINE__);
	SAYS(text,
	     "config.yaml:2: wsc.security.sender_mismatch: hook needs the hook on_message_received, and there is none; "
	     "allowed here: reject or overwrite\n");
}

TEST(a_key_of_an_absent_feature_that_users_would_miss_stops_the_start)
{
	SAYS("wsc:\n  auth: {mode: open}\n  store: {kind: none}\n", "");
	SAYS("wsc:\n  auth: {mode: token}\n",
	     "config.yaml:2: wsc.auth.mode: token is not in this version; allowed: open\n");
	SAYS("wsc:\n  store: {kind: sqlite}\n",
	     "config.yaml:2: wsc.store.kind: storage is not in this version; allowed: none\n");
	SAYS("wsc:\n  store: {kind: redis}\n",
	     "config.yaml:2: wsc.store.kind: \"redis\" is unknown; allowed: none, sqlite or postgres\n");
	SAYS("wsc:\n  admin: {token: hunter2}\n",
	     "config.yaml:2: wsc.admin.token: an admin token is not in this version; without it administration answers only on "
	     "loopback\n");
}

TEST(a_key_of_an_absent_feature_that_users_would_not_miss_warns)
{
	SAYS("wsc:\n  performance: {enable_compression: false}\n", "");
	SAYS("wsc:\n  ack_retries: 5\n  store:\n    offline_ttl: 5\n    offline_max: 5\n",
	     "warning: config.yaml:2: wsc.ack_retries: has no effect in this version\n"
	     "warning: config.yaml:4: wsc.store.offline_ttl: has no effect in this version\n"
	     "warning: config.yaml:5: wsc.store.offline_max: has no effect in this version\n");
	SAYS("wsc:\n  performance: {compression_level: 10}\n",
	     "config.yaml:2: wsc.performance.compression_level: \"10\" is out of range; allowed: 1..9\n");
	SAYS("wsc:\n  ack_retries: 1\n", "warning: config.yaml:2: wsc.ack_retries: has no effect in this version\n");
}

TEST(each_certificate_needs_its_key_and_no_port_is_left_without_service)
{
	SAYS("wsc:\n  tls: {certificate: /a.pem, key: /b.pem}\n", "");
	SAYS("wsc:\n  tls: {certificate: [/a.pem, /b.pem], key: [/a.key, /b.key], port: 8443}\n", "");
	SAYS("wsc:\n  tls: {certificate: /a.pem, key: /b.pem, allow_plain: false, min_version: 1.3, ticket_rotation: 1h}\n",
	     "");
	SAYS("wsc:\n  tls: {certificate: /a.pem}\n",
	     "config.yaml:2: wsc.tls.certificate: a certificate needs its key: set tls.key too\n");
	SAYS("wsc:\n  tls: {key: /a.pem}\n",
	     "config.yaml:2: wsc.tls.key: a key needs its certificate: set tls.certificate too\n");
	SAYS("wsc:\n  tls: {certificate: [/a.pem, /b.pem], key: /a.pem}\n",
	     "config.yaml:2: wsc.tls.key: 1 key for 2 certificates; each certificate needs its key, in the same order\n");
	SAYS("wsc:\n  tls: {certificate: /a.pem, key: /b.pem, port: 8443, allow_plain: false}\n",
	     "config.yaml:2: wsc.tls.allow_plain: with false and a separate tls.port, node_port would serve nothing; "
	     "set tls.port to same\n");
	SAYS("wsc:\n  tls: {allow_plain: false}\n",
	     "config.yaml:2: wsc.tls.allow_plain: false needs tls.certificate and tls.key\n");
	SAYS("wsc:\n  tls: {port: 8443}\n",
	     "config.yaml:2: wsc.tls.port: a port for TLS needs tls.certificate and tls.key\n");
}

TEST(two_things_cannot_have_one_path)
{
	SAYS("wsc:\n  paths: {websocket: /sse, sse: /ws}\n", "");
	SAYS("wsc:\n  paths: {websocket: /x, sse: /x}\n",
	     "config.yaml:2: wsc.paths.sse: /x is already used by paths.websocket\n");
	SAYS("wsc:\n  paths: {websocket: /sse}\n",
	     "config.yaml:2: wsc.paths.websocket: /sse is already used by paths.sse\n");
	SAYS("wsc:\n  paths: {stats: /api/v1/websocket/stats}\n",
	     "config.yaml:2: wsc.paths.stats: /api/v1/websocket/stats is already used by paths.api\n");
	SAYS("wsc:\n  paths: {online: /livez}\n",
	     "config.yaml:2: wsc.paths.online: /livez is already used by the gateway itself\n");
}

/* Shows: threat 96 */
TEST(a_whitelist_without_its_switch_or_without_addresses_warns)
{
	SAYS("wsc:\n  security: {enable_ip_whitelist: true}\n",
	     "warning: config.yaml:2: wsc.security.enable_ip_whitelist: security.whitelist_ips is empty, so no client is accepted\n");
	SAYS("wsc:\n  security: {whitelist_ips: ['::1']}\n",
	     "warning: config.yaml:2: wsc.security.whitelist_ips: has no effect while security.enable_ip_whitelist is false\n");
}

TEST(a_second_check_sees_a_corrected_value)
{
	struct wsc_config *c = wsc_config_new();

	CHECK_EQ(wsc_config_set(c, "client_timeout", "10"), 0);
	CHECK_EQ(wsc_config_check(c, 0), -WSC_ECONFIG);
	CHECK_EQ(wsc_config_check(c, 0), -WSC_ECONFIG);
	CHECK_EQ(c->nproblems, 1);
	CHECK_EQ(wsc_config_set(c, "heartbeat_interval", "5"), 0);
	CHECK_EQ(wsc_config_check(c, 0), 0);
	CHECK_EQ(c->nproblems, 0);
	wsc_config_free(c);
}

TEST(a_copy_owns_all_it_has)
{
	struct wsc_config *c = wsc_config_new();
	struct config copy;

	wsc_config_set(c, "security.blocked_ips", "10.0.0.0/8");
	wsc_config_set(c, "node_id", "one");
	wsc_config_set(c, "multi_login", "reject");
	CHECK_EQ(config_values_copy(&copy, &c->values), 0);
	wsc_config_free(c);
	CHECK(strcmp(copy.node_id, "one") == 0 && strcmp(copy.paths.api, "/api/v1/websocket") == 0);
	CHECK_EQ(copy.security.blocked_ips.n, 1);
	CHECK_EQ(copy.security.blocked_ips.at[0].prefix, 8);
	CHECK_EQ(copy.multi_login, CONFIG_LOGIN_REJECT);
	CHECK(copy.enabled);
	config_values_free(&copy);
}

#ifdef WSC_FAULTS
/* The whole life of a configuration; its result does not matter, only that it ends well. */
static int live(void)
{
	static const char text[] =
		"wsc: {node_port: x, node_ip: ['::1'], websocket_origins: 'https://a.b', admin: {token: a},\n"
		"  security: {blocked_ips: [10.0.0.0/8, x]}, unknown: 1, paths: {sse: /ws}}";
	struct wsc_config *c = wsc_config_new();
	struct config copy;
	int rc;

	if (!c)
		return -WSC_ENOMEM;
	rc = wsc_config_parse(c, "config.yaml", text, sizeof(text) - 1);
	if (rc != -WSC_ENOMEM)
		rc = wsc_config_set(c, "node_ip", "[127.0.0.1]");
	if (rc != -WSC_ENOMEM)
		rc = wsc_config_check(c, 0);
	if (rc != -WSC_ENOMEM && (rc = config_values_copy(&copy, &c->values)) == 0)
		config_values_free(&copy);
	wsc_config_free(c);
	return rc;
}

TEST(memory_that_runs_out_anywhere_is_reported)
{
	unsigned long k = 1;
	int rc;

	do {
		mem_fail_at(k++, 0);
		rc = live();
		CHECK(rc == 0 || rc == -WSC_ENOMEM);
	} while (rc && k < 100000);
	mem_fail_at(0, 0);
	CHECK(k > 100 && k < 100000);
}
#endif
