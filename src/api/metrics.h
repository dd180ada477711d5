/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: what a gateway counts, as metrics.def has it. Each worker has a struct metrics, which it alone writes. Any
 * thread may add them up with metrics_add(), which takes no lock and asks no worker, and write the sum as Prometheus text
 * or as the figures of …/stats. This module knows no shard, no clock and no HTTP.
 *
 *     counter_add(&m->received, 1);
 *     counter_add(&m->messages_refused[API_RATE_LIMITED], 1);
 *     counter_add(&m->closed[metric_close_of(code)], 1);
 *     counter_add(&m->http_requests[route][metric_status_of(status)], 1);
 *     metric_observe(m, turn, ns);
 */
#ifndef WSC_API_METRICS_H
#define WSC_API_METRICS_H

#include "api/end.h"
#include "base/buf.h"
#include "base/histogram.h"
#include "hub/hub.h"

/* ---- labels: closed lists, so that no client can add a series ------------------------------------------------------ */

#define CLOSE(number, should, level, when, cause) METRIC_CLOSE_##number,
enum metric_close {
#include "api/ends.def"
	METRIC_CLOSE_OTHER,
	METRIC_CLOSE_END
};

/* Statuses with a series of their own in each route; 4XX and 5XX are all others of their class. */
#define METRIC_STATUSES(X) \
	X(101)             \
	X(200)             \
	X(204)             \
	X(400)             \
	X(401)             \
	X(403)             \
	X(404)             \
	X(429)             \
	X(500)             \
	X(503)
#define METRIC_STATUS_ENUM(status) METRIC_STATUS_##status,
enum metric_status {
	METRIC_STATUSES(METRIC_STATUS_ENUM) METRIC_STATUS_4XX,
	METRIC_STATUS_5XX,
	METRIC_STATUS_OTHER,
	METRIC_STATUS_END
};
#undef METRIC_STATUS_ENUM

#define METRIC_ROUTES(X)                       \
	X(METRIC_ROUTE_WEBSOCKET, "websocket") \
	X(METRIC_ROUTE_SSE, "sse")             \
	X(METRIC_ROUTE_SEND, "send")           \
	X(METRIC_ROUTE_BROADCAST, "broadcast") \
	X(METRIC_ROUTE_ONLINE, "online")       \
	X(METRIC_ROUTE_STATS, "stats")         \
	X(METRIC_ROUTE_METRICS, "metrics")     \
	X(METRIC_ROUTE_PROBE, "probe")         \
	X(METRIC_ROUTE_PAGE, "page")           \
	X(METRIC_ROUTE_PROGRAM, "program")     \
	X(METRIC_ROUTE_NONE, "none") /* no such path or method, or a head that could not be read */
#define METRIC_RESULTS(X)         \
	X(METRIC_RESULT_OK, "ok") \
	X(METRIC_RESULT_FAILED, "failed")
/* In the order of enum hub_transport. */
#define METRIC_TRANSPORTS(X)                       \
	X(METRIC_TRANSPORT_WEBSOCKET, "websocket") \
	X(METRIC_TRANSPORT_SSE, "sse")
/* In the order of enum hub_drop. */
#define METRIC_DROPS(X)                     \
	X(METRIC_DROP_OVERFLOW, "overflow") \
	X(METRIC_DROP_CLOSED, "closed")     \
	X(METRIC_DROP_BROKEN, "broken")

#define METRIC_LABEL_ENUM(name, text) name,
enum metric_route { METRIC_ROUTES(METRIC_LABEL_ENUM) METRIC_ROUTE_END };
enum metric_result { METRIC_RESULTS(METRIC_LABEL_ENUM) METRIC_RESULT_END };
enum metric_transport { METRIC_TRANSPORTS(METRIC_LABEL_ENUM) METRIC_TRANSPORT_END };
enum metric_drop { METRIC_DROPS(METRIC_LABEL_ENUM) METRIC_DROP_END };
#undef METRIC_LABEL_ENUM
_Static_assert((int)METRIC_TRANSPORT_WEBSOCKET == HUB_WEBSOCKET && (int)METRIC_TRANSPORT_SSE == HUB_SSE,
	       "the index of struct hub_counters.sessions");
_Static_assert((int)METRIC_DROP_OVERFLOW == HUB_DROP_OVERFLOW && (int)METRIC_DROP_CLOSED == HUB_DROP_CLOSED &&
		       (int)METRIC_DROP_BROKEN == HUB_DROP_BROKEN,
	       "the index of struct hub_counters.dropped");

enum metric_close metric_close_of(uint16_t code);
enum metric_status metric_status_of(uint16_t status);

/* ---- the counters of one worker, and their sum -------------------------------------------------------------------- */

/* The type of a member, by its column "labels". */
#define METRIC_DIM_NONE
#define METRIC_DIM_VERSION
#define METRIC_DIM_NODE_ID
#define METRIC_DIM_TRANSPORT [METRIC_TRANSPORT_END]
#define METRIC_DIM_CLOSE_CODE [METRIC_CLOSE_END]
#define METRIC_DIM_REASON [API_CODE_END] /* enum api_code; API_OK is no series */
#define METRIC_DIM_CODE [API_CODE_END]
#define METRIC_DIM_DROP [METRIC_DROP_END]
#define METRIC_DIM_RESULT [METRIC_RESULT_END]
#define METRIC_DIM_ROUTE_STATUS [METRIC_ROUTE_END][METRIC_STATUS_END]

