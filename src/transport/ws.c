/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws: see ws.h. Frames become messages for submit/, a ping gets its pong, a protocol error closes the connection with its
 * code. Input that cannot be taken yet waits here and nothing more is read: a hook has the message before it, the client
 * does not read its echoes, or the client sends faster than its rate.
 */
#include "transport/ws.h"

#include <stdio.h>
#include "submit/submit.h"

/* A stretch: so many frames, or messages, are taken of one connection, then the others have their turn. */
#define STRETCH 1024u
#define STRETCH_MESSAGES 64u
/* So many messages refused for their rate in one stretch pause their sender, for as long as they would have needed. */
#define PAUSE_MESSAGES 32u
#define PAUSE_MS 500u /* at most: shorter than the pause that ends a time of refusals (hub/limits.h) */
/* Bytes that the messages of one read may inflate to before the others have their turn. */
#define READ_INFLATES (1u << 18)
/* The cost, in bytes, of a frame that is thrown away behind our close frame: an empty one takes as long as so many. */
#define LINGER_FRAME 64u
#define INFLATE 0x80u /* conn_extra.inflate: beside the opcode, which may be 0 */

/* §5.5.1: the peer closes: messages that have not begun are dropped, except echoes, and its code goes back. */
static void on_close(struct conn *c, uint16_t code)
{
	struct shard *sh = conn_shard(c);

	c->peer_closed = true;
	if (c->phase == PHASE_LINGER) {
		conn_end(c, code, false);
		return;
	}
	if (c->close_queued)
		return; /* our close frame is on its way: the flush ends the connection */
	c->close_code = code;
	c->by_client = true;
	hub_close(sh->hub, &c->session, code, end_why(END_BY_CLIENT), !conn_is_echo(c));
}

