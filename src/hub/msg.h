/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg: one message, immutable, counted, one worker's. Its JSON text is written once, right behind a little head room, so
 * that a wire form which is "header, then the text" (a WebSocket frame) needs no second copy; other forms are made on
 * first use, once per message and not once per reader (a broadcast is encoded once per wire form, deflated ones included).
 * What a form looks like is not known here: whoever flushes fills it in.
 */
#ifndef WSC_HUB_MSG_H
#define WSC_HUB_MSG_H

#include "base/bytes.h"

#define MSG_HEAD_ROOM 10 /* the longest header of an unmasked WebSocket frame */
#define MSG_TAIL_ROOM 2

enum msg_form { MSG_FORM_WS, MSG_FORM_SSE, MSG_FORMS };

/* What the statistics call it. */
enum msg_kind {
	MSG_SERVER, /* errors, pongs, welcomes, receipts: never counted as sent */
	MSG_USER    /* a unicast, a ticket message or a broadcast */
};

#define MSG_CLASSES 3

struct msg;

/* A wire form with memory of its own. */
struct msg_made {
	struct msg_made *next;
	uint32_t len;
	uint8_t key; /* which: the name that its maker gave it */
	uint8_t at[];
};

/* One per worker: what its messages weigh, and a bounded number of spare blocks. Zeroed memory is an empty one. */
struct msg_owner {
	size_t bytes; /* of all live messages, bookkeeping and forms made included */
	size_t count;
	struct msg *spare[MSG_CLASSES];
	uint32_t spares[MSG_CLASSES];
};

struct msg {
	union {
		struct msg_owner *owner;
		struct msg *next_spare; /* while it is nobody's */
	};
	uint64_t seq; /* position in the log; 0: not logged */
	uint32_t refs;
	uint32_t
		len; /* of the JSON text; its writer may make it shorter than was asked for, before anybody else sees it */
	struct bytes form[MSG_FORMS]; /* .at == NULL: not made yet */
	struct msg_made *made;        /* forms that did not fit into the room: msg_make(); freed with the message */
	uint32_t weight;              /* what it counts in owner->bytes */
	uint8_t kind;                 /* enum msg_kind */
	uint8_t size_class;           /* of its block, MSG_CLASSES: none */
	bool binary;                  /* goes out as binary; else it is text, as all JSON is */
	uint8_t no_gain; /* deflated forms that are not worth making; whoever makes them gives the bits their meaning */
	uint8_t room[MSG_HEAD_ROOM]; /* header bytes end where json[] begins */
	uint8_t json[];              /* len bytes, then MSG_TAIL_ROOM */
};

/* What a reference to @m costs its reader: the text and the bookkeeping. */
#define MSG_CHARGE_FIXED 16u
static inline uint32_t msg_charge(const struct msg *m)
{
	return m->len + MSG_CHARGE_FIXED;
}

/* The longest text; longer ones are refused like memory that is out. */
#define MSG_MAX_LEN ((size_t)1 << 30)

/* One reference, json[] to be filled by the caller before anybody else sees it; NULL when memory is out. */
struct msg *msg_new(struct msg_owner *owner, enum msg_kind kind, size_t json_len);
/* @n bytes for a form that needs memory of its own, kept in m->made and counted; NULL: out of memory. Once per key. */
uint8_t *msg_make(struct msg *m, uint8_t key, size_t n);
/* The form that was made under @key; an empty view: none was. */
struct bytes msg_made(const struct msg *m, uint8_t key);
static inline struct msg *msg_ref(struct msg *m)
{
	m->refs++;
	return m;
}
void msg_unref(struct msg *m);
/* Gives the spare blocks back; asserts that no message is left. */
void msg_owner_deinit(struct msg_owner *owner);

static inline struct bytes msg_text(const struct msg *m)
{
	return bytes_of(m->json, m->len);
}

#endif
