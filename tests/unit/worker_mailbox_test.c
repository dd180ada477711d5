/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_mailbox: order per pair, nothing lost, and a sleeper that is always woken, under contention of real threads.
 * Run under the thread sanitizer, this is where data races between workers would show.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "test.h"
#include "worker/mailbox.h"
#include "wsc/error.h"

#define PRODUCERS 3u
#define EACH 20000u

/* A number on its way; which producer, which one. */
struct parcel {
	struct task task;
	unsigned from;
	uint32_t n;
};

/* The consumer: a shard of which only the fields exist that tasks touch. */
struct consumer {
	struct shard sh;
	struct mailbox *mail;
	sem_t wake;
	uint32_t next[PRODUCERS + 1]; /* the next number of each */
	uint64_t taken;
	bool disorder;
};

static void open_parcel(struct shard *sh, struct task *t)
{
	struct consumer *c = container_of(sh, struct consumer, sh);
	struct parcel *p = container_of(t, struct parcel, task);

	c->disorder |= p->n != c->next[p->from]++;
	c->taken++;
	free(p);
}

static struct task *parcel(unsigned from, uint32_t n)
{
	struct parcel *p = malloc(sizeof *p);

	*p = (struct parcel){ .task.run = open_parcel, .from = from, .n = n };
	return &p->task;
}

struct producer {
	struct consumer *to;
	unsigned self;
	uint32_t wakes;
};

/* A worker: batches of different sizes, some of several chunks. */
static void *produce(void *arg)
{
	struct producer *p = arg;

	for (uint32_t n = 0; n < EACH;) {
		struct batch *open = NULL;
		uint32_t size = n % 7 == 0 ? 400 : n % 5 + 1;

		for (uint32_t i = 0; i < size && n < EACH; i++)
			if (mailbox_add_task(&open, parcel(p->self, n++)) < 0)
				abort();
		if (mailbox_post(p->to->mail, p->self, open)) {
			p->wakes++;
			sem_post(&p->to->wake);
		}
	}
	return NULL;
}

/* A thread of the program. */
static void *produce_foreign(void *arg)
{
	struct producer *p = arg;

	for (uint32_t n = 0; n < EACH;) {
		struct task *t = parcel(p->self, n);
		bool wake;

		if (mailbox_post_task(p->to->mail, t, false, &wake) == 0)
			n++;
		else
			free(container_of(t, struct parcel, task));
		if (wake) {
			p->wakes++;
			sem_post(&p->to->wake);
		}
	}
	return NULL;
}

/* The worker's turn: sleeps only when the mailbox agrees, for ever if no producer wakes it. */
static void consume(struct consumer *c, uint64_t total)
{
	while (c->taken < total) {
		if (mailbox_sleep(c->mail, PRODUCERS))
			sem_wait(&c->wake);
		mailbox_awake(c->mail);
		mailbox_drain(c->mail, PRODUCERS, &c->sh, true);
	}
}

static struct consumer *consumer_new(void)
{
	struct consumer *c = calloc(1, sizeof *c);

	c->mail = mem_aligned(64, sizeof *c->mail);
	memset(c->mail, 0, sizeof *c->mail);
	sem_init(&c->wake, 0, 0);
	return c;
}

static void consumer_free(struct consumer *c)
{
	CHECK(mailbox_empty(c->mail, PRODUCERS));
	for (unsigned i = 0; i < PRODUCERS; i++)
		CHECK_EQ(mailbox_waiting(c->mail, i), 0);
	CHECK_EQ(atomic_load(&c->mail->shared.ntasks), 0);
	sem_destroy(&c->wake);
	mem_free(c->mail);
	free(c);
}

TEST(order_holds_per_sender_and_a_sleeping_worker_is_always_woken)
{
	struct consumer *c = consumer_new();
	struct producer p[PRODUCERS + 1];
	pthread_t t[PRODUCERS + 1];
	uint64_t wakes = 0;

	for (unsigned i = 0; i <= PRODUCERS; i++) {
		p[i] = (struct producer){ c, i, 0 };
		pthread_create(&t[i], NULL, i < PRODUCERS ? produce : produce_foreign, &p[i]);
	}
	consume(c, (PRODUCERS + 1) * (uint64_t)EACH); /* a wake-up that is lost is a test that hangs */
	for (unsigned i = 0; i <= PRODUCERS; i++) {
		pthread_join(t[i], NULL);
		wakes += p[i].wakes;
		CHECK_EQ(c->next[i], EACH);
	}
	CHECK(!c->disorder);
	printf("%llu wake-ups for %llu parcels\n", (unsigned long long)wakes, (unsigned long long)c->taken);
	consumer_free(c);
}

TEST(a_sleeping_worker_is_woken_by_every_single_message)
{
	struct consumer *c = consumer_new();
	struct batch *open;

	for (uint32_t n = 0; n < 100; n++) {
		CHECK(mailbox_sleep(c->mail, PRODUCERS));
		open = NULL;
		mailbox_add_task(&open, parcel(0, 2 * n));
		CHECK(mailbox_post(c->mail, 0, open));
		open = NULL;
		mailbox_add_task(&open, parcel(0, 2 * n + 1));
		CHECK(!mailbox_post(c->mail, 0, open)); /* once is enough */
		CHECK(!mailbox_sleep(c->mail, PRODUCERS));
		CHECK_EQ(mailbox_drain(c->mail, PRODUCERS, &c->sh, true), 2);
	}
	CHECK(!c->disorder);
	consumer_free(c);
}

