/* SPDX-License-Identifier: Apache-2.0 */
/* test_timestamp.c: times as text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "links/timestamp.h"

struct row {
	const char *text;
	uint64_t us;
};

static const struct row good[] = {
	{ "1970-01-01T00:00:00Z", 0 },
	{ "1970-01-01T00:00:00.000001Z", 1 },
	{ "1970-01-01T00:00:00.1Z", 100000 },
	{ "1970-01-01T00:00:00.1234569Z", 123456 },
	{ "1970-01-01t00:00:01z", 1000000 },
	{ "1970-01-01 00:00:01+00:00", 1000000 },
	{ "1970-01-01T01:00:00+01:00", 0 },
	{ "1969-12-31T23:00:00-01:00", 0 },
	{ "2000-02-29T12:00:00Z", UINT64_C(951825600000000) },
	{ "2026-01-31T12:00:00.123456Z", UINT64_C(1769860800123456) },
	{ "2026-01-31T17:30:00.123456+05:30", UINT64_C(1769860800123456) },
	{ "2016-12-31T23:59:60Z", UINT64_C(1483228800000000) }, /* a leap second */
	{ "2100-03-01T00:00:00Z", UINT64_C(4107542400000000) },
	{ "9999-12-31T23:59:59.999999Z", TIMESTAMP_MAX_US },
};

static const char *const bad[] = {
	"",
	"2026-01-31",
	"2026-01-31T12:00:00",
	"2026-01-31T12:00Z",
	"2026-1-31T12:00:00Z",
	"26-01-31T12:00:00Z",
	"2026-00-31T12:00:00Z",
	"2026-13-31T12:00:00Z",
	"2026-02-29T12:00:00Z",
	"2100-02-29T12:00:00Z",
	"2026-04-31T12:00:00Z",
	"2026-01-00T12:00:00Z",
	"2026-01-31T24:00:00Z",
	"2026-01-31T12:60:00Z",
	"2026-01-31T12:00:61Z",
	"2026-01-31T12:00:00.Z",
	"2026-01-31T12:00:00,5Z",
	"2026-01-31T12:00:00 Z",
	"2026-01-31T12:00:00ZZ",
	"2026-01-31T12:00:00+1:00",
	"2026-01-31T12:00:00+24:00",
	"2026-01-31T12:00:00+01:60",
	"2026-01-31T12:00:00+0100",
	"1969-12-31T23:59:59Z",
	"1970-01-01T00:00:00+00:01",
	"9999-12-31T23:59:60Z",
	"9999-12-31T23:59:59-00:01",
	"0000-01-01T00:00:00Z",
	"-001-01-01T00:00:00Z",
	"1769860800",
	" 2026-01-31T12:00:00Z",
};

static void test_parse(void **state)
{
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		uint64_t us = 77;

		if (!timestamp_parse(good[i].text, strlen(good[i].text), &us) || us != good[i].us)
			fail_msg("%s: %llu", good[i].text, (unsigned long long)us);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint64_t us;

		if (timestamp_parse(bad[i], strlen(bad[i]), &us))
			fail_msg("%s was accepted", bad[i]);
	}
}

/* Against the C library, over many days; and back. */
static void test_round_trip(void **state)
{
	for (uint64_t s = 0; s <= TIMESTAMP_MAX_US / 1000000; s += 86400 * 13 + 12345) {
		char text[TIMESTAMP_TEXT_MAX], expected[64];
		uint64_t us = s * 1000000 + s % 1000000, back;
		time_t t = (time_t)s;
		size_t len;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
		len = timestamp_write(us, text);
		assert_int_equal(len, strlen(text));
		assert_memory_equal(text, expected, strlen(expected));
		assert_true(timestamp_parse(text, strlen(text), &back));
		assert_true(back == us);
	}
}

static void test_write(void **state)
{
	char text[TIMESTAMP_TEXT_MAX];

	timestamp_write(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	timestamp_write(TIMESTAMP_MAX_US, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
	timestamp_write(UINT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
	timestamp_write(UINT64_C(1769860800000100), text);
	assert_string_equal(text, "2026-01-31T12:00:00.000100Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
