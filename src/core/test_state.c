/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_state.c: what all algorithms have in common: empty, foreign, short and malformed states, time,
 * and arguments out of range.
 */
#include "core/test_support.h"

enum { LIMIT = 4 };

static struct sluice_policy policy_number(int algorithm)
{
	return policy_of((enum sluice_algorithm)algorithm, LIMIT, 10 * SECOND);
}

static size_t fresh(uint8_t *state, const struct sluice_policy *policy)
{
	size_t len = sluice_state_room(NULL, 0, policy, 0, 1);

	assert_int_equal(len, sluice_state_max(policy)); /* with so small a limit */
	assert_int_equal(sluice_state_move(state, len, NULL, 0, policy), SLUICE_OK);
	return len;
}

static void test_empty(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_number(i);
		struct sluice_decision decision = must_peek(NULL, 0, &policy, 77, 1);
		uint8_t state[64];
		size_t len;

		assert_allowed(decision, LIMIT);
		assert_int_equal(decision.at_us, 77);
		assert_int_equal(decision.reset_after_us, 0);
		assert_int_equal(sluice_take(NULL, 0, &policy, 77, 1, &decision), SLUICE_EROOM);
		assert_int_equal(sluice_refund(NULL, 0, &policy, 77, 1, 77, &decision), SLUICE_OK);
		assert_allowed(decision, LIMIT);

		len = fresh(state, &policy);
		assert_allowed(must_peek(state, len, &policy, 77, LIMIT), LIMIT);
		decision = must_take(state, len, &policy, 77, LIMIT);
		assert_allowed(decision, 0);
		assert_int_equal(decision.at_us, 77);
		assert_int_equal(decision.limit, LIMIT);
	}
}

static void test_cost(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_number(i);
		struct sluice_decision decision;
		uint8_t state[64];
		size_t len = fresh(state, &policy);

		assert_int_equal(sluice_take(state, len, &policy, 0, 0, &decision), SLUICE_EINVAL);
		assert_int_equal(sluice_peek(state, len, &policy, 0, 0, &decision), SLUICE_EINVAL);
		assert_int_equal(sluice_refund(state, len, &policy, 0, 0, 0, &decision), SLUICE_EINVAL);
		assert_denied(must_take(state, len, &policy, 0, LIMIT + 1), LIMIT, SLUICE_NEVER);
		assert_denied(must_take(state, len, &policy, 0, UINT32_MAX), LIMIT, SLUICE_NEVER);
		/* What will be denied needs no room. */
		assert_denied(must_take(NULL, 0, &policy, 0, LIMIT + 1), LIMIT, SLUICE_NEVER);
		assert_int_equal(sluice_state_room(NULL, 0, &policy, 0, LIMIT + 1), 0);
		assert_int_equal(sluice_state_room(NULL, 0, &policy, 0, UINT32_MAX), 0);
		assert_int_equal(sluice_state_room(NULL, 0, &policy, 0, 0), 0);
	}
}

static void test_denied_changes_nothing(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_number(i);
		uint8_t state[64], before[64];
		size_t len = fresh(state, &policy);

		must_take(state, len, &policy, 5 * SECOND, LIMIT);
		memcpy(before, state, len);
		for (uint64_t now_us = 0; now_us < 9 * SECOND; now_us += SECOND / 4) {
			if (!must_take(state, len, &policy, now_us, LIMIT).allowed)
				assert_memory_equal(state, before, len);
			else
				assert_true(now_us > 5 * SECOND);
			memcpy(before, state, len);
		}
	}
}

static void test_clock_steps_back(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_number(i);
		struct sluice_decision decision;
		uint8_t state[64];
		size_t len = fresh(state, &policy);

		must_take(state, len, &policy, 100 * SECOND, 1);
		decision = must_take(state, len, &policy, 40 * SECOND, 1);
		assert_allowed(decision, LIMIT - 2);
		assert_int_equal(decision.at_us, 100 * SECOND);
		assert_true(decision.reset_after_us > 60 * SECOND); /* the clock has to catch up first */
		/* Taken at 100 s, so given back there, whatever the clock says now. */
		assert_int_equal(sluice_refund(state, len, &policy, 0, 1, decision.at_us, &decision), SLUICE_OK);
		assert_allowed(decision, LIMIT - 1);
		assert_int_equal(decision.at_us, 100 * SECOND);
		/* And a refund does not let time go back either. */
		assert_int_equal(sluice_refund(state, len, &policy, 0, 1, decision.at_us, &decision), SLUICE_OK);
		assert_int_equal(must_peek(state, len, &policy, 0, 1).at_us, 100 * SECOND);
	}
}

