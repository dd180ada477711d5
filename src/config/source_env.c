/* SPDX-License-Identifier: Apache-2.0 */
/* source_env: reads environment variables, the files that they name, and ${NAME} in a text. Changes none of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/source.h"
#include "wsc/error.h"

#define READ_STEP 16384u

static int read_all(int fd, size_t max, struct buf *out)
{
	for (;;) {
		ssize_t n;

		if (!buf_reserve(out, READ_STEP))
			return -ENOMEM;
		n = read(fd, out->at + out->len, READ_STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		out->len += (size_t)n;
		if (out->len > max)
			return -E2BIG;
	}
}

int source_read_file(const char *path, size_t max, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return -errno;
	rc = read_all(fd, max, out);
	close(fd);
	return rc;
}

static void drop_line_break(struct buf *b)
{
	if (b->len && b->at[b->len - 1] == '\n')
		b->len--;
	if (b->len && b->at[b->len - 1] == '\r')
		b->len--;
}

static int read_secret(struct wsc_config *c, const struct place *p, const char *variable, const char *path,
		       struct buf *out)
{
	struct buf content = BUF_INIT;
	int rc = source_read_file(path, SOURCE_SECRET_MAX, &content);

	if (rc == -ENOMEM) {
		rc = -WSC_ENOMEM;
	} else if (rc == -E2BIG) {
		rc = problem_add(c, PROBLEM_FAULT, p, "%s: the file %s is longer than 64KiB", variable, path);
	} else if (rc) {
		rc = problem_add(c, PROBLEM_FAULT, p, "%s: the file %s cannot be read: %s", variable, path,
				 strerrordesc_np(-rc));
	} else {
		drop_line_break(&content);
		buf_add(out, buf_bytes(&content));
	}
	buf_deinit(&content);
	return rc;
}

int source_variable(struct wsc_config *c, const struct place *p, const char *name, struct buf *out)
{
	const char *value = getenv(name);
	struct buf file = BUF_INIT;
	int rc = SOURCE_UNSET;

	if (value) {
		buf_add_str(out, value);
		return out->failed ? -WSC_ENOMEM : 0;
	}
	buf_add_str(&file, name);
	buf_add(&file, bytes_of("_FILE", 6));
	if (file.failed)
		rc = -WSC_ENOMEM;
	else if ((value = getenv((const char *)file.at)))
		rc = read_secret(c, p, (const char *)file.at, value, out);
	buf_deinit(&file);
	return rc ? rc : out->failed ? -WSC_ENOMEM : 0;
}

static bool is_variable_name(struct bytes s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t l = bytes_lower(s.at[i]);

		if (l != '_' && !(l >= 'a' && l <= 'z') && !(i && l >= '0' && l <= '9'))
			return false;
	}
	return s.len && s.len <= 128;
}

static int expand_one(struct wsc_config *c, const struct place *p, struct bytes name, struct buf *out)
{
	char variable[129] = { 0 };
	int rc;

	if (!is_variable_name(name))
		return problem_add(c, PROBLEM_FAULT, p,
				   "there must be the name of a variable between ${ and }; write a plain ${ as $${");
	memcpy(variable, name.at, name.len);
	rc = source_variable(c, p, variable, out);
	if (rc != SOURCE_UNSET)
		return rc;
	return problem_add(c, PROBLEM_FAULT, p, "${%s} is not set in the environment", variable);
}

int source_expand(struct wsc_config *c, const struct place *p, struct bytes text, struct buf *out)
{
	const uint8_t *dollar;
	int rc = 0;

	while (!rc && text.len && (dollar = memmem(text.at, text.len, "${", 2))) {
		bool plain = dollar > text.at && dollar[-1] == '$';
		struct bytes name;
		const uint8_t *end;

		buf_add(out, bytes_of(text.at, (size_t)(dollar - text.at) - plain));
		bytes_skip(&text, (size_t)(dollar - text.at) + 2);
		if (plain) {
			buf_add_str(out, "${");
			continue;
		}
		end = text.len ? memchr(text.at, '}', text.len) : NULL;
		name = bytes_of(text.at, end ? (size_t)(end - text.at) : 0);
		rc = expand_one(c, p, name, out);
		bytes_skip(&text, name.len + (end != NULL));
	}
	buf_add(out, text);
	return rc ? rc : out->failed ? -WSC_ENOMEM : 0;
}
