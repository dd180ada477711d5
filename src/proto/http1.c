/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1: request heads and bodies. A head is scanned byte by byte as it comes, only for line ends and control bytes;
 * each complete line is then checked at once, so a malformed request fails at its first malformed line wherever the
 * input was cut. Rules that concern several lines (lengths, Host) are checked at the end. A head that came in several
 * reads is parsed once more when it is complete, to set its views; so each byte is read twice at most.
 */
#include "proto/http1.h"

/* http1_parser.state */
enum {
	HEAD_START,      /* an empty line is still allowed here */
	HEAD_AFTER_CRLF, /* after that empty line: the request line must follow */
	HEAD_FIELDS,
	HEAD_END,
};

#define REQUEST_LINE_EXTRA 64u /* bytes of a request line beside its target: method, version, spaces */

static enum http1_result fail(struct http1_error *e, unsigned int status, const char *why)
{
	*e = (struct http1_error){ (uint16_t)status, why };
	return HTTP1_ERROR;
}

/* Characters ------------------------------------------------------------------------------------------------------ */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return is_digit(c) || (bytes_lower(c) >= 'a' && bytes_lower(c) <= 'z');
}

static bool is_control(uint8_t c)
{
	return c < 0x20 || c == 0x7f;
}

/* RFC 9110 §5.6.2, one bit for each byte: !#$%&'*+-.0-9 A-Z^_ `a-z|~ */
static bool is_token(uint8_t c)
{
	static const uint32_t bits[8] = { 0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff };

	return bits[c >> 5] >> (c & 31) & 1;
}

bool http1_token_valid(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (!is_token(b.at[i]))
			return false;
	return b.len > 0;
}

/* The number of bytes before the first control byte of @in; checks eight bytes at a time. */
static size_t plain_run(struct bytes in)
{
	const uint64_t ones = 0x0101010101010101u;
	const uint64_t tops = ones << 7;
	uint64_t w, del;
	size_t i;

	for (i = 0; i + sizeof(w) <= in.len; i += sizeof(w)) {
		memcpy(&w, in.at + i, sizeof(w));
		del = w ^ ones * 0x7f;
		if ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops)
			break;
	}
	while (i < in.len && !is_control(in.at[i]))
		i++;
	return i;
}

/* Host (RFC 9112 §3.2, RFC 3986 §3.2.2) --------------------------------------------------------------------------- */

static bool port_valid(struct bytes b)
{
	unsigned int v = 0;

	if (b.len > 5)
		return false;
	for (size_t i = 0; i < b.len; i++) {
		if (!is_digit(b.at[i]))
			return false;
		v = v * 10 + b.at[i] - '0';
	}
	return v <= 65535;
}

