/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of memory.h on one thread: the contract of store.h, all or nothing, growth, expiry, a model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "store/memory.h"
#include "store/memory_internal.h"
#include "store/test_ops.h"

static uint64_t now_us;

static struct store *open_store(uint64_t max_keys)
{
	const struct memory_store_config config = { .max_keys = max_keys, .now_us = test_clock, .context = &now_us };
	struct store *store = memory_store_open(&config);

	now_us = 1000 * SECOND_US;
	assert_non_null(store);
	return store;
}

static void bad_configurations_are_refused(void **state)
{
	static const struct memory_store_config bad[] = {
		{ .max_keys = 0 },
		{ .max_keys = (uint64_t)UINT32_MAX + 1 },
		{ .max_keys = 10, .overflow = MEMORY_SHARE, .shared_states = 0 },
		{ .max_keys = 10, .overflow = MEMORY_SHARE, .shared_states = (1u << 24) + 1 },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		assert_null(memory_store_open(&bad[i]));
		assert_int_equal(errno, EINVAL);
	}
}

static void real_clock_is_the_default(void **state)
{
	const struct memory_store_config config = { .max_keys = 10 };
	struct store *store = memory_store_open(&config);
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, SLUICE_WINDOW_MAX_US);

	assert_non_null(store);
	assert_string_equal(store->class->name, "memory");
	assert_true(store_ready(store));
	assert_true(test_take(store, "a", &policy));
	assert_false(test_take(store, "a", &policy));
	store_close(store);
}

static void empty_store_is_small(void **state)
{
	struct store *store = open_store(1000000);
	struct store_stats stats = test_stats(store);

	assert_int_equal(stats.keys, 0);
	assert_true(stats.bytes < 128 * 1024);
	assert_int_equal(stats.refused + stats.expired + stats.errors, 0);
	store_close(store);
}

static void bad_ops_are_refused(void **state)
{
	static const enum store_verb verbs[] = { STORE_TAKE, STORE_PEEK, STORE_REFUND, STORE_RESET };
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 3, MINUTE_US);
	struct sluice_policy nonsense = { 0 };
	struct store *store = open_store(100);
	struct store_op op;
	uint64_t errors = 0;

	for (size_t i = 0; i < 4; i++) {
		op = test_op(verbs[i]);
		assert_int_equal(store_submit(store, &op), -EINVAL); /* no take */
		op.n = STORE_TAKES_MAX + 1;
		assert_int_equal(store_submit(store, &op), -EINVAL);
		assert_int_equal(test_one(store, &op, verbs[i], "", &policy, 1), -EINVAL);
		op.takes[0].key_len = STORE_KEY_MAX + 1;
		assert_int_equal(store_submit(store, &op), -EINVAL);

		/* The same key twice, not next to each other. */
		op = test_op(verbs[i]);
		test_add(&op, "a", &policy, 1);
		test_add(&op, "b", &policy, 1);
		test_add(&op, "a", &policy, 1);
		assert_int_equal(store_submit(store, &op), -EINVAL);
		errors += 5;
		if (verbs[i] == STORE_RESET)
			continue;
		for (int n = 1; n <= 2; n++) {
			op = test_op(verbs[i]);
			test_add(&op, "a", &policy, 0);
			test_add(&op, "b", &policy, 1);
			op.n = (uint8_t)n;
			assert_int_equal(store_submit(store, &op), -EINVAL); /* no cost */
			op.takes[0].cost = 1;
			op.takes[0].policy = &nonsense;
			assert_int_equal(store_submit(store, &op), -EINVAL);
			errors += 2;
		}
	}
	op = test_op((enum store_verb)99);
	test_add(&op, "a", &policy, 1);
	assert_int_equal(store_submit(store, &op), -EINVAL);
	assert_int_equal(test_stats(store).errors, errors + 1);
	assert_int_equal(test_stats(store).keys, 0);
	store_close(store);
}

