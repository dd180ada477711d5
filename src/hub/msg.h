/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg: one message, immutable, reference-counted, owned by one worker. Its JSON text is written once, directly after
 * some head room, so that a wire form that is "header, then the text" (a WebSocket frame) needs no second copy. Other
 * wire forms are made on first use, once per message and not once per reader (a broadcast is encoded once per wire
 * form, deflated forms included). This module does not know the content of a wire form: the code that flushes writes
 * it.
 */
#ifndef WSC_HUB_MSG_H
#define WSC_HUB_MSG_H

#include "base/bytes.h"

#define MSG_HEAD_ROOM 10 /* the longest header of an unmasked WebSocket frame */
#define MSG_TAIL_ROOM 2

enum msg_form { MSG_FORM_WS, MSG_FORM_SSE, MSG_FORMS };

/* The kind of a message in the statistics. */
enum msg_kind {
	MSG_SERVER, /* errors, pongs, welcomes, receipts: never counted as sent */
	MSG_USER    /* a unicast, a ticket message or a broadcast */
};

#define MSG_CLASSES 3

struct msg;

/* A wire form with its own memory. */
struct msg_made {
	struct msg_made *next;
	uint32_t len;
	uint8_t key; /* which form: chosen by the caller of msg_make() */
	uint8_t at[];
};

/* One per worker: the bytes of its messages, and a bounded number of spare blocks. Zeroed memory is an empty one. */
struct msg_owner {
	size_t bytes; /* of all live messages, including bookkeeping and wire forms */
	size_t count;
	struct msg *spare[MSG_CLASSES];
	uint32_t spares[MSG_CLASSES];
};

struct msg {
	union {
		struct msg_owner *owner;
		struct msg *next_spare; /* while it is a spare block */
	};
	uint64_t seq; /* position in the log; 0: not logged */
	uint32_t refs;
	uint32_t len; /* of the JSON text; the caller of msg_new() may reduce it before it passes the message on */
	struct bytes form[MSG_FORMS]; /* .at == NULL: not made yet */
	struct msg_made *made;        /* forms that do not fit into the room: msg_make(); freed with the message */
	uint32_t weight;              /* its share of owner->bytes */
	uint32_t accepted_us;         /* low 32 bits of the monotonic us when hub_publish() took it, on any worker */
	uint8_t kind;                 /* enum msg_kind */
	uint8_t size_class;           /* of its block, MSG_CLASSES: none */
	bool binary;                  /* is sent as a binary message; else as text, as all JSON is */
	uint8_t no_gain; /* deflated forms that would not be shorter; the code that makes them defines the bits */
	uint8_t room[MSG_HEAD_ROOM]; /* header bytes end where json[] begins */
	uint8_t json[];              /* len bytes, then MSG_TAIL_ROOM */
};

/* The bytes that a reference to @m counts in a queue: the text and the bookkeeping. */
#define MSG_CHARGE_FIXED 16u
static inline uint32_t msg_charge(const struct msg *m)
{
	return m->len + MSG_CHARGE_FIXED;
}

/* The longest text; msg_new() refuses longer ones as if there was no memory. */
#define MSG_MAX_LEN ((size_t)1 << 30)

/* A message with one reference; the caller fills json[] before it passes the message on. NULL: out of memory. */
struct msg *msg_new(struct msg_owner *owner, enum msg_kind kind, size_t json_len);
/* @n bytes for a form that needs its own memory, kept in m->made and counted; NULL: out of memory. Once per key. */
uint8_t *msg_make(struct msg *m, uint8_t key, size_t n);
/* The form that was made with @key; an empty view when there is none. */
struct bytes msg_made(const struct msg *m, uint8_t key);
static inline struct msg *msg_ref(struct msg *m)
{
	m->refs++;
	return m;
}
void msg_unref(struct msg *m);
/* Frees the spare blocks; asserts that no message is left. */
void msg_owner_deinit(struct msg_owner *owner);

static inline struct bytes msg_text(const struct msg *m)
{
	return bytes_of(m->json, m->len);
}

#endif
