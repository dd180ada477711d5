/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard: what the connections of one worker share: the loop, the hub, the timers, the time. worker/ fills it in, drives it
 * and owns the thread; the modules between worker/ and here use it and know nothing of threads. A task or a relay is the
 * only thing that leaves a shard, and it is posted; nothing here blocks.
 */
#ifndef WSC_SHARD_SHARD_H
#define WSC_SHARD_SHARD_H

#include <stdatomic.h>
#include "api/metrics.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/slab.h"
#include "base/timers.h"
#include "shard/pressure.h"
#include "hub/hub.h"
#include "net/addr.h"
#include "net/tls.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"
#include "wsc/hooks.h"

struct conn_kind;
struct sender;
struct shard;

/* Work for a shard; embedded in the object that it is about and freed by its run(). */
struct task {
	struct task *next;
	void (*run)(struct shard *sh, struct task *t);
	size_t weight; /* bytes that it carries, when they are many */
};

/* New connections of one client address, when security.connect_rate is set. */
struct connect_table;
struct reasons;

enum sender_policy { SENDER_REJECT, SENDER_OVERWRITE, SENDER_HOOK };

struct texts {
	char *const *at;
	size_t n;
};

struct nets {
	const struct ip_net *at;
	size_t n;
};

/* The part of the configuration that connections use; what it points to lives as long as the gateway. */
struct options {
	uint64_t heartbeat_ms, client_timeout_ms, sse_heartbeat_ms, hook_timeout_ms, header_timeout_ms,
		write_timeout_ms;
	uint64_t max_message_bytes;
	unsigned json_depth;
	uint64_t max_content_bytes; /* 0: no limit of its own */
	enum sender_policy sender;
	struct rate_limit message_rate; /* per_second 0: none */
	struct rate_limit control_rate;
	struct texts user_types, origins;
	bool require_origin;
	struct nets blocked, whitelist, trusted;
	bool only_whitelist;
	struct {
		bool on;
		struct ws_deflate_policy policy;
		uint8_t level;
		uint64_t min_bytes; /* shorter messages go out as they are */
		uint64_t memory;    /* the limit of all contexts together */
	} deflate;
};

/* Made before the start, the same for all shards, constant while they run. */
struct settings {
	struct options opt;
	struct wsc_hooks hooks;
	struct routes routes;
	struct log log;
	char node_id[80];
	const char *version; /* of the library */
	struct http1_limits http;
	struct ws_limits ws;
	struct listen_options listen;
	struct {
		struct tls_server *server; /* NULL: TLS is off */
		unsigned own_from;         /* listeners with this tag or a higher one accept TLS only */
		bool same_port;            /* the other listeners accept TLS too */
		bool no_plain;             /* and nothing else, except on Unix sockets */
	} tls;
	uint64_t max_connections;
	uint64_t seed[2]; /* of every table of this process */
	uint64_t started_mono_ms, started_wall_ms;
	unsigned nshards;
	struct shard **shards;
	struct connect_table *connects;
	struct reasons *reasons; /* see reason_keep() */
	uint32_t chop;           /* test mode of the loop: cut reads and writes to this many bytes; 0: off */
	/* Queues @t for shard @to from any thread; 0 or -WSC_EAGAIN (never when @must). */
	int (*post_foreign)(struct settings *set, unsigned to, struct task *t, bool must);
	void *owner; /* struct wsc_gateway */
	struct pressure pressure;
	struct {
		_Atomic uint64_t connections; /* sockets of any kind */
		_Atomic bool draining;
		_Atomic uint64_t cut;             /* connections that were cut at the end of the drain */
		_Atomic uint64_t context_bytes;   /* deflate contexts: bytes reserved by connections */
		_Atomic bool no_new_contexts;     /* memory is short: nothing more is reserved */
		_Atomic uint64_t accept_error_ms; /* when the last one was reported */
		_Atomic int spare_fd;             /* closed to accept and refuse a client at EMFILE; -1: consumed */
	} shared;
};

#define SHARD_LISTENERS 8
#define SHARD_GATHER_BYTES 65536u

/* Event streams that were closed with 4409 a moment ago: an EventSource that reconnects is told to stop. */
#define EVICTED_MAX 256u
#define EVICTED_MS 5000u
struct evicted {
	uint64_t client, until_ms; /* hash of URL, address and user agent */
};

