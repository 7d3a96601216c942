/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_schema.c: the table, struct config, the reference page and etc/sluice.yaml say the same.
 *
 * argv[1] is the root of the sources.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/env.h"
#include "config/schema.h"

static const char *source_root;

/* For every setting a value that is not its default. */
static const struct {
	const char *path, *text;
} others[] = {
	{ "listen", "[::1]:80" },
	{ "trusted_proxies", "10.0.0.0/8, 2001:db8::/32" },
	{ "client_header", "forwarded" },
	{ "public_names", "sho.rt,sho.rt:8443" },
	{ "server.threads", "3" },
	{ "server.max_connections", "77" },
	{ "server.max_connections_per_client", "7" },
	{ "server.max_header_bytes", "6KiB" },
	{ "server.max_body_bytes", "128KiB" },
	{ "server.idle_timeout", "31s" },
	{ "server.request_timeout", "16s" },
	{ "server.shutdown_timeout", "11s" },
	{ "limiter.store", "redis://:secret@h" },
	{ "limiter.password_file", "p" },
	{ "limiter.tls_ca_file", "ca.pem" },
	{ "limiter.tls_cert_file", "cert.pem" },
	{ "limiter.tls_key_file", "key.pem" },
	{ "limiter.prefix", "x:" },
	{ "limiter.timeout", "51ms" },
	{ "limiter.on_failure", "closed" },
	{ "limiter.max_keys", "17" },
	{ "limiter.servers", "4" },
	{ "limiter.deny_cache", "0" },
	{ "limiter.ipv6_prefix", "56" },
	{ "links.store", "sqlite::memory:" },
	{ "links.timeout", "3s" },
	{ "links.cache", "2MiB" },
	{ "links.queue", "18" },
	{ "links.click_interval", "2s" },
	{ "log.level", "debug" },
	{ "log.access", "json" },
	{ "log.access_file", "access.log" },
	{ "limits", "99/7s" },
};

static const char *other_value(const struct schema_key *key)
{
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (strcmp(others[i].path, key->path) == 0)
			return others[i].text;
	}
	fail_msg("%s: no other value in this test; add one", key->path);
	return NULL;
}

/* How far padding may reach before a setting: less than what its field, or the struct that it opens, is aligned to. */
static size_t alignment(const struct schema_key *keys, size_t i)
{
	const char *dot = strchr(keys[i].path, '.');

	if (dot != NULL && (i == 0 || strncmp(keys[i].path, keys[i - 1].path, (size_t)(dot - keys[i].path) + 1) != 0))
		return 8;
	switch (keys[i].type) {
	case SCHEMA_NUMBER:
	case SCHEMA_SIZE:
	case SCHEMA_DURATION:
		return keys[i].size;
	case SCHEMA_CHOICE:
	case SCHEMA_SUBJECT:
	case SCHEMA_NETWORKS:
		return 4;
	case SCHEMA_ADDRESS:
	case SCHEMA_LIMITS:
		return 8;
	default:
		return 1;
	}
}

/* Whether each byte of a struct belongs to exactly one setting, or is padding. A field without a setting is seen
 * unless it is small and lies just where padding would. @return NULL, or what is wrong. */
static const char *covers(const struct schema_key *keys, size_t n, size_t size)
{
	size_t *owners = calloc(size, sizeof *owners), gap = 0; /* index of the setting + 1 */
	const char *wrong = NULL;

	assert_non_null(owners);
	for (size_t i = 0; i < n; i++) {
		if (keys[i].offset + keys[i].size > size)
			wrong = "a setting lies outside";
		for (size_t j = keys[i].offset; wrong == NULL && j < keys[i].offset + keys[i].size; j++) {
			if (owners[j] != 0)
				wrong = "two settings share bytes";
			owners[j] = i + 1;
		}
	}
	for (size_t j = 0; wrong == NULL && j < size; j++) {
		if (owners[j] == 0) {
			gap++;
			continue;
		}
		if (gap > 0 && gap >= alignment(keys, owners[j] - 1))
			wrong = "a field has no setting";
		gap = 0;
	}
	if (wrong == NULL && gap >= 8)
		wrong = "a field has no setting";
	free(owners);
	return wrong;
}

