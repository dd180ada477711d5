/* SPDX-License-Identifier: Apache-2.0 */
/* worker: see worker.h. */
#include "worker/worker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include "api/end.h"
#include "base/mem.h"
#include "conn/conn.h"
#include "hook/hook.h"
#include "http/accept.h"
#include "http/http.h"
#include "http/open.h"
#include "http/send.h"
#include "submit/program.h"
#include "transport/sse.h"
#include "transport/ws.h"
#include "wsc/error.h"

#define TURN_NS 100000u         /* then no more is read of connections that send without end */
#define FLUSH_SLICE_NS 2000000u /* then others get their turn */
#define FLUSH_CHECK 16u         /* sessions between two looks at the clock */
#define MANY_READY 32u          /* streams in one poll that make a second look worth its while */
#define DEFERRED_MANY 64u       /* deferred connections, above which the bulk streams are not read */
#define TIMERS_PER_TURN 16u     /* because a connection that runs out of time costs as much as some messages */
#define DRAIN_BATCH 64u         /* connections closed at once; more when the time is short for so many batches */
#define AWAY_MS 1000u           /* a turn so much later than planned: the process did not run */
#define DRAIN_LOOK_MS 10u       /* while stopping: how often to look whether the other workers are done too */

static uint64_t mono_ns(void)
{
	struct timespec mono;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	return (uint64_t)mono.tv_sec * 1000000000u + (uint64_t)mono.tv_nsec;
}

struct now worker_clock(void)
{
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return (struct now){ mono_ns(), (uint64_t)wall.tv_sec * 1000u + (uint64_t)wall.tv_nsec / 1000000u };
}

static struct worker *worker_of(struct shard *sh)
{
	return container_of(sh, struct worker, shard);
}

/* ---- what the layers below ask for -------------------------------------------------------------------------------- */

static const struct conn_kind *const kinds[CONN_KINDS] = {
	[CONN_HTTP] = &http_kind,
	[CONN_WS] = &ws_kind,
	[CONN_SSE] = &sse_kind,
};

static const struct sender *const senders[SENDERS] = {
	[SENDER_WS] = &ws_sender,
	[SENDER_HTTP] = &http_sender,
	[SENDER_PROGRAM] = &program_sender,
};

/* ---- posting ------------------------------------------------------------------------------------------------------ */

static void peer_send(void *ctx, unsigned peer, const struct hub_relay *r)
{
	struct worker *w = ctx;

	if (mailbox_add_relay(&w->outgoing[peer], r) < 0)
		shard_problem(&w->shard, WSC_ERROR, "mailbox", "out of memory: a message to another worker is lost");
}

static void post(struct shard *from, unsigned to, struct task *t)
{
	struct worker *w = worker_of(from);

	if (to == from->index) {
		t->next = NULL;
		*w->self.tail = t;
		w->self.tail = &t->next;
	} else if (mailbox_add_task(&w->outgoing[to], t) < 0) {
		/* Out of order is better than lost, so the task is posted like one of a foreign thread. */
		(void)worker_post_foreign(w->all[to], t, true);
	}
}

static void post_batches(struct worker *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		struct batch *chain = w->outgoing[i];

		if (!chain)
			continue;
		w->outgoing[i] = NULL;
		if (mailbox_post(&w->all[i]->mail, w->shard.index, chain))
			loop_wake(&w->all[i]->shard.loop);
	}
}

int worker_post_foreign(struct worker *w, struct task *t, bool must)
{
	bool wake;
	int r = mailbox_post_task(&w->mail, t, must, &wake);

	if (wake)
		loop_wake(&w->shard.loop);
	return r;
}

static bool congested(struct shard *sh)
{
	struct worker *w = worker_of(sh);

	for (unsigned i = 0; i < w->n; i++)
		if (mailbox_waiting(&w->all[i]->mail, sh->index) > MAILBOX_HIGH_WATER)
			return true;
	return false;
}

