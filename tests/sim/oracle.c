/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle: what must be true, whatever chance does. It writes down who said what to whom and who was connected then, and
 * compares that with what clients receive and askers are told:
 *
 *   - a message that has begun on the wire is finished before anything else is sent
 *   - a message reaches only those it is for, once, in the order of its sender; one that was promised to a connection
 *     (published while it was accepted, and the publishing hub had every reason to know) is received, or a gap notice that
 *     stands before anything sent later accounts for it, or the connection ended; a notice never counts too many
 *   - numbers of logged messages grow on every connection, and a replay leaves nothing out
 *   - every question has its one outcome, whose count is possible; nobody is called offline who was told "connected"
 *   - nobody is closed as slow whose socket took what it was offered, or whose queue was within its limits
 *   - after a turn no queue is over its limit; unicasts are flushed before broadcasts; when all is quiet nothing waits
 *   - each hook is asked once, in the order of the stages, about messages without a flaw; the sender of a message that a check
 *     or a hook refuses, or that a hook does not answer in time, gets the right code, and no hub gets the message; every other
 *     message is published, with the text that was said or that a hook has set
 *   - counters are true; at the end not a byte of a message is left
 */
#include "sim.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wsc/error.h"

#define TOKEN_SALT 0x5a17000000000000u
#define KICK UINT32_MAX

/* ---- the story ------------------------------------------------------------------------------------------------ */

static void line(struct sim *w, const char *text)
{
	if (w->o.tell)
		buf_addf(&w->story, "[%u ms] %s\n", (unsigned)(w->ms - 1000), text);
}

void oracle_flush_lines(struct sim *w)
{
	char text[64];

	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (!c->got_run)
			continue;
		snprintf(text, sizeof(text), "%s has %u message%s", sim_name(c), c->got_run,
			 c->got_run == 1 ? "" : "s");
		if (c->got_edited)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %u edited", c->got_edited);
		c->got_run = c->got_edited = 0;
		line(w, text);
	}
}

void sim_tell(struct sim *w, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!w->o.tell)
		return;
	oracle_flush_lines(w);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	line(w, text);
}

void sim_fail(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failed)
		return;
	w->failed = true;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	sim_tell(w, "WRONG: %s", w->why);
}

/* ---- what is said --------------------------------------------------------------------------------------------- */

static unsigned user_of_sender(const struct sim *w, uint32_t sender)
{
	return sender < SIM_CONNS ? w->conn[sender]->user : SIM_USERS;
}

uint32_t oracle_message(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to, uint32_t pad)
{
	struct sim_msg *m = &w->msg[w->msgs];

	if (w->msgs == SIM_MSGS || w->tokens == SIM_TOKENS)
		return UINT32_MAX;
	*m = (struct sim_msg){
		.sender = sender,
		.n = ++w->next_n[sender],
		.pad = pad,
		.scope = (uint8_t)scope,
		.user = (uint8_t)(scope == HUB_TO_USER ? to : 0),
		.ticket = (uint8_t)(scope == HUB_TO_TICKET ? to : 0),
		.sender_user = (uint8_t)user_of_sender(w, sender),
		.server = sender >= SIM_SENDER_SERVER,
		.plan = { w->plan[0], w->plan[1] },
		.flaw = (uint8_t)w->flaw,
		.only = UINT32_MAX,
		.at_ms = w->ms,
	};
	return w->msgs++;
}

bool oracle_matches(const struct sim *w, const struct conn *c, const struct sim_msg *m)
{
	(void)w;
	if (m->server)
		return m->only == c->number;
	switch ((enum hub_scope)m->scope) {
	case HUB_TO_USER:
		return c->user == m->user;
	case HUB_TO_TICKET:
		return c->ticket == m->ticket && c->user != m->sender_user;
	default:
		return true;
	}
}

static struct sim_due *promise(struct conn *c, uint32_t msg)
{
	if (c->due_count == c->due_cap) {
		c->due_cap = c->due_cap ? c->due_cap * 2 : 64;
		c->due = mem_realloc(c->due, c->due_cap * sizeof(*c->due));
		if (!c->due)
			abort();
	}
	c->due[c->due_count] = (struct sim_due){ .msg = msg, .must = true };
	return &c->due[c->due_count++];
}

void oracle_promise(struct conn *c, uint32_t msg)
{
	promise(c, msg);
}

void oracle_promise_log(struct sim *w, struct conn *c)
{
	for (uint64_t seq = c->replay_after; seq < w->logged; seq++)
		if (w->msg[w->order[seq]].published && oracle_matches(w, c, &w->msg[w->order[seq]]))
			promise(c, w->order[seq])->later = true;
}

