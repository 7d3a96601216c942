/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of access_log.h: the form of lines, hostile text, rotation, a disk that can't keep up, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>
#include <cmocka.h>

#include "http/access_log.h"

#define WALL_US UINT64_C(1767225600000007) /* 2026-01-01T00:00:00.000007Z */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static int fail_at; /* the n-th call from now fails; 0: none */

void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_at > 0 && --fail_at == 0) {
		errno = ENOMEM;
		return NULL;
	}
	return __real_calloc(n, size);
}

struct place {
	char folder[64], file[96], renamed[96];
};

static int set_up(void **state)
{
	struct place *place = malloc(sizeof *place);

	if (place == NULL)
		return -1;
	strcpy(place->folder, "/tmp/sluice-access-log-XXXXXX");
	if (mkdtemp(place->folder) == NULL)
		return -1;
	snprintf(place->file, sizeof place->file, "%s/access.log", place->folder);
	snprintf(place->renamed, sizeof place->renamed, "%s/access.log.1", place->folder);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	unlink(place->file);
	unlink(place->renamed);
	rmdir(place->folder);
	free(place);
	return 0;
}

/* The whole file, to be freed; NULL when there is none. */
static char *contents(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text;
	size_t len = 0;
	FILE *out;
	int c;

	if (file == NULL)
		return NULL;
	out = open_memstream(&text, &len);
	assert_non_null(out);
	while ((c = fgetc(file)) != EOF)
		fputc(c, out);
	fclose(out);
	fclose(file);
	return text;
}

static struct access_line a_line(void)
{
	return (struct access_line){ .wall_us = WALL_US,
		                     .client = "203.0.113.7",
		                     .method = "GET",
		                     .target = "/Ab12Cd7?x=1",
		                     .status = 302,
		                     .bytes = 0,
		                     .duration_us = 57,
		                     .decision = "allowed" };
}

/* What the log makes of one line. To be freed. */
static char *written(const struct place *place, bool json, const struct access_line *line)
{
	struct access_log *log = access_log_open(place->file, json);
	struct access_writer *writer;

	assert_non_null(log);
	writer = access_log_writer(log);
	assert_non_null(writer);
	access_log_line(writer, line);
	access_log_close(log);
	return contents(place->file);
}

static void writes_text(void **state)
{
	struct access_line line = a_line();
	char *text = written(*state, false, &line);

	assert_string_equal(text, "2026-01-01T00:00:00.000007Z 203.0.113.7 \"GET /Ab12Cd7?x=1\" 302 0 57 allowed\n");
	free(text);
}

static void writes_json(void **state)
{
	struct access_line line = a_line();
	char *text = written(*state, true, &line);

	assert_string_equal(text,
	                    "{\"time\":\"2026-01-01T00:00:00.000007Z\",\"client\":\"203.0.113.7\",\"method\":\"GET\","
	                    "\"path\":\"/Ab12Cd7?x=1\",\"status\":302,\"bytes\":0,\"duration_us\":57,"
	                    "\"decision\":\"allowed\"}\n");
	free(text);
}

/* All bytes that a client could send in a target: one line comes out, and JSON gives the bytes back. */
static void nothing_ends_the_line_early(void **state)
{
	struct place *place = *state;

	for (int byte = 1; byte < 256; byte++) {
		struct access_line line = a_line();
		char target[] = "/a?b";
		json_t *root;
		json_error_t error;
		char *text;

		target[2] = (char)byte;
		line.target = target;
		text = written(place, false, &line);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		for (const char *c = text; *c != '\n'; c++)
			assert_in_range((unsigned char)*c, 0x20, 0x7e);
		assert_non_null(strstr(text, "b\" 302 0 57 allowed\n"));
		free(text);
		unlink(place->file);

		text = written(place, true, &line);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
		if (root == NULL)
			fail_msg("byte %d: not JSON: %s", byte, text);
		text[strlen(text) - 1] = '\0';
		if (byte < 0x80)
			assert_string_equal(json_string_value(json_object_get(root, "path")), target);
		json_decref(root);
		free(text);
		unlink(place->file);
	}
}

