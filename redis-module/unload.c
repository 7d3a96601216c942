/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unload.c: looks through what CLIENT LIST says of each connection: a line of name=value, with blanks between them.
 */
#include "redis-module/unload.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define VERSION_REMEMBERS 0x080000 /* the first Redis that uses the last command of a connection once more */
#define ID_MAX 24

struct line {
	const char *at;
	size_t len;
};

/* @return where the value of a name begins, or NULL. @param label  " name=". */
static const char *value_of(const struct line *line, const char *label)
{
	const char *found = memmem(line->at, line->len, label, strlen(label));

	return found != NULL ? found + strlen(label) : NULL;
}

static bool begins(const struct line *line, const char *at, const char *text)
{
	size_t len = strlen(text);

	return at != NULL && (size_t)(line->at + line->len - at) >= len && memcmp(at, text, len) == 0;
}

static bool has_queued(const struct line *line)
{
	const char *number = value_of(line, " multi=");

	return number != NULL && number < line->at + line->len && *number >= '1' && *number <= '9';
}

static bool last_was_ours(const struct line *line)
{
	const char *name = value_of(line, " cmd=");

	return begins(line, name, "sluice.") || begins(line, name, "cl.throttle");
}

/* A command of ours that the server has looked up and put aside: CLIENT PAUSE, a FAILOVER. Ours block for no other
 * reason. */
static bool is_held_up(const struct line *line)
{
	const char *flags = value_of(line, " flags="), *end = line->at + line->len;

	for (; flags != NULL && flags < end && *flags != ' '; flags++) {
		if (*flags == 'b')
			return last_was_ours(line);
	}
	return false;
}

static void close_connection(RedisModuleCtx *ctx, const struct line *line)
{
	char id[ID_MAX];
	RedisModuleCallReply *reply;

	if (!begins(line, line->at, "id=") || sscanf(line->at, "id=%23[0-9]", id) != 1)
		return;
	reply = redis.Call(ctx, "CLIENT", "ccc", "KILL", "ID", id);
	if (reply != NULL)
		redis.FreeCallReply(reply);
}

/* Valkey tells either its own version or that of the Redis that it is like. */
static bool remembers_commands(RedisModuleCtx *ctx)
{
	RedisModuleCallReply *reply;
	const char *text;
	size_t len;
	bool valkey;

	if (redis.GetServerVersion == NULL || redis.GetServerVersion() < VERSION_REMEMBERS)
		return false;
	reply = redis.Call(ctx, "INFO", "c", "server");
	text = reply != NULL ? redis.CallReplyStringPtr(reply, &len) : NULL;
	valkey = text != NULL && memmem(text, len, "valkey_version:", sizeof "valkey_version:" - 1) != NULL;
	if (reply != NULL)
		redis.FreeCallReply(reply);
	return !valkey;
}

/* Goes through the lines. @return on how many connections commands wait, or how many were closed. */
static unsigned each_connection(RedisModuleCtx *ctx, bool close)
{
	RedisModuleCallReply *reply = redis.Call(ctx, "CLIENT", "c", "LIST");
	size_t left = 0;
	const char *at = reply != NULL ? redis.CallReplyStringPtr(reply, &left) : NULL;
	unsigned found = 0;

	while (at != NULL && left > 0) {
		const char *end = memchr(at, '\n', left);
		struct line line = { at, end != NULL ? (size_t)(end - at) : left };

		if (close && last_was_ours(&line))
			close_connection(ctx, &line);
		found += close ? last_was_ours(&line) : has_queued(&line) || is_held_up(&line);
		left -= line.len + (end != NULL);
		at = end != NULL ? end + 1 : NULL;
	}
	if (reply != NULL)
		redis.FreeCallReply(reply);
	return found;
}

int unload_prepare(RedisModuleCtx *ctx)
{
	unsigned closed;

	if (each_connection(ctx, false) > 0) {
		redis.Log(
			ctx, "warning",
			"not unloaded: commands wait in a transaction of a client (CLIENT LIST: multi=) or are held up "
			"(flags=b), and the server would not survive it if they are ours; try again");
		return REDIS_ERR;
	}
	closed = remembers_commands(ctx) ? each_connection(ctx, true) : 0;
	if (closed > 0)
		redis.Log(
			ctx, "notice",
			"%u connections whose last command was ours are closed: this server would not survive the next",
			closed);
	return REDIS_OK;
}