static void limits_hold_for_every_algorithm(void **state)
{
	for (int algorithm = SLUICE_SLIDING_LOG; algorithm <= SLUICE_TOKEN_BUCKET; algorithm++) {
		struct sluice_policy policy = test_policy((enum sluice_algorithm)algorithm, 10, MINUTE_US);
		struct store *store = open_store(100);
		struct store_op op;

		for (uint32_t i = 1; i <= 10; i++) {
			assert_int_equal(test_one(store, &op, STORE_TAKE, "k:{1}", &policy, 1), STORE_DONE);
			assert_true(op.allowed);
			assert_int_equal(op.decider, STORE_BY_STORE);
			assert_int_equal(op.error, 0);
			assert_int_equal(op.takes[0].home, STORE_HOME_OWN);
			assert_int_equal(op.takes[0].decision.remaining, 10 - i);
			assert_int_equal(op.takes[0].decision.limit, 10);
		}
		assert_int_equal(test_one(store, &op, STORE_TAKE, "k:{1}", &policy, 1), STORE_DONE);
		assert_false(op.allowed);
		assert_true(op.takes[0].decision.retry_after_us > 0);
		assert_true(test_take(store, "k:{2}", &policy));
		assert_int_equal(test_stats(store).keys, 2);
		/* A sliding counter needs two windows to forget all. */
		now_us += 2 * MINUTE_US;
		assert_int_equal(test_remaining(store, "k:{1}", &policy), 10);
		store_close(store);
	}
}

static void keys_of_every_length_are_told_apart(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct store *store = open_store(1000);
	char key[STORE_KEY_MAX];
	struct store_op op = test_op(STORE_TAKE);

	memset(key, 'x', sizeof key);
	test_add(&op, "x", &policy, 1);
	op.takes[0].key = key;
	for (int round = 0; round < 2; round++)
		for (uint16_t len = 1; len <= STORE_KEY_MAX; len++) {
			op.takes[0].key_len = len;
			assert_int_equal(store_submit(store, &op), STORE_DONE);
			assert_int_equal(op.allowed, round == 0);
		}
	key[100] = '\0'; /* keys are bytes */
	op.takes[0].key_len = 200;
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(test_stats(store).keys, STORE_KEY_MAX + 1);
	store_close(store);
}

/* Several new keys in one shard: room for all of them is made before the first is put in. */
static void new_keys_of_one_shard(void **state)
{
	enum { N = 40 };
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 2, MINUTE_US);
	struct store *store = open_store(100);
	const struct states *states = &((struct memory *)store)->states;
	char keys[N][16];
	int n = 0;

	for (int i = 0; n < N; i++) {
		int len = snprintf(keys[n], sizeof keys[n], "k:{%d}", i);

		n += states_shard_of(states_hash(states, keys[n], (size_t)len)) == 7;
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < N; i += STORE_TAKES_MAX) {
			struct store_op op = test_op(STORE_TAKE);

			for (int k = 0; k < STORE_TAKES_MAX; k++)
				test_add(&op, keys[i + k], &policy, 1);
			assert_int_equal(store_submit(store, &op), STORE_DONE);
			assert_int_equal(op.allowed, round < 2);
			assert_int_equal(states->shards[7].table.count, round == 0 ? i + STORE_TAKES_MAX : N);
			assert_true(states->shards[7].table.count < states->shards[7].table.capacity);
		}
	assert_int_equal(test_stats(store).keys, N);
	store_close(store);
}

static void a_denied_op_takes_from_none(void **state)
{
	struct sluice_policy wide = test_policy(SLUICE_SLIDING_LOG, 5, MINUTE_US);
	struct sluice_policy narrow = test_policy(SLUICE_TOKEN_BUCKET, 1, MINUTE_US);
	struct store *store = open_store(100);
	struct store_op op;

	assert_true(test_take(store, "narrow:{1}", &narrow));
	assert_true(test_take(store, "wide:{1}", &wide));
	op = test_op(STORE_TAKE);
	test_add(&op, "wide:{1}", &wide, 1);
	test_add(&op, "narrow:{1}", &narrow, 1);
	test_add(&op, "new:{1}", &wide, 2);
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_false(op.allowed);
	assert_true(op.takes[0].decision.allowed);
	assert_int_equal(op.takes[0].decision.remaining, 4); /* as a peek shows it */
	assert_false(op.takes[1].decision.allowed);
	assert_true(op.takes[1].decision.retry_after_us > 0);
	assert_true(op.takes[2].decision.allowed);
	assert_int_equal(op.takes[2].decision.remaining, 5);
	assert_int_equal(test_remaining(store, "wide:{1}", &wide), 4);
	assert_int_equal(test_stats(store).keys, 2);

	op.takes[1] = op.takes[2];
	op.n = 2;
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(op.takes[0].decision.remaining, 3);
	assert_int_equal(op.takes[1].decision.remaining, 3);
	store_close(store);
}

