/* SPDX-License-Identifier: Apache-2.0 */
/* submit: see submit.h. */
#include "conn/submit.h"

#include <stdio.h>
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "wsc/error.h"

#define WHY_MAX 256

/* ---- telling the sender ---------------------------------------------------------------------------------------- */

static int error_of_code(enum api_code code)
{
	switch (code) {
	case API_USER_OFFLINE:
		return -WSC_EOFFLINE;
	case API_REFUSED:
		return -WSC_EREFUSED;
	case API_HOOK_TIMEOUT:
	case API_TIMED_OUT:
		return -WSC_ETIMEDOUT;
	case API_NOT_IN_TICKET:
		return -WSC_ENOTINTICKET;
	case API_NOT_SUPPORTED:
		return -WSC_ENOTSUPPORTED;
	case API_OVERLOADED:
		return -WSC_EAGAIN;
	case API_INTERNAL:
		return -WSC_ENOMEM;
	default:
		return -WSC_EBADMESSAGE;
	}
}

static void tell_program(wsc_done_fn *done, void *user, int error, struct bytes why, struct bytes id,
			 uint32_t delivered)
{
	char reason[WHY_MAX] UNSET, id_text[ENVELOPE_ID_MAX + 1] UNSET;
	struct wsc_outcome o = { .error = error, .reason = reason, .id = id_text, .delivered_count = delivered };

	if (!done)
		return;
	snprintf(reason, sizeof reason, "%.*s", (int)why.len, (const char *)why.at);
	snprintf(id_text, sizeof id_text, "%.*s", (int)id.len, (const char *)id.at);
	done(user, &o);
}

static void fail(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	struct conn *c;

	if (sub->origin == SUBMIT_PROGRAM) {
		tell_program(sub->done, sub->done_user, error_of_code(code), why, ref, 0);
		return;
	}
	c = conn_get(sh, sub->conn);
	if (!c)
		return;
	if (sub->origin == SUBMIT_WS)
		conn_error(c, code, why, ref, BYTES(""));
	else
		http_fail(c, code, why);
}

static void fail_str(struct shard *sh, struct submission *sub, enum api_code code, const char *why, struct bytes ref)
{
	fail(sh, sub, code, bytes_str(why), ref);
}

/* ---- built-in checks (docs/messages.md, docs/http-api.md) -------------------------------------------------------- */

static struct bytes ref_of(const struct envelope *e, uint8_t scratch[ENVELOPE_ID_SCRATCH])
{
	return envelope_string(e, ENVELOPE_ID, scratch);
}

static bool is_ping(const struct envelope *e)
{
	return envelope_is(e, ENVELOPE_TYPE, BYTES("ping")) || envelope_is(e, ENVELOPE_TYPE, BYTES("heartbeat"));
}

static void answer_ping(struct shard *sh, struct submission *sub)
{
	struct conn *c = conn_get(sh, sub->conn);

	if (c)
		conn_send_own(c, shard_message(sh, BYTES("pong"), sub->user, BYTES(""), BYTES(""), BYTES("")));
}

/* The sender must be who it says. With overwrite, final_text() writes the true one; with hook, the hook judges. */
static bool sender_ok(struct shard *sh, const struct submission *sub, const struct envelope *e)
{
	if (!envelope_has(e, ENVELOPE_FROM) || sub->origin == SUBMIT_PROGRAM ||
	    envelope_is(e, ENVELOPE_FROM, sub->user))
		return true;
	return sub->origin == SUBMIT_WS && sh->set->opt.sender != SENDER_REJECT;
}

static bool content_fits(struct shard *sh, const struct envelope *e)
{
	uint64_t max = sh->set->opt.max_content_bytes;
	const struct json_value *v = &e->known[ENVELOPE_CONTENT];
	uint8_t *out;
	size_t len;

	if (!max || !envelope_has(e, ENVELOPE_CONTENT) || v->raw.len - 2 <= max)
		return true;
	if (!v->escaped)
		return false;
	out = mem_alloc(v->raw.len);
	if (!out)
		return false;
	len = json_unescape(v->raw, out);
	mem_free(out);
	return len <= max;
}

