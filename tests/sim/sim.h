/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: a small world around real hubs and the real submit/: three of them, as workers of one process (users placed by name)
 * or as nodes (interest), one virtual clock, one seed. Sockets are byte budgets that stall, mailboxes are FIFOs with delays,
 * hooks and the log answer late. Equal seeds give equal runs, to the byte.
 *
 *   world.c    the hubs, the mail between them, the links of nodes
 *   driver.c   what worker/ does: a connection's life, the turn, the flush
 *   submit.c   the way in: senders, the program and its hooks; not in worlds with a log, where a sequencer publishes
 *   oracle.c   what must be true, checked at every step; it knows who sent what to whom and nothing of how it got there
 *   stories.c  told stories: a transcript is expected        random.c  the rest of all stories
 */
#ifndef WSC_TESTS_SIM_SIM_H
#define WSC_TESTS_SIM_SIM_H

#include "base/buf.h"
#include "base/rng.h"
#include "hub/hub.h"
#include "submit/program.h"
#include "submit/submit.h"

#define SIM_HUBS 3
#define SIM_USERS 6
#define SIM_TICKETS 3 /* 0: none */
#define SIM_CONNS 96
#define SIM_MSGS 2048
#define SIM_TOKENS 2048
#define SIM_LOADS 64
#define SIM_PROGRAMS 6 /* names under which the program sends, two on each hub */
#define SIM_ASKS 512
#define SIM_TEXT_MAX 1600

/* Senders: a connection by its number, the API of a hub, the program under one of its names, or the server itself. */
#define SIM_SENDER_API(hub) (SIM_CONNS + (hub))
#define SIM_SENDER_PROGRAM(n) (SIM_CONNS + SIM_HUBS + (n))
#define SIM_SENDER_SERVER (SIM_CONNS + SIM_HUBS + SIM_PROGRAMS)
#define SIM_SENDER_WELCOME (SIM_SENDER_SERVER + 1)
#define SIM_SENDERS (SIM_SENDER_SERVER + 2)
#define SIM_INPUTS (SIM_CONNS + SIM_HUBS) /* senders whose input waits while a hook has a message of theirs */

#define SIM_IN_FLIGHT_MS 2000 /* longer than anything is ever under way */

struct sim_opts {
	uint64_t seed;
	bool nodes; /* else workers */
	bool log;   /* messages get their number from one sequencer and can be replayed */
	enum hub_slow_policy slow;
	enum hub_login_policy login;
	uint32_t max_messages, max_queue_bytes, max_sessions, max_pending;
	size_t max_total_bytes;
	uint32_t delay_ms; /* the longest delay of mail */
	uint32_t ask_timeout_ms;
	bool tell;    /* keep the story */
	bool hook[2]; /* by enum sim_hook: it is there */
	uint32_t hook_timeout_ms;
};

enum sim_hook { HOOK_RECEIVED, HOOK_SEND /* and on_broadcast */ };

/* The answer of a hook. */
enum sim_answer { ANSWER_YES, ANSWER_EDIT, ANSWER_NO, ANSWER_BAD_EDIT, ANSWER_NEVER };
struct sim_plan {
	uint8_t answer; /* enum sim_answer */
	bool late;      /* after @after_ms */
	uint32_t after_ms;
};

/* A fault of a message that a check must find. */
enum sim_flaw { FLAW_NONE, FLAW_FROM, FLAW_PAYLOAD, FLAW_RECIPIENT, FLAW_JSON, FLAWS };

/* The fate of a message that goes through submit/. */
enum sim_fate {
	FATE_WAITS,
	FATE_PUBLISHED,
	FATE_REFUSED,
	FATE_DROPPED /* its turn never came: the sender left, or all ended */
};

struct sim_msg {
	uint32_t sender, n; /* the n-th of that sender */
	uint32_t pad;       /* bytes beyond the number */
	uint8_t scope, user, ticket;
	uint8_t sender_user; /* with a ticket: gets no copy; SIM_USERS: nobody */
	uint8_t hub;         /* where hub_publish() was called */
	bool server, published;
	uint64_t seq, at_ms;
	uint32_t only; /* server: number of the connection it is for */
	uint64_t token;
	/* Through submit/: */
	bool submitted, edited, told; /* told: the program has its outcome */
	uint8_t flaw, fate, want;     /* enum sim_flaw, sim_fate, token_want */
	struct sim_plan plan[2];
	struct {
		bool asked, answered; /* answered: the program has finished it, or did at once */
		uint64_t at_ms;
	} hook[2];
	int hub_said;  /* the result of hub_publish() */
	uint32_t next; /* of the same sender, behind one that a hook has */
};

