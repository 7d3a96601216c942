/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of memory.h at its bound: who is refused, who is held to a limit, what shared states count. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "store/memory.h"
#include "store/test_ops.h"

static uint64_t now_us;

static struct store *open_store(uint64_t max_keys, enum memory_overflow overflow, uint32_t shared_states)
{
	const struct memory_store_config config = {
		.max_keys = max_keys,
		.overflow = overflow,
		.shared_states = shared_states,
		.now_us = test_clock,
		.context = &now_us,
	};
	struct store *store = memory_store_open(&config);

	now_us = 1000 * SECOND_US;
	assert_non_null(store);
	return store;
}

/* Takes 1 for each of the keys `flood:{from}` up to `flood:{to - 1}`. @return how many were refused. */
static uint64_t flood(struct store *store, int from, int to, const struct sluice_policy *policy)
{
	uint64_t refused = 0;
	char key[32];

	for (int i = from; i < to; i++) {
		struct store_op op;
		int rc;

		snprintf(key, sizeof key, "flood:{%d}", i);
		rc = test_one(store, &op, STORE_TAKE, key, policy, 1);
		assert_true(rc == STORE_DONE || rc == -ENOSPC);
		refused += rc == -ENOSPC;
	}
	return refused;
}

static void a_flood_makes_nobody_forgotten(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct store *store = open_store(10000, MEMORY_REFUSE, 0);
	struct store_op op;

	for (int i = 0; i < 10; i++)
		assert_true(test_take(store, "client:{1}", &policy));
	assert_int_equal(flood(store, 0, 1000000, &policy), 1000000 - 9999);
	for (int i = 0; i < 1000; i++)
		store_tend(store);
	assert_int_equal(test_stats(store).keys, 10000);
	assert_int_equal(test_stats(store).refused, 1000000 - 9999);
	assert_int_equal(test_stats(store).expired + test_stats(store).errors, 0);
	assert_false(test_take(store, "client:{1}", &policy));

	/* Looking, giving back and resetting need no room, nor does what can't pass. */
	assert_int_equal(test_one(store, &op, STORE_PEEK, "new:{1}", &policy, 1), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(test_one(store, &op, STORE_TAKE, "new:{1}", &policy, 11), STORE_DONE);
	assert_false(op.allowed);
	assert_int_equal(test_one(store, &op, STORE_RESET, "flood:{7}", NULL, 0), STORE_DONE);
	assert_true(test_take(store, "new:{1}", &policy));
	assert_int_equal(flood(store, 7, 8, &policy), 1);
	store_close(store);
}

/* Without anybody tending, new keys find the room that expired ones leave: each refusal looks at some. */
static void expiry_makes_room(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct store *store = open_store(10000, MEMORY_REFUSE, 0);
	int in_a_row = 0;

	assert_int_equal(flood(store, 0, 10000, &policy), 0);
	now_us += MINUTE_US - 1;
	assert_int_equal(flood(store, 20000, 20500, &policy), 500);
	now_us += 3 * SECOND_US;
	assert_int_equal(flood(store, 30000, 39000, &policy), 0);
	/* The last that have expired may be anywhere: a refusal looks at 64 slots, and the next one goes on from there.
	 */
	for (int i = 40000; test_stats(store).expired < 10000; i++) {
		in_a_row = flood(store, i, i + 1, &policy) == 1 ? in_a_row + 1 : 0;
		assert_true(in_a_row <= 300); /* all slots there are, 64 at a time */
	}
	assert_true(test_stats(store).keys <= 10000);
	store_close(store);
}

static void one_new_key_refuses_the_whole_op(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 3, MINUTE_US);
	struct store *store = open_store(2, MEMORY_REFUSE, 0);
	struct store_op op = test_op(STORE_TAKE);

	assert_true(test_take(store, "a", &policy));
	test_add(&op, "a", &policy, 1);
	test_add(&op, "b", &policy, 1);
	test_add(&op, "c", &policy, 1); /* two new ones, room for one */
	assert_int_equal(store_submit(store, &op), -ENOSPC);
	assert_int_equal(test_stats(store).keys, 1);
	assert_int_equal(test_remaining(store, "a", &policy), 2);
	op.n = 2;
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(test_stats(store).refused, 1);

	/* A denial needs no room: it comes before the refusal. */
	op.takes[1] = op.takes[2];
	op.takes[0].cost = 2;
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_false(op.allowed);
	assert_int_equal(op.decider, STORE_BY_STORE);
	assert_int_equal(test_stats(store).refused, 1);
	store_close(store);
}

