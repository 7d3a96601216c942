/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.h: what CL.THROTTLE means: its arguments as a token-bucket, a decision as its five integers, and the keys
 * that redis-cell has left behind.
 *
 * redis-cell (github.com/brandur/redis-cell, version 0.4.0) keeps for each key a theoretical arrival time, as GCRA has
 * it. How far that lies ahead of now is the debt of our bucket, so a call has the same answer here, with three
 * differences: nothing is rounded on the way, waits are rounded up to whole seconds (there: milliseconds are cut off
 * first), and what a negative quantity gives back is never more than was taken.
 *
 * Leaves out: the server's API (cl_throttle.c). Nothing here allocates, keeps anything, or reads a clock; any thread.
 */
#ifndef SLUICE_MODULE_THROTTLE_H
#define SLUICE_MODULE_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis-module/arguments.h"
#include "sluice/limiter.h"

#define THROTTLE_STATE_LEN 24 /* bytes of a state: those of a token-bucket */
#define THROTTLE_WORDS_MIN 3
#define THROTTLE_WORDS_MAX 4

struct throttle {
	struct sluice_policy policy; /* token-bucket; max_burst + 1 units may pass at once */
	uint32_t cost;   /* units; 0: only looks. Larger quantities count as 2^32 - 1: never admitted either */
	bool gives_back; /* the quantity was negative: `cost` units are given back */
};

/* The reply, in its order. */
struct throttle_answer {
	int64_t limited;   /* 1: not admitted */
	int64_t limit;     /* units that may pass at once */
	int64_t remaining; /* units that would still pass now */
	int64_t retry_s;   /* seconds until the same call is admitted; -1: it was, or never will be */
	int64_t reset_s;   /* seconds until all units are there again */
};

/**
 * Reads max_burst, count_per_period, period (seconds) and quantity (1 when left out), written as decimal integers with
 * or without a sign, as redis-cell reads them.
 *
 * @param throttle  out; undefined on failure.
 * @param words     n of them, THROTTLE_WORDS_MIN to THROTTLE_WORDS_MAX.
 * @param why       out, on failure: an error for the client that names the argument, without "ERR ".
 * @return 0 or -1.
 */
int throttle_read(struct throttle *throttle, const struct word *words, size_t n, struct why *why);

/** @return whether these are the bytes of a key that redis-cell has left behind: see throttle_adopt(). */
bool throttle_left_behind(const void *bytes, size_t len);

/**
 * Reads what a key holds into a state of the policy: a state of ours as it is, one of another algorithm as an empty one
 * (as everywhere), and a time that redis-cell left behind as the debt that is still to be paid at `now_us`, rounded up.
 *
 * A time of redis-cell is a decimal number of nanoseconds since 1970, between 2001 and 2262: 19 digits, so that
 * nobody's counter is taken for one.
 *
 * @param state    out: THROTTLE_STATE_LEN bytes.
 * @param bytes    what the key holds; len 0 for no key.
 * @return SLUICE_OK, or SLUICE_EFORMAT: it is something else (`state` is then an empty one).
 */
int throttle_adopt(uint8_t state[THROTTLE_STATE_LEN], const struct sluice_policy *policy, const void *bytes, size_t len,
                   uint64_t now_us);

/**
 * Takes, looks or gives back.
 *
 * @param state    in and out, from throttle_adopt() with the same policy. Changed only by a take that is admitted, and
 *                 by what is given back.
 * @param decision out: as sluice_take(); of a look or of what is given back: as sluice_peek() with cost 1.
 * @param answer   out.
 * @return SLUICE_OK, or SLUICE_EFORMAT with nothing changed.
 */
int throttle_decide(const struct throttle *throttle, uint8_t state[THROTTLE_STATE_LEN], uint64_t now_us,
                    struct sluice_decision *decision, struct throttle_answer *answer);

#endif