static void test_end_of_time(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_of((enum sluice_algorithm)i, LIMIT, SLUICE_WINDOW_MAX_US);
		struct sluice_decision decision;
		uint8_t state[64];
		size_t len = fresh(state, &policy);

		decision = must_take(state, len, &policy, UINT64_MAX, LIMIT);
		assert_allowed(decision, 0);
		assert_int_equal(decision.at_us, SLUICE_TIME_MAX_US);
		assert_true(decision.at_us + decision.reset_after_us <= EXACT_MAX);
		/* Time stands still there, also for the waits. */
		decision = must_take(state, len, &policy, UINT64_MAX, 1);
		assert_false(decision.allowed);
		assert_true(decision.retry_after_us > 0 && decision.retry_after_us <= 2 * SLUICE_WINDOW_MAX_US);
		decision = must_peek(state, len, &policy, SLUICE_TIME_MAX_US + 1, 1);
		assert_false(decision.allowed);
		assert_int_equal(decision.at_us, SLUICE_TIME_MAX_US);
		assert_false(must_peek(state, len, &policy, SLUICE_TIME_MAX_US, 1).allowed);
		assert_int_equal(sluice_refund(state, len, &policy, UINT64_MAX, 1, UINT64_MAX, &decision), SLUICE_OK);
		assert_int_equal(decision.remaining, 0); /* nothing was taken at that time */
		assert_int_equal(sluice_refund(state, len, &policy, UINT64_MAX, 1, SLUICE_TIME_MAX_US, &decision),
		                 SLUICE_OK);
		assert_int_equal(decision.remaining, 1);
	}
}

/* A state of each algorithm under the policy of each other one. */
static void test_foreign(void **context)
{
	for (int from = 1; from <= 4; from++) {
		for (int to = 1; to <= 4; to++) {
			struct sluice_policy old = policy_number(from), policy = policy_number(to);
			uint8_t state[64], moved[64];
			struct sluice_decision decision;
			size_t len = fresh(state, &old), room;

			if (from == to)
				continue;
			must_take(state, len, &old, 50 * SECOND, LIMIT);
			assert_allowed(must_peek(state, len, &policy, 50 * SECOND, LIMIT), LIMIT);
			assert_int_equal(sluice_refund(state, len, &policy, 50 * SECOND, 1, 50 * SECOND, &decision),
			                 SLUICE_OK);
			assert_int_equal(must_peek(state, len, &old, 50 * SECOND, 1).remaining, 0);

			room = sluice_state_room(state, len, &policy, 50 * SECOND, 2);
			assert_true(room >= len && room <= sizeof state);
			assert_int_equal(sluice_state_move(moved, room, state, len, &policy), SLUICE_OK);
			assert_allowed(must_take(moved, room, &policy, 50 * SECOND, 2), LIMIT - 2);
			/* In the bytes of the old one, too, once they suffice. */
			if (room > len)
				assert_int_equal(sluice_take(state, len, &policy, 50 * SECOND, 2, &decision),
				                 SLUICE_EROOM);
			assert_allowed(must_take(state, room, &policy, 50 * SECOND, 2), LIMIT - 2);
			assert_allowed(must_take(state, room, &policy, 50 * SECOND, 1), LIMIT - 3);
		}
	}
}

/* Too short for its algorithm, at every length. */
static void test_truncated(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_number(i);
		struct sluice_decision decision;
		uint8_t state[64], moved[64];
		size_t len = fresh(state, &policy);

		must_take(state, len, &policy, 0, LIMIT); /* a ring that is full */
		for (size_t cut = 1; cut < len; cut++) {
			assert_int_equal(sluice_peek(state, cut, &policy, 0, 1, &decision), SLUICE_EFORMAT);
			assert_int_equal(sluice_take(state, cut, &policy, 0, 1, &decision), SLUICE_EFORMAT);
			assert_int_equal(sluice_refund(state, cut, &policy, 0, 1, 0, &decision), SLUICE_EFORMAT);
			/* What is malformed is replaced by an empty state. */
			assert_int_equal(sluice_state_move(moved, len, state, cut, &policy), SLUICE_EFORMAT);
			assert_allowed(must_take(moved, len, &policy, 0, LIMIT), 0);
			assert_true(sluice_state_room(state, cut, &policy, 0, 1) <= len);
		}
		for (size_t more = len; more < sizeof state; more++)
			assert_false(must_peek(state, more, &policy, 0, 1).allowed); /* what follows is ignored */
	}
}

struct damage {
	int algorithm; /* 0: every one */
	size_t offset;
	size_t bytes;
	uint64_t value;
};

