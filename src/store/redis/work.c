/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.c: an op on its way. Usually that is one call, carrying all takes of the op, to one server.
 *
 * In a Cluster the takes whose keys lie in different slots go in calls of their own, in one turn of the loop. When one
 * of these denies or fails, what the others took is given back: by a refund, once, that outlives the op if need be.
 *
 * A call is sent again only when the server said that it had not carried it out: NOSCRIPT, MOVED, ASK, TRYAGAIN. Never
 * after its deadline, and a few times at most. When it is sent to a server that was not known before, it waits until
 * that is connected.
 *
 * Leaves out: which server holds which slot (topology), what the bytes mean (script.h).
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis/internal.h"
#include "store/redis/work.h"

#define TRIES_MAX 5 /* of one call: a redirection, an ASK, a script, and some more */
#define PARKED_MS 2 /* between two looks at calls that wait for a connection */

/* Gives back what some calls of an op took, while another denied or failed. */
struct give_back {
	struct store_op op;
	struct redis_thread *thread;
	struct redis_work *waiter;      /* whose op ends when this has ended; NULL: it has ended already */
	uint8_t index[STORE_TAKES_MAX]; /* of these takes in the waiter's op */
	struct sluice_policy policies[STORE_TAKES_MAX];
	char keys[STORE_TAKES_MAX][STORE_KEY_MAX];
};

static void on_reply(struct redis_command *command, const struct redisReply *reply, int error);
static void on_asking(struct redis_command *command, const struct redisReply *reply, int error);
static void on_parked(uv_timer_t *timer);

static bool is_sound(const struct store_op *op)
{
	if (op->n == 0 || op->n > STORE_TAKES_MAX)
		return false;
	for (unsigned i = 0; i < op->n; i++) {
		const struct store_take *take = &op->takes[i];

		if (take->key_len == 0 || take->key_len > STORE_KEY_MAX ||
		    (op->verb != STORE_RESET && (take->cost == 0 || take->policy == NULL)))
			return false;
		for (unsigned j = 0; j < i; j++) {
			if (op->takes[j].key_len == take->key_len &&
			    memcmp(op->takes[j].key, take->key, take->key_len) == 0)
				return false;
		}
	}
	return true;
}

static struct redis_work *work_new(struct redis_thread *thread, struct store_op *op)
{
	struct redis_work *work = thread->free_works;

	if (work != NULL)
		thread->free_works = work->next;
	else
		work = malloc(sizeof *work);
	if (work == NULL)
		return NULL;
	work->thread = thread;
	work->op = op;
	work->pending = work->calls_n = 0;
	work->took = 0;
	work->denied = work->freed = false;
	work->error = 0;
	return work;
}

static void work_drop(struct redis_work *work)
{
	work->next = work->thread->free_works;
	work->thread->free_works = work;
}

void redis_work_free(struct redis_thread *thread)
{
	while (thread->free_works != NULL) {
		struct redis_work *work = thread->free_works;

		thread->free_works = work->next;
		free(work);
	}
}

static struct redis_call *add_call(struct redis_work *work, uint16_t slot)
{
	struct redis_call *call = &work->calls[work->calls_n++];

	call->asking.ended = on_asking;
	call->asking.deadline_us = work->op->deadline_us;
	call->work = work;
	call->node = NULL;
	call->takes = 0;
	call->by_script = false;
	call->slot = slot;
	call->tries = 0;
	return call;
}

/* One call for each slot. */
static void make_calls(struct redis_work *work)
{
	const struct redis_store *store = work->thread->store;
	const struct store_op *op = work->op;
	bool cluster = work->thread->topology->redirect != NULL;

	for (unsigned i = 0; i < op->n; i++) {
		unsigned slot = cluster ? redis_slot_of(store->prefix, store->prefix_len, op->takes[i].key,
		                                        op->takes[i].key_len)
		                        : 0;
		struct redis_call *call = NULL;

		for (unsigned j = 0; j < work->calls_n; j++) {
			if (work->calls[j].slot == slot)
				call = &work->calls[j];
		}
		if (call == NULL)
			call = add_call(work, (uint16_t)slot);
		call->takes |= 1u << i;
	}
}

static int send_asking(struct redis_call *call, struct redis_node *node)
{
	struct redis_buffer *out = redis_conn_begin(node->conn);
	int err;

	if (out == NULL)
		return -EAGAIN;
	redis_command_begin(out, 1);
	redis_command_text(out, "ASKING");
	err = redis_conn_send(node->conn, &call->asking);
	call->work->pending += err == 0;
	return err;
}

