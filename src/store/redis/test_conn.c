/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn.c: a connection to a Redis that means well. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis/backoff.h"
#include "store/redis/test_client.h"
#include "store/redis/test_server.h"

#define SECOND UINT64_C(1000000)

static struct test_redis redis;

static int start_redis(void **state)
{
	test_redis_start(&redis, false, NULL);
	return 0;
}

static int stop_redis(void **state)
{
	test_redis_stop(&redis);
	return 0;
}

static void one_turn_is_one_write(void **state)
{
	enum { N = 1000 };
	static struct test_echo echoes[N];
	struct test_client client;
	uint64_t writes;

	test_client_open(&client, "127.0.0.1", redis.port, NULL);
	test_client_run_up(&client);
	writes = client.stats.writes;
	for (unsigned i = 0; i < N; i++)
		assert_true(test_client_echo(&client, &echoes[i], i, 20 * SECOND));
	assert_int_equal(redis_conn_waiting(client.conn), N);
	assert_int_equal(client.ended, 0);
	test_client_run_ended(&client);
	assert_int_equal(client.stats.writes, writes + 1);
	test_echoes_check(echoes, N);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(echoes[i].error, 0);
	assert_int_equal(client.ups, 1);
	assert_int_equal(client.downs, 0);
	test_client_close(&client);
}

struct chain {
	struct test_echo echo; /* first */
	struct test_client *client;
	struct test_echo more[10];
};

static void on_chain(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct chain *chain = (struct chain *)command;

	chain->echo.ended++;
	chain->client->ended++;
	assert_int_equal(error, 0);
	assert_string_equal(reply->str, "7");
	for (unsigned i = 0; i < 10; i++)
		assert_true(test_client_echo(chain->client, &chain->more[i], i, 20 * SECOND));
}

/* From within a callback of the poll phase: they leave before the loop sleeps, again in one write. */
static void commands_from_within_a_reply(void **state)
{
	struct test_client client;
	struct chain chain = { .client = &client };
	uint64_t writes;

	test_client_open(&client, "127.0.0.1", redis.port, NULL);
	test_client_run_up(&client);
	writes = client.stats.writes;
	assert_true(test_client_echo(&client, &chain.echo, 7, 20 * SECOND));
	chain.echo.command.ended = on_chain;
	test_client_run_ended(&client);
	assert_int_equal(chain.echo.ended, 1);
	test_echoes_check(chain.more, 10);
	assert_int_equal(client.stats.writes, writes + 2);
	test_client_close(&client);
}

struct large {
	struct redis_command command;
	struct test_client *client;
	size_t len;
	const char *bytes;
	bool same;
};

static void on_large(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct large *large = (struct large *)command;

	large->client->ended++;
	assert_int_equal(error, 0);
	assert_int_equal(reply->type, REDIS_REPLY_STRING);
	large->same = reply->len == large->len && memcmp(reply->str, large->bytes, large->len) == 0;
}

