/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refund.c: SLUICE.REFUND: gives back what a take took.
 */
#include "redis-module/clock.h"
#include "redis-module/effects.h"
#include "redis-module/key.h"
#include "redis-module/module.h"

#define WORDS_MAX 16 /* more than any such command may have */

static int read_words(struct arguments *arguments, RedisModuleString **argv, size_t n, struct why *why)
{
	struct word words[WORDS_MAX];

	module_words(words, argv, n);
	if (arguments_read_all(arguments, &module.memo, ARGUMENT_COST | ARGUMENT_AT, words, n, why) != 0)
		return -1;
	if ((arguments->given & ARGUMENT_AT) == 0)
		return why_set(why, "AT is missing: the time of the take, which SLUICE.TAKE tells WITHTIME");
	return 0;
}

int refund_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	struct arguments arguments;
	struct sluice_decision decision;
	struct why why;
	struct key key;
	int result;

	if (argc < 7 || argc - 2 > WORDS_MAX)
		return redis.WrongArity(ctx);
	if (read_words(&arguments, argv + 2, (size_t)argc - 2, &why) != 0)
		return module_error(ctx, &why);
	effects_begin();
	key_open(&key, ctx, argv[1], REDIS_READ | REDIS_WRITE);
	result = key_read(&key, REDIS_READ | REDIS_WRITE);
	if (result == KEY_OK)
		result = key_refund(&key, &arguments.policy, module_now_us(), arguments.cost, arguments.at_us,
		                    &decision);
	key_close(&key);
	if (result != KEY_OK)
		return module_refuse(ctx, result);
	module_reply(ctx, &decision, false);
	return REDIS_OK;
}
