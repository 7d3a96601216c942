/* SPDX-License-Identifier: Apache-2.0 */
/* test_sources.c: flags and environment, and which of the sources wins. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/env.h"
#include "config/schema.h"

static struct config *defaults(void)
{
	struct config *config = malloc(sizeof *config);

	assert_non_null(config);
	config_defaults(config);
	return config;
}

struct flag_case {
	const char *flag, *value;
	const char *why; /* NULL: taken */
};

static void check_flags(const struct flag_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct config *config = defaults();
		struct config_error error = { "" };
		int result = config_set_flag(config, cases[i].flag, cases[i].value, &error);

		if (cases[i].why == NULL ? result != 0 : result != -1 || strstr(error.text, cases[i].why) != error.text)
			fail_msg("--%s %s: result %d, \"%s\"", cases[i].flag, cases[i].value, result, error.text);
		free(config);
	}
}

static void flags(void **state)
{
	static const struct flag_case cases[] = {
		{ "listen", "127.0.0.1:0", NULL },
		{ "limiter", "memory:", NULL },
		{ "threads", "2", NULL },
		{ "log-level", "error", NULL },
		{ "log-level", "eror",
		  "--log-level: \"eror\" is not allowed; did you mean \"error\"? Allowed: error, warn, info, debug" },
		{ "listen", "5001", "--listen: \"5001\" is a port alone; write 0.0.0.0:5001" },
		{ "limiter", "redis://user:secret@10.0.0.130", NULL },
		{ "limiter", "redis://user:secret@10.0.0.130/x", "--limiter: the database after the / is no number" },
		{ "listen",
		  "0.0.0.0:00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		  "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		  "00000000000000000000000000000000000000000000000000000000080",
		  "--listen: is 258 bytes long; no address is" },
		{ "server.threads", "2", "--server.threads: unknown flag" },
		{ "", "2", "--: unknown flag" },
	};

	check_flags(cases, sizeof cases / sizeof cases[0]);
}

static void limit_flags(void **state)
{
	static const struct flag_case cases[] = {
		{ "limit", "5/1s", NULL },
		{ "limit", "off", NULL },
		{ "limit", "", "--limit: \"\" is not a limit; write 10/60s (requests/window) or off" },
		{ "limit", "10", "--limit: \"10\" is not a limit; write 10/60s (requests/window) or off" },
		{ "limit", "10/", "--limit: \"\" is not a duration" },
		{ "limit", "10/60", "--limit: \"60\" has no unit; write 60s, 500ms, 1h…" },
		{ "limit", "/60s", "--limit: \"\" is not a whole number" },
		{ "limit", "0/60s", "--limit: \"0\" is out of range; allowed: 1 to 16777216" },
		{ "limit", "16777217/60s", "--limit: \"16777217\" is out of range; allowed: 1 to 16777216" },
		{ "limit", "10/60s/5", "--limit: \"60s/5\" is not a duration" },
		{ "limit", "10/100us", "--limit: \"100us\" is out of range; allowed: 1ms to 366d" },
		{ "limit", "10/0ms", "--limit: \"0ms\" is out of range; allowed: 1ms to 366d" },
		{ "limit", "10 / 60s", "--limit: \"10 / 60s\" is not a limit; write 10/60s, without blanks" },
		{ "limit", " 10/60s\t", "--limit: \" 10/60s\\x09\" is not a limit; write 10/60s, without blanks" },
		{ "limit", "10 a minute / 60s", "--limit: \"10 a minute \" is not a whole number" },
		{ "limit", "10 per 60s",
		  "--limit: \"10 per 60s\" is not a limit; write 10/60s (requests/window) or off" },
		{ "limit", "1                                                            /60s", "--limit: \"1  " },
		{ "limit", "10 /111111111111111111111111111111111111111111111111s",
		  "--limit: \"10 \" is not a whole number" },
		{ "limit", "OFF", "--limit: \"OFF\" is not a limit" },
		{ "limit", "111111111111111111111111111/60s",
		  "--limit: \"111111111111111111111111111/60s\" is not a limit" },
	};

	check_flags(cases, sizeof cases / sizeof cases[0]);
}