#define METRIC_OWN_COUNTER(field, dim) _Atomic uint64_t field dim;
#define METRIC_OWN_HISTOGRAM(field, dim) struct histogram field;
#define METRIC_FROM_OWN(member) member
#define METRIC_FROM_HUB(member)
#define METRIC_FROM_GIVEN(member)
#define METRIC_FROM_DERIVED(member)
#define METRIC(kind, source, field, labels, unit, name, stat, help) \
	METRIC_FROM_##source(METRIC_OWN_##kind(field, METRIC_DIM_##labels))
/* Of one worker, which is the only writer; zeroed memory is a fresh one. */
struct metrics {
#include "api/metrics.def"
};
#undef METRIC_OWN_COUNTER
#undef METRIC_OWN_HISTOGRAM
#undef METRIC_FROM_OWN
#undef METRIC_FROM_HUB
#undef METRIC_FROM_GIVEN
#undef METRIC_FROM_DERIVED

#define METRIC_SUM_COUNTER(field, dim) uint64_t field dim;
#define METRIC_SUM_GAUGE(field, dim) uint64_t field dim;
#define METRIC_SUM_FIGURE(field, dim) uint64_t field dim;
#define METRIC_SUM_INFO(field, dim) struct bytes field; /* borrowed; letters, digits and . _ : - */
#define METRIC_SUM_HISTOGRAM(field, dim) uint64_t field[HISTOGRAM_BUCKETS + 1]; /* the last: the sum of the values */
#define METRIC(kind, source, field, labels, unit, name, stat, help) METRIC_SUM_##kind(field, METRIC_DIM_##labels)
struct metrics_totals {
#include "api/metrics.def"
};
#undef METRIC_SUM_COUNTER
#undef METRIC_SUM_GAUGE
#undef METRIC_SUM_FIGURE
#undef METRIC_SUM_INFO
#undef METRIC_SUM_HISTOGRAM

#define METRIC_BOUNDS_COUNTER(field)
#define METRIC_BOUNDS_GAUGE(field)
#define METRIC_BOUNDS_FIGURE(field)
#define METRIC_BOUNDS_INFO(field)
#define METRIC_BOUNDS_HISTOGRAM(field) extern const uint64_t metric_bounds_##field[HISTOGRAM_BOUNDS];
#define METRIC(kind, source, field, labels, unit, name, stat, help) METRIC_BOUNDS_##kind(field)
#include "api/metrics.def"
#undef METRIC_BOUNDS_COUNTER
#undef METRIC_BOUNDS_GAUGE
#undef METRIC_BOUNDS_FIGURE
#undef METRIC_BOUNDS_INFO
#undef METRIC_BOUNDS_HISTOGRAM

/* Counts @value in the histogram @field of @m, a struct metrics. */
#define metric_observe(m, field, value) histogram_add(&(m)->field, metric_bounds_##field, value)
/* The same, @n times. */
#define metric_observe_n(m, field, value, n) histogram_add_n(&(m)->field, metric_bounds_##field, value, n)

/* Adds what one worker and its hub have counted to @t. Any thread. */
void metrics_add(struct metrics_totals *t, const struct metrics *m, const struct hub_counters *hub);

/* ---- the table as data --------------------------------------------------------------------------------------------- */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_INFO, METRIC_FIGURE };

/* One label; a value that is NULL is no series. */
struct metric_label {
	const char *name;
	const char *const *values; /* NULL: the text of an INFO */
	unsigned n;
};

struct metric_labels {
	struct metric_label by[2]; /* the second one's index grows first; name NULL: there is none */
	bool sparse;               /* series that are 0 are left out */
};

struct metric_row {
	enum metric_kind kind;
	const char *name, *help;
	const char *unit; /* as it is written: "seconds", "bytes" or "" */
	unsigned scale;   /* how many of what is counted make one unit */
	const struct metric_labels *labels;
	const uint64_t *bounds; /* HISTOGRAM: HISTOGRAM_BOUNDS of them */
	size_t offset;          /* in struct metrics_totals */
	unsigned cells;         /* uint64_t there */
	struct {
		const char *key;    /* NULL: not in …/stats */
		const char *object; /* NULL: the key stands in none; or that of each transport */
		const char *suffix; /* not NULL: STAT_BY */
		bool small;         /* unsigned int in struct wsc_stats */
	} stat;
};

#define METRIC(kind, source, field, labels, unit, name, stat, help) +1
enum {
	METRIC_ROWS = 0
#include "api/metrics.def"
};

extern const struct metric_row metric_rows[METRIC_ROWS];

/* ---- the answers --------------------------------------------------------------------------------------------------- */

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends @t in Prometheus's text format 0.0.4. */
void metrics_write(struct buf *b, const struct metrics_totals *t);
/* Appends the members of …/stats that the table has, each with a comma behind it. */
void metrics_write_stats(struct buf *b, const struct metrics_totals *t);
/* The sum over the labels of a member of @t, whose size is @bytes. */
uint64_t metrics_sum(const void *member, size_t bytes);

#endif
