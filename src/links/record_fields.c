/* SPDX-License-Identifier: Apache-2.0 */
/* record_fields.c: see record_fields.h. */
#include "links/record_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "links/code.h"
#include "links/timestamp.h"
#include "links/url.h"

static const char *const names[RECORD_FIELDS] = {
	[FIELD_CODE] = "code",
	[FIELD_URL] = "url",
	[FIELD_CREATED_AT] = "created_at",
	[FIELD_CLICKS] = "clicks",
	[FIELD_LAST_CLICK_AT] = "last_click_at",
};

const char *record_field_name(enum record_field field)
{
	return names[field];
}

int record_field_parse(const char *name, size_t len)
{
	for (int field = 0; field < RECORD_FIELDS; field++) {
		if (strlen(names[field]) == len && memcmp(names[field], name, len) == 0)
			return field;
	}
	return -1;
}

bool record_refuse(struct record_problem *problem, const char *value, size_t value_len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem->why, sizeof problem->why, format, args);
	va_end(args);
	problem->value = value;
	problem->value_len = value_len;
	return false;
}

static bool set_code(struct link_record *record, const char *text, size_t len, struct record_problem *problem)
{
	if (!code_valid(text, len))
		return record_refuse(problem, text, len,
		                     "code must be 1 to %d of A-Z a-z 0-9 _ - and not the name of a page",
		                     LINK_CODE_MAX);
	memcpy(record->code, text, len);
	record->code[len] = '\0';
	return true;
}

static bool set_clicks(struct link_record *record, const char *text, size_t len, struct record_problem *problem)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || value > RECORD_CLICKS_MAX / 10)
			return record_refuse(problem, text, len, "clicks must be a whole number from 0 to 2^62");
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	if (value > RECORD_CLICKS_MAX)
		return record_refuse(problem, text, len, "clicks must be a whole number from 0 to 2^62");
	record->clicks = value;
	return true;
}

static bool set_time(uint64_t *us, enum record_field field, const char *text, size_t len,
                     struct record_problem *problem)
{
	if (timestamp_parse(text, len, us))
		return true;
	return record_refuse(problem, text, len, "%s must be a time such as 2026-01-31T12:00:00Z, from 1970 to 9999",
	                     names[field]);
}

bool record_set(struct link_record *record, enum record_field field, const char *text, size_t len,
                struct record_problem *problem)
{
	if (len == 0)
		return true;
	switch (field) {
	case FIELD_CODE:
		return set_code(record, text, len, problem);
	case FIELD_URL:
		record->url = text;
		record->url_len = len;
		return true;
	case FIELD_CREATED_AT:
		return set_time(&record->created_us, field, text, len, problem);
	case FIELD_CLICKS:
		return set_clicks(record, text, len, problem);
	case FIELD_LAST_CLICK_AT:
		return set_time(&record->last_click_us, field, text, len, problem);
	default:
		return true;
	}
}

bool record_check(const struct link_record *record, struct record_problem *problem)
{
	enum url_verdict verdict = url_check(record->url, record->url_len, NULL, 0);

	if (verdict == URL_OK)
		return true;
	return record_refuse(problem, record->url_len > 0 ? record->url : NULL, record->url_len, "%s",
	                     url_verdict_text(verdict));
}