static void links_flags(void **state)
{
	static const struct flag_case cases[] = {
		{ "links", "sqlite::memory:", NULL },
		{ "links", "o.db", "--links: \"o.db\" is not a store; write sqlite:o.db" },
		{ "links", "postgresql//h/db",
		  "--links: this build knows \"sqlite:PATH\" or \"sqlite::memory:\", \"postgresql://...\", "
		  "\"postgres://...\"; it has no store \"postgresql//h/db\"" },
		{ "links", "/var/lib/sluice/o.db",
		  "--links: \"/var/lib/sluice/o.db\" is not a store; write sqlite:/var/lib/sluice/o.db" },
		{ "links", "sqlite",
		  "--links: \"sqlite\" is not a store; write \"sqlite:PATH\" or \"sqlite::memory:\"" },
		{ "links", "",
		  "--links: this build knows \"sqlite:PATH\" or \"sqlite::memory:\", \"postgresql://...\", "
		  "\"postgres://...\"; it has no store \"\"" },
		{ "links", "o\n.db",
		  "--links: this build knows \"sqlite:PATH\" or \"sqlite::memory:\", \"postgresql://...\", "
		  "\"postgres://...\"; it has no store \"o\\x0a.db\"" },
		{ "links", "mysql:x",
		  "--links: this build knows \"sqlite:PATH\" or \"sqlite::memory:\", \"postgresql://...\", "
		  "\"postgres://...\"; it has no store \"mysql:\"" },
		{ "links", "postgresql://me:secret@db.example,db2.example:5433/urldb?sslmode=verify-full", NULL },
		{ "links", "postgres://db/urldb?service=x&target_session_attrs=read-write", NULL },
		/* Never a part of the password, wherever libpq stumbles. */
		{ "links", "postgresql://me:se%zzcret@db/urldb",
		  "--links: PostgreSQL's library can't read this URI: invalid percent-encoded token; write "
		  "postgresql://USER@HOST:PORT/DATABASE, with special characters as %XX" },
		{ "links", "postgresql://me:secret@[db/urldb",
		  "--links: PostgreSQL's library can't read this URI: end of string reached when looking for matching "
		  "; "
		  "write postgresql://USER@HOST:PORT/DATABASE, with special characters as %XX" },
		{ "links", "postgresql://db/urldb?password",
		  "--links: PostgreSQL's library can't read this URI: missing key/value separator ; write "
		  "postgresql://USER@HOST:PORT/DATABASE, with special characters as %XX" },
		{ "links", "postgresql://db/urldb?ssl_mode=require",
		  "--links: PostgreSQL's library can't read this URI: invalid URI query parameter: \"ssl_mode\"; write "
		  "postgresql://USER@HOST:PORT/DATABASE, with special characters as %XX" },
	};

	check_flags(cases, sizeof cases / sizeof cases[0]);
}

static void limit_changes_the_first_limit_only(void **state)
{
	static const char file[] =
		"limits:\n"
		"  - {name: a, algorithm: token-bucket, limit: 5, window: 1s, burst: 20, by: global}\n"
		"  - {name: b, limit: 100, window: 1h}\n";
	struct config *config = defaults();
	struct config_errors *errors = malloc(sizeof *errors);
	struct config_error error;

	assert_non_null(errors);
	assert_int_equal(config_load_text(config, "f", file, sizeof file - 1, errors), 0);
	assert_int_equal(config_set_flag(config, "limit", "7/2s", &error), 0);
	assert_int_equal(config->limits_n, 2);
	assert_string_equal(config->limits[0].name, "a");
	assert_int_equal(config->limits[0].subject, SUBJECT_GLOBAL);
	assert_int_equal(config->limits[0].policy.algorithm, SLUICE_TOKEN_BUCKET);
	assert_int_equal(config->limits[0].policy.limit, 7);
	assert_int_equal(config->limits[0].policy.window_us, 2000000);
	assert_int_equal(config->limits[0].policy.burst, 20); /* it was given, so it stays */
	assert_int_equal(config->limits[1].policy.limit, 100);

	/* With limits off, the default limit comes back. */
	assert_int_equal(config_set_flag(config, "limit", "off", &error), 0);
	assert_int_equal(config->limits_n, 0);
	assert_int_equal(config_set_flag(config, "limit", "3/1m", &error), 0);
	assert_int_equal(config->limits_n, 1);
	assert_string_equal(config->limits[0].name, "per-client");
	assert_int_equal(config->limits[0].policy.limit, 3);
	assert_int_equal(config->limits[0].policy.burst, 3); /* it was the limit, so it follows */
	assert_int_equal(config->limits[0].policy.window_us, 60000000);
	free(errors);
	free(config);
}

