/* SPDX-License-Identifier: Apache-2.0 */
/* admit: the last steps of an opening, on the user's own shard: a place in the hub, the program's consent, the session. */
#ifndef WSC_HTTP_ADMIT_H
#define WSC_HTTP_ADMIT_H

#include "http/open.h"

/* Reserves a place among the user's connections; a client that is not wanted back (4409) is told to stop. */
enum open_step admit_attach(struct conn *c);
/* on_client_connect. */
enum open_step admit_ask(struct conn *c);
/* The session is accepted: the connection becomes a WebSocket or an event stream. */
enum open_step admit_accept(struct conn *c);

#endif
