/* SPDX-License-Identifier: Apache-2.0 */
#include "http/connections.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define BUCKETS 4096 /* one mutex and short chains do: this is touched once a connection, not once a request */

struct holder {
	struct holder *next;
	struct in6_addr address;
	uint32_t count;
};

struct http_connections {
	pthread_mutex_t lock;
	uint32_t max;
	struct hash_key key;
	struct holder *buckets[BUCKETS];
};

struct http_connections *http_connections_new(uint32_t max)
{
	struct http_connections *table = calloc(1, sizeof *table);

	if (table == NULL)
		return NULL;
	pthread_mutex_init(&table->lock, NULL);
	hash_key_draw(&table->key);
	table->max = max;
	return table;
}

/* @return the link that points at the holder of `address`, or at the NULL where it would be. */
static struct holder **find(struct http_connections *table, const struct in6_addr *address)
{
	struct holder **link = &table->buckets[hash_bytes(&table->key, address, sizeof *address) % BUCKETS];

	while (*link != NULL && memcmp(&(*link)->address, address, sizeof *address) != 0)
		link = &(*link)->next;
	return link;
}

bool http_connections_enter(struct http_connections *table, const struct in6_addr *address)
{
	struct holder **link;
	bool entered = false;

	if (table->max == 0)
		return true;
	pthread_mutex_lock(&table->lock);
	link = find(table, address);
	if (*link == NULL) {
		*link = calloc(1, sizeof **link);
		if (*link != NULL)
			(*link)->address = *address;
	}
	if (*link != NULL && (*link)->count < table->max) {
		(*link)->count++;
		entered = true;
	}
	pthread_mutex_unlock(&table->lock);
	return entered;
}

void http_connections_leave(struct http_connections *table, const struct in6_addr *address)
{
	struct holder **link, *holder;

	if (table->max == 0)
		return;
	pthread_mutex_lock(&table->lock);
	link = find(table, address);
	holder = *link;
	if (holder != NULL && --holder->count == 0) {
		*link = holder->next;
		free(holder);
	}
	pthread_mutex_unlock(&table->lock);
}

void http_connections_free(struct http_connections *table)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (table->buckets[i] != NULL) {
			struct holder *next = table->buckets[i]->next;

			free(table->buckets[i]);
			table->buckets[i] = next;
		}
	}
	pthread_mutex_destroy(&table->lock);
	free(table);
}
