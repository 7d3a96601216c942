/* SPDX-License-Identifier: Apache-2.0 */
#include "store/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/memory.h"
#include "store/recall.h"

/* A store that answers some keys is not away as a whole, nor one to which a connection is made anew. */
#define SILENT_US UINT64_C(200000)
#define ANSWERED_STEP_US UINT64_C(10000)

/* A store that comes back empty has heard of few servers at first. */
#define HELD_US UINT64_C(10000000)

/* Servers find the store again one after the other: by so much later than the first, for between two attempts lies a
 * second at most. */
#define LATER_US UINT64_C(2000000)

/* Notes of more keys than that are not kept. */
#define NOTES_MAX (UINT64_C(1) << 20)

struct share {
	struct store *local;
	struct recall *recall;
	uint64_t (*now_us)(void *context);
	void *context;
	/* Atomic, relaxed. */
	uint32_t servers;         /* last told */
	uint32_t held;            /* not less than told: fewer servers are believed after HELD_US */
	uint64_t fewer_us;        /* when fewer were told first */
	uint64_t marked_until_us; /* no mark lasts longer */
	uint64_t away_us;         /* when the store was last known to be away as a whole; 0: never */
	uint64_t answered_us;     /* when it last answered, to within ANSWERED_STEP_US */
	uint64_t unready_us;      /* since when it is not ready; 0: it is */
};

/* How one op is put to the local store. */
struct asking {
	uint64_t now_us;
	unsigned n; /* takes, which stay while stores are asked */
	uint32_t servers;
	struct sluice_policy policies[STORE_TAKES_MAX];
	uint32_t units[STORE_TAKES_MAX];   /* what a cost of 1 counts */
	uint32_t charges[STORE_TAKES_MAX]; /* what the take counts; UINT32_MAX: it is above this server's share */
	struct recall_note notes[STORE_TAKES_MAX];
};

static uint64_t share_now(const struct share *share)
{
	return share->now_us != NULL ? share->now_us(share->context) : clock_mono_us();
}

static uint32_t load_number(const uint32_t *number)
{
	return __atomic_load_n(number, __ATOMIC_RELAXED);
}

/* @return the servers that are believed to share the limits. */
static uint32_t believed(const struct share *share, uint64_t now_us)
{
	uint32_t told = load_number(&share->servers), held = load_number(&share->held);

	if (told >= held || now_us >= __atomic_load_n(&share->fewer_us, __ATOMIC_RELAXED) + HELD_US)
		return told;
	return held;
}

