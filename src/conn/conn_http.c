/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http: a connection that speaks HTTP/1.1: one request at a time, answers in order, whatever was pipelined behind
 * waits. A head lies unchanged in its buffer while its request is served. Anything ambiguous is answered 400 and ends
 * the connection, and the peer is given the time to read the answer (RFC 9112 §9.6).
 */
#include "conn/conn_http.h"

#include <errno.h>
#include <stdio.h>
#include "api/answer.h"
#include "api/assets.h"
#include "api/origin.h"
#include "base/mem.h"
#include "conn/ask.h"
#include "conn/submit.h"
#include "proto/proxy.h"
#include "proto/query.h"
#include "wsc/error.h"

#define IDLE_MS 75000u /* a kept-alive connection without a request */
#define BODY_FACTOR 3u /* a whole body may take this many header_timeouts */
#define LINGER_MS 2000u
#define STRETCH 32u       /* requests that are served at a stretch, then others have their turn */
#define BODY_SMALL 16384u /* a body that goes on growing beyond this is refused while memory is out */
#define OUT_HIGH 65536u   /* answers that wait for the socket: then no further request is taken */
#define JSON_TYPE "application/json; charset=utf-8"

struct wsc_response {
	int status;
	struct buf body, fields, type;
	bool given;
};

/* ---- life ---------------------------------------------------------------------------------------------------------- */

struct http_conn *http_new(const struct ip *peer)
{
	struct http_conn *h = mem_zalloc(sizeof *h);

	if (h)
		h->peer = h->client = *peer;
	return h;
}

