/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_check.c: judges the answers of a backend.
 *
 * Where nothing is rounded every field must be what the oracle says. A sliding-log with a tick above
 * 1 us may count a unit for up to a tick longer: it must never admit what the oracle does not, and
 * never deny what the oracle would admit if it, too, let units count so much longer.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

enum { STATE_SEEN = 4096 }; /* larger states are compared now and then only, they would take all the time */

void trace_fail(struct trace *trace, const struct trace_key *key, const char *format, ...)
{
	const struct sluice_policy *policy = &key->policy;
	va_list arguments;

	if (trace->failed)
		return;
	trace->failed = true;
	fprintf(stderr, "%s: trace %llu, step %llu, key %s at %llu us (%s, limit %u, burst %u, window %llu us):\n  ",
	        trace->backend->name, (unsigned long long)trace->number, (unsigned long long)trace->step, key->name,
	        (unsigned long long)trace->now_us, sluice_algorithm_name(policy->algorithm), policy->limit,
	        policy->burst, (unsigned long long)policy->window_us);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n  again: SLUICE_SEED=%llu SLUICE_TRACE=%llu\n", (unsigned long long)trace->seed,
	        (unsigned long long)trace->number);
}

static int64_t slack_us(const struct trace_key *key)
{
	return key->policy.algorithm == SLUICE_SLIDING_LOG ? (int64_t)key->policy.tick_us - 1 : 0;
}

static void expect_between(struct trace *trace, const struct trace_key *key, const char *what, uint64_t got,
                           uint64_t low, uint64_t high)
{
	if (got < low || got > high)
		trace_fail(trace, key, "%s is %llu, not from %llu to %llu", what, (unsigned long long)got,
		           (unsigned long long)low, (unsigned long long)high);
}

/* The wait is until a time that the oracle found, or up to one tick later. */
static void expect_wait(struct trace *trace, const struct trace_key *key, const char *what, uint64_t wait_us,
                        int64_t until_us)
{
	uint64_t now_us = trace->now_us < SLUICE_TIME_MAX_US ? trace->now_us : SLUICE_TIME_MAX_US;
	uint64_t exact_us = (uint64_t)until_us - now_us;

	expect_between(trace, key, what, wait_us, exact_us, exact_us + (uint64_t)slack_us(key));
}

static void check_retry(struct trace *trace, const struct trace_key *key, uint32_t cost, int64_t at_us,
                        const struct sluice_decision *got)
{
	if (got->allowed)
		expect_between(trace, key, "retry_after of an allowed take", got->retry_after_us, 0, 0);
	else if (cost > key->policy.burst)
		expect_between(trace, key, "retry_after of a cost above the limit", got->retry_after_us, SLUICE_NEVER,
		               SLUICE_NEVER);
	else
		expect_wait(trace, key, "retry_after", got->retry_after_us,
		            oracle_earliest(&key->oracle, &key->policy, at_us, cost));
}

static void check_reset(struct trace *trace, const struct trace_key *key, int64_t at_us,
                        const struct sluice_decision *got)
{
	int64_t empty_us = oracle_earliest(&key->oracle, &key->policy, at_us, key->policy.burst);

	/* Nothing is counted: there is nothing to wait for, also while the clock stands still. */
	if (empty_us == at_us && got->reset_after_us == 0)
		return;
	if (slack_us(key) == 0 && empty_us == at_us)
		expect_between(trace, key, "reset_after of an empty state", got->reset_after_us, 0, 0);
	else
		expect_wait(trace, key, "reset_after", got->reset_after_us, empty_us);
}

/* Judges an answer against the oracle as it was before a take. */
static void check_before(struct trace *trace, const struct trace_key *key, uint32_t cost, int64_t at_us,
                         const struct sluice_decision *got, uint32_t remaining)
{
	uint32_t most = oracle_available(&key->oracle, &key->policy, at_us, 0);
	uint32_t least = oracle_available(&key->oracle, &key->policy, at_us, slack_us(key));

	if (got->allowed && cost > most)
		trace_fail(trace, key, "admitted %u where %u are left", cost, most);
	if (!got->allowed && cost <= least)
		trace_fail(trace, key, "denied %u where %u are left", cost, least);
	expect_between(trace, key, "remaining", remaining, least, most);
	expect_between(trace, key, "at", got->at_us, (uint64_t)at_us, (uint64_t)at_us);
	expect_between(trace, key, "limit", got->limit, key->policy.burst, key->policy.burst);
	check_retry(trace, key, cost, at_us, got);
}

static bool look(struct trace *trace, struct trace_key *key, uint64_t now_us, uint32_t cost,
                 struct sluice_decision *out)
{
	int result = trace->backend->peek(trace->backend, &key->policy, key->name, now_us, cost, out);

	if (result != 0)
		trace_fail(trace, key, "peek failed: %d", result);
	return result == 0;
}

/* What was promised about the same moment. */
static void probe_now(struct trace *trace, struct trace_key *key, const struct sluice_decision *promise)
{
	struct sluice_decision got;

	if (promise->remaining > 0 && look(trace, key, trace->now_us, promise->remaining, &got) && !got.allowed)
		trace_fail(trace, key, "%u remain, but taking them is denied", promise->remaining);
	if (look(trace, key, trace->now_us, promise->remaining + 1, &got) && got.allowed)
		trace_fail(trace, key, "%u remain, but one more is admitted", promise->remaining);
}

