/* SPDX-License-Identifier: Apache-2.0 */
/* open: from a request for /ws or /sse to a session, in steps. */
#ifndef WSC_HTTP_OPEN_H
#define WSC_HTTP_OPEN_H

#include "http/http_conn.h"

/* The result of a step of an opening. */
enum open_step {
	OPEN_ON,   /* the next step */
	OPEN_WAIT, /* a hook or the hub has it: a late answer goes on */
	OPEN_OVER  /* refused, moved to another worker, or a session now */
};

/* The hub says that the session of @c is attached. */
void open_attached(struct conn *c);

#endif
