/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_caller.c: another module that calls commands of ours, for the tests.
 *
 *   CALLER.CALL yes|no command [word ...]     calls it, and has its effects replicated or not. Answers OK, or ERR.
 *   CALLER.EXPIRED yes|no command [word ...]  does so when the next key expires, within the command that comes upon it.
 *                                             (On servers that forbid a callback to write one must not.) Answers OK.
 */
#include <stdbool.h>
#include <string.h>

#include "redis-module/api.h"

#define EXPORTED __attribute__((visibility("default")))

#define NOTIFY_EXPIRED (1 << 8)
#define WORDS_MAX 16

typedef int notified_function(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *name);

/* What is to be called when a key expires; none: nothing. */
static RedisModuleString *kept[WORDS_MAX];
static size_t kept_n;

/* @param words  yes|no command [word ...]. @return whether it could be called. */
static bool carry_out(RedisModuleCtx *ctx, RedisModuleString **words, size_t n)
{
	size_t len;
	bool replicated = strcmp(redis.StringPtrLen(words[0], &len), "yes") == 0;
	RedisModuleCallReply *reply =
		redis.Call(ctx, redis.StringPtrLen(words[1], &len), replicated ? "!v" : "v", words + 2, n - 2);

	if (reply == NULL)
		return false;
	redis.FreeCallReply(reply);
	return true;
}

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	if (argc < 3)
		return redis.WrongArity(ctx);
	if (!carry_out(ctx, argv + 1, (size_t)argc - 1))
		return redis.ReplyWithError(ctx, "ERR it could not be called");
	return redis.ReplyWithSimpleString(ctx, "OK");
}

static int keep(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	if (argc < 3 || argc > 1 + WORDS_MAX || kept_n > 0)
		return redis.WrongArity(ctx);
	for (kept_n = 0; kept_n < (size_t)argc - 1; kept_n++) {
		size_t len;
		const char *word = redis.StringPtrLen(argv[1 + kept_n], &len);

		kept[kept_n] = redis.CreateString(NULL, word, len);
	}
	return redis.ReplyWithSimpleString(ctx, "OK");
}

static int on_expired(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *name)
{
	size_t n = kept_n;

	(void)type;
	(void)event;
	(void)name;
	kept_n = 0; /* it may come upon others that are expired */
	if (n > 0)
		carry_out(ctx, kept, n);
	while (n > 0)
		redis.FreeString(NULL, kept[--n]);
	return REDIS_OK;
}

/* The module proper does not need it, so it is not in its table. */
static int subscribe(RedisModuleCtx *ctx)
{
	int (*get)(const char *name, void *to);
	int (*subscribe_to)(RedisModuleCtx * ctx, int types, notified_function *);

	memcpy(&get, (void *)ctx, sizeof get);
	if (get("RedisModule_SubscribeToKeyspaceEvents", &subscribe_to) != REDIS_OK)
		return REDIS_ERR;
	return subscribe_to(ctx, NOTIFY_EXPIRED, on_expired);
}

EXPORTED int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	(void)argv;
	(void)argc;
	if (api_load(ctx) != NULL)
		return REDIS_ERR;
	redis.SetModuleAttribs(ctx, "caller", 1, REDIS_API_VERSION);
	if (redis.CreateCommand(ctx, "CALLER.CALL", call, "write", 0, 0, 0) != REDIS_OK ||
	    redis.CreateCommand(ctx, "CALLER.EXPIRED", keep, "readonly", 0, 0, 0) != REDIS_OK)
		return REDIS_ERR;
	return subscribe(ctx);
}
