/* SPDX-License-Identifier: Apache-2.0 */
/* test_sqlite.c: the SQLite store keeps the contract of links.h, whatever happens to its file. */
#include "links/test_client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include <spawn.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "links/code.h"
#include "links/sqlite.h"
#include "links/sqlite_schema.h"
#include "links/test_alloc.h"

extern char **environ;

#define PATIENCE_US UINT64_C(20000000)

/* One folder, one database a test. */
struct fixture {
	char folder[64];
	char path[96];
	struct client client;
};

static struct links *try_open(const char *path, uint32_t queue, uint32_t click_interval_ms, char *why, size_t why_size)
{
	const struct links_sqlite_config config = {
		.path = path,
		.cache_bytes = 1 << 20,
		.queue = queue,
		.click_interval_ms = click_interval_ms,
	};

	return links_sqlite_open(&config, why, why_size);
}

/* A connection of another program's. */
static sqlite3 *open_raw(const char *path)
{
	sqlite3 *raw;

	assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
	sqlite3_busy_timeout(raw, 10000);
	return raw;
}

static void run_raw(sqlite3 *raw, const char *sql)
{
	if (sqlite3_exec(raw, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(raw));
}

static int64_t query_raw(sqlite3 *raw, const char *sql)
{
	sqlite3_stmt *statement;
	int64_t value;

	assert_int_equal(sqlite3_prepare_v2(raw, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static int64_t query_file(const char *path, const char *sql)
{
	sqlite3 *raw = open_raw(path);
	int64_t value = query_raw(raw, sql);

	sqlite3_close(raw);
	return value;
}

static struct links *open_store(const char *path)
{
	char why[512] = "";
	struct links *links = try_open(path, 1000, 1000, why, sizeof why);

	if (links == NULL)
		fail_msg("%s", why);
	return links;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (f == NULL)
		return -1;
	strcpy(f->folder, "/tmp/sluice-test-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		return -1;
	snprintf(f->path, sizeof f->path, "%s/links.db", f->folder);
	client_open(&f->client);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];
	int status;

	client_close(&f->client);
	snprintf(command, sizeof command, "rm -rf %s", f->folder);
	status = system(command);
	free(f);
	return status;
}

static void create(struct fixture *f, struct links *links, const char *url, enum links_outcome expected,
                   char code[LINK_CODE_MAX + 1])
{
	struct call call;

	call_init_create(&call, url);
	assert_int_equal(call_run(&f->client, links, &call), expected);
	strcpy(code, call.op.code);
	assert_int_equal(strlen(code), LINK_CODE_LENGTH);
	assert_true(code_valid(code, LINK_CODE_LENGTH));
}

static void expect_url(struct fixture *f, struct links *links, const char *code, const char *url)
{
	struct call call;

	call_init_resolve(&call, code);
	assert_int_equal(call_run(&f->client, links, &call), url != NULL ? LINKS_FOUND : LINKS_MISSING);
	if (url != NULL) {
		assert_int_equal(call.op.url_len, strlen(url));
		assert_string_equal(call.op.url, url);
	}
}

static void check_create_and_resolve(struct fixture *f, struct links *links)
{
	char a[LINK_CODE_MAX + 1], b[LINK_CODE_MAX + 1], again[LINK_CODE_MAX + 1];

	assert_true(links_ready(links));
	create(f, links, "http://example.com/a", LINKS_CREATED, a);
	create(f, links, "http://example.com/b", LINKS_CREATED, b);
	create(f, links, "http://example.com/a", LINKS_FOUND, again);
	assert_string_equal(a, again);
	assert_string_not_equal(a, b);
	expect_url(f, links, a, "http://example.com/a");
	expect_url(f, links, b, "http://example.com/b");
	expect_url(f, links, "nothere", NULL);
	expect_url(f, links, "", NULL);
	expect_url(f, links, "shorten", NULL);
	expect_url(f, links, "' OR 1=1", NULL);
}

static void test_create_and_resolve(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);

	check_create_and_resolve(f, links);
	links_close(links);
}

static void test_memory(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(":memory:");

	check_create_and_resolve(f, links);
	links_close(links);
}

static void test_survives_reopening(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	char code[LINK_CODE_MAX + 1], again[LINK_CODE_MAX + 1];
	char path[128];

	create(f, links, "http://example.com/kept", LINKS_CREATED, code);
	links_close(links);
	snprintf(path, sizeof path, "%s-wal", f->path);
	assert_int_equal(access(path, F_OK), -1); /* folded in by the close */

	links = open_store(f->path);
	expect_url(f, links, code, "http://example.com/kept"); /* from the file: the cache is new */
	create(f, links, "http://example.com/kept", LINKS_FOUND, again);
	assert_string_equal(code, again);
	links_close(links);
}

/* While the writer is held up, everything gathers: one URL many times, and many URLs, become few commits. */
static void test_group(void **state)
{
	enum { N = 300 };
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	struct call *calls = calloc(N, sizeof *calls);
	sqlite3 *raw = open_raw(f->path);
	unsigned created = 0;
	struct links_stats stats;

	assert_non_null(calls);
	run_raw(raw, "BEGIN IMMEDIATE"); /* nobody else can write now */
	for (int i = 0; i < N; i++) {
		char url[64];

		snprintf(url, sizeof url, "http://example.com/%d", i % (N / 3));
		call_init_create(&calls[i], url);
		assert_int_equal(call_submit(&f->client, links, &calls[i]), LINKS_PENDING);
	}
	assert_int_equal(f->client.ended, 0);
	run_raw(raw, "COMMIT");
	client_wait(&f->client, N);
	for (int i = 0; i < N; i++) {
		assert_true(calls[i].op.outcome == LINKS_CREATED || calls[i].op.outcome == LINKS_FOUND);
		assert_string_equal(calls[i].op.code, calls[i % (N / 3)].op.code);
		created += calls[i].op.outcome == LINKS_CREATED;
		expect_url(f, links, calls[i].op.code, (calls[i].url[calls[i].op.url_len] = '\0', calls[i].url));
	}
	assert_int_equal(created, N / 3);
	links_stats(links, &stats);
	assert_int_equal(stats.creates, N / 3);
	assert_true(stats.commits >= 1 && stats.commits <= 2); /* what the writer had already, and the rest */
	assert_int_equal(stats.writes_queued, 0);
	assert_int_equal(query_raw(raw, "SELECT count(*) FROM links"), N / 3);
	sqlite3_close(raw);
	links_close(links);
	free(calls);
}

static void test_queue_full(void **state)
{
	enum { QUEUE = 4, N = 3 * QUEUE };
	struct fixture *f = *state;
	char why[512];
	struct links *links = try_open(f->path, QUEUE, 1000, why, sizeof why);
	struct call *calls = calloc(N, sizeof *calls);
	sqlite3 *raw = open_raw(f->path);
	struct links_stats stats;
	unsigned pending = 0, refused = 0;

	assert_non_null(links);
	assert_non_null(calls);
	run_raw(raw, "BEGIN IMMEDIATE");
	/* The writer holds at most QUEUE, the queue as many: of 3 * QUEUE some are refused, at once. */
	for (int i = 0; i < N; i++) {
		char url[64];
		int result;

		snprintf(url, sizeof url, "http://example.com/%d", i);
		call_init_create(&calls[i], url);
		result = call_submit(&f->client, links, &calls[i]);
		assert_true(result == LINKS_PENDING || result == -EAGAIN);
		pending += result == LINKS_PENDING;
		refused += result == -EAGAIN;
	}
	assert_true(refused >= N - 2 * QUEUE);
	assert_true(pending >= QUEUE);
	links_stats(links, &stats);
	assert_int_equal(stats.refused, refused);
	assert_true(stats.writes_queued <= QUEUE);
	run_raw(raw, "COMMIT");
	client_wait(&f->client, pending);
	assert_int_equal(query_raw(raw, "SELECT count(*) FROM links"), pending);
	sqlite3_close(raw);
	links_close(links);
	free(calls);
}

enum { THREADS = 4, SHARED_URLS = 60 };

struct worker {
	pthread_t thread;
	struct links *links;
	unsigned created, failed;
	char codes[SHARED_URLS][LINK_CODE_MAX + 1];
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct client client;
	struct call call;

	client_open(&client);
	for (int i = 0; i < SHARED_URLS; i++) {
		char url[64];

		snprintf(url, sizeof url, "http://example.com/shared/%d", i);
		call_init_create(&call, url);
		call_run(&client, w->links, &call);
		w->created += call.op.outcome == LINKS_CREATED;
		w->failed += call.op.outcome == LINKS_FAILED;
		strcpy(w->codes[i], call.op.code);
		links_click(w->links, call.op.code, clock_wall_us());
		call_init_resolve(&call, w->codes[i]);
		w->failed += call_run(&client, w->links, &call) != LINKS_FOUND || strcmp(call.op.url, url) != 0;
	}
	client_close(&client);
	return NULL;
}

/* Threads, and two stores on one file as in two processes, agree on one code for a URL. */
static void check_threads_agree(const char *path, unsigned stores)
{
	struct links *links[2] = { NULL, NULL };
	struct worker *workers = calloc(THREADS, sizeof *workers);
	unsigned created = 0;

	assert_non_null(workers);
	for (unsigned i = 0; i < stores; i++)
		links[i] = open_store(path);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].links = links[i % stores];
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].failed, 0);
		assert_memory_equal(workers[i].codes, workers[0].codes, sizeof workers[0].codes);
		created += workers[i].created;
	}
	assert_int_equal(created, SHARED_URLS);
	for (unsigned i = 0; i < stores; i++)
		links_close(links[i]);
	if (strcmp(path, ":memory:") != 0)
		assert_int_equal(query_file(path, "SELECT sum(clicks) FROM links"), THREADS * SHARED_URLS);
	free(workers);
}

