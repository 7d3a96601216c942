/* SPDX-License-Identifier: Apache-2.0 */
#include "config/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit durations[] = {
	{ "d", UINT64_C(86400000000) },
	{ "h", UINT64_C(3600000000) },
	{ "m", 60000000 },
	{ "s", 1000000 },
	{ "ms", 1000 },
	{ "us", 1 },
};
static const struct unit sizes[] = {
	{ "TiB", UINT64_C(1) << 40 }, { "GiB", UINT64_C(1) << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "", 1 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum digits { DIGITS_OK, DIGITS_NONE, DIGITS_OVERFLOW };

/* Reads decimal digits; *end is what follows them. */
static enum digits read_digits(const char *text, uint64_t *number, const char **end)
{
	uint64_t value = 0;
	bool overflow = false;

	*end = text;
	for (; **end >= '0' && **end <= '9'; (*end)++) {
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(**end - '0'), &value))
			overflow = true;
	}
	*number = value;
	return *end == text ? DIGITS_NONE : overflow ? DIGITS_OVERFLOW : DIGITS_OK;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	}
	return NULL;
}

static int too_large(const char *text, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];

	return why_set(why, "%s is too large", why_quote(text, quoted));
}

int value_duration(const char *text, uint64_t *us, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	const struct unit *unit;
	const char *end;
	uint64_t number;
	enum digits digits = read_digits(text, &number, &end);

	if (digits != DIGITS_NONE && *end == '\0' && end - text < 20)
		return why_set(why, "%s has no unit; write %ss, 500ms, 1h…", why_quote(text, quoted), text);
	unit = find_unit(durations, COUNT(durations), end);
	if (digits == DIGITS_NONE || unit == NULL)
		return why_set(why,
		               "%s is not a duration; write a whole number and a unit: 500us, 50ms, 60s, 5m, 1h, 30d",
		               why_quote(text, quoted));
	if (digits == DIGITS_OVERFLOW || __builtin_mul_overflow(number, unit->factor, &number))
		return too_large(text, why);
	*us = number;
	return 0;
}

int value_size(const char *text, uint64_t *bytes, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	const struct unit *unit;
	const char *end;
	uint64_t number;
	enum digits digits = read_digits(text, &number, &end);

	unit = find_unit(sizes, COUNT(sizes), end);
	if (digits == DIGITS_NONE || unit == NULL)
		return why_set(why, "%s is not a size; write 65536 (bytes), 64KiB, 1MiB, 2GiB",
		               why_quote(text, quoted));
	if (digits == DIGITS_OVERFLOW || __builtin_mul_overflow(number, unit->factor, &number))
		return too_large(text, why);
	*bytes = number;
	return 0;
}

int value_number(const char *text, uint64_t *number, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	const char *end;
	uint64_t value;
	enum digits digits = read_digits(text, &value, &end);

	if (digits == DIGITS_NONE || *end != '\0')
		return why_set(why, "%s is not a whole number", why_quote(text, quoted));
	if (digits == DIGITS_OVERFLOW)
		return too_large(text, why);
	*number = value;
	return 0;
}

/* Reads a numeric address of either family into IPv6 form, IPv4 mapped. @return AF_INET, AF_INET6 or 0. */
static int read_ip(const char *at, size_t len, struct in6_addr *address)
{
	static const struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
	char text[INET6_ADDRSTRLEN];

	if (len == 0 || len >= sizeof text)
		return 0;
	memcpy(text, at, len);
	text[len] = '\0';
	if (inet_pton(AF_INET6, text, address) == 1)
		return AF_INET6;
	*address = mapped;
	return inet_pton(AF_INET, text, address->s6_addr + 12) == 1 ? AF_INET : 0;
}

static void fill_sockaddr(struct sockaddr_storage *to, socklen_t *len, int family, const struct in6_addr *address,
                          uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *address };

	memcpy(&in.sin_addr, address->s6_addr + 12, sizeof in.sin_addr);
	memset(to, 0, sizeof *to);
	*len = family == AF_INET ? sizeof in : sizeof in6;
	memcpy(to, family == AF_INET ? (const void *)&in : (const void *)&in6, *len);
}