static bool late(struct shard *sh)
{
	return mono_ns() - sh->now.mono_ns > TURN_NS;
}

static bool loop_pressed(struct loop *l)
{
	struct shard *sh = shard_of_loop(l);

	return hub_pressed(sh->hub) || congested(sh);
}

static bool loop_late(struct loop *l)
{
	return late(shard_of_loop(l));
}

static const struct loop_ops loop_ops = {
	.on_data = conn_on_data,
	.on_end = conn_on_end,
	.on_writable = conn_on_writable,
	.on_accept = accept_on_connection,
	.on_accept_error = accept_on_error,
	.turn_away = accept_turn_away,
	.pressed = loop_pressed,
	.late = loop_late,
};

static void run_self(struct worker *w)
{
	struct task *t = w->self.head, *next;

	w->self.head = NULL;
	w->self.tail = &w->self.head;
	for (; t; t = next) {
		next = t->next;
		t->run(&w->shard, t);
	}
}

/* ---- the turn ------------------------------------------------------------------------------------------------------ */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_deadline_ms(const struct worker *w)
{
	const struct shard *sh = &w->shard;
	uint64_t at = min_u64(timers_next_ms(&sh->timers), timers_next_ms(&sh->hook_timers));

	at = min_u64(at, hub_deadline(sh->hub));
	for (unsigned i = 0; i < sh->nlisteners; i++)
		at = min_u64(at, listener_deadline(&sh->listeners[i]));
	at = min_u64(at, pressure_deadline(sh));
	return sh->draining ? min_u64(at, sh->drain_deadline_ms) : at;
}

static bool has_work(const struct worker *w)
{
	return w->self.head || hub_requests(w->shard.hub) || hub_has_ready(w->shard.hub);
}

static int wait_ms(struct worker *w)
{
	uint64_t now = now_ms(worker_clock()), at;

	if (has_work(w))
		return 0;
	if (loop_unfinished(&w->shard.loop) || w->shard.ndeferred || !list_empty(&w->shard.resumed))
		return congested(&w->shard) ? 1 : 0; /* another worker must catch up before we may read */
	at = next_deadline_ms(w);
	if (at <= now)
		return 0;
	if (w->shard.draining)
		at = min_u64(at, now + DRAIN_LOOK_MS);
	return at == UINT64_MAX ? -1 : at - now < INT_MAX ? (int)(at - now) : INT_MAX;
}

static void run_timers(struct shard *sh)
{
	struct timer *t;

	timers_advance(&sh->timers, now_ms(sh->now));
	for (unsigned n = TIMERS_PER_TURN; n && (t = timers_pop(&sh->timers)); n--)
		conn_on_timer(container_of(t, struct conn, timer));
	hook_tick(sh);
	conn_settle(sh);
	for (unsigned i = 0; i < sh->nlisteners; i++)
		listener_tick(&sh->listeners[i], now_ms(sh->now));
}

/* Below the cap again: accepts the connections that wait in the kernel. */
static void reopen_listeners(struct shard *sh)
{
	if (sh->draining ||
	    atomic_load_explicit(&sh->set->shared.connections, memory_order_relaxed) > sh->set->max_connections)
		return;
	for (unsigned i = 0; i < sh->nlisteners; i++)
		if (sh->listeners[i].stopped)
			listener_start(&sh->listeners[i]);
}

/* Performs the requests that waited when the phase began: what they cause comes in the next turn. */
static void perform_requests(struct worker *w)
{
	struct hub_request r;

	for (size_t n = hub_requests(w->shard.hub); n && hub_take_request(w->shard.hub, &r); n--) {
		switch (r.type) {
		case HUB_REQ_OUTCOME:
			submit_outcome(&w->shard, &r);
			break;
		case HUB_REQ_ATTACHED:
			open_attached(conn_of_session(r.session));
			break;
		case HUB_REQ_LOAD: /* there is no log, so it holds nothing behind any position */
			(void)hub_loaded(w->shard.hub, r.session, NULL, 0, r.after, true, w->shard.now);
			break;
		}
		conn_settle(&w->shard);
	}
}

