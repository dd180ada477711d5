/* SPDX-License-Identifier: Apache-2.0 */
/* The form of lines, that no field can forge one, and how lines that cannot be written are counted. */
#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define STAMP_LEN 24

static void keep(void *user, enum log_level level, const char *line, size_t len)
{
	struct buf *b = user;

	(void)level;
	buf_clear(b);
	buf_add(b, bytes_of(line, len));
}

/* The line behind its stamp (text), or as a whole (JSON). */
static struct bytes line_of(struct buf *b, enum log_format format)
{
	struct bytes line = buf_bytes(b);

	if (format == LOG_TEXT && line.len > STAMP_LEN)
		bytes_skip(&line, STAMP_LEN + 1);
	return line;
}

static struct log log_into(struct buf *b, enum log_format format)
{
	return (struct log){ .fd = -1, .format = format, .sink = keep, .user = b };
}

TEST(a_text_line_is_stamp_level_sentence_and_fields)
{
	struct buf b = BUF_INIT;
	struct log lg = log_into(&b, LOG_TEXT);

	log_info(&lg, "listening", KV_STR("address", "127.0.0.1"), KV_U64("port", 8080));
	CHECK_BYTES(line_of(&b, LOG_TEXT), "info  listening  address=127.0.0.1 port=8080");
	CHECK_EQ(b.at[4], '-');
	CHECK_EQ(b.at[10], 'T');
	CHECK_EQ(b.at[STAMP_LEN - 1], 'Z');
	log_error(&lg, "two words", KV_I64("n", -5), KV_BOOL("on", true), KV_BOOL("off", false));
	CHECK_BYTES(line_of(&b, LOG_TEXT), "error two words  n=-5 on=true off=false");
	log_write(&lg, LOG_WARN, "alone", NULL, 0);
	CHECK_BYTES(line_of(&b, LOG_TEXT), "warn  alone");
	buf_deinit(&b);
}

TEST(text_values_are_quoted_when_they_could_be_misread)
{
	struct buf b = BUF_INIT;
	struct log lg = log_into(&b, LOG_TEXT);

	log_debug(&lg, "x", KV_STR("a", ""), KV_STR("b", "c d"), KV_STR("e", "f=\"g\""), KV_STR("h", "\\"));
	CHECK_BYTES(line_of(&b, LOG_TEXT), "debug x  a=\"\" b=\"c d\" e=\"f=\\\"g\\\"\" h=\"\\\\\"");
	log_debug(&lg, "x", KV_STR("a", "\n\r\t\x1b[31m\x7f"), KV_BYTES("b", BYTES("\0")));
	CHECK_BYTES(line_of(&b, LOG_TEXT), "debug x  a=\"\\n\\r\\t\\x1b[31m\\x7f\" b=\"\\x00\"");
	log_debug(&lg, "x", KV_STR("a", "\xc3\xa4\xf0\x9f\x98\x80"), KV_STR("b", "\xc3("), KV_STR("c", "\xe2\x82"));
	CHECK_BYTES(line_of(&b, LOG_TEXT), "debug x  a=\xc3\xa4\xf0\x9f\x98\x80 b=\"\\xc3(\" c=\"\\xe2\\x82\"");
	log_debug(&lg, "x", KV_STR("a", "\xe2\x80\xa8\xc2\x9b\xe2\x80\xae"));
	CHECK_BYTES(line_of(&b, LOG_TEXT), "debug x  a=\"\\u2028\\u009b\\u202e\"");
	log_write(&lg, LOG_DEBUG, "a\nb", NULL, 0);
	CHECK_BYTES(line_of(&b, LOG_TEXT), "debug a\\nb");
	buf_deinit(&b);
}

TEST(a_json_line_is_one_object)
{
	struct buf b = BUF_INIT;
	struct log lg = log_into(&b, LOG_JSON);
	struct bytes line;

	log_warn(&lg, "it \"is\"", KV_STR("s", "\n\x01\x7f\xff\\ \xc3\xa4\xe2\x80\xa9"), KV_U64("u", UINT64_MAX),
		 KV_I64("i", INT64_MIN), KV_BOOL("b", true));
	line = line_of(&b, LOG_JSON);
	CHECK(bytes_starts(line, BYTES("{\"time\":\"")));
	bytes_skip(&line, 9 + STAMP_LEN);
	CHECK_BYTES(line,
		    "\",\"level\":\"warn\",\"msg\":\"it \\\"is\\\"\",\"s\":\"\\n\\u0001\\u007f\\ufffd\\\\ \xc3\xa4"
		    "\\u2029\",\"u\":18446744073709551615,\"i\":-9223372036854775808,\"b\":true}");
	CHECK_EQ(json_check(buf_bytes(&b), NULL), JSON_OK);
	buf_deinit(&b);
}

TEST(levels_below_the_chosen_one_make_no_line)
{
	struct buf b = BUF_INIT;
	struct log lg = log_into(&b, LOG_TEXT);

	lg.level = LOG_WARN;
	log_info(&lg, "no", KV_U64("n", 1));
	CHECK_EQ(b.len, 0);
	log_warn(&lg, "yes", KV_U64("n", 1));
	CHECK(b.len > 0);
	buf_deinit(&b);
}

/* Shows: threat 78 */
TEST(every_byte_value_in_a_field_leaves_one_valid_line)
{
	struct buf b = BUF_INIT;

	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		struct log lg = log_into(&b, (enum log_format)format);

		for (int c = 0; c < 65536; c++) {
			uint8_t text[2] = { (uint8_t)(c >> 8), (uint8_t)c };
			bool ok;

			log_info(&lg, "x", KV_BYTES("k", bytes_of(text, 2)));
			ok = CHECK(utf8_valid(buf_bytes(&b)));
			for (size_t i = 0; ok && i < b.len; i++)
				ok = CHECK(b.at[i] >= 0x20 && b.at[i] != 0x7f);
			if (!ok || (format == LOG_JSON && !CHECK_EQ(json_check(buf_bytes(&b), NULL), JSON_OK)))
				break;
		}
	}
	buf_deinit(&b);
}

