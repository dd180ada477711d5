/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws: the server's side of RFC 6455: handshake check, frame decoder, frame encoder.
 * The decoder owns no memory: it unmasks in place, hands out views, and leaves what it cannot use yet to the caller.
 * After a failure it stays failed, and nothing of the frame that failed is handed out any more.
 * It knows no socket, no clock and no JSON; answering pings and closes is for the connection to do.
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
#define WS_CARRY_MAX 130u   /* what ws_decode() may leave in its input with WS_NEED_MORE */

/* Decoder --------------------------------------------------------------------------------------------------------- */

/* The same for many connections. Nothing here means "unlimited". */
struct ws_limits {
	uint64_t max_message; /* payload bytes of a message, as on the wire: over it 1009, judged at the frame header */
	uint32_t max_fragments; /* frames of one message: over it 1008 */
};

/* Input that may be written to: payload is unmasked where it lies. */
struct mut_bytes {
	uint8_t *at;
	size_t len;
};

/* All zero is a fresh decoder without extensions. */
struct ws_decoder {
	uint64_t left;        /* payload bytes of the data frame still to come */
	uint64_t message_len; /* payload bytes of the message, up to the end of the present frame */
	const char *why;      /* set once failed: static text */
	uint32_t frames;      /* of the message so far */
	uint32_t utf8;        /* utf8_state of a text message */
	uint8_t key[4];       /* turned so that key[0] is for the next byte */
	uint16_t code;        /* set once failed */
	uint8_t opcode;       /* of the message under way; 0: none */
	uint8_t bits;         /* private */
};
_Static_assert(sizeof(struct ws_decoder) <= 48, "one lies in the slab object of every connection");

enum ws_event {
	WS_NEED_MORE, /* @in is empty, or holds at most WS_CARRY_MAX bytes, to be given again before the next ones */
	WS_PIECE,     /* bytes of a message that is not at its end: append them to what is kept of it */
	WS_MESSAGE,   /* the last bytes of a message, perhaps none; out->whole: they are all of it */
	WS_PING,      /* payload at most 125 bytes, to be sent back in a pong */
	WS_PONG,
	WS_CLOSE, /* out->code and the reason; the rest of the input, now and for ever, is thrown away (§5.5.1) */
	WS_ERROR, /* out->code and out->why: send a close frame, drop what is kept of the message, read no more */
};

struct ws_out {
	struct bytes payload; /* view into the input, unmasked; for WS_CLOSE the reason (valid UTF-8) */
	uint8_t opcode;       /* PIECE, MESSAGE: WS_OP_TEXT or WS_OP_BINARY, of the message */
	bool first;           /* PIECE, MESSAGE: nothing of this message was handed out before */
	bool whole;           /* MESSAGE: payload is the whole message, no piece went before */
	bool compressed;      /* PIECE, MESSAGE: rsv1 was set: inflate, then check UTF-8, which was not done here */
	uint16_t code;        /* CLOSE: from the peer, WS_CODE_NONE if it gave none; ERROR: what to close with */
	const char *why;      /* ERROR: static text, valid UTF-8, at most WS_REASON_MAX bytes */
};

/* @deflate: permessage-deflate is agreed, so rsv1 may be set on the first frame of a message (RFC 7692 §6). */
void ws_decoder_init(struct ws_decoder *d, bool deflate);

/*
 * Takes the next event off the front of @in; call again until WS_NEED_MORE or WS_ERROR. Every call that is not
 * WS_NEED_MORE or WS_ERROR eats at least one byte. Headers and control frames are eaten whole, data payload in any
 * pieces. Frames may come in any cut, one byte at a time included: the messages are the same.
 *
 * A data message in one frame that lies in @in whole is one WS_MESSAGE with out->whole set: no copy.
 * UTF-8 of text fails at the first wrong byte (§8.1): 1007. Nothing is sized by what the peer announces.
 * Views in @out point into the memory of @in, and live as long as it does.
 */
enum ws_event ws_decode(struct ws_decoder *d, const struct ws_limits *lim, struct mut_bytes *in, struct ws_out *out);

/* True between messages: no data frame or fragmented message is under way. */
bool ws_decoder_idle(const struct ws_decoder *d);

/* XORs @n bytes with @key, which is turned by n; any address, any length (§5.3). Both sides use the same. */
void ws_mask(uint8_t *at, size_t n, uint8_t key[4]);

/* Encoder: unmasked frames of a server ---------------------------------------------------------------------------- */

#define WS_HEADER_MAX 10u
#define WS_CONTROL_FRAME_MAX 127u
#define WS_RSV1 0x40u /* flag: the payload is deflated */

/* 2, 4 or 10: bytes of the header of a frame with @len bytes of payload. */
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
	WS_UPGRADE_NONE, /* no WebSocket upgrade is asked for: 426 with "Upgrade: websocket" on a WebSocket path */
	WS_UPGRADE_BAD_METHOD,  /* 405, Allow: GET */
	WS_UPGRADE_BAD_VERSION, /* 426 with "Sec-WebSocket-Version: 13" */
	WS_UPGRADE_BAD_KEY,     /* 400 */
	WS_UPGRADE_BAD_REQUEST, /* 400: the request has a body */
};

struct ws_handshake {
	char accept[WS_ACCEPT_LEN]; /* for Sec-WebSocket-Accept, no NUL */
	bool wsc_v1;                /* WS_SUBPROTOCOL is among the subprotocols offered; set in every outcome */
};

/*
 * Is @h a WebSocket handshake (§4.2.1)? Subprotocols and extensions that nobody here knows are ignored; all their
 * lists are read in linear time. Origin, path and identity are the caller's to judge.
 */
enum ws_upgrade ws_check_upgrade(const struct http1_head *h, struct ws_handshake *out);
/* A sentence for the failure body of @u. */
const char *ws_upgrade_why(enum ws_upgrade u);

/* Base64 of SHA-1 of @key and the GUID (§4.2.2 step 5.4); @key is at most 64 bytes. */
void ws_accept_key(struct bytes key, char out[WS_ACCEPT_LEN]);

#endif
