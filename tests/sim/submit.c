/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submit: the way of messages into the hubs. Each hub has a shard, and around it the real stages of src/submit: the checks,
 * the hooks, the text, the queue of the program. The simulator has both ends: senders (connections, calls of the API) whose
 * input waits while a hook has a message of theirs, and a program that answers its hooks as the plan of each message says: at
 * once, later, too late, with an edit, never. Texts are overwritten as soon as submit_start() returns. The oracle sees every
 * call of hub_publish(), because this program is linked with --wrap=hub_publish.
 */
#include "sim.h"

#include "base/mem.h"
#include "hook/hook.h"

#include <stdio.h>
#include <stdlib.h>

#define NONE UINT32_MAX
#define CREATE_AT "2024-01-01T00:00:00Z"
#define PAD_MAX 1024                               /* above the longest pad */
#define DIRECT ((uint64_t)3 << SUBMIT_TOKEN_SHIFT) /* no sender has this number */

int __real_hub_publish(struct hub *h, const struct hub_publication *p, struct now now);
int __wrap_hub_publish(struct hub *h, const struct hub_publication *p, struct now now);

/* The present world, for __wrap_hub_publish() and for the outcomes of the program, which have no pointer to it. */
static struct sim *playing;

static struct sim *world_of(struct shard *sh)
{
	return sh->set->owner;
}

static struct shard *shard_now(struct sim *w, unsigned hub)
{
	w->shard[hub].now = sim_now(w);
	return &w->shard[hub];
}

bool submit_is_direct(uint64_t token)
{
	return (token & DIRECT) == DIRECT;
}

uint64_t submit_direct(uint64_t token)
{
	return token ^ DIRECT;
}

int __wrap_hub_publish(struct hub *h, const struct hub_publication *p, struct now now)
{
	int err = __real_hub_publish(h, p, now);

	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		if (playing->hub[hub] == h)
			oracle_hub_said(playing, hub, p, err);
	return err;
}

/* ---- texts -------------------------------------------------------------------------------------------------------- */

const char *submit_name(const struct sim *w, uint32_t sender)
{
	static const char *const names[] = { "api0", "api1", "api2", "pat0", "pat1", "pat2", "pia0", "pia1", "pia2" };

	return sender < SIM_CONNS ? user_id_text(w->conn[sender]->user) : names[sender - SIM_CONNS];
}

static bool to_all(const struct sim_msg *m)
{
	return m->scope == HUB_TO_ALL;
}

static size_t put_content(const struct sim_msg *m, char fill, char *out)
{
	size_t n = (size_t)sprintf(out, ",\"content\":\"");

	memset(out + n, fill, m->pad);
	out[n + m->pad] = '"';
	return n + m->pad + 1;
}

/* As its sender writes it. */
static struct bytes said_text(const struct sim *w, uint32_t number, char out[SIM_TEXT_MAX])
{
	const struct sim_msg *m = &w->msg[number];
	size_t n = (size_t)sprintf(out, "%s\"id\":\"%08u\",\"create_at\":\"" CREATE_AT "\"",
				   m->flaw == FLAW_JSON ? "[" : "{", (unsigned)number);

	if (m->flaw == FLAW_FROM)
		n += (size_t)sprintf(out + n, ",\"from\":\"nobody\"");
	if (m->scope == HUB_TO_USER && m->flaw != FLAW_RECIPIENT)
		n += (size_t)sprintf(out + n, ",\"to\":\"%s\"", user_id_text(m->user));
	if (m->scope == HUB_TO_TICKET)
		n += (size_t)sprintf(out + n, ",\"ticket_id\":\"%s\"", (const char *)sim_ticket(m->ticket).at);
	if (m->flaw != FLAW_PAYLOAD)
		n += put_content(m, '.', out + n);
	out[n++] = '}';
	return bytes_of(out, n);
}

struct bytes submit_text(const struct sim *w, uint32_t number, char out[SIM_TEXT_MAX])
{
	const struct sim_msg *m = &w->msg[number];
	size_t n =
		(size_t)sprintf(out, "{\"id\":\"%08u\",\"type\":\"%s\",\"from\":\"%s\",\"to\":\"%s\"", (unsigned)number,
				m->edited   ? "edited"
				: to_all(m) ? "notice"
					    : "text",
				submit_name(w, m->sender), m->scope == HUB_TO_USER ? user_id_text(m->user) : "");

