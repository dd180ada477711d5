/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chaos with a ledger: fifty senders write to fifty receivers and now and then broadcast, over WebSocket and HTTP; each
 * receiver has one device that stays, on a WebSocket or an event stream, and up to three that connect and leave, with a
 * close frame or without. Senders end their connection after some messages, by close frame, FIN or RST, and come back.
 * `ledger` knows which messages must come. Fewer than WINDOW messages are under way to one receiver, so no queue of the
 * server may overflow.
 *
 *   chaos PORT [MESSAGES [SEED]]
 *
 * needs a server without rate limits and with multi_login: allow. Prints one line for people and one of JSON, which counts
 * what the clients have seen, and ends with 0 when all was right.
 */
#include "chaos.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "../../bench/common.h"

enum {
	WINDOW = 60,
	BURST = 12,    /* messages of one sender between two looks at the sockets */
	PIPELINE = 16, /* HTTP requests without an answer */
	CHURN = 30,    /* one in so many messages makes a device come or go */
	EVENTS = 256,
	SMALL_RCVBUF = 4096,
	SETTLE_MS = 300, /* of silence: then nothing more is under way of connections that were torn */
};

/* What the server must have counted too. */
struct counts {
	uint64_t websockets, streams; /* that were accepted */
	uint64_t early;               /* that were reset before they were told so: accepted or not */
	uint64_t closes;              /* closing handshakes */
	uint64_t requests;            /* over HTTP, answered with 200 */
	uint64_t unicasts;            /* accepted: they came to the device that stays */
};

struct chaos {
	unsigned int port;
	struct counts counts;
	uint64_t total, opened, moved; /* moved: anything that happened, to see a standstill */
	int epoll;
	struct rng rng;
	struct ledger ledger;
	struct link *senders[SENDERS], *devices[RECEIVERS][DEVICES], *dead;
	uint32_t under_way[RECEIVERS];
	struct link_sink sink;
	char text[TEXT_MAX], body[TEXT_MAX + 256];
};

static bool all_written(const struct chaos *c)
{
	return c->ledger.written >= c->total;
}

static bool one_in(struct chaos *c, uint32_t n)
{
	return rng_below(&c->rng, n) == 0;
}

static void bury_later(struct chaos *c, struct link *k)
{
	if (k->is_source && c->senders[k->owner] == k)
		c->senders[k->owner] = NULL;
	if (!k->is_source)
		c->devices[k->owner][k->slot] = NULL;
	k->next_dead = c->dead;
	c->dead = k;
}

static void bury(struct chaos *c)
{
	struct link *k;

	while ((k = c->dead)) {
		c->dead = k->next_dead;
		reader_deinit(&k->reader);
		link_free(k);
	}
}

static const struct reader *anchor(const struct chaos *c, int receiver)
{
	return &c->devices[receiver][0]->reader;
}

/* ---- devices come and go ---- */

static void device_open(struct chaos *c, int receiver, int slot)
{
	char user[16];
	struct link *k;

	snprintf(user, sizeof(user), "r%d", receiver);
	/*
	 * The one that stays is a socket for even receivers, a stream for odd ones; every fifth takes in little at a
	 * time.
	 */
	k = link_open(c->epoll, c->port, (slot ? one_in(c, 2) : receiver % 2 == 0) ? LINK_WS : LINK_SSE, user,
		      slot || receiver % 5 ? 0 : SMALL_RCVBUF);
	k->owner = receiver;
	k->slot = slot;
	reader_init(&k->reader, &c->ledger, receiver, slot ? anchor(c, receiver) : NULL);
	c->devices[receiver][slot] = k;
	c->opened++;
	link_write(k, &c->rng);
}

/* It has every message that waited for it when it decided to leave. */
static void device_close(struct chaos *c, struct link *k)
{
	if (k->kind == LINK_WS && !one_in(c, 3)) {
		link_put_frame(k, 0x80 | OP_CLOSE, "\x03\xe8", 2, rng_next(&c->rng));
		while (k->out_len)
			link_write(k, &c->rng);
		k->state = LINK_ENDING;
	} else {
		link_reset(k);
		bury_later(c, k);
	}
}