static void what_can_never_pass_makes_no_entry(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 3, MINUTE_US);
	struct store *store = open_store(100);
	struct store_op op;

	assert_int_equal(test_one(store, &op, STORE_TAKE, "a", &policy, 4), STORE_DONE);
	assert_false(op.allowed);
	assert_int_equal(op.takes[0].decision.retry_after_us, SLUICE_NEVER);
	assert_int_equal(test_one(store, &op, STORE_PEEK, "a", &policy, 1), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(test_one(store, &op, STORE_REFUND, "a", &policy, 1), STORE_DONE);
	assert_int_equal(op.takes[0].decision.remaining, 3);
	assert_int_equal(test_one(store, &op, STORE_RESET, "a", NULL, 0), STORE_DONE);
	assert_int_equal(test_stats(store).keys, 0);
	assert_int_equal(test_stats(store).errors, 0);
	store_close(store);
}

static void a_refund_gives_back_what_was_taken(void **state)
{
	struct sluice_policy log = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct sluice_policy bucket = test_policy(SLUICE_TOKEN_BUCKET, 20, MINUTE_US);
	struct store *store = open_store(100);
	struct store_op op = test_op(STORE_TAKE), empty;

	test_add(&op, "log:{1}", &log, 4);
	test_add(&op, "bucket:{1}", &bucket, 5);
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	now_us += SECOND_US;
	assert_true(test_take(store, "log:{1}", &log));
	op.verb = STORE_REFUND;
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_true(op.allowed);
	assert_int_equal(op.takes[0].decision.remaining, 9);
	assert_int_equal(op.takes[1].decision.remaining, 20);
	/* What became empty has gone, and the other has not. */
	assert_int_equal(test_stats(store).keys, 1);
	assert_int_equal(test_remaining(store, "log:{1}", &log), 9);

	/* A refund that was passed by the failure policy takes nothing from anybody. */
	empty = test_op(STORE_REFUND);
	test_add(&empty, "log:{1}", &log, 1);
	empty.takes[0].home = STORE_HOME_NONE;
	empty.takes[0].decision.at_us = now_us;
	assert_int_equal(store_submit(store, &empty), STORE_DONE);
	assert_int_equal(test_remaining(store, "log:{1}", &log), 9);
	store_close(store);
}

static void a_reset_forgets(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct store *store = open_store(100);
	struct store_op op = test_op(STORE_RESET);

	assert_true(test_take(store, "a", &policy));
	assert_true(test_take(store, "b", &policy));
	assert_true(test_take(store, "c", &policy));
	test_add(&op, "a", NULL, 0);
	test_add(&op, "unknown", NULL, 0);
	test_add(&op, "c", NULL, 0);
	assert_int_equal(store_submit(store, &op), STORE_DONE);
	assert_int_equal(test_stats(store).keys, 1);
	assert_true(test_take(store, "a", &policy));
	assert_false(test_take(store, "b", &policy));
	assert_int_equal(test_stats(store).expired, 0);
	store_close(store);
}

/* A ring grows with its use, past the size at which states are allocated by themselves; all of it is given back. */
static void large_states_grow_and_go(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 65536, MINUTE_US);
	struct store *store = open_store(100);
	uint64_t empty = test_stats(store).bytes;
	uint64_t before;

	assert_true(test_take(store, "big", &policy));
	before = test_stats(store).bytes;
	assert_true(before <= empty + SLAB_CHUNK_BYTES + 1024);
	for (uint32_t i = 1; i < 65536; i++)
		assert_true(test_take(store, "big", &policy));
	assert_false(test_take(store, "big", &policy));
	assert_true(test_stats(store).bytes >= before + 65536 * 4);
	assert_true(test_stats(store).bytes <= before + 65536 * 4 + 2 * SLAB_CHUNK_BYTES);
	now_us += MINUTE_US + 3 * SECOND_US;
	test_tend_until(store, 0);
	assert_true(test_stats(store).bytes <= empty + 1024);
	assert_int_equal(test_stats(store).expired, 1);

	assert_true(test_take(store, "big", &policy)); /* and what is left at the end is freed, says ASan */
	for (uint32_t i = 1; i < 1000; i++)
		assert_true(test_take(store, "big", &policy));
	store_close(store);
}

