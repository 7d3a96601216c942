/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_change.c: any payload of a notification: it names one link, and then exactly, or it stands for all.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "links/code.h"
#include "links/postgres_change.h"

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *payload = malloc(size + 1), again[LINK_CODE_MAX + 2 + 64];
	struct pg_change change;
	int n;

	MUST(payload != NULL);
	memcpy(payload, data, size);
	payload[size] = '\0';
	pg_change_parse(payload, &change);
	if (!change.all) {
		MUST(code_valid(change.code, strlen(change.code)));
		n = snprintf(again, sizeof again, "%s ", change.code);
		for (size_t i = 0; i < sizeof change.sha256; i++)
			n += snprintf(again + n, sizeof again - (size_t)n, "%02x", change.sha256[i]);
		MUST(strcmp(again, payload) == 0);
	}
	free(payload);
	return 0;
}
