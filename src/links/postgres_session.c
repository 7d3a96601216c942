/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_session.c: a loop thread's share: operations that wait, their deadlines, one connection.
 *
 * What one turn of the loop submits is sent before the loop waits again. Look-ups leave at once; of creates one
 * batch is under way at a time, and those that come meanwhile form the next: while a commit is on its way to the disk
 * a larger one gathers.
 *
 * An operation that is not answered within its time takes the connection with it: nobody knows what the other end
 * is doing. All that waits then fails, and without a connection everything fails at once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "links/op_queue.h"
#include "links/postgres_store.h"

static void release(struct pg_session *session, struct links_op *op)
{
	if (op->verb == LINKS_RESOLVE)
		session->store->reads_waiting--;
	else
		session->store->writes_waiting--;
}

void pg_session_finish(struct pg_session *session, struct links_op *op, enum links_outcome outcome, int error)
{
	release(session, op);
	op->outcome = outcome;
	op->error = error;
	if (outcome == LINKS_FAILED)
		session->store->errors++;
	op->done(op);
}

void pg_session_fail(struct pg_session *session, struct links_op *op, int error)
{
	size_t len;

	if (op->verb == LINKS_CREATE) {
		op->code[0] = '\0';
	} else if (cache_get(session->store->by_code, op->code, strlen(op->code), op->url, LINK_URL_MAX, &len)) {
		op->url[len] = '\0';
		op->url_len = len;
		pg_session_finish(session, op, LINKS_FOUND, 0);
		return;
	}
	pg_session_finish(session, op, LINKS_FAILED, error);
}

void pg_session_again(struct pg_session *session, struct links_op *op)
{
	op->store_tries++;
	pg_queue_put_first(op->verb == LINKS_RESOLVE ? &session->reads : &session->writes, op);
	pg_session_send(session);
}

static void put_back(struct pg_session *session, struct links_op *op, int error)
{
	pg_session_again(session, op);
}

void pg_note(struct pg_store *store, enum links_verb verb, int error, const char *why)
{
	static const char *const what[] = {
		[LINKS_CREATE] = "new links are refused", [LINKS_RESOLVE] = "links outside the cache fail"
	};
	int before;

	if (store->failing[verb] == error)
		return;
	pthread_mutex_lock(&store->lock);
	before = store->failing[verb];
	store->failing[verb] = error;
	pthread_mutex_unlock(&store->lock);
	if (error != 0 && before == 0)
		log_error("links: PostgreSQL: %s; %s until it works again", why, what[verb]);
	else if (error == 0 && before != 0)
		log_info("links: PostgreSQL: %s again",
		         verb == LINKS_CREATE ? "new links are stored" : "links are found");
}

/* Sending. */

static void send_queue(struct pg_session *session, struct pg_queue *queue, bool ends_turn)
{
	struct pg_batch *batch = pg_batch_take(session, queue);

	if (batch == NULL) {
		pg_session_fail(session, pg_queue_take(queue), -ENOMEM);
		return;
	}
	batch->ends_turn = ends_turn;
	if (pg_link_send(session->link, batch) != 0) {
		char why[PG_WHY_MAX];

		pg_message(PQerrorMessage(session->link->conn), why, sizeof why);
		pg_session_lost(session, -ECONNRESET, why);
	}
}

static void on_send(uv_prepare_t *handle)
{
	struct pg_session *session = handle->data;

	uv_prepare_stop(handle);
	while (session->link != NULL && session->reads.n > 0) {
		bool writes_too = session->writes.n > 0 && session->link->creates == 0;

		send_queue(session, &session->reads, session->reads.n > PG_BATCH_MAX || !writes_too);
	}
	if (session->link != NULL && session->writes.n > 0 && session->link->creates == 0)
		send_queue(session, &session->writes, true);
}

void pg_session_send(struct pg_session *session)
{
	if (session->link != NULL && session->reads.n + session->writes.n > 0 &&
	    !uv_is_active((uv_handle_t *)&session->send))
		uv_prepare_start(&session->send, on_send);
}

/* Deadlines. */

static uint64_t oldest(const struct pg_session *session)
{
	const struct pg_batch *batch = session->link != NULL ? session->link->first : NULL;
	uint64_t deadline_us = UINT64_MAX;
	struct links_op *const first[] = { op_of(session->reads.first), op_of(session->writes.first) };

	for (; batch != NULL; batch = batch->next) {
		for (uint32_t i = 0; i < batch->n; i++) {
			if (batch->items[i].op->store_deadline_us < deadline_us)
				deadline_us = batch->items[i].op->store_deadline_us;
		}
	}
	for (size_t i = 0; i < 2; i++) {
		if (first[i] != NULL && first[i]->store_deadline_us < deadline_us)
			deadline_us = first[i]->store_deadline_us;
	}
	return deadline_us;
}

/* Once for each time that passes, not once for each operation. */
static void on_deadline(uv_timer_t *timer)
{
	struct pg_session *session = timer->data;
	uint64_t now_us = clock_mono_us(), deadline_us = oldest(session);

	if (deadline_us == UINT64_MAX)
		return;
	if (deadline_us <= now_us)
		pg_session_lost(session, -ETIMEDOUT, "no answer in time");
	else
		uv_timer_start(timer, on_deadline, (deadline_us - now_us + 999) / 1000, 0);
}

