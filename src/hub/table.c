/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: users and tickets by name, and queries about them. A user is in the table while it has a session here or on a
 * peer; a ticket while a session has it. A page of users continues after a name, in the stable order of the table, so
 * it survives the growth of the table and the removal of the user at which it stopped.
 */
#include <assert.h>

#include "base/mem.h"
#include "hub/hub_state.h"

static struct user *user_of(const struct map_node *n)
{
	return n ? (struct user *)(void *)((char *)(uintptr_t)n - offsetof(struct user, node)) : NULL;
}

static struct ticket *ticket_of(const struct map_node *n)
{
	return n ? (struct ticket *)(void *)((char *)(uintptr_t)n - offsetof(struct ticket, node)) : NULL;
}

static struct bytes user_key(const struct map_node *n)
{
	return user_name(user_of(n));
}

static struct bytes ticket_key(const struct map_node *n)
{
	const struct ticket *t = ticket_of(n);

	return bytes_of(t->id, t->id_len);
}

int tables_init(struct hub *h)
{
	int err = map_init(&h->users, h->o.seed, user_key);

	if (err < 0)
		return err;
	err = map_init(&h->tickets, h->o.seed, ticket_key);
	if (err < 0)
		map_deinit(&h->users);
	return err;
}

/* Only users of peers can be left here: without sessions there are no tickets. */
void tables_deinit(struct hub *h)
{
	struct user *u = user_after(h, NULL), *next;

	for (; u; u = next) {
		next = user_after(h, u);
		map_remove(&h->users, &u->node);
		mem_free(u);
	}
	assert(h->tickets.count == 0);
	map_deinit(&h->users);
	map_deinit(&h->tickets);
}

struct user *user_find(const struct hub *h, struct bytes id, uint64_t hash)
{
	return user_of(map_find(&h->users, id, hash));
}

static void *record_new(size_t head, size_t least, struct bytes id)
{
	size_t n = head + id.len + 1; /* a NUL after the id, because hooks get it as a C string */
	char *p;

	if (id.len == 0 || id.len > UINT16_MAX)
		return NULL;
	p = mem_zalloc(n > least ? n : least);
	if (p)
		memcpy(p + head, id.at, id.len);
	return p;
}

struct user *user_hidden(struct bytes id)
{
	struct user *u = record_new(offsetof(struct user, id), sizeof(*u), id);

	if (!u)
		return NULL;
	u->id_len = (uint16_t)id.len;
	list_init(&u->sessions);
	return u;
}

struct user *user_get(struct hub *h, struct bytes id, uint64_t hash)
{
	struct user *u = user_find(h, id, hash);

	if (u)
		return u;
	u = user_hidden(id);
	if (u)
		map_insert(&h->users, &u->node, hash);
	return u;
}

void user_release(struct hub *h, struct user *u)
{
	if (!list_empty(&u->sessions) || u->interest)
		return;
	map_remove(&h->users, &u->node);
	mem_free(u);
}

struct user *user_after(const struct hub *h, const struct user *u)
{
	return user_of(u ? map_after(&h->users, user_name(u), u->node.hash) : map_first(&h->users));
}

struct ticket *ticket_find(const struct hub *h, struct bytes id)
{
	return ticket_of(map_find(&h->tickets, id, map_hash(&h->tickets, id)));
}

struct ticket *ticket_get(struct hub *h, struct bytes id)
{
	struct ticket *t = ticket_find(h, id);

	if (t)
		return t;
	t = record_new(offsetof(struct ticket, id), sizeof(*t), id);
	if (!t)
		return NULL;
	t->id_len = (uint16_t)id.len;
	list_init(&t->sessions);
	map_insert(&h->tickets, &t->node, map_hash(&h->tickets, id));
	return t;
}

void ticket_release(struct hub *h, struct ticket *t)
{
	if (!list_empty(&t->sessions))
		return;
	map_remove(&h->tickets, &t->node);
	mem_free(t);
}

/* ---- queries -------------------------------------------------------------------------------------------------- */

struct user *hub_find(const struct hub *h, struct bytes user_id)
{
	return user_find(h, user_id, map_hash(&h->users, user_id));
}

static void row_add(struct hub_user_row *row, const struct session *s)
{
	bool first = row->connections++ == 0;

	if (first || s->connected_wall_ms < row->connected_wall_ms)
		row->connected_wall_ms = s->connected_wall_ms;
	/* Timestamps wrap at 2^32: the later of two is ahead by less than 2^31. */
	if (first || (int32_t)(s->last_rx_ms - row->last_rx_ms) > 0)
		row->last_rx_ms = s->last_rx_ms;
	if (first)
		row->user_type = s->user_type;
	if (first || s->transport == HUB_WEBSOCKET)
		row->transport = s->transport;
}

void hub_row(const struct user *u, struct hub_user_row *row)
{
	*row = (struct hub_user_row){ .user_id = user_name(u) };
	for (struct list *n = u->sessions.next; n != &u->sessions; n = n->next)
		if (session_accepted(session_of_user(n)))
			row_add(row, session_of_user(n));
}

bool hub_next_user(const struct hub *h, const struct bytes *after, struct hub_user_row *row)
{
	const struct user *u =
		after ? user_of(map_after(&h->users, *after, map_hash(&h->users, *after))) : user_after(h, NULL);

	while (u && u->accepted == 0)
		u = user_after(h, u);
	if (!u)
		return false;
	hub_row(u, row);
	return true;
}

struct session *hub_next_session(const struct hub *h, const struct session *s)
{
	struct list *n = s ? s->all.next : h->all_sessions.next;

	return n == &h->all_sessions ? NULL : session_of_all(n);
}

uint32_t hub_user_sessions(const struct session *s)
{
	return s->user->count;
}
