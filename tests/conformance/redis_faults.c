/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_faults.c: the program's own scripts, or our module, on the server's clock: what they leave behind, and what
 * happens when Redis refuses.
 *
 * usage: redis_faults redis|module. SLUICE_TEST_MODULE names the module.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "module_client.h"
#include "store/redis/script.h"

/* How much longer than its state a key of a minute's window may live. The module's may live an eighth longer, so that
 * its end need not be moved at each take. */
#define LONGER_MS (by_module ? 1001 + 7500 + 1 : 2001)

#define PREFIX "rate_limit:"
#define CLIENT "per-client:{10.0.0.160}"

static struct redis_server server;
static struct module_client module;
static bool by_module;

static redisReply *send_buffer(struct redis_buffer *call)
{
	void *reply = NULL;

	assert_false(call->failed);
	assert_int_equal(redisAppendFormattedCommand(server.context, call->bytes, call->len), REDIS_OK);
	assert_int_equal(redisGetReply(server.context, &reply), REDIS_OK);
	redis_buffer_free(call);
	return reply;
}

/* @param error  out, may be NULL: what the server said. @return 0 or a negative errno. */
static int submit_to_script(struct store_op *op, char error[160])
{
	struct redis_buffer call = { 0 };
	redisReply *reply;
	int result = -EREMOTEIO;

	redis_script_call(&call, PREFIX, op, (UINT32_C(1) << op->n) - 1, true);
	reply = send_buffer(&call);
	if (reply->type == REDIS_REPLY_STRING)
		result = redis_script_reply(op, (UINT32_C(1) << op->n) - 1, reply->str, reply->len, &op->allowed);
	else
		snprintf(error, 160, "%s", reply->str);
	freeReplyObject(reply);
	return result;
}

static int submit_to_module(struct store_op *op, char error[160])
{
	static char names[STORE_TAKES_MAX][64];
	struct store_op prefixed = *op;
	int result;

	for (unsigned i = 0; i < op->n; i++) {
		prefixed.takes[i].key_len =
			(uint16_t)snprintf(names[i], sizeof names[i], PREFIX "%s", op->takes[i].key);
		prefixed.takes[i].key = names[i];
	}
	result = module_client_submit(&module, &prefixed, 0);
	op->allowed = prefixed.allowed;
	for (unsigned i = 0; i < op->n; i++)
		op->takes[i].decision = prefixed.takes[i].decision;
	if (result != 0)
		strcpy(error, module.error);
	return result;
}

static int submit(struct store_op *op, char error[160])
{
	return by_module ? submit_to_module(op, error) : submit_to_script(op, error);
}

static long long ask_number(const char *format, const char *argument)
{
	redisReply *reply = redisCommand(server.context, format, argument);
	long long number;

	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
	number = reply->integer;
	freeReplyObject(reply);
	return number;
}

static void must(const char *format, const char *argument)
{
	redisReply *reply = redisCommand(server.context, format, argument);

	assert_non_null(reply);
	assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
	freeReplyObject(reply);
}

static uint64_t server_time_us(void)
{
	redisReply *reply = redisCommand(server.context, "TIME");
	uint64_t now_us;

	assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
	now_us = strtoull(reply->element[0]->str, NULL, 10) * 1000000 + strtoull(reply->element[1]->str, NULL, 10);
	freeReplyObject(reply);
	return now_us;
}

static struct store_op op_of(enum store_verb verb, const struct sluice_policy *policy, unsigned n)
{
	static const char *const keys[] = { CLIENT, "second:{10.0.0.160}", "third:{10.0.0.160}" };
	struct store_op op = { .verb = verb, .n = (uint8_t)n };

	for (unsigned i = 0; i < n; i++)
		op.takes[i] = (struct store_take){
			.policy = policy, .key = keys[i], .key_len = (uint16_t)strlen(keys[i]), .cost = 1
		};
	return op;
}

static void decide(struct store_op *op)
{
	char error[160] = "";

	if (submit(op, error) != 0)
		fail_msg("%s", error);
}

/* @param word  of the error. */
static void assert_refused(struct store_op *op, const char *word)
{
	char error[160] = "";

	assert_int_equal(submit(op, error), -EREMOTEIO);
	if (strstr(error, word) == NULL)
		fail_msg("%s", error);
}

static struct sluice_policy policy_of(enum sluice_algorithm algorithm, uint32_t limit)
{
	struct sluice_policy policy;

	assert_int_equal(sluice_policy_init(&policy, algorithm, limit, 60000000, 0, NULL), 0);
	return policy;
}

/* The key lives as long as its state: asked when it ends, not how long it still lives, which is less after a pause. A
 * server before Redis 7 tells the latter alone; it ends at the latest that long after the answer. */
static void assert_outlives(const char *key, uint64_t until_us)
{
	long long left_ms = ask_number("PTTL " PREFIX "%s", key);

	if (left_ms >= 0)
		assert_true(server_time_us() + (uint64_t)left_ms * 1000 + 999 >= until_us);
	else
		assert_true(left_ms == -2 && server_time_us() >= until_us);
}

