/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: see http.h. The states of http_conn.h, each with a step that takes what it can; http_run() goes on until nothing
 * moves, then sends. A step and an answer never call http_run(), so nothing here re-enters.
 */
#include "http/http.h"

#include <errno.h>
#include "http/answer.h"
#include "http/gate.h"
#include "proto/proxy.h"
#include "proto/query.h"

#define BODY_FACTOR 3u /* a whole body may take this many header_timeouts */
#define LINGER_MS 2000u
#define STRETCH 32u       /* requests that are served in one stretch, then the others have their turn */
#define BODY_SMALL 16384u /* while memory is out, a body that grows beyond this is refused */
#define OUT_HIGH 65536u   /* so many bytes of answers wait for the socket: then no further request is taken */

struct conn *http_accept(struct shard *sh, int fd, const struct ip *peer, bool only_tls)
{
	struct conn *c = conn_open(sh, fd, http_conn_new(peer), http_conn_free);

	if (!c)
		return NULL;
	http_of(c)->only_tls = only_tls;
	http_of(c)->overloaded =
		atomic_load_explicit(&sh->set->shared.connections, memory_order_relaxed) > sh->set->max_connections;
	http_arm(c, sh->set->opt.header_timeout_ms);
	return c;
}

/* ---- the way out ------------------------------------------------------------------------------------------------------ */

/* Is there no byte of an answer left, here or in TLS? */
static bool is_sent(const struct conn *c)
{
	return !http_of(c)->out.len && !stream_holds(&c->stream);
}

/* One send. False: the connection has ended. */
static bool offer(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct iovec iov = { h->out.at + h->out_sent, h->out.len - h->out_sent };
	ptrdiff_t n = stream_send(&c->stream, &iov, 1);

	if (n < 0) {
		http_over(c, WS_CODE_ABNORMAL, true);
		return false;
	}
	h->out_sent += (size_t)n;
	if (c->stalled_ms || stream_blocked(&c->stream))
		conn_stall(c, stream_moved(&c->stream));
	return true;
}

/* False: the connection has ended. */
static bool flush(struct conn *c)
{
	struct http_conn *h = http_of(c);

	while (h->out_sent < h->out.len && !stream_blocked(&c->stream))
		if (!offer(c))
			return false;
	/* TLS may have sent what it held without an offer of ours. */
	if (c->stalled_ms)
		conn_stall(c, stream_moved(&c->stream));
	if (h->out_sent == h->out.len && h->out.len) {
		buf_deinit(&h->out);
		h->out_sent = 0;
	}
	return true;
}

/* The last answer is out: our side is shut, and the peer gets the time to read it. */
static void linger(struct conn *c)
{
	struct http_conn *h = http_of(c);

	http_move(h, HTTP_LINGER);
	buf_deinit(&h->next);
	stream_shutdown(&c->stream);
	if (h->peer_done) {
		http_over(c, WS_CODE_ABNORMAL, true);
		return;
	}
	conn_resume(c);
	http_arm(c, LINGER_MS);
}

/* Sends what is there, and ends behind the last answer. */
static void send_answers(struct conn *c)
{
	if (flush(c) && http_of(c)->state == HTTP_LAST && is_sent(c))
		linger(c);
}

/* ---- the head ----------------------------------------------------------------------------------------------------------- */

/* Refuses the request, and the connection ends. */
static void reject(struct conn *c, enum end e)
{
	http_of(c)->keep_alive = false;
	http_refuse(c, e);
}

static void out_of_memory(struct conn *c)
{
	reject(c, END_NO_MEMORY);
}