static int send_to_script(struct redis_call *call, struct redis_node *node)
{
	struct redis_work *work = call->work;
	struct redis_buffer *out = redis_conn_begin(node->conn);
	int err;

	if (out == NULL)
		return -EAGAIN; /* as much is waiting as ever may */
	if (call->takes != 0)
		redis_script_call(out, work->thread->store->prefix, work->op, call->takes, false);
	else
		redis_generation_bump_call(out, work->thread->store->prefix);
	call->command.ended = on_reply;
	call->command.deadline_us = work->op->deadline_us;
	err = redis_conn_send(node->conn, &call->command);
	if (err != 0)
		return err;
	call->node = node;
	call->loads = node->loads;
	return 0;
}

/* @return 0: on its way; a negative errno: nothing was sent. */
static int send_call(struct redis_call *call, struct redis_node *node)
{
	struct redis_work *work = call->work;
	int err;

	if (work->op->deadline_us < clock_mono_us() + REDIS_LEAST_US)
		return -ETIMEDOUT;
	if (node == NULL || !redis_node_up(node))
		return -ENOTCONN;
	if (call->takes != 0 && work->op->verb == STORE_TAKE && node->module && !call->by_script)
		err = work->thread->topology->redirect == NULL ? redis_gather(call, node)
		                                               : redis_gather_alone(call, node);
	else
		err = send_to_script(call, node);
	if (err != 0)
		return err;
	work->pending++;
	call->tries++;
	return 0;
}

/* ASKING is good for the next command alone, which must be ours. */
static int send_after_asking(struct redis_call *call, struct redis_node *node)
{
	int err;

	if (call->work->op->deadline_us < clock_mono_us() + REDIS_LEAST_US)
		return -ETIMEDOUT;
	if (node == NULL || !redis_node_up(node))
		return -ENOTCONN;
	err = send_asking(call, node);
	if (err != 0)
		return err;
	err = send_call(call, node);
	if (err != 0)
		redis_conn_drop(node->conn, err, "no room for a command");
	return err;
}

/* Puts a call aside until the first attempt to connect to its node has ended. */
static void park(struct redis_call *call, struct redis_node *node, bool asking)
{
	struct redis_thread *thread = call->work->thread;

	call->node = node;
	call->asks = asking;
	call->command.next = thread->parked != NULL ? &thread->parked->command : NULL;
	thread->parked = call;
	node->parked++;
	call->work->pending++;
	if (!uv_is_active((uv_handle_t *)&thread->parker))
		uv_timer_start(&thread->parker, on_parked, PARKED_MS, PARKED_MS);
}

static int send_or_park(struct redis_call *call, struct redis_node *node, bool asking)
{
	if (node != NULL && node->fresh && call->work->op->deadline_us >= clock_mono_us() + REDIS_LEAST_US) {
		park(call, node, asking);
		return 0;
	}
	return asking ? send_after_asking(call, node) : send_call(call, node);
}

static void fail(struct redis_work *work, int error)
{
	if (work->error == 0)
		work->error = error;
}

static void finish(struct redis_work *work)
{
	struct store_op *op = work->op;

	op->allowed = !work->denied && work->error == 0;
	op->error = work->error;
	if (op->error != 0)
		__atomic_add_fetch(&work->thread->errors, 1, __ATOMIC_RELAXED);
	work_drop(work);
	op->done(op);
}

/* What was given back is shown as it is now. */
static void on_given_back(struct store_op *op)
{
	struct give_back *back = (struct give_back *)op;
	struct redis_work *waiter = back->waiter;

	if (waiter != NULL && op->error == 0) {
		for (unsigned i = 0; i < op->n; i++) {
			waiter->op->takes[back->index[i]].decision = op->takes[i].decision;
			waiter->op->takes[back->index[i]].decision.allowed = true;
		}
	}
	redis_thread_done(back->thread);
	free(back);
	if (waiter != NULL)
		finish(waiter);
}

/* Copies the takes: the op ends, and with it keys and policies, before this has ended. */
static void copy_takes(struct give_back *back, const struct redis_work *work)
{
	unsigned n = 0;

	for (unsigned i = 0; i < work->op->n; i++) {
		if ((work->took >> i & 1) == 0)
			continue;
		back->op.takes[n] = work->op->takes[i];
		back->policies[n] = *work->op->takes[i].policy;
		memcpy(back->keys[n], work->op->takes[i].key, work->op->takes[i].key_len);
		back->op.takes[n].policy = &back->policies[n];
		back->op.takes[n].key = back->keys[n];
		back->index[n++] = (uint8_t)i;
	}
	back->op.n = (uint8_t)n;
}

