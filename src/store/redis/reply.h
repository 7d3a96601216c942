/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h: replies out of the bytes of a server: hiredis's parser with objects of our own.
 *
 * hiredis allocates each object and each string by itself. Here one reply at a time lives in an arena that is emptied
 * before the next one, so that a reply of the usual size costs no allocation. Bounded: a server that sends more than
 * REDIS_REPLY_BYTES_MAX without completing a reply is not believed.
 *
 * Leaves out: whose reply it is (conn.h), RESP3.
 */
#ifndef SLUICE_STORE_REDIS_REPLY_H
#define SLUICE_STORE_REDIS_REPLY_H

#include <stddef.h>

#include <hiredis/hiredis.h>

#define REDIS_REPLY_BYTES_MAX (16u << 20)  /* received and not yet part of a whole reply */
#define REDIS_REPLY_MEMORY_MAX (32u << 20) /* of one reply's objects */

struct redis_replies;

/** @return a parser, or NULL with errno ENOMEM. */
struct redis_replies *redis_replies_new(void);

void redis_replies_free(struct redis_replies *replies);

/** Takes bytes as they came. @return 0, -ENOMEM, or -EPROTO when too many are waiting. */
int redis_replies_feed(struct redis_replies *replies, const char *bytes, size_t len);

/** @param reply  out: the next whole reply, which lives until the next call; NULL when more bytes are needed.
 *  @return 0, or -EPROTO: these bytes are no reply, or one beyond the bounds. After that no more calls. */
int redis_replies_next(struct redis_replies *replies, const struct redisReply **reply);

#endif
