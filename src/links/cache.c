/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c: see cache.h. */
#include "links/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SHARDS_MAX 64u
#define SHARD_BYTES_MIN 65536u /* enough for some of the longest URLs */
#define BUCKETS_MIN 16u

struct entry {
	struct entry *chain;         /* the next in the bucket */
	struct entry *newer, *older; /* the FIFO queue */
	uint32_t tag;                /* low half of the hash: finds the bucket, spares most comparisons */
	uint32_t mark;               /* of the caller */
	uint16_t key_len, value_len;
	bool visited;
	char bytes[]; /* key, then value */
};

struct shard {
	pthread_mutex_t lock;
	struct entry **buckets;
	uint32_t mask; /* buckets less one */
	struct entry *newest, *oldest;
	struct entry *hand; /* the next candidate; NULL: the oldest */
	uint64_t max_bytes;
	struct cache_stats stats;
} __attribute__((aligned(64)));

struct cache {
	struct hash_key key;
	uint32_t shards; /* a power of two */
	struct shard shard[];
};

/* What the entry costs: malloc() rounds up to 16 and keeps 8 for itself. */
static uint64_t entry_bytes(const struct entry *entry)
{
	return (sizeof *entry + entry->key_len + entry->value_len + 8 + 15) & ~UINT64_C(15);
}

static bool shard_init(struct shard *shard, uint64_t max_bytes)
{
	shard->buckets = calloc(BUCKETS_MIN, sizeof(struct entry *));
	if (shard->buckets == NULL)
		return false;
	shard->mask = BUCKETS_MIN - 1;
	shard->max_bytes = max_bytes;
	shard->stats.bytes = BUCKETS_MIN * sizeof(struct entry *);
	pthread_mutex_init(&shard->lock, NULL);
	return true;
}

struct cache *cache_open(uint64_t max_bytes)
{
	struct cache *cache;
	uint32_t shards = 1;
	size_t size;

	while (shards < SHARDS_MAX && max_bytes / (shards * 2) >= SHARD_BYTES_MIN)
		shards *= 2;
	size = (sizeof *cache + shards * sizeof(struct shard) + 63) & ~(size_t)63;
	cache = aligned_alloc(64, size);
	if (cache == NULL)
		return NULL;
	memset(cache, 0, size);
	hash_key_draw(&cache->key);
	for (cache->shards = 0; cache->shards < shards; cache->shards++) {
		if (!shard_init(&cache->shard[cache->shards], max_bytes / shards)) {
			cache_close(cache);
			errno = ENOMEM;
			return NULL;
		}
	}
	return cache;
}

static struct shard *shard_of(struct cache *cache, uint64_t hash)
{
	return &cache->shard[(hash >> 32) & (cache->shards - 1)];
}

/* @return where the pointer to the entry stands, or the end of its chain. */
static struct entry **find(struct shard *shard, uint32_t tag, const void *key, size_t key_len)
{
	struct entry **at = &shard->buckets[tag & shard->mask];

	for (; *at != NULL; at = &(*at)->chain) {
		if ((*at)->tag == tag && (*at)->key_len == key_len && memcmp((*at)->bytes, key, key_len) == 0)
			break;
	}
	return at;
}

bool cache_get(struct cache *cache, const void *key, size_t key_len, void *value, size_t size, size_t *value_len)
{
	uint32_t mark;

	return cache_get_marked(cache, key, key_len, value, size, value_len, &mark);
}

bool cache_get_marked(struct cache *cache, const void *key, size_t key_len, void *value, size_t size, size_t *value_len,
                      uint32_t *mark)
{
	uint64_t hash = hash_bytes(&cache->key, key, key_len);
	struct shard *shard = shard_of(cache, hash);
	struct entry *entry;
	bool hit;

	pthread_mutex_lock(&shard->lock);
	entry = *find(shard, (uint32_t)hash, key, key_len);
	hit = entry != NULL && entry->value_len <= size;
	if (hit) {
		if (!entry->visited) /* a write only when needed keeps the line shared between cores */
			entry->visited = true;
		memcpy(value, entry->bytes + entry->key_len, entry->value_len);
		*value_len = entry->value_len;
		*mark = entry->mark;
		shard->stats.hits++;
	} else {
		shard->stats.misses++;
	}
	pthread_mutex_unlock(&shard->lock);
	return hit;
}

/* Takes the entry to which `at` points out of the table and the queue, and frees it. */
static void drop(struct shard *shard, struct entry **at)
{
	struct entry *entry = *at;

	*at = entry->chain;
	if (shard->hand == entry)
		shard->hand = entry->newer;
	*(entry->newer != NULL ? &entry->newer->older : &shard->newest) = entry->older;
	*(entry->older != NULL ? &entry->older->newer : &shard->oldest) = entry->newer;
	shard->stats.bytes -= entry_bytes(entry);
	shard->stats.entries--;
	free(entry);
}

