/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel: as much of an operating system as a gateway sees, in memory and in one thread: sockets, epoll, clocks,
 * chance, threads that do not run by themselves. The linker puts it in the place of the product's calls to libc (ld
 * --wrap over the product's objects alone), so everything above it is the product as it stands. It is stricter than a
 * real one: a descriptor that is used after it was closed, closed twice or left open at the end stops the run, and so
 * does a send that could raise SIGPIPE.
 *
 * As in Linux: epoll reports an edge once and reads the readiness when it reports; a short recv has emptied the socket;
 * a short or refused send is followed by EPOLLOUT when the peer has read; the listening socket is level-triggered. The
 * clock stands still until the harness moves it.
 */
#ifndef WSC_TESTS_FUZZ_CONNECTION_KERNEL_H
#define WSC_TESTS_FUZZ_CONNECTION_KERNEL_H

#include "base/bytes.h"

#define KERNEL_CLIENTS 64 /* connections in one run */
#define KERNEL_WORKERS 4
#define KERNEL_IDLE (-2) /* kernel_slept(): it did not ask to sleep */

/* An empty machine. @seed: what getrandom() gives. */
void kernel_boot(uint64_t seed);
/* Aborts when the server has left anything open. */
void kernel_halt(void);

/* ---- time ---- */
uint64_t kernel_ms(void);
void kernel_pass_ms(uint64_t ms);
/* Every look at the clock costs this much, so that slices of time end. */
void kernel_creep_ns(uint32_t ns);
/* The timeout in ms of the last epoll_wait() that found nothing (-1: for ever); KERNEL_IDLE: it found something. */
int kernel_slept(void);
/* Would epoll_wait() on @epfd return at once? */
bool kernel_pending(int epfd);

/* ---- faults ---- */
/* The next accept4() fails with @error. */
void kernel_refuse_accept(int error);
/* Every @n-th recv and send is interrupted; 0: none. */
void kernel_interrupt(unsigned n);

/* ---- the threads that the program wanted ---- */
unsigned kernel_threads(void);
void *kernel_thread(unsigned i);

/* ---- the other ends ---- */
enum kernel_peer { PEER_LOOPBACK, PEER_STRANGER, PEER_PROXY, PEER_SIX };
/*
 * A client that connects and has room for @window unread bytes; its number, or -1: no listener, or too many clients.
 */
int kernel_connect(enum kernel_peer peer, uint16_t port, size_t window);
void kernel_write(int client, struct bytes data);
void kernel_fin(int client);
void kernel_reset(int client);
/* Takes the bytes that have come; valid until the next call of any kind. */
struct bytes kernel_read(int client);
/* Has the server ended its side, and has the client read all its bytes? */
bool kernel_ended(int client);
/* Does the server still hold a descriptor of it? */
bool kernel_held(int client);
/* Calls that the server has made, for a watchdog. */
uint64_t kernel_calls(void);

#endif