int value_address(const char *text, struct sockaddr_storage *address, socklen_t *len, struct why *why)
{
	const char *colon = strrchr(text, ':'), *end, *host = text;
	char quoted[WHY_QUOTED_MAX];
	bool brackets = text[0] == '[';
	size_t host_len = colon != NULL ? (size_t)(colon - text) : 0;
	struct in6_addr ip;
	uint64_t port;
	int family;

	if (brackets && host_len >= 2 && text[host_len - 1] == ']') {
		host++;
		host_len -= 2;
	}
	if (read_digits(text + (text[0] == ':'), &port, &end) == DIGITS_OK && *end == '\0' && port <= UINT16_MAX)
		return why_set(why, "%s is a port alone; write 0.0.0.0:%" PRIu64, why_quote(text, quoted), port);
	family = read_ip(host, host_len, &ip);
	if (family == 0 || (family == AF_INET6) != brackets)
		return why_set(why, "%s is not a numeric address with a port; write 0.0.0.0:5000 or [::]:5000",
		               why_quote(text, quoted));
	if (read_digits(colon + 1, &port, &end) != DIGITS_OK || *end != '\0' || port > UINT16_MAX)
		return why_set(why, "%s has no port from 0 (any free one) to 65535 after the colon",
		               why_quote(text, quoted));
	fill_sockaddr(address, len, family, &ip, (uint16_t)port);
	return 0;
}

/* Clears the bits of an address beyond a prefix. */
static void mask(struct in6_addr *address, unsigned prefix)
{
	for (unsigned i = 0; i < 16; i++) {
		if (8 * i >= prefix)
			address->s6_addr[i] = 0;
		else if (8 * i + 8 > prefix)
			address->s6_addr[i] &= (uint8_t)(0xff00 >> (prefix - 8 * i));
	}
}

int value_network(const char *text, struct config_network *network, struct why *why)
{
	const char *slash = strchrnul(text, '/'), *end;
	char quoted[WHY_QUOTED_MAX], masked[INET6_ADDRSTRLEN];
	struct in6_addr address, first;
	int family = read_ip(text, (size_t)(slash - text), &address);
	uint64_t bits = family == AF_INET ? 32 : 128, all = bits;

	if (family == 0)
		return why_set(why, "%s is not a network; write 10.0.0.0/8, 2001:db8::/32 or one address",
		               why_quote(text, quoted));
	if (*slash == '/' && (read_digits(slash + 1, &bits, &end) != DIGITS_OK || *end != '\0' || bits > all))
		return why_set(why, "%s has no prefix length from 0 to %" PRIu64 " after the slash",
		               why_quote(text, quoted), all);
	first = address;
	mask(&first, (unsigned)(128 - all + bits));
	if (memcmp(&first, &address, sizeof first) != 0) {
		inet_ntop(family, first.s6_addr + (family == AF_INET ? 12 : 0), masked, sizeof masked);
		return why_set(why, "%s has bits beyond its prefix; write %s/%" PRIu64, why_quote(text, quoted), masked,
		               bits);
	}
	network->address = address;
	network->prefix = (uint32_t)(128 - all + bits);
	return 0;
}

static const char *show(uint64_t value, const struct unit *units, size_t n, const char *zero, char to[VALUE_SHOWN_MAX])
{
	if (value == 0) {
		snprintf(to, VALUE_SHOWN_MAX, "%s", zero);
		return to;
	}
	for (size_t i = 0; i < n; i++) {
		if (value % units[i].factor == 0) {
			snprintf(to, VALUE_SHOWN_MAX, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
			break;
		}
	}
	return to;
}

const char *value_show_duration(uint64_t us, char to[VALUE_SHOWN_MAX])
{
	return show(us, durations, COUNT(durations), "0s", to);
}

const char *value_show_size(uint64_t bytes, char to[VALUE_SHOWN_MAX])
{
	return show(bytes, sizes, COUNT(sizes), "0", to);
}
