/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random.h: random numbers that come again with the same seed.
 *
 * xoshiro256** seeded by splitmix64 (Blackman and Vigna, 2018). Not for secrets.
 */
#ifndef SLUICE_TESTS_RANDOM_H
#define SLUICE_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t state[4];
};

static inline uint64_t splitmix64(uint64_t *seed)
{
	uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline void random_seed(struct random *random, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		random->state[i] = splitmix64(&seed);
}

static inline uint64_t random_rotate(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

static inline uint64_t random_next(struct random *random)
{
	uint64_t *s = random->state;
	uint64_t result = random_rotate(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = random_rotate(s[3], 45);
	return result;
}

/** @return a number from 0 to below - 1. The slight bias of the remainder does not matter here. */
static inline uint64_t random_below(struct random *random, uint64_t below)
{
	return random_next(random) % below;
}

/** @return a number from low to high, both included. */
static inline uint64_t random_between(struct random *random, uint64_t low, uint64_t high)
{
	return low + random_below(random, high - low + 1);
}

/** @return true once in `n` calls, on average. */
static inline bool random_one_in(struct random *random, uint64_t n)
{
	return random_below(random, n) == 0;
}

/** @return a number from low (1 or more) to high, each order of magnitude as likely as the others. */
static inline uint64_t random_magnitude(struct random *random, uint64_t low, uint64_t high)
{
	int low_bits = 63 - __builtin_clzll(low);
	int high_bits = 63 - __builtin_clzll(high);
	int bits = (int)random_between(random, (uint64_t)low_bits, (uint64_t)high_bits);
	uint64_t from = UINT64_C(1) << bits;
	uint64_t to = from + (from - 1);

	return random_between(random, from > low ? from : low, to < high ? to : high);
}

#endif