void oracle_published(struct sim *w, uint32_t msg, unsigned hub)
{
	struct sim_msg *m = &w->msg[msg];

	m->published = true;
	m->hub = (uint8_t)hub;
	m->at_ms = w->ms;
	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (conn_accepted(c) && oracle_matches(w, c, m) && world_knows(w, hub, c->hub) &&
		    (!c->replay || m->seq > c->replay_after))
			oracle_promise(c, msg);
	}
}

void oracle_link_broken(struct sim *w, unsigned a, unsigned b)
{
	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (c->hub != a && c->hub != b)
			continue;
		for (uint32_t d = 0; d < c->due_count; d++)
			if (w->msg[c->due[d].msg].hub == (c->hub == a ? b : a) && !w->msg[c->due[d].msg].server)
				c->due[d].must = false;
	}
}

/* ---- what is received ----------------------------------------------------------------------------------------- */

static bool has_got(const struct conn *c, uint32_t msg)
{
	return c->got[msg / 8] & (1u << msg % 8);
}

static uint32_t number_of(struct bytes text)
{
	size_t at = text.len && text.at[0] == '{' ? strlen("{\"id\":\"") : 0;
	uint32_t n = 0;

	for (size_t i = at; i < at + 8 && i < text.len; i++)
		n = n * 10 + (uint32_t)(text.at[i] - '0');
	return n;
}

static bool is_text_of(const struct sim *w, uint32_t number, struct bytes text)
{
	char want[SIM_TEXT_MAX];

	if (w->msg[number].submitted)
		return bytes_eq(text, submit_text(w, number, want));
	return text.len == 8 + w->msg[number].pad;
}

/* Whatever was promised, comes from the same sender, is older than @m and is not there by now has been dropped. */
static void count_missing(struct sim *w, struct conn *c, const struct sim_msg *m)
{
	for (uint32_t i = 0; i < c->due_count; i++) {
		struct sim_due *d = &c->due[i];
		const struct sim_msg *older = &w->msg[d->msg];

		if (d->received || d->missed || !d->must || has_got(c, d->msg))
			continue;
		if (m && (older->sender != m->sender || older->n >= m->n))
			continue;
		d->missed = true;
		c->missing++;
		if (c->missing > c->gaps)
			sim_fail(w, "%s misses message %u and no gap notice says so", sim_name(c), d->msg);
	}
}

static void check_order(struct sim *w, struct conn *c, const struct sim_msg *m, uint32_t number)
{
	if (m->n <= c->last_n[m->sender])
		sim_fail(w, "%s gets message %u of its sender after number %u", sim_name(c), m->n,
			 c->last_n[m->sender]);
	c->last_n[m->sender] = m->n;
	if (!m->seq)
		return;
	if (m->seq <= c->last_seq || (c->replay && m->seq <= c->replay_after))
		sim_fail(w, "%s gets seq %u after %u (message %u)", sim_name(c), (unsigned)m->seq,
			 (unsigned)c->last_seq, number);
	c->last_seq = m->seq;
}

void oracle_received(struct sim *w, struct conn *c, struct bytes text)
{
	uint32_t number = number_of(text);
	const struct sim_msg *m = &w->msg[number];

	if (number >= w->msgs || !is_text_of(w, number, text)) {
		sim_fail(w, "%s gets what nobody sent: %.*s", sim_name(c), (int)text.len, (const char *)text.at);
		return;
	}
	if (!m->published || !oracle_matches(w, c, m))
		sim_fail(w, "%s gets message %u, which is not for it", sim_name(c), number);
	if (has_got(c, number))
		sim_fail(w, "%s gets message %u twice", sim_name(c), number);
	if (c->phase != CONN_OPEN && c->phase != CONN_CLOSING)
		sim_fail(w, "%s gets message %u before it is connected", sim_name(c), number);
	check_order(w, c, m, number);
	c->got[number / 8] |= (uint8_t)(1u << number % 8);
	for (uint32_t i = 0; i < c->due_count; i++)
		if (c->due[i].msg == number)
			c->due[i].received = true;
	count_missing(w, c, m);
	c->got_run++;
	c->got_edited += m->edited;
}

void oracle_stream(struct sim *w, struct conn *c, const struct msg *m, uint32_t offset)
{
	if (c->begun_len != offset || (offset && c->begun != m))
		sim_fail(w, "%s has the beginning of a message and then something else", sim_name(c));
}

/* All that @c might have been sent and has not got. */
static uint32_t could_be_missing(const struct sim *w, const struct conn *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->msgs; i++) {
		const struct sim_msg *m = &w->msg[i];
		bool in_time = m->at_ms + SIM_IN_FLIGHT_MS >= c->attached_ms || (c->replay && m->seq > c->replay_after);

		n += m->published && in_time && oracle_matches(w, c, m) && !has_got(c, i);
	}
	return n;
}

