/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submit_fixture: one shard with a hub, a clock and a seed, three senders that write a line for each call of theirs, and hooks
 * that answer as the test says. There is no socket and no connection. Texts are freed right after submit_start(), as the
 * texts of a connection may be, so that a sanitizer finds a view that was kept.
 */
#ifndef WSC_TESTS_UNIT_SUBMIT_FIXTURE_H
#define WSC_TESTS_UNIT_SUBMIT_FIXTURE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "hook/hook.h"
#include "submit/program.h"
#include "submit/submit.h"
#include "test.h"
#include "wsc/error.h"

#define FX_DEVICES 8
#define FX_ASKED 64
#define FX_WALL_MS 1700000000000u /* 2023-11-14T22:13:20.000Z */

enum fx_sender { FX_FRAMES, FX_CALLS, FX_TRUSTED };

/* How a hook answers. */
struct fx_answer {
	int verdict;
	const char *reason;
	bool defer; /* wsc_defer() is called, whatever the verdict is */
	void (*edit)(struct wsc_message *m);
	void (*before_return)(struct wsc_pending *p); /* called with the deferred call before the hook returns */
};

struct fx {
	struct settings set;
	struct shard sh;
	struct session device[FX_DEVICES];
	unsigned devices;
	bool gone;      /* the sender has gone: its lines begin with "nobody: " */
	bool no_memory; /* accepting() finds none */
	bool all;       /* the senders ask for every outcome, not only for failures */
	/* A line for each call of a sender or a hook. Not from mem, so that memory faults do not reach it. */
	char said[4096];
	char why[END_WHY_MAX];
	struct fx_answer received, send; /* send: of on_broadcast too */
	struct wsc_pending *asked[FX_ASKED];
	unsigned nasked;
	char seen[1024]; /* the last message that a hook saw: "id|type|from|to|content|create_at|data|priority|reply" */
	char client[ENVELOPE_ADDRESS_MAX + 1];
	struct task *tasks, **last_task;
};

static inline struct fx *fx_of(struct shard *sh)
{
	return container_of(sh, struct fx, sh);
}

__attribute__((format(printf, 2, 3))) static inline void fx_say(struct fx *fx, const char *fmt, ...)
{
	size_t used = strlen(fx->said);
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	snprintf(fx->said + used, sizeof fx->said - used, "%s%s\n", fx->gone ? "nobody: " : "", line);
}

/* ---- senders ------------------------------------------------------------------------------------------------------ */

static void fx_refuse(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	(void)sub;
	snprintf(fx_of(sh)->why, END_WHY_MAX, "%.*s", (int)why.len, (const char *)why.at);
	fx_say(fx_of(sh), "%s %.*s", api_code_text(code), (int)ref.len, (const char *)ref.at);
}

static void fx_reply(struct shard *sh, struct submission *sub, struct msg *m)
{
	(void)sub;
	fx_say(fx_of(sh), "reply %s",
	       !m                                                 ? "without memory"
	       : memmem(m->json, m->len, "\"type\":\"pong\"", 13) ? "pong"
								  : "?");
	if (m)
		msg_unref(m);
}

static bool fx_accepting(struct shard *sh, struct submission *sub, const struct submit_accepted *a,
			 struct hub_publication *p)
{
	struct fx *fx = fx_of(sh);

	(void)a;
	p->token = submit_token(sub->sender, sub->from);
	p->only_failures = !fx->all;
	return !fx->no_memory;
}

static void fx_not_accepted(struct shard *sh, uint64_t token)
{
	(void)token;
	fx_say(fx_of(sh), "not accepted");
}

static void fx_go_on(struct shard *sh, struct submission *sub)
{
	(void)sub;
	fx_say(fx_of(sh), "go on");
}

static void fx_outcome(struct shard *sh, uint64_t token, const struct hub_request *r)
{
	static const char *const result[] = { "delivered", "nobody", "timed out" };

	fx_say(fx_of(sh), "outcome %u: %s %u of %.*s", (unsigned)token, result[r->result], r->delivered,
	       (int)r->ref.len, (const char *)r->ref.at);
}