/* Time is the server's, the key lives a little longer than its state, and a denied take changes nothing. */
static void test_attack(void **state)
{
	for (int algorithm = SLUICE_SLIDING_LOG; algorithm <= SLUICE_TOKEN_BUCKET; algorithm++) {
		struct sluice_policy policy = policy_of((enum sluice_algorithm)algorithm, 10);
		struct store_op op = op_of(STORE_TAKE, &policy, 1);
		uint64_t from_us = server_time_us();
		int allowed = 0;
		long long reset_ms;

		for (int i = 0; i < 10; i++) {
			decide(&op);
			allowed += op.allowed;
		}
		assert_int_equal(allowed, 10);
		assert_true(op.takes[0].decision.at_us >= from_us && op.takes[0].decision.at_us <= server_time_us());
		reset_ms = (long long)(op.takes[0].decision.reset_after_us / 1000);
		for (int i = 0; i < 2000; i++) {
			long long left_ms = ask_number("PTTL %s", PREFIX CLIENT);

			assert_true(left_ms <= reset_ms + LONGER_MS);
			decide(&op);
			/* A bucket gives a unit back after 6 s. */
			assert_true(!op.allowed || algorithm == SLUICE_TOKEN_BUCKET);
			assert_outlives(CLIENT, op.takes[0].decision.at_us + op.takes[0].decision.reset_after_us);
		}
		assert_in_range(ask_number("MEMORY USAGE %s", PREFIX CLIENT), 1, 160);
		must("DEL %s", PREFIX CLIENT);
	}
}

/* By a command that may run when there is no memory for another key. */
static long long peek_remaining(const struct sluice_policy *policy, unsigned i)
{
	struct store_op op = op_of(STORE_PEEK, policy, i + 1);
	redisReply *reply;
	long long remaining;

	if (!by_module) {
		decide(&op);
		return op.takes[i].decision.remaining;
	}
	reply = redisCommand(server.context, "SLUICE.PEEK " PREFIX "%s %s %u %ums", op.takes[i].key,
	                     sluice_algorithm_name(policy->algorithm), policy->limit,
	                     (unsigned)(policy->window_us / 1000));
	assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
	remaining = reply->element[2]->integer;
	freeReplyObject(reply);
	return remaining;
}

/* Redis is full: all or nothing, and looking still works. */
static void test_out_of_memory(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10);
	struct store_op op = op_of(STORE_TAKE, &policy, 3);

	op.n = 1;
	decide(&op);
	op.n = 3;
	must("CONFIG SET maxmemory %s", "1");
	assert_refused(&op, "OOM");
	assert_int_equal(ask_number("DBSIZE%s", ""), 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(peek_remaining(&policy, i), 10 - (i == 0));
	must("CONFIG SET maxmemory %s", "0");
	op.verb = STORE_RESET;
	decide(&op);
	assert_int_equal(ask_number("DBSIZE%s", ""), 0);
}

/* The same when some are written as a whole and one, a long ring, in parts; and each key gets its time to live. */
static void test_out_of_memory_with_a_long_ring(void **state)
{
	struct sluice_policy small = policy_of(SLUICE_SLIDING_LOG, 10), large = policy_of(SLUICE_SLIDING_LOG, 5000);
	struct store_op op = op_of(STORE_TAKE, &large, 1);

	op.takes[0].cost = 400;
	decide(&op);
	op = op_of(STORE_TAKE, &small, 3);
	op.takes[0].policy = &large;
	must("CONFIG SET maxmemory %s", "1");
	assert_refused(&op, "OOM");
	must("CONFIG SET maxmemory %s", "0");
	assert_int_equal(ask_number("DBSIZE%s", ""), 1);
	decide(&op);
	assert_true(op.allowed);
	assert_int_equal(op.takes[0].decision.remaining, 5000 - 401);
	for (unsigned i = 0; i < op.n; i++) {
		const struct sluice_decision *decision = &op.takes[i].decision;

		assert_outlives(op.takes[i].key, decision->at_us + decision->reset_after_us);
		assert_in_range(ask_number("PTTL " PREFIX "%s", op.takes[i].key), 1, 60000 + LONGER_MS);
	}
	op.verb = STORE_RESET;
	decide(&op);
	assert_int_equal(ask_number("DBSIZE%s", ""), 0);
}

/* Somebody else's key is neither taken for an empty state nor overwritten. */
static void test_wrong_type(void **state)
{
	struct sluice_policy small = policy_of(SLUICE_SLIDING_LOG, 10), large = policy_of(SLUICE_SLIDING_LOG, 10000);
	const struct sluice_policy *policies[] = { &small, &large };

	must("RPUSH %s theirs", PREFIX "third:{10.0.0.160}");
	for (size_t i = 0; i < 2; i++) {
		struct store_op op = op_of(STORE_TAKE, policies[i], 3);

		assert_refused(&op, "WRONGTYPE");
		assert_int_equal(ask_number("DBSIZE%s", ""), 1);
	}
	must("DEL %s", PREFIX "third:{10.0.0.160}");
}

