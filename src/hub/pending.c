/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending: outcomes until they are reported, and the queue of all requests. An outcome that waits for peers has a name
 * (slot and generation) that is sent with the relay; only an answer with this name, from a peer that still owes it,
 * counts. It ends once: when all peers have answered or are lost, or at its timeout.
 */
#include <assert.h>

#include "base/mem.h"
#include "hub/hub_state.h"

#define SLOTS_FIRST 64u

/* ---- requests ------------------------------------------------------------------------------------------------- */

void call_push(struct hub *h, struct hub_call *c, enum hub_request_type type)
{
	assert(list_empty(&c->link));
	c->type = (uint8_t)type;
	list_push(&h->requests, &c->link);
	h->requests_count++;
}

void call_cancel(struct hub *h, struct hub_call *c)
{
	if (list_empty(&c->link))
		return;
	list_remove(&c->link);
	h->requests_count--;
}

size_t hub_requests(const struct hub *h)
{
	return h->requests_count;
}

static void fill_outcome(struct hub *h, struct hub_call *c, struct hub_request *r)
{
	struct outcome *o = container_of(c, struct outcome, call);

	h->taken = o;
	r->token = o->token;
	r->result = (enum hub_result)o->result;
	r->delivered = o->delivered;
	r->scope = o->scope;
	r->to = bytes_of(o->text, o->to_len);
	r->ref = bytes_of(o->text + o->to_len, o->ref_len);
}

static void fill_load(struct hub *h, struct session *s, struct hub_request *r)
{
	uint32_t count = limit_messages(h, s), bytes = limit_bytes(h);

	count = count / 2 + count % 2;
	bytes = bytes / 2 + bytes % 2;
	s->missed = false;
	r->after = s->position;
	r->room = count > s->q.count ? count - s->q.count : 1;
	r->room_bytes = bytes > s->q.bytes ? bytes - s->q.bytes : 0;
}

bool hub_take_request(struct hub *h, struct hub_request *r)
{
	struct list *n;
	struct hub_call *c;

	outcome_free(h->taken);
	h->taken = NULL;
	n = list_pop(&h->requests);
	if (!n)
		return false;
	h->requests_count--;
	c = container_of(n, struct hub_call, link);
	*r = (struct hub_request){ .type = (enum hub_request_type)c->type };
	if (r->type == HUB_REQ_OUTCOME) {
		fill_outcome(h, c, r);
		return true;
	}
	r->session = container_of(c, struct session_attrs, call)->session;
	r->token = r->session->handle;
	if (r->type == HUB_REQ_LOAD)
		fill_load(h, r->session, r);
	return true;
}

/* ---- outcomes ------------------------------------------------------------------------------------------------- */

struct outcome *outcome_new(uint8_t scope, struct bytes to, struct bytes ref, uint64_t token)
{
	struct outcome *o;

	if (to.len > UINT16_MAX || ref.len > UINT16_MAX)
		return NULL;
	o = mem_zalloc(sizeof(*o) + to.len + ref.len);
	if (!o)
		return NULL;
	list_init(&o->call.link);
	list_init(&o->by_age);
	o->slot = SLOT_NONE;
	o->scope = scope;
	o->token = token;
	o->to_len = (uint16_t)to.len;
	o->ref_len = (uint16_t)ref.len;
	if (to.len)
		memcpy(o->text, to.at, to.len);
	if (ref.len)
		memcpy(o->text + to.len, ref.at, ref.len);
	return o;
}

void outcome_free(struct outcome *o)
{
	if (o)
		mem_free(o);
}

static enum hub_result result_of(const struct outcome *o)
{
	if (o->delivered)
		return HUB_DELIVERED;
	return o->unsure ? HUB_TIMED_OUT : HUB_NOBODY;
}

void outcome_report(struct hub *h, struct outcome *o)
{
	o->result = (uint8_t)result_of(o);
	if (o->only_failures && o->result == HUB_DELIVERED)
		outcome_free(o);
	else
		call_push(h, &o->call, HUB_REQ_OUTCOME);
}

