/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_sse: a browser reads the same events that the serialiser writes. Event streams are parsed here by the letter of
 * WHATWG HTML 9.2.6, with CR, LF and CRLF as line ends. Whatever id and data are, a reader gets no event, id or retry
 * that was not put in. Input: id, a zero byte, data; or data alone.
 */
/* Shows: threat 72 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "proto/sse.h"

struct event {
	struct buf data, type, id;
};

struct client {
	struct buf data, type, last_id;
	uint64_t retry;
	struct event events[4];
	size_t nevents, retries;
};

static void field(struct client *c, struct bytes name, struct bytes value)
{
	if (bytes_eq(name, BYTES("event"))) {
		buf_clear(&c->type);
		buf_add(&c->type, value);
	} else if (bytes_eq(name, BYTES("data"))) {
		buf_add(&c->data, value);
		buf_add_u8(&c->data, '\n');
	} else if (bytes_eq(name, BYTES("id"))) {
		if (!value.len || !memchr(value.at, 0, value.len)) {
			buf_clear(&c->last_id);
			buf_add(&c->last_id, value);
		}
	} else if (bytes_eq(name, BYTES("retry"))) {
		uint64_t ms = 0;

		for (size_t i = 0; i < value.len; i++) {
			if (value.at[i] < '0' || value.at[i] > '9')
				return;
			ms = ms * 10 + (unsigned)(value.at[i] - '0');
		}
		c->retry = ms;
		c->retries++;
	}
}

static void dispatch(struct client *c)
{
	struct event *e;

	if (c->data.len) {
		assert(c->nevents < 4);
		e = &c->events[c->nevents++];
		buf_add(&e->data, bytes_of(c->data.at, c->data.len - 1));
		buf_add(&e->id, buf_bytes(&c->last_id));
		buf_add(&e->type, buf_bytes(&c->type));
	}
	buf_clear(&c->data);
	buf_clear(&c->type);
}

static void line(struct client *c, struct bytes l)
{
	const uint8_t *colon = l.len ? memchr(l.at, ':', l.len) : NULL;
	struct bytes name = l, value = { 0 };

	if (l.len == 0) {
		dispatch(c);
		return;
	}
	if (colon == l.at)
		return;
	if (colon) {
		name.len = (size_t)(colon - l.at);
		value = bytes_of(colon + 1, l.len - name.len - 1);
		if (value.len && value.at[0] == ' ')
			bytes_skip(&value, 1);
	}
	field(c, name, value);
}

static void parse(struct client *c, struct bytes in)
{
	while (in.len) {
		size_t n = 0;

		while (n < in.len && in.at[n] != '\r' && in.at[n] != '\n')
			n++;
		if (n == in.len)
			return; /* an unfinished line is no line */
		line(c, bytes_of(in.at, n));
		bytes_skip(&in, n + (in.len - n > 1 && in.at[n] == '\r' && in.at[n + 1] == '\n' ? 2 : 1));
	}
}

static void client_deinit(struct client *c)
{
	buf_deinit(&c->data);
	buf_deinit(&c->type);
	buf_deinit(&c->last_id);
	for (size_t i = 0; i < c->nevents; i++) {
		buf_deinit(&c->events[i].data);
		buf_deinit(&c->events[i].type);
		buf_deinit(&c->events[i].id);
	}
}

static void add_event(struct buf *out, struct bytes id, struct bytes data)
{
	size_t n = sse_size(id, data);
	uint8_t *block = malloc(n);

	assert(sse_write(block, id, data) == n); /* a block of exactly that size */
	buf_add(out, bytes_of(block, n));
	free(block);
}

static void check(struct bytes id, struct bytes data)
{
	static const struct bytes last = BYTES("{\"last\":1}");
	bool sendable = sse_size(id, data) > 0;
	struct client c = { 0 };
	struct buf wire = BUF_INIT;
	uint8_t retry[SSE_RETRY_MAX];

	for (size_t i = 0; i < id.len + data.len; i++) {
		uint8_t b = i < id.len ? id.at[i] : data.at[i - id.len];

		assert(!sendable || (b != '\r' && b != '\n' && b != 0));
	}
	assert(sendable == (data.len > 0 && sse_clean(id) && sse_clean(data)));
	buf_add(&wire, bytes_of(retry, sse_write_retry(retry, (uint32_t)data.len * 77777u)));
	buf_add(&wire, SSE_COMMENT);
	if (sendable)
		add_event(&wire, id, data);
	buf_add(&wire, SSE_COMMENT);
	add_event(&wire, BYTES(""), last);
	parse(&c, buf_bytes(&wire));
	assert(c.nevents == (sendable ? 2 : 1) && c.retries == 1 && c.retry == (uint32_t)data.len * 77777u);
	if (sendable) {
		assert(bytes_eq(buf_bytes(&c.events[0].data), data) && bytes_eq(buf_bytes(&c.events[0].id), id));
		assert(c.events[0].type.len == 0);
	}
	/* One without an id leaves the last id where it was. */
	assert(bytes_eq(buf_bytes(&c.events[c.nevents - 1].data), last));
	assert(bytes_eq(buf_bytes(&c.last_id), sendable ? id : BYTES("")));
	client_deinit(&c);
	buf_deinit(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t n = zero ? (size_t)(zero - data) : 0;

	check(BYTES(""), bytes_of(data, size));
	check(bytes_of(data, size), BYTES("{}"));
	if (zero)
		check(bytes_of(data, n), bytes_of(zero + 1, size - n - 1));
	return 0;
}
