/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_connection: a whole gateway with its workers, hubs and connections, on the machine of connection/kernel.h, and
 * clients that read with connection/reader.h. The input is a little program: clients connect, send bytes in any cuts,
 * stop reading, leave or reset; the program behind the gateway sends, kicks and answers its hooks; the clock moves.
 * README.md beside this has the instructions.
 *
 * Checked at every step: the server's output is well-formed to the last byte (reader.c); nothing from a frame that
 * breaks the protocol is delivered; a message reaches only its receivers, once, in the order of its sender; the server
 * comes to rest, and sleeps; no connection holds more than its bounds. Before the end: each client still connected has
 * got every accepted message, or a gap notice; each client that the server closed got the reason; the sums of the
 * statistics are right. At the end, all clients gone: no connection, session, message byte, timer or descriptor is
 * left. All of it holds over plain sockets, through compression (connection/zip.h) and through TLS
 * (connection/secure.h) alike.
 */
/* Shows: threat 2, threat 22, threat 30, threat 33, threat 62, threat 137, threat 139 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "http/http.h"
#include "connection/kernel.h"
#include "connection/reader.h"
#include "connection/secure.h"
#include "fuzz.h"
#include "worker/worker.h"
#include "wsc/wsc.h"

#define HEAD 4u /* bytes of the input in front of the instructions */
#define MORE 2u /* and of a head that is longer */
#define PORT 8080
#define TLS_PORT 8443
#define ROTATION_MS 10000u
#define HEADER_MS 1000u /* header_timeout */
#define GONE_MS 6000u   /* header_timeout, the time for an answer to it, and some */
#define SLOTS 8u
#define USERS 4u
#define TICKETS 2u
#define SENT_MAX 256u
#define PENDING_MAX 64u
#define ASKED_MAX 128u
#define TOKEN_LEN 16
#define PROGRAM KERNEL_CLIENTS /* as a sender */
#define NOBODY UINT16_MAX
#define LONG_PAD 840u /* of content that no deflating leaves as long as it is */

enum peer_kind { PEER_RAW, PEER_WS, PEER_SSE, PEER_HTTP };

/* permessage-deflate, as a client has offered it. */
struct offer {
	bool made, server_no_takeover, client_no_takeover, client_asked;
	unsigned server_bits, client_bits; /* 0: none named */
};

struct peer {
	int at; /* of the kernel */
	enum peer_kind kind;
	struct reader r;
	int user, ticket; /* -1: none, or unknown */
	bool clean;       /* it has sent only bytes known to be right */
	bool stalled, was_stalled;
	bool left;            /* it has ended its side, reset, or sent a close frame */
	bool asked_to_close;  /* it has sent a close frame, a right one, and reads on */
	bool over;            /* the server has ended */
	bool lossy;           /* something of it was refused without a name */
	bool broken;          /* it broke the protocol on an open WebSocket */
	unsigned broken_code; /* the close code for that */
	struct offer offer;
	struct {
		struct secure *end;        /* NULL: it speaks plainly */
		bool heard;                /* the server has said something */
		bool in_clear;             /* and said it in the clear */
		bool broken;               /* the client breaks TLS */
		bool goodbye;              /* it has said close_notify */
		bool checked;              /* the outcome of the handshake was checked */
		bool hopeless;             /* it asks for a version or protocol that the server refuses */
		bool astray;               /* it speaks TLS on the plain port, or not on the TLS port */
		size_t cut;                /* bytes per turn on the wire; 0: all */
		size_t left;               /* bytes until it says nothing any more; SIZE_MAX: never */
		uint64_t ms, held_ms;      /* when it dialled; the first rest after it was accepted */
		unsigned reloads, tickets; /* and those in use then */
		uint64_t ticket_ms;
		unsigned updates; /* of its key */
	} tls;
	bool deaf; /* not HTTP: it has begun as if it were TLS */
	bool wide; /* a window that nothing fills */
	unsigned asked, answered;
	uint16_t ask[ASKED_MAX];           /* the message that each request sends, or NOBODY */
	uint32_t last[KERNEL_CLIENTS + 1]; /* the last message seen of each sender, plus one */
	unsigned seen;
};

enum scope { TO_USER, TO_TICKET, TO_ALL };

struct sent {
	char id[TOKEN_LEN + 1];
	unsigned from; /* peer, or PROGRAM */
	enum scope scope;
	int to, user; /* of @scope; of the sender, -1: none */
	bool forbidden, refused, accepted, counted;
	size_t pad;
	uint64_t expected, seen; /* peers */
};

static struct {
	uint64_t seed;
	struct bytes in;
	struct wsc_gateway *gw;
	struct worker *worker[KERNEL_WORKERS];
	unsigned nworkers;
	uint64_t wakes_ms[KERNEL_WORKERS]; /* until then it sleeps, unless something comes; UINT64_MAX: for ever */
	bool stopped[KERNEL_WORKERS];
	struct peer peer[KERNEL_CLIENTS];
	unsigned npeers;
	int slot[SLOTS]; /* peer, -1: none */
	struct sent sent[SENT_MAX];
	unsigned nsent;
	struct {
		struct wsc_pending *p;
		bool allow_is_one;
		bool connect;
	} pending[PENDING_MAX];
	unsigned npending;
	uint8_t hooks;
	bool extended; /* the head has bytes for what follows, and there are instructions for it */
	struct {
		bool on, takeover;
		unsigned bits;
		size_t min;
	} deflate;
	size_t max_message;
	struct {
		bool on, only_1_3, only; /* only: no plain text on any port */
		bool no_descriptor;      /* for a client that connected */
		uint16_t port;
		enum secure_identity who;
		unsigned reloads, tickets;
		uint64_t dial_ms, ticket_ms; /* of the last ticket: when its client dialled, when it came */
		struct buf plain;
	} tls;
	uint64_t dice;
	bool dirty, calm, cut, stopping, over, creeps;
	unsigned done_owed, let_in, let_go;
	uint64_t turns_max, received;
} g;

static void expect(bool ok, const char *what)
{
	if (!ok)
		wrong(what);
}

/* ---- chance that no client can guess ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static unsigned roll(unsigned n)
{
	g.dice = mix(g.dice + 0x9e3779b97f4a7c15u);
	return (unsigned)(g.dice >> 33) % n;
}

static uint8_t take_u8(void)
{
	uint8_t b = 0;

	(void)bytes_take_u8(&g.in, &b);
	return b;
}

static struct bytes take_bytes(size_t n)
{
	struct bytes b;

	if (n > g.in.len)
		n = g.in.len;
	b = bytes_of(g.in.at, n);
	bytes_skip(&g.in, n);
	return b;
}

/* ---- the ledger -------------------------------------------------------------------------------------------------------- */

static uint64_t bit(const struct peer *p)
{
	return UINT64_C(1) << (p - g.peer);
}

static bool is_session(const struct peer *p)
{
	return (p->r.state == READ_WS || p->r.state == READ_SSE) && !p->r.closed && !p->over && !p->left;
}

static bool is_for(const struct sent *s, const struct peer *p)
{
	if (s->scope == TO_ALL)
		return true;
	if (s->scope == TO_USER)
		return p->user == s->to;
	return p->ticket == s->to && p->user != s->user;
}

static struct sent *new_sent(unsigned from, int user, enum scope scope, int to)
{
	struct sent *s;

	if (g.nsent == SENT_MAX)
		return NULL;
	s = &g.sent[g.nsent];
	*s = (struct sent){ .from = from, .user = user, .scope = scope, .to = to };
	snprintf(s->id, sizeof s->id, "%016llx", (unsigned long long)mix(g.seed ^ mix(g.nsent + 1)));
	g.nsent++;
	for (unsigned i = 0; i < g.npeers; i++)
		if (is_session(&g.peer[i]) && g.peer[i].user >= 0 && is_for(s, &g.peer[i]))
			s->expected |= bit(&g.peer[i]);
	return s;
}

static struct sent *find_sent(struct bytes id)
{
	if (id.len == TOKEN_LEN)
		for (unsigned i = 0; i < g.nsent; i++)
			if (bytes_eq(id, bytes_of(g.sent[i].id, TOKEN_LEN)))
				return &g.sent[i];
	return NULL;
}

static void on_error_frame(struct peer *p, const struct message *m)
{
	struct sent *s = find_sent(m->ref);

	if (bytes_eq(m->code, BYTES("rate_limited")))
		p->lossy = true;
	expect(!p->clean || !bytes_eq(m->code, BYTES("bad_message")), "a right message was taken for a bad one");
	if (!s)
		return;
	expect(s->from == (unsigned)(p - g.peer), "an error frame went to another client");
	s->refused = true;
}

