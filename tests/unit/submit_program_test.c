/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program as a sender: one outcome for each message and each kick, the order of each sender's messages while a hook has
 * one of them, and the end of the shard with messages that wait.
 */
#include "submit_fixture.h"

static const char *error_text(int error)
{
	switch (error) {
	case 0:
		return "delivered";
	case -WSC_EOFFLINE:
		return "offline";
	case -WSC_EREFUSED:
		return "refused";
	case -WSC_ETIMEDOUT:
		return "timed out";
	case -WSC_EAGAIN:
		return "busy";
	case -WSC_ESTATE:
		return "stopped";
	case -WSC_EBADMESSAGE:
		return "bad";
	case -WSC_ENOTINTICKET:
		return "not in ticket";
	case -WSC_ENOTSUPPORTED:
		return "not supported";
	default:
		return "?";
	}
}

static void done(void *user, const struct wsc_outcome *o)
{
	struct fx *fx = user;

	CHECK(o->reason && o->reason[0]);
	snprintf(fx->why, sizeof fx->why, "%s", o->reason);
	fx_say(fx, "%s: %s %u", o->id, error_text(o->error), o->delivered_count);
}

static struct task *submission(struct fx *fx, const char *from, const char *text, bool broadcast, bool ask)
{
	char *own = mem_strndup(text, strlen(text));

	return own ? program_submission((uint8_t *)own, strlen(text), bytes_str(from), broadcast, ask ? done : NULL, fx)
		   : NULL;
}

static void post(struct fx *fx, struct task *t)
{
	if (t)
		(void)fx_post(&fx->set, 0, t, false);
}

/* wsc_send() of @from to bob, with @id. */
static void program_says(struct fx *fx, const char *from, const char *id)
{
	char text[128];

	snprintf(text, sizeof text, "{\"id\":\"%s\",\"from\":\"%s\",\"to\":\"bob\",\"content\":\"x\"}", id, from);
	post(fx, submission(fx, from, text, false, true));
}

/* The ids of all that waits for @device, in order. */
static const char *ids(struct fx *fx, unsigned device)
{
	static char all[256];
	const char *text;

	all[0] = 0;
	while (*(text = fx_gets(fx, device)))
		snprintf(all + strlen(all), sizeof all - strlen(all), "%.64s ", fx_member(text, "id"));
	return all;
}

static void late_sends(struct fx *fx)
{
	fx_hooks(fx, true, true);
	fx->send = (struct fx_answer){ .verdict = WSC_PENDING, .defer = true };
}

/* ---- outcomes -------------------------------------------------------------------------------------------------------- */

/* Shows: 8.wsc_send */
TEST(every_message_of_the_program_has_one_outcome_that_says_what_became_of_it)
{
	static const struct {
		const char *text;
		bool broadcast;
		const char *said;
	} rows[] = {
		{ "{\"id\":\"m\",\"to\":\"bob\",\"content\":\"x\"}", false, "m: delivered 2\n" },
		{ "{\"id\":\"m\",\"to\":\"cyd\",\"content\":\"x\"}", false, "m: offline 0\n" },
		{ "{\"id\":\"m\",\"ticket_id\":\"t1\",\"content\":\"x\"}", false, "m: delivered 1\n" },
		{ "{\"id\":\"m\",\"ticket_id\":\"t7\",\"content\":\"x\"}", false, "m: offline 0\n" },
		{ "{\"id\":\"m\",\"content\":\"x\"}", true, "m: delivered 2\n" },
		{ "{\"id\":\"m\",\"content\":\"x\"}", false, "m: bad 0\n" },
		{ "{\"id\":\"m\",\"to\":\"bob\"}", false, "m: bad 0\n" },
		{ "{\"id\":\"m\"", false, "m: bad 0\n" },
		{ "{\"id\":\"m\",\"require_ack\":true,\"to\":\"bob\",\"content\":\"x\"}", false,
		  "m: not supported 0\n" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (unsigned ask = 0; ask < 2; ask++) {
			struct fx fx;

			fx_init(&fx);
			fx_connect(&fx, "bob", "t1");
			fx_connect(&fx, "bob", "");
			post(&fx, submission(&fx, "shop", rows[i].text, rows[i].broadcast, ask));
			CHECK_TEXT(fx_said(&fx), ""); /* not before its shard has a turn */
			fx_turn(&fx, 1);
			fx_check_row(i, fx_said(&fx), ask ? rows[i].said : "");
			CHECK_EQ(*fx_gets(&fx, 0) != 0, strstr(rows[i].said, "delivered") != NULL);
			fx_turn(&fx, 9999);
			CHECK_TEXT(fx_said(&fx), "");
			fx_free(&fx);
		}
}

TEST(what_a_hook_says_of_a_message_of_the_program_is_its_outcome)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	fx_hooks(&fx, true, true);
	fx.send = (struct fx_answer){ .verdict = -1, .reason = "not today" };
	program_says(&fx, "shop", "a");
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "send?\na: refused 0\n");
	CHECK_TEXT(fx.why, "not today");
	late_sends(&fx);
	program_says(&fx, "shop", "b");
	program_says(&fx, "news", "c");
	program_says(&fx, "post", "d");
	fx_turn(&fx, 2);
	wsc_finish(fx_call(&fx, 0), -1, "not now");
	wsc_finish_message(fx_call(&fx, 1), 0, &(struct wsc_message){ .data = "[]" }, NULL);
	fx_turn(&fx, 3);
	CHECK_TEXT(fx_said(&fx), "send?\nsend?\nsend?\nb: refused 0\nc: bad 0\n");
	fx_turn(&fx, 1002);
	CHECK_TEXT(fx_said(&fx), "d: timed out 0\n");
	wsc_finish(fx_call(&fx, 2), 0, NULL);
	fx_turn(&fx, 1003);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(ids(&fx, 0), "");
	fx_free(&fx);
}

