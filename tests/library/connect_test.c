/* SPDX-License-Identifier: Apache-2.0 */
/*
 * on_client_connect, on_client_disconnect, welcome_message: a connection opens, is greeted and ends, each exactly once.
 */
#include "scene.h"

static const char *const transports[] = { "ws", "sse", "http" };

static int come(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)call;
	note(user, "came %s %s %u", client->user_id, transports[client->transport], client->connections);
	return 0;
}

static void go(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	note(user, "left %s %u %s left=%u [%s]", client->user_id, why->code, why->by_client ? "client" : "server",
	     client->connections, why->reason);
}

static const struct wsc_hooks both = { .on_client_connect = come, .on_client_disconnect = go };

/* ---- coming ------------------------------------------------------------------------------------------------------- */

static int describe(void *user, struct wsc_call *call, const struct wsc_client *c)
{
	(void)call;
	note(user, "id %s", c->client_id);
	note(user, "%s %s [%s] [%s] [%s] [%s]", c->user_id, c->user_type, c->ticket_id, c->role, c->device_id,
	     c->client_type);
	return 0;
}

/* Shows: 2.attributes, 8.on_client_connect */
TEST(on_client_connect_sees_each_new_client)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_client_connect = describe }, NULL);
	struct client *c =
		scene_ws(s, "user_id=alice&user_type=vip&ticket_id=t1&role=owner&device_id=d1&client_type=web");
	struct client *d = scene_sse(s, "user_id=bob");
	const char *id;
	char text[64];

	CHECK(noted(s, "alice vip [t1] [owner] [d1] [web]"));
	CHECK(noted(s, "bob customer [] [] [] []"));
	id = strcasestr(client_answer(c), "X-WSC-Client-ID: ");
	if (CHECK(id != NULL)) {
		snprintf(text, sizeof text, "id %.32s", id + 17);
		CHECK(noted(s, text));
	}
	client_close(c);
	client_free(d);
	scene_free(s);
}

/* Shows: 8.on_client_connect */
TEST(connections_of_a_user_are_counted_on_connect_and_on_disconnect)
{
	struct scene *s = scene_new(&both, NULL);
	struct client *one = scene_ws(s, "user_id=alice"), *two, *bob;

	CHECK(noted(s, "came alice ws 1"));
	two = scene_sse(s, "user_id=alice");
	CHECK(noted(s, "came alice sse 2"));
	bob = scene_ws(s, "user_id=bob");
	CHECK(noted(s, "came bob ws 1"));
	client_close(one);
	CHECK(noted(s, "left alice 1000 client left=1 [closed by the client]"));
	client_free(two);
	CHECK(noted(s, "left alice 1006 client left=0 []"));
	client_close(bob);
	scene_free(s);
}

static int refuse(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)user, (void)client;
	wsc_reason(call, 0, "closed on Sundays");
	return -1;
}

/* Shows: 7.4403, 8.on_client_connect */
TEST(a_refusal_by_on_client_connect_closes_4403_and_is_403_for_a_stream)
{
	struct scene *s =
		scene_new(&(struct wsc_hooks){ .on_client_connect = refuse, .on_client_disconnect = go }, NULL);
	struct client *ws = scene_ws(s, "user_id=alice"), *sse = scene_sse(s, "user_id=alice");
	struct answer a;

	CHECK_EQ(client_status(ws), 101);
	CHECK(client_read(ws, -1) == NULL);
	CHECK_EQ(client_end(ws), 4403);
	CHECK(strcmp(client_reason(ws), "closed on Sundays") == 0);
	CHECK_EQ(client_status(sse), 403);
	CHECK(strstr(client_answer(sse), "closed on Sundays") != NULL);
	CHECK(http_call(s->port, "GET", "/wsc/online", NULL, NULL, &a));
	CHECK(strstr(a.body, "\"total\":0") != NULL);
	client_free(ws);
	client_free(sse);
	CHECK_EQ(notes(s, "left"), 0);
	scene_free(s);
}

static int come_later(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	come(user, call, client);
	return keep(user, call);
}

static const struct wsc_hooks pending = { .on_client_connect = come_later, .on_client_disconnect = go };

/* Shows: 8.on_client_connect, threat 171 */
TEST(a_pending_connect_is_let_in_by_another_thread_and_misses_nothing)
{
	struct scene *s = scene_new(&pending, NULL);
	struct client *c = ws_begin(s->port, "/ws?user_id=alice", NULL);
	struct wsc_pending *p = kept(s, 0);

	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "alice", .content = "one" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 1"));
	wsc_finish(p, 0, NULL);
	CHECK_EQ(client_status(c), 101);
	CHECK(client_gets(c, "\"content\":\"one\""));
	client_close(c);
	CHECK(noted(s, "left alice 1000 client left=0 [closed by the client]"));
	scene_free(s);
}

