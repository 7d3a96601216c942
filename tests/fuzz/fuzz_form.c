/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_form.c: any bytes as an urlencoded body. The first byte chooses the room.
 *
 * Holds: nothing is read or written out of bounds; the value found, escaped again, is found again; a value that
 * fits is the same in a larger room, and one that does not fit never fits in a smaller one; further fields of other
 * names change nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM_MAX 255

static void require(int holds)
{
	if (!holds)
		abort();
}

static void check_escaped_again(const char *value, size_t len)
{
	char body[4 + 3 * ROOM_MAX + 1], again[ROOM_MAX];
	size_t body_len = (size_t)sprintf(body, "url="), again_len;

	for (size_t i = 0; i < len; i++)
		body_len += (size_t)sprintf(body + body_len, "%%%02x", (unsigned char)value[i]);
	require(form_field(body, body_len, "url", again, sizeof again, &again_len) == FORM_OK);
	require(again_len == len && memcmp(again, value, len) == 0);
}

static void check_among_others(const char *body, size_t body_len, enum form_result result)
{
	static const char head[] = "u=%&urlx=1&", tail[] = "&ur=1&=";
	char *longer = malloc(sizeof head + body_len + sizeof tail), value[ROOM_MAX];
	size_t len;

	require(longer != NULL);
	memcpy(longer, head, sizeof head - 1);
	if (body_len > 0)
		memcpy(longer + sizeof head - 1, body, body_len);
	memcpy(longer + sizeof head - 1 + body_len, tail, sizeof tail - 1);
	require(form_field(longer, sizeof head - 1 + body_len + sizeof tail - 1, "url", value, sizeof value, &len) ==
	        result);
	free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t room = size > 0 ? data[0] : 0, len = 0, larger_len = 0, body_len = size > 0 ? size - 1 : 0;
	const char *body = size > 0 ? (const char *)data + 1 : NULL;
	char *value = malloc(room > 0 ? room : 1), larger[ROOM_MAX];
	enum form_result result, larger_result;

	require(value != NULL);
	result = form_field(body, body_len, "url", value, room, &len);
	larger_result = form_field(body, body_len, "url", larger, sizeof larger, &larger_len);
	require(result >= FORM_OK && result <= FORM_NO_ROOM);
	if (result == FORM_OK) {
		require(len <= room);
		require(larger_result == FORM_OK && larger_len == len && memcmp(value, larger, len) == 0);
		check_escaped_again(value, len);
	} else if (result != FORM_NO_ROOM) {
		require(larger_result == result);
	}
	if (larger_result == FORM_NO_ROOM)
		require(result == FORM_NO_ROOM);
	check_among_others(body, body_len, larger_result);
	free(value);
	return 0;
}
