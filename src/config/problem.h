/* SPDX-License-Identifier: Apache-2.0 */
/*
 * problem: the list of faults and warnings, one line each:
 *
 *     config.yaml:7: wsc.heartbeat_intervall: unknown key; did you mean heartbeat_interval?
 *
 * Control characters are escaped, so that a quoted value cannot break the line or control a terminal. The caller makes
 * sure that no secret is quoted.
 */
#ifndef WSC_CONFIG_PROBLEM_H
#define WSC_CONFIG_PROBLEM_H

#include "base/buf.h"
#include "config/table.h"

/* The place where a value is written. Borrowed. */
struct place {
	const char *name;    /* a file, "environment" or "set" */
	size_t line;         /* from 1; 0: the place has no lines */
	struct bytes prefix; /* of the key: "wsc.", "wsc.security." or empty */
	struct bytes key;    /* may be empty */
};

/* Problems that are kept; one more line tells that there are others. */
#define PROBLEMS_MAX 1000

enum problem_kind { PROBLEM_FAULT, PROBLEM_WARNING };

/* Adds the line and returns -WSC_ECONFIG for a fault, 0 for a warning, -WSC_ENOMEM. */
int problem_add(struct wsc_config *c, enum problem_kind kind, const struct place *p, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same with a complete text; frees @text. */
int problem_add_buf(struct wsc_config *c, enum problem_kind kind, const struct place *p, struct buf *text);
/* Removes the problems that wsc_config_check() added. */
void problem_forget_check(struct wsc_config *c);
void problems_free(struct wsc_config *c);

/* Adds @value in quotes, cut when it is long. */
void problem_quote(struct buf *b, struct bytes value);

/*
 * The key or section that the user may have meant by @key ("heartbeat_intervall", "security.node_port"): one with a
 * similar spelling, or with the same name in another section. NULL: none is similar.
 */
const char *suggest_key(struct bytes key);
/* The most similar of @n words, or -1. */
int suggest_word(struct bytes word, const struct bytes *words, size_t n);

#endif