static void open_passes_what_is_new_only(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 3, MINUTE_US);
	struct store *store = open_store(1, MEMORY_OPEN, 0);
	struct store_op op, given;

	assert_true(test_take(store, "old:{1}", &policy));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(test_one(store, &op, STORE_TAKE, "new:{1}", &policy, 3), STORE_DONE);
		assert_true(op.allowed);
		assert_int_equal(op.decider, STORE_BY_OPEN);
		assert_int_equal(op.error, -ENOSPC);
		assert_int_equal(op.takes[0].home, STORE_HOME_NONE);
		assert_int_equal(op.takes[0].decision.remaining, 3);
	}
	for (int i = 0; i < 3; i++) {
		op = test_op(STORE_TAKE);
		test_add(&op, "new:{1}", &policy, 1);
		test_add(&op, "old:{1}", &policy, 1);
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_int_equal(op.allowed, i < 2); /* the old key has its limit all the same */
		assert_int_equal(op.decider, i < 2 ? STORE_BY_OPEN : STORE_BY_STORE);
		if (i == 1)
			given = op;
	}
	assert_int_equal(test_stats(store).refused, 22);
	given.verb = STORE_REFUND;
	assert_int_equal(store_submit(store, &given), STORE_DONE);
	/* Both were taken at one time of the clock; one is given back. */
	assert_int_equal(test_remaining(store, "old:{1}", &policy), 1);
	assert_int_equal(test_stats(store).keys, 1);
	store_close(store);
}

/* Many strangers on few states: none gets more than its limit, all together no more than limit times states. */
static void shared_states_bound_every_key_and_all(void **state)
{
	enum { STRANGERS = 500, SHARED = 4, LIMIT = 10 };
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, LIMIT, MINUTE_US);
	struct store *store = open_store(1, MEMORY_SHARE, SHARED);
	int got[STRANGERS] = { 0 }, all = 0;
	char key[32];
	struct store_op op;

	assert_true(test_take(store, "a:{own}", &policy));
	for (int round = 0; round < 12; round++)
		for (int i = 0; i < STRANGERS; i++) {
			snprintf(key, sizeof key, "a:{%d}", i);
			assert_int_equal(test_one(store, &op, STORE_TAKE, key, &policy, 1), STORE_DONE);
			assert_int_equal(op.decider, STORE_BY_LOCAL);
			assert_int_equal(op.error, -ENOSPC);
			assert_int_equal(op.takes[0].home, STORE_HOME_SHARED);
			got[i] += op.allowed;
			all += op.allowed;
		}
	for (int i = 0; i < STRANGERS; i++)
		assert_true(got[i] <= LIMIT);
	assert_int_equal(all, SHARED * LIMIT);
	/* Counted for each limit by itself, and apart from keys of their own. */
	assert_int_equal(test_remaining(store, "a:{own}", &policy), LIMIT - 1);
	assert_int_equal(test_one(store, &op, STORE_TAKE, "b:{0}", &policy, LIMIT), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(test_stats(store).keys, 1 + SHARED + 1);
	assert_int_equal(test_stats(store).refused, 12 * STRANGERS + 1);

	now_us += MINUTE_US + 3 * SECOND_US;
	test_tend_until(store, 0);
	assert_int_equal(test_stats(store).expired, 1 + SHARED + 1);
	store_close(store);
}

