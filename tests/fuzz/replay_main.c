/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_main: gives a harness every file of the named directories, and the empty input first. A child process does the
 * work and counts in shared memory, so that one input which crashes is named, counted as failed, and the rest still
 * run. It knows nothing of the decoders.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_PER_INPUT 20

struct inputs {
	char **paths; /* paths[0] is "", the empty input */
	size_t count;
};

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void add(struct inputs *in, const char *dir, const char *name)
{
	char *path = NULL;

	in->paths = realloc(in->paths, (in->count + 1) * sizeof(*in->paths));
	if (!in->paths || asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", name) < 0)
		die("replay");
	in->paths[in->count++] = path;
}

static void add_directory(struct inputs *in, const char *dir)
{
	struct dirent **found;
	int n = scandir(dir, &found, NULL, alphasort);

	if (n < 0)
		die(dir);
	for (int i = 0; i < n; i++) {
		if (found[i]->d_name[0] != '.')
			add(in, dir, found[i]->d_name);
		free(found[i]);
	}
	free(found);
}

/* The block is exactly as long as the input, so that a sanitizer sees the first byte read behind it. */
static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long end;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (end = ftell(f)) < 0)
		die(path);
	rewind(f);
	*size = (size_t)end;
	data = malloc(*size);
	if (!data || fread(data, 1, *size, f) != *size)
		die(path);
	fclose(f);
	return data;
}

static void run_one(const char *path)
{
	size_t size = 0;
	uint8_t *data = *path ? read_file(path, &size) : malloc(0); /* never NULL, as with libFuzzer */

	alarm(SECONDS_PER_INPUT);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

static void run_from(const struct inputs *in, volatile size_t *at)
{
	for (; *at < in->count; ++*at)
		run_one(in->paths[*at]);
}

static void inputs_deinit(struct inputs *in)
{
	for (size_t i = 0; i < in->count; i++)
		free(in->paths[i]);
	free(in->paths);
}

int main(int argc, char **argv)
{
	struct inputs in = { 0 };
	size_t failed = 0;
	volatile size_t *at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	add(&in, "", "");
	for (int i = 1; i < argc; i++)
		add_directory(&in, argv[i]);

	do {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			run_from(&in, at);
			inputs_deinit(&in);
			exit(EXIT_SUCCESS); /* a leak is found here, after all inputs, so that it names none of them */
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			die("fork");
		if (status == 0)
			break;
		failed++;
		printf("failed (status 0x%x): %s\n", (unsigned)status,
		       *at < in.count ? (*in.paths[*at] ? in.paths[*at] : "the empty input")
				      : "a leak, found at the end");
	} while (++*at < in.count);

	printf("%zu passed, %zu failed\n", in.count - (failed < in.count ? failed : in.count), failed);
	inputs_deinit(&in);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
