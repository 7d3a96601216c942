/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manual.h: the table as a manual page, sluice.yaml(5), in mdoc. The build writes it; it is not in the tree.
 */
#ifndef SLUICE_CONFIG_MANUAL_H
#define SLUICE_CONFIG_MANUAL_H

#include <stdio.h>

/** Writes the page. Errors are left in the stream. */
void manual_write(FILE *out);

#endif
