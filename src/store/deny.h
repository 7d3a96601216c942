/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deny.h: a client that is over its limit costs a distant store nothing.
 *
 * A store in front of a store: a take that was denied is remembered with the time after which it may pass, and until
 * then the same take (same keys, policies and costs, in the same order) is denied here, at once. Each loop thread
 * remembers for itself, in a table of its own, so nothing is locked on the way.
 *
 * It never denies what the store would admit at that moment:
 *  - a denial holds for the longest retry_after_us of its denied takes, counted from when the question was SENT, as
 *    the store was asked no earlier;
 *  - less 0.1 % and 1 ms, as two clocks that each run up to 500 ppm off part by so much;
 *  - it is void at once when anything may have made room: a refund or a reset through this store, an error of the
 *    store (it may come back without its memory), a new generation. What was asked before is not remembered after.
 * What can't be seen from here must be told through deny_store_set_generation(): room made by other programs, a store
 * that lost its memory, a clock of the store that was set forward. Servers must hold a limit of one name to one figure.
 *
 * An answer given here is that of the store, aged: waits are counted from when the answer CAME, so that a client who
 * waits as long as it is told waits long enough; `remaining` is as it was; at_us is 0, as there is nothing to refund.
 * A denied take whose own wait is over before that of the op is told to wait 1 us.
 *
 * Remembered are takes alone. Peeks go through, as who looks wants to see what is. Not remembered: what was decided by
 * anyone but the store, and what went wrong.
 *
 * Memory is fixed: 64 bytes an entry and thread, and 216 more that are touched only by ops of several takes. A full
 * table forgets what would have ended first.
 *
 * Leaves out: what is decided when the store can't (failure.h, which stands in front of this).
 */
#ifndef SLUICE_STORE_DENY_H
#define SLUICE_STORE_DENY_H

#include "store/store.h"

struct deny_config {
	unsigned threads; /* loop threads that will submit, 1 or more; others pass by the table */
	uint32_t entries; /* denials remembered for each thread, 1 to 2^24; rounded up to a power of two */
	uint64_t (*now_us)(void *context); /* NULL: clock_mono_us() */
	void *context;
};

/**
 * @param inner  owned by the result, closed with it. Not used by anyone else, before or after.
 * @return NULL with errno set (EINVAL, ENOMEM); `inner` is then still the caller's.
 */
struct store *deny_store_open(struct store *inner, const struct deny_config *config);

/**
 * Tells the generation of the store's states. When it changes, all that is remembered is void. Any thread, any time,
 * also from within a callback of the inner store.
 *
 * @param store  from deny_store_open().
 */
void deny_store_set_generation(struct store *store, uint64_t generation);

#endif
