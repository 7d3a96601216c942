/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code.h: the short names of links.
 */
#ifndef SLUICE_LINKS_CODE_H
#define SLUICE_LINKS_CODE_H

#include <stdbool.h>
#include <stddef.h>

#include "links/links.h"

/** Draws a code of LINK_CODE_LENGTH characters from an alphabet without look-alikes, uniformly, from the
 *  system's CSPRNG. @param code out, NUL-terminated. Any thread. */
void code_draw(char code[LINK_CODE_MAX + 1]);

/** @return true when `code` could name a link: 1 to LINK_CODE_MAX of [A-Za-z0-9_-], and not the name of a page
 *  of ours ("shorten", "healthz", "readyz", "metrics"). */
bool code_valid(const char *code, size_t len);

#endif