/* Each setting by each of its variables. */
static void every_setting_has_a_variable(void **state)
{
	static const char *const values[] = {
		/* by type; each is right for every setting of the type, and no default */
		[SCHEMA_NUMBER] = "17",
		[SCHEMA_SIZE] = "1MiB",
		[SCHEMA_DURATION] = "7s",
		[SCHEMA_PREFIX] = "x:",
		[SCHEMA_FILE] = "f",
		[SCHEMA_READ] = "f",
		[SCHEMA_ADDRESS] = "127.0.0.1:1",
		[SCHEMA_NETWORKS] = "::1, ::2",
		[SCHEMA_HOSTS] = "a b",
		[SCHEMA_LIMITS] = "17/17s",
	};
	struct config *before = defaults();

	for (size_t i = 0; i < schema_keys_n; i++) {
		const struct schema_key *key = &schema_keys[i];
		const char *value = key->type == SCHEMA_CHOICE
		                            ? (strcmp(key->initial, key->choices[0].name) != 0 ? key->choices[0].name
		                                                                               : key->choices[1].name)
		                    : strcmp(key->path, "links.store") == 0   ? "sqlite:x"
		                    : strcmp(key->path, "limiter.store") == 0 ? "redis://h"
		                                                              : values[key->type];

		for (int which = 0; which < 2; which++) {
			char name[ENV_NAME_MAX], variable[128], *environment[] = { variable, NULL };
			struct config *config;
			struct config_error error = { "" };

			if (which == 0 ? key->type == SCHEMA_LIMITS : key->env == NULL)
				continue;
			snprintf(variable, sizeof variable, "%s=%s", which == 0 ? env_name(key, name) : key->env,
			         value);
			config = defaults();
			if (config_load_env(config, environment, &error) != 0)
				fail_msg("%s: %s", variable, error.text);
			if (key->choices == NULL || key->type == SCHEMA_CHOICE || strcmp(value, key->initial) != 0)
				assert_memory_not_equal((char *)config + key->offset, (char *)before + key->offset,
				                        key->size);
			memcpy((char *)config + key->offset, (char *)before + key->offset, key->size);
			assert_memory_equal(config, before, sizeof *config);
			free(config);
		}
	}
	free(before);
}

