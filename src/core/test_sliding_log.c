/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sliding_log.c: how the ring grows, moves, shrinks and is shared with other writers. What it
 * decides is tested by tests/conformance.
 */
#include <stdlib.h>

#include "core/test_support.h"

#define LEN(entries) (24 + 4 * (size_t)(entries))

static void test_growth(void **context)
{
	static const struct {
		uint32_t limit, have, cost, want; /* entries */
	} cases[] = {
		{ 10, 0, 1, 10 },       { 16, 0, 1, 16 },    { 17, 0, 1, 16 },        { 1000, 0, 1, 16 },
		{ 1000, 0, 17, 17 },    { 1000, 16, 1, 32 }, { 1000, 16, 30, 46 },    { 1000, 600, 1, 1000 },
		{ 1000, 999, 1, 1000 }, { 20, 16, 1, 20 },   { 1000, 1000, 1, 1000 }, { 1000, 0, 1000, 1000 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, cases[i].limit, SECOND);
		size_t len = cases[i].have > 0 ? LEN(cases[i].have) : 0;
		uint8_t *state = calloc(1, len + 1);

		assert_non_null(state);
		if (cases[i].have > 0) {
			assert_int_equal(sluice_state_move(state, len, NULL, 0, &policy), SLUICE_OK);
			must_take(state, len, &policy, 5, cases[i].have);
		}
		assert_int_equal(sluice_state_room(state, len, &policy, 5, cases[i].cost), LEN(cases[i].want));
		/* When all has left the window, what is there suffices. */
		if (cases[i].have >= cases[i].cost)
			assert_int_equal(sluice_state_room(state, len, &policy, 5 + SECOND, cases[i].cost), len);
		free(state);
	}
}

/* Fills a ring so that its oldest entry is not at its start: 10 s, 10 s + 1 us, 1 s, 2 s. */
static void wrapped(uint8_t *state, const struct sluice_policy *policy)
{
	assert_int_equal(sluice_state_move(state, LEN(4), NULL, 0, policy), SLUICE_OK);
	must_take(state, LEN(4), policy, 0, 2);
	must_take(state, LEN(4), policy, 1 * SECOND, 1);
	must_take(state, LEN(4), policy, 2 * SECOND, 1);
	must_take(state, LEN(4), policy, 10 * SECOND, 1);
	must_take(state, LEN(4), policy, 10 * SECOND + 1, 1);
	assert_int_equal(load32(state + 12), 2);
	assert_int_equal(load32(state + 16), 4);
	assert_int_equal(load32(state + 20), 4);
}

/* The four entries leave when they should: the oldest at 11 s and 12 s, the others at 20 s. */
static void expect_wrapped(const uint8_t *state, size_t len, const struct sluice_policy *policy)
{
	uint32_t spare = policy->limit - 4;

	assert_denied(must_peek(state, len, policy, 10 * SECOND + 1, spare + 1), spare, SECOND - 1);
	assert_denied(must_peek(state, len, policy, 10 * SECOND + 1, spare + 2), spare, 2 * SECOND - 1);
	assert_denied(must_peek(state, len, policy, 10 * SECOND + 1, spare + 3), spare, 10 * SECOND - 1);
	assert_denied(must_peek(state, len, policy, 10 * SECOND + 1, spare + 4), spare, 10 * SECOND);
}

static void test_widened_in_place(void **context)
{
	struct sluice_policy small = policy_of(SLUICE_SLIDING_LOG, 4, 10 * SECOND);
	struct sluice_policy large = policy_of(SLUICE_SLIDING_LOG, 9, 10 * SECOND);
	struct sluice_decision decision;
	uint8_t state[LEN(9)];

	memset(state, 0xee, sizeof state);
	wrapped(state, &small);
	assert_int_equal(sluice_take(state, LEN(4), &large, 10 * SECOND + 1, 1, &decision), SLUICE_EROOM);
	assert_int_equal(sluice_state_room(state, LEN(4), &large, 10 * SECOND + 1, 1), LEN(9));
	expect_wrapped(state, LEN(9), &large);
	assert_allowed(must_take(state, LEN(9), &large, 10 * SECOND + 1, 5), 0);
	assert_denied(must_peek(state, LEN(9), &large, 10 * SECOND + 1, 1), 0, SECOND - 1);
	assert_denied(must_peek(state, LEN(9), &large, 10 * SECOND + 1, 4), 0, 10 * SECOND);
	assert_int_equal(load32(state + 20), 9);
}

