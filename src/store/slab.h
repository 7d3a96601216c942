/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab.h: memory for many small things of few sizes, named by 32-bit references.
 *
 * Segments of 2 MiB come from the system and are cut into chunks of 16 KiB; a chunk holds cells of
 * one size class. Cells up to 128 bytes come in steps of 8 bytes, larger ones in steps of an eighth
 * of the power of two below. A reference is (segment, chunk, offset / 8): the address costs one
 * look into a small array, and half the bytes of a pointer. A chunk whose last cell is freed may
 * serve another class; a segment whose last chunk is freed goes back to the system.
 *
 * Source: Bonwick, "The Slab Allocator" (1994).
 *
 * Threads: slab_alloc(), slab_free() and slab_bytes() lock for themselves; slab_at() does not and may run
 * beside them, on a reference that the caller owns. What is in a cell is the owner's to guard.
 */
#ifndef SLUICE_STORE_SLAB_H
#define SLUICE_STORE_SLAB_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define SLAB_SIZE_MAX 2048u /* bytes of the largest cell */
#define SLAB_CLASSES 48u
#define SLAB_SEGMENT_BYTES ((size_t)1 << 21)
#define SLAB_CHUNK_BYTES ((size_t)1 << 14)
#define SLAB_SEGMENTS (1u << 14) /* 32 GiB: what a reference can name */

struct slab_segment {
	char *base;     /* NULL: not mapped */
	uint16_t live;  /* chunks in use */
	uint16_t fresh; /* chunks from here on were never used, so cost no memory yet */
	uint16_t freed; /* number + 1 of the first chunk given back, 0: none */
};

struct slab {
	struct slab_segment *segments; /* SLAB_SEGMENTS, of which the untouched cost no memory */
	pthread_mutex_t lock;
	uint32_t roomy;                 /* no segment below this one has a chunk to give */
	uint32_t used;                  /* segments from here on were never mapped */
	uint32_t partial[SLAB_CLASSES]; /* number + 1 of a chunk with a free cell, 0: none */
	uint64_t bytes;
};

/** @return 0 or -ENOMEM. An empty slab costs a few pages. */
int slab_open(struct slab *slab);

/** Gives everything back to the system, cells in use too. */
void slab_close(struct slab *slab);

/** @param size 1 to SLAB_SIZE_MAX.
 *  @return a cell aligned to 8 bytes, its bytes undefined; 0 when there is no memory. */
uint32_t slab_alloc(struct slab *slab, size_t size);

/** Frees a cell of slab_alloc(). */
void slab_free(struct slab *slab, uint32_t ref);

/** @return the bytes got from the system and touched at some time. */
uint64_t slab_bytes(struct slab *slab);

/** @return the bytes that a cell for `size` bytes takes. */
size_t slab_cell(size_t size);

/** @return the cell's address, good until it is freed. */
static inline void *slab_at(const struct slab_segment *segments, uint32_t ref)
{
	return segments[ref >> 18].base + ((size_t)(ref & 0x3ffff) << 3);
}

#endif
