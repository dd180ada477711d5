/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook: one call of a hook of the program, and a call that is finished later. A pending call is a heap object that belongs
 * to the program until wsc_finish(). The shard remembers it only to time it out and to give the answer to the code that
 * asked. The connection that it is about may have ended by then: the answer finds a stale handle.
 */
#ifndef WSC_HOOK_HOOK_H
#define WSC_HOOK_HOOK_H

#include "api/end.h"
#include "shard/shard.h"

#define HOOK_REASON_MAX 256

struct wsc_pending {
	struct task task;   /* posted by wsc_finish() */
	struct timer timer; /* on shard.hook_timers while an answer is expected */
	struct settings *set;
	unsigned shard;
	/* Called on its shard, once: the program has finished it, or it took too long (@timed_out). In the second case it still
	 * belongs to the program, and late() is called when the program finishes it after all. */
	void (*answer)(struct shard *sh, struct wsc_pending *p);
	void (*late)(struct shard *sh, struct wsc_pending *p);
	void *target;      /* for answer() and late() */
	slab_handle about; /* the connection; 0: none */
	bool timed_out;
	int verdict, status;
	char reason[HOOK_REASON_MAX];
	struct wsc_identity identity;
	char *edited; /* JSON text of the edited message; NULL: not edited. Owned */
	size_t edited_len;
	int edit_error; /* -WSC_EBADMESSAGE, -WSC_ENOMEM; 0: none */
};

struct wsc_call {
	struct shard *sh;
	struct wsc_pending *pending;
	/* Copies what the answer needs of @about; called with wsc_defer(), the copy is the pending call's target. NULL: nothing. */
	void *(*save)(const void *about);
	const void *about;
	int status;
	char reason[HOOK_REASON_MAX];
};

void hook_call_init(struct wsc_call *call, struct shard *sh);
/*
 * The hook has returned WSC_PENDING: @answer is called later. False: it has not called wsc_defer(), which is a refusal.
 */
bool hook_wait(struct wsc_call *call, void (*answer)(struct shard *, struct wsc_pending *), void *target,
	       slab_handle about);
/* The hook has answered at once although it had called wsc_defer(): no answer is expected any more. */
void hook_forget(struct wsc_call *call);
/* Times out pending calls that took too long. */
void hook_tick(struct shard *sh);
/* The shard ends: times out all that are left. */
void hook_give_up(struct shard *sh);

/* @reason, or the sentence of @otherwise when it is empty. */
struct bytes hook_reason(const char *reason, enum end otherwise);

#endif
