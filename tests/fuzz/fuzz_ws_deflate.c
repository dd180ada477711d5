/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression, three things by the first byte. An offer header: the agreement is within the offer, and the same reader
 * takes the answer as an offer. A stream of a client: nothing grows beyond the limit, the verdict does not depend on
 * earlier messages, and zlib gives the same text by other calls. A message of ours: a deflated message inflates to
 * itself, with and without takeover.
 */
/* Shows: threat 20, threat 36, threat 39 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#include "proto/ws_deflate.h"

#define LIMIT 65536u

static size_t choose(struct bytes value, const struct ws_deflate_policy *p, struct ws_deflate *d, char *answer)
{
	struct http1_head h = { .nfields = 1 };

	h.fields[0] = (struct http1_field){ BYTES("Sec-WebSocket-Extensions"), value };
	return ws_deflate_choose(&h, p, d, answer);
}

static void offers(uint8_t how, struct bytes in)
{
	const struct ws_deflate_policy p = { .window_bits = (uint8_t)(9 + (how >> 1) % 7), .takeover = how & 1 };
	char answer[WS_DEFLATE_ANSWER_MAX], again[WS_DEFLATE_ANSWER_MAX];
	struct ws_deflate d, e;
	size_t n = choose(in, &p, &d, answer);

	assert(d.on == (n > 0) && n <= sizeof answer);
	if (!n) {
		assert(!d.server_takeover && !d.client_takeover && !d.server_bits && !d.client_bits);
		return;
	}
	assert(d.server_bits >= 8 && d.server_bits <= p.window_bits && d.client_bits >= 8);
	assert(p.takeover || (!d.server_takeover && !d.client_takeover));
	assert(memmem(in.at, in.len, "permessage-deflate", 18));
	assert(choose(bytes_of(answer, n), &p, &e, again) > 0 && e.server_bits == d.server_bits);
}

/* The same by zlib's own hand, in small steps and with a fresh stream at each final block. True: it is valid. */
static bool inflate_by_hand(struct bytes in, struct buf *out)
{
	struct buf all = BUF_INIT;
	z_stream z = { 0 };
	bool valid;
	uInt before;
	int r = Z_OK, type = 0;

	buf_add(&all, in);
	buf_add(&all, BYTES("\x00\x00\xff\xff"));
	inflateInit2(&z, -15);
	z.next_in = all.at;
	z.avail_in = (uInt)all.len;
	do {
		uint8_t some[97];

		z.next_out = some;
		z.avail_out = sizeof some;
		before = z.avail_in;
		r = inflate(&z, Z_NO_FLUSH);
		type = before ? z.data_type : type; /* a call without input forgets that it stands between blocks */
		buf_add(out, bytes_of(some, sizeof some - z.avail_out));
		if (r == Z_STREAM_END && z.avail_in == 4)
			break; /* the tail belongs to no block */
		if (r == Z_STREAM_END)
			r = inflateResetKeep(&z);
	} while (r == Z_OK && out->len <= LIMIT);
	r = r == Z_BUF_ERROR && !z.avail_in ? Z_OK : r; /* nothing was left to do */
	/* Ended behind a final block, or between two blocks with all bits of the last byte used. */
	valid = out->len <= LIMIT && (r == Z_STREAM_END || (r == Z_OK && (type & 128) && !(type & 63)));
	inflateEnd(&z);
	buf_deinit(&all);
	return valid;
}

static void streams(struct bytes in)
{
	struct ws_inflater *i = ws_inflater_new(15);
	struct buf out = BUF_INIT, again = BUF_INIT, hand = BUF_INIT;
	int r = ws_inflate(i, in, false, LIMIT, &out);

	assert(out.len <= LIMIT && out.cap <= LIMIT);
	assert(r == ws_inflate(i, in, false, LIMIT, &again));
	assert(bytes_eq(buf_bytes(&out), buf_bytes(&again)));
	if (in.len && r != WS_INFLATE_TOO_BIG)
		assert(inflate_by_hand(in, &hand) == (r == 0));
	if (in.len && r == 0)
		assert(bytes_eq(buf_bytes(&out), buf_bytes(&hand)));
	buf_deinit(&out);
	buf_deinit(&again);
	buf_deinit(&hand);
	ws_inflater_free(i);
}

static void round_trips(uint8_t how, struct bytes in)
{
	unsigned bits = 8 + how % 8, level = 1 + how / 8 % 9;
	struct ws_deflater *d = ws_deflater_new(bits, level);
	struct ws_inflater *i = ws_inflater_new(bits);
	uint8_t *wire = malloc(in.len + WS_DEFLATE_ROOM);
	bool takeover = how & 128;
	struct buf out = BUF_INIT;
	size_t n;

	for (int round = 0; round < 3 && in.len; round++) {
		size_t len = in.len - (size_t)round * in.len / 4;

		if (ws_deflate(d, bytes_of(in.at, len), takeover, wire, &n) != 0)
			continue;
		assert(n < len);
		buf_clear(&out);
		assert(ws_inflate(i, bytes_of(wire, n), takeover, len, &out) == 0);
		assert(bytes_eq(buf_bytes(&out), bytes_of(in.at, len)));
	}
	buf_deinit(&out);
	free(wire);
	ws_deflater_free(d);
	ws_inflater_free(i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);

	if (size < 2)
		return 0;
	bytes_skip(&in, 2);
	if (data[0] % 3 == 0)
		offers(data[1], in);
	else if (data[0] % 3 == 1)
		streams(in);
	else
		round_trips(data[1], in);
	return 0;
}
