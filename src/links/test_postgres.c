/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_postgres.c: what the PostgreSQL store does without a database: arrays on the wire, notifications, messages,
 * errors. The store itself is tested against a real one (tests/integration/test_postgres*.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "links/postgres_array.h"
#include "links/postgres_change.h"
#include "links/postgres_db.h"
#include "links/test_alloc.h"

static void empty_array(void **state)
{
	static const unsigned char expected[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25 };
	struct pg_array array = { 0 };

	pg_array_begin(&array, PG_TEXT);
	assert_true(pg_array_end(&array));
	assert_int_equal(array.used, sizeof expected);
	assert_memory_equal(array.bytes, expected, sizeof expected);
	pg_array_free(&array);
}

static void array_of_text(void **state)
{
	static const unsigned char expected[] = { 0, 0, 0, 1, 0, 0, 0,   0,   0, 0, 0, 25, 0, 0, 0, 3, 0,  0,
		                                  0, 1, 0, 0, 0, 2, 'a', '"', 0, 0, 0, 0,  0, 0, 0, 1, '{' };
	struct pg_array array = { 0 };

	pg_array_begin(&array, PG_TEXT);
	pg_array_add(&array, "a\"", 2); /* nothing is quoted */
	pg_array_add(&array, "", 0);
	pg_array_add(&array, "{", 1);
	assert_true(pg_array_end(&array));
	assert_int_equal(array.n, 3);
	assert_int_equal(array.used, sizeof expected);
	assert_memory_equal(array.bytes, expected, sizeof expected);
	pg_array_free(&array);
}

static void array_with_nulls_and_times(void **state)
{
	static const unsigned char expected[] = { 0, 0, 0, 1, 0,    0,    0,    1,    0,    0,    4,    0xa0,
		                                  0, 0, 0, 3, 0,    0,    0,    1,    0xff, 0xff, 0xff, 0xff,
		                                  0, 0, 0, 8, 0,    0,    0,    0,    0,    0,    0,    1,
		                                  0, 0, 0, 8, 0xff, 0xfc, 0xa2, 0xfe, 0xc4, 0xc8, 0x20, 0x00 };
	struct pg_array array = { 0 };

	pg_array_begin(&array, PG_TIMESTAMPTZ);
	pg_array_add_null(&array);
	pg_array_add_time(&array, (uint64_t)PG_EPOCH_US + 1);
	pg_array_add_time(&array, 0);
	assert_true(pg_array_end(&array));
	assert_int_equal(array.used, sizeof expected);
	assert_memory_equal(array.bytes, expected, sizeof expected);
	pg_array_free(&array);
}

static void an_array_is_used_again(void **state)
{
	struct pg_array array = { 0 };

	for (int round = 0; round < 3; round++) {
		pg_array_begin(&array, PG_INT8);
		for (int i = 0; i < 10000; i++)
			pg_array_add_int8(&array, i);
		assert_true(pg_array_end(&array));
		assert_int_equal(array.used, 20 + 10000 * 12);
		assert_int_equal(pg_read_int8((char *)array.bytes + array.used - 8), 9999);
		assert_int_equal(array.bytes[7], 0); /* no nulls, whatever was there before */
	}
	pg_array_begin(&array, PG_INT8);
	assert_true(pg_array_end(&array));
	assert_int_equal(array.used, 12);
	pg_array_free(&array);
}

static void an_array_that_is_too_large_fails(void **state)
{
	struct pg_array array = { 0 };

	pg_array_begin(&array, PG_TEXT);
	pg_array_add(&array, "x", (size_t)INT32_MAX + 1); /* refused before a byte is read */
	assert_false(pg_array_end(&array));
	pg_array_add(&array, "y", 1);
	assert_false(pg_array_end(&array));
	pg_array_begin(&array, PG_TEXT); /* and works again */
	assert_true(pg_array_end(&array));
	pg_array_free(&array);
}

static void arrays_without_memory_fail(void **state)
{
	struct pg_array array = { 0 };

	for (long n = 0; n < 3; n++) {
		alloc_fail_after(n);
		pg_array_begin(&array, PG_TEXT);
		for (int i = 0; i < 1000; i++)
			pg_array_add(&array, "text", 4);
		assert_false(pg_array_end(&array));
		assert_true(alloc_failed());
		pg_array_free(&array);
	}
}

static void times(void **state)
{
	static const struct {
		unsigned char bytes[8];
		uint64_t us;
	} cases[] = {
		{ { 0, 0, 0, 0, 0, 0, 0, 0 }, UINT64_C(946684800000000) },
		{ { 0xff, 0xfc, 0xa2, 0xfe, 0xc4, 0xc8, 0x20, 0x00 }, 0 },
		{ { 0xff, 0xfc, 0xa2, 0xfe, 0xc4, 0xc8, 0x20, 0x01 }, 1 },
		{ { 0xff, 0xfc, 0xa2, 0xfe, 0xc4, 0xc8, 0x1f, 0xff }, 0 }, /* 1969 */
		{ { 0x80, 0, 0, 0, 0, 0, 0, 0 }, 0 },                      /* -infinity */
		{ { 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 0 }, /* infinity */
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(pg_read_time((const char *)cases[i].bytes), cases[i].us);
}

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void changes(void **state)
{
	static const char *const all[] = {
		"*",
		"",
		" ",
		"code",
		"code ",
		" " HEX,
		"code " HEX "0",
		"code  " HEX,
		"code " HEX " ",
		"code 0011",
		"co/de " HEX,
		"abcdefghijklmnopqrstuvwxyz0123456 " HEX,
		"code 00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
		"code 00112233445566778899aabbccddeefg00112233445566778899aabbccddeeff",
		"metrics " HEX,
	};
	struct pg_change change;

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		pg_change_parse(all[i], &change);
		assert_true(change.all);
	}
	pg_change_parse("Ab_-9 " HEX, &change);
	assert_false(change.all);
	assert_string_equal(change.code, "Ab_-9");
	assert_int_equal(change.sha256[0], 0x00);
	assert_int_equal(change.sha256[10], 0xaa);
	assert_int_equal(change.sha256[31], 0xff);
	pg_change_parse("abcdefghijklmnopqrstuvwxyz012345 " HEX, &change);
	assert_false(change.all);
	assert_string_equal(change.code, "abcdefghijklmnopqrstuvwxyz012345");
}

static void messages(void **state)
{
	static const struct {
		const char *message, *line;
	} cases[] = {
		{ "", "" },
		{ "\n", "" },
		{ "ERROR:  no\n", "no" },
		{ "connection failed\n\tIs it there?\n", "connection failed. Is it there?" },
		{ "closed unexpectedly\n\tThis means that it ended\n\tbefore it had begun.\n",
		  "closed unexpectedly. This means that it ended before it had begun" },
		{ "refused: no!\n\tIs it there?\nrefused as well\n", "refused: no! Is it there? refused as well" },
		{ "  a  b\r\n\r\n c ", "a b c" },
	};
	char line[96], narrow[8];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pg_message(cases[i].message, line, sizeof line);
		assert_string_equal(line, cases[i].line);
	}
	pg_message("0123456789", narrow, sizeof narrow);
	assert_string_equal(narrow, "012345");
}

static void a_host_that_does_not_answer(void **state)
{
	char why[PG_WHY_MAX] = "";

	/* A socket in a folder that is not there: refused without a network. The password is in no message. */
	assert_null(pg_connect("postgresql://me:hidden@/x?host=/nonexistent", why, sizeof why));
	assert_non_null(strstr(why, "/nonexistent"));
	assert_null(strstr(why, "hidden"));
	assert_null(strchr(why, '\n'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_array),
		cmocka_unit_test(array_of_text),
		cmocka_unit_test(array_with_nulls_and_times),
		cmocka_unit_test(an_array_is_used_again),
		cmocka_unit_test(an_array_that_is_too_large_fails),
		cmocka_unit_test(arrays_without_memory_fail),
		cmocka_unit_test(times),
		cmocka_unit_test(changes),
		cmocka_unit_test(messages),
		cmocka_unit_test(a_host_that_does_not_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
