/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_batch.c: operations that are asked together.
 *
 * Creates: one INSERT that passes over what is there, then a look-up by hash that finds the new rows and the old ones,
 * also those that another server committed a moment ago (in READ COMMITTED each statement sees what was
 * committed before it). The rows go in in order of their hashes, on every server: two servers that insert the same URLs
 * at once wait for each other, but never in a circle.
 *
 * A batch that fails is asked again one by one, so that one operation can't make its neighbours fail. Nothing of it was
 * committed, and if it had been: to create a URL twice does nothing the second time.
 */
#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "links/code.h"
#include "links/op_queue.h"
#include "links/postgres_store.h"

/* An operation that has been sent this often is not sent again. With n links a code that was drawn is taken with
 * probability n / 1.95e12. */
#define TRIES_MAX 16

/* A flag in store_tries: it has been part of a batch that failed, and goes alone from now on. */
#define ALONE 0x80

void pg_queue_put(struct pg_queue *queue, struct links_op *op)
{
	op->letter.next = NULL;
	*queue->last = &op->letter;
	queue->last = &op->letter.next;
	queue->n++;
}

void pg_queue_put_first(struct pg_queue *queue, struct links_op *op)
{
	op->letter.next = queue->first;
	if (queue->first == NULL)
		queue->last = &op->letter.next;
	queue->first = &op->letter;
	queue->n++;
}

struct links_op *pg_queue_take(struct pg_queue *queue)
{
	struct links_op *op = op_of(queue->first);

	if (op == NULL)
		return NULL;
	queue->first = op->letter.next;
	if (queue->first == NULL)
		queue->last = &queue->first;
	queue->n--;
	return op;
}

static void fill(struct pg_item *item, struct links_op *op)
{
	item->op = op;
	item->found = false;
	if (op->verb == LINKS_RESOLVE) {
		memcpy(item->code, op->code, sizeof item->code);
		return;
	}
	memcpy(item->sha256, op->store_key, sizeof item->sha256);
	code_draw(item->code);
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(((const struct pg_item *)a)->sha256, ((const struct pg_item *)b)->sha256, 32);
}

struct pg_batch *pg_batch_take(struct pg_session *session, struct pg_queue *queue)
{
	uint32_t room = queue->n < PG_BATCH_MAX ? queue->n : PG_BATCH_MAX;
	struct pg_batch *batch = malloc(sizeof *batch + room * sizeof batch->items[0]);
	size_t bytes = 0;

	if (batch == NULL)
		return NULL;
	memset(batch, 0, sizeof *batch);
	batch->verb = op_of(queue->first)->verb;
	batch->epoch = session->store->epoch;
	batch->changes = session->store->changes;
	while (batch->n < room) {
		struct links_op *op = op_of(queue->first);
		bool alone = (op->store_tries & ALONE) != 0;

		bytes += op->verb == LINKS_CREATE ? op->url_len : 0;
		if (batch->n > 0 && (alone || bytes > PG_BATCH_BYTES))
			break;
		fill(&batch->items[batch->n++], pg_queue_take(queue));
		if (alone)
			break;
	}
	if (batch->verb == LINKS_CREATE)
		qsort(batch->items, batch->n, sizeof batch->items[0], by_hash);
	return batch;
}

static int send_prepared(PGconn *conn, const char *name, int n, struct pg_array *const *arrays)
{
	const char *values[3];
	int lengths[3], formats[3];

	for (int i = 0; i < n; i++) {
		if (!pg_array_end(arrays[i]))
			return -1;
		values[i] = (const char *)arrays[i]->bytes;
		lengths[i] = (int)arrays[i]->used;
		formats[i] = 1;
	}
	return PQsendQueryPrepared(conn, name, n, values, lengths, formats, 1) == 1 ? 0 : -1;
}

