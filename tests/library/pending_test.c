/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message hooks that answer later, from another thread: later input of that sender waits, so order holds; all others go
 * on.
 */
#include "scene.h"

#define SEND "/api/v1/websocket/send"
#define BROADCAST "/api/v1/websocket/broadcast"

static int received(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)client;
	return strstr(m->content, "slow") ? keep(user, call) : WSC_ALLOW;
}

static int sent(void *user, struct wsc_call *call, struct wsc_message *m)
{
	note(user, "asked %s", m->content);
	return strstr(m->content, "slow") ? keep(user, call) : 0;
}

static const struct wsc_hooks on_received = { .on_message_received = received };
static const struct wsc_hooks on_send = { .on_message_send = sent, .on_broadcast = sent };

static void tell(struct client *c, const char *to, const char *content)
{
	client_say(c, "{\"id\":\"id-%s\",\"to\":\"%s\",\"content\":\"%s\"}", content, to, content);
}

/* Shows: 8.pending */
TEST(later_messages_of_a_sender_wait_behind_a_pending_on_message_received)
{
	struct scene *s = scene_new(&on_received, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob"),
		      *carol = scene_ws(s, "user_id=carol");

	tell(alice, "bob", "slow1");
	tell(alice, "bob", "quick2");
	tell(alice, "bob", "slow3");
	tell(alice, "bob", "quick4");
	kept(s, 0);
	tell(carol, "bob", "others go on"); /* messages of other senders do not wait */
	CHECK(client_gets(bob, "others go on"));
	wsc_finish(kept(s, 0), WSC_ALLOW, NULL);
	CHECK(client_gets(bob, "slow1"));
	CHECK(client_gets(bob, "quick2"));
	wsc_finish(kept(s, 1), WSC_REFUSE, "not this one");
	CHECK(client_gets(bob, "quick4"));
	CHECK(client_gets(alice, "\"code\":\"refused\",\"ref\":\"id-slow3\""));
	client_close(alice);
	client_close(bob);
	client_close(carol);
	scene_free(s);
}

/* Shows: 8.pending */
TEST(later_messages_of_a_sender_wait_behind_a_pending_on_message_send)
{
	struct scene *s = scene_new(&on_send, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	tell(alice, "bob", "slow1");
	tell(alice, "bob", "quick2");
	wsc_finish_message(kept(s, 0), 0,
			   &(struct wsc_message){ .content = "edited later", .data = "{\"by\":\"thread\"}" }, NULL);
	CHECK(client_gets(
		bob,
		"\"id\":\"id-slow1\",\"type\":\"text\",\"from\":\"alice\",\"to\":\"bob\",\"content\":\"edited later\""));
	CHECK(client_gets(bob, "quick2"));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

TEST(a_pending_edit_can_change_priority_and_reply_too)
{
	struct scene *s = scene_new(&on_send, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");
	const char *text;

	tell(alice, "bob", "slow1");
	wsc_finish_message(
		kept(s, 0), 0,
		&(struct wsc_message){ .content = "x", .type = "t", .priority = "high", .reply_to_msg_id = "r1" },
		NULL);
	text = client_read(bob, -1);
	CHECK(text && strstr(text, "\"type\":\"t\""));
	CHECK(text && strstr(text, "\"priority\":\"high\""));
	CHECK(text && strstr(text, "\"reply_to_msg_id\":\"r1\""));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

TEST(a_pending_post_is_answered_when_the_hook_is)
{
	struct scene *s = scene_new(&on_send, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");
	int fd = dial(s->port);
	static const char request[] = "POST " SEND " HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
				      "Content-Length: 29\r\n\r\n{\"to\":\"bob\",\"content\":\"slow\"}"
				      "POST " SEND " HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
				      "Content-Length: 30\r\n\r\n{\"to\":\"bob\",\"content\":\"after\"}";
	char in[4096];
	size_t len = 0;
	ssize_t n;

	CHECK_EQ(write(fd, request, sizeof request - 1), sizeof request - 1);
	wsc_finish(kept(s, 0), 0, NULL);
	CHECK(client_gets(bob, "\"content\":\"slow\""));
	CHECK(client_gets(bob, "\"content\":\"after\"")); /* pipelined behind it on the same connection */
	do {
		n = read(fd, in + len, sizeof in - 1 - len);
		len += n > 0 ? (size_t)n : 0;
		in[len] = 0;
	} while (n > 0 && !(strstr(in, "200 OK") && strstr(strstr(in, "200 OK") + 1, "200 OK")));
	CHECK(n > 0);
	close(fd);
	client_close(bob);
	scene_free(s);
}

/* Shows: 8.pending */
TEST(a_pending_broadcast_is_finished_from_another_thread)
{
	struct scene *s = scene_new(&on_send, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");

	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "slow" }, note_outcome, s), 0);
	wsc_finish_message(kept(s, 0), 0, NULL, NULL);
	CHECK(client_gets(bob, "\"content\":\"slow\""));
	CHECK(noted(s, "outcome 0 1"));
	CHECK_EQ(wsc_broadcast(s->gateway, &(struct wsc_message){ .content = "slow" }, note_outcome, s), 0);
	wsc_finish(kept(s, 1), -1, "no");
	CHECK(noted(s, "outcome -11 0"));
	client_close(bob);
	scene_free(s);
}

/* Shows: 8.pending */
TEST(a_message_that_stays_pending_beyond_hook_timeout_is_an_error_frame_and_503)
{
	struct scene *s = scene_new(&on_received, "hook_timeout", "100ms", NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");
	struct answer a;

	tell(alice, "bob", "slow1");
	tell(alice, "bob", "quick2");
	CHECK(client_gets(alice, "\"code\":\"hook_timeout\",\"ref\":\"id-slow1\""));
	CHECK(client_gets(bob, "quick2"));
	wsc_finish(kept(s, 0), WSC_ALLOW, NULL); /* too late, and harmless */
	CHECK(scene_post(s, SEND, "alice", "{\"to\":\"bob\",\"content\":\"slow3\"}", &a));
	CHECK_EQ(a.status, 503);
	CHECK(strstr(a.body, "\"code\":\"hook_timeout\"") != NULL);
	wsc_finish(kept(s, 1), WSC_ALLOW, NULL);
	tell(alice, "bob", "quick4");
	CHECK(client_gets(bob, "quick4"));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

TEST(messages_of_the_program_wait_behind_a_pending_one_of_the_same_sender)
{
	struct scene *s = scene_new(&on_send, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");
	static const char *const content[] = { "slow1", "quick2", "quick3" };

	for (int i = 0; i < 3; i++)
		CHECK_EQ(wsc_send(s->gateway,
				  &(struct wsc_message){ .from = "robot", .to = "bob", .content = content[i] }, NULL,
				  NULL),
			 0);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .from = "clock", .to = "bob", .content = "tick" }, NULL,
			  NULL),
		 0);
	CHECK(client_gets(bob, "tick"));
	wsc_finish(kept(s, 0), 0, NULL);
	for (int i = 0; i < 3; i++)
		CHECK(client_gets(bob, content[i]));
	client_close(bob);
	scene_free(s);
}

TEST(a_message_of_the_program_that_stays_pending_too_long_gets_its_outcome)
{
	struct scene *s = scene_new(&on_send, "hook_timeout", "100ms", NULL);
	struct client *bob = scene_ws(s, "user_id=bob");

	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = "slow" }, note_outcome, s), 0);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "bob", .content = "quick" }, NULL, NULL), 0);
	CHECK(noted(s, "outcome -12 0"));
	CHECK(client_gets(bob, "quick"));
	wsc_finish(kept(s, 0), 0, NULL);
	client_close(bob);
	scene_free(s);
}