void oracle_gap(struct sim *w, struct conn *c, uint32_t n)
{
	c->gaps += n;
	sim_tell(w, "%s is told of a gap of %u", sim_name(c), n);
	if (w->o.slow != HUB_SLOW_DROP_OLDEST || n == 0)
		sim_fail(w, "%s is told of a gap of %u", sim_name(c), n);
	else if (c->gaps > could_be_missing(w, c))
		sim_fail(w, "%s is told of %u messages dropped and misses at most %u", sim_name(c), c->gaps,
			 could_be_missing(w, c));
}

/* ---- tokens --------------------------------------------------------------------------------------------------- */

/* A hub that has lost a peer, but has not been told yet, learns only later what its questions come to. */
static uint32_t breaks_known(const struct sim *w, unsigned hub)
{
	for (unsigned peer = 0; peer < SIM_HUBS; peer++)
		if (w->link[hub][peer] != LINK_UP || w->link[peer][hub] != LINK_UP)
			return UINT32_MAX;
	return w->breaks;
}

uint64_t oracle_token(struct sim *w, uint32_t msg, unsigned user, unsigned hub, enum token_want want)
{
	if (w->tokens == SIM_TOKENS)
		abort();
	w->token[w->tokens] = (struct sim_token){
		.msg = msg,
		.user = (uint8_t)user,
		.hub = (uint8_t)hub,
		.want = want,
		.at_ms = w->ms,
		.breaks = breaks_known(w, hub),
	};
	return TOKEN_SALT | w->tokens++;
}

static bool may_time_out(const struct sim *w, const struct sim_token *t)
{
	return w->breaks != t->breaks || w->ms >= t->at_ms + w->o.ask_timeout_ms;
}

static bool sender_has_ticket(const struct sim *w, const struct sim_msg *m)
{
	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *c = w->conn[i];

		if (c->s && c->s->state != SESSION_CLOSING && c->user == m->sender_user && c->ticket == m->ticket &&
		    c->hub == sim_hub_of_sender(w, m->sender))
			return true;
	}
	return false;
}

void oracle_refused(struct sim *w, uint32_t msg, uint64_t token, int err)
{
	struct sim_token *t = &w->token[token & ~TOKEN_SALT];
	const struct sim_msg *m = msg == KICK ? NULL : &w->msg[msg];

	t->answered = true; /* nothing may follow */
	if (err == HUB_NOT_IN_TICKET && m && m->sender < SIM_CONNS && !sender_has_ticket(w, m))
		return;
	if (err == HUB_BUSY && w->o.max_pending < 100)
		return;
	sim_fail(w, "message %u is refused with %d", msg, err);
}

/* ---- the way in ----------------------------------------------------------------------------------------------- */

static bool is_trusted(const struct sim_msg *m)
{
	return m->sender >= SIM_INPUTS;
}

static bool hook_applies(const struct sim *w, const struct sim_msg *m, enum sim_hook hook)
{
	return w->o.hook[hook] && (hook == HOOK_SEND || (!is_trusted(m) && m->scope != HUB_TO_ALL));
}

/* Has the message no flaw, and did all its hooks before @end allow it? */
static bool is_allowed(const struct sim *w, const struct sim_msg *m, enum sim_hook end)
{
	for (enum sim_hook hook = HOOK_RECEIVED; hook < end; hook++) {
		enum sim_answer a = (enum sim_answer)m->plan[hook].answer;

		if (hook_applies(w, m, hook) && (!m->hook[hook].answered || a == ANSWER_NO || a == ANSWER_BAD_EDIT))
			return false;
	}
	return m->flaw == FLAW_NONE;
}

void oracle_asked(struct sim *w, uint32_t msg, enum sim_hook hook, unsigned hub, const struct wsc_message *seen)
{
	struct sim_msg *m = &w->msg[msg < w->msgs ? msg : 0];
	const char *to = m->scope == HUB_TO_USER ? user_id_text(m->user) : "";

	if (msg >= w->msgs || !m->submitted || !hook_applies(w, m, hook) || hub != sim_hub_of_sender(w, m->sender))
		sim_fail(w, "a hook is asked about message %u, which is not for it", msg);
	if (m->hook[hook].asked || m->fate != FATE_WAITS || !is_allowed(w, m, hook))
		sim_fail(w, "hook %d is asked about message %u out of its turn", hook, msg);
	if (w->over)
		sim_fail(w, "a hook is asked about message %u after the end", msg);
	if (seen->content_len != m->pad || strcmp(seen->to, to) != 0 ||
	    strcmp(seen->from, submit_name(w, m->sender)) != 0)
		sim_fail(w, "a hook sees another message %u", msg);
	m->hook[hook].asked = true;
	m->hook[hook].at_ms = w->ms;
}

