/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to the module, byte by byte, and what is made of answers that it would never give. What it decides is
 * tested with a real Redis: tests/integration/test_redis_module.py. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/redis/little.h"
#include "store/redis/module.h"
#include "store/redis/reply.h"

#define LEN REDIS_DECISION_LEN

static struct sluice_policy policy_of(enum sluice_algorithm algorithm, uint32_t limit, uint64_t window_us,
                                      uint32_t burst)
{
	struct sluice_policy policy;

	assert_int_equal(sluice_policy_init(&policy, algorithm, limit, window_us, burst, NULL), 0);
	return policy;
}

static struct store_op op_of(const struct sluice_policy *policy, unsigned n)
{
	struct store_op op = { .verb = STORE_TAKE, .n = (uint8_t)n };

	for (unsigned i = 0; i < n; i++)
		op.takes[i] = (struct store_take){ .policy = policy, .key = "k:{x}", .key_len = 5, .cost = i + 1 };
	return op;
}

static void test_call(void **state)
{
	struct sluice_policy log = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0), same = log;
	struct sluice_policy bucket = policy_of(SLUICE_TOKEN_BUCKET, 258, 1000000, 3);
	struct store_op one = op_of(&log, 3), other = op_of(&same, 1);
	struct redis_packed packed;
	struct redis_buffer call = { 0 };
	static const char want[] = "*8\r\n$12\r\nSLUICE.MTAKE\r\n$4\r\nEACH\r\n$1\r\n3\r\n"
				   "$7\r\np:k:{x}\r\n$7\r\np:k:{x}\r\n$7\r\np:k:{x}\r\n$6\r\nPACKED\r\n$53\r\n"
				   "\1\2"
				   "\1\12\0\0\0\12\0\0\0\0\x87\x93\3\0\0\0\0" /* 60,000,000 is 0x03938700 */
				   "\4\2\1\0\0\3\0\0\0\x40\x42\x0f\0\0\0\0\0" /* 258 is 0x0102; 1,000,000 is 0x0f4240 */
				   "\2\0\1\0\0\0\1\3\0\0\0"
				   "\1\0\1\0\0\0\r\n";

	(void)state;
	one.takes[2].policy = &bucket;
	redis_packed_begin(&packed);
	assert_true(redis_packed_add(&packed, &one, 5)); /* the first and the third */
	assert_true(redis_packed_add(&packed, &other, 1));
	redis_packed_write(&packed, &call, "p:");
	assert_int_equal(call.len, sizeof want - 1);
	assert_memory_equal(call.bytes, want, call.len);
	redis_buffer_free(&call);
}

static void test_bounds(void **state)
{
	struct sluice_policy policies[REDIS_PACKED_KEYS_MAX], policy = policy_of(SLUICE_FIXED_WINDOW, 10, 60000000, 0);
	struct store_op one = op_of(&policy, 1), ten = op_of(&policy, STORE_TAKES_MAX);
	struct redis_packed packed, before;
	struct redis_buffer call = { 0 };
	unsigned n = 0;

	(void)state;
	redis_packed_begin(&packed);
	while (redis_packed_add(&packed, &ten, (1u << STORE_TAKES_MAX) - 1))
		n++;
	assert_int_equal(n, REDIS_PACKED_KEYS_MAX / STORE_TAKES_MAX);
	before = packed;
	assert_false(redis_packed_add(&packed, &ten, (1u << STORE_TAKES_MAX) - 1));
	assert_memory_equal(&before, &packed, sizeof packed);
	for (n = packed.keys_n; n < REDIS_PACKED_KEYS_MAX; n++) /* smaller ones fit still */
		assert_true(redis_packed_add(&packed, &one, 1));
	assert_false(redis_packed_add(&packed, &one, 1));

	/* As many policies as keys. */
	redis_packed_begin(&packed);
	for (n = 0; n < REDIS_PACKED_KEYS_MAX; n++) {
		policies[n] = policy_of(SLUICE_FIXED_WINDOW, n + 1, 60000000, 0);
		one.takes[0].policy = &policies[n];
		assert_true(redis_packed_add(&packed, &one, 1));
	}
	assert_int_equal(packed.policies_n, REDIS_PACKED_KEYS_MAX);
	redis_packed_write(&packed, &call, "");
	assert_false(call.failed);
	assert_memory_equal(call.bytes + call.len - 8, "\1\x7f\1\0\0\0\r\n", 8); /* the last one's number */
	redis_buffer_free(&call);
}

