/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random: stories nobody thought of. The seed draws the world (workers or nodes, with or without the log, tight or wide
 * limits, short or long delays) and then, step by step, what happens in it.
 */
#include "sim.h"

#define STEPS 400

static struct sim_opts draw_world(uint64_t seed, bool tell)
{
	struct rng r;
	struct sim_opts o = { .seed = seed, .tell = tell };

	rng_init_seed(&r, seed ^ 0x776f726c64);
	o.nodes = rng_below(&r, 2);
	o.log = rng_below(&r, 3) == 0;
	o.slow = rng_below(&r, 2) ? HUB_SLOW_CLOSE : HUB_SLOW_DROP_OLDEST;
	o.login = (enum hub_login_policy)rng_below(&r, 3);
	o.max_messages = 1 + (uint32_t)rng_below(&r, rng_below(&r, 2) ? 8 : 64);
	o.max_queue_bytes = 100 + (uint32_t)rng_below(&r, 4000);
	o.max_sessions = 1 + (uint32_t)rng_below(&r, 3);
	o.max_pending = !o.log && rng_below(&r, 4) == 0 ? 3 : 100000;
	o.max_total_bytes = rng_below(&r, 4) ? 0 : 1000 + rng_below(&r, 5000);
	o.ask_timeout_ms = rng_below(&r, 3) ? 400 : 10;
	o.delay_ms = (uint32_t)rng_below(&r, rng_below(&r, 2) ? 5 : 120);
	if (o.log)
		return o;
	/* Worlds without a log have messages with all members, a few times as long. */
	o.max_queue_bytes *= 4;
	o.max_total_bytes *= 2;
	if (rng_below(&r, 2)) {
		o.hook[HOOK_RECEIVED] = rng_below(&r, 3) > 0;
		o.hook[HOOK_SEND] = !o.hook[HOOK_RECEIVED] || rng_below(&r, 3) > 0;
	}
	o.hook_timeout_ms = 5 + (uint32_t)rng_below(&r, 100);
	return o;
}

/* Any connection that is still there, NULL when chance finds none. */
static struct conn *somebody(struct sim *w)
{
	for (unsigned i = 0; i < 8 && w->conns; i++) {
		struct conn *c = w->conn[sim_dice(w, w->conns)];

		if (c->s)
			return c;
	}
	return NULL;
}

static void connect(struct sim *w)
{
	unsigned user = (unsigned)sim_dice(w, SIM_USERS);
	unsigned hub = w->o.nodes ? (unsigned)sim_dice(w, SIM_HUBS) : sim_home(user);
	struct conn *c =
		sim_connect(w, hub, user, (unsigned)sim_dice(w, SIM_TICKETS), (enum hub_transport)sim_dice(w, 2));

	if (!c || !c->s)
		return;
	c->hook_at_ms = w->ms + sim_dice(w, 2) * sim_dice(w, 40);
	c->hook_refuses = sim_chance(w, 10);
	c->welcomes = (uint8_t)sim_dice(w, 3);
	c->replay = w->o.log && sim_chance(w, 60);
	c->replay_after = c->replay ? sim_dice(w, w->logged + 1) : 0;
}

/* Most answers are yes and at once; the others are of every kind, in time or not. */
static struct sim_plan draw_plan(struct sim *w, enum sim_hook hook)
{
	struct sim_plan p = { .answer = ANSWER_YES };
	unsigned dice;

	if (!w->o.hook[hook] || (dice = (unsigned)sim_dice(w, 100)) < 50)
		return p;
	p.late = sim_chance(w, 60);
	p.after_ms = (uint32_t)sim_dice(w, sim_chance(w, 80) ? w->o.hook_timeout_ms : 2 * w->o.hook_timeout_ms);
	if (dice >= 98)
		p.answer = ANSWER_NEVER;
	else if (dice >= 90)
		p.answer = ANSWER_NO;
	else if (dice >= 75 && hook == HOOK_SEND)
		p.answer = dice == 75 ? ANSWER_BAD_EDIT : ANSWER_EDIT;
	return p;
}

/* Draws the answers of hooks and checks for the next message. */
static void draw_fate(struct sim *w)
{
	for (enum sim_hook hook = HOOK_RECEIVED; hook <= HOOK_SEND; hook++)
		w->plan[hook] = draw_plan(w, hook);
	w->flaw = sim_chance(w, 2) ? (enum sim_flaw)sim_dice(w, FLAWS) : FLAW_NONE;
}

