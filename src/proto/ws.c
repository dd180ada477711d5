/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws: frames and handshake of RFC 6455. A header is checked field by field in the order of its bytes, so an invalid
 * frame fails at its first invalid byte wherever the input was cut; only a complete and valid header is consumed.
 * Between two calls only the decoder is kept, 40 bytes: no buffer, no pointer into the input.
 */
#include "proto/ws.h"

#include <assert.h>

#include "base/codec.h"
#include "base/utf8.h"

/* ws_decoder.bits */
enum {
	BIT_DEFLATE = 1,    /* permessage-deflate is agreed, so rsv1 is allowed */
	BIT_FIN = 2,        /* the present data frame is the last of its message */
	BIT_COMPRESSED = 4, /* the present message had rsv1 */
	BIT_RETURNED = 8,   /* bytes of the present message were returned */
	BIT_CLOSED = 16,    /* a close frame was received */
};

#define FIN 0x80u
#define RSV 0x70u
#define MASKED 0x80u

static enum ws_event fail(struct ws_decoder *d, struct ws_out *out, enum ws_code code, const char *why)
{
	d->code = (uint16_t)code;
	d->why = why;
	*out = (struct ws_out){ .code = d->code, .why = why };
	return WS_ERROR;
}

static void skip(struct mut_bytes *in, size_t n)
{
	in->at += n;
	in->len -= n;
}

void ws_decoder_init(struct ws_decoder *d, bool deflate)
{
	*d = (struct ws_decoder){ .bits = deflate ? BIT_DEFLATE : 0 };
}

bool ws_decoder_idle(const struct ws_decoder *d)
{
	return d->opcode == 0 && d->code == 0;
}

/*
 * Blocks of 32 bytes as vectors (two SSE2 or one AVX2 register), then of 8, then single bytes: the key's period of 4
 * divides the block sizes, so the key must be rotated only for the last bytes.
 */
void ws_mask(uint8_t *at, size_t n, uint8_t key[4])
{
	typedef uint64_t block __attribute__((vector_size(32)));
	uint8_t twice[8];
	block b, k;
	uint64_t b8, k8;

	memcpy(twice, key, 4);
	memcpy(twice + 4, key, 4);
	memcpy(&k8, twice, sizeof(k8));
	k = (block){ k8, k8, k8, k8 };
	memcpy(key, twice + (n & 3), 4);
	for (; n >= sizeof(b); at += sizeof(b), n -= sizeof(b)) {
		memcpy(&b, at, sizeof(b));
		b ^= k;
		memcpy(at, &b, sizeof(b));
	}
	for (; n >= sizeof(b8); at += sizeof(b8), n -= sizeof(b8)) {
		memcpy(&b8, at, sizeof(b8));
		b8 ^= k8;
		memcpy(at, &b8, sizeof(b8));
	}
	for (size_t i = 0; i < n; i++)
		at[i] ^= twice[i];
}

/* Header ---------------------------------------------------------------------------------------------------------- */

struct header {
	bool fin;
	bool rsv1;
	uint8_t op;
	uint64_t len;
	size_t size; /* bytes of the header, key included */
};

static bool is_control(uint8_t op)
{
	return op >= WS_OP_CLOSE;
}

/* §5.2, first byte. Returns the fault, or NULL. */
static const char *check_first(const struct ws_decoder *d, uint8_t b)
{
	uint8_t op = b & 0x0f;
	bool starts = op == WS_OP_TEXT || op == WS_OP_BINARY;

	if ((b & RSV) && !((b & RSV) == WS_RSV1 && starts && (d->bits & BIT_DEFLATE)))
		return "a reserved bit is set";
	if ((op > WS_OP_BINARY && op < WS_OP_CLOSE) || op > WS_OP_PONG)
		return "reserved opcode";
	if (is_control(op) && !(b & FIN))
		return "fragmented control frame";
	if (op == WS_OP_CONT && d->opcode == 0)
		return "continuation without a message";
	if (starts && d->opcode != 0)
		return "new message inside a fragmented one";
	return NULL;
}

