/* SPDX-License-Identifier: Apache-2.0 */
/* timestamp.c: see timestamp.h. */
#include "links/timestamp.h"

#include <stdio.h>

#define DAY_S 86400

struct cursor {
	const char *at, *end;
};

/* Days from 1970-01-01 to a date; years start in March, so that the leap day comes last. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400, year_of_era = y % 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468, era = z / 146097, day_of_era = z % 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted = (5 * day_of_year + 2) / 153; /* 0: March */

	*day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
	*month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
	*year = (int)(year_of_era + era * 400 + (*month <= 2));
}

size_t timestamp_write(uint64_t us, char text[TIMESTAMP_TEXT_MAX])
{
	int year, month, day, second, n;
	unsigned fraction;

	if (us > TIMESTAMP_MAX_US)
		us = TIMESTAMP_MAX_US;
	fraction = (unsigned)(us % 1000000);
	second = (int)(us / 1000000 % DAY_S);
	civil_from_days((int64_t)(us / 1000000 / DAY_S), &year, &month, &day);
	n = snprintf(text, TIMESTAMP_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, second / 3600,
	             second / 60 % 60, second % 60);
	n += fraction != 0 ? snprintf(text + n, (size_t)(TIMESTAMP_TEXT_MAX - n), ".%06uZ", fraction)
	                   : snprintf(text + n, (size_t)(TIMESTAMP_TEXT_MAX - n), "Z");
	return (size_t)n;
}

static bool take(struct cursor *c, const char *any_of)
{
	for (; *any_of != '\0'; any_of++) {
		if (c->at < c->end && *c->at == *any_of) {
			c->at++;
			return true;
		}
	}
	return false;
}

/* Exactly `digits` digits, from `least` to `most`. */
static bool number(struct cursor *c, int digits, int least, int most, int *value)
{
	*value = 0;
	for (; digits > 0; digits--) {
		if (c->at == c->end || *c->at < '0' || *c->at > '9')
			return false;
		*value = *value * 10 + (*c->at++ - '0');
	}
	return *value >= least && *value <= most;
}

static int days_in_month(int year, int month)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool parse_date(struct cursor *c, int64_t *days)
{
	int year, month, day;

	if (!number(c, 4, 0, 9999, &year) || !take(c, "-") || !number(c, 2, 1, 12, &month) || !take(c, "-") ||
	    !number(c, 2, 1, 31, &day) || day > days_in_month(year, month))
		return false;
	*days = days_from_civil(year, month, day);
	return year >= 1969; /* an offset may bring the last hours of 1969 into 1970 */
}

static bool parse_time(struct cursor *c, int64_t *seconds, int64_t *micros)
{
	int hour, minute, second, digit;

	if (!number(c, 2, 0, 23, &hour) || !take(c, ":") || !number(c, 2, 0, 59, &minute) || !take(c, ":") ||
	    !number(c, 2, 0, 60, &second))
		return false;
	*seconds = hour * 3600 + minute * 60 + second;
	*micros = 0;
	if (!take(c, "."))
		return true;
	if (!number(c, 1, 0, 9, &digit))
		return false;
	*micros = digit * 100000;
	for (int64_t unit = 10000; number(c, 1, 0, 9, &digit); unit /= 10)
		*micros += digit * unit;
	return true;
}

/* Seconds that the local time is ahead of UTC. */
static bool parse_offset(struct cursor *c, int64_t *offset)
{
	bool behind;
	int hour, minute;

	*offset = 0;
	if (take(c, "Zz"))
		return true;
	behind = take(c, "-");
	if ((!behind && !take(c, "+")) || !number(c, 2, 0, 23, &hour) || !take(c, ":") || !number(c, 2, 0, 59, &minute))
		return false;
	*offset = (hour * 3600 + minute * 60) * (behind ? -1 : 1);
	return true;
}

bool timestamp_parse(const char *text, size_t len, uint64_t *us)
{
	struct cursor c = { .at = text, .end = text + len };
	int64_t days, seconds, micros, offset, total;

	if (!parse_date(&c, &days) || !take(&c, "Tt ") || !parse_time(&c, &seconds, &micros) ||
	    !parse_offset(&c, &offset) || c.at != c.end)
		return false;
	total = days * DAY_S + seconds - offset;
	if (total < 0 || (uint64_t)total > TIMESTAMP_MAX_US / 1000000)
		return false;
	*us = (uint64_t)total * 1000000 + (uint64_t)micros;
	return true;
}
