/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_ops.c: operations of the in-process store on several keys at once, or on keys that are new.
 *
 * All shards of an operation are locked in ascending order, those of shared states after those of
 * single keys, so operations can't wait for each other in a ring. Then everything is looked at, all
 * memory that is needed is got, and only when nothing can fail any more is anything changed.
 *
 * Shared states (MEMORY_SHARE). A key without a state of its own is decided by the state that it shares,
 * if there is one: while the store is full it counts there, and when there is room its new state
 * starts as a copy. What a key has taken is therefore always contained in the state that decides,
 * and it never gets more than its limit. Both happen under the lock of the key's own shard, so that
 * no other thread can give the key a state of its own meanwhile.
 */
#include <errno.h>
#include <stdio.h>

#include "store/memory_internal.h"

#define INSERT_SWEEP_SLOTS 4u
#define BUCKET_NUMBER_MAX 9 /* bytes of `~` and a number below 2^24 */

_Static_assert(STATES_SHARDS % 64 == 0, "locksets are whole words");

/* The shards of one `struct states` that an operation needs. */
struct lockset {
	uint64_t bits[STATES_SHARDS / 64];
};

/* Where a take's cost is counted, or would be. */
struct place {
	uint64_t hash;
	struct shard *shard;
	struct entry *own; /* the key's entry, NULL: none */

	/* The state that the key shares. Only when the work has_shared. */
	uint64_t bucket_hash;
	struct shard *bucket_shard;
	struct entry *bucket; /* NULL: none yet */
	size_t bucket_key_len;
	char bucket_key[STORE_KEY_MAX];

	uint32_t fresh; /* an entry made ready for the commit, 0: none */
	bool claimed;   /* counted as a key, but not linked yet */
};

struct work {
	struct memory *memory;
	struct store_op *op;
	uint64_t now_us;
	bool has_shared;
	struct lockset own, shared;
	struct place places[STORE_TAKES_MAX];
};

static void lockset_add(struct lockset *set, uint64_t hash)
{
	uint32_t number = states_shard_of(hash);

	set->bits[number / 64] |= UINT64_C(1) << (number % 64);
}

static void lockset_each(const struct lockset *set, struct states *states, void (*act)(struct shard *shard))
{
	for (uint32_t word = 0; word < STATES_SHARDS / 64; word++)
		for (uint64_t bits = set->bits[word]; bits != 0; bits &= bits - 1)
			act(&states->shards[word * 64 + (uint32_t)__builtin_ctzll(bits)]);
}

/* Locks the shards of all keys, reads the clock, and looks the keys up. */
static void begin(struct work *work, struct memory *memory, struct store_op *op)
{
	work->memory = memory;
	work->op = op;
	work->has_shared = false;
	memset(&work->own, 0, sizeof work->own);
	for (unsigned i = 0; i < op->n; i++) {
		struct place *place = &work->places[i];

		place->hash = states_hash(&memory->states, op->takes[i].key, op->takes[i].key_len);
		place->shard = &memory->states.shards[states_shard_of(place->hash)];
		place->bucket = NULL;
		place->fresh = 0;
		place->claimed = false;
		lockset_add(&work->own, place->hash);
	}
	lockset_each(&work->own, &memory->states, shard_lock);
	for (unsigned i = 0; i < op->n; i++)
		states_prefetch(work->places[i].shard, work->places[i].hash);
	work->now_us = memory_now(memory);
	for (unsigned i = 0; i < op->n; i++) {
		struct place *place = &work->places[i];

		place->own = states_find(place->shard, place->hash, op->takes[i].key, op->takes[i].key_len);
	}
}

static void end(struct work *work)
{
	if (work->has_shared)
		lockset_each(&work->shared, work->memory->shared, shard_unlock);
	lockset_each(&work->own, &work->memory->states, shard_unlock);
}

