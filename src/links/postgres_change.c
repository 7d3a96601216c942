/* SPDX-License-Identifier: Apache-2.0 */
/* postgres_change.c: see postgres_change.h. */
#include "links/postgres_change.h"

#include <string.h>

#include "links/code.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void pg_change_parse(const char *payload, struct pg_change *change)
{
	size_t len = strcspn(payload, " ");
	const char *hex = payload + len + 1;

	memset(change, 0, sizeof *change);
	change->all = true;
	if (!code_valid(payload, len) || payload[len] != ' ' || strlen(hex) != 2 * sizeof change->sha256)
		return;
	for (size_t i = 0; i < sizeof change->sha256; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return;
		change->sha256[i] = (unsigned char)(high << 4 | low);
	}
	memcpy(change->code, payload, len);
	change->all = false;
}
