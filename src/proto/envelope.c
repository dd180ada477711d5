/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope: one scan over a message locates the known keys; the output is six strings written anew and the rest of the
 * source without the known keys that are left out. Unknown keys are stored only as keyed hashes, to find a key that
 * appears twice.
 */
#include "proto/envelope.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "base/utf8.h"

#define NO_KEY ENVELOPE_KEYS
#define LONGEST_KEY 15 /* reply_to_msg_id */
#define BIT(key) (1u << (key))

/* Written anew, or dropped (seq_no, because only the gateway numbers its log); never copied with the rest. */
#define NEVER_SPLICED                                                                                            \
	(BIT(ENVELOPE_ID) | BIT(ENVELOPE_TYPE) | BIT(ENVELOPE_FROM) | BIT(ENVELOPE_TO) | BIT(ENVELOPE_CONTENT) | \
	 BIT(ENVELOPE_CREATE_AT) | BIT(ENVELOPE_SEQ_NO))

static const struct bytes names[ENVELOPE_KEYS] = {
	[ENVELOPE_ID] = BYTES("id"),
	[ENVELOPE_TYPE] = BYTES("type"),
	[ENVELOPE_FROM] = BYTES("from"),
	[ENVELOPE_TO] = BYTES("to"),
	[ENVELOPE_TICKET_ID] = BYTES("ticket_id"),
	[ENVELOPE_CONTENT] = BYTES("content"),
	[ENVELOPE_DATA] = BYTES("data"),
	[ENVELOPE_CREATE_AT] = BYTES("create_at"),
	[ENVELOPE_MSG_ID] = BYTES("msg_id"),
	[ENVELOPE_REPLY_TO_MSG_ID] = BYTES("reply_to_msg_id"),
	[ENVELOPE_PRIORITY] = BYTES("priority"),
	[ENVELOPE_SEQ_NO] = BYTES("seq_no"),
	[ENVELOPE_STATUS] = BYTES("status"),
	[ENVELOPE_REQUIRE_ACK] = BYTES("require_ack"),
};

/* The known keys of each length: at most three names to compare. */
static const struct {
	uint8_t n;
	uint8_t keys[3];
} by_length[LONGEST_KEY + 1] = {
	[2] = { 2, { ENVELOPE_TO, ENVELOPE_ID } },
	[4] = { 3, { ENVELOPE_TYPE, ENVELOPE_FROM, ENVELOPE_DATA } },
	[6] = { 3, { ENVELOPE_MSG_ID, ENVELOPE_SEQ_NO, ENVELOPE_STATUS } },
	[7] = { 1, { ENVELOPE_CONTENT } },
	[8] = { 1, { ENVELOPE_PRIORITY } },
	[9] = { 2, { ENVELOPE_CREATE_AT, ENVELOPE_TICKET_ID } },
	[11] = { 1, { ENVELOPE_REQUIRE_ACK } },
	[15] = { 1, { ENVELOPE_REPLY_TO_MSG_ID } },
};

static enum envelope_key find_name(struct bytes key)
{
	if (key.len > LONGEST_KEY)
		return NO_KEY;
	for (unsigned i = 0; i < by_length[key.len].n; i++) {
		enum envelope_key k = by_length[key.len].keys[i];

		if (memcmp(key.at, names[k].at, key.len) == 0)
			return k;
	}
	return NO_KEY;
}

static struct bytes with_quotes(struct bytes key)
{
	return bytes_of(key.at - 1, key.len + 2);
}

static enum envelope_key find_key(const struct json_member *m)
{
	uint8_t plain[6 * LONGEST_KEY] UNSET;

	if (!m->key_escaped)
		return find_name(m->key);
	if (m->key.len > sizeof(plain))
		return NO_KEY;
	return find_name(bytes_of(plain, json_unescape(with_quotes(m->key), plain)));
}

/*
 * The unknown keys of one message as a set of 64-bit keyed hashes, open addressing, at most half full. Two keys of one
 * message count as equal when their hashes are equal. With n different keys that happens by chance once in 2^65 / n^2
 * messages, and a client that does not know the seed cannot make it happen more often.
 */
struct key_set {
	uint64_t *slots; /* 0: free */
	size_t nslots;   /* a power of two */
	size_t count;
	uint64_t steps;
	uint64_t small[64];
};

