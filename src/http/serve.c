/* SPDX-License-Identifier: Apache-2.0 */
/* serve: see serve.h. The table of routes, and the ones that answer from counters. */
#include "http/serve.h"

#include "http/answer.h"
#include "http/gate.h"
#include "http/online.h"

static void answer_probe(struct conn *c, struct bytes body)
{
	struct http1_out_field fields[4];

	http_answer(c, 200, JSON_TYPE, body, fields, http_cors(c, fields));
}

static void serve_live(struct conn *c)
{
	answer_probe(c, BYTES("{\"success\":true,\"message\":\"Alive\",\"data\":{\"status\":\"ok\"}}"));
}

static void serve_ready(struct conn *c)
{
	if (atomic_load_explicit(&conn_shard(c)->set->shared.draining, memory_order_relaxed))
		http_refuse(c, END_GOING_AWAY);
	else
		answer_probe(c, BYTES("{\"success\":true,\"message\":\"Ready\",\"data\":{\"status\":\"ok\"}}"));
}

static void serve_stats(struct conn *c)
{
	struct buf body = BUF_INIT;

	stats_json(conn_shard(c), &body, false);
	http_answer_json(c, &body);
}

static void serve_old_stats(struct conn *c)
{
	struct buf body = BUF_INIT;

	stats_json(conn_shard(c), &body, true);
	http_answer_json(c, &body);
}

static void serve_metrics(struct conn *c)
{
	static const struct http1_out_field no_store = { "Cache-Control", BYTES("no-store") };
	struct metrics_totals t;
	struct buf body = BUF_INIT;

	if (!gate_on_loopback(c)) {
		http_refuse(c, END_METRICS_NOT_LOCAL);
		return;
	}
	stats_totals(conn_shard(c)->set, conn_shard(c)->now, &t);
	metrics_write(&body, &t);
	if (body.failed)
		http_refuse(c, END_NO_MEMORY);
	else
		http_answer(c, 200, METRICS_TYPE, buf_bytes(&body), &no_store, 1);
	buf_deinit(&body);
}

#define ROUTE(kind, serve, label, flags) [kind] = { kind, flags, METRIC_ROUTE_##label, serve }

const struct route_type http_routes[ROUTE_KINDS] = {
	ROUTE(ROUTE_WEBSOCKET, serve_websocket, WEBSOCKET, ROUTE_HANDSHAKE | ROUTE_SESSION),
	ROUTE(ROUTE_ECHO, serve_echo, WEBSOCKET, ROUTE_HANDSHAKE),
	ROUTE(ROUTE_SSE, serve_sse, SSE, ROUTE_SESSION),
	ROUTE(ROUTE_SEND, serve_send, SEND, 0),
	ROUTE(ROUTE_BROADCAST, serve_broadcast, BROADCAST, 0),
	ROUTE(ROUTE_ONLINE, serve_online, ONLINE, 0),
	ROUTE(ROUTE_STATS, serve_stats, STATS, ROUTE_WHEN_SHORT),
	ROUTE(ROUTE_OLD_ONLINE, serve_old_online, ONLINE, 0),
	ROUTE(ROUTE_OLD_STATS, serve_old_stats, STATS, ROUTE_WHEN_SHORT),
	ROUTE(ROUTE_LIVEZ, serve_live, PROBE, ROUTE_WHEN_FULL),
	ROUTE(ROUTE_READYZ, serve_ready, PROBE, 0),
	ROUTE(ROUTE_METRICS, serve_metrics, METRICS, ROUTE_WHEN_FULL),
	ROUTE(ROUTE_ASSET, serve_asset, PAGE, 0),
	ROUTE(ROUTE_LOCAL_ASSET, serve_local_asset, PAGE, 0),
	ROUTE(ROUTE_PROGRAM, serve_program, PROGRAM, 0),
};
