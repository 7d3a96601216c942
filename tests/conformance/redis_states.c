/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_states.c: the script and our module against the core, on states of every kind.
 *
 * States come from takes of the core under other limits, windows, bursts and algorithms, from what is tested itself,
 * and from bytes turned over. Each is written to Redis and asked about in operations of one to STORE_TAKES_MAX keys,
 * whose answers and whose states afterwards must be those of the core: byte for byte, or, for a ring, entry for entry.
 * A ring whose entries are out of order can't be told from a sound one without reading all of it; it gets answers of
 * the right kind, not the same.
 *
 * usage: redis_states redis|module|mixed [ROUNDS]; SLUICE_SEED repeats a run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "module_client.h"
#include "random.h"
#include "redis_client.h"

enum { STATE_MAX = 1 << 16, LIMIT_MOST = 2000 };

struct subject {
	char key[16];
	struct sluice_policy policy;
	uint8_t *state, *want; /* STATE_MAX each: before and, by the core, after */
	size_t len, want_len;
};

struct trial {
	struct redis_server server;
	bool script, module; /* what decides: one of them, or both by chance */
	struct module_client client;
	struct random random;
	struct subject subjects[STORE_TAKES_MAX];
	uint64_t now_us, round;
	uint64_t allowed, denied, malformed, disorderly;
	bool failed;
};

static void draw_policy(struct random *random, struct sluice_policy *policy)
{
	static const uint64_t windows_us[] = { 1000,
		                               1000000,
		                               60000000,
		                               UINT64_C(1) << 31,
		                               (UINT64_C(1) << 31) + 1,
		                               UINT64_C(86400000000),
		                               SLUICE_WINDOW_MAX_US };
	int refused;

	do {
		enum sluice_algorithm algorithm = (enum sluice_algorithm)random_between(random, 1, 4);
		uint32_t limit = (uint32_t)random_magnitude(random, 1, LIMIT_MOST);
		uint32_t burst =
			algorithm == SLUICE_TOKEN_BUCKET ? (uint32_t)random_magnitude(random, 1, LIMIT_MOST) : 0;
		uint64_t window_us = windows_us[random_below(random, 5 + 2 * random_below(random, 2))];

		refused = sluice_policy_init(policy, algorithm, limit, window_us, burst, NULL);
	} while (refused);
}

/* A take by the core, as the in-process store does it. @return as sluice_take(). */
static int core_take(uint8_t *state, size_t *len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                     struct sluice_decision *out)
{
	size_t room = sluice_state_room(state, *len, policy, now_us, cost);
	uint8_t *moved;
	int result;

	if (room <= *len)
		return sluice_take(state, *len, policy, now_us, cost, out);
	moved = malloc(room);
	if (moved == NULL || room > STATE_MAX)
		abort();
	result = sluice_state_move(moved, room, state, *len, policy);
	if (result == SLUICE_OK)
		result = sluice_take(moved, room, policy, now_us, cost, out);
	if (result == SLUICE_OK && out->allowed) {
		memcpy(state, moved, room);
		*len = room;
	}
	free(moved);
	return result;
}

static void draw_state(struct trial *trial, struct subject *subject)
{
	struct random *random = &trial->random;
	struct sluice_policy other = subject->policy;
	uint64_t takes = random_magnitude(random, 1, 400) - 1;
	uint64_t at_us = trial->now_us - random_magnitude(random, 1, 3 * subject->policy.window_us);

	subject->len = 0;
	if (random_one_in(random, 3))
		draw_policy(random, &other);
	for (uint64_t i = 0; i < takes; i++) {
		struct sluice_decision decision;

		at_us += random_below(random, other.window_us / other.limit + 2);
		core_take(subject->state, &subject->len, &other, at_us,
		          (uint32_t)random_magnitude(random, 1, other.burst / 4 + 1), &decision);
	}
	if (subject->len > 0 && random_one_in(random, 12)) {
		size_t at = random_below(random, subject->len < 32 || random_one_in(random, 4) ? subject->len : 32);

		subject->state[at] ^= (uint8_t)random_between(random, 1, 255);
	}
	if (subject->len > 0 && random_one_in(random, 40))
		subject->len = random_below(random, subject->len);
}

