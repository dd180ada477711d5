/* SPDX-License-Identifier: Apache-2.0 */
/* proxy: see proxy.h. */
#include "proto/proxy.h"

#define V1_MAX 107u /* §2.1: the longest line, CR LF included */
#define V2_HEAD 16u

static const uint8_t v2_signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

static bool begins_like(struct bytes in, struct bytes what)
{
	size_t n = in.len < what.len ? in.len : what.len;

	return memcmp(in.at, what.at, n) == 0;
}

static bool port_valid(struct bytes s)
{
	uint32_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9' || i > 4)
			return false;
		n = n * 10 + (uint32_t)(s.at[i] - '0');
	}
	return s.len > 0 && n <= 65535 && (s.len == 1 || s.at[0] != '0');
}

/* Takes the next word and the one space after it off @line; false when no space follows. */
static bool word(struct bytes *line, struct bytes *w)
{
	const uint8_t *space = memchr(line->at, ' ', line->len);

	*w = bytes_of(line->at, space ? (size_t)(space - line->at) : line->len);
	bytes_skip(line, space ? w->len + 1 : w->len);
	return space != NULL;
}

/* @v6: the text must be an IPv6 address. */
static bool address_valid(struct bytes s, bool v6, struct ip *out)
{
	return ip_parse(s, out) && (memchr(s.at, ':', s.len) != NULL) == v6;
}

/* §2.1: "PROXY TCP4 source destination port port" CR LF, or "PROXY UNKNOWN" and anything. */
static enum proxy_result parse_v1(struct bytes in, struct proxy_header *out)
{
	const uint8_t *lf = memchr(in.at, '\n', in.len < V1_MAX ? in.len : V1_MAX);
	struct bytes line, family, source, target, port;
	struct ip other;
	bool v6;

	if (!lf)
		return in.len < V1_MAX ? PROXY_MORE : PROXY_BAD;
	out->size = (size_t)(lf - in.at) + 1;
	if (out->size < 8 || lf[-1] != '\r')
		return PROXY_BAD;
	line = bytes_of(in.at + 6, out->size - 8);
	word(&line, &family);
	if (bytes_eq(family, BYTES("UNKNOWN")))
		return PROXY_DONE;
	v6 = bytes_eq(family, BYTES("TCP6"));
	if (!v6 && !bytes_eq(family, BYTES("TCP4")))
		return PROXY_BAD;
	if (!word(&line, &source) || !address_valid(source, v6, &out->ip) || !word(&line, &target) ||
	    !address_valid(target, v6, &other))
		return PROXY_BAD;
	if (!word(&line, &port) || !port_valid(port))
		return PROXY_BAD;
	return port_valid(line) ? PROXY_DONE : PROXY_BAD;
}

static bool ip_from(const uint8_t *at, size_t len, struct ip *out)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4_in_v6 = len == 16 && memcmp(at, mapped, sizeof mapped) == 0;

	*out = (struct ip){ .len = v4_in_v6 ? 4 : (uint8_t)len };
	memcpy(out->at, v4_in_v6 ? at + 12 : at, out->len);
	return true;
}

/* §2.2: signature, version and command, family, length, addresses, TLVs. */
static enum proxy_result parse_v2(struct bytes in, struct proxy_header *out)
{
	size_t len;

	if (in.len < V2_HEAD)
		return PROXY_MORE;
	len = (size_t)in.at[14] << 8 | in.at[15];
	if (in.at[12] >> 4 != 2 || (in.at[12] & 0xf) > 1 || V2_HEAD + len > PROXY_MAX)
		return PROXY_BAD;
	if (in.len < V2_HEAD + len)
		return PROXY_MORE;
	out->size = V2_HEAD + len;
	if ((in.at[12] & 0xf) == 0)
		return PROXY_DONE; /* LOCAL: the proxy's own health check */
	switch (in.at[13]) {
	case 0x11: /* TCP over IPv4 */
		return len >= 12 && ip_from(in.at + V2_HEAD, 4, &out->ip) ? PROXY_DONE : PROXY_BAD;
	case 0x21: /* TCP over IPv6 */
		return len >= 36 && ip_from(in.at + V2_HEAD, 16, &out->ip) ? PROXY_DONE : PROXY_BAD;
	case 0x00: /* unspecified */
		return PROXY_DONE;
	case 0x31: /* a Unix stream: two paths of 108 bytes */
		return len >= 216 ? PROXY_DONE : PROXY_BAD;
	default:
		return PROXY_BAD;
	}
}

enum proxy_result proxy_parse(struct bytes in, struct proxy_header *out)
{
	struct bytes v2 = bytes_of(v2_signature, sizeof v2_signature), v1 = BYTES("PROXY ");

	*out = (struct proxy_header){ 0 };
	if (in.len == 0)
		return PROXY_MORE;
	if (begins_like(in, v2))
		return in.len < v2.len ? PROXY_MORE : parse_v2(in, out);
	if (begins_like(in, v1))
		return in.len < v1.len ? PROXY_MORE : parse_v1(in, out);
	return PROXY_NONE;
}
