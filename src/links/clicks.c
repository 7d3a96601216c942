/* SPDX-License-Identifier: Apache-2.0 */
/* clicks.c: see clicks.h. Each shard is a dense array and a table of places in it (open addressing, linear probing). */
#include "links/clicks.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SHARDS 64u
#define ITEMS_MIN 8u

struct shard {
	pthread_mutex_t lock;
	struct click *items;
	uint32_t *places; /* 2 * room of them: place in `items` plus one, 0: free */
	uint32_t n, room; /* room: a power of two, or 0 */
	uint64_t pending, lost;
} __attribute__((aligned(64)));

struct clicks {
	struct hash_key key;
	uint32_t max_per_shard;
	struct shard shard[SHARDS];
};

struct clicks *clicks_open(uint32_t max_codes)
{
	struct clicks *clicks = aligned_alloc(64, sizeof *clicks);

	if (clicks == NULL)
		return NULL;
	memset(clicks, 0, sizeof *clicks);
	hash_key_draw(&clicks->key);
	clicks->max_per_shard = max_codes / SHARDS > 0 ? max_codes / SHARDS : 1;
	for (uint32_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&clicks->shard[i].lock, NULL);
	return clicks;
}

/* @return the place of the code in the table, or the free one where it belongs. */
static uint32_t *find(struct shard *shard, uint32_t hash, const char *code, size_t code_len)
{
	uint32_t mask = 2 * shard->room - 1;

	for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
		uint32_t *place = &shard->places[i];
		const struct click *item;

		if (*place == 0)
			return place;
		item = &shard->items[*place - 1];
		if (item->code_len == code_len && memcmp(item->code, code, code_len) == 0)
			return place;
	}
}

/* Makes room for one more. @return false when the bound is reached or memory is short. */
static bool grow(struct clicks *clicks, struct shard *shard)
{
	uint32_t room = shard->room == 0 ? ITEMS_MIN : shard->room * 2;
	struct click *items;
	uint32_t *places;

	if (shard->n >= clicks->max_per_shard)
		return false;
	if (shard->n < shard->room)
		return true;
	items = realloc(shard->items, room * sizeof *items);
	if (items == NULL)
		return false;
	shard->items = items;
	places = calloc(2 * room, sizeof *places);
	if (places == NULL)
		return false;
	free(shard->places);
	shard->places = places;
	shard->room = room;
	for (uint32_t i = 0; i < shard->n; i++) {
		uint64_t hash = hash_bytes(&clicks->key, items[i].code, items[i].code_len);

		*find(shard, (uint32_t)hash, items[i].code, items[i].code_len) = i + 1;
	}
	return true;
}

static struct click *find_or_add(struct clicks *clicks, struct shard *shard, uint32_t hash, const char *code,
                                 size_t len)
{
	struct click *item;
	uint32_t *place;

	if (shard->room > 0) {
		place = find(shard, hash, code, len);
		if (*place != 0)
			return &shard->items[*place - 1];
	}
	if (!grow(clicks, shard))
		return NULL;
	place = find(shard, hash, code, len);
	*place = ++shard->n;
	item = &shard->items[*place - 1];
	*item = (struct click){ .code_len = (uint8_t)len };
	memcpy(item->code, code, len);
	return item;
}

void clicks_add(struct clicks *clicks, const char *code, size_t code_len, uint64_t count, uint64_t wall_us)
{
	struct click *item;
	struct shard *shard;
	uint64_t hash;

	if (code_len == 0 || code_len > LINK_CODE_MAX)
		return;
	hash = hash_bytes(&clicks->key, code, code_len);
	shard = &clicks->shard[(hash >> 32) & (SHARDS - 1)];
	pthread_mutex_lock(&shard->lock);
	item = find_or_add(clicks, shard, (uint32_t)hash, code, code_len);
	if (item != NULL) {
		item->count += count;
		if (wall_us > item->last_us)
			item->last_us = wall_us;
		shard->pending += count;
	} else {
		shard->lost += count;
	}
	pthread_mutex_unlock(&shard->lock);
}

static uint32_t codes_waiting(struct clicks *clicks)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&clicks->shard[i].lock);
		n += clicks->shard[i].n;
		pthread_mutex_unlock(&clicks->shard[i].lock);
	}
	return n;
}

struct click *clicks_take(struct clicks *clicks, size_t *n)
{
	uint32_t room = codes_waiting(clicks);
	struct click *all = room > 0 ? malloc(room * sizeof *all) : NULL;

	*n = 0;
	if (all == NULL)
		return NULL;
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &clicks->shard[i];

		pthread_mutex_lock(&shard->lock);
		/* A shard that has grown since they were counted may not fit any more: next time. */
		if (shard->n > 0 && shard->n <= room - *n) {
			memcpy(all + *n, shard->items, shard->n * sizeof *all);
			*n += shard->n;
			memset(shard->places, 0, 2 * shard->room * sizeof *shard->places);
			shard->n = 0;
			shard->pending = 0;
		}
		pthread_mutex_unlock(&shard->lock);
	}
	return all;
}

void clicks_stats(struct clicks *clicks, uint64_t *pending, uint64_t *lost)
{
	*pending = *lost = 0;
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &clicks->shard[i];

		pthread_mutex_lock(&shard->lock);
		*pending += shard->pending;
		*lost += shard->lost;
		pthread_mutex_unlock(&shard->lock);
	}
}

void clicks_close(struct clicks *clicks)
{
	if (clicks == NULL)
		return;
	for (uint32_t i = 0; i < SHARDS; i++) {
		free(clicks->shard[i].items);
		free(clicks->shard[i].places);
		pthread_mutex_destroy(&clicks->shard[i].lock);
	}
	free(clicks);
}