int pg_batch_send(struct pg_session *session, struct pg_batch *batch, PGconn *conn)
{
	struct pg_array *codes = &session->codes, *urls = &session->urls, *hashes = &session->hashes;
	bool create = batch->verb == LINKS_CREATE;

	pg_array_begin(codes, PG_TEXT);
	pg_array_begin(urls, PG_TEXT);
	pg_array_begin(hashes, PG_BYTEA);
	for (uint32_t i = 0; i < batch->n; i++) {
		const struct pg_item *item = &batch->items[i];

		pg_array_add(codes, item->code, strlen(item->code));
		if (create) {
			pg_array_add(urls, item->op->url, item->op->url_len);
			pg_array_add(hashes, item->sha256, sizeof item->sha256);
		}
	}
	if (!create)
		return send_prepared(conn, PG_STATEMENT_RESOLVE, 1, (struct pg_array *const[]){ codes });
	if (send_prepared(conn, PG_STATEMENT_CREATE, 3, (struct pg_array *const[]){ codes, urls, hashes }) != 0)
		return -1;
	return send_prepared(conn, PG_STATEMENT_FIND, 1, (struct pg_array *const[]){ hashes });
}

bool pg_batch_result(struct pg_batch *batch, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	unsigned expected = batch->verb == LINKS_CREATE ? 2 : 1;

	batch->results++;
	if (status == PGRES_PIPELINE_ABORTED) {
		batch->aborted = batch->error == 0; /* or its own statement before this one failed */
	} else if (status == PGRES_TUPLES_OK && batch->results == expected) {
		batch->rows = result;
		return true;
	} else if (status != PGRES_COMMAND_OK && batch->error == 0) {
		batch->error = pg_errno(result);
		pg_message(PQresultErrorMessage(result), batch->why, sizeof batch->why);
	}
	PQclear(result);
	return batch->results == expected;
}

void pg_batch_free(struct pg_batch *batch)
{
	PQclear(batch->rows);
	free(batch);
}

/* Whether nothing has changed since the question left; see "What may be trusted". */
static bool is_news(struct pg_session *session, const struct pg_batch *batch)
{
	return session->store->changes == batch->changes;
}

static void remember_link(struct pg_session *session, const struct pg_batch *batch, const char *code, const char *url,
                          size_t url_len)
{
	struct cache *cache = session->store->by_code;

	cache_put_marked(cache, code, strlen(code), url, url_len, batch->epoch);
	if (!is_news(session, batch))
		cache_remove(cache, code, strlen(code));
}

static void remember_code(struct pg_session *session, const struct pg_batch *batch, const unsigned char sha256[32],
                          const char *code)
{
	struct cache *cache = session->store->by_url;

	cache_put_marked(cache, sha256, 32, code, strlen(code), batch->epoch);
	if (!is_news(session, batch))
		cache_remove(cache, sha256, 32);
}

static void answer_resolve(struct pg_session *session, const struct pg_batch *batch, struct pg_item *item, int row)
{
	int len = PQgetlength(batch->rows, row, 1);
	bool disabled = PQgetvalue(batch->rows, row, 2)[0] != 0;
	struct links_op *op = item->op;

	item->found = true;
	if (disabled) {
		cache_remove(session->store->by_code, item->code, strlen(item->code));
		pg_session_finish(session, op, LINKS_MISSING, 0);
	} else if (len <= 0 || len > LINK_URL_MAX) {
		pg_session_finish(session, op, LINKS_FAILED, -EBADMSG);
	} else {
		memcpy(op->url, PQgetvalue(batch->rows, row, 1), (size_t)len);
		op->url[len] = '\0';
		op->url_len = (size_t)len;
		remember_link(session, batch, item->code, op->url, op->url_len);
		pg_session_finish(session, op, LINKS_FOUND, 0);
	}
}

/* A turn's worth of different codes is small; few turns ask for more than some. */
static void finish_resolves(struct pg_session *session, struct pg_batch *batch)
{
	int rows = PQntuples(batch->rows);

	for (uint32_t i = 0; i < batch->n; i++) {
		struct pg_item *item = &batch->items[i];
		int len = (int)strlen(item->code);

		for (int row = 0; row < rows && !item->found; row++) {
			if (PQgetlength(batch->rows, row, 0) == len &&
			    memcmp(PQgetvalue(batch->rows, row, 0), item->code, (size_t)len) == 0)
				answer_resolve(session, batch, item, row);
		}
		if (item->found)
			continue;
		cache_remove(session->store->by_code, item->code, strlen(item->code));
		pg_session_finish(session, item->op, LINKS_MISSING, 0);
	}
}

