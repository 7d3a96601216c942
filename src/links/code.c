/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code.c: see code.h.
 *
 * The alphabet has 57 characters: digits and letters without 0, 1, I, O and l. 57^7 is about 1.95e12 codes.
 */
#include "links/code.h"

#include <sodium.h>
#include <string.h>

static const char alphabet[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
#define ALPHABET_SIZE (sizeof alphabet - 1)
/* Bytes from here on are drawn again: 228 = 4 * 57, so each character has four of the bytes below. */
#define BYTE_LIMIT (256 / ALPHABET_SIZE * ALPHABET_SIZE)

static const char *const pages[] = { "shorten", "healthz", "readyz", "metrics" };

static bool is_page(const char *code, size_t len)
{
	for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
		if (strlen(pages[i]) == len && memcmp(pages[i], code, len) == 0)
			return true;
	}
	return false;
}

static void draw(char *code)
{
	size_t used = 0;

	while (used < LINK_CODE_LENGTH) {
		unsigned char bytes[LINK_CODE_LENGTH + 3]; /* one draw is enough most of the time */

		randombytes_buf(bytes, sizeof bytes);
		for (size_t i = 0; i < sizeof bytes && used < LINK_CODE_LENGTH; i++) {
			if (bytes[i] < BYTE_LIMIT)
				code[used++] = alphabet[bytes[i] % ALPHABET_SIZE];
		}
	}
	code[used] = '\0';
}

void code_draw(char code[LINK_CODE_MAX + 1])
{
	do
		draw(code);
	while (is_page(code, LINK_CODE_LENGTH));
}

bool code_valid(const char *code, size_t len)
{
	if (len == 0 || len > LINK_CODE_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = code[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
		      c == '-'))
			return false;
	}
	return !is_page(code, len);
}
