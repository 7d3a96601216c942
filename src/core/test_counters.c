/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_counters.c: fixed-window and sliding-counter where traces don't go: states of another window,
 * the largest numbers, and refunds that have nothing to give back.
 */
#include "core/test_support.h"

static void empty(uint8_t *state, size_t len, const struct sluice_policy *policy)
{
	assert_int_equal(sluice_state_move(state, len, NULL, 0, policy), SLUICE_OK);
}

/* Ten units just before the end of a minute. Under a window of ten seconds their window was over long
 * ago if it began with the minute; they may all have passed at the last moment, so it began there. */
static void test_shorter_window(void **context)
{
	static const enum sluice_algorithm both[] = { SLUICE_FIXED_WINDOW, SLUICE_SLIDING_COUNTER };

	for (size_t i = 0; i < 2; i++) {
		struct sluice_policy minute = policy_of(both[i], 10, 60 * SECOND);
		struct sluice_policy ten = policy_of(both[i], 10, 10 * SECOND);
		uint8_t state[28];

		empty(state, sizeof state, &minute);
		must_take(state, sizeof state, &minute, 100 * SECOND, 1);
		must_take(state, sizeof state, &minute, 159 * SECOND, 9);
		assert_int_equal(must_peek(state, sizeof state, &ten, 159 * SECOND, 1).remaining, 0);
		assert_int_equal(must_peek(state, sizeof state, &ten, 169 * SECOND - 1, 1).remaining, 0);
		if (both[i] == SLUICE_FIXED_WINDOW)
			assert_allowed(must_take(state, sizeof state, &ten, 169 * SECOND, 10), 0);
		else /* they weigh less and less from there on */
			assert_allowed(must_take(state, sizeof state, &ten, 170 * SECOND, 1), 0);
	}
}

static void test_longer_window(void **context)
{
	struct sluice_policy ten = policy_of(SLUICE_FIXED_WINDOW, 10, 10 * SECOND);
	struct sluice_policy minute = policy_of(SLUICE_FIXED_WINDOW, 10, 60 * SECOND);
	uint8_t state[24];

	empty(state, sizeof state, &ten);
	must_take(state, sizeof state, &ten, 0, 10);
	assert_denied(must_take(state, sizeof state, &minute, 10 * SECOND, 1), 0, 50 * SECOND);
	assert_allowed(must_take(state, sizeof state, &minute, 60 * SECOND, 1), 9);
}

static void test_smaller_limit(void **context)
{
	struct sluice_policy many = policy_of(SLUICE_SLIDING_COUNTER, SLUICE_LIMIT_MAX, 10 * SECOND);
	struct sluice_policy few = policy_of(SLUICE_SLIDING_COUNTER, 2, 10 * SECOND);
	uint8_t state[28];

	empty(state, sizeof state, &many);
	must_take(state, sizeof state, &many, 0, SLUICE_LIMIT_MAX);
	/* 16777216 * left / 10 s weighs 1 when less than 0.6 us is left: only when the window is over. */
	assert_denied(must_take(state, sizeof state, &few, 0, 1), 0, 20 * SECOND);
	assert_denied(must_take(state, sizeof state, &few, 20 * SECOND - 1, 1), 0, 1);
	assert_allowed(must_take(state, sizeof state, &few, 20 * SECOND, 1), 1);
}

/* 2^24 units and 366 days: a product of 69 bits, in every position of the window. */
static void test_largest(void **context)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_COUNTER, SLUICE_LIMIT_MAX, SLUICE_WINDOW_MAX_US);
	uint8_t state[28];

	empty(state, sizeof state, &policy);
	must_take(state, sizeof state, &policy, 0, SLUICE_LIMIT_MAX);
	for (uint64_t part = 0; part < 366; part++) {
		uint64_t now_us = SLUICE_WINDOW_MAX_US + part * DAY;
		unsigned __int128 product = (unsigned __int128)SLUICE_LIMIT_MAX * (366 - part);
		uint32_t weight = (uint32_t)((product + 365) / 366);

		assert_int_equal(must_peek(state, sizeof state, &policy, now_us, 1).remaining,
		                 SLUICE_LIMIT_MAX - weight);
		/* One microsecond is less than a unit here, and later there may be one unit more. */
		assert_in_range(must_peek(state, sizeof state, &policy, now_us + 1, 1).remaining,
		                SLUICE_LIMIT_MAX - weight, SLUICE_LIMIT_MAX - weight + 1);
	}
}

static void test_refund_of_nothing(void **context)
{
	static const enum sluice_algorithm both[] = { SLUICE_FIXED_WINDOW, SLUICE_SLIDING_COUNTER };

	for (size_t i = 0; i < 2; i++) {
		struct sluice_policy policy = policy_of(both[i], 10, 10 * SECOND);
		struct sluice_decision decision;
		uint8_t state[28];

		empty(state, sizeof state, &policy);
		assert_int_equal(sluice_refund(state, sizeof state, &policy, 5, 1, 0, &decision), SLUICE_OK);
		assert_int_equal(decision.remaining, 10);
		must_take(state, sizeof state, &policy, 50 * SECOND, 4);
		/* Before the first take, after the newest, and more than there is. */
		sluice_refund(state, sizeof state, &policy, 50 * SECOND, 1, 50 * SECOND - 1, &decision);
		assert_int_equal(decision.remaining, 6);
		sluice_refund(state, sizeof state, &policy, 51 * SECOND, 1, 50 * SECOND + 1, &decision);
		assert_int_equal(decision.remaining, 6);
		sluice_refund(state, sizeof state, &policy, 51 * SECOND, UINT32_MAX, 50 * SECOND, &decision);
		assert_int_equal(decision.remaining, 10);
		assert_int_equal(decision.reset_after_us, 0);
	}
}

/* The older counter holds the window before, to the microsecond. */
static void test_refund_of_the_window_before(void **context)
{
	static const struct {
		uint64_t at_us;
		uint32_t remaining;
	} cases[] = {
		{ 100 * SECOND - 1, 5 }, { 100 * SECOND, 6 }, { 110 * SECOND - 1, 6 },
		{ 110 * SECOND, 6 },     { 111 * SECOND, 5 },
	};
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_COUNTER, 10, 10 * SECOND);

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sluice_decision decision;
		uint8_t state[28];

		empty(state, sizeof state, &policy);
		must_take(state, sizeof state, &policy, 100 * SECOND, 4);
		must_take(state, sizeof state, &policy, 110 * SECOND, 1);
		sluice_refund(state, sizeof state, &policy, 110 * SECOND, 1, cases[i].at_us, &decision);
		assert_int_equal(decision.remaining, cases[i].remaining);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shorter_window),    cmocka_unit_test(test_longer_window),
		cmocka_unit_test(test_smaller_limit),     cmocka_unit_test(test_largest),
		cmocka_unit_test(test_refund_of_nothing), cmocka_unit_test(test_refund_of_the_window_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
