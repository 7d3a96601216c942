/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c: what a decision of the in-process store costs with a million clients, in time and in memory.
 *
 *  1. Bytes a client with 10 entries: growth of the resident set over what it takes to fill the store, divided.
 *  2. Time a decision on one thread, random clients, as a multiple of one cache miss: a read of a random 64-byte
 *     line, each depending on the one before, in a table of the size that the store has. Rounds alternate.
 *  3. Throughput of two pinned threads as a multiple of one's (the mean of the two cores). Beside it the same
 *     for the reads.
 *
 * Rounds are short. One in which others had the core for more than 2% of the time is thrown away, as it tells of
 * them. Figures are medians over the rounds; a ratio is the median of the ratios within each round.
 *
 * The keys lie in a compact array in random order and are asked for from front to back, so that getting at a key costs
 * next to nothing. The times are those of the whole loop: filling in the op, the clock, the call. What the same loop
 * costs with a store that only reads the key is told beside it, and not taken off.
 *
 * A decision is either "allowed": each client comes back after 7 s on a clock that the bench pushes on (the real one is
 * read all the same), so that in steady state one old entry leaves and one comes; or "denied": all quota is used up.
 *
 * usage: bench_memory
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/memory.h"

#define CLIENTS 1000000u
#define KEY_LEN 27
#define LIMIT 10
#define WINDOW_US UINT64_C(60000000)
#define PUSH_US 7          /* a decision: 7 s until a client's turn comes again */
#define ROUNDS 51          /* that count */
#define TRIES (6 * ROUNDS) /* rounds in all */
#define DECISIONS 50000u   /* a round and thread: some 15 ms, so that most rounds of a busy machine are whole */
#define WARM_NS 5000000
#define LINE 64

struct bench {
	struct store *store;
	struct sluice_policy policy;
	char (*keys)[KEY_LEN]; /* CLIENTS */
	char *lines;           /* the table of the reads: each line begins with the number of the next */
	uint32_t n_lines;
	uint32_t line;      /* where the reads go on */
	uint32_t turn;      /* where the decisions go on */
	uint64_t pushed_us; /* what the clock is ahead of the machine's; atomic */
	uint64_t push_us;   /* what each look at the clock adds */
	uint64_t sink;      /* so that nothing is optimised away */
};

static void die(const char *what)
{
	fprintf(stderr, "bench_memory: %s\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The machine's clock, pushed on. Two threads may lose a push to each other, which only slows it. */
static uint64_t pushed_clock(void *context)
{
	struct bench *bench = context;
	uint64_t pushed_us = __atomic_load_n(&bench->pushed_us, __ATOMIC_RELAXED);

	if (bench->push_us != 0)
		__atomic_store_n(&bench->pushed_us, pushed_us + bench->push_us, __ATOMIC_RELAXED);
	return clock_mono_us() + pushed_us;
}

static uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint32_t *shuffled(uint32_t n, uint64_t seed)
{
	uint32_t *order = malloc(n * sizeof *order);

	if (order == NULL)
		die("no memory");
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(draw(&seed) % (i + 1));
		uint32_t other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
	return order;
}

/* `per-client:{203.099.199.99}` and the like, all of one length. */
static void make_keys(struct bench *bench)
{
	bench->keys = malloc((size_t)CLIENTS * KEY_LEN);
	if (bench->keys == NULL)
		die("no memory");
	for (uint32_t i = 0; i < CLIENTS; i++) {
		char text[KEY_LEN + 16];

		snprintf(text, sizeof text, "per-client:{203.%03u.%03u.%02u}", i / 10000, i / 100 % 100 + 100, i % 100);
		memcpy(bench->keys[i], text, KEY_LEN);
	}
}

/* Afterwards the order of the keys has nothing to do with that in which the store has got them. */
static void shuffle_keys(struct bench *bench)
{
	uint64_t seed = 3;

	for (uint32_t i = CLIENTS - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(draw(&seed) % (i + 1));
		char key[KEY_LEN];

		memcpy(key, bench->keys[i], KEY_LEN);
		memcpy(bench->keys[i], bench->keys[j], KEY_LEN);
		memcpy(bench->keys[j], key, KEY_LEN);
	}
}

/* One cycle through all lines, in random order. */
static void make_lines(struct bench *bench, uint64_t bytes)
{
	uint32_t *order;

	bench->n_lines = (uint32_t)(bytes / LINE);
	order = shuffled(bench->n_lines, 2);
	bench->lines =
		mmap(NULL, (size_t)bench->n_lines * LINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bench->lines == MAP_FAILED)
		die("no memory");
	for (uint32_t i = 0; i < bench->n_lines; i++)
		memcpy(bench->lines + (size_t)order[i] * LINE, &order[(i + 1) % bench->n_lines], sizeof *order);
	free(order);
}

static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long all, resident = 0;

	if (file == NULL || fscanf(file, "%lu %lu", &all, &resident) != 2)
		die("/proc/self/statm can't be read");
	fclose(file);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Takes `n` times from the clients whose turn it is. @return how many were allowed. */
static uint64_t decide(const struct bench *bench, struct store *store, uint32_t turn, uint32_t n)
{
	uint64_t allowed = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct store_op op;

		op.verb = STORE_TAKE;
		op.n = 1;
		op.takes[0].policy = &bench->policy;
		op.takes[0].key = bench->keys[turn];
		op.takes[0].key_len = KEY_LEN;
		op.takes[0].cost = 1;
		turn = turn + 1 < CLIENTS ? turn + 1 : 0;
		if (store_submit(store, &op) != STORE_DONE)
			die("a decision failed");
		allowed += op.allowed;
	}
	return allowed;
}

static uint64_t read_lines(const struct bench *bench, uint32_t *line, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		memcpy(line, bench->lines + (size_t)*line * LINE, sizeof *line);
	return *line;
}

/* The store of the bare loop: reads the key, as a hash would. */
static int nothing_submit(struct store *store, struct store_op *op)
{
	const struct store_take *take = &op->takes[0];
	unsigned sum = 0;

	for (unsigned i = 0; i < take->key_len; i++)
		sum += (unsigned char)take->key[i];
	op->allowed = sum > 100;
	return STORE_DONE;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof *values, ascending);
	return values[n / 2];
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
		die("can't pin to a core");
}

