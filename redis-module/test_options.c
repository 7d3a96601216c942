/* SPDX-License-Identifier: Apache-2.0 */
/* test_options.c: the arguments of the module. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "redis-module/options.h"

static int read_texts(struct options *options, const char *const *texts, struct why *why)
{
	struct word words[4];
	size_t n = 0;

	for (; n < 4 && texts[n] != NULL; n++)
		words[n] = (struct word){ .at = texts[n], .len = strlen(texts[n]) };
	return options_read(options, words, n, why);
}

static void test_options(void **context)
{
	static const struct {
		const char *words[5];
		bool cl_throttle;
		const char *why; /* NULL: it is right */
	} cases[] = {
		{ { NULL }, true, NULL },
		{ { "cl-throttle", "yes" }, true, NULL },
		{ { "cl-throttle", "no" }, false, NULL },
		{ { "CL-Throttle", "NO" }, false, NULL },
		{ { "cl-throttle" }, false, "cl-throttle needs a value: yes or no" },
		{ { "cl-throttle", "off" }, false, "cl-throttle must be yes or no, not \"off\"" },
		{ { "cl-throttle", "" }, false, "cl-throttle must be yes or no, not \"\"" },
		{ { "cl-throttle", "no", "cl-throttle", "yes" }, false, "cl-throttle comes twice" },
		{ { "clthrottle", "no" },
		  false,
		  "\"clthrottle\" is no argument of this module; there is one: cl-throttle yes|no" },
		{ { "cl-throttle", "no", "more" },
		  false,
		  "\"more\" is no argument of this module; there is one: cl-throttle yes|no" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct options options;
		struct why why = { "" };
		int result = read_texts(&options, cases[i].words, &why);

		if (cases[i].why != NULL) {
			assert_int_equal(result, -1);
			assert_string_equal(why.text, cases[i].why);
		} else {
			assert_int_equal(result, 0);
			assert_int_equal(options.cl_throttle, cases[i].cl_throttle);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_options) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
