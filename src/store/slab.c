/* SPDX-License-Identifier: Apache-2.0 */
#include "store/slab.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNKS (SLAB_SEGMENT_BYTES / SLAB_CHUNK_BYTES) /* in a segment: 128 */
#define CHUNK_SHIFT 11                                 /* bits of a reference below the chunk's number */
#define GRANULE 8

/* The head of a chunk. Offsets are in granules from its start. */
struct chunk {
	uint32_t next, prev; /* numbers + 1, 0: none. In use: chunks of the class with a free cell; free: next only */
	uint16_t live;       /* cells in use */
	uint16_t fresh;      /* offset from which no cell was ever given out */
	uint16_t freed; /* offset of the first cell given back, which starts with the offset of the next; 0: none */
	uint8_t class;
};

_Static_assert(sizeof(struct chunk) == 16, "a chunk's cells start after two granules");
#define CELLS_START (sizeof(struct chunk) / GRANULE)
#define CELLS_END (SLAB_CHUNK_BYTES / GRANULE)

/* Class 0 to 15: 8 to 128 bytes by 8; then eight classes for each doubling. */
static unsigned class_of(size_t size)
{
	unsigned top;

	if (size <= 128)
		return size == 0 ? 0 : (unsigned)(size - 1) / GRANULE;
	top = 63 - (unsigned)__builtin_clzl(size - 1);
	return 16 + (top - 7) * 8 + (unsigned)((size - 1 - ((size_t)1 << top)) >> (top - 3));
}

static size_t class_size(unsigned class)
{
	unsigned top;

	if (class < 16)
		return (class + 1) * (size_t)GRANULE;
	top = 7 + (class - 16) / 8;
	return ((size_t)1 << top) + (((class - 16) % 8 + 1) << (top - 3));
}

size_t slab_cell(size_t size)
{
	return class_size(class_of(size));
}

static struct chunk *chunk_at(const struct slab *slab, uint32_t number)
{
	return slab_at(slab->segments, number << CHUNK_SHIFT);
}

int slab_open(struct slab *slab)
{
	memset(slab, 0, sizeof *slab);
	slab->segments = calloc(SLAB_SEGMENTS, sizeof *slab->segments);
	if (slab->segments == NULL)
		return -ENOMEM;
	if (pthread_mutex_init(&slab->lock, NULL) != 0) {
		free(slab->segments);
		return -ENOMEM;
	}
	return 0;
}

void slab_close(struct slab *slab)
{
	for (uint32_t i = 0; i < slab->used; i++)
		if (slab->segments[i].base != NULL)
			munmap(slab->segments[i].base, SLAB_SEGMENT_BYTES);
	free(slab->segments);
	pthread_mutex_destroy(&slab->lock);
}

