/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope: the JSON object around every message, in and out. Parsing locates the keys that the gateway knows and
 * checks them; everything else, `data` included, is copied from the source into the output byte for byte, so integers,
 * the order of keys and their spelling do not change. The output is always one line of valid UTF-8 JSON, so the same
 * text serves a WebSocket frame and an SSE event. Does not know who may send what to whom.
 *
 * Parsing costs linear time whatever the peer sends, and memory only for messages with more than 32 unknown keys.
 */
#ifndef WSC_PROTO_ENVELOPE_H
#define WSC_PROTO_ENVELOPE_H

#include "base/json.h"

#define ENVELOPE_ID_MAX 64                             /* bytes of `id` and `type`, unescaped */
#define ENVELOPE_ADDRESS_MAX 128                       /* bytes of a user or ticket id, unescaped */
#define ENVELOPE_ID_SCRATCH (6 * ENVELOPE_ADDRESS_MAX) /* enough to unescape id, type, from, to or ticket_id */
#define ENVELOPE_EXPLAIN_MAX 160

enum envelope_key {
	ENVELOPE_ID,
	ENVELOPE_TYPE,
	ENVELOPE_FROM,
	ENVELOPE_TO,
	ENVELOPE_TICKET_ID,
	ENVELOPE_CONTENT,
	ENVELOPE_DATA,
	ENVELOPE_CREATE_AT,
	ENVELOPE_MSG_ID,
	ENVELOPE_REPLY_TO_MSG_ID,
	ENVELOPE_PRIORITY,
	ENVELOPE_SEQ_NO,
	ENVELOPE_STATUS,
	ENVELOPE_REQUIRE_ACK,
	ENVELOPE_KEYS
};

/* All but ENVELOPE_NO_MEMORY are the sender's fault: `bad_message`. envelope_explain() gives a sentence for each. */
enum envelope_error {
	ENVELOPE_OK = 0,
	ENVELOPE_EMPTY = -1,
	ENVELOPE_NOT_JSON = -2,
	ENVELOPE_TOO_DEEP = -3,
	ENVELOPE_NOT_UTF8 = -4,
	ENVELOPE_NOT_OBJECT = -5,
	ENVELOPE_KEY_TWICE = -6,      /* a top-level key, known or not, compared unescaped */
	ENVELOPE_LONE_SURROGATE = -7, /* in a top-level key or string */
	ENVELOPE_NOT_STRING = -8,
	ENVELOPE_DATA_NOT_OBJECT = -9,
	ENVELOPE_BAD_SEQ_NO = -10,
	ENVELOPE_BAD_REQUIRE_ACK = -11,
	ENVELOPE_BAD_ID = -12,      /* 1 to 64 bytes */
	ENVELOPE_BAD_TYPE = -13,    /* at most 64 bytes, no control characters */
	ENVELOPE_BAD_ADDRESS = -14, /* from, to, ticket_id: see envelope_id_ok() */
	ENVELOPE_BAD_CREATE_AT = -15,
	ENVELOPE_BAD_STATUS = -16,
	ENVELOPE_NO_PAYLOAD = -17, /* neither content nor data; only from envelope_check_payload() */
	ENVELOPE_NO_MEMORY = -18
};

/* A known member in its source and the ends of its neighbours, so that it can be left out together with one comma. */
struct envelope_cut {
	enum envelope_key key;
	const uint8_t *start;    /* its first quote */
	const uint8_t *prev_end; /* end of the previous member's value; NULL: it is the first member */
	const uint8_t *next;     /* first quote of the next member; NULL: it is the last member */
};

/* A parsed message: views into @text, which must stay as long as this is used. Read only. */
struct envelope {
	struct bytes text;
	uint32_t present;    /* a bit per key: has a value that is not null, and for type, from, to, ticket_id not "" */
	uint32_t seen;       /* a bit per key: it is in the text */
	bool line_breaks;    /* CR or LF somewhere between the tokens */
	bool create_at_zone; /* create_at has a zone */
	uint8_t ncuts;
	uint32_t unknown; /* unknown keys */
	uint64_t steps;   /* hash slots read to find unknown keys that appear twice: linear in @unknown */
	struct json_value known[ENVELOPE_KEYS];  /* only those in @present are filled */
	struct envelope_cut cuts[ENVELOPE_KEYS]; /* the known members in the order of the source */
	const uint8_t *first, *end; /* from the first member's quote to the end of the last value; NULL: no members */
	struct bytes culprit;       /* the key that an error is about, as it is written in the text */
};