/* Mostly bytes that need escapes of every length. */
static void random_text(struct rng *r, struct buf *out, size_t n)
{
	static const char *const pieces[] = { "a",    "\"",       "\n",           "\x01",
					      "\xff", "\xc3\xa4", "\xe2\x80\xa8", "\xf0\x9f\x98\x80" };

	buf_clear(out);
	while (out->len < n)
		buf_add_str(out, pieces[rng_below(r, 8)]);
}

/* Shows: threat 79 */
TEST(a_line_too_long_is_cut_between_characters_and_still_well_formed)
{
	struct buf b = BUF_INIT, text = BUF_INIT;
	struct rng r;
	bool cut = false;

	rng_init_seed(&r, 1);
	for (int i = 0; i < 4000; i++) {
		struct log lg = log_into(&b, i % 2 ? LOG_JSON : LOG_TEXT);
		size_t n = rng_below(&r, 3) ? rng_below(&r, 1500) : rng_below(&r, 6000);

		random_text(&r, &text, n);
		log_info(&lg, "x", KV_BYTES("k", buf_bytes(&text)), KV_U64("n", rng_u64(&r)),
			 KV_BYTES("k2", buf_bytes(&text)), KV_BYTES("key_three", buf_bytes(&text)));
		if (!CHECK(b.len < LOG_LINE_MAX) || !CHECK(utf8_valid(buf_bytes(&b))))
			break;
		if (i % 2 && !CHECK_EQ(json_check(buf_bytes(&b), NULL), JSON_OK))
			break;
		cut |= memmem(b.at, b.len, ",\"truncated\":true}", 18) != NULL;
	}
	CHECK(cut);
	buf_deinit(&b);
	buf_deinit(&text);
}

/* Shows: threat 79 */
TEST(every_length_around_the_limit_gives_a_whole_line_or_a_marked_one)
{
	struct buf b = BUF_INIT;
	char text[LOG_LINE_MAX + 100];

	memset(text, 'a', sizeof(text));
	for (size_t n = LOG_LINE_MAX - 150; n < sizeof(text); n++) {
		for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
			struct log lg = log_into(&b, (enum log_format)format);
			bool marked, whole;

			log_info(&lg, "x", KV_BYTES("k", bytes_of(text, n)), KV_U64("last", 123456));
			marked = memmem(b.at, b.len, "\xe2\x80\xa6", 3) || memmem(b.at, b.len, "truncated", 9);
			whole = memmem(b.at, b.len, "123456", 6) != NULL;
			if (!CHECK(b.len < LOG_LINE_MAX) || !CHECK(marked != whole) ||
			    (format == LOG_JSON && !CHECK_EQ(json_check(buf_bytes(&b), NULL), JSON_OK)))
				n = sizeof(text);
		}
	}
	buf_deinit(&b);
}

TEST(a_sentence_too_long_is_cut_too)
{
	struct buf b = BUF_INIT;
	char text[2 * LOG_LINE_MAX];

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		struct log lg = log_into(&b, (enum log_format)format);

		log_info(&lg, text, KV_U64("n", 1));
		CHECK(b.len < LOG_LINE_MAX && b.len > LOG_LINE_MAX - 100);
		CHECK(memmem(b.at, b.len, "a\xe2\x80\xa6", 4) != NULL);
	}
	CHECK_EQ(json_check(buf_bytes(&b), NULL), JSON_OK);
	buf_deinit(&b);
}

static size_t drain(int fd, char *out, size_t max)
{
	size_t len = 0;
	ssize_t n;

	while (len < max && (n = read(fd, out + len, max - len)) > 0)
		len += (size_t)n;
	return len;
}

/* Shows: threat 181 */
TEST(a_log_reader_that_stops_costs_lines_but_no_waiting_and_learns_how_many)
{
	static char text[1 << 18];
	struct log lg = { .fd = -1 };
	uint64_t written = 0;
	size_t len;
	int fds[2];

	/* The writing end blocks, as a standard error may. */
	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	lg.fd = fds[1];
	errno = 4711;
	for (int i = 0; i < 5000; i++)
		log_info(&lg, "a line", KV_I64("i", i));
	CHECK_EQ(errno, 4711);
	CHECK(lg.shared.dropped > 0);
	len = drain(fds[0], text, sizeof(text));
	for (size_t i = 0; i < len; i++)
		written += text[i] == '\n';
	CHECK_EQ(written + lg.shared.dropped, 5000);
	CHECK_EQ(text[len - 1], '\n');

	log_info(&lg, "again", KV_U64("n", 1));
	len = drain(fds[0], text, sizeof(text));
	CHECK(memmem(text, len, "info  again  lines_dropped=", 27) != NULL);
	CHECK_EQ(lg.shared.dropped, 0);
	close(fds[0]);
	/* Nor does a closed pipe raise a signal. */
	log_info(&lg, "nobody", KV_U64("n", 1));
	log_info(&lg, "nobody", KV_U64("n", 1));
	CHECK_EQ(lg.shared.dropped, 2);
	close(fds[1]);
	log_info(&lg, "closed", KV_U64("n", 1));
	CHECK_EQ(lg.shared.dropped, 3);
}

TEST(a_log_to_nowhere_does_nothing)
{
	struct log lg = { .fd = -1 };

	log_error(&lg, "lost", KV_U64("n", 1));
	CHECK_EQ(lg.shared.dropped, 0);
}