struct answer {
	uint8_t flags;
	uint32_t remaining;
	double retry, reset, at;
};

static void put_answer(char *to, const struct answer *answer)
{
	uint8_t *at = (uint8_t *)to;

	*at++ = answer->flags;
	put_double(put_double(put_double(put32(at, answer->remaining), answer->retry), answer->reset), answer->at);
}

static void test_reply(void **state)
{
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0);
	struct store_op op = op_of(&policy, 3);
	struct answer yes = { 1, 9, 0, 60000000, 1700000000000000 }, no = { 0, 0, -1, 5, 1700000000000001 };
	char reply[2 * LEN];
	bool allowed;

	(void)state;
	op.takes[0].home = op.takes[1].home = STORE_HOME_NONE;
	put_answer(reply, &yes);
	put_answer(reply + LEN, &no);
	assert_int_equal(redis_module_reply(&op, 5, reply, &allowed), 0);
	assert_false(allowed);
	assert_true(op.takes[0].decision.allowed);
	assert_int_equal(op.takes[0].decision.limit, 10);
	assert_int_equal(op.takes[0].decision.remaining, 9);
	assert_int_equal(op.takes[0].decision.at_us, 1700000000000000);
	assert_int_equal(op.takes[0].home, STORE_HOME_OWN);
	assert_int_equal(op.takes[1].home, STORE_HOME_NONE); /* another's */
	assert_false(op.takes[2].decision.allowed);
	assert_true(op.takes[2].decision.retry_after_us == SLUICE_NEVER);
	put_answer(reply + LEN, &yes);
	assert_int_equal(redis_module_reply(&op, 5, reply, &allowed), 0);
	assert_true(allowed);
}

/* The op stays as it was; `want` is -EIO only for answers that the module gives when it can't decide. */
static void test_hostile_replies(void **state)
{
	static const struct {
		struct answer first, second;
		int want;
		bool wrong_type;
	} cases[] = {
		{ { 4, 0, 0, 0, 0 }, { 4, 0, 0, 0, 0 }, -EIO, false },
		{ { 8, 0, 0, 0, 0 }, { 8, 0, 0, 0, 0 }, -EIO, true },
		{ { 12, 0, 0, 0, 0 }, { 12, 0, 0, 0, 0 }, -EIO, true },
		{ { 4, 0, 0, 0, 0 }, { 8, 0, 0, 0, 0 }, -EPROTO, false },
		{ { 4, 0, 0, 0, 0 }, { 1, 9, 0, 1, 1 }, -EPROTO, false },
		{ { 1, 9, 0, 1, 1 }, { 4, 0, 0, 0, 0 }, -EPROTO, false },
		{ { 4, 1, 0, 0, 0 }, { 4, 0, 0, 0, 0 }, -EPROTO, false },
		{ { 4, 0, 0, 0, 0 }, { 4, 0, 0, 0, 1 }, -EPROTO, false },
		{ { 5, 0, 0, 0, 0 }, { 5, 0, 0, 0, 0 }, -EPROTO, false },
		{ { 16, 0, 0, 0, 0 }, { 16, 0, 0, 0, 0 }, -EPROTO, false },
		{ { 3, 9, 0, 1, 1 }, { 3, 9, 0, 1, 1 }, -EPROTO, false }, /* no refund was asked for */
		{ { 1, 9, 0, 1, 1 }, { 1, 11, 0, 1, 1 }, -EPROTO, false },
		{ { 1, 9, 0, 1, 1 }, { 0, 1, 0, 1, 1 }, -EPROTO, false },
		{ { 1, 9, 0, 1, 1 }, { 0, 1, NAN, 1, 1 }, -EPROTO, false },
		{ { 1, 9, 0, 1, 1 }, { 1, 1, 0, 1, 9.1e15 }, -EPROTO, false },
	};
	struct sluice_policy policy = policy_of(SLUICE_SLIDING_LOG, 10, 60000000, 0);
	struct store_op op = op_of(&policy, 2), before = op;
	bool allowed;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *reply = malloc(2 * LEN); /* a sanitizer sees the first byte past it */

		assert_non_null(reply);
		put_answer(reply, &cases[i].first);
		put_answer(reply + LEN, &cases[i].second);
		assert_int_equal(redis_module_reply(&op, 3, reply, &allowed), cases[i].want);
		assert_memory_equal(&op, &before, sizeof op);
		if (cases[i].want == -EIO)
			assert_int_equal(redis_module_wrong_type(reply), cases[i].wrong_type);
		free(reply);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *words;
		bool refused;
		bool may_not_write;
	} cases[] = {
		{ "ERR unknown command 'SLUICE.MTAKE', with args beginning with: 'EACH' '1' ", true,
		  false }, /* Redis 7, 8, Valkey */
		{ "ERR unknown command `SLUICE.MTAKE`, with args beginning with: `EACH`, `1`, ", true,
		  false },                                             /* Redis 5, 6 */
		{ "ERR unknown command 'SLUICE.MTAKE'", true, false }, /* Redis 4 */
		{ "ERR requests: the format is not known", true, false },
		{ "NOPERM User limits has no permissions to run the 'sluice.mtake' command", true, false },
		{ "NOPERM this user has no permissions to run the 'sluice.mtake' command or its subcommand", true,
		  false },
		{ "OOM command not allowed when used memory > 'maxmemory'.", false, true },
		{ "LOADING Redis is loading the dataset in memory", false, false },
		{ "READONLY You can't write against a read only replica.", false, false },
		{ "MOVED 1 127.0.0.1:1", false, false },
		{ "MISCONF Errors writing to the AOF file: No space left on device", false, true },
		{ "NOREPLICAS Not enough good replicas to write.", false, true },
		{ "OOMPH", false, false },
		{ "ERRONEOUS", false, false },
		{ "", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(redis_module_refused(cases[i].words), cases[i].refused);
		assert_int_equal(redis_module_may_not_write(cases[i].words), cases[i].may_not_write);
	}
}

