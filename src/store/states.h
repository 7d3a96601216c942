/* SPDX-License-Identifier: Apache-2.0 */
/*
 * states.h: limiter states by key, in shards, each behind a lock of its own.
 *
 * A key hashes (SipHash, keyed: nobody chooses who collides) to a shard, whose index (table.h) leads
 * to an entry (slab.h): expiry, lengths, key and state in one piece. So a look-up touches the
 * shard, a line of slots and the two or three lines of the entry.
 *
 * An entry may be dropped from its expiry on, when its state has become the same as an empty one.
 * A clock hand goes around each shard, a few slots at a time, and drops such entries. Each shard
 * knows a lower bound of the expiries it holds, so that the hand rests while nothing can have expired.
 *
 * Rules
 *  1. Functions that take a shard want its lock held, unless they say otherwise.
 *  2. Who locks several shards of one `struct states` locks them in ascending order.
 *  3. An entry is good until the shard's lock is released, or it is replaced or erased.
 *
 * Leaves out: what is decided (memory_ops.c), the clock.
 */
#ifndef SLUICE_STORE_STATES_H
#define SLUICE_STORE_STATES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "store/slab.h"
#include "store/table.h"

#define STATES_SHARDS 256u
#define STATES_SLABS 4u
#define STATES_INLINE_MAX 1024u /* bytes of a state that lies in its entry; a longer one is allocated by itself */

/* Units of 2^21 us, 2.1 s: with 32 bits they reach the latest time there is, 2^53 us. */
#define STATES_COARSE_SHIFT 21

struct entry {
	uint32_t expiry; /* coarse; from then on the entry may be dropped */
	uint32_t state_len;
	uint8_t key_len;
	char bytes[]; /* the key; then the state, or its address (unaligned) when longer than STATES_INLINE_MAX */
};

struct shard {
	pthread_mutex_t lock;
	struct table table;
	struct slab *slab; /* shared with other shards */

	uint32_t hand;     /* the next slot to be looked at for expiry */
	uint32_t pass_min; /* lower bound of the expiries between the first slot and the hand */
	uint32_t soonest;  /* lower bound of all expiries; atomic, so that it can be read without the lock */
} __attribute__((aligned(64)));

struct states {
	struct shard shards[STATES_SHARDS];
	struct slab slabs[STATES_SLABS];
	struct hash_key hash_key;
	uint64_t max_keys;
	/* Atomic, relaxed. */
	uint64_t keys __attribute__((aligned(64))); /* touched when keys come and go only */
	uint64_t expired;
	uint64_t bytes;    /* tables and states allocated by themselves */
	uint32_t sweeping; /* the shard that states_sweep() goes on with */
};

/** @return 0 or -ENOMEM. libsodium must have been initialised. */
int states_open(struct states *states, uint64_t max_keys);

void states_close(struct states *states);

/** @return keys, without a lock. */
static inline uint64_t states_keys(const struct states *states)
{
	return __atomic_load_n(&states->keys, __ATOMIC_RELAXED);
}

/** @return bytes got from the system, without what `struct states` itself takes. No lock. */
uint64_t states_bytes(struct states *states);

/* The bits of a hash: 0-31 tag, 32-39 shard, 40-63 free for other uses. */
static inline uint64_t states_hash(const struct states *states, const char *key, size_t len)
{
	return hash_bytes(&states->hash_key, key, len);
}

static inline uint32_t states_shard_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32) % STATES_SHARDS;
}

static inline void shard_lock(struct shard *shard)
{
	pthread_mutex_lock(&shard->lock);
}

static inline void shard_unlock(struct shard *shard)
{
	pthread_mutex_unlock(&shard->lock);
}

/** @return the state's bytes. */
static inline void *entry_state(struct entry *entry)
{
	char *state = entry->bytes + entry->key_len;
	void *elsewhere;

	if (entry->state_len <= STATES_INLINE_MAX)
		return state;
	memcpy(&elsewhere, state, sizeof elsewhere);
	return elsewhere;
}

/** Begins to fetch the slots where `hash` would be, for a states_find() soon after. */
static inline void states_prefetch(const struct shard *shard, uint64_t hash)
{
	if (shard->table.capacity != 0)
		__builtin_prefetch(&shard->table.slots[table_home(&shard->table, (uint32_t)hash)]);
}

/** @return the entry of the key, or NULL. */
struct entry *states_find(const struct shard *shard, uint64_t hash, const char *key, size_t key_len);

/** Counts one more key. @return false when there are max_keys already. No lock needed. */
bool states_claim(struct states *states);

/** Takes a states_claim() back. No lock needed. */
void states_unclaim(struct states *states);

/** @return a reference to an entry that is in no table yet, its state's bytes undefined; 0 when there is no memory. */
uint32_t states_alloc(struct states *states, struct shard *shard, const char *key, size_t key_len, size_t state_len);

/** Frees an entry that is in no table. */
void states_discard(struct states *states, struct shard *shard, uint32_t ref);

static inline struct entry *states_at(const struct shard *shard, uint32_t ref)
{
	return slab_at(shard->slab->segments, ref);
}

/** Makes room in the shard's table for `n` more entries. @return 0, or -ENOMEM with nothing changed. */
int states_reserve(struct states *states, struct shard *shard, uint32_t n);

/** Puts an entry of states_alloc() into the table. Its key was claimed and room reserved. */
void states_link(struct shard *shard, uint64_t hash, uint32_t ref);

/** Puts an entry of states_alloc() in the place of `old`, which has the same key and is freed. */
void states_replace(struct states *states, struct shard *shard, uint64_t hash, struct entry *old, uint32_t ref);

/** Forgets the entry. */
void states_erase(struct states *states, struct shard *shard, uint64_t hash, struct entry *entry);

/** Sets from when on the entry may be dropped. */
void states_expire(struct shard *shard, struct entry *entry, uint64_t at_us);

/** Looks at up to `slots` slots of the shard and drops what has expired. @return how many were dropped. */
uint32_t states_sweep_shard(struct states *states, struct shard *shard, uint64_t now_us, uint32_t slots);

/** Looks at up to `slots` slots, of at most `shards` shards, where the last call left off, and drops what has
 *  expired. No lock may be held. @return how many were dropped. */
uint32_t states_sweep(struct states *states, uint64_t now_us, uint32_t slots, uint32_t shards);

#endif