/* A message that submit/ gives to a hub has passed all stages, and has the text that was said or that the hook has set. */
static void check_publication(struct sim *w, uint32_t msg, unsigned hub, const struct hub_publication *p)
{
	struct sim_msg *m = &w->msg[msg];

	if (m->fate != FATE_WAITS || m->hub_said)
		sim_fail(w, "message %u is published twice, or in spite of its refusal", msg);
	if (!is_allowed(w, m, HOOK_SEND + 1))
		sim_fail(w, "message %u is published although it must not be", msg);
	if (w->over)
		sim_fail(w, "message %u is published after the end", msg);
	if (hub != sim_hub_of_sender(w, m->sender) || (int)p->scope != m->scope)
		sim_fail(w, "message %u is published elsewhere", msg);
	if (!is_text_of(w, msg, msg_text(p->msg)))
		sim_fail(w, "message %u is published as %.*s", msg, (int)p->msg->len, (const char *)p->msg->json);
}

void oracle_hub_said(struct sim *w, unsigned hub, const struct hub_publication *p, int err)
{
	uint32_t msg = number_of(p->ref);
	struct sim_msg *m = &w->msg[msg < w->msgs ? msg : 0];
	struct sim_token *t = &w->token[m->token & ~TOKEN_SALT];

	if (m->submitted)
		check_publication(w, msg, hub, p);
	m->hub_said = err;
	t->at_ms = w->ms;
	t->breaks = breaks_known(w, hub);
	if (err) {
		oracle_refused(w, msg, m->token, err);
		return;
	}
	m->fate = FATE_PUBLISHED;
	if (m->submitted && m->scope == HUB_TO_ALL)
		w->counts[hub].broadcasts++;
	else if (m->submitted && !is_trusted(m))
		w->counts[hub].received++;
	oracle_published(w, msg, hub);
}

static bool timed_out(const struct sim *w, const struct sim_msg *m, enum sim_hook hook)
{
	return m->hook[hook].asked && w->ms >= m->hook[hook].at_ms + w->o.hook_timeout_ms &&
	       (m->plan[hook].late || m->plan[hook].answer == ANSWER_NEVER);
}

/* The code of a flaw, for each of the two kinds of senders. */
static enum api_code code_of_flaw(const struct sim_msg *m)
{
	bool call = m->sender >= SIM_CONNS;

	switch ((enum sim_flaw)m->flaw) {
	case FLAW_FROM:
		return API_SENDER_MISMATCH;
	case FLAW_PAYLOAD:
		return call ? API_MISSING_FIELD : API_BAD_MESSAGE;
	case FLAW_RECIPIENT:
		return call ? API_MISSING_FIELD : API_NO_RECIPIENT;
	case FLAW_JSON:
		return API_BAD_MESSAGE;
	default:
		return API_OK;
	}
}

/* Is @code a right reason to refuse this message at its present stage? */
static bool may_be_denied(const struct sim *w, const struct sim_msg *m, enum api_code code)
{
	enum sim_hook last = m->hook[HOOK_SEND].asked ? HOOK_SEND : HOOK_RECEIVED;
	enum sim_answer a = (enum sim_answer)m->plan[last].answer;
	bool asked = m->hook[last].asked;

	switch (code) {
	case API_REFUSED:
		return asked && m->hook[last].answered && a == ANSWER_NO;
	case API_INTERNAL:
		return asked && m->hook[last].answered && a == ANSWER_BAD_EDIT;
	case API_HOOK_TIMEOUT:
		return timed_out(w, m, last);
	case API_SHUTTING_DOWN:
		return w->over && asked;
	case API_NOT_IN_TICKET:
		return m->hub_said == HUB_NOT_IN_TICKET;
	case API_OVERLOADED:
		return m->hub_said == HUB_BUSY;
	default:
		return m->flaw && code == code_of_flaw(m);
	}
}

static const char *teller(const struct sim *w, const struct sim_msg *m)
{
	if (m->sender >= SIM_CONNS)
		return submit_name(w, m->sender);
	return w->conn[m->sender]->s ? sim_name(w->conn[m->sender]) : "nobody";
}

void oracle_denied(struct sim *w, uint32_t msg, enum api_code code)
{
	struct sim_msg *m = &w->msg[msg];

	sim_tell(w, "%s: message %u: %s", teller(w, m), msg, api_code_text(code));
	if (m->fate != FATE_WAITS)
		sim_fail(w, "message %u is refused with %s, and it was through", msg, api_code_text(code));
	else if (!may_be_denied(w, m, code))
		sim_fail(w, "message %u is refused with %s", msg, api_code_text(code));
	m->fate = FATE_REFUSED;
	w->counts[sim_hub_of_sender(w, m->sender)].refused[code]++;
	w->token[m->token & ~TOKEN_SALT].answered = true;
}

