/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decision.h: one take's decision in 29 bytes, as the script and the module answer it, and what of it can be believed.
 *
 *   flags (1), remaining (4), retry after (double; -1: never), reset after (double), decided for (double)
 *
 * Leaves out: how many of them a reply holds, and what stands there when nothing was decided (script.h, module.h).
 */
#ifndef SLUICE_STORE_REDIS_DECISION_H
#define SLUICE_STORE_REDIS_DECISION_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/limiter.h"

#define REDIS_DECISION_LEN 29

/* Flags. */
enum {
	REDIS_ALLOWED = 1,
	REDIS_WAS_DENYING = 2, /* a refund's: the state was full for as much as was given back */
};

/* All times, and waits, are integers below this; so a double holds them. */
#define REDIS_EXACT_MAX (UINT64_C(1) << 53)

/** Reads a double that must be a whole number from 0 to `most`; NaN is none. @return false when it is not. */
bool redis_whole_read(const uint8_t *at, double most, uint64_t *out);

/** @param at   REDIS_DECISION_LEN bytes.
 *  @param out  defined when it returns true.
 *  @return false when the bytes can't be what is answered for this policy. */
bool redis_decision_read(const uint8_t *at, const struct sluice_policy *policy, struct sluice_decision *out);

#endif