/* Half of the subjects go on with what was written by what is tested. */
static void draw_subject(struct trial *trial, struct subject *subject, unsigned i)
{
	bool keep = subject->len > 0 && random_one_in(&trial->random, 2);

	snprintf(subject->key, sizeof subject->key, "%u:{s}", i);
	if (!keep) {
		draw_policy(&trial->random, &subject->policy);
		draw_state(trial, subject);
	}
	if (redis_client_write(&trial->server, subject->key, subject->state, subject->len) != 0)
		abort();
}

static void complain(struct trial *trial, const struct subject *subject, const char *what)
{
	trial->failed = true;
	fprintf(stderr,
	        "round %" PRIu64 ", key %s (%s, limit %u, burst %u, window %" PRIu64 " us) at %" PRIu64 " us: %s\n",
	        trial->round, subject->key, sluice_algorithm_name(subject->policy.algorithm), subject->policy.limit,
	        subject->policy.burst, subject->policy.window_us, trial->now_us, what);
}

/* What the core makes of the operation. @return as redis_client_submit(). */
static int expect(struct trial *trial, struct store_op *op)
{
	uint64_t given_us[STORE_TAKES_MAX];
	bool allowed = true;

	for (unsigned i = 0; i < op->n; i++) {
		struct store_take *take = &op->takes[i];
		struct subject *subject = &trial->subjects[i];

		given_us[i] = take->decision.at_us;
		subject->want_len = subject->len;
		memcpy(subject->want, subject->state, subject->len);
		if (sluice_peek(subject->state, subject->len, take->policy, trial->now_us, take->cost,
		                &take->decision) != 0)
			return -EIO;
		allowed = allowed && take->decision.allowed;
	}
	for (unsigned i = 0; i < op->n; i++) {
		struct store_take *take = &op->takes[i];
		struct subject *subject = &trial->subjects[i];

		if (op->verb == STORE_TAKE && allowed)
			core_take(subject->want, &subject->want_len, take->policy, trial->now_us, take->cost,
			          &take->decision);
		if (op->verb == STORE_REFUND)
			sluice_refund(subject->want, subject->want_len, take->policy, trial->now_us, take->cost,
			              given_us[i], &take->decision);
	}
	return 0;
}

/* As doubles: a wait of a state that was tampered with may need 54 bits, of which the script keeps the upper 53. */
static bool same_decision(const struct sluice_decision *a, const struct sluice_decision *b)
{
	return a->allowed == b->allowed && a->limit == b->limit && a->remaining == b->remaining &&
	       a->at_us == b->at_us && (double)a->retry_after_us == (double)b->retry_after_us &&
	       (double)a->reset_after_us == (double)b->reset_after_us;
}

/* Whether the entries of a ring that is sound otherwise follow one another in time. */
static bool orderly(const struct subject *subject)
{
	static uint8_t plain[STATE_MAX];
	uint32_t tick_us = subject->policy.tick_us, count, newest, last_age = UINT32_MAX;
	struct sluice_policy roomy = subject->policy;
	uint64_t newest_us;

	if (subject->policy.algorithm != SLUICE_SLIDING_LOG)
		return true;
	/* With all that it holds, whatever the limit, from the oldest on and the newest stored. */
	roomy.limit = (STATE_MAX - 24) / 4;
	roomy.burst = roomy.limit;
	if (sluice_state_move(plain, STATE_MAX, subject->state, subject->len, &roomy) != 0)
		return true; /* malformed: refused by both */
	memcpy(&newest_us, plain + 4, sizeof newest_us);
	memcpy(&count, plain + 16, sizeof count);
	newest = (uint32_t)((newest_us + tick_us - 1) / tick_us);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t tick, age;

		memcpy(&tick, plain + 24 + 4 * i, sizeof tick);
		age = newest - tick;
		if (age > last_age)
			return false;
		last_age = age;
	}
	return true;
}

