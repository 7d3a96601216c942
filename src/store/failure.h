/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failure.h: what is decided when the store can't.
 *
 * A store in front of a store: it passes every operation on, and when that one refuses a take or a
 * peek, or fails it, decides in its stead:
 *
 *   local   an in-process store enforces this server's share of the limits, see share.h. When that
 *           one is full, new keys share a fixed number of states, chosen by a keyed hash: never
 *           more passes per key than its limit, but strangers may use up each other's
 *   open    everything passes
 *   closed  nothing passes; the client is told to come back after one second
 *
 * Each such decision is marked in op->decider, with the reason in op->error.
 *
 * Under `local` the limit holds through an outage of a store elsewhere. What that one last told of a key counts in this
 * server's share; and when it is back, a key that was decided here must pass the share, too (STORE_BY_LOCAL, error
 * -ESTALE, when it does not), until what was admitted here has flowed back. If every server is asked in turn, no more
 * than the limit passes in any window; docs/decisions/0024 says what passes otherwise.
 *
 * The log has one line when the store goes away and one when it is back, at most two in ten seconds. It is back when it
 * is ready and nothing has failed for two seconds: a Cluster of which one part is away stays away.
 *
 * An inner store that is itself in this process (memory.h) is never out of reach, only full. Then
 * local and open are carried out inside it, key by key: keys that it holds are held to their limits
 * whatever else is in the operation. Any other inner store that fails has failed as a whole.
 *
 * -EINVAL, an op that no store could decide, is passed through. So are errors of refunds and resets,
 * which nobody waits for; a refund goes to whoever decided the take, a reset to everyone.
 */
#ifndef SLUICE_STORE_FAILURE_H
#define SLUICE_STORE_FAILURE_H

#include "store/store.h"

enum failure_policy { FAILURE_LOCAL, FAILURE_OPEN, FAILURE_CLOSED };

struct failure_config {
	enum failure_policy policy;
	uint32_t servers;                  /* that share the limits, until failure_store_set_servers(); 0: 1 */
	uint64_t local_max_keys;           /* capacity of the in-process store of `local` */
	uint32_t shared_states;            /* states that new keys share when that is full, for each limit */
	uint64_t (*now_us)(void *context); /* as in memory_store_config */
	void *context;
};

/**
 * @param inner  owned by the result, closed with it. Not used by anyone else, before or after.
 * @return NULL with errno set; `inner` is then still the caller's.
 */
struct store *failure_store_open(struct store *inner, const struct failure_config *config);

/**
 * Tells how many servers share the limits, by which `local` divides them: rounded down, but no limit
 * below one. Fewer servers than before are believed after ten seconds only, as a store that comes back
 * without its memory has heard of few at first. Any thread.
 *
 * @param store    from failure_store_open().
 * @param servers  1 or more.
 */
void failure_store_set_servers(struct store *store, uint32_t servers);

/** What is told to operators. */
struct failure_view {
	const char *store;  /* class of the inner store */
	const char *policy; /* "local", "open", "closed" */
	bool in_process;    /* the inner store is in this process: it is never out of reach */
	bool ready;         /* the inner store can decide */
	uint32_t servers;   /* by which `local` divides */
};

/** Any thread. @param store  from failure_store_open(). */
void failure_store_view(struct store *store, struct failure_view *out);

#endif
