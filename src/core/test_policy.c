/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy.c: the edges of sluice_policy_init() and the names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/state.h"

#define MS UINT64_C(1000)
#define SECOND (1000 * MS)
#define DAY (86400 * SECOND)

static const struct {
	enum sluice_algorithm algorithm;
	uint32_t limit;
	uint64_t window_us;
	uint32_t burst;
	const char *why; /* a part of the reason; NULL: accepted */
} cases[] = {
	{ SLUICE_SLIDING_LOG, 10, 60 * SECOND, 0, NULL },
	{ SLUICE_SLIDING_LOG, 10, 60 * SECOND, 10, NULL },
	{ SLUICE_SLIDING_LOG, 10, 60 * SECOND, 11, "burst is for token-bucket only" },
	{ SLUICE_SLIDING_COUNTER, 10, 60 * SECOND, 9, "burst is for token-bucket only" },
	{ SLUICE_FIXED_WINDOW, 10, 60 * SECOND, 1, "burst is for token-bucket only" },
	{ SLUICE_TOKEN_BUCKET, 10, 60 * SECOND, 1, NULL },

	{ SLUICE_FIXED_WINDOW, 0, 60 * SECOND, 0, "limit must be from 1 to 16777216" },
	{ SLUICE_FIXED_WINDOW, 1, 60 * SECOND, 0, NULL },
	{ SLUICE_FIXED_WINDOW, SLUICE_LIMIT_MAX, 60 * SECOND, 0, NULL },
	{ SLUICE_FIXED_WINDOW, SLUICE_LIMIT_MAX + 1, 60 * SECOND, 0, "limit must be from 1 to 16777216" },
	{ SLUICE_FIXED_WINDOW, UINT32_MAX, 60 * SECOND, 0, "limit must be from 1 to 16777216" },

	{ SLUICE_SLIDING_LOG, 10, 0, 0, "window must be from 1 millisecond" },
	{ SLUICE_SLIDING_LOG, 10, MS - 1, 0, "window must be from 1 millisecond" },
	{ SLUICE_SLIDING_LOG, 10, MS, 0, NULL },
	{ SLUICE_SLIDING_LOG, SLUICE_LIMIT_MAX, 366 * DAY, 0, NULL },
	{ SLUICE_SLIDING_LOG, 10, 366 * DAY + 1, 0, "window must be from 1 millisecond" },
	{ SLUICE_SLIDING_LOG, 10, UINT64_MAX, 0, "window must be from 1 millisecond" },
	{ SLUICE_SLIDING_COUNTER, SLUICE_LIMIT_MAX, 366 * DAY, 0, NULL },

	{ SLUICE_TOKEN_BUCKET, 10, 60 * SECOND, SLUICE_LIMIT_MAX, NULL },
	{ SLUICE_TOKEN_BUCKET, 10, 60 * SECOND, SLUICE_LIMIT_MAX + 1, "burst must be from 1" },
	/* A limit that divides the window keeps the figures small, another one does not. */
	{ SLUICE_TOKEN_BUCKET, 1000000, DAY, 0, NULL },
	{ SLUICE_TOKEN_BUCKET, 1000003, DAY, 0, "must stay below 2^53" },
	/* 2^53 = 8388608 * 2^30: a burst of 2^23 and a unit of 2^30 us is the first that does not fit. */
	{ SLUICE_TOKEN_BUCKET, 1, UINT64_C(1) << 30, UINT32_C(1) << 23, "must stay below 2^53" },
	{ SLUICE_TOKEN_BUCKET, 1, (UINT64_C(1) << 30) - 1, UINT32_C(1) << 23, NULL },
	{ SLUICE_TOKEN_BUCKET, 1, UINT64_C(1) << 30, (UINT32_C(1) << 23) - 1, NULL },

	{ (enum sluice_algorithm)0, 10, 60 * SECOND, 0, "algorithm must be" },
	{ (enum sluice_algorithm)5, 10, 60 * SECOND, 0, "algorithm must be" },
	{ (enum sluice_algorithm) - 1, 10, 60 * SECOND, 0, "algorithm must be" },
};

