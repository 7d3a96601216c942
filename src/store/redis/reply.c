/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/reply.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096
#define LINE_MAX_BYTES 65536
#define LENGTH_MAX_BYTES 32 /* of `$123` and the end of its line */
#define ALIGN(n) (((n) + 15) & ~(size_t)15)

/* A further piece of the arena, for a reply that does not fit into the first one. */
struct piece {
	struct piece *next;
	size_t room, used;
	_Alignas(16) char bytes[];
};

struct redis_replies {
	redisReader *reader;
	struct piece *pieces; /* newest first */
	size_t more;          /* bytes in pieces */
	size_t used;          /* of `first` */
	_Alignas(16) char first[FIRST_BYTES];
};

static void *more_memory(struct redis_replies *replies, size_t len)
{
	size_t room = len > FIRST_BYTES * 4 ? len : FIRST_BYTES * 4;
	struct piece *piece = replies->pieces;

	if (piece == NULL || piece->room - piece->used < len) {
		if (replies->more + room > REDIS_REPLY_MEMORY_MAX)
			return NULL;
		piece = malloc(sizeof *piece + room);
		if (piece == NULL)
			return NULL;
		*piece = (struct piece){ .next = replies->pieces, .room = room };
		replies->pieces = piece;
		replies->more += room;
	}
	piece->used += len;
	return piece->bytes + piece->used - len;
}

static void *memory(struct redis_replies *replies, size_t len)
{
	if (len > REDIS_REPLY_MEMORY_MAX)
		return NULL;
	len = ALIGN(len);
	if (len > FIRST_BYTES - replies->used)
		return more_memory(replies, len);
	replies->used += len;
	return replies->first + replies->used - len;
}

static void empty(struct redis_replies *replies)
{
	replies->used = 0;
	while (replies->pieces != NULL) {
		struct piece *piece = replies->pieces;

		replies->pieces = piece->next;
		free(piece);
	}
	replies->more = 0;
}

/* @return an object with `extra` bytes behind it, hung into its array. */
static redisReply *object(const redisReadTask *task, size_t extra)
{
	redisReply *reply = memory(task->privdata, sizeof *reply + extra);

	if (reply == NULL)
		return NULL;
	memset(reply, 0, sizeof *reply);
	reply->type = task->type;
	if (task->parent != NULL)
		((redisReply *)task->parent->obj)->element[task->idx] = reply;
	return reply;
}

static void *make_string(const redisReadTask *task, char *bytes, size_t len)
{
	redisReply *reply = object(task, len + 1);

	if (reply == NULL)
		return NULL;
	reply->str = (char *)(reply + 1);
	reply->len = len;
	memcpy(reply->str, bytes, len);
	reply->str[len] = '\0';
	return reply;
}

static void *make_array(const redisReadTask *task, int elements)
{
	size_t len = elements > 0 ? (size_t)elements * sizeof(redisReply *) : 0;
	redisReply *reply = elements >= 0 ? object(task, len) : NULL;

	if (reply == NULL)
		return NULL;
	reply->element = (redisReply **)(reply + 1);
	reply->elements = (size_t)elements;
	memset(reply->element, 0, len);
	return reply;
}

static void *make_integer(const redisReadTask *task, long long value)
{
	redisReply *reply = object(task, 0);

	if (reply != NULL)
		reply->integer = value;
	return reply;
}

/* The task is a string or an array until its length says that it is neither. */
static void *make_nil(const redisReadTask *task)
{
	redisReply *reply = object(task, 0);

	if (reply != NULL)
		reply->type = REDIS_REPLY_NIL;
	return reply;
}

static void forget(void *reply)
{
	(void)reply; /* goes with the arena */
}

/* hiredis takes them without const, and does not change them. */
static redisReplyObjectFunctions functions = { make_string, make_array, make_integer, make_nil, forget };

struct redis_replies *redis_replies_new(void)
{
	struct redis_replies *replies = malloc(sizeof *replies);

	if (replies == NULL)
		return NULL;
	replies->reader = redisReaderCreateWithFunctions(&functions);
	if (replies->reader == NULL) {
		free(replies);
		errno = ENOMEM;
		return NULL;
	}
	replies->reader->privdata = replies;
	replies->pieces = NULL;
	replies->more = replies->used = 0;
	return replies;
}

void redis_replies_free(struct redis_replies *replies)
{
	if (replies == NULL)
		return;
	redisReaderFree(replies->reader);
	empty(replies);
	free(replies);
}

int redis_replies_feed(struct redis_replies *replies, const char *bytes, size_t len)
{
	if (replies->reader->len - replies->reader->pos + len > REDIS_REPLY_BYTES_MAX)
		return -EPROTO;
	return redisReaderFeed(replies->reader, bytes, len) == REDIS_OK ? 0 : -ENOMEM;
}

/* hiredis looks for the end of a line from its beginning, each time that bytes come: without a bound on lines a server
 * could make it look for ever. Strings with a length are as long as they say. */
static bool line_is_too_long(const redisReader *reader)
{
	if (reader->len - reader->pos <= LINE_MAX_BYTES || reader->ridx < 0)
		return false;
	return reader->rstack[reader->ridx].type != REDIS_REPLY_STRING ||
	       memchr(reader->buf + reader->pos, '\n', LENGTH_MAX_BYTES) == NULL;
}

int redis_replies_next(struct redis_replies *replies, const struct redisReply **reply)
{
	void *whole = NULL;

	/* Nothing begun: what the last reply used is free again. */
	if (replies->reader->ridx == -1)
		empty(replies);
	if (redisReaderGetReply(replies->reader, &whole) != REDIS_OK)
		return -EPROTO;
	if (whole == NULL && line_is_too_long(replies->reader))
		return -EPROTO;
	*reply = whole;
	return 0;
}