/* The check above sees a setting that is missing, and one that is there twice. */
static void check_the_check(const struct schema_key *keys, size_t n, size_t size)
{
	struct schema_key *copy = malloc((n + 1) * sizeof *copy);

	assert_non_null(copy);
	for (size_t left_out = 0; left_out < n; left_out++) {
		memcpy(copy, keys, n * sizeof *copy);
		copy[n] = copy[left_out];
		assert_string_equal(covers(copy, n + 1, size), "two settings share bytes");
		if (keys[left_out].size < 8)
			continue;
		memmove(&copy[left_out], &copy[left_out + 1], (n - left_out) * sizeof *copy);
		assert_string_equal(covers(copy, n - 1, size), "a field has no setting");
	}
	free(copy);
}

static void every_field_has_one_setting(void **state)
{
	const char *wrong = covers(schema_keys, schema_keys_n, sizeof(struct config));

	if (wrong != NULL)
		fail_msg("%s", wrong);
	check_the_check(schema_keys, schema_keys_n, sizeof(struct config));
	assert_string_equal(covers(schema_keys, schema_keys_n, sizeof(struct config) - 1), "a setting lies outside");
	assert_string_equal(covers(schema_keys, schema_keys_n, sizeof(struct config) + 8), "a field has no setting");
}

static void every_limit_field_has_one_setting(void **state)
{
	assert_null(covers(schema_limit_keys, schema_limit_keys_n, sizeof(struct schema_limit)));
	check_the_check(schema_limit_keys, schema_limit_keys_n, sizeof(struct schema_limit));
}

static void sizes_fit_types(void **state)
{
	for (size_t i = 0; i < schema_keys_n + schema_limit_keys_n; i++) {
		const struct schema_key *key =
			i < schema_keys_n ? &schema_keys[i] : &schema_limit_keys[i - schema_keys_n];
		uint64_t most = key->size == 1 ? UINT8_MAX : key->size == 4 ? UINT32_MAX : UINT64_MAX;

		switch (key->type) {
		case SCHEMA_NUMBER:
			assert_true(key->size == 1 || key->size == 4 || key->size == 8);
			assert_true(key->min <= key->max && key->max <= most);
			break;
		case SCHEMA_SIZE:
		case SCHEMA_DURATION:
			assert_int_equal(key->size, 8);
			assert_true(key->min < key->max);
			break;
		case SCHEMA_CHOICE:
		case SCHEMA_SUBJECT:
			assert_int_equal(key->size, sizeof(int));
			assert_non_null(key->choices);
			break;
		case SCHEMA_STORE:
			assert_non_null(key->choices);
			break;
		default:
			break;
		}
		assert_true(strlen(key->doc) > 10);
		assert_null(strchr(key->doc, '|')); /* it would break the table of the page */
		assert_true(strlen(key->path) + sizeof "SLUICE_" < ENV_NAME_MAX);
	}
	assert_true(schema_keys_n <= 64); /* bits of tree.c's `seen`, places of env.c's `set_by` */
}

static void names_are_unique(void **state)
{
	for (size_t i = 0; i < schema_keys_n; i++) {
		for (size_t j = 0; j < i; j++) {
			char a[ENV_NAME_MAX], b[ENV_NAME_MAX];

			env_name(&schema_keys[i], a);
			env_name(&schema_keys[j], b);
			assert_string_not_equal(schema_keys[i].path, schema_keys[j].path);
			assert_string_not_equal(a, b);
			if (schema_keys[i].env != NULL) {
				assert_string_not_equal(schema_keys[i].env, b);
				assert_string_not_equal(schema_keys[i].env,
				                        schema_keys[j].env ? schema_keys[j].env : "");
			}
			if (schema_keys[i].flag != NULL && schema_keys[j].flag != NULL)
				assert_string_not_equal(schema_keys[i].flag, schema_keys[j].flag);
		}
	}
}

