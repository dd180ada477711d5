/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submit: one message on its way in, from whoever sends it to the hub: the built-in checks, the hooks, the final text. The same
 * steps for a frame on /ws, a POST and the program's own call; they differ in who is told what went wrong.
 * A message that no hook holds up takes no memory but its own; one that a hook holds up is kept whole, and later input of its
 * sender waits behind it.
 */
#ifndef WSC_CONN_SUBMIT_H
#define WSC_CONN_SUBMIT_H

#include "conn/hook.h"
#include "proto/envelope.h"

enum submit_origin { SUBMIT_WS, SUBMIT_HTTP, SUBMIT_PROGRAM };
enum submit_stage { STAGE_CHECK, STAGE_RECEIVED, STAGE_SEND, STAGE_PUBLISH };

struct submission {
	struct task task; /* PROGRAM: how it came here */
	/* PROGRAM: in shard.program while a hook has it; the later ones of its sender are behind it on its @link, in order. */
	struct map_node node;
	struct list link;
	enum submit_origin origin;
	enum submit_stage stage;
	bool broadcast;
	bool heap; /* text and user are owned */
	slab_handle conn;
	struct bytes text; /* JSON */
	struct bytes user; /* who sends */
	wsc_done_fn *done; /* PROGRAM */
	void *done_user;
};

/* A text frame or body. Takes no ownership. @c is the sender's connection. True: done with; false: a hook has it, later input must wait. */
bool submit_ws(struct conn *c, struct bytes text);
bool submit_http(struct conn *c, struct bytes text, struct bytes user, bool broadcast);
/* Runs a program's submission (task.run). */
void submit_program_run(struct shard *sh, struct task *t);
/* A heap submission of the program; takes @text (owned, from mem). NULL: no memory, @text is freed. */
struct submission *submit_program_new(uint8_t *text, size_t len, struct bytes from, bool broadcast, wsc_done_fn *done,
				      void *user);
void submit_free(struct submission *sub);
/* What shard.program goes by: who sends. */
struct bytes submit_sender(const struct map_node *n);
/* Appends @m as JSON: 0, -WSC_EINVAL, -WSC_EBADMESSAGE, -WSC_ENOMEM. */
int submit_message_json(struct buf *b, const struct wsc_message *m);

/* An outcome of the hub for token of a connection or a job. */
void submit_outcome(struct shard *sh, const struct hub_request *r);

/* The shard ends: everybody whose message of the program has no outcome yet is told so. All hooks are over. */
void submit_bury(struct shard *sh);

/* Tokens: a connection's handle, or a job of the program (tagged). */
#define TOKEN_JOB 0x80000000u
struct job {
	wsc_done_fn *done;
	void *user;
	char id[ENVELOPE_ID_MAX + 1];
};
/* Asks the hub to close @user's connections. */
struct kick_task {
	struct task task;
	wsc_done_fn *done;
	void *user;
	char reason[WS_REASON_MAX + 1];
	size_t user_len;
	char user_id[WSC_ID_MAX + 1];
};
void kick_run(struct shard *sh, struct task *t);

#endif
