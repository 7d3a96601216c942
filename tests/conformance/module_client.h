/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module_client.h: operations on a redis_server that has loaded our module, in the words of its commands, at times that
 * the test sets.
 *
 * The module is the one that is installed but for clock.c, in whose place stands module_clock.c of this directory.
 * Where several commands say the same, one of them is drawn.
 */
#ifndef SLUICE_TESTS_MODULE_CLIENT_H
#define SLUICE_TESTS_MODULE_CLIENT_H

#include "random.h"
#include "redis_server.h"
#include "store/store.h"

/* How much later than by their own time the keys of the test's module expire: see module_clock.c. */
#define MODULE_FAR_MS (INT64_C(1) << 43) /* 278 years */

struct module_client {
	struct redis_server *server;
	uint64_t *clock_us; /* shared with the server; NULL: the module has the server's clock */
	struct random random;
	char error[160]; /* of the last operation that failed */
};

/** Starts a server with the module of the test that SLUICE_TEST_CLOCKED_MODULE names in the environment.
 *  @param server  out.
 *  @return 0, or -1 after saying why on standard error. */
int module_client_start(struct module_client *client, struct redis_server *server, uint64_t seed);

/** Ends what module_client_start() has made. */
void module_client_stop(struct module_client *client);

/** Starts a server with the module that is installed, on the server's clock: SLUICE_TEST_MODULE names it.
 *  @return as module_client_start(). */
int module_client_start_unclocked(struct module_client *client, struct redis_server *server, uint64_t seed);

/** Decides op as a store does: takes all in one command, peeks and refunds one after the other. op->allowed is set.
 *  @param now_us  ignored when the clock is the server's.
 *  @return 0; -EIO when a state is not understood (of refunds those before it are then done); -EREMOTEIO for any other
 *          error, -EPROTO for a reply that is none of the command's, or contradicts another: client->error. */
int module_client_submit(struct module_client *client, struct store_op *op, uint64_t now_us);

#endif