/* @return true when the op ends by on_given_back(). Where that fails the units stay taken, which errs on the strict
 *         side. */
static bool give_back(struct redis_work *work)
{
	struct redis_thread *thread = work->thread;
	struct give_back *back = calloc(1, sizeof *back);
	bool wait = work->error == 0;

	if (back == NULL)
		return false;
	copy_takes(back, work);
	back->thread = thread;
	back->op.verb = STORE_REFUND;
	back->op.thread = work->op->thread;
	back->op.done = on_given_back;
	back->op.deadline_us = wait ? work->op->deadline_us : clock_mono_us() + thread->store->timeout_us;
	back->waiter = wait ? work : NULL;
	if (redis_work_submit(thread, &back->op) != STORE_PENDING) {
		free(back);
		return false;
	}
	thread->undone++;
	return wait;
}

/* The op ends when all servers have been told: who resets a client wants it to be let in. @return whether a call is on
 * its way. */
static bool bump(struct redis_work *work)
{
	struct redis_thread *thread = work->thread;
	struct redis_call *call;
	int err;

	if (!work->freed)
		return false;
	work->freed = false;
	call = add_call(work, (uint16_t)redis_slot(REDIS_COMMON_TAG, sizeof REDIS_COMMON_TAG - 1));
	err = send_call(call, thread->topology->route(thread, call->slot));
	if (err != 0)
		fail(work, err);
	return err == 0;
}

static void end_work(struct redis_work *work)
{
	bool undo = work->op->verb == STORE_TAKE && work->took != 0 && (work->denied || work->error != 0);

	if (undo ? !give_back(work) : !bump(work))
		finish(work);
}

static void end_command(struct redis_work *work)
{
	if (--work->pending == 0)
		end_work(work);
}

static void on_parked(uv_timer_t *timer)
{
	struct redis_thread *thread = timer->data;
	struct redis_call *call = thread->parked, *next;

	thread->parked = NULL;
	for (; call != NULL; call = next) {
		struct redis_work *work = call->work;
		int err;

		next = (struct redis_call *)call->command.next;
		call->node->parked--;
		err = send_or_park(call, call->node, call->asks);
		if (err != 0)
			fail(work, err);
		end_command(work);
	}
	if (thread->parked == NULL)
		uv_timer_stop(timer);
}

void redis_work_open(struct redis_thread *thread)
{
	uv_timer_init(thread->loop, &thread->parker);
	thread->parker.data = thread;
	thread->parked = NULL;
}

void redis_work_close(struct redis_thread *thread)
{
	uv_close((uv_handle_t *)&thread->parker, NULL);
}

static void on_asking(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_call *call = (struct redis_call *)((char *)command - offsetof(struct redis_call, asking));

	/* An error shows in the command after it, which is then redirected again. */
	(void)reply;
	(void)error;
	end_command(call->work);
}

/* The server does not know the script. Others may be on their way without it: it is sent once, in front of them all. */
static int again_with_script(struct redis_call *call)
{
	int err = call->loads == call->node->loads ? redis_node_load(call->node) : 0;

	return err != 0 ? err : send_call(call, call->node);
}

static int redirected(struct redis_call *call, const char *words, bool moved)
{
	struct redis_thread *thread = call->work->thread;
	struct redis_redirect redirect;
	struct redis_node *node;

	if (redis_redirect_read(&redirect, words) != 0)
		return -EPROTO;
	node = thread->topology->redirect(thread, call->node, &redirect, moved);
	return send_or_park(call, node, !moved);
}

/* A key is where it is; several may be on either side of a migration. */
static int again_one_by_one(struct redis_call *call)
{
	struct redis_work *work = call->work;
	redis_takes rest = call->takes & (call->takes - 1);
	struct redis_node *node = work->thread->topology->route(work->thread, call->slot);
	int err;

	if (rest == 0)
		return -EAGAIN;
	call->takes &= ~rest;
	err = send_call(call, node);
	for (; err == 0 && rest != 0; rest &= rest - 1) {
		struct redis_call *other = add_call(work, call->slot);

		other->takes = rest & ~(rest - 1);
		other->tries = call->tries;
		err = send_call(other, node);
	}
	return err;
}

/* An error reply, after which the call may be sent again. */
static void on_error(struct redis_call *call, const char *words)
{
	struct redis_error error = redis_error_read(words);
	struct redis_thread *thread = call->work->thread;
	bool again = call->tries < TRIES_MAX, cluster = thread->topology->redirect != NULL;
	int err = error.error;

	if (again && error.kind == REDIS_ERROR_NOSCRIPT)
		err = again_with_script(call);
	else if (again && cluster && (error.kind == REDIS_ERROR_MOVED || error.kind == REDIS_ERROR_ASK))
		err = redirected(call, words, error.kind == REDIS_ERROR_MOVED);
	else if (again && cluster && error.kind == REDIS_ERROR_TRYAGAIN)
		err = again_one_by_one(call);
	else
		redis_node_refused(call->node, &error, words);
	if (err != 0)
		fail(call->work, err);
}

