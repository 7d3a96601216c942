/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/look.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis/internal.h"

#define TRIES_MAX 5 /* redirections of a Cluster */

/* The questions, in the order in which they are sent. The last one ends the look: its bytes are those of its reply. */
enum { ASK_TTL, TTL, TIME, ASK_GET, GET, QUESTIONS };

struct question {
	struct redis_command command;
	struct looking *looking;
};

struct looking {
	struct redis_look *look;
	struct redis_thread *thread;
	struct redis_node *node;
	unsigned tries;
	struct question questions[QUESTIONS];
};

static int send_all(struct looking *looking, bool asking);

static void failed(struct redis_look *look, int error, const char *words)
{
	if (look->error != 0)
		return;
	look->error = error;
	snprintf(look->words, sizeof look->words, "%s", words);
}

static void on_asking(struct redis_command *command, const struct redisReply *reply, int error)
{
	(void)command; /* an error shows in what follows */
	(void)reply;
	(void)error;
}

static void on_ttl(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_look *look = ((struct question *)command)->looking->look;

	(void)error;
	if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
		look->ttl_ms = reply->integer;
}

static uint64_t number(const struct redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
}

static void on_time(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_look *look = ((struct question *)command)->looking->look;

	if (reply == NULL)
		failed(look, error, "");
	else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
		look->now_us = number(reply->element[0]) * 1000000 + number(reply->element[1]);
	else
		failed(look, -EIO, reply->type == REDIS_REPLY_ERROR ? reply->str : "no time");
}

/* @return true when the look goes on elsewhere. */
static bool redirected(struct looking *looking, const char *words)
{
	struct redis_error error = redis_error_read(words);
	const struct redis_topology *topology = looking->thread->topology;
	bool moved = error.kind == REDIS_ERROR_MOVED;
	struct redis_redirect redirect;

	if (topology->redirect == NULL || looking->tries >= TRIES_MAX || looking->look->error != 0 ||
	    (!moved && error.kind != REDIS_ERROR_ASK) || redis_redirect_read(&redirect, words) != 0)
		return false;
	looking->node = topology->redirect(looking->thread, looking->node, &redirect, moved);
	return looking->node != NULL && send_all(looking, !moved) == 0;
}

static void on_got(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct looking *looking = ((struct question *)command)->looking;
	struct redis_look *look = looking->look;

	if (reply != NULL && reply->type == REDIS_REPLY_ERROR && redirected(looking, reply->str))
		return;
	if (reply == NULL)
		failed(look, error, "");
	else if (reply->type == REDIS_REPLY_ERROR)
		failed(look, -EIO, reply->str);
	else if (reply->type == REDIS_REPLY_STRING) {
		look->state = reply->str;
		look->len = reply->len;
	}
	look->done(look);
	free(looking);
}

static int send_one(struct looking *looking, unsigned which, const char *verb, bool with_key)
{
	static void (*const endings[QUESTIONS])(struct redis_command *, const struct redisReply *,
	                                        int) = { on_asking, on_ttl, on_time, on_asking, on_got };
	struct redis_command *command = &looking->questions[which].command;
	struct redis_buffer *out = redis_conn_begin(looking->node->conn);

	if (out == NULL)
		return -EAGAIN;
	redis_command_begin(out, with_key ? 2 : 1);
	redis_command_text(out, verb);
	if (with_key)
		redis_command_word(out, looking->look->key, looking->look->key_len);
	command->deadline_us = looking->look->deadline_us;
	command->ended = endings[which];
	looking->questions[which].looking = looking;
	return redis_conn_send(looking->node->conn, command);
}

/* Nothing is sent, or all of it: where that can't be, the connection goes, and with it what was sent. */
static int send_all(struct looking *looking, bool asking)
{
	int err = 0;

	if (!redis_node_up(looking->node))
		return -ENOTCONN;
	looking->tries++;
	looking->look->ttl_ms = -2;
	if (asking)
		err = send_one(looking, ASK_TTL, "ASKING", false);
	if (err == 0)
		err = send_one(looking, TTL, "PTTL", true);
	if (err == 0)
		err = send_one(looking, TIME, "TIME", false);
	if (err == 0 && asking)
		err = send_one(looking, ASK_GET, "ASKING", false);
	if (err == 0)
		err = send_one(looking, GET, "GET", true);
	if (err != 0)
		redis_conn_drop(looking->node->conn, err, "out of memory");
	return err;
}

int redis_store_look(struct store *store, unsigned number_of, struct redis_look *look)
{
	struct redis_thread *thread = &((struct redis_store *)store)->threads[number_of];
	struct looking *looking;
	struct redis_node *node;
	int err;

	look->error = 0;
	look->words[0] = '\0';
	look->state = NULL;
	node = thread->topology->route(thread,
	                               thread->topology->redirect != NULL ? redis_slot(look->key, look->key_len) : 0);
	if (node == NULL)
		return -ENOTCONN;
	looking = calloc(1, sizeof *looking);
	if (looking == NULL)
		return -ENOMEM;
	looking->look = look;
	looking->thread = thread;
	looking->node = node;
	err = send_all(looking, false);
	if (err != 0)
		free(looking);
	return err;
}
