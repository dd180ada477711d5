/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_metrics: the table keeps Prometheus's rules and the bound on series, sums are true, the text is exact, and what
 * docs/metrics.md and <wsc/gateway.h> have between their markers is what the table says. WRITE_PAGES=1 in the
 * environment writes these two anew instead of complaining.
 */
#include "api/metrics.h"

#include <ctype.h>
#include <stdio.h>
#include "page.h"

#define SERIES_MAX 400u

static bool has(struct bytes text, const char *part)
{
	return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

static bool ends(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* ---- the table ----------------------------------------------------------------------------------------------------- */

/* The greatest number of lines that a scrape has of @row, comments not counted. */
static unsigned series(const struct metric_row *row)
{
	const struct metric_label *by = row->labels->by;
	unsigned n = 0;

	if (row->kind == METRIC_FIGURE)
		return 0;
	if (row->kind == METRIC_HISTOGRAM)
		return HISTOGRAM_BUCKETS + 2;
	if (!by[0].values)
		return 1;
	for (unsigned i = 0; i < by[0].n; i++)
		n += by[0].values[i] != NULL;
	return by[1].name ? n * by[1].n : n;
}

TEST(a_scrape_has_at_most_400_series)
{
	unsigned n = 0;

	for (unsigned i = 0; i < METRIC_ROWS; i++)
		n += series(&metric_rows[i]);
	if (!CHECK(n <= SERIES_MAX))
		printf("%u series\n", n);
}

TEST(names_follow_the_guide_of_prometheus)
{
	for (unsigned i = 0; i < METRIC_ROWS; i++) {
		const struct metric_row *row = &metric_rows[i];
		struct buf end = BUF_INIT;

		if (row->kind == METRIC_FIGURE) {
			test_check(!*row->name && row->stat.key, __FILE__, __LINE__, row->help);
			continue;
		}
		for (const char *c = row->name; *c; c++)
			test_check(islower((unsigned char)*c) || *c == '_', __FILE__, __LINE__, row->name);
		test_check(strncmp(row->name, "wsc_", 4) == 0, __FILE__, __LINE__, row->name);
		test_check(ends(row->name, "_total") == (row->kind == METRIC_COUNTER), __FILE__, __LINE__, row->name);
		buf_addf(&end, "%s%s%s", *row->unit ? "_" : "", row->unit, row->kind == METRIC_COUNTER ? "_total" : "");
		buf_add_u8(&end, '\0');
		test_check(ends(row->name, (const char *)end.at), __FILE__, __LINE__, row->name);
		buf_deinit(&end);
		for (unsigned j = 0; j < i; j++)
			test_check(strcmp(row->name, metric_rows[j].name) != 0, __FILE__, __LINE__, row->name);
	}
}

TEST(no_help_and_no_value_of_a_label_needs_an_escape)
{
	for (unsigned i = 0; i < METRIC_ROWS; i++) {
		const struct metric_row *row = &metric_rows[i];

		test_check(ends(row->help, ".") && !strpbrk(row->help, "\\\n") && !strstr(row->help, "*/"), __FILE__,
			   __LINE__, row->help);
		for (unsigned l = 0; l < 2; l++)
			for (unsigned v = 0; row->labels->by[l].values && v < row->labels->by[l].n; v++)
				for (const char *c = row->labels->by[l].values[v]; c && *c; c++)
					test_check(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
							   *c == '_',
						   __FILE__, __LINE__, row->labels->by[l].values[v]);
	}
}

TEST(the_bounds_of_histograms_grow)
{
	for (unsigned i = 0; i < METRIC_ROWS; i++) {
		const struct metric_row *row = &metric_rows[i];

		if (row->kind != METRIC_HISTOGRAM)
			continue;
		for (unsigned k = 1; k < HISTOGRAM_BOUNDS; k++)
			test_check(row->bounds[k - 1] < row->bounds[k], __FILE__, __LINE__, row->name);
	}
}

TEST(codes_and_statuses_outside_the_lists_have_a_place_too)
{
	CHECK_EQ(metric_close_of(1000), METRIC_CLOSE_1000);
	CHECK_EQ(metric_close_of(4429), METRIC_CLOSE_4429);
	CHECK_EQ(metric_close_of(0), METRIC_CLOSE_OTHER);
	CHECK_EQ(metric_close_of(3000), METRIC_CLOSE_OTHER);
	CHECK_EQ(metric_close_of(UINT16_MAX), METRIC_CLOSE_OTHER);
	CHECK_EQ(metric_status_of(101), METRIC_STATUS_101);
	CHECK_EQ(metric_status_of(503), METRIC_STATUS_503);
	CHECK_EQ(metric_status_of(413), METRIC_STATUS_4XX);
	CHECK_EQ(metric_status_of(504), METRIC_STATUS_5XX);
	CHECK_EQ(metric_status_of(302), METRIC_STATUS_OTHER);
	CHECK_EQ(metric_status_of(0), METRIC_STATUS_OTHER);
}

/* ---- sums ---------------------------------------------------------------------------------------------------------- */

TEST(the_totals_are_the_sum_of_all_workers)
{
	struct metrics_totals t = { 0 };
	struct hub_counters hub = { 0 };
	struct metrics m = { 0 };

	for (uint64_t worker = 1; worker <= 3; worker++) {
		counter_add(&m.received, worker);
		counter_add(&m.messages_refused[API_USER_OFFLINE], 1);
		counter_add(&m.messages_refused[API_RATE_LIMITED], 5);
		counter_add(&m.http_requests[METRIC_ROUTE_SEND][METRIC_STATUS_404], worker);
		metric_observe(&m, turn, 30000 * worker);
		counter_add(&hub.sessions[HUB_SSE], 7);
		counter_add(&hub.sent, 100);
		metrics_add(&t, &m, &hub); /* counts what the workers before it have as well: 1, 1 + 2, 1 + 2 + 3 */
	}
	CHECK_EQ(t.received, 1 + 3 + 6);
	CHECK_EQ(t.messages_refused[API_USER_OFFLINE], 1 + 2 + 3);
	CHECK_EQ(t.messages_refused[API_RATE_LIMITED], 5 + 10 + 15);
	CHECK_EQ(t.messages_refused[API_BAD_MESSAGE], 0);
	CHECK_EQ(t.http_requests[METRIC_ROUTE_SEND][METRIC_STATUS_404], 10);
	CHECK_EQ(metrics_sum(&t.http_requests, sizeof t.http_requests), 10);
	CHECK_EQ(t.sessions[HUB_SSE], 7 + 14 + 21);
	CHECK_EQ(t.sessions[HUB_WEBSOCKET], 0);
	CHECK_EQ(t.sent, 100 + 200 + 300);
	CHECK_EQ(t.turn[2], 3); /* 30 us: above 25, not above 50 */
	CHECK_EQ(t.turn[3], 2 + 1);
	CHECK_EQ(t.turn[HISTOGRAM_BUCKETS], 30000 + 90000 + 180000);
	CHECK_EQ(t.routed, 10 - 6);
}

TEST(a_refusal_that_is_counted_before_its_message_takes_no_counter_below_zero)
{
	struct metrics_totals t = { 0 };
	struct hub_counters hub = { 0 };
	struct metrics m = { 0 };

	counter_add(&m.messages_refused[API_USER_OFFLINE], 1);
	metrics_add(&t, &m, &hub);
	CHECK_EQ(t.routed, 0);
}

/* ---- text ---------------------------------------------------------------------------------------------------------- */

/* The lines of a scrape of @t for @name, its HELP line included. */
static void check_family(const struct metrics_totals *t, const char *name, const char *want, int line)
{
	struct buf b = BUF_INIT, head = BUF_INIT;
	struct bytes text;
	const uint8_t *end;

	buf_addf(&head, "# HELP %s ", name);
	metrics_write(&b, t);
	if (!test_check(!b.failed && b.at[b.len - 1] == '\n', __FILE__, line, name))
		return;
	text.at = memmem(b.at, b.len, head.at, head.len);
	if (test_check(text.at != NULL, __FILE__, line, name)) {
		text.len = b.len - (size_t)(text.at - b.at);
		end = memmem(text.at + 1, text.len - 1, "# HELP ", 7);
		if (end)
			text.len = (size_t)(end - text.at);
		test_check_bytes(text, bytes_str(want), __FILE__, line, name);
	}
	buf_deinit(&head);
	buf_deinit(&b);
}

TEST(each_kind_of_row_is_written_as_prometheus_reads_it)
{
	struct metrics_totals t = { .build = BYTES("0.1.0"),
				    .node = BYTES("gate1-8080"),
				    .start_time = 1769860800123,
				    .sessions = { [HUB_WEBSOCKET] = 2, [HUB_SSE] = 3 },
				    .broadcasts = UINT64_MAX,
				    .memory_used = 9437184 };

	t.http_requests[METRIC_ROUTE_SEND][METRIC_STATUS_200] = 8;
	t.http_requests[METRIC_ROUTE_NONE][METRIC_STATUS_4XX] = 1;
	check_family(&t, "wsc_build_info",
		     "# HELP wsc_build_info Always 1. The label has the version of the library that runs.\n"
		     "# TYPE wsc_build_info gauge\n"
		     "wsc_build_info{version=\"0.1.0\"} 1\n",
		     __LINE__);
	check_family(&t, "wsc_node_info",
		     "# HELP wsc_node_info Always 1. The label has the node_id of the configuration.\n"
		     "# TYPE wsc_node_info gauge\n"
		     "wsc_node_info{node_id=\"gate1-8080\"} 1\n",
		     __LINE__);
	check_family(&t, "wsc_start_time_seconds",
		     "# HELP wsc_start_time_seconds When the gateway started, in seconds since 1970.\n"
		     "# TYPE wsc_start_time_seconds gauge\n"
		     "wsc_start_time_seconds 1769860800.123\n",
		     __LINE__);
	check_family(&t, "wsc_connections",
		     "# HELP wsc_connections WebSockets and event streams that are open.\n"
		     "# TYPE wsc_connections gauge\n"
		     "wsc_connections{transport=\"websocket\"} 2\n"
		     "wsc_connections{transport=\"sse\"} 3\n",
		     __LINE__);
	check_family(&t, "wsc_broadcasts_total",
		     "# HELP wsc_broadcasts_total Broadcasts accepted.\n"
		     "# TYPE wsc_broadcasts_total counter\n"
		     "wsc_broadcasts_total 18446744073709551615\n",
		     __LINE__);
	check_family(&t, "wsc_tls_handshakes_total",
		     "# HELP wsc_tls_handshakes_total TLS handshakes that have ended.\n"
		     "# TYPE wsc_tls_handshakes_total counter\n"
		     "wsc_tls_handshakes_total{result=\"ok\"} 0\n"
		     "wsc_tls_handshakes_total{result=\"failed\"} 0\n",
		     __LINE__);
	check_family(&t, "wsc_http_requests_total",
		     "# HELP wsc_http_requests_total HTTP requests that were answered, upgrades to WebSocket and event "
		     "streams included.\n"
		     "# TYPE wsc_http_requests_total counter\n"
		     "wsc_http_requests_total{route=\"send\",status=\"200\"} 8\n"
		     "wsc_http_requests_total{route=\"none\",status=\"4xx\"} 1\n",
		     __LINE__);
}

TEST(a_histogram_is_cumulative_and_in_seconds)
{
	struct metrics_totals t = { 0 };
	struct hub_counters hub = { 0 };
	struct metrics m = { 0 };

	metric_observe(&m, turn, 0);
	metric_observe(&m, turn, 10000);
	metric_observe(&m, turn, 10001);
	metric_observe(&m, turn, 2000000);
	metric_observe(&m, turn, 3500000000);
	metrics_add(&t, &m, &hub);
	check_family(
		&t, "wsc_turn_duration_seconds",
		"# HELP wsc_turn_duration_seconds Time that a worker needs for one turn, without its wait for events. All "
		"its connections wait for the turn.\n"
		"# TYPE wsc_turn_duration_seconds histogram\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.00001\"} 2\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.000025\"} 3\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.00005\"} 3\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.0001\"} 3\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.00025\"} 3\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.0005\"} 3\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.001\"} 3\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.002\"} 4\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.005\"} 4\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.025\"} 4\n"
		"wsc_turn_duration_seconds_bucket{le=\"0.1\"} 4\n"
		"wsc_turn_duration_seconds_bucket{le=\"1\"} 4\n"
		"wsc_turn_duration_seconds_bucket{le=\"+Inf\"} 5\n"
		"wsc_turn_duration_seconds_sum 3.502020001\n"
		"wsc_turn_duration_seconds_count 5\n",
		__LINE__);
}

TEST(of_all_families_only_routes_by_status_may_lack_series)
{
	struct metrics_totals t = { 0 };
	struct buf b = BUF_INIT;
	unsigned n = 0, want = 0;

	for (unsigned i = 0; i < METRIC_ROWS; i++)
		want += metric_rows[i].labels->sparse ? 0 : series(&metric_rows[i]);
	metrics_write(&b, &t);
	for (size_t i = 0; i < b.len; i++)
		n += (i == 0 || b.at[i - 1] == '\n') && b.at[i] != '#';
	CHECK_EQ(n, want);
	buf_clear(&b);
	memset(&t.http_requests, 1, sizeof t.http_requests);
	metrics_write(&b, &t);
	n = 0;
	for (size_t i = 0; i < b.len; i++)
		n += (i == 0 || b.at[i - 1] == '\n') && b.at[i] != '#';
	CHECK_EQ(n, want + METRIC_ROUTE_END * METRIC_STATUS_END);
	CHECK(!has(buf_bytes(&b), "(null)"));
	buf_deinit(&b);
}

TEST(the_statistics_have_their_members_in_the_order_of_the_table)
{
	struct metrics_totals t = { .uptime = 1,
				    .sessions = { [HUB_WEBSOCKET] = 2, [HUB_SSE] = 3 },
				    .users = 4,
				    .routed = 5,
				    .sent = 6,
				    .broadcasts = 7,
				    .lifetime = UINT64_MAX,
				    .dropped = { [HUB_DROP_OVERFLOW] = 3, [HUB_DROP_CLOSED] = 5 },
				    .closed_slow = 9,
				    .replaced = 10,
				    .memory_limit = 11,
				    .memory_used = 12,
				    .memory_step = 3 };
	struct buf b = BUF_INIT;

	metrics_write_stats(&b, &t);
	CHECK_BYTES(
		buf_bytes(&b),
		"\"uptime_seconds\":1,\"active_connections\":5,\"connections_by_type\":{\"websocket\":2,\"sse\":3},"
		"\"online_users\":4,\"messages_received\":5,\"messages_sent\":6,\"broadcasts\":7,"
		"\"total_lifetime\":18446744073709551615,\"messages_dropped\":8,\"closed_slow\":9,\"closed_replaced\":10,"
		"\"memory\":{\"limit_bytes\":11,\"used_bytes\":12,\"step\":3},");
	buf_deinit(&b);
}

TEST(without_memory_the_answer_is_marked_as_failed)
{
	struct buf b = { .failed = true };
	struct metrics_totals t = { 0 };

	metrics_write(&b, &t);
	metrics_write_stats(&b, &t);
	CHECK(b.failed && !b.at);
}

/* ---- pages made from the table ------------------------------------------------------------------------------------- */

/* Prose in a cell of a table: no emphasis by accident. */
static void add_cell(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (strchr("*|<>", *text))
			buf_add_u8(b, '\\');
		buf_add_u8(b, (uint8_t)*text);
	}
}

static void add_label_names(struct buf *b, const struct metric_row *row)
{
	for (unsigned l = 0; l < 2 && row->labels->by[l].name; l++)
		buf_addf(b, "%s`%s`", l ? ", " : "", row->labels->by[l].name);
}

static void add_stat(struct buf *b, const struct metric_row *row)
{
	if (row->stat.object && !row->stat.suffix)
		buf_addf(b, "`%s.%s`", row->stat.object, row->stat.key);
	else if (row->stat.key)
		buf_addf(b, "`%s`", row->stat.key);
	if (row->stat.suffix)
		buf_addf(b, ", `%s`", row->stat.object);
}

static void write_table(struct buf *b)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram", "gauge" };

	buf_add_str(b, "| name | kind | labels | unit | in the statistics | meaning |\n|---|---|---|---|---|---|\n");
	for (unsigned i = 0; i < METRIC_ROWS; i++) {
		const struct metric_row *row = &metric_rows[i];

		if (row->kind == METRIC_FIGURE)
			continue;
		buf_addf(b, "| `%s` | %s | ", row->name, kinds[row->kind]);
		add_label_names(b, row);
		buf_addf(b, "%s| %s%s| ", row->labels->by[0].name ? " " : "", row->unit, *row->unit ? " " : "");
		add_stat(b, row);
		buf_addf(b, "%s| ", row->stat.key ? " " : "");
		add_cell(b, row->help);
		buf_add_str(b, " |\n");
	}
}

