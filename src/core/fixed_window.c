/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixed_window.c: one counter. A window starts with a take that finds none running and ends one
 * window later; windows of an idle key are not counted on.
 *
 * A state whose newest take is a window or more after its start was written under a longer window.
 * All of its units may have come with the newest take, so its window is held to start there.
 */
#include "core/state.h"

enum { WINDOW_LEN = 24, WINDOW_COUNT = 12, WINDOW_START = 16 };

struct window {
	uint64_t newest_us;
	uint64_t start_us;
	uint32_t count;
};

static inline bool window_sound(const struct window *window)
{
	return window->newest_us <= SLUICE_TIME_MAX_US && window->start_us <= window->newest_us &&
	       window->newest_us - window->start_us < SLUICE_WINDOW_MAX_US && window->count <= SLUICE_LIMIT_MAX;
}

/* @return STATE_OURS, STATE_EMPTY (`window` is then all 0) or SLUICE_EFORMAT. */
static inline int window_read(struct window *window, const uint8_t *state, size_t len,
                              const struct sluice_policy *policy)
{
	int kind = state_kind(state, len, policy);

	*window = (struct window){ 0 };
	if (kind != STATE_OURS)
		return kind;
	if (len < WINDOW_LEN)
		return SLUICE_EFORMAT;
	window->newest_us = load64(state + STATE_NEWEST);
	window->count = load32(state + WINDOW_COUNT);
	window->start_us = load64(state + WINDOW_START);
	return window_sound(window) ? STATE_OURS : SLUICE_EFORMAT;
}

/* The window that is running at a time: the one in the state, or an empty one that starts now. */
static inline void window_roll(struct window *window, const struct sluice_policy *policy, uint64_t at_us)
{
	if (window->newest_us - window->start_us >= policy->window_us)
		window->start_us = window->newest_us;
	if (at_us - window->start_us >= policy->window_us)
		window->count = 0;
	if (window->count == 0)
		window->start_us = at_us;
}

/* What a take and a peek have in common. */
static inline int window_look(struct window *window, struct moment *moment, const uint8_t *state, size_t len,
                              const struct sluice_policy *policy, uint64_t now_us)
{
	if (window_read(window, state, len, policy) == SLUICE_EFORMAT)
		return SLUICE_EFORMAT;
	*moment = moment_of(now_us, window->newest_us);
	window_roll(window, policy, moment->at_us);
	return SLUICE_OK;
}

static inline void window_decide(const struct window *window, const struct sluice_policy *policy,
                                 const struct moment *moment, uint32_t cost, struct sluice_decision *out)
{
	uint64_t ends_after_us = window->start_us + policy->window_us - moment->now_us;

	out->limit = policy->limit;
	out->remaining = window->count < policy->limit ? policy->limit - window->count : 0;
	out->allowed = cost <= out->remaining;
	out->at_us = moment->at_us;
	out->reset_after_us = window->count > 0 ? ends_after_us : 0;
	out->retry_after_us = 0;
	if (!out->allowed)
		out->retry_after_us = cost > policy->limit ? SLUICE_NEVER : ends_after_us;
}

static size_t window_max(const struct sluice_policy *policy)
{
	return WINDOW_LEN;
}

static size_t window_room(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                          uint32_t cost)
{
	return state_room_fixed(len, policy->limit, cost, WINDOW_LEN);
}

static int window_move(uint8_t *to, size_t to_len, const uint8_t *from, size_t from_len,
                       const struct sluice_policy *policy)
{
	struct window window;
	int kind = window_read(&window, from, from_len, policy);
	int result = state_move_fixed(to, to_len, from, kind, WINDOW_LEN);

	if (kind != STATE_OURS && result != SLUICE_EROOM)
		state_save_head(to, policy, 0);
	return result;
}

static int window_take(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                       struct sluice_decision *out)
{
	struct window window;
	struct moment moment;

	if (window_look(&window, &moment, state, len, policy, now_us) != SLUICE_OK)
		return SLUICE_EFORMAT;
	window_decide(&window, policy, &moment, cost, out);
	if (!out->allowed)
		return SLUICE_OK;
	if (len < WINDOW_LEN)
		return SLUICE_EROOM;
	state_save_head(state, policy, moment.at_us);
	save32(state + WINDOW_COUNT, window.count + cost);
	save64(state + WINDOW_START, window.start_us);
	out->remaining -= cost;
	out->reset_after_us = window.start_us + policy->window_us - moment.now_us;
	return SLUICE_OK;
}

static int window_peek(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                       uint32_t cost, struct sluice_decision *out)
{
	struct window window;
	struct moment moment;

	if (window_look(&window, &moment, state, len, policy, now_us) != SLUICE_OK)
		return SLUICE_EFORMAT;
	window_decide(&window, policy, &moment, cost, out);
	return SLUICE_OK;
}

/* The start in the state is the first of the takes that it counts, the newest the last of them. */
static int window_refund(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                         uint64_t given_us)
{
	struct window window;
	int kind = window_read(&window, state, len, policy);

	if (kind != STATE_OURS || given_us < window.start_us || given_us > window.newest_us)
		return kind == SLUICE_EFORMAT ? SLUICE_EFORMAT : SLUICE_OK;
	/* When the window is over the count matters no more, and lowering it does no harm. */
	save32(state + WINDOW_COUNT, window.count > cost ? window.count - cost : 0);
	return SLUICE_OK;
}

const struct algorithm algorithm_fixed_window = {
	.max = window_max,
	.room = window_room,
	.move = window_move,
	.take = window_take,
	.peek = window_peek,
	.refund = window_refund,
};
