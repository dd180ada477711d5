/* SPDX-License-Identifier: Apache-2.0 */
/* conn: see conn.h. Life and death of a connection, and the way out: from the queue to the socket. */
#include "conn/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/mem.h"
#include "proto/envelope.h"

#define FLUSH_PIECES 64u
#define FLUSH_ROUNDS 4
#define CLOSE_WAIT_MS 5000u     /* how long the peer may take to answer */
#define LINGER_BYTES (4u << 20) /* and how much it may say meanwhile, beside two messages: one was under way */
#define LINGER_MS 2000u         /* how long an HTTP or event-stream peer may take to read the end */
#define FULL_BODY \
	"{\"success\":false,\"error\":\"no descriptor is left on this node\",\"message\":null,\"code\":\"overloaded\"}"
#define END_LINES 50u /* "session closed" of one worker in a second */
/* A full socket is offered bytes again without having asked: what it has sent may have left room that it does not tell of. */
#define STALL_OFFER_MS 1000u
#define DEFERRED_RUNS 4u   /* stretches of deferred connections in one turn */
#define ACCEPT_RESERVE 64u /* connections beyond the cap that are still told 503 */

/* ---- birth and death ------------------------------------------------------------------------------------------- */

struct conn *conn_get(struct shard *sh, slab_handle h)
{
	struct conn *c = slab_get(&sh->conns, h);

	return c && c->phase != PHASE_DEAD ? c : NULL;
}

struct conn *conn_new(struct shard *sh, int fd, const struct ip *peer, struct http_conn *http)
{
	bool moved = http != NULL;
	slab_handle h;
	struct conn *c = slab_new(&sh->conns, &h);
	int r;

	if (!http)
		http = http_new(peer);
	if (!c || !http)
		goto no_memory;
	c->at.http = http;
	c->secret = rng_u64(&sh->rng);
	r = stream_open(&sh->loop, &c->stream, fd);
	if (r < 0) {
		shard_problem_errno(sh, "accept", -r);
		goto fail;
	}
	if (!moved)
		http_begin(c);
	return c;
no_memory:
	shard_problem(sh, WSC_ERROR, "accept", "out of memory");
fail:
	if (c)
		slab_free(&sh->conns, h);
	http_free(http);
	close(fd);
	atomic_fetch_sub(&sh->set->shared.connections, 1);
	return NULL;
}

/* What any client can bring about by itself is not news: it would let strangers fill the log. */
static bool is_news(const struct wsc_disconnect *why)
{
	return !why->by_client &&
	       (why->code == WS_CODE_INTERNAL || why->code == WS_CODE_TRY_LATER || why->code >= 4400);
}

/* Who comes and is closed without end must not fill a disk: so many lines a second, and the next one counts the others. */
static bool may_say_end(struct shard *sh)
{
	uint64_t second = now_ms(sh->now) / 1000;

	if (sh->ends.second != second) {
		sh->ends.second = second;
		sh->ends.said = 0;
	}
	if (sh->ends.said == END_LINES) {
		sh->ends.unsaid++;
		return false;
	}
	sh->ends.said++;
	return true;
}

/* "Why was this user disconnected?" */
static void log_end(const struct conn *c, const struct wsc_disconnect *why)
{
	enum log_level level = is_news(why) ? LOG_INFO : LOG_DEBUG;
	struct shard *sh = conn_shard(c);
	struct log *lg = &sh->set->log;
	char id[CLIENT_ID_TEXT];

	if (level < lg->level || !may_say_end(sh))
		return;
	if (sh->ends.unsaid)
		LOG_WRITE(lg, level, "sessions closed without a line of their own",
			  KV_U64("sessions", sh->ends.unsaid));
	sh->ends.unsaid = 0;
	client_id_text(c, id);
	LOG_WRITE(lg, level, "session closed", KV_BYTES("user", session_user(&c->session)), KV_STR("client_id", id),
		  KV_STR("transport", c->session.transport == HUB_SSE ? "sse" : "websocket"), KV_U64("code", why->code),
		  KV_STR("why", why->reason), KV_BOOL("by_client", why->by_client));
}

