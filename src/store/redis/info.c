/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/info.h"

#include <stdio.h>
#include <string.h>

/* Takes only what can stand in a log line, and only whole. */
static void copy(char *to, size_t size, const char *from, size_t len)
{
	if (len >= size)
		return;
	for (size_t i = 0; i < len; i++) {
		if (from[i] <= ' ' || from[i] > '~')
			return;
	}
	memcpy(to, from, len);
	to[len] = '\0';
}

static uint64_t number(const char *text, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len && text[i] >= '0' && text[i] <= '9' && value < UINT64_MAX / 10 - 1; i++)
		value = value * 10 + (uint64_t)(text[i] - '0');
	return value;
}

static bool is(const char *name, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(name, what, len) == 0;
}

static void read_field(struct redis_info *info, const char *name, size_t name_len, const char *value, size_t len)
{
	/* Valkey gives the version of Redis that it is compatible with, too. */
	if (is(name, name_len, "valkey_version")) {
		info->valkey = true;
		copy(info->version, sizeof info->version, value, len);
	} else if (is(name, name_len, "redis_version") && !info->valkey) {
		copy(info->version, sizeof info->version, value, len);
	} else if (is(name, name_len, "run_id")) {
		copy(info->run_id, sizeof info->run_id, value, len);
	} else if (is(name, name_len, "role")) {
		copy(info->role, sizeof info->role, value, len);
	} else if (is(name, name_len, "maxmemory_policy")) {
		copy(info->policy, sizeof info->policy, value, len);
	} else if (is(name, name_len, "maxmemory")) {
		info->maxmemory = number(value, len);
	}
}

void redis_info_read(struct redis_info *info, const char *text, size_t len)
{
	const char *end = text + len;

	*info = (struct redis_info){ .valkey = false };
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline != NULL ? newline : end;
		const char *colon = memchr(text, ':', (size_t)(line_end - text));

		if (colon != NULL) {
			size_t value_len = (size_t)(line_end - colon - 1);

			if (value_len > 0 && colon[value_len] == '\r')
				value_len--;
			read_field(info, text, (size_t)(colon - text), colon + 1, value_len);
		}
		text = newline != NULL ? newline + 1 : end;
	}
}

void redis_info_about(const struct redis_info *info, char *about, size_t about_size, char *warning, size_t warning_size)
{
	int len = snprintf(about, about_size, "%s %s", info->valkey ? "Valkey" : "Redis",
	                   info->version[0] != '\0' ? info->version : "of unknown version");

	if (len > 0 && (size_t)len < about_size && info->maxmemory > 0)
		snprintf(about + len, about_size - (size_t)len, ", %llu MiB, %s",
		         (unsigned long long)(info->maxmemory >> 20), info->policy);
	*warning = '\0';
	if (info->maxmemory > 0 && info->policy[0] != '\0' && strcmp(info->policy, "noeviction") != 0)
		snprintf(warning, warning_size,
		         "maxmemory-policy is %s: when its memory is full it forgets clients that are at their limit; "
		         "set it to noeviction",
		         info->policy);
}
