/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_deflate: permessage-deflate (RFC 7692), the server's side: chooses an offer and writes the answer, deflates a
 * message, inflates a message. Pure: bytes in, bytes out; it knows no frame, no socket and no connection.
 * zlib does the DEFLATE; it gets all its memory through base/mem.h, once, at the first use of a stream.
 *
 * Always true: nothing is inflated or allocated beyond the limit that the caller gives; a message that was inflated
 * ended at the end of a block, and no input was left over.
 */
#ifndef WSC_PROTO_WS_DEFLATE_H
#define WSC_PROTO_WS_DEFLATE_H

#include "base/buf.h"
#include "proto/http1.h"

/* Negotiation (§7.1) ---------------------------------------------------------------------------------------------- */

/* The agreed parameters; all zero: nothing was agreed and no frame may be compressed. */
struct ws_deflate {
	bool on : 1;
	bool server_takeover : 1; /* our messages may refer to our earlier messages */
	bool client_takeover : 1; /* the client's messages may refer to its earlier messages */
	uint8_t server_bits : 4;  /* 8 to 15: how far back our messages may refer, as a power of two */
	uint8_t client_bits : 4;
};
_Static_assert(sizeof(struct ws_deflate) <= 2, "every connection holds one");

/* The limits for what we agree to. */
struct ws_deflate_policy {
	uint8_t window_bits; /* 9 to 15: the largest window, where the client lets us choose */
	bool takeover;       /* may contexts be kept between messages? */
};

#define WS_DEFLATE_ANSWER_MAX 144u

/*
 * Takes the first acceptable offer of permessage-deflate in the Sec-WebSocket-Extensions fields of @h, and writes the
 * value of our answer to @answer. Returns its length; 0: nothing was agreed and *out is all zero.
 * An offer with a parameter that is unknown, repeated or without a valid value is declined (§7.1), other extensions are
 * skipped (RFC 6455 §9.1); after an error of the grammar the rest of the field is ignored. Linear.
 */
size_t ws_deflate_choose(const struct http1_head *h, const struct ws_deflate_policy *policy, struct ws_deflate *out,
			 char answer[WS_DEFLATE_ANSWER_MAX]);

/* The memory of both contexts of a connection that agreed on @d, when both are in use; 0 without takeover. */
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
#define WS_DEFLATE_PLAIN 1 /* the message would not become shorter */

/*
 * Deflates one message (§7.2.1) of at least one byte into @out, which has room for in.len + WS_DEFLATE_ROOM bytes: the
 * payload of a frame with rsv1, without the four bytes at its end. @takeover: the next message may refer to this one.
 * 0 and *len, which is less than in.len; or WS_DEFLATE_PLAIN: send the message as it is; the context of the stream was
 * reset.
 */
int ws_deflate(struct ws_deflater *d, struct bytes in, bool takeover, uint8_t *out, size_t *len);

#define WS_INFLATE_TOO_BIG 1 /* longer than @max: 1009 */
#define WS_INFLATE_BAD 2     /* not DEFLATE, cut off, or with something left over: 1007 */

/*
 * Inflates one whole message (§7.2.2) and appends it to @out, which gets no longer than @max. Final blocks may be
 * anywhere in the message (§7.2.3.4). @takeover: the next message may refer to this one.
 * 0, WS_INFLATE_TOO_BIG, WS_INFLATE_BAD or -WSC_ENOMEM; after an error free the stream, or use it without takeover.
 */
int ws_inflate(struct ws_inflater *i, struct bytes in, bool takeover, uint64_t max, struct buf *out);

#endif