static void a_changed_limit_keeps_what_was_counted(void **state)
{
	struct sluice_policy small = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct sluice_policy large = test_policy(SLUICE_SLIDING_LOG, 1000, MINUTE_US);
	struct store *store = open_store(100);

	for (int i = 0; i < 10; i++)
		assert_true(test_take(store, "a", &small));
	assert_int_equal(test_remaining(store, "a", &large), 990);
	for (int i = 0; i < 990; i++)
		assert_true(test_take(store, "a", &large));
	assert_false(test_take(store, "a", &large));
	assert_false(test_take(store, "a", &small));
	store_close(store);
}

/* Bytes that are no state: an error, counted, for one take and among several, and nothing is taken elsewhere. */
static void corrupt_states_are_reported(void **state)
{
	static const enum store_verb verbs[] = { STORE_TAKE, STORE_PEEK, STORE_REFUND };
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct store *store = open_store(100);
	struct memory *memory = (struct memory *)store;
	uint64_t hash = states_hash(&memory->states, "bad", 3);
	struct store_op op;

	assert_true(test_take(store, "bad", &policy));
	assert_true(test_take(store, "good", &policy));
	memset(entry_state(states_find(&memory->states.shards[states_shard_of(hash)], hash, "bad", 3)), 0xff, 24);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(test_one(store, &op, verbs[i], "bad", &policy, 1), -EIO);
		op = test_op(verbs[i]);
		test_add(&op, "good", &policy, 1);
		test_add(&op, "bad", &policy, 1);
		op.takes[0].home = STORE_HOME_OWN;
		op.takes[0].decision.at_us = now_us;
		assert_int_equal(store_submit(store, &op), -EIO);
	}
	assert_int_equal(test_stats(store).errors, 6);
	assert_int_equal(test_remaining(store, "good", &policy), 9);
	assert_int_equal(test_one(store, &op, STORE_RESET, "bad", NULL, 0), STORE_DONE);
	assert_true(test_take(store, "bad", &policy));
	store_close(store);
}

/* Without any traffic an idle table empties, and gives its memory back; nothing goes before its time. */
static void idle_keys_go_by_themselves(void **state)
{
	enum { N = 50000 };
	struct sluice_policy soon = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct sluice_policy late = test_policy(SLUICE_TOKEN_BUCKET, 10, 60 * MINUTE_US);
	struct store *store = open_store(2 * N);
	uint64_t empty = test_stats(store).bytes;
	char key[32];
	struct store_op op;

	for (int i = 0; i < 2 * N; i++) {
		snprintf(key, sizeof key, "per-client:{%d}", i);
		assert_int_equal(test_one(store, &op, STORE_TAKE, key, i % 2 == 0 ? &soon : &late, 10), STORE_DONE);
		assert_true(op.allowed);
	}
	assert_int_equal(test_stats(store).keys, 2 * N);
	now_us += MINUTE_US - 1;
	for (int i = 0; i < 1000; i++)
		store_tend(store);
	assert_int_equal(test_stats(store).keys, 2 * N);
	now_us += 3 * SECOND_US;
	test_tend_until(store, N);
	for (int i = 0; i < 1000; i++)
		store_tend(store);
	assert_int_equal(test_stats(store).keys, N);
	for (int i = 1; i < 2 * N; i += 2) {
		snprintf(key, sizeof key, "per-client:{%d}", i);
		assert_false(test_take(store, key, &late));
	}
	now_us += 60 * MINUTE_US;
	test_tend_until(store, 0);
	assert_int_equal(test_stats(store).expired, 2 * N);
	assert_true(test_stats(store).bytes < empty + 256 * 64 * 8);
	store_close(store);
}

