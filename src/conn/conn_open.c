/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_open: from a request for /ws or /sse to a session: who is it, may it, where does it live, is there room, what does
 * the program say. Each step may end in a refusal, which undoes the ones before; two of them may wait for the program.
 * The connection moves to its user's shard once, before its place is reserved (a user lives on one worker).
 */
#include "conn/conn_http.h"

#include <stdio.h>
#include "base/mem.h"
#include "base/siphash.h"
#include "proto/query.h"
#include "wsc/error.h"

/* Well below EVICTED_MS: a stream that lost its place comes back after this and the way, and must still find its 204. */
#define RETRY_BASE_MS 2000u
#define RETRY_JITTER_MS 2000u

void opening_free(struct opening *o)
{
	if (!o)
		return;
	mem_free(o->scratch);
	mem_free(o);
}

/* ---- becoming a session ---------------------------------------------------------------------------------------------- */

#define STREAM_FIELDS 8

static size_t stream_fields(const struct conn *c, struct http1_out_field f[STREAM_FIELDS])
{
	size_t n = 0;

	f[n++] = (struct http1_out_field){ "Content-Type", BYTES(SSE_CONTENT_TYPE) };
	f[n++] = (struct http1_out_field){ "Cache-Control", BYTES("no-store") };
	f[n++] = (struct http1_out_field){ "X-Accel-Buffering", BYTES("no") };
	f[n++] = (struct http1_out_field){ "Connection", BYTES("close") };
	return n + http_cors(c, f + n);
}

/* Writes the head of a 101 or of a stream into what goes out before everything else. */
static int write_head(struct conn *c, struct buf *out)
{
	struct http_conn *h = http_of(c);
	struct opening *o = h->open;
	struct settings *set = conn_shard(c)->set;
	struct http1_out_field f[16];
	char id[CLIENT_ID_TEXT], answer[WS_DEFLATE_ANSWER_MAX];
	struct bytes extension = { 0 };
	size_t n = 0;

	client_id_text(c, id);
	f[n++] = (struct http1_out_field){ "X-WSC-Client-ID", bytes_str(id) };
	f[n++] = (struct http1_out_field){ "X-WSC-Node-ID", bytes_str(set->node_id) };
	if (o->transport == HUB_WEBSOCKET) {
		f[n++] = (struct http1_out_field){ "Upgrade", BYTES("websocket") };
		f[n++] = (struct http1_out_field){ "Connection", BYTES("Upgrade") };
		f[n++] = (struct http1_out_field){ "Sec-WebSocket-Accept", bytes_of(o->accept, sizeof o->accept) };
		/* One that is refused by close code has no session any more. */
		if (c->session.state != SESSION_NONE)
			extension = deflate_agree(c, &h->head, answer);
		if (extension.len)
			f[n++] = (struct http1_out_field){ "Sec-WebSocket-Extensions", extension };
		if (o->wsc_v1)
			f[n++] = (struct http1_out_field){ "Sec-WebSocket-Protocol", BYTES(WS_SUBPROTOCOL) };
	} else {
		n += stream_fields(c, f + n);
	}
	return http1_write_head(out, o->transport == HUB_WEBSOCKET ? 101 : 200, f, n);
}

/* HTTP is over: what was not sent yet and the new head become control bytes. What came behind the request is returned. */
static struct buf become(struct conn *c, bool *ok)
{
	struct http_conn *h = http_of(c);
	struct shard *sh = conn_shard(c);
	struct buf next = h->next, out = h->out;
	size_t sent = h->out_sent;
	enum hub_transport transport = h->open->transport;
	uint8_t retry[SSE_RETRY_MAX];

	*ok = write_head(c, &out) == 0;
	if (transport == HUB_SSE)
		buf_add(&out,
			bytes_of(retry, sse_write_retry(retry, RETRY_BASE_MS + (uint32_t)rng_below(&sh->rng,
												   RETRY_JITTER_MS))));
	h->next = h->out = BUF_INIT;
	http_free(h);
	c->at.extra = NULL;
	c->kind = transport == HUB_WEBSOCKET ? CONN_WS : CONN_SSE;
	*ok = *ok && !out.failed && conn_extra(c);
	if (*ok) {
		c->at.extra->ctl = out;
		c->at.extra->ctl_sent = sent;
	} else {
		buf_deinit(&out);
	}
	return next;
}

