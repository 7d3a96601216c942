/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_writer.c: the thread that commits.
 *
 * Group commit: while one transaction is on its way to the disk, the creates that arrive gather in the queue; they
 * form the next transaction. Nobody waits for company: a create that comes alone is committed alone.
 *
 * A group is answered only after COMMIT has returned, so after the log is on the disk. When anything in it fails
 * all of it fails, and is rolled back: nobody is told of a link that might not be there tomorrow.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "links/sqlite_store.h"

/* Clicks written in one transaction. Each may touch a page of its own, so this bounds how long creates wait behind. */
#define CLICKS_PER_COMMIT 2048

/* How often a database that has failed is tried, when no operation does. */
#define PROBE_INTERVAL_US UINT64_C(1000000)

struct writer {
	struct sqlite_store *store;
	struct db *db;
	uint64_t next_clicks_us, next_probe_us; /* clock_mono_us() */
};

static void fail_all(struct sqlite_store *store, struct links_op *op, int rc)
{
	while (op != NULL) {
		struct links_op *next = op_next(op);

		if (op->verb == LINKS_CREATE)
			op->code[0] = '\0';
		store_finish(store, op, LINKS_FAILED, db_errno(rc));
		op = next;
	}
}

/* Answers what needs no commit (lookups, URLs that have a code), also while writing fails.
 * @return the creates of new URLs, in order. */
static struct links_op *answer_known(struct writer *w, struct links_op *op)
{
	struct letter *new_first = NULL, **new_last = &new_first;
	int rc = db_run(w->db, DB_BEGIN_READ);

	while (op != NULL && rc == SQLITE_OK) {
		struct links_op *next = op_next(op);
		bool ended;

		rc = store_lookup(w->store, w->db, op, &ended);
		if (rc != SQLITE_OK)
			break;
		if (!ended) {
			*new_last = &op->letter;
			new_last = &op->letter.next;
		}
		op = next;
	}
	*new_last = NULL;
	if (rc == SQLITE_OK)
		rc = db_run(w->db, DB_COMMIT);
	db_rollback(w->db);
	fail_all(w->store, op, rc); /* from the one that could not be looked up */
	return op_of(new_first);
}

/* Opens a transaction, unless what it writes would be lost. */
static int begin_write(struct writer *w)
{
	if (!w->store->in_memory && db_file_gone(w->db))
		return SQLITE_IOERR;
	return db_run(w->db, DB_BEGIN_WRITE);
}

static int put_all(struct writer *w, struct links_op *op, uint64_t *created)
{
	uint64_t now_us = clock_wall_us();
	int rc = SQLITE_OK;

	for (; op != NULL && rc == SQLITE_OK; op = op_next(op)) {
		struct link_record record = { .url = op->url, .url_len = op->url_len, .created_us = now_us };
		enum db_put result;

		rc = db_put(w->db, &record, op->store_key, &result);
		if (rc != SQLITE_OK)
			break;
		memcpy(op->code, record.code, sizeof op->code);
		op->outcome = result == DB_PUT_CREATED ? LINKS_CREATED : LINKS_FOUND;
		*created += result == DB_PUT_CREATED;
	}
	return rc;
}

static void answer_written(struct sqlite_store *store, struct links_op *op)
{
	while (op != NULL) {
		struct links_op *next = op_next(op);
		size_t code_len = strlen(op->code);

		cache_put(store->by_code, op->code, code_len, op->url, op->url_len);
		cache_put(store->by_url, op->store_key, sizeof op->store_key, op->code, code_len);
		store_finish(store, op, op->outcome, 0);
		op = next;
	}
}

/* Commits, or rolls back. @param rc  how the statements before it went. */
static int end_write(struct writer *w, int rc)
{
	if (rc == SQLITE_OK)
		rc = db_run(w->db, DB_COMMIT);
	health_note(w->store, HEALTH_WRITE, rc, w->db); /* before the rollback: it asks what went wrong */
	db_rollback(w->db);
	w->next_probe_us = clock_mono_us() + PROBE_INTERVAL_US;
	return rc;
}

