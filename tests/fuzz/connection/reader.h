/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader: a strict client that reads the bytes of the server and aborts when they are wrong: HTTP/1.1 answers one
 * behind the other; after a 101 WebSocket frames (unmasked, whole, minimal lengths, no reserved bit but RSV1 on text
 * where compression was agreed on, text that is a message or the bare "pong", at most one close frame and nothing
 * behind it); after a stream's head an event stream by WHATWG's rules, with one message per event and nothing behind
 * the event `closed`. It has no line in common with src/proto and does not know the requests.
 */
#ifndef WSC_TESTS_FUZZ_CONNECTION_READER_H
#define WSC_TESTS_FUZZ_CONNECTION_READER_H

#include "base/buf.h"
#include "connection/zip.h"

enum reader_state { READ_HTTP, READ_BODY, READ_WS, READ_SSE };

/* The keys of a message that every receiver may rely on, between their quotes; empty: not there. */
struct message {
	struct bytes id, type, from, to, content, create_at, data;
	struct bytes ref, code; /* of an error frame's data */
	uint64_t dropped;       /* of a gap notice */
	size_t len;             /* of its text */
	bool deflated;          /* on the wire */
};

struct reader {
	enum reader_state state;
	struct buf in;
	size_t at;
	bool last;       /* nothing may follow this answer */
	bool continued;  /* 100 was said for the request that is next to be answered */
	bool closed;     /* a close frame or the event `closed` has come */
	bool forgeable;  /* clients may have forged messages of the server: the event `closed` proves nothing */
	bool asked_head; /* the client may have asked HEAD: an answer may lack its body */
	unsigned close_code;
	unsigned answers, pings, pongs, events, messages;
	/* the body that is being read */
	unsigned status;
	size_t body;
	bool json;
	struct zip zip; /* the agreement of the answer */
	struct buf inflated;
	struct buf data;  /* of the event that is being read */
	uint64_t dropped; /* messages, by the gap notices */
	void (*on_message)(void *ctx, const struct message *m);
	void (*on_answer)(void *ctx, unsigned status, struct bytes body);
	void *ctx;
};

void reader_feed(struct reader *r, struct bytes in);
/* The server has ended. @whole: nothing kept it from sending all. */
void reader_end(struct reader *r, bool whole);
void reader_deinit(struct reader *r);
/* Aborts with a sentence. */
__attribute__((noreturn)) void wrong(const char *what);

#endif
