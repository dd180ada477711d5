/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy: the PROXY protocol of HAProxy ("The PROXY protocol", versions 1 and 2): what a proxy says of its client before the
 * first byte of HTTP. Whom to believe is not decided here. TLVs of version 2 are passed over, their checksum included.
 */
#ifndef WSC_PROTO_PROXY_H
#define WSC_PROTO_PROXY_H

#include "base/ip.h"

#define PROXY_MAX 1024u /* bytes of a header; a longer one is refused */

enum proxy_result {
	PROXY_NONE, /* what lies here is no PROXY header */
	PROXY_MORE, /* it may become one, or is not whole yet */
	PROXY_DONE, /* @out is filled */
	PROXY_BAD   /* it began as one and is broken */
};

struct proxy_header {
	size_t size; /* bytes it took */
	struct ip
		ip; /* the client; len 0 when the proxy speaks for itself or does not say (LOCAL, UNKNOWN, a Unix socket) */
};

/* @in is all that has come on the connection so far. */
enum proxy_result proxy_parse(struct bytes in, struct proxy_header *out);

#endif
