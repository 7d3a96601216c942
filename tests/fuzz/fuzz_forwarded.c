/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_forwarded.c: any bytes as Forwarded and as X-Forwarded-For.
 *
 * From a peer that is not trusted the result is the peer, whatever it sends. From one that is, the result is
 * the peer or an address that stands in the list. And whatever a client sends to the left of what a trusted proxy
 * appends changes nothing.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/client.h"

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 10.0.0.0/8 and 2001:db8:1::/48. */
static const struct config_network trusted[] = {
	{ .address = { .s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 10 } }, .prefix = 104 },
	{ .address = { .s6_addr = { 0x20, 0x01, 0x0d, 0xb8, 0, 1 } }, .prefix = 48 },
};
static const struct client proxy = { .address = { .s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1 } } };
static const struct client stranger = { .address = { .s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 192, [15] = 1 } } };

static bool same(const struct client *a, const struct client *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static bool reads_as(const char *at, size_t len, const struct client *client)
{
	struct client read = { .address = { .s6_addr = { [10] = 0xff, [11] = 0xff } } };
	char text[64];

	if (len == 0 || len >= sizeof text)
		return false;
	memcpy(text, at, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, read.address.s6_addr + 12) != 1 && inet_pton(AF_INET6, text, &read.address) != 1)
		return false;
	return same(&read, client);
}

/* Whether the address stands in the list: an independent, much more lenient reading. */
static bool is_listed(const char *list, const struct client *client)
{
	static const char of_addresses[] = "0123456789abcdefABCDEF.:";
	char *plain = malloc(strlen(list) + 1), *to = plain;
	bool found = false;

	MUST(plain != NULL);
	for (const char *from = list; *from != '\0'; from++) {
		if (*from != '\\') /* an escape stands for what follows */
			*to++ = *from;
	}
	*to = '\0';
	for (char *at = plain; *at != '\0' && !found; at += strspn(at, of_addresses)) {
		size_t len;

		at += strcspn(at, of_addresses);
		len = strspn(at, of_addresses);
		/* With all that follows, and without a port. */
		found = reads_as(at, len, client) ||
		        reads_as(at, strcspn(at, ":") < len ? strcspn(at, ":") : len, client);
	}
	free(plain);
	return found;
}

static void check_text(const struct client *client)
{
	char text[CLIENT_TEXT_MAX];
	size_t len = client_text(client, text);

	MUST(len < CLIENT_TEXT_MAX && text[len] == '\0' && reads_as(text, len, client));
	for (unsigned prefix = 1; prefix <= 128; prefix += 9)
		MUST(client_subject(client, prefix, text) < CLIENT_TEXT_MAX);
}

static void try_list(enum config_client_header header, const char *list, const char *appended)
{
	char *longer = malloc(strlen(list) + strlen(appended) + 1);
	struct client client = stranger, alone = proxy;

	MUST(longer != NULL);
	client_resolve(&client, header, list, trusted, 2);
	MUST(same(&client, &stranger));
	client = proxy;
	client_resolve(&client, header, list, NULL, 0);
	MUST(same(&client, &proxy));

	client_resolve(&client, header, list, trusted, 2);
	MUST(same(&client, &proxy) || is_listed(list, &client));
	check_text(&client);

	/* What the trusted proxy appended about an untrusted hop is what counts. */
	strcpy(longer, list);
	strcat(longer, appended);
	client = proxy;
	client_resolve(&client, header, longer, trusted, 2);
	client_resolve(&alone, header, strchr(appended, ',') + 1, trusted, 2);
	MUST(!same(&alone, &proxy) && same(&client, &alone));
	free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *list = malloc(size + 1);

	MUST(list != NULL);
	memcpy(list, data, size);
	list[size] = '\0';
	try_list(CLIENT_HEADER_XFF, list, ", 203.0.113.7");
	try_list(CLIENT_HEADER_XFF, list, ",[2001:db8::7]:80");
	try_list(CLIENT_HEADER_FORWARDED, list, ", for=203.0.113.7");
	try_list(CLIENT_HEADER_FORWARDED, list,
	         ", for=\"[2001:db8::7]:80\";host=\"x,for=198.51.100.1,\\\"y\";proto=http");
	free(list);
	return 0;
}
