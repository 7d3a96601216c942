/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "redis_clocked_lua.h"
#include "store/redis/script.h"

enum { WORDS_MAX = 8 + STORE_TAKES_MAX };

/* Sends what redis_script_call() wrote with the clocked script in the place of the program's, and the time behind. */
static redisReply *ask(struct redis_server *server, const redisReply *call, bool text, uint64_t now_us)
{
	const char *words[WORDS_MAX];
	size_t lens[WORDS_MAX];
	char now[24];
	int n = (int)call->elements;

	for (int i = 0; i < n; i++) {
		words[i] = call->element[i]->str;
		lens[i] = call->element[i]->len;
	}
	words[0] = text ? "EVAL" : "EVALSHA";
	lens[0] = strlen(words[0]);
	words[1] = text ? clocked : clocked_sha;
	lens[1] = text ? sizeof clocked : sizeof clocked_sha - 1;
	words[n] = now;
	lens[n] = (size_t)snprintf(now, sizeof now, "%" PRIu64, now_us);
	return redisCommandArgv(server->context, n + 1, words, lens);
}

/* A command is spelled as a reply would be. */
static redisReply *parse_call(const struct redis_buffer *buffer)
{
	redisReader *reader = redisReaderCreate();
	void *call = NULL;

	if (reader == NULL || buffer->failed)
		return NULL;
	redisReaderFeed(reader, buffer->bytes, buffer->len);
	redisReaderGetReply(reader, &call);
	redisReaderFree(reader);
	return call;
}

int redis_client_submit(struct redis_server *server, struct store_op *op, uint64_t now_us)
{
	redis_takes takes = (UINT32_C(1) << op->n) - 1;
	struct redis_buffer buffer = { 0 };
	redisReply *call, *reply;
	int result = -EREMOTEIO;

	redis_script_call(&buffer, "", op, takes, false);
	call = parse_call(&buffer);
	redis_buffer_free(&buffer);
	if (call == NULL)
		return -ENOMEM;
	reply = ask(server, call, false, now_us);
	if (reply != NULL && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
		freeReplyObject(reply);
		reply = ask(server, call, true, now_us);
	}
	freeReplyObject(call);
	if (reply != NULL && reply->type == REDIS_REPLY_STRING)
		result = redis_script_reply(op, takes, reply->str, reply->len, &op->allowed);
	else
		fprintf(stderr, "redis: %s\n", reply != NULL ? reply->str : server->context->errstr);
	if (reply != NULL)
		freeReplyObject(reply);
	return result;
}

size_t redis_client_state(struct redis_server *server, const char *key, redisReply **reply)
{
	*reply = redisCommand(server->context, "GET %s", key);
	return *reply != NULL && (*reply)->type == REDIS_REPLY_STRING ? (*reply)->len : 0;
}

int redis_client_write(struct redis_server *server, const char *key, const void *state, size_t len)
{
	redisReply *reply = redisCommand(server->context, "SET %s %b", key, state, len);
	int result = reply != NULL && reply->type == REDIS_REPLY_STATUS ? 0 : -1;

	if (reply != NULL)
		freeReplyObject(reply);
	return result;
}
