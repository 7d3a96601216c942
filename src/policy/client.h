/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h: who is asking: the address behind trusted proxies, and the key it counts under.
 *
 * Sources: RFC 7239 (Forwarded); X-Forwarded-For as nginx's realip module reads it with
 * real_ip_recursive: from the right, as long as the hop that speaks is trusted.
 */
#ifndef SLUICE_POLICY_CLIENT_H
#define SLUICE_POLICY_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

#define CLIENT_TEXT_MAX 64

/* An address, IPv4 held as IPv4-mapped IPv6. */
struct client {
	struct in6_addr address;
};

/** The address of a socket's peer. Unix sockets and unknown families count as ::. */
void client_from_sockaddr(struct client *client, const struct sockaddr *peer);

/** @return true when the address lies in one of the networks. */
bool client_trusted(const struct client *client, const struct config_network *networks, size_t n);

/**
 * Finds the client behind trusted proxies. Takes time linear in the length of the list.
 *
 * Only one header field is read, the one that the proxies are known to write: a proxy that appends to X-Forwarded-For
 * passes a client's own Forwarded on untouched, and the other way round.
 *
 * @param client  in: the socket's peer; out: the nearest address that is not trusted, or the last that could be
 *                read (a broken element ends the walk at the hop that vouched for it).
 * @param header  how `list` is to be read.
 * @param list    the field's value, those of several fields joined by ", "; NULL: there is none. It may be cut at
 *                the left.
 */
void client_resolve(struct client *client, enum config_client_header header, const char *list,
                    const struct config_network *networks, size_t n);

/** Writes the address as text (203.0.113.7, 2001:db8::1). @return its length. */
size_t client_text(const struct client *client, char text[CLIENT_TEXT_MAX]);

/** @return the address that stands for all of the client's network: an IPv4 address itself, of an IPv6 address the
 * first `ipv6_prefix` (1 to 128) bits. */
struct in6_addr client_network(const struct client *client, unsigned ipv6_prefix);

/** Writes what the client counts under: the IPv4 address, or the IPv6 network as `2001:db8:0:1::/64`.
 *  @param ipv6_prefix 1 to 128. @return its length. */
size_t client_subject(const struct client *client, unsigned ipv6_prefix, char text[CLIENT_TEXT_MAX]);

#endif
