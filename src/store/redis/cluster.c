/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.c: a Redis Cluster: which master holds which slot, and connections to all of them.
 *
 * The map is read (CLUSTER SLOTS, which every version knows) from any server that answers: at the start, when a server
 * says that a slot has moved, when one is lost, again and again while some slot has no master that answers, and now and
 * then in any case. Servers named in the configuration stay connected whatever the map says: through them it is found
 * again.
 *
 * Leaves out: sending again what was redirected (work.c).
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis/internal.h"

#define NODES_MAX 1024u /* the specification's bound of a Cluster is 1,000 */
#define LEAST_MS 100    /* between two readings */
#define AGAIN_MS 500    /* while slots are without a master that answers */
#define USUAL_MS 10000
#define VISIT_US UINT64_C(60000000) /* a server that ASK named is kept so long after the last time */

struct cluster {
	struct redis_thread *thread;
	uv_timer_t timer;
	struct redis_command ask;
	struct redis_node *asked; /* by `ask` */
	bool asking;
	bool outdated;     /* something has changed since `ask` was sent */
	uint64_t asked_us; /* when that was */
	bool mapped;       /* a map has been read */
	unsigned turn;
	size_t nodes;                            /* in thread->nodes */
	unsigned holes;                          /* slots that nobody is known to hold */
	struct redis_node *masters[REDIS_SLOTS]; /* NULL: nobody known */
};

static void on_timer(uv_timer_t *timer);

static struct cluster *cluster_of(struct redis_thread *thread)
{
	return thread->place;
}

static bool is_at(const struct redis_node *node, const char *name, uint16_t port)
{
	return node->host.port == port && strcmp(node->host.name, name) == 0;
}

/* @param from  the server that named it, for names that are empty; NULL: they are not.
 * @return the node, new where need be; NULL: out of memory, or there are too many. */
static struct redis_node *find_or_add(struct cluster *cluster, const struct redis_host *host,
                                      const struct redis_node *from)
{
	struct redis_host there = host->name[0] != '\0' || from == NULL ? *host : from->host;
	struct redis_node *node = cluster->thread->nodes;

	there.port = host->port;
	while (node != NULL && !is_at(node, there.name, there.port))
		node = node->next;
	if (node != NULL || cluster->nodes >= NODES_MAX)
		return node;
	node = redis_node_new(cluster->thread, &there);
	if (node == NULL)
		return NULL;
	/* Slots that it is given were another's, which was there: they are worth waiting for. */
	node->fresh = cluster->mapped;
	cluster->nodes++;
	return node;
}

static bool complete(struct redis_thread *thread)
{
	const struct cluster *cluster = cluster_of(thread);
	const struct redis_node *node = thread->nodes;

	while (node != NULL && (!node->serves || redis_node_up(node)))
		node = node->next;
	return node == NULL && cluster->holes == 0;
}

/* Plans the next reading; a sooner one that is planned stays. */
static void plan(struct cluster *cluster, uint64_t in_ms)
{
	if (uv_is_active((uv_handle_t *)&cluster->timer) && uv_timer_get_due_in(&cluster->timer) <= in_ms)
		return;
	uv_timer_start(&cluster->timer, on_timer, in_ms, 0);
}

static void plan_next(struct cluster *cluster)
{
	bool again = cluster->outdated;

	cluster->outdated = false;
	plan(cluster, again ? LEAST_MS : complete(cluster->thread) ? USUAL_MS : AGAIN_MS);
}

static void want(struct cluster *cluster)
{
	uint64_t since_ms = (clock_mono_us() - cluster->asked_us) / 1000;

	if (cluster->asking)
		cluster->outdated = true;
	else
		plan(cluster, since_ms < LEAST_MS ? LEAST_MS - since_ms : 0);
}

/* @return whether another held it before: what that one had counted last may not have come along. */
static bool hold(struct cluster *cluster, struct redis_node *node, unsigned slot)
{
	struct redis_node *before = cluster->masters[slot];

	cluster->holes -= before == NULL;
	cluster->masters[slot] = node;
	if (!node->serves || slot < node->first_slot)
		node->first_slot = (uint16_t)slot;
	node->serves = true;
	return before != NULL && before != node;
}

static void drop_hold(struct cluster *cluster, unsigned slot)
{
	cluster->holes += cluster->masters[slot] != NULL;
	cluster->masters[slot] = NULL;
}

/* Servers that hold nothing are let go, but those that the configuration names, and those that a slot is just moving
 * to. */
static void let_go(struct cluster *cluster)
{
	uint64_t now_us = clock_mono_us();
	struct redis_node *node = cluster->thread->nodes, *next;

	for (; node != NULL; node = next) {
		next = node->next;
		if (node->serves || node->seed || now_us < node->visited_us + VISIT_US)
			continue;
		redis_node_retire(node);
		cluster->nodes--;
	}
}

/* @return whether every row of the reply can be read. */
static bool is_map(const struct redisReply *reply)
{
	struct redis_range range;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
		return false;
	for (size_t i = 0; i < reply->elements; i++) {
		if (redis_range_read(&range, reply->element[i]) == -EPROTO)
			return false;
	}
	return true;
}

