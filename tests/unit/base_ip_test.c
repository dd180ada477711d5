/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks: valid and invalid ones, and which address is in which network. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "test.h"

static bool in(const char *net, const char *address)
{
	struct ip_net n;
	struct ip ip;

	CHECK(ip_net_parse(bytes_str(net), &n));
	CHECK(ip_parse(bytes_str(address), &ip));
	return ip_match(&n, 1, &ip);
}

TEST(addresses_are_written_back_in_their_short_form)
{
	static const char *const rows[][2] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "2001:DB8:0:0::1", "2001:db8::1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "::1", "::1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[IP_TEXT_MAX];
		struct ip ip;

		if (!CHECK(ip_parse(bytes_str(rows[i][0]), &ip)))
			continue;
		ip_format(&ip, text);
		CHECK(strcmp(text, rows[i][1]) == 0);
	}
}

TEST(text_that_is_no_address_is_refused)
{
	static const char *const bad[] = { "",
					   "1.2.3",
					   "1.2.3.256",
					   "01.2.3.4",
					   "1.2.3.4 ",
					   "[::1]",
					   "::1%eth0",
					   "localhost",
					   ":::",
					   "1.2.3.4.5",
					   "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" };
	struct ip ip;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!ip_parse(bytes_str(bad[i]), &ip));
	CHECK(!ip_parse(BYTES("1.2.3.4\0"), &ip));
}

TEST(a_peer_may_stand_in_brackets_and_have_a_port)
{
	static const char *const good[][2] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1:1", "192.0.2.1" },
		{ "192.0.2.1:65535", "192.0.2.1" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "2001:db8::1:443", "2001:db8::1:443" },
		{ "[2001:db8::1]", "2001:db8::1" },
		{ "[2001:db8::1]:443", "2001:db8::1" },
		{ "[::ffff:192.0.2.1]:443", "192.0.2.1" },
	};
	static const char *const bad[] = { "",
					   ":",
					   "[",
					   "]",
					   "[]",
					   "[]:1",
					   ":80",
					   "1.2.3.4:",
					   "1.2.3.4:x",
					   "1.2.3.4:123456",
					   "1.2.3.4:1:2",
					   "[1.2.3.4]",
					   "[::1",
					   "[::1]x",
					   "[::1]:",
					   "[::1]:8x",
					   "[[::1]]",
					   "[::1%eth0]",
					   "::1]",
					   "1.2.3.4]",
					   "1.2.3.4 :8",
					   "unknown" };
	char text[IP_TEXT_MAX];
	struct ip ip;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!CHECK(ip_parse_peer(bytes_str(good[i][0]), &ip)))
			continue;
		ip_format(&ip, text);
		CHECK(strcmp(text, good[i][1]) == 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!ip_parse_peer(bytes_str(bad[i]), &ip));
}

TEST(a_network_holds_its_addresses_to_the_bit)
{
	CHECK(in("10.0.0.0/8", "10.255.255.255"));
	CHECK(!in("10.0.0.0/8", "11.0.0.0"));
	CHECK(in("192.0.2.128/25", "192.0.2.129"));
	CHECK(!in("192.0.2.128/25", "192.0.2.127"));
	CHECK(in("0.0.0.0/0", "203.0.113.9"));
	CHECK(!in("0.0.0.0/0", "2001:db8::1"));
	CHECK(in("::/0", "2001:db8::1"));
	CHECK(!in("::/0", "203.0.113.9"));
	CHECK(in("2001:db8::/33", "2001:db8:7fff::1"));
	CHECK(!in("2001:db8::/33", "2001:db8:8000::1"));
	CHECK(in("192.0.2.1", "192.0.2.1"));
	CHECK(!in("192.0.2.1", "192.0.2.2"));
}

TEST(an_ipv4_mapped_ipv6_address_is_ipv4)
{
	CHECK(in("10.0.0.0/8", "::ffff:10.1.2.3"));
	CHECK(in("::ffff:10.0.0.0/104", "10.1.2.3"));
	CHECK(!in("::ffff:10.0.0.0/104", "11.1.2.3"));
}

TEST(networks_with_bits_behind_the_prefix_are_refused)
{
	static const char *const bad[] = { "10.0.0.1/8",    "10.0.0.0/33",        "10.0.0.0/",
					   "10.0.0.0/08",   "10.0.0.0/-1",        "fd00::1/8",
					   "fd00::/129",    "::ffff:10.0.0.0/95", "/8",
					   "10.0.0.0/8/8",  "10.0.0.0/8 ",        "",
					   "10.0.0.0/1234", "10.0.0.0/1:",        "10.0.0.0/1/" };
	struct ip_net net;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!ip_net_parse(bytes_str(bad[i]), &net));
}

TEST(a_socket_address_gives_its_ip_and_a_unix_one_none)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr local = { .sa_family = AF_UNIX };
	struct ip a = ip_of_sockaddr((struct sockaddr *)&six), b = ip_of_sockaddr((struct sockaddr *)&four);
	struct ip c = ip_of_sockaddr(&local);
	struct ip_net all = { .ip = { .len = 4 } };

	CHECK_EQ(a.len, 16);
	CHECK_EQ(b.len, 4);
	CHECK_EQ(c.len, 0);
	CHECK(ip_loopback(&a) && ip_loopback(&b) && !ip_loopback(&c));
	CHECK(ip_match(&all, 1, &b));
	CHECK(!ip_match(&all, 1, &c));
}

TEST(an_invalid_address_has_no_text_and_is_no_loopback)
{
	static const struct ip none = { 0 };
	char out[IP_TEXT_MAX] = "before";
	struct ip ip;

	ip_format(&none, out);
	CHECK_EQ(out[0], 0);
	CHECK(!ip_loopback(&none));
	CHECK(ip_parse(BYTES("::2"), &ip) && !ip_loopback(&ip));
	CHECK(ip_parse(BYTES("128.0.0.1"), &ip) && !ip_loopback(&ip));
	CHECK(ip_parse(BYTES("127.255.255.255"), &ip) && ip_loopback(&ip));
	CHECK(ip_parse(BYTES("2001:DB8::1"), &ip));
	ip_format(&ip, out);
	CHECK_BYTES(bytes_str(out), "2001:db8::1");
}

TEST(a_prefix_of_nought_is_written_as_one_digit)
{
	struct ip_net net;

	CHECK(ip_net_parse(BYTES("0.0.0.0/0"), &net) && net.prefix == 0);
	CHECK(!ip_net_parse(BYTES("0.0.0.0/00"), &net));
	CHECK(ip_net_parse(BYTES("::/128"), &net) && net.prefix == 128);
}
