/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages that were written and that must come. Every content names its source, its receiver, its number in its
 * lane and its place among all messages of the source: "12.7.40.911.aaaa". So each reader can tell alone whether a
 * message is missing, came twice, came too early or was meant for another receiver. A device that connects late may
 * begin in the middle, but not behind a message written after it was live, and not before a message that its user's
 * first device already had when it connected.
 */
#include "chaos.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bench/common.h"

uint32_t ledger_source(struct ledger *l, int sender)
{
	if (l->count == l->room) {
		l->room = l->room ? 2 * l->room : 256;
		l->sources = must_grow(l->sources, l->room * sizeof(*l->sources));
	}
	memset(&l->sources[l->count], 0, sizeof(*l->sources));
	l->sources[l->count].sender = sender;
	return l->count++;
}

static char pad_of(uint32_t order)
{
	return (char)('a' + order % 26);
}

size_t ledger_write(struct ledger *l, uint32_t source, int to, size_t pad, char text[TEXT_MAX])
{
	struct source *s = &l->sources[source];
	uint32_t number = to == EVERYBODY ? s->casts++ : s->sent[to]++;
	int head;

	if (to == EVERYBODY)
		l->casts++;
	else
		l->written++;
	head = snprintf(text, TEXT_MAX, "%u.%d.%u.%u.", source, to, number, s->order);
	memset(text + head, pad_of(s->order), pad);
	s->order++;
	return (size_t)head + pad;
}

static void reader_grow(struct reader *r, uint32_t count)
{
	if (count <= r->count)
		return;
	r->seen = must_grow(r->seen, (count + 64) * sizeof(*r->seen));
	memset(&r->seen[r->count], 0, (count + 64 - r->count) * sizeof(*r->seen));
	r->count = count + 64;
}

static uint32_t written(const struct ledger *l, uint32_t source, int lane, int receiver)
{
	if (lane == BROADCAST)
		return l->sources[source].casts;
	return receiver == NOBODY ? 0 : l->sources[source].sent[receiver];
}

/* The number behind the last that @r has, or need not have. */
static uint32_t reached(const struct reader *r, uint32_t source, int lane)
{
	const struct lane *n;

	if (source >= r->count)
		return 0;
	n = &r->seen[source].lane[lane];
	return n->begun ? n->next : n->high;
}

void reader_init(struct reader *r, const struct ledger *l, int receiver, const struct reader *anchor)
{
	uint32_t s;
	int lane;

	*r = (struct reader){ .receiver = receiver };
	reader_grow(r, l->count);
	for (s = 0; anchor && s < l->count; s++)
		for (lane = 0; lane < LANES; lane++)
			r->seen[s].lane[lane].low = reached(anchor, s, lane);
}

void reader_live(struct reader *r, const struct ledger *l)
{
	uint32_t s;
	int lane;

	reader_grow(r, l->count);
	for (s = 0; s < l->count; s++)
		for (lane = 0; lane < LANES; lane++)
			r->seen[s].lane[lane].high = written(l, s, lane, r->receiver);
	r->live = true;
}

void reader_leave(struct reader *r, const struct ledger *l, const struct reader *anchor)
{
	uint32_t s, have, goal;
	int lane;

	reader_grow(r, l->count);
	for (s = 0; s < l->count; s++) {
		for (lane = 0; lane < LANES; lane++) {
			have = reached(r, s, lane);
			goal = reached(anchor, s, lane);
			r->seen[s].lane[lane].goal = goal;
			r->missing += goal > have ? goal - have : 0;
		}
	}
}

uint64_t reader_lacks(const struct reader *r, const struct ledger *l)
{
	uint64_t lacks = 0;
	uint32_t s, all, have;
	int lane;

	for (s = 0; s < l->count; s++) {
		if (l->sources[s].torn)
			continue;
		for (lane = 0; lane < LANES; lane++) {
			all = written(l, s, lane, r->receiver);
			have = reached(r, s, lane);
			lacks += all > have ? all - have : 0;
		}
	}
	return lacks;
}

void reader_deinit(struct reader *r)
{
	free(r->seen);
}

/* ---- input ---- */

struct piece {
	const char *at;
	size_t len;
};

