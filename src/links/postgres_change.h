/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_change.h: what a notification on the channel `sluice_links` says.
 *
 * `CODE SHA256-IN-HEX`: that link was changed, disabled or deleted. `*`: any may have been. Whoever may connect to the
 * database may notify, so anything else is possible, too; it is taken for `*`.
 */
#ifndef SLUICE_LINKS_POSTGRES_CHANGE_H
#define SLUICE_LINKS_POSTGRES_CHANGE_H

#include <stdbool.h>

#include "links/links.h"

struct pg_change {
	bool all;
	char code[LINK_CODE_MAX + 1]; /* unless all */
	unsigned char sha256[32];     /* of the URL; unless all */
};

/** Reads the payload of a notification, which ends with a NUL. */
void pg_change_parse(const char *payload, struct pg_change *change);

#endif
