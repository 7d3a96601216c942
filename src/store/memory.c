/* SPDX-License-Identifier: Apache-2.0 */
#include "store/memory.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/memory_internal.h"

#define SHARED_STATES_MAX (1u << 24)

/* A full store looks at so many slots, of so many shards, before it refuses. */
#define FULL_SWEEP_SLOTS 64u
#define FULL_SWEEP_SHARDS 8u
/* At ten calls a second on one thread, a million keys are gone over in a minute. */
#define TEND_SLOTS 2048u

static uint64_t monotonic(void *context)
{
	return clock_mono_us();
}

static void count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

int memory_errno(int core_error)
{
	switch (core_error) {
	case SLUICE_EINVAL:
		return -EINVAL;
	case SLUICE_EROOM: /* of a state that was given the room that was asked for */
	case SLUICE_EFORMAT:
		return -EIO;
	default:
		return 0;
	}
}

static bool valid(const struct memory *memory, const struct store_op *op)
{
	if (op->n == 0 || op->n > STORE_TAKES_MAX)
		return false;
	for (unsigned i = 0; i < op->n; i++) {
		const struct store_take *a = &op->takes[i];

		if (a->key_len == 0 || a->key_len > STORE_KEY_MAX)
			return false;
		for (unsigned j = 0; j < i; j++)
			if (a->key_len == op->takes[j].key_len && memcmp(a->key, op->takes[j].key, a->key_len) == 0)
				return false;
	}
	return true;
}

/*
 * The common case: one key that has a state with room in it, decided where it lies.
 *
 * @return STORE_DONE, a negative errno, or 1 when it is not the common case and nothing was done.
 */
static int take_in_place(struct memory *memory, struct store_op *op)
{
	struct store_take *take = &op->takes[0];
	uint64_t hash = states_hash(&memory->states, take->key, take->key_len);
	struct shard *shard = &memory->states.shards[states_shard_of(hash)];
	int error = SLUICE_EROOM;
	struct entry *entry;
	uint64_t now_us;

	shard_lock(shard);
	states_prefetch(shard, hash);
	now_us = memory_now(memory); /* while the slots are on their way */
	entry = states_find(shard, hash, take->key, take->key_len);
	if (entry != NULL) {
		error = sluice_take(entry_state(entry), entry->state_len, take->policy, now_us, take->cost,
		                    &take->decision);
		if (error == SLUICE_OK && take->decision.allowed)
			states_expire(shard, entry, now_us + take->decision.reset_after_us);
	}
	shard_unlock(shard);
	if (error == SLUICE_EROOM)
		return 1;
	take->home = STORE_HOME_OWN;
	op->decider = STORE_BY_STORE;
	op->error = 0;
	op->allowed = error == SLUICE_OK && take->decision.allowed;
	return memory_errno(error);
}

static int decide(struct memory *memory, struct store_op *op)
{
	int rc = memory_decide(memory, op, false);

	if (rc != -ENOSPC)
		return rc;
	states_sweep(&memory->states, memory_now(memory), FULL_SWEEP_SLOTS, FULL_SWEEP_SHARDS);
	return memory_decide(memory, op, true);
}

static int submit(struct store *store, struct store_op *op)
{
	struct memory *memory = (struct memory *)store;
	int rc = -EINVAL;

	if (valid(memory, op)) {
		switch (op->verb) {
		case STORE_TAKE:
			rc = op->n == 1 ? take_in_place(memory, op) : 1;
			if (rc == 1)
				rc = decide(memory, op);
			break;
		case STORE_PEEK:
			rc = decide(memory, op);
			break;
		case STORE_REFUND:
			rc = memory_refund(memory, op);
			break;
		case STORE_RESET:
			rc = memory_reset(memory, op);
			break;
		}
	}
	if (rc == -ENOSPC)
		count(&memory->refused);
	else if (rc < 0)
		count(&memory->errors);
	return rc;
}

static void tend(struct store *store)
{
	struct memory *memory = (struct memory *)store;
	uint64_t now_us = memory_now(memory);

	states_sweep(&memory->states, now_us, TEND_SLOTS, STATES_SHARDS);
	if (memory->shared != NULL)
		states_sweep(memory->shared, now_us, TEND_SLOTS, STATES_SHARDS);
}

static void stats(struct store *store, struct store_stats *out)
{
	struct memory *memory = (struct memory *)store;

	*out = (struct store_stats){ 0 };
	out->keys = states_keys(&memory->states);
	out->bytes = sizeof *memory + states_bytes(&memory->states);
	out->expired = __atomic_load_n(&memory->states.expired, __ATOMIC_RELAXED);
	out->refused = __atomic_load_n(&memory->refused, __ATOMIC_RELAXED);
	out->errors = __atomic_load_n(&memory->errors, __ATOMIC_RELAXED);
	if (memory->shared != NULL) {
		out->keys += states_keys(memory->shared);
		out->bytes += sizeof *memory->shared + states_bytes(memory->shared);
		out->expired += __atomic_load_n(&memory->shared->expired, __ATOMIC_RELAXED);
	}
}

static bool ready(struct store *store)
{
	return true;
}

static void free_shared(struct memory *memory)
{
	if (memory->shared != NULL) {
		states_close(memory->shared);
		free(memory->shared);
		memory->shared = NULL;
	}
}

static void close_store(struct store *store)
{
	struct memory *memory = (struct memory *)store;

	free_shared(memory);
	states_close(&memory->states);
	free(memory);
}

static const struct store_class memory_class = {
	.name = "memory",
	.submit = submit,
	.tend = tend,
	.stats = stats,
	.ready = ready,
	.close = close_store,
};

int memory_store_set_overflow(struct store *store, enum memory_overflow overflow, uint32_t shared_states)
{
	struct memory *memory = (struct memory *)store;
	struct states *shared = NULL;

	if (store->class != &memory_class)
		return -ENOTSUP;
	if (overflow == MEMORY_SHARE) {
		if (shared_states == 0 || shared_states > SHARED_STATES_MAX)
			return -EINVAL;
		/* Room for all of them: there are no more than shared_states for each limit that was ever configured.
		 */
		shared = aligned_alloc(_Alignof(struct states), sizeof *shared);
		if (shared == NULL)
			return -ENOMEM;
		if (states_open(shared, UINT64_MAX) != 0) {
			free(shared);
			return -ENOMEM;
		}
	}
	free_shared(memory);
	memory->shared = shared;
	memory->shared_n = shared_states;
	memory->overflow = overflow;
	return 0;
}

struct store *memory_store_open(const struct memory_store_config *config)
{
	struct memory *memory;
	int rc;

	if (config->max_keys == 0 || config->max_keys > UINT32_MAX) {
		errno = EINVAL;
		return NULL;
	}
	memory = sodium_init() >= 0 ? aligned_alloc(_Alignof(struct memory), sizeof *memory) : NULL;
	if (memory == NULL || states_open(&memory->states, config->max_keys) != 0) {
		free(memory);
		errno = ENOMEM;
		return NULL;
	}
	memory->store.class = &memory_class;
	memory->now_us = config->now_us != NULL ? config->now_us : monotonic;
	memory->context = config->context;
	memory->shared = NULL;
	memory->refused = 0;
	memory->errors = 0;
	rc = memory_store_set_overflow(&memory->store, config->overflow, config->shared_states);
	if (rc != 0) {
		close_store(&memory->store);
		errno = -rc;
		return NULL;
	}
	return &memory->store;
}
