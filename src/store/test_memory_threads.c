/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of memory.h under many threads: no unit too many, none too few. Worth most under ThreadSanitizer. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "store/memory.h"
#include "store/test_ops.h"

/* cmocka's checks may only fail on the main thread, so threads count what went wrong. */
enum { THREADS = 4, KEYS_MAX = 4000 };

struct shared {
	struct store *store;
	struct sluice_policy policy;
	int n_keys;
	char keys[KEYS_MAX][24];
	uint64_t admitted[KEYS_MAX]; /* atomic */
	uint64_t wrong;              /* atomic */
	uint64_t now_us;             /* atomic */
	uint64_t running;            /* atomic */
};

struct worker {
	pthread_t thread;
	struct shared *shared;
	uint64_t seed;
};

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static struct shared *open_shared(uint64_t max_keys, enum memory_overflow overflow, int n_keys, uint32_t limit)
{
	struct shared *shared = calloc(1, sizeof *shared);
	const struct memory_store_config config = {
		.max_keys = max_keys,
		.overflow = overflow,
		.shared_states = 3,
		.now_us = test_clock,
		.context = &shared->now_us,
	};

	assert_non_null(shared);
	shared->now_us = 1000 * SECOND_US;
	shared->policy = test_policy(SLUICE_SLIDING_LOG, limit, MINUTE_US);
	shared->n_keys = n_keys;
	for (int i = 0; i < n_keys; i++)
		snprintf(shared->keys[i], sizeof shared->keys[i], "per-client:{%d}", i);
	shared->store = memory_store_open(&config);
	assert_non_null(shared->store);
	return shared;
}

static void close_shared(struct shared *shared)
{
	store_close(shared->store);
	free(shared);
}

