/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_keeper.c: the thread that may block: name lookup, handshakes, the schema. It makes the connections of all
 * loop threads, and has one of its own, on which it listens for changes, writes clicks, and asks every second whether
 * the database is there.
 *
 * One thread tries for all: a database that is away is asked by one connection a server at a time, and one line in the
 * log tells of each change.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "links/postgres_change.h"
#include "links/postgres_schema.h"
#include "links/postgres_store.h"

#define HEARTBEAT_US UINT64_C(1000000)
#define BACKOFF_MIN_US UINT64_C(100000)
#define BACKOFF_MAX_US UINT64_C(2000000)

struct keeper {
	struct pg_store *store;
	PGconn *conn; /* NULL: away */
	char where[160];
	uint64_t next_try_us, backoff_us;             /* of its own connection */
	uint64_t next_session_us, session_backoff_us; /* of those of loop threads */
	uint64_t next_clicks_us, next_beat_us;
	uint64_t lost_at_us; /* 0: it was never there */
	bool told;           /* that it is away */
	bool clicks_fail;    /* likewise told */
	struct pg_clicks_doubt doubt;
};

void pg_keeper_wake(struct pg_store *store)
{
	const uint64_t one = 1;

	/* It fails only when the counter is full: then the keeper is awake. */
	if (write(store->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
		log_error("links: %s", strerror(errno));
}

/* From half of it to all of it, doubled next time: servers that lost a database together don't come back together. */
static uint64_t after_backoff(uint64_t *backoff_us)
{
	uint64_t now = *backoff_us / 2 + randombytes_uniform((uint32_t)(*backoff_us / 2));

	*backoff_us = *backoff_us * 2 < BACKOFF_MAX_US ? *backoff_us * 2 : BACKOFF_MAX_US;
	return clock_mono_us() + now;
}

static void set_state(struct pg_store *store, enum pg_state state, const char *why)
{
	pthread_mutex_lock(&store->lock);
	store->state = state;
	snprintf(store->why, sizeof store->why, "%s", why);
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

/* Connections of loop threads. */

/* Point look-ups by index are all that is asked: a plan that was made while the tables were small must not stay with
 * reading them whole. */
static const char settings[] = "SET default_transaction_isolation = 'read committed';"
			       "SET enable_seqscan = off;"
			       "SET plan_cache_mode = force_generic_plan;";

static const char statements[] =
	"PREPARE " PG_STATEMENT_RESOLVE " (text[]) AS SELECT code, url, disabled FROM links WHERE code = ANY ($1);"
	"PREPARE " PG_STATEMENT_CREATE " (text[], text[], bytea[]) AS INSERT INTO links (code, url, url_sha256)"
	" SELECT * FROM unnest($1, $2, $3) ON CONFLICT DO NOTHING;"
	"PREPARE " PG_STATEMENT_FIND " (bytea[]) AS"
	" SELECT url_sha256, code, disabled FROM links WHERE url_sha256 = ANY ($1);";

/* The database gives up a little before we do, so that a slow statement costs an answer and not the connection; and
 * what it has not given up is not left behind there when we go. A session that was ended for being idle could
 * meet a request; PostgreSQL 12 and 13 do not know that setting. */
static int set_up(const struct keeper *k, PGconn *conn, uint64_t timeout_us, char *why, size_t why_size)
{
	char sql[sizeof settings + sizeof PG_SET_DURABLE + 160];

	snprintf(sql, sizeof sql,
	         "%s%sSET statement_timeout = %" PRIu64 ";"
	         "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'",
	         settings, PG_SET_DURABLE, timeout_us * 9 / 10 / 1000);
	return pg_run(conn, sql, k->store->patience_us, why, why_size);
}

static PGconn *connect_session(const struct keeper *k, char *why, size_t why_size)
{
	PGconn *conn = pg_connect(k->store->uri, why, why_size);

	if (conn == NULL)
		return NULL;
	if (set_up(k, conn, k->store->timeout_us, why, why_size) == 0 &&
	    pg_run(conn, statements, k->store->patience_us, why, why_size) == 0) {
		if (PQenterPipelineMode(conn) == 1)
			return conn;
		pg_message(PQerrorMessage(conn), why, why_size);
	}
	PQfinish(conn);
	return NULL;
}

/* Gives a connection to its loop thread; the thread may have gone meanwhile. */
static void hand_over(struct pg_session *session, PGconn *conn)
{
	struct pg_store *store = session->store;
	PGconn *unwanted = conn;

	pthread_mutex_lock(&store->lock);
	if (session->attached) {
		unwanted = session->incoming;
		session->incoming = conn;
		session->wants = false;
		uv_async_send(&session->news);
		pthread_cond_broadcast(&store->changed);
	}
	pthread_mutex_unlock(&store->lock);
	PQfinish(unwanted);
}

static bool wants(struct pg_session *session, char *lost_why)
{
	bool result;

	pthread_mutex_lock(&session->store->lock);
	result = session->attached && session->wants;
	memcpy(lost_why, session->lost_why, PG_WHY_MAX);
	session->lost_why[0] = '\0';
	pthread_mutex_unlock(&session->store->lock);
	return result;
}

static void tell_failed(struct pg_store *store)
{
	pthread_mutex_lock(&store->lock);
	for (uint32_t i = 0; i < store->threads; i++)
		store->session[i].failed = store->session[i].wants;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

/* Connects those who have no connection. @return false when one could not be made. */
static bool serve_sessions(struct keeper *k)
{
	struct pg_store *store = k->store;

	for (uint32_t i = 0; i < store->threads; i++) {
		struct pg_session *session = &store->session[i];
		char why[PG_WHY_MAX], lost_why[PG_WHY_MAX];
		PGconn *conn;

		if (!wants(session, lost_why))
			continue;
		conn = connect_session(k, why, sizeof why);
		if (conn == NULL) {
			if (k->session_backoff_us == BACKOFF_MIN_US)
				log_error("links: thread %u can't connect to %s: %s; until it can, its links outside "
				          "the cache answer 503",
				          i, k->where, why);
			tell_failed(store);
			k->next_session_us = after_backoff(&k->session_backoff_us);
			return false;
		}
		if (lost_why[0] != '\0' && !k->told)
			log_warn("links: thread %u lost its connection to %s (%s) and has a new one", i, k->where,
			         lost_why);
		store->reconnects += lost_why[0] != '\0';
		hand_over(session, conn);
	}
	k->session_backoff_us = BACKOFF_MIN_US;
	k->next_session_us = 0;
	return true;
}

/* After a loss all connections may be half-dead, also those that nobody has used since. */
static void replace_sessions(struct keeper *k)
{
	pthread_mutex_lock(&k->store->lock);
	for (uint32_t i = 0; i < k->store->threads; i++)
		k->store->session[i].wants = k->store->session[i].attached;
	pthread_mutex_unlock(&k->store->lock);
	serve_sessions(k);
}

/* Its own connection. */

/* Loop threads need not find out themselves, each with requests that wait as long as they may. */
static void tell_silent(struct pg_store *store)
{
	pthread_mutex_lock(&store->lock);
	for (uint32_t i = 0; i < store->threads; i++) {
		store->session[i].silent = store->session[i].attached;
		if (store->session[i].attached)
			uv_async_send(&store->session[i].news);
	}
	pthread_mutex_unlock(&store->lock);
}

static void went_away(struct keeper *k, enum pg_state state, const char *why)
{
	PQfinish(k->conn);
	k->conn = NULL;
	k->store->up = false;
	if (pg_timed_out(why))
		tell_silent(k->store);
	/* Who opens the store gives up on a refusal, and says why himself. */
	if (!k->told && !(state == PG_REFUSED && k->store->state == PG_TRYING)) {
		log_error(
			"links: PostgreSQL can't be used: %s; links in the cache go on, all others answer 503 until it "
			"can",
			why);
		k->lost_at_us = clock_mono_us();
	}
	k->told = true;
	set_state(k->store, state, why);
}

/* What is lost when the database is killed is its own to say. */
static void warn_of_settings(const struct keeper *k)
{
	char why[PG_WHY_MAX];
	PGresult *result = pg_exec(k->conn, "SHOW fsync", 0, NULL, NULL, NULL, k->store->patience_us, why, sizeof why);

	if (result != NULL && strcmp(PQgetvalue(result, 0, 0), "on") != 0)
		log_warn(
			"links: %s has fsync off: links that were answered are lost when its machine fails; turn it on",
			k->where);
	PQclear(result);
	result = pg_schema_silent_triggers(k->conn, k->store->patience_us);
	if (result != NULL && !PQgetisnull(result, 0, 0))
		log_warn("links: %s: on table links these triggers are missing or disabled: %s; what is changed by SQL "
		         "stays in the caches of servers; enable them (ALTER TABLE links ENABLE TRIGGER NAME)",
		         k->where, PQgetvalue(result, 0, 0));
	PQclear(result);
}

static bool open_own(struct keeper *k)
{
	char why[PG_WHY_MAX + 256];
	enum pg_schema_result result;

	k->conn = pg_connect(k->store->uri, why, sizeof why);
	if (k->conn == NULL) {
		went_away(k, PG_DOWN, why);
		return false;
	}
	pg_where(k->conn, k->where, sizeof k->where);
	result = pg_schema_prepare(k->conn, 1, why, sizeof why);
	if (result != PG_SCHEMA_READY) {
		went_away(k, result == PG_SCHEMA_REFUSED ? PG_REFUSED : PG_DOWN, why);
		return false;
	}
	if (set_up(k, k->conn, k->store->patience_us, why, sizeof why) != 0 ||
	    pg_run(k->conn, "LISTEN sluice_links", k->store->patience_us, why, sizeof why) != 0) {
		went_away(k, PG_DOWN, why);
		return false;
	}
	return true;
}

static void try_to_open(struct keeper *k)
{
	if (!open_own(k)) {
		k->next_try_us = after_backoff(&k->backoff_us);
		return;
	}
	k->backoff_us = BACKOFF_MIN_US;
	if (k->lost_at_us != 0)
		log_info("links: PostgreSQL at %s is there again, after %.1f s", k->where,
		         (double)(clock_mono_us() - k->lost_at_us) / 1e6);
	warn_of_settings(k);
	replace_sessions(k);
	k->told = false;
	k->lost_at_us = 0;
	/* From here on every change is heard of; what is in the cache is of before. */
	k->store->epoch++;
	k->store->up = true;
	k->next_beat_us = clock_mono_us() + HEARTBEAT_US;
	set_state(k->store, PG_UP, "");
}

/* Changes. */

static void act_on(struct pg_store *store, const char *payload)
{
	struct pg_change change;

	pg_change_parse(payload, &change);
	store->changes++; /* first; see "What may be trusted" */
	if (change.all) {
		store->epoch++;
		return;
	}
	cache_remove(store->by_code, change.code, strlen(change.code));
	cache_remove(store->by_url, change.sha256, sizeof change.sha256);
}

static void read_changes(struct keeper *k)
{
	PGnotify *notify;

	while ((notify = PQnotifies(k->conn)) != NULL) {
		act_on(k->store, notify->extra);
		PQfreemem(notify);
	}
}

/* @return false when the connection has ended. */
static bool listen_once(struct keeper *k)
{
	char why[PG_WHY_MAX];

	if (PQconsumeInput(k->conn) == 0 || PQstatus(k->conn) != CONNECTION_OK) {
		pg_message(PQerrorMessage(k->conn), why, sizeof why);
		went_away(k, PG_DOWN, why);
		return false;
	}
	read_changes(k);
	return true;
}

/* What is due. */

/* Asks what says whether statements of a kind that fail would work again: a server that is not ready may get no request
 * that would show it. The row is as large as a link can be and does not compress, since a full disk may have room for
 * less; it is not kept. */
static void probe(struct keeper *k)
{
	static const char *const sql[] = {
		[LINKS_CREATE] =
			"BEGIN; INSERT INTO links (code, url) SELECT md5(random()::text), 'http://sluice.invalid/'"
			" || string_agg(md5(random()::text), '') FROM generate_series(1, 250)",
		[LINKS_RESOLVE] = "SELECT 1 FROM links LIMIT 1",
	};
	char why[PG_WHY_MAX];

	for (int verb = 0; verb < 2; verb++) {
		bool works;

		if (k->store->failing[verb] == 0)
			continue;
		works = pg_run(k->conn, sql[verb], k->store->patience_us, why, sizeof why) == 0;
		if (PQtransactionStatus(k->conn) != PQTRANS_IDLE)
			works = pg_run(k->conn, "ROLLBACK", k->store->patience_us, why, sizeof why) == 0 && works;
		if (works)
			pg_note(k->store, (enum links_verb)verb, 0, "");
	}
}

static void beat(struct keeper *k, uint64_t now_us)
{
	char why[PG_WHY_MAX];

	k->next_beat_us = now_us + HEARTBEAT_US;
	probe(k);
	if (pg_run(k->conn, "SELECT 1", k->store->patience_us, why, sizeof why) != 0)
		went_away(k, PG_DOWN, why);
}

static void write_clicks(struct keeper *k, uint64_t now_us)
{
	char why[PG_WHY_MAX];

	k->next_clicks_us = now_us + k->store->click_interval_us;
	if (pg_clicks_write(k->store, k->conn, &k->doubt, why, sizeof why) == 0) {
		if (k->clicks_fail)
			log_info("links: clicks are written again");
		k->clicks_fail = false;
		return;
	}
	if (PQstatus(k->conn) != CONNECTION_OK || pg_timed_out(why)) {
		went_away(k, PG_DOWN, why);
		return;
	}
	if (!k->clicks_fail)
		log_error("links: clicks can't be written: %s; they wait", why);
	k->clicks_fail = true;
}

static bool anybody_wants(struct pg_store *store)
{
	bool any = false;

	pthread_mutex_lock(&store->lock);
	for (uint32_t i = 0; i < store->threads; i++)
		any = any || (store->session[i].attached && store->session[i].wants);
	pthread_mutex_unlock(&store->lock);
	return any;
}

static void do_what_is_due(struct keeper *k)
{
	uint64_t now_us = clock_mono_us();
	bool wanted = anybody_wants(k->store);

	if (k->conn == NULL && now_us >= k->next_try_us)
		try_to_open(k);
	/* Who has lost his connection may be the first to know that the database is gone. */
	if (k->conn != NULL && (now_us >= k->next_beat_us || (wanted && now_us >= k->next_session_us)))
		beat(k, now_us);
	if (k->conn != NULL && wanted && now_us >= k->next_session_us)
		serve_sessions(k);
	if (k->conn != NULL && now_us >= k->next_clicks_us)
		write_clicks(k, now_us);
	if (k->conn != NULL)
		read_changes(k);
}

static int time_until_due(const struct keeper *k)
{
	uint64_t now_us = clock_mono_us(), due_us = k->next_try_us;

	if (k->conn != NULL) {
		due_us = k->next_beat_us < k->next_clicks_us ? k->next_beat_us : k->next_clicks_us;
		if (k->next_session_us != 0 && k->next_session_us < due_us)
			due_us = k->next_session_us;
	}
	return due_us > now_us ? (int)((due_us - now_us + 999) / 1000) : 0;
}

static void wait_for_events(struct keeper *k)
{
	struct pollfd fds[2] = { { .fd = k->store->wake_fd, .events = POLLIN },
		                 { .fd = k->conn != NULL ? PQsocket(k->conn) : -1, .events = POLLIN } };
	uint64_t count;

	if (poll(fds, 2, time_until_due(k)) <= 0)
		return;
	if (fds[0].revents != 0 && read(k->store->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
		log_error("links: %s", strerror(errno));
	if (fds[1].revents != 0 && !listen_once(k))
		k->next_try_us = 0; /* at once: perhaps only this connection has ended */
}

static bool is_stopped(struct pg_store *store)
{
	bool stop;

	pthread_mutex_lock(&store->lock);
	stop = store->stop;
	pthread_mutex_unlock(&store->lock);
	return stop;
}

/* The last clicks. A database that is away is tried once more. */
static void end_clicks(struct keeper *k)
{
	struct pg_store *store = k->store;
	char why[PG_WHY_MAX];
	uint64_t pending, lost;

	for (int tries = 0; tries < 2; tries++) {
		clicks_stats(store->clicks, &pending, &lost);
		if (pending + store->clicks_in_hand == 0)
			return;
		if (k->conn == NULL && !open_own(k))
			break;
		if (pg_clicks_write(store, k->conn, &k->doubt, why, sizeof why) == 0)
			continue;
		PQfinish(k->conn);
		k->conn = NULL;
	}
	clicks_stats(store->clicks, &pending, &lost);
	pending += store->clicks_in_hand;
	if (pending > 0)
		log_error("links: %" PRIu64 " clicks could not be written to PostgreSQL and are lost", pending);
}

void *pg_keeper_main(void *arg)
{
	struct keeper k = { .store = arg, .backoff_us = BACKOFF_MIN_US, .session_backoff_us = BACKOFF_MIN_US };

	k.next_clicks_us = clock_mono_us() + k.store->click_interval_us;
	while (!is_stopped(k.store)) {
		do_what_is_due(&k);
		wait_for_events(&k);
	}
	end_clicks(&k);
	PQfinish(k.conn);
	free(k.doubt.clicks);
	return NULL;
}