void oracle_dropped(struct sim *w, uint32_t msg)
{
	w->msg[msg].fate = FATE_DROPPED;
	w->token[w->msg[msg].token & ~TOKEN_SALT].answered = true;
}

/* The error codes behind the errors that the program gets. */
static const struct {
	int error;
	enum api_code code;
	const char *word;
} errors[] = { { -WSC_EREFUSED, API_REFUSED, "refused" },
	       { -WSC_EBADMESSAGE, API_INTERNAL, "not valid" },
	       { -WSC_ETIMEDOUT, API_HOOK_TIMEOUT, "timed out" },
	       { -WSC_EAGAIN, API_OVERLOADED, "busy" },
	       { -WSC_ESTATE, API_SHUTTING_DOWN, "stopped" } };

static const char *word_of(int error)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].error == error)
			return errors[i].word;
	return "?";
}

static bool may_be_told(const struct sim *w, const struct sim_msg *m, int error)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].error == error && may_be_denied(w, m, errors[i].code))
			return true;
	return error == -WSC_ESTATE && w->over; /* also of a message that has not begun or has no outcome yet */
}

void oracle_told(struct sim *w, uint32_t msg, const struct wsc_outcome *o)
{
	struct sim_msg *m = &w->msg[msg];
	struct sim_token *t = &w->token[m->token & ~TOKEN_SALT];
	struct hub_request r = { .token = m->token,
				 .scope = m->scope,
				 .delivered = o->delivered_count,
				 .to = sim_user(m->user),
				 .ref = bytes_str(o->id) };

	if (m->told)
		sim_fail(w, "the program is told of message %u twice", msg);
	m->told = true;
	if (m->fate != FATE_PUBLISHED || o->error == -WSC_ESTATE) {
		sim_tell(w, "%s: message %u: %s", submit_name(w, m->sender), msg, word_of(o->error));
		if (!may_be_told(w, m, o->error))
			sim_fail(w, "the program is told %d of message %u", o->error, msg);
		m->fate = m->fate == FATE_PUBLISHED ? FATE_PUBLISHED : FATE_REFUSED;
		t->answered = true;
		return;
	}
	r.result = o->delivered_count ? HUB_DELIVERED : o->error == -WSC_ETIMEDOUT ? HUB_TIMED_OUT : HUB_NOBODY;
	/* A broadcast never fails for the program, so a timeout of a peer looks the same as no receiver. */
	if (!o->delivered_count && m->scope == HUB_TO_ALL && may_time_out(w, t))
		r.result = HUB_TIMED_OUT;
	if (o->error != (r.result == HUB_DELIVERED || m->scope == HUB_TO_ALL ? 0
			 : r.result == HUB_NOBODY                            ? -WSC_EOFFLINE
									     : -WSC_ETIMEDOUT))
		sim_fail(w, "the program is told %d of message %u, delivered to %u", o->error, msg, o->delivered_count);
	oracle_outcome(w, t->hub, &r);
}

/* ---- outcomes, checked ------------------------------------------------------------------------------------------ */

static bool addressed(const struct sim *w, const struct sim_token *t, const struct conn *c)
{
	return t->msg == KICK ? c->user == t->user : oracle_matches(w, c, &w->msg[t->msg]);
}

/* At least these have it: promised, and connected to this moment. */
static uint32_t surely_delivered(const struct sim *w, const struct sim_token *t)
{
	uint32_t n = 0;

	if (t->msg == KICK)
		return 0;
	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *c = w->conn[i];

		if (!conn_accepted(c))
			continue;
		for (uint32_t d = 0; d < c->due_count; d++)
			n += c->due[d].msg == t->msg && c->due[d].must && !c->due[d].later;
	}
	return n;
}

static uint32_t possibly_delivered(const struct sim *w, const struct sim_token *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->conns; i++)
		n += addressed(w, t, w->conn[i]) && w->conn[i]->gone_ms >= t->at_ms;
	return n;
}

/* Sessions that were connected when the kick was asked for are closed when it is reported. */
static void check_kicked(struct sim *w, const struct sim_token *t)
{
	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *c = w->conn[i];

		if (c->user == t->user && conn_accepted(c) && c->attached_ms < t->at_ms &&
		    (!w->o.nodes || c->hub == t->hub))
			sim_fail(w, "%s was not kicked", sim_name(c));
	}
}

