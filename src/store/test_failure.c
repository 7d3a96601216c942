/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of failure.h: each policy, over a store that refuses, one that fails later, and one that is full. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "store/failure.h"
#include "store/memory.h"
#include "store/test_ops.h"

static uint64_t now_us = 1000 * SECOND_US;

/* A store elsewhere: answers as it is told to, at once or later, and counts what it is asked. */
struct remote {
	struct store store;
	int submit_rc;
	int later_error; /* of a pending op */
	bool is_ready;
	struct store_op *pending;
	int asked[STORE_RESET + 1];
	int tended, closed;
};

static int remote_submit(struct store *store, struct store_op *op)
{
	struct remote *remote = (struct remote *)store;

	remote->asked[op->verb]++;
	if (remote->submit_rc == STORE_PENDING)
		remote->pending = op;
	op->allowed = true;
	return remote->submit_rc;
}

static void remote_tend(struct store *store)
{
	((struct remote *)store)->tended++;
}

static void remote_stats(struct store *store, struct store_stats *out)
{
	*out = (struct store_stats){ .keys = 1, .bytes = 2, .refused = 3, .expired = 4, .errors = 5 };
}

static bool remote_ready(struct store *store)
{
	return ((struct remote *)store)->is_ready;
}

static void remote_close(struct store *store)
{
	((struct remote *)store)->closed++;
}

static const struct store_class remote_class = {
	.name = "remote",
	.submit = remote_submit,
	.tend = remote_tend,
	.stats = remote_stats,
	.ready = remote_ready,
	.close = remote_close,
};

static void remote_finish(struct remote *remote)
{
	struct store_op *op = remote->pending;

	assert_non_null(op);
	remote->pending = NULL;
	op->error = remote->later_error;
	op->done(op);
}

static struct store *open_over(struct store *inner, enum failure_policy policy)
{
	const struct failure_config config = {
		.policy = policy,
		.local_max_keys = 100,
		.shared_states = 2,
		.now_us = test_clock,
		.context = &now_us,
	};
	struct store *store = failure_store_open(inner, &config);

	assert_non_null(store);
	return store;
}

static struct store *open_memory(uint64_t max_keys)
{
	const struct memory_store_config config = { .max_keys = max_keys, .now_us = test_clock, .context = &now_us };
	struct store *store = memory_store_open(&config);

	assert_non_null(store);
	return store;
}

static int done_calls;

static void on_done(struct store_op *op)
{
	done_calls++;
}

static const enum failure_policy policies[] = { FAILURE_LOCAL, FAILURE_OPEN, FAILURE_CLOSED };
static const enum store_decider deciders[] = { STORE_BY_LOCAL, STORE_BY_OPEN, STORE_BY_CLOSED };

static void check_decision(const struct store_op *op, size_t policy, int error)
{
	const struct sluice_decision *decision = &op->takes[0].decision;

	assert_int_equal(op->decider, deciders[policy]);
	assert_int_equal(op->error, error);
	assert_int_equal(op->allowed, policies[policy] != FAILURE_CLOSED);
	assert_int_equal(decision->allowed, op->allowed);
	assert_int_equal(decision->limit, 10);
	if (policies[policy] == FAILURE_CLOSED) {
		assert_int_equal(decision->remaining, 0);
		assert_int_equal(decision->retry_after_us, SECOND_US);
	} else {
		assert_int_equal(decision->retry_after_us, 0);
		assert_int_equal(decision->remaining,
		                 policies[policy] == FAILURE_LOCAL && op->verb == STORE_TAKE ? 9 : 10);
	}
}

/* Refused at once, and failed later. */
static void each_policy_decides(void **state)
{
	static const int errors[] = { -ETIMEDOUT, -ECONNREFUSED, -ENOSPC, -ENOMEM, -EIO };
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);

	for (size_t p = 0; p < 3; p++)
		for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
			for (int later = 0; later < 2; later++) {
				struct remote remote = { .store.class = &remote_class };
				struct store *store = open_over(&remote.store, policies[p]);
				struct store_op op;

				remote.submit_rc = later ? STORE_PENDING : errors[e];
				remote.later_error = errors[e];
				for (int verb = STORE_TAKE; verb <= STORE_PEEK; verb++) {
					op = test_op((enum store_verb)verb);
					op.done = on_done;
					done_calls = 0;
					test_add(&op, verb == STORE_TAKE ? "a:{1}" : "a:{2}", &policy, 1);
					assert_int_equal(store_submit(store, &op), later ? STORE_PENDING : STORE_DONE);
					assert_int_equal(done_calls, 0);
					if (later)
						remote_finish(&remote);
					assert_int_equal(done_calls, later);
					assert_ptr_equal(op.done, on_done);
					check_decision(&op, p, errors[e]);
				}
				store_close(store);
				assert_int_equal(remote.closed, 1);
			}
}

