/* SPDX-License-Identifier: Apache-2.0 */
/*
 * healthcheck.c: `sluice healthcheck [URL]`: asks a server whether it is well. For containers, whose images have no
 * other HTTP client.
 *
 * Leaves out: HTTPS (TLS is the proxy's job), redirections and proxies: the server itself is asked, once.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "config/why.h"

#define USUAL_URL "http://127.0.0.1:5000/healthz"
#define PATIENCE_MS 4000L /* less than the 5 s that the image's HEALTHCHECK allows */

static size_t drop(char *bytes, size_t size, size_t n, void *unused)
{
	return size * n;
}

/* The status of the answer to a GET, or 0 with `error` saying why there is none. */
static long ask(const char *url, char error[CURL_ERROR_SIZE])
{
	CURL *handle = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;

	error[0] = '\0';
	if (handle == NULL)
		goto failed;
	/* Without a proxy, whatever the environment names: it would answer in the server's place. */
	if ((code = curl_easy_setopt(handle, CURLOPT_URL, url)) != CURLE_OK ||
	    (code = curl_easy_setopt(handle, CURLOPT_PROXY, "")) != CURLE_OK ||
	    (code = curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L)) != CURLE_OK ||
	    (code = curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, PATIENCE_MS)) != CURLE_OK ||
	    (code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, drop)) != CURLE_OK ||
	    (code = curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error)) != CURLE_OK)
		goto failed;
	code = curl_easy_perform(handle);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
failed:
	curl_easy_cleanup(handle);
	if (code == CURLE_OK)
		return status;
	if (error[0] == '\0')
		snprintf(error, CURL_ERROR_SIZE, "%s", curl_easy_strerror(code));
	return 0;
}

int cli_healthcheck(int argc, char **argv)
{
	const char *url = argc == 2 ? argv[1] : USUAL_URL;
	char error[CURL_ERROR_SIZE], quoted[WHY_QUOTED_MAX];
	long status;

	if (argc == 2 && (strcmp(url, "--help") == 0 || strcmp(url, "-h") == 0)) {
		printf("usage: sluice %s [URL]\n"
		       "Asks a server whether it is well: exit status 0 when it answers with 2xx within 4 seconds, 1 "
		       "when\n"
		       "not, with the reason on standard error. URL is " USUAL_URL " unless given;\n"
		       "/readyz in its place asks whether the stores can be reached, too.\n",
		       argv[0]);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	if (argc > 2) {
		fprintf(stderr, "usage: sluice %s [URL]\n", argv[0]);
		return 2;
	}
	if (strncmp(url, "http://", strlen("http://")) != 0) {
		why_quote(url, quoted);
		fprintf(stderr, "sluice %s: URL: %s: it begins with http://, as " USUAL_URL " does\n", argv[0], quoted);
		return 2;
	}
	status = ask(url, error);
	if (status >= 200 && status < 300)
		return 0;
	if (status != 0)
		fprintf(stderr, "sluice %s: %s answers %ld\n", argv[0], url, status);
	else
		fprintf(stderr, "sluice %s: %s: %s\n", argv[0], url, error);
	return 1;
}
