/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flush: the way out of a connection, from its queue to its socket. Messages, control bytes and gap notices leave in one
 * order; a full socket is where a slow reader is judged. Nothing here takes input: a flush that makes room for input says
 * so with conn_go_on().
 */
#include "conn/conn.h"

#include <stdio.h>

#define FLUSH_SEGMENTS 64u
#define FLUSH_ROUNDS 4

struct segment {
	struct bytes at;
	const struct msg *msg; /* NULL: control bytes */
};

struct out {
	struct segment segment[FLUSH_SEGMENTS + 2];
	unsigned n;
	size_t bytes;
};

static void add_segment(struct out *o, struct bytes b, const struct msg *m)
{
	o->segment[o->n++] = (struct segment){ b, m };
	o->bytes += b.len;
}

/* The wire form of @m for @c, made once per message. An empty view: no memory. */
static struct bytes wire_form(struct conn *c, struct msg *m)
{
	enum msg_form form = (enum msg_form)conn_kind(c)->form;
	struct bytes json = bytes_of(m->json, m->len);
	size_t n;

	/* With a context of its own, only deflate_ahead() may deflate, because the client refers to all it inflates. */
	if (c->deflate.on && !deflate_is_own(c)) {
		struct bytes deflated = deflate_shared(c, m);

		if (deflated.len)
			return deflated;
	}
	if (m->form[form].at)
		return m->form[form];
	if (form == MSG_FORM_WS) {
		uint8_t head[WS_HEADER_MAX];

		n = ws_header(head, m->binary ? WS_OP_BINARY : WS_OP_TEXT, m->len, 0);
		memcpy(m->json - n, head, n);
		m->form[form] = bytes_of(m->json - n, n + m->len);
	} else {
		n = sse_size(BYTES(""), json);
		uint8_t *at = n ? msg_make(m, MSG_FORM_SSE, n) : NULL;

		if (at)
			m->form[form] = bytes_of(at, sse_write(at, BYTES(""), json));
	}
	return m->form[form];
}

/* A message made of bytes for this connection alone, in its wire form, behind what is in ctl. */
static bool add_ctl_message(struct conn *c, struct msg *m)
{
	struct conn_extra *x = conn_extra(c);
	struct bytes wire = x && m ? wire_form(c, m) : BYTES("");

	if (wire.len) {
		buf_add(&x->ctl, wire);
		x->pong_at = SIZE_MAX; /* a new pong must not replace bytes behind the old one */
	}
	if (m)
		msg_unref(m);
	return wire.len && !x->ctl.failed;
}

/* The notice that stands in the place of dropped messages. False: no memory. */
static bool add_gap_notice(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct session *s = &c->session;
	char content[64], data[32];

	snprintf(content, sizeof content, "%u messages were dropped: this client reads too slowly", s->gap);
	snprintf(data, sizeof data, "{\"dropped\":%u}", s->gap);
	if (!add_ctl_message(c, shard_message(sh, BYTES("gap"), session_user(s), bytes_str(content), bytes_str(data),
					      BYTES(""))))
		return false;
	hub_gap_sent(sh->hub, s);
	return true;
}

static void queue_close(struct conn *c)
{
	c->close_queued = true;
	conn_kind(c)->queue_close(c);
}

static bool ctl_empty(const struct conn *c)
{
	return !c->at.extra || !c->at.extra->ctl.len;
}

/*
 * A notice stands where messages were dropped, behind the message that had begun and before the rest. One at a time: while
 * control bytes wait, the count goes on, so that a reader that stands still costs one notice and not one per flush.
 * @held: the messages behind it must wait. False: no memory for it.
 */
static bool note_gap(struct conn *c, bool *held)
{
	const struct session *s = &c->session;

	*held = false;
	if (s->state == SESSION_NONE || !s->gap)
		return true;
	if (ctl_empty(c) && !add_gap_notice(c))
		return false;
	*held = s->gap != 0;
	return true;
}

/* Bytes in ctl that the socket has not taken. */
static size_t ctl_waiting(const struct conn *c)
{
	return c->at.extra ? c->at.extra->ctl.len - c->at.extra->ctl_sent : 0;
}

/*
 * With a context of its own, a connection's messages are deflated once and in the order in which they go out: they become
 * control bytes, a little ahead of the socket, and the queue is done with them. False: no memory.
 */
