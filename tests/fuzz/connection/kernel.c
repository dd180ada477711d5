/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel: see kernel.h. One table of descriptors with numbers far above the real ones; a call about any other
 * descriptor goes to libc. State is static: there is one machine at a time.
 */
#include "connection/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

#define FD_BASE 0x01000000
#define FDS (KERNEL_CLIENTS + 64)
#define EVENTS_OF_A_HANGUP (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)

enum kind { FREE, STREAM, LISTENER, EPOLL, EVENTFD, TIMERFD };

struct file {
	enum kind kind;
	/* registration: the product needs at most one epoll per descriptor, but for a listener */
	int epoll[KERNEL_WORKERS];
	void *ptr[KERNEL_WORKERS];
	uint32_t events[KERNEL_WORKERS];
	bool edge[KERNEL_WORKERS];
	unsigned watchers;
	/* stream */
	int client;     /* its other end; -1: none */
	uint16_t port;  /* listener */
	uint64_t count; /* eventfd */
};

struct client {
	bool used, accepted, held; /* held: the server has a descriptor of it */
	int fd;
	uint16_t port;
	enum kernel_peer peer;
	struct buf in; /* to the server */
	size_t in_at;
	bool in_fin, reset;
	struct buf out, taken; /* from the server */
	size_t window;
	bool out_fin, out_full;
	bool turned_away; /* accepted without a look at its address, and refused at once for want of a descriptor */
};

static struct {
	struct file file[FDS];
	struct client client[KERNEL_CLIENTS];
	int nclients;
	uint64_t mono_ns, wall_ns, chance, calls;
	uint32_t creep;
	int slept;
	int accept_error;
	unsigned interrupt, interrupted;
	void *thread[KERNEL_WORKERS];
	unsigned threads;
} k;

__attribute__((noreturn)) static void oops(const char *what, int fd)
{
	fprintf(stderr, "kernel: %s (descriptor %d)\n", what, fd);
	abort();
}

static bool ours(int fd)
{
	return fd >= FD_BASE && fd < FD_BASE + FDS;
}

static struct file *file_of(int fd)
{
	struct file *f = &k.file[fd - FD_BASE];

	k.calls++;
	if (f->kind == FREE)
		oops("a descriptor that is not open is used", fd);
	return f;
}

static struct client *stream_of(int fd)
{
	struct file *f = file_of(fd);

	if (f->kind != STREAM)
		oops("not a stream", fd);
	return &k.client[f->client];
}

static int open_file(enum kind kind)
{
	for (int i = 0; i < FDS; i++)
		if (k.file[i].kind == FREE) {
			k.file[i] = (struct file){ .kind = kind, .client = -1 };
			return FD_BASE + i;
		}
	errno = EMFILE;
	return -1;
}

void kernel_boot(uint64_t seed)
{
	memset(&k, 0, sizeof k);
	k.chance = seed | 1;
	k.mono_ns = 1000000000000u;
	k.wall_ns = 1800000000000000000u;
	k.slept = KERNEL_IDLE;
}

