/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_store.h: what the files of the PostgreSQL store share among themselves. Nobody else includes it.
 *
 *   postgres.c          the contract: open, submit, click, stats, close
 *   postgres_session.c  a loop thread's share: operations that wait, their deadlines, one connection
 *   postgres_link.c     that connection on the loop: what is sent and what comes back
 *   postgres_batch.c    operations that are asked together: as parameters, and from rows to answers
 *   postgres_keeper.c   the thread that may block: connects, listens for changes, minds the time
 *   postgres_clicks.c   how it writes clicks
 *   postgres_db.c       connections and statements that are waited for
 *   postgres_schema.c   the tables and their versions
 *   postgres_change.c   what a notification says
 *   postgres_array.c    arrays as they go over the wire
 *
 * What may be trusted
 *  1. The keeper hears of every change of a link while it listens. Links that were asked for meanwhile carry the mark
 *     `epoch` in the cache, and are served from there.
 *  2. When the keeper has lost its connection and has a new one, changes may have been missed: it raises the epoch.
 * Links with an older mark are asked for again before they are served, each once.
 *  3. While the keeper has no connection, a loop thread that has one asks for every link; what it can't get an answer
 * for, and all that a thread without a connection is asked for, is served from the cache.
 *  4. A link that was read before a change may arrive after the news of it. So who puts a link into the cache compares
 *     `changes` with what it was when the question left, after the put; and who brings the news raises it before
 *     he removes. One of the two takes the old link out.
 */
#ifndef SLUICE_LINKS_POSTGRES_STORE_H
#define SLUICE_LINKS_POSTGRES_STORE_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "links/cache.h"
#include "links/clicks.h"
#include "links/postgres.h"
#include "links/postgres_array.h"
#include "links/postgres_db.h"

struct pg_store;
struct pg_session;

/* Operations that one statement carries at most, and bytes of their URLs. */
#define PG_BATCH_MAX 256
#define PG_BATCH_BYTES (512 * 1024)

/* Names of the statements that every session's connection has prepared. */
#define PG_STATEMENT_RESOLVE "sluice_resolve"
#define PG_STATEMENT_CREATE "sluice_create"
#define PG_STATEMENT_FIND "sluice_find"

/* Operations of one kind that are asked together. */
struct pg_item {
	struct links_op *op;
	unsigned char sha256[32];     /* create */
	char code[LINK_CODE_MAX + 1]; /* resolve: asked for. create: the one that was drawn */
	bool found;
};

struct pg_batch {
	struct pg_batch *next;
	enum links_verb verb;
	bool ends_turn;       /* a Sync follows: with it the transaction ends */
	uint32_t epoch;       /* when it left */
	uint64_t changes;     /* likewise */
	unsigned results;     /* that have come */
	PGresult *rows;       /* of the look-up */
	bool aborted;         /* not done, because something before it failed */
	int error;            /* a negative errno: the database refused it */
	char why[PG_WHY_MAX]; /* with error */
	uint32_t n;
	struct pg_item items[];
};

/* Operations in the order in which they came, chained by their letters. */
struct pg_queue {
	struct letter *first, **last;
	uint32_t n;
};

/* One connection on a loop. */
struct pg_link {
	uv_poll_t poll;
	PGconn *conn;
	struct pg_session *session;
	struct pg_batch *first, **last; /* sent and not answered, in order */
	struct pg_batch *current;       /* whose result comes next */
	bool awaits_sync;               /* before it, that of a Sync */
	unsigned creates;               /* batches of creates among them */
	bool polls_writable;
};

/* A loop thread's share. Its own, but for what stands below `lock`. */
struct pg_session {
	struct pg_store *store;
	uv_loop_t *loop;
	uv_async_t news;      /* a connection is there */
	uv_prepare_t send;    /* active while something is to be sent in this turn */
	uv_timer_t deadline;  /* active while something waits */
	struct pg_link *link; /* NULL: no connection */
	struct pg_queue reads, writes;
	struct pg_array codes, urls, hashes; /* parameters, built here */

	/* Under store->lock: */
	bool attached;
	bool wants;       /* a connection */
	bool silent;      /* the database, so the keeper found: the one that it has is not worth asking */
	bool failed;      /* the last attempt */
	PGconn *incoming; /* for it to take over */
	char lost_why[PG_WHY_MAX];

	_Atomic bool connected; /* for ready() */
};

enum pg_state { PG_TRYING, PG_UP, PG_DOWN, PG_REFUSED };

