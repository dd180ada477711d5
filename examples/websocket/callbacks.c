/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three callbacks of the quick reference in a whole program: it checks messages, logs them in a table, and keeps a
 * table of users with their online status.
 *
 *   cc callbacks.c -o callbacks $(pkg-config --cflags --libs wsc sqlite3 libpq)
 *   ./callbacks [PORT [DATABASE]]     8080, callbacks.db; DATABASE is a file, or postgres://user@host/name
 *
 * A row may be written after its message is sent: the hook queues the row and returns, so a slow disk delays no message,
 * but a crash may lose the last rows. If the row must come first, return WSC_PENDING here and finish the call when it is
 * written, as token_auth.c does.
 */
#include <string.h>
#include "database.h"
#include "example.h"

struct app {
	struct wsc_gateway *gateway;
	struct db *db;
};

/* ---- check messages ------------------------------------------------------------------------------------------------- */

static int on_message_received(void *user, struct wsc_call *call, const struct wsc_client *client,
			       const struct wsc_message *msg)
{
	(void)user;
	if (msg->content_len > 1000) {
		fprintf(stderr, "Message too long\n");
		wsc_reason(call, 0, "Message too long");
		return WSC_REFUSE;
	}
	if (strcmp(msg->from, client->user_id) != 0) {
		fprintf(stderr, "Sender mismatch\n");
		wsc_reason(call, 0, "Sender mismatch");
		return WSC_REFUSE;
	}
	return WSC_ALLOW;
}

/* ---- keep a log ------------------------------------------------------------------------------------------------------- */

static int on_message_send(void *user, struct wsc_call *call, struct wsc_message *msg)
{
	struct app *app = user;

	if (db_run(app->db,
		   "INSERT INTO messages (from_user_id, to_user_id, content, type, created_at) VALUES ($1, $2, $3, $4, $5)",
		   msg->from, msg->to, msg->content, msg->type, msg->create_at, NULL) == 0)
		return 0;
	wsc_reason(call, 0, "the message log is behind");
	return -1;
}

/* ---- follow who is online ----------------------------------------------------------------------------------------------- */

static int on_client_connect(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	struct app *app = user;
	char text[WSC_ID_MAX + 16];

	(void)call;
	if (client->connections > 1) /* the user is online already, with another device */
		return 0;
	db_run(app->db,
	       "INSERT INTO users (id, status) VALUES ($1, 'online') ON CONFLICT (id) DO UPDATE SET status = 'online'",
	       client->user_id, NULL);
	snprintf(text, sizeof text, "%s is online", client->user_id);
	wsc_broadcast(app->gateway,
		      &(struct wsc_message){ .type = WSC_TYPE_SYSTEM, .from = WSC_SYSTEM, .content = text }, NULL,
		      NULL);
	return 0;
}

static void on_client_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	struct app *app = user;

	(void)why;
	if (client->connections == 0) /* that was the last device */
		db_run(app->db, "UPDATE users SET status = 'offline' WHERE id = $1", client->user_id, NULL);
}

/* ------------------------------------------------------------------------------------------------------------------------- */

static void create_tables(struct db *db)
{
	db_run(db,
	       "CREATE TABLE IF NOT EXISTS messages (from_user_id TEXT, to_user_id TEXT, content TEXT, type TEXT, created_at TEXT)",
	       NULL);
	db_run(db, "CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, status TEXT NOT NULL)", NULL);
	db_run(db, "UPDATE users SET status = 'offline'",
	       NULL); /* nobody is connected yet; a crash may have left users online */
}

int main(int argc, char **argv)
{
	struct wsc_config *config = example_config(argc, argv);
	struct app app = { .db = db_open(argc > 2 ? argv[2] : "callbacks.db") };
	int status;

	if (!app.db)
		return EXIT_FAILURE;
	create_tables(app.db);
	/* The gateway checks `from` itself; this setting leaves the check to our hook. */
	wsc_config_set(config, "security.sender_mismatch", "hook");
	app.gateway = wsc_new(config, &(struct wsc_hooks){
					      .user = &app,
					      .on_message_received = on_message_received,
					      .on_message_send = on_message_send,
					      .on_client_connect = on_client_connect,
					      .on_client_disconnect = on_client_disconnect,
				      });
	wsc_register_routes(app.gateway);
	wsc_register_api(app.gateway, "/api/v1");
	status = example_run(app.gateway);
	wsc_free(app.gateway); /* calls the last on_client_disconnect */
	db_close(app.db);      /* writes its row */
	wsc_config_free(config);
	return status;
}
