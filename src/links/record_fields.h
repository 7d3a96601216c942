/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_fields.h: the fields of a link as files of links name and spell them, and their checks.
 */
#ifndef SLUICE_LINKS_RECORD_FIELDS_H
#define SLUICE_LINKS_RECORD_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "links/record.h"
#include "links/record_reader.h"

enum record_field { FIELD_CODE, FIELD_URL, FIELD_CREATED_AT, FIELD_CLICKS, FIELD_LAST_CLICK_AT, RECORD_FIELDS };

/* The largest number of clicks that is accepted: leaves room to count on. */
#define RECORD_CLICKS_MAX (UINT64_C(1) << 62)

/** @return its name in files. Static. */
const char *record_field_name(enum record_field field);

/** @return the field of that name, or -1. */
int record_field_parse(const char *name, size_t len);

/** Sets one field of a record from its text; empty text leaves it as it is.
 *  @param text  must live as long as the record, for FIELD_URL.
 *  @return false with the problem set. */
bool record_set(struct link_record *record, enum record_field field, const char *text, size_t len,
                struct record_problem *problem);

/** Checks what can be said of a record when all its fields are set: its URL. @return likewise. */
bool record_check(const struct link_record *record, struct record_problem *problem);

/** Fills in a problem. @param value  may be NULL. @return false, for the caller to return. */
bool record_refuse(struct record_problem *problem, const char *value, size_t value_len, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
