/* SPDX-License-Identifier: Apache-2.0 */
/* Replies that a server gives in the place of our script's or our module's: refused, or decisions that can be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis/module.h"
#include "store/redis/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

static void check_decision(const struct sluice_decision *decision)
{
	MUST(decision->limit == 10);
	MUST(decision->remaining <= 10);
	MUST(decision->allowed == (decision->retry_after_us == 0));
	MUST(decision->retry_after_us == SLUICE_NEVER || decision->retry_after_us <= UINT64_C(1) << 54);
	MUST(decision->reset_after_us <= UINT64_C(1) << 54);
	MUST(decision->at_us <= SLUICE_TIME_MAX_US);
}

static void check_decisions(const struct store_op *op, bool allowed)
{
	for (unsigned i = 0; i < op->n; i++) {
		check_decision(&op->takes[i].decision);
		MUST(op->takes[i].decision.allowed || !allowed);
	}
}

/* As one request of several that a command of the module carries: its length is known. */
static void read_as_module(struct store_op op, const char *reply, size_t len)
{
	struct store_op before = op;
	bool allowed = false;
	int result;

	if (len < (size_t)op.n * REDIS_DECISION_LEN)
		return;
	result = redis_module_reply(&op, (UINT32_C(1) << op.n) - 1, reply, &allowed);
	MUST(result == 0 || result == -EIO || result == -EPROTO);
	if (result == 0)
		check_decisions(&op, allowed);
	else
		MUST(memcmp(&op, &before, sizeof op) == 0);
	if (result == -EIO)
		MUST(redis_module_wrong_type(reply) == ((reply[0] & 8) != 0));
}

/* The first byte tells the verb and how many keys were asked for; the rest is the reply. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sluice_policy policy;
	struct store_op op = { 0 }, before;
	bool allowed = false;
	uint32_t servers;
	uint64_t generation;
	int result;

	if (size == 0)
		return 0;
	MUST(sluice_policy_init(&policy, SLUICE_SLIDING_LOG, 10, 60000000, 0, NULL) == 0);
	op.verb = (enum store_verb)(data[0] & 3);
	op.n = (uint8_t)(1 + (data[0] >> 2) % STORE_TAKES_MAX);
	for (unsigned i = 0; i < op.n; i++)
		op.takes[i] = (struct store_take){ .policy = &policy, .key = "k", .key_len = 1, .cost = 1 };
	before = op;
	read_as_module(op, (const char *)data + 1, size - 1);
	result = redis_script_reply(&op, (UINT32_C(1) << op.n) - 1, (const char *)data + 1, size - 1, &allowed);
	MUST(result == 0 || result == -EIO || result == -EPROTO);
	if (result != 0)
		MUST(memcmp(&op, &before, sizeof op) == 0);
	if (result == 0 && op.verb != STORE_RESET)
		check_decisions(&op, allowed);
	redis_script_was_denying((const char *)data + 1, size - 1);
	if (redis_heartbeat_reply((const char *)data + 1, size - 1, &servers, &generation) == 0)
		MUST(servers > 0 && generation > 0);
	return 0;
}
