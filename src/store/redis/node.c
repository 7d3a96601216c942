/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.c: a server as one thread sees it.
 *
 * A connection counts as up when the server has decided something over it: the script is loaded, and a take on a key
 * of our own has passed, by the module where the server has it. A server that accepts connections but can't decide (it
 * is full, read-only, busy) does not count.
 *
 * Leaves out: which servers there are (topology).
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis/info.h"
#include "store/redis/internal.h"

#define NODE_OF(command, member) ((struct redis_node *)((char *)(command)-offsetof(struct redis_node, member)))

static uint64_t greeting_until_us(const struct redis_node *node)
{
	return clock_mono_us() + node->thread->store->timeout_us + REDIS_CONNECT_US;
}

static void refuse_greeting(struct redis_node *node, const char *what, const char *words)
{
	struct redis_error error = redis_error_read(words);
	char why[320];

	snprintf(why, sizeof why, "the server answers %s with %.160s%s%s", what, words,
	         error.advice != NULL ? "; " : "", error.advice != NULL ? error.advice : "");
	redis_conn_drop(node->conn, error.error, why);
}

static void on_loaded(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_node *node = NODE_OF(command, load);

	(void)error;
	node->loading = false;
	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR && !redis_node_up(node))
		refuse_greeting(node, "SCRIPT LOAD", reply->str);
	else if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, redis_script_sha()) != 0)
		redis_conn_drop(node->conn, -EPROTO, "the server has another name for our script than its SHA-1");
}

int redis_node_load(struct redis_node *node)
{
	struct redis_buffer *out;
	int err;

	if (node->loading)
		return 0;
	out = redis_conn_begin(node->conn);
	if (out == NULL)
		return -EAGAIN;
	redis_script_load(out);
	node->load.deadline_us = greeting_until_us(node);
	node->load.ended = on_loaded;
	err = redis_conn_send(node->conn, &node->load);
	if (err != 0)
		return err;
	node->loading = true;
	node->loads++;
	return 0;
}

/* A server whose process is another one may have lost what it had been told last, also when it has data. */
static void notice_run(struct redis_node *node, const struct redis_info *info)
{
	if (node->run_id[0] != '\0' && strcmp(node->run_id, info->run_id) != 0)
		redis_store_suspect(node->thread->store);
	memcpy(node->run_id, info->run_id, sizeof node->run_id);
}

static void on_info(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_node *node = NODE_OF(command, info);
	struct redis_info info;
	char about[160], warning[240];

	/* A user without the right to INFO decides as well as any other. */
	if (error != 0 || reply->type != REDIS_REPLY_STRING)
		return;
	redis_info_read(&info, reply->str, reply->len);
	notice_run(node, &info);
	if (node->thread->topology->redirect == NULL && strcmp(info.role, "slave") == 0) {
		redis_conn_drop(node->conn, -EROFS, "it is a replica; only a master can decide");
		return;
	}
	redis_info_about(&info, about, sizeof about, warning, sizeof warning);
	redis_notices_about(&node->thread->store->notices, node->place, about, warning);
}

/* The servers are asked about themselves by one thread: they are the same for all. */
static int send_info(struct redis_node *node)
{
	struct redis_buffer *out = redis_conn_begin(node->conn);

	if (out == NULL)
		return -EAGAIN;
	redis_command_begin(out, 1);
	redis_command_text(out, "INFO");
	node->info.deadline_us = greeting_until_us(node);
	node->info.ended = on_info;
	return redis_conn_send(node->conn, &node->info);
}

static const struct sluice_policy probe_policy = {
	.algorithm = SLUICE_FIXED_WINDOW, .limit = 1000000, .burst = 1000000, .window_us = 1000000
};

static int send_probe(struct redis_node *node);

static void tell_who_decides(struct redis_node *node)
{
	char about[96];

	if (node->module)
		snprintf(about, sizeof about, "its module%s%s decides", node->module_version[0] != '\0' ? " " : "",
		         node->module_version);
	else
		snprintf(about, sizeof about, "the script decides");
	redis_notices_decides(&node->thread->store->notices, node->place, about, node->module_wanting);
}

static const char forbidden[] = "it has our module, but the user may not call it: see \"The module\" in operations.md";