struct sim_input {
	uint32_t first, last; /* messages that wait for their turn; UINT32_MAX: none */
	uint32_t current;     /* the message under way */
	bool thinking;        /* a hook has it */
};

struct sim_ask { /* a call that the program has deferred */
	struct wsc_pending *pending;
	uint32_t msg;
	uint8_t hook;
	uint64_t due_ms;
};

struct sim_tasks {
	struct task *first, **last;
};

struct sim_due { /* a message that a connection was promised */
	uint32_t msg;
	bool must;  /* false: excused since */
	bool later; /* by a replay, long after it was published */
	bool received;
	bool missed; /* something sent later has overtaken it: a gap notice must account for it */
};

enum conn_phase { CONN_NEW, CONN_ATTACHING, CONN_HELD, CONN_OPEN, CONN_CLOSING, CONN_GONE };

struct conn {
	struct sim *sim;
	struct session *s; /* on the heap, so that a hub that touches it too late is seen; NULL: gone */
	uint32_t number;
	uint8_t hub, user, ticket;
	enum conn_phase phase;
	/* The hook that decides about it. */
	uint64_t hook_at_ms;
	bool hook_refuses;
	uint8_t welcomes;
	bool replay;
	uint64_t replay_after;
	/* The socket. */
	uint32_t room, capacity, room_before; /* before: this flush */
	bool stalled, refused;                /* refused: took less than offered, EPOLLOUT is owed */
	const struct msg *begun;              /* its client has the first begun_len wire bytes of this message */
	uint32_t begun_len;
	/* The driver's own bytes: a gap notice or the close frame. */
	uint32_t own_left, own_gap;
	bool own_close, close_sent;
	uint64_t closing_since_ms;
	bool urgent;            /* taken with a unicast on its queue, which has not been empty since */
	bool closed_by_refusal; /* the hub closed it while it was told that the socket refuses */
	/* The oracle's. */
	uint64_t attached_ms, gone_ms;
	uint64_t last_seq;
	uint32_t last_n[SIM_SENDERS];
	uint32_t gaps, missing;
	struct sim_due *due;
	uint32_t due_count, due_cap;
	uint8_t got[SIM_MSGS / 8];
	uint32_t got_run, got_edited; /* for the story: messages since the last line */
};

enum token_want { TOKEN_ONE, TOKEN_FAILURE, TOKEN_NONE };

struct sim_token {
	uint32_t msg; /* UINT32_MAX: a kick */
	uint8_t user, hub;
	enum token_want want;
	bool answered;
	uint64_t at_ms;
	uint32_t breaks; /* sim.breaks when it was asked */
};

struct sim_mail {
	struct sim_mail *next;
	uint64_t due_ms;
	struct hub_relay r;
	char text[];
};

struct sim_box { /* one per ordered pair */
	struct sim_mail *first, **last;
	uint64_t last_due_ms;
	uint32_t posted, taken;
};

enum link_state {
	LINK_UP,
	LINK_LOST,
	LINK_DOWN,
	LINK_JOINING
}; /* as one end sees it; LOST and JOINING: it has to be told */

struct sim_load { /* a piece of the log under way */
	bool used;
	uint32_t conn;
	uint64_t after, snapshot, due_ms;
	uint32_t room, room_bytes;
};

