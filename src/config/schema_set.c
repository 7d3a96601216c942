/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_set.c: puts a text into a field as its line of the table says.
 */
#include "config/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"

static void *field_of(const struct schema_key *key, void *base)
{
	return (char *)base + key->offset;
}

/* What was found is shown as it was written: 0ms is not spelled 0s by whoever looks for it. */
static int check_bounds(const struct schema_key *key, const char *text, uint64_t value, struct why *why)
{
	char found[WHY_QUOTED_MAX], allowed[96];

	if (value >= key->min && value <= key->max)
		return 0;
	return why_set(why, "%s is out of range; allowed: %s", why_quote(text, found),
	               schema_allowed(key, allowed, sizeof allowed));
}

static int set_number(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	void *field = field_of(key, base);
	uint64_t value;
	int result = key->type == SCHEMA_DURATION ? value_duration(text, &value, why)
	             : key->type == SCHEMA_SIZE   ? value_size(text, &value, why)
	                                          : value_number(text, &value, why);

	if (result != 0 || check_bounds(key, text, value, why) != 0)
		return -1;
	if (key->size == 1)
		*(uint8_t *)field = (uint8_t)value;
	else if (key->size == 4)
		*(uint32_t *)field = (uint32_t)value;
	else
		*(uint64_t *)field = value;
	return 0;
}

static int set_choice(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	const char *names[8] = { NULL }, *nearest;
	char quoted[WHY_QUOTED_MAX], allowed[160];
	size_t n = 0;

	for (const struct schema_choice *choice = key->choices; choice->name != NULL; choice++) {
		if (strcmp(choice->name, text) == 0) {
			memcpy(field_of(key, base), &choice->value, sizeof choice->value);
			return 0;
		}
		if (n < sizeof names / sizeof names[0])
			names[n++] = choice->name;
	}
	nearest = why_nearest(text, names, n);
	schema_allowed(key, allowed, sizeof allowed);
	if (nearest != NULL)
		return why_set(why, "%s is not allowed; did you mean \"%s\"? Allowed: %s", why_quote(text, quoted),
		               nearest, allowed);
	return why_set(why, "%s is not allowed; allowed: %s", why_quote(text, quoted), allowed);
}

/* Takes over a text, with zeros behind it: equal settings are equal bytes. */
static int set_text(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	size_t len = strlen(text);

	if (len >= key->size)
		return why_set(why, "is %zu bytes long; at most %zu are allowed", len, key->size - 1);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return why_set(why, "holds a control character (\\x%02x)", (unsigned char)text[i]);
	}
	memset(field_of(key, base), 0, key->size);
	memcpy(field_of(key, base), text, len);
	return 0;
}

/* A store whose scheme was left out: `memory`, or a file alone. */
static int missing_scheme(const struct schema_key *key, const char *text, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	size_t len = strlen(text);

	why_quote(text, quoted);
	for (const struct schema_choice *choice = key->choices; choice->name != NULL; choice++) {
		size_t scheme_len = strlen(choice->name) - 1;

		if (strncmp(choice->name, text, scheme_len) == 0 && text[scheme_len] == '\0')
			return why_set(why, "%s is not a store; write %s", quoted, choice->shown);
		/* What is shown otherwise than it was written is no file name to suggest, nor is half a URL. */
		if (choice->is_path && strncmp(quoted + 1, text, len) == 0 && strstr(text, "//") == NULL)
			return why_set(why, "%s is not a store; write %s%s", quoted, choice->name, text);
	}
	return 0;
}

static int set_store(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	char scheme[WHY_QUOTED_MAX], quoted[WHY_QUOTED_MAX], allowed[SCHEMA_ALLOWED_MAX];
	size_t len = strcspn(text, ":");

	for (const struct schema_choice *choice = key->choices; choice->name != NULL; choice++) {
		const char *rest = text + strlen(choice->name);

		if (strncmp(text, choice->name, strlen(choice->name)) != 0)
			continue;
		if (choice->check == NULL && *rest != '\0')
			return why_set(why, "nothing may follow \"%s\"", choice->name);
		if (choice->check != NULL && choice->check(text, why) != 0)
			return -1;
		return set_text(key, base, text, why);
	}
	if (len > 0 && text[len] == '\0' && missing_scheme(key, text, why) != 0)
		return -1;
	/* Only the scheme is shown: a URL may hold a password. */
	snprintf(scheme, sizeof scheme, "%.*s", (int)(len < 40 ? len + (text[len] == ':') : 40), text);
	return why_set(why, "this build knows %s; it has no store %s", schema_allowed(key, allowed, sizeof allowed),
	               why_quote(scheme, quoted));
}