/* To tell how a stretch of work of this thread went. */
struct stretch {
	uint64_t start_ns;
	uint64_t cpu_ns;
	long preemptions; /* how often it has lost its core to another thread */
};

static uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct stretch stretch_begin(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (struct stretch){ now_ns(), cpu_now_ns(), usage.ru_nivcsw };
}

/* @return true when others had the core for more than a fiftieth of the time. Waiting for a lock is no such thing. */
static bool stretch_disturbed(const struct stretch *begun)
{
	struct stretch now = stretch_begin();
	uint64_t lost_ns = now.start_ns - begun->start_ns - (now.cpu_ns - begun->cpu_ns);

	return now.preemptions > begun->preemptions && lost_ns * 50 > now.start_ns - begun->start_ns;
}

/* On a machine that is never idle the last rounds count, disturbed or not; then the figures are upper bounds. */
static void warn_if_disturbed(int tries, const char *what)
{
	if (tries > TRIES - ROUNDS)
		printf("%-8s the machine was busy with others: disturbed rounds are among these\n", what);
}

static double timed_decisions(const struct bench *bench, struct store *store, uint32_t n, uint64_t *allowed)
{
	uint64_t start_ns = now_ns();

	*allowed = decide(bench, store, bench->turn, n);
	return (double)(now_ns() - start_ns) / n;
}

static double timed_reads(struct bench *bench, uint32_t n)
{
	uint64_t start_ns = now_ns();

	bench->sink += read_lines(bench, &bench->line, n);
	return (double)(now_ns() - start_ns) / n;
}

/* Rounds of decisions and of reads in turns. */
static void compare_with_misses(struct bench *bench, const char *what, uint64_t push_us)
{
	const struct store_class nothing_class = { .name = "nothing", .submit = nothing_submit };
	struct store nothing = { &nothing_class };
	double decision[ROUNDS], miss[ROUNDS], loop[ROUNDS], ratio[ROUNDS];
	uint64_t all = 0, allowed, n;
	int k = 0, tries = 0;

	bench->push_us = push_us;
	bench->pushed_us += push_us != 0 ? WINDOW_US : 0;
	timed_decisions(bench, bench->store, LIMIT * CLIENTS, &n); /* until it has settled */
	for (int i = 0; i < TRIES && k < ROUNDS; i++, tries++) {
		struct stretch stretch = stretch_begin();

		miss[k] = timed_reads(bench, DECISIONS);
		decision[k] = timed_decisions(bench, bench->store, DECISIONS, &allowed);
		loop[k] = timed_decisions(bench, &nothing, DECISIONS, &n);
		bench->turn = (bench->turn + DECISIONS) % CLIENTS;
		ratio[k] = decision[k] / miss[k];
		if (stretch_disturbed(&stretch) && i < TRIES - ROUNDS) /* the last ones count in any case */
			continue;
		all += allowed;
		k++;
	}
	warn_if_disturbed(tries, what);
	printf("%-8s %6.1f ns a decision, %6.1f ns a cache miss (the bare loop: %.1f ns); %.1f%% were allowed\n", what,
	       median(decision, k), median(miss, k), median(loop, k), 100.0 * (double)all / ((double)k * DECISIONS));
	printf("         ratio %.2f, aim at most 3\n", median(ratio, k));
}

/* A core that has rested begins slowly. */
static void spin_until(uint64_t end_ns)
{
	while (now_ns() < end_ns)
		;
}

struct worker {
	pthread_t thread;
	struct bench *bench;
	pthread_barrier_t *start;
	int core;
	bool reads;
	double ns;      /* out: for DECISIONS */
	bool disturbed; /* out */
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct bench *bench = worker->bench;
	/* Each thread on its own half, wherever this round begins. */
	uint32_t line = (bench->line + (worker->core == 0 ? 0 : bench->n_lines / 2)) % bench->n_lines;
	uint32_t turn = (bench->turn + (worker->core == 0 ? 0 : CLIENTS / 2)) % CLIENTS;
	struct stretch stretch;
	uint64_t sum;

