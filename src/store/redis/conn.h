/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h: one connection to one Redis server, on one event loop: connect (with TLS where asked for), introduce
 * ourselves, send commands, hand replies to whom they belong, notice that it is dead, come back.
 *
 * States: down (waiting for its next attempt) -> connecting (TCP, TLS, AUTH, SELECT, then the owner's greeting)
 * -> up -> down. Only an owner that greets may send before it is up. A connection that is down refuses commands at
 * once, so a dead Redis costs no request its deadline: that is the circuit breaker. Attempts are spaced by a backoff
 * that doubles, with jitter, and starts over only after the connection was up for a while.
 *
 * Rules
 *  1. Commands sent in one turn of the loop leave in one write, at the end of that turn.
 *  2. Replies come in the order of the commands. A command whose deadline passes, bytes that are no reply, a reply that
 *     nobody waits for: each drops the connection, and with it everything that waits on it, so that a late reply can
 *     never be taken for another's. Nothing is ever sent twice by this file.
 *  3. Each command that redis_conn_send() took ends exactly once, by its `ended`, never from within redis_conn_send().
 *     From within `ended` anything may be called but redis_conn_free(); from within `changed` and `greet` that too.
 *     An answer that came in time counts, also when this thread was too busy to look at it in time.
 *  4. All of it on the loop's thread.
 *
 * Leaves out: which server (topology.h), what the commands say (script.h), retries.
 */
#ifndef SLUICE_STORE_REDIS_CONN_H
#define SLUICE_STORE_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "store/redis/buffer.h"

struct redisReply; /* hiredis.h */
struct redis_tls;  /* tls.h */

/* How every server of one deployment is entered. Outlives the connections. */
struct redis_access {
	const char *user, *password; /* NULL: none */
	bool auth_optional;          /* a server that refuses them is asked without (a Sentinel may have none) */
	unsigned db;
	struct redis_tls *tls; /* NULL: plain TCP */
	const char *name;      /* for CLIENT SETNAME */
};

struct redis_conn;

struct redis_command {
	struct redis_command *next; /* the connection's own, while it waits */
	uint64_t deadline_us;       /* clock_mono_us(); lies ahead, for when it passes the connection is dropped */
	/* @param reply  what came (also an error reply), the caller's only during the call; NULL when none will.
	 *  @param error  0, or a negative errno: -ETIMEDOUT (it may have been carried out), -ECONNRESET (likewise),
	 *                -EPROTO (likewise), -ECANCELED (the connection is being freed; likewise). */
	void (*ended)(struct redis_command *command, const struct redisReply *reply, int error);
};

/* Counted for as many connections of one thread as the owner likes; any thread may read (atomic, relaxed). */
struct redis_conn_stats {
	uint64_t commands, writes; /* sent; system calls that sent them */
	uint64_t timeouts;         /* commands whose deadline passed */
	uint64_t drops;            /* of connections that were up */
};

struct redis_conn_config {
	uv_loop_t *loop;
	const char *host; /* name or address; copied. Looked up anew at each attempt */
	uint16_t port;
	const struct redis_access *access;
	uint64_t timeout_us;     /* for one attempt, from the first packet until it is up */
	uint64_t backoff_max_us; /* between two attempts */
	/* Connected and authenticated: the owner sends what it needs to know (each command with a deadline of its own),
	 * and calls redis_conn_ready() or redis_conn_drop(). NULL: ready at once. */
	void (*greet)(struct redis_conn *conn, void *context);
	/* It is up (error 0), or it was up, or an attempt to be so failed (a negative errno, with words for the log
	 * that name the cause and the cure and no password). Everything that waited has ended before. Never from within
	 * another function of this file but redis_conn_ready() and redis_conn_drop(). */
	void (*changed)(struct redis_conn *conn, int error, const char *why, void *context);
	/* At the end of each turn of the loop while it is up, before what waits is written: the owner sends what it has
	 * put aside until now. NULL: nothing. Must neither drop the connection nor free it. */
	void (*gather)(struct redis_conn *conn, void *context);
	void *context;
	struct redis_conn_stats *stats; /* outlives the connection; shared by connections of one thread at most */
};

/** Begins the first attempt at once. @return a connection, to be freed with redis_conn_free(); NULL with errno set. */
struct redis_conn *redis_conn_new(const struct redis_conn_config *config);

/** Ends every command with -ECANCELED, then closes; the memory goes when the loop has run once more. No more calls of
 *  `greet` and `changed`. */
void redis_conn_free(struct redis_conn *conn);

/** @return true when commands are taken. */
bool redis_conn_up(const struct redis_conn *conn);

/** @return commands sent and not yet ended. */
size_t redis_conn_waiting(const struct redis_conn *conn);

/** @return the output, to which exactly one whole command is then added; NULL when the connection takes none: down, or
 *          65,536 commands or 16 MiB are waiting. Follow with redis_conn_send(). */
struct redis_buffer *redis_conn_begin(struct redis_conn *conn);

/** Says that the command is whole. It leaves at the end of this turn of the loop.
 *  @param command  its memory belongs to the connection until `ended`.
 *  @return 0, or -ENOMEM: nothing was sent, `ended` will not come, the output is as before redis_conn_begin(). */
int redis_conn_send(struct redis_conn *conn, struct redis_command *command);

/** The greeting went well: up from now on. Calls `changed`. */
void redis_conn_ready(struct redis_conn *conn);

/** Gives this connection up and tries again later: all that waits ends with this error, then `changed` is called.
 *  Without effect while it is down. @param error  negative errno. @param why  for the log. */
void redis_conn_drop(struct redis_conn *conn, int error, const char *why);

/** @return "host:port", "[address6]:port". Lives as long as `conn`. */
const char *redis_conn_name(const struct redis_conn *conn);

#endif
