/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway in a program.
 *
 *     struct wsc_gateway *gateway = wsc_new(config, &(struct wsc_hooks){ .authenticate_user = authenticate });
 *     wsc_register_routes(gateway);              // /ws, /sse, /wsc/stats, /wsc/online
 *     wsc_register_api(gateway, "/api/v1");      // /api/v1/websocket/send, broadcast, online, stats
 *     wsc_start(gateway);
 *
 * The library has no globals and no signal handlers, and only wsc_start() starts threads. One process may have several
 * gateways. No call raises SIGPIPE: all output is sent with MSG_NOSIGNAL.
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
 * Makes a gateway that does not listen yet. Copies @config and @hooks (NULL: none); the caller still owns both.
 * NULL: out of memory. With a configuration that has faults or is not enabled, the gateway refuses every call.
 */
struct wsc_gateway *wsc_new(const struct wsc_config *config, const struct wsc_hooks *hooks);

/**
 * Sets where log lines go; call it before wsc_start(): @fd (-1: no log, the default), or @sink, which any worker may
 * call with one line without its newline.
 */
void wsc_log_to(struct wsc_gateway *gateway, int fd, void (*sink)(void *user, const char *line, size_t len),
		void *user);

/**
 * Adds the routes /ws, /sse, /wsc/stats and /wsc/online, at the configured paths, and /livez, /readyz and /metrics.
 * Before wsc_start(). 0 or negative.
 */
int wsc_register_routes(struct wsc_gateway *gateway);
/** Adds the routes send, broadcast, online and stats below @prefix followed by "/websocket"; NULL: below paths.api. */
int wsc_register_api(struct wsc_gateway *gateway, const char *prefix);
/** Adds the start page, its files and the API documents; the start page answers only on loopback. */
int wsc_register_pages(struct wsc_gateway *gateway);

/**
 * Listens and starts the threads. -WSC_EDISABLED, -WSC_ECONFIG, -WSC_EADDRINUSE, -WSC_ESYSTEM, ...; wsc_error_text()
 * explains it.
 */
int wsc_start(struct wsc_gateway *gateway);
/** Listens without starting threads: the program runs the gateway with wsc_fd() and wsc_step(). One worker. */
int wsc_open(struct wsc_gateway *gateway);
/** The descriptor that is readable (poll, epoll, any loop) when wsc_step() has something to do, also at deadlines. */
int wsc_fd(const struct wsc_gateway *gateway);
/** Runs one turn; waits at most @timeout_ms (0: not at all, -1: for ever). 1: go on; 0: stopped; negative: failed. */
int wsc_step(struct wsc_gateway *gateway, int timeout_ms);

/**
 * Begins to stop: accepts no new connections, sends the messages that wait, and closes every connection with 1001.
 * After @timeout_ms it cuts the connections that are left. Any thread; returns at once.
 */
void wsc_stop(struct wsc_gateway *gateway, unsigned timeout_ms);
/**
 * Waits until the gateway has stopped. 0: every connection was closed properly; 1: some were cut. With wsc_open() it
 * does not wait: -WSC_ESTATE until wsc_step() has returned 0.
 */
int wsc_wait(struct wsc_gateway *gateway);
/**
 * Ends the gateway at once if it still runs, and frees it. NULL is allowed. Not from a hook. Finish every pending call
 * before.
 */
void wsc_free(struct wsc_gateway *gateway);

/**
 * Checks the files that wsc_start() would read besides the configuration: those of tls.certificate and tls.key. Before
 * the start. 0; -WSC_ESYSTEM: one is missing or does not fit; -WSC_ECONFIG, -WSC_EDISABLED, -WSC_ENOMEM;
 * wsc_error_text() explains it.
 */
int wsc_check(struct wsc_gateway *gateway);
/**
 * Reads the files of tls.certificate and tls.key again, with the names that they had at the start; the configuration is
 * not read again. Connections keep their certificate, new connections get the new one. When a file is missing or does
 * not fit, all former certificates stay. One thread at a time; not from a hook or another worker's thread, because it
 * reads files. 0, also without TLS, when there is nothing to read; -WSC_ESYSTEM, -WSC_ENOMEM: nothing has changed,
 * wsc_error_text() and a line of the log give the reason; -WSC_ESTATE, -WSC_EDISABLED.
 */
int wsc_reload(struct wsc_gateway *gateway);

/**
 * The reason of the last failure of wsc_start(), wsc_open(), wsc_check() or wsc_reload(), valid until the next call; ""
 * if none.
 */
const char *wsc_error_text(const struct wsc_gateway *gateway);
/** The port that the gateway listens on, 0 when it has none. */
uint16_t wsc_port(const struct wsc_gateway *gateway);
/** The most connections that it accepts (performance.max_connections_per_node, or as many as the descriptors allow). */
uint64_t wsc_max_connections(const struct wsc_gateway *gateway);
unsigned wsc_workers(const struct wsc_gateway *gateway);
const char *wsc_node_id(const struct wsc_gateway *gateway);

/* ---- messages ------------------------------------------------------------------------------------------------- */

/**
 * Sends @message to its user (or ticket). Never blocks; any thread, any hook. 0: accepted, @done gets the outcome
 * (NULL: no report). Negative: refused at once and @done is not called: -WSC_EINVAL, -WSC_EBADMESSAGE, -WSC_ETOOBIG,
 * -WSC_EAGAIN (too many calls are waiting), -WSC_EDISABLED, -WSC_ESTATE.
 */
int wsc_send(struct wsc_gateway *gateway, const struct wsc_message *message, wsc_done_fn *done, void *user);
/** The same to every connection; @message->to is not used. */
int wsc_broadcast(struct wsc_gateway *gateway, const struct wsc_message *message, wsc_done_fn *done, void *user);
/**
 * Closes every connection of @user_id with 4410 and @reason (NULL: "kicked"; cut after 123 bytes). The outcome counts
 * them. A gateway stores 256 different reasons; for any other reason the text is "kicked".
 */
int wsc_kick(struct wsc_gateway *gateway, const char *user_id, const char *reason, wsc_done_fn *done, void *user);

/* ---- queries -------------------------------------------------------------------------------------------------- */

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
	/*
	 * Messages taken off a queue unsent. overflow: by slow_consumer: drop_oldest. closed: their connection was
	 * closed. broken: their connection ended by itself.
	 */
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

/** Tells @answer how many connections @user_id has, on all workers. */
int wsc_is_online(struct wsc_gateway *gateway, const char *user_id, wsc_online_fn *answer, void *user);

/* ---- routes and sockets of the program ------------------------------------------------------------------------ */

/**
 * Lets @handler answer @method on exactly @path on the gateway's port. Before wsc_start(). It runs on a worker and must
 * not block.
 */
int wsc_route(struct wsc_gateway *gateway, const char *method, const char *path, wsc_handler_fn *handler, void *user);

/**
 * Gives the gateway a stream socket that the program has accepted; the gateway owns it then, also when this fails. Any
 * thread.
 */
int wsc_adopt(struct wsc_gateway *gateway, int fd);

#ifdef __cplusplus
}
#endif

#endif