/* ---- slots ---------------------------------------------------------------------------------------------------- */

static int grow_slots(struct hub *h)
{
	uint32_t cap = h->slots_cap ? h->slots_cap * 2 : SLOTS_FIRST;
	struct outcome_slot *grown;

	if (cap > h->o.max_pending)
		cap = h->o.max_pending;
	if (cap <= h->slots_cap)
		return HUB_BUSY;
	grown = mem_realloc(h->slots, cap * sizeof(*grown));
	if (!grown)
		return -WSC_ENOMEM;
	h->slots = grown;
	for (uint32_t i = h->slots_cap; i < cap; i++) {
		grown[i] = (struct outcome_slot){ .next_free = h->slots_free };
		h->slots_free = i;
	}
	h->slots_cap = cap;
	return 0;
}

uint64_t pending_add(struct hub *h, struct outcome *o, uint64_t peers, struct now now, int *err)
{
	struct outcome_slot *slot;

	*err = h->slots_free == SLOT_NONE ? grow_slots(h) : 0;
	if (*err)
		return 0;
	o->slot = h->slots_free;
	slot = &h->slots[o->slot];
	h->slots_free = slot->next_free;
	slot->outcome = o;
	slot->generation++;
	o->owed = peers;
	o->due_ms = now_ms(now) + h->o.ask_timeout_ms;
	list_push(&h->asked, &o->by_age);
	return (uint64_t)slot->generation << 32 | o->slot;
}

static void free_slot(struct hub *h, struct outcome *o)
{
	list_remove(&o->by_age);
	h->slots[o->slot].outcome = NULL;
	h->slots[o->slot].next_free = h->slots_free;
	h->slots_free = o->slot;
	o->slot = SLOT_NONE;
}

void pending_cancel(struct hub *h, struct outcome *o)
{
	free_slot(h, o);
	outcome_free(o);
}

static void finish(struct hub *h, struct outcome *o)
{
	free_slot(h, o);
	outcome_report(h, o);
}

static struct outcome *find(const struct hub *h, uint64_t name)
{
	uint32_t slot = (uint32_t)name;

	if (slot >= h->slots_cap || h->slots[slot].generation != name >> 32)
		return NULL;
	return h->slots[slot].outcome;
}

void pending_answer(struct hub *h, unsigned peer, uint64_t name, uint32_t delivered, bool unsure)
{
	struct outcome *o = find(h, name);

	if (!o || !(o->owed & peer_bit(peer)))
		return;
	o->owed &= ~peer_bit(peer);
	o->delivered += delivered;
	o->unsure |= unsure;
	if (!o->owed)
		finish(h, o);
}

void pending_peer_lost(struct hub *h, unsigned peer)
{
	struct list *n, *next;

	for (n = h->asked.next; n != &h->asked; n = next) {
		struct outcome *o = container_of(n, struct outcome, by_age);

		next = n->next;
		if (!(o->owed & peer_bit(peer)))
			continue;
		o->owed &= ~peer_bit(peer);
		o->unsure = true;
		if (!o->owed)
			finish(h, o);
	}
}

void pending_expire(struct hub *h, struct now now)
{
	while (!list_empty(&h->asked)) {
		struct outcome *o = container_of(h->asked.next, struct outcome, by_age);

		if (o->due_ms > now_ms(now))
			return;
		o->unsure = true;
		finish(h, o);
	}
}

void pending_deinit(struct hub *h)
{
	struct list *n;

	outcome_free(h->taken);
	while ((n = list_pop(&h->asked)))
		outcome_free(container_of(n, struct outcome, by_age));
	while ((n = list_pop(&h->requests)))
		outcome_free(container_of(container_of(n, struct hub_call, link), struct outcome, call));
	if (h->slots)
		mem_free(h->slots);
}
