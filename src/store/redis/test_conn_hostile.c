/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_conn_hostile.c: whatever a server does, each command ends once and within its time, and no answer is taken for
 * another's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis/test_client.h"
#include "store/redis/test_server.h"

#define SECOND UINT64_C(1000000)
#define PATIENCE_US (20 * SECOND)
#define FLIGHT 20

/* What a server does once the handshake is over and the first command has come. */
struct misbehaviour {
	const char *name;
	const char *bytes;
	size_t len;
	bool reset; /* ends with RST instead of FIN */
	bool hang;  /* does not end at all */
	int error;  /* of the commands */
	const char *why;
};

static void reset_on_close(int fd)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* Reads what comes and says nothing. */
static void swallow(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof bytes, 0) > 0)
		;
}

static FILE *open_reader(int fd)
{
	FILE *from = fdopen(dup(fd), "rb");

	assert_non_null(from);
	return from;
}

/* Answers commands until the first ECHO. @return false when the client is gone. */
static bool be_good(int fd, FILE *from, struct test_words *words)
{
	while (test_peer_command(from, words)) {
		if (strcmp(words->words[0], "ECHO") == 0)
			return true;
		if (!test_peer_answer(fd, words))
			return false;
	}
	return false;
}

static void misbehave(struct test_peer *peer, int fd, unsigned nth)
{
	const struct misbehaviour *how = peer->context;
	struct test_words words;
	FILE *from = open_reader(fd);

	if (nth > 0) { /* it is good the second time */
		while (test_peer_command(from, &words) && test_peer_answer(fd, &words))
			;
	} else if (be_good(fd, from, &words)) {
		test_peer_write(fd, how->bytes, how->len);
		if (how->hang)
			swallow(fd);
		else if (how->reset)
			reset_on_close(fd);
		else
			shutdown(fd, SHUT_WR), swallow(fd);
	}
	fclose(from);
}

#define BYTES(text) text, sizeof text - 1
#define NONSENSE "what came is no reply of a Redis server"

static const struct misbehaviour misbehaviours[] = {
	{ "closes", BYTES(""), false, false, -ECONNRESET, "closed the connection" },
	{ "resets", BYTES(""), true, false, -ECONNRESET, "the connection broke" },
	{ "half a reply, closes", BYTES("$1\r\n"), false, false, -ECONNRESET, "closed the connection" },
	{ "half a string, closes", BYTES("$100\r\n0"), false, false, -ECONNRESET, "closed the connection" },
	{ "half an array, resets", BYTES("*2\r\n$1\r\n0\r\n"), true, false, -ECONNRESET, "the connection broke" },
	{ "half a line, hangs", BYTES("+O"), false, true, -ETIMEDOUT, "no answer in time" },
	{ "hangs", BYTES(""), false, true, -ETIMEDOUT, "no answer in time" },
	{ "HTTP", BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), false, true, -EPROTO, NONSENSE },
	{ "zeros", BYTES("\0\0\0\0"), false, true, -EPROTO, NONSENSE },
	{ "TLS alert", BYTES("\x15\x03\x01\x00\x02\x02\x28"), false, true, -EPROTO, "write rediss instead of redis" },
	{ "RESP3", BYTES("%1\r\n+a\r\n+b\r\n"), false, true, -EPROTO, NONSENSE },
	{ "too deep", BYTES("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), false, true, -EPROTO,
	  NONSENSE },
	{ "too many elements", BYTES("*2147483647\r\n"), false, true, -EPROTO, NONSENSE },
	{ "5 million elements", BYTES("*5000000\r\n"), false, true, -EPROTO, NONSENSE },
	{ "more than all elements", BYTES("*99999999999999999999\r\n"), false, true, -EPROTO, NONSENSE },
	{ "fewer than no elements", BYTES("*-9\r\n"), false, true, -EPROTO, NONSENSE },
	{ "negative length", BYTES("$-9\r\n"), false, true, -EPROTO, NONSENSE },
	{ "a string that never comes", BYTES("$9223372036854775807\r\n"), false, true, -ETIMEDOUT,
	  "no answer in time" },
	{ "no number", BYTES(":1x\r\n"), false, true, -EPROTO, NONSENSE },
};

