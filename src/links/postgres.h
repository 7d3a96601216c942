/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres.h: links in PostgreSQL (12 or later), shared by any number of servers.
 *
 * Each loop thread has one connection, in pipeline mode: what one turn of the loop asks leaves in one write. One thread
 * beside them, the keeper, does all that may block (name lookup, handshakes, the schema), listens for changes
 * of links, writes clicks, and finds out whether the database is there.
 *
 * Schema: see postgres_schema.h.
 */
#ifndef SLUICE_LINKS_POSTGRES_H
#define SLUICE_LINKS_POSTGRES_H

#include "links/links.h"

struct links_postgres_config {
	const char *uri;            /* any URI of libpq */
	uint64_t cache_bytes;       /* bound of the link cache */
	uint32_t queue;             /* bound of waiting operations, reads and writes each */
	uint32_t click_interval_ms; /* how often clicks are written */
	uint32_t timeout_ms;        /* no operation waits longer for the database */
	uint32_t threads;           /* loop threads that may be attached: numbers 0 to threads - 1 */
};

/**
 * Makes the store, creates or migrates the schema if the database can be reached, and goes on trying when it can't:
 * operations outside the cache then end in LINKS_FAILED at once.
 *
 * @param why  out: on failure a message for the operator with the cure: a schema that can't be used, or memory.
 * @return a store to be closed with links_close(), or NULL.
 */
struct links *links_postgres_open(const struct links_postgres_config *config, char *why, size_t why_size);

#endif