/* Names the state that a key shares: `<limit name>~<number>`. */
static void name_bucket(struct place *place, const struct memory *memory, const struct store_take *take)
{
	const char *colon = memchr(take->key, ':', take->key_len);
	size_t name_len = colon != NULL ? (size_t)(colon - take->key) : take->key_len;
	/* The upper 24 bits of the hash choose neither shard nor slot. */
	uint32_t number = (uint32_t)(((place->hash >> 40) * memory->shared_n) >> 24);
	char text[BUCKET_NUMBER_MAX + 1];
	size_t text_len = (size_t)snprintf(text, sizeof text, "~%u", number);

	if (name_len > STORE_KEY_MAX - BUCKET_NUMBER_MAX)
		name_len = STORE_KEY_MAX - BUCKET_NUMBER_MAX;
	memcpy(place->bucket_key, take->key, name_len);
	memcpy(place->bucket_key + name_len, text, text_len);
	place->bucket_key_len = name_len + text_len;
}

/* Locks and looks up the states that the keys share. After begin(). */
static void look_up_shared(struct work *work)
{
	struct states *shared = work->memory->shared;

	work->has_shared = true;
	memset(&work->shared, 0, sizeof work->shared);
	for (unsigned i = 0; i < work->op->n; i++) {
		struct place *place = &work->places[i];

		name_bucket(place, work->memory, &work->op->takes[i]);
		place->bucket_hash = states_hash(shared, place->bucket_key, place->bucket_key_len);
		place->bucket_shard = &shared->shards[states_shard_of(place->bucket_hash)];
		lockset_add(&work->shared, place->bucket_hash);
	}
	lockset_each(&work->shared, shared, shard_lock);
	for (unsigned i = 0; i < work->op->n; i++) {
		struct place *place = &work->places[i];

		place->bucket =
			states_find(place->bucket_shard, place->bucket_hash, place->bucket_key, place->bucket_key_len);
	}
}

/* A shared state matters to keys without their own: while the store is full, and as long as one is left from then. */
static bool needs_shared(const struct work *work, bool full)
{
	if (work->memory->overflow != MEMORY_SHARE || (!full && states_keys(work->memory->shared) == 0))
		return false;
	for (unsigned i = 0; i < work->op->n; i++)
		if (work->places[i].own == NULL)
			return true;
	return false;
}

/* The entry whose state decides, NULL: an empty one. */
static struct entry *source_of(const struct place *place)
{
	return place->own != NULL ? place->own : place->bucket;
}

static int peek(const struct work *work, struct entry *entry, struct store_take *take)
{
	return memory_errno(sluice_peek(entry != NULL ? entry_state(entry) : NULL, entry != NULL ? entry->state_len : 0,
	                                take->policy, work->now_us, take->cost, &take->decision));
}

static int peek_all(struct work *work)
{
	struct store_op *op = work->op;

	op->allowed = true;
	for (unsigned i = 0; i < op->n; i++) {
		struct place *place = &work->places[i];
		int rc = peek(work, source_of(place), &op->takes[i]);

		if (rc != 0)
			return rc;
		op->allowed = op->allowed && op->takes[i].decision.allowed;
		op->takes[i].home = source_of(place) == place->own ? STORE_HOME_OWN : STORE_HOME_SHARED;
	}
	return STORE_DONE;
}

/* @return true when an earlier take of the op is to count in the same shared state. */
static bool shares_already(const struct work *work, unsigned i)
{
	const struct place *a = &work->places[i];

	for (unsigned j = 0; j < i; j++) {
		const struct place *b = &work->places[j];

		if (work->op->takes[j].home == STORE_HOME_SHARED && a->bucket_key_len == b->bucket_key_len &&
		    memcmp(a->bucket_key, b->bucket_key, a->bucket_key_len) == 0)
			return true;
	}
	return false;
}

/* Settles where the i-th take is counted. */
static int choose_home(struct work *work, unsigned i, bool last)
{
	struct memory *memory = work->memory;
	struct place *place = &work->places[i];

	work->op->takes[i].home = STORE_HOME_OWN;
	if (place->own != NULL)
		return 0;
	place->claimed = states_claim(&memory->states);
	if (place->claimed)
		return 0;
	if (!last || memory->overflow == MEMORY_REFUSE)
		return -ENOSPC;
	if (memory->overflow == MEMORY_OPEN) {
		work->op->takes[i].home = STORE_HOME_NONE;
		return 0;
	}
	/* Two subjects of one limit in one operation: too odd to count two takes in one state. */
	if (shares_already(work, i))
		return -ENOSPC;
	work->op->takes[i].home = STORE_HOME_SHARED;
	place->claimed = place->bucket == NULL && states_claim(memory->shared);
	return 0;
}

