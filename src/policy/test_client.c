/* SPDX-License-Identifier: Apache-2.0 */
/* test_client.c: who is asking, behind proxies that are trusted and some that are not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "policy/client.h"

static struct client client_of(const char *text)
{
	struct client client = { .address = { .s6_addr = { [10] = 0xff, [11] = 0xff } } };

	if (inet_pton(AF_INET, text, client.address.s6_addr + 12) != 1)
		assert_int_equal(inet_pton(AF_INET6, text, &client.address), 1);
	return client;
}

static struct config_network network_of(const char *text, int prefix)
{
	struct client client = client_of(text);
	struct config_network network = { .address = client.address };

	network.prefix = (uint32_t)(strchr(text, ':') != NULL ? prefix : 96 + prefix);
	return network;
}

struct resolve_case {
	const char *forwarded, *xff; /* one of them */
	const char *client;
};

#define LB "10.0.0.100" /* trusted, and the peer of these cases */

static const struct resolve_case resolve_cases[] = {
	{ NULL, NULL, LB },

	/* X-Forwarded-For: from the right, as long as the hop that speaks is trusted. */
	{ NULL, "203.0.113.7", "203.0.113.7" },
	{ NULL, "198.51.100.1, 203.0.113.7", "203.0.113.7" },
	{ NULL, "203.0.113.7, 10.0.0.5", "203.0.113.7" },
	{ NULL, "203.0.113.7,10.0.0.5,10.0.0.6", "203.0.113.7" },
	{ NULL, "198.51.100.1, 203.0.113.7, 10.0.0.5", "203.0.113.7" },
	{ NULL, "10.0.0.7, 10.0.0.5", "10.0.0.7" }, /* all trusted: the last that could be read */
	{ NULL, " \t203.0.113.7\t ", "203.0.113.7" },
	{ NULL, "", LB },
	{ NULL, " ", LB },
	{ NULL, ",", LB },
	{ NULL, ",,, ,\t,", LB },
	{ NULL, "203.0.113.7,", "203.0.113.7" },
	{ NULL, "203.0.113.7, , ,", "203.0.113.7" },
	{ NULL, ",,203.0.113.7,,10.0.0.5", "203.0.113.7" },

	/* Forms of an element. */
	{ NULL, "203.0.113.7:4711", "203.0.113.7" },
	{ NULL, "203.0.113.7:0", "203.0.113.7" },
	{ NULL, "[2001:db8::1]:80", "2001:db8::1" },
	{ NULL, "[2001:db8::1]", "2001:db8::1" },
	{ NULL, "2001:db8::1", "2001:db8::1" },
	{ NULL, "2001:DB8::1", "2001:db8::1" },
	{ NULL, "::ffff:203.0.113.7", "203.0.113.7" },
	{ NULL, "[::ffff:203.0.113.7]:80", "203.0.113.7" },
	{ NULL, "203.0.113.7, ::ffff:10.0.0.5", "203.0.113.7" }, /* a mapped proxy is the same proxy */
	{ NULL, "203.0.113.7, 2001:db8:1::5", "203.0.113.7" },   /* an IPv6 proxy that is trusted */

	/* What can't be read ends the walk at the hop that vouched for it. */
	{ NULL, "203.0.113.7, unknown", LB },
	{ NULL, "203.0.113.7, _hidden", LB },
	{ NULL, "203.0.113.7, unknown, 10.0.0.5", "10.0.0.5" },
	{ NULL, "203.0.113.7, \"203.0.113.8\"", LB },
	{ NULL, "\"203.0.113.8\"", LB },
	{ NULL, "203.0.113.7 203.0.113.8", LB },
	{ NULL, "203.0.113", LB },
	{ NULL, "203.0.113.256", LB },
	{ NULL, "203.0.113.07", LB },
	{ NULL, "203.0.113.7.8", LB },
	{ NULL, "203.0.113.7:", LB },
	{ NULL, "203.0.113.7:123456", LB },
	{ NULL, "203.0.113.7:80x", LB },
	{ NULL, "203.0.113.7:-1", LB },
	{ NULL, ":80", LB },
	{ NULL, ":", LB },
	{ NULL, "[", LB },
	{ NULL, "[]", LB },
	{ NULL, "[]:80", LB },
	{ NULL, "]", LB },
	{ NULL, "[2001:db8::1", LB },
	{ NULL, "[2001:db8::1]80", LB },
	{ NULL, "[2001:db8::1]:", LB },
	{ NULL, "[203.0.113.7]", LB },
	{ NULL, "2001:db8::1%eth0", LB },
	{ NULL, "2001:db8:::1", LB },
	{ NULL, "1:2:3:4:5:6:7:8:9", LB },
	{ NULL, "203.0.113.7;10.0.0.1", LB },
	{ NULL, "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", LB },

	/* Forwarded. */
	{ "for=203.0.113.7", NULL, "203.0.113.7" },
	{ "For=203.0.113.7", NULL, "203.0.113.7" },
	{ "FOR=\"203.0.113.7\"", NULL, "203.0.113.7" },
	{ "for=\"203.0.113.7:4711\"", NULL, "203.0.113.7" },
	{ "for=203.0.113.7:4711", NULL, "203.0.113.7" }, /* not RFC 7239, but written */
	{ "for=\"[2001:db8::1]\"", NULL, "2001:db8::1" },
	{ "for=\"[2001:db8::1]:4711\"", NULL, "2001:db8::1" },
	{ "for=\"[2001:db8::1]:_port\"", NULL, "2001:db8::1" },
	{ "for=[2001:db8::1]", NULL, "2001:db8::1" },
	{ "for=\"2001:db8::1\"", NULL, "2001:db8::1" },
	{ "for=\"203.0.\\113.7\"", NULL, "203.0.113.7" }, /* an escape stands for what it escapes */
	{ "for=203.0.113.7;proto=https;by=10.0.0.100", NULL, "203.0.113.7" },
	{ "by=10.0.0.100;host=sho.rt;for=203.0.113.7", NULL, "203.0.113.7" },
	{ "proto=http ; for=203.0.113.7 ; by=_x", NULL, "203.0.113.7" },
	{ ";for=203.0.113.7;;", NULL, "203.0.113.7" },
	{ "for=203.0.113.7, for=10.0.0.5", NULL, "203.0.113.7" },
	{ "for=198.51.100.1, for=203.0.113.7, for=10.0.0.5", NULL, "203.0.113.7" },
	{ "for=203.0.113.7,", NULL, "203.0.113.7" },
	{ ",,for=203.0.113.7,, ,", NULL, "203.0.113.7" },
	{ "host=\"a,for=198.51.100.1\";for=203.0.113.7", NULL, "203.0.113.7" },
	{ "host=\"a;for=198.51.100.1\";for=203.0.113.7", NULL, "203.0.113.7" },
	{ "for=203.0.113.7;host=\"a\\\",for=198.51.100.1\"", NULL, "203.0.113.7" },
	{ "for=203.0.113.7;host=\"a\\\\\", for=10.0.0.5", NULL, "203.0.113.7" },
	{ "for=203.0.113.7;host=\"a\\\\\\\",\"", NULL, "203.0.113.7" },
	{ "for=203.0.113.7;host=\"\"", NULL, "203.0.113.7" },

	/* Unreadable elements of Forwarded. */
	{ "", NULL, LB },
	{ ",", NULL, LB },
	{ "for=203.0.113.7, for=unknown", NULL, LB },
	{ "for=203.0.113.7, for=_hidden", NULL, LB },
	{ "for=203.0.113.7, for=\"_hidden:80\"", NULL, LB },
	{ "for=203.0.113.7, proto=http", NULL, LB },
	{ "for=203.0.113.7, 203.0.113.8", NULL, LB },
	{ "for=203.0.113.7, for", NULL, LB },
	{ "for=203.0.113.7, for=", NULL, LB },
	{ "for=203.0.113.7, for=\"\"", NULL, LB },
	{ "for=203.0.113.7, =203.0.113.8", NULL, LB },
	{ "for=203.0.113.7;for=203.0.113.8", NULL, LB }, /* RFC 7239: once an element */
	{ "for = 203.0.113.7", NULL, LB },
	{ "for=203.0.113.7 x", NULL, LB },
	{ "for=\"203.0.113.7\"x", NULL, LB },
	{ "for=\"203.0.113.7", NULL, LB },
	{ "for=203.0.113.7\"", NULL, LB },
	{ "for=203.0.113.7;host=\"a\\\"", NULL, LB },
	{ "for=\"203.0.113.7\\", NULL, LB },
	{ "\"for=203.0.113.7\"", NULL, LB },
	{ "for=\"203.0.113.7 \"", NULL, LB },
	{ "for=\"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000\"", NULL, LB },

	/* A client's quotes turn nothing inside out that a proxy has appended. */
	{ "for=\"198.51.100.1, for=203.0.113.7", NULL, "203.0.113.7" },
	{ "for=\"198.51.100.1, for=\"[2001:db8::7]:4711\"", NULL, "2001:db8::7" },
	{ "\", for=203.0.113.7;host=\"x,for=198.51.100.1,y\"", NULL, "203.0.113.7" },
	{ "\\\", for=203.0.113.7;host=\"x,for=198.51.100.1,y\"", NULL, "203.0.113.7" },
	{ "\\, for=\"203.0.113.7\"", NULL, "203.0.113.7" },
	{ "\"\"\"\\\\, for=203.0.113.7", NULL, "203.0.113.7" },
};

