/* SPDX-License-Identifier: Apache-2.0 */
/* postgres.c: see postgres.h. The store as its callers see it. */
#include "links/postgres.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "links/code.h"
#include "links/postgres_store.h"

/* Different codes whose clicks may wait: 14 MB at most. */
#define CLICK_CODES_MAX 262144

/* One part in eight of the cache remembers which URLs have a code. */
#define BY_URL_SHARE 8

/* What no request waits for may take longer than the shortest of timeouts. */
#define PATIENCE_MIN_US UINT64_C(1000000)

/* How long the start waits for the first attempt to reach the database. */
#define FIRST_TRY_S 10

/* Whether what the cache has may be served. While nobody listens for changes who can ask does. Without the database
 * there is nothing better. */
static bool is_trusted(const struct pg_store *store, const struct pg_session *session, uint32_t mark)
{
	return (mark == store->epoch && store->up) || session->link == NULL;
}

static int answer_now(struct links_op *op, enum links_outcome outcome)
{
	op->outcome = outcome;
	op->error = 0;
	return LINKS_DONE;
}

static int submit_resolve(struct pg_store *store, struct pg_session *session, struct links_op *op)
{
	size_t len = strnlen(op->code, sizeof op->code);
	uint32_t mark;
	int result;
	bool hit;

	if (!code_valid(op->code, len))
		return answer_now(op, LINKS_MISSING);
	hit = cache_get_marked(store->by_code, op->code, len, op->url, LINK_URL_MAX, &op->url_len, &mark);
	if (!hit || !is_trusted(store, session, mark)) {
		result = pg_session_submit(session, op);
		if (!hit || result != -EAGAIN) /* too many ask; what is in the cache is better than nothing */
			return result;
	}
	op->url[op->url_len] = '\0';
	return answer_now(op, LINKS_FOUND);
}

static int submit_create(struct pg_store *store, struct pg_session *session, struct links_op *op)
{
	uint32_t mark;
	size_t len;

	if (op->url_len == 0 || op->url_len > LINK_URL_MAX)
		return -EINVAL;
	crypto_hash_sha256(op->store_key, (const unsigned char *)op->url, op->url_len);
	if (cache_get_marked(store->by_url, op->store_key, sizeof op->store_key, op->code, LINK_CODE_MAX, &len,
	                     &mark) &&
	    is_trusted(store, session, mark)) {
		op->code[len] = '\0';
		return answer_now(op, LINKS_FOUND);
	}
	op->code[0] = '\0';
	return pg_session_submit(session, op);
}

static int store_submit(struct links *links, struct links_op *op)
{
	struct pg_store *store = (struct pg_store *)links;
	struct pg_session *session = &store->session[op->thread];

	return op->verb == LINKS_RESOLVE ? submit_resolve(store, session, op) : submit_create(store, session, op);
}

static int store_attach(struct links *links, unsigned thread, uv_loop_t *loop)
{
	struct pg_store *store = (struct pg_store *)links;

	return thread < store->threads ? pg_session_attach(&store->session[thread], loop) : -EINVAL;
}

static void store_detach(struct links *links, unsigned thread)
{
	pg_session_detach(&((struct pg_store *)links)->session[thread]);
}

static void store_click(struct links *links, const char *code, uint64_t wall_us)
{
	struct pg_store *store = (struct pg_store *)links;

	clicks_add(store->clicks, code, strnlen(code, LINK_CODE_MAX + 1), 1, wall_us);
}

