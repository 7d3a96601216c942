/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.c: `sluice inspect KEY`, `sluice reset KEY`: one limiter state, in a Redis that other programs can reach.
 *
 * Leaves out: the in-process limiter, whose states no other program can reach.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/settings.h"
#include "cli/state_text.h"
#include "server/limiter.h"
#include "store/redis/look.h"
#include "store/redis/redis.h"

#define PATIENCE_US UINT64_C(5000000) /* a person waits longer than a request does */
#define RETRY_MS 20

static const char usage[] =
	"usage: sluice %s KEY [--config FILE] [--limiter URL]\n\n"
	"KEY is <limit name>:{<subject>}, for example per-client:{203.0.113.7}, per-client:{2001:db8:0:1::/64} or, of\n"
	"a limit by global, everybody:{all}; with limiter.prefix or without. Works with limiters that other programs\n"
	"can reach (Redis); the one inside the server (memory:) is not among them.\n";

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "limiter", required_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct inspection {
	const char *command; /* "inspect" or "reset" */
	const struct config *config;
	const char *key;                                                          /* without the prefix */
	char whole[STORE_KEY_MAX + sizeof(((struct config *)0)->limiter.prefix)]; /* with it */
	struct store *store;
	uv_loop_t loop;
	uv_timer_t timer;
	uint64_t until_us;
	struct redis_look look;
	struct store_op reset;
	int status; /* to exit with */
};

static struct inspection *of_look(struct redis_look *look)
{
	return (struct inspection *)((char *)look - offsetof(struct inspection, look));
}

static void end(struct inspection *it, int status)
{
	it->status = status;
	uv_close((uv_handle_t *)&it->timer, NULL);
	store_detach(it->store, 0);
}

static void complain(const struct inspection *it, const char *words)
{
	fprintf(stderr, "sluice %s: %s: %s\n", it->command, it->whole, words);
}

static const struct config_limit *limit_of(const struct inspection *it)
{
	const char *colon = strchr(it->key, ':');
	size_t len = colon != NULL ? (size_t)(colon - it->key) : 0;

	for (size_t i = 0; i < it->config->limits_n; i++) {
		const struct config_limit *limit = &it->config->limits[i];

		if (strlen(limit->name) == len && memcmp(limit->name, it->key, len) == 0)
			return limit;
	}
	return NULL;
}

static int show(const struct inspection *it)
{
	const struct redis_look *look = &it->look;

	printf("%-12s%s\n", "key", it->whole);
	if (look->ttl_ms >= 0)
		printf("%-12s%lld.%03lld s\n", "lives for", (long long)look->ttl_ms / 1000,
		       (long long)look->ttl_ms % 1000);
	else if (look->ttl_ms == -2)
		printf("%-12sunknown: the server does not say; the user may lack the right (+pttl)\n", "lives for");
	else
		printf("%-12sever: it has no TTL, so Sluice did not write it last\n", "lives for");
	if (state_print(stdout, look->state, look->len, look->now_us, limit_of(it)) != 0) {
		complain(it, "these bytes are no limiter state of this version: another program's, or damaged; takes "
		             "from it fail (limiter.on_failure decides), and \"sluice reset\" removes it");
		return 1;
	}
	return 0;
}

static void on_reset(struct store_op *op)
{
	struct inspection *it = (struct inspection *)((char *)op - offsetof(struct inspection, reset));

	if (op->error != 0)
		complain(it, strerror(-op->error));
	else
		printf("%s is forgotten: its next requests pass as if they were the first\n", it->whole);
	end(it, op->error != 0);
}

static void submit_reset(struct inspection *it)
{
	struct store_take *take = &it->reset.takes[0];
	int err;

	it->reset = (struct store_op){ .verb = STORE_RESET, .n = 1, .deadline_us = it->until_us, .done = on_reset };
	take->key = it->key;
	take->key_len = (uint16_t)strlen(it->key);
	take->policy = &it->config->limits[0].policy;
	take->cost = 1;
	err = store_submit(it->store, &it->reset);
	if (err == STORE_PENDING)
		return;
	complain(it, strerror(-err));
	end(it, 1);
}

/* What a person types may be an address alone: that nothing is counted against it would be no answer. */
static bool is_key(const char *key)
{
	const char *brace = strstr(key, ":{");

	return brace != NULL && brace > key && brace[2] != '\0' && brace[2] != '}' && key[strlen(key) - 1] == '}';
}

