/* SPDX-License-Identifier: Apache-2.0 */
/* wsc_send, wsc_broadcast, wsc_kick and the queries: from any thread and hook, never blocking, one outcome each. */
#include "scene.h"

/* ---- outcomes ----------------------------------------------------------------------------------------------------- */

/* Shows: 8.wsc_send */
TEST(the_outcome_counts_every_device_or_says_that_the_user_is_offline)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *ws = scene_ws(s, "user_id=bob"), *sse = scene_sse(s, "user_id=bob");

	CHECK(client_gets(sse, "connected"));
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = "hi" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 2"));
	CHECK(client_gets(ws, "\"type\":\"text\",\"from\":\"system\",\"to\":\"bob\",\"content\":\"hi\""));
	CHECK(client_gets(sse, "\"content\":\"hi\""));
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "nobody", .content = "hi" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome -10 0"));
	CHECK(noted(s, "reason nobody is offline and nothing is stored (store.kind: none)"));
	CHECK_EQ(notes(s, "outcome"), 2);
	client_close(ws);
	client_free(sse);
	scene_free(s);
}

TEST(every_member_of_a_message_arrives)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");
	const char *text;
	struct wsc_message m = {
		.id = "m1",
		.type = "image",
		.from = "alice",
		.to = "bob",
		.content = "a \"cat\"\n",
		.data = "{\"w\":9007199254740993}",
		.create_at = "2026-01-31T12:00:00Z",
		.reply_to_msg_id = "m0",
		.priority = "high",
	};

	CHECK_EQ(wsc_send(s->gateway, &m, NULL, NULL), 0);
	text = client_read(bob, -1);
	if (CHECK(text != NULL)) {
		CHECK(strstr(text,
			     "{\"id\":\"m1\",\"type\":\"image\",\"from\":\"alice\",\"to\":\"bob\",\"content\":\"a \\\"cat\\\"\\n\","
			     "\"create_at\":\"2026-01-31T12:00:00Z\"") == text);
		CHECK(strstr(text, "\"data\":{\"w\":9007199254740993}") != NULL);
		CHECK(strstr(text, "\"reply_to_msg_id\":\"m0\"") != NULL);
		CHECK(strstr(text, "\"priority\":\"high\"") != NULL);
	}
	client_close(bob);
	scene_free(s);
}

/* Shows: 8.wsc_send */
TEST(a_message_that_is_none_is_refused_at_once_and_has_no_outcome)
{
	struct scene *s = scene_new(NULL, "security.max_message_size", "1KiB", NULL);
	static const struct {
		struct wsc_message m;
		int error;
	} row[] = {
		{ { .content = "to nobody" }, -WSC_EINVAL },
		{ { .to = "bob" }, -WSC_EBADMESSAGE },
		{ { .to = "bob", .content = "\xff" }, -WSC_EBADMESSAGE },
		{ { .to = "bob", .data = "[1]" }, -WSC_EBADMESSAGE },
		{ { .to = "bob", .data = "{" }, -WSC_EBADMESSAGE },
		{ { .to = "bob", .content = "x", .create_at = "yesterday" }, -WSC_EBADMESSAGE },
		{ { .to = "a\nb", .content = "x" }, -WSC_EBADMESSAGE },
	};
	char *long_text = calloc(1, 3000);

	if (!long_text)
		abort();
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		int r = wsc_send(s->gateway, &row[i].m, note_outcome, s);

		if (!CHECK(r == row[i].error || (r < 0 && row[i].error == -WSC_EBADMESSAGE && r == -WSC_EINVAL)))
			printf("\trow %zu: %d, not %d\n", i, r, row[i].error);
	}
	memset(long_text, 'x', 2999);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = long_text }, note_outcome, s),
		 -WSC_ETOOBIG);
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = long_text }, note_outcome, s),
		 -WSC_ETOOBIG);
	CHECK(wsc_broadcast(s->gateway, &(struct wsc_message){ .type = "x" }, note_outcome, s) < 0);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "x", .content = "y" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome -10 0"));
	CHECK_EQ(notes(s, "outcome"), 1);
	free(long_text);
	scene_free(s);
}

TEST(messages_of_the_program_are_copied_before_the_call_returns)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");
	char to[] = "bob", content[] = "before", data[] = "{\"a\":1}";
	struct wsc_message m = { .to = to, .content = content, .data = data };

	CHECK_EQ(client_status(bob), 101);
	CHECK_EQ(wsc_send(s->gateway, &m, NULL, NULL), 0);
	memset(to, 'z', 3);
	memset(content, 'z', 6);
	memset(data, 'z', 7);
	memset(&m, 0, sizeof m);
	CHECK(client_gets(bob, "\"to\":\"bob\",\"content\":\"before\""));
	client_close(bob);
	scene_free(s);
}