/* What can be said of a message without asking anybody. False: the sender has been told. */
static bool check(struct shard *sh, struct submission *sub, const struct envelope *e)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes ref = ref_of(e, scratch);
	bool ws = sub->origin == SUBMIT_WS, http = sub->origin == SUBMIT_HTTP;
	char why[WHY_MAX] UNSET;

	if (ws && is_ping(e))
		return answer_ping(sh, sub), false;
	if (ws && envelope_is(e, ENVELOPE_TYPE, BYTES("ack")))
		return fail_str(sh, sub, API_NOT_SUPPORTED, "acks need a store, which this version does not have", ref),
		       false;
	if (!sender_ok(sh, sub, e)) {
		snprintf(why, sizeof why, "from is not %.*s, who sends this", (int)sub->user.len,
			 (const char *)sub->user.at);
		return fail_str(sh, sub, API_SENDER_MISMATCH, why, ref), false;
	}
	if (!sub->broadcast && !envelope_has(e, ENVELOPE_TO) && (http || !envelope_has(e, ENVELOPE_TICKET_ID))) {
		if (http)
			return fail_str(sh, sub, API_MISSING_FIELD, "to is required: the user id of the receiver", ref),
			       false;
		return fail_str(sh, sub, API_NO_RECIPIENT, "to or ticket_id is required", ref), false;
	}
	if (envelope_check_payload(e) != ENVELOPE_OK)
		return fail_str(sh, sub, http ? API_MISSING_FIELD : API_BAD_MESSAGE, "content or data is required",
				ref),
		       false;
	if (envelope_has(e, ENVELOPE_REQUIRE_ACK) && e->known[ENVELOPE_REQUIRE_ACK].type == JSON_TRUE)
		return fail_str(sh, sub, API_NOT_SUPPORTED,
				"require_ack needs a store, which this version does not have", ref),
		       false;
	if (!content_fits(sh, e)) {
		snprintf(why, sizeof why, "content is longer than security.max_content_length, %llu bytes",
			 (unsigned long long)sh->set->opt.max_content_bytes);
		return fail_str(sh, sub, API_BAD_MESSAGE, why, ref), false;
	}
	return true;
}

/* ---- the final text --------------------------------------------------------------------------------------------- */

/* What a hook wants to be different; empty texts (at NULL): as it was. */
struct edits {
	bool any;
	struct envelope_text type, content, create_at;
	struct bytes data;
	struct bytes extra; /* reply_to_msg_id and priority as members */
	uint32_t cut;
};

struct final {
	struct envelope_out out;
	char ulid[ULID_LEN];
	uint8_t id_scratch[ENVELOPE_ID_SCRATCH];
	struct bytes id; /* plain */
};

static bool false_sender(struct shard *sh, const struct submission *sub, const struct envelope *e)
{
	return sub->origin == SUBMIT_WS && sh->set->opt.sender == SENDER_OVERWRITE &&
	       !envelope_is(e, ENVELOPE_FROM, sub->user);
}

/* Fills in what the sender has left out: id, type, from, create_at. */
static void final_text(struct shard *sh, struct submission *sub, const struct envelope *e, const struct edits *ed,
		       struct final *f)
{
	struct envelope_out *o = &f->out;

	envelope_out_from(o, e);
	f->id = envelope_string(e, ENVELOPE_ID, f->id_scratch);
	if (!f->id.len) {
		shard_ulid(sh, f->ulid);
		f->id = bytes_of(f->ulid, sizeof f->ulid);
		o->id = envelope_plain(f->id);
	}
	if (!envelope_has(e, ENVELOPE_TYPE))
		o->type = envelope_plain(sub->broadcast ? BYTES("notice") : BYTES("text"));
	if (!envelope_has(e, ENVELOPE_FROM) || false_sender(sh, sub, e))
		o->from = envelope_plain(sub->user);
	if (sub->broadcast)
		o->to = envelope_plain(BYTES(""));
	if (!envelope_has(e, ENVELOPE_CREATE_AT))
		o->create_at = envelope_plain(shard_stamp(sh));
	if (!ed || !ed->any)
		return;
	if (ed->type.s.at)
		o->type = ed->type;
	if (ed->content.s.at)
		o->content = ed->content;
	if (ed->create_at.s.at)
		o->create_at = ed->create_at;
	o->data = ed->data;
	o->extra = ed->extra;
	o->cut |= ed->cut;
}

/* Replaces the text by its final form, owned, so that hooks see every key and a wait keeps nothing borrowed. */
static bool own_final(struct shard *sh, struct submission *sub, const struct envelope *e, const struct edits *ed)
{
	struct final f UNSET;
	uint8_t *text;
	size_t len;

	final_text(sh, sub, e, ed, &f);
	text = mem_alloc(envelope_size(&f.out) + 1);
	if (!text)
		return false;
	len = envelope_write(&f.out, text);
	if (sub->heap)
		mem_free((void *)(uintptr_t)sub->text.at);
	else
		sub->user = bytes_of(mem_strndup(sub->user.at, sub->user.len), sub->user.len);
	sub->heap = true;
	sub->text = bytes_of(text, len);
	return sub->user.at != NULL;
}

/* ---- what hooks see --------------------------------------------------------------------------------------------- */

struct seen {
	struct wsc_message m;
	uint8_t *text;
};

