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

#include "base/clock.h"
#include "links/code.h"
#include "links/sqlite.h"
#include "links/sqlite_schema.h"

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

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_create_and_resolve),
		WITH_FIXTURE(test_memory),
		WITH_FIXTURE(test_survives_reopening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
