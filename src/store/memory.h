/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h: states in this process, for one machine alone and as the local fallback of others.
 *
 * Every operation ends at once (STORE_DONE). Any number of threads may share one store. When it
 * is full, an operation that would need a new key is refused with -ENOSPC and changes nothing:
 * what is there is never forgotten to make room. Its clock is CLOCK_BOOTTIME, unless a test brings
 * its own.
 */
#ifndef SLUICE_STORE_MEMORY_H
#define SLUICE_STORE_MEMORY_H

#include "store/store.h"

struct memory_store_config {
	uint64_t max_keys;                 /* 1 to 2^32 - 1 */
	uint64_t (*now_us)(void *context); /* NULL: clock_mono_us() */
	void *context;
};

/** @return a store, to be closed with store_close(); NULL with errno set. */
struct store *memory_store_open(const struct memory_store_config *config);

#endif