/* The connection. */

static void fail_queue(struct pg_session *session, struct pg_queue *queue, int error)
{
	/* Those that callbacks submit meanwhile are refused at once: there is no connection. */
	for (struct links_op *op = pg_queue_take(queue); op != NULL; op = pg_queue_take(queue))
		pg_session_fail(session, op, error);
}

void pg_session_lost(struct pg_session *session, int error, const char *why)
{
	struct pg_store *store = session->store;
	struct pg_link *link = session->link;

	session->link = NULL;
	session->connected = false;
	uv_prepare_stop(&session->send);
	pthread_mutex_lock(&store->lock);
	session->wants = true;
	snprintf(session->lost_why, sizeof session->lost_why, "%s", why);
	pthread_mutex_unlock(&store->lock);
	pg_keeper_wake(store);
	pg_link_close(link, pg_session_fail, error);
	fail_queue(session, &session->reads, error);
	fail_queue(session, &session->writes, error);
}

/* Takes the connection over that the keeper has made. What an older one has not answered is asked again. */
static void adopt(struct pg_session *session, PGconn *conn)
{
	struct pg_link *old = session->link;

	session->link = NULL;
	if (old != NULL)
		pg_link_close(old, put_back, 0);
	session->link = pg_link_open(session, conn);
	session->connected = session->link != NULL;
	if (session->link != NULL) {
		pg_session_send(session);
		return;
	}
	fail_queue(session, &session->reads, -ENOMEM);
	fail_queue(session, &session->writes, -ENOMEM);
	pthread_mutex_lock(&session->store->lock);
	session->wants = true;
	pthread_mutex_unlock(&session->store->lock);
}

static PGconn *take_incoming(struct pg_session *session, bool *silent)
{
	PGconn *conn;

	pthread_mutex_lock(&session->store->lock);
	conn = session->incoming;
	session->incoming = NULL;
	*silent = session->silent;
	session->silent = false;
	pthread_mutex_unlock(&session->store->lock);
	return conn;
}

static void on_news(uv_async_t *news)
{
	struct pg_session *session = news->data;
	bool silent;
	PGconn *conn = take_incoming(session, &silent);

	if (conn != NULL)
		adopt(session, conn);
	else if (silent && session->link != NULL)
		pg_session_lost(session, -ETIMEDOUT, "the database is silent");
}

static void init_queue(struct pg_queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
	queue->n = 0;
}

/* When the database is there, waits until the keeper has connected: who attaches before he serves need not refuse
 * his first requests. */
static void wait_for_connection(struct pg_session *session)
{
	struct pg_store *store = session->store;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(store->timeout_us / 1000000) + 1;
	pthread_mutex_lock(&store->lock);
	session->attached = session->wants = true;
	session->failed = false;
	pg_keeper_wake(store);
	while (session->incoming == NULL && !session->failed && store->state == PG_UP) {
		if (pthread_cond_timedwait(&store->changed, &store->lock, &until) != 0)
			break;
	}
	pthread_mutex_unlock(&store->lock);
}

int pg_session_attach(struct pg_session *session, uv_loop_t *loop)
{
	int err = uv_async_init(loop, &session->news, on_news);

	if (err != 0)
		return err;
	uv_prepare_init(loop, &session->send);
	uv_timer_init(loop, &session->deadline);
	session->news.data = session->send.data = session->deadline.data = session;
	session->loop = loop;
	init_queue(&session->reads);
	init_queue(&session->writes);
	wait_for_connection(session);
	on_news(&session->news);
	return 0;
}

void pg_session_detach(struct pg_session *session)
{
	struct pg_store *store = session->store;
	PGconn *incoming;

	pthread_mutex_lock(&store->lock);
	session->attached = session->wants = false;
	incoming = session->incoming;
	session->incoming = NULL;
	pthread_mutex_unlock(&store->lock);
	PQfinish(incoming);
	if (session->link != NULL)
		pg_link_close(session->link, pg_session_fail, -ECANCELED);
	session->link = NULL;
	uv_close((uv_handle_t *)&session->news, NULL);
	uv_close((uv_handle_t *)&session->send, NULL);
	uv_close((uv_handle_t *)&session->deadline, NULL);
}

int pg_session_submit(struct pg_session *session, struct links_op *op)
{
	struct pg_store *store = session->store;
	bool read = op->verb == LINKS_RESOLVE;
	_Atomic uint32_t *waiting = read ? &store->reads_waiting : &store->writes_waiting;

	if (session->link == NULL) {
		store->errors++;
		op->outcome = LINKS_FAILED;
		op->error = -ENOTCONN;
		return LINKS_DONE;
	}
	if (atomic_fetch_add(waiting, 1) >= store->queue) {
		(*waiting)--;
		store->refused++;
		return -EAGAIN;
	}
	op->store_tries = 0;
	op->store_deadline_us = clock_mono_us() + store->timeout_us;
	pg_queue_put(read ? &session->reads : &session->writes, op);
	pg_session_send(session);
	if (!uv_is_active((uv_handle_t *)&session->deadline))
		uv_timer_start(&session->deadline, on_deadline, (store->timeout_us + 999) / 1000, 0);
	return LINKS_PENDING;
}
