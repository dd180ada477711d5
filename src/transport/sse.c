/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse: see sse.h. The server sends, the client only reads; a quiet stream gets a comment; the last event says why the
 * stream ends and whether the client should reconnect.
 */
#include "transport/sse.h"

#include "proto/envelope.h"

#define LINGER_MS 2000u /* how long the client may take to read the end */

static void arm(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint32_t quiet = (uint32_t)now_ms(sh->now) - c->u.sse.last_tx_ms;
	uint64_t interval = sh->set->opt.sse_heartbeat_ms;
	uint64_t due = now_ms(sh->now) + (quiet < interval ? interval - quiet : 1);

	timers_arm(&sh->timers, &c->timer, due < conn_stall_due(c) ? due : conn_stall_due(c));
}

void sse_begin(struct conn *c, uint64_t client)
{
	c->tell_flushed = true;
	c->u.sse.client = client;
	c->u.sse.last_tx_ms = (uint32_t)now_ms(conn_shard(c)->now);
	arm(c);
}

static void flushed(struct conn *c, bool moved)
{
	if (moved)
		c->u.sse.last_tx_ms = (uint32_t)now_ms(conn_shard(c)->now);
}

static void on_timer(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	uint32_t quiet = (uint32_t)now_ms(sh->now) - c->u.sse.last_tx_ms;
	struct conn_extra *x;

	if (quiet >= sh->set->opt.sse_heartbeat_ms) {
		/* A client that takes no bytes needs no sign of life from us: TCP_USER_TIMEOUT judges it. */
		x = stream_blocked(&c->stream) ? NULL : conn_extra(c);
		if (x && !x->ctl.len)
			buf_add(&x->ctl, SSE_COMMENT);
		if (x && !x->ctl.failed)
			hub_ready(sh->hub, &c->session);
		else if (!stream_blocked(&c->stream))
			shard_problem(sh, WSC_WARNING, "send", "out of memory: an event stream gets its comment later");
		conn_extra_trim(c);
		c->u.sse.last_tx_ms = (uint32_t)now_ms(sh->now); /* in any case the next look is an interval away */
	}
	arm(c);
}

static void queue_close(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct conn_extra *x = conn_extra(c);
	const struct session *s = &c->session;
	struct buf data = BUF_INIT;
	struct msg *m;

	if (!x)
		return;
	if (s->close_code == end_close(END_REPLACED))
		evicted_note(sh, c->u.sse.client);
	buf_addf(&data, "{\"code\":%u,\"reason\":", s->close_code);
	json_add_string(&data, bytes_str(s->close_reason));
	buf_addf(&data, ",\"reconnect\":%s}", end_reconnect(s->close_code) ? "true" : "false");
	m = data.failed ? NULL
			: shard_message(sh, BYTES("closed"), session_user(s), bytes_str(s->close_reason),
					buf_bytes(&data), BYTES(""));
	buf_deinit(&data);
	if (!m)
		return;
	if (buf_reserve(&x->ctl, sse_size(BYTES(""), bytes_of(m->json, m->len))))
		x->ctl.len += sse_write(x->ctl.at + x->ctl.len, BYTES(""), bytes_of(m->json, m->len));
	msg_unref(m);
}

static uint32_t linger(struct conn *c)
{
	stream_shutdown(&c->stream);
	return LINGER_MS;
}

const struct conn_kind sse_kind = {
	.form = MSG_FORM_SSE,
	/* on_data: a client of an event stream has nothing to say, so its bytes are ignored. */
	.on_writable = conn_writable,
	.on_timer = on_timer,
	.drain = conn_go_away,
	.flushed = flushed,
	.queue_close = queue_close,
	.linger = linger,
	.free = conn_extra_free,
};
