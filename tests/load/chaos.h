/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the chaos program. `ledger` knows all written messages and so which ones must come, exactly
 * once and in order, at each reader; it touches no socket. `link` is one connection and its bytes; it does not know the
 * form of a message. `chaos` lets senders and devices connect and leave. Any fault ends the program with one line.
 */
#ifndef LOAD_CHAOS_H
#define LOAD_CHAOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SENDERS = 50,
	RECEIVERS = 50,
	DEVICES = 4,     /* of one receiver: the first stays from beginning to end, the others come and leave */
	EVERYBODY = -1,  /* in place of a receiver: a broadcast */
	NOBODY = -2,     /* a reader that is sent nothing but broadcasts */
	PAD_MAX = 60000, /* bytes that a message carries beside its numbers */
	TEXT_MAX = PAD_MAX + 256,
};

/* ---- ledger ---- */

/* The messages of one sending connection, in two lanes: to one receiver, and broadcasts. */
enum { UNICAST, BROADCAST, LANES };

struct source {
	uint32_t sent[RECEIVERS]; /* to each receiver so far */
	uint32_t casts;
	uint32_t order; /* of all that it has written */
	int sender;
	bool torn; /* ended by RST: its last messages may be lost, the first are not */
};

struct ledger {
	struct source *sources;
	uint32_t count, room;
	uint64_t written, casts, deliveries;
};

/* The messages that one reader has seen of one source. */
struct lane {
	uint32_t next; /* the number that must come */
	uint32_t low;  /* before anything came: the first may not be below this, */
	uint32_t high; /* nor above this */
	uint32_t goal; /* to be seen before a leaving reader may leave */
	bool begun;
};

struct seen {
	struct lane lane[LANES];
	uint32_t order;
};

struct reader {
	struct seen *seen; /* by source */
	uint32_t count;
	int receiver;     /* or NOBODY */
	bool live;        /* every message written from now on must come */
	uint32_t missing; /* of a leaving reader: how many still stand between it and its goal */
};

uint32_t ledger_source(struct ledger *l, int sender); /* a new sending connection; returns its number */
/* Number a message of @source to @to (a receiver, EVERYBODY) and write its content; returns the length. */
size_t ledger_write(struct ledger *l, uint32_t source, int to, size_t pad, char text[TEXT_MAX]);

/* @anchor: the first reader of the same receiver; a message that it has got must not come again. NULL: none. */
void reader_init(struct reader *r, const struct ledger *l, int receiver, const struct reader *anchor);
void reader_live(struct reader *r, const struct ledger *l);
/* From now on count in @missing the messages that @anchor has got and @r has not. */
void reader_leave(struct reader *r, const struct ledger *l, const struct reader *anchor);
/* A message has come (the JSON text). Checks everything about it; returns its source. */
uint32_t reader_take(struct reader *r, struct ledger *l, const char *text, size_t len);
/* How many messages are still missing. */
uint64_t reader_lacks(const struct reader *r, const struct ledger *l);
void reader_deinit(struct reader *r);

/* ---- link ---- */

enum link_kind { LINK_WS, LINK_SSE, LINK_HTTP };

enum link_state {
	LINK_OPENING, /* the head of the answer is not whole */
	LINK_LIVE,
	LINK_ENDING, /* close frame or FIN is written; the peer's is awaited */
	LINK_DEAD,
};

struct link {
	enum link_kind kind;
	enum link_state state;
	int fd, epoll;
	uint32_t events; /* the events that epoll reports */
	uint8_t *in;     /* not yet understood */
	size_t in_len, in_room;
	uint8_t *out; /* not yet written */
	size_t out_len, out_room;
	unsigned int unanswered; /* HTTP requests */
	unsigned int answered;
	bool said_close; /* the peer's close frame has come */
	struct link *next_dead;

	/* the fields of `chaos` */
	bool is_source, leaving;
	int owner; /* sender or receiver */
	int slot;  /* of a device */
	uint32_t source, quota;
	struct reader reader;
};

/* The messages and events that link_read() hands over. */
struct link_sink {
	void *user;
	void (*live)(void *user, struct link *k); /* the peer has accepted */
	void (*message)(void *user, struct link *k, const char *text, size_t len);
	void (*ended)(void *user, struct link *k); /* the peer's FIN has come; now dead */
};

struct rng {
	uint64_t state;
};

uint32_t rng_next(struct rng *g);
static inline uint32_t rng_below(struct rng *g, uint32_t n)
{
	return rng_next(g) % n;
}

/* @rcvbuf: bytes that the kernel may hold for us, 0: as many as it likes. */
struct link *link_open(int epoll, unsigned int port, enum link_kind kind, const char *user, int rcvbuf);
void link_put_frame(struct link *k, uint8_t first, const char *at, size_t len, uint32_t mask);
void link_put_text(struct link *k, struct rng *g, const char *at,
		   size_t len); /* one WebSocket message, at times in fragments */
void link_put_request(struct link *k, const char *call, const char *user, const char *body, size_t len);
void link_write(struct link *k, struct rng *g); /* as much as the socket takes; at times less */
void link_read(struct link *k, const struct link_sink *sink);
void link_fin(struct link *k);   /* half-close: we write no more */
void link_reset(struct link *k); /* RST, at once; now dead */
void link_free(struct link *k);

#endif
