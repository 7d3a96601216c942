/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of deny.h over a store that answers late: what is remembered, how it ages, what makes it void, and, on random
 * traces, that nothing is denied that the store would admit. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "store/deny.h"
#include "store/memory.h"
#include "store/test_ops.h"

#define PENDING_MAX 64

static uint64_t now_us = 1000 * SECOND_US;

/* A store elsewhere, with states and a clock of its own: what it is asked it decides on the way, by decide_one(), and
 * answers later, by answer_one(). */
struct remote {
	struct store store;
	struct store *states;
	uint64_t asked[STORE_RESET + 1];
	int fail; /* the next decision ends in this error */
	bool at_once;
	enum store_decider decider;
	struct store_op *pending[PENDING_MAX];
	size_t decided, n;
};

static int remote_submit(struct store *store, struct store_op *op)
{
	struct remote *remote = (struct remote *)store;
	int rc = remote->fail;

	remote->asked[op->verb]++;
	if (remote->at_once) {
		remote->fail = 0;
		rc = rc != 0 ? rc : store_submit(remote->states, op);
		op->decider = remote->decider;
		return rc;
	}
	assert_true(remote->n < PENDING_MAX);
	remote->pending[remote->n++] = op;
	return STORE_PENDING;
}

static void decide_one(struct remote *remote)
{
	struct store_op *op = remote->pending[remote->decided++];
	int rc = remote->fail;

	remote->fail = 0;
	op->error = rc != 0 ? rc : store_submit(remote->states, op);
	op->decider = remote->decider;
}

static void answer_one(struct remote *remote)
{
	struct store_op *op = remote->pending[0];

	if (remote->decided == 0)
		decide_one(remote);
	remote->decided--;
	remote->n--;
	memmove(remote->pending, remote->pending + 1, remote->n * sizeof *remote->pending);
	op->done(op);
}

static void remote_tend(struct store *store)
{
	store_tend(((struct remote *)store)->states);
}

static void remote_stats(struct store *store, struct store_stats *out)
{
	store_stats(((struct remote *)store)->states, out);
}

static bool remote_ready(struct store *store)
{
	return true;
}

static void remote_close(struct store *store)
{
	store_close(((struct remote *)store)->states);
}

static const struct store_class remote_class = {
	.name = "remote",
	.submit = remote_submit,
	.tend = remote_tend,
	.stats = remote_stats,
	.ready = remote_ready,
	.close = remote_close,
};

static struct store *open_deny(struct remote *remote, unsigned threads, uint32_t entries)
{
	const struct memory_store_config memory = { .max_keys = 10000, .now_us = test_clock, .context = &now_us };
	const struct deny_config config = {
		.threads = threads, .entries = entries, .now_us = test_clock, .context = &now_us
	};
	struct store *store;

	*remote = (struct remote){ .store.class = &remote_class, .states = memory_store_open(&memory) };
	assert_non_null(remote->states);
	store = deny_store_open(&remote->store, &config);
	assert_non_null(store);
	assert_string_equal(store->class->name, "remote");
	return store;
}

static int done_calls;

static void on_done(struct store_op *op)
{
	done_calls++;
}

static void ask(struct store *store, struct store_op *op, int expected)
{
	op->done = on_done;
	done_calls = 0;
	assert_int_equal(store_submit(store, op), expected);
	assert_int_equal(done_calls, 0);
	if (expected != STORE_PENDING)
		assert_ptr_equal(op->done, on_done);
}

/* Asks, and lets the remote answer after `latency_us`. */
static void ask_remote(struct remote *remote, struct store *store, struct store_op *op, uint64_t latency_us)
{
	ask(store, op, STORE_PENDING);
	now_us += latency_us / 2;
	decide_one(remote);
	now_us += latency_us - latency_us / 2;
	answer_one(remote);
	assert_int_equal(done_calls, 1);
	assert_ptr_equal(op->done, on_done);
}

static struct store_op take_of(const char *key, const struct sluice_policy *policy, uint32_t cost)
{
	struct store_op op = test_op(STORE_TAKE);

	test_add(&op, key, policy, cost);
	return op;
}

/* Uses up the quota of `key`, so that the answer to the next take is remembered, and gets that answer. */
static void exhaust(struct remote *remote, struct store *store, const char *key, const struct sluice_policy *policy)
{
	struct store_op op;

	do {
		op = take_of(key, policy, 1);
		ask_remote(remote, store, &op, 0);
	} while (op.allowed);
}

