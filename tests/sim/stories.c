/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stories: told stories. Each has its events and the transcript that they must give; chance has no part in it.
 * After each, everybody reads to the end, leaves, and the oracle looks at what is left.
 */
#include "sim.h"

#include "base/mem.h"

enum { ANN, BOB, CYD, DEE, EVE, FAY };

static struct sim_opts usual(bool nodes)
{
	return (struct sim_opts){
		.seed = 7,
		.nodes = nodes,
		.login = HUB_LOGIN_REPLACE,
		.max_messages = 16,
		.max_queue_bytes = 10000,
		.max_sessions = 2,
		.max_pending = 16,
		.ask_timeout_ms = 400,
		.tell = true,
	};
}

static struct sim_opts workers(void)
{
	return usual(false);
}

static struct sim_opts nodes(void)
{
	return usual(true);
}

static struct sim_opts dropping(void)
{
	struct sim_opts o = usual(false);

	o.slow = HUB_SLOW_DROP_OLDEST;
	return o;
}

static struct sim_opts with_log(void)
{
	struct sim_opts o = usual(false);

	o.log = true;
	return o;
}

static struct sim_opts with_hooks(void)
{
	struct sim_opts o = usual(false);

	o.hook[HOOK_RECEIVED] = o.hook[HOOK_SEND] = true;
	o.hook_timeout_ms = 20;
	return o;
}

static struct conn *join(struct sim *w, unsigned hub, unsigned user, unsigned ticket)
{
	struct conn *c = sim_connect(w, hub, user, ticket, HUB_WEBSOCKET);

	c->room = c->capacity = 1u << 20;
	return c;
}

/* The socket of @c takes two more messages of @wire bytes and half of a third, and then none. */
static void stall(struct conn *c, uint32_t wire)
{
	c->stalled = true;
	c->room = 2 * wire + wire / 2;
}

static void say_often(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to, unsigned times)
{
	while (times--)
		sim_say(w, sender, scope, to, 0, scope == HUB_TO_ALL ? TOKEN_NONE : TOKEN_FAILURE);
}

/* ---- workers -------------------------------------------------------------------------------------------------- */

static void slow_reader(struct sim *w)
{
	struct conn *bob;

	join(w, 0, ANN, 0);
	bob = join(w, 1, BOB, 0);
	sim_run(w, 1);
	stall(bob, sim_wire_bytes(w, SIM_SENDER_API(2), HUB_TO_ALL, 0));
	say_often(w, SIM_SENDER_API(2), HUB_TO_ALL, 0, 80);
	sim_run(w, 5000);
	bob->stalled = false;
	sim_run(w, 2);
}

static void fan_in(struct sim *w)
{
	struct conn *ann, *from[4];

	ann = join(w, 0, ANN, 0);
	for (unsigned i = 0; i < 4; i++)
		from[i] = join(w, (i + 1) % SIM_HUBS, (i + 1) % SIM_USERS, 0);
	sim_run(w, 1);
	for (unsigned i = 0; i < 1000; i++)
		sim_say(w, from[i % 4]->number, HUB_TO_USER, ANN, 0, TOKEN_FAILURE);
	sim_run(w, 2);
	(void)ann;
}

static void gap(struct sim *w)
{
	struct conn *bob = join(w, 1, BOB, 0);

	sim_run(w, 1);
	stall(bob, sim_wire_bytes(w, SIM_SENDER_API(1), HUB_TO_USER, BOB));
	say_often(w, SIM_SENDER_API(1), HUB_TO_USER, BOB, 20);
	sim_run(w, 1);
	bob->stalled = false;
	sim_run(w, 2);
}

