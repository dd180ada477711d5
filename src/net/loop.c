/* SPDX-License-Identifier: Apache-2.0 */
/* loop: see loop.h. Streams are edge-triggered in epoll; listening sockets are level-triggered, with EPOLLEXCLUSIVE. */
#include "net/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "base/counter.h"
#include "base/mem.h"
#include "net/tls.h"

#define ACCEPTS_PER_TURN 16 /* an accept costs several times as much as a message */
#define TURN_AWAY_MAX 4u    /* connections that are refused with 503 at once when descriptors are missing */
#define BACKOFF_MIN_MS 10u
#define BACKOFF_MAX_MS 1000u
#define WAKE_TRIES 8
/* A handshake step, failed or not, counts as so many bytes read in the turn, because it takes as much time. */
#define STEP_BYTES 32768u

static int watch(struct loop *l, struct source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(l->epfd, EPOLL_CTL_ADD, src->fd, &ev) < 0 ? -errno : 0;
}

static void unwatch(struct loop *l, struct source *src)
{
	struct epoll_event none = { 0 };

	(void)epoll_ctl(l->epfd, EPOLL_CTL_DEL, src->fd, &none);
}

static int open_sources(struct loop *l, bool with_timer)
{
	int r;

	l->wake = (struct source){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .kind = SOURCE_WAKE };
	if (l->wake.fd < 0)
		return -errno;
	if ((r = watch(l, &l->wake, EPOLLIN | EPOLLET)) < 0 || !with_timer)
		return r;
	l->timer = (struct source){ .fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
				    .kind = SOURCE_TIMER };
	if (l->timer.fd < 0)
		return -errno;
	return watch(l, &l->timer, EPOLLIN);
}

int loop_init(struct loop *l, const struct loop_ops *ops, bool with_timer)
{
	int r = -ENOMEM;

	*l = (struct loop){ .epfd = -1, .wake.fd = -1, .timer.fd = -1, .ops = ops };
	list_init(&l->ready);
	list_init(&l->bulk);
	list_init(&l->aside[0]);
	list_init(&l->aside[1]);
	l->recv_buf = mem_alloc(LOOP_RECV_BYTES);
	l->events = mem_calloc(LOOP_EVENTS, sizeof(struct epoll_event));
	if (!l->recv_buf || !l->events)
		goto fail;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		r = -errno;
		goto fail;
	}
	r = open_sources(l, with_timer);
	if (r == 0)
		return 0;
fail:
	loop_deinit(l);
	return r;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void loop_deinit(struct loop *l)
{
	close_fd(&l->timer.fd);
	close_fd(&l->wake.fd);
	close_fd(&l->epfd);
	mem_free(l->recv_buf);
	mem_free(l->events);
	tls_buffers_free(l->tls);
	l->tls = NULL;
	l->recv_buf = NULL;
	l->events = NULL;
}

int loop_fd(const struct loop *l)
{
	return l->epfd;
}

void loop_wake(struct loop *l)
{
	uint64_t one = 1, n;
	int saved = errno;

	for (int i = 0; i < WAKE_TRIES && write(l->wake.fd, &one, sizeof one) < 0; i++)
		if (errno == EAGAIN) /* the counter is full: empty it, so that the next write makes a new edge */
			(void)!read(l->wake.fd, &n, sizeof n);
	errno = saved;
}

bool loop_unfinished(const struct loop *l)
{
	return !list_empty(&l->ready) || !list_empty(&l->bulk);
}