static void misbehaving_once(void **state)
{
	for (size_t i = 0; i < sizeof misbehaviours / sizeof misbehaviours[0]; i++) {
		const struct misbehaviour *how = &misbehaviours[i];
		struct test_echo echoes[FLIGHT];
		struct test_client client;
		struct test_peer peer;

		test_peer_start(&peer, misbehave, (void *)(uintptr_t)how);
		test_client_open(&client, "127.0.0.1", peer.port, NULL);
		test_client_run_up(&client);
		for (unsigned j = 0; j < FLIGHT; j++)
			assert_true(test_client_echo(&client, &echoes[j], 100 + j,
			                             how->error == -ETIMEDOUT ? 30000 : PATIENCE_US));
		/* One deadline for all: with a pause between two, the later one would lose its connection instead. */
		for (unsigned j = 1; j < FLIGHT; j++)
			echoes[j].command.deadline_us = echoes[0].command.deadline_us;
		test_client_run_ended(&client);
		test_echoes_check(echoes, FLIGHT);
		for (unsigned j = 0; j < FLIGHT; j++) {
			if (echoes[j].error != how->error)
				fail_msg("%s: command %u ended with %d", how->name, j, echoes[j].error);
		}
		assert_int_equal(client.error, how->error);
		if (strstr(client.why, how->why) == NULL)
			fail_msg("%s: %s", how->name, client.why);
		assert_int_equal(client.stats.timeouts, how->error == -ETIMEDOUT ? FLIGHT : 0);
		assert_int_equal(client.stats.drops, 1);
		/* Back by itself, and nothing of before is left over. */
		test_client_run_up(&client);
		assert_true(test_client_echo(&client, &echoes[0], 7, PATIENCE_US));
		test_client_run_ended(&client);
		assert_string_equal(echoes[0].text, "7");
		test_client_close(&client);
		test_peer_stop(&peer);
	}
}

/* What a server says before there is a command to answer, or instead of answers to the handshake. */
struct reception {
	const char *name;
	const char *bytes; /* NULL: nothing */
	bool at_once;      /* before anything came */
	bool hang;
	int error;
	const char *why;
};

static void receive_badly(struct test_peer *peer, int fd, unsigned nth)
{
	const struct reception *how = peer->context;
	struct test_words words;
	FILE *from = open_reader(fd);

	if (how->at_once || test_peer_command(from, &words)) {
		do {
			if (how->bytes != NULL && !test_peer_write(fd, how->bytes, strlen(how->bytes)))
				break;
			if (how->at_once || how->bytes == NULL)
				break;
		} while (test_peer_command(from, &words));
		if (how->hang)
			swallow(fd);
		else
			shutdown(fd, SHUT_WR), swallow(fd);
	}
	fclose(from);
}

static const struct reception receptions[] = {
	{ "closes", NULL, true, false, -ECONNRESET, "closed the connection" },
	{ "closes later", NULL, false, false, -ECONNRESET, "closed the connection" },
	{ "hangs", NULL, true, true, -ETIMEDOUT, "no answer in time" },
	{ "errors", "-ERR no\r\n", false, true, -EAGAIN, "the server refuses PING: ERR no" },
	{ "loading", "-LOADING Redis is loading the dataset in memory\r\n", false, true, -EAGAIN,
	  "PING: LOADING Redis is loading the dataset in memory; it will be well" },
	{ "replica", "-MASTERDOWN Link with MASTER is down\r\n", false, true, -EAGAIN,
	  "a replica that has lost its master" },
	{ "no password", "-NOAUTH Authentication required.\r\n", false, true, -EACCES, "give the password" },
	{ "full", "-ERR max number of clients reached\r\n", true, false, -EAGAIN, "raise maxclients" },
	{ "protected", "-DENIED Redis is running in protected mode\r\n", true, false, -EACCES, "is in protected mode" },
	{ "numbers", ":1\r\n", false, true, -EPROTO, "the answer to PING is none of a Redis server" },
	{ "nils", "$-1\r\n", false, true, -EPROTO, "the answer to PING is none of a Redis server" },
	{ "SMTP", "220 mail.example ESMTP\r\n", true, true, -EPROTO, NONSENSE },
	{ "too eager", "+OK\r\n+PONG\r\n+OK\r\n", true, true, -EPROTO, "a reply came that nobody had asked for" },
};

