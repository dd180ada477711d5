/* SPDX-License-Identifier: Apache-2.0 */
/* api_answer: the bodies of the HTTP API, byte for byte, and valid JSON for any texts in them. */
#include "api/answer.h"
#include "base/json.h"
#include "test.h"

static bool is_object(const struct buf *b)
{
	struct json_value v;

	return !b->failed && json_check(buf_bytes(b), &v) == JSON_OK && v.type == JSON_OBJECT;
}

static void body(struct buf *b, const char *want)
{
	if (!CHECK(bytes_eq(buf_bytes(b), bytes_str(want))))
		test_check_bytes(buf_bytes(b), bytes_str(want), __FILE__, __LINE__, want);
	CHECK(is_object(b));
	buf_deinit(b);
}

TEST(a_failure_has_the_shape_of_the_contract)
{
	struct buf b = BUF_INIT;

	answer_failure(&b, API_USER_OFFLINE, BYTES("user2 is offline"));
	body(&b, "{\"success\":false,\"error\":\"user2 is offline\",\"message\":null,\"code\":\"user_offline\"}");
}

TEST(texts_cannot_break_out_of_their_strings)
{
	static const char *const texts[] = { "\"",        "\\",           "\"}",
					     "a\nb",      "\x01",         "\x7f",
					     "</script>", "\xe2\x80\xa8", "\xf0\x9f\x98\x80" };
	struct hub_user_row row = { .connections = 1 };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct bytes t = bytes_str(texts[i]);
		struct buf b = BUF_INIT, rows = BUF_INIT;

		answer_failure(&b, API_REFUSED, t);
		CHECK(is_object(&b));
		buf_clear(&b);
		answer_sent(&b, t, t, t, 1);
		CHECK(is_object(&b));
		buf_clear(&b);
		answer_broadcast(&b, t, t, 1);
		CHECK(is_object(&b));
		buf_clear(&b);
		row.user_id = t;
		answer_user(&rows, &row, t, (struct now){ 0, 0 });
		CHECK(is_object(&rows));
		answer_online(&b, buf_bytes(&rows), 1, t, true);
		CHECK(is_object(&b));
		buf_clear(&b);
		answer_stats(&b, &(struct metrics_totals){ .node = t }, 0, true);
		CHECK(is_object(&b));
		buf_deinit(&b);
		buf_deinit(&rows);
	}
}

TEST(a_send_names_its_receiver_and_the_delivered_count)
{
	struct buf b = BUF_INIT;

	answer_sent(&b, BYTES("m1"), BYTES("bob"), BYTES("text"), 3);
	body(&b,
	     "{\"success\":true,\"message\":\"Message sent\",\"data\":{\"id\":\"m1\",\"to\":\"bob\",\"type\":\"text\","
	     "\"status\":\"delivered\",\"delivered_count\":3}}");
}

TEST(a_broadcast_has_its_count_under_two_names)
{
	struct buf b = BUF_INIT;

	answer_broadcast(&b, BYTES("m1"), BYTES("notice"), 4000000000u);
	body(&b, "{\"success\":true,\"message\":\"Broadcast sent\",\"data\":{\"id\":\"m1\",\"type\":\"notice\","
		 "\"delivered_count\":4000000000},\"delivered_count\":4000000000}");
}

TEST(statistics_have_every_name_and_the_older_names_only_on_request)
{
	struct metrics_totals t = { .node = BYTES("n"),
				    .uptime = 1,
				    .sessions = { [HUB_WEBSOCKET] = 2, [HUB_SSE] = 3 },
				    .users = 4,
				    .routed = 5,
				    .sent = 6,
				    .broadcasts = 7,
				    .lifetime = UINT64_MAX,
				    .dropped = { [HUB_DROP_OVERFLOW] = 3, [HUB_DROP_BROKEN] = 5 },
				    .closed_slow = 9,
				    .replaced = 10,
				    .memory_limit = 11,
				    .memory_used = 12,
				    .memory_step = 3 };
	struct buf b = BUF_INIT;

	answer_stats(&b, &t, 0, false);
	body(&b,
	     "{\"success\":true,\"message\":\"Statistics\",\"data\":{\"node_id\":\"n\",\"uptime_seconds\":1,\"active_connections\":5,"
	     "\"connections_by_type\":{\"websocket\":2,\"sse\":3},\"online_users\":4,\"messages_received\":5,\"messages_sent\":6,"
	     "\"broadcasts\":7,\"total_lifetime\":18446744073709551615,\"messages_dropped\":8,\"closed_slow\":9,"
	     "\"closed_replaced\":10,\"memory\":{\"limit_bytes\":11,\"used_bytes\":12,\"step\":3},\"last_updated\":\"1970-01-01T00:00:00.000Z\"}}");
	answer_stats(&b, &t, 0, true);
	CHECK(memmem(b.at, b.len, "\"websocket_count\":2,\"sse_count\":3,\"total_connections\":5", 55) != NULL);
	CHECK(b.len > 15 && memcmp(b.at + b.len - 15, ",\"status\":\"ok\"}", 15) == 0);
	CHECK(is_object(&b));
	buf_deinit(&b);
}

TEST(the_online_list_has_rows_total_and_a_cursor_when_there_is_more)
{
	struct hub_user_row on = { .user_id = BYTES("ann"),
				   .connected_wall_ms = 1000,
				   .last_rx_ms = 4000,
				   .connections = 2,
				   .transport = HUB_WEBSOCKET },
			    off = { .user_id = BYTES("bob") };
	struct now now = { 5000 * 1000000ull, 9000 };
	struct buf rows = BUF_INIT, b = BUF_INIT;

	answer_user(&rows, &on, BYTES("agent"), now);
	answer_user(&rows, &off, BYTES("customer"), now);
	answer_online(&b, buf_bytes(&rows), 7, BYTES("bob"), false);
	body(&b,
	     "{\"success\":true,\"message\":\"Users online\",\"data\":{\"total\":7,\"users\":["
	     "{\"user_id\":\"ann\",\"user_type\":\"agent\",\"type\":\"websocket\",\"status\":\"connected\","
	     "\"connected_at\":\"1970-01-01T00:00:01.000Z\",\"last_ping\":\"1970-01-01T00:00:08.000Z\",\"connections\":2},"
	     "{\"user_id\":\"bob\",\"user_type\":null,\"type\":null,\"status\":\"offline\",\"connected_at\":null,\"last_ping\":null,"
	     "\"connections\":0}],\"next\":\"bob\"}}");
	answer_online(&b, BYTES(""), 0, BYTES(""), true);
	body(&b,
	     "{\"success\":true,\"message\":\"Users online\",\"data\":{\"total\":0,\"count\":0,\"users\":[]},\"status\":\"ok\"}");
	buf_deinit(&rows);
}