	pin(worker->core);
	pthread_barrier_wait(worker->start);
	spin_until(now_ns() + WARM_NS);
	stretch = stretch_begin();
	sum = worker->reads ? read_lines(bench, &line, DECISIONS) : decide(bench, bench->store, turn, DECISIONS);
	worker->ns = (double)(now_ns() - stretch.start_ns);
	worker->disturbed = stretch_disturbed(&stretch);
	__atomic_fetch_add(&bench->sink, sum, __ATOMIC_RELAXED);
	return NULL;
}

/* What the threads on the cores from `first` to `last` do together in a second; `disturbed` is set when one of them
 * was. The one on core 0 is this thread: if it only waited, it would disturb the other one on its core. */
static double throughput(struct bench *bench, int first, int last, bool reads, bool *disturbed)
{
	struct worker workers[2];
	pthread_barrier_t start;
	double sum = 0;

	pthread_barrier_init(&start, NULL, (unsigned)(last - first + 1));
	for (int i = first; i <= last; i++)
		workers[i] = (struct worker){ .bench = bench, .start = &start, .core = i, .reads = reads };
	if (last == 1 && pthread_create(&workers[1].thread, NULL, work, &workers[1]) != 0)
		die("no thread");
	if (first == 0)
		work(&workers[0]);
	if (last == 1)
		pthread_join(workers[1].thread, NULL);
	for (int i = first; i <= last; i++) {
		sum += DECISIONS * 1e9 / workers[i].ns;
		*disturbed |= workers[i].disturbed;
	}
	pthread_barrier_destroy(&start);
	bench->turn = (bench->turn + DECISIONS) % CLIENTS;
	bench->line = (bench->line + DECISIONS) % bench->n_lines;
	return sum;
}

/* Two threads, and one: the mean of the two cores, which need not be alike. @return false when disturbed. */
static bool scale(struct bench *bench, bool reads, double *one, double *two)
{
	bool disturbed = false;
	double first = throughput(bench, 0, 0, reads, &disturbed), second = throughput(bench, 1, 1, reads, &disturbed);

	*one = (first + second) / 2;
	*two = throughput(bench, 0, 1, reads, &disturbed);
	return !disturbed;
}

/* The same for threads. */
static void compare_threads(struct bench *bench)
{
	double one[ROUNDS], two[ROUNDS], ratio[ROUNDS], reads[ROUNDS];
	int k = 0, tries = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("threads  not measured: one core\n");
		return;
	}
	bench->push_us = 0;
	for (int i = 0; i < TRIES && k < ROUNDS; i++, tries++) {
		double read_one, read_two;

		bool quiet = scale(bench, true, &read_one, &read_two);

		quiet = scale(bench, false, &one[k], &two[k]) && quiet;
		if (!quiet && i < TRIES - ROUNDS) /* the last ones count in any case */
			continue;
		ratio[k] = two[k] / one[k];
		reads[k] = read_two / read_one;
		k++;
	}
	warn_if_disturbed(tries, "threads");
	printf("threads  one %.2f, two %.2f million decisions a second\n", median(one, k) / 1e6, median(two, k) / 1e6);
	printf("         ratio %.2f, aim at least 1.7 (plain random reads: %.2f)\n", median(ratio, k),
	       median(reads, k));
}

int main(void)
{
	struct bench bench = { .push_us = 0 };
	const struct memory_store_config config = { .max_keys = CLIENTS, .now_us = pushed_clock, .context = &bench };
	uint64_t before, grown;
	struct store_stats stats;

	if (sluice_policy_init(&bench.policy, SLUICE_SLIDING_LOG, LIMIT, WINDOW_US, 0, NULL) != SLUICE_OK)
		die("the policy is refused");
	pin(0);
	make_keys(&bench);
	before = resident_bytes();
	bench.store = memory_store_open(&config);
	if (bench.store == NULL)
		die("no store");
	if (decide(&bench, bench.store, 0, LIMIT * CLIENTS) != (uint64_t)LIMIT * CLIENTS)
		die("filling took longer than a window");
	grown = resident_bytes() - before;
	store_stats(bench.store, &stats);
	printf("memory   %u clients, %d entries each: %.1f bytes a client resident, %.1f by the store's own count\n",
	       CLIENTS, LIMIT, (double)grown / CLIENTS, (double)stats.bytes / CLIENTS);
	printf("         aim at most 128; a sorted set of strings takes 496\n");
	shuffle_keys(&bench);
	make_lines(&bench, grown);
	compare_with_misses(&bench, "denied", 0);
	compare_with_misses(&bench, "allowed", PUSH_US);
	compare_threads(&bench);
	store_close(bench.store);
	return bench.sink != 0 ? 0 : 1; /* it never is 0: the reads sum up */
}