static const char *seen_string(const struct envelope *e, enum envelope_key k, uint8_t **at, size_t *len_out)
{
	const char *start = (const char *)*at;
	struct bytes s;

	if (!envelope_has(e, k))
		return NULL;
	s = envelope_string(e, k, *at);
	if (s.len && s.at != *at)
		memcpy(*at, s.at, s.len);
	(*at)[s.len] = 0;
	if (len_out)
		*len_out = s.len;
	*at += s.len + 1 > e->known[k].raw.len ? s.len + 1 : e->known[k].raw.len;
	return start;
}

static bool see(struct seen *v, const struct envelope *e)
{
	uint8_t *at = v->text = mem_alloc(e->text.len + 2 * ENVELOPE_KEYS + 1);

	if (!at)
		return false;
	v->m = (struct wsc_message){
		.id = seen_string(e, ENVELOPE_ID, &at, NULL),
		.type = seen_string(e, ENVELOPE_TYPE, &at, NULL),
		.from = seen_string(e, ENVELOPE_FROM, &at, NULL),
		.to = seen_string(e, ENVELOPE_TO, &at, NULL),
		.ticket_id = seen_string(e, ENVELOPE_TICKET_ID, &at, NULL),
		.create_at = seen_string(e, ENVELOPE_CREATE_AT, &at, NULL),
		.reply_to_msg_id = seen_string(e, ENVELOPE_REPLY_TO_MSG_ID, &at, NULL),
		.priority = seen_string(e, ENVELOPE_PRIORITY, &at, NULL),
	};
	v->m.content = seen_string(e, ENVELOPE_CONTENT, &at, &v->m.content_len);
	if (!v->m.content)
		v->m.content = "";
	if (!v->m.to)
		v->m.to = "";
	if (envelope_has(e, ENVELOPE_DATA)) {
		struct bytes d = e->known[ENVELOPE_DATA].raw;

		v->m.data = (const char *)memcpy(at, d.at, d.len);
		at[d.len] = 0;
	}
	return true;
}

/* ---- edits ------------------------------------------------------------------------------------------------------- */

static struct envelope_text edited_text(const char *was, const char *is, size_t len)
{
	if (was == is || !is)
		return (struct envelope_text){ 0 };
	return envelope_plain(bytes_of(is, len ? len : strlen(is)));
}

static void edit_extra(struct edits *ed, struct buf *extra, enum envelope_key key, const char *name, const char *was,
		       const char *is)
{
	if (was == is)
		return;
	ed->any = true;
	ed->cut |= 1u << key;
	if (!is)
		return;
	buf_addf(extra, "%s\"%s\":", extra->len ? "," : "", name);
	json_add_string(extra, bytes_str(is));
}

/* What the hook changed, by comparing pointers: false: it is not valid. */
static bool edits_of(struct edits *ed, const struct wsc_message *was, const struct wsc_message *is, struct buf *extra)
{
	struct json_value v;

	ed->type = edited_text(was->type, is->type, 0);
	ed->content = edited_text(was->content, is->content,
				  is->content == was->content           ? 0
				  : is->content_len == was->content_len ? 0
									: is->content_len);
	ed->create_at = edited_text(was->create_at, is->create_at, 0);
	ed->any = ed->type.s.at || ed->content.s.at || ed->create_at.s.at;
	if (is->data != was->data && is->data) {
		ed->data = bytes_str(is->data);
		ed->any = true;
		if (json_check(ed->data, &v) != JSON_OK || v.type != JSON_OBJECT)
			return false;
	}
	edit_extra(ed, extra, ENVELOPE_REPLY_TO_MSG_ID, "reply_to_msg_id", was->reply_to_msg_id, is->reply_to_msg_id);
	edit_extra(ed, extra, ENVELOPE_PRIORITY, "priority", was->priority, is->priority);
	ed->extra = buf_bytes(extra);
	return !extra->failed && (!ed->type.s.at || ed->type.s.len <= ENVELOPE_ID_MAX) &&
	       (!ed->create_at.s.at || rfc3339_parse(ed->create_at.s, NULL, NULL)) &&
	       (!ed->content.s.at || utf8_valid(ed->content.s));
}

static void json_extra(struct edits *ed, struct buf *extra, const struct envelope *e2, enum envelope_key key,
		       const char *name)
{
	if (!envelope_has(e2, key))
		return;
	ed->cut |= 1u << key;
	buf_addf(extra, "%s\"%s\":", extra->len ? "," : "", name);
	buf_add(extra, e2->known[key].raw);
}

