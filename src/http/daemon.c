/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon.c: libmicrohttpd inside a libuv loop: connections, their bounds and their timeouts.
 *
 * libmicrohttpd brings an epoll descriptor of its own; the loop watches that one and runs the library
 * when it stirs. Leaves out: requests and responses (exchange.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/internal.h"

/* How often the library may go on in one turn before the loop's other work gets its turn. */
#define RUNS_A_TURN 8
/* With connections parked the library always has something to do in its own eyes. After so many runs in which it did
 * nothing it is done. (Only a head that needs several reads, none of which ends it, could need more: the tick's.) */
#define RUNS_IN_VAIN 2
/* The library accepts ten connections a run at most; so many turns empty the largest accept queue, and are an end
 * should it fill up as fast. */
#define TURNS_BEFORE_DRAIN 64

/* Whoever has connected is about to send a request: it takes the way there and back, and a client its time. Those that
 * browsers open in advance are not worth more. */
#define EXPECTED_US 1000000

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void queue_remove(struct http_daemon *daemon, struct http_peer *peer)
{
	struct http_peer **tail = peer->list_head == &daemon->fresh ? &daemon->fresh_tail : &daemon->kept_tail;

	if (peer->list_head == NULL)
		return;
	*(peer->prev != NULL ? &peer->prev->next : peer->list_head) = peer->next;
	*(peer->next != NULL ? &peer->next->prev : tail) = peer->prev;
	peer->list_head = NULL;
}

void http_peer_wait(struct http_daemon *daemon, struct http_peer *peer, struct http_peer **queue, uint64_t now_us)
{
	struct http_peer **tail;

	queue_remove(daemon, peer);
	if (queue == NULL)
		return;
	tail = queue == &daemon->fresh ? &daemon->fresh_tail : &daemon->kept_tail;
	peer->waiting_since_us = now_us;
	peer->list_head = queue;
	peer->next = NULL;
	peer->prev = *tail;
	*(*tail != NULL ? &(*tail)->next : queue) = peer;
	*tail = peer;
}

static void peer_opened(struct http_daemon *daemon, struct MHD_Connection *connection, void **socket_context)
{
	const union MHD_ConnectionInfo *address =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_peer *peer = calloc(1, sizeof *peer);
	int on = 1;

	daemon->progress++;
	*socket_context = peer;
	if (peer == NULL) { /* every later callback sees NULL and refuses */
		shutdown(fd->connect_fd, SHUT_RDWR);
		count(&daemon->config.stats->refused);
		return;
	}
	peer->fd = fd->connect_fd;
	client_from_sockaddr(&peer->client, address->client_addr);
	peer->trusted = client_trusted(&peer->client, daemon->config.trusted, daemon->config.trusted_n);
	peer->text_len = client_text(&peer->client, peer->text);
	if (!peer->trusted) {
		peer->holder = client_network(&peer->client, daemon->config.ipv6_prefix);
		peer->counted = http_connections_enter(daemon->config.connections, &peer->holder);
		if (!peer->counted) {
			shutdown(peer->fd, SHUT_RDWR);
			count(&daemon->config.stats->refused);
		}
	}
	/* An answer goes out in one write; waiting for more to fill a segment only delays it. */
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	count(&daemon->config.stats->accepted);
	count(&daemon->config.stats->open);
	http_peer_wait(daemon, peer, &daemon->fresh, clock_mono_us());
}

static void peer_closed(struct http_daemon *daemon, void **socket_context)
{
	struct http_peer *peer = *socket_context;

	if (peer == NULL)
		return;
	if (peer->exchange != NULL)
		http_exchange_abandon(peer->exchange);
	queue_remove(daemon, peer);
	if (peer->counted)
		http_connections_leave(daemon->config.connections, &peer->holder);
	atomic_fetch_sub_explicit(&daemon->config.stats->open, 1, memory_order_relaxed);
	free(peer);
	*socket_context = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		peer_opened(cls, connection, socket_context);
	else
		peer_closed(cls, socket_context);
}

/* The library reports every broken connection; that is weather, not news. */
static void on_message(void *cls, const char *format, va_list args)
{
	struct http_daemon *daemon = cls;
	char message[512];

	count(&daemon->config.stats->broken);
	vsnprintf(message, sizeof message, format, args);
	message[strcspn(message, "\n")] = '\0';
	log_debug("http: %s", message);
}

/* Targets are compared byte for byte, so that what is logged is what was sent. */
static size_t no_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
	return strlen(text);
}

static void on_idle(uv_idle_t *handle);

static void run(struct http_daemon *daemon)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;
	int runs = 0, in_vain = 0;
	bool more;

	do {
		uint64_t progress = daemon->progress;

		MHD_run(daemon->mhd);
		in_vain = daemon->progress == progress ? in_vain + 1 : 0;
		more = MHD_get_timeout(daemon->mhd, &wait_ms) == MHD_YES && wait_ms == 0 &&
		       (daemon->parked == 0 || in_vain < RUNS_IN_VAIN);
	} while (more && ++runs < RUNS_A_TURN);
	if (more)
		http_run_soon(daemon);
	else if (uv_is_active((uv_handle_t *)&daemon->pending))
		uv_idle_stop(&daemon->pending);
}

static void on_idle(uv_idle_t *handle)
{
	run(handle->data);
}

void http_run_soon(struct http_daemon *daemon)
{
	if (!uv_is_active((uv_handle_t *)&daemon->pending))
		uv_idle_start(&daemon->pending, on_idle);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	run(handle->data);
}