static uint64_t margin_us(uint64_t wait_us)
{
	return wait_us / 1000 + 1 + 1000;
}

static void a_denial_costs_the_store_nothing(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	uint64_t first_us = now_us;
	struct store_op op;

	exhaust(&remote, store, "a:{1}", &policy);
	assert_int_equal(remote.asked[STORE_TAKE], 11);
	for (int i = 0; i < 1000; i++) {
		now_us = first_us + (uint64_t)i * 59 * SECOND_US / 1000;
		op = take_of("a:{1}", &policy, 1);
		ask(store, &op, STORE_DONE);
		assert_false(op.allowed);
		assert_int_equal(op.error, 0);
		assert_int_equal(op.decider, STORE_BY_STORE);
		assert_false(op.takes[0].decision.allowed);
		assert_int_equal(op.takes[0].decision.limit, 10);
		assert_int_equal(op.takes[0].decision.remaining, 0);
		assert_int_equal(op.takes[0].decision.retry_after_us, first_us + MINUTE_US - now_us);
		assert_int_equal(op.takes[0].decision.reset_after_us, first_us + MINUTE_US - now_us);
		assert_int_equal(op.takes[0].home, STORE_HOME_OWN);
	}
	assert_int_equal(remote.asked[STORE_TAKE], 11);
	assert_int_equal(test_stats(store).deny_hits, 1000);
	assert_int_equal(test_stats(store).deny_entries, 1);
	assert_int_equal(test_stats(store).keys, 1);

	/* It ends before the wait does, by what clocks may part. */
	now_us = first_us + MINUTE_US - margin_us(MINUTE_US) - 1;
	op = take_of("a:{1}", &policy, 1);
	ask(store, &op, STORE_DONE);
	now_us++;
	ask(store, &op, STORE_PENDING);
	answer_one(&remote);
	assert_false(op.allowed);
	now_us = first_us + MINUTE_US;
	ask(store, &op, STORE_PENDING);
	answer_one(&remote);
	assert_true(op.allowed);
	store_close(store);
}

/* From the time of the question it holds, from the time of the answer it ages. */
static void latency_is_on_the_safe_side(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_FIXED_WINDOW, 1, 10 * SECOND_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	struct store_op op = take_of("a:{1}", &policy, 1);
	uint64_t sent_us;

	ask_remote(&remote, store, &op, 0);
	assert_true(op.allowed);
	now_us += SECOND_US;
	sent_us = now_us;
	op = take_of("a:{1}", &policy, 1);
	ask_remote(&remote, store, &op, SECOND_US);
	assert_int_equal(op.takes[0].decision.retry_after_us, 8500000);
	ask(store, &op, STORE_DONE);
	assert_int_equal(op.takes[0].decision.retry_after_us, 8500000); /* no less than the 8 s that are left */
	now_us = sent_us + 8500000 - margin_us(8500000) - 1;
	ask(store, &op, STORE_DONE);
	now_us++;
	ask(store, &op, STORE_PENDING);
	answer_one(&remote);

	/* An answer that comes when it is no more true is not remembered. */
	deny_store_set_generation(store, 1);
	now_us = sent_us + 8800000;
	ask_remote(&remote, store, &op, 200000);
	assert_false(op.allowed);
	ask(store, &op, STORE_PENDING);
	answer_one(&remote);
	assert_true(op.allowed);
	store_close(store);
}

