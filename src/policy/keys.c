/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/keys.h"

#include <sodium.h>
#include <string.h>

#define HASH_BYTES 16
#define TAIL_LEN (1 + 2 * HASH_BYTES) /* "~" and the hash in hex */

_Static_assert(KEY_NAME_MAX + 3 + KEY_SUBJECT_MAX == STORE_KEY_MAX, "a key holds name, colon, braces and subject");

/* What stands for itself in a subject: all of an address, and no brace, percent sign or tilde. */
static bool is_plain(unsigned char c)
{
	/* One bit a character: 0x20 to 0x3f, 0x40 to 0x5f, 0x60 to 0x7f. */
	static const uint32_t plain[3] = {
		0x07ffe000u, /* - . / 0-9 : */
		0x87fffffeu, /* A-Z _ */
		0x07fffffeu, /* a-z */
	};
	unsigned row = (unsigned)(c >> 5) - 1;

	return row < 3 && (plain[row] >> (c & 31) & 1) != 0;
}

/* Writes as much of the escaped subject as fits, whole escapes only. @return bytes of it that were used. */
static size_t put_escaped(char *to, size_t room, const char *subject, size_t len, size_t *written)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t used = 0, out = 0;

	for (; used < len; used++) {
		unsigned char c = (unsigned char)subject[used];

		if (is_plain(c)) {
			if (out + 1 > room)
				break;
			to[out++] = (char)c;
		} else {
			if (out + 3 > room)
				break;
			to[out++] = '%';
			to[out++] = hex[c >> 4];
			to[out++] = hex[c & 15];
		}
	}
	*written = out;
	return used;
}

static size_t put_hashed(char *to, const char *subject, size_t len)
{
	unsigned char hash[HASH_BYTES];
	size_t written;

	put_escaped(to, KEY_SUBJECT_MAX - TAIL_LEN, subject, len, &written);
	/* Fails only for lengths that the compiler has already seen to be right. */
	(void)crypto_generichash(hash, sizeof hash, (const unsigned char *)subject, len, NULL, 0);
	to[written++] = '~';
	sodium_bin2hex(to + written, 2 * HASH_BYTES + 1, hash, sizeof hash);
	return written + 2 * HASH_BYTES;
}

size_t key_write(char key[STORE_KEY_MAX + 1], const char *limit_name, const char *subject, size_t subject_len)
{
	size_t name_len = strnlen(limit_name, KEY_NAME_MAX), written;
	char *to = key;

	memcpy(to, limit_name, name_len);
	to += name_len;
	*to++ = ':';
	*to++ = '{';
	if (put_escaped(to, KEY_SUBJECT_MAX, subject, subject_len, &written) < subject_len)
		written = put_hashed(to, subject, subject_len);
	to += written;
	*to++ = '}';
	*to = '\0';
	return (size_t)(to - key);
}