static void test_threads_agree(void **state)
{
	struct fixture *f = *state;

	check_threads_agree(f->path, 1);
}

static void test_two_stores_agree(void **state)
{
	struct fixture *f = *state;

	check_threads_agree(f->path, 2);
}

static void test_threads_agree_in_memory(void **state)
{
	check_threads_agree(":memory:", 1);
}

static void test_codes_are_exact(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	sqlite3 *raw = open_raw(f->path);

	run_raw(raw, "INSERT INTO links (code, url, url_sha256, created_at) VALUES"
	             " ('abc', 'http://example.com/lower', x'01', 0), ('ABC', 'http://example.com/upper', x'02', 0),"
	             " ('0', 'http://example.com/zero', x'03', 0), ('1e3', 'http://example.com/number', x'04', 0)");
	expect_url(f, links, "abc", "http://example.com/lower");
	expect_url(f, links, "ABC", "http://example.com/upper");
	expect_url(f, links, "Abc", NULL);
	expect_url(f, links, "abc_", NULL);
	expect_url(f, links, "ab", NULL);
	expect_url(f, links, "0", "http://example.com/zero");
	expect_url(f, links, "00", NULL);
	expect_url(f, links, "1e3", "http://example.com/number");
	expect_url(f, links, "1000", NULL);
	sqlite3_close(raw);
	links_close(links);
}

