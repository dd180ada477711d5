/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept: new connections from the listening sockets. When no descriptor is left, the spare one is closed to accept a few
 * clients and to refuse them with 503, and then reopened.
 */
#include "http/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "http/http.h"

#define FULL_MAX 512u
#define ACCEPT_RESERVE 64u /* connections beyond the cap that are still told 503 */

/* A duplicate of the loop's own descriptor, so that no file needs to be in reach. */
bool accept_keep_spare(struct shard *sh)
{
	int none = -1, fd = fcntl(sh->loop.epfd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0 && !atomic_compare_exchange_strong(&sh->set->shared.spare_fd, &none, fd))
		close(fd);
	return fd >= 0;
}

/* Does the client at @from speak TLS? Where both are accepted, the first byte tells, if it is there yet. */
static bool wants_tls(const struct settings *set, const struct listener *from, int fd)
{
	uint8_t first;

	if (!set->tls.server)
		return false;
	if (from->tag >= set->tls.own_from)
		return true;
	return set->tls.same_port && recv(fd, &first, 1, MSG_PEEK) == 1 && first == TLS_FIRST_BYTE;
}

/* The answer to a client when no descriptor is left; returns its length. */
static size_t write_full(char out[FULL_MAX])
{
	const char *why = end_why(END_NO_DESCRIPTOR), *code = api_code_text(end_code(END_NO_DESCRIPTOR));
	char body[FULL_MAX / 2];
	int n = snprintf(body, sizeof body, "{\"success\":false,\"error\":\"%s\",\"message\":null,\"code\":\"%s\"}",
			 why, code);

	return (size_t)snprintf(out, FULL_MAX,
				"HTTP/1.1 %u Service Unavailable\r\nContent-Type: " JSON_TYPE "\r\n"
				"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
				api_code_status(end_code(END_NO_DESCRIPTOR)), n, body);
}

/* In one send, without a connection object, so that it costs no memory and no second look. */
static void refuse_full(struct shard *sh, const struct listener *from, int fd)
{
	static const char alert[] = "\x15\x03\x03\x00\x02\x02\x50"; /* RFC 8446 §6: fatal, internal_error */
	bool tls = wants_tls(sh->set, from, fd);
	char request[4096], answer[FULL_MAX];

	counter_add(&sh->metrics.connections_refused[end_code(END_NO_DESCRIPTOR)], 1);
	(void)!send(fd, tls ? alert : answer, tls ? sizeof alert - 1 : write_full(answer), MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	/* Unread bytes would make the close a reset, and the answer might be lost with it. */
	(void)!recv(fd, request, sizeof request, 0);
	close(fd);
}

void accept_on_connection(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len)
{
	struct shard *sh = shard_of_loop(l);
	struct ip ip = { 0 };
	uint64_t n;

	/* Another worker has consumed the spare: this descriptor is the last one, and becomes the spare. */
	if (atomic_load_explicit(&sh->set->shared.spare_fd, memory_order_relaxed) < 0 && !accept_keep_spare(sh)) {
		refuse_full(sh, from, fd);
		(void)accept_keep_spare(sh);
		return;
	}
	if (peer_len >= sizeof(sa_family_t))
		ip = ip_of_sockaddr(peer);
	n = atomic_fetch_add(&sh->set->shared.connections, 1) + 1;
	if (n >= sh->set->max_connections + ACCEPT_RESERVE)
		for (unsigned i = 0; i < sh->nlisteners; i++)
			listener_stop(&sh->listeners[i]);
	(void)http_accept(sh, fd, &ip, sh->set->tls.server && from->tag >= sh->set->tls.own_from);
}

void accept_on_error(struct loop *l, int error)
{
	struct shard *sh = shard_of_loop(l);
	uint64_t now = now_ms(sh->now), last = atomic_load(&sh->set->shared.accept_error_ms);

	/* While stopping, accept() fails because the sockets are shut. */
	if (atomic_load_explicit(&sh->set->shared.draining, memory_order_relaxed))
		return;
	/* A lack of descriptors is a state, not an event: once in ten seconds is enough, from whichever worker. */
	if ((last && now - last < 10000) ||
	    !atomic_compare_exchange_strong(&sh->set->shared.accept_error_ms, &last, now))
		return;
	if (error == EMFILE || error == ENFILE)
		shard_problem(sh, WSC_ERROR, "accept",
			      error == EMFILE
				      ? "no descriptor is left for new connections (ulimit -n, LimitNOFILE): 503"
				      : "the system has no descriptor left for new connections (fs.file-max): 503");
	else
		shard_problem_errno(sh, "accept", error);
}

int accept_turn_away(struct loop *l, struct listener *from, unsigned max)
{
	struct shard *sh = shard_of_loop(l);
	int spare = atomic_exchange(&sh->set->shared.spare_fd, -1), fd = 0;
	unsigned n = 0;

	if (spare < 0) {
		(void)accept_keep_spare(sh);
		return -EMFILE;
	}
	close(spare);
	while (n < max && (fd = accept4(from->src.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		refuse_full(sh, from, fd);
		n++;
	}
	fd = fd < 0 ? -errno : 0;
	(void)accept_keep_spare(sh);
	return n ? (int)n : fd;
}
