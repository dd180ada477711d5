/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_fixture: a few hubs in one memory, their mailboxes one line each, devices with names, for the tests of hub/.
 * Users are placed by the first digit in their name ("ann1" lives on hub 1), so that a test shows where each user is.
 * Nothing moves between hubs until pump().
 */
#ifndef WSC_TESTS_UNIT_HUB_FIXTURE_H
#define WSC_TESTS_UNIT_HUB_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "hub/hub.h"
#include "test.h"

#define FX_HUBS 3
#define FX_MAIL 256
#define FX_NOW(ms) ((struct now){ .mono_ns = (uint64_t)(ms)*1000000u, .wall_ms = 1700000000000u + (uint64_t)(ms) })

struct fx_mail {
	unsigned from, to;
	struct hub_relay r;
	char text[3][160], body[4096];
};

struct fx {
	struct hub *hub[FX_HUBS];
	unsigned hubs;
	struct fx_side {
		struct fx *fx;
		unsigned self;
	} side[FX_HUBS];
	struct fx_mail mail[FX_MAIL];
	unsigned first, end;
	bool cut[FX_HUBS][FX_HUBS]; /* mail is lost */
};

static inline struct bytes fx_keep(struct bytes in, char *out)
{
	if (in.len)
		memcpy(out, in.at, in.len);
	return bytes_of(out, in.len);
}

static inline void fx_peer_send(void *ctx, unsigned peer, const struct hub_relay *r)
{
	struct fx_side *side = ctx;
	struct fx *fx = side->fx;
	struct fx_mail *m = &fx->mail[fx->end++ % FX_MAIL];

	m->from = side->self;
	m->to = peer;
	m->r = *r;
	m->r.to = fx_keep(r->to, m->text[0]);
	m->r.sender = fx_keep(r->sender, m->text[1]);
	m->r.ref = fx_keep(r->ref, m->text[2]);
	m->r.body = fx_keep(r->body, m->body);
}

static inline unsigned fx_route(void *ctx, struct bytes id, uint64_t hash)
{
	const struct fx_side *side = ctx;

	(void)hash;
	for (size_t i = 0; i < id.len; i++)
		if (id.at[i] >= '0' && id.at[i] <= '9')
			return (unsigned)(id.at[i] - '0') % side->fx->hubs;
	return 0;
}

static inline struct hub_options fx_options(void)
{
	return (struct hub_options){
		.max_messages = { 8, 4 },
		.max_queue_bytes = 4096,
		.max_sessions_per_user = 2,
		.login = HUB_LOGIN_REPLACE,
		.slow = HUB_SLOW_CLOSE,
		.ends = { [HUB_END_REPLACED] = { 4409, "replaced" },
			  [HUB_END_SLOW] = { 1013, "slow" },
			  [HUB_END_NO_MEMORY] = { 1013, "no memory" } },
		.ask_timeout_ms = 1000,
		.max_pending = 4,
		.seed = { 1, 2 },
	};
}

static inline void fx_init(struct fx *fx, unsigned hubs, struct hub_options o)
{
	*fx = (struct fx){ .hubs = hubs };
	for (unsigned i = 0; i < hubs; i++) {
		fx->side[i] = (struct fx_side){ fx, i };
		o.self = i;
		o.peers = hubs;
		o.route = fx_route;
		o.peer_send = fx_peer_send;
		o.ctx = &fx->side[i];
		fx->hub[i] = hub_new(&o, FX_NOW(0));
		if (!fx->hub[i])
			abort();
	}
}

/* One relay is delivered; false when the mail is empty. */
static inline bool fx_pump_one(struct fx *fx, uint64_t ms)
{
	struct fx_mail *m = &fx->mail[fx->first % FX_MAIL];

	if (fx->first == fx->end)
		return false;
	fx->first++;
	if (!fx->cut[m->from][m->to])
		hub_receive(fx->hub[m->to], m->from, &m->r, FX_NOW(ms));
	return true;
}

static inline void fx_pump(struct fx *fx, uint64_t ms)
{
	while (fx_pump_one(fx, ms))
		;
}

static inline void fx_join_all(struct fx *fx)
{
	for (unsigned i = 0; i < fx->hubs; i++)
		for (unsigned j = 0; j < fx->hubs; j++)
			if (i != j)
				hub_peer_joined(fx->hub[i], j, FX_NOW(0));
	fx_pump(fx, 0);
}

static inline struct msg *fx_msg(struct hub *h, const char *text)
{
	struct msg *m = msg_new(hub_owner(h), MSG_USER, strlen(text));

	if (!m)
		abort();
	memcpy(m->json, text, strlen(text));
	return m;
}

static inline int fx_attach(struct hub *h, struct session *s, const char *user, const char *ticket)
{
	struct hub_identity id = { .user_id = bytes_str(user), .ticket_id = bytes_str(ticket) };

	*s = (struct session){ 0 };
	return hub_attach(h, s, &id, FX_NOW(0));
}

static inline void fx_connect(struct hub *h, struct session *s, const char *user, const char *ticket)
{
	if (fx_attach(h, s, user, ticket) != 0 || hub_accept(h, s, NULL, 0, NULL, FX_NOW(0)) != 0)
		abort();
}

static inline int fx_publish(struct hub *h, enum hub_scope scope, const char *to, const char *text, uint64_t token,
			     bool only_failures, uint64_t ms)
{
	struct msg *m = fx_msg(h, text);
	struct hub_publication p = {
		.scope = scope,
		.to = bytes_str(to),
		.may_be_outside = true,
		.ref = bytes_str(text),
		.msg = m,
		.token = token,
		.only_failures = only_failures,
	};
	int err = hub_publish(h, &p, FX_NOW(ms));

	msg_unref(m);
	return err;
}

/* Text of the n-th message that waits for @s. */
static inline struct bytes fx_waits(const struct session *s, unsigned n)
{
	struct msg *all[64];

	return outq_peek(&s->q, all, 64) > n ? msg_text(all[n]) : (struct bytes){ 0 };
}

/* The socket of @s takes everything. */
static inline void fx_drain(struct hub *h, struct session *s)
{
	hub_sent(h, s, s->q.count, 0);
	if (s->gap)
		hub_gap_sent(h, s);
	hub_flushed(h, s, false, FX_NOW(0));
}

static inline void fx_drain_all(struct fx *fx)
{
	struct session *s;

	for (unsigned i = 0; i < fx->hubs; i++)
		while ((s = hub_take_ready(fx->hub[i])))
			fx_drain(fx->hub[i], s);
}

static inline void fx_free(struct fx *fx)
{
	struct session *s;

	for (unsigned i = 0; i < fx->hubs; i++) {
		while ((s = hub_next_session(fx->hub[i], NULL)))
			hub_detach(fx->hub[i], s, FX_NOW(0));
		CHECK_EQ(hub_owner(fx->hub[i])->bytes, 0);
		hub_free(fx->hub[i]);
	}
}

#endif
