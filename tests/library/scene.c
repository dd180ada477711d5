/* SPDX-License-Identifier: Apache-2.0 */
/* scene: see scene.h. */
#include "scene.h"

#include <stdarg.h>
#include <time.h>

static struct scene *prepare(const struct wsc_hooks *hooks, va_list pairs)
{
	struct wsc_config *config = wsc_config_new();
	struct scene *s = calloc(1, sizeof *s);
	struct wsc_hooks mine = hooks ? *hooks : (struct wsc_hooks){ 0 };
	const char *key;

	if (!s || !config)
		abort();
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	wsc_config_set(config, "node_ip", "127.0.0.1");
	wsc_config_set(config, "node_port", "0");
	wsc_config_set(config, "workers", "2");
	while ((key = va_arg(pairs, const char *)))
		wsc_config_set(config, key, va_arg(pairs, const char *));
	mine.user = s;
	s->gateway = wsc_new(config, &mine);
	wsc_config_free(config);
	s->started = -WSC_ESTATE;
	return s;
}

struct scene *scene_prepare(const struct wsc_hooks *hooks, ...)
{
	struct scene *s;
	va_list pairs;

	va_start(pairs, hooks);
	s = prepare(hooks, pairs);
	va_end(pairs);
	return s;
}

void scene_start(struct scene *s)
{
	wsc_register_routes(s->gateway);
	wsc_register_api(s->gateway, "/api/v1");
	s->started = wsc_start(s->gateway);
	s->port = wsc_port(s->gateway);
	if (s->started != 0)
		printf("\twsc_start: %s: %s\n", wsc_strerror(s->started), wsc_error_text(s->gateway));
}

struct scene *scene_new(const struct wsc_hooks *hooks, ...)
{
	struct scene *s;
	va_list pairs;

	va_start(pairs, hooks);
	s = prepare(hooks, pairs);
	va_end(pairs);
	scene_start(s);
	return s;
}

void scene_free(struct scene *s)
{
	wsc_free(s->gateway);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}

struct client *scene_ws(struct scene *s, const char *query)
{
	char target[512];

	snprintf(target, sizeof target, "/ws?%s", query);
	return ws_open(s->port, target, NULL);
}

struct client *scene_sse(struct scene *s, const char *query)
{
	char target[512];

	snprintf(target, sizeof target, "/sse?%s", query);
	return sse_open(s->port, target);
}

bool scene_post(struct scene *s, const char *path, const char *user, const char *body, struct answer *out)
{
	char field[256] = "";

	if (user)
		snprintf(field, sizeof field, "X-User-ID: %s\r\n", user);
	return http_call(s->port, "POST", path, field, body, out);
}

/* ---- the diary ---------------------------------------------------------------------------------------------------- */

void note(struct scene *s, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&s->lock);
	if (s->nnotes < DIARY_MAX) {
		va_start(args, format);
		vsnprintf(s->notes[s->nnotes++], NOTE_MAX, format, args);
		va_end(args);
	}
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static size_t count(struct scene *s, const char *text, bool whole)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nnotes; i++)
		n += whole ? strcmp(s->notes[i], text) == 0 : strncmp(s->notes[i], text, strlen(text)) == 0;
	return n;
}

static struct timespec deadline(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += patience_ms() / 1000;
	return t;
}

static bool wait_count(struct scene *s, const char *text, bool whole, size_t n)
{
	struct timespec until = deadline();
	bool there;

	pthread_mutex_lock(&s->lock);
	while (!(there = count(s, text, whole) >= n) && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
		;
	pthread_mutex_unlock(&s->lock);
	if (!there) {
		printf("\twaited for %zu of %s\n", n, text);
		print_notes(s);
	}
	return there;
}

bool noted(struct scene *s, const char *text)
{
	return wait_count(s, text, true, 1);
}

size_t notes(struct scene *s, const char *prefix)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = count(s, prefix, false);
	pthread_mutex_unlock(&s->lock);
	return n;
}

bool wait_notes(struct scene *s, const char *prefix, size_t n)
{
	return wait_count(s, prefix, false, n);
}

void print_notes(struct scene *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->nnotes && i < 50; i++)
		printf("\tnote: %s\n", s->notes[i]);
	pthread_mutex_unlock(&s->lock);
}

/* ---- pending calls ------------------------------------------------------------------------------------------------ */

int keep(struct scene *s, struct wsc_call *call)
{
	struct wsc_pending *p = wsc_defer(call);

	pthread_mutex_lock(&s->lock);
	if (s->nkept == KEPT_MAX)
		abort();
	s->kept[s->nkept++] = p;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return WSC_PENDING;
}

struct wsc_pending *kept(struct scene *s, size_t i)
{
	struct timespec until = deadline();
	struct wsc_pending *p;

	pthread_mutex_lock(&s->lock);
	while (s->nkept <= i && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
		;
	p = s->nkept > i ? s->kept[i] : NULL;
	pthread_mutex_unlock(&s->lock);
	if (!p)
		printf("\tpending call %zu never came\n", i);
	return p;
}

void note_outcome(void *user, const struct wsc_outcome *outcome)
{
	note(user, "outcome %d %u", outcome->error, outcome->delivered_count);
	note(user, "reason %s", outcome->reason);
}