/* The same from the JSON of wsc_finish_message(). */
static void edits_of_json(struct edits *ed, const struct envelope *e2, struct buf *extra)
{
	ed->any = true;
	if (envelope_has(e2, ENVELOPE_TYPE))
		ed->type = envelope_raw(e2->known[ENVELOPE_TYPE].raw);
	if (envelope_has(e2, ENVELOPE_CONTENT))
		ed->content = envelope_raw(e2->known[ENVELOPE_CONTENT].raw);
	if (envelope_has(e2, ENVELOPE_CREATE_AT))
		ed->create_at = envelope_raw(e2->known[ENVELOPE_CREATE_AT].raw);
	if (envelope_has(e2, ENVELOPE_DATA))
		ed->data = e2->known[ENVELOPE_DATA].raw;
	json_extra(ed, extra, e2, ENVELOPE_REPLY_TO_MSG_ID, "reply_to_msg_id");
	json_extra(ed, extra, e2, ENVELOPE_PRIORITY, "priority");
	ed->extra = buf_bytes(extra);
}

/* ---- stages ------------------------------------------------------------------------------------------------------ */

static bool run(struct shard *sh, struct submission *sub);
static void resumed(struct shard *sh, struct wsc_pending *p);

enum step { STEP_ON, STEP_DONE, STEP_WAIT };

static struct submission *to_heap(struct submission *sub)
{
	struct submission *h;

	if (sub->origin == SUBMIT_PROGRAM)
		return sub; /* is on the heap already */
	h = mem_alloc(sizeof *h);
	if (h)
		*h = *sub;
	return h;
}

/* The hook has said WSC_PENDING. */
static enum step wait_for(struct shard *sh, struct submission *sub, struct wsc_call *call, struct bytes ref)
{
	struct submission *h = call->pending ? to_heap(sub) : NULL;
	struct conn *c;

	if (!h) {
		hook_forget(call);
		fail_str(sh, sub, API_REFUSED, "the hook said pending without wsc_defer()", ref);
		return STEP_DONE;
	}
	hook_wait(call, resumed, h, h->conn);
	c = h->origin == SUBMIT_WS ? conn_get(sh, h->conn) : NULL;
	if (c && conn_extra(c))
		c->at.extra->pending = h;
	sub->heap = false; /* the copy owns the texts now */
	return STEP_WAIT;
}

static void client_of_sender(struct shard *sh, const struct submission *sub, struct wsc_client *out,
			     char id[CLIENT_ID_TEXT], char *user)
{
	struct conn *c = conn_get(sh, sub->conn);

	if (sub->origin == SUBMIT_WS && c) {
		client_of(c, out, id);
		return;
	}
	memcpy(user, sub->user.at, sub->user.len);
	user[sub->user.len] = 0;
	*out = (struct wsc_client){ .client_id = "",
				    .user_id = user,
				    .user_type = "",
				    .ticket_id = "",
				    .role = "",
				    .device_id = "",
				    .client_type = "",
				    .transport = WSC_HTTP };
}

static enum step ask_received(struct shard *sh, struct submission *sub, const struct envelope *e, struct bytes ref)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;
	char id[CLIENT_ID_TEXT], user[ENVELOPE_ADDRESS_MAX + 1];
	struct wsc_client client;
	struct wsc_call call;
	struct seen v;
	int verdict;

	if (!see(&v, e))
		return fail_str(sh, sub, API_OVERLOADED, "out of memory", ref), STEP_DONE;
	client_of_sender(sh, sub, &client, id, user);
	hook_call_init(&call, sh);
	verdict = hooks->on_message_received(hooks->user, &call, &client, &v.m);
	mem_free(v.text);
	if (verdict == WSC_PENDING)
		return wait_for(sh, sub, &call, ref);
	hook_forget(&call);
	if (verdict == WSC_ALLOW)
		return STEP_ON;
	fail(sh, sub, API_REFUSED, hook_reason(call.reason, "refused by the program"), ref);
	return STEP_DONE;
}

static enum step ask_send(struct shard *sh, struct submission *sub, const struct envelope *e, struct bytes ref)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct buf extra = BUF_INIT;
	struct edits ed = { 0 };
	struct wsc_message m;
	struct wsc_call call;
	enum step step = STEP_DONE;
	struct seen v;
	int verdict;

	if (!see(&v, e))
		return fail_str(sh, sub, API_OVERLOADED, "out of memory", ref), STEP_DONE;
	hook_call_init(&call, sh);
	m = v.m;
	verdict = sub->broadcast ? hooks->on_broadcast(hooks->user, &call, &m)
				 : hooks->on_message_send(hooks->user, &call, &m);
	if (verdict == WSC_PENDING) {
		step = wait_for(sh, sub, &call, ref);
		goto out;
	}
	hook_forget(&call);
	if (verdict != 0)
		fail(sh, sub, API_REFUSED, hook_reason(call.reason, "stopped by the program"), ref);
	else if (!edits_of(&ed, &v.m, &m, &extra))
		fail_str(sh, sub, API_INTERNAL, "the program's edit of the message is not valid", ref);
	else if (ed.any && !own_final(sh, sub, e, &ed))
		fail_str(sh, sub, API_OVERLOADED, "out of memory", ref);
	else
		step = STEP_ON;
out:
	mem_free(v.text);
	buf_deinit(&extra);
	return step;
}

