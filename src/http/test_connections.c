/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of connections.h: the bound of each address, over threads, and when memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sodium.h>
#include <cmocka.h>

#include "http/connections.h"

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool memory_short;

void *__wrap_calloc(size_t n, size_t size)
{
	return memory_short ? NULL : __real_calloc(n, size);
}

static struct in6_addr address_of(uint32_t number)
{
	struct in6_addr address = { 0 };

	memcpy(&address.s6_addr[12], &number, sizeof number);
	return address;
}

static int set_up(void **state)
{
	return sodium_init() < 0 ? -1 : 0;
}

static void holds_each_address_to_its_bound(void **state)
{
	static const uint32_t bounds[] = { 1, 2, 7, 1000 };

	for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
		struct http_connections *table = http_connections_new(bounds[i]);
		struct in6_addr one = address_of(1), other = address_of(2);

		assert_non_null(table);
		for (uint32_t n = 0; n < bounds[i]; n++)
			assert_true(http_connections_enter(table, &one));
		assert_false(http_connections_enter(table, &one));
		assert_false(http_connections_enter(table, &one)); /* a refusal is not counted */
		assert_true(http_connections_enter(table, &other));
		http_connections_leave(table, &one);
		assert_true(http_connections_enter(table, &one));
		assert_false(http_connections_enter(table, &one));
		http_connections_free(table);
	}
}

static void zero_is_no_bound(void **state)
{
	struct http_connections *table = http_connections_new(0);
	struct in6_addr one = address_of(1);

	assert_non_null(table);
	for (int n = 0; n < 100000; n++)
		assert_true(http_connections_enter(table, &one));
	for (int n = 0; n < 100000; n++)
		http_connections_leave(table, &one);
	http_connections_free(table);
}

static void the_largest_bound_is_one(void **state)
{
	struct http_connections *table = http_connections_new(UINT32_MAX);
	struct in6_addr one = address_of(1);

	assert_non_null(table);
	for (int n = 0; n < 1000; n++)
		assert_true(http_connections_enter(table, &one));
	http_connections_free(table);
}

/* Many more addresses than buckets: chains must be walked, and holders in their middle taken out. */
static void keeps_many_addresses_apart(void **state)
{
	enum { N = 50000 };
	struct http_connections *table = http_connections_new(2);
	uint32_t step = 7919; /* coprime to N: another order than that of arrival */

	assert_non_null(table);
	for (uint32_t n = 0; n < N; n++) {
		struct in6_addr address = address_of(n);

		assert_true(http_connections_enter(table, &address));
		assert_true(http_connections_enter(table, &address));
		assert_false(http_connections_enter(table, &address));
	}
	for (uint32_t n = 0; n < N; n++) {
		struct in6_addr address = address_of(n * (uint64_t)step % N);

		http_connections_leave(table, &address);
		http_connections_leave(table, &address);
	}
	for (uint32_t n = 0; n < N; n++) {
		struct in6_addr address = address_of(n);

		assert_true(http_connections_enter(table, &address));
	}
	http_connections_free(table);
}

/* All 128 bits count. */
static void every_bit_makes_another_address(void **state)
{
	struct http_connections *table = http_connections_new(1);
	struct in6_addr address = { 0 };

	assert_non_null(table);
	assert_true(http_connections_enter(table, &address));
	for (int bit = 0; bit < 128; bit++) {
		struct in6_addr other = { 0 };

		other.s6_addr[bit / 8] = (uint8_t)(1 << bit % 8);
		assert_true(http_connections_enter(table, &other));
	}
	assert_false(http_connections_enter(table, &address));
	http_connections_free(table);
}

static void a_stranger_who_leaves_changes_nothing(void **state)
{
	struct http_connections *table = http_connections_new(1);
	struct in6_addr one = address_of(1), stranger = address_of(2);

	assert_non_null(table);
	assert_true(http_connections_enter(table, &one));
	http_connections_leave(table, &stranger);
	assert_false(http_connections_enter(table, &one));
	assert_true(http_connections_enter(table, &stranger));
	http_connections_free(table);
}

static void short_memory_refuses_and_counts_nothing(void **state)
{
	struct http_connections *table = http_connections_new(2);
	struct in6_addr known = address_of(1), unknown = address_of(2);

	assert_non_null(table);
	assert_true(http_connections_enter(table, &known));
	memory_short = true;
	assert_false(http_connections_enter(table, &unknown));
	assert_true(http_connections_enter(table, &known)); /* needs none */
	assert_null(http_connections_new(1));
	memory_short = false;
	assert_true(http_connections_enter(table, &unknown));
	assert_true(http_connections_enter(table, &unknown));
	assert_false(http_connections_enter(table, &unknown));
	http_connections_free(table);
}

enum { THREADS = 4, ROUNDS = 50000, ADDRESSES = 3, BOUND = 2 };

struct crowd {
	struct http_connections *table;
	_Atomic int inside[ADDRESSES];
	_Atomic int too_many, entered;
};

static void *come_and_go(void *arg)
{
	struct crowd *crowd = arg;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t number = round % ADDRESSES;
		struct in6_addr address = address_of(number);

		if (!http_connections_enter(crowd->table, &address))
			continue;
		if (atomic_fetch_add(&crowd->inside[number], 1) >= BOUND)
			atomic_fetch_add(&crowd->too_many, 1);
		atomic_fetch_add(&crowd->entered, 1);
		atomic_fetch_sub(&crowd->inside[number], 1);
		http_connections_leave(crowd->table, &address);
	}
	return NULL;
}

static void threads_share_the_bound(void **state)
{
	static struct crowd crowd;
	pthread_t threads[THREADS];

	crowd.table = http_connections_new(BOUND);
	assert_non_null(crowd.table);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crowd.too_many, 0);
	assert_true(crowd.entered > 0);
	for (uint32_t number = 0; number < ADDRESSES; number++) { /* and nothing was left behind */
		struct in6_addr address = address_of(number);

		for (int n = 0; n < BOUND; n++)
			assert_true(http_connections_enter(crowd.table, &address));
		assert_false(http_connections_enter(crowd.table, &address));
	}
	http_connections_free(crowd.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_each_address_to_its_bound),
		cmocka_unit_test(zero_is_no_bound),
		cmocka_unit_test(the_largest_bound_is_one),
		cmocka_unit_test(keeps_many_addresses_apart),
		cmocka_unit_test(every_bit_makes_another_address),
		cmocka_unit_test(a_stranger_who_leaves_changes_nothing),
		cmocka_unit_test(short_memory_refuses_and_counts_nothing),
		cmocka_unit_test(threads_share_the_bound),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
