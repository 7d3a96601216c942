/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of share.h through failure.h: several servers, one store that goes away and comes back, and an oracle that sees
 * all that they let pass. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/log.h"
#include "store/failure.h"
#include "store/memory.h"
#include "store/test_ops.h"

#define SERVERS_MAX 5
#define WINDOW_US (10 * SECOND_US)

static uint64_t now_us = 1000 * SECOND_US;

/* The store that all share. */
struct plant {
	struct store *states;
	int outage;         /* 0: it answers; else it refuses, or (-ETIMEDOUT) takes and is not heard */
	bool is_ready;      /* although there is an outage */
	bool taken_unheard; /* what times out was carried out all the same */
	unsigned n;
	struct remote {
		struct store store;
		struct plant *plant;
		struct store_op *pending;
		uint64_t asked;
	} remotes[SERVERS_MAX];
	struct store *servers[SERVERS_MAX];
};

static int remote_submit(struct store *store, struct store_op *op)
{
	struct remote *remote = (struct remote *)store;

	remote->asked++;
	if (remote->plant->outage != 0 && remote->plant->outage != -ETIMEDOUT)
		return remote->plant->outage;
	assert_null(remote->pending);
	remote->pending = op;
	return STORE_PENDING;
}

static void remote_answer(struct remote *remote)
{
	struct store_op *op = remote->pending;
	int error = remote->plant->outage;

	remote->pending = NULL;
	if (error == 0 || remote->plant->taken_unheard)
		op->error = store_submit(remote->plant->states, op);
	if (error != 0)
		op->error = error;
	op->done(op);
}

static void remote_tend(struct store *store)
{
}

static void remote_stats(struct store *store, struct store_stats *out)
{
	*out = (struct store_stats){ 0 };
}

static bool remote_ready(struct store *store)
{
	const struct plant *plant = ((struct remote *)store)->plant;

	return plant->is_ready || plant->outage == 0;
}

static void remote_close(struct store *store)
{
}

static const struct store_class remote_class = {
	.name = "remote",
	.submit = remote_submit,
	.tend = remote_tend,
	.stats = remote_stats,
	.ready = remote_ready,
	.close = remote_close,
};

static void plant_open(struct plant *plant, unsigned n)
{
	const struct memory_store_config memory = { .max_keys = 1000, .now_us = test_clock, .context = &now_us };
	const struct failure_config config = {
		.policy = FAILURE_LOCAL,
		.servers = n,
		.local_max_keys = 1000,
		.shared_states = 16,
		.now_us = test_clock,
		.context = &now_us,
	};

	*plant = (struct plant){ .n = n, .states = memory_store_open(&memory) };
	assert_non_null(plant->states);
	for (unsigned i = 0; i < n; i++) {
		plant->remotes[i].store.class = &remote_class;
		plant->remotes[i].plant = plant;
		plant->servers[i] = failure_store_open(&plant->remotes[i].store, &config);
		assert_non_null(plant->servers[i]);
	}
}

static void plant_close(struct plant *plant)
{
	for (unsigned i = 0; i < plant->n; i++)
		store_close(plant->servers[i]);
	store_close(plant->states);
}

static int done_calls;

static void on_done(struct store_op *op)
{
	__atomic_add_fetch(&done_calls, 1, __ATOMIC_RELAXED); /* also by threads */
}

/* Asks one server and waits for its answer. */
static bool ask(struct plant *plant, unsigned server, struct store_op *op)
{
	int rc;

	op->done = on_done;
	done_calls = 0;
	rc = store_submit(plant->servers[server], op);
	assert_true(rc == STORE_DONE || rc == STORE_PENDING);
	if (rc == STORE_PENDING)
		remote_answer(&plant->remotes[server]);
	assert_int_equal(done_calls, rc == STORE_PENDING);
	return op->allowed;
}

#define REQUESTS 3000u

/* When what passed did. */
struct passed {
	uint64_t at_us[REQUESTS];
	size_t n;
	uint32_t outages; /* meanwhile */
};

/* @return how many more than `limit` passed in some window. */
static uint32_t over_window(const struct passed *passed, uint32_t limit, uint64_t window_us)
{
	size_t first = 0, most = 0;

	for (size_t i = 0; i < passed->n; i++) {
		while (passed->at_us[i] - passed->at_us[first] >= window_us)
			first++;
		if (i - first + 1 > most)
			most = i - first + 1;
	}
	return most > limit ? (uint32_t)most - limit : 0;
}

