/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one event, one line, at most LOG_LINE_MAX bytes; text for people or JSON for machines. A fixed sentence first,
 * the data in fields. Bytes below 0x20, 0x7f, invalid UTF-8 and the characters that control a terminal or a line (C1
 * controls, U+2028, U+2029, bidirectional marks) are escaped, so that no client can forge a log line or control a
 * terminal. Any thread may write lines: each is one write(2). A line that cannot be written without waiting is dropped
 * and counted, and the next line tells how many were dropped. Timestamps come from the system's wall clock.
 *
 *	2026-01-31T12:00:00.000Z info  listening  address=127.0.0.1 port=8080
 *	{"time":"2026-01-31T12:00:00.000Z","level":"info","msg":"listening","address":"127.0.0.1","port":8080}
 *
 * In text a value is quoted when it is empty or holds a space, '"', '\', '=' or anything escaped (\n, \x1b, \u2028). A
 * line that is too long is cut between two characters and marked with U+2026; in JSON "truncated":true follows.
 */
#ifndef WSC_BASE_LOG_H
#define WSC_BASE_LOG_H

#include "base/bytes.h"

/* Includes the newline. At most PIPE_BUF, so that lines of several processes on one pipe are not mixed. */
#define LOG_LINE_MAX 4096

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log {
	int fd;               /* -1: no output. Need not be non-blocking */
	enum log_level level; /* lines below this level are not written */
	enum log_format format;
	/*
	 * When set, it gets the lines instead of @fd (the program sets it). @line has no newline. Called on any
	 * thread.
	 */
	void (*sink)(void *user, enum log_level level, const char *line, size_t len);
	void *user;
	struct {
		_Atomic uint64_t dropped; /* lines since the last one that was written */
	} shared;
};

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_BOOL } kind;
	struct bytes str;
	uint64_t num;
};

#define KV_STR(k, s) ((struct log_field){ .key = (k), .kind = LOG_FIELD_STR, .str = bytes_str(s) })
#define KV_BYTES(k, b) ((struct log_field){ .key = (k), .kind = LOG_FIELD_STR, .str = (b) })
#define KV_U64(k, n) ((struct log_field){ .key = (k), .kind = LOG_FIELD_U64, .num = (uint64_t)(n) })
#define KV_I64(k, n) ((struct log_field){ .key = (k), .kind = LOG_FIELD_I64, .num = (uint64_t)(int64_t)(n) })
#define KV_BOOL(k, b) ((struct log_field){ .key = (k), .kind = LOG_FIELD_BOOL, .num = (b) })

/* Borrows everything until it returns; does not change errno. Keys come from this code: letters and '_'. */
void log_write(struct log *lg, enum log_level level, const char *what, const struct log_field *fields, size_t n);

#define LOG_WRITE(lg, level, what, ...)                                             \
	log_write((lg), (level), (what), (const struct log_field[]){ __VA_ARGS__ }, \
		  sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))
/* log_info(lg, "listening", KV_STR("address", a), KV_U64("port", p)); at least one field. */
#define log_debug(lg, what, ...) LOG_WRITE(lg, LOG_DEBUG, what, __VA_ARGS__)
#define log_info(lg, what, ...) LOG_WRITE(lg, LOG_INFO, what, __VA_ARGS__)
#define log_warn(lg, what, ...) LOG_WRITE(lg, LOG_WARN, what, __VA_ARGS__)
#define log_error(lg, what, ...) LOG_WRITE(lg, LOG_ERROR, what, __VA_ARGS__)

#endif