static void test_moved(void **context)
{
	struct sluice_policy small = policy_of(SLUICE_SLIDING_LOG, 4, 10 * SECOND);
	struct sluice_policy large = policy_of(SLUICE_SLIDING_LOG, 9, 10 * SECOND);
	uint8_t state[LEN(4)], moved[LEN(9)];

	wrapped(state, &small);
	assert_int_equal(sluice_state_move(moved, sizeof moved, state, sizeof state, &large), SLUICE_OK);
	expect_wrapped(moved, sizeof moved, &large);
	assert_int_equal(load32(moved + 12), 0);
	assert_int_equal(load32(moved + 20), 9);
}

/* Four units under a limit of two: three must leave, and the two newest tell when. */
static void test_moved_to_a_smaller_limit(void **context)
{
	struct sluice_policy four = policy_of(SLUICE_SLIDING_LOG, 4, 10 * SECOND);
	struct sluice_policy two = policy_of(SLUICE_SLIDING_LOG, 2, 10 * SECOND);
	uint8_t state[LEN(4)], moved[LEN(2)];

	wrapped(state, &four);
	assert_denied(must_peek(state, sizeof state, &two, 11 * SECOND - 1, 1), 0, 9 * SECOND + 1);
	assert_int_equal(sluice_state_move(moved, sizeof moved, state, sizeof state, &two), SLUICE_OK);
	assert_denied(must_peek(moved, sizeof moved, &two, 11 * SECOND - 1, 1), 0, 9 * SECOND + 1);
	assert_denied(must_peek(moved, sizeof moved, &two, 11 * SECOND - 1, 2), 0, 9 * SECOND + 2);
	/* The ring of four may be written under the limit of two as well. */
	assert_allowed(must_take(state, sizeof state, &two, 20 * SECOND, 1), 0);
	assert_int_equal(load32(state + 16), 2);
	assert_int_equal(load32(state + 20), 4);
}

static void test_another_window(void **context)
{
	struct sluice_policy minute = policy_of(SLUICE_SLIDING_LOG, 3, 60 * SECOND);
	struct sluice_policy second = policy_of(SLUICE_SLIDING_LOG, 3, SECOND);
	struct sluice_policy hours = policy_of(SLUICE_SLIDING_LOG, 3, 2 * HOUR);
	uint8_t state[LEN(3)];

	assert_int_equal(sluice_state_move(state, sizeof state, NULL, 0, &minute), SLUICE_OK);
	must_take(state, sizeof state, &minute, 0, 2);
	assert_allowed(must_peek(state, sizeof state, &second, SECOND, 3), 3);
	assert_denied(must_peek(state, sizeof state, &second, SECOND - 1, 2), 1, 1);
	/* Its ticks are longer than 1 us, so the times can't be compared: an empty state. */
	assert_allowed(must_peek(state, sizeof state, &hours, SECOND, 3), 3);
}

/* A string that was only written as far as it was used, under a modulus of 100. */
static size_t short_string(uint8_t *state, const struct sluice_policy *policy, uint32_t head, uint32_t count)
{
	state_save_head(state, policy, 1000);
	save32(state + 12, head);
	save32(state + 16, count);
	save32(state + 20, 100);
	for (uint32_t i = 0; i < count; i++)
		save32(state + LEN(head + i), 1000);
	return LEN(head + count);
}

static void test_short_string(void **context)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 100, SECOND);
	struct sluice_decision decision;
	uint8_t state[LEN(100)], moved[LEN(100)];
	size_t len = short_string(state, &policy, 5, 3), room;

	assert_allowed(must_peek(state, len, &policy, 1000, 97), 97);
	/* Eight entries fit, turned, in these bytes; a ninth does not. */
	assert_int_equal(sluice_state_room(state, len, &policy, 1000, 5), len);
	assert_allowed(must_take(state, len, &policy, 1000, 5), 92);
	assert_int_equal(load32(state + 20), 8);
	assert_int_equal(sluice_take(state, len, &policy, 1000, 1, &decision), SLUICE_EROOM);
	assert_int_equal(sluice_state_room(state, len, &policy, 1000, 1), LEN(16));

	len = short_string(state, &policy, 5, 3);
	room = sluice_state_room(state, len, &policy, 1000, 6);
	assert_int_equal(room, LEN(16));
	assert_int_equal(sluice_state_move(moved, room, state, len, &policy), SLUICE_OK);
	assert_allowed(must_take(moved, room, &policy, 1000, 6), 91);
	/* Lengthened where it lies, the modulus may stay. */
	assert_allowed(must_take(state, room, &policy, 1000, 6), 91);
	assert_int_equal(load32(state + 20), 100);
}

