/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of form.h: one field out of an urlencoded body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "http/form.h"

/* A string literal with its length, NUL bytes included. */
#define BYTES(literal) literal, sizeof(literal) - 1

struct form_case {
	const char *body;
	size_t body_len;
	enum form_result result;
	const char *value; /* with FORM_OK */
	size_t value_len;
};

static const struct form_case cases[] = {
	/* The field, alone and among others. */
	{ BYTES("url=x"), FORM_OK, BYTES("x") },
	{ BYTES("url=http://a/b"), FORM_OK, BYTES("http://a/b") },
	{ BYTES("a=1&url=x"), FORM_OK, BYTES("x") },
	{ BYTES("url=x&a=1"), FORM_OK, BYTES("x") },
	{ BYTES("a=1&url=x&b=2"), FORM_OK, BYTES("x") },
	{ BYTES("&&url=x&&"), FORM_OK, BYTES("x") },
	/* Empty, and without an equals sign. */
	{ BYTES("url="), FORM_OK, BYTES("") },
	{ BYTES("url"), FORM_OK, BYTES("") },
	{ BYTES("url&a=1"), FORM_OK, BYTES("") },
	{ BYTES("url=&a=1"), FORM_OK, BYTES("") },
	/* Only the first equals sign parts name and value. */
	{ BYTES("url=a=b=c"), FORM_OK, BYTES("a=b=c") },
	{ BYTES("url=="), FORM_OK, BYTES("=") },
	/* Escapes. */
	{ BYTES("url=a+b"), FORM_OK, BYTES("a b") },
	{ BYTES("url=a%2Bb"), FORM_OK, BYTES("a+b") },
	{ BYTES("url=%41%6a%6A"), FORM_OK, BYTES("Ajj") },
	{ BYTES("url=%26%3D%25"), FORM_OK, BYTES("&=%") },
	{ BYTES("url=%00"), FORM_OK, BYTES("\0") },
	{ BYTES("url=a%00b"), FORM_OK, BYTES("a\0b") },
	{ BYTES("url=a\0b"), FORM_OK, BYTES("a\0b") },
	{ BYTES("url=%ff\xff"), FORM_OK, BYTES("\xff\xff") },
	{ BYTES("url=%0d%0a"), FORM_OK, BYTES("\r\n") },
	{ BYTES("url=%2525"), FORM_OK, BYTES("%25") }, /* decoded once only */
	{ BYTES("%75r%6C=x"), FORM_OK, BYTES("x") },   /* so are names */
	/* Broken escapes. */
	{ BYTES("url=%"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=%4"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=%4g"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=%g4"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=%%41"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=% 4"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=%-1"), FORM_BAD_ESCAPE, NULL, 0 },
	{ BYTES("url=a%4&a=1"), FORM_BAD_ESCAPE, NULL, 0 }, /* must not borrow the "&" */
	/* ... in fields that nobody asked for are theirs alone. */
	{ BYTES("a=%&url=x"), FORM_OK, BYTES("x") },
	{ BYTES("%=1&url=x"), FORM_OK, BYTES("x") },
	{ BYTES("ur%=1&url=x"), FORM_OK, BYTES("x") },
	{ BYTES("ur%6=1&url=x"), FORM_OK, BYTES("x") },
	/* Missing. */
	{ BYTES(""), FORM_MISSING, NULL, 0 },
	{ BYTES("&"), FORM_MISSING, NULL, 0 },
	{ BYTES("=url"), FORM_MISSING, NULL, 0 },
	{ BYTES("=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("ur=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("urll=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("URL=x"), FORM_MISSING, NULL, 0 },
	{ BYTES(" url=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("url\0=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("url%00=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("a=url=x"), FORM_MISSING, NULL, 0 },
	{ BYTES("a=1;url=x"), FORM_MISSING, NULL, 0 }, /* only "&" parts fields */
	/* Twice: which one was meant? */
	{ BYTES("url=x&url=x"), FORM_TWICE, NULL, 0 },
	{ BYTES("url&url"), FORM_TWICE, NULL, 0 },
	{ BYTES("url=x&%75rl=y"), FORM_TWICE, NULL, 0 },
	{ BYTES("url=%&url=y"), FORM_TWICE, NULL, 0 },
};

/* Exactly as large as needed, so that a sanitizer sees the first byte beyond. */
static char *copy_exactly(const char *bytes, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	return copy;
}

static void reads_one_field(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct form_case *c = &cases[i];
		char *body = copy_exactly(c->body, c->body_len);
		char value[64];
		size_t len = SIZE_MAX;
		enum form_result result = form_field(body, c->body_len, "url", value, sizeof value, &len);

		if (result != c->result)
			fail_msg("case %zu, \"%s\": result %d, not %d", i, c->body, (int)result, (int)c->result);
		if (c->result == FORM_OK) {
			if (len != c->value_len)
				fail_msg("case %zu, \"%s\": %zu bytes, not %zu", i, c->body, len, c->value_len);
			assert_memory_equal(value, c->value, len);
		}
		free(body);
	}
}

/* A value that fills the room to the last byte is fine, and one byte more is not, escaped or not. */
static void keeps_to_the_room(void **state)
{
	static const char *const unit[] = { "a", "%41", "+" };

	for (size_t u = 0; u < sizeof unit / sizeof unit[0]; u++) {
		for (size_t room = 0; room < 70; room++) {
			char body[512] = "url=";
			char *full = malloc(room > 0 ? room : 1);
			size_t len;

			assert_non_null(full);
			for (size_t i = 0; i < room; i++)
				strcat(body, unit[u]);
			assert_int_equal(form_field(body, strlen(body), "url", full, room, &len), FORM_OK);
			assert_int_equal(len, room);
			strcat(body, unit[u]);
			assert_int_equal(form_field(body, strlen(body), "url", full, room, &len), FORM_NO_ROOM);
			free(full);
		}
	}
}

/* Every byte survives its escape, in either case of the digits. */
static void decodes_every_byte(void **state)
{
	for (int byte = 0; byte < 256; byte++) {
		char body[8], value[1];
		size_t len;

		for (int upper = 0; upper < 2; upper++) {
			snprintf(body, sizeof body, upper ? "u=%%%02X" : "u=%%%02x", (unsigned)byte);
			assert_int_equal(form_field(body, 5, "u", value, sizeof value, &len), FORM_OK);
			assert_int_equal(len, 1);
			assert_int_equal((unsigned char)value[0], byte);
		}
	}
}

static void a_null_body_is_an_empty_one(void **state)
{
	char value[1];
	size_t len;

	assert_int_equal(form_field(NULL, 0, "url", value, sizeof value, &len), FORM_MISSING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_one_field),
		cmocka_unit_test(keeps_to_the_room),
		cmocka_unit_test(decodes_every_byte),
		cmocka_unit_test(a_null_body_is_an_empty_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
