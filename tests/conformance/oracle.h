/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle.h: what ought to be decided, by definition.
 *
 * The oracle remembers the time of every unit that was admitted and never forgets one. It shares no
 * code and no arithmetic with the core: no ring, no ticks, no counters that are carried over, 128-bit
 * integers where a product is large, and waits found by asking for one time after another. It is for
 * one key, one algorithm and one window; the limit may change between calls.
 */
#ifndef SLUICE_TESTS_ORACLE_H
#define SLUICE_TESTS_ORACLE_H

#include "sluice/limiter.h"

struct oracle_take {
	int64_t at_us;
	uint32_t units;
	uint64_t before; /* units of all takes before this one, so that a sum over a time is a difference */
};

struct oracle {
	struct oracle_take *takes; /* in the order of their times */
	size_t count;
	size_t room;
	int64_t newest_us; /* time of the newest take, also when it was given back */
	int64_t anchor_us; /* windows: start of the first of those that follow one another */
	__int128 tokens;   /* token-bucket: content at `newest_us`, in parts of 1 / window */
	bool filled;       /* token-bucket: `tokens` was set */
};

/** Forgets all takes, keeps the memory. An oracle that is all 0 is empty. */
void oracle_clear(struct oracle *oracle);
void oracle_free(struct oracle *oracle);

/** @return the time that is decided for at `now_us`: never before the newest take nor past SLUICE_TIME_MAX_US. */
int64_t oracle_at(const struct oracle *oracle, uint64_t now_us);

/**
 * @param at_us     from oracle_at(), or later.
 * @param slack_us  sliding-log: let each unit count so much longer.
 * @return the units that may be admitted at that time.
 */
uint32_t oracle_available(const struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us,
                          int64_t slack_us);

/** @return the first time, not before at_us, when `units` (at most limit or burst) may be admitted. */
int64_t oracle_earliest(const struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us, uint32_t units);

/** Notes that `units` were admitted. @return 0, -1 when memory is short. */
int oracle_admit(struct oracle *oracle, const struct sluice_policy *policy, int64_t at_us, uint32_t units);

/** Takes back what a take at `given_us` admitted: up to `units`, and only as far as the algorithm can. */
void oracle_refund(struct oracle *oracle, const struct sluice_policy *policy, uint64_t now_us, int64_t given_us,
                   uint32_t units);

/** @return the units admitted at times from `from_us` up to, not including, `to_us`. */
uint64_t oracle_units(const struct oracle *oracle, int64_t from_us, int64_t to_us);

/**
 * Looks whether the newest take has broken the promise of the algorithm.
 *
 * @param most  the largest limit that was in force while one window passed.
 * @return NULL, or what is broken.
 */
const char *oracle_broken(const struct oracle *oracle, const struct sluice_policy *policy, uint32_t most);

#endif