/* Upgrades only to close: a browser cannot see the status of a refused handshake. */
static void refuse_by_close(struct conn *c, uint16_t code, struct bytes why)
{
	struct shard *sh = conn_shard(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	bool ok;
	struct buf next = become(c, &ok);

	buf_deinit(&next);
	if (!ok) {
		conn_kill(c, WS_CODE_INTERNAL, false);
		return;
	}
	ws_decoder_init(&c->u.ws, false);
	buf_add(&c->at.extra->ctl, bytes_of(frame, ws_close(frame, code, why)));
	c->close_queued = true;
	c->phase = PHASE_CLOSING;
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + 5000);
	conn_resume(c);
	conn_flush(c);
}

static void refuse_status(struct conn *c, uint16_t status, enum api_code code, struct bytes why, unsigned retry_s)
{
	struct http_conn *h = http_of(c);
	char text[16];
	int n = snprintf(text, sizeof text, "%u", retry_s);
	struct http1_out_field retry = { "Retry-After", bytes_of(text, (size_t)n) };

	if (h->open->transport == HUB_WEBSOCKET && h->open->wsc_v1) {
		refuse_by_close(c, api_code_close(code), why);
		return;
	}
	opening_free(h->open);
	h->open = NULL;
	http_refuse(c, status, code, why, retry_s ? &retry : NULL);
}

static void refuse(struct conn *c, enum api_code code, const char *why)
{
	refuse_status(c, 0, code, bytes_str(why), 0);
}

/* ---- accepted ------------------------------------------------------------------------------------------------------------ */

static struct msg *connected_message(struct conn *c)
{
	struct buf extra = BUF_INIT;
	char id[CLIENT_ID_TEXT];
	struct msg *m;

	client_id_text(c, id);
	buf_add_str(&extra, "\"user_id\":");
	json_add_string(&extra, session_user(&c->session));
	buf_addf(&extra, ",\"client_id\":\"%s\"", id);
	m = extra.failed ? NULL
			 : shard_message(conn_shard(c), BYTES("connected"), session_user(&c->session),
					 BYTES("connected"), BYTES(""), buf_bytes(&extra));
	buf_deinit(&extra);
	return m;
}

static struct msg *program_message(struct shard *sh, const struct wsc_message *w, struct bytes to)
{
	struct bytes data = bytes_str(w->data);
	struct json_value v;

	if (data.len && (json_check(data, &v) != JSON_OK || v.type != JSON_OBJECT)) {
		shard_problem(sh, WSC_ERROR, "hook", "welcome_message: data is not a JSON object");
		data = BYTES("");
	}
	return shard_message(sh, w->type ? bytes_str(w->type) : BYTES("welcome"), to,
			     bytes_of(w->content, w->content_len ? w->content_len
						  : w->content   ? strlen(w->content)
								 : 0),
			     data, BYTES(""));
}

/* False: no memory. @out NULL: none is wanted. */
static bool welcome(struct conn *c, struct msg **out)
{
	struct shard *sh = conn_shard(c);
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct wsc_message w = { 0 };
	char id[CLIENT_ID_TEXT];
	struct wsc_client client;

	*out = NULL;
	if (!hooks->welcome_message)
		return true;
	client_of(c, &client, id);
	if (!hooks->welcome_message(hooks->user, &client, &w))
		return true;
	*out = program_message(sh, &w, session_user(&c->session));
	return *out != NULL;
}

/* The first messages, in order: connected (SSE), the welcome, the answer to a wish to resume. */
static unsigned front_messages(struct conn *c, bool sse, bool wants_resume, struct msg *front[3])
{
	unsigned n = 0;

	if (sse)
		front[n++] = connected_message(c);
	if (!welcome(c, &front[n]) || front[n])
		n++; /* no memory: an empty place is seen by the caller */
	/* There is no log: whatever was missed is missed, and the client is told so. */
	if (wants_resume)
		front[n++] = shard_message(conn_shard(c), BYTES("resumed"), session_user(&c->session),
					   BYTES("nothing is stored (store.kind: none)"), BYTES("{\"complete\":false}"),
					   BYTES(""));
	return n;
}

