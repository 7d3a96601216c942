/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather.c: takes of one turn of the loop in one command, for a server with our module.
 *
 * Calls are put aside as they come and written when the connection is about to write (conn.h, `gather`): nothing waits
 * for longer than it did, no timer is needed, and no memory but that of the calls. The first of the calls in a command
 * lends it its redis_command; the others hang behind it, in the order of their answers.
 *
 * In a Cluster each call goes alone: a command can't reach over slots, and redirections are of one slot.
 *
 * Leaves out: the bytes (module.h), what follows for an op (work.c).
 */
#include <errno.h>
#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "store/redis/internal.h"
#include "store/redis/work.h"

#define ASKED_MAX 65536u /* of a server, answered by nobody yet; as commands of a connection */

static void on_taken(struct redis_command *command, const struct redisReply *reply, int error);

int redis_gather(struct redis_call *call, struct redis_node *node)
{
	if (node->asked >= ASKED_MAX || redis_conn_begin(node->conn) == NULL)
		return -EAGAIN;
	if (node->gathered == NULL)
		node->gathered_last = &node->gathered;
	call->node = node;
	call->behind = NULL;
	*node->gathered_last = call;
	node->gathered_last = &call->behind;
	node->asked++;
	return 0;
}

static void fail_all(struct redis_node *node, struct redis_call *call, int error)
{
	struct redis_call *next;

	for (; call != NULL; call = next) {
		next = call->behind;
		node->asked--;
		redis_call_failed(call, error);
	}
}

void redis_gather_fail(struct redis_node *node, int error)
{
	struct redis_call *calls = node->gathered;

	node->gathered = NULL;
	fail_all(node, calls, error == -ETIMEDOUT || error == -ECANCELED ? -ECONNRESET : error);
}

/* @param first  of the calls that were packed. @return 0 or a negative errno: nothing was sent. */
static int send_packed(struct redis_node *node, const struct redis_packed *packed, struct redis_call *first)
{
	struct redis_buffer *out = redis_conn_begin(node->conn);

	if (out == NULL)
		return redis_node_up(node) ? -EAGAIN : -ECONNRESET;
	redis_packed_write(packed, out, node->thread->store->prefix);
	first->command.ended = on_taken;
	return redis_conn_send(node->conn, &first->command);
}

/* Sends the first of the calls that wait, as many as go into one command. One that is too late by now is not sent. */
static void send_some(struct redis_node *node)
{
	uint64_t least_us = clock_mono_us() + REDIS_LEAST_US, due_us = UINT64_MAX;
	struct redis_call *first = NULL, **last = &first, *call;
	struct redis_packed packed;
	int err;

	redis_packed_begin(&packed);
	while ((call = node->gathered) != NULL) {
		const struct store_op *op = call->work->op;

		if (op->deadline_us >= least_us && !redis_packed_add(&packed, op, call->takes))
			break;
		node->gathered = call->behind;
		call->behind = NULL;
		if (op->deadline_us < least_us) {
			fail_all(node, call, -ETIMEDOUT);
			continue;
		}
		if (op->deadline_us < due_us)
			due_us = op->deadline_us;
		*last = call;
		last = &call->behind;
	}
	if (first == NULL)
		return;
	first->command.deadline_us = due_us;
	err = send_packed(node, &packed, first);
	if (err != 0)
		fail_all(node, first, err);
}

void redis_gather_send(struct redis_node *node)
{
	while (node->gathered != NULL)
		send_some(node);
}

int redis_gather_alone(struct redis_call *call, struct redis_node *node)
{
	struct redis_packed packed;
	int err;

	redis_packed_begin(&packed);
	redis_packed_add(&packed, call->work->op, call->takes);
	call->behind = NULL;
	call->command.deadline_us = call->work->op->deadline_us;
	err = send_packed(node, &packed, call);
	if (err != 0)
		return err;
	call->node = node;
	node->asked++;
	return 0;
}

static size_t answer_len(const struct redis_call *call)
{
	return (size_t)REDIS_DECISION_LEN * (unsigned)__builtin_popcount(call->takes);
}

static size_t answers_len(const struct redis_call *call)
{
	size_t len = 0;

	for (; call != NULL; call = call->behind)
		len += answer_len(call);
	return len;
}

/* After an answer that can be none, those behind it are not believed either. */
static void answered(struct redis_node *node, struct redis_call *call, const char *bytes)
{
	struct redis_call *next;
	int err = 0;

	for (; call != NULL && err == 0; call = next) {
		size_t len = answer_len(call);

		next = call->behind;
		node->asked--;
		err = redis_call_decided(call, bytes);
		bytes += len;
	}
	if (err == 0)
		return;
	fail_all(node, call, err);
	redis_conn_drop(node->conn, err, "what came is no reply of our module");
}

static void refused(struct redis_node *node, struct redis_call *call, const char *words)
{
	struct redis_call *next;

	if (redis_module_refused(words))
		redis_node_by_script(node, words);
	for (; call != NULL; call = next) {
		next = call->behind;
		node->asked--;
		redis_call_refused(call, words);
	}
}

static void on_taken(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_call *first = (struct redis_call *)command;
	struct redis_node *node = first->node;

	if (reply == NULL)
		fail_all(node, first, error == -ECANCELED ? -ECONNRESET : error);
	else if (reply->type == REDIS_REPLY_ERROR)
		refused(node, first, reply->str);
	else if (reply->type == REDIS_REPLY_STRING && reply->len == answers_len(first))
		answered(node, first, reply->str);
	else {
		fail_all(node, first, -EPROTO);
		redis_conn_drop(node->conn, -EPROTO, "what came is no reply of our module");
	}
}
