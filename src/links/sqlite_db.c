/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_db.c: see sqlite_db.h. */
#include "links/sqlite_db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "links/code.h"
#include "links/sqlite_schema.h"

/* A code that is taken is drawn again. With n links a draw fails with probability n / 1.95e12: this many in a
 * row mean that the random source is broken. */
#define DRAWS_MAX 16

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

static const char *const sql[DB_STATEMENTS] = {
	[DB_BEGIN_READ] = "BEGIN",
	[DB_BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[DB_COMMIT] = "COMMIT",
	[DB_ROLLBACK] = "ROLLBACK",
	[DB_INSERT] = "INSERT INTO links (code, url, url_sha256, created_at, clicks, last_click_at)"
		      " VALUES (?1, ?2, ?3, ?4, ?5, nullif(?6, 0)) ON CONFLICT DO NOTHING",
	[DB_FIND_CODE] = "SELECT code FROM links WHERE url_sha256 = ?1",
	[DB_FIND_URL] = "SELECT url FROM links WHERE code = ?1",
	[DB_ADD_CLICKS] = "UPDATE links SET clicks = clicks + ?2,"
			  " last_click_at = max(coalesce(last_click_at, 0), ?3) WHERE code = ?1",
	[DB_EACH] = "SELECT code, url, created_at, clicks, coalesce(last_click_at, 0) FROM links ORDER BY id",
	[DB_LAST_ID] = "SELECT coalesce(max(id), 0) FROM links",
	/* The value that it has: no other version can be harmed, and a page is written all the same. */
	[DB_PROBE] = "PRAGMA application_id = " TEXT_OF(SCHEMA_APPLICATION_ID),
};

/* SQLite's own handler sleeps up to 100 ms between attempts: beside a writer that lets go for a moment only, such as an
 * import, it would seldom find the moment. */
static int on_busy(void *context, int attempts)
{
	const struct timespec wait = { .tv_nsec = 1000000 };

	nanosleep(&wait, NULL);
	return attempts < DB_BUSY_MS;
}

static int prepare_all(struct db *db, const char *path, char *why, size_t why_size)
{
	for (int i = 0; i < DB_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db->handle, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statement[i], NULL) !=
		    SQLITE_OK) {
			snprintf(why, why_size, "%s: %s", path, sqlite3_errmsg(db->handle));
			return -1;
		}
	}
	return 0;
}

int db_open(struct db *db, const char *path, bool create, char *why, size_t why_size)
{
	int flags =
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (create ? SQLITE_OPEN_CREATE : 0);
	int rc;

	memset(db, 0, sizeof *db);
	rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
	if (rc != SQLITE_OK) {
		int err = db->handle != NULL ? sqlite3_system_errno(db->handle) : ENOMEM;

		snprintf(why, why_size, "%s: can't be opened: %s%s", path,
		         err != 0 ? strerror(err) : sqlite3_errstr(rc),
		         err == ENOENT && create ? "; create its folder first" : "");
		db_close(db);
		return -1;
	}
	/* SQLite then opens it to be read, and the first new link would be the first to tell: after a restore, or an
	 * import as root. Who only reads may. */
	if (create && sqlite3_db_readonly(db->handle, "main") == 1) {
		snprintf(why, why_size, "%s: can't be written by this user; give it to the user that serves (chown)",
		         path);
		db_close(db);
		return -1;
	}
	sqlite3_busy_handler(db->handle, on_busy, NULL);
	if (schema_prepare(db->handle, path, why, why_size) != 0 || prepare_all(db, path, why, why_size) != 0) {
		db_close(db);
		return -1;
	}
	return 0;
}

void db_close(struct db *db)
{
	for (int i = 0; i < DB_STATEMENTS; i++)
		sqlite3_finalize(db->statement[i]);
	sqlite3_close(db->handle);
	memset(db, 0, sizeof *db);
}

/* Steps a statement that gives no rows. */
static int run(sqlite3_stmt *statement)
{
	int rc = sqlite3_step(statement);

	sqlite3_reset(statement);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int db_run(struct db *db, enum db_statement which)
{
	return run(db->statement[which]);
}

void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->handle))
		db_run(db, DB_ROLLBACK);
}