static bool is_name_char(uint8_t c)
{
	return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static bool is_ipv6_char(uint8_t c)
{
	return is_digit(c) || (bytes_lower(c) >= 'a' && bytes_lower(c) <= 'f') || c == ':' || c == '.';
}

bool http1_host_valid(struct bytes host)
{
	bool literal = host.len && host.at[0] == '[';
	size_t start, i;

	i = start = literal ? 1 : 0;
	while (i < host.len && (literal ? is_ipv6_char(host.at[i]) : is_name_char(host.at[i])))
		i++;
	if (i == start)
		return false;
	if (literal && (i == host.len || host.at[i++] != ']'))
		return false;
	bytes_skip(&host, i);
	return host.len == 0 || (host.at[0] == ':' && port_valid(bytes_of(host.at + 1, host.len - 1)));
}

/* Request line (RFC 9112 §3) -------------------------------------------------------------------------------------- */

static enum http1_method method_of(struct bytes name)
{
	static const struct {
		struct bytes name;
		enum http1_method method;
	} methods[] = {
		{ { (const uint8_t *)"GET", 3 }, HTTP1_GET },     { { (const uint8_t *)"POST", 4 }, HTTP1_POST },
		{ { (const uint8_t *)"HEAD", 4 }, HTTP1_HEAD },   { { (const uint8_t *)"OPTIONS", 7 }, HTTP1_OPTIONS },
		{ { (const uint8_t *)"PUT", 3 }, HTTP1_PUT },     { { (const uint8_t *)"DELETE", 6 }, HTTP1_DELETE },
		{ { (const uint8_t *)"PATCH", 5 }, HTTP1_PATCH }, { { (const uint8_t *)"TRACE", 5 }, HTTP1_TRACE },
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (bytes_eq(methods[i].name, name))
			return methods[i].method;
	return HTTP1_OTHER;
}

static struct bytes take_until_space(struct bytes *line)
{
	const uint8_t *sp = line->len ? memchr(line->at, ' ', line->len) : NULL;
	struct bytes word = sp ? bytes_of(line->at, (size_t)(sp - line->at)) : *line;

	bytes_skip(line, sp ? word.len + 1 : word.len);
	return word;
}

static enum http1_result read_version(struct http1_parser *p, struct bytes v, struct http1_head *h)
{
	if (v.len == 0)
		return fail(&p->error, 400, "the request line has no HTTP version");
	if (v.len != 8 || !bytes_starts(v, BYTES("HTTP/")) || !is_digit(v.at[5]) || v.at[6] != '.' ||
	    !is_digit(v.at[7]))
		return fail(&p->error, 400, "the request line is malformed");
	if (v.at[5] != '1' || v.at[7] > '1')
		return fail(&p->error, 505, "only HTTP/1.0 and HTTP/1.1 are supported");
	h->minor = (uint8_t)(v.at[7] - '0');
	return HTTP1_MORE;
}

/* Visible ASCII without '#', because a client does not send the fragment of a URL. */
static bool target_valid(struct bytes t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.at[i] <= ' ' || t.at[i] >= 0x7f || t.at[i] == '#')
			return false;
	return t.len > 0;
}

/* §3.2.2: takes scheme and authority off @rest, which is then empty or begins with '/' or '?'. */
static bool take_authority(struct bytes *rest, struct bytes *authority)
{
	static const char *const schemes[] = { "http://", "https://" };
	size_t n = 0;

	for (size_t i = 0; i < 2 && n == 0; i++) {
		struct bytes scheme = bytes_str(schemes[i]);

		if (rest->len > scheme.len && bytes_eq_nocase(bytes_of(rest->at, scheme.len), scheme))
			n = scheme.len;
	}
	if (n == 0)
		return false;
	bytes_skip(rest, n);
	for (n = 0; n < rest->len && rest->at[n] != '/' && rest->at[n] != '?';)
		n++;
	*authority = bytes_of(rest->at, n);
	bytes_skip(rest, n);
	return http1_host_valid(*authority);
}

static void split_query(struct bytes rest, struct http1_head *h)
{
	const uint8_t *mark = rest.len ? memchr(rest.at, '?', rest.len) : NULL;
	size_t n = mark ? (size_t)(mark - rest.at) : rest.len;

	h->path = n ? bytes_of(rest.at, n) : BYTES("/");
	h->query = mark ? bytes_of(mark + 1, rest.len - n - 1) : (struct bytes){ 0 };
}

/* §3.2: origin-form, absolute-form, or "*" for OPTIONS. */
static enum http1_result read_target(struct http1_parser *p, struct http1_head *h)
{
	struct bytes rest = h->target;

	h->host = (struct bytes){ 0 };
	if (!target_valid(rest))
		return fail(&p->error, 400, "the request target has bytes that are not allowed");
	if (h->method == HTTP1_OPTIONS && bytes_eq(rest, BYTES("*"))) {
		h->path = rest;
		h->query = (struct bytes){ 0 };
		return HTTP1_MORE;
	}
	if (rest.at[0] != '/' && !take_authority(&rest, &h->host))
		return fail(&p->error, 400, "the request target is neither a path nor an http URL");
	split_query(rest, h);
	return HTTP1_MORE;
}

static enum http1_result read_request_line(struct http1_parser *p, const struct http1_limits *lim, struct bytes line,
					   struct http1_head *h)
{
	h->method_name = take_until_space(&line);
	h->target = take_until_space(&line);
	h->method = method_of(h->method_name);
	if (!http1_token_valid(h->method_name))
		return fail(&p->error, 400, "the method is not a token");
	if (read_version(p, line, h) == HTTP1_ERROR)
		return HTTP1_ERROR;
	if (h->method_name.len > HTTP1_METHOD_MAX)
		return fail(&p->error, 501, "the method is not known");
	if (bytes_eq(h->method_name, BYTES("CONNECT")))
		return fail(&p->error, 501, "CONNECT is not supported");
	if (h->target.len > lim->max_target)
		return fail(&p->error, 414, "the request target is too long");
	return read_target(p, h);
}

/* Field lines (RFC 9112 §5) --------------------------------------------------------------------------------------- */

static enum http1_result read_field(struct http1_parser *p, const struct http1_limits *lim, struct bytes line,
				    struct http1_head *h)
{
	const uint8_t *colon = memchr(line.at, ':', line.len);
	struct http1_field *f;

	if (line.at[0] == ' ' || line.at[0] == '\t')
		return fail(&p->error, 400, "a header line begins with white space");
	if (!colon)
		return fail(&p->error, 400, "a header line has no colon");
	if (p->nfields >= lim->max_fields || p->nfields >= HTTP1_FIELDS_MAX)
		return fail(&p->error, 431, "there are too many headers");
	f = &h->fields[p->nfields++];
	f->name = bytes_of(line.at, (size_t)(colon - line.at));
	f->value = bytes_trim(bytes_of(colon + 1, line.len - f->name.len - 1));
	if (!http1_token_valid(f->name))
		return fail(&p->error, 400, "a header name is not a token");
	return HTTP1_MORE;
}

const struct http1_field *http1_find_next(const struct http1_head *h, struct bytes name, const struct http1_field *prev)
{
	for (const struct http1_field *f = prev ? prev + 1 : h->fields; f < h->fields + h->nfields; f++)
		if (bytes_eq_nocase(f->name, name))
			return f;
	return NULL;
}

const struct http1_field *http1_find(const struct http1_head *h, struct bytes name)
{
	return http1_find_next(h, name, NULL);
}

struct bytes http1_header(const struct http1_head *h, struct bytes name)
{
	const struct http1_field *f = http1_find(h, name);

	return f ? f->value : (struct bytes){ 0 };
}

bool http1_has_token(const struct http1_head *h, struct bytes name, struct bytes token)
{
	const struct http1_field *f = NULL;
	struct bytes list, item;

	while ((f = http1_find_next(h, name, f)) != NULL)
		for (list = f->value; bytes_next(&list, ',', &item);)
			if (bytes_eq_nocase(item, token))
				return true;
	return false;
}

/* Rules that concern several lines of the head -------------------------------------------------------------------- */

static enum http1_result check_host(struct http1_parser *p, struct http1_head *h)
{
	const struct http1_field *f = http1_find(h, BYTES("Host"));

	if (!f)
		return h->minor ? fail(&p->error, 400, "Host is missing") : HTTP1_DONE;
	if (http1_find_next(h, BYTES("Host"), f))
		return fail(&p->error, 400, "Host appears twice");
	if (!http1_host_valid(f->value))
		return fail(&p->error, 400, "Host is not a host name");
	if (h->host.len == 0)
		h->host = f->value;
	return HTTP1_DONE;
}

/* RFC 9110 §8.6: only digits, so that no other parser can read another number. */
static bool read_content_length(struct bytes v, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < v.len; i++) {
		if (!is_digit(v.at[i]))
			return false;
		*out = *out * 10 + v.at[i] - '0';
	}
	return v.len >= 1 && v.len <= 19;
}

