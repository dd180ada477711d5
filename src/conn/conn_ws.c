/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_ws: a connection that speaks WebSocket (RFC 6455). Frames become messages for submit.c, pings get their pongs, a
 * protocol error ends it with its close code. Input that cannot be taken yet, because a hook has the message before
 * it, waits here and nothing more is read.
 */
#include <stdio.h>
#include "conn/submit.h"

static void on_frame_error(struct conn *c, uint16_t code, const char *why)
{
	hub_close(conn_shard(c)->hub, &c->session, code, why, false);
	c->phase = PHASE_CLOSING;
	timers_arm(&conn_shard(c)->timers, &c->timer, now_ms(conn_shard(c)->now) + 5000);
}

/* §5.5.1: the peer closes: what is not begun is dropped and its code goes back. */
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
	hub_close(sh->hub, &c->session, code, "closed by the client", true);
}

/* Every ping gets its pong; only while the socket is full does a new pong take the place of one that waits. */
static void on_ping(struct conn *c, struct bytes payload)
{
	struct conn_extra *x = conn_extra(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	size_t n = ws_control(frame, WS_OP_PONG, payload);

	if (!x || c->close_queued)
		return;
	if (stream_blocked(&c->stream) && x->pong_at != SIZE_MAX && x->pong_at >= x->ctl_sent && x->pong_at > 0)
		x->ctl.len = x->pong_at;
	x->pong_at = x->ctl.len;
	buf_add(&x->ctl, bytes_of(frame, n));
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

/* One whole message. False: a hook has it, nothing more may be taken. */
static bool on_message(struct conn *c, uint8_t opcode, struct bytes text)
{
	struct shard *sh = conn_shard(c);
	struct msg *m;

	if (!message_allowed(c))
		return true;
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

/* A message in pieces is put together; whole ones are used where they lie. */
static bool on_piece(struct conn *c, const struct ws_out *o, bool last)
{
	struct conn_extra *x;
	bool go_on;

	if (last && o->whole)
		return on_message(c, o->opcode, o->payload);
	x = conn_extra(c);
	if (x)
		buf_add(&x->message, o->payload);
	if (!x || x->message.failed) {
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
		return true;
	}
	if (!last)
		return true;
	go_on = on_message(c, o->opcode, buf_bytes(&x->message));
	if (c->phase != PHASE_DEAD && c->at.extra)
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

/* Keeps what was not used: less than a header, or all that waits behind a hook. */
static void hold(struct conn *c, const struct mut_bytes *in)
{
	struct conn_extra *x = in->len ? conn_extra(c) : NULL;

	if (in->len == 0)
		return;
	if (x)
		buf_add(&x->held, bytes_of(in->at, in->len));
	if (!x || x->held.failed)
		on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
}

static bool listening(const struct conn *c)
{
	return c->phase == PHASE_OPEN && c->session.state != SESSION_CLOSING;
}

static void decode(struct conn *c, uint8_t *data, size_t len)
{
	const struct ws_limits *limits = &conn_shard(c)->set->ws;
	struct mut_bytes in = { data, len };
	struct ws_out o;
	enum ws_event ev;

	while ((ev = ws_decode(&c->u.ws, limits, &in, &o)) != WS_NEED_MORE) {
		/* While we close, only the peer's close frame still counts. */
		if (!listening(c) && ev != WS_CLOSE) {
			if (ev == WS_ERROR)
				return;
			continue;
		}
		if (!on_event(c, ev, &o) && c->phase != PHASE_DEAD) {
			c->held_input = true;
			stream_pause(&c->stream);
			break;
		}
		if (c->phase == PHASE_DEAD || ev == WS_CLOSE || ev == WS_ERROR)
			return;
	}
	hold(c, &in);
}

void ws_on_data(struct conn *c, uint8_t *data, size_t len)
{
	struct conn_extra *x = c->at.extra;
	struct buf held;

	if (c->peer_closed)
		return;
	if (!x || !x->held.len) {
		decode(c, data, len);
	} else {
		buf_add(&x->held, bytes_of(data, len));
		if (x->held.failed) {
			on_frame_error(c, WS_CODE_INTERNAL, "out of memory");
			return;
		}
		if (c->held_input)
			return;
		held = x->held;
		x->held = BUF_INIT;
		decode(c, held.at, held.len);
		buf_deinit(&held);
	}
	if (c->phase != PHASE_DEAD)
		conn_extra_trim(c);
}

void ws_resume(struct conn *c)
{
	struct conn_extra *x = c->at.extra;
	struct buf held = BUF_INIT;

	if (!c->held_input)
		return;
	c->held_input = false;
	/* Silence counts from the moment we listen again. */
	c->session.last_rx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	stream_resume(&c->stream);
	if (x) {
		held = x->held;
		x->held = BUF_INIT;
	}
	if (held.len)
		decode(c, held.at, held.len);
	buf_deinit(&held);
	if (c->phase != PHASE_DEAD)
		conn_extra_trim(c);
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
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + (due > silence ? due - silence : 1));
}

void ws_on_timer(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint64_t silence = silence_ms(c), beats = silence / beat_ms(c);
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	struct conn_extra *x;

	/* Bytes that wait in the socket are not silence, and neither is a pause of ours. */
	if ((c->stream.src.flags & STREAM_READABLE) || c->held_input) {
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
	}
	ws_arm(c);
}

void ws_begin(struct conn *c)
{
	ws_decoder_init(&c->u.ws, false);
	c->session.last_rx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	ws_arm(c);
}