struct pg_store {
	struct links links; /* first: the contract's view */
	char *uri;
	uint64_t timeout_us;  /* of an operation */
	uint64_t patience_us; /* of a statement of the keeper's */
	uint64_t click_interval_us;
	uint32_t queue;

	struct cache *by_code; /* code -> URL */
	struct cache *by_url;  /* SHA-256 of the URL -> code */
	struct clicks *clicks;

	_Atomic uint32_t epoch;
	_Atomic uint64_t changes;
	_Atomic bool up; /* the keeper listens */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* state, or a session's incoming, failed */
	enum pg_state state;
	char why[PG_WHY_MAX + 256]; /* of DOWN, REFUSED */
	bool stop;
	int wake_fd;
	pthread_t keeper;

	_Atomic int failing[2]; /* by verb: the negative errno of the last statement; written under lock */

	_Atomic uint32_t reads_waiting, writes_waiting;
	_Atomic uint64_t commits, creates, errors, refused, reconnects;
	_Atomic uint64_t clicks_in_hand, clicks_lost;

	uint32_t threads;
	struct pg_session session[];
};

/* postgres_session.c */

/* Takes an operation that the cache could not answer. @return LINKS_PENDING, LINKS_DONE (failed) or -EAGAIN. */
int pg_session_submit(struct pg_session *session, struct links_op *op);
int pg_session_attach(struct pg_session *session, uv_loop_t *loop);
void pg_session_detach(struct pg_session *session);

/* What waits, and may go now, leaves before the loop waits again. */
void pg_session_send(struct pg_session *session);

/* Ends an operation: calls done(). */
void pg_session_finish(struct pg_session *session, struct links_op *op, enum links_outcome outcome, int error);

/* Ends an operation that the database could not answer; a link that is in the cache still is found. */
void pg_session_fail(struct pg_session *session, struct links_op *op, int error);

/* Puts an operation in front of those that wait, to be sent again. */
void pg_session_again(struct pg_session *session, struct links_op *op);

/* The connection does not work any more: fails what waits, asks for another. */
void pg_session_lost(struct pg_session *session, int error, const char *why);

/* Notes how statements of one kind go. A change is logged once. @param error  0: it worked. */
void pg_note(struct pg_store *store, enum links_verb verb, int error, const char *why);

/* postgres_link.c */

/* @param conn  in pipeline mode, non-blocking; belongs to the link from now on, also on failure. */
struct pg_link *pg_link_open(struct pg_session *session, PGconn *conn);

/* Sends a batch; the last of a turn with `ends_turn`. Takes the batch over. @return 0 or -1: the link is broken. */
int pg_link_send(struct pg_link *link, struct pg_batch *batch);

/* Closes. What was sent and not answered goes to `each`. */
void pg_link_close(struct pg_link *link, void (*each)(struct pg_session *session, struct links_op *op, int error),
                   int error);

/* postgres_batch.c */

/* Takes operations out of a queue. @return NULL when memory is short. */
struct pg_batch *pg_batch_take(struct pg_session *session, struct pg_queue *queue);

/* Queues the statements of a batch on the connection. @return 0 or -1. */
int pg_batch_send(struct pg_session *session, struct pg_batch *batch, PGconn *conn);

/* Takes a result over. @return true when it was the last of this batch. */
bool pg_batch_result(struct pg_batch *batch, PGresult *result);

/* Its transaction has ended: answers all operations, and frees it. */
void pg_batch_finish(struct pg_session *session, struct pg_batch *batch);

void pg_batch_free(struct pg_batch *batch);

/* An operation of a queue: the first, taken out; NULL when it is empty. */
struct links_op *pg_queue_take(struct pg_queue *queue);
void pg_queue_put(struct pg_queue *queue, struct links_op *op);
void pg_queue_put_first(struct pg_queue *queue, struct links_op *op);

/* postgres_keeper.c */

void *pg_keeper_main(void *store);
void pg_keeper_wake(struct pg_store *store);

/* postgres_clicks.c */

/* Clicks of which nobody knows whether they were written: the connection broke at the commit. */
struct pg_clicks_doubt {
	struct click *clicks; /* NULL: none */
	size_t n;
	int64_t transaction;
};

/* Writes what waits, after clearing a doubt. @return 0, or -1 when the connection or the database failed; what was not
 * written goes back. */
int pg_clicks_write(struct pg_store *store, PGconn *conn, struct pg_clicks_doubt *doubt, char *why, size_t why_size);

#endif
