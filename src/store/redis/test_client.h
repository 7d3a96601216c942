/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client.h: one connection of conn.h on a loop of its own, and commands that know what became of them.
 *
 * For tests only. Each command asks for an echo of its own number, so an answer that was another's is seen.
 */
#ifndef SLUICE_STORE_REDIS_TEST_CLIENT_H
#define SLUICE_STORE_REDIS_TEST_CLIENT_H

#include "store/redis/conn.h"
#include "store/redis/reply.h"

struct test_client {
	uv_loop_t loop;
	struct redis_access access;
	struct redis_conn_stats stats;
	struct redis_conn *conn;
	uv_timer_t guard;

	unsigned ups, downs; /* calls of `changed` */
	int error;           /* of the last one that was no success */
	char why[512];       /* likewise */
	bool free_when_changed;

	unsigned sent, ended; /* commands */
	uint64_t patience_until_us;
	bool gone; /* patience is at an end */
};

struct test_echo {
	struct redis_command command;
	struct test_client *client;
	unsigned number, ended;
	int error, type; /* of the reply */
	char text[256];
	uint64_t sent_us, ended_us;
};

/** @param greet, context  as in redis_conn_config; timeouts are 5 s to connect, 100 ms of backoff. */
void test_client_open(struct test_client *client, const char *host, uint16_t port, const struct redis_access *access);

/** The same with settings; loop, host, access, changed, context and stats are filled in. */
void test_client_open_as(struct test_client *client, const char *host, uint16_t port, const struct redis_access *access,
                         struct redis_conn_config config);

/** Runs the loop until `until` is true; fails the test when it does not come for 30 s. */
void test_client_run(struct test_client *client, bool (*until)(void *), void *context);

void test_client_run_up(struct test_client *client);

/** Runs until it has been down more often than `downs` times. */
void test_client_run_down(struct test_client *client, unsigned downs);

/** Runs until all that was sent has ended. */
void test_client_run_ended(struct test_client *client);

/** Sends `ECHO number`. @return false when the connection takes none; then `ended` stays 0 and no answer comes. */
bool test_client_echo(struct test_client *client, struct test_echo *echo, unsigned number, uint64_t timeout_us);

/** Sends a command of NUL-terminated words and runs until it has ended. @return the type of its reply, whose text is
 *  then in `text`; 0 when it failed. */
int test_client_ask(struct test_client *client, char text[256], const char *const *words, unsigned n);

#define TEST_ASK(client, text, ...)                                                                                    \
	test_client_ask(client, text, (const char *const[]){ __VA_ARGS__ },                                            \
	                sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/** Frees the connection if there is one, runs the loop to its end; fails if anything is left on it. */
void test_client_close(struct test_client *client);

/** Fails unless each ended once, and whose answer is a string got its own number. */
void test_echoes_check(const struct test_echo *echoes, unsigned n);

#endif