/* The messages that the sockets take from now on count as taken at this time. */
static uint64_t flush_clock(struct shard *sh)
{
	uint64_t now = mono_ns();

	sh->delivered.now_us = (uint32_t)(now / 1000u);
	return now;
}

static void flush(struct shard *sh)
{
	uint64_t began = 0, now;
	struct session *s;

	if (hub_has_ready(sh->hub))
		(void)flush_clock(sh);
	for (unsigned n = 1; (s = hub_take_ready(sh->hub)); n++) {
		conn_flush(conn_of_session(s));
		/* With compression a single session may take long. */
		if (n % FLUSH_CHECK && !sh->set->opt.deflate.on)
			continue;
		now = flush_clock(sh);
		if (!began)
			began = now;
		else if (now - began > FLUSH_SLICE_NS)
			return;
	}
}

static void begin_drain(struct worker *w)
{
	struct shard *sh = &w->shard;

	uint64_t now = now_ms(sh->now);
	uint64_t left = sh->drain_deadline_ms > now ? sh->drain_deadline_ms - now : 0;
	uint64_t rounds =
		left / 2 / DRAIN_LOOK_MS + 1; /* the other half is for the messages and close frames on their way */

	sh->draining = true;
	for (unsigned i = 0; i < sh->nlisteners; i++)
		listener_close(&sh->listeners[i]);
	sh->drain_batch = (uint32_t)(sh->conns.live / rounds > DRAIN_BATCH ? sh->conns.live / rounds : DRAIN_BATCH);
}

/* A batch at a time, because thousands of clients that reconnect in the same millisecond would burden the next node. */
static void drain_some(struct shard *sh)
{
	if (now_ms(sh->now) >= sh->drain_next_ms)
		sh->drain_next_ms = conn_drain(sh, sh->drain_batch) ? UINT64_MAX : now_ms(sh->now) + DRAIN_LOOK_MS;
}

static void cut_all(struct shard *sh)
{
	uint32_t pos = 0;
	struct conn *c;

	while ((c = conn_next(sh, &pos))) {
		/* A connection that lingers was told everything. */
		if (c->phase < PHASE_LINGER && c->kind != CONN_HTTP)
			atomic_fetch_add(&sh->set->shared.cut, 1);
		conn_end(c, WS_CODE_GOING_AWAY, false);
	}
	conn_settle(sh);
	conn_reap(sh);
}

/* Is every connection closed, or is the time over? */
static bool drained(struct worker *w)
{
	struct shard *sh = &w->shard;
	uint32_t pos = 0;

	if (now_ms(sh->now) >= sh->drain_deadline_ms)
		return true;
	if (conn_next(sh, &pos))
		return false;
	/* A request on another worker may still need an answer of this one. */
	return !has_work(w) && mailbox_empty(&w->mail, w->n) && atomic_load(&sh->set->shared.connections) == 0;
}

static void read_and_take(struct worker *w)
{
	struct shard *sh = &w->shard;

	sh->loop.no_bulk = sh->ndeferred > DEFERRED_MANY;
	loop_read(&sh->loop);
	run_self(w);
	/* While a peer is behind, the program's calls wait too, and in the end they return -WSC_EAGAIN. */
	mailbox_drain(&w->mail, w->n, sh, !congested(sh));
	conn_settle(sh);
}

/*
 * A second look, only for streams that had no turn yet: the end of a connection whose bytes were just taken must not be
 * seen before the flush of what they have caused, a close frame's answer for one.
 */
static void look_again(struct worker *w)
{
	struct loop *l = &w->shard.loop;

	loop_set_aside(l);
	if (loop_wait(l, 0) == 0)
		read_and_take(w);
	loop_bring_back(l);
}

