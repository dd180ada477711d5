/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver: what worker/ and conn/ do around a hub, in a few lines each, with chance where they have epoll: a connect hook that
 * answers later, a socket that takes some bytes, a log that is read meanwhile. It follows hub.h to the letter and looks
 * into nothing else; whatever it hands to a client goes by the oracle first.
 */
#include "sim.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAME_HEAD 2u
#define GAP_BYTES 12u
#define CLOSE_BYTES 4u
#define CLOSE_WAIT_MS 5000u
#define TAKES_MAX 20000u

/* ---- connections ---------------------------------------------------------------------------------------------- */

static struct conn *conn_new(struct sim *w, unsigned hub, unsigned user, unsigned ticket)
{
	struct conn *c;

	if (w->conns == SIM_CONNS)
		return NULL;
	c = mem_zalloc(sizeof(*c));
	if (!c)
		abort();
	c->sim = w;
	c->number = w->conns;
	c->hub = (uint8_t)hub;
	c->user = (uint8_t)user;
	c->ticket = (uint8_t)ticket;
	c->attached_ms = w->ms;
	c->gone_ms = UINT64_MAX;
	c->capacity = c->room = 40 + (uint32_t)sim_dice(w, w->o.log ? 400 : 1600);
	w->conn[w->conns++] = c;
	return c;
}

static struct conn *conn_of(const struct sim *w, const struct session *s)
{
	return w->conn[s->handle - 1];
}

static uint32_t counted_sessions(const struct sim *w, const struct conn *like)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *c = w->conn[i];

		n += c->s && c != like && c->hub == like->hub && c->user == like->user &&
		     c->s->state != SESSION_CLOSING;
	}
	return n;
}

static void gone(struct sim *w, struct conn *c)
{
	if (c->s && c->s->state != SESSION_NONE)
		hub_detach(w->hub[c->hub], c->s, sim_now(w));
	mem_free(c->s);
	c->s = NULL;
	c->phase = CONN_GONE;
	c->gone_ms = w->ms;
	submit_left(w, c->number);
}

static void attach(struct sim *w, struct conn *c, enum hub_transport t)
{
	struct hub_identity id = {
		.user_id = sim_user(c->user),
		.ticket_id = sim_ticket(c->ticket),
		.transport = (uint8_t)t,
		.handle = c->number + 1,
	};
	int err = hub_attach(w->hub[c->hub], c->s, &id, sim_now(w));
	bool full = w->o.login == HUB_LOGIN_REJECT && counted_sessions(w, c) >= w->o.max_sessions;

	if ((err == HUB_TOO_MANY) != full)
		sim_fail(w, "attach of %s: %d although the user %s full", user_id_text(c->user), err,
			 full ? "is" : "is not");
	if (err == HUB_TOO_MANY)
		gone(w, c);
	else
		c->phase = err == HUB_WAIT ? CONN_ATTACHING : CONN_HELD;
}

struct conn *sim_connect(struct sim *w, unsigned hub, unsigned user, unsigned ticket, enum hub_transport t)
{
	struct conn *c = conn_new(w, hub, user, ticket);

	if (!c)
		return NULL;
	c->s = mem_zalloc(sizeof(*c->s));
	if (!c->s)
		abort();
	attach(w, c, t);
	return c;
}

void sim_disconnect(struct sim *w, struct conn *c)
{
	if (!c->s)
		return;
	sim_tell(w, "%s leaves", sim_name(c));
	gone(w, c);
}

/* Which sessions must give way to one more of @c's user here, by the oldest first. */
static void check_replaced(struct sim *w, const struct conn *c, const bool *was_accepted)
{
	uint32_t before = 0, too_many;

	for (uint32_t i = 0; i < w->conns; i++)
		before += was_accepted[i];
	too_many =
		w->o.login == HUB_LOGIN_REPLACE && before + 1 > w->o.max_sessions ? before + 1 - w->o.max_sessions : 0;
	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *o = w->conn[i];
		bool closed = was_accepted[i] && !conn_accepted(o);

		if (!was_accepted[i])
			continue;
		if (closed != (too_many > 0))
			sim_fail(w, "%s was %s when %s came", sim_name(o), closed ? "replaced" : "not replaced",
				 sim_name(c));
		if (closed && o->s->close_code != 4409)
			sim_fail(w, "%s was replaced with %u", sim_name(o), o->s->close_code);
		if (too_many)
			too_many--;
	}
}

