/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sliding_counter.c: two counters for two windows that follow one another; the older counts in the
 * proportion in which the sliding window still covers it, rounded up.
 *
 * The first window starts with a take that finds nothing counted, the next ones where the last ended.
 * A product of units and microseconds may need 69 bits; it is never formed. See scale_down() and
 * weight(), which a script can follow step by step in doubles.
 */
#include "core/state.h"

enum { COUNTER_LEN = 28, COUNTER_NOW = 12, COUNTER_BEFORE = 16, COUNTER_START = 20 };

struct counter {
	uint64_t newest_us;
	uint64_t start_us; /* of the window of `now` */
	uint32_t now;      /* units in that window */
	uint32_t before;   /* units in the window before it */
};

static inline bool counter_sound(const struct counter *counter)
{
	return counter->newest_us <= SLUICE_TIME_MAX_US && counter->start_us <= counter->newest_us &&
	       counter->newest_us - counter->start_us < SLUICE_WINDOW_MAX_US && counter->now <= SLUICE_LIMIT_MAX &&
	       counter->before <= SLUICE_LIMIT_MAX;
}

/* @return STATE_OURS, STATE_EMPTY (`counter` is then all 0) or SLUICE_EFORMAT. */
static inline int counter_read(struct counter *counter, const uint8_t *state, size_t len,
                               const struct sluice_policy *policy)
{
	int kind = state_kind(state, len, policy);

	*counter = (struct counter){ 0 };
	if (kind != STATE_OURS)
		return kind;
	if (len < COUNTER_LEN)
		return SLUICE_EFORMAT;
	counter->newest_us = load64(state + STATE_NEWEST);
	counter->now = load32(state + COUNTER_NOW);
	counter->before = load32(state + COUNTER_BEFORE);
	counter->start_us = load64(state + COUNTER_START);
	return counter_sound(counter) ? STATE_OURS : SLUICE_EFORMAT;
}

/* A state whose newest take is a window or more after the start was written under a longer window. All
 * that it counts as `now` may have come with the newest take, and what came before it is out of reach. */
static inline void counter_adopt(struct counter *counter, const struct sluice_policy *policy)
{
	if (counter->newest_us - counter->start_us < policy->window_us)
		return;
	counter->start_us = counter->newest_us;
	counter->before = 0;
}

/* Makes the window of `now` the one that a time lies in. */
static inline void counter_roll(struct counter *counter, const struct sluice_policy *policy, uint64_t at_us)
{
	uint64_t elapsed_us = at_us - counter->start_us;

	if (elapsed_us >= 2 * policy->window_us) {
		counter->before = 0;
		counter->now = 0;
	} else if (elapsed_us >= policy->window_us) {
		counter->before = counter->now;
		counter->now = 0;
		counter->start_us += policy->window_us;
	}
	if (counter->before == 0 && counter->now == 0)
		counter->start_us = at_us;
}

/*
 * ceil(units * part / whole) for units up to 2^24 and part <= whole < 2^45. By halves of 12 bits when
 * the product might not fit, as in long division.
 */
static inline uint32_t weight(uint32_t units, uint64_t part, uint64_t whole)
{
	uint64_t high, low;

	if (part < UINT64_C(1) << 40)
		return (uint32_t)div_ceil(units * part, whole);
	high = (units >> 12) * part;
	low = (high % whole << 12) + (units & 0xfff) * part;
	return (uint32_t)((high / whole << 12) + div_ceil(low, whole));
}

/* floor(whole * part / units) for part < units up to 2^24; nothing in it is above `whole` or 2^48. No units
 * are in nobody's way, however much of a window is left. */
static inline uint64_t scale_down(uint64_t whole, uint32_t part, uint32_t units)
{
	return units > 0 ? whole / units * part + whole % units * part / units : whole;
}

/*
 * When a take that was denied will be admitted. Units that count for at most `spare` < units let it
 * pass, and ceil(units * left / window) <= spare exactly while left <= floor(spare * window / units).
 */
static uint64_t counter_admits_at(const struct counter *counter, const struct sluice_policy *policy, uint32_t cost)
{
	uint32_t spare = policy->limit - cost; /* cost is at most the limit here */

	if (counter->now <= spare) /* as the older units fade. At the end of the window they are gone */
		return counter->start_us + policy->window_us -
		       scale_down(policy->window_us, spare - counter->now, counter->before);
	/* Only in the next window, where those of now are the older ones and fade in turn. */
	return counter->start_us + 2 * policy->window_us - scale_down(policy->window_us, spare, counter->now);
}

