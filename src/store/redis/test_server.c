/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/test_server.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define PATIENCE_US UINT64_C(20000000)
#define OPTIONS_MAX 24

/* @return a socket, or -1: the port is taken. */
static int bind_to_loopback(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons(port),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

static int listen_on_loopback(uint16_t *port)
{
	struct sockaddr_in address;
	socklen_t len = sizeof address;
	int fd = bind_to_loopback(0);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

/* None that the system gives to others: what it chooses by itself, for a connection or for who asks for any port, it
 * may choose before it is used here. */
uint16_t test_free_port(void)
{
	unsigned from = 10000, below = 32768, port;
	FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
	int fd;

	if (range != NULL && fscanf(range, "%u", &below) == 1 && below < from + 1000)
		below = from + 1000;
	if (range != NULL)
		fclose(range);
	do {
		assert_int_equal(getrandom(&port, sizeof port, 0), sizeof port);
		port = from + port % (below - from);
		fd = bind_to_loopback((uint16_t)port);
	} while (fd < 0);
	close(fd);
	return (uint16_t)port;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons(port),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

/* In the child. */
static void run_redis(const struct test_redis *redis)
{
	char port[8], paths[OPTIONS_MAX][128], log[128];
	const char *words[OPTIONS_MAX + 16] = { "redis-server",
		                                redis->tls ? "--tls-port" : "--port",
		                                port,
		                                "--bind",
		                                "127.0.0.1",
		                                "--save",
		                                "",
		                                "--dir",
		                                redis->folder,
		                                "--logfile",
		                                log };
	size_t n = 11;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(port, sizeof port, "%u", redis->port);
	snprintf(log, sizeof log, "%s/log", redis->folder);
	if (redis->tls) {
		words[n++] = "--port";
		words[n++] = "0";
	}
	for (size_t i = 0; redis->options != NULL && redis->options[i] != NULL && i < OPTIONS_MAX; i++) {
		bool path = strncmp(redis->options[i], "%s", 2) == 0;

		snprintf(paths[i], sizeof paths[i], "%s/%s", redis->folder, redis->options[i] + 2);
		words[n++] = path ? paths[i] : redis->options[i];
	}
	words[n] = NULL;
	execvp(words[0], (char *const *)(uintptr_t)words);
	_exit(127);
}

void test_redis_again(struct test_redis *redis)
{
	uint64_t until_us = clock_mono_us() + PATIENCE_US;

	redis->pid = fork();
	assert_true(redis->pid >= 0);
	if (redis->pid == 0)
		run_redis(redis);
	while (clock_mono_us() < until_us) {
		int fd = connect_to(redis->port);

		if (fd >= 0) {
			close(fd);
			return;
		}
		if (waitpid(redis->pid, NULL, WNOHANG) == redis->pid)
			break;
		poll(NULL, 0, 5);
	}
	fail_msg("redis-server does not run; see %s/log", redis->folder);
}

void test_redis_folder(struct test_redis *redis)
{
	strcpy(redis->folder, "/tmp/sluice-redis-XXXXXX");
	assert_non_null(mkdtemp(redis->folder));
}

void test_redis_start(struct test_redis *redis, bool tls, const char *const *options)
{
	if (redis->folder[0] == '\0')
		test_redis_folder(redis);
	redis->tls = tls;
	redis->options = options;
	redis->port = test_free_port();
	test_redis_again(redis);
}

void test_redis_signal(struct test_redis *redis, int signal)
{
	assert_int_equal(kill(redis->pid, signal), 0);
	if (signal != SIGKILL)
		return;
	assert_int_equal(waitpid(redis->pid, NULL, 0), redis->pid);
	redis->pid = 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

void test_redis_stop(struct test_redis *redis)
{
	if (redis->pid > 0)
		test_redis_signal(redis, SIGKILL);
	if (redis->folder[0] != '\0')
		nftw(redis->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	redis->folder[0] = '\0';
}

static void *peer_main(void *arg)
{
	struct test_peer *peer = arg;

	for (unsigned nth = 0;; nth++) {
		int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return NULL;
		__atomic_add_fetch(&peer->accepted, 1, __ATOMIC_RELAXED);
		pthread_mutex_lock(&peer->lock);
		peer->fd = fd;
		if (peer->stopping)
			shutdown(fd, SHUT_RDWR);
		pthread_mutex_unlock(&peer->lock);
		peer->serve(peer, fd, nth);
		pthread_mutex_lock(&peer->lock);
		peer->fd = -1;
		pthread_mutex_unlock(&peer->lock);
		close(fd);
	}
}

void test_peer_start(struct test_peer *peer, void (*serve)(struct test_peer *, int, unsigned), void *context)
{
	*peer = (struct test_peer){ .serve = serve, .context = context, .fd = -1 };
	pthread_mutex_init(&peer->lock, NULL);
	peer->listener = listen_on_loopback(&peer->port);
	assert_int_equal(listen(peer->listener, 16), 0);
	assert_int_equal(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

void test_peer_hang_up(struct test_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	if (peer->fd >= 0)
		shutdown(peer->fd, SHUT_RDWR);
	pthread_mutex_unlock(&peer->lock);
}

void test_peer_stop(struct test_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	peer->stopping = true;
	shutdown(peer->listener, SHUT_RDWR);
	if (peer->fd >= 0)
		shutdown(peer->fd, SHUT_RDWR);
	pthread_mutex_unlock(&peer->lock);
	pthread_join(peer->thread, NULL);
	close(peer->listener);
	pthread_mutex_destroy(&peer->lock);
}

bool test_peer_command(FILE *from, struct test_words *words)
{
	char line[64], word[4096];
	unsigned n;

	*words = (struct test_words){ 0 };
	if (fgets(line, sizeof line, from) == NULL || sscanf(line, "*%u\r\n", &n) != 1)
		return false;
	for (; words->n < n; words->n++) {
		unsigned len;

		if (fgets(line, sizeof line, from) == NULL || sscanf(line, "$%u\r\n", &len) != 1)
			return false;
		for (unsigned at = 0; at < len + 2;) {
			unsigned part = len + 2 - at < sizeof word ? len + 2 - at : sizeof word;

			if (fread(word, 1, part, from) != part)
				return false;
			if (at == 0 && words->n < 4)
				snprintf(words->words[words->n], sizeof words->words[0], "%.*s", (int)len, word);
			at += part;
		}
	}
	return true;
}

bool test_peer_write(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		at += sent;
		len -= (size_t)sent;
	}
	return true;
}

bool test_peer_answer(int fd, const struct test_words *words)
{
	char answer[128];
	int len = snprintf(answer, sizeof answer, "+OK\r\n");

	if (strcmp(words->words[0], "ECHO") == 0)
		len = snprintf(answer, sizeof answer, "$%zu\r\n%s\r\n", strlen(words->words[1]), words->words[1]);
	return test_peer_write(fd, answer, (size_t)len);
}