static void key_set_deinit(struct key_set *s)
{
	if (s->slots != s->small)
		mem_free(s->slots);
}

/* The slot that holds @hash, or the free slot for it. */
static uint64_t *key_set_slot(struct key_set *s, uint64_t hash)
{
	for (size_t i = hash;; i++) {
		uint64_t *slot = &s->slots[i & (s->nslots - 1)];

		s->steps++;
		if (*slot == 0 || *slot == hash)
			return slot;
	}
}

static bool key_set_grow(struct key_set *s)
{
	struct key_set bigger = *s;

	bigger.nslots = s->nslots * 4;
	bigger.slots = mem_calloc(bigger.nslots, sizeof(uint64_t));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < s->nslots; i++)
		if (s->slots[i])
			*key_set_slot(&bigger, s->slots[i]) = s->slots[i];
	key_set_deinit(s);
	s->slots = bigger.slots;
	s->nslots = bigger.nslots;
	s->steps = bigger.steps;
	return true;
}

static enum envelope_error key_set_add(struct key_set *s, uint64_t hash)
{
	uint64_t *slot;

	if (!s->slots) {
		memset(s->small, 0, sizeof(s->small));
		s->slots = s->small;
		s->nslots = sizeof(s->small) / sizeof(s->small[0]);
	}
	if (2 * (s->count + 1) > s->nslots && !key_set_grow(s))
		return ENVELOPE_NO_MEMORY;
	slot = key_set_slot(s, hash);
	if (*slot)
		return ENVELOPE_KEY_TWICE;
	*slot = hash;
	s->count++;
	return ENVELOPE_OK;
}

static uint64_t hash_plain(struct bytes key, const uint64_t seed[2])
{
	uint64_t h = siphash13(seed, key);

	return h ? h : 1;
}

static enum envelope_error add_escaped(struct key_set *s, struct bytes key, const uint64_t seed[2])
{
	uint8_t small[256] UNSET, *plain = key.len <= sizeof(small) ? small : mem_alloc(key.len);
	uint64_t hash;

	if (!plain)
		return ENVELOPE_NO_MEMORY;
	hash = hash_plain(bytes_of(plain, json_unescape(with_quotes(key), plain)), seed);
	if (plain != small)
		mem_free(plain);
	return key_set_add(s, hash);
}

static enum envelope_error add_unknown(struct key_set *s, const struct json_member *m, const uint64_t seed[2])
{
	return m->key_escaped ? add_escaped(s, m->key, seed) : key_set_add(s, hash_plain(m->key, seed));
}

/* Unicode category Cc in valid UTF-8: below space, 0x7f, U+0080 to U+009F. */
static bool has_control(struct bytes s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x20 || s.at[i] == 0x7f || (s.at[i] == 0xc2 && i + 1 < s.len && s.at[i + 1] < 0xa0))
			return true;
	return false;
}

bool envelope_id_ok(struct bytes s)
{
	return s.len > 0 && s.len <= ENVELOPE_ADDRESS_MAX && !has_control(s) && utf8_valid(s);
}

/* Unescapes a string value; false when the result is longer than @max, which is at most ENVELOPE_ADDRESS_MAX. */
static bool short_string(const struct json_value *v, size_t max, uint8_t scratch[ENVELOPE_ID_SCRATCH], struct bytes *s)
{
	*s = bytes_of(v->raw.at + 1, v->raw.len - 2);
	if (v->escaped && s->len <= 6 * max)
		*s = bytes_of(scratch, json_unescape(v->raw, scratch));
	return s->len <= max;
}

static enum envelope_error check_id(const struct json_value *v)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes s;

	return short_string(v, ENVELOPE_ID_MAX, scratch, &s) && s.len ? ENVELOPE_OK : ENVELOPE_BAD_ID;
}

static enum envelope_error check_type(const struct json_value *v)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes s;

	return short_string(v, ENVELOPE_ID_MAX, scratch, &s) && !has_control(s) ? ENVELOPE_OK : ENVELOPE_BAD_TYPE;
}

static enum envelope_error check_address(const struct json_value *v)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes s;

	if (short_string(v, ENVELOPE_ADDRESS_MAX, scratch, &s) && (s.len == 0 || envelope_id_ok(s)))
		return ENVELOPE_OK;
	return ENVELOPE_BAD_ADDRESS;
}