static void test_url_bounds(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	struct call call;
	char longest[LINK_URL_MAX + 1], code[LINK_CODE_MAX + 1];

	memset(longest, 'x', LINK_URL_MAX);
	longest[LINK_URL_MAX] = '\0';
	memcpy(longest, "http://example.com/", 19);
	create(f, links, longest, LINKS_CREATED, code);
	expect_url(f, links, code, longest);
	links_close(links);
	links = open_store(f->path);
	expect_url(f, links, code, longest); /* from the file */
	call_init_create(&call, "");
	assert_int_equal(call_submit(&f->client, links, &call), -EINVAL);
	call_init_create(&call, "http://example.com/");
	call.op.url_len = LINK_URL_MAX + 1;
	assert_int_equal(call_submit(&f->client, links, &call), -EINVAL);
	links_close(links);
}

static void test_cache_counts(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	char code[LINK_CODE_MAX + 1];
	struct links_stats stats;

	create(f, links, "http://example.com/", LINKS_CREATED, code);
	links_close(links);
	links = open_store(f->path);
	for (int i = 0; i < 5; i++)
		expect_url(f, links, code, "http://example.com/");
	expect_url(f, links, "nothere", NULL);
	links_stats(links, &stats);
	assert_int_equal(stats.cache_hits, 4);
	assert_int_equal(stats.cache_misses, 2);
	assert_int_equal(stats.cache_entries, 1);
	assert_true(stats.cache_bytes > 0 && stats.cache_bytes <= 1 << 20);
	assert_int_equal(stats.commits, 0);
	assert_int_equal(stats.errors, 0);
	links_close(links);
}

