/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h: a keyed hash against chosen keys.
 *
 * An attacker picks many of the bytes that we hash (addresses, codes). SipHash-2-4 under a key
 * drawn at start keeps him from choosing which of them collide.
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#ifndef SLUICE_BASE_HASH_H
#define SLUICE_BASE_HASH_H

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct hash_key {
	unsigned char bytes[crypto_shorthash_KEYBYTES];
};

/** Draws a key from the system's random source. sodium_init() must have been called. */
static inline void hash_key_draw(struct hash_key *key)
{
	crypto_shorthash_keygen(key->bytes);
}

/** @return 64 bits; any thread. */
static inline uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t len)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t hash;

	crypto_shorthash(out, bytes, len, key->bytes);
	memcpy(&hash, out, sizeof hash);
	return hash;
}

#endif
