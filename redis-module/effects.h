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

/* What is to be told when the key is closed. */
struct news {
	uint8_t events;    /* enum news_event, or'ed */
	int64_t expiry_ms; /* to be set by then; 0: none */
};

enum news_event { NEWS_SET = 1, NEWS_SETRANGE = 2, NEWS_EXPIRE = 4 };

struct effect {
	bool fresh;        /* the string is a new one */
	uint32_t appended; /* the change is a take of so many units; 0: any change */
	int64_t expiry_ms; /* the key's new expiry, which a fresh one needs; 0: as it was */
	/* Of the state before: effect_before(). */
	uint32_t capacity, count;
};

/** Remembers of the state as it is before a change what effect_write() needs. The other members are the caller's. */
void effect_before(struct effect *effect, const struct key *key);

/** The state in the key has changed: sets the expiry, and tells replicas, the append-only file and who watches the key.
 *  The rest is put into key->news. */
void effect_write(const struct effect *effect, struct key *key);

/** Tells the keyspace events. No key may be open. */
void effect_tell(const struct news *news, RedisModuleCtx *ctx, RedisModuleString *name);

/** Tells them that the key is gone. */
void effect_delete(RedisModuleCtx *ctx, RedisModuleString *name);

/** Begins a command that may change something: forgets what was known of listeners where it holds no longer. */
void effects_begin(void);

/** Finds out what the server offers. Once, on load. @return REDIS_OK or REDIS_ERR. */
int effects_open(RedisModuleCtx *ctx);

/** On unload. */
void effects_close(void);

#endif