static enum envelope_error check_create_at(struct envelope *e, const struct json_value *v)
{
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes date;

	/* Some encoders write every + as \u002b. No date is longer than an id. */
	if (short_string(v, ENVELOPE_ID_MAX, scratch, &date) && rfc3339_parse(date, &e->create_at_zone, NULL))
		return ENVELOPE_OK;
	return ENVELOPE_BAD_CREATE_AT;
}

static enum envelope_error check_status(const struct json_value *v)
{
	static const struct bytes allowed[] = { BYTES("pending"), BYTES("sent"), BYTES("delivered"), BYTES("read"),
						BYTES("failed") };

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (json_string_eq(v, allowed[i]))
			return ENVELOPE_OK;
	return ENVELOPE_BAD_STATUS;
}

static enum envelope_error check_string(struct envelope *e, enum envelope_key k, const struct json_value *v)
{
	if (v->type != JSON_STRING)
		return ENVELOPE_NOT_STRING;
	switch (k) {
	case ENVELOPE_ID:
		return check_id(v);
	case ENVELOPE_TYPE:
		return check_type(v);
	case ENVELOPE_FROM:
	case ENVELOPE_TO:
	case ENVELOPE_TICKET_ID:
		return check_address(v);
	case ENVELOPE_CREATE_AT:
		return check_create_at(e, v);
	case ENVELOPE_STATUS:
		return check_status(v);
	default:
		return ENVELOPE_OK;
	}
}

static enum envelope_error check_value(struct envelope *e, enum envelope_key k, const struct json_value *v)
{
	int64_t number;

	switch (k) {
	case ENVELOPE_DATA:
		return v->type == JSON_OBJECT ? ENVELOPE_OK : ENVELOPE_DATA_NOT_OBJECT;
	case ENVELOPE_SEQ_NO:
		return json_int64(v, &number) ? ENVELOPE_OK : ENVELOPE_BAD_SEQ_NO;
	case ENVELOPE_REQUIRE_ACK:
		return v->type == JSON_TRUE || v->type == JSON_FALSE ? ENVELOPE_OK : ENVELOPE_BAD_REQUIRE_ACK;
	default:
		return check_string(e, k, v);
	}
}

/* null counts as absent for every key, "" for keys whose value is a name. */
static bool counts_as_absent(enum envelope_key k, const struct json_value *v)
{
	const uint32_t names_something =
		BIT(ENVELOPE_TYPE) | BIT(ENVELOPE_FROM) | BIT(ENVELOPE_TO) | BIT(ENVELOPE_TICKET_ID);

	return v->type == JSON_NULL || (v->type == JSON_STRING && v->raw.len == 2 && (BIT(k) & names_something));
}

static enum envelope_error take_known(struct envelope *e, enum envelope_key k, const struct json_member *m)
{
	if (e->seen & BIT(k))
		return ENVELOPE_KEY_TWICE;
	e->seen |= BIT(k);
	e->cuts[e->ncuts++] = (struct envelope_cut){ .key = k, .start = m->key.at - 1, .prev_end = e->end };
	if (counts_as_absent(k, &m->value))
		return ENVELOPE_OK;
	e->present |= BIT(k);
	e->known[k] = m->value;
	return check_value(e, k, &m->value);
}

static enum envelope_error take_member(struct envelope *e, const struct json_member *m, struct key_set *unknown,
				       const uint64_t seed[2])
{
	enum envelope_key k;

	e->culprit = m->key;
	if (m->key_lone_surrogate || (m->value.type == JSON_STRING && m->value.lone_surrogate))
		return ENVELOPE_LONE_SURROGATE;
	k = find_key(m);
	if (k != NO_KEY)
		return take_known(e, k, m);
	e->unknown++;
	return add_unknown(unknown, m, seed);
}

/* Records where the members begin. */
static void link_member(struct envelope *e, const struct json_member *m, bool prev_known)
{
	if (!e->first)
		e->first = m->key.at - 1;
	if (prev_known)
		e->cuts[e->ncuts - 1].next = m->key.at - 1;
}

