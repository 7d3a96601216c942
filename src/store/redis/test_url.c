/* SPDX-License-Identifier: Apache-2.0 */
/* test_url.c: each form of a Redis URL, and each way to get one wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/redis/url.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A255 A63 A63 A63 A63 "aaa"

struct good {
	const char *text;
	enum redis_mode mode;
	bool tls;
	const char *user, *password, *hosts, *master;
	uint32_t db;
};

/* Writes "name:port,name:port". */
static const char *hosts_text(const struct redis_url *url, char *to, size_t room)
{
	size_t n = 0;

	to[0] = '\0';
	for (size_t i = 0; i < url->hosts_n; i++)
		n += (size_t)snprintf(to + n, room - n, "%s%s:%u", i > 0 ? "," : "", url->hosts[i].name,
		                      url->hosts[i].port);
	return to;
}

static void test_good(void **state)
{
	static const struct good cases[] = {
		{ "redis://h", REDIS_SINGLE, false, "", NULL, "h:6379", "", 0 },
		{ "redis://h/", REDIS_SINGLE, false, "", NULL, "h:6379", "", 0 },
		{ "redis://10.0.0.130:6379", REDIS_SINGLE, false, "", NULL, "10.0.0.130:6379", "", 0 },
		{ "rediss://h:1/15", REDIS_SINGLE, true, "", NULL, "h:1", "", 15 },
		{ "redis://h:65535/2147483646", REDIS_SINGLE, false, "", NULL, "h:65535", "", 2147483646 },
		{ "redis://[::1]", REDIS_SINGLE, false, "", NULL, "::1:6379", "", 0 },
		{ "redis://[2001:db8::1]:7000/3", REDIS_SINGLE, false, "", NULL, "2001:db8::1:7000", "", 3 },
		{ "redis://:secret@h", REDIS_SINGLE, false, "", "secret", "h:6379", "", 0 },
		{ "redis://bob@h", REDIS_SINGLE, false, "bob", NULL, "h:6379", "", 0 },
		{ "redis://bob:a:b@h", REDIS_SINGLE, false, "bob", "a:b", "h:6379", "", 0 },
		{ "redis://b%6fb:%40%2f%2F%25%3a@h", REDIS_SINGLE, false, "bob", "@//%:", "h:6379", "", 0 },
		{ "redis://:p,q[]@h", REDIS_SINGLE, false, "", "p,q[]", "h:6379", "", 0 },
		{ "redis://:%0a%7f%ff@h", REDIS_SINGLE, false, "", "\n\x7f\xff", "h:6379", "", 0 },
		{ "redis+sentinel://a,b:1,[::1]:2/my.master-1", REDIS_SENTINEL, false, "", NULL, "a:26379,b:1,::1:2",
		  "my.master-1", 0 },
		{ "rediss+sentinel://u:p@a/m/7", REDIS_SENTINEL, true, "u", "p", "a:26379", "m", 7 },
		{ "redis+sentinel://a/m/", REDIS_SENTINEL, false, "", NULL, "a:26379", "m", 0 },
		{ "redis+sentinel://a/" A63, REDIS_SENTINEL, false, "", NULL, "a:26379", A63, 0 },
		{ "redis+cluster://a,b,c", REDIS_CLUSTER, false, "", NULL, "a:6379,b:6379,c:6379", "", 0 },
		{ "rediss+cluster://:x@a:7000,b:7001/0", REDIS_CLUSTER, true, "", "x", "a:7000,b:7001", "", 0 },
		{ "redis+cluster://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", REDIS_CLUSTER, false, "", NULL,
		  "1:6379,2:6379,3:6379,4:6379,5:6379,6:6379,7:6379,8:6379,9:6379,10:6379,11:6379,12:6379,13:6379,14:"
		  "6379,"
		  "15:6379,16:6379",
		  "", 0 },
		{ "redis://" A255, REDIS_SINGLE, false, "", NULL, A255 ":6379", "", 0 },
		{ "redis://:" A255 A255 "a@h", REDIS_SINGLE, false, "", A255 A255 "a", "h:6379", "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct good *c = &cases[i];
		struct redis_url url;
		char why[256] = "", hosts[1024];

		if (redis_url_parse(&url, c->text, why, sizeof why) != 0)
			fail_msg("%s: %s", c->text, why);
		assert_int_equal(url.mode, c->mode);
		assert_int_equal(url.tls, c->tls);
		assert_string_equal(url.user, c->user);
		assert_int_equal(url.has_password, c->password != NULL);
		assert_string_equal(url.password, c->password != NULL ? c->password : "");
		assert_string_equal(hosts_text(&url, hosts, sizeof hosts), c->hosts);
		assert_string_equal(url.master, c->master);
		assert_int_equal(url.db, c->db);
	}
}

struct bad {
	const char *text, *part; /* of the message */
};

static void check_bad(const struct bad *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct redis_url url;
		char why[256] = "";
		int err = redis_url_parse(&url, cases[i].text, why, sizeof why);

		if (err != -EINVAL)
			fail_msg("%s was taken", cases[i].text);
		if (strstr(why, cases[i].part) == NULL)
			fail_msg("%s: %s", cases[i].text, why);
		assert_int_equal(redis_url_parse(&url, cases[i].text, NULL, 0), err);
	}
}

