/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook: calls of the program's hooks, and those that are finished later. A pending call is a heap object that belongs to
 * the program until wsc_finish(); the shard only remembers it to time it out, and whom to tell. What it was about may be
 * gone by then: answers find that out by a stale handle.
 */
#ifndef WSC_CONN_HOOK_H
#define WSC_CONN_HOOK_H

#include "conn/conn.h"

#define HOOK_REASON_MAX 256

struct wsc_pending {
	struct task task;   /* posted by wsc_finish() */
	struct timer timer; /* on shard.hook_timers while somebody waits for it */
	struct settings *set;
	unsigned shard;
	/* On its shard, once: it was finished, or it took too long (@timed_out; then it is still the program's, and late()
	 * follows when it is finished after all). */
	void (*answer)(struct shard *sh, struct wsc_pending *p);
	void (*late)(struct shard *sh, struct wsc_pending *p);
	void *target; /* the answer's own */
	slab_handle conn;
	bool timed_out;
	int verdict, status;
	char reason[HOOK_REASON_MAX];
	struct wsc_identity identity;
	char *edited; /* JSON text of the edited message; NULL: as it was. Owned */
	size_t edited_len;
	bool edit_failed;
};

struct wsc_call {
	struct shard *sh;
	struct wsc_pending *pending;
	/* What the answer will need when what it is about has gone; made with the pending call, its target. NULL: nothing. */
	void *(*save)(const struct conn *c);
	const struct conn *about;
	int status;
	char reason[HOOK_REASON_MAX];
};

void hook_call_init(struct wsc_call *call, struct shard *sh);
/*
 * The hook has returned WSC_PENDING: @answer is called later. False: it has not called wsc_defer(), which is a refusal.
 */
bool hook_wait(struct wsc_call *call, void (*answer)(struct shard *, struct wsc_pending *), void *target,
	       slab_handle conn);
/* The hook has answered at once although it had called wsc_defer(): nobody waits any more. */
void hook_forget(struct wsc_call *call);
/* Pending calls that took too long. */
void hook_tick(struct shard *sh);
/* The shard ends: all that are left take too long. */
void hook_give_up(struct shard *sh);

struct bytes hook_reason(const char *reason, const char *otherwise);

/* The client of @c as hooks see it; @id_text is filled with the client id. */
#define CLIENT_ID_TEXT 33
void client_of(const struct conn *c, struct wsc_client *out, char id_text[CLIENT_ID_TEXT]);
/* The client id of @c: what makes its slot and generation, and what nobody can guess. */
void client_id_text(const struct conn *c, char out[CLIENT_ID_TEXT]);

struct wsc_request {
	const struct http1_head *head;
	struct bytes body;
	char *path;       /* decoded, NUL-terminated */
	uint8_t *scratch; /* behind it: room for any value of the query */
	char method[HTTP1_METHOD_MAX + 1];
	char address[IP_TEXT_MAX];
};
/* 0 or -WSC_ENOMEM; undone by request_deinit(). */
int request_init(struct wsc_request *r, const struct http1_head *head, struct bytes path, struct bytes body,
		 const struct ip *client);
void request_deinit(struct wsc_request *r);

#endif
