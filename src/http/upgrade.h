/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade: the two ways out of an opening. The connection becomes a WebSocket or an event stream, or the client is
 * refused: by an HTTP status, or, when a browser would not see the status, by a close code behind the handshake.
 */
#ifndef WSC_HTTP_UPGRADE_H
#define WSC_HTTP_UPGRADE_H

#include "http/open.h"

#define STREAM_FIELDS 8

/* The fields of the head of an event stream; how many. */
size_t stream_fields(const struct conn *c, struct http1_out_field f[STREAM_FIELDS]);
/*
 * HTTP is over: the unsent answers and the head of the new protocol become control bytes. Returns what came behind the
 * request. *@ok false: no memory.
 */
struct buf upgrade(struct conn *c, bool *ok);

/* Refusals; each returns OPEN_OVER. */
enum open_step open_refuse(struct conn *c, enum end e);
/* With a Retry-After of @retry_s. */
enum open_step open_refuse_later(struct conn *c, enum end e, unsigned retry_s);
/* The reason is the program's. @status 0: the code's own. */
enum open_step open_refuse_as(struct conn *c, uint16_t status, enum api_code code, struct bytes why);
/* Upgrades only to close, whatever subprotocol the client offers. */
enum open_step open_refuse_by_close(struct conn *c, enum api_code code, struct bytes why);

#endif
