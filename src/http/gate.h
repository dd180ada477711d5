/* SPDX-License-Identifier: Apache-2.0 */
/* gate: may this client ask for anything at all? Its address, its origin, and whether the node has room. Answers nothing. */
#ifndef WSC_HTTP_GATE_H
#define WSC_HTTP_GATE_H

#include "http/http_conn.h"

/* Is the Origin of the request one that may use the gateway? */
bool gate_origin_ok(const struct conn *c);
/* The client's address: the right-most one in X-Forwarded-For that is no trusted proxy, if the peer is one. */
struct ip gate_client_ip(const struct conn *c);
/* Is there a reason to refuse the request, whatever it asks for? END_NONE: none. */
enum end gate_barred(const struct conn *c);
/* Is the request from this machine, with nobody in between, and under a local name (contract of `admin.token`)? */
bool gate_on_loopback(const struct conn *c);

#endif