/*
 * The process was stopped by a signal, or the machine was frozen. Deadlines that passed meanwhile say nothing about the
 * clients, so their silence counts from now on.
 */
static void notice_absence(struct worker *w)
{
	uint64_t now = now_ms(w->shard.now), due = next_deadline_ms(w);

	if (now > due && now - due > AWAY_MS)
		w->shard.back_ms = now;
}

static void sleep_until_work(struct worker *w, int max_wait_ms)
{
	struct shard *sh = &w->shard;
	int wait = wait_ms(w), r;

	if (max_wait_ms >= 0 && (wait < 0 || wait > max_wait_ms))
		wait = max_wait_ms;
	if (wait != 0 && !mailbox_sleep(&w->mail, w->n))
		wait = congested(sh) ? 1 : 0;
	r = loop_wait(&sh->loop, wait);
	mailbox_awake(&w->mail);
	sh->now = worker_clock();
	notice_absence(w);
	if (r < 0) { /* if the system never lets us wait, neither the processor nor the log may be filled */
		shard_problem_seldom(sh, &sh->wait_error_ms, "epoll_wait", -r);
		if (wait != 0)
			(void)poll(NULL, 0, 1);
	}
}

/* A host program sleeps on the loop's descriptor, so every deadline must show there. */
static void show_to_host(struct worker *w)
{
	int wait = wait_ms(w);

	if (wait != 0 && !mailbox_sleep(&w->mail, w->n))
		wait = 0;
	loop_arm(&w->shard.loop, wait < 0 ? UINT64_MAX : worker_clock().mono_ns + (uint64_t)wait * 1000000u);
}

static void count_turn(struct shard *sh)
{
	counter_add(&sh->shared.turns, 1);
	atomic_store_explicit(&sh->shared.message_bytes, hub_owner(sh->hub)->bytes, memory_order_relaxed);
	shard_count_delivered(sh);
	metric_observe(&sh->metrics, turn, mono_ns() - sh->now.mono_ns);
}

bool worker_turn(struct worker *w, int max_wait_ms)
{
	struct shard *sh = &w->shard;

	if (atomic_load_explicit(&w->shared.stopped, memory_order_relaxed))
		return false;
	sleep_until_work(w, max_wait_ms);
	sh->deflate.spent = 0;
	pressure_turn(sh);
	conn_shed(sh);
	read_and_take(w);
	/* Many at once: clients that wrote meanwhile are served by the same flush. */
	if (sh->loop.polled >= MANY_READY && !hub_pressed(sh->hub))
		look_again(w);
	conn_run_waiting(sh);
	if (atomic_load(&w->shared.stop)) {
		sh->drain_deadline_ms = atomic_load(&w->shared.deadline_ms); /* a second stop may have less patience */
		if (!sh->draining)
			begin_drain(w);
		drain_some(sh);
	}
	run_timers(sh);
	hub_tick(sh->hub, sh->now);
	perform_requests(w);
	post_batches(w);
	flush(sh);
	post_batches(w);
	conn_reap(sh);
	reopen_listeners(sh);
	count_turn(sh);
	if (sh->draining && drained(w)) {
		cut_all(sh);
		post_batches(w);
		atomic_store(&w->shared.stopped, true);
		return false;
	}
	if (w->by_host)
		show_to_host(w);
	return true;
}

