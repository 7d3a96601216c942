/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module.h: takes as a call of our module for Redis and Valkey (SLUICE.MTAKE EACH ... PACKED), and what it answers.
 *
 * One call carries requests of many ops, each decided for itself: all of its takes or none. The formats are told in
 * docs/redis-module.md. Everything but takes goes to the script (script.h), also where there is a module.
 *
 * Leaves out: which requests go together, sending (gather.c).
 */
#ifndef SLUICE_STORE_REDIS_MODULE_H
#define SLUICE_STORE_REDIS_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/redis/buffer.h"
#include "store/redis/decision.h"
#include "store/redis/script.h"
#include "store/store.h"

struct redisReply; /* hiredis.h */

/* Keys of one call. A key costs the server less than 1 us, so no call keeps others waiting for more than about a tenth
 * of a millisecond; and what is the same for all of them has long become a small part. */
#define REDIS_PACKED_KEYS_MAX 128

/* A call in the making. Points into the ops that it was given, which must outlive redis_packed_write(). */
struct redis_packed {
	unsigned keys_n, policies_n;
	size_t requests_len;
	const struct store_take *takes[REDIS_PACKED_KEYS_MAX];
	const struct sluice_policy *policies[REDIS_PACKED_KEYS_MAX];
	uint8_t requests[REDIS_PACKED_KEYS_MAX * 6]; /* each of one key at least */
};

/** Empties it. */
void redis_packed_begin(struct redis_packed *packed);

/** Adds a request: these takes of an op.
 *  @param takes  not empty, no bit beyond op->n.
 *  @return false: it does not fit any more, nothing was added. An empty call takes any op. */
bool redis_packed_add(struct redis_packed *packed, const struct store_op *op, redis_takes takes);

/** Writes the call; it is not empty. @param prefix  put before every key, NUL-terminated. */
void redis_packed_write(const struct redis_packed *packed, struct redis_buffer *to, const char *prefix);

/** Reads what was answered to one request into the decisions of these takes, with home STORE_HOME_OWN.
 *  @param reply    REDIS_DECISION_LEN bytes for each of them.
 *  @param allowed  out: every one of these takes was allowed.
 *  @return 0; -EPROTO when the bytes can't be such an answer; -EIO when a key could not be decided and nothing was
 * taken: its state is malformed, or redis_module_wrong_type(). Otherwise than with 0 the op is unchanged. */
int redis_module_reply(struct store_op *op, redis_takes takes, const char *reply, bool *allowed);

/** @return after -EIO: whether a key holds another kind of value. */
bool redis_module_wrong_type(const char *reply);

/** @return true when an error reply to a call of the module says that this server does not do it for us: there is no
 *          module (any more), or another one, or the user may not call it. Nothing of it was carried out, and the
 *          script may be asked. */
bool redis_module_refused(const char *words);

/** @return true when the server refuses the whole call because it writes, for now (OOM, MISCONF, NOREPLICAS). Nothing
 * of it was carried out. Denials need no writing, and the script is refused only where it begins to write. */
bool redis_module_may_not_write(const char *words);

/* What a server said to SLUICE.INFO. */
struct redis_module {
	bool usable;      /* it speaks as we do */
	bool forbidden;   /* it is there, but the user may not call it */
	char version[32]; /* "": not said */
};

/** Writes the question. */
void redis_module_ask(struct redis_buffer *to);

/** Reads the answer, whatever it is: an error is no module. */
void redis_module_read(struct redis_module *module, const struct redisReply *reply);

#endif
