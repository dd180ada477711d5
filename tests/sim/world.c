/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world: the hubs, the clock, chance, and the mail. A mailbox is a FIFO per ordered pair whatever the delays are; a link
 * between nodes that breaks loses what is in its two boxes, and a new one begins only when both ends know of the loss.
 */
#include "sim.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const user_names[SIM_USERS] = { "ann", "bob", "cyd", "dee", "eve", "fay" };
static const char *const ticket_names[SIM_TICKETS] = { "", "t1", "t2" };

const char *user_id_text(unsigned user)
{
	return user < SIM_USERS ? user_names[user] : "";
}

struct bytes sim_user(unsigned user)
{
	return bytes_str(user_id_text(user));
}

const char *sim_name(const struct conn *c)
{
	struct sim *w = c->sim;
	char *out = w->name[w->names++ % 4];

	snprintf(out, sizeof(w->name[0]), "%s#%u", user_names[c->user], c->number);
	return out;
}

struct bytes sim_ticket(unsigned ticket)
{
	return bytes_str(ticket_names[ticket]);
}

unsigned sim_home(unsigned user)
{
	return user % SIM_HUBS;
}

static unsigned route(void *ctx, struct bytes id, uint64_t hash)
{
	(void)ctx;
	(void)hash;
	return id.len ? (unsigned)(id.at[0] - 'a') % SIM_HUBS : 0;
}

uint64_t sim_dice(struct sim *w, uint64_t sides)
{
	return rng_below(&w->rng, sides);
}

bool sim_chance(struct sim *w, unsigned percent)
{
	return sim_dice(w, 100) < percent;
}

struct now sim_now(const struct sim *w)
{
	return (struct now){ .mono_ns = w->ms * 1000000u, .wall_ms = 1700000000000u + w->ms };
}

/* ---- mail ----------------------------------------------------------------------------------------------------- */

static struct bytes keep(struct bytes in, char **at)
{
	char *to = *at;

	if (in.len)
		memcpy(to, in.at, in.len);
	*at += in.len;
	return bytes_of(to, in.len);
}

void world_post(struct sim_box *b, struct sim *w, const struct hub_relay *r)
{
	size_t text = r->to.len + r->sender.len + r->ref.len + r->body.len;
	struct sim_mail *m = mem_alloc(sizeof(*m) + text);
	uint64_t due = w->ms + (w->calm ? 0 : sim_dice(w, w->o.delay_ms + 1));
	char *at;

	if (!m)
		abort();
	at = m->text;
	m->r = *r;
	m->r.to = keep(r->to, &at);
	m->r.sender = keep(r->sender, &at);
	m->r.ref = keep(r->ref, &at);
	m->r.body = keep(r->body, &at);
	m->next = NULL;
	m->due_ms = b->last_due_ms = due > b->last_due_ms ? due : b->last_due_ms;
	*b->last = m;
	b->last = &m->next;
	b->posted++;
}

struct sim_mail *world_take(struct sim_box *b, uint64_t now_ms)
{
	struct sim_mail *m = b->first;

	if (!m || m->due_ms > now_ms)
		return NULL;
	b->first = m->next;
	if (!b->first)
		b->last = &b->first;
	b->taken++;
	return m;
}

static void box_empty(struct sim_box *b)
{
	struct sim_mail *m;

	while ((m = world_take(b, UINT64_MAX)))
		mem_free(m);
}

static void peer_send(void *ctx, unsigned peer, const struct hub_relay *r)
{
	struct sim_side *side = ctx;
	struct sim *w = side->sim;

	if (peer >= SIM_HUBS || peer == side->self)
		sim_fail(w, "hub %u sends to hub %u", side->self, peer);
	else if (w->link[side->self][peer] == LINK_DOWN || w->link[side->self][peer] == LINK_JOINING)
		sim_fail(w, "hub %u sends to hub %u, which is gone", side->self, peer);
	else if (w->link[side->self][peer] == LINK_UP)
		world_post(&w->box[side->self][peer], w, r);
}

unsigned world_deliver(struct sim *w, unsigned hub, unsigned max)
{
	unsigned n = 0;

	for (unsigned from = 0; from < SIM_HUBS; from++) {
		struct sim_mail *m;

		if (from == hub || w->link[hub][from] != LINK_UP)
			continue;
		while (n < max && (m = world_take(&w->box[from][hub], w->ms))) {
			hub_receive(w->hub[hub], from, &m->r, sim_now(w));
			mem_free(m);
			n++;
		}
	}
	return n;
}

bool world_quiet(const struct sim *w)
{
	for (unsigned a = 0; a < SIM_HUBS; a++) {
		if (w->inbox[a].first || hub_requests(w->hub[a]) || hub_has_ready(w->hub[a]))
			return false;
		for (unsigned b = 0; b < SIM_HUBS; b++)
			if (w->box[a][b].first || (a != b && w->link[a][b] != LINK_UP))
				return false;
	}
	for (unsigned i = 0; i < SIM_LOADS; i++)
		if (w->load[i].used)
			return false;
	for (uint32_t i = 0; i < w->conns; i++)
		if (w->conn[i]->s && w->conn[i]->refused)
			return false;
	return submit_quiet(w);
}

