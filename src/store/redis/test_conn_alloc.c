/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_conn_alloc.c: memory runs out at each place in turn, and a server that picks what it does by lot: each command
 * ends once, no answer is another's, nothing leaks, and afterwards the connection works.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis/test_client.h"
#include "store/redis/test_server.h"
#include "store/test_alloc.h"

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

struct out_of_memory {
	struct test_client client;
	struct redis_conn_config config;
	struct test_echo echoes[8];
	struct redis_command large;
	size_t large_len;
	int large_error;
};

static void on_changed(struct redis_conn *conn, int error, const char *why, void *context)
{
	struct test_client *client = context;

	(void)conn;
	client->ups += error == 0;
	client->downs += error != 0;
	snprintf(client->why, sizeof client->why, "%s", why);
}

static void on_large(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct out_of_memory *o = (struct out_of_memory *)((char *)command - offsetof(struct out_of_memory, large));

	o->client.ended++;
	o->large_error = error;
	o->large_len = reply != NULL ? reply->len : 0;
}

/* A reply that does not fit into what the parser has at hand. */
static bool ask_for_much(struct out_of_memory *o, const char *word, size_t len)
{
	struct redis_buffer *out = redis_conn_begin(o->client.conn);

	if (out == NULL)
		return false;
	redis_command_begin(out, 2);
	redis_command_text(out, "ECHO");
	redis_command_word(out, word, len);
	o->large.deadline_us = clock_mono_us() + 20 * SECOND;
	o->large.ended = on_large;
	if (redis_conn_send(o->client.conn, &o->large) != 0)
		return false;
	o->client.sent++;
	return true;
}

/* One life of a connection, in which the n-th allocation fails. @return whether it came to that. */
static bool live(uint64_t n)
{
	static char word[50000];
	struct out_of_memory o = { 0 };
	bool failed, much;

	assert_int_equal(uv_loop_init(&o.client.loop), 0);
	uv_timer_init(&o.client.loop, &o.client.guard);
	o.client.guard.data = &o.client;
	o.client.access.name = "test";
	o.config = (struct redis_conn_config){ .loop = &o.client.loop,
		                               .host = "127.0.0.1",
		                               .port = redis.port,
		                               .access = &o.client.access,
		                               .timeout_us = 20 * SECOND,
		                               .backoff_max_us = 1000,
		                               .changed = on_changed,
		                               .context = &o.client,
		                               .stats = &o.client.stats };
	memset(word, 'w', sizeof word);
	test_alloc_fail(n);
	errno = 0;
	o.client.conn = redis_conn_new(&o.config);
	if (o.client.conn == NULL) {
		assert_int_equal(errno, ENOMEM);
		assert_true(test_alloc_failed());
		o.client.conn = redis_conn_new(&o.config);
		assert_non_null(o.client.conn);
	}
	test_client_run_up(&o.client);
	for (unsigned i = 0; i < 8; i++)
		test_client_echo(&o.client, &o.echoes[i], i, 20 * SECOND);
	much = ask_for_much(&o, word, sizeof word);
	test_client_run_ended(&o.client);
	failed = test_alloc_failed();
	for (unsigned i = 0; i < 8; i++) {
		if (o.echoes[i].ended != 0)
			test_echoes_check(&o.echoes[i], 1);
	}
	if (much)
		assert_true(o.large_error == 0 ? o.large_len == sizeof word : o.large_error < 0);
	test_alloc_fail(0);
	test_client_run_up(&o.client);
	assert_true(test_client_echo(&o.client, &o.echoes[0], 42, 20 * SECOND));
	test_client_run_ended(&o.client);
	assert_string_equal(o.echoes[0].text, "42");
	test_client_close(&o.client);
	return failed && n > 0;
}

static void memory_runs_out(void **state)
{
	uint64_t n = 1;

	while (live(n))
		n++;
	assert_true(n > 6); /* the connection, its names, link, parser, output, a piece for the large reply */
}

/* Lots: a small generator, so that a run can be repeated by its seed. */
struct lots {
	uint64_t state;
};

static unsigned draw(struct lots *lots, unsigned n)
{
	lots->state = lots->state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(lots->state >> 33) % n;
}

/* What stands in for the answer to one command. @return false when the connection is over. */
static bool answer_by_lot(struct lots *lots, int fd, const struct test_words *words)
{
	static const char *const wrongs[] = {
		"?", "+OK\r\n+one more\r\n", "*9\r\n", "$5\r\nab", "-LOADING\r\n", "\r\n"
	};
	const char *wrong = wrongs[draw(lots, 6)];

	switch (draw(lots, 40)) {
	case 0:
		return false;
	case 1:
		test_peer_write(fd, wrong, strlen(wrong));
		return false;
	case 2: { /* in two pieces, the second of them perhaps never */
		char answer[128];
		int len = snprintf(answer, sizeof answer, "$%zu\r\n%s\r\n", strlen(words->words[1]), words->words[1]);
		int cut = (int)draw(lots, (unsigned)len);

		test_peer_write(fd, answer, (size_t)cut);
		poll(NULL, 0, (int)draw(lots, 3));
		if (draw(lots, 3) == 0)
			return false;
		return test_peer_write(fd, answer + cut, (size_t)(len - cut));
	}
	case 3: /* too late */
		poll(NULL, 0, 25);
		return test_peer_answer(fd, words);
	default:
		return test_peer_answer(fd, words);
	}
}

static void serve_by_lot(struct test_peer *peer, int fd, unsigned nth)
{
	struct lots lots = { *(uint64_t *)peer->context + nth };
	struct test_words words;
	FILE *from = fdopen(dup(fd), "rb");
	struct linger linger = { .l_onoff = 1 };

	assert_non_null(from);
	while (test_peer_command(from, &words)) {
		if (strcmp(words.words[0], "ECHO") != 0 ? !test_peer_answer(fd, &words)
		                                        : !answer_by_lot(&lots, fd, &words))
			break;
	}
	if (draw(&lots, 2) == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	fclose(from);
}

static void server_by_lot(void **state)
{
	enum { TURNS = 300, EACH = 10 };
	static struct test_echo echoes[EACH];
	uint64_t seed = clock_mono_us(), right = 0;
	struct lots lots = { seed ^ 0x5eed };
	struct test_client client;
	struct test_peer peer;

	print_message("seed %llu\n", (unsigned long long)seed);
	test_peer_start(&peer, serve_by_lot, &seed);
	test_client_open_as(&client, "127.0.0.1", peer.port, NULL,
	                    (struct redis_conn_config){ .timeout_us = 20 * SECOND, .backoff_max_us = 1000 });
	for (unsigned turn = 0; turn < TURNS; turn++) {
		unsigned n = 1 + draw(&lots, EACH), sent = 0;

		test_client_run_up(&client);
		while (sent < n && test_client_echo(&client, &echoes[sent], turn * EACH + sent, 20000))
			sent++;
		test_client_run_ended(&client);
		test_echoes_check(echoes, sent);
		for (unsigned i = 0; i < sent; i++)
			right += echoes[i].error == 0 && echoes[i].type == REDIS_REPLY_STRING;
	}
	assert_true(right > 0);
	assert_true(client.downs > 0);
	assert_int_equal(client.stats.drops, client.downs);
	test_client_close(&client);
	test_peer_stop(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(memory_runs_out), cmocka_unit_test(server_by_lot) };

	return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
