/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself: each name has one meaning, defaults and enums fit. */
#include "config/table.h"

#include "config/source.h"
#include "test.h"
#include "wsc/config.h"

TEST(no_key_is_in_the_table_twice_or_both_in_use_and_without_effect)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		struct bytes key = bytes_str(config_rows[i].key);

		CHECK_EQ(config_row_find(key), i);
		CHECK_EQ(config_section_find(key), -1);
		CHECK_EQ(config_ignored_find(key), -1);
	}
}

TEST(every_variable_stands_for_one_key)
{
	char a[SOURCE_ENV_NAME_MAX], b[SOURCE_ENV_NAME_MAX];

	for (int i = 0; i < OPT_COUNT; i++) {
		source_env_name(config_rows[i].key, a);
		CHECK_EQ(strlen(a), strlen(config_rows[i].key) + 4);
		for (int j = 0; j < i; j++) {
			source_env_name(config_rows[j].key, b);
			CHECK(strcmp(a, b) != 0);
		}
	}
}

static bool reads_as(struct wsc_config *c, const char *key, const char *text)
{
	char out[128];

	CHECK_EQ(wsc_config_set(c, key, text), 0);
	return wsc_config_get(c, key, out, sizeof(out)) >= 0 && strcmp(out, text) == 0;
}

/* The enums of config.h are in the order of the words. */
TEST(the_words_of_a_choice_are_its_enum)
{
	struct wsc_config *c = wsc_config_new();

	if (!CHECK(c != NULL))
		return;
	CHECK(reads_as(c, "slow_consumer", "drop_oldest") && c->values.slow_consumer == CONFIG_SLOW_DROP_OLDEST);
	CHECK(reads_as(c, "multi_login", "reject") && c->values.multi_login == CONFIG_LOGIN_REJECT);
	CHECK(reads_as(c, "multi_login", "allow") && c->values.multi_login == CONFIG_LOGIN_ALLOW);
	CHECK(reads_as(c, "security.sender_mismatch", "overwrite") &&
	      c->values.security.sender_mismatch == CONFIG_SENDER_OVERWRITE);
	CHECK(reads_as(c, "security.sender_mismatch", "hook") &&
	      c->values.security.sender_mismatch == CONFIG_SENDER_HOOK);
	CHECK(reads_as(c, "log.level", "debug") && c->values.log.level == CONFIG_LOG_DEBUG);
	CHECK(reads_as(c, "log.level", "error") && c->values.log.level == CONFIG_LOG_ERROR);
	CHECK(reads_as(c, "log.format", "json") && c->values.log.format == CONFIG_LOG_JSON);
	CHECK(reads_as(c, "auth.mode", "token") && c->values.auth.mode == CONFIG_AUTH_TOKEN);
	CHECK(reads_as(c, "store.kind", "postgres") && c->values.store.kind == CONFIG_STORE_POSTGRES);
	CHECK(reads_as(c, "store.sync", "relaxed") && c->values.store.sync == CONFIG_SYNC_RELAXED);
	CHECK(reads_as(c, "tls.min_version", "1.3") && c->values.tls.min_version == CONFIG_TLS_1_3);
	wsc_config_free(c);
}

/* Shows: threat 7, threat 11 */
TEST(the_defaults_match_the_documentation)
{
	struct wsc_config *c = wsc_config_new();
	const struct config *v;

	if (!CHECK(c != NULL))
		return;
	v = &c->values;
	CHECK(v->enabled && wsc_config_enabled(c));
	CHECK(v->node_ip.n == 1 && strcmp(v->node_ip.at[0], "0.0.0.0") == 0);
	CHECK_EQ(v->node_port, 8080);
	CHECK(v->node_id == NULL);
	CHECK_EQ(v->workers, 0);
	CHECK_EQ(v->heartbeat_interval_ms, 30000);
	CHECK_EQ(config_client_timeout_ms(v), 90000);
	CHECK_EQ(v->message_buffer_size, 256);
	CHECK(v->websocket_origins.n == 1 && strcmp(v->websocket_origins.at[0], "*") == 0);
	CHECK(strcmp(v->paths.websocket, "/ws") == 0 && strcmp(v->paths.sse, "/sse") == 0);
	CHECK(strcmp(v->paths.stats, "/wsc/stats") == 0 && strcmp(v->paths.online, "/wsc/online") == 0);
	CHECK(strcmp(v->paths.api, "/api/v1/websocket") == 0);
	CHECK_EQ(v->sse_heartbeat_ms, 30000);
	CHECK_EQ(v->sse_message_buffer, 100);
	CHECK_EQ(v->max_connections_per_user, 8);
	CHECK_EQ(v->multi_login, CONFIG_LOGIN_REPLACE);
	CHECK_EQ(v->slow_consumer, CONFIG_SLOW_CLOSE);
	CHECK_EQ(v->performance.kernel_queue, 65536);
	CHECK_EQ(v->performance.max_connections_per_node, 0);
	CHECK_EQ(v->performance.max_queue_bytes, 0);
	CHECK_EQ(config_queue_bytes(v), 2097152);
	CHECK(!v->performance.enable_compression);
	CHECK_EQ(v->performance.compression_level, 6);
	CHECK_EQ(v->performance.compression_min_bytes, 256);
	CHECK_EQ(v->security.max_message_size, 1048576);
	CHECK_EQ(v->security.max_content_length, 0);
	CHECK_EQ(v->security.sender_mismatch, CONFIG_SENDER_REJECT);
	CHECK(v->security.allowed_user_types.n == 6 && strcmp(v->security.allowed_user_types.at[5], "visitor") == 0);
	CHECK(v->security.blocked_ips.n + v->security.whitelist_ips.n + v->security.trusted_proxies.n == 0);
	CHECK(!v->security.enable_ip_whitelist && v->security.enable_rate_limit && !v->require_origin);
	CHECK_EQ(v->security.message_rate, 100);
	CHECK_EQ(v->security.message_burst, 1000);
	CHECK_EQ(v->security.connect_rate, 0);
	CHECK_EQ(v->auth.mode, CONFIG_AUTH_OPEN);
	CHECK_EQ(v->store.kind, CONFIG_STORE_NONE);
	CHECK(v->tls.certificate.n == 0 && v->tls.key.n == 0 && !v->admin.token);
	CHECK_EQ(v->hook_timeout_ms, 5000);
	CHECK_EQ(v->shutdown_timeout_ms, 30000);
	CHECK_EQ(v->limits.memory, 0);
	CHECK_EQ(v->limits.json_depth, 64);
	CHECK_EQ(v->limits.write_timeout_ms, 10000);
	CHECK_EQ(v->limits.header_bytes, 16384);
	CHECK_EQ(v->limits.header_count, 64);
	CHECK_EQ(v->limits.uri_bytes, 8192);
	CHECK_EQ(v->limits.header_timeout_ms, 10000);
	CHECK_EQ(v->limits.fragments, 1024);
	CHECK_EQ(v->limits.control_rate, 20);
	CHECK_EQ(v->limits.control_burst, 40);
	CHECK_EQ(v->log.level, CONFIG_LOG_INFO);
	CHECK_EQ(v->log.format, CONFIG_LOG_AUTO);
	CHECK_EQ(wsc_config_check(c, WSC_CONFIG_NO_MESSAGE_HOOK), 0);
	CHECK(wsc_config_problem(c, 0, NULL) == NULL);
	wsc_config_free(c);
}
