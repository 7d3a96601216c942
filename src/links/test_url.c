/* SPDX-License-Identifier: Apache-2.0 */
/* test_url.c: which URLs may be shortened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "links/links.h"
#include "links/url.h"

struct row {
	const char *url;
	enum url_verdict verdict;
};

#define LABEL63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct row rows[] = {
	{ "", URL_EMPTY },
	/* accepted */
	{ "http://example.com", URL_OK },
	{ "https://example.com/", URL_OK },
	{ "HTTP://EXAMPLE.COM/Path", URL_OK },
	{ "hTTpS://example.com", URL_OK },
	{ "http://example.com.", URL_OK },
	{ "http://example.com./x", URL_OK },
	{ "http://localhost/", URL_OK },
	{ "http://a_b.example/", URL_OK },
	{ "http://-.example/", URL_OK },
	{ "http://xn--bcher-kva.example/", URL_OK },
	{ "http://" LABEL63 ".example/", URL_OK },
	{ "http://example.com?q=1", URL_OK },
	{ "http://example.com#f", URL_OK },
	{ "http://example.com/a?b=c&d=%20#e?f/g@h:i", URL_OK },
	{ "http://example.com/@user", URL_OK },
	{ "http://example.com/?next=http://u:p@evil.example/", URL_OK },
	{ "http://example.com/?a\\b", URL_OK },
	{ "http://example.com/#a\\b", URL_OK },
	{ "http://example.com/a|b{c}^`\"<>", URL_OK },
	{ "http://example.com/%zz%", URL_OK },
	{ "http://example.com//double//slash", URL_OK },
	{ "http://example.com/../../etc/passwd", URL_OK },
	/* ports */
	{ "http://example.com:1/", URL_OK },
	{ "http://example.com:80", URL_OK },
	{ "http://example.com:65535/", URL_OK },
	{ "http://example.com:/", URL_OK },
	{ "http://example.com:00080/", URL_OK },
	{ "http://example.com:0/", URL_MALFORMED },
	{ "http://example.com:65536/", URL_MALFORMED },
	{ "http://example.com:4294967376/", URL_MALFORMED },
	{ "http://example.com:18446744073709551696/", URL_MALFORMED },
	{ "http://example.com:-1/", URL_MALFORMED },
	{ "http://example.com:+80/", URL_MALFORMED },
	{ "http://example.com:8o/", URL_MALFORMED },
	{ "http://example.com:80:80/", URL_MALFORMED },
	/* addresses */
	{ "http://127.0.0.1/", URL_OK },
	{ "http://127.0.0.1.:80/", URL_OK },
	{ "http://0x7f.1/", URL_OK },
	{ "http://2130706433/", URL_OK },
	{ "http://256.0.0.1/", URL_MALFORMED },
	{ "http://1.2.3.4.5/", URL_MALFORMED },
	{ "http://example.123/", URL_MALFORMED },
	{ "http://4294967296/", URL_MALFORMED },
	{ "http://[::1]/", URL_OK },
	{ "http://[::1]:8080/x", URL_OK },
	{ "http://[2001:DB8::1]", URL_OK },
	{ "http://[2001:db8:0:0:0:0:0:1]/", URL_OK },
	{ "http://[::ffff:127.0.0.1]/", URL_OK },
	{ "http://[]/", URL_MALFORMED },
	{ "http://[:]/", URL_MALFORMED },
	{ "http://[::1/", URL_MALFORMED },
	{ "http://[::1]x/", URL_MALFORMED },
	{ "http://[::1]:x/", URL_MALFORMED },
	{ "http://[::1::2]/", URL_MALFORMED },
	{ "http://[::g]/", URL_MALFORMED },
	{ "http://[1:2:3:4:5:6:7:8:9]/", URL_MALFORMED },
	{ "http://[fe80::1%25eth0]/", URL_MALFORMED },
	{ "http://[fe80::1%eth0]/", URL_MALFORMED },
	{ "http://[v1.x]/", URL_MALFORMED },
	{ "http://[127.0.0.1]/", URL_MALFORMED },
	{ "http://::1/", URL_NO_HOST },
	{ "http://2001:db8::1/", URL_MALFORMED },
	/* schemes */
	{ "example.com", URL_BAD_SCHEME },
	{ "//example.com/", URL_BAD_SCHEME },
	{ "/path", URL_BAD_SCHEME },
	{ "http", URL_BAD_SCHEME },
	{ "httpx://example.com", URL_BAD_SCHEME },
	{ "http+unix://example.com", URL_BAD_SCHEME },
	{ "ftp://example.com/", URL_BAD_SCHEME },
	{ "file:///etc/passwd", URL_BAD_SCHEME },
	{ "javascript:alert(1)", URL_BAD_SCHEME },
	{ "JavaScript://example.com/%0aalert(1)", URL_BAD_SCHEME },
	{ "data:text/html,x", URL_BAD_SCHEME },
	{ "mailto:a@b.example", URL_BAD_SCHEME },
	{ "ws://example.com", URL_BAD_SCHEME },
	{ "view-source:http://example.com", URL_BAD_SCHEME },
	{ ":http://example.com", URL_BAD_SCHEME },
	/* no host */
	{ "http:", URL_NO_HOST },
	{ "http:/", URL_NO_HOST },
	{ "http://", URL_NO_HOST },
	{ "http:///", URL_NO_HOST },
	{ "http:///x", URL_NO_HOST },
	{ "http:////example.com/", URL_NO_HOST },
	{ "http:/example.com", URL_NO_HOST },
	{ "http:example.com", URL_NO_HOST },
	{ "http://?q", URL_NO_HOST },
	{ "http://#f", URL_NO_HOST },
	{ "http://:80/", URL_NO_HOST },
	{ "https://:/", URL_NO_HOST },
	/* malformed hosts */
	{ "http://./", URL_MALFORMED },
	{ "http://../", URL_MALFORMED },
	{ "http://.example.com/", URL_MALFORMED },
	{ "http://a..b/", URL_MALFORMED },
	{ "http://example.com../", URL_MALFORMED },
	{ "http://a" LABEL63 ".example/", URL_MALFORMED },
	{ "http://" LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 ".example/", URL_MALFORMED },
	{ "http://%65xample.com/", URL_MALFORMED },
	{ "http://exa%00mple.com/", URL_MALFORMED },
	{ "http://exa,mple.com/", URL_MALFORMED },
	{ "http://a;b/", URL_MALFORMED },
	{ "http://<script>/", URL_MALFORMED },
	{ "http://a|b/", URL_MALFORMED },
	{ "http://*.example/", URL_MALFORMED },
	/* backslashes */
	{ "http:\\\\evil.example", URL_MALFORMED },
	{ "http:/\\evil.example", URL_MALFORMED },
	{ "http://\\evil.example", URL_MALFORMED },
	{ "http://good.example\\@evil.example/", URL_MALFORMED },
	{ "http://good.example\\.evil.example/", URL_MALFORMED },
	{ "http://example.com/a\\b", URL_MALFORMED },
	/* credentials */
	{ "http://a@b", URL_CREDENTIALS },
	{ "http://a:b@c/", URL_CREDENTIALS },
	{ "http://@example.com/", URL_CREDENTIALS },
	{ "http://:@example.com/", URL_CREDENTIALS },
	{ "http://good.example@evil.example/", URL_CREDENTIALS },
	{ "http://a@b@c/", URL_CREDENTIALS },
	{ "http://a:80@[::1]:80/", URL_CREDENTIALS },
	/* bytes */
	{ " http://example.com", URL_BAD_BYTE },
	{ "http://example.com ", URL_BAD_BYTE },
	{ "http://exa mple.com/", URL_BAD_BYTE },
	{ "http://example.com/a b", URL_BAD_BYTE },
	{ "http://example.com/\r\nSet-Cookie: a=b", URL_BAD_BYTE },
	{ "http://example.com/\n", URL_BAD_BYTE },
	{ "http://example.com/\t", URL_BAD_BYTE },
	{ "ht\ntp://example.com/", URL_BAD_BYTE },
	{ "http://example.com/\x7f", URL_BAD_BYTE },
	{ "http://example.com/\x01", URL_BAD_BYTE },
	{ "http://b\xc3\xbc"
	  "cher.example/",
	  URL_BAD_BYTE },
	{ "http://example.com/\x80", URL_BAD_BYTE },
	{ "http://example.com/\xff", URL_BAD_BYTE },
};

