/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall.h: what a server remembers of keys while a distant store keeps their states: how much was used when the store
 * last told, and which keys were decided here because it could not be asked.
 *
 * A bounded table of notes, a few dozen bytes each, that any thread may use (a lock for some sets of notes). A full one
 * forgets the note that would have ended first: a key of which nothing is known is taken for unused.
 *
 * Keys are known by a keyed hash of 64 bits. Two keys with one hash share their note, which errs on the strict side,
 * and nobody can choose them.
 */
#ifndef SLUICE_STORE_RECALL_H
#define SLUICE_STORE_RECALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recall;

/* The note of one key. Times are the caller's. */
struct recall_note {
	uint64_t key;             /* recall_key() */
	uint64_t used_until_us;   /* the store said that by then all is unused again */
	uint64_t marked_until_us; /* was decided here; until then it matters */
	uint32_t used;            /* units, when the store last told */
};

/** @param notes  at most so many, 1 or more, rounded up to a power of two. @return NULL when memory is short. */
struct recall *recall_new(uint64_t notes);

/** @return the hash that stands for a key. */
uint64_t recall_key(const struct recall *recall, const char *key, size_t len);

/** Notes that `used` units are used, until `until_us`. */
void recall_used(struct recall *recall, uint64_t key, uint32_t used, uint64_t until_us);

/** Marks the key until `until_us`, if it is not marked for longer. */
void recall_mark(struct recall *recall, uint64_t key, uint64_t until_us);

/** @return the key's note, in which what is over is 0. */
struct recall_note recall_find(struct recall *recall, uint64_t key, uint64_t now_us);

void recall_forget(struct recall *recall, uint64_t key);

/** @return memory held, in bytes. */
size_t recall_bytes(const struct recall *recall);

void recall_free(struct recall *recall);

#endif