static void resolves(void **state)
{
	const struct config_network trusted[] = { network_of("10.0.0.0", 8), network_of("2001:db8:1::", 48) };

	for (size_t i = 0; i < sizeof resolve_cases / sizeof resolve_cases[0]; i++) {
		const struct resolve_case *c = &resolve_cases[i];
		enum config_client_header header = c->forwarded != NULL ? CLIENT_HEADER_FORWARDED : CLIENT_HEADER_XFF;
		const char *list = c->forwarded != NULL ? c->forwarded : c->xff;
		struct client client = client_of(LB), stranger = client_of("192.0.2.1"), same = stranger;
		char text[CLIENT_TEXT_MAX];

		client_resolve(&client, header, list, trusted, 2);
		client_text(&client, text);
		if (strcmp(text, c->client) != 0)
			fail_msg("%s: %s\nexpected %s, found %s", c->forwarded ? "Forwarded" : "X-Forwarded-For",
			         list ? list : "-", c->client, text);
		/* From a peer that is not trusted nothing is believed. */
		client_resolve(&stranger, header, list, trusted, 2);
		assert_memory_equal(&stranger, &same, sizeof same);
		client = client_of(LB);
		client_resolve(&client, header, list, NULL, 0);
		client_text(&client, text);
		assert_string_equal(text, LB);
	}
}

