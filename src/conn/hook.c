/* SPDX-License-Identifier: Apache-2.0 */
/* hook: see hook.h. */
#include "conn/hook.h"

#include <stdio.h>
#include "base/codec.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conn/submit.h"
#include "proto/query.h"
#include "wsc/error.h"

static void set_reason(char out[HOOK_REASON_MAX], const char *reason)
{
	struct bytes r = bytes_str(reason);

	if (!utf8_valid(r))
		r = BYTES("");
	r.len = utf8_prefix(r, HOOK_REASON_MAX - 1);
	if (r.len)
		memcpy(out, r.at, r.len);
	out[r.len] = 0;
}

struct bytes hook_reason(const char *reason, const char *otherwise)
{
	return bytes_str(reason[0] ? reason : otherwise);
}

void hook_call_init(struct wsc_call *call, struct shard *sh)
{
	*call = (struct wsc_call){ .sh = sh };
}

void wsc_reason(struct wsc_call *call, int status, const char *reason)
{
	call->status = status;
	set_reason(call->reason, reason);
}

struct wsc_pending *wsc_defer(struct wsc_call *call)
{
	struct wsc_pending *p;

	if (call->pending)
		return call->pending;
	p = mem_zalloc(sizeof *p);
	if (!p)
		return NULL;
	if (call->save && !(p->target = call->save(call->about))) {
		mem_free(p);
		return NULL;
	}
	p->set = call->sh->set;
	p->shard = call->sh->index;
	call->pending = p;
	return p;
}

static void pending_free(struct wsc_pending *p)
{
	mem_free(p->edited);
	mem_free(p);
}

/* On its shard: the program has finished it. */
static void finished(struct shard *sh, struct task *t)
{
	struct wsc_pending *p = container_of(t, struct wsc_pending, task);

	if (p->timed_out) {
		if (p->late)
			p->late(sh, p);
	} else if (p->answer) {
		timers_cancel(&sh->hook_timers, &p->timer);
		p->answer(sh, p);
	}
	pending_free(p);
}

static void finish(struct wsc_pending *p, int verdict, int status, const char *reason)
{
	p->verdict = verdict;
	p->status = status;
	set_reason(p->reason, reason);
	p->task.run = finished;
	/* Room for answers is reserved: this is never refused. */
	(void)p->set->post_foreign(p->set, p->shard, &p->task, true);
}

void wsc_finish(struct wsc_pending *p, int verdict, const char *reason)
{
	finish(p, verdict, 0, reason);
}

void wsc_finish_identity(struct wsc_pending *p, int verdict, const struct wsc_identity *identity, int status,
			 const char *reason)
{
	if (identity)
		p->identity = *identity;
	p->identity.user_id[sizeof p->identity.user_id - 1] = p->identity.user_type[sizeof p->identity.user_type - 1] =
		0;
	finish(p, verdict, status, reason);
}

void wsc_finish_message(struct wsc_pending *p, int verdict, const struct wsc_message *edited, const char *reason)
{
	struct buf b = BUF_INIT;

	if (edited) {
		p->edit_failed = submit_message_json(&b, edited) < 0;
		p->edited = (char *)b.at;
		p->edited_len = b.len;
	}
	finish(p, verdict, 0, reason);
}

bool hook_wait(struct wsc_call *call, void (*answer)(struct shard *, struct wsc_pending *), void *target,
	       slab_handle conn)
{
	struct wsc_pending *p = call->pending;

	if (!p)
		return false;
	p->answer = answer;
	p->target = target;
	p->conn = conn;
	timers_arm(&call->sh->hook_timers, &p->timer, now_ms(call->sh->now) + call->sh->set->opt.hook_timeout_ms);
	return true;
}

void hook_forget(struct wsc_call *call)
{
	struct wsc_pending *p = call->pending;

	if (!p)
		return;
	if (call->save)
		mem_free(p->target);
	p->target = NULL;
	p->answer = NULL;
}

static void time_out(struct shard *sh, uint64_t ms)
{
	struct timer *t;

	timers_advance(&sh->hook_timers, ms);
	while ((t = timers_pop(&sh->hook_timers))) {
		struct wsc_pending *p = container_of(t, struct wsc_pending, timer);

		p->timed_out = true;
		p->answer(sh, p);
	}
}