static void on_message(void *ctx, const struct message *m)
{
	struct peer *p = ctx;
	struct sent *s;
	uint32_t n;

	if (bytes_eq(m->type, BYTES("error")) && bytes_eq(m->from, BYTES("system")))
		on_error_frame(p, m);
	expect(!p->clean || !p->offer.made || !g.deflate.on || p->r.zip.on, "an offer to deflate was not taken");
	expect(!m->deflated || m->len >= g.deflate.min, "a message that is too short for it was deflated");
	s = find_sent(m->id);
	if (!s)
		return;
	expect(!p->r.zip.on || m->deflated || s->pad < LONG_PAD || m->len < g.deflate.min,
	       "a long message was not deflated");
	n = (uint32_t)(s - g.sent) + 1;
	expect(!s->forbidden, "a message out of a frame that broke the protocol was delivered");
	expect(p->user < 0 || is_for(s, p), "a message went to a client it was not for");
	expect(!(s->seen & bit(p)), "a message was delivered twice");
	expect(p->last[s->from] < n, "two messages of one sender changed their order");
	s->seen |= bit(p);
	p->last[s->from] = n;
	p->seen++;
}

/* §7.1: is the answer within the offer, and allowed by the configuration? */
static void check_agreed(const struct offer *o, const struct zip *d)
{
	if (!d->on)
		return;
	expect(g.deflate.on && o->made, "an extension that was not offered, or that is off");
	expect(!d->server_takeover || !o->server_no_takeover, "server_no_context_takeover was asked for");
	expect(!d->client_takeover || !o->client_no_takeover, "client_no_context_takeover was offered");
	expect(g.deflate.takeover || (!d->server_takeover && !d->client_takeover), "contexts that are not allowed");
	expect(!o->server_bits || (d->server_bits_told && d->server_bits <= o->server_bits), "server_max_window_bits");
	expect(d->server_bits <= g.deflate.bits, "a larger window than is allowed");
	expect(o->client_asked || !d->client_bits_told, "client_max_window_bits, which was not offered");
	expect(!o->client_bits || d->client_bits <= o->client_bits, "client_max_window_bits");
	expect(!o->client_asked || d->client_bits <= g.deflate.bits, "a larger window of the client's than is allowed");
}

static void on_answer(void *ctx, unsigned status, struct bytes body)
{
	struct peer *p = ctx;
	struct sent *s;

	(void)body;
	expect(!p->tls.in_clear || status == 400 || status == 408 || status == 503,
	       "a client that speaks TLS is served in the clear");
	expect(!g.tls.only || p->tls.end || status >= 400,
	       "a client that speaks plainly is served where TLS is a must");
	if (p->clean)
		check_agreed(&p->offer, &p->r.zip);
	/* A proxy may have taken the upgrade for a tunnel: the server must read nothing more from it. */
	expect(p->kind != PEER_WS || !p->clean || status == 101 || p->r.last, "a refused upgrade keeps its connection");
	if (p->kind != PEER_HTTP || !p->clean)
		return;
	expect(p->answered < p->asked || status == 408 || status == 503 || p->left, "an answer without a request");
	if (p->answered >= p->asked || p->ask[p->answered] == NOBODY) {
		p->answered++;
		return;
	}
	s = &g.sent[p->ask[p->answered++]];
	s->accepted = status == 200;
	s->refused = status != 200;
}

/* ---- the turns ------------------------------------------------------------------------------------------------------------ */

/* Moves ciphertext to the wire, as far as the input lets it through. True: some bytes moved. */
static bool transmit(struct peer *p)
{
	struct buf *wire = p->tls.end ? &p->tls.end->wire : NULL;
	size_t n = wire ? wire->len : 0;

	if (p->tls.cut && n > p->tls.cut)
		n = p->tls.cut;
	if (n > p->tls.left)
		n = p->tls.left;
	if (!n)
		return false;
	kernel_write(p->at, bytes_of(wire->at, n));
	buf_consume(wire, n);
	p->tls.left -= p->tls.left == SIZE_MAX ? 0 : n;
	return true;
}

/* The handshake is over, for this end. */
static void check_secured(struct peer *p)
{
	const struct secure *s = p->tls.end;
	uint64_t age = kernel_ms() - g.tls.dial_ms;

	p->tls.checked = true;
	expect(!p->tls.astray, "TLS on a port for plain text");
	expect(!p->tls.hopeless, "a handshake that must not come to an end has");
	expect(!g.tls.only_1_3 || secure_is_1_3(s), "a version that is not allowed");
	if (!s->resumed && p->tls.reloads == g.tls.reloads)
		expect(secure_saw(s, g.tls.who), "a certificate that is not the one in use");
	/* A key encrypts for one rotation and decrypts for another. */
	if (s->asked_to_resume && p->tls.tickets == g.tls.tickets && age < ROTATION_MS)
		expect(s->resumed, "a fresh ticket is not taken");
	expect(!s->resumed || p->tls.ms - p->tls.ticket_ms <= 2 * ROTATION_MS, "a ticket of a dropped key is taken");
}

static void hear_secured(struct peer *p, struct bytes b)
{
	struct secure *s = p->tls.end;
	unsigned tickets = s->tickets;

	buf_clear(&g.tls.plain);
	secure_read(s, b, &g.tls.plain);
	if (s->why[0] && !p->tls.broken)
		wrong(s->why);
	if (s->shaken && !p->tls.checked)
		check_secured(p);
	if (s->tickets != tickets) {
		g.tls.tickets++;
		g.tls.dial_ms = p->tls.ms;
		g.tls.ticket_ms = kernel_ms();
	}
	reader_feed(&p->r, buf_bytes(&g.tls.plain));
}

/* Bytes of the server. */
static void hear(struct peer *p, struct bytes b)
{
	bool first = b.len && !p->tls.heard;

	p->tls.heard |= first;
	/* An alert is no HTTP; an answer that begins like one is no TLS. */
	if (first && g.tls.on && !p->tls.end && !p->clean && (b.at[0] == 0x15 || b.at[0] == 0x16))
		p->deaf = true;
	if (first && p->tls.end && b.at[0] == 'H')
		p->tls.in_clear = true;
	/* Without a descriptor for the client the server sends only an internal_error, in front of everything. */
	if (first && g.tls.no_descriptor && bytes_eq(b, BYTES("\x15\x03\x03\x00\x02\x02\x50"))) {
		p->tls.broken |= p->tls.end != NULL;
		p->deaf |= !p->tls.end && p->tls.astray;
	}
	if (p->tls.end && !p->tls.in_clear)
		hear_secured(p, b);
	else if (!p->deaf)
		reader_feed(&p->r, b);
}

static void check_secured_end(const struct peer *p)
{
	const struct secure *s = p->tls.end;

	if (p->tls.broken)
		expect(!p->wide || s->alerted || s->notified, "a client that broke TLS got no alert");
	else
		expect(!s->shaken || s->notified || p->tls.left != SIZE_MAX, "the end of TLS was not said");
}

/*
 * Our end of a handshake may be over before the server has read the last bytes of it, or of the record behind it that
 * holds the request. Where the clock creeps, the timeout can expire in between, and then the server can send nothing.
 */
static bool ran_out_before_the_request(const struct peer *p)
{
	return g.creeps && p->tls.end && !p->r.answers && kernel_ms() - p->tls.ms >= HEADER_MS;
}

static void end_of(struct peer *p)
{
	bool undisturbed = !p->was_stalled && !p->left && !g.cut && !ran_out_before_the_request(p);

	p->over = true;
	if (undisturbed && p->tls.end && !p->tls.in_clear)
		check_secured_end(p);
	/* close_notify follows the answer only where the socket takes it at once. */
	if (p->asked_to_close && !p->was_stalled && !g.cut)
		expect(p->r.closed, "a close frame was not answered");
	undisturbed &= !p->tls.broken;
	reader_end(&p->r, undisturbed);
	if (undisturbed && p->clean && p->kind != PEER_RAW && !p->r.last)
		expect(p->r.answers >= (p->kind == PEER_HTTP ? p->asked : 1), "hung up on a request without a word");
	if (undisturbed && p->r.state == READ_WS)
		expect(p->r.closed, "a WebSocket was ended without a close frame");
	if (undisturbed && p->r.state == READ_SSE)
		expect(p->r.closed, "an event stream was ended without the event `closed`");
}

/* All clients that are not stalled read. True: there was something, or something more has come onto the wire. */
static bool read_all(void)
{
	bool any = false;

	for (unsigned i = 0; i < g.npeers; i++) {
		struct peer *p = &g.peer[i];
		struct bytes b;

		if (p->over)
			continue;
		any |= transmit(p);
		if (p->stalled)
			continue;
		b = kernel_read(p->at);
		any |= b.len > 0;
		g.received += b.len;
		hear(p, b);
		if (kernel_ended(p->at))
			end_of(p);
	}
	return any;
}

