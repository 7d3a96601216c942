/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_db.h: one connection to a database of links: what is asked of it, statement by statement.
 *
 * Used by one thread at a time. Knows no operations, no queues and no files of links: the store (sqlite.c) and import
 * and export (transfer_sqlite.c) stand on it. Functions return SQLite's extended result codes, SQLITE_OK being 0.
 */
#ifndef SLUICE_LINKS_SQLITE_DB_H
#define SLUICE_LINKS_SQLITE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "links/links.h"
#include "links/record.h"

/* How long a connection waits for another process to let go of the database. */
#define DB_BUSY_MS 5000

enum db_statement {
	DB_BEGIN_READ,
	DB_BEGIN_WRITE,
	DB_COMMIT,
	DB_ROLLBACK,
	DB_INSERT,
	DB_FIND_CODE,
	DB_FIND_URL,
	DB_ADD_CLICKS,
	DB_EACH,
	DB_LAST_ID,
	DB_PROBE,
	DB_STATEMENTS,
};

/* What the look-ups answer for a row that this program can't have written: the fault of that row alone. */
#define DB_ROW_DAMAGED SQLITE_MISMATCH

struct db {
	sqlite3 *handle;
	sqlite3_stmt *statement[DB_STATEMENTS];
};

/**
 * Opens the file, checks that it is ours, brings its schema up to date and prepares the statements.
 *
 * @param path    a file, or ":memory:".
 * @param create  make the file when it is not there.
 * @param why     out: on failure a message for the operator.
 * @return 0, or -1 with nothing open.
 */
int db_open(struct db *db, const char *path, bool create, char *why, size_t why_size);

/** Closes; the last connection to a file folds the write-ahead log into it. A db of zero bytes is fine. */
void db_close(struct db *db);

/** Runs one of BEGIN, COMMIT, ROLLBACK. */
int db_run(struct db *db, enum db_statement which);

/** Ends a transaction without effect, also when SQLite has done so by itself. */
void db_rollback(struct db *db);

/** @param code  out when found. @return SQLITE_OK with *found set. */
int db_find_code(struct db *db, const unsigned char sha256[32], char code[LINK_CODE_MAX + 1], bool *found);

/** @param url  out when found: LINK_URL_MAX + 1 bytes, NUL-terminated. @return as above. */
int db_find_url(struct db *db, const char *code, char *url, size_t *url_len, bool *found);

enum db_put {
	DB_PUT_CREATED,
	DB_PUT_FOUND, /* the URL has a code; it is in record->code now */
	DB_PUT_TAKEN, /* the code that was asked for belongs to another URL */
};

/**
 * Inserts a link unless its URL is there already. In a transaction of the caller's.
 *
 * @param record  an empty code is drawn, and drawn again as long as it is taken. out: code.
 * @param sha256  of the URL.
 */
int db_put(struct db *db, struct link_record *record, const unsigned char sha256[32], enum db_put *result);

/** Adds visits to a link. No such link: no effect. */
int db_add_clicks(struct db *db, const char *code, uint64_t count, uint64_t last_us);

/** Writes something that changes nothing, to see whether writing works; a transaction of its own. */
int db_probe(struct db *db);

/** @return true when the file has been deleted, moved or replaced: what is written now would be lost. */
bool db_file_gone(struct db *db);

/** The largest id: about as many links as there are. */
int db_last_id(struct db *db, uint64_t *id);

/** Fetches the next link in the order of creation; the record's URL points into the connection and is valid until
 *  the next call. Start with db_each_start(), in a read transaction.
 *  @return SQLITE_ROW, or SQLITE_DONE after the last. */
void db_each_start(struct db *db);
int db_each_next(struct db *db, struct link_record *record);

/** @return the negative errno that says best what went wrong. */
int db_errno(int result);

#endif
