/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits of on_message_send and on_broadcast: each member, by pointer in the hook and later by wsc_finish_message(). Results are
 * compared byte for byte. The refusal of an invalid edit names the edit, and never blames the sender.
 */
#include "submit_fixture.h"

#define HEAD "\"from\":\"ann\",\"to\":\"bob\","
#define DATE "\"create_at\":\"2024-01-01T00:00:00Z\""
#define TEXT                                                                              \
	"{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1]," \
	"\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}"

/* ---- edits ----------------------------------------------------------------------------------------------------------- */

static void nothing(struct wsc_message *m)
{
	(void)m;
}

static void type(struct wsc_message *m)
{
	m->type = "not\"ice";
}

static void default_type(struct wsc_message *m)
{
	m->type = "";
}

static void content(struct wsc_message *m)
{
	m->content = "longer \"\xc3\xa4\"\n";
}

static void no_content(struct wsc_message *m)
{
	m->content = "";
}

static void content_with_nul(struct wsc_message *m)
{
	m->content = "a\0b";
	m->content_len = 3;
}

static void data(struct wsc_message *m)
{
	m->data = "{\"b\":\n[2]}";
}

static void create_at(struct wsc_message *m)
{
	m->create_at = "2025-05-05T05:05:05+05:00";
}

static void create_at_without_zone(struct wsc_message *m)
{
	m->create_at = "2025-05-05T05:05:05";
}

static void priority(struct wsc_message *m)
{
	m->priority = "hi\\gh";
}

static void reply_to(struct wsc_message *m)
{
	m->reply_to_msg_id = "r2";
}

static void all(struct wsc_message *m)
{
	type(m);
	content(m);
	data(m);
	create_at(m);
	priority(m);
	reply_to(m);
}

static void what_stays(struct wsc_message *m)
{
	m->id = "other";
	m->from = "eve";
	m->to = "cyd";
	m->ticket_id = "t9";
	m->content = "hi";
}