void http_free(struct http_conn *h)
{
	if (!h)
		return;
	buf_deinit(&h->in);
	buf_deinit(&h->next);
	buf_deinit(&h->body);
	buf_deinit(&h->out);
	buf_deinit(&h->path_text);
	buf_deinit(&h->user);
	for (int i = 0; i < 3; i++)
		buf_deinit(&h->remembered[i]);
	opening_free(h->open);
	mem_free(h);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void arm(struct conn *c, uint64_t in_ms)
{
	struct shard *sh = conn_shard(c);

	http_of(c)->deadline_ms = now_ms(sh->now) + in_ms;
	timers_arm(&sh->timers, &c->timer, earlier(http_of(c)->deadline_ms, conn_stall_due(c)));
}

void http_begin(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	http_of(c)->overloaded =
		atomic_load_explicit(&sh->set->shared.connections, memory_order_relaxed) > sh->set->max_connections;
	arm(c, sh->set->opt.header_timeout_ms);
}

void http_require_tls(struct conn *c)
{
	http_of(c)->only_tls = true;
}

/* Ready for the next request; memory of the last one is given back. */
static void reset(struct conn *c)
{
	struct http_conn *h = http_of(c);

	buf_deinit(&h->in);
	buf_deinit(&h->body);
	buf_deinit(&h->path_text);
	buf_deinit(&h->user);
	for (int i = 0; i < 3; i++)
		buf_deinit(&h->remembered[i]);
	http1_parser_init(&h->parser);
	h->route = NULL;
	h->state = HTTP_HEAD;
	h->client = h->peer;
	h->continued = false;
	arm(c, IDLE_MS);
}

/* ---- the way out ------------------------------------------------------------------------------------------------------ */

static void linger(struct conn *c)
{
	http_of(c)->state = HTTP_LINGER;
	http_of(c)->shut = true;
	buf_deinit(&http_of(c)->next);
	stream_shutdown(&c->stream);
	if (http_of(c)->ended) {
		conn_kill(c, WS_CODE_ABNORMAL, true);
		return;
	}
	conn_resume(c);
	arm(c, LINGER_MS);
}

/* Has all that was answered left for the socket? */
static bool all_out(const struct conn *c)
{
	return !http_of(c)->out.len && !stream_holds(&c->stream);
}

/* One send. False: the connection is gone. */
static bool offer(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct iovec iov = { h->out.at + h->out_sent, h->out.len - h->out_sent };
	ptrdiff_t n = stream_send(&c->stream, &iov, 1);

	if (n < 0) {
		conn_kill(c, WS_CODE_ABNORMAL, true);
		return false;
	}
	h->out_sent += (size_t)n;
	if (c->stalled_ms || stream_blocked(&c->stream))
		conn_stall(c, stream_moved(&c->stream));
	return true;
}

/* False: the connection is gone. */
static bool flush(struct conn *c)
{
	struct http_conn *h = http_of(c);

	while (h->out_sent < h->out.len && !stream_blocked(&c->stream))
		if (!offer(c))
			return false;
	/* What TLS held may have left without an offer of ours. */
	if (c->stalled_ms)
		conn_stall(c, stream_moved(&c->stream));
	if (h->out_sent == h->out.len && h->out.len) {
		buf_deinit(&h->out);
		h->out_sent = 0;
	}
	return true;
}

static void run(struct conn *c);

static void last_answer(struct conn *c)
{
	struct http_conn *h = http_of(c);

	h->state = HTTP_LINGER;
	arm(c, IDLE_MS);
	if (!h->running && flush(c) && all_out(c))
		linger(c);
}

void http_answer_head(struct conn *c, const struct http1_out_field *fields, size_t nfields)
{
	struct http_conn *h = http_of(c);

	h->keep_alive = false;
	if (http1_write_head(&h->out, 200, fields, nfields) != 0 || h->out.failed)
		conn_kill(c, WS_CODE_INTERNAL, false);
	else
		last_answer(c);
}

void http_answer(struct conn *c, uint16_t status, const char *type, struct bytes body,
		 const struct http1_out_field *fields, size_t nfields)
{
	struct http_conn *h = http_of(c);
	struct http1_response r = { .status = status,
				    .keep_alive = h->keep_alive &= !conn_shard(c)->draining,
				    .content_type = type,
				    .body = body,
				    .fields = fields,
				    .nfields = nfields,
				    .head_only = h->state != HTTP_HEAD && h->head.method == HTTP1_HEAD };

	if (http1_write_response(&h->out, &r) != 0 || h->out.failed) {
		conn_kill(c, WS_CODE_INTERNAL, false);
		return;
	}
	if (!h->keep_alive) {
		last_answer(c);
		return;
	}
	reset(c);
	conn_resume(c);
	if (!h->running)
		run(c); /* an answer that came later: go on with what was pipelined */
}

size_t http_cors(const struct conn *c, struct http1_out_field *out)
{
	struct bytes origin = http1_header(&http_of(c)->head, BYTES("origin"));

	if (!origin.len || !http_origin_ok(c)) {
		out[0] = (struct http1_out_field){ "Vary", BYTES("Origin") };
		return 1;
	}
	out[0] = (struct http1_out_field){ "Access-Control-Allow-Origin", origin };
	out[1] = (struct http1_out_field){ "Access-Control-Expose-Headers",
					   BYTES("X-WSC-Client-ID, X-WSC-Node-ID, Retry-After") };
	out[2] = (struct http1_out_field){ "Vary", BYTES("Origin") };
	return 3;
}

/* A refusal: body, the fields of its status, and an end if the request was not understood. */
void http_refuse(struct conn *c, uint16_t status, enum api_code code, struct bytes why,
		 const struct http1_out_field *more)
{
	struct http1_out_field fields[8];
	struct buf body = BUF_INIT;
	size_t n = 0;

	if (http_of(c)->state != HTTP_HEAD)
		n = http_cors(c, fields);
	if (more && more->name)
		fields[n++] = *more;
	status = status ? status : api_code_status(code);
	if (status == 503)
		fields[n++] = (struct http1_out_field){ "Retry-After", BYTES("1") };
	if (status == 426) /* RFC 9110 §15.5.22 */
		fields[n++] = (struct http1_out_field){ "Upgrade", BYTES("websocket") };
	if (conn_shard(c)->set->log.level == LOG_DEBUG) {
		char address[IP_TEXT_MAX];

		ip_format(&http_of(c)->client, address);
		log_debug(&conn_shard(c)->set->log, "request refused", KV_STR("address", address),
			  KV_U64("status", status), KV_STR("code", api_code_text(code)), KV_BYTES("why", why));
	}
	answer_failure(&body, code, why);
	http_answer(c, status, JSON_TYPE, buf_bytes(&body), fields, n);
	buf_deinit(&body);
}

static void refuse_str(struct conn *c, enum api_code code, const char *why)
{
	http_refuse(c, 0, code, bytes_str(why), NULL);
}

/* What the codec does not accept: answered, and the connection ends (docs/http-api.md: 400 and close). */
static void reject(struct conn *c, const struct http1_error *e)
{
	http_of(c)->keep_alive = false;
	http_refuse(c, e->status, api_code_of_status(e->status), bytes_str(e->why), NULL);
}

void http_fail(struct conn *c, enum api_code code, struct bytes why)
{
	if (http_waiting(c))
		http_refuse(c, 0, code, why, NULL);
}

static void answer_ok(struct conn *c, struct buf *body)
{
	struct http1_out_field fields[4];

	if (body->failed)
		refuse_str(c, API_OVERLOADED, "out of memory");
	else
		http_answer(c, 200, JSON_TYPE, buf_bytes(body), fields, http_cors(c, fields));
	buf_deinit(body);
}

bool http_waiting(const struct conn *c)
{
	return c->kind == CONN_HTTP && c->phase != PHASE_DEAD && http_of(c)->state == HTTP_WAIT;
}

/* ---- send and broadcast -------------------------------------------------------------------------------------------------- */

bool http_remember(struct conn *c, struct bytes id, struct bytes to, struct bytes type, bool broadcast)
{
	struct http_conn *h = http_of(c);

	buf_add(&h->remembered[0], id);
	buf_add(&h->remembered[1], to);
	buf_add(&h->remembered[2], type);
	h->broadcast = broadcast;
	return !h->remembered[0].failed && !h->remembered[1].failed && !h->remembered[2].failed;
}

void http_sent(struct conn *c, uint32_t delivered)
{
	struct http_conn *h = http_of(c);
	struct buf body = BUF_INIT;

	if (!http_waiting(c))
		return;
	if (h->broadcast)
		answer_broadcast(&body, buf_bytes(&h->remembered[0]), buf_bytes(&h->remembered[2]), delivered);
	else
		answer_sent(&body, buf_bytes(&h->remembered[0]), buf_bytes(&h->remembered[1]),
			    buf_bytes(&h->remembered[2]), delivered);
	answer_ok(c, &body);
}

bool http_user(const struct conn *c, struct bytes *user)
{
	const struct http1_head *head = &http_of(c)->head;
	const struct http1_field *f = http1_find(head, BYTES("x-user-id"));

	*user = f ? f->value : BYTES("");
	return !f || !http1_find_next(head, BYTES("x-user-id"), f);
}

static void serve_publish(struct conn *c, bool broadcast)
{
	struct http_conn *h = http_of(c);
	struct bytes user;

	if (!http_user(c, &user)) {
		refuse_str(c, API_BAD_REQUEST, "X-User-ID is there twice");
		return;
	}
	if (!user.len && !broadcast) {
		refuse_str(c, API_USER_ID_REQUIRED, "user_id is required: send it in the header X-User-ID");
		return;
	}
	if (user.len && !envelope_id_ok(user)) {
		refuse_str(c, API_BAD_REQUEST, "X-User-ID must be 1 to 128 bytes of UTF-8 without control characters");
		return;
	}
	if (bytes_eq(user, BYTES("system"))) {
		refuse_str(c, API_FORBIDDEN_USER_ID, "system is the gateway's own id");
		return;
	}
	buf_add(&h->user, user.len ? user : BYTES("system"));
	if (h->user.failed) {
		refuse_str(c, API_OVERLOADED, "out of memory");
		return;
	}
	h->state = HTTP_WAIT;
	stream_pause(&c->stream);
	(void)submit_http(c, buf_bytes(&h->body), buf_bytes(&h->user), broadcast);
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------ */

/* What "on loopback" means: nobody in between, and a page that was asked for under a local name. */
static bool on_loopback(const struct conn *c)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1", "[::1]" };
	const struct http_conn *h = http_of(c);
	struct bytes host = h->head.host;

	if (h->proxied)
		return false;
	for (size_t i = 0; i < h->head.nfields; i++) {
		struct bytes name = h->head.fields[i].name;

		if (bytes_eq_nocase(name, BYTES("forwarded")) || bytes_eq_nocase(name, BYTES("via")) ||
		    (name.len >= 12 && bytes_eq_nocase(bytes_of(name.at, 12), BYTES("x-forwarded-"))))
			return false;
	}
	for (size_t i = host.len; i-- > 0 && host.at[i] != ']';)
		if (host.at[i] == ':') {
			host.len = i;
			break;
		}
	for (size_t i = 0; i < 3; i++)
		if (ip_loopback(&h->peer) && bytes_eq_nocase(host, bytes_str(hosts[i])))
			return true;
	return false;
}

static void serve_asset(struct conn *c)
{
	const struct web_asset *a = http_of(c)->route->target;
	struct http1_out_field fields[8];
	size_t n;

	if (http_of(c)->route->kind == ROUTE_LOCAL_ASSET && !on_loopback(c)) {
		refuse_str(c, API_NOT_LOCAL, "this page answers only on loopback: open it as http://localhost");
		return;
	}
	n = http_cors(c, fields);
	fields[n++] = (struct http1_out_field){ "Cache-Control", BYTES("no-cache") };
	fields[n++] = (struct http1_out_field){ "X-Content-Type-Options", BYTES("nosniff") };
	fields[n++] = (struct http1_out_field){
		"Content-Security-Policy",
		BYTES("default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'")
	};
	http_answer(c, 200, a->type, bytes_of(a->at, a->len), fields, n);
}

/* ---- the program's own routes --------------------------------------------------------------------------------------------- */

/* Fields that say where the answer ends are ours to write: two of them would be two answers to somebody. */
static bool is_ours(struct bytes name)
{
	return bytes_eq_nocase(name, BYTES("content-length")) || bytes_eq_nocase(name, BYTES("content-type")) ||
	       bytes_eq_nocase(name, BYTES("transfer-encoding")) || bytes_eq_nocase(name, BYTES("connection"));
}

int wsc_response_header(struct wsc_response *r, const char *name, const char *value)
{
	if (!name || !value || !http1_token_valid(bytes_str(name)) || is_ours(bytes_str(name)) ||
	    !http1_value_valid(bytes_str(value)))
		return -WSC_EINVAL;
	buf_add(&r->fields, bytes_of(name, strlen(name) + 1));
	buf_add(&r->fields, bytes_of(value, strlen(value) + 1));
	return r->fields.failed ? -WSC_ENOMEM : 0;
}

void wsc_respond(struct wsc_response *r, int status, const char *content_type, const void *body, size_t len)
{
	if (r->given)
		return;
	r->given = true;
	r->status = status;
	buf_add_str(&r->type, content_type ? content_type : JSON_TYPE);
	buf_add_u8(&r->type, 0);
	if (len)
		buf_add(&r->body, bytes_of(body, len));
}

static void answer_program(struct conn *c, struct wsc_response *r)
{
	struct http1_out_field fields[20];
	size_t n = http_cors(c, fields);
	const char *at = (const char *)r->fields.at, *end = at + r->fields.len;

	while (at < end && n < 20) {
		const char *value = at + strlen(at) + 1;

		fields[n++] = (struct http1_out_field){ at, bytes_str(value) };
		at = value + strlen(value) + 1;
	}
	if (!r->given || r->status < 200 || r->status > 599 ||
	    !http1_value_valid(bytes_str((const char *)r->type.at)) || r->body.failed || r->fields.failed ||
	    r->type.failed)
		refuse_str(c, API_INTERNAL, "the program's handler gave no valid answer");
	else
		http_answer(c, (uint16_t)r->status, (const char *)r->type.at, buf_bytes(&r->body), fields, n);
}

static void serve_program(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct wsc_response r = { 0 };
	struct wsc_request req;
	wsc_handler_fn *handler;

	buf_add_u8(&h->body, 0); /* so that a handler may treat it as text */
	if (h->body.failed ||
	    request_init(&req, &h->head, h->path, bytes_of(h->body.at, h->body.len - 1), &h->client) < 0) {
		refuse_str(c, API_OVERLOADED, "out of memory");
		return;
	}
	memcpy(&handler, &h->route->target, sizeof handler);
	handler(h->route->user, &req, &r);
	request_deinit(&req);
	answer_program(c, &r);
	buf_deinit(&r.body);
	buf_deinit(&r.fields);
	buf_deinit(&r.type);
}

/* ---- a request ---------------------------------------------------------------------------------------------------------------- */

static void answer_probe(struct conn *c, struct bytes body)
{
	struct http1_out_field fields[4];

	http_answer(c, 200, JSON_TYPE, body, fields, http_cors(c, fields));
}

static void serve_ready(struct conn *c)
{
	if (atomic_load_explicit(&conn_shard(c)->set->shared.draining, memory_order_relaxed))
		refuse_str(c, API_SHUTTING_DOWN, "the server is going away");
	else
		answer_probe(c, BYTES("{\"success\":true,\"message\":\"Ready\",\"data\":{\"status\":\"ok\"}}"));
}

/* The request is whole. */
static void serve(struct conn *c)
{
	struct http_conn *h = http_of(c);
	enum route_kind kind = h->route->kind;

	switch (kind) {
	case ROUTE_WEBSOCKET:
		open_begin(c, HUB_WEBSOCKET);
		break;
	case ROUTE_ECHO:
		open_echo(c);
		break;
	case ROUTE_SSE:
		open_begin(c, HUB_SSE);
		break;
	case ROUTE_SEND:
	case ROUTE_BROADCAST:
		serve_publish(c, kind == ROUTE_BROADCAST);
		break;
	case ROUTE_STATS:
	case ROUTE_OLD_STATS: {
		struct buf body = BUF_INIT;

		ask_stats(conn_shard(c), &body, kind == ROUTE_OLD_STATS);
		answer_ok(c, &body);
		break;
	}
	case ROUTE_ONLINE:
	case ROUTE_OLD_ONLINE: {
		const char *fault = NULL;

		h->state = HTTP_WAIT;
		stream_pause(&c->stream);
		if (ask_online(conn_shard(c), conn_handle(c), h->head.query, kind == ROUTE_OLD_ONLINE, &fault) < 0)
			refuse_str(c, fault ? API_BAD_REQUEST : API_OVERLOADED, fault ? fault : "out of memory");
		break;
	}
	case ROUTE_LIVEZ:
		answer_probe(c, BYTES("{\"success\":true,\"message\":\"Alive\",\"data\":{\"status\":\"ok\"}}"));
		break;
	case ROUTE_READYZ:
		serve_ready(c);
		break;
	case ROUTE_ASSET:
	case ROUTE_LOCAL_ASSET:
		serve_asset(c);
		break;
	case ROUTE_PROGRAM:
		serve_program(c);
		break;
	}
}

void http_online(struct conn *c, struct buf *body)
{
	if (http_waiting(c))
		answer_ok(c, body);
	else
		buf_deinit(body);
}

bool http_origin_ok(const struct conn *c)
{
	const struct http1_head *head = &http_of(c)->head;
	const struct options *opt = &conn_shard(c)->set->opt;
	const struct http1_field *f = NULL;
	bool any = false;

	while ((f = http1_find_next(head, BYTES("origin"), f))) {
		any = true;
		if (!origin_allowed(opt->origins.at, opt->origins.n, f->value, head->host))
			return false;
	}
	return any || !opt->require_origin;
}

/* The client's address: the right-most one in X-Forwarded-For that is not a proxy of ours, if the peer is one. */
static struct ip client_ip(const struct conn *c)
{
	const struct nets *trusted = &conn_shard(c)->set->opt.trusted;
	const struct http_conn *h = http_of(c);
	struct ip ip = h->client_of_proxy.len ? h->client_of_proxy : h->peer, next;

	for (size_t i = h->head.nfields; i-- > 0 && ip_match(trusted->at, trusted->n, &ip);) {
		struct bytes list = h->head.fields[i].value;

		if (!bytes_eq_nocase(h->head.fields[i].name, BYTES("x-forwarded-for")))
			continue;
		while (list.len && ip_match(trusted->at, trusted->n, &ip)) {
			const uint8_t *comma = memrchr(list.at, ',', list.len);
			size_t from = comma ? (size_t)(comma - list.at) + 1 : 0;

			if (!ip_parse_peer(bytes_trim(bytes_of(list.at + from, list.len - from)), &next))
				return ip;
			ip = next;
			list.len = comma ? from - 1 : 0;
		}
	}
	return ip;
}

static bool ip_allowed(const struct conn *c)
{
	const struct options *opt = &conn_shard(c)->set->opt;
	const struct ip *ip = &http_of(c)->client;

	if (ip_match(opt->blocked.at, opt->blocked.n, ip))
		return false;
	return !opt->only_whitelist || ip->len == 0 || ip_match(opt->whitelist.at, opt->whitelist.n, ip);
}

static bool decode_path(struct http_conn *h)
{
	ptrdiff_t n;

	if (!buf_reserve(&h->path_text, h->head.path.len + 1))
		return false;
	n = query_decode_path(h->head.path, h->path_text.at);
	h->path_text.len = n < 0 ? 0 : (size_t)n;
	h->path = buf_bytes(&h->path_text);
	return n >= 0 && !memchr(h->path.at, 0, h->path.len);
}

static void preflight(struct conn *c)
{
	struct http1_out_field fields[10];
	struct buf allow = BUF_INIT;
	size_t n = http_cors(c, fields);

	if (!routes_allow(&conn_shard(c)->set->routes, http_of(c)->path, &allow) &&
	    !bytes_eq(http_of(c)->path, BYTES("*"))) {
		refuse_str(c, API_NOT_FOUND, "there is nothing at this path");
		return;
	}
	if (!allow.len)
		buf_add_str(&allow, "GET, HEAD, POST, OPTIONS");
	fields[n++] = (struct http1_out_field){ "Allow", buf_bytes(&allow) };
	if (http1_find(&http_of(c)->head, BYTES("origin"))) {
		fields[n++] = (struct http1_out_field){ "Access-Control-Allow-Methods", buf_bytes(&allow) };
		fields[n++] = (struct http1_out_field){
			"Access-Control-Allow-Headers",
			BYTES("Content-Type, X-User-ID, Authorization, Last-Event-ID, Cache-Control")
		};
		fields[n++] = (struct http1_out_field){ "Access-Control-Max-Age", BYTES("600") };
	}
	http_answer(c, 204, NULL, BYTES(""), fields, n);
	buf_deinit(&allow);
}

static bool is_session(const struct route *r)
{
	return r && (r->kind == ROUTE_WEBSOCKET || r->kind == ROUTE_SSE);
}

/* Then nobody new is let in: no connection, and on one that is there no session. */
static bool memory_is_short(const struct conn *c)
{
	const struct http_conn *h = http_of(c);

	return atomic_load_explicit(&conn_shard(c)->set->pressure.shared.step, memory_order_relaxed) >=
		       PRESSURE_NO_NEWCOMERS &&
	       (h->requests == 1 || is_session(h->route));
}

/*
 * Is there a reason to refuse whatever it asks for? API_OK: none. Who may not ask at all comes first: a full node still
 * answers some things.
 */
static enum api_code barred(const struct conn *c, const char **why)
{
	if (!ip_allowed(c)) {
		*why = "this address may not use the gateway (security.blocked_ips, security.whitelist_ips)";
		return API_FORBIDDEN_IP;
	}
	if (!http_origin_ok(c)) {
		*why = http1_find(&http_of(c)->head, BYTES("origin"))
			       ? "this origin is not in websocket_origins"
			       : "an Origin header is required here (require_origin)";
		return API_FORBIDDEN_ORIGIN;
	}
	if (memory_is_short(c)) {
		*why = "this node is short of memory (limits.memory)";
		return API_OVERLOADED;
	}
	if (http_of(c)->overloaded) {
		*why = "this node holds as many connections as it may (performance.max_connections_per_node)";
		return API_OVERLOADED;
	}
	return API_OK;
}

static void refuse_method(struct conn *c)
{
	struct buf allow = BUF_INIT;

	routes_allow(&conn_shard(c)->set->routes, http_of(c)->path, &allow);
	http_refuse(c, 0, API_METHOD_NOT_ALLOWED, BYTES("this path does not take this method; see Allow"),
		    &(struct http1_out_field){ "Allow", buf_bytes(&allow) });
	buf_deinit(&allow);
}

/* A full node is alive: whoever asks that must not conclude that it should be killed. And one without memory says so. */
static bool answers_when_full(const struct conn *c)
{
	enum route_kind kind = http_of(c)->route->kind;

	return kind == ROUTE_LIVEZ || (memory_is_short(c) && (kind == ROUTE_STATS || kind == ROUTE_OLD_STATS));
}

/* What is refused before the body is read. A refusal with a body still to come ends the connection. */
static bool gate(struct conn *c)
{
	struct http_conn *h = http_of(c);
	enum route_found found = ROUTE_NO_PATH;
	const char *why = NULL;
	bool decoded = decode_path(h);
	enum api_code code;

	if (decoded)
		found = routes_find(&conn_shard(c)->set->routes, h->head.method_name, h->path, &h->route);
	code = barred(c, &why);
	if (code == API_OVERLOADED && found == ROUTE_FOUND && answers_when_full(c))
		code = API_OK;
	if (code != API_OK &&
	    (found != ROUTE_FOUND || (h->route->kind != ROUTE_WEBSOCKET && h->route->kind != ROUTE_ECHO)))
		refuse_str(c, code, why);
	else if (!decoded)
		refuse_str(c, API_BAD_REQUEST, "the path has an invalid escape");
	else if (h->head.method == HTTP1_OPTIONS && found != ROUTE_FOUND)
		preflight(c);
	else if (found == ROUTE_NO_PATH)
		refuse_str(c, API_NOT_FOUND, "there is nothing at this path");
	else if (found == ROUTE_NO_METHOD)
		refuse_method(c);
	else {
		/* A handshake may want to hear it as a close code: open_begin() tells it. */
		h->barred = code;
		h->barred_why = why;
		return true;
	}
	return false;
}

static bool has_body(const struct http1_head *head)
{
	return head->chunked || head->content_length > 0;
}

/*
 * A proxy may take a refused upgrade for a tunnel: then nothing more must be read from it. Who came when the node was full
 * makes room for others who are to be told so.
 */
static bool may_keep(const struct http_conn *h)
{
	return h->head.keep_alive && !h->head.upgrade && !h->overloaded;
}

static void begin_request(struct conn *c)
{
	struct http_conn *h = http_of(c);
	const struct options *opt = &conn_shard(c)->set->opt;

	h->state = HTTP_BODY;
	h->requests++;
	/* Refused before its body was read, the body would be taken for a request. */
	h->keep_alive = may_keep(h) && !has_body(&h->head);
	h->client = client_ip(c);
	if (!gate(c))
		return;
	h->keep_alive = may_keep(h);
	if (http1_body_init(&h->body_state, &h->head, opt->max_message_bytes) == HTTP1_ERROR) {
		reject(c, &h->body_state.error);
		return;
	}
	if (has_body(&h->head))
		arm(c, opt->header_timeout_ms * BODY_FACTOR);
}

static void send_continue(struct conn *c)
{
	struct http_conn *h = http_of(c);

	if (!h->head.expect_continue || h->continued || !has_body(&h->head))
		return;
	h->continued = true;
	buf_add_str(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void out_of_memory(struct conn *c)
{
	http_of(c)->keep_alive = false;
	refuse_str(c, API_OVERLOADED, "out of memory");
}

/* A trusted proxy may say who its client is, once, before the first request. False: more must come, or it was broken. */
static bool step_proxy(struct conn *c)
{
	const struct nets *trusted = &conn_shard(c)->set->opt.trusted;
	struct http_conn *h = http_of(c);
	struct proxy_header p;

	if (h->introduced)
		return true;
	if (!ip_match(trusted->at, trusted->n, &h->peer)) {
		h->introduced = true;
		return true;
	}
	switch (proxy_parse(buf_bytes(&h->next), &p)) {
	case PROXY_MORE:
		return false;
	case PROXY_BAD:
		reject(c, &(struct http1_error){ 400, "the PROXY protocol header is not valid" });
		return false;
	case PROXY_DONE:
		buf_consume(&h->next, p.size);
		h->proxied = true;
		if (p.ip.len)
			h->client_of_proxy = p.ip;
		break;
	case PROXY_NONE:
		break;
	}
	h->introduced = true;
	return h->next.len > 0;
}

/* What any client can bring about by itself, so for those who look closely only. */
void http_log_tls(const struct conn *c)
{
	struct log *lg = &conn_shard(c)->set->log;
	const char *why = stream_tls_fault(&c->stream);
	char address[IP_TEXT_MAX] = "";

	if (lg->level > LOG_DEBUG || !why[0])
		return;
	if (c->kind == CONN_HTTP)
		ip_format(&http_of(c)->peer, address);
	log_debug(lg, "TLS failed", KV_STR("address", address), KV_STR("why", why));
}

/* May @c speak without TLS? A Unix socket never leaves the machine. */
static bool may_be_plain(const struct conn *c)
{
	const struct http_conn *h = http_of(c);

	return !h->only_tls && (!conn_shard(c)->set->tls.no_plain || !h->peer.len);
}

static void begin_tls(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct http_conn *h = http_of(c);
	/* All that has come so far goes to TLS: nothing that was sent in the clear is taken for what was said inside. */
	int r = stream_secure(&c->stream, sh->set->tls.server, now_ms(sh->now), buf_bytes(&h->next));

	buf_clear(&h->next);
	if (r == -ENOMEM)
		shard_problem(sh, WSC_ERROR, "tls", "out of memory");
	else if (r < 0)
		http_log_tls(c);
	if (r < 0)
		conn_kill(c, WS_CODE_ABNORMAL, true);
}

/* The first byte says what the client speaks. False: more must come, or the connection is done for. */
static bool step_tls(struct conn *c)
{
	const struct settings *set = conn_shard(c)->set;
	struct http_conn *h = http_of(c);

	if (h->decided || !set->tls.server)
		return true;
	if (h->next.at[0] == TLS_FIRST_BYTE && (h->only_tls || set->tls.same_port)) {
		h->decided = tls_first_whole(buf_bytes(&h->next));
		if (h->decided)
			begin_tls(c);
		return false;
	}
	h->decided = true;
	if (may_be_plain(c))
		return true;
	reject(c, &(struct http1_error){ 400, "this port speaks TLS: use https:// or wss://" });
	return false;
}

/* Looks for a head in what has come. False: more must come, or the connection is done for. */
static bool step_head(struct conn *c)
{
	struct http_conn *h = http_of(c);
	enum http1_result r;

	if (h->in.len == 0) {
		struct buf empty = h->in;

		h->in = h->next;
		h->next = empty;
		arm(c, conn_shard(c)->set->opt.header_timeout_ms);
	} else {
		buf_add(&h->in, buf_bytes(&h->next));
		buf_clear(&h->next);
	}
	if (h->in.failed) {
		out_of_memory(c);
		return false;
	}
	r = http1_parse_head(&h->parser, &conn_shard(c)->set->http, buf_bytes(&h->in), &h->head);
	if (r == HTTP1_ERROR)
		reject(c, &h->parser.error);
	if (r != HTTP1_DONE)
		return false;
	buf_add(&h->next, bytes_of(h->in.at + h->head.size, h->in.len - h->head.size));
	h->in.len = h->head.size;
	begin_request(c);
	return true;
}

/* Takes the body out of what has come, and serves the request when it is whole. */
static bool step_body(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct bytes in = buf_bytes(&h->next), piece;
	enum http1_result r;

	while ((r = http1_body_next(&h->body_state, &in, &piece)) == HTTP1_PIECE)
		buf_add(&h->body, piece);
	if (r != HTTP1_DONE && h->body.len >= BODY_SMALL &&
	    atomic_load_explicit(&conn_shard(c)->set->pressure.shared.step, memory_order_relaxed) ==
		    PRESSURE_CLOSE_SLOWEST) {
		h->keep_alive = false;
		refuse_str(c, API_OVERLOADED, "this node is short of memory (limits.memory)");
		return false;
	}
	buf_consume(&h->next, h->next.len - in.len);
	if (h->body.failed || h->next.failed)
		out_of_memory(c);
	else if (r == HTTP1_ERROR)
		reject(c, &h->body_state.error);
	else if (r == HTTP1_DONE)
		serve(c);
	else
		send_continue(c);
	return r == HTTP1_DONE;
}

static bool is_http(const struct conn *c)
{
	return c->phase != PHASE_DEAD && c->kind == CONN_HTTP;
}

/* Answers that the peer does not read must not pile up: while they wait for the socket, what is pipelined behind them does too. */
static bool room_for_answer(struct conn *c)
{
	struct http_conn *h = http_of(c);

	if (h->out.len < OUT_HIGH)
		return true;
	if (!flush(c))
		return false;
	if (h->out.len)
		stream_pause(&c->stream);
	return !h->out.len;
}

/* Serves what has come until a request must wait or more bytes must come. */
static void run(struct conn *c)
{
	struct http_conn *h = http_of(c);
	bool go_on = true;
	unsigned n = 0;

	h->running = true;
	while (go_on && is_http(c)) {
		if (h->state == HTTP_HEAD && h->next.len && n++ == STRETCH) {
			conn_defer(c);
			break;
		}
		if (h->state == HTTP_HEAD)
			go_on = h->next.len && room_for_answer(c) && step_proxy(c) && step_tls(c) && step_head(c);
		else if (h->state == HTTP_BODY)
			go_on = step_body(c);
		else
			go_on = false;
	}
	if (!is_http(c))
		return;
	h->running = false;
	if (!h->next.len)
		buf_deinit(&h->next);
	if (flush(c) && h->state == HTTP_LINGER && all_out(c) && !h->shut)
		linger(c);
}

void http_resume(struct conn *c)
{
	stream_resume(&c->stream);
	if (http_of(c)->state == HTTP_HEAD)
		run(c);
}

void http_on_data(struct conn *c, uint8_t *data, size_t len)
{
	struct http_conn *h = http_of(c);

	if (h->state == HTTP_LINGER)
		return;
	buf_add(&h->next, bytes_of(data, len));
	if (h->next.failed)
		conn_kill(c, WS_CODE_INTERNAL, false); /* with a hole in it, what comes is no HTTP any more */
	else if (h->state != HTTP_WAIT)
		run(c);
}

void http_on_end(struct conn *c)
{
	struct http_conn *h = http_of(c);

	/* A client may shut its side and still read the answer to what it has asked. */
	h->keep_alive = false;
	h->ended = true;
	if (h->state == HTTP_WAIT)
		return;
	if (!all_out(c))
		h->state = HTTP_LINGER;
	else
		conn_kill(c, WS_CODE_ABNORMAL, true);
}

void http_on_writable(struct conn *c)
{
	struct http_conn *h = http_of(c);

	if (!flush(c))
		return;
	if (!all_out(c)) {
		/* It reads: only a standstill ends it. */
		if (h->state == HTTP_LINGER || (h->state == HTTP_HEAD && !h->in.len))
			arm(c, IDLE_MS);
	} else if (h->state == HTTP_LINGER) {
		if (!h->shut)
			linger(c);
	} else if (h->state == HTTP_HEAD) {
		conn_resume(c);
		run(c); /* what waited behind the answers */
	}
}

/* The answer has waited for the socket for limits.write_timeout: what it refuses now is its end. */
static void judge_stall(struct conn *c)
{
	if (!all_out(c) && !offer(c))
		return;
	if (conn_stall_over(c)) {
		stream_abort(&c->stream);
		conn_kill(c, WS_CODE_TRY_LATER, false);
	} else {
		http_on_writable(c);
	}
}

void http_on_timer(struct conn *c)
{
	struct http_conn *h = http_of(c);
	uint64_t now = now_ms(conn_shard(c)->now);

	if (conn_stall_over(c)) {
		judge_stall(c);
		if (!is_http(c))
			return;
	}
	if (now < h->deadline_ms) {
		arm(c, h->deadline_ms - now);
	} else if (h->state < HTTP_WAIT && (c->stream.src.flags & STREAM_READABLE) && !stream_paused(&c->stream)) {
		/* Bytes that wait for us are not silence. */
		arm(c, 100);
	} else if (h->state == HTTP_WAIT) {
		/* Hooks and the hub have deadlines of their own. */
		arm(c, IDLE_MS);
	} else if (h->state == HTTP_LINGER || (h->state == HTTP_HEAD && !h->in.len)) {
		conn_kill(c, WS_CODE_ABNORMAL, false);
	} else {
		reject(c, &(struct http1_error){ 408, "the request did not arrive in time (limits.header_timeout)" });
	}
}

void http_drain(struct conn *c)
{
	struct http_conn *h = http_of(c);

	h->keep_alive = false;
	/* What has come and only waits for its turn is answered first. */
	if (h->state != HTTP_HEAD || h->in.len || c->deferred)
		return;
	if (!all_out(c))
		h->state = HTTP_LINGER; /* goes when the answer is out */
	else
		conn_kill(c, WS_CODE_GOING_AWAY, false);
}