/* The longest line that there can be: every field at its bound and every byte escaped. */
static void cuts_what_is_too_long(void **state)
{
	struct place *place = *state;
	char target[5000], method[500], client[64];
	struct access_line line = a_line();

	memset(target, 1, sizeof target - 1);
	memset(method, 2, sizeof method - 1);
	memset(client, 'c', sizeof client - 1);
	target[sizeof target - 1] = method[sizeof method - 1] = client[sizeof client - 1] = '\0';
	line.target = target;
	line.method = method;
	line.client = client;
	line.bytes = SIZE_MAX;
	line.duration_us = UINT64_MAX;
	line.status = UINT32_MAX;
	for (int json = 0; json < 2; json++) {
		char *text = written(place, json != 0, &line);
		size_t shown = 0;

		for (const char *c = text; (c = strstr(c, "\\u0001")) != NULL; c++)
			shown++;
		assert_int_equal(shown, 256);
		assert_true(strlen(text) < 2048);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		free(text);
		unlink(place->file);
	}
}

static void time_changes_within_one_log(void **state)
{
	struct place *place = *state;
	static const struct {
		uint64_t wall_us;
		const char *time;
	} cases[] = {
		{ UINT64_C(1767225600000000), "2026-01-01T00:00:00.000000Z" },
		{ UINT64_C(1767225600999999), "2026-01-01T00:00:00.999999Z" },
		{ UINT64_C(1767225601000000), "2026-01-01T00:00:01.000000Z" },
		{ UINT64_C(1767225600500000), "2026-01-01T00:00:00.500000Z" }, /* the clock was set back */
		{ UINT64_C(951782400000000), "2000-02-29T00:00:00.000000Z" },
		{ UINT64_C(4102444799999999), "2099-12-31T23:59:59.999999Z" },
	};
	struct access_log *log = access_log_open(place->file, false);
	struct access_writer *writer;
	char *text, *at;

	assert_non_null(log);
	writer = access_log_writer(log);
	assert_non_null(writer);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct access_line line = a_line();

		line.wall_us = cases[i].wall_us;
		access_log_line(writer, &line);
	}
	access_log_close(log);
	at = text = contents(place->file);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_non_null(at);
		assert_memory_equal(at, cases[i].time, strlen(cases[i].time));
		at = strchr(at, '\n') + 1;
	}
	assert_int_equal(*at, '\0');
	free(text);
}

static bool file_has(const char *path, const char *wanted)
{
	char *text = contents(path);
	bool has = text != NULL && strstr(text, wanted) != NULL;

	free(text);
	return has;
}