static struct msg *msg_of(struct sim *w, unsigned hub, uint32_t number)
{
	const struct sim_msg *m = &w->msg[number];
	struct msg *out = msg_new(hub_owner(w->hub[hub]), m->server ? MSG_SERVER : MSG_USER, 8 + m->pad);
	char text[16];

	if (!out)
		abort();
	snprintf(text, sizeof(text), "%08u", (unsigned)number);
	memcpy(out->json, text, 8);
	memset(out->json + 8, '.', m->pad);
	out->seq = m->seq;
	return out;
}

static void accept_now(struct sim *w, struct conn *c)
{
	struct msg *front[2];
	bool was_accepted[SIM_CONNS] = { false };
	unsigned n = 0;

	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *o = w->conn[i];

		was_accepted[i] = o != c && conn_accepted(o) && o->hub == c->hub && o->user == c->user;
	}
	for (; n < c->welcomes; n++) {
		uint32_t number = oracle_message(w, SIM_SENDER_WELCOME, HUB_TO_USER, c->user, 0);

		if (number == UINT32_MAX)
			break;
		w->msg[number].only = c->number;
		w->msg[number].published = true;
		oracle_promise(c, number);
		front[n] = msg_of(w, c->hub, number);
	}
	if (hub_accept(w->hub[c->hub], c->s, front, n, c->replay ? &c->replay_after : NULL, sim_now(w)) != 0)
		sim_fail(w, "%s could not be accepted", sim_name(c));
	while (n)
		msg_unref(front[--n]);
	c->phase = CONN_OPEN;
	c->urgent = true; /* the welcome, and who knows what was held */
	if (c->replay)
		oracle_promise_log(w, c);
	sim_tell(w, "%s is connected", sim_name(c));
	check_replaced(w, c, was_accepted);
}

/* Hooks that have finished. */
static void finish_hooks(struct sim *w, unsigned hub)
{
	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (c->hub != hub || c->phase != CONN_HELD || c->hook_at_ms > w->ms)
			continue;
		if (c->s->state == SESSION_CLOSING)
			continue;
		if (c->hook_refuses)
			hub_close(w->hub[hub], c->s, 4403, "refused", false);
		else
			accept_now(w, c);
	}
}

/* ---- sockets -------------------------------------------------------------------------------------------------- */

void sim_read(struct sim *w, struct conn *c)
{
	(void)w;
	if (!c->stalled)
		c->room = c->capacity;
}

static bool write_own(struct sim *w, struct conn *c)
{
	uint32_t n = c->own_left < c->room ? c->own_left : c->room;

	oracle_stream(w, c, NULL, 0);
	c->room -= n;
	c->own_left -= n;
	if (c->own_left)
		return false;
	if (c->own_close)
		c->close_sent = true;
	else
		oracle_gap(w, c, c->own_gap);
	c->own_close = false;
	c->own_gap = 0;
	return true;
}

/* One send of up to @max messages; false: the socket refused some. */
static bool write_messages(struct sim *w, struct conn *c, unsigned max)
{
	struct msg *m[8];
	unsigned n = outq_peek(&c->s->q, m, max < 8 ? max : 8), whole = 0;
	uint32_t offset = c->s->q.offset;

	while (whole < n) {
		uint32_t left = m[whole]->len + FRAME_HEAD - offset, took = left < c->room ? left : c->room;

		oracle_stream(w, c, m[whole], offset);
		c->room -= took;
		c->begun = took < left ? m[whole] : NULL;
		c->begun_len = took < left ? offset + took : 0;
		if (took < left) {
			offset += took;
			break;
		}
		oracle_received(w, c, msg_text(m[whole]));
		offset = 0;
		whole++;
	}
	hub_sent(w->hub[c->hub], c->s, whole, offset);
	return whole == n;
}

static bool begin_own(struct sim *w, struct conn *c)
{
	struct session *s = c->s;

	if (s->gap && s->q.offset == 0) {
		c->own_gap = s->gap;
		c->own_left = GAP_BYTES;
		hub_gap_sent(w->hub[c->hub], s);
		return true;
	}
	if (s->state == SESSION_CLOSING && s->q.count == 0 && !c->close_sent) {
		c->own_close = true;
		c->own_left = CLOSE_BYTES;
		return true;
	}
	return false;
}

