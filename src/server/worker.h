/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h: one thread, one event loop, one listening socket, one share of the connections.
 *
 * Workers share the stores and nothing else; what others want of a worker goes through its mailbox.
 */
#ifndef SLUICE_SERVER_WORKER_H
#define SLUICE_SERVER_WORKER_H

#include <semaphore.h>

#include "app/app.h"

struct worker;

struct worker_config {
	struct app *app; /* outlives the worker */
	size_t index;
	struct http_config http;
	struct access_log *access; /* NULL: off; outlives the worker */
	struct limits *limits;     /* held by the worker from now on */
	uint64_t shutdown_timeout_us;
};

/** Starts the thread, which begins to reach for the stores. @return NULL with errno set. */
struct worker *worker_start(const struct worker_config *config);

/** From now on it accepts connections. Any thread, once. */
void worker_serve(struct worker *worker);

/** Puts other limits in force for requests that begin from now on. @param limits  the worker takes over one hold.
 *  @param taken  posted by the worker's thread when they are in force; must live until then.
 *  @return 0, or -ENOMEM (the hold is dropped, nothing is posted). Any thread. */
int worker_set_limits(struct worker *worker, struct limits *limits, sem_t *taken);

/** Asks it to stop: no new connections, finish what is in flight (for shutdown_timeout_us at most). Any thread, once.
 */
void worker_stop(struct worker *worker);

/** Waits for its end. @return requests that were cut off. Then frees it. */
size_t worker_join(struct worker *worker);

#endif
