/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.c: checks a policy once, so that decisions need not.
 */
#include "core/state.h"

static const char *const algorithm_names[] = {
	[SLUICE_SLIDING_LOG] = "sliding-log",
	[SLUICE_SLIDING_COUNTER] = "sliding-counter",
	[SLUICE_FIXED_WINDOW] = "fixed-window",
	[SLUICE_TOKEN_BUCKET] = "token-bucket",
};

const char *sluice_algorithm_name(enum sluice_algorithm algorithm)
{
	/* As an int: whether an enum is signed is the compiler's choice. */
	int value = (int)algorithm;

	return value >= SLUICE_SLIDING_LOG && value <= SLUICE_TOKEN_BUCKET ? algorithm_names[value] : NULL;
}

enum sluice_algorithm sluice_algorithm_parse(const char *name)
{
	for (int i = SLUICE_SLIDING_LOG; i <= SLUICE_TOKEN_BUCKET; i++) {
		if (strcmp(name, algorithm_names[i]) == 0)
			return (enum sluice_algorithm)i;
	}
	return (enum sluice_algorithm)0;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* A bucket that is full owes burst * unit_debt, the largest number that a decision has to do with. */
static const char *derive_token_bucket(struct sluice_policy *policy)
{
	uint64_t divisor = gcd(policy->window_us, policy->limit);

	policy->drain = (uint32_t)(policy->limit / divisor);
	policy->unit_debt = policy->window_us / divisor;
	if (policy->unit_debt > (EXACT_MAX - 1) / policy->burst)
		return "burst * window / gcd(limit, window), in microseconds, must stay below 2^53: take a smaller "
		       "burst, a "
		       "shorter window, or a limit that divides the window";
	return NULL;
}

/* The coarsest ring in which no age of an entry that still counts reaches half of the 2^32 ticks. */
static void derive_sliding_log(struct sluice_policy *policy)
{
	policy->tick_us = (uint32_t)div_ceil(policy->window_us, UINT64_C(1) << 31);
}

static const char *policy_fill(struct sluice_policy *policy, enum sluice_algorithm algorithm, uint32_t limit,
                               uint64_t window_us, uint32_t burst)
{
	memset(policy, 0, sizeof *policy);
	if (sluice_algorithm_name(algorithm) == NULL)
		return "algorithm must be sliding-log, sliding-counter, fixed-window or token-bucket";
	if (limit < 1 || limit > SLUICE_LIMIT_MAX)
		return "limit must be from 1 to 16777216";
	if (window_us < SLUICE_WINDOW_MIN_US || window_us > SLUICE_WINDOW_MAX_US)
		return "window must be from 1 millisecond to 366 days";
	if (burst > SLUICE_LIMIT_MAX)
		return "burst must be from 1 to 16777216, or 0 for the same as limit";
	if (algorithm != SLUICE_TOKEN_BUCKET && burst != 0 && burst != limit)
		return "burst is for token-bucket only: leave it out, or make it equal to limit";

	policy->algorithm = algorithm;
	policy->limit = limit;
	policy->burst = burst != 0 ? burst : limit;
	policy->window_us = window_us;
	if (algorithm == SLUICE_TOKEN_BUCKET)
		return derive_token_bucket(policy);
	if (algorithm == SLUICE_SLIDING_LOG)
		derive_sliding_log(policy);
	return NULL;
}

int sluice_policy_init(struct sluice_policy *policy, enum sluice_algorithm algorithm, uint32_t limit,
                       uint64_t window_us, uint32_t burst, const char **why)
{
	const char *fault = policy_fill(policy, algorithm, limit, window_us, burst);

	if (fault == NULL)
		return SLUICE_OK;
	/* So that it is refused by every function, should someone use it all the same. */
	memset(policy, 0, sizeof *policy);
	if (why != NULL)
		*why = fault;
	return SLUICE_EINVAL;
}