/* What was promised about later: that it comes true then, and not one microsecond before. */
static void probe_later(struct trace *trace, struct trace_key *key, uint32_t cost,
                        const struct sluice_decision *promise)
{
	uint64_t retry_us = trace->now_us + promise->retry_after_us;
	uint64_t reset_us = trace->now_us + promise->reset_after_us;
	struct sluice_decision got;

	if (trace->now_us > SLUICE_TIME_MAX_US)
		return;
	if (!promise->allowed && promise->retry_after_us != SLUICE_NEVER && retry_us <= SLUICE_TIME_MAX_US) {
		if (look(trace, key, retry_us, cost, &got) && !got.allowed)
			trace_fail(trace, key, "denied after retry_after, %llu us",
			           (unsigned long long)promise->retry_after_us);
		if (look(trace, key, retry_us - 1, cost, &got) && got.allowed)
			trace_fail(trace, key, "admitted before retry_after, %llu us",
			           (unsigned long long)promise->retry_after_us);
	}
	if (reset_us <= SLUICE_TIME_MAX_US && promise->reset_after_us > 0) {
		if (look(trace, key, reset_us, 1, &got) && (got.reset_after_us != 0 || got.remaining != got.limit))
			trace_fail(trace, key, "not empty after reset_after, %llu us",
			           (unsigned long long)promise->reset_after_us);
		if (look(trace, key, reset_us - 1, 1, &got) && (got.reset_after_us != 1 || got.remaining == got.limit))
			trace_fail(trace, key, "empty before reset_after, %llu us",
			           (unsigned long long)promise->reset_after_us);
	}
}

static void probe(struct trace *trace, struct trace_key *key, uint32_t cost, const struct sluice_decision *promise)
{
	if (trace->failed || !random_one_in(&trace->random, 3))
		return;
	probe_now(trace, key, promise);
	if (!trace->backend->expires)
		probe_later(trace, key, cost, promise);
}

struct before {
	uint8_t *bytes;
	size_t len;
	bool seen;
};

static void state_before(struct trace *trace, struct trace_key *key, struct before *before)
{
	const uint8_t *bytes;

	before->bytes = NULL;
	before->seen = false;
	if (trace->backend->state == NULL)
		return;
	before->len = trace->backend->state(trace->backend, key->name, &bytes);
	if (before->len > STATE_SEEN && !random_one_in(&trace->random, 64))
		return;
	before->bytes = malloc(before->len + 1);
	if (before->bytes == NULL) {
		trace_fail(trace, key, "out of memory");
		return;
	}
	memcpy(before->bytes, bytes, before->len);
	before->seen = true;
}

static void check_unchanged(struct trace *trace, struct trace_key *key, const struct before *before)
{
	const uint8_t *bytes;
	size_t len = trace->backend->state(trace->backend, key->name, &bytes);

	if (len != before->len || memcmp(bytes, before->bytes, len) != 0)
		trace_fail(trace, key, "a denied take has changed the state");
}

static void note_admitted(struct trace *trace, struct trace_key *key, uint32_t cost, const struct sluice_decision *got)
{
	struct trace_recent *recent = &key->recent[key->recent_next++ % TRACE_RECENT];
	const char *broken;

	recent->at_us = (int64_t)got->at_us;
	recent->units = cost;
	if (oracle_admit(&key->oracle, &key->policy, (int64_t)got->at_us, cost) != 0) {
		trace_fail(trace, key, "out of memory");
		return;
	}
	broken = oracle_broken(&key->oracle, &key->policy, key->most);
	if (broken != NULL)
		trace_fail(trace, key, "%s", broken);
}

/* So that a later step may come exactly when something changes. */
static void note_waits(struct trace *trace, struct trace_key *key, const struct sluice_decision *got)
{
	if (!got->allowed && got->retry_after_us != SLUICE_NEVER)
		key->retry_at_us = trace->now_us + got->retry_after_us;
	key->reset_at_us = trace->now_us + got->reset_after_us;
}

void trace_take(struct trace *trace, struct trace_key *key, uint32_t cost)
{
	int64_t at_us = oracle_at(&key->oracle, trace->now_us);
	struct sluice_decision got;
	struct before before;
	int result;

	state_before(trace, key, &before);
	result = trace->backend->take(trace->backend, &key->policy, key->name, trace->now_us, cost, &got);
	if (result != 0) {
		trace_fail(trace, key, "take failed: %d", result);
		free(before.bytes);
		return;
	}
	check_before(trace, key, cost, at_us, &got, got.allowed ? got.remaining + cost : got.remaining);
	if (got.allowed)
		note_admitted(trace, key, cost, &got);
	else if (before.seen)
		check_unchanged(trace, key, &before);
	free(before.bytes);
	check_reset(trace, key, at_us, &got);
	note_waits(trace, key, &got);
	probe(trace, key, cost, &got);
}

void trace_peek(struct trace *trace, struct trace_key *key, uint32_t cost)
{
	int64_t at_us = oracle_at(&key->oracle, trace->now_us);
	struct sluice_decision got;

	if (!look(trace, key, trace->now_us, cost, &got))
		return;
	check_before(trace, key, cost, at_us, &got, got.remaining);
	check_reset(trace, key, at_us, &got);
	note_waits(trace, key, &got);
	probe(trace, key, cost, &got);
}

void trace_refund(struct trace *trace, struct trace_key *key, struct trace_recent *recent, uint32_t units)
{
	struct sluice_decision got;
	int64_t at_us;
	int result = trace->backend->refund(trace->backend, &key->policy, key->name, trace->now_us, units,
	                                    (uint64_t)recent->at_us, &got);

	if (result != 0) {
		trace_fail(trace, key, "refund failed: %d", result);
		return;
	}
	oracle_refund(&key->oracle, &key->policy, trace->now_us, recent->at_us, units);
	recent->units -= units;
	at_us = oracle_at(&key->oracle, trace->now_us);
	check_before(trace, key, 1, at_us, &got, got.remaining);
	check_reset(trace, key, at_us, &got);
	note_waits(trace, key, &got);
}
