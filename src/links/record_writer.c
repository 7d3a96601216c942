/* SPDX-License-Identifier: Apache-2.0 */
/* record_writer.c: see record_writer.h. */
#include "links/record_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "links/code.h"
#include "links/csv.h"
#include "links/record_fields.h"
#include "links/timestamp.h"
#include "links/url.h"

int record_write_header(FILE *file, enum record_format format)
{
	struct csv_field names[RECORD_FIELDS];

	if (format != RECORD_CSV)
		return 0;
	for (int i = 0; i < RECORD_FIELDS; i++) {
		const char *name = record_field_name((enum record_field)i);

		names[i] = (struct csv_field){ .bytes = name, .len = strlen(name) };
	}
	csv_write(file, names, RECORD_FIELDS);
	return ferror(file) ? -1 : 0;
}

static void write_csv(FILE *file, const struct link_record *record)
{
	char created[TIMESTAMP_TEXT_MAX], clicked[TIMESTAMP_TEXT_MAX], clicks[24];
	struct csv_field fields[RECORD_FIELDS] = {
		[FIELD_CODE] = { record->code, strlen(record->code) },
		[FIELD_URL] = { record->url, record->url_len },
		[FIELD_CREATED_AT] = { created, timestamp_write(record->created_us, created) },
		[FIELD_CLICKS] = { clicks, (size_t)snprintf(clicks, sizeof clicks, "%" PRIu64, record->clicks) },
		[FIELD_LAST_CLICK_AT] = { clicked, 0 },
	};

	if (record->last_click_us != 0)
		fields[FIELD_LAST_CLICK_AT].len = timestamp_write(record->last_click_us, clicked);
	csv_write(file, fields, RECORD_FIELDS);
}

static int write_json(FILE *file, const struct link_record *record)
{
	char created[TIMESTAMP_TEXT_MAX], clicked[TIMESTAMP_TEXT_MAX];
	json_t *object;
	int result;

	timestamp_write(record->created_us, created);
	timestamp_write(record->last_click_us, clicked);
	object = json_pack("{s:s, s:s%, s:s, s:I, s:s?}", record_field_name(FIELD_CODE), record->code,
	                   record_field_name(FIELD_URL), record->url, record->url_len,
	                   record_field_name(FIELD_CREATED_AT), created, record_field_name(FIELD_CLICKS),
	                   (json_int_t)record->clicks, record_field_name(FIELD_LAST_CLICK_AT),
	                   record->last_click_us != 0 ? clicked : NULL);
	if (object == NULL) {
		errno = ENOMEM;
		return -1;
	}
	result = json_dumpf(object, file, JSON_COMPACT);
	json_decref(object);
	putc('\n', file);
	return result;
}

/* What could not be read back is not written. */
static bool is_sound(const struct link_record *record)
{
	return code_valid(record->code, strlen(record->code)) && record->url_len > 0 &&
	       record->url_len <= LINK_URL_MAX && url_bytes_ok(record->url, record->url_len) &&
	       record->created_us <= TIMESTAMP_MAX_US && record->last_click_us <= TIMESTAMP_MAX_US &&
	       record->clicks <= RECORD_CLICKS_MAX;
}

int record_write(FILE *file, enum record_format format, const struct link_record *record)
{
	int result = 0;

	if (!is_sound(record)) {
		errno = EINVAL;
		return -1;
	}
	switch (format) {
	case RECORD_CSV:
		write_csv(file, record);
		break;
	case RECORD_JSONL:
		result = write_json(file, record);
		break;
	default:
		fwrite(record->url, 1, record->url_len, file);
		putc('\n', file);
	}
	return ferror(file) ? -1 : result;
}
