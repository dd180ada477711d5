/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a message is parsed, whatever hooks do: once as it came and once after each edit, so at most three times. This
 * program is linked with --wrap=envelope_parse and counts the calls. The JSON of a late edit is parsed too, once; it has no
 * receiver, so the counter can tell it from the message.
 */
#include "submit_fixture.h"

enum envelope_error __real_envelope_parse(struct envelope *e, struct bytes text, unsigned max_depth,
					  const uint64_t seed[2]);
enum envelope_error __wrap_envelope_parse(struct envelope *e, struct bytes text, unsigned max_depth,
					  const uint64_t seed[2]);

static struct {
	unsigned messages, edits;
} parsed;

enum envelope_error __wrap_envelope_parse(struct envelope *e, struct bytes text, unsigned max_depth,
					  const uint64_t seed[2])
{
	if (memmem(text.at, text.len, "\"to\":", 5))
		parsed.messages++;
	else
		parsed.edits++;
	return __real_envelope_parse(e, text, max_depth, seed);
}

/* The behaviour of a hook. */
enum what { NO_HOOK, AT_ONCE, LATE, EDIT_AT_ONCE, EDIT_LATE, WHATS };

static void edit(struct wsc_message *m)
{
	m->content = "edited";
	m->priority = "high";
}

static struct fx_answer answer(enum what what, int yes)
{
	bool late = what == LATE || what == EDIT_LATE;

	return (struct fx_answer){ .verdict = late ? WSC_PENDING : yes,
				   .defer = late,
				   .edit = what == EDIT_AT_ONCE ? edit : NULL };
}

static void finish(struct fx *fx, unsigned call, enum what what, int yes)
{
	if (what == EDIT_LATE)
		wsc_finish_message(fx_call(fx, call), yes, &(struct wsc_message){ .content = "edited" }, NULL);
	else
		wsc_finish(fx_call(fx, call), yes, NULL);
	fx_turn(fx, 10);
}

static bool is_late(enum what what)
{
	return what == LATE || what == EDIT_LATE;
}

static bool is_edit(enum what what)
{
	return what == EDIT_AT_ONCE || what == EDIT_LATE;
}

static void one(enum fx_sender by, bool broadcast, enum what received, enum what send)
{
	unsigned edits = (unsigned)is_edit(received) + is_edit(send), call = 0;
	unsigned late_edits = (unsigned)(received == EDIT_LATE) + (send == EDIT_LATE);
	struct fx fx;
	const char *got;

	parsed.messages = parsed.edits = 0;
	fx_init(&fx);
	fx_hooks(&fx, received != NO_HOOK, send != NO_HOOK);
	fx.received = answer(received, WSC_ALLOW);
	fx.send = answer(send, 0);
	fx_connect(&fx, "bob", "");
	(void)fx_submit(&fx, by, broadcast, "ann", BYTES("{\"to\":\"bob\",\"content\":\"hi\",\"x\":{}}"), 0);
	if (is_late(received))
		finish(&fx, call++, received, WSC_ALLOW);
	if (is_late(send))
		finish(&fx, call, send, 0);
	got = fx_gets(&fx, 0);
	if (!CHECK(*got && parsed.messages == 1 + edits && parsed.messages <= 3 && parsed.edits == late_edits))
		printf("\tsender %d, broadcast %d, hooks %d and %d: %u times, and %u edits\n", by, broadcast, received,
		       send, parsed.messages, parsed.edits);
	CHECK(strstr(got, edits ? "\"content\":\"edited\"" : "\"content\":\"hi\"") != NULL);
	CHECK_EQ(strstr(got, "\"priority\":\"high\"") != NULL, send == EDIT_AT_ONCE);
	fx_free(&fx);
}

/*
 * on_message_received cannot write to its message. But wsc_finish_message() edits the message of every pending call, also of
 * this hook.
 */
TEST(a_message_is_parsed_once_and_once_more_after_each_edit_whatever_hooks_do)
{
	for (enum what received = NO_HOOK; received < WHATS; received++)
		for (enum what send = NO_HOOK; send < WHATS; send++) {
			if (received == EDIT_AT_ONCE)
				continue;
			one(FX_FRAMES, false, received, send);
			one(FX_CALLS, false, received, send);
		}
	for (enum what send = NO_HOOK; send < WHATS; send++) {
		one(FX_TRUSTED, false, NO_HOOK, send);
		one(FX_TRUSTED, true, NO_HOOK, send);
		one(FX_CALLS, true, NO_HOOK, send);
	}
}

TEST(what_is_refused_is_parsed_once)
{
	static const char *const text[] = { "{\"to\":\"bob\"}", "{\"to\":", "{\"to\":\"bob\",\"type\":\"ack\"}",
					    "{\"to\":\"bob\",\"content\":\"hi\"}" };

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
		struct fx fx;

		parsed.messages = 0;
		fx_init(&fx);
		fx_hooks(&fx, true, true);
		fx.send.verdict = -1;
		(void)fx_send(&fx, FX_FRAMES, "ann", text[i]);
		CHECK_EQ(parsed.messages, 1);
		CHECK(*fx_said(&fx));
		fx_free(&fx);
	}
}