#define FX_SENDER(number, what)                                                                                     \
	{                                                                                                           \
		.id = (number), .rules = (what), .refuse = fx_refuse, .reply = fx_reply, .accepting = fx_accepting, \
		.not_accepted = fx_not_accepted, .client = submit_user_as_client, .go_on = fx_go_on,                \
		.outcome = fx_outcome                                                                               \
	}
static const struct sender fx_sender[] = {
	[FX_FRAMES] = FX_SENDER(SENDER_WS, SENDER_FRAMES),
	[FX_CALLS] = FX_SENDER(SENDER_HTTP, SENDER_CALLS),
	/* It has the rules of the program, and asks for no outcome, because outcomes would go to program.c. */
	[FX_TRUSTED] = FX_SENDER(SENDER_PROGRAM, SENDER_TRUSTED),
};
static const struct sender *const fx_senders[SENDERS] = {
	[SENDER_WS] = &fx_sender[FX_FRAMES], [SENDER_HTTP] = &fx_sender[FX_CALLS], [SENDER_PROGRAM] = &program_sender
};

/* ---- hooks ---------------------------------------------------------------------------------------------------------- */

static inline void fx_look(struct fx *fx, const char *hook, const struct wsc_message *m)
{
	bool gone = fx->gone;

	snprintf(fx->seen, sizeof fx->seen, "%s|%s|%s|%s|%s|%s|%s|%s|%s", m->id, m->type, m->from, m->to, m->content,
		 m->create_at, m->data ? m->data : "-", m->priority ? m->priority : "-",
		 m->reply_to_msg_id ? m->reply_to_msg_id : "-");
	fx->gone = false;
	fx_say(fx, "%s?", hook);
	fx->gone = gone;
}

static inline int fx_answers(struct fx *fx, const struct fx_answer *a, struct wsc_call *call, struct wsc_message *m)
{
	struct wsc_pending *p = NULL;

	if (a->defer && !(p = wsc_defer(call))) {
		wsc_reason(call, 0, "no memory for wsc_defer()");
		return -1; /* a refusal for both kinds of hook */
	}
	if (p)
		fx->asked[fx->nasked++ % FX_ASKED] = p;
	if (a->reason)
		wsc_reason(call, 0, a->reason);
	if (a->edit && m)
		a->edit(m);
	if (a->before_return)
		a->before_return(p);
	return a->verdict;
}

static int fx_on_received(void *user, struct wsc_call *call, const struct wsc_client *client,
			  const struct wsc_message *m)
{
	struct fx *fx = user;

	fx_look(fx, "received", m);
	snprintf(fx->client, sizeof fx->client, "%s", client->user_id);
	return fx_answers(fx, &fx->received, call, NULL);
}

static int fx_on_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	fx_look(user, "send", m);
	return fx_answers(user, &((struct fx *)user)->send, call, m);
}

static int fx_on_broadcast(void *user, struct wsc_call *call, struct wsc_message *m)
{
	fx_look(user, "broadcast", m);
	return fx_answers(user, &((struct fx *)user)->send, call, m);
}

/* Installs the hooks; both allow, until fx->received and fx->send say otherwise. */
static inline void fx_hooks(struct fx *fx, bool received, bool send)
{
	fx->set.hooks.on_message_received = received ? fx_on_received : NULL;
	fx->set.hooks.on_message_send = send ? fx_on_send : NULL;
	fx->set.hooks.on_broadcast = send ? fx_on_broadcast : NULL;
}

/* The call that was deferred as the @n-th. */
static inline struct wsc_pending *fx_call(struct fx *fx, unsigned n)
{
	if (n >= fx->nasked)
		abort();
	return fx->asked[n];
}

/* ---- the shard ------------------------------------------------------------------------------------------------------- */

static int fx_post(struct settings *set, unsigned to, struct task *t, bool must)
{
	struct fx *fx = set->owner;

	(void)to;
	(void)must;
	t->next = NULL;
	*fx->last_task = t;
	fx->last_task = &t->next;
	return 0;
}

static unsigned fx_route(void *ctx, struct bytes id, uint64_t hash)
{
	(void)ctx;
	(void)id;
	(void)hash;
	return 0;
}

