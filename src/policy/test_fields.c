/* SPDX-License-Identifier: Apache-2.0 */
/* test_fields.c: decisions as header fields. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "policy/fields.h"

#define SECOND UINT64_C(1000000)

static struct config_limit limit_of(const char *name, enum sluice_algorithm algorithm, uint32_t limit,
                                    uint64_t window_us, uint32_t burst)
{
	struct config_limit made = { .subject = SUBJECT_CLIENT_IP };

	snprintf(made.name, sizeof made.name, "%s", name);
	assert_int_equal(sluice_policy_init(&made.policy, algorithm, limit, window_us, burst, NULL), 0);
	return made;
}

static void policy_field(void **state)
{
	static const struct {
		const char *name;
		enum sluice_algorithm algorithm;
		uint32_t limit;
		uint64_t window_us;
		uint32_t burst;
		const char *text;
	} cases[] = {
		{ "per-client", SLUICE_SLIDING_LOG, 10, 60 * SECOND, 0, "\"per-client\";q=10;w=60" },
		{ "a", SLUICE_FIXED_WINDOW, 1, 1000, 0, "\"a\";q=1;w=1" }, /* never 0 */
		{ "a", SLUICE_FIXED_WINDOW, 1, SECOND, 0, "\"a\";q=1;w=1" },
		{ "a", SLUICE_FIXED_WINDOW, 1, SECOND + 1, 0, "\"a\";q=1;w=2" },
		{ "a", SLUICE_SLIDING_COUNTER, 16777216, SLUICE_WINDOW_MAX_US, 0, "\"a\";q=16777216;w=31622400" },
		{ "a", SLUICE_TOKEN_BUCKET, 10, 60 * SECOND, 100, "\"a\";q=10;w=60" }, /* the quota, not the burst */
		{ "abcdefghijklmnopqrstuvwxyz-0123", SLUICE_SLIDING_LOG, 1, SECOND, 0,
		  "\"abcdefghijklmnopqrstuvwxyz-0123\";q=1;w=1" },
	};
	char text[FIELDS_TEXT_MAX];

	assert_int_equal(fields_policy(NULL, 0, text), 0);
	assert_string_equal(text, "");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config_limit limit =
			limit_of(cases[i].name, cases[i].algorithm, cases[i].limit, cases[i].window_us, cases[i].burst);

		assert_int_equal(fields_policy(&limit, 1, text), strlen(cases[i].text));
		assert_string_equal(text, cases[i].text);
	}
}

struct take {
	bool allowed;
	uint32_t remaining;
	uint64_t retry_after_us, reset_after_us;
};

/* All limits are 10 in 60 s. */
static struct store_op op_of(const struct config_limit *limits, const struct take *takes, size_t n)
{
	struct store_op op = { .verb = STORE_TAKE, .n = (uint8_t)n, .allowed = true };

	for (size_t i = 0; i < n; i++) {
		op.takes[i] = (struct store_take){ .policy = &limits[i].policy, .cost = 1 };
		op.takes[i].decision = (struct sluice_decision){ .allowed = takes[i].allowed,
			                                         .remaining = takes[i].remaining,
			                                         .retry_after_us = takes[i].retry_after_us,
			                                         .reset_after_us = takes[i].reset_after_us };
		op.allowed = op.allowed && takes[i].allowed;
	}
	return op;
}