/* Key, cost, each figure of the policy, and the order of takes: who asks something else gets an answer of its own. */
static void only_the_same_question_is_answered(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US), burst[2];
	const struct sluice_policy others[] = { test_policy(SLUICE_SLIDING_LOG, 11, MINUTE_US),
		                                test_policy(SLUICE_SLIDING_LOG, 10, MINUTE_US + 1),
		                                test_policy(SLUICE_SLIDING_COUNTER, 10, MINUTE_US) };
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 4096);
	struct store_op op, both;

	assert_int_equal(sluice_policy_init(&burst[0], SLUICE_TOKEN_BUCKET, 10, MINUTE_US, 1, NULL), SLUICE_OK);
	assert_int_equal(sluice_policy_init(&burst[1], SLUICE_TOKEN_BUCKET, 10, MINUTE_US, 2, NULL), SLUICE_OK);
	exhaust(&remote, store, "a:{1}", &policy);
	exhaust(&remote, store, "b:{1}", &burst[0]);
	op = take_of("a:{1}", &policy, 1);
	ask(store, &op, STORE_DONE);
	op = take_of("a:{1}", &policy, 2);
	ask_remote(&remote, store, &op, 0);
	op = take_of("a:{2}", &policy, 1);
	ask_remote(&remote, store, &op, 0);
	op = take_of("a:{1", &policy, 1);
	ask_remote(&remote, store, &op, 0);
	op = take_of("b:{1}", &burst[0], 1);
	ask(store, &op, STORE_DONE);
	op = take_of("b:{1}", &burst[1], 1);
	ask_remote(&remote, store, &op, 0);
	both = take_of("a:{1}", &policy, 1);
	test_add(&both, "c:{1}", &policy, 1);
	ask_remote(&remote, store, &both, 0);
	ask(store, &both, STORE_DONE);
	both = take_of("c:{1}", &policy, 1);
	test_add(&both, "a:{1}", &policy, 1);
	ask_remote(&remote, store, &both, 0);
	/* A peek wants to see what is. */
	op = take_of("a:{1}", &policy, 1);
	op.verb = STORE_PEEK;
	ask_remote(&remote, store, &op, 0);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		op = take_of("a:{1}", &others[i], 1);
		ask_remote(&remote, store, &op, 0);
	}
	store_close(store);
}

