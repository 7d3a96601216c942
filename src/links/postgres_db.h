/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_db.h: connections to PostgreSQL, and statements that are waited for, within a time.
 *
 * For threads that may block. Knows no links.
 */
#ifndef SLUICE_LINKS_POSTGRES_DB_H
#define SLUICE_LINKS_POSTGRES_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PG_WHY_MAX 512

/* A statement that keeps commits durable whatever others are content with, also when that is changed while the session
 * lasts: a value of its own, which is the one in force, or `on` where that is `off`. */
#define PG_SET_DURABLE                                                                                                 \
	"SELECT set_config('synchronous_commit', CASE s WHEN 'off' THEN 'on' ELSE s END, false)"                       \
	" FROM current_setting('synchronous_commit') AS s;"

/**
 * Connects as libpq does with this URI, its environment and its files. What none of them says gets our defaults:
 * application_name, connect_timeout (2 s a host), TCP keep-alive and tcp_user_timeout, so that a connection whose other
 * end is gone is noticed.
 *
 * May block as long as the name server and connect_timeout let it.
 *
 * @param why  out: on failure libpq's reason on one line; it never holds the password.
 * @return for PQfinish(), or NULL.
 */
PGconn *pg_connect(const char *uri, char *why, size_t why_size);

/**
 * Runs one statement, its parameters all binary, and waits for its only result.
 *
 * @param n           parameters. types, values, lengths as for PQsendQueryParams(); NULL with n = 0, and then `sql`
 *                    may hold several statements, separated by semicolons.
 * @param timeout_us  0: for ever. When it passes the connection can't be used any more.
 * @param why         out: on failure what went wrong.
 * @return for PQclear(), in binary when there are parameters; NULL on failure.
 */
PGresult *pg_exec(PGconn *conn, const char *sql, int n, const Oid *types, const char *const *values, const int *lengths,
                  uint64_t timeout_us, char *why, size_t why_size);

/** The same for statements of which nothing is wanted. @return 0 or -1. */
int pg_run(PGconn *conn, const char *sql, uint64_t timeout_us, char *why, size_t why_size);

/** @return whether `why` is what pg_exec() says when the time has passed. */
bool pg_timed_out(const char *why);

/** Copies a message of libpq as one line, without its prefix ("ERROR:  "). */
void pg_message(const char *message, char *why, size_t why_size);

/** @return the negative errno that says best what the error of a statement means. @param result  may be NULL. */
int pg_errno(const PGresult *result);

/** @return `host:port/database` for messages. */
const char *pg_where(PGconn *conn, char *to, size_t size);

#endif