static void store_stats(struct links *links, struct links_stats *out)
{
	struct pg_store *store = (struct pg_store *)links;
	struct cache_stats by_code, by_url;

	cache_stats(store->by_code, &by_code);
	cache_stats(store->by_url, &by_url);
	*out = (struct links_stats){
		.cache_hits = by_code.hits,
		.cache_misses = by_code.misses,
		.cache_entries = by_code.entries,
		.cache_bytes = by_code.bytes + by_url.bytes,
		.reads_queued = store->reads_waiting,
		.writes_queued = store->writes_waiting,
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
	struct pg_store *store = (struct pg_store *)links;
	bool ready = store->up && store->failing[LINKS_CREATE] == 0 && store->failing[LINKS_RESOLVE] == 0;

	pthread_mutex_lock(&store->lock);
	for (uint32_t i = 0; i < store->threads; i++)
		ready = ready && (!store->session[i].attached || store->session[i].connected);
	pthread_mutex_unlock(&store->lock);
	return ready;
}

static void free_memory(struct pg_store *store)
{
	for (uint32_t i = 0; i < store->threads; i++) {
		pg_array_free(&store->session[i].codes);
		pg_array_free(&store->session[i].urls);
		pg_array_free(&store->session[i].hashes);
	}
	cache_close(store->by_code);
	cache_close(store->by_url);
	clicks_close(store->clicks);
	if (store->wake_fd >= 0)
		close(store->wake_fd);
	pthread_cond_destroy(&store->changed);
	pthread_mutex_destroy(&store->lock);
	free(store->uri);
	free(store);
}

static void store_close(struct links *links)
{
	struct pg_store *store = (struct pg_store *)links;

	pthread_mutex_lock(&store->lock);
	store->stop = true;
	pthread_mutex_unlock(&store->lock);
	pg_keeper_wake(store);
	pthread_join(store->keeper, NULL);
	free_memory(store);
}

static const struct links_class postgres_class = {
	.name = "postgresql",
	.attach = store_attach,
	.detach = store_detach,
	.submit = store_submit,
	.click = store_click,
	.stats = store_stats,
	.ready = store_ready,
	.close = store_close,
};

static void init_lock(struct pg_store *store)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&store->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&store->lock, NULL);
}

/* @return NULL when memory or descriptors are short. */
static struct pg_store *allocate(const struct links_postgres_config *config)
{
	struct pg_store *store = calloc(1, sizeof *store + config->threads * sizeof store->session[0]);

	if (store == NULL)
		return NULL;
	init_lock(store);
	store->links.class = &postgres_class;
	store->threads = config->threads;
	store->timeout_us = (uint64_t)config->timeout_ms * 1000;
	store->patience_us = store->timeout_us > PATIENCE_MIN_US ? store->timeout_us : PATIENCE_MIN_US;
	store->click_interval_us = (uint64_t)config->click_interval_ms * 1000;
	store->queue = config->queue;
	store->epoch = 1;
	for (uint32_t i = 0; i < store->threads; i++)
		store->session[i].store = store;
	store->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store->uri = strdup(config->uri);
	store->by_url = cache_open(config->cache_bytes / BY_URL_SHARE);
	store->by_code = cache_open(config->cache_bytes - config->cache_bytes / BY_URL_SHARE);
	store->clicks = clicks_open(CLICK_CODES_MAX);
	if (store->wake_fd >= 0 && store->uri != NULL && store->by_url != NULL && store->by_code != NULL &&
	    store->clicks != NULL)
		return store;
	free_memory(store);
	return NULL;
}

/* The thread leaves signals to those who wait for them. */
static int start_keeper(struct pg_store *store)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&store->keeper, NULL, pg_keeper_main, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err == 0)
		pthread_setname_np(store->keeper, "links-keeper");
	return err;
}

static enum pg_state wait_for_first_try(struct pg_store *store)
{
	struct timespec until;
	enum pg_state state;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FIRST_TRY_S;
	pthread_mutex_lock(&store->lock);
	while (store->state == PG_TRYING) {
		if (pthread_cond_timedwait(&store->changed, &store->lock, &until) != 0)
			break;
	}
	state = store->state;
	pthread_mutex_unlock(&store->lock);
	return state;
}

struct links *links_postgres_open(const struct links_postgres_config *config, char *why, size_t why_size)
{
	struct pg_store *store = sodium_init() < 0 ? NULL : allocate(config);
	int err;

	if (store == NULL) {
		snprintf(why, why_size, "PostgreSQL: %s", strerror(ENOMEM));
		return NULL;
	}
	err = start_keeper(store);
	if (err != 0) {
		snprintf(why, why_size, "PostgreSQL: can't start a thread: %s", strerror(err));
		free_memory(store);
		return NULL;
	}
	if (wait_for_first_try(store) != PG_REFUSED)
		return &store->links;
	snprintf(why, why_size, "%s", store->why);
	store_close(&store->links);
	return NULL;
}
