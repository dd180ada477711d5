/* SPDX-License-Identifier: Apache-2.0 */
/* submit: see submit.h. */
#include "submit/submit.h"

#include "base/mem.h"
#include "hook/hook.h"
#include "submit/check.h"
#include "submit/text.h"
#include "wsc/error.h"

/* The result of a stage. */
enum step {
	STEP_ON,    /* the next stage */
	STEP_AGAIN, /* the same, but a hook has changed the text, so it is parsed again */
	STEP_WAIT,  /* a hook has it: answered() goes on */
	STEP_DONE   /* through, or refused: the sender was told or an outcome follows */
};

static void answered(struct shard *sh, struct wsc_pending *p);

/* Keeps @sub and its parsed text on the heap. NULL: no memory. */
static struct submission *keep_waiting(struct submission *sub, struct envelope *e)
{
	struct envelope *parsed = mem_alloc(sizeof *parsed);
	struct submission *copy = sub;

	if (!parsed || !text_own(sub, e) || (!sub->on_heap && !(copy = mem_alloc(sizeof *copy)))) {
		mem_free(parsed);
		return NULL;
	}
	*parsed = *e;
	if (!sub->on_heap) {
		*copy = *sub;
		copy->on_heap = copy->copied = true;
		sub->owns_text = sub->owns_user = false; /* the copy owns them now */
	}
	copy->parsed = parsed;
	return copy;
}

/* The hook has said WSC_PENDING. */
static enum step wait_for(struct shard *sh, struct submission *sub, struct envelope *e, struct wsc_call *call,
			  struct bytes ref)
{
	struct submission *kept = call->pending ? keep_waiting(sub, e) : NULL;

	if (kept) {
		hook_wait(call, answered, kept, kept->from);
		return STEP_WAIT;
	}
	if (!call->pending) {
		submit_refuse(sh, sub, END_HOOK_NOT_DEFERRED, ref);
	} else {
		hook_forget(call);
		submit_refuse(sh, sub, END_NO_MEMORY, ref);
	}
	return STEP_DONE;
}

/* An edit of the program was not applied: @error is -WSC_EBADMESSAGE or -WSC_ENOMEM. */
static void refuse_edit(struct shard *sh, struct submission *sub, int error, struct bytes ref)
{
	submit_refuse(sh, sub, error == -WSC_ENOMEM ? END_NO_MEMORY : END_BAD_EDIT, ref);
}

/* ---- the stages --------------------------------------------------------------------------------------------------- */

static enum step stage_check(struct shard *sh, struct submission *sub, struct envelope *e)
{
	if (!submit_check(sh, sub, e))
		return STEP_DONE;
	text_complete(sh, sub, e);
	return STEP_ON;
}

static enum step ask_received(struct shard *sh, struct submission *sub, struct envelope *e)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct submit_client client;
	struct envelope_out o;
	struct wsc_call call;
	struct bytes ref;
	struct seen v;
	int verdict;

	ref = text_id(sub, e, scratch);
	text_final(sh, sub, e, NULL, &o);
	if (!see(&v, e, &o)) {
		submit_refuse(sh, sub, END_NO_MEMORY, ref);
		return STEP_DONE;
	}
	sub->sender->client(sh, sub, &client);
	hook_call_init(&call, sh);
	verdict = hooks->on_message_received(hooks->user, &call, &client.client, &v.m);
	seen_deinit(&v);
	if (verdict == WSC_PENDING)
		return wait_for(sh, sub, e, &call, ref);
	hook_forget(&call);
	if (verdict == WSC_ALLOW)
		return STEP_ON;
	submit_refuse_as(sh, sub, API_REFUSED, hook_reason(call.reason, END_HOOK_REFUSED), ref);
	return STEP_DONE;
}

/* on_message_received: may this client send this message? */
static enum step stage_received(struct shard *sh, struct submission *sub, struct envelope *e)
{
	if (!sh->set->hooks.on_message_received || (sub->sender->rules & SENDER_TRUSTED) || sub->broadcast)
		return STEP_ON;
	return ask_received(sh, sub, e);
}