/* @return true when a token bucket would have let it all pass. */
static bool bucket_allows(const struct passed *passed, const struct sluice_policy *policy)
{
	unsigned char state[64] = { 0 };

	assert_int_equal(sluice_state_move(state, sluice_state_max(policy), NULL, 0, policy), SLUICE_OK);
	for (size_t i = 0; i < passed->n; i++) {
		struct sluice_decision decision;

		assert_int_equal(sluice_take(state, sluice_state_max(policy), policy, passed->at_us[i], 1, &decision),
		                 SLUICE_OK);
		if (!decision.allowed)
			return false;
	}
	return true;
}

/* @return by how much a burst would have to be larger. */
static uint32_t over_bucket(const struct passed *passed, uint32_t limit, uint64_t window_us)
{
	for (uint32_t over = 0; over < 2 * limit; over++) {
		struct sluice_policy policy;

		assert_int_equal(sluice_policy_init(&policy, SLUICE_TOKEN_BUCKET, limit, window_us, limit + over, NULL),
		                 SLUICE_OK);
		if (bucket_allows(passed, &policy))
			return over;
	}
	return 2 * limit;
}

struct trace {
	enum sluice_algorithm algorithm;
	bool round_robin;
	bool close;   /* outages may follow each other closely */
	bool unheard; /* what times out was carried out all the same */
	uint64_t seed;
	unsigned n;
	uint32_t limit;
};

/* Bursts, a pace about that of the limit, and rests. */
static uint64_t gap_us(uint64_t r, uint64_t pace_us)
{
	if (r % 8 < 3)
		return r / 64 % 100;
	if (r % 8 < 7)
		return r / 64 % (2 * pace_us);
	return r / 64 % (r / 8 % 8 == 7 ? WINDOW_US : pace_us);
}

/* One client, random gaps, a store that goes away for random times. @return decisions that servers made themselves. */
static uint64_t run(const struct trace *trace, struct passed *passed)
{
	static const int outages[] = { -ENOTCONN, -ETIMEDOUT };
	struct sluice_policy policy = test_policy(trace->algorithm, trace->limit, WINDOW_US);
	uint64_t seed = trace->seed, change_us = now_us + test_random(&seed) % (4 * WINDOW_US), local = 0;
	struct plant plant;

	plant_open(&plant, trace->n);
	plant.taken_unheard = trace->unheard;
	passed->n = 0;
	passed->outages = 0;
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint64_t r = test_random(&seed);
		struct store_op op = test_op(STORE_TAKE);

		now_us += gap_us(r, WINDOW_US / trace->limit);
		if (now_us >= change_us) {
			plant.outage = plant.outage != 0 ? 0 : outages[r / 1000 % 2];
			passed->outages += plant.outage != 0;
			for (unsigned k = 0; k < plant.n; k++) /* servers look some times a second */
				store_tend(plant.servers[k]);
			now_us += 300000;
			change_us = now_us + test_random(&seed) % (r % 3 == 0 ? WINDOW_US / 5 : 3 * WINDOW_US);
			if (plant.outage == 0 && !trace->close)
				change_us += 5 * WINDOW_US;
		}
		for (unsigned k = 0; k < plant.n; k++)
			store_tend(plant.servers[k]);
		test_add(&op, "k:{1}", &policy, 1);
		if (ask(&plant, trace->round_robin ? i % trace->n : r / 100000 % trace->n, &op))
			passed->at_us[passed->n++] = now_us;
		local += op.decider == STORE_BY_LOCAL;
	}
	plant_close(&plant);
	now_us += 10 * WINDOW_US;
	return local;
}

enum promise {
	EXACT,   /* nothing over the limit */
	SERVERS, /* one less than there are servers over it, in a window */
	DOUBLE,  /* the limit over it: twice in a window */
	BURSTS,  /* a burst more for each outage */
};

