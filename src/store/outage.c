/* SPDX-License-Identifier: Apache-2.0 */
#include "store/outage.h"

#define LOG_INTERVAL_US UINT64_C(10000000)
#define BACK_AFTER_US UINT64_C(2000000)

static uint64_t load(const uint64_t *figure)
{
	return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

/* Of several threads that see the interval end, one writes. */
static bool may_log(struct outage *outage, uint64_t now_us)
{
	uint64_t last_us = load(&outage->logged_us);

	if (last_us != 0 && now_us < last_us + LOG_INTERVAL_US)
		return false;
	return __atomic_compare_exchange_n(&outage->logged_us, &last_us, now_us, false, __ATOMIC_RELAXED,
	                                   __ATOMIC_RELAXED);
}

bool outage_failed(struct outage *outage, uint64_t now_us)
{
	uint64_t there = 0;

	__atomic_add_fetch(&outage->decisions, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&outage->failed_us, now_us, __ATOMIC_RELAXED);
	if (load(&outage->since_us) == 0)
		__atomic_compare_exchange_n(&outage->since_us, &there, now_us, false, __ATOMIC_RELAXED,
		                            __ATOMIC_RELAXED);
	if (__atomic_load_n(&outage->told, __ATOMIC_RELAXED) || !may_log(outage, now_us))
		return false;
	__atomic_store_n(&outage->told, true, __ATOMIC_RELAXED);
	return true;
}

void outage_counted(struct outage *outage)
{
	if (load(&outage->since_us) != 0)
		__atomic_add_fetch(&outage->decisions, 1, __ATOMIC_RELAXED);
}

uint64_t outage_full(struct outage *outage, uint64_t now_us)
{
	__atomic_add_fetch(&outage->decisions, 1, __ATOMIC_RELAXED);
	return may_log(outage, now_us) ? __atomic_exchange_n(&outage->decisions, 0, __ATOMIC_RELAXED) : 0;
}

bool outage_over(struct outage *outage, uint64_t now_us, uint64_t *lasted_us, uint64_t *decisions)
{
	uint64_t since_us = load(&outage->since_us), failed_us = load(&outage->failed_us);
	uint64_t ready_us = load(&outage->ready_us);

	if (since_us == 0)
		return false;
	if (ready_us < failed_us) {
		ready_us = now_us;
		__atomic_store_n(&outage->ready_us, now_us, __ATOMIC_RELAXED);
	}
	if (now_us < failed_us + BACK_AFTER_US)
		return false;
	/* Of several threads that see it, one goes on. */
	if (!__atomic_compare_exchange_n(&outage->since_us, &since_us, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return false;
	*lasted_us = ready_us > since_us ? ready_us - since_us : 0;
	*decisions = __atomic_exchange_n(&outage->decisions, 0, __ATOMIC_RELAXED);
	return __atomic_exchange_n(&outage->told, false, __ATOMIC_RELAXED);
}
