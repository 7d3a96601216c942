/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to the script, byte by byte, and what is made of replies that it would never give. What it decides is
 * tested against a real Redis: tests/conformance. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/redis/script.h"

enum { ANSWER_LEN = 29 };

static struct sluice_policy policy_of(enum sluice_algorithm algorithm, uint32_t limit, uint64_t window_us,
                                      uint32_t burst)
{
	struct sluice_policy policy;

	assert_int_equal(sluice_policy_init(&policy, algorithm, limit, window_us, burst, NULL), 0);
	return policy;
}

static struct store_op op_of(enum store_verb verb, const struct sluice_policy *policy, unsigned n)
{
	static const char *const keys[] = { "a:{x}", "b:{x}", "c:{x}" };
	struct store_op op = { .verb = verb, .n = (uint8_t)n };

	for (unsigned i = 0; i < n; i++)
		op.takes[i] = (struct store_take){ .policy = policy, .key = keys[i], .key_len = 5, .cost = i + 1 };
	return op;
}

/* The last word of a call, whose length must be as given. */
static const char *arguments_of(const struct redis_buffer *call, size_t len)
{
	char head[16];
	size_t head_len = (size_t)snprintf(head, sizeof head, "$%zu\r\n", len);
	const char *at = call->bytes + call->len - 2 - len;

	assert_false(call->failed);
	assert_true(call->len > head_len + len + 2);
	assert_memory_equal(at - head_len, head, head_len);
	assert_memory_equal(at + len, "\r\n", 2);
	return at;
}

static void test_call(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0);
	struct store_op op = op_of(STORE_TAKE, &policy, 3);
	struct redis_buffer call = { 0 };
	/* Algorithm, prefix, limit, cost, window (60e6 is 0x418C9C3800000000). */
	static const char want[] = "\4"
				   "\1"
				   "\1\1\1\0"
				   "\12\0\0\0"
				   "\1\0\0\0"
				   "\0\0\0\0\x38\x9c\x8c\x41"
				   "\1"
				   "\1\1\1\0"
				   "\12\0\0\0"
				   "\3\0\0\0"
				   "\0\0\0\0\x38\x9c\x8c\x41";
	char head[128];
	int len;

	redis_script_call(&call, "p:", &op, 5, false); /* the first and the third */
	len = snprintf(head, sizeof head,
	               "*6\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n2\r\n$7\r\np:a:{x}\r\n$7\r\np:c:{x}\r\n",
	               redis_script_sha());
	assert_memory_equal(call.bytes, head, (size_t)len);
	assert_memory_equal(arguments_of(&call, 43), want, 43);
	redis_buffer_free(&call);
}

static void test_call_bucket_and_refund(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_TOKEN_BUCKET, 10, 1000, 3);
	struct store_op op = op_of(STORE_REFUND, &policy, 1);
	struct redis_buffer call = { 0 };
	const char *arguments;
	double number;

	op.takes[0].decision.at_us = UINT64_MAX; /* no time that a state has: the largest that a double tells apart */
	redis_script_call(&call, "", &op, 1, true);
	assert_memory_equal(call.bytes, "*5\r\n$4\r\nEVAL\r\n", 14);
	arguments = arguments_of(&call, 42);
	assert_memory_equal(arguments, "\6\4\1\4\0\0\3\0\0\0\1\0\0\0", 14);
	memcpy(&number, arguments + 14, sizeof number);
	assert_true(number == 1000);
	assert_memory_equal(arguments + 22, "\1\0\0\0", 4); /* 10 / gcd(10, 1000) */
	memcpy(&number, arguments + 26, sizeof number);
	assert_true(number == 100);
	memcpy(&number, arguments + 34, sizeof number);
	assert_true(number == 9007199254740991.0);
	redis_buffer_free(&call);
}

/* A ring that may be long is not read with the others. */
static void test_call_wholes(void **state)
{
	static const struct {
		enum sluice_algorithm algorithm;
		uint32_t limit;
		char verb;
	} cases[] = { { SLUICE_SLIDING_LOG, 256, 4 },
		      { SLUICE_SLIDING_LOG, 257, 0 },
		      { SLUICE_SLIDING_COUNTER, 10000, 4 },
		      { SLUICE_FIXED_WINDOW, 10000, 4 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sluice_policy small = policy_of(SLUICE_SLIDING_LOG, 1, 60000000, 0);
		struct sluice_policy policy = policy_of(cases[i].algorithm, cases[i].limit, 60000000, 0);
		struct store_op op = op_of(STORE_TAKE, &small, 3);
		struct redis_buffer call = { 0 };

		op.takes[1].policy = &policy;
		redis_script_call(&call, "", &op, 7, false);
		assert_int_equal(*arguments_of(&call, 64), cases[i].verb);
		redis_buffer_free(&call);
		redis_script_call(&call, "", &op, 5, false); /* without it */
		assert_int_equal(*arguments_of(&call, 43), 4);
		redis_buffer_free(&call);
	}
}

static void test_call_reset(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_FIXED_WINDOW, 10, 60000000, 0);
	struct store_op op = op_of(STORE_RESET, &policy, 2);
	struct redis_buffer call = { 0 };

	redis_script_call(&call, "", &op, 3, false);
	assert_memory_equal(arguments_of(&call, 1), "\3", 1);
	redis_buffer_free(&call);
}

