/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of memory.h and failure.h without memory: whichever allocation fails, nothing is changed and nothing is lost.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>

#include "store/failure.h"
#include "store/memory.h"
#include "store/test_alloc.h"
#include "store/test_ops.h"

static uint64_t now_us = 1000 * SECOND_US;

static struct store *open_memory(uint64_t max_keys, enum memory_overflow overflow)
{
	const struct memory_store_config config = {
		.max_keys = max_keys,
		.overflow = overflow,
		.shared_states = 2,
		.now_us = test_clock,
		.context = &now_us,
	};

	return memory_store_open(&config);
}

static struct store *open_failure(uint64_t max_keys, enum memory_overflow unused)
{
	const struct failure_config config = {
		.policy = FAILURE_LOCAL,
		.local_max_keys = max_keys,
		.shared_states = 2,
		.now_us = test_clock,
		.context = &now_us,
	};
	struct store *inner = open_memory(max_keys, MEMORY_REFUSE);
	struct store *store;

	if (inner == NULL)
		return NULL;
	store = failure_store_open(inner, &config);
	if (store == NULL)
		store_close(inner); /* still ours */
	return store;
}

static void opening_fails_cleanly(void **state)
{
	static const struct {
		struct store *(*open)(uint64_t max_keys, enum memory_overflow overflow);
		enum memory_overflow overflow;
		int allocations; /* at least */
	} cases[] = {
		{ open_memory, MEMORY_REFUSE, 5 },
		{ open_memory, MEMORY_SHARE, 10 },
		{ open_failure, MEMORY_REFUSE, 20 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store *store = NULL;
		int n;

		for (n = 1; store == NULL; n++) {
			test_alloc_fail((uint64_t)n);
			errno = 0;
			store = cases[i].open(100, cases[i].overflow);
			if (store == NULL)
				assert_int_equal(errno, ENOMEM);
			assert_int_equal(store == NULL, test_alloc_failed());
		}
		test_alloc_fail(0);
		assert_true(n > cases[i].allocations);
		store_close(store);
	}
}

struct op_case {
	uint64_t max_keys;
	enum memory_overflow overflow;
	int before;     /* keys `old:{0}` and so on that are there already */
	uint32_t taken; /* from each of them */
	int old, fresh; /* in the op that is tried */
	uint32_t cost;
	int allocations; /* that it needs at least */
};

static const struct op_case op_cases[] = {
	{ 100, MEMORY_REFUSE, 0, 0, 0, 1, 1, 2 },     /* the first key: segment and table */
	{ 100, MEMORY_REFUSE, 0, 0, 0, 8, 1, 8 },     /* eight, each in a shard of its own */
	{ 100, MEMORY_REFUSE, 0, 0, 0, 8, 500, 16 },  /* with large states */
	{ 100, MEMORY_REFUSE, 4, 250, 4, 0, 20, 4 },  /* four states grow out of their entries */
	{ 100, MEMORY_REFUSE, 4, 300, 4, 4, 400, 8 }, /* grow again, and new ones */
	{ 2, MEMORY_SHARE, 2, 250, 2, 2, 300, 4 },    /* two of their own, two shared */
	{ 3, MEMORY_SHARE, 2, 250, 2, 2, 300, 4 },    /* one of the new ones finds room */
};

/* Different limits, so that those which share do not share one state. */
static const char *const old_keys[] = { "a:{old}", "b:{old}", "c:{old}", "d:{old}" };
static const char *const new_keys[] = { "e:{1}", "f:{1}", "g:{1}", "h:{1}", "i:{1}", "j:{1}", "k:{1}", "l:{1}" };

static struct store *prepare(const struct op_case *c, struct store_op *op, const struct sluice_policy *policy)
{
	struct store *store = open_memory(c->max_keys, c->overflow);
	struct store_op one;

	assert_non_null(store);
	for (int i = 0; i < c->before; i++) {
		assert_int_equal(test_one(store, &one, STORE_TAKE, old_keys[i], policy, c->taken), STORE_DONE);
		assert_true(one.allowed);
	}
	*op = test_op(STORE_TAKE);
	for (int i = 0; i < c->fresh; i++)
		test_add(op, new_keys[i], policy, c->cost);
	for (int i = 0; i < c->old; i++)
		test_add(op, old_keys[i], policy, c->cost);
	return store;
}

static void an_op_without_memory_changes_nothing(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1000, MINUTE_US);

	for (size_t k = 0; k < sizeof op_cases / sizeof *op_cases; k++) {
		const struct op_case *c = &op_cases[k];
		int rc = -ENOMEM;
		int n;

		for (n = 1; rc != STORE_DONE; n++) {
			struct store_op op;
			struct store *store = prepare(c, &op, &policy);
			struct store_stats before = test_stats(store);

			test_alloc_fail((uint64_t)n);
			rc = store_submit(store, &op);
			assert_int_equal(rc, test_alloc_failed() ? -ENOMEM : STORE_DONE);
			test_alloc_fail(0);
			if (rc == -ENOMEM) {
				assert_int_equal(test_stats(store).keys, before.keys);
				assert_int_equal(test_stats(store).errors, 1);
				for (int i = 0; i < c->before; i++)
					assert_int_equal(test_remaining(store, old_keys[i], &policy), 1000 - c->taken);
				/* With memory again it goes as if nothing had happened. */
				assert_int_equal(store_submit(store, &op), STORE_DONE);
			}
			assert_true(op.allowed);
			for (int i = 0; i < c->old; i++)
				assert_int_equal(test_remaining(store, old_keys[i], &policy),
				                 1000 - c->taken - c->cost);
			for (int i = 0; i < c->fresh; i++)
				assert_int_equal(test_remaining(store, new_keys[i], &policy), 1000 - c->cost);
			store_close(store);
		}
		assert_true(n > c->allocations);
	}
}

/* In `local` it is the second store that decides; without memory there too, nothing passes. */
static void failure_policy_without_memory(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 3, MINUTE_US);
	struct store_op op;
	struct store *store;
	int local = 0;

	for (uint64_t n = 1; n <= 4; n++) {
		store = open_failure(100, MEMORY_REFUSE);
		test_alloc_fail(n);
		assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{1}", &policy, 1), STORE_DONE);
		assert_int_equal(op.decider == STORE_BY_LOCAL, test_alloc_failed());
		assert_int_equal(op.error, test_alloc_failed() ? -ENOMEM : 0);
		assert_true(op.allowed);
		local += op.decider == STORE_BY_LOCAL;
		test_alloc_fail(0);
		store_close(store);
	}
	assert_true(local >= 2);

	store = open_failure(100, MEMORY_REFUSE);
	test_alloc_fail_all(true);
	assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{1}", &policy, 1), STORE_DONE);
	test_alloc_fail_all(false);
	assert_int_equal(op.decider, STORE_BY_CLOSED);
	assert_int_equal(op.error, -ENOMEM);
	assert_false(op.allowed);
	assert_true(test_take(store, "a:{1}", &policy));
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening_fails_cleanly),
		cmocka_unit_test(an_op_without_memory_changes_nothing),
		cmocka_unit_test(failure_policy_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