TEST(a_pending_connect_is_refused_by_another_thread)
{
	struct scene *s = scene_new(&pending, NULL);
	struct client *c = ws_begin(s->port, "/ws?user_id=alice", NULL), *d;

	wsc_finish(kept(s, 0), -1, "not today");
	CHECK_EQ(client_end(c), 4403);
	CHECK(strcmp(client_reason(c), "not today") == 0);
	d = ws_begin(s->port, "/sse?user_id=alice", NULL);
	wsc_finish(kept(s, 1), -1, "nor tomorrow");
	CHECK_EQ(client_status(d), 403);
	client_free(c);
	client_free(d);
	scene_free(s);
	/* No client was let in, so none has left. */
}

TEST(a_connect_that_stays_pending_beyond_hook_timeout_is_503)
{
	struct scene *s = scene_new(&pending, "hook_timeout", "100ms", NULL);
	struct client *c = ws_begin(s->port, "/ws?user_id=alice", NULL);

	CHECK_EQ(client_status(c), 503);
	CHECK(strstr(client_answer(c), "hook_timeout") != NULL);
	CHECK_EQ(notes(s, "left"), 0);
	/* The program lets in a client that has left: on_client_disconnect follows, so that its counts agree. */
	wsc_finish(kept(s, 0), 0, NULL);
	CHECK(wait_notes(s, "left alice", 1));
	client_free(c);
	scene_free(s);
}

/* Shows: threat 116 */
TEST(a_client_that_leaves_while_pending_has_left_once_if_let_in_and_never_otherwise)
{
	struct scene *s = scene_new(&pending, NULL);

	client_reset(ws_begin(s->port, "/ws?user_id=alice", NULL));
	wsc_finish(kept(s, 0), 0, NULL);
	CHECK(wait_notes(s, "left alice", 1));
	client_reset(ws_begin(s->port, "/ws?user_id=bob", NULL));
	wsc_finish(kept(s, 1), -1, NULL);
	client_reset(ws_begin(s->port, "/ws?user_id=carol", NULL));
	wsc_finish(kept(s, 2), 0, NULL);
	CHECK(wait_notes(s, "left carol", 1));
	CHECK_EQ(notes(s, "left bob"), 0);
	CHECK_EQ(notes(s, "left"), 2);
	scene_free(s);
}

/* ---- going -------------------------------------------------------------------------------------------------------- */

/* Once, and not once more when the gateway ends. */
static void check_left_once(struct scene *s, const char *text)
{
	CHECK(noted(s, text));
	wsc_stop(s->gateway, 1000);
	wsc_wait(s->gateway);
	if (!CHECK_EQ(notes(s, "left"), 1))
		print_notes(s);
	scene_free(s);
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_after_a_client_close)
{
	struct scene *s = scene_new(&both, NULL);

	client_close(scene_ws(s, "user_id=alice"));
	check_left_once(s, "left alice 1000 client left=0 [closed by the client]");
}

/* Shows: 8.on_client_disconnect, threat 119 */
TEST(on_client_disconnect_after_a_reset)
{
	struct scene *s = scene_new(&both, NULL);

	client_reset(scene_ws(s, "user_id=alice"));
	check_left_once(s, "left alice 1006 client left=0 []");
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_after_the_socket_just_ends)
{
	struct scene *s = scene_new(&both, NULL);

	client_free(scene_ws(s, "user_id=alice"));
	check_left_once(s, "left alice 1006 client left=0 []");
}

