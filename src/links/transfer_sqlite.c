/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_sqlite.c: see transfer_sqlite.h.
 *
 * SQLite has one writer at a time and no queue for those who wait: they try again every millisecond. So after each
 * transaction the lock is left alone for a moment, or a server beside us would be starved.
 */
#include "links/transfer_sqlite.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "links/sqlite_db.h"

/* Twice the time between two attempts of who waits. */
#define LEAVE_FREE_US UINT64_C(2000)

struct transfer_sqlite {
	struct transfer transfer; /* first */
	struct db db;
	uint64_t free_since_us; /* clock_mono_us() of the last commit */
	char path[];
};

static int fail(struct transfer_sqlite *t, int rc)
{
	int err = sqlite3_system_errno(t->db.handle);

	if ((rc & 0xff) == SQLITE_BUSY)
		snprintf(t->transfer.why, sizeof t->transfer.why,
		         "%s: locked by another program for more than %d seconds", t->path, DB_BUSY_MS / 1000);
	else
		snprintf(t->transfer.why, sizeof t->transfer.why, "%s: %s%s%s%s", t->path, sqlite3_errmsg(t->db.handle),
		         err != 0 ? " (" : "", err != 0 ? strerror(err) : "", err != 0 ? ")" : "");
	db_rollback(&t->db);
	return -1;
}

static void leave_free(struct transfer_sqlite *t)
{
	uint64_t now_us = clock_mono_us();
	struct timespec wait = { 0 };

	if (now_us - t->free_since_us >= LEAVE_FREE_US)
		return;
	wait.tv_nsec = (long)(LEAVE_FREE_US - (now_us - t->free_since_us)) * 1000;
	nanosleep(&wait, NULL);
}

static int put_one(struct transfer_sqlite *t, struct transfer_item *item)
{
	static const enum transfer_outcome outcomes[] = {
		[DB_PUT_CREATED] = TRANSFER_CREATED,
		[DB_PUT_FOUND] = TRANSFER_THERE,
		[DB_PUT_TAKEN] = TRANSFER_TAKEN,
	};
	unsigned char sha256[32];
	enum db_put result;
	int rc;

	crypto_hash_sha256(sha256, (const unsigned char *)item->record.url, item->record.url_len);
	rc = db_put(&t->db, &item->record, sha256, &result);
	if (rc == SQLITE_OK)
		item->outcome = outcomes[result];
	return rc;
}

static int put(struct transfer *transfer, struct transfer_item *items, size_t n)
{
	struct transfer_sqlite *t = (struct transfer_sqlite *)transfer;
	int rc;

	leave_free(t);
	rc = db_run(&t->db, DB_BEGIN_WRITE);
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
		rc = put_one(t, &items[i]);
	if (rc == SQLITE_OK)
		rc = db_run(&t->db, DB_COMMIT);
	t->free_since_us = clock_mono_us();
	return rc == SQLITE_OK ? 0 : fail(t, rc);
}

static uint64_t estimate(struct transfer *transfer)
{
	struct transfer_sqlite *t = (struct transfer_sqlite *)transfer;
	uint64_t id;

	return db_last_id(&t->db, &id) == SQLITE_OK ? id : 0;
}

static int start(struct transfer *transfer)
{
	struct transfer_sqlite *t = (struct transfer_sqlite *)transfer;
	int rc = db_run(&t->db, DB_BEGIN_READ);

	db_each_start(&t->db);
	return rc == SQLITE_OK ? 0 : fail(t, rc);
}

static int next(struct transfer *transfer, struct link_record *record)
{
	struct transfer_sqlite *t = (struct transfer_sqlite *)transfer;
	int rc = db_each_next(&t->db, record);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		return fail(t, rc);
	db_rollback(&t->db);
	return 0;
}

static void close_transfer(struct transfer *transfer)
{
	struct transfer_sqlite *t = (struct transfer_sqlite *)transfer;

	db_close(&t->db);
	free(t);
}

static const struct transfer_class sqlite_class = {
	.put = put,
	.estimate = estimate,
	.start = start,
	.next = next,
	.close = close_transfer,
};

struct transfer *transfer_sqlite_open(const char *path, bool create, char *why, size_t why_size)
{
	struct transfer_sqlite *t;

	t = sodium_init() < 0 ? NULL : malloc(sizeof *t + strlen(path) + 1);
	if (t == NULL) {
		snprintf(why, why_size, "%s: %s", path, strerror(ENOMEM));
		return NULL;
	}
	t->transfer.class = &sqlite_class;
	t->free_since_us = 0;
	strcpy(t->path, path);
	if (db_open(&t->db, path, create, why, why_size) != 0) {
		free(t);
		return NULL;
	}
	return &t->transfer;
}