static uint32_t some_program(struct sim *w)
{
	return SIM_SENDER_PROGRAM((uint32_t)sim_dice(w, SIM_PROGRAMS));
}

static void say(struct sim *w, struct conn *c)
{
	uint32_t sender = c && conn_accepted(c) && sim_chance(w, 85) ? c->number
								     : SIM_SENDER_API((uint32_t)sim_dice(w, SIM_HUBS));
	uint32_t pad = (uint32_t)sim_dice(w, sim_chance(w, 5) ? 1000 : 30);
	enum token_want failures = sim_chance(w, 70) || w->o.log ? TOKEN_FAILURE : TOKEN_ONE;
	unsigned dice = (unsigned)sim_dice(w, 100);

	if (!w->o.log) {
		draw_fate(w);
		/* A call must name a receiver; the program may also write to a ticket. */
		if (sender >= SIM_CONNS && (dice >= 85 || sim_chance(w, 50)))
			sender = some_program(w);
	}
	if (sender >= SIM_INPUTS) {
		w->flaw = FLAW_NONE; /* wsc_send() has checked it */
		failures = sim_chance(w, 80) ? TOKEN_ONE : TOKEN_NONE;
	} else if (dice >= 65) {
		w->flaw = w->flaw == FLAW_RECIPIENT ? FLAW_NONE : w->flaw;
	}
	if (dice < 65)
		sim_say(w, sender, HUB_TO_USER, (unsigned)sim_dice(w, SIM_USERS), pad, failures);
	else if (dice < 85)
		sim_say(w, sender, HUB_TO_ALL, 0, pad, failures == TOKEN_ONE ? TOKEN_ONE : TOKEN_NONE);
	else
		sim_say(w, sender, HUB_TO_TICKET, 1 + (unsigned)sim_dice(w, SIM_TICKETS - 1), pad, failures);
	w->flaw = FLAW_NONE; /* for welcomes and the like */
}

/* One speaks, sometimes many times in one turn. */
static void speak(struct sim *w)
{
	struct conn *c = somebody(w);
	uint64_t times = sim_chance(w, 10) ? 1 + sim_dice(w, 30) : 1;

	for (; times; times--)
		say(w, c);
}

static void meddle(struct sim *w)
{
	unsigned a = (unsigned)sim_dice(w, SIM_HUBS), b = (unsigned)sim_dice(w, SIM_HUBS);

	/* A log that a hole could be torn into is the log's own matter. */
	if (!w->o.nodes || w->o.log || a == b)
		return;
	if (sim_chance(w, 30))
		world_cut(w, a, b);
	else
		world_heal(w, a, b);
}

static void happen_to(struct sim *w, struct conn *c)
{
	unsigned dice = (unsigned)sim_dice(w, 100);

	if (!c)
		return;
	if (dice < 20)
		sim_disconnect(w, c);
	else if (dice < 45)
		c->stalled = true;
	else if (dice < 75)
		c->stalled = false;
	else
		sim_tell_one(w, c);
}

static void step(struct sim *w)
{
	unsigned dice = (unsigned)sim_dice(w, 100);
	struct conn *c = somebody(w);

	if (dice < 30)
		sim_turn(w, (unsigned)sim_dice(w, SIM_HUBS));
	else if (dice < 38)
		connect(w);
	else if (dice < 62)
		speak(w);
	else if (dice < 70)
		happen_to(w, c);
	else if (dice < 72)
		sim_kick(w, (unsigned)sim_dice(w, SIM_HUBS), (unsigned)sim_dice(w, SIM_USERS));
	else if (dice < 74)
		meddle(w);
	else if (dice < 84)
		w->ms += sim_dice(w, 10);
	else if (c)
		sim_read(w, c);
}

struct sim *random_run(uint64_t seed, bool tell)
{
	struct sim_opts o = draw_world(seed, tell);
	struct sim *w = sim_new(&o);

	for (unsigned i = 0; i < STEPS && !w->failed; i++)
		step(w);
	if (!w->failed && !o.log && sim_chance(w, 15))
		sim_stop(w);
	if (!w->failed)
		sim_end(w);
	return w;
}
