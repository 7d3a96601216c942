/* SPDX-License-Identifier: Apache-2.0 */
/* record_reader.c: see record_reader.h. One function a format; what a field may hold is in record_fields.c. */
#include "links/record_reader.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "links/csv.h"
#include "links/record_fields.h"
#include "links/url.h"

/* The longest URL in JSON, every byte of it escaped as \u00XX, takes 48 KiB. */
#define LINE_MAX_BYTES 131072

#define VALUE_SHOWN 80 /* characters of what a header begins with */

struct record_reader {
	enum record_format format;
	struct source *source;
	uint64_t now_us;
	uint64_t line; /* of the last record */
	bool warned;   /* of unknown names, once */

	/* csv */
	struct csv_reader csv;
	unsigned columns;
	int column[CSV_FIELDS_MAX]; /* enum record_field, or -1: unknown */

	/* jsonl, urls */
	uint64_t lines; /* read so far */
	char bytes[LINE_MAX_BYTES];
	json_t *object; /* holds the URL of the last record */
	bool held;      /* the object still has to be given out: a warning came first */
};

int record_format_parse(const char *name)
{
	static const char *const names[] = { "csv", "jsonl", "urls" };

	for (int i = 0; i < 3; i++) {
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return -1;
}

int record_format_of_file(const char *path)
{
	static const struct {
		const char *end;
		enum record_format format;
	} ends[] = { { ".csv", RECORD_CSV },
		     { ".jsonl", RECORD_JSONL },
		     { ".ndjson", RECORD_JSONL },
		     { ".json", RECORD_JSONL },
		     { ".txt", RECORD_URLS } };
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		size_t end_len = strlen(ends[i].end);

		if (len > end_len && strcasecmp(path + len - end_len, ends[i].end) == 0)
			return (int)ends[i].format;
	}
	return -1;
}

struct record_reader *record_reader_open(enum record_format format, struct source *source, uint64_t now_us)
{
	struct record_reader *reader = malloc(sizeof *reader);

	if (reader == NULL)
		return NULL;
	reader->format = format;
	reader->source = source;
	reader->now_us = now_us;
	reader->line = 0;
	reader->warned = false;
	reader->columns = 0;
	reader->lines = 0;
	reader->object = NULL;
	reader->held = false;
	csv_reader_init(&reader->csv, source);
	return reader;
}

uint64_t record_reader_line(const struct record_reader *reader)
{
	return reader->line;
}

void record_reader_close(struct record_reader *reader)
{
	if (reader == NULL)
		return;
	json_decref(reader->object);
	free(reader);
}

/* Learns which column is which. */
static enum record_result read_header(struct record_reader *reader, const struct csv_record *row,
                                      struct record_problem *problem)
{
	const struct csv_field *unknown = NULL;
	bool seen[RECORD_FIELDS] = { false };

	if (row->error != NULL) {
		record_refuse(problem, NULL, 0, "%s", row->error);
		return RECORD_FATAL;
	}
	for (unsigned i = 0; i < row->n; i++) {
		int field = record_field_parse(row->field[i].bytes, row->field[i].len);

		reader->column[i] = field;
		if (field < 0) {
			unknown = unknown == NULL ? &row->field[i] : unknown;
		} else if (seen[field]) {
			record_refuse(problem, NULL, 0, "the header names the column %s twice",
			              record_field_name((enum record_field)field));
			return RECORD_FATAL;
		} else {
			seen[field] = true;
		}
	}
	if (!seen[FIELD_URL]) {
		record_refuse(problem, NULL, 0,
		              "the first line must name the columns (code,url,created_at,clicks,last_click_at; "
		              "url is needed); it begins with \"%.*s%s\"",
		              (int)(row->field[0].len < VALUE_SHOWN ? row->field[0].len : VALUE_SHOWN),
		              row->field[0].bytes, row->field[0].len > VALUE_SHOWN ? "..." : "");
		return RECORD_FATAL;
	}
	reader->columns = row->n;
	if (unknown == NULL)
		return RECORD_GOOD;
	record_refuse(problem, unknown->bytes, unknown->len, "unknown columns are ignored");
	return RECORD_WARNING;
}

static enum record_result next_csv(struct record_reader *reader, struct link_record *record,
                                   struct record_problem *problem)
{
	struct csv_record row;
	enum record_result result;

	if (!csv_read(&reader->csv, &row))
		return RECORD_END;
	reader->line = row.line;
	if (reader->columns == 0) {
		result = read_header(reader, &row, problem);
		return result == RECORD_GOOD ? next_csv(reader, record, problem) : result;
	}
	if (row.error != NULL) {
		record_refuse(problem, NULL, 0, "%s", row.error);
		return RECORD_REFUSED;
	}
	if (row.n != reader->columns) {
		record_refuse(problem, row.field[0].bytes, row.field[0].len, "%u field%s where the header names %u",
		              row.n, row.n == 1 ? "" : "s", reader->columns);
		return RECORD_REFUSED;
	}
	for (unsigned i = 0; i < row.n; i++) {
		if (reader->column[i] >= 0 && !record_set(record, (enum record_field)reader->column[i],
		                                          row.field[i].bytes, row.field[i].len, problem))
			return RECORD_REFUSED;
	}
	return record_check(record, problem) ? RECORD_GOOD : RECORD_REFUSED;
}

