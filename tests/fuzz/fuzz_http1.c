/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's worth of HTTP requests: heads and bodies, one after the other, once whole and once in cuts that the
 * input itself chooses (its first two bytes). Both readers must agree on every status, every view and every body byte.
 */
/* Shows: threat 22, threat 43, threat 55 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "proto/http1.h"

#define MAX_BODY 4096u

static const struct http1_limits limits = { 2048, 512, 16 };

/* The answer to one request, in a form that can be compared. */
struct reading {
	struct http1_head head;
	unsigned int status; /* 0 fine, 1 incomplete */
	bool whole_head;
	struct buf body;
	size_t used;
};

/* Cuts of 1 to 16 bytes out of a 16-bit seed; seed 0 is no cut at all. */
static size_t next_cut(uint32_t *seed)
{
	if (*seed == 0)
		return SIZE_MAX >> 1;
	*seed = *seed * 1103515245u + 12345u;
	*seed |= 1u;
	return 1 + (*seed >> 16) % 16;
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void check_head(const struct http1_head *h, struct bytes in)
{
	assert(h->size <= in.len && h->size <= limits.max_head);
	assert(h->nfields <= limits.max_fields && h->target.len <= limits.max_target);
	assert(!(h->chunked && h->has_length));
	assert(h->minor == 0 || http1_host_valid(h->host));
	for (size_t i = 0; i < h->nfields; i++) {
		assert(http1_token_valid(h->fields[i].name));
		for (size_t k = 0; k < h->fields[i].value.len; k++)
			assert(h->fields[i].value.at[k] >= 0x20 || h->fields[i].value.at[k] == '\t');
	}
}

/* Each beginning lies in a block of its own, so pointers kept between calls and bytes read beyond the end show. */
static unsigned int read_head(struct bytes in, uint32_t seed, struct http1_head *h)
{
	struct http1_parser p = { 0 };
	enum http1_result r = HTTP1_MORE;
	size_t n = 0;

	while (r == HTTP1_MORE && n < in.len) {
		uint8_t *block;

		n = min(in.len, n + next_cut(&seed));
		block = malloc(n);
		memcpy(block, in.at, n);
		r = http1_parse_head(&p, &limits, bytes_of(block, n), h);
		free(block);
	}
	if (r == HTTP1_DONE) {
		/* once more over @in, for views that live */
		http1_parser_init(&p);
		r = http1_parse_head(&p, &limits, bytes_of(in.at, h->size), h);
		assert(r == HTTP1_DONE);
		check_head(h, in);
	}
	assert(r != HTTP1_CHUNK && (r == HTTP1_ERROR) == (p.error.why != NULL));
	return r == HTTP1_DONE ? 0 : r == HTTP1_MORE ? 1 : p.error.status;
}

static unsigned int read_body(struct bytes *in, uint32_t seed, const struct http1_head *h, struct buf *out)
{
	struct http1_body b;
	struct bytes piece;
	enum http1_result r = http1_body_init(&b, h, MAX_BODY);

	while (r != HTTP1_ERROR && r != HTTP1_DONE) {
		size_t n = min(in->len, next_cut(&seed));
		struct bytes part = bytes_of(in->at, n);

		while ((r = http1_body_next(&b, &part, &piece)) == HTTP1_CHUNK) {
			assert(piece.len > 0);
			buf_add(out, piece);
		}
		bytes_skip(in, n - part.len);
		if (r == HTTP1_MORE && in->len == 0)
			break;
		assert(r != HTTP1_MORE || n > 0);
	}
	assert(out->len <= MAX_BODY);
	return r == HTTP1_DONE ? 0 : r == HTTP1_MORE ? 1 : b.error.status;
}

static void read_request(struct bytes in, uint32_t seed, struct reading *r)
{
	struct bytes rest = in;

	*r = (struct reading){ 0 };
	r->status = read_head(in, seed, &r->head);
	r->whole_head = r->status == 0;
	if (r->whole_head) {
		bytes_skip(&rest, r->head.size);
		r->status = read_body(&rest, seed, &r->head, &r->body);
	}
	r->used = in.len - rest.len;
}

static void compare(const struct reading *a, const struct reading *b)
{
	assert(a->status == b->status && a->whole_head == b->whole_head);
	if (a->status > 1 || !a->whole_head)
		return;
	assert(a->used == b->used && a->head.size == b->head.size && a->head.nfields == b->head.nfields);
	assert(bytes_eq(a->head.path, b->head.path) && bytes_eq(a->head.query, b->head.query));
	assert(bytes_eq(buf_bytes(&a->body), buf_bytes(&b->body)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reading whole, cut;
	struct bytes in = bytes_of(data, size);
	uint32_t seed;
	bool more;

	if (size < 2)
		return 0;
	seed = ((uint32_t)data[0] << 8 | data[1]) + 1;
	bytes_skip(&in, 2);
	do {
		read_request(in, 0, &whole);
		read_request(in, seed, &cut);
		compare(&whole, &cut);
		more = whole.status == 0;
		bytes_skip(&in, more ? whole.used : 0);
		buf_deinit(&whole.body);
		buf_deinit(&cut.body);
	} while (more);
	return 0;
}
