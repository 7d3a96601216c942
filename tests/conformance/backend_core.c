/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend_core.c: the core over states in memory, each in a block of exactly its length, so that a
 * sanitizer sees the first byte past it.
 *
 * The disguised one rewrites the state of a sliding-log before a take, within what the layout in
 * limiter.h allows, as another program might have left it. It does so from that description and not
 * with the core's own functions.
 */
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "random.h"

enum { KEYS_MAX = 64 };

struct slot {
	char key[64]; /* empty: the slot is free */
	uint8_t *state;
	size_t len;
};

struct core_backend {
	struct backend backend;
	struct slot slots[KEYS_MAX];
	struct random random;
	bool disguise;
};

static struct slot *slot_find(struct core_backend *core, const char *key)
{
	for (size_t i = 0; i < KEYS_MAX; i++) {
		if (strcmp(core->slots[i].key, key) == 0)
			return &core->slots[i];
	}
	return NULL;
}

static struct slot *slot_make(struct core_backend *core, const char *key)
{
	struct slot *slot = slot_find(core, key);

	if (slot == NULL && strlen(key) < sizeof slot->key && (slot = slot_find(core, "")) != NULL)
		strcpy(slot->key, key);
	return slot;
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* Leaves the newest entry out where it may be, at times with its bytes. */
static void slot_leave_out(struct core_backend *core, struct slot *slot)
{
	uint32_t count = get32(slot->state + 16), capacity = get32(slot->state + 20);
	uint32_t last = (get32(slot->state + 12) + count - 1) % capacity;
	uint64_t newest = get32(slot->state + 4) | (uint64_t)get32(slot->state + 8) << 32;
	uint32_t tick = slot->state[2] | slot->state[3] << 8;

	if (count == 0 || get32(slot->state + 24 + 4 * (size_t)last) != (uint32_t)((newest + tick - 1) / tick))
		return;
	put32(slot->state + 16, count | UINT32_C(1) << 31);
	put32(slot->state + 24 + 4 * (size_t)last, 0x5a5a5a5a);
	if (slot->len == 28 + 4 * (size_t)last && last + 1 >= count && random_one_in(&core->random, 2)) {
		uint8_t *shorter = realloc(slot->state, slot->len - 4);

		if (shorter == NULL)
			return;
		slot->state = shorter;
		slot->len -= 4;
	}
}

/* Writes the ring anew with another modulus and head, into as many bytes as it says. */
static int ring_rewrite(struct slot *slot, uint32_t capacity, uint32_t head, size_t len)
{
	uint32_t old_head = get32(slot->state + 12);
	uint32_t count = get32(slot->state + 16);
	uint32_t old_capacity = get32(slot->state + 20);
	uint8_t *state = malloc(len);

	if (state == NULL)
		return -1;
	memset(state, 0xa5, len);
	memcpy(state, slot->state, 24);
	put32(state + 12, head);
	put32(state + 20, capacity);
	for (uint32_t i = 0; i < count; i++)
		memcpy(state + 24 + 4 * ((head + i) % capacity), slot->state + 24 + 4 * ((old_head + i) % old_capacity),
		       4);
	free(slot->state);
	slot->state = state;
	slot->len = len;
	return 0;
}

static int slot_disguise(struct core_backend *core, struct slot *slot, const struct sluice_policy *policy)
{
	struct random *random = &core->random;
	uint32_t count, capacity, head;

	if (slot->len < 24 || slot->state[1] != SLUICE_SLIDING_LOG || get32(slot->state + 16) >> 31 != 0)
		return 0;
	if (random_one_in(random, 4)) {
		slot_leave_out(core, slot);
		return 0;
	}
	count = get32(slot->state + 16);
	capacity = get32(slot->state + 20);
	if (random_one_in(random, 2)) /* the ring turned, perhaps in more bytes than it needs */
		return ring_rewrite(slot, capacity, (uint32_t)random_below(random, capacity),
		                    24 + 4 * (size_t)capacity +
		                            (random_one_in(random, 2) ? random_below(random, 200) : 0));
	/* A string that was written as far as it was used. */
	if (capacity < policy->limit)
		capacity = policy->limit;
	head = (uint32_t)random_below(random, capacity - count + 1);
	if (head == capacity)
		head = 0;
	return ring_rewrite(slot, capacity, head, 24 + 4 * (size_t)(head + count));
}

/* Both ways of enlarging a state: into new bytes, or where it lies. */
static int slot_enlarge(struct core_backend *core, struct slot *slot, const struct sluice_policy *policy, size_t len)
{
	uint8_t *state;

	if (slot->len > 0 && random_one_in(&core->random, 2)) {
		state = realloc(slot->state, len);
		if (state == NULL)
			return -1;
		memset(state + slot->len, 0x5a, len - slot->len);
	} else {
		state = malloc(len);
		if (state == NULL || sluice_state_move(state, len, slot->state, slot->len, policy) != 0) {
			free(state);
			return -1;
		}
		free(slot->state);
	}
	slot->state = state;
	slot->len = len;
	return 0;
}

static int core_take(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                     uint32_t cost, struct sluice_decision *out)
{
	struct core_backend *core = (struct core_backend *)backend;
	struct slot *slot = slot_make(core, key);
	size_t room;

	if (slot == NULL)
		return -1;
	room = sluice_state_room(slot->state, slot->len, policy, now_us, cost);
	if (room > sluice_state_max(policy) && room > slot->len)
		return -1;
	if (room > slot->len && slot_enlarge(core, slot, policy, room) != 0)
		return -1;
	return sluice_take(slot->state, slot->len, policy, now_us, cost, out);
}

/* Half of the time another program was at the state since. Not within take(): a denied take must be seen
 * to change nothing. */
static int disguised_peek(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                          uint32_t cost, struct sluice_decision *out)
{
	struct core_backend *core = (struct core_backend *)backend;
	struct slot *slot = slot_find(core, key);

	if (slot == NULL)
		return sluice_peek(NULL, 0, policy, now_us, cost, out);
	if (core->disguise && random_one_in(&core->random, 2) && slot_disguise(core, slot, policy) != 0)
		return -1;
	return sluice_peek(slot->state, slot->len, policy, now_us, cost, out);
}

static int core_refund(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
                       uint32_t cost, uint64_t at_us, struct sluice_decision *out)
{
	struct slot *slot = slot_find((struct core_backend *)backend, key);

	if (slot == NULL)
		return sluice_refund(NULL, 0, policy, now_us, cost, at_us, out);
	return sluice_refund(slot->state, slot->len, policy, now_us, cost, at_us, out);
}

static int core_reset(struct backend *backend, const char *key)
{
	struct slot *slot = slot_find((struct core_backend *)backend, key);

	if (slot != NULL) {
		free(slot->state);
		memset(slot, 0, sizeof *slot);
	}
	return 0;
}

static size_t core_state(struct backend *backend, const char *key, const uint8_t **bytes)
{
	struct slot *slot = slot_find((struct core_backend *)backend, key);

	*bytes = slot != NULL && slot->len > 0 ? slot->state : (const uint8_t *)"";
	return slot != NULL ? slot->len : 0;
}

static void core_close(struct backend *backend)
{
	struct core_backend *core = (struct core_backend *)backend;

	for (size_t i = 0; i < KEYS_MAX; i++)
		free(core->slots[i].state);
	free(core);
}

static struct backend *core_open(const char *name, uint64_t seed, bool disguise)
{
	struct core_backend *core = calloc(1, sizeof *core);

	if (core == NULL)
		return NULL;
	core->backend = (struct backend){
		.name = name,
		.take = core_take,
		.peek = disguised_peek,
		.refund = core_refund,
		.reset = core_reset,
		.state = core_state,
		.close = core_close,
	};
	random_seed(&core->random, seed);
	core->disguise = disguise;
	return &core->backend;
}

struct backend *backend_core_open(void)
{
	return core_open("core", 1, false);
}

struct backend *backend_disguised_open(uint64_t seed)
{
	return core_open("disguised", seed, true);
}
