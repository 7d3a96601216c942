/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields.h: decisions as response header fields.
 *
 * Source: draft-ietf-httpapi-ratelimit-headers-10 (RateLimit, RateLimit-Policy as lists of strings with
 * parameters, RFC 8941); RFC 9110 section 10.2.3 (Retry-After).
 */
#ifndef SLUICE_POLICY_FIELDS_H
#define SLUICE_POLICY_FIELDS_H

#include "config/config.h"
#include "store/store.h"

#define FIELDS_TEXT_MAX 1024 /* CONFIG_LIMITS_MAX items of at most 32 + 64 bytes */

/** `"per-client";q=10;w=60` for every limit, joined by ", ". q is the quota (of a token-bucket the limit, not the
 *  burst); w the window in whole seconds, rounded up. @return its length. */
size_t fields_policy(const struct config_limit *limits, size_t n, char text[FIELDS_TEXT_MAX]);

/** `"per-client";r=9;t=60` for every take of the op. r: remaining, which the burst of a token-bucket may put above q
 *  (the draft ties the two by nothing, and r is what may pass at once); t: whole seconds, rounded up: until quota comes
 *  back (reset) when it was allowed, until the same take passes (retry) when it was denied. @return its length. */
size_t fields_state(const struct config_limit *limits, const struct store_op *op, char text[FIELDS_TEXT_MAX]);

/** The seconds for Retry-After: the longest wait of the denied takes, rounded up, at least 1.
 *  SLUICE_NEVER counts as the window. */
uint64_t fields_retry_after_s(const struct store_op *op);

#endif
