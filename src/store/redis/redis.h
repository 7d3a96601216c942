/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis.h: states in a Redis or Valkey that many servers share: single, behind Sentinel, or a Cluster.
 *
 * One connection a thread and server. Operations end as STORE_PENDING, or are refused at once, with nothing done:
 * -ENOTCONN while the server that holds a key is out of reach, -ETIMEDOUT when the deadline has passed already, -EAGAIN
 * when too many are waiting, -EINVAL, -ENOMEM. A pending one ends within its deadline, with op->error:
 *
 *   -ETIMEDOUT   no answer in time          -ECONNRESET  the connection broke     -EPROTO  nonsense came
 *   -ENOSPC      the server is out of memory (OOM)
 *   -EROFS       it does not write (READONLY, MISCONF, NOREPLICAS)
 *   -EHOSTDOWN   nobody holds the slot (CLUSTERDOWN), or the master is gone (MASTERDOWN)
 *   -EACCES, -EBUSY, -EAGAIN  NOAUTH and NOPERM; BUSY; LOADING and TRYAGAIN
 *   -EIO         another error reply, or a state that can't be understood (the words are in the log)
 *
 * After the first three a take may have been carried out all the same: it is never sent again. In a Cluster keys of one
 * op may lie in several slots: what some took is given back when another denies or fails (work.c).
 *
 * Leaves out: what is decided instead (failure.h), denials remembered (deny.h).
 */
#ifndef SLUICE_STORE_REDIS_REDIS_H
#define SLUICE_STORE_REDIS_REDIS_H

#include "store/store.h"

struct redis_store_config {
	const char *url;      /* checked by redis_url_parse(); copied */
	const char *password; /* wins over that of the URL; NULL: the URL's. Copied */
	const char *prefix;   /* of every key; copied */
	unsigned threads;     /* loop threads that will attach */
	uint64_t timeout_us;  /* of heartbeats and attempts to connect; operations bring their own deadline */
	/* Told about the deployment, on any loop thread, some times a minute and at each change; may be NULL.
	 *   servers     Sluice servers alive, this one included, as last seen; 0: never seen
	 *   generation  changes when states were forgotten or given back behind a denial's back (a reset, a refund, a
	 *               FLUSHALL, a restart with no data): denials remembered from before are void */
	void (*seen)(void *context, uint32_t servers, uint64_t generation);
	void *context;
	const char *ca_file, *cert_file, *key_file; /* for rediss://, NULL or "": the system's, none, none */
	bool heartbeat;                             /* false: a tool that looks, not a server that counts */
};

/** @param why  out, on failure: for the operator.
 *  @return a store, to be closed with store_close(); NULL. Connects when threads attach. */
struct store *redis_store_open(const struct redis_store_config *config, char *why, size_t why_size);

#endif
