/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.c: who we are, said in one write: AUTH, SELECT, CLIENT SETNAME, PING.
 *
 * PING is there for its answer: a server that is loading its data, or a replica that has lost its master, says so.
 *
 * Leaves out: HELLO and RESP3, of which we need nothing.
 */
#include <errno.h>
#include <string.h>

#include "store/redis/conn_internal.h"

static struct redis_conn *conn_of(struct redis_command *command, unsigned which)
{
	return (struct redis_conn *)((char *)(command - which) - offsetof(struct redis_conn, hello));
}

static bool begins(const struct redisReply *reply, const char *code)
{
	return strncmp(reply->str, code, strlen(code)) == 0;
}

/* What a server says to a new connection instead of the answer to its first command. */
static bool is_turned_away(const struct redisReply *reply)
{
	return begins(reply, "DENIED") || begins(reply, "ERR max number of clients");
}

/* @return what to do about an error, or NULL. */
static const char *cure(const struct redisReply *reply)
{
	static const struct {
		const char *code, *cure;
	} cures[] = {
		{ "NOAUTH",
		  "give the password in limiter.store (redis://user:password@host) or limiter.password_file" },
		{ "NOPERM", "give the user the right to it (ACL SETUSER)" },
		{ "DENIED", "the server is in protected mode: set a password or \"protected-mode no\" there" },
		{ "LOADING", "it will be well when the data are loaded" },
		{ "ERR max", "raise maxclients there, or let fewer servers connect" },
		{ "MASTERDOWN", "it is a replica that has lost its master" },
	};

	for (size_t i = 0; i < sizeof cures / sizeof cures[0]; i++) {
		if (begins(reply, cures[i].code))
			return cures[i].cure;
	}
	return NULL;
}

static void refused(struct redis_conn *conn, const char *what, const struct redisReply *reply)
{
	const char *hint = cure(reply);
	int error = begins(reply, "NOAUTH") || begins(reply, "NOPERM") || begins(reply, "DENIED") ? -EACCES : -EAGAIN;

	conn_fail(conn, error, "the server refuses %s: %.120s%s%s", what, reply->str, hint != NULL ? "; " : "",
	          hint != NULL ? hint : "");
}

/* The words of the server are not repeated here: a server without AUTH quotes its arguments, the password, in them. */
static void on_auth(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_conn *conn = conn_of(command, HELLO_AUTH);
	const char *user = conn->config.access->user;

	if (error != 0 || reply->type != REDIS_REPLY_ERROR)
		return;
	if (is_turned_away(reply))
		refused(conn, "the connection", reply);
	else if (conn->config.access->auth_optional)
		return; /* should it want another password, PING says so */
	else if (begins(reply, "WRONGPASS") || begins(reply, "ERR invalid password"))
		conn_fail(conn, -EACCES,
		          "the server refuses user \"%s\" with this password (WRONGPASS): check both in limiter.store "
		          "or limiter.password_file",
		          user != NULL ? user : "default");
	else if (begins(reply, "ERR AUTH") || begins(reply, "ERR Client sent AUTH"))
		conn_fail(conn, -EACCES,
		          "the server has no password: take it out of limiter.store, or set one in the server");
	else if (begins(reply, "LOADING"))
		conn_fail(conn, -EAGAIN, "the server is loading its data");
	else
		conn_fail(conn, -EACCES, "the server refuses AUTH%s",
		          user != NULL ? "; before Redis 6 there are no users, "
		                         "only a password"
		                       : "");
}

static void on_select(struct redis_command *command, const struct redisReply *reply, int error)
{
	if (error == 0 && reply->type == REDIS_REPLY_ERROR)
		refused(conn_of(command, HELLO_SELECT), "SELECT", reply);
}

/* A name is a convenience for who looks at CLIENT LIST: a server that refuses it is none the worse. */
static void on_name(struct redis_command *command, const struct redisReply *reply, int error)
{
	if (error == 0 && reply->type == REDIS_REPLY_ERROR && is_turned_away(reply))
		refused(conn_of(command, HELLO_NAME), "the connection", reply);
}

static void on_ping(struct redis_command *command, const struct redisReply *reply, int error)
{
	struct redis_conn *conn = conn_of(command, HELLO_PING);

	if (error != 0)
		return;
	if (reply->type == REDIS_REPLY_ERROR && !begins(reply, "NOPERM"))
		refused(conn, "PING", reply);
	else if (reply->type != REDIS_REPLY_ERROR && reply->type != REDIS_REPLY_STATUS)
		conn_fail(conn, -EPROTO, "the answer to PING is none of a Redis server");
	else
		conn_introduced(conn);
}

/* A greeting word may not fit into memory: then redis_conn_send() says so at its end. */
static int send_words(struct redis_conn *conn, unsigned which,
                      void (*ended)(struct redis_command *, const struct redisReply *, int))
{
	struct redis_command *command = &conn->hello[which];

	command->deadline_us = conn->attempt_until_us;
	command->ended = ended;
	return redis_conn_send(conn, command);
}

static int send_auth(struct redis_conn *conn)
{
	const struct redis_access *access = conn->config.access;
	struct redis_buffer *out = redis_conn_begin(conn);

	redis_command_begin(out, access->user != NULL ? 3 : 2);
	redis_command_text(out, "AUTH");
	if (access->user != NULL)
		redis_command_text(out, access->user);
	redis_command_text(out, access->password);
	return send_words(conn, HELLO_AUTH, on_auth);
}

static int send_select(struct redis_conn *conn)
{
	struct redis_buffer *out = redis_conn_begin(conn);

	redis_command_begin(out, 2);
	redis_command_text(out, "SELECT");
	redis_command_number(out, conn->config.access->db);
	return send_words(conn, HELLO_SELECT, on_select);
}

static int send_name(struct redis_conn *conn)
{
	struct redis_buffer *out = redis_conn_begin(conn);

	redis_command_begin(out, 3);
	redis_command_text(out, "CLIENT");
	redis_command_text(out, "SETNAME");
	redis_command_text(out, conn->config.access->name);
	return send_words(conn, HELLO_NAME, on_name);
}

static int send_ping(struct redis_conn *conn)
{
	struct redis_buffer *out = redis_conn_begin(conn);

	redis_command_begin(out, 1);
	redis_command_text(out, "PING");
	return send_words(conn, HELLO_PING, on_ping);
}

void conn_handshake(struct redis_conn *conn)
{
	const struct redis_access *access = conn->config.access;
	int err = 0;

	if (access->password != NULL)
		err = send_auth(conn);
	if (err == 0 && access->db != 0)
		err = send_select(conn);
	if (err == 0 && access->name != NULL)
		err = send_name(conn);
	if (err == 0)
		err = send_ping(conn);
	if (err != 0)
		conn_fail(conn, err, "out of memory");
}