static void check_names(struct sim *w, const struct sim_token *t, const struct hub_request *r)
{
	char ref[16];

	snprintf(ref, sizeof(ref), "%08u", (unsigned)t->msg);
	if (!bytes_eq(r->ref, t->msg == KICK ? BYTES("kick") : bytes_str(ref)))
		sim_fail(w, "the outcome of message %u names another one", t->msg);
	if (r->scope == HUB_TO_USER && !bytes_eq(r->to, sim_user(t->user)))
		sim_fail(w, "the outcome of message %u names another user", t->msg);
}

static void check_count(struct sim *w, const struct sim_token *t, const struct hub_request *r)
{
	uint32_t least = surely_delivered(w, t), most = possibly_delivered(w, t);

	if (r->delivered > most)
		sim_fail(w, "message %u: %u delivered, %u at most can have it", t->msg, r->delivered, most);
	if (r->result == HUB_TIMED_OUT && !may_time_out(w, t))
		sim_fail(w, "message %u times out after %u ms", t->msg, (unsigned)(w->ms - t->at_ms));
	if ((r->result == HUB_DELIVERED) != (r->delivered > 0))
		sim_fail(w, "message %u: result %d with %u delivered", t->msg, r->result, r->delivered);
	if (r->result == HUB_NOBODY && least)
		sim_fail(w, "message %u: called offline, but %u are connected", t->msg, least);
	else if (r->delivered < least && !may_time_out(w, t))
		sim_fail(w, "message %u: %u delivered, but %u are connected", t->msg, r->delivered, least);
}

void oracle_outcome(struct sim *w, unsigned hub, const struct hub_request *r)
{
	static const char *const result[] = { "delivered", "nobody", "timed out" };
	uint32_t number = (uint32_t)(r->token & ~TOKEN_SALT);
	struct sim_token *t = &w->token[number < SIM_TOKENS ? number : 0];

	if (number >= w->tokens || r->token != (TOKEN_SALT | number) || t->hub != hub) {
		sim_fail(w, "an outcome for nobody's token");
		return;
	}
	if (t->answered)
		sim_fail(w, "message %u has two outcomes", t->msg);
	if (t->want == TOKEN_NONE || (t->want == TOKEN_FAILURE && r->result == HUB_DELIVERED))
		sim_fail(w, "message %u has an outcome that nobody asked for", t->msg);
	t->answered = true;
	check_names(w, t, r);
	check_count(w, t, r);
	if (t->msg == KICK && r->result != HUB_TIMED_OUT)
		check_kicked(w, t);
	if (t->msg == KICK)
		sim_tell(w, "hub %u: kick of %s: %s, %u", hub, user_id_text(t->user), result[r->result], r->delivered);
	else
		sim_tell(w, "hub %u: message %u: %s, %u", hub, t->msg, result[r->result], r->delivered);
}

/* ---- flush and turn ------------------------------------------------------------------------------------------- */

static bool over_limit(const struct sim *w, const struct session *s)
{
	uint32_t max = s->transport == HUB_SSE ? (w->o.max_messages + 1) / 2 : w->o.max_messages;

	return s->q.count > max || (s->q.bytes > w->o.max_queue_bytes && s->q.count > 1);
}

static bool holds_unicast(const struct sim *w, const struct conn *c)
{
	struct msg *m[SIM_MSGS];
	unsigned n = outq_peek(&c->s->q, m, SIM_MSGS);

	for (unsigned i = 0; i < n; i++) {
		const struct sim_msg *known = &w->msg[number_of(msg_text(m[i]))];

		if (known->server || known->scope == HUB_TO_USER)
			return true;
	}
	return false;
}

void oracle_ready(struct sim *w, unsigned hub, struct conn *c)
{
	if (c->hub != hub)
		sim_fail(w, "hub %u flushes %s", hub, sim_name(c));
	if (c->s->state == SESSION_HELD || c->s->state == SESSION_ATTACHING)
		sim_fail(w, "%s is to be flushed before it is accepted", sim_name(c));
	if (c->s->state == SESSION_CLOSING) {
		if (c->phase == CONN_OPEN && c->s->close_code == 1013 && !c->closed_by_refusal)
			sim_fail(w, "%s is closed as slow and its socket was not asked", sim_name(c));
		return;
	}
	/* A unicast keeps the session urgent until its queue is empty. A replayed unicast is no unicast. */
	c->urgent |= holds_unicast(w, c);
	if (c->urgent || c->own_left || c->s->gap || w->o.log)
		return;
	for (uint32_t i = 0; i < w->conns; i++) {
		const struct conn *o = w->conn[i];

		if (o != c && o->hub == hub && conn_accepted(o) && !o->refused && !o->s->blocked && holds_unicast(w, o))
			sim_fail(w, "the broadcast of %s goes before the unicast of %s", sim_name(c), sim_name(o));
	}
}