static void answer_create(struct pg_session *session, const struct pg_batch *batch, struct pg_item *item, int row)
{
	int len = PQgetlength(batch->rows, row, 1);
	const char *code = PQgetvalue(batch->rows, row, 1);
	bool disabled = PQgetvalue(batch->rows, row, 2)[0] != 0;
	struct links_op *op = item->op;
	bool created;

	item->found = true;
	if (len <= 0 || len > LINK_CODE_MAX) {
		pg_session_finish(session, op, LINKS_FAILED, -EBADMSG);
		return;
	}
	memcpy(op->code, code, (size_t)len);
	op->code[len] = '\0';
	created = strcmp(op->code, item->code) == 0;
	session->store->creates += created;
	remember_code(session, batch, item->sha256, op->code);
	if (!disabled)
		remember_link(session, batch, op->code, op->url, op->url_len);
	pg_session_finish(session, op, created ? LINKS_CREATED : LINKS_FOUND, 0);
}

/* The items are in order of their hashes; equal ones, of a URL that was asked for twice, lie side by side. */
static void answer_row(struct pg_session *session, struct pg_batch *batch, int row)
{
	struct pg_item key = { 0 }, *item;

	if (PQgetlength(batch->rows, row, 0) != sizeof key.sha256)
		return;
	memcpy(key.sha256, PQgetvalue(batch->rows, row, 0), sizeof key.sha256);
	item = bsearch(&key, batch->items, batch->n, sizeof key, by_hash);
	if (item == NULL)
		return;
	while (item > batch->items && by_hash(item - 1, &key) == 0)
		item--;
	for (; item < batch->items + batch->n && by_hash(item, &key) == 0; item++)
		answer_create(session, batch, item, row);
}

/* Rows collide, though the code was drawn 16 times: it is their ids. */
static void note_exhausted(struct pg_session *session)
{
	pg_note(session->store, LINKS_CREATE, -EEXIST,
	        "every new row meets one that is there: the sequence of ids is behind the table, as a copy or "
	        "replication "
	        "may leave it; as owner of the tables run: SELECT setval(pg_get_serial_sequence('links', 'id'), "
	        "max(id)) "
	        "FROM links");
}

static void finish_creates(struct pg_session *session, struct pg_batch *batch)
{
	session->store->commits++;
	for (int row = 0; row < PQntuples(batch->rows); row++)
		answer_row(session, batch, row);
	/* Neither a row before nor one now: the code that was drawn is another URL's. */
	for (uint32_t i = 0; i < batch->n; i++) {
		struct links_op *op = batch->items[i].op;

		if (batch->items[i].found)
			continue;
		if ((op->store_tries & ~ALONE) < TRIES_MAX) {
			pg_session_again(session, op);
		} else {
			note_exhausted(session);
			pg_session_fail(session, op, -EIO);
		}
	}
}

/* Nothing of it is in the database. */
static void finish_failed(struct pg_session *session, struct pg_batch *batch)
{
	bool by_itself = batch->error != 0, timed_out = batch->error == -ETIMEDOUT;

	for (uint32_t i = batch->n; i-- > 0;) { /* from the back: each goes in front of the one after it */
		struct links_op *op = batch->items[i].op;
		bool again = (op->store_tries & ~ALONE) < TRIES_MAX && !timed_out && (batch->n > 1 || !by_itself);

		if (!again) {
			pg_session_fail(session, op, by_itself ? batch->error : -EIO);
			continue;
		}
		if (by_itself)
			op->store_tries |= ALONE;
		pg_session_again(session, op);
	}
}

void pg_batch_finish(struct pg_session *session, struct pg_batch *batch)
{
	/* What is wrong with one URL says nothing of the database. */
	if (batch->error != -EINVAL && !batch->aborted)
		pg_note(session->store, batch->verb, batch->error, batch->why);
	if (batch->error != 0 || batch->aborted || batch->rows == NULL)
		finish_failed(session, batch);
	else if (batch->verb == LINKS_RESOLVE)
		finish_resolves(session, batch);
	else
		finish_creates(session, batch);
	pg_batch_free(batch);
}