static void fx_peer_send(void *ctx, unsigned peer, const struct hub_relay *r)
{
	(void)ctx;
	(void)peer;
	(void)r;
	abort(); /* there is one hub */
}

static inline void fx_at(struct fx *fx, uint64_t ms)
{
	fx->sh.now = (struct now){ .mono_ns = ms * 1000000u, .wall_ms = FX_WALL_MS + ms };
}

static inline struct hub_options fx_hub_options(void)
{
	return (struct hub_options){
		.peers = 1,
		.max_messages = { 256, 256 },
		.max_queue_bytes = 1 << 20,
		.max_sessions_per_user = FX_DEVICES,
		.ends = { [HUB_END_REPLACED] = { 4409, "replaced" },
			  [HUB_END_SLOW] = { 1013, "slow" },
			  [HUB_END_NO_MEMORY] = { 1013, "no memory" } },
		.ask_timeout_ms = 1000,
		.max_pending = 64,
		.seed = { 1, 2 },
		.route = fx_route,
		.peer_send = fx_peer_send,
	};
}

static unsigned fx_elsewhere(void *ctx, struct bytes id, uint64_t hash)
{
	(void)ctx;
	(void)id;
	(void)hash;
	return 1;
}

static void fx_swallow(void *ctx, unsigned peer, const struct hub_relay *r)
{
	(void)ctx;
	(void)peer;
	(void)r;
}

static inline void fx_init(struct fx *fx)
{
	struct hub_options o = fx_hub_options();

	*fx = (struct fx){ 0 };
	fx->last_task = &fx->tasks;
	fx->set.opt = (struct options){ .hook_timeout_ms = 1000, .json_depth = 64, .max_message_bytes = 1 << 20 };
	fx->set.hooks.user = fx;
	fx->set.log.fd = -1;
	fx->set.seed[0] = 1;
	fx->set.seed[1] = 2;
	fx->set.nshards = 1;
	fx->set.owner = fx;
	fx->set.post_foreign = fx_post;
	fx->set.reasons = reasons_new();
	fx->received.verdict = WSC_ALLOW;
	fx->sh.set = &fx->set;
	fx->sh.senders = fx_senders;
	fx_at(fx, 0);
	timers_init(&fx->sh.hook_timers, 0);
	rng_init_seed(&fx->sh.rng, 7);
	fx->sh.hub = hub_new(&o, fx->sh.now);
	if (program_init(&fx->sh) < 0 || !fx->sh.hub || !fx->set.reasons)
		abort();
}

/* All users live on another hub, which never answers; one outcome may be pending, for 100 ms. */
static inline void fx_init_alone(struct fx *fx)
{
	struct hub_options o = fx_hub_options();

	o.peers = 2;
	o.route = fx_elsewhere;
	o.peer_send = fx_swallow;
	o.ask_timeout_ms = 100;
	o.max_pending = 1;
	fx_init(fx);
	hub_free(fx->sh.hub);
	fx->sh.hub = hub_new(&o, fx->sh.now);
	if (!fx->sh.hub)
		abort();
}

/* A device of @user, with @ticket ("": none), that can receive. */
static inline unsigned fx_connect(struct fx *fx, const char *user, const char *ticket)
{
	struct hub_identity id = { .user_id = bytes_str(user), .ticket_id = bytes_str(ticket) };
	struct session *s = &fx->device[fx->devices];

	if (fx->devices == FX_DEVICES || hub_attach(fx->sh.hub, s, &id, fx->sh.now) != 0 ||
	    hub_accept(fx->sh.hub, s, NULL, 0, NULL, fx->sh.now) != 0)
		abort();
	return fx->devices++;
}

static inline void fx_disconnect(struct fx *fx, unsigned device)
{
	hub_detach(fx->sh.hub, &fx->device[device], fx->sh.now);
	fx->device[device].state = SESSION_NONE;
}

/* Runs the tasks that were posted until now: finished calls, messages of the program. */
static inline void fx_run_tasks(struct fx *fx)
{
	struct task *t = fx->tasks, *next;

	fx->tasks = NULL;
	fx->last_task = &fx->tasks;
	for (; t; t = next) {
		next = t->next;
		t->run(&fx->sh, t);
	}
}

