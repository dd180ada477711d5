/* SPDX-License-Identifier: Apache-2.0 */
/* admit: see admit.h. */
#include "http/admit.h"

#include "base/mem.h"
#include "base/siphash.h"
#include "http/answer.h"
#include "http/http.h"
#include "http/upgrade.h"
#include "transport/sse.h"
#include "transport/ws.h"

/* ---- a place in the hub --------------------------------------------------------------------------------------------- */

static uint64_t client_hash(const struct conn *c)
{
	const struct http_conn *h = http_of(c);
	struct bytes agent = http1_header(&h->head, BYTES("user-agent"));
	const uint64_t *seed = conn_shard(c)->set->seed;

	return siphash13(seed, h->head.target) ^ siphash13(seed, agent) * 3 ^
	       siphash13(seed, bytes_of(h->client.at, h->client.len)) * 5;
}

/* An EventSource that gets this does not reconnect, if its page may see it. */
static enum open_step answer_stop(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct http1_out_field fields[4];

	opening_free(h->open);
	h->open = NULL;
	http_answer(c, 204, NULL, BYTES(""), fields, http_cors(c, fields));
	return OPEN_OVER;
}

enum open_step admit_attach(struct conn *c)
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
		o->client = client_hash(c);
		if (evicted_recently(sh, o->client))
			return answer_stop(c);
	}
	if (sh->draining) /* since the program was asked, or on this shard alone */
		return open_refuse(c, END_GOING_AWAY);
	/* A session that was refused on this connection may have left its state. */
	c->session = (struct session){ .last_rx_ms = (uint32_t)now_ms(sh->now) };
	r = hub_attach(sh->hub, &c->session, &id, sh->now);
	if (r == HUB_TOO_MANY)
		return open_refuse(c, END_USER_CONNECTIONS);
	if (r < 0)
		return open_refuse(c, END_NO_MEMORY);
	return r == HUB_WAIT ? OPEN_WAIT : OPEN_ON;
}

/* ---- the program's consent -------------------------------------------------------------------------------------------- */

/* A client as it was, for a hook that lets it in after it has gone. */
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

static void *save_client(const void *about)
{
	const struct conn *c = about;
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

/* The program has let in a client that has gone: it is told that the client has left. */
static void connect_too_late(struct shard *sh, struct wsc_pending *p)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct saved_client *s = p->target;
	enum end e = p->timed_out ? END_HOOK_TIMEOUT : END_LEFT_EARLY;
	struct wsc_disconnect why = { .code = end_close(e), .by_client = !p->timed_out, .reason = end_why(e) };

	if (p->verdict == 0 && hooks->on_client_disconnect) {
		s->client.connections = 0;
		hooks->on_client_disconnect(hooks->user, &s->client, &why);
	}
	mem_free(s);
}

/* The program does not want it: everything is undone. Every WebSocket client gets a close code. */
static enum open_step refuse_client(struct conn *c, struct bytes why)
{
	struct shard *sh = conn_shard(c);
	bool ws = http_of(c)->open->transport == HUB_WEBSOCKET;

	hub_detach(sh->hub, &c->session, sh->now);
	return ws ? open_refuse_by_close(c, API_REFUSED, why) : open_refuse_as(c, 0, API_REFUSED, why);
}

static enum open_step decided(struct conn *c, int verdict, const char *reason)
{
	return verdict == 0 ? OPEN_ON : refuse_client(c, hook_reason(reason, END_HOOK_REFUSED));
}

static void answered(struct shard *sh, struct wsc_pending *p)
{
	struct conn *c = conn_get(sh, p->about);

	if (!c || c->kind != CONN_HTTP || !http_of(c)->open || http_of(c)->open->pending != p) {
		if (!p->timed_out)
			connect_too_late(sh, p);
		return;
	}
	http_of(c)->open->pending = NULL;
	if (p->timed_out) {
		hub_detach(sh->hub, &c->session, sh->now);
		(void)open_refuse(c, END_HOOK_TIMEOUT);
		/* The saved client stays for connect_too_late(). */
	} else {
		mem_free(p->target);
		if (decided(c, p->verdict, p->reason) == OPEN_ON)
			(void)admit_accept(c);
	}
	http_run(c);
}

enum open_step admit_ask(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	const struct wsc_hooks *hooks = &sh->set->hooks;
	char id[CLIENT_ID_TEXT];
	struct wsc_client client;
	struct wsc_call call;
	int verdict;

	if (!hooks->on_client_connect || http_of(c)->open->echo)
		return OPEN_ON;
	client_of(c, &client, id);
	hook_call_init(&call, sh);
	call.save = save_client;
	call.about = c;
	verdict = hooks->on_client_connect(hooks->user, &call, &client);
	if (verdict == WSC_PENDING && call.pending) {
		http_of(c)->open->pending = call.pending;
		call.pending->late = connect_too_late;
		hook_wait(&call, answered, call.pending->target, conn_handle(c));
		return OPEN_WAIT;
	}
	hook_forget(&call);
	return decided(c, verdict, call.reason);
}

/* ---- accepted ----------------------------------------------------------------------------------------------------------- */

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

/* The welcome of the program; *@out NULL: it wants none. False: no memory. */
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

/* The first messages, in order: connected (SSE), the welcome, the answer to a client that wants to resume. */
static unsigned front_messages(struct conn *c, bool sse, bool wants_resume, struct msg *front[3])
{
	unsigned n = 0;

	if (sse)
		front[n++] = connected_message(c);
	if (!welcome(c, &front[n]) || front[n])
		n++; /* no memory: the caller sees the empty place */
	/* There is no log: missed messages are lost, and the client is told so. */
	if (wants_resume)
		front[n++] = shard_message(conn_shard(c), BYTES("resumed"), session_user(&c->session),
					   BYTES("nothing is stored (store.kind: none)"), BYTES("{\"complete\":false}"),
					   BYTES(""));
	return n;
}

enum open_step admit_accept(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct opening *o = http_of(c)->open;
	bool sse = o->transport == HUB_SSE, wants_resume = o->has_after, ok;
	struct msg *front[3];
	struct buf next;
	unsigned n;
	uint64_t client = o->client;

	c->accepted = !o->echo; /* the program is not told of an echo */
	n = o->echo ? 0 : front_messages(c, sse, wants_resume, front);
	next = upgrade(c, &ok);
	for (unsigned i = 0; i < n; i++)
		ok = ok && front[i];
	if (ok && c->session.state != SESSION_CLOSING)
		c->opened = ok = hub_accept(sh->hub, &c->session, front, n, NULL, sh->now) == 0;
	for (unsigned i = 0; i < n; i++)
		if (front[i])
			msg_unref(front[i]);
	if (!ok) {
		buf_deinit(&next);
		shard_problem(sh, WSC_ERROR, "accept", "out of memory");
		conn_end(c, WS_CODE_INTERNAL, false);
		return OPEN_OVER;
	}
	conn_resume(c);
	hub_ready(sh->hub, &c->session);
	if (sse)
		sse_begin(c, client);
	else
		ws_begin(c, (struct mut_bytes){ next.at, next.len });
	buf_deinit(&next);
	/* The program let it in behind the drain of the others. */
	if (sh->draining)
		conn_go_away(c);
	return OPEN_OVER;
}
