/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_sqlite.h: import into and export from a SQLite file, also while a server uses it.
 */
#ifndef SLUICE_LINKS_TRANSFER_SQLITE_H
#define SLUICE_LINKS_TRANSFER_SQLITE_H

#include "links/transfer.h"

/** @param path  a file. Otherwise as transfer_open(). */
struct transfer *transfer_sqlite_open(const char *path, bool create, char *why, size_t why_size);

#endif