/*
 * A worker that sleeps is left alone until its time has come or its epoll has something to tell. True: one had to do.
 */
static bool turn_all(void)
{
	bool any = false;

	for (unsigned i = 0; i < g.nworkers; i++) {
		int slept;

		if (g.stopped[i] || (kernel_ms() < g.wakes_ms[i] && !kernel_pending(g.worker[i]->shard.loop.epfd)))
			continue;
		g.stopped[i] = !worker_turn(g.worker[i], -1);
		slept = g.stopped[i] ? -1 : kernel_slept();
		g.wakes_ms[i] = slept == KERNEL_IDLE ? 0 : slept < 0 ? UINT64_MAX : kernel_ms() + (unsigned)slept;
		/* The wait that found nothing has returned; in a thread it would go on, with this mark set. */
		if (slept != KERNEL_IDLE && !g.stopped[i] && !mailbox_sleep(&g.worker[i]->mail, g.nworkers))
			g.wakes_ms[i] = 0;
		any |= !g.stopped[i] && g.wakes_ms[i] == 0;
	}
	return any;
}

static void check_http(const struct http_conn *h, const struct settings *set)
{
	expect(h->state != HTTP_HEAD || h->in.len <= set->http.max_head,
	       "a head that is longer than its limit is kept");
	expect(h->next.len <= 2 * LOOP_RECV_BYTES, "a connection reads ahead without bounds");
	expect(h->body.len <= set->opt.max_message_bytes + 1, "a body that is longer than its limit is kept");
	expect(h->out.len <= 65536u + 98304u, "answers pile up"); /* the mark, and the longest page behind it */
}

static void check_session(const struct conn *c, const struct settings *set, bool at_rest)
{
	const struct conn_extra *x = c->at.extra;
	const struct session *s = &c->session;

	expect(!at_rest || s->state == SESSION_CLOSING || s->q.count <= 256, "a queue is over its limit");
	expect(s->state == SESSION_NONE || s->q.bytes < (1u << 20), "a queue holds too many bytes");
	if (!x)
		return;
	expect(x->ctl.len <= 2 * LOOP_RECV_BYTES, "control frames pile up");
	expect(x->message.len <= set->ws.max_message, "a message longer than its limit is kept");
	expect(x->held.len <= 2 * LOOP_RECV_BYTES, "input is kept without bounds");
}

/*
 * A client that stops before its first request is closed within limits.header_timeout. Bytes that wait for the server
 * are no silence, and a creeping clock can pass seconds before they are read; so the time counts from a rest.
 */
static void check_silent(void)
{
	for (unsigned i = 0; i < g.npeers; i++) {
		struct peer *p = &g.peer[i];

		if (!p->tls.held_ms && kernel_held(p->at))
			p->tls.held_ms = kernel_ms();
		if (!p->over && p->tls.end && p->tls.left == 0 && !p->r.answers && !p->was_stalled && p->tls.held_ms)
			expect(kernel_ms() - p->tls.held_ms < GONE_MS, "the server waits for a stopped handshake");
	}
}

static void check_bounds(bool at_rest)
{
	if (at_rest)
		check_silent();
	for (unsigned i = 0; i < g.nworkers; i++) {
		const struct shard *sh = &g.worker[i]->shard;
		uint32_t pos = 0;
		struct conn *c;

		while ((c = slab_next(&sh->conns, &pos))) {
			if (c->phase == PHASE_ENDED)
				continue;
			if (c->kind == CONN_HTTP)
				check_http(c->at.http, sh->set);
			else
				check_session(c, sh->set, at_rest);
		}
	}
}

static void turns(unsigned n)
{
	while (n--) {
		turn_all();
		read_all();
		check_bounds(false);
	}
}

/* Turns until no side has work. A turn in which a client reads is progress; many turns without it are a failure. */
static void settle(void)
{
	uint64_t n = 0;
	bool any, read;

	do {
		any = turn_all();
		read = read_all();
		n = read ? 0 : n + 1;
		expect(n < g.turns_max, "the server does not come to rest");
	} while (any || read);
	check_bounds(true);
}

static void pass(uint64_t ms, bool at_once)
{
	uint64_t target = kernel_ms() + ms, steps = 0;

	/* As if the machine had slept: any timeout may have expired. */
	if (at_once) {
		kernel_pass_ms(ms);
		for (unsigned i = 0; i < g.npeers; i++)
			g.peer[i].was_stalled = true;
	}
	settle();
	while (kernel_ms() < target) {
		uint64_t step = target - kernel_ms();

		for (unsigned i = 0; i < g.nworkers; i++)
			if (!g.stopped[i] && g.wakes_ms[i] - kernel_ms() < step)
				step = g.wakes_ms[i] - kernel_ms();
		kernel_pass_ms(step ? step : 1);
		settle();
		expect(++steps < 1000 + ms / 4, "the server wakes up all the time");
	}
}

/* ---- clients ---------------------------------------------------------------------------------------------------------------- */

static const size_t windows[] = { 1u << 20, 4096, 300, 120 };

#define KEY_UPDATES 8 /* UPDATES_AT_ONCE of net/tls.c */

/* From now on nothing that the client sends is right, so the server must send an alert and end. */
static void break_tls(struct peer *p)
{
	p->tls.broken = true;
	p->clean = false;
	g.calm = false;
}

