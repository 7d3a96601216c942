/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packed.h: requests in the few bytes that servers of Sluice send: each policy once, then for each request the number
 * of its keys, and for each key which policy and what cost. The layout is told in docs/redis-module.md.
 *
 * Free of the server's interface, so that it can be fuzzed.
 */
#ifndef SLUICE_MODULE_PACKED_H
#define SLUICE_MODULE_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "config/why.h"
#include "sluice/limiter.h"

enum {
	PACKED_FORMAT = 1,
	PACKED_POLICY_LEN = 17,
	PACKED_ANSWER_LEN = 29,
	/* Flags of an answer. */
	PACKED_ALLOWED = 1,
	PACKED_MALFORMED = 4,
	PACKED_WRONG_KIND = 8,
};

/* What is taken from one key. */
struct take {
	const struct sluice_policy *policy;
	uint32_t cost;
	uint32_t together; /* of the first key of a request: how many keys it has. 0 of the others */
};

/** Reads all of it.
 *  @param takes     out: one for each key.
 *  @param keys      from 1.
 *  @param policies  out: what takes point to; room for 255.
 *  @param why       out, on failure: an error for the client, without "ERR ".
 *  @return 0 or -1. */
int packed_read(struct take *takes, size_t keys, struct sluice_policy *policies, const char *bytes, size_t len,
                struct why *why);

/** Writes an answer of PACKED_ANSWER_LEN bytes. */
void packed_answer(char *to, const struct sluice_decision *decision);

/** Writes the answer for a key of a request that could not be decided. @param flag  why. */
void packed_failure(char *to, int flag);

#endif
