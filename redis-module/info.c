/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info.c: what the module tells of itself: SLUICE.INFO for programs, a section of INFO for operators.
 */
#include <string.h>

#include "redis-module/module.h"
#include "redis-module/packed.h"
#include "sluice/limiter.h"

static void reply_text(RedisModuleCtx *ctx, const char *name, const char *text)
{
	redis.ReplyWithStringBuffer(ctx, name, strlen(name));
	redis.ReplyWithStringBuffer(ctx, text, strlen(text));
}

static void reply_number(RedisModuleCtx *ctx, const char *name, uint64_t number)
{
	redis.ReplyWithStringBuffer(ctx, name, strlen(name));
	redis.ReplyWithLongLong(ctx, (long long)number);
}

int info_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	if (argc != 1)
		return redis.WrongArity(ctx);
	redis.ReplyWithArray(ctx, 14);
	reply_text(ctx, "version", SLUICE_VERSION);
	reply_number(ctx, "state_format", SLUICE_STATE_FORMAT);
	reply_number(ctx, "packed_format", PACKED_FORMAT);
	reply_number(ctx, "decisions", module.decisions);
	reply_number(ctx, "denials", module.denials);
	reply_number(ctx, "errors", module.errors);
	reply_text(ctx, "missing", redis.missing);
	return REDIS_OK;
}

void info_section(RedisModuleInfoCtx *ctx, int for_crash_report)
{
	/* Under the module's own name, which the server also writes in front of each field. */
	if (redis.InfoAddSection(ctx, "") != REDIS_OK)
		return; /* another section was asked for */
	redis.InfoAddFieldCString(ctx, "version", SLUICE_VERSION);
	redis.InfoAddFieldULongLong(ctx, "decisions", module.decisions);
	redis.InfoAddFieldULongLong(ctx, "denials", module.denials);
	redis.InfoAddFieldULongLong(ctx, "errors", module.errors);
}
