/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sentinel.c: a server that may be replaced by its replica; the Sentinels know which one is master.
 *
 * One thread is connected to every Sentinel of the configuration and asks each of them once a second, more often while
 * the master does not answer. Of different answers that with the newest configuration (config-epoch) holds, so that a
 * Sentinel which was cut off can't lead us back. Asking needs no subscription whose silence could be taken for good
 * news, and it costs at most a second on top of the seconds in which Sentinels notice that a master is gone.
 *
 * The other threads are told the address. A server that is no master is not used, whoever named it: the greeting takes
 * on it (node.c).
 *
 * Source: Redis, "Guidelines for Redis clients with support for Redis Sentinel".
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis/internal.h"

#define USUAL_MS 1000
#define OFTEN_MS 200 /* while the master does not answer */

/* One Sentinel, as the watching thread sees it. */
struct watched {
	struct watch *watch;
	struct redis_conn *conn;
	struct redis_place *place;
	struct redis_command where, epoch_of;
	bool asking;
	bool was_up;
	bool knows;               /* what follows was said by it, and it is still there */
	struct redis_host master; /* as it says */
	uint64_t epoch;
};

struct watch {
	struct redis_thread *thread;
	uv_timer_t timer;
	struct redis_access access; /* to Sentinels */
	uint64_t epoch;             /* of what is believed */
	size_t n;
	struct watched sentinels[REDIS_URL_HOSTS_MAX];
};

/* Each thread's. */
struct place {
	struct redis_thread *thread;
	uv_async_t wake;     /* the address has changed */
	struct watch *watch; /* the watching thread's; NULL */
};

static struct place *place_of(struct redis_thread *thread)
{
	return thread->place;
}

/* The master is another: the connection to it, too. Questions that are on their way may still be answered. */
static void on_wake(uv_async_t *wake)
{
	struct place *place = wake->data;
	struct redis_thread *thread = place->thread;
	struct redis_master *shared = &thread->store->master;
	struct redis_host host;
	struct redis_node *node = thread->nodes;

	pthread_mutex_lock(&shared->lock);
	host = shared->host;
	pthread_mutex_unlock(&shared->lock);
	if (thread->closing ||
	    (node != NULL && node->host.port == host.port && strcmp(node->host.name, host.name) == 0))
		return;
	if (node != NULL) {
		redis_store_suspect(thread->store);
		redis_node_retire(node);
	}
	node = redis_node_new(thread, &host);
	if (node != NULL)
		node->serves = true;
	else
		log_error("redis: out of memory for a connection to the master"); /* the next change tries again */
	redis_thread_settled(thread);
}

static void announce(struct redis_store *store, const struct redis_host *host)
{
	struct redis_master *shared = &store->master;
	bool changed;

	pthread_mutex_lock(&shared->lock);
	changed = shared->host.port != host->port || strcmp(shared->host.name, host->name) != 0;
	if (changed)
		shared->host = *host;
	for (unsigned i = 0; i < store->threads_n; i++) {
		if (shared->wakes[i] != NULL && changed)
			uv_async_send(shared->wakes[i]);
	}
	pthread_mutex_unlock(&shared->lock);
	if (changed)
		log_info("redis: the master of \"%s\" is %s, port %u", store->url.master, host->name, host->port);
}

/* @return how many say the same. */
static size_t agreeing(const struct watch *watch, const struct watched *with)
{
	size_t n = 0;

	for (size_t i = 0; i < watch->n; i++) {
		const struct watched *sentinel = &watch->sentinels[i];

		n += sentinel->knows && sentinel->master.port == with->master.port &&
		     strcmp(sentinel->master.name, with->master.name) == 0;
	}
	return n;
}

/* Believes the newest configuration. One that is older than what was believed before is that of a Sentinel which was
 * cut off, unless most of them say so: then they have been set up anew. */
static void choose(struct watch *watch)
{
	const struct watched *best = NULL;

	for (size_t i = 0; i < watch->n; i++) {
		const struct watched *sentinel = &watch->sentinels[i];

		if (sentinel->knows && (best == NULL || sentinel->epoch > best->epoch))
			best = sentinel;
	}
	if (best == NULL || (best->epoch < watch->epoch && agreeing(watch, best) * 2 <= watch->n))
		return;
	watch->epoch = best->epoch;
	announce(watch->thread->store, &best->master);
}

static void refused(struct watched *sentinel, const char *words)
{
	redis_notices_refused(&sentinel->watch->thread->store->notices, redis_conn_name(sentinel->conn), words,
	                      "so says a Sentinel");
}

static void on_where(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct watched *sentinel = (struct watched *)((char *)command - offsetof(struct watched, where));

	sentinel->knows = false;
	if (error != 0)
		return;
	if (reply->type == REDIS_REPLY_ERROR)
		refused(sentinel, reply->str);
	else if (reply->type == REDIS_REPLY_NIL)
		refused(sentinel, "that it knows no master of this name");
	else
		sentinel->knows = redis_address_read(&sentinel->master, reply) == 0;
}

static void on_epoch(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct watched *sentinel = (struct watched *)((char *)command - offsetof(struct watched, epoch_of));

	sentinel->asking = false;
	if (error != 0)
		return;
	/* One that may not tell its epoch is believed when nobody else knows better. */
	sentinel->epoch = redis_epoch_read(reply);
	choose(sentinel->watch);
}

static int send_question(struct watched *sentinel, struct redis_command *command, const char *verb)
{
	struct redis_store *store = sentinel->watch->thread->store;
	struct redis_buffer *out = redis_conn_begin(sentinel->conn);

	if (out == NULL)
		return -EAGAIN;
	redis_command_begin(out, 3);
	redis_command_text(out, "SENTINEL");
	redis_command_text(out, verb);
	redis_command_text(out, store->url.master);
	command->deadline_us = clock_mono_us() + store->timeout_us;
	return redis_conn_send(sentinel->conn, command);
}