static void device_leave(struct chaos *c, struct link *k)
{
	if (one_in(c, 3) || !k->reader.live) {
		c->counts.early += !k->reader.live;
		link_reset(k);
		bury_later(c, k);
		return;
	}
	k->leaving = true;
	reader_leave(&k->reader, &c->ledger, anchor(c, k->owner));
	if (k->reader.missing == 0)
		device_close(c, k);
}

static void churn(struct chaos *c)
{
	int receiver = (int)rng_below(&c->rng, RECEIVERS), slot = 1 + (int)rng_below(&c->rng, DEVICES - 1);
	struct link *k = c->devices[receiver][slot];

	if (!k)
		device_open(c, receiver, slot);
	else if (!k->leaving)
		device_leave(c, k);
}

/* ---- senders write, and reconnect ---- */

static void sender_open(struct chaos *c, int sender)
{
	char user[16];
	struct link *k;

	snprintf(user, sizeof(user), "s%d", sender);
	k = link_open(c->epoll, c->port, one_in(c, 3) ? LINK_HTTP : LINK_WS, user, 0);
	k->is_source = true;
	k->owner = sender;
	k->quota = 20 + rng_below(&c->rng, 400);
	k->source = ledger_source(&c->ledger, sender);
	reader_init(&k->reader, &c->ledger, NOBODY, NULL);
	c->senders[sender] = k;
	c->opened++;
	/* Some write right behind the handshake, in the same segment. */
	if (!one_in(c, 4))
		link_write(k, &c->rng);
}

static size_t some_pad(struct chaos *c)
{
	if (one_in(c, 2000))
		return rng_below(&c->rng, PAD_MAX);
	return rng_below(&c->rng, one_in(c, 50) ? 6000 : 60);
}

static void sender_put(struct chaos *c, struct link *k, int to, size_t pad)
{
	size_t text = ledger_write(&c->ledger, k->source, to, pad, c->text);
	char user[16];
	int n;

	k->quota--;
	c->moved++;
	snprintf(user, sizeof(user), "s%d", k->owner);
	if (to == EVERYBODY)
		n = snprintf(c->body, sizeof(c->body), "{\"content\":\"%.*s\"}", (int)text, c->text);
	else
		n = snprintf(c->body, sizeof(c->body), "{\"to\":\"r%d\",\"content\":\"%.*s\"}", to, (int)text, c->text);
	if (k->kind == LINK_WS)
		link_put_text(k, &c->rng, c->body, (size_t)n);
	else
		link_put_request(k, to == EVERYBODY ? "broadcast" : "send", user, c->body, (size_t)n);
}

static bool wants_to_write(const struct chaos *c, const struct link *k)
{
	return k->state != LINK_ENDING && k->quota > 0 && !all_written(c) && k->unanswered < PIPELINE;
}

static void sender_burst(struct chaos *c, struct link *k)
{
	uint32_t n = 1 + rng_below(&c->rng, BURST);
	int to;

	for (; n > 0 && wants_to_write(c, k); n--) {
		to = (int)rng_below(&c->rng, RECEIVERS);
		if (k->kind == LINK_HTTP && one_in(c, 150))
			sender_put(c, k, EVERYBODY, 20);
		else if (c->under_way[to] < WINDOW) {
			c->under_way[to]++;
			sender_put(c, k, to, some_pad(c));
		}
		if (one_in(c, CHURN))
			churn(c);
	}
	link_write(k, &c->rng);
}

/* Messages that a torn connection had under way may never come: they no longer count in the window. */
static void sender_tear(struct chaos *c, struct link *k)
{
	struct source *s = &c->ledger.sources[k->source];
	const struct reader *r;
	uint32_t have;
	int i;

	s->torn = true;
	for (i = 0; i < RECEIVERS; i++) {
		r = anchor(c, i);
		have = k->source < r->count ? r->seen[k->source].lane[UNICAST].next : 0;
		c->under_way[i] -= s->sent[i] - have;
	}
	link_reset(k);
	bury_later(c, k);
}