/* The first row of the table whose label has the values of @label: their list stands there. */
static const struct metric_row *first_with(const struct metric_label *label)
{
	for (unsigned i = 0; i < METRIC_ROWS; i++)
		for (unsigned l = 0; l < 2; l++)
			if (metric_rows[i].labels->by[l].values == label->values)
				return &metric_rows[i];
	return NULL;
}

static void write_labels(struct buf *b)
{
	buf_add_str(b, "\n| label | of | values |\n|---|---|---|\n");
	for (unsigned i = 0; i < METRIC_ROWS; i++)
		for (unsigned l = 0; l < 2; l++) {
			const struct metric_label *label = &metric_rows[i].labels->by[l];
			const struct metric_row *first = first_with(label);

			if (!label->values)
				continue;
			buf_addf(b, "| `%s` | `%s` |", label->name, metric_rows[i].name);
			if (first != &metric_rows[i])
				buf_addf(b, " those of `%s`", first->name);
			for (unsigned v = 0; first == &metric_rows[i] && v < label->n; v++)
				if (label->values[v])
					buf_addf(b, " `%s`", label->values[v]);
			buf_add_str(b, " |\n");
		}
}

static void add_time(struct buf *b, uint64_t ns)
{
	const struct {
		uint64_t ns;
		const char *name;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "\xc2\xb5s" } };
	unsigned i = 0;

	while (i < 2 && ns % units[i].ns)
		i++;
	buf_add_u64(b, ns / units[i].ns);
	buf_addf(b, " %s", units[i].name);
}

