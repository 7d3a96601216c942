/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key.h: the state that a key of the server holds: open it, decide on it, keep its expiry.
 *
 * A key is opened for one command and closed by it. Nothing else may open, change or delete the same key meanwhile: the
 * server's handle keeps the value by its address. Keyspace events are therefore told when it is closed, as they run
 * functions of other modules.
 *
 * Leaves out: who must be told of a change (effects.h).
 */
#ifndef SLUICE_MODULE_KEY_H
#define SLUICE_MODULE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis-module/api.h"
#include "redis-module/effects.h"
#include "sluice/limiter.h"

struct key {
	RedisModuleCtx *ctx;
	RedisModuleString *name;
	RedisModuleKey *handle; /* NULL: opened for reading, and not there */
	uint8_t *state;         /* in the server's own memory; NULL: none */
	size_t len;
	struct news news;
};

enum { KEY_OK = 0, KEY_WRONGTYPE = -1, KEY_MALFORMED = -2 };

/** Looks a key up. Must be read with key_read() before anything else.
 *  @param mode  REDIS_READ, or REDIS_READ | REDIS_WRITE. */
void key_open(struct key *key, RedisModuleCtx *ctx, RedisModuleString *name, int mode);

/** Finds the state. Apart from key_open() because it waits for other memory: many keys are opened, then many read.
 *  @return KEY_OK or KEY_WRONGTYPE. */
int key_read(struct key *key, int mode);

/** @return KEY_OK with the decision, or KEY_MALFORMED. Changes nothing. */
int key_peek(const struct key *key, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
             struct sluice_decision *out);

/** Takes, and when that is allowed lets the key live for as long as the state needs, and tells all who listen.
 *  @return KEY_OK with the decision, or KEY_MALFORMED with nothing changed. */
int key_take(struct key *key, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
             struct sluice_decision *out);

/** Gives back what an earlier take took: sluice_refund(). If that changed anything, all who listen are told; the key
 *  expires when it would have.
 *  @return KEY_OK with the situation after it, as key_peek() with cost 1; or KEY_MALFORMED with nothing changed. */
int key_refund(struct key *key, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost, uint64_t at_us,
               struct sluice_decision *out);

/** Puts another state of the policy in the place of what the key holds, lets the key live for as long as the state
 * needs, and tells all who listen.
 *  @param until_us  when the state may be forgotten. */
void key_put(struct key *key, const struct sluice_policy *policy, const void *state, size_t len, uint64_t until_us);

/** Closes the key and tells what has become of it. Of several that are open, each must be released before the first is
 *  told of: key_release() all, then key_tell() all. */
void key_close(struct key *key);

/** The first half of key_close(). */
void key_release(struct key *key);

/** The second half. */
void key_tell(const struct key *key);

#endif
