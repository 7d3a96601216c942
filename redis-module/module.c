/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module.c: loads and unloads the module, and what its commands share in their answers.
 */
#include "redis-module/module.h"

#include <stdio.h>
#include <string.h>

#include "redis-module/commands.h"
#include "redis-module/effects.h"
#include "redis-module/key.h"
#include "redis-module/options.h"
#include "redis-module/unload.h"

#define EXPORTED __attribute__((visibility("default")))

struct module module;

int module_error(RedisModuleCtx *ctx, const struct why *why)
{
	char text[sizeof why->text + 8];

	module.errors++;
	snprintf(text, sizeof text, "ERR %s", why->text);
	return redis.ReplyWithError(ctx, text);
}

int module_refuse(RedisModuleCtx *ctx, int result)
{
	module.errors++;
	if (result == KEY_WRONGTYPE)
		return redis.ReplyWithError(ctx, REDIS_WRONGTYPE);
	return redis.ReplyWithError(ctx,
	                            "ERR key holds no state that this version understands; DEL it, or use another key");
}

void module_count(const struct sluice_decision *decision)
{
	module.decisions++;
	module.denials += !decision->allowed;
}

void module_words(struct word *words, RedisModuleString **argv, size_t n)
{
	for (size_t i = 0; i < n; i++)
		words[i].at = redis.StringPtrLen(argv[i], &words[i].len);
}

void module_reply(RedisModuleCtx *ctx, const struct sluice_decision *decision, bool with_time)
{
	redis.ReplyWithArray(ctx, with_time ? 6 : 5);
	redis.ReplyWithLongLong(ctx, decision->allowed);
	redis.ReplyWithLongLong(ctx, decision->limit);
	redis.ReplyWithLongLong(ctx, decision->remaining);
	redis.ReplyWithLongLong(ctx,
	                        decision->retry_after_us == SLUICE_NEVER ? -1 : (long long)decision->retry_after_us);
	redis.ReplyWithLongLong(ctx, (long long)decision->reset_after_us);
	if (with_time)
		redis.ReplyWithLongLong(ctx, (long long)decision->at_us);
}

#define OPTION_WORDS_MAX 16

/* Reads the module's arguments; what is wrong with them is logged. */
static int read_options(struct options *options, RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	struct word words[OPTION_WORDS_MAX];
	struct why why;
	size_t n =
		(size_t)argc < OPTION_WORDS_MAX ? (size_t)argc : OPTION_WORDS_MAX; /* so many are wrong in any case */

	module_words(words, argv, n);
	if (options_read(options, words, n, &why) == 0)
		return REDIS_OK;
	redis.Log(ctx, "warning", "not loaded: %s", why.text);
	return REDIS_ERR;
}

EXPORTED int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
EXPORTED int RedisModule_OnUnload(RedisModuleCtx *ctx);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	const char *lacking = api_load(ctx);
	struct options options;

	if (lacking != NULL) {
		fprintf(stderr, "sluice: this server has no RedisModule_%s; Redis 6.0 or Valkey 7.2 is needed\n",
		        lacking);
		return REDIS_ERR;
	}
	if (redis.IsModuleNameBusy(MODULE_NAME)) {
		/* The other one may be this very library, whose variables are in use. */
		redis.Log(ctx, "warning", "not loaded: there is a module " MODULE_NAME " already");
		return REDIS_ERR;
	}
	memset(&module, 0, sizeof module);
	redis.SetModuleAttribs(ctx, MODULE_NAME, 1, REDIS_API_VERSION);
	redis.SetModuleOptions(ctx, REDIS_NO_IMPLICIT_SIGNAL);
	if (read_options(&options, ctx, argv, argc) != REDIS_OK ||
	    commands_create(ctx, options.cl_throttle) != REDIS_OK ||
	    redis.RegisterInfoFunc(ctx, info_section) != REDIS_OK)
		return REDIS_ERR;
	if (redis.missing[0] != '\0')
		redis.Log(ctx, "notice", "this server lacks: %s; everything works without", redis.missing);
	return effects_open(ctx);
}

int RedisModule_OnUnload(RedisModuleCtx *ctx)
{
	if (unload_prepare(ctx) != REDIS_OK)
		return REDIS_ERR;
	effects_close();
	return REDIS_OK;
}
