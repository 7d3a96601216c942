/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c: defaults, flags and the checks over several settings. The file is read in file.c, the environment in env.c.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"

void config_defaults(struct config *config)
{
	struct why why;

	memset(config, 0, sizeof *config);
	for (size_t i = 0; i < schema_keys_n; i++) {
		if (schema_set(&schema_keys[i], config, schema_keys[i].initial, &why) != 0)
			abort(); /* the table contradicts itself; a test sets every default */
	}
}

int config_set_flag(struct config *config, const char *flag, const char *value, struct config_error *error)
{
	struct why why;

	for (size_t i = 0; i < schema_keys_n; i++) {
		if (schema_keys[i].flag == NULL || strcmp(schema_keys[i].flag, flag) != 0)
			continue;
		if (schema_set(&schema_keys[i], config, value, &why) == 0)
			return 0;
		snprintf(error->text, sizeof error->text, "--%s: %s", flag, why.text);
		return -1;
	}
	snprintf(error->text, sizeof error->text, "--%.64s: unknown flag", flag);
	return -1;
}

int config_check(const struct config *config, struct config_error *error)
{
	struct why why;

	for (size_t i = 0; i < schema_keys_n; i++) {
		if (schema_check(&schema_keys[i], config, &why) == 0)
			continue;
		snprintf(error->text, sizeof error->text, "%s: %s", schema_keys[i].path, why.text);
		return -1;
	}
	if ((*config->limiter.tls_cert_file == '\0') != (*config->limiter.tls_key_file == '\0')) {
		snprintf(error->text, sizeof error->text,
		         "limiter.tls_cert_file: goes with limiter.tls_key_file; give both or neither");
		return -1;
	}
	for (size_t i = 0; i < config->limits_n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(config->limits[i].name, config->limits[j].name) != 0)
				continue;
			snprintf(error->text, sizeof error->text,
			         "limits[%zu].name: \"%s\" is the name of limits[%zu] already; each needs its own", i,
			         config->limits[i].name, j);
			return -1;
		}
	}
	return 0;
}

size_t config_differences(const struct config *a, const struct config *b, char *names, size_t size)
{
	size_t n = 0, len = 0;

	names[0] = '\0';
	for (size_t i = 0; i < schema_keys_n; i++) {
		const struct schema_key *key = &schema_keys[i];
		size_t more = strlen(key->path) + (len > 0 ? 2 : 0);

		if (key->type == SCHEMA_LIMITS ||
		    memcmp((const char *)a + key->offset, (const char *)b + key->offset, key->size) == 0)
			continue;
		n++;
		if (len + more < size) {
			snprintf(names + len, size - len, "%s%s", len > 0 ? ", " : "", key->path);
			len += more;
		}
	}
	return n;
}
