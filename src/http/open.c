/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open: see open.h. The steps stand in the table at the end, in order; each may refuse, which undoes the steps before. The
 * connection moves to its user's shard once, before its place there is reserved (a user lives on one worker).
 */
#include "http/open.h"

#include "base/mem.h"
#include "hook/request.h"
#include "http/admit.h"
#include "http/answer.h"
#include "http/http.h"
#include "http/serve.h"
#include "http/upgrade.h"
#include "proto/query.h"

static void go_on(struct conn *c);

/* ---- may it be asked for at all ---------------------------------------------------------------------------------------- */

/* Is the request for /ws a WebSocket handshake? */
static enum open_step check_handshake(struct conn *c)
{
	struct http_conn *h = http_of(c);
	const struct http1_out_field version = { "Sec-WebSocket-Version", BYTES("13") };
	const struct http1_out_field allow = { "Allow", BYTES("GET") };
	const struct http1_out_field *more = NULL;
	enum api_code code = API_BAD_REQUEST;
	struct ws_handshake hs;
	enum ws_upgrade u;

	if (h->open->transport != HUB_WEBSOCKET)
		return OPEN_ON;
	u = ws_check_upgrade(&h->head, &hs);
	h->open->wsc_v1 = hs.wsc_v1;
	memcpy(h->open->accept, hs.accept, sizeof hs.accept);
	if (u != WS_UPGRADE_OK && h->barred != END_NONE) {
		http_count_refused(c, end_code(h->barred));
		http_refuse(c, h->barred);
		return OPEN_OVER;
	}
	switch (u) {
	case WS_UPGRADE_OK:
		return OPEN_ON;
	case WS_UPGRADE_NONE:
		code = API_UPGRADE_REQUIRED;
		break;
	case WS_UPGRADE_BAD_METHOD:
		code = API_METHOD_NOT_ALLOWED;
		more = &allow;
		break;
	case WS_UPGRADE_BAD_VERSION:
		code = API_UPGRADE_REQUIRED;
		more = &version;
		break;
	case WS_UPGRADE_BAD_KEY:
	case WS_UPGRADE_BAD_REQUEST:
		break;
	}
	http_count_refused(c, code);
	http_refuse_as(c, 0, code, bytes_str(ws_upgrade_why(u)), more);
	return OPEN_OVER;
}

/* The gate's refusal, the drain, and the rate of new connections. */
static enum open_step check_gate(struct conn *c)
{
	struct http_conn *h = http_of(c);
	unsigned retry_s;

	http_wait(c);
	if (h->barred != END_NONE)
		return open_refuse(c, h->barred);
	if (conn_shard(c)->draining)
		return open_refuse(c, END_GOING_AWAY);
	if (!connect_allowed(conn_shard(c), &h->client, &retry_s))
		return open_refuse_later(c, END_CONNECT_RATE, retry_s);
	return OPEN_ON;
}

/* The first of each key counts. */
static enum open_step read_query(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct opening *o = h->open;
	const struct {
		struct bytes key;
		struct bytes *to;
	} keys[] = {
		{ BYTES("user_id"), &o->query_user },  { BYTES("user_type"), &o->query_type },
		{ BYTES("ticket_id"), &o->ticket_id }, { BYTES("role"), &o->role },
		{ BYTES("device_id"), &o->device_id }, { BYTES("client_type"), &o->client_type },
	};
	struct bytes key, value;
	struct query_iter it;
	int r;

	if (o->echo)
		return OPEN_ON;
	query_begin(&it, h->head.query, o->scratch);
	while ((r = query_next(&it, &key, &value)) == 0) {
		o->has_after |= bytes_eq(key, BYTES("after")) || bytes_eq(key, BYTES("last_event_id")) ||
				bytes_eq(key, BYTES("Last-Event-ID"));
		for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
			if (bytes_eq(key, keys[i].key) && !keys[i].to->at)
				*keys[i].to = value;
	}
	if (r == QUERY_BAD)
		return open_refuse(c, END_BAD_QUERY);
	for (size_t i = 1; i < sizeof keys / sizeof keys[0]; i++)
		if (keys[i].to->len && !envelope_id_ok(*keys[i].to))
			return open_refuse(c, END_BAD_ATTRIBUTE);
	o->has_after |= http1_header(&h->head, BYTES("last-event-id")).len > 0;
	return OPEN_ON;
}

/* ---- who is it ---------------------------------------------------------------------------------------------------------- */

static bool type_allowed(struct conn *c, struct bytes type)
{
	const struct texts *types = &conn_shard(c)->set->opt.user_types;

	for (size_t i = 0; i < types->n && i < 256; i++)
		if (bytes_eq(bytes_str(types->at[i]), type)) {
			http_of(c)->open->user_type = (uint8_t)i;
			return true;
		}
	return false;
}

static enum open_step identified(struct conn *c, struct bytes user, struct bytes type)
{
	struct opening *o = http_of(c)->open;

	if (!envelope_id_ok(user))
		return open_refuse(c, END_BAD_USER_ID);
	if (bytes_eq(user, BYTES("system")))
		return open_refuse(c, END_USER_SYSTEM);
	if (!type_allowed(c, type.len ? type : BYTES("customer")))
		return open_refuse(c, END_USER_TYPE);
	memcpy(o->user_id, user.at, user.len);
	o->user_id[user.len] = 0;
	return OPEN_ON;
}

static enum open_step authenticated(struct conn *c, int verdict, const struct wsc_identity *id, int status,
				    const char *reason)
{
	uint16_t s = (uint16_t)(status >= 400 && status <= 599 ? status : 401);

	if (verdict != 0 || !id->user_id[0])
		return open_refuse_as(c, s, api_code_of_status(s), hook_reason(reason, END_NOT_AUTHENTICATED));
	return identified(c, bytes_str(id->user_id), bytes_str(id->user_type));
}

