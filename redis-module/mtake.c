/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtake.c: SLUICE.MTAKE: many keys in one command.
 *
 * The time of a decision goes into waiting for memory: the server's table, the key, the value, the state. Single keys
 * are therefore opened some at a time, then read, then decided: these waits overlap. More at a time would push out of
 * the nearest cache what the first of them brought in.
 */
#include <string.h>

#include "redis-module/clock.h"
#include "redis-module/effects.h"
#include "redis-module/key.h"
#include "redis-module/module.h"
#include "redis-module/names.h"
#include "redis-module/packed.h"

#define KEYS_MAX NAMES_MAX
#define AT_A_TIME 16
#define POLICIES_MAX (KEYS_MAX > 255 ? KEYS_MAX : 255)
#define MODE (REDIS_READ | REDIS_WRITE)

enum { MODE_WORD = 1, COUNT_WORD = 2, FIRST_KEY = 3 };

struct outcome {
	int result; /* of key.h */
	struct sluice_decision decision;
};

struct batch {
	RedisModuleCtx *ctx;
	RedisModuleString **names;
	size_t n;
	bool packed;
	uint64_t now_us;
	struct take takes[KEYS_MAX];
	struct outcome outcomes[KEYS_MAX];
	struct sluice_policy policies[POLICIES_MAX];
};

static void close_keys(struct key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		key_release(&keys[i]);
	for (size_t i = 0; i < n; i++)
		key_tell(&keys[i]);
}

/* From here on so many keys, all different, each for itself. */
static void decide_each(struct batch *batch, size_t from, size_t n)
{
	struct key keys[AT_A_TIME];

	for (size_t i = 0; i < n; i++)
		key_open(&keys[i], batch->ctx, batch->names[from + i], MODE);
	for (size_t i = 0; i < n; i++)
		batch->outcomes[from + i].result = key_read(&keys[i], MODE);
	for (size_t i = 0; i < n; i++) {
		const struct take *take = &batch->takes[from + i];
		struct outcome *outcome = &batch->outcomes[from + i];

		if (outcome->result == KEY_OK)
			outcome->result =
				key_take(&keys[i], take->policy, batch->now_us, take->cost, &outcome->decision);
	}
	close_keys(keys, n);
}

/* @return KEY_OK when all can be decided; *allowed says whether all are allowed. The outcomes are those of a peek. */
static int peek_together(struct batch *batch, const struct key *keys, size_t from, size_t n, bool *allowed)
{
	*allowed = true;
	for (size_t i = 0; i < n; i++) {
		const struct take *take = &batch->takes[from + i];
		struct outcome *outcome = &batch->outcomes[from + i];

		outcome->result = key_peek(&keys[i], take->policy, batch->now_us, take->cost, &outcome->decision);
		if (outcome->result != KEY_OK)
			return outcome->result;
		*allowed = *allowed && outcome->decision.allowed;
	}
	return KEY_OK;
}

/* From here on so many keys, all different, all or nothing. */
static void decide_together(struct batch *batch, size_t from, size_t n)
{
	struct key keys[KEYS_MAX];
	bool allowed = false;
	int result = KEY_OK;

	for (size_t i = 0; i < n; i++)
		key_open(&keys[i], batch->ctx, batch->names[from + i], MODE);
	for (size_t i = 0; result == KEY_OK && i < n; i++)
		result = key_read(&keys[i], MODE);
	if (result == KEY_OK)
		result = peek_together(batch, keys, from, n, &allowed);
	for (size_t i = 0; i < n; i++) {
		const struct take *take = &batch->takes[from + i];
		struct outcome *outcome = &batch->outcomes[from + i];

		if (result == KEY_OK && allowed)
			outcome->result =
				key_take(&keys[i], take->policy, batch->now_us, take->cost, &outcome->decision);
		else
			outcome->result = result;
	}
	close_keys(keys, n);
}

static size_t singles_from(const struct batch *batch, size_t from)
{
	size_t n = 0;

	while (n < AT_A_TIME && from + n < batch->n && batch->takes[from + n].together == 1)
		n++;
	return n;
}

