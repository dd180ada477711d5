/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every built-in check and its error code, for each kind of sender: frames of a WebSocket, calls of the API, and the program.
 * A message that fails a check reaches nobody and no hook.
 */
#include "submit_fixture.h"

#define OK "ok"
#define ID "\"id\":\"m\","
#define BODY "\"content\":\"x\"}"

static const char *const sender_names[] = { "frames", "calls", "the program" };

/* Sends @text as each sender, in a shard of its own; @want: what is told to each, OK: it is delivered to bob. */
static void check_told(size_t row, enum sender_policy policy, bool broadcast, struct bytes text,
		       const char *const want[3])
{
	for (unsigned by = FX_FRAMES; by <= FX_TRUSTED; by++) {
		struct fx fx;
		char told[128];
		const char *said;

		if (!want[by])
			continue;
		fx_init(&fx);
		fx.set.opt.sender = policy;
		fx_connect(&fx, "ann", "t1");
		fx_connect(&fx, "bob", "t1");
		CHECK(fx_submit(&fx, (enum fx_sender)by, broadcast, "ann", text, 0));
		said = fx_said(&fx);
		snprintf(told, sizeof told, "%.*s", (int)strcspn(said, "\n"), said);
		if (!*said && *fx_gets(&fx, 1))
			snprintf(told, sizeof told, OK);
		if (!CHECK(strcmp(told, want[by]) == 0))
			printf("\trow %zu, %s: %.*s: \"%s\", not \"%s\"\n", row, sender_names[by], (int)text.len,
			       text.len ? (const char *)text.at : "", told, want[by]);
		CHECK(strcmp(want[by], OK) == 0 || !*fx_gets(&fx, 1));
		fx_free(&fx);
	}
}

