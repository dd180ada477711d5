/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ip: addresses and networks as values. An IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291 §2.5.5.2) is always
 * converted to plain IPv4, so that a client cannot evade a rule about the IPv4 address.
 */
#ifndef WSC_BASE_IP_H
#define WSC_BASE_IP_H

#include "base/bytes.h"

struct sockaddr;

struct ip {
	uint8_t len;    /* 4 or 16; 0: not an IP address (a Unix socket) */
	uint8_t at[16]; /* network order; zero beyond len */
};

struct ip_net {
	struct ip ip;   /* bits beyond the prefix are zero */
	uint8_t prefix; /* bits: 0 to 32 or 128 */
};

/* "192.0.2.1" or "2001:db8::1", no brackets, no zone, no leading zeros in IPv4. */
bool ip_parse(struct bytes s, struct ip *out);
/*
 * An address as proxies write it: an IPv6 address may have brackets, and ":port" may follow. An IPv6 address without
 * brackets has no port.
 */
bool ip_parse_peer(struct bytes s, struct ip *out);
/* As ip_parse(), or with "/prefix"; refuses bits that are set beyond the prefix because they are a typing mistake. */
bool ip_net_parse(struct bytes s, struct ip_net *out);
/* From AF_INET or AF_INET6; any other family gives len 0. */
struct ip ip_of_sockaddr(const struct sockaddr *sa);
/* Is @ip in one of the @n networks? len 0 is in none. */
bool ip_match(const struct ip_net *nets, size_t n, const struct ip *ip);
/* 127.0.0.0/8 or ::1. */
bool ip_loopback(const struct ip *ip);

/* Longest text with its NUL. */
#define IP_TEXT_MAX 46
void ip_format(const struct ip *ip, char out[IP_TEXT_MAX]);

#endif
