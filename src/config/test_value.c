/* SPDX-License-Identifier: Apache-2.0 */
/* test_value.c: how single values are spelled, and what is said about those that are not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "config/value.h"

#define UNCHANGED UINT64_C(0x5a5a5a5a5a5a5a5a)

struct number_case {
	const char *text;
	uint64_t value;  /* when `why` is NULL */
	const char *why; /* part of the reason */
};

static void run_numbers(int (*read)(const char *, uint64_t *, struct why *), const struct number_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = UNCHANGED;
		struct why why = { "" };
		int result = read(cases[i].text, &value, &why);

		if (cases[i].why == NULL ? result != 0 || value != cases[i].value
		                         : result != -1 || value != UNCHANGED || !strstr(why.text, cases[i].why))
			fail_msg("\"%s\": result %d, value %llu, why \"%s\"", cases[i].text, result,
			         (unsigned long long)value, why.text);
	}
}

#define RUN(read, cases) run_numbers(read, cases, sizeof(cases) / sizeof((cases)[0]))

static void durations(void **state)
{
	static const struct number_case cases[] = {
		{ "0s", 0, NULL },
		{ "500us", 500, NULL },
		{ "50ms", 50000, NULL },
		{ "60s", 60000000, NULL },
		{ "5m", 300000000, NULL },
		{ "1h", UINT64_C(3600000000), NULL },
		{ "30d", UINT64_C(2592000000000), NULL },
		{ "00060s", 60000000, NULL },
		{ "18446744073709551615us", UINT64_MAX, NULL },
		{ "18446744073709551616us", 0, "\"18446744073709551616us\" is too large" },
		{ "18446744073709552ms", 0, "is too large" },
		{ "213503982d", UINT64_C(18446744044800000000), NULL },
		{ "213503983d", 0, "is too large" },
		{ "213503982334602d", 0, "is too large" },
		{ "99999999999999999999999999999s", 0, "is too large" },
		{ "60", 0, "\"60\" has no unit; write 60s, 500ms, 1h…" },
		{ "0", 0, "\"0\" has no unit; write 0s" },
		{ "99999999999999999999999999999", 0, "is not a duration" },
		{ "", 0, "\"\" is not a duration; write a whole number and a unit: 500us, 50ms, 60s, 5m, 1h, 30d" },
		{ "s", 0, "\"s\" is not a duration" },
		{ "1.5s", 0, "\"1.5s\" is not a duration" },
		{ "-1s", 0, "\"-1s\" is not a duration" },
		{ "+1s", 0, "is not a duration" },
		{ " 1s", 0, "is not a duration" },
		{ "1 s", 0, "is not a duration" },
		{ "1s ", 0, "is not a duration" },
		{ "1sec", 0, "is not a duration" },
		{ "1S", 0, "is not a duration" },
		{ "1M", 0, "is not a duration" },
		{ "1h30m", 0, "is not a duration" },
		{ "0x10s", 0, "is not a duration" },
		{ "1e3s", 0, "is not a duration" },
	};

	RUN(value_duration, cases);
}

static void sizes(void **state)
{
	static const struct number_case cases[] = {
		{ "0", 0, NULL },
		{ "65536", 65536, NULL },
		{ "64KiB", 65536, NULL },
		{ "1MiB", 1048576, NULL },
		{ "2GiB", UINT64_C(2147483648), NULL },
		{ "1TiB", UINT64_C(1099511627776), NULL },
		{ "18446744073709551615", UINT64_MAX, NULL },
		{ "16777215TiB", UINT64_C(16777215) << 40, NULL },
		{ "16777216TiB", 0, "\"16777216TiB\" is too large" },
		{ "18446744073709551616", 0, "is too large" },
		{ "", 0, "\"\" is not a size; write 65536 (bytes), 64KiB, 1MiB, 2GiB" },
		{ "KiB", 0, "is not a size" },
		{ "64kB", 0, "is not a size" },
		{ "64k", 0, "is not a size" },
		{ "64 KiB", 0, "is not a size" },
		{ "64KiBs", 0, "is not a size" },
		{ "-1", 0, "is not a size" },
		{ "1.5MiB", 0, "is not a size" },
	};

	RUN(value_size, cases);
}

static void numbers(void **state)
{
	static const struct number_case cases[] = {
		{ "0", 0, NULL },
		{ "007", 7, NULL },
		{ "18446744073709551615", UINT64_MAX, NULL },
		{ "18446744073709551616", 0, "is too large" },
		{ "28446744073709551615", 0, "is too large" },
		{ "", 0, "\"\" is not a whole number" },
		{ "4x", 0, "\"4x\" is not a whole number" },
		{ "-1", 0, "is not a whole number" },
		{ "1 ", 0, "is not a whole number" },
		{ "1_000", 0, "is not a whole number" },
		{ "\x01\n", 0, "\"\\x01\\x0a\" is not a whole number" },
	};

	RUN(value_number, cases);
}