struct sim {
	struct sim_opts o;
	struct rng rng;
	uint64_t ms;
	struct hub *hub[SIM_HUBS];
	struct sim_side {
		struct sim *sim;
		unsigned self;
	} side[SIM_HUBS];
	struct sim_box box[SIM_HUBS][SIM_HUBS];
	enum link_state link[SIM_HUBS][SIM_HUBS]; /* [who][whom] */
	uint32_t synced_at[SIM_HUBS][SIM_HUBS];   /* [from][to]: box count after which @to knows all users of @from */
	uint32_t breaks;
	struct conn *conn[SIM_CONNS];
	uint32_t conns;
	struct sim_msg msg[SIM_MSGS];
	uint32_t msgs;
	uint32_t next_n[SIM_SENDERS];
	struct sim_token token[SIM_TOKENS];
	uint32_t tokens;
	/* The log: its sequencer lives with hub 0; order[] is what it has numbered, inbox what hubs have handed it. */
	uint32_t order[SIM_MSGS], logged;
	struct sim_box inbox[SIM_HUBS];
	struct sim_load load[SIM_LOADS];
	/* The way in. */
	struct settings set;
	struct shard shard[SIM_HUBS];
	struct sim_tasks task[SIM_HUBS];
	struct sim_input input[SIM_INPUTS];
	struct sim_ask ask[SIM_ASKS];
	uint32_t asks;
	char said[SIM_TEXT_MAX], said_by[8]; /* the text under way, and its sender */
	struct sim_plan plan[2];             /* of the messages that are said next */
	enum sim_flaw flaw;                  /* the same */
	struct sim_counts {
		uint64_t received, broadcasts, refused[API_CODE_END];
	} counts[SIM_HUBS]; /* as the oracle knows them */
	bool over;          /* the shards have ended */
	/* The state of the run. */
	bool failed;
	bool calm; /* told stories, and the end of all: no delays, no unfinished turns */
	char why[256];
	char name[4][16]; /* of sim_name() */
	unsigned names;
	struct buf story;
};

/* ---- world.c ---- */
struct sim *sim_new(const struct sim_opts *o);
/* Asserts nothing: sim_end() has checked. */
void sim_free(struct sim *w);
uint64_t sim_dice(struct sim *w, uint64_t sides); /* 0 .. sides-1 */
bool sim_chance(struct sim *w, unsigned percent);
struct now sim_now(const struct sim *w);
struct bytes sim_user(unsigned user);
struct bytes sim_ticket(unsigned ticket);
const char *user_id_text(unsigned user);
/* "ann#3": the user and the number of the connection; good until the fourth call after. */
const char *sim_name(const struct conn *c);
unsigned sim_home(unsigned user);
/* @hub receives the mail that is due from all peers, at most @max. Returns the number. */
unsigned world_deliver(struct sim *w, unsigned hub, unsigned max);
bool world_quiet(const struct sim *w);
/* Nodes: the link of @a and @b breaks, mail and all; both learn of it in their next turns. Or it comes back. */
void world_cut(struct sim *w, unsigned a, unsigned b);
void world_heal(struct sim *w, unsigned a, unsigned b);
/* @hub is told what has become of its links. */
void world_tell_links(struct sim *w, unsigned hub);
/* Does @at know of every user that has been connected at @of for long enough? */
bool world_knows(const struct sim *w, unsigned at, unsigned of);
void world_post(struct sim_box *b, struct sim *w, const struct hub_relay *r);
struct sim_mail *world_take(struct sim_box *b, uint64_t now_ms);

/* ---- submit.c ---- */
void submit_init(struct sim *w);
void submit_deinit(struct sim *w);
/* A token that does not come through submit/ is marked: submit_direct() sets the mark and removes it. */
bool submit_is_direct(uint64_t token);
uint64_t submit_direct(uint64_t token);
/* Message @number is said by its sender. */
void submit_say(struct sim *w, uint32_t number);
/* The text that submit/ must write. */
struct bytes submit_text(const struct sim *w, uint32_t number, char out[SIM_TEXT_MAX]);
/* The connection @number has gone: drops its messages that have not begun. */
void submit_left(struct sim *w, uint32_t number);
/* A part of @hub's turn: finished calls, messages of the program, timeouts of hooks. */
void submit_turn(struct sim *w, unsigned hub);
bool submit_quiet(const struct sim *w);
/* The shard of @hub ends: all messages that wait get their outcome. */
void submit_bury(struct sim *w, unsigned hub);
const char *submit_name(const struct sim *w, uint32_t sender);

