/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_reader.c: the threads that look up what the cache does not hold, each on a connection of its own. */
#include <errno.h>
#include <string.h>

#include "links/sqlite_store.h"

int store_lookup(struct sqlite_store *store, struct db *db, struct links_op *op, bool *ended)
{
	bool found = false;
	int rc;

	*ended = false;
	if (op->verb == LINKS_RESOLVE) {
		rc = db_find_url(db, op->code, op->url, &op->url_len, &found);
		if (found)
			cache_put(store->by_code, op->code, strlen(op->code), op->url, op->url_len);
	} else {
		rc = db_find_code(db, op->store_key, op->code, &found);
		if (found)
			cache_put(store->by_url, op->store_key, sizeof op->store_key, op->code, strlen(op->code));
	}
	/* A damaged row says nothing of the database, and any client can ask for it. */
	if (rc == DB_ROW_DAMAGED) {
		*ended = true;
		store_finish(store, op, LINKS_FAILED, -EBADMSG);
		return SQLITE_OK;
	}
	health_note(store, HEALTH_READ, rc, db);
	if (rc != SQLITE_OK || (!found && op->verb == LINKS_CREATE))
		return rc;
	*ended = true;
	store_finish(store, op, found ? LINKS_FOUND : LINKS_MISSING, 0);
	return rc;
}

void *reader_main(void *arg)
{
	struct sqlite_reader *reader = arg;
	struct sqlite_store *store = reader->store;
	struct links_op *op;
	bool ended;
	int rc;

	while ((op = op_queue_take(&store->reads)) != NULL) {
		rc = store_lookup(store, &reader->db, op, &ended);
		if (!ended)
			store_finish(store, op, LINKS_FAILED, db_errno(rc));
	}
	return NULL;
}
