/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"

#define TICK_MS 100

struct worker {
	struct worker_config config;
	struct app_worker app;
	struct mailbox mailbox;
	uv_loop_t loop;
	uv_timer_t tick;
	struct http_daemon *http;
	pthread_t thread;
	struct letter serve, stop;
	uint64_t stop_at_us; /* 0: serving */
	size_t cut_off;
};

struct new_limits {
	struct letter letter;
	struct worker *worker;
	struct limits *limits;
	sem_t *taken;
};

static void finish(struct worker *worker)
{
	uv_timer_stop(&worker->tick);
	uv_close((uv_handle_t *)&worker->tick, NULL);
	http_close(worker->http);
	worker->http = NULL;
	store_detach(worker->config.app->store, (unsigned)worker->config.index);
	links_detach(worker->config.app->links, (unsigned)worker->config.index);
	mailbox_close(&worker->mailbox);
}

static void on_tick(uv_timer_t *tick)
{
	struct worker *worker = tick->data;
	uint64_t now_us = clock_mono_us();

	worker->app.wall_us = clock_wall_us();
	store_tend(worker->config.app->store);
	if (worker->app.access != NULL)
		access_log_flush(worker->app.access);
	http_tend(worker->http, now_us);
	if (worker->stop_at_us == 0)
		return;
	/* Whoever waits for a database is waited for, also past the time: the database will answer, if only that it
	 * can't, and its answer needs this thread. */
	if ((http_in_flight(worker->http) == 0 && !http_expecting(worker->http, now_us)) ||
	    (now_us >= worker->stop_at_us && http_waiting(worker->http) == 0)) {
		worker->cut_off = http_in_flight(worker->http);
		finish(worker);
	}
}

static void on_serve(struct letter *letter)
{
	struct worker *worker = (struct worker *)((char *)letter - offsetof(struct worker, serve));

	http_serve(worker->http);
}

static void on_stop(struct letter *letter)
{
	struct worker *worker = (struct worker *)((char *)letter - offsetof(struct worker, stop));

	worker->stop_at_us = clock_mono_us() + worker->config.shutdown_timeout_us;
	http_drain(worker->http);
	on_tick(&worker->tick);
}

static void on_limits(struct letter *letter)
{
	struct new_limits *new = (struct new_limits *)letter;

	limits_drop(new->worker->app.limits);
	new->worker->app.limits = new->limits;
	sem_post(new->taken);
	free(new);
}

static void *thread_main(void *arg)
{
	struct worker *worker = arg;

	uv_run(&worker->loop, UV_RUN_DEFAULT);
	limits_drop(worker->app.limits);
	return NULL;
}

/* Everything that can fail, done before there is a thread. */
static int set_up(struct worker *worker)
{
	int err = uv_loop_init(&worker->loop);

	if (err != 0)
		return err;
	err = mailbox_open(&worker->mailbox, &worker->loop);
	if (err != 0)
		return err;
	uv_timer_init(&worker->loop, &worker->tick);
	worker->tick.data = worker;
	uv_timer_start(&worker->tick, on_tick, TICK_MS, TICK_MS);
	if (worker->config.access != NULL) {
		worker->app.access = access_log_writer(worker->config.access);
		if (worker->app.access == NULL)
			return -errno;
	}
	err = store_attach(worker->config.app->store, (unsigned)worker->config.index, &worker->loop);
	if (err == 0)
		err = links_attach(worker->config.app->links, (unsigned)worker->config.index, &worker->loop);
	if (err != 0)
		return err;
	worker->http = http_open(&worker->loop, &worker->config.http, &app_handler, &worker->app);
	return worker->http != NULL ? 0 : -errno;
}

struct worker *worker_start(const struct worker_config *config)
{
	struct worker *worker = calloc(1, sizeof *worker);
	int err;

	if (worker == NULL)
		return NULL;
	worker->config = *config;
	worker->serve.deliver = on_serve;
	worker->stop.deliver = on_stop;
	worker->app = (struct app_worker){ .app = config->app,
		                           .index = config->index,
		                           .limits = config->limits,
		                           .mailbox = &worker->mailbox,
		                           .wall_us = clock_wall_us() };
	err = set_up(worker);
	if (err == 0)
		err = -pthread_create(&worker->thread, NULL, thread_main, worker);
	if (err != 0) { /* the program ends for this; the pieces go with it */
		errno = -err;
		return NULL;
	}
	return worker;
}

int worker_set_limits(struct worker *worker, struct limits *limits, sem_t *taken)
{
	struct new_limits *new = malloc(sizeof *new);

	if (new == NULL) {
		limits_drop(limits);
		return -ENOMEM;
	}
	*new = (struct new_limits){ .letter.deliver = on_limits, .worker = worker, .limits = limits, .taken = taken };
	mailbox_post(&worker->mailbox, &new->letter);
	return 0;
}

void worker_serve(struct worker *worker)
{
	mailbox_post(&worker->mailbox, &worker->serve);
}

void worker_stop(struct worker *worker)
{
	mailbox_post(&worker->mailbox, &worker->stop);
}

size_t worker_join(struct worker *worker)
{
	size_t cut_off;

	pthread_join(worker->thread, NULL);
	uv_loop_close(&worker->loop);
	cut_off = worker->cut_off;
	free(worker);
	return cut_off;
}
