/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h: states in this process, for one machine alone and as the local fallback of others.
 *
 * Every operation ends at once (STORE_DONE). Any number of threads may share one store. What is
 * there is never forgotten to make room; what an operation does that needs a new key in a full
 * store is told by `enum memory_overflow`. Its clock is CLOCK_BOOTTIME, unless a test brings its
 * own; it is read once an operation, with locks held, so that it never steps back for a key.
 *
 * Errors of store_submit(): -EINVAL (a bad op or policy), -ENOSPC, -ENOMEM, and -EIO for a state that
 * can't be understood. None of them changes anything.
 *
 * How many there can be: about 1 billion keys of 100 bytes, 128 GiB of entries; then -ENOMEM.
 */
#ifndef SLUICE_STORE_MEMORY_H
#define SLUICE_STORE_MEMORY_H

#include "store/store.h"

/* What becomes of an operation that needs a new key when the store is full. Keys that have a state
 * are held to it in every case, also when another key of the same operation is new. */
enum memory_overflow {
	/* The operation is refused with -ENOSPC. */
	MEMORY_REFUSE,
	/* The new key passes uncounted: STORE_BY_OPEN, error -ENOSPC, STORE_HOME_NONE. */
	MEMORY_OPEN,
	/* The new key counts in one of `shared_states` states of its limit, chosen by a keyed hash, which it
	 * shares with strangers: STORE_BY_LOCAL, error -ENOSPC, STORE_HOME_SHARED. When there is room again, a
	 * new key starts with what its shared state has counted, so that no key ever gets more than its limit. */
	MEMORY_SHARE,
};

struct memory_store_config {
	uint64_t max_keys; /* 1 to 2^32 - 1, shared states not counted */
	enum memory_overflow overflow;
	uint32_t shared_states;            /* for each limit, 1 to 2^24; MEMORY_SHARE only */
	uint64_t (*now_us)(void *context); /* NULL: clock_mono_us(). Must not call the store */
	void *context;
};

/** @return a store, to be closed with store_close(); NULL with errno set (EINVAL, ENOMEM). */
struct store *memory_store_open(const struct memory_store_config *config);

/** Changes what happens when the store is full. Only before the first operation.
 *  @return 0; -ENOTSUP when `store` is not a memory store; -EINVAL or -ENOMEM with nothing changed. */
int memory_store_set_overflow(struct store *store, enum memory_overflow overflow, uint32_t shared_states);

#endif