/* The latest times there are do not wrap an expiry around into the past. */
static void far_times_do_not_expire_early(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, SLUICE_WINDOW_MAX_US);
	static const uint64_t starts[] = { 0,
		                           1,
		                           UINT64_C(1) << 52,
		                           SLUICE_TIME_MAX_US - SLUICE_WINDOW_MAX_US - 1,
		                           SLUICE_TIME_MAX_US,
		                           UINT64_MAX / 2,
		                           UINT64_MAX };

	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
		struct store *store = open_store(10);

		now_us = starts[i];
		assert_true(test_take(store, "a", &policy));
		if (now_us < UINT64_MAX / 2)
			now_us += SLUICE_WINDOW_MAX_US - 1;
		for (int k = 0; k < 1000; k++)
			store_tend(store);
		assert_false(test_take(store, "a", &policy));
		store_close(store);
	}
}

/* The model: every key has one state of full size, decided by the core directly. */
enum { MODEL_KEYS = 70, MODEL_POLICIES = 5, MODEL_STATE_MAX = 24 + 4 * 700 };

struct model {
	struct sluice_policy policies[MODEL_POLICIES];
	char keys[MODEL_KEYS][40];
	uint8_t states[MODEL_KEYS][MODEL_STATE_MAX];
	size_t lens[MODEL_KEYS];
	uint64_t seed;
};

static const struct sluice_policy *model_policy(const struct model *model, int key)
{
	return &model->policies[key % MODEL_POLICIES];
}

static void model_open(struct model *model)
{
	model->seed = 4711;
	model->policies[0] = test_policy(SLUICE_SLIDING_LOG, 10, 2 * SECOND_US);
	model->policies[1] = test_policy(SLUICE_SLIDING_LOG, 700, MINUTE_US);
	model->policies[2] = test_policy(SLUICE_SLIDING_COUNTER, 20, 10 * SECOND_US);
	model->policies[3] = test_policy(SLUICE_FIXED_WINDOW, 15, 5 * SECOND_US);
	model->policies[4] = test_policy(SLUICE_TOKEN_BUCKET, 12, 3 * SECOND_US);
	for (int i = 0; i < MODEL_KEYS; i++) {
		snprintf(model->keys[i], sizeof model->keys[i], "limit%d:{%d}", i % MODEL_POLICIES, i);
		model->lens[i] = 0;
	}
}

static bool same_decision(const struct sluice_decision *a, const struct sluice_decision *b)
{
	return a->allowed == b->allowed && a->limit == b->limit && a->remaining == b->remaining &&
	       a->retry_after_us == b->retry_after_us && a->reset_after_us == b->reset_after_us && a->at_us == b->at_us;
}

/* Draws an op of 1 to STORE_TAKES_MAX different keys; `chosen` are their numbers. */
static struct store_op model_draw(struct model *model, enum store_verb verb, int chosen[STORE_TAKES_MAX])
{
	struct store_op op = test_op(verb);
	int n = 1 + (int)(test_random(&model->seed) % STORE_TAKES_MAX);
	int key = (int)(test_random(&model->seed) % MODEL_KEYS);

	for (int i = 0; i < n; i++) {
		const struct sluice_policy *policy;
		uint64_t random = test_random(&model->seed);

		key = (key + 1 + (int)(random % 6)) % MODEL_KEYS; /* STORE_TAKES_MAX * 6 < MODEL_KEYS: all different */
		policy = model_policy(model, key);
		chosen[i] = key;
		test_add(&op, model->keys[key], policy,
		         (random >> 8) % 50 == 0 ? policy->limit + 1
		                                 : 1 + (uint32_t)(random >> 16) % (policy->limit / 4));
	}
	return op;
}

static void model_decide(struct model *model, struct store_op *op, const int *chosen)
{
	bool allowed = true;

	for (int i = 0; i < op->n; i++) {
		struct store_take *take = &op->takes[i];

		assert_int_equal(sluice_peek(model->states[chosen[i]], model->lens[chosen[i]], take->policy, now_us,
		                             take->cost, &take->decision),
		                 0);
		allowed = allowed && take->decision.allowed;
	}
	op->allowed = allowed;
	for (int i = 0; i < op->n && allowed && op->verb == STORE_TAKE; i++) {
		struct store_take *take = &op->takes[i];
		uint8_t *bytes = model->states[chosen[i]];

		if (model->lens[chosen[i]] == 0) {
			model->lens[chosen[i]] = sluice_state_max(take->policy);
			assert_int_equal(sluice_state_move(bytes, model->lens[chosen[i]], NULL, 0, take->policy), 0);
		}
		assert_int_equal(
			sluice_take(bytes, model->lens[chosen[i]], take->policy, now_us, take->cost, &take->decision),
			0);
	}
}