/* A ring that grows past what is written as a whole. */
static void test_large_limit(void **state)
{
	struct sluice_policy policy;
	struct store_op op;
	long long most = 0;

	policy = policy_of(SLUICE_SLIDING_LOG, 5000);
	op = op_of(STORE_TAKE, &policy, 1);
	op.takes[0].cost = 500;
	for (int i = 0; i < 10; i++) {
		long long bytes;

		decide(&op);
		assert_true(op.allowed);
		assert_int_equal(op.takes[0].decision.remaining, 5000 - 500 * (i + 1));
		bytes = ask_number("STRLEN %s", PREFIX CLIENT);
		most = bytes > most ? bytes : most;
	}
	assert_in_range(most, 19000, 20024);
	decide(&op);
	assert_false(op.allowed);
	must("DEL %s", PREFIX CLIENT);
}

/* Between heartbeats: so long that none is missed by a machine that stands still for a while. */
#define INTERVAL_US UINT64_C(60000000)

static void beat(const char *id, uint32_t *servers, uint64_t *generation)
{
	struct redis_buffer call = { 0 };
	redisReply *reply;

	redis_heartbeat_call(&call, PREFIX, id, strlen(id), INTERVAL_US);
	reply = send_buffer(&call);
	assert_int_equal(reply->type, REDIS_REPLY_STRING);
	assert_int_equal(redis_heartbeat_reply(reply->str, reply->len, servers, generation), 0);
	freeReplyObject(reply);
}

static void bump(void)
{
	struct redis_buffer call = { 0 };
	redisReply *reply;

	redis_generation_bump_call(&call, PREFIX);
	reply = send_buffer(&call);
	assert_int_equal(reply->type, REDIS_REPLY_STATUS);
	freeReplyObject(reply);
}

static void test_servers(void **state)
{
	struct redis_buffer call = { 0 };
	uint64_t first, generation;
	uint32_t servers;
	uint64_t from_us = server_time_us();

	beat("a", &servers, &first);
	assert_int_equal(servers, 1);
	beat("b", &servers, &generation);
	assert_int_equal(servers, 2);
	assert_true(generation == first);
	assert_outlives("{sluice}:servers", from_us + 3 * INTERVAL_US + 1000000);
	assert_in_range(ask_number("PTTL %s", PREFIX "{sluice}:servers"), 1, 3 * INTERVAL_US / 1000 + 1000);
	assert_in_range(ask_number("PTTL %s", PREFIX "{sluice}:generation"), 86000000, 86400000);

	/* Not heard of for long; and one from the time before the clock was set back. */
	must("ZADD %s 1 dead", PREFIX "{sluice}:servers");
	must("ZADD %s 9000000000000000 future", PREFIX "{sluice}:servers");
	beat("a", &servers, &generation);
	assert_int_equal(servers, 3);

	redis_leave_call(&call, PREFIX, "b", 1);
	freeReplyObject(send_buffer(&call));
	beat("a", &servers, &generation);
	assert_int_equal(servers, 2);

	bump();
	beat("a", &servers, &generation);
	assert_true(generation > first);
	first = generation;
	bump();
	beat("a", &servers, &generation);
	assert_true(generation > first);
}

/* Whatever lies at the generation's key, a new one comes of it. */
static void test_odd_generations(void **state)
{
	static const char *const values[] = { "", "0", "-1", "nan", "inf", "1.5", "words", "9007199254740992" };

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		uint64_t generation, again;
		uint32_t servers;

		must("SET " PREFIX "{sluice}:generation %s", values[i]);
		if (i % 2 == 0)
			bump();
		beat("a", &servers, &generation);
		beat("a", &servers, &again);
		assert_true(generation > 1000000 && generation == again);
	}
}

static int start(void **state)
{
	return by_module ? module_client_start_unclocked(&module, &server, (uint64_t)getpid())
	                 : redis_server_start(&server, NULL);
}

static int stop(void **state)
{
	redis_server_stop(&server);
	return 0;
}

static int empty(void **state)
{
	must("FLUSHALL%s", "");
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest decisions[] = {
		cmocka_unit_test_setup(test_attack, empty),
		cmocka_unit_test_setup(test_out_of_memory, empty),
		cmocka_unit_test_setup(test_out_of_memory_with_a_long_ring, empty),
		cmocka_unit_test_setup(test_wrong_type, empty),
		cmocka_unit_test_setup(test_large_limit, empty),
	};
	const struct CMUnitTest servers[] = {
		cmocka_unit_test_setup(test_servers, empty),
		cmocka_unit_test_setup(test_odd_generations, empty),
	};
	int failed;

	if (argc != 2 || (strcmp(argv[1], "redis") != 0 && strcmp(argv[1], "module") != 0)) {
		fprintf(stderr, "usage: redis_faults redis|module\n");
		return 2;
	}
	by_module = strcmp(argv[1], "module") == 0;
	failed = cmocka_run_group_tests(decisions, start, stop);
	return by_module ? failed : failed + cmocka_run_group_tests(servers, start, stop);
}