static int both_later(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)client, (void)m;
	return keep(user, call);
}

TEST(both_hooks_of_one_message_may_answer_later)
{
	struct scene *s =
		scene_new(&(struct wsc_hooks){ .on_message_received = both_later, .on_message_send = sent }, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	tell(alice, "bob", "slow1");
	tell(alice, "bob", "quick2");
	wsc_finish(kept(s, 0), WSC_ALLOW, NULL);
	wsc_finish_message(kept(s, 1), 0, &(struct wsc_message){ .content = "slow1, edited" }, NULL);
	CHECK(client_gets(bob, "\"content\":\"slow1, edited\""));
	wsc_finish(kept(s, 2), WSC_ALLOW, NULL);
	CHECK(client_gets(bob, "quick2"));
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

TEST(the_close_of_a_sender_waits_behind_its_pending_message)
{
	struct scene *s = scene_new(&on_received, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	tell(alice, "bob", "slow");
	kept(s, 0);
	client_raw(alice, "\x88\x82\x00\x00\x00\x00\x03\xe8", 8);
	wsc_finish(kept(s, 0), WSC_ALLOW, NULL);
	CHECK(client_gets(bob, "slow"));
	CHECK_EQ(client_end(alice), 1000);
	client_free(alice);
	client_close(bob);
	scene_free(s);
}

static int changes_its_mind(void *user, struct wsc_call *call, const struct wsc_client *client,
			    const struct wsc_message *m)
{
	(void)client, (void)m;
	keep(user, call);
	return WSC_ALLOW;
}

TEST(a_hook_that_answers_at_once_after_wsc_defer_has_answered)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .on_message_received = changes_its_mind }, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	tell(alice, "bob", "one");
	CHECK(client_gets(bob, "one"));
	wsc_finish(kept(s, 0), WSC_REFUSE, "too late"); /* still to be finished, and without effect */
	tell(alice, "bob", "two");
	CHECK(client_gets(bob, "two"));
	wsc_finish(kept(s, 1), WSC_REFUSE, NULL);
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

TEST(a_post_whose_client_has_left_while_pending_is_sent_all_the_same)
{
	struct scene *s = scene_new(&on_send, NULL);
	struct client *bob = scene_ws(s, "user_id=bob");
	static const char request[] = "POST " SEND " HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
				      "Content-Length: 29\r\n\r\n{\"to\":\"bob\",\"content\":\"slow\"}";
	int fd = dial(s->port);

	CHECK_EQ(write(fd, request, sizeof request - 1), sizeof request - 1);
	kept(s, 0);
	close(fd);
	usleep(20000);
	wsc_finish(kept(s, 0), 0, NULL);
	CHECK(client_gets(bob, "\"content\":\"slow\""));
	client_close(bob);
	scene_free(s);
}

/* Shows: threat 117 */
TEST(a_sender_may_leave_while_its_message_is_pending)
{
	struct scene *s = scene_new(&on_received, NULL);
	struct client *alice = scene_ws(s, "user_id=alice"), *bob = scene_ws(s, "user_id=bob");

	tell(alice, "bob", "slow");
	tell(alice, "bob", "behind");
	kept(s, 0);
	client_reset(alice);
	usleep(20000);
	wsc_finish(kept(s, 0), WSC_ALLOW, NULL);
	alice = scene_ws(s, "user_id=alice");
	tell(alice, "bob", "back again");
	for (int i = 0; i < 3; i++) { /* pending messages may or may not have come, never twice, and not after this */
		const char *text = client_read(bob, -1);

		if (!CHECK(text != NULL) || strstr(text, "back again"))
			break;
	}
	client_close(alice);
	client_close(bob);
	scene_free(s);
}

/* ---- many at once --------------------------------------------------------------------------------------------------- */

#define MANY 200
#define SENDERS 4

struct finisher {
	struct scene *s;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct wsc_pending *queue[MANY * SENDERS + 1];
	size_t in, out;
	bool end;
};

static void *finish_all(void *arg)
{
	struct finisher *f = arg;
	struct wsc_pending *p;

	for (;;) {
		pthread_mutex_lock(&f->lock);
		while (f->in == f->out && !f->end)
			pthread_cond_wait(&f->more, &f->lock);
		p = f->in == f->out ? NULL : f->queue[f->out++];
		pthread_mutex_unlock(&f->lock);
		if (!p)
			return NULL;
		wsc_finish(p, WSC_ALLOW, NULL);
	}
}

static int hand_over(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	struct finisher *f = ((struct scene *)user)->own;

	(void)client;
	if (strlen(m->content) % 3 == 0)
		return WSC_ALLOW;
	pthread_mutex_lock(&f->lock);
	f->queue[f->in++] = wsc_defer(call);
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
	return WSC_PENDING;
}

/* Shows: 8.pending */
TEST(order_holds_over_many_pending_messages_of_several_senders)
{
	struct scene *s = scene_prepare(&(struct wsc_hooks){ .on_message_received = hand_over }, NULL);
	struct finisher *f = calloc(1, sizeof *f);
	struct client *sender[SENDERS], *bob;
	int next[SENDERS] = { 0 };
	char text[64];

	if (!f)
		abort();
	s->own = f;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->more, NULL);
	pthread_create(&f->thread, NULL, finish_all, f);
	scene_start(s);
	bob = scene_ws(s, "user_id=bob");
	for (int i = 0; i < SENDERS; i++) {
		snprintf(text, sizeof text, "user_id=s%d", i);
		sender[i] = scene_ws(s, text);
		CHECK_EQ(client_status(sender[i]), 101);
	}
	for (int n = 0; n < MANY; n++)
		for (int i = 0; i < SENDERS; i++)
			client_say(sender[i], "{\"to\":\"bob\",\"content\":\"%d%.*s\",\"n\":%d}", i, n % 7, ".......",
				   n);
	for (int n = 0; n < MANY * SENDERS; n++) {
		const char *got = client_read(bob, -1), *who, *number;

		if (!CHECK(got != NULL))
			break;
		who = strstr(got, "\"from\":\"s");
		number = strstr(got, "\"n\":");
		if (!CHECK(who && number) || !CHECK_EQ(atoi(number + 4), next[who[9] - '0']++))
			break;
	}
	for (int i = 0; i < SENDERS; i++)
		client_close(sender[i]);
	client_close(bob);
	pthread_mutex_lock(&f->lock);
	f->end = true;
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	scene_free(s);
	free(f);
}
