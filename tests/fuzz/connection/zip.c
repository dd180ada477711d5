/* SPDX-License-Identifier: Apache-2.0 */
/* zip: see zip.h. */
#include "connection/zip.h"

#include <stdlib.h>
#include <zlib.h>

#include "connection/reader.h"

#define NAME "permessage-deflate"

static void expect(bool ok, const char *what)
{
	if (!ok)
		wrong(what);
}

static z_stream *new_stream(void)
{
	z_stream *z = calloc(1, sizeof *z);

	if (!z)
		abort();
	return z;
}

/* ---- the answer (§7.1) ------------------------------------------------------------------------------------------------- */

static struct bytes up_to(struct bytes *in, char end)
{
	const uint8_t *at = in->len ? memchr(in->at, end, in->len) : NULL;
	struct bytes part = at ? bytes_of(in->at, (size_t)(at - in->at)) : *in;

	bytes_skip(in, at ? part.len + 1 : part.len);
	return bytes_trim(part);
}

static unsigned bits_of(struct bytes value)
{
	unsigned bits = 0;

	for (size_t i = 0; i < value.len; i++) {
		expect(value.at[i] >= '0' + (i == 0) && value.at[i] <= '9', "window bits that are no number");
		bits = bits * 10 + value.at[i] - '0';
	}
	expect(value.len <= 2 && bits >= 8 && bits <= 15, "window bits that there are none of");
	return bits;
}

static void agree_on(struct zip *d, struct bytes name, bool has_value, struct bytes value)
{
	if (bytes_eq(name, BYTES("server_no_context_takeover"))) {
		expect(d->server_takeover && !has_value, "server_no_context_takeover twice, or with a value");
		d->server_takeover = false;
	} else if (bytes_eq(name, BYTES("client_no_context_takeover"))) {
		expect(d->client_takeover && !has_value, "client_no_context_takeover twice, or with a value");
		d->client_takeover = false;
	} else if (bytes_eq(name, BYTES("server_max_window_bits"))) {
		expect(!d->server_bits_told, "server_max_window_bits twice");
		d->server_bits_told = true;
		d->server_bits = bits_of(value);
	} else {
		expect(bytes_eq(name, BYTES("client_max_window_bits")), "an unknown parameter");
		expect(!d->client_bits_told, "client_max_window_bits twice");
		d->client_bits_told = true;
		d->client_bits = bits_of(value);
	}
}

void zip_agree(struct zip *d, struct bytes answer)
{
	expect(!d->on, "two extensions");
	expect(bytes_eq(up_to(&answer, ';'), BYTES(NAME)), "an unknown extension");
	*d = (struct zip){
		.on = true, .server_takeover = true, .client_takeover = true, .server_bits = 15, .client_bits = 15
	};
	while (answer.len) {
		struct bytes value = up_to(&answer, ';'), name;
		bool has_value = value.len && memchr(value.at, '=', value.len);

		name = up_to(&value, '=');
		agree_on(d, name, has_value, value);
	}
}

/* ---- input (§7.2.2) ----------------------------------------------------------------------------------------------------- */

/*
 * One byte at a time: zlib sees nothing beyond its window then, while it accepts a reference into the output of the
 * same call however far back it is.
 */
static void inflate_all(z_stream *z, struct bytes in, struct buf *text)
{
	uint8_t byte;
	int r;

	z->next_in = (Bytef *)(uintptr_t)in.at;
	z->avail_in = (uInt)in.len;
	do {
		z->next_out = &byte;
		z->avail_out = 1;
		r = inflate(z, Z_SYNC_FLUSH);
		expect(r == Z_OK || r == Z_BUF_ERROR, "a message that is not deflated as it must be");
		if (!z->avail_out)
			buf_add_u8(text, byte);
	} while (!z->avail_out);
	expect(!z->avail_in, "a deflated message that has an end in it");
}

void zip_read(struct zip *d, struct bytes wire, struct buf *text)
{
	z_stream *z = d->in;

	if (!z) {
		d->in = z = new_stream();
		if (inflateInit2(z, -(int)d->server_bits) != Z_OK)
			abort();
	} else if (!d->server_takeover && inflateReset(z) != Z_OK) {
		abort();
	}
	inflate_all(z, wire, text);
	inflate_all(z, bytes_of("\x00\x00\xff\xff", 4), text);
	expect((z->data_type & 128) && !(z->data_type & 127), "a deflated message that does not end with a block");
	expect(wire.len < text->len, "a message that is longer deflated than it was");
}

/* ---- output (§7.2.1) ---------------------------------------------------------------------------------------------------- */

static void deflate_some(z_stream *z, struct bytes in, int flush, struct buf *wire)
{
	uint8_t out[512];

	z->next_in = (Bytef *)(uintptr_t)in.at;
	z->avail_in = (uInt)in.len;
	do {
		z->next_out = out;
		z->avail_out = sizeof out;
		(void)deflate(z, flush);
		buf_add(wire, bytes_of(out, sizeof out - z->avail_out));
	} while (!z->avail_out);
}

void zip_write(struct zip *d, struct bytes text, unsigned style, struct buf *wire)
{
	static const int levels[] = { 6, 1, 9, 0 };
	z_stream *z = d->out;
	size_t half = style & (ZIP_BLOCKS | ZIP_FLUSH) ? text.len / 2 : 0;

	/* zlib has no window of 256 bytes; a search for runs alone looks back one byte. */
	if (!z) {
		d->out = z = new_stream();
		if (deflateInit2(z, levels[style & ZIP_LEVEL], Z_DEFLATED,
				 -(int)(d->client_bits < 9 ? 9 : d->client_bits), 8,
				 d->client_bits < 9 ? Z_RLE : Z_DEFAULT_STRATEGY) != Z_OK)
			abort();
	}
	if (half)
		deflate_some(z, bytes_of(text.at, half), style & ZIP_FLUSH ? Z_FULL_FLUSH : Z_BLOCK, wire);
	bytes_skip(&text, half);
	if (style & ZIP_FINAL) {
		deflate_some(z, text, Z_FINISH, wire);
		buf_add_u8(wire, 0);
	} else {
		deflate_some(z, text, Z_SYNC_FLUSH, wire);
		wire->len -= 4;
	}
	d->said = d->client_takeover ? d->said + half + text.len : 0;
	if ((style & ZIP_FINAL) || !d->client_takeover)
		(void)deflateReset(z);
}

void zip_deinit(struct zip *d)
{
	if (d->in)
		(void)inflateEnd(d->in);
	if (d->out)
		(void)deflateEnd(d->out);
	free(d->in);
	free(d->out);
}