static void test_clicks_written_at_close(void **state)
{
	struct fixture *f = *state;
	char why[512], code[LINK_CODE_MAX + 1], sql[128];
	struct links *links = try_open(f->path, 100, 3600 * 1000, why, sizeof why);
	struct links_stats stats;

	assert_non_null(links);
	create(f, links, "http://example.com/", LINKS_CREATED, code);
	links_click(links, code, 1000);
	links_click(links, code, 3000);
	links_click(links, code, 2000);
	links_click(links, "unknown", 1);
	links_click(links, "", 1);
	links_stats(links, &stats);
	assert_int_equal(stats.clicks_pending, 4);
	assert_int_equal(query_file(f->path, "SELECT sum(clicks) FROM links"), 0);
	links_close(links);
	assert_int_equal(query_file(f->path, "SELECT sum(clicks) FROM links"), 3);
	snprintf(sql, sizeof sql, "SELECT last_click_at FROM links WHERE code = '%s'", code);
	assert_int_equal(query_file(f->path, sql), 3000);
	links = open_store(f->path); /* a second run adds up, and a clock that stepped back changes nothing */
	links_click(links, code, 2500);
	links_close(links);
	assert_int_equal(query_file(f->path, "SELECT sum(clicks) FROM links"), 4);
	assert_int_equal(query_file(f->path, sql), 3000);
}

static void test_clicks_written_in_time(void **state)
{
	struct fixture *f = *state;
	char why[512], code[LINK_CODE_MAX + 1];
	struct links *links = try_open(f->path, 100, 10, why, sizeof why);
	sqlite3 *raw = open_raw(f->path);
	uint64_t start_us = clock_mono_us();
	struct links_stats stats;

	assert_non_null(links);
	create(f, links, "http://example.com/", LINKS_CREATED, code);
	links_click(links, code, 1000);
	while (query_raw(raw, "SELECT sum(clicks) FROM links") != 1) {
		assert_true(clock_mono_us() - start_us < PATIENCE_US);
		usleep(1000);
	}
	do
		links_stats(links, &stats);
	while (stats.clicks_pending != 0 && clock_mono_us() - start_us < PATIENCE_US);
	assert_int_equal(stats.clicks_pending, 0);
	sqlite3_close(raw);
	links_close(links);
}

/* More than fit one transaction. */
static void test_many_clicks(void **state)
{
	enum { CODES = 5000 };
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	sqlite3 *raw = open_raw(f->path);
	char code[LINK_CODE_MAX + 1];

	run_raw(raw, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)"
	             "INSERT INTO links (code, url, url_sha256, created_at) SELECT 'c' || i, 'http://example.com/' || "
	             "i, i, 0 FROM n");
	sqlite3_close(raw);
	for (int i = 0; i < 2 * CODES; i++) {
		snprintf(code, sizeof code, "c%d", i % CODES);
		links_click(links, code, 1);
	}
	links_close(links);
	assert_int_equal(query_file(f->path, "SELECT count(*) FROM links WHERE clicks = 2"), CODES);
}

