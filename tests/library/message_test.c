/* SPDX-License-Identifier: Apache-2.0 */
/*
 * on_message_received, on_message_send, on_broadcast: which messages they see, how often, and the effect of their
 * answer.
 */
#include "scene.h"

#define SEND "/api/v1/websocket/send"
#define BROADCAST "/api/v1/websocket/broadcast"

static const char *or_none(const char *text)
{
	return text ? text : "-";
}

static int received(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	note(user, "received %s by %s %s", m->content, client->user_id, client->client_id[0] ? "socket" : "post");
	if (strstr(m->content, "forbidden")) {
		wsc_reason(call, 0, "we do not say \"forbidden\"");
		return WSC_REFUSE;
	}
	return WSC_ALLOW;
}

static int sent(void *user, struct wsc_call *call, struct wsc_message *m)
{
	note(user, "sent %s %s>%s", m->content, m->from, m->to[0] ? m->to : m->ticket_id);
	if (strstr(m->content, "stop")) {
		wsc_reason(call, 0, "the log is full");
		return -1;
	}
	return 0;
}

static int broadcast(void *user, struct wsc_call *call, struct wsc_message *m)
{
	note(user, "broadcast %s %s %s [%s]", m->content, m->type, m->from, m->to);
	if (strstr(m->content, "stop")) {
		wsc_reason(call, 0, "not to everybody");
		return -1;
	}
	return 0;
}

static const struct wsc_hooks all = { .on_message_received = received,
				      .on_message_send = sent,
				      .on_broadcast = broadcast };

static void tell(struct client *c, const char *to, const char *content)
{
	client_say(c, "{\"id\":\"id-%s\",\"to\":\"%s\",\"content\":\"%s\"}", content, to, content);
}

/* ---- on_message_received ------------------------------------------------------------------------------------------ */

/* Shows: 8.on_message_received */
TEST(on_message_received_sees_messages_on_ws_and_by_post)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_sse(s, "user_id=bob");
	struct answer a;

	CHECK(client_gets(bob, "connected"));
	tell(alice, "bob", "one");
	CHECK(client_gets(bob, "\"content\":\"one\""));
	CHECK(scene_post(s, SEND, "carol", "{\"to\":\"bob\",\"content\":\"two\"}", &a));
	CHECK_EQ(a.status, 200);
	CHECK(client_gets(bob, "\"content\":\"two\""));
	CHECK(noted(s, "received one by alice socket"));
	CHECK(noted(s, "received two by carol post"));
	CHECK_EQ(notes(s, "received"), 2);
	client_close(alice);
	client_free(bob);
	scene_free(s);
}

TEST(on_message_received_does_not_see_broadcasts_pings_or_messages_of_the_program)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice");
	struct answer a;

	CHECK(scene_post(s, BROADCAST, "bob", "{\"content\":\"all\"}", &a));
	CHECK(client_gets(alice, "all"));
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "alice", .content = "mine" }, NULL, NULL), 0);
	CHECK(client_gets(alice, "mine"));
	client_say(alice, "ping");
	CHECK(client_gets(alice, "pong"));
	client_say(alice, "{\"type\":\"ping\",\"to\":\"bob\",\"content\":\"x\"}");
	CHECK(client_gets(alice, "\"type\":\"pong\""));
	CHECK_EQ(notes(s, "received"), 0);
	client_close(alice);
	scene_free(s);
}

/* Shows: 8.on_message_received */
TEST(on_message_received_comes_after_the_built_in_checks)
{
	struct scene *s = scene_new(&all, "security.max_content_length", "10", NULL);
	struct client *alice = scene_ws(s, "user_id=alice");
	struct answer a;

	client_say(alice, "{\"to\":\"bob\",\"from\":\"eve\",\"content\":\"x\"}");
	CHECK(client_gets(alice, "\"code\":\"sender_mismatch\""));
	client_say(alice, "{\"content\":\"x\"}");
	CHECK(client_gets(alice, "\"code\":\"no_recipient\""));
	client_say(alice, "{\"to\":\"bob\"}");
	CHECK(client_gets(alice, "\"code\":\"bad_message\""));
	tell(alice, "bob", "more than ten bytes");
	CHECK(client_gets(alice, "\"code\":\"bad_message\""));
	CHECK(scene_post(s, SEND, "alice", "{\"to\":\"bob\",\"from\":\"eve\",\"content\":\"x\"}", &a));
	CHECK_EQ(a.status, 403);
	CHECK_EQ(notes(s, "received"), 0);
	client_close(alice);
	scene_free(s);
}