/* The session is over: the program is told, the hub forgets it. */
static void leave(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	const struct wsc_hooks *hooks = &sh->set->hooks;
	struct session *s = &c->session;
	struct wsc_disconnect why = { .code = c->close_code, .reason = "", .by_client = c->by_client };
	char id[CLIENT_ID_TEXT];
	struct wsc_client client;

	if (s->state == SESSION_NONE)
		return;
	if (s->state == SESSION_CLOSING)
		why.reason = s->close_reason;
	if (!why.code)
		why.code = s->close_code;
	log_end(c, &why);
	if (c->accepted && hooks->on_client_disconnect) {
		client_of(c, &client, id);
		client.connections -= s->counted;
		hooks->on_client_disconnect(hooks->user, &client, &why);
	}
	c->accepted = false;
	hub_detach(sh->hub, s, sh->now);
}

void conn_defer(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	stream_pause(&c->stream); /* which takes it off the loop's lists: its link is free */
	c->deferred = true;
	sh->ndeferred++;
	list_push(&sh->deferred, &c->stream.link);
}

static void undefer(struct conn *c)
{
	if (!c->deferred)
		return;
	c->deferred = false;
	conn_shard(c)->ndeferred--;
	list_remove(&c->stream.link);
}

void conn_resume(struct conn *c)
{
	undefer(c);
	stream_resume(&c->stream);
}

void conn_run_deferred(struct shard *sh)
{
	for (unsigned n = DEFERRED_RUNS; n && !list_empty(&sh->deferred) && !hub_pressed(sh->hub); n--) {
		struct conn *c = conn_of_stream(container_of(sh->deferred.next, struct stream, link));

		undefer(c);
		if (c->kind == CONN_HTTP)
			http_resume(c);
		else
			ws_resume(c);
		/* One at least: those that were inflated at once must not keep the others waiting for ever. */
		if (sh->deflate.spent >= DEFLATE_TURN_BYTES)
			return;
	}
}

void conn_kill(struct conn *c, uint16_t code, bool by_client)
{
	struct shard *sh = conn_shard(c);

	if (c->phase == PHASE_DEAD)
		return;
	/* What began the end is what ended it: a peer that vanishes while we close was closed by us. */
	if (!c->close_code && c->session.state != SESSION_CLOSING) {
		c->close_code = code;
		c->by_client = by_client;
	}
	leave(c);
	c->phase = PHASE_DEAD;
	timers_cancel(&sh->timers, &c->timer);
	undefer(c);
	stream_close(&c->stream);
	list_push(&sh->dead, &c->stream.link);
	atomic_fetch_sub(&sh->set->shared.connections, 1);
}

void conn_reap(struct shard *sh)
{
	struct list *n;

	if (!list_empty(&sh->dead))
		pressure_ended(sh);
	while ((n = list_pop(&sh->dead))) {
		struct conn *c = conn_of_stream(container_of(n, struct stream, link));

		if (c->kind == CONN_HTTP)
			http_free(c->at.http);
		else
			conn_extra_free(c);
		deflate_forget(c);
		slab_free(&sh->conns, conn_handle(c));
	}
}

struct conn_extra *conn_extra(struct conn *c)
{
	if (!c->at.extra && (c->at.extra = mem_zalloc(sizeof *c->at.extra)))
		c->at.extra->pong_at = SIZE_MAX;
	return c->at.extra;
}

void conn_extra_free(struct conn *c)
{
	struct conn_extra *x = c->at.extra;

	if (!x)
		return;
	buf_deinit(&x->ctl);
	buf_deinit(&x->message);
	buf_deinit(&x->held);
	mem_free(x);
	c->at.extra = NULL;
}

