/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_schema.c: see sqlite_schema.h.
 *
 * A step of `migrations` is never changed once released: a new version appends one.
 */
#include "links/sqlite_schema.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "links/sqlite_db.h" /* DB_BUSY_MS */

/* The step at index n leads from version n to n + 1. */
static const char *const migrations[] = {
	/* Times in microseconds since 1970 UTC. UNIQUE compares codes byte by byte (collation BINARY). */
	"CREATE TABLE links ("
	"  id            INTEGER PRIMARY KEY,"
	"  code          TEXT NOT NULL UNIQUE,"
	"  url           TEXT NOT NULL,"
	"  url_sha256    BLOB NOT NULL UNIQUE,"
	"  created_at    INTEGER NOT NULL,"
	"  clicks        INTEGER NOT NULL DEFAULT 0,"
	"  last_click_at INTEGER"
	");",
};

int schema_version(void)
{
	return (int)(sizeof migrations / sizeof migrations[0]);
}

/* Runs a statement and gives the first column of its first row. */
static int query_int(sqlite3 *handle, const char *sql, int *value)
{
	sqlite3_stmt *statement;
	int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		*value = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int fail(sqlite3 *handle, const char *path, char *why, size_t why_size)
{
	int rc = sqlite3_errcode(handle) & 0xff; /* without the details of extended codes */

	if (rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT)
		snprintf(why, why_size,
		         "%s: not a SQLite database, or damaged (%s); name another file, or restore this one", path,
		         sqlite3_errmsg(handle));
	else if (rc == SQLITE_BUSY)
		snprintf(why, why_size, "%s: locked by another program; stop that or wait", path);
	else if (rc == SQLITE_READONLY)
		snprintf(why, why_size, "%s: can't be written; make the file and its folder writable for this user",
		         path);
	else
		snprintf(why, why_size, "%s: %s", path, sqlite3_errmsg(handle));
	return -1;
}

/* Looks before anything is written: a file of somebody else's stays as it is. */
static int check_owner(sqlite3 *handle, const char *path, int *version, char *why, size_t why_size)
{
	int application = 0, tables = 0;

	*version = 0;
	if (query_int(handle, "PRAGMA application_id", &application) != SQLITE_OK ||
	    query_int(handle, "PRAGMA user_version", version) != SQLITE_OK ||
	    query_int(handle, "SELECT count(*) FROM sqlite_schema", &tables) != SQLITE_OK)
		return fail(handle, path, why, why_size);
	if (application != SCHEMA_APPLICATION_ID && (application != 0 || *version != 0 || tables != 0)) {
		snprintf(why, why_size, "%s: a SQLite database of another program; name another file", path);
		return -1;
	}
	if (*version > schema_version()) {
		snprintf(why, why_size,
		         "%s: written by a newer Sluice (schema version %d, this program knows up to %d); "
		         "use that Sluice, or export its links with it and import them into a new file",
		         path, *version, schema_version());
		return -1;
	}
	return 0;
}

static int migrate(sqlite3 *handle, const char *path, char *why, size_t why_size)
{
	char sql[128];
	int version;

	if (sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return fail(handle, path, why, why_size);
	/* Again, now that nobody else can write: another process may have migrated meanwhile. */
	if (check_owner(handle, path, &version, why, why_size) != 0)
		goto rollback;
	for (; version < schema_version(); version++) {
		if (sqlite3_exec(handle, migrations[version], NULL, NULL, NULL) != SQLITE_OK)
			goto failed;
	}
	snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", SCHEMA_APPLICATION_ID,
	         schema_version());
	if (sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
failed:
	fail(handle, path, why, why_size);
rollback:
	sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

static int ask_for_wal(sqlite3 *handle, bool *wal)
{
	sqlite3_stmt *statement;
	int rc = sqlite3_prepare_v2(handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL);

	if (rc != SQLITE_OK)
		return rc;
	if (sqlite3_step(statement) == SQLITE_ROW) {
		const char *mode = (const char *)sqlite3_column_text(statement, 0);

		*wal = mode != NULL && (strcmp(mode, "wal") == 0 || strcmp(mode, "memory") == 0);
	}
	return sqlite3_finalize(statement);
}

/* WAL lets readers go on beside the writer; FULL syncs the log before a commit returns. The log is folded into the file
 * every 16,000 pages (64 MB): a page that is changed often in between is then written once. See
 * docs/decisions/0008. */
static int set_modes(sqlite3 *handle, const char *path, char *why, size_t why_size)
{
	const struct timespec wait = { .tv_nsec = 1000000 };
	bool wal = false;
	uint64_t deadline_us = clock_mono_us() + DB_BUSY_MS * UINT64_C(1000);
	int rc = ask_for_wal(handle, &wal);

	/* Of two who create a database at once one is told "busy", and the busy handler is not asked, since two who
	 * wait for each other's shared lock would wait for ever. The other is done in a moment. */
	while ((rc & 0xff) == SQLITE_BUSY && clock_mono_us() < deadline_us) {
		nanosleep(&wait, NULL);
		rc = ask_for_wal(handle, &wal);
	}
	if (rc != SQLITE_OK)
		return fail(handle, path, why, why_size);
	if (!wal) {
		snprintf(why, why_size, "%s: its file system can't do write-ahead logging; use a local disk", path);
		return -1;
	}
	if (sqlite3_exec(handle,
	                 "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 16000;"
	                 "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384;",
	                 NULL, NULL, NULL) != SQLITE_OK)
		return fail(handle, path, why, why_size);
	return 0;
}

/* All of it in one transaction: another process may be creating the same database just now, and half of what it did
 * would look like the work of a stranger. */
static int check_owner_at_once(sqlite3 *handle, const char *path, int *version, char *why, size_t why_size)
{
	int result;

	if (sqlite3_exec(handle, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return fail(handle, path, why, why_size);
	result = check_owner(handle, path, version, why, why_size);
	sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
	return result;
}

int schema_prepare(sqlite3 *handle, const char *path, char *why, size_t why_size)
{
	int version;

	if (check_owner_at_once(handle, path, &version, why, why_size) != 0 ||
	    set_modes(handle, path, why, why_size) != 0)
		return -1;
	return version < schema_version() ? migrate(handle, path, why, why_size) : 0;
}
