/* SPDX-License-Identifier: Apache-2.0 */
/* program: see program.h. */
#include "submit/program.h"

#include <stdio.h>
#include "base/mem.h"
#include "base/utf8.h"
#include "hook/hook.h"
#include "wsc/error.h"

/* A message of the program. */
struct submitted {
	struct submission sub;
	struct task task;     /* how it came here */
	struct map_node node; /* in shard.program while a hook has it */
	struct list link;     /* the later ones of its sender, in order; or its place among them */
	wsc_done_fn *done;
	void *user;
};

/* An outcome that the program waits for; the token is its handle. */
struct job {
	wsc_done_fn *done;
	void *user;
	char id[ENVELOPE_ID_MAX + 1];
};

struct kick {
	struct task task;
	wsc_done_fn *done;
	void *user;
	char reason[WS_REASON_MAX + 1];
	size_t user_len;
	char user_id[WSC_ID_MAX + 1];
};

static struct submitted *submitted_of(struct submission *sub)
{
	return container_of(sub, struct submitted, sub);
}

static struct submitted *submitted_of_node(const struct map_node *n)
{
	return container_of((uintptr_t)n, struct submitted, node);
}

static struct bytes key_of(const struct map_node *n)
{
	return submitted_of_node(n)->sub.user;
}

/* ---- telling the program ----------------------------------------------------------------------------------------- */

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
	case API_SHUTTING_DOWN:
		return -WSC_ESTATE;
	default:
		return -WSC_EBADMESSAGE;
	}
}

static void tell(wsc_done_fn *done, void *user, int error, struct bytes why, struct bytes id, uint32_t delivered)
{
	char reason[END_WHY_MAX] UNSET, id_text[ENVELOPE_ID_MAX + 1] UNSET;
	struct wsc_outcome o = { .error = error, .reason = reason, .id = id_text, .delivered_count = delivered };

	if (!done)
		return;
	snprintf(reason, sizeof reason, "%.*s", (int)why.len, (const char *)why.at);
	snprintf(id_text, sizeof id_text, "%.*s", (int)id.len, (const char *)id.at);
	done(user, &o);
}

static void tell_stopped(wsc_done_fn *done, void *user, struct bytes id)
{
	tell(done, user, -WSC_ESTATE, bytes_str(end_why(END_STOPPED)), id, 0);
}

/* ---- the sender ---------------------------------------------------------------------------------------------------- */

static void refuse(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	(void)sh;
	tell(submitted_of(sub)->done, submitted_of(sub)->user, error_of_code(code), why, ref, 0);
}

static struct job *job_new(struct shard *sh, wsc_done_fn *done, void *user, uint64_t *token)
{
	slab_handle h;
	struct job *j = slab_new(&sh->jobs, &h);

	if (!j)
		return NULL;
	j->done = done;
	j->user = user;
	*token = submit_token(&program_sender, h);
	return j;
}

static void job_free(struct shard *sh, uint64_t token)
{
	slab_free(&sh->jobs, token & ~((uint64_t)3 << SUBMIT_TOKEN_SHIFT));
}

static bool accepting(struct shard *sh, struct submission *sub, const struct submit_accepted *a,
		      struct hub_publication *p)
{
	struct submitted *s = submitted_of(sub);
	struct job *j;

	p->only_failures = !s->done;
	if (!s->done)
		return true;
	j = job_new(sh, s->done, s->user, &p->token);
	if (j)
		memcpy(j->id, a->id.at, a->id.len);
	return j != NULL;
}

static void outcome(struct shard *sh, uint64_t token, const struct hub_request *r)
{
	struct job *j = slab_get(&sh->jobs, token);
	struct job job;
	enum end e;
	char why[END_WHY_MAX];

	if (!j)
		return;
	job = *j;
	slab_free(&sh->jobs, token);
	if (r->result == HUB_DELIVERED || r->scope == HUB_TO_ALL) {
		tell(job.done, job.user, 0, BYTES("delivered"), bytes_str(job.id), r->delivered);
		return;
	}
	e = r->result == HUB_NOBODY ? END_OFFLINE_NO_STORE : END_NO_OUTCOME;
	tell(job.done, job.user, error_of_code(end_code(e)), end_why_of(e, r->to, why), bytes_str(job.id),
	     r->delivered);
}

/* ---- in order --------------------------------------------------------------------------------------------------------- */

static void free_submitted(struct submitted *s)
{
	submission_deinit(&s->sub);
	mem_free(s);
}

/* False: a hook has it now, and the later ones of its sender wait. */
static bool start(struct shard *sh, struct submitted *s)
{
	if (sh->over) {
		/* A hook that answers later would answer to a gateway that has ended. */
		tell_stopped(s->done, s->user, BYTES(""));
	} else if (!submit_run(sh, &s->sub)) {
		map_insert(&sh->program, &s->node, map_hash(&sh->program, s->sub.user));
		return false;
	}
	free_submitted(s);
	return true;
}

