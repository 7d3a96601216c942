/* SPDX-License-Identifier: Apache-2.0 */
/*
 * env.h: names of environment variables, for the reference page.
 */
#ifndef SLUICE_CONFIG_ENV_H
#define SLUICE_CONFIG_ENV_H

#include "config/schema.h"

#define ENV_NAME_MAX 64

/** Writes the variable made from a setting's path: server.threads gives SLUICE_SERVER_THREADS. @return to. */
const char *env_name(const struct schema_key *key, char to[ENV_NAME_MAX]);

#endif