void hook_tick(struct shard *sh)
{
	time_out(sh, now_ms(sh->now));
}

void hook_give_up(struct shard *sh)
{
	time_out(sh, now_ms(sh->now) + sh->set->opt.hook_timeout_ms);
}

/* ---- what hooks see -------------------------------------------------------------------------------------------- */

void client_id_text(const struct conn *c, char out[CLIENT_ID_TEXT])
{
	/* 16 bytes: where it is (shard, generation and slot), and 64 bits from the shard's generator. */
	uint64_t where = conn_handle(c) ^ (uint64_t)conn_shard(c)->index << 56;
	uint8_t raw[16];

	for (int i = 0; i < 8; i++) {
		raw[i] = (uint8_t)(where >> (8 * i));
		raw[8 + i] = (uint8_t)(c->secret >> (8 * i));
	}
	hex_encode(bytes_of(raw, sizeof raw), out);
	out[CLIENT_ID_TEXT - 1] = 0;
}

static const char *attr_text(struct bytes b)
{
	return b.len ? (const char *)b.at : "";
}

void client_of(const struct conn *c, struct wsc_client *out, char id_text[CLIENT_ID_TEXT])
{
	const struct session *s = &c->session;
	const struct session_attrs *a = s->attrs;

	client_id_text(c, id_text);
	*out = (struct wsc_client){
		.client_id = id_text,
		.user_id = s->user->id,
		.user_type = conn_shard(c)->set->opt.user_types.at[s->user_type],
		.ticket_id = a ? attr_text(a->ticket_id) : "",
		.role = a ? attr_text(a->role) : "",
		.device_id = a ? attr_text(a->device_id) : "",
		.client_type = a ? attr_text(a->client_type) : "",
		.transport = s->transport == HUB_WEBSOCKET ? WSC_WEBSOCKET : WSC_SSE,
		.connections = hub_user_sessions(s),
	};
}

int request_init(struct wsc_request *r, const struct http1_head *head, struct bytes path, struct bytes body,
		 const struct ip *client)
{
	*r = (struct wsc_request){ .head = head, .body = body };
	r->path = mem_zalloc(path.len + 1 + head->query.len + 1);
	if (!r->path)
		return -WSC_ENOMEM;
	if (path.len)
		memcpy(r->path, path.at, path.len);
	r->scratch = (uint8_t *)r->path + path.len + 1;
	if (head->method_name.len <= HTTP1_METHOD_MAX)
		memcpy(r->method, head->method_name.at, head->method_name.len);
	ip_format(client, r->address);
	return 0;
}

void request_deinit(struct wsc_request *r)
{
	mem_free(r->path);
}

const char *wsc_request_method(const struct wsc_request *r)
{
	return r->method;
}

const char *wsc_request_path(const struct wsc_request *r)
{
	return r->path;
}

static bool copy_out(struct bytes v, char *out, size_t size)
{
	if (size == 0)
		return false;
	out[0] = 0;
	if (v.len >= size || memchr(v.at ? v.at : (const uint8_t *)"", 0, v.len))
		return false;
	if (v.len)
		memcpy(out, v.at, v.len);
	out[v.len] = 0;
	return true;
}

bool wsc_request_query(const struct wsc_request *r, const char *name, char *out, size_t size)
{
	struct bytes value = { 0 };

	if (size)
		out[0] = 0;
	return query_find(r->head->query, bytes_str(name), r->scratch, &value) == 0 && copy_out(value, out, size);
}

bool wsc_request_header(const struct wsc_request *r, const char *name, char *out, size_t size)
{
	const struct http1_field *f = http1_find(r->head, bytes_str(name));

	if (size)
		out[0] = 0;
	return f && copy_out(f->value, out, size);
}

const char *wsc_request_body(const struct wsc_request *r, size_t *len)
{
	if (len)
		*len = r->body.len;
	return r->body.len ? (const char *)r->body.at : "";
}

const char *wsc_request_address(const struct wsc_request *r)
{
	return r->address;
}