/* ---- links ---------------------------------------------------------------------------------------------------- */

void world_cut(struct sim *w, unsigned a, unsigned b)
{
	if (w->link[a][b] != LINK_UP || w->link[b][a] != LINK_UP)
		return;
	sim_tell(w, "the link of hub %u and hub %u breaks", a, b);
	w->link[a][b] = w->link[b][a] = LINK_LOST;
	box_empty(&w->box[a][b]);
	box_empty(&w->box[b][a]);
	w->breaks++;
	oracle_link_broken(w, a, b);
}

void world_heal(struct sim *w, unsigned a, unsigned b)
{
	if (w->link[a][b] != LINK_DOWN || w->link[b][a] != LINK_DOWN)
		return;
	sim_tell(w, "hub %u and hub %u find each other", a, b);
	w->link[a][b] = w->link[b][a] = LINK_JOINING;
	w->breaks++;
}

void world_tell_links(struct sim *w, unsigned hub)
{
	for (unsigned peer = 0; peer < SIM_HUBS; peer++) {
		if (w->link[hub][peer] == LINK_LOST) {
			hub_peer_lost(w->hub[hub], peer, sim_now(w));
			w->link[hub][peer] = LINK_DOWN;
		} else if (w->link[hub][peer] == LINK_JOINING) {
			w->link[hub][peer] = LINK_UP;
			hub_peer_joined(w->hub[hub], peer, sim_now(w));
			w->synced_at[hub][peer] = w->box[hub][peer].posted;
		}
	}
}

bool world_knows(const struct sim *w, unsigned at, unsigned of)
{
	if (at == of || !w->o.nodes)
		return true;
	return w->link[at][of] == LINK_UP && w->link[of][at] == LINK_UP && w->box[of][at].taken >= w->synced_at[of][at];
}

/* ---- coming and going ----------------------------------------------------------------------------------------- */

static struct hub_options hub_options_of(struct sim *w, unsigned self)
{
	return (struct hub_options){
		.self = self,
		.peers = SIM_HUBS,
		.by_interest = w->o.nodes,
		.max_messages = { w->o.max_messages, (w->o.max_messages + 1) / 2 },
		.max_queue_bytes = w->o.max_queue_bytes,
		.max_total_bytes = w->o.max_total_bytes,
		.max_sessions_per_user = w->o.max_sessions,
		.login = w->o.login,
		.slow = w->o.slow,
		.ends = { [HUB_END_REPLACED] = { 4409, "replaced" },
			  [HUB_END_SLOW] = { 1013, "slow" },
			  [HUB_END_NO_MEMORY] = { 1013, "no memory" } },
		.ask_timeout_ms = w->o.ask_timeout_ms,
		.max_pending = w->o.max_pending,
		.seed = { w->o.seed, 17 },
		.route = route,
		.peer_send = peer_send,
		.ctx = &w->side[self],
	};
}

static void box_init(struct sim_box *b)
{
	b->last = &b->first;
}

struct sim *sim_new(const struct sim_opts *o)
{
	struct sim *w = mem_zalloc(sizeof(*w));

	if (!w)
		abort();
	w->o = *o;
	w->ms = 1000;
	rng_init_seed(&w->rng, o->seed);
	for (unsigned a = 0; a < SIM_HUBS; a++) {
		box_init(&w->inbox[a]);
		for (unsigned b = 0; b < SIM_HUBS; b++) {
			box_init(&w->box[a][b]);
			w->link[a][b] = o->nodes && a != b ? LINK_JOINING : LINK_UP;
		}
	}
	for (unsigned a = 0; a < SIM_HUBS; a++) {
		struct hub_options h = hub_options_of(w, a);

		w->side[a] = (struct sim_side){ w, a };
		w->hub[a] = hub_new(&h, sim_now(w));
		if (!w->hub[a])
			abort();
	}
	submit_init(w);
	for (unsigned a = 0; a < SIM_HUBS; a++)
		world_tell_links(w, a);
	return w;
}

void sim_free(struct sim *w)
{
	for (unsigned a = 0; a < SIM_HUBS; a++) {
		/* A hub of a story that failed may assert; it has said enough. */
		if (!w->failed)
			hub_free(w->hub[a]);
		box_empty(&w->inbox[a]);
		for (unsigned b = 0; b < SIM_HUBS; b++)
			box_empty(&w->box[a][b]);
	}
	submit_deinit(w);
	for (uint32_t i = 0; i < w->conns; i++) {
		if (w->conn[i]->s)
			mem_free(w->conn[i]->s);
		mem_free(w->conn[i]->due);
		mem_free(w->conn[i]);
	}
	buf_deinit(&w->story);
	mem_free(w);
}
