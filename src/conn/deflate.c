/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deflate: permessage-deflate of one connection: what was agreed on, and which stream does the work. Without context
 * takeover a connection holds nothing: messages in are inflated by the shard's one stream, messages out are deflated once
 * for all who agreed on the same window, and the result belongs to the message. With takeover it has streams of its own,
 * made on first use; their memory is reserved, and counted, when the extension is agreed on.
 */
#include "conn/conn.h"

#include "base/mem.h"
#include "base/utf8.h"

#define KEEP_BYTES 65536u  /* of scratch memory, between messages */
#define QUICK_BYTES 32768u /* a message that inflates to no more never waits */

struct deflate_contexts {
	struct ws_deflater *out;
	struct ws_inflater *in;
};

/* ---- agreeing ------------------------------------------------------------------------------------------------------- */

/* Reserves @bytes for the contexts of a connection. False: there is no room. */
static bool reserve(struct settings *set, uint64_t bytes)
{
	_Atomic uint64_t *all = &set->shared.context_bytes;

	if (atomic_load_explicit(&set->shared.no_new_contexts, memory_order_relaxed))
		return false;
	if (atomic_fetch_add(all, bytes) + bytes <= set->opt.deflate.memory)
		return true;
	atomic_fetch_sub(all, bytes);
	return false;
}

struct bytes deflate_agree(struct conn *c, const struct http1_head *h, char answer[WS_DEFLATE_ANSWER_MAX])
{
	struct settings *set = conn_shard(c)->set;
	struct ws_deflate_policy policy = set->opt.deflate.policy;
	size_t len, context;

	if (!set->opt.deflate.on)
		return BYTES("");
	len = ws_deflate_choose(h, &policy, &c->deflate, answer);
	context = ws_deflate_context_bytes(&c->deflate);
	if (context && !reserve(set, context)) {
		policy.takeover = false;
		len = ws_deflate_choose(h, &policy, &c->deflate, answer);
	}
	return bytes_of(answer, len);
}

void deflate_forget(struct conn *c)
{
	if (c->contexts) {
		ws_deflater_free(c->contexts->out);
		ws_inflater_free(c->contexts->in);
		mem_free(c->contexts);
		c->contexts = NULL;
	}
	atomic_fetch_sub(&conn_shard(c)->set->shared.context_bytes, ws_deflate_context_bytes(&c->deflate));
	c->deflate = (struct ws_deflate){ 0 };
}

void deflate_shard_deinit(struct shard *sh)
{
	for (unsigned i = 0; i < 8; i++)
		ws_deflater_free(sh->deflate.out[i]);
	ws_inflater_free(sh->deflate.in);
	buf_deinit(&sh->deflate.scratch);
}

static struct deflate_contexts *contexts(struct conn *c)
{
	if (!c->contexts)
		c->contexts = mem_zalloc(sizeof *c->contexts);
	return c->contexts;
}

/* ---- out ------------------------------------------------------------------------------------------------------------ */

static void trim(struct buf *b)
{
	if (b->cap > KEEP_BYTES)
		buf_deinit(b);
	else
		buf_clear(b);
}

/* The frame of @m, deflated, in the shard's scratch memory; empty: it is better sent as it is. */
static struct bytes deflated_frame(struct conn *c, struct ws_deflater *d, const struct msg *m)
{
	struct shard *sh = conn_shard(c);
	struct buf *b = &sh->deflate.scratch;
	uint8_t head[WS_HEADER_MAX];
	size_t n, len;

	buf_clear(b);
	if (!buf_reserve(b, WS_HEADER_MAX + m->len + WS_DEFLATE_ROOM))
		return BYTES("");
	counter_add(&sh->shared.deflated, 1);
	if (ws_deflate(d, msg_text(m), deflate_is_own(c), b->at + WS_HEADER_MAX, &len) != 0)
		return BYTES("");
	n = ws_header(head, m->binary ? WS_OP_BINARY : WS_OP_TEXT, len, WS_RSV1);
	memcpy(b->at + WS_HEADER_MAX - n, head, n);
	return bytes_of(b->at + WS_HEADER_MAX - n, n + len);
}

static bool long_enough(const struct conn *c, const struct msg *m)
{
	return m->len && m->len >= conn_shard(c)->set->opt.deflate.min_bytes;
}