/* Writes for one slice; true: the socket took all that it was offered. */
static bool write_slice(struct sim *w, struct conn *c)
{
	for (uint64_t sends = 1 + sim_dice(w, 6); sends; sends--) {
		if (c->own_left) {
			if (!write_own(w, c))
				return false;
		} else if (begin_own(w, c)) {
			continue;
		} else if (c->s->q.count == 0) {
			return true;
		} else if (!write_messages(w, c, c->s->gap ? 1 : 1 + (unsigned)sim_dice(w, 8))) {
			return false;
		}
	}
	return true;
}

static void notice_closing(struct sim *w, struct conn *c)
{
	if (c->s->state != SESSION_CLOSING || c->phase == CONN_CLOSING)
		return;
	if (c->phase == CONN_OPEN)
		c->closing_since_ms = w->ms;
	sim_tell(w, "%s closes with %u", sim_name(c), c->s->close_code);
	if (c->phase != CONN_OPEN) {
		gone(w, c);
		return;
	}
	c->phase = CONN_CLOSING;
}

static void flush(struct sim *w, struct conn *c)
{
	struct judged before;
	bool took_all;

	notice_closing(w, c);
	if (!c->s)
		return;
	c->room_before = c->room;
	took_all = write_slice(w, c);
	c->refused = !took_all;
	if (c->close_sent) {
		gone(w, c);
		return;
	}
	before = oracle_before_flushed(w, c);
	hub_flushed(w->hub[c->hub], c->s, !took_all, sim_now(w));
	oracle_after_flushed(w, c, &before, !took_all);
	/* A slice may end in the middle of our own bytes, which the hub knows nothing of. */
	if (took_all && (c->own_left || (c->s->state == SESSION_CLOSING && !c->close_sent)))
		hub_ready(w->hub[c->hub], c->s);
}

/* ---- the log -------------------------------------------------------------------------------------------------- */

static void publish_now(struct sim *w, unsigned hub, uint32_t number, enum token_want want)
{
	const struct sim_msg *m = &w->msg[number];
	struct hub_publication p = {
		.scope = (enum hub_scope)m->scope,
		.to = m->scope == HUB_TO_USER     ? sim_user(m->user)
		      : m->scope == HUB_TO_TICKET ? sim_ticket(m->ticket)
						  : BYTES(""),
		.sender = sim_user(m->sender_user),
		.may_be_outside = w->o.log || m->sender >= SIM_CONNS,
		.only_failures = want != TOKEN_ONE,
	};
	char ref[16];

	snprintf(ref, sizeof(ref), "%08u", (unsigned)number);
	p.ref = bytes_str(ref);
	w->msg[number].token = oracle_token(w, number, m->user, hub, want);
	p.token = submit_direct(m->token);
	p.msg = msg_of(w, hub, number);
	(void)hub_publish(w->hub[hub], &p, sim_now(w)); /* the oracle listens */
	msg_unref(p.msg);
}

/* The one sequencer: a number, then the fan-out, in one order. */
static void number_messages(struct sim *w)
{
	for (unsigned from = 0; from < SIM_HUBS; from++) {
		struct sim_mail *mail;

		while ((mail = world_take(&w->inbox[from], w->ms))) {
			uint32_t number = (uint32_t)mail->r.seq;

			w->order[w->logged++] = number;
			w->msg[number].seq = w->logged;
			publish_now(w, 0, number, (enum token_want)mail->r.only_failures);
			mem_free(mail);
		}
	}
}

static void start_load(struct sim *w, const struct hub_request *r)
{
	struct conn *c = conn_of(w, r->session);

	if (r->room == 0 || r->token != c->number + 1)
		sim_fail(w, "%s asks for %u messages of the log", sim_name(c), r->room);
	for (unsigned i = 0; i < SIM_LOADS; i++) {
		struct sim_load *l = &w->load[i];

		if (l->used)
			continue;
		*l = (struct sim_load){
			.used = true,
			.conn = c->number,
			.after = r->after,
			.snapshot = sim_chance(w, 50) ? w->logged : UINT64_MAX,
			.due_ms = w->ms + (w->calm ? 0 : sim_dice(w, 30)),
			.room = r->room,
			.room_bytes = r->room_bytes,
		};
		return;
	}
	sim_fail(w, "more than %d loads", SIM_LOADS);
}

