/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zip: a client's end of permessage-deflate (RFC 7692). It accepts only messages that keep the agreement to the letter:
 * no reference beyond the window, none to an earlier message without context takeover, an end where a block ends. Its
 * own messages keep it too. It has no line in common with src/proto; zlib does the DEFLATE.
 */
#ifndef WSC_TESTS_FUZZ_CONNECTION_ZIP_H
#define WSC_TESTS_FUZZ_CONNECTION_ZIP_H

#include "base/buf.h"

/* All zero: nothing was agreed on. */
struct zip {
	bool on, server_takeover, client_takeover;
	bool server_bits_told, client_bits_told;
	unsigned server_bits, client_bits;
	void *in, *out; /* z_stream, once they are used */
	size_t said;    /* bytes of text that a later message of ours may refer to */
};

/* The server's answer, the value of Sec-WebSocket-Extensions. Aborts when it is not one. */
void zip_agree(struct zip *d, struct bytes answer);
/* The text of a message of the server. Aborts when it is not deflated as it must be. */
void zip_read(struct zip *d, struct bytes wire, struct buf *text);

enum zip_style {
	ZIP_LEVEL = 3,  /* 6, 1, 9, stored */
	ZIP_FINAL = 4,  /* the last block says that it is the last, §7.2.3.4 */
	ZIP_BLOCKS = 8, /* more blocks than are needed */
	ZIP_FLUSH = 16  /* and the history before the last of them is forgotten */
};
/* A message of the client's, as it is agreed on. @style: how, beyond that. */
void zip_write(struct zip *d, struct bytes text, unsigned style, struct buf *wire);
void zip_deinit(struct zip *d);

#endif