/* ---- driver.c ---- */
struct conn *sim_connect(struct sim *w, unsigned hub, unsigned user, unsigned ticket, enum hub_transport t);
void sim_disconnect(struct sim *w, struct conn *c);
/* The reader of @c takes bytes out of its socket. */
void sim_read(struct sim *w, struct conn *c);
void sim_turn(struct sim *w, unsigned hub);
/* @sender says it; @pad bytes longer than the shortest. @want as a token. */
void sim_say(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to, uint32_t pad, enum token_want want);
void sim_kick(struct sim *w, unsigned hub, unsigned user);
/* Bytes on the wire of a message without content. */
uint32_t sim_wire_bytes(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to);
/* All shards end as in a gateway: connections are cut, hooks are given up, all messages that wait get their outcome. */
void sim_stop(struct sim *w);
unsigned sim_hub_of_sender(const struct sim *w, uint32_t sender);
/* One message of the server for one connection. */
void sim_tell_one(struct sim *w, struct conn *c);
/* Everybody reads, everything arrives, all is checked, everybody leaves; then nothing may be left. */
void sim_end(struct sim *w);
/* Turns of all hubs for @ms, one each millisecond. */
void sim_run(struct sim *w, uint64_t ms);

/* ---- oracle.c ---- */
void sim_fail(struct sim *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_tell(struct sim *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void oracle_flush_lines(struct sim *w);
static inline bool conn_accepted(const struct conn *c)
{
	return c->s && (c->s->state == SESSION_REPLAYING || c->s->state == SESSION_LIVE);
}
/* UINT32_MAX: the world is full. */
uint32_t oracle_message(struct sim *w, uint32_t sender, enum hub_scope scope, unsigned to, uint32_t pad);
bool oracle_matches(const struct sim *w, const struct conn *c, const struct sim_msg *m);
/* hub_publish() has taken it. */
void oracle_published(struct sim *w, uint32_t msg, unsigned hub);
void oracle_promise(struct conn *c, uint32_t msg);
void oracle_promise_log(struct sim *w, struct conn *c);
/* It was refused at once: nobody may get it and nothing more may be said of it. */
void oracle_refused(struct sim *w, uint32_t msg, uint64_t token, int err);
/* Every call of hub_publish() comes here with its result. */
void oracle_hub_said(struct sim *w, unsigned hub, const struct hub_publication *p, int err);
/* A hook is asked about a message; it sees @m. */
void oracle_asked(struct sim *w, uint32_t msg, enum sim_hook hook, unsigned hub, const struct wsc_message *m);
/* submit/ has told the sender of @msg that it is refused. */
void oracle_denied(struct sim *w, uint32_t msg, enum api_code code);
/* Its sender left before it had its turn. */
void oracle_dropped(struct sim *w, uint32_t msg);
/* The program got the outcome of @msg. */
void oracle_told(struct sim *w, uint32_t msg, const struct wsc_outcome *o);
/* The client of @c has a whole message, or a gap notice, or a close frame. */
void oracle_received(struct sim *w, struct conn *c, struct bytes text);
/* The next bytes for @c come from @m, behind its first @offset ones; NULL: from the driver. */
void oracle_stream(struct sim *w, struct conn *c, const struct msg *m, uint32_t offset);
void oracle_gap(struct sim *w, struct conn *c, uint32_t n);
void oracle_ready(struct sim *w, unsigned hub, struct conn *c);
uint64_t oracle_token(struct sim *w, uint32_t msg, unsigned user, unsigned hub, enum token_want want);
void oracle_outcome(struct sim *w, unsigned hub, const struct hub_request *r);
void oracle_link_broken(struct sim *w, unsigned a, unsigned b);
/* After a flush of @c that ended with @refused. */
struct judged {
	uint32_t count, bytes, gap;
	size_t total;
	bool accepted;
};
struct judged oracle_before_flushed(const struct sim *w, const struct conn *c);
void oracle_after_flushed(struct sim *w, struct conn *c, const struct judged *before, bool refused);
void oracle_after_turn(struct sim *w, unsigned hub);
void oracle_quiet(struct sim *w);
void oracle_over(struct sim *w);

/* ---- stories.c, random.c: false when it failed; the world says why. ---- */
unsigned stories_count(void);
const char *stories_name(unsigned n);
struct sim *stories_run(unsigned n);
struct sim *random_run(uint64_t seed, bool tell);

#endif
