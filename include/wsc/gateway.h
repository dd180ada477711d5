/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway in a program.
 *
 *     struct wsc_gateway *gateway = wsc_new(config, &(struct wsc_hooks){ .authenticate_user = authenticate });
 *     wsc_register_routes(gateway);              // /ws, /sse, /wsc/stats, /wsc/online
 *     wsc_register_api(gateway, "/api/v1");      // /api/v1/websocket/send, broadcast, online, stats
 *     wsc_start(gateway);
 *
 * No globals, no signal handlers; threads only with wsc_start(). Several gateways can live in one process.
 * SIGPIPE is not raised: all output is sent with MSG_NOSIGNAL.
 */
#ifndef WSC_GATEWAY_H
#define WSC_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "wsc/config.h"
#include "wsc/error.h"
#include "wsc/hooks.h"
#include "wsc/message.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wsc_gateway;

/* ---- life ----------------------------------------------------------------------------------------------------- */

/**
 * A gateway that does not listen yet. @config and @hooks (NULL: none) are copied, both stay the caller's.
 * NULL: out of memory. A configuration with faults, or one that is not enabled, gives a gateway that refuses every call.
 */
struct wsc_gateway *wsc_new(const struct wsc_config *config, const struct wsc_hooks *hooks);

/**
 * Where log lines go, before wsc_start(): @fd, -1 for nowhere (the default of the library), or @sink, which is called from
 * any worker with one line without its newline.
 */
void wsc_log_to(struct wsc_gateway *gateway, int fd, void (*sink)(void *user, const char *line, size_t len),
		void *user);

/** Mounts /ws, /sse and the two /wsc pages, at the paths of the configuration. Before wsc_start(). 0 or negative. */
int wsc_register_routes(struct wsc_gateway *gateway);
/** Mounts send, broadcast, online and stats under @prefix followed by "/websocket"; NULL: at paths.api. */
int wsc_register_api(struct wsc_gateway *gateway, const char *prefix);
/** Mounts the first page, its files and the API documents; the page answers only on loopback. */
int wsc_register_pages(struct wsc_gateway *gateway);

/** Listens and starts its threads. -WSC_EDISABLED, -WSC_ECONFIG, -WSC_EADDRINUSE, -WSC_ESYSTEM, ...; wsc_error_text() says more. */
int wsc_start(struct wsc_gateway *gateway);
/** Listens without starting threads: the program drives it with wsc_fd() and wsc_step(). One worker. */
int wsc_open(struct wsc_gateway *gateway);
/** Readable (poll, epoll, any loop) whenever wsc_step() has something to do, deadlines included. */
int wsc_fd(const struct wsc_gateway *gateway);
/** One turn, waiting at most @timeout_ms (0: not at all, -1: for ever). 1: go on; 0: it has stopped; negative: broken. */
int wsc_step(struct wsc_gateway *gateway, int timeout_ms);

/**
 * Begins to stop: no new connections, all others closed with 1001 when what waits for them is sent. After @timeout_ms what
 * is left is cut. Any thread; returns at once.
 */
void wsc_stop(struct wsc_gateway *gateway, unsigned timeout_ms);
/** Waits until it has stopped. 0: everybody was told; 1: some were cut. With wsc_open() it does not wait: -WSC_ESTATE until wsc_step() has returned 0. */
int wsc_wait(struct wsc_gateway *gateway);
/** Ends it at once if it still runs, and frees it. NULL is allowed. Not from a hook; every pending call must have been finished before. */
void wsc_free(struct wsc_gateway *gateway);

/**
 * Looks at what wsc_start() would read beside the configuration: the files of tls.certificate and tls.key. Before the start.
 * 0; -WSC_ESYSTEM: one is missing or does not fit; -WSC_ECONFIG, -WSC_EDISABLED, -WSC_ENOMEM; wsc_error_text() says more.
 */
int wsc_check(struct wsc_gateway *gateway);
/**
 * Reads the files of tls.certificate and tls.key anew, under the names they had at the start; the configuration itself is not
 * read again. Connections keep what they have, those that come from now on get the new certificates. When a file is missing
 * or does not fit, the former certificates stay, all of them. One thread at a time, which may be any but a worker's (not
 * from a hook): it reads files. 0, also without TLS, when there is nothing to read; -WSC_ESYSTEM, -WSC_ENOMEM: nothing has
 * changed, wsc_error_text() and a line of the log say why; -WSC_ESTATE, -WSC_EDISABLED.
 */