/* A reply as the script writes it. */
struct answer {
	uint8_t flags;
	uint32_t remaining;
	double retry, reset, at;
};

static size_t put_answer(char *to, const struct answer *answer)
{
	to[0] = (char)answer->flags;
	memcpy(to + 1, &answer->remaining, 4);
	memcpy(to + 5, &answer->retry, 8);
	memcpy(to + 13, &answer->reset, 8);
	memcpy(to + 21, &answer->at, 8);
	return ANSWER_LEN;
}

static void test_reply(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0);
	struct store_op op = op_of(STORE_TAKE, &policy, 3);
	struct answer first = { 1, 9, 0, 60000000, 1700000000000000 }, second = { 0, 10, -1, 0, 1700000000000001 };
	char reply[2 * ANSWER_LEN];
	bool allowed = true;

	op.takes[1].home = STORE_HOME_NONE;
	op.takes[0].home = STORE_HOME_NONE;
	put_answer(reply, &first);
	put_answer(reply + ANSWER_LEN, &second);
	assert_int_equal(redis_script_reply(&op, 5, reply, sizeof reply, &allowed), 0);
	assert_false(allowed);
	assert_true(op.takes[0].decision.allowed);
	assert_int_equal(op.takes[0].decision.limit, 10);
	assert_int_equal(op.takes[0].decision.remaining, 9);
	assert_int_equal(op.takes[0].decision.retry_after_us, 0);
	assert_int_equal(op.takes[0].decision.reset_after_us, 60000000);
	assert_int_equal(op.takes[0].decision.at_us, 1700000000000000);
	assert_int_equal(op.takes[0].home, STORE_HOME_OWN);
	assert_int_equal(op.takes[1].home, STORE_HOME_NONE); /* another's */
	assert_false(op.takes[2].decision.allowed);
	assert_true(op.takes[2].decision.retry_after_us == SLUICE_NEVER);

	op = op_of(STORE_TAKE, &policy, 1);
	assert_int_equal(redis_script_reply(&op, 1, reply, ANSWER_LEN, &allowed), 0);
	assert_true(allowed);
	op = op_of(STORE_RESET, &policy, 2);
	assert_int_equal(redis_script_reply(&op, 3, "", 0, &allowed), 0);
	assert_true(allowed);
}

static void test_refund_of_a_denying_state(void **state)
{
	struct answer full = { 3, 1, 0, 60000000, 1700000000000000 }, other = { 1, 1, 0, 60000000, 1700000000000000 };
	char reply[2 * ANSWER_LEN];

	put_answer(reply, &other);
	put_answer(reply + ANSWER_LEN, &other);
	assert_false(redis_script_was_denying(reply, sizeof reply));
	put_answer(reply + ANSWER_LEN, &full);
	assert_true(redis_script_was_denying(reply, sizeof reply));
	assert_false(redis_script_was_denying("", 0));
}

/* Each is refused, and the op stays as it was. */
static void test_hostile_replies(void **state)
{
	static const struct answer answers[] = {
		{ 4, 1, 0, 1, 1 },      { 0xff, 1, 0, 1, 1 },  { 1, 11, 0, 1, 1 },       { 1, UINT32_MAX, 0, 1, 1 },
		{ 1, 1, 5, 1, 1 },      { 0, 1, 0, 1, 1 },     { 1, 1, -1, 1, 1 },       { 0, 1, -2, 1, 1 },
		{ 0, 1, 0.5, 1, 1 },    { 0, 1, NAN, 1, 1 },   { 0, 1, INFINITY, 1, 1 }, { 1, 1, 0, -1, 1 },
		{ 1, 1, 0, NAN, 1 },    { 1, 1, 0, 1e300, 1 }, { 1, 1, 0, 1, -1 },       { 1, 1, 0, 1, NAN },
		{ 1, 1, 0, 1, 9.1e15 }, { 1, 1, 0, 1, 1.5 },   { 1, 1, 0, 0x1p55, 1 },   { 0, 1, 0x1p55, 1, 1 },
	};
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0);
	struct store_op op = op_of(STORE_TAKE, &policy, 1), before = op;
	char reply[ANSWER_LEN];
	bool allowed;

	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		put_answer(reply, &answers[i]);
		assert_int_equal(redis_script_reply(&op, 1, reply, sizeof reply, &allowed), -EPROTO);
		assert_memory_equal(&op, &before, sizeof op);
	}
}