/* RFC 9112 §6.1, §6.3: there must be no doubt where the body ends. */
static enum http1_result check_length(struct http1_parser *p, struct http1_head *h)
{
	const struct http1_field *te = http1_find(h, BYTES("Transfer-Encoding"));
	const struct http1_field *cl = http1_find(h, BYTES("Content-Length"));

	h->chunked = te != NULL;
	h->has_length = cl != NULL;
	h->content_length = 0;
	if (te && cl)
		return fail(&p->error, 400, "there are both Content-Length and Transfer-Encoding");
	if (te && h->minor == 0)
		return fail(&p->error, 400, "Transfer-Encoding is not part of HTTP/1.0");
	if (te && (http1_find_next(h, BYTES("Transfer-Encoding"), te) || !bytes_eq_nocase(te->value, BYTES("chunked"))))
		return fail(&p->error, 400, "Transfer-Encoding is not \"chunked\" alone");
	if (cl && http1_find_next(h, BYTES("Content-Length"), cl))
		return fail(&p->error, 400, "Content-Length appears twice");
	if (cl && !read_content_length(cl->value, &h->content_length))
		return fail(&p->error, 400, "Content-Length is not a number");
	return HTTP1_DONE;
}

/* RFC 9110 §10.1.1; HTTP/1.0 has no Expect. */
static enum http1_result check_expect(struct http1_parser *p, struct http1_head *h)
{
	const struct http1_field *f = h->minor ? http1_find(h, BYTES("Expect")) : NULL;

