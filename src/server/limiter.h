/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter.h: the limiter that the configuration asks for: where states live, what is remembered in front of it, and
 * who decides in its stead.
 */
#ifndef SLUICE_SERVER_LIMITER_H
#define SLUICE_SERVER_LIMITER_H

#include <stddef.h>

#include "config/config.h"

struct limiter {
	struct store *store; /* NULL: not open */
	struct store *deny;  /* within it; NULL: none */
	const struct config *config;
};

struct redis_store_config; /* store/redis/redis.h */

/** Opens the Redis that the configuration names, and says in the log what is wrong where it can't.
 *  @param redis  what is not told by the configuration: threads, seen, context, heartbeat. The rest is filled in.
 *  @return a store with nothing in front, or NULL. */
struct store *limiter_open_redis(const struct config *config, struct redis_store_config *redis);

/** Opens it and says in the log what is wrong where it can't. A distant store need not be there yet.
 *  @param limiter  out; stays where it is until limiter_close().
 *  @return 0 or -1. */
int limiter_open(struct limiter *limiter, const struct config *config, size_t threads);

/** Waits a moment until decisions can be had of the store, and says in the log when it goes on without. The threads
 *  run. */
void limiter_wait(const struct limiter *limiter);

/** When all threads have ended. */
void limiter_close(struct limiter *limiter);

#endif
