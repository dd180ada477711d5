/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: one epoll descriptor, the sockets on it, and the receive buffer that it lends. Works by completion: a callback
 * brings the bytes that were received; a send returns how many bytes were accepted. Knows no protocol and no session.
 *
 * Always true: every socket is registered once, edge-triggered; one recv per ready stream and turn, and a short recv
 * means that no more bytes wait (no second recv that only returns EAGAIN); bytes given to on_data are valid until it
 * returns; a stream is not touched after stream_close(). The owner may close any stream from any callback: its memory
 * must stay until loop_read() has returned (the worker frees at the end of its turn).
 */
#ifndef WSC_NET_LOOP_H
#define WSC_NET_LOOP_H

#include <sys/uio.h>
#include "base/bytes.h"
#include "base/list.h"

#define LOOP_RECV_BYTES 32768u          /* the receive buffer: a larger one adds latency and saves nothing */
#define LOOP_READ_BYTES 8192u           /* read at once from a stream that is not in bulk */
#define LOOP_TURN_BYTES (1024u * 1024u) /* read per turn from all streams together */
#define LOOP_BULK_BYTES (256u * 1024u)  /* read per turn from all streams in bulk together */
#define LOOP_EVENTS 1024

struct loop;
struct stream;
struct listener;
struct tls;
struct tls_buffers;

enum source_kind { SOURCE_STREAM, SOURCE_LISTENER, SOURCE_WAKE, SOURCE_TIMER };

/* The first member of every struct that an epoll event may point to. */
struct source {
	int fd;
	uint8_t kind; /* enum source_kind */
	uint8_t flags;
};

enum stream_flag {
	STREAM_PAUSED = 1,   /* the owner does not want bytes now */
	STREAM_READABLE = 2, /* there may be bytes (or the end) to read */
	STREAM_HANGUP = 4,   /* the peer has shut down or reset: read until recv() returns the end */
	STREAM_BLOCKED = 8,  /* the socket accepted less than it was offered */
	STREAM_IN_LIST = 16,
	STREAM_BULK = 32, /* in bulk: its last read filled the buffer, so it is read after the other streams */
	STREAM_MOVED = 64 /* the socket has accepted bytes since the last stream_moved() */
};

struct stream {
	struct source src;

	struct loop *loop;
	struct list link; /* on loop->ready or loop->bulk; for the owner while the stream is paused or closed */
	struct tls *tls;  /* NULL: plain. tls.h */
};

/* Called on the loop's thread, from within loop_read(). */
struct loop_ops {
	/* @data may be changed in place (unmasking) and is valid until return. */
	void (*on_data)(struct stream *s, uint8_t *data, size_t len);
	/* The peer has ended its side (error 0) or the connection broke (errno). No more on_data. */
	void (*on_end)(struct stream *s, int error);
	/* A stream that was blocked accepts bytes again. */
	void (*on_writable)(struct stream *s);
	/* A connection was accepted; the callee owns @fd (non-blocking). */
	void (*on_accept)(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len);
	/* accept() failed with @error because descriptors or memory are missing; the listener pauses by itself. */
	void (*on_accept_error)(struct loop *l, int error);
	/* Should the turn stop reading (a queue is over its limit)? */
	bool (*pressed)(struct loop *l);
	/* Is the turn's time used up? Then at most one stream in bulk is read. */
	bool (*late)(struct loop *l);
	/*
	 * accept() found no free descriptor: closes the spare descriptor, accepts at most @max connections in its
	 * place, refuses them and reopens the spare. Returns how many it refused; negative: -errno, it could accept
	 * none. NULL: there is no spare descriptor.
	 */
	int (*turn_away)(struct loop *l, struct listener *from, unsigned max);
};

struct listener {
	struct source src;
	struct loop *loop;
	uint64_t resume_ms; /* paused after an error of accept() until then; 0: not paused */
	uint32_t backoff_ms;
	bool stopped; /* taken out of the poll set by the owner */
	uint16_t tag; /* for the owner */
};