void kernel_halt(void)
{
	for (int i = 0; i < FDS; i++)
		if (k.file[i].kind != FREE)
			oops("left open", FD_BASE + i);
	for (int i = 0; i < k.nclients; i++) {
		buf_deinit(&k.client[i].in);
		buf_deinit(&k.client[i].out);
		buf_deinit(&k.client[i].taken);
	}
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

uint64_t kernel_ms(void)
{
	return k.mono_ns / 1000000u;
}

void kernel_pass_ms(uint64_t ms)
{
	k.mono_ns += ms * 1000000u;
	k.wall_ns += ms * 1000000u;
}

void kernel_creep_ns(uint32_t ns)
{
	k.creep = ns;
}

int kernel_slept(void)
{
	return k.slept;
}

void kernel_refuse_accept(int error)
{
	k.accept_error = error;
}

void kernel_interrupt(unsigned n)
{
	k.interrupt = n;
}

static bool interrupted(void)
{
	return k.interrupt && ++k.interrupted % k.interrupt == 0;
}

uint64_t kernel_calls(void)
{
	return k.calls;
}

unsigned kernel_threads(void)
{
	return k.threads;
}

void *kernel_thread(unsigned i)
{
	return k.thread[i];
}

/* ---- readiness ------------------------------------------------------------------------------------------------------ */

static bool has_room(const struct client *c)
{
	return c->out.len < c->window;
}

static uint32_t ready(const struct file *f)
{
	uint32_t ev = 0;

	if (f->kind == STREAM) {
		const struct client *c = &k.client[f->client];

		if (c->in.len > c->in_at)
			ev |= EPOLLIN;
		if (c->in_fin)
			ev |= EPOLLIN | EPOLLRDHUP;
		if (c->in_fin && c->out_fin)
			ev |= EPOLLHUP;
		if (c->reset)
			ev |= EVENTS_OF_A_HANGUP | EPOLLOUT;
		if (has_room(c))
			ev |= EPOLLOUT;
	} else if (f->kind == LISTENER) {
		for (int i = 0; i < k.nclients; i++)
			if (!k.client[i].accepted && k.client[i].port == f->port)
				ev |= EPOLLIN;
	} else if (f->count) {
		ev |= EPOLLIN;
	}
	return ev;
}

/* Something has happened to it. */
static void edge(struct file *f)
{
	for (unsigned i = 0; i < f->watchers; i++)
		f->edge[i] = true;
}

static void edge_of_client(const struct client *c)
{
	if (c->held)
		edge(&k.file[c->fd - FD_BASE]);
}

/* ---- the other ends --------------------------------------------------------------------------------------------------- */

static bool anybody_listens(uint16_t port)
{
	for (int i = 0; i < FDS; i++)
		if (k.file[i].kind == LISTENER && k.file[i].port == port)
			return true;
	return false;
}

int kernel_connect(enum kernel_peer peer, uint16_t port, size_t window)
{
	if (k.nclients == KERNEL_CLIENTS || !anybody_listens(port))
		return -1;
	k.client[k.nclients] = (struct client){ .used = true, .fd = -1, .port = port, .peer = peer, .window = window };
	return k.nclients++;
}

void kernel_write(int client, struct bytes data)
{
	struct client *c = &k.client[client];

	if (c->in_fin || c->reset || (c->accepted && !c->held))
		return;
	buf_add(&c->in, data);
	edge_of_client(c);
}

void kernel_fin(int client)
{
	k.client[client].in_fin = true;
	edge_of_client(&k.client[client]);
}

void kernel_reset(int client)
{
	k.client[client].reset = true;
	edge_of_client(&k.client[client]);
}

struct bytes kernel_read(int client)
{
	struct client *c = &k.client[client];
	struct buf t = c->taken;

	c->taken = c->out;
	c->out = t;
	buf_clear(&c->out);
	if (c->out_full) {
		c->out_full = false;
		edge_of_client(c);
	}
	return buf_bytes(&c->taken);
}

bool kernel_ended(int client)
{
	const struct client *c = &k.client[client];

	return c->out.len == 0 && (c->out_fin || (c->accepted && !c->held));
}

bool kernel_held(int client)
{
	return k.client[client].held;
}

/* ---- what the server calls ---------------------------------------------------------------------------------------------- */

int __wrap_close(int fd);
int __wrap_close(int fd)
{
	struct file *f;

	if (!ours(fd))
		return close(fd);
	f = file_of(fd);
	if (f->kind == STREAM)
		k.client[f->client].held = false;
	if (f->kind == LISTENER)
		for (int i = 0; i < k.nclients; i++)
			k.client[i].accepted |= k.client[i].port == f->port; /* refused: no descriptor will hold it */
	f->kind = FREE;
	return 0;
}

int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
	(void)flags;
	return open_file(EPOLL);
}

int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags)
{
	(void)count;
	(void)flags;
	return open_file(EVENTFD);
}

/* The spare descriptor is a duplicate of an open one. */
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (!ours(fd))
		return fcntl(fd, cmd, arg);
	if (cmd != F_DUPFD_CLOEXEC)
		oops("fcntl with another command", fd);
	return open_file(EVENTFD);
}

int __wrap_timerfd_create(clockid_t clock, int flags);
int __wrap_timerfd_create(clockid_t clock, int flags)
{
	(void)clock;
	(void)flags;
	return open_file(TIMERFD);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
	(void)flags;
	(void)at;
	(void)old;
	(void)file_of(fd);
	return 0;
}

static int watcher_of(const struct file *f, int epfd)
{
	if (f->kind == FREE)
		return -1;
	for (unsigned i = 0; i < f->watchers; i++)
		if (f->epoll[i] == epfd)
			return (int)i;
	return -1;
}

