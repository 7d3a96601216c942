/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: an index from 32-bit tags to 32-bit references, eight bytes a slot.
 *
 * The reference says where the entry lies (slab.h); whether it is the one that is looked for, only
 * its key can tell. So a look-up walks over the slots from table_home() to the first free one and
 * has the owner compare:
 *
 *     for (pos = table_home(t, tag); t->slots[pos].ref != 0; pos = table_next(t, pos))
 *             if (t->slots[pos].tag == tag && the key at t->slots[pos].ref is the one)
 *
 * Open addressing with linear probing; an erased slot is filled by shifting back what follows it
 * (Knuth, The Art of Computer Programming, vol. 3, 6.4, algorithm R), so there are no tombstones.
 * The home position is tag * capacity / 2^32 (Lemire, "Fast Random Integer Generation in an
 * Interval", 2019): a capacity need not be a power of two and grows by half. Growing reads the
 * slots only, never an entry.
 *
 * Leaves out: locking, keys, what a reference means. A tag must be a keyed hash of the key.
 */
#ifndef SLUICE_STORE_TABLE_H
#define SLUICE_STORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_slot {
	uint32_t tag;
	uint32_t ref; /* 0: free */
};

/* All zero is an empty table, in which nothing can be looked up (capacity 0) before table_reserve(). */
struct table {
	struct table_slot *slots;
	uint32_t capacity; /* 0, or above count: a walk always ends at a free slot */
	uint32_t count;
};

/** @return where the walk for `tag` starts. The capacity must not be 0. */
static inline uint32_t table_home(const struct table *table, uint32_t tag)
{
	return (uint32_t)(((uint64_t)tag * table->capacity) >> 32);
}

/** @return the position after `pos`. */
static inline uint32_t table_next(const struct table *table, uint32_t pos)
{
	return pos + 1 < table->capacity ? pos + 1 : 0;
}

/** Makes room for `n` more, so that as many table_insert() can't fail. Positions may change.
 *  @return 0, or -ENOMEM with nothing changed. */
int table_reserve(struct table *table, uint32_t n);

/** Adds a reference other than 0. Room must have been reserved. */
void table_insert(struct table *table, uint32_t tag, uint32_t ref);

/** Empties the slot at `pos`. What followed may have been shifted back, also into `pos`. */
void table_erase(struct table *table, uint32_t pos);

/** Gives memory back when the table has become mostly empty. Positions may change. When there is no
 *  memory for the smaller copy, the table stays as it is. */
void table_shrink(struct table *table);

/** Frees the slots and makes the table empty. */
void table_free(struct table *table);

/** @return the bytes that the slots take. */
static inline size_t table_bytes(const struct table *table)
{
	return (size_t)table->capacity * sizeof(struct table_slot);
}

#endif
