/* SPDX-License-Identifier: Apache-2.0 */
/* test_code.c: codes are uniform, valid and have no look-alikes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "links/code.h"

/* Chi-squared over all characters of many codes. With 56 degrees of freedom the statistic exceeds 140 by chance once in
 * about 10^8 runs; the bias of a plain `byte % 57` (28 characters 5/256 instead of 4/256) would give over 1,000. */
static void test_uniform(void **state)
{
	enum { CODES = 20000, ALPHABET = 57 };
	static const char look_alikes[] = "0OIl1";
	unsigned count[256] = { 0 }, seen = 0;
	double expected = CODES * (double)LINK_CODE_LENGTH / ALPHABET, chi2 = 0;
	char code[LINK_CODE_MAX + 1];

	for (int i = 0; i < CODES; i++) {
		code_draw(code);
		assert_int_equal(strlen(code), LINK_CODE_LENGTH);
		assert_true(code_valid(code, LINK_CODE_LENGTH));
		for (int at = 0; at < LINK_CODE_LENGTH; at++)
			count[(unsigned char)code[at]]++;
	}
	for (int c = 0; c < 256; c++) {
		if (count[c] == 0)
			continue;
		assert_null(strchr(look_alikes, c));
		seen++;
		chi2 += (count[c] - expected) * (count[c] - expected) / expected;
	}
	assert_int_equal(seen, ALPHABET);
	assert_true(chi2 < 140);
}

static void test_valid(void **state)
{
	static const char longest[] = "abcdefghijklmnopqrstuvwxyz012345", nul[] = "ab\0cd";

	assert_int_equal(sizeof longest - 1, LINK_CODE_MAX);
	assert_true(code_valid("a", 1));
	assert_true(code_valid("Ab12Cd7", 7));
	assert_true(code_valid("-_-", 3));
	assert_true(code_valid(longest, LINK_CODE_MAX));
	assert_true(code_valid("Shorten", 7));
	assert_true(code_valid("shorten2", 8));
	assert_true(code_valid("shorte", 6));

	assert_false(code_valid("", 0));
	assert_false(code_valid("abcdefghijklmnopqrstuvwxyz0123456", LINK_CODE_MAX + 1));
	assert_false(code_valid("shorten", 7));
	assert_false(code_valid("healthz", 7));
	assert_false(code_valid("readyz", 6));
	assert_false(code_valid("metrics", 7));
	assert_false(code_valid(nul, 5));
	for (int c = 0; c < 256; c++) {
		char byte = (char)c;
		bool valid =
			c != 0 && strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_", c) != NULL;

		assert_int_equal(code_valid(&byte, 1), valid);
	}
}

static int setup(void **state)
{
	return sodium_init() < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_uniform), cmocka_unit_test(test_valid) };

	return cmocka_run_group_tests(tests, setup, NULL);
}