/* Its end of TLS; one or two bytes of the input say how. */
static void secure(struct peer *p, bool of_proxy)
{
	uint8_t how = take_u8();

	if (of_proxy && how & 0x20)
		kernel_write(p->at, BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n"));
	/* A client that stops half way asks for nothing that would end its handshake before. */
	if ((how >> 6) == 3)
		how &= 0xc0 | SECURE_RESUME | SECURE_OTHER_GROUP;
	p->tls.end = secure_new(how & 0x1f);
	p->tls.ms = kernel_ms();
	p->tls.reloads = g.tls.reloads;
	p->tls.tickets = g.tls.tickets;
	p->tls.ticket_ms = g.tls.ticket_ms;
	if ((how >> 6) == 3) {
		p->tls.left = take_u8() * 4u;
		p->clean = false;
		g.calm = false;
	}
	p->tls.hopeless = (g.tls.only_1_3 && how & SECURE_ONLY_1_2) || (how & (SECURE_HTTP | SECURE_H2)) == SECURE_H2;
	if (p->tls.hopeless && !p->tls.astray)
		break_tls(p);
}

/* A new client in @slot; NULL: no listener, or too many clients. */
static struct peer *dial(unsigned slot, enum peer_kind kind, uint8_t how)
{
	bool tls = g.tls.on && !(how & 0x80);
	uint16_t port = tls ? g.tls.port : PORT;
	struct peer *p;
	int at;

	/* Bytes of any kind come to the other port as well. */
	if (g.tls.on && kind == PEER_RAW && how & 0x40)
		port = tls ? PORT : g.tls.port;
	at = g.npeers < KERNEL_CLIENTS ? kernel_connect((enum kernel_peer)(how & 3), port, windows[how >> 2 & 3]) : -1;
	if (at < 0)
		return NULL;
	p = &g.peer[g.npeers];
	memset(p, 0, sizeof *p);
	p->at = at;
	p->kind = kind;
	p->user = p->ticket = -1;
	p->clean = true;
	p->r.on_message = on_message;
	p->r.on_answer = on_answer;
	p->r.forgeable = g.dirty;
	p->r.ctx = p;
	p->wide = windows[how >> 2 & 3] > 65536;
	p->tls.left = SIZE_MAX;
	p->tls.astray = g.tls.on && port != (tls ? g.tls.port : PORT);
	if (tls) {
		secure(p, (how & 3) == PEER_PROXY);
		(void)transmit(p);
	}
	g.slot[slot] = (int)g.npeers++;
	return p;
}

static struct peer *peer_at(unsigned slot)
{
	struct peer *p = g.slot[slot] >= 0 ? &g.peer[g.slot[slot]] : NULL;

	return p && !p->over && !p->left ? p : NULL;
}

/* From now on the bytes of this client are arbitrary. */
static void soil(struct peer *p)
{
	p->clean = false;
	if (!g.dirty)
		for (unsigned i = 0; i < g.npeers; i++)
			g.peer[i].r.forgeable = true;
	g.dirty = true;
	g.calm = false;
}

static void say(struct peer *p, struct bytes b)
{
	if (!p->tls.end) {
		kernel_write(p->at, b);
		return;
	}
	secure_write(p->tls.end, b);
	(void)transmit(p);
}

/* Puts all that the client has sent on the wire. */
static void hurry(struct peer *p)
{
	p->tls.cut = 0;
	(void)transmit(p);
}

static void say_buf(struct peer *p, struct buf *b)
{
	say(p, buf_bytes(b));
	buf_deinit(b);
}

/* One byte of the input is the offer; without compression a client offers too, and the server does not agree. */
static void add_offer(struct buf *b, struct offer *o)
{
	static const char *const server[] = { "", "8", "9", "10", "12", "14", "15", "" };
	static const char *const client[] = { "", " ", "=8", "=9", "=10", "=12", "=15", "=\"11\"" };
	uint8_t how = g.deflate.on ? take_u8() : 0x20;
	const char *s = server[how >> 2 & 7], *c = client[how >> 5];

	*o = (struct offer){
		.made = true,
		.server_no_takeover = how & 1,
		.client_no_takeover = how & 2,
		.server_bits = *s ? (unsigned)atoi(s) : 0,
		.client_asked = *c,
		.client_bits = *c ? (unsigned)atoi(c + 1 + (c[1] == '"')) : 0,
	};
	buf_add_str(b, "Sec-WebSocket-Extensions: ");
	if ((how >> 2 & 7) == 7)
		buf_add_str(b, "x-unknown; a=\"b\", permessage-deflate; server_max_window_bits=7, ");
	buf_addf(b, "permessage-deflate%s%s%s%s", how & 1 ? "; server_no_context_takeover" : "",
		 how & 2 ? "; client_no_context_takeover" : "", *s ? "; server_max_window_bits=" : "", s);
	buf_addf(b, "%s%s\r\n", *c ? "; client_max_window_bits" : "", *c ? c : "");
}

static void open_stream(unsigned slot, bool sse)
{
	uint8_t who = take_u8(), how = take_u8();
	struct peer *p = dial(slot, sse ? PEER_SSE : PEER_WS, (uint8_t)(how & 0x8f));
	struct buf b = BUF_INIT;

	if (!p)
		return;
	p->user = (int)(who % USERS);
	buf_addf(&b, "GET /%s?user_id=u%d", sse ? "sse" : "ws", p->user);
	if (who & 0x10) {
		p->ticket = (int)(who >> 5 & 1);
		buf_addf(&b, "&ticket_id=t%d", p->ticket);
	}
	if (who & 0x40)
		buf_add_str(&b, sse ? "&after=7" : "&role=r&device_id=d&client_type=c");
	buf_add_str(&b, " HTTP/1.1\r\nHost: localhost\r\n");
	if (!sse)
		buf_addf(&b,
			 "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s",
			 how & 0x10 ? "Sec-WebSocket-Protocol: chat, wsc.v1\r\n" : "");
	if (!sse && how & 0x20)
		add_offer(&b, &p->offer);
	buf_add_str(&b, how & 0x40 ? "Origin: http://localhost\r\n\r\n" : "\r\n");
	say_buf(p, &b);
}

/* Masked, as a client must; @mask_bit and the length's form may be wrong on purpose. */
static void add_frame(struct buf *b, uint8_t first, struct bytes payload, bool mask, unsigned len_form)
{
	static const uint8_t key[4] = { 0x5a, 0x01, 0xff, 0x80 };
	unsigned form = payload.len < 126 ? 0 : payload.len < 65536 ? 1 : 2;
	uint8_t m = mask ? 0x80 : 0;

	form = len_form > form ? len_form : form;
	buf_add_u8(b, first);
	buf_add_u8(b, (uint8_t)(m | (form == 0 ? payload.len : form == 1 ? 126 : 127)));
	for (int i = form == 0 ? -1 : form == 1 ? 1 : 7; i >= 0; i--)
		buf_add_u8(b, (uint8_t)(payload.len >> (8 * i)));
	if (mask)
		buf_add(b, bytes_of(key, 4));
	for (size_t i = 0; i < payload.len; i++)
		buf_add_u8(b, (uint8_t)(payload.at[i] ^ (mask ? key[i & 3] : 0)));
}

static void add_message(struct buf *b, struct sent *s, size_t pad)
{
	s->pad = pad;
	buf_addf(b, "{\"id\":\"%s\",", s->id);
	if (s->scope == TO_USER)
		buf_addf(b, "\"to\":\"u%d\",", s->to);
	else if (s->scope == TO_TICKET)
		buf_addf(b, "\"ticket_id\":\"t%d\",", s->to);
	buf_add_str(b, "\"content\":\"");
	for (size_t i = 0; i < pad;
	     i++) /* the same again farther back than a small window reaches, and than a middling one */
		buf_add_u8(b, (uint8_t)('a' + mix(i < 600 ? i % 300 : i % 1500) % 26));
	buf_add_str(b, "\",\"data\":{\"n\":[1,\n2]}}");
}

static void choose_receiver(uint8_t b, enum scope *scope, int *to)
{
	*scope = b & 0x40 ? TO_TICKET : TO_USER;
	*to = *scope == TO_TICKET ? (int)(b % TICKETS) : (int)(b % USERS);
}

static bool may_speak(const struct peer *p)
{
	return p->kind == PEER_WS && p->clean && p->r.state == READ_WS && !p->r.closed;
}

/* @payload as a message, in fragments and with pings between them as @how says. */
static void say_message(struct peer *p, uint8_t first, struct bytes payload, uint8_t how)
{
	size_t piece = how & 0x10 ? payload.len / 3 + 1 : payload.len, at = 0;
	struct buf b = BUF_INIT;

	while (at < payload.len) {
		size_t n = payload.len - at < piece ? payload.len - at : piece;

		add_frame(&b, (uint8_t)((at ? 0 : first) | (at + n == payload.len ? 0x80 : 0)),
			  bytes_of(payload.at + at, n), true, 0);
		at += n;
		if (at < payload.len && how & 0x40)
			add_frame(&b, 0x89, BYTES("between"), true, 0);
	}
	if (how & 0x80 && b.len > 7) {
		say(p, bytes_of(b.at, 7));
		turns(1);
		say(p, bytes_of(b.at + 7, b.len - 7));
		buf_deinit(&b);
	} else {
		say_buf(p, &b);
	}
}

/* One right message on an open WebSocket. */
static void send_ws(struct peer *p)
{
	uint8_t who = take_u8(), how = take_u8();
	struct buf text = BUF_INIT;
	enum scope scope;
	struct sent *s;
	int to;

	choose_receiver(who, &scope, &to);
	s = may_speak(p) ? new_sent((unsigned)(p - g.peer), p->user, scope, to) : NULL;
	if (!s)
		return;
	s->counted = true;
	add_message(&text, s, (how & 0x0f) * (size_t)120);
	say_message(p, how & 0x20 ? 2 : 1, buf_bytes(&text), how);
	buf_deinit(&text);
}

/* The same, deflated; where that was not agreed on it is no right one. */
static void send_deflated(struct peer *p)
{
	uint8_t who = take_u8(), how = take_u8(), style = take_u8();
	struct buf text = BUF_INIT, wire = BUF_INIT;
	enum scope scope;
	struct sent *s;
	int to;

	choose_receiver(who, &scope, &to);
	s = may_speak(p) && p->r.zip.on ? new_sent((unsigned)(p - g.peer), p->user, scope, to) : NULL;
	if (!s)
		return;
	s->counted = true;
	add_message(&text, s, style & 0x20 ? g.max_message / 2 : (how & 0x0f) * (size_t)120);
	zip_write(&p->r.zip, buf_bytes(&text), style, &wire);
	say_message(p, how & 0x20 ? 0x42 : 0x41, buf_bytes(&wire), how);
	buf_deinit(&text);
	buf_deinit(&wire);
}

/* A message in a wrong frame: no client may get it. */
static struct sent *new_forbidden(struct peer *p, uint8_t who)
{
	struct sent *s = may_speak(p) ? new_sent((unsigned)(p - g.peer), p->user, TO_USER, who % USERS) : NULL;

	if (s) {
		s->forbidden = true;
		s->expected = 0;
	}
	return s;
}

static void say_broken(struct peer *p, struct buf *b, unsigned code)
{
	say_buf(p, b);
	soil(p);
	p->broken = true;
	p->broken_code = code;
}

/* The same, but the frame is wrong: no client may get it. */
static void send_broken(struct peer *p)
{
	uint8_t who = take_u8(), kind = take_u8() % 10;
	struct buf text = BUF_INIT, b = BUF_INIT;
	struct sent *s = new_forbidden(p, who);

	if (!s)
		return;
	add_message(&text, s, kind == 6 ? g.max_message + 952 : kind == 3 ? 100 : 0);
	if (kind == 5) /* not UTF-8 in the middle of the content's quotes */
		text.at[text.len - 24] = 0xff;
	switch (kind) {
	case 0:
		add_frame(&b, 0x81, buf_bytes(&text), false, 0);
		break; /* not masked */
	case 1:        /* RSV1, no extension; where there is one, RSV2 */
		add_frame(&b, p->r.zip.on ? 0xa1 : 0xc1, buf_bytes(&text), true, 0);
		break;
	case 2:
		add_frame(&b, 0x83, buf_bytes(&text), true, 0);
		break; /* a reserved opcode */
	case 3:
		add_frame(&b, 0x89, buf_bytes(&text), true, 0);
		break; /* a long ping */
	case 4:
		add_frame(&b, 0x80, buf_bytes(&text), true, 0);
		break; /* goes on with nothing */
	case 7:
		add_frame(&b, 0x81, buf_bytes(&text), true, 2);
		break; /* a length in too many bytes */
	case 8:        /* a message within a message */
		add_frame(&b, 0x01, BYTES("{"), true, 0);
		add_frame(&b, 0x81, buf_bytes(&text), true, 0);
		break;
	case 9: /* the top bit of the length */
		add_frame(&b, 0x81, buf_bytes(&text), true, 2);
		b.at[2] |= 0x80;
		break;
	default:
		add_frame(&b, 0x81, buf_bytes(&text), true, 0);
		break; /* 5, and 6: too long */
	}
	buf_deinit(&text);
	say_broken(p, &b, kind == 5 ? 1007 : kind == 6 ? 1009 : 1002);
}

/* @text in one stored block, of which @missing bytes do not come (RFC 1951 §3.2.4). */
static void add_stored(struct buf *b, struct bytes text, size_t missing)
{
	const uint8_t head[5] = { 0, (uint8_t)text.len, (uint8_t)(text.len >> 8), (uint8_t)~text.len,
				  (uint8_t)(~text.len >> 8) };

	buf_add(b, bytes_of(head, 5));
	buf_add(b, bytes_of(text.at, text.len - missing));
}

/* A compressed message with wrong DEFLATE data, or in a wrong frame. */
static void send_broken_deflated(struct peer *p)
{
	uint8_t who = take_u8(), kind = take_u8() % 10;
	struct buf text = BUF_INIT, wire = BUF_INIT, b = BUF_INIT;
	struct zip *d = &p->r.zip;
	struct sent *s = d->on ? new_forbidden(p, who) : NULL;

	if (!s)
		return;
	add_message(&text, s, kind == 4 ? 2 * g.max_message : kind == 3 ? 0 : 200);
	if (kind == 5)
		text.at[text.len - 24] = 0xff;
	switch (kind) {
	case 0: /* a block of the type that is reserved */
		buf_add_u8(&wire, 0x06);
		buf_add(&wire, buf_bytes(&text));
		break;
	case 1: /* cut off */
		add_stored(&wire, buf_bytes(&text), 9);
		break;
	case 6: /* and something behind the end that is no block */
		zip_write(d, buf_bytes(&text), ZIP_FINAL, &wire);
		wire.at[wire.len - 1] = 0x06;
		break;
	case 7: /* as if the client had its context still; where it has, farther back than all it has said */
		if (d->said)
			buf_add(&wire, bytes_of("\x02\xde\xff\x0f\x00", 5));
		else
			buf_add(&wire, bytes_of("\x02\x02\x00", 3));
		add_stored(&wire, buf_bytes(&text), 0);
		buf_add_u8(&wire, 0); /* of the empty block at the end */
		break;
	case 9: /* a block that is not whole where the message ends */
		add_stored(&wire, buf_bytes(&text), 0);
		buf_add_u8(&wire, 0x02);
		break;
	default:
		zip_write(d, buf_bytes(&text), 0, &wire);
		break; /* 4: a bomb, 5: not UTF-8, and where the frame is wrong */
	}
	if (kind == 2) { /* RSV1 in the middle */
		add_frame(&b, 0x41, bytes_of(wire.at, wire.len / 2), true, 0);
		add_frame(&b, 0xc0, bytes_of(wire.at + wire.len / 2, wire.len - wire.len / 2), true, 0);
	} else if (kind == 3) { /* on a control frame */
		add_frame(&b, 0xc9, bytes_of(wire.at, wire.len < 125 ? wire.len : 125), true, 0);
		add_frame(&b, 0xc1, buf_bytes(&wire), true, 0);
	} else {
		add_frame(&b, kind == 8 ? 0xe1 : 0xc1, buf_bytes(&wire), true, 0);
	}
	buf_deinit(&text);
	buf_deinit(&wire);
	say_broken(p, &b, kind == 4 ? 1009 : kind == 2 || kind == 3 || kind == 8 ? 1002 : 1007);
}

static void send_http(struct peer *p)
{
	uint8_t who = take_u8(), how = take_u8();
	bool broadcast = how & 0x80;
	struct buf body = BUF_INIT, b = BUF_INIT;
	enum scope scope;
	struct sent *s;
	int to, user = who >> 2 & 3;

	choose_receiver(who & 3, &scope, &to);
	if (p->kind != PEER_HTTP || !p->clean || p->r.last || p->asked == ASKED_MAX)
		return;
	s = new_sent((unsigned)(p - g.peer), user, broadcast ? TO_ALL : TO_USER, to);
	if (!s)
		return;
	s->counted = !broadcast;
	p->ask[p->asked++] = (uint16_t)(s - g.sent);
	add_message(&body, s, (how & 0x0f) * (size_t)100);
	buf_addf(&b, "POST /api/v1/websocket/%s HTTP/1.1\r\nHost: localhost\r\nX-User-ID: u%d\r\n",
		 broadcast ? "broadcast" : "send", user);
	if (how & 0x20)
		buf_add_str(&b, "Expect: 100-continue\r\n");
	if (how & 0x10) {
		size_t half = body.len / 2;

		buf_addf(&b, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", half);
		buf_add(&b, bytes_of(body.at, half));
		buf_addf(&b, "\r\n%zX\r\n", body.len - half);
		buf_add(&b, bytes_of(body.at + half, body.len - half));
		buf_add_str(&b, "\r\n0\r\n\r\n");
	} else {
		buf_addf(&b, "Content-Length: %zu\r\n\r\n", body.len);
		buf_add(&b, buf_bytes(&body));
	}
	buf_deinit(&body);
	say_buf(p, &b);
}

static void get_http(struct peer *p)
{
	static const char *const target[] = { "/livez",
					      "/readyz",
					      "/api/v1/websocket/online",
					      "/api/v1/websocket/online?user_id=u0&user_id=u3&user_id=nobody",
					      "/api/v1/websocket/online?limit=1",
					      "/api/v1/websocket/stats",
					      "/wsc/stats",
					      "/wsc/online?limit=2&after=u1",
					      "/",
					      "/nothing/here",
					      "/own?x=%41&y",
					      "/openapi.json" };
	uint8_t which = take_u8() % (sizeof target / sizeof target[0]);
	struct buf b = BUF_INIT;

	if (p->kind != PEER_HTTP || !p->clean || p->r.last || p->asked == ASKED_MAX)
		return;
	p->ask[p->asked++] = NOBODY;
	buf_addf(&b, "GET %s HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", target[which]);
	say_buf(p, &b);
}

static void feed(struct peer *p)
{
	size_t n = take_u8(), cut = take_u8();
	struct bytes b = take_bytes(n);

	soil(p);
	p->r.asked_head = true;
	while (b.len) {
		size_t piece = cut && cut < b.len ? cut : b.len;

		say(p, bytes_of(b.at, piece));
		bytes_skip(&b, piece);
		if (b.len)
			turns(1);
	}
}

/* One frame with the bytes of the input in it. */
static void feed_frame(struct peer *p)
{
	uint8_t first = take_u8(), how = take_u8();
	struct bytes payload = take_bytes(how & 0x7f);
	struct buf b = BUF_INIT;

	add_frame(&b, first, payload, true, how & 0x80 ? 1 : 0);
	soil(p);
	p->left |= (first & 0x0f) == 8;
	say_buf(p, &b);
}

static void ping(struct peer *p)
{
	uint8_t n = take_u8();
	struct bytes payload = take_bytes(n & 0x7f);
	struct buf b = BUF_INIT;

	if (p->kind != PEER_WS || !p->clean || p->r.state != READ_WS)
		return;
	if (payload.len > 125)
		payload.len = 125;
	for (unsigned i = 0; i < 1u + (n >> 7) * 3u; i++)
		add_frame(&b, n & 1 ? 0x8a : 0x89, payload, true, 0);
	add_frame(&b, 0x81, BYTES("ping"), true, 0);
	g.calm = false; /* too many of them end it */
	say_buf(p, &b);
}

static void close_ws(struct peer *p)
{
	static const uint16_t codes[] = { 1000, 1001, 1003, 3000, 4999, 1005 };
	uint16_t code = codes[take_u8() % 6];
	uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };
	struct buf b = BUF_INIT;

	if (p->kind != PEER_WS || !p->clean || p->r.state != READ_WS)
		return;
	add_frame(&b, 0x88, bytes_of(payload, code == 1005 ? 0 : 2), true, 0);
	say_buf(p, &b);
	p->left = p->asked_to_close = true;
	g.calm = false;
}

static void leave(struct peer *p, bool reset)
{
	hurry(p);
	p->left = true;
	g.calm = false;
	if (reset)
		kernel_reset(p->at);
	else
		kernel_fin(p->at);
}

static void stall(struct peer *p, bool on)
{
	p->stalled = on;
	p->was_stalled |= on;
	g.calm = false;
}

/* ---- below the messages: TLS ------------------------------------------------------------------------------------------------------- */

/* A record with one wrong bit; the message in it must reach no client. */
static void corrupt(struct peer *p, uint8_t who, uint8_t at)
{
	struct secure *t = p->tls.end;
	struct buf text = BUF_INIT, b = BUF_INIT;
	struct sent *s = new_forbidden(p, who);
	size_t n;

	if (s) {
		add_message(&text, s, 0);
		add_frame(&b, 0x81, buf_bytes(&text), true, 0);
	} else {
		buf_add_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	}
	secure_write(t, buf_bytes(&b));
	n = at % t->wire.len;
	t->wire.at[n == 3 || n == 4 ? 5 : n] ^= (uint8_t)(1u << (who & 7)); /* another length is none yet */
	buf_deinit(&text);
	buf_deinit(&b);
	hurry(p);
	break_tls(p);
}

static void below(struct peer *p)
{
	uint8_t what = take_u8(), who = take_u8();
	bool whole = p->tls.end && !p->tls.broken && p->tls.left == SIZE_MAX;

	if (!whole || p->tls.in_clear || p->tls.astray)
		return;
	switch (what % 5) {
	case 0: /* in the clear, between the records */
		hurry(p);
		kernel_write(p->at, BYTES("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"));
		break_tls(p);
		break;
	case 1:
		hurry(p);
		if (p->tls.end->shaken && !p->tls.end->why[0])
			corrupt(p, who, what / 5);
		break;
	case 2:
		p->tls.cut = 1 + who % 64;
		p->was_stalled |= g.creeps; /* time goes by */
		break;
	case 3:
		secure_goodbye(p->tls.end);
		hurry(p);
		p->tls.goodbye = p->left = p->tls.end->shaken;
		g.calm = false;
		break;
	case 4:
		/* Never more than the server takes in one recv, because the server may read all of them at once. */
		if (p->tls.updates < KEY_UPDATES && secure_update(p->tls.end)) {
			p->tls.updates++;
			(void)transmit(p);
		}
		break;
	}
}

static void reload(uint8_t how)
{
	enum secure_identity who = how & 1 ? SECURE_IDENTITIES - 1 - g.tls.who : g.tls.who;
	int r;

	if (!g.tls.on) {
		expect(wsc_reload(g.gw) == 0 || g.stopping, "nothing to reload is an error");
		return;
	}
	secure_install(how & 2 ? SECURE_BROKEN : who);
	r = wsc_reload(g.gw);
	expect(g.stopping || (r < 0) == !!(how & 2), "a reload has not come out as it should");
	if (r == 0) {
		g.tls.reloads++;
		g.tls.who = who;
	}
}

/* ---- the program behind the gateway -------------------------------------------------------------------------------------------- */

static void on_done(void *user, const struct wsc_outcome *o)
{
	struct sent *s = user;

	expect(g.done_owed > 0, "an outcome that no call waits for");
	g.done_owed--;
	if (!s)
		return;
	expect(!s->accepted && !s->refused, "an outcome was reported twice");
	s->accepted = o->error == 0;
	s->refused = o->error != 0;
}

static void program_send(uint8_t who)
{
	bool broadcast = who & 0x80;
	enum scope scope;
	struct sent *s;
	char name[8];
	int to;

	choose_receiver(who, &scope, &to);
	s = new_sent(PROGRAM, -1, broadcast ? TO_ALL : scope, to);
	if (!s)
		return;
	snprintf(name, sizeof name, "%c%d", scope == TO_USER ? 'u' : 't', to);
	struct wsc_message m = {
		.id = s->id,
		.to = broadcast || scope != TO_USER ? NULL : name,
		.ticket_id = broadcast || scope != TO_TICKET ? NULL : name,
		.content = "of the program",
		.data = "{\"a\":\"\\u2028\"}",
	};
	g.done_owed++;
	if ((broadcast ? wsc_broadcast(g.gw, &m, on_done, s) : wsc_send(g.gw, &m, on_done, s)) < 0) {
		g.done_owed--;
		s->refused = true;
	}
}

static void program_kick(unsigned user)
{
	char name[8];

	snprintf(name, sizeof name, "u%u", user % USERS);
	g.done_owed++;
	if (wsc_kick(g.gw, name, user & 8 ? "a reason" : NULL, on_done, NULL) < 0)
		g.done_owed--;
}

static void on_online(void *user, const char *name, unsigned connections)
{
	(void)user;
	(void)name;
	expect(connections <= KERNEL_CLIENTS, "more connections than clients");
	g.done_owed--;
}

static void program_acts(void)
{
	uint8_t what = take_u8(), who = take_u8();

	switch (what % 4) {
	case 0:
	case 1:
		program_send(who);
		break;
	case 2:
		program_kick(who);
		break;
	case 3:
		g.done_owed++;
		if (wsc_is_online(g.gw, "u1", on_online, NULL) < 0)
			g.done_owed--;
		break;
	}
}

/* The verdict of a hook: @yes, @no, or pending. */
static int verdict(struct wsc_call *call, int yes, int no, bool connect)
{
	unsigned n = roll(16);
	struct wsc_pending *p;

	expect(!g.over, "a hook is asked although all is over");
	if (n == 0) {
		wsc_reason(call, 403, "the dice say no");
		return no;
	}
	if (n == 4)
		program_kick(roll(16));
	if (n == 5)
		program_send((uint8_t)roll(256));
	if (n > 3 || g.npending == PENDING_MAX || !(p = wsc_defer(call))) {
		g.let_in += connect;
		return yes;
	}
	if (n == 3) {
		g.let_in += connect;
		wsc_finish(p, yes, NULL);
	} else {
		g.pending[g.npending].p = p;
		g.pending[g.npending].allow_is_one = yes == WSC_ALLOW;
		g.pending[g.npending++].connect = connect;
	}
	return WSC_PENDING;
}

static void finish(unsigned which, bool yes)
{
	struct wsc_pending *p;
	bool connect;
	int say_yes;

	if (!g.npending)
		return;
	which %= g.npending;
	p = g.pending[which].p;
	connect = g.pending[which].connect;
	say_yes = g.pending[which].allow_is_one ? WSC_ALLOW : 0;
	g.pending[which] = g.pending[--g.npending];
	g.let_in += connect && yes;
	wsc_finish(p, yes ? say_yes : g.hooks & 1 && say_yes == WSC_ALLOW ? WSC_REFUSE : -1, yes ? NULL : "no, later");
}

static int hook_auth(void *user, struct wsc_call *call, const struct wsc_request *req, struct wsc_identity *id)
{
	struct wsc_pending *p;
	unsigned n = roll(16);
	struct ip ip;

	(void)user;
	expect(wsc_request_method(req)[0] && wsc_request_path(req)[0] == '/', "a request without a path");
	expect(ip_parse(bytes_str(wsc_request_address(req)), &ip), "a request from no address");
	if (!wsc_request_query(req, "user_id", id->user_id, sizeof id->user_id) || n == 0)
		return -1;
	if (n < 3 && (p = wsc_defer(call))) {
		wsc_finish_identity(p, 0, id, 0, NULL);
		return WSC_PENDING;
	}
	return 0;
}

static int hook_connect(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)user;
	expect(client->user_id[0] && client->connections > 0, "a client without a name or a place");
	return verdict(call, 0, -1, true);
}