static void check(struct trace trace, enum promise promise)
{
	static struct passed passed;
	uint64_t local = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint32_t over, bound;

		trace.seed = seed * 0x9e3779b97f4a7c15;
		trace.n = 1 + seed % SERVERS_MAX;
		trace.limit = trace.n + (uint32_t)(seed * 7 % 23);
		local += run(&trace, &passed);
		over = trace.algorithm == SLUICE_TOKEN_BUCKET ? over_bucket(&passed, trace.limit, WINDOW_US)
		                                              : over_window(&passed, trace.limit, WINDOW_US);
		bound = promise == EXACT     ? 0
		        : promise == SERVERS ? trace.n - 1
		        : promise == DOUBLE  ? trace.limit
		                             : trace.limit * passed.outages;
		if (over > bound)
			print_message("%s, %u servers, limit %u, seed %llu: %u too many\n",
			              sluice_algorithm_name(trace.algorithm), trace.n, trace.limit,
			              (unsigned long long)seed, over);
		assert_true(over <= bound);
		assert_true(passed.n > REQUESTS / 10);
	}
	assert_true(local > 10000);
}

static void servers_that_take_turns_hold_the_limit(void **state)
{
	for (int unheard = 0; unheard < 2; unheard++)
		check((struct trace){ .algorithm = SLUICE_SLIDING_LOG, .round_robin = true, .unheard = unheard },
		      EXACT);
}

static void close_outages_let_a_few_more_pass(void **state)
{
	check((struct trace){ .algorithm = SLUICE_SLIDING_LOG, .round_robin = true, .close = true }, SERVERS);
}

static void uneven_servers_let_less_than_twice_the_limit_pass(void **state)
{
	for (int close = 0; close < 2; close++)
		check((struct trace){ .algorithm = SLUICE_SLIDING_LOG, .close = close }, DOUBLE);
}

/* The two counters by themselves can let twice the limit pass at a border. */
static void counters_keep_to_twice_the_limit(void **state)
{
	check((struct trace){ .algorithm = SLUICE_SLIDING_COUNTER, .round_robin = true }, DOUBLE);
	check((struct trace){ .algorithm = SLUICE_FIXED_WINDOW, .round_robin = true }, DOUBLE);
}

static void buckets_let_a_burst_more_pass(void **state)
{
	check((struct trace){ .algorithm = SLUICE_TOKEN_BUCKET, .round_robin = true }, BURSTS);
	check((struct trace){ .algorithm = SLUICE_TOKEN_BUCKET, .close = true }, BURSTS);
}

static bool take(struct plant *plant, unsigned server, const char *key, const struct sluice_policy *policy)
{
	struct store_op op = test_op(STORE_TAKE);

	test_add(&op, key, policy, 1);
	return ask(plant, server, &op);
}

/* What the store last told counts in the share: who had used up his limit gets nothing until it has flowed back. */
static void what_the_store_admitted_counts(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, WINDOW_US);
	struct plant plant;
	struct store_op op;

	plant_open(&plant, 2);
	for (int i = 0; i < 6; i++)
		assert_true(take(&plant, 0, "a:{1}", &policy));
	now_us += SECOND_US;
	plant.outage = -ENOTCONN;
	assert_true(take(&plant, 0, "a:{1}", &policy));
	assert_true(take(&plant, 0, "a:{1}", &policy));
	op = test_op(STORE_TAKE);
	test_add(&op, "a:{1}", &policy, 1);
	assert_false(ask(&plant, 0, &op));
	assert_int_equal(op.decider, STORE_BY_LOCAL);
	assert_int_equal(op.takes[0].decision.limit, 5);
	assert_int_equal(op.takes[0].decision.remaining, 0);
	assert_int_equal(op.takes[0].decision.retry_after_us, 9 * SECOND_US);
	/* Who is not known gets the whole share. */
	for (int i = 0; i < 5; i++)
		assert_true(take(&plant, 0, "b:{1}", &policy));
	assert_false(take(&plant, 0, "b:{1}", &policy));
	now_us += 9 * SECOND_US;
	for (int i = 0; i < 3; i++)
		assert_true(take(&plant, 0, "a:{1}", &policy));
	assert_false(take(&plant, 0, "a:{1}", &policy));
	plant_close(&plant);
}

