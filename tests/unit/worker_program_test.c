/* SPDX-License-Identifier: Apache-2.0 */
/* worker_program: messages of the program that wait for its hooks, so many that each must find its place at once. */
#include "worker_fixture.h"

#include "wsc/error.h"

#define MANY 60000u
#define SENDERS 3u

struct diary {
	struct wsc_pending *kept[SENDERS];
	unsigned asked;
	unsigned next[SENDERS], told; /* the next message of each sender; all outcomes */
};

struct note {
	struct diary *d;
	unsigned sender, number;
};

/* The first of each sender is answered by the test, the others at once, but later. */
static int on_send(void *user, struct wsc_call *call, struct wsc_message *m)
{
	struct diary *d = user;
	struct wsc_pending *p = wsc_defer(call);

	(void)m;
	if (d->asked < SENDERS)
		d->kept[d->asked] = p;
	else
		wsc_finish(p, 0, NULL);
	d->asked++;
	return WSC_PENDING;
}

static void done(void *user, const struct wsc_outcome *o)
{
	struct note *n = user;

	CHECK_EQ(o->error, -WSC_EOFFLINE);
	CHECK_EQ(n->number, n->d->next[n->sender]);
	n->d->next[n->sender]++;
	n->d->told++;
}

TEST(many_waiting_messages_keep_the_order_of_each_sender)
{
	static const char json[] = "{\"to\":\"nobody\",\"content\":\"x\"}";
	static struct note note[MANY];
	struct diary d = { 0 };
	struct rig r;

	rig_init(&r, 1);
	r.set.hooks = (struct wsc_hooks){ .user = &d, .on_message_send = on_send };
	rig_start(&r);
	for (unsigned i = 0; i < MANY; i++) {
		char from[8];
		uint8_t *text = mem_alloc(sizeof json - 1);
		struct task *t;

		memcpy(text, json, sizeof json - 1);
		snprintf(from, sizeof from, "s%u", i % SENDERS);
		note[i] = (struct note){ &d, i % SENDERS, i / SENDERS };
		t = program_submission(text, sizeof json - 1, bytes_str(from), false, done, &note[i]);
		CHECK_EQ(rig_post(&r.set, 0, t, false), 0);
	}
	rig_turn(&r, 3);
	CHECK_EQ(d.asked, SENDERS);
	CHECK_EQ(d.told, 0);
	for (unsigned i = 0; i < SENDERS; i++)
		wsc_finish(d.kept[i], 0, NULL);
	for (unsigned i = 0; i < 4 * MANY && d.told < MANY; i++)
		rig_turn(&r, 1);
	CHECK_EQ(d.told, MANY);
	rig_end(&r);
}