static struct MHD_Daemon *start_library(struct http_daemon *daemon)
{
	const struct http_config *config = &daemon->config;
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK;
	unsigned idle_s = (unsigned)((config->idle_timeout_us + 999999) / 1000000);

	return MHD_start_daemon(flags, 0, NULL, NULL, http_on_request, daemon, MHD_OPTION_EXTERNAL_LOGGER, on_message,
	                        daemon, MHD_OPTION_LISTEN_SOCKET, config->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
	                        (unsigned)config->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
	                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(config->max_header_bytes + HTTP_HEAD_ROOM),
	                        MHD_OPTION_URI_LOG_CALLBACK, http_on_target, daemon, MHD_OPTION_UNESCAPE_CALLBACK,
	                        no_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, daemon,
	                        MHD_OPTION_NOTIFY_CONNECTION, on_connection, daemon, MHD_OPTION_END);
}

struct http_daemon *http_open(uv_loop_t *loop, const struct http_config *config, const struct http_handler *handler,
                              void *context)
{
	struct http_daemon *daemon = calloc(1, sizeof *daemon);
	const union MHD_DaemonInfo *info;

	if (daemon == NULL)
		return NULL;
	daemon->config = *config;
	daemon->handler = handler;
	daemon->context = context;
	daemon->mhd = start_library(daemon);
	if (daemon->mhd == NULL) {
		free(daemon);
		errno = errno != 0 ? errno : ENOMEM;
		return NULL;
	}
	info = MHD_get_daemon_info(daemon->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_init(loop, &daemon->poll, info->epoll_fd);
	uv_idle_init(loop, &daemon->pending);
	daemon->poll.data = daemon->pending.data = daemon;
	daemon->handles_open = 2;
	return daemon;
}

void http_serve(struct http_daemon *daemon)
{
	daemon->serving = true;
	uv_poll_start(&daemon->poll, UV_READABLE, on_poll);
	run(daemon); /* the library puts the listening socket into its set only now */
}

/* A socket of ours is never closed behind the library's back: it sees the end of the stream and cleans up. */
static void hang_up(struct http_daemon *daemon, struct http_peer *peer)
{
	queue_remove(daemon, peer);
	shutdown(peer->fd, SHUT_RDWR);
}

static void serve_accept_queue(struct http_daemon *daemon)
{
	uint64_t progress;
	int turns = 0;

	do {
		progress = daemon->progress;
		run(daemon);
	} while (daemon->progress != progress && ++turns < TURNS_BEFORE_DRAIN);
}

void http_drain(struct http_daemon *daemon)
{
	if (daemon->draining)
		return;
	serve_accept_queue(daemon);
	daemon->draining = true;
	close(MHD_quiesce_daemon(daemon->mhd));
	while (daemon->kept != NULL)
		hang_up(daemon, daemon->kept);
	run(daemon);
}

/*
 * When the end of a client's stream comes with its last request the library reads the request, waits for an edge that
 * has been, and would keep the connection until its time is up. So who has been waited for since the last round is
 * looked at, once: before, a request may still lie in the library's buffer.
 */
static void look_for_ended(struct http_daemon *daemon, uint64_t now_us)
{
	struct http_peer *peer = daemon->kept_tail, *prev;
	char byte;

	for (; peer != NULL && peer->waiting_since_us >= daemon->tended_before_us; peer = prev) {
		prev = peer->prev;
		if (peer->waiting_since_us < daemon->tended_us &&
		    recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			hang_up(daemon, peer);
	}
	daemon->tended_before_us = daemon->tended_us;
	daemon->tended_us = now_us;
}

void http_tend(struct http_daemon *daemon, uint64_t now_us)
{
	uint64_t fresh_us = daemon->config.request_timeout_us;
	uint64_t kept_us = daemon->config.idle_timeout_us + daemon->config.request_timeout_us;

	if (!daemon->serving)
		return;
	/* Before any time is held to be up: what has come while this process stood still, or waited for a processor,
	 * came in time. A connection that is accepted here is younger than now_us. */
	run(daemon);
	while (daemon->fresh != NULL && daemon->fresh->waiting_since_us + fresh_us <= now_us) {
		count(&daemon->config.stats->timed_out);
		hang_up(daemon, daemon->fresh);
	}
	while (daemon->kept != NULL && daemon->kept->waiting_since_us + kept_us <= now_us) {
		count(&daemon->config.stats->timed_out);
		hang_up(daemon, daemon->kept);
	}
	look_for_ended(daemon, now_us);
	run(daemon);
}

size_t http_in_flight(const struct http_daemon *daemon)
{
	return daemon->in_flight;
}

bool http_expecting(const struct http_daemon *daemon, uint64_t now_us)
{
	return daemon->fresh_tail != NULL && now_us - daemon->fresh_tail->waiting_since_us < EXPECTED_US;
}

size_t http_waiting(const struct http_daemon *daemon)
{
	return daemon->waiting;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http_daemon *daemon = handle->data;

	if (--daemon->handles_open > 0)
		return;
	http_free_exchanges(daemon);
	answers_clear(&daemon->answers);
	free(daemon);
}

void http_close(struct http_daemon *daemon)
{
	uv_poll_stop(&daemon->poll);
	MHD_stop_daemon(daemon->mhd);
	uv_close((uv_handle_t *)&daemon->poll, on_handle_closed);
	uv_close((uv_handle_t *)&daemon->pending, on_handle_closed);
}
