/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_packed.c: packed requests, whole, cut short and wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis-module/packed.h"

#define LOG_10 "\1\x0a\0\0\0\0\0\0\0\x40\x42\x0f\0\0\0\0\0"
#define BUCKET_5 "\4\x05\0\0\0\x14\0\0\0\x40\x42\x0f\0\0\0\0\0"

/* Two policies; a request of one key, one of two. */
#define GOOD                                                                                                           \
	"\1\2" LOG_10 BUCKET_5 "\1"                                                                                    \
	"\0\1\0\0\0"                                                                                                   \
	"\2"                                                                                                           \
	"\0\2\0\0\0"                                                                                                   \
	"\1\3\0\0\0"

static int read_block(const char *bytes, size_t len, size_t keys, struct take *takes, struct sluice_policy *policies,
                      struct why *why)
{
	char *block = malloc(len > 0 ? len : 1); /* a sanitizer sees who reads past it */
	int result;

	assert_non_null(block);
	memcpy(block, bytes, len);
	result = packed_read(takes, keys, policies, block, len, why);
	free(block);
	return result;
}

static void test_whole(void **context)
{
	struct sluice_policy policies[255];
	struct take takes[3];
	struct why why;

	assert_int_equal(read_block(GOOD, sizeof GOOD - 1, 3, takes, policies, &why), 0);
	assert_int_equal(policies[0].limit, 10);
	assert_int_equal(policies[0].window_us, 1000000);
	assert_int_equal(policies[1].limit, 5);
	assert_int_equal(policies[1].burst, 20);
	assert_ptr_equal(takes[0].policy, &policies[0]);
	assert_ptr_equal(takes[2].policy, &policies[1]);
	assert_int_equal(takes[0].cost, 1);
	assert_int_equal(takes[2].cost, 3);
	assert_int_equal(takes[0].together, 1);
	assert_int_equal(takes[1].together, 2);
	assert_int_equal(takes[2].together, 0);
}

static void test_cut_short(void **context)
{
	struct sluice_policy policies[255];
	struct take takes[3];
	struct why why;

	for (size_t len = 0; len < sizeof GOOD - 1; len++)
		assert_int_equal(read_block(GOOD, len, 3, takes, policies, &why), -1);
	assert_int_equal(read_block(GOOD "x", sizeof GOOD, 3, takes, policies, &why), -1);
	assert_string_equal(why.text, "requests go on after their takes: bytes left: 1");
	assert_int_equal(read_block(GOOD, sizeof GOOD - 1, 2, takes, policies, &why), -1);
	assert_string_equal(why.text, "requests: one has 2 keys, with 1 left");
}

static void test_wrong(void **context)
{
	static const struct {
		size_t at;
		char byte;
		const char *why;
	} cases[] = {
		{ 0, 2, "requests are not of format 1" },
		{ 1, 0, "requests have no policy" },
		{ 2, 0,
		  "policy 0 of requests: algorithm must be sliding-log, sliding-counter, fixed-window or "
		  "token-bucket" },
		{ 2, 5,
		  "policy 0 of requests: algorithm must be sliding-log, sliding-counter, fixed-window or "
		  "token-bucket" },
		{ 3, 0, "policy 0 of requests: limit must be from 1 to 16777216" },
		{ 36, 0, "requests: one has 0 keys, with 3 left" },
		{ 36, 4, "requests: one has 4 keys, with 3 left" },
		{ 37, 2, "requests: key 0 has policy 2 of 2" },
		{ 38, 0, "requests: the cost of key 0 is 0" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sluice_policy policies[255];
		struct take takes[3];
		char bytes[] = GOOD;
		struct why why;

		bytes[cases[i].at] = cases[i].byte;
		assert_int_equal(read_block(bytes, sizeof bytes - 1, 3, takes, policies, &why), -1);
		assert_string_equal(why.text, cases[i].why);
	}
}

static void test_answers(void **context)
{
	struct sluice_decision decision = {
		.allowed = false, .remaining = 7, .retry_after_us = SLUICE_NEVER, .reset_after_us = 2, .at_us = 1
	};
	char answer[PACKED_ANSWER_LEN];

	packed_answer(answer, &decision);
	assert_memory_equal(answer,
	                    "\0\7\0\0\0"
	                    "\0\0\0\0\0\0\xf0\xbf"
	                    "\0\0\0\0\0\0\0\x40"
	                    "\0\0\0\0\0\0\xf0\x3f",
	                    sizeof answer);
	packed_failure(answer, PACKED_WRONG_KIND);
	assert_memory_equal(answer, "\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", sizeof answer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