static void sender_end(struct chaos *c, struct link *k)
{
	uint32_t how = rng_below(&c->rng, 8);

	if (k->kind == LINK_WS && how == 0) {
		sender_tear(c, k);
		return;
	}
	if (k->kind == LINK_WS && how > 2) {
		link_put_frame(k, 0x80 | OP_CLOSE, "\x03\xe8", 2, rng_next(&c->rng));
		while (k->out_len)
			link_write(k, &c->rng);
		k->state = LINK_ENDING;
	} else {
		link_fin(k);
	}
}

static void senders_turn(struct chaos *c)
{
	struct link *k;
	int i;

	for (i = 0; i < SENDERS; i++) {
		k = c->senders[i];
		if (!k && !all_written(c))
			sender_open(c, i);
		else if (k && k->out_len == 0 && k->state == LINK_LIVE && (k->quota == 0 || all_written(c)))
			sender_end(c, k);
		else if (k && k->state == LINK_OPENING && c->senders[i]->quota > 0 && k->out_len > 0)
			sender_burst(c, k);
		else if (k && k->state == LINK_LIVE && k->out_len == 0)
			sender_burst(c, k);
	}
}

/* ---- input ---- */

static void on_live(void *user, struct link *k)
{
	struct chaos *c = user;

	c->moved++;
	if (k->kind == LINK_WS)
		c->counts.websockets++;
	else
		c->counts.streams++;
	reader_live(&k->reader, &c->ledger);
}

static void on_message(void *user, struct link *k, const char *text, size_t len)
{
	struct chaos *c = user;
	bool cast = memmem(text, len, "\"to\":\"\"", 7) != NULL;
	uint32_t source = reader_take(&k->reader, &c->ledger, text, len);

	c->moved++;
	c->counts.unicasts += !k->is_source && k->slot == 0 && !cast;
	if (!k->is_source && k->slot == 0 && !cast && !c->ledger.sources[source].torn)
		c->under_way[k->owner]--;
	if (k->leaving && k->state == LINK_LIVE && k->reader.missing == 0)
		device_close(c, k);
}

static void on_ended(void *user, struct link *k)
{
	struct chaos *c = user;

	c->moved++;
	c->counts.closes += k->said_close;
	c->counts.requests += k->answered;
	bury_later(c, k);
}

/* ---- the whole ---- */

static uint64_t lacking(const struct chaos *c)
{
	uint64_t lacks = 0;
	int r, d;

	for (r = 0; r < RECEIVERS; r++)
		for (d = 0; d < DEVICES; d++)
			if (c->devices[r][d])
				lacks += reader_lacks(&c->devices[r][d]->reader, &c->ledger) +
					 !c->devices[r][d]->reader.live;
	return lacks;
}

static bool at_rest(const struct chaos *c)
{
	int i;

	for (i = 0; i < SENDERS; i++)
		if (c->senders[i])
			return false;
	return lacking(c) == 0;
}

__attribute__((noreturn)) static void standstill(const struct chaos *c)
{
	const struct link *k;
	int i, d;

	for (i = 0; i < SENDERS; i++) {
		k = c->senders[i];
		if (k)
			fprintf(stderr, "s%d: kind %d state %d, %zu bytes unwritten, %u unanswered\n", i, k->kind,
				k->state, k->out_len, k->unanswered);
	}
	for (i = 0; i < RECEIVERS; i++) {
		for (d = 0; d < DEVICES; d++) {
			k = c->devices[i][d];
			if (k && reader_lacks(&k->reader, &c->ledger))
				fprintf(stderr, "r%d device %d: kind %d state %d%s, lacks %lu\n", i, d, k->kind,
					k->state, k->leaving ? " leaving" : "",
					(unsigned long)reader_lacks(&k->reader, &c->ledger));
		}
	}
	die("FAILED: nothing moves any more: %lu of %lu written, %lu have not come", (unsigned long)c->ledger.written,
	    (unsigned long)c->total, (unsigned long)lacking(c));
}

static void look(struct chaos *c)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(c->epoll, events, EVENTS, 1), i;
	struct link *k;

	for (i = 0; i < n; i++) {
		k = events[i].data.ptr;
		if (k->state != LINK_DEAD && (events[i].events & EPOLLOUT))
			link_write(k, &c->rng);
		if (k->state != LINK_DEAD && (events[i].events & ~(uint32_t)EPOLLOUT))
			link_read(k, &c->sink);
	}
	bury(c);
}

