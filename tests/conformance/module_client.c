/* SPDX-License-Identifier: Apache-2.0 */
#include "module_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "redis-module/packed.h"

enum { WORDS_MAX = 4 + STORE_TAKES_MAX * 8, TEXT_MAX = 1024, PACKED_MAX = 2 + STORE_TAKES_MAX * (17 + 5) + 1 };

/* A command as it is put together. */
struct words {
	const char *at[WORDS_MAX];
	size_t len[WORDS_MAX];
	int n;
	char text[TEXT_MAX]; /* what was written for it */
	size_t text_len;
};

static void add_bytes(struct words *words, const char *bytes, size_t len)
{
	words->at[words->n] = bytes;
	words->len[words->n++] = len;
}

static void add(struct words *words, const char *text)
{
	add_bytes(words, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void add_text(struct words *words, const char *format, ...)
{
	char *at = words->text + words->text_len;
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(at, TEXT_MAX - words->text_len, format, arguments);
	va_end(arguments);
	if (len < 0 || (size_t)len >= TEXT_MAX - words->text_len)
		abort();
	words->text_len += (size_t)len + 1;
	add_bytes(words, at, (size_t)len);
}

/* `algorithm limit window [AT time] [BURST n] [COST n]`. What may be left out is, half of the time. */
static void add_take(struct words *words, struct random *random, const struct store_take *take, const char *option)
{
	const struct sluice_policy *policy = take->policy;

	add(words, sluice_algorithm_name(policy->algorithm));
	add_text(words, "%" PRIu32, policy->limit);
	if (policy->window_us % 60000000 == 0 && random_one_in(random, 2))
		add_text(words, "%" PRIu64 "m", policy->window_us / 60000000);
	else
		add_text(words, "%" PRIu64 "us", policy->window_us);
	if (option != NULL)
		add(words, option);
	if (option != NULL && strcmp(option, "AT") == 0)
		add_text(words, "%" PRIu64, take->decision.at_us);
	if (policy->burst != policy->limit || (policy->algorithm == SLUICE_TOKEN_BUCKET && random_one_in(random, 2))) {
		add(words, "BURST");
		add_text(words, "%" PRIu32, policy->burst);
	}
	if (take->cost != 1 || random_one_in(random, 2)) {
		add(words, "cost");
		add_text(words, "%" PRIu32, take->cost);
	}
}

static int fail(struct module_client *client, int result, const char *why)
{
	snprintf(client->error, sizeof client->error, "%s", why);
	return result;
}

/* An error of a whole command, or of one key. */
static int refused(struct module_client *client, const char *error)
{
	return fail(client, strncmp(error, "ERR key holds no state", 22) == 0 ? -EIO : -EREMOTEIO, error);
}

/* @return the reply, or NULL when there is none, or an error. *result is then that of module_client_submit(). */
static redisReply *ask(struct module_client *client, const struct words *words, int *result)
{
	redisReply *reply = redisCommandArgv(client->server->context, words->n, (const char **)words->at, words->len);

	*result = 0;
	if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
		return reply;
	*result = refused(client, reply != NULL ? reply->str : client->server->context->errstr);
	if (reply != NULL)
		freeReplyObject(reply);
	return NULL;
}

/* @param with_time  whether a sixth integer is the time that was decided for; else it stays. */
static int read_answer(struct module_client *client, const redisReply *reply, bool with_time,
                       struct sluice_decision *out)
{
	size_t n = with_time ? 6 : 5;
	long long number[6];

	fail(client, -EPROTO, "this is not the answer of the command");
	if (reply->type == REDIS_REPLY_ERROR) /* of one key of an EACH */
		return refused(client, reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n)
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		if (reply->element[i]->type != REDIS_REPLY_INTEGER)
			return -EPROTO;
		number[i] = reply->element[i]->integer;
		if (number[i] < (i == 3 ? -1 : 0) || (i > 0 && i < 3 && number[i] > UINT32_MAX))
			return -EPROTO;
	}
	out->allowed = number[0] == 1;
	out->limit = (uint32_t)number[1];
	out->remaining = (uint32_t)number[2];
	out->retry_after_us = number[3] == -1 ? SLUICE_NEVER : (uint64_t)number[3];
	out->reset_after_us = (uint64_t)number[4];
	if (with_time)
		out->at_us = (uint64_t)number[5];
	return number[0] == 0 || number[0] == 1 ? 0 : -EPROTO;
}

static bool same_decision(const struct sluice_decision *a, const struct sluice_decision *b)
{
	return a->allowed == b->allowed && a->limit == b->limit && a->remaining == b->remaining &&
	       a->retry_after_us == b->retry_after_us && a->reset_after_us == b->reset_after_us && a->at_us == b->at_us;
}

/* TAKE of one key, or what it would answer. */
static int take_one(struct module_client *client, const struct store_take *take, bool peek, struct sluice_decision *out)
{
	struct words words = { 0 };
	redisReply *reply;
	int result;

	add(&words, "SLUICE.TAKE");
	add_bytes(&words, take->key, take->key_len);
	add_take(&words, &client->random, take, peek ? "PEEK" : NULL);
	add(&words, "WITHTIME");
	reply = ask(client, &words, &result);
	if (reply == NULL)
		return result;
	result = read_answer(client, reply, true, out);
	freeReplyObject(reply);
	return result;
}

/* What it is, and the same again by the command that does nothing else, which does not tell the time. */
static int peek_one(struct module_client *client, struct store_take *take)
{
	struct sluice_decision again;
	struct words words = { 0 };
	redisReply *reply;
	int result = take_one(client, take, true, &take->decision);

	if (result != 0)
		return result;
	add(&words, "sluice.peek");
	add_bytes(&words, take->key, take->key_len);
	add_take(&words, &client->random, take, NULL);
	reply = ask(client, &words, &result);
	if (reply == NULL)
		return result;
	again = take->decision;
	result = read_answer(client, reply, false, &again);
	freeReplyObject(reply);
	if (result == 0 && !same_decision(&again, &take->decision))
		return fail(client, -EPROTO, "PEEK answers otherwise than TAKE with PEEK");
	return result;
}

static int refund_one(struct module_client *client, struct store_take *take)
{
	struct words words = { 0 };
	struct store_take one = *take;
	struct sluice_decision after;
	redisReply *reply;
	int result;

	add(&words, "SLUICE.REFUND");
	add_bytes(&words, take->key, take->key_len);
	add_take(&words, &client->random, take, "AT");
	reply = ask(client, &words, &result);
	if (reply == NULL)
		return result;
	result = read_answer(client, reply, false, &take->decision);
	freeReplyObject(reply);
	if (result != 0)
		return result;
	/* It does not tell the time; and it promises what a peek of one unit answers. */
	one.cost = 1;
	result = take_one(client, &one, true, &after);
	take->decision.at_us = after.at_us;
	if (result == 0 && !same_decision(&after, &take->decision))
		return fail(client, -EPROTO, "REFUND answers otherwise than a peek after it");
	return result;
}

static int reset(struct module_client *client, const struct store_op *op)
{
	struct words words = { 0 };
	redisReply *reply;
	int result;

	add(&words, "SLUICE.RESET");
	for (unsigned i = 0; i < op->n; i++)
		add_bytes(&words, op->takes[i].key, op->takes[i].key_len);
	reply = ask(client, &words, &result);
	if (reply == NULL)
		return result;
	result = reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0 && reply->integer <= op->n ? 0 : -EPROTO;
	freeReplyObject(reply);
	return result;
}

/* Takes in words. The time is not told; it is that of a peek behind it, whether it took or not. */
static int take_in_words(struct module_client *client, struct store_op *op)
{
	struct words words = { 0 };
	redisReply *reply;
	int result;

	add(&words, "SLUICE.MTAKE");
	add(&words, op->n == 1 && random_one_in(&client->random, 2) ? "EACH" : "ALL");
	add_text(&words, "%u", op->n);
	for (unsigned i = 0; i < op->n; i++)
		add_bytes(&words, op->takes[i].key, op->takes[i].key_len);
	for (unsigned i = 0; i < op->n; i++)
		add_take(&words, &client->random, &op->takes[i], NULL);
	reply = ask(client, &words, &result);
	if (reply == NULL)
		return result;
	result = reply->type == REDIS_REPLY_ARRAY && reply->elements == op->n ? 0 : -EPROTO;
	for (unsigned i = 0; result == 0 && i < op->n; i++) {
		struct sluice_decision peeked = { 0 };

		result = read_answer(client, reply->element[i], false, &op->takes[i].decision);
		if (result == 0)
			result = take_one(client, &op->takes[i], true, &peeked);
		op->takes[i].decision.at_us = peeked.at_us;
	}
	freeReplyObject(reply);
	return result;
}

static size_t put(char *to, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (char)(number >> 8 * i);
	return bytes;
}

/* Policies first, each once though several keys may have it. */
static size_t pack(char *to, const struct store_op *op)
{
	unsigned policies[STORE_TAKES_MAX], n = 0;
	size_t len = 2;

	for (unsigned i = 0; i < op->n; i++) {
		const struct sluice_policy *policy = op->takes[i].policy;

		policies[i] = n;
		for (unsigned j = 0; j < i && policies[i] == n; j++) {
			if (memcmp(op->takes[j].policy, policy, sizeof *policy) == 0)
				policies[i] = policies[j];
		}
		if (policies[i] < n)
			continue;
		n++;
		len += put(to + len, policy->algorithm, 1);
		len += put(to + len, policy->limit, 4);
		len += put(to + len, policy->burst == policy->limit ? 0 : policy->burst, 4);
		len += put(to + len, policy->window_us, 8);
	}
	put(to, PACKED_FORMAT, 1);
	put(to + 1, n, 1);
	len += put(to + len, op->n, 1);
	for (unsigned i = 0; i < op->n; i++) {
		len += put(to + len, policies[i], 1);
		len += put(to + len, op->takes[i].cost, 4);
	}
	return len;
}

static uint64_t get(const char *at, unsigned bytes)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < bytes; i++)
		number |= (uint64_t)(uint8_t)at[i] << 8 * i;
	return number;
}

