/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_postgres.c: see transfer_postgres.h.
 *
 * Import: each call is one transaction with one INSERT for all its rows, in the order of the file, so that of two rows
 * that contradict each other the first one counts. Servers insert in another order, so the two may wait for
 * each other in a circle. An import has time and a server has not: it gives way after LOCK_TIMEOUT, long before the
 * database would look for circles and end one of the two, and its transaction is done again a little later.
 *
 * Export: a cursor in one snapshot, some rows at a time. Links that are disabled stay behind: where they went to they
 * would be enabled.
 */
#include "links/transfer_postgres.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "links/code.h"
#include "links/postgres_array.h"
#include "links/postgres_db.h"
#include "links/postgres_schema.h"

#define DRAWS_MAX 16
#define TRIES_MAX 64
#define LOCK_TIMEOUT "100ms"
#define PAUSE_MAX_US 50000 /* between two tries; by chance, so that two imports don't meet again and again */

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number
#define FETCH_ROWS 500

enum column { CODE, URL, SHA256, CREATED, CLICKS, LAST_CLICK, COLUMNS };

/* Arrays of text, bytea, timestamptz, bigint (pg_type.dat). */
static const Oid array_types[COLUMNS] = { 1009, 1009, 1001, 1185, 1016, 1185 };
static const uint32_t element_types[COLUMNS] = { PG_TEXT, PG_TEXT, PG_BYTEA, PG_TIMESTAMPTZ, PG_INT8, PG_TIMESTAMPTZ };

static const char insert_sql[] =
	"WITH v AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6)"
	" WITH ORDINALITY AS v(code, url, url_sha256, created_at, clicks, last_click_at, n)),"
	" new AS (INSERT INTO links (code, url, url_sha256, created_at)"
	" SELECT code, url, url_sha256, created_at FROM v ORDER BY n ON CONFLICT DO NOTHING"
	" RETURNING id, code, url_sha256),"
	" clicked AS (INSERT INTO link_clicks (link_id, clicks, last_click_at)"
	" SELECT DISTINCT ON (new.id) new.id, v.clicks, v.last_click_at FROM new JOIN v USING (code, url_sha256)"
	" WHERE v.clicks > 0 OR v.last_click_at IS NOT NULL ORDER BY new.id, v.n)"
	" SELECT code, url_sha256 FROM new";

static const char find_sql[] = "SELECT code, url_sha256 FROM links WHERE url_sha256 = ANY ($1)";

struct transfer_postgres {
	struct transfer transfer; /* first */
	PGconn *conn;
	char where[160];
	struct pg_array column[COLUMNS];
	PGresult *rows; /* of the export */
	int row;
};

/* An item of a put, with the hash of its URL, to be found by it. */
struct row {
	struct transfer_item *item;
	unsigned char sha256[32];
	size_t n;   /* its place in the file */
	bool drawn; /* its code was not given */
	bool done;
};

static int fail(struct transfer_postgres *t, const char *why)
{
	snprintf(t->transfer.why, sizeof t->transfer.why, "%s: %.300s", t->where, why);
	return -1;
}

static int by_hash(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = memcmp(x->sha256, y->sha256, sizeof x->sha256);

	return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

static int by_place(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->n > y->n) - (x->n < y->n);
}

/* The first row of that hash; the others follow. NULL: none. */
static struct row *find_rows(struct row *rows, size_t n, const PGresult *result, int at)
{
	size_t low = 0, high = n;
	const char *sha256 = PQgetvalue(result, at, 1);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(rows[middle].sha256, sha256, 32) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && memcmp(rows[low].sha256, sha256, 32) == 0 ? &rows[low] : NULL;
}

static void add_row(struct transfer_postgres *t, const struct row *row)
{
	const struct link_record *record = &row->item->record;

	pg_array_add(&t->column[CODE], record->code, strlen(record->code));
	pg_array_add(&t->column[URL], record->url, record->url_len);
	pg_array_add(&t->column[SHA256], row->sha256, sizeof row->sha256);
	pg_array_add_time(&t->column[CREATED], record->created_us);
	pg_array_add_int8(&t->column[CLICKS], (int64_t)record->clicks);
	if (record->last_click_us > 0)
		pg_array_add_time(&t->column[LAST_CLICK], record->last_click_us);
	else
		pg_array_add_null(&t->column[LAST_CLICK]);
}

static PGresult *run_arrays(struct transfer_postgres *t, const char *sql, enum column first, int n, char *why)
{
	const char *values[COLUMNS];
	int lengths[COLUMNS];

	for (int i = 0; i < n; i++) {
		struct pg_array *array = &t->column[(int)first + i];

		if (!pg_array_end(array)) {
			snprintf(why, PG_WHY_MAX, "%s", strerror(ENOMEM));
			return NULL;
		}
		values[i] = (const char *)array->bytes;
		lengths[i] = (int)array->used;
	}
	return pg_exec(t->conn, sql, n, array_types + first, values, lengths, 0, why, PG_WHY_MAX);
}

