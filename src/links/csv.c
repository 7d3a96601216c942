/* SPDX-License-Identifier: Apache-2.0 */
/* csv.c: see csv.h. */
#include "links/csv.h"

static const char never_closed[] = "a quote is opened here and never closed";
static const char too_long[] = "a record of more than 64 KiB (is a quote not closed?)";
static const char too_many[] = "more than 64 fields";
static const char stray_quote[] = "a quote inside a field that is not quoted";
static const char after_quote[] = "text after the closing quote of a field";

void csv_reader_init(struct csv_reader *reader, struct source *source)
{
	reader->source = source;
	reader->line = 1;
	reader->used = 0;
}

/* What does not fit is dropped, and the record is bad; reading goes on, to find its end. */
static void add_byte(struct csv_reader *reader, struct csv_record *record, int byte)
{
	if (reader->used == sizeof reader->bytes) {
		if (record->error == NULL)
			record->error = too_long;
		return;
	}
	reader->bytes[reader->used++] = (char)byte;
	record->field[record->n - 1].len++;
}

static void set_error(struct csv_record *record, const char *error)
{
	if (record->error == NULL)
		record->error = error;
}

/* Inside quotes, up to and with the closing one. */
static void read_quoted(struct csv_reader *reader, struct csv_record *record)
{
	for (;;) {
		int byte = source_get(reader->source);

		if (byte == SOURCE_END) {
			record->error = never_closed; /* the cause of whatever was seen before */
			return;
		}
		if (byte == '"') {
			if (source_peek(reader->source) != '"')
				return;
			source_get(reader->source);
		}
		if (byte == '\n')
			reader->line++;
		add_byte(reader, record, byte);
	}
}

/* Takes a line's end, if one comes next. */
static bool take_line_end(struct csv_reader *reader, int byte)
{
	if (byte == '\r') {
		int next = source_peek(reader->source);

		if (next != '\n' && next != SOURCE_END)
			return false;
		byte = source_get(reader->source);
	}
	if (byte == '\n')
		reader->line++;
	return byte == '\n' || byte == SOURCE_END;
}

/* Outside quotes, up to and with what ends the field. @return true when that ends the record too. */
static bool read_plain(struct csv_reader *reader, struct csv_record *record, bool quoted)
{
	for (;;) {
		int byte = source_get(reader->source);

		if (byte == ',')
			return false;
		if (take_line_end(reader, byte))
			return true;
		if (quoted)
			set_error(record, after_quote);
		else if (byte == '"')
			set_error(record, stray_quote);
		add_byte(reader, record, byte);
	}
}

static bool read_field(struct csv_reader *reader, struct csv_record *record)
{
	bool quoted = source_peek(reader->source) == '"';

	if (record->n == CSV_FIELDS_MAX)
		set_error(record, too_many);
	else
		record->n++;
	record->field[record->n - 1] = (struct csv_field){ .bytes = reader->bytes + reader->used };
	if (quoted) {
		source_get(reader->source);
		read_quoted(reader, record);
	}
	return read_plain(reader, record, quoted);
}

static void skip_empty_lines(struct csv_reader *reader)
{
	int byte;

	while ((byte = source_peek(reader->source)) == '\n' || byte == '\r') {
		source_get(reader->source);
		if (byte == '\n')
			reader->line++;
	}
}

bool csv_read(struct csv_reader *reader, struct csv_record *record)
{
	source_skip_mark(reader->source);
	skip_empty_lines(reader);
	if (source_peek(reader->source) == SOURCE_END)
		return false;
	record->line = reader->line;
	record->n = 0;
	record->error = NULL;
	reader->used = 0;
	while (!read_field(reader, record))
		;
	return true;
}

/* Anything out of the ordinary is quoted: what needs it, and what another program might strip or reinterpret. */
static bool needs_quotes(const struct csv_field *field)
{
	for (size_t i = 0; i < field->len; i++) {
		char c = field->bytes[i];

		if (c < 0x21 || c > 0x7e || c == '"' || c == ',')
			return true;
	}
	return false;
}

static void write_field(FILE *file, const struct csv_field *field)
{
	putc('"', file);
	for (size_t i = 0; i < field->len; i++) {
		if (field->bytes[i] == '"')
			putc('"', file);
		putc(field->bytes[i], file);
	}
	putc('"', file);
}

void csv_write(FILE *file, const struct csv_field *fields, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			putc(',', file);
		/* A lone empty field unquoted would be an empty line, which is no record. */
		if (needs_quotes(&fields[i]) || (n == 1 && fields[i].len == 0))
			write_field(file, &fields[i]);
		else
			fwrite(fields[i].bytes, 1, fields[i].len, file);
	}
	fputs("\r\n", file);
}
