/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base_machine: the real figures of this process, and control groups as they are found on machines and in containers,
 * built below a directory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/mem.h"
#include "test.h"

#define MB (1024u * 1024u)
#ifdef __SANITIZE_THREAD__
#define SHADOW 4u /* the bytes that ThreadSanitizer keeps for each touched byte */
#else
#define SHADOW 0u
#endif

static char *new_root(void)
{
	static char root[32];

	memcpy(root, "/tmp/wsc-machine-XXXXXX", 24);
	return mkdtemp(root);
}

/* Writes @text to a file below @root, whose directories are made. */
static void put(const char *root, const char *path, const char *text)
{
	char name[256];
	FILE *f;

	snprintf(name, sizeof name, "%s%s", root, path);
	for (char *p = strchr(name + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		(void)mkdir(name, 0700);
		*p = '/';
	}
	f = fopen(name, "we");
	if (CHECK(f != NULL)) {
		fputs(text, f);
		fclose(f);
	}
}

static void remove_root(const char *root)
{
	char command[64];

	snprintf(command, sizeof command, "rm -r %s", root);
	CHECK_EQ(system(command), 0); // NOLINT(cert-env33-c): a test cleans up
}

TEST(allocated_and_touched_memory_shows_in_the_memory_held)
{
	int fd = machine_memory_open();
	uint64_t before = machine_memory_held(fd), after;
	uint8_t *big = mem_alloc(64 * MB);

	CHECK(before > 0);
	memset(big, 1, 64 * MB);
	after = machine_memory_held(fd);
	CHECK(after - before >= 60 * MB && after - before < (1 + SHADOW) * 80 * MB);
	mem_free(big);
	close(fd);
	CHECK_EQ(machine_memory_held(-1), 0);
}

TEST(without_a_control_group_the_machine_is_the_limit)
{
	char *root = new_root();
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	CHECK_EQ(machine_memory_allowed(root), machine);
	put(root, "/proc/self/cgroup", "0::/\n");
	CHECK_EQ(machine_memory_allowed(root), machine);
	put(root, "/sys/fs/cgroup/memory.max", "max\n");
	CHECK_EQ(machine_memory_allowed(root), machine);
	CHECK(machine_memory_allowed("") > 0 && machine_memory_allowed("") <= machine);
	remove_root(root);
}

TEST(of_nested_groups_the_least_limit_counts)
{
	char *root = new_root();

	put(root, "/proc/self/cgroup", "0::/system.slice/wsc.service\n");
	put(root, "/sys/fs/cgroup/system.slice/memory.max", "67108864\n");
	put(root, "/sys/fs/cgroup/system.slice/wsc.service/memory.max", "max\n");
	CHECK_EQ(machine_memory_allowed(root), 64 * MB);
	put(root, "/sys/fs/cgroup/system.slice/wsc.service/memory.max", "33554432\n");
	CHECK_EQ(machine_memory_allowed(root), 32 * MB);
	put(root, "/sys/fs/cgroup/memory.max", "1048576\n");
	CHECK_EQ(machine_memory_allowed(root), MB);
	remove_root(root);
}

TEST(version_1_is_read_too_and_an_invisible_group_is_skipped)
{
	char *root = new_root();

	put(root, "/proc/self/cgroup", "12:pids:/x\n7:cpu,memory:/docker/abc\n0::/docker/abc\n");
	put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "50331648\n"); /* as a container sees its own */
	put(root, "/sys/fs/cgroup/pids/memory.limit_in_bytes", "1\n");
	CHECK_EQ(machine_memory_allowed(root), 48 * MB);
	put(root, "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "16777216\n");
	CHECK_EQ(machine_memory_allowed(root), 16 * MB);
	put(root, "/proc/self/cgroup", "nonsense\n\n:\n::\n7:memory\n");
	CHECK(machine_memory_allowed(root) > 48 * MB);
	remove_root(root);
}