/* Reads a line that is not empty, without its end. @return its length, LINE_MAX_BYTES + 1 when it is longer than that
 * (the rest is skipped), or 0 at the end. */
static size_t read_line(struct record_reader *reader)
{
	size_t n;
	int byte;

	if (reader->lines == 0)
		source_skip_mark(reader->source);
	do {
		n = 0;
		while ((byte = source_get(reader->source)) != SOURCE_END && byte != '\n') {
			if (n < LINE_MAX_BYTES)
				reader->bytes[n] = (char)byte;
			if (n <= LINE_MAX_BYTES)
				n++;
		}
		if (n > 0 || byte == '\n')
			reader->lines++;
		if (n > 0 && n <= LINE_MAX_BYTES && reader->bytes[n - 1] == '\r')
			n--;
	} while (n == 0 && byte != SOURCE_END);
	reader->line = reader->lines;
	return n;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Lists are kept by people: with comments, empty lines, and blanks where an editor left them. No URL begins with #. */
static enum record_result next_url(struct record_reader *reader, struct link_record *record,
                                   struct record_problem *problem)
{
	bool too_long;
	char *from;
	size_t len;

	do {
		len = read_line(reader);
		if (len == 0)
			return RECORD_END;
		too_long = len > LINE_MAX_BYTES;
		if (too_long)
			len = LINE_MAX_BYTES;
		for (from = reader->bytes; len > 0 && is_blank(*from); from++)
			len--;
		while (len > 0 && is_blank(from[len - 1]))
			len--;
	} while (len > 0 ? *from == '#' : !too_long);
	if (too_long) {
		record_refuse(problem, from, len, "%s", url_verdict_text(URL_TOO_LONG));
		return RECORD_REFUSED;
	}
	record->url = from;
	record->url_len = len;
	return record_check(record, problem) ? RECORD_GOOD : RECORD_REFUSED;
}

/* A member of the object: text, or for clicks a number; null says nothing. */
static bool set_member(struct link_record *record, enum record_field field, const json_t *value,
                       struct record_problem *problem)
{
	char number[24];

	if (json_is_null(value))
		return true;
	if (field == FIELD_CLICKS) {
		if (!json_is_integer(value))
			return record_refuse(problem, NULL, 0, "clicks must be a whole number from 0 to 2^62");
		snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		if (record_set(record, field, number, strlen(number), problem))
			return true;
		problem->value = NULL; /* it points to `number` */
		return false;
	}
	if (!json_is_string(value))
		return record_refuse(problem, NULL, 0, "%s must be a string", record_field_name(field));
	return record_set(record, field, json_string_value(value), json_string_length(value), problem);
}

static enum record_result set_members(struct record_reader *reader, struct link_record *record,
                                      struct record_problem *problem)
{
	const char *name;
	json_t *value;

	json_object_foreach(reader->object, name, value)
	{
		int field = record_field_parse(name, strlen(name));

		if (field < 0 && !reader->warned) {
			record_refuse(problem, name, strlen(name), "unknown names are ignored");
			reader->warned = reader->held = true;
			return RECORD_WARNING;
		}
		if (field >= 0 && !set_member(record, (enum record_field)field, value, problem))
			return RECORD_REFUSED;
	}
	return record_check(record, problem) ? RECORD_GOOD : RECORD_REFUSED;
}

static enum record_result parse_object(struct record_reader *reader, size_t len, struct record_problem *problem)
{
	json_error_t error;

	json_decref(reader->object);
	reader->object = NULL;
	if (len > LINE_MAX_BYTES) {
		record_refuse(problem, NULL, 0, "a line of more than %d bytes", LINE_MAX_BYTES);
		return RECORD_REFUSED;
	}
	reader->object = json_loadb(reader->bytes, len, JSON_REJECT_DUPLICATES, &error);
	if (reader->object == NULL) {
		record_refuse(problem, reader->bytes, len, "not JSON: %s, at byte %d", error.text, error.position);
		return RECORD_REFUSED;
	}
	if (!json_is_object(reader->object)) {
		record_refuse(problem, reader->bytes, len, "each line must hold a JSON object");
		return RECORD_REFUSED;
	}
	return RECORD_GOOD;
}

static enum record_result next_json(struct record_reader *reader, struct link_record *record,
                                    struct record_problem *problem)
{
	enum record_result result = RECORD_GOOD;
	size_t len;

	if (!reader->held) {
		len = read_line(reader);
		if (len == 0)
			return RECORD_END;
		result = parse_object(reader, len, problem);
	}
	reader->held = false;
	return result == RECORD_GOOD ? set_members(reader, record, problem) : result;
}

static enum record_result next_of_format(struct record_reader *reader, struct link_record *record,
                                         struct record_problem *problem)
{
	switch (reader->format) {
	case RECORD_CSV:
		return next_csv(reader, record, problem);
	case RECORD_JSONL:
		return next_json(reader, record, problem);
	default:
		return next_url(reader, record, problem);
	}
}

enum record_result record_reader_next(struct record_reader *reader, struct link_record *record,
                                      struct record_problem *problem)
{
	enum record_result result;

	*record = (struct link_record){ .created_us = reader->now_us };
	result = next_of_format(reader, record, problem);
	/* What an error has cut short could pass for a shorter URL. */
	return reader->source->error != 0 ? RECORD_END : result;
}