static void hook_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	(void)user;
	expect(client->user_id[0] && why->code && why->reason, "a session ended without a user or a reason");
	g.let_go++;
}

static int hook_received(void *user, struct wsc_call *call, const struct wsc_client *client,
			 const struct wsc_message *m)
{
	const struct sent *s = find_sent(bytes_str(m->id));

	(void)user;
	(void)client;
	expect(!s || !s->forbidden, "a hook saw a message out of a frame that broke the protocol");
	return verdict(call, WSC_ALLOW, WSC_REFUSE, false);
}

static int hook_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)user;
	if (roll(4) == 0)
		m->priority = "high";
	if (roll(8) == 0)
		m->data = "{\"edited\":true}";
	return verdict(call, 0, -1, false);
}

static bool hook_welcome(void *user, const struct wsc_client *client, struct wsc_message *w)
{
	(void)user;
	w->content = client->user_id;
	w->data = "{}";
	return roll(4) != 0;
}

static void on_line(void *user, const char *line, size_t len)
{
	(void)user;
	expect(len > 0 && len < 4096, "a log line of no or too great length");
	for (size_t i = 0; i < len; i++)
		expect((uint8_t)line[i] >= ' ' && line[i] != 0x7f, "a control byte in a log line");
}

static void own_page(void *user, const struct wsc_request *req, struct wsc_response *res)
{
	size_t len;
	const char *body = wsc_request_body(req, &len);

	(void)user;
	(void)wsc_response_header(res, "X-Own", "page");
	wsc_respond(res, 200, "text/plain", body, len);
}