static const struct {
	void (*edit)(struct wsc_message *m);
	const char *want;
} edits[] = {
	{ nothing, TEXT },
	{ type, "{\"id\":\"m\",\"type\":\"not\\\"ice\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
		"\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ default_type, "{\"id\":\"m\",\"type\":\"text\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
			"\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ content,
	  "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"longer \\\"\xc3\xa4\\\"\\n\"," DATE ",\"x\":[1],"
	  "\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ no_content, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"\"," DATE ",\"x\":[1],"
		      "\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ content_with_nul, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"a\\u0000b\"," DATE ",\"x\":[1],"
			    "\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ data, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
		"\"priority\":\"low\",\"reply_to_msg_id\":\"r\",\"data\":{\"b\": [2]}}" },
	{ create_at, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\","
		     "\"create_at\":\"2025-05-05T05:05:05+05:00\",\"x\":[1],"
		     "\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ create_at_without_zone, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\","
				  "\"create_at\":\"2025-05-05T05:05:05Z\",\"x\":[1],"
				  "\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
	{ priority, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
		    "\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\",\"priority\":\"hi\\\\gh\"}" },
	{ reply_to, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
		    "\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r2\"}" },
	{ all, "{\"id\":\"m\",\"type\":\"not\\\"ice\"," HEAD "\"content\":\"longer \\\"\xc3\xa4\\\"\\n\","
	       "\"create_at\":\"2025-05-05T05:05:05+05:00\",\"x\":[1],\"data\":{\"b\": [2]},"
	       "\"reply_to_msg_id\":\"r2\",\"priority\":\"hi\\\\gh\"}" },
	{ what_stays, TEXT },
};

static void begin(struct fx *fx, bool late, void (*edit)(struct wsc_message *m))
{
	fx_init(fx);
	fx_hooks(fx, false, true);
	fx_connect(fx, "bob", "");
	fx->send.edit = late ? NULL : edit;
	fx->send.defer = late;
	fx->send.verdict = late ? WSC_PENDING : 0;
}

/* A late edit: a message with only the changed members. */
static void finish_edited(struct fx *fx, void (*edit)(struct wsc_message *m))
{
	struct wsc_message edited = { 0 };

	edit(&edited);
	wsc_finish_message(fx_call(fx, 0), 0, &edited, NULL);
	fx_turn(fx, 10);
}

/* Shows: 8.on_message_send */
TEST(each_member_may_be_edited_in_the_hook_or_later_and_all_others_stay_to_the_byte)
{
	for (unsigned late = 0; late < 2; late++)
		for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
			struct fx fx;

			begin(&fx, late, edits[i].edit);
			CHECK_EQ(fx_send(&fx, FX_FRAMES, "ann", TEXT), !late);
			if (late)
				finish_edited(&fx, edits[i].edit);
			fx_check_row(i, fx_gets(&fx, 0), edits[i].want);
			fx_check_row(i, fx_said(&fx), late ? "send?\ngo on\n" : "send?\n");
			fx_free(&fx);
		}
}

static void no_priority(struct wsc_message *m)
{
	m->priority = NULL;
}

static void no_reply_to(struct wsc_message *m)
{
	m->reply_to_msg_id = NULL;
}

static void no_data(struct wsc_message *m)
{
	m->data = NULL;
}

static void content_null(struct wsc_message *m)
{
	m->content = NULL;
}

static void no_type_and_no_date(struct wsc_message *m)
{
	m->type = m->create_at = NULL;
}

TEST(a_hook_takes_out_a_member_by_pointing_it_to_null_and_later_null_means_as_it_was)
{
	static const struct {
		void (*edit)(struct wsc_message *m);
		const char *want;
	} rows[] = {
		{ no_priority, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
			       "\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
		{ no_reply_to, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
			       "\"priority\":\"low\",\"data\":{\"a\":1}}" },
		{ no_data, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"hi\"," DATE ",\"x\":[1],"
			   "\"priority\":\"low\",\"reply_to_msg_id\":\"r\"}" },
		{ content_null, "{\"id\":\"m\",\"type\":\"image\"," HEAD "\"content\":\"\"," DATE ",\"x\":[1],"
				"\"priority\":\"low\",\"data\":{\"a\":1},\"reply_to_msg_id\":\"r\"}" },
		{ no_type_and_no_date, TEXT }, /* a message has both, so they stay */
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fx fx;

		begin(&fx, false, rows[i].edit);
		CHECK(fx_send(&fx, FX_FRAMES, "ann", TEXT));
		fx_check_row(i, fx_gets(&fx, 0), rows[i].want);
		fx_free(&fx);
		begin(&fx, true, NULL);
		CHECK(!fx_send(&fx, FX_FRAMES, "ann", TEXT));
		finish_edited(&fx, rows[i].edit);
		CHECK_TEXT(fx_gets(&fx, 0), TEXT);
		fx_free(&fx);
	}
}

TEST(an_edit_reaches_every_receiver_of_a_ticket_and_of_a_broadcast)
{
	for (unsigned late = 0; late < 2; late++)
		for (unsigned broadcast = 0; broadcast < 2; broadcast++) {
			struct fx fx;

			begin(&fx, late, content);
			for (unsigned i = 0; i < 3; i++)
				fx_connect(&fx, ((const char *[]){ "ann", "cyd", "cyd" })[i], "t1");
			if (broadcast)
				(void)fx_broadcast(&fx, FX_CALLS, "ann", "{\"to\":\"x\",\"content\":\"hi\"}");
			else
				(void)fx_send(&fx, FX_FRAMES, "ann", "{\"ticket_id\":\"t1\",\"content\":\"hi\"}");
			if (late)
				finish_edited(&fx, content);
			for (unsigned i = 2; i < 4; i++) {
				const char *got = fx_gets(&fx, i);

				CHECK(strstr(got, "\"content\":\"longer ") != NULL);
				CHECK(strstr(got, broadcast ? "\"type\":\"notice\"" : "\"type\":\"text\"") != NULL);
				CHECK(strstr(got, "\"to\":\"\"") != NULL);
			}
			CHECK_EQ(*fx_gets(&fx, 1) != 0, broadcast);
			fx_free(&fx);
		}
}

TEST(an_edit_that_comes_with_a_refusal_has_no_effect)
{
	struct fx fx;

	begin(&fx, false, content);
	fx.send.verdict = -1;
	CHECK(fx_send(&fx, FX_FRAMES, "ann", TEXT));
	CHECK_TEXT(fx_said(&fx), "send?\nrefused m\n");
	fx.send = (struct fx_answer){ .verdict = WSC_PENDING, .defer = true, .edit = content };
	CHECK(!fx_send(&fx, FX_FRAMES, "ann", TEXT));
	wsc_finish_message(fx_call(&fx, 0), -1, &(struct wsc_message){ .content = "x" }, "no");
	fx_turn(&fx, 1);
	CHECK_TEXT(fx_said(&fx), "send?\nrefused m\ngo on\n");
	CHECK_TEXT(fx.why, "no");
	CHECK_TEXT(fx_gets(&fx, 0), "");
	/* Pointers that a pending hook has moved are nobody's edit. */
	CHECK(!fx_send(&fx, FX_FRAMES, "ann", TEXT));
	wsc_finish(fx_call(&fx, 1), 0, NULL);
	fx_turn(&fx, 2);
	CHECK_TEXT(fx_gets(&fx, 0), TEXT);
	fx_free(&fx);
}

TEST(with_overwrite_the_true_sender_stays_in_an_edited_message)
{
	for (unsigned late = 0; late < 2; late++) {
		struct fx fx;

		begin(&fx, late, content);
		fx.set.opt.sender = SENDER_OVERWRITE;
		(void)fx_send(&fx, FX_FRAMES, "ann", "{\"from\":\"eve\",\"to\":\"bob\",\"content\":\"hi\"}");
		if (late)
			finish_edited(&fx, content);
		CHECK_TEXT(fx_member(fx_gets(&fx, 0), "from"), "ann");
		fx_free(&fx);
	}
}

TEST(an_edited_content_may_be_longer_than_a_client_may_send)
{
	for (unsigned late = 0; late < 2; late++) {
		struct fx fx;

		begin(&fx, late, content);
		fx.set.opt.max_content_bytes = 2;
		(void)fx_send(&fx, FX_FRAMES, "ann", TEXT);
		if (late)
			finish_edited(&fx, content);
		CHECK(strstr(fx_gets(&fx, 0), "longer") != NULL);
		fx_free(&fx);
	}
}

/* ---- edits that are not valid ---------------------------------------------------------------------------------------- */

static void data_is_a_list(struct wsc_message *m)
{
	m->data = "[1]";
}

static void data_is_no_json(struct wsc_message *m)
{
	m->data = "{\"a\":}";
}

static void data_is_too_deep(struct wsc_message *m)
{
	m->data = "{\"a\":{\"a\":{\"a\":{\"a\":1}}}}"; /* with the message around it: five */
}

static void type_is_too_long(struct wsc_message *m)
{
	m->type = "0123456789012345678901234567890123456789012345678901234567890123456789";
}

static void type_with_control(struct wsc_message *m)
{
	m->type = "a\nb";
}

static void type_is_no_utf8(struct wsc_message *m)
{
	m->type = "\xff";
}

static void date_is_none(struct wsc_message *m)
{
	m->create_at = "tomorrow";
}

static void content_is_no_utf8(struct wsc_message *m)
{
	m->content = "\xc3(";
}

static void priority_is_no_utf8(struct wsc_message *m)
{
	m->priority = "\xff";
}

static void reply_to_is_no_utf8(struct wsc_message *m)
{
	m->reply_to_msg_id = "\xff";
}

TEST(an_edit_that_is_not_valid_is_told_as_the_programs_and_not_as_the_senders_fault)
{
	static void (*const bad[])(struct wsc_message * m) = {
		data_is_a_list,  data_is_no_json, data_is_too_deep,   type_is_too_long,    type_with_control,
		type_is_no_utf8, date_is_none,    content_is_no_utf8, priority_is_no_utf8, reply_to_is_no_utf8,
	};

	for (unsigned late = 0; late < 2; late++)
		for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
			struct fx fx;

			begin(&fx, late, bad[i]);
			fx.set.opt.json_depth = 4;
			(void)fx_send(&fx, FX_FRAMES, "ann", TEXT);
			if (late)
				finish_edited(&fx, bad[i]);
			fx_check_row(i, fx_said(&fx), late ? "send?\ninternal m\ngo on\n" : "send?\ninternal m\n");
			CHECK(strstr(fx.why, "edit") != NULL);
			CHECK_TEXT(fx_gets(&fx, 0), "");
			fx_free(&fx);
		}
}

#ifdef WSC_FAULTS
TEST(without_memory_for_an_edit_the_sender_is_told_of_memory_and_the_edit_is_not_blamed)
{
	unsigned overloaded[2] = { 0 };

	for (unsigned late = 0; late < 2; late++)
		for (unsigned long k = 1; k < 16; k++) {
			struct fx fx;
			const char *said;

			begin(&fx, late, all);
			if (late)
				(void)fx_send(&fx, FX_FRAMES, "ann", TEXT);
			(void)fx_said(&fx);
			mem_fail_at(k, 0);
			if (late)
				finish_edited(&fx, all);
			else
				(void)fx_send(&fx, FX_FRAMES, "ann", TEXT);
			mem_fail_at(0, 0);
			said = fx_said(&fx);
			if (!*fx_gets(&fx, 0)) {
				CHECK(strstr(said, "overloaded m\n") != NULL);
				CHECK_TEXT(fx.why, "out of memory");
				overloaded[late]++;
			}
			fx_free(&fx);
		}
	/* In the hook: what it sees, the edit, the new text, the message; later: the edit's JSON, and the same. */
	CHECK(overloaded[0] >= 4);
	CHECK(overloaded[1] >= 4);
}
#endif
