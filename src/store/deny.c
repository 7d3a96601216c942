/* SPDX-License-Identifier: Apache-2.0 */
#include "store/deny.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ENTRIES_MAX (1u << 24)
#define WAYS 4u /* entries among which a denial finds its place: neighbours in memory */

/* See deny.h: what two clocks may part, and the rounding of both. */
#define DRIFT_PARTS 1000u
#define DRIFT_LEAST_US 1000u

/* What no waiting makes possible is asked again all the same, so that no entry lives for ever. */
#define NEVER_US UINT64_C(60000000)

/* Of a take in a remembered op. */
struct denied_take {
	uint64_t retry_after_us, reset_after_us; /* counted from answered_us */
	uint32_t remaining;
};

/* One cache line. */
struct denial {
	uint64_t signature[2];
	uint64_t epoch;       /* valid while it is the thread's */
	uint64_t until_us;    /* and until then */
	uint64_t answered_us; /* what the waits count from */
	uint64_t retry_after_us, reset_after_us;
	uint32_t remaining;
	uint16_t denied; /* bit i: the i-th take was denied */
};

_Static_assert(sizeof(struct denial) == 64, "a denial is a cache line");

/* One loop thread's. */
struct deny_thread {
	_Alignas(64) uint64_t epoch; /* a new one makes all that is remembered void; 1 at first */
	uint64_t version;            /* of the store, when the epoch began */
	struct denial *denials;      /* entries */
	struct denied_take *others;  /* STORE_TAKES_MAX - 1 for each denial: its takes but the first */
	/* Atomic, relaxed; written by the thread alone. */
	uint64_t hits, used;
};

struct deny {
	struct store store;
	struct store_class class; /* with the name of the inner store's: who reads of it wants to know which store it is
	                           */
	struct store *inner;
	unsigned threads_n;
	uint32_t sets; /* of WAYS entries; a power of two */
	uint64_t (*now_us)(void *context);
	void *context;
	unsigned char key[crypto_shorthash_siphashx24_KEYBYTES]; /* against clients who choose what collides */
	struct deny_thread *threads;
	/* Atomic; all of it is seldom written. */
	uint64_t version;    /* changes when all threads must forget */
	uint64_t generation; /* as last told */
	uint64_t changing;   /* refunds and resets under way */
};

static uint64_t deny_now(const struct deny *deny)
{
	return deny->now_us != NULL ? deny->now_us(deny->context) : clock_mono_us();
}

static void forget_all(struct deny *deny)
{
	__atomic_add_fetch(&deny->version, 1, __ATOMIC_SEQ_CST);
}

static void forget(struct deny_thread *thread)
{
	thread->epoch++;
	__atomic_store_n(&thread->used, 0, __ATOMIC_RELAXED);
}

static void notice_version(const struct deny *deny, struct deny_thread *thread)
{
	uint64_t version = __atomic_load_n(&deny->version, __ATOMIC_SEQ_CST);

	if (version == thread->version)
		return;
	thread->version = version;
	forget(thread);
}

/* @return NULL when the op is none that is remembered. */
static struct deny_thread *thread_of(const struct deny *deny, const struct store_op *op)
{
	if (op->verb != STORE_TAKE || op->thread >= deny->threads_n || op->n == 0 || op->n > STORE_TAKES_MAX)
		return NULL;
	for (unsigned i = 0; i < op->n; i++)
		if (op->takes[i].key_len > STORE_KEY_MAX)
			return NULL;
	return &deny->threads[op->thread];
}

/*
 * 128 bits that stand for everything that decides the op: what an attacker who does not know the key can make collide
 * is one in 2^128. Each take writes a head that tells its length, so no two ops write the same bytes.
 */
