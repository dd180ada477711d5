/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway: implements <wsc/gateway.h>: turns the configuration into each module's options, opens the sockets, runs the
 * workers, and hands the program's calls to them. Knows how the modules are put together, and nothing of what they do.
 */
#include "wsc/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "api/assets.h"
#include "api/end.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "config/config.h"
#include "hook/message.h"
#include "http/accept.h"
#include "http/http.h"
#include "http/online.h"
#include "http/serve.h"
#include "submit/program.h"
#include "worker/worker.h"
#include "wsc/wsc.h"

#define DESCRIPTOR_TABLE 65536u /* entries made at the start, at most; 8 bytes each in the kernel */
#define DESCRIPTOR_RESERVE 160u /* for listeners, logs, and clients that are told 503 */
#define ERROR_MAX 512
#define BACKLOG 4096
#define FREE_PORT_TRIES 8 /* node_port 0: ports tried until all addresses can have the same one */

enum state { STATE_NEW, STATE_RUNNING, STATE_STOPPED };

struct wsc_gateway {
	struct settings set;
	struct config config; /* owned copy: set.opt points into it */
	bool enabled, faulty, pages;
	int listen_fd[SHARD_LISTENERS];
	unsigned nlisten;
	uint16_t port;
	struct worker **workers;
	unsigned nworkers;
	bool by_host;
	void (*sink)(void *user, const char *line, size_t len);
	void *sink_user;
	char error[ERROR_MAX];
	struct {
		_Atomic int state; /* enum state */
		_Atomic uint32_t adopted;
	} shared;
};

static int fail(struct wsc_gateway *gw, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct wsc_gateway *gw, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(gw->error, sizeof gw->error, fmt, ap);
	va_end(ap);
	return error;
}

static int state_of(const struct wsc_gateway *gw)
{
	return atomic_load(&gw->shared.state);
}

/* ---- options of the modules ---------------------------------------------------------------------------------------- */

static void set_options(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	bool rates = c->security.enable_rate_limit;

	gw->set.opt = (struct options){
		.heartbeat_ms = c->heartbeat_interval_ms,
		.client_timeout_ms = config_client_timeout_ms(c),
		.sse_heartbeat_ms = c->sse_heartbeat_ms,
		.hook_timeout_ms = c->hook_timeout_ms,
		.header_timeout_ms = c->limits.header_timeout_ms,
		.write_timeout_ms = c->limits.write_timeout_ms,
		.max_message_bytes = c->security.max_message_size,
		.json_depth = (unsigned)c->limits.json_depth,
		.max_content_bytes = c->security.max_content_length,
		.sender = (enum sender_policy)c->security.sender_mismatch,
		.message_rate = { rates ? (uint32_t)c->security.message_rate : 0, (uint32_t)c->security.message_burst,
				  10000 },
		.control_rate = { rates ? (uint32_t)c->limits.control_rate : 0, (uint32_t)c->limits.control_burst, 0 },
		.user_types = { c->security.allowed_user_types.at, c->security.allowed_user_types.n },
		.origins = { c->websocket_origins.at, c->websocket_origins.n },
		.require_origin = c->require_origin,
		.blocked = { c->security.blocked_ips.at, c->security.blocked_ips.n },
		.whitelist = { c->security.whitelist_ips.at, c->security.whitelist_ips.n },
		.trusted = { c->security.trusted_proxies.at, c->security.trusted_proxies.n },
		.only_whitelist = c->security.enable_ip_whitelist,
		.deflate = { .on = c->performance.enable_compression,
			     .policy = { .window_bits = (uint8_t)c->performance.compression_window_bits,
					 .takeover = c->performance.compression_context_takeover },
			     .level = (uint8_t)c->performance.compression_level,
			     .min_bytes = c->performance.compression_min_bytes,
			     .memory = c->performance.compression_memory },
	};
	gw->set.http = (struct http1_limits){ (uint32_t)c->limits.header_bytes, (uint32_t)c->limits.uri_bytes,
					      (uint32_t)c->limits.header_count };
	gw->set.ws = (struct ws_limits){ c->security.max_message_size, (uint32_t)c->limits.fragments };
	gw->set.listen = (struct listen_options){ .backlog = BACKLOG,
						  .kernel_queue = (uint32_t)c->performance.kernel_queue,
						  .user_timeout_ms = (uint32_t)config_client_timeout_ms(c) };
	gw->set.log.level = (enum log_level)c->log.level;
	gw->set.log.format = c->log.format == CONFIG_LOG_JSON ? LOG_JSON : LOG_TEXT;
}

static struct hub_options hub_options_of(const struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	uint64_t queue_bytes = config_queue_bytes(c);

	return (struct hub_options){
		.max_messages = { (uint32_t)c->message_buffer_size, (uint32_t)c->sse_message_buffer },
		.max_queue_bytes = (uint32_t)(queue_bytes < UINT32_MAX ? queue_bytes : UINT32_MAX),
		.max_sessions_per_user = (uint32_t)c->max_connections_per_user,
		.login = (enum hub_login_policy)c->multi_login,
		.slow = (enum hub_slow_policy)c->slow_consumer,
		.ask_timeout_ms = 5000,
		.max_pending = 65536,
		.seed = { gw->set.seed[0], gw->set.seed[1] },
	};
}

