/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_bucket.c: the bucket as a meter of what is owed. A take adds its cost to the debt, time pays it
 * back, and a take passes when the debt would not exceed that of a whole burst.
 *
 * One unit of cost owes window / gcd(window, limit), one microsecond pays limit / gcd(window, limit), so
 * every figure is exact. A debt that was written under another rate of paying back is converted so that
 * it takes as long to pay as before, rounded up.
 */
#include "core/state.h"

enum { BUCKET_LEN = 24, BUCKET_DRAIN = 12, BUCKET_DEBT = 16 };

struct bucket {
	uint64_t newest_us;
	uint64_t debt; /* at newest_us; after bucket_drain() at the time asked for */
	uint32_t drain;
};

/* @return STATE_OURS, STATE_EMPTY (`bucket` then owes nothing) or SLUICE_EFORMAT. */
static inline int bucket_read(struct bucket *bucket, const uint8_t *state, size_t len,
                              const struct sluice_policy *policy)
{
	int kind = state_kind(state, len, policy);

	*bucket = (struct bucket){ .drain = policy->drain };
	if (kind != STATE_OURS)
		return kind;
	if (len < BUCKET_LEN)
		return SLUICE_EFORMAT;
	bucket->newest_us = load64(state + STATE_NEWEST);
	bucket->drain = load32(state + BUCKET_DRAIN);
	bucket->debt = load64(state + BUCKET_DEBT);
	if (bucket->newest_us > SLUICE_TIME_MAX_US || bucket->debt >= EXACT_MAX)
		return SLUICE_EFORMAT;
	return bucket->drain >= 1 && bucket->drain <= SLUICE_LIMIT_MAX ? STATE_OURS : SLUICE_EFORMAT;
}

/* ceil(debt * drain / bucket->drain), at most what a state may hold. */
static void bucket_adopt(struct bucket *bucket, uint32_t drain)
{
	uint64_t whole = bucket->debt / bucket->drain;
	uint64_t rest = bucket->debt % bucket->drain;

	if (whole >= (EXACT_MAX - 1) / drain)
		bucket->debt = EXACT_MAX - 1;
	else
		bucket->debt = whole * drain + div_ceil(rest * drain, bucket->drain);
	bucket->drain = drain;
}

static inline void bucket_drain(struct bucket *bucket, uint64_t elapsed_us)
{
	uint64_t paid;

	if (__builtin_mul_overflow(elapsed_us, bucket->drain, &paid) || paid >= bucket->debt)
		bucket->debt = 0;
	else
		bucket->debt -= paid;
}

static inline int bucket_look(struct bucket *bucket, struct moment *moment, const uint8_t *state, size_t len,
                              const struct sluice_policy *policy, uint64_t now_us)
{
	if (bucket_read(bucket, state, len, policy) == SLUICE_EFORMAT)
		return SLUICE_EFORMAT;
	if (bucket->drain != policy->drain)
		bucket_adopt(bucket, policy->drain);
	*moment = moment_of(now_us, bucket->newest_us);
	bucket_drain(bucket, moment->at_us - bucket->newest_us);
	return SLUICE_OK;
}

/* The wait until so much is paid back, which begins when time goes on. */
static inline uint64_t wait_to_pay(uint64_t debt, const struct sluice_policy *policy, const struct moment *moment)
{
	uint64_t pay_us = policy->drain == 1 ? debt : div_ceil(debt, policy->drain);

	return pay_us + (moment->at_us - moment->now_us);
}

static inline void bucket_decide(const struct bucket *bucket, const struct sluice_policy *policy,
                                 const struct moment *moment, uint32_t cost, struct sluice_decision *out)
{
	uint64_t full = policy->burst * policy->unit_debt;

	out->limit = policy->burst;
	out->remaining = bucket->debt < full ? (uint32_t)((full - bucket->debt) / policy->unit_debt) : 0;
	out->allowed = cost <= out->remaining;
	out->at_us = moment->at_us;
	out->reset_after_us = bucket->debt > 0 ? wait_to_pay(bucket->debt, policy, moment) : 0;
	if (out->allowed)
		out->retry_after_us = 0;
	else if (cost > policy->burst)
		out->retry_after_us = SLUICE_NEVER;
	else
		out->retry_after_us =
			wait_to_pay(bucket->debt - (policy->burst - cost) * policy->unit_debt, policy, moment);
}

static size_t bucket_max(const struct sluice_policy *policy)
{
	return BUCKET_LEN;
}

static size_t bucket_room(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                          uint32_t cost)
{
	return state_room_fixed(len, policy->burst, cost, BUCKET_LEN);
}

static int bucket_move(uint8_t *to, size_t to_len, const uint8_t *from, size_t from_len,
                       const struct sluice_policy *policy)
{
	struct bucket bucket;
	int kind = bucket_read(&bucket, from, from_len, policy);
	int result = state_move_fixed(to, to_len, from, kind, BUCKET_LEN);

	if (kind != STATE_OURS && result != SLUICE_EROOM) {
		state_save_head(to, policy, 0);
		save32(to + BUCKET_DRAIN, policy->drain);
	}
	return result;
}

static int bucket_take(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                       struct sluice_decision *out)
{
	struct bucket bucket;
	struct moment moment;

	if (bucket_look(&bucket, &moment, state, len, policy, now_us) != SLUICE_OK)
		return SLUICE_EFORMAT;
	bucket_decide(&bucket, policy, &moment, cost, out);
	if (!out->allowed)
		return SLUICE_OK;
	if (len < BUCKET_LEN)
		return SLUICE_EROOM;
	bucket.debt += cost * policy->unit_debt;
	state_save_head(state, policy, moment.at_us);
	save32(state + BUCKET_DRAIN, policy->drain);
	save64(state + BUCKET_DEBT, bucket.debt);
	out->remaining -= cost;
	out->reset_after_us = wait_to_pay(bucket.debt, policy, &moment);
	return SLUICE_OK;
}

static int bucket_peek(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                       uint32_t cost, struct sluice_decision *out)
{
	struct bucket bucket;
	struct moment moment;

	if (bucket_look(&bucket, &moment, state, len, policy, now_us) != SLUICE_OK)
		return SLUICE_EFORMAT;
	bucket_decide(&bucket, policy, &moment, cost, out);
	return SLUICE_OK;
}

/*
 * The debt as of the newest take still holds the whole cost of it, so giving that back leaves what there
 * would be without it. Of an older take, part is paid back and no one knows which: it keeps its cost,
 * and so does one that was written under another rate.
 */
static int bucket_refund(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                         uint64_t given_us)
{
	struct bucket bucket;
	int kind = bucket_read(&bucket, state, len, policy);
	uint64_t owed;

	if (kind != STATE_OURS || given_us != bucket.newest_us || bucket.drain != policy->drain)
		return kind == SLUICE_EFORMAT ? SLUICE_EFORMAT : SLUICE_OK;
	if (cost > policy->burst)
		cost = policy->burst; /* no take was larger; keeps the product below 2^53 */
	owed = cost * policy->unit_debt;
	save64(state + BUCKET_DEBT, bucket.debt > owed ? bucket.debt - owed : 0);
	return SLUICE_OK;
}

const struct algorithm algorithm_token_bucket = {
	.max = bucket_max,
	.room = bucket_room,
	.move = bucket_move,
	.take = bucket_take,
	.peek = bucket_peek,
	.refund = bucket_refund,
};