/* Shows: 3.frame-neither, 3.frame-ack, 3.require-ack, 4.send-required, 4.send-require-ack, 6.require-ack */
TEST(every_check_has_its_code_for_every_sender)
{
	/* By sender: frames, calls, the program. */
	static const struct {
		const char *text;
		const char *want[3];
	} rows[] = {
		{ "{" ID "\"to\":\"bob\"," BODY, { OK, OK, OK } },
		{ "{" ID "\"to\":\"bob\",\"data\":{}}", { OK, OK, OK } },
		{ "{" ID "\"to\":\"bob\",\"content\":\"\"}", { OK, OK, OK } },
		{ "{" ID "\"ticket_id\":\"t1\"," BODY, { OK, "missing_field m", OK } },
		/* As frames, these types are for the gateway; in a call they are messages like any other. */
		{ "{" ID "\"type\":\"ping\",\"to\":\"bob\"," BODY, { "reply pong", OK, OK } },
		{ "{" ID "\"type\":\"p\\u0069ng\",\"to\":\"bob\"," BODY, { "reply pong", OK, OK } },
		{ "{\"type\":\"heartbeat\"}", { "reply pong", "missing_field ", "no_recipient " } },
		{ "{\"type\":\"ping\",\"from\":\"eve\"}", { "reply pong", "sender_mismatch ", "no_recipient " } },
		{ "{" ID "\"type\":\"ack\",\"to\":\"bob\"," BODY, { "not_supported m", OK, OK } },
		{ "{" ID "\"type\":\"ack\"}", { "not_supported m", "missing_field m", "no_recipient m" } },
		/* The sender. */
		{ "{" ID "\"from\":\"ann\",\"to\":\"bob\"," BODY, { OK, OK, OK } },
		{ "{" ID "\"from\":\"\\u0061nn\",\"to\":\"bob\"," BODY, { OK, OK, OK } },
		{ "{" ID "\"from\":\"\",\"to\":\"bob\"," BODY, { OK, OK, OK } },
		{ "{" ID "\"from\":null,\"to\":\"bob\"," BODY, { OK, OK, OK } },
		{ "{" ID "\"from\":\"eve\",\"to\":\"bob\"," BODY, { "sender_mismatch m", "sender_mismatch m", OK } },
		{ "{" ID "\"from\":\"anna\",\"to\":\"bob\"," BODY, { "sender_mismatch m", "sender_mismatch m", OK } },
		{ "{\"from\":\"eve\",\"to\":\"bob\"," BODY, { "sender_mismatch ", "sender_mismatch ", OK } },
		/* The receiver. */
		{ "{" ID BODY, { "no_recipient m", "missing_field m", "no_recipient m" } },
		{ "{" ID "\"to\":\"\",\"ticket_id\":null," BODY,
		  { "no_recipient m", "missing_field m", "no_recipient m" } },
		{ "{\"id\":\"\\u006d\"," BODY, { "no_recipient m", "missing_field m", "no_recipient m" } },
		{ "{" ID "\"from\":\"eve\"}", { "sender_mismatch m", "sender_mismatch m", "no_recipient m" } },
		/* Something to deliver. */
		{ "{" ID "\"to\":\"bob\"}", { "bad_message m", "missing_field m", "bad_message m" } },
		{ "{" ID "\"to\":\"bob\",\"content\":null,\"data\":null}",
		  { "bad_message m", "missing_field m", "bad_message m" } },
		/* These need a store. */
		{ "{" ID "\"require_ack\":true,\"to\":\"bob\"," BODY,
		  { "not_supported m", "not_supported m", "not_supported m" } },
		{ "{" ID "\"require_ack\":false,\"to\":\"bob\"," BODY, { OK, OK, OK } },
		{ "{" ID "\"require_ack\":true,\"to\":\"bob\"}",
		  { "bad_message m", "missing_field m", "bad_message m" } },
		/* These are no messages; the sender gets the id if it stands before the fault. */
		{ "", { "bad_message ", "bad_message ", "bad_message " } },
		{ "hello", { "bad_message ", "bad_message ", "bad_message " } },
		{ "[1]", { "bad_message ", "bad_message ", "bad_message " } },
		{ "{" ID "\"to\":7," BODY, { "bad_message m", "bad_message m", "bad_message m" } },
		{ "{\"to\":7," ID BODY, { "bad_message ", "bad_message ", "bad_message " } },
		{ "{" ID "\"to\":\"bob\",\"to\":\"bob\"," BODY, { "bad_message m", "bad_message m", "bad_message m" } },
		{ "{" ID "\"status\":\"lost\",\"to\":\"bob\"," BODY,
		  { "bad_message m", "bad_message m", "bad_message m" } },
		{ "{" ID "\"create_at\":\"soon\",\"to\":\"bob\"," BODY,
		  { "bad_message m", "bad_message m", "bad_message m" } },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_told(i, SENDER_REJECT, false, bytes_str(rows[i].text), rows[i].want);
}

/* Shows: 4.broadcast-required, 4.broadcast-from */
TEST(a_broadcast_needs_no_receiver_and_all_else_that_a_message_needs)
{
	static const struct {
		const char *text;
		const char *want[3];
	} rows[] = {
		{ "{" ID BODY, { NULL, OK, OK } },
		{ "{" ID "\"to\":\"cyd\"," BODY, { NULL, OK, OK } },
		{ "{" ID "\"from\":\"eve\"," BODY, { NULL, "sender_mismatch m", OK } },
		{ "{" ID "\"type\":\"x\"}", { NULL, "missing_field m", "bad_message m" } },
		{ "{" ID "\"require_ack\":true," BODY, { NULL, "not_supported m", "not_supported m" } },
		{ "{", { NULL, "bad_message ", "bad_message " } },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_told(i, SENDER_REJECT, true, bytes_str(rows[i].text), rows[i].want);
}

/* Shows: 3.frame-from-false */
TEST(a_false_from_is_refused_overwritten_or_left_to_the_hook_as_configured)
{
	static const struct {
		enum sender_policy policy;
		const char *told, *from; /* as receivers and hooks see it */
	} rows[] = {
		{ SENDER_REJECT, "sender_mismatch m\n", "" },
		{ SENDER_OVERWRITE, "received?\n", "ann" },
		{ SENDER_HOOK, "received?\n", "eve" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;
		char seen[64];

		fx_init(&fx);
		fx.set.opt.sender = rows[i].policy;
		fx_hooks(&fx, true, false);
		fx_connect(&fx, "bob", "");
		(void)fx_send(&fx, FX_FRAMES, "ann", "{" ID "\"from\":\"eve\",\"to\":\"bob\"," BODY);
		CHECK(fx_check_row(i, fx_said(&fx), rows[i].told));
		CHECK(strcmp(fx_member(fx_gets(&fx, 0), "from"), rows[i].from) == 0);
		snprintf(seen, sizeof seen, "m|text|%s|bob|", rows[i].from);
		CHECK(!*rows[i].from || strncmp(fx.seen, seen, strlen(seen)) == 0);
		/* A call says who it is from in its header, and is refused whatever the policy is. */
		(void)fx_send(&fx, FX_CALLS, "ann", "{" ID "\"from\":\"eve\",\"to\":\"bob\"," BODY);
		CHECK_TEXT(fx_said(&fx), "sender_mismatch m\n");
		fx_free(&fx);
	}
}

TEST(the_refused_sender_is_told_who_it_is_even_with_the_longest_id)
{
	struct fx fx;
	char longest[ENVELOPE_ADDRESS_MAX + 1];

	memset(longest, 'a', ENVELOPE_ADDRESS_MAX);
	longest[ENVELOPE_ADDRESS_MAX] = 0;
	fx_init(&fx);
	(void)fx_send(&fx, FX_FRAMES, longest, "{" ID "\"from\":\"eve\",\"to\":\"bob\"," BODY);
	CHECK_TEXT(fx_said(&fx), "sender_mismatch m\n");
	CHECK(strstr(fx.why, longest) != NULL);
	fx_free(&fx);
}

/* ---- the length of content --------------------------------------------------------------------------------------- */

TEST(content_is_measured_as_the_bytes_that_it_means_and_not_as_it_is_written)
{
	static const struct {
		const char *content;
		uint64_t max;
		bool fits;
	} rows[] = {
		{ "\"content\":\"abcd\"", 4, true },
		{ "\"content\":\"abcde\"", 4, false },
		{ "\"content\":\"abcde\"", 0, true }, /* no limit of its own */
		{ "\"content\":\"\"", 1, true },
		{ "\"content\":\"\\u0061bcd\"", 4, true },
		{ "\"content\":\"\\u0061bcde\"", 4, false },
		{ "\"content\":\"\\n\\n\\n\\n\"", 4, true },
		{ "\"content\":\"\\n\\n\\n\\n\\n\"", 4, false },
		{ "\"content\":\"\\u00e4\\u00e4\"", 4, true }, /* two bytes each */
		{ "\"content\":\"\\u00e4\\u00e4\\u00e4\"", 4, false },
		{ "\"content\":\"\\ud83d\\ude00\"", 4, true },
		{ "\"content\":\"x\\ud83d\\ude00\"", 4, false },
		{ "\"data\":{\"content\":\"abcdefgh\"}", 4, true },
		{ "\"content\":null,\"data\":{}", 4, true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (unsigned by = FX_FRAMES; by <= FX_TRUSTED; by++) {
			struct fx fx;
			char text[128];

			fx_init(&fx);
			fx.set.opt.max_content_bytes = rows[i].max;
			fx_connect(&fx, "bob", "");
			snprintf(text, sizeof text, "{" ID "\"to\":\"bob\",%s}", rows[i].content);
			(void)fx_send(&fx, (enum fx_sender)by, "ann", text);
			CHECK(fx_check_row(i, fx_said(&fx), rows[i].fits ? "" : "bad_message m\n"));
			CHECK_EQ(*fx_gets(&fx, 0) != 0, rows[i].fits);
			fx_free(&fx);
		}
}

#ifdef WSC_FAULTS
TEST(without_memory_to_measure_content_the_sender_is_told_of_memory_and_not_of_a_long_content)
{
	unsigned overloaded = 0;

	for (unsigned long k = 1; k < 10; k++) {
		struct fx fx;
		const char *said;

		fx_init(&fx);
		fx.set.opt.max_content_bytes = 4;
		fx_connect(&fx, "bob", "");
		mem_fail_at(k, 0);
		(void)fx_send(&fx, FX_FRAMES, "ann", "{" ID "\"to\":\"bob\",\"content\":\"\\u0061bcd\"}");
		mem_fail_at(0, 0);
		said = fx_said(&fx);
		CHECK(strcmp(said, *fx_gets(&fx, 0) ? "" : "overloaded m\n") == 0);
		CHECK(!*said || strcmp(fx.why, "out of memory") == 0);
		overloaded += *said != 0;
		fx_free(&fx);
	}
	CHECK(overloaded >= 2); /* content_fits(), the message */
}
#endif

/* ---- refused by the hub -------------------------------------------------------------------------------------------- */

/* Shows: 3.ticket */
TEST(only_a_sender_in_the_ticket_may_write_to_it_but_the_program_may_from_outside)
{
	static const char text[] = "{" ID "\"ticket_id\":\"t1\"," BODY;
	struct fx fx;
	unsigned ann, bob;

	fx_init(&fx);
	ann = fx_connect(&fx, "ann", "t2");
	bob = fx_connect(&fx, "bob", "t1");
	(void)fx_send(&fx, FX_FRAMES, "ann", text);
	(void)fx_send(&fx, FX_FRAMES, "cyd", text); /* not connected at all */
	CHECK_TEXT(fx_said(&fx), "not accepted\nnot_in_ticket m\nnot accepted\nnot_in_ticket m\n");
	CHECK_TEXT(fx_gets(&fx, bob), "");
	(void)fx_send(&fx, FX_TRUSTED, "cyd", text);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(fx_member(fx_gets(&fx, bob), "from"), "cyd");
	ann = fx_connect(&fx, "ann", "t1");
	(void)fx_send(&fx, FX_FRAMES, "ann", text);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(fx_member(fx_gets(&fx, bob), "from"), "ann");
	CHECK_TEXT(fx_gets(&fx, ann), "");
	/* With both, `to` decides. */
	(void)fx_send(&fx, FX_FRAMES, "cyd", "{" ID "\"ticket_id\":\"t1\",\"to\":\"ann\"," BODY);
	CHECK_TEXT(fx_said(&fx), "");
	CHECK_TEXT(fx_gets(&fx, bob), "");
	CHECK_TEXT(fx_member(fx_gets(&fx, ann), "ticket_id"), "t1");
	fx_free(&fx);
}

/* Shows: 3.frame-offline */
TEST(an_outcome_goes_to_the_sender_that_published_with_its_own_token)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	(void)fx_submit(&fx, FX_FRAMES, false, "ann", BYTES("{\"id\":\"a\",\"to\":\"cyd\"," BODY), 5);
	(void)fx_submit(&fx, FX_FRAMES, false, "ann", BYTES("{\"id\":\"b\",\"to\":\"bob\"," BODY), 6);
	fx.all = true;
	(void)fx_submit(&fx, FX_CALLS, false, "ann", BYTES("{\"id\":\"c\",\"to\":\"bob\"," BODY), 7);
	(void)fx_submit(&fx, FX_CALLS, true, "ann", BYTES("{\"id\":\"d\"," BODY), 8);
	CHECK_TEXT(fx_said(&fx), "");
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "outcome 5: nobody 0 of a\n"
				 "outcome 7: delivered 1 of c\n"
				 "outcome 8: delivered 1 of d\n");
	fx_free(&fx);
}

TEST(only_messages_of_clients_count_as_received_or_refused)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"to\":\"bob\"," BODY);
	(void)fx_send(&fx, FX_CALLS, "ann", "{\"to\":\"bob\"," BODY);
	(void)fx_send(&fx, FX_CALLS, "ann", "{\"to\":\"cyd\"," BODY);
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"to\":\"cyd\"," BODY);
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"to\":\"bob\"}"); /* refused */
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"type\":\"ping\"}");
	(void)fx_send(&fx, FX_TRUSTED, "ann", "{\"to\":\"bob\"," BODY);
	(void)fx_send(&fx, FX_TRUSTED, "ann", "{\"to\":\"bob\"}");
	(void)fx_broadcast(&fx, FX_CALLS, "ann", "{" BODY);
	(void)fx_broadcast(&fx, FX_TRUSTED, "ann", "{" BODY);
	fx_turn(&fx, 1);
	CHECK_EQ(counter_get(&fx.sh.metrics.received), 4);
	CHECK_EQ(counter_get(&fx.sh.metrics.broadcasts), 2);
	CHECK_EQ(counter_get(&fx.sh.metrics.messages_refused[API_USER_OFFLINE]), 2);
	CHECK_EQ(counter_get(&fx.sh.metrics.messages_refused[API_BAD_MESSAGE]), 1);
	fx_free(&fx);
}