static const struct damage damages[] = {
	{ 0, 0, 1, 0 },                                          /* format */
	{ 0, 0, 1, 2 },                                          /* format to come */
	{ 0, 1, 1, 0 },                                          /* algorithm */
	{ 0, 1, 1, 5 },                                          /* algorithm */
	{ 0, 1, 1, 255 },                                        /* algorithm */
	{ 0, 4, 8, SLUICE_TIME_MAX_US + 1 },                     /* newest */
	{ 0, 4, 8, UINT64_MAX },                                 /* newest */
	{ SLUICE_SLIDING_LOG, 2, 2, 0 },                         /* tick */
	{ SLUICE_SLIDING_COUNTER, 2, 2, 1 },                     /* tick where there is none */
	{ SLUICE_FIXED_WINDOW, 2, 2, 1 },                        /* the same */
	{ SLUICE_TOKEN_BUCKET, 2, 2, 1 },                        /* the same */
	{ SLUICE_SLIDING_LOG, 12, 4, LIMIT },                    /* head at the capacity */
	{ SLUICE_SLIDING_LOG, 12, 4, UINT32_MAX },               /* head */
	{ SLUICE_SLIDING_LOG, 16, 4, LIMIT + 1 },                /* count above the capacity */
	{ SLUICE_SLIDING_LOG, 16, 4, UINT32_MAX },               /* count */
	{ SLUICE_SLIDING_LOG, 20, 4, 0 },                        /* capacity */
	{ SLUICE_SLIDING_LOG, 20, 4, SLUICE_LIMIT_MAX + 1 },     /* capacity */
	{ SLUICE_SLIDING_COUNTER, 12, 4, SLUICE_LIMIT_MAX + 1 }, /* units of now */
	{ SLUICE_SLIDING_COUNTER, 16, 4, UINT32_MAX },           /* units before */
	{ SLUICE_SLIDING_COUNTER, 20, 8, 50 * SECOND + 1 },      /* start after the newest */
	{ SLUICE_SLIDING_COUNTER, 20, 8, UINT64_MAX },           /* start */
	{ SLUICE_FIXED_WINDOW, 12, 4, SLUICE_LIMIT_MAX + 1 },    /* units */
	{ SLUICE_FIXED_WINDOW, 16, 8, 50 * SECOND + 1 },         /* start after the newest */
	{ SLUICE_TOKEN_BUCKET, 12, 4, 0 },                       /* drain */
	{ SLUICE_TOKEN_BUCKET, 12, 4, SLUICE_LIMIT_MAX + 1 },    /* drain */
	{ SLUICE_TOKEN_BUCKET, 16, 8, EXACT_MAX },               /* debt */
	{ SLUICE_TOKEN_BUCKET, 16, 8, UINT64_MAX },              /* debt */
};

static void expect_malformed(int algorithm, const struct damage *damage)
{
	struct sluice_policy policy = policy_number(algorithm);
	struct sluice_decision decision;
	uint8_t state[64], before[64], moved[64];
	size_t len = fresh(state, &policy);

	must_take(state, len, &policy, 50 * SECOND, 3);
	for (size_t i = 0; i < damage->bytes; i++)
		state[damage->offset + i] = (uint8_t)(damage->value >> 8 * i);
	memcpy(before, state, len);
	if (sluice_peek(state, len, &policy, 50 * SECOND, 1, &decision) != SLUICE_EFORMAT)
		fail_msg("%s with %llu at %zu is taken for a state", sluice_algorithm_name(policy.algorithm),
		         (unsigned long long)damage->value, damage->offset);
	assert_int_equal(sluice_take(state, len, &policy, 50 * SECOND, 1, &decision), SLUICE_EFORMAT);
	assert_int_equal(sluice_refund(state, len, &policy, 50 * SECOND, 1, 50 * SECOND, NULL), SLUICE_EFORMAT);
	assert_memory_equal(state, before, len);
	assert_int_equal(sluice_state_room(state, len, &policy, 50 * SECOND, 1), len);
	assert_int_equal(sluice_state_move(moved, len, state, len, &policy), SLUICE_EFORMAT);
	assert_allowed(must_peek(moved, len, &policy, 0, 1), LIMIT);
}

static void test_malformed(void **context)
{
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		for (int algorithm = 1; algorithm <= 4; algorithm++) {
			if (damages[i].algorithm == 0 || damages[i].algorithm == algorithm)
				expect_malformed(algorithm, &damages[i]);
		}
	}
}

static void test_move_too_small(void **context)
{
	for (int i = 1; i <= 4; i++) {
		struct sluice_policy policy = policy_number(i);
		uint8_t state[64], moved[64], before[64];
		size_t len = fresh(state, &policy);

		must_take(state, len, &policy, 0, LIMIT);
		memset(moved, 7, sizeof moved);
		memcpy(before, moved, sizeof moved);
		for (size_t to_len = 0; to_len < sluice_state_compact(&policy); to_len++)
			assert_int_equal(sluice_state_move(moved, to_len, state, len, &policy), SLUICE_EROOM);
		assert_memory_equal(moved, before, sizeof moved);
		assert_int_equal(sluice_state_move(moved, sizeof moved, state, len, &policy), SLUICE_OK);
		assert_false(must_peek(moved, sizeof moved, &policy, 0, 1).allowed);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_denied_changes_nothing),
		cmocka_unit_test(test_clock_steps_back),
		cmocka_unit_test(test_end_of_time),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_move_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
