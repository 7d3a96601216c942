/* SPDX-License-Identifier: Apache-2.0 */
/* test_keys.c: keys, and that no two subjects share one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/keys.h"

static void plain_and_escaped(void **state)
{
	static const struct {
		const char *name, *subject;
		size_t len;
		const char *key;
	} cases[] = {
		{ "per-client", "203.0.113.7", 11, "per-client:{203.0.113.7}" },
		{ "per-client", "2001:db8:0:1::/64", 17, "per-client:{2001:db8:0:1::/64}" },
		{ "a", "", 0, "a:{}" },
		{ "a", "AZaz09._:/-", 11, "a:{AZaz09._:/-}" },
		{ "a", "{}", 2, "a:{%7B%7D}" },
		{ "a", "a}:{b", 5, "a:{a%7D:%7Bb}" },
		{ "a", "%7B", 3, "a:{%257B}" },
		{ "a", "~", 1, "a:{%7E}" },
		{ "a", " \t\r\n", 4, "a:{%20%09%0D%0A}" },
		{ "a", "\0x\0", 3, "a:{%00x%00}" },
		{ "a", "\x7f\x80\xff", 3, "a:{%7F%80%FF}" },
		{ "a", "@[`^\\*+,;=?", 11, "a:{%40%5B%60%5E%5C%2A%2B%2C%3B%3D%3F}" },
	};
	char key[STORE_KEY_MAX + 1];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(key_write(key, cases[i].name, cases[i].subject, cases[i].len), strlen(cases[i].key));
		assert_string_equal(key, cases[i].key);
	}
}

static void every_byte(void **state)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-";
	char key[STORE_KEY_MAX + 1], expected[16];

	for (int c = 0; c < 256; c++) {
		char subject = (char)c;

		if (c != 0 && strchr(plain, c) != NULL)
			snprintf(expected, sizeof expected, "a:{%c}", c);
		else
			snprintf(expected, sizeof expected, "a:{%%%02X}", c);
		key_write(key, "a", &subject, 1);
		assert_string_equal(key, expected);
	}
}

static const char longest_name[] = "abcdefghijklmnopqrstuvwxyz-0123";

static void long_subjects(void **state)
{
	char subject[4096], key[STORE_KEY_MAX + 1], other[STORE_KEY_MAX + 1], hex[33];
	unsigned char hash[16];

	memset(subject, 'a', sizeof subject);
	/* The longest that stands as it is, with the longest name: exactly full. */
	assert_int_equal(key_write(key, longest_name, subject, KEY_SUBJECT_MAX), STORE_KEY_MAX);
	assert_null(strchr(key, '~'));
	assert_int_equal(key[STORE_KEY_MAX - 1], '}');
	/* One more: cut, hashed. */
	assert_int_equal(key_write(key, longest_name, subject, KEY_SUBJECT_MAX + 1), STORE_KEY_MAX);
	crypto_generichash(hash, sizeof hash, (const unsigned char *)subject, KEY_SUBJECT_MAX + 1, NULL, 0);
	sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
	assert_non_null(strstr(key, "aaa~"));
	assert_memory_equal(strchr(key, '~') + 1, hex, 32);
	assert_string_equal(strchr(key, '~') + 33, "}");
	/* Subjects that differ behind the cut have different keys. */
	subject[4095] = 'b';
	key_write(key, "x", subject, 4095);
	key_write(other, "x", subject, 4096);
	assert_string_not_equal(key, other);
	/* Escapes are never cut in two, wherever the cut falls. */
	for (size_t shift = 0; shift < 3; shift++) {
		const char *tail;

		memset(subject, 'a', shift);
		memset(subject + shift, '%', 300);
		assert_true(key_write(key, longest_name, subject, shift + 300) <= STORE_KEY_MAX);
		tail = strchr(key, '~');
		assert_non_null(tail);
		assert_memory_equal(tail - 3, "%25", 3);
	}
}

/* What stands between the braces does not depend on the name: all limits of a subject are in one Cluster slot. */
static void limits_of_a_subject_share_a_slot(void **state)
{
	char subject[1024], a[STORE_KEY_MAX + 1], b[STORE_KEY_MAX + 1];

	for (size_t len = 0; len <= sizeof subject; len += len < 300 ? 1 : 97) {
		memset(subject, len % 2 == 0 ? 'a' : '{', len);
		key_write(a, "x", subject, len);
		key_write(b, longest_name, subject, len);
		assert_string_equal(strchr(a, '{'), strchr(b, '{'));
		assert_ptr_equal(strchr(a, '{'), strrchr(a, '{'));
		assert_ptr_equal(strchr(a, '}'), a + strlen(a) - 1);
	}
}

static void long_names_are_cut(void **state)
{
	char name[200], key[STORE_KEY_MAX + 1];

	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = '\0';
	assert_int_equal(key_write(key, name, "s", 1), KEY_NAME_MAX + 4);
	assert_int_equal(strlen(key), KEY_NAME_MAX + 4);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* All subjects of up to four bytes over an alphabet that is as awkward as can be, and their long relatives. */
static void no_two_subjects_share_a_key(void **state)
{
	static const char alphabet[] = { 'a', '%', '2', '5', '{', '}', '~', '\0' };
	size_t n = 0, room = 2 * (1 + 8 + 64 + 512 + 4096);
	char(*keys)[STORE_KEY_MAX + 1] = malloc(room * sizeof *keys);

	assert_non_null(keys);
	for (size_t len = 0, count = 1; len <= 4; len++, count *= 8) {
		for (size_t i = 0; i < count; i++) {
			char subject[4 + 218];

			memset(subject, 'x', sizeof subject);
			for (size_t j = 0, rest = i; j < len; j++, rest /= 8)
				subject[j] = alphabet[rest % 8];
			key_write(keys[n++], "a", subject, len);
			key_write(keys[n++], "a", subject, len + 218); /* some of these are just short enough */
		}
	}
	assert_int_equal(n, room);
	qsort(keys, n, sizeof *keys, compare);
	for (size_t i = 1; i < n; i++)
		assert_string_not_equal(keys[i - 1], keys[i]);
	free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_and_escaped),  cmocka_unit_test(every_byte),
		cmocka_unit_test(long_subjects),      cmocka_unit_test(limits_of_a_subject_share_a_slot),
		cmocka_unit_test(long_names_are_cut), cmocka_unit_test(no_two_subjects_share_a_key),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
