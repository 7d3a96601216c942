/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_schema.c: see postgres_schema.h.
 *
 * A step of `migrations` is never changed once released: a new version appends one.
 */
#include "links/postgres_schema.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "links/postgres_db.h"

/* To look takes no time, unless somebody has locked the tables: not worth waiting for, as who waits can't stop. */
#define LOOK_TIMEOUT_US UINT64_C(2500000)
#define LOOK_STATEMENT_TIMEOUT "2000ms"

/* To make or change tables may take longer. */
#define STEP_TIMEOUT_US UINT64_C(60000000)
#define STEP_STATEMENT_TIMEOUT "59s"

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* "SLUC": the key of the advisory lock under which schemas of this database are made. */
#define LOCK_KEY 1397511491
#define SERVER_VERSION_MIN 120000

/* The step at index n leads from version n to n + 1. A string is limited to some KB by C: several, one after the
 * other, in one transaction. */
static const char *const migrations[] = {
	/* Codes compare byte by byte. A row that an operator adds or changes with psql gets its hash by itself. */
	"CREATE TABLE links ("
	"  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
	"  code       text COLLATE \"C\" NOT NULL UNIQUE CHECK (code ~ '^[A-Za-z0-9_-]{1,32}$'),"
	"  url        text COLLATE \"C\" NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 8192),"
	"  url_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(url_sha256) = 32),"
	"  created_at timestamptz NOT NULL DEFAULT now(),"
	"  disabled   boolean NOT NULL DEFAULT false"
	");"
	"CREATE TABLE link_clicks ("
	"  link_id       bigint PRIMARY KEY REFERENCES links ON DELETE CASCADE,"
	"  clicks        bigint NOT NULL,"
	"  last_click_at timestamptz"
	") WITH (fillfactor = 70);"
	"CREATE FUNCTION sluice_links_hash() RETURNS trigger LANGUAGE plpgsql AS $f$"
	"BEGIN"
	"  NEW.url_sha256 := sha256(convert_to(NEW.url, 'UTF8'));"
	"  RETURN NEW;"
	"END $f$;"
	"CREATE TRIGGER sluice_links_hash_new BEFORE INSERT ON links FOR EACH ROW"
	"  WHEN (NEW.url_sha256 IS NULL) EXECUTE FUNCTION sluice_links_hash();"
	"CREATE TRIGGER sluice_links_hash_changed BEFORE UPDATE OF url ON links FOR EACH ROW"
	"  EXECUTE FUNCTION sluice_links_hash();"
	"CREATE FUNCTION sluice_links_changed() RETURNS trigger LANGUAGE plpgsql AS $f$"
	"BEGIN"
	"  PERFORM pg_notify('sluice_links', OLD.code || ' ' || encode(OLD.url_sha256, 'hex'));"
	"  PERFORM pg_notify('sluice_links', NEW.code || ' ' || encode(NEW.url_sha256, 'hex'));"
	"  RETURN NULL;"
	"END $f$;"
	/* Many at once are one message: everything may have changed. */
	"CREATE FUNCTION sluice_links_deleted() RETURNS trigger LANGUAGE plpgsql AS $f$"
	"BEGIN"
	"  IF (SELECT count(*) FROM (SELECT 1 FROM gone LIMIT 101) AS a_few) > 100 THEN"
	"    PERFORM pg_notify('sluice_links', '*');"
	"  ELSE"
	"    PERFORM pg_notify('sluice_links', code || ' ' || encode(url_sha256, 'hex')) FROM gone;"
	"  END IF;"
	"  RETURN NULL;"
	"END $f$;"
	"CREATE FUNCTION sluice_links_emptied() RETURNS trigger LANGUAGE plpgsql AS $f$"
	"BEGIN"
	"  PERFORM pg_notify('sluice_links', '*');"
	"  RETURN NULL;"
	"END $f$;"
	"CREATE TRIGGER sluice_links_changed AFTER UPDATE ON links FOR EACH ROW"
	"  WHEN (OLD.code <> NEW.code OR OLD.url <> NEW.url OR OLD.disabled <> NEW.disabled)"
	"  EXECUTE FUNCTION sluice_links_changed();"
	"CREATE TRIGGER sluice_links_deleted AFTER DELETE ON links REFERENCING OLD TABLE AS gone"
	"  FOR EACH STATEMENT EXECUTE FUNCTION sluice_links_deleted();"
	"CREATE TRIGGER sluice_links_emptied AFTER TRUNCATE ON links"
	"  FOR EACH STATEMENT EXECUTE FUNCTION sluice_links_emptied();",
};