struct judged oracle_before_flushed(const struct sim *w, const struct conn *c)
{
	return (struct judged){
		.count = c->s->q.count,
		.bytes = c->s->q.bytes,
		.gap = c->s->gap,
		.total = hub_owner(w->hub[c->hub])->bytes,
		.accepted = conn_accepted(c),
	};
}

static void check_dropped(struct sim *w, const struct conn *c, const struct judged *before)
{
	uint32_t dropped = before->count - c->s->q.count;

	if (c->s->gap - before->gap != dropped)
		sim_fail(w, "%s: %u dropped, the gap grows by %u", sim_name(c), dropped, c->s->gap - before->gap);
	/* A worker short of memory closes the session that was blocked for longest and drops none of its messages. */
	if (dropped && w->o.slow != HUB_SLOW_DROP_OLDEST)
		sim_fail(w, "%s: %u dropped", sim_name(c), dropped);
}

void oracle_after_flushed(struct sim *w, struct conn *c, const struct judged *before, bool refused)
{
	const struct session *s = c->s;
	uint32_t max = s->transport == HUB_SSE ? (w->o.max_messages + 1) / 2 : w->o.max_messages;
	bool was_over = before->count > max || (before->bytes > w->o.max_queue_bytes && before->count > 1);
	bool short_of_memory = w->o.max_total_bytes && before->total > w->o.max_total_bytes;

	c->urgent &= s->q.count > 0;
	if (!before->accepted)
		return;
	if (s->state != SESSION_CLOSING) {
		check_dropped(w, c, before);
		if (refused && over_limit(w, s))
			sim_fail(w, "%s is over its limit after the flush", sim_name(c));
		return;
	}
	c->closed_by_refusal = true;
	if (s->close_code != 1013 || !refused || c->room)
		sim_fail(w, "%s is closed with %u in its flush, room for %u", sim_name(c), s->close_code, c->room);
	if (!short_of_memory && !(was_over && w->o.slow == HUB_SLOW_CLOSE))
		sim_fail(w, "%s is closed as slow with %u messages in its queue", sim_name(c), before->count);
	if (!(was_over && w->o.slow == HUB_SLOW_CLOSE) && c->room_before)
		sim_fail(w, "%s is closed for want of memory while it reads", sim_name(c));
	if (s->q.count > 1 || (s->q.count == 1 && !s->q.offset) || s->gap)
		sim_fail(w, "%s is closed as slow and the close frame is not next", sim_name(c));
}

/* The first turn after the timeout of a hook refuses its message. */
static void check_hooks(struct sim *w, unsigned hub)
{
	for (uint32_t i = 0; i < w->asks; i++) {
		const struct sim_msg *m = &w->msg[w->ask[i].msg];

		if (sim_hub_of_sender(w, m->sender) == hub && m->fate == FATE_WAITS &&
		    timed_out(w, m, (enum sim_hook)w->ask[i].hook) && (!is_trusted(m) || m->want == TOKEN_ONE))
			sim_fail(w, "message %u waits for a hook that is too late", w->ask[i].msg);
	}
}

static void check_counters(struct sim *w, unsigned hub)
{
	const struct metrics *k = &w->shard[hub].metrics;
	const struct sim_counts *own = &w->counts[hub];

	if (counter_get(&k->received) != own->received || counter_get(&k->broadcasts) != own->broadcasts)
		sim_fail(w, "shard %u counts %u received, %u broadcasts", hub, (unsigned)counter_get(&k->received),
			 (unsigned)counter_get(&k->broadcasts));
}

static void check_refused(struct sim *w, unsigned hub)
{
	const struct metrics *k = &w->shard[hub].metrics;
	const struct sim_counts *own = &w->counts[hub];

	for (enum api_code code = API_OK; code < API_CODE_END; code++)
		if (counter_get(&k->messages_refused[code]) != own->refused[code])
			sim_fail(w, "shard %u counts %u times %s", hub,
				 (unsigned)counter_get(&k->messages_refused[code]), api_code_text(code));
}

static bool is_alone(const struct sim *w, unsigned hub)
{
	for (unsigned peer = 0; peer < SIM_HUBS; peer++)
		if (peer != hub && w->link[hub][peer] != LINK_DOWN && w->link[hub][peer] != LINK_JOINING)
			return false;
	return true;
}

/* The online list, a page of one at a time. */
static void check_online(struct sim *w, unsigned hub, uint64_t sessions, uint64_t users)
{
	struct hub_user_row row;
	struct bytes last = { 0 };

	while (hub_next_user(w->hub[hub], last.at ? &last : NULL, &row)) {
		last = row.user_id;
		if (row.connections == 0 || row.connections > sessions || users == 0) {
			sim_fail(w, "hub %u lists %.3s with %u connections", hub, (const char *)row.user_id.at,
				 row.connections);
			return;
		}
		sessions -= row.connections;
		users--;
	}
	if (sessions || users)
		sim_fail(w, "%u connections of %u users are not listed", (unsigned)sessions, (unsigned)users);
}

