/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_throttle.c: CL.THROTTLE against the algorithm that redis-cell publishes, in exact arithmetic.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/state.h"
#include "redis-module/throttle.h"

#define START_US UINT64_C(1700000000123456)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int read_texts(struct throttle *throttle, const char *const texts[], size_t n, struct why *why)
{
	struct word words[THROTTLE_WORDS_MAX];

	for (size_t i = 0; i < n; i++)
		words[i] = (struct word){ .at = texts[i], .len = strlen(texts[i]) };
	return throttle_read(throttle, words, n, why);
}

static struct throttle throttle_of(int64_t max_burst, int64_t count, int64_t period_s, int64_t quantity)
{
	char text[4][24];
	const char *texts[4] = { text[0], text[1], text[2], text[3] };
	struct throttle throttle;
	struct why why;

	snprintf(text[0], sizeof text[0], "%lld", (long long)max_burst);
	snprintf(text[1], sizeof text[1], "%lld", (long long)count);
	snprintf(text[2], sizeof text[2], "%lld", (long long)period_s);
	snprintf(text[3], sizeof text[3], "%lld", (long long)quantity);
	if (read_texts(&throttle, texts, 4, &why) != 0)
		fail_msg("%s", why.text);
	return throttle;
}

static void test_arguments(void **context)
{
	static const struct {
		const char *words[4];
		const char *why; /* how it begins; NULL: it is right */
	} cases[] = {
		{ { "15", "30", "60" }, NULL },
		{ { "0", "1", "1" }, NULL },
		{ { "+15", "030", "+60", "+1" }, NULL },
		{ { "16777215", "16777216", "1" }, NULL },
		{ { "0", "1", "31622400" }, NULL },
		{ { "15", "30", "60", "0" }, NULL },
		{ { "15", "30", "60", "-1" }, NULL },
		{ { "15", "30", "60", "-0" }, NULL },
		{ { "15", "30", "60", "9223372036854775807" }, NULL },
		{ { "15", "30", "60", "-9223372036854775808" }, NULL },
		{ { "", "30", "60" }, "max_burst " },
		{ { "-1", "30", "60" }, "max_burst " },
		{ { "16777216", "30", "60" }, "max_burst " },
		{ { "15.0", "30", "60" }, "max_burst " },
		{ { " 15", "30", "60" }, "max_burst " },
		{ { "15", "0", "60" }, "count_per_period " },
		{ { "15", "-30", "60" }, "count_per_period " },
		{ { "15", "16777217", "60" }, "count_per_period " },
		{ { "15", "+", "60" }, "count_per_period " },
		{ { "15", "30", "0" }, "period " },
		{ { "15", "30", "60s" }, "period " },
		{ { "15", "30", "31622401" }, "period " },
		{ { "15", "30", "18446744073709551617" },
		  "period must be a whole number from 1 to 31622400, not \"1844" },
		{ { "15", "30", "60", "" }, "quantity " },
		{ { "15", "30", "60", "-" }, "quantity " },
		{ { "15", "30", "60", "--1" }, "quantity " },
		{ { "15", "30", "60", "1e3" }, "quantity " },
		{ { "15", "30", "60", "9223372036854775808" }, "quantity " },
		{ { "15", "30", "60", "-9223372036854775809" }, "quantity " },
		/* 999983 is a prime: (999983 + 1) * 86400000000 us is past 2^53. */
		{ { "999983", "999983", "86400" }, "max_burst is too large for this rate" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct throttle throttle;
		struct why why = { "" };
		int result = read_texts(&throttle, cases[i].words, cases[i].words[3] != NULL ? 4 : 3, &why);

		if (result != (cases[i].why != NULL ? -1 : 0) ||
		    (cases[i].why != NULL && strncmp(why.text, cases[i].why, strlen(cases[i].why)) != 0))
			fail_msg("case %zu: %d %s", i, result, why.text);
	}
}

static void test_meaning(void **context)
{
	struct throttle throttle = throttle_of(15, 30, 60, 3);

	assert_int_equal(throttle.policy.algorithm, SLUICE_TOKEN_BUCKET);
	assert_int_equal(throttle.policy.burst, 16);
	assert_int_equal(throttle.policy.limit, 30);
	assert_int_equal(throttle.policy.window_us, 60000000);
	assert_int_equal(throttle.cost, 3);
	assert_false(throttle.gives_back);
	throttle = throttle_of(15, 30, 60, -3);
	assert_int_equal(throttle.cost, 3);
	assert_true(throttle.gives_back);
	throttle = throttle_of(15, 30, 60, INT64_MIN);
	assert_int_equal(throttle.cost, UINT32_MAX);
	assert_true(throttle.gives_back);
	throttle = throttle_of(15, 30, 60, UINT32_MAX + INT64_C(1));
	assert_int_equal(throttle.cost, UINT32_MAX);
	assert_int_equal(throttle_of(15, 30, 60, 0).cost, 0);
}

/* One call on the state, which must be understood. */
static struct throttle_answer call(const struct throttle *throttle, uint8_t *state, uint64_t now_us)
{
	struct sluice_decision decision;
	struct throttle_answer answer;

	assert_int_equal(throttle_decide(throttle, state, now_us, &decision, &answer), SLUICE_OK);
	return answer;
}

static void assert_answer(const char *what, size_t number, const struct throttle_answer *is,
                          const struct throttle_answer *expected)
{
	if (is->limited != expected->limited || is->limit != expected->limit || is->remaining != expected->remaining ||
	    is->retry_s != expected->retry_s || is->reset_s != expected->reset_s)
		fail_msg("%s %zu: %ld %ld %ld %ld %ld, expected %ld %ld %ld %ld %ld", what, number, (long)is->limited,
		         (long)is->limit, (long)is->remaining, (long)is->retry_s, (long)is->reset_s,
		         (long)expected->limited, (long)expected->limit, (long)expected->remaining,
		         (long)expected->retry_s, (long)expected->reset_s);
}

/* Six may pass at once, one flows back each half second. What redis-cell answers to it, worked out by hand. */
static void test_story(void **context)
{
	static const struct {
		uint64_t at_ms;
		int64_t quantity;
		struct throttle_answer answer;
	} steps[] = {
		{ 0, 7, { 1, 6, 6, -1, 0 } },     /* more than may ever pass */
		{ 0, 0, { 0, 6, 6, -1, 0 } },     /* a look at a key that is not there */
		{ 0, 1, { 0, 6, 5, -1, 1 } },     /* 0.5 s */
		{ 0, 4, { 0, 6, 1, -1, 3 } },     /* 2.5 s */
		{ 0, 2, { 1, 6, 1, 1, 3 } },      /* in 0.5 s */
		{ 0, 1, { 0, 6, 0, -1, 3 } },     /* 3 s */
		{ 0, 1, { 1, 6, 0, 1, 3 } },      /* in 0.5 s */
		{ 0, 6, { 1, 6, 0, 3, 3 } },      /* in 3 s */
		{ 0, 7, { 1, 6, 0, -1, 3 } },     /* never */
		{ 499, 1, { 1, 6, 0, 1, 3 } },    /* in 0.001 s */
		{ 500, 1, { 0, 6, 0, -1, 3 } },   /* 3 s */
		{ 1999, 0, { 0, 6, 2, -1, 2 } },  /* 1.501 s */
		{ 2000, 0, { 0, 6, 3, -1, 2 } },  /* 1.5 s */
		{ 2000, -2, { 0, 6, 5, -1, 1 } }, /* 0.5 s */
		{ 2000, -9, { 0, 6, 6, -1, 0 } }, /* no more than was taken */
		{ 2000, 6, { 0, 6, 0, -1, 3 } },  { 9000, 1, { 0, 6, 5, -1, 1 } },
	};
	uint8_t state[THROTTLE_STATE_LEN];

	for (size_t i = 0; i < COUNT(steps); i++) {
		struct throttle throttle = throttle_of(5, 2, 1, steps[i].quantity);
		struct throttle_answer answer;

		if (i == 0)
			assert_int_equal(throttle_adopt(state, &throttle.policy, NULL, 0, START_US), SLUICE_OK);
		answer = call(&throttle, state, START_US + steps[i].at_ms * 1000);
		assert_answer("step", i, &answer, &steps[i].answer);
	}
}

/* redis-cell's algorithm. Times are in `count`ths of a microsecond, of which each unit costs `period_us`. */
struct cell {
	int64_t arrival; /* the theoretical time of arrival, from START_US; 0: none is stored */
	int64_t count, period_us, burst;
};

static int64_t up(int64_t dividend, int64_t divisor)
{
	return dividend / divisor + (dividend % divisor > 0);
}

static struct throttle_answer cell_call(struct cell *cell, uint64_t now_us, int64_t quantity)
{
	int64_t now = (int64_t)(now_us - START_US) * cell->count, tolerance = cell->period_us * cell->burst;
	int64_t arrival = cell->arrival > now ? cell->arrival : now, increment = quantity * cell->period_us;
	int64_t early = arrival + increment - tolerance - now, second = 1000000 * cell->count;
	struct throttle_answer answer = { .limited = early > 0, .limit = cell->burst, .retry_s = -1 };
	int64_t left;

	if (early > 0 && increment <= tolerance)
		answer.retry_s = up(early, second);
	if (early <= 0) {
		arrival += increment;
		cell->arrival = arrival;
	}
	left = tolerance - (arrival - now);
	answer.remaining = left > 0 ? left / cell->period_us : 0;
	answer.reset_s = up(arrival - now, second);
	return answer;
}

/* Random calls of one rate: takes and looks, closely and far apart. */
static void trace(unsigned *seed)
{
	struct cell cell = { .count = 1 + rand_r(seed) % 1000, .period_us = (1 + rand_r(seed) % 100) * 1000000 };
	uint64_t now_us = START_US;
	uint8_t state[THROTTLE_STATE_LEN];
	struct throttle throttle;

	cell.burst = 1 + rand_r(seed) % 50;
	throttle = throttle_of(cell.burst - 1, cell.count, cell.period_us / 1000000, 1);
	assert_int_equal(throttle_adopt(state, &throttle.policy, NULL, 0, now_us), SLUICE_OK);
	for (size_t i = 0; i < 500; i++) {
		int64_t quantity = rand_r(seed) % 8 == 0 ? rand_r(seed) % (cell.burst + 3) : rand_r(seed) % 3;
		struct throttle_answer expected = cell_call(&cell, now_us, quantity), answer;

		throttle = throttle_of(cell.burst - 1, cell.count, cell.period_us / 1000000, quantity);
		answer = call(&throttle, state, now_us);
		assert_answer("call", i, &answer, &expected);
		if (rand_r(seed) % 2 == 0)
			now_us += (uint64_t)(rand_r(seed) % (2 * cell.period_us / cell.count + 2));
		else if (answer.limited && answer.retry_s > 0)
			now_us += (uint64_t)answer.retry_s *
			          1000000; /* who waits as told passes: the next step shows it */
	}
}

static void test_traces(void **context)
{
	unsigned seed = 20;

	for (int i = 0; i < 400; i++)
		trace(&seed);
}

/* Nobody is told to come back too early: who waits as long as he is told passes. */
static void test_waiting_is_enough(void **context)
{
	struct throttle throttle = throttle_of(2, 7, 3, 3);
	struct throttle_answer answer;
	uint8_t state[THROTTLE_STATE_LEN];
	uint64_t now_us = START_US;

	assert_int_equal(throttle_adopt(state, &throttle.policy, NULL, 0, now_us), SLUICE_OK);
	assert_int_equal(call(&throttle, state, now_us).limited, 0);
	for (int i = 0; i < 1000; i++) {
		now_us += 1;
		answer = call(&throttle, state, now_us);
		assert_int_equal(answer.limited, 1);
		now_us += (uint64_t)answer.retry_s * 1000000;
		assert_int_equal(call(&throttle, state, now_us).limited, 0);
	}
}

static void test_limit_lowered(void **context)
{
	struct throttle large = throttle_of(9, 1, 1, 10), look = throttle_of(1, 1, 1, 0),
			back = throttle_of(1, 1, 1, -1);
	static const struct throttle_answer lower[] = { { 1, 2, 0, 8, 10 }, { 1, 2, 0, 1, 3 }, { 0, 2, 0, -1, 2 } };
	static const struct throttle_answer backwards = { 1, 2, 0, 13, 15 }, given = { 1, 2, 0, 7, 9 };
	struct throttle_answer answer;
	uint8_t state[THROTTLE_STATE_LEN];

	assert_int_equal(throttle_adopt(state, &large.policy, NULL, 0, START_US), SLUICE_OK);
	assert_int_equal(call(&large, state, START_US).limited, 0);
	answer = call(&look, state, START_US);
	assert_answer("at", 0, &answer, &lower[0]);
	answer = call(&look, state, START_US + 7999999);
	assert_answer("at", 1, &answer, &lower[1]);
	answer = call(&look, state, START_US + 8000000);
	assert_answer("at", 2, &answer, &lower[2]);
	answer = call(&look, state, START_US - 5000000); /* the clock was set back */
	assert_answer("at", 3, &answer, &backwards);
	answer = call(&back, state, START_US);
	assert_answer("at", 4, &answer, &given);
}

/* A look is not limited by a clock that was set back alone. */
static void test_clock_set_back(void **context)
{
	struct throttle take = throttle_of(1, 1, 1, 1), look = throttle_of(1, 1, 1, 0);
	static const struct throttle_answer looks = { 0, 2, 1, -1, 6 }, full = { 0, 2, 0, -1, 7 },
					    denied = { 1, 2, 0, 6, 7 };
	struct throttle_answer answer;
	uint8_t state[THROTTLE_STATE_LEN];

	assert_int_equal(throttle_adopt(state, &take.policy, NULL, 0, START_US), SLUICE_OK);
	assert_int_equal(call(&take, state, START_US).limited, 0);
	answer = call(&look, state, START_US - 5000000);
	assert_answer("look", 0, &answer, &looks);
	answer = call(&take, state, START_US - 5000000);
	assert_answer("take", 0, &answer, &full);
	answer = call(&take, state, START_US - 5000000);
	assert_answer("take", 1, &answer, &denied);
}

/* What redis-cell has left behind lets nobody pass twice, and keeps nobody out for longer than it would have. */
static void test_left_behind(void **context)
{
	static const struct {
		const char *text;
		struct throttle_answer look; /* 10 at once, 3 each second */
	} cases[] = {
		{ "1700000000123456000", { 0, 10, 10, -1, 0 } }, /* now */
		{ "1699999999000000000", { 0, 10, 10, -1, 0 } },
		{ "1000000000000000000", { 0, 10, 10, -1, 0 } },
		{ "1700000000123456001", { 0, 10, 9, -1, 1 } }, /* 1 ns: a unit that is not quite there */
		{ "1700000001123456000", { 0, 10, 7, -1, 1 } },
		{ "1700000001123456001", { 0, 10, 6, -1, 2 } },
		{ "1700000003456789333", { 0, 10, 0, -1, 4 } }, /* ten units of 333333333 ns and 3333 more */
		{ "1700000004456789333", { 1, 10, 0, 2, 5 } },
		{ "9223372036854775807", { 1, 10, 0, 3002399749, 3002399752 } }, /* the last: 2^53 / 3 us */
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct throttle look = throttle_of(9, 3, 1, 0);
		struct throttle_answer answer;
		uint8_t state[THROTTLE_STATE_LEN];

		assert_int_equal(throttle_adopt(state, &look.policy, cases[i].text, 19, START_US), SLUICE_OK);
		answer = call(&look, state, START_US);
		assert_answer("text", i, &answer, &cases[i].look);
	}
}

static void test_other_strings(void **context)
{
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{ "0", 1 },
		{ "42", 2 },
		{ "-1", 2 },
		{ "170000000012345600", 18 },
		{ "17000000001234560000", 20 },
		{ "0700000000123456000", 19 },
		{ "+700000000123456000", 19 },
		{ "9223372036854775808", 19 },
		{ "170000000012345600x", 19 },
		{ "hello, this is text", 19 },
		{ "\1\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 19 }, /* a state that was cut off */
		{ "\2\4\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0", 24 },
	};
	struct throttle throttle = throttle_of(9, 3, 1, 1);

	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t state[THROTTLE_STATE_LEN];
		int result = throttle_adopt(state, &throttle.policy, cases[i].text, cases[i].len, START_US);

		if (result != SLUICE_EFORMAT)
			fail_msg("text %zu: %d", i, result);
	}
}

