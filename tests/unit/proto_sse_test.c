/* SPDX-License-Identifier: Apache-2.0 */
/* Events are judged by a reader of our own, written after WHATWG HTML 9.2.6 and fed whole, in cuts and byte by byte. */
#include "proto/sse.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

/* A browser's EventSource, as far as 9.2.6 describes it. */
struct reader {
	struct buf line;
	struct buf data;
	struct buf event;
	struct buf last_id; /* the buffer; it is kept between events */
	uint64_t retry;
	bool after_cr;
	struct buf log; /* "id=... type=... data=...\n" for each dispatched event */
};

static void reader_deinit(struct reader *r)
{
	buf_deinit(&r->line);
	buf_deinit(&r->data);
	buf_deinit(&r->event);
	buf_deinit(&r->last_id);
	buf_deinit(&r->log);
}

static void dispatch(struct reader *r)
{
	if (r->data.len) {
		r->data.len--; /* the last LF */
		buf_add_str(&r->log, "id=");
		buf_add(&r->log, buf_bytes(&r->last_id));
		buf_add_str(&r->log, " type=");
		buf_add(&r->log, buf_bytes(&r->event));
		buf_add_str(&r->log, " data=");
		buf_add(&r->log, buf_bytes(&r->data));
		buf_add_str(&r->log, "\n");
	}
	buf_clear(&r->data);
	buf_clear(&r->event);
}

static void take_field(struct reader *r, struct bytes name, struct bytes value)
{
	if (bytes_eq(name, BYTES("event"))) {
		buf_clear(&r->event);
		buf_add(&r->event, value);
	} else if (bytes_eq(name, BYTES("data"))) {
		buf_add(&r->data, value);
		buf_add_u8(&r->data, '\n');
	} else if (bytes_eq(name, BYTES("id")) && (value.len == 0 || !memchr(value.at, 0, value.len))) {
		buf_clear(&r->last_id);
		buf_add(&r->last_id, value);
	} else if (bytes_eq(name, BYTES("retry"))) {
		r->retry = 0;
		for (size_t i = 0; i < value.len; i++)
			r->retry = r->retry * 10 + (uint64_t)(value.at[i] - '0');
	}
}

static void take_line(struct reader *r)
{
	struct bytes line = buf_bytes(&r->line);
	const uint8_t *colon = line.len ? memchr(line.at, ':', line.len) : NULL;
	struct bytes value = { 0 };

	if (line.len == 0) {
		dispatch(r);
	} else if (!colon) {
		take_field(r, line, value);
	} else if (colon != line.at) {
		value = bytes_of(colon + 1, line.len - 1 - (size_t)(colon - line.at));
		if (value.len && value.at[0] == ' ')
			bytes_skip(&value, 1);
		take_field(r, bytes_of(line.at, (size_t)(colon - line.at)), value);
	}
	buf_clear(&r->line);
}

static void feed(struct reader *r, struct bytes in)
{
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.at[i];

		if (c == '\r' || (c == '\n' && !r->after_cr))
			take_line(r);
		else if (c != '\n')
			buf_add_u8(&r->line, c);
		r->after_cr = c == '\r';
	}
}

static void add_event(struct buf *b, struct bytes id, struct bytes data)
{
	size_t n = sse_size(id, data);
	uint8_t *block = malloc(n);

	CHECK(n > 0);
	CHECK_EQ(sse_write(block, id, data), n);
	buf_add(b, bytes_of(block, n));
	free(block);
}

TEST(an_event_is_one_data_line_and_an_empty_line)
{
	struct buf b = BUF_INIT;

	add_event(&b, (struct bytes){ 0 }, BYTES("{\"a\":1}"));
	CHECK_BYTES(buf_bytes(&b), "data: {\"a\":1}\n\n");
	buf_clear(&b);
	add_event(&b, BYTES("42"), BYTES("x"));
	CHECK_BYTES(buf_bytes(&b), "id: 42\ndata: x\n\n");
	buf_deinit(&b);
}