void redis_node_by_script(struct redis_node *node, const char *words)
{
	if (!node->module)
		return;
	node->module = false;
	node->module_wanting = strncmp(words, "NOPERM", 6) == 0 ? forbidden : NULL;
	if (!node->was_up) /* what is found out in the greeting is told at its end */
		return;
	__atomic_sub_fetch(&node->thread->by_module, 1, __ATOMIC_RELAXED);
	tell_who_decides(node);
}

/* The probe was the module's. @return whether the script must be tried instead. */
static bool module_failed(struct redis_node *node, const struct redisReply *reply)
{
	if (!node->probes_module)
		return false;
	if (reply->type == REDIS_REPLY_ERROR)
		return redis_module_refused(reply->str);
	return reply->type != REDIS_REPLY_STRING || reply->len != REDIS_DECISION_LEN;
}

static void on_probed(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_node *node = NODE_OF(command, probe);
	struct redis_error refusal;

	if (error != 0)
		return;
	if (module_failed(node, reply)) {
		redis_node_by_script(node, reply->type == REDIS_REPLY_ERROR ? reply->str : "");
		error = send_probe(node);
		if (error != 0)
			redis_conn_drop(node->conn, error, "out of memory");
		return;
	}
	tell_who_decides(node);
	if (reply->type != REDIS_REPLY_ERROR) {
		redis_conn_ready(node->conn);
		return;
	}
	refusal = redis_error_read(reply->str);
	/* The slot may have moved since we learned whose it was. That says nothing against the server. But one that has
	 * just come back decides nothing for some seconds (CLUSTERDOWN). */
	if (node->thread->topology->redirect != NULL &&
	    (refusal.kind == REDIS_ERROR_MOVED || refusal.kind == REDIS_ERROR_ASK ||
	     refusal.kind == REDIS_ERROR_TRYAGAIN || strstr(reply->str, "Hash slot not served") != NULL))
		redis_conn_ready(node->conn);
	else
		refuse_greeting(node, "a take", reply->str);
}

/* A take from a limit of nobody, or for a tool that must change nothing a look at it. The name is none that a limit
 * may have. */
static void write_probe(struct redis_node *node, struct redis_buffer *out)
{
	struct redis_store *store = node->thread->store;
	struct store_op op = { .verb = store->heartbeat ? STORE_TAKE : STORE_PEEK, .n = 1 };
	char key[32] = "~probe:" REDIS_COMMON_TAG;
	struct redis_packed packed;

	if (store->tags != NULL)
		snprintf(key, sizeof key, "~probe:{%u}", store->tags[node->first_slot]);
	op.takes[0].key = key;
	op.takes[0].key_len = (uint16_t)strlen(key);
	op.takes[0].policy = &probe_policy;
	op.takes[0].cost = 1;
	node->probes_module = node->module && op.verb == STORE_TAKE;
	if (node->probes_module) {
		redis_packed_begin(&packed);
		redis_packed_add(&packed, &op, 1);
		redis_packed_write(&packed, out, store->prefix);
	} else {
		redis_script_call(out, store->prefix, &op, 1, false);
	}
}

/* In a Cluster a server that serves nothing is asked for its name only. */
static int send_probe(struct redis_node *node)
{
	struct redis_buffer *out = redis_conn_begin(node->conn);

	if (out == NULL)
		return -EAGAIN;
	if (node->thread->topology->redirect != NULL && !node->serves) {
		node->probes_module = false;
		redis_command_begin(out, 1);
		redis_command_text(out, "PING");
	} else {
		write_probe(node, out);
	}
	node->probe.deadline_us = greeting_until_us(node);
	node->probe.ended = on_probed;
	return redis_conn_send(node->conn, &node->probe);
}

static void on_module(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_node *node = NODE_OF(command, ask_module);
	struct redis_module module;

	if (error != 0)
		return;
	redis_module_read(&module, reply);
	node->module = module.usable;
	memcpy(node->module_version, module.version, sizeof node->module_version);
	node->module_wanting = NULL;
	if (module.forbidden)
		node->module_wanting = forbidden;
	else if (!module.usable && reply->type != REDIS_REPLY_ERROR)
		node->module_wanting =
			"its module is of another version than this program: install the one that came with it";
	error = send_probe(node);
	if (error != 0)
		redis_conn_drop(node->conn, error, "out of memory");
}