static void serve_group(struct writer *w, struct links_op *group)
{
	uint64_t created = 0;
	int rc;

	group = answer_known(w, group);
	if (group == NULL)
		return;
	rc = begin_write(w);
	if (rc == SQLITE_OK)
		rc = put_all(w, group, &created);
	rc = end_write(w, rc);
	if (rc != SQLITE_OK) {
		fail_all(w->store, group, rc);
		return;
	}
	w->store->commits++;
	w->store->creates += created;
	answer_written(w->store, group);
}

static int write_clicks(struct writer *w, const struct click *clicks, size_t n)
{
	int rc = begin_write(w);

	for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
		rc = db_add_clicks(w->db, clicks[i].code, clicks[i].count, clicks[i].last_us);
	return end_write(w, rc);
}

/* Puts clicks back that could not be written. */
static void return_clicks(struct sqlite_store *store, const struct click *clicks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		store->clicks_in_hand -= clicks[i].count;
		clicks_add(store->clicks, clicks[i].code, clicks[i].code_len, clicks[i].count, clicks[i].last_us);
	}
}

/* Writes what waits, serving creates in between. @return false when there is nothing (more) that can be written. */
static bool flush_clicks(struct writer *w)
{
	struct sqlite_store *store = w->store;
	size_t n, done = 0;
	struct click *clicks = clicks_take(store->clicks, &n);
	bool worked = n > 0, stopped;

	for (size_t i = 0; i < n; i++)
		store->clicks_in_hand += clicks[i].count;
	while (done < n && worked) {
		size_t part = n - done < CLICKS_PER_COMMIT ? n - done : CLICKS_PER_COMMIT;

		worked = write_clicks(w, clicks + done, part) == SQLITE_OK;
		for (size_t i = 0; worked && i < part; i++)
			store->clicks_in_hand -= clicks[done + i].count;
		if (worked) {
			done += part;
			serve_group(w, op_queue_take_all(&store->writes, 0, &stopped));
		}
	}
	return_clicks(store, clicks + done, n - done);
	free(clicks);
	return worked;
}

/* Without traffic nobody would find out that the disk is back, and without ready() there may be no traffic. */
static void probe(struct writer *w)
{
	uint64_t id;

	health_note(w->store, HEALTH_READ, db_last_id(w->db, &id), w->db);
	if (!w->store->in_memory && db_file_gone(w->db))
		return;
	health_note(w->store, HEALTH_WRITE, db_probe(w->db), w->db);
}

static void do_what_is_due(struct writer *w)
{
	uint64_t now_us = clock_mono_us();

	if (now_us >= w->next_clicks_us) {
		flush_clicks(w);
		w->next_clicks_us = now_us + w->store->click_interval_us;
	}
	if (!w->store->health.ok && now_us >= w->next_probe_us) {
		probe(w);
		w->next_probe_us = now_us + PROBE_INTERVAL_US;
	}
}

static uint64_t time_until_due(const struct writer *w)
{
	uint64_t now_us = clock_mono_us(), due_us = w->next_clicks_us;

	if (!w->store->health.ok && w->next_probe_us < due_us)
		due_us = w->next_probe_us;
	return due_us > now_us ? due_us - now_us : 0;
}

void *writer_main(void *arg)
{
	struct sqlite_store *store = arg;
	struct writer w = { .store = store, .db = &store->writer_db };
	bool stopped = false;
	uint64_t lost, unused;

	w.next_clicks_us = clock_mono_us() + store->click_interval_us;
	while (!stopped) {
		serve_group(&w, op_queue_take_all(&store->writes, time_until_due(&w), &stopped));
		do_what_is_due(&w);
	}
	serve_group(&w, op_queue_take_all(&store->writes, 0, &stopped));
	while (flush_clicks(&w))
		;
	clicks_stats(store->clicks, &lost, &unused);
	if (lost > 0)
		log_error("links: %" PRIu64 " clicks could not be written to %s and are lost", lost, store->path);
	return NULL;
}