static int set_prefix(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	for (const char *c = text; *c != '\0'; c++) {
		/* A brace would move the hash tag, and with it every key to one slot of a Cluster. */
		if (*c <= ' ' || *c > '~' || *c == '{' || *c == '}')
			return why_set(why, "may hold printable ASCII without blanks and braces only");
	}
	return set_text(key, base, text, why);
}

static int set_file(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	return *text == '\0' ? why_set(why, "names no file; write - for standard output")
	                     : set_text(key, base, text, why);
}

static int set_name(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

	if (len == 0 || text[len] != '\0' || len >= key->size)
		return why_set(why, "%s is not a name; write 1 to %zu of a-z, 0-9 and -", why_quote(text, quoted),
		               key->size - 1);
	return set_text(key, base, text, why);
}

static int set_address(struct config *config, const char *text, struct why *why)
{
	if (strlen(text) >= sizeof config->listen_text)
		return why_set(why, "is %zu bytes long; no address is", strlen(text));
	if (value_address(text, &config->listen, &config->listen_len, why) != 0)
		return -1;
	memset(config->listen_text, 0, sizeof config->listen_text);
	memcpy(config->listen_text, text, strlen(text));
	return 0;
}

static int add_network(struct config *config, const char *text, struct why *why)
{
	struct config_network network;

	if (value_network(text, &network, why) != 0)
		return -1;
	if (config->trusted_proxies_n == CONFIG_LIST_MAX)
		return why_set(why, "at most %d are allowed", CONFIG_LIST_MAX);
	config->trusted_proxies[config->trusted_proxies_n++] = network;
	return 0;
}

static int add_host(struct config *config, const char *text, struct why *why)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
	size_t len = strspn(text, allowed);
	char quoted[WHY_QUOTED_MAX], *to;

	if (len == 0 || text[len] != '\0' || len >= CONFIG_TEXT_MAX)
		return why_set(why, "%s is not a host name; write sho.rt, sho.rt:8080 or [2001:db8::1]",
		               why_quote(text, quoted));
	if (config->public_names_n == CONFIG_LIST_MAX)
		return why_set(why, "at most %d are allowed", CONFIG_LIST_MAX);
	to = config->public_names[config->public_names_n++];
	for (size_t i = 0; i < len; i++)
		to[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
	return 0;
}

bool schema_is_list(const struct schema_key *key)
{
	return key->type == SCHEMA_NETWORKS || key->type == SCHEMA_HOSTS;
}

void schema_list_clear(const struct schema_key *key, void *base)
{
	memset(field_of(key, base), 0, key->size);
}

int schema_list_add(const struct schema_key *key, void *base, const char *item, struct why *why)
{
	return key->type == SCHEMA_NETWORKS ? add_network(base, item, why) : add_host(base, item, why);
}

/* A list in one text, as a variable holds it: items separated by commas or blanks. */
static int set_list(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	static const char separators[] = ", \t";
	char item[CONFIG_TEXT_MAX];

	schema_list_clear(key, base);
	for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
		size_t len = strcspn(text, separators);

		if (len >= sizeof item)
			return why_set(why, "holds an item of %zu bytes; at most %zu are allowed", len,
			               sizeof item - 1);
		memcpy(item, text, len);
		item[len] = '\0';
		if (schema_list_add(key, base, item, why) != 0)
			return -1;
		text += len;
	}
	return 0;
}

int schema_limit_make(const struct schema_limit *from, struct config_limit *limit, struct why *why)
{
	const char *reason = NULL;

	memset(limit, 0, sizeof *limit);
	memcpy(limit->name, from->name, sizeof limit->name);
	limit->subject = (enum config_subject)from->subject;
	if (sluice_policy_init(&limit->policy, (enum sluice_algorithm)from->algorithm, from->limit, from->window_us,
	                       from->burst, &reason) != 0)
		return why_set(why, "%s", reason);
	return 0;
}

