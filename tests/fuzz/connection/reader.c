/* SPDX-License-Identifier: Apache-2.0 */
/* reader: see reader.h. Incomplete input waits in @in; each step takes one complete frame, event or answer off it. */
#include "connection/reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

#define HEAD_MAX 65536u

void wrong(const char *what)
{
	fprintf(stderr, "wrong: %s\n", what);
	abort();
}

static void expect(bool ok, const char *what)
{
	if (!ok)
		wrong(what);
}

/* UTF-8 by arithmetic, RFC 3629. */
static bool is_utf8(struct bytes b)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

	while (b.len) {
		uint8_t c = b.at[0];
		size_t more = c < 0x80             ? 0
			      : (c & 0xe0) == 0xc0 ? 1
			      : (c & 0xf0) == 0xe0 ? 2
			      : (c & 0xf8) == 0xf0 ? 3
						   : 4;
		uint32_t cp = more ? c & (0x3fu >> more) : c;

		if (more == 4 || b.len <= more)
			return false;
		for (size_t i = 1; i <= more; i++) {
			if ((b.at[i] & 0xc0) != 0x80)
				return false;
			cp = cp << 6 | (b.at[i] & 0x3f);
		}
		if (cp < least[more] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
			return false;
		bytes_skip(&b, more + 1);
	}
	return true;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static struct bytes inside(const struct json_value *v)
{
	expect(v->type == JSON_STRING, "a key of a message that must be a string is none");
	return bytes_of(v->raw.at + 1, v->raw.len - 2);
}

static void read_data(struct message *m, struct bytes text)
{
	struct json_member e;
	struct json_walk w;
	int64_t n;

	expect(json_object_begin(&w, text) == JSON_OK, "data is no object");
	while (json_object_next(&w, &e) > 0) {
		if (bytes_eq(e.key, BYTES("ref")) && e.value.type == JSON_STRING)
			m->ref = inside(&e.value);
		else if (bytes_eq(e.key, BYTES("code")) && e.value.type == JSON_STRING)
			m->code = inside(&e.value);
		else if (bytes_eq(e.key, BYTES("code")) && json_int64(&e.value, &n))
			m->code = e.value.raw;
		else if (bytes_eq(e.key, BYTES("dropped")) && json_int64(&e.value, &n))
			m->dropped = (uint64_t)n;
	}
}

static bool type_is(const struct message *m, const char *type)
{
	return bytes_eq(m->type, bytes_str(type));
}

static void read_message(struct reader *r, struct bytes text, bool deflated)
{
	struct message m = { .len = text.len, .deflated = deflated };
	struct json_member e;
	struct json_walk w;
	int rc;

	expect(json_object_begin(&w, text) == JSON_OK, "a message is no JSON object");
	while ((rc = json_object_next(&w, &e)) > 0) {
		struct {
			const char *key;
			struct bytes *to;
		} keys[] = {
			{ "id", &m.id }, { "type", &m.type },       { "from", &m.from },
			{ "to", &m.to }, { "content", &m.content }, { "create_at", &m.create_at },
		};

		for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
			if (bytes_eq(e.key, bytes_str(keys[i].key))) {
				expect(!keys[i].to->at, "a key of a message is there twice");
				*keys[i].to = inside(&e.value);
			}
		if (bytes_eq(e.key, BYTES("data")))
			m.data = e.value.raw;
	}
	expect(rc == 0, "a message is broken JSON");
	expect(m.id.len && m.type.len && m.from.len && m.to.at && m.content.at && m.create_at.len,
	       "a message lacks a key that every message has");
	if (m.data.len && bytes_eq(m.from, BYTES("system")))
		read_data(&m, m.data);
	r->messages++;
	if (type_is(&m, "gap") && bytes_eq(m.from, BYTES("system")))
		r->dropped += m.dropped;
	if (r->on_message)
		r->on_message(r->ctx, &m);
	if (r->state == READ_SSE && type_is(&m, "closed") && bytes_eq(m.from, BYTES("system"))) {
		r->closed = true;
		r->close_code = 0;
		for (size_t i = 0; i < m.code.len && i < 5; i++)
			r->close_code = r->close_code * 10 + (unsigned)(m.code.at[i] - '0');
		expect(r->close_code >= 1000 || r->forgeable, "the event `closed` without a code");
	}
}

/* ---- WebSocket -------------------------------------------------------------------------------------------------------- */

static bool code_ok(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code < 5000);
}

