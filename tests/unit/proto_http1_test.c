/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests and answers: what RFC 9112 allows, every limit on both sides, and the shapes with which requests are
 * smuggled. Each input is read whole, in random cuts and byte by byte, and must give the same each time.
 */
#include "proto/http1.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"
#include "proto/http1_response.h"
#include "test.h"

static const struct http1_limits limits = { HTTP1_HEAD_MAX, HTTP1_TARGET_MAX, HTTP1_FIELDS_MAX };

/* Reading in cuts -------------------------------------------------------------------------------------------------- */

/*
 * Gives the parser a beginning of @in that grows by 1 .. @step bytes (0: whole at once), each time in a new block of
 * exactly its size, as a buffer that moves at every growth. On HTTP1_DONE the head is parsed into @out as seen in @in.
 */
static enum http1_result feed_head(struct http1_parser *p, const struct http1_limits *lim, struct bytes in, size_t step,
				   struct http1_head *out)
{
	enum http1_result r = HTTP1_MORE;
	struct rng rng;

	rng_init_seed(&rng, step);
	http1_parser_init(p);
	for (size_t n = 0; n < in.len && r == HTTP1_MORE;) {
		uint8_t *block;

		n += step ? 1 + (size_t)rng_below(&rng, step) : in.len;
		n = n < in.len ? n : in.len;
		block = malloc(n);
		memcpy(block, in.at, n);
		r = http1_parse_head(p, lim, bytes_of(block, n), out);
		if (r == HTTP1_DONE)
			CHECK(out->path.at == NULL || bytes_eq(out->path, BYTES("/")) ||
			      (out->path.at > block && out->path.at < block + n));
		free(block);
	}
	return r;
}

/* Status of the answer that the head in @in deserves: 0 it is fine, 1 it is not complete. The same in every cut. */
static unsigned int head_status_with(const struct http1_limits *lim, struct bytes in)
{
	static const size_t steps[] = { 0, 1, 2, 5, 64, 3000 };
	static struct http1_head h;
	unsigned int first = 0;
	const char *why = NULL;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct http1_parser p;
		enum http1_result r = feed_head(&p, lim, in, steps[i], &h);
		unsigned int status = r == HTTP1_DONE ? 0 : r == HTTP1_MORE ? 1 : p.error.status;

		if (i == 0) {
			first = status;
			why = p.error.why;
		}
		CHECK_EQ(status, first);
		CHECK(p.error.why == why);
		CHECK((r == HTTP1_ERROR) == (p.error.why != NULL));
	}
	return first;
}

static unsigned int head_status(struct bytes in)
{
	return head_status_with(&limits, in);
}

/* A good head, read at once; views lie in @in. */
static struct http1_head *head(const char *in)
{
	static struct http1_head h;
	struct http1_parser p = { 0 };

	memset(&h, 0xaa, sizeof(h));
	CHECK_EQ(head_status(bytes_str(in)), 0);
	CHECK_EQ(http1_parse_head(&p, &limits, bytes_str(in), &h), HTTP1_DONE);
	return &h;
}

#define H "Host: localhost\r\n"

/* Heads that are fine ---------------------------------------------------------------------------------------------- */

TEST(a_request_is_split_into_its_parts)
{
	struct http1_head *h = head("POST /api/v1/send?user_id=a&x= HTTP/1.1\r\nHost: example.com:8080\r\n"
				    "X-User-ID:  us er1\t \r\nContent-Length: 5\r\nEmpty:\r\n\r\nhello");

	CHECK_EQ(h->method, HTTP1_POST);
	CHECK_BYTES(h->method_name, "POST");
	CHECK_BYTES(h->target, "/api/v1/send?user_id=a&x=");
	CHECK_BYTES(h->path, "/api/v1/send");
	CHECK_BYTES(h->query, "user_id=a&x=");
	CHECK_BYTES(h->host, "example.com:8080");
	CHECK_EQ(h->minor, 1);
	CHECK(h->keep_alive && h->has_length && !h->chunked && !h->expect_continue && !h->upgrade);
	CHECK_EQ(h->content_length, 5);
	CHECK_EQ(h->nfields, 4);
	CHECK_BYTES(h->fields[1].name, "X-User-ID");
	CHECK_BYTES(h->fields[1].value, "us er1");
	CHECK_BYTES(h->fields[3].value, "");
	CHECK_EQ(h->size, strlen("POST /api/v1/send?user_id=a&x= HTTP/1.1\r\nHost: example.com:8080\r\n"
				 "X-User-ID:  us er1\t \r\nContent-Length: 5\r\nEmpty:\r\n\r\n"));
}

TEST(the_same_head_in_parts_gives_the_same_views)
{
	static const char in[] = "GET /p?q HTTP/1.1\r\nA: 1\r\nHost: h\r\nB: 2\r\nConnection: close\r\n\r\nrest";
	static struct http1_head h;
	struct http1_parser p = { 0 };

	for (size_t n = 1; n < sizeof(in) - 5; n++)
		CHECK_EQ(http1_parse_head(&p, &limits, bytes_of(in, n), &h), HTTP1_MORE);
	CHECK_EQ(http1_parse_head(&p, &limits, bytes_of(in, sizeof(in) - 1), &h), HTTP1_DONE);
	CHECK_EQ(h.size, sizeof(in) - 5);
	CHECK_EQ(h.nfields, 4);
	CHECK_BYTES(h.path, "/p");
	CHECK_BYTES(h.query, "q");
	CHECK_BYTES(h.fields[0].name, "A");
	CHECK_BYTES(http1_header(&h, BYTES("b")), "2");
	CHECK(!h.keep_alive);
}

