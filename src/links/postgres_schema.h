/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_schema.h: the tables in PostgreSQL, their version, and the way from older versions.
 *
 *   sluice_schema  version: of what follows
 *   links          a row a link; nothing ever writes to it but a new link and an operator
 *   link_clicks    visits of a link. A table of its own, since a count that changes every second would copy a row
 *                  that holds a URL each time
 *
 * Triggers notify on channel `sluice_links` when a link is changed, disabled or deleted, whoever does it (see
 * postgres_change.h).
 */
#ifndef SLUICE_LINKS_POSTGRES_SCHEMA_H
#define SLUICE_LINKS_POSTGRES_SCHEMA_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

enum pg_schema_result {
	PG_SCHEMA_READY,
	PG_SCHEMA_REFUSED, /* it can't be used until somebody changes something: another's, newer, no rights */
	PG_SCHEMA_FAILED,  /* the connection or the database failed: try again */
};

/** The version that this program writes. */
int pg_schema_version(void);

/**
 * Looks whether the tables of this version are there and may be used; makes or migrates them otherwise, under an
 * advisory lock and in one transaction, so that any number of servers may do so at once.
 *
 * Blocks: to look, some seconds at most; to make or migrate, as long as others hold the advisory lock (a minute at
 * most), and the work takes.
 *
 * @param create  make what is missing; otherwise a missing schema is refused.
 * @param why     out: unless READY a message for the operator.
 */
enum pg_schema_result pg_schema_prepare(PGconn *conn, int create, char *why, size_t why_size);

/**
 * Looks for triggers that should tell of changes and don't, because somebody has dropped or disabled them.
 *
 * @return for PQclear(): a row of one text, their names, null when all are well. NULL when it could not be asked.
 */
PGresult *pg_schema_silent_triggers(PGconn *conn, uint64_t timeout_us);

#endif
