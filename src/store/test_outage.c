/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of outage.h: which lines are written, and what they count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/outage.h"

#define S UINT64_C(1000000)

static void one_line_each_way(void **state)
{
	struct outage outage = { 0 };
	uint64_t lasted_us = 0, decisions = 0;

	assert_false(outage_over(&outage, 1 * S, &lasted_us, &decisions));
	outage_counted(&outage); /* not away: not counted */
	assert_true(outage_failed(&outage, 100 * S));
	for (uint64_t i = 1; i < 300; i++)
		assert_false(outage_failed(&outage, (100 + i) * S));
	outage_counted(&outage);
	assert_false(outage_over(&outage, 400 * S, &lasted_us, &decisions)); /* a failure a second ago */
	assert_true(outage_over(&outage, 401 * S, &lasted_us, &decisions));
	assert_int_equal(lasted_us, 300 * S); /* not until the line is written */
	assert_int_equal(decisions, 301);
	assert_false(outage_over(&outage, 500 * S, &lasted_us, &decisions));
	assert_true(outage_failed(&outage, 500 * S));
	assert_true(outage_over(&outage, 506 * S, &lasted_us, &decisions)); /* nobody asked meanwhile */
	assert_int_equal(lasted_us, 6 * S);
	assert_int_equal(decisions, 1);
}

/* A store that comes and goes each three seconds, for five minutes. */
static void flapping_is_bounded(void **state)
{
	struct outage outage = { 0 };
	unsigned away = 0, back = 0;
	uint64_t lasted_us, decisions;

	for (uint64_t at_us = 100 * S; at_us < 400 * S; at_us += S / 10) {
		if (at_us / (3 * S) % 2 == 0)
			away += outage_failed(&outage, at_us);
		else
			back += outage_over(&outage, at_us, &lasted_us, &decisions);
	}
	assert_in_range(away, 20, 30);
	assert_in_range(back, away - 1, away);
}

/* A Cluster without one slot: most is answered, and it stays away. */
static void failures_among_answers_do_not_flap(void **state)
{
	struct outage outage = { 0 };
	unsigned lines = 0;
	uint64_t lasted_us, decisions;

	for (uint64_t at_us = 100 * S; at_us < 400 * S; at_us += S / 10) {
		if (at_us / (S / 10) % 10 == 0)
			lines += outage_failed(&outage, at_us);
		else
			lines += outage_over(&outage, at_us, &lasted_us, &decisions);
	}
	assert_int_equal(lines, 1);
}

static void a_full_store_says_so_now_and_then(void **state)
{
	struct outage outage = { 0 };

	assert_int_equal(outage_full(&outage, 100 * S), 1);
	for (uint64_t i = 1; i < 10; i++)
		assert_int_equal(outage_full(&outage, (100 + i) * S), 0);
	assert_int_equal(outage_full(&outage, 110 * S), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line_each_way),
		cmocka_unit_test(flapping_is_bounded),
		cmocka_unit_test(failures_among_answers_do_not_flap),
		cmocka_unit_test(a_full_store_says_so_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