static void test_short_string_malformed(void **context)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 100, SECOND);
	struct sluice_decision decision;
	uint8_t state[LEN(100)] = { 0 };
	size_t len = short_string(state, &policy, 5, 3);

	assert_int_equal(sluice_peek(state, len - 1, &policy, 1000, 1, &decision), SLUICE_EFORMAT);
	assert_int_equal(sluice_peek(state, len - 4, &policy, 1000, 1, &decision), SLUICE_EFORMAT);
	assert_int_equal(sluice_peek(state, len + 1, &policy, 1000, 1, &decision), SLUICE_EFORMAT); /* half an entry */
	save32(state + 12, 98); /* turned, though the bytes end before the modulus */
	assert_int_equal(sluice_peek(state, len, &policy, 1000, 1, &decision), SLUICE_EFORMAT);
	save32(state + 16, 0); /* nothing in it, but begins after the end */
	assert_int_equal(sluice_peek(state, len, &policy, 1000, 1, &decision), SLUICE_EFORMAT);
}

/* A ring out of order can't be told from a sound one; it must still get waits that make sense. */
static void test_out_of_order(void **context)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 4, SECOND);
	uint32_t disorder[] = { 999, 5, 0x80000000, 1000 };
	uint8_t state[LEN(4)];
	struct sluice_decision decision;

	short_string(state, &policy, 0, 4);
	save32(state + 20, 4);
	for (uint32_t i = 0; i < 4; i++)
		save32(state + LEN(i), disorder[i]);
	decision = must_peek(state, sizeof state, &policy, 1000, 3);
	assert_false(decision.allowed);
	assert_in_range(decision.retry_after_us, 1, SECOND);
	assert_in_range(decision.reset_after_us, 1, SECOND);
}

static void test_refund(void **context)
{
	static const struct {
		uint64_t at_us;
		uint32_t cost, left;
	} cases[] = {
		{ 10 * SECOND + 1, 1, 3 }, { 10 * SECOND, 1, 3 }, { 2 * SECOND, 1, 3 },      { 1 * SECOND, 9, 3 },
		{ 1 * SECOND + 1, 1, 4 },  { 0, 1, 4 },           { 10 * SECOND + 2, 1, 4 }, { UINT64_MAX, 1, 4 },
	};
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 4, 10 * SECOND);

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sluice_decision decision;
		uint8_t state[LEN(4)];

		wrapped(state, &policy);
		assert_int_equal(sluice_refund(state, sizeof state, &policy, 10 * SECOND + 5, cases[i].cost,
		                               cases[i].at_us, &decision),
		                 SLUICE_OK);
		assert_int_equal(decision.remaining, 4 - cases[i].left);
		assert_int_equal(load32(state + 16), cases[i].left);
		assert_int_equal(load64(state + 4), 10 * SECOND + 1);
		/* The others are where they were: all but the newest leave one window after 10 s. */
		decision = must_peek(state, sizeof state, &policy, 20 * SECOND, 1);
		assert_int_equal(decision.remaining, cases[i].at_us == 10 * SECOND + 1 ? 4 : 3);
	}
}

/* Times whose ticks lie on both sides of a multiple of 2^32. */
static void test_ticks_begin_anew(void **context)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 3, 10 * SECOND);
	uint64_t turn_us = UINT64_C(7) << 32;
	uint8_t state[LEN(3)];

	assert_int_equal(sluice_state_move(state, sizeof state, NULL, 0, &policy), SLUICE_OK);
	assert_allowed(must_take(state, sizeof state, &policy, turn_us - 2, 1), 2);
	assert_allowed(must_take(state, sizeof state, &policy, turn_us, 1), 1);
	assert_allowed(must_take(state, sizeof state, &policy, turn_us + 2, 1), 0);
	assert_denied(must_peek(state, sizeof state, &policy, turn_us + 3, 1), 0, 10 * SECOND - 5);
	assert_denied(must_peek(state, sizeof state, &policy, turn_us + 3, 2), 0, 10 * SECOND - 3);
	/* A whole turn of the ticks later the same numbers mean another time. */
	assert_allowed(must_peek(state, sizeof state, &policy, turn_us + (UINT64_C(1) << 32), 3), 3);
}

