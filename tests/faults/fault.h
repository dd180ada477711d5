/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: the product's calls to libc go through wrappers that the linker puts in (--wrap, calls.def), so that the
 * product has no hook of its own and the release costs nothing. A plan makes one call fail, or one and all behind it.
 * The tests themselves call REAL(name): only the product's calls are counted, fail and are watched.
 *
 * The clock is here too: when it is bent, it stands still until clock_pass(), and the timer descriptors follow it.
 */
#ifndef WSC_TESTS_FAULTS_FAULT_H
#define WSC_TESTS_FAULTS_FAULT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum call {
#define CALL(name, ...) CALL_##name,
#define MEMORY(name)
#define PLAIN(name)
#include "calls.def"
	CALLS
};

/* Beside the errno of errno.h: success with fewer bytes than asked for. */
#define SHORT (-1)

extern const char *const call_names[CALLS];
/* Ends with 0. */
extern const int *const call_errors[CALLS];

struct fault {
	enum { FAULT_NONE, FAULT_MEMORY, FAULT_CALL } kind;
	enum call call; /* FAULT_CALL: this one fails with @error */
	int error;
	unsigned long k; /* the k-th time from now; 0: never, calls are counted */
	bool ever;       /* and all behind it */
};

/* Counting begins anew. */
void fault_arm(const struct fault *f);
void fault_disarm(void);
/* While paused, the product's calls are not counted and do not fail. */
void fault_pause(bool paused);
/* Has the fault of the last plan happened? */
bool fault_hit(void);
/* Calls and allocations since fault_arm(). */
unsigned long fault_calls(enum call call);
unsigned long fault_allocations(void);
/* The armed plan as text; static. */
const char *fault_text(void);

/* How many blocks and descriptors the product holds, correct at any time. */
long live_blocks(void);
long live_descriptors(void);
/* The test hands a descriptor over to the product, or takes one back. */
void descriptor_given(int fd);
void descriptor_taken(int fd);
/* How many times the product closed a descriptor that was not open: always a bug. */
unsigned long closed_twice(void);

/* From now on both clocks stand still (but for some microseconds a look); false: they are the system's again. */
void clock_bend(bool bent);
void clock_pass(uint64_t ms);
/* Has a timer descriptor come due that was not set again since? The kernel may take a moment to show it. */
bool clock_timer_expired(void);
/* The wall clock alone, in milliseconds. */
void clock_step(int64_t ms);

#define REAL(name) __real_##name
void *REAL(malloc)(size_t n);
void *REAL(realloc)(void *p, size_t n);
void REAL(free)(void *p);
ssize_t REAL(recv)(int fd, void *buf, size_t n, int flags);
ssize_t REAL(send)(int fd, const void *buf, size_t n, int flags);
ssize_t REAL(read)(int fd, void *buf, size_t n);
ssize_t REAL(write)(int fd, const void *buf, size_t n);
int REAL(close)(int fd);
int REAL(socket)(int domain, int type, int protocol);
int REAL(connect)(int fd, const struct sockaddr *sa, socklen_t len);
int REAL(setsockopt)(int fd, int level, int name, const void *value, socklen_t len);
int REAL(shutdown)(int fd, int how);
int REAL(poll)(struct pollfd *p, nfds_t n, int ms);
int REAL(fcntl64)(int fd, int cmd, ...);
int REAL(open64)(const char *path, int flags, ...);
int REAL(unlink)(const char *path);

#endif