static uint32_t smaller(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

/*
 * The policy under which units are counted here, and what one counts. A limit below the number of servers lets one pass
 * per window. The burst of a token bucket is widened to let one pass, so that it flows back at the bucket's own pace.
 */
static uint32_t weigh(struct sluice_policy *policy, const struct sluice_policy *whole, uint32_t servers)
{
	*policy = *whole;
	if (whole->algorithm == SLUICE_TOKEN_BUCKET && whole->burst < servers &&
	    sluice_policy_init(policy, whole->algorithm, whole->limit, whole->window_us,
	                       smaller(servers, SLUICE_LIMIT_MAX), NULL) != SLUICE_OK)
		*policy = *whole; /* its arithmetic would be too large */
	return smaller(servers, policy->burst);
}

/* The debt of a token bucket flows back evenly, and what is added to it later flows back after it. */
static uint32_t debt_left(const struct sluice_policy *policy, const struct recall_note *note, uint64_t now_us)
{
	uint64_t left_us = note->used_until_us > now_us ? note->used_until_us - now_us : 0;
	unsigned __int128 scaled = (unsigned __int128)left_us * policy->limit + policy->window_us - 1;

	return scaled / policy->window_us < note->used ? (uint32_t)(scaled / policy->window_us) : note->used;
}

static void prepare(struct share *share, const struct store_op *op, struct asking *asking)
{
	asking->now_us = share_now(share);
	asking->n = op->n;
	asking->servers = believed(share, asking->now_us);
	for (unsigned i = 0; i < op->n; i++) {
		const struct store_take *take = &op->takes[i];
		uint64_t charge;

		asking->units[i] = weigh(&asking->policies[i], take->policy, asking->servers);
		charge = take->cost == 1 ? asking->units[i] : (uint64_t)take->cost * asking->servers;
		asking->charges[i] = charge <= asking->policies[i].burst ? (uint32_t)charge : UINT32_MAX;
		asking->notes[i] =
			recall_find(share->recall, recall_key(share->recall, take->key, take->key_len), asking->now_us);
		if (take->policy->algorithm == SLUICE_TOKEN_BUCKET)
			asking->notes[i].used = debt_left(take->policy, &asking->notes[i], asking->now_us);
	}
}

/* Submits to the local store with each take's cost as given, in this server's terms, and restores the op. */
static int submit(struct share *share, struct store_op *op, const struct asking *asking, const uint32_t *costs)
{
	const unsigned n = asking->n;
	const struct sluice_policy *wholes[STORE_TAKES_MAX];
	uint32_t own[STORE_TAKES_MAX];
	int rc;

	for (unsigned i = 0; i < n; i++) {
		wholes[i] = op->takes[i].policy;
		own[i] = op->takes[i].cost;
		op->takes[i].policy = &asking->policies[i];
		op->takes[i].cost = costs[i];
	}
	rc = store_submit(share->local, op);
	for (unsigned i = 0; i < n; i++) {
		op->takes[i].policy = wholes[i];
		op->takes[i].cost = own[i];
	}
	return rc;
}

/* Gives back `cost` units of the i-th take, which was just taken. */
static void give_back(struct share *share, const struct store_op *op, const struct asking *asking, unsigned i,
                      uint32_t cost)
{
	struct store_op refund = { .verb = STORE_REFUND, .n = 1, .thread = op->thread };

	refund.takes[0] = op->takes[i];
	refund.takes[0].policy = &asking->policies[i];
	refund.takes[0].cost = cost;
	/* The units are there: nothing can fail but a state that is damaged, and then they stay counted. */
	(void)store_submit(share->local, &refund);
}

/* The wait of a denied take that would have passed but for what the store admitted: until that has flowed back, and
 * then as long as it takes. */
static void correct_wait(struct share *share, const struct store_op *op, const struct asking *asking, unsigned i,
                         struct sluice_decision *decision)
{
	struct store_op peek = { .verb = STORE_PEEK, .n = 1, .thread = op->thread };
	uint64_t wait_us = asking->notes[i].used_until_us - asking->now_us;

	peek.takes[0] = op->takes[i];
	peek.takes[0].policy = &asking->policies[i];
	peek.takes[0].cost = asking->charges[i];
	if (store_submit(share->local, &peek) != STORE_DONE)
		return;
	if (peek.takes[0].decision.retry_after_us > wait_us)
		wait_us = peek.takes[0].decision.retry_after_us;
	if (wait_us < decision->retry_after_us)
		decision->retry_after_us = wait_us;
	if (decision->reset_after_us < wait_us && wait_us != SLUICE_NEVER)
		decision->reset_after_us = wait_us;
}

/* From units as they count here to units as the client sees them. */
static void translate(struct share *share, struct store_op *op, const struct asking *asking, bool counted)
{
	for (unsigned i = 0; i < asking->n; i++) {
		struct sluice_decision *decision = &op->takes[i].decision;
		uint32_t used = asking->notes[i].used;

		decision->limit = asking->policies[i].burst / asking->units[i];
		if (!counted) /* what the store admitted is not taken off yet */
			decision->remaining = decision->remaining > used ? decision->remaining - used : 0;
		decision->remaining /= asking->units[i];
		if (!decision->allowed && used > 0)
			correct_wait(share, op, asking, i, decision);
	}
}

/* What the store admitted was taken along. It is given back, as it flows back in its own time. Only a token bucket
 * keeps it: its debts flow back one after the other. */
static void settle_used(struct share *share, const struct store_op *op, const struct asking *asking)
{
	for (unsigned i = 0; i < asking->n; i++) {
		if (asking->notes[i].used == 0)
			continue;
		if (op->takes[i].policy->algorithm == SLUICE_TOKEN_BUCKET)
			recall_used(share->recall, asking->notes[i].key, 0, 0);
		else
			give_back(share, op, asking, i, asking->notes[i].used);
	}
}

/* Asks the local store with what the distant one admitted on top. */
static int ask(struct share *share, struct store_op *op, struct asking *asking)
{
	uint32_t costs[STORE_TAKES_MAX];
	bool taken;
	int rc;

	prepare(share, op, asking);
	for (unsigned i = 0; i < asking->n; i++)
		costs[i] = smaller((uint64_t)asking->charges[i] + asking->notes[i].used, UINT32_MAX);
	rc = submit(share, op, asking, costs);
	if (rc != STORE_DONE)
		return rc;
	taken = op->verb == STORE_TAKE && op->allowed;
	if (taken)
		settle_used(share, op, asking);
	op->failure.servers = asking->servers;
	translate(share, op, asking, taken);
	return STORE_DONE;
}

static void mark_until(struct share *share, uint64_t key, uint64_t until_us)
{
	uint64_t longest_us = __atomic_load_n(&share->marked_until_us, __ATOMIC_RELAXED);

	recall_mark(share->recall, key, until_us);
	while (longest_us < until_us && !__atomic_compare_exchange_n(&share->marked_until_us, &longest_us, until_us,
	                                                             true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* How long after a decision made here, or by a server that found the store again later than we, windows reach back to
 * it. */
static uint64_t reach_us(const struct sluice_policy *policy)
{
	return policy->window_us + policy->window_us / 1000 + 1 /* what clocks may part */ + LATER_US;
}

/* Denied ones too: what other servers admitted meanwhile leaves no room here either. */
static void mark(struct share *share, const struct store_op *op)
{
	uint64_t now_us = share_now(share);

	for (unsigned i = 0; i < op->n; i++) {
		const struct store_take *take = &op->takes[i];
		uint64_t lasts_us = reach_us(take->policy);

		if (take->decision.reset_after_us > lasts_us)
			lasts_us = take->decision.reset_after_us;
		mark_until(share, recall_key(share->recall, take->key, take->key_len), now_us + lasts_us);
	}
}

int share_decide(struct share *share, struct store_op *op)
{
	struct asking asking;
	int rc = ask(share, op, &asking);

	if (rc == STORE_DONE && op->verb == STORE_TAKE)
		mark(share, op);
	return rc;
}

void share_notice(struct share *share, bool ready)
{
	uint64_t now_us, unready_us = __atomic_load_n(&share->unready_us, __ATOMIC_RELAXED);

	if (ready) {
		if (unready_us != 0)
			__atomic_store_n(&share->unready_us, 0, __ATOMIC_RELAXED);
		return;
	}
	now_us = share_now(share);
	if (unready_us == 0)
		__atomic_store_n(&share->unready_us, now_us, __ATOMIC_RELAXED);
	else if (now_us >= unready_us + SILENT_US &&
	         now_us >= __atomic_load_n(&share->answered_us, __ATOMIC_RELAXED) + SILENT_US)
		__atomic_store_n(&share->away_us, now_us, __ATOMIC_RELAXED);
}

/* @return true when other servers, or this one, may have admitted what the distant store does not know. */
static bool suspect(struct share *share, const struct store_take *take, uint64_t now_us)
{
	uint64_t away_us = __atomic_load_n(&share->away_us, __ATOMIC_RELAXED);

	if (away_us != 0 && now_us < away_us + reach_us(take->policy))
		return true;
	if (now_us >= __atomic_load_n(&share->marked_until_us, __ATOMIC_RELAXED))
		return false;
	return recall_find(share->recall, recall_key(share->recall, take->key, take->key_len), now_us)
	               .marked_until_us != 0;
}

bool share_holds(struct share *share, const struct store_op *op)
{
	uint64_t now_us;

	if (__atomic_load_n(&share->away_us, __ATOMIC_RELAXED) == 0 &&
	    __atomic_load_n(&share->marked_until_us, __ATOMIC_RELAXED) == 0)
		return false;
	now_us = share_now(share);
	for (unsigned i = 0; i < op->n; i++)
		if (suspect(share, &op->takes[i], now_us))
			return true;
	return false;
}

void share_learn(struct share *share, const struct store_op *op)
{
	uint64_t now_us = share_now(share);

	/* Seldom, so that threads do not take this line from each other at every answer. */
	if (now_us >= __atomic_load_n(&share->answered_us, __ATOMIC_RELAXED) + ANSWERED_STEP_US)
		__atomic_store_n(&share->answered_us, now_us, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < op->n; i++) {
		const struct store_take *take = &op->takes[i];
		uint32_t left = smaller(take->decision.remaining, take->policy->burst);

		/* What was admitted since the outage began is counted here. */
		if (!suspect(share, take, now_us))
			recall_used(share->recall, recall_key(share->recall, take->key, take->key_len),
			            take->policy->burst - left, now_us + take->decision.reset_after_us);
	}
}

int share_reserve(struct share *share, struct store_op *op)
{
	struct asking asking;
	int rc = ask(share, op, &asking);

	for (unsigned i = 0; rc == STORE_DONE && i < asking.n; i++) {
		op->failure.at_us[i] = op->takes[i].decision.at_us;
		op->failure.homes[i] = op->takes[i].home;
	}
	for (unsigned i = 0; rc == STORE_DONE && op->allowed && i < asking.n; i++) {
		const struct store_take *take = &op->takes[i];

		/* The debt of a bucket that never runs empty is never forgotten. */
		if (take->policy->algorithm == SLUICE_TOKEN_BUCKET)
			mark_until(share, asking.notes[i].key, asking.now_us + take->decision.reset_after_us);
	}
	return rc;
}

/* Refunds what was taken when so many servers shared. */
static int refund(struct share *share, struct store_op *op)
{
	struct asking asking;
	int rc;

	prepare(share, op, &asking);
	for (unsigned i = 0; i < asking.n; i++) {
		uint32_t servers = op->failure.servers > 0 ? op->failure.servers : asking.servers;
		uint32_t unit = weigh(&asking.policies[i], op->takes[i].policy, servers);

		asking.charges[i] =
			op->takes[i].cost == 1 ? unit : smaller((uint64_t)op->takes[i].cost * servers, UINT32_MAX);
	}
	rc = submit(share, op, &asking, asking.charges);
	if (rc == STORE_DONE)
		translate(share, op, &asking, false);
	return rc;
}

void share_release(struct share *share, struct store_op *op)
{
	struct store_op release = { .verb = STORE_REFUND, .n = op->n, .thread = op->thread };

	release.failure.servers = op->failure.servers;
	for (unsigned i = 0; i < op->n; i++) {
		release.takes[i] = op->takes[i];
		release.takes[i].home = op->failure.homes[i];
		release.takes[i].decision.at_us = op->failure.at_us[i];
	}
	(void)refund(share, &release); /* as in give_back() */
}

void share_keep(struct share *share, struct store_op *op, const struct sluice_decision *decisions)
{
	for (unsigned i = 0; i < op->n; i++) {
		op->takes[i].decision = decisions[i];
		op->takes[i].home = op->failure.homes[i];
	}
	mark(share, op);
}

int share_refund(struct share *share, struct store_op *op)
{
	return refund(share, op);
}

int share_reset(struct share *share, struct store_op *op)
{
	int rc = store_submit(share->local, op);

	for (unsigned i = 0; rc == STORE_DONE && i < op->n; i++)
		recall_forget(share->recall, recall_key(share->recall, op->takes[i].key, op->takes[i].key_len));
	return rc;
}

void share_set_servers(struct share *share, uint32_t servers)
{
	uint64_t now_us = share_now(share);
	uint32_t before = believed(share, now_us);

	servers = servers > 0 ? servers : 1;
	if (servers < before && load_number(&share->servers) >= before) /* fewer for the first time */
		__atomic_store_n(&share->fewer_us, now_us, __ATOMIC_RELAXED);
	__atomic_store_n(&share->held, servers > before ? servers : before, __ATOMIC_RELAXED);
	__atomic_store_n(&share->servers, servers, __ATOMIC_RELAXED);
}

void share_tend(struct share *share)
{
	store_tend(share->local);
}

void share_stats(struct share *share, struct store_stats *out)
{
	*out = (struct store_stats){ 0 };
	store_stats(share->local, out);
	out->bytes += recall_bytes(share->recall);
}

struct share *share_open(const struct failure_config *config)
{
	const struct memory_store_config memory = {
		.max_keys = config->local_max_keys,
		.overflow = MEMORY_SHARE,
		.shared_states = config->shared_states,
		.now_us = config->now_us,
		.context = config->context,
	};
	struct share *share = calloc(1, sizeof *share);

	if (share == NULL)
		return NULL;
	share->now_us = config->now_us;
	share->context = config->context;
	share_set_servers(share, config->servers);
	share->local = memory_store_open(&memory);
	if (share->local == NULL) {
		free(share);
		return NULL;
	}
	share->recall = recall_new(config->local_max_keys < NOTES_MAX ? config->local_max_keys : NOTES_MAX);
	if (share->recall == NULL) {
		store_close(share->local);
		free(share);
		errno = ENOMEM;
		return NULL;
	}
	return share;
}

void share_close(struct share *share)
{
	recall_free(share->recall);
	store_close(share->local);
	free(share);
}