static void read_close(struct reader *r, struct bytes p)
{
	expect(p.len != 1, "a close frame of one byte");
	r->closed = true;
	r->close_code = 1005;
	if (p.len == 0)
		return;
	r->close_code = (unsigned)p.at[0] << 8 | p.at[1];
	expect(code_ok(r->close_code), "a close code that must not be on the wire");
	expect(is_utf8(bytes_of(p.at + 2, p.len - 2)), "a close reason that is not UTF-8");
}

/* False: it is not whole yet. */
static bool read_frame(struct reader *r, struct bytes *in)
{
	size_t head = 2, len;
	bool deflated;
	struct bytes p;
	uint8_t op;

	if (in->len < 2)
		return false;
	expect(!r->closed, "a frame behind the close frame");
	deflated = in->at[0] & 0x40;
	op = in->at[0] & 0x0f;
	expect((in->at[0] & 0xb0) == 0x80, "a fragment or a reserved bit");
	expect(!deflated || (r->zip.on && op == 1), "RSV1 that was not agreed on, or not on a message");
	expect(!(in->at[1] & 0x80), "a masked frame");
	len = in->at[1];
	expect(op == 1 || (op >= 8 && op <= 10), "an opcode that the server has no use for");
	expect(op == 1 || len <= 125, "a long control frame");
	if (len >= 126) {
		size_t n = len == 126 ? 2 : 8;

		head += n;
		if (in->len < head)
			return false;
		len = 0;
		for (size_t i = 0; i < n; i++)
			len = len << 8 | in->at[2 + i];
		expect(len >= (n == 2 ? 126u : 65536u), "a length that is longer than it must be");
		expect(len < 1u << 30, "a frame of more than a message may have");
	}
	if (in->len < head + len)
		return false;
	p = bytes_of(in->at + head, len);
	bytes_skip(in, head + len);
	if (deflated) {
		buf_clear(&r->inflated);
		zip_read(&r->zip, p, &r->inflated);
		p = buf_bytes(&r->inflated);
	}
	if (op == 8)
		read_close(r, p);
	else if (op == 9)
		r->pings++;
	else if (op == 10)
		r->pongs++;
	else if (!bytes_eq(p, BYTES("pong"))) {
		expect(is_utf8(p), "a text frame that is not UTF-8");
		read_message(r, p, deflated);
	}
	return true;
}

/* ---- event stream ------------------------------------------------------------------------------------------------------- */

static void read_field(struct reader *r, struct bytes name, struct bytes value)
{
	if (bytes_eq(name, BYTES("data"))) {
		buf_add(&r->data, value);
		buf_add_u8(&r->data, '\n');
	} else if (bytes_eq(name, BYTES("retry"))) {
		expect(value.len > 0, "retry without a number");
		for (size_t i = 0; i < value.len; i++)
			expect(value.at[i] >= '0' && value.at[i] <= '9', "retry is no number");
	} else {
		expect(bytes_eq(name, BYTES("id")), "an event with an unknown field");
	}
}

