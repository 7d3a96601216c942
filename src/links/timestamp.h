/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timestamp.h: points in time as text, to the microsecond, in UTC.
 *
 * Source: RFC 3339. Days by Howard Hinnant's days_from_civil and its inverse, valid for the proleptic Gregorian
 * calendar.
 */
#ifndef SLUICE_LINKS_TIMESTAMP_H
#define SLUICE_LINKS_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The end of the year 9999: the latest time that has a text. */
#define TIMESTAMP_MAX_US UINT64_C(253402300799999999)

#define TIMESTAMP_TEXT_MAX 28 /* with the NUL */

/** Writes `2026-01-31T12:00:00.123456Z`, without the fraction when it is nought.
 *  @param us  since 1970; later than TIMESTAMP_MAX_US is written as that.
 *  @return its length. */
size_t timestamp_write(uint64_t us, char text[TIMESTAMP_TEXT_MAX]);

/**
 * Reads an RFC 3339 date-time, from 1970 on, with any offset; a space may stand for the T. Digits after the sixth of
 * the fraction are dropped; a leap second counts as the second after it.
 *
 * @return false when it is no such text, or out of range.
 */
bool timestamp_parse(const char *text, size_t len, uint64_t *us);

#endif
