/* SPDX-License-Identifier: Apache-2.0 */
/* answer: see answer.h. */
#include "api/answer.h"

#include "base/json.h"

static void add_key(struct buf *b, const char *key)
{
	json_add_string(b, bytes_str(key));
	buf_add_u8(b, ':');
}

static void add_text(struct buf *b, const char *key, struct bytes value)
{
	add_key(b, key);
	json_add_string(b, value);
	buf_add_u8(b, ',');
}

static void add_number(struct buf *b, const char *key, uint64_t value)
{
	add_key(b, key);
	buf_add_u64(b, value);
	buf_add_u8(b, ',');
}

static void add_time(struct buf *b, const char *key, uint64_t wall_ms)
{
	char at[RFC3339_LEN];

	rfc3339_format(wall_ms, at);
	add_text(b, key, bytes_of(at, sizeof at));
}

/* Turns the comma behind the last member into the end of the object. */
static void end_object(struct buf *b)
{
	if (b->len && b->at[b->len - 1] == ',')
		b->at[b->len - 1] = '}';
	else
		buf_add_u8(b, '}');
}

static void begin_success(struct buf *b, const char *message)
{
	buf_add_str(b, "{\"success\":true,");
	add_text(b, "message", bytes_str(message));
	add_key(b, "data");
	buf_add_u8(b, '{');
}

void answer_failure(struct buf *b, enum api_code code, struct bytes error)
{
	buf_add_str(b, "{\"success\":false,");
	add_text(b, "error", error);
	buf_add_str(b, "\"message\":null,");
	add_text(b, "code", bytes_str(api_code_text(code)));
	end_object(b);
}

void answer_stats(struct buf *b, const struct metrics_totals *t, uint64_t wall_ms, bool older)
{
	begin_success(b, "Statistics");
	add_text(b, "node_id", t->node);
	metrics_write_stats(b, t);
	if (older) {
		add_number(b, "websocket_count", t->sessions[METRIC_TRANSPORT_WEBSOCKET]);
		add_number(b, "sse_count", t->sessions[METRIC_TRANSPORT_SSE]);
		add_number(b, "total_connections", metrics_sum(t->sessions, sizeof t->sessions));
	}
	add_time(b, "last_updated", wall_ms);
	end_object(b);
	buf_add_str(b, older ? ",\"status\":\"ok\"}" : "}");
}

void answer_user(struct buf *b, const struct hub_user_row *row, struct bytes type, struct now now)
{
	bool online = row->connections > 0;
	uint32_t silent_ms = (uint32_t)now_ms(now) - row->last_rx_ms;
	uint64_t last;

	if (b->len)
		buf_add_u8(b, ',');
	buf_add_u8(b, '{');
	add_text(b, "user_id", row->user_id);
	if (online) {
		add_text(b, "user_type", type);
		add_text(b, "type", row->transport == HUB_WEBSOCKET ? BYTES("websocket") : BYTES("sse"));
		add_text(b, "status", BYTES("connected"));
		add_time(b, "connected_at", row->connected_wall_ms);
		/* Two clocks, each cut to milliseconds, may differ by one. */
		last = now.wall_ms - silent_ms;
		add_time(b, "last_ping", last < row->connected_wall_ms ? row->connected_wall_ms : last);
	} else {
		buf_add_str(b, "\"user_type\":null,\"type\":null,");
		add_text(b, "status", BYTES("offline"));
		buf_add_str(b, "\"connected_at\":null,\"last_ping\":null,");
	}
	add_number(b, "connections", row->connections);
	end_object(b);
}

void answer_online(struct buf *b, struct bytes rows, uint64_t total, struct bytes next, bool older)
{
	begin_success(b, "Users online");
	add_number(b, "total", total);
	if (older)
		add_number(b, "count", total);
	add_key(b, "users");
	buf_add_u8(b, '[');
	buf_add(b, rows);
	buf_add_str(b, "],");
	if (next.len)
		add_text(b, "next", next);
	end_object(b);
	buf_add_str(b, older ? ",\"status\":\"ok\"}" : "}");
}

void answer_sent(struct buf *b, struct bytes id, struct bytes to, struct bytes type, uint32_t delivered)
{
	begin_success(b, "Message sent");
	add_text(b, "id", id);
	add_text(b, "to", to);
	add_text(b, "type", type);
	add_text(b, "status", BYTES("delivered"));
	add_number(b, "delivered_count", delivered);
	end_object(b);
	buf_add_u8(b, '}');
}

void answer_broadcast(struct buf *b, struct bytes id, struct bytes type, uint32_t delivered)
{
	begin_success(b, "Broadcast sent");
	add_text(b, "id", id);
	add_text(b, "type", type);
	add_number(b, "delivered_count", delivered);
	end_object(b);
	buf_add_u8(b, ',');
	add_number(b, "delivered_count", delivered);
	end_object(b);
}
