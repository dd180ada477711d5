/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_deflate: see ws_deflate.h. Offers are parsed by the grammar of RFC 6455 §9.1, each byte once. The streams are raw
 * DEFLATE; a message ends with an empty stored block of which only the first byte is sent (§7.2.1), so inflating
 * appends the other four.
 */
#include "proto/ws_deflate.h"

#include <assert.h>
#include <stdio.h>
#include <zlib.h>

#include "base/mem.h"
#include "wsc/error.h"

#define NAME "permessage-deflate"
#define BITS_MAX 15u
#define CHUNK 16384u /* bytes inflated between two checks of the limit */

/* Offers ---------------------------------------------------------------------------------------------------------- */

enum param { SERVER_NO_TAKEOVER = 1, CLIENT_NO_TAKEOVER = 2, SERVER_BITS = 4, CLIENT_BITS = 8 };

struct offer {
	bool ok;
	unsigned seen;                    /* enum param */
	uint8_t server_bits, client_bits; /* 0: no value */
};

static bool is_token_char(uint8_t c)
{
	return http1_token_valid(bytes_of(&c, 1));
}

static void skip_space(struct bytes *in)
{
	while (in->len && (in->at[0] == ' ' || in->at[0] == '\t'))
		bytes_skip(in, 1);
}

static bool take_char(struct bytes *in, uint8_t c)
{
	skip_space(in);
	if (!in->len || in->at[0] != c)
		return false;
	bytes_skip(in, 1);
	return true;
}

/* Empty when there is no token. */
static struct bytes take_token(struct bytes *in)
{
	struct bytes token;
	size_t n = 0;

	skip_space(in);
	while (n < in->len && is_token_char(in->at[n]))
		n++;
	token = bytes_of(in->at, n);
	bytes_skip(in, n);
	return token;
}

/* The value of a parameter without quotes; only its first bytes, because no valid value is longer. */
struct value {
	char at[4];
	size_t len; /* of the whole value; 0: none */
};

static void add_char(struct value *v, uint8_t c)
{
	if (v->len < sizeof(v->at))
		v->at[v->len] = (char)c;
	v->len++;
}

/* A quoted string must be a token without its quotes (RFC 6455 §9.1). @in begins after the first quote. */
static bool take_quoted(struct bytes *in, struct value *v)
{
	uint8_t c;

	while (bytes_take_u8(in, &c)) {
		if (c == '"')
			return v->len > 0;
		if (c == '\\' && !bytes_take_u8(in, &c))
			return false;
		if (!is_token_char(c))
			return false;
		add_char(v, c);
	}
	return false;
}

static bool take_value(struct bytes *in, struct value *v)
{
	struct bytes token;

	if (take_char(in, '"'))
		return take_quoted(in, v);
	token = take_token(in);
	for (size_t i = 0; i < token.len; i++)
		add_char(v, token.at[i]);
	return token.len > 0;
}

/* "8" to "15" without a leading zero (§7.1.2.1); 0: another value. */
static uint8_t bits_of(const struct value *v)
{
	if (v->len == 1 && (v->at[0] == '8' || v->at[0] == '9'))
		return (uint8_t)(v->at[0] - '0');
	if (v->len == 2 && v->at[0] == '1' && v->at[1] >= '0' && v->at[1] <= '5')
		return (uint8_t)(10 + v->at[1] - '0');
	return 0;
}

static enum param param_of(struct bytes name)
{
	if (bytes_eq(name, BYTES("server_no_context_takeover")))
		return SERVER_NO_TAKEOVER;
	if (bytes_eq(name, BYTES("client_no_context_takeover")))
		return CLIENT_NO_TAKEOVER;
	if (bytes_eq(name, BYTES("server_max_window_bits")))
		return SERVER_BITS;
	return bytes_eq(name, BYTES("client_max_window_bits")) ? CLIENT_BITS : 0;
}

/* False: with this parameter the offer is not acceptable. */
static bool take_param(struct offer *o, struct bytes name, const struct value *v)
{
	enum param p = param_of(name);

	if (!p || (o->seen & p))
		return false;
	o->seen |= p;
	if (p == SERVER_BITS)
		return (o->server_bits = bits_of(v)) != 0;
	if (p == CLIENT_BITS)
		return v->len == 0 || (o->client_bits = bits_of(v)) != 0;
	return v->len == 0;
}

