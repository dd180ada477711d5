/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_ws: a connection that speaks WebSocket (RFC 6455). Frames become messages for submit.c, pings get their pongs, a
 * protocol error ends it with its close code. Input that cannot be taken yet, because a hook has the message before it
 * or the client does not read its echoes, waits here and nothing more is read.
 */
#include <stdio.h>
#include "conn/submit.h"

/* What is taken of one connection at a stretch, then others have their turn: so many frames, or messages. */
#define STRETCH 1024u
#define STRETCH_MESSAGES 64u
/* As many messages refused at a stretch for their rate, and their sender is not read for as long as they are worth. */
#define LOUD_MESSAGES 32u
#define LOUD_MS 500u /* at most: below the pause that would be taken for quiet */
/* Bytes that the messages of one read may inflate to before others have their turn. */
#define READ_INFLATES (1u << 18)
/* What a frame costs that is thrown away after our close frame, beside its bytes: an empty one takes as long as so many. */
#define LINGER_FRAME 64u
#define INFLATE 0x80u /* conn_extra.inflate: beside the opcode, which may be 0 */

static void on_frame_error(struct conn *c, uint16_t code, const char *why)
{
	/* The flush that follows gives it its five seconds. */
	hub_close(conn_shard(c)->hub, &c->session, code, why, false);
}

/* §5.5.1: the peer closes: what is not begun is dropped, echoes excepted, and its code goes back. */
static void on_close(struct conn *c, uint16_t code)
{
	struct shard *sh = conn_shard(c);

	c->peer_closed = true;
	if (c->phase == PHASE_LINGER) {
		conn_kill(c, code, false);
		return;
	}
	if (c->close_queued)
		return; /* ours is on its way: the flush ends it */
	c->close_code = code;
	c->by_client = true;
	hub_close(sh->hub, &c->session, code, "closed by the client", !conn_is_echo(c));
}

/* Every ping gets its pong; only while the socket is full does a new pong take the place of one that waits. */
static void on_ping(struct conn *c, struct bytes payload)
{
	struct conn_extra *x = conn_extra(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	size_t n = ws_control(frame, WS_OP_PONG, payload);

	if (c->close_queued)
		return;
	if (!x) {
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
		return;
	}
	if (stream_blocked(&c->stream) && x->pong_at != SIZE_MAX && x->pong_at >= x->ctl_sent && x->pong_at > 0)
		x->ctl.len = x->pong_at;
	x->pong_at = x->ctl.len;
	buf_add(&x->ctl, bytes_of(frame, n));
	if (x->ctl.failed)
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
	else
		hub_ready(conn_shard(c)->hub, &c->session);
}

static bool control_allowed(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint32_t retry;

	return rate_take(&c->control, &sh->set->opt.control_rate, now_ms(sh->now), &retry) == RATE_OK;
}

/* False: over the rate, the sender has been told. */
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
		snprintf(extra, sizeof extra, "\"retry_after_ms\":%u", retry);
		conn_error(c, API_RATE_LIMITED, BYTES("too many messages: this one was not delivered"), BYTES(""),
			   bytes_str(extra));
		return false;
	case RATE_CLOSE:
		hub_close(sh->hub, &c->session, 4429, "too many messages for too long", false);
		return false;
	}
	return false;
}

/* The message as it came. False: the queue is full until the client reads, nothing more may be taken. */
static bool echo(struct conn *c, uint8_t opcode, struct bytes payload)
{
	struct shard *sh = conn_shard(c);
	struct msg *m = msg_new(hub_owner(sh->hub), MSG_SERVER, payload.len);

	if (!m) {
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
		return true;
	}
	if (payload.len)
		memcpy(m->json, payload.at, payload.len);
	m->binary = opcode == WS_OP_BINARY;
	(void)hub_send(sh->hub, &c->session, m);
	msg_unref(m);
	return hub_has_room(sh->hub, &c->session, sh->set->opt.max_message_bytes);
}

/* One message, allowed. False: a hook has it, nothing more may be taken. */
static bool on_message(struct conn *c, uint8_t opcode, struct bytes text)
{
	struct shard *sh = conn_shard(c);
	struct msg *m;

	if (conn_is_echo(c))
		return echo(c, opcode, text);
	if (opcode != WS_OP_TEXT || !bytes_eq(text, BYTES("ping")))
		return submit_ws(c, text);
	/* The bare word, answered with the bare word: the one text that is not a message. */
	m = msg_new(hub_owner(sh->hub), MSG_SERVER, 4);
	if (m) {
		memcpy(m->json, "pong", 4);
		m->len = 4;
	}
	conn_send_own(c, m);
	return true;
}

