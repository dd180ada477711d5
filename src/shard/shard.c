/* SPDX-License-Identifier: Apache-2.0 */
/* shard: see shard.h. */
#include "shard/shard.h"

#include <pthread.h>
#include "api/end.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "proto/envelope.h"

unsigned shard_of_user(const struct settings *set, struct bytes user_id)
{
	return (unsigned)(siphash13(set->seed, user_id) % set->nshards);
}

struct bytes shard_stamp(struct shard *sh)
{
	if (sh->stamp_ms != sh->now.wall_ms) {
		rfc3339_format(sh->now.wall_ms, sh->stamp);
		sh->stamp_ms = sh->now.wall_ms;
	}
	return bytes_of(sh->stamp, sizeof sh->stamp);
}

void shard_ulid(struct shard *sh, char out[ULID_LEN])
{
	ulid_make(&sh->ulid, &sh->rng, sh->now.wall_ms, out);
}

void shard_count_delivered(struct shard *sh)
{
	if (sh->delivered.n)
		metric_observe_n(&sh->metrics, delivery, sh->delivered.waited_us * UINT64_C(1000), sh->delivered.n);
	sh->delivered.n = 0;
}

struct msg *shard_message(struct shard *sh, struct bytes type, struct bytes to, struct bytes content, struct bytes data,
			  struct bytes extra)
{
	char id[ULID_LEN];
	struct envelope_out o = {
		.type = envelope_plain(type),
		.from = envelope_plain(BYTES("system")),
		.to = envelope_plain(to),
		.content = envelope_plain(content),
		.create_at = envelope_plain(shard_stamp(sh)),
		.data = data,
		.extra = extra,
	};
	struct msg *m;

	shard_ulid(sh, id);
	o.id = envelope_plain(bytes_of(id, sizeof id));
	m = msg_new(hub_owner(sh->hub), MSG_SERVER, envelope_size(&o));
	if (m)
		m->len = (uint32_t)envelope_write(&o, m->json);
	return m;
}

void shard_problem(struct shard *sh, enum wsc_severity severity, const char *source, const char *text)
{
	const struct wsc_hooks *hooks = &sh->set->hooks;

	LOG_WRITE(&sh->set->log, severity == WSC_ERROR ? LOG_ERROR : LOG_WARN, text, KV_STR("source", source));
	if (hooks->on_error)
		hooks->on_error(hooks->user,
				&(struct wsc_problem){ .severity = severity, .source = source, .text = text });
}

void shard_problem_errno(struct shard *sh, const char *source, int error)
{
	const char *text = strerrordesc_np(error);

	shard_problem(sh, WSC_ERROR, source, text ? text : "unknown error of the system");
}

void shard_problem_seldom(struct shard *sh, uint64_t *last_ms, const char *source, int error)
{
	uint64_t now = now_ms(sh->now);

	if (*last_ms && now - *last_ms < 10000)
		return;
	*last_ms = now;
	shard_problem_errno(sh, source, error);
}

/* ---- event streams that were replaced ---------------------------------------------------------------------------- */

void evicted_note(struct shard *sh, uint64_t client)
{
	sh->evicted[sh->evicted_next++ % EVICTED_MAX] = (struct evicted){ client, now_ms(sh->now) + EVICTED_MS };
}

bool evicted_recently(struct shard *sh, uint64_t client)
{
	for (unsigned i = 0; i < EVICTED_MAX; i++)
		if (sh->evicted[i].client == client && sh->evicted[i].until_ms > now_ms(sh->now)) {
			sh->evicted[i].until_ms = 0; /* once, because a second attempt is a person's wish */
			return true;
		}
	return false;
}

/* ---- close reasons that last ---------------------------------------------------------------------------------------- */

#define REASONS_MAX 256

struct reasons {
	pthread_mutex_t lock;
	unsigned n;
	char *at[REASONS_MAX];
};

struct reasons *reasons_new(void)
{
	struct reasons *r = mem_zalloc(sizeof *r);

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

void reasons_free(struct reasons *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->n; i++)
		mem_free(r->at[i]);
	pthread_mutex_destroy(&r->lock);
	mem_free(r);
}

const char *reason_keep(struct settings *set, const char *reason)
{
	struct reasons *r = set->reasons;
	const char *kept = NULL;

	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < r->n && !kept; i++)
		if (strcmp(r->at[i], reason) == 0)
			kept = r->at[i];
	if (!kept && r->n < REASONS_MAX && (r->at[r->n] = mem_strndup(reason, strlen(reason))))
		kept = r->at[r->n++];
	pthread_mutex_unlock(&r->lock);
	return kept ? kept : end_why(END_KICKED);
}