/* ---- two that wait for each other ---------------------------------------------------------------------------------- */

#define ROUNDS 20000u

struct player {
	struct consumer *mine, *other;
	unsigned self;
};

static void *play(void *arg)
{
	struct player *p = arg;

	for (uint32_t n = 0; n < ROUNDS; n++) {
		struct batch *open = NULL;

		if (p->self || n) /* the first serve is the other's */
			consume(p->mine, n + p->self);
		mailbox_add_task(&open, parcel(p->self, n));
		if (mailbox_post(p->other->mail, p->self, open))
			sem_post(&p->other->wake);
	}
	return NULL;
}

TEST(two_workers_that_wait_for_each_other_never_both_sleep)
{
	struct consumer *a = consumer_new(), *b = consumer_new();
	struct player p = { a, b, 0 }, q = { b, a, 1 };
	pthread_t t;

	pthread_create(&t, NULL, play, &q);
	play(&p);
	pthread_join(t, NULL);
	consume(a, ROUNDS);
	CHECK(!a->disorder && !b->disorder);
	CHECK_EQ(b->taken, ROUNDS);
	consumer_free(a);
	consumer_free(b);
}

TEST(a_worker_that_does_not_sleep_is_not_woken)
{
	struct consumer *c = consumer_new();
	struct batch *open = NULL;
	bool wake;

	mailbox_add_task(&open, parcel(0, 0));
	CHECK(!mailbox_post(c->mail, 0, open));
	CHECK_EQ(mailbox_post_task(c->mail, parcel(PRODUCERS, 0), false, &wake), 0);
	CHECK(!wake);
	CHECK(!mailbox_sleep(c->mail, PRODUCERS));
	CHECK_EQ(mailbox_drain(c->mail, PRODUCERS, &c->sh, true), 2);
	CHECK(mailbox_sleep(c->mail, PRODUCERS));
	mailbox_awake(c->mail);
	consumer_free(c);
}

TEST(foreign_threads_get_eagain_but_answers_have_room)
{
	struct consumer *c = consumer_new();
	struct task *t;
	bool wake;

	for (uint32_t n = 0; n < MAILBOX_FOREIGN_MAX; n++)
		CHECK_EQ(mailbox_post_task(c->mail, parcel(0, n), false, &wake), 0);
	t = parcel(0, MAILBOX_FOREIGN_MAX);
	CHECK_EQ(mailbox_post_task(c->mail, t, false, &wake), -WSC_EAGAIN);
	CHECK_EQ(mailbox_post_task(c->mail, t, true, &wake), 0);
	CHECK_EQ(mailbox_drain(c->mail, PRODUCERS, &c->sh, false), 0); /* left where they are */
	CHECK_EQ(mailbox_drain(c->mail, PRODUCERS, &c->sh, true), MAILBOX_FOREIGN_MAX + 1);
	CHECK(!c->disorder);
	CHECK_EQ(mailbox_post_task(c->mail, parcel(0, MAILBOX_FOREIGN_MAX + 1), false, &wake), 0);
	mailbox_drain(c->mail, PRODUCERS, &c->sh, true);
	consumer_free(c);
}

TEST(foreign_threads_get_eagain_before_their_tasks_fill_the_memory)
{
	struct consumer *c = consumer_new();
	struct task *t;
	uint32_t n = 0;
	bool wake;
	int r = 0;

	while (r == 0) {
		t = parcel(0, n);
		t->weight = 10u << 20;
		r = mailbox_post_task(c->mail, t, false, &wake);
		n += r == 0;
	}
	CHECK_EQ(r, -WSC_EAGAIN);
	CHECK_EQ(n, 7);
	CHECK_EQ(mailbox_post_task(c->mail, t, true, &wake), 0);
	CHECK_EQ(mailbox_drain(c->mail, PRODUCERS, &c->sh, true), 8);
	CHECK_EQ(atomic_load(&c->mail->shared.task_bytes), 0);
	t = parcel(0, 8);
	t->weight = 1u << 30;
	CHECK_EQ(mailbox_post_task(c->mail, t, false, &wake), 0); /* an empty one takes any */
	mailbox_drain(c->mail, PRODUCERS, &c->sh, true);
	CHECK(!c->disorder);
	consumer_free(c);
}

TEST(waiting_mail_is_counted_in_bytes_until_it_is_taken)
{
	struct consumer *c = consumer_new();
	struct batch *open = NULL;

	for (uint32_t n = 0; n < 1000; n++)
		mailbox_add_task(&open, parcel(1, n));
	CHECK(open->next != NULL); /* more than one chunk */
	CHECK(!mailbox_post(c->mail, 1, open));
	CHECK(mailbox_waiting(c->mail, 1) >= 1000 * 16);
	CHECK_EQ(mailbox_waiting(c->mail, 0), 0);
	mailbox_drain(c->mail, PRODUCERS, &c->sh, true);
	CHECK(!c->disorder);
	CHECK_EQ(c->taken, 1000);
	consumer_free(c);
}
