/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_caller.c: another module that calls commands of ours, for the tests.
 *
 *   CALLER.CALL yes|no command [word ...]   calls it, and has its effects replicated or not. Answers OK, or ERR.
 */
#include <stdbool.h>
#include <string.h>

#include "redis-module/api.h"

#define EXPORTED __attribute__((visibility("default")))

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	RedisModuleCallReply *reply;
	bool replicated;
	const char *name;
	size_t len;

	if (argc < 3)
		return redis.WrongArity(ctx);
	replicated = strcmp(redis.StringPtrLen(argv[1], &len), "yes") == 0;
	name = redis.StringPtrLen(argv[2], &len);
	reply = redis.Call(ctx, name, replicated ? "!v" : "v", argv + 3, (size_t)argc - 3);
	if (reply == NULL)
		return redis.ReplyWithError(ctx, "ERR it could not be called");
	redis.FreeCallReply(reply);
	return redis.ReplyWithSimpleString(ctx, "OK");
}

EXPORTED int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	(void)argv;
	(void)argc;
	if (api_load(ctx) != NULL)
		return REDIS_ERR;
	redis.SetModuleAttribs(ctx, "caller", 1, REDIS_API_VERSION);
	return redis.CreateCommand(ctx, "CALLER.CALL", call, "write", 0, 0, 0);
}