static void auth_answered(struct shard *sh, struct wsc_pending *p)
{
	struct conn *c = conn_get(sh, p->about);
	enum open_step step;

	if (!c || c->kind != CONN_HTTP || !http_of(c)->open || http_of(c)->open->pending != p)
		return;
	http_of(c)->open->pending = NULL;
	if (p->timed_out)
		step = open_refuse(c, END_HOOK_TIMEOUT);
	else
		step = authenticated(c, p->verdict, &p->identity, p->status, p->reason);
	if (step == OPEN_ON)
		go_on(c);
	http_run(c);
}

static enum open_step ask_program(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct shard *sh = conn_shard(c);
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct wsc_identity id = { .user_id = "" };
	struct wsc_request req;
	struct wsc_call call;
	int verdict;

	if (request_init(&req, &h->head, h->path, BYTES(""), &h->client) < 0)
		return open_refuse(c, END_NO_MEMORY);
	hook_call_init(&call, sh);
	verdict = hooks->authenticate_user(hooks->user, &call, &req, &id);
	request_deinit(&req);
	if (verdict == WSC_PENDING && call.pending) {
		h->open->pending = call.pending;
		hook_wait(&call, auth_answered, NULL, conn_handle(c));
		return OPEN_WAIT;
	}
	hook_forget(&call);
	id.user_id[sizeof id.user_id - 1] = id.user_type[sizeof id.user_type - 1] = 0;
	return authenticated(c, verdict, &id, call.status, call.reason);
}

/* auth.mode open (docs/guide.md): the query, else the header; the header first when a trusted proxy sends it. */
static enum open_step identify(struct conn *c)
{
	const struct http_conn *h = http_of(c);
	const struct nets *trusted = &conn_shard(c)->set->opt.trusted;
	struct bytes user = h->open->query_user, header;
	bool once = http_user(c, &header);

	if (h->open->echo) {
		memcpy(h->open->user_id, "echo", sizeof "echo");
		return OPEN_ON;
	}
	if (conn_shard(c)->set->hooks.authenticate_user)
		return ask_program(c);
	if (!once)
		return open_refuse(c, END_TWO_USERS);
	if (header.len && (!user.len || ip_match(trusted->at, trusted->n, &h->peer)))
		user = header;
	if (!user.len)
		return open_refuse(c, END_USER_ID_REQUIRED);
	return identified(c, user, h->open->query_type);
}

/* HEAD of a stream gets the head that GET would get as things are; it takes no place and opens no session. */
static enum open_step answer_head(struct conn *c)
{
	struct http1_out_field f[STREAM_FIELDS];

	if (http_of(c)->head.method != HTTP1_HEAD)
		return OPEN_ON;
	http_answer_head(c, f, stream_fields(c, f));
	return OPEN_OVER;
}

/* ---- where does it live ------------------------------------------------------------------------------------------------- */

struct move {
	struct task task;
	int fd;
	struct http_conn *http;
	struct tls *tls;
};

static void arrive(struct shard *sh, struct task *t)
{
	struct move *m = container_of(t, struct move, task);
	struct conn *c = conn_open(sh, m->fd, m->http, http_conn_free);

	if (!c) {
		tls_free(m->tls);
	} else if (stream_give_tls(&c->stream, m->tls) < 0) {
		shard_problem(sh, WSC_ERROR, "tls", "out of memory");
		http_over(c, WS_CODE_INTERNAL, false);
	} else {
		timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + sh->set->opt.hook_timeout_ms * 2);
		conn_pause(c);
		go_on(c);
		http_run(c);
	}
	mem_free(m);
}

/* An echo belongs to no user, so it stays on the shard that accepted it. */
static enum open_step go_home(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	unsigned to = shard_of_user(sh->set, bytes_str(http_of(c)->open->user_id));
	struct move *m;

	if (to == sh->index || http_of(c)->open->echo)
		return OPEN_ON;
	m = mem_zalloc(sizeof *m);
	if (!m)
		return open_refuse(c, END_NO_MEMORY);
	m->task.run = arrive;
	m->http = http_of(c);
	m->fd = conn_detach(c, &m->tls);
	sh->post(sh, to, &m->task);
	return OPEN_OVER;
}

/* ---- the steps ------------------------------------------------------------------------------------------------------------ */

static enum open_step (*const steps[])(struct conn *c) = {
	check_handshake, check_gate, read_query, identify, answer_head, go_home, admit_attach, admit_ask, admit_accept,
};

static void go_on(struct conn *c)
{
	enum open_step step = OPEN_ON;

	while (step == OPEN_ON)
		step = steps[http_of(c)->open->step++](c);
}

static void begin(struct conn *c, enum hub_transport transport, bool echo)
{
	struct http_conn *h = http_of(c);
	struct opening *o = mem_zalloc(sizeof *o);

	opening_free(h->open);
	h->open = o;
	if (!o || !(o->scratch = mem_alloc(h->head.query.len + 1))) {
		http_count_refused(c, end_code(END_NO_MEMORY));
		http_refuse(c, END_NO_MEMORY);
		return;
	}
	o->transport = transport;
	o->echo = echo;
	go_on(c);
}

void serve_websocket(struct conn *c)
{
	begin(c, HUB_WEBSOCKET, false);
}

void serve_sse(struct conn *c)
{
	begin(c, HUB_SSE, false);
}

void serve_echo(struct conn *c)
{
	begin(c, HUB_WEBSOCKET, true);
}

void open_attached(struct conn *c)
{
	if (c->kind != CONN_HTTP || !http_of(c)->open || steps[http_of(c)->open->step] != admit_ask)
		return;
	go_on(c);
	http_run(c);
}
