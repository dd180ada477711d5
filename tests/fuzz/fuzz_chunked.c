/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_chunked: the body decoder alone. Any bytes as a chunked body: whole, byte by byte and in cuts of the input's
 * choice must give the same bytes, the same end and the same verdict as a decoder that reads the text whole and
 * backwards from RFC 9112 §7.1 (with our refusals: no extensions, at most 16 digits). And any bytes as a body: written
 * in chunks and decoded they are the same, and one wrong byte in a delimiter is an error and never a body of another
 * length.
 */
/* Shows: threat 49, threat 55 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "proto/http1.h"

#define MAX_BODY 3000u

static const struct http1_head chunked = { .chunked = true, .minor = 1 };

struct decoded {
	enum http1_result end;
	unsigned status;
	size_t used;
	struct buf body;
};

/* In parts of at most @cut bytes, each in a block of its own. */
static void decode(struct bytes in, size_t cut, struct decoded *d)
{
	struct http1_body b;
	struct bytes piece;
	size_t whole = in.len;

	*d = (struct decoded){ .end = http1_body_init(&b, &chunked, MAX_BODY) };
	while (d->end == HTTP1_MORE && in.len) {
		size_t n = in.len < cut ? in.len : cut;
		uint8_t *block = malloc(n);
		struct bytes part = bytes_of(block, n);

		memcpy(block, in.at, n);
		while ((d->end = http1_body_next(&b, &part, &piece)) == HTTP1_CHUNK) {
			assert(piece.len > 0 && piece.at >= block && piece.at + piece.len <= block + n);
			buf_add(&d->body, piece);
		}
		assert(d->end != HTTP1_MORE || part.len == 0);
		bytes_skip(&in, n - part.len);
		free(block);
	}
	d->used = whole - in.len;
	d->status = d->end == HTTP1_ERROR ? b.error.status : 0;
	assert((d->end == HTTP1_ERROR) == (b.error.why != NULL));
	assert(d->body.len <= MAX_BODY);
	if (d->end == HTTP1_ERROR) { /* it stays failed */
		struct bytes more = BYTES("0\r\n\r\n");

		assert(http1_body_next(&b, &more, &piece) == HTTP1_ERROR);
	}
}

static void same(const struct decoded *a, const struct decoded *b)
{
	assert(a->end == b->end && a->status == b->status);
	if (a->end == HTTP1_ERROR)
		return;
	assert(a->used == b->used && bytes_eq(buf_bytes(&a->body), buf_bytes(&b->body)));
}

static int digit(uint8_t c)
{
	return c >= '0' && c <= '9'                             ? c - '0'
	       : bytes_lower(c) >= 'a' && bytes_lower(c) <= 'f' ? bytes_lower(c) - 'a' + 10
								: -1;
}

/*
 * The same by the grammar: true and the body when @in begins with a whole one. Written for one whole text: it looks
 * ahead as it likes. Trailers are left to the decoder: @trailers tells that there are some.
 */
static bool reference(struct bytes in, struct buf *body, size_t *used, bool *trailers)
{
	size_t at = 0;

	*trailers = false;
	for (;;) {
		uint64_t size = 0;
		size_t digits = 0;

		while (at < in.len && digit(in.at[at]) >= 0 && digits < 17) {
			size = size << 4 | (unsigned)digit(in.at[at++]);
			digits++;
		}
		if (digits == 0 || digits > 16 || in.len - at < 2 || in.at[at] != '\r' || in.at[at + 1] != '\n')
			return false;
		at += 2;
		if (size == 0)
			break;
		if (size > MAX_BODY - body->len || in.len - at < size || in.len - at - size < 2)
			return false;
		buf_add(body, bytes_of(in.at + at, size));
		at += size;
		if (in.at[at] != '\r' || in.at[at + 1] != '\n')
			return false;
		at += 2;
	}
	*used = at + 2;
	if (in.len - at >= 2 && in.at[at] == '\r' && in.at[at + 1] == '\n')
		return true;
	*trailers = at < in.len && in.at[at] != '\r';
	return false;
}

static void check_against_reference(struct bytes in, const struct decoded *d)
{
	struct buf body = BUF_INIT;
	bool trailers;
	size_t used;

	if (reference(in, &body, &used, &trailers)) {
		/* Far more wrapping than content is refused, that alone. */
		assert(d->end == HTTP1_DONE || (d->end == HTTP1_ERROR && used > 16384));
		if (d->end == HTTP1_DONE)
			assert(d->used == used && bytes_eq(buf_bytes(&d->body), buf_bytes(&body)));
	} else if (!trailers) {
		assert(d->end != HTTP1_DONE);
	} else if (d->end == HTTP1_DONE) {
		assert(d->used > used && bytes_eq(buf_bytes(&d->body), buf_bytes(&body)));
	}
	buf_deinit(&body);
}

static void write_chunks(struct buf *out, struct bytes body, size_t chunk)
{
	while (body.len) {
		size_t n = body.len < chunk ? body.len : chunk;

		buf_addf(out, chunk & 1 ? "%zx\r\n" : "0%zX\r\n", n);
		buf_add(out, bytes_of(body.at, n));
		buf_add_str(out, "\r\n");
		bytes_skip(&body, n);
	}
	buf_add_str(out, "0\r\n\r\n");
}

static void check_round_trip(struct bytes body, size_t chunk, uint8_t wrong)
{
	struct buf wire = BUF_INIT;
	struct decoded d;
	size_t at;

	write_chunks(&wire, body, chunk);
	decode(buf_bytes(&wire), SIZE_MAX, &d);
	assert(d.end == HTTP1_DONE && d.used == wire.len && bytes_eq(buf_bytes(&d.body), body));
	buf_deinit(&d.body);
	/* The last CRLF, or the one behind the last chunk: both are delimiters. */
	at = wire.len - (body.len && wrong & 1 ? 7 : 2) + (wrong >> 1 & 1);
	if (wire.at[at] != wrong) {
		wire.at[at] = wrong;
		decode(buf_bytes(&wire), SIZE_MAX, &d);
		assert(d.end != HTTP1_DONE);
		buf_deinit(&d.body);
	}
	buf_deinit(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct decoded whole, one, cut;
	uint8_t how, wrong;

	if (!bytes_take_u8(&in, &how) || !bytes_take_u8(&in, &wrong))
		return 0;
	decode(in, SIZE_MAX, &whole);
	decode(in, 1, &one);
	decode(in, how + 2u, &cut);
	same(&whole, &one);
	same(&whole, &cut);
	check_against_reference(in, &whole);
	buf_deinit(&whole.body);
	buf_deinit(&one.body);
	buf_deinit(&cut.body);
	if (in.len <= MAX_BODY)
		check_round_trip(in, how % 64 + 8u, wrong);
	return 0;
}
