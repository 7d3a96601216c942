/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.c: what one decision costs with its state in the nearest cache.
 *
 * Beside each, in alternating rounds, a call that is not inlined and reads and writes as many bytes at the
 * same places: what is left above it is the deciding. Medians over the rounds.
 *
 * usage: bench_core
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sluice/limiter.h"

enum { ROUNDS = 21, CALLS = 200000 };

/* How often a client asks: half as often as it may, twice as often, and without a pause. */
struct pace {
	const char *name;
	unsigned asks; /* in the time in which two units come back */
};

static const struct pace paces[] = { { "admitted", 1 }, { "mixed", 4 }, { "denied", 2000 } };

static const struct {
	enum sluice_algorithm algorithm;
	uint32_t limit;
	bool ring;
} subjects[] = {
	{ SLUICE_SLIDING_LOG, 10, true },   { SLUICE_SLIDING_LOG, 10000, true }, { SLUICE_SLIDING_COUNTER, 10, false },
	{ SLUICE_FIXED_WINDOW, 10, false }, { SLUICE_TOKEN_BUCKET, 10, false },
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Reads and writes a header of 24 bytes (that of 28 is close enough), reads the oldest entry of a ring and
 * writes the next, in fixed pieces as the limiter does. */
__attribute__((noinline)) static bool touch(uint8_t *state, uint32_t slots, uint64_t now_us)
{
	uint64_t words[2];
	uint32_t head, count, entry;

	memcpy(words, state, sizeof words);
	memcpy(&head, state + 16, sizeof head);
	memcpy(&count, state + 20, sizeof count);
	words[0] += now_us;
	words[1] ^= words[0];
	count++;
	if (slots > 0) {
		uint8_t *ring = state + 24;

		head = head + 1 < slots ? head + 1 : 0;
		memcpy(&entry, ring + 4 * (size_t)head, sizeof entry);
		count += entry;
		entry = (uint32_t)now_us;
		memcpy(ring + 4 * (size_t)(head > 0 ? head - 1 : slots - 1), &entry, sizeof entry);
	}
	memcpy(state, words, sizeof words);
	memcpy(state + 16, &head, sizeof head);
	memcpy(state + 20, &count, sizeof count);
	return (words[1] & 1) != 0;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof *values, compare);
	return values[ROUNDS / 2];
}

struct bench {
	struct sluice_policy policy;
	uint8_t *state;
	size_t len;
	uint64_t now_us;
	uint64_t step_us;
	uint64_t admitted;
};

static double round_of_takes(struct bench *bench)
{
	uint64_t start_ns = now_ns();

	for (int i = 0; i < CALLS; i++) {
		struct sluice_decision decision;

		bench->now_us += bench->step_us;
		if (sluice_take(bench->state, bench->len, &bench->policy, bench->now_us, 1, &decision) != SLUICE_OK)
			abort();
		bench->admitted += decision.allowed;
	}
	return (double)(now_ns() - start_ns) / CALLS;
}

static double round_of_touches(uint8_t *bytes, uint32_t slots)
{
	uint64_t start_ns = now_ns();
	unsigned odd = 0;

	for (int i = 0; i < CALLS; i++)
		odd += touch(bytes, slots, (uint64_t)i);
	if (odd > CALLS)
		abort();
	return (double)(now_ns() - start_ns) / CALLS;
}

static int measure(unsigned subject, const struct pace *pace)
{
	struct bench bench = { .now_us = UINT64_C(1700000000000000) };
	double takes[ROUNDS], touches[ROUNDS], take_ns, touch_ns;
	uint64_t window_us = UINT64_C(60000000);
	uint8_t *bytes;

	if (sluice_policy_init(&bench.policy, subjects[subject].algorithm, subjects[subject].limit, window_us, 0,
	                       NULL) != SLUICE_OK)
		return -1;
	bench.len = sluice_state_max(&bench.policy);
	bench.step_us = 2 * window_us / subjects[subject].limit / pace->asks;
	bench.state = malloc(bench.len);
	bytes = calloc(1, bench.len + 32);
	if (bench.state == NULL || bytes == NULL ||
	    sluice_state_move(bench.state, bench.len, NULL, 0, &bench.policy) != SLUICE_OK) {
		fprintf(stderr, "bench_core: out of memory\n");
		free(bench.state);
		free(bytes);
		return -1;
	}
	round_of_takes(&bench); /* fills the ring and warms up */
	bench.admitted = 0;
	for (int i = 0; i < ROUNDS; i++) {
		takes[i] = round_of_takes(&bench);
		touches[i] = round_of_touches(bytes, subjects[subject].ring ? subjects[subject].limit : 0);
	}
	take_ns = median(takes);
	touch_ns = median(touches);
	printf("%-15s limit %-6u %-8s (%3.0f %% admitted): %5.1f ns, plain call %4.1f ns, ratio %.1f\n",
	       sluice_algorithm_name(subjects[subject].algorithm), subjects[subject].limit, pace->name,
	       100.0 * (double)bench.admitted / (ROUNDS * (double)CALLS), take_ns, touch_ns, take_ns / touch_ns);
	free(bench.state);
	free(bytes);
	return 0;
}

int main(void)
{
	for (unsigned i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
		for (unsigned j = 0; j < sizeof paces / sizeof paces[0]; j++) {
			if (measure(i, &paces[j]) != 0)
				return 1;
		}
	}
	return 0;
}
