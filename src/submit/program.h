/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program: the program as a sender: wsc_send(), wsc_broadcast(), wsc_kick(), on the shard of the sending user. Messages of
 * one sender keep their order: those behind one that a hook has wait for it.
 */
#ifndef WSC_SUBMIT_PROGRAM_H
#define WSC_SUBMIT_PROGRAM_H

#include "base/map.h"
#include "submit/submit.h"

extern const struct sender program_sender;

/*
 * A message of the program, as a task for the shard of its sender; takes @text (owned, from mem). NULL: no memory, @text is
 * freed. Any thread.
 */
struct task *program_submission(uint8_t *text, size_t len, struct bytes from, bool broadcast, wsc_done_fn *done,
				void *user);
/* Frees a task that could not be posted. */
void program_submission_free(struct task *t);

/* A kick of @user's connections; the same. */
struct task *program_kick_task(struct bytes user_id, struct bytes reason, wsc_done_fn *done, void *user);
void program_kick_task_free(struct task *t);

/* The state in the shard. 0 or -WSC_ENOMEM. */
int program_init(struct shard *sh);
void program_deinit(struct shard *sh);
/* The shard ends: every message of the program that has no outcome yet gets one. Behind the last hook. */
void program_bury(struct shard *sh);

#endif
