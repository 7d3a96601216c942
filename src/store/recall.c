/* SPDX-License-Identifier: Apache-2.0 */
#include "store/recall.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"

#define WAYS 4u
#define LOCKS 64u

struct recall {
	struct hash_key hash_key;
	uint64_t sets; /* of WAYS notes; a power of two */
	struct recall_note *notes;
	struct recall_lock {
		_Alignas(64) pthread_mutex_t mutex;
	} locks[LOCKS];
};

struct recall *recall_new(uint64_t notes)
{
	struct recall *recall = sodium_init() >= 0 ? aligned_alloc(_Alignof(struct recall), sizeof *recall) : NULL;

	if (recall == NULL)
		return NULL;
	recall->sets = 1;
	while (recall->sets * WAYS < notes)
		recall->sets *= 2;
	/* Of a large block the system gives what is touched. */
	recall->notes = calloc(recall->sets, WAYS * sizeof *recall->notes);
	if (recall->notes == NULL) {
		free(recall);
		return NULL;
	}
	hash_key_draw(&recall->hash_key);
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_init(&recall->locks[i].mutex, NULL);
	return recall;
}

uint64_t recall_key(const struct recall *recall, const char *key, size_t len)
{
	return hash_bytes(&recall->hash_key, key, len);
}

static struct recall_note *lock_set(struct recall *recall, uint64_t key)
{
	uint64_t set = key & (recall->sets - 1);

	pthread_mutex_lock(&recall->locks[set % LOCKS].mutex);
	return &recall->notes[set * WAYS];
}

static void unlock_set(struct recall *recall, uint64_t key)
{
	pthread_mutex_unlock(&recall->locks[(key & (recall->sets - 1)) % LOCKS].mutex);
}

static uint64_t end_of(const struct recall_note *note)
{
	return note->used_until_us > note->marked_until_us ? note->used_until_us : note->marked_until_us;
}

static struct recall_note *find(struct recall_note *set, uint64_t key)
{
	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].key == key && end_of(&set[i]) != 0)
			return &set[i];
	return NULL;
}

/* The key's note, or one made for it in the place of that which ends first. */
static struct recall_note *find_or_make(struct recall_note *set, uint64_t key)
{
	struct recall_note *note = find(set, key);

	if (note != NULL)
		return note;
	note = set;
	for (unsigned i = 1; i < WAYS; i++)
		if (end_of(&set[i]) < end_of(note))
			note = &set[i];
	*note = (struct recall_note){ .key = key };
	return note;
}

void recall_used(struct recall *recall, uint64_t key, uint32_t used, uint64_t until_us)
{
	struct recall_note *note = find_or_make(lock_set(recall, key), key);

	note->used = used;
	note->used_until_us = until_us;
	unlock_set(recall, key);
}

void recall_mark(struct recall *recall, uint64_t key, uint64_t until_us)
{
	struct recall_note *note = find_or_make(lock_set(recall, key), key);

	if (note->marked_until_us < until_us)
		note->marked_until_us = until_us;
	unlock_set(recall, key);
}

struct recall_note recall_find(struct recall *recall, uint64_t key, uint64_t now_us)
{
	struct recall_note *note = find(lock_set(recall, key), key);
	struct recall_note found = { .key = key };

	if (note != NULL)
		found = *note;
	unlock_set(recall, key);
	if (found.used_until_us <= now_us)
		found.used_until_us = found.used = 0;
	if (found.marked_until_us <= now_us)
		found.marked_until_us = 0;
	return found;
}

void recall_forget(struct recall *recall, uint64_t key)
{
	struct recall_note *note = find(lock_set(recall, key), key);

	if (note != NULL)
		*note = (struct recall_note){ 0 };
	unlock_set(recall, key);
}

size_t recall_bytes(const struct recall *recall)
{
	return sizeof *recall + recall->sets * WAYS * sizeof *recall->notes;
}

void recall_free(struct recall *recall)
{
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&recall->locks[i].mutex);
	free(recall->notes);
	free(recall);
}