static void answer_load(struct sim *w, const struct sim_load *l)
{
	struct conn *c = w->conn[l->conn];
	uint64_t end = l->snapshot < w->logged ? l->snapshot : w->logged, upto = l->after;
	struct msg *m[64];
	uint32_t bytes = 0;
	unsigned n = 0;

	for (; upto < end && n < 64; upto++) {
		uint32_t number = w->order[upto];

		if (!oracle_matches(w, c, &w->msg[number]))
			continue;
		bytes += 8 + w->msg[number].pad + MSG_CHARGE_FIXED;
		if (n == l->room || (n && bytes > l->room_bytes))
			break;
		m[n++] = msg_of(w, c->hub, number);
	}
	hub_loaded(w->hub[c->hub], c->s, m, n, upto, upto == end, sim_now(w));
	while (n)
		msg_unref(m[--n]);
}

static void answer_loads(struct sim *w, unsigned hub)
{
	for (unsigned i = 0; i < SIM_LOADS; i++) {
		struct sim_load *l = &w->load[i];

		if (!l->used || l->due_ms > w->ms || w->conn[l->conn]->hub != hub)
			continue;
		l->used = false;
		/* The handle: the connection may be gone by now. */
		if (w->conn[l->conn]->s)
			answer_load(w, l);
	}
}

/* ---- speaking ------------------------------------------------------------------------------------------------- */

unsigned sim_hub_of_sender(const struct sim *w, uint32_t sender)
{
	return sender < SIM_CONNS ? w->conn[sender]->hub : (sender - SIM_CONNS) % SIM_HUBS;
}

void sim_say(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to, uint32_t pad, enum token_want want)
{
	uint32_t number = oracle_message(w, sender, scope, to, pad);
	unsigned hub = sim_hub_of_sender(w, sender);

	if (number == UINT32_MAX)
		return;
	w->msg[number].want = (uint8_t)want;
	if (w->o.log) {
		struct hub_relay r = { .seq = number, .only_failures = (uint8_t)want };

		world_post(&w->inbox[hub], w, &r);
		return;
	}
	w->msg[number].token = oracle_token(w, number, w->msg[number].user, hub, want);
	submit_say(w, number);
}

uint32_t sim_wire_bytes(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to)
{
	uint32_t number = oracle_message(w, sender, scope, to, 0);
	char text[SIM_TEXT_MAX];
	uint32_t n = FRAME_HEAD + (uint32_t)submit_text(w, number, text).len;

	w->msgs--;
	w->next_n[sender]--;
	return n;
}

void sim_tell_one(struct sim *w, struct conn *c)
{
	uint32_t number;
	struct msg *m;

	if (!conn_accepted(c))
		return;
	number = oracle_message(w, SIM_SENDER_SERVER, HUB_TO_USER, c->user, 0);
	if (number == UINT32_MAX)
		return;
	w->msg[number].only = c->number;
	w->msg[number].published = true;
	m = msg_of(w, c->hub, number);
	oracle_promise(c, number);
	if (hub_send(w->hub[c->hub], c->s, m) != 0)
		sim_fail(w, "hub_send to %s failed", sim_name(c));
	msg_unref(m);
}

void sim_kick(struct sim *w, unsigned hub, unsigned user)
{
	uint64_t token = oracle_token(w, UINT32_MAX, user, hub, TOKEN_ONE);
	int err;

	sim_tell(w, "hub %u kicks %s", hub, user_id_text(user));
	err = hub_kick(w->hub[hub], sim_user(user), 4410, "kicked", submit_direct(token), BYTES("kick"), sim_now(w));
	if (err)
		oracle_refused(w, UINT32_MAX, token, err);
}

/* ---- the turn ------------------------------------------------------------------------------------------------- */

/* Edges that have been seen; some are seen only in a later turn. */
static void poll_writable(struct sim *w, unsigned hub)
{
	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (c->hub != hub || !c->s || !c->refused || c->room == 0 || (!w->calm && sim_chance(w, 30)))
			continue;
		c->refused = false;
		hub_writable(w->hub[hub], c->s);
	}
}

static void attached(struct sim *w, const struct hub_request *r)
{
	struct conn *c = conn_of(w, r->session);

	if (c->phase != CONN_ATTACHING || r->session->state != SESSION_HELD || r->token != c->number + 1)
		sim_fail(w, "%s is called attached in phase %d, state %d", sim_name(c), c->phase, r->session->state);
	c->phase = CONN_HELD;
}

