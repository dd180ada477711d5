/* SPDX-License-Identifier: Apache-2.0 */
/*
 * end_in_hook: connections that a hook ends: the hook's own, its neighbours before and behind it, and all others from
 * the hook of a connection that is just ending. Each ends exactly once, with the code of a kick, and the gateway goes
 * on.
 */
#include "scene.h"

#define MANY 9

/* The hook of this scene that ends the victim; set before the gateway starts. */
struct plan {
	const char *hook;
};

static void kick_if(struct scene *s, const char *hook, const char *user)
{
	struct plan *plan = s->own;

	if (strcmp(plan->hook, hook) == 0 && strncmp(user, "victim", 6) == 0) {
		note(s, "kicked from %s", hook);
		CHECK_EQ(wsc_kick(s->gateway, user, hook, NULL, NULL), 0);
	}
}

static int kick_auth(void *user, struct wsc_call *call, const struct wsc_request *r, struct wsc_identity *id)
{
	(void)call;
	wsc_request_query(r, "user_id", id->user_id, sizeof id->user_id);
	kick_if(user, "authenticate_user", id->user_id);
	return 0;
}

static int kick_connect(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)call;
	kick_if(user, "on_client_connect", client->user_id);
	note(user, "connect %s", client->user_id);
	return 0;
}

static void kick_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	(void)why;
	kick_if(user, "on_client_disconnect", client->user_id);
	note(user, "disconnect %s", client->user_id);
}

static int kick_received(void *user, struct wsc_call *call, const struct wsc_client *client,
			 const struct wsc_message *m)
{
	(void)call, (void)m;
	kick_if(user, "on_message_received", client->user_id);
	return WSC_ALLOW;
}

static int kick_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)call;
	kick_if(user, "on_message_send", m->from);
	return 0;
}

static int kick_broadcast(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)call;
	kick_if(user, "on_broadcast", m->from);
	return 0;
}

static bool kick_welcome(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	kick_if(user, "welcome_message", client->user_id);
	welcome->content = "hello";
	return true;
}

static const struct wsc_hooks kicking = {
	.authenticate_user = kick_auth,
	.on_client_connect = kick_connect,
	.on_client_disconnect = kick_disconnect,
	.on_message_received = kick_received,
	.on_message_send = kick_send,
	.on_broadcast = kick_broadcast,
	.welcome_message = kick_welcome,
};

static struct scene *kicking_scene(struct plan *plan)
{
	struct scene *s = scene_prepare(&kicking, NULL);

	s->own = plan;
	scene_start(s);
	return s;
}

/* Makes every hook run on behalf of @victim. */
static void all_that_may_happen(struct scene *s, struct client *victim)
{
	struct answer a;

	client_say(victim, "{\"to\":\"watcher\",\"content\":\"x\"}");
	scene_post(s, "/api/v1/websocket/send", "victim", "{\"to\":\"watcher\",\"content\":\"x\"}", &a);
	scene_post(s, "/api/v1/websocket/broadcast", "victim", "{\"content\":\"y\"}", &a);
}

static void each_hook(const char *hook, struct client *(*open)(struct scene *, const char *))
{
	struct plan plan = { hook };
	struct scene *s = kicking_scene(&plan);
	struct client *watcher = scene_ws(s, "user_id=watcher"), *victim = open(s, "user_id=victim"), *next;

	all_that_may_happen(s, victim);
	client_reset(victim);
	CHECK(wait_notes(s, "disconnect victim", notes(s, "connect victim")));
	CHECK(notes(s, "kicked from") >= 1);
	next = scene_ws(s, "user_id=next");
	client_say(next, "{\"to\":\"watcher\",\"content\":\"still here\"}");
	for (const char *got; (got = client_read(watcher, -1)) && !strstr(got, "still here");)
		;
	client_close(next);
	client_close(watcher);
	scene_free(s);
}

/* Shows: threat 17 */
TEST(every_hook_may_end_the_connection_it_runs_for)
{
	static const char *const hooks[] = { "authenticate_user",   "on_client_connect", "welcome_message",
					     "on_message_received", "on_message_send",   "on_broadcast",
					     "on_client_disconnect" };

	for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
		each_hook(hooks[i], scene_ws);
		each_hook(hooks[i], scene_sse);
	}
}

/* Shows: threat 17 */
TEST(a_client_that_its_own_connect_hook_ends_gets_4410_and_leaves_once)
{
	struct plan plan = { "on_client_connect" };
	struct scene *s = kicking_scene(&plan);
	struct client *victim = scene_ws(s, "user_id=victim");

	CHECK_EQ(client_end(victim), 4410);
	CHECK(strcmp(client_reason(victim), "on_client_connect") == 0);
	CHECK(wait_notes(s, "disconnect victim", 1));
	client_free(victim);
	scene_free(s);
}

/* ---- neighbours -------------------------------------------------------------------------------------------------------- */

static void kick_number(struct scene *s, int n)
{
	char user[16];

	snprintf(user, sizeof user, "u%d", n);
	CHECK_EQ(wsc_kick(s->gateway, user, "neighbour", NULL, NULL), 0);
}

static int broadcast_ends_three(void *user, struct wsc_call *call, struct wsc_message *m)
{
	int n = atoi(m->from + 1);

	(void)call;
	for (int i = n - 1; i <= n + 1; i++)
		kick_number(user, i);
	return 0;
}

static void note_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	(void)why;
	note(user, "disconnect %s", client->user_id);
}

static void open_many(struct scene *s, struct client *of[MANY])
{
	for (int i = 0; i < MANY; i++) {
		char query[32];

		snprintf(query, sizeof query, "user_id=u%d", i);
		of[i] = i % 3 == 2 ? scene_sse(s, query) : scene_ws(s, query);
	}
}

/* Shows: threat 125 */
TEST(a_broadcast_may_end_its_sender_and_the_sessions_before_and_behind_it)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_broadcast = broadcast_ends_three,
							 .on_client_disconnect = note_disconnect },
				    NULL);
	struct client *of[MANY];
	struct answer a;

	open_many(s, of);
	CHECK(scene_post(s, "/api/v1/websocket/broadcast", "u4", "{\"content\":\"to all\"}", &a));
	CHECK_EQ(a.status, 200);
	for (int i = 0; i < MANY; i++) {
		if (i >= 3 && i <= 5) {
			CHECK_EQ(client_end(of[i]), 4410);
			continue;
		}
		if (i % 3 == 2)
			client_gets(of[i], "connected");
		client_gets(of[i], "to all");
	}
	CHECK(wait_notes(s, "disconnect u", 3));
	for (int i = 0; i < MANY; i++)
		client_free(of[i]);
	CHECK(wait_notes(s, "disconnect u", MANY));
	scene_free(s);
}

static void disconnect_ends_neighbours(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	int n = atoi(client->user_id + 1);

	(void)why;
	note(user, "disconnect %s", client->user_id);
	kick_number(user, n - 1);
	kick_number(user, n + 1);
}

/* Shows: threat 125 */
TEST(the_end_of_a_session_may_end_its_neighbours_until_none_is_left)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_client_disconnect = disconnect_ends_neighbours }, NULL);
	struct client *of[MANY];

	open_many(s, of);
	client_reset(of[4]);
	for (int i = 0; i < MANY; i++) {
		char text[32];

		snprintf(text, sizeof text, "disconnect u%d", i);
		CHECK(noted(s, text));
		CHECK_EQ(notes(s, text), 1);
		if (i != 4) {
			CHECK_EQ(client_end(of[i]), 4410);
			client_free(of[i]);
		}
	}
	scene_free(s);
}