TEST(a_peer_that_does_not_answer_is_an_outcome_and_a_busy_hub_is_one_too)
{
	struct fx fx;

	fx_init_alone(&fx);
	program_says(&fx, "shop", "a");
	program_says(&fx, "shop", "b");
	post(&fx, program_kick_task(BYTES("bob"), BYTES("bye"), done, &fx));
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "b: busy 0\n: busy 0\n");
	CHECK_EQ(fx.sh.jobs.live, 1);
	fx_turn(&fx, 101);
	CHECK_TEXT(fx_said(&fx), "a: timed out 0\n");
	post(&fx, program_kick_task(BYTES("bob"), BYTES("bye"), done, &fx));
	fx_turn(&fx, 102);
	fx_turn(&fx, 202);
	CHECK_TEXT(fx_said(&fx), ": timed out 0\n");
	fx_free(&fx);
}

/* ---- order ------------------------------------------------------------------------------------------------------------- */

/* Shows: 8.pending */
TEST(messages_of_one_sender_wait_behind_the_one_that_a_hook_has_and_others_pass)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	late_sends(&fx);
	program_says(&fx, "shop", "a1");
	program_says(&fx, "news", "b1");
	program_says(&fx, "shop", "a2");
	program_says(&fx, "shop", "a3");
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "send?\nsend?\n"); /* a1, b1 */
	program_says(&fx, "news", "b2");
	program_says(&fx, "shop", "a4");
	fx_turn(&fx, 2);
	CHECK_TEXT(fx_said(&fx), "");
	/* Messages of clients are not behind those of the program. */
	CHECK(!fx_submit(&fx, FX_CALLS, false, "shop", BYTES("{\"id\":\"c\",\"to\":\"bob\",\"content\":\"x\"}"), 3));
	wsc_finish(fx_call(&fx, 2), 0, NULL);
	fx_turn(&fx, 3);
	CHECK_TEXT(ids(&fx, 0), "c ");
	(void)fx_said(&fx);
	wsc_finish(fx_call(&fx, 1), 0, NULL); /* b1 */
	fx_turn(&fx, 3);
	CHECK_TEXT(ids(&fx, 0), "b1 ");
	CHECK_TEXT(fx_said(&fx), "send?\nb1: delivered 1\n"); /* b2 */
	wsc_finish(fx_call(&fx, 0), -1, NULL);
	fx_turn(&fx, 4);
	CHECK_TEXT(fx_said(&fx), "a1: refused 0\nsend?\n"); /* a2, and a3 and a4 behind it */
	fx.send = (struct fx_answer){ 0 };                  /* from now on at once */
	wsc_finish(fx_call(&fx, 4), 0, NULL);
	fx_turn(&fx, 5);
	CHECK_TEXT(fx_said(&fx), "send?\nsend?\na2: delivered 1\na3: delivered 1\na4: delivered 1\n");
	CHECK_TEXT(ids(&fx, 0), "a2 a3 a4 ");
	fx_turn(&fx, 1003);
	CHECK_TEXT(fx_said(&fx), "b2: timed out 0\n");
	program_says(&fx, "news", "b3");
	fx_turn(&fx, 1004);
	CHECK_TEXT(fx_said(&fx), "send?\nb3: delivered 1\n");
	wsc_finish(fx_call(&fx, 3), 0, NULL); /* b2, too late */
	fx_turn(&fx, 1005);
	CHECK_TEXT(ids(&fx, 0), "b3 ");
	fx_free(&fx);
}