/* Performs the requests that waited when the phase began. */
static void perform_requests(struct sim *w, unsigned hub)
{
	struct hub_request r;

	for (size_t n = hub_requests(w->hub[hub]); n && hub_take_request(w->hub[hub], &r); n--) {
		if (r.type == HUB_REQ_OUTCOME && submit_is_direct(r.token)) {
			r.token = submit_direct(r.token);
			oracle_outcome(w, hub, &r);
		} else if (r.type == HUB_REQ_OUTCOME)
			submit_outcome(&w->shard[hub], &r);
		else if (r.type == HUB_REQ_ATTACHED)
			attached(w, &r);
		else
			start_load(w, &r);
	}
}

static void flush_ready(struct sim *w, unsigned hub)
{
	/* Sometimes the slice ends before all are flushed; never when a queue is over its limit. */
	uint64_t slice = w->calm || sim_chance(w, 80) ? TAKES_MAX : 1 + sim_dice(w, 4);
	struct session *s;
	uint32_t taken = 0;

	while ((taken < slice || hub_pressed(w->hub[hub])) && (s = hub_take_ready(w->hub[hub]))) {
		oracle_ready(w, hub, conn_of(w, s));
		flush(w, conn_of(w, s));
		if (++taken == TAKES_MAX) {
			sim_fail(w, "the turn of hub %u does not end", hub);
			return;
		}
	}
	oracle_after_turn(w, hub);
}

static void give_up_closing(struct sim *w, unsigned hub)
{
	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (c->hub == hub && c->phase == CONN_CLOSING && w->ms - c->closing_since_ms > CLOSE_WAIT_MS)
			gone(w, c);
	}
}

void sim_turn(struct sim *w, unsigned hub)
{
	world_tell_links(w, hub);
	poll_writable(w, hub);
	finish_hooks(w, hub);
	world_deliver(w, hub, w->calm ? 1000 : 1 + (unsigned)sim_dice(w, 20));
	submit_turn(w, hub);
	answer_loads(w, hub);
	if (hub == 0)
		number_messages(w);
	hub_tick(w->hub[hub], sim_now(w));
	perform_requests(w, hub);
	flush_ready(w, hub);
	give_up_closing(w, hub);
}

void sim_run(struct sim *w, uint64_t ms)
{
	for (; ms && !w->failed; ms--) {
		for (uint32_t i = 0; i < w->conns; i++)
			sim_read(w, w->conn[i]);
		for (unsigned hub = 0; hub < SIM_HUBS && !w->failed; hub++)
			sim_turn(w, hub);
		oracle_flush_lines(w);
		w->ms++;
	}
}

void sim_stop(struct sim *w)
{
	sim_tell(w, "the shards end");
	w->over = w->calm = true;
	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		w->shard[hub].over = true;
	for (uint32_t i = 0; i < w->conns; i++)
		sim_disconnect(w, w->conn[i]);
	/* Several rounds, because the end of one shard may post to another. */
	for (unsigned i = 0; i < 3; i++)
		for (unsigned hub = 0; hub < SIM_HUBS; hub++) {
			submit_turn(w, hub);
			world_deliver(w, hub, 1000);
			perform_requests(w, hub);
		}
	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		submit_bury(w, hub);
}

void sim_end(struct sim *w)
{
	w->calm = true;
	for (uint32_t i = 0; i < w->conns; i++)
		w->conn[i]->stalled = false;
	for (unsigned a = 0; a < SIM_HUBS; a++)
		for (unsigned b = 0; b < a; b++) {
			sim_run(w, 1);
			world_heal(w, a, b);
		}
	/* Longer than any delay, question or close may last, and as often as a replay in the smallest steps needs. */
	for (unsigned i = 0; i < 1000 && !w->failed && (i < 40 || !world_quiet(w)); i++) {
		sim_run(w, 2);
		w->ms += CLOSE_WAIT_MS / 30;
	}
	if (!w->failed && !world_quiet(w))
		sim_fail(w, "it does not come to rest");
	if (!w->failed)
		oracle_quiet(w);
	if (w->failed)
		return;
	for (uint32_t i = 0; i < w->conns; i++)
		sim_disconnect(w, w->conn[i]);
	sim_run(w, 5);
	oracle_over(w);
}