/* A turn at @ms: tasks, timers, outcomes. */
static inline void fx_turn(struct fx *fx, uint64_t ms)
{
	struct hub_request r;

	fx_at(fx, ms);
	fx_run_tasks(fx);
	hook_tick(&fx->sh);
	hub_tick(fx->sh.hub, fx->sh.now);
	while (hub_take_request(fx->sh.hub, &r))
		submit_outcome(&fx->sh, &r);
}

static inline void fx_free(struct fx *fx)
{
	fx->sh.over = true;
	fx_run_tasks(fx);
	program_bury(&fx->sh);
	CHECK_EQ(fx->sh.program.count, 0);
	CHECK_EQ(fx->sh.jobs.live, 0);
	for (unsigned i = 0; i < fx->devices; i++)
		if (fx->device[i].state != SESSION_NONE)
			fx_disconnect(fx, i);
	fx_turn(fx, 1000000);
	CHECK_EQ(hub_owner(fx->sh.hub)->bytes, 0);
	hub_free(fx->sh.hub);
	program_deinit(&fx->sh);
	reasons_free(fx->set.reasons);
}

/* ---- messages ---------------------------------------------------------------------------------------------------------- */

/* @user sends @text, as connection @from. True: it is through. */
static inline bool fx_submit(struct fx *fx, enum fx_sender by, bool broadcast, const char *user, struct bytes text,
			     uint64_t from)
{
	char *own_text = text.len ? malloc(text.len) : NULL, *own_user = strdup(user);
	struct submission sub = { .sender = &fx_sender[by],
				  .from = from,
				  .text = bytes_of(own_text, text.len),
				  .user = bytes_of(own_user, strlen(user)),
				  .broadcast = broadcast };
	bool done;

	if (!own_user || (text.len && !own_text))
		abort();
	if (text.len)
		memcpy(own_text, text.at, text.len);
	done = submit_start(&fx->sh, &sub);
	free(own_text);
	free(own_user);
	return done;
}

static inline bool fx_send(struct fx *fx, enum fx_sender by, const char *user, const char *text)
{
	return fx_submit(fx, by, false, user, bytes_str(text), by == FX_TRUSTED ? 0 : 1);
}

static inline bool fx_broadcast(struct fx *fx, enum fx_sender by, const char *user, const char *text)
{
	return fx_submit(fx, by, true, user, bytes_str(text), by == FX_TRUSTED ? 0 : 1);
}

/* The lines since the last call of this function. */
static inline const char *fx_said(struct fx *fx)
{
	static char text[sizeof fx->said];

	memcpy(text, fx->said, sizeof text);
	fx->said[0] = 0;
	return text;
}

/* The next message that waits for @device, "" when there is none. */
static inline const char *fx_gets(struct fx *fx, unsigned device)
{
	static char text[4096];
	struct session *s = &fx->device[device];
	struct msg *m;

	if (s->state == SESSION_NONE || !outq_peek(&s->q, &m, 1))
		return "";
	snprintf(text, sizeof text, "%.*s", (int)m->len, (const char *)m->json);
	hub_sent(fx->sh.hub, s, 1, 0);
	return text;
}

/* The string member @key of a message's text, "" when it is not there. */
static inline const char *fx_member(const char *json, const char *key)
{
	static char text[4096];
	char name[64];
	const char *at;

	snprintf(name, sizeof name, "\"%s\":\"", key);
	at = strstr(json, name);
	snprintf(text, sizeof text, "%.*s", at ? (int)strcspn(at + strlen(name), "\"") : 0,
		 at ? at + strlen(name) : "");
	return text;
}

#define CHECK_TEXT(got, literal) CHECK_BYTES(bytes_str(got), literal)

/* Is @got the text of the table? If not, the output names the line of the table. */
static inline bool fx_check_row(size_t row, const char *got, const char *want)
{
	bool same = strcmp(got, want) == 0;

	if (!CHECK(same))
		printf("\trow %zu: got\n%s\twant\n%s", row, got, want);
	return same;
}

#endif