void schema_limit_defaults(struct schema_limit *limit)
{
	struct why why;

	memset(limit, 0, sizeof *limit);
	for (size_t i = 0; i < schema_limit_keys_n; i++) {
		const struct schema_key *key = &schema_limit_keys[i];

		if (key->initial != NULL && schema_set(key, limit, key->initial, &why) != 0)
			abort(); /* the table contradicts itself; a test sets every default */
	}
}

/* `10 / 60s` is a limit but for its blanks; anything else that holds some is not. */
static bool is_spaced_limit(const char *text, char without[48])
{
	size_t n = 0;
	struct why ignored;
	uint64_t value;
	char *slash;
	bool is_limit;

	for (; *text != '\0'; text++) {
		if (*text == ' ' || *text == '\t')
			continue;
		if (n == 47)
			return false;
		without[n++] = *text;
	}
	without[n] = '\0';
	slash = strchr(without, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	is_limit = value_number(without, &value, &ignored) == 0 && value_duration(slash + 1, &value, &ignored) == 0;
	*slash = '/';
	return is_limit;
}

/* `10/60s` sets limit and window of the first limit; `off` turns all off. */
static int set_limits(struct config *config, const char *text, struct why *why)
{
	char quoted[WHY_QUOTED_MAX], number[24] = "", without[48];
	const char *slash = strchr(text, '/');
	struct config_limit *first = &config->limits[0];
	struct schema_limit fields;

	if (strcmp(text, "off") == 0) {
		memset(config->limits, 0, sizeof config->limits);
		config->limits_n = 0;
		return 0;
	}
	if (strpbrk(text, " \t") != NULL && is_spaced_limit(text, without))
		return why_set(why, "%s is not a limit; write %s, without blanks", why_quote(text, quoted), without);
	if (slash == NULL || (size_t)(slash - text) >= sizeof number)
		return why_set(why, "%s is not a limit; write 10/60s (requests/window) or off",
		               why_quote(text, quoted));
	memcpy(number, text, (size_t)(slash - text));

	schema_limit_defaults(&fields);
	memcpy(fields.name, "per-client", sizeof "per-client");
	if (config->limits_n > 0) {
		memcpy(fields.name, first->name, sizeof fields.name);
		fields.algorithm = (int)first->policy.algorithm;
		fields.subject = (int)first->subject;
		/* A burst of its own stays; one that was the limit goes with it. */
		fields.burst = first->policy.burst != first->policy.limit ? first->policy.burst : 0;
	}
	for (size_t i = 0; i < schema_limit_keys_n; i++) {
		const struct schema_key *key = &schema_limit_keys[i];

		if (key->offset == offsetof(struct schema_limit, limit) && schema_set(key, &fields, number, why) != 0)
			return -1;
		if (key->offset == offsetof(struct schema_limit, window_us) &&
		    schema_set(key, &fields, slash + 1, why) != 0)
			return -1;
	}
	if (schema_limit_make(&fields, first, why) != 0)
		return -1;
	if (config->limits_n == 0)
		config->limits_n = 1;
	return 0;
}

int schema_set(const struct schema_key *key, void *base, const char *text, struct why *why)
{
	switch (key->type) {
	case SCHEMA_NUMBER:
	case SCHEMA_SIZE:
	case SCHEMA_DURATION:
		return set_number(key, base, text, why);
	case SCHEMA_CHOICE:
	case SCHEMA_SUBJECT:
		return set_choice(key, base, text, why);
	case SCHEMA_STORE:
		return set_store(key, base, text, why);
	case SCHEMA_PREFIX:
		return set_prefix(key, base, text, why);
	case SCHEMA_FILE:
		return set_file(key, base, text, why);
	case SCHEMA_READ:
		return set_text(key, base, text, why);
	case SCHEMA_NAME:
		return set_name(key, base, text, why);
	case SCHEMA_ADDRESS:
		return set_address(base, text, why);
	case SCHEMA_NETWORKS:
	case SCHEMA_HOSTS:
		return set_list(key, base, text, why);
	case SCHEMA_LIMITS:
		return set_limits(base, text, why);
	}
	return why_set(why, "is of an unknown type");
}