/* Larger than the kernel's buffers, in both directions. */
static void large_values(void **state)
{
	enum { LEN = 12 << 20 };
	char *bytes = malloc(LEN);
	struct test_client client;
	struct large large[2] = { { .len = LEN }, { .len = 100000 } };

	assert_non_null(bytes);
	for (size_t i = 0; i < LEN; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	test_client_open(&client, "127.0.0.1", redis.port, NULL);
	test_client_run_up(&client);
	for (unsigned i = 0; i < 2; i++) {
		struct redis_buffer *out = redis_conn_begin(client.conn);

		assert_non_null(out);
		redis_command_begin(out, 2);
		redis_command_text(out, "ECHO");
		redis_command_word(out, bytes, large[i].len);
		large[i].command.deadline_us = clock_mono_us() + 20 * SECOND;
		large[i].command.ended = on_large;
		large[i].client = &client;
		large[i].bytes = bytes;
		assert_int_equal(redis_conn_send(client.conn, &large[i].command), 0);
		client.sent++;
	}
	test_client_run_ended(&client);
	assert_true(large[0].same);
	assert_true(large[1].same);
	test_client_close(&client);
	free(bytes);
}

static void on_tree(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct large *tree = (struct large *)command;

	tree->client->ended++;
	assert_int_equal(error, 0);
	assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
	assert_int_equal(reply->elements, 4);
	assert_int_equal(reply->element[0]->integer, -5);
	assert_int_equal(reply->element[1]->type, REDIS_REPLY_NIL);
	assert_int_equal(reply->element[2]->elements, 2);
	assert_string_equal(reply->element[2]->element[0]->str, "x");
	assert_int_equal(reply->element[2]->element[1]->elements, 0);
	assert_int_equal(reply->element[3]->type, REDIS_REPLY_STATUS);
	tree->same = true;
}

static void replies_of_every_type(void **state)
{
	struct test_client client;
	struct large tree = { .client = &client };
	struct redis_buffer *out;
	char text[256];

	test_client_open(&client, "127.0.0.1", redis.port, NULL);
	test_client_run_up(&client);
	out = redis_conn_begin(client.conn);
	assert_non_null(out);
	redis_command_begin(out, 3);
	redis_command_text(out, "EVAL");
	redis_command_text(out, "return {-5, false, {'x', {}}, redis.status_reply('FINE')}");
	redis_command_number(out, 0);
	tree.command.deadline_us = clock_mono_us() + 20 * SECOND;
	tree.command.ended = on_tree;
	assert_int_equal(redis_conn_send(client.conn, &tree.command), 0);
	client.sent++;
	test_client_run_ended(&client);
	assert_true(tree.same);
	assert_int_equal(TEST_ASK(&client, text, "NOSUCH"), REDIS_REPLY_ERROR);
	assert_non_null(strstr(text, "unknown command"));
	assert_int_equal(TEST_ASK(&client, text, "GET", "nothing"), REDIS_REPLY_NIL);
	assert_int_equal(TEST_ASK(&client, text, "ECHO", ""), REDIS_REPLY_STRING);
	assert_string_equal(text, "");
	test_client_close(&client);
}

static void name_and_database(void **state)
{
	struct redis_access access = { .name = "sluice-7", .db = 5 };
	struct test_client client;
	char text[256];

	test_client_open(&client, "localhost", redis.port, &access);
	test_client_run_up(&client);
	assert_int_equal(TEST_ASK(&client, text, "CLIENT", "INFO"), REDIS_REPLY_STRING);
	assert_non_null(strstr(text, " name=sluice-7 "));
	assert_non_null(strstr(text, " db=5 "));
	assert_string_not_equal(redis_conn_name(client.conn), "");
	test_client_close(&client);

	access = (struct redis_access){ .name = "a b" }; /* which Redis refuses, and that is all right */
	test_client_open(&client, "127.0.0.1", redis.port, &access);
	test_client_run_up(&client);
	test_client_close(&client);

	access = (struct redis_access){ .db = 999 };
	test_client_open(&client, "127.0.0.1", redis.port, &access);
	test_client_run_down(&client, 0);
	assert_non_null(strstr(client.why, "SELECT: ERR DB index is out of range"));
	test_client_close(&client);
}

static void names(void **state)
{
	struct test_client client;

	test_client_open(&client, "::1", 7, NULL);
	assert_string_equal(redis_conn_name(client.conn), "[::1]:7");
	test_client_close(&client);
	test_client_open(&client, "h.example", 65535, NULL);
	assert_string_equal(redis_conn_name(client.conn), "h.example:65535");
	test_client_close(&client);
}

/* Who we are, and what is said when we are not let in. */
static void passwords(void **state)
{
	static const struct {
		const char *user, *password;
		const char *why; /* NULL: let in */
	} cases[] = {
		{ NULL, "open sesame \r\n%", NULL },
		{ "default", "open sesame \r\n%", NULL },
		{ "alice", "wonder", NULL },
		{ NULL, "hunter2", "the server refuses user \"default\" with this password (WRONGPASS)" },
		{ "alice", "hunter2", "the server refuses user \"alice\" with this password (WRONGPASS)" },
		{ "nobody", "hunter2", "the server refuses user \"nobody\" with this password (WRONGPASS)" },
		{ NULL, NULL, "NOAUTH Authentication required.; give the password in limiter.store" },
	};
	static const struct redis_access admin = { .password = "open sesame \r\n%" };
	static const char *const options[] = { "--requirepass", "open sesame \r\n%", NULL };
	struct test_redis locked = { 0 };
	struct test_client client;
	char text[256];

	test_redis_start(&locked, false, options);
	test_client_open(&client, "127.0.0.1", locked.port, &admin);
	test_client_run_up(&client);
	/* Not even PING: a server that says so has answered. */
	assert_int_equal(TEST_ASK(&client, text, "ACL", "SETUSER", "alice", "on", ">wonder", "+echo"),
	                 REDIS_REPLY_STATUS);
	test_client_close(&client);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct redis_access access = { .user = cases[i].user, .password = cases[i].password, .name = "n" };

		test_client_open(&client, "127.0.0.1", locked.port, &access);
		if (cases[i].why == NULL) {
			test_client_run_up(&client);
		} else {
			test_client_run_down(&client, 0);
			assert_int_equal(client.error, -EACCES);
			if (strstr(client.why, cases[i].why) == NULL || strstr(client.why, "hunter2") != NULL)
				fail_msg("%s", client.why);
		}
		test_client_close(&client);
	}
	test_redis_stop(&locked);
}