static enum step ask_send(struct shard *sh, struct submission *sub, struct envelope *e,
			  int (*hook)(void *, struct wsc_call *, struct wsc_message *))
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct buf extra = BUF_INIT;
	struct edits ed = { 0 };
	enum step step = STEP_DONE;
	struct envelope_out o;
	struct wsc_message m;
	struct wsc_call call;
	struct bytes ref;
	struct seen v;
	int verdict, error;

	ref = text_id(sub, e, scratch);
	text_final(sh, sub, e, NULL, &o);
	if (!see(&v, e, &o)) {
		submit_refuse(sh, sub, END_NO_MEMORY, ref);
		return STEP_DONE;
	}
	hook_call_init(&call, sh);
	m = v.m;
	verdict = hook(sh->set->hooks.user, &call, &m);
	if (verdict == WSC_PENDING) {
		step = wait_for(sh, sub, e, &call, ref);
	} else {
		hook_forget(&call);
		if (verdict != 0)
			submit_refuse_as(sh, sub, API_REFUSED, hook_reason(call.reason, END_HOOK_STOPPED), ref);
		else if ((error = edits_of(&ed, &v.m, &m, &extra)) < 0)
			refuse_edit(sh, sub, error, ref);
		else if (!ed.any)
			step = STEP_ON;
		else if (!text_edit(sh, sub, e, &ed))
			refuse_edit(sh, sub, -WSC_ENOMEM, ref);
		else
			step = STEP_AGAIN;
	}
	seen_deinit(&v);
	buf_deinit(&extra);
	return step;
}

/* on_message_send or on_broadcast: the last word of the program, which may also edit the message. */
static enum step stage_send(struct shard *sh, struct submission *sub, struct envelope *e)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;
	int (*hook)(void *, struct wsc_call *, struct wsc_message *) =
		sub->broadcast ? hooks->on_broadcast : hooks->on_message_send;

	return hook ? ask_send(sh, sub, e, hook) : STEP_ON;
}

/* The place where a message waits for the log. There is no log yet, so it goes on at once. */
static enum step stage_keep(struct shard *sh, struct submission *sub, struct envelope *e)
{
	(void)sh;
	(void)sub;
	(void)e;
	return STEP_ON;
}

static void count_accepted(struct shard *sh, const struct submission *sub)
{
	if (sub->broadcast)
		counter_add(&sh->metrics.broadcasts, 1);
	else if (!(sub->sender->rules & SENDER_TRUSTED))
		counter_add(&sh->metrics.received, 1);
}

static enum step stage_publish(struct shard *sh, struct submission *sub, struct envelope *e)
{
	uint8_t to_scratch[ENVELOPE_ID_SCRATCH] UNSET, id_scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct hub_publication p = { .scope = HUB_TO_ALL,
				     .sender = sub->user,
				     .ref = text_id(sub, e, id_scratch),
				     .may_be_outside = sub->sender->rules & SENDER_TRUSTED };
	struct submit_accepted a;
	struct envelope_out o UNSET;
	int r = -1;

	text_final(sh, sub, e, NULL, &o);
	if (!sub->broadcast) {
		p.scope = envelope_has(e, ENVELOPE_TO) ? HUB_TO_USER : HUB_TO_TICKET;
		p.to = envelope_string(e, p.scope == HUB_TO_USER ? ENVELOPE_TO : ENVELOPE_TICKET_ID, to_scratch);
	}
	a = (struct submit_accepted){ .id = p.ref, .to = p.to, .type = o.type };
	p.msg = msg_new(hub_owner(sh->hub), MSG_USER, envelope_size(&o));
	if (p.msg && sub->sender->accepting(sh, sub, &a, &p)) {
		p.msg->len = (uint32_t)envelope_write(&o, p.msg->json);
		r = hub_publish(sh->hub, &p, sh->now);
		if (r != 0 && sub->sender->not_accepted)
			sub->sender->not_accepted(sh, p.token);
	}
	if (p.msg)
		msg_unref(p.msg);
	if (r == 0)
		count_accepted(sh, sub);
	else if (r == HUB_NOT_IN_TICKET)
		submit_refuse(sh, sub, END_NOT_IN_TICKET, p.ref);
	else
		submit_refuse(sh, sub, r == HUB_BUSY ? END_BUSY : END_NO_MEMORY, p.ref);
	return STEP_DONE;
}

static enum step (*const stages[])(struct shard *sh, struct submission *sub, struct envelope *e) = {
	[STAGE_CHECK] = stage_check, [STAGE_RECEIVED] = stage_received, [STAGE_SEND] = stage_send,
	[STAGE_KEEP] = stage_keep,   [STAGE_PUBLISH] = stage_publish,
};

static bool parse(struct shard *sh, struct submission *sub, struct envelope *e)
{
	enum envelope_error err = envelope_parse(e, sub->text, sh->set->opt.json_depth, sh->set->seed);
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	char why[ENVELOPE_EXPLAIN_MAX] UNSET;

	if (err == ENVELOPE_OK)
		return true;
	/* The original text was parsed before, so the fault is in the edit of a hook. */
	if (sub->stage != STAGE_CHECK && err != ENVELOPE_NO_MEMORY) {
		refuse_edit(sh, sub, -WSC_EBADMESSAGE, envelope_id_before(e, scratch));
		return false;
	}
	submit_refuse_as(sh, sub, err == ENVELOPE_NO_MEMORY ? API_OVERLOADED : API_BAD_MESSAGE,
			 envelope_explain(e, err, why), envelope_id_before(e, scratch));
	return false;
}

