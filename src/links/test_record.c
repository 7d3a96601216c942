/* SPDX-License-Identifier: Apache-2.0 */
/* test_record.c: links from files and into files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "links/record_fields.h"
#include "links/record_reader.h"
#include "links/record_writer.h"
#include "links/test_memory_source.h"
#include "links/timestamp.h"

#define NOW_US UINT64_C(1769860800000000)

/* What the reader makes of a text: `LINE code url created clicks last` a good record (now: -), `LINE! why`, `LINE? why`
 * a warning, `LINE# why` fatal; joined by |. */
struct row {
	enum record_format format;
	const char *text, *seen;
};

#define HEADER "code,url,created_at,clicks,last_click_at\n"

static const struct row rows[] = {
	{ RECORD_CSV, "", "" },
	{ RECORD_CSV, "url\n", "" },
	{ RECORD_CSV, "url\nhttp://a.example/\n", "2  http://a.example/ - 0 0" },
	{ RECORD_CSV, HEADER "abc,http://a.example/,1970-01-01T00:00:01Z,7,1970-01-01T00:00:02Z\n",
	  "2 abc http://a.example/ 1000000 7 2000000" },
	{ RECORD_CSV, "clicks,url,code\n1,http://a.example/,x\n,http://b.example/,\n",
	  "2 x http://a.example/ - 1 0|3  http://b.example/ - 0 0" },
	{ RECORD_CSV, "url,note\nhttp://a.example/,n\n",
	  "1? unknown columns are ignored: note|2  http://a.example/ - 0 0" },
	{ RECORD_CSV, "http://a.example/\n",
	  "1# the first line must name the columns (code,url,created_at,clicks,last_click_at; url is needed); "
	  "it begins with \"http://a.example/\"" },
	{ RECORD_CSV, "code,url,code\n", "1# the header names the column code twice" },
	{ RECORD_CSV, "co\"de\n", "1# a quote inside a field that is not quoted" },
	{ RECORD_CSV, "code,url\nabc\nx,http://a.example/\n",
	  "2! 1 field where the header names 2: abc|3 x http://a.example/ - 0 0" },
	{ RECORD_CSV, "code,url\na b,http://a.example/\n",
	  "2! code must be 1 to 32 of A-Z a-z 0-9 _ - and not the name of a page: a b" },
	{ RECORD_CSV, "code,url\nmetrics,http://a.example/\n",
	  "2! code must be 1 to 32 of A-Z a-z 0-9 _ - and not the name of a page: metrics" },
	{ RECORD_CSV, "code,url\nx,\n", "2! URL is missing" },
	{ RECORD_CSV, "url\nftp://a.example/\n", "2! URL must start with http:// or https://: ftp://a.example/" },
	{ RECORD_CSV, "url\n\"a\nb\"\nhttp://a.example/",
	  "2! URL must not contain spaces, control characters or bytes beyond ASCII; percent-encode them: a\nb|"
	  "4  http://a.example/ - 0 0" },
	{ RECORD_CSV, "url,clicks\nhttp://a.example/,4611686018427387904\nhttp://a.example/,4611686018427387905\n",
	  "2  http://a.example/ - 4611686018427387904 0|"
	  "3! clicks must be a whole number from 0 to 2^62: 4611686018427387905" },
	{ RECORD_CSV, "url,clicks\nhttp://a.example/,-1\n", "2! clicks must be a whole number from 0 to 2^62: -1" },
	{ RECORD_CSV, "url,clicks\nhttp://a.example/,99999999999999999999\n",
	  "2! clicks must be a whole number from 0 to 2^62: 99999999999999999999" },
	{ RECORD_CSV, "url,created_at\nhttp://a.example/,yesterday\n",
	  "2! created_at must be a time such as 2026-01-31T12:00:00Z, from 1970 to 9999: yesterday" },
	{ RECORD_CSV, "\xef\xbb\xbfurl\r\nhttp://a.example/\r\n", "2  http://a.example/ - 0 0" },

	{ RECORD_URLS, "http://a.example/\r\n\nhttps://b.example\nnope\n",
	  "1  http://a.example/ - 0 0|3  https://b.example - 0 0|4! URL must start with http:// or https://: nope" },
	{ RECORD_URLS, "\xef\xbb\xbfhttp://a.example/", "1  http://a.example/ - 0 0" },
	{ RECORD_URLS, "# a list\n\n \t\n  http://a.example/ \t\r\n\t#http://no.example/\n#\nhttp://b.example/#c\n",
	  "4  http://a.example/ - 0 0|7  http://b.example/#c - 0 0" },
	{ RECORD_URLS, "http://a.example/ # no comment\n", "1! URL must not contain*" },
	{ RECORD_URLS, "\n\n\r\n", "" },

	{ RECORD_JSONL, "{\"url\":\"http://a.example/\"}\n", "1  http://a.example/ - 0 0" },
	{ RECORD_JSONL,
	  "\n "
	  "{\"code\":\"abc\",\"clicks\":7,\"created_at\":\"1970-01-01T00:00:01Z\",\"url\":\"http:\\/\\/"
	  "a.example\\u002f\","
	  "\"last_click_at\":\"1970-01-01T00:00:02Z\"} \r\n",
	  "2 abc http://a.example/ 1000000 7 2000000" },
	{ RECORD_JSONL,
	  "{\"url\":\"http://a.example/\",\"code\":null,\"last_click_at\":null,\"clicks\":null,\"created_at\":null}",
	  "1  http://a.example/ - 0 0" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\",\"x\":1}\n{\"url\":\"http://b.example/\",\"y\":1}\n",
	  "1? unknown names are ignored: x|1  http://a.example/ - 0 0|2  http://b.example/ - 0 0" },
	{ RECORD_JSONL, "{}\n", "1! URL is missing" },
	{ RECORD_JSONL, "{\"url\":5}\n", "1! url must be a string" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\",\"clicks\":1.5}\n",
	  "1! clicks must be a whole number from 0 to 2^62" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\",\"clicks\":-1}\n",
	  "1! clicks must be a whole number from 0 to 2^62" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\",\"clicks\":\"1\"}\n",
	  "1! clicks must be a whole number from 0 to 2^62" },
	{ RECORD_JSONL, "[1]\n\"x\"\n", "1! each line must hold a JSON object: [1]|2! not JSON: *" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\"\n{\"url\":\"http://b.example/\"}\n",
	  "1! not JSON: *|2  http://b.example/ - 0 0" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\",\"url\":\"http://b.example/\"}\n",
	  "1! not JSON: duplicate object key*" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\\u0000\"}\n", "1! not JSON: *" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\xff\"}\n", "1! not JSON: *" },
	{ RECORD_JSONL, "{\"url\":\"http://a.example/\\n\"}\n",
	  "1! URL must not contain spaces, control characters or bytes beyond ASCII; percent-encode them: "
	  "http://a.example/\n" },
};

