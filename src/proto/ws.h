/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws: the server's side of RFC 6455: handshake check, frame decoder, frame encoder.
 * The decoder owns no memory: it unmasks in place, returns views, and leaves bytes that it cannot use yet in the input.
 * After a failure it stays failed, and it returns nothing more of the frame that failed.
 * It knows no socket, no clock and no JSON; the connection answers pings and close frames.
 */
#ifndef WSC_PROTO_WS_H
#define WSC_PROTO_WS_H

#include "base/bytes.h"
#include "proto/http1.h"

enum ws_opcode { /* §5.2 */
		 WS_OP_CONT = 0x0,
		 WS_OP_TEXT = 0x1,
		 WS_OP_BINARY = 0x2,
		 WS_OP_CLOSE = 0x8,
		 WS_OP_PING = 0x9,
		 WS_OP_PONG = 0xa,
};

enum ws_code { /* close codes of the protocol itself, §7.4.1; applications have 3000 to 4999 */
	       WS_CODE_NORMAL = 1000,
	       WS_CODE_GOING_AWAY = 1001,
	       WS_CODE_PROTOCOL = 1002,
	       WS_CODE_UNSUPPORTED = 1003,
	       WS_CODE_NONE = 1005,     /* never on the wire: a close frame without a code */
	       WS_CODE_ABNORMAL = 1006, /* never on the wire: no close frame at all */
	       WS_CODE_BAD_DATA = 1007,
	       WS_CODE_POLICY = 1008,
	       WS_CODE_TOO_BIG = 1009,
	       WS_CODE_INTERNAL = 1011,
	       WS_CODE_RESTART = 1012,
	       WS_CODE_TRY_LATER = 1013,
};

#define WS_CONTROL_MAX 125u /* payload of a control frame, §5.5 */
#define WS_REASON_MAX 123u  /* close reason in bytes of UTF-8 */
#define WS_CARRY_MAX 130u   /* bytes that ws_decode() may leave in its input with WS_NEED_MORE */

/* Decoder --------------------------------------------------------------------------------------------------------- */

/* Shared by many connections. No value means "unlimited". */
struct ws_limits {
	uint64_t max_message;   /* payload bytes of a message on the wire: above is 1009, at the frame header */
	uint32_t max_fragments; /* frames of one message: above is 1008 */
};

/* Input that may be changed: the payload is unmasked in place. */
struct mut_bytes {
	uint8_t *at;
	size_t len;
};

/* All zero is a new decoder without extensions. */
struct ws_decoder {
	uint64_t left;        /* payload bytes of the data frame still to come */
	uint64_t message_len; /* payload bytes of the message, up to the end of the present frame */
	const char *why;      /* set after a failure: static text */
	uint32_t frames;      /* of the message so far */
	uint32_t utf8;        /* utf8_state of a text message */
	uint8_t key[4];       /* rotated so that key[0] is for the next byte */
	uint16_t code;        /* set after a failure */
	uint8_t opcode;       /* of the present message; 0: none */
	uint8_t bits;         /* private */
};
_Static_assert(sizeof(struct ws_decoder) <= 48, "every connection holds one");

enum ws_event {
	WS_NEED_MORE, /* @in is empty, or holds at most WS_CARRY_MAX bytes: give them again, followed by more */
	WS_FRAGMENT,  /* bytes of a message, but not the last ones: append them to the bytes kept so far */
	WS_MESSAGE,   /* the last bytes of a message, maybe none; out->whole: they are the whole message */
	WS_PING,      /* payload of at most 125 bytes: send it back in a pong */
	WS_PONG,
	WS_CLOSE, /* out->code and the reason; the rest of the input, now and later, is discarded (§5.5.1) */
	WS_ERROR, /* out->code and out->why: send a close frame, drop the bytes kept of the message, read no more */
};

struct ws_out {
	struct bytes payload; /* view into the input, unmasked; for WS_CLOSE the reason (valid UTF-8) */
	uint8_t opcode;       /* PIECE, MESSAGE: WS_OP_TEXT or WS_OP_BINARY, of the message */
	bool first;           /* PIECE, MESSAGE: these are the first bytes of the message */
	bool whole;           /* MESSAGE: payload is the whole message, there was no PIECE before */
	bool compressed;      /* PIECE, MESSAGE: rsv1 was set: inflate, then check UTF-8, which the decoder did not */
	uint16_t code;        /* CLOSE: from the peer, WS_CODE_NONE if it gave none; ERROR: the code to close with */
	const char *why;      /* ERROR: static text, valid UTF-8, at most WS_REASON_MAX bytes */
};