/* @sub is through: those of its sender that waited have their turn, until a hook has one again. */
static void go_on(struct shard *sh, struct submission *sub)
{
	struct submitted *s = submitted_of(sub);
	struct list behind, *n;

	list_init(&behind);
	list_splice(&behind, &s->link);
	map_remove(&sh->program, &s->node);
	free_submitted(s);
	while ((n = list_pop(&behind))) {
		s = container_of(n, struct submitted, link);
		if (!start(sh, s)) {
			list_splice(&s->link, &behind);
			return;
		}
	}
}

static void run(struct shard *sh, struct task *t)
{
	struct submitted *s = container_of(t, struct submitted, task);
	struct map_node *first = map_find(&sh->program, s->sub.user, map_hash(&sh->program, s->sub.user));

	if (first && !sh->over)
		list_push(&submitted_of_node(first)->link, &s->link);
	else
		(void)start(sh, s);
}

const struct sender program_sender = {
	.id = SENDER_PROGRAM,
	.rules = SENDER_TRUSTED,
	.refuse = refuse,
	.accepting = accepting,
	.not_accepted = job_free,
	.client = submit_user_as_client,
	.go_on = go_on,
	.outcome = outcome,
};

struct task *program_submission(uint8_t *text, size_t len, struct bytes from, bool broadcast, wsc_done_fn *done,
				void *user)
{
	struct submitted *s = mem_zalloc(sizeof *s);
	char *name = mem_strndup(from.at, from.len);

	if (!s || !name) {
		mem_free(s);
		mem_free(name);
		mem_free(text);
		return NULL;
	}
	s->sub = (struct submission){ .sender = &program_sender,
				      .text = bytes_of(text, len),
				      .user = bytes_of(name, from.len),
				      .broadcast = broadcast,
				      .owns_text = true,
				      .owns_user = true,
				      .on_heap = true };
	s->task.run = run;
	s->task.weight = len;
	s->done = done;
	s->user = user;
	list_init(&s->link);
	return &s->task;
}

void program_submission_free(struct task *t)
{
	free_submitted(container_of(t, struct submitted, task));
}

/* ---- kick ---------------------------------------------------------------------------------------------------------------- */

static void kick_run(struct shard *sh, struct task *t)
{
	struct kick *k = container_of(t, struct kick, task);
	const char *reason = reason_keep(sh->set, k->reason);
	uint64_t token = 0;
	bool ok = !k->done || job_new(sh, k->done, k->user, &token);

	if (!ok || hub_kick(sh->hub, bytes_of(k->user_id, k->user_len), end_close(END_KICKED), reason, token, BYTES(""),
			    sh->now) != 0) {
		if (token)
			job_free(sh, token);
		tell(k->done, k->user, -WSC_EAGAIN, bytes_str(end_why(END_BUSY)), BYTES(""), 0);
	}
	mem_free(k);
}

struct task *program_kick_task(struct bytes user_id, struct bytes reason, wsc_done_fn *done, void *user)
{
	struct kick *k = mem_zalloc(sizeof *k);

	if (!k)
		return NULL;
	k->task.run = kick_run;
	k->done = done;
	k->user = user;
	k->user_len = user_id.len;
	memcpy(k->user_id, user_id.at, user_id.len);
	memcpy(k->reason, reason.at, utf8_prefix(reason, WS_REASON_MAX));
	return &k->task;
}

void program_kick_task_free(struct task *t)
{
	mem_free(container_of(t, struct kick, task));
}

/* ---- the shard's part ----------------------------------------------------------------------------------------------------- */

int program_init(struct shard *sh)
{
	if (map_init(&sh->program, sh->set->seed, key_of) < 0 || slab_init(&sh->jobs, sizeof(struct job)) < 0)
		return -WSC_ENOMEM;
	return 0;
}

void program_deinit(struct shard *sh)
{
	slab_deinit(&sh->jobs);
	map_deinit(&sh->program);
}

void program_bury(struct shard *sh)
{
	struct map_node *first = map_first(&sh->program);
	struct list *n;
	struct job *j;
	uint32_t pos = 0;

	for (; first; first = map_after(&sh->program, key_of(first), first->hash))
		while ((n = list_pop(&submitted_of_node(first)->link))) {
			struct submitted *s = container_of(n, struct submitted, link);

			tell_stopped(s->done, s->user, BYTES(""));
			free_submitted(s);
		}
	hook_give_up(sh); /* the first ones, which hooks have */
	while ((j = slab_next(&sh->jobs, &pos))) {
		struct job job = *j;

		slab_free(&sh->jobs, slab_handle_of(&sh->jobs, j));
		tell_stopped(job.done, job.user, bytes_str(job.id));
	}
}