/* §5.2, second byte. A client must mask (§5.1). */
static const char *check_second(uint8_t op, uint8_t b)
{
	if (!(b & MASKED))
		return "frame from the client is not masked";
	if (is_control(op) && (b & 0x7f) > WS_CONTROL_MAX)
		return "control frame longer than 125 bytes";
	return NULL;
}

/* §5.2, the extended length: @n bytes, which must be the shortest form. */
static const char *read_length(const uint8_t *at, size_t n, uint64_t *len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | at[i];
	*len = v;
	if (v >> 63)
		return "top bit of the length is set";
	if (v < (n == 2 ? 126 : 65536))
		return "length is not in its shortest form";
	return NULL;
}

/* Before any payload: does the message stay within its limits with this frame? Subtracts, so that no sum overflows. */
static enum ws_event check_limits(struct ws_decoder *d, const struct ws_limits *lim, const struct header *h,
				  struct ws_out *out)
{
	if (d->message_len > lim->max_message || h->len > lim->max_message - d->message_len)
		return fail(d, out, WS_CODE_TOO_BIG, "message is too big");
	if (d->frames >= lim->max_fragments)
		return fail(d, out, WS_CODE_POLICY, "message has too many fragments");
	return WS_MESSAGE;
}

/* Reads a header without consuming it. WS_MESSAGE: @h is valid and complete. */
static enum ws_event peek_header(struct ws_decoder *d, const struct ws_limits *lim, const struct mut_bytes *in,
				 struct header *h, struct ws_out *out)
{
	const char *why;
	size_t ext;

	if (in->len < 1)
		return WS_NEED_MORE;
	why = check_first(d, in->at[0]);
	if (why)
		return fail(d, out, WS_CODE_PROTOCOL, why);
	h->fin = in->at[0] & FIN;
	h->rsv1 = in->at[0] & WS_RSV1;
	h->op = in->at[0] & 0x0f;
	if (in->len < 2)
		return WS_NEED_MORE;
	why = check_second(h->op, in->at[1]);
	if (why)
		return fail(d, out, WS_CODE_PROTOCOL, why);
	h->len = in->at[1] & 0x7f;
	ext = h->len < 126 ? 0 : h->len == 126 ? 2 : 8;
	if (in->len < 2 + ext)
		return WS_NEED_MORE;
	why = ext ? read_length(in->at + 2, ext, &h->len) : NULL;
	if (why)
		return fail(d, out, WS_CODE_PROTOCOL, why);
	if (!is_control(h->op) && check_limits(d, lim, h, out) == WS_ERROR)
		return WS_ERROR;
	h->size = 2 + ext + 4;
	return in->len < h->size ? WS_NEED_MORE : WS_MESSAGE;
}

/* Control frames -------------------------------------------------------------------------------------------------- */