int wsc_reload(struct wsc_gateway *gateway);

/** A sentence about what failed last in wsc_start(), wsc_open(), wsc_check() or wsc_reload(), good until the next call; "" when nothing did. */
const char *wsc_error_text(const struct wsc_gateway *gateway);
/** The port it listens on, 0 when it has none. */
uint16_t wsc_port(const struct wsc_gateway *gateway);
/** How many connections it will hold at most (performance.max_connections_per_node, or what the descriptors allow). */
uint64_t wsc_max_connections(const struct wsc_gateway *gateway);
unsigned wsc_workers(const struct wsc_gateway *gateway);
const char *wsc_node_id(const struct wsc_gateway *gateway);

/* ---- messages ------------------------------------------------------------------------------------------------- */

/**
 * Sends @message to its user (or ticket). Never blocks; any thread, any hook. 0: handed over, the outcome comes to @done
 * (NULL: nobody asks). Negative: refused at once and @done is not called: -WSC_EINVAL, -WSC_EBADMESSAGE, -WSC_ETOOBIG,
 * -WSC_EAGAIN (too much is waiting), -WSC_EDISABLED, -WSC_ESTATE.
 */
int wsc_send(struct wsc_gateway *gateway, const struct wsc_message *message, wsc_done_fn *done, void *user);
/** The same to every connection; @message->to is not used. */
int wsc_broadcast(struct wsc_gateway *gateway, const struct wsc_message *message, wsc_done_fn *done, void *user);
/**
 * Closes every connection of @user_id with 4410 and @reason (NULL: "kicked"; at most 123 bytes count). The outcome counts them.
 * A gateway keeps 256 different reasons; further ones read "kicked".
 */
int wsc_kick(struct wsc_gateway *gateway, const char *user_id, const char *reason, wsc_done_fn *done, void *user);

/* ---- questions ------------------------------------------------------------------------------------------------ */

/* Made from src/api/metrics.def: begin. */
struct wsc_stats {
	/* Seconds since the start. */
	uint64_t uptime_seconds;
	/* WebSockets and event streams that are open. */
	uint64_t active_connections;
	uint64_t websocket_connections;
	uint64_t sse_connections;
	/* Users with at least one connection. */
	uint64_t online_users;
	/* Messages accepted from /ws and send. Refused ones do not count, user_offline included. */
	uint64_t messages_received;
	/*
	 * User messages put on the queue of a connection, once per connection. Errors, pongs and welcomes do not count.
	 */
	uint64_t messages_sent;
	/* Broadcasts accepted. */
	uint64_t broadcasts;
	/* Connections accepted since the start. */
	uint64_t total_lifetime;
	/* Messages taken off a queue unsent: by slow_consumer: drop_oldest, or because their connection was closed. */
	uint64_t messages_dropped;
	/* Connections closed with 1013 because they read too slowly. */
	uint64_t closed_slow;
	/* Connections closed with 4409 because another device took over. */
	uint64_t closed_replaced;
	/* limits.memory of the configuration. 0: nothing is limited. */
	uint64_t memory_limit_bytes;
	/* Memory of the whole process at the last look. 0: nobody looks. */
	uint64_t memory_used_bytes;
	/*
	 * 0: there is room. 1: no new compression contexts. 2: smaller queues. 3: new connections get 503. 4: the
	 * slowest readers are closed.
	 */
	unsigned memory_step;
};
/* end */
/** Any thread, any hook; never blocks. 0 or negative. */
int wsc_stats(const struct wsc_gateway *gateway, struct wsc_stats *out);

/** How many connections has @user_id, on all workers? */
int wsc_is_online(struct wsc_gateway *gateway, const char *user_id, wsc_online_fn *answer, void *user);

/* ---- the program's own -------------------------------------------------------------------------------------- */

/** Answers @method on exactly @path on the gateway's own port. Before wsc_start(). On a worker's thread; must not block. */
int wsc_route(struct wsc_gateway *gateway, const char *method, const char *path, wsc_handler_fn *handler, void *user);

/** Hands over a stream socket that the program accepted itself; it is the gateway's from now on, also when this fails. Any thread. */
int wsc_adopt(struct wsc_gateway *gateway, int fd);

#ifdef __cplusplus
}
#endif

#endif
