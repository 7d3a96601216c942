/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c: the states of a connection, its commands and their deadlines. See conn.h.
 */
#include "store/redis/conn.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis/backoff.h"
#include "store/redis/conn_internal.h"

#define WELL_AFTER_US UINT64_C(5000000) /* up for so long: the backoff starts over */
#define NEVER UINT64_MAX

static void on_timer(uv_timer_t *timer);

/* Makes the timer fire at `due_us`. libuv counts milliseconds from the start of the turn, so it may fire early by
 * what the turn has lasted: on_timer() then looks again. */
static void arm(struct redis_conn *conn, uint64_t due_us)
{
	uint64_t now_us = clock_mono_us();

	conn->due_us = due_us;
	if (due_us == NEVER)
		uv_timer_stop(&conn->timer);
	else
		uv_timer_start(&conn->timer, on_timer, due_us > now_us ? (due_us - now_us + 999) / 1000 : 0, 0);
}

static uint64_t earliest_deadline_us(const struct redis_conn *conn)
{
	uint64_t earliest_us = NEVER;

	if (conn->state != CONN_UP)
		earliest_us = conn->attempt_until_us;
	for (const struct redis_command *command = conn->first; command != NULL; command = command->next) {
		if (command->deadline_us < earliest_us)
			earliest_us = command->deadline_us;
	}
	return earliest_us;
}

/* Something may be too late. What has come in the meantime, while this thread was busy elsewhere, is not. */
static void look_at_deadlines(struct redis_conn *conn)
{
	struct redis_link *link = conn->link;
	uint64_t due_us;

	if (conn->waiting > 0) {
		conn_io_read(link);
		if (conn->link != link)
			return;
	}
	due_us = earliest_deadline_us(conn);
	if (due_us > clock_mono_us())
		arm(conn, due_us);
	else if (conn->state == CONN_LINKING && conn->link->tls != NULL)
		conn_fail(conn, -ETIMEDOUT, "no TLS handshake in time; it may speak no TLS on this port");
	else if (conn->state == CONN_LINKING)
		conn_fail(conn, -ETIMEDOUT, "no connection in time");
	else
		conn_fail(conn, -ETIMEDOUT, "no answer in time");
}

static void on_timer(uv_timer_t *timer)
{
	struct redis_conn *conn = timer->data;
	uint64_t now_us = clock_mono_us();

	if (conn->due_us > now_us) {
		arm(conn, conn->due_us);
		return;
	}
	conn->due_us = NEVER;
	if (conn->state != CONN_DOWN) {
		look_at_deadlines(conn);
		return;
	}
	conn->state = CONN_LINKING;
	conn->attempt_until_us = now_us + conn->config.timeout_us;
	arm(conn, conn->attempt_until_us);
	conn_link_open(conn);
}

/* Requests are handled in the poll phase, after which comes check; what timers and others send leaves before the loop
 * sleeps again. */
static void end_turn(struct redis_conn *conn)
{
	if (conn->state == CONN_UP && conn->config.gather != NULL)
		conn->config.gather(conn, conn->config.context);
	conn_io_flush(conn);
}

static void on_check(uv_check_t *check)
{
	end_turn(check->data);
}

static void on_prepare(uv_prepare_t *prepare)
{
	end_turn(prepare->data);
}

/* Ends a list that is no longer the connection's. */
static void end_all(struct redis_conn *conn, int error)
{
	struct redis_command *command = conn->first, *next;
	uint64_t now_us = error == -ETIMEDOUT ? clock_mono_us() : 0;

	conn->first = NULL;
	conn->last = &conn->first;
	conn->waiting = 0;
	for (; command != NULL; command = next) {
		bool late = error == -ETIMEDOUT && command->deadline_us <= now_us;

		next = command->next;
		conn_count(&conn->config.stats->timeouts, late);
		command->ended(command, NULL, error == -ETIMEDOUT && !late ? -ECONNRESET : error);
	}
}

/* CONN_DOWN, with the next attempt planned. */
static void go_down(struct redis_conn *conn)
{
	uint64_t now_us = clock_mono_us();
	bool was_up = conn->state == CONN_UP;

	conn_count(&conn->config.stats->drops, was_up);
	if (was_up && now_us - conn->up_since_us >= WELL_AFTER_US)
		conn->failed = 0;
	conn->state = CONN_DOWN;
	conn_link_close(conn);
	redis_buffer_clear(&conn->out, CONN_OUTPUT_KEEP);
	conn->sent = 0;
	arm(conn, now_us + redis_backoff_us(conn->failed, conn->config.backoff_max_us, randombytes_random()));
	if (conn->failed < 64)
		conn->failed++;
}