/* Every ping gets its pong; only while the socket is full, a new pong replaces one that waits. */
static void on_ping(struct conn *c, struct bytes payload)
{
	struct conn_extra *x = conn_extra(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	size_t n = ws_control(frame, WS_OP_PONG, payload);

	if (c->close_queued)
		return;
	if (!x) {
		conn_close(c, END_SESSION_MEMORY, false);
		return;
	}
	if (stream_blocked(&c->stream) && x->pong_at != SIZE_MAX && x->pong_at >= x->ctl_sent && x->pong_at > 0)
		x->ctl.len = x->pong_at;
	x->pong_at = x->ctl.len;
	buf_add(&x->ctl, bytes_of(frame, n));
	if (x->ctl.failed)
		conn_close(c, END_SESSION_MEMORY, false);
	else
		hub_ready(conn_shard(c)->hub, &c->session);
}

/* The time since the start. */
static uint64_t age_ns(const struct shard *sh)
{
	return sh->now.mono_ns - sh->set->started_mono_ms * UINT64_C(1000000);
}

/*
 * Our ping carries the time, so that the pong brings it back. The secret makes it differ from every payload that the client
 * chooses without regard to the ping: a pong that nobody has asked for (§5.5.3) counts for nothing.
 */
static uint64_t ping_payload(const struct conn *c)
{
	return age_ns(conn_shard(c)) ^ c->secret;
}

static void on_pong(struct conn *c, struct bytes payload)
{
	struct shard *sh = conn_shard(c);
	uint64_t sent, ns;

	if (payload.len != sizeof sent)
		return;
	memcpy(&sent, payload.at, sizeof sent);
	ns = age_ns(sh) - (sent ^ c->secret);
	if (ns <= sh->set->opt.client_timeout_ms * UINT64_C(1000000))
		metric_observe(&sh->metrics, ping, ns);
}

static bool control_allowed(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint32_t retry;

	return rate_take(&c->control, &sh->set->opt.control_rate, now_ms(sh->now), &retry) == RATE_OK;
}

/* False: over the rate, and the sender was told. */
static bool message_allowed(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	char extra[48];
	uint32_t retry;

	switch (rate_take(&c->session.rate, &sh->set->opt.message_rate, now_ms(sh->now), &retry)) {
	case RATE_OK:
		return true;
	case RATE_REFUSE:
		sh->refused++;
		if (!conn_is_echo(c))
			counter_add(&sh->metrics.messages_refused[API_RATE_LIMITED], 1);
		snprintf(extra, sizeof extra, "\"retry_after_ms\":%u", retry);
		conn_refuse(c, END_MESSAGE_RATE, BYTES(""), BYTES(""), bytes_str(extra));
		return false;
	case RATE_CLOSE:
		conn_close(c, END_MESSAGE_RATE_LONG, false);
		return false;
	}
	return false;
}

/* Sends the message back. False: the queue is full until the client reads, and nothing more may be taken. */
static bool echo(struct conn *c, uint8_t opcode, struct bytes payload)
{
	struct shard *sh = conn_shard(c);
	struct msg *m = msg_new(hub_owner(sh->hub), MSG_SERVER, payload.len);

	if (!m) {
		conn_close(c, END_SESSION_MEMORY, false);
		return true;
	}
	if (payload.len)
		memcpy(m->json, payload.at, payload.len);
	m->binary = opcode == WS_OP_BINARY;
	(void)hub_send(sh->hub, &c->session, m);
	msg_unref(m);
	return hub_has_room(sh->hub, &c->session, sh->set->opt.max_message_bytes);
}

/* One message within its rate. False: a hook has it, and nothing more may be taken. */
static bool on_message(struct conn *c, uint8_t opcode, struct bytes text)
{
	struct shard *sh = conn_shard(c);
	struct msg *m;

	if (conn_is_echo(c))
		return echo(c, opcode, text);
	if (opcode != WS_OP_TEXT || !bytes_eq(text, BYTES("ping"))) {
		struct submission sub = {
			.sender = &ws_sender, .from = conn_handle(c), .text = text, .user = session_user(&c->session)
		};

		return submit_start(sh, &sub);
	}
	/* The bare word is answered with the bare word: the one text that is no message. */
	m = msg_new(hub_owner(sh->hub), MSG_SERVER, 4);
	if (m) {
		memcpy(m->json, "pong", 4);
		m->len = 4;
	}
	conn_send_own(c, m);
	return true;
}

/* Keeps the message at @wire for its turn, in @message, where a fragmented one lies already. */
static void keep_for_turn(struct conn *c, uint8_t opcode, struct bytes wire)
{
	struct conn_extra *x = conn_extra(c);

	if (x && x->message.at != wire.at)
		buf_add(&x->message, wire);
	if (!x || x->message.failed) {
		conn_close(c, END_SESSION_MEMORY, false);
		return;
	}
	x->inflate = opcode | INFLATE;
	conn_defer(c);
}

/* A compressed message; WS_OP_CONT: one that was refused. False: nothing more may be taken before its turn. */
static bool on_compressed(struct conn *c, uint8_t opcode, struct bytes wire, bool now)
{
	struct buf text = BUF_INIT;
	enum end e = END_NONE;
	enum deflate_result r = deflate_open(c, wire, opcode == WS_OP_TEXT, now, &text, &e);
	bool go_on = r != DEFLATE_LATER;

	if (r == DEFLATE_LATER)
		keep_for_turn(c, opcode, wire);
	else if (r == DEFLATE_FAILED)
		conn_close(c, e, false);
	else if (opcode != WS_OP_CONT)
		go_on = on_message(c, opcode, buf_bytes(&text));
	deflate_done(c, &text);
	return go_on;
}

/* One message that lies whole at @wire. False: nothing more may be taken. */
static bool on_whole(struct conn *c, const struct ws_out *o, struct bytes wire)
{
	bool allowed = message_allowed(c);

	if (!o->compressed)
		return !allowed || on_message(c, o->opcode, wire);
	/* A refused message is inflated too when later messages may refer to it. */
	if (!allowed && !c->deflate.client_takeover)
		return true;
	return on_compressed(c, allowed ? o->opcode : WS_OP_CONT, wire, false);
}

/* Puts a fragmented message together; a whole one is used where it lies. */
static bool on_fragment(struct conn *c, const struct ws_out *o, bool last)
{
	struct conn_extra *x;
	bool go_on;

	if (last && o->whole)
		return on_whole(c, o, o->payload);
	x = conn_extra(c);
	if (x)
		buf_add(&x->message, o->payload);
	if (!x || x->message.failed) {
		conn_close(c, END_SESSION_MEMORY, false);
		return true;
	}
	if (!last)
		return true;
	go_on = on_whole(c, o, buf_bytes(&x->message));
	if (c->at.extra && !c->at.extra->inflate)
		buf_deinit(&c->at.extra->message);
	return go_on;
}

static bool on_event(struct conn *c, enum ws_event ev, const struct ws_out *o)
{
	switch (ev) {
	case WS_FRAGMENT:
		return on_fragment(c, o, false);
	case WS_MESSAGE:
		return on_fragment(c, o, true);
	case WS_PING:
	case WS_PONG:
		if (!control_allowed(c))
			conn_close(c, END_CONTROL_RATE, false);
		else if (ev == WS_PING)
			on_ping(c, o->payload);
		else
			on_pong(c, o->payload);
		return true;
	case WS_CLOSE:
		on_close(c, o->code);
		return true;
	case WS_ERROR:
		/* The flush that follows starts its five seconds. */
		hub_close(conn_shard(c)->hub, &c->session, o->code, o->why, false);
		return true;
	case WS_NEED_MORE:
		break;
	}
	return false;
}

/* Keeps the bytes that were not taken: less than a header, or all input that waits. */
static void hold(struct conn *c, struct bytes rest)
{
	struct conn_extra *x = rest.len ? conn_extra(c) : NULL;

	if (rest.len == 0)
		return;
	if (x)
		buf_add(&x->held, rest);
	if (!x || x->held.failed)
		conn_close(c, END_SESSION_MEMORY, false);
}

static bool listening(const struct conn *c)
{
	return c->phase == PHASE_OPEN && c->session.state != SESSION_CLOSING;
}

static bool is_over_rate(const struct conn *c)
{
	return conn_shard(c)->refused >= PAUSE_MESSAGES && listening(c);
}

/*
 * A refusal costs us more than it costs the sender, so the sender's own socket must fill and no other client waits. The
 * pause is the time that the refused messages would have needed, so a sender that keeps to its rate in the long run gets
 * all of it.
 */
static void pause_sender(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	const struct rate_limit *l = &sh->set->opt.message_rate;
	uint64_t ms = (l->burst < PAUSE_MESSAGES ? l->burst : PAUSE_MESSAGES) * 1000u / l->per_second + 1;

	c->rate_limited = true;
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + (ms < PAUSE_MS ? ms : PAUSE_MS));
}

