/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage: one gateway, held by this thread as a host program holds it (wsc_open, wsc_fd, wsc_step), and its clients,
 * held by the same thread. Time is the bent clock's: nothing waits, and a story goes the same way each time it is told.
 *
 * A story runs in steps that continue whatever has happened: a fault may have ended a client, a message, the gateway
 * itself. WANT() states what the story expects. In a clean run all of it must come true; in a run with a fault
 * something may be missing, and then an answer, a close code, a callback or a log line must have said so.
 */
#ifndef WSC_TESTS_FAULTS_STAGE_H
#define WSC_TESTS_FAULTS_STAGE_H

#include <stdio.h>
#include <string.h>
#include <wsc/wsc.h>
#include <openssl/ssl.h>
#include "fault.h"

#define PEERS 24
#define PEER_BYTES (1024u * 1024u)
#define KEPT 16

enum peer_mode { PEER_HTTP, PEER_WS, PEER_SSE };

struct peer {
	int fd; /* -1: never made, or left by itself */
	enum peer_mode mode;
	bool end;                 /* the server has ended its side, or broken it */
	bool stalled;             /* does not read */
	bool silent;              /* does not answer pings */
	bool said_close;          /* our close frame is sent */
	bool mute;                /* does not answer a close frame */
	unsigned asked, answered; /* HTTP requests and answers to them */
	unsigned frames;          /* text frames that came */
	unsigned code;            /* of the close frame */
	int status;               /* of the last answer */
	bool told_no;             /* an answer of 400 and more, an error frame */
	size_t len, pos;          /* bytes in @in, and how far they have been looked at */
	char *in;
	SSL *ssl; /* NULL: plain */
};

struct story;

struct stage {
	const struct story *story;
	struct wsc_gateway *gw;
	bool open;       /* wsc_open() was done and wsc_step() has not said 0 */
	int refused;     /* the error of the program's last refused call */
	unsigned npeers; /* of @peer */
	struct peer peer[PEERS];
	const char *missing; /* the first WANT() that did not come true */
	unsigned problems;   /* on_error and lines of warning */
	unsigned handed, outcomes, delivered;
	unsigned asked_online, answered_online;
	unsigned connected, disconnected; /* hooks */
	unsigned nkept;
	struct wsc_pending *kept[KEPT];
	bool passing; /* within stage_pass(): TCP is given no time of its own */
	bool spins;   /* work to do without end while nothing comes and time stands */
	int log_fd[2];
};

struct story {
	const char *name;
	const char *const *config;         /* pairs, NULL */
	struct wsc_hooks hooks;            /* their user is the stage */
	void (*prepare)(struct stage *st); /* between wsc_new() and wsc_open(); or NULL */
	void (*play)(struct stage *st);    /* the gateway is open */
	/*
	 * Instead of all that: a story without the stage's gateway. False: it failed. @final: the fault is over, all
	 * must work.
	 */
	bool (*alone)(bool final, const char **what);
	bool log_to_pipe; /* the log goes to a pipe that is read */
	bool tcp;         /* clients come by TCP: the story is about it */
	bool ends_itself; /* play() stops the gateway */
};

extern const struct story stories[];
extern const size_t nstories;
extern const struct story stories_alone[];
extern const size_t nstories_alone;
/* The files and variables that the stories_alone read. */
void alone_begin(void);
void alone_end(void);

/* Of this process alone: filled by stage_names(). */
extern char stage_unix_path[64], stage_address[128], stage_certificate[96], stage_key[96];
void stage_names(void);
void stage_forget_names(void);

/* Keeps the first one that is false. An expression: the value of @what. */
#define WANT(what) stage_want(st, (what), #what)
bool stage_want(struct stage *st, bool ok, const char *what);

/* Makes, registers, opens. False: refused; *@why is NULL or the fault of the refusal. */
bool stage_open(struct stage *st, const struct story *story, const char **why);
/* Turns until no side has work or bytes left. */
void stage_settle(struct stage *st);
/* Time passes, a tenth of a second each turn. */
void stage_pass(struct stage *st, unsigned ms);
/* All clients vanish. */
void stage_leave(struct stage *st);
/* Stops, frees. NULL, or the fault. */
const char *stage_close(struct stage *st);
/* Is any client without its end or answer, however long it waits? NULL, or the fault. */
const char *stage_stuck(struct stage *st);
/* New clients are served. NULL, or the fault. */
const char *stage_serves(struct stage *st);

/* Clients. They never return NULL; a client that could not connect has ended. */
struct peer *peer_tcp(struct stage *st);
/* Connects as the story wants: by a Unix socket, which delivers at once, or by TCP. */
struct peer *peer_new(struct stage *st);
/* The other end of a socketpair that the program hands over. */
struct peer *peer_adopted(struct stage *st);
/* From now on this client speaks TLS. */
void peer_tls(struct peer *p);
void peer_put(struct stage *st, struct peer *p, const void *bytes, size_t len);
void peer_text(struct stage *st, struct peer *p, const char *text);
/* A whole request without a body, or with one; settles. @fields: header lines with their CRLF. */
void peer_ask(struct stage *st, struct peer *p, const char *method, const char *target, const char *fields,
	      const char *body);
/* A WebSocket that is open when this returns, if all goes well. */
struct peer *peer_ws(struct stage *st, const char *query);
struct peer *peer_ws_over(struct stage *st, struct peer *p, const char *target, const char *fields);
struct peer *peer_sse(struct stage *st, const char *query, const char *fields);
void peer_frame(struct stage *st, struct peer *p, unsigned first, const void *payload, size_t len);
/* A compressed text frame (RFC 7692), without context. */
void peer_say_deflated(struct stage *st, struct peer *p, const char *json);
/* A text frame; settles. */
void peer_say(struct stage *st, struct peer *p, const char *json);
void peer_close(struct stage *st, struct peer *p, unsigned code);
void peer_reset(struct stage *st, struct peer *p);
void peer_shut(struct stage *st, struct peer *p);
void peer_read(struct stage *st, struct peer *p);
bool peer_got(const struct peer *p, const char *part);

/* Calls of the program, counted. */
void program_send(struct stage *st, const struct wsc_message *m);
void program_broadcast(struct stage *st, const struct wsc_message *m);
void program_kick(struct stage *st, const char *user, const char *reason);
/* In a hook. */
int program_keep(struct stage *st, struct wsc_call *call);

#endif
