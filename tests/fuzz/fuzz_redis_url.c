/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_redis_url.c: any text as the URL of a Redis.
 *
 * Holds: nothing is read or written out of bounds; what is taken, written out again, is taken and the same; what is
 * refused is refused with a reason, which holds no long piece of what stands before an @.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 4096
#define SECRET_MIN 8 /* shorter ones are in a message by chance */

static void require(int holds)
{
	if (!holds)
		abort();
}

static size_t escape(char *to, const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += (size_t)sprintf(to + n, "%%%02X", (unsigned char)*text);
	return n;
}

static void write_url(char *to, const struct redis_url *url)
{
	static const char *const names[] = { "", "+sentinel", "+cluster" };
	size_t n = (size_t)sprintf(to, "redis%s%s://", url->tls ? "s" : "", names[url->mode]);

	n += escape(to + n, url->user);
	if (url->has_password) {
		to[n++] = ':';
		n += escape(to + n, url->password);
	}
	if (url->has_password || url->user[0] != '\0')
		to[n++] = '@';
	for (size_t i = 0; i < url->hosts_n; i++)
		n += (size_t)sprintf(to + n, strchr(url->hosts[i].name, ':') != NULL ? "%s[%s]:%u" : "%s%s:%u",
		                     i > 0 ? "," : "", url->hosts[i].name, url->hosts[i].port);
	if (url->mode == REDIS_SENTINEL)
		n += (size_t)sprintf(to + n, "/%s", url->master);
	sprintf(to + n, "/%u", url->db);
}

static void check_taken(const struct redis_url *url)
{
	static char text[32768];
	static struct redis_url again;
	char why[256];

	require(url->hosts_n >= 1 && url->hosts_n <= REDIS_URL_HOSTS_MAX);
	require(url->mode != REDIS_SINGLE || url->hosts_n == 1);
	require((url->mode == REDIS_SENTINEL) == (url->master[0] != '\0'));
	require(url->mode != REDIS_CLUSTER || url->db == 0);
	require(url->has_password == (url->password[0] != '\0'));
	for (size_t i = 0; i < url->hosts_n; i++)
		require(url->hosts[i].port != 0 && url->hosts[i].name[0] != '\0');
	write_url(text, url);
	require(redis_url_parse(&again, text, why, sizeof why) == 0);
	require(memcmp(url, &again, sizeof again) == 0);
}

static void check_refused(const char *text, const char *why)
{
	const char *at = strrchr(text, '@'), *colon = strchr(text, ':');
	char secret[SECRET_MIN + 1];

	require(*why != '\0');
	if (at == NULL || colon == NULL)
		return;
	/* Each piece between the scheme and the last @. */
	for (const char *c = colon + 3; c + SECRET_MIN <= at; c++) {
		memcpy(secret, c, SECRET_MIN);
		secret[SECRET_MIN] = '\0';
		if (strpbrk(secret, "redsntilclu ") == NULL) /* letters that messages are made of */
			require(strstr(why, secret) == NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[TEXT_MAX + 1];
	static struct redis_url url;
	char why[256] = "";

	if (size > TEXT_MAX)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	memset(&url, 0xa5, sizeof url);
	if (redis_url_parse(&url, text, why, sizeof why) == 0)
		check_taken(&url);
	else
		check_refused(text, why);
	return 0;
}