struct shard {
	struct loop loop; /* first: a stream's loop is its shard */
	struct settings *set;
	unsigned index;
	/* The tables that the layers above fill in: what a connection's kind does, and how each kind of sender is told. */
	const struct conn_kind *const *kinds; /* by enum conn_kind_id, conn/conn.h */
	const struct sender *const *senders;  /* by enum sender_id, submit/submission.h */
	struct hub *hub;
	struct timers timers;      /* one node per connection */
	struct timers hook_timers; /* one node per pending call */
	struct slab conns, jobs;
	struct rng rng;
	struct ulid_gen ulid;
	struct now now;
	char stamp[RFC3339_LEN]; /* of @stamp_ms */
	uint64_t stamp_ms;
	/* Connections by stream.link, which is the loop's only while the stream is neither paused nor closed. */
	struct list ended;    /* conn_end() was called: conn_settle() takes them apart */
	struct list dead;     /* to be freed at the end of the turn */
	struct list resumed;  /* their waiting input goes on in this turn or the next */
	struct list deferred; /* their input goes on, a few a turn, after the others have had their turn */
	uint32_t ndeferred;   /* connections on the last one */
	struct map program;   /* by sender: submissions of the program that a hook has; see submit/program.c */
	struct listener listeners[SHARD_LISTENERS];
	unsigned nlisteners;
	bool draining;
	bool over;              /* the worker has ended: late calls are refused and no hook is asked any more */
	unsigned pressure_step; /* as it was applied here */
	bool pressure_owes;     /* a look at the memory is due, also when nothing else happens */
	uint32_t pressure_round;
	struct {
		uint64_t second;
		uint32_t said, unsaid;
	} ends;                                    /* log lines about sessions that ended */
	uint64_t drain_deadline_ms, drain_next_ms; /* the next batch; UINT64_MAX: every client was told */
	uint32_t drain_pos, drain_batch;
	uint32_t refused;                   /* messages over their rate in the input that is being decoded */
	uint64_t wait_error_ms;             /* when the last one was reported */
	uint64_t back_ms;                   /* when this worker ran again after a long pause of the process */
	uint8_t *gather;                    /* several small segments become one send */
	struct {                            /* for connections without contexts of their own; made on first use */
		struct ws_deflater *out[8]; /* by window bits, from 8 on */
		struct ws_inflater *in;
		struct buf scratch;
		uint64_t spent; /* bytes inflated in this turn */
	} deflate;
	struct evicted evicted[EVICTED_MAX]; /* a ring */
	uint32_t evicted_next;
	struct metrics metrics;
	struct {                    /* messages that sockets have taken in this turn */
		uint32_t now_us;    /* low 32 bits of the monotonic us when the flush last looked at the clock */
		uint32_t waited_us; /* since their acceptance, of the @n messages that @metrics does not have yet */
		uint32_t n;
	} delivered;
	/* Posts to another shard, or to this one, in order with all else that is posted there. It runs in a later turn. */
	void (*post)(struct shard *from, unsigned to, struct task *t);
	/* Is a mailbox that we write to above its high water? Then we read later. */
	bool (*congested)(struct shard *sh);
	/* Has this turn used its time? Then the next one does what can wait. */
	bool (*late)(struct shard *sh);
	struct {
		_Atomic uint64_t turns;
		_Atomic uint64_t deflated;      /* messages that were run through DEFLATE, used or not */
		_Atomic uint64_t message_bytes; /* of the hub, as the last turn ended */
	} shared;
};

static inline struct shard *shard_of_loop(struct loop *l)
{
	return container_of(l, struct shard, loop);
}

/* The shard that @user_id lives on (hash(user_id) % workers). */
unsigned shard_of_user(const struct settings *set, struct bytes user_id);
/* The time of this turn as RFC 3339, formatted once per millisecond. */
struct bytes shard_stamp(struct shard *sh);
void shard_ulid(struct shard *sh, char out[ULID_LEN]);
/* Counts what shard_delivered() has gathered; once at the end of a turn. */
void shard_count_delivered(struct shard *sh);
/* A message of the gateway itself, from "system". @data: JSON object or empty, @extra: JSON members or empty. NULL: no memory. */
struct msg *shard_message(struct shard *sh, struct bytes type, struct bytes to, struct bytes content, struct bytes data,
			  struct bytes extra);
/* Tells the log and the hook on_error. */
void shard_problem(struct shard *sh, enum wsc_severity severity, const char *source, const char *text);
/* An error of the system, with its text. */
void shard_problem_errno(struct shard *sh, const char *source, int error);
/* The same for a lasting state (out of descriptors), at most once in ten seconds. @last_ms: the caller's. */
void shard_problem_seldom(struct shard *sh, uint64_t *last_ms, const char *source, int error);

/* A socket has taken @m whole. Equal times, such as those of a broadcast, are gathered and counted together. */
static inline void shard_delivered(struct shard *sh, const struct msg *m)
{
	uint32_t waited_us = sh->delivered.now_us - m->accepted_us;

	if (m->kind != MSG_USER)
		return;
	if (waited_us != sh->delivered.waited_us)
		shard_count_delivered(sh);
	sh->delivered.waited_us = waited_us;
	sh->delivered.n++;
}

struct reasons *reasons_new(void);
void reasons_free(struct reasons *r);
void evicted_note(struct shard *sh, uint64_t client);
bool evicted_recently(struct shard *sh, uint64_t client);

/* A copy of @reason that lives as long as the gateway (close reasons are static text to the hub); equal ones share it. */
const char *reason_keep(struct settings *set, const char *reason);

/* May @ip open one more connection now (security.connect_rate)? Any shard. @retry_s: seconds to wait if not. */
bool connect_allowed(struct shard *sh, const struct ip *ip, unsigned *retry_s);
struct connect_table *connect_table_new(uint64_t per_second, const uint64_t seed[2]);
void connect_table_free(struct connect_table *t);

#endif