void conn_extra_trim(struct conn *c)
{
	struct conn_extra *x = c->at.extra;

	if (x && !x->ctl.len && !x->message.len && !x->held.len && !x->pending && !x->inflate)
		conn_extra_free(c);
}

/* ---- the way out ------------------------------------------------------------------------------------------------ */

struct piece {
	struct bytes at;
	bool ctl;
};

struct out {
	struct piece piece[FLUSH_PIECES + 2];
	unsigned n;
	size_t bytes;
};

static void add_piece(struct out *o, struct bytes b, bool ctl)
{
	o->piece[o->n++] = (struct piece){ b, ctl };
	o->bytes += b.len;
}

/* The wire form of @m for @c, made once per message. An empty view: no memory. */
static struct bytes wire_form(struct conn *c, struct msg *m)
{
	enum msg_form form = c->kind == CONN_WS ? MSG_FORM_WS : MSG_FORM_SSE;
	struct bytes json = bytes_of(m->json, m->len);
	size_t n;

	/* With a context of its own, only deflate_ahead() may deflate: the client refers to all it inflates. */
	if (form == MSG_FORM_WS && c->deflate.on && !deflate_is_own(c)) {
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
		x->pong_at = SIZE_MAX; /* what stands behind a pong is not to go with it */
	}
	if (m)
		msg_unref(m);
	return wire.len && !x->ctl.failed;
}

/* "Here messages were dropped": stands where they were. False: no memory. */
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
	if (c->kind == CONN_WS)
		ws_queue_close(c);
	else
		sse_queue_close(c);
}

static bool ctl_empty(const struct conn *c)
{
	return !c->at.extra || !c->at.extra->ctl.len;
}

uint64_t conn_stall_due(const struct conn *c)
{
	const struct shard *sh = conn_shard(c);
	uint64_t now = now_ms(sh->now);

	return c->stalled_ms ? now - ((uint32_t)now - c->stalled_ms) + sh->set->opt.write_timeout_ms : UINT64_MAX;
}

bool conn_stall_over(const struct conn *c)
{
	return now_ms(conn_shard(c)->now) >= conn_stall_due(c);
}

/* Only a full socket comes this far, so a reader who keeps up pays nothing for its limit. */
void conn_stall(struct conn *c, bool moved)
{
	struct shard *sh = conn_shard(c);
	uint64_t offer_ms;

	if (!stream_blocked(&c->stream)) {
		c->stalled_ms = 0;
		return;
	}
	if (c->stalled_ms && !moved)
		return;
	c->stalled_ms = (uint32_t)now_ms(sh->now) ? (uint32_t)now_ms(sh->now) : UINT32_MAX;
	/* Whoever is closed has a time of its own. */
	offer_ms = now_ms(sh->now) + STALL_OFFER_MS;
	if (offer_ms > conn_stall_due(c))
		offer_ms = conn_stall_due(c);
	if (c->phase == PHASE_OPEN && timer_armed(&c->timer) && c->timer.due_ms > offer_ms)
		timers_arm(&sh->timers, &c->timer, offer_ms);
}

/*
 * Where messages were dropped a notice stands, behind what had begun and before what is left. One at a time: while control
 * bytes wait, the count goes on, so that a reader who stands still costs one notice and not one per flush.
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
		x->pong_at = SIZE_MAX; /* what stands behind a pong is not to go with it */
		deflate_own(c, m, &x->ctl);
		if (x->ctl.failed)
			return false;
		hub_sent(conn_shard(c)->hub, s, 1, 0);
	}
	return true;
}

