/* SPDX-License-Identifier: Apache-2.0 */
/*
 * env.c: settings from environment variables.
 *
 * Every setting has SLUICE_ and its path in capitals; some have a shorter name too. A variable that
 * begins with SLUICE_ and names no setting is an error: a misspelt one would otherwise be believed to work.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "config/env.h"

#define PREFIX "SLUICE_"
#define NAME_MAX_LEN 80

const char *env_name(const struct schema_key *key, char to[ENV_NAME_MAX])
{
	size_t used = sizeof PREFIX - 1;

	memcpy(to, PREFIX, used);
	for (const char *c = key->path; *c != '\0' && used < ENV_NAME_MAX - 1; c++)
		to[used++] = (char)(*c == '.' ? '_' : toupper((unsigned char)*c));
	to[used] = '\0';
	return to;
}

/* Kubernetes and Docker put variables of their own making into a container, named after the services around it:
 * a service "sluice" gives SLUICE_SERVICE_HOST, SLUICE_PORT=tcp://10.0.0.1:5000, SLUICE_PORT_5000_TCP_ADDR. */
static bool is_service_link(const char *name, const char *value)
{
	const char *port = strstr(name, "_PORT_");
	size_t len = strlen(name);

	if (strstr(name, "_SERVICE_HOST") != NULL || strstr(name, "_SERVICE_PORT") != NULL)
		return true;
	if (port != NULL && isdigit((unsigned char)port[6]))
		return true;
	return len >= 5 && strcmp(name + len - 5, "_PORT") == 0 && strstr(value, "://") != NULL;
}

/* Variables for the tests of the program, not for the program. */
static bool is_for_tests(const char *name)
{
	return strncmp(name, "SLUICE_TEST_", 12) == 0 || strcmp(name, "SLUICE_SEED") == 0 ||
	       strcmp(name, "SLUICE_BUILD") == 0 || strcmp(name, "SLUICE_STEPS") == 0;
}

static const struct schema_key *find_key(const char *name)
{
	char own[ENV_NAME_MAX];

	for (size_t i = 0; i < schema_keys_n; i++) {
		const struct schema_key *key = &schema_keys[i];

		if (key->env != NULL && strcmp(key->env, name) == 0)
			return key;
		/* The limits of a file are more than a variable can hold: they have the short name only. */
		if (key->type != SCHEMA_LIMITS && strcmp(env_name(key, own), name) == 0)
			return key;
	}
	return NULL;
}

/* What people try because other programs have it. @return false when it is none of these. */
static bool name_cure(const char *name, const char *value, struct config_error *error)
{
	size_t digits = strspn(value, "0123456789");

	if (strcmp(name, "SLUICE_CONFIG") == 0)
		snprintf(error->text, sizeof error->text, "%s: unknown variable; use --config FILE", name);
	else if (strcmp(name, "SLUICE_PORT") == 0 && digits > 0 && digits <= 5 && value[digits] == '\0')
		snprintf(error->text, sizeof error->text,
		         "%s: unknown variable; did you mean SLUICE_LISTEN=0.0.0.0:%s?", name, value);
	else
		return false;
	return true;
}

static int unknown(const char *name, const char *value, struct config_error *error)
{
	char own[64][ENV_NAME_MAX], quoted[WHY_QUOTED_MAX];
	const char *names[128];
	const char *nearest;
	size_t n = 0;

	if (name_cure(name, value, error))
		return -1;
	for (size_t i = 0; i < schema_keys_n && i < 64; i++) {
		/* Without the prefix that all have: it would make strangers look alike. */
		if (schema_keys[i].type != SCHEMA_LIMITS)
			names[n++] = env_name(&schema_keys[i], own[i]) + sizeof PREFIX - 1;
		if (schema_keys[i].env != NULL)
			names[n++] = schema_keys[i].env + sizeof PREFIX - 1;
	}
	nearest = why_nearest(name + sizeof PREFIX - 1, names, n);
	why_quote(name, quoted);
	if (nearest != NULL)
		snprintf(error->text, sizeof error->text, "%.*s: unknown variable; did you mean " PREFIX "%s?",
		         (int)strlen(quoted) - 2, quoted + 1, nearest);
	else
		snprintf(error->text, sizeof error->text,
		         "%.*s: unknown variable; docs/config.md lists those that begin with " PREFIX,
		         (int)strlen(quoted) - 2, quoted + 1);
	return -1;
}

int config_load_env(struct config *config, char *const *environment, struct config_error *error)
{
	const char *set_by[64] = { NULL }; /* the variable that has set a setting, by its place in the table */

	for (; *environment != NULL; environment++) {
		const char *value = strchr(*environment, '=');
		char name[NAME_MAX_LEN];
		const struct schema_key *key;
		struct why why;

		if (strncmp(*environment, PREFIX, sizeof PREFIX - 1) != 0 || value == NULL)
			continue;
		snprintf(name, sizeof name, "%.*s", (int)(value - *environment), *environment);
		/* Composed files pass empty variables on where nothing is set. */
		if (*++value == '\0')
			continue;
		key = find_key(name);
		if (key == NULL && (is_for_tests(name) || is_service_link(name, value)))
			continue;
		if (key == NULL)
			return unknown(name, value, error);
		if (set_by[key - schema_keys] != NULL) {
			snprintf(error->text, sizeof error->text, "%s: sets %s, which %.*s sets too; keep one of them",
			         name, key->path, (int)strcspn(set_by[key - schema_keys], "="),
			         set_by[key - schema_keys]);
			return -1;
		}
		set_by[key - schema_keys] = *environment;
		if (schema_set(key, config, value, &why) != 0) {
			snprintf(error->text, sizeof error->text, "%s: %s", name, why.text);
			return -1;
		}
	}
	return 0;
}