/* One line; false: none is whole. CR, LF and CRLF end lines; the server writes LF alone, so CR is wrong. */
static bool read_line(struct reader *r, struct bytes *in)
{
	const uint8_t *end = in->len ? memchr(in->at, '\n', in->len) : NULL;
	const uint8_t *colon;
	struct bytes line, value = { 0 };

	if (!end)
		return false;
	expect(!r->closed || r->forgeable || in->at == end, "an event behind the event `closed`");
	line = bytes_of(in->at, (size_t)(end - in->at));
	bytes_skip(in, line.len + 1);
	expect(!line.len || (!memchr(line.at, '\r', line.len) && !memchr(line.at, '\0', line.len)),
	       "CR or NUL in an event");
	expect(is_utf8(line), "an event stream that is not UTF-8");
	if (line.len == 0) {
		if (r->data.len) {
			r->events++;
			read_message(r, bytes_of(r->data.at, r->data.len - 1), false);
		}
		buf_clear(&r->data);
		return true;
	}
	colon = memchr(line.at, ':', line.len);
	if (colon == line.at)
		return true; /* a comment */
	if (colon) {
		value = bytes_of(colon + 1, line.len - (size_t)(colon - line.at) - 1);
		line.len = (size_t)(colon - line.at);
		if (value.len && value.at[0] == ' ')
			bytes_skip(&value, 1);
	}
	read_field(r, line, value);
	return true;
}

/* ---- HTTP ------------------------------------------------------------------------------------------------------------------ */