TEST(content_len_lets_content_hold_nuls_and_end_early)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");

	CHECK_EQ(client_status(bob), 101);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = "a\0bcd", .content_len = 3 }, NULL,
			  NULL),
		 0);
	CHECK(client_gets(bob, "\"content\":\"a\\u0000b\""));
	client_close(bob);
	scene_free(s);
}

/* A user must be in the ticket to write to it; the program need not. */
/* Shows: 3.ticket */
TEST(a_ticket_message_goes_to_every_user_in_the_ticket_but_the_sender)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *alice = scene_ws(s, "user_id=alice&ticket_id=t"), *bob = scene_ws(s, "user_id=bob&ticket_id=t");
	struct wsc_message m = { .from = "alice", .ticket_id = "t", .content = "hi" };

	CHECK_EQ(client_status(bob), 101);
	CHECK_EQ(wsc_send(s->gateway, &m, note_outcome, s), 0);
	CHECK(client_gets(bob, "\"ticket_id\":\"t\""));
	CHECK(noted(s, "outcome 0 1"));
	m.from = "carol";
	CHECK_EQ(wsc_send(s->gateway, &m, note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 2"));
	CHECK(client_gets(alice, "\"from\":\"carol\""));
	client_close(bob);
	m.from = "alice";
	CHECK_EQ(wsc_send(s->gateway, &m, note_outcome, s), 0);
	CHECK(noted(s, "outcome -10 0"));
	client_close(alice);
	scene_free(s);
}

/* Shows: 7.4410, threat 95, owasp.6 */
TEST(wsc_kick_closes_every_device_with_4410_and_counts_them)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *ws = scene_ws(s, "user_id=bob"), *sse = scene_sse(s, "user_id=bob"),
		      *other = scene_ws(s, "user_id=alice");

	CHECK(client_gets(sse, "connected"));
	CHECK_EQ(wsc_kick(s->gateway, "bob", NULL, note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 2"));
	CHECK_EQ(client_end(ws), 4410);
	CHECK(strcmp(client_reason(ws), "kicked") == 0);
	CHECK_EQ(client_end(sse), 4410);
	client_say(other, "ping");
	CHECK(client_gets(other, "pong"));
	CHECK_EQ(wsc_kick(s->gateway, "nobody", NULL, note_outcome, s), 0);
	CHECK(wait_notes(s, "outcome", 2));
	CHECK_EQ(notes(s, "outcome 0 0") + notes(s, "outcome -10 0"), 1);
	client_free(ws);
	client_free(sse);
	client_close(other);
	scene_free(s);
}

static void count_online(void *user, const char *user_id, unsigned connections)
{
	note(user, "online %s %u", user_id, connections);
}

/* Shows: 4.stats */
TEST(wsc_stats_and_wsc_is_online_tell_the_truth)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *ws = scene_ws(s, "user_id=bob"), *sse = scene_sse(s, "user_id=bob"),
		      *alice = scene_ws(s, "user_id=alice");
	struct wsc_stats st;

	CHECK(client_gets(sse, "connected"));
	client_say(alice, "{\"to\":\"bob\",\"content\":\"x\"}");
	CHECK(client_gets(ws, "\"content\":\"x\""));
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "y" }, note_outcome, s), 0);
	CHECK(noted(s, "outcome 0 3"));
	CHECK_EQ(wsc_stats(s->gateway, &st), 0);
	CHECK_EQ(st.active_connections, 3);
	CHECK_EQ(st.websocket_connections, 2);
	CHECK_EQ(st.sse_connections, 1);
	CHECK_EQ(st.online_users, 2);
	CHECK_EQ(st.messages_received, 1);
	CHECK_EQ(st.messages_sent, 5);
	CHECK_EQ(st.broadcasts, 1);
	CHECK_EQ(st.total_lifetime, 3);
	CHECK_EQ(wsc_is_online(s->gateway, "bob", count_online, s), 0);
	CHECK_EQ(wsc_is_online(s->gateway, "nobody", count_online, s), 0);
	CHECK(noted(s, "online bob 2"));
	CHECK(noted(s, "online nobody 0"));
	client_close(ws);
	client_free(sse);
	client_close(alice);
	scene_free(s);
}