/* The events that epoll must report now to watcher @w of @f. */
static uint32_t to_tell(const struct file *f, int w)
{
	if (!f->edge[w] && (f->events[w] & EPOLLET))
		return 0;
	return ready(f) & (f->events[w] | EPOLLERR | EPOLLHUP);
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct file *f = file_of(fd);
	int i = watcher_of(f, epfd);
	unsigned last;

	if (file_of(epfd)->kind != EPOLL)
		oops("not an epoll descriptor", epfd);
	if (op == EPOLL_CTL_ADD && i < 0 && f->watchers < KERNEL_WORKERS) {
		i = (int)f->watchers++;
		f->epoll[i] = epfd;
	} else if (op == EPOLL_CTL_ADD) {
		errno = EEXIST;
		return -1;
	} else if (i < 0) {
		errno = ENOENT;
		return -1;
	} else if (op == EPOLL_CTL_DEL) {
		last = --f->watchers;
		f->epoll[i] = f->epoll[last];
		f->ptr[i] = f->ptr[last];
		f->events[i] = f->events[last];
		f->edge[i] = f->edge[last];
		return 0;
	}
	f->ptr[i] = ev->data.ptr;
	f->events[i] = ev->events;
	f->edge[i] = true;
	return 0;
}

int __wrap_epoll_wait(int epfd, struct epoll_event *out, int max, int timeout);
int __wrap_epoll_wait(int epfd, struct epoll_event *out, int max, int timeout)
{
	int n = 0;

	if (file_of(epfd)->kind != EPOLL)
		oops("not an epoll descriptor", epfd);
	for (int i = 0; i < FDS && n < max; i++) {
		struct file *f = &k.file[i];
		int w = watcher_of(f, epfd);
		uint32_t ev = w < 0 ? 0 : to_tell(f, w);

		if (w >= 0)
			f->edge[w] = false;
		if (ev)
			out[n++] = (struct epoll_event){ .events = ev, .data.ptr = f->ptr[w] };
	}
	k.slept = n || timeout == 0 ? KERNEL_IDLE : timeout;
	return n;
}

bool kernel_pending(int epfd)
{
	for (int i = 0; i < FDS; i++) {
		int w = watcher_of(&k.file[i], epfd);

		if (w >= 0 && to_tell(&k.file[i], w))
			return true;
	}
	return false;
}

ssize_t __wrap_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n)
{
	struct file *f;

	if (!ours(fd))
		return write(fd, data, n);
	f = file_of(fd);
	if (f->kind != EVENTFD)
		oops("write to something that is no eventfd", fd);
	f->count++;
	edge(f);
	return (ssize_t)n;
}

ssize_t __wrap_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n)
{
	struct file *f;

	if (!ours(fd))
		return read(fd, data, n);
	f = file_of(fd);
	f->count = 0;
	return (ssize_t)n;
}

ssize_t __wrap_recv(int fd, void *data, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t n, int flags)
{
	struct client *c = stream_of(fd);
	size_t have = c->in.len - c->in_at;

	if (flags & ~MSG_PEEK)
		oops("recv with another flag", fd);
	if (n == 0)
		oops("recv of nothing", fd);
	errno = EINTR;
	if (interrupted())
		return -1;
	if (have > n)
		have = n;
	if (have) {
		memcpy(data, c->in.at + c->in_at, have);
		c->in_at += flags & MSG_PEEK ? 0 : have;
		if (c->in_at == c->in.len) {
			buf_clear(&c->in);
			c->in_at = 0;
		}
		return (ssize_t)have;
	}
	errno = c->reset ? ECONNRESET : EAGAIN;
	return c->in_fin && !c->reset ? 0 : -1;
}

static ssize_t send_some(int fd, const void *data, size_t n, int flags)
{
	struct client *c = stream_of(fd);
	size_t room;

	if (!(flags & MSG_NOSIGNAL))
		oops("a send that can raise SIGPIPE", fd);
	if (c->out_fin)
		oops("bytes behind the end of our side", fd);
	errno = EINTR;
	if (!c->turned_away && interrupted())
		return -1;
	errno = ECONNRESET;
	if (c->reset)
		return -1;
	room = c->out.len < c->window ? c->window - c->out.len : 0;
	/* The buffer of a socket that has sent nothing takes a kilobyte, whatever its peer reads. */
	if (c->turned_away && !c->out.len && room < 1024)
		room = 1024;
	if (n > room) {
		c->out_full = true;
		n = room;
	}
	errno = EAGAIN;
	if (n == 0)
		return -1;
	buf_add(&c->out, bytes_of(data, n));
	return (ssize_t)n;
}

