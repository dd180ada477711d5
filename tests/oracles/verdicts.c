/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdicts: how our codecs read bytes, one line for each input: `verdicts http|json|utf8|ws`. tests/oracles/run.py
 * asks other programs about the same bytes and compares the lines. Texts are in hex.
 *
 * http  for each request "R method target minor keep name:value,... body", and " . " when it is whole; then how the
 * input
 *       ends: "end", "more", "close" (the rest is not read) or "error STATUS why"
 * json  "ok TYPE ..." (an object's members: key, whether it or its value has a lone surrogate, type, content), or why
 * not utf8  "valid", "cut" (inside of a character) or "bad N": the first N bytes could still be right ws    "text HEX",
 * "binary HEX", "ping HEX", "pong HEX", "close CODE HEX", then "more" or "error CODE"
 */
#include "frame.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "proto/http1.h"
#include "proto/ws.h"

#define MAX_BODY 1048576u

static void hex(struct bytes b)
{
	if (b.len == 0)
		putchar('-');
	put_hex(b.at, b.len);
}

/* http ------------------------------------------------------------------------------------------------------------ */

static void put_head(const struct http1_head *h)
{
	fputs("R ", stdout);
	hex(h->method_name);
	putchar(' ');
	hex(h->target);
	printf(" %d %d ", h->minor, h->keep_alive);
	for (size_t i = 0; i < h->nfields; i++) {
		hex(h->fields[i].name);
		putchar(':');
		hex(h->fields[i].value);
		putchar(',');
	}
	putchar(' ');
}

static void put_error(const struct http1_error *e)
{
	printf("error %u %s", e->status, e->why);
}

/* True: the request is whole, and another may follow. */
static bool http_request(struct bytes *in)
{
	static const struct http1_limits limits = HTTP1_LIMITS;
	struct http1_parser p = { 0 };
	struct http1_head h;
	struct http1_body body;
	struct bytes piece;
	enum http1_result r = http1_parse_head(&p, &limits, *in, &h);

	if (r != HTTP1_DONE) {
		if (r == HTTP1_MORE)
			fputs("more", stdout);
		else
			put_error(&p.error);
		return false;
	}
	put_head(&h);
	bytes_skip(in, h.size);
	r = http1_body_init(&body, &h, MAX_BODY);
	putchar('-');
	while (r != HTTP1_ERROR && (r = http1_body_next(&body, in, &piece)) == HTTP1_CHUNK)
		put_hex(piece.at, piece.len);
	if (r == HTTP1_ERROR) {
		putchar(' ');
		put_error(&body.error);
		return false;
	}
	fputs(r == HTTP1_MORE ? " more" : h.keep_alive ? " . " : " . close", stdout);
	return r == HTTP1_DONE && h.keep_alive;
}

static void http(struct bytes in)
{
	while (http_request(&in))
		if (in.len == 0) {
			fputs("end", stdout);
			break;
		}
}

/* json ------------------------------------------------------------------------------------------------------------ */

static const char *const types[] = { "null", "false", "true", "number", "string", "array", "object" };

static void put_string(struct bytes with_quotes)
{
	uint8_t *out = mem_alloc(with_quotes.len);

	assert(out);
	hex(bytes_of(out, json_unescape(with_quotes, out)));
	mem_free(out);
}

static void put_value(const struct json_value *v)
{
	int64_t n;

	printf("%s ", types[v->type]);
	if (v->type == JSON_STRING)
		put_string(v->raw);
	else if (v->type == JSON_NUMBER && json_int64(v, &n))
		printf("%lld", (long long)n);
	else
		putchar('-');
}

static void put_members(struct bytes text)
{
	struct json_member m;
	struct json_walk w;
	int r = (int)json_object_begin(&w, text);

	assert(r == 0);
	while ((r = json_object_next(&w, &m)) > 0) {
		putchar(' ');
		put_string(bytes_of(m.key.at - 1, m.key.len + 2));
		printf(" %d ", m.key_lone_surrogate || (m.value.type == JSON_STRING && m.value.lone_surrogate));
		put_value(&m.value);
	}
	assert(r == 0);
}

static void json(struct bytes in)
{
	static const char *const errors[] = { "ok", "empty", "syntax", "depth", "utf8" };
	struct json_value v;
	enum json_error err = json_check(in, &v);

	fputs(errors[-(int)err], stdout);
	if (err)
		return;
	putchar(' ');
	if (v.type == JSON_STRING)
		printf("%d ", v.lone_surrogate);
	put_value(&v);
	if (v.type == JSON_OBJECT)
		put_members(in);
}

/* utf8 ------------------------------------------------------------------------------------------------------------ */

static void utf8(struct bytes in)
{
	utf8_state s = UTF8_START;
	size_t good = 0;

	while (good < in.len && s != UTF8_BAD) {
		s = utf8_feed(s, bytes_of(in.at + good, 1));
		good += s != UTF8_BAD;
	}
	assert(utf8_feed(UTF8_START, in) == s);
	if (s == UTF8_BAD)
		printf("bad %zu", good);
	else
		fputs(s == UTF8_START ? "valid" : "cut", stdout);
}

/* ws -------------------------------------------------------------------------------------------------------------- */

static void put_event(enum ws_event ev, const struct ws_out *out, bool first)
{
	if ((ev == WS_FRAGMENT || ev == WS_MESSAGE) && first)
		printf("%s -", out->opcode == WS_OP_TEXT ? "text" : "binary");
	else if (ev == WS_PING || ev == WS_PONG)
		printf("%s -", ev == WS_PING ? "ping" : "pong");
	else if (ev == WS_CLOSE)
		printf("close %u -", out->code);
	put_hex(out->payload.at, out->payload.len);
	if (ev != WS_FRAGMENT)
		putchar(' ');
}

/*
 * Control frames inside of a message are answered at once, so they stand before it: its fragments are kept until its
 * end.
 */
static void ws(uint8_t *data, size_t len)
{
	static const struct ws_limits limits = { .max_message = MAX_BODY, .max_fragments = 1024 };
	struct mut_bytes in = { data, len };
	struct buf message = BUF_INIT;
	struct ws_decoder d = { 0 };
	struct ws_out out;
	enum ws_event ev;

	while ((ev = ws_decode(&d, &limits, &in, &out)) != WS_NEED_MORE && ev != WS_ERROR) {
		if (ev == WS_FRAGMENT || ev == WS_MESSAGE) {
			buf_add(&message, out.payload);
			out.payload = buf_bytes(&message);
		}
		if (ev != WS_FRAGMENT)
			put_event(ev, &out, true);
		if (ev == WS_MESSAGE)
			buf_clear(&message);
	}
	buf_deinit(&message);
	if (ev == WS_ERROR)
		printf("error %u", out.code);
	else
		fputs("more", stdout);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	uint8_t *data;
	size_t len;

	while ((data = frame_read(&len))) {
		struct bytes in = bytes_of(data, len);

		if (mode[0] == 'h')
			http(in);
		else if (mode[0] == 'j')
			json(in);
		else if (mode[0] == 'u')
			utf8(in);
		else
			ws(data, len);
		putchar('\n');
		free(data);
	}
	return ferror(stdout) ? 1 : 0;
}
