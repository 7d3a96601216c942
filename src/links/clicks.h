/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clicks.h: visits counted in memory until they are written, a counter a code.
 *
 * Sharded, a lock a shard, keyed like the cache. Bounded: when as many different codes wait as allowed, the visits
 * of further codes are dropped, and counted as lost. Apart from the link cache, so that nothing is lost
 * when a link leaves that.
 *
 * Any function from any thread, save for open and close.
 */
#ifndef SLUICE_LINKS_CLICKS_H
#define SLUICE_LINKS_CLICKS_H

#include <stddef.h>
#include <stdint.h>

#include "links/links.h"

struct clicks;

struct click {
	char code[LINK_CODE_MAX + 1]; /* NUL-terminated */
	uint8_t code_len;
	uint64_t count;
	uint64_t last_us; /* wall clock, the latest */
};

/** @param max_codes  different codes that may wait. sodium_init() must have been called.
 *  @return for clicks_close(), or NULL with errno set. */
struct clicks *clicks_open(uint32_t max_codes);

/** Counts `count` visits, the last at `wall_us`.
 *  @param code_len  1 to LINK_CODE_MAX; others are ignored. */
void clicks_add(struct clicks *clicks, const char *code, size_t code_len, uint64_t count, uint64_t wall_us);

/**
 * Takes out everything that waits. What can't be written goes back by clicks_add().
 *
 * @param n    out: how many.
 * @return an array for free(); NULL when nothing waits, or when memory is short (all stays where it is).
 */
struct click *clicks_take(struct clicks *clicks, size_t *n);

/** @param pending  out: visits that wait. @param lost  out: visits dropped since the start. */
void clicks_stats(struct clicks *clicks, uint64_t *pending, uint64_t *lost);

/** NULL is fine. */
void clicks_close(struct clicks *clicks);

#endif
