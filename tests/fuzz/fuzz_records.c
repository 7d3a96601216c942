/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_records.c: files of links, as an import reads them.
 *
 * Properties of a link that is accepted: its code and URL are such as the server accepts; written in any format it is
 * read back the same. A refusal always says why. The file ends.
 *
 * Input: the first byte chooses the format, the rest is the file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "links/code.h"
#include "links/record_reader.h"
#include "links/record_writer.h"
#include "links/test_memory_source.h"
#include "links/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_US 1000000

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_round_trip(const struct link_record *record, enum record_format format)
{
	struct source *source = malloc(sizeof *source);
	struct link_record drawn = *record, back;
	struct record_reader *reader;
	struct record_problem problem;
	struct memory memory;
	char *text;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	require(source != NULL && file != NULL);
	if (drawn.code[0] == '\0')
		strcpy(drawn.code, "drawn");
	require(record_write_header(file, format) == 0 && record_write(file, format, &drawn) == 0);
	require(fclose(file) == 0);
	memory = (struct memory){ text, len, 4096, 0 };
	source_init(source, memory_read, &memory);
	reader = record_reader_open(format, source, 0);
	require(reader != NULL);
	require(record_reader_next(reader, &back, &problem) == RECORD_GOOD);
	require(back.url_len == drawn.url_len && memcmp(back.url, drawn.url, back.url_len) == 0);
	if (format != RECORD_URLS)
		require(strcmp(back.code, drawn.code) == 0 && back.created_us == drawn.created_us &&
		        back.clicks == drawn.clicks && back.last_click_us == drawn.last_click_us);
	require(record_reader_next(reader, &back, &problem) == RECORD_END);
	record_reader_close(reader);
	free(text);
	free(source);
}

static void check_good(const struct link_record *record)
{
	require(record->code[0] == '\0' || code_valid(record->code, strlen(record->code)));
	require(url_check(record->url, record->url_len, NULL, 0) == URL_OK);
	check_round_trip(record, RECORD_CSV);
	check_round_trip(record, RECORD_JSONL);
	check_round_trip(record, RECORD_URLS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source *source = malloc(sizeof *source);
	struct record_reader *reader;
	struct record_problem problem;
	struct link_record record;
	enum record_result result;
	struct memory memory;
	uint64_t line = 0;

	require(source != NULL);
	memory = (struct memory){ (const char *)data + (size > 0), size - (size > 0), 1 + size % 100, 0 };
	source_init(source, memory_read, &memory);
	reader = record_reader_open((enum record_format)(size > 0 ? data[0] % 3 : 0), source, NOW_US);
	require(reader != NULL);
	while ((result = record_reader_next(reader, &record, &problem)) != RECORD_END) {
		require(record_reader_line(reader) >= line);
		line = record_reader_line(reader);
		if (result == RECORD_GOOD)
			check_good(&record);
		else
			require(problem.why[0] != '\0' && memchr(problem.why, '\0', sizeof problem.why) != NULL);
		if (result == RECORD_FATAL)
			break;
	}
	record_reader_close(reader);
	free(source);
	return 0;
}
