/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h: what the files of the Redis store know of each other.
 *
 *   redis.c      the store: open, attach, submit, close
 *   work.c       an op on its way: which keys to which server, in how many calls; redirections; refunds
 *   gather.c     takes of one turn of the loop in one command, for a server with our module
 *   node.c       a server as one thread sees it: a connection, and whether it can decide
 *   topology     which servers there are: single.c, sentinel.c, cluster.c
 *   heartbeat.c  how many Sluice servers share the limits, and whether states were forgotten
 *
 * Everything but struct redis_store belongs to one loop thread. Nothing is freed within a callback of a connection:
 * a node that is of no more use is retired, and freed at the end of the loop's turn.
 */
#ifndef SLUICE_STORE_REDIS_INTERNAL_H
#define SLUICE_STORE_REDIS_INTERNAL_H

#include <pthread.h>
#include <uv.h>

#include "store/redis/conn.h"
#include "store/redis/error.h"
#include "store/redis/module.h"
#include "store/redis/notice.h"
#include "store/redis/redis.h"
#include "store/redis/script.h"
#include "store/redis/slots.h"
#include "store/redis/url.h"

#define REDIS_CONNECT_US UINT64_C(2000000) /* of one attempt, at least: TCP, TLS and greeting are some round trips */
#define REDIS_BACKOFF_US UINT64_C(1000000) /* between two attempts, at most */
#define REDIS_PREFIX_MAX 64
#define REDIS_COMMON_TAG "{sluice}"  /* of the keys that all servers have together: see script.h */
#define REDIS_REAP_MS 20             /* between two looks whether something retired still waits */
#define REDIS_LEAST_US UINT64_C(500) /* with less time no question is worth asking: it would cost the connection */

struct redis_thread;
struct redis_node;
struct redis_pulse;
struct redis_work;
struct redis_call;

/* Which server holds what. One of these for each mode of redis_url. */
struct redis_topology {
	/* Begins to connect. @return 0 or a negative errno, with nothing left open. */
	int (*open)(struct redis_thread *thread);
	/* Closes its own handles; nodes are retired by the thread. */
	void (*close)(struct redis_thread *thread);
	/* @return the node that holds a slot (always 0 but in a Cluster), or NULL. */
	struct redis_node *(*route)(struct redis_thread *thread, unsigned slot);
	/* @return whether decisions can be had on every slot. */
	bool (*complete)(struct redis_thread *thread);
	/* A node came up or went down. */
	void (*changed)(struct redis_thread *thread, struct redis_node *node);
	/* NULL: not a Cluster. A server sends us elsewhere: MOVED (learn it) or ASK (only this once).
	 * @return the node to ask, which may be on its way up; NULL. */
	struct redis_node *(*redirect)(struct redis_thread *thread, const struct redis_node *from,
	                               const struct redis_redirect *redirect, bool moved);
	/* NULL: nothing to learn. A slot has no master for now. */
	void (*outdated)(struct redis_thread *thread);
};

extern const struct redis_topology redis_single, redis_sentinel, redis_cluster;

/* A server as one thread sees it. */
struct redis_node {
	struct redis_node *next;
	struct redis_thread *thread;
	struct redis_host host;
	struct redis_conn *conn;
	struct redis_place *place;
	bool retired;
	bool fresh;      /* Cluster: new in it, and the first attempt to connect has not ended yet */
	unsigned parked; /* calls that wait for that */
	bool was_up;     /* as the notices know it */

	/* Who decides: all keys, or in a Cluster those of some slots. */
	bool serves;
	uint16_t first_slot; /* Cluster: the lowest that it serves */
	bool seed;           /* Cluster: named by the configuration */
	uint64_t visited_us; /* Cluster: when a redirection named it last */

	/* The script on this server. */
	struct redis_command load;
	bool loading;   /* `load` is on its way */
	uint32_t loads; /* sent so far */

	/* The module on this server: takes go to it, or as all else to the script. See gather.c. */
	bool module;                /* it decides */
	bool probes_module;         /* `probe` is a call of it */
	char module_version[32];    /* "": unknown */
	const char *module_wanting; /* why it does not, for the operator; NULL: there is none, or it does. Static */
	struct redis_call *gathered, **gathered_last; /* calls for the next command */
	unsigned asked;                               /* calls gathered, or on their way in such a command */

	/* What is asked of a new connection. */
	struct redis_command ask_module;
	struct redis_command info;
	struct redis_command probe;
	char run_id[41]; /* of the server process; "": unknown */
};