TEST(when_the_hub_is_busy_the_sender_is_told_to_try_again_and_nothing_was_accepted)
{
	static const char text[] = "{" ID "\"to\":\"bob\"," BODY;
	struct fx fx;

	fx_init_alone(&fx);
	fx.all = true;
	(void)fx_send(&fx, FX_CALLS, "ann", text);
	CHECK_TEXT(fx_said(&fx), "");
	(void)fx_send(&fx, FX_CALLS, "ann", text);
	CHECK_TEXT(fx_said(&fx), "not accepted\noverloaded m\n");
	CHECK(strcmp(fx.why, "out of memory") != 0);
	CHECK_EQ(counter_get(&fx.sh.metrics.received), 1);
	fx_turn(&fx, 100);
	CHECK_TEXT(fx_said(&fx), "outcome 1: timed out 0 of m\n");
	(void)fx_send(&fx, FX_CALLS, "ann", text);
	CHECK_TEXT(fx_said(&fx), "");
	fx_turn(&fx, 300);
	fx_free(&fx);
}

TEST(a_sender_without_memory_for_the_answer_is_told_so_and_nothing_is_published)
{
	struct fx fx;

	fx_init(&fx);
	fx_connect(&fx, "bob", "");
	fx.no_memory = true;
	(void)fx_send(&fx, FX_CALLS, "ann", "{" ID "\"to\":\"bob\"," BODY);
	CHECK_TEXT(fx_said(&fx), "overloaded m\n"); /* there is nothing that not_accepted() could undo */
	CHECK_TEXT(fx.why, "out of memory");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	fx_free(&fx);
}

