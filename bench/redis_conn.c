/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_conn.c: what a command to Redis costs this process in CPU: our connection against hiredis's asynchronous one
 * with its libuv adapter, in the same run.
 *
 * A redis-server of its own on a free port answers. At each depth (commands that leave together in one turn of the
 * loop) both send the same call, with keys and arguments of the length of a decision, and wait for all answers before
 * the next turn. Rounds alternate; figures are medians of the CPU time of this process (user and system) by command,
 * ratios are medians of the ratios within a round. A bare loop of write() and read() of the same bytes stands beside
 * them: what the kernel takes, whoever calls it.
 *
 * usage: bench_redis_conn
 */
#include <arpa/inet.h>
#include <hiredis/adapters/libuv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis/conn.h"
#include "store/redis/reply.h"

#define ROUNDS 31
#define COMMANDS 9600 /* a round; divisible by each depth */
#define DEPTH_MAX 32
#define KEY "rate_limit:per-client:{203.0.113.7}"
#define ARGUMENT "0123456789abcdef0123456789abcdef01234567"

struct bench {
	uv_loop_t loop;
	uint16_t port;
	unsigned depth;
	unsigned left, in_flight; /* of the round */
	bool done;

	struct redis_access access;
	struct redis_conn_stats stats;
	struct redis_conn *conn;
	struct redis_command commands[DEPTH_MAX];

	redisAsyncContext *async;
	int plain; /* socket */
};

static struct bench bench;

static void die(const char *what)
{
	fprintf(stderr, "bench_redis_conn: %s\n", what);
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons(port),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

static void start_redis(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char port[8];

	if (bind(fd, (struct sockaddr *)&address, len) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		die("no free port");
	close(fd);
	bench.port = ntohs(address.sin_port);
	snprintf(port, sizeof port, "%u", bench.port);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--logfile",
		       "/dev/null", "--dir", "/tmp", NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000 && bench.plain <= 0; i++) {
		bench.plain = connect_to(bench.port);
		usleep(bench.plain > 0 ? 0 : 10000);
	}
	if (bench.plain <= 0)
		die("redis-server does not run");
}

/* Ours. */

static void send_ours(void);

static void on_ours(struct redis_command *command, const struct redisReply *reply, int error)
{
	(void)command;
	if (error != 0 || reply->type != REDIS_REPLY_STRING)
		die("no answer");
	if (--bench.in_flight == 0)
		send_ours();
}

static void send_ours(void)
{
	uint64_t deadline_us = clock_mono_us() + 50000000;

	if (bench.left == 0) {
		bench.done = true;
		return;
	}
	bench.left -= bench.depth;
	bench.in_flight = bench.depth;
	for (unsigned i = 0; i < bench.depth; i++) {
		struct redis_buffer *out = redis_conn_begin(bench.conn);

		redis_command_begin(out, 3);
		redis_command_text(out, "GETEX");
		redis_command_word(out, KEY, sizeof KEY - 1);
		redis_command_text(out, "PERSIST");
		bench.commands[i].deadline_us = deadline_us;
		bench.commands[i].ended = on_ours;
		if (redis_conn_send(bench.conn, &bench.commands[i]) != 0)
			die("out of memory");
	}
}

/* hiredis's. */

static void send_async(void);

static void on_async(redisAsyncContext *async, void *reply, void *context)
{
	(void)async;
	(void)context;
	if (reply == NULL || ((redisReply *)reply)->type != REDIS_REPLY_STRING)
		die("no answer");
	if (--bench.in_flight == 0)
		send_async();
}

static void send_async(void)
{
	static const char *words[] = { "GETEX", KEY, "PERSIST" };
	static const size_t lens[] = { 5, sizeof KEY - 1, 7 };

	if (bench.left == 0) {
		bench.done = true;
		return;
	}
	bench.left -= bench.depth;
	bench.in_flight = bench.depth;
	for (unsigned i = 0; i < bench.depth; i++)
		redisAsyncCommandArgv(bench.async, on_async, NULL, 3, words, lens);
}

static double run(void (*start)(void))
{
	uint64_t begun_ns;

	bench.left = COMMANDS;
	bench.done = false;
	begun_ns = cpu_ns();
	start();
	while (!bench.done)
		uv_run(&bench.loop, UV_RUN_ONCE);
	return (double)(cpu_ns() - begun_ns) / COMMANDS / 1000;
}

/* The kernel's part: the same bytes, each way in as few calls. */
static double run_plain(void)
{
	static const char command[] = "*3\r\n$5\r\nGETEX\r\n$35\r\n" KEY "\r\n$7\r\nPERSIST\r\n";
	char out[DEPTH_MAX * sizeof command], in[65536];
	size_t len = sizeof command - 1, answer = sizeof "$40\r\n" ARGUMENT "\r\n" - 1;
	uint64_t begun_ns;

	for (unsigned i = 0; i < bench.depth; i++)
		memcpy(out + i * len, command, len);
	begun_ns = cpu_ns();
	for (unsigned n = 0; n < COMMANDS; n += bench.depth) {
		if (write(bench.plain, out, bench.depth * len) != (ssize_t)(bench.depth * len))
			die("write");
		for (size_t got = 0; got < bench.depth * answer;) {
			ssize_t part = read(bench.plain, in, sizeof in);

			if (part <= 0)
				die("read");
			got += (size_t)part;
		}
	}
	return (double)(cpu_ns() - begun_ns) / COMMANDS / 1000;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *figures)
{
	qsort(figures, ROUNDS, sizeof *figures, by_size);
	return figures[ROUNDS / 2];
}

static void compare(unsigned depth)
{
	double ours[ROUNDS], async[ROUNDS], plain[ROUNDS], ratio[ROUNDS];

	bench.depth = depth;
	run(send_ours);
	run(send_async);
	for (int i = 0; i < ROUNDS; i++) {
		ours[i] = run(send_ours);
		async[i] = run(send_async);
		plain[i] = run_plain();
		ratio[i] = ours[i] / async[i];
	}
	printf("redis connection, depth %2u: %6.2f us a command, hiredis async %6.2f, kernel alone %6.2f; ratio %.2f\n",
	       depth, median(ours), median(async), median(plain), median(ratio));
	fflush(stdout);
}

int main(void)
{
	char answer[64];

	start_redis();
	uv_loop_init(&bench.loop);
	bench.access.name = "bench";
	bench.conn = redis_conn_new(&(struct redis_conn_config){ .loop = &bench.loop,
	                                                         .host = "127.0.0.1",
	                                                         .port = bench.port,
	                                                         .access = &bench.access,
	                                                         .timeout_us = 5000000,
	                                                         .backoff_max_us = 100000,
	                                                         .stats = &bench.stats });
	bench.async = redisAsyncConnect("127.0.0.1", bench.port);
	if (bench.conn == NULL || bench.async == NULL || redisLibuvAttach(bench.async, &bench.loop) != REDIS_OK)
		die("no connection");
	if (write(bench.plain, "SET " KEY " " ARGUMENT "\r\n", sizeof "SET " KEY " " ARGUMENT "\r\n" - 1) <= 0 ||
	    read(bench.plain, answer, sizeof answer) <= 0)
		die("SET");
	while (!redis_conn_up(bench.conn))
		uv_run(&bench.loop, UV_RUN_ONCE);
	compare(1);
	compare(8);
	compare(32);
	return 0;
}
