/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_clicks.c: how the keeper writes clicks.
 *
 * Each code's count is added by an UPSERT, many in one statement, in order of the rows, so that two servers never wait
 * for each other in a circle. Codes that no link has (any more) are passed over.
 *
 * When the connection breaks at the commit, nobody here knows whether it was done: counting once more might count
 * twice, and not counting might lose. So the number of the transaction is fetched before, and the database is
 * asked afterwards what became of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "links/postgres_store.h"

#define CLICKS_PER_COMMIT 2048

static const char upsert[] =
	"WITH written AS ("
	" INSERT INTO link_clicks AS c (link_id, clicks, last_click_at)"
	" SELECT l.id, v.n, v.at FROM unnest($1, $2, $3) AS v(code, n, at) JOIN links l ON l.code = v.code"
	" ORDER BY l.id"
	" ON CONFLICT (link_id) DO UPDATE SET clicks = c.clicks + excluded.clicks,"
	" last_click_at = greatest(c.last_click_at, excluded.last_click_at)"
	" RETURNING 1) SELECT txid_current()";

/* Text, bigint and timestamptz arrays: the types of unnest's arguments (pg_type.dat). */
static const Oid array_types[] = { 1009, 1016, 1185 };

static void give_back(struct pg_store *store, const struct click *clicks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		store->clicks_in_hand -= clicks[i].count;
		clicks_add(store->clicks, clicks[i].code, clicks[i].code_len, clicks[i].count, clicks[i].last_us);
	}
}

static void forget(struct pg_store *store, const struct click *clicks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		store->clicks_in_hand -= clicks[i].count;
}

static void put_values(struct pg_array arrays[3], const struct click *clicks, size_t n)
{
	pg_array_begin(&arrays[0], PG_TEXT);
	pg_array_begin(&arrays[1], PG_INT8);
	pg_array_begin(&arrays[2], PG_TIMESTAMPTZ);
	for (size_t i = 0; i < n; i++) {
		pg_array_add(&arrays[0], clicks[i].code, clicks[i].code_len);
		pg_array_add_int8(&arrays[1], (int64_t)clicks[i].count);
		pg_array_add_time(&arrays[2], clicks[i].last_us);
	}
}

/* Adds in a transaction that is open. @return 0 with its number. */
static int add(struct pg_store *store, PGconn *conn, const struct click *clicks, size_t n, int64_t *transaction,
               char *why, size_t why_size)
{
	struct pg_array arrays[3] = { 0 };
	const char *values[3];
	int lengths[3];
	PGresult *result = NULL;
	bool whole = true;

	put_values(arrays, clicks, n);
	for (int i = 0; i < 3; i++) {
		whole = pg_array_end(&arrays[i]) && whole;
		values[i] = (const char *)arrays[i].bytes;
		lengths[i] = (int)arrays[i].used;
	}
	if (whole)
		result = pg_exec(conn, upsert, 3, array_types, values, lengths, store->patience_us, why, why_size);
	else
		snprintf(why, why_size, "%s", strerror(ENOMEM));
	for (int i = 0; i < 3; i++)
		pg_array_free(&arrays[i]);
	if (result != NULL)
		*transaction = pg_read_int8(PQgetvalue(result, 0, 0));
	PQclear(result);
	return result != NULL ? 0 : -1;
}

/* The fate of what is written here: 1 written, 0 not written, -1 nobody knows. */
static int write_some(struct pg_store *store, PGconn *conn, const struct click *clicks, size_t n, int64_t *transaction,
                      char *why, size_t why_size)
{
	char ignored[PG_WHY_MAX];

	if (pg_run(conn, "BEGIN", store->patience_us, why, why_size) != 0)
		return 0;
	if (add(store, conn, clicks, n, transaction, why, why_size) != 0) {
		if (!pg_timed_out(why) && PQstatus(conn) == CONNECTION_OK)
			pg_run(conn, "ROLLBACK", store->patience_us, ignored, sizeof ignored);
		return 0;
	}
	if (pg_run(conn, "COMMIT", store->patience_us, why, why_size) == 0)
		return 1;
	return PQstatus(conn) == CONNECTION_OK && !pg_timed_out(why) ? 0 : -1;
}

/* Asks what became of the transaction at whose commit the last connection broke. */
static int clear_doubt(struct pg_store *store, PGconn *conn, struct pg_clicks_doubt *doubt, char *why, size_t why_size)
{
	char sql[64];
	const char *status;
	PGresult *result;

	if (doubt->clicks == NULL)
		return 0;
	snprintf(sql, sizeof sql, "SELECT txid_status(%" PRId64 ")", doubt->transaction);
	result = pg_exec(conn, sql, 0, NULL, NULL, NULL, store->patience_us, why, why_size);
	if (result == NULL && (PQstatus(conn) != CONNECTION_OK || pg_timed_out(why)))
		return -1;
	/* A database that never had that transaction (another one has taken over) refuses: not written there. */
	status = result != NULL && !PQgetisnull(result, 0, 0) ? PQgetvalue(result, 0, 0) : "aborted";
	if (strcmp(status, "in progress") == 0) {
		PQclear(result);
		return 0; /* next time */
	}
	if (strcmp(status, "committed") == 0)
		forget(store, doubt->clicks, doubt->n);
	else
		give_back(store, doubt->clicks, doubt->n);
	PQclear(result);
	free(doubt->clicks);
	doubt->clicks = NULL;
	return 0;
}

/* Keeps a copy of what is in doubt; what can't be kept is given back: rather count twice than lose. */
static void keep_doubt(struct pg_store *store, struct pg_clicks_doubt *doubt, const struct click *clicks, size_t n,
                       int64_t transaction)
{
	struct click *copy = malloc(n * sizeof *copy);

	if (copy == NULL) {
		give_back(store, clicks, n);
		return;
	}
	memcpy(copy, clicks, n * sizeof *copy);
	*doubt = (struct pg_clicks_doubt){ .clicks = copy, .n = n, .transaction = transaction };
}

int pg_clicks_write(struct pg_store *store, PGconn *conn, struct pg_clicks_doubt *doubt, char *why, size_t why_size)
{
	size_t n, done = 0;
	struct click *clicks;
	int64_t transaction;
	int fate = 1;

	if (clear_doubt(store, conn, doubt, why, why_size) != 0)
		return -1;
	if (doubt->clicks != NULL)
		return 0;
	clicks = clicks_take(store->clicks, &n);
	for (size_t i = 0; i < n; i++)
		store->clicks_in_hand += clicks[i].count;
	while (done < n && fate == 1) {
		size_t part = n - done < CLICKS_PER_COMMIT ? n - done : CLICKS_PER_COMMIT;

		fate = write_some(store, conn, clicks + done, part, &transaction, why, why_size);
		if (fate == 1)
			forget(store, clicks + done, part);
		else if (fate == -1)
			keep_doubt(store, doubt, clicks + done, part, transaction);
		done += fate != 0 ? part : 0;
	}
	give_back(store, clicks + done, n - done);
	free(clicks);
	return fate == 1 ? 0 : -1;
}