/* ---- TLS --------------------------------------------------------------------------------------------------------------- */

static int load_tls(struct wsc_gateway *gw, struct tls_server *server)
{
	const struct config *c = &gw->config;
	struct tls_files *files = mem_calloc(c->tls.certificate.n, sizeof *files);
	struct tls_options o = { files, c->tls.certificate.n, c->tls.min_version == CONFIG_TLS_1_3 };
	char why[TLS_WHY_MAX];
	int r;

	if (!files)
		return fail(gw, -WSC_ENOMEM, "out of memory");
	for (size_t i = 0; i < o.n; i++)
		files[i] = (struct tls_files){ c->tls.certificate.at[i], c->tls.key.at[i] };
	r = tls_server_load(server, &o, why);
	mem_free(files);
	return r == 0 ? 0 : fail(gw, r == -ENOMEM ? -WSC_ENOMEM : -WSC_ESYSTEM, "%s", why);
}

/* A server with all its certificates, or none where TLS is off. */
static int make_tls(struct wsc_gateway *gw, struct tls_server **out)
{
	int r;

	*out = NULL;
	if (!gw->config.tls.certificate.n)
		return 0;
	*out = tls_server_new(gw->config.tls.ticket_rotation_ms);
	if (!*out)
		return fail(gw, -WSC_ENOMEM, "out of memory");
	r = load_tls(gw, *out);
	if (r < 0) {
		tls_server_free(*out);
		*out = NULL;
	}
	return r;
}

static bool own_tls_port(const struct wsc_gateway *gw)
{
	return gw->config.tls.port && gw->config.tls.port != gw->config.node_port;
}

static void log_certificate(void *user, const struct tls_certificate *cert)
{
	struct wsc_gateway *gw = user;
	uint64_t now = worker_clock().wall_ms;
	char until[RFC3339_LEN];

	rfc3339_format(cert->not_after > 0 ? (uint64_t)cert->not_after * 1000 : 0, until);
	log_info(&gw->set.log, "certificate", KV_STR("names", cert->names),
		 KV_BYTES("until", bytes_of(until, sizeof until)), KV_STR("file", cert->file));
	if (cert->not_after * 1000 < (int64_t)now)
		log_warn(&gw->set.log, "this certificate has expired: clients will refuse it",
			 KV_STR("file", cert->file));
	else if (cert->not_before * 1000 > (int64_t)now)
		log_warn(&gw->set.log, "this certificate is not valid yet: clients will refuse it",
			 KV_STR("file", cert->file));
}

static void log_tls(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;

	if (!gw->set.tls.server)
		return;
	log_info(&gw->set.log, "TLS", KV_U64("port", own_tls_port(gw) ? c->tls.port : gw->port),
		 KV_STR("min_version", c->tls.min_version == CONFIG_TLS_1_3 ? "1.3" : "1.2"),
		 KV_BOOL("plain", !gw->set.tls.no_plain));
	tls_server_tell(gw->set.tls.server, log_certificate, gw);
}

/* ---- log --------------------------------------------------------------------------------------------------------------- */

static void to_sink(void *user, enum log_level level, const char *line, size_t len)
{
	struct wsc_gateway *gw = user;

	(void)level;
	gw->sink(gw->sink_user, line, len);
}

void wsc_log_to(struct wsc_gateway *gw, int fd, void (*sink)(void *user, const char *line, size_t len), void *user)
{
	gw->set.log.fd = fd;
	gw->sink = sink;
	gw->sink_user = user;
	gw->set.log.sink = sink ? to_sink : NULL;
	gw->set.log.user = gw;
}

static bool is_unix(const char *address)
{
	return strncmp(address, "unix:", 5) == 0;
}

static bool all_loopback(const struct wsc_gateway *gw)
{
	struct ip ip;

	for (size_t i = 0; i < gw->config.node_ip.n; i++)
		if (ip_parse(bytes_str(gw->config.node_ip.at[i]), &ip) && !ip_loopback(&ip))
			return false;
	return true;
}

/* The address of the first page for a browser on this machine; "" where @address does not lead there. */
static void page_address(const struct wsc_gateway *gw, const char *address, char out[static 64])
{
	struct ip ip;
	bool any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;

	out[0] = 0;
	if (gw->pages && (any || (ip_parse(bytes_str(address), &ip) && ip_loopback(&ip))))
		snprintf(out, 64, "http%s://localhost:%u/", gw->set.tls.no_plain ? "s" : "", gw->port);
}

static void log_listening(struct wsc_gateway *gw, const char *address)
{
	struct log_field field[5];
	char page[64];
	size_t n = 0;

	page_address(gw, address, page);
	field[n++] = KV_STR("address", address);
	if (!is_unix(address))
		field[n++] = KV_U64("port", gw->port);
	if (page[0])
		field[n++] = KV_STR("page", page);
	field[n++] = KV_STR("version", WSC_VERSION);
	field[n++] = KV_STR("node_id", gw->set.node_id);
	log_write(&gw->set.log, LOG_INFO, "listening", field, n);
}

