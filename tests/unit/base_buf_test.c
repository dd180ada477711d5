/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes owned and borrowed: buf, bytes, list and mem. */
#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "test.h"

TEST(bytes_added_to_a_buf_are_there_in_order)
{
	struct buf b = BUF_INIT;

	buf_add(&b, BYTES("a\0b"));
	buf_add_u8(&b, '-');
	buf_add_str(&b, "text");
	buf_add_str(&b, NULL);
	buf_add_u64(&b, 0);
	buf_add_u64(&b, UINT64_MAX);
	buf_addf(&b, "[%d %s]", -7, "x");
	CHECK_BYTES(buf_bytes(&b), "a\0b-text018446744073709551615[-7 x]");
	CHECK(!b.failed);
	buf_deinit(&b);
	CHECK(b.at == NULL && b.len == 0 && b.cap == 0);
}

/* Shows: threat 6 */
TEST(growing_keeps_the_content)
{
	struct buf b = BUF_INIT;

	for (uint32_t i = 0; i < 10000; i++)
		buf_addf(&b, "%04u", i);
	CHECK_EQ(b.len, 40000);
	CHECK_BYTES(bytes_of(b.at + 4 * 5678, 8), "56785679");
	buf_deinit(&b);
}

TEST(consume_drops_from_the_front_and_clear_drops_all)
{
	struct buf b = BUF_INIT;
	size_t cap;

	buf_consume(&b, 0);
	buf_add_str(&b, "hello world");
	cap = b.cap;
	buf_consume(&b, 6);
	CHECK_BYTES(buf_bytes(&b), "world");
	buf_consume(&b, 5);
	CHECK_EQ(b.len, 0);
	buf_add_str(&b, "x");
	buf_clear(&b);
	CHECK_EQ(b.len, 0);
	CHECK_EQ(b.cap, cap);
	buf_deinit(&b);
}

/* Shows: threat 64, threat 76 */
TEST(beyond_the_ceiling_a_buf_fails_and_stays_failed_until_cleared)
{
	struct buf b = BUF_INIT;

	buf_add_str(&b, "kept");
	CHECK(!buf_reserve(&b, BUF_MAX));
	CHECK(b.failed);
	CHECK(!buf_reserve(&b, SIZE_MAX));
	CHECK(!buf_reserve(&b, 1));
	buf_add_u8(&b, '!');
	buf_addf(&b, "%d", 1);
	CHECK_BYTES(buf_bytes(&b), "kept");
	buf_clear(&b);
	buf_add_u8(&b, '!');
	CHECK_BYTES(buf_bytes(&b), "!");
	CHECK(!b.failed);
	buf_deinit(&b);
}

/* Shows: threat 19, threat 57 */
TEST(next_element_is_trimmed_and_empty_ones_are_skipped)
{
	struct bytes list = BYTES(" a ,, \t,b c\t,"), item;

	CHECK(bytes_next(&list, ',', &item));
	CHECK_BYTES(item, "a");
	CHECK(bytes_next(&list, ',', &item));
	CHECK_BYTES(item, "b c");
	CHECK(!bytes_next(&list, ',', &item));
}

TEST(bytes_compare_like_words_in_a_dictionary)
{
	CHECK(bytes_cmp(BYTES("ab"), BYTES("abc")) < 0);
	CHECK(bytes_cmp(BYTES("\xff"), BYTES("a")) > 0);
	CHECK_EQ(bytes_cmp(BYTES(""), bytes_str(NULL)), 0);
	CHECK(bytes_eq_nocase(BYTES("UpGrade"), BYTES("upgrade")));
	CHECK(!bytes_eq_nocase(BYTES("["), BYTES("{")));
	CHECK(bytes_starts(BYTES("/ws"), BYTES("/")));
	CHECK(!bytes_starts(BYTES(""), BYTES("/")));
}

TEST(a_list_gives_back_in_order_and_moves_as_a_whole)
{
	struct list from, to, n[4];

	list_init(&from);
	list_init(&to);
	for (int i = 0; i < 4; i++)
		list_push(i < 2 ? &to : &from, &n[i]);
	list_splice(&to, &from);
	list_splice(&to, &from);
	CHECK(list_empty(&from));
	list_remove(&n[1]);
	list_remove(&n[1]);
	CHECK(list_pop(&to) == &n[0]);
	CHECK(list_pop(&to) == &n[2]);
	CHECK(list_pop(&to) == &n[3]);
	CHECK(list_pop(&to) == NULL);
}

/* Shows: threat 64 */
TEST(mem_refuses_sizes_that_overflow_and_copies_end_in_nul)
{
	char *copy = mem_strndup("abc\0d", 5), *none = mem_strndup(NULL, 0);
	void *p = mem_aligned(4096, 8192);
	volatile size_t huge = SIZE_MAX / 2;

	CHECK_BYTES(bytes_of(copy, 6), "abc\0d\0");
	CHECK_BYTES(bytes_of(none, 1), "\0");
	CHECK_EQ((uintptr_t)p % 4096, 0);
	CHECK(mem_calloc(huge, 3) == NULL);
	CHECK(mem_strndup("", SIZE_MAX) == NULL);
	mem_free(copy);
	mem_free(none);
	mem_free(p);
}

TEST(realloc_to_nothing_is_no_failure)
{
	void *p = mem_realloc(mem_alloc(10), 0);

	CHECK(p != NULL);
	mem_free(p);
}

#ifdef WSC_FAULTS
/* Shows: threat 10 */
TEST(a_buf_that_cannot_grow_keeps_its_content)
{
	struct buf b = BUF_INIT;

	buf_add_str(&b, "kept");
	mem_fail_at(1, false);
	buf_addf(&b, "%100d", 1);
	CHECK(b.failed);
	CHECK_BYTES(buf_bytes(&b), "kept");
	buf_add_u8(&b, '!');
	CHECK_EQ(b.len, 4);
	buf_deinit(&b);
}

TEST(the_named_allocation_fails_once_or_for_ever)
{
	void *p[3];

	mem_fail_at(2, false);
	for (int i = 0; i < 3; i++)
		p[i] = mem_alloc(1);
	CHECK(p[0] && !p[1] && p[2]);
	for (int i = 0; i < 3; i++)
		mem_free(p[i]);
	mem_fail_at(1, true);
	CHECK(!mem_zalloc(1) && !mem_calloc(1, 1) && !mem_aligned(64, 64) && !mem_strndup("", 0) &&
	      !mem_realloc(NULL, 1));
	mem_fail_at(0, false);
}
#endif
