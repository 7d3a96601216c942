/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h: the keys of limiter states.
 */
#ifndef SLUICE_POLICY_KEYS_H
#define SLUICE_POLICY_KEYS_H

#include "config/config.h"

#define KEY_NAME_MAX (sizeof(((struct config_limit *)0)->name) - 1)
#define KEY_SUBJECT_MAX 221 /* bytes of an escaped subject: STORE_KEY_MAX less the longest name, colon and braces */

/** Writes `<limit name>:{<subject>}`. In the subject every byte but [A-Za-z0-9._:/-] is written as %XX, so that
 *  two different subjects never share a key and no brace can move the Cluster slot. A subject that would be longer
 *  than KEY_SUBJECT_MAX is cut and ends in `~` and a 128-bit BLAKE2b of the whole subject, in hex. Where it is cut
 *  does not depend on the limit's name: all limits of one subject have the same text between the braces.
 *
 *  @param limit_name  at most KEY_NAME_MAX bytes; what is beyond is left out.
 *  @param subject     any bytes, not NUL-terminated.
 *  @return its length, at most STORE_KEY_MAX; the key is NUL-terminated. Any thread. */
size_t key_write(char key[STORE_KEY_MAX + 1], const char *limit_name, const char *subject, size_t subject_len);

#endif
