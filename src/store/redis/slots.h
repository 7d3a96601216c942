/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.h: in which slot of a Cluster a key lies, and what servers say about where to go: who holds the slots, where a
 * key is instead.
 *
 * Source: Redis cluster specification, "Key distribution model", "Hash tags", "MOVED Redirection"; CRC-16/XMODEM.
 * And what Sentinels say.
 *
 * Leaves out: connections (cluster.c, sentinel.c).
 */
#ifndef SLUICE_STORE_REDIS_SLOTS_H
#define SLUICE_STORE_REDIS_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/redis/url.h"

struct redisReply;

#define REDIS_SLOTS 16384u

/** @return the slot of a key: that of what stands between its first brace and the next closing one, when that is not
 *          nothing; else of all of it. */
unsigned redis_slot(const char *key, size_t len);

/** @return the slot of prefix and key as one. The prefix holds no brace (configuration sees to that). */
unsigned redis_slot_of(const char *prefix, size_t prefix_len, const char *key, size_t len);

/** Slots that follow one another and have one master. */
struct redis_range {
	uint16_t first, last;
	struct redis_host master; /* name "": the server that was asked, at this port */
};

/** Reads a row of the reply to CLUSTER SLOTS.
 *  @return 0, or -EPROTO when it is none; -ENOENT when the slots have a master of unknown address. */
int redis_range_read(struct redis_range *range, const struct redisReply *row);

/* "MOVED 3999 10.0.0.1:6381", "ASK 3999 [host]:6381". */
struct redis_redirect {
	uint16_t slot;
	struct redis_host to; /* name "": the server that said so, at this port */
};

/** @return 0, or -EPROTO. */
int redis_redirect_read(struct redis_redirect *redirect, const char *words);

/** Reads what a Sentinel answers to GET-MASTER-ADDR-BY-NAME: address and port, as two strings. @return 0 or -EPROTO. */
int redis_address_read(struct redis_host *host, const struct redisReply *reply);

/** @return the config-epoch in what a Sentinel answers to MASTER: names and values in turn. 0: it tells none. */
uint64_t redis_epoch_read(const struct redisReply *reply);

/** Finds a number for each slot whose digits, as a tag in braces, put a key into this slot. Takes some milliseconds. */
void redis_slot_tags(uint32_t tags[REDIS_SLOTS]);

#endif