static void never_up(void **state)
{
	for (size_t i = 0; i < sizeof receptions / sizeof receptions[0]; i++) {
		const struct reception *how = &receptions[i];
		struct test_client client;
		struct test_peer peer;

		test_peer_start(&peer, receive_badly, (void *)(uintptr_t)how);
		test_client_open_as(
			&client, "127.0.0.1", peer.port, NULL,
			(struct redis_conn_config){ .timeout_us = how->error == -ETIMEDOUT ? 50000 : PATIENCE_US,
		                                    .backoff_max_us = 1000 });
		test_client_run_down(&client, 1); /* and it tries again */
		if (client.error != how->error || strstr(client.why, how->why) == NULL)
			fail_msg("%s: %d, %s", how->name, client.error, client.why);
		assert_true(client.ups == 0 || strcmp(how->name, "too eager") == 0);
		test_client_close(&client);
		test_peer_stop(&peer);
	}
}

/* A password never comes back in words, even where a server repeats it. */
static void repeat_everything(struct test_peer *peer, int fd, unsigned nth)
{
	static const char answer[] = "-ERR unknown command 'AUTH', with args beginning with: 'bob' 'hunter2' \r\n";
	struct test_words words;
	FILE *from = open_reader(fd);

	while (test_peer_command(from, &words) && test_peer_write(fd, answer, sizeof answer - 1))
		;
	fclose(from);
}

static void passwords_stay_secret(void **state)
{
	struct redis_access access = { .user = "bob", .password = "hunter2" };
	struct test_client client;
	struct test_peer peer;

	test_peer_start(&peer, repeat_everything, NULL);
	test_client_open(&client, "127.0.0.1", peer.port, &access);
	test_client_run_down(&client, 0);
	assert_int_equal(client.error, -EACCES);
	assert_string_equal(client.why, "the server refuses AUTH; before Redis 6 there are no users, only a password");
	test_client_close(&client);
	test_peer_stop(&peer);
}

static void nobody_there(void **state)
{
	struct test_echo echo;
	struct test_client client;

	test_client_open(&client, "127.0.0.1", test_free_port(), NULL);
	test_client_run_down(&client, 2);
	assert_int_equal(client.error, -ECONNREFUSED);
	assert_string_equal(client.why, "no connection: Connection refused");
	assert_false(test_client_echo(&client, &echo, 1, PATIENCE_US));
	test_client_close(&client);
}

/* Nobody accepts, and the queue of connections is full: the kernel answers no further SYN. */
static void packets_swallowed(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fillers[8];
	struct test_client client;

	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	for (int i = 0; i < 8; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(connect(fillers[i], (struct sockaddr *)&address, len) == 0 || errno == EINPROGRESS);
	}
	test_client_open_as(&client, "127.0.0.1", ntohs(address.sin_port), NULL,
	                    (struct redis_conn_config){ .timeout_us = 50000, .backoff_max_us = 1000 });
	test_client_run_down(&client, 1);
	assert_int_equal(client.error, -ETIMEDOUT);
	assert_string_equal(client.why, "no connection in time");
	assert_int_equal(client.ups, 0);
	test_client_close(&client);
	for (int i = 0; i < 8; i++)
		close(fillers[i]);
	close(listener);
}

/* One byte at a time. */
static void dribble(struct test_peer *peer, int fd, unsigned nth)
{
	struct test_words words;
	FILE *from = open_reader(fd);

	while (test_peer_command(from, &words)) {
		char answer[128];
		int len = snprintf(answer, sizeof answer, "+OK\r\n");

		if (strcmp(words.words[0], "ECHO") == 0)
			len = snprintf(answer, sizeof answer, "$%zu\r\n%s\r\n", strlen(words.words[1]), words.words[1]);
		for (int i = 0; i < len && test_peer_write(fd, answer + i, 1); i++)
			poll(NULL, 0, 1);
	}
	fclose(from);
}

static void byte_by_byte(void **state)
{
	struct test_echo echoes[5];
	struct test_client client;
	struct test_peer peer;

	test_peer_start(&peer, dribble, NULL);
	test_client_open_as(&client, "127.0.0.1", peer.port, NULL,
	                    (struct redis_conn_config){ .timeout_us = PATIENCE_US, .backoff_max_us = 1000 });
	test_client_run_up(&client);
	for (unsigned i = 0; i < 5; i++)
		assert_true(test_client_echo(&client, &echoes[i], i * 1000, PATIENCE_US));
	test_client_run_ended(&client);
	test_echoes_check(echoes, 5);
	assert_int_equal(client.downs, 0);
	test_client_close(&client);
	test_peer_stop(&peer);
}

static void fail_each(struct test_peer *peer, int fd, unsigned nth)
{
	struct test_words words;
	FILE *from = open_reader(fd);

	while (test_peer_command(from, &words)) {
		bool ok = strcmp(words.words[0], "ECHO") == 0 ? test_peer_write(fd, "-BUSY no\r\n", 10)
		                                              : test_peer_answer(fd, &words);
		if (!ok)
			break;
	}
	fclose(from);
}

