/* SPDX-License-Identifier: Apache-2.0 */
/* hook: see hook.h. */
#include "hook/hook.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "hook/message.h"

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

struct bytes hook_reason(const char *reason, enum end otherwise)
{
	return bytes_str(reason[0] ? reason : end_why(otherwise));
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
	/* Room for answers is reserved, so this is never refused. */
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
		p->edit_error = message_json(&b, edited);
		p->edited = (char *)b.at;
		p->edited_len = b.len;
	}
	finish(p, verdict, 0, reason);
}

bool hook_wait(struct wsc_call *call, void (*answer)(struct shard *, struct wsc_pending *), void *target,
	       slab_handle about)
{
	struct wsc_pending *p = call->pending;

	if (!p)
		return false;
	p->answer = answer;
	p->target = target;
	p->about = about;
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