static void test_edges(void **context)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sluice_policy policy;
		const char *why = NULL;
		int result = sluice_policy_init(&policy, cases[i].algorithm, cases[i].limit, cases[i].window_us,
		                                cases[i].burst, &why);

		if (cases[i].why == NULL) {
			if (result != SLUICE_OK)
				fail_msg("case %zu is refused: %s", i, why);
			assert_null(why);
			assert_int_equal(policy.limit, cases[i].limit);
			assert_int_equal(policy.window_us, cases[i].window_us);
			assert_int_equal(policy.burst, cases[i].burst != 0 ? cases[i].burst : cases[i].limit);
			assert_true(sluice_state_max(&policy) >= 24);
			continue;
		}
		if (result != SLUICE_EINVAL || why == NULL || strstr(why, cases[i].why) == NULL)
			fail_msg("case %zu: %d, %s", i, result, why != NULL ? why : "no reason");
		assert_int_equal(sluice_state_max(&policy), 0);
	}
}

static void test_reason_may_be_left_out(void **context)
{
	struct sluice_policy policy;

	assert_int_equal(sluice_policy_init(&policy, SLUICE_FIXED_WINDOW, 0, SECOND, 0, NULL), SLUICE_EINVAL);
	assert_int_equal(sluice_policy_init(&policy, SLUICE_FIXED_WINDOW, 1, SECOND, 0, NULL), SLUICE_OK);
}

static void test_derived(void **context)
{
	static const struct {
		uint64_t window_us;
		uint32_t tick_us;
	} ticks[] = {
		{ MS, 1 },
		{ UINT64_C(1) << 31, 1 },
		{ (UINT64_C(1) << 31) + 1, 2 },
		{ UINT64_C(1) << 32, 2 },
		{ 30 * DAY, 1207 }, /* 2592000000000 / 2147483648 = 1206.9 */
		{ 366 * DAY, 14726 },
	};
	struct sluice_policy policy;

	for (size_t i = 0; i < sizeof ticks / sizeof ticks[0]; i++) {
		sluice_policy_init(&policy, SLUICE_SLIDING_LOG, 10, ticks[i].window_us, 0, NULL);
		assert_int_equal(policy.tick_us, ticks[i].tick_us);
	}
	sluice_policy_init(&policy, SLUICE_TOKEN_BUCKET, 10, 60 * SECOND, 0, NULL);
	assert_int_equal(policy.drain, 1);
	assert_int_equal(policy.unit_debt, 6000000);
	assert_int_equal(policy.tick_us, 0);
	sluice_policy_init(&policy, SLUICE_TOKEN_BUCKET, 7, SECOND, 20, NULL);
	assert_int_equal(policy.drain, 7);
	assert_int_equal(policy.unit_debt, 1000000);
}

static void test_names(void **context)
{
	static const char *const none[] = { "", "sliding", "Sliding-Log", "sliding-log ", "token_bucket" };

	for (int i = SLUICE_SLIDING_LOG; i <= SLUICE_TOKEN_BUCKET; i++)
		assert_int_equal(sluice_algorithm_parse(sluice_algorithm_name((enum sluice_algorithm)i)), i);
	assert_string_equal(sluice_algorithm_name(SLUICE_TOKEN_BUCKET), "token-bucket");
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_int_equal(sluice_algorithm_parse(none[i]), 0);
	assert_null(sluice_algorithm_name((enum sluice_algorithm)0));
	assert_null(sluice_algorithm_name((enum sluice_algorithm)5));
	assert_null(sluice_algorithm_name((enum sluice_algorithm) - 1));
}

static void test_uninitialised_policy(void **context)
{
	static const struct sluice_policy zero;
	struct sluice_decision decision;
	uint8_t state[32];

	assert_int_equal(sluice_state_max(&zero), 0);
	assert_int_equal(sluice_state_room(NULL, 0, &zero, 0, 1), 0);
	assert_int_equal(sluice_state_move(state, sizeof state, NULL, 0, &zero), SLUICE_EINVAL);
	assert_int_equal(sluice_take(state, sizeof state, &zero, 0, 1, &decision), SLUICE_EINVAL);
	assert_int_equal(sluice_peek(NULL, 0, &zero, 0, 1, &decision), SLUICE_EINVAL);
	assert_int_equal(sluice_refund(state, sizeof state, &zero, 0, 1, 0, NULL), SLUICE_EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_reason_may_be_left_out),
		cmocka_unit_test(test_derived),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_uninitialised_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
