/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_throttle.c: any arguments of CL.THROTTLE, any bytes in its key.
 *
 * The input is a line of up to four arguments with blanks between them, a line with the time, and what the key holds.
 *
 * Holds: what is refused names an argument; an answer is within its ranges and tells nobody to come back too early or
 * for ever later than the debt is paid; what is limited, and what only looks, changes nothing; what redis-cell left
 * behind is owed to the last nanosecond, or to what a state can hold.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"
#include "redis-module/throttle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECOND_US UINT64_C(1000000)

static void require(int holds)
{
	if (!holds)
		abort();
}

/* @return the line, whose end is cut off; *at is behind it. */
static struct word next_line(const char **at, const char *end, char stop)
{
	struct word line = { .at = *at };
	const char *found = *at < end ? memchr(*at, stop, (size_t)(end - *at)) : NULL;

	line.len = (size_t)((found != NULL ? found : end) - *at);
	*at = found != NULL ? found + 1 : end;
	return line;
}

static void check_why(const struct why *why)
{
	static const char *const names[] = { "max_burst ", "count_per_period ", "period ", "quantity " };
	int named = 0;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		named += strncmp(why->text, names[i], strlen(names[i])) == 0;
	require(named == 1);
}

static void check_answer(const struct throttle *throttle, const uint8_t *state, uint64_t now_us,
                         const struct throttle_answer *answer)
{
	struct throttle_answer later;
	struct sluice_decision decision;
	uint8_t copy[THROTTLE_STATE_LEN];

	require(answer->limited == 0 || answer->limited == 1);
	require(answer->limit == throttle->policy.burst);
	require(answer->remaining >= 0 && answer->remaining <= answer->limit);
	require(answer->reset_s >= 0 && (answer->reset_s == 0) == (answer->remaining == answer->limit));
	require(answer->retry_s == -1 ||
	        (answer->limited && answer->retry_s >= 1 && answer->retry_s <= answer->reset_s));
	if (answer->retry_s < 0 || now_us > SLUICE_TIME_MAX_US)
		return;
	now_us += (uint64_t)answer->retry_s * SECOND_US;
	if (now_us > SLUICE_TIME_MAX_US)
		return; /* where time ends */
	memcpy(copy, state, sizeof copy);
	require(throttle_decide(throttle, copy, now_us, &decision, &later) == SLUICE_OK && later.limited == 0);
}

static void check_arrival(const struct throttle *throttle, const struct word *bytes, const uint8_t *state,
                          uint64_t now_us)
{
	uint64_t debt = load64(state + 16), arrival_ns = 0;
	unsigned __int128 owed_ns, paid_ns = (unsigned __int128)debt * 1000 / throttle->policy.drain;

	for (size_t i = 0; i < bytes->len; i++)
		arrival_ns = arrival_ns * 10 + (uint64_t)(bytes->at[i] - '0');
	require(debt < EXACT_MAX && load64(state + 4) == now_us);
	owed_ns = arrival_ns > now_us * 1000 ? arrival_ns - now_us * 1000 : 0;
	require(debt == EXACT_MAX - 1 || (paid_ns >= owed_ns && paid_ns <= owed_ns + 1000));
}

static void check_call(const struct throttle *throttle, const struct word *bytes, uint64_t now_us)
{
	uint8_t state[THROTTLE_STATE_LEN], before[THROTTLE_STATE_LEN];
	struct throttle_answer answer;
	struct sluice_decision decision;
	int known = throttle_adopt(state, &throttle->policy, bytes->at, bytes->len, now_us);

	if (known == SLUICE_OK && bytes->len > 0 && bytes->at[0] != 1 && now_us <= SLUICE_TIME_MAX_US)
		check_arrival(throttle, bytes, state, now_us);
	memcpy(before, state, sizeof state);
	if (throttle_decide(throttle, state, now_us, &decision, &answer) != SLUICE_OK) {
		require(memcmp(state, before, sizeof state) == 0);
		return;
	}
	if (throttle->cost == 0 || (answer.limited && !throttle->gives_back))
		require(memcmp(state, before, sizeof state) == 0);
	check_answer(throttle, state, now_us, &answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	struct word words[THROTTLE_WORDS_MAX], line, bytes;
	struct throttle throttle;
	uint64_t now_us = 0;
	struct why why;
	size_t n = 0;

	if (size == 0)
		return 0;
	line = next_line(&at, end, '\n');
	for (const char *word = line.at; n < THROTTLE_WORDS_MAX && word < line.at + line.len; n++)
		words[n] = next_line(&word, line.at + line.len, ' ');
	line = next_line(&at, end, '\n');
	for (size_t i = 0; i < line.len && i < 18; i++)
		now_us = now_us * 10 + (uint8_t)line.at[i] - '0';
	bytes = (struct word){ .at = at, .len = (size_t)(end - at) };
	if (n < THROTTLE_WORDS_MIN)
		return 0;
	if (throttle_read(&throttle, words, n, &why) != 0)
		check_why(&why);
	else
		check_call(&throttle, &bytes, now_us);
	return 0;
}
