/* SPDX-License-Identifier: Apache-2.0 */
#include "store/states.h"

#include <errno.h>
#include <stdlib.h>

#include "sluice/limiter.h"

#define SWEEP_BATCH 64u /* slots looked at under one lock */
#define SWEEP_AHEAD 8u  /* entries fetched ahead of the hand */

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void set_soonest(struct shard *shard, uint32_t coarse)
{
	__atomic_store_n(&shard->soonest, coarse, __ATOMIC_RELAXED);
}

static uint32_t get_soonest(const struct shard *shard)
{
	return __atomic_load_n(&shard->soonest, __ATOMIC_RELAXED);
}

/* What has expired at a time: rounded down, while expiries are rounded up. */
static uint32_t coarse_now(uint64_t now_us)
{
	return (uint32_t)((now_us < SLUICE_TIME_MAX_US ? now_us : SLUICE_TIME_MAX_US) >> STATES_COARSE_SHIFT);
}

static uint32_t coarse_expiry(uint64_t at_us)
{
	uint64_t coarse = (at_us + (UINT64_C(1) << STATES_COARSE_SHIFT) - 1) >> STATES_COARSE_SHIFT;

	return coarse < UINT32_MAX ? (uint32_t)coarse : UINT32_MAX;
}

int states_open(struct states *states, uint64_t max_keys)
{
	memset(states, 0, sizeof *states);
	states->max_keys = max_keys;
	hash_key_draw(&states->hash_key);
	for (uint32_t i = 0; i < STATES_SLABS; i++) {
		if (slab_open(&states->slabs[i]) == 0)
			continue;
		while (i > 0)
			slab_close(&states->slabs[--i]);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < STATES_SHARDS; i++) {
		struct shard *shard = &states->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		shard->slab = &states->slabs[i % STATES_SLABS];
		shard->pass_min = UINT32_MAX;
		set_soonest(shard, UINT32_MAX);
	}
	return 0;
}

static void free_large(struct states *states, struct entry *entry)
{
	if (entry->state_len > STATES_INLINE_MAX) {
		free(entry_state(entry));
		add(&states->bytes, -(uint64_t)entry->state_len);
	}
}

void states_close(struct states *states)
{
	for (uint32_t i = 0; i < STATES_SHARDS; i++) {
		struct shard *shard = &states->shards[i];

		for (uint32_t pos = 0; pos < shard->table.capacity; pos++)
			if (shard->table.slots[pos].ref != 0)
				free_large(states, states_at(shard, shard->table.slots[pos].ref));
		table_free(&shard->table);
		pthread_mutex_destroy(&shard->lock);
	}
	for (uint32_t i = 0; i < STATES_SLABS; i++)
		slab_close(&states->slabs[i]);
}

uint64_t states_bytes(struct states *states)
{
	uint64_t bytes = __atomic_load_n(&states->bytes, __ATOMIC_RELAXED);

	for (uint32_t i = 0; i < STATES_SLABS; i++)
		bytes += slab_bytes(&states->slabs[i]);
	return bytes;
}

struct entry *states_find(const struct shard *shard, uint64_t hash, const char *key, size_t key_len)
{
	const struct table *table = &shard->table;
	const struct slab_segment *segments = shard->slab->segments;
	uint32_t tag = (uint32_t)hash;

	if (table->capacity == 0)
		return NULL;
	for (uint32_t pos = table_home(table, tag); table->slots[pos].ref != 0; pos = table_next(table, pos)) {
		struct entry *entry;

		if (table->slots[pos].tag != tag)
			continue;
		entry = slab_at(segments, table->slots[pos].ref);
		/* Most entries lie across two or three lines, all of which will be needed. */
		__builtin_prefetch((char *)entry + 64);
		__builtin_prefetch((char *)entry + 100);
		if (entry->key_len == key_len && memcmp(entry->bytes, key, key_len) == 0)
			return entry;
	}
	return NULL;
}