/* Gets the segment's memory. @return 0 or -ENOMEM. */
static int segment_map(struct slab *slab, uint32_t number)
{
	void *base = mmap(NULL, SLAB_SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	slab->segments[number] = (struct slab_segment){ .base = base };
	if (number >= slab->used)
		slab->used = number + 1;
	return 0;
}

/* Finds a segment with a chunk to give, the lowest so that the higher ones may drain.
 * @return its number, or -1 when there is no memory. */
static int segment_with_room(struct slab *slab)
{
	while (slab->roomy < SLAB_SEGMENTS) {
		const struct slab_segment *segment = &slab->segments[slab->roomy];

		if (segment->base == NULL)
			return segment_map(slab, slab->roomy) == 0 ? (int)slab->roomy : -1;
		if (segment->live < CHUNKS)
			return (int)slab->roomy;
		slab->roomy++;
	}
	return -1;
}

/* @return number + 1 of a chunk made ready for the class, 0: no memory. */
static uint32_t chunk_get(struct slab *slab, unsigned class)
{
	int number = segment_with_room(slab);
	struct slab_segment *segment;
	struct chunk *chunk;
	uint32_t in_segment;

	if (number < 0)
		return 0;
	segment = &slab->segments[number];
	if (segment->freed != 0) {
		in_segment = segment->freed - 1u;
		chunk = chunk_at(slab, (uint32_t)number * CHUNKS + in_segment);
		segment->freed = (uint16_t)chunk->next;
	} else {
		in_segment = segment->fresh++;
		chunk = chunk_at(slab, (uint32_t)number * CHUNKS + in_segment);
		__atomic_fetch_add(&slab->bytes, SLAB_CHUNK_BYTES, __ATOMIC_RELAXED);
	}
	segment->live++;
	*chunk = (struct chunk){ .fresh = CELLS_START, .class = (uint8_t) class };
	return (uint32_t)number * CHUNKS + in_segment + 1;
}

static void chunk_put(struct slab *slab, uint32_t number)
{
	uint32_t in = number / CHUNKS;
	struct slab_segment *segment = &slab->segments[in];

	if (in < slab->roomy)
		slab->roomy = in;
	if (--segment->live > 0) {
		chunk_at(slab, number)->next = segment->freed;
		segment->freed = (uint16_t)(number % CHUNKS + 1);
		return;
	}
	__atomic_fetch_sub(&slab->bytes, segment->fresh * SLAB_CHUNK_BYTES, __ATOMIC_RELAXED);
	munmap(segment->base, SLAB_SEGMENT_BYTES);
	*segment = (struct slab_segment){ 0 };
}

static void partial_add(struct slab *slab, struct chunk *chunk, uint32_t number)
{
	uint32_t first = slab->partial[chunk->class];

	chunk->prev = 0;
	chunk->next = first;
	if (first != 0)
		chunk_at(slab, first - 1)->prev = number + 1;
	slab->partial[chunk->class] = number + 1;
}

static void partial_remove(struct slab *slab, struct chunk *chunk)
{
	if (chunk->prev != 0)
		chunk_at(slab, chunk->prev - 1)->next = chunk->next;
	else
		slab->partial[chunk->class] = chunk->next;
	if (chunk->next != 0)
		chunk_at(slab, chunk->next - 1)->prev = chunk->prev;
}

static bool chunk_full(const struct chunk *chunk)
{
	return chunk->freed == 0 && chunk->fresh + class_size(chunk->class) / GRANULE > CELLS_END;
}

static uint32_t cell_get(struct slab *slab, uint32_t number)
{
	struct chunk *chunk = chunk_at(slab, number);
	uint32_t offset = chunk->freed;

	if (offset != 0) {
		memcpy(&chunk->freed, (char *)chunk + offset * GRANULE, sizeof chunk->freed);
	} else {
		offset = chunk->fresh;
		chunk->fresh = (uint16_t)(chunk->fresh + class_size(chunk->class) / GRANULE);
	}
	chunk->live++;
	if (chunk_full(chunk))
		partial_remove(slab, chunk);
	return number << CHUNK_SHIFT | offset;
}

uint32_t slab_alloc(struct slab *slab, size_t size)
{
	unsigned class = class_of(size);
	uint32_t ref = 0;

	pthread_mutex_lock(&slab->lock);
	if (slab->partial[class] == 0) {
		uint32_t got = chunk_get(slab, class);

		if (got != 0)
			partial_add(slab, chunk_at(slab, got - 1), got - 1);
	}
	if (slab->partial[class] != 0)
		ref = cell_get(slab, slab->partial[class] - 1);
	pthread_mutex_unlock(&slab->lock);
	return ref;
}

void slab_free(struct slab *slab, uint32_t ref)
{
	uint32_t number = ref >> CHUNK_SHIFT;
	struct chunk *chunk;
	bool was_full;

	pthread_mutex_lock(&slab->lock);
	chunk = chunk_at(slab, number);
	was_full = chunk_full(chunk);
	memcpy(slab_at(slab->segments, ref), &chunk->freed, sizeof chunk->freed);
	chunk->freed = (uint16_t)(ref & ((1u << CHUNK_SHIFT) - 1));
	if (was_full)
		partial_add(slab, chunk, number);
	if (--chunk->live == 0) {
		partial_remove(slab, chunk);
		chunk_put(slab, number);
	}
	pthread_mutex_unlock(&slab->lock);
}

uint64_t slab_bytes(struct slab *slab)
{
	return __atomic_load_n(&slab->bytes, __ATOMIC_RELAXED);
}
