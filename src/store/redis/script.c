/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/script.h"

#include <errno.h>
#include <string.h>

#include "redis_heartbeat_lua.h"
#include "redis_bump_lua.h"
#include "redis_script_lua.h"
#include "store/redis/decision.h"
#include "store/redis/little.h"

/* As in lua/begin.lua. */
enum {
	POLICY_MAX = 41,
	VERB_TAKE = 0,
	VERB_PEEK = 1,
	VERB_REFUND = 2,
	VERB_RESET = 3,
	WHOLES = 4,
	RING_MAX = 256,
	HEARTBEAT_LEN = 12,
};

#define GENERATION_KEPT_MS (UINT64_C(86400) * 1000)

static uint8_t *put_exact(uint8_t *at, uint64_t value)
{
	return put_double(at, (double)(value < REDIS_EXACT_MAX ? value : REDIS_EXACT_MAX - 1));
}

static uint8_t verb_byte(enum store_verb verb)
{
	switch (verb) {
	case STORE_TAKE:
		return VERB_TAKE;
	case STORE_PEEK:
		return VERB_PEEK;
	case STORE_REFUND:
		return VERB_REFUND;
	default:
		return VERB_RESET;
	}
}

static uint8_t *put_take(uint8_t *at, const struct store_take *take, enum store_verb verb)
{
	const struct sluice_policy *policy = take->policy;

	*at++ = (uint8_t)policy->algorithm;
	at = put32(at, SLUICE_STATE_FORMAT | (uint32_t)policy->algorithm << 8 | policy->tick_us << 16);
	at = put32(at, policy->burst);
	at = put32(at, take->cost);
	at = put_exact(at, policy->window_us);
	if (policy->algorithm == SLUICE_TOKEN_BUCKET)
		at = put_exact(put32(at, policy->drain), policy->unit_debt);
	return verb == STORE_REFUND ? put_exact(at, take->decision.at_us) : at;
}

static bool carried(redis_takes takes, unsigned i)
{
	return (takes >> i & 1) != 0;
}

/* Then their states are read as a whole, all at once. */
static bool rings_are_short(const struct store_op *op, redis_takes takes)
{
	for (unsigned i = 0; i < op->n; i++)
		if (carried(takes, i) && op->takes[i].policy->algorithm == SLUICE_SLIDING_LOG &&
		    op->takes[i].policy->burst > RING_MAX)
			return false;
	return true;
}

void redis_script_call(struct redis_buffer *to, const char *prefix, const struct store_op *op, redis_takes takes,
                       bool text)
{
	unsigned n = (unsigned)__builtin_popcount(takes);
	size_t prefix_len = strlen(prefix);
	uint8_t arguments[1 + POLICY_MAX * STORE_TAKES_MAX], *at = arguments;

	*at++ = (uint8_t)(verb_byte(op->verb) + (op->verb != STORE_RESET && rings_are_short(op, takes) ? WHOLES : 0));
	redis_command_begin(to, 4 + n);
	redis_command_text(to, text ? "EVAL" : "EVALSHA");
	if (text)
		redis_command_word(to, script, sizeof script);
	else
		redis_command_word(to, script_sha, sizeof script_sha - 1);
	redis_command_number(to, n);
	for (unsigned i = 0; i < op->n; i++) {
		if (!carried(takes, i))
			continue;
		redis_command_word2(to, prefix, prefix_len, op->takes[i].key, op->takes[i].key_len);
		if (op->verb != STORE_RESET)
			at = put_take(at, &op->takes[i], op->verb);
	}
	redis_command_word(to, arguments, (size_t)(at - arguments));
}

int redis_script_reply(struct store_op *op, redis_takes takes, const char *reply, size_t len, bool *allowed)
{
	const uint8_t *at = (const uint8_t *)reply;
	struct sluice_decision decisions[STORE_TAKES_MAX] = { 0 };
	unsigned n = (unsigned)__builtin_popcount(takes), k = 0;
	bool all = true;

	if (op->verb == STORE_RESET ? len != 0 : len != (size_t)REDIS_DECISION_LEN * n)
		return op->verb != STORE_RESET && len == 1 && at[0] >= 1 && at[0] <= n ? -EIO : -EPROTO;
	for (unsigned i = 0; i < op->n; i++) {
		if (!carried(takes, i) || op->verb == STORE_RESET)
			continue;
		if (!redis_decision_read(at + (size_t)REDIS_DECISION_LEN * k++, op->takes[i].policy, &decisions[i]))
			return -EPROTO;
		all = all && decisions[i].allowed;
	}
	for (unsigned i = 0; i < op->n; i++) {
		if (!carried(takes, i))
			continue;
		op->takes[i].decision = decisions[i];
		op->takes[i].home = STORE_HOME_OWN;
	}
	*allowed = all;
	return 0;
}

bool redis_script_was_denying(const char *reply, size_t len)
{
	for (size_t at = 0; at + REDIS_DECISION_LEN <= len; at += REDIS_DECISION_LEN)
		if ((reply[at] & REDIS_WAS_DENYING) != 0)
			return true;
	return false;
}

void redis_script_load(struct redis_buffer *to)
{
	redis_command_begin(to, 3);
	redis_command_text(to, "SCRIPT");
	redis_command_text(to, "LOAD");
	redis_command_word(to, script, sizeof script);
}

const char *redis_script_sha(void)
{
	return script_sha;
}

static void add_common_key(struct redis_buffer *to, const char *prefix, const char *name)
{
	redis_command_word2(to, prefix, strlen(prefix), name, strlen(name));
}

void redis_heartbeat_call(struct redis_buffer *to, const char *prefix, const char *id, size_t id_len,
                          uint64_t interval_us)
{
	redis_command_begin(to, 8);
	redis_command_text(to, "EVAL");
	redis_command_word(to, heartbeat, sizeof heartbeat);
	redis_command_number(to, 2);
	add_common_key(to, prefix, "{sluice}:servers");
	add_common_key(to, prefix, "{sluice}:generation");
	redis_command_word(to, id, id_len);
	redis_command_number(to, interval_us);
	redis_command_number(to, GENERATION_KEPT_MS);
}

int redis_heartbeat_reply(const char *reply, size_t len, uint32_t *servers, uint64_t *generation)
{
	const uint8_t *at = (const uint8_t *)reply;
	uint64_t number;

	if (len != HEARTBEAT_LEN || get32(at) == 0 ||
	    !redis_whole_read(at + 4, (double)(REDIS_EXACT_MAX - 1), &number) || number == 0)
		return -EPROTO;
	*servers = get32(at);
	*generation = number;
	return 0;
}

void redis_leave_call(struct redis_buffer *to, const char *prefix, const char *id, size_t id_len)
{
	redis_command_begin(to, 3);
	redis_command_text(to, "ZREM");
	add_common_key(to, prefix, "{sluice}:servers");
	redis_command_word(to, id, id_len);
}

void redis_generation_bump_call(struct redis_buffer *to, const char *prefix)
{
	redis_command_begin(to, 5);
	redis_command_text(to, "EVAL");
	redis_command_word(to, bump, sizeof bump);
	redis_command_number(to, 1);
	add_common_key(to, prefix, "{sluice}:generation");
	redis_command_number(to, GENERATION_KEPT_MS);
}