/* What may go out now, in order: the rest of a message that is partly gone, control bytes, messages. */
static bool collect(struct conn *c, struct out *o)
{
	struct session *s = &c->session;
	bool held, own = c->kind == CONN_WS && deflate_is_own(c);
	struct msg *m[FLUSH_PIECES] UNSET;
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
	n = own || s->state == SESSION_NONE ? 0 : outq_peek(&s->q, m, FLUSH_PIECES);
	if (n && s->q.offset) {
		wire = wire_form(c, m[i++]);
		bytes_skip(&wire, s->q.offset);
		add_piece(o, wire, false);
	}
	if (!ctl_empty(c))
		add_piece(o,
			  bytes_of(c->at.extra->ctl.at + c->at.extra->ctl_sent,
				   c->at.extra->ctl.len - c->at.extra->ctl_sent),
			  true);
	for (; i < n && !held && o->bytes < 4 * SHARD_GATHER_BYTES; i++) {
		wire = wire_form(c, m[i]);
		if (!wire.at)
			return false;
		add_piece(o, wire, false);
	}
	return true;
}

/* One piece: send. Several small ones: one copy and send, which beats writev of many. Large ones: writev. */
static ptrdiff_t send_out(struct conn *c, const struct out *o)
{
	struct iovec iov[FLUSH_PIECES + 2] UNSET;
	uint8_t *gather = conn_shard(c)->gather, *end = gather;

	if (o->n > 1 && o->bytes <= SHARD_GATHER_BYTES) {
		for (unsigned i = 0; i < o->n; i++)
			end = (uint8_t *)memcpy(end, o->piece[i].at.at, o->piece[i].at.len) + o->piece[i].at.len;
		iov[0] = (struct iovec){ gather, o->bytes };
		return stream_send(&c->stream, iov, 1);
	}
	for (unsigned i = 0; i < o->n; i++)
		iov[i] = (struct iovec){ (void *)(uintptr_t)o->piece[i].at.at, o->piece[i].at.len };
	return stream_send(&c->stream, iov, (int)o->n);
}

/* @sent bytes of @o are gone: what was whole is taken off. */
static void account(struct conn *c, const struct out *o, size_t sent)
{
	struct conn_extra *x = c->at.extra;
	struct session *s = &c->session;
	uint32_t whole = 0, offset = s->state == SESSION_NONE ? 0 : s->q.offset;

	for (unsigned i = 0; i < o->n && sent; i++) {
		size_t take = sent < o->piece[i].at.len ? sent : o->piece[i].at.len;

		sent -= take;
		if (o->piece[i].ctl) {
			x->ctl_sent += take;
		} else if (take == o->piece[i].at.len) {
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

/* The close frame or closed event is on its way: our side is done. */
static void finish_close(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	leave(c);
	if (c->kind == CONN_WS && c->peer_closed) {
		conn_kill(c, c->close_code, c->by_client);
		return;
	}
	c->phase = PHASE_LINGER;
	c->pings = 0;
	/* A codec that has failed cannot read the answer: the peer reads our end instead. */
	if (c->kind == CONN_SSE || c->u.ws.code)
		stream_shutdown(&c->stream);
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + (c->kind == CONN_WS ? CLOSE_WAIT_MS : LINGER_MS));
	conn_resume(c);
	if (c->kind == CONN_WS)
		ws_resume(c); /* the peer's close frame may lie in what waited */
}

/* Five seconds for all that is left to say, and the answer to it. */
static void begin_closing(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	if (c->session.state != SESSION_CLOSING || c->phase != PHASE_OPEN)
		return;
	c->phase = PHASE_CLOSING;
	timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + CLOSE_WAIT_MS);
}

/* Is there something to say that the hub does not know of: control bytes, or a close frame that is still to be made? */
static bool owes(const struct conn *c)
{
	return !ctl_empty(c) || (c->session.state == SESSION_CLOSING && !c->close_queued);
}

/* Has all of @o gone, and is nothing behind it? */
static bool was_all(const struct conn *c, const struct out *o, size_t sent)
{
	const struct session *s = &c->session;

	return o->n < FLUSH_PIECES && sent == o->bytes && s->state != SESSION_CLOSING && !s->gap &&
	       !(s->q.count && deflate_is_own(c));
}

/*
 * Blocked or not, it is offered once: a slow reader is judged by what the socket refuses now. A refusal without a session has
 * no second turn. False: that was the end of @c.
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
			conn_kill(c, WS_CODE_INTERNAL, false);
			return false;
		}
		/* Nothing of ours, but TLS may hold what the socket takes by now. */
		if (o.n == 0 && (round || !stream_holds(&c->stream)))
			break;
		sent = send_out(c, &o);
		if (sent < 0) {
			conn_kill(c, WS_CODE_ABNORMAL, true);
			return false;
		}
		account(c, &o, (size_t)sent);
		if (c->kind == CONN_SSE && sent)
			c->u.sse.last_tx_ms = (uint32_t)now_ms(conn_shard(c)->now);
		if (was_all(c, &o, (size_t)sent))
			break;
	}
	return true;
}