static void wait_for_anchors(struct chaos *c)
{
	int i;

	for (i = 0; i < RECEIVERS; i++)
		device_open(c, i, 0);
	for (i = 0; i < RECEIVERS;) {
		look(c);
		while (i < RECEIVERS && anchor(c, i)->live)
			i++;
	}
}

static void play(struct chaos *c, uint64_t patience_ns)
{
	uint64_t last = now_ns(), moved = c->moved;

	wait_for_anchors(c);
	while (!all_written(c) || !at_rest(c)) {
		senders_turn(c);
		look(c);
		if (c->moved != moved)
			last = now_ns();
		moved = c->moved;
		if (now_ns() - last > patience_ns)
			standstill(c);
	}
}

static bool is_closing(const struct chaos *c)
{
	int r, d;

	for (r = 0; r < RECEIVERS; r++)
		for (d = 0; d < DEVICES; d++)
			if (c->devices[r][d] && c->devices[r][d]->state == LINK_ENDING)
				return true;
	return false;
}

/* What torn connections had under way still comes, and devices that are closing hear the answer. */
static void settle(struct chaos *c)
{
	uint64_t last = now_ns(), moved = c->moved, silence = (getenv("TEST_SLOW") ? 10u : 1u) * SETTLE_MS * 1000000ull;

	while (is_closing(c) || now_ns() - last < silence) {
		look(c);
		if (c->moved != moved)
			last = now_ns();
		moved = c->moved;
	}
}

static void print_counts(const struct chaos *c)
{
	const struct counts *n = &c->counts;

	printf("{\"websockets\":%lu,\"streams\":%lu,\"early\":%lu,\"closes\":%lu,\"requests\":%lu,\"unicasts\":%lu,"
	       "\"broadcasts\":%lu,\"deliveries\":%lu}\n",
	       (unsigned long)n->websockets, (unsigned long)n->streams, (unsigned long)n->early,
	       (unsigned long)n->closes, (unsigned long)n->requests, (unsigned long)n->unicasts,
	       (unsigned long)c->ledger.casts, (unsigned long)c->ledger.deliveries);
}

static void goodbye(struct chaos *c)
{
	int r, d;

	for (r = 0; r < RECEIVERS; r++) {
		for (d = 0; d < DEVICES; d++) {
			if (!c->devices[r][d])
				continue;
			link_reset(c->devices[r][d]);
			bury_later(c, c->devices[r][d]);
		}
	}
	bury(c);
	free(c->ledger.sources);
	close(c->epoll);
	free(c);
}

int main(int argc, char **argv)
{
	struct chaos *c = must_alloc(1, sizeof(*c));
	uint64_t seed =
		argc > 3 ? must_number(argv[3], "SEED", UINT32_MAX) : (uint32_t)(now_ns() ^ (uint64_t)time(NULL) << 20);
	uint64_t start = now_ns();

	if (argc < 2 || argc > 4)
		die("usage: chaos PORT [MESSAGES [SEED]]");
	c->port = (unsigned int)must_number(argv[1], "PORT", 65535);
	c->total = argc > 2 ? must_number(argv[2], "MESSAGES", 1000000000) : 100000;
	c->rng.state = seed;
	c->sink = (struct link_sink){ .user = c, .live = on_live, .message = on_message, .ended = on_ended };
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll < 0)
		die_errno("epoll_create1");
	fprintf(stderr, "seed %lu\n", (unsigned long)seed);
	play(c, getenv("TEST_SLOW") ? 120000000000u : 20000000000u);
	printf("%lu messages and %lu broadcasts came %lu times to their receivers, in order; %lu connections; %.1f s\n",
	       (unsigned long)c->ledger.written, (unsigned long)c->ledger.casts, (unsigned long)c->ledger.deliveries,
	       (unsigned long)c->opened, (double)(now_ns() - start) / 1e9);
	settle(c);
	print_counts(c);
	goodbye(c);
	return 0;
}