int pg_schema_version(void)
{
	return (int)(sizeof migrations / sizeof migrations[0]);
}

struct schema {
	PGconn *conn;
	char where[160];
	char *why;
	size_t why_size;
};

/* A statement failed. What is missing is a right, or the database. */
static enum pg_schema_result fail(const struct schema *s, const char *reason)
{
	bool rights = strstr(reason, "permission denied") != NULL;

	snprintf(s->why, s->why_size, "%s: %s%s", s->where, reason,
	         rights ? "; let the owner of the schema run sluice once, or grant this user CREATE on the schema"
	                : "");
	return rights ? PG_SCHEMA_REFUSED : PG_SCHEMA_FAILED;
}

/* What is there: version is 0 when nothing is. */
struct found {
	bool ours, foreign; /* sluice_schema is there; links is there without it */
	bool readable;
	int version;
	bool usable; /* rights */
};

static bool is_true(const PGresult *result, int column)
{
	return strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

static int read_version(const struct schema *s, int *version, char *reason)
{
	PGresult *result = pg_exec(s->conn, "SELECT max(version) FROM sluice_schema", 0, NULL, NULL, NULL,
	                           LOOK_TIMEOUT_US, reason, PG_WHY_MAX);

	*version = result != NULL && PQntuples(result) == 1 ? atoi(PQgetvalue(result, 0, 0)) : 0;
	PQclear(result);
	return result != NULL ? 0 : -1;
}

static int look(const struct schema *s, struct found *found, char *reason)
{
	static const char sql[] = "SELECT to_regclass('sluice_schema') IS NOT NULL, to_regclass('links') IS NOT NULL,"
				  " coalesce(has_table_privilege(to_regclass('sluice_schema'), 'SELECT'), false)";
	PGresult *result = pg_exec(s->conn, sql, 0, NULL, NULL, NULL, LOOK_TIMEOUT_US, reason, PG_WHY_MAX);

	memset(found, 0, sizeof *found);
	if (result == NULL)
		return -1;
	found->ours = is_true(result, 0);
	found->foreign = !found->ours && is_true(result, 1);
	found->readable = is_true(result, 2);
	PQclear(result);
	return found->ours && found->readable ? read_version(s, &found->version, reason) : 0;
}

static enum pg_schema_result refuse(const struct schema *s, const struct found *found)
{
	if (found->foreign)
		snprintf(s->why, s->why_size,
		         "%s: there is a table \"links\" of another program; name another database, or a schema of "
		         "its own with ?options=-csearch_path%%3DNAME",
		         s->where);
	else if (found->ours && !found->readable)
		snprintf(s->why, s->why_size,
		         "%s: user %s may not read the tables of links; as their owner: GRANT SELECT ON sluice_schema "
		         "TO \"%s\"; GRANT SELECT, INSERT ON links TO \"%s\"; GRANT SELECT, INSERT, UPDATE ON "
		         "link_clicks TO \"%s\"",
		         s->where, PQuser(s->conn), PQuser(s->conn), PQuser(s->conn), PQuser(s->conn));
	else
		snprintf(s->why, s->why_size,
		         "%s: written by a newer Sluice (schema version %d, this program knows up to %d); use that "
		         "Sluice, or another database",
		         s->where, found->version, pg_schema_version());
	return PG_SCHEMA_REFUSED;
}

static bool is_refused(const struct found *found)
{
	return found->foreign || (found->ours && !found->readable) || found->version > pg_schema_version();
}

/* The tables are there: may they be used? */
static enum pg_schema_result check_rights(const struct schema *s)
{
	static const char sql[] =
		"SELECT bool_and(has_table_privilege(t, 'SELECT') AND has_table_privilege(t, 'INSERT'))"
		"   AND has_table_privilege('link_clicks', 'UPDATE')"
		" FROM unnest(ARRAY['links', 'link_clicks']) AS t";
	char reason[PG_WHY_MAX];
	PGresult *result = pg_exec(s->conn, sql, 0, NULL, NULL, NULL, LOOK_TIMEOUT_US, reason, sizeof reason);
	bool may = result != NULL && is_true(result, 0);

	PQclear(result);
	if (result == NULL)
		return fail(s, reason);
	if (may)
		return PG_SCHEMA_READY;
	snprintf(s->why, s->why_size,
	         "%s: user %s lacks rights; as the owner of the tables: GRANT SELECT, INSERT ON links TO \"%s\"; "
	         "GRANT SELECT, INSERT, UPDATE ON link_clicks TO \"%s\"",
	         s->where, PQuser(s->conn), PQuser(s->conn), PQuser(s->conn));
	return PG_SCHEMA_REFUSED;
}

/* Asked before, since the messages of a database are in any language. */
static enum pg_schema_result check_may_create(const struct schema *s)
{
	char reason[PG_WHY_MAX];
	PGresult *result =
		pg_exec(s->conn,
	                "SELECT current_schema() IS NOT NULL,"
	                " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), current_schema()",
	                0, NULL, NULL, NULL, LOOK_TIMEOUT_US, reason, sizeof reason);
	enum pg_schema_result may = PG_SCHEMA_REFUSED;

	if (result == NULL)
		return fail(s, reason);
	if (!is_true(result, 0))
		snprintf(s->why, s->why_size,
		         "%s: no schema of the search path of user %s is there or may be used; ALTER ROLE \"%s\" SET "
		         "search_path = NAME, or ?options=-csearch_path%%3DNAME",
		         s->where, PQuser(s->conn), PQuser(s->conn));
	else if (!is_true(result, 1))
		snprintf(s->why, s->why_size,
		         "%s: permission denied: user %s may not make tables in schema %s; let the owner of the schema "
		         "run sluice once, or GRANT CREATE ON SCHEMA \"%s\" TO \"%s\"",
		         s->where, PQuser(s->conn), PQgetvalue(result, 0, 2), PQgetvalue(result, 0, 2),
		         PQuser(s->conn));
	else
		may = PG_SCHEMA_READY;
	PQclear(result);
	return may;
}

/* In a transaction, under the lock: nobody else can be at it. */
static enum pg_schema_result migrate_locked(const struct schema *s)
{
	char reason[PG_WHY_MAX], sql[160];
	struct found found;

	if (look(s, &found, reason) != 0)
		return fail(s, reason);
	if (is_refused(&found))
		return refuse(s, &found);
	if (!found.ours && check_may_create(s) != PG_SCHEMA_READY)
		return check_may_create(s);
	if (!found.ours && pg_run(s->conn, "CREATE TABLE sluice_schema (version integer NOT NULL)", STEP_TIMEOUT_US,
	                          reason, sizeof reason) != 0)
		return fail(s, reason);
	for (int version = found.version; version < pg_schema_version(); version++) {
		if (pg_run(s->conn, migrations[version], STEP_TIMEOUT_US, reason, sizeof reason) != 0)
			return fail(s, reason);
	}
	snprintf(sql, sizeof sql, "DELETE FROM sluice_schema; INSERT INTO sluice_schema VALUES (%d)",
	         pg_schema_version());
	return pg_run(s->conn, sql, STEP_TIMEOUT_US, reason, sizeof reason) == 0 ? PG_SCHEMA_READY : fail(s, reason);
}

/* The lock is taken before the transaction begins: what a session knows of tables that are not there is put right at
 * the beginning of a transaction, not while it waits inside one. A connection that ends lets go of it. */
static enum pg_schema_result migrate(const struct schema *s)
{
	char reason[PG_WHY_MAX];
	enum pg_schema_result result;

	if (pg_run(s->conn, "SET statement_timeout = '" STEP_STATEMENT_TIMEOUT "'", LOOK_TIMEOUT_US, reason,
	           sizeof reason) != 0)
		return fail(s, reason);
	if (pg_run(s->conn, "SELECT pg_advisory_lock(" TEXT_OF(LOCK_KEY) ")", STEP_TIMEOUT_US, reason, sizeof reason) !=
	    0)
		return fail(s, reason);
	if (pg_run(s->conn, "BEGIN ISOLATION LEVEL READ COMMITTED", STEP_TIMEOUT_US, reason, sizeof reason) != 0)
		result = fail(s, reason);
	else
		result = migrate_locked(s);
	if (result == PG_SCHEMA_READY && pg_run(s->conn, "COMMIT", STEP_TIMEOUT_US, reason, sizeof reason) != 0)
		result = fail(s, reason);
	if (result != PG_SCHEMA_READY)
		pg_run(s->conn, "ROLLBACK", STEP_TIMEOUT_US, reason, sizeof reason);
	if (pg_run(s->conn, "SELECT pg_advisory_unlock(" TEXT_OF(LOCK_KEY) ")", STEP_TIMEOUT_US, reason,
	           sizeof reason) != 0 &&
	    result == PG_SCHEMA_READY)
		result = fail(s, reason);
	return result;
}

static enum pg_schema_result look_and_migrate(const struct schema *s, int create)
{
	char reason[PG_WHY_MAX];
	enum pg_schema_result result;
	struct found found;

	if (look(s, &found, reason) != 0)
		return fail(s, reason);
	if (is_refused(&found))
		return refuse(s, &found);
	if (found.version < pg_schema_version()) {
		if (!create && !found.ours) {
			snprintf(s->why, s->why_size, "%s: holds no links of Sluice; name the right database",
			         s->where);
			return PG_SCHEMA_REFUSED;
		}
		result = migrate(s);
		if (result != PG_SCHEMA_READY)
			return result;
	}
	return check_rights(s);
}

enum pg_schema_result pg_schema_prepare(PGconn *conn, int create, char *why, size_t why_size)
{
	struct schema s = { .conn = conn, .why = why, .why_size = why_size };
	char reason[PG_WHY_MAX];
	enum pg_schema_result result;

	pg_where(conn, s.where, sizeof s.where);
	if (PQserverVersion(conn) < SERVER_VERSION_MIN) {
		snprintf(why, why_size, "%s: PostgreSQL %d is too old; 12 or later is needed", s.where,
		         PQserverVersion(conn) / 10000);
		return PG_SCHEMA_REFUSED;
	}
	/* What we give up the database gives up, too: nothing of ours gathers behind a lock. */
	if (pg_run(conn, "SET statement_timeout = '" LOOK_STATEMENT_TIMEOUT "'", LOOK_TIMEOUT_US, reason,
	           sizeof reason) != 0)
		return fail(&s, reason);
	result = look_and_migrate(&s, create);
	if (result == PG_SCHEMA_READY &&
	    pg_run(conn, "RESET statement_timeout", LOOK_TIMEOUT_US, reason, sizeof reason) != 0)
		return fail(&s, reason);
	return result;
}

PGresult *pg_schema_silent_triggers(PGconn *conn, uint64_t timeout_us)
{
	static const char sql[] =
		"SELECT string_agg(name, ', ' ORDER BY name) FROM unnest(ARRAY['sluice_links_changed',"
		" 'sluice_links_deleted', 'sluice_links_emptied']) AS name WHERE NOT EXISTS (SELECT 1 FROM pg_trigger"
		" WHERE tgrelid = 'links'::regclass AND tgname = name AND tgenabled IN ('O', 'A'))";
	char ignored[PG_WHY_MAX];

	return pg_exec(conn, sql, 0, NULL, NULL, NULL, timeout_us, ignored, sizeof ignored);
}
