/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.h: the bytes of one state as Redis holds them, for who wants to see them. Changes nothing.
 *
 * Leaves out: what they mean (sluice/limiter.h).
 */
#ifndef SLUICE_STORE_REDIS_LOOK_H
#define SLUICE_STORE_REDIS_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct redis_look {
	const char *key; /* with the prefix */
	size_t key_len;
	uint64_t deadline_us;
	void (*done)(struct redis_look *look); /* on the submitting thread, once */

	/* Out. The state is the callee's, and gone when `done` returns. */
	int error;         /* 0 or a negative errno; -EIO: an error reply, whose words follow */
	char words[256];   /* of it; else "" */
	const char *state; /* NULL: there is no such key */
	size_t len;
	int64_t ttl_ms;  /* -1: the key has none; -2: the server does not say (the user may not ask) */
	uint64_t now_us; /* the server's time */
};

/** Asks the server that holds the key.
 *  @param store  from redis_store_open(). @param thread  attached; its loop's thread.
 *  @return 0: `done` will be called; a negative errno, -ENOTCONN while that server is out of reach. */
int redis_store_look(struct store *store, unsigned thread, struct redis_look *look);

#endif