bool states_claim(struct states *states)
{
	uint64_t keys = states_keys(states);

	do {
		if (keys >= states->max_keys)
			return false;
	} while (
		!__atomic_compare_exchange_n(&states->keys, &keys, keys + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

void states_unclaim(struct states *states)
{
	__atomic_fetch_sub(&states->keys, 1, __ATOMIC_RELAXED);
}

uint32_t states_alloc(struct states *states, struct shard *shard, const char *key, size_t key_len, size_t state_len)
{
	size_t head = offsetof(struct entry, bytes) + key_len;
	void *large = NULL;
	struct entry *entry;
	uint32_t ref;

	if (state_len > STATES_INLINE_MAX) {
		large = malloc(state_len);
		if (large == NULL)
			return 0;
	}
	ref = slab_alloc(shard->slab, head + (large != NULL ? sizeof large : state_len));
	if (ref == 0) {
		free(large);
		return 0;
	}
	entry = states_at(shard, ref);
	entry->expiry = 0;
	entry->state_len = (uint32_t)state_len;
	entry->key_len = (uint8_t)key_len;
	memcpy(entry->bytes, key, key_len);
	if (large != NULL) {
		memcpy(entry->bytes + key_len, &large, sizeof large);
		add(&states->bytes, state_len);
	}
	return ref;
}

void states_discard(struct states *states, struct shard *shard, uint32_t ref)
{
	free_large(states, states_at(shard, ref));
	slab_free(shard->slab, ref);
}

/* Books what the table has grown or shrunk by; when it has, the hand's place means nothing any more. */
static void after_resize(struct states *states, struct shard *shard, size_t bytes_before)
{
	size_t bytes = table_bytes(&shard->table);

	if (bytes == bytes_before)
		return;
	add(&states->bytes, (uint64_t)bytes - bytes_before);
	shard->hand = 0;
	shard->pass_min = UINT32_MAX;
}

int states_reserve(struct states *states, struct shard *shard, uint32_t n)
{
	size_t before = table_bytes(&shard->table);
	int rc = table_reserve(&shard->table, n);

	after_resize(states, shard, before);
	return rc;
}

void states_link(struct shard *shard, uint64_t hash, uint32_t ref)
{
	table_insert(&shard->table, (uint32_t)hash, ref);
}

static uint32_t position_of(const struct shard *shard, uint64_t hash, const struct entry *entry)
{
	uint32_t pos = table_home(&shard->table, (uint32_t)hash);

	while (shard->table.slots[pos].ref == 0 || states_at(shard, shard->table.slots[pos].ref) != entry)
		pos = table_next(&shard->table, pos);
	return pos;
}

void states_replace(struct states *states, struct shard *shard, uint64_t hash, struct entry *old, uint32_t ref)
{
	struct table_slot *slot = &shard->table.slots[position_of(shard, hash, old)];
	uint32_t old_ref = slot->ref;

	states_at(shard, ref)->expiry = old->expiry;
	slot->ref = ref;
	states_discard(states, shard, old_ref);
}

static void erase_at(struct states *states, struct shard *shard, uint32_t pos)
{
	states_discard(states, shard, shard->table.slots[pos].ref);
	table_erase(&shard->table, pos);
	states_unclaim(states);
}

void states_erase(struct states *states, struct shard *shard, uint64_t hash, struct entry *entry)
{
	erase_at(states, shard, position_of(shard, hash, entry));
	/* Entries may have moved behind the hand unseen: this pass proves nothing. */
	shard->pass_min = 0;
}

void states_expire(struct shard *shard, struct entry *entry, uint64_t at_us)
{
	uint32_t coarse = coarse_expiry(at_us);

	/* A later expiry leaves the lower bounds true; a new entry comes from 0, which is not one. */
	if (coarse < entry->expiry || entry->expiry == 0) {
		if (coarse < get_soonest(shard))
			set_soonest(shard, coarse);
		if (coarse < shard->pass_min)
			shard->pass_min = coarse;
	}
	entry->expiry = coarse;
}

/* Looks at the slot under the hand. @return 1 when its entry was dropped: then another may have come in its place. */
static uint32_t sweep_slot(struct states *states, struct shard *shard, uint32_t now)
{
	const struct table *table = &shard->table;
	uint32_t ref = table->slots[shard->hand].ref;
	uint32_t ahead = shard->hand + SWEEP_AHEAD;

	if (ahead < table->capacity && table->slots[ahead].ref != 0)
		__builtin_prefetch(states_at(shard, table->slots[ahead].ref));
	if (ref != 0) {
		uint32_t expiry = states_at(shard, ref)->expiry;

		if (expiry <= now) {
			erase_at(states, shard, shard->hand);
			return 1;
		}
		if (expiry < shard->pass_min)
			shard->pass_min = expiry;
	}
	shard->hand++;
	return 0;
}

static bool due(const struct shard *shard, uint32_t now)
{
	return get_soonest(shard) <= now;
}

uint32_t states_sweep_shard(struct states *states, struct shard *shard, uint64_t now_us, uint32_t slots)
{
	uint32_t now = coarse_now(now_us);
	uint32_t dropped = 0;

	if (!due(shard, now))
		return 0;
	for (; slots > 0 && shard->hand < shard->table.capacity; slots--)
		dropped += sweep_slot(states, shard, now);
	if (shard->hand >= shard->table.capacity) {
		set_soonest(shard, shard->pass_min);
		shard->pass_min = UINT32_MAX;
		shard->hand = 0;
	}
	if (dropped > 0) {
		size_t before = table_bytes(&shard->table);

		table_shrink(&shard->table);
		after_resize(states, shard, before);
		add(&states->expired, dropped);
	}
	return dropped;
}

uint32_t states_sweep(struct states *states, uint64_t now_us, uint32_t slots, uint32_t shards)
{
	uint32_t number = __atomic_load_n(&states->sweeping, __ATOMIC_RELAXED);
	uint32_t now = coarse_now(now_us);
	uint32_t dropped = 0;

	while (slots > 0 && shards > 0) {
		struct shard *shard = &states->shards[number % STATES_SHARDS];

		if (due(shard, now)) {
			uint32_t batch = slots < SWEEP_BATCH ? slots : SWEEP_BATCH;

			shard_lock(shard);
			dropped += states_sweep_shard(states, shard, now_us, batch);
			shard_unlock(shard);
			slots -= batch;
		}
		if (!due(shard, now)) {
			number++;
			shards--;
		}
	}
	__atomic_store_n(&states->sweeping, number, __ATOMIC_RELAXED);
	return dropped;
}
