/* SPDX-License-Identifier: Apache-2.0 */
#include "http/form.h"

#include <stdbool.h>
#include <string.h>

#include "base/hex.h"

/* Decodes the character at *at and steps over it. @return the byte, or -1 for a broken escape. */
static int decode_one(const char **at, const char *end)
{
	char c = *(*at)++;
	int high, low;

	if (c == '+')
		return ' ';
	if (c != '%')
		return (unsigned char)c;
	if (end - *at < 2)
		return -1;
	high = hex_value((*at)[0]);
	low = hex_value((*at)[1]);
	*at += 2;
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* @return whether [at, end) decodes to `name`. */
static bool is_name(const char *at, const char *end, const char *name)
{
	while (at < end && *name != '\0') {
		if (decode_one(&at, end) != (unsigned char)*name++)
			return false;
	}
	return at == end && *name == '\0';
}

static enum form_result decode(const char *at, const char *end, char *value, size_t room, size_t *len)
{
	for (*len = 0; at < end; (*len)++) {
		int c = decode_one(&at, end);

		if (c < 0)
			return FORM_BAD_ESCAPE;
		if (*len == room)
			return FORM_NO_ROOM;
		value[*len] = (char)c;
	}
	return FORM_OK;
}

enum form_result form_field(const char *body, size_t body_len, const char *name, char *value, size_t room, size_t *len)
{
	const char *end = body + body_len, *found = NULL, *found_end = NULL;

	for (const char *at = body; at < end;) {
		const char *pair_end = memchr(at, '&', (size_t)(end - at));
		const char *equals;

		if (pair_end == NULL)
			pair_end = end;
		equals = memchr(at, '=', (size_t)(pair_end - at));
		if (is_name(at, equals != NULL ? equals : pair_end, name)) {
			if (found != NULL)
				return FORM_TWICE;
			found = equals != NULL ? equals + 1 : pair_end;
			found_end = pair_end;
		}
		at = pair_end < end ? pair_end + 1 : end;
	}
	if (found == NULL)
		return FORM_MISSING;
	return decode(found, found_end, value, room, len);
}