static void write_bounds(struct buf *b)
{
	buf_add_str(b, "\n| histogram | bounds of its buckets |\n|---|---|\n");
	for (unsigned i = 0; i < METRIC_ROWS; i++) {
		const struct metric_row *row = &metric_rows[i];

		if (row->kind != METRIC_HISTOGRAM)
			continue;
		buf_addf(b, "| `%s` |", row->name);
		for (unsigned k = 0; k < HISTOGRAM_BOUNDS; k++) {
			buf_add_str(b, k ? ", " : " ");
			add_time(b, row->bounds[k]);
		}
		buf_add_str(b, " |\n");
	}
}

/* A comment in C, in lines of at most 120 columns behind a tab. */
static void add_comment(struct buf *b, const char *text)
{
	struct bytes rest = bytes_str(text), word;
	size_t column = 0;

	if (strlen(text) <= 120 - 8 - 6) {
		buf_addf(b, "\t/* %s */\n", text);
		return;
	}
	buf_add_str(b, "\t/*");
	while (bytes_next(&rest, ' ', &word)) {
		if (!column || column + 1 + word.len > 120) {
			buf_add_str(b, "\n\t *");
			column = 8 + 2;
		}
		buf_add_u8(b, ' ');
		buf_add(b, word);
		column += 1 + word.len;
	}
	buf_add_str(b, "\n\t */\n");
}