static void log_start(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	struct log *lg = &gw->set.log;
	struct rlimit fds = { 0 };

	getrlimit(RLIMIT_NOFILE, &fds);
	for (size_t i = 0; i < c->node_ip.n; i++)
		log_listening(gw, c->node_ip.at[i]);
	log_tls(gw);
	log_info(lg, "endpoints", KV_STR("websocket", c->paths.websocket), KV_STR("sse", c->paths.sse),
		 KV_STR("api", c->paths.api), KV_STR("stats", c->paths.stats), KV_STR("online", c->paths.online),
		 KV_STR("health", "/livez /readyz"), KV_STR("metrics", "/metrics"));
	log_info(lg, "limits", KV_U64("workers", gw->nworkers), KV_U64("descriptors", fds.rlim_cur),
		 KV_U64("max_connections", gw->set.max_connections),
		 KV_U64("memory_bytes", gw->set.pressure.limit_bytes),
		 KV_U64("max_message_bytes", c->security.max_message_size),
		 KV_U64("message_buffer_size", c->message_buffer_size),
		 KV_U64("max_connections_per_user", c->max_connections_per_user));
	if (c->dev.echo_path)
		log_warn(
			lg,
			"dev.echo_path is set: anybody who may connect gets a WebSocket there that sends everything back; "
			"it is meant for tests, not for service",
			KV_STR("path", c->dev.echo_path));
	if (gw->set.hooks.authenticate_user) {
		log_info(lg, "authentication", KV_STR("mode", "the program's own (authenticate_user)"));
		return;
	}
	log_info(lg, "authentication", KV_STR("mode", "open"),
		 KV_STR("identity", "user_id in the query, else header X-User-ID"));
	if (!all_loopback(gw))
		log_warn(
			lg,
			"auth.mode is open on an address that others can reach: anybody may connect and send as any user; "
			"put it behind a proxy that authenticates, or listen on 127.0.0.1",
			KV_STR("mode", "open"));
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static int post_foreign(struct settings *set, unsigned to, struct task *t, bool must)
{
	struct wsc_gateway *gw = set->owner;

	return worker_post_foreign(gw->workers[to], t, must);
}

/* 0, faults included; or -WSC_ENOMEM. */
static int check_config(struct wsc_gateway *gw, const struct wsc_config *config)
{
	/* Checking only rewrites the list of problems. */
	struct wsc_config *c = (struct wsc_config *)(uintptr_t)config;
	unsigned flags = gw->set.hooks.on_message_received ? 0 : WSC_CONFIG_NO_MESSAGE_HOOK;
	bool warning = true;
	int r = wsc_config_check(c, flags);
	const char *line;

	if (r == -WSC_ENOMEM)
		return r;
	gw->enabled = wsc_config_enabled(config);
	gw->faulty = r < 0;
	for (size_t i = 0; gw->faulty && (line = wsc_config_problem(c, i, &warning)); i++)
		if (!warning) {
			fail(gw, -WSC_ECONFIG, "%s", line);
			break;
		}
	return 0;
}

/* In builds for tests (-Dfaults=true), cuts every read and write to so many bytes. */
static uint32_t test_chop(void)
{
#ifdef WSC_FAULTS
	const char *bytes = getenv("TEST_CHOP");

	return bytes ? (uint32_t)strtoul(bytes, NULL, 10) : 0;
#else
	return 0;
#endif
}

struct wsc_gateway *wsc_new(const struct wsc_config *config, const struct wsc_hooks *hooks)
{
	struct wsc_gateway *gw = config ? mem_zalloc(sizeof *gw) : NULL;
	struct rng rng;

	if (!gw)
		return NULL;
	gw->set.owner = gw;
	gw->set.post_foreign = post_foreign;
	gw->set.version = WSC_VERSION;
	gw->set.log.fd = -1;
	atomic_store(&gw->set.shared.spare_fd, -1);
	gw->set.chop = test_chop();
	if (hooks)
		gw->set.hooks = *hooks;
	gw->set.reasons = reasons_new();
	if (!gw->set.reasons || config_values_copy(&gw->config, &config->values) < 0 || rng_init_system(&rng) < 0 ||
	    check_config(gw, config) < 0) {
		wsc_free(gw);
		return NULL;
	}
	gw->set.seed[0] = rng_u64(&rng);
	gw->set.seed[1] = rng_u64(&rng);
	set_options(gw);
	return gw;
}

static int usable(struct wsc_gateway *gw)
{
	if (!gw->enabled)
		return fail(gw, -WSC_EDISABLED, "%s", wsc_strerror(WSC_EDISABLED));
	return gw->faulty ? -WSC_ECONFIG : 0;
}

static int may_register(struct wsc_gateway *gw)
{
	int r = usable(gw);

	if (r == 0 && state_of(gw) != STATE_NEW)
		r = fail(gw, -WSC_ESTATE, "routes are registered before the start");
	return r;
}

static int add(struct wsc_gateway *gw, const char *method, const char *path, enum route_kind kind, const void *target,
	       void *user)
{
	int r = routes_add(&gw->set.routes, method, path, &http_routes[kind], target, user);

	return r == -WSC_ESTATE ? fail(gw, r, "%s %s is taken already", method, path) : r;
}

int wsc_register_routes(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	int r = may_register(gw);

	if (r < 0 || (r = add(gw, "GET", c->paths.websocket, ROUTE_WEBSOCKET, NULL, NULL)) < 0 ||
	    (r = add(gw, "GET", c->paths.sse, ROUTE_SSE, NULL, NULL)) < 0 ||
	    (r = add(gw, "GET", c->paths.stats, ROUTE_OLD_STATS, NULL, NULL)) < 0 ||
	    (r = add(gw, "GET", c->paths.online, ROUTE_OLD_ONLINE, NULL, NULL)) < 0 ||
	    (c->dev.echo_path && (r = add(gw, "GET", c->dev.echo_path, ROUTE_ECHO, NULL, NULL)) < 0) ||
	    (r = add(gw, "GET", "/livez", ROUTE_LIVEZ, NULL, NULL)) < 0 ||
	    (r = add(gw, "GET", "/metrics", ROUTE_METRICS, NULL, NULL)) < 0)
		return r;
	return add(gw, "GET", "/readyz", ROUTE_READYZ, NULL, NULL);
}

int wsc_register_api(struct wsc_gateway *gw, const char *prefix)
{
	static const struct {
		const char *method, *name;
		enum route_kind kind;
	} calls[] = {
		{ "POST", "send", ROUTE_SEND },
		{ "POST", "broadcast", ROUTE_BROADCAST },
		{ "GET", "online", ROUTE_ONLINE },
		{ "GET", "stats", ROUTE_STATS },
	};
	int r = may_register(gw);
	char path[512];

	for (size_t i = 0; r == 0 && i < sizeof calls / sizeof calls[0]; i++) {
		int n = prefix ? snprintf(path, sizeof path, "%s/websocket/%s", prefix, calls[i].name)
			       : snprintf(path, sizeof path, "%s/%s", gw->config.paths.api, calls[i].name);

		if (n < 0 || (size_t)n >= sizeof path || path[0] != '/')
			return fail(gw, -WSC_EINVAL, "the prefix must begin with / and be shorter than 500 bytes");
		r = add(gw, calls[i].method, path, calls[i].kind, NULL, NULL);
	}
	return r;
}

int wsc_register_pages(struct wsc_gateway *gw)
{
	int r = may_register(gw);

	for (size_t i = 0; r == 0 && i < web_assets_count; i++) {
		const struct web_asset *a = &web_assets[i];
		size_t n = strlen(a->path);
		bool document = n > 5 && strcmp(a->path + n - 5, ".json") == 0;

		r = add(gw, "GET", a->path, document ? ROUTE_ASSET : ROUTE_LOCAL_ASSET, a, NULL);
	}
	gw->pages = r == 0;
	return r;
}

int wsc_route(struct wsc_gateway *gw, const char *method, const char *path, wsc_handler_fn *handler, void *user)
{
	int r = may_register(gw);
	const void *target;

	if (r < 0)
		return r;
	if (!method || !path || path[0] != '/' || !handler)
		return fail(gw, -WSC_EINVAL, "a route needs a method, a path that begins with / and a handler");
	_Static_assert(sizeof target == sizeof handler, "POSIX: a function pointer fits");
	memcpy(&target, &handler, sizeof target);
	return add(gw, method, path, ROUTE_PROGRAM, target, user);
}

/* ---- start ------------------------------------------------------------------------------------------------------------------ */

static void make_node_id(struct wsc_gateway *gw)
{
	char host[64] = "wsc";

	if (gw->config.node_id) {
		snprintf(gw->set.node_id, sizeof gw->set.node_id, "%s", gw->config.node_id);
		return;
	}
	(void)gethostname(host, sizeof host - 1);
	for (char *p = host; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-' ||
		      *p == '.'))
			*p = '-';
	snprintf(gw->set.node_id, sizeof gw->set.node_id, "%s-%u", host, gw->port);
}

