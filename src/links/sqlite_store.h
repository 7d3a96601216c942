/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_store.h: what the files of the SQLite store share among themselves. Nobody else includes it.
 *
 *   sqlite.c         the contract: open, submit, click, stats, close
 *   sqlite_writer.c  the thread that commits
 *   sqlite_reader.c  the threads that look up
 *   sqlite_health.c  does the database work, and who was told
 *   sqlite_db.c      the statements
 *   sqlite_schema.c  the tables and their versions
 */
#ifndef SLUICE_LINKS_SQLITE_STORE_H
#define SLUICE_LINKS_SQLITE_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "links/cache.h"
#include "links/clicks.h"
#include "links/op_queue.h"
#include "links/sqlite.h"
#include "links/sqlite_db.h"

struct sqlite_store;

enum health_side { HEALTH_READ, HEALTH_WRITE, HEALTH_SIDES };

/* Whether the last operation of each kind worked. A change is logged once, not once an operation. */
struct health {
	pthread_mutex_t lock;
	int error[HEALTH_SIDES];       /* the negative errno of the last operation, 0: it worked */
	uint64_t failed[HEALTH_SIDES]; /* operations since it stopped working */
	_Atomic bool ok;               /* both work */
};

struct sqlite_reader {
	struct sqlite_store *store;
	struct db db;
	pthread_t thread;
};

struct sqlite_store {
	struct links links; /* first: the contract's view */
	char *path;
	bool in_memory; /* one connection only: the writer looks up too */
	uint64_t click_interval_us;

	struct cache *by_code; /* code -> URL */
	struct cache *by_url;  /* SHA-256 of the URL -> code */
	struct clicks *clicks;
	struct op_queue reads, writes;
	struct health health;

	struct db writer_db;
	pthread_t writer;
	struct sqlite_reader reader[LINKS_SQLITE_READERS_MAX];
	unsigned readers; /* that run */

	_Atomic uint64_t commits, creates, errors, refused;
	_Atomic uint64_t clicks_in_hand; /* taken by the writer, not committed yet */
	_Atomic uint64_t clicks_lost;    /* at the end, for want of a working database */
};

/* Ends the operation: its done() will be called on its loop thread. It may be gone when this returns. */
void store_finish(struct sqlite_store *store, struct links_op *op, enum links_outcome outcome, int error);

/* Looks up a resolve, or the code of a create, in the database; ends the operation unless it is a create of
 * a new URL. @return SQLite's result; on failure the operation has not ended. */
int store_lookup(struct sqlite_store *store, struct db *db, struct links_op *op, bool *ended);

/* Notes how an operation on the database went. @param rc  SQLite's result. @param db  to ask what went wrong. */
void health_note(struct sqlite_store *store, enum health_side side, int rc, struct db *db);

void *writer_main(void *store);
void *reader_main(void *reader);

#endif