	h->expect_continue = f != NULL;
	if (f && (http1_find_next(h, BYTES("Expect"), f) || !bytes_eq_nocase(f->value, BYTES("100-continue"))))
		return fail(&p->error, 417, "Expect is not 100-continue");
	return HTTP1_DONE;
}

static void read_connection(struct http1_head *h)
{
	bool close = http1_has_token(h, BYTES("Connection"), BYTES("close"));

	h->keep_alive = !close && (h->minor || http1_has_token(h, BYTES("Connection"), BYTES("keep-alive")));
	h->upgrade = h->minor && http1_has_token(h, BYTES("Connection"), BYTES("upgrade"));
}

static enum http1_result check_head(struct http1_parser *p, struct http1_head *h)
{
	h->nfields = p->nfields;
	h->size = p->line;
	if (check_host(p, h) == HTTP1_ERROR || check_length(p, h) == HTTP1_ERROR)
		return HTTP1_ERROR;
	read_connection(h);
	return check_expect(p, h);
}

/* Lines ----------------------------------------------------------------------------------------------------------- */

static enum http1_result take_line(struct http1_parser *p, const struct http1_limits *lim, struct bytes line,
				   struct http1_head *h)
{
	if (p->state == HEAD_FIELDS) {
		if (line.len)
			return read_field(p, lim, line, h);
		p->state = HEAD_END;
		return HTTP1_DONE;
	}
	if (line.len) {
		p->state = HEAD_FIELDS;
		return read_request_line(p, lim, line, h);
	}
	if (p->state == HEAD_AFTER_CRLF)
		return fail(&p->error, 400, "there are empty lines before the request");
	p->state = HEAD_AFTER_CRLF;
	return HTTP1_MORE;
}

/*
 * Looks for the next line end in @in, which the caller has cut at the present limit.
 * HTTP1_DONE: @line is set and consumed. HTTP1_MORE: there is no line end yet.
 */
static enum http1_result next_line(struct http1_parser *p, struct bytes in, struct bytes *line)
{
	size_t i = p->scanned;