/* The states, shard and entry in which the i-th take is counted. */
struct target {
	struct states *states;
	struct shard *shard;
	uint64_t hash;
	const char *key;
	size_t key_len;
	struct entry *entry; /* NULL: to be made */
};

static struct target target_of(const struct work *work, unsigned i)
{
	const struct place *place = &work->places[i];
	const struct store_take *take = &work->op->takes[i];

	if (take->home == STORE_HOME_SHARED)
		return (struct target){ work->memory->shared, place->bucket_shard,   place->bucket_hash,
			                place->bucket_key,    place->bucket_key_len, place->bucket };
	return (struct target){
		&work->memory->states, place->shard, place->hash, take->key, take->key_len, place->own
	};
}

/* Gets the memory that the i-th take needs. */
static int prepare(struct work *work, unsigned i)
{
	struct target target = target_of(work, i);
	const struct store_take *take = &work->op->takes[i];
	struct place *place = &work->places[i];
	struct entry *source = source_of(place);
	void *state = source != NULL ? entry_state(source) : NULL;
	size_t len = source != NULL ? source->state_len : 0;
	size_t need = sluice_state_room(state, len, take->policy, work->now_us, take->cost);

	if (target.entry != NULL && need <= target.entry->state_len)
		return 0;
	place->fresh = states_alloc(target.states, target.shard, target.key, target.key_len, need);
	if (place->fresh == 0)
		return -ENOMEM;
	/* Room for all takes, as several may be new in one shard. */
	if (target.entry == NULL && states_reserve(target.states, target.shard, work->op->n) != 0)
		return -ENOMEM;
	return memory_errno(
		sluice_state_move(entry_state(states_at(target.shard, place->fresh)), need, state, len, take->policy));
}

static void roll_back(struct work *work)
{
	for (unsigned i = 0; i < work->op->n; i++) {
		struct place *place = &work->places[i];
		struct target target = target_of(work, i);

		if (place->claimed)
			states_unclaim(target.states);
		if (place->fresh != 0)
			states_discard(target.states, target.shard, place->fresh);
	}
}

/* Takes what was peeked at and found allowed: with the same state, time and cost nothing can fail. */
static int commit(struct work *work, unsigned i)
{
	struct target target = target_of(work, i);
	struct store_take *take = &work->op->takes[i];
	uint32_t fresh = work->places[i].fresh;
	int error;

	if (fresh != 0 && target.entry == NULL)
		states_link(target.shard, target.hash, fresh);
	else if (fresh != 0)
		states_replace(target.states, target.shard, target.hash, target.entry, fresh);
	if (fresh != 0)
		target.entry = states_at(target.shard, fresh);
	error = sluice_take(entry_state(target.entry), target.entry->state_len, take->policy, work->now_us, take->cost,
	                    &take->decision);
	if (error != SLUICE_OK)
		return memory_errno(error);
	states_expire(target.shard, target.entry, work->now_us + take->decision.reset_after_us);
	return 0;
}

static int take_all(struct work *work, bool last)
{
	unsigned n = work->op->n;
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = choose_home(work, i, last);
	for (unsigned i = 0; i < n && rc == 0; i++)
		if (work->op->takes[i].home != STORE_HOME_NONE)
			rc = prepare(work, i);
	if (rc != 0) {
		roll_back(work);
		return rc;
	}
	for (unsigned i = 0; i < n; i++) {
		int failed = work->op->takes[i].home != STORE_HOME_NONE ? commit(work, i) : 0;

		if (failed != 0)
			rc = failed;
	}
	for (unsigned i = 0; i < n; i++)
		if (work->places[i].own == NULL && work->op->takes[i].home == STORE_HOME_OWN)
			states_sweep_shard(&work->memory->states, work->places[i].shard, work->now_us,
			                   INSERT_SWEEP_SLOTS);
	return rc;
}