static bool wants_received(struct shard *sh, const struct submission *sub)
{
	return sh->set->hooks.on_message_received && sub->origin != SUBMIT_PROGRAM && !sub->broadcast;
}

static bool wants_send(struct shard *sh, const struct submission *sub)
{
	return sub->broadcast ? sh->set->hooks.on_broadcast != NULL : sh->set->hooks.on_message_send != NULL;
}

/* A token for the outcome; 0 when nobody asks. */
static bool make_token(struct shard *sh, struct submission *sub, const struct final *f, struct hub_publication *p)
{
	struct job *j;
	slab_handle h;

	p->token = sub->conn;
	p->only_failures = sub->origin == SUBMIT_WS;
	if (sub->origin != SUBMIT_PROGRAM)
		return true;
	p->may_be_outside = true;
	p->only_failures = !sub->done;
	p->token = 0;
	if (!sub->done)
		return true;
	j = slab_new(&sh->jobs, &h);
	if (!j)
		return false;
	j->done = sub->done;
	j->user = sub->done_user;
	memcpy(j->id, f->id.at, f->id.len);
	p->token = h | TOKEN_JOB;
	return true;
}

static void count_accepted(struct shard *sh, const struct submission *sub)
{
	if (sub->broadcast)
		counter_add(&sh->counters.broadcasts, 1);
	else if (sub->origin != SUBMIT_PROGRAM)
		counter_add(&sh->counters.received, 1);
}

static void publish_failed(struct shard *sh, struct submission *sub, const struct hub_publication *p, int r)
{
	if (sub->origin == SUBMIT_PROGRAM && p->token)
		slab_free(&sh->jobs, p->token & ~(uint64_t)TOKEN_JOB);
	if (r == HUB_NOT_IN_TICKET)
		fail_str(sh, sub, API_NOT_IN_TICKET, "you are not connected with this ticket_id", p->ref);
	else
		fail_str(sh, sub, API_OVERLOADED, r == HUB_BUSY ? "too much is waiting; try again" : "out of memory",
			 p->ref);
}

static void publish(struct shard *sh, struct submission *sub, const struct envelope *e)
{
	uint8_t to_scratch[ENVELOPE_ID_SCRATCH] UNSET, type_scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct hub_publication p = { .scope = HUB_TO_ALL };
	struct final f UNSET;
	struct conn *c;
	int r;

	final_text(sh, sub, e, NULL, &f);
	p.msg = msg_new(hub_owner(sh->hub), MSG_USER, envelope_size(&f.out));
	if (!p.msg || !make_token(sh, sub, &f, &p)) {
		if (p.msg)
			msg_unref(p.msg);
		fail_str(sh, sub, API_OVERLOADED, "out of memory", f.id);
		return;
	}
	p.msg->len = (uint32_t)envelope_write(&f.out, p.msg->json);
	p.ref = f.id;
	p.sender = sub->user;
	if (!sub->broadcast) {
		p.scope = envelope_has(e, ENVELOPE_TO) ? HUB_TO_USER : HUB_TO_TICKET;
		p.to = envelope_string(e, p.scope == HUB_TO_USER ? ENVELOPE_TO : ENVELOPE_TICKET_ID, to_scratch);
	}
	if (sub->origin == SUBMIT_HTTP && (c = conn_get(sh, sub->conn)) &&
	    !http_remember(c, f.id, p.to,
			   envelope_has(e, ENVELOPE_TYPE) ? envelope_string(e, ENVELOPE_TYPE, type_scratch)
							  : f.out.type.s,
			   sub->broadcast)) {
		msg_unref(p.msg);
		fail_str(sh, sub, API_OVERLOADED, "out of memory", f.id);
		return;
	}
	r = hub_publish(sh->hub, &p, sh->now);
	if (r == 0)
		count_accepted(sh, sub);
	else
		publish_failed(sh, sub, &p, r);
	msg_unref(p.msg);
}

static bool stages(struct shard *sh, struct submission *sub)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	char why[ENVELOPE_EXPLAIN_MAX] UNSET;
	enum envelope_error err;
	struct envelope e;
	enum step step;

	err = envelope_parse(&e, sub->text, sh->set->opt.json_depth, sh->set->seed);
	if (err != ENVELOPE_OK) {
		fail(sh, sub, err == ENVELOPE_NO_MEMORY ? API_OVERLOADED : API_BAD_MESSAGE,
		     envelope_explain(&e, err, why), envelope_id_before(&e, scratch));
		return true;
	}
	if (sub->stage == STAGE_CHECK) {
		if (!check(sh, sub, &e))
			return true;
		sub->stage = STAGE_RECEIVED;
		if (wants_received(sh, sub) || wants_send(sh, sub)) {
			if (!own_final(sh, sub, &e, NULL))
				return fail_str(sh, sub, API_OVERLOADED, "out of memory", ref_of(&e, scratch)), true;
			return stages(sh, sub); /* once: what hooks see has every key */
		}
	}
	if (sub->stage == STAGE_RECEIVED) {
		sub->stage = STAGE_SEND;
		step = wants_received(sh, sub) ? ask_received(sh, sub, &e, ref_of(&e, scratch)) : STEP_ON;
		if (step != STEP_ON)
			return step == STEP_DONE;
	}
	if (sub->stage == STAGE_SEND) {
		sub->stage = STAGE_PUBLISH;
		step = wants_send(sh, sub) ? ask_send(sh, sub, &e, ref_of(&e, scratch)) : STEP_ON;
		if (step != STEP_ON)
			return step == STEP_DONE;
		if (wants_send(sh, sub))
			return stages(sh, sub); /* an edit has made a new text */
	}
	publish(sh, sub, &e);
	return true;
}

