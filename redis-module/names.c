/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.c: a hash table of names on the stack. Who sends names that collide makes one command of at most NAMES_MAX
 * names slower, no more.
 */
#include "redis-module/names.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SLOTS_MAX (4 * NAMES_MAX)

/* By the length and the last eight bytes, in which names of clients differ. */
static uint64_t hash_of(const char *name, size_t len)
{
	uint64_t tail = 0;
	size_t bytes = len < sizeof tail ? len : sizeof tail;

	memcpy(&tail, name + len - bytes, bytes);
	return (tail ^ (uint64_t)len << 56) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool same(const RedisModuleString *a, const char *b, size_t b_len)
{
	size_t a_len;
	const char *a_name = redis.StringPtrLen(a, &a_len);

	return a_len == b_len && memcmp(a_name, b, a_len) == 0;
}

size_t names_distinct(RedisModuleString *const *names, size_t n)
{
	uint16_t slots[SLOTS_MAX]; /* 0: free; else the index of a name, plus 1 */
	unsigned bits = 2;

	while ((size_t)1 << bits < 4 * n)
		bits++;
	memset(slots, 0, sizeof slots[0] << bits);
	for (size_t i = 0; i < n; i++) {
		size_t len, slot;
		const char *name = redis.StringPtrLen(names[i], &len);

		slot = hash_of(name, len) >> (64 - bits);
		while (slots[slot] != 0) {
			if (same(names[slots[slot] - 1], name, len))
				return i;
			slot = (slot + 1) & (((size_t)1 << bits) - 1);
		}
		slots[slot] = (uint16_t)(i + 1);
	}
	return n;
}