bool ws_code_valid(uint16_t code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* §5.5.1: no body, or a code and a reason. */
static enum ws_event take_close(struct ws_decoder *d, struct ws_out *out)
{
	struct bytes body = out->payload;

	if (body.len == 1)
		return fail(d, out, WS_CODE_PROTOCOL, "close frame with only one byte of its code");
	out->code = WS_CODE_NONE;
	if (body.len) {
		out->code = (uint16_t)(body.at[0] << 8 | body.at[1]);
		bytes_skip(&out->payload, 2);
		if (!ws_code_valid(out->code))
			return fail(d, out, WS_CODE_PROTOCOL, "close code is not allowed in a frame");
		if (!utf8_valid(out->payload))
			return fail(d, out, WS_CODE_BAD_DATA, "close reason is not UTF-8");
	}
	d->bits |= BIT_CLOSED;
	return WS_CLOSE;
}

static enum ws_event take_control(struct ws_decoder *d, const struct header *h, struct mut_bytes *in,
				  struct ws_out *out)
{
	uint8_t key[4];

	if (in->len - h->size < h->len)
		return WS_NEED_MORE;
	memcpy(key, in->at + h->size - 4, 4);
	ws_mask(in->at + h->size, (size_t)h->len, key);
	out->payload = bytes_of(in->at + h->size, (size_t)h->len);
	skip(in, h->size + (size_t)h->len);
	if (h->op == WS_OP_CLOSE)
		return take_close(d, out);
	return h->op == WS_OP_PING ? WS_PING : WS_PONG;
}

/* Data frames ----------------------------------------------------------------------------------------------------- */

static void begin_frame(struct ws_decoder *d, const struct header *h, struct mut_bytes *in)
{
	if (h->op != WS_OP_CONT) {
		d->opcode = h->op;
		d->bits = (uint8_t)((d->bits & BIT_DEFLATE) | (h->rsv1 ? BIT_COMPRESSED : 0));
		d->utf8 = UTF8_START;
	}
	d->bits = (uint8_t)((d->bits & ~BIT_FIN) | (h->fin ? BIT_FIN : 0));
	d->message_len += h->len;
	d->frames++;
	d->left = h->len;
	memcpy(d->key, in->at + h->size - 4, 4);
	skip(in, h->size);
}

/* Returns the next bytes of the data frame, unmasked and checked. At the end of a message the decoder becomes idle. */
static enum ws_event take_payload(struct ws_decoder *d, struct mut_bytes *in, struct ws_out *out)
{
	size_t n = d->left < in->len ? (size_t)d->left : in->len;
	bool last = n == d->left && (d->bits & BIT_FIN);
	bool compressed = d->bits & BIT_COMPRESSED;

	ws_mask(in->at, n, d->key);
	if (d->opcode == WS_OP_TEXT && !compressed) {
		d->utf8 = utf8_feed(d->utf8, bytes_of(in->at, n));
		if (d->utf8 == UTF8_BAD || (last && d->utf8 != UTF8_START))
			return fail(d, out, WS_CODE_BAD_DATA, "text is not UTF-8");
	}
	out->payload = bytes_of(in->at, n);
	out->opcode = d->opcode;
	out->compressed = compressed;
	out->first = !(d->bits & BIT_RETURNED);
	out->whole = out->first && last;
	skip(in, n);
	d->left -= n;
	d->bits |= BIT_RETURNED;
	if (!last)
		return WS_FRAGMENT;
	ws_decoder_init(d, d->bits & BIT_DEFLATE);
	return WS_MESSAGE;
}

static enum ws_event decode(struct ws_decoder *d, const struct ws_limits *lim, struct mut_bytes *in, struct ws_out *out)
{
	struct header h;
	enum ws_event ev;

	while (d->left == 0) {
		ev = peek_header(d, lim, in, &h, out);
		if (ev != WS_MESSAGE)
			return ev;
		if (is_control(h.op))
			return take_control(d, &h, in, out);
		begin_frame(d, &h, in);
		if (h.len == 0 && h.fin)
			break;
	}
	return in->len || d->left == 0 ? take_payload(d, in, out) : WS_NEED_MORE;
}

enum ws_event ws_decode(struct ws_decoder *d, const struct ws_limits *lim, struct mut_bytes *in, struct ws_out *out)
{
	enum ws_event ev = WS_NEED_MORE;

	*out = (struct ws_out){ 0 };
	if (d->code)
		ev = fail(d, out, d->code, d->why);
	else if (!(d->bits & BIT_CLOSED))
		ev = decode(d, lim, in, out);
	if (in->len && (d->code || (ev == WS_NEED_MORE && (d->bits & BIT_CLOSED))))
		skip(in, in->len);
	return ev;
}

/* Encoder --------------------------------------------------------------------------------------------------------- */

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode op, uint64_t len, unsigned int flags)
{
	size_t ext = ws_header_len(len) - 2;

	assert(len >> 63 == 0);
	out[0] = (uint8_t)(FIN | flags | (unsigned int)op);
	out[1] = (uint8_t)(ext == 0 ? len : ext == 2 ? 126 : 127);
	for (size_t i = 0; i < ext; i++)
		out[2 + i] = (uint8_t)(len >> 8 * (ext - 1 - i));
	return 2 + ext;
}

size_t ws_control(uint8_t out[WS_CONTROL_FRAME_MAX], enum ws_opcode op, struct bytes payload)
{
	size_t n;

	assert(payload.len <= WS_CONTROL_MAX);
	n = ws_header(out, op, payload.len, 0);
	if (payload.len)
		memcpy(out + n, payload.at, payload.len);
	return n + payload.len;
}