static void expect_refused(struct fixture *f, const char *part_a, const char *part_b)
{
	char why[512] = "";

	assert_null(try_open(f->path, 100, 1000, why, sizeof why));
	if (strstr(why, f->path) == NULL || strstr(why, part_a) == NULL || strstr(why, part_b) == NULL)
		fail_msg("\"%s\" names not all of %s, \"%s\", \"%s\"", why, f->path, part_a, part_b);
}

static void test_newer_version_refused(void **state)
{
	struct fixture *f = *state;
	sqlite3 *raw;
	char known[32];

	links_close(open_store(f->path));
	raw = open_raw(f->path);
	run_raw(raw, "PRAGMA user_version = 99");
	sqlite3_close(raw);
	snprintf(known, sizeof known, "up to %d)", schema_version());
	expect_refused(f, "version 99", known);
	expect_refused(f, "newer", "export");
	assert_int_equal(query_file(f->path, "PRAGMA user_version"), 99);
}

static void test_foreign_database_refused(void **state)
{
	struct fixture *f = *state;
	sqlite3 *raw = open_raw(f->path);

	run_raw(raw, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
	expect_refused(f, "another program", "name another file");
	run_raw(raw, "PRAGMA application_id = 12345");
	expect_refused(f, "another program", "name another file");
	assert_int_equal(query_raw(raw, "SELECT count(*) FROM theirs"), 1);
	assert_int_equal(query_raw(raw, "SELECT count(*) FROM sqlite_schema"), 1);
	sqlite3_close(raw);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static void test_damaged_file_refused(void **state)
{
	struct fixture *f = *state;
	char page[8192];
	struct stat before, after;

	memset(page, 'x', sizeof page);
	write_file(f->path, page, sizeof page);
	assert_int_equal(stat(f->path, &before), 0);
	expect_refused(f, "not a SQLite database", "name another file");
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);

	write_file(f->path, page, 0); /* an empty file is a new database */
	links_close(open_store(f->path));
}

static void test_no_folder(void **state)
{
	struct fixture *f = *state;

	snprintf(f->path, sizeof f->path, "%s/none/links.db", f->folder);
	expect_refused(f, "No such file or directory", "create its folder first");
	snprintf(f->path, sizeof f->path, "%s", f->folder);
	expect_refused(f, "can't be opened", "");
}

static void test_locked_at_start(void **state)
{
	struct fixture *f = *state;
	sqlite3 *raw = open_raw(f->path);

	run_raw(raw, "BEGIN EXCLUSIVE");
	expect_refused(f, "locked by another program", "stop that or wait");
	sqlite3_close(raw);
	links_close(open_store(f->path));
}

/* Sends standard error to a file; @return where it went before. */
static int capture_stderr(const char *path)
{
	int before = dup(STDERR_FILENO), fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0600);

	assert_true(before >= 0 && fd >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	return before;
}

static unsigned count_lines_with(const char *path, const char *part)
{
	FILE *file = fopen(path, "r");
	char line[2048];
	unsigned n = 0;

	assert_non_null(file);
	while (fgets(line, sizeof line, file) != NULL)
		n += strstr(line, part) != NULL;
	fclose(file);
	return n;
}

/* The store is ready a moment before it has said so. */
static void wait_for_line(const char *path, const char *part)
{
	uint64_t start_us = clock_mono_us();

	while (count_lines_with(path, part) == 0) {
		assert_true(clock_mono_us() - start_us < PATIENCE_US);
		usleep(1000);
	}
}

static void wait_ready(struct links *links, bool ready)
{
	uint64_t start_us = clock_mono_us();

	while (links_ready(links) != ready) {
		assert_true(clock_mono_us() - start_us < PATIENCE_US);
		usleep(1000);
	}
}

static void limit_file_size(const char *path, rlim_t more)
{
	struct rlimit limit;
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = more == RLIM_INFINITY ? limit.rlim_max : (rlim_t)st.st_size + more;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void expect_create_fails(struct fixture *f, struct links *links, const char *url)
{
	struct call call;

	call_init_create(&call, url);
	assert_int_equal(call_run(&f->client, links, &call), LINKS_FAILED);
	assert_true(call.op.error < 0);
	assert_string_equal(call.op.code, "");
}

/* Files can't grow any more, as on a full disk: creates fail, what is there is still served, the operator is told once,
 * and when there is room again all goes on by itself. */
static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	char code[LINK_CODE_MAX + 1], other[LINK_CODE_MAX + 1], log[96], wal[128];
	struct links_stats stats;
	int before;

	create(f, links, "http://example.com/a", LINKS_CREATED, code);
	snprintf(log, sizeof log, "%s/log", f->folder);
	snprintf(wal, sizeof wal, "%s-wal", f->path);
	signal(SIGXFSZ, SIG_IGN);
	before = capture_stderr(log);
	limit_file_size(wal, 100);
	for (int i = 0; i < 5; i++)
		expect_create_fails(f, links, "http://example.com/b");
	assert_false(links_ready(links));
	links_stats(links, &stats);
	assert_int_equal(stats.errors, 5);
	expect_url(f, links, code, "http://example.com/a");
	expect_url(f, links, "nothere", NULL);
	create(f, links, "http://example.com/a", LINKS_FOUND, other);
	links_click(links, code, 1);
	limit_file_size(wal, RLIM_INFINITY);
	wait_ready(links, true); /* without an operation of ours */
	wait_for_line(log, "can be written again");
	dup2(before, STDERR_FILENO);
	close(before);
	assert_int_equal(count_lines_with(log, "can't be written"), 1);
	assert_int_equal(count_lines_with(log, "can be written again"), 1);
	create(f, links, "http://example.com/b", LINKS_CREATED, other);
	links_close(links);
	assert_int_equal(query_file(f->path, "SELECT count(*) FROM links"), 2);
	assert_int_equal(query_file(f->path, "SELECT sum(clicks) FROM links"), 1);
}

/* A file that was moved away would swallow what is written: nothing is acknowledged until it is back. */
static void test_file_moved(void **state)
{
	struct fixture *f = *state;
	struct links *links = open_store(f->path);
	char code[LINK_CODE_MAX + 1], log[96], moved[128];
	int before;

	create(f, links, "http://example.com/a", LINKS_CREATED, code);
	snprintf(log, sizeof log, "%s/log", f->folder);
	snprintf(moved, sizeof moved, "%s.moved", f->path);
	assert_int_equal(rename(f->path, moved), 0);
	before = capture_stderr(log);
	expect_create_fails(f, links, "http://example.com/b");
	assert_false(links_ready(links));
	assert_int_equal(rename(moved, f->path), 0);
	wait_ready(links, true);
	dup2(before, STDERR_FILENO);
	close(before);
	assert_int_equal(count_lines_with(log, "moved, deleted or replaced"), 1);
	create(f, links, "http://example.com/b", LINKS_CREATED, code);
	links_close(links);
	assert_int_equal(query_file(f->path, "SELECT count(*) FROM links"), 2);
}

/* Creates URLs and prints each acknowledged code, until it is killed. */
static int create_for_ever(const char *path)
{
	struct fixture f;
	struct links *links = open_store(path);
	char url[64], line[128], code[LINK_CODE_MAX + 1];

	client_open(&f.client);
	for (int i = 0;; i++) {
		snprintf(url, sizeof url, "http://example.com/%d", i);
		create(&f, links, url, LINKS_CREATED, code);
		if (write(STDOUT_FILENO, line, (size_t)snprintf(line, sizeof line, "%s %s\n", code, url)) < 0)
			return 1;
	}
}

static pid_t start_child(const char *path, FILE **output)
{
	posix_spawn_file_actions_t actions;
	char self[] = "/proc/self/exe", verb[] = "create-for-ever", copy[96];
	char *argv[] = { self, verb, copy, NULL };
	int fds[2];
	pid_t pid;

	snprintf(copy, sizeof copy, "%s", path);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	assert_int_equal(posix_spawn(&pid, self, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	*output = fdopen(fds[0], "r");
	assert_non_null(*output);
	return pid;
}

/* Reads `CODE URL` lines until the child, killed after some, has no more to say. @return how many. */
static unsigned read_acknowledged(pid_t pid, FILE *output, char (*lines)[96], unsigned max)
{
	enum { BEFORE_KILL = 200 };
	unsigned n = 0;

	while (n < max && fgets(lines[n], sizeof lines[n], output) != NULL && strchr(lines[n], '\n') != NULL) {
		if (++n == BEFORE_KILL)
			assert_int_equal(kill(pid, SIGKILL), 0);
	}
	assert_true(n >= BEFORE_KILL && n < max);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return n;
}

static void test_kill_9(void **state)
{
	enum { ROUNDS = 3, MAX = 20000 };
	struct fixture *f = *state;
	char(*lines)[96] = calloc(MAX, sizeof *lines);

	assert_non_null(lines);
	for (int round = 0; round < ROUNDS; round++) {
		FILE *output;
		pid_t pid = start_child(f->path, &output);
		unsigned n = read_acknowledged(pid, output, lines, MAX);
		struct links *links = open_store(f->path);

		for (unsigned i = 0; i < n; i++) {
			char code[LINK_CODE_MAX + 1], url[64];

			assert_int_equal(sscanf(lines[i], "%32s %63s", code, url), 2);
			expect_url(f, links, code, url);
		}
		links_close(links);
		fclose(output);
		assert_int_equal(unlink(f->path), 0);
	}
	free(lines);
}

static void test_allocation_failure(void **state)
{
	struct fixture *f = *state;
	struct links *links = NULL;
	char why[512];
	long n = 0;

	for (;; n++) {
		alloc_fail_after(n);
		links = try_open(f->path, 100, 1000, why, sizeof why);
		if (links != NULL)
			break;
		assert_true(alloc_failed());
		assert_non_null(strstr(why, f->path));
	}
	alloc_failed();
	assert_true(n > 5);
	check_create_and_resolve(f, links);
	links_close(links);
}

int main(int argc, char **argv)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_create_and_resolve),
		WITH_FIXTURE(test_memory),
		WITH_FIXTURE(test_survives_reopening),
		WITH_FIXTURE(test_group),
		WITH_FIXTURE(test_queue_full),
		WITH_FIXTURE(test_threads_agree),
		WITH_FIXTURE(test_two_stores_agree),
		WITH_FIXTURE(test_threads_agree_in_memory),
		WITH_FIXTURE(test_codes_are_exact),
		WITH_FIXTURE(test_url_bounds),
		WITH_FIXTURE(test_cache_counts),
		WITH_FIXTURE(test_clicks_written_at_close),
		WITH_FIXTURE(test_clicks_written_in_time),
		WITH_FIXTURE(test_many_clicks),
		WITH_FIXTURE(test_newer_version_refused),
		WITH_FIXTURE(test_foreign_database_refused),
		WITH_FIXTURE(test_damaged_file_refused),
		WITH_FIXTURE(test_no_folder),
		WITH_FIXTURE(test_locked_at_start),
		WITH_FIXTURE(test_disk_full),
		WITH_FIXTURE(test_file_moved),
		WITH_FIXTURE(test_kill_9),
		WITH_FIXTURE(test_allocation_failure),
	};

	if (argc == 3 && strcmp(argv[1], "create-for-ever") == 0)
		return create_for_ever(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
