/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hooks of a message on its way: which are asked, in which order, what they see, and what becomes of the message when
 * they allow, refuse, answer later, too late or never.
 */
#include "submit_fixture.h"

#define HI "{\"id\":\"m\",\"to\":\"bob\",\"content\":\"hi\"}"
#define HI_TEXT                                                                               \
	"{\"id\":\"m\",\"type\":\"text\",\"from\":\"ann\",\"to\":\"bob\",\"content\":\"hi\"," \
	"\"create_at\":\"2023-11-14T22:13:20.000Z\"}"

static void begin(struct fx *fx, bool received, bool send)
{
	fx_init(fx);
	fx_hooks(fx, received, send);
	fx_connect(fx, "bob", "");
}

static void answer_late(struct fx_answer *a)
{
	a->verdict = WSC_PENDING;
	a->defer = true;
}

/* ---- which hooks, in which order ------------------------------------------------------------------------------------ */

/* Shows: 8.on_message_received, 8.on_message_send, 8.on_broadcast */
TEST(hooks_are_asked_once_in_the_order_of_the_stages_and_only_of_messages_that_pass_the_checks)
{
	static const struct {
		enum fx_sender by;
		bool broadcast;
		const char *text, *said;
	} rows[] = {
		{ FX_FRAMES, false, HI, "received?\nsend?\n" },
		{ FX_CALLS, false, HI, "received?\nsend?\n" },
		{ FX_TRUSTED, false, HI, "send?\n" },
		{ FX_CALLS, true, HI, "broadcast?\n" },
		{ FX_TRUSTED, true, HI, "broadcast?\n" },
		{ FX_FRAMES, false, "{\"to\":\"bob\"}", "bad_message \n" },
		{ FX_FRAMES, false, "{", "bad_message \n" },
		{ FX_FRAMES, false, "{\"type\":\"ping\"}", "reply pong\n" },
		{ FX_CALLS, false, "{\"to\":\"bob\"}", "missing_field \n" },
		{ FX_CALLS, true, "{}", "missing_field \n" },
		{ FX_TRUSTED, false, "{\"to\":\"bob\"}", "bad_message \n" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;

		begin(&fx, true, true);
		CHECK(fx_submit(&fx, rows[i].by, rows[i].broadcast, "ann", bytes_str(rows[i].text), 0));
		fx_check_row(i, fx_said(&fx), rows[i].said);
		CHECK_EQ(*fx_gets(&fx, 0) != 0, strchr(rows[i].said, '?') != NULL);
		fx_free(&fx);
	}
}

TEST(without_hooks_nobody_is_asked_and_the_message_is_the_same)
{
	for (unsigned hooks = 0; hooks < 4; hooks++) {
		struct fx fx;

		begin(&fx, hooks & 1, hooks & 2);
		CHECK(fx_send(&fx, FX_FRAMES, "ann", HI));
		fx_check_row(hooks, fx_said(&fx),
			     ((const char *[]){ "", "received?\n", "send?\n", "received?\nsend?\n" })[hooks]);
		CHECK_TEXT(fx_gets(&fx, 0), HI_TEXT);
		fx_free(&fx);
	}
}

TEST(hooks_see_the_sender_and_the_message_as_it_will_be_sent_unescaped)
{
	struct fx fx;

	begin(&fx, true, true);
	(void)fx_send(&fx, FX_FRAMES, "ann",
		      "{\"content\":\"\\u0068\\n\",\"data\":{\"a\":\n1},\"to\":\"b\\u006fb\",\"id\":\"\\u006d\","
		      "\"create_at\":\"2024-01-01T00:00:00\",\"priority\":\"h\\u0069gh\","
		      "\"reply_to_msg_id\":\"r\",\"type\":\"im\\u0061ge\"}");
	CHECK_TEXT(fx_said(&fx), "received?\nsend?\n");
	CHECK_TEXT(fx.seen, "m|image|ann|bob|h\n|2024-01-01T00:00:00Z|{\"a\": 1}|high|r");
	CHECK_TEXT(fx.client, "ann");
	fx_free(&fx);
}

/* Shows: 3.id-server, 3.create-at */
TEST(id_and_date_are_given_once_so_that_both_hooks_and_the_receiver_see_the_same)
{
	char received[sizeof((struct fx *)0)->seen], want[200];
	struct fx fx;

	begin(&fx, true, true);
	answer_late(&fx.received);
	answer_late(&fx.send);
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"to\":\"bob\",\"content\":\"hi\"}");
	memcpy(received, fx.seen, sizeof received);
	wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
	fx_turn(&fx, 500); /* time passes */
	CHECK(strcmp(received, fx.seen) == 0);
	CHECK(strstr(fx.seen, "|text|ann|bob|hi|2023-11-14T22:13:20.000Z|") != NULL);
	CHECK_EQ(strcspn(fx.seen, "|"), ULID_LEN);
	wsc_finish(fx_call(&fx, 1), 0, NULL);
	fx_turn(&fx, 900);
	snprintf(want, sizeof want,
		 "{\"id\":\"%.26s\",\"type\":\"text\",\"from\":\"ann\",\"to\":\"bob\",\"content\":\"hi\","
		 "\"create_at\":\"2023-11-14T22:13:20.000Z\"}",
		 received);
	CHECK(strcmp(fx_gets(&fx, 0), want) == 0);
	fx_free(&fx);
}

