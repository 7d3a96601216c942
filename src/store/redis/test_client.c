/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/test_client.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define PATIENCE_US UINT64_C(30000000)

static void on_changed(struct redis_conn *conn, int error, const char *why, void *context)
{
	struct test_client *client = context;

	assert_true(why != NULL && *why != '\0');
	if (error == 0) {
		client->ups++;
		assert_true(redis_conn_up(conn));
	} else {
		assert_true(error < 0);
		assert_false(redis_conn_up(conn));
		assert_int_equal(redis_conn_waiting(conn), 0);
		client->downs++;
		client->error = error;
		snprintf(client->why, sizeof client->why, "%s", why);
	}
	if (client->free_when_changed) {
		redis_conn_free(conn);
		client->conn = NULL;
	}
}

void test_client_open_as(struct test_client *client, const char *host, uint16_t port, const struct redis_access *access,
                         struct redis_conn_config config)
{
	memset(client, 0, sizeof *client);
	assert_int_equal(uv_loop_init(&client->loop), 0);
	uv_timer_init(&client->loop, &client->guard);
	client->guard.data = client;
	client->access = access != NULL ? *access : (struct redis_access){ .name = "test" };
	config.loop = &client->loop;
	config.host = host;
	config.port = port;
	config.access = &client->access;
	config.changed = on_changed;
	config.context = client;
	config.stats = &client->stats;
	client->conn = redis_conn_new(&config);
	assert_non_null(client->conn);
}

void test_client_open(struct test_client *client, const char *host, uint16_t port, const struct redis_access *access)
{
	test_client_open_as(client, host, port, access,
	                    (struct redis_conn_config){ .timeout_us = 5000000, .backoff_max_us = 100000 });
}

/* Ends each turn of the loop soon: timers may have done what the test waits for, after which the loop would sleep. */
static void on_guard(uv_timer_t *guard)
{
	struct test_client *client = guard->data;

	client->gone = clock_mono_us() >= client->patience_until_us;
}

void test_client_run(struct test_client *client, bool (*until)(void *), void *context)
{
	client->gone = false;
	uv_update_time(&client->loop);
	client->patience_until_us = clock_mono_us() + PATIENCE_US;
	uv_timer_start(&client->guard, on_guard, 5, 5);
	while (!until(context)) {
		if (client->gone)
			fail_msg("what was to come did not come; the last that was heard: %s", client->why);
		uv_run(&client->loop, UV_RUN_ONCE);
	}
	uv_timer_stop(&client->guard);
}

static bool is_up(void *context)
{
	return redis_conn_up(((struct test_client *)context)->conn);
}

void test_client_run_up(struct test_client *client)
{
	test_client_run(client, is_up, client);
}

struct down {
	const struct test_client *client;
	unsigned downs;
};

static bool is_down(void *context)
{
	const struct down *down = context;

	return down->client->downs > down->downs;
}

void test_client_run_down(struct test_client *client, unsigned downs)
{
	struct down down = { client, downs };

	test_client_run(client, is_down, &down);
}

static bool all_ended(void *context)
{
	const struct test_client *client = context;

	return client->ended == client->sent;
}

void test_client_run_ended(struct test_client *client)
{
	test_client_run(client, all_ended, client);
}

static void on_echo(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct test_echo *echo = (struct test_echo *)command;

	echo->ended++;
	echo->error = error;
	echo->ended_us = clock_mono_us();
	echo->client->ended++;
	assert_int_equal(reply != NULL, error == 0);
	if (reply == NULL)
		return;
	echo->type = reply->type;
	if (reply->str != NULL)
		snprintf(echo->text, sizeof echo->text, "%s", reply->str);
}

bool test_client_echo(struct test_client *client, struct test_echo *echo, unsigned number, uint64_t timeout_us)
{
	struct redis_buffer *out = redis_conn_begin(client->conn);

	*echo = (struct test_echo){ .client = client, .number = number, .sent_us = clock_mono_us() };
	if (out == NULL)
		return false;
	redis_command_begin(out, 2);
	redis_command_text(out, "ECHO");
	redis_command_number(out, number);
	echo->command.deadline_us = echo->sent_us + timeout_us;
	echo->command.ended = on_echo;
	if (redis_conn_send(client->conn, &echo->command) != 0)
		return false;
	client->sent++;
	return true;
}

int test_client_ask(struct test_client *client, char text[256], const char *const *words, unsigned n)
{
	struct test_echo echo = { .client = client };
	struct redis_buffer *out = redis_conn_begin(client->conn);

	assert_non_null(out);
	redis_command_begin(out, n);
	for (unsigned i = 0; i < n; i++)
		redis_command_text(out, words[i]);
	echo.command.deadline_us = clock_mono_us() + 20000000;
	echo.command.ended = on_echo;
	assert_int_equal(redis_conn_send(client->conn, &echo.command), 0);
	client->sent++;
	test_client_run_ended(client);
	memcpy(text, echo.text, sizeof echo.text);
	return echo.error == 0 ? echo.type : 0;
}

void test_client_close(struct test_client *client)
{
	if (client->conn != NULL)
		redis_conn_free(client->conn);
	client->conn = NULL;
	assert_int_equal(client->ended, client->sent);
	uv_close((uv_handle_t *)&client->guard, NULL);
	uv_run(&client->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&client->loop), 0);
}

void test_echoes_check(const struct test_echo *echoes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char expected[16];

		assert_int_equal(echoes[i].ended, 1);
		snprintf(expected, sizeof expected, "%u", echoes[i].number);
		if (echoes[i].error == 0 && echoes[i].type == REDIS_REPLY_STRING)
			assert_string_equal(echoes[i].text, expected);
	}
}