static void *thread_main(void *arg)
{
	struct worker *w = arg;

	while (worker_turn(w, -1))
		;
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static unsigned route(void *ctx, struct bytes user_id, uint64_t hash)
{
	(void)user_id;
	return (unsigned)(hash % ((struct worker *)ctx)->n);
}

static int init_shard(struct worker *w, struct settings *set, unsigned index, const struct hub_options *hub,
		      bool by_host)
{
	struct shard *sh = &w->shard;
	struct hub_options o = *hub;
	int r;

	sh->set = set;
	sh->index = index;
	sh->post = post;
	sh->congested = congested;
	sh->late = late;
	sh->now = worker_clock();
	sh->kinds = kinds;
	sh->senders = senders;
	list_init(&sh->ended);
	list_init(&sh->dead);
	list_init(&sh->resumed);
	list_init(&sh->deferred);
	timers_init(&sh->timers, now_ms(sh->now));
	timers_init(&sh->hook_timers, now_ms(sh->now));
	if ((r = rng_init_system(&sh->rng)) < 0 || (r = loop_init(&sh->loop, &loop_ops, by_host)) < 0) {
		errno = -r;
		return -WSC_ESYSTEM;
	}
	if (program_init(sh) < 0)
		return -WSC_ENOMEM;
	sh->loop.chop = set->chop;
	o.self = index;
	o.peers = w->n;
	o.route = route;
	o.peer_send = peer_send;
	o.ctx = w;
	end_for_hub(o.ends);
	sh->hub = hub_new(&o, sh->now);
	sh->gather = mem_alloc(SHARD_GATHER_BYTES);
	if (!sh->hub || !sh->gather || slab_init(&sh->conns, sizeof(struct conn)) < 0)
		return -WSC_ENOMEM;
	return 0;
}

int worker_init(struct worker *w, struct settings *set, unsigned index, struct worker **all, unsigned n,
		const struct hub_options *hub, const int *listen_fds, unsigned nlisten, bool by_host)
{
	struct shard *sh = &w->shard;
	int r;

	memset(w, 0, sizeof *w);
	w->all = all;
	w->n = n;
	w->by_host = by_host;
	w->self.tail = &w->self.head;
	sh->loop.epfd = sh->loop.wake.fd = sh->loop.timer.fd = -1;
	if ((r = init_shard(w, set, index, hub, by_host)) < 0)
		return r;
	for (; sh->nlisteners < nlisten && sh->nlisteners < SHARD_LISTENERS; sh->nlisteners++)
		if ((r = listener_open(&sh->loop, &sh->listeners[sh->nlisteners], listen_fds[sh->nlisteners],
				       (uint16_t)sh->nlisteners)) < 0) {
			errno = -r;
			return -WSC_ESYSTEM;
		}
	if (by_host)
		show_to_host(w);
	return 0;
}

bool worker_bury_mail(struct worker *w)
{
	bool any = has_work(w);

	w->shard.over = w->shard.draining = true;
	cut_all(&w->shard); /* so that a late answer finds no connection to go on with */
	run_self(w);
	any |= mailbox_drain(&w->mail, w->n, &w->shard, true) > 0;
	cut_all(&w->shard);
	perform_requests(w);
	post_batches(w);
	return any;
}

void worker_deinit(struct worker *w)
{
	struct shard *sh = &w->shard;
	struct batch *b, *next;

	for (unsigned i = 0; i < w->n; i++)
		for (b = w->outgoing[i]; b; b = next) {
			next = b->next;
			mem_free(b);
		}
	if (sh->hub)
		hub_free(sh->hub);
	mem_free(sh->gather);
	deflate_shard_deinit(sh);
	slab_deinit(&sh->conns);
	program_deinit(sh);
	loop_deinit(&sh->loop);
}

int worker_start(struct worker *w)
{
	int r = pthread_create(&w->thread, NULL, thread_main, w);

	if (r) {
		errno = r;
		return -WSC_ESYSTEM;
	}
	w->threaded = true;
	return 0;
}

void worker_join(struct worker *w)
{
	if (w->threaded)
		pthread_join(w->thread, NULL);
	w->threaded = false;
}

void worker_stop(struct worker *w, uint64_t timeout_ms)
{
	uint64_t at = now_ms(worker_clock()) + timeout_ms;

	if (!atomic_load(&w->shared.stop) || at < atomic_load(&w->shared.deadline_ms))
		atomic_store(&w->shared.deadline_ms, at);
	atomic_store(&w->shared.stop, true);
	loop_wake(&w->shard.loop);
}
