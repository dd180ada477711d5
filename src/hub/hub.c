/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub: creates and frees the hub. hub_state.h names its parts.
 */
#include <assert.h>

#include "base/mem.h"
#include "hub/hub_state.h"

static void check_options(const struct hub_options *o)
{
	assert(o->peers >= 1 && o->peers <= HUB_PEERS_MAX && o->self < o->peers);
	assert(o->max_messages[HUB_WEBSOCKET] >= 1 && o->max_messages[HUB_SSE] >= 1 && o->max_queue_bytes >= 1);
	assert(o->by_interest || o->route || o->peers == 1);
	assert(o->peer_send || o->peers == 1);
	for (unsigned i = 0; i < HUB_ENDS; i++)
		assert(o->ends[i].code && o->ends[i].reason);
	(void)o;
}

static uint64_t all_but(unsigned self, unsigned peers)
{
	uint64_t all = peers == 64 ? UINT64_MAX : peer_bit(peers) - 1;

	return all & ~peer_bit(self);
}

struct hub *hub_new(const struct hub_options *o, struct now now)
{
	struct hub *h = mem_zalloc(sizeof(*h));

	(void)now;
	check_options(o);
	if (!h)
		return NULL;
	h->o = *o;
	if (!h->o.ask_timeout_ms)
		h->o.ask_timeout_ms = 1;
	h->live = o->by_interest ? 0 : all_but(o->self, o->peers);
	h->slots_free = SLOT_NONE;
	list_init(&h->all_sessions);
	list_init(&h->requests);
	list_init(&h->asked);
	for (unsigned i = 0; i <= PLACE_HELD; i++)
		list_init(&h->places[i]);
	if (tables_init(h) < 0) {
		mem_free(h);
		return NULL;
	}
	return h;
}

void hub_free(struct hub *h)
{
	if (!h)
		return;
	assert(list_empty(&h->all_sessions));
	pending_deinit(h);
	tables_deinit(h);
	outq_pool_deinit(&h->pool);
	msg_owner_deinit(&h->owner);
	mem_free(h);
}

struct msg_owner *hub_owner(struct hub *h)
{
	return &h->owner;
}

const struct hub_counters *hub_counters(const struct hub *h)
{
	return &h->counters;
}

uint64_t hub_deadline(const struct hub *h)
{
	if (list_empty(&h->asked))
		return UINT64_MAX;
	return container_of(h->asked.next, struct outcome, by_age)->due_ms;
}
