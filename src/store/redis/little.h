/* SPDX-License-Identifier: Apache-2.0 */
/*
 * little.h: little-endian integers and doubles in bytes without alignment, as script and module speak them.
 */
#ifndef SLUICE_STORE_REDIS_LITTLE_H
#define SLUICE_STORE_REDIS_LITTLE_H

#include <stdint.h>
#include <string.h>

/** @return behind what was written; the others likewise. */
static inline uint8_t *put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
	return at + 4;
}

static inline uint8_t *put64(uint8_t *at, uint64_t value)
{
	return put32(put32(at, (uint32_t)value), (uint32_t)(value >> 32));
}

static inline uint8_t *put_double(uint8_t *at, double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof bits);
	return put64(at, bits);
}

static inline uint32_t get32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline double get_double(const uint8_t *at)
{
	uint64_t bits = get32(at) | (uint64_t)get32(at + 4) << 32;
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

#endif
