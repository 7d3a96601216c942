/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reset.c: SLUICE.RESET: forgets states, and nothing but states.
 */
#include "core/state.h"
#include "redis-module/effects.h"
#include "redis-module/key.h"
#include "redis-module/module.h"
#include "redis-module/throttle.h"

/* By its first bytes: to forget a state is also how to be rid of one that was damaged further behind. An empty string
 * is an empty state. */
static bool is_state(const struct key *key)
{
	static const struct sluice_policy none; /* to which every state is a foreign one */

	if (key->len < STATE_BODY)
		return key->len == 0;
	return state_kind_foreign(key->state, &none) == STATE_EMPTY || throttle_left_behind(key->state, key->len);
}

/* @return KEY_OK when it may be forgotten, or is not there. */
static int check(RedisModuleCtx *ctx, RedisModuleString *name)
{
	struct key key;
	int result;

	key_open(&key, ctx, name, REDIS_READ);
	result = key_read(&key, REDIS_READ);
	if (result == KEY_OK && !is_state(&key))
		result = KEY_MALFORMED;
	key_close(&key);
	return result;
}

/* @return whether it was there. */
static bool forget(RedisModuleCtx *ctx, RedisModuleString *name)
{
	struct key key;
	bool there;

	key_open(&key, ctx, name, REDIS_READ | REDIS_WRITE);
	there = redis.KeyType(key.handle) != REDIS_TYPE_EMPTY;
	if (there)
		redis.DeleteKey(key.handle);
	key_close(&key);
	if (there)
		effect_delete(ctx, name);
	return there;
}

int reset_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	long long forgotten = 0;

	if (argc < 2)
		return redis.WrongArity(ctx);
	for (int i = 1; i < argc; i++) {
		int result = check(ctx, argv[i]);

		if (result != KEY_OK)
			return module_refuse(ctx, result);
	}
	for (int i = 1; i < argc; i++)
		forgotten += forget(ctx, argv[i]);
	return redis.ReplyWithLongLong(ctx, forgotten);
}