static void free_texts(struct submission *sub)
{
	if (!sub->heap)
		return;
	mem_free((void *)(uintptr_t)sub->text.at);
	mem_free((void *)(uintptr_t)sub->user.at);
}

/* True: done with, the texts are freed. */
static bool run(struct shard *sh, struct submission *sub)
{
	bool done = stages(sh, sub);

	if (done)
		free_texts(sub);
	return done;
}

void submit_free(struct submission *sub)
{
	free_texts(sub);
	mem_free(sub);
}

/* ---- a hook has answered ------------------------------------------------------------------------------------------- */

static void program_next(struct shard *sh, struct submission *done);

static void apply_edit(struct shard *sh, struct submission *sub, struct wsc_pending *p, bool *ok)
{
	struct envelope e, e2;
	struct buf extra = BUF_INIT;
	struct edits ed = { 0 };

	if (!p->edited && !p->edit_failed)
		return;
	*ok = false;
	if (p->edit_failed ||
	    envelope_parse(&e2, bytes_of(p->edited, p->edited_len), sh->set->opt.json_depth, sh->set->seed) !=
		    ENVELOPE_OK ||
	    envelope_parse(&e, sub->text, sh->set->opt.json_depth, sh->set->seed) != ENVELOPE_OK)
		return;
	edits_of_json(&ed, &e2, &extra);
	*ok = !extra.failed && own_final(sh, sub, &e, &ed);
	buf_deinit(&extra);
}

/* Does the verdict let the message go on? Otherwise the sender is told. */
static bool verdict_ok(struct shard *sh, struct submission *sub, struct wsc_pending *p)
{
	bool received = sub->stage == STAGE_SEND, ok = true;
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes ref = BYTES("");
	struct envelope e;

	if (envelope_parse(&e, sub->text, sh->set->opt.json_depth, sh->set->seed) == ENVELOPE_OK)
		ref = ref_of(&e, scratch);
	if (p->timed_out)
		fail_str(sh, sub, API_HOOK_TIMEOUT, "the program did not answer in time", ref);
	else if (p->verdict != (received ? WSC_ALLOW : 0))
		fail(sh, sub, API_REFUSED,
		     hook_reason(p->reason, received ? "refused by the program" : "stopped by the program"), ref);
	else if (apply_edit(sh, sub, p, &ok), !ok)
		fail_str(sh, sub, API_INTERNAL, "the program's edit of the message is not valid", ref);
	else
		return true;
	return false;
}

static void resumed(struct shard *sh, struct wsc_pending *p)
{
	struct submission *sub = p->target;
	struct conn *c = sub->origin == SUBMIT_WS ? conn_get(sh, sub->conn) : NULL;
	bool go_on = verdict_ok(sh, sub, p);

	/* The next hook would be asked for a gateway that is gone. */
	if (go_on && sh->over) {
		go_on = false;
		if (sub->origin == SUBMIT_PROGRAM)
			tell_program(sub->done, sub->done_user, -WSC_ESTATE, BYTES("the gateway has stopped"),
				     BYTES(""), 0);
	}
	if (c && c->at.extra)
		c->at.extra->pending = NULL;
	if (go_on) {
		if (sub->origin != SUBMIT_PROGRAM) {
			struct submission copy = *sub;

			mem_free(sub);
			if (!run(sh, &copy))
				return; /* the next hook has it */
			if (c && c->phase != PHASE_DEAD)
				ws_resume(c);
			return;
		}
		if (!stages(sh, sub)) /* not run(): who sent it is asked once more below */
			return;
	}
	if (sub->origin == SUBMIT_PROGRAM) {
		program_next(sh, sub);
		return;
	}
	submit_free(sub);
	if (c && c->phase != PHASE_DEAD)
		ws_resume(c);
}

/* ---- where messages come from --------------------------------------------------------------------------------------- */