struct redis_thread {
	_Alignas(64) struct redis_store *store;
	unsigned index;
	uv_loop_t *loop; /* NULL: not attached */
	const struct redis_topology *topology;
	struct redis_node *nodes;
	struct redis_node *retired;
	uv_timer_t reaper; /* frees the retired; the last handle to be closed */
	unsigned undone;   /* commands that a clean end waits for */
	bool closing;
	struct redis_work *free_works;
	struct redis_call *parked; /* calls for fresh nodes */
	uv_timer_t parker;         /* looks after them */
	void *place;               /* the topology's own */
	struct redis_pulse *pulse; /* NULL: none */
	struct redis_conn_stats conn_stats;
	/* Atomic, relaxed. */
	uint64_t connected; /* nodes that are up */
	uint64_t by_module; /* of these, where the module decides */
	uint64_t errors;
	uint64_t refused_us; /* clock_mono_us() of the last error reply */
	bool complete;       /* decisions can be had */
	bool partial;        /* for some keys at least */
};

/* Behind Sentinel: where the master is. */
struct redis_master {
	pthread_mutex_t lock;
	struct redis_host host; /* port 0: not known yet */
	uv_async_t **wakes;     /* one for each thread, NULL: not attached */
};

struct redis_store {
	struct store store;
	struct redis_url url;
	struct redis_access access;
	char prefix[REDIS_PREFIX_MAX];
	size_t prefix_len;
	char *password;     /* owned; NULL: none */
	char server_id[17]; /* of this process, 16 hex digits */
	uint64_t timeout_us;
	bool heartbeat;
	void (*seen)(void *context, uint32_t servers, uint64_t generation);
	void *context;
	struct redis_notices notices;
	struct redis_master master;
	uint32_t *tags; /* of a Cluster, for each slot: see redis_slot_tags() */
	uint64_t epoch; /* atomic: how often states may have been lost without the servers knowing */
	unsigned threads_n;
	struct redis_thread *threads;
};

/** States may have been lost without the servers knowing: another process answers, or another server. What is
 * remembered of denials is void from the next heartbeat on. */
static inline void redis_store_suspect(struct redis_store *store)
{
	__atomic_add_fetch(&store->epoch, 1, __ATOMIC_RELAXED);
}

/* node.c */

/** @return a node, in thread->nodes, that begins to connect; NULL: out of memory. */
struct redis_node *redis_node_new(struct redis_thread *thread, const struct redis_host *host);

/** Takes it out of thread->nodes and frees it when this turn of the loop is over and nothing waits on it. */
void redis_node_retire(struct redis_node *node);

/** Frees one at once, not from within a callback of its connection. */
void redis_node_free(struct redis_node *node);

/** @return whether it takes calls. */
bool redis_node_up(const struct redis_node *node);

/** Sends the script, unless it is on its way. @return 0 or a negative errno. */
int redis_node_load(struct redis_node *node);

/** The module does not decide there any more, or never did: the script does. Once; what follows is for the operator.
 *  @param words  the error reply. */
void redis_node_by_script(struct redis_node *node, const char *words);

/** An error reply came: the operator is told, and a server that can't decide is left. */
void redis_node_refused(struct redis_node *node, const struct redis_error *error, const char *words);

/* gather.c */

/** Sends the takes that were put aside for this node. At the end of a turn of the loop. */
void redis_gather_send(struct redis_node *node);

/** They can't be sent any more: ends them with this error. */
void redis_gather_fail(struct redis_node *node, int error);

/* redis.c */

/** A node came up or went down: is what is needed there? */
void redis_thread_changed(struct redis_thread *thread, struct redis_node *node);

/** The topology is known, or another. */
void redis_thread_settled(struct redis_thread *thread);

/** One of thread->undone has ended. */
void redis_thread_done(struct redis_thread *thread);

/* heartbeat.c */

/** Begins the heartbeat of this process on this thread. @return 0 or -ENOMEM. */
int redis_pulse_open(struct redis_thread *thread);

/** Now, rather than when its time has come. */
void redis_pulse_beat(struct redis_thread *thread);

/** Says goodbye to the other servers; one of thread->undone until that has been heard. */
void redis_pulse_leave(struct redis_thread *thread);

void redis_pulse_close(struct redis_thread *thread);

/* work.c */

/** As store_submit(). */
int redis_work_submit(struct redis_thread *thread, struct store_op *op);

/** A thread begins, or ends after its last op: its timer. */
void redis_work_open(struct redis_thread *thread);
void redis_work_close(struct redis_thread *thread);

/** Frees what is kept for further ops. */
void redis_work_free(struct redis_thread *thread);

#endif