static struct config *defaults(void)
{
	struct config *config = malloc(sizeof *config);

	assert_non_null(config);
	memset(config, 0xa5, sizeof *config);
	config_defaults(config);
	return config;
}

static struct config *all_other(void)
{
	struct config *config = defaults();
	struct why why;

	for (size_t i = 0; i < schema_keys_n; i++) {
		const char *text = other_value(&schema_keys[i]);

		if (text != NULL && schema_set(&schema_keys[i], config, text, &why) != 0)
			fail_msg("%s: %s", schema_keys[i].path, why.text);
	}
	return config;
}

/* Leaves a byte where later calls have their variables. */
static __attribute__((noinline)) void fill_stack(int byte)
{
	volatile char space[8192];

	for (size_t i = 0; i < sizeof space; i++)
		space[i] = (char)byte;
}

/* A reload tells which settings have changed by their bytes: those between the fields, too. */
static void equal_settings_are_equal_bytes(void **state)
{
	struct config *configs[2] = { defaults(), defaults() };
	struct why why;
	char names[512];

	for (size_t i = 0; i < schema_keys_n; i++) {
		const char *text = other_value(&schema_keys[i]);

		for (int j = 0; text != NULL && j < 2; j++) {
			fill_stack(j == 0 ? 0x00 : 0xff);
			if (schema_set(&schema_keys[i], configs[j], text, &why) != 0)
				fail_msg("%s: %s", schema_keys[i].path, why.text);
		}
	}
	if (config_differences(configs[0], configs[1], names, sizeof names) != 0)
		fail_msg("set alike, and yet different: %s", names);
	assert_memory_equal(configs[0], configs[1], sizeof *configs[0]);
	free(configs[0]);
	free(configs[1]);
}

static void defaults_are_what_is_promised(void **state)
{
	struct config *config = defaults();
	struct config_error error;

	assert_string_equal(config->listen_text, "0.0.0.0:5000");
	assert_int_equal(config->trusted_proxies_n, 0);
	assert_int_equal(config->client_header, CLIENT_HEADER_XFF);
	assert_int_equal(config->public_names_n, 0);
	assert_int_equal(config->server.threads, 0);
	assert_int_equal(config->server.max_connections, 10000);
	assert_int_equal(config->server.max_connections_per_client, 256);
	assert_int_equal(config->server.max_header_bytes, 8 * 1024);
	assert_int_equal(config->server.max_body_bytes, 64 * 1024);
	assert_int_equal(config->server.idle_timeout_us, 30000000);
	assert_int_equal(config->server.request_timeout_us, 15000000);
	assert_int_equal(config->server.shutdown_timeout_us, 10000000);
	assert_string_equal(config->limiter.store, "memory:");
	assert_string_equal(config->limiter.prefix, "rate_limit:");
	assert_int_equal(config->limiter.timeout_us, 50000);
	assert_int_equal(config->limiter.on_failure, FAILURE_LOCAL);
	assert_int_equal(config->limiter.max_keys, 1000000);
	assert_string_equal(config->limiter.password_file, "");
	assert_string_equal(config->limiter.tls_ca_file, "");
	assert_string_equal(config->limiter.tls_cert_file, "");
	assert_string_equal(config->limiter.tls_key_file, "");
	assert_int_equal(config->limiter.servers, 1);
	assert_int_equal(config->limiter.deny_cache, 65536);
	assert_int_equal(config->limiter.ipv6_prefix, 64);
	assert_string_equal(config->links.store, "sqlite:sluice.db");
	assert_int_equal(config->links.cache_bytes, 64 * 1024 * 1024);
	assert_int_equal(config->links.queue, 4096);
	assert_int_equal(config->links.click_interval_us, 1000000);
	assert_int_equal(config->log.level, LOG_INFO);
	assert_int_equal(config->log.access, ACCESS_LOG_TEXT);
	assert_string_equal(config->log.access_file, "-");
	assert_int_equal(config->limits_n, 1);
	assert_string_equal(config->limits[0].name, "per-client");
	assert_int_equal(config->limits[0].subject, SUBJECT_CLIENT_IP);
	assert_int_equal(config->limits[0].policy.algorithm, SLUICE_SLIDING_LOG);
	assert_int_equal(config->limits[0].policy.limit, 10);
	assert_int_equal(config->limits[0].policy.window_us, 60000000);
	assert_int_equal(config_check(config, &error), 0);
	free(config);
}

