/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h: the whole service: opens the stores, starts the workers, minds the signals, stops in order.
 *
 * SIGTERM, SIGINT: stop accepting, finish what is in flight, flush, end. SIGHUP: read the limits anew and reopen the
 * access log.
 */
#ifndef SLUICE_SERVER_SERVER_H
#define SLUICE_SERVER_SERVER_H

#include "config/config.h"

struct server_options {
	struct config *config; /* lives as long as server_run() */
	/* Reads the configuration anew for SIGHUP. @return 0, or -1 with `error` set. */
	int (*reload)(void *context, struct config *config, struct config_error *error);
	void *context;
};

/** Serves until a signal ends it. @return the exit status: 0 after a clean stop, 1 when it could not start. */
int server_run(const struct server_options *options);

#endif
