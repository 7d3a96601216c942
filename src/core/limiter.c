/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter.c: the public functions, which check what they are given and pass it to the algorithm.
 */
#include "core/state.h"

static const struct algorithm *const algorithms[] = {
	[SLUICE_SLIDING_LOG] = &algorithm_sliding_log,
	[SLUICE_SLIDING_COUNTER] = &algorithm_sliding_counter,
	[SLUICE_FIXED_WINDOW] = &algorithm_fixed_window,
	[SLUICE_TOKEN_BUCKET] = &algorithm_token_bucket,
};

/*
 * @return the algorithm of a policy that sluice_policy_init() filled, else NULL. Looks at what would
 *         otherwise divide by 0 or run past an array; a policy that was tampered with in finer ways
 *         gives wrong decisions.
 */
static inline const struct algorithm *algorithm_of(const struct sluice_policy *policy)
{
	unsigned algorithm = (unsigned)policy->algorithm;

	if (algorithm - SLUICE_SLIDING_LOG > SLUICE_TOKEN_BUCKET - SLUICE_SLIDING_LOG)
		return NULL;
	if (policy->limit - 1 >= SLUICE_LIMIT_MAX || policy->burst - 1 >= SLUICE_LIMIT_MAX)
		return NULL;
	if (policy->window_us - 1 >= SLUICE_WINDOW_MAX_US)
		return NULL;
	if (algorithm == SLUICE_SLIDING_LOG && policy->tick_us - 1 >= UINT16_MAX)
		return NULL;
	if (algorithm == SLUICE_TOKEN_BUCKET && (policy->drain - 1 >= SLUICE_LIMIT_MAX || policy->unit_debt == 0))
		return NULL;
	return algorithms[algorithm];
}

size_t sluice_state_max(const struct sluice_policy *policy)
{
	const struct algorithm *algorithm = algorithm_of(policy);

	return algorithm != NULL ? algorithm->max(policy) : 0;
}

size_t sluice_state_compact(const struct sluice_policy *policy)
{
	const struct algorithm *algorithm = algorithm_of(policy);

	if (algorithm == NULL)
		return 0;
	return algorithm->compact != NULL ? algorithm->compact(policy) : algorithm->max(policy);
}

size_t sluice_state_room(const void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                         uint32_t cost)
{
	const struct algorithm *algorithm = algorithm_of(policy);

	return algorithm != NULL && cost != 0 ? algorithm->room(state, len, policy, now_us, cost) : len;
}

int sluice_state_move(void *to, size_t to_len, const void *from, size_t from_len, const struct sluice_policy *policy)
{
	const struct algorithm *algorithm = algorithm_of(policy);

	return algorithm != NULL ? algorithm->move(to, to_len, from, from_len, policy) : SLUICE_EINVAL;
}

int sluice_take(void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                struct sluice_decision *out)
{
	const struct algorithm *algorithm = algorithm_of(policy);

	if (algorithm == NULL || cost == 0)
		return SLUICE_EINVAL;
	return algorithm->take(state, len, policy, now_us, cost, out);
}

int sluice_peek(const void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                struct sluice_decision *out)
{
	const struct algorithm *algorithm = algorithm_of(policy);

	if (algorithm == NULL || cost == 0)
		return SLUICE_EINVAL;
	return algorithm->peek(state, len, policy, now_us, cost, out);
}

int sluice_refund(void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                  uint64_t at_us, struct sluice_decision *out)
{
	const struct algorithm *algorithm = algorithm_of(policy);
	int error;

	if (algorithm == NULL || cost == 0)
		return SLUICE_EINVAL;
	error = algorithm->refund(state, len, policy, now_us, cost, at_us);
	if (error != SLUICE_OK || out == NULL)
		return error;
	return algorithm->peek(state, len, policy, now_us, 1, out);
}
