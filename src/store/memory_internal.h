/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_internal.h: what memory.c (the store) and memory_ops.c (its operations) share.
 */
#ifndef SLUICE_STORE_MEMORY_INTERNAL_H
#define SLUICE_STORE_MEMORY_INTERNAL_H

#include "store/memory.h"
#include "store/states.h"

struct memory {
	struct store store;
	enum memory_overflow overflow;
	uint32_t shared_n;
	uint64_t (*now_us)(void *context);
	void *context;
	struct states *shared; /* MEMORY_SHARE only. Its locks come after those of `states` */
	struct states states;  /* of single keys */
	/* Atomic, relaxed. */
	uint64_t refused __attribute__((aligned(64)));
	uint64_t errors;
};

/** @return the time, as the core sees it: sums with it can't wrap around. */
static inline uint64_t memory_now(const struct memory *memory)
{
	uint64_t now_us = memory->now_us(memory->context);

	return now_us < SLUICE_TIME_MAX_US ? now_us : SLUICE_TIME_MAX_US;
}

/** Decides a take or a peek. @param last false: a full store is reported with -ENOSPC, so that the caller may
 *  sweep; true: it is dealt with as configured. @return STORE_DONE or a negative errno. */
int memory_decide(struct memory *memory, struct store_op *op, bool last);

/** Gives back. @return STORE_DONE or a negative errno. */
int memory_refund(struct memory *memory, struct store_op *op);

/** Forgets. @return STORE_DONE. */
int memory_reset(struct memory *memory, struct store_op *op);

/** @return the negative errno for an error of the core. */
int memory_errno(int core_error);

#endif