static void a_store_that_answers_is_not_overruled(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);

	for (size_t p = 0; p < 3; p++) {
		struct remote remote = { .store.class = &remote_class };
		struct store *store = open_over(&remote.store, policies[p]);
		struct store_op op;

		for (int later = 0; later < 2; later++) {
			remote.submit_rc = later ? STORE_PENDING : STORE_DONE;
			op = test_op(STORE_TAKE);
			op.done = on_done;
			done_calls = 0;
			test_add(&op, "a:{1}", &policy, 1);
			assert_int_equal(store_submit(store, &op), remote.submit_rc);
			if (later)
				remote_finish(&remote);
			assert_int_equal(done_calls, later);
			assert_true(op.allowed);
			assert_int_equal(op.decider, STORE_BY_STORE);
			assert_int_equal(op.error, 0);
		}
		/* What no store could decide is nobody's to decide. */
		remote.submit_rc = -EINVAL;
		assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{1}", &policy, 1), -EINVAL);
		store_close(store);
	}
}

static void local_enforces_the_limit(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct remote remote = { .store.class = &remote_class, .submit_rc = -ETIMEDOUT };
	struct store *store = open_over(&remote.store, FAILURE_LOCAL);
	char key[32];
	int all = 0;

	for (int i = 0; i < 10; i++)
		assert_true(test_take(store, "a:{1}", &policy));
	assert_false(test_take(store, "a:{1}", &policy));
	/* A hundred keys find room, all others share two states. */
	for (int i = 0; i < 1000; i++)
		for (int n = 0; n < 11; n++) {
			snprintf(key, sizeof key, "b:{%d}", i);
			all += test_take(store, key, &policy);
		}
	assert_int_equal(all, 99 * 10 + 2 * 10);
	assert_int_equal(test_stats(store).keys, 1 + 100 + 2);
	assert_int_equal(test_stats(store).refused, 3 + (1000 - 99) * 11);
	assert_int_equal(test_stats(store).errors, 5);

	now_us += MINUTE_US + 3 * SECOND_US;
	test_tend_until(store, 1);
	assert_true(remote.tended > 0);
	store_close(store);
}

static void the_limit_is_divided_among_servers(void **state)
{
	static const struct {
		uint32_t limit, servers, part;
	} cases[] = { { 10, 1, 10 }, { 10, 3, 3 }, { 10, 10, 1 }, { 10, 11, 1 }, { 10, 0, 10 }, { 1, UINT32_MAX, 1 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int algorithm = SLUICE_SLIDING_LOG; algorithm <= SLUICE_TOKEN_BUCKET; algorithm++) {
			struct sluice_policy policy =
				test_policy((enum sluice_algorithm)algorithm, cases[i].limit, MINUTE_US);
			struct remote remote = { .store.class = &remote_class, .submit_rc = -ETIMEDOUT };
			struct store *store = open_over(&remote.store, FAILURE_LOCAL);
			struct store_op op;

			failure_store_set_servers(store, cases[i].servers);
			for (uint32_t n = 0; n < cases[i].part; n++)
				assert_true(test_take(store, "a:{1}", &policy));
			assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{1}", &policy, 1), STORE_DONE);
			assert_false(op.allowed);
			assert_ptr_equal(op.takes[0].policy, &policy);
			assert_int_equal(op.takes[0].decision.limit, cases[i].part);
			store_close(store);
		}
}

/* A refund goes to whoever decided, and to nobody else. */
static void refunds_find_their_store(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);

	for (size_t p = 0; p < 3; p++) {
		struct remote remote = { .store.class = &remote_class, .submit_rc = -ETIMEDOUT };
		struct store *store = open_over(&remote.store, policies[p]);
		struct store_op op;

		assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{1}", &policy, 4), STORE_DONE);
		op.verb = STORE_REFUND;
		remote.submit_rc = STORE_DONE;
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_int_equal(remote.asked[STORE_REFUND], 0);
		if (policies[p] == FAILURE_LOCAL)
			assert_int_equal(op.takes[0].decision.remaining, 10);

		assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{1}", &policy, 4), STORE_DONE);
		op.verb = STORE_REFUND;
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_int_equal(remote.asked[STORE_REFUND], 1);
		remote.submit_rc = -ETIMEDOUT;
		assert_int_equal(store_submit(store, &op), -ETIMEDOUT);
		store_close(store);
	}
}