static void several_takes_are_one_question(void **state)
{
	struct sluice_policy narrow = test_policy(SLUICE_SLIDING_LOG, 1, 10 * SECOND_US);
	struct sluice_policy wide = test_policy(SLUICE_SLIDING_LOG, 2, MINUTE_US);
	struct sluice_policy ample = test_policy(SLUICE_SLIDING_LOG, 100, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	struct store_op op;

	exhaust(&remote, store, "wide:{1}", &wide);
	exhaust(&remote, store, "narrow:{1}", &narrow);
	now_us += SECOND_US;
	op = take_of("ample:{1}", &ample, 7);
	ask_remote(&remote, store, &op, 0);
	now_us += SECOND_US;
	for (int i = 0; i < 2; i++) {
		op = take_of("narrow:{1}", &narrow, 1);
		test_add(&op, "ample:{1}", &ample, 1);
		test_add(&op, "wide:{1}", &wide, 1);
		if (i == 0) {
			ask_remote(&remote, store, &op, 0);
			now_us += 3 * SECOND_US;
			continue;
		}
		ask(store, &op, STORE_DONE);
		assert_false(op.allowed);
		assert_false(op.takes[0].decision.allowed);
		assert_int_equal(op.takes[0].decision.retry_after_us, 5 * SECOND_US);
		assert_true(op.takes[1].decision.allowed);
		assert_int_equal(op.takes[1].decision.remaining, 93);
		assert_int_equal(op.takes[1].decision.limit, 100);
		assert_int_equal(op.takes[1].decision.retry_after_us, 0);
		assert_int_equal(op.takes[1].decision.reset_after_us, 56 * SECOND_US);
		assert_false(op.takes[2].decision.allowed);
		assert_int_equal(op.takes[2].decision.retry_after_us, 55 * SECOND_US);
	}
	/* The longest wait counts; the shorter one is over before. */
	now_us += 54 * SECOND_US;
	ask(store, &op, STORE_DONE);
	assert_int_equal(op.takes[0].decision.retry_after_us, 1);
	assert_int_equal(op.takes[0].decision.reset_after_us, 0);
	assert_int_equal(op.takes[2].decision.retry_after_us, SECOND_US);
	now_us += SECOND_US;
	ask_remote(&remote, store, &op, 0);
	assert_true(op.allowed);
	store_close(store);
}

/* A cost above the limit is asked again once a minute, so that no entry lives for ever. */
static void never_ends(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, 366 * 24 * 60 * MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	struct store_op op = take_of("a:{1}", &policy, 11);

	ask_remote(&remote, store, &op, 0);
	assert_true(op.takes[0].decision.retry_after_us == SLUICE_NEVER);
	now_us += 59 * SECOND_US;
	ask(store, &op, STORE_DONE);
	assert_true(op.takes[0].decision.retry_after_us == SLUICE_NEVER);
	now_us += SECOND_US;
	ask(store, &op, STORE_PENDING);
	answer_one(&remote);
	store_close(store);
}

/* Refunds and resets: void before, void after, and what was asked meanwhile is not remembered. On every thread. */
static void what_makes_room_makes_void(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote;

	for (int verb = STORE_REFUND; verb <= STORE_RESET; verb++) {
		struct store *store = open_deny(&remote, 2, 16);
		struct store_op take = take_of("a:{1}", &policy, 1), denied[3], change;

		ask_remote(&remote, store, &take, 0);
		for (uint16_t thread = 0; thread < 2; thread++) {
			denied[0] = take_of("a:{1}", &policy, 1);
			denied[0].thread = thread;
			ask_remote(&remote, store, &denied[0], 0);
			ask(store, &denied[0], STORE_DONE);
		}
		ask(store, &denied[0], STORE_DONE);
		denied[1] = denied[2] = take_of("b:{1}", &policy, 1);
		ask_remote(&remote, store, &denied[1], 0);
		denied[1].thread = 1;
		ask(store, &denied[1], STORE_PENDING); /* before */
		change = take;
		change.verb = (enum store_verb)verb;
		ask(store, &change, STORE_PENDING);
		assert_int_equal(test_stats(store).deny_hits, 3);
		ask(store, &denied[2], STORE_PENDING); /* meanwhile */
		answer_one(&remote);
		ask(store, &denied[1], STORE_PENDING);
		answer_one(&remote);
		answer_one(&remote); /* the one asked meanwhile: denied, but not remembered */
		assert_false(denied[2].allowed);
		ask(store, &denied[2], STORE_PENDING);
		answer_one(&remote);
		answer_one(&remote);
		for (uint16_t thread = 0; thread < 2; thread++) {
			denied[0] = take_of("a:{1}", &policy, 1);
			denied[0].thread = thread;
			ask_remote(&remote, store, &denied[0], 0);
			assert_int_equal(denied[0].allowed, thread == 0);
		}
		store_close(store);
	}
}

/* Another thread's connection may be quicker: what it hears before the reset is carried out is not remembered. */
static void a_quicker_answer_is_not_remembered(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 2, 16);
	struct store_op op = take_of("a:{1}", &policy, 1), reset = op;

	exhaust(&remote, store, "a:{1}", &policy);
	reset.verb = STORE_RESET;
	ask(store, &reset, STORE_PENDING);
	op.thread = 1;
	ask(store, &op, STORE_PENDING);
	remote.pending[0] = &op;
	remote.pending[1] = &reset;
	answer_one(&remote);
	assert_false(op.allowed);
	decide_one(&remote);
	op = take_of("a:{1}", &policy, 1);
	op.thread = 1;
	ask(store, &op, STORE_PENDING);
	answer_one(&remote); /* the reset's */
	answer_one(&remote);
	assert_true(op.allowed);
	store_close(store);
}

static void a_new_generation_knows_nothing(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	struct store_op op = take_of("a:{1}", &policy, 1);

	deny_store_set_generation(store, 7);
	exhaust(&remote, store, "a:{1}", &policy);
	deny_store_set_generation(store, 7);
	ask(store, &op, STORE_DONE);
	deny_store_set_generation(store, 8);
	ask_remote(&remote, store, &op, 0);
	assert_int_equal(test_stats(store).deny_entries, 1);
	deny_store_set_generation(store, 9);
	ask(store, &op, STORE_PENDING);
	assert_int_equal(test_stats(store).deny_entries, 0);
	/* Asked in one generation, answered in the next. */
	deny_store_set_generation(store, 10);
	answer_one(&remote);
	assert_false(op.allowed);
	assert_int_equal(test_stats(store).deny_entries, 0);
	ask_remote(&remote, store, &op, 0);
	ask(store, &op, STORE_DONE);
	store_close(store);
}

