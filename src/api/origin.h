/* SPDX-License-Identifier: Apache-2.0 */
/* origin: may a page of this origin use the gateway (websocket_origins in docs/config.md; RFC 6454)? */
#ifndef WSC_API_ORIGIN_H
#define WSC_API_ORIGIN_H

#include "base/bytes.h"

/*
 * @rules as config.h normalises them: "*", "scheme://host[:port]" in lower case without a default port, or "scheme://" followed by
 * "*.host[:port]", which is any host below that one, not the host itself. @host is the request's Host: its own origin is
 * always allowed, over http and https (a proxy may have taken the TLS off). @origin is as sent; "null" only matches "*".
 */
bool origin_allowed(char *const *rules, size_t n, struct bytes origin, struct bytes host);

#endif