static void decide(struct batch *batch)
{
	size_t i = 0;

	while (i < batch->n) {
		size_t n = singles_from(batch, i);

		if (n > 0) {
			n = names_distinct(batch->names + i, n);
			decide_each(batch, i, n);
		} else {
			n = batch->takes[i].together;
			decide_together(batch, i, n);
		}
		i += n;
	}
}

/* Requests of several keys: none may come twice in one. */
static int check_together(const struct batch *batch, struct why *why)
{
	for (size_t i = 0; i < batch->n; i++) {
		size_t n = batch->takes[i].together;
		size_t distinct = n > 1 ? names_distinct(batch->names + i, n) : n;
		char quoted[WHY_QUOTED_MAX];
		struct word again;

		if (distinct == n)
			continue;
		module_words(&again, batch->names + i + distinct, 1);
		return why_set(why, "key %s comes twice in one request; give each key once",
		               word_quote(&again, quoted));
	}
	return 0;
}

static int read_policies(struct batch *batch, const struct word *words, size_t n, bool all, struct why *why)
{
	size_t policies = 0;

	while (n > 0) {
		struct arguments arguments;
		char quoted[WHY_QUOTED_MAX];
		size_t used;

		if (policies == batch->n)
			return why_set(why, "%s stands after a policy for each key (numkeys is %zu)",
			               word_quote(words, quoted), batch->n);
		if (arguments_read(&arguments, &module.memo, ARGUMENT_COST, words, n, &used, why) != 0)
			return -1;
		batch->policies[policies] = arguments.policy;
		batch->takes[policies] = (struct take){ &batch->policies[policies], arguments.cost, 1 };
		policies++;
		words += used;
		n -= used;
	}
	if (policies != 1 && policies != batch->n)
		return why_set(why, "%zu policies for %zu keys; give one for each, or one for all", policies, batch->n);
	for (size_t i = policies; i < batch->n; i++)
		batch->takes[i] = batch->takes[0];
	for (size_t i = 0; all && i < batch->n; i++)
		batch->takes[i].together = i == 0 ? (uint32_t)batch->n : 0;
	return 0;
}

/* How many keys follow. The server reads this word too, to know which keys a user touches and where they lie in a
 * Cluster: what it takes for no number, it takes for no keys. So only what both read alike is a number here. */
static int read_numkeys(const struct word *word, uint64_t *count, struct why *why)
{
	if (word->len > 1 && word->at[0] == '0')
		return why_set(why, "numkeys must be a whole number from 1 to %d without zeros in front", KEYS_MAX);
	return word_number(word, "numkeys", 1, KEYS_MAX, count, why);
}

/* The words of keys are left out: only the server reads them. */
static int read_batch(struct batch *batch, struct word *words, size_t n, struct why *why)
{
	bool all = word_is(&words[MODE_WORD], "ALL");
	uint64_t count;

	if (!all && !word_is(&words[MODE_WORD], "EACH"))
		return why_set(why, "mode must be ALL or EACH");
	if (read_numkeys(&words[COUNT_WORD], &count, why) != 0)
		return -1;
	if (count > n - FIRST_KEY)
		return why_set(why, "numkeys is %zu, but only %zu words follow", (size_t)count, n - FIRST_KEY);
	batch->n = (size_t)count;
	words += FIRST_KEY + count;
	n -= FIRST_KEY + count;
	module_words(words, batch->names + count, n);
	batch->packed = n > 0 && word_is(&words[0], "PACKED");
	if (!batch->packed)
		return n > 0 ? read_policies(batch, words, n, all, why)
		             : why_set(why, "the policy is missing: algorithm limit window");
	if (all)
		return why_set(why, "PACKED goes with EACH");
	if (n != 2)
		return why_set(why, "PACKED needs one word after it");
	return packed_read(batch->takes, batch->n, batch->policies, words[1].at, words[1].len, why);
}