static void test_table(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum url_verdict verdict = url_check(rows[i].url, strlen(rows[i].url), NULL, 0);

		if (verdict != rows[i].verdict)
			fail_msg("\"%s\": %d (%s), expected %d", rows[i].url, (int)verdict, url_verdict_text(verdict),
			         (int)rows[i].verdict);
	}
}

static void test_nul(void **state)
{
	static const char inside[] = "http://example.com/\0x", host[] = "http://exa\0mple.com/",
			  last[] = "http://example.com/";

	assert_int_equal(url_check(inside, sizeof inside - 1, NULL, 0), URL_BAD_BYTE);
	assert_int_equal(url_check(host, sizeof host - 1, NULL, 0), URL_BAD_BYTE);
	assert_int_equal(url_check(last, sizeof last, NULL, 0), URL_BAD_BYTE); /* its own terminator */
}

static void test_length(void **state)
{
	char *url = malloc(LINK_URL_MAX + 1);

	assert_non_null(url);
	memset(url, 'a', LINK_URL_MAX + 1);
	memcpy(url, "http://example.com/", 19);
	assert_int_equal(url_check(url, LINK_URL_MAX, NULL, 0), URL_OK);
	assert_int_equal(url_check(url, LINK_URL_MAX + 1, NULL, 0), URL_TOO_LONG);
	free(url);
}

