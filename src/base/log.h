/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one event, one line, at most LOG_LINE_MAX bytes; text for people or JSON for machines. A fixed sentence first,
 * the data in fields. Bytes below 0x20, 0x7f, broken UTF-8 and the characters that steer a terminal or a line (C1
 * controls, U+2028, U+2029, bidirectional marks) are escaped, so that nobody outside can forge a line or drive a
 * terminal. Lines may come from any thread: each is one write(2). Whatever cannot be written without waiting is
 * counted and dropped, and the next line says how many. Stamps are the system's wall clock.
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

/* Newline included. No more than PIPE_BUF, so that lines of several processes on one pipe stay whole. */
#define LOG_LINE_MAX 4096

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log {
	int fd;               /* -1: nowhere. Need not be non-blocking */
	enum log_level level; /* lower ones are dropped */
	enum log_format format;
	/*
	 * When set, the lines go here instead of @fd (the library's host program). @line is without newline. Any
	 * thread.
	 */
	void (*sink)(void *user, enum log_level level, const char *line, size_t len);
	void *user;
	struct {
		_Atomic uint64_t dropped; /* since the last line that could be written */
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

/* Borrows everything until it returns; leaves errno alone. Keys are the program's own words: letters and '_'. */
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