static int cannot_listen(struct wsc_gateway *gw, const char *address, unsigned port, const char *key, int error)
{
	int code = error == EADDRINUSE ? -WSC_EADDRINUSE : -WSC_ESYSTEM;

	if (is_unix(address))
		return fail(gw, code, "cannot listen on %s: %s%s", address, strerrordesc_np(error),
			    error == EADDRINUSE ? "; another program listens there, or it is a file and no socket"
						: "");
	return fail(gw, code, "cannot listen on %s port %u: %s%s%s", address, port, strerrordesc_np(error),
		    error == EADDRINUSE ? "; another program listens there: stop it, or set " : "",
		    error == EADDRINUSE ? key : "");
}

/* Listens on the addresses once more, for TLS only. */
static int listen_tls(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	uint16_t port = (uint16_t)c->tls.port, got;

	gw->set.tls.own_from = gw->nlisten;
	for (size_t i = 0; i < c->node_ip.n; i++) {
		int fd;

		if (is_unix(c->node_ip.at[i]))
			continue;
		if (gw->nlisten == SHARD_LISTENERS)
			return fail(gw, -WSC_ECONFIG, "node_ip: with tls.port at most %u listening sockets in all",
				    SHARD_LISTENERS);
		fd = addr_listen(c->node_ip.at[i], port, &gw->set.listen, &got);
		if (fd < 0)
			return cannot_listen(gw, c->node_ip.at[i], port, "tls.port", -fd);
		gw->listen_fd[gw->nlisten++] = fd;
	}
	return 0;
}