static void offline(struct sim *w)
{
	join(w, 0, ANN, 1);
	sim_run(w, 1);
	sim_say(w, 0, HUB_TO_USER, BOB, 0, TOKEN_FAILURE);
	sim_say(w, 0, HUB_TO_USER, ANN, 0, TOKEN_FAILURE);
	sim_say(w, 0, HUB_TO_TICKET, 1, 0, TOKEN_FAILURE);
	sim_say(w, 0, HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_run(w, 2);
}

static void ticket(struct sim *w)
{
	join(w, 0, ANN, 1);
	join(w, 0, ANN, 1);
	join(w, 1, BOB, 1);
	join(w, 2, CYD, 2);
	sim_run(w, 1);
	sim_say(w, 0, HUB_TO_TICKET, 1, 0, TOKEN_ONE);
	sim_run(w, 2);
}

static void third_login(struct sim *w)
{
	for (unsigned i = 0; i < 3; i++) {
		join(w, 1, BOB, 0);
		sim_run(w, 1);
	}
}

static void kick(struct sim *w)
{
	join(w, 1, BOB, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	sim_say(w, SIM_SENDER_API(0), HUB_TO_USER, BOB, 0, TOKEN_FAILURE);
	sim_kick(w, 0, BOB);
	sim_say(w, SIM_SENDER_API(0), HUB_TO_USER, BOB, 0, TOKEN_FAILURE);
	sim_run(w, 2);
}

static void deaf_worker(struct sim *w)
{
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	sim_say(w, SIM_SENDER_API(0), HUB_TO_USER, BOB, 0, TOKEN_ONE);
	w->ms += w->o.ask_timeout_ms; /* a long turn of hub 1 */
	sim_turn(w, 0);
	sim_turn(w, 1);
	sim_run(w, 2);
}

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

static void confirmed(struct sim *w)
{
	join(w, 0, ANN, 0);
	sim_turn(w, 0);
	sim_turn(w, 1); /* one has confirmed */
	sim_turn(w, 0);
	w->ms += 10;
	sim_turn(w, 2); /* and the other */
	sim_turn(w, 0);
	w->ms += 10;
	sim_run(w, 1);
	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		sim_say(w, SIM_SENDER_API(hub), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_run(w, 2);
}

static void moves(struct sim *w)
{
	join(w, 0, ANN, 0);
	sim_run(w, 3);
	join(w, 1, ANN, 0);
	sim_run(w, 3);
	sim_disconnect(w, w->conn[0]);
	sim_say(w, SIM_SENDER_API(2), HUB_TO_USER, ANN, 0, TOKEN_ONE); /* hub 2 still thinks of both */
	sim_run(w, 3);
	sim_say(w, SIM_SENDER_API(2), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_run(w, 3);
}

static void comes_again(struct sim *w)
{
	join(w, 0, ANN, 0);
	sim_turn(w, 0);
	sim_disconnect(w, w->conn[0]);
	join(w, 0, ANN, 0);
	sim_run(w, 3);
	sim_say(w, SIM_SENDER_API(1), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_say(w, SIM_SENDER_API(2), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_run(w, 2);
}

static void node_lost(struct sim *w)
{
	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 3);
	sim_say(w, SIM_SENDER_API(1), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	world_cut(w, 0, 1);
	sim_run(w, 1);
	sim_say(w, SIM_SENDER_API(1), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_say(w, SIM_SENDER_API(2), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_run(w, 2);
	world_heal(w, 0, 1);
	sim_run(w, 3);
	sim_say(w, SIM_SENDER_API(1), HUB_TO_USER, ANN, 0, TOKEN_ONE);
	sim_run(w, 3);
}

static void alone(struct sim *w)
{
	join(w, 0, ANN, 0);
	sim_turn(w, 0);
	world_cut(w, 0, 1);
	sim_run(w, 3); /* hub 2 has confirmed, hub 1 never will */
	join(w, 0, BOB, 0);
	world_cut(w, 0, 2);
	sim_run(w, 2);
	sim_say(w, 0, HUB_TO_USER, BOB, 0, TOKEN_ONE);
	sim_run(w, 1);
}

/* ---- the log -------------------------------------------------------------------------------------------------- */

static void replay(struct sim *w)
{
	struct conn *c;

	say_often(w, SIM_SENDER_API(1), HUB_TO_ALL, 0, 40);
	sim_run(w, 2);
	c = join(w, 1, BOB, 0);
	c->replay = true;
	c->replay_after = 10;
	sim_turn(w, 1);
	say_often(w, SIM_SENDER_API(2), HUB_TO_ALL, 0, 5); /* while it reads */
	sim_run(w, 10);
	say_often(w, SIM_SENDER_API(2), HUB_TO_ALL, 0, 5);
	sim_run(w, 2);
}

/* ---- hooks ---------------------------------------------------------------------------------------------------- */

static struct sim_plan at_once(enum sim_answer answer)
{
	return (struct sim_plan){ .answer = (uint8_t)answer };
}

static struct sim_plan later(enum sim_answer answer, uint32_t ms)
{
	return (struct sim_plan){ .answer = (uint8_t)answer, .late = true, .after_ms = ms };
}

/* @sender writes to @to, and this is what the two hooks do with it. */
static void write_to(struct sim *w, uint32_t sender, unsigned to, struct sim_plan received, struct sim_plan send)
{
	w->plan[HOOK_RECEIVED] = received;
	w->plan[HOOK_SEND] = send;
	sim_say(w, sender, HUB_TO_USER, to, 0, sender < SIM_CONNS ? TOKEN_FAILURE : TOKEN_ONE);
}

static void late_hook(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	join(w, 2, CYD, 0);
	sim_run(w, 1);
	write_to(w, 0, BOB, later(ANSWER_YES, 5), yes);
	write_to(w, 0, BOB, yes, yes);
	write_to(w, 0, BOB, yes, later(ANSWER_YES, 3));
	write_to(w, 0, BOB, yes, yes);
	write_to(w, 2, BOB, yes, yes); /* another sender does not wait */
	sim_run(w, 12);
}

static void two_late_hooks(struct sim *w)
{
	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	write_to(w, 0, BOB, later(ANSWER_YES, 15), later(ANSWER_YES, 15));
	write_to(w, 0, BOB, at_once(ANSWER_YES), at_once(ANSWER_YES));
	sim_run(w, 40);
}

static void edits(struct sim *w)
{
	join(w, 0, ANN, 1);
	join(w, 1, BOB, 1);
	join(w, 1, BOB, 1);
	join(w, 2, CYD, 1);
	sim_run(w, 1);
	w->plan[HOOK_SEND] = later(ANSWER_EDIT, 4);
	sim_say(w, 0, HUB_TO_TICKET, 1, 7, TOKEN_ONE);
	w->plan[HOOK_SEND] = at_once(ANSWER_EDIT);
	sim_say(w, 0, HUB_TO_TICKET, 1, 7, TOKEN_ONE);
	sim_say(w, SIM_SENDER_PROGRAM(2), HUB_TO_ALL, 0, 7, TOKEN_ONE);
	w->plan[HOOK_SEND] = at_once(ANSWER_YES);
	sim_say(w, 0, HUB_TO_TICKET, 1, 7, TOKEN_ONE);
	sim_run(w, 8);
}

static void refusals(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 0, ANN, 0);
	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	write_to(w, 0, BOB, at_once(ANSWER_NO), yes);
	write_to(w, 0, BOB, yes, at_once(ANSWER_NO));
	write_to(w, 0, BOB, later(ANSWER_NO, 2), yes);
	write_to(w, 0, BOB, yes, later(ANSWER_NO, 2));
	write_to(w, 0, BOB, yes, later(ANSWER_BAD_EDIT, 2));
	write_to(w, 0, BOB, yes, yes);
	sim_run(w, 10);
}

static void no_answer(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	write_to(w, 0, BOB, yes, at_once(ANSWER_NEVER));
	write_to(w, 0, BOB, later(ANSWER_EDIT, 30), yes); /* too late */
	write_to(w, 0, BOB, yes, yes);
	sim_run(w, 80);
}

static void queue_of_the_program(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 1, BOB, 0);
	sim_run(w, 1);
	write_to(w, SIM_SENDER_PROGRAM(0), BOB, yes, later(ANSWER_YES, 5));
	write_to(w, SIM_SENDER_PROGRAM(0), BOB, yes, yes);
	write_to(w, SIM_SENDER_PROGRAM(3), BOB, yes, yes); /* on the same hub */
	write_to(w, SIM_SENDER_PROGRAM(0), CYD, yes, later(ANSWER_EDIT, 5));
	write_to(w, SIM_SENDER_PROGRAM(0), BOB, yes, yes);
	sim_run(w, 15);
}

static void sender_gone(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 0, ANN, 1);
	join(w, 1, BOB, 1);
	join(w, 0, ANN, 0);
	sim_run(w, 1);
	write_to(w, 0, BOB, later(ANSWER_YES, 5), yes);
	write_to(w, 0, BOB, yes, yes); /* waits behind it and never begins */
	w->plan[HOOK_SEND] = later(ANSWER_YES, 5);
	sim_say(w, 2, HUB_TO_TICKET, 1, 0, TOKEN_FAILURE);
	w->plan[HOOK_SEND] = later(ANSWER_NO, 5);
	sim_say(w, 1, HUB_TO_USER, ANN, 0, TOKEN_FAILURE);
	sim_run(w, 2);
	sim_disconnect(w, w->conn[0]);
	sim_disconnect(w, w->conn[2]);
	sim_run(w, 10);
}

static void the_end(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	write_to(w, 0, BOB, later(ANSWER_YES, 5), yes);
	write_to(w, 0, BOB, yes, yes);
	write_to(w, SIM_SENDER_PROGRAM(0), BOB, yes, later(ANSWER_YES, 5));
	write_to(w, SIM_SENDER_PROGRAM(0), BOB, yes, yes);
	write_to(w, SIM_SENDER_PROGRAM(1), BOB, yes, yes);
	sim_run(w, 2);
	write_to(w, SIM_SENDER_PROGRAM(2), BOB, yes, yes); /* no turn comes before the end */
	sim_stop(w);
	sim_run(w, 10);
}

static void checks(struct sim *w)
{
	const struct sim_plan yes = at_once(ANSWER_YES);

	join(w, 0, ANN, 0);
	join(w, 1, BOB, 0);
	sim_run(w, 1);
	for (enum sim_flaw flaw = FLAW_NONE; flaw < FLAWS; flaw++) {
		w->flaw = flaw;
		write_to(w, 0, BOB, later(ANSWER_YES, 1), yes); /* a hook would be slow, and is not asked */
		write_to(w, SIM_SENDER_API(1), BOB, yes, yes);
	}
	w->flaw = FLAW_NONE;
	sim_run(w, 4);
}

static const struct story {
	const char *name;
	struct sim_opts (*world)(void);
	void (*tell)(struct sim *w);
	const char *want;
} stories[] = {
	{ "a slow reader is closed and delays nobody", workers, slow_reader,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] ann#0 has 80 messages\n"
	  "[1 ms] bob#1 has 2 messages\n"
	  "[1 ms] bob#1 closes with 1013\n"
	  "[5001 ms] bob#1 has 1 message\n" },
	{ "a thousand messages in one turn close nobody", workers, fan_in,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] dee#3 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[0 ms] eve#4 is connected\n"
	  "[0 ms] cyd#2 is connected\n"
	  "[1 ms] ann#0 has 1000 messages\n" },
	{ "a gap notice stands where the gap is", dropping, gap,
	  "[0 ms] bob#0 is connected\n"
	  "[1 ms] bob#0 has 2 messages\n"
	  "[2 ms] bob#0 has 1 message\n"
	  "[2 ms] bob#0 is told of a gap of 2\n"
	  "[2 ms] bob#0 has 15 messages\n" },
	{ "a sender is told who is offline and nothing else", workers, offline,
	  "[0 ms] ann#0 is connected\n"
	  "[1 ms] hub 0: message 3: delivered, 1\n"
	  "[1 ms] ann#0 has 2 messages\n"
	  "[2 ms] hub 0: message 0: nobody, 0\n"
	  "[2 ms] hub 0: message 2: nobody, 0\n" },
	{ "a ticket reaches all who have it but the sender", workers, ticket,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] ann#1 is connected\n"
	  "[0 ms] bob#2 is connected\n"
	  "[0 ms] cyd#3 is connected\n"
	  "[1 ms] bob#2 has 1 message\n"
	  "[2 ms] hub 0: message 0: delivered, 1\n" },
	{ "the third login takes the place of the first", workers, third_login,
	  "[0 ms] bob#0 is connected\n"
	  "[1 ms] bob#1 is connected\n"
	  "[2 ms] bob#2 is connected\n"
	  "[2 ms] bob#0 closes with 4409\n" },
	{ "a kick comes after what was said before it", workers, kick,
	  "[0 ms] bob#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] hub 0 kicks bob\n"
	  "[1 ms] bob#0 closes with 4410\n"
	  "[1 ms] bob#0 has 1 message\n"
	  "[1 ms] bob#1 closes with 4410\n"
	  "[1 ms] bob#1 has 1 message\n"
	  "[2 ms] hub 0: kick of bob: delivered, 2\n"
	  "[2 ms] hub 0: message 1: nobody, 0\n" },
	{ "a worker that does not answer in time is reported once", workers, deaf_worker,
	  "[0 ms] bob#0 is connected\n"
	  "[401 ms] hub 0: message 0: timed out, 0\n"
	  "[401 ms] bob#0 has 1 message\n" },
	{ "a client is connected when all nodes know of it", nodes, confirmed,
	  "[20 ms] ann#0 is connected\n"
	  "[21 ms] hub 0: message 0: delivered, 1\n"
	  "[21 ms] ann#0 has 3 messages\n"
	  "[21 ms] hub 1: message 1: delivered, 1\n"
	  "[21 ms] hub 2: message 2: delivered, 1\n" },
	{ "a user who moves to another node is reached all the time", nodes, moves,
	  "[2 ms] ann#0 is connected\n"
	  "[5 ms] ann#1 is connected\n"
	  "[6 ms] ann#0 leaves\n"
	  "[6 ms] ann#1 has 1 message\n"
	  "[6 ms] hub 2: message 0: delivered, 1\n"
	  "[9 ms] ann#1 has 1 message\n"
	  "[9 ms] hub 2: message 1: delivered, 1\n" },
	{ "a user who comes again at once waits for new confirmations", nodes, comes_again,
	  "[0 ms] ann#0 leaves\n"
	  "[2 ms] ann#1 is connected\n"
	  "[3 ms] ann#1 has 2 messages\n"
	  "[3 ms] hub 1: message 0: delivered, 1\n"
	  "[3 ms] hub 2: message 1: delivered, 1\n" },
	{ "a node that is lost and found is honest about it", nodes, node_lost,
	  "[2 ms] ann#0 is connected\n"
	  "[2 ms] bob#1 is connected\n"
	  "[3 ms] the link of hub 0 and hub 1 breaks\n"
	  "[3 ms] hub 1: message 0: timed out, 0\n"
	  "[4 ms] ann#0 has 1 message\n"
	  "[4 ms] hub 1: message 1: nobody, 0\n"
	  "[4 ms] hub 2: message 2: delivered, 1\n"
	  "[6 ms] hub 0 and hub 1 find each other\n"
	  "[9 ms] ann#0 has 1 message\n"
	  "[9 ms] hub 1: message 3: delivered, 1\n" },
	{ "nobody waits for a node that is lost", nodes, alone,
	  "[0 ms] the link of hub 0 and hub 1 breaks\n"
	  "[2 ms] ann#0 is connected\n"
	  "[3 ms] the link of hub 0 and hub 2 breaks\n"
	  "[4 ms] bob#1 is connected\n"
	  "[5 ms] hub 0: message 0: delivered, 1\n"
	  "[5 ms] bob#1 has 1 message\n" },
	/* Shows: threat 170 */
	{ "a replay joins the present without hole or double", with_log, replay,
	  "[2 ms] bob#0 is connected\n"
	  "[2 ms] bob#0 has 8 messages\n"
	  "[4 ms] bob#0 has 8 messages\n"
	  "[6 ms] bob#0 has 8 messages\n"
	  "[8 ms] bob#0 has 8 messages\n"
	  "[10 ms] bob#0 has 3 messages\n"
	  "[12 ms] bob#0 has 5 messages\n" },
	/* Shows: 8.pending, 3.order */
	{ "a hook answers late and the order of its sender holds", with_hooks, late_hook,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[0 ms] cyd#2 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[1 ms] bob#1 has 1 message\n"
	  "[6 ms] message 2 waits for a hook\n"
	  "[6 ms] bob#1 has 2 messages\n"
	  "[9 ms] bob#1 has 2 messages\n" },
	/* Shows: 8.pending */
	{ "two hooks answer late, each in its time", with_hooks, two_late_hooks,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[16 ms] message 0 waits for a hook\n"
	  "[31 ms] bob#1 has 2 messages\n" },
	/* Shows: 8.on_message_send, 8.on_broadcast */
	{ "an edit reaches all receivers, at once or later", with_hooks, edits,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[0 ms] bob#2 is connected\n"
	  "[0 ms] cyd#3 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[1 ms] cyd#3 has 1 message, 1 edited\n"
	  "[2 ms] ann#0 has 1 message, 1 edited\n"
	  "[2 ms] bob#1 has 1 message, 1 edited\n"
	  "[2 ms] bob#2 has 1 message, 1 edited\n"
	  "[2 ms] hub 2: message 2: delivered, 4\n"
	  "[5 ms] bob#1 has 3 messages, 2 edited\n"
	  "[5 ms] bob#2 has 3 messages, 2 edited\n"
	  "[5 ms] cyd#3 has 3 messages, 2 edited\n"
	  "[6 ms] hub 0: message 0: delivered, 3\n"
	  "[6 ms] hub 0: message 1: delivered, 3\n"
	  "[6 ms] hub 0: message 3: delivered, 3\n" },
	/* Shows: 3.errors-only-to-sender */
	{ "a refusal is told to the connection that sent and to nobody else", with_hooks, refusals,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] ann#1 is connected\n"
	  "[0 ms] bob#2 is connected\n"
	  "[1 ms] ann#0: message 0: refused\n"
	  "[1 ms] ann#0: message 1: refused\n"
	  "[1 ms] message 2 waits for a hook\n"
	  "[3 ms] ann#0: message 2: refused\n"
	  "[3 ms] message 3 waits for a hook\n"
	  "[5 ms] ann#0: message 3: refused\n"
	  "[5 ms] message 4 waits for a hook\n"
	  "[7 ms] ann#0: message 4: internal\n"
	  "[7 ms] bob#2 has 1 message\n" },
	/* Shows: 8.pending */
	{ "a hook that never answers times out once, and what waits goes on", with_hooks, no_answer,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[21 ms] ann#0: message 0: hook_timeout\n"
	  "[21 ms] message 1 waits for a hook\n"
	  "[41 ms] ann#0: message 1: hook_timeout\n"
	  "[41 ms] bob#1 has 1 message\n" },
	/* Shows: 8.wsc_send */
	{ "the program's messages keep their order for each of its senders", with_hooks, queue_of_the_program,
	  "[0 ms] bob#0 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[1 ms] bob#0 has 1 message\n"
	  "[2 ms] hub 0: message 2: delivered, 1\n"
	  "[6 ms] message 3 waits for a hook\n"
	  "[6 ms] bob#0 has 2 messages\n"
	  "[7 ms] hub 0: message 0: delivered, 1\n"
	  "[7 ms] hub 0: message 1: delivered, 1\n"
	  "[11 ms] bob#0 has 1 message\n"
	  "[12 ms] hub 0: message 4: delivered, 1\n"
	  "[12 ms] hub 0: message 3: nobody, 0\n" },
	{ "a message whose sender leaves while a hook has it is sent all the same", with_hooks, sender_gone,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] ann#2 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[1 ms] message 2 waits for a hook\n"
	  "[1 ms] message 3 waits for a hook\n"
	  "[3 ms] ann#0 leaves\n"
	  "[3 ms] ann#2 leaves\n"
	  "[6 ms] nobody: message 2: not_in_ticket\n"
	  "[6 ms] bob#1: message 3: refused\n"
	  "[6 ms] bob#1 has 1 message\n" },
	/* Shows: 8.wsc_send */
	{ "when the shards end each message that waits has its one outcome", with_hooks, the_end,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[1 ms] message 2 waits for a hook\n"
	  "[1 ms] hub 1: message 4: delivered, 1\n"
	  "[1 ms] bob#1 has 1 message\n"
	  "[3 ms] the shards end\n"
	  "[3 ms] ann#0 leaves\n"
	  "[3 ms] bob#1 leaves\n"
	  "[3 ms] pat2: message 5: stopped\n"
	  "[3 ms] pat0: message 3: stopped\n"
	  "[3 ms] pat0: message 2: stopped\n"
	  "[3 ms] nobody: message 0: shutting_down\n" },
	{ "what a check refuses is told at once and no hook is asked", with_hooks, checks,
	  "[0 ms] ann#0 is connected\n"
	  "[0 ms] bob#1 is connected\n"
	  "[1 ms] message 0 waits for a hook\n"
	  "[1 ms] api1: message 3: sender_mismatch\n"
	  "[1 ms] api1: message 5: missing_field\n"
	  "[1 ms] api1: message 7: missing_field\n"
	  "[1 ms] api1: message 9: bad_message\n"
	  "[1 ms] hub 1: message 1: delivered, 1\n"
	  "[1 ms] bob#1 has 1 message\n"
	  "[2 ms] ann#0: message 2: sender_mismatch\n"
	  "[2 ms] ann#0: message 4: bad_message\n"
	  "[2 ms] ann#0: message 6: no_recipient\n"
	  "[2 ms] ann#0: message 8: bad_message\n"
	  "[2 ms] bob#1 has 1 message\n" },
};

unsigned stories_count(void)
{
	return sizeof(stories) / sizeof(stories[0]);
}

const char *stories_name(unsigned n)
{
	return stories[n].name;
}

struct sim *stories_run(unsigned n)
{
	const struct story *s = &stories[n];
	struct sim_opts o = s->world();
	struct sim *w = sim_new(&o);

	w->calm = true;
	s->tell(w);
	oracle_flush_lines(w);
	if (!w->failed && !bytes_eq(buf_bytes(&w->story), bytes_str(s->want)))
		sim_fail(w, "the story went another way; it was to be:\n%s", s->want);
	if (!w->failed)
		sim_end(w);
	return w;
}