static void environment(void **state)
{
	static const struct {
		const char *variables[3];
		const char *why; /* NULL: taken */
	} cases[] = {
		{ { NULL }, NULL },
		{ { "PATH=/bin", "SLUICE=1" }, NULL },
		{ { "SLUICE_LISTEN=" }, NULL }, /* empty: not set */
		{ { "SLUICE_FOO=" }, NULL },
		{ { "SLUICE_FOO" }, NULL }, /* not a variable at all */
		{ { "SLUICE_TEST_ANYTHING=1", "SLUICE_SEED=1", "SLUICE_BUILD=build" }, NULL },
		{ { "SLUICE_STEPS=5" }, NULL },
		{ { "SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_SERVICE_PORT=5000", "SLUICE_SERVICE_PORT_HTTP=5000" },
		  NULL },
		{ { "SLUICE_PORT=tcp://10.0.0.1:5000", "SLUICE_PORT_5000_TCP=tcp://10.0.0.1:5000",
		    "SLUICE_PORT_5000_TCP_ADDR=10.0.0.1" },
		  NULL },
		{ { "SLUICE_REDIS_PORT=tcp://10.0.0.1:6379", "SLUICE_REDIS_SERVICE_HOST=10.0.0.1" }, NULL },
		{ { "SLUICE_PORT=5000" }, "SLUICE_PORT: unknown variable; did you mean SLUICE_LISTEN=0.0.0.0:5000?" },
		{ { "SLUICE_PORT=http" }, "SLUICE_PORT: unknown variable" },
		{ { "SLUICE_PORT=123456" }, "SLUICE_PORT: unknown variable" },
		{ { "SLUICE_CONFIG=sluice.yaml" }, "SLUICE_CONFIG: unknown variable; use --config FILE" },
		{ { "SLUICE_LIMITR=memory:" }, "SLUICE_LIMITR: unknown variable; did you mean SLUICE_LIMITER?" },
		{ { "SLUICE_SERVER_MAX_CONECTIONS=1" },
		  "SLUICE_SERVER_MAX_CONECTIONS: unknown variable; did you mean SLUICE_SERVER_MAX_CONNECTIONS?" },
		{ { "SLUICE_LIMITS=10/60s" }, "SLUICE_LIMITS: unknown variable; did you mean SLUICE_LIMIT?" },
		{ { "SLUICE_ZEBRA=1" },
		  "SLUICE_ZEBRA: unknown variable; docs/config.md lists those that begin with SLUICE_" },
		{ { "SLUICE_A\nB=1" }, "SLUICE_A\\x0aB: unknown variable" },
		{ { "SLUICE_=1" }, "SLUICE_: unknown variable" },
		{ { "SLUICE_THREADS=x" }, "SLUICE_THREADS: \"x\" is not a whole number" },
		{ { "SLUICE_SERVER_THREADS=300" },
		  "SLUICE_SERVER_THREADS: \"300\" is out of range; allowed: 0 to 256" },
		{ { "SLUICE_THREADS=1", "SLUICE_SERVER_THREADS=1" },
		  "SLUICE_SERVER_THREADS: sets server.threads, which SLUICE_THREADS sets too; keep one of them" },
		{ { "SLUICE_TRUSTED_PROXIES=10.0.0.0/8,x" }, "SLUICE_TRUSTED_PROXIES: \"x\" is not a network" },
		{ { "SLUICE_LIMITER=rediss://user:secret@h", "SLUICE_LIMITER_TLS_CA_FILE=ca.pem" }, NULL },
		{ { "SLUICE_LIMITER=rediss://user:secret@" },
		  "SLUICE_LIMITER: host 1 has no name; write host or host:port" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *variables[4] = { NULL };
		struct config *config = defaults();
		struct config_error error = { "" };
		int result;

		for (size_t j = 0; j < 3 && cases[i].variables[j] != NULL; j++)
			variables[j] = (char *)(uintptr_t)cases[i].variables[j];
		result = config_load_env(config, variables, &error);
		if (cases[i].why == NULL ? result != 0 : result != -1 || strstr(error.text, cases[i].why) != error.text)
			fail_msg("%s: result %d, \"%s\"", variables[0] != NULL ? variables[0] : "nothing", result,
			         error.text);
		free(config);
	}
}

static void lists_in_variables(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {
		{ ",", 0 }, { "a", 1 }, { "a,b", 2 }, { " a , b ,", 2 }, { "a b\tc", 3 },
	};
	char variable[128], item[300], *environment_of_one[] = { variable, NULL };
	struct config *config = defaults();
	struct config_error error;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(variable, sizeof variable, "SLUICE_PUBLIC_NAMES=%s", cases[i].text);
		assert_int_equal(config_load_env(config, environment_of_one, &error), 0);
		assert_int_equal(config->public_names_n, cases[i].n);
		if (cases[i].n > 0)
			assert_string_equal(config->public_names[0], "a");
	}
	memcpy(item, "SLUICE_PUBLIC_NAMES=", 20);
	memset(item + 20, 'a', 256);
	item[276] = '\0';
	environment_of_one[0] = item;
	assert_int_equal(config_load_env(config, environment_of_one, &error), -1);
	assert_non_null(strstr(error.text, "holds an item of 256 bytes; at most 255 are allowed"));
	item[275] = '\0';
	assert_int_equal(config_load_env(config, environment_of_one, &error), 0);
	free(config);
}

/* Defaults, then file, then environment, then flags. */
static void each_source_wins_over_the_one_before(void **state)
{
	static const char file[] = "listen: 0.0.0.0:1\n"
				   "log: {level: error}\n"
				   "server: {threads: 3, max_connections: 5}\n";
	char listen[] = "SLUICE_LISTEN=0.0.0.0:2", level[] = "SLUICE_LOG_LEVEL=warn";
	char *variables[] = { listen, level, NULL };
	struct config *config = defaults();
	struct config_errors *errors = malloc(sizeof *errors);
	struct config_error error;

	assert_non_null(errors);
	assert_int_equal(config_load_text(config, "f", file, sizeof file - 1, errors), 0);
	assert_int_equal(config_load_env(config, variables, &error), 0);
	assert_int_equal(config_set_flag(config, "listen", "0.0.0.0:3", &error), 0);
	assert_string_equal(config->listen_text, "0.0.0.0:3");
	assert_int_equal(config->log.level, LOG_WARN);
	assert_int_equal(config->server.threads, 3);
	assert_int_equal(config->server.max_connections, 5);
	assert_int_equal(config->links.queue, 4096);
	free(errors);
	free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags),
		cmocka_unit_test(limit_flags),
		cmocka_unit_test(links_flags),
		cmocka_unit_test(limit_changes_the_first_limit_only),
		cmocka_unit_test(every_setting_has_a_variable),
		cmocka_unit_test(environment),
		cmocka_unit_test(lists_in_variables),
		cmocka_unit_test(each_source_wins_over_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
