/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn: see conn.h. The life of a connection: opened, paused and resumed, ended, taken apart, freed. The one place that
 * ends a connection is conn_settle_ended(): until then an ended connection has its session, its stream and its memory,
 * so that no caller of conn_end() must look again.
 */
#include "conn/conn.h"

#include <stdio.h>
#include <unistd.h>
#include "base/codec.h"
#include "base/mem.h"
#include "proto/envelope.h"

#define END_LINES 50u /* "session closed" lines of one worker in a second */
/* A full socket is offered bytes again without having asked, because the kernel may not tell of room that has come free. */
#define STALL_OFFER_MS 1000u

struct conn *conn_get(struct shard *sh, slab_handle h)
{
	struct conn *c = slab_get(&sh->conns, h);

	return c && c->phase != PHASE_ENDED ? c : NULL;
}

struct conn *conn_next(struct shard *sh, uint32_t *pos)
{
	struct conn *c;

	do
		c = slab_next(&sh->conns, pos);
	while (c && c->phase == PHASE_ENDED);
	return c;
}

struct conn *conn_open(struct shard *sh, int fd, struct http_conn *http, void (*http_free)(struct http_conn *))
{
	slab_handle h;
	struct conn *c = http ? slab_new(&sh->conns, &h) : NULL;
	int r;

	if (!c) {
		shard_problem(sh, WSC_ERROR, "accept", "out of memory");
		goto fail;
	}
	c->at.http = http;
	c->secret = rng_u64(&sh->rng);
	r = stream_open(&sh->loop, &c->stream, fd);
	if (r == 0)
		return c;
	shard_problem_errno(sh, "accept", -r);
	slab_free(&sh->conns, h);
fail:
	http_free(http);
	close(fd);
	atomic_fetch_sub(&sh->set->shared.connections, 1);
	return NULL;
}

/* ---- reading and waiting ---------------------------------------------------------------------------------------- */

void conn_stop_waiting(struct conn *c)
{
	if (!conn_waits(c))
		return;
	conn_shard(c)->ndeferred -= c->deferred;
	c->resumed = c->deferred = false;
	list_remove(&c->stream.link);
}

/* A paused stream is on no list of the loop, so its link is ours. */
static bool begin_waiting(struct conn *c, struct list *list)
{
	if (c->phase == PHASE_ENDED)
		return false;
	conn_stop_waiting(c);
	stream_pause(&c->stream);
	list_push(list, &c->stream.link);
	return true;
}

void conn_defer(struct conn *c)
{
	if (!begin_waiting(c, &conn_shard(c)->deferred))
		return;
	c->deferred = true;
	conn_shard(c)->ndeferred++;
}

void conn_go_on(struct conn *c)
{
	c->resumed = begin_waiting(c, &conn_shard(c)->resumed) || c->resumed;
}

void conn_pause(struct conn *c)
{
	if (c->phase != PHASE_ENDED && !conn_waits(c))
		stream_pause(&c->stream);
}

void conn_resume(struct conn *c)
{
	if (c->phase == PHASE_ENDED)
		return;
	conn_stop_waiting(c);
	stream_resume(&c->stream);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* A client that connects and is closed again and again must not fill a disk: the lines of a second are limited, and the
 * next line counts the rest. */
static bool may_log_end(struct shard *sh)
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
	/* An end that any client can cause by itself is for the debug level only, so that strangers cannot fill the log. */
	enum log_level level = why->by_client ? LOG_DEBUG : end_level((uint16_t)why->code);
	struct shard *sh = conn_shard(c);
	struct log *lg = &sh->set->log;
	char id[CLIENT_ID_TEXT];

	if (level < lg->level || !may_log_end(sh))
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

void conn_close(struct conn *c, enum end e, bool discard)
{
	hub_close(conn_shard(c)->hub, &c->session, end_close(e), end_why(e), discard);
}

void conn_leave(struct conn *c)
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
	if (c->opened)
		counter_add(&sh->metrics.closed[metric_close_of((uint16_t)why.code)], 1);
	if (c->accepted && hooks->on_client_disconnect) {
		client_of(c, &client, id);
		client.connections -= s->counted;
		hooks->on_client_disconnect(hooks->user, &client, &why);
	}
	c->accepted = c->opened = false;
	hub_detach(sh->hub, s, sh->now);
}

void conn_end(struct conn *c, uint16_t code, bool by_client)
{
	if (c->phase == PHASE_ENDED)
		return;
	/* The first cause counts: when a peer vanishes while we close it, we have closed it. */
	if (!c->close_code && c->session.state != SESSION_CLOSING) {
		c->close_code = code;
		c->by_client = by_client;
	}
	conn_stop_waiting(c);
	stream_pause(&c->stream);
	c->phase = PHASE_ENDED;
	list_push(&conn_shard(c)->ended, &c->stream.link);
}

/* No event of @c comes any more. */
static void bury(struct shard *sh, struct conn *c)
{
	timers_cancel(&sh->timers, &c->timer);
	list_push(&sh->dead, &c->stream.link);
}

