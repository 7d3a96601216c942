/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.c: makes up random traces: policies from 1 unit to 65,536 and from 1 ms to 30 days, and steps
 * that come together, at the borders of windows, after idle times, and with a clock that is turned
 * back and forth.
 */
#include <stdlib.h>
#include <string.h>

#include "trace.h"

enum { LIMIT_MOST = 65536, STEPS_LEAST = 200, STEPS_MOST = 8000 };

#define WINDOW_MOST_US (UINT64_C(30) * 86400 * 1000000)

static uint64_t back(uint64_t from_us, uint64_t by_us)
{
	return from_us > by_us ? from_us - by_us : 0;
}

static void draw_policy(struct trace *trace)
{
	struct random *random = &trace->random;
	/* The windows around the first one that is rounded, and around the first debts that don't fit. */
	static const uint64_t borders_us[] = { UINT64_C(1) << 31, (UINT64_C(1) << 31) + 1, UINT64_C(3) << 31,
		                               UINT64_C(1) << 40, WINDOW_MOST_US };
	int refused;

	do {
		enum sluice_algorithm algorithm = (enum sluice_algorithm)random_between(random, 1, 4);
		uint32_t limit = (uint32_t)random_magnitude(random, 1, LIMIT_MOST);
		uint64_t window_us = random_magnitude(random, SLUICE_WINDOW_MIN_US, WINDOW_MOST_US);
		uint32_t burst = 0;

		if (random_one_in(random, 8))
			window_us = borders_us[random_below(random, sizeof borders_us / sizeof borders_us[0])];
		if (algorithm == SLUICE_TOKEN_BUCKET && random_one_in(random, 2))
			burst = (uint32_t)random_magnitude(random, 1, LIMIT_MOST);
		refused = sluice_policy_init(&trace->policy, algorithm, limit, window_us, burst, NULL);
	} while (refused);
}

static uint64_t draw_start(struct trace *trace)
{
	struct random *random = &trace->random;
	uint64_t window_us = trace->policy.window_us;

	/* At the end of time the clock of the core stands still; that of a store does not. */
	switch (random_below(random, trace->backend->expires ? 2 : 5)) {
	case 0:
		return random_below(random, 2);
	case 1: /* just before the ticks of the ring begin anew */
		return back((random_between(random, 1, 3) << 32) *
		                    (trace->policy.tick_us > 0 ? trace->policy.tick_us : 1),
		            random_below(random, window_us));
	case 2:
		return SLUICE_TIME_MAX_US - random_below(random, 20 * window_us);
	default: /* these days */
		return UINT64_C(1700000000000000) + random_below(random, UINT64_C(1) << 48);
	}
}

static void trace_open(struct trace *trace, struct backend *backend, uint64_t seed, uint64_t number)
{
	memset(trace, 0, sizeof *trace);
	trace->backend = backend;
	trace->seed = seed;
	trace->number = number;
	random_seed(&trace->random, seed ^ (number * UINT64_C(0xd1342543de82ef95)));
	draw_policy(trace);
	trace->costs = (enum trace_costs)random_below(&trace->random, COSTS_WAYS);
	trace->now_us = draw_start(trace);
	trace->keys = (unsigned)random_between(&trace->random, 1, TRACE_KEYS);
	for (unsigned i = 0; i < trace->keys; i++) {
		struct trace_key *key = &trace->key[i];

		snprintf(key->name, sizeof key->name, "trace:{%llu-%u}", (unsigned long long)number, i);
		key->policy = trace->policy;
		key->most = trace->policy.limit;
		if (backend->reset(backend, key->name) != 0)
			trace_fail(trace, key, "reset failed");
	}
}

static void trace_close(struct trace *trace)
{
	for (unsigned i = 0; i < trace->keys; i++) {
		if (trace->backend->reset(trace->backend, trace->key[i].name) != 0)
			trace_fail(trace, &trace->key[i], "reset failed");
		oracle_free(&trace->key[i].oracle);
	}
}

static uint32_t draw_cost(struct trace *trace, const struct trace_key *key)
{
	struct random *random = &trace->random;
	uint32_t most = key->policy.burst;

	if (random_one_in(random, 50)) /* all, one less, one more, far too much */
		return (uint32_t)random_between(random, most > 1 ? most - 1 : 1, most + 1);
	if (random_one_in(random, 200))
		return (uint32_t)random_magnitude(random, 1, UINT32_MAX);
	switch (trace->costs) {
	case COSTS_FEW:
		return (uint32_t)random_between(random, 1, 3);
	case COSTS_EIGHTH:
		return (uint32_t)random_between(random, 1, most / 8 + 1);
	case COSTS_ANY:
		return (uint32_t)random_magnitude(random, 1, most);
	default:
		return 1;
	}
}

/* To the moment when something was promised to change, or one microsecond to either side of it. */
static void jump_to(struct trace *trace, uint64_t time_us)
{
	time_us = back(time_us + random_below(&trace->random, 3), 1);
	if (time_us > trace->now_us)
		trace->now_us = time_us;
}

