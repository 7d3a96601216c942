/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_allowed.c: what a setting may be, in words for messages and the reference, and as a check of a struct
 * that is already filled.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/schema.h"
#include "config/value.h"

static const char *list_choices(const struct schema_key *key, char *to, size_t room)
{
	size_t used = 0;

	to[0] = '\0';
	for (const struct schema_choice *choice = key->choices; choice->name != NULL && used < room; choice++)
		used += (size_t)snprintf(to + used, room - used, "%s%s", used > 0 ? ", " : "",
		                         choice->shown != NULL ? choice->shown : choice->name);
	return to;
}

const char *schema_allowed(const struct schema_key *key, char *to, size_t room)
{
	char min[VALUE_SHOWN_MAX], max[VALUE_SHOWN_MAX];

	switch (key->type) {
	case SCHEMA_NUMBER:
		snprintf(to, room, "%" PRIu64 " to %" PRIu64, key->min, key->max);
		break;
	case SCHEMA_SIZE:
		snprintf(to, room, "%s to %s", value_show_size(key->min, min), value_show_size(key->max, max));
		break;
	case SCHEMA_DURATION:
		snprintf(to, room, "%s to %s", value_show_duration(key->min, min), value_show_duration(key->max, max));
		break;
	case SCHEMA_CHOICE:
	case SCHEMA_SUBJECT:
	case SCHEMA_STORE:
		return list_choices(key, to, room);
	case SCHEMA_PREFIX:
		snprintf(to, room, "up to %zu printable ASCII characters without blanks and braces", key->size - 1);
		break;
	case SCHEMA_FILE:
		snprintf(to, room, "a file name or -");
		break;
	case SCHEMA_READ:
		snprintf(to, room, "a file name, or nothing");
		break;
	case SCHEMA_NAME:
		snprintf(to, room, "1 to %zu of a-z, 0-9 and -", key->size - 1);
		break;
	case SCHEMA_ADDRESS:
		snprintf(to, room, "ADDR:PORT or [ADDR6]:PORT");
		break;
	case SCHEMA_NETWORKS:
		snprintf(to, room, "up to %d networks or addresses", CONFIG_LIST_MAX);
		break;
	case SCHEMA_HOSTS:
		snprintf(to, room, "up to %d of HOST or HOST:PORT", CONFIG_LIST_MAX);
		break;
	case SCHEMA_LIMITS:
		snprintf(to, room, "up to %d limits, N/DURATION or off", CONFIG_LIMITS_MAX);
		break;
	}
	return to;
}

static int check_number(const struct schema_key *key, const void *base, struct why *why)
{
	const void *field = (const char *)base + key->offset;
	uint64_t value = key->size == 1   ? *(const uint8_t *)field
	                 : key->size == 4 ? *(const uint32_t *)field
	                                  : *(const uint64_t *)field;
	char allowed[96];

	if (value < key->min || value > key->max)
		return why_set(why, "is out of range; allowed: %s", schema_allowed(key, allowed, sizeof allowed));
	return 0;
}

static int check_choice(const struct schema_key *key, const void *base, struct why *why)
{
	int value;

	memcpy(&value, (const char *)base + key->offset, sizeof value);
	for (const struct schema_choice *choice = key->choices; choice->name != NULL; choice++) {
		if (choice->value == value)
			return 0;
	}
	return why_set(why, "has no name for the value %d", value);
}

/* Sets the text that is there once more, into a copy: whatever may be set passes. */
static int check_text(const struct schema_key *key, const void *base, struct why *why)
{
	const char *text = (const char *)base + key->offset;
	char copy[CONFIG_STORE_MAX];
	struct schema_key at_start = *key;

	at_start.offset = 0;
	if (key->size > sizeof copy || memchr(text, '\0', key->size) == NULL)
		return why_set(why, "does not end");
	return schema_set(&at_start, copy, text, why);
}

int schema_check(const struct schema_key *key, const void *base, struct why *why)
{
	const struct config *config = base;

	switch (key->type) {
	case SCHEMA_NUMBER:
	case SCHEMA_SIZE:
	case SCHEMA_DURATION:
		return check_number(key, base, why);
	case SCHEMA_CHOICE:
	case SCHEMA_SUBJECT:
		return check_choice(key, base, why);
	case SCHEMA_STORE:
	case SCHEMA_PREFIX:
	case SCHEMA_FILE:
	case SCHEMA_READ:
	case SCHEMA_NAME:
		return check_text(key, base, why);
	case SCHEMA_ADDRESS:
		return config->listen_len > 0 ? 0 : why_set(why, "is not set");
	case SCHEMA_NETWORKS:
		return config->trusted_proxies_n <= CONFIG_LIST_MAX ? 0 : why_set(why, "are too many");
	case SCHEMA_HOSTS:
		return config->public_names_n <= CONFIG_LIST_MAX ? 0 : why_set(why, "are too many");
	case SCHEMA_LIMITS:
		return config->limits_n <= CONFIG_LIMITS_MAX ? 0 : why_set(why, "are too many");
	}
	return why_set(why, "is of an unknown type");
}