static void sign(const struct deny *deny, const struct store_op *op, uint64_t signature[2])
{
	unsigned char bytes[STORE_TAKES_MAX * (3 * sizeof(uint64_t) + STORE_KEY_MAX)];
	unsigned char *to = bytes;

	for (unsigned i = 0; i < op->n; i++) {
		const struct store_take *take = &op->takes[i];
		const struct sluice_policy *policy = take->policy;
		/* The window is below 2^45. */
		const uint64_t head[3] = { policy->window_us | (uint64_t)take->key_len << 48 |
			                           (uint64_t)policy->algorithm << 56,
			                   policy->limit | (uint64_t)take->cost << 32, policy->burst };
		/* Other algorithms have no burst of their own. */
		size_t head_len = policy->algorithm == SLUICE_TOKEN_BUCKET ? sizeof head : 2 * sizeof *head;

		memcpy(to, head, head_len);
		memcpy(to + head_len, take->key, take->key_len);
		to += head_len + take->key_len;
	}
	crypto_shorthash_siphashx24((unsigned char *)signature, bytes, (unsigned long long)(to - bytes), deny->key);
}

static struct denial *set_of(const struct deny *deny, const struct deny_thread *thread, const uint64_t signature[2])
{
	return &thread->denials[(signature[1] & (deny->sets - 1)) * WAYS];
}

static struct denied_take *others_of(const struct deny_thread *thread, const struct denial *denial)
{
	return &thread->others[(size_t)(denial - thread->denials) * (STORE_TAKES_MAX - 1)];
}

static const struct denial *find(const struct deny *deny, const struct deny_thread *thread, const uint64_t signature[2],
                                 uint64_t now_us)
{
	const struct denial *set = set_of(deny, thread, signature);

	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].signature[0] == signature[0] && set[i].signature[1] == signature[1])
			return set[i].epoch == thread->epoch && now_us < set[i].until_us ? &set[i] : NULL;
	return NULL;
}

/* What is left of a wait. */
static uint64_t aged(uint64_t wait_us, uint64_t age_us)
{
	return wait_us == SLUICE_NEVER ? wait_us : wait_us > age_us ? wait_us - age_us : 0;
}

static void answer_take(struct store_take *take, const struct denied_take *from, bool denied, uint64_t age_us)
{
	uint64_t retry_us = aged(from->retry_after_us, age_us);

	take->home = STORE_HOME_OWN;
	take->decision = (struct sluice_decision){
		.allowed = !denied,
		.limit = take->policy->burst,
		.remaining = from->remaining,
		.retry_after_us = !denied        ? 0
		                  : retry_us > 0 ? retry_us
		                                 : 1,
		.reset_after_us = aged(from->reset_after_us, age_us),
	};
}

static void answer(struct deny_thread *thread, const struct denial *denial, struct store_op *op, uint64_t now_us)
{
	uint64_t age_us = now_us > denial->answered_us ? now_us - denial->answered_us : 0;
	const struct denied_take first = { denial->retry_after_us, denial->reset_after_us, denial->remaining };
	const struct denied_take *others = others_of(thread, denial);

	answer_take(&op->takes[0], &first, denial->denied & 1, age_us);
	for (unsigned i = 1; i < op->n; i++)
		answer_take(&op->takes[i], &others[i - 1], denial->denied >> i & 1, age_us);
	op->allowed = false;
	op->decider = STORE_BY_STORE;
	op->error = 0;
	__atomic_store_n(&thread->hits, thread->hits + 1, __ATOMIC_RELAXED);
}

/* How long the denial of an op is certain. */
static uint64_t certain_us(const struct store_op *op)
{
	uint64_t longest_us = 0, margin_us;

	for (unsigned i = 0; i < op->n; i++) {
		const struct sluice_decision *decision = &op->takes[i].decision;
		uint64_t retry_us = decision->retry_after_us == SLUICE_NEVER ? NEVER_US : decision->retry_after_us;

		if (!decision->allowed && retry_us > longest_us)
			longest_us = retry_us;
	}
	margin_us = longest_us / DRIFT_PARTS + 1 + DRIFT_LEAST_US;
	return longest_us > margin_us ? longest_us - margin_us : 0;
}

/* The entry that a denial may have: its own, one that holds nothing, or the one that would have ended first. */
static struct denial *place_for(const struct deny *deny, const struct deny_thread *thread, const uint64_t signature[2])
{
	struct denial *set = set_of(deny, thread, signature), *best = NULL;

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].signature[0] == signature[0] && set[i].signature[1] == signature[1])
			return &set[i];
		if (best == NULL || (best->epoch == thread->epoch &&
		                     (set[i].epoch != thread->epoch || set[i].until_us < best->until_us)))
			best = &set[i];
	}
	return best;
}