/* Shows: 8.on_message_received, owasp.7 */
TEST(a_refusal_by_on_message_received_is_an_error_frame_refused_with_the_reason)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");
	const char *text;
	struct answer a;

	tell(alice, "bob", "forbidden");
	text = client_read(alice, -1);
	if (CHECK(text != NULL)) {
		CHECK(strstr(text, "\"type\":\"error\",\"from\":\"system\",\"to\":\"alice\"") != NULL);
		CHECK(strstr(text, "\"content\":\"we do not say \\\"forbidden\\\"\"") != NULL);
		CHECK(strstr(text, "\"code\":\"refused\",\"ref\":\"id-forbidden\"") != NULL);
	}
	CHECK(scene_post(s, SEND, "alice", "{\"to\":\"bob\",\"content\":\"forbidden\"}", &a));
	CHECK_EQ(a.status, 403);
	CHECK(strstr(a.body, "\"code\":\"refused\"") != NULL);
	CHECK(strstr(a.body, "we do not say") != NULL);
	tell(alice, "bob", "fine"); /* and the connection stays */
	CHECK(client_gets(bob, "\"content\":\"fine\""));
	CHECK_EQ(notes(s, "sent forbidden"), 0);
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

static int who_says(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	note(user, "%s says it is %s", client->user_id, m->from);
	if (strcmp(client->user_id, m->from) != 0 && strcmp(m->from, "robot") != 0) {
		wsc_reason(call, 0, "Sender mismatch");
		return WSC_REFUSE;
	}
	return WSC_ALLOW;
}

/* Shows: 1.security.sender_mismatch */
TEST(with_sender_mismatch_hook_the_hook_decides_which_sender_names_are_allowed)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_message_received = who_says }, "security.sender_mismatch",
				    "hook", NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	client_say(alice, "{\"to\":\"bob\",\"from\":\"eve\",\"content\":\"1\"}");
	CHECK(client_gets(alice, "\"content\":\"Sender mismatch\""));
	client_say(alice, "{\"to\":\"bob\",\"from\":\"robot\",\"content\":\"2\"}");
	CHECK(client_gets(bob, "\"from\":\"robot\""));
	client_say(alice, "{\"to\":\"bob\",\"content\":\"3\"}");
	CHECK(client_gets(bob, "\"from\":\"alice\""));
	CHECK(noted(s, "alice says it is eve"));
	CHECK(noted(s, "alice says it is alice"));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

static int look(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)call, (void)client;
	note(user, "%s %s [%s] data=%s", m->type, m->id[0] ? "id" : "no id", m->content, or_none(m->data));
	note(user, "reply=%s priority=%s ticket=%s", or_none(m->reply_to_msg_id), or_none(m->priority),
	     or_none(m->ticket_id));
	note(user, "bytes %zu %s", m->content_len, strlen(m->create_at) >= 20 ? "dated" : "undated");
	return WSC_ALLOW;
}