	n += put_content(m, m->edited ? '#' : '.', out + n);
	n += (size_t)sprintf(out + n, ",\"create_at\":\"" CREATE_AT "\"");
	if (m->scope == HUB_TO_TICKET)
		n += (size_t)sprintf(out + n, ",\"ticket_id\":\"%s\"", (const char *)sim_ticket(m->ticket).at);
	if (m->edited)
		n += (size_t)sprintf(out + n, ",\"priority\":\"high\"");
	out[n++] = '}';
	return bytes_of(out, n);
}

/* ---- senders: connections and calls ------------------------------------------------------------------------------------- */

static uint32_t sender_of(const struct submission *sub)
{
	return (uint32_t)(sub->from - 1);
}

static void refuse(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	struct sim *w = world_of(sh);
	uint32_t number = w->input[sender_of(sub)].current;
	char id[16];

	snprintf(id, sizeof id, "%08u", (unsigned)number);
	if (!why.len || (ref.len && !bytes_eq(ref, bytes_str(id))))
		sim_fail(w, "the refusal of message %u names another one", number);
	oracle_denied(w, number, code);
}

static bool accepting(struct shard *sh, struct submission *sub, const struct submit_accepted *a,
		      struct hub_publication *p)
{
	struct sim *w = world_of(sh);
	const struct sim_msg *m = &w->msg[w->input[sender_of(sub)].current];

	(void)a;
	p->token = submit_token(sub->sender, m->token);
	p->only_failures = m->want != TOKEN_ONE;
	return true;
}

static void outcome(struct shard *sh, uint64_t token, const struct hub_request *r)
{
	struct hub_request own = *r;

	own.token = token;
	if (r->result == HUB_TIMED_OUT)
		world_of(sh)->counts[sh->index].refused[API_TIMED_OUT]++;
	else if (r->result == HUB_NOBODY && r->scope != HUB_TO_ALL)
		world_of(sh)->counts[sh->index].refused[API_USER_OFFLINE]++;
	oracle_outcome(world_of(sh), sh->index, &own);
}

static void go_on(struct shard *sh, struct submission *sub);

/* A connection, and a call of the API, which gets other error codes. No sender here sends a ping. */
static const struct sender frames = { .id = SENDER_WS,
				      .rules = SENDER_FRAMES,
				      .refuse = refuse,
				      .accepting = accepting,
				      .client = submit_user_as_client,
				      .go_on = go_on,
				      .outcome = outcome };
static const struct sender calls = { .id = SENDER_HTTP,
				     .rules = SENDER_CALLS,
				     .refuse = refuse,
				     .accepting = accepting,
				     .client = submit_user_as_client,
				     .go_on = go_on,
				     .outcome = outcome };
static const struct sender *const senders[SENDERS] = {
	[SENDER_WS] = &frames, [SENDER_HTTP] = &calls, [SENDER_PROGRAM] = &program_sender
};

/* ---- input that waits behind a hook --------------------------------------------------------------------------------------- */

static void begin(struct sim *w, uint32_t sender, uint32_t number)
{
	struct sim_input *in = &w->input[sender];
	const char *name = submit_name(w, sender);
	struct submission sub = { .sender = sender < SIM_CONNS ? &frames : &calls,
				  .from = sender + 1,
				  .text = said_text(w, number, w->said),
				  .user = bytes_of(w->said_by, strlen(name)),
				  .broadcast = to_all(&w->msg[number]) };

	memcpy(w->said_by, name, sub.user.len);
	in->current = number;
	in->thinking = !submit_start(shard_now(w, sim_hub_of_sender(w, sender)), &sub);
	/* A view that was kept shows no JSON. */
	memset(w->said, '?', sizeof w->said);
	memset(w->said_by, '?', sizeof w->said_by);
}

static uint32_t input_pop(struct sim *w, struct sim_input *in)
{
	uint32_t number = in->first;

	in->first = w->msg[number].next;
	return number;
}

static void input_run(struct sim *w, uint32_t sender)
{
	struct sim_input *in = &w->input[sender];

	while (in->first != NONE && !in->thinking)
		begin(w, sender, input_pop(w, in));
}

static void input_drop(struct sim *w, uint32_t sender)
{
	struct sim_input *in = &w->input[sender];

	while (in->first != NONE)
		oracle_dropped(w, input_pop(w, in));
}

