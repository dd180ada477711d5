/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec: the small encodings that protocols share. SHA-1 (RFC 3174) serves only the WebSocket handshake (RFC 6455
 * §4.2.2), never security.
 */
#ifndef WSC_BASE_CODEC_H
#define WSC_BASE_CODEC_H

#include "base/bytes.h"

void sha1(struct bytes in, uint8_t out[20]);
/* RFC 4648 §4, with padding; writes 4 * ceil(len / 3) bytes, no NUL; returns that count. */
size_t base64_encode(struct bytes in, char *out);
/*
 * Strict: padding required, no white space, unused bits zero. Writes at most 3 * (len / 4) bytes. Returns the count or
 * -1.
 */
ptrdiff_t base64_decode(struct bytes in, uint8_t *out);
/* Lower-case hex, 2 * len bytes, no NUL. */
void hex_encode(struct bytes in, char *out);
/* Both cases; writes in.len / 2 bytes. False when a byte is no hex digit or in.len is odd. */
bool hex_decode(struct bytes in, uint8_t *out);

#endif
