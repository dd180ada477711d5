/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: see metrics.h. The table becomes data once, here; all that is written comes from these rows. No text of a
 * client gets in: names, helps and labels are constants of the program without a character that needs an escape, and the
 * texts of INFO rows are checked where the configuration is read.
 */
#include "api/metrics.h"

#define US(n) ((n)*UINT64_C(1000))
#define MS(n) ((n)*UINT64_C(1000000))

/* Nanoseconds. */
const uint64_t metric_bounds_turn[HISTOGRAM_BOUNDS] = { US(10), US(25), US(50), US(100), US(250), US(500),
							MS(1),  MS(2),  MS(5),  MS(25),  MS(100), MS(1000) };
const uint64_t metric_bounds_delivery[HISTOGRAM_BOUNDS] = { US(10), US(50), US(100), US(250), US(500),  MS(1),
							    MS(5),  MS(25), MS(100), MS(500), MS(1000), MS(10000) };
const uint64_t metric_bounds_ping[HISTOGRAM_BOUNDS] = { US(100), US(500), MS(1),   MS(5),   MS(10),   MS(25),
							MS(50),  MS(100), MS(250), MS(500), MS(1000), MS(10000) };

/* ---- labels -------------------------------------------------------------------------------------------------------- */

enum metric_close metric_close_of(uint16_t code)
{
#define CLOSE(number, should, level, when, cause) \
	case number:                              \
		return METRIC_CLOSE_##number;
	switch (code) {
#include "api/ends.def"
	default:
		return METRIC_CLOSE_OTHER;
	}
}

enum metric_status metric_status_of(uint16_t status)
{
#define STATUS_CASE(status) \
	case status:        \
		return METRIC_STATUS_##status;
	switch (status) {
		METRIC_STATUSES(STATUS_CASE)
	default:
		return status / 100 == 4   ? METRIC_STATUS_4XX
		       : status / 100 == 5 ? METRIC_STATUS_5XX
					   : METRIC_STATUS_OTHER;
	}
#undef STATUS_CASE
}

#define NUMBER_TEXT(number) #number,
#define LABEL_TEXT(name, text) text,
static const char *const statuses[METRIC_STATUS_END] = { METRIC_STATUSES(NUMBER_TEXT) "4xx", "5xx", "other" };
static const char *const routes[METRIC_ROUTE_END] = { METRIC_ROUTES(LABEL_TEXT) };
static const char *const results[METRIC_RESULT_END] = { METRIC_RESULTS(LABEL_TEXT) };
static const char *const transports[METRIC_TRANSPORT_END] = { METRIC_TRANSPORTS(LABEL_TEXT) };
static const char *const drops[METRIC_DROP_END] = { METRIC_DROPS(LABEL_TEXT) };
#undef NUMBER_TEXT
#undef LABEL_TEXT
#define CLOSE(number, should, level, when, cause) #number,
static const char *const closes[METRIC_CLOSE_END] = {
#include "api/ends.def"
	"other"
};
#define CODE(code, text, where, status, close, cause, cure) [code] = text,
static const char *const codes[API_CODE_END] = {
#include "api/ends.def"
};

static const struct metric_labels labels_NONE = { .sparse = false };
static const struct metric_labels labels_VERSION = { .by = { { "version", NULL, 1 } } };
static const struct metric_labels labels_NODE_ID = { .by = { { "node_id", NULL, 1 } } };
static const struct metric_labels labels_TRANSPORT = { .by = { { "transport", transports, METRIC_TRANSPORT_END } } };
static const struct metric_labels labels_CLOSE_CODE = { .by = { { "code", closes, METRIC_CLOSE_END } } };
static const struct metric_labels labels_REASON = { .by = { { "reason", codes, API_CODE_END } } };
static const struct metric_labels labels_CODE = { .by = { { "code", codes, API_CODE_END } } };
static const struct metric_labels labels_DROP = { .by = { { "reason", drops, METRIC_DROP_END } } };
static const struct metric_labels labels_RESULT = { .by = { { "result", results, METRIC_RESULT_END } } };
static const struct metric_labels labels_ROUTE_STATUS = {
	.by = { { "route", routes, METRIC_ROUTE_END }, { "status", statuses, METRIC_STATUS_END } },
	.sparse = true,
};

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