bool submit_run(struct shard *sh, struct submission *sub)
{
	enum step step = STEP_AGAIN;
	struct envelope e UNSET;

	if (sub->parsed) {
		e = *sub->parsed;
		mem_free(sub->parsed);
		sub->parsed = NULL;
		step = STEP_ON;
	}
	while (step != STEP_DONE && step != STEP_WAIT)
		if (step == STEP_AGAIN && !parse(sh, sub, &e))
			step = STEP_DONE;
		else
			step = stages[sub->stage++](sh, sub, &e);
	return step == STEP_DONE;
}

bool submit_start(struct shard *sh, struct submission *sub)
{
	bool done = submit_run(sh, sub);

	submission_deinit(sub);
	return done;
}

/* ---- a hook has answered ------------------------------------------------------------------------------------------- */

/* Applies the edit of wsc_finish_message(). 0, -WSC_EBADMESSAGE, -WSC_ENOMEM. */
static int apply_edit(struct shard *sh, struct submission *sub, const struct wsc_pending *p)
{
	struct buf extra = BUF_INIT;
	struct envelope edited;
	struct edits ed = { 0 };
	enum envelope_error err;
	int r;

	if (p->edit_error)
		return p->edit_error;
	err = envelope_parse(&edited, bytes_of(p->edited, p->edited_len), sh->set->opt.json_depth, sh->set->seed);
	if (err != ENVELOPE_OK)
		return err == ENVELOPE_NO_MEMORY ? -WSC_ENOMEM : -WSC_EBADMESSAGE;
	r = edits_of_json(&ed, &edited, &extra);
	if (r == 0 && !text_edit(sh, sub, sub->parsed, &ed))
		r = -WSC_ENOMEM;
	buf_deinit(&extra);
	if (r == 0) {
		mem_free(sub->parsed); /* of the old text */
		sub->parsed = NULL;
	}
	return r;
}

/* Lets the answer the message go on? Otherwise the sender is told. */
static bool may_go_on(struct shard *sh, struct submission *sub, const struct wsc_pending *p)
{
	bool received_stage = sub->stage == STAGE_RECEIVED + 1;
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes ref = text_id(sub, sub->parsed, scratch);
	int error;

	if (p->timed_out && !sh->over)
		submit_refuse(sh, sub, END_HOOK_TIMEOUT, ref);
	else if (!p->timed_out && p->verdict != (received_stage ? WSC_ALLOW : 0))
		submit_refuse_as(sh, sub, API_REFUSED,
				 hook_reason(p->reason, received_stage ? END_HOOK_REFUSED : END_HOOK_STOPPED), ref);
	else if (sh->over) /* the call was given up, or the next hook would be asked for a gateway that has ended */
		submit_refuse(sh, sub, END_STOPPED, ref);
	else if ((p->edited || p->edit_error) && (error = apply_edit(sh, sub, p)) < 0)
		refuse_edit(sh, sub, error, ref);
	else
		return true;
	return false;
}

static void answered(struct shard *sh, struct wsc_pending *p)
{
	struct submission *sub = p->target;
	bool copied = sub->copied; /* else go_on() may free it */

	if (may_go_on(sh, sub, p) && !submit_run(sh, sub))
		return; /* the next hook has it */
	sub->sender->go_on(sh, sub);
	if (copied) {
		submission_deinit(sub);
		mem_free(sub);
	}
}

/* ---- outcomes --------------------------------------------------------------------------------------------------------- */

void submit_outcome(struct shard *sh, const struct hub_request *r)
{
	const uint64_t tag = (uint64_t)3 << SUBMIT_TOKEN_SHIFT;
	const struct sender *sender = sh->senders[(r->token & tag) >> SUBMIT_TOKEN_SHIFT];

	if (!r->token)
		return; /* a program that asked for no outcome */
	/* The message was counted as received when it was accepted; the table of metrics takes user_offline off again. */
	if (!(sender->rules & SENDER_TRUSTED) && r->result == HUB_TIMED_OUT)
		counter_add(&sh->metrics.messages_refused[API_TIMED_OUT], 1);
	else if (!(sender->rules & SENDER_TRUSTED) && r->result == HUB_NOBODY && r->scope != HUB_TO_ALL)
		counter_add(&sh->metrics.messages_refused[API_USER_OFFLINE], 1);
	sender->outcome(sh, r->token & ~tag, r);
}