static void write_struct(struct buf *b)
{
	buf_add_str(b, "struct wsc_stats {\n");
	for (unsigned i = 0; i < METRIC_ROWS; i++) {
		const struct metric_row *row = &metric_rows[i];

		if (!row->stat.key)
			continue;
		add_comment(b, row->help);
		if (row->stat.object && !row->stat.suffix)
			buf_addf(b, "\t%s %s_%s;\n", row->stat.small ? "unsigned" : "uint64_t", row->stat.object,
				 row->stat.key);
		else
			buf_addf(b, "\tuint64_t %s;\n", row->stat.key);
		for (unsigned v = 0; row->stat.suffix && v < row->cells; v++)
			buf_addf(b, "\tuint64_t %s_%s;\n", row->labels->by[0].values[v], row->stat.suffix);
	}
	buf_add_str(b, "};\n");
}

TEST(the_page_of_metrics_matches_the_table)
{
	struct buf want = BUF_INIT;

	write_table(&want);
	write_labels(&want);
	write_bounds(&want);
	page_check("docs/metrics.md", "<!-- metrics:begin -->\n", "<!-- metrics:end -->\n", &want);
	buf_deinit(&want);
}

TEST(the_public_struct_matches_the_table)
{
	struct buf want = BUF_INIT;

	write_struct(&want);
	page_check("include/wsc/gateway.h", "/* Made from src/api/metrics.def: begin. */\n", "/* end */\n", &want);
	buf_deinit(&want);
}
