/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wsc_free in the middle of everything: sockets, streams, half a request, messages on their way, pending hooks. It
 * frees all of it; valgrind and the leak sanitizer run this file and see that nothing is left.
 */
#include "scene.h"

static int come(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	note(user, "came");
	return strcmp(client->user_id, "slow") == 0 ? keep(user, call) : 0;
}

static void go(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	(void)client, (void)why;
	note(user, "left");
}

static int received(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)client;
	return strstr(m->content, "slow") ? keep(user, call) : WSC_ALLOW;
}

static int sent(void *user, struct wsc_call *call, struct wsc_message *m)
{
	return strstr(m->content, "later") ? keep(user, call) : 0;
}

static const struct wsc_hooks hooks = {
	.on_client_connect = come, .on_client_disconnect = go, .on_message_received = received, .on_message_send = sent
};

#define CLIENTS 12

static void open_all(struct scene *s, struct client *c[CLIENTS])
{
	char query[64];

	for (int i = 0; i < CLIENTS; i++) {
		snprintf(query, sizeof query, "user_id=u%d&ticket_id=t&role=r&device_id=d%d", i, i);
		c[i] = i % 3 ? scene_ws(s, query) : scene_sse(s, query);
		CHECK_EQ(client_status(c[i]), i % 3 ? 101 : 200);
	}
}

TEST(wsc_free_with_connections_open_frees_everything)
{
	struct scene *s = scene_new(&hooks, NULL);
	struct client *c[CLIENTS];
	int half = dial(s->port), idle = dial(s->port);

	open_all(s, c);
	CHECK_EQ(write(half, "GET /ws HTTP/1.1\r\nHost: lo", 26), 26);
	for (int i = 0; i < 100; i++)
		wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "on its way" }, note_outcome, s);
	client_raw(c[1], "\x81\xfe\x01\x00\x00\x00\x00\x00{\"to", 12); /* half a frame */
	client_raw(c[2], "\x01\x84\x00\x00\x00\x00{\"to", 10);         /* half a message */
	wsc_free(s->gateway);
	s->gateway = NULL;
	CHECK_EQ(notes(s, "came"), CLIENTS);
	CHECK_EQ(notes(s, "left"), CLIENTS);
	CHECK(notes(s, "outcome") == 100); /* every call that was handed over has its outcome */
	for (int i = 0; i < CLIENTS; i++)
		client_free(c[i]);
	close(half);
	close(idle);
	scene_free(s);
}

TEST(pending_calls_may_be_finished_between_the_stop_and_wsc_free)
{
	struct scene *s = scene_new(&hooks, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *slow;

	client_say(alice, "{\"to\":\"bob\",\"content\":\"slow\"}");
	client_say(alice, "{\"to\":\"bob\",\"content\":\"behind it\"}");
	kept(s, 0);
	slow = ws_begin(s->port, "/ws?user_id=slow", NULL);
	kept(s, 1);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "alice", .content = "later" }, note_outcome, s), 0);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "alice", .content = "behind it" }, note_outcome, s),
		 0);
	kept(s, 2);
	wsc_stop(s->gateway, 50);
	wsc_wait(s->gateway);
	wsc_finish(s->kept[0], WSC_ALLOW, NULL);
	wsc_finish(s->kept[1], 0, NULL);
	wsc_finish_message(s->kept[2], 0, &(struct wsc_message){ .content = "edited" }, NULL);
	wsc_free(s->gateway);
	s->gateway = NULL;
	CHECK_EQ(notes(s, "outcome"), 2);
	CHECK_EQ(notes(s, "left"), notes(s, "came")); /* on_client_disconnect follows for the client let in too late */
	client_free(alice);
	client_free(slow);
	scene_free(s);
}

TEST(a_gateway_that_never_started_or_failed_to_start_is_freed)
{
	struct scene *s = scene_prepare(&hooks, NULL), *t = scene_prepare(NULL, "node_ip", "192.0.2.1", NULL),
		     *u = scene_prepare(NULL, NULL);

	wsc_register_routes(s->gateway);
	wsc_register_api(s->gateway, "/x");
	scene_free(s);
	CHECK_EQ(wsc_start(t->gateway), -WSC_ESYSTEM);
	CHECK(wsc_error_text(t->gateway)[0] != 0);
	scene_free(t);
	wsc_register_routes(u->gateway);
	CHECK_EQ(wsc_open(u->gateway), 0);
	client_free(ws_begin(wsc_port(u->gateway), "/ws?user_id=alice", NULL));
	for (int i = 0; i < 10; i++)
		wsc_step(u->gateway, 1);
	scene_free(u);
}

/* Shows: threat 23 */
TEST(gateways_are_made_and_freed_without_a_trace)
{
	for (int i = 0; i < 5; i++) {
		struct scene *s = scene_new(&hooks, NULL);
		struct client *c[CLIENTS];

		open_all(s, c);
		wsc_stop(s->gateway, 2000);
		for (int k = 0; k < CLIENTS; k++) {
			CHECK_EQ(client_end(c[k]), 1001);
			client_free(c[k]);
		}
		CHECK_EQ(wsc_wait(s->gateway), 0);
		CHECK_EQ(notes(s, "left"), CLIENTS);
		scene_free(s);
	}
}
