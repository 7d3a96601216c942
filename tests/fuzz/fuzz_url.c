/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_url.c: which URLs are accepted.
 *
 * Properties of an accepted URL: only bytes that may stand in a header field; http:// or https:// and then something;
 * accepted again; seen by libcurl with the same host that decided whether it is ours; never a link to the host it
 * names when that is us.
 *
 * Input: a name of ours up to the first newline, then the URL.
 */
#include <curl/curl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "links/links.h"
#include "links/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* A URL whose host libcurl reads as H is a link to ourselves when we are H. */
static void check_host(const char *url, size_t len)
{
	char copy[LINK_URL_MAX + 1], *host;
	const char *self[1];
	CURLU *handle = curl_url();

	if (handle == NULL)
		return;
	memcpy(copy, url, len);
	copy[len] = '\0';
	require(curl_url_set(handle, CURLUPART_URL, copy, 0) == CURLUE_OK);
	require(curl_url_get(handle, CURLUPART_HOST, &host, 0) == CURLUE_OK);
	require(host[0] != '\0');
	self[0] = host;
	require(url_check(url, len, self, 1) == URL_OURSELVES);
	curl_free(host);
	curl_url_cleanup(handle);
}

static void check_accepted(const char *url, size_t len)
{
	require(len > 7 && len <= LINK_URL_MAX);
	require(url_bytes_ok(url, len));
	require(strncasecmp(url, "http://", 7) == 0 || (len > 8 && strncasecmp(url, "https://", 8) == 0));
	require(url_check(url, len, NULL, 0) == URL_OK);
	check_host(url, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = memchr(data, '\n', size);
	size_t self_len = newline != NULL ? (size_t)(newline - data) : 0;
	const char *url = (const char *)(newline != NULL ? newline + 1 : data);
	size_t len = newline != NULL ? size - self_len - 1 : size;
	char self[512] = "";
	const char *selfs[] = { self };
	enum url_verdict verdict;

	if (newline != NULL && self_len < sizeof self)
		memcpy(self, data, self_len);
	verdict = url_check(url, len, selfs, 1);
	require(url_verdict_text(verdict)[0] != '\0');
	if (verdict == URL_OK)
		check_accepted(url, len);
	else if (verdict == URL_OURSELVES)
		require(url_check(url, len, NULL, 0) == URL_OK);
	return 0;
}