/* Errors at once and later, and answers of a failure policy: not remembered, and errors make void. */
static void errors_are_not_remembered(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	struct store_op op = take_of("a:{1}", &policy, 1);

	exhaust(&remote, store, "a:{1}", &policy);
	ask(store, &op, STORE_DONE);
	for (int at_once = 0; at_once < 2; at_once++) {
		remote.at_once = at_once;
		remote.fail = -ETIMEDOUT;
		op = take_of("b:{1}", &policy, 1);
		ask(store, &op, at_once ? -ETIMEDOUT : STORE_PENDING);
		if (!at_once)
			answer_one(&remote);
		remote.at_once = false;
		op = take_of("a:{1}", &policy, 1);
		ask_remote(&remote, store, &op, 0);
		assert_false(op.allowed);
		ask(store, &op, STORE_DONE);
	}
	/* What no store could decide says nothing about this one. */
	remote.at_once = true;
	remote.fail = -EINVAL;
	op = take_of("b:{1}", &policy, 1);
	ask(store, &op, -EINVAL);
	op.n = 0;
	ask(store, &op, -EINVAL);
	op.n = STORE_TAKES_MAX + 1;
	ask(store, &op, -EINVAL);
	op = take_of("a:{1}", &policy, 1);
	ask(store, &op, STORE_DONE);
	/* Denied by a stand-in. */
	deny_store_set_generation(store, 1);
	remote.decider = STORE_BY_LOCAL;
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t before = remote.asked[STORE_TAKE];

		ask(store, &op, STORE_DONE);
		assert_false(op.allowed);
		assert_int_equal(remote.asked[STORE_TAKE], before + 1);
	}
	store_close(store);
}

/* A store that answers at once is served as well; threads beyond those announced pass by. */
static void at_once_and_beyond(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 16);
	struct store_op op = take_of("a:{1}", &policy, 1);

	remote.at_once = true;
	for (int i = 0; i < 5; i++)
		ask(store, &op, STORE_DONE);
	assert_int_equal(remote.asked[STORE_TAKE], 2);
	op.thread = 1;
	for (int i = 0; i < 5; i++)
		ask(store, &op, STORE_DONE);
	assert_int_equal(remote.asked[STORE_TAKE], 7);
	store_close(store);
}

static void the_table_is_bounded(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1, MINUTE_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 64);
	uint64_t hits;
	char key[32];
	struct store_op op;

	remote.at_once = true;
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "a:{%d}", i);
		for (int n = 0; n < 2; n++) {
			op = take_of(key, &policy, 1);
			ask(store, &op, STORE_DONE);
		}
		now_us++;
	}
	assert_int_equal(test_stats(store).deny_entries, 64);
	/* The longest to go have stayed, some of them in any case. */
	hits = test_stats(store).deny_hits;
	for (int i = 900; i < 1000; i++) {
		snprintf(key, sizeof key, "a:{%d}", i);
		op = take_of(key, &policy, 1);
		ask(store, &op, STORE_DONE);
		assert_false(op.allowed);
	}
	assert_true(test_stats(store).deny_hits > hits);
	store_close(store);
}

static void bad_configurations_leave_the_inner_store(void **state)
{
	static const struct deny_config bad[] = {
		{ .threads = 0, .entries = 1 },
		{ .threads = 65536, .entries = 1 },
		{ .threads = 1, .entries = 0 },
		{ .threads = 1, .entries = (1u << 24) + 1 },
	};
	struct remote remote;
	struct store *store = open_deny(&remote, 1, 1);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		assert_null(deny_store_open(&remote.store, &bad[i]));
		assert_int_equal(errno, EINVAL);
	}
	store_close(store);
}

/* Random questions, latencies and times, several under way at once, other servers taking too: whenever a denial is
 * given from memory, the store is asked what it would say. */