ssize_t __wrap_send(int fd, const void *data, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t n, int flags)
{
	return send_some(fd, data, n, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	struct buf all = BUF_INIT;
	ssize_t n;

	for (size_t i = 0; i < mh->msg_iovlen; i++)
		buf_add(&all, bytes_of(mh->msg_iov[i].iov_base, mh->msg_iov[i].iov_len));
	n = send_some(fd, all.at, all.len, flags);
	buf_deinit(&all);
	return n;
}

int __wrap_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how)
{
	if (file_of(fd)->kind == STREAM && how == SHUT_WR)
		stream_of(fd)->out_fin = true;
	return 0;
}

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	(void)domain;
	(void)type;
	(void)protocol;
	return open_file(LISTENER);
}

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in;

	memcpy(&in, sa, len < sizeof in ? len : sizeof in);
	file_of(fd)->port = ntohs(in.sin_port);
	return 0;
}

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	(void)file_of(fd);
	(void)backlog;
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	(void)file_of(fd);
	(void)level;
	(void)name;
	(void)value;
	(void)len;
	return 0;
}

int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(file_of(fd)->port) };

	memcpy(sa, &in, sizeof in < *len ? sizeof in : *len);
	*len = sizeof in;
	return 0;
}

static socklen_t address_of(enum kernel_peer peer, struct sockaddr *sa, socklen_t room)
{
	static const uint8_t v4[][4] = { { 127, 0, 0, 1 }, { 192, 0, 2, 7 }, { 10, 0, 0, 1 } };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr.s6_addr = { 0x20, 1, 0xd, 0xb8, [15] = 9 } };

	if (peer == PEER_SIX) {
		memcpy(sa, &in6, sizeof in6 < room ? sizeof in6 : room);
		return sizeof in6;
	}
	memcpy(&in.sin_addr, v4[peer], 4);
	memcpy(sa, &in, sizeof in < room ? sizeof in : room);
	return sizeof in;
}

int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	int error = k.accept_error;

	(void)flags;
	if (file_of(fd)->kind != LISTENER)
		oops("accept on something that does not listen", fd);
	k.accept_error = 0;
	for (int i = 0; i < k.nclients && !error; i++) {
		struct client *c = &k.client[i];

		if (c->accepted || c->port != k.file[fd - FD_BASE].port)
			continue;
		c->fd = open_file(STREAM);
		if (c->fd < 0)
			return -1;
		c->accepted = c->held = true;
		k.file[c->fd - FD_BASE].client = i;
		c->turned_away = !sa;
		if (sa)
			*len = address_of(c->peer, sa, *len);
		return c->fd;
	}
	errno = error ? error : EAGAIN;
	return -1;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	uint64_t ns;

	k.mono_ns += k.creep;
	k.wall_ns += k.creep;
	ns = clock == CLOCK_REALTIME ? k.wall_ns : k.mono_ns;
	*out = (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
	return 0;
}

ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags)
{
	uint8_t *at = out;

	(void)flags;
	for (size_t i = 0; i < n; i++) {
		k.chance ^= k.chance << 13;
		k.chance ^= k.chance >> 7;
		k.chance ^= k.chance << 17;
		at[i] = (uint8_t)k.chance;
	}
	return (ssize_t)n;
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	(void)attr;
	(void)run;
	if (k.threads == KERNEL_WORKERS)
		return EAGAIN;
	memset(t, 0, sizeof *t);
	k.thread[k.threads++] = arg;
	return 0;
}

int __wrap_pthread_join(pthread_t t, void **result);
int __wrap_pthread_join(pthread_t t, void **result)
{
	(void)t;
	(void)result;
	return 0;
}

/* The names that FORTIFY gives these calls. */
ssize_t __wrap___recv_chk(int fd, void *data, size_t n, size_t room, int flags);
ssize_t __wrap___recv_chk(int fd, void *data, size_t n, size_t room, int flags)
{
	(void)room;
	return __wrap_recv(fd, data, n, flags);
}

ssize_t __wrap___read_chk(int fd, void *data, size_t n, size_t room);
ssize_t __wrap___read_chk(int fd, void *data, size_t n, size_t room)
{
	(void)room;
	return __wrap_read(fd, data, n);
}
