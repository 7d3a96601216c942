/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cl_throttle.c: CL.THROTTLE, the command of redis-cell. What it means is in throttle.h.
 */
#include <string.h>

#include "redis-module/clock.h"
#include "redis-module/effects.h"
#include "redis-module/key.h"
#include "redis-module/module.h"
#include "redis-module/throttle.h"

/* Decides on a copy of the state, which is small, as the key may hold a time of redis-cell in its place.
 * @return as key_take(). */
static int decide(struct key *key, const struct throttle *throttle, struct throttle_answer *answer)
{
	uint8_t before[THROTTLE_STATE_LEN], state[THROTTLE_STATE_LEN];
	uint64_t now_us = module_now_us();
	struct sluice_decision decision;

	if (throttle_adopt(state, &throttle->policy, key->state, key->len, now_us) != SLUICE_OK)
		return KEY_MALFORMED;
	memcpy(before, state, sizeof state);
	if (throttle_decide(throttle, state, now_us, &decision, answer) != SLUICE_OK)
		return KEY_MALFORMED;
	if (memcmp(before, state, sizeof state) != 0)
		key_put(key, &throttle->policy, state, sizeof state, now_us + decision.reset_after_us);
	return KEY_OK;
}

static void reply(RedisModuleCtx *ctx, const struct throttle_answer *answer)
{
	redis.ReplyWithArray(ctx, 5);
	redis.ReplyWithLongLong(ctx, answer->limited);
	redis.ReplyWithLongLong(ctx, answer->limit);
	redis.ReplyWithLongLong(ctx, answer->remaining);
	redis.ReplyWithLongLong(ctx, answer->retry_s);
	redis.ReplyWithLongLong(ctx, answer->reset_s);
}

int cl_throttle_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	struct word words[THROTTLE_WORDS_MAX];
	struct throttle_answer answer;
	struct throttle throttle;
	struct why why;
	struct key key;
	int result;

	if (argc < 2 + THROTTLE_WORDS_MIN || argc > 2 + THROTTLE_WORDS_MAX)
		return redis.WrongArity(ctx);
	module_words(words, argv + 2, (size_t)argc - 2);
	if (throttle_read(&throttle, words, (size_t)argc - 2, &why) != 0)
		return module_error(ctx, &why);
	effects_begin();
	key_open(&key, ctx, argv[1], REDIS_READ | REDIS_WRITE);
	result = key_read(&key, REDIS_READ | REDIS_WRITE);
	if (result == KEY_OK)
		result = decide(&key, &throttle, &answer);
	key_close(&key);
	if (result != KEY_OK)
		return module_refuse(ctx, result);
	if (!throttle.gives_back) {
		module.decisions++;
		module.denials += (uint64_t)answer.limited;
	}
	reply(ctx, &answer);
	return REDIS_OK;
}
