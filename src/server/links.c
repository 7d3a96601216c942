/* SPDX-License-Identifier: Apache-2.0 */
/* links.c: see links.h. */
#include "server/links.h"

#include <string.h>

#include "base/log.h"
#include "links/postgres.h"
#include "links/sqlite.h"

static const char sqlite_scheme[] = "sqlite:"; /* config has checked that it is this, or one of PostgreSQL's */

static struct links *open_sqlite(const struct config *config, char *why, size_t why_size)
{
	const struct links_sqlite_config sqlite = {
		.path = config->links.store + strlen(sqlite_scheme),
		.cache_bytes = config->links.cache_bytes,
		.queue = config->links.queue,
		.click_interval_ms = (uint32_t)(config->links.click_interval_us / 1000),
	};

	return links_sqlite_open(&sqlite, why, why_size);
}

static struct links *open_postgres(const struct config *config, size_t threads, char *why, size_t why_size)
{
	const struct links_postgres_config postgres = {
		.uri = config->links.store,
		.cache_bytes = config->links.cache_bytes,
		.queue = config->links.queue,
		.click_interval_ms = (uint32_t)(config->links.click_interval_us / 1000),
		.timeout_ms = (uint32_t)(config->links.timeout_us / 1000),
		.threads = (uint32_t)threads,
	};

	return links_postgres_open(&postgres, why, why_size);
}

struct links *server_open_links(const struct config *config, size_t threads)
{
	char why[1024];
	struct links *links = strncmp(config->links.store, sqlite_scheme, strlen(sqlite_scheme)) == 0
	                              ? open_sqlite(config, why, sizeof why)
	                              : open_postgres(config, threads, why, sizeof why);

	if (links == NULL)
		log_error("links: %s", why);
	return links;
}
