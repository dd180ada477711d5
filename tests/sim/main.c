/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: tells the told stories, then one random story per seed; each told story and each seed counts as one test.
 *
 *   sim [--seeds N] [--first S] [--story] [--told NAME]
 *
 * Without arguments: all told stories and 10,000 seeds from 1 (500 under sanitizers and valgrind: TEST_SLOW=1). --story
 * prints what happens; a story that fails is told again and printed in any case. A hub that asserts names the seed too.
 */
#include "sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
	uint64_t seeds, first;
	bool story;
	const char *told; /* part of a name */
};

struct counts {
	uint64_t passed, failed;
};

/* For the handler alone: what was under way when an assertion of the hub failed. */
static char under_way[96];

static void on_abort(int sig)
{
	ssize_t n = write(STDOUT_FILENO, under_way, strlen(under_way));

	(void)n;
	signal(sig, SIG_DFL);
	raise(sig);
}

static void count(struct counts *k, const struct sim *w, bool story)
{
	if (w->failed)
		k->failed++;
	else
		k->passed++;
	if (story || w->failed)
		printf("%.*s", (int)w->story.len, (const char *)w->story.at);
}

static void tell_all(const struct args *a, struct counts *k)
{
	for (unsigned i = 0; i < stories_count(); i++) {
		struct sim *w;

		if (a->told && !strstr(stories_name(i), a->told))
			continue;
		snprintf(under_way, sizeof(under_way), "aborted in the story %s\n", stories_name(i));
		w = stories_run(i);
		if (w->failed || a->story)
			printf("story: %s: %s\n", stories_name(i), w->failed ? w->why : "told");
		count(k, w, a->story);
		sim_free(w);
	}
}

static void run_seed(uint64_t seed, const struct args *a, struct counts *k)
{
	struct sim *w;

	snprintf(under_way, sizeof(under_way), "aborted: sim --seeds 1 --first %" PRIu64 " --story\n", seed);
	w = random_run(seed, a->story);
	if (w->failed && !a->story) {
		sim_free(w);
		w = random_run(seed, true);
	}
	if (w->failed)
		printf("seed %" PRIu64 ": %s\n", seed, w->why);
	count(k, w, a->story);
	sim_free(w);
}

static bool parse(int argc, char **argv, struct args *a)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--story") == 0) {
			a->story = true;
			continue;
		}
		if (!value)
			return false;
		if (strcmp(argv[i], "--seeds") == 0)
			a->seeds = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--first") == 0)
			a->first = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--told") == 0)
			a->told = value;
		else
			return false;
		i++;
	}
	return true;
}

int main(int argc, char **argv)
{
	const char *slow = getenv("TEST_SLOW");
	struct args a = { .seeds = slow && *slow == '1' ? 500 : 10000, .first = 1 };
	struct counts k = { 0 };

	if (!parse(argc, argv, &a)) {
		fprintf(stderr, "usage: sim [--seeds N] [--first S] [--story] [--told NAME]\n");
		return 2;
	}
	signal(SIGABRT, on_abort);
	if (a.first == 1 || a.told)
		tell_all(&a, &k);
	/* After ten failures more of them say nothing new. */
	for (uint64_t i = 0; i < a.seeds && !a.told && k.failed < 10; i++)
		run_seed(a.first + i, &a, &k);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", k.passed, k.failed);
	return k.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
