/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_redis_topology.c: any bytes as what servers say about themselves and about where to go: rows of CLUSTER SLOTS,
 * answers of Sentinels, redirections, INFO, SLUICE.INFO.
 *
 * Holds: nothing is read or written out of bounds; slots and ports that are accepted are ones; a name is NUL-terminated
 * and as long as it may be; a redirection that is accepted, written anew, is read as the same; lines for the log hold
 * no control character.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis/error.h"
#include "store/redis/info.h"
#include "store/redis/module.h"
#include "store/redis/reply.h"
#include "store/redis/slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_host(const struct redis_host *host)
{
	require(memchr(host->name, '\0', sizeof host->name) != NULL);
	require(host->port != 0);
}

static void read_row(const struct redisReply *row)
{
	struct redis_range range;

	if (redis_range_read(&range, row) != 0)
		return;
	require(range.first <= range.last && range.last < REDIS_SLOTS);
	check_host(&range.master);
}

static void read_module(const struct redisReply *reply)
{
	struct redis_module module;

	redis_module_read(&module, reply);
	require(memchr(module.version, '\0', sizeof module.version) != NULL);
	for (const char *c = module.version; *c != '\0'; c++)
		require(*c > ' ' && *c <= '~');
	require(!module.usable || (reply->type == REDIS_REPLY_ARRAY && reply->elements >= 4 && !module.forbidden));
}

static void read_replies(const char *bytes, size_t size)
{
	struct redis_replies *replies = redis_replies_new();
	const struct redisReply *reply = NULL;
	struct redis_host host;

	if (replies != NULL && redis_replies_feed(replies, bytes, size) == 0) {
		while (redis_replies_next(replies, &reply) == 0 && reply != NULL) {
			read_row(reply);
			for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
				read_row(reply->element[i]);
			if (redis_address_read(&host, reply) == 0)
				check_host(&host);
			(void)redis_epoch_read(reply);
			read_module(reply);
		}
	}
	redis_replies_free(replies);
}

static void read_words(const char *words)
{
	struct redis_redirect redirect, again;
	char text[REDIS_URL_HOST_MAX + 64];

	require(redis_error_read(words).error < 0);
	if (redis_redirect_read(&redirect, words) != 0)
		return;
	require(redirect.slot < REDIS_SLOTS);
	check_host(&redirect.to);
	snprintf(text, sizeof text, "MOVED %u [%s]:%u", redirect.slot, redirect.to.name, redirect.to.port);
	if (redirect.to.name[0] == '\0')
		return;
	require(redis_redirect_read(&again, text) == 0);
	require(again.slot == redirect.slot && again.to.port == redirect.to.port);
	require(strcmp(again.to.name, redirect.to.name) == 0);
}

static void read_info(const char *bytes, size_t size)
{
	char about[160], warning[240];
	struct redis_info info;

	redis_info_read(&info, bytes, size);
	redis_info_about(&info, about, sizeof about, warning, sizeof warning);
	for (const char *c = about; *c != '\0'; c++)
		require(*c >= ' ' && *c <= '~');
	for (const char *c = warning; *c != '\0'; c++)
		require(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	read_replies(text, size);
	read_words(text);
	read_info(text, size);
	require(redis_slot(text, size) < REDIS_SLOTS);
	free(text);
	return 0;
}
