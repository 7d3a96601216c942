/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h: the keys of limiter states.
 */
#ifndef SLUICE_POLICY_KEYS_H
#define SLUICE_POLICY_KEYS_H

#include "config/config.h"

/** Writes `<limit name>:{<subject>}`. In the subject every byte but [A-Za-z0-9._:/-] is written as %XX, so that
 *  two different subjects never share a key and no brace can move the Cluster slot. A key that would be longer than
 *  STORE_KEY_MAX ends in `~` and a 128-bit BLAKE2b of the whole subject, in hex.
 *  @return its length, at most STORE_KEY_MAX. */
size_t key_write(char key[STORE_KEY_MAX + 1], const char *limit_name, const char *subject, size_t subject_len);

#endif