static void take_map(struct cluster *cluster, const struct redisReply *reply)
{
	uint8_t held[REDIS_SLOTS / 8] = { 0 };
	struct redis_range range;
	bool changed = false;

	for (struct redis_node *node = cluster->thread->nodes; node != NULL; node = node->next)
		node->serves = false;
	for (size_t i = 0; i < reply->elements; i++) {
		struct redis_node *node = redis_range_read(&range, reply->element[i]) == 0
		                                  ? find_or_add(cluster, &range.master, cluster->asked)
		                                  : NULL;

		for (unsigned slot = range.first; node != NULL && slot <= range.last; slot++) {
			changed |= hold(cluster, node, slot);
			held[slot / 8] |= (uint8_t)(1u << slot % 8);
		}
	}
	for (unsigned slot = 0; slot < REDIS_SLOTS; slot++) {
		if ((held[slot / 8] >> slot % 8 & 1) == 0)
			drop_hold(cluster, slot);
	}
	if (changed)
		redis_store_suspect(cluster->thread->store);
	let_go(cluster);
	cluster->mapped = true;
}

static void on_map(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct cluster *cluster = (struct cluster *)((char *)command - offsetof(struct cluster, ask));
	struct redis_error refusal;

	cluster->asking = false;
	if (cluster->thread->closing)
		return;
	if (error == 0 && reply->type == REDIS_REPLY_ERROR) {
		refusal = redis_error_read(reply->str);
		if (strstr(reply->str, "cluster support disabled") != NULL) {
			refusal.kind = REDIS_ERROR_SERVER;
			refusal.advice = "write redis:// for a server of its own";
		}
		redis_node_refused(cluster->asked, &refusal, reply->str);
	} else if (error == 0 && is_map(reply)) {
		take_map(cluster, reply);
		redis_thread_settled(cluster->thread);
	}
	/* A server that knows no map has just been reset, or never met the others: the next one is asked. */
	plan_next(cluster);
}

/* @return the next server that answers, so that one which knows less than the others does not always decide. */
static struct redis_node *next_up(struct cluster *cluster)
{
	struct redis_node *found = NULL;
	unsigned up = 0, which;

	for (struct redis_node *node = cluster->thread->nodes; node != NULL; node = node->next)
		up += redis_node_up(node);
	if (up == 0)
		return NULL;
	which = cluster->turn++ % up;
	for (struct redis_node *node = cluster->thread->nodes; found == NULL && node != NULL; node = node->next) {
		if (redis_node_up(node) && which-- == 0)
			found = node;
	}
	return found;
}

static void read_map(struct cluster *cluster)
{
	struct redis_node *node = next_up(cluster);
	struct redis_buffer *out = node != NULL ? redis_conn_begin(node->conn) : NULL;

	if (cluster->asking || out == NULL)
		return; /* the next one that comes up is asked: changed() */
	redis_command_begin(out, 2);
	redis_command_text(out, "CLUSTER");
	redis_command_text(out, "SLOTS");
	cluster->asked = node;
	cluster->asked_us = clock_mono_us();
	cluster->outdated = false;
	cluster->ask.ended = on_map;
	cluster->ask.deadline_us = cluster->asked_us + cluster->thread->store->timeout_us;
	cluster->asking = redis_conn_send(node->conn, &cluster->ask) == 0;
	if (!cluster->asking)
		plan(cluster, AGAIN_MS);
}

static void on_timer(uv_timer_t *timer)
{
	read_map(timer->data);
}

static void changed(struct redis_thread *thread, struct redis_node *node)
{
	struct cluster *cluster = cluster_of(thread);

	if (node->serves || !complete(thread))
		want(cluster);
}

static struct redis_node *route(struct redis_thread *thread, unsigned slot)
{
	return cluster_of(thread)->masters[slot];
}

static struct redis_node *redirect(struct redis_thread *thread, const struct redis_node *from,
                                   const struct redis_redirect *redirect, bool moved)
{
	struct cluster *cluster = cluster_of(thread);
	struct redis_node *node = find_or_add(cluster, &redirect->to, from);

	if (node != NULL)
		node->visited_us = clock_mono_us();
	if (node != NULL && moved && hold(cluster, node, redirect->slot))
		redis_store_suspect(thread->store);
	if (moved)
		want(cluster);
	return node;
}

static void outdated(struct redis_thread *thread)
{
	want(cluster_of(thread));
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The command may still end, with the connections; memory goes when this turn is over. */
static void close_cluster(struct redis_thread *thread)
{
	if (thread->place != NULL)
		uv_close((uv_handle_t *)&cluster_of(thread)->timer, on_closed);
}

static int open_cluster(struct redis_thread *thread)
{
	const struct redis_url *url = &thread->store->url;
	struct cluster *cluster = calloc(1, sizeof *cluster);

	thread->place = cluster;
	if (cluster == NULL)
		return -ENOMEM;
	cluster->thread = thread;
	cluster->holes = REDIS_SLOTS;
	uv_timer_init(thread->loop, &cluster->timer);
	cluster->timer.data = cluster;
	for (size_t i = 0; i < url->hosts_n; i++) {
		struct redis_node *node = find_or_add(cluster, &url->hosts[i], NULL);

		if (node == NULL)
			return -ENOMEM;
		node->seed = true;
	}
	return 0;
}

const struct redis_topology redis_cluster = {
	.open = open_cluster,
	.close = close_cluster,
	.route = route,
	.complete = complete,
	.changed = changed,
	.redirect = redirect,
	.outdated = outdated,
};