static void setting_changes_its_own_field_only(void **state)
{
	struct config *before = defaults();

	for (size_t i = 0; i < schema_keys_n; i++) {
		const struct schema_key *key = &schema_keys[i];
		struct config *config = defaults();
		const char *text = other_value(key);
		struct why why;

		if (text != NULL) {
			assert_int_equal(schema_set(key, config, text, &why), 0);
			assert_memory_not_equal((char *)config + key->offset, (char *)before + key->offset, key->size);
			memcpy((char *)config + key->offset, (char *)before + key->offset, key->size);
		}
		assert_memory_equal(config, before, sizeof *config);
		free(config);
	}
	free(before);
}

static void stores_are_all_known(void **state)
{
	struct config *config = defaults();
	char text[64];
	struct why why;

	for (size_t i = 0; i < schema_keys_n; i++) {
		if (schema_keys[i].type != SCHEMA_STORE)
			continue;
		for (const struct schema_choice *choice = schema_keys[i].choices; choice->name != NULL; choice++) {
			snprintf(text, sizeof text, "%s%s", choice->name,
			         choice->check == NULL                      ? ""
			         : strstr(choice->name, "sentinel") != NULL ? "x/y"
			                                                    : "x");
			assert_int_equal(schema_set(&schema_keys[i], config, text, &why), 0);
			assert_string_equal((char *)config + schema_keys[i].offset, text);
			assert_non_null(choice->shown);
		}
	}
	free(config);
}

/* A struct that was filled by hand, or by a newer program. */
static void check_sees_what_is_out_of_range(void **state)
{
	struct config *config = defaults();
	struct config_error error;

	config->server.max_connections = 0;
	assert_int_equal(config_check(config, &error), -1);
	assert_string_equal(error.text, "server.max_connections: is out of range; allowed: 1 to 1000000");
	config_defaults(config);
	config->limiter.on_failure = (enum failure_policy)9;
	assert_int_equal(config_check(config, &error), -1);
	assert_non_null(strstr(error.text, "limiter.on_failure: "));
	config_defaults(config);
	memset(config->links.store, 'x', sizeof config->links.store);
	assert_int_equal(config_check(config, &error), -1);
	assert_string_equal(error.text, "links.store: does not end");
	config_defaults(config);
	strcpy(config->limiter.store, "redis://user:secret@h:x");
	assert_int_equal(config_check(config, &error), -1);
	assert_null(strstr(error.text, "secret"));
	config_defaults(config);
	strcpy(config->limiter.tls_key_file, "key.pem");
	assert_int_equal(config_check(config, &error), -1);
	assert_string_equal(error.text, "limiter.tls_cert_file: goes with limiter.tls_key_file; give both or neither");
	strcpy(config->limiter.tls_cert_file, "cert.pem");
	assert_int_equal(config_check(config, &error), 0);
	config_defaults(config);
	config->listen_len = 0;
	assert_int_equal(config_check(config, &error), -1);
	config_defaults(config);
	config->limits_n = CONFIG_LIMITS_MAX + 1;
	assert_int_equal(config_check(config, &error), -1);
	config_defaults(config);
	config->limits[1] = config->limits[0];
	config->limits_n = 2;
	assert_int_equal(config_check(config, &error), -1);
	assert_string_equal(error.text,
	                    "limits[1].name: \"per-client\" is the name of limits[0] already; each needs its own");
	free(config);
}