static void test_bad_hosts(void **state)
{
	static const struct bad cases[] = {
		{ "", "none of redis://" },
		{ "redis:", "none of redis://" },
		{ "redis:/h", "none of redis://" },
		{ "REDIS://h", "none of redis://" },
		{ "http://h", "none of redis://" },
		{ "redis+sentinels://h/m", "none of redis://" },
		{ "redis://", "host 1 has no name" },
		{ "redis:///0", "host 1 has no name" },
		{ "redis://:6379", "host 1 has no name" },
		{ "redis://h:", "port of host 1" },
		{ "redis://h:0", "port of host 1" },
		{ "redis://h:65536", "port of host 1" },
		{ "redis://h:4294967297", "port of host 1" },
		{ "redis://h:18446744073709551617", "port of host 1" },
		{ "redis://h:-1", "port of host 1" },
		{ "redis://h:1:2", "port of host 1" },
		{ "redis://::1", "host 1 has no name" },
		{ "redis://[::1", "not closed" },
		{ "redis://[]", "has no name" },
		{ "redis://[::g]", "no IPv6 address" },
		{ "redis://[1.2.3.4]", "no IPv6 address" },
		{ "redis://[::1]x", "only a port" },
		{ "redis://h!", "no host name" },
		{ "redis://h\xc3\xa9", "no host name" },
		{ "redis://a" A255, "longer than 255" },
		{ "redis://a,b", "several hosts" },
		{ "redis+cluster://a,", "host 2 has no name" },
		{ "redis+cluster://a,,b", "host 2 has no name" },
		{ "redis+cluster://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16" },
		{ "redis://h\n", "control character" },
		{ " redis://h", "blank" },
	};

	(void)state;
	check_bad(cases, sizeof cases / sizeof cases[0]);
}

static void test_bad_paths(void **state)
{
	static const struct bad cases[] = {
		{ "redis+cluster://a/1", "no database but 0" },
		{ "redis://h/x", "no number" },
		{ "redis://h/0/", "no number" },
		{ "redis://h/-1", "no number" },
		{ "redis://h/2147483647", "no number" },
		{ "redis://h/99999999999", "no number" },
		{ "redis+sentinel://a", "name of the master is missing" },
		{ "redis+sentinel://a/", "name of the master is missing" },
		{ "redis+sentinel://a//1", "name of the master is missing" },
		{ "redis+sentinel://a/a" A63, "at most 63" },
		{ "redis+sentinel://a/m m", "blank" },
		{ "redis+sentinel://a/m/x", "no number" },
		{ "redis://h?db=1", "no options" },
		{ "redis://h#1", "no options" },
	};

	(void)state;
	check_bad(cases, sizeof cases / sizeof cases[0]);
}

static void test_bad_credentials(void **state)
{
	static const struct bad cases[] = {
		{ "redis://@h", "nothing stands before" },
		{ "redis://:@h", "password is empty" },
		{ "redis://u:@h", "password is empty" },
		{ "redis://:%@h", "two hex digits" },
		{ "redis://:%4@h", "two hex digits" },
		{ "redis://:%4g@h", "two hex digits" },
		{ "redis://:%00@h", "zero byte" },
		{ "redis://:a@b@h", "more than one @" },
		{ "redis://:a/b@h", "%2F" },
		{ "redis://:a?b@h", "%2F" },
		{ "redis://:a#b@h", "%2F" },
		{ "redis://" A63 A63 "aa@h", "longer than 127" },
		{ "redis://:" A255 A255 "aa@h", "longer than 511" },
	};

	(void)state;
	check_bad(cases, sizeof cases / sizeof cases[0]);
}

/* Whatever stands where a password may stand never comes back in a message. */
static void test_no_password_in_messages(void **state)
{
	static const char *const texts[] = {
		"redis://:hunter2@",
		"redis://:hunter2@h:x",
		"redis://:hunter2%@h",
		"redis://u:hunter2%zz@h",
		"redis://:x/hunter2@h",
		"redis://:hunter2/x@h",
		"redis://:hunter2?@h",
		"redis://:hunter2@x@h",
		"redis://u:hunter2",
		"redis://:hunter2",
		"redis://hunter2!",
		"redis://:h:hunter2@h/x",
		"redis+sentinel://:hunter2@h",
		"redis+cluster://:hunter2@h/1",
		"redis://:hunter2 @h",
		"redis:/:hunter2@h",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct redis_url url;
		char why[256] = "";

		assert_int_equal(redis_url_parse(&url, texts[i], why, sizeof why), -EINVAL);
		assert_string_not_equal(why, "");
		assert_null(strstr(why, "hunter2"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad_hosts),
		cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_bad_credentials),
		cmocka_unit_test(test_no_password_in_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
