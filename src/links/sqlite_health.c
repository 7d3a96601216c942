/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_health.c: does the database work? Told to the operator when it changes, and to ready(). */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "links/sqlite_store.h"

static const char *const verbs[HEALTH_SIDES] = { [HEALTH_READ] = "read", [HEALTH_WRITE] = "written" };
static const char *const consequences[HEALTH_SIDES] = {
	[HEALTH_READ] = "links outside the cache fail",
	[HEALTH_WRITE] = "new links are refused, clicks wait in memory",
};

static void log_failure(struct sqlite_store *store, enum health_side side, int rc, struct db *db)
{
	int err = sqlite3_system_errno(db->handle);

	if (side == HEALTH_WRITE && db_file_gone(db))
		log_error("links: %s has been moved, deleted or replaced; %s until it is put back, or the server "
		          "restarted",
		          store->path, consequences[side]);
	else
		log_error("links: %s can't be %s: %s%s%s%s; %s until it works again", store->path, verbs[side],
		          sqlite3_errstr(rc), err != 0 ? " (" : "", err != 0 ? strerror(err) : "", err != 0 ? ")" : "",
		          consequences[side]);
}

void health_note(struct sqlite_store *store, enum health_side side, int rc, struct db *db)
{
	struct health *health = &store->health;
	int error = db_errno(rc), before;
	uint64_t failed = 0;

	/* The usual case, without the lock. A stale view is put right by the next operation. */
	if (error == 0 && atomic_load_explicit(&health->ok, memory_order_relaxed))
		return;
	pthread_mutex_lock(&health->lock);
	before = health->error[side];
	health->error[side] = error;
	if (error != 0) {
		health->failed[side]++;
	} else {
		failed = health->failed[side];
		health->failed[side] = 0;
	}
	atomic_store(&health->ok, health->error[HEALTH_READ] == 0 && health->error[HEALTH_WRITE] == 0);
	pthread_mutex_unlock(&health->lock);

	if (error != 0 && error != before)
		log_failure(store, side, rc, db);
	else if (error == 0 && before != 0)
		log_info("links: %s can be %s again, after %" PRIu64 " failed attempts", store->path, verbs[side],
		         failed);
}