static void accept_session(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct opening *o = http_of(c)->open;
	bool sse = o->transport == HUB_SSE, wants_resume = o->has_after, ok;
	struct msg *front[3];
	struct buf next;
	unsigned n;
	uint64_t caller = c->u.sse.caller;

	c->accepted = !o->echo; /* the program knows nothing of an echo */
	n = o->echo ? 0 : front_messages(c, sse, wants_resume, front);
	next = become(c, &ok);
	for (unsigned i = 0; i < n; i++)
		ok = ok && front[i];
	if (ok && c->session.state != SESSION_CLOSING)
		ok = hub_accept(sh->hub, &c->session, front, n, NULL, sh->now) == 0;
	for (unsigned i = 0; i < n; i++)
		if (front[i])
			msg_unref(front[i]);
	if (!ok) {
		buf_deinit(&next);
		shard_problem(sh, WSC_ERROR, "accept", "out of memory");
		conn_kill(c, WS_CODE_INTERNAL, false);
		return;
	}
	conn_resume(c);
	hub_ready(sh->hub, &c->session);
	if (sse) {
		c->u.sse.caller = caller;
		sse_begin(c);
	} else {
		ws_begin(c);
		if (next.len)
			ws_on_data(c, next.at, next.len);
	}
	buf_deinit(&next);
	/* Let in by the program while all others were told to go. */
	if (sh->draining)
		hub_close(sh->hub, &c->session, WS_CODE_GOING_AWAY, "the server is going away", false);
}

/* The program does not want it: everything is undone. Any WebSocket is told by close code. */
static void refuse_client(struct conn *c, struct bytes why)
{
	struct shard *sh = conn_shard(c);
	bool ws = http_of(c)->open->transport == HUB_WEBSOCKET;

	hub_detach(sh->hub, &c->session, sh->now);
	if (ws)
		refuse_by_close(c, 4403, why);
	else
		refuse_status(c, 0, API_REFUSED, why, 0);
}

/* ---- on_client_connect ----------------------------------------------------------------------------------------------------- */

/* A client as it was, for a hook that says yes when the client has gone. */
struct saved_client {
	struct wsc_client client;
	char id[CLIENT_ID_TEXT];
	char text[];
};

static const char *save_text(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = memcpy(*at, s, n);

	*at += n;
	return to;
}

static void *save_client(const struct conn *c)
{
	char id[CLIENT_ID_TEXT], *at;
	struct saved_client *s;
	struct wsc_client w;

	client_of(c, &w, id);
	s = mem_alloc(sizeof *s + strlen(w.user_id) + strlen(w.user_type) + strlen(w.ticket_id) + strlen(w.role) +
		      strlen(w.device_id) + strlen(w.client_type) + 6);
	if (!s)
		return NULL;
	at = s->text;
	s->client = w;
	memcpy(s->id, id, sizeof id);
	s->client.client_id = s->id;
	s->client.user_id = save_text(&at, w.user_id);
	s->client.user_type = save_text(&at, w.user_type);
	s->client.ticket_id = save_text(&at, w.ticket_id);
	s->client.role = save_text(&at, w.role);
	s->client.device_id = save_text(&at, w.device_id);
	s->client.client_type = save_text(&at, w.client_type);
	return s;
}

/* The program has let in somebody who is not there any more: it is told that they have left. */
static void connect_too_late(struct shard *sh, struct wsc_pending *p)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct saved_client *s = p->target;
	struct wsc_disconnect why = { .code = p->timed_out ? 4403 : WS_CODE_ABNORMAL,
				      .by_client = !p->timed_out,
				      .reason = p->timed_out ? "the program did not answer in time"
							     : "gone before it was let in" };

	if (p->verdict == 0 && hooks->on_client_disconnect) {
		s->client.connections = 0;
		hooks->on_client_disconnect(hooks->user, &s->client, &why);
	}
	mem_free(s);
}

static void connect_answered(struct shard *sh, struct wsc_pending *p)
{
	struct conn *c = conn_get(sh, p->conn);

	if (!c || c->kind != CONN_HTTP || !http_of(c)->open || http_of(c)->open->pending != p) {
		if (!p->timed_out)
			connect_too_late(sh, p);
		return;
	}
	http_of(c)->open->pending = NULL;
	if (p->timed_out) {
		hub_detach(sh->hub, &c->session, sh->now);
		refuse(c, API_HOOK_TIMEOUT, "the program did not answer in time");
		return; /* the saved client stays for connect_too_late() */
	}
	mem_free(p->target);
	if (p->verdict == 0)
		accept_session(c);
	else
		refuse_client(c, hook_reason(p->reason, "refused by the program"));
}

