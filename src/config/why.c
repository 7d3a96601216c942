/* SPDX-License-Identifier: Apache-2.0 */
#include "config/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 60   /* bytes of a value that are worth showing */
#define NEAREST_MAX 48 /* longer names are not guessed at */

#undef why_set /* which the header defines for an analyzer */

int why_set(struct why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* cppcheck-suppress ctuuninitvar; it is written, not read */
	vsnprintf(why->text, sizeof why->text, format, args);
	va_end(args);
	return -1;
}

const char *why_quote(const char *text, char out[WHY_QUOTED_MAX])
{
	size_t used = 0, i = 0;

	out[used++] = '"';
	for (; text[i] != '\0' && used < SHOWN_MAX; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			used += (size_t)sprintf(out + used, "\\x%02x", c);
		else
			out[used++] = (char)c;
	}
	/* A character of several bytes is shown whole or not at all. */
	while (text[i] != '\0' && used > 1 && ((unsigned char)text[i] & 0xc0) == 0x80) {
		used--;
		i--;
	}
	sprintf(out + used, "%s\"", text[i] != '\0' ? "…" : "");
	return out;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment distance, three rows of the table at a time. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NEAREST_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);

			row[j] = least(replaced, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

const char *why_nearest(const char *text, const char *const *names, size_t n)
{
	size_t len = strnlen(text, NEAREST_MAX + 1), best = NEAREST_MAX;
	const char *nearest = NULL;

	if (len > NEAREST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t name_len = names[i] != NULL ? strlen(names[i]) : NEAREST_MAX + 1, edits;

		if (name_len > NEAREST_MAX)
			continue;
		edits = distance(text, len, names[i], name_len);
		if (edits < best && edits <= (name_len >= 6 ? name_len / 3 : 1)) {
			best = edits;
			nearest = names[i];
		}
	}
	return nearest;
}