static void a_reset_reaches_both(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote = { .store.class = &remote_class, .submit_rc = -ETIMEDOUT };
	struct store *store = open_over(&remote.store, FAILURE_LOCAL);
	struct store_op op;

	assert_true(test_take(store, "a:{1}", &policy));
	assert_false(test_take(store, "a:{1}", &policy));
	assert_int_equal(test_one(store, &op, STORE_RESET, "a:{1}", NULL, 0), -ETIMEDOUT);
	assert_true(test_take(store, "a:{1}", &policy));
	remote.submit_rc = STORE_PENDING;
	op.done = on_done;
	done_calls = 0;
	assert_int_equal(store_submit(store, &op), STORE_PENDING);
	remote.later_error = -EIO;
	remote_finish(&remote);
	assert_int_equal(done_calls, 1);
	assert_int_equal(op.error, -EIO); /* told, not decided */
	assert_int_equal(remote.asked[STORE_RESET], 2);
	assert_int_equal(test_one(store, &op, STORE_RESET, "", NULL, 0), -EINVAL);
	store_close(store);
}

static void readiness_and_figures_are_the_inner_store_s(void **state)
{
	struct remote remote = { .store.class = &remote_class, .is_ready = true };
	struct store *store = open_over(&remote.store, FAILURE_OPEN);

	assert_true(store_ready(store));
	remote.is_ready = false;
	assert_false(store_ready(store));
	assert_int_equal(test_stats(store).keys, 1);
	assert_int_equal(test_stats(store).errors, 5);
	store_tend(store);
	assert_int_equal(remote.tended, 1);
	store_close(store);
}

/* A full in-process store: who is in it is held to its limit under every policy, alone and beside a new key. */
static void a_full_store_forgets_nobody(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);

	for (size_t p = 0; p < 3; p++) {
		struct store *store = open_over(open_memory(50), policies[p]);
		int together = 0;
		char key[32];
		struct store_op op;

		for (int i = 0; i < 8; i++)
			assert_true(test_take(store, "client:{1}", &policy));
		for (int i = 0; i < 20000; i++) {
			snprintf(key, sizeof key, "flood:{%d}", i);
			assert_int_equal(test_one(store, &op, STORE_TAKE, key, &policy, 1), STORE_DONE);
			if (i < 49)
				assert_int_equal(op.decider, STORE_BY_STORE);
			else
				assert_int_equal(op.decider, deciders[p]);
			assert_int_equal(op.error, i < 49 ? 0 : -ENOSPC);
		}
		assert_int_equal(test_stats(store).refused, 20000 - 49);
		for (int i = 0; i < 100; i++) {
			op = test_op(STORE_TAKE);
			snprintf(key, sizeof key, "other:{%d}", i);
			test_add(&op, key, &policy, 1);
			test_add(&op, "client:{1}", &policy, 1);
			assert_int_equal(store_submit(store, &op), STORE_DONE);
			together += op.allowed;
		}
		assert_int_equal(together, policies[p] == FAILURE_CLOSED ? 0 : 2);
		while (test_take(store, "client:{1}", &policy))
			together++;
		assert_int_equal(together, 2);
		store_close(store);
	}
}

/* What was decided in a full store is given back there. */
static void refunds_in_a_full_store(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);

	for (size_t p = 0; p < 2; p++) {
		struct store *store = open_over(open_memory(1), policies[p]);
		struct store_op op;

		assert_true(test_take(store, "old:{1}", &policy));
		now_us++;
		op = test_op(STORE_TAKE);
		test_add(&op, "new:{1}", &policy, 4);
		test_add(&op, "old:{1}", &policy, 5);
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_true(op.allowed);
		assert_int_equal(op.decider, deciders[p]);
		assert_int_equal(test_remaining(store, "new:{1}", &policy), policies[p] == FAILURE_LOCAL ? 6 : 10);
		op.verb = STORE_REFUND;
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_int_equal(test_remaining(store, "new:{1}", &policy), 10);
		assert_int_equal(test_remaining(store, "old:{1}", &policy), 9);
		store_close(store);
	}
}

static void bad_configurations_leave_the_inner_store(void **state)
{
	static const struct failure_config bad[] = {
		{ .policy = FAILURE_LOCAL, .local_max_keys = 0, .shared_states = 1 },
		{ .policy = FAILURE_LOCAL, .local_max_keys = 10, .shared_states = 0 },
	};
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct store *inner = open_memory(10);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		assert_null(failure_store_open(inner, &bad[i]));
		assert_int_equal(errno, EINVAL);
	}
	assert_true(test_take(inner, "a", &policy));
	store_close(inner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_policy_decides),
		cmocka_unit_test(a_store_that_answers_is_not_overruled),
		cmocka_unit_test(local_enforces_the_limit),
		cmocka_unit_test(the_limit_is_divided_among_servers),
		cmocka_unit_test(refunds_find_their_store),
		cmocka_unit_test(a_reset_reaches_both),
		cmocka_unit_test(readiness_and_figures_are_the_inner_store_s),
		cmocka_unit_test(a_full_store_forgets_nobody),
		cmocka_unit_test(refunds_in_a_full_store),
		cmocka_unit_test(bad_configurations_leave_the_inner_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