static void test_lengths(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0);
	struct store_op op = op_of(STORE_TAKE, &policy, 2), reset = op_of(STORE_RESET, &policy, 2);
	struct answer answer = { 1, 9, 0, 60000000, 1700000000000000 };
	char reply[4 * ANSWER_LEN];
	bool allowed;

	for (size_t at = 0; at < sizeof reply; at += ANSWER_LEN)
		put_answer(reply + at, &answer);
	for (size_t len = 0; len <= sizeof reply; len++) {
		int want = len == 2 * ANSWER_LEN ? 0 : len == 1 ? -EIO : -EPROTO; /* the first byte is 1 */
		char *exact = malloc(len + 1);

		assert_non_null(exact);
		memcpy(exact, reply, len);
		exact = realloc(exact, len > 0 ? len : 1); /* a sanitizer sees the first byte past it */
		assert_int_equal(redis_script_reply(&op, 3, exact, len, &allowed), want);
		assert_int_equal(redis_script_reply(&reset, 3, exact, len, &allowed), len == 0 ? 0 : -EPROTO);
		free(exact);
	}
	assert_int_equal(redis_script_reply(&op, 3, "\2", 1, &allowed), -EIO);
	assert_int_equal(redis_script_reply(&op, 3, "\3", 1, &allowed), -EPROTO);
	assert_int_equal(redis_script_reply(&op, 3, "\0", 1, &allowed), -EPROTO);
}

static void test_heartbeat_reply(void **state)
{
	static const struct {
		uint32_t servers;
		double generation;
		size_t len;
		int want;
	} cases[] = {
		{ 1, 1, 12, 0 },         { UINT32_MAX, 9007199254740991.0, 12, 0 },
		{ 0, 1, 12, -EPROTO },   { 1, 0, 12, -EPROTO },
		{ 1, -1, 12, -EPROTO },  { 1, 1.5, 12, -EPROTO },
		{ 1, NAN, 12, -EPROTO }, { 1, 9007199254740992.0, 12, -EPROTO },
		{ 1, 1, 11, -EPROTO },   { 1, 1, 0, -EPROTO },
		{ 1, 1, 13, -EPROTO },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint32_t servers = 77;
		uint64_t generation = 78;
		char reply[16] = { 0 };

		memcpy(reply, &cases[i].servers, 4);
		memcpy(reply + 4, &cases[i].generation, 8);
		assert_int_equal(redis_heartbeat_reply(reply, cases[i].len, &servers, &generation), cases[i].want);
		assert_int_equal(servers, cases[i].want == 0 ? cases[i].servers : 77);
		assert_true(generation == (cases[i].want == 0 ? (uint64_t)cases[i].generation : 78));
	}
}

static void test_calls_of_all_servers(void **state)
{
	struct redis_buffer call = { 0 };

	redis_leave_call(&call, "p:", "me", 2);
	assert_int_equal(call.len, 47);
	assert_memory_equal(call.bytes, "*3\r\n$4\r\nZREM\r\n$18\r\np:{sluice}:servers\r\n$2\r\nme\r\n", call.len);
	redis_buffer_clear(&call, 0);
	redis_heartbeat_call(&call, "p:", "me", 2, 1000000);
	assert_memory_equal(call.bytes, "*8\r\n$4\r\nEVAL\r\n", 14);
	assert_memory_equal(call.bytes + call.len - 27, "\r\n$7\r\n1000000\r\n$8\r\n86400000\r\n" + 2, 27);
	redis_buffer_clear(&call, 0);
	redis_generation_bump_call(&call, "p:");
	assert_memory_equal(call.bytes, "*5\r\n$4\r\nEVAL\r\n", 14);
	redis_buffer_free(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_call_bucket_and_refund),
		cmocka_unit_test(test_call_wholes),
		cmocka_unit_test(test_call_reset),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_refund_of_a_denying_state),
		cmocka_unit_test(test_hostile_replies),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_heartbeat_reply),
		cmocka_unit_test(test_calls_of_all_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