/* An answer of an operation on a ring that is out of order. A refund tells what would become of a take of one unit. */
static bool right_kind(enum store_verb verb, const struct store_take *take)
{
	uint32_t cost = verb == STORE_REFUND ? 1 : take->cost;
	const struct sluice_decision *decision = &take->decision;

	return decision->limit == take->policy->burst && decision->remaining <= decision->limit &&
	       decision->allowed == (decision->retry_after_us == 0) &&
	       (decision->retry_after_us == SLUICE_NEVER) == (cost > decision->limit);
}

/* The same bytes, or rings of the same entries. */
static bool same_state(const struct subject *subject, const uint8_t *got, size_t len)
{
	static uint8_t a[STATE_MAX], b[STATE_MAX];
	size_t most = sluice_state_max(&subject->policy);

	if (len == subject->want_len && memcmp(got, subject->want, len) == 0)
		return true;
	/* The core leaves what lies behind the end of a state. */
	if (subject->policy.algorithm != SLUICE_SLIDING_LOG && len == most && len < subject->want_len &&
	    memcmp(got, subject->want, len) == 0)
		return true;
	return subject->policy.algorithm == SLUICE_SLIDING_LOG && most <= STATE_MAX &&
	       sluice_state_move(a, most, got, len, &subject->policy) == 0 &&
	       sluice_state_move(b, most, subject->want, subject->want_len, &subject->policy) == 0 &&
	       memcmp(a, b, most) == 0;
}

/* Compares what lies in Redis with what should; it is what the next round may go on with. */
static void check_state(struct trial *trial, struct subject *subject, bool changed, bool comparable)
{
	redisReply *reply;
	size_t len = redis_client_state(&trial->server, subject->key, &reply);
	const uint8_t *got = len > 0 ? (const uint8_t *)reply->str : (const uint8_t *)"";

	if (!changed && (len != subject->len || memcmp(got, subject->state, len) != 0))
		complain(trial, subject, "the state was changed");
	else if (changed && comparable && !same_state(subject, got, len))
		complain(trial, subject, "the state is another than the core's");
	if (len > STATE_MAX)
		abort();
	memcpy(subject->state, got, len);
	subject->len = len;
	freeReplyObject(reply);
}

static int submit(struct trial *trial, struct store_op *op)
{
	int result;

	if (!trial->module || (trial->script && random_one_in(&trial->random, 2)))
		return redis_client_submit(&trial->server, op, trial->now_us);
	result = module_client_submit(&trial->client, op, trial->now_us);
	if (result != 0 && result != -EIO)
		fprintf(stderr, "module: %s\n", trial->client.error);
	return result;
}

/* A time that a refund may name: that of the newest take, or a little before it. */
static uint64_t draw_given(struct random *random, const struct subject *subject)
{
	uint64_t newest_us = 0, before_us = random_one_in(random, 2) ? 0 : random_below(random, 1000000);

	if (subject->len >= 12)
		memcpy(&newest_us, subject->state + 4, sizeof newest_us);
	if (newest_us > SLUICE_TIME_MAX_US)
		newest_us = SLUICE_TIME_MAX_US;
	return newest_us > before_us ? newest_us - before_us : 0;
}