static enum envelope_error take_members(struct envelope *e, struct json_walk *w, struct key_set *unknown,
					const uint64_t seed[2])
{
	enum envelope_error err;
	struct json_member m;
	bool prev_known = false;
	int r;

	while ((r = json_object_next(w, &m)) > 0) {
		uint8_t ncuts = e->ncuts;

		link_member(e, &m, prev_known);
		err = take_member(e, &m, unknown, seed);
		if (err)
			return err;
		prev_known = e->ncuts > ncuts;
		e->end = m.value.raw.at + m.value.raw.len;
	}
	e->line_breaks = w->line_breaks;
	return (enum envelope_error)r;
}

_Static_assert((int)JSON_EMPTY == (int)ENVELOPE_EMPTY && (int)JSON_SYNTAX == (int)ENVELOPE_NOT_JSON &&
		       (int)JSON_DEPTH == (int)ENVELOPE_TOO_DEEP && (int)JSON_UTF8 == (int)ENVELOPE_NOT_UTF8 &&
		       (int)JSON_NOT_OBJECT == (int)ENVELOPE_NOT_OBJECT,
	       "errors of the JSON scanner are returned unchanged");

enum envelope_error envelope_parse(struct envelope *e, struct bytes text, unsigned max_depth, const uint64_t seed[2])
{
	struct key_set unknown;
	struct json_walk w;
	int err;

	e->text = text;
	e->present = e->seen = 0;
	e->line_breaks = e->create_at_zone = false;
	e->ncuts = 0;
	e->unknown = 0;
	e->first = e->end = NULL;
	e->culprit = (struct bytes){ 0 };
	unknown.slots = NULL;
	unknown.nslots = unknown.count = 0;
	unknown.steps = 0;
	err = (int)json_object_begin(&w, text);
	w.max_depth = max_depth;
	if (!err)
		err = (int)take_members(e, &w, &unknown, seed);
	if (unknown.slots)
		key_set_deinit(&unknown);
	e->steps = unknown.steps;
	return (enum envelope_error)err;
}

struct bytes envelope_id_before(const struct envelope *e, uint8_t scratch[ENVELOPE_ID_SCRATCH])
{
	const struct json_value *id = &e->known[ENVELOPE_ID];

	if (!envelope_has(e, ENVELOPE_ID) || id->type != JSON_STRING || check_id(id) != ENVELOPE_OK)
		return (struct bytes){ 0 };
	return envelope_string(e, ENVELOPE_ID, scratch);
}

static void rebase(const uint8_t **at, const uint8_t *from, const uint8_t *to)
{
	if (*at)
		*at = to + (*at - from);
}

void envelope_rebase(struct envelope *e, const uint8_t *text)
{
	const uint8_t *from = e->text.at;

	for (unsigned k = 0; k < ENVELOPE_KEYS; k++)
		if (envelope_has(e, (enum envelope_key)k))
			rebase(&e->known[k].raw.at, from, text);
	for (unsigned i = 0; i < e->ncuts; i++) {
		rebase(&e->cuts[i].start, from, text);
		rebase(&e->cuts[i].prev_end, from, text);
		rebase(&e->cuts[i].next, from, text);
	}
	rebase(&e->first, from, text);
	rebase(&e->end, from, text);
	e->culprit = (struct bytes){ 0 };
	e->text.at = text;
}

enum envelope_error envelope_check_payload(const struct envelope *e)
{
	return envelope_has(e, ENVELOPE_CONTENT) || envelope_has(e, ENVELOPE_DATA) ? ENVELOPE_OK : ENVELOPE_NO_PAYLOAD;
}

