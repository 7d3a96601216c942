/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/decision.h"

#include "store/redis/little.h"

#define WAIT_MAX (2.0 * (double)REDIS_EXACT_MAX) /* two times are added up in a wait */

bool redis_whole_read(const uint8_t *at, double most, uint64_t *out)
{
	double number = get_double(at);

	if (!(number >= 0 && number <= most))
		return false;
	*out = (uint64_t)number;
	return (double)*out == number;
}

bool redis_decision_read(const uint8_t *at, const struct sluice_policy *policy, struct sluice_decision *out)
{
	if (at[0] > (REDIS_ALLOWED | REDIS_WAS_DENYING))
		return false;
	out->allowed = (at[0] & REDIS_ALLOWED) != 0;
	out->limit = policy->burst;
	out->remaining = get32(at + 1);
	if (out->remaining > policy->burst)
		return false;
	if (get_double(at + 5) == -1)
		out->retry_after_us = SLUICE_NEVER;
	else if (!redis_whole_read(at + 5, WAIT_MAX, &out->retry_after_us))
		return false;
	if (out->allowed != (out->retry_after_us == 0))
		return false;
	return redis_whole_read(at + 13, WAIT_MAX, &out->reset_after_us) &&
	       redis_whole_read(at + 21, (double)SLUICE_TIME_MAX_US, &out->at_us);
}