static void play(struct trial *trial)
{
	static const enum store_verb verbs[] = { STORE_TAKE, STORE_TAKE, STORE_TAKE, STORE_PEEK, STORE_REFUND };
	struct random *random = &trial->random;
	struct store_op op = { .verb = verbs[random_below(random, 5)],
		               .n = (uint8_t)(random_one_in(random, 2) ? 1
		                                                       : random_between(random, 1, STORE_TAKES_MAX)) };
	struct store_op want;
	bool comparable = true;
	int result, wanted;

	if (op.verb == STORE_REFUND && trial->module) /* which gives back to one key a command */
		op.n = 1;
	for (unsigned i = 0; i < op.n; i++) {
		struct subject *subject = &trial->subjects[i];

		draw_subject(trial, subject, i);
		comparable = comparable && orderly(subject);
		op.takes[i] = (struct store_take){
			.policy = &subject->policy,
			.key = subject->key,
			.key_len = (uint16_t)strlen(subject->key),
			.cost = (uint32_t)random_magnitude(random, 1, random_one_in(random, 8) ? 2 * LIMIT_MOST : 4),
			.decision.at_us = draw_given(random, subject),
		};
	}
	want = op;
	wanted = expect(trial, &want);
	result = submit(trial, &op);
	if (result != wanted)
		complain(trial, &trial->subjects[0], "the result is another than the core's");
	for (unsigned i = 0; i < op.n && result == 0 && wanted == 0; i++)
		if (comparable ? !same_decision(&op.takes[i].decision, &want.takes[i].decision)
		               : !right_kind(op.verb, &op.takes[i]))
			complain(trial, &trial->subjects[i], "the decision is another than the core's");
	for (unsigned i = 0; i < op.n; i++)
		check_state(trial, &trial->subjects[i],
		            wanted == 0 && ((op.verb == STORE_TAKE && op.allowed) || op.verb == STORE_REFUND),
		            comparable);
	trial->disorderly += !comparable;
	trial->malformed += wanted != 0;
	trial->allowed += wanted == 0 && op.allowed;
	trial->denied += wanted == 0 && !op.allowed;
}

static int prepare(struct trial *trial, const char *what, uint64_t seed)
{
	trial->script = strcmp(what, "module") != 0;
	trial->module = strcmp(what, "redis") != 0;
	if (trial->script && trial->module && strcmp(what, "mixed") != 0) {
		fprintf(stderr, "usage: redis_states redis|module|mixed [ROUNDS]\n");
		return -1;
	}
	random_seed(&trial->random, seed);
	trial->now_us = UINT64_C(1700000000000000);
	for (unsigned i = 0; i < STORE_TAKES_MAX; i++) {
		trial->subjects[i].state = malloc(STATE_MAX);
		trial->subjects[i].want = malloc(STATE_MAX);
		if (trial->subjects[i].state == NULL || trial->subjects[i].want == NULL)
			return -1;
	}
	return trial->module ? module_client_start(&trial->client, &trial->server, seed)
	                     : redis_server_start(&trial->server, NULL);
}

static void finish(struct trial *trial)
{
	if (trial->module)
		module_client_stop(&trial->client);
	else
		redis_server_stop(&trial->server);
	for (unsigned i = 0; i < STORE_TAKES_MAX; i++) {
		free(trial->subjects[i].state);
		free(trial->subjects[i].want);
	}
}

int main(int argc, char **argv)
{
	static struct trial trial;
	uint64_t seed, rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;

	if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
		return 2;
	seed = getenv("SLUICE_SEED") != NULL ? strtoull(getenv("SLUICE_SEED"), NULL, 10) : seed >> 32;
	if (prepare(&trial, argc > 1 ? argv[1] : "", seed) != 0)
		return 2;
	for (trial.round = 0; trial.round < rounds && !trial.failed; trial.round++) {
		trial.now_us += random_magnitude(&trial.random, 1, 30000000);
		if (random_one_in(&trial.random, 20)) /* the clock steps back */
			trial.now_us -= random_magnitude(&trial.random, 1, 60000000);
		play(&trial);
	}
	finish(&trial);
	printf("seed %" PRIu64 ", %" PRIu64 " rounds: %" PRIu64 " allowed, %" PRIu64 " denied, %" PRIu64
	       " malformed, %" PRIu64 " out of order\n",
	       seed, trial.round, trial.allowed, trial.denied, trial.malformed, trial.disorderly);
	/* A run that has met only one kind of answer has tested nothing. */
	return trial.failed || (rounds >= 1000 && (trial.allowed == 0 || trial.denied == 0 || trial.malformed == 0));
}
