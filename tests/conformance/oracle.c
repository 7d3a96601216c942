/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.c: see oracle.h. */
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

typedef __int128 wide;

void oracle_clear(struct oracle *oracle)
{
	struct oracle_take *takes = oracle->takes;
	size_t room = oracle->room;

	memset(oracle, 0, sizeof *oracle);
	oracle->takes = takes;
	oracle->room = room;
}

void oracle_free(struct oracle *oracle)
{
	free(oracle->takes);
	memset(oracle, 0, sizeof *oracle);
}

int64_t oracle_at(const struct oracle *oracle, uint64_t now_us)
{
	int64_t at_us = (int64_t)(now_us < SLUICE_TIME_MAX_US ? now_us : SLUICE_TIME_MAX_US);

	return at_us > oracle->newest_us ? at_us : oracle->newest_us;
}

/* The number of takes before a time. */
static size_t takes_before(const struct oracle *oracle, int64_t time_us)
{
	size_t low = 0;
	size_t high = oracle->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (oracle->takes[middle].at_us < time_us)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The units of the first n takes. */
static uint64_t units_of(const struct oracle *oracle, size_t n)
{
	return n == 0 ? 0 : oracle->takes[n - 1].before + oracle->takes[n - 1].units;
}

uint64_t oracle_units(const struct oracle *oracle, int64_t from_us, int64_t to_us)
{
	return units_of(oracle, takes_before(oracle, to_us)) - units_of(oracle, takes_before(oracle, from_us));
}

/* All units that may be counted at a time: a take counts until one window after it. */
static uint64_t log_used(const struct oracle *oracle, int64_t window_us, int64_t at_us, int64_t slack_us)
{
	return oracle_units(oracle, at_us - slack_us - window_us + 1, INT64_MAX);
}

static uint64_t fixed_used(const struct oracle *oracle, int64_t window_us, int64_t at_us)
{
	if (at_us - oracle->anchor_us >= window_us)
		return 0;
	return oracle_units(oracle, oracle->anchor_us, oracle->anchor_us + window_us);
}

/* The window of sliding-counter that a time lies in: the first after an idle time has to be started yet. */
static int64_t counter_start(const struct oracle *oracle, int64_t window_us, int64_t at_us)
{
	int64_t windows = (at_us - oracle->anchor_us) / window_us;
	int64_t start_us = oracle->anchor_us + windows * window_us;

	return windows < 2 && oracle_units(oracle, start_us - window_us, INT64_MAX) > 0 ? start_us : at_us;
}

static uint64_t counter_used(const struct oracle *oracle, int64_t window_us, int64_t at_us)
{
	int64_t start_us = counter_start(oracle, window_us, at_us);
	wide older = (wide)oracle_units(oracle, start_us - window_us, start_us);
	wide weighted = older * (start_us + window_us - at_us);

	return oracle_units(oracle, start_us, start_us + window_us) +
	       (uint64_t)((weighted + window_us - 1) / window_us);
}

static wide bucket_tokens(const struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us)
{
	wide most = (wide)policy->burst * policy->window_us;
	wide tokens = oracle->tokens + (wide)(at_us - oracle->newest_us) * policy->limit;

	return oracle->filled && tokens < most ? tokens : most;
}

uint32_t oracle_available(const struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us,
                          int64_t slack_us)
{
	int64_t window_us = (int64_t)policy->window_us;
	uint64_t used = 0;

	switch (policy->algorithm) {
	case SLUICE_SLIDING_LOG:
		used = log_used(oracle, window_us, at_us, slack_us);
		break;
	case SLUICE_SLIDING_COUNTER:
		used = counter_used(oracle, window_us, at_us);
		break;
	case SLUICE_FIXED_WINDOW:
		used = fixed_used(oracle, window_us, at_us);
		break;
	case SLUICE_TOKEN_BUCKET:
		return (uint32_t)(bucket_tokens(oracle, policy, at_us) / window_us);
	}
	return used < policy->limit ? policy->limit - (uint32_t)used : 0;
}

int64_t oracle_earliest(const struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us, uint32_t units)
{
	int64_t low = at_us;
	int64_t high = at_us + 2 * (int64_t)policy->window_us;

	if (policy->algorithm == SLUICE_TOKEN_BUCKET)
		high = at_us + (int64_t)((wide)policy->burst * policy->window_us / policy->limit) + 1;
	/* What is available only grows while nothing is taken. */
	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (oracle_available(oracle, policy, middle, 0) >= units)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int note(struct oracle *oracle, int64_t at_us, uint32_t units)
{
	if (oracle->count == oracle->room) {
		size_t room = oracle->room > 0 ? oracle->room * 2 : 64;
		struct oracle_take *takes = realloc(oracle->takes, room * sizeof *takes);

		if (takes == NULL)
			return -1;
		oracle->takes = takes;
		oracle->room = room;
	}
	oracle->takes[oracle->count].at_us = at_us;
	oracle->takes[oracle->count].units = units;
	oracle->takes[oracle->count].before = units_of(oracle, oracle->count);
	oracle->count++;
	oracle->newest_us = at_us;
	return 0;
}

int oracle_admit(struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us, uint32_t units)
{
	int64_t window_us = (int64_t)policy->window_us;

	if (policy->algorithm == SLUICE_FIXED_WINDOW && fixed_used(oracle, window_us, at_us) == 0)
		oracle->anchor_us = at_us;
	if (policy->algorithm == SLUICE_SLIDING_COUNTER)
		oracle->anchor_us = counter_start(oracle, window_us, at_us);
	if (policy->algorithm == SLUICE_TOKEN_BUCKET) {
		oracle->tokens = bucket_tokens(oracle, policy, at_us) - (wide)units * window_us;
		oracle->filled = true;
	}
	return note(oracle, at_us, units);
}

void oracle_refund(struct oracle *oracle, const struct sluice_policy *policy, uint64_t now_us, int64_t given_us,
                   uint32_t units)
{
	int64_t window_us = (int64_t)policy->window_us;
	size_t i = takes_before(oracle, given_us + 1);

	/* What has left the log is not given back, also when the clock steps back afterwards. */
	if (policy->algorithm == SLUICE_SLIDING_LOG && given_us + window_us <= oracle_at(oracle, now_us))
		return;
	if (policy->algorithm == SLUICE_TOKEN_BUCKET && given_us != oracle->newest_us)
		return;
	while (units > 0 && i > 0 && oracle->takes[i - 1].at_us == given_us) {
		struct oracle_take *take = &oracle->takes[--i];
		uint32_t back = take->units < units ? take->units : units;

		take->units -= back;
		units -= back;
		for (size_t later = i + 1; later < oracle->count; later++)
			oracle->takes[later].before -= back;
		if (policy->algorithm == SLUICE_TOKEN_BUCKET)
			oracle->tokens += (wide)back * window_us;
	}
}

/* In any time that ends now, no more than the burst and what flowed back meanwhile. */
static bool bucket_broken(const struct oracle *oracle, const struct sluice_policy *policy)
{
	uint64_t all = units_of(oracle, oracle->count);

	for (size_t i = oracle->count, n = 0; i > 0 && n < 64; i--, n++) {
		const struct oracle_take *take = &oracle->takes[i - 1];
		wide passed = (wide)(all - take->before) * policy->window_us;
		wide flowed = (wide)(oracle->newest_us - take->at_us) * policy->limit;

		if (passed > (wide)policy->burst * policy->window_us + flowed)
			return true;
	}
	return false;
}

const char *oracle_broken(const struct oracle *oracle, const struct sluice_policy *policy, uint32_t most)
{
	int64_t newest_us = oracle->newest_us;
	uint64_t passed = log_used(oracle, (int64_t)policy->window_us, newest_us, 0);

	switch (policy->algorithm) {
	case SLUICE_SLIDING_LOG:
		return passed > policy->limit ? "more than the limit passed in one window" : NULL;
	case SLUICE_SLIDING_COUNTER:
		return passed >= UINT64_C(2) * most ? "twice the limit passed in one window" : NULL;
	case SLUICE_FIXED_WINDOW:
		return passed > UINT64_C(2) * most ? "more than twice the limit passed in one window" : NULL;
	case SLUICE_TOKEN_BUCKET:
		return bucket_broken(oracle, policy) ? "more than the burst and what flowed back passed" : NULL;
	}
	return "unknown algorithm";
}
