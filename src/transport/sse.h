/* SPDX-License-Identifier: Apache-2.0 */
/* sse: a connection that is an event stream (WHATWG HTML, "Server-sent events"). */
#ifndef WSC_TRANSPORT_SSE_H
#define WSC_TRANSPORT_SSE_H

#include "conn/conn.h"

extern const struct conn_kind sse_kind;

/* @c has just become an event stream and its session is accepted; @client: hash of URL, address and user agent. */
void sse_begin(struct conn *c, uint64_t client);

#endif