/* The sentence for each error: the culprit is written between @before and @after; without @after it is not named. */
static const struct {
	const char *before, *after;
} sentences[] = {
	[-ENVELOPE_OK] = { "the message is valid", NULL },
	[-ENVELOPE_EMPTY] = { "the message is empty", NULL },
	[-ENVELOPE_NOT_JSON] = { "the message is not valid JSON", NULL },
	[-ENVELOPE_TOO_DEEP] = { "the message is nested deeper than limits.json_depth allows", NULL },
	[-ENVELOPE_NOT_UTF8] = { "the message is not valid UTF-8", NULL },
	[-ENVELOPE_NOT_OBJECT] = { "the message must be a JSON object", NULL },
	[-ENVELOPE_KEY_TWICE] = { "the key \"", "\" appears twice" },
	[-ENVELOPE_LONE_SURROGATE] = { "\"", "\" has half of a surrogate pair: \\ud800 to \\udfff must come in pairs" },
	[-ENVELOPE_NOT_STRING] = { "", " must be a string" },
	[-ENVELOPE_DATA_NOT_OBJECT] = { "data must be an object", NULL },
	[-ENVELOPE_BAD_SEQ_NO] = { "seq_no must be an integer", NULL },
	[-ENVELOPE_BAD_REQUIRE_ACK] = { "require_ack must be true or false", NULL },
	[-ENVELOPE_BAD_ID] = { "id must be 1 to 64 bytes", NULL },
	[-ENVELOPE_BAD_TYPE] = { "type must be 1 to 64 bytes without control characters", NULL },
	[-ENVELOPE_BAD_ADDRESS] = { "", " must be 1 to 128 bytes without control characters" },
	[-ENVELOPE_BAD_CREATE_AT] = { "create_at is not an RFC 3339 date", NULL },
	[-ENVELOPE_BAD_STATUS] = { "status must be pending, sent, delivered, read or failed", NULL },
	[-ENVELOPE_NO_PAYLOAD] = { "content or data is required", NULL },
	[-ENVELOPE_NO_MEMORY] = { "out of memory", NULL },
};

static uint8_t *put(uint8_t *p, struct bytes s)
{
	if (s.len)
		memcpy(p, s.at, s.len);
	return p + s.len;
}

struct bytes envelope_explain(const struct envelope *e, enum envelope_error err, char out[ENVELOPE_EXPLAIN_MAX])
{
	uint8_t *begin = (uint8_t *)out, *p = put(begin, bytes_str(sentences[-(int)err].before));

	if (sentences[-(int)err].after) {
		p = put(p, bytes_of(e->culprit.at, utf8_prefix(e->culprit, 64)));
		p = put(p, bytes_str(sentences[-(int)err].after));
	}
	return bytes_of(begin, (size_t)(p - begin));
}

struct bytes envelope_string(const struct envelope *e, enum envelope_key k, uint8_t *scratch)
{
	const struct json_value *v = &e->known[k];

	if (!envelope_has(e, k) || v->type != JSON_STRING)
		return (struct bytes){ 0 };
	if (v->escaped)
		return bytes_of(scratch, json_unescape(v->raw, scratch));
	return bytes_of(v->raw.at + 1, v->raw.len - 2);
}

static inline void set_text(struct envelope_text *t, const struct envelope *e, enum envelope_key k)
{
	t->raw = envelope_has(e, k);
	t->s.at = t->raw ? e->known[k].raw.at : NULL;
	t->s.len = t->raw ? e->known[k].raw.len : 0;
}

void envelope_out_from(struct envelope_out *o, const struct envelope *e)
{
	set_text(&o->id, e, ENVELOPE_ID);
	set_text(&o->type, e, ENVELOPE_TYPE);
	set_text(&o->from, e, ENVELOPE_FROM);
	set_text(&o->to, e, ENVELOPE_TO);
	set_text(&o->content, e, ENVELOPE_CONTENT);
	set_text(&o->create_at, e, ENVELOPE_CREATE_AT);
	o->create_at_add_z = envelope_has(e, ENVELOPE_CREATE_AT) && !e->create_at_zone;
	o->source = e;
	o->cut = 0;
	o->data = o->extra = (struct bytes){ 0 };
	o->fault = NULL;
}

void envelope_out_error(struct envelope_out *o, struct envelope_text to, struct bytes content,
			const struct envelope_fault *fault)
{
	*o = (struct envelope_out){
		.type = envelope_plain(BYTES("error")),
		.from = envelope_plain(BYTES("system")),
		.to = to,
		.content = envelope_plain(content),
		.fault = fault,
	};
}

/* A walk over the parts of @source that are copied: members with commas between them, no comma at either end. */
struct splice {
	const struct envelope *source;
	uint32_t drop;
	unsigned cut;
	const uint8_t *at; /* NULL: at the end */
};

static struct splice splice_begin(const struct envelope_out *o)
{
	const struct envelope *e = o->source;
	struct splice s = { .source = e };

	if (!e)
		return s;
	s.at = e->first;
	s.drop = NEVER_SPLICED | ~e->present | o->cut;
	if (o->data.len || o->fault)
		s.drop |= BIT(ENVELOPE_DATA);
	return s;
}

