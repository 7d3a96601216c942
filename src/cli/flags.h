/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flags.h: what is said about a flag that a command does not take, or that lacks its value.
 */
#ifndef SLUICE_CLI_FLAGS_H
#define SLUICE_CLI_FLAGS_H

#include <getopt.h>

/**
 * Says on standard error what getopt_long() found wrong, with the flag that was probably meant.
 *
 * To be called right after it has returned '?' or ':', with opterr 0 and short options that begin with ':'.
 *
 * @param command  "serve"
 * @param result   what getopt_long() returned.
 * @param options  that it was given.
 * @return 2, the exit status.
 */
int flags_complain(const char *command, int result, char **argv, const struct option *options);

#endif