static void trust(void **state)
{
	static const struct {
		const char *network;
		int prefix;
		const char *address;
		bool trusted;
	} cases[] = {
		{ "10.0.0.0", 8, "10.0.0.0", true },
		{ "10.0.0.0", 8, "10.255.255.255", true },
		{ "10.0.0.0", 8, "11.0.0.0", false },
		{ "10.0.0.0", 8, "9.255.255.255", false },
		{ "203.0.113.6", 31, "203.0.113.7", true },
		{ "203.0.113.6", 31, "203.0.113.8", false },
		{ "203.0.113.7", 32, "203.0.113.7", true },
		{ "203.0.113.7", 32, "203.0.113.6", false },
		{ "0.0.0.0", 0, "255.255.255.255", true },
		{ "0.0.0.0", 0, "::1", false },
		{ "0.0.0.0", 0, "::ffff:1.2.3.4", true },
		{ "2001:db8::", 32, "2001:db8:ffff::1", true },
		{ "2001:db8::", 32, "2001:db9::", false },
		{ "2001:db8:8000::", 33, "2001:db8:8000::1", true },
		{ "2001:db8:8000::", 33, "2001:db8:7fff::1", false },
		{ "2001:db8::1", 128, "2001:db8::1", true },
		{ "2001:db8::1", 128, "2001:db8::", false },
		{ "::", 0, "2001:db8::1", true },
		{ "::", 0, "203.0.113.7", false }, /* all of IPv6 is not all of IPv4 */
		{ "::", 95, "203.0.113.7", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config_network network = network_of(cases[i].network, cases[i].prefix);
		struct client client = client_of(cases[i].address);

		if (client_trusted(&client, &network, 1) != cases[i].trusted)
			fail_msg("%s in %s/%d", cases[i].address, cases[i].network, cases[i].prefix);
		assert_false(client_trusted(&client, &network, 0));
	}
}

static void sockaddrs(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "x" };
	char text[CLIENT_TEXT_MAX], shifted[sizeof in6 + 1];
	struct client client;

	inet_pton(AF_INET, "203.0.113.7", &in.sin_addr);
	client_from_sockaddr(&client, (const struct sockaddr *)&in);
	assert_int_equal(client_text(&client, text), 11);
	assert_string_equal(text, "203.0.113.7");
	inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr);
	memcpy(shifted + 1, &in6, sizeof in6);
	client_from_sockaddr(&client, (const struct sockaddr *)(const void *)(shifted + 1));
	client_text(&client, text);
	assert_string_equal(text, "2001:db8::1");
	inet_pton(AF_INET6, "::ffff:203.0.113.7", &in6.sin6_addr);
	client_from_sockaddr(&client, (const struct sockaddr *)&in6);
	client_text(&client, text);
	assert_string_equal(text, "203.0.113.7");
	client_from_sockaddr(&client, (const struct sockaddr *)&un);
	client_text(&client, text);
	assert_string_equal(text, "::");
}

static void texts(void **state)
{
	static const char *const same[] = {
		"0.0.0.0",
		"255.255.255.255",
		"1.10.100.9",
		"203.0.113.7",
		"::",
		"::1",
		"1::",
		"2001:db8::1",
		"2001:db8:0:1:1:1:1:1",
		"2001:0:0:1::1",
		"1:0:0:2::3",
		"fe80::1:0:0:1",
		"1:2:3:4:5:6:7:8",
		"::2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7::",
		"0:1::",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"abcd:ef01:10::f0f",
	};
	char text[CLIENT_TEXT_MAX];

	/* Canonical texts come back as they are, but for the runs: the longest first one is cut out. */
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		struct client client = client_of(same[i]), again;
		size_t len = client_text(&client, text);

		assert_int_equal(len, strlen(text));
		again = client_of(text);
		assert_memory_equal(&again, &client, sizeof client);
		if (strchr(same[i], ':') == NULL)
			assert_string_equal(text, same[i]);
	}
}

