/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heartbeat.c: one thread of a server says once a second that the server lives, and hears how many do, and whether
 * states were forgotten. At a clean end it says goodbye, so that the others need not find out.
 *
 * Leaves out: what follows from it (failure.h, deny.h).
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/redis/internal.h"

#define INTERVAL_MS 1000

/* So often in a row a smaller number is heard before it is believed. After an outage each server comes back at a moment
 * of its own, and the first hears of nobody else: if it took the whole limit for its share, more than the limit would
 * pass while the others still go by theirs. */
#define FEWER_BEATS 5

struct redis_pulse {
	struct redis_thread *thread;
	uv_timer_t timer;
	struct redis_command beat, leave;
	struct redis_node *node; /* that was asked last */
	bool beating;            /* `beat` is on its way */
	uint32_t servers;        /* as last believed; 0: never */
	unsigned fewer;          /* beats in a row that told of fewer */
	uint64_t generation;
};

static struct redis_node *holder(struct redis_thread *thread)
{
	struct redis_node *node =
		thread->topology->route(thread, redis_slot(REDIS_COMMON_TAG, sizeof REDIS_COMMON_TAG - 1));

	return node != NULL && redis_node_up(node) ? node : NULL;
}

/* A process that ran before ours has kept its word as far as it knew: see redis_store.epoch. The generation is below
 * 2^53. */
static void tell(const struct redis_pulse *pulse)
{
	const struct redis_store *store = pulse->thread->store;
	uint64_t epoch = __atomic_load_n(&store->epoch, __ATOMIC_RELAXED);

	if (store->seen != NULL)
		store->seen(store->context, pulse->servers, pulse->generation + (epoch << 53));
}

static void hear(struct redis_pulse *pulse, uint32_t servers)
{
	if (servers < pulse->servers && ++pulse->fewer < FEWER_BEATS)
		return;
	pulse->servers = servers;
	pulse->fewer = 0;
}

static void on_error(struct redis_pulse *pulse, const char *words)
{
	struct redis_error error = redis_error_read(words);
	struct redis_thread *thread = pulse->thread;
	struct redis_redirect redirect;

	if (error.kind == REDIS_ERROR_MOVED && thread->topology->redirect != NULL &&
	    redis_redirect_read(&redirect, words) == 0)
		thread->topology->redirect(thread, pulse->node, &redirect, true);
	else
		redis_node_refused(pulse->node, &error, words);
}

static void on_beaten(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_pulse *pulse = (struct redis_pulse *)((char *)command - offsetof(struct redis_pulse, beat));
	uint32_t servers;

	pulse->beating = false;
	if (error != 0) {
		pulse->fewer = 0;
		return;
	}
	if (reply->type == REDIS_REPLY_ERROR)
		on_error(pulse, reply->str);
	else if (reply->type != REDIS_REPLY_STRING ||
	         redis_heartbeat_reply(reply->str, reply->len, &servers, &pulse->generation) != 0) {
		redis_conn_drop(pulse->node->conn, -EPROTO, "what came is no reply of our script");
	} else {
		hear(pulse, servers);
		tell(pulse);
	}
}

void redis_pulse_beat(struct redis_thread *thread)
{
	struct redis_pulse *pulse = thread->pulse;
	struct redis_store *store = thread->store;
	struct redis_node *node;
	struct redis_buffer *out;

	if (pulse == NULL || pulse->beating || thread->closing)
		return;
	node = holder(thread);
	out = node != NULL ? redis_conn_begin(node->conn) : NULL;
	if (out == NULL) {
		pulse->fewer = 0;
		return;
	}
	redis_heartbeat_call(out, store->prefix, store->server_id, sizeof store->server_id - 1, INTERVAL_MS * 1000);
	pulse->node = node;
	pulse->beat.ended = on_beaten;
	pulse->beat.deadline_us = clock_mono_us() + store->timeout_us;
	pulse->beating = redis_conn_send(node->conn, &pulse->beat) == 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct redis_pulse *pulse = timer->data;

	redis_pulse_beat(pulse->thread);
}

int redis_pulse_open(struct redis_thread *thread)
{
	struct redis_pulse *pulse = calloc(1, sizeof *pulse);

	if (pulse == NULL)
		return -ENOMEM;
	pulse->thread = thread;
	uv_timer_init(thread->loop, &pulse->timer);
	pulse->timer.data = pulse;
	uv_timer_start(&pulse->timer, on_timer, INTERVAL_MS, INTERVAL_MS);
	thread->pulse = pulse;
	return 0;
}

static void on_left(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_pulse *pulse = (struct redis_pulse *)((char *)command - offsetof(struct redis_pulse, leave));

	/* Where it fails the others find out in three seconds. */
	(void)reply;
	(void)error;
	redis_thread_done(pulse->thread);
}

void redis_pulse_leave(struct redis_thread *thread)
{
	struct redis_pulse *pulse = thread->pulse;
	struct redis_node *node = pulse != NULL ? holder(thread) : NULL;
	struct redis_buffer *out = node != NULL ? redis_conn_begin(node->conn) : NULL;

	if (out == NULL)
		return;
	redis_leave_call(out, thread->store->prefix, thread->store->server_id, sizeof thread->store->server_id - 1);
	pulse->leave.ended = on_left;
	pulse->leave.deadline_us = clock_mono_us() + thread->store->timeout_us;
	if (redis_conn_send(node->conn, &pulse->leave) == 0)
		thread->undone++;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void redis_pulse_close(struct redis_thread *thread)
{
	if (thread->pulse == NULL)
		return;
	uv_close((uv_handle_t *)&thread->pulse->timer, on_closed);
	thread->pulse = NULL;
}