static size_t show_problem(char mark, const struct record_problem *problem, uint64_t line, char *to)
{
	size_t used = (size_t)sprintf(to, "%" PRIu64 "%c %s", line, mark, problem->why);

	if (problem->value != NULL)
		used += (size_t)sprintf(to + used, ": %.*s", (int)problem->value_len, problem->value);
	return used;
}

static size_t show(enum record_result result, uint64_t line, const struct link_record *record,
                   const struct record_problem *problem, char *to)
{
	static const char marks[] = { [RECORD_REFUSED] = '!', [RECORD_WARNING] = '?', [RECORD_FATAL] = '#' };
	char created[24] = "-";

	if (result != RECORD_GOOD)
		return show_problem(marks[result], problem, line, to);
	if (record->created_us != NOW_US)
		sprintf(created, "%" PRIu64, record->created_us);
	return (size_t)sprintf(to, "%" PRIu64 " %s %.*s %s %" PRIu64 " %" PRIu64, line, record->code,
	                       (int)record->url_len, record->url, created, record->clicks, record->last_click_us);
}

/* `expected` matches when it is the same, each * in it standing for the rest up to the next |. */
static bool matches(const char *seen, const char *expected)
{
	for (; *expected != '\0'; expected++) {
		if (*expected == '*') {
			seen += strcspn(seen, "|");
			continue;
		}
		if (*seen++ != *expected)
			return false;
	}
	return *seen == '\0';
}

static void test_table(void **state)
{
	struct source *source = malloc(sizeof *source);

	assert_non_null(source);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct memory memory = { rows[i].text, strlen(rows[i].text), 7, 0 };
		struct record_reader *reader;
		struct record_problem problem;
		struct link_record record;
		enum record_result result;
		char seen[2048] = "";
		size_t used = 0;

		source_init(source, memory_read, &memory);
		reader = record_reader_open(rows[i].format, source, NOW_US);
		assert_non_null(reader);
		while ((result = record_reader_next(reader, &record, &problem)) != RECORD_END) {
			if (used > 0)
				seen[used++] = '|';
			used += show(result, record_reader_line(reader), &record, &problem, seen + used);
			if (result == RECORD_FATAL)
				break;
		}
		if (!matches(seen, rows[i].seen))
			fail_msg("%s\ngives    %s\nexpected %s", rows[i].text, seen, rows[i].seen);
		record_reader_close(reader);
	}
	free(source);
	record_reader_close(NULL);
}

/* A URL cut short by an error is not taken for a shorter URL. */
static void test_cut_short(void **state)
{
	static const struct row texts[] = {
		{ RECORD_CSV, "url\nhttp://a.example/\nhttp://b.example/long", "" },
		{ RECORD_URLS, "http://a.example/\nhttp://b.example/long", "" },
		{ RECORD_JSONL, "{\"url\":\"http://a.example/\"}\n{\"url\":\"http://b.example/\"}", "" },
	};
	struct source *source = malloc(sizeof *source);

	assert_non_null(source);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		for (int error = 0; error >= -EIO; error -= EIO) {
			struct memory memory = { texts[i].text, strlen(texts[i].text), 1000, error };
			struct record_reader *reader;
			struct record_problem problem;
			struct link_record record;
			int good = 0;

			source_init(source, memory_read, &memory);
			reader = record_reader_open(texts[i].format, source, NOW_US);
			assert_non_null(reader);
			while (record_reader_next(reader, &record, &problem) == RECORD_GOOD)
				good++;
			assert_int_equal(good, error == 0 ? 2 : 1);
			assert_int_equal(source->error, error);
			record_reader_close(reader);
		}
	}
	free(source);
}

