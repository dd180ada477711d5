/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: what the loop, the timer and the drain tell a connection, handed to its kind. Each event ends with
 * conn_settle(), so that a connection that has ended in it is taken apart before the next event.
 */
#include "conn/conn.h"

#define LINGER_BYTES \
	(4u << 20)       /* a peer may send so much behind our end, beside two messages, because one was under way */
#define DEFERRED_RUNS 4u /* stretches of deferred connections in one turn */

void conn_on_data(struct stream *st, uint8_t *data, size_t len)
{
	struct conn *c = conn_of_stream(st);
	struct shard *sh = conn_shard(c);

	c->session.last_rx_ms = (uint32_t)now_ms(sh->now);
	if (c->phase != PHASE_LINGER) {
		c->pings = 0; /* the silence is over: the next one has pings of its own */
	} else if ((c->pings += (uint32_t)len) > LINGER_BYTES + 2 * sh->set->opt.max_message_bytes) {
		/* The peer was told the end and sends on. It has had the time to read what we sent. */
		stream_abort(&c->stream);
		conn_end(c, WS_CODE_ABNORMAL, false);
	}
	if (c->phase != PHASE_ENDED && conn_kind(c)->on_data)
		conn_kind(c)->on_data(c, data, len);
	conn_settle(sh);
}

void conn_on_end(struct stream *st, int error)
{
	struct conn *c = conn_of_stream(st);

	if (conn_kind(c)->on_end) {
		conn_kind(c)->on_end(c, error);
	} else {
		conn_log_tls(c, NULL);
		conn_end(c, WS_CODE_ABNORMAL, true);
	}
	conn_settle(conn_shard(c));
}

void conn_on_writable(struct stream *st)
{
	struct conn *c = conn_of_stream(st);

	conn_kind(c)->on_writable(c);
	conn_settle(conn_shard(c));
}

void conn_writable(struct conn *c)
{
	if (c->session.state != SESSION_NONE)
		hub_writable(conn_shard(c)->hub, &c->session);
	else
		conn_flush(c); /* a refusal that has no session */
}

void conn_on_timer(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	bool carries = conn_kind(c)->form >= 0;

	if (c->phase != PHASE_OPEN) {
		/* A peer that takes nothing gets no more time from the kernel either. */
		if (stream_blocked(&c->stream))
			stream_abort(&c->stream);
		conn_end(c, WS_CODE_ABNORMAL, false);
	} else if (carries && conn_stall_over(c)) {
		/* The socket may take a byte by now, without telling: it is offered the bytes once more, and that flush judges. */
		hub_writable(sh->hub, &c->session);
		timers_arm(&sh->timers, &c->timer, now_ms(sh->now) + 100);
	} else {
		if (carries && c->stalled_ms)
			hub_writable(sh->hub, &c->session);
		conn_kind(c)->on_timer(c);
	}
	conn_settle(sh);
}

static void resume_first(struct shard *sh, struct list *waiting)
{
	struct conn *c = conn_of_stream(container_of(waiting->next, struct stream, link));

	conn_stop_waiting(c);
	conn_kind(c)->resume(c);
	conn_settle(sh);
}

void conn_run_waiting(struct shard *sh)
{
	struct list now;

	list_init(&now);
	list_splice(&now, &sh->resumed);
	/* Under pressure too: an echo keeps within its own queue, and a connection that lingers takes only a close frame. */
	while (!list_empty(&now))
		resume_first(sh, &now);
	for (unsigned n = DEFERRED_RUNS; n && !list_empty(&sh->deferred) && !hub_pressed(sh->hub) && !sh->congested(sh);
	     n--) {
		resume_first(sh, &sh->deferred);
		/* At least one: input that was inflated at once must not keep the others waiting for ever. */
		if (sh->deflate.spent >= DEFLATE_TURN_BYTES)
			return;
	}
}

void conn_go_away(struct conn *c)
{
	if (c->session.state != SESSION_NONE)
		conn_close(c, END_GOING_AWAY, false);
}

bool conn_drain(struct shard *sh, uint32_t n)
{
	struct conn *c;

	for (; n && (c = conn_next(sh, &sh->drain_pos)); n--) {
		conn_kind(c)->drain(c);
		conn_settle(sh);
	}
	return n > 0;
}