/* Shows: threat 72 */
TEST(no_id_or_data_breaks_out_of_its_line)
{
	static const char *const bad[] = { "\n", "\r", "a\nb", "a\r\nb", "\r\ndata: forged", "x\n" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(!sse_clean(bytes_str(bad[i])));
		CHECK_EQ(sse_size(bytes_str(bad[i]), BYTES("{}")), 0);
		CHECK_EQ(sse_size(BYTES("1"), bytes_str(bad[i])), 0);
	}
	CHECK_EQ(sse_size(BYTES("a\0b"), BYTES("{}")), 0);
	CHECK_EQ(sse_size(BYTES("1"), BYTES("a\0b")), 0);
	CHECK(sse_clean((struct bytes){ 0 }));
	CHECK(sse_clean(BYTES("\xe2\x80\xa8 \t\x1b :"))); /* U+2028 ends no line here */
}

TEST(an_event_without_data_is_refused)
{
	CHECK_EQ(sse_size(BYTES("1"), (struct bytes){ 0 }), 0);
}

TEST(comments_do_nothing_and_retry_sets_the_time)
{
	uint8_t out[SSE_RETRY_MAX];
	struct reader r = { 0 };

	feed(&r, SSE_COMMENT);
	CHECK_EQ(r.log.len, 0);
	CHECK_BYTES(bytes_of(out, sse_write_retry(out, 0)), "retry: 0\n\n");
	CHECK_BYTES(bytes_of(out, sse_write_retry(out, UINT32_MAX)), "retry: 4294967295\n\n");
	feed(&r, bytes_of(out, sse_write_retry(out, 3071)));
	CHECK_EQ(r.retry, 3071);
	CHECK_EQ(r.log.len, 0);
	reader_deinit(&r);
}

/* Any UTF-8 without line ends and NUL, the signs that mean something to a reader more often than others. */
static void random_text(struct rng *rng, struct buf *b, size_t most)
{
	uint8_t c[4];

	buf_clear(b);
	for (size_t n = (size_t)rng_below(rng, most + 1); n; n--) {
		uint32_t cp = (uint32_t)rng_below(rng, rng_below(rng, 2) ? 0x80 : 0x110000);

		if (cp == 0 || cp == '\r' || cp == '\n' || (cp >= 0xd800 && cp < 0xe000))
			cp = (uint32_t) ": \tid"[rng_below(rng, 5)];
		buf_add(b, bytes_of(c, utf8_put(c, cp)));
	}
}

/* Shows: threat 72 */
TEST(a_reader_parses_the_events_that_were_serialised)
{
	struct buf wire = BUF_INIT, want = BUF_INIT, id = BUF_INIT, data = BUF_INIT, last = BUF_INIT;
	uint8_t retry[SSE_RETRY_MAX];
	struct rng rng;

	rng_init_seed(&rng, 9);
	for (unsigned int round = 0; round < 3000; round++) {
		struct reader whole = { 0 }, cut = { 0 };
		struct bytes in;

		buf_clear(&wire);
		buf_clear(&want);
		buf_clear(&last);
		for (unsigned int i = 0; i < 10; i++) {
			random_text(&rng, &id, 12);
			random_text(&rng, &data, 60);
			if (data.len == 0)
				buf_add_str(&data, "{}");
			add_event(&wire, buf_bytes(&id), buf_bytes(&data));
			if (id.len) {
				buf_clear(&last);
				buf_add(&last, buf_bytes(&id));
			}
			buf_add_str(&want, "id=");
			buf_add(&want, buf_bytes(&last));
			buf_add_str(&want, " type= data=");
			buf_add(&want, buf_bytes(&data));
			buf_add_str(&want, "\n");
			if (rng_below(&rng, 3) == 0)
				buf_add(&wire, SSE_COMMENT);
			if (rng_below(&rng, 5) == 0)
				buf_add(&wire,
					bytes_of(retry, sse_write_retry(retry, (uint32_t)rng_below(&rng, 1000000))));
		}
		feed(&whole, buf_bytes(&wire));
		for (in = buf_bytes(&wire); in.len;) {
			size_t n = 1 + (size_t)rng_below(&rng, round % 2 ? 1 : 40);

			n = n < in.len ? n : in.len;
			feed(&cut, bytes_of(in.at, n));
			bytes_skip(&in, n);
		}
		CHECK(bytes_eq(buf_bytes(&whole.log), buf_bytes(&want)));
		CHECK(bytes_eq(buf_bytes(&cut.log), buf_bytes(&want)));
		reader_deinit(&whole);
		reader_deinit(&cut);
	}
	buf_deinit(&wire);
	buf_deinit(&want);
	buf_deinit(&id);
	buf_deinit(&data);
	buf_deinit(&last);
}
