/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.c: the server's clock, read anew: what the server itself keeps between two readings may be a millisecond old,
 * and the script reads it anew as well.
 */
#include "redis-module/clock.h"

#include <time.h>

uint64_t module_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t module_expiry_ms(uint64_t at_us)
{
	return (int64_t)(at_us / 1000) + 1;
}