	for (;; i++) {
		i += plain_run(bytes_of(in.at + i, in.len - i));
		p->scanned = (uint32_t)i;
		if (i == in.len)
			return HTTP1_MORE;
		if (in.at[i] != '\t')
			break;
	}
	if (in.at[i] == '\n')
		return fail(&p->error, 400, "a line ends without CR");
	if (in.at[i] != '\r')
		return fail(&p->error, 400, "there is a control byte in the head");
	if (i + 1 == in.len)
		return HTTP1_MORE;
	if (in.at[i + 1] != '\n')
		return fail(&p->error, 400, "there is a CR without LF in the head");
	*line = bytes_of(in.at + p->line, i - p->line);
	p->line = p->scanned = (uint32_t)i + 2;
	return HTTP1_DONE;
}

static enum http1_result parse(struct http1_parser *p, const struct http1_limits *lim, struct bytes in,
			       struct http1_head *h)
{
	enum http1_result r = HTTP1_MORE;
	struct bytes line;

	while (r == HTTP1_MORE) {
		uint64_t first_max = (uint64_t)p->line + lim->max_target + REQUEST_LINE_EXTRA;
		bool first = p->state != HEAD_FIELDS && first_max < lim->max_head;
		size_t max = first ? (size_t)first_max : lim->max_head;

		r = next_line(p, bytes_of(in.at, in.len < max ? in.len : max), &line);
		if (r == HTTP1_MORE && in.len >= max)
			return fail(&p->error, first ? 414 : 431,
				    first ? "the request target is too long" : "the head is too large");
		if (r != HTTP1_DONE)
			return r;
		r = take_line(p, lim, line, h);
	}
	return r;
}

enum http1_result http1_parse_head(struct http1_parser *p, const struct http1_limits *lim, struct bytes in,
				   struct http1_head *out)
{
	enum http1_result r;

	if (p->error.status)
		return HTTP1_ERROR;
	if (in.len == 0)
		return HTTP1_MORE;
	r = parse(p, lim, in, out);
	if (r == HTTP1_MORE)
		p->resumed = p->line > 0;
	if (r == HTTP1_DONE && p->resumed) {
		struct bytes whole = bytes_of(in.at, p->line);

		http1_parser_init(p);
		r = parse(p, lim, whole, out);
	}
	return r == HTTP1_DONE ? check_head(p, out) : r;
}

/* Body (RFC 9112 §6.2, §7.1) -------------------------------------------------------------------------------------- */
/* http1_body.state */
enum {
	BODY_DONE,
	BODY_LENGTH, /* left: of the body */
	BODY_SIZE,   /* in a chunk size */
	BODY_SIZE_LF,
	BODY_DATA, /* left: of the chunk */
	BODY_DATA_CR,
	BODY_DATA_LF,
	BODY_LINE, /* start of a trailer line, or of the last, empty one */
	BODY_NAME,
	BODY_VALUE,
	BODY_VALUE_LF,
	BODY_END_LF,
};

#define OVERHEAD_FREE 16384u
#define OVERHEAD_FACTOR 8u

enum http1_result http1_body_init(struct http1_body *b, const struct http1_head *h, uint64_t max_body)
{
	*b = (struct http1_body){ .left = h->content_length, .room = max_body, .state = BODY_DONE };
	if (h->chunked)
		b->state = BODY_SIZE;
	else if (h->content_length > max_body)
		return fail(&b->error, 413, "the body is too large");
	else if (h->content_length)
		b->state = BODY_LENGTH;
	return HTTP1_MORE;
}

static enum http1_result bad_chunk(struct http1_body *b)
{
	return fail(&b->error, 400, "the chunked body is malformed");
}

static enum http1_result expect_byte(struct http1_body *b, uint8_t c, uint8_t wanted, unsigned int next)
{
	if (c != wanted)
		return bad_chunk(b);
	b->state = (uint8_t)next;
	return HTTP1_MORE;
}

/* 1 to 16 hex digits and no chunk extension, because proxies disagree about extensions. */
static enum http1_result consume_size(struct http1_body *b, uint8_t c)
{
	uint8_t low = bytes_lower(c);
	uint64_t v;

