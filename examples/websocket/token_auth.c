/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication by token, with an answer that comes later: the hook asks the database and returns WSC_PENDING, and the
 * database's thread finishes the call. Meanwhile the worker serves other clients.
 *
 *   cc token_auth.c -o token_auth $(pkg-config --cflags --libs wsc sqlite3 libpq)
 *   ./token_auth [PORT [DATABASE]]     default: 8080, tokens.db; a new one has the tokens alice-token and bob-token
 *
 * The token comes in the query (browsers cannot set headers on a WebSocket) or as "Authorization: Bearer TOKEN".
 */
#include <string.h>
#include "database.h"
#include "example.h"

static bool find_token(const struct wsc_request *request, char *out, size_t size)
{
	char header[512];
	size_t len;

	if (wsc_request_query(request, "token", out, size))
		return true;
	if (!wsc_request_header(request, "Authorization", header, sizeof header) || strncmp(header, "Bearer ", 7) != 0)
		return false;
	len = strlen(header + 7);
	if (len >= size) /* a truncated token could be the token of another user */
		return false;
	memcpy(out, header + 7, len + 1);
	return true;
}

/* Called on the database's thread. */
static void token_found(void *user, const char *error, const char *const *row)
{
	struct wsc_pending *pending = user;
	struct wsc_identity id = { .user_id = "" };

	if (error) {
		wsc_finish_identity(pending, -1, NULL, 503, "tokens cannot be checked just now");
	} else if (!row) {
		wsc_finish_identity(pending, -1, NULL, 401, "this token is not valid");
	} else {
		snprintf(id.user_id, sizeof id.user_id, "%s", row[0]);
		snprintf(id.user_type, sizeof id.user_type, "%s", row[1]);
		wsc_finish_identity(pending, 0, &id, 0, NULL);
	}
}

static int authenticate_user(void *user, struct wsc_call *call, const struct wsc_request *request,
			     struct wsc_identity *id)
{
	struct db *db = user;
	struct wsc_pending *pending;
	char token[256];

	(void)id;
	if (!find_token(request, token, sizeof token)) {
		wsc_reason(call, 401, "a token is required");
		return -1;
	}
	pending = wsc_defer(call);
	if (!pending || db_ask(db, token_found, pending, "SELECT user_id, user_type FROM tokens WHERE token = $1",
			       token, NULL) != 0) {
		if (pending)
			wsc_finish_identity(pending, -1, NULL, 503, "too many are asking");
		return pending ? WSC_PENDING : -1;
	}
	return WSC_PENDING;
}

static void create_tokens(struct db *db)
{
	db_run(db,
	       "CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, user_id TEXT NOT NULL, user_type TEXT NOT NULL)",
	       NULL);
	db_run(db,
	       "INSERT INTO tokens VALUES ('alice-token', 'alice', 'customer'), ('bob-token', 'bob', 'agent') ON CONFLICT DO NOTHING",
	       NULL);
}

int main(int argc, char **argv)
{
	struct wsc_config *config = example_config(argc, argv);
	struct db *db = db_open(argc > 2 ? argv[2] : "tokens.db");
	struct wsc_gateway *gateway;
	int status;

	if (!db)
		return EXIT_FAILURE;
	create_tokens(db);
	gateway = wsc_new(config, &(struct wsc_hooks){ .user = db, .authenticate_user = authenticate_user });
	wsc_register_routes(gateway);
	wsc_register_api(gateway, "/api/v1");
	status = example_run(gateway);
	db_close(db);      /* finishes every pending call; this must happen */
	wsc_free(gateway); /* before the gateway is freed */
	wsc_config_free(config);
	return status;
}
