/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_token_bucket.c: a token-bucket where traces don't go: states of another rate or burst, and the
 * largest numbers.
 */
#include "core/test_support.h"

enum { LEN = 24 };

static struct sluice_policy bucket_of(uint32_t limit, uint64_t window_us, uint32_t burst)
{
	struct sluice_policy policy;

	assert_int_equal(sluice_policy_init(&policy, SLUICE_TOKEN_BUCKET, limit, window_us, burst, NULL), SLUICE_OK);
	return policy;
}

static void empty(uint8_t *state, const struct sluice_policy *policy)
{
	assert_int_equal(sluice_state_move(state, LEN, NULL, 0, policy), SLUICE_OK);
}

/* A debt of another rate takes as long to pay as before, rounded up to what one microsecond pays. */
static void test_another_rate(void **context)
{
	static const struct {
		uint32_t old_limit, new_limit, taken;
		uint64_t reset_us;
	} cases[] = {
		{ 7, 1, 7, SECOND },                           /* 7 units of 1/7 s; then one unit of 1 s */
		{ 7, 3, 7, SECOND },      { 7, 3, 1, 142858 }, /* 142857.14 us, rounded up */
		{ 1, 7, 1, SECOND },      { 999983, 3, 1, 2 }, /* 1.000017 us */
		{ 3, 999983, 1, 333334 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sluice_policy old = bucket_of(cases[i].old_limit, SECOND, 0);
		struct sluice_policy new = bucket_of(cases[i].new_limit, SECOND, 0);
		struct sluice_decision decision;
		uint8_t state[LEN];

		empty(state, &old);
		must_take(state, LEN, &old, 0, cases[i].taken);
		decision = must_peek(state, LEN, &new, 0, 1);
		assert_int_equal(decision.reset_after_us, cases[i].reset_us);
		assert_int_equal(must_peek(state, LEN, &new, cases[i].reset_us, 1).remaining, cases[i].new_limit);
		assert_true(must_peek(state, LEN, &new, cases[i].reset_us - 1, 1).remaining < cases[i].new_limit);
		/* Nothing can be given back of it: what a unit owed is not known. */
		assert_int_equal(sluice_refund(state, LEN, &new, 0, 1, 0, &decision), SLUICE_OK);
		assert_int_equal(decision.reset_after_us, cases[i].reset_us);
	}
}

/* A debt near 2^53 under a slow rate, seen by a fast one. */
static void test_another_rate_saturates(void **context)
{
	struct sluice_policy slow = bucket_of(1, UINT64_C(1) << 30, (UINT32_C(1) << 23) - 1);
	struct sluice_policy fast = bucket_of(16777213, SECOND, 0);
	struct sluice_decision decision;
	uint8_t state[LEN];

	empty(state, &slow);
	must_take(state, LEN, &slow, 0, (UINT32_C(1) << 23) - 1);
	decision = must_peek(state, LEN, &fast, 0, 1);
	assert_false(decision.allowed);
	assert_int_equal(decision.reset_after_us, div_ceil(EXACT_MAX - 1, 16777213));
	assert_allowed(must_take(state, LEN, &fast, decision.reset_after_us, 1), 16777212);
}

static void test_smaller_burst(void **context)
{
	struct sluice_policy large = bucket_of(10, 10 * SECOND, 100);
	struct sluice_policy small = bucket_of(10, 10 * SECOND, 5);
	uint8_t state[LEN];

	empty(state, &large);
	must_take(state, LEN, &large, 0, 100);
	assert_denied(must_take(state, LEN, &small, 0, 1), 0, 96 * SECOND);
	assert_denied(must_take(state, LEN, &small, 96 * SECOND - 1, 1), 0, 1);
	assert_allowed(must_take(state, LEN, &small, 96 * SECOND, 1), 0);
}

/* What 12.7 days pay back under so fast a rate is 2^64 and a little, which must not become a little. */
static void test_long_idle(void **context)
{
	struct sluice_policy policy = bucket_of(16777213, SECOND, 0);
	uint8_t state[LEN];

	empty(state, &policy);
	must_take(state, LEN, &policy, 0, 16777213);
	assert_allowed(must_peek(state, LEN, &policy, UINT64_C(1099511824385), 1), 16777213);
	assert_allowed(must_peek(state, LEN, &policy, UINT64_MAX, 1), 16777213);
}

static void test_largest_debt(void **context)
{
	struct sluice_policy policy = bucket_of(1, UINT64_C(1) << 30, (UINT32_C(1) << 23) - 1);
	uint64_t unit_us = UINT64_C(1) << 30;
	uint8_t state[LEN];

	empty(state, &policy);
	assert_allowed(must_take(state, LEN, &policy, 0, policy.burst), 0);
	assert_denied(must_take(state, LEN, &policy, 0, 1), 0, unit_us);
	assert_denied(must_take(state, LEN, &policy, 0, policy.burst), 0, policy.burst * unit_us);
	assert_allowed(must_take(state, LEN, &policy, unit_us, 1), 0);
}

static void test_refund(void **context)
{
	struct sluice_policy policy = bucket_of(10, 10 * SECOND, 0);
	struct sluice_decision decision;
	uint8_t state[LEN];

	empty(state, &policy);
	must_take(state, LEN, &policy, 5, 3);
	must_take(state, LEN, &policy, 5, 2);
	sluice_refund(state, LEN, &policy, 4, 3, 4, &decision);
	assert_int_equal(decision.remaining, 5);
	sluice_refund(state, LEN, &policy, 5, 3, 5, &decision);
	assert_int_equal(decision.remaining, 8);
	/* More than was ever taken empties the debt and no more. */
	sluice_refund(state, LEN, &policy, 5, UINT32_MAX, 5, &decision);
	assert_int_equal(decision.remaining, 10);
	assert_int_equal(decision.reset_after_us, 0);
	assert_denied(must_take(state, LEN, &policy, 5, 11), 10, SLUICE_NEVER);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_rate),  cmocka_unit_test(test_another_rate_saturates),
		cmocka_unit_test(test_smaller_burst), cmocka_unit_test(test_long_idle),
		cmocka_unit_test(test_largest_debt),  cmocka_unit_test(test_refund),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