static int listen_once(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	uint16_t port = (uint16_t)c->node_port, got;

	for (size_t i = 0; i < c->node_ip.n; i++) {
		int fd;

		if (gw->nlisten == SHARD_LISTENERS)
			return fail(gw, -WSC_ECONFIG, "node_ip: at most %u addresses", SHARD_LISTENERS);
		fd = addr_listen(c->node_ip.at[i], port, &gw->set.listen, &got);
		if (fd < 0)
			return cannot_listen(gw, c->node_ip.at[i], port, "node_port", -fd);
		gw->listen_fd[gw->nlisten++] = fd;
		if (got) /* port 0: all addresses get the one that the first was given */
			gw->port = port = got;
	}
	gw->set.tls.own_from = gw->nlisten;
	return own_tls_port(gw) ? listen_tls(gw) : 0;
}

static void close_listeners(struct wsc_gateway *gw)
{
	for (unsigned i = 0; i < gw->nlisten; i++) {
		close(gw->listen_fd[i]);
		if (i < gw->config.node_ip.n && is_unix(gw->config.node_ip.at[i]))
			unlink(gw->config.node_ip.at[i] + 5);
	}
	gw->nlisten = 0;
}

/* The port that the kernel gave for the first address may be taken on another address, or by tls.port. */
static int listen_all(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	unsigned tries = c->node_port == 0 ? FREE_PORT_TRIES : 1;
	int r;

	for (size_t i = 0; i < c->node_ip.n; i++)
		gw->set.listen.v6_only |= !is_unix(c->node_ip.at[i]) && !strchr(c->node_ip.at[i], ':');
	while ((r = listen_once(gw)) == -WSC_EADDRINUSE && --tries)
		close_listeners(gw);
	return r;
}

static int count_connections(struct wsc_gateway *gw)
{
	uint64_t wanted = gw->config.performance.max_connections_per_node;
	struct rlimit fds;

	if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_cur == RLIM_INFINITY)
		fds.rlim_cur = 1u << 20;
	if (fds.rlim_cur <= DESCRIPTOR_RESERVE + 16)
		return fail(gw, -WSC_ESYSTEM, "only %llu descriptors (ulimit -n): at least %u are needed",
			    (unsigned long long)fds.rlim_cur, DESCRIPTOR_RESERVE + 17);
	gw->set.max_connections = fds.rlim_cur - DESCRIPTOR_RESERVE;
	if (wanted && wanted < gw->set.max_connections)
		gw->set.max_connections = wanted;
	return 0;
}

/*
 * The kernel doubles a process's table of descriptors when it is full, and all threads that accept wait for a grace period
 * of its own meanwhile: 5 to 13 ms, at 256, 512, 1024... Done now, while there is one thread, it costs nothing.
 */
static void widen_descriptor_table(struct wsc_gateway *gw)
{
	uint64_t most = gw->set.max_connections + DESCRIPTOR_RESERVE;
	int last = (int)(most < DESCRIPTOR_TABLE ? most : DESCRIPTOR_TABLE) - 1;
	int fd = fcntl(gw->workers[0]->shard.loop.epfd, F_DUPFD_CLOEXEC, last);

	if (fd >= 0)
		close(fd);
}

/* Three quarters, so that the system does not kill the process first: it would not choose the slowest reader. */
static int watch_memory(struct wsc_gateway *gw)
{
	uint64_t wanted = gw->config.limits.memory, limit = wanted ? wanted : machine_memory_allowed("") / 4 * 3;
	int r = pressure_init(&gw->set, limit);

	if (r < 0 && wanted)
		return fail(gw, -WSC_ESYSTEM, "limits.memory: /proc/self/statm cannot be read: %s",
			    strerrordesc_np(-r));
	if (r < 0 || !limit)
		log_warn(&gw->set.log, "memory is not limited: the system does not tell how much is used",
			 KV_STR("key", "limits.memory"));
	return 0;
}

static int make_workers(struct wsc_gateway *gw)
{
	struct hub_options hub;
	int r;

	gw->workers = mem_calloc(gw->nworkers, sizeof *gw->workers);
	gw->set.shards = mem_calloc(gw->nworkers, sizeof *gw->set.shards);
	if (!gw->workers || !gw->set.shards)
		return fail(gw, -WSC_ENOMEM, "out of memory");
	gw->set.nshards = gw->nworkers;
	hub = hub_options_of(gw);
	for (unsigned i = 0; i < gw->nworkers; i++) {
		gw->workers[i] = mem_aligned(64, sizeof **gw->workers);
		if (!gw->workers[i])
			return fail(gw, -WSC_ENOMEM, "out of memory");
		gw->set.shards[i] = &gw->workers[i]->shard;
		r = worker_init(gw->workers[i], &gw->set, i, gw->workers, gw->nworkers, &hub, gw->listen_fd,
				gw->nlisten, gw->by_host);
		if (r < 0)
			return fail(gw, r, "cannot start a worker: %s",
				    r == -WSC_ENOMEM ? "out of memory" : strerrordesc_np(errno));
	}
	return 0;
}

