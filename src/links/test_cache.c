/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache.c: the cache gives back what was put, stays within its bound, spares what is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>

#include "links/cache.h"
#include "links/links.h"
#include "links/test_alloc.h"

static void put(struct cache *cache, const char *key, const char *value)
{
	cache_put(cache, key, strlen(key), value, strlen(value));
}

static void expect(struct cache *cache, const char *key, const char *value)
{
	char got[LINK_URL_MAX];
	size_t len = 0;
	bool hit = cache_get(cache, key, strlen(key), got, sizeof got, &len);

	assert_int_equal(hit, value != NULL);
	if (value != NULL) {
		assert_int_equal(len, strlen(value));
		assert_memory_equal(got, value, len);
	}
}

static void test_put_get_remove(void **state)
{
	struct cache *cache = cache_open(1 << 20);
	struct cache_stats stats;

	assert_non_null(cache);
	expect(cache, "a", NULL);
	put(cache, "a", "one");
	put(cache, "ab", "two");
	put(cache, "A", "three");
	expect(cache, "a", "one");
	expect(cache, "ab", "two");
	expect(cache, "A", "three");
	expect(cache, "b", NULL);
	put(cache, "a", "another, longer value");
	expect(cache, "a", "another, longer value");
	assert_true(cache_remove(cache, "a", 1));
	assert_false(cache_remove(cache, "a", 1));
	expect(cache, "a", NULL);
	put(cache, "", "empty key");
	put(cache, "empty value", "");
	expect(cache, "", "empty key");
	expect(cache, "empty value", "");
	cache_stats(cache, &stats);
	assert_int_equal(stats.entries, 4);
	assert_int_equal(stats.hits, 6);
	assert_int_equal(stats.misses, 3);
	assert_int_equal(stats.evicted, 0);
	cache_close(cache);
	cache_close(NULL);
}

static void test_small_buffer(void **state)
{
	struct cache *cache = cache_open(1 << 20);
	char got[4] = "xxx";
	size_t len = 77;

	assert_non_null(cache);
	put(cache, "k", "12345");
	assert_false(cache_get(cache, "k", 1, got, 4, &len));
	assert_int_equal(len, 77);
	assert_string_equal(got, "xxx");
	put(cache, "k", "1234");
	assert_true(cache_get(cache, "k", 1, got, 4, &len));
	assert_int_equal(len, 4);
	cache_close(cache);
}

/* Whatever the sizes, memory stays within the bound, and the newest entry is there. */
static void test_bound(void **state)
{
	static const uint64_t bounds[] = { 1000, 20000, 65536, 200000, 1 << 22 };
	static char value[LINK_URL_MAX];

	memset(value, 'v', sizeof value);
	for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
		struct cache *cache = cache_open(bounds[b]);
		struct cache_stats stats;

		assert_non_null(cache);
		for (uint32_t i = 0; i < 30000; i++) {
			/* Long values first, then short ones: many more entries in the same memory. */
			size_t len = i < 2000 ? sizeof value - i % 64 : 10 + i % 100, got_len;
			char got[LINK_URL_MAX];

			cache_put(cache, &i, sizeof i, value, len);
			if (bounds[b] >= 20000 || len < 200)
				assert_true(cache_get(cache, &i, sizeof i, got, sizeof got, &got_len));
			if (i % 1000 == 0) {
				cache_stats(cache, &stats);
				assert_true(stats.bytes <= bounds[b]);
			}
		}
		cache_stats(cache, &stats);
		assert_true(stats.bytes <= bounds[b]);
		assert_true(stats.evicted > 0);
		/* Well used: at least three quarters. */
		assert_true(bounds[b] < 20000 || stats.bytes >= bounds[b] * 3 / 4);
		cache_close(cache);
	}
}

static void test_nothing_fits(void **state)
{
	struct cache *cache = cache_open(0);
	struct cache_stats stats;

	assert_non_null(cache);
	put(cache, "a", "b");
	expect(cache, "a", NULL);
	cache_stats(cache, &stats);
	assert_int_equal(stats.entries, 0);
	cache_close(cache);
}