static bool deflate_ahead(struct conn *c)
{
	struct session *s = &c->session;
	struct conn_extra *x;
	struct msg *m;

	while (ctl_waiting(c) < SHARD_GATHER_BYTES && outq_peek(&s->q, &m, 1)) {
		if (!(x = conn_extra(c)))
			return false;
		buf_consume(&x->ctl, x->ctl_sent);
		x->ctl_sent = 0;
		x->pong_at = SIZE_MAX; /* a new pong must not replace bytes behind the old one */
		deflate_own(c, m, &x->ctl);
		if (x->ctl.failed)
			return false;
		shard_delivered(conn_shard(c),
				m); /* the control bytes that it is part of leave before what comes behind */
		hub_sent(conn_shard(c)->hub, s, 1, 0);
	}
	return true;
}

/* Collects the bytes that may go out now, in order: the rest of a message that has begun, control bytes, messages. */
static bool collect(struct conn *c, struct out *o)
{
	struct session *s = &c->session;
	bool held, own = deflate_is_own(c);
	struct msg *m[FLUSH_SEGMENTS] UNSET;
	struct bytes wire;
	unsigned n, i = 0;

	o->n = 0;
	o->bytes = 0;
	if (!note_gap(c, &held))
		return false;
	if (own && !held && s->state != SESSION_NONE && !deflate_ahead(c))
		return false;
	if (s->state == SESSION_CLOSING && s->q.count == 0 && !held && !c->close_queued)
		queue_close(c);
	n = own || s->state == SESSION_NONE ? 0 : outq_peek(&s->q, m, FLUSH_SEGMENTS);
	if (n && s->q.offset) {
		wire = wire_form(c, m[i]);
		bytes_skip(&wire, s->q.offset);
		add_segment(o, wire, m[i++]);
	}
	if (!ctl_empty(c))
		add_segment(o,
			    bytes_of(c->at.extra->ctl.at + c->at.extra->ctl_sent,
				     c->at.extra->ctl.len - c->at.extra->ctl_sent),
			    NULL);
	for (; i < n && !held && o->bytes < 4 * SHARD_GATHER_BYTES; i++) {
		wire = wire_form(c, m[i]);
		if (!wire.at)
			return false;
		add_segment(o, wire, m[i]);
	}
	return true;
}

/* One segment: send. Several small ones: one copy and send, which beats writev of many. Large ones: writev. */
static ptrdiff_t send_out(struct conn *c, const struct out *o)
{
	struct iovec iov[FLUSH_SEGMENTS + 2] UNSET;
	uint8_t *gather = conn_shard(c)->gather, *end = gather;

	if (o->n > 1 && o->bytes <= SHARD_GATHER_BYTES) {
		for (unsigned i = 0; i < o->n; i++)
			end = (uint8_t *)memcpy(end, o->segment[i].at.at, o->segment[i].at.len) + o->segment[i].at.len;
		iov[0] = (struct iovec){ gather, o->bytes };
		return stream_send(&c->stream, iov, 1);
	}
	for (unsigned i = 0; i < o->n; i++)
		iov[i] = (struct iovec){ (void *)(uintptr_t)o->segment[i].at.at, o->segment[i].at.len };
	return stream_send(&c->stream, iov, (int)o->n);
}

/* The socket took @sent bytes of @o: takes what was sent whole off the queue. */
static void account(struct conn *c, const struct out *o, size_t sent)
{
	struct conn_extra *x = c->at.extra;
	struct session *s = &c->session;
	uint32_t whole = 0, offset = s->state == SESSION_NONE ? 0 : s->q.offset;

	for (unsigned i = 0; i < o->n && sent; i++) {
		size_t take = sent < o->segment[i].at.len ? sent : o->segment[i].at.len;

		sent -= take;
		if (!o->segment[i].msg) {
			x->ctl_sent += take;
		} else if (take == o->segment[i].at.len) {
			shard_delivered(conn_shard(c), o->segment[i].msg);
			whole++;
			offset = 0;
		} else {
			offset += (uint32_t)take;
		}
	}
	if (s->state != SESSION_NONE && (whole || offset != s->q.offset))
		hub_sent(conn_shard(c)->hub, s, whole, offset);
	if (x && x->ctl.len && x->ctl_sent == x->ctl.len) {
		buf_deinit(&x->ctl);
		x->ctl_sent = 0;
		x->pong_at = SIZE_MAX;
	}
}

