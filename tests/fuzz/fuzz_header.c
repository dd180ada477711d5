/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_header: the header fields whose values decide: the lists of a WebSocket handshake, Origin against Host and the
 * rules, addresses and networks. Each result is compared with a second reader written here, and with the result for
 * another spelling. Input: a byte that picks the field, then values separated by line feeds.
 */
/* Shows: threat 20 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/origin.h"
#include "base/buf.h"
#include "base/ip.h"
#include "proto/ws.h"

static struct bytes take_line(struct bytes *in)
{
	const uint8_t *end = in->len ? memchr(in->at, '\n', in->len) : NULL;
	struct bytes l = bytes_of(in->at, end ? (size_t)(end - in->at) : in->len);

	bytes_skip(in, l.len + (end != NULL));
	return l;
}

/* ---- a handshake ------------------------------------------------------------------------------------------------------ */

/* False: these lines are no request at all. */
static bool parse(struct buf *text, struct http1_head *h)
{
	struct http1_parser p = { 0 };

	return http1_parse_head(&p, &HTTP1_LIMITS, buf_bytes(text), h) == HTTP1_DONE;
}

/* Is @want an element of the list, by RFC 9110 §5.6.1: elements parted by commas, white space around them. */
static bool listed(struct bytes list, const char *want)
{
	for (;;) {
		size_t n = 0, from = 0, to;

		while (n < list.len && list.at[n] != ',')
			n++;
		to = n;
		while (from < to && (list.at[from] == ' ' || list.at[from] == '\t'))
			from++;
		while (to > from && (list.at[to - 1] == ' ' || list.at[to - 1] == '\t'))
			to--;
		if (to - from == strlen(want) && (to == from || memcmp(list.at + from, want, to - from) == 0))
			return true;
		if (n == list.len)
			return false;
		bytes_skip(&list, n + 1);
	}
}

