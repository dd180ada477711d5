/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test: the whole of the unit test framework. A test is TEST(a_sentence_about_what_holds) { ... }; it registers itself
 * before main() and main (test_main.c) runs all of them, or those whose name contains the first argument. A check that
 * fails prints its file and line, fails its test and lets it go on. It knows nothing of the product.
 *
 * Each file of tests is a program of its own: link it with test_main.c and the module under test.
 */
#ifndef WSC_TESTS_UNIT_TEST_H
#define WSC_TESTS_UNIT_TEST_H

#include "base/bytes.h"

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

void test_register(struct test *t);
/* The value of @ok; when it is false, says so for the running test. */
bool test_check(bool ok, const char *file, int line, const char *what);
bool test_check_eq(int64_t a, int64_t b, const char *file, int line, const char *what_a, const char *what_b);
bool test_check_bytes(struct bytes got, struct bytes want, const char *file, int line, const char *what);

#define TEST(sentence)                                                          \
	static void test_##sentence(void);                                      \
	__attribute__((constructor)) static void test_register_##sentence(void) \
	{                                                                       \
		static struct test self = { #sentence, test_##sentence, NULL }; \
		test_register(&self);                                           \
	}                                                                       \
	static void test_##sentence(void)

/* All three are expressions that are true when the check holds: if (!CHECK(p != NULL)) return; */
#define CHECK(expr) test_check(!!(expr), __FILE__, __LINE__, #expr)
/* Integers of any type; they are compared (and printed) as 64 bits. */
#define CHECK_EQ(a, b) test_check_eq((int64_t)(a), (int64_t)(b), __FILE__, __LINE__, #a, #b)
/* @bytes is a struct bytes, @literal a string literal (it may hold NULs). */
#define CHECK_BYTES(bytes, literal) test_check_bytes((bytes), BYTES(literal), __FILE__, __LINE__, #bytes)

#endif