/* ---- the run ----------------------------------------------------------------------------------------------------------------------- */

static void set(struct wsc_config *c, const char *key, const char *value)
{
	if (wsc_config_set(c, key, value) < 0)
		wrong(key);
}

static void configure_tls(struct wsc_config *c, uint8_t how)
{
	unsigned where = how >> 3 & 3;

	secure_boot(g.seed);
	g.tls.on = true;
	g.tls.only_1_3 = how & 4;
	g.tls.only = where == 1;
	g.tls.port = where == 2 ? TLS_PORT : PORT;
	set(c, "tls.certificate", secure_certificate());
	set(c, "tls.key", secure_key());
	set(c, "tls.min_version", how & 4 ? "1.3" : "1.2");
	set(c, "tls.ticket_rotation", "10s");
	set(c, "tls.allow_plain", where == 1 ? "false" : "true");
	if (where == 2)
		set(c, "tls.port", "8443");
}

/* The longer head, of inputs whose workers are 3. */
static void configure_more(struct wsc_config *c, const uint8_t more[2])
{
	static const char *const workers[] = { "2", "1", "3", "2" };
	static const char *const min[] = { "0", "128", "256", "600" }, *const bits[] = { "15", "9", "11", "13" };
	unsigned m = more[0] >> 2 & 3, w = more[0] >> 4 & 3;

	g.deflate.on = more[0] & 1;
	g.deflate.takeover = more[0] & 2;
	g.deflate.min = (size_t)atoi(min[m]);
	g.deflate.bits = (unsigned)atoi(bits[w]);
	g.max_message = more[1] & 0x20 ? 65536 : 2048;
	set(c, "workers", workers[more[1] >> 6]);
	set(c, "performance.enable_compression", g.deflate.on ? "true" : "false");
	set(c, "performance.compression_context_takeover", g.deflate.takeover ? "true" : "false");
	set(c, "performance.compression_min_bytes", min[m]);
	set(c, "performance.compression_window_bits", bits[w]);
	set(c, "performance.compression_level", more[0] & 0x40 ? "1" : "6");
	if (more[0] & 0x80) /* room for one connection, or a few with small windows */
		set(c, "performance.compression_memory", "320KiB");
	if ((more[1] & 3) == 1)
		configure_tls(c, more[1]);
	if (more[1] & 0x20) {
		set(c, "security.max_message_size", "64KiB");
		set(c, "performance.max_queue_bytes", "256KiB");
	}
}

