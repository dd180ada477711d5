/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: one epoll descriptor, the sockets on it, and the receive buffer it lends. Completion-shaped: a stream asks for
 * bytes and is told when they came; it offers bytes and is told how many were taken. Knows no protocol and no session.
 *
 * What always holds: every socket is registered once, edge-triggered; one recv per ready stream and turn, a short one is the
 * end of what is there (no second recv to hear EAGAIN); bytes given to on_data are good until it returns; a stream is not
 * touched after stream_close(). The owner may close any stream from any callback: its memory must stay until loop_read()
 * has returned (the worker frees at the end of its turn).
 */
#ifndef WSC_NET_LOOP_H
#define WSC_NET_LOOP_H

#include <sys/uio.h>
#include "base/bytes.h"
#include "base/list.h"

#define LOOP_RECV_BYTES 32768u          /* one receive buffer: more at once costs latency and saves nothing */
#define LOOP_READ_BYTES 8192u           /* read of a stream that is not known to have more */
#define LOOP_TURN_BYTES (1024u * 1024u) /* read per turn, all streams together */
#define LOOP_BULK_BYTES (256u * 1024u)  /* read per turn of streams that had more the last time */
#define LOOP_EVENTS 1024

struct loop;
struct stream;
struct listener;
struct tls;
struct tls_buffers;

enum source_kind { SOURCE_STREAM, SOURCE_LISTENER, SOURCE_WAKE, SOURCE_TIMER };

/* First member of whatever epoll may name. */
struct source {
	int fd;
	uint8_t kind; /* enum source_kind */
	uint8_t flags;
};

enum stream_flag {
	STREAM_PAUSED = 1,   /* the owner does not want bytes now */
	STREAM_READABLE = 2, /* there may be bytes (or an end) to read */
	STREAM_HANGUP = 4,   /* the peer has shut down or reset: read until the end shows */
	STREAM_BLOCKED = 8,  /* the socket took less than it was offered */
	STREAM_IN_LIST = 16,
	STREAM_BULK = 32, /* its last read was cut short: it is read behind those that have little to say */
	STREAM_MOVED = 64 /* the socket has taken bytes since stream_moved() */
};

struct stream {
	struct source src;

	struct loop *loop;
	struct list link; /* the loop's; the owner's while the stream is paused or closed */
	struct tls *tls;  /* NULL: plain. tls.h */
};

/* Called on the loop's thread, from within loop_read(). */
struct loop_ops {
	/* @data may be changed in place (unmasking) and is lent until return. */
	void (*on_data)(struct stream *s, uint8_t *data, size_t len);
	/* The peer has ended its side (error 0) or the connection broke (errno). No more on_data. */
	void (*on_end)(struct stream *s, int error);
	/* A stream that was blocked takes bytes again. */
	void (*on_writable)(struct stream *s);
	/* A connection has come; @fd is the callee's (non-blocking). */
	void (*on_accept)(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len);
	/* accept() failed with @error for want of descriptors or memory; the listener pauses by itself. */
	void (*on_accept_error)(struct loop *l, int error);
	/* Should the turn stop reading (a queue is over its limit)? */
	bool (*pressed)(struct loop *l);
	/* Has the turn had its time? Then one at most is read of those who talk without end. */
	bool (*late)(struct loop *l);
	/*
	 * There was no descriptor to accept with: gives up one that was kept for this, takes at most @max connections with it,
	 * refuses them and has it back. How many; negative: -errno, nobody could be taken. NULL: nothing is kept.
	 */
	int (*turn_away)(struct loop *l, struct listener *from, unsigned max);
};

struct listener {
	struct source src;
	struct loop *loop;
	uint64_t resume_ms; /* paused for want of descriptors until then; 0: not paused */
	uint32_t backoff_ms;
	bool stopped; /* taken out of the poll set by the owner */
	uint16_t tag; /* the owner's */
};

