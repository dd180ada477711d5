/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main: runs every story once without a fault and counts its calls to libc, then runs it again and again with a fault
 * at each of these places. judge() checks the state after each run. Each story and kind of fault is one test.
 *
 * usage: faults [--quick] [--only TEXT] [--kind TEXT]
 */
#include "stage.h"

#include <errno.h>
#include <signal.h>

#define HANG_SECONDS 120
#define SHOWN 6
#define QUICK_MEMORY 10u
#define QUICK_EVER 4u

struct tally {
	size_t passed, failed;
	unsigned long points_memory, points_calls;
};

static const struct story *telling;
static const char left_behind[] = "memory is left behind";

/* ---- one telling ------------------------------------------------------------------------------------------------------------ */

static bool was_reported(const struct stage *st)
{
	bool told = st->problems || st->refused;

	for (unsigned i = 0; i < st->npeers; i++)
		told |= st->peer[i].end || st->peer[i].told_no || st->peer[i].code;
	return told;
}

static struct stage stage;

/* Runs the story on a stage, then checks the state. NULL, or the fault. */
static const char *tell_on_stage(const struct story *story, bool clean, struct stage *st)
{
	const char *wrong, *late;
	bool opened = stage_open(st, story, &wrong);

	if (opened)
		story->play(st);
	fault_disarm();
	if (clean && !opened)
		wrong = "the gateway does not open";
	if (!wrong && opened && clean && st->missing)
		wrong = st->missing;
	if (!wrong && opened && !story->ends_itself)
		wrong = stage_stuck(st);
	if (!wrong && opened && st->missing && !was_reported(st))
		wrong = st->missing;
	if (!wrong && opened && !story->ends_itself) {
		if (!wrong && !story->config && !story->hooks.authenticate_user)
			wrong = stage_serves(st);
	}
	if (!opened && st->gw && !wrong && wsc_open(st->gw) == 0) { /* the second try of a host */
		st->open = true;
		stage_settle(st);
	}
	late = stage_close(st);
	return wrong ? wrong : late;
}

static const char *tell(const struct story *story, const struct fault *f, bool clean)
{
	long blocks = live_blocks(), descriptors = live_descriptors();
	unsigned long twice = closed_twice();
	const char *wrong = NULL, *what = NULL;

	telling = story;
	alarm(HANG_SECONDS);
	clock_bend(true);
	fault_arm(f);
	if (story->alone) {
		if (!story->alone(clean, &what))
			wrong = what;
		fault_disarm();
	} else {
		wrong = tell_on_stage(story, clean, &stage);
	}
	if (!wrong && live_blocks() != blocks)
		wrong = left_behind;
	if (!wrong && live_descriptors() != descriptors)
		wrong = "a descriptor is left behind";
	if (!wrong && closed_twice() != twice)
		wrong = "a descriptor is closed that was not open";
	return wrong;
}

/* ---- the places ------------------------------------------------------------------------------------------------------------- */

struct counts {
	unsigned long allocations, calls[CALLS];
};

static bool quick;
static const char *only_kind = "";

static void show(const struct story *story, const char *wrong)
{
	printf("FAIL %s, %s: %s", story->name, fault_text(), wrong);
	if (stage.missing && !story->alone)
		printf(" (missing: %s)", stage.missing);
	putchar('\n');
	fflush(stdout);
}

static double since(void)
{
	static struct timespec last;
	struct timespec now, before = last;

	timespec_get(&now, TIME_UTC);
	last = now;
	return before.tv_sec ? (double)(now.tv_sec - before.tv_sec) + (double)(now.tv_nsec - before.tv_nsec) / 1e9
			     : 0.0;
}

static void done(struct tally *t, const struct story *story, const char *kind, unsigned long points,
		 unsigned long failures)
{
	printf("%s %-52s %-14s %6lu points %6.1f s\n", failures ? "FAIL" : "ok  ", story->name, kind, points, since());
	fflush(stdout);
	if (failures)
		t->failed++;
	else
		t->passed++;
}

static bool point(const struct story *story, const struct fault *f, unsigned long *failures)
{
	const char *wrong = tell(story, f, false);

	/* Memory that OpenSSL allocates for good at its first error is no leak: a leak appears the second time too. */
	if (wrong == left_behind)
		wrong = tell(story, f, false);
	if (wrong && ++*failures <= SHOWN)
		show(story, wrong);
	return fault_hit();
}

