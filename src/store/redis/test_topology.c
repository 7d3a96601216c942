/* SPDX-License-Identifier: Apache-2.0 */
/* What servers say: where slots are, why they refuse, what they are. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/redis/error.h"
#include "store/redis/info.h"
#include "store/redis/reply.h"
#include "store/redis/slots.h"

/* The reply that these bytes are; lives until the next call. */
static const struct redisReply *reply_of(struct redis_replies **replies, const char *bytes)
{
	const struct redisReply *reply = NULL;

	redis_replies_free(*replies);
	*replies = redis_replies_new();
	assert_non_null(*replies);
	assert_int_equal(redis_replies_feed(*replies, bytes, strlen(bytes)), 0);
	assert_int_equal(redis_replies_next(*replies, &reply), 0);
	assert_non_null(reply);
	return reply;
}

static void slots_are_those_of_redis(void **state)
{
	/* As CLUSTER KEYSLOT of Redis 7.0.15 answers. The first is the specification's. */
	static const struct {
		const char *key;
		unsigned slot;
	} cases[] = {
		{ "123456789", 12739 },
		{ "foo", 12182 },
		{ "{foo}bar", 12182 },
		{ "a{foo}b{bar}", 12182 },
		{ "", 0 },
		{ "{", 4092 },
		{ "foo{}{bar}", 8363 },
		{ "foo{{bar}}zap", 4015 },
		{ "foo{bar", 15278 },
		{ "{user1000}.following", 3443 },
		{ "\xff\x00\x80", 7915 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = i == 10 ? 3 : strlen(cases[i].key);

		assert_int_equal(redis_slot(cases[i].key, len), cases[i].slot);
	}
}

static void a_prefix_counts_unless_the_key_has_a_tag(void **state)
{
	static const char prefix[] = "rate_limit:";
	static const char *const keys[] = { "per-client:{127.0.0.1}", "plain", "open{", "empty{}x", "" };

	(void)state;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		char whole[64];
		int len = snprintf(whole, sizeof whole, "%s%s", prefix, keys[i]);

		assert_int_equal(redis_slot_of(prefix, sizeof prefix - 1, keys[i], strlen(keys[i])),
		                 redis_slot(whole, (size_t)len));
	}
}

static void every_slot_has_a_tag(void **state)
{
	static uint32_t tags[REDIS_SLOTS];

	(void)state;
	redis_slot_tags(tags);
	for (unsigned slot = 0; slot < REDIS_SLOTS; slot++) {
		char key[32];
		int len = snprintf(key, sizeof key, "x:{%u}", tags[slot]);

		assert_int_equal(redis_slot(key, (size_t)len), slot);
	}
}

static void ranges(void **state)
{
	static const struct {
		const char *bytes;
		int error;
		struct redis_range range;
	} cases[] = {
		{ "*3\r\n:0\r\n:5460\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$1\r\nx\r\n",
		  0,
		  { 0, 5460, { "127.0.0.1", 7000 } } },
		/* A replica behind it, metadata of Redis 7. */
		{ "*4\r\n:5\r\n:5\r\n*4\r\n$3\r\n::1\r\n:1\r\n$1\r\nx\r\n*0\r\n*3\r\n$1\r\ny\r\n:2\r\n$1\r\ny\r\n",
		  0,
		  { 5, 5, { "::1", 1 } } },
		{ "*3\r\n:16383\r\n:16383\r\n*2\r\n$4\r\nhost\r\n:65535\r\n", 0, { 16383, 16383, { "host", 65535 } } },
		/* The server that was asked. */
		{ "*3\r\n:0\r\n:1\r\n*2\r\n$0\r\n\r\n:7000\r\n", 0, { 0, 1, { "", 7000 } } },
		{ "*3\r\n:0\r\n:1\r\n*2\r\n$-1\r\n:7000\r\n", 0, { 0, 1, { "", 7000 } } },
		/* Nobody knows. */
		{ "*3\r\n:0\r\n:1\r\n*2\r\n$1\r\n?\r\n:7000\r\n", -ENOENT, { 0, 0, { "", 0 } } },
		/* Nonsense. */
		{ "*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:2\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:-7\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*3\r\n:0\r\n:1\r\n$1\r\na\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*2\r\n:0\r\n:1\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ "*0\r\n", -EPROTO, { 0, 0, { "", 0 } } },
		{ ":1\r\n", -EPROTO, { 0, 0, { "", 0 } } },
	};
	struct redis_replies *replies = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct redis_range range;

		assert_int_equal(redis_range_read(&range, reply_of(&replies, cases[i].bytes)), cases[i].error);
		if (cases[i].error != 0)
			continue;
		assert_int_equal(range.first, cases[i].range.first);
		assert_int_equal(range.last, cases[i].range.last);
		assert_string_equal(range.master.name, cases[i].range.master.name);
		assert_int_equal(range.master.port, cases[i].range.master.port);
	}
	redis_replies_free(replies);
}

