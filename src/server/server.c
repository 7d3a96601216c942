/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app/app.h"
#include "base/log.h"
#include "server/links.h"
#include "server/limiter.h"
#include "server/listen.h"
#include "server/systemd.h"
#include "server/worker.h"

struct server {
	const struct server_options *options;
	struct config *config;
	struct app app;
	struct limiter limiter;
	struct access_log *access;
	struct http_connections *connections;
	struct limits *limits;
	size_t threads;
	struct sockaddr_storage address; /* as config.listen, with the port that 0 became */
	int *listen_fds;
	struct worker **workers;
	struct http_stats *http_stats; /* one a thread */
};

static bool open_limiter(struct server *server)
{
	if (limiter_open(&server->limiter, server->config, server->threads) != 0)
		return false;
	server->app.store = server->limiter.store;
	return true;
}

static bool open_links(struct server *server)
{
	server->app.links = server_open_links(server->config, server->threads);
	return server->app.links != NULL;
}

static bool open_access_log(struct server *server)
{
	const struct config *config = server->config;

	if (config->log.access == ACCESS_LOG_OFF)
		return true;
	server->access = access_log_open(config->log.access_file, config->log.access == ACCESS_LOG_JSON);
	if (server->access == NULL)
		log_error("log.access_file: %s: can't be written: %s%s", config->log.access_file, strerror(errno),
		          errno == ENOENT ? "; create its folder first" : "");
	return server->access != NULL;
}

static bool open_sockets(struct server *server)
{
	const char *why = NULL;
	int err, given = systemd_sockets(&server->address, server->listen_fds, server->threads, &why);

	if (given < 0)
		log_error("listen: the sockets of the service manager: %s", why);
	else if (given > 0)
		log_info("listen: %d socket%s of the service manager instead of %s", given, given == 1 ? "" : "s",
		         server->config->listen_text);
	if (given != 0)
		return given > 0;
	server->address = server->config->listen;
	err = listen_all(&server->address, server->config->listen_len, server->listen_fds, server->threads);
	if (err == -EADDRINUSE)
		log_error("listen: %s is in use; stop the other program, or choose another port with --listen",
		          server->config->listen_text);
	else if (err != 0)
		log_error("listen: %s: %s", server->config->listen_text, strerror(-err));
	return err == 0;
}

static bool allocate(struct server *server)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	server->threads = server->config->server.threads > 0 ? server->config->server.threads
	                  : cores > 0                        ? (size_t)cores
	                                                     : 1;
	server->listen_fds = calloc(server->threads, sizeof *server->listen_fds);
	server->workers = calloc(server->threads, sizeof(struct worker *));
	server->http_stats = aligned_alloc(64, server->threads * sizeof *server->http_stats);
	server->connections = http_connections_new(server->config->server.max_connections_per_client);
	server->app.config = server->config;
	server->app.metrics = metrics_new(server->threads);
	if (server->app.metrics != NULL)
		server->limits = limits_new(server->config, server->app.metrics);
	if (server->listen_fds == NULL || server->workers == NULL || server->http_stats == NULL ||
	    server->connections == NULL || server->limits == NULL) {
		log_error("out of memory");
		return false;
	}
	memset(server->http_stats, 0, server->threads * sizeof *server->http_stats);
	return true;
}

/* A connection is a descriptor; the usual soft limit of 1,024 is for programs that use select(). */
static void raise_descriptors(const struct config *config)
{
	struct rlimit limit, more;
	rlim_t want = (rlim_t)config->server.max_connections + 128;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur < want) {
		more = limit;
		more.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &more) == 0) /* a sandbox may forbid it */
			limit = more;
	}
	if (limit.rlim_cur < want)
		log_warn("server.max_connections: %u connections need %llu file descriptors and the system grants "
		         "%llu; raise LimitNOFILE or ulimit -n",
		         config->server.max_connections, (unsigned long long)want, (unsigned long long)limit.rlim_cur);
}