/* What has been offered has left or has not: the reader is judged, the end begun, the next turn asked for. */
static void offered(struct conn *c)
{
	struct session *s = &c->session;
	struct hub *hub = conn_shard(c)->hub;
	bool moved = stream_moved(&c->stream);

	if (s->state != SESSION_NONE)
		hub_flushed(hub, s, stream_blocked(&c->stream), conn_shard(c)->now);
	if (stream_blocked(&c->stream) || c->stalled_ms)
		conn_stall(c, moved);
	if (conn_stall_over(c))
		hub_close_slow(hub, s);
	begin_closing(c);
	if (c->close_queued && ctl_empty(c)) {
		if (!stream_holds(&c->stream)) /* else on_writable comes back here */
			finish_close(c);
		return;
	}
	if (owes(c) && !stream_blocked(&c->stream))
		hub_ready(hub, s);
	if (c->kind == CONN_WS)
		ws_flushed(c, moved);
	if (c->phase != PHASE_DEAD)
		conn_extra_trim(c);
}

void conn_flush(struct conn *c)
{
	struct session *s = &c->session;

	if (c->phase >= PHASE_LINGER)
		return;
	if (c->kind == CONN_HTTP) {
		/* Held while a hook thinks: what piles up is judged all the same. */
		if (s->state != SESSION_NONE)
			hub_flushed(conn_shard(c)->hub, s, true, conn_shard(c)->now);
		return;
	}
	begin_closing(c);
	if (offer(c))
		offered(c);
}

void conn_error(struct conn *c, enum api_code code, struct bytes why, struct bytes ref, struct bytes extra)
{
	struct shard *sh = conn_shard(c);
	struct envelope_fault fault = { .code = bytes_str(api_code_text(code)),
					.ref = envelope_plain(ref),
					.extra = extra };
	char id[ULID_LEN];
	struct envelope_out o;
	struct msg *m;

	if (c->session.state == SESSION_NONE)
		return;
	envelope_out_error(&o, envelope_plain(session_user(&c->session)), why, &fault);
	shard_ulid(sh, id);
	o.id = envelope_plain(bytes_of(id, sizeof id));
	o.create_at = envelope_plain(shard_stamp(sh));
	m = msg_new(hub_owner(sh->hub), MSG_SERVER, envelope_size(&o));
	if (m)
		m->len = (uint32_t)envelope_write(&o, m->json);
	conn_send_own(c, m);
}

void conn_send_own(struct conn *c, struct msg *m)
{
	struct shard *sh = conn_shard(c);

	/* What a client waits for is not left out in silence. */
	if (!m || hub_send(sh->hub, &c->session, m) < 0) {
		shard_problem(sh, WSC_ERROR, "send", "out of memory");
		hub_close(sh->hub, &c->session, WS_CODE_INTERNAL, "out of memory", false);
	}
	if (m)
		msg_unref(m);
}

/* ---- what the loop says ------------------------------------------------------------------------------------------- */