/* From the shared state to its own a key takes along what it has taken. */
static void a_key_never_gets_its_limit_twice(void **state)
{
	for (int algorithm = SLUICE_SLIDING_LOG; algorithm <= SLUICE_TOKEN_BUCKET; algorithm++) {
		struct sluice_policy policy = test_policy((enum sluice_algorithm)algorithm, 10, MINUTE_US);
		struct store *store = open_store(1, MEMORY_SHARE, 1);
		struct store_op op, taken;

		assert_true(test_take(store, "a:{first}", &policy));
		for (int i = 0; i < 4; i++)
			assert_true(test_take(store, "a:{late}", &policy));
		assert_int_equal(test_one(store, &taken, STORE_TAKE, "a:{late}", &policy, 2), STORE_DONE);
		assert_int_equal(taken.takes[0].decision.remaining, 4);
		assert_int_equal(test_one(store, &op, STORE_RESET, "a:{first}", NULL, 0), STORE_DONE);

		assert_int_equal(test_one(store, &op, STORE_PEEK, "a:{late}", &policy, 1), STORE_DONE);
		assert_int_equal(op.takes[0].decision.remaining, 4);
		assert_int_equal(test_one(store, &op, STORE_TAKE, "a:{late}", &policy, 1), STORE_DONE);
		assert_true(op.allowed);
		assert_int_equal(op.decider, STORE_BY_STORE);
		assert_int_equal(op.takes[0].home, STORE_HOME_OWN);
		assert_int_equal(op.takes[0].decision.remaining, 3);
		/* A refund of what was taken from the shared state reaches both. */
		taken.verb = STORE_REFUND;
		assert_int_equal(store_submit(store, &taken), STORE_DONE);
		assert_int_equal(test_remaining(store, "a:{late}", &policy), 5);
		for (int i = 0; i < 5; i++)
			assert_true(test_take(store, "a:{late}", &policy));
		assert_false(test_take(store, "a:{late}", &policy));
		/* A stranger still finds what the first has left in the shared state. */
		assert_int_equal(test_remaining(store, "a:{stranger}", &policy), 6);
		store_close(store);
	}
}

static void shared_and_own_states_in_one_op(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 5, MINUTE_US);
	struct sluice_policy narrow = test_policy(SLUICE_FIXED_WINDOW, 2, MINUTE_US);
	struct store *store = open_store(1, MEMORY_SHARE, 1);
	struct store_op op;

	assert_true(test_take(store, "old:{1}", &policy));
	for (int i = 0; i < 4; i++) {
		op = test_op(STORE_TAKE);
		test_add(&op, "new:{1}", &narrow, 1);
		test_add(&op, "old:{1}", &policy, 1);
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_int_equal(op.allowed, i < 2);
		assert_int_equal(op.takes[0].home, STORE_HOME_SHARED);
		assert_int_equal(op.takes[1].home, STORE_HOME_OWN);
		assert_int_equal(op.decider, STORE_BY_LOCAL);
	}
	/* All or nothing: the denials of the new key's shared state cost the old one nothing. */
	assert_int_equal(test_remaining(store, "old:{1}", &policy), 2);
	/* And the other way around. */
	assert_int_equal(test_one(store, &op, STORE_TAKE, "old:{1}", &policy, 2), STORE_DONE);
	op = test_op(STORE_TAKE);
	test_add(&op, "old:{1}", &policy, 1);
	test_add(&op, "other:{1}", &policy, 1);
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_false(op.allowed);
	assert_int_equal(test_remaining(store, "other:{1}", &policy), 5);
	assert_int_equal(test_stats(store).keys, 2);

	/* Two new subjects of one limit on one shared state: refused rather than counted wrongly. */
	op = test_op(STORE_TAKE);
	test_add(&op, "other:{1}", &policy, 1);
	test_add(&op, "other:{2}", &policy, 1);
	assert_int_equal(store_submit(store, &op), -ENOSPC);
	assert_int_equal(test_stats(store).keys, 2);
	store_close(store);
}

/* Keys without a colon, and as long as can be, have a shared state too. */
static void odd_keys_share_too(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 2, MINUTE_US);
	struct store *store = open_store(1, MEMORY_SHARE, 1u << 24);
	char key[STORE_KEY_MAX + 1];

	assert_true(test_take(store, "x:{1}", &policy));
	memset(key, 'k', STORE_KEY_MAX);
	key[STORE_KEY_MAX] = '\0';
	assert_true(test_take(store, key, &policy));
	assert_true(test_take(store, key, &policy));
	assert_false(test_take(store, key, &policy));
	key[0] = ':';
	assert_true(test_take(store, key, &policy));
	store_close(store);
}

/* A shared ring grows like any other. */
static void shared_states_grow(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 3000, MINUTE_US);
	struct store *store = open_store(1, MEMORY_SHARE, 1);

	assert_true(test_take(store, "a:{1}", &policy));
	for (int i = 0; i < 3000; i++)
		assert_true(test_take(store, "a:{2}", &policy));
	assert_false(test_take(store, "a:{2}", &policy));
	assert_int_equal(test_stats(store).keys, 2);
	store_close(store);
}