static int prepare(struct wsc_gateway *gw)
{
	const struct config *c = &gw->config;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct now now = worker_clock();
	int r;

	gw->error[0] = 0;
	gw->nworkers = gw->by_host ? 1 : c->workers ? (unsigned)c->workers : cores > 0 ? (unsigned)cores : 1;
	if (gw->nworkers > HUB_PEERS_MAX)
		gw->nworkers = HUB_PEERS_MAX;
	if (c->security.enable_rate_limit && c->security.connect_rate &&
	    !(gw->set.connects = connect_table_new(c->security.connect_rate, gw->set.seed)))
		return fail(gw, -WSC_ENOMEM, "out of memory");
	gw->set.started_mono_ms = now_ms(now);
	gw->set.started_wall_ms = now.wall_ms;
	gw->set.tls.same_port = !own_tls_port(gw);
	gw->set.tls.no_plain = !c->tls.allow_plain;
	if ((r = make_tls(gw, &gw->set.tls.server)) < 0 || (r = count_connections(gw)) < 0 || (r = listen_all(gw)) < 0)
		return r;
	make_node_id(gw);
	if ((r = watch_memory(gw)) < 0 || (r = make_workers(gw)) < 0)
		return r;
	widen_descriptor_table(gw);
	(void)accept_keep_spare(&gw->workers[0]->shard);
	return 0;
}