/* Every second of the messages that waited meets a late hook again: the rest stays in order behind it. */
TEST(the_order_holds_over_any_number_of_late_answers_in_a_row)
{
	enum { SENDERS_OF_PROGRAM = 5, EACH = 12 };
	char from[8], id[16], want[256] = "";
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	late_sends(&fx);
	for (unsigned n = 0; n < EACH; n++)
		for (unsigned s = 0; s < SENDERS_OF_PROGRAM; s++) {
			snprintf(from, sizeof from, "s%u", s);
			snprintf(id, sizeof id, "%u.%u", s, n);
			program_says(&fx, from, id);
		}
	fx_turn(&fx, 0);
	CHECK_EQ(fx.nasked, SENDERS_OF_PROGRAM);
	for (unsigned next = 0, turn = 1; next < fx.nasked; turn++) {
		/* All that are pending now, in the order in which they were asked. */
		for (unsigned end = fx.nasked; next < end; next++)
			wsc_finish(fx_call(&fx, next), 0, NULL);
		fx_turn(&fx, turn);
		(void)fx_said(&fx);
	}
	CHECK_EQ(fx.nasked, SENDERS_OF_PROGRAM * EACH);
	for (unsigned n = 0; n < EACH; n++) {
		want[0] = 0;
		for (unsigned s = 0; s < SENDERS_OF_PROGRAM; s++) {
			snprintf(want, sizeof want, "%u.%u", s, n);
			CHECK(strcmp(fx_member(fx_gets(&fx, 0), "id"), want) == 0);
		}
	}
	CHECK_EQ(fx.sh.program.count, 0);
	fx_free(&fx);
}

/* ---- the end ------------------------------------------------------------------------------------------------------------ */

TEST(when_the_shard_ends_each_message_that_waits_has_its_one_outcome)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	late_sends(&fx);
	program_says(&fx, "shop", "a1");
	program_says(&fx, "shop", "a2");
	program_says(&fx, "shop", "a3");
	program_says(&fx, "news", "b1");
	post(&fx, submission(&fx, "news", "{\"id\":\"b2\",\"to\":\"bob\",\"content\":\"x\"}", false, false));
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "send?\nsend?\n");
	program_says(&fx, "shop", "a4"); /* still in the mailbox */
	program_says(&fx, "post", "c1");
	wsc_finish(fx_call(&fx, 1), 0, NULL);
	fx.sh.over = true;
	fx_run_tasks(&fx);
	/* a4 and c1 find a shard that has ended, b1 is answered too late. b2 behind it did not ask. */
	CHECK_TEXT(fx_said(&fx), ": stopped 0\n: stopped 0\nb1: stopped 0\n");
	CHECK(strstr(fx.why, "stopped") != NULL);
	program_bury(&fx.sh);
	CHECK_TEXT(fx_said(&fx),
		   ": stopped 0\n: stopped 0\na1: stopped 0\n"); /* a2, a3, and a1, which no hook answered */
	CHECK_EQ(fx.sh.program.count, 0);
	wsc_finish(fx_call(&fx, 0), 0, NULL);
	fx_run_tasks(&fx);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(ids(&fx, 0), "");
	fx_free(&fx);
}

