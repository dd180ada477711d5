/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve: what each kind of route does. A new route is a kind in api/routes.h, a function here and a row in serve.c;
 * gateway/ mounts it at a path. The request is whole; the function answers with http/answer.h, or calls http_wait() and
 * answers later.
 */
#ifndef WSC_HTTP_SERVE_H
#define WSC_HTTP_SERVE_H

#include "api/routes.h"

/* By enum route_kind. */
extern const struct route_type http_routes[ROUTE_KINDS];

void serve_websocket(struct conn *c);   /* open.c */
void serve_echo(struct conn *c);        /* open.c */
void serve_sse(struct conn *c);         /* open.c */
void serve_send(struct conn *c);        /* send.c */
void serve_broadcast(struct conn *c);   /* send.c */
void serve_online(struct conn *c);      /* online.c */
void serve_old_online(struct conn *c);  /* online.c */
void serve_asset(struct conn *c);       /* pages.c */
void serve_local_asset(struct conn *c); /* pages.c */
void serve_program(struct conn *c);     /* own_routes.c */

#endif
