/* SPDX-License-Identifier: Apache-2.0 */
/* ip: converts text and sockaddr to values and compares them. inet_pton() parses the text; nothing is allocated. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static bool is_mapped(const uint8_t at[16])
{
	static const uint8_t prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	return memcmp(at, prefix, sizeof(prefix)) == 0;
}

static struct ip of_v4(const uint8_t at[4])
{
	struct ip ip = { .len = 4 };

	memcpy(ip.at, at, 4);
	return ip;
}

static struct ip of_v6(const uint8_t at[16])
{
	struct ip ip = { .len = 16 };

	if (is_mapped(at))
		return of_v4(at + 12);
	memcpy(ip.at, at, 16);
	return ip;
}

bool ip_parse(struct bytes s, struct ip *out)
{
	char text[IP_TEXT_MAX];
	uint8_t at[16];

	if (s.len == 0 || s.len >= sizeof(text) || memchr(s.at, '\0', s.len))
		return false;
	memcpy(text, s.at, s.len);
	text[s.len] = '\0';
	if (inet_pton(AF_INET, text, at) == 1)
		*out = of_v4(at);
	else if (inet_pton(AF_INET6, text, at) == 1)
		*out = of_v6(at);
	else
		return false;
	return true;
}

/* Nothing, or a colon and one to five digits. */
static bool port_or_none(struct bytes s)
{
	if (s.len == 0)
		return true;
	for (size_t i = 1; i < s.len; i++)
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
	return s.at[0] == ':' && s.len >= 2 && s.len <= 6;
}

bool ip_parse_peer(struct bytes s, struct ip *out)
{
	bool brackets = s.len && s.at[0] == '[';
	const uint8_t *end = s.len ? memchr(s.at, brackets ? ']' : ':', s.len) : NULL;
	struct bytes address = s;

	if (!end || ip_parse(s, out))
		return ip_parse(s, out);
	address.len = (size_t)(end - s.at);
	bytes_skip(&s, address.len + brackets);
	if (brackets)
		bytes_skip(&address, 1);
	return port_or_none(s) && (address.len && memchr(address.at, ':', address.len) != NULL) == brackets &&
	       ip_parse(address, out);
}

/* One to three digits without leading zeros. */
static bool read_prefix(struct bytes s, unsigned int max, uint8_t *out)
{
	unsigned int n = 0;

	if (s.len == 0 || s.len > 3 || (s.len > 1 && s.at[0] == '0'))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
		n = n * 10 + (unsigned int)(s.at[i] - '0');
	}
	if (n > max)
		return false;
	*out = (uint8_t)n;
	return true;
}

/* The bits of byte @i that belong to a prefix of @prefix bits. */
static uint8_t prefix_mask(unsigned int prefix, unsigned int i)
{
	if (prefix >= (i + 1) * 8)
		return 0xff;
	if (prefix <= i * 8)
		return 0;
	return (uint8_t)(0xff00u >> (prefix - i * 8));
}

bool ip_net_parse(struct bytes s, struct ip_net *out)
{
	const uint8_t *slash = s.len ? memchr(s.at, '/', s.len) : NULL;
	struct bytes address = slash ? bytes_of(s.at, (size_t)(slash - s.at)) : s;
	bool written_as_v6 = s.len && memchr(s.at, ':', s.len);
	struct ip_net net = { 0 };

	if (!ip_parse(address, &net.ip))
		return false;
	net.prefix = (uint8_t)(net.ip.len * 8);
	if (slash) {
		bytes_skip(&s, address.len + 1);
		if (!read_prefix(s, written_as_v6 ? 128 : 32, &net.prefix))
			return false;
		if (written_as_v6 && net.ip.len == 4) {
			if (net.prefix < 96)
				return false;
			net.prefix = (uint8_t)(net.prefix - 96);
		}
	}
	for (unsigned int i = 0; i < net.ip.len; i++)
		if (net.ip.at[i] & (uint8_t)~prefix_mask(net.prefix, i))
			return false;
	*out = net;
	return true;
}

struct ip ip_of_sockaddr(const struct sockaddr *sa)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (sa->sa_family == AF_INET) {
		memcpy(&v4, sa, sizeof(v4));
		return of_v4((const uint8_t *)&v4.sin_addr);
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&v6, sa, sizeof(v6));
		return of_v6(v6.sin6_addr.s6_addr);
	}
	return (struct ip){ 0 };
}

static bool in_net(const struct ip_net *net, const struct ip *ip)
{
	if (net->ip.len != ip->len)
		return false;
	for (unsigned int i = 0; i < ip->len; i++)
		if ((ip->at[i] ^ net->ip.at[i]) & prefix_mask(net->prefix, i))
			return false;
	return true;
}

bool ip_match(const struct ip_net *nets, size_t n, const struct ip *ip)
{
	if (ip->len == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (in_net(&nets[i], ip))
			return true;
	return false;
}

bool ip_loopback(const struct ip *ip)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (ip->len == 4)
		return ip->at[0] == 127;
	return ip->len == 16 && memcmp(ip->at, one, 16) == 0;
}

void ip_format(const struct ip *ip, char out[IP_TEXT_MAX])
{
	if (ip->len == 0 || !inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->at, out, IP_TEXT_MAX))
		out[0] = '\0';
}
