/* SPDX-License-Identifier: Apache-2.0 */
#include "store/table.h"

#include <errno.h>
#include <stdlib.h>

#define CAPACITY_MIN 8

/* How many a capacity holds: four fifths. At that load a walk that finds looks at 3 slots, one that does not at 13. */
static uint64_t held_by(uint32_t capacity)
{
	return (uint64_t)capacity * 4 / 5;
}

static void put(struct table *table, uint32_t tag, uint32_t ref)
{
	uint32_t pos = table_home(table, tag);

	while (table->slots[pos].ref != 0)
		pos = table_next(table, pos);
	table->slots[pos].tag = tag;
	table->slots[pos].ref = ref;
}

static int rehash(struct table *table, uint32_t capacity)
{
	struct table old = *table;
	struct table_slot *slots = calloc(capacity, sizeof *slots);

	if (slots == NULL)
		return -ENOMEM;
	table->slots = slots;
	table->capacity = capacity;
	for (uint32_t pos = 0; pos < old.capacity; pos++)
		if (old.slots[pos].ref != 0)
			put(table, old.slots[pos].tag, old.slots[pos].ref);
	free(old.slots);
	return 0;
}

int table_reserve(struct table *table, uint32_t n)
{
	uint64_t want = (uint64_t)table->count + n;
	uint64_t capacity = table->capacity;

	if (want <= held_by(table->capacity))
		return 0;
	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	while (capacity <= UINT32_MAX && held_by((uint32_t)capacity) < want)
		capacity += capacity / 2;
	if (capacity > UINT32_MAX)
		return -ENOMEM;
	return rehash(table, (uint32_t)capacity);
}

void table_insert(struct table *table, uint32_t tag, uint32_t ref)
{
	put(table, tag, ref);
	table->count++;
}

void table_erase(struct table *table, uint32_t hole)
{
	uint32_t pos = table_next(table, hole);

	while (table->slots[pos].ref != 0) {
		uint32_t home = table_home(table, table->slots[pos].tag);
		/* Distances going forward around the ring, from the home and from the hole. */
		uint32_t from_home = pos >= home ? pos - home : pos + (table->capacity - home);
		uint32_t from_hole = pos >= hole ? pos - hole : pos + (table->capacity - hole);

		if (from_home >= from_hole) {
			table->slots[hole] = table->slots[pos];
			hole = pos;
		}
		pos = table_next(table, pos);
	}
	table->slots[hole].ref = 0;
	table->count--;
}

void table_shrink(struct table *table)
{
	uint32_t capacity = table->capacity / 2;

	/* A load below one tenth leaves one below one fifth: growing again is far away. */
	if (capacity >= CAPACITY_MIN && (uint64_t)table->count * 10 < table->capacity)
		rehash(table, capacity);
}

void table_free(struct table *table)
{
	free(table->slots);
	*table = (struct table){ 0 };
}
