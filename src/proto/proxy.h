/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy: the PROXY protocol of HAProxy ("The PROXY protocol", versions 1 and 2): the header in which a proxy gives the
 * address of its client, before the first byte of HTTP. The caller decides which proxies it trusts. TLVs of version 2
 * are skipped, also their checksum.
 */
#ifndef WSC_PROTO_PROXY_H
#define WSC_PROTO_PROXY_H

#include "base/ip.h"

#define PROXY_MAX 1024u /* bytes of a header; a longer one is refused */

enum proxy_result {
	PROXY_NONE, /* the input is no PROXY header */
	PROXY_MORE, /* the input may become a header, or its header is not complete yet */
	PROXY_DONE, /* @out is filled */
	PROXY_BAD   /* the input begins as a header but is malformed */
};

struct proxy_header {
	size_t size; /* bytes of the header */
	/* The client; len 0 when the proxy itself is the client or gives no address (LOCAL, UNKNOWN, a Unix socket). */
	struct ip ip;
};

/* @in is everything that was received on the connection so far. */
enum proxy_result proxy_parse(struct bytes in, struct proxy_header *out);

#endif
