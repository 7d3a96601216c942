/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h: the only place that asks the machine for the time.
 *
 * Leaves out: formatting (see log.c), timers (libuv).
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/** @return microseconds since an arbitrary start; never steps back, goes on while the machine sleeps. */
static inline uint64_t clock_mono_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/** @return microseconds since 1970 in UTC, as the machine believes. May step. */
static inline uint64_t clock_wall_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

#endif
