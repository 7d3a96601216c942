/* SPDX-License-Identifier: Apache-2.0 */
#include "app/limits.h"

#include <stdlib.h>
#include <string.h>

struct limits *limits_new(const struct config *config, struct metrics *metrics)
{
	struct limits *limits = calloc(1, sizeof *limits);

	if (limits == NULL)
		return NULL;
	atomic_init(&limits->holders, 1);
	limits->n = config->limits_n;
	memcpy(limits->limits, config->limits, sizeof limits->limits);
	for (size_t i = 0; i < limits->n; i++) {
		limits->metrics[i] = metrics_limit(metrics, limits->limits[i].name);
		if (limits->metrics[i] == NULL) {
			free(limits);
			return NULL;
		}
	}
	fields_policy(limits->limits, limits->n, limits->policy_field);
	return limits;
}

struct limits *limits_hold(struct limits *limits)
{
	atomic_fetch_add_explicit(&limits->holders, 1, memory_order_relaxed);
	return limits;
}

void limits_drop(struct limits *limits)
{
	if (limits != NULL && atomic_fetch_sub_explicit(&limits->holders, 1, memory_order_acq_rel) == 1)
		free(limits);
}
