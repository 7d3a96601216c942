/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value.h: how single values are spelled: durations, sizes, numbers, addresses, networks.
 *
 * Each reader takes a NUL-terminated text and wants all of it; overflow and anything left over are
 * refused. On failure (-1) `why` says what was found and what is allowed, and the result is unchanged.
 * Any thread.
 *
 * Leaves out: which setting they belong to and its bounds (schema.h).
 */
#ifndef SLUICE_CONFIG_VALUE_H
#define SLUICE_CONFIG_VALUE_H

#include <stdint.h>
#include <sys/socket.h>

#include "config/config.h"
#include "config/why.h"

#define VALUE_SHOWN_MAX 32

/** `500us`, `50ms`, `60s`, `5m`, `1h`, `30d`: a whole number and a unit, nothing between. */
int value_duration(const char *text, uint64_t *us, struct why *why);

/** `65536`, `64KiB`, `1MiB`, `2GiB`, `1TiB`. */
int value_size(const char *text, uint64_t *bytes, struct why *why);

/** A whole number in decimal digits. */
int value_number(const char *text, uint64_t *number, struct why *why);

/** `203.0.113.7:5000`, `[2001:db8::1]:5000`; port 0 is any free one. */
int value_address(const char *text, struct sockaddr_storage *address, socklen_t *len, struct why *why);

/** `10.0.0.0/8`, `2001:db8::/32`, or one address. Bits beyond the prefix must be zero. */
int value_network(const char *text, struct config_network *network, struct why *why);

/** Writes a duration in the largest unit that divides it. @return to. */
const char *value_show_duration(uint64_t us, char to[VALUE_SHOWN_MAX]);

/** Writes a size likewise. @return to. */
const char *value_show_size(uint64_t bytes, char to[VALUE_SHOWN_MAX]);

#endif