static void remember(const struct deny *deny, struct deny_thread *thread, const struct store_op *op, uint64_t sent_us,
                     const uint64_t signature[2])
{
	uint64_t certain = certain_us(op), now_us = deny_now(deny);
	struct denial *denial;
	struct denied_take *others;

	if (certain == 0 || sent_us + certain <= now_us)
		return;
	denial = place_for(deny, thread, signature);
	if (denial->epoch != thread->epoch)
		__atomic_store_n(&thread->used, thread->used + 1, __ATOMIC_RELAXED);
	others = others_of(thread, denial);
	*denial = (struct denial){
		.signature = { signature[0], signature[1] },
		.epoch = thread->epoch,
		.until_us = sent_us + certain,
		.answered_us = now_us,
		.retry_after_us = op->takes[0].decision.retry_after_us,
		.reset_after_us = op->takes[0].decision.reset_after_us,
		.remaining = op->takes[0].decision.remaining,
	};
	for (unsigned i = 0; i < op->n; i++) {
		const struct sluice_decision *decision = &op->takes[i].decision;

		denial->denied |= (uint16_t)(!decision->allowed << i);
		if (i > 0)
			others[i - 1] = (struct denied_take){ decision->retry_after_us, decision->reset_after_us,
				                              decision->remaining };
	}
}

/* The store has answered a take that was sent in `epoch` of the thread. */
static void learn(const struct deny *deny, struct deny_thread *thread, const struct store_op *op, uint64_t epoch,
                  uint64_t sent_us, const uint64_t signature[2])
{
	notice_version(deny, thread);
	if (op->error != 0) {
		forget(thread);
		return;
	}
	if (op->allowed || op->decider != STORE_BY_STORE || epoch != thread->epoch)
		return;
	/* Asked before a refund or a reset that is under way, or after: who knows. */
	if (__atomic_load_n(&deny->changing, __ATOMIC_SEQ_CST) == 0)
		remember(deny, thread, op, sent_us, signature);
}

static void on_taken(struct store_op *op)
{
	struct deny *deny = (struct deny *)op->deny.store;

	op->done = op->deny.done;
	learn(deny, &deny->threads[op->thread], op, op->deny.epoch, op->deny.sent_us, op->deny.signature);
	op->done(op);
}

static int submit_take(struct deny *deny, struct deny_thread *thread, struct store_op *op)
{
	uint64_t now_us = deny_now(deny);
	const struct denial *denial;
	int rc;

	notice_version(deny, thread);
	sign(deny, op, op->deny.signature);
	denial = find(deny, thread, op->deny.signature, now_us);
	if (denial != NULL) {
		answer(thread, denial, op, now_us);
		return STORE_DONE;
	}
	op->deny.store = &deny->store;
	op->deny.done = op->done;
	op->deny.sent_us = now_us;
	op->deny.epoch = thread->epoch;
	op->done = on_taken;
	op->decider = STORE_BY_STORE;
	op->error = 0;
	rc = store_submit(deny->inner, op);
	if (rc == STORE_PENDING)
		return rc;
	op->done = op->deny.done;
	if (rc == STORE_DONE)
		learn(deny, thread, op, op->deny.epoch, now_us, op->deny.signature);
	else if (rc != -EINVAL)
		forget(thread);
	return rc;
}

static void end_change(struct deny *deny)
{
	/* In this order: who sees no change under way also sees that what was asked during it is void. */
	forget_all(deny);
	__atomic_sub_fetch(&deny->changing, 1, __ATOMIC_SEQ_CST);
}

static void on_changed(struct store_op *op)
{
	op->done = op->deny.done;
	end_change((struct deny *)op->deny.store);
	op->done(op);
}

/* A refund or a reset: it makes room. */
static int submit_change(struct deny *deny, struct store_op *op)
{
	int rc;

	__atomic_add_fetch(&deny->changing, 1, __ATOMIC_SEQ_CST);
	forget_all(deny);
	op->deny.store = &deny->store;
	op->deny.done = op->done;
	op->done = on_changed;
	rc = store_submit(deny->inner, op);
	if (rc == STORE_PENDING)
		return rc;
	op->done = op->deny.done;
	end_change(deny);
	return rc;
}