static void redirections(void **state)
{
	static const struct {
		const char *words;
		int error;
		struct redis_redirect redirect;
	} cases[] = {
		{ "MOVED 3999 127.0.0.1:6381", 0, { 3999, { "127.0.0.1", 6381 } } },
		{ "ASK 0 10.0.0.1:1", 0, { 0, { "10.0.0.1", 1 } } },
		{ "MOVED 16383 ::1:7000", 0, { 16383, { "::1", 7000 } } },
		{ "MOVED 1 [2001:db8::1]:7000", 0, { 1, { "2001:db8::1", 7000 } } },
		{ "MOVED 1 node.example:65535", 0, { 1, { "node.example", 65535 } } },
		{ "MOVED 1 :6381", 0, { 1, { "", 6381 } } },
		{ "MOVED 1 ?:6381", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 16384 a:1", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED -1 a:1", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 99999999999999999999 a:1", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 1 a:0", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 1 a:65536", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 1 a:6x", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 1 a:", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 1 a", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED 1", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED  a:1", -EPROTO, { 0, { "", 0 } } },
		{ "MOVED", -EPROTO, { 0, { "", 0 } } },
		{ "", -EPROTO, { 0, { "", 0 } } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct redis_redirect redirect;

		assert_int_equal(redis_redirect_read(&redirect, cases[i].words), cases[i].error);
		if (cases[i].error != 0)
			continue;
		assert_int_equal(redirect.slot, cases[i].redirect.slot);
		assert_string_equal(redirect.to.name, cases[i].redirect.to.name);
		assert_int_equal(redirect.to.port, cases[i].redirect.to.port);
	}
}

static void a_host_may_be_as_long_as_a_name(void **state)
{
	struct redis_redirect redirect;
	char words[300];

	(void)state;
	snprintf(words, sizeof words, "MOVED 1 %0255d:1", 0);
	assert_int_equal(redis_redirect_read(&redirect, words), 0);
	assert_int_equal(strlen(redirect.to.name), 255);
	snprintf(words, sizeof words, "MOVED 1 %0256d:1", 0);
	assert_int_equal(redis_redirect_read(&redirect, words), -EPROTO);
}

static void what_sentinels_say(void **state)
{
	struct redis_replies *replies = NULL;
	struct redis_host host;

	(void)state;
	assert_int_equal(redis_address_read(&host, reply_of(&replies, "*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n")), 0);
	assert_string_equal(host.name, "10.0.0.1");
	assert_int_equal(host.port, 6379);
	static const char *const bad[] = { "*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
		                           "*2\r\n$1\r\na\r\n:1\r\n",
		                           "*2\r\n$1\r\na\r\n$1\r\n0\r\n",
		                           "*2\r\n$1\r\na\r\n$2\r\n1x\r\n",
		                           "*1\r\n$1\r\na\r\n",
		                           "*-1\r\n",
		                           "$1\r\na\r\n",
		                           "*2\r\n$1\r\na\r\n$5\r\n65536\r\n" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(redis_address_read(&host, reply_of(&replies, bad[i])), -EPROTO);

	assert_int_equal(redis_epoch_read(reply_of(
				 &replies, "*4\r\n$4\r\nname\r\n$1\r\nx\r\n$12\r\nconfig-epoch\r\n$2\r\n17\r\n")),
	                 17);
	assert_int_equal(redis_epoch_read(reply_of(&replies, "*1\r\n$12\r\nconfig-epoch\r\n")), 0);
	assert_int_equal(redis_epoch_read(reply_of(&replies, "*2\r\n$12\r\nconfig-epoch\r\n$1\r\nx\r\n")), 0);
	assert_int_equal(redis_epoch_read(reply_of(&replies, "-ERR no\r\n")), 0);
	redis_replies_free(replies);
}

static void errors(void **state)
{
	static const struct {
		const char *words;
		enum redis_error_kind kind;
		int error;
	} cases[] = {
		{ "NOSCRIPT No matching script. Please use EVAL.", REDIS_ERROR_NOSCRIPT, -EIO },
		{ "MOVED 1 a:1", REDIS_ERROR_MOVED, -EHOSTDOWN },
		{ "ASK 1 a:1", REDIS_ERROR_ASK, -EHOSTDOWN },
		{ "TRYAGAIN Multiple keys request during rehashing of slot", REDIS_ERROR_TRYAGAIN, -EAGAIN },
		{ "CLUSTERDOWN The cluster is down", REDIS_ERROR_COMMAND, -EHOSTDOWN },
		{ "OOM command not allowed when used memory > 'maxmemory'.", REDIS_ERROR_COMMAND, -ENOSPC },
		/* Redis 6. */
		{ "ERR Error running script (call to f_abc): @user_script:7: @user_script: 7: -OOM command not allowed",
		  REDIS_ERROR_COMMAND, -ENOSPC },
		{ "ERR Error running script (call to f_abc): @user_script:7: -READONLY You can't write",
		  REDIS_ERROR_SERVER, -EROFS },
		{ "ERR Error running script (call to f_abc): nothing known", REDIS_ERROR_COMMAND, -EIO },
		{ "READONLY You can't write against a read only replica.", REDIS_ERROR_SERVER, -EROFS },
		{ "READONLYX", REDIS_ERROR_COMMAND, -EIO },
		{ "READ", REDIS_ERROR_COMMAND, -EIO },
		{ "LOADING Redis is loading the dataset in memory", REDIS_ERROR_SERVER, -EAGAIN },
		{ "BUSY Redis is busy running a script.", REDIS_ERROR_SERVER, -EBUSY },
		{ "NOAUTH", REDIS_ERROR_SERVER, -EACCES },
		{ "WRONGTYPE Operation against a key", REDIS_ERROR_COMMAND, -EIO },
		{ "ERR unknown", REDIS_ERROR_COMMAND, -EIO },
		{ "", REDIS_ERROR_COMMAND, -EIO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct redis_error error = redis_error_read(cases[i].words);

		assert_int_equal(error.kind, cases[i].kind);
		assert_int_equal(error.error, cases[i].error);
	}
}

static void about(const char *text, const char *expected, const char *expected_warning)
{
	char said[160], warning[240];
	struct redis_info info;

	redis_info_read(&info, text, strlen(text));
	redis_info_about(&info, said, sizeof said, warning, sizeof warning);
	assert_string_equal(said, expected);
	if (expected_warning == NULL)
		assert_string_equal(warning, "");
	else
		assert_non_null(strstr(warning, expected_warning));
}

static void infos(void **state)
{
	(void)state;
	about("# Server\r\nredis_version:7.0.15\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", "Redis 7.0.15",
	      NULL);
	about("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", "Valkey 8.0.1", NULL);
	about("valkey_version:8.0.1\nredis_version:7.2.4\n", "Valkey 8.0.1", NULL);
	about("redis_version:6.0.16\r\nmaxmemory:67108864\r\nmaxmemory_policy:noeviction\r\n",
	      "Redis 6.0.16, 64 MiB, noeviction", NULL);
	about("redis_version:6.0.16\r\nmaxmemory:1048576\r\nmaxmemory_policy:volatile-ttl",
	      "Redis 6.0.16, 1 MiB, volatile-ttl", "set it to noeviction");
	about("", "Redis of unknown version", NULL);
	about("redis_version\r\n:\r\n::::\r\nmaxmemory:-\r\n", "Redis of unknown version", NULL);
	about("redis_version:1\x1b[2J\r\n", "Redis of unknown version", NULL);
	about("redis_version:0123456789012345678901234567890123456789\r\n", "Redis of unknown version", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_those_of_redis),
		cmocka_unit_test(a_prefix_counts_unless_the_key_has_a_tag),
		cmocka_unit_test(every_slot_has_a_tag),
		cmocka_unit_test(ranges),
		cmocka_unit_test(redirections),
		cmocka_unit_test(a_host_may_be_as_long_as_a_name),
		cmocka_unit_test(what_sentinels_say),
		cmocka_unit_test(errors),
		cmocka_unit_test(infos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
