/* SPDX-License-Identifier: Apache-2.0 */
/* test_clicks.c: no visit is lost unless it is counted as lost, none is counted twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>

#include "links/clicks.h"
#include "links/test_alloc.h"

static void expect_stats(struct clicks *clicks, uint64_t pending, uint64_t lost)
{
	uint64_t p, l;

	clicks_stats(clicks, &p, &l);
	assert_int_equal(p, pending);
	assert_int_equal(l, lost);
}

static void test_counts(void **state)
{
	struct clicks *clicks = clicks_open(1000);
	struct click *taken;
	size_t n;

	assert_non_null(clicks);
	assert_null(clicks_take(clicks, &n));
	assert_int_equal(n, 0);
	clicks_add(clicks, "abc", 3, 1, 100);
	clicks_add(clicks, "abc", 3, 1, 300);
	clicks_add(clicks, "abc", 3, 5, 200); /* a clock that steps back does not take the latest back */
	clicks_add(clicks, "ABC", 3, 1, 50);
	clicks_add(clicks, "", 0, 1, 1);
	clicks_add(clicks, "abcdefghijklmnopqrstuvwxyz0123456", LINK_CODE_MAX + 1, 1, 1);
	expect_stats(clicks, 8, 0);
	taken = clicks_take(clicks, &n);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		bool lower = strcmp(taken[i].code, "abc") == 0;

		assert_true(lower || strcmp(taken[i].code, "ABC") == 0);
		assert_int_equal(taken[i].code_len, 3);
		assert_int_equal(taken[i].count, lower ? 7 : 1);
		assert_int_equal(taken[i].last_us, lower ? 300 : 50);
	}
	assert_string_not_equal(taken[0].code, taken[1].code);
	free(taken);
	expect_stats(clicks, 0, 0);
	assert_null(clicks_take(clicks, &n));
	clicks_add(clicks, "abc", 3, 1, 100); /* after a take it starts anew */
	taken = clicks_take(clicks, &n);
	assert_int_equal(n, 1);
	assert_int_equal(taken[0].count, 1);
	free(taken);
	clicks_close(clicks);
	clicks_close(NULL);
}

static void test_bound(void **state)
{
	enum { MAX = 640, TRIES = 10000 };
	struct clicks *clicks = clicks_open(MAX);
	uint64_t pending, lost, more;
	struct click *taken;
	char code[16];
	size_t n;

	assert_non_null(clicks);
	for (int i = 0; i < TRIES; i++)
		clicks_add(clicks, code, (size_t)sprintf(code, "c%d", i), 1, 1);
	clicks_stats(clicks, &pending, &lost);
	assert_int_equal(pending, MAX); /* every shard is full */
	assert_int_equal(pending + lost, TRIES);
	clicks_add(clicks, "c0", 2, 1, 2); /* a code that waits already still counts */
	clicks_stats(clicks, &more, &lost);
	assert_int_equal(more, pending + 1);
	assert_int_equal(lost, TRIES - MAX);
	taken = clicks_take(clicks, &n);
	assert_int_equal(n, MAX);
	free(taken);
	clicks_add(clicks, "new", 3, 1, 1); /* there is room again */
	expect_stats(clicks, 1, TRIES - MAX);
	clicks_close(clicks);
}

static void test_allocation_failure(void **state)
{
	struct clicks *clicks;
	struct click *taken;
	char code[16];
	size_t n;

	alloc_fail_after(0);
	assert_null(clicks_open(1000));
	clicks = clicks_open(1000);
	assert_non_null(clicks);
	for (long at = 0; at < 2; at++) { /* the two arrays of a shard */
		alloc_fail_after(at);
		clicks_add(clicks, "abc", 3, 1, 1);
		assert_true(alloc_failed());
	}
	expect_stats(clicks, 0, 2);
	clicks_add(clicks, "abc", 3, 1, 1);
	alloc_fail_after(0);
	assert_null(clicks_take(clicks, &n));
	assert_int_equal(n, 0);
	expect_stats(clicks, 1, 2); /* all stays */
	for (int i = 0; i < 900; i++) {
		alloc_fail_after(1);
		clicks_add(clicks, code, (size_t)sprintf(code, "c%d", i), 1, 1);
		alloc_failed();
	}
	taken = clicks_take(clicks, &n);
	assert_non_null(taken);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(taken[i].count, 1); /* nothing was mixed up by tables that did not grow */
	free(taken);
	clicks_close(clicks);
}

enum { THREADS = 3, TURNS = 60000, CODES = 500 };

static void *click_on(void *arg)
{
	struct clicks *clicks = arg;
	char code[16];

	for (int i = 0; i < TURNS; i++)
		clicks_add(clicks, code, (size_t)sprintf(code, "c%d", i * 7 % CODES), 1, (uint64_t)i);
	return NULL;
}

static uint64_t take_sum(struct clicks *clicks)
{
	uint64_t sum = 0;
	size_t n;
	struct click *taken = clicks_take(clicks, &n);

	for (size_t i = 0; i < n; i++)
		sum += taken[i].count;
	free(taken);
	return sum;
}

static void test_threads(void **state)
{
	struct clicks *clicks = clicks_open(100000);
	pthread_t thread[THREADS];
	uint64_t sum = 0;

	assert_non_null(clicks);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, click_on, clicks), 0);
	for (int i = 0; i < 200; i++)
		sum += take_sum(clicks);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	sum += take_sum(clicks);
	assert_int_equal(sum, THREADS * TURNS);
	expect_stats(clicks, 0, 0);
	clicks_close(clicks);
}

static int setup(void **state)
{
	return sodium_init() < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_allocation_failure),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
