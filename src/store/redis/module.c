/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/module.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "store/redis/little.h"

/* As in docs/redis-module.md. */
enum {
	FORMAT = 1,
	POLICY_LEN = 17,
	FLAG_MALFORMED = 4,
	FLAG_OTHER_KIND = 8,
};

void redis_packed_begin(struct redis_packed *packed)
{
	packed->keys_n = packed->policies_n = 0;
	packed->requests_len = 0;
}

/* After a reload of the limits the same policy may come from two places. */
static bool same_policy(const struct sluice_policy *a, const struct sluice_policy *b)
{
	return a == b || (a->algorithm == b->algorithm && a->limit == b->limit && a->burst == b->burst &&
	                  a->window_us == b->window_us);
}

/* There is room for one more whenever there is room for a key. */
static uint8_t number_of(struct redis_packed *packed, const struct sluice_policy *policy)
{
	unsigned i = 0;

	while (i < packed->policies_n && !same_policy(packed->policies[i], policy))
		i++;
	if (i == packed->policies_n)
		packed->policies[packed->policies_n++] = policy;
	return (uint8_t)i;
}

bool redis_packed_add(struct redis_packed *packed, const struct store_op *op, redis_takes takes)
{
	unsigned n = (unsigned)__builtin_popcount(takes);
	uint8_t *at = packed->requests + packed->requests_len;

	if (packed->keys_n + n > REDIS_PACKED_KEYS_MAX)
		return false;
	*at++ = (uint8_t)n;
	for (; takes != 0; takes &= takes - 1) {
		const struct store_take *take = &op->takes[__builtin_ctz(takes)];

		packed->takes[packed->keys_n++] = take;
		*at++ = number_of(packed, take->policy);
		at = put32(at, take->cost);
	}
	packed->requests_len = (size_t)(at - packed->requests);
	return true;
}

void redis_packed_write(const struct redis_packed *packed, struct redis_buffer *to, const char *prefix)
{
	size_t prefix_len = strlen(prefix);
	uint8_t policies[2 + POLICY_LEN * REDIS_PACKED_KEYS_MAX], *at = policies;

	*at++ = FORMAT;
	*at++ = (uint8_t)packed->policies_n;
	for (unsigned i = 0; i < packed->policies_n; i++) {
		const struct sluice_policy *policy = packed->policies[i];

		*at++ = (uint8_t)policy->algorithm;
		at = put64(put32(put32(at, policy->limit), policy->burst), policy->window_us);
	}
	redis_command_begin(to, 5 + packed->keys_n);
	redis_command_text(to, "SLUICE.MTAKE");
	redis_command_text(to, "EACH");
	redis_command_number(to, packed->keys_n);
	for (unsigned i = 0; i < packed->keys_n; i++)
		redis_command_word2(to, prefix, prefix_len, packed->takes[i]->key, packed->takes[i]->key_len);
	redis_command_text(to, "PACKED");
	redis_command_word2(to, policies, (size_t)(at - policies), packed->requests, packed->requests_len);
}

/* @return whether this is the answer of a request that was not decided: of all its keys the same. */
static bool is_fault(const char *reply, unsigned n)
{
	static const char nothing[REDIS_DECISION_LEN - 1];
	unsigned flags = (uint8_t)reply[0];

	if (flags == 0 || (flags & ~(unsigned)(FLAG_MALFORMED | FLAG_OTHER_KIND)) != 0)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const char *at = reply + (size_t)i * REDIS_DECISION_LEN;

		if ((uint8_t)at[0] != flags || memcmp(at + 1, nothing, sizeof nothing) != 0)
			return false;
	}
	return true;
}

int redis_module_reply(struct store_op *op, redis_takes takes, const char *reply, bool *allowed)
{
	struct sluice_decision decisions[STORE_TAKES_MAX] = { 0 }, *decision = decisions;
	const uint8_t *at = (const uint8_t *)reply;
	redis_takes left;

	if (is_fault(reply, (unsigned)__builtin_popcount(takes)))
		return -EIO;
	*allowed = true;
	for (left = takes; left != 0; left &= left - 1, decision++, at += REDIS_DECISION_LEN) {
		if (!redis_decision_read(at, op->takes[__builtin_ctz(left)].policy, decision) ||
		    (at[0] & REDIS_WAS_DENYING) != 0)
			return -EPROTO;
		*allowed = *allowed && decision->allowed;
	}
	for (left = takes, decision = decisions; left != 0; left &= left - 1, decision++) {
		struct store_take *take = &op->takes[__builtin_ctz(left)];

		take->decision = *decision;
		take->home = STORE_HOME_OWN;
	}
	return 0;
}

bool redis_module_wrong_type(const char *reply)
{
	return ((uint8_t)reply[0] & FLAG_OTHER_KIND) != 0;
}

bool redis_module_refused(const char *words)
{
	return strncmp(words, "ERR ", 4) == 0 || strncmp(words, "NOPERM", 6) == 0;
}

bool redis_module_may_not_write(const char *words)
{
	static const char *const codes[] = { "OOM ", "MISCONF ", "NOREPLICAS " };

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (strncmp(words, codes[i], strlen(codes[i])) == 0)
			return true;
	}
	return false;
}

void redis_module_ask(struct redis_buffer *to)
{
	redis_command_begin(to, 1);
	redis_command_text(to, "SLUICE.INFO");
}

/* Takes only what can stand in a log line. */
static void read_version(char version[32], const struct redisReply *value)
{
	if (value->type != REDIS_REPLY_STRING || value->len >= 32)
		return;
	for (size_t i = 0; i < value->len; i++) {
		if (value->str[i] <= ' ' || value->str[i] > '~')
			return;
	}
	memcpy(version, value->str, value->len + 1);
}

static bool is_one(const struct redisReply *value)
{
	if (value->type == REDIS_REPLY_STRING)
		return strcmp(value->str, "1") == 0;
	return value->type == REDIS_REPLY_INTEGER && value->integer == 1;
}

void redis_module_read(struct redis_module *module, const struct redisReply *reply)
{
	bool state = false, packed = false;

	*module = (struct redis_module){ .usable = false };
	if (reply->type == REDIS_REPLY_ERROR)
		module->forbidden = strncmp(reply->str, "NOPERM", 6) == 0;
	if (reply->type != REDIS_REPLY_ARRAY)
		return;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const struct redisReply *name = reply->element[i], *value = reply->element[i + 1];

		if (name->type != REDIS_REPLY_STRING && name->type != REDIS_REPLY_STATUS)
			continue;
		if (strcmp(name->str, "version") == 0)
			read_version(module->version, value);
		else if (strcmp(name->str, "state_format") == 0)
			state = is_one(value);
		else if (strcmp(name->str, "packed_format") == 0)
			packed = is_one(value);
	}
	module->usable = state && packed;
}