static void test_formats(void **state)
{
	assert_int_equal(record_format_parse("csv"), RECORD_CSV);
	assert_int_equal(record_format_parse("jsonl"), RECORD_JSONL);
	assert_int_equal(record_format_parse("urls"), RECORD_URLS);
	assert_int_equal(record_format_parse("CSV"), -1);
	assert_int_equal(record_format_parse(""), -1);
	assert_int_equal(record_format_of_file("a.csv"), RECORD_CSV);
	assert_int_equal(record_format_of_file("dir.json/a.CSV"), RECORD_CSV);
	assert_int_equal(record_format_of_file("a.jsonl"), RECORD_JSONL);
	assert_int_equal(record_format_of_file("a.ndjson"), RECORD_JSONL);
	assert_int_equal(record_format_of_file("a.json"), RECORD_JSONL);
	assert_int_equal(record_format_of_file("a.txt"), RECORD_URLS);
	assert_int_equal(record_format_of_file(".csv"), -1);
	assert_int_equal(record_format_of_file("csv"), -1);
	assert_int_equal(record_format_of_file("-"), -1);
}

#define URL(text) (text), sizeof(text) - 1

static const struct link_record records[] = {
	{ "a", URL("http://a.example/"), 0, 0, 0 },
	{ "abcdefghijklmnopqrstuvwxyz-_0123", URL("https://b.example/?a=\"x,y\"&b='z'\\u0041#\\"), 1, 5, 1 },
	{ "-", URL("http://c.example/,"), NOW_US, RECORD_CLICKS_MAX, TIMESTAMP_MAX_US },
};

static void check_round_trip(enum record_format format)
{
	struct source *source = malloc(sizeof *source);
	struct record_reader *reader;
	struct record_problem problem;
	struct link_record record;
	struct memory memory;
	char *text;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	assert_non_null(source);
	assert_non_null(file);
	assert_int_equal(record_write_header(file, format), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(record_write(file, format, &records[i]), 0);
	fclose(file);
	memory = (struct memory){ text, len, 1000, 0 };
	source_init(source, memory_read, &memory);
	reader = record_reader_open(format, source, 99);
	assert_non_null(reader);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(record_reader_next(reader, &record, &problem), RECORD_GOOD);
		assert_int_equal(record.url_len, records[i].url_len);
		assert_memory_equal(record.url, records[i].url, record.url_len);
		if (format == RECORD_URLS)
			continue;
		assert_string_equal(record.code, records[i].code);
		assert_true(record.created_us == records[i].created_us && record.clicks == records[i].clicks &&
		            record.last_click_us == records[i].last_click_us);
	}
	assert_int_equal(record_reader_next(reader, &record, &problem), RECORD_END);
	record_reader_close(reader);
	free(text);
	free(source);
}

static void test_round_trip(void **state)
{
	check_round_trip(RECORD_CSV);
	check_round_trip(RECORD_JSONL);
	check_round_trip(RECORD_URLS);
}

static void test_unsound_records(void **state)
{
	const struct link_record unsound[] = {
		{ "", URL("http://a.example/"), 0, 0, 0 },
		{ "a b", URL("http://a.example/"), 0, 0, 0 },
		{ "a", URL("http://a.example/\n"), 0, 0, 0 },
		{ "a", URL(""), 0, 0, 0 },
		{ "a", URL("http://a.example/"), TIMESTAMP_MAX_US + 1, 0, 0 },
		{ "a", URL("http://a.example/"), 0, UINT64_MAX, 0 },
		{ "a", URL("http://a.example/"), 0, 0, UINT64_MAX },
	};
	char *text;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	assert_non_null(file);
	for (size_t i = 0; i < sizeof unsound / sizeof unsound[0]; i++) {
		errno = 0;
		assert_int_equal(record_write(file, RECORD_CSV, &unsound[i]), -1);
		assert_int_equal(errno, EINVAL);
	}
	fclose(file);
	assert_int_equal(len, 0);
	free(text);
}

/* A full disk is noticed, at the latest when the file is flushed. */
static void test_disk_full(void **state)
{
	FILE *file = fopen("/dev/full", "w");
	int result = 0;

	assert_non_null(file);
	setvbuf(file, NULL, _IOFBF, 4096);
	for (int i = 0; i < 1000 && result == 0; i++)
		result = record_write(file, i % 2 == 0 ? RECORD_CSV : RECORD_JSONL, &records[0]);
	assert_int_equal(result, -1);
	assert_int_equal(errno, ENOSPC);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),           cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_formats),         cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_unsound_records), cmocka_unit_test(test_disk_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
