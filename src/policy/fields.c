/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fields.h"

#include <string.h>

/* Every response carries these, so they are written by hand: snprintf() costs six times as much. */

static char *put_text(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	return to + len;
}

#define put_literal(to, literal) put_text(to, literal, sizeof(literal) - 1)

static char *put_number(char *to, uint64_t value)
{
	char digits[20];
	size_t n = sizeof digits;

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	return put_text(to, digits + n, sizeof digits - n);
}

/* Names are [a-z0-9-] (config_check() sees to it), so nothing in the string needs an escape. */
static char *put_name(char *to, const struct config_limit *limit, bool first)
{
	if (!first)
		to = put_literal(to, ", ");
	*to++ = '"';
	to = put_text(to, limit->name, strnlen(limit->name, sizeof limit->name - 1));
	*to++ = '"';
	return to;
}

static uint64_t seconds_up(uint64_t us)
{
	return us / 1000000 + (us % 1000000 != 0);
}

static uint64_t wait_us(const struct store_take *take)
{
	const struct sluice_decision *decision = &take->decision;

	if (decision->allowed)
		return decision->reset_after_us;
	return decision->retry_after_us == SLUICE_NEVER ? take->policy->window_us : decision->retry_after_us;
}

size_t fields_policy(const struct config_limit *limits, size_t n, char text[FIELDS_TEXT_MAX])
{
	char *to = text;

	for (size_t i = 0; i < n; i++) {
		to = put_name(to, &limits[i], i == 0);
		to = put_literal(to, ";q=");
		to = put_number(to, limits[i].policy.limit);
		to = put_literal(to, ";w=");
		to = put_number(to, seconds_up(limits[i].policy.window_us));
	}
	*to = '\0';
	return (size_t)(to - text);
}

size_t fields_state(const struct config_limit *limits, const struct store_op *op, char text[FIELDS_TEXT_MAX])
{
	char *to = text;

	for (size_t i = 0; i < op->n; i++) {
		to = put_name(to, &limits[i], i == 0);
		to = put_literal(to, ";r=");
		to = put_number(to, op->takes[i].decision.remaining);
		to = put_literal(to, ";t=");
		to = put_number(to, seconds_up(wait_us(&op->takes[i])));
	}
	*to = '\0';
	return (size_t)(to - text);
}

uint64_t fields_retry_after_s(const struct store_op *op)
{
	uint64_t longest_us = 1;

	for (size_t i = 0; i < op->n; i++) {
		if (!op->takes[i].decision.allowed && wait_us(&op->takes[i]) > longest_us)
			longest_us = wait_us(&op->takes[i]);
	}
	return seconds_up(longest_us);
}
