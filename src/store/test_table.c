/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of table.h: walks that wrap around, deletion by shifting back, growth and shrinking, against a plain model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/table.h"
#include "store/test_alloc.h"

/* @return the position of (tag, ref), or -1. */
static int64_t find(const struct table *table, uint32_t tag, uint32_t ref)
{
	if (table->capacity == 0)
		return -1;
	for (uint32_t pos = table_home(table, tag); table->slots[pos].ref != 0; pos = table_next(table, pos))
		if (table->slots[pos].tag == tag && table->slots[pos].ref == ref)
			return pos;
	return -1;
}

static void add(struct table *table, uint32_t tag, uint32_t ref)
{
	assert_int_equal(table_reserve(table, 1), 0);
	table_insert(table, tag, ref);
}

static void empty_table_reserves_nothing(void **state)
{
	struct table table = { 0 };

	assert_int_equal(table_bytes(&table), 0);
	assert_int_equal(table_reserve(&table, 0), 0);
	assert_int_equal(table.capacity, 0);
	assert_int_equal(table_reserve(&table, 1), 0);
	assert_true(table.capacity >= 8);
	table_free(&table);
	assert_int_equal(table.capacity, 0);
}

static void reserve_of_too_many_is_refused(void **state)
{
	struct table table = { 0 };

	add(&table, 7, 7);
	assert_int_equal(table_reserve(&table, UINT32_MAX), -ENOMEM);
	assert_int_equal(find(&table, 7, 7), table_home(&table, 7));
	table_free(&table);
}

/* Tags whose homes are given, in a table of eight slots; then one is erased and all others must be found. */
struct erase_case {
	uint8_t homes[6];
	uint8_t n;
};

static const struct erase_case erase_cases[] = {
	{ { 0 }, 1 },
	{ { 0, 0, 0, 0, 0, 0 }, 6 }, /* one cluster of one home */
	{ { 7, 7, 7, 7, 7, 7 }, 6 }, /* wraps around */
	{ { 6, 7, 0, 6, 7, 0 }, 6 }, /* wraps around, homes mixed */
	{ { 1, 2, 3, 4, 5, 6 }, 6 }, /* everyone at home: nothing may move */
	{ { 1, 1, 2, 3, 3, 1 }, 6 }, /* displaced by others */
	{ { 5, 6, 6, 7, 5, 0 }, 6 }, /* displaced over the border */
	{ { 3, 3, 5, 5, 5, 3 }, 6 }, /* two clusters grown together */
	{ { 0, 7, 7, 1, 0, 6 }, 6 },
};

static void fill_case(struct table *table, const struct erase_case *c)
{
	*table = (struct table){ 0 };
	assert_int_equal(table_reserve(table, 6), 0);
	assert_int_equal(table->capacity, 8);
	for (uint32_t i = 0; i < c->n; i++) {
		uint32_t tag = ((uint32_t)c->homes[i] << 29) + i;

		assert_int_equal(table_home(table, tag), c->homes[i]);
		table_insert(table, tag, i + 1);
	}
}

static void erasing_loses_nobody(void **state)
{
	for (size_t k = 0; k < sizeof erase_cases / sizeof *erase_cases; k++) {
		const struct erase_case *c = &erase_cases[k];

		for (uint32_t gone = 0; gone < c->n; gone++) {
			struct table table;
			uint32_t tag = ((uint32_t)c->homes[gone] << 29) + gone;

			fill_case(&table, c);
			table_erase(&table, (uint32_t)find(&table, tag, gone + 1));
			assert_int_equal(table.count, c->n - 1);
			assert_int_equal(find(&table, tag, gone + 1), -1);
			for (uint32_t i = 0; i < c->n; i++)
				if (i != gone)
					assert_true(find(&table, ((uint32_t)c->homes[i] << 29) + i, i + 1) >= 0);
			table_free(&table);
		}
	}
}

#define MODEL_N 2000

/* Few distinct tags, so that many share one and clusters are long. */
static void random_life_matches_a_model(void **state)
{
	static uint32_t tags[MODEL_N];
	static bool there[MODEL_N];
	struct table table = { 0 };
	uint32_t count = 0;
	uint64_t x = 12345;

	memset(there, 0, sizeof there);
	for (int i = 0; i < MODEL_N; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		tags[i] = (uint32_t)(x >> 32) & 0xfff0ff00;
	}
	for (int step = 0; step < 60000; step++) {
		/* Growing in the first third, falling in the last. */
		uint32_t bias = step < 20000 ? 6 : step < 40000 ? 4 : 1;
		uint32_t i;

		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		i = (uint32_t)(x >> 40) % MODEL_N;
		if (!there[i] && (x >> 33) % 8 < bias) {
			add(&table, tags[i], i + 1);
			there[i] = true;
			count++;
		} else if (there[i] && (x >> 33) % 8 >= bias) {
			table_erase(&table, (uint32_t)find(&table, tags[i], i + 1));
			table_shrink(&table);
			there[i] = false;
			count--;
		}
		assert_int_equal(table.count, count);
		assert_int_equal(find(&table, tags[i], i + 1) >= 0, there[i]);
		if (step % 1000 == 0)
			for (uint32_t j = 0; j < MODEL_N; j++)
				assert_int_equal(find(&table, tags[j], j + 1) >= 0, there[j]);
	}
	table_free(&table);
}

static void grows_by_half_and_shrinks_by_half(void **state)
{
	struct table table = { 0 };
	uint32_t largest;

	for (uint32_t i = 1; i <= 100000; i++) {
		uint32_t before = table.capacity;

		add(&table, i * 2654435761u, i);
		assert_true(table.capacity == before || before == 0 || table.capacity == before + before / 2);
		assert_true((uint64_t)table.count * 5 <= (uint64_t)table.capacity * 4);
	}
	largest = table.capacity;
	assert_true(table_bytes(&table) <= 100000 * 8 * 15 / 8);
	for (uint32_t i = 1; i <= 100000; i++) {
		table_erase(&table, (uint32_t)find(&table, i * 2654435761u, i));
		table_shrink(&table);
	}
	assert_true(table.capacity < largest / 1000);
	assert_int_equal(table.count, 0);
	table_free(&table);
}

static void without_memory_nothing_changes(void **state)
{
	struct table table = { 0 };

	test_alloc_fail(1);
	assert_int_equal(table_reserve(&table, 1), -ENOMEM);
	assert_null(table.slots);
	for (uint32_t i = 1; i <= 6; i++)
		add(&table, i << 20, i);
	test_alloc_fail(1);
	assert_int_equal(table_reserve(&table, 1), -ENOMEM);
	for (uint32_t i = 1; i <= 6; i++)
		assert_true(find(&table, i << 20, i) >= 0);
	assert_int_equal(table_reserve(&table, 100), 0);
	test_alloc_fail(1);
	table_shrink(&table); /* stays large */
	test_alloc_fail(0);
	for (uint32_t i = 1; i <= 6; i++)
		assert_true(find(&table, i << 20, i) >= 0);
	table_free(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_table_reserves_nothing),
		cmocka_unit_test(reserve_of_too_many_is_refused),
		cmocka_unit_test(erasing_loses_nobody),
		cmocka_unit_test(random_life_matches_a_model),
		cmocka_unit_test(grows_by_half_and_shrinks_by_half),
		cmocka_unit_test(without_memory_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