static void ask_connect(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	const struct wsc_hooks *hooks = &sh->set->hooks;
	char id[CLIENT_ID_TEXT];
	struct wsc_client client;
	struct wsc_call call;
	int verdict;

	if (!hooks->on_client_connect || http_of(c)->open->echo) {
		accept_session(c);
		return;
	}
	client_of(c, &client, id);
	hook_call_init(&call, sh);
	call.save = save_client;
	call.about = c;
	verdict = hooks->on_client_connect(hooks->user, &call, &client);
	if (verdict == WSC_PENDING && call.pending) {
		http_of(c)->open->pending = call.pending;
		call.pending->late = connect_too_late;
		hook_wait(&call, connect_answered, call.pending->target, conn_handle(c));
		return;
	}
	hook_forget(&call);
	if (verdict == 0)
		accept_session(c);
	else
		refuse_client(c, hook_reason(call.reason, "refused by the program"));
}

/* ---- its place in the hub ------------------------------------------------------------------------------------------------------ */

static uint64_t caller_hash(const struct conn *c)
{
	const struct http_conn *h = http_of(c);
	struct bytes agent = http1_header(&h->head, BYTES("user-agent"));
	const uint64_t *seed = conn_shard(c)->set->seed;

	return siphash13(seed, h->head.target) ^ siphash13(seed, agent) * 3 ^
	       siphash13(seed, bytes_of(h->client.at, h->client.len)) * 5;
}

static void attach(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct opening *o = http_of(c)->open;
	struct hub_identity id = {
		.user_id = bytes_str(o->user_id),
		.ticket_id = o->ticket_id,
		.role = o->role,
		.device_id = o->device_id,
		.client_type = o->client_type,
		.user_type = o->user_type,
		.transport = (uint8_t)o->transport,
		.hidden = o->echo,
		.handle = conn_handle(c),
	};
	int r;

	if (o->transport == HUB_SSE) {
		c->u.sse.caller = caller_hash(c);
		if (evicted_recently(sh, c->u.sse.caller)) {
			struct http1_out_field fields[4];

			opening_free(o);
			http_of(c)->open = NULL;
			/* An EventSource does not come back after this, if its page may see it. */
			http_answer(c, 204, NULL, BYTES(""), fields, http_cors(c, fields));
			return;
		}
	}
	if (sh->draining) { /* the program was asked before, or it comes from another shard */
		refuse(c, API_SHUTTING_DOWN, "the server is going away");
		return;
	}
	/* The same connection may have been refused with its session before. */
	c->session = (struct session){ .last_rx_ms = (uint32_t)now_ms(sh->now) };
	r = hub_attach(sh->hub, &c->session, &id, sh->now);
	if (r == HUB_TOO_MANY)
		refuse(c, API_TOO_MANY_CONNECTIONS,
		       "this user has as many connections as allowed (max_connections_per_user)");
	else if (r < 0)
		refuse(c, API_OVERLOADED, "out of memory");
	else if (r == HUB_WAIT)
		o->waits = OPEN_ATTACH;
	else
		ask_connect(c);
}

void open_attached(struct conn *c)
{
	if (c->kind == CONN_HTTP && http_of(c)->open && http_of(c)->open->waits == OPEN_ATTACH)
		ask_connect(c);
}

/* ---- the move -------------------------------------------------------------------------------------------------------------------- */

struct move {
	struct task task;
	int fd;
	struct http_conn *http;
	struct tls *tls;
};

static void arrive(struct shard *sh, struct task *t)
{
	struct move *m = container_of(t, struct move, task);
	struct conn *c = conn_new(sh, m->fd, &m->http->peer, m->http);

	if (!c)
		tls_free(m->tls);
	else if (stream_give_tls(&c->stream, m->tls) < 0) {
		shard_problem(sh, WSC_ERROR, "tls", "out of memory");
		conn_kill(c, WS_CODE_INTERNAL, false);
		c = NULL;
	}
	mem_free(m);
	if (!c)
		return;
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + sh->set->opt.hook_timeout_ms * 2);
	stream_pause(&c->stream);
	attach(c);
}

static void move_to(struct conn *c, unsigned to)
{
	struct shard *sh = conn_shard(c);
	struct move *m = mem_zalloc(sizeof *m);

	if (!m) {
		refuse(c, API_OVERLOADED, "out of memory");
		return;
	}
	m->task.run = arrive;
	m->tls = stream_take_tls(&c->stream);
	m->fd = stream_detach(&c->stream);
	m->http = http_of(c);
	m->http->running = false;
	c->at.http = NULL;
	c->phase = PHASE_DEAD;
	timers_cancel(&sh->timers, &c->timer);
	list_push(&sh->dead, &c->stream.link);
	sh->post(sh, to, &m->task);
}