#define UNIT_COUNT .unit = "", .scale = 1
#define UNIT_BYTES .unit = "bytes", .scale = 1
#define UNIT_MS .unit = "seconds", .scale = 1000
#define UNIT_NS .unit = "seconds", .scale = 1000000000
#define BOUNDS_COUNTER(field) NULL
#define BOUNDS_GAUGE(field) NULL
#define BOUNDS_INFO(field) NULL
#define BOUNDS_FIGURE(field) NULL
#define BOUNDS_HISTOGRAM(field) metric_bounds_##field
#define NO_STAT .stat = { .key = NULL }
#define STAT(k) .stat = { .key = #k }
#define STAT_IN(o, k) .stat = { .object = #o, .key = #k }
#define STAT_SMALL_IN(o, k) .stat = { .object = #o, .key = #k, .small = true }
#define STAT_BY(k, o, s) .stat = { .key = #k, .object = #o, .suffix = #s }
#define METRIC(k, source, field, l, u, n, stat, h)                                 \
	{ .kind = METRIC_##k,                                                      \
	  .name = n,                                                               \
	  .help = h,                                                               \
	  UNIT_##u,                                                                \
	  .labels = &labels_##l,                                                   \
	  .bounds = BOUNDS_##k(field),                                             \
	  .offset = offsetof(struct metrics_totals, field),                        \
	  .cells = sizeof(((struct metrics_totals *)0)->field) / sizeof(uint64_t), \
	  stat },
const struct metric_row metric_rows[METRIC_ROWS] = {
#include "api/metrics.def"
};

/* ---- sums ---------------------------------------------------------------------------------------------------------- */

static void add(void *to, const void *from, size_t bytes)
{
	const _Atomic uint64_t *cell = from;
	uint64_t *sum = to;

	for (size_t i = 0; i < bytes / sizeof *sum; i++)
		sum[i] += counter_get(&cell[i]);
}

uint64_t metrics_sum(const void *member, size_t bytes)
{
	const uint64_t *cell = member;
	uint64_t sum = 0;

	for (size_t i = 0; i < bytes / sizeof *cell; i++)
		sum += cell[i];
	return sum;
}

void metrics_add(struct metrics_totals *t, const struct metrics *m, const struct hub_counters *hub)
{
	uint64_t offline;

#define FROM(block, field)                                                                              \
	_Static_assert(sizeof t->field == sizeof block->field, "one cell for each value of the label"); \
	add(&t->field, &block->field, sizeof t->field);
#define FROM_OWN(field) FROM(m, field)
#define FROM_HUB(field) FROM(hub, field)
#define FROM_GIVEN(field)
#define FROM_DERIVED(field)
#define METRIC(kind, source, field, labels, unit, name, stat, help) FROM_##source(field)
#include "api/metrics.def"
#undef FROM
#undef FROM_OWN
#undef FROM_HUB
#undef FROM_GIVEN
#undef FROM_DERIVED
	/* A counter of Prometheus never goes back, so a refusal that comes later is counted apart and taken off here. */
	offline = t->messages_refused[API_USER_OFFLINE];
	t->routed = t->received > offline ? t->received - offline : 0;
}

/* ---- Prometheus ---------------------------------------------------------------------------------------------------- */

static const void *member_of(const struct metrics_totals *t, const struct metric_row *row)
{
	return (const char *)t + row->offset;
}

/* @value in units, of which @scale (a power of ten) are one: decimal, without zeros at the end. */
static void add_value(struct buf *b, uint64_t value, unsigned scale)
{
	uint64_t rest = value % scale;

	buf_add_u64(b, value / scale);
	if (rest)
		buf_add_u8(b, '.');
	for (; rest; rest = rest * 10 % scale)
		buf_add_u8(b, (uint8_t)('0' + rest * 10 / scale));
}

static void add_label(struct buf *b, const char *before, const char *name, struct bytes value)
{
	buf_addf(b, "%s%s=\"", before, name);
	buf_add(b, value);
	buf_add_u8(b, '"');
}

