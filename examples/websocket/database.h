/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small database client for the examples: SQLite, or PostgreSQL if the name is a postgres:// URL.
 *
 * Hooks must not block and databases do, so statements go into a queue and one thread runs them in order. The queue is
 * bounded: if it is full, db_run() fails at once, and the hook can refuse the message instead of losing its row.
 * Placeholders are $1, $2, ... for both databases, each used in this order.
 */
#ifndef DATABASE_H
#define DATABASE_H

#include <libpq-fe.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DB_QUEUE 10000
#define DB_PARAMS 8

/* Called on the database's thread, once per db_ask(). @row: the first row or NULL. @error: NULL on success. */
typedef void db_answer(void *user, const char *error, const char *const *row);

struct db_job {
	struct db_job *next;
	const char *sql; /* a literal: not copied */
	db_answer *answer;
	void *user;
	int nparams;
	char *params[DB_PARAMS];
};

struct db {
	sqlite3 *lite; /* one of these two is NULL */
	PGconn *pg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct db_job *first, **last;
	int waiting;
	bool end;
};

static inline void db_job_free(struct db_job *job)
{
	for (int i = 0; i < job->nparams; i++)
		free(job->params[i]);
	free(job);
}

static inline void db_done(const struct db_job *job, const char *error, const char *const *row)
{
	if (error)
		fprintf(stderr, "database: %s\n", error);
	if (job->answer)
		job->answer(job->user, error, row);
}

static inline void db_run_lite(struct db *db, const struct db_job *job)
{
	const char *row[DB_PARAMS];
	sqlite3_stmt *s;
	int r;

	if (sqlite3_prepare_v2(db->lite, job->sql, -1, &s, NULL) != SQLITE_OK) {
		db_done(job, sqlite3_errmsg(db->lite), NULL);
		return;
	}
	for (int i = 0; i < job->nparams; i++)
		sqlite3_bind_text(s, i + 1, job->params[i], -1, SQLITE_STATIC);
	r = sqlite3_step(s);
	for (int i = 0; r == SQLITE_ROW && i < sqlite3_column_count(s) && i < DB_PARAMS; i++)
		row[i] = (const char *)sqlite3_column_text(s, i);
	db_done(job, r == SQLITE_ROW || r == SQLITE_DONE ? NULL : sqlite3_errmsg(db->lite),
		r == SQLITE_ROW ? row : NULL);
	sqlite3_finalize(s);
}

static inline void db_run_pg(struct db *db, const struct db_job *job)
{
	const char *row[DB_PARAMS];
	bool ok, some;
	PGresult *s;

	if (PQstatus(db->pg) != CONNECTION_OK)
		PQreset(db->pg);
	s = PQexecParams(db->pg, job->sql, job->nparams, NULL, (const char *const *)job->params, NULL, NULL, 0);
	ok = PQresultStatus(s) == PGRES_COMMAND_OK || PQresultStatus(s) == PGRES_TUPLES_OK;
	some = ok && PQntuples(s) > 0;
	for (int i = 0; some && i < PQnfields(s) && i < DB_PARAMS; i++)
		row[i] = PQgetisnull(s, 0, i) ? NULL : PQgetvalue(s, 0, i);
	db_done(job, ok ? NULL : PQerrorMessage(db->pg), some ? row : NULL);
	PQclear(s);
}

static inline void *db_thread(void *arg)
{
	struct db *db = arg;
	struct db_job *job;

	for (;;) {
		pthread_mutex_lock(&db->lock);
		while (!db->first && !db->end)
			pthread_cond_wait(&db->more, &db->lock);
		job = db->first;
		if (job) {
			db->first = job->next;
			db->last = db->first ? db->last : &db->first;
			db->waiting--;
		}
		pthread_mutex_unlock(&db->lock);
		if (!job)
			return NULL;
		if (db->lite)
			db_run_lite(db, job);
		else
			db_run_pg(db, job);
		db_job_free(job);
	}
}

/* A NULL ends the parameters, so no parameter can be NULL itself. */
static inline int db_queue(struct db *db, db_answer *answer, void *user, const char *sql, va_list params)
{
	struct db_job *job = calloc(1, sizeof *job);
	const char *param;
	bool ok = job != NULL;

	while (ok && (param = va_arg(params, const char *)) && job->nparams < DB_PARAMS)
		ok = (job->params[job->nparams++] = strdup(param)) != NULL;
	if (ok) {
		job->sql = sql;
		job->answer = answer;
		job->user = user;
		pthread_mutex_lock(&db->lock);
		ok = db->waiting < DB_QUEUE;
		if (ok) {
			*db->last = job;
			db->last = &job->next;
			db->waiting++;
			pthread_cond_signal(&db->more);
		}
		pthread_mutex_unlock(&db->lock);
	}
	if (!ok && job)
		db_job_free(job);
	return ok ? 0 : -1;
}

/*
 * Queues a statement with text parameters and a NULL after them. Never blocks; any thread may call it. Returns 0, or -1
 * if the queue is full or memory is out. Later errors are printed on standard error.
 */
static inline int db_run(struct db *db, const char *sql, ...)
{
	va_list params;
	int r;

	va_start(params, sql);
	r = db_queue(db, NULL, NULL, sql, params);
	va_end(params);
	return r;
}

/* The same, and calls @answer with the outcome, unless it returns -1. */
static inline int db_ask(struct db *db, db_answer *answer, void *user, const char *sql, ...)
{
	va_list params;
	int r;

	va_start(params, sql);
	r = db_queue(db, answer, user, sql, params);
	va_end(params);
	return r;
}

static inline struct db *db_fail(struct db *db, const char *why)
{
	fprintf(stderr, "database: %s\n", why);
	sqlite3_close(db->lite);
	PQfinish(db->pg);
	free(db);
	return NULL;
}

/* @name: a file for SQLite, or postgres://user@host/name. On failure prints a line on standard error and returns NULL. */
static inline struct db *db_open(const char *name)
{
	struct db *db = calloc(1, sizeof *db);

	if (!db)
		return NULL;
	if (strncmp(name, "postgres://", 11) == 0 || strncmp(name, "postgresql://", 13) == 0) {
		db->pg = PQconnectdb(name);
		if (PQstatus(db->pg) != CONNECTION_OK)
			return db_fail(db, PQerrorMessage(db->pg));
	} else {
		if (sqlite3_open(name, &db->lite) != SQLITE_OK)
			return db_fail(db, sqlite3_errmsg(db->lite));
		sqlite3_busy_timeout(db->lite, 5000);
		/* Other programs may read while we write; the system may write a row to disk later. */
		sqlite3_exec(db->lite, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	}
	pthread_mutex_init(&db->lock, NULL);
	pthread_cond_init(&db->more, NULL);
	db->last = &db->first;
	if (pthread_create(&db->thread, NULL, db_thread, db) != 0)
		return db_fail(db, "no thread");
	return db;
}

/* Runs the queued statements, then closes. */
static inline void db_close(struct db *db)
{
	pthread_mutex_lock(&db->lock);
	db->end = true;
	pthread_cond_signal(&db->more);
	pthread_mutex_unlock(&db->lock);
	pthread_join(db->thread, NULL);
	sqlite3_close(db->lite);
	PQfinish(db->pg);
	pthread_mutex_destroy(&db->lock);
	pthread_cond_destroy(&db->more);
	free(db);
}

#endif
