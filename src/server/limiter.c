/* SPDX-License-Identifier: Apache-2.0 */
#include "server/limiter.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/secret.h"
#include "store/deny.h"
#include "store/failure.h"
#include "store/memory.h"
#include "store/redis/redis.h"

/* States that new clients share when the in-process limiter is full, for each limit. */
#define SHARED_STATES 1024

#define WAIT_US UINT64_C(1000000) /* for the store, at start */
#define LOOK_NS 2000000

/* What the store tells of the deployment. Any loop thread. */
static void on_seen(void *context, uint32_t servers, uint64_t generation)
{
	struct limiter *limiter = context;

	if (servers > 0)
		failure_store_set_servers(limiter->store, servers);
	if (limiter->deny != NULL)
		deny_store_set_generation(limiter->deny, generation);
}

static struct store *open_memory(const struct config *config)
{
	struct store *store = memory_store_open(&(struct memory_store_config){ .max_keys = config->limiter.max_keys });

	if (store == NULL)
		log_error("limiter: %s", strerror(errno));
	return store;
}

struct store *limiter_open_redis(const struct config *config, struct redis_store_config *redis)
{
	char secret[CONFIG_SECRET_MAX] = "", why[512];
	struct store *store;

	redis->url = config->limiter.store;
	redis->prefix = config->limiter.prefix;
	redis->timeout_us = config->limiter.timeout_us;
	redis->ca_file = config->limiter.tls_ca_file;
	redis->cert_file = config->limiter.tls_cert_file;
	redis->key_file = config->limiter.tls_key_file;
	if (config->limiter.password_file[0] != '\0') {
		if (config_read_secret("limiter.password_file", config->limiter.password_file, secret, why,
		                       sizeof why) != 0) {
			log_error("%s", why);
			return NULL;
		}
		redis->password = secret;
	}
	store = redis_store_open(redis, why, sizeof why);
	sodium_memzero(secret, sizeof secret);
	redis->password = NULL;
	if (store == NULL)
		log_error("limiter.store: %s", why);
	return store;
}

static struct store *open_redis(struct limiter *limiter, size_t threads)
{
	struct redis_store_config redis = {
		.threads = (unsigned)threads, .seen = on_seen, .context = limiter, .heartbeat = true
	};

	return limiter_open_redis(limiter->config, &redis);
}

/* @return the store with the deny cache in front; NULL, with `store` closed. */
static struct store *put_deny_cache(struct limiter *limiter, struct store *store, size_t threads)
{
	const struct deny_config config = { .threads = (unsigned)threads,
		                            .entries = limiter->config->limiter.deny_cache };

	if (config.entries == 0)
		return store;
	limiter->deny = deny_store_open(store, &config);
	if (limiter->deny == NULL) {
		log_error("limiter.deny_cache: %s", strerror(errno));
		store_close(store);
	}
	return limiter->deny;
}

static int put_failure_policy(struct limiter *limiter, struct store *inner, bool in_process)
{
	const struct config *config = limiter->config;
	struct failure_config failure = { .policy = config->limiter.on_failure,
		                          .local_max_keys = in_process ? 1 : config->limiter.max_keys,
		                          .shared_states = SHARED_STATES };

	limiter->store = failure_store_open(inner, &failure);
	if (limiter->store != NULL)
		return 0;
	log_error("limiter: %s", strerror(errno));
	store_close(inner);
	return -1;
}

int limiter_open(struct limiter *limiter, const struct config *config, size_t threads)
{
	bool in_process = strcmp(config->limiter.store, "memory:") == 0;
	struct store *inner;

	*limiter = (struct limiter){ .config = config };
	inner = in_process ? open_memory(config) : open_redis(limiter, threads);
	if (inner != NULL && !in_process)
		inner = put_deny_cache(limiter, inner, threads);
	if (inner == NULL)
		return -1;
	if (put_failure_policy(limiter, inner, in_process) != 0)
		return -1;
	if (!in_process)
		failure_store_set_servers(limiter->store, config->limiter.servers);
	return 0;
}

void limiter_wait(const struct limiter *limiter)
{
	static const char *const policies[] = { "local", "open", "closed" };
	uint64_t until_us = clock_mono_us() + WAIT_US;
	struct timespec pause = { .tv_nsec = LOOK_NS };

	while (!store_ready(limiter->store)) {
		if (clock_mono_us() >= until_us) {
			log_warn("limiter.store: not there yet; serving all the same, by on_failure: %s",
			         policies[limiter->config->limiter.on_failure]);
			return;
		}
		nanosleep(&pause, NULL);
	}
}

void limiter_close(struct limiter *limiter)
{
	if (limiter->store != NULL)
		store_close(limiter->store);
	limiter->store = NULL;
}
