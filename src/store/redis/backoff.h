/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backoff.h: how long to wait before the next attempt to connect.
 *
 * "Full jitter": evenly distributed between nothing and a bound that doubles with each attempt that failed, so that a
 * fleet of servers that lost one Redis together does not come back together. Source: Marc Brooker, "Exponential Backoff
 * And Jitter", AWS Architecture Blog (2015).
 *
 * Leaves out: timers, and where the randomness comes from.
 */
#ifndef SLUICE_STORE_REDIS_BACKOFF_H
#define SLUICE_STORE_REDIS_BACKOFF_H

#include <stdint.h>

#define REDIS_BACKOFF_FIRST_US UINT64_C(50000)

/** @param failed  attempts that failed since the connection was last well, 0 for none.
 *  @param max_us  the bound never exceeds this.
 *  @param random  evenly distributed over all values.
 *  @return microseconds, at least 1,000 (or max_us, when that is less): an attempt never follows at once. */
static inline uint64_t redis_backoff_us(unsigned failed, uint64_t max_us, uint32_t random)
{
	uint64_t bound_us = REDIS_BACKOFF_FIRST_US, floor_us;

	while (failed-- > 0 && bound_us < max_us)
		bound_us *= 2;
	if (bound_us > max_us)
		bound_us = max_us;
	floor_us = bound_us < 1000 ? bound_us : 1000;
	/* A share of 2^32 in 64 bits: bounds of up to an hour fit (3.6e9 us < 2^32). */
	return floor_us + (uint64_t)(((unsigned __int128)(bound_us - floor_us + 1) * random) >> 32);
}

#endif