struct self_row {
	const char *url, *self;
	bool ours;
};

static const struct self_row self_rows[] = {
	{ "http://sho.rt/", "sho.rt", true },
	{ "http://sho.rt/abc", "sho.rt", true },
	{ "http://SHO.RT", "sho.rt", true },
	{ "http://sho.rt./", "sho.rt", true },
	{ "http://sho.rt/", "sho.rt.", true },
	{ "http://sho.rt:5000/", "sho.rt", true },
	{ "https://sho.rt/", "sho.rt", true },
	{ "http://sho.rt/", "sho.rt:80", true },
	{ "http://sho.rt:/", "sho.rt:80", true },
	{ "http://sho.rt:0080/", "sho.rt:80", true },
	{ "https://sho.rt/", "sho.rt:443", true },
	{ "https://sho.rt:443/", "sho.rt:443", true },
	{ "https://sho.rt/", "sho.rt:80", false },
	{ "http://sho.rt/", "sho.rt:5000", false },
	{ "http://sho.rt:5000/", "sho.rt:5000", true },
	{ "http://sho.rt:5001/", "sho.rt:5000", false },
	{ "http://www.sho.rt/", "sho.rt", false },
	{ "http://sho.rt.example/", "sho.rt", false },
	{ "http://xsho.rt/", "sho.rt", false },
	{ "http://[::1]:5000/", "[::1]:5000", true },
	{ "http://[0:0:0:0:0:0:0:1]:5000/", "[::1]:5000", true },
	{ "http://[::1]/", "[0::1]", true },
	{ "http://[2001:DB8::A]/", "[2001:db8::a]", true },
	{ "http://[::2]/", "[::1]", false },
	{ "http://127.0.0.1:5000/", "127.0.0.1:5000", true },
	{ "http://127.1:5000/", "127.0.0.1:5000", true },
	{ "http://0x7f000001:5000/", "127.0.0.1:5000", true },
	{ "http://2130706433:5000/", "127.0.0.1:5000", true },
	{ "http://017700000001:5000/", "127.0.0.1:5000", true },
	{ "http://[::ffff:127.0.0.1]:5000/", "127.0.0.1:5000", true },
	{ "http://[::ffff:7f00:1]:5000/", "127.0.0.1:5000", true },
	{ "http://127.0.0.2:5000/", "127.0.0.1:5000", false },
	{ "http://sho.rt/", "", false },
	{ "http://sho.rt/", ":80", false },
	{ "http://sho.rt/", "[", false },
	{ "http://sho.rt/", "sho.rt:99999", false },
	{ "http://sho.rt/", "b\xc3\xbc", false },
};

static void test_ourselves(void **state)
{
	for (size_t i = 0; i < sizeof self_rows / sizeof self_rows[0]; i++) {
		const struct self_row *row = &self_rows[i];
		const char *const selfs[] = { "other.example:1", row->self };
		enum url_verdict verdict = url_check(row->url, strlen(row->url), selfs, 2);

		if (verdict != (row->ours ? URL_OURSELVES : URL_OK))
			fail_msg("%s with %s: %s", row->url, row->self, url_verdict_text(verdict));
	}
}

static void test_bytes(void **state)
{
	for (int c = 0; c < 256; c++) {
		char byte = (char)c;

		assert_int_equal(url_bytes_ok(&byte, 1), c >= 0x21 && c <= 0x7e);
	}
	assert_true(url_bytes_ok("", 0));
	assert_false(url_bytes_ok("a\nb", 3));
}

static void test_texts(void **state)
{
	for (int v = URL_OK; v <= URL_OURSELVES; v++) {
		for (int other = URL_OK; other < v; other++)
			assert_string_not_equal(url_verdict_text((enum url_verdict)v),
			                        url_verdict_text((enum url_verdict)other));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),     cmocka_unit_test(test_nul),   cmocka_unit_test(test_length),
		cmocka_unit_test(test_ourselves), cmocka_unit_test(test_bytes), cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
