/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite.c: see sqlite.h. The store as its callers see it; the work is done in the threads. */
#include "links/sqlite.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "links/code.h"
#include "links/sqlite_store.h"

#define READERS_DEFAULT 2

/* Different codes whose clicks may wait: 14 MB at most. */
#define CLICK_CODES_MAX 262144

/* One part in eight of the cache remembers which URLs have a code, so that shortening one again needs no database. */
#define BY_URL_SHARE 8

static void deliver(struct letter *letter)
{
	struct links_op *op = op_of(letter);

	op->done(op);
}

void store_finish(struct sqlite_store *store, struct links_op *op, enum links_outcome outcome, int error)
{
	op->outcome = outcome;
	op->error = error;
	if (outcome == LINKS_FAILED)
		store->errors++;
	op->letter.deliver = deliver;
	mailbox_post(op->mailbox, &op->letter);
}

static int answer_now(struct links_op *op, enum links_outcome outcome)
{
	op->outcome = outcome;
	op->error = 0;
	return LINKS_DONE;
}

static int enqueue(struct sqlite_store *store, struct op_queue *queue, struct links_op *op)
{
	int err = op_queue_push(queue, op);

	if (err == 0)
		return LINKS_PENDING;
	store->refused++;
	return err;
}

static int submit_resolve(struct sqlite_store *store, struct links_op *op)
{
	size_t len = strnlen(op->code, sizeof op->code);

	if (!code_valid(op->code, len))
		return answer_now(op, LINKS_MISSING);
	if (cache_get(store->by_code, op->code, len, op->url, LINK_URL_MAX, &op->url_len)) {
		op->url[op->url_len] = '\0';
		return answer_now(op, LINKS_FOUND);
	}
	return enqueue(store, store->in_memory ? &store->writes : &store->reads, op);
}

static int submit_create(struct sqlite_store *store, struct links_op *op)
{
	size_t len;

	if (op->url_len == 0 || op->url_len > LINK_URL_MAX)
		return -EINVAL;
	crypto_hash_sha256(op->store_key, (const unsigned char *)op->url, op->url_len);
	if (cache_get(store->by_url, op->store_key, sizeof op->store_key, op->code, LINK_CODE_MAX, &len)) {
		op->code[len] = '\0';
		return answer_now(op, LINKS_FOUND);
	}
	op->code[0] = '\0';
	return enqueue(store, &store->writes, op);
}

static int store_submit(struct links *links, struct links_op *op)
{
	struct sqlite_store *store = (struct sqlite_store *)links;

	return op->verb == LINKS_RESOLVE ? submit_resolve(store, op) : submit_create(store, op);
}

static void store_click(struct links *links, const char *code, uint64_t wall_us)
{
	struct sqlite_store *store = (struct sqlite_store *)links;

	clicks_add(store->clicks, code, strnlen(code, LINK_CODE_MAX + 1), 1, wall_us);
}

static void store_stats(struct links *links, struct links_stats *out)
{
	struct sqlite_store *store = (struct sqlite_store *)links;
	struct cache_stats by_code, by_url;

	cache_stats(store->by_code, &by_code);
	cache_stats(store->by_url, &by_url);
	*out = (struct links_stats){
		.cache_hits = by_code.hits,
		.cache_misses = by_code.misses,
		.cache_entries = by_code.entries,
		.cache_bytes = by_code.bytes + by_url.bytes,
		.reads_queued = op_queue_length(&store->reads),
		.writes_queued = op_queue_length(&store->writes),
		.commits = store->commits,
		.creates = store->creates,
		.errors = store->errors,
		.refused = store->refused,
	};
	clicks_stats(store->clicks, &out->clicks_pending, &out->clicks_lost);
	out->clicks_pending += store->clicks_in_hand;
}

static bool store_ready(struct links *links)
{
	return ((struct sqlite_store *)links)->health.ok;
}

/* Stops and joins the threads; what is queued is served first, clicks are written. */
static void stop_threads(struct sqlite_store *store, bool writer_runs)
{
	op_queue_stop(&store->reads);
	for (unsigned i = 0; i < store->readers; i++)
		pthread_join(store->reader[i].thread, NULL);
	op_queue_stop(&store->writes);
	if (writer_runs)
		pthread_join(store->writer, NULL);
}

