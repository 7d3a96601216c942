/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.h: the table of the module's commands: what the server must know to call them, and what it tells about them.
 *
 * Leaves out: what they do (one file each).
 */
#ifndef SLUICE_MODULE_COMMANDS_H
#define SLUICE_MODULE_COMMANDS_H

#include <stdbool.h>

#include "redis-module/api.h"

/** Creates them, with documentation and ACL categories where the server has these. On load; what went wrong is logged.
 *  @param cl_throttle  CL.THROTTLE as well.
 *  @return REDIS_OK or REDIS_ERR. */
int commands_create(RedisModuleCtx *ctx, bool cl_throttle);

#endif