/* Signals belong to the host program: its own threads get them. */
static int start_threads(struct wsc_gateway *gw)
{
	sigset_t all, before;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < gw->nworkers && r == 0; i++)
		r = worker_start(gw->workers[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r < 0 ? fail(gw, r, "cannot start a thread: %s", strerrordesc_np(errno)) : 0;
}

/* How many workers there are; fewer than nworkers when the start has failed half way. */
static unsigned workers_made(const struct wsc_gateway *gw)
{
	unsigned n = 0;

	while (gw->workers && n < gw->nworkers && gw->workers[n] && gw->workers[n]->shard.hub)
		n++;
	return n;
}

/* Burying one worker's mail may post to another, so this goes on until all are quiet. */
static void bury(struct wsc_gateway *gw)
{
	unsigned n = workers_made(gw);
	bool any = n > 0;

	while (any) {
		any = false;
		for (unsigned i = 0; i < n; i++)
			any |= worker_bury_mail(gw->workers[i]);
	}
	for (unsigned i = 0; i < n; i++)
		program_bury(&gw->workers[i]->shard);
}

static void tear_down(struct wsc_gateway *gw)
{
	unsigned made = workers_made(gw);
	int spare;

	for (unsigned i = 0; i < made; i++)
		worker_stop(gw->workers[i], 0);
	for (unsigned i = 0; i < made; i++)
		worker_join(gw->workers[i]);
	/* Hooks and answers that come from here on must not post any more. */
	if (state_of(gw) == STATE_RUNNING)
		atomic_store(&gw->shared.state, STATE_STOPPED);
	bury(gw);
	for (unsigned i = 0; i < gw->nworkers && gw->workers && gw->workers[i]; i++) {
		worker_deinit(gw->workers[i]);
		mem_free(gw->workers[i]);
	}
	mem_free(gw->workers);
	mem_free(gw->set.shards);
	gw->workers = NULL;
	gw->set.shards = NULL;
	close_listeners(gw);
	pressure_deinit(&gw->set);
	spare = atomic_exchange(&gw->set.shared.spare_fd, -1);
	if (spare >= 0)
		close(spare);
	connect_table_free(gw->set.connects);
	gw->set.connects = NULL;
	tls_server_free(gw->set.tls.server);
	gw->set.tls.server = NULL;
}

static int start(struct wsc_gateway *gw, bool by_host)
{
	int r = usable(gw);

	if (r < 0)
		return r;
	if (state_of(gw) != STATE_NEW)
		return fail(gw, -WSC_ESTATE, "it was started already");
	gw->by_host = by_host;
	r = prepare(gw);
	if (r == 0) {
		atomic_store(&gw->shared.state, STATE_RUNNING); /* before the first hook */
		r = by_host ? 0 : start_threads(gw);
	}
	if (r < 0) {
		atomic_store(&gw->shared.state, STATE_NEW);
		tear_down(gw);
		return r;
	}
	log_start(gw);
	return 0;
}

int wsc_start(struct wsc_gateway *gw)
{
	return start(gw, false);
}

int wsc_open(struct wsc_gateway *gw)
{
	return start(gw, true);
}

int wsc_check(struct wsc_gateway *gw)
{
	struct tls_server *server;
	int r = usable(gw);

	if (r < 0)
		return r;
	if (state_of(gw) != STATE_NEW)
		return fail(gw, -WSC_ESTATE, "it was started already");
	r = make_tls(gw, &server);
	tls_server_free(server);
	return r;
}

int wsc_reload(struct wsc_gateway *gw)
{
	int r;

	if (!gw->enabled)
		return -WSC_EDISABLED;
	if (state_of(gw) != STATE_RUNNING)
		return -WSC_ESTATE;
	if (!gw->set.tls.server) {
		log_info(&gw->set.log, "nothing to reload: no certificates are set");
		return 0;
	}
	r = load_tls(gw, gw->set.tls.server);
	if (r < 0) {
		log_error(&gw->set.log, "certificates not reloaded: the former ones stay", KV_STR("why", gw->error));
		return r;
	}
	log_info(&gw->set.log, "certificates reloaded", KV_U64("certificates", gw->config.tls.certificate.n));
	tls_server_tell(gw->set.tls.server, log_certificate, gw);
	return 0;
}

int wsc_fd(const struct wsc_gateway *gw)
{
	return gw->workers && gw->workers[0] ? loop_fd(&gw->workers[0]->shard.loop) : -WSC_ESTATE;
}

int wsc_step(struct wsc_gateway *gw, int timeout_ms)
{
	if (!gw->enabled)
		return -WSC_EDISABLED;
	if (state_of(gw) == STATE_STOPPED)
		return 0;
	if (state_of(gw) != STATE_RUNNING || !gw->by_host)
		return -WSC_ESTATE;
	if (worker_turn(gw->workers[0], timeout_ms))
		return 1;
	atomic_store(&gw->shared.state, STATE_STOPPED);
	return 0;
}

void wsc_stop(struct wsc_gateway *gw, unsigned timeout_ms)
{
	if (state_of(gw) != STATE_RUNNING)
		return;
	if (!atomic_exchange(&gw->set.shared.draining, true))
		log_info(&gw->set.log, "stopping", KV_U64("connections", atomic_load(&gw->set.shared.connections)),
			 KV_U64("timeout_ms", timeout_ms));
	/* From now on the kernel refuses new clients, so that they do not wait in vain. */
	for (unsigned i = 0; i < gw->nlisten; i++)
		(void)shutdown(gw->listen_fd[i], SHUT_RDWR);
	for (unsigned i = 0; i < gw->nworkers; i++)
		worker_stop(gw->workers[i], timeout_ms);
}

int wsc_wait(struct wsc_gateway *gw)
{
	if (state_of(gw) == STATE_NEW || (gw->by_host && state_of(gw) == STATE_RUNNING))
		return gw->enabled ? -WSC_ESTATE : -WSC_EDISABLED;
	if (!gw->by_host)
		for (unsigned i = 0; i < gw->nworkers; i++)
			worker_join(gw->workers[i]);
	if (atomic_exchange(&gw->shared.state, STATE_STOPPED) == STATE_RUNNING)
		log_info(&gw->set.log, "stopped", KV_U64("cut", atomic_load(&gw->set.shared.cut)));
	return atomic_load(&gw->set.shared.cut) ? 1 : 0;
}

void wsc_free(struct wsc_gateway *gw)
{
	if (!gw)
		return;
	tear_down(gw);
	routes_deinit(&gw->set.routes);
	reasons_free(gw->set.reasons);
	config_values_free(&gw->config);
	mem_free(gw);
}

const char *wsc_error_text(const struct wsc_gateway *gw)
{
	return gw->error;
}

uint16_t wsc_port(const struct wsc_gateway *gw)
{
	return gw->port;
}

uint64_t wsc_max_connections(const struct wsc_gateway *gw)
{
	return gw->set.max_connections;
}

unsigned wsc_workers(const struct wsc_gateway *gw)
{
	return gw->nworkers;
}

const char *wsc_node_id(const struct wsc_gateway *gw)
{
	return gw->set.node_id;
}

const char *wsc_version(void)
{
	return WSC_VERSION;
}

/* ---- messages ------------------------------------------------------------------------------------------------------------------ */

static int running(struct wsc_gateway *gw)
{
	if (!gw->enabled)
		return -WSC_EDISABLED;
	return state_of(gw) == STATE_RUNNING ? 0 : -WSC_ESTATE;
}

/* The message as JSON, checked like a message from outside. */
static int message_text(struct wsc_gateway *gw, const struct wsc_message *m, bool broadcast, struct buf *b)
{
	struct wsc_message copy = *m;
	struct envelope e;
	int r;

	if (!copy.from)
		copy.from = WSC_SYSTEM;
	if (broadcast)
		copy.to = copy.ticket_id = NULL;
	if (!broadcast && !(copy.to && *copy.to) && !(copy.ticket_id && *copy.ticket_id))
		return -WSC_EINVAL;
	if (!copy.content && !copy.data)
		return -WSC_EINVAL;
	r = message_json(b, &copy);
	if (r < 0)
		return r;
	if (b->len > gw->config.security.max_message_size)
		return -WSC_ETOOBIG;
	return envelope_parse(&e, buf_bytes(b), gw->set.opt.json_depth, gw->set.seed) == ENVELOPE_OK ? 0
												     : -WSC_EBADMESSAGE;
}

static int submit(struct wsc_gateway *gw, const struct wsc_message *m, bool broadcast, wsc_done_fn *done, void *user)
{
	struct bytes from = bytes_str(m && m->from ? m->from : WSC_SYSTEM);
	struct buf b = BUF_INIT;
	struct task *t;
	int r = running(gw);

	if (r < 0)
		return r;
	if (!m || !envelope_id_ok(from))
		return -WSC_EINVAL;
	r = message_text(gw, m, broadcast, &b);
	if (r < 0) {
		buf_deinit(&b);
		return r;
	}
	t = program_submission(b.at, b.len, from, broadcast, done, user);
	if (!t)
		return -WSC_ENOMEM;
	r = worker_post_foreign(gw->workers[shard_of_user(&gw->set, from)], t, false);
	if (r < 0)
		program_submission_free(t);
	return r;
}

int wsc_send(struct wsc_gateway *gw, const struct wsc_message *message, wsc_done_fn *done, void *user)
{
	return submit(gw, message, false, done, user);
}

int wsc_broadcast(struct wsc_gateway *gw, const struct wsc_message *message, wsc_done_fn *done, void *user)
{
	return submit(gw, message, true, done, user);
}

int wsc_kick(struct wsc_gateway *gw, const char *user_id, const char *reason, wsc_done_fn *done, void *user)
{
	struct bytes id = bytes_str(user_id), why = bytes_str(reason ? reason : end_why(END_KICKED));
	struct task *t;
	int r = running(gw);

	if (r < 0)
		return r;
	if (!envelope_id_ok(id) || !utf8_valid(why))
		return -WSC_EINVAL;
	t = program_kick_task(id, why, done, user);
	if (!t)
		return -WSC_ENOMEM;
	r = worker_post_foreign(gw->workers[shard_of_user(&gw->set, id)], t, false);
	if (r < 0)
		program_kick_task_free(t);
	return r;
}

/* ---- questions -------------------------------------------------------------------------------------------------------------------- */

int wsc_stats(const struct wsc_gateway *gw, struct wsc_stats *out)
{
	struct metrics_totals t;

	if (!gw->enabled)
		return -WSC_EDISABLED;
	if (state_of(gw) == STATE_NEW)
		return -WSC_ESTATE;
	stats_totals(&gw->set, worker_clock(), &t);
	*out = (struct wsc_stats){ 0 };
#define NO_STAT (void)cell;
#define STAT(key) out->key = metrics_sum(cell, bytes);
#define STAT_IN(object, key) out->object##_##key = metrics_sum(cell, bytes);
#define STAT_SMALL_IN(object, key) out->object##_##key = (unsigned)metrics_sum(cell, bytes);
#define STAT_BY(key, object, suffix)                                \
	out->key = metrics_sum(cell, bytes);                        \
	out->websocket_##suffix = cell[METRIC_TRANSPORT_WEBSOCKET]; \
	out->sse_##suffix = cell[METRIC_TRANSPORT_SSE];
#define METRIC(kind, source, field, labels, unit, name, stat, help) \
	{                                                           \
		const uint64_t *cell = (const void *)&t.field;      \
		const size_t bytes = sizeof t.field;                \
		(void)bytes;                                        \
		stat                                                \
	}
#include "api/metrics.def"
	return 0;
}

int wsc_is_online(struct wsc_gateway *gw, const char *user_id, wsc_online_fn *answer, void *user)
{
	int r = running(gw);

	if (r < 0)
		return r;
	if (!answer || !envelope_id_ok(bytes_str(user_id)))
		return -WSC_EINVAL;
	return online_ask(&gw->set, user_id, answer, user);
}

/* ---- sockets of the program ----------------------------------------------------------------------------------------------------------- */

struct adopt {
	struct task task;
	int fd;
};

static void adopt_run(struct shard *sh, struct task *t)
{
	struct adopt *a = container_of(t, struct adopt, task);
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof peer;
	struct ip ip = { 0 };

	if (getpeername(a->fd, (struct sockaddr *)&peer, &len) == 0)
		ip = ip_of_sockaddr((struct sockaddr *)&peer);
	atomic_fetch_add(&sh->set->shared.connections, 1);
	if (sh->draining) {
		atomic_fetch_sub(&sh->set->shared.connections, 1);
		close(a->fd);
	} else {
		(void)http_accept(sh, a->fd, &ip, false);
	}
	mem_free(a);
}

/* Every route answers 503 while the gateway is not enabled. */
static void answer_disabled(int fd)
{
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
		"Content-Length: 90\r\nConnection: close\r\n\r\n"
		"{\"success\":false,\"error\":\"the gateway is not enabled\",\"message\":null,\"code\":\"not_enabled\"}";

	_Static_assert(
		sizeof "{\"success\":false,\"error\":\"the gateway is not enabled\",\"message\":null,\"code\":\"not_enabled\"}" ==
			91,
		"Content-Length above");
	char request[4096];

	(void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(fd, SHUT_WR);
	/* Unread bytes would make the close a reset, and the answer might be lost with it. */
	for (int i = 0; i < 16 && recv(fd, request, sizeof request, MSG_DONTWAIT) > 0; i++)
		;
	close(fd);
}

int wsc_adopt(struct wsc_gateway *gw, int fd)
{
	int r = running(gw), flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
	struct adopt *a;

	if (r == -WSC_EDISABLED && fd >= 0)
		answer_disabled(fd);
	else if (r < 0 && fd >= 0)
		close(fd);
	if (r < 0)
		return r;
	/* A blocking socket would stop all connections of the worker. */
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		if (fd >= 0)
			close(fd);
		return -WSC_EINVAL;
	}
	addr_tune(fd, &gw->set.listen);
	a = mem_zalloc(sizeof *a);
	if (a) {
		a->task.run = adopt_run;
		a->fd = fd;
		r = worker_post_foreign(gw->workers[atomic_fetch_add(&gw->shared.adopted, 1) % gw->nworkers], &a->task,
					false);
	} else {
		r = -WSC_ENOMEM;
	}
	if (r < 0) {
		mem_free(a);
		close(fd);
	}
	return r;
}
