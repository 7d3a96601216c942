/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unload.h: whether the server survives that the module goes. Servers keep commands by their address in places where
 * they do not look for them when a module is unloaded.
 */
#ifndef SLUICE_MODULE_UNLOAD_H
#define SLUICE_MODULE_UNLOAD_H

#include "redis-module/api.h"

/** Sees to it that nobody is left who would use what goes.
 *
 *  Commands that are queued in a transaction are carried out by their address (redis/redis issue 4826): while there are
 *  any, whosever they are, the module stays; so it does while commands of ours are held up (CLIENT PAUSE), which Redis
 *  7.2 and later and Valkey have looked up by then. And Redis 8 takes the last command of a connection once more when
 *  the next has the same name: connections whose last command was ours are closed.
 *
 *  @return REDIS_OK, or REDIS_ERR after logging why the module stays. */
int unload_prepare(RedisModuleCtx *ctx);

#endif
