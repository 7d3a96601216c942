/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_schema.h: the tables, their version, and the way from older versions.
 */
#ifndef SLUICE_LINKS_SQLITE_SCHEMA_H
#define SLUICE_LINKS_SQLITE_SCHEMA_H

#include <sqlite3.h>
#include <stddef.h>

/* "SLUC", in the header of the file: says whose it is. */
#define SCHEMA_APPLICATION_ID 0x534c5543

/** The version that this program writes (PRAGMA user_version). */
int schema_version(void);

/**
 * Refuses a database of another program or of a newer version; makes the tables in an empty one; migrates an older
 * one, in one transaction. Turns write-ahead logging and full synchronisation on.
 *
 * @param path  for messages.
 * @param why   out: on failure a message for the operator.
 * @return 0 or -1.
 */
int schema_prepare(sqlite3 *handle, const char *path, char *why, size_t why_size);

#endif