static void on_looked(struct redis_look *look)
{
	struct inspection *it = of_look(look);

	if (look->error != 0 && strncmp(look->words, "WRONGTYPE", 9) == 0)
		complain(it, "it is another program's: its type is not that of a limiter state");
	else if (look->error != 0)
		complain(it, look->words[0] != '\0' ? look->words : strerror(-look->error));
	else if (look->state == NULL)
		complain(it, is_key(it->key) ? "there is no such key: nothing is counted against it"
		                             : "there is no such key: one is <limit name>:{<subject>}, for example "
		                               "per-client:{203.0.113.7}");
	else if (strcmp(it->command, "reset") == 0) {
		submit_reset(it);
		return;
	} else {
		end(it, show(it));
		return;
	}
	end(it, 1);
}

/* Until the server that holds the key is there, or patience ends. */
static void on_timer(uv_timer_t *timer)
{
	struct inspection *it = timer->data;
	int err = redis_store_look(it->store, 0, &it->look);

	if (err == 0) {
		uv_timer_stop(timer);
	} else if (err != -ENOTCONN || clock_mono_us() >= it->until_us) {
		complain(it, err == -ENOTCONN ? "Redis is out of reach" : strerror(-err));
		end(it, 1);
	}
}

/* @return the exit status. */
static int run(struct inspection *it)
{
	struct redis_store_config redis = { .threads = 1 };

	it->store = limiter_open_redis(it->config, &redis);
	if (it->store == NULL)
		return 1;
	it->until_us = clock_mono_us() + PATIENCE_US;
	it->look.key = it->whole;
	it->look.key_len = strlen(it->whole);
	it->look.deadline_us = it->until_us + PATIENCE_US;
	it->look.done = on_looked;
	if (uv_loop_init(&it->loop) != 0 || store_attach(it->store, 0, &it->loop) != 0) {
		complain(it, "out of memory");
		return 1;
	}
	uv_timer_init(&it->loop, &it->timer);
	it->timer.data = it;
	uv_timer_start(&it->timer, on_timer, 0, RETRY_MS);
	uv_run(&it->loop, UV_RUN_DEFAULT);
	uv_loop_close(&it->loop);
	store_close(it->store);
	return it->status;
}

static int inspect(const char *command, const struct config *config, const char *key)
{
	struct inspection it = { .command = command, .config = config };
	size_t prefix_len = strlen(config->limiter.prefix);

	if (strcmp(config->limiter.store, "memory:") == 0) {
		fprintf(stderr,
		        "sluice %s: the limiter memory: lives inside the running server, where no other program can "
		        "reach "
		        "it;\n"
		        "its totals are on the server's /metrics page, and a restart forgets them all.\n"
		        "If it is another one, name it with --limiter, or give the file of the servers with --config\n",
		        command);
		return 1;
	}
	it.key = strncmp(key, config->limiter.prefix, prefix_len) == 0 ? key + prefix_len : key;
	if (it.key[0] == '\0' || strlen(it.key) > STORE_KEY_MAX) {
		fprintf(stderr, "sluice %s: the key has no more than the prefix, or more than %d bytes\n", command,
		        STORE_KEY_MAX);
		return 2;
	}
	snprintf(it.whole, sizeof it.whole, "%s%s", config->limiter.prefix, it.key);
	log_set_level(config->log.level < LOG_WARN ? (enum log_level)config->log.level : LOG_WARN);
	return run(&it);
}

int cli_inspect(int argc, char **argv)
{
	struct settings settings = { 0 };
	struct config_error error;
	struct config *config;
	int option, status = 2;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h')
			return printf(usage, argv[0]) < 0 ? 1 : 0;
		if (option == '?' || option == ':')
			return flags_complain(argv[0], option, argv, options);
		if (option == 'c') {
			settings.file = optarg;
		} else { /* the last one counts */
			settings.flags[0].name = "limiter";
			settings.flags[0].value = optarg;
			settings.flags_n = 1;
		}
	}
	if (argc - optind != 1) {
		fprintf(stderr, usage, argv[0]);
		return 2;
	}
	config = malloc(sizeof *config);
	if (config == NULL) {
		fprintf(stderr, "sluice %s: out of memory\n", argv[0]);
		return 1;
	}
	if (settings_load(&settings, config, &error) != 0)
		fprintf(stderr, "sluice %s: %s\n", argv[0], error.text);
	else
		status = inspect(argv[0], config, argv[optind]);
	free(config);
	return status;
}