static void write_handshake(struct buf *b, struct bytes protocol, struct bytes extensions, struct bytes other,
			    bool split)
{
	const uint8_t *comma = split && protocol.len ? memchr(protocol.at, ',', protocol.len) : NULL;
	struct bytes first = comma ? bytes_of(protocol.at, (size_t)(comma - protocol.at)) : protocol;

	buf_add_str(b, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, ");
	buf_add(b, other);
	buf_add_str(b, ", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ");
	buf_add(b, extensions);
	buf_add_str(b, "\r\nSec-WebSocket-Protocol: ");
	buf_add(b, first);
	if (comma) { /* §5.3: two lines are one list */
		buf_add_str(b, "\r\nsec-websocket-protocol: ");
		buf_add(b, bytes_of(comma + 1, protocol.len - first.len - 1));
	}
	buf_add_str(b, "\r\n\r\n");
}

static void check_handshake(struct bytes in)
{
	struct bytes protocol = take_line(&in), extensions = take_line(&in), other = take_line(&in);
	struct ws_handshake whole, split;
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct http1_head h;
	enum ws_upgrade u;

	write_handshake(&a, protocol, extensions, other, false);
	if (parse(&a, &h)) {
		u = ws_check_upgrade(&h, &whole);
		/* Nothing that a client offers makes a good handshake a bad one. */
		assert(u == WS_UPGRADE_OK);
		assert(bytes_eq(bytes_of(whole.accept, WS_ACCEPT_LEN), BYTES("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
		assert(whole.wsc_v1 == listed(protocol, WS_SUBPROTOCOL));
		assert(http1_has_token(&h, BYTES("Connection"), BYTES("upgrade")));
		write_handshake(&b, protocol, extensions, other, true);
		if (parse(&b, &h)) {
			assert(ws_check_upgrade(&h, &split) == WS_UPGRADE_OK);
			assert(whole.wsc_v1 == split.wsc_v1);
		}
	}
	buf_deinit(&a);
	buf_deinit(&b);
}

/* ---- Origin -------------------------------------------------------------------------------------------------------------- */

static char *rules[] = { (char *)(uintptr_t) "https://app.example.com", (char *)(uintptr_t) "https://*.example.org",
			 (char *)(uintptr_t) "http://localhost:3000", (char *)(uintptr_t) "http://[2001:db8::1]:8080" };

/* The one text that a rule's origin has, RFC 6454 §6.2: lower case, no port that goes without saying. */
static bool canonical(struct bytes origin, char *out, size_t room)
{
	char *host, *colon, *port;

	if (origin.len + 1 > room || memchr(origin.at ? origin.at : (const uint8_t *)"", 0, origin.len))
		return false;
	for (size_t i = 0; i < origin.len; i++)
		out[i] = (char)bytes_lower(origin.at[i]);
	out[origin.len] = 0;
	host = strstr(out, "://");
	if (!host)
		return true;
	host += 3;
	colon = host[0] == '[' ? strchr(host, ']') : host;
	colon = colon ? strchr(colon, ':') : NULL;
	if (!colon)
		return true;
	port = colon + 1;
	if (strchr(port, ':'))
		return false; /* two ports are none */
	if (!*port || strcmp(port, strncmp(out, "https:", 6) == 0  ? "443"
				   : strncmp(out, "http:", 5) == 0 ? "80"
								   : "") == 0)
		*colon = 0;
	return true;
}

/* host[:port] of an origin, canonical; NULL: it has none. */
static const char *authority(const char *origin)
{
	return strncmp(origin, "https://", 8) == 0  ? origin + 8
	       : strncmp(origin, "http://", 7) == 0 ? origin + 7
						    : NULL;
}

static bool host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* By comparing whole texts: is this origin one of the rules', or our own? */
static bool reference_allows(struct bytes origin, struct bytes host)
{
	char o[600], own[700];
	const char *a;

	if (!canonical(origin, o, sizeof o))
		return false;
	for (size_t i = 0; i < 4; i++)
		if (i != 1 && strcmp(o, rules[i]) == 0)
			return true;
	a = authority(o);
	if (!a)
		return false;
	if (strncmp(o, "https://", 8) == 0) {
		size_t n = strlen(a), ok = 0;

		while (ok < n && host_char(a[ok]))
			ok++;
		if (ok == n && n > 12 && strcmp(a + n - 12, ".example.org") == 0)
			return true;
	}
	/* Our own, in either scheme: the Host with that scheme before it, in the same spelling. */
	for (int s = 0; s < 2; s++) {
		char text[700], raw[640];

		if (host.len == 0 || host.len > sizeof raw - 10)
			return false;
		snprintf(raw, sizeof raw, "%s%.*s", s ? "https://" : "http://", (int)host.len, (const char *)host.at);
		if (!canonical(bytes_str(raw), text, sizeof text))
			return false;
		snprintf(own, sizeof own, "%s", text);
		if (strcmp(o, own) == 0)
			return true;
	}
	return false;
}

static void check_origin(struct bytes in)
{
	struct bytes origin = take_line(&in), host = take_line(&in);
	static char *any[] = { (char *)(uintptr_t) "*" };
	char lower[600];
	bool yes;

	if (host.len && !http1_host_valid(host))
		host.len = 0; /* such a request would not have come so far */
	yes = origin_allowed(rules, 4, origin, host);
	if (yes)
		assert(reference_allows(origin, host));
	/* Upper and lower case give the same answer. */
	if (canonical(origin, lower, sizeof lower) && origin.len < 500)
		assert(origin_allowed(rules, 4, bytes_str(lower), host) == yes);
	assert(origin.len > 512 || origin_allowed(any, 1, origin, host));
	/* No single rule allows more than all rules together, and without rules only our own origin is allowed. */
	for (size_t i = 0; i < 4; i++)
		assert(!origin_allowed(rules + i, 1, origin, host) || yes);
	if (origin_allowed(NULL, 0, origin, host)) {
		assert(yes && host.len);
		assert(!origin_allowed(NULL, 0, origin, BYTES("")));
	}
}

/* ---- addresses ------------------------------------------------------------------------------------------------------------- */

/* Four numbers of one to three digits without leading zeros. */
static bool reference_v4(struct bytes s, uint8_t out[4])
{
	for (int i = 0; i < 4; i++) {
		unsigned n = 0, digits = 0;

		while (s.len && s.at[0] >= '0' && s.at[0] <= '9') {
			if (digits && n == 0)
				return false;
			n = n * 10 + (unsigned)(s.at[0] - '0');
			if (++digits > 3 || n > 255)
				return false;
			bytes_skip(&s, 1);
		}
		if (!digits)
			return false;
		out[i] = (uint8_t)n;
		if (i < 3) {
			if (!s.len || s.at[0] != '.')
				return false;
			bytes_skip(&s, 1);
		}
	}
	return s.len == 0;
}

static void check_address(struct bytes text)
{
	struct ip ip, again;
	char out[IP_TEXT_MAX];
	uint8_t v4[4];
	bool ok = ip_parse(text, &ip), is_v4 = reference_v4(text, v4);

	assert(!is_v4 || (ok && ip.len == 4 && memcmp(ip.at, v4, 4) == 0));
	if (!ok)
		return;
	assert(ip.len == 4 || ip.len == 16);
	assert(is_v4 || memchr(text.at, ':', text.len));
	for (size_t i = 0; i < text.len; i++)
		assert(text.at[i] == ':' || text.at[i] == '.' || (text.at[i] >= '0' && text.at[i] <= '9') ||
		       (bytes_lower(text.at[i]) >= 'a' && bytes_lower(text.at[i]) <= 'f'));
	ip_format(&ip, out);
	assert(ip_parse(bytes_str(out), &again) && memcmp(&ip, &again, sizeof ip) == 0);
	/* An IPv4 address in IPv6 clothes is an IPv4 address. */
	if (ip.len == 16)
		assert(memcmp(ip.at, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) != 0);
}

static unsigned bit_of(const struct ip *ip, unsigned i)
{
	return ip->at[i / 8] >> (7 - i % 8) & 1;
}

static void check_net(struct bytes text, struct bytes address)
{
	struct ip_net net;
	struct ip ip;
	bool inside = true;

	if (!ip_net_parse(text, &net))
		return;
	assert((net.ip.len == 4 && net.prefix <= 32) || (net.ip.len == 16 && net.prefix <= 128));
	for (unsigned i = net.prefix; i < net.ip.len * 8u; i++)
		assert(bit_of(&net.ip, i) == 0);
	assert(ip_match(&net, 1, &net.ip));
	if (!ip_parse(address, &ip))
		return;
	for (unsigned i = 0; i < net.prefix && ip.len == net.ip.len; i++)
		inside &= bit_of(&net.ip, i) == bit_of(&ip, i);
	assert(ip_match(&net, 1, &ip) == (inside && ip.len == net.ip.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size), first, second;
	uint8_t which;

	if (size > 2000 || !bytes_take_u8(&in, &which))
		return 0;
	switch (which % 3) {
	case 0:
		check_handshake(in);
		break;
	case 1:
		check_origin(in);
		break;
	case 2:
		first = take_line(&in);
		second = take_line(&in);
		check_address(first);
		check_address(second);
		check_net(first, second);
		break;
	}
	return 0;
}