static void on_data(struct stream *st, uint8_t *data, size_t len)
{
	struct conn *c = conn_of_stream(st);

	if (c->phase == PHASE_DEAD)
		return;
	c->session.last_rx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	if (c->phase != PHASE_LINGER) {
		c->pings = 0; /* the silence is over: the next one has pings of its own */
	} else if ((c->pings += (uint32_t)len) > LINGER_BYTES + 2 * conn_shard(c)->set->opt.max_message_bytes) {
		/* It was told to go and talks on. What it would have read of our end, it has had the time to. */
		stream_abort(&c->stream);
		conn_kill(c, WS_CODE_ABNORMAL, false);
		return;
	}
	if (c->kind == CONN_HTTP)
		http_on_data(c, data, len);
	else if (c->kind == CONN_WS)
		ws_on_data(c, data, len);
	/* A client of an event stream has nothing to say: its bytes are passed over. */
}

static void on_end(struct stream *st, int error)
{
	struct conn *c = conn_of_stream(st);

	if (c->phase == PHASE_DEAD)
		return;
	http_log_tls(c);
	if (c->kind == CONN_HTTP && !error)
		http_on_end(c);
	else
		conn_kill(c, WS_CODE_ABNORMAL, true);
}

static void on_writable(struct stream *st)
{
	struct conn *c = conn_of_stream(st);

	if (c->phase == PHASE_DEAD)
		return;
	if (c->kind == CONN_HTTP)
		http_on_writable(c);
	else if (c->session.state != SESSION_NONE)
		hub_writable(conn_shard(c)->hub, &c->session);
	else
		conn_flush(c); /* a refusal that has no session */
}

/* Of the loop's own descriptor, so that no file needs to be in reach. */
bool spare_keep(struct shard *sh)
{
	int none = -1, fd = fcntl(sh->loop.epfd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0 && !atomic_compare_exchange_strong(&sh->set->shared.spare_fd, &none, fd))
		close(fd);
	return fd >= 0;
}

/* Does who has come to @from speak TLS? Where both may be spoken, by the first byte, if it is there yet. */
static bool wants_tls(const struct settings *set, const struct listener *from, int fd)
{
	uint8_t first;

	if (!set->tls.server)
		return false;
	if (from->tag >= set->tls.own_from)
		return true;
	return set->tls.same_port && recv(fd, &first, 1, MSG_PEEK) == 1 && first == TLS_FIRST_BYTE;
}

