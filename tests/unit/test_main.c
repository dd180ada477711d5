/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_main: runs the registered tests in the order of their definition, prints the checks that fail and one line of
 * counts. One thread; a crash is left to the sanitizers and to the caller, which sees the exit status.
 */
#include "test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct test *first, **last = &first;
static const struct test *running;
static size_t failed_checks;

void test_register(struct test *t)
{
	*last = t;
	last = &t->next;
}

static void blame(const char *file, int line)
{
	failed_checks++;
	printf("%s:%d: %s: ", file, line, running ? running->name : "?");
}

bool test_check(bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		blame(file, line);
		printf("%s\n", what);
	}
	return ok;
}

bool test_check_eq(int64_t a, int64_t b, const char *file, int line, const char *what_a, const char *what_b)
{
	if (a != b) {
		blame(file, line);
		printf("%s == %s: %" PRId64 " (0x%" PRIx64 "), not %" PRId64 " (0x%" PRIx64 ")\n", what_a, what_b, a,
		       (uint64_t)a, b, (uint64_t)b);
	}
	return a == b;
}

static void print_bytes(struct bytes b)
{
	putchar('"');
	for (size_t i = 0; i < b.len; i++) {
		if (b.at[i] < 0x20 || b.at[i] > 0x7e || b.at[i] == '"' || b.at[i] == '\\')
			printf("\\x%02x", b.at[i]);
		else
			putchar(b.at[i]);
	}
	putchar('"');
}

bool test_check_bytes(struct bytes got, struct bytes want, const char *file, int line, const char *what)
{
	bool same = bytes_eq(got, want);

	if (!same) {
		blame(file, line);
		printf("%s:\n\tgot  ", what);
		print_bytes(got);
		printf("\n\twant ");
		print_bytes(want);
		putchar('\n');
	}
	return same;
}

int main(int argc, char **argv)
{
	size_t passed = 0, failed = 0;

	for (const struct test *t = first; t; t = t->next) {
		if (argc > 1 && !strstr(t->name, argv[1]))
			continue;
		failed_checks = 0;
		running = t;
		t->run();
		fflush(stdout);
		if (failed_checks)
			failed++;
		else
			passed++;
	}
	printf("%zu passed, %zu failed\n", passed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
