/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite.h: links in one SQLite file (WAL, synchronous FULL).
 *
 * One writer thread commits what has gathered in one transaction; reader threads look up what the
 * cache (cache.h) does not hold. No function of the links contract blocks on I/O.
 */
#ifndef SLUICE_LINKS_SQLITE_H
#define SLUICE_LINKS_SQLITE_H

#include "links/links.h"

#define LINKS_SQLITE_READERS_MAX 16

struct links_sqlite_config {
	const char *path;           /* file name, or ":memory:" (forgotten at the end) */
	uint64_t cache_bytes;       /* bound of the link cache */
	uint32_t queue;             /* bound of waiting operations, reads and writes each */
	uint32_t click_interval_ms; /* how often clicks are written */
	uint32_t readers;           /* threads that look links up, at most LINKS_SQLITE_READERS_MAX; 0: two */
};

/**
 * Opens, creates or migrates the database.
 *
 * @param why  out: on failure a message for the operator (names the file and the cure); at most why_size bytes.
 * @return a store to be closed with links_close(), or NULL.
 */
struct links *links_sqlite_open(const struct links_sqlite_config *config, char *why, size_t why_size);

#endif