static void test_largest(void **context)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, SLUICE_LIMIT_MAX, SLUICE_WINDOW_MAX_US);
	size_t len = sluice_state_max(&policy);
	struct sluice_decision decision;
	uint8_t *state = malloc(len);

	assert_non_null(state);
	assert_int_equal(sluice_state_move(state, len, NULL, 0, &policy), SLUICE_OK);
	assert_allowed(must_take(state, len, &policy, 0, SLUICE_LIMIT_MAX - 1), 1);
	assert_allowed(must_take(state, len, &policy, DAY, 1), 0);
	assert_denied(must_take(state, len, &policy, 2 * DAY, 1), 0, SLUICE_WINDOW_MAX_US - 2 * DAY);
	decision = must_take(state, len, &policy, SLUICE_WINDOW_MAX_US, SLUICE_LIMIT_MAX - 1);
	assert_allowed(decision, 0);
	assert_in_range(decision.reset_after_us, SLUICE_WINDOW_MAX_US, SLUICE_WINDOW_MAX_US + policy.tick_us - 1);
	free(state);
}

static void assert_same(const struct sluice_decision *a, const struct sluice_decision *b)
{
	assert_int_equal(a->allowed, b->allowed);
	assert_int_equal(a->remaining, b->remaining);
	assert_int_equal(a->retry_after_us, b->retry_after_us);
	assert_int_equal(a->reset_after_us, b->reset_after_us);
	assert_int_equal(a->at_us, b->at_us);
}

/* A compact state decides as one of full length does, whatever comes: takes, refunds, time that stands still, and moves
 * between the two. */
static void test_compact(void **context)
{
	for (uint32_t limit = 1; limit <= 17; limit++) {
		struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, limit, SECOND);
		size_t len = sluice_state_compact(&policy);
		uint8_t full[LEN(17)], compact[LEN(17)], moved[LEN(17)];
		uint64_t now_us = HOUR, random = limit;

		if (limit == 17) {
			assert_int_equal(len, 0);
			break;
		}
		assert_int_equal(len, LEN(limit - 1));
		assert_int_equal(sluice_state_move(full, LEN(limit), NULL, 0, &policy), SLUICE_OK);
		assert_int_equal(sluice_state_move(compact, len, NULL, 0, &policy), SLUICE_OK);
		for (int step = 0; step < 2000; step++) {
			struct sluice_decision a, b;
			uint32_t cost;

			random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
			cost = 1 + (uint32_t)(random >> 33) % (limit > 2 && step % 3 == 0 ? limit : 1);
			now_us += (random >> 40) % (2 * SECOND / limit);
			assert_int_equal(sluice_state_room(compact, len, &policy, now_us, cost), len);
			a = must_take(full, LEN(limit), &policy, now_us, cost);
			b = must_take(compact, len, &policy, now_us, cost);
			assert_same(&a, &b);
			if (a.allowed && step % 5 == 0) {
				assert_int_equal(sluice_refund(full, LEN(limit), &policy, now_us, cost, a.at_us, &a),
				                 0);
				assert_int_equal(sluice_refund(compact, len, &policy, now_us, cost, b.at_us, &b), 0);
				assert_same(&a, &b);
			}
			if (step % 7 == 0) { /* to full length and back */
				assert_int_equal(sluice_state_move(moved, LEN(limit), compact, len, &policy), 0);
				assert_int_equal(sluice_state_move(compact, len, moved, LEN(limit), &policy), 0);
			}
			a = must_peek(full, LEN(limit), &policy, now_us, 1);
			b = must_peek(compact, len, &policy, now_us, 1);
			assert_same(&a, &b);
		}
	}
}

/* Algorithms of one length are compact as they are. */
static void test_compact_lengths(void **context)
{
	struct sluice_policy counter = policy_of(SLUICE_SLIDING_COUNTER, 10, SECOND);
	struct sluice_policy none = { 0 };

	assert_int_equal(sluice_state_compact(&counter), sluice_state_max(&counter));
	assert_int_equal(sluice_state_compact(&none), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_widened_in_place),
		cmocka_unit_test(test_compact),
		cmocka_unit_test(test_compact_lengths),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_moved_to_a_smaller_limit),
		cmocka_unit_test(test_another_window),
		cmocka_unit_test(test_short_string),
		cmocka_unit_test(test_short_string_malformed),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_refund),
		cmocka_unit_test(test_ticks_begin_anew),
		cmocka_unit_test(test_largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