/* The probe follows its answer. */
static int ask_module(struct redis_node *node)
{
	struct redis_buffer *out = redis_conn_begin(node->conn);

	if (out == NULL)
		return -EAGAIN;
	redis_module_ask(out);
	node->ask_module.deadline_us = greeting_until_us(node);
	node->ask_module.ended = on_module;
	return redis_conn_send(node->conn, &node->ask_module);
}

static void greet(struct redis_conn *conn, void *context)
{
	struct redis_node *node = context;
	int err = redis_node_load(node);

	if (err == 0 && node->thread->index == 0)
		err = send_info(node);
	if (err == 0)
		err = ask_module(node);
	if (err != 0)
		redis_conn_drop(conn, err, "out of memory");
}

static void uncount(struct redis_node *node)
{
	if (!node->was_up)
		return;
	__atomic_sub_fetch(&node->thread->connected, 1, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&node->thread->by_module, node->module, __ATOMIC_RELAXED);
}

static void gather(struct redis_conn *conn, void *context)
{
	(void)conn;
	redis_gather_send(context);
}

static void on_changed(struct redis_conn *conn, int error, const char *why, void *context)
{
	struct redis_node *node = context;
	struct redis_thread *thread = node->thread;
	struct redis_notices *notices = &thread->store->notices;

	(void)conn;
	node->fresh = false;
	if (error == 0) {
		node->was_up = true;
		__atomic_add_fetch(&thread->connected, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&thread->by_module, node->module, __ATOMIC_RELAXED);
		redis_notices_up(notices, node->place);
	} else {
		uncount(node);
		redis_notices_down(notices, node->place, node->was_up, why);
		node->was_up = node->module = false;
		redis_gather_fail(node, error);
	}
	if (!node->retired)
		redis_thread_changed(thread, node);
}

bool redis_node_up(const struct redis_node *node)
{
	return redis_conn_up(node->conn);
}

void redis_node_refused(struct redis_node *node, const struct redis_error *error, const char *words)
{
	struct redis_thread *thread = node->thread;

	__atomic_store_n(&thread->refused_us, clock_mono_us(), __ATOMIC_RELAXED);
	redis_notices_refused(&thread->store->notices, redis_conn_name(node->conn), words, error->advice);
	/* In a Cluster MOVED and ASK come here only when there were too many of them in a row. */
	if (error->kind == REDIS_ERROR_SERVER || (thread->topology->redirect == NULL &&
	                                          (error->kind == REDIS_ERROR_MOVED || error->kind == REDIS_ERROR_ASK)))
		redis_conn_drop(node->conn, error->error, words);
	else if (error->error == -EHOSTDOWN && thread->topology->outdated != NULL)
		thread->topology->outdated(thread);
}

struct redis_node *redis_node_new(struct redis_thread *thread, const struct redis_host *host)
{
	const struct redis_store *store = thread->store;
	struct redis_node *node = calloc(1, sizeof *node);
	struct redis_conn_config config = {
		.loop = thread->loop,
		.host = host->name,
		.port = host->port,
		.access = &store->access,
		.timeout_us = store->timeout_us + REDIS_CONNECT_US,
		.backoff_max_us = REDIS_BACKOFF_US,
		.greet = greet,
		.changed = on_changed,
		.gather = gather,
		.context = node,
		.stats = &thread->conn_stats,
	};

	if (node == NULL)
		return NULL;
	node->thread = thread;
	node->host = *host;
	node->conn = redis_conn_new(&config);
	if (node->conn != NULL)
		node->place = redis_notices_enter(&thread->store->notices, redis_conn_name(node->conn));
	if (node->conn == NULL || node->place == NULL) {
		if (node->conn != NULL)
			redis_conn_free(node->conn);
		free(node);
		return NULL;
	}
	node->next = thread->nodes;
	thread->nodes = node;
	return node;
}

void redis_node_free(struct redis_node *node)
{
	uncount(node);
	redis_notices_leave(&node->thread->store->notices, node->place, node->was_up);
	redis_conn_free(node->conn);
	redis_gather_fail(node, -ECONNRESET);
	free(node);
}
