/* SPDX-License-Identifier: Apache-2.0 */
/*
 * effects.h: what follows a change of a key: its expiry, the plain commands that replicas and the append-only file get,
 * keyspace events, and those who watch the key.
 *
 * Leaves out: deciding (key.h).
 */
#ifndef SLUICE_MODULE_EFFECTS_H
#define SLUICE_MODULE_EFFECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "redis-module/api.h"

struct key;

struct effect {
	bool fresh;        /* the string is a new one */
	uint32_t appended; /* the change is a take of so many units; 0: any change */
	int64_t expiry_ms; /* the key's new expiry, which a fresh one needs; 0: as it was */
	/* Of the state before: effect_before(). */
	uint32_t capacity, count;
};

/** Remembers of the state as it is before a change what effect_write() needs. The other members are the caller's. */
void effect_before(struct effect *effect, const struct key *key);

/** The state in the key has changed: sets the expiry, and tells all who must know. */
void effect_write(const struct effect *effect, RedisModuleCtx *ctx, const struct key *key);

/** Tells them that the key is gone. */
void effect_delete(RedisModuleCtx *ctx, RedisModuleString *name);

/** Begins a command that may change something: forgets what was known of listeners where it holds no longer. */
void effects_begin(void);

/** Finds out what the server offers. Once, on load. @return REDIS_OK or REDIS_ERR. */
int effects_open(RedisModuleCtx *ctx);

/** On unload. */
void effects_close(void);

#endif
