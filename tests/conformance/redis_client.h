/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_client.h: operations on a redis_server through script.h, at times that the test sets.
 *
 * The script is the one of the program but for lua/clock.lua, in whose place stands clock.lua of this directory.
 */
#ifndef SLUICE_TESTS_REDIS_CLIENT_H
#define SLUICE_TESTS_REDIS_CLIENT_H

#include "redis_server.h"
#include "store/store.h"

/** Decides op as a store does, all takes in one call. op->allowed is set.
 *  @return 0; a negative errno of redis_script_reply(); -EREMOTEIO when Redis answers an error, which is printed. */
int redis_client_submit(struct redis_server *server, struct store_op *op, uint64_t now_us);

/** @param reply  out: valid until freeReplyObject().
 *  @return the number of bytes of a key's state, 0 when there is none. */
size_t redis_client_state(struct redis_server *server, const char *key, redisReply **reply);

/** Writes a state as another program would. @return 0 or -1. */
int redis_client_write(struct redis_server *server, const char *key, const void *state, size_t len);

#endif
