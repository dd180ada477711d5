/* SPDX-License-Identifier: Apache-2.0 */
/* addr: see addr.h. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_on(int fd, const struct sockaddr *sa, socklen_t len, int backlog)
{
	if (bind(fd, sa, len) < 0 || listen(fd, backlog) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* True when no server listens on this socket file: a server that crashed left it. Otherwise the address is in use. */
static bool unix_stale(const struct sockaddr_un *un, socklen_t len)
{
	struct stat st;
	int fd, r;

	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	/* Non-blocking: EAGAIN means that a server is there and its backlog is full. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	r = connect(fd, (const struct sockaddr *)un, len) < 0 ? errno : 0;
	close(fd);
	return r == ECONNREFUSED;
}

static int listen_unix(const char *path, const struct listen_options *o)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	int fd;

	if (n == 0 || n >= sizeof un.sun_path)
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, n + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (unix_stale(&un, len))
		unlink(path);
	/*
	 * Other users must not reach the socket, not even for the moment before a chmod() (CVE-2023-45145). umask()
	 * would change the whole program.
	 */
	(void)fchmod(fd, 0660);
	fd = listen_on(fd, (const struct sockaddr *)&un, len, o->backlog);
	if (fd >= 0)
		(void)chmod(path, 0660); /* sets the bits that the umask removed */
	return fd;
}

void addr_tune(int fd, const struct listen_options *o)
{
	int one = 1;

	/* On a Unix socket these fail, and that is fine. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (o->kernel_queue)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &o->kernel_queue, sizeof o->kernel_queue);
	if (o->user_timeout_ms)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &o->user_timeout_ms, sizeof o->user_timeout_ms);
}

static bool to_sockaddr(const char *ip, uint16_t port, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof *ss);
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof *v4;
		return true;
	}
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof *v6;
		return true;
	}
	return false;
}

static uint16_t port_of(const struct sockaddr_storage *ss)
{
	return ntohs(ss->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)ss)->sin6_port
					       : ((const struct sockaddr_in *)ss)->sin_port);
}

int addr_listen(const char *ip, uint16_t port, const struct listen_options *o, uint16_t *port_out)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, one = 1;

	*port_out = 0;
	if (strncmp(ip, "unix:", 5) == 0)
		return listen_unix(ip + 5, o);
	if (!to_sockaddr(ip, port, &ss, &len))
		return -EINVAL;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (o->v6_only) /* fails on IPv4, and that is fine */
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	addr_tune(fd, o);
	fd = listen_on(fd, (struct sockaddr *)&ss, len, o->backlog);
	if (fd < 0)
		return fd;
	len = sizeof ss;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) { /* an unknown port is of no use */
		int r = -errno;

		close(fd);
		return r;
	}
	*port_out = port_of(&ss);
	return fd;
}
