/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_log: one event is one line of valid UTF-8 without a byte or character that could steer a terminal, whatever the
 * fields hold; in JSON the line is one object with exactly the keys that were given, and a text that was valid comes
 * back as it was unless the line says that it is truncated. Input: a byte of options, then fields parted by 0xff bytes.
 */
/* Shows: threat 78, threat 79 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#define FIELDS 6u

struct seen {
	struct buf line;
	unsigned lines;
};

static void sink(void *user, enum log_level level, const char *line, size_t len)
{
	struct seen *s = user;

	assert(level == LOG_WARN);
	s->lines++;
	buf_add(&s->line, bytes_of(line, len));
}

/* Nothing below a blank, no DEL, no C1, no line separator, no bidirectional control: RFC 3629 by arithmetic. */
static void check_bytes(struct bytes l)
{
	assert(l.len > 0 && l.len < LOG_LINE_MAX && utf8_valid(l));
	for (size_t i = 0; i < l.len; i++) {
		uint32_t cp = 0;

		assert(l.at[i] >= 0x20 && l.at[i] != 0x7f);
		if ((l.at[i] & 0xe0) == 0xc0)
			cp = (uint32_t)(l.at[i] & 0x1f) << 6 | (l.at[i + 1] & 0x3f);
		else if ((l.at[i] & 0xf0) == 0xe0)
			cp = (uint32_t)(l.at[i] & 0x0f) << 12 | (uint32_t)(l.at[i + 1] & 0x3f) << 6 |
			     (l.at[i + 2] & 0x3f);
		assert(!(cp >= 0x80 && cp < 0xa0) && cp != 0x2028 && cp != 0x2029);
		assert(!(cp >= 0x202a && cp <= 0x202e) && !(cp >= 0x2066 && cp <= 0x2069) && cp != 0x200e &&
		       cp != 0x200f);
	}
}

static bool same_text(const struct json_value *v, struct bytes want)
{
	uint8_t *out = malloc(v->raw.len);
	size_t n = json_unescape(v->raw, out);
	bool same = n == want.len && (n == 0 || memcmp(out, want.at, n) == 0);

	free(out);
	return same;
}

static void check_json(struct bytes l, const char *what, const struct log_field *f, size_t n)
{
	bool truncated = l.len > 18 && memmem(l.at, l.len, ",\"truncated\":true}", 18);
	struct json_member m;
	struct json_walk w;
	size_t i = 0;
	int rc;

	assert(json_object_begin(&w, l) == JSON_OK);
	while ((rc = json_object_next(&w, &m)) > 0) {
		assert(!m.key_escaped);
		if (bytes_eq(m.key, BYTES("time")) || bytes_eq(m.key, BYTES("level")) ||
		    bytes_eq(m.key, BYTES("truncated")))
			continue;
		if (bytes_eq(m.key, BYTES("msg"))) {
			assert(truncated || !utf8_valid(bytes_str(what)) || same_text(&m.value, bytes_str(what)));
			continue;
		}
		assert(i < n && bytes_eq(m.key, bytes_str(f[i].key)));
		if (f[i].kind == LOG_FIELD_STR)
			assert(m.value.type == JSON_STRING &&
			       (truncated || !utf8_valid(f[i].str) || same_text(&m.value, f[i].str)));
		else
			assert(m.value.type == JSON_NUMBER || m.value.type == JSON_TRUE || m.value.type == JSON_FALSE);
		i++;
	}
	assert(rc == 0 && (truncated || i == n));
}

/* A value in a text line is one word or one quoted text: a reader that splits there finds as many as were written. */
static size_t count_text_fields(struct bytes l)
{
	size_t n = 0;
	bool quoted = false;

	for (size_t i = 0; i < l.len; i++) {
		if (quoted && l.at[i] == '\\')
			i++;
		else if (l.at[i] == '"')
			quoted = !quoted;
		else if (!quoted && l.at[i] == '=')
			n++;
	}
	assert(!quoted);
	return n;
}

static void check(enum log_format format, const char *what, const struct log_field *f, size_t n)
{
	struct seen s = { 0 };
	struct log lg = { .fd = -1, .level = LOG_INFO, .format = format, .sink = sink, .user = &s };

	log_write(&lg, LOG_DEBUG, what, f, n);
	assert(s.lines == 0);
	log_write(&lg, LOG_WARN, what, f, n);
	assert(s.lines == 1);
	check_bytes(buf_bytes(&s.line));
	if (format == LOG_JSON)
		check_json(buf_bytes(&s.line), what, f, n);
	else if (!memmem(s.line.at, s.line.len, "\xe2\x80\xa6", 3) && !strpbrk(what, "=\"\\"))
		assert(count_text_fields(buf_bytes(&s.line)) == n);
	buf_deinit(&s.line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[FIELDS] = { "user", "why", "code", "by_client", "address", "n" };
	struct log_field f[FIELDS];
	struct bytes in = bytes_of(data, size);
	uint8_t how;
	size_t n = 0;
	char *what;

	if (!bytes_take_u8(&in, &how))
		return 0;
	while (in.len && n < FIELDS) {
		const uint8_t *end = memchr(in.at, 0xff, in.len);
		struct bytes text = bytes_of(in.at, end ? (size_t)(end - in.at) : in.len);

		/* 0xff separates fields, and a field may also end with this byte. */
		f[n] = how >> n & 1 ? KV_BYTES(keys[n], bytes_of(text.at, text.len + (end && how & 0x80)))
				    : KV_BYTES(keys[n], text);
		if (n == 2 && how & 0x40)
			f[n] = text.len & 1 ? KV_I64(keys[n], -(int64_t)text.len)
					    : KV_U64(keys[n], UINT64_MAX - text.len);
		if (n == 3 && how & 0x40)
			f[n] = KV_BOOL(keys[n], text.len & 1);
		n++;
		bytes_skip(&in, text.len + (end != NULL));
	}
	/* The sentence is usually the program's own, but an error of the system may put any bytes there. */
	what = mem_strndup(data + 1, how & 0x20 ? size - 1 : 0);
	check(LOG_TEXT, how & 0x20 ? what : "session closed", f, n);
	check(LOG_JSON, how & 0x20 ? what : "session closed", f, n);
	mem_free(what);
	return 0;
}
