/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice.h: what the operator is told about the servers: one line a change, not one a connection or a command.
 *
 * Each thread has a connection to each server. A server is told to be lost when the first of them is, and found when
 * all are back; one that comes and goes is told about once in some seconds.
 *
 * Any thread. Leaves out: which policy decides meanwhile (failure.h).
 */
#ifndef SLUICE_STORE_REDIS_NOTICE_H
#define SLUICE_STORE_REDIS_NOTICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct redis_place; /* a server, whoever is connected to it */

struct redis_notices {
	pthread_mutex_t lock;
	struct redis_place *places;
	uint64_t refused_us; /* when the last refusal was told */
	uint64_t refused_n;  /* since then */
};

/** @return 0 or a negative errno. */
int redis_notices_init(struct redis_notices *notices);

/** After everybody has left. */
void redis_notices_destroy(struct redis_notices *notices);

/** A connection, not up yet, will be made to this server. @return its place, to be left; NULL: out of memory. */
struct redis_place *redis_notices_enter(struct redis_notices *notices, const char *name);

/** @param up  whether it was when it ended. */
void redis_notices_leave(struct redis_notices *notices, struct redis_place *place, bool up);

/** A connection that was not up is. */
void redis_notices_up(struct redis_notices *notices, struct redis_place *place);

/** A connection was lost, or could not be made. @param was_up  which of them. */
void redis_notices_down(struct redis_notices *notices, struct redis_place *place, bool was_up, const char *why);

/** An error reply. @param advice  may be NULL. */
void redis_notices_refused(struct redis_notices *notices, const char *name, const char *words, const char *advice);

/** Something worth knowing about a server; told again only when it has changed.
 *  @param warning  how to set it right; NULL or "": all is well. */
void redis_notices_about(struct redis_notices *notices, struct redis_place *place, const char *about,
                         const char *warning);

/** Who decides there, the module or the script; likewise. */
void redis_notices_decides(struct redis_notices *notices, struct redis_place *place, const char *about,
                           const char *warning);

#endif
