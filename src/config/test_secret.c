/* SPDX-License-Identifier: Apache-2.0 */
/* test_secret.c: a password out of a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/secret.h"

#define A100 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A510 A100 A100 A100 A100 A100 "aaaaaaaaaa"

static void write_file(char *path, const char *bytes, size_t len)
{
	int fd;

	strcpy(path, "/tmp/sluice-secret-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void secrets(void **state)
{
#define TEXT(text) text, sizeof text - 1
	static const struct {
		const char *bytes;
		size_t len;
		const char *secret; /* NULL: refused */
		const char *why;
	} cases[] = {
		{ TEXT("x"), "x", NULL },
		{ TEXT("pass word\n"), "pass word", NULL },
		{ TEXT("pass\r\n"), "pass", NULL },
		{ TEXT("pass\n\n"), "pass\n", NULL },
		{ TEXT("\npass"), "\npass", NULL },
		{ TEXT("pass\r"), "pass\r", NULL },
		{ TEXT(A510 "b"), A510 "b", NULL },
		{ TEXT(A510 "b\n"), A510 "b", NULL },
		{ TEXT(A510 "b\r\n"), A510 "b", NULL },
		{ TEXT(A510 "bc"), NULL, "is too long; a password has at most 511 bytes" },
		{ TEXT(A510 A510), NULL, "is too long; a password has at most 511 bytes" },
		{ TEXT(A510 "b\n\n"), NULL, "is too long; a password has at most 511 bytes" },
		{ TEXT(""), NULL, "is empty" },
		{ TEXT("\n"), NULL, "is empty" },
		{ TEXT("\r\n"), NULL, "is empty" },
		{ TEXT("pa\0ss\n"), NULL, "holds a NUL byte, which no password can" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char path[64], secret[CONFIG_SECRET_MAX] = "old", why[1024] = "", expected[1024];
		int result;

		write_file(path, cases[i].bytes, cases[i].len);
		result = config_read_secret("limiter.password_file", path, secret, why, sizeof why);
		unlink(path);
		assert_int_equal(result, cases[i].secret != NULL ? 0 : -1);
		assert_string_equal(secret, cases[i].secret != NULL ? cases[i].secret : "");
		if (cases[i].secret != NULL)
			continue;
		snprintf(expected, sizeof expected, "limiter.password_file: %s: %s", path, cases[i].why);
		assert_string_equal(why, expected);
	}
}

static void no_file(void **state)
{
	char secret[CONFIG_SECRET_MAX], why[256];

	assert_int_equal(config_read_secret("x.y", "/nonexistent", secret, why, sizeof why), -1);
	assert_string_equal(why, "x.y: /nonexistent: No such file or directory");
	assert_int_equal(config_read_secret("x.y", "/", secret, why, sizeof why), -1);
	assert_string_equal(why, "x.y: /: Is a directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(secrets), cmocka_unit_test(no_file) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
