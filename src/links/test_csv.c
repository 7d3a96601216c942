/* SPDX-License-Identifier: Apache-2.0 */
/* test_csv.c: RFC 4180, and what goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "links/csv.h"
#include "links/test_memory_source.h"

/* The reader's view of `text`, written plainly: fields between [ and ], `!` for a bad record, @N its line. */
struct row {
	const char *text, *seen;
};

static const struct row rows[] = {
	{ "", "" },
	{ "\n\r\n\n", "" },
	{ "a", "@1[a]" },
	{ "a,b\n", "@1[a][b]" },
	{ "a,b\r\nc,d\r\n", "@1[a][b]@2[c][d]" },
	{ "a\nb", "@1[a]@2[b]" },
	{ "a\r", "@1[a]" },
	{ "a\rb\n", "@1[a\rb]" },
	{ "\n\na\n\n\nb\n", "@3[a]@6[b]" },
	{ ",", "@1[][]" },
	{ ",,\n", "@1[][][]" },
	{ "a,\n,b", "@1[a][]@2[][b]" },
	{ " a , b ", "@1[ a ][ b ]" },
	{ "\"a\"", "@1[a]" },
	{ "\"\"", "@1[]" },
	{ "\"\"\"\"", "@1[\"]" },
	{ "\"a,b\",c", "@1[a,b][c]" },
	{ "\"a\nb\",c\nd", "@1[a\nb][c]@3[d]" },
	{ "\"a\r\nb\"\r\nd", "@1[a\r\nb]@3[d]" },
	{ "\"say \"\"hi\"\"\",x", "@1[say \"hi\"][x]" },
	{ "\xef\xbb\xbf"
	  "a,b\n",
	  "@1[a][b]" },
	{ "\xef\xbb\xbf\"a\",b\n", "@1[a][b]" },
	{ "a\n\xef\xbb\xbf"
	  "b",
	  "@1[a]@2[\xef\xbb\xbf"
	  "b]" },
	{ "\xef\xbb", "@1[\xef\xbb]" },
	/* bad records, and good ones after them */
	{ "a\"b,c\nd", "@1!@2[d]" },
	{ "a\"\n\"b\"", "@1!@2[b]" },
	{ "\"a\"b\nc", "@1!@2[c]" },
	{ "\"a\" ,b\nc", "@1!@2[c]" },
	{ "\"a\"\"\nb", "@1!" }, /* the quote stays open */
	{ "x\n\"a,b\nc,d\n", "@1[x]@2!" },
	{ "\"", "@1!" },
};

static size_t show(const struct csv_record *record, char *to)
{
	size_t used = (size_t)sprintf(to, "@%d", (int)record->line);

	if (record->error != NULL) {
		to[used++] = '!';
		return used;
	}
	for (unsigned i = 0; i < record->n; i++) {
		to[used++] = '[';
		memcpy(to + used, record->field[i].bytes, record->field[i].len);
		used += record->field[i].len;
		to[used++] = ']';
	}
	return used;
}

static void test_table(void **state)
{
	struct source *source = malloc(sizeof *source);
	struct csv_reader *reader = malloc(sizeof *reader);

	assert_non_null(source);
	assert_non_null(reader);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t piece = 1; piece <= 1000; piece *= 10) {
			struct memory memory = { rows[i].text, strlen(rows[i].text), piece, 0 };
			struct csv_record record;
			char seen[256];
			size_t used = 0;

			source_init(source, memory_read, &memory);
			csv_reader_init(reader, source);
			while (csv_read(reader, &record))
				used += show(&record, seen + used);
			seen[used] = '\0';
			if (strcmp(seen, rows[i].seen) != 0)
				fail_msg("\"%s\" in pieces of %zu: %s, expected %s", rows[i].text, piece, seen,
				         rows[i].seen);
		}
	}
	free(source);
	free(reader);
}

static void test_bounds(void **state)
{
	struct source *source = malloc(sizeof *source);
	struct csv_reader *reader = malloc(sizeof *reader);
	struct csv_record record;
	char *text = malloc(CSV_BYTES_MAX + 200);

	assert_non_null(source);
	assert_non_null(reader);
	assert_non_null(text);
	for (int more = 0; more <= 1; more++) { /* bytes over the bound */
		struct memory memory = { text, CSV_BYTES_MAX + (size_t)more + 3, SIZE_MAX, 0 };

		memset(text, 'x', CSV_BYTES_MAX + 1);
		memcpy(text + CSV_BYTES_MAX + more, "\ny\n", 3);
		source_init(source, memory_read, &memory);
		csv_reader_init(reader, source);
		assert_true(csv_read(reader, &record));
		assert_int_equal(record.error != NULL, more);
		assert_true(csv_read(reader, &record));
		assert_null(record.error);
		assert_memory_equal(record.field[0].bytes, "y", 1);
		assert_false(csv_read(reader, &record));
	}
	for (unsigned fields = CSV_FIELDS_MAX; fields <= CSV_FIELDS_MAX + 1; fields++) {
		struct memory memory = { text, fields - 1, SIZE_MAX, 0 };

		memset(text, ',', fields);
		source_init(source, memory_read, &memory);
		csv_reader_init(reader, source);
		assert_true(csv_read(reader, &record));
		assert_int_equal(record.error != NULL, fields > CSV_FIELDS_MAX);
		assert_int_equal(record.n, CSV_FIELDS_MAX);
	}
	free(source);
	free(reader);
	free(text);
}

static void test_write(void **state)
{
	static const struct csv_field fields[] = { { "plain", 5 }, { "", 0 },       { "a,b", 3 },
		                                   { "a\"b", 3 },  { "a\r\nb", 4 }, { " ", 1 } };
	static const struct csv_field empty = { "", 0 };
	char *text = NULL;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	assert_non_null(file);
	csv_write(file, fields, 6);
	csv_write(file, &empty, 1);
	csv_write(file, fields, 2);
	assert_int_equal(fclose(file), 0);
	assert_string_equal(text, "plain,,\"a,b\",\"a\"\"b\",\"a\r\nb\",\" \"\r\n\"\"\r\nplain,\r\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
