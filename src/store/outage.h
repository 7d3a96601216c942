/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outage.h: tells the operator when a store goes away and when it is back, in lines, not floods.
 *
 * Any thread. Leaves out: what is decided meanwhile (failure.h).
 */
#ifndef SLUICE_STORE_OUTAGE_H
#define SLUICE_STORE_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed at first. Atomic, relaxed. */
struct outage {
	uint64_t since_us; /* 0: the store is there */
	uint64_t failed_us;
	uint64_t ready_us;  /* seen to be ready after that */
	uint64_t decisions; /* since then, in the store's stead */
	uint64_t logged_us; /* the last line about going away, or about being full */
	bool told;          /* that it went away */
};

/** Counts a decision made in the stead of a store that is away. @return true when a line should be written that it went
 *  away: once an outage, and once in ten seconds. */
bool outage_failed(struct outage *outage, uint64_t now_us);

/** Counts a decision for which the store was not asked; nothing when it is not away. */
void outage_counted(struct outage *outage);

/** Counts a decision made in the stead of a store that is there, but full. @return decisions since the last line when
 * one should be written, once in ten seconds; else 0. */
uint64_t outage_full(struct outage *outage, uint64_t now_us);

/** To be called now and then while the store is ready. It is back when nothing has failed for two seconds.
 *  @param lasted_us  out, when true is returned: from the first failure until it was first seen ready after the last.
 *  @param decisions  out, likewise.
 *  @return true when a line should be written that it is back: only after one that it went away. */
bool outage_over(struct outage *outage, uint64_t now_us, uint64_t *lasted_us, uint64_t *decisions);

#endif