void submit_left(struct sim *w, uint32_t number)
{
	input_drop(w, number);
}

static void go_on(struct shard *sh, struct submission *sub)
{
	struct sim *w = world_of(sh);
	uint32_t sender = sender_of(sub);

	if (!w->input[sender].thinking)
		sim_fail(w, "%s is to go on, and nothing held it up", submit_name(w, sender));
	w->input[sender].thinking = false;
	if (w->over || (sender < SIM_CONNS && !conn_accepted(w->conn[sender])))
		input_drop(w, sender); /* a connection that closes reads no input */
	input_run(w, sender);
}

/* ---- the program: its messages ---------------------------------------------------------------------------------------------- */

static void done(void *user, const struct wsc_outcome *o)
{
	oracle_told(playing, (uint32_t)(uintptr_t)user - 1, o);
}

static int post(struct settings *set, unsigned to, struct task *t, bool must)
{
	struct sim *w = set->owner;

	(void)must;
	t->next = NULL;
	*w->task[to].last = t;
	w->task[to].last = &t->next;
	return 0;
}

static void program_says(struct sim *w, uint32_t number)
{
	const struct sim_msg *m = &w->msg[number];
	char text[SIM_TEXT_MAX];
	struct bytes t = said_text(w, number, text);
	char *own = mem_strndup(t.at, t.len);
	struct task *task;

	if (!own)
		abort();
	task = program_submission((uint8_t *)own, t.len, bytes_str(submit_name(w, m->sender)), to_all(m),
				  m->want == TOKEN_ONE ? done : NULL, (void *)(uintptr_t)(number + 1));
	if (!task)
		abort();
	(void)post(&w->set, sim_hub_of_sender(w, m->sender), task, false);
}

void submit_say(struct sim *w, uint32_t number)
{
	struct sim_msg *m = &w->msg[number];
	struct sim_input *in;

	m->submitted = true;
	m->next = NONE;
	if (m->sender >= SIM_INPUTS) {
		program_says(w, number);
		return;
	}
	in = &w->input[m->sender];
	if (in->first == NONE)
		in->first = number;
	else
		w->msg[in->last].next = number;
	in->last = number;
	input_run(w, m->sender);
}

/* ---- the program: its hooks --------------------------------------------------------------------------------------------------- */

static const char no_utf8[] = "\xff";

/* The new texts are static, because they must stay valid after the hook has returned. */
static void edit(const struct sim *w, uint32_t number, enum sim_answer answer, struct wsc_message *m)
{
	static char content[PAD_MAX];

	memset(content, '#', sizeof content);
	m->content = answer == ANSWER_BAD_EDIT ? no_utf8 : content + PAD_MAX - 1 - w->msg[number].pad;
	content[PAD_MAX - 1] = 0;
	m->type = "edited";
	m->priority = "high";
}

static void note_answer(struct sim *w, uint32_t number, enum sim_hook hook)
{
	struct sim_msg *m = &w->msg[number];

	m->hook[hook].answered = true;
	m->edited |= hook == HOOK_SEND && m->plan[hook].answer == ANSWER_EDIT;
}

static int verdict_of(const struct sim_msg *m, enum sim_hook hook)
{
	bool yes = m->plan[hook].answer != ANSWER_NO;

	if (hook == HOOK_RECEIVED)
		return yes ? WSC_ALLOW : WSC_REFUSE;
	return yes ? 0 : -1;
}

static int answer(struct sim *w, struct wsc_call *call, enum sim_hook hook, const struct wsc_message *seen,
		  struct wsc_message *edited)
{
	uint32_t number = (uint32_t)strtoul(seen->id, NULL, 10);
	struct sim_plan plan;

	oracle_asked(w, number, hook, call->sh->index, seen);
	plan = w->msg[number].plan[hook];
	if ((plan.late || plan.answer == ANSWER_NEVER) && w->asks < SIM_ASKS) {
		w->ask[w->asks++] = (struct sim_ask){
			.pending = wsc_defer(call),
			.msg = number,
			.hook = (uint8_t)hook,
			/* Every call must be finished. NEVER is far too late, unless its shard had no turn until then. */
			.due_ms = w->ms + (plan.answer == ANSWER_NEVER ? 3 * w->o.hook_timeout_ms : plan.after_ms),
		};
		sim_tell(w, "message %u waits for a hook", number);
		return WSC_PENDING;
	}
	note_answer(w, number, hook);
	if (edited && (plan.answer == ANSWER_EDIT || plan.answer == ANSWER_BAD_EDIT))
		edit(w, number, (enum sim_answer)plan.answer, edited);
	return verdict_of(&w->msg[number], hook);
}