static double get_double(const char *at)
{
	uint64_t bits = get(at, 8);
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

static int unpack(struct module_client *client, struct store_op *op, const redisReply *reply)
{
	fail(client, -EPROTO, "this is not the answer of the command");
	if (reply->type != REDIS_REPLY_STRING || reply->len != (size_t)PACKED_ANSWER_LEN * op->n)
		return -EPROTO;
	for (unsigned i = 0; i < op->n; i++) {
		const char *at = reply->str + (size_t)PACKED_ANSWER_LEN * i;
		double retry_us = get_double(at + 5);

		if (at[0] == PACKED_MALFORMED)
			return fail(client, -EIO, "packed: a state is not understood");
		if (at[0] == PACKED_WRONG_KIND)
			return fail(client, -EREMOTEIO, "packed: WRONGTYPE");
		if (at[0] != 0 && at[0] != PACKED_ALLOWED)
			return -EPROTO;
		op->takes[i].decision = (struct sluice_decision){
			.allowed = at[0] == PACKED_ALLOWED,
			.limit = op->takes[i].policy->burst,
			.remaining = (uint32_t)get(at + 1, 4),
			.retry_after_us = retry_us < 0 ? SLUICE_NEVER : (uint64_t)retry_us,
			.reset_after_us = (uint64_t)get_double(at + 13),
			.at_us = (uint64_t)get_double(at + 21),
		};
	}
	return 0;
}

static int take_packed(struct module_client *client, struct store_op *op)
{
	struct words words = { 0 };
	char packed[PACKED_MAX];
	redisReply *reply;
	int result;

	add(&words, "SLUICE.MTAKE");
	add(&words, "EACH");
	add_text(&words, "%u", op->n);
	for (unsigned i = 0; i < op->n; i++)
		add_bytes(&words, op->takes[i].key, op->takes[i].key_len);
	add(&words, "PACKED");
	add_bytes(&words, packed, pack(packed, op));
	reply = ask(client, &words, &result);
	if (reply == NULL)
		return result;
	result = unpack(client, op, reply);
	freeReplyObject(reply);
	return result;
}

static int take(struct module_client *client, struct store_op *op)
{
	uint64_t way = random_below(&client->random, op->n == 1 ? 3 : 2);

	if (way == 0)
		return take_packed(client, op);
	if (way == 1)
		return take_in_words(client, op);
	return take_one(client, &op->takes[0], false, &op->takes[0].decision);
}

static long long ask_number(struct module_client *client, const char *command, const struct store_take *take)
{
	redisReply *reply = redisCommand(client->server->context, "%s %b", command, take->key, (size_t)take->key_len);
	long long number = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -3;

	if (reply != NULL)
		freeReplyObject(reply);
	return number;
}

/* A key must not expire before its state is an empty one. One that the test has written itself, with the note of an
 * expiry that it had once (redis-module/note.h), may stay for ever. */
static int check_expiry(struct module_client *client, const struct store_take *take, uint64_t now_us)
{
	struct timespec real;
	int64_t needed_ms = (int64_t)((now_us + take->decision.reset_after_us) / 1000) + MODULE_FAR_MS, ends_ms;

	ends_ms = ask_number(client, "PTTL", take);
	if (ends_ms == -1)
		return 0;
	clock_gettime(CLOCK_REALTIME, &real);
	ends_ms += (int64_t)real.tv_sec * 1000 + real.tv_nsec / 1000000;
	return ends_ms > needed_ms ? 0 : fail(client, -EPROTO, "the key expires before its state is empty");
}

int module_client_submit(struct module_client *client, struct store_op *op, uint64_t now_us)
{
	int result = 0;

	if (client->clock_us != NULL)
		__atomic_store_n(client->clock_us, now_us, __ATOMIC_RELEASE);
	if (op->verb == STORE_RESET)
		return reset(client, op);
	if (op->verb == STORE_TAKE)
		result = take(client, op);
	for (unsigned i = 0; op->verb != STORE_TAKE && result == 0 && i < op->n; i++)
		result = op->verb == STORE_PEEK ? peek_one(client, &op->takes[i]) : refund_one(client, &op->takes[i]);
	op->allowed = result == 0;
	for (unsigned i = 0; i < op->n && op->allowed; i++)
		op->allowed = op->takes[i].decision.allowed;
	if (op->verb == STORE_TAKE && op->allowed && client->clock_us != NULL && random_one_in(&client->random, 4))
		result = check_expiry(client, &op->takes[random_below(&client->random, op->n)], now_us);
	return result;
}

/* @param variable  names the module. */
static int start(struct module_client *client, struct redis_server *server, uint64_t seed, const char *variable)
{
	const char *module = getenv(variable);
	const char *const options[] = { "--loadmodule", module, NULL };

	client->server = server;
	random_seed(&client->random, seed);
	if (module != NULL && module[0] != '\0')
		return redis_server_start(server, options);
	fprintf(stderr, "%s does not name the module\n", variable);
	return -1;
}

int module_client_start_unclocked(struct module_client *client, struct redis_server *server, uint64_t seed)
{
	memset(client, 0, sizeof *client);
	return start(client, server, seed, "SLUICE_TEST_MODULE");
}

int module_client_start(struct module_client *client, struct redis_server *server, uint64_t seed)
{
	char number[12];
	int clock = memfd_create("sluice-clock", 0); /* the server inherits it */
	int result = -1;
	void *map = MAP_FAILED;

	memset(client, 0, sizeof *client);
	snprintf(number, sizeof number, "%d", clock);
	if (clock >= 0 && ftruncate(clock, sizeof *client->clock_us) == 0 &&
	    setenv("SLUICE_TEST_CLOCK", number, 1) == 0)
		map = mmap(NULL, sizeof *client->clock_us, PROT_READ | PROT_WRITE, MAP_SHARED, clock, 0);
	if (map == MAP_FAILED) {
		perror("the clock of the test");
	} else {
		client->clock_us = map;
		result = start(client, server, seed, "SLUICE_TEST_CLOCKED_MODULE");
	}
	if (clock >= 0)
		close(clock);
	return result;
}

void module_client_stop(struct module_client *client)
{
	redis_server_stop(client->server);
	if (client->clock_us != NULL)
		munmap(client->clock_us, sizeof *client->clock_us);
	client->clock_us = NULL;
}
