/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter_front.c: what stands in front of a distant store costs, in CPU time of the thread.
 *
 *  1. A denial that is remembered (deny.h), beside the SipHash-2-4 of its key and one look at the clock.
 *  2. An allowed take through the failure policy: `open`, which notes nothing, and `local`, which notes what the store
 *     told. The store behind answers all at once, late, with no work, so what differs is the note.
 *
 * Clients come in turn, so with many of them each note and denial is a cache miss. Figures are medians of rounds that
 * alternate; a ratio is the median of the ratios within a round.
 *
 * usage: bench_limiter_front
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "store/deny.h"
#include "store/failure.h"

#define KEY_LEN 28
#define ROUNDS 31
#define OPS 100000u

/* A store that answers later, always the same. */
struct distant {
	struct store store;
	struct store_op *pending;
	struct sluice_decision decision;
};

static int distant_submit(struct store *store, struct store_op *op)
{
	((struct distant *)store)->pending = op;
	return STORE_PENDING;
}

static void distant_tend(struct store *store)
{
}

static void distant_stats(struct store *store, struct store_stats *out)
{
	*out = (struct store_stats){ 0 };
}

static bool distant_ready(struct store *store)
{
	return true;
}

static const struct store_class distant_class = {
	.name = "distant",
	.submit = distant_submit,
	.tend = distant_tend,
	.stats = distant_stats,
	.ready = distant_ready,
	.close = distant_tend,
};

struct bench {
	struct sluice_policy policy;
	char (*keys)[KEY_LEN];
	uint32_t clients;
	struct hash_key hash_key;
	uint64_t sink; /* so that nothing is optimised away */
};

static void die(const char *what)
{
	fprintf(stderr, "bench_limiter_front: %s\n", what);
	exit(1);
}

static void on_done(struct store_op *op)
{
}

static void make_keys(struct bench *bench, uint32_t clients)
{
	bench->clients = clients;
	bench->keys = malloc((size_t)clients * KEY_LEN);
	if (bench->keys == NULL)
		die("no memory");
	for (uint32_t i = 0; i < clients; i++) {
		char text[KEY_LEN + 16];

		snprintf(text, sizeof text, "per-client:{203.%03u.%03u.%03u}", i / 10000, i / 100 % 100 + 100,
		         i % 100 + 100);
		memcpy(bench->keys[i], text, KEY_LEN);
	}
}

static void take(struct bench *bench, struct store *store, struct distant *distant, uint32_t client)
{
	static struct store_op op; /* as in a request: not cleared for each */
	struct store_take *one = &op.takes[0];

	op.verb = STORE_TAKE;
	op.n = 1;
	op.done = on_done;
	op.error = 0;
	one->policy = &bench->policy;
	one->key = bench->keys[client];
	one->key_len = KEY_LEN;
	one->cost = 1;
	if (store_submit(store, &op) == STORE_PENDING) {
		op.allowed = distant->decision.allowed;
		one->decision = distant->decision;
		op.done(&op);
	}
	bench->sink += one->decision.remaining;
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* @return ns a take. */
static double round_of(struct bench *bench, struct store *store, struct distant *distant)
{
	uint64_t begin_ns = thread_ns();

	for (uint32_t i = 0; i < OPS; i++)
		take(bench, store, distant, i % bench->clients);
	return (double)(thread_ns() - begin_ns) / OPS;
}

/* @return ns of a hash of the key and a look at the clock. */
static double round_of_parts(struct bench *bench)
{
	uint64_t begin_ns = thread_ns();

	for (uint32_t i = 0; i < OPS; i++)
		bench->sink += hash_bytes(&bench->hash_key, bench->keys[i % bench->clients], KEY_LEN) + clock_mono_us();
	return (double)(thread_ns() - begin_ns) / OPS;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *figures)
{
	qsort(figures, ROUNDS, sizeof *figures, ascending);
	return figures[ROUNDS / 2];
}

static void measure_denials(struct bench *bench)
{
	struct distant distant = { .store.class = &distant_class,
		                   .decision = { .limit = 10,
		                                 .retry_after_us = UINT64_C(3000000000),
		                                 .reset_after_us = UINT64_C(3000000000) } };
	const struct deny_config config = { .threads = 1, .entries = 65536 };
	struct store *store = deny_store_open(&distant.store, &config);
	double parts[ROUNDS], hits[ROUNDS], ratios[ROUNDS];
	struct store_stats stats;

	if (store == NULL)
		die("no memory");
	for (uint32_t i = 0; i < bench->clients; i++)
		take(bench, store, &distant, i);
	for (unsigned i = 0; i < ROUNDS; i++) {
		parts[i] = round_of_parts(bench);
		hits[i] = round_of(bench, store, &distant);
		ratios[i] = hits[i] / parts[i];
	}
	store_stats(store, &stats);
	printf("%7u clients: remembered denial %.0f ns, hash and clock alone %.0f ns, ratio %.2f (%.1f %% were "
	       "remembered)\n",
	       bench->clients, median(hits), median(parts), median(ratios),
	       100.0 * (double)stats.deny_hits / ((double)ROUNDS * OPS));
	store_close(store);
}

static void measure_notes(struct bench *bench)
{
	static const enum failure_policy policies[] = { FAILURE_OPEN, FAILURE_LOCAL };
	struct distant distant = { .store.class = &distant_class,
		                   .decision = {
					   .allowed = true, .limit = 10, .remaining = 5, .reset_after_us = 60000000 } };
	struct store *stores[2];
	double costs[2][ROUNDS], more[ROUNDS];

	for (int p = 0; p < 2; p++) {
		const struct failure_config config = { .policy = policies[p],
			                               .local_max_keys = 1000000,
			                               .shared_states = 1024 };

		stores[p] = failure_store_open(&distant.store, &config);
		if (stores[p] == NULL)
			die("no memory");
		round_of(bench, stores[p], &distant);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (int p = 0; p < 2; p++)
			costs[p][i] = round_of(bench, stores[p], &distant);
		more[i] = costs[1][i] - costs[0][i];
	}
	printf("%7u clients: allowed take, policy open %.0f ns, local %.0f ns: a note costs %.0f ns\n", bench->clients,
	       median(costs[0]), median(costs[1]), median(more));
	for (int p = 0; p < 2; p++)
		store_close(stores[p]);
}

int main(void)
{
	static const uint32_t clients[] = { 1, 50000 };

	for (unsigned i = 0; i < 2; i++) {
		struct bench bench = { 0 };

		if (sodium_init() < 0 ||
		    sluice_policy_init(&bench.policy, SLUICE_SLIDING_LOG, 10, 60000000, 0, NULL) != SLUICE_OK)
			die("can't start");
		hash_key_draw(&bench.hash_key);
		make_keys(&bench, clients[i]);
		measure_denials(&bench);
		measure_notes(&bench);
		if (bench.sink == 1)
			puts("");
		free(bench.keys);
	}
	return 0;
}
