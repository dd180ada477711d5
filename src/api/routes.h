/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes: which path and method is what. One table, made once before the start and never changed; exact paths only.
 * What a route does is for those who serve it (conn/).
 */
#ifndef WSC_API_ROUTES_H
#define WSC_API_ROUTES_H

#include "base/buf.h"
#include "proto/http1.h"

enum route_kind {
	ROUTE_WEBSOCKET,
	ROUTE_ECHO, /* a WebSocket that is nobody's and gets its own messages back */
	ROUTE_SSE,
	ROUTE_SEND,
	ROUTE_BROADCAST,
	ROUTE_ONLINE,
	ROUTE_STATS,
	ROUTE_OLD_ONLINE,
	ROUTE_OLD_STATS, /* /wsc/...: the same answers and the hub's older names */
	ROUTE_LIVEZ,
	ROUTE_READYZ,
	ROUTE_ASSET,       /* an API document */
	ROUTE_LOCAL_ASSET, /* a file of the first page: answers only on loopback */
	ROUTE_PROGRAM      /* the program's own */
};

struct route {
	char *path;
	char method[16]; /* GET (which HEAD shares), POST, ... */
	enum route_kind kind;
	const void *target; /* asset, or the program's handler */
	void *user;
};

struct routes {
	struct route *at;
	size_t n, cap;
};

/* 0, -WSC_ENOMEM, or -WSC_ESTATE when path and method are taken. */
int routes_add(struct routes *r, const char *method, const char *path, enum route_kind kind, const void *target,
	       void *user);
void routes_deinit(struct routes *r);

enum route_found { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };
/* @path is decoded. HEAD finds GET. */
enum route_found routes_find(const struct routes *r, struct bytes method, struct bytes path, const struct route **out);
/* Appends the methods of @path as Allow wants them: "GET, HEAD, OPTIONS". False: there is no such path. */
bool routes_allow(const struct routes *r, struct bytes path, struct buf *b);

#endif
