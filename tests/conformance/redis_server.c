/* SPDX-License-Identifier: Apache-2.0 */
#include "redis_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MAX = 32, START_TRIES = 1500, TRY_MS = 20 };

static void path_in(const struct redis_server *server, const char *name, char path[64])
{
	snprintf(path, 64, "%s/%s", server->directory, name);
}

/* A module that was built with a sanitizer needs its library from the start. What the server itself leaks is not ours.
 */
static void preload_library(const char *path)
{
	const char *options = getenv("ASAN_OPTIONS");
	char text[512];

	snprintf(text, sizeof text, "%s%sdetect_leaks=0", options != NULL ? options : "", options != NULL ? ":" : "");
	setenv("ASAN_OPTIONS", text, 1);
	setenv("LD_PRELOAD", path, 1);
}

static void run(const struct redis_server *server, const char *socket, const char *const *options, pid_t parent)
{
	const char *chosen = getenv("SLUICE_TEST_REDIS_SERVER"), *preload = getenv("SLUICE_TEST_PRELOAD");
	const char *words[WORDS_MAX] = { chosen != NULL && chosen[0] != '\0' ? chosen : "redis-server",
		                         "--port",
		                         "0",
		                         "--unixsocket",
		                         socket,
		                         "--dir",
		                         server->directory,
		                         "--save",
		                         "",
		                         "--appendonly",
		                         "no",
		                         "--logfile",
		                         "log" };
	bool module = options != NULL && options[0] != NULL && strcmp(options[0], "--loadmodule") == 0;
	size_t n = 13;

	while (options != NULL && *options != NULL && n < WORDS_MAX - 1)
		words[n++] = *options++;
	if (module && preload != NULL && preload[0] != '\0')
		preload_library(preload);
	/* Ended with the test, should that be killed. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(126);
	execvp(words[0], (char *const *)words);
	_exit(127);
}

/* Until it answers, or has ended. */
static int connect_to(struct redis_server *server, const char *socket)
{
	const struct timespec pause = { .tv_nsec = TRY_MS * 1000000L };

	for (int i = 0; i < START_TRIES; i++) {
		redisReply *reply;

		server->context = redisConnectUnix(socket);
		reply = server->context != NULL && server->context->err == 0 ? redisCommand(server->context, "PING")
		                                                             : NULL;
		if (reply != NULL && reply->type == REDIS_REPLY_STATUS) {
			freeReplyObject(reply);
			return 0;
		}
		if (reply != NULL)
			freeReplyObject(reply);
		if (server->context != NULL)
			redisFree(server->context);
		server->context = NULL;
		if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
			server->pid = -1;
			break;
		}
		nanosleep(&pause, NULL);
	}
	fprintf(stderr, "redis-server does not start: is it installed? (scripts/deps)\n");
	return -1;
}

int redis_server_start(struct redis_server *server, const char *const *options)
{
	pid_t parent = getpid();
	char socket[64];

	memset(server, 0, sizeof *server);
	strcpy(server->directory, "/tmp/sluice-redis-XXXXXX");
	if (mkdtemp(server->directory) == NULL) {
		perror("mkdtemp");
		return -1;
	}
	path_in(server, "socket", socket);
	server->pid = fork();
	if (server->pid == 0)
		run(server, socket, options, parent);
	if (server->pid > 0 && connect_to(server, socket) == 0)
		return 0;
	redis_server_stop(server);
	return -1;
}

void redis_server_stop(struct redis_server *server)
{
	static const char *const files[] = { "socket", "log", "dump.rdb" };

	if (server->context != NULL)
		redisFree(server->context);
	server->context = NULL;
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	server->pid = -1;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		char path[64];

		path_in(server, files[i], path);
		unlink(path);
	}
	rmdir(server->directory);
}