static void begin_arrays(struct transfer_postgres *t)
{
	for (int i = 0; i < COLUMNS; i++)
		pg_array_begin(&t->column[i], element_types[i]);
}

/* Inserts the rows that are not done, in the order of the file; marks those that are new. */
static int insert(struct transfer_postgres *t, struct row *rows, size_t n, char *why)
{
	PGresult *result;

	begin_arrays(t);
	qsort(rows, n, sizeof *rows, by_place);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].drawn && !rows[i].done)
			code_draw(rows[i].item->record.code);
		if (!rows[i].done)
			add_row(t, &rows[i]);
	}
	qsort(rows, n, sizeof *rows, by_hash);
	result = run_arrays(t, insert_sql, CODE, COLUMNS, why);
	for (int at = 0; result != NULL && at < PQntuples(result); at++) {
		struct row *row = find_rows(rows, n, result, at);

		/* Of rows with the same URL and code the first is the one. */
		while (row != NULL && row < rows + n && strcmp(row->item->record.code, PQgetvalue(result, at, 0)) != 0)
			row++;
		if (row == NULL || row == rows + n)
			continue;
		row->done = true;
		row->item->outcome = TRANSFER_CREATED;
	}
	PQclear(result);
	return result != NULL ? 0 : -1;
}

static void take_code(struct row *row, const PGresult *result, int at)
{
	int len = PQgetlength(result, at, 0);

	if (row->done || len > LINK_CODE_MAX)
		return;
	memcpy(row->item->record.code, PQgetvalue(result, at, 0), (size_t)len);
	row->item->record.code[len] = '\0';
	row->item->outcome = TRANSFER_THERE;
	row->done = true;
}

/* Finds those that are not new: under their own code, or another. What is left has a code of another URL's.
 * @param left  out: rows whose code was drawn, to be drawn again. */
static int find_others(struct transfer_postgres *t, struct row *rows, size_t n, size_t *left, char *why)
{
	PGresult *result;

	*left = 0;
	begin_arrays(t);
	for (size_t i = 0; i < n; i++) {
		if (!rows[i].done)
			pg_array_add(&t->column[SHA256], rows[i].sha256, sizeof rows[i].sha256);
	}
	if (t->column[SHA256].n == 0)
		return 0;
	result = run_arrays(t, find_sql, SHA256, 1, why);
	if (result == NULL)
		return -1;
	for (int at = 0; at < PQntuples(result); at++) {
		struct row *row = find_rows(rows, n, result, at);

		for (; row != NULL && row < rows + n && memcmp(row->sha256, PQgetvalue(result, at, 1), 32) == 0; row++)
			take_code(row, result, at);
	}
	PQclear(result);
	for (size_t i = 0; i < n; i++) {
		if (!rows[i].done && !rows[i].drawn) {
			rows[i].item->outcome = TRANSFER_TAKEN;
			rows[i].done = true;
		}
		*left += !rows[i].done;
	}
	return 0;
}

static int put_once(struct transfer_postgres *t, struct row *rows, size_t n, char *why)
{
	size_t left = n;

	if (pg_run(t->conn, "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '" LOCK_TIMEOUT "'", 0, why,
	           PG_WHY_MAX) != 0)
		return -1;
	for (int draws = 0; left > 0 && draws < DRAWS_MAX; draws++) {
		if (insert(t, rows, n, why) != 0 || find_others(t, rows, n, &left, why) != 0)
			return -1;
	}
	if (left > 0) {
		snprintf(why, PG_WHY_MAX, "no code is free");
		return -1;
	}
	return pg_run(t->conn, "COMMIT", 0, why, PG_WHY_MAX);
}

static void init_rows(struct row *rows, struct transfer_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct link_record *record = &items[i].record;

		rows[i] = (struct row){ .item = &items[i], .n = i, .drawn = record->code[0] == '\0' };
		crypto_hash_sha256(rows[i].sha256, (const unsigned char *)record->url, record->url_len);
	}
}

/* Before it is tried again: as it was. */
static void undo_rows(struct row *rows, size_t n, struct transfer_item *items, char (*codes)[LINK_CODE_MAX + 1])
{
	for (size_t i = 0; i < n; i++)
		memcpy(items[i].record.code, codes[i], sizeof codes[i]);
	init_rows(rows, items, n);
}

