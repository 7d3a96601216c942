/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* A piece of a header, not NUL-terminated. */
struct span {
	const char *at;
	size_t len;
};

static void map_ipv4(struct in6_addr *to, const void *ipv4)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(to->s6_addr, prefix, sizeof prefix);
	memcpy(to->s6_addr + sizeof prefix, ipv4, 4);
}

void client_from_sockaddr(struct client *client, const struct sockaddr *peer)
{
	sa_family_t family;

	memset(client, 0, sizeof *client);
	/* Copied, not cast: the caller's buffer need not be aligned. */
	memcpy(&family, (const char *)peer + offsetof(struct sockaddr, sa_family), sizeof family);
	if (family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, peer, sizeof in);
		map_ipv4(&client->address, &in.sin_addr);
	} else if (family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, peer, sizeof in6);
		client->address = in6.sin6_addr;
	}
}

static bool in_network(const struct in6_addr *address, const struct config_network *network)
{
	unsigned bytes = network->prefix / 8, bits = network->prefix % 8;

	/* Who writes ::/0 speaks of IPv6. */
	if (network->prefix < 96 && IN6_IS_ADDR_V4MAPPED(address))
		return false;
	if (memcmp(address->s6_addr, network->address.s6_addr, bytes) != 0)
		return false;
	return bits == 0 || ((address->s6_addr[bytes] ^ network->address.s6_addr[bytes]) >> (8 - bits)) == 0;
}