static void ask(struct watched *sentinel)
{
	if (sentinel->asking || !redis_conn_up(sentinel->conn))
		return;
	sentinel->where.ended = on_where;
	sentinel->epoch_of.ended = on_epoch;
	if (send_question(sentinel, &sentinel->where, "GET-MASTER-ADDR-BY-NAME") == 0)
		sentinel->asking = send_question(sentinel, &sentinel->epoch_of, "MASTER") == 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct watch *watch = timer->data;
	const struct redis_node *master = watch->thread->nodes;

	for (size_t i = 0; i < watch->n; i++)
		ask(&watch->sentinels[i]);
	uv_timer_start(timer, on_timer, master != NULL && redis_node_up(master) ? USUAL_MS : OFTEN_MS, 0);
}

static void on_changed(struct redis_conn *conn, int error, const char *why, void *context)
{
	struct watched *sentinel = context;
	struct redis_notices *notices = &sentinel->watch->thread->store->notices;

	(void)conn;
	if (error == 0)
		redis_notices_up(notices, sentinel->place);
	else
		redis_notices_down(notices, sentinel->place, sentinel->was_up, why);
	sentinel->was_up = error == 0;
	sentinel->knows = false;
	if (error == 0)
		ask(sentinel);
}

static int watch_one(struct watch *watch, struct watched *sentinel, const struct redis_host *host)
{
	struct redis_thread *thread = watch->thread;
	struct redis_conn_config config = {
		.loop = thread->loop,
		.host = host->name,
		.port = host->port,
		.access = &watch->access,
		.timeout_us = thread->store->timeout_us + REDIS_CONNECT_US,
		.backoff_max_us = REDIS_BACKOFF_US,
		.changed = on_changed,
		.context = sentinel,
		.stats = &thread->conn_stats,
	};
	char name[REDIS_URL_HOST_MAX + 32];

	sentinel->watch = watch;
	sentinel->conn = redis_conn_new(&config);
	if (sentinel->conn == NULL)
		return -ENOMEM;
	snprintf(name, sizeof name, "Sentinel %s", redis_conn_name(sentinel->conn));
	sentinel->place = redis_notices_enter(&thread->store->notices, name);
	watch->n++;
	return sentinel->place != NULL ? 0 : -ENOMEM;
}

static int open_watch(struct redis_thread *thread)
{
	const struct redis_store *store = thread->store;
	struct place *place = place_of(thread);
	struct watch *watch = calloc(1, sizeof *watch);
	int err = 0;

	if (watch == NULL)
		return -ENOMEM;
	place->watch = watch;
	watch->thread = thread;
	watch->access = store->access;
	watch->access.db = 0; /* Sentinels have none */
	watch->access.auth_optional = true;
	uv_timer_init(thread->loop, &watch->timer);
	watch->timer.data = watch;
	uv_timer_start(&watch->timer, on_timer, OFTEN_MS, 0);
	for (size_t i = 0; err == 0 && i < store->url.hosts_n; i++)
		err = watch_one(watch, &watch->sentinels[i], &store->url.hosts[i]);
	return err;
}

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_watch(struct watch *watch)
{
	for (size_t i = 0; i < watch->n; i++) {
		struct watched *sentinel = &watch->sentinels[i];

		if (sentinel->place != NULL)
			redis_notices_leave(&watch->thread->store->notices, sentinel->place, sentinel->was_up);
		redis_conn_free(sentinel->conn);
	}
	uv_close((uv_handle_t *)&watch->timer, on_watch_closed);
}

static void on_place_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_sentinel(struct redis_thread *thread)
{
	struct place *place = place_of(thread);
	struct redis_master *shared = &thread->store->master;

	if (place == NULL)
		return;
	pthread_mutex_lock(&shared->lock);
	shared->wakes[thread->index] = NULL;
	pthread_mutex_unlock(&shared->lock);
	if (place->watch != NULL)
		close_watch(place->watch);
	uv_close((uv_handle_t *)&place->wake, on_place_closed);
	thread->place = NULL;
}

static int open_sentinel(struct redis_thread *thread)
{
	struct place *place = calloc(1, sizeof *place);
	struct redis_master *shared = &thread->store->master;
	int err;

	if (place == NULL)
		return -ENOMEM;
	place->thread = thread;
	err = uv_async_init(thread->loop, &place->wake, on_wake);
	if (err != 0) {
		free(place);
		return err;
	}
	place->wake.data = place;
	thread->place = place;
	pthread_mutex_lock(&shared->lock);
	shared->wakes[thread->index] = &place->wake;
	if (shared->host.port != 0) /* it is known already */
		uv_async_send(&place->wake);
	pthread_mutex_unlock(&shared->lock);
	return thread->index == 0 ? open_watch(thread) : 0;
}

static struct redis_node *route(struct redis_thread *thread, unsigned slot)
{
	(void)slot;
	return thread->nodes;
}

static bool complete(struct redis_thread *thread)
{
	return thread->nodes != NULL && redis_node_up(thread->nodes);
}

/* The Sentinels may know why. */
static void changed(struct redis_thread *thread, struct redis_node *node)
{
	struct watch *watch = place_of(thread)->watch;

	if (watch != NULL && !redis_node_up(node) && uv_timer_get_due_in(&watch->timer) > OFTEN_MS)
		uv_timer_start(&watch->timer, on_timer, OFTEN_MS, 0);
}

const struct redis_topology redis_sentinel = {
	.open = open_sentinel,
	.close = close_sentinel,
	.route = route,
	.complete = complete,
	.changed = changed,
};