#ifdef WSC_FAULTS
TEST(without_memory_at_any_point_a_message_is_delivered_or_its_sender_is_told_overloaded)
{
	/* Many unknown keys, so that parsing needs memory too. */
	char text[1200] = "{" ID "\"to\":\"bob\",\"content\":\"x\"";
	unsigned overloaded[3] = { 0 };

	for (unsigned i = 0; i < 60; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), ",\"key%u\":%u", i, i);
	strcat(text, "}");
	for (unsigned long k = 1; k < 12; k++)
		for (unsigned by = FX_FRAMES; by <= FX_TRUSTED; by++) {
			struct fx fx;
			const char *said;

			fx_init(&fx);
			fx_connect(&fx, "bob", "");
			fx.all = by != FX_TRUSTED;
			mem_fail_at(k, 0);
			(void)fx_send(&fx, (enum fx_sender)by, "ann", text);
			mem_fail_at(0, 0);
			said = fx_said(&fx);
			if (*fx_gets(&fx, 0))
				CHECK_TEXT(said, "");
			else
				CHECK(strstr(said, "overloaded m\n") != NULL);
			overloaded[by] += *said != 0;
			fx_turn(&fx, 1);
			fx_free(&fx);
		}
	CHECK(overloaded[FX_FRAMES] && overloaded[FX_CALLS] && overloaded[FX_TRUSTED]);
}

TEST(a_pong_without_memory_is_the_senders_to_tell)
{
	struct fx fx;

	fx_init(&fx);
	mem_fail_at(1, 1);
	(void)fx_send(&fx, FX_FRAMES, "ann", "{\"type\":\"ping\"}");
	mem_fail_at(0, 0);
	CHECK_TEXT(fx_said(&fx), "reply without memory\n");
	fx_free(&fx);
}
#endif