static void give_up(struct redis_conn *conn, int error, const char *why)
{
	if (conn->state == CONN_DOWN || conn->state == CONN_FREED)
		return;
	go_down(conn);
	end_all(conn, error);
	if (conn->state != CONN_FREED && conn->config.changed != NULL)
		conn->config.changed(conn, error, why, conn->config.context);
}

void conn_fail(struct redis_conn *conn, int error, const char *format, ...)
{
	char why[CONN_WHY_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	give_up(conn, error, why);
}

void redis_conn_drop(struct redis_conn *conn, int error, const char *why)
{
	give_up(conn, error, why);
}

void conn_linked(struct redis_conn *conn)
{
	conn->state = CONN_HANDSHAKE;
	conn_handshake(conn);
}

void conn_introduced(struct redis_conn *conn)
{
	conn->state = CONN_GREETING;
	if (conn->config.greet != NULL)
		conn->config.greet(conn, conn->config.context);
	else
		redis_conn_ready(conn);
}

void redis_conn_ready(struct redis_conn *conn)
{
	if (conn->state != CONN_GREETING)
		return;
	conn->state = CONN_UP;
	conn->up_since_us = clock_mono_us();
	if (conn->config.changed != NULL)
		conn->config.changed(conn, 0, "connected", conn->config.context);
}

void conn_reply(struct redis_conn *conn, const struct redisReply *reply)
{
	struct redis_command *command = conn->first;

	if (command == NULL) {
		conn_fail(conn, -EPROTO, "a reply came that nobody had asked for");
		return;
	}
	conn->first = command->next;
	if (conn->first == NULL)
		conn->last = &conn->first;
	conn->waiting--;
	command->ended(command, reply, 0);
}

struct redis_buffer *redis_conn_begin(struct redis_conn *conn)
{
	if (conn->state < CONN_HANDSHAKE || conn->state > CONN_UP || conn->waiting >= CONN_WAITING_MAX ||
	    conn->out.len - conn->sent >= CONN_OUTPUT_MAX)
		return NULL;
	conn->begun = conn->out.len;
	return &conn->out;
}

int redis_conn_send(struct redis_conn *conn, struct redis_command *command)
{
	if (conn->out.failed) {
		redis_buffer_cut(&conn->out, conn->begun);
		return -ENOMEM;
	}
	command->next = NULL;
	*conn->last = command;
	conn->last = &command->next;
	conn->waiting++;
	conn_count(&conn->config.stats->commands, 1);
	if (command->deadline_us < conn->due_us)
		arm(conn, command->deadline_us);
	return 0;
}

bool redis_conn_up(const struct redis_conn *conn)
{
	return conn->state == CONN_UP;
}

size_t redis_conn_waiting(const struct redis_conn *conn)
{
	return conn->waiting;
}

const char *redis_conn_name(const struct redis_conn *conn)
{
	return conn->name;
}

static void free_memory(struct redis_conn *conn)
{
	redis_buffer_free(&conn->out);
	free(conn->host);
	free(conn->name);
	free(conn);
}

struct redis_conn *redis_conn_new(const struct redis_conn_config *config)
{
	struct redis_conn *conn = calloc(1, sizeof *conn);
	size_t host_size = strlen(config->host) + 1, name_size = host_size + sizeof "[]:65535";

	if (conn == NULL)
		return NULL;
	conn->config = *config;
	conn->host = malloc(host_size);
	conn->name = malloc(name_size);
	if (conn->host == NULL || conn->name == NULL) {
		free_memory(conn);
		errno = ENOMEM;
		return NULL;
	}
	memcpy(conn->host, config->host, host_size);
	snprintf(conn->name, name_size, strchr(config->host, ':') != NULL ? "[%s]:%u" : "%s:%u", config->host,
	         config->port);
	conn->config.host = conn->host;
	conn->last = &conn->first;
	uv_timer_init(config->loop, &conn->timer);
	uv_check_init(config->loop, &conn->check);
	uv_prepare_init(config->loop, &conn->prepare);
	conn->timer.data = conn->check.data = conn->prepare.data = conn;
	conn->handles = 3;
	uv_check_start(&conn->check, on_check);
	uv_prepare_start(&conn->prepare, on_prepare);
	arm(conn, 0);
	return conn;
}

static void on_closed(uv_handle_t *handle)
{
	struct redis_conn *conn = handle->data;

	if (--conn->handles == 0)
		free_memory(conn);
}

void redis_conn_free(struct redis_conn *conn)
{
	if (conn->link != NULL)
		conn_link_close(conn);
	conn->state = CONN_FREED;
	end_all(conn, -ECANCELED);
	uv_close((uv_handle_t *)&conn->timer, on_closed);
	uv_close((uv_handle_t *)&conn->check, on_closed);
	uv_close((uv_handle_t *)&conn->prepare, on_closed);
}
