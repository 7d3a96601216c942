/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script.h: an operation as a call of our Lua script (lua/), and the script's reply as decisions.
 *
 * One call carries any of the takes of one op, all of the same verb: a take takes from all of them or from none. Time
 * is the server's. The reply is one bulk string of fixed size a take. The format of both is told in lua/begin.lua.
 *
 * Leaves out: sending (conn.h), which keys lie where (cluster.h), what to do when a call fails (redis.c).
 */
#ifndef SLUICE_STORE_REDIS_SCRIPT_H
#define SLUICE_STORE_REDIS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/redis/buffer.h"
#include "store/store.h"

/* Which takes of an op a call carries: bit i for takes[i]. */
typedef uint32_t redis_takes;

/** Writes the call.
 *  @param prefix   put before every key, NUL-terminated.
 *  @param op       verb, keys, policies, costs; for refunds also decision.at_us.
 *  @param takes    not empty, no bit beyond op->n.
 *  @param text     true: EVAL with the whole text, for a server that has answered NOSCRIPT (it then has it);
 *                  false: EVALSHA. */
void redis_script_call(struct redis_buffer *to, const char *prefix, const struct store_op *op, redis_takes takes,
                       bool text);

/** Reads the reply into the decisions of these takes, with home STORE_HOME_OWN. A reply to a RESET has none.
 *  @param allowed  out: every one of these takes was allowed.
 *  @return 0, or -EPROTO when the bytes are no such reply (the op is then unchanged), or -EIO when the script found a
 *          state that it does not understand. */
int redis_script_reply(struct store_op *op, redis_takes takes, const char *reply, size_t len, bool *allowed);

/** @return true when a reply to a REFUND, read by redis_script_reply() without error, tells that a state was full for
 * as much as was given back: denials that servers remember may then be void (redis_generation_bump_call()). */
bool redis_script_was_denying(const char *reply, size_t len);

/** Writes SCRIPT LOAD with the text. The reply is its SHA-1 in 40 digits: redis_script_sha(). */
void redis_script_load(struct redis_buffer *to);

/** @return 40 lower-case digits, NUL-terminated, static. */
const char *redis_script_sha(void);

/*
 * Of all servers together, in keys that lie in one slot: `<prefix>{sluice}:servers` and `<prefix>{sluice}:generation`.
 */

/** Writes: this server lives. To be sent once every interval; who is not heard of for three is no longer counted.
 *  @param id           name of this server, the same at each call. Any bytes.
 *  @param interval_us  1 to 2^40. */
void redis_heartbeat_call(struct redis_buffer *to, const char *prefix, const char *id, size_t id_len,
                          uint64_t interval_us);

/** @param servers     out: servers alive, this one included.
 *  @param generation  out: changes when states were forgotten or given back, or Redis lost its memory. Never 0.
 *  @return 0, or -EPROTO with nothing changed. */
int redis_heartbeat_reply(const char *reply, size_t len, uint32_t *servers, uint64_t *generation);

/** Writes: this server ends. The reply is an integer that tells nothing. */
void redis_leave_call(struct redis_buffer *to, const char *prefix, const char *id, size_t id_len);

/** Writes: the generation is another from now on. The reply is OK. */
void redis_generation_bump_call(struct redis_buffer *to, const char *prefix);

#endif