void oracle_after_turn(struct sim *w, unsigned hub)
{
	uint64_t sessions = 0, users = 0;
	const struct hub_counters *k = hub_counters(w->hub[hub]);
	bool seen[SIM_USERS] = { false };

	for (uint32_t i = 0; i < w->conns; i++) {
		struct conn *c = w->conn[i];

		if (!c->s || c->hub != hub)
			continue;
		if (c->s->state == SESSION_ATTACHING && is_alone(w, hub))
			sim_fail(w, "%s waits for nodes that hub %u has lost", sim_name(c), hub);
		if (c->s->state != SESSION_CLOSING && over_limit(w, c->s) && !hub_has_ready(w->hub[hub]))
			sim_fail(w, "%s is over its limit after the turn", sim_name(c));
		if (!conn_accepted(c))
			continue;
		sessions++;
		users += !seen[c->user];
		seen[c->user] = true;
	}
	check_online(w, hub, sessions, users);
	if (k->sessions[0] + k->sessions[1] != sessions || k->users != users)
		sim_fail(w, "hub %u counts %u sessions and %u users", hub, (unsigned)(k->sessions[0] + k->sessions[1]),
			 (unsigned)k->users);
	if (hub_pressed(w->hub[hub]))
		sim_fail(w, "hub %u is still pressed after the turn", hub);
	check_hooks(w, hub);
	check_counters(w, hub);
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

/* Nobody can ever have had it and no mail was lost, so the failure has to be told. */
static bool must_have_failed(const struct sim *w, const struct sim_token *t)
{
	return t->want == TOKEN_FAILURE && w->breaks == t->breaks && possibly_delivered(w, t) == 0;
}

/* The program asked for no outcome, so a refusal of this message shows nowhere. */
static bool may_be_unknown(const struct sim *w, const struct sim_msg *m)
{
	if (!is_trusted(m) || m->want == TOKEN_ONE)
		return false;
	return w->over || m->hub_said || !is_allowed(w, m, HOOK_SEND + 1) || timed_out(w, m, HOOK_SEND);
}

static void check_fates(struct sim *w)
{
	for (uint32_t i = 0; i < w->msgs && !w->failed; i++) {
		const struct sim_msg *m = &w->msg[i];

		if (m->submitted && m->fate == FATE_WAITS && !may_be_unknown(w, m))
			sim_fail(w, "message %u is neither published nor refused", i);
		if (m->submitted && is_trusted(m) && m->want == TOKEN_ONE && !m->told)
			sim_fail(w, "the program was not told what became of message %u", i);
	}
}

void oracle_quiet(struct sim *w)
{
	check_fates(w);
	for (unsigned hub = 0; hub < SIM_HUBS; hub++)
		check_refused(w, hub);
	for (uint32_t i = 0; i < w->conns && !w->failed; i++) {
		struct conn *c = w->conn[i];

		if (c->phase == CONN_GONE)
			continue;
		if (!c->s || c->s->state != SESSION_LIVE)
			sim_fail(w, "%s is in state %d when all is quiet", sim_name(c), c->s ? c->s->state : -1);
		else if (c->s->q.count || c->s->gap || c->own_left)
			sim_fail(w, "%u messages wait for %s and nobody knows", c->s->q.count, sim_name(c));
		else
			count_missing(w, c, NULL);
	}
	for (uint32_t i = 0; i < w->tokens && !w->failed; i++) {
		const struct sim_token *t = &w->token[i];

		if (!t->answered && (t->want == TOKEN_ONE || must_have_failed(w, t)))
			sim_fail(w, "message %u has no outcome", t->msg);
	}
}

void oracle_over(struct sim *w)
{
	for (unsigned a = 0; a < SIM_HUBS && !w->failed; a++) {
		const struct msg_owner *o = hub_owner(w->hub[a]);
		struct hub_user_row row;

		if (o->bytes || o->count)
			sim_fail(w, "hub %u: %u messages, %u bytes are left", a, (unsigned)o->count,
				 (unsigned)o->bytes);
		if (hub_next_user(w->hub[a], NULL, &row) || hub_next_session(w->hub[a], NULL))
			sim_fail(w, "hub %u: somebody is left", a);
		for (unsigned u = 0; u < SIM_USERS; u++)
			if (hub_find(w->hub[a], sim_user(u)))
				sim_fail(w, "hub %u: %s is left", a, user_id_text(u));
		if (hub_deadline(w->hub[a]) != UINT64_MAX)
			sim_fail(w, "hub %u still waits for an outcome", a);
	}
}
