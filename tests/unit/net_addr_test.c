/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_addr: listening sockets as they are opened: addresses, ports, inherited options, and Unix sockets left behind or
 * still in use.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/addr.h"
#include "test.h"

static const struct listen_options usual = { .backlog = 16, .kernel_queue = 65536, .user_timeout_ms = 90000 };

TEST(port_zero_takes_a_free_port_and_reports_it)
{
	uint16_t a = 0, b = 0;
	int fd = addr_listen("127.0.0.1", 0, &usual, &a), again;

	CHECK(fd >= 0);
	CHECK(a != 0);
	again = addr_listen("127.0.0.1", a, &usual, &b);
	CHECK_EQ(again, -EADDRINUSE);
	CHECK_EQ(b, 0);
	close(fd);
	fd = addr_listen("127.0.0.1", a, &usual, &b); /* at once: no waiting for old connections */
	CHECK(fd >= 0);
	CHECK_EQ(b, a);
	close(fd);
}

TEST(text_that_is_no_address_is_refused)
{
	static const char *const bad[] = { "",    "localhost", "256.0.0.1",    "1.2.3",
					   "::g", "[::1]",     "127.0.0.1:80", "unix:" };
	uint16_t port;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(addr_listen(bad[i], 0, &usual, &port) < 0);
	CHECK_EQ(addr_listen("192.0.2.1", 0, &usual, &port), -EADDRNOTAVAIL);
}

TEST(six_and_four_can_share_a_port)
{
	uint16_t port, same;
	int six = addr_listen("::1", 0, &usual, &port), four;

	if (six == -EADDRNOTAVAIL || six == -EAFNOSUPPORT)
		return; /* no IPv6 here */
	CHECK(six >= 0);
	four = addr_listen("127.0.0.1", port, &usual, &same);
	CHECK(four >= 0 || four == -EADDRINUSE); /* another process may have the port */
	if (four >= 0)
		close(four);
	close(six);
}

TEST(accepted_sockets_inherit_the_options_of_the_listener)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss, n = sizeof(int);
	uint16_t port;
	int lfd = addr_listen("127.0.0.1", 0, &usual, &port), fd = socket(AF_INET, SOCK_STREAM, 0), got, value = 0;

	CHECK_EQ(getsockname(lfd, (struct sockaddr *)&ss, &len), 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&ss, len), 0);
	got = accept(lfd, NULL, NULL);
	CHECK(got >= 0);
	CHECK_EQ(getsockopt(got, IPPROTO_TCP, TCP_NODELAY, &value, &n), 0);
	CHECK(value != 0);
	CHECK_EQ(getsockopt(got, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &n), 0);
	CHECK_EQ(value, 65536);
	CHECK_EQ(getsockopt(got, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &n), 0);
	CHECK_EQ(value, 90000);
	close(got);
	close(fd);
	close(lfd);
}

/* ---- Unix sockets ------------------------------------------------------------------------------------------------------ */

struct place {
	char dir[32], path[64], address[80];
};

static void place_init(struct place *p)
{
	strcpy(p->dir, "/tmp/wsc-addr-XXXXXX");
	if (!mkdtemp(p->dir))
		abort();
	snprintf(p->path, sizeof p->path, "%s/socket", p->dir);
	snprintf(p->address, sizeof p->address, "unix:%s", p->path);
}

static void place_end(struct place *p)
{
	unlink(p->path);
	CHECK_EQ(rmdir(p->dir), 0);
}

static int dial(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(un.sun_path, path);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	close(fd);
	return -errno;
}

/* Shows: threat 111 */
TEST(a_unix_socket_is_for_owner_and_group_under_any_umask_and_leaves_the_umask_unchanged)
{
	static const mode_t masks[] = { 0, 022, 077 };
	struct place p;
	struct stat st;
	uint16_t port;

	for (size_t i = 0; i < 3; i++) {
		mode_t before = umask(masks[i]);
		int fd;

		place_init(&p);
		fd = addr_listen(p.address, 8080, &usual, &port);
		CHECK(fd >= 0);
		CHECK_EQ(port, 0);
		CHECK_EQ(stat(p.path, &st), 0);
		CHECK_EQ(st.st_mode & 0777, 0660);
		CHECK_EQ(umask(before), masks[i]);
		close(fd);
		place_end(&p);
	}
}

TEST(a_socket_file_without_a_listener_is_replaced)
{
	struct place p;
	uint16_t port;
	int fd, client;

	place_init(&p);
	fd = addr_listen(p.address, 0, &usual, &port);
	CHECK(fd >= 0);
	close(fd); /* as a crash would: the file stays */
	CHECK_EQ(dial(p.path), -ECONNREFUSED);
	fd = addr_listen(p.address, 0, &usual, &port);
	CHECK(fd >= 0);
	client = dial(p.path);
	CHECK(client >= 0);
	close(client);
	close(fd);
	place_end(&p);
}

TEST(a_running_server_keeps_its_socket_also_when_its_backlog_is_full)
{
	struct listen_options tiny = { .backlog = 0 };
	struct place p;
	uint16_t port;
	int fd, waiting[64], n = 0;

	place_init(&p);
	fd = addr_listen(p.address, 0, &tiny, &port);
	CHECK(fd >= 0);
	CHECK_EQ(addr_listen(p.address, 0, &usual, &port), -EADDRINUSE);
	while (n < 64 && (waiting[n] = dial(p.path)) >= 0)
		n++;
	CHECK_EQ(waiting[n < 64 ? n : 63], -EAGAIN);
	CHECK_EQ(addr_listen(p.address, 0, &usual, &port), -EADDRINUSE);
	while (n > 0)
		close(waiting[--n]);
	close(fd);
	place_end(&p);
}

/* Shows: threat 111 */
TEST(a_file_that_is_no_socket_is_never_touched)
{
	struct place p;
	struct stat st;
	uint16_t port;
	FILE *f;

	place_init(&p);
	f = fopen(p.path, "w");
	CHECK(f != NULL);
	fputs("precious", f);
	fclose(f);
	CHECK_EQ(addr_listen(p.address, 0, &usual, &port), -EADDRINUSE);
	CHECK_EQ(stat(p.path, &st), 0);
	CHECK_EQ(st.st_size, 8);
	place_end(&p);
}

/* Shows: threat 110 */
TEST(a_path_that_does_not_fit_is_refused)
{
	char path[256] = "unix:/tmp/";
	uint16_t port;

	memset(path + 10, 'x', 200);
	CHECK_EQ(addr_listen(path, 0, &usual, &port), -ENAMETOOLONG);
	CHECK_EQ(addr_listen("unix:/tmp/no-such-directory/socket", 0, &usual, &port), -ENOENT);
}
