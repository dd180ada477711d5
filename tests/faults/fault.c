/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: see fault.h. One wrapper for each row of calls.def. After a forged EAGAIN or a forged short count, the wrapper
 * arms an edge-triggered descriptor again, as if the rest, or the room, had come a moment later.
 */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>

#define DESCRIPTORS 65536
#define TIMERS 16
#define LOOK_NS 10000u /* the cost of a look at the bent clock: a slice of time ends in a turn, too */

const char *const call_names[CALLS] = {
#define CALL(name, ...) [CALL_##name] = #name,
#define MEMORY(name)
#define PLAIN(name)
#include "calls.def"
};

#define MEMORY(name)
#define PLAIN(name)
#define CALL(name, ...) static const int errors_of_##name[] = { __VA_ARGS__, 0 };
#include "calls.def"

const int *const call_errors[CALLS] = {
#define MEMORY(name)
#define PLAIN(name)
#define CALL(name, ...) [CALL_##name] = errors_of_##name,
#include "calls.def"
};

/* ---- the plan ----------------------------------------------------------------------------------------------------------- */

static struct fault plan;
static _Atomic bool armed, paused, hit;
static _Atomic unsigned long calls[CALLS], allocations;

void fault_arm(const struct fault *f)
{
	plan = *f;
	for (int i = 0; i < CALLS; i++)
		calls[i] = 0;
	allocations = 0;
	hit = false;
	paused = false;
	armed = true;
}

void fault_pause(bool on)
{
	paused = on;
}

void fault_disarm(void)
{
	armed = false;
}

bool fault_hit(void)
{
	return hit;
}

unsigned long fault_calls(enum call call)
{
	return calls[call];
}

unsigned long fault_allocations(void)
{
	return allocations;
}

const char *fault_text(void)
{
	static char text[160];
	char number[48];

	snprintf(number, sizeof number, "%snumber %lu%s", plan.ever ? "from " : "", plan.k, plan.ever ? " on" : "");
	if (plan.kind == FAULT_NONE || plan.k == 0)
		snprintf(text, sizeof text, "without a fault");
	else if (plan.kind == FAULT_MEMORY)
		snprintf(text, sizeof text, "allocation %s fails", number);
	else
		snprintf(text, sizeof text, "%s %s: %s", call_names[plan.call], number,
			 plan.error == SHORT ? "SHORT" : strerrorname_np(plan.error));
	return text;
}

static bool due(unsigned long n)
{
	bool now = plan.k && (n == plan.k || (plan.ever && n > plan.k));

	if (now)
		hit = true;
	return now;
}

/* 0: do it; an errno: fail; SHORT. */
static int fault_of(enum call call)
{
	unsigned long n;

	if (!armed || paused)
		return 0;
	n = ++calls[call];
	return plan.kind == FAULT_CALL && plan.call == call && due(n) ? plan.error : 0;
}

static bool out_of_memory(void)
{
	unsigned long n;

	if (!armed || paused)
		return false;
	n = ++allocations;
	return plan.kind == FAULT_MEMORY && due(n);
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */

static _Atomic long blocks;

long live_blocks(void)
{
	return blocks;
}

static void *counted(void *p)
{
	if (p)
		blocks++;
	return p;
}

#define WRAPPER(type, name, ...)         \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

static void *refused(void)
{
	errno = ENOMEM;
	return NULL;
}

WRAPPER(void *, malloc, size_t n)
{
	return out_of_memory() ? refused() : counted(__real_malloc(n));
}

WRAPPER(void *, calloc, size_t count, size_t size)
{
	return out_of_memory() ? refused() : counted(__real_calloc(count, size));
}

WRAPPER(void *, realloc, void *p, size_t n)
{
	if (out_of_memory())
		return refused();
	return p ? __real_realloc(p, n) : counted(__real_realloc(NULL, n));
}

WRAPPER(void *, aligned_alloc, size_t align, size_t n)
{
	return out_of_memory() ? refused() : counted(__real_aligned_alloc(align, n));
}

WRAPPER(char *, strdup, const char *s)
{
	return out_of_memory() ? refused() : counted(__real_strdup(s));
}

WRAPPER(void, free, void *p)
{
	if (p)
		blocks--;
	__real_free(p);
}

/* ---- descriptors -------------------------------------------------------------------------------------------------------- */

static _Atomic bool open_fd[DESCRIPTORS];
static _Atomic long descriptors;
static _Atomic unsigned long twice;
static bool own_kind[DESCRIPTORS]; /* an event or a timer: fails in two ways only */
/* How an edge-triggered descriptor was registered. */
static struct watched {
	int epfd;
	struct epoll_event event;
} watched[DESCRIPTORS];

long live_descriptors(void)
{
	return descriptors;
}

unsigned long closed_twice(void)
{
	return twice;
}

static int opened(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS && !atomic_exchange(&open_fd[fd], true)) {
		descriptors++;
		watched[fd].epfd = -1;
		own_kind[fd] = false;
	}
	return fd;
}