/* An error is an answer: the connection stays. */
static void errors_are_replies(void **state)
{
	struct test_echo echoes[5];
	struct test_client client;
	struct test_peer peer;

	test_peer_start(&peer, fail_each, NULL);
	test_client_open(&client, "127.0.0.1", peer.port, NULL);
	test_client_run_up(&client);
	for (unsigned i = 0; i < 5; i++)
		assert_true(test_client_echo(&client, &echoes[i], i, PATIENCE_US));
	test_client_run_ended(&client);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(echoes[i].type, REDIS_REPLY_ERROR);
		assert_string_equal(echoes[i].text, "BUSY no");
	}
	assert_int_equal(client.downs, 0);
	test_client_close(&client);
	test_peer_stop(&peer);
}

/* The shortest deadline counts wherever it stands; the others lose their connection with it. */
static void mixed_deadlines(void **state)
{
	static const struct misbehaviour hangs = { .bytes = "", .hang = true };
	struct test_echo echoes[3];
	struct test_client client;
	struct test_peer peer;

	test_peer_start(&peer, misbehave, (void *)(uintptr_t)&hangs);
	test_client_open(&client, "127.0.0.1", peer.port, NULL);
	test_client_run_up(&client);
	assert_true(test_client_echo(&client, &echoes[0], 0, 3600 * SECOND));
	assert_true(test_client_echo(&client, &echoes[1], 1, 30000));
	assert_true(test_client_echo(&client, &echoes[2], 2, 3600 * SECOND));
	test_client_run_ended(&client);
	test_echoes_check(echoes, 3);
	assert_int_equal(echoes[0].error, -ECONNRESET);
	assert_int_equal(echoes[1].error, -ETIMEDOUT);
	assert_int_equal(echoes[2].error, -ECONNRESET);
	assert_true(echoes[1].ended_us - echoes[1].sent_us >= 30000);
	assert_int_equal(client.stats.timeouts, 1);
	test_client_close(&client);
	test_peer_stop(&peer);
}

/* Answers one command, then says that it has. */
static void answer_and_tell(struct test_peer *peer, int fd, unsigned nth)
{
	struct test_words words;
	FILE *from = open_reader(fd);

	while (test_peer_command(from, &words) && test_peer_answer(fd, &words)) {
		if (strcmp(words.words[0], "ECHO") == 0)
			__atomic_store_n((bool *)peer->context, true, __ATOMIC_RELEASE);
	}
	fclose(from);
}

/* The answer was there in time; that this thread was busy elsewhere is not the server's fault. */
static void busy_thread(void **state)
{
	struct test_echo echo;
	struct test_client client;
	struct test_peer peer;
	bool answered = false;

	test_peer_start(&peer, answer_and_tell, &answered);
	test_client_open(&client, "127.0.0.1", peer.port, NULL);
	test_client_run_up(&client);
	assert_true(test_client_echo(&client, &echo, 5, 200000));
	uv_run(&client.loop, UV_RUN_NOWAIT);
	while (!__atomic_load_n(&answered, __ATOMIC_ACQUIRE) || clock_mono_us() <= echo.command.deadline_us)
		poll(NULL, 0, 1);
	test_client_run_ended(&client);
	assert_int_equal(echo.error, 0);
	assert_string_equal(echo.text, "5");
	assert_int_equal(client.downs, 0);
	test_client_close(&client);
	test_peer_stop(&peer);
}

/* Begins to read when it is told to. */
static void read_late(struct test_peer *peer, int fd, unsigned nth)
{
	struct test_words words;
	FILE *from = open_reader(fd);

	if (be_good(fd, from, &words)) {
		while (!__atomic_load_n((bool *)peer->context, __ATOMIC_ACQUIRE))
			poll(NULL, 0, 1);
		do {
			if (!test_peer_answer(fd, &words))
				break;
		} while (test_peer_command(from, &words));
	}
	fclose(from);
}

/* Adds a command of 64 KiB. @return false when the connection takes no more. */
static bool send_large(struct test_client *client, struct test_echo *echo, unsigned number, const char *filler)
{
	struct redis_buffer *out;

	if (!test_client_echo(client, echo, number, 60 * SECOND))
		return false;
	out = redis_conn_begin(client->conn);
	if (out == NULL)
		return false;
	/* A word that the test's server does not look at, behind an echo that it does. */
	redis_command_begin(out, 3);
	redis_command_text(out, "ECHO");
	redis_command_number(out, number);
	redis_command_word(out, filler, 65536);
	echo[1] = echo[0];
	if (redis_conn_send(client->conn, &echo[1].command) != 0)
		return false;
	client->sent++;
	return true;
}

