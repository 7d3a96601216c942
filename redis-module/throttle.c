/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.c: CL.THROTTLE by our token-bucket.
 */
#include "redis-module/throttle.h"

#include <string.h>

#include "core/state.h"

#define SECOND_US UINT64_C(1000000)
#define PERIOD_MAX_S (SLUICE_WINDOW_MAX_US / SECOND_US)

enum {
	TIME_DIGITS = 19, /* of the nanoseconds from 1970 until some day from 2001 to 2262 */
	BUCKET_DRAIN = 12,
	BUCKET_DEBT = 16,
};

/* @return false: it is no decimal integer of 64 bits. */
static bool read_integer(const struct word *word, int64_t *number)
{
	const char *at = word->at, *end = word->at + word->len;
	bool negative = word->len > 0 && *at == '-';
	int64_t value = 0;

	if (word->len > 0 && (*at == '-' || *at == '+'))
		at++;
	if (at == end)
		return false;
	/* Downwards, as there is one more negative number than there are positive ones. */
	for (; at < end; at++) {
		if (*at < '0' || *at > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, *at - '0', &value))
			return false;
	}
	if (!negative && __builtin_sub_overflow(0, value, &value))
		return false;
	*number = value;
	return true;
}

static int read_between(const struct word *word, const char *name, int64_t least, int64_t most, int64_t *number,
                        struct why *why)
{
	char quoted[WHY_QUOTED_MAX];

	if (read_integer(word, number) && *number >= least && *number <= most)
		return 0;
	return why_set(why, "%s must be a whole number from %lld to %lld, not %s", name, (long long)least,
	               (long long)most, word_quote(word, quoted));
}

static void set_quantity(struct throttle *throttle, int64_t quantity)
{
	uint64_t units = quantity < 0 ? -(uint64_t)quantity : (uint64_t)quantity;

	throttle->gives_back = quantity < 0;
	throttle->cost = units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
}

int throttle_read(struct throttle *throttle, const struct word *words, size_t n, struct why *why)
{
	int64_t max_burst, count, period_s, quantity = 1;

	if (read_between(&words[0], "max_burst", 0, SLUICE_LIMIT_MAX - 1, &max_burst, why) != 0 ||
	    read_between(&words[1], "count_per_period", 1, SLUICE_LIMIT_MAX, &count, why) != 0 ||
	    read_between(&words[2], "period", 1, PERIOD_MAX_S, &period_s, why) != 0)
		return -1;
	if (n == THROTTLE_WORDS_MAX && read_between(&words[3], "quantity", INT64_MIN, INT64_MAX, &quantity, why) != 0)
		return -1;
	set_quantity(throttle, quantity);
	if (sluice_policy_init(&throttle->policy, SLUICE_TOKEN_BUCKET, (uint32_t)count, (uint64_t)period_s * SECOND_US,
	                       (uint32_t)max_burst + 1, NULL) != SLUICE_OK)
		return why_set(why, "max_burst is too large for this rate: (max_burst + 1) * period / gcd(period, "
		                    "count_per_period), with the period in microseconds, must stay below 2^53; take a "
		                    "smaller max_burst, a shorter period, or a count_per_period that divides it");
	return 0;
}

/* @return false: it is no time that redis-cell would have left. */
static bool read_arrival(const void *bytes, size_t len, uint64_t *arrival_ns)
{
	struct word text = { .at = bytes, .len = len };
	int64_t number;

	if (len != TIME_DIGITS || text.at[0] < '1' || text.at[0] > '9' || !read_integer(&text, &number))
		return false;
	*arrival_ns = (uint64_t)number;
	return true;
}

bool throttle_left_behind(const void *bytes, size_t len)
{
	uint64_t arrival_ns;

	return read_arrival(bytes, len, &arrival_ns);
}

/* Until the arrival, time pays the debt. So much of it is owed now; at most what a state may hold. */
static uint64_t debt_until(uint64_t arrival_ns, uint64_t now_us, uint32_t drain)
{
	unsigned __int128 now_ns = (unsigned __int128)now_us * 1000, debt;

	if (arrival_ns <= now_ns)
		return 0;
	debt = ((arrival_ns - now_ns) * drain + 999) / 1000;
	return debt < EXACT_MAX ? (uint64_t)debt : EXACT_MAX - 1;
}

int throttle_adopt(uint8_t state[THROTTLE_STATE_LEN], const struct sluice_policy *policy, const void *bytes, size_t len,
                   uint64_t now_us)
{
	uint64_t arrival_ns;

	if (!read_arrival(bytes, len, &arrival_ns))
		return sluice_state_move(state, THROTTLE_STATE_LEN, bytes, len, policy);
	if (now_us > SLUICE_TIME_MAX_US)
		now_us = SLUICE_TIME_MAX_US;
	state_save_head(state, policy, now_us);
	save32(state + BUCKET_DRAIN, policy->drain);
	save64(state + BUCKET_DEBT, debt_until(arrival_ns, now_us, policy->drain));
	return SLUICE_OK;
}

static int64_t whole_seconds(uint64_t us)
{
	return (int64_t)div_ceil(us, SECOND_US);
}

/* A call that takes nothing is limited while more is owed than a full bucket, which is so after the limit was lowered.
 * `decision` is that of a look. */
static void answer_look(const struct sluice_policy *policy, uint64_t now_us, const struct sluice_decision *decision,
                        struct throttle_answer *answer)
{
	uint64_t full = policy->burst * policy->unit_debt;
	uint64_t now_at_most_us = now_us < SLUICE_TIME_MAX_US ? now_us : SLUICE_TIME_MAX_US;
	uint64_t stands_still_us = decision->at_us - now_at_most_us; /* until a clock that was set back has caught up */

	answer->limited = decision->reset_after_us > div_ceil(full, policy->drain) + stands_still_us;
	answer->retry_s = answer->limited ? whole_seconds(decision->reset_after_us - full / policy->drain) : -1;
}

static void answer_take(const struct sluice_decision *decision, struct throttle_answer *answer)
{
	bool waits = !decision->allowed && decision->retry_after_us != SLUICE_NEVER;

	answer->limited = !decision->allowed;
	answer->retry_s = waits ? whole_seconds(decision->retry_after_us) : -1;
}

/* The debt of a bucket is that at its newest time, so what is given back to that time comes off what is owed now. */
static int give_back(const struct throttle *throttle, uint8_t *state, uint64_t now_us, struct sluice_decision *decision)
{
	return sluice_refund(state, THROTTLE_STATE_LEN, &throttle->policy, now_us, throttle->cost,
	                     load64(state + STATE_NEWEST), decision);
}

int throttle_decide(const struct throttle *throttle, uint8_t state[THROTTLE_STATE_LEN], uint64_t now_us,
                    struct sluice_decision *decision, struct throttle_answer *answer)
{
	const struct sluice_policy *policy = &throttle->policy;
	bool takes = throttle->cost > 0 && !throttle->gives_back;
	int result;

	if (takes)
		result = sluice_take(state, THROTTLE_STATE_LEN, policy, now_us, throttle->cost, decision);
	else if (throttle->gives_back)
		result = give_back(throttle, state, now_us, decision);
	else
		result = sluice_peek(state, THROTTLE_STATE_LEN, policy, now_us, 1, decision);
	if (result != SLUICE_OK)
		return result;
	answer->limit = decision->limit;
	answer->remaining = decision->remaining;
	answer->reset_s = whole_seconds(decision->reset_after_us);
	if (takes)
		answer_take(decision, answer);
	else
		answer_look(policy, now_us, decision, answer);
	return SLUICE_OK;
}