static int opened_own_kind(int fd)
{
	if (opened(fd) >= 0 && fd < DESCRIPTORS)
		own_kind[fd] = true;
	return fd;
}

static bool cannot_fail_so(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && own_kind[fd] && plan.kind == FAULT_CALL && plan.error != EAGAIN &&
	       plan.error != EINTR;
}

void descriptor_given(int fd)
{
	(void)opened(fd);
}

void descriptor_taken(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS && atomic_exchange(&open_fd[fd], false))
		descriptors--;
	else
		twice++;
}

/* Makes the epoll descriptor report the true state again. */
static void edge(int fd)
{
	int saved = errno;
	struct watched *w = fd >= 0 && fd < DESCRIPTORS ? &watched[fd] : NULL;
	int __real_epoll_ctl(int, int, int, struct epoll_event *);

	if (w && w->epfd >= 0)
		(void)__real_epoll_ctl(w->epfd, EPOLL_CTL_MOD, fd, &w->event);
	errno = saved;
}

static ssize_t failed(int fd, int error)
{
	if (error == EAGAIN)
		edge(fd);
	errno = error;
	return -1;
}

/* ---- the clock ------------------------------------------------------------------------------------------------------------ */

static _Atomic bool bent;
static _Atomic uint64_t mono_ns, wall_ns;
static struct {
	int fd;
	uint64_t at_ns; /* 0: not armed */
	bool expired;   /* made to expire, and not armed again since: the kernel takes a moment */
} timer[TIMERS];

int __real_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);

/* A real timer that has expired, or one that never will. */
static int show_timer(int fd, bool expired)
{
	struct itimerspec at = { .it_value.tv_nsec = expired };

	return __real_timerfd_settime(fd, 0, &at, NULL);
}

static void show_timers(void)
{
	for (int i = 0; i < TIMERS; i++)
		if (timer[i].at_ns && timer[i].at_ns <= mono_ns) {
			timer[i].at_ns = 0;
			timer[i].expired = true;
			(void)show_timer(timer[i].fd, true);
		}
}

bool clock_timer_expired(void)
{
	for (int i = 0; i < TIMERS; i++)
		if (timer[i].expired)
			return true;
	return false;
}

void clock_bend(bool on)
{
	mono_ns = 1000000u * 1000000000ull;
	wall_ns = 1770000000u * 1000000000ull; /* 2026 */
	memset(timer, 0, sizeof timer);
	bent = on;
}

void clock_pass(uint64_t ms)
{
	mono_ns += ms * 1000000;
	wall_ns += ms * 1000000;
	show_timers();
}

void clock_step(int64_t ms)
{
	wall_ns += (uint64_t)ms * 1000000;
}