TEST(nothing_at_all_is_an_incomplete_head)
{
	static struct http1_head h;
	struct http1_parser p = { 0 };

	CHECK_EQ(http1_parse_head(&p, &limits, (struct bytes){ 0 }, &h), HTTP1_MORE);
	CHECK_EQ(http1_parse_head(&p, &limits, BYTES("GET"), &h), HTTP1_MORE);
	CHECK_EQ(http1_parse_head(&p, &limits, BYTES("GET"), &h), HTTP1_MORE);
}

TEST(methods_are_known_by_their_exact_name)
{
	static const struct {
		const char *name;
		enum http1_method method;
	} table[] = {
		{ "GET", HTTP1_GET },        { "HEAD", HTTP1_HEAD },      { "POST", HTTP1_POST },
		{ "PUT", HTTP1_PUT },        { "DELETE", HTTP1_DELETE },  { "OPTIONS", HTTP1_OPTIONS },
		{ "PATCH", HTTP1_PATCH },    { "TRACE", HTTP1_TRACE },    { "get", HTTP1_OTHER },
		{ "PROPFIND", HTTP1_OTHER }, { "M-SEARCH", HTTP1_OTHER }, { "!", HTTP1_OTHER },
	};
	char in[100];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		snprintf(in, sizeof(in), "%s / HTTP/1.1\r\n" H "\r\n", table[i].name);
		CHECK_EQ(head(in)->method, table[i].method);
	}
}

TEST(one_empty_line_before_the_request_is_tolerated)
{
	struct http1_head *h = head("\r\nGET / HTTP/1.1\r\n" H "\r\n");

	CHECK_BYTES(h->path, "/");
	CHECK_EQ(h->size, strlen("\r\nGET / HTTP/1.1\r\n" H "\r\n"));
	CHECK_EQ(head_status(BYTES("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n")), 400);
	CHECK_EQ(head_status(BYTES("\r\n")), 1);
}

