/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h: the contract between who asks for a decision and where the states live.
 *
 * One operation carries up to STORE_TAKES_MAX (policy, key, cost) triples that are decided
 * together: a take takes from all of them or from none.
 *
 * Lifetime rules
 *  1. The caller owns the op, embedded in whatever it likes; keys and policies that it points to
 *     must live until the op has ended.
 *  2. store_submit() ends the op at once (STORE_DONE: the decisions are in the op, no callback
 *     comes), or keeps it (STORE_PENDING: `done` is called exactly once, on the submitting thread,
 *     never before store_submit() returned), or refuses it (a negative errno: nothing happened,
 *     no callback comes).
 *  3. A pending op can't be withdrawn; who loses interest waits for `done` all the same.
 *  4. Each loop thread that submits has a number below the `threads` that the store was opened with,
 *     says it in op->thread, and ties its loop to the store with store_attach() before its first op and
 *     unties it with store_detach() after its last one has ended. A store never moves an op to another thread.
 *  5. store_close() only after every op has ended and every thread has been detached, its loop run to the end.
 *
 * Leaves out: what a key is made of (policy/), what is said to the client (app/).
 */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/limiter.h"

struct uv_loop_s; /* of libuv */

#define STORE_TAKES_MAX 10
#define STORE_KEY_MAX 255 /* bytes */

/* What store_submit() answers besides a negative errno. */
enum { STORE_DONE = 0, STORE_PENDING = 1 };

enum store_verb {
	STORE_TAKE,   /* take cost from all, or from none */
	STORE_PEEK,   /* look, change nothing */
	STORE_REFUND, /* give cost back that was taken at decision.at_us (in: from the take's op) */
	STORE_RESET,  /* forget the states of the keys */
};

/* Where the cost of a take was counted; a refund goes there. */
enum store_home {
	STORE_HOME_OWN,    /* in the key's own state */
	STORE_HOME_SHARED, /* in a state shared with other keys, because the store was full */
	STORE_HOME_NONE,   /* nowhere: the failure policy let it pass */
};

struct store_take {
	const struct sluice_policy *policy;
	const char *key;  /* `<limit name>:{<subject>}`; stores that need a prefix add it themselves */
	uint16_t key_len; /* 1 to STORE_KEY_MAX */
	uint8_t home;     /* enum store_home. Out of a take; in of a refund: from the take's op */
	uint32_t cost;
	struct sluice_decision decision; /* out. A take that was denied leaves every other decision of its op as
	                                    a peek would show it */
};

/* Who decided: the store itself, or a failure policy in its stead. */
enum store_decider { STORE_BY_STORE, STORE_BY_LOCAL, STORE_BY_OPEN, STORE_BY_CLOSED };

/* An op that breaks the bounds below, or in which a key comes twice, is refused with -EINVAL. */
struct store_op {
	enum store_verb verb;
	uint8_t n;       /* 1 to STORE_TAKES_MAX */
	uint16_t thread; /* number of the submitting loop thread */
	struct store_take takes[STORE_TAKES_MAX];
	uint64_t deadline_us; /* clock_mono_us() after which an answer is of no use */
	void (*done)(struct store_op *op);

	/* Out. Decider and error are also in of a refund: from the take's op. */
	bool allowed; /* every take was allowed */
	enum store_decider decider;
	int error; /* 0, or the negative errno for which the failure policy decided. A store sets it when a pending op
	              fails; 0 otherwise */

	/* Between submit and done, and for a refund from the take's op: the failure policy's own notes. */
	struct {
		struct store *store;
		void (*done)(struct store_op *op);
		uint32_t servers;                /* that shared the limits when it decided */
		bool reserved;                   /* counted in this server's share until the store has answered: */
		uint8_t homes[STORE_TAKES_MAX];  /* where */
		uint64_t at_us[STORE_TAKES_MAX]; /* and when */
	} failure;

	/* Likewise: the notes of deny.h. */
	struct {
		struct store *store;
		void (*done)(struct store_op *op);
		uint64_t sent_us, epoch;
		uint64_t signature[2];
	} deny;
};

struct store_stats {
	uint64_t keys;    /* states held now */
	uint64_t bytes;   /* memory held for them, table included */
	uint64_t refused; /* operations refused, or left to the failure policy, because the store was full */
	uint64_t expired; /* states dropped because they had become empty */
	uint64_t errors;  /* operations that ended in an error */
	uint64_t deny_hits, deny_entries; /* denials given without asking the store; denials remembered (deny.h) */

	/* Of a store on the network; 0 otherwise. */
	uint64_t connected;  /* connections that are up now, over all threads */
	uint64_t by_module;  /* of these, to servers that decide by our module */
	uint64_t commands;   /* sent to the servers */
	uint64_t writes;     /* system calls that sent them */
	uint64_t timeouts;   /* commands whose deadline passed */
	uint64_t reconnects; /* connections that were up and were lost */
};

struct store; /* the head of every store; see struct store_class */

struct store_class {
	const char *name;
	int (*attach)(struct store *store, unsigned thread, struct uv_loop_s *loop); /* NULL: needs no loop */
	void (*detach)(struct store *store, unsigned thread);                        /* NULL likewise */
	int (*submit)(struct store *store, struct store_op *op);
	/* A little housekeeping; called on each loop thread some times a second. Never after its detach. */
	void (*tend)(struct store *store);
	void (*stats)(struct store *store, struct store_stats *out);
	/* @return true when decisions can be had. */
	bool (*ready)(struct store *store);
	void (*close)(struct store *store);
	/* @return true when it is ready for some keys, though perhaps not for all. NULL: it is ready for all or none.
	 */
	bool (*partly_ready)(struct store *store);
};

struct store {
	const struct store_class *class;
};

/** Ties loop thread `thread` to the store: from now on it may submit. Its handles on the loop belong to the store.
 *  @return 0 or a negative errno. Loop thread, or before that thread runs. */
static inline int store_attach(struct store *store, unsigned thread, struct uv_loop_s *loop)
{
	return store->class->attach != NULL ? store->class->attach(store, thread, loop) : 0;
}

/** Closes the store's handles on the loop; the loop must run until they are gone. Loop thread. */
static inline void store_detach(struct store *store, unsigned thread)
{
	if (store->class->detach != NULL)
		store->class->detach(store, thread);
}

static inline int store_submit(struct store *store, struct store_op *op)
{
	return store->class->submit(store, op);
}

static inline void store_tend(struct store *store)
{
	store->class->tend(store);
}

static inline void store_stats(struct store *store, struct store_stats *out)
{
	store->class->stats(store, out);
}

static inline bool store_ready(struct store *store)
{
	return store->class->ready(store);
}

static inline bool store_partly_ready(struct store *store)
{
	return store->class->partly_ready != NULL ? store->class->partly_ready(store) : store->class->ready(store);
}

static inline void store_close(struct store *store)
{
	store->class->close(store);
}

#endif