WRAPPER(int, clock_gettime, clockid_t id, struct timespec *t)
{
	uint64_t ns;

	(void)fault_of(CALL_clock_gettime);
	if (!bent)
		return __real_clock_gettime(id, t);
	if (id == CLOCK_MONOTONIC)
		ns = atomic_fetch_add(&mono_ns, LOOK_NS) + LOOK_NS;
	else
		ns = wall_ns;
	*t = (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
	return 0;
}

WRAPPER(int, timerfd_settime, int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
	int e = fault_of(CALL_timerfd_settime), i = 0;

	if (e)
		return (int)failed(fd, e);
	if (!bent)
		return __real_timerfd_settime(fd, flags, at, old);
	while (i < TIMERS - 1 && timer[i].fd != fd && timer[i].fd != 0)
		i++;
	timer[i].fd = fd;
	timer[i].expired = false;
	timer[i].at_ns = (uint64_t)at->it_value.tv_sec * 1000000000u + (uint64_t)at->it_value.tv_nsec;
	(void)show_timer(fd, false);
	show_timers();
	return 0;
}

/* ---- calls that make or end a descriptor --------------------------------------------------------------------------------- */

WRAPPER(int, accept4, int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	int e = fault_of(CALL_accept4);

	return e ? (int)failed(fd, e) : opened(__real_accept4(fd, sa, len, flags));
}

WRAPPER(int, epoll_create1, int flags)
{
	int e = fault_of(CALL_epoll_create1);

	return e ? (int)failed(-1, e) : opened(__real_epoll_create1(flags));
}

WRAPPER(int, eventfd, unsigned n, int flags)
{
	int e = fault_of(CALL_eventfd);

	return e ? (int)failed(-1, e) : opened_own_kind(__real_eventfd(n, flags));
}

WRAPPER(int, timerfd_create, int clock, int flags)
{
	int e = fault_of(CALL_timerfd_create);

	return e ? (int)failed(-1, e) : opened_own_kind(__real_timerfd_create(clock, flags));
}

WRAPPER(int, socket, int domain, int type, int protocol)
{
	int e = fault_of(CALL_socket);

	return e ? (int)failed(-1, e) : opened(__real_socket(domain, type, protocol));
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	int e = fault_of(CALL_open64), mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	return e ? (int)failed(-1, e) : opened(__real_open64(path, flags, mode));
}

/* Linux gives the descriptor back in any case. */
WRAPPER(int, close, int fd)
{
	int e = fault_of(CALL_close), r;

	descriptor_taken(fd);
	r = __real_close(fd);
	return e ? (int)failed(-1, e) : r;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------------------- */

static size_t less(size_t n)
{
	return n > 1 ? n / 2 : n;
}

WRAPPER(ssize_t, recv, int fd, void *buf, size_t n, int flags)
{
	int e = fault_of(CALL_recv);
	ssize_t r;

	if (e > 0)
		return failed(fd, e);
	r = __real_recv(fd, buf, e == SHORT && n > 1024 ? (plan.ever ? 1024 : 1) : n, flags);
	if (e == SHORT)
		edge(fd);
	return r;
}

WRAPPER(ssize_t, send, int fd, const void *buf, size_t n, int flags)
{
	int e = fault_of(CALL_send);
	ssize_t r;

	if (e > 0)
		return failed(fd, e);
	r = __real_send(fd, buf, e == SHORT ? less(n) : n, flags);
	if (e == SHORT)
		edge(fd);
	return r;
}

WRAPPER(ssize_t, sendmsg, int fd, const struct msghdr *m, int flags)
{
	int e = fault_of(CALL_sendmsg);
	ssize_t r;

	if (e > 0)
		return failed(fd, e);
	if (e != SHORT)
		return __real_sendmsg(fd, m, flags);
	r = __real_send(fd, m->msg_iov->iov_base, less(m->msg_iov->iov_len), flags);
	edge(fd);
	return r;
}

WRAPPER(ssize_t, read, int fd, void *buf, size_t n)
{
	int e = cannot_fail_so(fd) ? 0 : fault_of(CALL_read);

	return e > 0 ? failed(fd, e) : __real_read(fd, buf, e == SHORT && n ? 1 : n);
}

WRAPPER(ssize_t, pread64, int fd, void *buf, size_t n, off_t at)
{
	int e = fault_of(CALL_pread64);

	return e > 0 ? failed(fd, e) : __real_pread64(fd, buf, e == SHORT && n ? 1 : n, at);
}

/* Of an event descriptor's eight bytes nothing less is taken. */
WRAPPER(ssize_t, write, int fd, const void *buf, size_t n)
{
	int e = cannot_fail_so(fd) ? 0 : fault_of(CALL_write);

	return e > 0 ? failed(fd, e) : __real_write(fd, buf, e == SHORT && n > 8 ? n / 2 : n);
}

WRAPPER(ssize_t, getrandom, void *buf, size_t n, unsigned flags)
{
	int e = fault_of(CALL_getrandom);

	return e > 0 ? failed(-1, e) : __real_getrandom(buf, e == SHORT ? less(n) : n, flags);
}

/* ---- all others ------------------------------------------------------------------------------------------------------------ */

WRAPPER(int, epoll_ctl, int epfd, int op, int fd, struct epoll_event *event)
{
	bool impossible = plan.kind == FAULT_CALL && (op == EPOLL_CTL_DEL) != (plan.error == ENOENT);
	int e = impossible ? 0 : fault_of(CALL_epoll_ctl);

	if (e == ENOENT) /* then it is not there */
		(void)__real_epoll_ctl(epfd, op, fd, event);
	if (e)
		return (int)failed(-1, e);
	/* A listening socket has several loops and is level-triggered, so it is not noted. */
	if (fd >= 0 && fd < DESCRIPTORS && op == EPOLL_CTL_DEL && watched[fd].epfd == epfd)
		watched[fd].epfd = -1;
	else if (fd >= 0 && fd < DESCRIPTORS && op != EPOLL_CTL_DEL && (event->events & EPOLLET))
		watched[fd] = (struct watched){ epfd, *event };
	return __real_epoll_ctl(epfd, op, fd, event);
}

WRAPPER(int, epoll_wait, int epfd, struct epoll_event *event, int n, int ms)
{
	int e = fault_of(CALL_epoll_wait);

	return e ? (int)failed(-1, e) : __real_epoll_wait(epfd, event, n, ms);
}

int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
	int e = fault_of(CALL_fcntl64);
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (e)
		return (int)failed(fd, e);
	return cmd == F_DUPFD_CLOEXEC ? opened(__real_fcntl64(fd, cmd, arg)) : __real_fcntl64(fd, cmd, arg);
}

WRAPPER(int, pthread_create, pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	int e = fault_of(CALL_pthread_create);

	return e ? e : __real_pthread_create(t, attr, run, arg);
}

#define SIMPLE(type, name, params, args)                             \
	type __real_##name params;                                   \
	type __wrap_##name params;                                   \
	type __wrap_##name params                                    \
	{                                                            \
		int e = fault_of(CALL_##name);                       \
                                                                     \
		return e ? (type)failed(-1, e) : __real_##name args; \
	}

SIMPLE(int, bind, (int fd, const struct sockaddr *sa, socklen_t len), (fd, sa, len))
SIMPLE(int, chmod, (const char *path, mode_t mode), (path, mode))
SIMPLE(int, connect, (int fd, const struct sockaddr *sa, socklen_t len), (fd, sa, len))
SIMPLE(int, fchmod, (int fd, mode_t mode), (fd, mode))
SIMPLE(int, gethostname, (char *name, size_t n), (name, n))
SIMPLE(int, getpeername, (int fd, struct sockaddr *sa, socklen_t *len), (fd, sa, len))
SIMPLE(int, getrlimit64, (int what, struct rlimit *l), (what, l))
SIMPLE(int, getsockname, (int fd, struct sockaddr *sa, socklen_t *len), (fd, sa, len))
SIMPLE(int, listen, (int fd, int backlog), (fd, backlog))
SIMPLE(int, lstat64, (const char *path, struct stat *st), (path, st))
SIMPLE(int, madvise, (void *at, size_t n, int advice), (at, n, advice))
SIMPLE(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
SIMPLE(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len))
SIMPLE(int, shutdown, (int fd, int how), (fd, how))
SIMPLE(long, sysconf, (int name), (name))
SIMPLE(int, unlink, (const char *path), (path))