int conn_detach(struct conn *c, struct tls **tls)
{
	int fd;

	conn_stop_waiting(c);
	*tls = stream_take_tls(&c->stream);
	fd = stream_detach(&c->stream);
	c->at.http = NULL;
	c->phase = PHASE_ENDED;
	bury(conn_shard(c), c);
	return fd;
}

void conn_settle_ended(struct shard *sh)
{
	struct list *n;

	while ((n = list_pop(&sh->ended))) {
		struct conn *c = conn_of_stream(container_of(n, struct stream, link));

		conn_leave(c);
		stream_close(&c->stream);
		bury(sh, c);
		atomic_fetch_sub(&sh->set->shared.connections, 1);
	}
}

void conn_reap(struct shard *sh)
{
	struct list *n;

	if (!list_empty(&sh->dead))
		pressure_ended(sh);
	while ((n = list_pop(&sh->dead))) {
		struct conn *c = conn_of_stream(container_of(n, struct stream, link));

		conn_kind(c)->free(c);
		slab_free(&sh->conns, conn_handle(c));
	}
}

/* ---- a socket that takes nothing ---------------------------------------------------------------------------------- */

uint64_t conn_stall_due(const struct conn *c)
{
	const struct shard *sh = conn_shard(c);
	uint64_t now = now_ms(sh->now);

	return c->stalled_ms ? now - ((uint32_t)now - c->stalled_ms) + sh->set->opt.write_timeout_ms : UINT64_MAX;
}

/* Called for a full socket only, so that the limit costs nothing to a reader that keeps up. */
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
	/* A connection that is being closed has a deadline of its own. */
	offer_ms = now_ms(sh->now) + STALL_OFFER_MS;
	if (offer_ms > conn_stall_due(c))
		offer_ms = conn_stall_due(c);
	if (c->phase == PHASE_OPEN && timer_armed(&c->timer) && c->timer.due_ms > offer_ms)
		timers_arm(&sh->timers, &c->timer, offer_ms);
}

/* ---- extra state --------------------------------------------------------------------------------------------------- */

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

	if (x && !x->ctl.len && !x->message.len && !x->held.len && !x->inflate)
		conn_extra_free(c);
}

/* ---- who is it ----------------------------------------------------------------------------------------------------- */

void client_id_text(const struct conn *c, char out[CLIENT_ID_TEXT])
{
	/* 16 bytes: shard, generation and slot, then 64 bits from the shard's generator. */
	uint64_t where = conn_handle(c) ^ (uint64_t)conn_shard(c)->index << 56;
	uint8_t raw[16];

	for (int i = 0; i < 8; i++) {
		raw[i] = (uint8_t)(where >> (8 * i));
		raw[8 + i] = (uint8_t)(c->secret >> (8 * i));
	}
	hex_encode(bytes_of(raw, sizeof raw), out);
	out[CLIENT_ID_TEXT - 1] = 0;
}

static const char *attr_text(struct bytes b)
{
	return b.len ? (const char *)b.at : "";
}

void client_of(const struct conn *c, struct wsc_client *out, char id_text[CLIENT_ID_TEXT])
{
	const struct session *s = &c->session;
	const struct session_attrs *a = s->attrs;

	client_id_text(c, id_text);
	*out = (struct wsc_client){
		.client_id = id_text,
		.user_id = s->user->id,
		.user_type = conn_shard(c)->set->opt.user_types.at[s->user_type],
		.ticket_id = a ? attr_text(a->ticket_id) : "",
		.role = a ? attr_text(a->role) : "",
		.device_id = a ? attr_text(a->device_id) : "",
		.client_type = a ? attr_text(a->client_type) : "",
		.transport = s->transport == HUB_WEBSOCKET ? WSC_WEBSOCKET : WSC_SSE,
		.connections = hub_user_sessions(s),
	};
}

/* Any client can cause these lines, so they are for the debug level only. */
void conn_log_tls(const struct conn *c, const struct ip *peer)
{
	struct log *lg = &conn_shard(c)->set->log;
	const char *why = stream_tls_fault(&c->stream);
	char address[IP_TEXT_MAX] = "";

	if (lg->level > LOG_DEBUG || !why[0])
		return;
	if (peer)
		ip_format(peer, address);
	log_debug(lg, "TLS failed", KV_STR("address", address), KV_STR("why", why));
}

/* ---- to its own client ---------------------------------------------------------------------------------------------- */

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

void conn_refuse(struct conn *c, enum end e, struct bytes value, struct bytes ref, struct bytes extra)
{
	char why[END_WHY_MAX];

	conn_error(c, end_code(e), end_why_of(e, value, why), ref, extra);
}

void conn_send_own(struct conn *c, struct msg *m)
{
	struct shard *sh = conn_shard(c);

	/* The client waits for this message, so losing it must not pass unnoticed. */
	if (!m || hub_send(sh->hub, &c->session, m) < 0) {
		shard_problem(sh, WSC_ERROR, "send", "out of memory");
		conn_close(c, END_SESSION_MEMORY, false);
	}
	if (m)
		msg_unref(m);
}