/* Polls, 10 s at most. */
static void wait_for_text(const char *path, const char *wanted)
{
	for (int i = 0; i < 1000; i++) {
		if (file_has(path, wanted))
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("%s never got \"%s\"", path, wanted);
}

static void a_renamed_file_is_opened_anew(void **state)
{
	struct place *place = *state;
	struct access_log *log = access_log_open(place->file, false);
	struct access_line line = a_line();
	struct access_writer *writer;

	assert_non_null(log);
	writer = access_log_writer(log);
	assert_non_null(writer);
	line.target = "/first";
	access_log_line(writer, &line);
	access_log_flush(writer);
	wait_for_text(place->file, "/first");
	assert_int_equal(rename(place->file, place->renamed), 0);
	line.target = "/second";
	access_log_line(writer, &line);
	access_log_flush(writer);
	wait_for_text(place->renamed, "/second");
	assert_int_equal(access_log_reopen(log), 0);
	line.target = "/third";
	access_log_line(writer, &line);
	access_log_close(log);
	assert_true(file_has(place->file, "/third"));
	assert_false(file_has(place->file, "/second"));
	assert_false(file_has(place->renamed, "/third"));
}

static void a_file_that_cannot_be_opened_is_an_error(void **state)
{
	struct place *place = *state;
	char path[160];
	struct access_log *log;
	struct access_line line = a_line();

	snprintf(path, sizeof path, "%s/no/such/folder", place->folder);
	errno = 0;
	assert_null(access_log_open(path, false));
	assert_int_equal(errno, ENOENT);
	assert_null(access_log_open(place->folder, false));
	assert_int_equal(errno, EISDIR);

	/* After a failed reopening the old file stays in use. */
	log = access_log_open(place->file, false);
	assert_non_null(log);
	assert_int_equal(rename(place->file, place->renamed), 0);
	assert_int_equal(mkdir(place->file, 0700), 0);
	assert_int_equal(access_log_reopen(log), -EISDIR);
	access_log_line(access_log_writer(log), &line);
	access_log_close(log);
	assert_int_equal(rmdir(place->file), 0);
	assert_true(file_has(place->renamed, "/Ab12Cd7"));
}

static void appends_to_what_is_there(void **state)
{
	struct place *place = *state;
	struct access_line line = a_line();

	line.target = "/one";
	free(written(place, false, &line));
	line.target = "/two";
	free(written(place, false, &line));
	assert_true(file_has(place->file, "/one"));
	assert_true(file_has(place->file, "/two"));
}

static void every_allocation_may_fail(void **state)
{
	struct place *place = *state;
	struct access_log *log;

	fail_at = 1;
	assert_null(access_log_open(place->file, false));
	assert_int_equal(errno, ENOMEM);
	log = access_log_open(place->file, false);
	assert_non_null(log);
	for (int n = 1; n <= 3; n++) {
		fail_at = n;
		assert_null(access_log_writer(log));
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(fail_at, 0);
	}
	assert_non_null(access_log_writer(log));
	access_log_close(log);
}

struct drain {
	int fd;
	uint64_t lines;
};

static void *read_to_the_end(void *arg)
{
	struct drain *drain = arg;
	char buffer[65536];
	ssize_t n;

	while ((n = read(drain->fd, buffer, sizeof buffer)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			drain->lines += buffer[i] == '\n';
	}
	return NULL;
}

/* The log is a pipe that nobody reads: adding lines never blocks, what does not fit is counted, and what was not
 * counted as dropped is all there once somebody reads. */
static void a_slow_disk_costs_lines_and_never_time(void **state)
{
	enum { LINES = 20000 };
	struct place *place = *state;
	struct access_line line = a_line();
	struct access_writer *writer;
	struct access_log *log;
	struct drain drain = { 0 };
	pthread_t reader;
	uint64_t dropped;

	assert_int_equal(mkfifo(place->file, 0600), 0);
	drain.fd = open(place->file, O_RDONLY | O_NONBLOCK);
	assert_true(drain.fd >= 0);
	log = access_log_open(place->file, false);
	assert_non_null(log);
	assert_int_equal(fcntl(drain.fd, F_SETFL, 0), 0);
	writer = access_log_writer(log);
	assert_non_null(writer);
	for (int i = 0; i < LINES; i++)
		access_log_line(writer, &line);
	dropped = access_log_dropped(log);
	assert_in_range(dropped, 1, LINES - 1);
	assert_int_equal(pthread_create(&reader, NULL, read_to_the_end, &drain), 0);
	access_log_close(log);
	pthread_join(reader, NULL);
	assert_int_equal(drain.lines, LINES - dropped);
	close(drain.fd);
}

enum { THREADS = 4, LINES_EACH = 20000 };

struct scribe {
	struct access_log *log;
	char target[16];
};

static void *write_many(void *arg)
{
	struct scribe *scribe = arg;
	struct access_writer *writer = access_log_writer(scribe->log);
	struct access_line line = a_line();

	line.target = scribe->target;
	for (int i = 0; writer != NULL && i < LINES_EACH; i++) {
		access_log_line(writer, &line);
		if (i % 100 == 0)
			access_log_flush(writer);
	}
	return NULL;
}

static void lines_of_threads_never_mix(void **state)
{
	struct place *place = *state;
	struct access_log *log = access_log_open(place->file, false);
	struct scribe scribes[THREADS];
	pthread_t threads[THREADS];
	uint64_t counted = 0, dropped;
	char *text, *save = NULL;

	assert_non_null(log);
	for (int i = 0; i < THREADS; i++) {
		scribes[i].log = log;
		snprintf(scribes[i].target, sizeof scribes[i].target, "/thread-%d", i);
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &scribes[i]), 0);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(access_log_reopen(log), 0); /* while they write: nothing is lost by it */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	dropped = access_log_dropped(log);
	access_log_close(log);
	text = contents(place->file);
	assert_non_null(text);
	for (char *at = strtok_r(text, "\n", &save); at != NULL; at = strtok_r(NULL, "\n", &save)) {
		int thread, end = 0;

		sscanf(at, "2026-01-01T00:00:00.000007Z 203.0.113.7 \"GET /thread-%d\" 302 0 57 allowed%n", &thread,
		       &end);
		if (end == 0 || at[end] != '\0')
			fail_msg("a broken line: %s", at);
		counted++;
	}
	free(text);
	assert_int_equal(counted + dropped, THREADS * LINES_EACH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(writes_json, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_ends_the_line_early, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cuts_what_is_too_long, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_changes_within_one_log, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_renamed_file_is_opened_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_opened_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(appends_to_what_is_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_slow_disk_costs_lines_and_never_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lines_of_threads_never_mix, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
