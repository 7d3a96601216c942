/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.h: what an error reply of Redis means for who asked, and for the connection it came by.
 *
 * Leaves out: the handshake's errors (handshake.c), the log (notice.h).
 */
#ifndef SLUICE_STORE_REDIS_ERROR_H
#define SLUICE_STORE_REDIS_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum redis_error_kind {
	REDIS_ERROR_COMMAND,  /* this command alone has failed */
	REDIS_ERROR_SERVER,   /* the server can decide nothing: leave it, and come back when a probe passes */
	REDIS_ERROR_NOSCRIPT, /* send the script, then the command again */
	REDIS_ERROR_MOVED,    /* the slot is another server's */
	REDIS_ERROR_ASK,      /* this key has gone ahead of its slot */
	REDIS_ERROR_TRYAGAIN, /* the keys of the command are on both sides of a migration */
};

struct redis_error {
	enum redis_error_kind kind;
	int error;          /* negative errno for the op */
	const char *advice; /* for the operator, NULL: the words speak for themselves. Static */
};

/** None of these commands was carried out: the server has said so.
 *  @param words  the reply, NUL-terminated. Of a script it may be wrapped, as before Redis 7. */
struct redis_error redis_error_read(const char *words);

#endif