static void test_info(void **state)
{
	static const struct {
		const char *bytes;
		bool usable, forbidden;
		const char *version;
	} cases[] = {
		{ "*6\r\n$7\r\nversion\r\n$5\r\n1.2.3\r\n$12\r\nstate_format\r\n:1\r\n$13\r\npacked_format\r\n:1\r\n",
		  true, false, "1.2.3" },
		{ "*6\r\n+packed_format\r\n$1\r\n1\r\n$5\r\nother\r\n*1\r\n:1\r\n$12\r\nstate_format\r\n$1\r\n1\r\n",
		  true, false, "" },
		{ "*4\r\n$12\r\nstate_format\r\n:1\r\n$13\r\npacked_format\r\n:2\r\n", false, false, "" },
		{ "*4\r\n$12\r\nstate_format\r\n:2\r\n$13\r\npacked_format\r\n:1\r\n", false, false, "" },
		{ "*2\r\n$13\r\npacked_format\r\n:1\r\n", false, false, "" },
		{ "*4\r\n$12\r\nstate_format\r\n$-1\r\n$13\r\npacked_format\r\n*0\r\n", false, false, "" },
		{ "*3\r\n$12\r\nstate_format\r\n:1\r\n$13\r\npacked_format\r\n", false, false, "" },
		{ "*4\r\n:1\r\n:1\r\n*-1\r\n$-1\r\n", false, false, "" },
		{ "*2\r\n$7\r\nversion\r\n$3\r\n1\n2\r\n", false, false, "" },
		{ "*2\r\n$7\r\nversion\r\n$32\r\n01234567890123456789012345678901\r\n", false, false, "" },
		{ "*0\r\n", false, false, "" },
		{ "*-1\r\n", false, false, "" },
		{ "$-1\r\n", false, false, "" },
		{ ":1\r\n", false, false, "" },
		{ "-ERR unknown command 'SLUICE.INFO', with args beginning with: \r\n", false, false, "" },
		{ "-NOPERM this user has no permissions\r\n", false, true, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct redis_replies *replies = redis_replies_new();
		const struct redisReply *reply = NULL;
		struct redis_module module;

		assert_non_null(replies);
		assert_int_equal(redis_replies_feed(replies, cases[i].bytes, strlen(cases[i].bytes)), 0);
		assert_int_equal(redis_replies_next(replies, &reply), 0);
		assert_non_null(reply);
		redis_module_read(&module, reply);
		assert_int_equal(module.usable, cases[i].usable);
		assert_int_equal(module.forbidden, cases[i].forbidden);
		assert_string_equal(module.version, cases[i].version);
		redis_replies_free(replies);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call),    cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_reply),   cmocka_unit_test(test_hostile_replies),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_info),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