static bool splice_next(struct splice *s, struct bytes *part)
{
	const uint8_t *from = s->at;

	if (!from)
		return false;
	while (s->cut < s->source->ncuts) {
		const struct envelope_cut *c = &s->source->cuts[s->cut++];

		if (!(s->drop & BIT(c->key)))
			continue;
		s->at = c->next;
		if (from != c->start) {
			*part = bytes_of(from, (size_t)(c->prev_end - from));
			return true;
		}
		from = c->next;
		if (!from)
			return false;
	}
	s->at = NULL;
	*part = bytes_of(from, (size_t)(s->source->end - from));
	return true;
}

static inline size_t text_size(const struct envelope_text *t)
{
	return t->raw ? t->s.len : json_escaped_len(t->s) + 2;
}

static inline uint8_t *put_text(uint8_t *p, const struct envelope_text *t)
{
	if (t->raw)
		return put(p, t->s);
	*p++ = '"';
	p += json_escape(t->s, p);
	*p++ = '"';
	return p;
}

static uint8_t *put_one_line(uint8_t *p, struct bytes json)
{
	json_copy_one_line(p, json);
	return p + json.len;
}

static uint8_t *put_comma(uint8_t *p, struct bytes members)
{
	*p++ = ',';
	return put(p, members);
}

#define FAULT_CODE BYTES(",\"data\":{\"code\":")
#define FAULT_REF BYTES(",\"ref\":")
#define DATA BYTES(",\"data\":")

static size_t fault_size(const struct envelope_fault *f)
{
	size_t n = FAULT_CODE.len + json_escaped_len(f->code) + 2 + 1;

	if (f->ref.s.len)
		n += FAULT_REF.len + text_size(&f->ref);
	if (f->extra.len)
		n += 1 + f->extra.len;
	return n;
}

static uint8_t *put_fault(uint8_t *p, const struct envelope_fault *f)
{
	const struct envelope_text code = envelope_plain(f->code);

	p = put_text(put(p, FAULT_CODE), &code);
	if (f->ref.s.len)
		p = put_text(put(p, FAULT_REF), &f->ref);
	if (f->extra.len)
		p = put_comma(p, f->extra);
	*p++ = '}';
	return p;
}

/* All bytes that are written in front of the six strings. */
#define NAMES_SIZE (sizeof("{\"id\":,\"type\":,\"from\":,\"to\":,\"content\":,\"create_at\":") - 1)

size_t envelope_size(const struct envelope_out *o)
{
	struct splice s = splice_begin(o);
	struct bytes part;
	size_t n = NAMES_SIZE + 1;

	n += text_size(&o->id) + text_size(&o->type) + text_size(&o->from) + text_size(&o->to) + text_size(&o->content);
	n += text_size(&o->create_at) + o->create_at_add_z;
	while (splice_next(&s, &part))
		n += 1 + part.len;
	if (o->fault)
		n += fault_size(o->fault);
	else if (o->data.len)
		n += DATA.len + o->data.len;
	if (o->extra.len)
		n += 1 + o->extra.len;
	return n;
}

static uint8_t *put_spliced(uint8_t *p, const struct envelope_out *o)
{
	struct splice s = splice_begin(o);
	struct bytes part;

	while (splice_next(&s, &part)) {
		*p++ = ',';
		p = o->source->line_breaks ? put_one_line(p, part) : put(p, part);
	}
	return p;
}

size_t envelope_write(const struct envelope_out *o, uint8_t *out)
{
	uint8_t *p = out;

	p = put_text(put(p, BYTES("{\"id\":")), &o->id);
	p = put_text(put(p, BYTES(",\"type\":")), &o->type);
	p = put_text(put(p, BYTES(",\"from\":")), &o->from);
	p = put_text(put(p, BYTES(",\"to\":")), &o->to);
	p = put_text(put(p, BYTES(",\"content\":")), &o->content);
	p = put_text(put(p, BYTES(",\"create_at\":")), &o->create_at);
	if (o->create_at_add_z) {
		p[-1] = 'Z';
		*p++ = '"';
	}
	p = put_spliced(p, o);
	if (o->fault)
		p = put_fault(p, o->fault);
	else if (o->data.len)
		p = put_one_line(put(p, DATA), o->data);
	if (o->extra.len)
		p = put_comma(p, o->extra);
	*p++ = '}';
	return (size_t)(p - out);
}
