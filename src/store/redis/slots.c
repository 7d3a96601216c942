/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/slots.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CRC-16/XMODEM, polynomial 0x1021, four bits at a time: a key is short, and the table fits in a cache line. */
static uint16_t crc16(uint16_t crc, const char *bytes, size_t len)
{
	static const uint16_t table[16] = {
		0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
		0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
	};
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		crc = (uint16_t)(crc << 4 ^ table[crc >> 12 ^ byte >> 4]);
		crc = (uint16_t)(crc << 4 ^ table[crc >> 12 ^ (byte & 15)]);
	}
	return crc;
}

unsigned redis_slot_of(const char *prefix, size_t prefix_len, const char *key, size_t len)
{
	const char *open = memchr(key, '{', len), *close = NULL;

	if (open != NULL)
		close = memchr(open, '}', len - (size_t)(open - key));
	if (close != NULL && close > open + 1)
		return crc16(0, open + 1, (size_t)(close - open - 1)) % REDIS_SLOTS;
	return crc16(crc16(0, prefix, prefix_len), key, len) % REDIS_SLOTS;
}

unsigned redis_slot(const char *key, size_t len)
{
	return redis_slot_of("", 0, key, len);
}

static bool is_slot(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0 && reply->integer < (long long)REDIS_SLOTS;
}

/* @param name  NULL: unknown, which means the server that was asked. "?": unknown, and it is not that one. */
static int read_host(struct redis_host *host, const char *name, size_t len, unsigned long port)
{
	if (port == 0 || port > 65535 || len > REDIS_URL_HOST_MAX)
		return -EPROTO;
	if (len > 0 && memchr(name, '\0', len) != NULL)
		return -EPROTO;
	if (len == 1 && name[0] == '?')
		return -ENOENT;
	if (len > 0)
		memcpy(host->name, name, len);
	host->name[len] = '\0';
	host->port = (uint16_t)port;
	return 0;
}

int redis_range_read(struct redis_range *range, const struct redisReply *row)
{
	const redisReply *master, *name;

	if (row->type != REDIS_REPLY_ARRAY || row->elements < 3)
		return -EPROTO;
	master = row->element[2];
	if (!is_slot(row->element[0]) || !is_slot(row->element[1]) ||
	    row->element[0]->integer > row->element[1]->integer || master->type != REDIS_REPLY_ARRAY ||
	    master->elements < 2 || master->element[1]->type != REDIS_REPLY_INTEGER || master->element[1]->integer < 0)
		return -EPROTO;
	name = master->element[0];
	if (name->type != REDIS_REPLY_STRING && name->type != REDIS_REPLY_NIL)
		return -EPROTO;
	range->first = (uint16_t)row->element[0]->integer;
	range->last = (uint16_t)row->element[1]->integer;
	return read_host(&range->master, name->str, name->type == REDIS_REPLY_STRING ? name->len : 0,
	                 (unsigned long)master->element[1]->integer);
}

/* @return the number and where it ends, or `above` when there is none. */
static unsigned long read_number(const char *text, char **end, unsigned long above)
{
	unsigned long number;

	if (*text < '0' || *text > '9')
		return above;
	errno = 0;
	number = strtoul(text, end, 10);
	return errno != 0 || number > above ? above : number;
}

int redis_redirect_read(struct redis_redirect *redirect, const char *words)
{
	const char *space = strchr(words, ' '), *colon, *name;
	unsigned long slot, port;
	char *end;
	size_t len;
	int err;

	if (space == NULL)
		return -EPROTO;
	slot = read_number(space + 1, &end, REDIS_SLOTS);
	if (slot == REDIS_SLOTS || *end != ' ')
		return -EPROTO;
	/* An IPv6 address comes without brackets: the port follows the last colon. */
	name = end + 1;
	colon = strrchr(name, ':');
	if (colon == NULL)
		return -EPROTO;
	port = read_number(colon + 1, &end, 65536);
	if (port == 65536 || *end != '\0')
		return -EPROTO;
	len = (size_t)(colon - name);
	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
		name++;
		len -= 2;
	}
	err = read_host(&redirect->to, name, len, port);
	if (err != 0)
		return -EPROTO;
	redirect->slot = (uint16_t)slot;
	return 0;
}

void redis_slot_tags(uint32_t tags[REDIS_SLOTS])
{
	static const uint32_t none = UINT32_MAX;
	unsigned left = REDIS_SLOTS;
	char digits[16];

	memset(tags, 0xff, REDIS_SLOTS * sizeof *tags);
	for (uint32_t n = 0; left > 0; n++) {
		int len = snprintf(digits, sizeof digits, "%u", n);
		unsigned slot = redis_slot(digits, (size_t)len);

		if (tags[slot] == none) {
			tags[slot] = n;
			left--;
		}
	}
}

int redis_address_read(struct redis_host *host, const struct redisReply *reply)
{
	const redisReply *name, *port;
	unsigned long number;
	char *end;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		return -EPROTO;
	name = reply->element[0];
	port = reply->element[1];
	if (name->type != REDIS_REPLY_STRING || name->len == 0 || port->type != REDIS_REPLY_STRING)
		return -EPROTO;
	number = read_number(port->str, &end, 65536);
	if (number == 65536 || *end != '\0')
		return -EPROTO;
	return read_host(host, name->str, name->len, number) == 0 ? 0 : -EPROTO;
}

uint64_t redis_epoch_read(const struct redisReply *reply)
{
	unsigned long epoch = 0;
	char *end;

	if (reply->type != REDIS_REPLY_ARRAY)
		return 0;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const redisReply *name = reply->element[i], *value = reply->element[i + 1];

		if (name->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
		    strcmp(name->str, "config-epoch") == 0)
			epoch = read_number(value->str, &end, ULONG_MAX);
	}
	return epoch != ULONG_MAX ? epoch : 0;
}
