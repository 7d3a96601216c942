/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ops.h: short ways to ask a store, for tests. Leaves out: checks; include cmocka.h first.
 */
#ifndef SLUICE_STORE_TEST_OPS_H
#define SLUICE_STORE_TEST_OPS_H

#include <stdio.h>
#include <string.h>

#include "store/store.h"

#define SECOND_US UINT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)

/* A clock that stands still until it is set. Context of the store: a uint64_t. */
static inline uint64_t test_clock(void *context)
{
	return __atomic_load_n((uint64_t *)context, __ATOMIC_RELAXED);
}

static inline struct sluice_policy test_policy(enum sluice_algorithm algorithm, uint32_t limit, uint64_t window_us)
{
	struct sluice_policy policy;

	assert_int_equal(sluice_policy_init(&policy, algorithm, limit, window_us, 0, NULL), SLUICE_OK);
	return policy;
}

static inline struct store_op test_op(enum store_verb verb)
{
	return (struct store_op){ .verb = verb, .error = 99, .decider = STORE_BY_CLOSED };
}

/* The key must outlive the op. */
static inline void test_add(struct store_op *op, const char *key, const struct sluice_policy *policy, uint32_t cost)
{
	struct store_take *take = &op->takes[op->n++];

	take->policy = policy;
	take->key = key;
	take->key_len = (uint16_t)strlen(key);
	take->cost = cost;
	take->home = 77;
}

/* Submits an op of one key. */
static inline int test_one(struct store *store, struct store_op *op, enum store_verb verb, const char *key,
                           const struct sluice_policy *policy, uint32_t cost)
{
	*op = test_op(verb);
	test_add(op, key, policy, cost);
	return store_submit(store, op);
}

/* Takes 1. @return true when it was allowed. */
static inline bool test_take(struct store *store, const char *key, const struct sluice_policy *policy)
{
	struct store_op op;

	assert_int_equal(test_one(store, &op, STORE_TAKE, key, policy, 1), STORE_DONE);
	assert_int_equal(op.allowed, op.takes[0].decision.allowed);
	return op.allowed;
}

/* @return what is left of the key's quota. */
static inline uint32_t test_remaining(struct store *store, const char *key, const struct sluice_policy *policy)
{
	struct store_op op;

	assert_int_equal(test_one(store, &op, STORE_PEEK, key, policy, 1), STORE_DONE);
	return op.takes[0].decision.remaining;
}

static inline struct store_stats test_stats(struct store *store)
{
	struct store_stats stats;

	store_stats(store, &stats);
	return stats;
}

/* Lets the store tidy up until it holds no more than `keys`; fails when that does not happen. */
static inline void test_tend_until(struct store *store, uint64_t keys)
{
	for (int i = 0; i < 10000 && test_stats(store).keys > keys; i++)
		store_tend(store);
	assert_true(test_stats(store).keys <= keys);
}

/* A small random generator (Marsaglia, xorshift64). */
static inline uint64_t test_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#endif