static void random_trace(enum sluice_algorithm algorithm, uint64_t seed)
{
	struct sluice_policy policy = test_policy(algorithm, 5, 10 * SECOND_US);
	struct sluice_policy wide = test_policy(algorithm, 8, 30 * SECOND_US);
	struct remote remote;
	struct store *store = open_deny(&remote, 2, 32);
	struct store_op ops[PENDING_MAX / 2], op;
	static const char *const keys[] = { "k:{0}", "k:{1}", "k:{2}", "k:{3}", "k:{4}", "k:{5}" };
	size_t next = 0;
	uint64_t hits = 0;

	for (int i = 0; i < 20000; i++) {
		uint64_t r = test_random(&seed);

		now_us += r % 3 == 0 ? 0 : r / 7 % 60000;
		switch (r / 1000 % 8) {
		case 0: /* another server */
			op = take_of(keys[r / 10000 % 6], &policy, 1);
			assert_int_equal(store_submit(remote.states, &op), STORE_DONE);
			break;
		case 1:
			if (remote.decided < remote.n)
				decide_one(&remote);
			break;
		case 2:
		case 3:
		case 4:
			if (remote.n > 0)
				answer_one(&remote);
			break;
		default:
			if (remote.n == PENDING_MAX / 2)
				break;
			op = take_of(keys[r / 10000 % 6], &policy, 1 + r / 100000 % 2);
			op.thread = r / 200000 % 2;
			if (r / 400000 % 3 == 0)
				test_add(&op, "wide:{0}", &wide, 1);
			op.done = on_done;
			if (op.n == 1 && r / 1000000 % 1000 == 0)
				op.verb = STORE_RESET;
			ops[next % (PENDING_MAX / 2)] = op;
			if (store_submit(store, &ops[next % (PENDING_MAX / 2)]) == STORE_PENDING) {
				next++;
				break;
			}
			hits++;
			op.verb = STORE_PEEK;
			assert_false(ops[next % (PENDING_MAX / 2)].allowed);
			assert_int_equal(store_submit(remote.states, &op), STORE_DONE);
			assert_false(op.allowed);
		}
	}
	while (remote.n > 0)
		answer_one(&remote);
	assert_true(hits > 1000);
	assert_int_equal(test_stats(store).deny_hits, hits);
	store_close(store);
}

static void nothing_is_denied_that_would_pass(void **state)
{
	for (int algorithm = SLUICE_SLIDING_LOG; algorithm <= SLUICE_TOKEN_BUCKET; algorithm++)
		for (uint64_t seed = 1; seed <= 5; seed++)
			random_trace((enum sluice_algorithm)algorithm, seed * 0x9e3779b97f4a7c15);
}

/* Two threads take, a third tells generations and reads figures: for the thread sanitizer, and the sum holds. */
struct taker {
	pthread_t thread;
	struct store *store;
	uint16_t number;
	int allowed;
};

static void *take_on(void *arg)
{
	struct taker *taker = arg;
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 100, MINUTE_US);

	for (int i = 0; i < 20000; i++) {
		struct store_op op = take_of("a:{1}", &policy, 1);

		op.thread = taker->number;
		if (store_submit(taker->store, &op) == STORE_DONE)
			taker->allowed += op.allowed;
	}
	return NULL;
}

static void threads_share_nothing_but_the_store(void **state)
{
	const struct memory_store_config memory = { .max_keys = 100, .now_us = test_clock, .context = &now_us };
	const struct deny_config config = { .threads = 2, .entries = 16, .now_us = test_clock, .context = &now_us };
	struct store *inner = memory_store_open(&memory), *store;
	struct taker takers[2] = { { .number = 0 }, { .number = 1 } };

	assert_non_null(inner);
	store = deny_store_open(inner, &config);
	assert_non_null(store);
	for (int i = 0; i < 2; i++) {
		takers[i].store = store;
		assert_int_equal(pthread_create(&takers[i].thread, NULL, take_on, &takers[i]), 0);
	}
	for (uint64_t i = 0; i < 1000; i++) {
		deny_store_set_generation(store, i);
		assert_true(test_stats(store).deny_entries <= 2);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(takers[i].thread, NULL);
	assert_int_equal(takers[0].allowed + takers[1].allowed, 100);
	assert_true(test_stats(store).deny_hits > 0);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_denial_costs_the_store_nothing),
		cmocka_unit_test(latency_is_on_the_safe_side),
		cmocka_unit_test(only_the_same_question_is_answered),
		cmocka_unit_test(several_takes_are_one_question),
		cmocka_unit_test(never_ends),
		cmocka_unit_test(what_makes_room_makes_void),
		cmocka_unit_test(a_quicker_answer_is_not_remembered),
		cmocka_unit_test(a_new_generation_knows_nothing),
		cmocka_unit_test(errors_are_not_remembered),
		cmocka_unit_test(at_once_and_beyond),
		cmocka_unit_test(the_table_is_bounded),
		cmocka_unit_test(bad_configurations_leave_the_inner_store),
		cmocka_unit_test(nothing_is_denied_that_would_pass),
		cmocka_unit_test(threads_share_nothing_but_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