/* The next extension in the list. False: there is none, or a syntax error makes the rest useless. */
static bool next_offer(struct bytes *in, struct offer *o)
{
	struct bytes name;

	while (take_char(in, ','))
		;
	name = take_token(in);
	*o = (struct offer){ .ok = bytes_eq(name, BYTES(NAME)) };
	if (!name.len)
		return false;
	while (take_char(in, ';')) {
		struct value v = { .len = 0 };

		name = take_token(in);
		if (!name.len || (take_char(in, '=') && !take_value(in, &v)))
			return false;
		o->ok = o->ok && take_param(o, name, &v);
	}
	return !in->len || in->at[0] == ',';
}

static uint8_t smaller(uint8_t offered, uint8_t ours)
{
	return offered && offered < ours ? offered : ours;
}

static struct ws_deflate accept_offer(const struct offer *o, const struct ws_deflate_policy *p)
{
	return (struct ws_deflate){
		.on = true,
		.server_takeover = p->takeover && !(o->seen & SERVER_NO_TAKEOVER),
		.client_takeover = p->takeover && !(o->seen & CLIENT_NO_TAKEOVER),
		.server_bits = smaller(o->server_bits, p->window_bits) & BITS_MAX,
		.client_bits = (o->seen & CLIENT_BITS ? smaller(o->client_bits, p->window_bits) : BITS_MAX) & BITS_MAX,
	};
}

/*
 * Writes the parameters that differ from the default of the extension; the client's window only if the client has
 * offered it (§7.1.2.2).
 */
static size_t write_answer(const struct offer *o, const struct ws_deflate *d, char *answer)
{
	char *at = answer, *end = answer + WS_DEFLATE_ANSWER_MAX;

	at += snprintf(at, (size_t)(end - at), "%s%s%s", NAME, d->server_takeover ? "" : "; server_no_context_takeover",
		       d->client_takeover ? "" : "; client_no_context_takeover");
	if (o->server_bits || d->server_bits < BITS_MAX)
		at += snprintf(at, (size_t)(end - at), "; server_max_window_bits=%u", d->server_bits);
	if (o->client_bits || d->client_bits < BITS_MAX)
		at += snprintf(at, (size_t)(end - at), "; client_max_window_bits=%u", d->client_bits);
	return (size_t)(at - answer);
}

size_t ws_deflate_choose(const struct http1_head *h, const struct ws_deflate_policy *policy, struct ws_deflate *out,
			 char answer[WS_DEFLATE_ANSWER_MAX])
{
	const struct http1_field *f = NULL;
	struct offer o;

	assert(policy->window_bits >= 9 && policy->window_bits <= BITS_MAX);
	*out = (struct ws_deflate){ 0 };
	while ((f = http1_find_next(h, BYTES("Sec-WebSocket-Extensions"), f))) {
		struct bytes list = f->value;

		while (next_offer(&list, &o)) {
			if (!o.ok)
				continue;
			*out = accept_offer(&o, policy);
			return write_answer(&o, out, answer);
		}
	}
	return 0;
}

/* Streams --------------------------------------------------------------------------------------------------------- */

struct ws_deflater {
	z_stream z;
};

struct ws_inflater {
	z_stream z;
};

static void *zlib_alloc(void *opaque, unsigned int count, unsigned int size)
{
	(void)opaque;
	return mem_calloc(count, size);
}

static void zlib_free(void *opaque, void *p)
{
	(void)opaque;
	mem_free(p);
}

/* zlib has no window of 256 bytes. The next larger one with Z_RLE does as well: it refers back by one byte only. */
static unsigned zlib_bits(unsigned bits)
{
	return bits < 9 ? 9 : bits;
}

static unsigned mem_level(unsigned bits)
{
	return zlib_bits(bits) - 7;
}

size_t ws_deflate_context_bytes(const struct ws_deflate *d)
{
	size_t n = 0;

	/* The formulas of zconf.h, and the memory of a stream beside its buffers. */
	if (d->server_takeover)
		n += ((size_t)4 << zlib_bits(d->server_bits)) + ((size_t)512 << mem_level(d->server_bits)) + 6144;
	if (d->client_takeover)
		n += ((size_t)1 << zlib_bits(d->client_bits)) + 7424;
	return n;
}

struct ws_deflater *ws_deflater_new(unsigned bits, unsigned level)
{
	struct ws_deflater *d = mem_zalloc(sizeof(*d));

	assert(bits >= 8 && bits <= BITS_MAX && level >= 1 && level <= 9);
	if (!d)
		return NULL;
	d->z.zalloc = zlib_alloc;
	d->z.zfree = zlib_free;
	if (deflateInit2(&d->z, (int)level, Z_DEFLATED, -(int)zlib_bits(bits), (int)mem_level(bits),
			 bits < 9 ? Z_RLE : Z_DEFAULT_STRATEGY) == Z_OK)
		return d;
	mem_free(d);
	return NULL;
}

