/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_link.c: one attempt to connect: the name, its addresses one after the other, the socket that comes of it.
 *
 * Leaves out: what goes over the socket (conn_io.c).
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/redis/conn_internal.h"

static void free_link(struct redis_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	if (link->addresses != NULL)
		freeaddrinfo(link->addresses);
	redis_replies_free(link->replies);
	redis_tls_end(link->tls);
	free(link);
}

static void try_next(struct redis_link *link);

static void on_poll_closed(uv_handle_t *handle)
{
	struct redis_link *link = handle->data;

	link->polling = false;
	if (link->conn != NULL)
		try_next(link);
	else
		free_link(link);
}

/* Closes the socket; on_poll_closed() goes on. */
static void close_socket(struct redis_link *link)
{
	uv_close((uv_handle_t *)&link->poll, on_poll_closed);
	close(link->fd);
	link->fd = -1;
}

void conn_link_close(struct redis_conn *conn)
{
	struct redis_link *link = conn->link;

	conn->link = NULL;
	if (link == NULL)
		return;
	link->conn = NULL;
	if (link->looking)
		uv_cancel((uv_req_t *)&link->lookup); /* may be too late: on_lookup() comes in any case */
	else if (!link->polling)
		free_link(link);
	else if (!uv_is_closing((uv_handle_t *)&link->poll)) {
		conn_io_goodbye(link);
		close_socket(link);
	}
}

static void on_event(uv_poll_t *poll, int status, int events);

static void set_options(int fd)
{
	int on = 1, idle_s = 15, interval_s = 5, probes = 3;

	/* None of these is needed for a right answer, so a kernel that refuses one is no reason to give up. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* @return 0 when the socket is on its way, or a negative errno: nothing is left of it. */
static int connect_to(struct redis_link *link, const struct addrinfo *address)
{
	int err = 0;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	set_options(fd);
	/* EINTR: it goes on by itself (POSIX connect()), like EINPROGRESS. */
	if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS && errno != EINTR)
		err = -errno;
	if (err == 0)
		err = uv_poll_init_socket(link->conn->config.loop, &link->poll, fd);
	if (err != 0) {
		close(fd);
		return err;
	}
	link->poll.data = link;
	link->polling = true;
	link->fd = fd;
	err = uv_poll_start(&link->poll, UV_WRITABLE, on_event);
	if (err != 0) {
		link->error = err;
		close_socket(link); /* and so to the next */
	}
	return 0;
}

static void try_next(struct redis_link *link)
{
	while (link->next != NULL) {
		const struct addrinfo *address = link->next;
		int err;

		link->next = address->ai_next;
		err = connect_to(link, address);
		if (err == 0)
			return;
		link->error = err;
	}
	conn_fail(link->conn, link->error, "no connection: %s", strerror(-link->error));
}

static void on_connected(struct redis_link *link)
{
	int err = 0;
	socklen_t size = sizeof err;

	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &err, &size) != 0)
		err = errno;
	if (err != 0) {
		link->error = -err;
		close_socket(link);
		return;
	}
	link->connected = true;
	conn_link_watch(link, false);
	conn_io_begin(link);
}

void conn_link_watch(struct redis_link *link, bool blocked)
{
	link->blocked = blocked;
	/* Fails only for descriptors that are no longer ours. */
	uv_poll_start(&link->poll, UV_READABLE | (blocked ? UV_WRITABLE : 0), on_event);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct redis_link *link = poll->data;

	if (!link->connected) {
		on_connected(link);
		return;
	}
	/* An error of the poll shows, in words, when the socket is read. */
	if (status < 0 || (events & UV_READABLE) != 0)
		conn_io_read(link);
	if (link->conn == NULL || !link->blocked || (events & UV_WRITABLE) == 0)
		return;
	conn_link_watch(link, false);
	conn_io_flush(link->conn);
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *addresses)
{
	struct redis_link *link = lookup->data;
	unsigned n = 0;

	link->looking = false;
	link->addresses = addresses;
	if (link->conn == NULL) {
		free_link(link);
		return;
	}
	if (status != 0) {
		conn_fail(link->conn, status == UV_ENOMEM ? -ENOMEM : -EHOSTUNREACH, "the name can't be looked up: %s",
		          uv_strerror(status));
		return;
	}
	/* An address that swallows packets takes the whole attempt: begin with another one each time. */
	for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next)
		n++;
	link->next = addresses;
	for (n = n > 0 ? link->conn->failed % n : 0; n > 0; n--)
		link->next = link->next->ai_next;
	try_next(link);
}

static struct redis_link *new_link(struct redis_conn *conn)
{
	struct redis_link *link = calloc(1, sizeof *link);

	if (link == NULL)
		return NULL;
	link->replies = redis_replies_new();
	if (link->replies == NULL) {
		free(link);
		return NULL;
	}
	link->fd = -1;
	link->conn = conn;
	link->error = -EHOSTUNREACH;
	link->lookup.data = link;
	return link;
}

void conn_link_open(struct redis_conn *conn)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST };
	struct redis_link *link = new_link(conn);
	struct addrinfo *addresses;
	char port[8];
	int err;

	conn->link = link;
	if (link == NULL) {
		conn_fail(conn, -ENOMEM, "out of memory");
		return;
	}
	snprintf(port, sizeof port, "%u", conn->config.port);
	/* An address needs no other thread, and never waits behind names whose servers don't answer. */
	if (getaddrinfo(conn->host, port, &hints, &addresses) == 0) {
		on_lookup(&link->lookup, 0, addresses);
		return;
	}
	hints.ai_flags = AI_NUMERICSERV;
	err = uv_getaddrinfo(conn->config.loop, &link->lookup, on_lookup, conn->host, port, &hints);
	link->looking = err == 0;
	if (err != 0)
		conn_fail(conn, err, "the name can't be looked up: %s", uv_strerror(err));
}