/* Says who decided: the failure policy as soon as one take was not the store's own to count. */
static void sign(struct work *work)
{
	struct store_op *op = work->op;

	op->decider = STORE_BY_STORE;
	op->error = 0;
	for (unsigned i = 0; i < op->n; i++) {
		if (op->takes[i].home == STORE_HOME_OWN)
			continue;
		op->decider = op->takes[i].home == STORE_HOME_SHARED ? STORE_BY_LOCAL : STORE_BY_OPEN;
		op->error = -ENOSPC;
	}
	if (op->error != 0 && op->verb == STORE_TAKE)
		__atomic_fetch_add(&work->memory->refused, 1, __ATOMIC_RELAXED);
}

int memory_decide(struct memory *memory, struct store_op *op, bool last)
{
	struct work work;
	int rc;

	begin(&work, memory, op);
	if (needs_shared(&work, last))
		look_up_shared(&work);
	rc = peek_all(&work);
	if (rc == STORE_DONE && op->allowed && op->verb == STORE_TAKE)
		rc = take_all(&work, last);
	if (rc == STORE_DONE)
		sign(&work);
	end(&work);
	return rc;
}

/* The entries from which a take's cost is given back, at most two: a key that has counted in a shared state and has
 * got its own since has copied what it counted. */
static unsigned refund_entries(const struct work *work, unsigned i, struct target targets[2])
{
	const struct store_take *take = &work->op->takes[i];
	const struct place *place = &work->places[i];
	unsigned n = 0;

	if (place->own != NULL && take->home != STORE_HOME_NONE)
		targets[n++] = (struct target){ &work->memory->states, place->shard, place->hash, take->key,
			                        take->key_len,         place->own };
	if (place->bucket != NULL && take->home == STORE_HOME_SHARED)
		targets[n++] = target_of(work, i);
	return n;
}

/* Finds what would make a refund fail, before anything is changed. */
static int check_refund(const struct work *work, unsigned i)
{
	struct store_take take = work->op->takes[i];
	struct target targets[2];
	unsigned n = refund_entries(work, i, targets);
	int rc = peek(work, NULL, &take);

	for (unsigned k = 0; k < n && rc == 0; k++)
		rc = peek(work, targets[k].entry, &take);
	return rc;
}

static int refund(struct work *work, unsigned i)
{
	struct store_take *take = &work->op->takes[i];
	uint64_t at_us = take->decision.at_us;
	struct target targets[2];
	unsigned n = refund_entries(work, i, targets);
	int rc = 0;

	if (n == 0) /* nothing to give back to; the answer is still that of a refund */
		rc = memory_errno(
			sluice_refund(NULL, 0, take->policy, work->now_us, take->cost, at_us, &take->decision));
	while (n-- > 0 && rc == 0) { /* the key's own last: its decision is the answer */
		struct entry *entry = targets[n].entry;

		rc = memory_errno(sluice_refund(entry_state(entry), entry->state_len, take->policy, work->now_us,
		                                take->cost, at_us, &take->decision));
		if (rc == 0 && take->decision.reset_after_us == 0)
			states_erase(targets[n].states, targets[n].shard, targets[n].hash, entry);
		else if (rc == 0)
			states_expire(targets[n].shard, entry, work->now_us + take->decision.reset_after_us);
	}
	return rc;
}

int memory_refund(struct memory *memory, struct store_op *op)
{
	struct work work;
	int rc = 0;

	begin(&work, memory, op);
	if (memory->overflow == MEMORY_SHARE && states_keys(memory->shared) > 0)
		look_up_shared(&work);
	for (unsigned i = 0; i < op->n && rc == 0; i++)
		rc = check_refund(&work, i);
	for (unsigned i = 0; i < op->n && rc == 0; i++)
		rc = refund(&work, i);
	op->allowed = rc == 0;
	for (unsigned i = 0; i < op->n; i++)
		op->allowed = op->allowed && op->takes[i].decision.allowed;
	end(&work);
	return rc;
}

int memory_reset(struct memory *memory, struct store_op *op)
{
	struct work work;

	begin(&work, memory, op);
	for (unsigned i = 0; i < op->n; i++) {
		struct place *place = &work.places[i];

		if (place->own != NULL)
			states_erase(&memory->states, place->shard, place->hash, place->own);
		op->takes[i].decision = (struct sluice_decision){ 0 };
	}
	op->allowed = true;
	end(&work);
	return STORE_DONE;
}