/* The close frame or last event is sent, and nothing behind it: waits for the peer's end. */
static void finish_close(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	conn_leave(c);
	if (c->peer_closed) {
		conn_end(c, c->close_code, c->by_client);
		return;
	}
	c->phase = PHASE_LINGER;
	c->pings = 0;
	conn_resume(c);
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + conn_kind(c)->linger(c));
}

void conn_closing(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	c->phase = PHASE_CLOSING;
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + CONN_CLOSE_MS);
}

static void begin_closing(struct conn *c)
{
	if (c->session.state == SESSION_CLOSING && c->phase == PHASE_OPEN)
		conn_closing(c);
}

/* Is there something to send that the hub does not know of: control bytes, or a close frame that is still to be made? */
static bool owes(const struct conn *c)
{
	return !ctl_empty(c) || (c->session.state == SESSION_CLOSING && !c->close_queued);
}

/* Was all of @o sent, and is nothing behind it? */
static bool was_all(const struct conn *c, const struct out *o, size_t sent)
{
	const struct session *s = &c->session;

	return o->n < FLUSH_SEGMENTS && sent == o->bytes && s->state != SESSION_CLOSING && !s->gap &&
	       !(s->q.count && deflate_is_own(c));
}

/*
 * Offers the socket everything once, blocked or not, because a slow reader is judged by what the socket refuses now. A
 * refused client without a session is offered all of it, because it has no second turn. False: the connection has ended.
 */
static bool offer(struct conn *c)
{
	int rounds = deflate_is_own(c) ? 1 : FLUSH_ROUNDS; /* deflating takes its time */
	const struct session *s = &c->session;
	struct out o UNSET;
	ptrdiff_t sent;

	for (int round = 0; round == 0 || (!stream_blocked(&c->stream) && (round < rounds || s->state == SESSION_NONE));
	     round++) {
		if (!collect(c, &o)) {
			shard_problem(conn_shard(c), WSC_ERROR, "send", "out of memory");
			conn_end(c, WS_CODE_INTERNAL, false);
			return false;
		}
		/* We have nothing to send, but TLS may hold bytes that the socket takes by now. */
		if (o.n == 0 && (round || !stream_holds(&c->stream)))
			break;
		sent = send_out(c, &o);
		if (sent < 0) {
			conn_end(c, WS_CODE_ABNORMAL, true);
			return false;
		}
		account(c, &o, (size_t)sent);
		if (was_all(c, &o, (size_t)sent))
			break;
	}
	return true;
}

/* The socket took the offer or did not: judges the reader, begins the end, asks for the next turn. */
static void offered(struct conn *c)
{
	struct session *s = &c->session;
	struct hub *hub = conn_shard(c)->hub;
	bool moved = stream_moved(&c->stream);

	if (s->state != SESSION_NONE)
		hub_flushed(hub, s, stream_blocked(&c->stream), conn_shard(c)->now);
	if (stream_blocked(&c->stream) || c->stalled_ms) {
		conn_stall(c, moved);
		if (conn_stall_over(c))
			hub_close_slow(hub, s);
	}
	begin_closing(c);
	if (c->close_queued && ctl_empty(c)) {
		if (!stream_holds(&c->stream)) /* else on_writable comes back here */
			finish_close(c);
		return;
	}
	if (owes(c) && !stream_blocked(&c->stream))
		hub_ready(hub, s);
	if (c->tell_flushed)
		conn_kind(c)->flushed(c, moved);
	if (c->at.extra)
		conn_extra_trim(c);
}

void conn_flush(struct conn *c)
{
	struct session *s = &c->session;

	if (c->phase >= PHASE_LINGER)
		return;
	if (conn_kind(c)->form < 0) {
		/* The session waits for a hook: nothing may be sent, but its queue has its limits all the same. */
		if (s->state != SESSION_NONE)
			hub_flushed(conn_shard(c)->hub, s, true, conn_shard(c)->now);
		return;
	}
	begin_closing(c);
	if (offer(c))
		offered(c);
	conn_settle(conn_shard(c));
}
