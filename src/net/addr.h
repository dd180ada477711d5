/* SPDX-License-Identifier: Apache-2.0 */
/* addr: opening and tuning listening sockets. Resolves no names. */
#ifndef WSC_NET_ADDR_H
#define WSC_NET_ADDR_H

#include "base/bytes.h"

struct listen_options {
	int backlog;
	uint32_t kernel_queue;    /* TCP_NOTSENT_LOWAT, bytes; accepted sockets inherit it */
	uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT, inherited */
	bool v6_only;             /* "::" does not accept IPv4 too, because IPv4 has its own listening socket */
};

/*
 * Opens a listening, non-blocking socket at @ip (an IPv4 or IPv6 address, or "unix:/path") and @port (0: a free one).
 * Only owner and group may connect to a Unix socket; a stale one (no server listens on it) is replaced.
 * @port_out: the port that is used. Returns the descriptor or -errno.
 */
int addr_listen(const char *ip, uint16_t port, const struct listen_options *o, uint16_t *port_out);
/* Sets the options that an accepted or adopted socket does not inherit. */
void addr_tune(int fd, const struct listen_options *o);

#endif