struct bytes deflate_shared(struct conn *c, struct msg *m)
{
	struct shard *sh = conn_shard(c);
	uint8_t bits = c->deflate.server_bits, none = (uint8_t)(1u << (bits - 8));
	struct ws_deflater **d = &sh->deflate.out[bits - 8];
	struct bytes frame = { 0 };
	uint8_t *at;

	if (!long_enough(c, m) || (m->no_gain & none))
		return frame;
	frame = msg_made(m, bits);
	if (frame.at)
		return frame;
	if (!*d)
		*d = ws_deflater_new(bits, sh->set->opt.deflate.level);
	if (*d)
		frame = deflated_frame(c, *d, m);
	at = frame.len ? msg_make(m, bits, frame.len) : NULL;
	if (at)
		memcpy(at, frame.at, frame.len);
	else
		m->no_gain |= none; /* for ever, because a reader may have begun with the other form */
	trim(&sh->deflate.scratch);
	return msg_made(m, bits);
}

void deflate_own(struct conn *c, const struct msg *m, struct buf *out)
{
	struct shard *sh = conn_shard(c);
	struct deflate_contexts *x = long_enough(c, m) ? contexts(c) : NULL;
	struct bytes frame = { 0 };
	uint8_t head[WS_HEADER_MAX];

	if (x && !x->out)
		x->out = ws_deflater_new(c->deflate.server_bits, sh->set->opt.deflate.level);
	if (x && x->out)
		frame = deflated_frame(c, x->out, m);
	if (frame.len) {
		buf_add(out, frame);
	} else {
		buf_add(out, bytes_of(head, ws_header(head, m->binary ? WS_OP_BINARY : WS_OP_TEXT, m->len, 0)));
		buf_add(out, msg_text(m));
	}
	trim(&sh->deflate.scratch);
}

/* ---- in ------------------------------------------------------------------------------------------------------------- */

static struct ws_inflater *inflater(struct conn *c)
{
	struct shard *sh = conn_shard(c);
	struct deflate_contexts *x;

	if (!c->deflate.client_takeover) {
		if (!sh->deflate.in)
			sh->deflate.in = ws_inflater_new(15);
		return sh->deflate.in;
	}
	x = contexts(c);
	if (x && !x->in)
		x->in = ws_inflater_new(c->deflate.client_bits);
	return x ? x->in : NULL;
}

/*
 * A thousand bytes may inflate to a million, and the other clients must not wait for that: a short message is inflated at
 * once, a long one while the turn's budget lasts. A stream of the client's own cannot be tried and begun again, so its
 * messages wait as soon as other connections wait.
 */
static uint64_t limit_now(const struct conn *c, uint64_t max)
{
	const struct shard *sh = conn_shard(c);

	if (!sh->ndeferred && sh->deflate.spent < DEFLATE_TURN_BYTES)
		return max;
	if (c->deflate.client_takeover)
		return 0;
	return max < QUICK_BYTES ? max : QUICK_BYTES;
}

static enum end verdict(int r, bool text, const struct buf *out)
{
	if (r < 0)
		return END_SESSION_MEMORY;
	if (r == WS_INFLATE_TOO_BIG)
		return END_TOO_BIG;
	if (r == WS_INFLATE_BAD)
		return END_BAD_DEFLATE;
	return text && !utf8_valid(buf_bytes(out)) ? END_NOT_UTF8 : END_NONE;
}

enum deflate_result deflate_open(struct conn *c, struct bytes wire, bool text, bool now, struct buf *out, enum end *e)
{
	struct shard *sh = conn_shard(c);
	uint64_t max = sh->set->opt.max_message_bytes, limit = now ? max : limit_now(c, max);
	struct ws_inflater *i = inflater(c);
	int r = -1;

	*out = sh->deflate.scratch; /* the message's further way may need scratch memory too */
	sh->deflate.scratch = BUF_INIT;
	buf_clear(out);
	if (!limit)
		return DEFLATE_LATER;
	if (i)
		r = ws_inflate(i, wire, c->deflate.client_takeover, limit, out);
	sh->deflate.spent += out->len;
	if (r == WS_INFLATE_TOO_BIG && limit < max)
		return DEFLATE_LATER;
	*e = verdict(r, text, out);
	return *e == END_NONE ? DEFLATE_DONE : DEFLATE_FAILED;
}

void deflate_done(struct conn *c, struct buf *out)
{
	struct shard *sh = conn_shard(c);

	trim(out);
	buf_deinit(&sh->deflate.scratch);
	sh->deflate.scratch = *out;
}
