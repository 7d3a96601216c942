/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h: the limits in force, replaceable while requests are under way.
 *
 * A snapshot never changes once made. Each loop thread holds one, and so does each request that is being
 * decided by it; SIGHUP gives the threads a new one, and the old goes with its last holder.
 */
#ifndef SLUICE_APP_LIMITS_H
#define SLUICE_APP_LIMITS_H

#include <stdatomic.h>

#include "app/metrics.h"
#include "config/config.h"
#include "policy/fields.h"

struct limits {
	_Atomic unsigned holders;
	size_t n;
	struct config_limit limits[CONFIG_LIMITS_MAX];
	struct limit_metrics *metrics[CONFIG_LIMITS_MAX];
	char policy_field[FIELDS_TEXT_MAX]; /* value of RateLimit-Policy */
};

/** @return a snapshot of the limits in `config`, held once; NULL when memory is short. Not thread-safe: `metrics` may
 *  gain counters. */
struct limits *limits_new(const struct config *config, struct metrics *metrics);

/** Any thread. @return `limits`, held once more. */
struct limits *limits_hold(struct limits *limits);

/** Any thread. Frees with the last holder. NULL is fine. */
void limits_drop(struct limits *limits);

#endif