struct loop {
	int epfd;
	struct source wake, timer;
	const struct loop_ops *ops;
	uint8_t *recv_buf;
	struct tls_buffers *tls; /* NULL until a stream uses TLS */
	struct list ready;       /* streams that may have bytes */
	struct list bulk;        /* the same, with STREAM_BULK */
	struct list aside[2];    /* @ready and @bulk, between loop_set_aside() and loop_bring_back() */
	bool woken;
	uint32_t polled;  /* streams that became ready in the last loop_wait() */
	uint32_t crowded; /* polls in a row that filled @events; epoll rotates, so each returned LOOP_EVENTS others */
	uint32_t steps;   /* set by tls.c: the handshake steps that the last bytes read have caused */
	bool no_bulk;     /* set by the owner: streams in bulk are not read now */
	/* Test mode: 0 is off; else every read and write is cut to this many bytes, so that tests meet all splits. */
	uint32_t chop;
	/* Counts of system calls, so that a test can check how many a message needs. Single writer, relaxed. */
	_Atomic uint64_t n_recv, n_send, n_wait, n_accept;
	/* For the metrics: bytes of streams as the network has them, encrypted ones included; handshakes that have ended. */
	_Atomic uint64_t received_bytes, sent_bytes, tls_ok, tls_failed;
	void *events;
};

/* 0 or -errno. @with_timer: loop_fd() becomes readable at deadlines too (the program polls it). */
int loop_init(struct loop *l, const struct loop_ops *ops, bool with_timer);
void loop_deinit(struct loop *l);
/* The descriptor that is readable when there is something to do. */
int loop_fd(const struct loop *l);
/* From any thread: loop_wait() returns. Async-signal-safe. */
void loop_wake(struct loop *l);
/*
 * Waits at most @timeout_ms (-1: for ever) for events. Calls no callback, so that the owner can read the clock first.
 * 0 or -errno.
 */
int loop_wait(struct loop *l, int timeout_ms);
/*
 * Handles the events of the last loop_wait(), then reads the ready streams, one buffer each, until all were read once,
 * LOOP_TURN_BYTES are read or ops->pressed() returns true. A stream that fills LOOP_READ_BYTES is in bulk until a read
 * does not fill the buffer. Streams in bulk are read last; together they get LOOP_BULK_BYTES and the rest of the turn's
 * time, so they delay only each other.
 */
void loop_read(struct loop *l);
/*
 * Puts the ready streams aside, so that the next loop_read() reads only other streams; then puts them in front again.
 */
void loop_set_aside(struct loop *l);
void loop_bring_back(struct loop *l);
/* Are there streams with bytes left to read? Then the next loop_wait() must not sleep. */
bool loop_unfinished(const struct loop *l);
/* With a timer: makes loop_fd() readable at @mono_ns; UINT64_MAX: never; 0: at once. */
void loop_arm(struct loop *l, uint64_t mono_ns);

/* 0 or -errno; @fd is non-blocking and the stream owns it from now on. */
int stream_open(struct loop *l, struct stream *s, int fd);
/* Takes the descriptor out of the loop without closing it, so that another loop can use it. */
int stream_detach(struct stream *s);
void stream_close(struct stream *s);
/* Closes with a reset: the kernel discards the bytes that it still holds for a peer that does not read them. */
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
 * Offers bytes; returns how many the loop has accepted (their memory may be reused at once). Fewer than offered, 0
 * included: the socket is full; on_writable is called when it has room. Negative: -errno, the connection is broken.
 * With TLS the socket may be full although all bytes were accepted: stream_blocked() tells that, and stream_holds()
 * tells that some of them are not sent yet.
 */
ptrdiff_t stream_send(struct stream *s, const struct iovec *segment, int n);
/*
 * Has the socket accepted bytes since the last call? With TLS it does so later than the stream accepted them, in parts.
 */
static inline bool stream_moved(struct stream *s)
{
	bool moved = s->src.flags & STREAM_MOVED;

	s->src.flags &= (uint8_t)~STREAM_MOVED;
	return moved;
}
/* stream_send() without TLS; for tls.c. */
ptrdiff_t stream_send_raw(struct stream *s, const struct iovec *segment, int n);
/* Ends the sending side (FIN) after the ciphertext that TLS holds is sent. */
void stream_shutdown(struct stream *s);

/* @fd listens already and may be shared with other loops; it is not closed by the loop. */
int listener_open(struct loop *l, struct listener *ln, int fd, uint16_t tag);
void listener_close(struct listener *ln);
/* Takes it out of the poll set, and back in. */
void listener_stop(struct listener *ln);
void listener_start(struct listener *ln);
/* listener_deadline(): when to call listener_tick() for a paused listener; UINT64_MAX: it is not paused. */
uint64_t listener_deadline(const struct listener *ln);
void listener_tick(struct listener *ln, uint64_t mono_ms);

#endif
