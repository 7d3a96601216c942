/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_text.c: addresses as text. By hand, since every request needs one and inet_ntop() goes through sprintf.
 *
 * IPv6 as RFC 5952 wants it: lower case, no leading zeros, the longest run of two or more zero groups (the
 * first of equals) as "::".
 */
#include "policy/client.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

static char *put_decimal(char *to, unsigned value)
{
	if (value >= 100)
		*to++ = (char)('0' + value / 100);
	if (value >= 10)
		*to++ = (char)('0' + value / 10 % 10);
	*to++ = (char)('0' + value % 10);
	return to;
}

static char *put_ipv4(char *to, const uint8_t bytes[4])
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*to++ = '.';
		to = put_decimal(to, bytes[i]);
	}
	return to;
}

static char *put_group(char *to, const uint8_t bytes[2])
{
	unsigned group = (unsigned)bytes[0] << 8 | bytes[1];
	int shift = group > 0xfff ? 12 : group > 0xff ? 8 : group > 0xf ? 4 : 0;

	for (; shift >= 0; shift -= 4)
		*to++ = hex_digits[group >> shift & 0xf];
	return to;
}

/* The longest run of zero groups; *length is 0 when none has two. */
static int longest_zeros(const uint8_t bytes[16], int *length)
{
	int best = -1;

	*length = 1;
	for (int i = 0; i < 8; i++) {
		int run = 0;

		while (i + run < 8 && bytes[2 * (i + run)] == 0 && bytes[2 * (i + run) + 1] == 0)
			run++;
		if (run > *length) {
			best = i;
			*length = run;
		}
		i += run;
	}
	if (best < 0)
		*length = 0;
	return best;
}

static char *put_ipv6(char *to, const uint8_t bytes[16])
{
	int zeros, first = longest_zeros(bytes, &zeros);

	for (int i = 0; i < 8; i++) {
		if (i == first) {
			*to++ = ':';
			*to++ = ':';
			i += zeros - 1;
			continue;
		}
		if (i > 0 && i != first + zeros)
			*to++ = ':';
		to = put_group(to, bytes + 2 * i);
	}
	return to;
}

static char *put_address(char *to, const struct in6_addr *address)
{
	return IN6_IS_ADDR_V4MAPPED(address) ? put_ipv4(to, address->s6_addr + 12) : put_ipv6(to, address->s6_addr);
}

size_t client_text(const struct client *client, char text[CLIENT_TEXT_MAX])
{
	char *end = put_address(text, &client->address);

	*end = '\0';
	return (size_t)(end - text);
}

struct in6_addr client_network(const struct client *client, unsigned ipv6_prefix)
{
	struct in6_addr network = client->address;

	if (IN6_IS_ADDR_V4MAPPED(&network))
		return network;
	for (unsigned i = 0; i < 16; i++) {
		if (8 * i >= ipv6_prefix)
			network.s6_addr[i] = 0;
		else if (8 * i + 8 > ipv6_prefix)
			network.s6_addr[i] &= (uint8_t)(0xff00 >> (ipv6_prefix - 8 * i));
	}
	return network;
}

size_t client_subject(const struct client *client, unsigned ipv6_prefix, char text[CLIENT_TEXT_MAX])
{
	struct in6_addr network;
	char *end;

	if (IN6_IS_ADDR_V4MAPPED(&client->address))
		return client_text(client, text);
	network = client_network(client, ipv6_prefix);
	/* Not put_address(): a short prefix of a mapped look-alike must not turn into an IPv4 client. */
	end = put_ipv6(text, network.s6_addr);
	*end++ = '/';
	end = put_decimal(end, ipv6_prefix);
	*end = '\0';
	return (size_t)(end - text);
}