/* Every key's admitted units, by their times. */
enum { ORACLE_KEYS = 40, ORACLE_UNITS = 20000, ORACLE_LIMIT = 5 };

struct oracle {
	uint64_t times[ORACLE_KEYS][ORACLE_UNITS];
	int n[ORACLE_KEYS];
};

static void oracle_take(struct oracle *oracle, int key, uint32_t cost)
{
	uint64_t in_window = 0;

	assert_true(oracle->n[key] + (int)cost <= ORACLE_UNITS);
	for (uint32_t i = 0; i < cost; i++)
		oracle->times[key][oracle->n[key]++] = now_us;
	for (int i = oracle->n[key]; i > 0 && oracle->times[key][i - 1] + 10 * SECOND_US > now_us; i--)
		in_window++;
	assert_true(in_window <= ORACLE_LIMIT);
}

static void oracle_refund(struct oracle *oracle, int key, uint32_t cost, uint64_t at_us)
{
	for (int i = oracle->n[key]; i > 0 && cost > 0; i--)
		if (oracle->times[key][i - 1] == at_us) {
			memmove(&oracle->times[key][i - 1], &oracle->times[key][i],
			        (size_t)(oracle->n[key] - i) * sizeof(uint64_t));
			oracle->n[key]--;
			cost--;
		}
}

/* Keys move between their own states and shared ones, with refunds, looks and sweeps between: whatever the way, none
 * is ever given more than its limit in any window. */
static void no_way_leads_past_the_limit(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, ORACLE_LIMIT, 10 * SECOND_US);
	struct store *store = open_store(12, MEMORY_SHARE, 3);
	struct oracle *oracle = calloc(1, sizeof *oracle);
	char keys[ORACLE_KEYS][16];
	int own = 0, shared = 0, denied = 0, refunded = 0;
	uint64_t seed = 42;

	assert_non_null(oracle);
	for (int i = 0; i < ORACLE_KEYS; i++)
		snprintf(keys[i], sizeof keys[i], "limit%d:{%d}", i % 8, i);
	for (int step = 0; step < 100000; step++) {
		struct store_op op = test_op(STORE_TAKE);
		int first = (int)(test_random(&seed) % ORACLE_KEYS);
		int n = 1 + (int)(test_random(&seed) % 3); /* neighbours are of different limits */

		/* Busy spells and quiet ones, so that the store is full at times only. */
		now_us += test_random(&seed) % (step % 3000 < 2000 ? 200000 : 4 * SECOND_US);
		for (int i = 0; i < n; i++)
			test_add(&op, keys[(first + i) % ORACLE_KEYS], &policy, 1 + (uint32_t)test_random(&seed) % 2);
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		denied += !op.allowed;
		for (int i = 0; i < n && op.allowed; i++) {
			own += op.takes[i].home == STORE_HOME_OWN;
			shared += op.takes[i].home == STORE_HOME_SHARED;
			oracle_take(oracle, (first + i) % ORACLE_KEYS, op.takes[i].cost);
		}
		if (op.allowed && test_random(&seed) % 10 == 0) {
			uint64_t at_us = now_us;

			now_us += test_random(&seed) % SECOND_US;
			op.verb = STORE_REFUND;
			assert_int_equal(store_submit(store, &op), STORE_DONE);
			for (int i = 0; i < n; i++)
				oracle_refund(oracle, (first + i) % ORACLE_KEYS, op.takes[i].cost, at_us);
			refunded++;
		}
		if (test_random(&seed) % 20 == 0)
			store_tend(store);
		assert_true(test_stats(store).keys <= 12 + 3 * 8);
	}
	/* The trace went all the ways. */
	assert_true(own > 5000 && shared > 1000 && denied > 5000 && refunded > 500);
	store_close(store);
	free(oracle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_makes_nobody_forgotten),
		cmocka_unit_test(expiry_makes_room),
		cmocka_unit_test(one_new_key_refuses_the_whole_op),
		cmocka_unit_test(open_passes_what_is_new_only),
		cmocka_unit_test(shared_states_bound_every_key_and_all),
		cmocka_unit_test(a_key_never_gets_its_limit_twice),
		cmocka_unit_test(shared_and_own_states_in_one_op),
		cmocka_unit_test(odd_keys_share_too),
		cmocka_unit_test(shared_states_grow),
		cmocka_unit_test(no_way_leads_past_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