static void go_home(struct conn *c)
{
	unsigned to = shard_of_user(conn_shard(c)->set, bytes_str(http_of(c)->open->user_id));

	if (to != conn_shard(c)->index)
		move_to(c, to);
	else
		attach(c);
}

/* ---- who is it ---------------------------------------------------------------------------------------------------------------------- */

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

/* HEAD of a stream: the head that GET would get as things are, but no session; its place is not looked for. */
static void answer_head(struct conn *c)
{
	struct http1_out_field f[STREAM_FIELDS];

	http_answer_head(c, f, stream_fields(c, f));
}

static void identified(struct conn *c, struct bytes user, struct bytes type)
{
	struct opening *o = http_of(c)->open;

	if (!envelope_id_ok(user)) {
		refuse(c, API_BAD_REQUEST, "user_id must be 1 to 128 bytes of UTF-8 without control characters");
	} else if (bytes_eq(user, BYTES("system"))) {
		refuse(c, API_FORBIDDEN_USER_ID, "system is the gateway's own id");
	} else if (!type_allowed(c, type.len ? type : BYTES("customer"))) {
		refuse(c, API_FORBIDDEN_USER_TYPE, "this user_type is not in security.allowed_user_types");
	} else {
		memcpy(o->user_id, user.at, user.len);
		o->user_id[user.len] = 0;
		if (http_of(c)->head.method == HTTP1_HEAD)
			answer_head(c);
		else
			go_home(c);
	}
}

static void authenticated(struct conn *c, int verdict, const struct wsc_identity *id, int status, const char *reason)
{
	uint16_t s = (uint16_t)(status >= 400 && status <= 599 ? status : 401);

	if (verdict != 0 || !id->user_id[0])
		refuse_status(c, s, api_code_of_status(s), hook_reason(reason, "not authenticated"), 0);
	else
		identified(c, bytes_str(id->user_id), bytes_str(id->user_type));
}

static void auth_answered(struct shard *sh, struct wsc_pending *p)
{
	struct conn *c = conn_get(sh, p->conn);

	if (!c || c->kind != CONN_HTTP || !http_of(c)->open || http_of(c)->open->pending != p)
		return;
	http_of(c)->open->pending = NULL;
	if (p->timed_out)
		refuse(c, API_HOOK_TIMEOUT, "the program did not answer in time");
	else
		authenticated(c, p->verdict, &p->identity, p->status, p->reason);
}

static void ask_program(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct shard *sh = conn_shard(c);
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct wsc_identity id = { .user_id = "" };
	struct wsc_request req;
	struct wsc_call call;
	int verdict;

	if (request_init(&req, &h->head, h->path, BYTES(""), &h->client) < 0) {
		refuse(c, API_OVERLOADED, "out of memory");
		return;
	}
	hook_call_init(&call, sh);
	verdict = hooks->authenticate_user(hooks->user, &call, &req, &id);
	request_deinit(&req);
	if (verdict == WSC_PENDING && call.pending) {
		h->open->pending = call.pending;
		hook_wait(&call, auth_answered, NULL, conn_handle(c));
		return;
	}
	hook_forget(&call);
	id.user_id[sizeof id.user_id - 1] = id.user_type[sizeof id.user_type - 1] = 0;
	authenticated(c, verdict, &id, call.status, call.reason);
}

/* auth.mode open (docs/guide.md): the query, else the header; the header first when a trusted proxy sends it. */
static void identify(struct conn *c)
{
	const struct http_conn *h = http_of(c);
	const struct nets *trusted = &conn_shard(c)->set->opt.trusted;
	struct bytes user = h->open->query_user, header;
	bool once = http_user(c, &header);

	if (header.len && (!user.len || ip_match(trusted->at, trusted->n, &h->peer)))
		user = header;
	if (conn_shard(c)->set->hooks.authenticate_user)
		ask_program(c);
	else if (!once)
		refuse(c, API_BAD_REQUEST, "X-User-ID is there twice");
	else if (!user.len)
		refuse(c, API_USER_ID_REQUIRED,
		       "user_id is required: in the query, as ?user_id=alice, or in the header X-User-ID");
	else
		identified(c, user, h->open->query_type);
}

