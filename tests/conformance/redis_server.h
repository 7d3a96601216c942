/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_server.h: a redis-server of the test's own, on a socket in a temporary directory, and one connection to it.
 * SLUICE_TEST_REDIS_SERVER in the environment names another Redis or Valkey to run.
 *
 * It ends with the test, also when that is killed.
 */
#ifndef SLUICE_TESTS_REDIS_SERVER_H
#define SLUICE_TESTS_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <sys/types.h>

struct redis_server {
	pid_t pid;
	char directory[32];
	redisContext *context;
};

/** @param options  further words of its command line, ended by NULL; may be NULL.
 *  @return 0, or -1 after saying why on standard error. */
int redis_server_start(struct redis_server *server, const char *const *options);

/** Ends it and removes its directory. */
void redis_server_stop(struct redis_server *server);

#endif