__attribute__((noreturn)) static void wrong(const struct reader *r, const char *what, const char *text, size_t len)
{
	die("FAILED: a device of r%d: %s: %.*s", r->receiver, what, (int)(len < 300 ? len : 300), text);
}

/* The value of the next string member, which must be @key; moves *@at behind it. Our texts need no escapes. */
static struct piece member(const char **at, const char *end, const char *key)
{
	size_t key_len = strlen(key);
	struct piece p = { NULL, 0 };
	const char *quote;

	if ((size_t)(end - *at) < key_len + 5 || **at != (*key == 'i' ? '{' : ',') || (*at)[1] != '"' ||
	    memcmp(*at + 2, key, key_len) != 0 || memcmp(*at + 2 + key_len, "\":\"", 3) != 0)
		return p;
	*at += key_len + 5;
	quote = memchr(*at, '"', (size_t)(end - *at));
	if (!quote)
		return p;
	p = (struct piece){ *at, (size_t)(quote - *at) };
	*at = quote + 1;
	return p;
}

static bool piece_is(struct piece p, const char *text)
{
	return p.at && p.len == strlen(text) && memcmp(p.at, text, p.len) == 0;
}

struct numbers {
	uint32_t source, number, order;
	int to;
};

static bool read_numbers(struct numbers *n, struct piece content)
{
	char head[64] = "";
	int used = 0;
	size_t i;

	memcpy(head, content.at, content.len < sizeof(head) ? content.len : sizeof(head) - 1);
	if (sscanf(head, "%u.%d.%u.%u.%n", &n->source, &n->to, &n->number, &n->order, &used) != 4 || used == 0)
		return false;
	for (i = (size_t)used; i < content.len; i++)
		if (content.at[i] != pad_of(n->order))
			return false;
	return true;
}

static const char *fault_of(const struct lane *lane, uint32_t number)
{
	if (lane->begun)
		return number < lane->next   ? "came twice, or late"
		       : number > lane->next ? "something before it is lost"
					     : NULL;
	if (number < lane->low)
		return "is older than the connection";
	return number > lane->high ? "something before it is lost, at the beginning" : NULL;
}

static uint32_t to_goal(const struct reader *r, uint32_t source, int lane)
{
	uint32_t have = reached(r, source, lane), goal = r->seen[source].lane[lane].goal;

	return goal > have ? goal - have : 0;
}

static void count(struct reader *r, const struct numbers *n)
{
	int which = n->to == EVERYBODY ? BROADCAST : UNICAST;
	struct lane *lane = &r->seen[n->source].lane[which];

	r->missing -= to_goal(r, n->source, which);
	lane->next = n->number + 1;
	lane->begun = true;
	r->missing += to_goal(r, n->source, which);
	r->seen[n->source].order = n->order + 1;
}

uint32_t reader_take(struct reader *r, struct ledger *l, const char *text, size_t len)
{
	const char *at = text, *end = text + len, *fault;
	struct piece id = member(&at, end, "id"), type = member(&at, end, "type"), from = member(&at, end, "from"),
		     to = member(&at, end, "to"), content = member(&at, end, "content");
	struct numbers n;
	char name[32];

	if (!id.len || !content.at || !read_numbers(&n, content))
		wrong(r, "not a message of this program", text, len);
	if (n.source >= l->count)
		wrong(r, "of a source that is none", text, len);
	snprintf(name, sizeof(name), "s%d", l->sources[n.source].sender);
	if (!piece_is(from, name))
		wrong(r, "from another sender", text, len);
	snprintf(name, sizeof(name), "r%d", n.to);
	if (n.to != EVERYBODY && n.to != r->receiver)
		wrong(r, "it is for another user", text, len);
	if (!piece_is(to, n.to == EVERYBODY ? "" : name) || !piece_is(type, n.to == EVERYBODY ? "notice" : "text"))
		wrong(r, "type or to has changed", text, len);
	reader_grow(r, n.source + 1);
	fault = fault_of(&r->seen[n.source].lane[n.to == EVERYBODY ? BROADCAST : UNICAST], n.number);
	if (!fault && n.order < r->seen[n.source].order)
		fault = "overtaken by a later message of the same connection";
	if (fault)
		wrong(r, fault, text, len);
	count(r, &n);
	l->deliveries++;
	return n.source;
}
