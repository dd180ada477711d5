/* SPDX-License-Identifier: Apache-2.0 */
/* machine: see machine.h. The limit of a control group holds for all groups below it, so every ancestor is read. */
#include "base/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

int machine_memory_open(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* "size resident shared ...", in pages. */
uint64_t machine_memory_held(int fd)
{
	char text[128], *second;
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Reads a small system file, cut to @size bytes with the NUL. False when it is missing or empty. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = fd < 0 ? 0 : 1;

	while (n > 0 && len < size - 1) {
		n = read(fd, text + len, size - 1 - len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	text[len] = 0;
	if (fd >= 0)
		close(fd);
	return len > 0;
}

/* False for "max", which means no limit. */
static bool read_number(const char *path, uint64_t *out)
{
	char text[64];
	bool ok = read_text(path, text, sizeof text) && text[0] >= '0' && text[0] <= '9';

	if (ok)
		*out = strtoull(text, NULL, 10);
	return ok;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * The lowest limit of @group ("/a/b") and its ancestors. A file that cannot be read is skipped: an ancestor's may be.
 */
static uint64_t group_limit(const char *root, const char *tree, const char *group, const char *file)
{
	uint64_t limit = UINT64_MAX, n;
	size_t len = strlen(group);
	char path[PATH_BYTES];

	while (true) {
		int r = snprintf(path, sizeof path, "%s/sys/fs/cgroup%s%.*s/%s", root, tree, (int)len, group, file);

		if (r > 0 && (size_t)r < sizeof path && read_number(path, &n))
			limit = least(limit, n);
		if (len == 0)
			return limit;
		while (len && group[--len] != '/')
			;
	}
}

/* A line of /proc/self/cgroup: "0::/path" is version 2, "7:cpu,memory:/path" one tree of version 1. */
static uint64_t limit_of_line(const char *root, char *line)
{
	char *controllers = strchr(line, ':'), *group;
	size_t n;

	if (!controllers || !(group = strchr(++controllers, ':')))
		return UINT64_MAX;
	*group++ = 0;
	if (!*controllers)
		return group_limit(root, "", group, "memory.max");
	for (; *controllers; controllers += n + (controllers[n] == ',')) {
		n = strcspn(controllers, ",");
		if (n == 6 && memcmp(controllers, "memory", 6) == 0)
			return group_limit(root, "/memory", group, "memory.limit_in_bytes");
	}
	return UINT64_MAX;
}

static uint64_t groups_limit(const char *root)
{
	char path[PATH_BYTES], text[PATH_BYTES], *line = text, *end;
	uint64_t limit = UINT64_MAX;

	snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
	for (bool more = read_text(path, text, sizeof text); more; line = end + 1) {
		end = line + strcspn(line, "\n");
		more = *end && end[1];
		*end = 0;
		limit = least(limit, limit_of_line(root, line));
	}
	return limit;
}

uint64_t machine_memory_allowed(const char *root)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
	uint64_t limit = least(machine, groups_limit(root));

	return limit == UINT64_MAX ? 0 : limit;
}
