/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_deflate: permessage-deflate (RFC 7692), the server's side: which offer is taken and what is answered, a message
 * deflated, a message inflated. Pure: bytes in, bytes out; it knows no frame, no socket and no connection.
 * zlib does the DEFLATE; all its memory comes through base/mem.h, at the first use of a stream and once.
 *
 * What always holds: nothing is inflated beyond the limit that the caller gives, and no byte is allocated for what lies
 * beyond; a message that was inflated ended where a block ends, with nothing left over.
 */
#ifndef WSC_PROTO_WS_DEFLATE_H
#define WSC_PROTO_WS_DEFLATE_H

#include "base/buf.h"
#include "proto/http1.h"

/* Negotiation (§7.1) ---------------------------------------------------------------------------------------------- */

/* What was agreed on; all zero: nothing, no frame may be compressed. */
struct ws_deflate {
	bool on : 1;
	bool server_takeover : 1; /* what we send may refer to our earlier messages */
	bool client_takeover : 1; /* what the client sends may refer to its earlier messages */
	uint8_t server_bits : 4;  /* 8 to 15: how far back our messages may refer, as a power of two */
	uint8_t client_bits : 4;
};
_Static_assert(sizeof(struct ws_deflate) <= 2, "every connection holds one");

/* What we are willing to do. */
struct ws_deflate_policy {
	uint8_t window_bits; /* 9 to 15: no larger window than this, where the client leaves it to us */
	bool takeover;       /* may contexts be held between messages? */
};

#define WS_DEFLATE_ANSWER_MAX 144u

/*
 * Takes the first acceptable offer of permessage-deflate in the Sec-WebSocket-Extensions fields of @h, and writes the
 * value of our answer to @answer. Returns its length; 0: nothing was agreed on and *out is all zero.
 * An offer with a parameter that is unknown, there twice or without a valid value is declined (§7.1), other extensions are
 * passed over (RFC 6455 §9.1); what stands behind a mistake of grammar is no offer. Linear.
 */
size_t ws_deflate_choose(const struct http1_head *h, const struct ws_deflate_policy *policy, struct ws_deflate *out,
			 char answer[WS_DEFLATE_ANSWER_MAX]);

/* Bytes that the contexts of a connection hold that agreed on @d, when both are in use; 0 without takeover. */
size_t ws_deflate_context_bytes(const struct ws_deflate *d);

/* Streams --------------------------------------------------------------------------------------------------------- */

struct ws_deflater;
struct ws_inflater;

/* @bits: 8 to 15, @level: 1 to 9. NULL: out of memory. */
struct ws_deflater *ws_deflater_new(unsigned bits, unsigned level);
void ws_deflater_free(struct ws_deflater *d);
/* Refers back as far as 2^@bits. NULL: out of memory. */
struct ws_inflater *ws_inflater_new(unsigned bits);
void ws_inflater_free(struct ws_inflater *i);

#define WS_DEFLATE_ROOM 16u
#define WS_DEFLATE_PLAIN 1 /* it would not become shorter */

/*
 * Deflates one message (§7.2.1) of at least one byte into @out, which has room for in.len + WS_DEFLATE_ROOM bytes: the
 * payload of a frame with rsv1, without the four bytes at its end. @takeover: the next message may refer to this one.
 * 0 and *len, which is less than in.len; or WS_DEFLATE_PLAIN: send it as it is, the stream has forgotten all messages.
 */
int ws_deflate(struct ws_deflater *d, struct bytes in, bool takeover, uint8_t *out, size_t *len);

#define WS_INFLATE_TOO_BIG 1 /* longer than @max: 1009 */
#define WS_INFLATE_BAD 2     /* not DEFLATE, cut off, or with something left over: 1007 */

/*
 * Inflates one whole message (§7.2.2) behind what is in @out, which gets no longer than @max. Final blocks may be anywhere
 * in it (§7.2.3.4). @takeover: the next message may refer to this one.
 * 0, WS_INFLATE_TOO_BIG, WS_INFLATE_BAD or -WSC_ENOMEM; but for 0 the stream is to be freed, or used without takeover.
 */
int ws_inflate(struct ws_inflater *i, struct bytes in, bool takeover, uint64_t max, struct buf *out);

#endif