size_t ws_close(uint8_t out[WS_CONTROL_FRAME_MAX], uint16_t code, struct bytes reason)
{
	uint8_t body[WS_CONTROL_MAX] = { (uint8_t)(code >> 8), (uint8_t)code };
	size_t n;

	if (code == WS_CODE_NONE)
		return ws_control(out, WS_OP_CLOSE, (struct bytes){ 0 });
	assert(ws_code_valid(code));
	n = utf8_valid(reason) ? utf8_prefix(reason, WS_REASON_MAX) : 0;
	if (n)
		memcpy(body + 2, reason.at, n);
	return ws_control(out, WS_OP_CLOSE, bytes_of(body, 2 + n));
}

/* Handshake ------------------------------------------------------------------------------------------------------- */

void ws_accept_key(struct bytes key, char out[WS_ACCEPT_LEN])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t both[64 + sizeof(guid) - 1];
	uint8_t digest[20];

	assert(key.len <= 64);
	if (key.len)
		memcpy(both, key.at, key.len);
	memcpy(both + key.len, guid, sizeof(guid) - 1);
	sha1(bytes_of(both, key.len + sizeof(guid) - 1), digest);
	base64_encode(bytes_of(digest, sizeof(digest)), out);
}

/* The value of the only field with @name; empty when there is none, or more than one. */
static struct bytes single(const struct http1_head *h, struct bytes name)
{
	const struct http1_field *f = http1_find(h, name);

	return f && !http1_find_next(h, name, f) ? f->value : (struct bytes){ 0 };
}

/* §4.2.1 point 5: base64 of 16 bytes. */
static bool key_valid(struct bytes key)
{
	uint8_t nonce[18];

	return key.len == 24 && base64_decode(key, nonce) == 16;
}

/*
 * Names of subprotocols are compared with their case (§4.1), unlike tokens of HTTP: the answer must be one of the names
 * that the client offers.
 */
static bool offers_protocol(const struct http1_head *h, struct bytes name)
{
	const struct http1_field *f = NULL;
	struct bytes list, item;

	while ((f = http1_find_next(h, BYTES("Sec-WebSocket-Protocol"), f))) {
		list = f->value;
		while (bytes_next(&list, ',', &item))
			if (bytes_eq(item, name))
				return true;
	}
	return false;
}

enum ws_upgrade ws_check_upgrade(const struct http1_head *h, struct ws_handshake *out)
{
	struct bytes key = single(h, BYTES("Sec-WebSocket-Key"));

	*out = (struct ws_handshake){ 0 };
	/* Set for every result, because a client that offers the subprotocol is refused with a close code. */
	out->wsc_v1 = offers_protocol(h, BYTES(WS_SUBPROTOCOL));
	if (!http1_has_token(h, BYTES("Upgrade"), BYTES("websocket")) || !h->upgrade)
		return WS_UPGRADE_NONE;
	if (h->method != HTTP1_GET)
		return WS_UPGRADE_BAD_METHOD;
	if (h->chunked || h->content_length)
		return WS_UPGRADE_BAD_REQUEST;
	if (!bytes_eq(single(h, BYTES("Sec-WebSocket-Version")), BYTES("13")))
		return WS_UPGRADE_BAD_VERSION;
	if (!key_valid(key))
		return WS_UPGRADE_BAD_KEY;
	ws_accept_key(key, out->accept);
	return WS_UPGRADE_OK;
}

const char *ws_upgrade_why(enum ws_upgrade u)
{
	switch (u) {
	case WS_UPGRADE_OK:
		break;
	case WS_UPGRADE_NONE:
		return "this path is for WebSocket connections";
	case WS_UPGRADE_BAD_METHOD:
		return "a WebSocket handshake must be a GET request";
	case WS_UPGRADE_BAD_VERSION:
		return "only version 13 of the WebSocket protocol is supported";
	case WS_UPGRADE_BAD_KEY:
		return "there must be one Sec-WebSocket-Key, base64 of 16 bytes";
	case WS_UPGRADE_BAD_REQUEST:
		return "a WebSocket handshake must have no body";
	}
	return "switching protocols";
}