/* Shows: 7.4410, 8.on_client_disconnect */
TEST(on_client_disconnect_after_a_kick)
{
	struct scene *s = scene_new(&both, NULL);
	struct client *c = scene_ws(s, "user_id=alice");

	CHECK_EQ(wsc_kick(s->gateway, "alice", "bad manners", note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 1"));
	CHECK_EQ(client_end(c), 4410);
	client_free(c);
	check_left_once(s, "left alice 4410 server left=0 [bad manners]");
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_after_a_protocol_error)
{
	struct scene *s = scene_new(&both, NULL);
	struct client *c = scene_ws(s, "user_id=alice");

	client_raw(c, "\x81\x02hi", 4); /* a frame without mask */
	CHECK_EQ(client_end(c), 1002);
	client_free(c);
	CHECK(wait_notes(s, "left alice 1002 server", 1));
	CHECK_EQ(notes(s, "left"), 1);
	scene_free(s);
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_after_the_heartbeat_timeout)
{
	struct scene *s = scene_new(&both, "heartbeat_interval", "50ms", "client_timeout", "150ms", NULL);
	struct client *c = scene_ws(s, "user_id=alice");

	CHECK(wait_notes(s, "left alice 4408 server left=0", 1)); /* we do not read, so no pong goes back */
	client_end(c);
	client_free(c);
	CHECK_EQ(notes(s, "left"), 1);
	scene_free(s);
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_after_another_device_took_over)
{
	struct scene *s = scene_new(&both, "max_connections_per_user", "1", NULL);
	struct client *old = scene_ws(s, "user_id=alice"), *new = scene_ws(s, "user_id=alice");

	CHECK_EQ(client_end(old), 4409);
	CHECK(wait_notes(s, "left alice 4409 server", 1));
	CHECK_EQ(notes(s, "left"), 1);
	client_close(new);
	CHECK(wait_notes(s, "left alice 1000 client left=0", 1));
	client_free(old);
	scene_free(s);
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_of_a_stream_that_its_client_leaves)
{
	struct scene *s = scene_new(&both, NULL);

	client_free(scene_sse(s, "user_id=alice"));
	check_left_once(s, "left alice 1006 client left=0 []");
}

/* Shows: 8.on_client_disconnect */
TEST(on_client_disconnect_for_every_client_at_shutdown)
{
	struct scene *s = scene_new(&both, NULL);
	struct client *c[6];
	char query[32];

	for (int i = 0; i < 6; i++) {
		snprintf(query, sizeof query, "user_id=user%d", i);
		c[i] = i & 1 ? scene_sse(s, query) : scene_ws(s, query);
		CHECK_EQ(client_status(c[i]), i & 1 ? 200 : 101);
	}
	wsc_stop(s->gateway, (unsigned)patience_ms());
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(client_end(c[i]), 1001);
		client_free(c[i]);
	}
	CHECK_EQ(wsc_wait(s->gateway), 0);
	CHECK_EQ(notes(s, "left"), 6);
	for (int i = 0; i < 6; i++) {
		snprintf(query, sizeof query, "left user%d 1001 server", i);
		CHECK_EQ(notes(s, query), 1);
	}
	scene_free(s);
}

/* The notes of hooks must outlive the gateway here, so the scene is taken apart by hand. */
TEST(on_client_disconnect_for_every_client_when_the_gateway_is_freed)
{
	struct scene *s = scene_new(&both, NULL);
	struct client *ws = scene_ws(s, "user_id=alice"), *sse = scene_sse(s, "user_id=bob");

	CHECK_EQ(client_status(ws), 101);
	CHECK_EQ(client_status(sse), 200);
	wsc_free(s->gateway);
	s->gateway = NULL;
	CHECK_EQ(notes(s, "left alice"), 1);
	CHECK_EQ(notes(s, "left bob"), 1);
	client_free(ws);
	client_free(sse);
	scene_free(s);
}

/* ---- hooks that end their own client -------------------------------------------------------------------------------- */

static int come_and_be_kicked(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	struct scene *s = user;

	come(user, call, client);
	CHECK_EQ(wsc_kick(s->gateway, client->user_id, "out at once", note_outcome, s), 0);
	return 0;
}

/* Shows: threat 17 */
TEST(a_kick_from_within_on_client_connect_takes_effect_once_it_is_connected)
{
	struct scene *s = scene_new(
		&(struct wsc_hooks){ .on_client_connect = come_and_be_kicked, .on_client_disconnect = go }, NULL);
	struct client *ws = scene_ws(s, "user_id=alice"), *sse = scene_sse(s, "user_id=bob");

	CHECK_EQ(client_end(ws), 4410);
	CHECK(strcmp(client_reason(ws), "out at once") == 0);
	CHECK_EQ(client_end(sse), 4410);
	client_free(ws);
	client_free(sse);
	CHECK(noted(s, "left alice 4410 server left=0 [out at once]"));
	CHECK(noted(s, "left bob 4410 server left=0 [out at once]"));
	CHECK_EQ(notes(s, "left"), 2);
	CHECK_EQ(notes(s, "outcome 0 1"), 2);
	scene_free(s);
}

/* Shows: threat 95 */
TEST(a_kick_while_the_connect_is_pending_ends_the_client)
{
	struct scene *s = scene_new(&pending, NULL);
	struct client *c = ws_begin(s->port, "/ws?user_id=alice", NULL);
	struct wsc_pending *p = kept(s, 0);

	CHECK_EQ(wsc_kick(s->gateway, "alice", "changed our mind", note_outcome, s), 0);
	CHECK(wait_notes(s, "outcome", 1));
	wsc_finish(p, 0, NULL);
	CHECK_EQ(client_end(c), 4410);
	client_free(c);
	CHECK(wait_notes(s, "left alice", 1));
	CHECK_EQ(notes(s, "left"), 1);
	scene_free(s);
}

static int come_and_stop(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)call, (void)client;
	wsc_stop(((struct scene *)user)->gateway, 2000);
	return 0;
}