/* ---- answers at once -------------------------------------------------------------------------------------------------- */

TEST(a_refusal_ends_the_message_and_its_reason_is_what_the_sender_is_told)
{
	static const struct {
		bool received; /* the first hook refuses; else the second one */
		enum fx_sender by;
		bool broadcast;
		int verdict;
		const char *reason, *said, *why; /* why NULL: a sentence of the gateway */
	} rows[] = {
		{ true, FX_FRAMES, false, WSC_REFUSE, "not in this house", "received?\nrefused m\n",
		  "not in this house" },
		{ true, FX_FRAMES, false, WSC_REFUSE, NULL, "received?\nrefused m\n", NULL },
		{ true, FX_FRAMES, false, WSC_REFUSE, "", "received?\nrefused m\n", NULL },
		{ true, FX_FRAMES, false, WSC_REFUSE, "\xff", "received?\nrefused m\n", NULL },
		{ true, FX_CALLS, false, -1, "no", "received?\nrefused m\n", "no" },
		{ true, FX_CALLS, false, 7, "no", "received?\nrefused m\n", "no" },
		{ false, FX_FRAMES, false, -1, "no", "received?\nsend?\nrefused m\n", "no" },
		{ false, FX_FRAMES, false, 1, NULL, "received?\nsend?\nrefused m\n", NULL },
		{ false, FX_TRUSTED, false, -1, "no", "send?\nrefused m\n", "no" },
		{ false, FX_CALLS, true, -1, NULL, "broadcast?\nrefused m\n", NULL },
		{ false, FX_TRUSTED, true, -1, "no", "broadcast?\nrefused m\n", "no" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;

		begin(&fx, true, true);
		*(rows[i].received ? &fx.received : &fx.send) =
			(struct fx_answer){ .verdict = rows[i].verdict, .reason = rows[i].reason };
		CHECK(fx_submit(&fx, rows[i].by, rows[i].broadcast, "ann", BYTES(HI), 0));
		fx_check_row(i, fx_said(&fx), rows[i].said);
		CHECK(fx.why[0] && (!rows[i].why || strcmp(fx.why, rows[i].why) == 0));
		CHECK_TEXT(fx_gets(&fx, 0), "");
		CHECK_EQ(counter_get(&fx.sh.metrics.received) + counter_get(&fx.sh.metrics.broadcasts), 0);
		fx_free(&fx);
	}
}

TEST(a_reason_that_is_too_long_is_cut_between_two_characters)
{
	char reason[HOOK_REASON_MAX + 10];
	struct fx fx;

	memset(reason, 'x', sizeof reason);
	memcpy(reason + HOOK_REASON_MAX - 2, "\xc3\xa4", 3);
	begin(&fx, true, false);
	fx.received = (struct fx_answer){ .verdict = WSC_REFUSE, .reason = reason };
	(void)fx_send(&fx, FX_FRAMES, "ann", HI);
	CHECK_EQ(strlen(fx.why), HOOK_REASON_MAX - 2);
	fx_free(&fx);
}

TEST(pending_without_wsc_defer_is_a_refusal)
{
	struct fx fx;

	begin(&fx, true, true);
	fx.received.verdict = WSC_PENDING;
	CHECK(fx_send(&fx, FX_FRAMES, "ann", HI));
	CHECK_TEXT(fx_said(&fx), "received?\nrefused m\n");
	fx.received.verdict = WSC_ALLOW;
	fx.send.verdict = WSC_PENDING;
	CHECK(fx_send(&fx, FX_FRAMES, "ann", HI));
	CHECK_TEXT(fx_said(&fx), "received?\nsend?\nrefused m\n");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	fx_free(&fx);
}

TEST(a_call_that_was_deferred_and_answered_at_once_is_finished_without_effect)
{
	struct fx fx;

	begin(&fx, true, true);
	fx.received.defer = fx.send.defer = true;
	CHECK(fx_send(&fx, FX_FRAMES, "ann", HI));
	CHECK_TEXT(fx_said(&fx), "received?\nsend?\n");
	CHECK_TEXT(fx_gets(&fx, 0), HI_TEXT);
	wsc_finish(fx_call(&fx, 0), WSC_REFUSE, "too late");
	wsc_finish(fx_call(&fx, 1), -1, "too late");
	fx_turn(&fx, 5000);
	CHECK_TEXT(fx_said(&fx), "");
	fx_free(&fx);
}

/* ---- answers that come later ------------------------------------------------------------------------------------------ */

/* Shows: 8.pending */
TEST(a_late_answer_lets_the_message_go_on_or_ends_it_and_the_sender_goes_on)
{
	static const struct {
		bool received; /* the first hook answers late; else the second one */
		enum fx_sender by;
		bool broadcast;
		int verdict;
		const char *reason;
		const char *asked, *said, *why;
	} rows[] = {
		{ true, FX_FRAMES, false, WSC_ALLOW, NULL, "received?\n", "send?\ngo on\n", "" },
		{ true, FX_CALLS, false, WSC_ALLOW, "unread", "received?\n", "send?\ngo on\n", "" },
		{ true, FX_FRAMES, false, WSC_REFUSE, "no", "received?\n", "refused m\ngo on\n", "no" },
		{ true, FX_FRAMES, false, WSC_REFUSE, NULL, "received?\n", "refused m\ngo on\n", NULL },
		{ true, FX_CALLS, false, -1, "no", "received?\n", "refused m\ngo on\n", "no" },
		{ true, FX_FRAMES, false, WSC_PENDING, "no", "received?\n", "refused m\ngo on\n", "no" },
		{ false, FX_FRAMES, false, 0, NULL, "received?\nsend?\n", "go on\n", "" },
		{ false, FX_FRAMES, false, -1, "no", "received?\nsend?\n", "refused m\ngo on\n", "no" },
		{ false, FX_FRAMES, false, 1, NULL, "received?\nsend?\n", "refused m\ngo on\n", NULL },
		{ false, FX_TRUSTED, false, 0, NULL, "send?\n", "go on\n", "" },
		{ false, FX_CALLS, true, 0, NULL, "broadcast?\n", "go on\n", "" },
		{ false, FX_CALLS, true, -1, "no", "broadcast?\n", "refused m\ngo on\n", "no" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;

		begin(&fx, true, true);
		answer_late(rows[i].received ? &fx.received : &fx.send);
		CHECK(!fx_submit(&fx, rows[i].by, rows[i].broadcast, "ann", BYTES(HI), 0));
		fx_check_row(i, fx_said(&fx), rows[i].asked);
		fx_turn(&fx, 999);
		CHECK_TEXT(fx_said(&fx), "");
		CHECK_TEXT(fx_gets(&fx, 0), "");
		wsc_finish(fx_call(&fx, 0), rows[i].verdict, rows[i].reason);
		CHECK_TEXT(fx_said(&fx), ""); /* in its shard's turn, because any thread may finish it */
		fx_turn(&fx, 999);
		fx_check_row(i, fx_said(&fx), rows[i].said);
		CHECK(rows[i].why ? strcmp(fx.why, rows[i].why) == 0 : fx.why[0] != 0);
		CHECK_EQ(*fx_gets(&fx, 0) != 0, rows[i].why && !*rows[i].why);
		fx_turn(&fx, 5000);
		CHECK_TEXT(fx_said(&fx), "");
		fx_free(&fx);
	}
}

TEST(both_hooks_may_answer_late_one_after_the_other_each_with_the_whole_time)
{
	struct fx fx;

	begin(&fx, true, true);
	answer_late(&fx.received);
	answer_late(&fx.send);
	CHECK(!fx_send(&fx, FX_FRAMES, "ann", HI));
	CHECK_TEXT(fx_said(&fx), "received?\n");
	wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
	fx_turn(&fx, 900);
	CHECK_TEXT(fx_said(&fx), "send?\n"); /* the sender does not go on in between */
	fx_turn(&fx, 1899);
	CHECK_TEXT(fx_said(&fx), "");
	wsc_finish(fx_call(&fx, 1), 0, NULL);
	fx_turn(&fx, 1899);
	CHECK_TEXT(fx_said(&fx), "go on\n");
	CHECK_TEXT(fx_gets(&fx, 0), HI_TEXT);
	fx_free(&fx);
}

static void allow(struct wsc_pending *p)
{
	wsc_finish(p, WSC_ALLOW, NULL);
}

TEST(a_call_may_be_finished_before_its_hook_has_returned)
{
	struct fx fx;

	begin(&fx, true, true);
	answer_late(&fx.received);
	fx.received.before_return = allow;
	CHECK(!fx_send(&fx, FX_FRAMES, "ann", HI));
	fx_turn(&fx, 0);
	CHECK_TEXT(fx_said(&fx), "received?\nsend?\ngo on\n");
	CHECK_TEXT(fx_gets(&fx, 0), HI_TEXT);
	fx_free(&fx);
}

TEST(calls_of_several_senders_are_finished_in_any_order_and_each_message_is_its_own)
{
	static const char *const user[] = { "ann", "cyd", "dee" };
	struct fx fx;
	char text[64];

	begin(&fx, true, false);
	answer_late(&fx.received);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(text, sizeof text, "{\"id\":\"m%u\",\"to\":\"bob\",\"content\":\"x\"}", i);
		CHECK(!fx_submit(&fx, FX_FRAMES, false, user[i], bytes_str(text), i + 1));
	}
	wsc_finish(fx_call(&fx, 2), WSC_ALLOW, NULL);
	wsc_finish(fx_call(&fx, 0), WSC_REFUSE, NULL);
	wsc_finish(fx_call(&fx, 1), WSC_ALLOW, NULL);
	(void)fx_said(&fx);
	fx_turn(&fx, 10);
	CHECK_TEXT(fx_said(&fx), "go on\nrefused m0\ngo on\ngo on\n");
	CHECK_TEXT(fx_member(fx_gets(&fx, 0), "from"), "dee");
	CHECK_TEXT(fx_member(fx_gets(&fx, 0), "from"), "cyd");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	fx_free(&fx);
}

/* ---- answers that come too late or never ------------------------------------------------------------------------------- */

/* Shows: 8.pending */
TEST(a_hook_that_does_not_answer_in_time_is_told_once_and_its_answer_has_no_effect)
{
	static const struct {
		bool received;
		enum fx_sender by;
		bool broadcast;
	} rows[] = { { true, FX_FRAMES, false },
		     { true, FX_CALLS, false },
		     { false, FX_FRAMES, false },
		     { false, FX_TRUSTED, false },
		     { false, FX_CALLS, true } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;

		begin(&fx, true, true);
		answer_late(rows[i].received ? &fx.received : &fx.send);
		CHECK(!fx_submit(&fx, rows[i].by, rows[i].broadcast, "ann", BYTES(HI), 0));
		(void)fx_said(&fx);
		fx_turn(&fx, 999);
		CHECK_TEXT(fx_said(&fx), "");
		fx_turn(&fx, 1000);
		fx_check_row(i, fx_said(&fx), "hook_timeout m\ngo on\n");
		fx_turn(&fx, 5000);
		wsc_finish(fx_call(&fx, 0), rows[i].received ? WSC_ALLOW : 0, NULL);
		fx_turn(&fx, 5001);
		CHECK_TEXT(fx_said(&fx), "");
		CHECK_TEXT(fx_gets(&fx, 0), "");
		fx_free(&fx);
	}
}

TEST(an_answer_that_is_under_way_at_the_deadline_counts_or_not_but_one_of_both_is_told)
{
	struct fx fx;

	begin(&fx, true, false);
	answer_late(&fx.received);
	(void)fx_send(&fx, FX_FRAMES, "ann", HI);
	wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
	fx_at(&fx, 1000);
	hook_tick(&fx.sh); /* the timer comes first */
	CHECK_TEXT(fx_said(&fx), "received?\nhook_timeout m\ngo on\n");
	fx_turn(&fx, 1000);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	fx_free(&fx);
}

TEST(the_second_hook_may_time_out_when_the_first_has_answered_late)
{
	struct fx fx;

	begin(&fx, true, true);
	answer_late(&fx.received);
	answer_late(&fx.send);
	(void)fx_send(&fx, FX_FRAMES, "ann", HI);
	wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
	fx_turn(&fx, 600);
	fx_turn(&fx, 1599);
	CHECK_TEXT(fx_said(&fx), "received?\nsend?\n");
	fx_turn(&fx, 1600);
	CHECK_TEXT(fx_said(&fx), "hook_timeout m\ngo on\n");
	wsc_finish_message(fx_call(&fx, 1), 0, &(struct wsc_message){ .content = "edited too late" }, NULL);
	fx_turn(&fx, 1601);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	fx_free(&fx);
}

/* ---- the sender has gone, the shard ends -------------------------------------------------------------------------------- */

TEST(the_message_of_a_sender_that_has_gone_is_sent_all_the_same)
{
	struct fx fx;
	unsigned ann;

	begin(&fx, true, true);
	ann = fx_connect(&fx, "ann", "");
	answer_late(&fx.received);
	(void)fx_send(&fx, FX_FRAMES, "ann", HI);
	(void)fx_said(&fx);
	fx_disconnect(&fx, ann);
	fx.gone = true;
	wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
	fx_turn(&fx, 10);
	CHECK_TEXT(fx_said(&fx), "send?\nnobody: go on\n");
	CHECK_TEXT(fx.client, "ann");
	CHECK_TEXT(fx_gets(&fx, 0), HI_TEXT);
	fx_free(&fx);
}

TEST(a_sender_that_has_gone_is_in_no_ticket_any_more)
{
	struct fx fx;
	unsigned ann;

	fx_init(&fx);
	fx_hooks(&fx, true, true);
	fx_connect(&fx, "bob", "t1");
	ann = fx_connect(&fx, "ann", "t1");
	answer_late(&fx.send);
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"id\":\"m\",\"ticket_id\":\"t1\",\"content\":\"hi\"}");
	fx_disconnect(&fx, ann);
	fx.gone = true;
	wsc_finish(fx_call(&fx, 0), 0, NULL);
	(void)fx_said(&fx);
	fx_turn(&fx, 10);
	CHECK_TEXT(fx_said(&fx), "nobody: not accepted\nnobody: not_in_ticket m\nnobody: go on\n");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	fx_free(&fx);
}