/* ---- the request ---------------------------------------------------------------------------------------------------------------------- */

/* The first of each key counts. False: something is not valid, and the client has been told. */
static bool read_query(struct conn *c)
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

	query_begin(&it, h->head.query, o->scratch);
	while ((r = query_next(&it, &key, &value)) == 0) {
		o->has_after |= bytes_eq(key, BYTES("after")) || bytes_eq(key, BYTES("last_event_id")) ||
				bytes_eq(key, BYTES("Last-Event-ID"));
		for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
			if (bytes_eq(key, keys[i].key) && !keys[i].to->at)
				*keys[i].to = value;
	}
	if (r == QUERY_BAD) {
		refuse(c, API_BAD_REQUEST, "the query has an invalid escape");
		return false;
	}
	for (size_t i = 1; i < sizeof keys / sizeof keys[0]; i++)
		if (keys[i].to->len && !envelope_id_ok(*keys[i].to)) {
			refuse(c, API_BAD_REQUEST,
			       "user_type, ticket_id, role, device_id and client_type must be 1 to 128 bytes of UTF-8 "
			       "without control characters");
			return false;
		}
	o->has_after |= http1_header(&h->head, BYTES("last-event-id")).len > 0;
	return true;
}

/* False: it is no WebSocket handshake, and the client has been told. */
static bool check_handshake(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct ws_handshake hs;
	enum ws_upgrade u = ws_check_upgrade(&h->head, &hs);
	const struct http1_out_field version = { "Sec-WebSocket-Version", BYTES("13") };
	const struct http1_out_field allow = { "Allow", BYTES("GET") };
	struct bytes why = bytes_str(ws_upgrade_why(u));

	h->open->wsc_v1 = hs.wsc_v1;
	memcpy(h->open->accept, hs.accept, sizeof hs.accept);
	if (u != WS_UPGRADE_OK && h->barred != API_OK) {
		http_refuse(c, 0, h->barred, bytes_str(h->barred_why), NULL);
		return false;
	}
	switch (u) {
	case WS_UPGRADE_OK:
		return true;
	case WS_UPGRADE_NONE:
		http_refuse(c, 0, API_UPGRADE_REQUIRED, why, NULL);
		break;
	case WS_UPGRADE_BAD_METHOD:
		http_refuse(c, 0, API_METHOD_NOT_ALLOWED, why, &allow);
		break;
	case WS_UPGRADE_BAD_VERSION:
		http_refuse(c, 0, API_UPGRADE_REQUIRED, why, &version);
		break;
	case WS_UPGRADE_BAD_KEY:
	case WS_UPGRADE_BAD_REQUEST:
		http_refuse(c, 0, API_BAD_REQUEST, why, NULL);
		break;
	}
	return false;
}

/* It is nobody's, so it stays on the shard that has accepted it. */
static void begin_echo(struct conn *c)
{
	memcpy(http_of(c)->open->user_id, "echo", sizeof "echo");
	attach(c);
}

static void begin(struct conn *c, enum hub_transport transport, bool echo)
{
	struct http_conn *h = http_of(c);
	struct opening *o = mem_zalloc(sizeof *o);
	unsigned retry_s;

	opening_free(h->open);
	h->open = o;
	if (!o || !(o->scratch = mem_alloc(h->head.query.len + 1))) {
		http_refuse(c, 0, API_OVERLOADED, BYTES("out of memory"), NULL);
		return;
	}
	o->transport = transport;
	o->echo = echo;
	if (transport == HUB_WEBSOCKET && !check_handshake(c))
		return;
	h->state = HTTP_WAIT;
	stream_pause(&c->stream);
	if (h->barred != API_OK)
		refuse(c, h->barred, h->barred_why);
	else if (conn_shard(c)->draining)
		refuse(c, API_SHUTTING_DOWN, "the server is going away");
	else if (!connect_allowed(conn_shard(c), &h->client, &retry_s))
		refuse_status(c, 0, API_RATE_LIMITED,
			      BYTES("too many new connections from this address (security.connect_rate)"), retry_s);
	else if (echo)
		begin_echo(c);
	else if (read_query(c))
		identify(c);
}

void open_begin(struct conn *c, enum hub_transport transport)
{
	begin(c, transport, false);
}

void open_echo(struct conn *c)
{
	begin(c, HUB_WEBSOCKET, true);
}