static void state_field(void **state)
{
	static const struct {
		struct take takes[2];
		size_t n;
		const char *text;
		uint64_t retry_after_s;
	} cases[] = {
		{ { { true, 9, 0, 60 * SECOND } }, 1, "\"a\";r=9;t=60", 1 },
		{ { { true, 0, 0, 1 } }, 1, "\"a\";r=0;t=1", 1 },
		{ { { true, 10, 0, 0 } }, 1, "\"a\";r=10;t=0", 1 },
		{ { { true, 4294967295u, 0, UINT64_C(31622400) * SECOND } }, 1, "\"a\";r=4294967295;t=31622400", 1 },
		{ { { false, 0, 1, 60 * SECOND } }, 1, "\"a\";r=0;t=1", 1 },
		{ { { false, 0, SECOND, 60 * SECOND } }, 1, "\"a\";r=0;t=1", 1 },
		{ { { false, 0, SECOND + 1, 60 * SECOND } }, 1, "\"a\";r=0;t=2", 2 },
		{ { { false, 3, 59 * SECOND, 60 * SECOND } }, 1, "\"a\";r=3;t=59", 59 },
		{ { { false, 0, 0, 60 * SECOND } }, 1, "\"a\";r=0;t=0", 1 }, /* Retry-After: 0 would be a hammer */
		{ { { false, 10, SLUICE_NEVER, 0 } }, 1, "\"a\";r=10;t=60", 60 },
		{ { { true, 9, 0, 60 * SECOND }, { true, 5, 0, 30 * SECOND } },
		  2,
		  "\"a\";r=9;t=60, \"b\";r=5;t=30",
		  1 },
		{ { { true, 9, 0, 60 * SECOND }, { false, 0, 5 * SECOND, 30 * SECOND } },
		  2,
		  "\"a\";r=9;t=60, \"b\";r=0;t=5",
		  5 },
		{ { { false, 0, 7 * SECOND, 60 * SECOND }, { false, 0, 5 * SECOND, 30 * SECOND } },
		  2,
		  "\"a\";r=0;t=7, \"b\";r=0;t=5",
		  7 },
	};
	const struct config_limit limits[] = { limit_of("a", SLUICE_SLIDING_LOG, 10, 60 * SECOND, 0),
		                               limit_of("b", SLUICE_SLIDING_LOG, 10, 60 * SECOND, 0) };
	char text[FIELDS_TEXT_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct store_op op = op_of(limits, cases[i].takes, cases[i].n);

		assert_int_equal(fields_state(limits, &op, text), strlen(cases[i].text));
		assert_string_equal(text, cases[i].text);
		assert_int_equal(fields_retry_after_s(&op), cases[i].retry_after_s);
	}
}

/* The longest that can be: it fits. */
static void the_longest_fields_fit(void **state)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyz-0123";
	struct config_limit limits[CONFIG_LIMITS_MAX];
	struct take takes[CONFIG_LIMITS_MAX];
	char text[FIELDS_TEXT_MAX];
	struct store_op op;

	for (size_t i = 0; i < CONFIG_LIMITS_MAX; i++) {
		limits[i] = limit_of(name, SLUICE_SLIDING_LOG, SLUICE_LIMIT_MAX, SLUICE_WINDOW_MAX_US, 0);
		/* More than any store can answer, save that NEVER stands for the window when denied. */
		takes[i] = (struct take){ true, UINT32_MAX, 0, UINT64_MAX };
	}
	op = op_of(limits, takes, CONFIG_LIMITS_MAX);
	assert_true(fields_policy(limits, CONFIG_LIMITS_MAX, text) < FIELDS_TEXT_MAX);
	assert_true(fields_state(limits, &op, text) < FIELDS_TEXT_MAX);
	assert_non_null(strstr(text, ";r=4294967295;t=18446744073710"));
}

/* What a token-bucket really answers: r counts what may pass at once, which its burst may put above q. */
static void bucket_with_a_burst(void **state)
{
	const struct config_limit limit = limit_of("a", SLUICE_TOKEN_BUCKET, 10, 60 * SECOND, 100);
	struct store_op op = { .n = 1 };
	unsigned char bucket[64] = { 0 };
	char text[FIELDS_TEXT_MAX];
	size_t len = sluice_state_max(&limit.policy);

	assert_true(len <= sizeof bucket);
	assert_int_equal(sluice_state_move(bucket, len, NULL, 0, &limit.policy), 0);
	op.takes[0].policy = &limit.policy;
	assert_int_equal(sluice_take(bucket, len, &limit.policy, SECOND, 1, &op.takes[0].decision), 0);
	fields_state(&limit, &op, text);
	assert_string_equal(text, "\"a\";r=99;t=6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_field),
		cmocka_unit_test(state_field),
		cmocka_unit_test(the_longest_fields_fit),
		cmocka_unit_test(bucket_with_a_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