/* Moves the hand from old to new, taking marks off, until it stands on an entry without one; drops that. */
static void evict_one(struct shard *shard)
{
	struct entry *entry = shard->hand != NULL ? shard->hand : shard->oldest;

	while (entry->visited) {
		entry->visited = false;
		entry = entry->newer != NULL ? entry->newer : shard->oldest;
	}
	shard->hand = entry;
	drop(shard, find(shard, entry->tag, entry->bytes, entry->key_len));
	shard->stats.evicted++;
}

/* Keeps chains short. A table that can't grow goes on working, more slowly. */
static void grow_table(struct shard *shard)
{
	uint32_t n = (shard->mask + 1) * 2;
	uint64_t more = (n - shard->mask - 1) * sizeof *shard->buckets;
	struct entry **buckets;

	if (n == 0 || more > shard->max_bytes / 4)
		return;
	while (shard->oldest != NULL && shard->stats.bytes + more > shard->max_bytes)
		evict_one(shard);
	buckets = calloc(n, sizeof *buckets);
	if (buckets == NULL)
		return;
	for (struct entry *entry = shard->newest; entry != NULL; entry = entry->older) {
		struct entry **bucket = &buckets[entry->tag & (n - 1)];

		entry->chain = *bucket;
		*bucket = entry;
	}
	free(shard->buckets);
	shard->stats.bytes += more;
	shard->buckets = buckets;
	shard->mask = n - 1;
}

static void insert(struct shard *shard, struct entry *entry)
{
	struct entry **bucket;

	if (shard->stats.entries > shard->mask)
		grow_table(shard);
	while (shard->oldest != NULL && shard->stats.bytes + entry_bytes(entry) > shard->max_bytes)
		evict_one(shard);
	bucket = &shard->buckets[entry->tag & shard->mask];
	entry->chain = *bucket;
	*bucket = entry;
	entry->older = shard->newest;
	*(shard->newest != NULL ? &shard->newest->newer : &shard->oldest) = entry;
	shard->newest = entry;
	shard->stats.bytes += entry_bytes(entry);
	shard->stats.entries++;
}

void cache_put(struct cache *cache, const void *key, size_t key_len, const void *value, size_t value_len)
{
	cache_put_marked(cache, key, key_len, value, value_len, 0);
}

void cache_put_marked(struct cache *cache, const void *key, size_t key_len, const void *value, size_t value_len,
                      uint32_t mark)
{
	uint64_t hash = hash_bytes(&cache->key, key, key_len);
	struct shard *shard = shard_of(cache, hash);
	struct entry *entry = malloc(sizeof *entry + key_len + value_len);
	struct entry **at;

	if (entry == NULL)
		return;
	*entry = (struct entry){
		.tag = (uint32_t)hash, .mark = mark, .key_len = (uint16_t)key_len, .value_len = (uint16_t)value_len
	};
	memcpy(entry->bytes, key, key_len);
	memcpy(entry->bytes + key_len, value, value_len);
	pthread_mutex_lock(&shard->lock);
	at = find(shard, entry->tag, key, key_len);
	if (*at != NULL) {
		entry->visited = (*at)->visited;
		drop(shard, at);
	}
	if ((shard->mask + 1) * sizeof(struct entry *) + entry_bytes(entry) <= shard->max_bytes) {
		insert(shard, entry);
		entry = NULL;
	}
	pthread_mutex_unlock(&shard->lock);
	free(entry);
}

bool cache_remove(struct cache *cache, const void *key, size_t key_len)
{
	uint64_t hash = hash_bytes(&cache->key, key, key_len);
	struct shard *shard = shard_of(cache, hash);
	struct entry **at;
	bool there;

	pthread_mutex_lock(&shard->lock);
	at = find(shard, (uint32_t)hash, key, key_len);
	there = *at != NULL;
	if (there)
		drop(shard, at);
	pthread_mutex_unlock(&shard->lock);
	return there;
}

void cache_stats(struct cache *cache, struct cache_stats *out)
{
	*out = (struct cache_stats){ 0 };
	for (uint32_t i = 0; i < cache->shards; i++) {
		struct shard *shard = &cache->shard[i];

		pthread_mutex_lock(&shard->lock);
		out->hits += shard->stats.hits;
		out->misses += shard->stats.misses;
		out->entries += shard->stats.entries;
		out->bytes += shard->stats.bytes;
		out->evicted += shard->stats.evicted;
		pthread_mutex_unlock(&shard->lock);
	}
}

void cache_close(struct cache *cache)
{
	if (cache == NULL)
		return;
	for (uint32_t i = 0; i < cache->shards; i++) {
		struct shard *shard = &cache->shard[i];

		while (shard->newest != NULL) {
			struct entry *older = shard->newest->older;

			free(shard->newest);
			shard->newest = older;
		}
		free(shard->buckets);
		pthread_mutex_destroy(&shard->lock);
	}
	free(cache);
}
