/* SPDX-License-Identifier: Apache-2.0 */
/*
 * take.c: SLUICE.TAKE and SLUICE.PEEK: one key.
 */
#include "redis-module/clock.h"
#include "redis-module/effects.h"
#include "redis-module/key.h"
#include "redis-module/module.h"

#define WORDS_MAX 16 /* more than any such command may have */

/* Answers for one key. @param peek  look only. */
static int decide(RedisModuleCtx *ctx, RedisModuleString *name, const struct arguments *arguments, int mode, bool peek)
{
	uint64_t now_us = module_now_us();
	struct sluice_decision decision;
	struct key key;
	int result;

	key_open(&key, ctx, name, mode);
	result = key_read(&key, mode);
	if (result == KEY_OK) {
		result = peek ? key_peek(&key, &arguments->policy, now_us, arguments->cost, &decision)
		              : key_take(&key, &arguments->policy, now_us, arguments->cost, &decision);
	}
	key_close(&key);
	if (result != KEY_OK)
		return module_refuse(ctx, result);
	module_count(&decision);
	module_reply(ctx, &decision, (arguments->given & ARGUMENT_WITHTIME) != 0);
	return REDIS_OK;
}

static int take_or_peek(RedisModuleCtx *ctx, RedisModuleString **argv, int argc, unsigned allowed, int mode)
{
	struct arguments arguments;
	struct word words[WORDS_MAX];
	struct why why;

	if (argc < 5 || argc - 2 > WORDS_MAX)
		return redis.WrongArity(ctx);
	module_words(words, argv + 2, (size_t)argc - 2);
	if (arguments_read_all(&arguments, &module.memo, allowed, words, (size_t)argc - 2, &why) != 0)
		return module_error(ctx, &why);
	return decide(ctx, argv[1], &arguments, mode, mode == REDIS_READ || (arguments.given & ARGUMENT_PEEK) != 0);
}

int take_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	effects_begin();
	return take_or_peek(ctx, argv, argc, ARGUMENT_COST | ARGUMENT_PEEK | ARGUMENT_WITHTIME,
	                    REDIS_READ | REDIS_WRITE);
}

int peek_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	return take_or_peek(ctx, argv, argc, ARGUMENT_COST, REDIS_READ);
}