TEST(hooks_see_every_member_filled_in_and_unescaped)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_message_received = look }, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	client_say(alice, "{\"to\":\"bob\",\"content\":\"caf\\u00e9 \\\"x\\\"\"}");
	CHECK(client_gets(bob, "caf"));
	CHECK(noted(s, "text id [caf\xc3\xa9 \"x\"] data=-"));
	CHECK(noted(s, "reply=- priority=- ticket=-"));
	CHECK(noted(s, "bytes 9 dated"));
	client_say(
		alice,
		"{\"to\":\"bob\",\"data\":{\"n\":9007199254740993},\"reply_to_msg_id\":\"r\",\"priority\":\"high\"}");
	CHECK(client_gets(bob, "9007199254740993"));
	CHECK(noted(s, "text id [] data={\"n\":9007199254740993}"));
	CHECK(noted(s, "reply=r priority=high ticket=-"));
	client_say(alice, "{\"to\":\"bob\",\"content\":\"a\\u0000b\"}");
	CHECK(client_gets(bob, "a\\u0000b"));
	CHECK(noted(s, "bytes 3 dated"));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

/* ---- on_message_send ------------------------------------------------------------------------------------------------ */

/* Shows: 8.on_message_send */
TEST(on_message_send_runs_once_per_message_not_per_device_for_every_source)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice");
	struct client *bob[3] = { scene_ws(s, "user_id=bob"), scene_ws(s, "user_id=bob"), scene_sse(s, "user_id=bob") };
	struct answer a;

	CHECK(client_gets(bob[2], "connected"));
	tell(alice, "bob", "w");
	CHECK(client_gets(bob[0], "\"content\":\"w\""));
	CHECK(scene_post(s, SEND, "carol", "{\"to\":\"bob\",\"content\":\"h\"}", &a));
	CHECK(strstr(a.body, "\"delivered_count\":3") != NULL);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = "p" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 3"));
	for (int i = 1; i < 3; i++)
		CHECK(client_gets(bob[i], "\"content\":\"w\""));
	CHECK(noted(s, "sent w alice>bob"));
	CHECK(noted(s, "sent h carol>bob"));
	CHECK(noted(s, "sent p system>bob"));
	CHECK_EQ(notes(s, "sent"), 3);
	for (int i = 0; i < 3; i++)
		client_free(bob[i]);
	client_close(alice);
	scene_free(s);
}

/* Shows: 8.on_message_send */
TEST(on_message_send_runs_once_per_ticket_message_over_all_workers)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice&ticket_id=t"), *other[8];
	char query[64];

	for (int i = 0; i < 8; i++) {
		snprintf(query, sizeof query, "user_id=u%d&ticket_id=t", i);
		other[i] = scene_ws(s, query);
		CHECK_EQ(client_status(other[i]), 101);
	}
	client_say(alice, "{\"ticket_id\":\"t\",\"content\":\"all of t\"}");
	for (int i = 0; i < 8; i++)
		CHECK(client_gets(other[i], "all of t"));
	CHECK(noted(s, "sent all of t alice>t"));
	CHECK_EQ(notes(s, "sent"), 1);
	for (int i = 0; i < 8; i++)
		client_free(other[i]);
	client_close(alice);
	scene_free(s);
}

/* Shows: 8.on_message_send */
TEST(an_error_of_on_message_send_is_the_senders_answer)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");
	struct answer a;

	tell(alice, "bob", "stop");
	CHECK(client_gets(alice, "\"content\":\"the log is full\""));
	CHECK(scene_post(s, SEND, "carol", "{\"to\":\"bob\",\"content\":\"stop\"}", &a));
	CHECK_EQ(a.status, 403);
	CHECK(strstr(a.body, "the log is full") != NULL);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = "stop" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome -11 0"));
	CHECK(noted(s, "reason the log is full"));
	tell(alice, "bob", "go");
	CHECK(client_gets(bob, "\"content\":\"go\""));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

static int edit(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)user, (void)call;
	m->type = "edited";
	m->content = "new \"content\"";
	m->data = "{\"k\":[1]}";
	m->priority = "low";
	m->create_at = "2026-01-31T12:00:00Z";
	/* These stay unchanged: */
	m->id = "other-id";
	m->from = "other-from";
	m->to = "other-to";
	return 0;
}

