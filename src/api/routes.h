/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes: which path and method is what. One table, made once before the start and never changed; exact paths only.
 * http/ says what a route does, as a table of functions.
 */
#ifndef WSC_API_ROUTES_H
#define WSC_API_ROUTES_H

#include "base/buf.h"
#include "proto/http1.h"

enum route_kind {
	ROUTE_WEBSOCKET,
	ROUTE_ECHO, /* a WebSocket that belongs to no user and gets its own messages back */
	ROUTE_SSE,
	ROUTE_SEND,
	ROUTE_BROADCAST,
	ROUTE_ONLINE,
	ROUTE_STATS,
	ROUTE_OLD_ONLINE,
	ROUTE_OLD_STATS, /* /wsc/...: the same answers and the hub's older names */
	ROUTE_LIVEZ,
	ROUTE_READYZ,
	ROUTE_METRICS,     /* for Prometheus: answers only on loopback */
	ROUTE_ASSET,       /* an API document */
	ROUTE_LOCAL_ASSET, /* a file of the first page: answers only on loopback */
	ROUTE_PROGRAM,     /* the program's own */
	ROUTE_KINDS
};

enum route_flag {
	ROUTE_HANDSHAKE = 1, /* its client may want to hear a refusal as a close code */
	ROUTE_SESSION = 2,   /* leads to a session: refused while memory is short */
	ROUTE_WHEN_FULL = 4, /* answers also on a full node */
	ROUTE_WHEN_SHORT = 8 /* answers also while memory is short */
};

struct conn;

/* The functions and rules of a kind of route; http/serve.c has the table. */
struct route_type {
	enum route_kind kind;
	uint8_t flags; /* enum route_flag */
	uint8_t label; /* enum metric_route */
	/* The request is whole: answers it, or hands it on and answers later. */
	void (*serve)(struct conn *c);
};

struct route {
	char *path;
	char method[16]; /* GET (which HEAD shares), POST, ... */
	const struct route_type *type;
	const void *target; /* asset, or the program's handler */
	void *user;
};

struct routes {
	struct route *at;
	size_t n, cap;
};

/* 0, -WSC_ENOMEM, or -WSC_ESTATE when path and method are taken. */
int routes_add(struct routes *r, const char *method, const char *path, const struct route_type *type,
	       const void *target, void *user);
void routes_deinit(struct routes *r);

enum route_found { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };
/* @path is decoded. HEAD finds GET. */
enum route_found routes_find(const struct routes *r, struct bytes method, struct bytes path, const struct route **out);
/* Appends the methods of @path as Allow wants them: "GET, HEAD, OPTIONS". False: there is no such path. */
bool routes_allow(const struct routes *r, struct bytes path, struct buf *b);

#endif