int db_find_code(struct db *db, const unsigned char sha256[32], char code[LINK_CODE_MAX + 1], bool *found)
{
	sqlite3_stmt *statement = db->statement[DB_FIND_CODE];
	int rc, len;

	*found = false;
	sqlite3_bind_blob(statement, 1, sha256, 32, SQLITE_STATIC);
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		len = sqlite3_column_bytes(statement, 0);
		*found = len > 0 && len <= LINK_CODE_MAX;
		if (*found) {
			memcpy(code, sqlite3_column_blob(statement, 0), (size_t)len);
			code[len] = '\0';
		}
		rc = *found ? SQLITE_DONE : DB_ROW_DAMAGED;
	}
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int db_find_url(struct db *db, const char *code, char *url, size_t *url_len, bool *found)
{
	sqlite3_stmt *statement = db->statement[DB_FIND_URL];
	int rc, len;

	*found = false;
	sqlite3_bind_text(statement, 1, code, -1, SQLITE_STATIC);
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		len = sqlite3_column_bytes(statement, 0);
		*found = len > 0 && len <= LINK_URL_MAX;
		if (*found) {
			memcpy(url, sqlite3_column_blob(statement, 0), (size_t)len);
			url[len] = '\0';
			*url_len = (size_t)len;
		}
		rc = *found ? SQLITE_DONE : DB_ROW_DAMAGED;
	}
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int insert(struct db *db, const struct link_record *record, const unsigned char sha256[32], bool *inserted)
{
	sqlite3_stmt *statement = db->statement[DB_INSERT];
	int rc;

	sqlite3_bind_text(statement, 1, record->code, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, record->url, (int)record->url_len, SQLITE_STATIC);
	sqlite3_bind_blob(statement, 3, sha256, 32, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)record->created_us);
	sqlite3_bind_int64(statement, 5, (sqlite3_int64)record->clicks);
	sqlite3_bind_int64(statement, 6, (sqlite3_int64)record->last_click_us);
	rc = run(statement);
	*inserted = rc == SQLITE_OK && sqlite3_changes(db->handle) == 1;
	return rc;
}

int db_put(struct db *db, struct link_record *record, const unsigned char sha256[32], enum db_put *result)
{
	bool given = record->code[0] != '\0', inserted, found;
	int rc;

	for (int draws = 0; draws < DRAWS_MAX; draws++) {
		if (!given)
			code_draw(record->code);
		rc = insert(db, record, sha256, &inserted);
		if (rc != SQLITE_OK || inserted) {
			*result = DB_PUT_CREATED;
			return rc;
		}
		/* The URL is there, or the code is taken. */
		rc = db_find_code(db, sha256, record->code, &found);
		if (rc != SQLITE_OK || found || given) {
			*result = found ? DB_PUT_FOUND : DB_PUT_TAKEN;
			return rc;
		}
	}
	return SQLITE_CONSTRAINT;
}

int db_add_clicks(struct db *db, const char *code, uint64_t count, uint64_t last_us)
{
	sqlite3_stmt *statement = db->statement[DB_ADD_CLICKS];

	sqlite3_bind_text(statement, 1, code, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)count);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)last_us);
	return run(statement);
}

int db_probe(struct db *db)
{
	int rc = db_run(db, DB_BEGIN_WRITE);

	if (rc == SQLITE_OK)
		rc = db_run(db, DB_PROBE);
	if (rc == SQLITE_OK)
		rc = db_run(db, DB_COMMIT);
	if (rc != SQLITE_OK)
		db_rollback(db);
	return rc;
}

bool db_file_gone(struct db *db)
{
	int moved = 0;

	return sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

int db_last_id(struct db *db, uint64_t *id)
{
	sqlite3_stmt *statement = db->statement[DB_LAST_ID];
	int rc = sqlite3_step(statement);

	if (rc == SQLITE_ROW)
		*id = (uint64_t)sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

void db_each_start(struct db *db)
{
	sqlite3_reset(db->statement[DB_EACH]);
}

/* A code that is none of ours keeps its beginning, to be named by, and gets an end that no code has, so that it is not
 * taken for another. */
static void read_code(char code[LINK_CODE_MAX + 1], const char *bytes, size_t len)
{
	size_t kept = len;

	if (len > 0 && memchr(bytes, '\0', len) != NULL)
		kept = strlen(bytes);
	if (kept == len && len <= LINK_CODE_MAX) {
		memcpy(code, len > 0 ? bytes : "", len);
		code[len] = '\0';
		return;
	}
	if (kept > LINK_CODE_MAX - 3)
		kept = LINK_CODE_MAX - 3;
	memcpy(code, bytes, kept);
	memcpy(code + kept, "...", 4);
}

int db_each_next(struct db *db, struct link_record *record)
{
	sqlite3_stmt *statement = db->statement[DB_EACH];
	int rc = sqlite3_step(statement), len;

	if (rc != SQLITE_ROW) {
		sqlite3_reset(statement);
		return rc;
	}
	len = sqlite3_column_bytes(statement, 0);
	read_code(record->code, sqlite3_column_blob(statement, 0), len > 0 ? (size_t)len : 0);
	record->url = sqlite3_column_blob(statement, 1);
	record->url_len = (size_t)sqlite3_column_bytes(statement, 1);
	record->created_us = (uint64_t)sqlite3_column_int64(statement, 2);
	record->clicks = (uint64_t)sqlite3_column_int64(statement, 3);
	record->last_click_us = (uint64_t)sqlite3_column_int64(statement, 4);
	return SQLITE_ROW;
}

int db_errno(int result)
{
	switch (result & 0xff) {
	case SQLITE_OK:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	default:
		return -EIO; /* -EBADMSG is kept for a damaged row */
	}
}