/*
 * Parses and checks one message. @seed is a random SipHash key of this process, so that no client can choose keys that
 * collide. @max_depth: nested objects and arrays, the message itself included; at most JSON_MAX_DEPTH. After an error
 * only envelope_explain() and envelope_id_before() may use @e.
 */
enum envelope_error envelope_parse(struct envelope *e, struct bytes text, unsigned max_depth, const uint64_t seed[2]);
/* The text of @e was copied to @text: all views of @e point there now. */
void envelope_rebase(struct envelope *e, const uint8_t *text);
/* For messages with a recipient: is there something to deliver, content (it may be "") or data? */
enum envelope_error envelope_check_payload(const struct envelope *e);
/* A sentence for @err of @e, valid UTF-8, e.g. "create_at is not an RFC 3339 date"; a view into @out. */
struct bytes envelope_explain(const struct envelope *e, enum envelope_error err, char out[ENVELOPE_EXPLAIN_MAX]);
/* The unescaped id of a message that envelope_parse() refused, if a valid id comes before the fault; else empty. */
struct bytes envelope_id_before(const struct envelope *e, uint8_t scratch[ENVELOPE_ID_SCRATCH]);

/* Is this a user, ticket or device id: 1 to 128 bytes of UTF-8 without control characters? */
bool envelope_id_ok(struct bytes unescaped);

static inline bool envelope_has(const struct envelope *e, enum envelope_key k)
{
	return e->present >> k & 1;
}

/* Does the string member @k equal @want? False when it is absent. */
static inline bool envelope_is(const struct envelope *e, enum envelope_key k, struct bytes want)
{
	return envelope_has(e, k) && json_string_eq(&e->known[k], want);
}

/*
 * The string member @k unescaped; the empty view (at NULL) when absent. Points into the source, or into @scratch when
 * it has escapes; @scratch has ENVELOPE_ID_SCRATCH bytes for the ids and type, known[k].raw.len for any other key.
 */
struct bytes envelope_string(const struct envelope *e, enum envelope_key k, uint8_t *scratch);

/*
 * A string to write: plain bytes, which are escaped when written, or the text of a JSON string with its quotes, which
 * is copied as it is.
 */
struct envelope_text {
	struct bytes s;
	bool raw;
};

static inline struct envelope_text envelope_plain(struct bytes s)
{
	return (struct envelope_text){ .s = s };
}

static inline struct envelope_text envelope_raw(struct bytes json_string)
{
	return (struct envelope_text){ .s = json_string, .raw = true };
}

/* The `data` of an error frame: why a message was refused. */
struct envelope_fault {
	struct bytes code;        /* "user_offline" */
	struct envelope_text ref; /* id of the refused message; left out when empty */
	struct bytes extra;       /* more members of `data`, JSON without braces: "retry_after_ms":120; or empty */
};

/*
 * A message to write, borrowed during the two calls below. The six strings are always written, in this order; then the
 * rest of @source, then @data (or @fault), then @extra. An empty text is written as "".
 */
struct envelope_out {
	struct envelope_text id, type, from, to, content, create_at;
	bool create_at_add_z;               /* @create_at has no zone: append Z */
	const struct envelope *source;      /* its members are copied in their order; NULL: the gateway's own message */
	uint32_t cut;                       /* more keys (1u << key) of @source that are not copied */
	struct bytes data;                  /* valid JSON object, written instead of the source's data; or empty */
	const struct envelope_fault *fault; /* written as data instead; NULL: none */
	struct bytes extra; /* more members as valid JSON text without braces, e.g. "user_id":"alice"; or empty */
};

/*
 * Prepares the output of @e: copies the six strings where they are present and leaves the others empty. The caller then
 * replaces the values that it decides (id, type, from, create_at). Never copied with the rest: those six, a seq_no, and
 * known keys that count as absent.
 */
void envelope_out_from(struct envelope_out *o, const struct envelope *e);
/* An error frame (docs/messages.md): type error, from system. The caller adds id and create_at. */
void envelope_out_error(struct envelope_out *o, struct envelope_text to, struct bytes content,
			const struct envelope_fault *fault);
/* The exact number of bytes that envelope_write() writes. */
size_t envelope_size(const struct envelope_out *o);
/* Writes the message and returns its length. */
size_t envelope_write(const struct envelope_out *o, uint8_t *out);

#endif