static bool start_workers(struct server *server)
{
	const struct config *config = server->config;
	uint32_t share = (uint32_t)((config->server.max_connections + server->threads - 1) / server->threads);

	/* Before the first thread: it may be asked for the metrics at once. */
	metrics_set_sources(server->app.metrics,
	                    &(struct metrics_sources){ .store = server->app.store,
	                                               .links = server->app.links,
	                                               .access_log = server->access,
	                                               .http = server->http_stats,
	                                               .max_connections = config->server.max_connections,
	                                               .max_keys = config->limiter.max_keys });
	for (size_t i = 0; i < server->threads; i++) {
		struct worker_config worker = {
			.app = &server->app,
			.index = i,
			.http = { .listen_fd = server->listen_fds[i],
			          .max_connections = share,
			          .ipv6_prefix = config->limiter.ipv6_prefix,
			          .max_header_bytes = config->server.max_header_bytes,
			          .max_body_bytes = config->server.max_body_bytes,
			          .idle_timeout_us = config->server.idle_timeout_us,
			          .request_timeout_us = config->server.request_timeout_us,
			          .trusted = config->trusted_proxies,
			          .trusted_n = config->trusted_proxies_n,
			          .connections = server->connections,
			          .stats = &server->http_stats[i] },
			.access = server->access,
			.limits = limits_hold(server->limits),
			.shutdown_timeout_us = config->server.shutdown_timeout_us,
		};

		server->workers[i] = worker_start(&worker);
		if (server->workers[i] == NULL) {
			log_error("thread %zu: %s", i, strerror(errno));
			return false;
		}
	}
	return true;
}

/* @param state  lines for the service manager. It waits for READY=1, so that not being heard is worth a line. */
static void tell(const char *state)
{
	int err = systemd_notify(state);

	if (err != 0)
		log_warn("NOTIFY_SOCKET: the service manager can't be told \"%s\": %s", state, strerror(-err));
}

static void announce(const struct server *server)
{
	const struct sockaddr_storage *address = &server->address;
	char text[INET6_ADDRSTRLEN];

	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		printf("sluice is serving on http://[%s]:%u\n", text, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		printf("sluice is serving on http://%s:%u\n", text, ntohs(in->sin_port));
	}
	fflush(stdout);
	tell("READY=1");
}

/*
 * The threads take new limits over one after the other. If a limit kept its name but not the form of its states, each
 * of two threads would find the other's states foreign and begin anew, again and again, and far more than the limit
 * would pass. @return the name of such a limit, or NULL.
 */
static const char *changed_form(const struct limits *old, const struct config *new)
{
	for (size_t i = 0; i < new->limits_n; i++) {
		for (size_t j = 0; j < old->n; j++) {
			const struct sluice_policy *a = &old->limits[j].policy, *b = &new->limits[i].policy;

			if (strcmp(old->limits[j].name, new->limits[i].name) == 0 &&
			    (a->algorithm != b->algorithm || a->tick_us != b->tick_us))
				return new->limits[i].name;
		}
	}
	return NULL;
}

/* Gives them to all threads, and waits until each has them: a loop is never blocked, so that is soon. */
static void give_to_all(struct server *server, struct limits *limits)
{
	size_t given = 0;
	sem_t taken;

	sem_init(&taken, 0, 0);
	for (size_t i = 0; i < server->threads; i++) {
		if (worker_set_limits(server->workers[i], limits_hold(limits), &taken) == 0)
			given++;
		else
			log_error("reload: out of memory; thread %zu keeps the old limits", i);
	}
	while (given > 0) {
		if (sem_wait(&taken) == 0) /* or EINTR */
			given--;
	}
	sem_destroy(&taken);
}