/* In one send, without a connection of ours, so that it costs no memory and no second look. */
static void say_full(const struct settings *set, const struct listener *from, int fd)
{
	static const char alert[] = "\x15\x03\x03\x00\x02\x02\x50"; /* RFC 8446 §6: fatal, internal_error */
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
		"Content-Length: 97\r\nRetry-After: 1\r\nConnection: close\r\n\r\n" FULL_BODY;

	_Static_assert(sizeof FULL_BODY == 98, "Content-Length above");
	bool tls = wants_tls(set, from, fd);
	char request[4096];

	(void)!send(fd, tls ? alert : answer, (tls ? sizeof alert : sizeof answer) - 1, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	/* What lies there unread would make the close a reset, and the answer might be lost with it. */
	(void)!recv(fd, request, sizeof request, 0);
	close(fd);
}

static void on_accept(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len)
{
	struct shard *sh = shard_of_loop(l);
	struct ip ip = { 0 };
	uint64_t n;
	struct conn *c;

	/* Another worker was quicker and has the reserve's: this is the last one, and becomes the reserve. */
	if (atomic_load_explicit(&sh->set->shared.spare_fd, memory_order_relaxed) < 0 && !spare_keep(sh)) {
		say_full(sh->set, from, fd);
		(void)spare_keep(sh);
		return;
	}
	if (peer_len >= sizeof(sa_family_t))
		ip = ip_of_sockaddr(peer);
	n = atomic_fetch_add(&sh->set->shared.connections, 1) + 1;
	if (n >= sh->set->max_connections + ACCEPT_RESERVE)
		for (unsigned i = 0; i < sh->nlisteners; i++)
			listener_stop(&sh->listeners[i]);
	c = conn_new(sh, fd, &ip, NULL);
	if (c && sh->set->tls.server && from->tag >= sh->set->tls.own_from)
		http_require_tls(c);
}

static void on_accept_error(struct loop *l, int error)
{
	struct shard *sh = shard_of_loop(l);
	uint64_t now = now_ms(sh->now), last = atomic_load(&sh->set->shared.accept_error_ms);

	/* While stopping, the sockets are shut, and that is what accept says. */
	if (atomic_load_explicit(&sh->set->shared.draining, memory_order_relaxed))
		return;
	/* Out of descriptors is a state, not an event: once in ten seconds is enough, whichever worker says it. */
	if ((last && now - last < 10000) ||
	    !atomic_compare_exchange_strong(&sh->set->shared.accept_error_ms, &last, now))
		return;
	if (error == EMFILE || error == ENFILE)
		shard_problem(sh, WSC_ERROR, "accept",
			      error == EMFILE
				      ? "no descriptor is left for who connects (ulimit -n, LimitNOFILE): 503"
				      : "the system has no descriptor left for who connects (fs.file-max): 503");
	else
		shard_problem_errno(sh, "accept", error);
}

static int turn_away(struct loop *l, struct listener *from, unsigned max)
{
	struct shard *sh = shard_of_loop(l);
	int spare = atomic_exchange(&sh->set->shared.spare_fd, -1), fd = 0;
	unsigned n = 0;

	if (spare < 0) {
		(void)spare_keep(sh);
		return -EMFILE;
	}
	close(spare);
	while (n < max && (fd = accept4(from->src.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		say_full(sh->set, from, fd);
		n++;
	}
	fd = fd < 0 ? -errno : 0;
	(void)spare_keep(sh);
	return n ? (int)n : fd;
}

static bool pressed(struct loop *l)
{
	struct shard *sh = shard_of_loop(l);

	return hub_pressed(sh->hub) || sh->congested(sh);
}

static bool late(struct loop *l)
{
	struct shard *sh = shard_of_loop(l);

	return sh->late(sh);
}

const struct loop_ops conn_loop_ops = {
	.on_data = on_data,
	.on_end = on_end,
	.on_writable = on_writable,
	.on_accept = on_accept,
	.on_accept_error = on_accept_error,
	.pressed = pressed,
	.late = late,
	.turn_away = turn_away,
};

/* ---- time ---------------------------------------------------------------------------------------------------------- */

void conn_on_timer(struct conn *c)
{
	struct shard *sh = conn_shard(c);

	if (c->phase == PHASE_DEAD)
		return;
	if (c->kind == CONN_HTTP) {
		http_on_timer(c);
	} else if (c->phase != PHASE_OPEN) {
		/* Whoever takes nothing is not waited for by the kernel either. */
		if (stream_blocked(&c->stream))
			stream_abort(&c->stream);
		conn_kill(c, WS_CODE_ABNORMAL, false);
	} else if (conn_stall_over(c)) {
		/* It may take a byte by now, without having told: it is offered them once more, and that flush judges. */
		hub_writable(sh->hub, &c->session);
		timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + 100);
	} else {
		if (c->stalled_ms)
			hub_writable(sh->hub, &c->session);
		if (c->kind == CONN_WS)
			ws_on_timer(c);
		else
			sse_on_timer(c);
	}
}

bool conn_drain(struct shard *sh, uint32_t n)
{
	struct conn *c;

	while (n && (c = slab_next(&sh->conns, &sh->drain_pos))) {
		if (c->phase == PHASE_DEAD)
			continue;
		n--;
		if (c->kind == CONN_HTTP)
			http_drain(c);
		else if (c->session.state != SESSION_NONE)
			hub_close(sh->hub, &c->session, WS_CODE_GOING_AWAY, "the server is going away", false);
	}
	return n > 0;
}