static bool is_token(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (b.at[i] <= ' ' || b.at[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", b.at[i]))
			return false;
	return b.len > 0;
}

struct head {
	bool has_length, close, json, stream, upgrade;
	size_t length;
	struct zip zip;
};

static void read_header(struct head *h, struct bytes line)
{
	const uint8_t *colon = line.len ? memchr(line.at, ':', line.len) : NULL;
	struct bytes name, value;

	expect(colon, "a header line without a colon");
	name = bytes_of(line.at, (size_t)(colon - line.at));
	value = bytes_trim(bytes_of(colon + 1, line.len - name.len - 1));
	expect(is_token(name), "a header name that is no token");
	for (size_t i = 0; i < value.len; i++)
		expect((value.at[i] >= ' ' || value.at[i] == '\t') && value.at[i] != 0x7f,
		       "a control byte in a header");
	expect(!bytes_eq_nocase(name, BYTES("transfer-encoding")), "Transfer-Encoding, which the server does not use");
	if (bytes_eq_nocase(name, BYTES("content-length"))) {
		expect(!h->has_length && value.len, "Content-Length twice, or empty");
		h->has_length = true;
		for (size_t i = 0; i < value.len; i++) {
			expect(value.at[i] >= '0' && value.at[i] <= '9' && h->length < 1u << 28, "Content-Length");
			h->length = h->length * 10 + (size_t)(value.at[i] - '0');
		}
	}
	if (bytes_eq_nocase(name, BYTES("sec-websocket-extensions")))
		zip_agree(&h->zip, value);
	h->close |= bytes_eq_nocase(name, BYTES("connection")) && bytes_eq_nocase(value, BYTES("close"));
	h->upgrade |= bytes_eq_nocase(name, BYTES("upgrade")) && bytes_eq_nocase(value, BYTES("websocket"));
	h->json |= bytes_eq_nocase(name, BYTES("content-type")) && bytes_starts(value, BYTES("application/json"));
	h->stream |= bytes_eq_nocase(name, BYTES("content-type")) && bytes_starts(value, BYTES("text/event-stream"));
}

static unsigned read_status(struct bytes line)
{
	unsigned status = 0;

	expect(line.len > 13 && bytes_starts(line, BYTES("HTTP/1.1 ")) && line.at[12] == ' ', "a status line");
	for (size_t i = 9; i < 12; i++) {
		expect(line.at[i] >= '0' && line.at[i] <= '9', "a status that is no number");
		status = status * 10 + line.at[i] - '0';
	}
	expect(status >= 100 && status < 600, "an unknown status");
	return status;
}

static bool read_head(struct reader *r, struct bytes *in)
{
	const uint8_t *end = in->len ? memmem(in->at, in->len, "\r\n\r\n", 4) : NULL;
	struct head h = { 0 };
	struct bytes head;
	unsigned n = 0;

	expect(end || in->len < HEAD_MAX, "a head without an end");
	expect(!in->len || !r->last, "bytes behind the last answer");
	if (!end)
		return false;
	head = bytes_of(in->at, (size_t)(end - in->at) + 2);
	bytes_skip(in, head.len + 2);
	while (head.len) {
		const uint8_t *eol = memmem(head.at, head.len, "\r\n", 2);
		struct bytes line = bytes_of(head.at, (size_t)(eol - head.at));

		bytes_skip(&head, line.len + 2);
		if (n++ == 0)
			r->status = read_status(line);
		else
			read_header(&h, line);
	}
	r->json = h.json;
	r->last = h.close;
	r->body = h.length;
	if (r->status == 100) {
		expect(!r->continued, "100 Continue is said twice");
		r->continued = true;
		return true;
	}
	r->continued = false;
	r->answers++;
	expect(r->status == 101 || !h.zip.on, "an extension without an upgrade");
	if (r->status == 101) {
		expect(h.upgrade && !h.has_length, "a 101 that upgrades to nothing");
		r->zip = h.zip;
		r->state = READ_WS;
	} else if (h.stream && !h.has_length) {
		expect(r->status == 200 && h.close, "an event stream that does not end with its connection");
		r->state = READ_SSE;
		r->last = false;
	} else {
		expect(r->status != 204 || !h.length, "a 204 with a body");
		expect(h.has_length || r->status == 204, "an answer without a length");
		r->state = READ_BODY;
	}
	if (r->state != READ_BODY && r->on_answer)
		r->on_answer(r->ctx, r->status, (struct bytes){ 0 });
	return true;
}

static void check_json_answer(const struct reader *r, struct bytes body)
{
	bool success = false, told = false;
	struct json_member e;
	struct json_walk w;
	int rc;

	expect(json_object_begin(&w, body) == JSON_OK, "an answer is no JSON object");
	while ((rc = json_object_next(&w, &e)) > 0)
		if (bytes_eq(e.key, BYTES("success"))) {
			told = true;
			success = e.value.type == JSON_TRUE;
		}
	expect(rc == 0, "an answer is broken JSON");
	/* The API's own documents are JSON too, and no answers. */
	expect(told ? success == (r->status < 400) : r->status == 200,
	       "an answer whose `success` contradicts its status");
}

static bool read_body(struct reader *r, struct bytes *in)
{
	struct bytes body = bytes_of(in->at, r->body);

	if (r->asked_head && r->body && bytes_starts(*in, BYTES("HTTP/1.1 ")))
		body.len = 0; /* the answer to a HEAD: no body of ours begins like this */
	else if (in->len < r->body)
		return false;
	bytes_skip(in, body.len);
	r->state = READ_HTTP;
	if (r->json && body.len)
		check_json_answer(r, body);
	if (r->on_answer)
		r->on_answer(r->ctx, r->status, body);
	return true;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------- */

static bool step(struct reader *r, struct bytes *in)
{
	switch (r->state) {
	case READ_HTTP:
		return read_head(r, in);
	case READ_BODY:
		return read_body(r, in);
	case READ_WS:
		return read_frame(r, in);
	case READ_SSE:
		return read_line(r, in);
	}
	return false;
}

void reader_feed(struct reader *r, struct bytes in)
{
	struct bytes left;

	buf_add(&r->in, in);
	left = bytes_of(r->in.at + r->at, r->in.len - r->at);
	while (step(r, &left))
		;
	r->at = r->in.len - left.len;
	if (left.len == 0) {
		buf_clear(&r->in);
		r->at = 0;
	}
}

void reader_end(struct reader *r, bool whole)
{
	bool head_only = r->state == READ_BODY && r->asked_head && r->in.len == r->at;

	if (!whole)
		return;
	if (r->in.len != r->at)
		fprintf(stderr, "left over: %.*s\n", (int)(r->in.len - r->at), (const char *)r->in.at + r->at);
	expect(r->in.len == r->at && !r->data.len, "the last thing that was said is not whole");
	expect(r->state != READ_BODY || r->body == 0 || head_only, "an answer without its body");
}

void reader_deinit(struct reader *r)
{
	buf_deinit(&r->in);
	buf_deinit(&r->data);
	buf_deinit(&r->inflated);
	zip_deinit(&r->zip);
}
