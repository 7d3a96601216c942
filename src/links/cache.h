/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h: small strings by small strings, in bounded memory: code -> URL, and hash of a URL -> code.
 *
 * Links do not change, so what is in here is right until it is removed. Sharded, a lock a shard; a hit copies
 * the value out under the lock and allocates nothing. The table is keyed (base/hash.h), because clients choose the
 * codes that are looked up.
 *
 * Which entry goes when it is full: SIEVE, a FIFO queue in which a hit only sets a mark, and a hand that spares what is
 * marked. A scan of codes that nobody asks for again leaves the marked ones alone.
 * Source: Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is Simpler than LRU" (NSDI 2024).
 *
 * Any function from any thread, save for open and close.
 */
#ifndef SLUICE_LINKS_CACHE_H
#define SLUICE_LINKS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;

struct cache_stats {
	uint64_t hits, misses;
	uint64_t entries;
	uint64_t bytes; /* of memory, allocator's and table's share included */
	uint64_t evicted;
};

/** @param max_bytes  bound of the memory held; 0: nothing is ever kept. sodium_init() must have been called.
 *  @return a cache for cache_close(), or NULL with errno set. */
struct cache *cache_open(uint64_t max_bytes);

/**
 * Looks `key` up and marks it as used.
 *
 * @param value      out: a copy of the value, not NUL-terminated; untouched on a miss.
 * @param size       of `value`; an entry larger than that counts as a miss.
 * @param value_len  out: its bytes.
 */
bool cache_get(struct cache *cache, const void *key, size_t key_len, void *value, size_t size, size_t *value_len);

/** Keeps a copy. What is there under the key is replaced. Entries that don't fit, and those for which memory is
 *  short, are not kept: a cache may forget.
 *  @param key_len, value_len  at most 65,535. */
void cache_put(struct cache *cache, const void *key, size_t key_len, const void *value, size_t value_len);

/** The same two for a store that has to know of each entry how long it can be trusted.
 *  @param mark  a number that is kept with the entry; 0 for those that cache_put() keeps. */
bool cache_get_marked(struct cache *cache, const void *key, size_t key_len, void *value, size_t size, size_t *value_len,
                      uint32_t *mark);
void cache_put_marked(struct cache *cache, const void *key, size_t key_len, const void *value, size_t value_len,
                      uint32_t mark);

/** @return true when it was there. */
bool cache_remove(struct cache *cache, const void *key, size_t key_len);

void cache_stats(struct cache *cache, struct cache_stats *out);

/** NULL is fine. Nobody may use the cache any more. */
void cache_close(struct cache *cache);

#endif
