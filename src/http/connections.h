/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connections.h: how many connections each client address holds, over all threads.
 *
 * Keeps one address from taking all the connections that there are. Leaves out: trusted proxies, which
 * are not counted (their connections belong to many clients).
 */
#ifndef SLUICE_HTTP_CONNECTIONS_H
#define SLUICE_HTTP_CONNECTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct http_connections;

/** @param max  connections an address may hold; 0: no bound. @return NULL with errno set. */
struct http_connections *http_connections_new(uint32_t max);

/** Counts one more. @return false when the address holds its maximum already, or memory is short. Any thread. */
bool http_connections_enter(struct http_connections *table, const struct in6_addr *address);

/** Gives one back that was entered. Any thread. */
void http_connections_leave(struct http_connections *table, const struct in6_addr *address);

void http_connections_free(struct http_connections *table);

#endif
