/* SPDX-License-Identifier: Apache-2.0 */
/* node_port 0 and several addresses: one port for all of them, also where the first one's is taken on another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "test.h"
#include "wsc/wsc.h"

/* Sockets that may still not have their port at 127.0.0.2, and the port that the last of them asked for. */
static unsigned taken;
static uint16_t refused;

/* Replaces libc's bind(), because a test cannot make another process take a port between two calls. */
int bind_or_taken(int fd, const struct sockaddr *sa, socklen_t len) __asm__("bind");
int bind_or_taken(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in = { 0 };

	memcpy(&in, sa, len < sizeof in ? len : sizeof in);
	if (in.sin_family == AF_INET && in.sin_addr.s_addr == htonl(0x7f000002) && taken) {
		taken--;
		refused = ntohs(in.sin_port);
		errno = EADDRINUSE;
		return -1;
	}
	return (int)syscall(SYS_bind, fd, sa, len);
}

/* Not started. The caller frees the gateway. */
static struct wsc_gateway *gateway_at(const char *addresses, const char *port)
{
	struct wsc_config *config = wsc_config_new();
	struct wsc_gateway *gw;

	wsc_config_set(config, "node_ip", addresses);
	wsc_config_set(config, "node_port", port);
	gw = wsc_new(config, NULL);
	wsc_config_free(config);
	if (!gw)
		abort();
	return gw;
}

/* 0, or errno. */
static int knock(uint32_t ip, uint16_t port)
{
	struct sockaddr_in in = { AF_INET, htons(port), { htonl(ip) }, { 0 } };
	int fd = socket(AF_INET, SOCK_STREAM, 0), r = 0;

	if (connect(fd, (struct sockaddr *)&in, sizeof in) < 0)
		r = errno;
	close(fd);
	return r;
}

TEST(a_free_port_in_use_at_another_address_is_given_up_for_a_port_free_at_all_addresses)
{
	char path[64], addresses[160];
	struct wsc_gateway *gw;

	snprintf(path, sizeof path, "/tmp/wsc-listen-%d.sock", (int)getpid());
	snprintf(addresses, sizeof addresses, "[\"unix:%s\", \"127.0.0.1\", \"127.0.0.2\"]", path);
	gw = gateway_at(addresses, "0");
	taken = 3;
	if (CHECK_EQ(wsc_open(gw), 0)) {
		CHECK_EQ(taken, 0);
		CHECK(wsc_port(gw) != refused);
		CHECK_EQ(knock(0x7f000001, wsc_port(gw)), 0);
		CHECK_EQ(knock(0x7f000002, wsc_port(gw)), 0);
		CHECK_EQ(knock(0x7f000001, refused), ECONNREFUSED);
		CHECK_EQ(access(path, F_OK), 0);
	}
	wsc_free(gw);
	CHECK(access(path, F_OK) < 0);
}

TEST(a_search_for_a_port_that_only_the_first_address_can_have_ends_after_a_few_tries)
{
	struct wsc_gateway *gw = gateway_at("[\"127.0.0.1\", \"127.0.0.2\"]", "0");
	char want[128];

	taken = 1000000;
	CHECK_EQ(wsc_open(gw), -WSC_EADDRINUSE);
	CHECK(taken < 1000000 - 1 && taken > 1000000 - 100);
	taken = 0;
	snprintf(want, sizeof want, "cannot listen on 127.0.0.2 port %u: Address already in use", refused);
	CHECK(strncmp(wsc_error_text(gw), want, strlen(want)) == 0);
	CHECK_EQ(knock(0x7f000001, refused), ECONNREFUSED);
	wsc_free(gw);
}

TEST(a_port_that_the_configuration_names_is_tried_once)
{
	struct wsc_gateway *gw = gateway_at("[\"127.0.0.2\"]", "4711");

	taken = 1000000;
	CHECK_EQ(wsc_open(gw), -WSC_EADDRINUSE);
	CHECK_EQ(taken, 1000000 - 1);
	CHECK_EQ(refused, 4711);
	taken = 0;
	wsc_free(gw);
}