/* @return the text of a file, to be freed. */
static char *read_whole(FILE *file, size_t *len)
{
	size_t room = 1 << 20;
	char *text = malloc(room);

	assert_non_null(file);
	assert_non_null(text);
	*len = fread(text, 1, room, file);
	assert_true(*len > 0 && *len < room);
	fclose(file);
	return text;
}

static FILE *open_source(const char *name)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", source_root, name);
	return fopen(path, "rb");
}

static void reference_page_is_up_to_date(void **state)
{
	size_t page_len, written_len;
	char *page = read_whole(open_source("docs/config.md"), &page_len), *written;
	FILE *file = tmpfile();

	assert_non_null(file);
	assert_int_equal(config_write_reference(fileno(file)), 0);
	rewind(file);
	written = read_whole(file, &written_len);
	if (page_len != written_len || memcmp(page, written, page_len) != 0)
		fail_msg("docs/config.md differs from src/config/schema.c; run `make docs`");
	free(page);
	free(written);

	/* A full disk is an error. */
	file = fopen("/dev/full", "wb");
	assert_non_null(file);
	assert_int_equal(config_write_reference(fileno(file)), -1);
	fclose(file);
}

static void reference_page_names_everything(void **state)
{
	size_t len;
	char *page = read_whole(open_source("docs/config.md"), &len), cell[ENV_NAME_MAX + 8];

	page[len - 1] = '\0';
	for (size_t i = 0; i < schema_keys_n; i++) {
		snprintf(cell, sizeof cell, "| `%s` |", schema_keys[i].path);
		assert_non_null(strstr(page, cell));
		if (schema_keys[i].env != NULL)
			assert_non_null(strstr(page, schema_keys[i].env));
	}
	for (size_t i = 0; i < schema_limit_keys_n; i++) {
		snprintf(cell, sizeof cell, "| `%s` |", schema_limit_keys[i].path);
		assert_non_null(strstr(page, cell));
	}
	free(page);
}

/* Loaded over a configuration that differs in everything, the example leaves nothing but defaults: it is complete. */
static void example_file_is_the_defaults(void **state)
{
	struct config *expected = defaults(), *config = all_other();
	struct config_error error = { "" };
	char path[4096];

	snprintf(path, sizeof path, "%s/etc/sluice.yaml", source_root);
	if (config_load_file(config, path, &error) != 0)
		fail_msg("%s", error.text);
	for (size_t i = 0; i < schema_keys_n; i++) {
		const struct schema_key *key = &schema_keys[i];

		if (memcmp((char *)config + key->offset, (char *)expected + key->offset, key->size) != 0)
			fail_msg("etc/sluice.yaml: %s is not the default, or not there", key->path);
	}
	assert_memory_equal(config, expected, sizeof *config);
	free(expected);
	free(config);
}

static void example_file_shows_every_key_of_a_limit(void **state)
{
	size_t len;
	char *text = read_whole(open_source("etc/sluice.yaml"), &len), line[48];

	text[len - 1] = '\0';
	for (size_t i = 0; i < schema_limit_keys_n; i++) {
		snprintf(line, sizeof line, "\n  %s %s: ", i == 0 ? "-" : " ", schema_limit_keys[i].path);
		assert_non_null(strstr(text, line));
	}
	free(text);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_has_one_setting),
		cmocka_unit_test(every_limit_field_has_one_setting),
		cmocka_unit_test(sizes_fit_types),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(equal_settings_are_equal_bytes),
		cmocka_unit_test(defaults_are_what_is_promised),
		cmocka_unit_test(setting_changes_its_own_field_only),
		cmocka_unit_test(stores_are_all_known),
		cmocka_unit_test(check_sees_what_is_out_of_range),
		cmocka_unit_test(reference_page_is_up_to_date),
		cmocka_unit_test(reference_page_names_everything),
		cmocka_unit_test(example_file_is_the_defaults),
		cmocka_unit_test(example_file_shows_every_key_of_a_limit),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: test_config_schema SOURCES\n");
		return 2;
	}
	source_root = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
