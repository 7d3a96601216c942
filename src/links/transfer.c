/* SPDX-License-Identifier: Apache-2.0 */
/* transfer.c: finds the store that a name means. */
#include "links/transfer.h"

#include <stdio.h>
#include <string.h>

#include "links/transfer_postgres.h"
#include "links/transfer_sqlite.h"

struct transfer *transfer_open(const char *store, bool create, char *why, size_t why_size)
{
	static const char sqlite[] = "sqlite:";

	if (strncmp(store, "postgresql://", 13) == 0 || strncmp(store, "postgres://", 11) == 0)
		return transfer_postgres_open(store, create, why, why_size);
	if (strncmp(store, sqlite, strlen(sqlite)) != 0) {
		snprintf(why, why_size, "%s: no such store of links; write sqlite:PATH or postgresql://...", store);
		return NULL;
	}
	if (strcmp(store + strlen(sqlite), ":memory:") == 0) {
		snprintf(why, why_size,
		         "%s lives inside a running server and no other program can reach it; name a file", store);
		return NULL;
	}
	return transfer_sqlite_open(store + strlen(sqlite), create, why, why_size);
}