/* messages_received does not count the program's messages, so an undeliverable one must not be subtracted from it. */
TEST(undeliverable_messages_of_the_program_without_an_outcome_change_no_figure)
{
	struct scene *s = scene_new(NULL, NULL);
	struct wsc_message absent = { .to = "nobody", .content = "x" }, empty = { .ticket_id = "none", .content = "x" };
	struct wsc_stats st;

	CHECK_EQ(wsc_send(s->gateway, &absent, NULL, NULL), 0);
	CHECK_EQ(wsc_send(s->gateway, &empty, NULL, NULL), 0);
	CHECK_EQ(wsc_kick(s->gateway, "nobody", NULL, NULL, NULL), 0);
	/* These follow the others on the same users' worker: when their outcomes come, the others are done. */
	CHECK_EQ(wsc_send(s->gateway, &absent, note_outcome, s), 0);
	CHECK_EQ(wsc_send(s->gateway, &empty, note_outcome, s), 0);
	CHECK_EQ(wsc_kick(s->gateway, "nobody", NULL, note_outcome, s), 0);
	CHECK(wait_notes(s, "outcome -10 0", 3));
	CHECK_EQ(wsc_stats(s->gateway, &st), 0);
	CHECK_EQ(st.messages_received, 0);
	scene_free(s);
}

/* ---- from every hook ------------------------------------------------------------------------------------------------ */

static void everything(struct scene *s, const char *where)
{
	struct wsc_stats st;
	char text[64];

	snprintf(text, sizeof text, "from %s", where);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "watcher", .content = text, .from = "hook" }, NULL,
			  NULL),
		 0);
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = text, .from = "hook" }, NULL, NULL), 0);
	CHECK_EQ(wsc_kick(s->gateway, "nobody", NULL, NULL, NULL), 0);
	CHECK_EQ(wsc_stats(s->gateway, &st), 0);
	CHECK_EQ(wsc_is_online(s->gateway, "watcher", count_online, s), 0);
	note(s, "did %s", where);
}

static int all_auth(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)call;
	everything(user, "authenticate_user");
	wsc_request_query(request, "user_id", id->user_id, sizeof id->user_id);
	return 0;
}

static int all_connect(void *user, struct wsc_call *call, const struct wsc_client *client)
{
	(void)call, (void)client;
	everything(user, "on_client_connect");
	return 0;
}

static void all_disconnect(void *user, const struct wsc_client *client, const struct wsc_disconnect *why)
{
	(void)why;
	if (strcmp(client->user_id, "watcher") != 0)
		everything(user, "on_client_disconnect");
}

static int all_received(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)call, (void)client, (void)m;
	everything(user, "on_message_received");
	return WSC_ALLOW;
}

static int all_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)call;
	if (strcmp(m->from, "hook") != 0)
		everything(user, "on_message_send");
	return 0;
}

static int all_broadcast(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)call;
	if (strcmp(m->from, "hook") != 0)
		everything(user, "on_broadcast");
	return 0;
}

static bool all_welcome(void *user, const struct wsc_client *client, struct wsc_message *welcome)
{
	(void)client, (void)welcome;
	everything(user, "welcome_message");
	return false;
}

static void all_done(void *user, const struct wsc_outcome *outcome)
{
	(void)outcome;
	everything(user, "done");
}

/* Shows: 8.calls-from-hooks */
TEST(every_hook_may_send_broadcast_kick_and_ask_without_deadlock)
{
	static const char *const hooks[] = { "authenticate_user",    "on_client_connect",
					     "on_client_disconnect", "on_message_received",
					     "on_message_send",      "on_broadcast",
					     "welcome_message",      "done" };
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = all_auth,
							 .on_client_connect = all_connect,
							 .on_client_disconnect = all_disconnect,
							 .on_message_received = all_received,
							 .on_message_send = all_send,
							 .on_broadcast = all_broadcast,
							 .welcome_message = all_welcome },
				    NULL);
	struct client *watcher = scene_ws(s, "user_id=watcher"), *alice = scene_ws(s, "user_id=alice");
	size_t unicast[8] = { 0 }, broadcast[8] = { 0 };
	char text[64];

	client_say(alice, "{\"to\":\"watcher\",\"content\":\"x\"}");
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "y", .from = "program" }, all_done, s), 0);
	CHECK(noted(s, "did on_message_send"));
	client_close(alice);
	for (size_t i = 0; i < 8; i++) {
		snprintf(text, sizeof text, "did %s", hooks[i]);
		CHECK(noted(s, text));
	}
	for (const char *got; (got = client_read(watcher, slowly(300)));) {
		for (size_t i = 0; i < 8; i++) {
			snprintf(text, sizeof text, "\"content\":\"from %s\"", hooks[i]);
			if (strstr(got, text))
				(strstr(got, "\"to\":\"watcher\"") ? unicast : broadcast)[i]++;
		}
	}
	for (size_t i = 0; i < 8; i++) {
		CHECK(unicast[i] >= 1);
		CHECK(broadcast[i] >= 1);
	}
	client_close(watcher);
	scene_free(s);
}