static void reply_packed(struct batch *batch)
{
	char answers[PACKED_ANSWER_LEN * KEYS_MAX], *at = answers;

	for (size_t i = 0; i < batch->n; i++, at += PACKED_ANSWER_LEN) {
		const struct outcome *outcome = &batch->outcomes[i];

		if (outcome->result == KEY_OK)
			packed_answer(at, &outcome->decision);
		else
			packed_failure(at, outcome->result == KEY_WRONGTYPE ? PACKED_WRONG_KIND : PACKED_MALFORMED);
	}
	redis.ReplyWithStringBuffer(batch->ctx, answers, (size_t)(at - answers));
}

static int reply(struct batch *batch)
{
	bool all = batch->takes[0].together > 1;

	for (size_t i = 0; i < batch->n; i++) {
		if (batch->outcomes[i].result == KEY_OK)
			module_count(&batch->outcomes[i].decision);
	}
	if (batch->packed) {
		reply_packed(batch);
		return REDIS_OK;
	}
	if (all && batch->outcomes[0].result != KEY_OK)
		return module_refuse(batch->ctx, batch->outcomes[0].result);
	redis.ReplyWithArray(batch->ctx, (long)batch->n);
	for (size_t i = 0; i < batch->n; i++) {
		if (batch->outcomes[i].result == KEY_OK)
			module_reply(batch->ctx, &batch->outcomes[i].decision, false);
		else
			module_refuse(batch->ctx, batch->outcomes[i].result);
	}
	return REDIS_OK;
}

/* The server asks which words are keys. What makes no sense has none. */
static int tell_keys(RedisModuleCtx *ctx, const struct word *words, size_t n)
{
	struct why ignored;
	uint64_t count;

	if (read_numkeys(&words[COUNT_WORD], &count, &ignored) != 0 || count > n - FIRST_KEY)
		return REDIS_OK;
	for (size_t i = 0; i < count; i++)
		redis.KeyAtPos(ctx, (int)(FIRST_KEY + i));
	return REDIS_OK;
}

/* A unit of a sliding-log is an entry that is written: what one command writes, and how long it keeps the server, is
 * bounded as that of a single take is. */
static int check_costs(const struct batch *batch, struct why *why)
{
	uint64_t entries = 0;

	for (size_t i = 0; i < batch->n; i++) {
		const struct take *take = &batch->takes[i];

		if (take->policy->algorithm == SLUICE_SLIDING_LOG && take->cost <= take->policy->limit)
			entries += take->cost;
	}
	if (entries > SLUICE_LIMIT_MAX)
		return why_set(why,
		               "the costs of all sliding-logs in one command must not exceed %u; send several commands",
		               (unsigned)SLUICE_LIMIT_MAX);
	return 0;
}

/* Many words: their places are kept by whoever calls. */
static int take_many(RedisModuleCtx *ctx, RedisModuleString **argv, struct word *words, size_t n)
{
	struct batch batch;
	struct why why;

	batch.ctx = ctx;
	batch.names = argv + FIRST_KEY;
	if (read_batch(&batch, words, n, &why) != 0 || check_together(&batch, &why) != 0 ||
	    check_costs(&batch, &why) != 0)
		return module_error(ctx, &why);
	batch.now_us = module_now_us();
	decide(&batch);
	return reply(&batch);
}

int mtake_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	struct word few[AT_A_TIME * 8], *words = few;
	size_t n = (size_t)argc;
	int result;

	if (argc < FIRST_KEY + 2)
		return redis.IsKeysPositionRequest(ctx) ? REDIS_OK : redis.WrongArity(ctx);
	if (n > sizeof few / sizeof few[0])
		words = redis.Alloc(n * sizeof *words);
	module_words(words, argv, FIRST_KEY);
	if (redis.IsKeysPositionRequest(ctx)) {
		result = tell_keys(ctx, words, n);
	} else {
		effects_begin();
		result = take_many(ctx, argv, words, n);
	}
	if (words != few)
		redis.Free(words);
	return result;
}