/* Shows: 8.on_message_send */
TEST(edits_of_on_message_send_are_delivered_but_id_sender_and_receiver_stay)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_message_send = edit, .on_broadcast = edit }, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_sse(s, "user_id=bob");
	struct answer a;
	const char *text;

	CHECK(client_gets(bob, "connected"));
	client_say(
		alice,
		"{\"id\":\"m1\",\"to\":\"bob\",\"content\":\"old\",\"data\":{\"k\":0},\"priority\":\"high\",\"mine\":true}");
	text = client_read(bob, -1);
	if (CHECK(text != NULL)) {
		CHECK(strstr(text,
			     "{\"id\":\"m1\",\"type\":\"edited\",\"from\":\"alice\",\"to\":\"bob\",\"content\":\"new \\\"content\\\"\","
			     "\"create_at\":\"2026-01-31T12:00:00Z\"") != NULL);
		CHECK(strstr(text, "\"data\":{\"k\":[1]}") != NULL);
		CHECK(strstr(text, "\"priority\":\"low\"") != NULL);
		CHECK(strstr(text, "\"mine\":true") != NULL);
		CHECK(strstr(text, "old") == NULL && strstr(text, "high") == NULL);
	}
	CHECK(scene_post(s, BROADCAST, "carol", "{\"id\":\"m2\",\"content\":\"old\"}", &a));
	CHECK(strstr(a.body, "\"id\":\"m2\",\"type\":\"edited\"") != NULL);
	text = client_read(bob, -1);
	CHECK(text && strstr(text, "\"from\":\"carol\",\"to\":\"\",\"content\":\"new "));
	client_close(alice);
	client_free(bob);
	scene_free(s);
}

static int edit_badly(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)user, (void)call;
	m->data = "{\"never\":";
	return 0;
}

TEST(an_edit_that_is_no_message_stops_it_and_harms_no_connection)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_message_send = edit_badly }, NULL);
	struct client *alice = scene_ws(s, "user_id=alice");

	tell(alice, "alice", "x");
	CHECK(client_gets(alice, "\"code\":\"internal\""));
	client_say(alice, "ping");
	CHECK(client_gets(alice, "pong"));
	client_close(alice);
	scene_free(s);
}

/* ---- on_broadcast --------------------------------------------------------------------------------------------------- */

/* Shows: 8.on_broadcast */
TEST(on_broadcast_runs_once_per_broadcast_from_any_source_and_on_message_send_never)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *c[6];
	struct answer a;
	char query[32];

	for (int i = 0; i < 6; i++) {
		snprintf(query, sizeof query, "user_id=u%d", i);
		c[i] = scene_ws(s, query);
		CHECK_EQ(client_status(c[i]), 101);
	}
	CHECK(scene_post(s, BROADCAST, NULL, "{\"content\":\"one\"}", &a));
	CHECK(strstr(a.body, "\"delivered_count\":6") != NULL);
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "two", .from = "robot" }, note_outcome, s),
		 0);
	CHECK(noted(s, "outcome 0 6"));
	CHECK(noted(s, "broadcast one notice system []"));
	CHECK(noted(s, "broadcast two notice robot []"));
	CHECK_EQ(notes(s, "broadcast"), 2);
	CHECK_EQ(notes(s, "sent"), 0);
	for (int i = 0; i < 6; i++) {
		CHECK(client_gets(c[i], "one"));
		CHECK(client_gets(c[i], "two"));
		client_free(c[i]);
	}
	scene_free(s);
}

/* Shows: 8.on_broadcast */
TEST(an_error_of_on_broadcast_is_the_senders_answer)
{
	struct scene *s = scene_new(&all, NULL);
	struct client *alice = scene_ws(s, "user_id=alice");
	struct answer a;

	CHECK(scene_post(s, BROADCAST, NULL, "{\"content\":\"stop\"}", &a));
	CHECK_EQ(a.status, 403);
	CHECK(strstr(a.body, "not to everybody") != NULL);
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "stop" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome -11 0"));
	client_say(alice, "ping");
	CHECK(client_gets(alice, "pong"));
	client_close(alice);
	scene_free(s);
}