/* ---- from many threads ------------------------------------------------------------------------------------------------ */

#define THREADS 8
#define EACH 2000
#define RECEIVERS 4

struct thread {
	struct scene *s;
	pthread_t id;
	int n;
	_Atomic int outcomes, errors;
};

static void count_outcome(void *user, const struct wsc_outcome *o)
{
	struct thread *t = user;

	atomic_fetch_add(&t->outcomes, 1);
	if (o->error || o->delivered_count != 1)
		atomic_fetch_add(&t->errors, 1);
}

static void *send_many(void *arg)
{
	struct thread *t = arg;
	char from[16], to[16], content[32];
	int r;

	snprintf(from, sizeof from, "t%d", t->n);
	for (int i = 0; i < EACH; i++) {
		snprintf(to, sizeof to, "r%d", i % RECEIVERS);
		snprintf(content, sizeof content, "%d", i);
		while ((r = wsc_send(t->s->gateway, &(struct wsc_message){ .from = from, .to = to, .content = content },
				     count_outcome, t)) == -WSC_EAGAIN)
			usleep(1000);
		if (r)
			atomic_fetch_add(&t->errors, 1);
	}
	return NULL;
}

struct reader {
	struct client *c;
	pthread_t id;
	int got, disorder;
};

static void *read_many(void *arg)
{
	struct reader *r = arg;
	int last[THREADS];
	const char *text;

	for (int i = 0; i < THREADS; i++)
		last[i] = -1;
	while (r->got < THREADS * EACH / RECEIVERS && (text = client_read(r->c, -1))) {
		const char *from = strstr(text, "\"from\":\"t"), *content = strstr(text, "\"content\":\"");
		int n = from ? from[9] - '0' : 0, i = content ? atoi(content + 11) : -1;

		r->got++;
		if (i <= last[n])
			r->disorder++;
		last[n] = i;
	}
	return NULL;
}

/* Shows: 8.wsc_send */
TEST(many_threads_send_at_once_nothing_is_lost_doubled_or_out_of_order)
{
	struct scene *s =
		scene_new(NULL, "message_buffer_size", "100000", "performance.max_queue_bytes", "64MiB", NULL);
	struct thread thread[THREADS] = { 0 };
	struct reader reader[RECEIVERS] = { 0 };
	char query[32];

	for (int i = 0; i < RECEIVERS; i++) {
		snprintf(query, sizeof query, "user_id=r%d", i);
		reader[i].c = scene_ws(s, query);
		CHECK_EQ(client_status(reader[i].c), 101);
		pthread_create(&reader[i].id, NULL, read_many, &reader[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		thread[i].s = s;
		thread[i].n = i;
		pthread_create(&thread[i].id, NULL, send_many, &thread[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i].id, NULL);
	for (int i = 0; i < RECEIVERS; i++) {
		pthread_join(reader[i].id, NULL);
		CHECK_EQ(reader[i].got, THREADS * EACH / RECEIVERS);
		CHECK_EQ(reader[i].disorder, 0);
		client_close(reader[i].c);
	}
	for (int i = 0; i < THREADS; i++) {
		for (int wait = 0; wait < patience_ms() && atomic_load(&thread[i].outcomes) < EACH; wait++)
			usleep(1000);
		CHECK_EQ(atomic_load(&thread[i].outcomes), EACH);
		CHECK_EQ(atomic_load(&thread[i].errors), 0);
	}
	scene_free(s);
}

/* Every call that was handed over has its outcome, also when the gateway stops meanwhile. */
TEST(threads_may_send_while_the_gateway_stops)
{
	struct scene *s = scene_new(NULL, NULL);
	struct thread t = { .s = s, .n = 1 };
	struct client *c = scene_ws(s, "user_id=r0");

	CHECK_EQ(client_status(c), 101);
	pthread_create(&t.id, NULL, send_many, &t);
	usleep(2000);
	wsc_stop(s->gateway, 1000);
	wsc_wait(s->gateway);
	pthread_join(t.id, NULL);
	CHECK(wsc_send(s->gateway, &(struct wsc_message){ .to = "r0", .content = "x" }, note_outcome, s) < 0);
	client_free(c);
	scene_free(s);
}