bool submit_ws(struct conn *c, struct bytes text)
{
	struct submission sub = {
		.origin = SUBMIT_WS, .conn = conn_handle(c), .text = text, .user = session_user(&c->session)
	};

	return run(conn_shard(c), &sub);
}

bool submit_http(struct conn *c, struct bytes text, struct bytes user, bool broadcast)
{
	struct submission sub = {
		.origin = SUBMIT_HTTP, .conn = conn_handle(c), .text = text, .user = user, .broadcast = broadcast
	};

	return run(conn_shard(c), &sub);
}

struct submission *submit_program_new(uint8_t *text, size_t len, struct bytes from, bool broadcast, wsc_done_fn *done,
				      void *user)
{
	struct submission *sub = mem_zalloc(sizeof *sub);
	char *name = mem_strndup(from.at, from.len);

	if (!sub || !name) {
		mem_free(sub);
		mem_free(name);
		mem_free(text);
		return NULL;
	}
	sub->origin = SUBMIT_PROGRAM;
	sub->task.run = submit_program_run;
	sub->task.weight = len;
	sub->broadcast = broadcast;
	sub->heap = true;
	sub->text = bytes_of(text, len);
	sub->user = bytes_of(name, from.len);
	sub->done = done;
	sub->done_user = user;
	list_init(&sub->link);
	return sub;
}

static struct submission *submission_of(const struct map_node *n)
{
	return container_of((uintptr_t)n, struct submission, node);
}

struct bytes submit_sender(const struct map_node *n)
{
	return submission_of(n)->user;
}

/* False: a hook has it now, and the later ones of its sender wait. */
static bool program_start(struct shard *sh, struct submission *sub)
{
	if (sh->over) {
		/* A hook that said "later" now would say it to a gateway that is gone. */
		tell_program(sub->done, sub->done_user, -WSC_ESTATE, BYTES("the gateway has stopped"), BYTES(""), 0);
		submit_free(sub);
		return true;
	}
	if (run(sh, sub)) {
		mem_free(sub);
		return true;
	}
	sub->heap = true; /* it stays where it is */
	map_insert(&sh->program, &sub->node, map_hash(&sh->program, sub->user));
	return false;
}

void submit_program_run(struct shard *sh, struct task *t)
{
	struct submission *sub = container_of(t, struct submission, task);
	struct map_node *first = map_find(&sh->program, sub->user, map_hash(&sh->program, sub->user));

	if (first && !sh->over)
		list_push(&submission_of(first)->link, &sub->link);
	else
		(void)program_start(sh, sub);
}

/* @done is through: those of its sender that waited have their turn, until a hook has one again. */
static void program_next(struct shard *sh, struct submission *done)
{
	struct list behind, *n;

	list_init(&behind);
	list_splice(&behind, &done->link);
	map_remove(&sh->program, &done->node);
	submit_free(done);
	while ((n = list_pop(&behind))) {
		struct submission *sub = container_of(n, struct submission, link);

		if (!program_start(sh, sub)) {
			list_splice(&sub->link, &behind);
			return;
		}
	}
}

/* ---- outcomes --------------------------------------------------------------------------------------------------------- */

static void job_outcome(struct shard *sh, const struct hub_request *r)
{
	uint64_t h = r->token & ~(uint64_t)TOKEN_JOB;
	struct job *j = slab_get(&sh->jobs, h);
	struct job job;
	char why[WHY_MAX];

	if (!j)
		return;
	job = *j;
	slab_free(&sh->jobs, h);
	if (r->result == HUB_DELIVERED || r->scope == HUB_TO_ALL) {
		tell_program(job.done, job.user, 0, BYTES("delivered"), bytes_str(job.id), r->delivered);
		return;
	}
	snprintf(why, sizeof why, "%.*s is offline and nothing is stored (store.kind: none)", (int)r->to.len,
		 (const char *)r->to.at);
	tell_program(job.done, job.user, r->result == HUB_NOBODY ? -WSC_EOFFLINE : -WSC_ETIMEDOUT,
		     r->result == HUB_NOBODY ? bytes_str(why) : BYTES("no answer in time"), bytes_str(job.id),
		     r->delivered);
}

static void ws_outcome(struct conn *c, const struct hub_request *r)
{
	char why[WHY_MAX];

	if (r->result == HUB_DELIVERED)
		return;
	if (r->result == HUB_TIMED_OUT)
		snprintf(why, sizeof why, "no answer in time; it is not known who got the message");
	else if (r->scope == HUB_TO_TICKET)
		snprintf(why, sizeof why, "nobody else is connected with ticket %.*s", (int)r->to.len,
			 (const char *)r->to.at);
	else
		snprintf(why, sizeof why, "%.*s is offline", (int)r->to.len, (const char *)r->to.at);
	conn_error(c, r->result == HUB_NOBODY ? API_USER_OFFLINE : API_TIMED_OUT, bytes_str(why), r->ref, BYTES(""));
}

