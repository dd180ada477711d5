/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol, versions 1 and 2: good headers, broken ones, and every cut. */
#include "proto/proxy.h"
#include "test.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static enum proxy_result parse(struct bytes in, char address[IP_TEXT_MAX], size_t *size)
{
	struct proxy_header h;
	enum proxy_result r = proxy_parse(in, &h);

	*size = h.size;
	address[0] = 0;
	if (r == PROXY_DONE && h.ip.len)
		ip_format(&h.ip, address);
	return r;
}

static void good(struct bytes in, size_t header, const char *want)
{
	char address[IP_TEXT_MAX];
	size_t size;

	/* A header that is not whole is never taken for one, nor for something else. */
	for (size_t n = 0; n < header; n++)
		CHECK_EQ(parse(bytes_of(in.at, n), address, &size), PROXY_MORE);
	for (size_t n = header; n <= in.len; n++) {
		CHECK_EQ(parse(bytes_of(in.at, n), address, &size), PROXY_DONE);
		CHECK_EQ(size, header);
		CHECK(strcmp(address, want) == 0);
	}
}

TEST(version_1_names_the_client)
{
	good(BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 999 80\r\nGET /"), 41, "203.0.113.5");
	good(BYTES("PROXY TCP6 2001:db8::1 ::1 65535 0\r\nGET /"), 36, "2001:db8::1");
	good(BYTES("PROXY UNKNOWN\r\nGET /"), 15, "");
	good(BYTES("PROXY UNKNOWN ffff:f::1 whatever\r\n"), 34, "");
}

TEST(version_2_names_the_client_and_its_tlvs_are_passed_over)
{
	good(BYTES(V2 "\x21\x11\0\x0c\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0\x50GET"), 28, "203.0.113.5");
	good(BYTES(V2 "\x21\x11\0\x10\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0\x50\x04\0\x01xGET"), 32, "203.0.113.5");
	good(BYTES(V2
		   "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02G"),
	     52, "2001:db8::1");
	good(BYTES(V2 "\x20\0\0\0GET"), 16, "");
	good(BYTES(V2 "\x21\0\0\0GET"), 16, "");
}

TEST(a_proxied_ipv4_mapped_ipv6_address_is_ipv4)
{
	good(BYTES(V2
		   "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02"),
	     52, "203.0.113.5");
}

TEST(input_that_is_no_proxy_header_is_left_unread)
{
	char address[IP_TEXT_MAX];
	size_t size;

	CHECK_EQ(parse(BYTES("GET / HTTP/1.1\r\n"), address, &size), PROXY_NONE);
	CHECK_EQ(parse(BYTES("POST"), address, &size), PROXY_NONE);
	CHECK_EQ(parse(BYTES("PROXX"), address, &size), PROXY_NONE);
	CHECK_EQ(parse(BYTES("\r\n\r\nG"), address, &size), PROXY_NONE);
	CHECK_EQ(parse(BYTES(""), address, &size), PROXY_MORE);
}

TEST(broken_headers_are_refused)
{
	static const struct bytes bad[] = {
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 999 80\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 999\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 999 80 1\r\n"),
		BYTES("PROXY TCP4  203.0.113.5 127.0.0.1 999 80\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 99999 80\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 0999 80\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 -1 80\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 123456 80\r\n"), /* five digits at most */
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 9:9 80\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 65536 80\r\n"),
		BYTES("PROXY TCP4 203.0.113.5 nowhere 999 80\r\n"),
		BYTES("PROXY TCP6 ::1 nowhere 999 80\r\n"),
		BYTES("PROXY \n"), /* no CR */
		BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"),
		BYTES("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
		BYTES("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
		BYTES("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"),
		BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
		BYTES("PROXY TCP4 1.2.3.4 ::1 1 2\r\n"),
		BYTES("PROXY TCP6 ::1 1.2.3.4 1 2\r\n"),
		BYTES("PROXY TCP4\r\n"),
		BYTES(V2 "\x21\x31\0\0"), /* a Unix stream without its paths */
		BYTES("PROXY \r\n"),
		BYTES(V2 "\x11\x11\0\x0c\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0\x50"), /* version 1 in version 2's form */
		BYTES(V2 "\x22\x11\0\x0c\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0\x50"), /* no such command */
		BYTES(V2 "\x21\x12\0\x0c\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0\x50"), /* UDP */
		BYTES(V2 "\x21\x11\0\x0b\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0"),     /* too short for its family */
		BYTES(V2 "\x21\x21\0\x0c\xcb\0\x71\x05\x7f\0\0\x01\x03\xe7\0\x50"), /* IPv6 needs 36 bytes */
		BYTES(V2 "\x21\x11\xff\xff"),                                       /* longer than any address needs */
	};
	char address[IP_TEXT_MAX], line[128];
	size_t size;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(parse(bad[i], address, &size), PROXY_BAD);
	memset(line, 'x', sizeof line);
	memcpy(line, "PROXY ", 6);
	CHECK_EQ(parse(bytes_of(line, 106), address, &size), PROXY_MORE);
	CHECK_EQ(parse(bytes_of(line, 107), address, &size), PROXY_BAD);
}

TEST(ports_range_from_0_to_65535)
{
	good(BYTES("PROXY TCP4 203.0.113.5 127.0.0.1 0 65535\r\nG"), 42, "203.0.113.5");
}

TEST(a_unix_stream_has_no_address)
{
	uint8_t in[16 + 216 + 3] = V2 "\x21\x31\0\xd8"; /* two paths of 108 bytes */

	memcpy(in + 16 + 216, "GET", 3);
	good(bytes_of(in, sizeof in), 16 + 216, "");
}