void ws_deflater_free(struct ws_deflater *d)
{
	if (!d)
		return;
	(void)deflateEnd(&d->z);
	mem_free(d);
}

struct ws_inflater *ws_inflater_new(unsigned bits)
{
	struct ws_inflater *i = mem_zalloc(sizeof(*i));

	assert(bits >= 8 && bits <= BITS_MAX);
	if (!i)
		return NULL;
	i->z.zalloc = zlib_alloc;
	i->z.zfree = zlib_free;
	if (inflateInit2(&i->z, -(int)zlib_bits(bits)) == Z_OK)
		return i;
	mem_free(i);
	return NULL;
}

void ws_inflater_free(struct ws_inflater *i)
{
	if (!i)
		return;
	(void)inflateEnd(&i->z);
	mem_free(i);
}

/*
 * One call with more room than the message has bytes: either the whole output fits, the flush included, or compressing
 * does not pay. So deflate() never flushes twice, which would add an empty block.
 */
int ws_deflate(struct ws_deflater *d, struct bytes in, bool takeover, uint8_t *out, size_t *len)
{
	static const uint8_t tail[4] = { 0x00, 0x00, 0xff, 0xff };
	bool done;
	size_t n;

	assert(in.len && in.len <= UINT32_MAX - WS_DEFLATE_ROOM);
	d->z.next_in = (Bytef *)(uintptr_t)in.at;
	d->z.avail_in = (uInt)in.len;
	d->z.next_out = out;
	d->z.avail_out = (uInt)(in.len + WS_DEFLATE_ROOM);
	(void)deflate(&d->z, Z_SYNC_FLUSH);
	n = in.len + WS_DEFLATE_ROOM - d->z.avail_out;
	*len = n - (n < sizeof(tail) ? n : sizeof(tail));
	done = !d->z.avail_in && d->z.avail_out && *len && *len < in.len && !memcmp(out + *len, tail, sizeof(tail));
	if (!done || !takeover)
		(void)deflateReset(&d->z);
	return done ? 0 : WS_DEFLATE_PLAIN;
}

/* Inflates all of @in. 0: all of it is consumed; *ended: it ends exactly at the end of a final block. */
static int inflate_some(z_stream *z, struct bytes in, uint64_t max, struct buf *out, bool *ended)
{
	uint8_t beyond = 0;

	*ended = false;
	z->next_in = (Bytef *)(uintptr_t)in.at;
	z->avail_in = (uInt)in.len;
	do {
		uint64_t left = max - out->len;
		uInt room = (uInt)(left < CHUNK ? left : CHUNK);
		int r;

		if (room && !buf_reserve(out, room))
			return -WSC_ENOMEM;
		z->next_out = room ? out->at + out->len : &beyond;
		z->avail_out = room ? room : 1;
		r = inflate(z, Z_SYNC_FLUSH);
		if (!room && !z->avail_out)
			return WS_INFLATE_TOO_BIG;
		out->len += room ? room - z->avail_out : 0;
		*ended = r == Z_STREAM_END;
		if (*ended)
			r = inflateResetKeep(z); /* the next block may refer to earlier bytes */
		if (r == Z_MEM_ERROR)
			return -WSC_ENOMEM;
		if (r == Z_BUF_ERROR)
			break; /* no input and no output was left */
		if (r != Z_OK)
			return WS_INFLATE_BAD;
	} while (z->avail_in || (!z->avail_out && !*ended));
	return 0;
}

/* Is the stream between two blocks, with all bits of the last byte used? */
static bool at_boundary(const z_stream *z)
{
	return (z->data_type & 128) && !(z->data_type & 63);
}

int ws_inflate(struct ws_inflater *i, struct bytes in, bool takeover, uint64_t max, struct buf *out)
{
	bool ended;
	int r;

	if (max > BUF_MAX)
		max = BUF_MAX;
	if (out->len > max || in.len > UINT32_MAX)
		return WS_INFLATE_TOO_BIG;
	if (!in.len) /* no block at all: some clients send an empty message in this way */
		return 0;
	r = inflate_some(&i->z, in, max, out, &ended);
	if (r == 0 && !ended) {
		r = inflate_some(&i->z, bytes_of("\x00\x00\xff\xff", 4), max, out, &ended);
		if (r == 0 && (ended || !at_boundary(&i->z)))
			r = WS_INFLATE_BAD;
	}
	if (r || !takeover)
		(void)inflateReset(&i->z);
	return r;
}
