/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_text.h: the bytes of a limiter state in words, for a person.
 */
#ifndef SLUICE_CLI_STATE_TEXT_H
#define SLUICE_CLI_STATE_TEXT_H

#include <stdint.h>
#include <stdio.h>

#include "config/config.h"

/** Writes what a state holds, a line a fact, and what a request would be answered now.
 *  @param limit  the configured limit of the key's name, or NULL.
 *  @return 0; -1 with nothing written: these bytes are no state of ours. */
int state_print(FILE *out, const void *state, size_t len, uint64_t now_us, const struct config_limit *limit);

#endif
