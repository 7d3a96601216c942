/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.c: asks the server for its entry points by name.
 */
#include "redis-module/api.h"

#include <string.h>

typedef int get_function(const char *name, void *to);

struct redis_api redis;

/* One word for each ability, however many entry points it takes. */
static void miss(const char *what)
{
	size_t len = strlen(redis.missing);

	if (strstr(redis.missing, what) != NULL || len + strlen(what) + 2 > sizeof redis.missing)
		return;
	if (len > 0)
		redis.missing[len++] = ' ';
	strcpy(redis.missing + len, what);
}

const char *api_load(RedisModuleCtx *ctx)
{
	get_function *get;

	/* A pointer to a function can't be had from one to data by a cast, but by its bytes. */
	memcpy(&get, (void *)ctx, sizeof get);
	memset(&redis, 0, sizeof redis);
#define REDIS_API_LOAD(result, name, parameters)                                                                       \
	if (get("RedisModule_" #name, &redis.name) != REDIS_OK)                                                        \
		return #name;
#define REDIS_API_LOAD_OPTIONAL(result, name, parameters, missing)                                                     \
	if (get("RedisModule_" #name, &redis.name) != REDIS_OK) {                                                      \
		redis.name = NULL;                                                                                     \
		miss(missing);                                                                                         \
	}
	REDIS_API_REQUIRED(REDIS_API_LOAD)
	REDIS_API_OPTIONAL(REDIS_API_LOAD_OPTIONAL)
#undef REDIS_API_LOAD
#undef REDIS_API_LOAD_OPTIONAL
	return NULL;
}
