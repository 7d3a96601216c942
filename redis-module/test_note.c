/* SPDX-License-Identifier: Apache-2.0 */
/* test_note.c: the expiry noted in a string, and that it is never believed where none was written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "redis-module/note.h"
#include "sluice/limiter.h"

#define NOW_MS INT64_C(1700000000000)
#define YEAR_MS (INT64_C(366) * 86400 * 1000)

static void test_covers(void **context)
{
	static const struct {
		int64_t noted_ms, at_ms;
		bool covers;
	} cases[] = {
		{ NOW_MS, NOW_MS - 64, true },           { NOW_MS, NOW_MS, true },
		{ NOW_MS, NOW_MS + 1, false },           { NOW_MS, NOW_MS + 64, false },
		{ NOW_MS + 63, NOW_MS, true },           { NOW_MS + 63, NOW_MS + 1, false }, /* rounded down */
		{ NOW_MS + 61000, NOW_MS, true },        { NOW_MS + 63000, NOW_MS, false },  /* too far ahead */
		{ NOW_MS + YEAR_MS, NOW_MS, false },     { NOW_MS, NOW_MS + YEAR_MS, false },
		{ NOW_MS, NOW_MS + 4 * YEAR_MS, false }, { 0, 1, false },
	};
	struct sluice_policy policy;
	uint8_t state[60];

	(void)context;
	assert_int_equal(sluice_policy_init(&policy, SLUICE_SLIDING_LOG, 10, 1000000, 0, NULL), 0);
	assert_int_equal(sluice_state_compact(&policy), sizeof state);
	assert_int_equal(sluice_state_move(state, sizeof state, NULL, 0, &policy), 0);
	assert_int_equal(note_read(state, sizeof state), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		note_write(state, sizeof state, cases[i].noted_ms);
		if (note_covers(note_read(state, sizeof state), cases[i].at_ms) != cases[i].covers)
			fail_msg("case %zu", i);
	}
}

static void test_only_where_there_is_room(void **context)
{
	static const enum sluice_algorithm others[] = { SLUICE_SLIDING_COUNTER, SLUICE_FIXED_WINDOW,
		                                        SLUICE_TOKEN_BUCKET };
	struct sluice_policy policy;
	struct sluice_decision decision;
	uint8_t state[88] = { 0 }, before[88];

	(void)context;
	assert_int_equal(note_read(NULL, 0), 0);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		sluice_policy_init(&policy, others[i], 10, 1000000, 0, NULL);
		sluice_state_move(state, sizeof state, NULL, 0, &policy);
		memcpy(before, state, sizeof state);
		note_write(state, sizeof state, NOW_MS);
		assert_memory_equal(state, before, sizeof state);
		assert_int_equal(note_read(state, sizeof state), 0);
	}
	sluice_policy_init(&policy, SLUICE_SLIDING_LOG, 10, 1000000, 0, NULL);
	sluice_state_move(state, 60, NULL, 0, &policy);
	for (uint32_t i = 1; i <= 10; i++) {
		assert_int_equal(sluice_take(state, 60, &policy, 1000, 1, &decision), 0);
		assert_true(decision.allowed);
		note_write(state, 60, NOW_MS);
		assert_int_equal(note_read(state, 60) != 0, i <= 8);
		assert_int_equal(sluice_peek(state, 60, &policy, 1000, 1, &decision), 0);
		assert_int_equal(decision.remaining, 10 - i);
	}
}

/* One string through the life that the module gives it, under policies that change: what is read as a note was written
 * as one, and to write one changes no decision. */
static void test_random_life(void **context)
{
	static const uint32_t limits[] = { 1, 2, 3, 7, 10, 10, 15, 16, 17, 22, 40 };
	uint64_t now_us = UINT64_C(1700000000000000), last_us = 0;
	uint8_t state[512], bare[512];
	size_t len = 0, covered = 0;
	uint32_t written = 0;

	(void)context;
	srandom(4);
	for (int step = 0; step < 300000; step++) {
		struct sluice_policy policy;
		struct sluice_decision decision, other;
		uint32_t limit = limits[random() % 11], cost = (uint32_t)(random() % 3 + 1), note;
		enum sluice_algorithm algorithm = random() % 50 != 0 ? SLUICE_SLIDING_LOG : SLUICE_TOKEN_BUCKET;
		bool refund = random() % 8 == 0, changed = true;
		size_t room;

		assert_int_equal(sluice_policy_init(&policy, algorithm, limit, 1000000 << random() % 3, 0, NULL), 0);
		now_us += (uint64_t)random() % 300000;
		note = note_read(state, len);
		assert_true(note == 0 || note == written);
		covered += note != 0;
		if (refund) {
			assert_int_equal(sluice_refund(state, len, &policy, now_us, cost, last_us, NULL), 0);
			assert_int_equal(sluice_refund(bare, len, &policy, now_us, cost, last_us, NULL), 0);
		} else {
			room = sluice_state_room(state, len, &policy, now_us, cost);
			if (room > len) {
				uint8_t moved[sizeof state];

				room = sluice_state_compact(&policy) > 0 ? sluice_state_compact(&policy) : room;
				assert_int_equal(sluice_state_move(moved, room, state, len, &policy), 0);
				memcpy(state, moved, room);
				assert_int_equal(sluice_state_move(moved, room, bare, len, &policy), 0);
				memcpy(bare, moved, room);
				len = room;
			}
			assert_int_equal(sluice_take(state, len, &policy, now_us, cost, &decision), 0);
			assert_int_equal(sluice_take(bare, len, &policy, now_us, cost, &other), 0);
			assert_int_equal(decision.allowed, other.allowed);
			assert_int_equal(decision.remaining, other.remaining);
			assert_int_equal(decision.retry_after_us, other.retry_after_us);
			assert_int_equal(decision.reset_after_us, other.reset_after_us);
			changed = decision.allowed;
			last_us = changed ? decision.at_us : last_us;
		}
		if (changed && (refund || note == 0 || random() % 4 == 0)) {
			int64_t expiry_ms = refund ? 0 : NOW_MS + random() % 100000000;

			note_write(state, len, expiry_ms);
			written = (uint32_t)(expiry_ms / 64);
		}
	}
	assert_true(covered > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_only_where_there_is_room),
		cmocka_unit_test(test_random_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