/* Keeps the message at @wire for its turn; in @message, where one in pieces lies already. */
static void keep_for_turn(struct conn *c, uint8_t opcode, struct bytes wire)
{
	struct conn_extra *x = conn_extra(c);

	if (x && x->message.at != wire.at)
		buf_add(&x->message, wire);
	if (!x || x->message.failed) {
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
		return;
	}
	x->inflate = opcode | INFLATE;
	conn_defer(c);
}

/* A compressed message; WS_OP_CONT: one that was refused. False: nothing more may be taken until it has had its turn. */
static bool on_compressed(struct conn *c, uint8_t opcode, struct bytes wire, bool now)
{
	struct buf text = BUF_INIT;
	const char *why = NULL;
	uint16_t code = deflate_open(c, wire, opcode == WS_OP_TEXT, now, &text, &why);
	bool go_on = code != DEFLATE_LATER;

	if (code == DEFLATE_LATER)
		keep_for_turn(c, opcode, wire);
	else if (code)
		on_frame_error(c, code, why);
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
	/* Refused or not, what later messages may refer to must be known. */
	if (!allowed && !c->deflate.client_takeover)
		return true;
	return on_compressed(c, allowed ? o->opcode : WS_OP_CONT, wire, false);
}

/* A message in pieces is put together; whole ones are used where they lie. */
static bool on_piece(struct conn *c, const struct ws_out *o, bool last)
{
	struct conn_extra *x;
	bool go_on;

	if (last && o->whole)
		return on_whole(c, o, o->payload);
	x = conn_extra(c);
	if (x)
		buf_add(&x->message, o->payload);
	if (!x || x->message.failed) {
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
		return true;
	}
	if (!last)
		return true;
	go_on = on_whole(c, o, buf_bytes(&x->message));
	if (c->phase != PHASE_DEAD && c->at.extra && !c->at.extra->inflate)
		buf_deinit(&c->at.extra->message);
	return go_on;
}

static bool on_event(struct conn *c, enum ws_event ev, const struct ws_out *o)
{
	switch (ev) {
	case WS_PIECE:
		return on_piece(c, o, false);
	case WS_MESSAGE:
		return on_piece(c, o, true);
	case WS_PING:
	case WS_PONG:
		if (!control_allowed(c))
			on_frame_error(c, WS_CODE_POLICY, "too many control frames");
		else if (ev == WS_PING)
			on_ping(c, o->payload);
		return true;
	case WS_CLOSE:
		on_close(c, o->code);
		return true;
	case WS_ERROR:
		on_frame_error(c, o->code, o->why);
		return true;
	case WS_NEED_MORE:
		break;
	}
	return false;
}

/* Keeps what was not used: less than a header, or all that must wait. */
static void hold(struct conn *c, struct bytes rest)
{
	struct conn_extra *x = rest.len ? conn_extra(c) : NULL;

	if (rest.len == 0)
		return;
	if (x)
		buf_add(&x->held, rest);
	if (!x || x->held.failed)
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
}

static bool listening(const struct conn *c)
{
	return c->phase == PHASE_OPEN && c->session.state != SESSION_CLOSING;
}

static bool too_loud(const struct conn *c)
{
	return conn_shard(c)->refused >= LOUD_MESSAGES && listening(c);
}

/*
 * A refusal costs more than it takes to provoke one. The sender's own socket fills instead, and nobody else waits. For the
 * time that the refused would have needed: who keeps to the rate in the long run gets all of it.
 */
static void pause_loud(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	const struct rate_limit *l = &sh->set->opt.message_rate;
	uint64_t ms = (l->burst < LOUD_MESSAGES ? l->burst : LOUD_MESSAGES) * 1000u / l->per_second + 1;

	c->loud = true;
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + (ms < LOUD_MS ? ms : LOUD_MS));
}

/* False: nothing more may be taken until somebody resumes it. */
static bool take_event(struct conn *c, enum ws_event ev, const struct ws_out *o)
{
	bool go_on = on_event(c, ev, o);

	if (go_on && too_loud(c))
		pause_loud(c);
	if ((go_on && !c->loud) || c->phase == PHASE_DEAD)
		return true;
	c->held_input = true;
	if (!c->deferred)
		stream_pause(&c->stream);
	return false;
}

/* Takes what may be taken of @data; returns what is left of it, to be held. */
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
		/* While we close, only the peer's close frame still counts. */
		if (!listening(c) && ev != WS_CLOSE) {
			if (ev == WS_ERROR)
				return BYTES("");
			if (c->phase == PHASE_LINGER)
				c->pings += LINGER_FRAME;
			continue;
		}
		if (!take_event(c, ev, &o))
			break;
		if (c->phase == PHASE_DEAD || ev == WS_CLOSE || ev == WS_ERROR)
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

/* What must wait stays where it lies: many small messages behind one another are not copied again for each. */
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

