/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_server.h: servers for tests of what speaks to Redis: a real redis-server, and one that behaves as the test
 * wants.
 *
 * For tests only. A server that can't be started fails the test.
 */
#ifndef SLUICE_STORE_REDIS_TEST_SERVER_H
#define SLUICE_STORE_REDIS_TEST_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* A redis-server on a free port of 127.0.0.1, in a folder of its own. Ends with the test program at the latest. */
struct test_redis {
	pid_t pid; /* 0: does not run */
	uint16_t port;
	bool tls; /* `port` is the one with TLS */
	char folder[64];
	const char *const *options;
};

/** Starts it and waits until it answers. @param options  further words of its command line, ended by NULL; "%s" in
 *                                                        front of one stands for `folder` + "/". Live as long as it. */
void test_redis_start(struct test_redis *redis, bool tls, const char *const *options);

/** Starts it again where it was, after test_redis_signal(SIGKILL). */
void test_redis_again(struct test_redis *redis);

/** Sends a signal; after SIGKILL waits for the end. */
void test_redis_signal(struct test_redis *redis, int signal);

/** Ends it and removes its folder. */
void test_redis_stop(struct test_redis *redis);

/** Makes a folder for `redis` before it starts, for files that its options name. */
void test_redis_folder(struct test_redis *redis);

/** @return a port on 127.0.0.1 on which nothing listens. */
uint16_t test_free_port(void);

/* A server of the test, in a thread of its own: accepts one connection after the other. */
struct test_peer {
	/* Serves one connection, the nth since the start, counted from 0. The socket is closed afterwards. */
	void (*serve)(struct test_peer *peer, int fd, unsigned nth);
	void *context;
	uint16_t port;
	unsigned accepted; /* atomic */

	pthread_t thread;
	pthread_mutex_t lock;
	int listener, fd; /* under the lock; -1: none */
	bool stopping;    /* under the lock */
};

void test_peer_start(struct test_peer *peer, void (*serve)(struct test_peer *, int, unsigned), void *context);

/** Ends the connection that it has, if there is one, and accepts the next. */
void test_peer_hang_up(struct test_peer *peer);

/** Ends what goes on, and the thread. */
void test_peer_stop(struct test_peer *peer);

/* A command as it came in. */
struct test_words {
	unsigned n;
	char words[4][64]; /* the first ones, cut */
};

/** Reads one command. @return false at the end of the connection. */
bool test_peer_command(FILE *from, struct test_words *words);

/** Writes all of it. @return false when the connection is gone. */
bool test_peer_write(int fd, const void *bytes, size_t len);

/** Answers as a well-behaved server: ECHO with its word, everything else with OK. @return as above. */
bool test_peer_answer(int fd, const struct test_words *words);

#endif