static void addresses(void **state)
{
	static const struct {
		const char *text, *host;
		int family, port;
		const char *why;
	} cases[] = {
		{ "0.0.0.0:5000", "0.0.0.0", AF_INET, 5000, NULL },
		{ "127.0.0.1:0", "127.0.0.1", AF_INET, 0, NULL },
		{ "203.0.113.7:65535", "203.0.113.7", AF_INET, 65535, NULL },
		{ "[::]:5000", "::", AF_INET6, 5000, NULL },
		{ "[2001:db8::1]:80", "2001:db8::1", AF_INET6, 80, NULL },
		{ "203.0.113.7:65536", NULL, 0, 0, "has no port from 0 (any free one) to 65535" },
		{ "203.0.113.7:", NULL, 0, 0, "has no port" },
		{ "203.0.113.7:80x", NULL, 0, 0, "has no port" },
		{ "203.0.113.7:-1", NULL, 0, 0, "has no port" },
		{ "[::1]:99999999999999999999999", NULL, 0, 0, "has no port" },
		{ "", NULL, 0, 0, "\"\" is not a numeric address with a port; write 0.0.0.0:5000 or [::]:5000" },
		{ "5001", NULL, 0, 0, "\"5001\" is a port alone; write 0.0.0.0:5001" },
		{ ":5001", NULL, 0, 0, "\":5001\" is a port alone; write 0.0.0.0:5001" },
		{ "65536", NULL, 0, 0, "is not a numeric address" },
		{ "::5001", NULL, 0, 0, "is not a numeric address" },
		{ ":", NULL, 0, 0, "is not a numeric address" },
		{ "localhost:5000", NULL, 0, 0, "is not a numeric address" },
		{ "203.0.113.7", NULL, 0, 0, "is not a numeric address" },
		{ "203.0.113:80", NULL, 0, 0, "is not a numeric address" },
		{ "203.0.113.256:80", NULL, 0, 0, "is not a numeric address" },
		{ "[203.0.113.7]:80", NULL, 0, 0, "is not a numeric address" },
		{ "::1:5000", NULL, 0, 0, "is not a numeric address" },
		{ "[::1]", NULL, 0, 0, "is not a numeric address" },
		{ "[::1:80", NULL, 0, 0, "is not a numeric address" },
		{ "[]:80", NULL, 0, 0, "is not a numeric address" },
		{ "[:80", NULL, 0, 0, "is not a numeric address" },
		{ "[fe80::1%lo]:80", NULL, 0, 0, "is not a numeric address" },
		{ "0.0.0.0:5000:5000", NULL, 0, 0, "is not a numeric address" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sockaddr_storage address;
		char host[INET6_ADDRSTRLEN] = "";
		struct why why = { "" };
		socklen_t len = 0;
		int result = value_address(cases[i].text, &address, &len, &why);

		if (cases[i].why != NULL) {
			if (result != -1 || len != 0 || strstr(why.text, cases[i].why) == NULL)
				fail_msg("\"%s\": result %d, why \"%s\"", cases[i].text, result, why.text);
			continue;
		}
		assert_int_equal(result, 0);
		assert_int_equal(address.ss_family, cases[i].family);
		if (cases[i].family == AF_INET) {
			const struct sockaddr_in *in = (const struct sockaddr_in *)&address;

			inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
			assert_int_equal(ntohs(in->sin_port), cases[i].port);
			assert_int_equal(len, sizeof *in);
		} else {
			const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;

			inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
			assert_int_equal(ntohs(in6->sin6_port), cases[i].port);
			assert_int_equal(len, sizeof *in6);
		}
		assert_string_equal(host, cases[i].host);
	}
}

static void networks(void **state)
{
	static const struct {
		const char *text, *first; /* in IPv6 form */
		uint32_t prefix;
		const char *why;
	} cases[] = {
		{ "10.0.0.0/8", "::ffff:10.0.0.0", 104, NULL },
		{ "0.0.0.0/0", "::ffff:0.0.0.0", 96, NULL },
		{ "203.0.113.7", "::ffff:203.0.113.7", 128, NULL },
		{ "203.0.113.7/32", "::ffff:203.0.113.7", 128, NULL },
		{ "203.0.113.6/31", "::ffff:203.0.113.6", 127, NULL },
		{ "2001:db8::/32", "2001:db8::", 32, NULL },
		{ "::/0", "::", 0, NULL },
		{ "2001:db8::1", "2001:db8::1", 128, NULL },
		{ "2001:db8:8000::/33", "2001:db8:8000::", 33, NULL },
		{ "::ffff:10.0.0.0/104", "::ffff:10.0.0.0", 104, NULL },
		{ "10.0.0.1/8", NULL, 0, "\"10.0.0.1/8\" has bits beyond its prefix; write 10.0.0.0/8" },
		{ "2001:db8:8000::/32", NULL, 0, "write 2001:db8::/32" },
		{ "10.0.0.0/33", NULL, 0, "has no prefix length from 0 to 32" },
		{ "2001:db8::/129", NULL, 0, "has no prefix length from 0 to 128" },
		{ "10.0.0.0/", NULL, 0, "has no prefix length" },
		{ "10.0.0.0/8x", NULL, 0, "has no prefix length" },
		{ "10.0.0.0/-8", NULL, 0, "has no prefix length" },
		{ "10.0.0.0/8/8", NULL, 0, "has no prefix length" },
		{ "10.0.0.0/255.0.0.0", NULL, 0, "has no prefix length" },
		{ "10.0.0.0/18446744073709551624", NULL, 0, "has no prefix length" },
		{ "", NULL, 0, "\"\" is not a network; write 10.0.0.0/8, 2001:db8::/32 or one address" },
		{ "/8", NULL, 0, "is not a network" },
		{ "10/8", NULL, 0, "is not a network" },
		{ "proxy.example/32", NULL, 0, "is not a network" },
		{ "[2001:db8::]/32", NULL, 0, "is not a network" },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/32", NULL, 0, "is not a network" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config_network network = { .prefix = 77 };
		struct in6_addr first;
		struct why why = { "" };
		int result = value_network(cases[i].text, &network, &why);

		if (cases[i].why != NULL) {
			if (result != -1 || network.prefix != 77 || strstr(why.text, cases[i].why) == NULL)
				fail_msg("\"%s\": result %d, why \"%s\"", cases[i].text, result, why.text);
			continue;
		}
		assert_int_equal(inet_pton(AF_INET6, cases[i].first, &first), 1);
		if (result != 0 || network.prefix != cases[i].prefix ||
		    memcmp(&first, &network.address, sizeof first) != 0)
			fail_msg("\"%s\": result %d, prefix %u", cases[i].text, result, network.prefix);
	}
}

static void shown(void **state)
{
	char text[VALUE_SHOWN_MAX];

	assert_string_equal(value_show_duration(0, text), "0s");
	assert_string_equal(value_show_duration(1, text), "1us");
	assert_string_equal(value_show_duration(1500, text), "1500us");
	assert_string_equal(value_show_duration(1500000, text), "1500ms");
	assert_string_equal(value_show_duration(90000000, text), "90s");
	assert_string_equal(value_show_duration(UINT64_C(31622400000000), text), "366d");
	assert_string_equal(value_show_duration(UINT64_MAX, text), "18446744073709551615us");
	assert_string_equal(value_show_size(0, text), "0");
	assert_string_equal(value_show_size(1000, text), "1000");
	assert_string_equal(value_show_size(65536, text), "64KiB");
	assert_string_equal(value_show_size(UINT64_C(3) << 40, text), "3TiB");
}

static void quoted(void **state)
{
	char out[WHY_QUOTED_MAX], text[200];

	assert_string_equal(why_quote("", out), "\"\"");
	assert_string_equal(why_quote("a\tb\x7f\n", out), "\"a\\x09b\\x7f\\x0a\"");
	/* Nothing is cut that fits, characters of several bytes are not cut in two. */
	memset(text, 'a', sizeof text);
	text[59] = '\0';
	why_quote(text, out);
	assert_int_equal(strlen(out), 61);
	assert_null(strstr(out, "…"));
	memcpy(text + 58, "äöü", sizeof "äöü");
	why_quote(text, out);
	assert_string_equal(out + 1 + 58, "…\"");
	memset(text, 1, sizeof text);
	text[199] = '\0';
	assert_true(strlen(why_quote(text, out)) < sizeof out);
	for (int start = 40; start < 70; start++) {
		memset(text, 0x80, sizeof text); /* not UTF-8 at all: it still ends, and in time */
		text[start] = '\0';
		assert_true(strlen(why_quote(text, out)) < sizeof out);
	}
}

static void nearest(void **state)
{
	static const char *const names[] = { "listen", "server", NULL, "limiter", "limits", "links", "log", "a" };
	static const struct {
		const char *text, *name;
	} cases[] = {
		{ "serer", "server" },
		{ "sever", "server" },
		{ "esrver", "server" },
		{ "servers", "server" },
		{ "limit", "limits" },
		{ "Listen", "listen" },
		{ "lgo", "log" },
		{ "lg", "log" },
		{ "lxy", NULL },
		{ "", "a" },
		{ "redis", NULL },
		{ "linkss", "links" },
		{ "limitr", "limiter" },
		{ "lliimiter", "limiter" },
		{ "listenlistenlistenlistenlistenlistenlistenlistenlisten", NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *name = why_nearest(cases[i].text, names, sizeof names / sizeof names[0]);

		if (cases[i].name == NULL ? name != NULL : name == NULL || strcmp(name, cases[i].name) != 0)
			fail_msg("\"%s\": %s", cases[i].text, name != NULL ? name : "nothing");
	}
	assert_null(why_nearest("listen", names, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations), cmocka_unit_test(sizes),    cmocka_unit_test(numbers),
		cmocka_unit_test(addresses), cmocka_unit_test(networks), cmocka_unit_test(shown),
		cmocka_unit_test(quoted),    cmocka_unit_test(nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