/* A trusted proxy may name its client, once, before the first request. False: more must come, or the header is broken. */
static bool step_proxy(struct conn *c)
{
	const struct nets *trusted = &conn_shard(c)->set->opt.trusted;
	struct http_conn *h = http_of(c);
	struct proxy_header p;

	if (ip_match(trusted->at, trusted->n, &h->peer)) {
		switch (proxy_parse(buf_bytes(&h->next), &p)) {
		case PROXY_MORE:
			return false;
		case PROXY_BAD:
			reject(c, END_BAD_PROXY_HEADER);
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
	}
	http_move(h, HTTP_TLS);
	return true;
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
	/* Every byte so far goes to TLS, so that nothing sent in the clear is taken for bytes from inside TLS. */
	int r = stream_secure(&c->stream, sh->set->tls.server, now_ms(sh->now), buf_bytes(&h->next));

	buf_clear(&h->next);
	if (r == 0)
		return;
	if (r == -ENOMEM)
		shard_problem(sh, WSC_ERROR, "tls", "out of memory");
	else
		conn_log_tls(c, &h->peer);
	http_over(c, WS_CODE_ABNORMAL, true);
}

/* The first byte tells what the client speaks. False: more must come, or the connection is done for. */
static bool step_tls(struct conn *c)
{
	const struct settings *set = conn_shard(c)->set;
	struct http_conn *h = http_of(c);

	if (set->tls.server) {
		if (h->next.at[0] == TLS_FIRST_BYTE && (h->only_tls || set->tls.same_port)) {
			if (!tls_first_whole(buf_bytes(&h->next)))
				return false;
			http_move(h, HTTP_HEAD);
			begin_tls(c);
			return false;
		}
		if (!may_be_plain(c)) {
			reject(c, END_TLS_PORT);
			return false;
		}
	}
	http_move(h, HTTP_HEAD);
	return true;
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
		http_refuse(c, END_NO_SUCH_PATH);
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

static void refuse_method(struct conn *c)
{
	struct buf allow = BUF_INIT;

	routes_allow(&conn_shard(c)->set->routes, http_of(c)->path, &allow);
	http_refuse_as(c, 0, end_code(END_NO_SUCH_METHOD), bytes_str(end_why(END_NO_SUCH_METHOD)),
		       &(struct http1_out_field){ "Allow", buf_bytes(&allow) });
	buf_deinit(&allow);
}

static void refuse_barred(struct conn *c, enum end barred)
{
	const struct route *r = http_of(c)->route;

	if (r && (r->type->flags & ROUTE_SESSION))
		http_count_refused(c, end_code(barred));
	http_refuse(c, barred);
}

/* Refuses a request before its body is read. A refusal with a body still to come ends the connection. False: refused. */
static bool gate(struct conn *c)
{
	struct http_conn *h = http_of(c);
	enum route_found found = ROUTE_NO_PATH;
	bool decoded = decode_path(h);
	enum end barred;

	if (decoded)
		found = routes_find(&conn_shard(c)->set->routes, h->head.method_name, h->path, &h->route);
	barred = gate_barred(c);
	if (barred != END_NONE && (found != ROUTE_FOUND || !(h->route->type->flags & ROUTE_HANDSHAKE)))
		refuse_barred(c, barred);
	else if (!decoded)
		http_refuse(c, END_BAD_PATH);
	else if (h->head.method == HTTP1_OPTIONS && found != ROUTE_FOUND)
		preflight(c);
	else if (found == ROUTE_NO_PATH)
		http_refuse(c, END_NO_SUCH_PATH);
	else if (found == ROUTE_NO_METHOD)
		refuse_method(c);
	else {
		/* The client of a handshake may want a close code, so the opening tells it. */
		h->barred = barred;
		return true;
	}
	return false;
}

static bool has_body(const struct http1_head *head)
{
	return head->chunked || head->content_length > 0;
}

/*
 * A proxy may take a refused upgrade for a tunnel, so nothing more may be read from it. A connection that came when the
 * node was full makes room for others that are to be told so.
 */
static bool may_keep(const struct http_conn *h)
{
	return h->head.keep_alive && !h->head.upgrade && !h->overloaded;
}

static void begin_request(struct conn *c)
{
	struct http_conn *h = http_of(c);
	const struct options *opt = &conn_shard(c)->set->opt;

	http_move(h, h->head.expect_continue && has_body(&h->head) ? HTTP_EXPECT : HTTP_BODY);
	h->requests++;
	/* Behind a refusal an unread body would be taken for a request. */
	h->keep_alive = may_keep(h) && !has_body(&h->head);
	h->client = gate_client_ip(c);
	if (!gate(c))
		return;
	h->keep_alive = may_keep(h);
	if (http1_body_init(&h->body_state, &h->head, opt->max_message_bytes) == HTTP1_ERROR)
		http_reject(c, &h->body_state.error);
	else if (has_body(&h->head))
		http_arm(c, opt->header_timeout_ms * BODY_FACTOR);
}

/* Looks for a whole head. False: more must come, or the connection is done for. */
static bool step_head(struct conn *c)
{
	struct http_conn *h = http_of(c);
	enum http1_result r;

	if (h->in.len == 0) {
		struct buf empty = h->in;

		h->in = h->next;
		h->next = empty;
		http_arm(c, conn_shard(c)->set->opt.header_timeout_ms);
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
		http_reject(c, &h->parser.error);
	if (r != HTTP1_DONE)
		return false;
	buf_add(&h->next, bytes_of(h->in.at + h->head.size, h->in.len - h->head.size));
	h->in.len = h->head.size;
	begin_request(c);
	return true;
}

/* ---- the body ----------------------------------------------------------------------------------------------------------- */

/* Takes the body, and serves the request when it is whole. False: more must come, or the connection is done for. */
static bool step_body(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct bytes in = buf_bytes(&h->next), chunk;
	enum http1_result r;

	while ((r = http1_body_next(&h->body_state, &in, &chunk)) == HTTP1_CHUNK)
		buf_add(&h->body, chunk);
	if (r != HTTP1_DONE && h->body.len >= BODY_SMALL &&
	    atomic_load_explicit(&conn_shard(c)->set->pressure.shared.step, memory_order_relaxed) ==
		    PRESSURE_CLOSE_SLOWEST) {
		reject(c, END_NODE_MEMORY);
		return false;
	}
	buf_consume(&h->next, h->next.len - in.len);
	if (h->body.failed || h->next.failed) {
		out_of_memory(c);
	} else if (r == HTTP1_ERROR) {
		http_reject(c, &h->body_state.error);
	} else if (r == HTTP1_DONE) {
		h->route->type->serve(c);
		return true;
	} else if (h->state == HTTP_EXPECT) {
		http_move(h, HTTP_BODY);
		buf_add_str(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
	}
	return false;
}

/* ---- one request after the other ------------------------------------------------------------------------------------------ */

/* Answers that the peer does not read must not pile up: while they wait for the socket, pipelined requests wait too. */
static bool room_for_answer(struct conn *c)
{
	struct http_conn *h = http_of(c);

	if (h->out.len < OUT_HIGH)
		return true;
	if (!flush(c))
		return false;
	if (h->out.len)
		conn_pause(c);
	return !h->out.len;
}

static bool step(struct conn *c)
{
	switch (http_of(c)->state) {
	case HTTP_PROXY:
		return http_of(c)->next.len && step_proxy(c);
	case HTTP_TLS:
		return http_of(c)->next.len && step_tls(c);
	case HTTP_HEAD:
		return http_of(c)->next.len && room_for_answer(c) && step_head(c);
	case HTTP_EXPECT:
	case HTTP_BODY:
		return step_body(c);
	default:
		return false;
	}
}

/* Did the request that was served leave an HTTP connection? It may be a session now, or on another worker. */
static bool is_http(const struct conn *c)
{
	return c->kind == CONN_HTTP && c->phase != PHASE_ENDED;
}

void http_run(struct conn *c)
{
	bool go_on = true;

	for (unsigned n = 0; go_on && is_http(c); go_on = go_on && step(c))
		if (http_of(c)->state == HTTP_HEAD && http_of(c)->next.len && n++ == STRETCH) {
			conn_defer(c);
			go_on = false;
		}
	if (!is_http(c))
		return;
	if (!http_of(c)->next.len)
		buf_deinit(&http_of(c)->next);
	send_answers(c);
}

/* ---- the kind ------------------------------------------------------------------------------------------------------------- */

static void on_data(struct conn *c, uint8_t *data, size_t len)
{
	struct http_conn *h = http_of(c);

	if (h->state == HTTP_LAST || h->state == HTTP_LINGER)
		return;
	buf_add(&h->next, bytes_of(data, len));
	if (h->next.failed)
		http_over(c, WS_CODE_INTERNAL, false); /* with a hole in it, the input is no HTTP any more */
	else if (h->state != HTTP_WAIT)
		http_run(c);
}

static void on_end(struct conn *c, int error)
{
	struct http_conn *h = http_of(c);

	conn_log_tls(c, &h->peer);
	if (error) {
		http_over(c, WS_CODE_ABNORMAL, true);
		return;
	}
	/* A client may shut its side and still read the answer to its request. */
	h->keep_alive = false;
	h->peer_done = true;
	if (h->state == HTTP_WAIT)
		return;
	if (is_sent(c))
		http_over(c, WS_CODE_ABNORMAL, true);
	else if (h->state < HTTP_LAST)
		http_move(h, HTTP_LAST);
}

static bool is_idle(const struct http_conn *h)
{
	return h->state <= HTTP_HEAD && !h->in.len;
}

static void on_writable(struct conn *c)
{
	struct http_conn *h = http_of(c);

	if (!flush(c))
		return;
	if (!is_sent(c)) {
		/* The client reads, so only a standstill ends it. */
		if (h->state >= HTTP_LAST || is_idle(h))
			http_arm(c, HTTP_IDLE_MS);
	} else if (h->state == HTTP_LAST) {
		linger(c);
	} else if (h->state <= HTTP_HEAD) {
		conn_resume(c);
		http_run(c); /* the requests that waited behind the answers */
	}
}

/* The answer has waited for the socket for limits.write_timeout: the end, if the socket refuses it once more. */
static void judge_stall(struct conn *c)
{
	if (!is_sent(c) && !offer(c))
		return;
	if (conn_stall_over(c)) {
		stream_abort(&c->stream);
		http_over(c, WS_CODE_TRY_LATER, false);
	} else {
		on_writable(c);
	}
}

static void on_timer(struct conn *c)
{
	struct http_conn *h;
	uint64_t now = now_ms(conn_shard(c)->now);

	if (conn_stall_over(c)) {
		judge_stall(c);
		if (!is_http(c))
			return;
	}
	h = http_of(c);
	if (now < h->deadline_ms) {
		http_arm(c, h->deadline_ms - now);
	} else if (h->state < HTTP_WAIT && (c->stream.src.flags & STREAM_READABLE) && !stream_paused(&c->stream)) {
		/* Bytes that wait for us are no silence. */
		http_arm(c, 100);
	} else if (h->state == HTTP_WAIT) {
		/* Hooks and the hub have deadlines of their own. */
		http_arm(c, HTTP_IDLE_MS);
	} else if (h->state >= HTTP_LAST || is_idle(h)) {
		http_over(c, WS_CODE_ABNORMAL, false);
	} else {
		reject(c, END_REQUEST_TIMEOUT);
		http_run(c);
	}
}

static void resume(struct conn *c)
{
	conn_resume(c);
	http_run(c);
}

static void drain(struct conn *c)
{
	struct http_conn *h = http_of(c);

	h->keep_alive = false;
	/* A request that was received and waits for its turn is answered first. */
	if (!is_idle(h) || conn_waits(c))
		return;
	if (is_sent(c))
		http_over(c, WS_CODE_GOING_AWAY, false);
	else
		http_move(h, HTTP_LAST); /* ends when the answer is out */
}

static void free_http(struct conn *c)
{
	http_conn_free(http_of(c));
}

const struct conn_kind http_kind = {
	.form = -1,
	.on_data = on_data,
	.on_end = on_end,
	.on_writable = on_writable,
	.on_timer = on_timer,
	.resume = resume,
	.drain = drain,
	.free = free_http,
};