static void model_refund(struct model *model, struct store_op *op, const int *chosen)
{
	op->verb = STORE_REFUND;
	op->allowed = true;
	for (int i = 0; i < op->n; i++) {
		struct store_take *take = &op->takes[i];

		assert_int_equal(sluice_refund(model->states[chosen[i]], model->lens[chosen[i]], take->policy, now_us,
		                               take->cost, take->decision.at_us, &take->decision),
		                 0);
		op->allowed = op->allowed && take->decision.allowed;
	}
}

static void random_ops_match_the_model(void **state)
{
	struct model *model = malloc(sizeof *model);
	struct store *store = open_store(MODEL_KEYS);
	struct store_op last = { 0 }, expected, op;
	int chosen[STORE_TAKES_MAX], last_chosen[STORE_TAKES_MAX];
	int allowed = 0, denied = 0;

	model_open(model);
	for (int step = 0; step < 60000; step++) {
		uint64_t kind = test_random(&model->seed) % 100;

		now_us += test_random(&model->seed) % (kind < 2 ? 30 * SECOND_US : kind < 50 ? 100000 : 1);
		if (kind >= 95 && last.n > 0) {
			op = last;
			op.verb = STORE_REFUND;
			expected = last;
			memcpy(chosen, last_chosen, sizeof chosen);
			model_refund(model, &expected, chosen);
			last.n = 0;
		} else if (kind >= 94) {
			op = model_draw(model, STORE_RESET, chosen);
			expected = op;
			expected.allowed = true;
			for (int i = 0; i < op.n; i++)
				model->lens[chosen[i]] = 0;
		} else {
			op = model_draw(model, kind < 10 ? STORE_PEEK : STORE_TAKE, chosen);
			expected = op;
			model_decide(model, &expected, chosen);
			allowed += expected.allowed;
			denied += !expected.allowed;
			if (expected.allowed && op.verb == STORE_TAKE) {
				last = expected;
				for (int i = 0; i < op.n; i++)
					last.takes[i].home = STORE_HOME_OWN;
				memcpy(last_chosen, chosen, sizeof chosen);
			}
		}
		assert_int_equal(store_submit(store, &op), STORE_DONE);
		assert_int_equal(op.allowed, expected.allowed);
		for (int i = 0; i < op.n && op.verb != STORE_RESET; i++)
			assert_true(same_decision(&op.takes[i].decision, &expected.takes[i].decision));
		if (step % 7 == 0)
			store_tend(store);
	}
	/* The trace went through all that it should. */
	assert_true(allowed > 5000 && denied > 5000);
	assert_true(test_stats(store).expired > 1000);
	assert_int_equal(test_stats(store).refused + test_stats(store).errors, 0);
	store_close(store);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_configurations_are_refused),
		cmocka_unit_test(real_clock_is_the_default),
		cmocka_unit_test(empty_store_is_small),
		cmocka_unit_test(bad_ops_are_refused),
		cmocka_unit_test(limits_hold_for_every_algorithm),
		cmocka_unit_test(keys_of_every_length_are_told_apart),
		cmocka_unit_test(new_keys_of_one_shard),
		cmocka_unit_test(a_denied_op_takes_from_none),
		cmocka_unit_test(what_can_never_pass_makes_no_entry),
		cmocka_unit_test(a_refund_gives_back_what_was_taken),
		cmocka_unit_test(a_reset_forgets),
		cmocka_unit_test(large_states_grow_and_go),
		cmocka_unit_test(a_changed_limit_keeps_what_was_counted),
		cmocka_unit_test(corrupt_states_are_reported),
		cmocka_unit_test(idle_keys_go_by_themselves),
		cmocka_unit_test(far_times_do_not_expire_early),
		cmocka_unit_test(random_ops_match_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
