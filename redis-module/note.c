/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note.c: 32 bits, of an expiry in units of 64 ms the lower ones.
 */
#include "redis-module/note.h"

#include "core/state.h"

#define NOTE_LEN LOG_ENTRY
#define UNIT_MS 64
/* No expiry is set further ahead of its need than a minute. What is further ahead was perhaps never a note. */
#define AHEAD_MAX ((uint32_t)(60000 + 2000) / UNIT_MS)

/* @return whether the last bytes are not the state's. */
static bool has_place(const uint8_t *state, size_t len)
{
	uint32_t head, count, stored, capacity, last;

	if (len < LOG_RING + NOTE_LEN || len > NOTE_STRING_MAX || len % NOTE_LEN != 0 ||
	    state[STATE_ALGORITHM] != SLUICE_SLIDING_LOG)
		return false;
	head = load32(state + LOG_HEAD);
	count = load32(state + LOG_COUNT);
	stored = (count & ~(UINT32_C(1) << LOG_LEFT_OUT)) - (count >> LOG_LEFT_OUT);
	capacity = load32(state + LOG_CAPACITY);
	last = (uint32_t)((len - LOG_RING) / NOTE_LEN) - 1;
	/* The entries lie from the head on, around the end of the ring. */
	return last >= capacity || (last >= head ? last - head : last + (capacity - head)) >= stored;
}

uint32_t note_read(const uint8_t *state, size_t len)
{
	return has_place(state, len) ? load32(state + len - NOTE_LEN) : 0;
}

bool note_covers(uint32_t note, int64_t at_ms)
{
	return note != 0 && note - (uint32_t)((at_ms + UNIT_MS - 1) / UNIT_MS) <= AHEAD_MAX;
}

void note_write(uint8_t *state, size_t len, int64_t expiry_ms)
{
	if (has_place(state, len))
		save32(state + len - NOTE_LEN, (uint32_t)(expiry_ms / UNIT_MS));
}