static void run(struct shared *shared, void *(*work)(void *))
{
	struct worker workers[THREADS];

	shared->running = THREADS;
	for (int i = 0; i < THREADS; i++) {
		workers[i].shared = shared;
		workers[i].seed = (uint64_t)i * 7919 + 1;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	assert_int_equal(shared->wrong, 0);
}

/* Takes of 1 to `most` different keys, neighbours in a random direction, so that threads want the same locks in
 * different orders. */
static void take_some(struct worker *worker, int most)
{
	struct shared *shared = worker->shared;
	struct store_op op = test_op(STORE_TAKE);
	int n = 1 + (int)(test_random(&worker->seed) % (unsigned)most);
	int first = (int)(test_random(&worker->seed) % (unsigned)shared->n_keys);
	int step = test_random(&worker->seed) % 2 == 0 ? 1 : shared->n_keys - 1;
	int rc;

	for (int i = 0; i < n; i++)
		test_add(&op, shared->keys[(first + i * step) % shared->n_keys], &shared->policy, 1);
	rc = store_submit(shared->store, &op);
	if (rc != STORE_DONE) {
		add(&shared->wrong, 1);
		return;
	}
	for (int i = 0; i < n && op.allowed; i++)
		add(&shared->admitted[(first + i * step) % shared->n_keys], 1);
}

static void *hammer_few(void *arg)
{
	struct worker *worker = arg;

	for (int i = 0; i < 20000; i++)
		take_some(worker, 4);
	return NULL;
}

static void few_keys_get_exactly_their_limit(void **state)
{
	struct shared *shared = open_shared(100, MEMORY_REFUSE, 6, 2000);

	run(shared, hammer_few);
	for (int i = 0; i < shared->n_keys; i++) {
		assert_int_equal(test_remaining(shared->store, shared->keys[i], &shared->policy) + shared->admitted[i],
		                 2000);
		while (test_take(shared->store, shared->keys[i], &shared->policy))
			shared->admitted[i]++;
		assert_int_equal(shared->admitted[i], 2000);
	}
	close_shared(shared);
}

static void *hammer_all(void *arg)
{
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	struct store_op op;

	for (int i = 0; i < 2 * shared->n_keys; i++)
		take_some(worker, 1);
	/* Every key comes to its limit: from different ends, so that threads meet. */
	for (int i = 0; i < shared->n_keys; i++) {
		int k = worker->seed % 2 == 0 ? i : shared->n_keys - 1 - i;

		for (int n = 0; n < 4; n++) {
			op = test_op(STORE_TAKE);
			test_add(&op, shared->keys[k], &shared->policy, 1);
			if (store_submit(shared->store, &op) != STORE_DONE)
				add(&shared->wrong, 1);
			else if (op.allowed)
				add(&shared->admitted[k], 1);
		}
	}
	return NULL;
}

static void many_keys_get_exactly_their_limit(void **state)
{
	struct shared *shared = open_shared(KEYS_MAX, MEMORY_REFUSE, KEYS_MAX, 3);

	run(shared, hammer_all);
	for (int i = 0; i < shared->n_keys; i++)
		assert_int_equal(shared->admitted[i], 3);
	assert_int_equal(test_stats(shared->store).keys, KEYS_MAX);
	assert_int_equal(test_stats(shared->store).refused, 0);
	close_shared(shared);
}

/* Half of the keys find no room: those are bounded too, by themselves and all together. */
static void full_store_bounds_everybody(void **state)
{
	struct shared *shared = open_shared(KEYS_MAX / 2, MEMORY_SHARE, KEYS_MAX, 3);
	uint64_t all = 0;

	run(shared, hammer_all);
	for (int i = 0; i < shared->n_keys; i++) {
		assert_true(shared->admitted[i] <= 3);
		all += shared->admitted[i];
	}
	/* Every key of its own, and three shared states. */
	assert_int_equal(all, 3 * (KEYS_MAX / 2) + 3 * 3);
	assert_int_equal(test_stats(shared->store).keys, KEYS_MAX / 2 + 3);
	close_shared(shared);
}

/* Everything at once while time goes on: keys come, expire, are refunded, reset, looked at. */
static void *churn(void *arg)
{
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	struct store_op op;

	for (int i = 0; i < 30000; i++) {
		uint64_t random = test_random(&worker->seed);
		uint64_t left = test_stats(shared->store).keys;
		int rc;

		op = test_op(random % 50 == 0 ? STORE_RESET : random % 10 == 0 ? STORE_PEEK : STORE_TAKE);
		for (int k = 0; k < (int)(1 + (random >> 8) % 3); k++)
			test_add(&op, shared->keys[((random >> 16) + (unsigned)k) % KEYS_MAX], &shared->policy,
			         1 + (random >> 40) % 30);
		rc = store_submit(shared->store, &op);
		if (rc == STORE_DONE && op.verb == STORE_TAKE && op.allowed && random % 3 == 0) {
			op.verb = STORE_REFUND;
			rc = store_submit(shared->store, &op);
		}
		if (rc != STORE_DONE && rc != -ENOSPC)
			add(&shared->wrong, 1);
		if (left > 1000 + 3)
			add(&shared->wrong, 1);
		if (i % 16 == 0)
			store_tend(shared->store);
		add(&shared->now_us, random % 100000);
	}
	return NULL;
}

static void coming_and_going_keeps_the_bound(void **state)
{
	struct shared *shared = open_shared(1000, MEMORY_SHARE, KEYS_MAX, 100);
	struct store_stats stats;

	run(shared, churn);
	stats = test_stats(shared->store);
	assert_true(stats.expired > 1000);
	assert_true(stats.refused > 0);
	assert_int_equal(stats.errors, 0);
	add(&shared->now_us, MINUTE_US + 3 * SECOND_US);
	test_tend_until(shared->store, 0);
	close_shared(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_keys_get_exactly_their_limit),
		cmocka_unit_test(many_keys_get_exactly_their_limit),
		cmocka_unit_test(full_store_bounds_everybody),
		cmocka_unit_test(coming_and_going_keeps_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
