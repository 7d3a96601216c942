/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis.c: the store as others see it, and the threads tied to it. See redis.h and internal.h.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis/internal.h"
#include "store/redis/tls.h"

#define CLIENT_NAME "sluice"
#define REFUSING_US UINT64_C(1000000) /* so long after an error reply the store does not call itself ready */

static struct redis_store *store_of(struct store *store)
{
	return (struct redis_store *)store;
}

static int submit(struct store *store, struct store_op *op)
{
	struct redis_store *redis = store_of(store);
	struct redis_thread *thread;

	if (op->thread >= redis->threads_n)
		return -EINVAL;
	thread = &redis->threads[op->thread];
	if (thread->loop == NULL)
		return -ENOTCONN;
	op->decider = STORE_BY_STORE;
	op->error = 0;
	return redis_work_submit(thread, op);
}

static bool serves_some(const struct redis_thread *thread)
{
	const struct redis_node *node = thread->nodes;

	while (node != NULL && !(node->serves && redis_node_up(node)))
		node = node->next;
	return node != NULL;
}

void redis_thread_settled(struct redis_thread *thread)
{
	__atomic_store_n(&thread->partial, !thread->closing && serves_some(thread), __ATOMIC_RELEASE);
	__atomic_store_n(&thread->complete, !thread->closing && thread->topology->complete(thread), __ATOMIC_RELEASE);
	redis_pulse_beat(thread);
}

void redis_thread_changed(struct redis_thread *thread, struct redis_node *node)
{
	thread->topology->changed(thread, node);
	redis_thread_settled(thread);
}

/* Frees what has been retired and has nothing under way; looks again as long as something has. */
static void on_reap(uv_timer_t *timer)
{
	struct redis_thread *thread = timer->data;
	struct redis_node **link = &thread->retired;

	while (*link != NULL) {
		struct redis_node *node = *link;

		if (redis_conn_waiting(node->conn) == 0 && node->parked == 0 && node->asked == 0) {
			*link = node->next;
			redis_node_free(node);
		} else {
			link = &node->next;
		}
	}
	if (thread->retired != NULL)
		uv_timer_start(timer, on_reap, REDIS_REAP_MS, 0);
}

void redis_node_retire(struct redis_node *node)
{
	struct redis_thread *thread = node->thread;
	struct redis_node **link = &thread->nodes;

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	node->retired = true;
	node->next = thread->retired;
	thread->retired = node;
	if (!thread->closing)
		uv_timer_start(&thread->reaper, on_reap, 0, 0);
}

/* The end, in a turn of its own: no callback of a connection is on the stack. */
static void on_end(uv_timer_t *timer)
{
	struct redis_thread *thread = timer->data;

	redis_pulse_close(thread);
	thread->topology->close(thread);
	while (thread->nodes != NULL)
		redis_node_retire(thread->nodes);
	while (thread->retired != NULL) {
		struct redis_node *node = thread->retired;

		thread->retired = node->next;
		redis_node_free(node);
	}
	redis_work_close(thread);
	redis_work_free(thread);
	uv_close((uv_handle_t *)timer, NULL);
	thread->loop = NULL;
}

void redis_thread_done(struct redis_thread *thread)
{
	if (--thread->undone == 0 && thread->closing)
		uv_timer_start(&thread->reaper, on_end, 0, 0);
}

static int attach(struct store *store, unsigned number, struct uv_loop_s *loop)
{
	struct redis_store *redis = store_of(store);
	struct redis_thread *thread;
	int err;

	if (number >= redis->threads_n || redis->threads[number].loop != NULL)
		return -EINVAL;
	thread = &redis->threads[number];
	thread->loop = loop;
	thread->closing = false;
	uv_timer_init(loop, &thread->reaper);
	thread->reaper.data = thread;
	redis_work_open(thread);
	err = thread->topology->open(thread);
	if (err == 0 && redis->heartbeat && number == 0)
		err = redis_pulse_open(thread);
	if (err != 0)
		on_end(&thread->reaper);
	return err;
}

static void detach(struct store *store, unsigned number)
{
	struct redis_thread *thread = &store_of(store)->threads[number];

	if (thread->loop == NULL)
		return;
	thread->closing = true;
	__atomic_store_n(&thread->complete, false, __ATOMIC_RELEASE);
	__atomic_store_n(&thread->partial, false, __ATOMIC_RELEASE);
	thread->undone++;
	redis_pulse_leave(thread);
	redis_thread_done(thread);
}

static void tend(struct store *store)
{
	(void)store; /* whatever has its time has a timer on a thread of its own */
}