void loop_arm(struct loop *l, uint64_t mono_ns)
{
	struct itimerspec at = { 0 };

	if (l->timer.fd < 0)
		return;
	if (mono_ns != UINT64_MAX) {
		mono_ns = mono_ns ? mono_ns : 1;
		at.it_value.tv_sec = (time_t)(mono_ns / 1000000000u);
		at.it_value.tv_nsec = (long)(mono_ns % 1000000000u);
	}
	(void)timerfd_settime(l->timer.fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void make_ready(struct stream *s)
{
	s->src.flags |= STREAM_READABLE;
	if (s->src.flags & (STREAM_PAUSED | STREAM_IN_LIST))
		return;
	s->src.flags |= STREAM_IN_LIST;
	list_push(s->src.flags & STREAM_BULK ? &s->loop->bulk : &s->loop->ready, &s->link);
}

static void unready(struct stream *s)
{
	list_remove(&s->link);
	s->src.flags &= (uint8_t)~STREAM_IN_LIST;
}

static void stream_event(struct stream *s, uint32_t events)
{
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->src.flags |= STREAM_HANGUP;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		make_ready(s);
	if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && (s->src.flags & STREAM_BLOCKED)) {
		s->src.flags &= (uint8_t)~STREAM_BLOCKED;
		if (!s->tls || tls_flush(s))
			s->loop->ops->on_writable(s);
	}
}

static void drain(struct source *src)
{
	uint64_t n;

	(void)!read(src->fd, &n, sizeof n);
}

/* Takes the listener out of the poll set for a while, because its socket stays readable. */
static void pause_listener(struct listener *ln, uint32_t backoff_ms)
{
	ln->backoff_ms = backoff_ms;
	ln->resume_ms = UINT64_MAX - 1; /* listener_tick() replaces it with a time */
	if (!ln->stopped)
		unwatch(ln->loop, &ln->src);
}

static void accept_error(struct listener *ln, int error)
{
	struct loop *l = ln->loop;
	uint32_t twice = ln->backoff_ms * 2;

	if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
		return;
	/*
	 * EMFILE, ENFILE, ENOBUFS, ENOMEM and network errors. Errors that mean a bad socket (EBADF, ENOTSOCK, EINVAL)
	 * are treated the same: one attempt per second costs nothing, and no error of accept() may end accepting.
	 */
	pause_listener(ln, twice < BACKOFF_MIN_MS ? BACKOFF_MIN_MS : twice > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : twice);
	l->ops->on_accept_error(l, error);
}

/* No free descriptor: refuses a few connections, then pauses, so that a flood of connections costs little. */
static void accept_none(struct listener *ln, int error)
{
	struct loop *l = ln->loop;
	int n = l->ops->turn_away ? l->ops->turn_away(l, ln, TURN_AWAY_MAX) : -error;

	if (n < 0) {
		accept_error(ln, -n);
		return;
	}
	pause_listener(ln, BACKOFF_MIN_MS);
	l->ops->on_accept_error(l, error);
}

static void accept_some(struct listener *ln)
{
	struct loop *l = ln->loop;

	for (int i = 0; i < ACCEPTS_PER_TURN && !ln->stopped && !ln->resume_ms; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;
		int fd = accept4(ln->src.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		counter_add(&l->n_accept, 1);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				accept_none(ln, errno);
			else
				accept_error(ln, errno);
			return;
		}
		ln->backoff_ms = 0;
		l->ops->on_accept(l, ln, fd, &peer, len);
	}
}

static void dispatch(struct loop *l, struct source *src, uint32_t events)
{
	switch ((enum source_kind)src->kind) {
	case SOURCE_STREAM:
		if (src->fd >= 0)
			stream_event((struct stream *)(void *)src, events);
		break;
	case SOURCE_LISTENER:
		accept_some((struct listener *)(void *)src);
		break;
	case SOURCE_WAKE:
		/* Edge-triggered: every write makes a new event, so the counter need not be read. */
		l->woken = true;
		break;
	case SOURCE_TIMER:
		drain(src);
		break;
	}
}

int loop_wait(struct loop *l, int timeout_ms)
{
	struct epoll_event *ev = l->events;
	int n;

	counter_add(&l->n_wait, 1);
	l->polled = 0;
	n = epoll_wait(l->epfd, ev, LOOP_EVENTS, timeout_ms);
	/* The process was stopped and continues: get the events of that time before a connection counts as silent. */
	if (n < 0 && errno == EINTR)
		n = epoll_wait(l->epfd, ev, LOOP_EVENTS, 0);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->crowded = n == LOOP_EVENTS ? l->crowded + 1 : 0;
	l->polled = (uint32_t)n;
	return 0;
}

/* One recv. Returns the bytes read, plus STEP_BYTES for each handshake step. */
static size_t read_once(struct loop *l, struct stream *s)
{
	size_t want = l->chop ? l->chop : s->src.flags & STREAM_BULK ? LOOP_RECV_BYTES : LOOP_READ_BYTES;
	ssize_t n;

	if (s->tls && tls_tell_end(s))
		return 0;
	counter_add(&l->n_recv, 1);
	n = recv(s->src.fd, l->recv_buf, want, 0);
	if (n > 0) {
		counter_add(&l->received_bytes, (uint64_t)n);
		if ((size_t)n == want)
			s->src.flags |= STREAM_BULK;
		else
			s->src.flags &= (uint8_t)~STREAM_BULK;
		/* A short read: no more bytes wait. After a hang-up the end itself must still be read. */
		if ((size_t)n < want && !(s->src.flags & STREAM_HANGUP))
			s->src.flags &= (uint8_t)~STREAM_READABLE;
		else
			make_ready(s);
		l->steps = 0;
		if (s->tls)
			tls_feed(s, l->recv_buf, (size_t)n);
		else
			l->ops->on_data(s, l->recv_buf, (size_t)n);
		return (size_t)n + (size_t)l->steps * STEP_BYTES;
	}
	if (n < 0 && errno == EINTR) {
		make_ready(s);
		return 0;
	}
	s->src.flags &= (uint8_t)~STREAM_READABLE;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	l->ops->on_end(s, n < 0 ? errno : 0);
	return 0;
}

/*
 * Reads one buffer from each stream on @now (taken off @list) until @budget is used up; for @bulk also until the turn's
 * time is used up. The streams left are read first in the next turn.
 */
static void read_list(struct loop *l, struct list *list, struct list *now, size_t budget, bool bulk)
{
	size_t total = 0;
	struct list *n;

	while (total < budget && !(bulk && total && l->ops->late(l)) && !l->ops->pressed(l) && (n = list_pop(now))) {
		struct stream *s = container_of(n, struct stream, link);

		s->src.flags &= (uint8_t)~STREAM_IN_LIST;
		if (!(s->src.flags & STREAM_PAUSED))
			total += read_once(l, s);
	}
	list_splice(now, list);
	list_splice(list, now);
}

void loop_read(struct loop *l)
{
	struct epoll_event *ev = l->events;
	struct list now, bulk;

	for (uint32_t i = 0; i < l->polled; i++)
		dispatch(l, ev[i].data.ptr, ev[i].events);
	list_init(&now);
	list_init(&bulk);
	/* Take both lists now: a stream that becomes bulk in this turn must not be read twice. */
	list_splice(&now, &l->ready);
	list_splice(&bulk, &l->bulk);
	read_list(l, &l->ready, &now, LOOP_TURN_BYTES, false);
	read_list(l, &l->bulk, &bulk, l->no_bulk ? 0 : LOOP_BULK_BYTES, true);
}

void loop_set_aside(struct loop *l)
{
	list_splice(&l->aside[0], &l->ready);
	list_splice(&l->aside[1], &l->bulk);
}

static void bring_back(struct list *list, struct list *aside)
{
	list_splice(aside, list);
	list_splice(list, aside);
}

void loop_bring_back(struct loop *l)
{
	bring_back(&l->ready, &l->aside[0]);
	bring_back(&l->bulk, &l->aside[1]);
}

int stream_open(struct loop *l, struct stream *s, int fd)
{
	int r;

	*s = (struct stream){ .src = { .fd = fd, .kind = SOURCE_STREAM }, .loop = l };
	list_init(&s->link);
	r = watch(l, &s->src, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (r < 0)
		s->src.fd = -1;
	return r;
}

int stream_detach(struct stream *s)
{
	int fd = s->src.fd;

	unready(s);
	unwatch(s->loop, &s->src);
	s->src.fd = -1;
	return fd;
}

void stream_close(struct stream *s)
{
	if (s->src.fd < 0)
		return;
	if (s->tls)
		tls_close(s);
	unready(s);
	/* close() does not remove it from epoll while a child that the program has just forked holds the socket too. */
	unwatch(s->loop, &s->src);
	close(s->src.fd);
	s->src.fd = -1;
}

void stream_abort(struct stream *s)
{
	struct linger now = { .l_onoff = 1 };

	if (s->src.fd >= 0)
		(void)setsockopt(s->src.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	stream_close(s);
}

void stream_pause(struct stream *s)
{
	s->src.flags |= STREAM_PAUSED;
	unready(s);
}

void stream_resume(struct stream *s)
{
	s->src.flags &= (uint8_t)~STREAM_PAUSED;
	if (s->src.fd >= 0 && (s->src.flags & STREAM_READABLE))
		make_ready(s);
}

ptrdiff_t stream_send(struct stream *s, const struct iovec *segment, int n)
{
	return s->tls ? tls_send(s, segment, n) : stream_send_raw(s, segment, n);
}

void stream_shutdown(struct stream *s)
{
	if (s->src.fd >= 0 && s->tls)
		tls_shutdown(s);
	else if (s->src.fd >= 0)
		(void)shutdown(s->src.fd, SHUT_WR);
}

int listener_open(struct loop *l, struct listener *ln, int fd, uint16_t tag)
{
	*ln = (struct listener){ .src = { .fd = fd, .kind = SOURCE_LISTENER }, .loop = l, .tag = tag };
	return watch(l, &ln->src, EPOLLIN | EPOLLEXCLUSIVE);
}

void listener_close(struct listener *ln)
{
	listener_stop(ln);
	ln->resume_ms = 0;
	ln->src.fd = -1;
}

void listener_stop(struct listener *ln)
{
	if (!ln->stopped && !ln->resume_ms && ln->src.fd >= 0)
		unwatch(ln->loop, &ln->src);
	ln->stopped = true;
}

/* Puts the listener back into the poll set. Without memory for that it pauses again, or it would never accept again. */
static void watch_again(struct listener *ln)
{
	if (watch(ln->loop, &ln->src, EPOLLIN | EPOLLEXCLUSIVE) == 0)
		return;
	ln->backoff_ms = BACKOFF_MAX_MS;
	ln->resume_ms = UINT64_MAX - 1;
}

void listener_start(struct listener *ln)
{
	if (ln->stopped && ln->src.fd >= 0 && !ln->resume_ms)
		watch_again(ln);
	ln->stopped = false;
}

uint64_t listener_deadline(const struct listener *ln)
{
	return !ln->resume_ms ? UINT64_MAX : ln->resume_ms == UINT64_MAX - 1 ? 0 : ln->resume_ms;
}

void listener_tick(struct listener *ln, uint64_t mono_ms)
{
	if (ln->resume_ms == UINT64_MAX - 1)
		ln->resume_ms = mono_ms + ln->backoff_ms;
	if (!ln->resume_ms || mono_ms < ln->resume_ms)
		return;
	ln->resume_ms = 0;
	if (!ln->stopped && ln->src.fd >= 0)
		watch_again(ln);
}