/* False: nothing more may be taken until the input is resumed. */
static bool take_event(struct conn *c, enum ws_event ev, const struct ws_out *o)
{
	bool go_on = on_event(c, ev, o);

	if (go_on && is_over_rate(c))
		pause_sender(c);
	if (go_on && !c->rate_limited)
		return true;
	c->held_input = true;
	conn_pause(c);
	return false;
}

/* Takes what may be taken of @data; returns the rest, to be held. */
static struct bytes decode(struct conn *c, uint8_t *data, size_t len)
{
	struct shard *sh = conn_shard(c);
	uint64_t spent = sh->deflate.spent;
	struct mut_bytes in = { data, len };
	struct ws_out o;
	enum ws_event ev;
	unsigned n = 0;

	sh->refused = 0;
	while ((ev = ws_decode(&c->u.ws, &sh->set->ws, &in, &o)) != WS_NEED_MORE) {
		/* While we close, only the peer's close frame counts. */
		if (!listening(c) && ev != WS_CLOSE) {
			if (ev == WS_ERROR)
				return BYTES("");
			if (c->phase == PHASE_LINGER)
				c->pings += LINGER_FRAME;
			continue;
		}
		if (!take_event(c, ev, &o))
			break;
		if (ev == WS_CLOSE || ev == WS_ERROR)
			return BYTES("");
		n += ev == WS_MESSAGE ? STRETCH / STRETCH_MESSAGES : 1;
		if ((n >= STRETCH || sh->deflate.spent - spent > READ_INFLATES) && in.len && listening(c)) {
			c->held_input = true;
			conn_defer(c);
			break;
		}
	}
	return bytes_of(in.at, in.len);
}

/* Input that still waits stays where it lies, so that many small messages are not copied again for each. */
static void decode_held(struct conn *c)
{
	struct conn_extra *x = c->at.extra;
	struct buf held = x->held;
	size_t at = x->held_at;
	struct bytes rest;

	x->held = BUF_INIT;
	x->held_at = 0;
	rest = decode(c, held.at + at, held.len - at);
	x = rest.len > WS_CARRY_MAX ? conn_extra(c) : NULL;
	if (x) {
		x->held = held;
		x->held_at = held.len - rest.len;
	} else {
		hold(c, rest);
		buf_deinit(&held);
	}
}

