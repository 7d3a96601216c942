/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_csv.c: comma-separated values.
 *
 * Properties: what is read does not depend on the pieces in which it comes; lines never go back; a good record that is
 * written is read back the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "links/csv.h"
#include "links/test_memory_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A reader with its source: large, so made once a run. */
struct parse {
	struct memory memory;
	struct source source;
	struct csv_reader reader;
	struct csv_record record;
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static struct parse *parse_start(const char *bytes, size_t n, size_t piece)
{
	struct parse *parse = malloc(sizeof *parse);

	require(parse != NULL);
	parse->memory = (struct memory){ bytes, n, piece, 0 };
	source_init(&parse->source, memory_read, &parse->memory);
	csv_reader_init(&parse->reader, &parse->source);
	return parse;
}

static void require_same(const struct csv_record *a, const struct csv_record *b)
{
	require(a->n == b->n);
	for (unsigned i = 0; i < a->n; i++) {
		require(a->field[i].len == b->field[i].len);
		require(memcmp(a->field[i].bytes, b->field[i].bytes, a->field[i].len) == 0);
	}
}

static void check_round_trip(const struct csv_record *record)
{
	struct parse *back;
	char *text;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	require(file != NULL);
	csv_write(file, record->field, record->n);
	require(fclose(file) == 0);
	back = parse_start(text, len, 4096);
	require(csv_read(&back->reader, &back->record));
	require(back->record.error == NULL && back->record.line == 1);
	require_same(record, &back->record);
	require(!csv_read(&back->reader, &back->record));
	free(back);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct parse *whole = parse_start((const char *)data, size, SIZE_MAX);
	struct parse *pieces = parse_start((const char *)data, size, 1 + size % 3);
	uint64_t line = 0;

	while (csv_read(&whole->reader, &whole->record)) {
		require(csv_read(&pieces->reader, &pieces->record));
		require(whole->record.line > line && whole->record.line == pieces->record.line);
		require(whole->record.error == pieces->record.error);
		line = whole->record.line;
		if (whole->record.error != NULL)
			continue;
		require(whole->record.n >= 1);
		require_same(&whole->record, &pieces->record);
		check_round_trip(&whole->record);
	}
	require(!csv_read(&pieces->reader, &pieces->record));
	free(whole);
	free(pieces);
	return 0;
}
