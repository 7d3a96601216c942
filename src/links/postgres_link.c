/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_link.c: one connection on a loop, in pipeline mode: what is sent and what comes back.
 *
 * All that a turn of the loop asks is queued in libpq and leaves with the Sync behind it, in one write. A Sync ends a
 * transaction: what stands between two of them is committed together, and is answered when the second Sync is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "links/postgres_store.h"

static void on_socket(uv_poll_t *poll, int status, int events);

static void watch(struct pg_link *link, bool writable)
{
	if (link->polls_writable == writable)
		return;
	link->polls_writable = writable;
	uv_poll_start(&link->poll, UV_READABLE | (writable ? UV_WRITABLE : 0), on_socket);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

struct pg_link *pg_link_open(struct pg_session *session, PGconn *conn)
{
	struct pg_link *link = calloc(1, sizeof *link);

	if (link == NULL || uv_poll_init(session->loop, &link->poll, PQsocket(conn)) != 0) {
		PQfinish(conn);
		free(link);
		return NULL;
	}
	link->conn = conn;
	link->session = session;
	link->last = &link->first;
	link->poll.data = link;
	uv_poll_start(&link->poll, UV_READABLE, on_socket);
	return link;
}

int pg_link_send(struct pg_link *link, struct pg_batch *batch)
{
	int left;

	batch->next = NULL;
	*link->last = batch;
	link->last = &batch->next;
	if (link->current == NULL)
		link->current = batch;
	link->creates += batch->verb == LINKS_CREATE;
	if (pg_batch_send(link->session, batch, link->conn) != 0)
		return -1;
	if (!batch->ends_turn)
		return 0;
	if (PQpipelineSync(link->conn) != 1)
		return -1;
	left = PQflush(link->conn);
	watch(link, left > 0);
	return left < 0 ? -1 : 0;
}

/* The batches up to the Sync that has been answered are done: takes them out of the list, then answers. */
static void end_turn(struct pg_link *link)
{
	struct pg_session *session = link->session;
	struct pg_batch *done = link->first, **last = &link->first;

	while (*last != NULL && !(*last)->ends_turn)
		last = &(*last)->next;
	if (*last == NULL)
		return;
	last = &(*last)->next;
	link->first = *last;
	*last = NULL;
	if (link->first == NULL)
		link->last = &link->first;
	link->awaits_sync = false;
	while (done != NULL) {
		struct pg_batch *next = done->next;

		link->creates -= done->verb == LINKS_CREATE;
		pg_batch_finish(session, done);
		done = next;
	}
	pg_session_send(session); /* creates that waited for this turn's commit */
}

/* An error that is none of a statement's: the commit has failed, and with it every create of this turn. */
static void fail_turn(struct pg_link *link, PGresult *result)
{
	for (struct pg_batch *batch = link->first; batch != NULL; batch = batch->ends_turn ? NULL : batch->next) {
		if (batch->verb != LINKS_CREATE || batch->error != 0)
			continue;
		batch->error = pg_errno(result);
		pg_message(PQresultErrorMessage(result), batch->why, sizeof batch->why);
	}
	PQclear(result);
}

static void take_result(struct pg_link *link, PGresult *result)
{
	struct pg_batch *batch = link->current;

	if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
		PQclear(result);
		end_turn(link);
	} else if (link->awaits_sync || batch == NULL) {
		fail_turn(link, result);
	} else if (pg_batch_result(batch, result)) {
		link->awaits_sync = batch->ends_turn;
		link->current = batch->next;
	}
}

/* @return false when the connection is broken. */
static bool read_results(struct pg_link *link)
{
	PGresult *result;

	if (PQconsumeInput(link->conn) == 0)
		return false;
	while (link->first != NULL && !PQisBusy(link->conn)) {
		result = PQgetResult(link->conn);
		if (PQstatus(link->conn) != CONNECTION_OK) {
			PQclear(result);
			return false;
		}
		if (result != NULL) /* NULL only ends the results of a statement */
			take_result(link, result);
	}
	if (link->first == NULL && !PQisBusy(link->conn)) {
		/* Nothing was asked: the server says good-bye, or warns. Both stand in the message if it ends. */
		PQclear(PQgetResult(link->conn));
	}
	return PQstatus(link->conn) == CONNECTION_OK;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct pg_link *link = poll->data;
	int left = 0;

	if (status < 0 || !read_results(link) || (left = PQflush(link->conn)) < 0) {
		char why[PG_WHY_MAX];

		pg_message(PQerrorMessage(link->conn), why, sizeof why);
		pg_session_lost(link->session, -ECONNRESET, why);
		return;
	}
	watch(link, left > 0);
}

void pg_link_close(struct pg_link *link, void (*each)(struct pg_session *session, struct links_op *op, int error),
                   int error)
{
	struct pg_session *session = link->session;
	struct pg_batch *batch = link->first;

	uv_poll_stop(&link->poll);
	PQfinish(link->conn);
	uv_close((uv_handle_t *)&link->poll, on_closed);
	while (batch != NULL) {
		struct pg_batch *next = batch->next;

		for (uint32_t i = 0; i < batch->n; i++)
			each(session, batch->items[i].op, error);
		pg_batch_free(batch);
		batch = next;
	}
}
