/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c: what the bytes of a state have in common, off the fast path.
 */
#include "core/state.h"

int state_kind_foreign(const uint8_t *state, const struct sluice_policy *policy)
{
	uint8_t algorithm = state[1];
	uint32_t tick_us = load32(state) >> 16;

	if (state[0] != SLUICE_STATE_FORMAT)
		return SLUICE_EFORMAT;
	if (algorithm < SLUICE_SLIDING_LOG || algorithm > SLUICE_TOKEN_BUCKET)
		return SLUICE_EFORMAT;
	/* Only a sliding-log has a tick, and each of them has one. */
	if ((algorithm == SLUICE_SLIDING_LOG) != (tick_us != 0))
		return SLUICE_EFORMAT;
	return STATE_EMPTY;
}

size_t state_room_fixed(size_t len, uint32_t most, uint32_t cost, size_t fixed_len)
{
	return len < fixed_len && cost <= most ? fixed_len : len;
}

int state_move_fixed(uint8_t *to, size_t to_len, const uint8_t *from, int from_kind, size_t fixed_len)
{
	if (to_len < fixed_len)
		return SLUICE_EROOM;
	memset(to, 0, to_len);
	if (from_kind == STATE_OURS)
		memcpy(to, from, fixed_len);
	return from_kind == SLUICE_EFORMAT ? SLUICE_EFORMAT : SLUICE_OK;
}