static uint64_t load(const uint64_t *figure)
{
	return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

static void stats(struct store *store, struct store_stats *out)
{
	struct redis_store *redis = store_of(store);

	*out = (struct store_stats){ 0 };
	for (unsigned i = 0; i < redis->threads_n; i++) {
		const struct redis_thread *thread = &redis->threads[i];

		out->errors += load(&thread->errors);
		out->connected += load(&thread->connected);
		out->by_module += load(&thread->by_module);
		out->commands += load(&thread->conn_stats.commands);
		out->writes += load(&thread->conn_stats.writes);
		out->timeouts += load(&thread->conn_stats.timeouts);
		out->reconnects += load(&thread->conn_stats.drops);
	}
}

/* @param partly  for some keys is enough. */
static bool can_decide(struct store *store, bool partly)
{
	struct redis_store *redis = store_of(store);
	uint64_t now_us = clock_mono_us();

	for (unsigned i = 0; i < redis->threads_n; i++) {
		struct redis_thread *thread = &redis->threads[i];
		uint64_t refused_us = load(&thread->refused_us);

		if (!__atomic_load_n(partly ? &thread->partial : &thread->complete, __ATOMIC_ACQUIRE) ||
		    (refused_us != 0 && now_us < refused_us + REFUSING_US))
			return false;
	}
	return true;
}

static bool ready(struct store *store)
{
	return can_decide(store, false);
}

static bool partly_ready(struct store *store)
{
	return can_decide(store, true);
}

static void close_store(struct store *store)
{
	struct redis_store *redis = store_of(store);

	redis_notices_destroy(&redis->notices);
	pthread_mutex_destroy(&redis->master.lock);
	free(redis->master.wakes);
	free(redis->tags);
	if (redis->access.tls != NULL)
		redis_tls_free(redis->access.tls);
	sodium_memzero(&redis->url, sizeof redis->url);
	free(redis->password);
	free(redis->threads);
	free(redis);
}

static const struct store_class redis_class = {
	.name = "redis",
	.attach = attach,
	.detach = detach,
	.submit = submit,
	.tend = tend,
	.stats = stats,
	.ready = ready,
	.close = close_store,
	.partly_ready = partly_ready,
};

static const struct redis_topology *topology_of(enum redis_mode mode)
{
	switch (mode) {
	case REDIS_SENTINEL:
		return &redis_sentinel;
	case REDIS_CLUSTER:
		return &redis_cluster;
	case REDIS_SINGLE:
		break;
	}
	return &redis_single;
}

/* @return 0, or a negative errno with `why` written. */
static int set_up(struct redis_store *redis, const struct redis_store_config *config, char *why, size_t why_size)
{
	int err = redis_url_parse(&redis->url, config->url, why, why_size);

	if (err != 0)
		return err;
	redis->prefix_len = strlen(config->prefix);
	if (redis->prefix_len >= sizeof redis->prefix) {
		snprintf(why, why_size, "the prefix is longer than %zu bytes", sizeof redis->prefix - 1);
		return -EINVAL;
	}
	memcpy(redis->prefix, config->prefix, redis->prefix_len + 1);
	if (config->password != NULL)
		redis->password = strdup(config->password);
	else if (redis->url.has_password)
		redis->password = strdup(redis->url.password);
	if ((config->password != NULL || redis->url.has_password) && redis->password == NULL)
		goto no_memory;
	redis->access = (struct redis_access){ .user = redis->url.user[0] != '\0' ? redis->url.user : NULL,
		                               .password = redis->password,
		                               .db = redis->url.db,
		                               .name = CLIENT_NAME };
	if (redis->url.tls) {
		redis->access.tls = redis_tls_new(config->ca_file, config->cert_file, config->key_file, why, why_size);
		if (redis->access.tls == NULL)
			return -EINVAL;
	}
	redis->threads = aligned_alloc(_Alignof(struct redis_thread), config->threads * sizeof *redis->threads);
	redis->master.wakes = calloc(config->threads, sizeof(uv_async_t *));
	if (redis->url.mode == REDIS_CLUSTER)
		redis->tags = calloc(REDIS_SLOTS, sizeof *redis->tags);
	if (redis->threads == NULL || redis->master.wakes == NULL ||
	    (redis->url.mode == REDIS_CLUSTER && redis->tags == NULL))
		goto no_memory;
	if (redis->tags != NULL)
		redis_slot_tags(redis->tags);
	return 0;
no_memory:
	snprintf(why, why_size, "out of memory");
	return -ENOMEM;
}

static void draw_id(char id[17])
{
	unsigned char bytes[8];

	randombytes_buf(bytes, sizeof bytes);
	sodium_bin2hex(id, 17, bytes, sizeof bytes);
}

struct store *redis_store_open(const struct redis_store_config *config, char *why, size_t why_size)
{
	struct redis_store *redis = sodium_init() >= 0 ? calloc(1, sizeof *redis) : NULL;
	int err;

	if (redis == NULL || redis_notices_init(&redis->notices) != 0) {
		snprintf(why, why_size, "out of memory");
		free(redis);
		return NULL;
	}
	pthread_mutex_init(&redis->master.lock, NULL);
	redis->store.class = &redis_class;
	redis->timeout_us = config->timeout_us;
	redis->heartbeat = config->heartbeat;
	redis->seen = config->seen;
	redis->context = config->context;
	err = set_up(redis, config, why, why_size);
	if (err != 0) {
		close_store(&redis->store);
		return NULL;
	}
	draw_id(redis->server_id);
	redis->threads_n = config->threads;
	memset(redis->threads, 0, config->threads * sizeof *redis->threads);
	for (unsigned i = 0; i < redis->threads_n; i++) {
		redis->threads[i].store = redis;
		redis->threads[i].index = i;
		redis->threads[i].topology = topology_of(redis->url.mode);
	}
	return &redis->store;
}