static void configure(struct wsc_config *c, const uint8_t head[4])
{
	static const char *const workers[] = { "2", "1", "3", "2" };
	static const char *const queue[] = { "256", "4", "1", "16" };
	static const char *const login[] = { "replace", "reject", "allow", "replace" };
	static const char *const per_user[] = { "8", "1", "2", "3" };

	set(c, "workers", workers[head[0] & 3]);
	set(c, "heartbeat_interval", "1s");
	set(c, "client_timeout", "3s");
	set(c, "sse_heartbeat", "1s");
	set(c, "hook_timeout", "500ms");
	set(c, "limits.header_timeout", "1s"); /* HEADER_MS */
	set(c, "limits.header_bytes", "2KiB");
	set(c, "limits.uri_bytes", "512");
	set(c, "limits.fragments", "8");
	set(c, "security.max_message_size", "2KiB");
	set(c, "performance.max_queue_bytes", "66KiB");
	set(c, "message_buffer_size", queue[head[1] & 3]);
	set(c, "sse_message_buffer", queue[head[1] & 3]);
	set(c, "slow_consumer", head[1] & 4 ? "drop_oldest" : "close");
	set(c, "multi_login", login[head[1] >> 3 & 3]);
	set(c, "max_connections_per_user", per_user[head[1] >> 5 & 3]);
	set(c, "security.enable_rate_limit", head[1] & 0x80 ? "true" : "false");
	set(c, "security.message_rate", "5");
	set(c, "security.message_burst", "3");
	set(c, "security.connect_rate", "50");
	set(c, "security.trusted_proxies", "10.0.0.0/8");
	set(c, "websocket_origins", "http://localhost, https://*.example.com");
	set(c, "security.sender_mismatch", head[2] & 0x40 ? "overwrite" : "reject");
	set(c, "log.level", "debug");
	if (head[2] & 0x80)
		set(c, "performance.max_connections_per_node", "3");
	g.max_message = 2048;
}

static bool begin(const uint8_t head[HEAD + MORE])
{
	static const uint32_t chops[] = { 0, 0, 7, 64 }, creeps[] = { 0, 0, 1000, 400000 };
	static const unsigned interrupts[] = { 0, 0, 5, 3 };
	struct wsc_config *c = wsc_config_new();
	struct wsc_hooks hooks = {
		.authenticate_user = head[2] & 1 ? hook_auth : NULL,
		.on_client_connect = head[2] & 2 ? hook_connect : NULL,
		.on_client_disconnect = hook_disconnect,
		.on_message_received = head[2] & 4 ? hook_received : NULL,
		.on_message_send = head[2] & 8 ? hook_send : NULL,
		.on_broadcast = head[2] & 16 ? hook_send : NULL,
		.welcome_message = head[2] & 32 ? hook_welcome : NULL,
	};

	g.hooks = head[2];
	g.dice = head[3];
	configure(c, head);
	if (g.extended)
		configure_more(c, head + HEAD);
	g.gw = wsc_new(c, &hooks);
	wsc_config_free(c);
	wsc_log_to(g.gw, -1, on_line, NULL);
	expect(wsc_register_routes(g.gw) == 0 && wsc_register_api(g.gw, NULL) == 0 && wsc_register_pages(g.gw) == 0 &&
		       wsc_route(g.gw, "GET", "/own", own_page, NULL) == 0,
	       "routes");
	if (wsc_start(g.gw) < 0)
		wrong(wsc_error_text(g.gw));
	g.nworkers = kernel_threads();
	g.turns_max = chops[head[0] >> 2 & 3] ? 200000 : 20000;
	for (unsigned i = 0; i < g.nworkers; i++) {
		g.worker[i] = kernel_thread(i);
		g.worker[i]->shard.loop.chop = chops[head[0] >> 2 & 3];
	}
	g.creeps = creeps[head[0] >> 4 & 3];
	kernel_creep_ns(creeps[head[0] >> 4 & 3]);
	kernel_interrupt(interrupts[head[0] >> 6 & 3]);
	return g.nworkers > 0;
}

static void stop_soon(void)
{
	unsigned ms = take_u8() * 10u;

	/* Connections left after that time are cut without a close frame. */
	g.cut = g.stopping = true;
	g.calm = false;
	wsc_stop(g.gw, ms);
}