static void write_cell(struct buf *b, const struct metric_row *row, unsigned i, uint64_t value)
{
	const struct metric_label *by = row->labels->by;
	unsigned inner = by[1].name ? by[1].n : 1;

	if ((value == 0 && row->labels->sparse) || (by[0].name && !by[0].values[i / inner]))
		return;
	buf_add_str(b, row->name);
	if (by[0].name)
		add_label(b, "{", by[0].name, bytes_str(by[0].values[i / inner]));
	if (by[1].name)
		add_label(b, ",", by[1].name, bytes_str(by[1].values[i % inner]));
	buf_add_str(b, by[0].name ? "} " : " ");
	add_value(b, value, row->scale);
	buf_add_u8(b, '\n');
}

static void write_histogram(struct buf *b, const struct metric_row *row, const uint64_t *cell)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += cell[i];
		buf_addf(b, "%s_bucket{le=\"", row->name);
		if (i < HISTOGRAM_BOUNDS)
			add_value(b, row->bounds[i], row->scale);
		else
			buf_add_str(b, "+Inf");
		buf_add_str(b, "\"} ");
		buf_add_u64(b, count);
		buf_add_u8(b, '\n');
	}
	buf_addf(b, "%s_sum ", row->name);
	add_value(b, cell[HISTOGRAM_BUCKETS], row->scale);
	buf_addf(b, "\n%s_count ", row->name);
	buf_add_u64(b, count);
	buf_add_u8(b, '\n');
}

static void write_info(struct buf *b, const struct metric_row *row, const struct bytes *text)
{
	buf_add_str(b, row->name);
	add_label(b, "{", row->labels->by[0].name, *text);
	buf_add_str(b, "} 1\n");
}

void metrics_write(struct buf *b, const struct metrics_totals *t)
{
	static const char *const types[] = { [METRIC_COUNTER] = "counter",
					     [METRIC_GAUGE] = "gauge",
					     [METRIC_HISTOGRAM] = "histogram",
					     [METRIC_INFO] = "gauge" };

	for (unsigned n = 0; n < METRIC_ROWS; n++) {
		const struct metric_row *row = &metric_rows[n];
		const void *member = member_of(t, row);

		if (row->kind == METRIC_FIGURE)
			continue;
		buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, types[row->kind]);
		if (row->kind == METRIC_INFO)
			write_info(b, row, member);
		else if (row->kind == METRIC_HISTOGRAM)
			write_histogram(b, row, member);
		else
			for (unsigned i = 0; i < row->cells; i++)
				write_cell(b, row, i, ((const uint64_t *)member)[i]);
	}
}

/* ---- …/stats ------------------------------------------------------------------------------------------------------- */

static void add_figure(struct buf *b, const char *key, uint64_t value)
{
	buf_addf(b, "\"%s\":", key);
	buf_add_u64(b, value);
	buf_add_u8(b, ',');
}

/* The comma behind the last member becomes the end of the object. */
static void end_object(struct buf *b)
{
	if (!b->failed)
		b->at[b->len - 1] = '}';
	buf_add_u8(b, ',');
}

static bool in_object(const struct metric_row *row)
{
	return row->stat.object && !row->stat.suffix;
}

void metrics_write_stats(struct buf *b, const struct metrics_totals *t)
{
	const char *object = NULL; /* the one that is open */

	for (unsigned n = 0; n < METRIC_ROWS; n++) {
		const struct metric_row *row = &metric_rows[n];
		const uint64_t *cell = member_of(t, row);

		if (!row->stat.key)
			continue;
		if (object && (!in_object(row) || strcmp(object, row->stat.object) != 0)) {
			end_object(b);
			object = NULL;
		}
		if (in_object(row) && !object) {
			object = row->stat.object;
			buf_addf(b, "\"%s\":{", object);
		}
		add_figure(b, row->stat.key, metrics_sum(cell, row->cells * sizeof *cell));
		if (!row->stat.suffix)
			continue;
		buf_addf(b, "\"%s\":{", row->stat.object);
		for (unsigned i = 0; i < row->cells; i++)
			add_figure(b, row->labels->by[0].values[i], cell[i]);
		end_object(b);
	}
	if (object)
		end_object(b);
}