static void memory(struct tally *t, const struct story *story, const struct counts *c, bool ever, unsigned seed)
{
	const char *kind = ever ? "memory, ever" : "memory, once";
	unsigned long step = quick && c->allocations > QUICK_MEMORY ? c->allocations / QUICK_MEMORY : 1;
	unsigned long points = 0, failures = 0;

	if (!strstr(kind, only_kind))
		return;
	for (unsigned long k = 1 + seed % step; k <= c->allocations; k += step)
		points += point(story, &(struct fault){ .kind = FAULT_MEMORY, .k = k, .ever = ever }, &failures);
	t->points_memory += points;
	done(t, story, kind, points, failures);
}

/*
 * May the system give this error for ever in a story that must end? Not EINTR, which means "again"; nor may it say for
 * ever that no client has come, that there is nothing to read or no room, or refuse to wait: the product cannot act on
 * these.
 */
static bool may_last(enum call call, int error)
{
	if (error == EINTR || call == CALL_epoll_wait || call == CALL_timerfd_settime)
		return false;
	if (call == CALL_accept4)
		return error != EAGAIN && error != ECONNABORTED;
	return error != EAGAIN ||
	       (call != CALL_recv && call != CALL_send && call != CALL_sendmsg && call != CALL_write);
}

static void calls(struct tally *t, const struct story *story, const struct counts *c, bool ever, unsigned seed)
{
	const char *kind = ever ? "calls, ever" : "calls, once";
	unsigned long points = 0, failures = 0;

	if (!strstr(kind, only_kind))
		return;
	for (int call = 0; call < CALLS; call++)
		for (const int *e = call_errors[call]; *e && c->calls[call]; e++) {
			unsigned long n = ever ? 1 : c->calls[call], step = quick ? n : 1;

			if (ever && !may_last((enum call)call, *e))
				continue;
			for (unsigned long k = 1 + (seed + (unsigned long)(e - call_errors[call])) % step; k <= n;
			     k += step)
				points += point(story, &(struct fault){ FAULT_CALL, (enum call)call, *e, k, ever },
						&failures);
		}
	t->points_calls += points;
	done(t, story, kind, points, failures);
}

static void all_faults(struct tally *t, const struct story *story, unsigned seed)
{
	struct counts c = { 0 };
	const char *wrong =
		tell(story, &(struct fault){ 0 }, true); /* memory that libraries keep for good exists after this one */

	c.allocations = fault_allocations();
	for (int i = 0; i < CALLS; i++)
		c.calls[i] = fault_calls((enum call)i);
	wrong = tell(story, &(struct fault){ 0 }, true);
	if (wrong)
		show(story, wrong);
	done(t, story, "no fault", 0, wrong != NULL);
	if (wrong)
		return;
	memory(t, story, &c, false, seed);
	memory(t, story, &c, true, seed);
	calls(t, story, &c, false, seed);
	if (!quick || seed % QUICK_EVER == 0)
		calls(t, story, &c, true, seed);
}

/* ---- main ------------------------------------------------------------------------------------------------------------------- */

/* A crash or a hang says where, also while a story has sent the output elsewhere. */
static int words_fd;

static void last_words(void)
{
	char text[256];
	int n = snprintf(text, sizeof text, "\nIN %s, %s\n", telling ? telling->name : "?", fault_text());

	(void)!REAL(write)(words_fd, text, (size_t)n);
}

static void on_alarm(int sig)
{
	(void)sig;
	last_words();
	abort();
}

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

static void watch_out(void)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_set_death_callback(last_words);
#else
	struct sigaction crash = { .sa_handler = on_alarm, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGSEGV, &crash, NULL);
	sigaction(SIGABRT, &crash, NULL);
#endif
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	struct tally t = { 0 };
	const char *only = "";
	unsigned seed = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			quick = true;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--kind") == 0 && i + 1 < argc)
			only_kind = argv[++i];
		else
			return fprintf(stderr, "usage: faults [--quick] [--only TEXT] [--kind TEXT]\n"), 2;
	}
	words_fd = dup(1);
	watch_out();
	stage_names();
	alone_begin();
	for (size_t i = 0; i < nstories; i++)
		if (strstr(stories[i].name, only))
			all_faults(&t, &stories[i], seed++);
	for (size_t i = 0; i < nstories_alone; i++)
		if (strstr(stories_alone[i].name, only))
			all_faults(&t, &stories_alone[i], seed++);
	alone_end();
	stage_forget_names();
	printf("%u stories, %lu points of memory, %lu points of system calls\n", seed, t.points_memory, t.points_calls);
	printf("%zu passed, %zu failed\n", t.passed, t.failed);
	return t.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