static void stalled_reader(void **state)
{
	enum { MAX = 2 * 1024 };
	static struct test_echo echoes[MAX];
	static char filler[65536];
	struct test_client client;
	struct test_peer peer;
	bool go = false;
	unsigned n = 0;
	size_t queued = 0;

	test_peer_start(&peer, read_late, &go);
	test_client_open(&client, "127.0.0.1", peer.port, NULL);
	test_client_run_up(&client);
	memset(filler, 'x', sizeof filler);
	while (n + 2 <= MAX && send_large(&client, &echoes[n], n, filler)) {
		n += 2;
		queued += sizeof filler;
		if (n % 16 == 0)
			uv_run(&client.loop, UV_RUN_NOWAIT);
	}
	/* 16 MiB wait here, a few in the kernel; then it is full, and says so. */
	assert_true(queued >= 16u << 20);
	assert_true(n < MAX);
	__atomic_store_n(&go, true, __ATOMIC_RELEASE);
	test_client_run_ended(&client);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(echoes[i].ended, 1);
		assert_int_equal(echoes[i].error, 0);
		assert_int_equal(strtoul(echoes[i].text, NULL, 10), i / 2 * 2);
	}
	assert_int_equal(client.downs, 0);
	/* And takes commands again. */
	assert_true(test_client_echo(&client, &echoes[0], 9, PATIENCE_US));
	test_client_run_ended(&client);
	assert_string_equal(echoes[0].text, "9");
	test_client_close(&client);
	test_peer_stop(&peer);
}

static void too_many_waiting(void **state)
{
	enum { MAX = 65536 };
	static const struct misbehaviour hangs = { .bytes = "", .hang = true };
	struct test_echo *echoes = calloc(MAX + 1, sizeof *echoes);
	struct test_client client;
	struct test_peer peer;

	assert_non_null(echoes);
	test_peer_start(&peer, misbehave, (void *)(uintptr_t)&hangs);
	test_client_open(&client, "127.0.0.1", peer.port, NULL);
	test_client_run_up(&client);
	for (unsigned i = 0; i < MAX; i++)
		assert_true(test_client_echo(&client, &echoes[i], i, PATIENCE_US));
	assert_false(test_client_echo(&client, &echoes[MAX], MAX, PATIENCE_US));
	assert_int_equal(redis_conn_waiting(client.conn), MAX);
	test_client_close(&client);
	test_echoes_check(echoes, MAX);
	test_peer_stop(&peer);
	free(echoes);
}

/* Gigabytes that are no reply yet. */
static void flood(struct test_peer *peer, int fd, unsigned nth)
{
	static char bytes[65536];
	struct test_words words;
	FILE *from = open_reader(fd);

	if (be_good(fd, from, &words)) {
		test_peer_write(fd, peer->context, strlen(peer->context));
		for (unsigned i = 0; i < 65536 && test_peer_write(fd, bytes, sizeof bytes); i++)
			;
	}
	fclose(from);
}

static void endless_reply(void **state)
{
	static const char *const heads[] = { "$2147483647\r\n", "+" };

	for (size_t i = 0; i < 2; i++) {
		struct test_echo echo;
		struct test_client client;
		struct test_peer peer;

		test_peer_start(&peer, flood, (void *)(uintptr_t)heads[i]);
		test_client_open(&client, "127.0.0.1", peer.port, NULL);
		test_client_run_up(&client);
		assert_true(test_client_echo(&client, &echo, 5, 60 * SECOND));
		test_client_run_ended(&client);
		assert_int_equal(echo.error, -EPROTO);
		assert_non_null(strstr(client.why, "far too large"));
		test_client_close(&client);
		test_peer_stop(&peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(misbehaving_once),      cmocka_unit_test(never_up),
		cmocka_unit_test(passwords_stay_secret), cmocka_unit_test(nobody_there),
		cmocka_unit_test(packets_swallowed),     cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(errors_are_replies),    cmocka_unit_test(mixed_deadlines),
		cmocka_unit_test(busy_thread),           cmocka_unit_test(stalled_reader),
		cmocka_unit_test(too_many_waiting),      cmocka_unit_test(endless_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
