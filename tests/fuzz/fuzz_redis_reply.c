/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_redis_reply.c: any bytes as what a Redis server answers. The first byte says in which pieces they come.
 *
 * Holds: nothing is read or written out of bounds; the replies are the same however the bytes were cut up; each
 * reply written as RESP and read again is the same; strings end with a NUL; nothing is deeper than hiredis allows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis/buffer.h"
#include "store/redis/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH_MAX 9

static void require(int holds)
{
	if (!holds)
		abort();
}

static void add_number(struct redis_buffer *to, char mark, long long number)
{
	char text[32];
	int len = snprintf(text, sizeof text, "%c%lld\r\n", mark, number);

	redis_buffer_add(to, text, (size_t)len);
}

static void write_reply(struct redis_buffer *to, const struct redisReply *reply, int depth)
{
	require(depth < DEPTH_MAX);
	switch (reply->type) {
	case REDIS_REPLY_STRING:
		require(reply->str[reply->len] == '\0');
		add_number(to, '$', (long long)reply->len);
		redis_buffer_add(to, reply->str, reply->len);
		redis_buffer_add(to, "\r\n", 2);
		break;
	case REDIS_REPLY_STATUS:
	case REDIS_REPLY_ERROR:
		require(reply->str[reply->len] == '\0');
		redis_buffer_add(to, reply->type == REDIS_REPLY_STATUS ? "+" : "-", 1);
		redis_buffer_add(to, reply->str, reply->len);
		redis_buffer_add(to, "\r\n", 2);
		break;
	case REDIS_REPLY_INTEGER:
		add_number(to, ':', reply->integer);
		break;
	case REDIS_REPLY_NIL:
		redis_buffer_add(to, "$-1\r\n", 5);
		break;
	case REDIS_REPLY_ARRAY:
		add_number(to, '*', (long long)reply->elements);
		for (size_t i = 0; i < reply->elements; i++)
			write_reply(to, reply->element[i], depth + 1);
		break;
	default:
		abort();
	}
}

/* Reads bytes in pieces of `piece`, and writes what came of them. @return whether they were replies to the end. */
static int read_all(struct redis_buffer *to, const char *bytes, size_t len, size_t piece)
{
	struct redis_replies *replies = redis_replies_new();
	const struct redisReply *reply = NULL;
	int err = 0;

	require(replies != NULL);
	while (len > 0 && err == 0) {
		size_t n = len < piece ? len : piece;

		err = redis_replies_feed(replies, bytes, n);
		bytes += n;
		len -= n;
		while (err == 0) {
			err = redis_replies_next(replies, &reply);
			if (err != 0 || reply == NULL)
				break;
			write_reply(to, reply, 0);
		}
	}
	redis_replies_free(replies);
	require(!to->failed);
	return err;
}

static int same(const struct redis_buffer *a, const struct redis_buffer *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct redis_buffer whole = { 0 }, pieces = { 0 }, again = { 0 };
	const char *bytes = (const char *)data + 1;
	int err;

	if (size < 1)
		return 0;
	err = read_all(&whole, bytes, size - 1, SIZE_MAX);
	require(read_all(&pieces, bytes, size - 1, (size_t)data[0] + 1) == err);
	require(same(&whole, &pieces));
	require(read_all(&again, whole.bytes, whole.len, SIZE_MAX) == 0);
	require(same(&whole, &again));
	redis_buffer_free(&whole);
	redis_buffer_free(&pieces);
	redis_buffer_free(&again);
	return 0;
}