static void password_that_nobody_wants(void **state)
{
	struct redis_access access = { .password = "hunter2" };
	struct test_client client;

	test_client_open(&client, "127.0.0.1", redis.port, &access);
	test_client_run_down(&client, 0);
	assert_string_equal(client.why,
	                    "the server has no password: take it out of limiter.store, or set one in the server");
	test_client_close(&client);
}

struct greeting {
	struct redis_command command;
	struct test_client *client;
	unsigned greeted;
	const char *drop; /* the first time */
	bool at_once;
};

static void on_greeted(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct greeting *greeting = (struct greeting *)command;

	assert_int_equal(error, 0);
	assert_string_equal(reply->str, "PONG");
	assert_false(redis_conn_up(greeting->client->conn));
	if (greeting->drop != NULL && greeting->greeted == 1)
		redis_conn_drop(greeting->client->conn, -EIO, greeting->drop);
	else
		redis_conn_ready(greeting->client->conn);
}

static void greet(struct redis_conn *conn, void *context)
{
	struct greeting *greeting = ((struct test_client *)context)->loop.data;
	struct redis_buffer *out;

	greeting->greeted++;
	if (greeting->at_once) {
		redis_conn_ready(conn);
		return;
	}
	out = redis_conn_begin(conn);
	assert_non_null(out);
	redis_command_begin(out, 1);
	redis_command_text(out, "PING");
	greeting->command.deadline_us = clock_mono_us() + 20 * SECOND;
	greeting->command.ended = on_greeted;
	assert_int_equal(redis_conn_send(conn, &greeting->command), 0);
}

static void greetings(void **state)
{
	struct greeting cases[] = { { .at_once = true }, { .drop = NULL }, { .drop = "not to my taste" } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct test_client client;
		struct greeting *greeting = &cases[i];

		test_client_open_as(&client, "127.0.0.1", redis.port, NULL,
		                    (struct redis_conn_config){
					    .timeout_us = 20 * SECOND, .backoff_max_us = 1000, .greet = greet });
		greeting->client = &client;
		client.loop.data = greeting;
		test_client_run_up(&client);
		assert_int_equal(greeting->greeted, greeting->drop != NULL ? 2 : 1);
		assert_int_equal(client.ups, 1);
		assert_int_equal(client.downs, greeting->drop != NULL ? 1 : 0);
		if (greeting->drop != NULL) {
			assert_int_equal(client.error, -EIO);
			assert_string_equal(client.why, greeting->drop);
		}
		assert_int_equal(client.stats.drops, 0); /* it was never up */
		redis_conn_ready(client.conn);           /* once more changes nothing */
		assert_int_equal(client.ups, 1);
		test_client_close(&client);
	}
}

static void comes_back_by_itself(void **state)
{
	struct test_redis mortal = { 0 };
	struct test_echo echo, refused;
	struct test_client client;

	test_redis_start(&mortal, false, NULL);
	test_client_open(&client, "127.0.0.1", mortal.port, NULL);
	test_client_run_up(&client);
	test_redis_signal(&mortal, SIGSTOP);
	assert_true(test_client_echo(&client, &echo, 1, 20 * SECOND));
	test_redis_signal(&mortal, SIGKILL);
	test_client_run_ended(&client);
	assert_int_equal(echo.ended, 1);
	assert_int_equal(echo.error, -ECONNRESET);
	assert_int_equal(client.stats.drops, 1);
	assert_int_equal(client.stats.timeouts, 0);
	assert_false(test_client_echo(&client, &refused, 2, SECOND));
	test_client_run_down(&client, 3); /* it tries, again and again */
	test_redis_again(&mortal);
	test_client_run_up(&client);
	assert_true(test_client_echo(&client, &echo, 3, 20 * SECOND));
	test_client_run_ended(&client);
	assert_string_equal(echo.text, "3");
	test_client_close(&client);
	test_redis_stop(&mortal);
}

