/* SPDX-License-Identifier: Apache-2.0 */
/*
 * single.c: one server, at an address that does not change.
 */
#include <errno.h>

#include "store/redis/internal.h"

static int open_single(struct redis_thread *thread)
{
	struct redis_node *node = redis_node_new(thread, &thread->store->url.hosts[0]);

	if (node == NULL)
		return -ENOMEM;
	node->serves = true;
	return 0;
}

static void close_single(struct redis_thread *thread)
{
	(void)thread;
}

static struct redis_node *route(struct redis_thread *thread, unsigned slot)
{
	(void)slot;
	return thread->nodes;
}

static bool complete(struct redis_thread *thread)
{
	return thread->nodes != NULL && redis_node_up(thread->nodes);
}

static void changed(struct redis_thread *thread, struct redis_node *node)
{
	(void)thread;
	(void)node;
}

const struct redis_topology redis_single = {
	.open = open_single,
	.close = close_single,
	.route = route,
	.complete = complete,
	.changed = changed,
};
