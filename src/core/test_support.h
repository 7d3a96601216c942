/* SPDX-License-Identifier: Apache-2.0 */
/* test_support.h: what the unit tests of the algorithms share. */
#ifndef SLUICE_CORE_TEST_SUPPORT_H
#define SLUICE_CORE_TEST_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/state.h"

#define MS UINT64_C(1000)
#define SECOND (1000 * MS)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

static inline struct sluice_policy policy_of(enum sluice_algorithm algorithm, uint32_t limit, uint64_t window_us)
{
	struct sluice_policy policy;
	const char *why = NULL;

	if (sluice_policy_init(&policy, algorithm, limit, window_us, 0, &why) != SLUICE_OK)
		fail_msg("%s", why);
	return policy;
}

/* A take that must be decided, whatever the decision. */
static inline struct sluice_decision must_take(void *state, size_t len, const struct sluice_policy *policy,
                                               uint64_t now_us, uint32_t cost)
{
	struct sluice_decision decision;

	assert_int_equal(sluice_take(state, len, policy, now_us, cost, &decision), SLUICE_OK);
	return decision;
}

static inline struct sluice_decision must_peek(const void *state, size_t len, const struct sluice_policy *policy,
                                               uint64_t now_us, uint32_t cost)
{
	struct sluice_decision decision;

	assert_int_equal(sluice_peek(state, len, policy, now_us, cost, &decision), SLUICE_OK);
	return decision;
}

#define assert_allowed(decision, remaining_)                                                                           \
	do {                                                                                                           \
		struct sluice_decision decision_ = (decision);                                                         \
		assert_true(decision_.allowed);                                                                        \
		assert_int_equal(decision_.remaining, remaining_);                                                     \
		assert_int_equal(decision_.retry_after_us, 0);                                                         \
	} while (0)

#define assert_denied(decision, remaining_, retry_)                                                                    \
	do {                                                                                                           \
		struct sluice_decision decision_ = (decision);                                                         \
		assert_false(decision_.allowed);                                                                       \
		assert_int_equal(decision_.remaining, remaining_);                                                     \
		assert_int_equal(decision_.retry_after_us, retry_);                                                    \
	} while (0)

#endif
