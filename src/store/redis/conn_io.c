/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_io.c: the bytes of a connection, in and out, in the clear or through TLS.
 *
 * What commands leave in `out` goes to the kernel in one call at the end of a turn of the loop. What the kernel does
 * not take waits for room. Replies are parsed where they are read.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "store/redis/conn_internal.h"

#define READ_BYTES 16384
#define READS_A_TURN 16 /* so that one busy connection leaves others their turn */
#define TLS_ALERT 0x15  /* RFC 8446, section 5.1 */

/* Takes bytes of the server, decrypted. */
static void take_text(struct redis_link *link, const char *bytes, size_t len)
{
	const struct redisReply *reply;
	int err = redis_replies_feed(link->replies, bytes, len);

	while (err == 0 && link->conn != NULL) {
		err = redis_replies_next(link->replies, &reply);
		if (err != 0 || reply == NULL)
			break;
		conn_reply(link->conn, reply);
	}
	if (link->conn == NULL) /* given up for what was said */
		return;
	if (err == -ENOMEM)
		conn_fail(link->conn, err, "out of memory for a reply");
	else if (err != 0 && link->tls == NULL && bytes[0] == TLS_ALERT)
		conn_fail(link->conn, err, "what came is no reply but TLS: write rediss instead of redis");
	else if (err != 0)
		conn_fail(link->conn, err, "what came is no reply of a Redis server, or far too large a one");
}

/* Decrypts what has come. */
static void take_records(struct redis_link *link)
{
	char text[READ_BYTES];
	ssize_t len;

	do {
		bool was_secure = redis_tls_secure(link->tls);

		len = redis_tls_read(link->tls, text, sizeof text);
		if (!was_secure && redis_tls_secure(link->tls))
			conn_linked(link->conn);
		if (len > 0 && link->conn != NULL)
			take_text(link, text, (size_t)len);
	} while (len > 0 && link->conn != NULL);
	if (len < 0 && link->conn != NULL)
		conn_fail(link->conn, (int)len, "%s", redis_tls_why(link->tls));
}

static void take_bytes(struct redis_link *link, const char *bytes, size_t len)
{
	if (link->tls == NULL)
		take_text(link, bytes, len);
	else if (redis_tls_received(link->tls, bytes, len) != 0)
		conn_fail(link->conn, -ENOMEM, "out of memory");
	else
		take_records(link);
}

/* The end of the connection, by FIN or by error. A server that refuses our certificate under TLS 1.3 does so after its
 * part of the handshake, and what it says of it may be lost with the connection. */
static void ended(struct redis_link *link, const char *how)
{
	const char *hint = "";

	if (link->tls != NULL && !redis_tls_secure(link->tls))
		hint = " instead of a TLS handshake; it may speak no TLS on this port";
	else if (link->tls != NULL && link->conn->state == CONN_HANDSHAKE)
		hint = " after the TLS handshake; it may ask for a certificate of ours, or not trust the one it got: "
		       "limiter.tls_cert_file";
	conn_fail(link->conn, -ECONNRESET, "%s%s", how, hint);
}

static void broke(struct redis_link *link, int error)
{
	char how[128];

	snprintf(how, sizeof how, "the connection broke: %s", strerror(error));
	ended(link, how);
}

void conn_io_read(struct redis_link *link)
{
	char bytes[READ_BYTES];
	ssize_t len = READ_BYTES;

	if (!link->connected)
		return;
	for (unsigned n = 0; n < READS_A_TURN && len == READ_BYTES && link->conn != NULL; n++) {
		do
			len = recv(link->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		while (len < 0 && errno == EINTR);
		if (len > 0)
			take_bytes(link, bytes, (size_t)len);
		else if (len == 0)
			ended(link, "the server closed the connection");
		else if (errno != EAGAIN && errno != EWOULDBLOCK)
			broke(link, errno);
	}
}

/* @return bytes that the kernel took; fewer than `len`: it is full, or the connection was given up. */
static size_t send_bytes(struct redis_conn *conn, const char *bytes, size_t len)
{
	struct redis_link *link = conn->link;
	ssize_t sent;
	int error;

	do
		sent = send(link->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	error = sent < 0 ? errno : 0;
	conn_count(&conn->config.stats->writes, 1);
	if (sent < 0 && error != EAGAIN && error != EWOULDBLOCK) {
		conn_io_read(link); /* the server's last words tell more */
		if (link->conn != NULL)
			broke(link, error);
		return 0;
	}
	if (sent < (ssize_t)len)
		conn_link_watch(link, true);
	return sent > 0 ? (size_t)sent : 0;
}

static void flush_text(struct redis_conn *conn)
{
	const struct redis_link *link = conn->link;
	size_t left = conn->out.len - conn->sent, sent;

	if (left == 0)
		return;
	sent = send_bytes(conn, conn->out.bytes + conn->sent, left);
	if (conn->link != link)
		return;
	conn->sent += sent;
	left = conn->out.len - conn->sent;
	if (left == 0) {
		conn->sent = 0;
		redis_buffer_clear(&conn->out, CONN_OUTPUT_KEEP);
	} else if (conn->sent >= left) { /* so each byte is moved once at most */
		memmove(conn->out.bytes, conn->out.bytes + conn->sent, left);
		redis_buffer_cut(&conn->out, left);
		conn->sent = 0;
	}
}

/* A new record only when the last one is with the kernel: so no more waits encrypted than was let into `out`. */
static void flush_records(struct redis_conn *conn)
{
	struct redis_link *link = conn->link;
	const char *bytes;
	size_t len = redis_tls_output(link->tls, &bytes);

	if (len == 0 && conn->out.len > 0) {
		int err = redis_tls_write(link->tls, conn->out.bytes, conn->out.len);

		if (err != 0) {
			conn_fail(conn, err, "%s", redis_tls_why(link->tls));
			return;
		}
		redis_buffer_clear(&conn->out, CONN_OUTPUT_KEEP);
		len = redis_tls_output(link->tls, &bytes);
	}
	if (len == 0)
		return;
	len = send_bytes(conn, bytes, len);
	if (conn->link == link)
		redis_tls_sent(link->tls, len);
}

void conn_io_flush(struct redis_conn *conn)
{
	const struct redis_link *link = conn->link;

	if (link == NULL || link->blocked || !link->connected)
		return;
	if (link->tls != NULL)
		flush_records(conn);
	else
		flush_text(conn);
}

void conn_io_begin(struct redis_link *link)
{
	struct redis_conn *conn = link->conn;

	if (conn->config.access->tls == NULL) {
		conn_linked(conn);
		return;
	}
	link->tls = redis_tls_begin(conn->config.access->tls, conn->host);
	if (link->tls == NULL)
		conn_fail(conn, -ENOMEM, "out of memory for TLS");
}

void conn_io_goodbye(struct redis_link *link)
{
	const char *bytes;
	size_t len;

	if (!link->connected || link->blocked || link->tls == NULL)
		return;
	redis_tls_close(link->tls);
	len = redis_tls_output(link->tls, &bytes);
	/* A courtesy: whether it arrives makes no difference. */
	if (len > 0)
		(void)!send(link->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}