/* After its return the store is asked within the share, until no window reaches back; what it denies is not counted. */
static void what_was_admitted_meanwhile_counts(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, WINDOW_US);
	struct plant plant;
	struct store_op op;
	uint64_t asked;

	plant_open(&plant, 2);
	plant.outage = -ENOTCONN;
	for (int i = 0; i < 3; i++)
		assert_true(take(&plant, 0, "a:{1}", &policy));
	plant.outage = 0;
	now_us += SECOND_US;
	assert_true(take(&plant, 0, "a:{1}", &policy));
	assert_true(take(&plant, 0, "a:{1}", &policy));
	asked = plant.remotes[0].asked;
	op = test_op(STORE_TAKE);
	test_add(&op, "a:{1}", &policy, 1);
	assert_false(ask(&plant, 0, &op));
	assert_int_equal(op.decider, STORE_BY_LOCAL);
	assert_int_equal(op.error, -ESTALE);
	assert_int_equal(plant.remotes[0].asked, asked);
	/* The other server has heard of no outage, and has no share to keep to. */
	for (int i = 0; i < 8; i++)
		assert_true(take(&plant, 1, "a:{1}", &policy));
	now_us += 9 * SECOND_US;
	assert_false(take(&plant, 0, "a:{1}", &policy));            /* the store's word */
	now_us += SECOND_US + WINDOW_US / 1000 + 1 + 2 * SECOND_US; /* others find the store again later */
	for (int i = 0; i < 10; i++)
		assert_true(take(&plant, 0, "a:{1}", &policy));
	plant_close(&plant);
}

/* A store that fails over one key is there for the others: they have no share to keep to. */
static void one_lost_key_does_not_bind_the_others(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 10, WINDOW_US);
	struct plant plant;

	plant_open(&plant, 2);
	plant.is_ready = true;
	plant.outage = -EIO;
	assert_true(take(&plant, 0, "lost:{1}", &policy));
	plant.outage = 0;
	for (int i = 0; i < 10; i++)
		assert_true(take(&plant, 0, "other:{1}", &policy));
	for (int i = 0; i < 4; i++)
		assert_true(take(&plant, 0, "lost:{1}", &policy));
	assert_false(take(&plant, 0, "lost:{1}", &policy));
	plant_close(&plant);
}

/* A request under two limits is one question to the share, too, and a reset forgets what is known of its keys. */
static void all_or_nothing_and_reset(void **state)
{
	struct sluice_policy narrow = test_policy(SLUICE_SLIDING_LOG, 4, WINDOW_US);
	struct sluice_policy wide = test_policy(SLUICE_SLIDING_LOG, 10, WINDOW_US);
	struct plant plant;
	struct store_op op;

	plant_open(&plant, 2);
	assert_true(take(&plant, 0, "wide:{1}", &wide));
	plant.outage = -ETIMEDOUT;
	for (int i = 0; i < 5; i++) {
		op = test_op(STORE_TAKE);
		test_add(&op, "wide:{1}", &wide, 1);
		test_add(&op, "narrow:{1}", &narrow, 1);
		assert_int_equal(ask(&plant, 0, &op), i < 2);
	}
	assert_int_equal(op.takes[0].decision.remaining, 2);
	assert_true(op.takes[0].decision.allowed);
	assert_true(take(&plant, 0, "wide:{1}", &wide));
	assert_true(take(&plant, 0, "wide:{1}", &wide));
	assert_false(take(&plant, 0, "wide:{1}", &wide));
	/* Given back, also by an op that knows only what it must. */
	op = test_op(STORE_TAKE);
	test_add(&op, "refunded:{1}", &wide, 2);
	assert_true(ask(&plant, 0, &op));
	op.verb = STORE_REFUND;
	assert_int_equal(store_submit(plant.servers[0], &op), STORE_DONE);
	assert_int_equal(op.takes[0].decision.remaining, 5);
	plant.outage = 0;
	op = test_op(STORE_RESET);
	test_add(&op, "wide:{1}", &wide, 1);
	ask(&plant, 0, &op);
	plant.outage = -ENOTCONN;
	for (int i = 0; i < 5; i++)
		assert_true(take(&plant, 0, "wide:{1}", &wide));
	plant_close(&plant);
}

/* More servers are believed at once, fewer after ten seconds. */
static void a_store_that_comes_back_has_heard_of_few(void **state)
{
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 12, WINDOW_US);
	static const struct {
		uint32_t told;
		uint64_t later_us;
		uint32_t share;
	} steps[] = { { 4, 0, 3 },         { 1, 0, 3 }, { 2, 9 * SECOND_US, 3 }, { 2, SECOND_US, 6 },
		      { 6, 0, 2 },         { 3, 0, 2 }, { 6, 5 * SECOND_US, 2 }, { 1, 9 * SECOND_US, 2 },
		      { 1, SECOND_US, 12 } };
	struct plant plant;

	plant_open(&plant, 1);
	plant.outage = -ENOTCONN;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		char key[32];
		uint32_t passed = 0;

		failure_store_set_servers(plant.servers[0], steps[i].told);
		now_us += steps[i].later_us;
		snprintf(key, sizeof key, "k:{%zu}", i);
		while (take(&plant, 0, key, &policy))
			passed++;
		assert_int_equal(passed, steps[i].share);
	}
	plant_close(&plant);
}

