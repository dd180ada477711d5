/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scene: one gateway for one test, on a port of its own, and a diary in which hooks and callbacks, on whatever thread
 * they run, note what happened. Of libwsc it uses the public headers only.
 */
#ifndef WSC_TESTS_LIBRARY_SCENE_H
#define WSC_TESTS_LIBRARY_SCENE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wsc/wsc.h>
#include "client.h"
#include "unit/test.h"

#define DIARY_MAX 4096
#define NOTE_MAX 200
#define KEPT_MAX 64

struct scene {
	struct wsc_gateway *gateway;
	uint16_t port;
	int started; /* the result of wsc_start() */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t nnotes;
	char notes[DIARY_MAX][NOTE_MAX];
	/* Pending calls that the test finishes itself, in the order they came. */
	size_t nkept;
	struct wsc_pending *kept[KEPT_MAX];
	void *own; /* a test's own, for its hooks */
};

/*
 * A running gateway with two workers on 127.0.0.1, all routes mounted, the API under /api/v1. @hooks NULL: none; their
 * user is the scene. Then pairs of key and value, and NULL.
 */
struct scene *scene_new(const struct wsc_hooks *hooks, ...) __attribute__((sentinel));
/* The same, not started yet. */
struct scene *scene_prepare(const struct wsc_hooks *hooks, ...) __attribute__((sentinel));
void scene_start(struct scene *s);
/* Frees the gateway at once, connections or not. */
void scene_free(struct scene *s);

struct client *scene_ws(struct scene *s, const char *query);
struct client *scene_sse(struct scene *s, const char *query);
bool scene_post(struct scene *s, const char *path, const char *user, const char *body, struct answer *out);

void note(struct scene *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits until a note is @text; false: it did not come. */
bool noted(struct scene *s, const char *text);
/* How many notes begin with @prefix. */
size_t notes(struct scene *s, const char *prefix);
/* Waits until there are @n notes that begin with @prefix. */
bool wait_notes(struct scene *s, const char *prefix, size_t n);
/* All of them, for a failed test. */
void print_notes(struct scene *s);

/* In a hook: keeps the call for the test. Returns WSC_PENDING. */
int keep(struct scene *s, struct wsc_call *call);
/* In the test: the @i-th call that was kept; waits for it. */
struct wsc_pending *kept(struct scene *s, size_t i);

/* A wsc_done_fn: notes "outcome ERROR COUNT" in the scene that @user is. */
void note_outcome(void *user, const struct wsc_outcome *outcome);

#endif