struct loop {
	int epfd;
	struct source wake, timer;
	const struct loop_ops *ops;
	uint8_t *recv_buf;
	struct tls_buffers *tls; /* NULL as long as no stream speaks TLS */
	struct list ready;       /* streams that may have bytes */
	struct list bulk;        /* the same, with STREAM_BULK */
	struct list aside[2];    /* both, between loop_set_aside() and loop_bring_back() */
	bool woken;
	uint32_t polled;  /* streams that became ready in the last loop_wait() */
	uint32_t crowded; /* polls in a row without room for more; epoll goes round, so each saw LOOP_EVENTS others */
	uint32_t steps;   /* tls.c's: what the bytes last read have cost beside being read, in steps of a handshake */
	bool no_bulk;     /* the owner's: those who talk without end are not read now */
	/* Test mode: 0 off; else every read and write is cut to this many bytes, so that all splits are met. */
	uint32_t chop;
	/* Counts of system calls, so that a test can say what a message costs. Single writer, relaxed. */
	_Atomic uint64_t n_recv, n_send, n_wait, n_accept;
	void *events;
};

/* 0 or -errno. @with_timer: deadlines must show on loop_fd() (a host program polls it). */
int loop_init(struct loop *l, const struct loop_ops *ops, bool with_timer);
void loop_deinit(struct loop *l);
/* The one descriptor that is readable when there is something to do. */
int loop_fd(const struct loop *l);
/* From any thread: loop_wait() returns. Async-signal-safe. */
void loop_wake(struct loop *l);
/* Waits at most @timeout_ms (-1: for ever) for events and calls nobody, so that the owner can look at the clock first. 0 or -errno. */
int loop_wait(struct loop *l, int timeout_ms);
/*
 * Tells what the wait has found, then reads the ready streams, one buffer each, until all had their turn, LOOP_TURN_BYTES are
 * read or ops->pressed() says so. Of each a little, which is enough to know those who talk without end: they come last, and
 * LOOP_BULK_BYTES are for all of them together, and what is left of the turn's time: they delay each other.
 */
void loop_read(struct loop *l);
/* Sets the streams that are ready aside, so that the next look reads only others; and puts them in front again. */
void loop_set_aside(struct loop *l);
void loop_bring_back(struct loop *l);
/* Are there streams that were not read to the end? Then the next loop_wait() must not sleep. */
bool loop_unfinished(const struct loop *l);
/* With a timer: shows a deadline on loop_fd(); UINT64_MAX: none. 0 shows readiness at once. */
void loop_arm(struct loop *l, uint64_t mono_ns);

/* 0 or -errno; @fd is non-blocking and becomes the stream's. */
int stream_open(struct loop *l, struct stream *s, int fd);
/* Takes the descriptor out of the loop, unclosed, so that another loop may have it. */
int stream_detach(struct stream *s);
void stream_close(struct stream *s);
/* The same with a reset: what the kernel still holds for the peer is thrown away. For one that does not take it. */
void stream_abort(struct stream *s);
static inline bool stream_is_open(const struct stream *s)
{
	return s->src.fd >= 0;
}
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
static inline bool stream_paused(const struct stream *s)
{
	return s->src.flags & STREAM_PAUSED;
}
static inline bool stream_blocked(const struct stream *s)
{
	return s->src.flags & STREAM_BLOCKED;
}
/*
 * Offers bytes; returns how many the loop has taken (they may be reused at once). Fewer than offered, 0 included: the
 * socket is full, on_writable comes when it is not. Negative: -errno, the connection is broken. With TLS the socket may be
 * full although all was taken: stream_blocked() tells, and stream_holds() that some of it has not left yet.
 */
ptrdiff_t stream_send(struct stream *s, const struct iovec *piece, int n);
/*
 * Has the socket taken bytes since this was last asked? What TLS has encrypted leaves later than it was taken, and in parts.
 */
static inline bool stream_moved(struct stream *s)
{
	bool moved = s->src.flags & STREAM_MOVED;

	s->src.flags &= (uint8_t)~STREAM_MOVED;
	return moved;
}
/* The same as stream_send() below TLS; for tls.c. */
ptrdiff_t stream_send_raw(struct stream *s, const struct iovec *piece, int n);
/* No more bytes will be sent (FIN), once what TLS holds is out. */
void stream_shutdown(struct stream *s);

/* @fd listens already and may be shared with other loops; it is not closed by the loop. */
int listener_open(struct loop *l, struct listener *ln, int fd, uint16_t tag);
void listener_close(struct listener *ln);
/* Takes it out of the poll set, and back in. */
void listener_stop(struct listener *ln);
void listener_start(struct listener *ln);
/* When a paused listener wants to be tried again (UINT64_MAX: is not paused), and trying it. */
uint64_t listener_deadline(const struct listener *ln);
void listener_tick(struct listener *ln, uint64_t mono_ms);

#endif