/* Against the C library, which writes the same form but for ::203.0.113.7. */
static void texts_as_the_library_writes_them(void **state)
{
	char text[CLIENT_TEXT_MAX], expected[INET6_ADDRSTRLEN];
	struct client client;
	unsigned seed = 1;

	for (int i = 0; i < 200000; i++) {
		for (int j = 0; j < 16; j += 2) {
			int kind = rand_r(&seed) % 4;

			client.address.s6_addr[j] = (uint8_t)(kind < 3 ? 0 : rand_r(&seed));
			client.address.s6_addr[j + 1] = (uint8_t)(kind < 2 ? 0 : rand_r(&seed));
		}
		if (i % 8 == 0) {
			memset(client.address.s6_addr, 0, 10);
			memset(client.address.s6_addr + 10, 0xff, 2);
		}
		if (IN6_IS_ADDR_V4COMPAT(&client.address))
			continue;
		if (IN6_IS_ADDR_V4MAPPED(&client.address))
			inet_ntop(AF_INET, client.address.s6_addr + 12, expected, sizeof expected);
		else
			inet_ntop(AF_INET6, &client.address, expected, sizeof expected);
		assert_int_equal(client_text(&client, text), strlen(expected));
		assert_string_equal(text, expected);
	}
}

static void subjects(void **state)
{
	static const struct {
		const char *address;
		unsigned prefix;
		const char *subject;
	} cases[] = {
		{ "203.0.113.7", 64, "203.0.113.7" },
		{ "203.0.113.7", 1, "203.0.113.7" },
		{ "::ffff:203.0.113.7", 64, "203.0.113.7" },
		{ "2001:db8:0:1:2:3:4:5", 64, "2001:db8:0:1::/64" },
		{ "2001:db8:0:1:ffff:3:4:5", 64, "2001:db8:0:1::/64" },
		{ "2001:db8:0:2:2:3:4:5", 64, "2001:db8:0:2::/64" },
		{ "2001:db8::1", 128, "2001:db8::1/128" },
		{ "2001:db8::1", 127, "2001:db8::/127" },
		{ "2001:db8::ff", 121, "2001:db8::80/121" },
		{ "2001:db8:ffff::", 33, "2001:db8:8000::/33" },
		{ "ffff::", 1, "8000::/1" },
		{ "::", 64, "::/64" },
		{ "::1", 64, "::/64" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
		{ "::fffe:1.2.3.4", 96, "::fffe:0:0/96" },
	};
	char text[CLIENT_TEXT_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client client = client_of(cases[i].address);

		assert_int_equal(client_subject(&client, cases[i].prefix, text), strlen(cases[i].subject));
		assert_string_equal(text, cases[i].subject);
	}
}

/* 16 KiB, and a megabyte, of everything that could be looked at twice. */
static void long_headers_take_linear_time(void **state)
{
	static const char *const shapes[] = { ",",   "\"", "\\",   "\\\"",      ", ",
		                              "a",   "[",  "for=", "10.0.0.1,", "for=10.0.0.1,",
		                              "\",", " ",  ";",    ":",         "for=\"\\\"\"," };
	const struct config_network trusted[] = { network_of("10.0.0.0", 8) };
	size_t size = 1 << 20;
	char *header = malloc(size + 1);

	assert_non_null(header);
	header[size] = '\0';
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		size_t len = strlen(shapes[i]);
		clock_t start = clock();

		for (size_t at = 0; at < size; at++)
			header[at] = shapes[i][at % len];
		for (int which = 0; which < 2; which++) {
			struct client client = client_of(LB);

			client_resolve(&client, which == 0 ? CLIENT_HEADER_FORWARDED : CLIENT_HEADER_XFF, header,
			               trusted, 1);
			assert_true(client_trusted(&client, trusted, 1));
		}
		/* The square of a megabyte would be hours. */
		if ((clock() - start) / CLOCKS_PER_SEC >= 20)
			fail_msg("1 MiB of \"%s\" took more than 20 s", shapes[i]);
	}
	free(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolves),
		cmocka_unit_test(trust),
		cmocka_unit_test(sockaddrs),
		cmocka_unit_test(texts),
		cmocka_unit_test(texts_as_the_library_writes_them),
		cmocka_unit_test(subjects),
		cmocka_unit_test(long_headers_take_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