static void on_data(struct conn *c, uint8_t *data, size_t len)
{
	struct conn_extra *x = c->at.extra;

	if (c->peer_closed)
		return;
	if (!listening(c))
		c->held_input = false; /* only a close frame in it still counts */
	if (!c->held_input && (!x || !x->held.len)) {
		hold(c, decode(c, data, len));
	} else {
		hold(c, bytes_of(data, len));
		x = c->at.extra;
		if (!c->held_input && x && !x->held.failed)
			decode_held(c);
	}
	conn_extra_trim(c);
}

/* The turn of a compressed message that waited. False: the input behind it must wait on. */
static bool inflate_kept(struct conn *c)
{
	struct conn_extra *x = c->at.extra;
	uint8_t opcode = x->inflate & (uint8_t)~INFLATE;
	struct buf wire = x->message;
	bool go_on = true;

	x->message = BUF_INIT;
	x->inflate = 0;
	if (listening(c))
		go_on = on_compressed(c, opcode, buf_bytes(&wire), true);
	buf_deinit(&wire);
	return go_on;
}

/* A hook has answered, the queue has room again, or the pause of a rate-limited sender is over. */
static void resume(struct conn *c)
{
	if (!c->held_input)
		return;
	if (c->at.extra && c->at.extra->inflate && !inflate_kept(c))
		return;
	c->held_input = false;
	/* Silence counts from the moment we listen again. */
	c->session.last_rx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	conn_resume(c);
	if (c->at.extra && c->at.extra->held.len)
		decode_held(c);
	conn_extra_trim(c);
}

/* An echo whose queue has drained takes the next messages. */
static void flushed(struct conn *c, bool moved)
{
	struct shard *sh = conn_shard(c);

	if (!c->held_input || c->rate_limited || conn_waits(c))
		return;
	/* A client that reads is alive. */
	if (moved)
		c->session.last_rx_ms = (uint32_t)now_ms(sh->now);
	if (hub_has_room(sh->hub, &c->session, sh->set->opt.max_message_bytes))
		conn_go_on(c);
}

static uint32_t linger(struct conn *c)
{
	/* A codec that has failed cannot read the peer's close frame: the peer reads our end instead. */
	if (c->u.ws.code)
		stream_shutdown(&c->stream);
	if (c->held_input)
		conn_go_on(c); /* the peer's close frame may lie in the input that waited */
	return CONN_CLOSE_MS;
}