static void put_in_force(struct server *server, const struct config *config)
{
	struct limits *limits = limits_new(config, server->app.metrics);
	char others[512];

	if (limits == NULL) {
		log_error("reload: out of memory; nothing was changed");
		return;
	}
	limits_drop(server->limits);
	server->limits = limits;
	give_to_all(server, limits);
	if (config_differences(server->config, config, others, sizeof others) == 0)
		log_info("reload: %zu limit%s in force", limits->n, limits->n == 1 ? "" : "s");
	else
		log_warn("reload: %zu limit%s in force; changed as well, and not in force before a restart: %s",
		         limits->n, limits->n == 1 ? "" : "s", others);
}

static void read_anew(struct server *server)
{
	struct config *config = malloc(sizeof *config);
	struct config_error error;
	const char *name;
	int err;

	if (server->access != NULL && (err = access_log_reopen(server->access)) != 0)
		log_error("reload: %s: %s; the old file stays in use", server->config->log.access_file, strerror(-err));
	if (config == NULL) {
		log_error("reload: out of memory; nothing was changed");
		return;
	}
	if (server->options->reload(server->options->context, config, &error) != 0) {
		log_error("reload: %s; nothing was changed", error.text);
		free(config);
		return;
	}
	name = changed_form(server->limits, config);
	if (name != NULL)
		log_error("reload: limit %s: its algorithm, or the window of its sliding-log across a multiple of "
		          "35 min 47 s, can't change while the server runs; give the limit a new name, or restart; "
		          "nothing was changed",
		          name);
	else
		put_in_force(server, config);
	free(config);
}

static void reload(struct server *server)
{
	char state[64];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now); /* what systemd compares with is of this clock */
	snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
	         (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
	tell(state);
	read_anew(server);
	tell("READY=1");
}

static void wait_for_signals(struct server *server, const sigset_t *signals)
{
	for (;;) {
		int signal = sigwaitinfo(signals, NULL);

		if (signal == SIGHUP) {
			reload(server);
		} else if (signal > 0) {
			log_info("stopping: %s", strsignal(signal));
			tell("STOPPING=1");
			return;
		}
	}
}

static void stop_workers(struct server *server)
{
	size_t cut_off = 0;

	for (size_t i = 0; i < server->threads; i++)
		worker_stop(server->workers[i]);
	for (size_t i = 0; i < server->threads; i++)
		cut_off += worker_join(server->workers[i]);
	if (cut_off > 0)
		log_warn("stopping: %zu requests were cut off after the shutdown timeout", cut_off);
}

static void close_all(struct server *server)
{
	if (server->app.links != NULL)
		links_close(server->app.links);
	limiter_close(&server->limiter);
	if (server->access != NULL)
		access_log_close(server->access);
	limits_drop(server->limits);
	if (server->app.metrics != NULL)
		metrics_free(server->app.metrics);
	if (server->connections != NULL)
		http_connections_free(server->connections);
	free(server->listen_fds);
	free(server->workers);
	free(server->http_stats);
}

static bool open_all(struct server *server)
{
	return allocate(server) && open_access_log(server) && open_limiter(server) && open_links(server) &&
	       open_sockets(server);
}

int server_run(const struct server_options *options)
{
	struct server server = { .options = options, .config = options->config };
	sigset_t signals;

	/* Before any thread exists, so that all inherit it and only this one takes them. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);

	raise_descriptors(options->config);
	if (!open_all(&server)) {
		close_all(&server);
		return 1;
	}
	if (!start_workers(&server))
		return 1; /* some threads may run; the system takes back what they hold */
	/* Who asks before the store is there would be let pass by a server that knows of nobody's requests yet. So they
	 * wait: a server that starts anew among others must not hand the limit out once more. */
	limiter_wait(&server.limiter);
	for (size_t i = 0; i < server.threads; i++)
		worker_serve(server.workers[i]);
	announce(&server);
	wait_for_signals(&server, &signals);
	stop_workers(&server);
	close_all(&server);
	return 0;
}