	if (c == '\r' && b->digits)
		return expect_byte(b, c, '\r', BODY_SIZE_LF);
	if (is_digit(c))
		v = (uint64_t)c - '0';
	else if (low >= 'a' && low <= 'f')
		v = (uint64_t)low - 'a' + 10;
	else
		return bad_chunk(b);
	if (b->digits++ == 16)
		return bad_chunk(b);
	b->left = b->left << 4 | v;
	return HTTP1_MORE;
}

static enum http1_result consume_size_lf(struct http1_body *b, uint8_t c)
{
	if (expect_byte(b, c, '\n', b->left ? BODY_DATA : BODY_LINE) == HTTP1_ERROR)
		return HTTP1_ERROR;
	if (b->left > b->room)
		return fail(&b->error, 413, "the body is too large");
	b->room -= b->left;
	b->digits = 0;
	return HTTP1_MORE;
}

/* The first byte of a trailer line, or of the empty line that ends them. */
static enum http1_result consume_line(struct http1_body *b, uint8_t c)
{
	if (c == '\r')
		return expect_byte(b, c, '\r', BODY_END_LF);
	return is_token(c) ? expect_byte(b, c, c, BODY_NAME) : bad_chunk(b);
}

static enum http1_result consume_name(struct http1_body *b, uint8_t c)
{
	return is_token(c) ? HTTP1_MORE : expect_byte(b, c, ':', BODY_VALUE);
}

static enum http1_result consume_value(struct http1_body *b, uint8_t c)
{
	return is_control(c) && c != '\t' ? expect_byte(b, c, '\r', BODY_VALUE_LF) : HTTP1_MORE;
}

static enum http1_result consume_trailer(struct http1_body *b, uint8_t c)
{
	if (++b->trailer > HTTP1_TRAILER_MAX)
		return fail(&b->error, 400, "the trailer section is too large");
	switch (b->state) {
	case BODY_LINE:
		return consume_line(b, c);
	case BODY_NAME:
		return consume_name(b, c);
	case BODY_VALUE:
		return consume_value(b, c);
	case BODY_VALUE_LF:
		return expect_byte(b, c, '\n', BODY_LINE);
	default:
		return expect_byte(b, c, '\n', BODY_DONE);
	}
}

static enum http1_result consume(struct http1_body *b, uint8_t c)
{
	b->overhead++;
	if ((b->overhead > OVERHEAD_FREE) && (b->overhead - OVERHEAD_FREE) / OVERHEAD_FACTOR > b->taken)
		return fail(&b->error, 400, "there are too many small chunks");
	switch (b->state) {
	case BODY_SIZE:
		return consume_size(b, c);
	case BODY_SIZE_LF:
		return consume_size_lf(b, c);
	case BODY_DATA_CR:
		return expect_byte(b, c, '\r', BODY_DATA_LF);
	case BODY_DATA_LF:
		return expect_byte(b, c, '\n', BODY_SIZE);
	default:
		return consume_trailer(b, c);
	}
}

static enum http1_result take_body(struct http1_body *b, struct bytes *in, struct bytes *part)
{
	size_t n = b->left < in->len ? (size_t)b->left : in->len;

	*part = bytes_of(in->at, n);
	bytes_skip(in, n);
	b->left -= n;
	b->taken += n;
	if (b->left == 0)
		b->state = b->state == BODY_LENGTH ? BODY_DONE : BODY_DATA_CR;
	return HTTP1_CHUNK;
}

enum http1_result http1_body_next(struct http1_body *b, struct bytes *in, struct bytes *part)
{
	enum http1_result r = HTTP1_MORE;
	uint8_t c;

	*part = (struct bytes){ 0 };
	if (b->error.status)
		return HTTP1_ERROR;
	while (r == HTTP1_MORE && b->state != BODY_DONE && in->len) {
		if (b->state == BODY_LENGTH || b->state == BODY_DATA)
			return take_body(b, in, part);
		bytes_take_u8(in, &c);
		r = consume(b, c);
	}
	return r == HTTP1_MORE && b->state == BODY_DONE ? HTTP1_DONE : r;
}
