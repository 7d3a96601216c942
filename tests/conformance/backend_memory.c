/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend_memory.c: the in-process store, one operation of one key at a time, under a clock of ours.
 */
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "store/memory.h"

struct memory_backend {
	struct backend backend;
	struct store *store;
	uint64_t now_us;
};

static uint64_t clock_of(void *context)
{
	return ((struct memory_backend *)context)->now_us;
}

/* @param decision  in: at_us of a refund; out: what was decided. */
static int submit(struct memory_backend *memory, enum store_verb verb, const struct sluice_policy *policy,
                  const char *key, uint32_t cost, struct sluice_decision *decision)
{
	struct store_op op = {
		.verb = verb,
		.n = 1,
		.takes[0] = {
			.policy = policy,
			.key = key,
			.key_len = (uint16_t)strlen(key),
			.cost = cost,
			.decision = *decision,
		},
		.deadline_us = UINT64_MAX,
	};
	int result = store_submit(memory->store, &op);

	if (result != STORE_DONE || op.error != 0 || op.decider != STORE_BY_STORE)
		return result < 0 ? result : -1;
	if (verb == STORE_TAKE && op.allowed != op.takes[0].decision.allowed)
		return -1;
	*decision = op.takes[0].decision;
	return 0;
}

static int memory_take(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                       uint32_t cost, struct sluice_decision *out)
{
	struct memory_backend *memory = (struct memory_backend *)backend;

	memory->now_us = now_us;
	memset(out, 0, sizeof *out);
	return submit(memory, STORE_TAKE, policy, key, cost, out);
}

static int memory_peek(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                       uint32_t cost, struct sluice_decision *out)
{
	struct memory_backend *memory = (struct memory_backend *)backend;

	memory->now_us = now_us;
	memset(out, 0, sizeof *out);
	return submit(memory, STORE_PEEK, policy, key, cost, out);
}

static int memory_refund(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                         uint32_t cost, uint64_t at_us, struct sluice_decision *out)
{
	struct memory_backend *memory = (struct memory_backend *)backend;

	memory->now_us = now_us;
	memset(out, 0, sizeof *out);
	out->at_us = at_us;
	return submit(memory, STORE_REFUND, policy, key, cost, out);
}

static int memory_reset(struct backend *backend, const char *key)
{
	static const struct sluice_decision none;
	struct memory_backend *memory = (struct memory_backend *)backend;
	struct sluice_decision decision = none;
	struct sluice_policy policy;

	/* Whatever policy: the key is what is forgotten. */
	sluice_policy_init(&policy, SLUICE_FIXED_WINDOW, 1, SLUICE_WINDOW_MIN_US, 0, NULL);
	return submit(memory, STORE_RESET, &policy, key, 1, &decision);
}

static void memory_close(struct backend *backend)
{
	store_close(((struct memory_backend *)backend)->store);
	free(backend);
}

struct backend *backend_memory_open(void)
{
	struct memory_backend *memory = calloc(1, sizeof *memory);
	struct memory_store_config config = { .max_keys = 1000, .now_us = clock_of, .context = memory };

	if (memory == NULL)
		return NULL;
	memory->backend = (struct backend){
		.name = "memory",
		.take = memory_take,
		.peek = memory_peek,
		.refund = memory_refund,
		.reset = memory_reset,
		.expires = true,
		.close = memory_close,
	};
	memory->store = memory_store_open(&config);
	if (memory->store == NULL) {
		free(memory);
		return NULL;
	}
	return &memory->backend;
}