static inline uint64_t counter_empty_at(const struct counter *counter, const struct sluice_policy *policy)
{
	return counter->start_us + (counter->now > 0 ? 2 : 1) * policy->window_us;
}

static inline void counter_decide(const struct counter *counter, const struct sluice_policy *policy,
                                  const struct moment *moment, uint32_t cost, struct sluice_decision *out)
{
	uint64_t left_us = counter->start_us + policy->window_us - moment->at_us;
	uint32_t used = counter->now;

	if (counter->before > 0)
		used += weight(counter->before, left_us, policy->window_us);
	out->limit = policy->limit;
	out->remaining = used < policy->limit ? policy->limit - used : 0;
	out->allowed = cost <= out->remaining;
	out->at_us = moment->at_us;
	out->reset_after_us = used > 0 ? counter_empty_at(counter, policy) - moment->now_us : 0;
	if (out->allowed)
		out->retry_after_us = 0;
	else if (cost > policy->limit)
		out->retry_after_us = SLUICE_NEVER;
	else
		out->retry_after_us = counter_admits_at(counter, policy, cost) - moment->now_us;
}

static size_t counter_max(const struct sluice_policy *policy)
{
	return COUNTER_LEN;
}

static size_t counter_room(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                           uint32_t cost)
{
	return state_room_fixed(len, policy->limit, cost, COUNTER_LEN);
}

static int counter_move(uint8_t *to, size_t to_len, const uint8_t *from, size_t from_len,
                        const struct sluice_policy *policy)
{
	struct counter counter;
	int kind = counter_read(&counter, from, from_len, policy);
	int result = state_move_fixed(to, to_len, from, kind, COUNTER_LEN);

	if (kind != STATE_OURS && result != SLUICE_EROOM)
		state_save_head(to, policy, 0);
	return result;
}

/* What a take and a peek have in common. */
static inline int counter_look(struct counter *counter, struct moment *moment, const uint8_t *state, size_t len,
                               const struct sluice_policy *policy, uint64_t now_us)
{
	if (counter_read(counter, state, len, policy) == SLUICE_EFORMAT)
		return SLUICE_EFORMAT;
	*moment = moment_of(now_us, counter->newest_us);
	counter_adopt(counter, policy);
	counter_roll(counter, policy, moment->at_us);
	return SLUICE_OK;
}

static int counter_take(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                        struct sluice_decision *out)
{
	struct counter counter;
	struct moment moment;

	if (counter_look(&counter, &moment, state, len, policy, now_us) != SLUICE_OK)
		return SLUICE_EFORMAT;
	counter_decide(&counter, policy, &moment, cost, out);
	if (!out->allowed)
		return SLUICE_OK;
	if (len < COUNTER_LEN)
		return SLUICE_EROOM;
	counter.now += cost;
	state_save_head(state, policy, moment.at_us);
	save32(state + COUNTER_NOW, counter.now);
	save32(state + COUNTER_BEFORE, counter.before);
	save64(state + COUNTER_START, counter.start_us);
	out->remaining -= cost;
	out->reset_after_us = counter_empty_at(&counter, policy) - moment.now_us;
	return SLUICE_OK;
}

static int counter_peek(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                        uint32_t cost, struct sluice_decision *out)
{
	struct counter counter;
	struct moment moment;

	if (counter_look(&counter, &moment, state, len, policy, now_us) != SLUICE_OK)
		return SLUICE_EFORMAT;
	counter_decide(&counter, policy, &moment, cost, out);
	return SLUICE_OK;
}

/* Units are found by the window that their time lies in, in the state as it was last written. When they
 * count no longer, lowering the counter does no harm. */
static int counter_refund(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                          uint32_t cost, uint64_t given_us)
{
	struct counter counter;
	int kind = counter_read(&counter, state, len, policy);

	if (kind != STATE_OURS || given_us > counter.newest_us)
		return kind == SLUICE_EFORMAT ? SLUICE_EFORMAT : SLUICE_OK;
	if (given_us >= counter.start_us)
		save32(state + COUNTER_NOW, counter.now > cost ? counter.now - cost : 0);
	else if (counter.start_us - given_us <= policy->window_us)
		save32(state + COUNTER_BEFORE, counter.before > cost ? counter.before - cost : 0);
	return SLUICE_OK;
}

const struct algorithm algorithm_sliding_counter = {
	.max = counter_max,
	.room = counter_room,
	.move = counter_move,
	.take = counter_take,
	.peek = counter_peek,
	.refund = counter_refund,
};