/* Links in use stay while many times the cache's size of others passes through. */
static void test_scan(void **state)
{
	enum { HOT = 200, COLD = 100000 };
	static const char value[] = "https://www.example.com/some/path/of/usual/length";
	struct cache *cache = cache_open(1 << 18);
	char got[LINK_URL_MAX];
	size_t len;

	assert_non_null(cache);
	for (uint32_t i = 0; i < HOT; i++) {
		cache_put(cache, &i, sizeof i, value, sizeof value);
		assert_true(cache_get(cache, &i, sizeof i, got, sizeof got, &len));
	}
	for (uint32_t i = 0; i < COLD; i++) {
		uint32_t cold = 1000000 + i, hot = i % HOT; /* each hot link is used once in 200 puts */

		cache_put(cache, &cold, sizeof cold, value, sizeof value);
		if (!cache_get(cache, &hot, sizeof hot, got, sizeof got, &len))
			fail_msg("hot link %u was lost after %u cold ones", hot, i);
	}
	cache_close(cache);
}

static void test_allocation_failure(void **state)
{
	struct cache *cache = NULL;
	long n = 0;

	for (;; n++) {
		alloc_fail_after(n);
		cache = cache_open(1 << 20);
		if (cache != NULL)
			break;
		assert_true(alloc_failed());
	}
	assert_false(alloc_failed()); /* it was ordered for an allocation that no longer came */
	assert_true(n > 1);
	put(cache, "a", "before");
	alloc_fail_after(0);
	put(cache, "b", "not kept");
	assert_true(alloc_failed());
	expect(cache, "a", "before");
	expect(cache, "b", NULL);
	/* A table that can't grow goes on working. */
	for (uint32_t i = 0; i < 5000; i++) {
		alloc_fail_after(1);
		cache_put(cache, &i, sizeof i, "value", 5);
		alloc_failed();
	}
	for (uint32_t i = 0; i < 5000; i++) {
		char got[8];
		size_t len;

		assert_true(cache_get(cache, &i, sizeof i, got, sizeof got, &len));
		assert_memory_equal(got, "value", 5);
	}
	cache_close(cache);
}

enum { THREADS = 4, TURNS = 60000, KEYS = 3000 };

struct worker {
	pthread_t thread;
	struct cache *cache;
	uint32_t seed;
	unsigned wrong, hits;
};

/* The value of a key says which key it is for, many times over: a torn copy would show. */
static size_t value_of(uint32_t key, char *value)
{
	size_t n = 1 + key % 50;

	for (size_t i = 0; i < n; i++)
		memcpy(value + i * sizeof key, &key, sizeof key);
	return n * sizeof key;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	char value[256], got[256];
	size_t len;

	for (int i = 0; i < TURNS; i++) {
		uint32_t key;

		w->seed = w->seed * 1664525 + 1013904223;
		key = (w->seed >> 8) % KEYS;
		if ((w->seed >> 24) % 8 == 0)
			cache_put(w->cache, &key, sizeof key, value, value_of(key, value));
		else if ((w->seed >> 24) % 64 == 1)
			cache_remove(w->cache, &key, sizeof key);
		if (cache_get(w->cache, &key, sizeof key, got, sizeof got, &len)) {
			w->hits++;
			w->wrong += len != value_of(key, value) || memcmp(got, value, len) != 0;
		}
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct cache *cache = cache_open(150000); /* too small for all: evictions happen too */
	struct worker workers[THREADS];
	struct cache_stats stats;

	assert_non_null(cache);
	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .cache = cache, .seed = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
		assert_true(workers[i].hits > 0);
	}
	cache_stats(cache, &stats);
	assert_int_equal(stats.hits + stats.misses, THREADS * TURNS);
	assert_true(stats.evicted > 0);
	assert_true(stats.bytes <= 150000);
	cache_close(cache);
}

static int setup(void **state)
{
	return sodium_init() < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_get_remove), cmocka_unit_test(test_small_buffer),
		cmocka_unit_test(test_bound),          cmocka_unit_test(test_nothing_fits),
		cmocka_unit_test(test_scan),           cmocka_unit_test(test_allocation_failure),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