/* Shows: threat 58 */
TEST(all_forms_of_the_target_are_read)
{
	struct http1_head *h;

	h = head("GET /? HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->path, "/");
	CHECK_BYTES(h->query, "");
	h = head("GET /a?b?c=/d HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->path, "/a");
	CHECK_BYTES(h->query, "b?c=/d");
	h = head("GET //evil.com/%2e%2e HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->path, "//evil.com/%2e%2e");
	h = head("GET http://example.com:81/x?y HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->host, "example.com:81");
	CHECK_BYTES(h->path, "/x");
	CHECK_BYTES(h->query, "y");
	h = head("GET HTTPS://[::1] HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->host, "[::1]");
	CHECK_BYTES(h->path, "/");
	h = head("GET http://a?q HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->path, "/");
	CHECK_BYTES(h->query, "q");
	h = head("OPTIONS * HTTP/1.1\r\n" H "\r\n");
	CHECK_BYTES(h->path, "*");
	CHECK_EQ(h->query.len, 0);
}

TEST(keep_alive_follows_version_and_connection)
{
	CHECK(head("GET / HTTP/1.1\r\n" H "\r\n")->keep_alive);
	CHECK(!head("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n")->keep_alive);
	CHECK(!head("GET / HTTP/1.1\r\n" H "Connection: keep-alive\r\nconnection: ,,CLOSE ,\r\n\r\n")->keep_alive);
	CHECK(head("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n")->keep_alive);
	CHECK(!head("GET / HTTP/1.0\r\n\r\n")->keep_alive);
	CHECK(head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->keep_alive);
	CHECK(!head("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n")->keep_alive);
}

TEST(upgrade_and_expect_count_only_on_http_1_1)
{
	CHECK(head("GET / HTTP/1.1\r\n" H "Connection: foo, Upgrade\r\n\r\n")->upgrade);
	CHECK(!head("GET / HTTP/1.0\r\nConnection: Upgrade\r\n\r\n")->upgrade);
	CHECK(head("GET / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n\r\n")->expect_continue);
	CHECK(!head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")->expect_continue);
	CHECK_EQ(head_status(BYTES("GET / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n")), 417);
	CHECK_EQ(head_status(BYTES("GET / HTTP/1.1\r\n" H "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n")),
		 417);
}

TEST(http_1_0_needs_no_host)
{
	CHECK_EQ(head("GET / HTTP/1.0\r\n\r\n")->host.len, 0);
	CHECK_BYTES(head("GET / HTTP/1.0\r\nHost: a\r\n\r\n")->host, "a");
}

TEST(the_framing_of_the_body_is_reported)
{
	struct http1_head *h = head("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n");

	CHECK(h->chunked && !h->has_length);
	h = head("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n");
	CHECK(!h->chunked && h->has_length);
	h = head("POST / HTTP/1.1\r\n" H "Content-Length:\t9999999999999999999 \r\n\r\n");
	CHECK(h->content_length == UINT64_C(9999999999999999999));
	h = head("POST / HTTP/1.1\r\n" H "Content-Length: 0000000000000000007\r\n\r\n");
	CHECK_EQ(h->content_length, 7);
}

TEST(repeated_fields_can_be_walked)
{
	struct http1_head *h = head("GET / HTTP/1.1\r\nX: 1\r\n" H "x: 2, b\r\nY: 3\r\nX:\r\n\r\n");
	const struct http1_field *f = NULL;
	unsigned int n = 0;

	while ((f = http1_find_next(h, BYTES("X"), f)) != NULL)
		n++;
	CHECK_EQ(n, 3);
	CHECK_BYTES(http1_header(h, BYTES("x")), "1");
	CHECK_EQ(http1_header(h, BYTES("Z")).len, 0);
	CHECK(http1_find(h, BYTES("Z")) == NULL);
	CHECK(http1_has_token(h, BYTES("X"), BYTES("B")));
	CHECK(!http1_has_token(h, BYTES("X"), BYTES("3")));
	CHECK(!http1_has_token(h, BYTES("Z"), BYTES("1")));
}

TEST(values_may_hold_tabs_and_bytes_from_0x80)
{
	struct http1_head *h = head("GET / HTTP/1.1\r\n" H "X-User-ID: J\xc3\xbcrgen\tx\r\n\r\n");

	CHECK_BYTES(h->fields[1].value, "J\xc3\xbcrgen\tx");
}

TEST(pipelined_requests_begin_where_the_last_one_ended)
{
	static const char in[] = "GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n";
	static struct http1_head h;
	struct http1_parser p = { 0 };
	struct bytes rest;

	CHECK_EQ(http1_parse_head(&p, &limits, bytes_of(in, sizeof(in) - 1), &h), HTTP1_DONE);
	CHECK_BYTES(h.path, "/1");
	rest = bytes_of(in + h.size, sizeof(in) - 1 - h.size);
	http1_parser_init(&p);
	CHECK_EQ(http1_parse_head(&p, &limits, rest, &h), HTTP1_DONE);
	CHECK_BYTES(h.path, "/2");
	CHECK_EQ(h.size, rest.len);
}

/* Faults ----------------------------------------------------------------------------------------------------------- */

struct shape {
	unsigned int status;
	struct bytes in;
};
#define VIEW(text)                                        \
	{                                                 \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}
#define SHAPE(status, text)        \
	{                          \
		status, VIEW(text) \
	}
#define G "GET / HTTP/1.1\r\n"
#define P "POST / HTTP/1.1\r\n" H

static void check_shapes(const struct shape *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!CHECK_EQ(head_status(s[i].in), s[i].status))
			printf("\tshape %zu: %.*s\n", i, (int)s[i].in.len, (const char *)s[i].in.at);
}
#define CHECK_SHAPES(table) check_shapes(table, sizeof(table) / sizeof((table)[0]))

/* Shows: threat 43 */
TEST(request_lines_that_are_wrong_are_refused)
{
	static const struct shape shapes[] = {
		SHAPE(400, "GET /\r\n\r\n"), /* HTTP/0.9 */
		SHAPE(400, "GET\r\n\r\n"),
		SHAPE(400, "GET / \r\n" H "\r\n"),
		SHAPE(400, " GET / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "\tGET / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET  / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET /  HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/1.1 \r\n" H "\r\n"),
		SHAPE(400, "GET\t/\tHTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET /a b HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET / http/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/1\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/1.10\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/11\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/1,1\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/x.1\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/1.x\r\n" H "\r\n"),
		SHAPE(400, "GET / HTTQ/1.1\r\n" H "\r\n"),
		SHAPE(505, "GET / HTTP/1.2\r\n" H "\r\n"),
		SHAPE(505, "GET / HTTP/2.0\r\n" H "\r\n"),
		SHAPE(505, "GET / HTTP/0.9\r\n" H "\r\n"),
		SHAPE(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		SHAPE(501, "CONNECT example.com:443 HTTP/1.1\r\n" H "\r\n"),
		SHAPE(501, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(0, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "G@T / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "G\xc3\xa9T / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET: / HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET \xc3\xa9 HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET /a#b HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET /a\tb HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET * HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET a HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET ?a HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET example.com:80 HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET ftp://a/ HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET http:/a HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET http:// HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET http:///x HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET http://u@a/ HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "GET http://a:b/ HTTP/1.1\r\n" H "\r\n"),
		SHAPE(400, "\x16\x03\x01\x02"),     /* TLS on a plain port, at once */
		SHAPE(400, "*1\r\n$4\r\nPING\r\n"), /* Redis */
	};

	CHECK_SHAPES(shapes);
}

/* Shows: threat 42, threat 43, threat 45, threat 46, threat 47, threat 48, threat 54 */
TEST(smuggling_shapes_are_refused)
{
	static const struct shape shapes[] = {
		/* two ways to see the length */
		SHAPE(400, P "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5, 5\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5,\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
		SHAPE(400, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
		SHAPE(400, "POST / HTTP/1.0\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
		/* lengths that are no numbers */
		SHAPE(400, P "Content-Length:\r\n\r\n"),
		SHAPE(400, P "Content-Length: +5\r\n\r\n"),
		SHAPE(400, P "Content-Length: -5\r\n\r\n"),
		SHAPE(400, P "Content-Length: -0\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5 5\r\n\r\n"),
		SHAPE(400, P "Content-Length: 0x5\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5;\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5.0\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5e1\r\n\r\n"),
		SHAPE(400, P "Content-Length: 1_000\r\n\r\n"),
		SHAPE(400, P "Content-Length: \"5\"\r\n\r\n"),
		SHAPE(400, P "Content-Length: five\r\n\r\n"),
		SHAPE(400, P "Content-Length: \xd9\xa5\r\n\r\n"), /* an Arabic five */
		SHAPE(400, P "Content-Length: 5\x0b\r\n\r\n"),
		SHAPE(400, P "Content-Length: \x0c"
			     "5\r\n\r\n"),
		SHAPE(400, P "Content-Length: 5\0\r\n\r\n"),
		SHAPE(400, P "Content-Length: 18446744073709551615\r\n\r\n"),
		SHAPE(400, P "Content-Length: 18446744073709551616\r\n\r\n"),
		SHAPE(400, P "Content-Length: 18446744073709551621\r\n\r\n"), /* 5, once wrapped */
		SHAPE(400, P "Content-Length: 10000000000000000000\r\n\r\n"),
		SHAPE(400, P "Content-Length: 00000000000000000005\r\n\r\n"),
		/* encodings that another reader may take for chunked */
		SHAPE(400, P "Transfer-Encoding:\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: \r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: xchunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunkedx\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunk\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked, chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: gzip, chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked, gzip\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: identity\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: identity, chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked,\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: ,chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked;q=1\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: \"chunked\"\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: 'chunked'\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chun\tked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: \x0b"
			     "chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\x01\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\0\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\xa0\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: \xef\xbb\xbf"
			     "chunked\r\n\r\n"),
		/* names that are nearly names */
		SHAPE(400, P "Content-Length : 5\r\n\r\n"),
		SHAPE(400, P "Content-Length\t: 5\r\n\r\n"),
		SHAPE(400, P " Content-Length: 5\r\n\r\n"),
		SHAPE(400, P "\tContent-Length: 5\r\n\r\n"),
		SHAPE(400, P "Content Length: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length\0: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length\x01: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length\x7f: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length\xa0: 5\r\n\r\n"),
		SHAPE(400, P "Content-Length\r\n: 5\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding : chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding\r\n : chunked\r\n\r\n"),
		SHAPE(400, P ": chunked\r\n\r\n"),
		SHAPE(400, P "\"X\": 1\r\n\r\n"),
		SHAPE(400, P "X(1): 1\r\n\r\n"),
		SHAPE(400, P "X\xc3\xa9: 1\r\n\r\n"),
		SHAPE(400, P "no colon here\r\n\r\n"),
		SHAPE(400, P "X\r\n\r\n"),
		/* line ends that are none, and lines that go on */
		SHAPE(400, "GET / HTTP/1.1\n" H "\r\n"),
		SHAPE(400, "GET / HTTP/1.1\nHost: a\n\n"),
		SHAPE(400, G "Host: a\n\r\n"),
		SHAPE(400, G H "\n"),
		SHAPE(400, G H "\r\r\n"),
		SHAPE(400, "GET / HTTP/1.1\r" H "\r\n"),
		SHAPE(400, G "Host: a\rX: y\r\n\r\n"),
		SHAPE(400, G "Host: a\r\r\n\r\n"),
		SHAPE(400, G H "\rX\r\n\r\n"),
		SHAPE(400, G H "X: y\r\n\rZ: 1\r\n\r\n"),
		SHAPE(400, G H "X: y\r\n z\r\n\r\n"),
		SHAPE(400, G H "X: y\r\n\tz\r\n\r\n"),
		SHAPE(400, G H "X: y\r\n \r\n\r\n"),
		SHAPE(400, G " X: y\r\n" H "\r\n"),
		SHAPE(400, P "Transfer-Encoding:\r\n chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding:\n chunked\r\n\r\n"),
		SHAPE(400, P "Transfer-Encoding: chunked\n\r\n"),
		SHAPE(400, P "X: a\nTransfer-Encoding: chunked\r\n\r\n"),
		SHAPE(400, P "X: a\rTransfer-Encoding: chunked\r\n\r\n"),
		SHAPE(400, P "X: a\0b\r\n\r\n"),
		SHAPE(400, P "X: a\x1b[31m\r\n\r\n"),
		SHAPE(400, P "X: a\x7f\r\n\r\n"),
		/* Host */
		SHAPE(400, G "\r\n"),
		SHAPE(400, G "X: y\r\n\r\n"),
		SHAPE(400, G "Host: a\r\nHost: a\r\n\r\n"),
		SHAPE(400, G "Host: a\r\nHost: b\r\n\r\n"),
		SHAPE(400, "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"),
		SHAPE(400, "GET http://a/ HTTP/1.1\r\n\r\n"),
		SHAPE(400, "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
		SHAPE(400, G "Host:\r\n\r\n"),
		SHAPE(400, G "Host: a b\r\n\r\n"),
		SHAPE(400, G "Host: a,b\r\n\r\n"),
		SHAPE(400, G "Host: a/b\r\n\r\n"),
		SHAPE(400, G "Host: http://a\r\n\r\n"),
		SHAPE(400, G "Host: u@a\r\n\r\n"),
	};

	CHECK(sizeof(shapes) / sizeof(shapes[0]) >= 60);
	CHECK_SHAPES(shapes);
}

/* Shows: threat 110 */
TEST(host_values_are_checked)
{
	static const char *const good[] = {
		"a",
		"localhost",
		"example.com",
		"EXAMPLE.com.",
		"a_b-c~d",
		"127.0.0.1",
		"127.0.0.1:8080",
		"a:0",
		"a:65535",
		"a:",
		"[::1]",
		"[::1]:8080",
		"[2001:db8::1:A]",
		"[::ffff:1.2.3.4]:1",
	};
	static const char *const bad[] = {
		"",    ":80",  "a:65536",  "a:99999", "a:123456", "a:-1",  "a:8 0",      "a:80:80", "[",
		"[]",  "[::1", "[::1]x",   "[::1]:x", "::1",      "[g::]", "[::1%eth0]", "a%41",    "a;b",
		"a'b", "(a)",  "\xc3\xa9", "a\\b",    "*",        "a?",    "[a.b].c",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!CHECK(http1_host_valid(bytes_str(good[i]))))
			printf("\t%s\n", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK(!http1_host_valid(bytes_str(bad[i]))))
			printf("\t%s\n", bad[i]);
}

/* Wherever a control byte is put, in place of a byte or before it, the head is refused and never waited for. */
/* Shows: threat 44, threat 47, threat 59 */
TEST(every_control_byte_in_every_position_is_refused)
{
	static const char good[] = "POST /a?b HTTP/1.1\r\nHost: local\r\nA: bc\r\nContent-Length: 5\r\n\r\n";
	const size_t n = sizeof(good) - 1;
	static struct http1_head h;

	for (size_t at = 0; at < n; at++)
		for (unsigned int c = 0; c < 0x80; c = c == 0x1f ? 0x7f : c + 1)
			for (unsigned int insert = 0; insert < 2; insert++) {
				char in[sizeof(good) + 1];
				struct http1_parser p = { 0 };
				enum http1_result r;

				memcpy(in, good, at);
				in[at] = (char)c;
				memcpy(in + at + 1, good + at + !insert, n - at - !insert);
				/* white space in a value; the very same bytes; or a byte that stands behind the head */
				if (c == '\t' || (!insert && in[at] == good[at]) || (at == n - 1 && c == '\n'))
					continue;
				r = http1_parse_head(&p, &limits, bytes_of(in, n + insert), &h);
				if (r != HTTP1_ERROR) {
					CHECK_EQ(r, HTTP1_ERROR);
					printf("\tbyte %u at %zu, %s\n", c, at, insert ? "inserted" : "replaced");
				}
			}
}

TEST(a_failed_parser_stays_failed)
{
	static struct http1_head h;
	struct http1_parser p = { 0 };

	CHECK_EQ(http1_parse_head(&p, &limits, BYTES("GET /\r\n"), &h), HTTP1_ERROR);
	CHECK_EQ(http1_parse_head(&p, &limits, BYTES("GET / HTTP/1.1\r\n" H "\r\n"), &h), HTTP1_ERROR);
	CHECK_EQ(p.error.status, 400);
}

/* Limits ----------------------------------------------------------------------------------------------------------- */

static void add_padding(struct buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_add_u8(b, 'a');
}

TEST(a_head_over_its_limit_is_431)
{
	for (size_t over = 0; over < 3; over++) {
		struct buf b = BUF_INIT;

		buf_add_str(&b, G H "X: ");
		add_padding(&b, HTTP1_HEAD_MAX - 1 + over - b.len - 4);
		buf_add_str(&b, "\r\n\r\n");
		CHECK_EQ(b.len, HTTP1_HEAD_MAX - 1 + over);
		CHECK_EQ(head_status(buf_bytes(&b)), over == 2 ? 431 : 0);
		buf_deinit(&b);
	}
}

TEST(a_head_without_end_is_refused_at_the_limit_not_later)
{
	struct buf b = BUF_INIT;

	buf_add_str(&b, G H "X: ");
	add_padding(&b, HTTP1_HEAD_MAX - b.len - 1);
	CHECK_EQ(head_status(buf_bytes(&b)), 1);
	buf_add_u8(&b, '\r');
	CHECK_EQ(head_status(buf_bytes(&b)), 431);
	buf_deinit(&b);
}

/* Shows: threat 58 */
TEST(a_target_over_its_limit_is_414)
{
	for (size_t over = 0; over < 2; over++) {
		struct buf b = BUF_INIT;

		buf_add_str(&b, "GET /");
		add_padding(&b, HTTP1_TARGET_MAX - 1 + over);
		buf_add_str(&b, " HTTP/1.1\r\n" H "\r\n");
		CHECK_EQ(head_status(buf_bytes(&b)), over ? 414 : 0);
		buf_deinit(&b);
	}
}

TEST(a_request_line_without_end_is_414_long_before_the_head_is_full)
{
	struct buf b = BUF_INIT;

	buf_add_str(&b, "GET /");
	add_padding(&b, HTTP1_TARGET_MAX);
	CHECK_EQ(head_status(buf_bytes(&b)), 1);
	add_padding(&b, 64);
	CHECK_EQ(head_status(buf_bytes(&b)), 414);
	buf_deinit(&b);
}

TEST(a_small_head_limit_wins_over_the_target_s)
{
	const struct http1_limits small = { 100, 8192, 4 };
	struct buf b = BUF_INIT;

	buf_add_str(&b, "GET /");
	add_padding(&b, 100);
	CHECK_EQ(head_status_with(&small, buf_bytes(&b)), 431);
	buf_deinit(&b);
	CHECK_EQ(head_status_with(&small, BYTES(G H "A:\r\nB:\r\nC:\r\n\r\n")), 0);
	CHECK_EQ(head_status_with(&small, BYTES(G H "A:\r\nB:\r\nC:\r\nD:\r\n\r\n")), 431);
}

/* Shows: threat 18 */
TEST(more_than_64_fields_are_431)
{
	static const size_t counts[] = { 1, 63, 64, 65, 640 };
	const struct http1_limits generous = { HTTP1_HEAD_MAX, HTTP1_TARGET_MAX, 1000 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct buf b = BUF_INIT;

		buf_add_str(&b, G H "Upgrade: websocket\r\n");
		for (size_t n = 2; n < counts[i]; n++)
			buf_addf(&b, "X-%zu: v\r\n", n);
		buf_add_str(&b, "\r\n");
		CHECK_EQ(head_status(buf_bytes(&b)), counts[i] > 64 ? 431 : 0);
		CHECK_EQ(head_status_with(&generous, buf_bytes(&b)), counts[i] > 64 ? 431 : 0);
		buf_deinit(&b);
	}
}

/* Shows: threat 53 */
TEST(names_and_values_of_odd_sizes_are_read)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 255, 256, 257, 8000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf b = BUF_INIT;

		buf_add_str(&b, G H);
		add_padding(&b, sizes[i] + 1);
		buf_add_str(&b, ":");
		add_padding(&b, sizes[i]);
		buf_add_str(&b, "\r\n\r\n");
		CHECK_EQ(head_status(buf_bytes(&b)), 0);
		buf_deinit(&b);
	}
}

/* Bodies ----------------------------------------------------------------------------------------------------------- */

#define BODY_MAX_LEN 1000u

/* Reads the body of @h from @in in cuts of at most @step; writes its bytes to @out and the unread input to @rest. */
static enum http1_result feed_body(struct http1_body *b, const struct http1_head *h, struct bytes in, size_t step,
				   struct buf *out, size_t *rest)
{
	enum http1_result r = http1_body_init(b, h, BODY_MAX_LEN);
	struct bytes piece;
	struct rng rng;

	rng_init_seed(&rng, step);
	while (r != HTTP1_ERROR) {
		size_t n = step ? 1 + (size_t)rng_below(&rng, step) : in.len;
		struct bytes part = bytes_of(in.at, n < in.len ? n : in.len);

		n = part.len;
		while ((r = http1_body_next(b, &part, &piece)) == HTTP1_CHUNK) {
			CHECK(piece.len > 0);
			buf_add(out, piece);
		}
		bytes_skip(&in, n - part.len);
		if (r == HTTP1_DONE || in.len == 0)
			break;
		CHECK(r == HTTP1_ERROR || part.len == 0);
	}
	*rest = in.len;
	return r;
}

/* 0 done, 1 incomplete, else a status. The body and the unread input must be the same in every cut. */
static unsigned int body_status(const struct http1_head *h, struct bytes in, struct buf *body, size_t *rest)
{
	static const size_t steps[] = { 0, 1, 2, 3, 10, 100 };
	unsigned int first = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct buf got = BUF_INIT;
		struct http1_body b;
		size_t left;
		enum http1_result r = feed_body(&b, h, in, steps[i], &got, &left);
		unsigned int status = r == HTTP1_DONE ? 0 : r == HTTP1_MORE ? 1 : b.error.status;

		CHECK(got.len <= BODY_MAX_LEN);
		if (i == 0) {
			first = status;
			*rest = left;
			buf_clear(body);
			buf_add(body, buf_bytes(&got));
		}
		CHECK_EQ(status, first);
		CHECK(status > 1 || left == *rest);
		CHECK(status > 1 || bytes_eq(buf_bytes(&got), buf_bytes(body)));
		buf_deinit(&got);
	}
	return first;
}

static unsigned int chunked_status(struct bytes in, struct buf *body, size_t *rest)
{
	static const struct http1_head h = { .chunked = true };

	return body_status(&h, in, body, rest);
}

TEST(a_body_with_a_length_ends_there)
{
	struct http1_head h = { .has_length = true, .content_length = 5 };
	struct buf body = BUF_INIT;
	size_t rest;

	CHECK_EQ(body_status(&h, BYTES("helloGET /"), &body, &rest), 0);
	CHECK_BYTES(buf_bytes(&body), "hello");
	CHECK_EQ(rest, 5);
	CHECK_EQ(body_status(&h, BYTES("hell"), &body, &rest), 1);
	h.content_length = 0;
	CHECK_EQ(body_status(&h, BYTES("GET /"), &body, &rest), 0);
	CHECK_EQ(rest, 5);
	h.has_length = false;
	CHECK_EQ(body_status(&h, BYTES("GET /"), &body, &rest), 0);
	CHECK_EQ(rest, 5);
	buf_deinit(&body);
}

/* Shows: threat 48 */
TEST(a_length_over_the_limit_is_413_before_any_byte)
{
	struct http1_head h = { .has_length = true, .content_length = BODY_MAX_LEN };
	struct http1_body b;

	CHECK_EQ(http1_body_init(&b, &h, BODY_MAX_LEN), HTTP1_MORE);
	h.content_length++;
	CHECK_EQ(http1_body_init(&b, &h, BODY_MAX_LEN), HTTP1_ERROR);
	CHECK_EQ(b.error.status, 413);
	h.content_length = UINT64_MAX;
	CHECK_EQ(http1_body_init(&b, &h, BODY_MAX_LEN), HTTP1_ERROR);
}

TEST(chunks_are_put_together)
{
	static const struct {
		struct bytes in;
		const char *body;
		size_t rest;
	} table[] = {
		{ VIEW("5\r\nhello\r\n0\r\n\r\n"), "hello", 0 },
		{ VIEW("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET"), "hello world", 3 },
		{ VIEW("0\r\n\r\n\r\n"), "", 2 },
		{ VIEW("0000000000000001\r\na\r\n0000\r\n\r\n"), "a", 0 },
		{ VIEW("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789", 0 },
		{ VIEW("4\r\n\r\n\r\n\r\n0\r\n\r\n"), "\r\n\r\n", 0 },
		{ VIEW("1\r\nx\r\n0\r\nA: b\r\nAuthorization:\t\x80z\r\nX:\r\n\r\n!"), "x", 1 },
	};
	struct buf body = BUF_INIT;
	size_t rest;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		CHECK_EQ(chunked_status(table[i].in, &body, &rest), 0);
		CHECK(bytes_eq(buf_bytes(&body), bytes_str(table[i].body)));
		CHECK_EQ(rest, table[i].rest);
	}
	buf_deinit(&body);
}

/* Shows: threat 46, threat 50, threat 55 */
TEST(chunked_shapes_that_are_wrong_are_refused)
{
	static const struct shape shapes[] = {
		SHAPE(400, "\r\n"),
		SHAPE(400, "\n"),
		SHAPE(400, "5\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5\rhello\r\n0\r\n\r\n"),
		SHAPE(400, "5\r\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5 \r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, " 5\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5\t\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5;\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5;a=b\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5;\n\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "0;ext\r\n\r\n"),
		SHAPE(400, "0x5\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "+5\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "-5\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "5h\r\nhello\r\n0\r\n\r\n"),
		SHAPE(400, "g\r\n"),
		SHAPE(400, "5\0\r\nhello"),
		SHAPE(400, "5\r\nhello0\r\n\r\n"),
		SHAPE(400, "5\r\nhello\n0\r\n\r\n"),
		SHAPE(400, "5\r\nhello\r0\r\n\r\n"),
		SHAPE(400, "5\r\nhelloXX0\r\n\r\n"),
		SHAPE(400, "5\r\nhello!\r\n0\r\n\r\n"),
		SHAPE(400, "5\r\nhell\r\n0\r\n\r\n"),
		SHAPE(400, "0\r\nXX\r\n"),
		SHAPE(400, "0\r\n\n"),
		SHAPE(400, "0\r\n\rX"),
		SHAPE(400, "0\n\r\n"),
		SHAPE(400, "00000000000000001\r\na"), /* 17 digits */
		SHAPE(400, "0000000000000000000000\r\n"),
		SHAPE(413, "ffffffffffffffff\r\na"),
		SHAPE(413, "7fffffffffffffff\r\na"),
		SHAPE(413, "8000000000000000\r\na"),
		SHAPE(413, "FFFFFFFF\r\na"),
		SHAPE(413, "3e9\r\na"),
		SHAPE(1, "3e8\r\na"),
		SHAPE(413, "1\r\na\r\n3e8\r\nb"),
		SHAPE(400, "ffffffffffffffff0\r\n"),
		SHAPE(400, "0\r\n A: b\r\n\r\n"),
		SHAPE(400, "0\r\n: b\r\n\r\n"),
		SHAPE(400, "0\r\nA : b\r\n\r\n"),
		SHAPE(400, "0\r\nA\r\n\r\n"),
		SHAPE(400, "0\r\nA: b\n\r\n"),
		SHAPE(400, "0\r\nA: b\rC\r\n\r\n"),
		SHAPE(400, "0\r\nA: b\r\n c\r\n\r\n"),
		SHAPE(400, "0\r\nA: \0\r\n\r\n"),
		SHAPE(400, "0\r\nA: b\r\n\rX"),
		SHAPE(1, ""),
		SHAPE(1, "5"),
		SHAPE(1, "5\r\nhello\r\n"),
		SHAPE(1, "0\r\n\r"),
		SHAPE(1, "0\r\nA: b\r\n"),
	};
	struct buf body = BUF_INIT;
	size_t rest;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (!CHECK_EQ(chunked_status(shapes[i].in, &body, &rest), shapes[i].status))
			printf("\tshape %zu\n", i);
	buf_deinit(&body);
}

/* No delimiter may be any other byte. */
/* Shows: threat 49 */
TEST(every_delimiter_of_a_chunked_body_is_verified)
{
	static const char good[] = "5\r\nhello\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n";
	static const struct http1_head h = { .chunked = true };

	for (size_t at = 0; at < sizeof(good) - 1; at++)
		for (unsigned int c = 0; c < 256; c++) {
			char in[sizeof(good)];
			struct http1_body b;
			struct buf body = BUF_INIT;
			size_t rest;

			if ((good[at] != '\r' && good[at] != '\n') || (char)c == good[at])
				continue;
			memcpy(in, good, sizeof(in));
			in[at] = (char)c;
			/* inside "b\r\n" a value simply goes on, and the CR LF after it ends the line, not the body */
			if (feed_body(&b, &h, bytes_of(in, sizeof(good) - 1), 0, &body, &rest) != HTTP1_ERROR)
				CHECK(in[at + 1] == '\n' && good[at - 1] == 'b' ? c >= 0x20 || c == '\t' : false);
			buf_deinit(&body);
		}
}

/* Shows: threat 51, threat 52 */
TEST(trailers_are_bounded)
{
	struct buf in = BUF_INIT, body = BUF_INIT;
	size_t rest;

	for (size_t over = 0; over < 2; over++) {
		buf_clear(&in);
		buf_add_str(&in, "0\r\nX:");
		add_padding(&in, HTTP1_TRAILER_MAX - 6 + over);
		buf_add_str(&in, "\r\n\r\n");
		CHECK_EQ(chunked_status(buf_bytes(&in), &body, &rest), over ? 400 : 0);
	}
	buf_deinit(&in);
	buf_deinit(&body);
}

/* Shows: threat 51 */
TEST(one_byte_chunks_are_allowed_but_not_chunks_that_are_all_overhead)
{
	static const struct http1_head h = { .chunked = true };
	const size_t count = 100000;
	struct buf small = BUF_INIT, padded = BUF_INIT;
	struct http1_body b;
	struct bytes in, piece;
	enum http1_result r;

	for (size_t i = 0; i < count; i++) {
		buf_add_str(&small, "1\r\nx\r\n");
		buf_add_str(&padded, "0000000000000001\r\nx\r\n");
	}
	buf_add_str(&small, "0\r\n\r\n");
	for (unsigned int i = 0; i < 2; i++) {
		http1_body_init(&b, &h, UINT64_MAX);
		in = buf_bytes(i ? &padded : &small);
		while ((r = http1_body_next(&b, &in, &piece)) == HTTP1_CHUNK)
			;
		CHECK_EQ(r, i ? HTTP1_ERROR : HTTP1_DONE);
		CHECK_EQ(http1_body_next(&b, &in, &piece), r);
	}
	CHECK(b.taken < 2000);
	buf_deinit(&small);
	buf_deinit(&padded);
}

/* Answers ---------------------------------------------------------------------------------------------------------- */

TEST(an_answer_is_written_whole)
{
	struct buf out = BUF_INIT;
	const struct http1_out_field fields[] = { { "Allow", BYTES("GET, HEAD") }, { "X-Empty", { 0 } } };

	CHECK_EQ(http1_write_response(&out, &(struct http1_response){ .status = 405,
								      .content_type = "application/json",
								      .body = BYTES("{}"),
								      .keep_alive = true,
								      .fields = fields,
								      .nfields = 2 }),
		 0);
	CHECK_BYTES(buf_bytes(&out),
		    "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\n"
		    "Content-Length: 2\r\nConnection: keep-alive\r\nAllow: GET, HEAD\r\nX-Empty: \r\n\r\n{}");
	buf_clear(&out);
	CHECK_EQ(http1_write_response(
			 &out, &(struct http1_response){ .status = 200, .body = BYTES("hello"), .head_only = true }),
		 0);
	CHECK_BYTES(buf_bytes(&out), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
	buf_deinit(&out);
}

TEST(some_answers_never_have_a_body)
{
	static const uint16_t bare[] = { 101, 204, 304 };
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < 3; i++) {
		buf_clear(&out);
		http1_write_response(
			&out, &(struct http1_response){ .status = bare[i], .content_type = "x", .body = BYTES("b") });
		CHECK(!memmem(out.at, out.len, "Content-", 8));
		CHECK(bytes_eq(bytes_of(out.at + out.len - 4, 4), BYTES("\r\n\r\n")));
	}
	buf_deinit(&out);
}

TEST(a_bare_head_has_exactly_the_given_fields)
{
	struct buf out = BUF_INIT;
	const struct http1_out_field fields[] = { { "Upgrade", BYTES("websocket") } };

	CHECK_EQ(http1_write_head(&out, 101, fields, 1), 0);
	CHECK_EQ(http1_write_head(&out, 100, NULL, 0), 0);
	CHECK_BYTES(buf_bytes(&out),
		    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
	buf_deinit(&out);
}

/* Shows: threat 80 */
TEST(no_field_can_split_an_answer)
{
	static const struct {
		const char *name;
		struct bytes value;
	} bad[] = {
		{ "X", VIEW("a\r\nSet-Cookie: b") },
		{ "X", VIEW("a\n") },
		{ "X", VIEW("\r") },
		{ "X", VIEW("a\0b") },
		{ "", VIEW("a") },
		{ "X Y", VIEW("a") },
		{ "X\r\nY", VIEW("a") },
		{ "X:", VIEW("a") },
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct http1_out_field f[] = { { "Good", BYTES("yes") }, { bad[i].name, bad[i].value } };

		CHECK_EQ(http1_write_head(&out, 200, f, 2), HTTP1_BAD_FIELD);
		CHECK_EQ(http1_write_response(&out,
					      &(struct http1_response){ .status = 200, .fields = f, .nfields = 2 }),
			 HTTP1_BAD_FIELD);
	}
	CHECK_EQ(http1_write_response(&out, &(struct http1_response){ .status = 200, .content_type = "a\r\nb" }),
		 HTTP1_BAD_FIELD);
	CHECK_EQ(out.len, 0);
	buf_deinit(&out);
}

TEST(statuses_have_their_phrases)
{
	CHECK(strcmp(http1_reason(200), "OK") == 0);
	CHECK(strcmp(http1_reason(426), "Upgrade Required") == 0);
	CHECK(strcmp(http1_reason(431), "Request Header Fields Too Large") == 0);
	CHECK(strcmp(http1_reason(599), "Unknown") == 0);
}

/* Work ------------------------------------------------------------------------------------------------------------- */

/* A parser that begins anew at each byte would look at 130 million bytes here: such heads have stalled servers. */
/* Shows: threat 21 */
TEST(a_head_of_16_kib_in_single_bytes_is_linear_work)
{
	static struct http1_head h;
	struct http1_parser p = { 0 };
	struct buf b = BUF_INIT;
	uint64_t looked_at = 0;

	buf_add_str(&b, G H "X: ");
	add_padding(&b, HTTP1_HEAD_MAX - b.len - 4);
	buf_add_str(&b, "\r\n\r\n");
	for (size_t n = 1; n <= b.len; n++) {
		uint32_t before = p.scanned;
		enum http1_result r = http1_parse_head(&p, &limits, bytes_of(b.at, n), &h);

		CHECK(p.scanned >= before);
		looked_at += n - before;
		CHECK_EQ(r, n == b.len ? HTTP1_DONE : HTTP1_MORE);
	}
	CHECK(looked_at < 2 * HTTP1_HEAD_MAX);
	buf_deinit(&b);
}
