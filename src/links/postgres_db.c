/* SPDX-License-Identifier: Apache-2.0 */
/* postgres_db.c: see postgres_db.h. */
#include "links/postgres_db.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static const char timed_out[] = "no answer in time";

/* What a user has not said. tcp_user_timeout (ms) bounds how long sent bytes may go unacknowledged. */
static const struct {
	const char *keyword, *value;
} defaults[] = {
	{ "fallback_application_name", "sluice" },
	{ "connect_timeout", "2" },
	{ "keepalives_idle", "5" },
	{ "keepalives_interval", "2" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "5000" },
};
#define DEFAULTS (sizeof defaults / sizeof defaults[0])

void pg_message(const char *message, char *why, size_t why_size)
{
	size_t n = 0;
	bool space = false, line = false;

	for (const char *prefix = "ERROR:"; strncmp(message, prefix, strlen(prefix)) == 0;)
		message += strlen(prefix);
	for (; *message != '\0' && n + 2 < why_size; message++) {
		if (*message == ' ' || *message == '\t' || *message == '\n' || *message == '\r') {
			space = n > 0;
			line = line || *message == '\n';
			continue;
		}
		/* A sentence that began on a line of its own. */
		if (space && line && n + 3 < why_size && isupper((unsigned char)*message) &&
		    isalnum((unsigned char)why[n - 1]))
			why[n++] = '.';
		if (space)
			why[n++] = ' ';
		space = line = false;
		why[n++] = *message;
	}
	while (n > 0 && why[n - 1] == '.') /* it stands within a sentence */
		n--;
	why[n] = '\0';
}

/* What URI, service file and environment say together, without a connection: libpq refuses this sslmode after it has
 * gathered the rest and before it looks up any name. @return for PQconninfoFree(), or NULL. */
static PQconninfoOption *settings_of(const char *uri)
{
	const char *const keywords[] = { "dbname", "sslmode", NULL };
	const char *const values[] = { uri, "none: settings only", NULL };
	PGconn *conn = PQconnectStartParams(keywords, values, 1);
	PQconninfoOption *options = conn != NULL ? PQconninfo(conn) : NULL;

	PQfinish(conn);
	return options;
}

/* A connect_timeout of 0 is for ever, and who waits so long can't stop. */
static bool is_set(const PQconninfoOption *options, const char *keyword)
{
	bool number = strcmp(keyword, "connect_timeout") == 0;

	for (; options != NULL && options->keyword != NULL; options++) {
		if (strcmp(options->keyword, keyword) == 0)
			return options->val != NULL && options->val[0] != '\0' && !(number && atoi(options->val) <= 0);
	}
	return false;
}

/* libpq would write them to standard error. */
static void on_notice(void *context, const char *message)
{
	char line[PG_WHY_MAX];

	pg_message(message, line, sizeof line);
	log_debug("links: PostgreSQL says: %s", line);
}

PGconn *pg_connect(const char *uri, char *why, size_t why_size)
{
	const char *keywords[DEFAULTS + 3], *values[DEFAULTS + 3];
	PQconninfoOption *options = settings_of(uri);
	PGconn *conn;
	int n = 0;

	keywords[n] = "dbname";
	values[n++] = uri;
	for (size_t i = 0; i < DEFAULTS; i++) {
		if (is_set(options, defaults[i].keyword))
			continue;
		keywords[n] = defaults[i].keyword;
		values[n++] = defaults[i].value;
	}
	PQconninfoFree(options);
	keywords[n] = "client_encoding";
	values[n++] = "UTF8";
	keywords[n] = values[n] = NULL;
	conn = PQconnectdbParams(keywords, values, 1);
	if (conn != NULL && PQstatus(conn) == CONNECTION_OK) {
		PQsetNoticeProcessor(conn, on_notice, NULL);
		return conn;
	}
	pg_message(conn != NULL ? PQerrorMessage(conn) : strerror(ENOMEM), why, why_size);
	PQfinish(conn);
	return NULL;
}