static void draw_time(struct trace *trace, const struct trace_key *key)
{
	struct random *random = &trace->random;
	uint64_t window_us = key->policy.window_us;
	uint64_t pace_us = window_us / key->policy.limit + 1; /* a steady client at the limit takes so often */
	uint64_t dice = random_below(random, 100);

	if (dice < 30)
		return; /* together with the last */
	if (dice < 60)
		trace->now_us += random_below(random, 2 * pace_us);
	else if (dice < 70)
		trace->now_us += random_magnitude(random, 1, window_us);
	else if (dice < 85)
		jump_to(trace, key->retry_at_us);
	else if (dice < 88)
		jump_to(trace, key->reset_at_us);
	else if (dice < 90)
		trace->now_us += random_below(random, 3 * window_us);
	else if (dice < 92) /* just before, at or after a whole window */
		trace->now_us += window_us * random_between(random, 1, 2) - 1 + random_below(random, 3);
	else if (trace->backend->expires)
		return; /* its states would be gone when the clock comes back */
	else if (dice < 96)
		trace->now_us = back(trace->now_us, random_magnitude(random, 1, window_us / 4 + 1));
	else if (dice < 97)
		trace->now_us = back(trace->now_us, random_below(random, 3 * window_us));
}

/* Asks or gives back at a time that the clock then does not keep. */
static void glimpse(struct trace *trace, struct trace_key *key)
{
	uint64_t now_us = trace->now_us;

	trace->now_us += random_below(&trace->random, 3 * key->policy.window_us);
	trace_peek(trace, key, draw_cost(trace, key));
	trace->now_us = now_us;
}

/* A unit may count until one tick after its window. In that time giving it back helps the backend and
 * not the oracle, after which they could not be compared. */
static bool refund_is_clear(const struct trace *trace, const struct trace_key *key, const struct trace_recent *recent)
{
	int64_t end_us = recent->at_us + (int64_t)key->policy.window_us;
	int64_t at_us = oracle_at(&key->oracle, trace->now_us);

	return key->policy.algorithm != SLUICE_SLIDING_LOG || at_us < end_us || at_us >= end_us + key->policy.tick_us;
}

static void give_back(struct trace *trace, struct trace_key *key)
{
	struct trace_recent *recent = &key->recent[random_below(&trace->random, TRACE_RECENT)];
	uint32_t units = recent->units;

	if (units == 0 || !refund_is_clear(trace, key, recent))
		return;
	if (random_one_in(&trace->random, 2))
		units = (uint32_t)random_between(&trace->random, 1, units);
	trace_refund(trace, key, recent, units);
}

/* A new limit, as when the configuration is read again. What was counted stays counted. */
static void change_limit(struct trace *trace, struct trace_key *key)
{
	uint32_t limit = (uint32_t)random_magnitude(&trace->random, 1, LIMIT_MOST);

	if (key->policy.algorithm == SLUICE_TOKEN_BUCKET)
		return; /* changes what a unit owes: see test_token_bucket.c */
	sluice_policy_init(&key->policy, key->policy.algorithm, limit, key->policy.window_us, 0, NULL);
	if (limit > key->most)
		key->most = limit;
}

static void forget(struct trace *trace, struct trace_key *key)
{
	if (trace->backend->reset(trace->backend, key->name) != 0)
		trace_fail(trace, key, "reset failed");
	oracle_clear(&key->oracle);
	memset(key->recent, 0, sizeof key->recent);
}

static void trace_step(struct trace *trace)
{
	struct trace_key *key = &trace->key[random_below(&trace->random, trace->keys)];
	uint64_t dice = random_below(&trace->random, 1000);

	draw_time(trace, key);
	if (dice < 80)
		trace_peek(trace, key, draw_cost(trace, key));
	else if (dice < 130)
		give_back(trace, key);
	else if (dice < 132)
		change_limit(trace, key);
	else if (dice < 133)
		forget(trace, key);
	else if (dice < 160 && !trace->backend->expires)
		glimpse(trace, key);
	else
		trace_take(trace, key, draw_cost(trace, key));
}

/* @return the steps made. */
static uint64_t trace_run(struct backend *backend, const struct trace_options *options, uint64_t number, bool *failed)
{
	struct trace trace;
	uint64_t steps;

	trace_open(&trace, backend, options->seed, number);
	steps = random_magnitude(&trace.random, STEPS_LEAST, STEPS_MOST);
	while (trace.step < steps && !trace.failed) {
		trace_step(&trace);
		trace.step++;
	}
	trace_close(&trace);
	*failed = trace.failed;
	return trace.step;
}

int traces_run(struct backend *backend, const struct trace_options *options)
{
	uint64_t number = options->only >= 0 ? (uint64_t)options->only : 0;
	uint64_t steps = 0;
	int wrong = 0;

	do {
		bool failed;

		steps += trace_run(backend, options, number++, &failed);
		wrong += failed;
	} while (options->only < 0 && steps < options->steps && wrong < 10);
	printf("%s: seed %llu, %llu traces, %llu steps, %d wrong\n", backend->name, (unsigned long long)options->seed,
	       (unsigned long long)(options->only < 0 ? number : 1), (unsigned long long)steps, wrong);
	return wrong;
}
