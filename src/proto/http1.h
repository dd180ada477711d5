/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1: HTTP/1.0 and 1.1 requests, as strict as RFC 9112 allows a server to be: a request that two parsers could
 * understand in two ways is an error, and the connection then ends. This module does not allocate, keeps no pointer
 * between calls and knows no socket, route or session. The caller decides which methods, paths and bodies it accepts.
 */
#ifndef WSC_PROTO_HTTP1_H
#define WSC_PROTO_HTTP1_H

#include "base/bytes.h"

#define HTTP1_HEAD_MAX 16384u   /* bytes of a head, request line and last CRLF included; more is 431 */
#define HTTP1_TARGET_MAX 8192u  /* bytes of a request-target; more is 414 */
#define HTTP1_FIELDS_MAX 64u    /* header fields of a head; more is 431 */
#define HTTP1_METHOD_MAX 32u    /* bytes of a method name; more is 501 */
#define HTTP1_TRAILER_MAX 4096u /* bytes of a trailer section; more is 400 */

struct http1_limits {
	uint32_t max_head;   /* bytes, e.g. HTTP1_HEAD_MAX */
	uint32_t max_target; /* bytes, e.g. HTTP1_TARGET_MAX */
	uint32_t max_fields; /* 1 .. HTTP1_FIELDS_MAX */
};
#define HTTP1_LIMITS ((struct http1_limits){ HTTP1_HEAD_MAX, HTTP1_TARGET_MAX, HTTP1_FIELDS_MAX })

/* A fault of the peer: the status to answer (then close), and a sentence for the body of the answer and the log. */
struct http1_error {
	uint16_t status;
	const char *why; /* static text */
};

enum http1_result {
	HTTP1_MORE,  /* nothing yet: call again with more bytes */
	HTTP1_CHUNK, /* body only: some bytes of the body were returned */
	HTTP1_DONE,
	HTTP1_ERROR, /* terminal: the parser stays failed */
};

enum http1_method {
	HTTP1_OTHER, /* a well-formed token that is none of the below: the router answers 501 or 405 */
	HTTP1_GET,
	HTTP1_HEAD,
	HTTP1_POST,
	HTTP1_PUT,
	HTTP1_DELETE,
	HTTP1_OPTIONS,
	HTTP1_PATCH,
	HTTP1_TRACE,
};

struct http1_field {
	struct bytes name;  /* as it was sent: compare it with bytes_eq_nocase() */
	struct bytes value; /* without white space at the ends; may hold HTAB and bytes from 0x80, no other control */
};

/*
 * A parsed head. Every view points into the bytes that http1_parse_head() was given, and is valid as long as they are.
 */
struct http1_head {
	size_t size; /* bytes of the head in the input: the body, or the next request, begins there */
	enum http1_method method;
	uint8_t minor;        /* of HTTP/1.x: 0 or 1 */
	bool keep_alive;      /* RFC 9112 §9.3 */
	bool expect_continue; /* the client waits for "100 Continue" (never on HTTP/1.0) */
	bool chunked;         /* the body is chunked; then has_length is false */
	bool has_length;
	bool upgrade;            /* Connection names "upgrade", on HTTP/1.1 */
	uint64_t content_length; /* 0 when !has_length; at most 10^19 - 1: compare it before you add to it */
	struct bytes method_name;
	struct bytes target; /* raw, as sent */
	struct bytes path;   /* raw: before '?', begins with '/' ("*" for OPTIONS *); percent-decode with query.h */
	struct bytes query;  /* raw: after '?', may be empty */
	struct bytes host;   /* of an absolute target, else of Host; valid; empty only on HTTP/1.0 without Host */
	size_t nfields;
	struct http1_field fields[HTTP1_FIELDS_MAX];
};

/* Progress through one head: offsets only, so the bytes may move between calls. All zero is a new parser. */
struct http1_parser {
	uint32_t scanned; /* bytes already scanned */
	uint32_t line;    /* the beginning of the line that @scanned is in */
	uint16_t nfields; /* complete field lines so far */
	uint8_t state;
	bool resumed; /* an earlier call has read complete lines */
	struct http1_error error;
};

static inline void http1_parser_init(struct http1_parser *p)
{
	*p = (struct http1_parser){ 0 };
}

/*
 * Parses a request head at the start of @in (RFC 9112 §2 to §6). @in is everything that was received since the head
 * began: a longer @in with the same beginning at each call, at any address. Each byte is read once, and once more when
 * the head is complete, however many calls that takes. One CRLF before the request line is allowed (§2.2).
 *
 * HTTP1_MORE   keep the bytes and call again with more; calling with the same @in is allowed
 * HTTP1_DONE   @out is filled; the first out->size bytes are the head. Re-initialise @p before the next request
 * HTTP1_ERROR  p->error gives the reason; do not use @out; answer and close
 */
enum http1_result http1_parse_head(struct http1_parser *p, const struct http1_limits *lim, struct bytes in,
				   struct http1_head *out);

/* The first field with @name (ASCII case ignored), or NULL. */
const struct http1_field *http1_find(const struct http1_head *h, struct bytes name);
/* The value of the first field with @name, or the empty view. */
struct bytes http1_header(const struct http1_head *h, struct bytes name);
/* Walks repeated fields: @prev is NULL at first, then the result of the last call; NULL at the end. */
const struct http1_field *http1_find_next(const struct http1_head *h, struct bytes name,
					  const struct http1_field *prev);
/* True when @token (ASCII case ignored) is an element of the comma-separated lists of all fields @name. Linear. */
bool http1_has_token(const struct http1_head *h, struct bytes name, struct bytes token);
/* True for a Host value: name or IPv4 of [A-Za-z0-9._~-], or [IPv6], and an optional port up to 65535. Not empty. */
bool http1_host_valid(struct bytes host);

/* True for a token (RFC 9110 §5.6.2), as a method or a field name must be; not empty. */
bool http1_token_valid(struct bytes b);

/* Body ------------------------------------------------------------------------------------------------------------ */

/* Progress through one body, by length or chunked (RFC 9112 §6.2, §7.1). */
struct http1_body {
	uint64_t left;     /* bytes of the body, or of the chunk, still to come */
	uint64_t room;     /* bytes of body that the next chunks may still announce */
	uint64_t taken;    /* bytes of body returned so far */
	uint64_t overhead; /* bytes on the wire that were not body */
	uint32_t trailer;  /* bytes of the trailer section so far */
	uint8_t state;
	uint8_t digits; /* of the chunk size so far */
	struct http1_error error;
};

/*
 * Begins the body that @h announces; without one, the first http1_body_next() is HTTP1_DONE.
 * Returns HTTP1_MORE, or HTTP1_ERROR with 413 when the announced length is over @max_body.
 */
enum http1_result http1_body_init(struct http1_body *b, const struct http1_head *h, uint64_t max_body);

/*
 * Consumes @in (its view moves on). Call it again as long as it returns HTTP1_CHUNK.
 *
 * HTTP1_CHUNK  @part is the next bytes of the body, a view into @in, never empty
 * HTTP1_MORE   all of @in is consumed
 * HTTP1_DONE   the body is complete; the rest of @in belongs to the next request
 * HTTP1_ERROR  b->error: 400 for a malformed chunk (extensions are refused too), 413 over max_body.
 *              The form and the size of trailers are checked, then they are discarded. Overhead over 16 KiB + 8 × body
 *              is 400.
 */
enum http1_result http1_body_next(struct http1_body *b, struct bytes *in, struct bytes *part);

#endif