static int put(struct transfer *transfer, struct transfer_item *items, size_t n)
{
	struct transfer_postgres *t = (struct transfer_postgres *)transfer;
	struct row *rows = malloc(n * sizeof *rows);
	char(*codes)[LINK_CODE_MAX + 1] = malloc(n * sizeof *codes);
	char why[PG_WHY_MAX], ignored[PG_WHY_MAX];
	bool again;
	int result = -1;

	if (rows == NULL || codes == NULL)
		snprintf(why, sizeof why, "%s", strerror(ENOMEM));
	for (size_t i = 0; codes != NULL && i < n; i++)
		memcpy(codes[i], items[i].record.code, sizeof codes[i]);
	for (int tries = 0; rows != NULL && codes != NULL && tries < TRIES_MAX; tries++) {
		undo_rows(rows, n, items, codes);
		result = put_once(t, rows, n, why);
		if (result == 0)
			break;
		/* What the database says may be in any language: whatever it refused is tried again. */
		again = PQtransactionStatus(t->conn) == PQTRANS_INERROR;
		pg_run(t->conn, "ROLLBACK", 0, ignored, sizeof ignored);
		if (!again)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = randombytes_uniform(PAUSE_MAX_US) * 1000L }, NULL);
	}
	free(rows);
	free(codes);
	return result == 0 ? 0 : fail(t, why);
}

static uint64_t estimate(struct transfer *transfer)
{
	struct transfer_postgres *t = (struct transfer_postgres *)transfer;
	char why[PG_WHY_MAX];
	PGresult *result = pg_exec(t->conn,
	                           "SELECT CASE WHEN reltuples >= 0 THEN reltuples::bigint"
	                           " ELSE (SELECT count(*) FROM links) END FROM pg_class WHERE oid = 'links'::regclass",
	                           0, NULL, NULL, NULL, 0, why, sizeof why);
	uint64_t n = result != NULL && PQntuples(result) == 1 ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;

	PQclear(result);
	return n;
}

static int start(struct transfer *transfer)
{
	struct transfer_postgres *t = (struct transfer_postgres *)transfer;
	char why[PG_WHY_MAX];

	if (pg_run(t->conn,
	           "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
	           "DECLARE each BINARY NO SCROLL CURSOR FOR"
	           " SELECT code, url, created_at, coalesce(clicks, 0), last_click_at"
	           " FROM links LEFT JOIN link_clicks ON link_id = id WHERE NOT disabled ORDER BY id",
	           0, why, sizeof why) != 0)
		return fail(t, why);
	return 0;
}

static int fetch(struct transfer_postgres *t)
{
	char why[PG_WHY_MAX];

	PQclear(t->rows);
	t->row = 0;
	t->rows = pg_exec(t->conn, "FETCH " TEXT_OF(FETCH_ROWS) " FROM each", 0, NULL, NULL, NULL, 0, why, sizeof why);
	return t->rows != NULL ? 0 : fail(t, why);
}

static int next(struct transfer *transfer, struct link_record *record)
{
	struct transfer_postgres *t = (struct transfer_postgres *)transfer;
	char why[PG_WHY_MAX];
	int row, len;

	if ((t->rows == NULL || t->row == PQntuples(t->rows)) && fetch(t) != 0)
		return -1;
	if (PQntuples(t->rows) == 0)
		return pg_run(t->conn, "COMMIT", 0, why, sizeof why) == 0 ? 0 : fail(t, why);
	row = t->row++;
	len = PQgetlength(t->rows, row, 0);
	if (len > LINK_CODE_MAX)
		return fail(t, "a code is too long: the tables have been altered");
	memcpy(record->code, PQgetvalue(t->rows, row, 0), (size_t)len);
	record->code[len] = '\0';
	record->url = PQgetvalue(t->rows, row, 1);
	record->url_len = (size_t)PQgetlength(t->rows, row, 1);
	record->created_us = pg_read_time(PQgetvalue(t->rows, row, 2));
	record->clicks = (uint64_t)pg_read_int8(PQgetvalue(t->rows, row, 3));
	record->last_click_us = PQgetisnull(t->rows, row, 4) ? 0 : pg_read_time(PQgetvalue(t->rows, row, 4));
	return 1;
}

static void close_transfer(struct transfer *transfer)
{
	struct transfer_postgres *t = (struct transfer_postgres *)transfer;

	PQclear(t->rows);
	PQfinish(t->conn);
	for (int i = 0; i < COLUMNS; i++)
		pg_array_free(&t->column[i]);
	free(t);
}

static const struct transfer_class postgres_class = {
	.put = put,
	.estimate = estimate,
	.start = start,
	.next = next,
	.close = close_transfer,
};

struct transfer *transfer_postgres_open(const char *uri, bool create, char *why, size_t why_size)
{
	struct transfer_postgres *t = sodium_init() < 0 ? NULL : calloc(1, sizeof *t);

	if (t == NULL) {
		snprintf(why, why_size, "PostgreSQL: %s", strerror(ENOMEM));
		return NULL;
	}
	t->transfer.class = &postgres_class;
	t->conn = pg_connect(uri, why, why_size);
	if (t->conn != NULL) {
		pg_where(t->conn, t->where, sizeof t->where);
		if (pg_schema_prepare(t->conn, create, why, why_size) == PG_SCHEMA_READY &&
		    pg_run(t->conn, PG_SET_DURABLE, 0, why, why_size) == 0)
			return &t->transfer;
	}
	close_transfer(&t->transfer);
	return NULL;
}
