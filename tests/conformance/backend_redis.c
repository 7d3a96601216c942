/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend_redis.c: the Lua script, our module, or one or the other by chance, in a real Redis, one operation of one key
 * at a time, under a clock of ours.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "module_client.h"
#include "redis_client.h"

struct redis_backend {
	struct backend backend;
	struct redis_server server;
	bool script, module; /* what decides: one of them, or both by chance */
	struct module_client client;
	redisReply *state; /* of the last call of state() */
};

static int decide(struct redis_backend *redis, struct store_op *op, uint64_t now_us)
{
	int result;

	if (!redis->module || (redis->script && random_one_in(&redis->client.random, 2)))
		return redis_client_submit(&redis->server, op, now_us);
	result = module_client_submit(&redis->client, op, now_us);
	if (result != 0)
		fprintf(stderr, "module: %s\n", redis->client.error);
	return result;
}

static int submit(struct backend *backend, enum store_verb verb, const struct sluice_policy *policy, const char *key,
                  uint64_t now_us, uint32_t cost, struct sluice_decision *decision)
{
	struct redis_backend *redis = (struct redis_backend *)backend;
	struct store_op op = {
		.verb = verb,
		.n = 1,
		.takes[0] = {
			.policy = policy,
			.key = key,
			.key_len = (uint16_t)strlen(key),
			.cost = cost,
			.decision = *decision,
		},
	};
	int result = decide(redis, &op, now_us);

	if (result == 0 && verb != STORE_RESET && op.allowed != op.takes[0].decision.allowed)
		return -1;
	*decision = op.takes[0].decision;
	return result;
}

static int redis_take(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                      uint32_t cost, struct sluice_decision *out)
{
	memset(out, 0, sizeof *out);
	return submit(backend, STORE_TAKE, policy, key, now_us, cost, out);
}

static int redis_peek(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                      uint32_t cost, struct sluice_decision *out)
{
	memset(out, 0, sizeof *out);
	return submit(backend, STORE_PEEK, policy, key, now_us, cost, out);
}

static int redis_refund(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                        uint32_t cost, uint64_t at_us, struct sluice_decision *out)
{
	memset(out, 0, sizeof *out);
	out->at_us = at_us;
	return submit(backend, STORE_REFUND, policy, key, now_us, cost, out);
}

static int redis_reset(struct backend *backend, const char *key)
{
	struct sluice_decision decision = { 0 };
	struct sluice_policy policy;

	/* Whatever policy: the key is what is forgotten. */
	sluice_policy_init(&policy, SLUICE_FIXED_WINDOW, 1, SLUICE_WINDOW_MIN_US, 0, NULL);
	return submit(backend, STORE_RESET, &policy, key, 0, 1, &decision);
}

static size_t redis_state(struct backend *backend, const char *key, const uint8_t **bytes)
{
	struct redis_backend *redis = (struct redis_backend *)backend;
	size_t len;

	if (redis->state != NULL)
		freeReplyObject(redis->state);
	len = redis_client_state(&redis->server, key, &redis->state);
	*bytes = len > 0 ? (const uint8_t *)redis->state->str : (const uint8_t *)"";
	return len;
}

static void redis_close(struct backend *backend)
{
	struct redis_backend *redis = (struct redis_backend *)backend;

	if (redis->state != NULL)
		freeReplyObject(redis->state);
	if (redis->module)
		module_client_stop(&redis->client);
	else
		redis_server_stop(&redis->server);
	free(redis);
}

static struct backend *redis_open(const char *name, bool script, bool module, uint64_t seed)
{
	struct redis_backend *redis = calloc(1, sizeof *redis);

	if (redis == NULL)
		return NULL;
	redis->backend = (struct backend){
		.name = name,
		.take = redis_take,
		.peek = redis_peek,
		.refund = redis_refund,
		.reset = redis_reset,
		.state = redis_state,
		.close = redis_close,
	};
	redis->script = script;
	redis->module = module;
	if ((module ? module_client_start(&redis->client, &redis->server, seed)
	            : redis_server_start(&redis->server, NULL)) != 0) {
		free(redis);
		return NULL;
	}
	return &redis->backend;
}

struct backend *backend_redis_open(void)
{
	return redis_open("redis", true, false, 0);
}

struct backend *backend_module_open(uint64_t seed)
{
	return redis_open("module", false, true, seed);
}

struct backend *backend_mixed_open(uint64_t seed)
{
	return redis_open("mixed", true, true, seed);
}