void ws_on_data(struct conn *c, uint8_t *data, size_t len)
{
	struct conn_extra *x = c->at.extra;

	if (c->peer_closed)
		return;
	if (!listening(c))
		c->held_input = false; /* of what waited nothing counts any more but a close frame */
	if (!c->held_input && (!x || !x->held.len)) {
		hold(c, decode(c, data, len));
	} else {
		hold(c, bytes_of(data, len));
		x = c->at.extra;
		if (!c->held_input && x && !x->held.failed)
			decode_held(c);
	}
	if (c->phase != PHASE_DEAD)
		conn_extra_trim(c);
}

/* The turn of a compressed message that had to wait. False: what came behind it must wait on. */
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
	return go_on && c->phase != PHASE_DEAD;
}

void ws_resume(struct conn *c)
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
	if (c->phase != PHASE_DEAD)
		conn_extra_trim(c);
}

void ws_flushed(struct conn *c, bool moved)
{
	struct shard *sh = conn_shard(c);

	if (!c->held_input || c->loud || c->deferred || !conn_is_echo(c))
		return;
	/* Who reads is alive. */
	if (moved)
		c->session.last_rx_ms = (uint32_t)now_ms(sh->now);
	if (hub_has_room(sh->hub, &c->session, sh->set->opt.max_message_bytes))
		ws_resume(c);
}

void ws_queue_close(struct conn *c)
{
	struct conn_extra *x = conn_extra(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	uint16_t code = c->session.close_code;

	if (!x)
		return;
	/* The answer to a close frame carries its code, and no reason. */
	buf_add(&x->ctl,
		bytes_of(frame, ws_close(frame, code, c->by_client ? BYTES("") : bytes_str(c->session.close_reason))));
}

/* ---- silence ------------------------------------------------------------------------------------------------------ */

/* Of the client, as far as somebody was there to hear it. */
static uint64_t silence_ms(const struct conn *c)
{
	uint64_t now = now_ms(conn_shard(c)->now), heard = now - conn_shard(c)->back_ms;
	uint32_t silence = (uint32_t)now - c->session.last_rx_ms;

	return silence < heard ? silence : heard;
}

/* Clients that came together are not pinged together: each has its own beat, up to an eighth shorter. */
static uint64_t beat_ms(const struct conn *c)
{
	uint64_t beat = conn_shard(c)->set->opt.heartbeat_ms;

	return beat - c->secret % (beat / 8 + 1);
}

void ws_arm(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint64_t silence = silence_ms(c), due = beat_ms(c) * (c->pings + 1u);

	if (due > sh->set->opt.client_timeout_ms)
		due = sh->set->opt.client_timeout_ms;
	due = now_ms(sh->now) + (due > silence ? due - silence : 1);
	timers_arm(&sh->timers, &c->timer, due < conn_stall_due(c) ? due : conn_stall_due(c));
}

/* Bytes that wait in the socket are not silence, and neither is a pause of ours; but an echo waits for its reader. */
static bool waits_for_us(const struct conn *c)
{
	const struct shard *sh = conn_shard(c);

	if (c->held_input)
		return c->deferred || !conn_is_echo(c);
	/* Seen by the loop, or not yet: polls that were full may not have come to it. */
	return (c->stream.src.flags & STREAM_READABLE) ||
	       (sh->loop.crowded && (uint64_t)sh->loop.crowded * LOOP_EVENTS <= sh->conns.live);
}

void ws_on_timer(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint64_t silence = silence_ms(c), beats = silence / beat_ms(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	struct conn_extra *x;

	if (c->loud) {
		/* Behind others whose pause is over too: what they were refused they will be refused again. */
		c->loud = false;
		conn_defer(c);
		ws_arm(c);
		return;
	}
	if (waits_for_us(c)) {
		timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + 100);
		return;
	}
	if (silence >= sh->set->opt.client_timeout_ms) {
		hub_close(sh->hub, &c->session, 4408, "no sign of life for client_timeout", true);
		return;
	}
	if (beats == 0)
		c->pings = 0;
	if (beats > c->pings) {
		c->pings = (uint32_t)beats;
		/* A full socket has enough under way that a living client would acknowledge. */
		x = stream_blocked(&c->stream) ? NULL : conn_extra(c);
		if (x) {
			x->pong_at = SIZE_MAX;
			buf_add(&x->ctl, bytes_of(frame, ws_control(frame, WS_OP_PING, BYTES(""))));
			hub_ready(sh->hub, &c->session);
		}
		if (!stream_blocked(&c->stream) && (!x || x->ctl.failed))
			shard_problem(sh, WSC_WARNING, "send", "out of memory: a client is not pinged");
	}
	ws_arm(c);
}

void ws_begin(struct conn *c)
{
	ws_decoder_init(&c->u.ws, c->deflate.on);
	c->session.last_rx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	ws_arm(c);
}