TEST(a_hook_may_stop_the_gateway)
{
	struct scene *s =
		scene_new(&(struct wsc_hooks){ .on_client_connect = come_and_stop, .on_client_disconnect = go }, NULL);
	struct client *c = scene_ws(s, "user_id=alice");

	CHECK_EQ(client_end(c), 1001);
	client_free(c);
	CHECK_EQ(wsc_wait(s->gateway), 0);
	CHECK_EQ(notes(s, "left alice 1001"), 1);
	scene_free(s);
}

/* ---- the welcome ---------------------------------------------------------------------------------------------------- */

static int come_and_tell(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	struct scene *s = user;
	char text[64];

	(void)call;
	snprintf(text, sizeof text, "%s is online", client->user_id);
	wsc_broadcast(s->gateway, &(struct wsc_message){ .type = WSC_TYPE_SYSTEM, .content = text }, NULL, NULL);
	wsc_send(s->gateway, &(struct wsc_message){ .to = client->user_id, .content = "to you" }, NULL, NULL);
	return 0;
}

static bool greet(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	static const char text[] = "Welcome!";

	(void)user;
	if (strcmp(client->user_id, "stranger") == 0)
		return false;
	welcome->content = text;
	welcome->data = "{\"rooms\":[1,2]}";
	return true;
}

static const struct wsc_hooks welcoming = { .on_client_connect = come_and_tell, .welcome_message = greet };

/* Shows: 8.welcome_message */
TEST(the_welcome_is_the_first_message_before_all_that_on_client_connect_caused)
{
	struct scene *s = scene_new(&welcoming, NULL);
	struct client *c = scene_ws(s, "user_id=alice");
	const char *first = client_read(c, -1);
	bool online = false, to_you = false;

	if (CHECK(first != NULL)) {
		CHECK(strstr(first, "\"type\":\"welcome\"") != NULL);
		CHECK(strstr(first, "\"from\":\"system\",\"to\":\"alice\",\"content\":\"Welcome!\"") != NULL);
		CHECK(strstr(first, "\"data\":{\"rooms\":[1,2]}") != NULL);
	}
	for (int i = 0; i < 2; i++) {
		const char *text = client_read(c, -1);

		online |= text && strstr(text, "alice is online");
		to_you |= text && strstr(text, "to you");
	}
	CHECK(online);
	CHECK(to_you);
	client_close(c);
	scene_free(s);
}

/* Shows: 8.welcome_message */
TEST(the_welcome_follows_connected_on_a_stream)
{
	struct scene *s = scene_new(&welcoming, NULL);
	struct client *c = scene_sse(s, "user_id=alice");

	CHECK(client_gets(c, "\"type\":\"connected\""));
	CHECK(client_gets(c, "\"type\":\"welcome\""));
	CHECK(client_gets(c, "\"content\""));
	client_free(c);
	scene_free(s);
}

/* Shows: 8.welcome_message, threat 23 */
TEST(no_welcome_is_no_message)
{
	struct scene *s = scene_new(&welcoming, NULL);
	struct client *c = scene_ws(s, "user_id=stranger");
	const char *first = client_read(c, -1);

	CHECK(first && !strstr(first, "\"type\":\"welcome\""));
	client_close(c);
	scene_free(s);
}

static bool greet_badly(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	(void)user, (void)client;
	welcome->content = "hello";
	welcome->data = "[not, an object";
	return true;
}

static void problem(void *user, const struct wsc_problem *p)
{
	note(user, "problem %d %s: %s", p->severity, p->source, p->text);
}

/* Shows: 8.on_error, threat 23 */
TEST(on_error_gets_each_problem_with_source_and_severity)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .welcome_message = greet_badly, .on_error = problem }, NULL);
	struct client *c = scene_ws(s, "user_id=alice");

	CHECK(client_gets(c, "\"content\":\"hello\""));
	CHECK(wait_notes(s, "problem 1 hook: ", 1));
	client_close(c);
	scene_free(s);
}
