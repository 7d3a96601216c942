/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h: where a command's settings come from: a file, the environment, flags, each winning over the one before.
 */
#ifndef SLUICE_CLI_SETTINGS_H
#define SLUICE_CLI_SETTINGS_H

#include <stddef.h>

#include "config/config.h"

#define SETTINGS_FLAGS_MAX 32

/* Kept as they were given, so that they can be read again (SIGHUP). */
struct settings {
	const char *file; /* NULL: none */
	struct {
		const char *name, *value; /* without the dashes; both outlive this */
	} flags[SETTINGS_FLAGS_MAX];
	size_t flags_n;
};

/** Fills `config` anew and checks it. @return 0, or -1 with `error` set. */
int settings_load(const struct settings *settings, struct config *config, struct config_error *error);

#endif