static void step(unsigned op)
{
	unsigned slot = take_u8() % SLOTS;
	struct peer *p = peer_at(slot);

	op = op % (g.extended ? 24 : 20);
	switch (op) {
	case 0:
		open_stream(slot, false);
		return;
	case 1:
		open_stream(slot, true);
		return;
	case 2:
		(void)dial(slot, PEER_RAW, take_u8());
		return;
	case 3:
		(void)dial(slot, PEER_HTTP, take_u8());
		return;
	case 4:
		program_acts();
		return;
	case 5:
		finish(take_u8(), slot & 1);
		return;
	case 6:
		pass((uint64_t)take_u8() * (slot & 1 ? 100 : 3), slot & 2);
		return;
	case 7:
		g.tls.no_descriptor |= slot & 1;
		kernel_refuse_accept(slot & 1 ? EMFILE : slot & 2 ? ECONNABORTED : ENOBUFS);
		return;
	case 8:
		if (!g.stopping)
			stop_soon();
		return;
	case 9:
		settle();
		return;
	case 23:
		reload(take_u8());
		return;
	default:
		break;
	}
	if (!p)
		return;
	switch (op) {
	case 10:
		feed(p);
		break;
	case 11:
		feed_frame(p);
		break;
	case 12:
		send_ws(p);
		break;
	case 13:
		send_broken(p);
		break;
	case 14:
		send_http(p);
		break;
	case 15:
		get_http(p);
		break;
	case 16:
		stall(p, !p->stalled);
		break;
	case 17:
		leave(p, take_u8() & 1);
		break;
	case 18:
		close_ws(p);
		break;
	case 19:
		ping(p);
		break;
	case 20:
		send_deflated(p);
		break;
	case 21:
		send_broken_deflated(p);
		break;
	case 22:
		below(p);
		break;
	}
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------------ */

/* @p was connected all the time, and @s is for it: did it arrive? */
static void check_delivery(const struct sent *s, const struct peer *p)
{
	const struct peer *from = s->from == PROGRAM ? NULL : &g.peer[s->from];
	bool accepted = s->accepted;

	if (!is_session(p) || s->seen & bit(p) || s->refused || p->r.dropped)
		return;
	/*
	 * On a WebSocket a message without an error frame is accepted, as long as nothing kept the server from reading
	 * it.
	 */
	if (from && from->kind == PEER_WS)
		accepted = !from->left && !from->over && !from->r.closed && !from->lossy && !from->broken;
	expect(!accepted, "a message that was accepted did not arrive");
}

static void check_statistics(void)
{
	uint64_t ws = 0, sse = 0, users = 0, seen = 0, received = 0;
	struct wsc_stats st;

	expect(wsc_stats(g.gw, &st) == 0, "no statistics");
	for (unsigned i = 0; i < g.nworkers; i++) {
		struct hub *hub = g.worker[i]->shard.hub;
		struct session *s = NULL;
		struct hub_user_row row;
		struct bytes after;
		bool first = true;

		while ((s = hub_next_session(hub, s)))
			if (s->state == SESSION_LIVE || s->state == SESSION_REPLAYING)
				*(s->transport == HUB_SSE ? &sse : &ws) += 1;
		while (hub_next_user(hub, first ? NULL : &after, &row)) {
			users++;
			first = false;
			after = row.user_id;
		}
	}
	expect(st.websocket_connections == ws && st.sse_connections == sse, "connections are counted wrong");
	expect(st.online_users == users, "users are counted wrong");
	for (unsigned i = 0; i < g.npeers; i++)
		seen += g.peer[i].seen;
	expect(g.dirty || seen <= st.messages_sent, "more messages have arrived than were sent");
	for (unsigned i = 0; i < g.nsent; i++)
		received += g.sent[i].counted && !g.sent[i].refused;
	/* A message queued for a client that was never let in counts as sent, but no client sees it. */
	for (unsigned i = 0; i < g.npeers; i++)
		g.calm &= !g.peer[i].lossy && !g.peer[i].r.dropped &&
			  (is_session(&g.peer[i]) || (g.peer[i].kind == PEER_HTTP && !g.peer[i].over));
	if (!g.calm)
		return;
	expect(seen == st.messages_sent, "messages_sent differs from the messages sent");
	expect(received == st.messages_received, "messages_received differs from the messages received");
}

/* A message that waits for one hook may call another. */
static void say_yes_to_all(void)
{
	do {
		while (g.npending)
			finish(0, true);
		settle();
	} while (g.npending);
}

/* Does this close code say that the client, or the server, has done something wrong? */
static bool blames(unsigned code)
{
	return code <= 1011 && code != 1001 && code != 1005 && code != 1008;
}

static void check_still_there(void)
{
	for (unsigned i = 0; i < g.npeers; i++)
		g.peer[i].stalled = false;
	say_yes_to_all();
	/* Time for handshakes and answers that the server waits for. */
	pass(600, false);
	say_yes_to_all();
	if (g.stopping)
		return;
	for (unsigned i = 0; i < g.nsent; i++)
		for (unsigned j = 0; j < g.npeers; j++)
			if (g.sent[i].expected & bit(&g.peer[j]))
				check_delivery(&g.sent[i], &g.peer[j]);
	for (unsigned i = 0; i < g.npeers; i++) {
		const struct peer *p = &g.peer[i];

		expect(!p->clean || !p->r.closed || p->left || !blames(p->r.close_code), "a right client was blamed");
		expect(!p->broken || p->over || p->r.closed || p->left,
		       "a client that broke the protocol is still there");
		expect(!p->broken || !p->r.closed || p->left || !blames(p->r.close_code) ||
			       p->r.close_code == p->broken_code,
		       "a client that broke the protocol got another close code");
		expect(p->kind != PEER_HTTP || !p->clean || p->over || p->left || p->r.last || p->answered >= p->asked,
		       "a request was not answered");
		expect(!p->tls.broken || !kernel_held(p->at), "a client that broke TLS is still there");
		expect(!p->tls.goodbye || !kernel_held(p->at), "a client that has said goodbye is still there");
	}
	check_statistics();
}

static void check_nothing_left(void)
{
	for (unsigned i = 0; i < g.npeers; i++)
		if (!g.peer[i].over) {
			g.peer[i].left = true;
			g.peer[i].asked_to_close = false;
			if (mix(g.seed + i) & 1)
				kernel_reset(g.peer[i].at);
			else
				kernel_fin(g.peer[i].at);
		}
	settle();
	pass(100000, false);
	while (g.npending)
		finish(0, false);
	settle();
	for (unsigned i = 0; i < g.nworkers; i++) {
		struct shard *sh = &g.worker[i]->shard;

		expect(sh->conns.live == 0, "a connection is left");
		expect(!hub_next_session(sh->hub, NULL), "a session is left");
		/* Tasks for a stopped worker, and calls that hooks still hold, are left to wsc_free(). */
		if (g.stopping)
			continue;
		expect(atomic_load(&sh->set->shared.connections) == 0, "ended connections are still counted");
		expect(atomic_load(&sh->set->shared.context_bytes) == 0, "memory of freed contexts is still counted");
		expect(sh->jobs.live == 0, "an outcome is owed for ever");
		expect(hub_owner(sh->hub)->bytes == 0 && hub_owner(sh->hub)->count == 0, "a message is left");
		expect(timers_next_ms(&sh->timers) == UINT64_MAX && timers_next_ms(&sh->hook_timers) == UINT64_MAX,
		       "a timer is left");
		expect(sh->program.count == 0, "a message of the program waits for ever");
	}
	for (unsigned i = 0; i < g.npeers; i++)
		expect(g.stopping || !kernel_held(g.peer[i].at), "a socket is left");
	expect(g.stopping || g.done_owed == 0, "an outcome was not reported");
}

static uint64_t hash(struct bytes b)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < b.len; i++)
		h = (h ^ b.at[i]) * 0x100000001b3u;
	return mix(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t head[HEAD + MORE] = { 0 };

	if (size < HEAD + 1 || size > 4096)
		return 0;
	memset(&g, 0, sizeof g);
	for (unsigned i = 0; i < SLOTS; i++)
		g.slot[i] = -1;
	g.seed = hash(bytes_of(data, size));
	g.in = bytes_of(data, size);
	g.calm = true;
	for (unsigned i = 0; i < HEAD; i++)
		head[i] = take_u8();
	g.extended = (head[0] & 3) == 3;
	for (unsigned i = HEAD; g.extended && i < HEAD + MORE; i++)
		head[i] = take_u8();
	kernel_boot(g.seed);
	if (begin(head)) {
		while (g.in.len) {
			uint8_t op = take_u8();

			step(op & 0x7f);
			if (op & 0x80)
				turns(1);
		}
		check_still_there();
		check_nothing_left();
	}
	expect(kernel_calls() < 100000 + 1000 * size + 2 * g.received, "the server works without an end");
	wsc_stop(g.gw, 0);
	while (turn_all())
		;
	program_send((uint8_t)g.seed); /* too late: the call fails, and no hook is asked */
	g.over = true;
	wsc_free(g.gw);
	expect(g.done_owed == 0, "an outcome was never reported");
	expect(!(g.hooks & 2) || g.let_in == g.let_go, "connect and disconnect hooks do not match");
	for (unsigned i = 0; i < g.npeers; i++) {
		reader_deinit(&g.peer[i].r);
		secure_free(g.peer[i].tls.end);
	}
	buf_deinit(&g.tls.plain);
	kernel_halt();
	return 0;
}