static void close_databases(struct sqlite_store *store)
{
	for (unsigned i = 0; i < LINKS_SQLITE_READERS_MAX; i++)
		db_close(&store->reader[i].db);
	/* Also when another process still has the file open, and the last close would not do it. */
	if (store->writer_db.handle != NULL)
		sqlite3_wal_checkpoint_v2(store->writer_db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	db_close(&store->writer_db);
}

static void free_memory(struct sqlite_store *store)
{
	cache_close(store->by_code);
	cache_close(store->by_url);
	clicks_close(store->clicks);
	op_queue_close(&store->reads);
	op_queue_close(&store->writes);
	pthread_mutex_destroy(&store->health.lock);
	free(store->path);
	free(store);
}

static void store_close(struct links *links)
{
	struct sqlite_store *store = (struct sqlite_store *)links;

	stop_threads(store, true);
	close_databases(store);
	free_memory(store);
}

static const struct links_class sqlite_class = {
	.name = "sqlite",
	.submit = store_submit,
	.click = store_click,
	.stats = store_stats,
	.ready = store_ready,
	.close = store_close,
};

/* @return NULL when memory is short. */
static struct sqlite_store *allocate(const struct links_sqlite_config *config)
{
	struct sqlite_store *store = calloc(1, sizeof *store);

	if (store == NULL)
		return NULL;
	if (op_queue_open(&store->reads, config->queue) != 0) {
		free(store);
		return NULL;
	}
	if (op_queue_open(&store->writes, config->queue) != 0) {
		op_queue_close(&store->reads);
		free(store);
		return NULL;
	}
	pthread_mutex_init(&store->health.lock, NULL);
	store->links.class = &sqlite_class;
	store->health.ok = true;
	store->in_memory = strcmp(config->path, ":memory:") == 0;
	store->click_interval_us = (uint64_t)config->click_interval_ms * 1000;
	store->path = strdup(config->path);
	store->by_url = cache_open(config->cache_bytes / BY_URL_SHARE);
	store->by_code = cache_open(config->cache_bytes - config->cache_bytes / BY_URL_SHARE);
	store->clicks = clicks_open(CLICK_CODES_MAX);
	if (store->path != NULL && store->by_url != NULL && store->by_code != NULL && store->clicks != NULL)
		return store;
	free_memory(store);
	return NULL;
}

static int open_databases(struct sqlite_store *store, unsigned readers, char *why, size_t why_size)
{
	if (db_open(&store->writer_db, store->path, true, why, why_size) != 0)
		return -1;
	for (unsigned i = 0; i < readers; i++) {
		store->reader[i].store = store;
		if (db_open(&store->reader[i].db, store->path, false, why, why_size) != 0)
			return -1;
	}
	return 0;
}

/* The threads leave signals to those who wait for them. */
static int start_threads(struct sqlite_store *store, unsigned readers)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&store->writer, NULL, writer_main, store);
	if (err == 0)
		pthread_setname_np(store->writer, "links-writer");
	for (unsigned i = 0; i < readers && err == 0; i++) {
		err = pthread_create(&store->reader[i].thread, NULL, reader_main, &store->reader[i]);
		if (err == 0) {
			pthread_setname_np(store->reader[i].thread, "links-reader");
			store->readers++;
		} else {
			stop_threads(store, true);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

struct links *links_sqlite_open(const struct links_sqlite_config *config, char *why, size_t why_size)
{
	unsigned readers = config->readers > 0 ? config->readers : READERS_DEFAULT;
	struct sqlite_store *store;
	int err;

	if (sodium_init() < 0 || (store = allocate(config)) == NULL) {
		snprintf(why, why_size, "%s: %s", config->path, strerror(ENOMEM));
		return NULL;
	}
	if (store->in_memory)
		readers = 0;
	else if (readers > LINKS_SQLITE_READERS_MAX)
		readers = LINKS_SQLITE_READERS_MAX;
	if (open_databases(store, readers, why, why_size) == 0) {
		err = start_threads(store, readers);
		if (err == 0)
			return &store->links;
		snprintf(why, why_size, "%s: can't start a thread: %s", config->path, strerror(err));
	}
	close_databases(store);
	free_memory(store);
	return NULL;
}