static int on_received(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	if (strcmp(client->user_id, m->from) != 0)
		sim_fail(user, "message %s of %s comes from %s", m->id, m->from, client->user_id);
	return answer(user, call, HOOK_RECEIVED, m, NULL);
}

static int on_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	return answer(user, call, HOOK_SEND, m, m);
}

static void finish(struct sim *w, const struct sim_ask *a)
{
	const struct sim_msg *m = &w->msg[a->msg];
	enum sim_answer what = (enum sim_answer)m->plan[a->hook].answer;
	struct wsc_message edited = { 0 };

	if (what == ANSWER_EDIT || what == ANSWER_BAD_EDIT) {
		edit(w, a->msg, what, &edited);
		wsc_finish_message(a->pending, verdict_of(m, (enum sim_hook)a->hook), &edited, NULL);
	} else {
		wsc_finish(a->pending, verdict_of(m, (enum sim_hook)a->hook), NULL);
	}
	note_answer(w, a->msg, (enum sim_hook)a->hook);
}

/* A thread of the program finishes the calls that are due. */
static void finish_due(struct sim *w)
{
	for (uint32_t i = 0; i < w->asks;)
		if (w->ask[i].due_ms <= w->ms) {
			struct sim_ask a = w->ask[i];

			w->ask[i] = w->ask[--w->asks];
			finish(w, &a);
		} else {
			i++;
		}
}

/* ---- the turn, the end --------------------------------------------------------------------------------------------------------- */

static void run_tasks(struct sim *w, unsigned hub)
{
	struct task *t = w->task[hub].first, *next;

	w->task[hub] = (struct sim_tasks){ NULL, &w->task[hub].first };
	for (; t; t = next) {
		next = t->next;
		t->run(&w->shard[hub], t);
	}
}

void submit_turn(struct sim *w, unsigned hub)
{
	struct shard *sh = shard_now(w, hub);

	finish_due(w);
	run_tasks(w, hub);
	if (!w->over)
		hook_tick(sh); /* the end must have given up all pending calls */
}

bool submit_quiet(const struct sim *w)
{
	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		if (w->task[hub].first || w->shard[hub].program.count || w->shard[hub].jobs.live)
			return false;
	for (uint32_t i = 0; i < SIM_INPUTS; i++)
		if (w->input[i].thinking || w->input[i].first != NONE)
			return false;
	return w->asks == 0;
}

void submit_bury(struct sim *w, unsigned hub)
{
	program_bury(shard_now(w, hub));
}

void submit_init(struct sim *w)
{
	playing = w;
	w->set.opt = (struct options){ .json_depth = 64, .hook_timeout_ms = w->o.hook_timeout_ms };
	w->set.hooks.user = w;
	w->set.hooks.on_message_received = w->o.hook[HOOK_RECEIVED] ? on_received : NULL;
	w->set.hooks.on_message_send = w->set.hooks.on_broadcast = w->o.hook[HOOK_SEND] ? on_send : NULL;
	w->set.log.fd = -1;
	w->set.seed[0] = w->o.seed;
	w->set.nshards = SIM_HUBS;
	w->set.owner = w;
	w->set.post_foreign = post;
	for (unsigned hub = 0; hub < SIM_HUBS; hub++) {
		struct shard *sh = shard_now(w, hub);

		sh->set = &w->set;
		sh->index = hub;
		sh->senders = senders;
		sh->hub = w->hub[hub];
		timers_init(&sh->hook_timers, w->ms);
		rng_init_seed(&sh->rng, w->o.seed + hub);
		if (program_init(sh) < 0)
			abort();
		w->task[hub].last = &w->task[hub].first;
	}
	for (uint32_t i = 0; i < SIM_INPUTS; i++)
		w->input[i] = (struct sim_input){ .first = NONE, .current = NONE };
}

void submit_deinit(struct sim *w)
{
	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		program_deinit(&w->shard[hub]);
}
