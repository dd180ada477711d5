/* SPDX-License-Identifier: Apache-2.0 */
/* ws: a connection that speaks WebSocket (RFC 6455), and the sender that its client is. */
#ifndef WSC_TRANSPORT_WS_H
#define WSC_TRANSPORT_WS_H

#include "conn/conn.h"

extern const struct conn_kind ws_kind;
extern const struct sender ws_sender;

/* @c has just become a WebSocket and its session is accepted; @next came behind the handshake. */
void ws_begin(struct conn *c, struct mut_bytes next);

#endif