/* Threads of one server, and a store that comes and goes: for the thread sanitizer. */
struct crowd {
	struct store store;
	struct store *states, *server;
	struct store_op *pending[3];
	bool away; /* atomic */
};

static int crowd_submit(struct store *store, struct store_op *op)
{
	struct crowd *crowd = (struct crowd *)store;

	if (__atomic_load_n(&crowd->away, __ATOMIC_RELAXED))
		return -ENOTCONN;
	crowd->pending[op->thread] = op;
	return STORE_PENDING;
}

static bool crowd_ready(struct store *store)
{
	return !__atomic_load_n(&((struct crowd *)store)->away, __ATOMIC_RELAXED);
}

static const struct store_class crowd_class = {
	.name = "remote",
	.submit = crowd_submit,
	.tend = remote_tend,
	.stats = remote_stats,
	.ready = crowd_ready,
	.close = remote_close,
};

struct member {
	pthread_t thread;
	struct crowd *crowd;
	uint16_t number;
	unsigned passed;
};

static void *take_on(void *arg)
{
	struct member *member = arg;
	struct crowd *crowd = member->crowd;
	struct sluice_policy policy = test_policy(SLUICE_SLIDING_LOG, 1000, WINDOW_US);

	for (int i = 0; i < 5000; i++) {
		struct store_op op = test_op(STORE_TAKE);

		op.thread = member->number;
		op.done = on_done;
		test_add(&op, i % 3 == 0 ? "a:{1}" : "b:{1}", &policy, 1);
		if (store_submit(crowd->server, &op) == STORE_PENDING) {
			assert_ptr_equal(crowd->pending[member->number], &op);
			op.error = store_submit(crowd->states, &op);
			op.done(&op);
		}
		member->passed += op.allowed;
		if (i % 50 == 0)
			__atomic_store_n(&crowd->away, i % 100 == 0, __ATOMIC_RELAXED);
		if (i % 10 == 0)
			store_tend(crowd->server);
	}
	return NULL;
}

static void threads_of_one_server(void **state)
{
	const struct memory_store_config memory = { .max_keys = 10, .now_us = test_clock, .context = &now_us };
	const struct failure_config config = { .policy = FAILURE_LOCAL,
		                               .local_max_keys = 10,
		                               .shared_states = 1,
		                               .now_us = test_clock,
		                               .context = &now_us };
	struct crowd crowd = { .store.class = &crowd_class, .states = memory_store_open(&memory) };
	struct member members[3];
	unsigned passed = 0;

	crowd.server = failure_store_open(&crowd.store, &config);
	assert_non_null(crowd.server);
	for (uint16_t i = 0; i < 3; i++) {
		members[i] = (struct member){ .crowd = &crowd, .number = i };
		assert_int_equal(pthread_create(&members[i].thread, NULL, take_on, &members[i]), 0);
	}
	for (uint32_t i = 1; i < 100; i++)
		failure_store_set_servers(crowd.server, 1);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(members[i].thread, NULL);
		passed += members[i].passed;
	}
	/* Two keys; what was asked for while it went away may be counted here and there. */
	assert_in_range(passed, 1000, 2 * 2 * 1000);
	store_close(crowd.server);
	store_close(crowd.states);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_that_take_turns_hold_the_limit),
		cmocka_unit_test(close_outages_let_a_few_more_pass),
		cmocka_unit_test(uneven_servers_let_less_than_twice_the_limit_pass),
		cmocka_unit_test(counters_keep_to_twice_the_limit),
		cmocka_unit_test(buckets_let_a_burst_more_pass),
		cmocka_unit_test(what_the_store_admitted_counts),
		cmocka_unit_test(what_was_admitted_meanwhile_counts),
		cmocka_unit_test(one_lost_key_does_not_bind_the_others),
		cmocka_unit_test(all_or_nothing_and_reset),
		cmocka_unit_test(a_store_that_comes_back_has_heard_of_few),
		cmocka_unit_test(threads_of_one_server),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