static void queue_close(struct conn *c)
{
	struct conn_extra *x = conn_extra(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	uint16_t code = c->session.close_code;

	if (!x)
		return;
	/* The answer to a close frame has its code and no reason. */
	buf_add(&x->ctl,
		bytes_of(frame, ws_close(frame, code, c->by_client ? BYTES("") : bytes_str(c->session.close_reason))));
}

/* ---- heartbeats --------------------------------------------------------------------------------------------------- */

/* How long the client was silent while this process ran. */
static uint64_t silence_ms(const struct conn *c)
{
	uint64_t now = now_ms(conn_shard(c)->now), heard = now - conn_shard(c)->back_ms;
	uint32_t silence = (uint32_t)now - c->session.last_rx_ms;

	return silence < heard ? silence : heard;
}

/* Each client has an interval of its own, up to an eighth shorter, so that clients that came together are pinged apart. */
static uint64_t heartbeat_ms(const struct conn *c)
{
	uint64_t interval = conn_shard(c)->set->opt.heartbeat_ms;

	return interval - c->secret % (interval / 8 + 1);
}

/* Sets the timer to the next deadline of an open WebSocket. */
static void arm(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint64_t silence = silence_ms(c), due = heartbeat_ms(c) * (c->pings + 1u);

	if (due > sh->set->opt.client_timeout_ms)
		due = sh->set->opt.client_timeout_ms;
	due = now_ms(sh->now) + (due > silence ? due - silence : 1);
	timers_arm(&sh->timers, &c->timer, due < conn_stall_due(c) ? due : conn_stall_due(c));
}

/* Bytes that wait in the socket are no silence, and neither is a pause of ours; but an echo waits for its client. */
static bool waits_for_us(const struct conn *c)
{
	const struct shard *sh = conn_shard(c);

	if (c->held_input)
		return conn_waits(c) || !conn_is_echo(c);
	/* The loop has seen them, or has not yet, because its polls were full. */
	return (c->stream.src.flags & STREAM_READABLE) ||
	       (sh->loop.crowded && (uint64_t)sh->loop.crowded * LOOP_EVENTS <= sh->conns.live);
}

static void on_timer(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint64_t silence = silence_ms(c), intervals = silence / heartbeat_ms(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	struct conn_extra *x;

	if (c->rate_limited) {
		/* Deferred, because many pauses may end together and their senders may be refused again. */
		c->rate_limited = false;
		conn_defer(c);
		arm(c);
		return;
	}
	if (waits_for_us(c)) {
		timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + 100);
		return;
	}
	if (silence >= sh->set->opt.client_timeout_ms) {
		conn_close(c, END_HEARTBEAT, true);
		return;
	}
	if (intervals == 0)
		c->pings = 0;
	if (intervals > c->pings) {
		c->pings = (uint32_t)intervals;
		/* A full socket has bytes under way that a living client acknowledges. */
		x = stream_blocked(&c->stream) ? NULL : conn_extra(c);
		if (x) {
			uint64_t sent = ping_payload(c);

			x->pong_at = SIZE_MAX;
			buf_add(&x->ctl, bytes_of(frame, ws_control(frame, WS_OP_PING, bytes_of(&sent, sizeof sent))));
			hub_ready(sh->hub, &c->session);
		}
		if (!stream_blocked(&c->stream) && (!x || x->ctl.failed))
			shard_problem(sh, WSC_WARNING, "send", "out of memory: a client is not pinged");
	}
	arm(c);
}

/* ---- its client as a sender ------------------------------------------------------------------------------------------ */

static void refuse(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	struct conn *c = conn_get(sh, sub->from);

	if (c)
		conn_error(c, code, why, ref, BYTES(""));
}

static void reply(struct shard *sh, struct submission *sub, struct msg *m)
{
	struct conn *c = conn_get(sh, sub->from);

	if (c)
		conn_send_own(c, m);
	else if (m)
		msg_unref(m);
}

static bool accepting(struct shard *sh, struct submission *sub, const struct submit_accepted *a,
		      struct hub_publication *p)
{
	(void)sh;
	(void)a;
	p->token = submit_token(&ws_sender, sub->from);
	p->only_failures = true;
	return true;
}

static void client(struct shard *sh, const struct submission *sub, struct submit_client *out)
{
	struct conn *c = conn_get(sh, sub->from);

	if (c)
		client_of(c, &out->client, out->id);
	else
		submit_user_as_client(sh, sub, out);
}

static void go_on(struct shard *sh, struct submission *sub)
{
	struct conn *c = conn_get(sh, sub->from);

	if (c)
		resume(c);
}

static void outcome(struct shard *sh, uint64_t token, const struct hub_request *r)
{
	struct conn *c = conn_get(sh, token);
	enum end e = r->scope == HUB_TO_TICKET ? END_TICKET_EMPTY : END_OFFLINE;

	if (!c || r->result == HUB_DELIVERED)
		return;
	if (r->result == HUB_TIMED_OUT)
		e = END_OUTCOME_UNKNOWN;
	conn_refuse(c, e, r->to, r->ref, BYTES(""));
}

const struct sender ws_sender = {
	.id = SENDER_WS,
	.rules = SENDER_FRAMES,
	.refuse = refuse,
	.reply = reply,
	.accepting = accepting,
	.client = client,
	.go_on = go_on,
	.outcome = outcome,
};

/* ---- the kind --------------------------------------------------------------------------------------------------------- */

static void free_ws(struct conn *c)
{
	conn_extra_free(c);
	deflate_forget(c);
}

const struct conn_kind ws_kind = {
	.form = MSG_FORM_WS,
	.on_data = on_data,
	.on_writable = conn_writable,
	.on_timer = on_timer,
	.resume = resume,
	.drain = conn_go_away,
	.flushed = flushed,
	.queue_close = queue_close,
	.linger = linger,
	.free = free_ws,
};

void ws_begin(struct conn *c, struct mut_bytes next)
{
	ws_decoder_init(&c->u.ws, c->deflate.on);
	c->tell_flushed = conn_is_echo(c);
	c->session.last_rx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	arm(c);
	if (next.len)
		on_data(c, next.at, next.len);
}