/* @deflate: permessage-deflate is agreed, so rsv1 may be set on the first frame of a message (RFC 7692 §6). */
void ws_decoder_init(struct ws_decoder *d, bool deflate);

/*
 * Takes the next event off the front of @in; call it again until WS_NEED_MORE or WS_ERROR. Every call that returns
 * another event consumes at least one byte. Headers and control frames are consumed whole, data payload in parts of any
 * size. The input may be cut anywhere, also after each byte: the messages are the same.
 *
 * A data message in one frame that is complete in @in is one WS_MESSAGE with out->whole set: no copy.
 * UTF-8 of text fails at the first invalid byte (§8.1): 1007. No memory is sized by what the peer announces.
 * Views in @out point into the memory of @in, and are valid as long as it is.
 */
enum ws_event ws_decode(struct ws_decoder *d, const struct ws_limits *lim, struct mut_bytes *in, struct ws_out *out);

/* True between messages: no data frame and no fragmented message has begun. */
bool ws_decoder_idle(const struct ws_decoder *d);

/* XORs @n bytes with @key and rotates @key by n; any address, any length (§5.3). Masking and unmasking are the same. */
void ws_mask(uint8_t *at, size_t n, uint8_t key[4]);

/* Encoder: unmasked frames of a server ---------------------------------------------------------------------------- */

#define WS_HEADER_MAX 10u
#define WS_CONTROL_FRAME_MAX 127u
#define WS_RSV1 0x40u /* flag: the payload is deflated */

/* The bytes of the header (2, 4 or 10) of a frame with @len bytes of payload. */
static inline size_t ws_header_len(uint64_t len)
{
	return len < 126 ? 2 : len < 65536 ? 4 : 10;
}

/* Writes the header of a final frame and returns its length; @len < 2^63; @flags 0 or WS_RSV1. */
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode op, uint64_t len, unsigned int flags);

/* Writes a whole ping or pong and returns its length; @payload is at most WS_CONTROL_MAX bytes. */
size_t ws_control(uint8_t out[WS_CONTROL_FRAME_MAX], enum ws_opcode op, struct bytes payload);

/*
 * Writes a whole close frame and returns its length. WS_CODE_NONE: no body. A reason that is longer than WS_REASON_MAX
 * is cut between characters, one that is not UTF-8 is left out.
 */
size_t ws_close(uint8_t out[WS_CONTROL_FRAME_MAX], uint16_t code, struct bytes reason);

/* True for a code that may be in a close frame: 1000-1003, 1007-1014, 3000-4999 (§7.4 and the IANA registry). */
bool ws_code_valid(uint16_t code);

/* Handshake ------------------------------------------------------------------------------------------------------- */

#define WS_SUBPROTOCOL "wsc.v1"
#define WS_ACCEPT_LEN 28u

enum ws_upgrade {
	WS_UPGRADE_OK,
	WS_UPGRADE_NONE, /* no WebSocket upgrade is requested: 426 with "Upgrade: websocket" on a WebSocket path */
	WS_UPGRADE_BAD_METHOD,  /* 405, Allow: GET */
	WS_UPGRADE_BAD_VERSION, /* 426 with "Sec-WebSocket-Version: 13" */
	WS_UPGRADE_BAD_KEY,     /* 400 */
	WS_UPGRADE_BAD_REQUEST, /* 400: the request has a body */
};

struct ws_handshake {
	char accept[WS_ACCEPT_LEN]; /* for Sec-WebSocket-Accept, no NUL */
	bool wsc_v1;                /* the client offers WS_SUBPROTOCOL; set for every result */
};

/*
 * Is @h a WebSocket handshake (§4.2.1)? Unknown subprotocols and extensions are ignored; their lists are read in linear
 * time. The caller checks origin, path and identity.
 */
enum ws_upgrade ws_check_upgrade(const struct http1_head *h, struct ws_handshake *out);
/* A sentence for the body of the answer that refuses @u. */
const char *ws_upgrade_why(enum ws_upgrade u);

/* Base64 of SHA-1 of @key and the GUID (§4.2.2 step 5.4); @key is at most 64 bytes. */
void ws_accept_key(struct bytes key, char out[WS_ACCEPT_LEN]);

#endif
