/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_arguments.c: words of commands, and what is said about wrong ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis-module/arguments.h"

#define WORDS_MAX 16
#define ALL_OPTIONS (ARGUMENT_COST | ARGUMENT_PEEK | ARGUMENT_WITHTIME | ARGUMENT_AT)

/* Words between blanks, each in a block of its own, so that a sanitizer sees who reads past one. */
static size_t split(struct word *words, const char *line)
{
	size_t n = 0;

	while (*line != '\0') {
		size_t len = strcspn(line, " ");
		char *copy = malloc(len > 0 ? len : 1);

		assert_non_null(copy);
		assert_true(n < WORDS_MAX);
		memcpy(copy, line, len);
		words[n++] = (struct word){ copy, len };
		line += len + (line[len] == ' ');
	}
	return n;
}

static void forget(struct word *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)words[i].at);
}

static void test_understood(void **context)
{
	static const struct {
		const char *line;
		enum sluice_algorithm algorithm;
		uint32_t limit, burst;
		uint64_t window_us;
		uint32_t cost;
		unsigned given;
		uint64_t at_us;
	} cases[] = {
		{ "sliding-log 10 60s", SLUICE_SLIDING_LOG, 10, 10, 60000000, 1, 0, 0 },
		{ "Sliding-LOG 10 60s cost 3", SLUICE_SLIDING_LOG, 10, 10, 60000000, 3, ARGUMENT_COST, 0 },
		{ "sliding-counter 16777216 366d", SLUICE_SLIDING_COUNTER, 16777216, 16777216, SLUICE_WINDOW_MAX_US, 1,
		  0, 0 },
		{ "fixed-window 1 1ms PEEK", SLUICE_FIXED_WINDOW, 1, 1, 1000, 1, ARGUMENT_PEEK, 0 },
		{ "token-bucket 10 1s BURST 20 COST 4294967295", SLUICE_TOKEN_BUCKET, 10, 20, 1000000, UINT32_MAX,
		  ARGUMENT_COST, 0 },
		{ "token-bucket 10 1s", SLUICE_TOKEN_BUCKET, 10, 10, 1000000, 1, 0, 0 },
		{ "token-bucket 10 1h WITHTIME BURST 1 COST 2 PEEK", SLUICE_TOKEN_BUCKET, 10, 1, 3600000000, 2,
		  ARGUMENT_WITHTIME | ARGUMENT_COST | ARGUMENT_PEEK, 0 },
		{ "fixed-window 5 500ms AT 1795530080889051", SLUICE_FIXED_WINDOW, 5, 5, 500000, 1, ARGUMENT_AT,
		  1795530080889051 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arguments_memo memo = { 0 };
		struct word words[WORDS_MAX];
		size_t n = split(words, cases[i].line);
		struct arguments out;
		struct why why;

		for (int again = 0; again < 2; again++) { /* the second time by the memo */
			memset(&out, 0xee, sizeof out);
			if (arguments_read_all(&out, &memo, ALL_OPTIONS, words, n, &why) != 0)
				fail_msg("%s: %s", cases[i].line, why.text);
			assert_int_equal(out.policy.algorithm, cases[i].algorithm);
			assert_int_equal(out.policy.limit, cases[i].limit);
			assert_int_equal(out.policy.burst, cases[i].burst);
			assert_int_equal(out.policy.window_us, cases[i].window_us);
			assert_int_equal(out.cost, cases[i].cost);
			assert_int_equal(out.given, cases[i].given);
			assert_int_equal(out.at_us, cases[i].at_us);
		}
		forget(words, n);
	}
}

static void test_refused(void **context)
{
	static const struct {
		const char *line, *why;
		unsigned allowed;
	} cases[] = {
		{ "", "a policy is algorithm, limit and window: algorithm is missing", ALL_OPTIONS },
		{ "sliding-log", "a policy is algorithm, limit and window: limit is missing", ALL_OPTIONS },
		{ "sliding-log 1", "a policy is algorithm, limit and window: window is missing", ALL_OPTIONS },
		{ "PEEK", "algorithm must be sliding-log, sliding-counter, fixed-window or token-bucket, not \"PEEK\"",
		  0 },
		{ "3 1s", "algorithm must be sliding-log, sliding-counter, fixed-window or token-bucket, not \"3\"",
		  0 },
		{ "sliding 1 1s",
		  "algorithm must be sliding-log, sliding-counter, fixed-window or token-bucket, not \"sliding\"", 0 },
		{ "sliding-log 0 1s", "limit must be a whole number from 1 to 16777216, not \"0\"", 0 },
		{ "sliding-log -1 1s", "limit must be a whole number from 1 to 16777216, not \"-1\"", 0 },
		{ "sliding-log +1 1s", "limit must be a whole number from 1 to 16777216, not \"+1\"", 0 },
		{ "sliding-log 1e3 1s", "limit must be a whole number from 1 to 16777216, not \"1e3\"", 0 },
		{ "sliding-log 16777217 1s", "limit must be a whole number from 1 to 16777216, not \"16777217\"", 0 },
		{ "sliding-log 18446744073709551617 1s",
		  "limit must be a whole number from 1 to 16777216, not \"18446744073709551617\"", 0 },
		{ "sliding-log  1s", "limit must be a whole number from 1 to 16777216, not \"\"", 0 },
		{ "sliding-log 1 60", "window: \"60\" has no unit; write 60s, 500ms, 1h…", 0 },
		{ "sliding-log 1 1us", "window must be from 1 millisecond to 366 days", 0 },
		{ "sliding-log 1 99999999999999999999999999999999999s",
		  "window must be a duration such as 500ms, 60s or 1d, not \"99999999999999999999999999999999999s\"",
		  0 },
		{ "sliding-log 1 1s BURST 2", "BURST is for a token-bucket only", 0 },
		{ "token-bucket 1 1s BURST", "BURST needs a number", 0 },
		{ "token-bucket 1 1s BURST 0", "BURST must be a whole number from 1 to 16777216, not \"0\"", 0 },
		{ "token-bucket 1 1s BURST 2 BURST 2", "BURST comes twice", 0 },
		{ "sliding-log 1 1s COST", "COST needs a number", ARGUMENT_COST },
		{ "sliding-log 1 1s COST 0", "COST must be a whole number from 1 to 4294967295, not \"0\"",
		  ARGUMENT_COST },
		{ "sliding-log 1 1s COST 4294967296",
		  "COST must be a whole number from 1 to 4294967295, not \"4294967296\"", ARGUMENT_COST },
		{ "sliding-log 1 1s COST 1 COST 1", "COST comes twice", ARGUMENT_COST },
		{ "sliding-log 1 1s PEEK PEEK", "PEEK comes twice", ARGUMENT_PEEK },
		{ "sliding-log 1 1s AT x", "AT must be a whole number from 0 to 8943954454740992, not \"x\"",
		  ARGUMENT_AT },
		{ "sliding-log 1 1s COST 1", "\"COST\" is no option of this command", ARGUMENT_PEEK },
		{ "sliding-log 1 1s x\r\ny", "\"x\\x0d\\x0ay\" is no option of this command", ARGUMENT_PEEK },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arguments_memo memo = { 0 };
		struct word words[WORDS_MAX];
		size_t n = split(words, cases[i].line);
		struct arguments out;
		struct why why;

		for (int again = 0; again < 2; again++) {
			assert_int_equal(arguments_read_all(&out, &memo, cases[i].allowed, words, n, &why), -1);
			assert_string_equal(why.text, cases[i].why);
		}
		forget(words, n);
	}
}

/* A NUL within a word makes it another one; a memo holds no prefix of longer words. */
static void test_bytes(void **context)
{
	static const struct word words[] = { { "fixed-window", 12 }, { "1\0", 2 }, { "1s", 2 } };
	static const struct word first[] = { { "fixed-window", 12 }, { "11", 2 }, { "1s", 2 } };
	static const struct word second[] = { { "fixed-window", 12 }, { "1", 1 }, { "11s", 3 } };
	struct arguments_memo memo = { 0 };
	struct arguments out;
	struct why why;

	assert_int_equal(arguments_read_all(&out, &memo, 0, words, 3, &why), -1);
	assert_string_equal(why.text, "limit must be a whole number from 1 to 16777216, not \"1\\x01\"");
	assert_int_equal(arguments_read_all(&out, &memo, 0, first, 3, &why), 0);
	assert_int_equal(out.policy.limit, 11);
	assert_int_equal(arguments_read_all(&out, &memo, 0, second, 3, &why), 0);
	assert_int_equal(out.policy.limit, 1);
	assert_int_equal(out.policy.window_us, 11000000);
}

/* The next policy begins where the options of this one end. */
static void test_several(void **context)
{
	struct word words[WORDS_MAX];
	size_t n = split(words, "sliding-log 1 1s COST 2 token-bucket 3 1s BURST 4"), used;
	struct arguments out;
	struct why why;

	assert_int_equal(arguments_read(&out, NULL, ARGUMENT_COST, words, n, &used, &why), 0);
	assert_int_equal(used, 5);
	assert_int_equal(out.cost, 2);
	assert_int_equal(arguments_read(&out, NULL, ARGUMENT_COST, words + used, n - used, &used, &why), 0);
	assert_int_equal(used, 5);
	assert_int_equal(out.policy.burst, 4);
	forget(words, n);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_understood),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