/* Waits until the socket can be read, or written while something is left to send. */
static int wait_for_socket(PGconn *conn, bool sending, uint64_t deadline_us)
{
	struct pollfd fd = { .fd = PQsocket(conn), .events = (short)(POLLIN | (sending ? POLLOUT : 0)) };

	for (;;) {
		int wait_ms = -1, n;

		if (deadline_us > 0) {
			uint64_t now_us = clock_mono_us();

			if (now_us >= deadline_us)
				return -ETIMEDOUT;
			wait_ms = (int)((deadline_us - now_us + 999) / 1000);
		}
		n = poll(&fd, 1, wait_ms);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Waits until a result can be had. */
static int wait_for_result(PGconn *conn, uint64_t deadline_us, char *why, size_t why_size)
{
	int left;

	while ((left = PQflush(conn)) > 0 || PQisBusy(conn)) {
		int err = left < 0 ? 0 : wait_for_socket(conn, left > 0, deadline_us);

		if (err != 0) {
			snprintf(why, why_size, "%s", err == -ETIMEDOUT ? timed_out : strerror(-err));
			return -1;
		}
		if (left < 0 || PQconsumeInput(conn) == 0) {
			pg_message(PQerrorMessage(conn), why, why_size);
			return -1;
		}
	}
	return 0;
}

/* Takes all results; keeps the first that failed, or the last. */
static PGresult *take_results(PGconn *conn, uint64_t deadline_us, char *why, size_t why_size)
{
	PGresult *kept = NULL, *result;

	for (;;) {
		if (wait_for_result(conn, deadline_us, why, why_size) != 0) {
			PQclear(kept);
			return NULL;
		}
		result = PQgetResult(conn);
		if (result == NULL)
			break;
		if (kept == NULL || PQresultStatus(kept) != PGRES_FATAL_ERROR) {
			PQclear(kept);
			kept = result;
		} else {
			PQclear(result);
		}
	}
	if (kept == NULL) {
		pg_message(PQerrorMessage(conn), why, why_size);
		return NULL;
	}
	if (PQresultStatus(kept) != PGRES_FATAL_ERROR)
		return kept;
	pg_message(PQresultErrorMessage(kept), why, why_size);
	PQclear(kept);
	return NULL;
}

PGresult *pg_exec(PGconn *conn, const char *sql, int n, const Oid *types, const char *const *values, const int *lengths,
                  uint64_t timeout_us, char *why, size_t why_size)
{
	uint64_t deadline_us = timeout_us > 0 ? clock_mono_us() + timeout_us : 0;
	int formats[16], sent;

	PQsetnonblocking(conn, 1);
	for (int i = 0; i < n && i < 16; i++)
		formats[i] = 1;
	sent = n > 0 ? PQsendQueryParams(conn, sql, n, types, values, lengths, formats, 1) : PQsendQuery(conn, sql);
	if (sent == 0) {
		pg_message(PQerrorMessage(conn), why, why_size);
		return NULL;
	}
	return take_results(conn, deadline_us, why, why_size);
}

int pg_run(PGconn *conn, const char *sql, uint64_t timeout_us, char *why, size_t why_size)
{
	PGresult *result = pg_exec(conn, sql, 0, NULL, NULL, NULL, timeout_us, why, why_size);

	PQclear(result);
	return result != NULL ? 0 : -1;
}

bool pg_timed_out(const char *why)
{
	return strcmp(why, timed_out) == 0;
}

int pg_errno(const PGresult *result)
{
	const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	if (state == NULL)
		return -EIO;
	if (strcmp(state, "53100") == 0) /* disk_full */
		return -ENOSPC;
	if (strcmp(state, "25006") == 0) /* read_only_sql_transaction */
		return -EROFS;
	if (strcmp(state, "57014") == 0 || strcmp(state, "55P03") == 0) /* query_canceled, lock_not_available */
		return -ETIMEDOUT;
	if (strcmp(state, "42501") == 0) /* insufficient_privilege */
		return -EACCES;
	/* Data, constraints and triggers of the operator's own (classes 22, 23, 44, P0): that statement alone. */
	if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || strncmp(state, "44", 2) == 0 ||
	    strncmp(state, "P0", 2) == 0)
		return -EINVAL;
	return -EIO;
}

const char *pg_where(PGconn *conn, char *to, size_t size)
{
	const char *host = PQhost(conn), *port = PQport(conn), *name = PQdb(conn);

	snprintf(to, size, "%s:%s/%s", host != NULL && host[0] != '\0' ? host : "local", port != NULL ? port : "",
	         name != NULL ? name : "");
	return to;
}
