/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module_clock.c: in the place of redis-module/clock.c: the test tells the time. It lies in memory that the server has
 * inherited from the test, as the descriptor that SLUICE_TEST_CLOCK names: see module_client.h.
 *
 * Keys expire by the server's clock, whatever the test's. So they are given their own time and MODULE_FAR_MS more,
 * which is later than any test runs; what the module makes of expiries is otherwise as it is in earnest.
 */
#include "redis-module/clock.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "module_client.h"

static const uint64_t *told(void)
{
	static const uint64_t *clock_us;

	if (clock_us == NULL) {
		const char *number = getenv("SLUICE_TEST_CLOCK");
		void *map = number == NULL ? MAP_FAILED
		                           : mmap(NULL, sizeof *clock_us, PROT_READ, MAP_SHARED, atoi(number), 0);

		if (map == MAP_FAILED)
			abort();
		clock_us = map;
	}
	return clock_us;
}

uint64_t module_now_us(void)
{
	return __atomic_load_n(told(), __ATOMIC_ACQUIRE);
}

int64_t module_expiry_ms(uint64_t at_us)
{
	return (int64_t)(at_us / 1000) + 1 + MODULE_FAR_MS;
}