bool client_trusted(const struct client *client, const struct config_network *networks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (in_network(&client->address, &networks[i]))
			return true;
	}
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span trim(struct span span)
{
	while (span.len > 0 && is_blank(span.at[0])) {
		span.at++;
		span.len--;
	}
	while (span.len > 0 && is_blank(span.at[span.len - 1]))
		span.len--;
	return span;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 7239 section 6: node-port is 1*5DIGIT or an obfuscated "_" 1*( ALPHA / DIGIT / "." / "_" / "-" ). */
static bool port_ok(struct span port)
{
	bool obfuscated = port.len > 1 && port.at[0] == '_';

	if (port.len == 0 || (!obfuscated && port.len > 5))
		return false;
	for (size_t i = obfuscated ? 1 : 0; i < port.len; i++) {
		char c = port.at[i];

		if (obfuscated ? !is_alnum(c) && c != '.' && c != '_' && c != '-' : !is_digit(c))
			return false;
	}
	return true;
}

static bool read_address(struct span span, int family, struct client *client)
{
	char text[INET6_ADDRSTRLEN];
	struct in_addr ipv4;

	if (span.len == 0 || span.len >= sizeof text)
		return false;
	memcpy(text, span.at, span.len);
	text[span.len] = '\0';
	if (family == AF_INET6)
		return inet_pton(AF_INET6, text, &client->address) == 1;
	if (inet_pton(AF_INET, text, &ipv4) != 1)
		return false;
	map_ipv4(&client->address, &ipv4);
	return true;
}

/* Reads 203.0.113.7, 203.0.113.7:4711, 2001:db8::1, [2001:db8::1] or [2001:db8::1]:4711. The bare IPv6
 * address is not in RFC 7239, but proxies write it. */
static bool read_node(struct span node, struct client *client)
{
	const char *colon = memchr(node.at, ':', node.len), *bracket;
	struct span address = node, port = { "", 0 };
	int family = AF_INET;

	if (node.len > 0 && node.at[0] == '[') {
		bracket = memchr(node.at, ']', node.len);
		if (bracket == NULL)
			return false;
		address = (struct span){ node.at + 1, (size_t)(bracket - node.at) - 1 };
		port = (struct span){ bracket + 1, node.len - address.len - 2 };
		if (port.len > 0 && *port.at++ != ':')
			return false;
		if (port.len > 0 && --port.len == 0)
			return false;
		family = AF_INET6;
	} else if (colon != NULL && memchr(colon + 1, ':', node.len - (size_t)(colon - node.at) - 1) != NULL) {
		family = AF_INET6;
	} else if (colon != NULL) {
		address.len = (size_t)(colon - node.at);
		port = (struct span){ colon + 1, node.len - address.len - 1 };
		if (port.len == 0)
			return false;
	}
	return (port.len == 0 || port_ok(port)) && read_address(address, family, client);
}

/* RFC 9110 section 5.6.2. */
static bool is_token_char(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* What may stand in a value without quotes: more than RFC 7239 allows, since proxies write addresses with
 * their colons and brackets bare. */
static bool is_bare_char(char c)
{
	return is_token_char(c) || c == ':' || c == '[' || c == ']';
}

/* A reader over one element of Forwarded. */
struct cursor {
	const char *at;
	const char *end;
};

static void skip_blanks(struct cursor *cursor)
{
	while (cursor->at < cursor->end && is_blank(*cursor->at))
		cursor->at++;
}

static struct span take_while(struct cursor *cursor, bool (*belongs)(char c))
{
	struct span span = { cursor->at, 0 };

	while (cursor->at < cursor->end && belongs(*cursor->at))
		cursor->at++;
	span.len = (size_t)(cursor->at - span.at);
	return span;
}

/* Reads a quoted-string (RFC 9110 section 5.6.4) without its escapes into `to`. What does not fit is
 * passed over: *len is then larger than `room`, and no address is that long. */
static bool take_quoted(struct cursor *cursor, char *to, size_t room, size_t *len)
{
	*len = 0;
	for (cursor->at++; cursor->at < cursor->end; cursor->at++) {
		char c = *cursor->at;

		if (c == '"') {
			cursor->at++;
			return true;
		}
		if (c == '\\' && ++cursor->at == cursor->end)
			return false;
		if (*len < room)
			to[*len] = *cursor->at;
		(*len)++;
	}
	return false;
}

/* Reads `name=value`; the value goes to `client` when the name is "for". */
static bool take_pair(struct cursor *cursor, unsigned *fors, bool *readable, struct client *client)
{
	char unquoted[CLIENT_TEXT_MAX];
	struct span name = take_while(cursor, is_token_char), value;

	if (name.len == 0 || cursor->at == cursor->end || *cursor->at++ != '=')
		return false;
	if (cursor->at < cursor->end && *cursor->at == '"') {
		value.at = unquoted;
		if (!take_quoted(cursor, unquoted, sizeof unquoted, &value.len))
			return false;
	} else {
		value = take_while(cursor, is_bare_char);
	}
	if (name.len == 3 && strncasecmp(name.at, "for", 3) == 0) {
		(*fors)++;
		*readable = value.len <= sizeof unquoted && read_node(value, client);
	}
	return true;
}

/* Reads the address of one element of Forwarded: `for=...` among pairs joined by semicolons. */
static bool read_forwarded(struct span element, struct client *client)
{
	struct cursor cursor = { element.at, element.at + element.len };
	bool readable = false;
	unsigned fors = 0;

	for (;;) {
		skip_blanks(&cursor);
		if (cursor.at < cursor.end && *cursor.at != ';' && !take_pair(&cursor, &fors, &readable, client))
			return false;
		skip_blanks(&cursor);
		if (cursor.at == cursor.end)
			return fors == 1 && readable;
		if (*cursor.at++ != ';')
			return false;
	}
}

/* Steps from the end of a list to the left over one element, which may be empty; false at its beginning.
 *
 * Quotes are read from the right too. What a trusted proxy appended stands at the right and is well-formed,
 * so its quotes are found whatever a client has sent to its left: read from the left, a client's lone quote would
 * swallow the proxy's element, or turn it inside out. A quote is escaped when an odd number of backslashes precedes
 * it, and the opening one, after "=", never is. */
static bool last_element(const char *list, size_t *len, bool quotes, struct span *element)
{
	size_t end = *len, at = end;
	bool quoted = false;

	if (end == 0)
		return false;
	for (; at > 0; at--) {
		char c = list[at - 1];

		if (c == ',' && !quoted)
			break;
		if (c == '"' && quotes) {
			size_t slashes = 0;

			while (slashes < at - 1 && list[at - 2 - slashes] == '\\')
				slashes++;
			/* An escaped quote outside of a string belongs to no well-formed element. */
			if (slashes % 2 == 0)
				quoted = !quoted;
			at -= slashes;
		}
	}
	*element = trim((struct span){ list + at, end - at });
	*len = at > 0 ? at - 1 : 0;
	return true;
}

void client_resolve(struct client *client, enum config_client_header header, const char *list,
                    const struct config_network *networks, size_t n)
{
	bool forwarded = header == CLIENT_HEADER_FORWARDED;
	struct span element;
	struct client next;
	size_t left;

	if (list == NULL || !client_trusted(client, networks, n))
		return;
	left = strlen(list);
	while (last_element(list, &left, forwarded, &element)) {
		/* RFC 9110 section 5.6.1.2: empty elements of a list do not count. */
		if (element.len == 0)
			continue;
		if (forwarded ? !read_forwarded(element, &next) : !read_node(element, &next))
			return;
		*client = next;
		if (!client_trusted(client, networks, n))
			return;
	}
}