TEST(an_outcome_that_is_still_under_way_at_the_end_is_told_then_and_not_again)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	program_says(&fx, "shop", "a");
	post(&fx, program_kick_task(BYTES("bob"), BYTES("bye"), done, &fx));
	fx_run_tasks(&fx); /* the hub has the outcomes, nobody has taken them */
	CHECK_EQ(fx.sh.jobs.live, 2);
	fx.sh.over = true;
	program_bury(&fx.sh);
	CHECK_TEXT(fx_said(&fx), "a: stopped 0\n: stopped 0\n");
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "");
	fx_free(&fx);
}

TEST(what_could_not_be_posted_is_freed)
{
	struct fx fx;

	fx_init(&fx);
	program_submission_free(submission(&fx, "shop", "{}", false, true));
	program_kick_task_free(program_kick_task(BYTES("bob"), BYTES("bye"), done, &fx));
	CHECK_TEXT(fx_said(&fx), "");
	fx_free(&fx);
}

/* ---- kicks -------------------------------------------------------------------------------------------------------------- */

TEST(a_kick_closes_all_devices_of_a_user_with_its_reason_and_counts_them)
{
	static const char longest[] =
		"A reason of a kick travels in a close frame, which has room for 123 bytes, and this one "
		"is longer than that by far: \xc3\xa4\xc3\xb6\xc3\xbc.";
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	fx_connect(&fx, "bob", "t1");
	fx_connect(&fx, "ann", "");
	post(&fx, program_kick_task(BYTES("cyd"), BYTES("bye"), done, &fx));
	post(&fx, program_kick_task(BYTES("bob"), bytes_str(longest), done, &fx));
	post(&fx, program_kick_task(BYTES("bob"), BYTES("once more"), done, &fx));
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), ": offline 0\n: delivered 2\n: offline 0\n");
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(fx.device[i].state, SESSION_CLOSING);
		CHECK_EQ(fx.device[i].close_code, 4410);
		CHECK(strncmp(fx.device[i].close_reason, longest, 60) == 0);
		CHECK(strlen(fx.device[i].close_reason) <= WS_REASON_MAX);
	}
	CHECK_EQ(fx.device[2].state, SESSION_LIVE);
	post(&fx, program_kick_task(BYTES("ann"), BYTES(""), NULL, NULL));
	fx_turn(&fx, 2);
	CHECK_EQ(fx.device[2].state, SESSION_CLOSING);
	CHECK_TEXT(fx_said(&fx), "");
	fx_free(&fx);
}

TEST(a_kick_comes_behind_what_the_program_sent_before_it)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	program_says(&fx, "shop", "a");
	post(&fx, program_kick_task(BYTES("bob"), BYTES("bye"), done, &fx));
	program_says(&fx, "shop", "b");
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "a: delivered 1\n: delivered 1\nb: offline 0\n");
	CHECK_TEXT(ids(&fx, 0), "a ");
	fx_free(&fx);
}

/* ---- memory -------------------------------------------------------------------------------------------------------------- */

#ifdef WSC_FAULTS
TEST(without_memory_at_any_point_every_message_and_kick_that_was_handed_over_has_one_outcome)
{
	for (unsigned late = 0; late < 2; late++)
		for (unsigned long k = 1; k < 40; k++) {
			struct fx fx;
			unsigned handed = 0, told = 0;
			const char *said;

			fx_init(&fx);
			fx_connect(&fx, "bob", "");
			if (late)
				late_sends(&fx);
			mem_fail_at(k, 0);
			for (unsigned i = 0; i < 3; i++) {
				struct task *t = submission(
					&fx, "shop", "{\"id\":\"m\",\"to\":\"bob\",\"content\":\"x\"}", false, true);

				handed += t != NULL;
				post(&fx, t);
			}
			for (unsigned i = 0; i < 2; i++) {
				struct task *t =
					program_kick_task(i ? BYTES("bob") : BYTES("cyd"), BYTES("bye"), done, &fx);

				handed += t != NULL;
				post(&fx, t);
			}
			for (unsigned turn = 1, next = 0; turn < 6; turn++) {
				fx_turn(&fx, turn);
				for (; next < fx.nasked; next++)
					wsc_finish(fx_call(&fx, next), 0, NULL);
			}
			mem_fail_at(0, 0);
			fx_turn(&fx, 6);
			for (said = fx_said(&fx); (said = strchr(said, ':')); said++)
				told++;
			CHECK_EQ(told, handed);
			CHECK_EQ(fx.sh.jobs.live, 0);
			fx_free(&fx);
		}
}
#endif
