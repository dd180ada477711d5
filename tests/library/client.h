/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: a WebSocket, event stream or HTTP call from the other side of the wire, small enough to be believed. It
 * blocks, with a deadline on everything, belongs to one thread and knows nothing of libwsc. It sends text frames only,
 * no fragments: other tests send the rest.
 */
#ifndef WSC_TESTS_LIBRARY_CLIENT_H
#define WSC_TESTS_LIBRARY_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long a test waits for expected input; longer under sanitizers and valgrind. */
int patience_ms(void);
/* Milliseconds, @ms of them in a release build. */
int slowly(int ms);

/* A TCP connection to 127.0.0.1, or -1. */
int dial(uint16_t port);

struct answer {
	int status; /* 0: there was none */
	char head[4096];
	char body[16384];
};
/*
 * One call on a connection of its own. @fields: header lines, each with its CRLF, or NULL; @body NULL: none. False: no
 * answer.
 */
bool http_call(uint16_t port, const char *method, const char *target, const char *fields, const char *body,
	       struct answer *out);

struct client;

/* Never NULL; client_status() says whether it was let in. @target such as "/ws?user_id=alice"; @fields as above. */
struct client *ws_open(uint16_t port, const char *target, const char *fields);
struct client *sse_open(uint16_t port, const char *target);
/* The same over a connected socket, which becomes the client's. */
struct client *ws_over(int fd, const char *target, const char *fields);
/* Sends the request and does not wait for the answer: client_status() does. */
struct client *ws_begin(uint16_t port, const char *target, const char *fields);

/* 101 or 200 when it is open, else the status of the refusal; 0: no answer. */
int client_status(struct client *c);
/* The whole answer as text: head, and the body of a refusal. */
const char *client_answer(struct client *c);

/* The next message; good until the next read. NULL: none came in time, or it is over. @ms < 0: patience_ms(). */
const char *client_read(struct client *c, int ms);
/* Reads one message and says whether it contains @part; if not, prints the message. */
bool client_gets(struct client *c, const char *part);
/* Sends one text frame, printf-like. */
bool client_say(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends bytes as they are. */
bool client_raw(struct client *c, const void *bytes, size_t len);

/*
 * Waits for the end; the code of the close frame or closed event, 1006 without one, 0: it has not ended. Skips
 * messages.
 */
unsigned client_end(struct client *c);
/* The reason that came with it. */
const char *client_reason(const struct client *c);

/* Closes with 1000, waits for the answer, frees. */
void client_close(struct client *c);
/* Ends it with a reset, frees. */
void client_reset(struct client *c);
/* Closes the socket without a close frame, frees. NULL is fine. */
void client_free(struct client *c);

#endif