TEST(when_the_shard_has_ended_an_answer_is_told_and_no_further_hook_is_asked)
{
	static const struct {
		bool received;
		int verdict;
		const char *said;
	} rows[] = {
		{ true, WSC_ALLOW, "shutting_down m\ngo on\n" },
		{ true, WSC_REFUSE, "refused m\ngo on\n" },
		{ false, 0, "shutting_down m\ngo on\n" },
		{ false, -1, "refused m\ngo on\n" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;

		begin(&fx, true, true);
		answer_late(rows[i].received ? &fx.received : &fx.send);
		(void)fx_send(&fx, FX_FRAMES, "ann", HI);
		(void)fx_said(&fx);
		fx.sh.over = true;
		wsc_finish(fx_call(&fx, 0), rows[i].verdict, NULL);
		fx_turn(&fx, 1);
		fx_check_row(i, fx_said(&fx), rows[i].said);
		CHECK_TEXT(fx_gets(&fx, 0), "");
		fx_free(&fx);
	}
}

TEST(calls_that_nobody_has_finished_are_given_up_when_the_shard_ends)
{
	struct fx fx;

	begin(&fx, true, true);
	answer_late(&fx.received);
	answer_late(&fx.send);
	(void)fx_submit(&fx, FX_FRAMES, false, "ann", BYTES(HI), 1);
	(void)fx_submit(&fx, FX_CALLS, false, "cyd", BYTES(HI), 2);
	(void)fx_said(&fx);
	fx.sh.over = true;
	hook_give_up(&fx.sh);
	CHECK_TEXT(fx_said(&fx), "shutting_down m\ngo on\nshutting_down m\ngo on\n"); /* their time was not over */
	/* Between the end and wsc_free() the program may finish them. */
	wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
	wsc_finish_message(fx_call(&fx, 1), 0, &(struct wsc_message){ .content = "x" }, NULL);
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "");
	fx_free(&fx);
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */

#ifdef WSC_FAULTS
TEST(without_memory_to_keep_a_message_the_sender_is_told_of_memory_and_the_hook_is_not_blamed)
{
	unsigned by_wsc_defer = 0, kept = 0, overloaded = 0;

	for (unsigned which = 0; which < 2; which++)
		for (unsigned long k = 1; k < 16; k++) {
			struct fx fx;
			const char *said;
			bool done;

			begin(&fx, true, true);
			answer_late(which ? &fx.send : &fx.received);
			mem_fail_at(k, 0);
			done = fx_send(&fx, FX_FRAMES, "ann", HI);
			mem_fail_at(0, 0);
			said = fx_said(&fx);
			if (strstr(said, "refused m\n")) {
				/* The program has asked for memory itself, and refuses. */
				CHECK_TEXT(fx.why, "no memory for wsc_defer()");
				by_wsc_defer++;
			} else if (!done) {
				kept++;
			} else {
				CHECK(strstr(said, "overloaded m\n") != NULL);
				CHECK_TEXT(fx.why, "out of memory");
				overloaded++;
			}
			CHECK_EQ(strstr(said, "go on") != NULL, false);
			if (fx.nasked)
				wsc_finish(fx_call(&fx, 0), which ? 0 : WSC_ALLOW, NULL);
			fx_turn(&fx, 1);
			CHECK_EQ(*fx_gets(&fx, 0) != 0, !done);
			fx_free(&fx);
		}
	CHECK(by_wsc_defer == 2 && kept && overloaded >= 2 * 5); /* see(), and four in keep_waiting() */
}

TEST(without_memory_when_a_late_answer_comes_the_message_goes_on_or_its_sender_is_told_of_memory)
{
	unsigned overloaded = 0;

	for (unsigned long k = 1; k < 16; k++) {
		struct fx fx;
		const char *said;

		begin(&fx, true, true);
		answer_late(&fx.received);
		answer_late(&fx.send);
		(void)fx_send(&fx, FX_FRAMES, "ann", HI);
		wsc_finish(fx_call(&fx, 0), WSC_ALLOW, NULL);
		(void)fx_said(&fx);
		mem_fail_at(k, 0);
		fx_turn(&fx, 1);
		mem_fail_at(0, 0);
		if (fx.nasked > 1)
			wsc_finish(fx_call(&fx, 1), 0, NULL);
		fx_turn(&fx, 2);
		said = fx_said(&fx);
		CHECK(strstr(said, "go on\n") != NULL);
		if (!*fx_gets(&fx, 0) && !strstr(said, "refused")) {
			CHECK(strstr(said, "overloaded m\n") != NULL);
			CHECK_TEXT(fx.why, "out of memory");
			overloaded++;
		}
		fx_free(&fx);
	}
	CHECK(overloaded >= 2);
}
#endif