static void tell_malformed(struct redis_call *call)
{
	redis_notices_refused(&call->work->thread->store->notices, redis_conn_name(call->node->conn),
	                      "that a state is malformed",
	                      "another program may write to a key of ours (limiter.prefix); sluice reset clears one");
}

static void decided(struct redis_call *call, bool allowed)
{
	if (allowed)
		call->work->took |= call->takes;
	else
		call->work->denied = true;
}

static void on_decisions(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_work *work = call->work;
	bool allowed = true;
	int err = redis_script_reply(work->op, call->takes, reply->str, reply->len, &allowed);

	if (err == 0)
		decided(call, allowed);
	else
		fail(work, err);
	if (err == -EIO)
		tell_malformed(call);
	else if (err == -EPROTO)
		redis_conn_drop(call->node->conn, err, "what came is no reply of our script");
	work->freed |=
		err == 0 && (work->op->verb == STORE_RESET ||
	                     (work->op->verb == STORE_REFUND && redis_script_was_denying(reply->str, reply->len)));
}

static void on_reply(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_call *call = (struct redis_call *)command;
	struct redis_work *work = call->work;

	if (reply == NULL)
		fail(work, error == -ECANCELED ? -ECONNRESET : error);
	else if (reply->type == REDIS_REPLY_ERROR)
		on_error(call, reply->str);
	else if (reply->type == REDIS_REPLY_STRING && call->takes != 0)
		on_decisions(call, reply);
	else if (call->takes != 0 || reply->type != REDIS_REPLY_STATUS) {
		redis_conn_drop(call->node->conn, -EPROTO, "what came is no reply of our script");
		fail(work, -EPROTO);
	}
	end_command(work);
}

int redis_call_decided(struct redis_call *call, const char *reply)
{
	static const char wrong_type[] = "WRONGTYPE for a key of ours";
	struct redis_work *work = call->work;
	bool allowed = true;
	int err = redis_module_reply(work->op, call->takes, reply, &allowed);

	if (err == 0) {
		decided(call, allowed);
	} else if (err == -EIO && redis_module_wrong_type(reply)) {
		struct redis_error error = redis_error_read(wrong_type);

		redis_node_refused(call->node, &error, wrong_type);
	} else if (err == -EIO) {
		tell_malformed(call);
	}
	if (err != 0)
		fail(work, err);
	end_command(work);
	return err == -EPROTO ? err : 0;
}

void redis_call_refused(struct redis_call *call, const char *words)
{
	bool may_not_write = redis_module_may_not_write(words);
	int err;

	if (call->tries < TRIES_MAX && (may_not_write || redis_module_refused(words))) {
		call->by_script = may_not_write; /* otherwise the node has no module any more */
		err = send_call(call, call->node);
		if (err != 0)
			fail(call->work, err);
	} else {
		on_error(call, words);
	}
	end_command(call->work);
}

void redis_call_failed(struct redis_call *call, int error)
{
	fail(call->work, error);
	end_command(call->work);
}

/* Every server that is needed must be there before the first is asked: what is not taken need not be given back. */
static int find_nodes(struct redis_work *work)
{
	struct redis_thread *thread = work->thread;

	for (unsigned i = 0; i < work->calls_n; i++) {
		struct redis_node *node = thread->topology->route(thread, work->calls[i].slot);

		if (node == NULL || (!redis_node_up(node) && !node->fresh)) {
			if (thread->topology->outdated != NULL)
				thread->topology->outdated(thread);
			return -ENOTCONN;
		}
		work->calls[i].node = node;
	}
	return 0;
}

int redis_work_submit(struct redis_thread *thread, struct store_op *op)
{
	struct redis_work *work;
	int err;

	if (!is_sound(op))
		return -EINVAL;
	work = work_new(thread, op);
	if (work == NULL)
		return -ENOMEM;
	make_calls(work);
	err = find_nodes(work);
	for (unsigned i = 0; err == 0 && i < work->calls_n; i++)
		err = send_or_park(&work->calls[i], work->calls[i].node, false);
	if (work->pending == 0) { /* nothing is on its way */
		work_drop(work);
		return err;
	}
	if (err != 0) /* some calls are: it ends by them */
		fail(work, err);
	return STORE_PENDING;
}