static int submit(struct store *store, struct store_op *op)
{
	struct deny *deny = (struct deny *)store;
	struct deny_thread *thread = thread_of(deny, op);

	if (thread != NULL)
		return submit_take(deny, thread, op);
	if (op->verb == STORE_REFUND || op->verb == STORE_RESET)
		return submit_change(deny, op);
	return store_submit(deny->inner, op);
}

static int attach(struct store *store, unsigned thread, struct uv_loop_s *loop)
{
	return store_attach(((struct deny *)store)->inner, thread, loop);
}

static void detach(struct store *store, unsigned thread)
{
	store_detach(((struct deny *)store)->inner, thread);
}

static void tend(struct store *store)
{
	store_tend(((struct deny *)store)->inner);
}

static void stats(struct store *store, struct store_stats *out)
{
	struct deny *deny = (struct deny *)store;

	store_stats(deny->inner, out);
	out->deny_hits = out->deny_entries = 0;
	for (unsigned i = 0; i < deny->threads_n; i++) {
		out->deny_hits += __atomic_load_n(&deny->threads[i].hits, __ATOMIC_RELAXED);
		out->deny_entries += __atomic_load_n(&deny->threads[i].used, __ATOMIC_RELAXED);
	}
}

static bool ready(struct store *store)
{
	return store_ready(((struct deny *)store)->inner);
}

static bool partly_ready(struct store *store)
{
	return store_partly_ready(((struct deny *)store)->inner);
}

static void free_deny(struct deny *deny)
{
	for (unsigned i = 0; deny->threads != NULL && i < deny->threads_n; i++) {
		free(deny->threads[i].denials);
		free(deny->threads[i].others);
	}
	free(deny->threads);
	free(deny);
}

static void close_store(struct store *store)
{
	struct deny *deny = (struct deny *)store;

	store_close(deny->inner);
	free_deny(deny);
}

static bool open_threads(struct deny *deny)
{
	size_t entries = (size_t)deny->sets * WAYS;
	size_t bytes = deny->threads_n * sizeof *deny->threads;

	deny->threads = aligned_alloc(_Alignof(struct deny_thread), bytes);
	if (deny->threads == NULL)
		return false;
	memset(deny->threads, 0, bytes);
	for (unsigned i = 0; i < deny->threads_n; i++) {
		struct deny_thread *thread = &deny->threads[i];

		thread->epoch = 1;
		thread->denials = aligned_alloc(sizeof(struct denial), entries * sizeof(struct denial));
		/* Of large blocks the system gives what is touched. */
		thread->others = calloc(entries, (STORE_TAKES_MAX - 1) * sizeof(struct denied_take));
		if (thread->denials == NULL || thread->others == NULL)
			return false;
		memset(thread->denials, 0, entries * sizeof(struct denial));
	}
	return true;
}

struct store *deny_store_open(struct store *inner, const struct deny_config *config)
{
	struct deny *deny;

	if (config->threads == 0 || config->threads > UINT16_MAX || config->entries == 0 ||
	    config->entries > ENTRIES_MAX) {
		errno = EINVAL;
		return NULL;
	}
	deny = sodium_init() >= 0 ? aligned_alloc(_Alignof(struct deny), sizeof *deny) : NULL;
	if (deny == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	*deny = (struct deny){
		.class = { inner->class->name, attach, detach, submit, tend, stats, ready, close_store, partly_ready },
		.inner = inner,
		.threads_n = config->threads,
		.sets = 1,
		.now_us = config->now_us,
		.context = config->context,
	};
	deny->store.class = &deny->class;
	while (deny->sets * WAYS < config->entries)
		deny->sets *= 2;
	randombytes_buf(deny->key, sizeof deny->key);
	if (!open_threads(deny)) {
		free_deny(deny);
		errno = ENOMEM;
		return NULL;
	}
	return &deny->store;
}

void deny_store_set_generation(struct store *store, uint64_t generation)
{
	struct deny *deny = (struct deny *)store;

	if (__atomic_exchange_n(&deny->generation, generation, __ATOMIC_SEQ_CST) != generation)
		forget_all(deny);
}