/* A state of ours is taken as it is, also with bytes behind it; one of another algorithm counts as none. */
static void test_our_states(void **context)
{
	struct throttle throttle = throttle_of(9, 3, 1, 4);
	struct sluice_policy window;
	struct throttle_answer answer;
	uint8_t state[THROTTLE_STATE_LEN], again[THROTTLE_STATE_LEN], longer[40] = { 0 };
	struct sluice_decision decision;

	assert_int_equal(throttle_adopt(state, &throttle.policy, NULL, 0, START_US), SLUICE_OK);
	call(&throttle, state, START_US);
	memcpy(longer, state, sizeof state);
	assert_int_equal(throttle_adopt(again, &throttle.policy, longer, sizeof longer, START_US), SLUICE_OK);
	assert_memory_equal(again, state, sizeof state);

	assert_int_equal(sluice_policy_init(&window, SLUICE_FIXED_WINDOW, 3, 1000000, 0, NULL), SLUICE_OK);
	memset(state, 0, sizeof state);
	assert_int_equal(sluice_state_move(state, sizeof state, NULL, 0, &window), SLUICE_OK);
	assert_int_equal(sluice_take(state, sizeof state, &window, START_US, 3, &decision), SLUICE_OK);
	assert_int_equal(throttle_adopt(again, &throttle.policy, state, sizeof state, START_US), SLUICE_OK);
	answer = call(&throttle, again, START_US);
	assert_int_equal(answer.remaining, 6);
}

static void test_malformed(void **context)
{
	struct throttle throttle = throttle_of(9, 3, 1, 1);
	uint8_t state[THROTTLE_STATE_LEN], before[THROTTLE_STATE_LEN];
	struct sluice_decision decision;
	struct throttle_answer answer;

	assert_int_equal(throttle_adopt(state, &throttle.policy, NULL, 0, START_US), SLUICE_OK);
	state[12] = 0; /* pays nothing back */
	state[13] = state[14] = state[15] = 0;
	memcpy(before, state, sizeof state);
	for (int64_t quantity = -1; quantity <= 1; quantity++) {
		throttle = throttle_of(9, 3, 1, quantity);
		assert_int_equal(throttle_decide(&throttle, state, START_US, &decision, &answer), SLUICE_EFORMAT);
		assert_memory_equal(state, before, sizeof state);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_meaning),
		cmocka_unit_test(test_story),
		cmocka_unit_test(test_traces),
		cmocka_unit_test(test_waiting_is_enough),
		cmocka_unit_test(test_limit_lowered),
		cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_other_strings),
		cmocka_unit_test(test_our_states),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
