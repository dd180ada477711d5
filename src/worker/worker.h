/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: one turn after another around one shard: wait, read, take the mail, go on with waiting input, timers, requests of
 * the hub, post, flush, free. Owns the mailbox and, unless the host program drives it, the thread. Every phase is bounded.
 */
#ifndef WSC_WORKER_WORKER_H
#define WSC_WORKER_WORKER_H

#include <pthread.h>
#include "worker/mailbox.h"

struct worker {
	struct shard shard; /* first */
	struct mailbox mail;
	struct worker **all;
	unsigned n;
	struct batch *outgoing[HUB_PEERS_MAX]; /* the posts of this turn, newest first */
	struct {
		struct task *head, **tail;
	} self; /* tasks for ourselves */
	pthread_t thread;
	bool threaded; /* has a thread of its own */
	bool by_host;  /* the host program polls the loop's descriptor */
	struct {
		_Atomic bool stop;            /* asked to drain */
		_Atomic uint64_t deadline_ms; /* until then */
		_Atomic bool stopped;
	} shared;
};

/* 0, -WSC_ENOMEM or -WSC_ESYSTEM (errno set). @listen_fds are shared by all workers and stay the caller's. */
int worker_init(struct worker *w, struct settings *set, unsigned index, struct worker **all, unsigned n,
		const struct hub_options *hub, const int *listen_fds, unsigned nlisten, bool by_host);
/* Frees everything. All threads must have ended. */
void worker_deinit(struct worker *w);
/* One turn, which sleeps at most @max_wait_ms (-1: until there is work). False: it has stopped. */
bool worker_turn(struct worker *w, int max_wait_ms);
int worker_start(struct worker *w);
void worker_join(struct worker *w);
/* From any thread: close everything within @timeout_ms, then stop. */
void worker_stop(struct worker *w, uint64_t timeout_ms);
/* From any thread. */
int worker_post_foreign(struct worker *w, struct task *t, bool must);
/* After all threads have ended: runs the posted tasks, so that they free themselves. True: there were some, so other workers may have mail now. */
bool worker_bury_mail(struct worker *w);
/* The system's clocks; worker/ alone reads them. */
struct now worker_clock(void);

#endif