static void http_outcome(struct conn *c, const struct hub_request *r)
{
	char why[WHY_MAX];

	if (r->result == HUB_TIMED_OUT) {
		http_fail(c, API_TIMED_OUT, BYTES("no answer in time; it is not known who got the message"));
	} else if (r->result == HUB_NOBODY && r->scope == HUB_TO_USER) {
		snprintf(why, sizeof why, "%.*s is offline and nothing is stored (store.kind: none)", (int)r->to.len,
			 (const char *)r->to.at);
		http_fail(c, API_USER_OFFLINE, bytes_str(why));
	} else {
		http_sent(c, r->delivered);
	}
}

void submit_outcome(struct shard *sh, const struct hub_request *r)
{
	struct conn *c;

	if (r->token & TOKEN_JOB) {
		job_outcome(sh, r);
		return;
	}
	if (!r->token)
		return; /* the program's, which asked for no outcome */
	/* Nobody there and nothing stored: it was not accepted after all. */
	if (r->result == HUB_NOBODY && r->scope != HUB_TO_ALL)
		counter_add(&sh->counters.received, UINT64_MAX);
	c = conn_get(sh, r->token);
	if (!c)
		return;
	if (c->kind == CONN_HTTP)
		http_outcome(c, r);
	else
		ws_outcome(c, r);
}

void submit_bury(struct shard *sh)
{
	const struct bytes why = BYTES("the gateway has stopped");
	struct map_node *first = map_first(&sh->program);
	struct list *n;
	struct job *j;
	uint32_t pos = 0;

	for (; first; first = map_after(&sh->program, submit_sender(first), first->hash))
		while ((n = list_pop(&submission_of(first)->link))) {
			struct submission *sub = container_of(n, struct submission, link);

			tell_program(sub->done, sub->done_user, -WSC_ESTATE, why, BYTES(""), 0);
			submit_free(sub);
		}
	hook_give_up(sh); /* those that a hook has */
	while ((j = slab_next(&sh->jobs, &pos))) {
		struct job job = *j;

		slab_free(&sh->jobs, slab_handle_of(&sh->jobs, j));
		tell_program(job.done, job.user, -WSC_ESTATE, why, bytes_str(job.id), 0);
	}
}

void kick_run(struct shard *sh, struct task *t)
{
	struct kick_task *k = container_of(t, struct kick_task, task);
	struct job *j = NULL;
	slab_handle h = 0;
	const char *reason = reason_keep(sh->set, k->reason);

	if (k->done && (j = slab_new(&sh->jobs, &h))) {
		j->done = k->done;
		j->user = k->user;
	}
	if ((k->done && !j) || hub_kick(sh->hub, bytes_of(k->user_id, k->user_len), 4410, reason, j ? h | TOKEN_JOB : 0,
					BYTES(""), sh->now) != 0) {
		if (j)
			slab_free(&sh->jobs, h);
		tell_program(k->done, k->user, -WSC_EAGAIN, BYTES("too much is waiting; try again"), BYTES(""), 0);
	}
	mem_free(k);
}

/* ---- a program's message as JSON --------------------------------------------------------------------------------------- */

static void add_member(struct buf *b, const char *key, const char *value, size_t len)
{
	if (!value)
		return;
	buf_addf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
	json_add_string(b, bytes_of(value, len ? len : strlen(value)));
}

static bool texts_valid(const struct wsc_message *m)
{
	const char *const text[] = {
		m->id, m->type, m->from, m->to, m->ticket_id, m->create_at, m->reply_to_msg_id, m->priority
	};

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
		if (!utf8_valid(bytes_str(text[i])))
			return false;
	return !m->content || utf8_valid(bytes_of(m->content, m->content_len ? m->content_len : strlen(m->content)));
}

int submit_message_json(struct buf *b, const struct wsc_message *m)
{
	struct json_value v;

	if (!texts_valid(m) || (m->data && (json_check(bytes_str(m->data), &v) != JSON_OK || v.type != JSON_OBJECT)))
		return -WSC_EBADMESSAGE;
	buf_add_u8(b, '{');
	add_member(b, "id", m->id, 0);
	add_member(b, "type", m->type, 0);
	add_member(b, "from", m->from, 0);
	add_member(b, "to", m->to, 0);
	add_member(b, "ticket_id", m->ticket_id, 0);
	add_member(b, "content", m->content, m->content_len);
	add_member(b, "create_at", m->create_at, 0);
	add_member(b, "reply_to_msg_id", m->reply_to_msg_id, 0);
	add_member(b, "priority", m->priority, 0);
	if (m->data) {
		buf_addf(b, "%s\"data\":", b->len > 1 ? "," : "");
		buf_add(b, bytes_str(m->data));
	}
	buf_add_u8(b, '}');
	return b->failed ? -WSC_ENOMEM : 0;
}