static void given_up_by_the_owner(void **state)
{
	struct test_echo echoes[3];
	struct test_client client;

	test_client_open(&client, "127.0.0.1", redis.port, NULL);
	test_client_run_up(&client);
	for (unsigned i = 0; i < 3; i++)
		assert_true(test_client_echo(&client, &echoes[i], i, 20 * SECOND));
	redis_conn_drop(client.conn, -ESTALE, "no master any more");
	assert_int_equal(client.ended, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(echoes[i].error, -ESTALE);
	assert_int_equal(client.downs, 1);
	assert_int_equal(client.error, -ESTALE);
	assert_string_equal(client.why, "no master any more");
	redis_conn_drop(client.conn, -ESTALE, "twice"); /* without effect */
	assert_int_equal(client.downs, 1);
	test_client_run_up(&client);
	assert_int_equal(client.ups, 2);
	test_client_close(&client);
}

static void freed_with_everything_in_flight(void **state)
{
	struct test_echo echoes[3];
	struct test_client client;

	test_client_open(&client, "127.0.0.1", redis.port, NULL);
	test_client_run_up(&client);
	for (unsigned i = 0; i < 3; i++)
		assert_true(test_client_echo(&client, &echoes[i], i, 20 * SECOND));
	test_client_close(&client);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(echoes[i].error, -ECANCELED);
	test_echoes_check(echoes, 3);
	assert_int_equal(client.downs, 0);
}

static void on_tick(uv_timer_t *tick)
{
	(void)tick;
}

/* After each number of turns, so in each state. */
static void freed_at_any_time(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "nowhere.invalid" };

	for (unsigned i = 0; i < 3 * 12; i++) {
		struct test_client client;

		test_client_open(&client, hosts[i % 3], redis.port, NULL);
		uv_timer_start(&client.guard, on_tick, 1, 1); /* no turn lasts for ever */
		for (unsigned n = i / 3; n > 0; n--)
			uv_run(&client.loop, UV_RUN_ONCE);
		test_client_close(&client);
	}
}

static bool is_freed(void *context)
{
	return ((struct test_client *)context)->conn == NULL;
}

static void freed_when_changed(void **state)
{
	const uint16_t ports[] = { redis.port, test_free_port() };

	for (unsigned i = 0; i < 2; i++) {
		struct test_client client;

		test_client_open(&client, "127.0.0.1", ports[i], NULL);
		client.free_when_changed = true;
		test_client_run(&client, is_freed, &client);
		assert_int_equal(client.ups + client.downs, 1);
		test_client_close(&client);
	}
}

/* ::1, where nothing listens, comes before 127.0.0.1 in the usual order; either way it gets there. */
static void next_address(void **state)
{
	struct test_client client;

	test_client_open(&client, "localhost", redis.port, NULL);
	test_client_run_up(&client);
	assert_int_equal(client.downs, 0);
	test_client_close(&client);
}

static void no_such_host(void **state)
{
	struct test_client client;

	test_client_open(&client, "nowhere.invalid", 6379, NULL);
	test_client_run_down(&client, 0);
	assert_int_equal(client.error, -EHOSTUNREACH);
	assert_non_null(strstr(client.why, "the name can't be looked up"));
	test_client_close(&client);
}

static void backoff(void **state)
{
	static const struct {
		unsigned failed;
		uint64_t max_us;
		uint32_t random;
		uint64_t wait_us;
	} cases[] = {
		{ 0, SECOND, 0, 1000 },
		{ 0, SECOND, UINT32_MAX, 50000 },
		{ 0, SECOND, 1u << 31, 25500 },
		{ 1, SECOND, UINT32_MAX, 100000 },
		{ 4, SECOND, UINT32_MAX, 800000 },
		{ 5, SECOND, UINT32_MAX, SECOND },
		{ UINT32_MAX, SECOND, UINT32_MAX, SECOND },
		{ UINT32_MAX, SECOND, 0, 1000 },
		{ 64, 3600 * SECOND, UINT32_MAX, 3600 * SECOND },
		{ 0, 20000, UINT32_MAX, 20000 },
		{ 0, 1000, UINT32_MAX, 1000 },
		{ 0, 999, 0, 999 },
		{ 0, 0, UINT32_MAX, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(redis_backoff_us(cases[i].failed, cases[i].max_us, cases[i].random), cases[i].wait_us);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_turn_is_one_write),
		cmocka_unit_test(commands_from_within_a_reply),
		cmocka_unit_test(large_values),
		cmocka_unit_test(replies_of_every_type),
		cmocka_unit_test(name_and_database),
		cmocka_unit_test(names),
		cmocka_unit_test(passwords),
		cmocka_unit_test(password_that_nobody_wants),
		cmocka_unit_test(greetings),
		cmocka_unit_test(comes_back_by_itself),
		cmocka_unit_test(given_up_by_the_owner),
		cmocka_unit_test(freed_with_everything_in_flight),
		cmocka_unit_test(freed_at_any_time),
		cmocka_unit_test(freed_when_changed),
		cmocka_unit_test(next_address),
		cmocka_unit_test(no_such_host),
		cmocka_unit_test(backoff),
	};

	return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
