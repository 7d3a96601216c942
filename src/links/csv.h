/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv.h: comma-separated values, read and written as a stream in constant memory.
 *
 * Source: RFC 4180. Besides CRLF, LF ends a record; empty lines and a UTF-8 byte order mark at the start are
 * skipped. Fields are bytes, spaces count.
 *
 * A quote that is never closed makes one long bad record of what follows, rather than links of what was
 * inside the quotes.
 */
#ifndef SLUICE_LINKS_CSV_H
#define SLUICE_LINKS_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "links/source.h"

#define CSV_FIELDS_MAX 64
#define CSV_BYTES_MAX 65536 /* of all fields of a record together */

struct csv_field {
	const char *bytes; /* not NUL-terminated; valid until the next record is read */
	size_t len;
};

struct csv_record {
	uint64_t line; /* on which it starts, from 1 */
	unsigned n;
	struct csv_field field[CSV_FIELDS_MAX];
	const char *error; /* NULL, or what is wrong with it; static. The fields are then undefined */
};

struct csv_reader {
	struct source *source;
	uint64_t line;
	size_t used;
	char bytes[CSV_BYTES_MAX];
};

/** The struct is large: not for a stack. */
void csv_reader_init(struct csv_reader *reader, struct source *source);

/** Reads the next record, good or bad. @return false at the end (see source->error for how it ended). */
bool csv_read(struct csv_reader *reader, struct csv_record *record);

/** Writes one record, quoting what needs it. @param n  1 or more. Errors: see ferror(). */
void csv_write(FILE *file, const struct csv_field *fields, unsigned n);

#endif
